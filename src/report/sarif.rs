//! SARIF 2.1.0: one run, one result for each finding, each with a place in the project.

use serde_json::{Value, json};

use super::item::Item;
use super::{Origin, Tool};
use crate::finding::Level;

/// The address of the schema that the document keeps to.
const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// The document; `troubles` say why the check fails where no result does.
pub fn document(items: &[Item], database: &Origin, exit_code: u8, troubles: &[&str]) -> Value {
    let mut rules: Vec<&str> = Vec::new();
    for item in items {
        if !rules.contains(&item.rule.id) {
            rules.push(item.rule.id);
        }
    }
    let described: Vec<Value> = rules
        .iter()
        .filter_map(|id| crate::rules::find(id))
        .map(|rule| {
            json!({
                "id": rule.id,
                "shortDescription": {"text": rule.summary},
                "help": {"text": rule.docs.trim(), "markdown": rule.docs.trim()},
                "defaultConfiguration": {"level": level(rule.level)},
            })
        })
        .collect();
    let results: Vec<Value> = items.iter().map(|item| result(item, &rules)).collect();
    let notices: Vec<Value> =
        troubles.iter().map(|text| json!({"level": "error", "message": {"text": text}})).collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": Tool::THIS.name,
                "semanticVersion": Tool::THIS.version,
                "rules": described,
                "properties": {"database": format!("revision {} of {}", database.revision, database.date)},
            }},
            "invocations": [{
                "executionSuccessful": true,
                "exitCode": exit_code,
                "toolExecutionNotifications": notices,
            }],
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn result(item: &Item, rules: &[&str]) -> Value {
    let mut region = json!({"startLine": item.place.line});
    if let Some(column) = item.place.column {
        region["startColumn"] = column.into();
    }
    let mut result = json!({
        "ruleId": item.rule.id,
        "ruleIndex": rules.iter().position(|id| *id == item.rule.id),
        "level": level(item.level),
        "message": {"text": item.text()},
        "locations": [{
            "physicalLocation": {
                "artifactLocation": {"uri": uri(&item.place.file), "uriBaseId": "%SRCROOT%"},
                "region": region,
            },
            "logicalLocations": [{"fullyQualifiedName": item.subject, "kind": "resource"}],
        }],
        // Lines move and versions change; what is found where stays one alert.
        "partialFingerprints": {"gpuDoctor/v1": fingerprint(&[item.rule.id, &item.subject])},
    });
    if !item.machines.is_empty() {
        result["occurrenceCount"] = item.machines.len().into();
        result["properties"] = json!({"machines": item.machines});
        result["partialFingerprints"] = json!({"gpuDoctor/v1": fingerprint(&[item.rule.id, &item.title])});
    }
    result
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Deny => "error",
        Level::Warn => "warning",
        Level::Note => "note",
    }
}

/// A relative reference: everything but unreserved characters and `/` as percent escapes.
fn uri(path: &str) -> String {
    let mut uri = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'.' | b'_' | b'~') {
            uri.push(char::from(byte));
        } else {
            uri.push('%');
            for digit in [byte >> 4, byte & 15] {
                uri.push(char::from_digit(u32::from(digit), 16).unwrap_or('0').to_ascii_uppercase());
            }
        }
    }
    uri
}

/// FNV-1a over texts: the same on every machine and in every release.
fn fingerprint(texts: &[&str]) -> String {
    let bytes = texts.iter().flat_map(|text| text.bytes().chain([0]));
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_relative_references() {
        assert_eq!(uri("a b/ü#?%:.toml"), "a%20b/%C3%BC%23%3F%25%3A.toml");
    }

    #[test]
    fn fingerprints_stay() {
        assert_eq!(fingerprint(&["gpu-absent", "machine"]), fingerprint(&["gpu-absent", "machine"]));
        assert_ne!(fingerprint(&["ab", "c"]), fingerprint(&["a", "bc"]));
    }
}
