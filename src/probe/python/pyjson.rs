//! Reads one JSON object as Python's `json` would; keeps its own fields and nothing that lies deeper.
//!
//! Stricter and laxer than the standard in the same places as Python 3.8 to 3.14: `NaN`, `Infinity` and
//! `-Infinity` are numbers, the last of equal keys wins, halves of surrogate pairs may stand alone, a byte
//! order mark is an error.

use std::collections::BTreeMap;

/// Python gives up somewhere behind this depth (its recursion limit is 1000, less what is on the stack already).
const DEPTH: u32 = 500;
/// Python refuses integers with more digits (`sys.set_int_max_str_digits`).
const DIGITS: usize = 4300;

/// A value, as far as its kind matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number without point and exponent; whether it is zero.
    Int { zero: bool },
    /// Any other number; whether it is zero.
    Float { zero: bool },
    /// A string; the halves of surrogates replaced.
    Text(String),
    /// A list; whether it is empty.
    List { empty: bool },
    /// An object; whether it is empty.
    Object { empty: bool },
}

impl Value {
    /// What Python's `bool()` makes of it.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Bool(value) => *value,
            Self::Int { zero } | Self::Float { zero } => !zero,
            Self::Text(text) => !text.is_empty(),
            Self::List { empty } | Self::Object { empty } => !empty,
        }
    }
}

/// A field of the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) value: Value,
    /// The value as written.
    pub(super) raw: String,
    /// Where its key begins, in bytes.
    pub(super) at: usize,
}

/// What a text holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Document {
    /// An object and its fields.
    Object(BTreeMap<String, Field>),
    /// Valid, and no object: which kind.
    Other(Value),
    /// `json.load` raises `ValueError`.
    Invalid { why: &'static str, line: u32 },
    /// It nests so deep that it depends on the Python whether it can be read.
    Deep,
}

/// Reads a text.
pub(super) fn read(bytes: &[u8]) -> Document {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let line = line_at(bytes, error.valid_up_to());
            return Document::Invalid { why: "not UTF-8", line };
        }
    };
    if text.starts_with('\u{feff}') {
        return Document::Invalid { why: "begins with a byte order mark", line: 1 };
    }
    let mut reader = Reader { text, at: 0, fields: BTreeMap::new() };
    reader.space();
    let outcome = reader.value(0).and_then(|value| {
        reader.space();
        if reader.at == text.len() { Ok(value) } else { Err(Stop::Invalid("something follows the value")) }
    });
    match outcome {
        Ok(Value::Object { .. }) => Document::Object(reader.fields),
        Ok(other) => Document::Other(other),
        Err(Stop::Deep) => Document::Deep,
        Err(Stop::Invalid(why)) => Document::Invalid { why, line: line_at(bytes, reader.at) },
    }
}

/// The line of a byte.
pub(super) fn line_at(bytes: &[u8], at: usize) -> u32 {
    let breaks = bytes.iter().take(at).filter(|&&byte| byte == b'\n').count();
    u32::try_from(breaks).unwrap_or(u32::MAX).saturating_add(1)
}

enum Stop {
    Invalid(&'static str),
    Deep,
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    fields: BTreeMap<String, Field>,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, token: &str) -> bool {
        let there = self.rest().starts_with(token);
        if there {
            self.at += token.len();
        }
        there
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn value(&mut self, depth: u32) -> Result<Value, Stop> {
        if depth > DEPTH {
            return Err(Stop::Deep);
        }
        match self.peek() {
            Some(b'"') => return self.text_value().map(Value::Text),
            Some(b'{') => return self.object(depth),
            Some(b'[') => return self.list(depth),
            _ => {}
        }
        for (word, value) in [
            ("null", Value::Null),
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("NaN", Value::Float { zero: false }),
            ("Infinity", Value::Float { zero: false }),
            ("-Infinity", Value::Float { zero: false }),
        ] {
            if self.take(word) {
                return Ok(value);
            }
        }
        self.number()
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self) -> Result<Value, Stop> {
        let start = self.at;
        self.take("-");
        let whole = if self.take("0") { 1 } else { self.digits() };
        if whole == 0 {
            self.at = start;
            return Err(Stop::Invalid("a value is missing or misspelt"));
        }
        let mut float = false;
        let before = self.at;
        if self.take(".") {
            float = self.digits() > 0;
            if !float {
                self.at = before;
            }
        }
        let before = self.at;
        if self.take("e") || self.take("E") {
            let _ = self.take("+") || self.take("-");
            if self.digits() > 0 {
                float = true;
            } else {
                self.at = before;
            }
        }
        let written = self.text.get(start..self.at).unwrap_or_default();
        // Too small for a double is zero to Python too.
        let zero = written.parse::<f64>().is_ok_and(|number| number == 0.0);
        if float {
            Ok(Value::Float { zero })
        } else if whole > DIGITS {
            Err(Stop::Invalid("an integer of more than 4300 digits"))
        } else {
            Ok(Value::Int { zero })
        }
    }

    fn hex(&mut self) -> Result<u32, Stop> {
        let digits = self.rest().get(..4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let code = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let code = code.ok_or(Stop::Invalid("a wrong \\u escape"))?;
        self.at += 4;
        Ok(code)
    }

    fn text_value(&mut self) -> Result<String, Stop> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let Some(next) = self.rest().chars().next() else { return Err(Stop::Invalid("a string has no end")) };
            if next < ' ' {
                return Err(Stop::Invalid("a control character in a string"));
            }
            self.at += next.len_utf8();
            match next {
                '"' => return Ok(out),
                '\\' => out.push(self.escape()?),
                other => out.push(other),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Stop> {
        let kind = self.peek();
        let plain = match kind {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err(Stop::Invalid("an unknown escape in a string")),
        };
        self.at += 1;
        Ok(plain)
    }

    fn unicode(&mut self) -> Result<char, Stop> {
        let first = self.hex()?;
        if (0xd800..0xdc00).contains(&first) && self.rest().starts_with("\\u") {
            let before = self.at;
            self.at += 2;
            let second = self.hex()?;
            if (0xdc00..0xe000).contains(&second) {
                let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = before;
        }
        Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn list(&mut self, depth: u32) -> Result<Value, Stop> {
        self.at += 1;
        self.space();
        if self.take("]") {
            return Ok(Value::List { empty: true });
        }
        loop {
            self.space();
            self.value(depth + 1)?;
            self.space();
            if self.take("]") {
                return Ok(Value::List { empty: false });
            }
            if !self.take(",") {
                return Err(Stop::Invalid("`,` or `]` is missing"));
            }
        }
    }

    fn object(&mut self, depth: u32) -> Result<Value, Stop> {
        self.at += 1;
        self.space();
        if self.take("}") {
            return Ok(Value::Object { empty: true });
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return Err(Stop::Invalid("a key in double quotes is missing"));
            }
            let start = self.at;
            let key = self.text_value()?;
            self.space();
            if !self.take(":") {
                return Err(Stop::Invalid("`:` is missing"));
            }
            self.space();
            let from = self.at;
            let value = self.value(depth + 1)?;
            if depth == 0 {
                let raw = self.text.get(from..self.at).unwrap_or_default().chars().take(200).collect();
                self.fields.insert(key, Field { value, raw, at: start });
            }
            self.space();
            if self.take("}") {
                return Ok(Value::Object { empty: false });
            }
            if !self.take(",") {
                return Err(Stop::Invalid("`,` or `}` is missing"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn field(text: &str, key: &str) -> Value {
        match read(text.as_bytes()) {
            Document::Object(mut fields) => fields.remove(key).unwrap().value,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn what_python_takes_and_the_standard_does_not() {
        for number in ["NaN", "Infinity", "-Infinity", "1e999", "1E5", "-0.5", "1e-07"] {
            assert_eq!(field(&format!("{{\"a\": {number}}}"), "a"), Value::Float { zero: false }, "{number}");
        }
        assert_eq!(field(r#"{"a": 1, "a": "x"}"#, "a"), Value::Text("x".to_owned()));
        assert_eq!(field(r#"{"a": "\ud800", "b": "\ud83d\ude00"}"#, "b"), Value::Text("\u{1f600}".to_owned()));
        assert_eq!(field(r#"{"a": "\ud800\u0041"}"#, "a"), Value::Text("\u{fffd}A".to_owned()));
        assert_eq!(field(r#"{"\u0061": "b\/c"}"#, "a"), Value::Text("b/c".to_owned()));
        assert_eq!(
            field(&format!("{{\"a\": {}1{}}}", "[".repeat(400), "]".repeat(400)), "a"),
            Value::List { empty: false }
        );
    }

    #[test]
    fn what_python_refuses() {
        for text in [
            "",
            " \n",
            "{",
            "{'a': 1}",
            "{\"a\": 1,}",
            "[1,]",
            "{\"a\": 1} // x",
            "{\"a\": +Infinity}",
            "{\"a\": 01}",
            "{\"a\": 1.}",
            "{\"a\": .5}",
            "{\"a\": \"x\ty\"}",
            "{\"a\": \"\\x\"}",
            "{\"a\": \"\\u12g4\"}",
            "{\"a\": nan}",
            "\u{feff}{}",
            "{}\u{a0}",
        ] {
            assert!(matches!(read(text.as_bytes()), Document::Invalid { .. }), "{text:?}");
        }
        assert!(matches!(read(b"{\"a\": \"\xff\"}"), Document::Invalid { why: "not UTF-8", line: 1 }));
        assert!(matches!(read(format!("{{\"a\": {}}}", "9".repeat(4301)).as_bytes()), Document::Invalid { .. }));
        assert_eq!(read(format!("{{\"a\": {}}}", "[".repeat(100_000)).as_bytes()), Document::Deep);
        assert_eq!(read(b"{\n \"a\": 1,\n}"), Document::Invalid { why: "a key in double quotes is missing", line: 3 });
    }

    #[test]
    fn what_counts_as_true() {
        for (raw, truth) in [
            ("null", false),
            ("false", false),
            ("0", false),
            ("-0", false),
            ("0.0", false),
            ("1e-400", false),
            ("\"\"", false),
            ("[]", false),
            ("{}", false),
            ("true", true),
            ("\"false\"", true),
            ("NaN", true),
            ("[0]", true),
            ("2", true),
        ] {
            assert_eq!(field(&format!("{{\"a\":{raw}}}"), "a").is_true(), truth, "{raw}");
        }
        assert_eq!(read(b" [] "), Document::Other(Value::List { empty: true }));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "[{}\\[\\]\":,a-z\\\\\\n 0-9.\u{20ac}]{0,80}") {
            let _ = (read(&bytes), read(text.as_bytes()));
        }

        #[test]
        fn what_the_standard_allows_is_taken(value in "\\PC{0,20}", number in any::<i64>(), float in any::<f64>()) {
            let json = serde_json::json!({ "a": value, "b": [number, float, null, { "c": true }], "d": float });
            for text in [serde_json::to_string(&json).unwrap(), serde_json::to_string_pretty(&json).unwrap()] {
                prop_assert_eq!(field(&text, "a"), Value::Text(value.clone()));
                prop_assert_eq!(field(&text, "b"), Value::List { empty: false });
            }
        }

        #[test]
        fn nothing_else_is_taken(text in "[{}\\[\\]\":,a-z\\\\\\n 0-9.eE+-]{0,40}") {
            // None of the words that only Python knows can be formed from these letters.
            let lawful = serde_json::from_str::<serde_json::Value>(&text).is_ok();
            let refused = matches!(read(text.as_bytes()), Document::Invalid { .. });
            prop_assert!(!lawful || !refused);
            let python = matches!(read(text.as_bytes()), Document::Object(_) | Document::Other(_));
            // serde_json refuses what no double can hold and halves of surrogates; both need digits.
            prop_assert!(!python || lawful || text.contains(|c: char| c.is_ascii_digit()));
        }
    }
}
