//! Derived views of the facts, shared by rules; pure.
/// Derived views.
#[derive(Debug)]
pub struct View<'a> {
    /** The facts. */
    pub facts: &'a crate::facts::Facts,
}
