//! Writes JSON in one way, for values and people too; knows nothing of what it writes.
//!
//! Each way in which serde writes or reads a type is a copy of code for that type. The facts and the report are large
//! types, so every way but one (a compact text) goes by way of that text: the program is a tenth smaller for it.

use serde::Serialize;
use serde_json::{Error, Value};

/// A value as JSON's own types.
///
/// # Errors
///
/// What cannot be written, such as a map whose keys are no texts.
pub(crate) fn value(of: &impl Serialize) -> Result<Value, Error> {
    serde_json::from_slice(&serde_json::to_vec(of)?)
}

/// A value for people: indented by two spaces, the keys in the order in which they are declared.
///
/// # Errors
///
/// What cannot be written.
#[cfg(feature = "cli")]
pub(crate) fn pretty(of: &impl Serialize) -> Result<String, Error> {
    let compact = serde_json::to_vec(of)?;
    let mut out = Vec::with_capacity(compact.len() * 2);
    let mut reader = serde_json::Deserializer::from_slice(&compact);
    serde_transcode::transcode(&mut reader, &mut serde_json::Serializer::pretty(&mut out))?;
    Ok(String::from_utf8(out).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

#[cfg(all(test, feature = "cli"))]
mod tests {
    use super::*;
    use crate::facts::Facts;

    #[test]
    fn by_way_of_a_text_nothing_changes() {
        let facts = Facts { schema: 1, recorded: "2026-11-28 \u{e9}\n\"".to_owned(), ..Facts::default() };
        assert_eq!(pretty(&facts).unwrap(), serde_json::to_string_pretty(&facts).unwrap());
        assert_eq!(value(&facts).unwrap(), serde_json::to_value(&facts).unwrap());
        let numbers = (0.1 + 0.2, 1e300, -0.0, u64::MAX, i64::MIN, 610.2, 3.0);
        assert_eq!(pretty(&numbers).unwrap(), serde_json::to_string_pretty(&numbers).unwrap());
    }
}
