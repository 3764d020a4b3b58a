//! Reads a data file into rows and faults: it goes on after a fault, and does not judge what a row says.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::value::Error as PlainError;
use serde::de::{Deserializer, IntoDeserializer as _, Visitor};
use serde::forward_to_deserialize_any;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::sort::Sorted as _;

/// Something wrong in a data file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file, as it was named by the caller.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The bytes.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }
}

impl Fault {
    /// A fault in a text.
    pub fn new(file: &str, text: &str, span: Range<usize>, message: impl Into<String>) -> Self {
        // A span may end within the last line break or, at the end of a cut text, beyond it.
        let start = floor(text, span.start);
        let end = floor(text, span.end).max(start);
        let before = &text[..start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            span: start..end,
            message: message.into(),
        }
    }
}

/// The nearest character boundary at or before a position.
pub fn floor(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at.min(text.len()))
}

/// A row and where it stands.
#[derive(Clone, Debug)]
pub struct Located<Row> {
    /// The row.
    pub row: Row,
    /// Where it begins.
    pub span: Range<usize>,
    /// Where the values of its keys stand.
    pub values: BTreeMap<String, Range<usize>>,
}

impl<Row> Located<Row> {
    /// Where the value of a key stands, else where the row begins.
    pub fn at(&self, key: &str) -> Range<usize> {
        self.values.get(key).unwrap_or(&self.span).clone()
    }
}

/// A data file that is being read.
#[derive(Debug)]
pub struct Reader<'t> {
    file: &'t str,
    text: &'t str,
    root: DeTable<'t>,
    sound: bool,
    faults: Vec<Fault>,
}

impl<'t> Reader<'t> {
    /// Reads the grammar of a text; what cannot be read becomes faults.
    pub fn new(file: &'t str, text: &'t str) -> Self {
        let (root, errors) = DeTable::parse_recoverable(text);
        let faults = errors
            .iter()
            .map(|error| Fault::new(file, text, error.span().unwrap_or_default(), error.message()))
            .collect();
        Self { file, text, root: root.into_inner(), sound: errors.is_empty(), faults }
    }

    /// Takes the rows of a table: those that can be read.
    pub fn rows<Row: for<'de> Deserialize<'de>>(&mut self, table: &str) -> Vec<Located<Row>> {
        let Some(value) = self.root.remove(table) else { return Vec::new() };
        let span = value.span();
        let DeValue::Array(rows) = value.into_inner() else {
            self.fault(span, format!("`{table}` is not an array of tables: write `[[{table}]]`"));
            return Vec::new();
        };
        let mut read = Vec::new();
        for row in rows {
            let span = row.span();
            match row.into_inner() {
                DeValue::Table(entries) => read.extend(self.row(span, entries)),
                _ => self.fault(span, format!("a row of `{table}` is not a table")),
            }
        }
        read
    }

    /// Takes what is left at the top of the file as one row.
    pub fn root<Row: for<'de> Deserialize<'de>>(&mut self) -> Option<Located<Row>> {
        let entries = std::mem::take(&mut self.root);
        self.row(0..0, entries)
    }

    /// The faults, those of keys nobody asked for included.
    pub fn finish(mut self) -> Vec<Fault> {
        // Where the grammar is broken, keys end up at the top that were meant for a table.
        if self.sound {
            let left: Vec<_> = self.root.iter().map(|(key, _)| (key.span(), key.get_ref().to_string())).collect();
            for (span, key) in left {
                self.fault(span, format!("unknown table `{key}`"));
            }
        }
        crate::sort::by_key(&mut self.faults, |fault| fault.span.start);
        self.faults
    }

    fn fault(&mut self, span: Range<usize>, message: impl Into<String>) {
        self.faults.push(Fault::new(self.file, self.text, span, message));
    }

    /// Reads one row. An entry with a fault is put aside and the row read again, so that each fault is told.
    fn row<Row: for<'de> Deserialize<'de>>(
        &mut self,
        span: Range<usize>,
        mut entries: DeTable<'t>,
    ) -> Option<Located<Row>> {
        let values = self.places(fields_of::<Row>(), &mut entries);
        let mut aside: Vec<String> = Vec::new();
        // Each turn takes one entry out, so this ends.
        loop {
            let value = Spanned::new(span.clone(), DeValue::Table(entries.clone()));
            match Row::deserialize(value.into_deserializer()) {
                Ok(row) => return aside.is_empty().then_some(Located { row, span, values }),
                Err(error) => self.put_aside(&error, &span, &values, &mut entries, &mut aside)?,
            }
        }
    }

    /// Where the values of a row stand; keys that nobody asks for become faults and are taken out.
    fn places(&mut self, known: &[&str], entries: &mut DeTable<'t>) -> BTreeMap<String, Range<usize>> {
        let unknown: Vec<_> = entries
            .iter()
            .filter(|(key, _)| !known.contains(&key.get_ref().as_ref()))
            .map(|(key, _)| key.clone())
            .collect();
        for key in unknown {
            self.fault(key.span(), format!("unknown key `{}`", key.get_ref()));
            entries.remove(key.get_ref().as_ref());
        }
        entries.iter().map(|(key, value)| (key.get_ref().to_string(), value.span())).sorted_map()
    }

    /// Puts the entry aside at which a row could not be read; `None` where it is none of them.
    fn put_aside(
        &mut self,
        error: &toml::de::Error,
        span: &Range<usize>,
        values: &BTreeMap<String, Range<usize>>,
        entries: &mut DeTable<'t>,
        aside: &mut Vec<String>,
    ) -> Option<()> {
        let at = error.span().unwrap_or_else(|| span.clone());
        let culprit = values.iter().find(|(key, place)| {
            !aside.contains(key) && *place != span && place.start <= at.start && at.end <= place.end
        });
        if let Some((key, _)) = culprit {
            self.fault(at, format!("`{key}`: {}", error.message()));
            entries.remove(key.as_str());
            aside.push(key.clone());
            return Some(());
        }
        // A key that is missing because it was put aside has had its fault.
        if !aside.iter().any(|key| error.message() == format!("missing field `{key}`")) {
            self.fault(at, error.message().replace("missing field", "missing key"));
        }
        None
    }
}

/// The keys that a row type knows, as serde's derive names them.
fn fields_of<Row: for<'de> Deserialize<'de>>() -> &'static [&'static str] {
    struct Fields<'f>(&'f mut &'static [&'static str]);

    impl<'de> Deserializer<'de> for Fields<'_> {
        type Error = PlainError;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, PlainError> {
            Err(serde::de::Error::custom("only asked for its fields"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, PlainError> {
            *self.0 = fields;
            self.deserialize_any(visitor)
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    let mut fields: &'static [&'static str] = &[];
    // It always fails: the names of the fields are what was wanted.
    let _ = Row::deserialize(Fields(&mut fields));
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::schema::{CudaRow, MetaRow};
    use proptest::prelude::*;

    #[test]
    fn the_fields_are_those_of_the_type() {
        assert_eq!(fields_of::<MetaRow>(), ["schema", "revision", "date", "license"]);
    }

    #[test]
    fn good_rows_are_read_beside_bad_ones() {
        let text = "[[cuda]]\nversion = 12\nsource = \"https://a.b\"\nchecked = 2026-01-01\n\
                    [[cuda]]\nversion = \"12.4.1\"\nsource = \"https://a.b\"\nchecked = 2026-01-01\n";
        let mut reader = Reader::new("cuda.toml", text);
        let rows = reader.rows::<CudaRow>("cuda");
        assert_eq!(rows.len(), 1);
        assert_eq!(&text[rows[0].at("version")], "\"12.4.1\"");
        assert_eq!(&text[rows[0].at("note")], "[[cuda]]");
        let faults = reader.finish();
        assert_eq!(faults.len(), 1);
        assert_eq!((faults[0].line, faults[0].column), (2, 11));
    }

    #[test]
    fn columns_count_characters() {
        let text = "a = \"\u{fc}\"\n\u{fc} = 1";
        assert_eq!(Fault::new("f", text, 6..6, "").column, 6);
        assert_eq!(Fault::new("f", text, 900..1000, "").line, 2);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(
            text in "(\\[\\[cuda\\]\\]\n)?(version|checked|source|\u{fc}|\\[cuda\\]|\"| = |\\{|1\\.|\n|2026-01-01|.){0,40}"
        ) {
            let mut reader = Reader::new("cuda.toml", &text);
            reader.rows::<CudaRow>("cuda");
            for fault in reader.finish() {
                prop_assert!(fault.line >= 1 && fault.column >= 1);
                #[cfg(feature = "cli")]
                prop_assert!(!fault.render(&text).is_empty());
            }
        }
    }
}
