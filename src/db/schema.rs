//! The row types of the database's tables: what a file may say, not whether it is sensible.
//!
//! The build script compiles this file too, so it knows nothing of the rest of the crate but versions.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use pep440_rs::Version;
use serde::de::{self, Deserializer, MapAccess, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use crate::version::Dotted;

/// The database as a whole: which data it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetaRow {
    /// The version of the row grammar.
    pub schema: u32,
    /// Goes up with every change of the data.
    pub revision: u32,
    /// The day of that change.
    pub date: Day,
    /// The licence of the data.
    pub license: String,
}

/// A TensorFlow wheel of one package, platform and version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorflowRow {
    /// `tensorflow`, `tensorflow-cpu`, `tensorflow-intel`, …
    pub package: String,
    /// `linux-x86_64`, `windows-x86_64`, …
    pub platform: String,
    /// The release.
    pub version: Version,
    /// The Pythons it has wheels for, as a PEP 440 requirement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub python: Option<String>,
    /// Whether the wheel was built with CUDA.
    pub cuda_build: bool,
    /// The CUDA it was built with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cuda: Option<Dotted>,
    /// The cuDNN it was built with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cudnn: Option<Dotted>,
    /// What it holds code for: `sm_80`, `compute_90`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compute: Vec<String>,
    /// The requirement it has on Keras.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keras: Option<String>,
    /// The sonames it loads when it looks for a GPU.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub libraries: Vec<String>,
    /// What its `and-cuda` extra asks for: package to requirement.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub and_cuda: BTreeMap<String, String>,
    /// The Pythons on which that extra alone gives it no GPU, as PEP 440 requirements, and why: what is lacking.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub and_cuda_fails: BTreeMap<String, String>,
    /// Where the main figures come from.
    pub source: String,
    /// Further sources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// The day somebody compared them.
    pub checked: Day,
    /// Whether the program derived it from a package or manifest, and no person has compared it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub derived: bool,
    /// Disagreements, traps, what was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A release of `keras` or `tf-keras`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KerasRow {
    /// `keras` or `tf-keras`.
    pub package: String,
    /// The release.
    pub version: Version,
    /// The Pythons it asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub python: Option<String>,
    /// The TensorFlow it goes with; absent where it declares none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tensorflow: Option<String>,
    /// The backends it knows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub backends: Vec<String>,
    /// Where the main figures come from.
    pub source: String,
    /// Further sources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// The day somebody compared them.
    pub checked: Day,
    /// Whether the program derived it from a package or manifest, and no person has compared it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub derived: bool,
    /// Disagreements, traps, what was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A release of the CUDA toolkit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CudaRow {
    /// The release.
    pub version: Release,
    /// The driver packaged with (or named for) it on Linux.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver_linux: Option<Dotted>,
    /// The driver packaged with (or named for) it on Windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver_windows: Option<Dotted>,
    /// The lowest driver that minor-version compatibility allows on Linux.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor_linux: Option<Dotted>,
    /// The lowest driver that minor-version compatibility allows on Windows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor_windows: Option<Dotted>,
    /// The lowest compute capability it compiles for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute_min: Option<Dotted>,
    /// The highest compute capability it compiles for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute_max: Option<Dotted>,
    /// The lowest gcc its headers accept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gcc_min: Option<Dotted>,
    /// The highest gcc its headers accept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gcc_max: Option<Dotted>,
    /// The lowest clang its headers accept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clang_min: Option<Dotted>,
    /// The highest clang its headers accept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clang_max: Option<Dotted>,
    /// The lowest `_MSC_VER` its headers accept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub msvc_min: Option<Dotted>,
    /// The first `_MSC_VER` its headers do not accept any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub msvc_below: Option<Dotted>,
    /// The highest PTX version it writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ptx_isa: Option<Dotted>,
    /// Where the main figures come from.
    pub source: String,
    /// Further sources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// The day somebody compared them.
    pub checked: Day,
    /// Whether the program derived it from a package or manifest, and no person has compared it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub derived: bool,
    /// Disagreements, traps, what was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A release of cuDNN for one CUDA major.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CudnnRow {
    /// The release.
    pub version: Dotted,
    /// The CUDA majors it is for.
    pub cuda: Vec<Dotted>,
    /// The lowest driver its support matrix names for Linux.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver_linux: Option<Dotted>,
    /// The lowest compute capability it holds code for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compute_min: Option<Dotted>,
    /// Where the main figures come from.
    pub source: String,
    /// Further sources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// The day somebody compared them.
    pub checked: Day,
    /// Whether the program derived it from a package or manifest, and no person has compared it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub derived: bool,
    /// Disagreements, traps, what was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A driver branch for Linux.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DriverRow {
    /// The branch: the first number of its versions.
    pub branch: Dotted,
    /// What kind of branch NVIDIA calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<DriverKind>,
    /// The CUDA that `cuDriverGetVersion` reports.
    pub reports_cuda: Dotted,
    /// The lowest version of the branch that a source names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first: Option<Dotted>,
    /// The month its support ends, `YYYY-MM`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_of_life: Option<String>,
    /// Where the main figures come from.
    pub source: String,
    /// Further sources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// The day somebody compared them.
    pub checked: Day,
    /// Disagreements, traps, what was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// What NVIDIA calls a driver branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DriverKind {
    /// For production use.
    Production,
    /// For early users of new features.
    NewFeature,
    /// Supported for years.
    LongTerm,
}

/// A GPU by its product name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GpuRow {
    /// The product name.
    pub name: String,
    /// Its compute capability.
    pub compute: Dotted,
    /// `datacenter`, `workstation`, `geforce` or `jetson`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Its PCI device ids, `0x2330`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pci: Vec<String>,
    /// Where the main figures come from.
    pub source: String,
    /// Further sources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// The day somebody compared them.
    pub checked: Day,
    /// Disagreements, traps, what was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A GPU chip with all its PCI device ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChipRow {
    /// The chip: `GH100`.
    pub chip: String,
    /// Its compute capability.
    pub compute: Dotted,
    /// Its PCI device ids, `0x2330`.
    pub pci: Vec<String>,
    /// Where the main figures come from.
    pub source: String,
    /// Further sources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// The day somebody compared them.
    pub checked: Day,
    /// Disagreements, traps, what was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A forward-compatibility package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompatRow {
    /// The CUDA it brings, major and minor.
    pub cuda: Dotted,
    /// The driver branches it works on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub branches: Vec<Dotted>,
    /// Where the main figures come from.
    pub source: String,
    /// Further sources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// The day somebody compared them.
    pub checked: Day,
    /// Disagreements, traps, what was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A Rust crate that has to do with the GPU, as far as its build script goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrateRow {
    /// The crate.
    #[serde(rename = "crate")]
    pub name: String,
    /// The versions the row is about, a Cargo requirement.
    pub versions: String,
    /// Whether its build script needs nvcc or the toolkit's headers.
    pub compiles_cuda: bool,
    /// The variables its build script reads, in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<String>,
    /// The CUDA versions it has bindings for, by its features (`cuda-12080` is 12.8).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cuda_features: Vec<Dotted>,
    /// Whether it stops at the first symbol that a library it loads lacks, needed or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbols_at_load: Option<bool>,
    /// The one LibTorch it is made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub libtorch: Option<Dotted>,
    /// The libtensorflow it downloads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub libtensorflow: Option<Dotted>,
    /// The ONNX Runtime it downloads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub onnxruntime: Option<Dotted>,
    /// Where the main figures come from.
    pub source: String,
    /// Further sources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// The day somebody compared them.
    pub checked: Day,
    /// Disagreements, traps, what was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl TensorflowRow {
    /// The order of rows; equal rows are about the same thing.
    pub fn order(&self, other: &Self) -> Ordering {
        (&self.package, &self.version, &self.platform).cmp(&(&other.package, &other.version, &other.platform))
    }
}

impl KerasRow {
    /// The order of rows; equal rows are about the same thing.
    pub fn order(&self, other: &Self) -> Ordering {
        (&self.package, &self.version).cmp(&(&other.package, &other.version))
    }
}

impl CudaRow {
    /// The order of rows; equal rows are about the same thing. A pre-release comes before its release.
    pub fn order(&self, other: &Self) -> Ordering {
        let key = |row: &Self| (row.version.number.clone(), row.version.pre.is_none());
        key(self).cmp(&key(other)).then_with(|| self.version.pre.cmp(&other.version.pre))
    }
}

impl CudnnRow {
    /// The order of rows; equal rows are about the same thing.
    pub fn order(&self, other: &Self) -> Ordering {
        (&self.version, &self.cuda).cmp(&(&other.version, &other.cuda))
    }
}

/// For `skip_serializing_if`, which hands over a reference.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// A release that may be a pre-release: `13.4.0rc1` is `13.4.0` with `rc1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The version without the pre-release.
    pub number: Dotted,
    /// The pre-release, such as `rc1`.
    pub pre: Option<String>,
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.number, self.pre.as_deref().unwrap_or_default())
    }
}

impl Serialize for Release {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Release {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
        let (number, pre) = text.split_at(end);
        let number = if number.is_empty() { &text } else { number }.parse().map_err(de::Error::custom)?;
        let kind = pre.trim_end_matches(|c: char| c.is_ascii_digit());
        if !pre.is_empty() && (!["a", "b", "rc"].contains(&kind) || kind == pre) {
            return Err(de::Error::custom(format_args!("`{pre}` is not a pre-release such as `rc1`")));
        }
        Ok(Self { number, pre: (!pre.is_empty()).then(|| pre.to_owned()) })
    }
}

impl CrateRow {
    /// The first version that the row is about.
    ///
    /// Read by PEP 440, which puts `2.0.0-rc.9` before `2.0.0-rc.14` and both before `2.0.0`, as Cargo does.
    pub fn first(&self) -> Option<Version> {
        self.versions.split(',').next()?.trim_start_matches(['^', '~', '=', '<', '>', ' ']).trim().parse().ok()
    }
}

/// A day as text, `YYYY-MM-DD`; it compares as text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Day(String);

impl Day {
    /// A day from its text; none where it is no day of the calendar.
    pub fn new(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('-').collect();
        let [year, month, day] = parts.as_slice() else { return None };
        let number = |text: &str, digits: usize| {
            (text.len() == digits && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse::<u32>().ok())?
        };
        let (year, month, day) = (number(year, 4)?, number(month, 2)?, number(day, 2)?);
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let last = match month {
            2 => 28 + u32::from(leap),
            4 | 6 | 9 | 11 => 30,
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            _ => return None,
        };
        (1..=last).contains(&day).then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Days;
        impl<'de> Visitor<'de> for Days {
            type Value = Day;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a day such as 2026-11-23")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Day, E> {
                Day::new(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }

            // A TOML date comes as a map with one entry.
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Day, A::Error> {
                let date = toml::value::Datetime::deserialize(de::value::MapAccessDeserializer::new(map))?;
                self.visit_str(&date.to_string())
            }
        }
        deserializer.deserialize_any(Days)
    }
}
