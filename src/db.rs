//! The database.
/// The database.
#[derive(Debug, Default)]
pub struct Database {
    meta: Meta,
}
/// What the database says of itself.
#[derive(Clone, Debug, Default)]
pub struct Meta {
    /// The schema.
    pub schema: u32,
    /// The revision.
    pub revision: u32,
    /// The day.
    pub date: String,
    /// Where it comes from.
    pub origin: String,
}
impl Database {
    /// The embedded database.
    pub fn embedded() -> Self {
        Self { meta: Meta { schema: 1, revision: 1, date: "2026-11-22".to_owned(), origin: "embedded".to_owned() } }
    }
    /// What it says of itself.
    pub fn meta(&self) -> &Meta {
        &self.meta
    }
}
