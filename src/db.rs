//! The database of what goes with what: looks rows up, and judges nothing.
//!
//! The data lies in data/*.toml. The build script lints it and turns each table into compact JSON,
//! which is embedded and read on first use, table by table.

#[cfg(any(test, feature = "cli", feature = "update"))]
use std::cmp::Ordering;
use std::fmt;
use std::sync::OnceLock;

use pep440_rs::Version;
use serde::de::DeserializeOwned;
#[cfg(any(test, feature = "cli", feature = "update"))]
use serde_json::{Map, Value, json};

use crate::finding::RowRef;
use crate::ranges::common;
use crate::version::Dotted;

// Whole databases are read, written and linted by the commands alone.
#[cfg(any(test, feature = "cli", feature = "update"))]
pub mod document;
#[cfg(any(test, feature = "cli", feature = "update"))]
pub mod lint;
#[cfg(any(test, feature = "cli", feature = "update"))]
pub mod load;
#[cfg(any(test, feature = "cli", feature = "update"))]
pub mod overlay;
pub mod schema;
#[cfg(feature = "cli")]
mod shown;

pub use schema::{
    ChipRow, CompatRow, CrateRow, CudaRow, CudnnRow, Day, DriverKind, DriverRow, GpuRow, KerasRow, MetaRow, Release,
    TensorflowRow,
};

mod embedded {
    //! The tables as the build script wrote them.
    include!(concat!(env!("OUT_DIR"), "/database.rs"));
}

/// Which data a database holds.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Meta {
    /// The version of the row grammar.
    pub schema: u32,
    /// Goes up with every change of the data.
    pub revision: u32,
    /// The day of that change, `YYYY-MM-DD`.
    pub date: String,
    /// Where the data came from: `embedded`, `overlay`, or what a caller of `from_tables` said.
    pub origin: String,
}

/// A GPU that the database knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpu {
    /// The product name; several joined by ` / ` where one id is sold under several names; the chip's where only that is known.
    pub name: String,
    /// The chip, where its table has the id.
    pub chip: Option<String>,
    /// The compute capability.
    pub compute: Dotted,
    /// `datacenter`, `workstation`, `geforce` or `jetson`.
    pub class: Option<String>,
    /// The row that says so.
    pub row: RowRef,
}

/// A table that is read when it is first asked for.
struct Table<Row> {
    /// JSON, compressed.
    json: &'static [u8],
    rows: OnceLock<Vec<Row>>,
}

impl<Row: DeserializeOwned + Clone> Table<Row> {
    const fn lazy(json: &'static [u8]) -> Self {
        Self { json, rows: OnceLock::new() }
    }

    #[cfg(any(test, feature = "cli", feature = "update"))]
    fn read(rows: Vec<Row>) -> Self {
        Self { json: &[], rows: OnceLock::from(rows) }
    }

    fn rows(&self) -> &[Row] {
        // The build script wrote this text from these very types: it reads, and a test reads every table.
        self.rows.get_or_init(|| {
            let json = miniz_oxide::inflate::decompress_to_vec(self.json).unwrap_or_default();
            serde_json::from_slice(&json).unwrap_or_default()
        })
    }

    #[cfg(any(test, feature = "cli", feature = "update"))]
    /// The same table with more rows; a row that is there already stays as it is.
    fn with(self, more: Vec<Row>, order: impl Fn(&Row, &Row) -> Ordering) -> Self {
        if more.is_empty() {
            return self;
        }
        let mut rows = self.rows().to_vec();
        for row in more {
            if let Err(place) = rows.binary_search_by(|other| order(other, &row)) {
                rows.insert(place, row);
            }
        }
        Self::read(rows)
    }
}

/// The rows of TensorFlow, which are more than all others: those of one platform are read without the rest.
struct Wheels {
    /// JSON, a row in each line, compressed.
    json: &'static [u8],
    /// The platform that was asked for first, and its rows.
    one: OnceLock<(String, Vec<TensorflowRow>)>,
    all: OnceLock<Vec<TensorflowRow>>,
}

impl Wheels {
    const fn lazy(json: &'static [u8]) -> Self {
        Self { json, one: OnceLock::new(), all: OnceLock::new() }
    }

    #[cfg(any(test, feature = "cli", feature = "update"))]
    fn read(rows: Vec<TensorflowRow>) -> Self {
        Self { json: &[], one: OnceLock::new(), all: OnceLock::from(rows) }
    }

    /// The rows whose lines hold a text.
    fn parse(&self, text: &str) -> Vec<TensorflowRow> {
        let json = miniz_oxide::inflate::decompress_to_vec(self.json).unwrap_or_default();
        let lines = json.split(|&byte| byte == b'\n');
        let lines = lines.filter(|line| text.is_empty() || memchr::memmem::find(line, text.as_bytes()).is_some());
        // The build script wrote these lines from this very type: they read, and a test reads every one.
        lines.filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }

    fn rows(&self) -> &[TensorflowRow] {
        self.all.get_or_init(|| self.parse(""))
    }

    /// The rows of a platform.
    fn of<'d, 'p>(&'d self, platform: &'p str) -> impl Iterator<Item = &'d TensorflowRow> + use<'d, 'p> {
        let rows = self.all.get().unwrap_or_else(|| {
            let (first, rows) = self.one.get_or_init(|| (platform.to_owned(), self.parse(&format!("\"{platform}\""))));
            if first == platform { rows } else { self.all.get_or_init(|| self.parse("")) }
        });
        rows.iter().filter(move |row| row.platform == platform)
    }
}

/// The tables.
pub struct Database {
    meta: Meta,
    tensorflow: Wheels,
    keras: Table<KerasRow>,
    cuda: Table<CudaRow>,
    cudnn: Table<CudnnRow>,
    driver: Table<DriverRow>,
    gpu: Table<GpuRow>,
    chip: Table<ChipRow>,
    compat: Table<CompatRow>,
    crates: Table<CrateRow>,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("meta", &self.meta).finish_non_exhaustive()
    }
}

impl Default for Database {
    fn default() -> Self {
        Self {
            meta: Meta {
                schema: embedded::SCHEMA,
                revision: embedded::REVISION,
                date: embedded::DATE.to_owned(),
                origin: "embedded".to_owned(),
            },
            tensorflow: Wheels::lazy(embedded::TENSORFLOW),
            keras: Table::lazy(embedded::KERAS),
            cuda: Table::lazy(embedded::CUDA),
            cudnn: Table::lazy(embedded::CUDNN),
            driver: Table::lazy(embedded::DRIVER),
            gpu: Table::lazy(embedded::GPU),
            chip: Table::lazy(embedded::CHIP),
            compat: Table::lazy(embedded::COMPAT),
            crates: Table::lazy(embedded::CRATES),
        }
    }
}

impl Database {
    /// The database that this program was built with.
    ///
    /// ```
    /// let db = gpu_doctor::db::Database::embedded();
    /// let row = db.tensorflow("tensorflow", "linux-x86_64", "2.10.0").unwrap();
    /// assert_eq!(row.cuda.as_ref().unwrap().as_str(), "11.2");
    /// ```
    pub fn embedded() -> &'static Self {
        static EMBEDDED: OnceLock<Database> = OnceLock::new();
        EMBEDDED.get_or_init(Self::default)
    }

    /// Reads the tables that nearly every judgment on a platform asks for, so that none has to wait for them.
    pub fn prepare(&self, platform: &str) {
        self.tensorflow.of(platform).next();
        self.keras.rows();
        self.cuda.rows();
        self.cudnn.rows();
        self.driver.rows();
    }

    #[cfg(any(test, feature = "cli", feature = "update"))]
    /// A database from data files that the linter has read; none where meta.toml could not be read.
    pub fn from_tables(tables: lint::Tables, origin: &str) -> Option<Self> {
        let meta = tables.meta?;
        Some(Self {
            meta: Meta {
                schema: meta.schema,
                revision: meta.revision,
                date: meta.date.to_string(),
                origin: origin.to_owned(),
            },
            tensorflow: Wheels::read(tables.tensorflow),
            keras: Table::read(tables.keras),
            cuda: Table::read(tables.cuda),
            cudnn: Table::read(tables.cudnn),
            driver: Table::read(tables.driver),
            gpu: Table::read(tables.gpu),
            chip: Table::read(tables.chip),
            compat: Table::read(tables.compat),
            crates: Table::read(tables.crates),
        })
    }

    #[cfg(any(test, feature = "cli", feature = "update"))]
    /// The same data with derived rows; they are added and never take the place of another row.
    #[must_use]
    pub fn overlaid(mut self, derived: document::Rows, date: &Day) -> Self {
        if !derived.tensorflow.is_empty() {
            let rows = Table::read(self.tensorflow.rows().to_vec()).with(derived.tensorflow, TensorflowRow::order);
            self.tensorflow = Wheels::read(rows.rows().to_vec());
        }
        self.keras = self.keras.with(derived.keras, KerasRow::order);
        self.cuda = self.cuda.with(derived.cuda, CudaRow::order);
        self.cudnn = self.cudnn.with(derived.cudnn, CudnnRow::order);
        document::OVERLAY.clone_into(&mut self.meta.origin);
        // On that day nothing newer was left to add.
        if date.as_str() > self.meta.date.as_str() {
            date.as_str().clone_into(&mut self.meta.date);
        }
        self
    }

    /// Which data this is.
    pub fn meta(&self) -> Meta {
        self.meta.clone()
    }

    /// The row of a TensorFlow package; a local version (`2.16.1+nv24.03`) falls back on its public part.
    pub fn tensorflow(&self, package: &str, platform: &str, version: &str) -> Option<&TensorflowRow> {
        let wanted: Version = version.trim().parse().ok()?;
        let public = wanted.clone().without_local();
        let find = |wanted: &Version| {
            self.tensorflow.of(platform).find(|row| row.package == package && row.version == *wanted)
        };
        find(&wanted).or_else(|| find(&public))
    }

    /// The newest row of the package `tensorflow` that is older than a version the table lacks.
    pub fn tensorflow_nearest_older(&self, platform: &str, version: &str) -> Option<&TensorflowRow> {
        let wanted: Version = version.trim().parse().ok()?;
        self.tensorflow
            .of(platform)
            .filter(|row| row.package == "tensorflow" && row.version < wanted)
            .max_by(|a, b| a.version.cmp(&b.version))
    }

    /// All TensorFlow rows.
    pub fn tensorflow_rows(&self) -> &[TensorflowRow] {
        self.tensorflow.rows()
    }

    /// The release of TensorFlow to take in the place of `version`, whose extra `and-cuda` gives it no GPU, and why not
    /// that one; `None` where its extra does, or nothing is known of it.
    ///
    /// The last one of the same minor, else of the next lower one, else of the next higher one that the Python allows.
    pub(crate) fn instead_of_and_cuda(&self, version: &Version, python: &[&str]) -> Option<(&TensorflowRow, &str)> {
        let why = self.wheel_row(version)?.and_cuda_fails_on(python)?;
        Some((self.nearest_and_cuda(Some(version), python)?, why))
    }

    /// The row of a release of `tensorflow` itself for Linux on `x86_64`.
    pub(crate) fn wheel_row(&self, version: &Version) -> Option<&TensorflowRow> {
        self.wheel_rows().find(|row| row.version == *version)
    }

    fn wheel_rows(&self) -> impl Iterator<Item = &TensorflowRow> {
        self.tensorflow_rows().iter().filter(|row| row.package == "tensorflow" && row.platform == "linux-x86_64")
    }

    /// The releases of TensorFlow whose extra `and-cuda` gives them the GPU on a Python, oldest first.
    pub(crate) fn with_and_cuda(&self, python: &[&str]) -> Vec<&TensorflowRow> {
        let good = |row: &&TensorflowRow| {
            !row.and_cuda.is_empty()
                && !row.version.any_prerelease()
                && row.and_cuda_fails_on(python).is_none()
                && row.takes(python)
        };
        self.wheel_rows().filter(good).collect()
    }

    /// Of those the last one of the same minor, else of the next lower one, else of the next higher one; the newest of
    /// all where no version is given.
    pub(crate) fn nearest_and_cuda(&self, version: Option<&Version>, python: &[&str]) -> Option<&TensorflowRow> {
        let good = self.with_and_cuda(python);
        let minor = |version: &Version| version.release().get(..2).map(<[u64]>::to_vec);
        let last = |wanted| good.iter().rev().find(|row| minor(&row.version) <= wanted).copied();
        match version {
            None => good.last().copied(),
            Some(version) => last(minor(version)).or_else(|| last(minor(&good.first()?.version))),
        }
    }

    /// The row of `keras` or `tf-keras`; a local version falls back on its public part.
    pub fn keras(&self, package: &str, version: &str) -> Option<&KerasRow> {
        let wanted: Version = version.trim().parse().ok()?;
        let public = wanted.clone().without_local();
        let find =
            |wanted: &Version| self.keras_rows().iter().find(|row| row.package == package && row.version == *wanted);
        find(&wanted).or_else(|| find(&public))
    }

    /// All Keras rows.
    pub fn keras_rows(&self) -> &[KerasRow] {
        self.keras.rows()
    }

    /// The row of a CUDA toolkit: that release, else the newest update of the same major and minor.
    pub fn cuda(&self, version: &Dotted) -> Option<&CudaRow> {
        let rows = self.cuda_rows();
        // A finished release goes before its own pre-releases.
        let rank = |row: &&CudaRow| (row.version.number.clone(), row.version.pre.is_none(), row.version.pre.clone());
        let best = |fits: &dyn Fn(&CudaRow) -> bool| rows.iter().filter(|row| fits(row)).max_by_key(rank);
        best(&|row| row.version.number == *version).or_else(|| {
            best(&|row| row.version.number.major() == version.major() && row.version.number.minor() == version.minor())
        })
    }

    /// All CUDA rows.
    pub fn cuda_rows(&self) -> &[CudaRow] {
        self.cuda.rows()
    }

    /// The lowest Linux driver for the CUDA toolkits of a major (minor-version compatibility).
    pub fn cuda_floor(&self, major: u32) -> Option<(Dotted, RowRef)> {
        self.cuda_rows()
            .iter()
            .filter(|row| row.version.number.major() == major)
            .find_map(|row| Some((row.floor_linux.clone()?, row.row_ref())))
    }

    /// The row of cuDNN for a CUDA major: that release, else the newest older one of the same
    /// major and minor, else the newest older one of the same major.
    pub fn cudnn(&self, version: &Dotted, cuda_major: u32) -> Option<&CudnnRow> {
        // Rows of the same minor are newer than those of an older minor: the newest row that is
        // not newer than the version is what all three steps find.
        self.cudnn_rows()
            .iter()
            .filter(|row| row.cuda.iter().any(|cuda| cuda.major() == cuda_major))
            .filter(|row| row.version.major() == version.major() && row.version <= *version)
            .max_by(|a, b| a.version.cmp(&b.version))
    }

    /// All cuDNN rows.
    pub fn cudnn_rows(&self) -> &[CudnnRow] {
        self.cudnn.rows()
    }

    /// The branch of a driver.
    pub fn driver_branch(&self, driver: &Dotted) -> Option<&DriverRow> {
        self.driver_rows().iter().find(|row| row.branch.major() == driver.major())
    }

    /// All driver branches.
    pub fn driver_rows(&self) -> &[DriverRow] {
        self.driver.rows()
    }

    /// The CUDA that a driver of that branch reports.
    pub fn driver_reports_cuda(&self, driver: &Dotted) -> Option<(Dotted, RowRef)> {
        self.driver_branch(driver).map(|row| (row.reports_cuda.clone(), row.row_ref()))
    }

    /// The GPU with a PCI device id such as `0x2330`.
    pub fn gpu_by_pci(&self, device_id: &str) -> Option<Gpu> {
        let has = |ids: &[String]| ids.iter().any(|id| id.eq_ignore_ascii_case(device_id.trim()));
        let chip = self.chip.rows().iter().find(|row| has(&row.pci));
        let rows: Vec<&GpuRow> = self.gpu_rows().iter().filter(|row| has(&row.pci)).collect();
        if let Some(first) = rows.first() {
            // The linter sees to it that rows with a common id, and the chip's, agree on the compute capability.
            return Some(Gpu {
                name: rows.iter().map(|row| row.name.as_str()).collect::<Vec<_>>().join(" / "),
                chip: chip.map(|row| row.chip.clone()),
                compute: first.compute.clone(),
                class: first.class.clone().filter(|_| rows.iter().all(|row| row.class == first.class)),
                row: first.row_ref(),
            });
        }
        chip.map(|row| Gpu {
            name: row.chip.clone(),
            chip: Some(row.chip.clone()),
            compute: row.compute.clone(),
            class: None,
            row: row.row_ref(),
        })
    }

    /// The GPU with a product name such as the driver gives: `NVIDIA A100-SXM4-80GB`.
    ///
    /// Maker, memory size and form factor may differ from the row's; nothing else may.
    pub fn gpu_by_name(&self, model: &str) -> Option<Gpu> {
        let wanted = plain_name(model);
        if wanted.is_empty() {
            return None;
        }
        let rows = self.gpu_rows();
        let exact = rows.iter().find(|row| row.name.eq_ignore_ascii_case(model.trim()));
        let row = exact.or_else(|| {
            let mut same = rows.iter().filter(|row| plain_name(&row.name) == wanted);
            let first = same.next()?;
            // Two products that only differ in size must agree, or it is a guess.
            same.all(|row| row.compute == first.compute).then_some(first)
        })?;
        let chip = self.chip.rows().iter().find(|chip| row.pci.iter().any(|id| chip.pci.contains(id)));
        Some(Gpu {
            name: row.name.clone(),
            chip: chip.map(|chip| chip.chip.clone()),
            compute: row.compute.clone(),
            class: row.class.clone(),
            row: row.row_ref(),
        })
    }

    /// All GPUs by name.
    pub fn gpu_rows(&self) -> &[GpuRow] {
        self.gpu.rows()
    }

    /// The forward-compatibility package of a CUDA.
    pub fn compat(&self, cuda: &Dotted) -> Option<&CompatRow> {
        self.compat.rows().iter().find(|row| row.cuda.major() == cuda.major() && row.cuda.minor() == cuda.minor())
    }

    /// The row of a release of a crate: the last that begins at or before it, else the crate's first.
    ///
    /// Releases between two rows were not read, and those after the last row did not exist: what came
    /// before them is the best that is known.
    pub fn crate_row(&self, name: &str, version: &str) -> Option<&CrateRow> {
        let wanted: Option<Version> = version.trim().parse().ok();
        let mut rows = self.crates().iter().filter(|row| row.name == name);
        let first = rows.next()?;
        let later = rows.take_while(|row| row.first().is_some_and(|from| wanted.as_ref().is_none_or(|it| from <= *it)));
        Some(later.last().unwrap_or(first))
    }

    /// All crates.
    pub fn crates(&self) -> &[CrateRow] {
        self.crates.rows()
    }

    /// All chips.
    pub fn chip_rows(&self) -> &[ChipRow] {
        self.chip.rows()
    }

    /// All forward-compatibility packages.
    pub fn compat_rows(&self) -> &[CompatRow] {
        self.compat.rows()
    }

    #[cfg(any(test, feature = "cli", feature = "update"))]
    /// Every table with its rows.
    pub fn rows(&self) -> document::Rows {
        document::Rows {
            tensorflow: self.tensorflow_rows().to_vec(),
            keras: self.keras_rows().to_vec(),
            cuda: self.cuda_rows().to_vec(),
            cudnn: self.cudnn_rows().to_vec(),
            driver: self.driver_rows().to_vec(),
            gpu: self.gpu_rows().to_vec(),
            chip: self.chip_rows().to_vec(),
            compat: self.compat_rows().to_vec(),
            crates: self.crates().to_vec(),
        }
    }

    #[cfg(any(test, feature = "cli", feature = "update"))]
    /// Every table with its rows, as `db export` prints them.
    pub fn export(&self) -> Value {
        let mut tables = Map::new();
        for name in document::TABLES {
            tables.insert(name.to_owned(), self.table(name).unwrap_or_default());
        }
        json!({
            "schema": self.meta.schema,
            "revision": self.meta.revision,
            "date": self.meta.date,
            "origin": self.meta.origin,
            "tables": tables,
        })
    }

    #[cfg(any(test, feature = "cli", feature = "update"))]
    /// One table as a JSON array; none where there is no table of that name.
    pub fn table(&self, name: &str) -> Option<Value> {
        match name {
            "tensorflow" => crate::json::value(&self.tensorflow_rows()),
            "keras" => crate::json::value(&self.keras_rows()),
            "cuda" => crate::json::value(&self.cuda_rows()),
            "cudnn" => crate::json::value(&self.cudnn_rows()),
            "driver" => crate::json::value(&self.driver_rows()),
            "gpu" => crate::json::value(&self.gpu_rows()),
            "chip" => crate::json::value(&self.chip_rows()),
            "compat" => crate::json::value(&self.compat_rows()),
            "crates" => crate::json::value(&self.crates()),
            _ => return None,
        }
        .ok()
    }
}

/// A product name without its maker, memory size and form factor, in lower case.
fn plain_name(name: &str) -> String {
    let beside = |word: &str| {
        let size = word.strip_suffix("gb").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
        let socket = word.strip_prefix("sxm").is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
        let form = ["pcie", "pci", "nvl", "hbm2", "hbm2e", "hbm3", "hbm3e", "lhr"].contains(&word);
        size || socket || form || ["nvidia", "tesla", "generation"].contains(&word)
    };
    // `GB10 (DGX Spark)`: the product is before the bracket.
    name.split('(')
        .next()
        .unwrap_or_default()
        .to_lowercase()
        .split(|c: char| c.is_whitespace() || c == '-')
        .filter(|word| !word.is_empty() && !beside(word))
        .collect::<Vec<_>>()
        .join(" ")
}

/// A reference to a row.
fn reference(table: &str, key: String, source: &str) -> RowRef {
    RowRef { table: table.to_owned(), key, source: source.to_owned() }
}

/// Whether requirements leave a version that `wanted` has too, as far as can be told.
fn may_meet(requirements: &[&str], wanted: &str) -> bool {
    common(requirements.iter().copied().chain([wanted])) != Some(false)
}

impl TensorflowRow {
    /// Whether it may run on a Python; `python` are requirements on it.
    pub(crate) fn takes(&self, python: &[&str]) -> bool {
        self.python.as_deref().is_none_or(|wanted| may_meet(python, wanted))
    }

    /// Why the extra `and-cuda` of this release alone gives it no GPU; `python` are requirements on the Python.
    pub(crate) fn and_cuda_fails_on(&self, python: &[&str]) -> Option<&str> {
        self.and_cuda_fails.iter().find(|(wanted, _)| may_meet(python, wanted)).map(|(_, why)| why.as_str())
    }

    /// A reference to it; the package is part of the key where it is not `tensorflow`.
    pub fn row_ref(&self) -> RowRef {
        let key = match self.package.as_str() {
            "tensorflow" => self.version.to_string(),
            package => format!("{package} {}", self.version),
        };
        reference("tensorflow", key, &self.source)
    }
}

impl KerasRow {
    /// A reference to it; the package is part of the key where it is not `keras`.
    pub fn row_ref(&self) -> RowRef {
        let key = match self.package.as_str() {
            "keras" => self.version.to_string(),
            package => format!("{package} {}", self.version),
        };
        reference("keras", key, &self.source)
    }
}

impl CudaRow {
    /// A reference to it.
    pub fn row_ref(&self) -> RowRef {
        reference("cuda", self.version.to_string(), &self.source)
    }
}

impl CudnnRow {
    /// A reference to it.
    pub fn row_ref(&self) -> RowRef {
        reference("cudnn", self.version.to_string(), &self.source)
    }
}

impl DriverRow {
    /// A reference to it.
    pub fn row_ref(&self) -> RowRef {
        reference("driver", self.branch.to_string(), &self.source)
    }
}

impl GpuRow {
    /// A reference to it.
    pub fn row_ref(&self) -> RowRef {
        reference("gpu", self.name.clone(), &self.source)
    }
}

impl ChipRow {
    /// A reference to it.
    pub fn row_ref(&self) -> RowRef {
        reference("chip", self.chip.clone(), &self.source)
    }
}

impl CompatRow {
    /// A reference to it.
    pub fn row_ref(&self) -> RowRef {
        reference("compat", self.cuda.to_string(), &self.source)
    }
}

impl CrateRow {
    /// A reference to it.
    pub fn row_ref(&self) -> RowRef {
        reference("crates", self.name.clone(), &self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v(text: &str) -> Dotted {
        text.parse().unwrap()
    }

    #[test]
    fn the_extra_is_offered_where_it_works() {
        let db = Database::embedded();
        let instead = |version: &str, python: &[&str]| {
            db.instead_of_and_cuda(&version.parse().unwrap(), python).map(|(row, _)| row.version.to_string())
        };
        for (version, python, wanted) in [
            ("2.15.0", &[][..], Some("2.15.1")),
            ("2.16.1", &["==3.12.*"], Some("2.16.2")),
            ("2.21.0", &["==3.13.*"], Some("2.20.0")),
            // TensorRT stands in the way on one Python only.
            ("2.14.1", &["==3.11.*"], Some("2.15.1")),
            ("2.14.1", &["==3.10.*"], None),
            ("2.17.0", &[], None),
            ("2.13.1", &[], None),
            ("2.99.0", &[], None),
        ] {
            assert_eq!(instead(version, python).as_deref(), wanted, "{version} {python:?}");
        }
    }

    #[test]
    fn every_table_is_read() {
        let db = Database::embedded();
        assert!(db.tensorflow_rows().len() > 100);
        assert!(db.keras_rows().len() > 20);
        assert!(db.cuda_rows().len() > 20);
        assert!(db.cudnn_rows().len() > 20);
        assert!(db.driver_rows().len() > 10);
        assert!(db.gpu_rows().len() > 100);
        assert!(db.chip.rows().len() > 20);
        assert!(db.compat.rows().len() > 5);
    }

    #[test]
    fn a_crate_has_the_row_of_its_release() {
        let db = Database::embedded();
        let row = |version: &str| db.crate_row("cudarc", version).unwrap();
        assert!(row("0.9.15").compiles_cuda);
        assert!(!row("0.16.0").compiles_cuda);
        assert_eq!(row("0.16.0").symbols_at_load, Some(true));
        assert_eq!(row("0.19.5").symbols_at_load, Some(false));
        assert_eq!(row("0.17.1").cuda_features.last(), Some(&v("13.0")));
        // Before the first row the first, after the last the last, and without a version the last.
        assert_eq!(row("0.1.0").versions, row("0.9.15").versions);
        assert_eq!(row("99.0.0").versions, row("0.19.10").versions);
        assert_eq!(row("?").versions, row("0.19.10").versions);
        // A pre-release counts as one: rc.9 comes before rc.10.
        let runtime = |version: &str| db.crate_row("ort-sys", version).unwrap().onnxruntime.clone();
        assert_eq!(runtime("2.0.0-rc.9"), Some(v("1.20.0")));
        assert_eq!(runtime("2.0.0-rc.10"), Some(v("1.22.0")));
        assert!(db.crate_row("serde", "1.0.0").is_none());
    }

    #[test]
    fn a_local_version_is_its_public_part() {
        let db = Database::embedded();
        let row = db.tensorflow("tensorflow", "linux-x86_64", "2.16.1+nv24.03").unwrap();
        assert_eq!(row.version.to_string(), "2.16.1");
        assert_eq!(row.row_ref().key, "2.16.1");
        assert!(db.tensorflow("tensorflow", "linux-x86_64", "not a version").is_none());
        let row = db.tensorflow_nearest_older("linux-x86_64", "99.0").unwrap();
        assert!(db.tensorflow_rows().iter().all(|r| r.package != "tensorflow" || r.version <= row.version));
        let row = db.tensorflow("tensorflow-cpu", "linux-x86_64", "2.18.0").unwrap();
        assert_eq!(row.row_ref().key, "tensorflow-cpu 2.18.0");
    }

    #[test]
    fn a_toolkit_falls_back_on_the_newest_update_of_its_minor() {
        let db = Database::embedded();
        assert_eq!(db.cuda(&v("12.4.1")).unwrap().version.to_string(), "12.4.1");
        assert_eq!(db.cuda(&v("12.4.131")).unwrap().version.to_string(), "12.4.1");
        assert_eq!(db.cuda(&v("13.4.0")).unwrap().version.to_string(), "13.4.0rc1");
        assert_eq!(db.cuda(&v("13.4.9")).unwrap().version.to_string(), "13.4.3");
        assert!(db.cuda(&v("12.77")).is_none());
        assert_eq!(db.cuda_floor(12).unwrap().0, v("525.60.13"));
        assert!(db.cuda_floor(99).is_none());
    }

    #[test]
    fn the_rows_of_a_platform_are_those_of_the_whole_table() {
        let (all, lazy) = (Database::embedded().tensorflow_rows(), Database::default());
        assert_eq!(all.len(), include_str!("../data/tensorflow.toml").matches("\n[[tensorflow]]").count());
        // The second platform is the one for which the whole table has to be read.
        for platform in ["linux-aarch64", "linux-x86_64", "none"] {
            let wanted: Vec<_> = all.iter().filter(|row| row.platform == platform).collect();
            assert_eq!(lazy.tensorflow.of(platform).collect::<Vec<_>>(), wanted);
        }
        assert!(all.is_sorted_by(|a, b| TensorflowRow::order(a, b).is_lt()));
    }

    #[test]
    fn cudnn_falls_back_on_the_newest_older_release() {
        let db = Database::embedded();
        assert_eq!(db.cudnn(&v("9.1.0.70"), 12).unwrap().version, v("9.1.0"));
        assert_eq!(db.cudnn(&v("8.9.99"), 12).unwrap().version.minor(), 9);
        assert!(db.cudnn(&v("9.1.0"), 11).is_none_or(|row| row.version <= v("9.1.0")));
        assert!(db.cudnn(&v("5.0"), 11).is_none());
    }

    #[test]
    fn a_driver_is_known_by_its_branch() {
        let db = Database::embedded();
        assert_eq!(db.driver_reports_cuda(&v("535.183.01")).unwrap().0, v("12.2"));
        assert!(db.driver_branch(&v("1.2")).is_none());
    }

    #[test]
    fn gpus_are_known_by_id_and_by_name() {
        let db = Database::embedded();
        let gpu = db.gpu_by_pci("0x2330").unwrap();
        assert_eq!((gpu.compute.as_str(), gpu.chip.as_deref()), ("9.0", Some("GH100")));
        assert_eq!(db.gpu_by_pci("0x1eb8").unwrap().compute, v("7.5"));
        assert!(db.gpu_by_pci("0xffff").is_none());
        for (model, compute) in [
            ("NVIDIA A100-SXM4-80GB", "8.0"),
            ("NVIDIA H200", "9.0"),
            ("NVIDIA H100 PCIe", "9.0"),
            ("NVIDIA H100 NVL", "9.0"),
            ("NVIDIA RTX 6000 Ada Generation", "8.9"),
            ("NVIDIA GB10", "12.1"),
            ("Tesla T4", "7.5"),
            ("Tesla V100-SXM2-16GB", "7.0"),
            ("NVIDIA GeForce RTX 4090", "8.9"),
            ("NVIDIA GeForce RTX 3060 Laptop GPU", "8.6"),
        ] {
            assert_eq!(db.gpu_by_name(model).map(|gpu| gpu.compute.to_string()).as_deref(), Some(compute), "{model}");
        }
        // What stands for another chip is no form factor.
        assert!(db.gpu_by_name("NVIDIA GeForce RTX 3060 Tablet GPU").is_none());
        assert!(db.gpu_by_name("NVIDIA").is_none());
        assert!(db.gpu_by_name("GeForce RTX 99999").is_none());
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

        #[test]
        fn no_look_up_panics(text in "([0-9]{1,3}\\.){0,3}[0-9]{0,9}|\\PC{0,20}") {
            let db = Database::embedded();
            let _ = (db.tensorflow("tensorflow", "linux-x86_64", &text), db.keras("keras", &text));
            let _ = (db.tensorflow_nearest_older("linux-x86_64", &text), db.gpu_by_pci(&text), db.gpu_by_name(&text));
            if let Ok(version) = text.parse::<Dotted>() {
                let _ = (db.cuda(&version), db.compat(&version), db.driver_reports_cuda(&version));
                let row = db.cudnn(&version, 12);
                proptest::prop_assert!(row.is_none_or(|row| row.version <= version));
            }
        }
    }

    #[test]
    fn the_export_has_every_table() {
        let export = Database::embedded().export();
        for table in ["tensorflow", "keras", "cuda", "cudnn", "driver", "gpu", "chip", "compat", "crates"] {
            assert!(export["tables"][table].is_array(), "{table}");
        }
        assert_eq!(export["tables"]["cuda"][0]["version"], "10.0.130");
        assert_eq!(export["tables"]["cuda"][0]["checked"].as_str().map(str::len), Some(10));
    }
}
