//! A whole database as one JSON document, as `db export` prints it; decides nothing about its use.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::lint::{self, Tables};
use super::load::Fault;
use super::schema::{
    ChipRow, CompatRow, CrateRow, CudaRow, CudnnRow, Day, DriverRow, GpuRow, KerasRow, MetaRow, TensorflowRow,
};
use crate::sort::Sorted as _;

/// The names of the tables, in the order in which they are printed.
pub const TABLES: [&str; 9] = ["tensorflow", "keras", "cuda", "cudnn", "driver", "gpu", "chip", "compat", "crates"];

/// The origin of data that the user's data folder renewed.
pub const OVERLAY: &str = "overlay";

/// The rows of all tables.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rows {
    /// TensorFlow wheels.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tensorflow: Vec<TensorflowRow>,
    /// Keras releases.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keras: Vec<KerasRow>,
    /// CUDA toolkits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cuda: Vec<CudaRow>,
    /// cuDNN releases.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cudnn: Vec<CudnnRow>,
    /// Driver branches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub driver: Vec<DriverRow>,
    /// GPUs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpu: Vec<GpuRow>,
    /// Chips.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chip: Vec<ChipRow>,
    /// Forward-compatibility packages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compat: Vec<CompatRow>,
    /// Rust crates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub crates: Vec<CrateRow>,
}

impl Rows {
    /// How many rows each table has.
    pub fn counts(&self) -> [(&'static str, usize); 9] {
        let counts = [
            self.tensorflow.len(),
            self.keras.len(),
            self.cuda.len(),
            self.cudnn.len(),
            self.driver.len(),
            self.gpu.len(),
            self.chip.len(),
            self.compat.len(),
            self.crates.len(),
        ];
        let mut named = [("", 0); 9];
        for (slot, pair) in named.iter_mut().zip(TABLES.into_iter().zip(counts)) {
            *slot = pair;
        }
        named
    }

    /// How many rows there are.
    pub fn count(&self) -> usize {
        self.counts().iter().map(|(_, count)| count).sum()
    }
}

/// A database as one document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// The version of the row grammar.
    pub schema: u32,
    /// Goes up with every change of curated data.
    pub revision: u32,
    /// The day of the data.
    pub date: Day,
    /// Where its writer had it from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// The rows.
    pub tables: Rows,
}

/// Why a text is no database.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDocument {
    /// Another row grammar.
    #[error("it has schema {0}, and this program knows schema {known}: install a newer release of this program", known = lint::SCHEMA)]
    Schema(u64),
    /// Not the right shape.
    #[error("it is no database: {0}")]
    Shape(String),
    /// The linter refuses it.
    #[error("it has {} faults, the first: {}", .0.len(), .0.first().map(ToString::to_string).unwrap_or_default())]
    Faults(Vec<Fault>),
}

impl Document {
    /// Reads a document; what its rows say is not judged.
    pub fn parse(text: &str) -> Result<Self, NotDocument> {
        #[derive(Deserialize)]
        struct Head {
            schema: Option<u64>,
        }
        let shape = |error: serde_json::Error| NotDocument::Shape(error.to_string());
        let head: Head = serde_json::from_slice(text.as_bytes()).map_err(shape)?;
        match head.schema {
            Some(schema) if schema == u64::from(lint::SCHEMA) => serde_json::from_slice(text.as_bytes()).map_err(shape),
            Some(schema) => Err(NotDocument::Schema(schema)),
            None => Err(NotDocument::Shape("it has no `schema`".to_owned())),
        }
    }

    /// The document as text.
    pub fn text(&self) -> Result<String, NotDocument> {
        serde_json::to_string(self).map(|text| text + "\n").map_err(|error| NotDocument::Shape(error.to_string()))
    }

    /// The data files that would hold these rows.
    pub fn files(&self) -> Result<BTreeMap<String, String>, NotDocument> {
        #[derive(Serialize)]
        struct Gpus<'r> {
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            gpu: &'r [GpuRow],
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            chip: &'r [ChipRow],
        }
        fn text(value: &impl Serialize) -> Result<String, NotDocument> {
            toml::to_string(value).map_err(|error| NotDocument::Shape(error.to_string()))
        }
        fn table<Row: Serialize>(name: &str, rows: &[Row]) -> Result<String, NotDocument> {
            if rows.is_empty() { Ok(String::new()) } else { text(&BTreeMap::from([(name, rows)])) }
        }
        let meta = MetaRow {
            schema: self.schema,
            revision: self.revision,
            date: self.date.clone(),
            license: "MIT OR Apache-2.0".to_owned(),
        };
        let rows = &self.tables;
        Ok([
            ("meta.toml", text(&meta)?),
            ("tensorflow.toml", table("tensorflow", &rows.tensorflow)?),
            ("keras.toml", table("keras", &rows.keras)?),
            ("cuda.toml", table("cuda", &rows.cuda)?),
            ("cudnn.toml", table("cudnn", &rows.cudnn)?),
            ("driver.toml", table("driver", &rows.driver)?),
            ("gpu.toml", text(&Gpus { gpu: &rows.gpu, chip: &rows.chip })?),
            ("compat.toml", table("compat", &rows.compat)?),
            ("crates.toml", table("crates", &rows.crates)?),
        ]
        .into_iter()
        .map(|(name, text)| (name.to_owned(), text))
        .sorted_map())
    }

    /// Holds the rows against the linter; `derived` says whether derived rows may be among them.
    pub fn lint(&self, derived: bool, today: Option<&Day>) -> Result<(), NotDocument> {
        let files = self.files()?;
        let (_, faults) = if derived { lint::lint_overlaid(&files, today) } else { lint::lint(&files, "", today) };
        if faults.is_empty() { Ok(()) } else { Err(NotDocument::Faults(faults)) }
    }
}

impl From<Tables> for Rows {
    fn from(tables: Tables) -> Self {
        Self {
            tensorflow: tables.tensorflow,
            keras: tables.keras,
            cuda: tables.cuda,
            cudnn: tables.cudnn,
            driver: tables.driver,
            gpu: tables.gpu,
            chip: tables.chip,
            compat: tables.compat,
            crates: tables.crates,
        }
    }
}

impl From<Document> for Tables {
    fn from(document: Document) -> Self {
        let rows = document.tables;
        Self {
            meta: Some(MetaRow {
                schema: document.schema,
                revision: document.revision,
                date: document.date,
                license: "MIT OR Apache-2.0".to_owned(),
            }),
            tensorflow: rows.tensorflow,
            keras: rows.keras,
            cuda: rows.cuda,
            cudnn: rows.cudnn,
            driver: rows.driver,
            gpu: rows.gpu,
            chip: rows.chip,
            compat: rows.compat,
            crates: rows.crates,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Database;

    #[test]
    fn the_embedded_database_goes_round_and_is_clean() {
        let text = Database::embedded().export().to_string();
        let document = Document::parse(&text).unwrap();
        assert_eq!(document.tables, Database::embedded().rows());
        document.lint(false, None).unwrap();
        let (tables, faults) = lint::lint(&document.files().unwrap(), "", None);
        assert_eq!((faults, Rows::from(tables)), (Vec::new(), document.tables));
    }

    #[test]
    fn what_is_no_database_says_why() {
        assert_eq!(Document::parse(r#"{"schema": 2, "news": 1}"#), Err(NotDocument::Schema(2)));
        assert!(matches!(Document::parse("{}"), Err(NotDocument::Shape(_))));
        assert!(matches!(Document::parse("[1"), Err(NotDocument::Shape(_))));
        let unknown = r#"{"schema":1,"revision":1,"date":"2026-01-01","tables":{"news":[]}}"#;
        assert!(matches!(Document::parse(unknown), Err(NotDocument::Shape(_))));
    }
}
