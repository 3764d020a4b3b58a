//! Holds JSON against a JSON schema. It knows the words that the schemas here use; one that it does not know stops the test.

use std::path::Path;

use serde_json::Value;

/// Words that say something, and words that only tell.
const WORDS: &[&str] = &[
    "$ref",
    "additionalProperties",
    "anyOf",
    "const",
    "enum",
    "format",
    "items",
    "maximum",
    "minItems",
    "minimum",
    "oneOf",
    "pattern",
    "properties",
    "required",
    "type",
    "uniqueItems",
    "$defs",
    "definitions",
    "$id",
    "$schema",
    "default",
    "description",
    "title",
];

/// A schema.
pub(crate) struct Schema(pub(crate) Value);

impl Schema {
    /// The schema in a file of this repository.
    pub(crate) fn read(path: &str) -> Self {
        let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
        let schema: Value = serde_json::from_str(&text).unwrap();
        known(&schema, path);
        Self(schema)
    }

    /// What of a document is against it, with the place in the document.
    pub(crate) fn faults(&self, document: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        self.hold(&self.0, document, "", &mut faults);
        faults
    }

    fn hold(&self, schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
        let words = match schema {
            Value::Bool(true) => return,
            Value::Object(words) => words,
            _ => return faults.push(format!("{at}: nothing may stand here")),
        };
        for (word, said) in words {
            let fits = |part: &Value| {
                let mut inner = Vec::new();
                self.hold(part, value, at, &mut inner);
                inner.is_empty()
            };
            let fine = match (word.as_str(), value) {
                ("$ref", _) => {
                    let path = said.as_str().unwrap().strip_prefix('#').unwrap();
                    let part = self.0.pointer(path).unwrap_or_else(|| panic!("{path}: no such part"));
                    self.hold(part, value, at, faults);
                    true
                }
                ("type", _) => match said {
                    Value::Array(kinds) => kinds.iter().any(|kind| is(value, kind)),
                    kind => is(value, kind),
                },
                ("const", _) => value == said,
                ("enum", _) => said.as_array().unwrap().contains(value),
                ("anyOf", _) => said.as_array().unwrap().iter().any(fits),
                ("oneOf", _) => said.as_array().unwrap().iter().filter(|part| fits(part)).count() == 1,
                ("required", Value::Object(object)) => {
                    said.as_array().unwrap().iter().all(|key| object.contains_key(key.as_str().unwrap()))
                }
                ("properties", Value::Object(object)) => {
                    for (key, part) in said.as_object().unwrap() {
                        if let Some(value) = object.get(key) {
                            self.hold(part, value, &format!("{at}/{key}"), faults);
                        }
                    }
                    true
                }
                ("additionalProperties", Value::Object(object)) => {
                    let listed = words.get("properties").and_then(Value::as_object);
                    for (key, value) in object {
                        if listed.is_none_or(|listed| !listed.contains_key(key)) {
                            self.hold(said, value, &format!("{at}/{key}"), faults);
                        }
                    }
                    true
                }
                ("items", Value::Array(list)) => {
                    for (number, value) in list.iter().enumerate() {
                        self.hold(said, value, &format!("{at}/{number}"), faults);
                    }
                    true
                }
                ("minItems", Value::Array(list)) => list.len() as u64 >= said.as_u64().unwrap(),
                ("uniqueItems", Value::Array(list)) => {
                    said == false || (1..list.len()).all(|end| !list[..end].contains(&list[end]))
                }
                ("minimum", Value::Number(number)) => number.as_f64() >= said.as_f64(),
                ("maximum", Value::Number(number)) => number.as_f64() <= said.as_f64(),
                ("format", Value::String(text)) => formatted(text, said.as_str().unwrap()),
                // No document here has a text that one is about.
                ("pattern", Value::String(_)) => false,
                _ => true,
            };
            if !fine {
                faults.push(format!("{at}: {word} {said} does not hold of {value}"));
            }
        }
    }
}

/// Stops where a schema says something that is not understood here.
fn known(schema: &Value, at: &str) {
    let Value::Object(words) = schema else { return };
    for (word, said) in words {
        assert!(WORDS.contains(&word.as_str()), "{at}: `{word}` is not understood");
        match (word.as_str(), said) {
            ("properties" | "definitions" | "$defs", Value::Object(parts)) => {
                parts.iter().for_each(|(name, part)| known(part, &format!("{at}/{name}")));
            }
            ("anyOf" | "oneOf", Value::Array(parts)) => parts.iter().for_each(|part| known(part, at)),
            ("items" | "additionalProperties", part) => known(part, at),
            _ => {}
        }
    }
}

fn is(value: &Value, kind: &Value) -> bool {
    match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        kind => panic!("`{kind}` is no type"),
    }
}

fn formatted(text: &str, format: &str) -> bool {
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte));
    match format {
        "uri-reference" => plain,
        "uri" => {
            plain && text.split_once(':').is_some_and(|(scheme, _)| scheme.starts_with(|c: char| c.is_alphabetic()))
        }
        _ => false,
    }
}
