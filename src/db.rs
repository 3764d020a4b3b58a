//! The database.
/// The database.
#[derive(Debug, Default)]
pub struct Database {}
