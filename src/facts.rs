//! What was read from a machine: readings with their origin, never conclusions.
//!
//! Facts serialise to JSON and back without loss, and every verdict can be reproduced from
//! that file alone (`facts`, `check --facts`). Nothing here judges; `view` and `rules` do.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::version::Dotted;

pub mod cuda;
pub mod declared;
pub mod driver;
pub mod loader;
pub mod machine;
pub mod observed;
pub mod project;
pub mod python;
#[cfg(any(test, feature = "cli"))]
pub mod redact;
pub mod sources;

pub use cuda::*;
pub use declared::*;
pub use driver::*;
pub use loader::*;
pub use machine::*;
pub use observed::*;
pub use project::*;
pub use python::*;
pub use sources::*;

/// The schema number of the facts document.
pub const SCHEMA: u32 = 1;

/// Everything that was read from one machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// The schema of this document: [`SCHEMA`].
    pub schema: u32,
    /// The day on which the machine was read, `YYYY-MM-DD`.
    pub recorded: String,
    /// Operating system, processor, user, container.
    pub machine: Machine,
    /// The environment variables that matter, as the inspected process would have them.
    pub env: BTreeMap<String, String>,
    /// Kernel module, user-space driver, device nodes.
    pub driver: Driver,
    /// NVIDIA (and other display) devices on the PCI bus.
    pub pci: Vec<PciDevice>,
    /// The CUDA toolkits on the machine.
    pub toolkits: Vec<Toolkit>,
    /// What selects a toolkit: variables and PATH.
    pub selectors: Vec<ToolkitSelector>,
    /// C and C++ compilers that nvcc would use.
    pub compilers: Vec<HostCompiler>,
    /// The cuDNN installations outside of Python environments.
    pub cudnn: Vec<CudnnInstall>,
    /// How the dynamic loader of this machine searches.
    pub loader: Loader,
    /// The Python environments, the active one first.
    pub pythons: Vec<PythonEnv>,
    /// Where Jupyter would start kernels.
    pub kernels: Vec<JupyterKernel>,
    /// The Cargo project, where one was found.
    pub project: Option<Project>,
    /// What driver, NVML and the test kernel told; `None` where they were not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<Observed>,
    /// What the files of the repository declare, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared: Option<Declared>,
    /// What its Python sources do with variables that frameworks read; `None` where they were not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sources: Option<Sources>,
    /// What was pretended with `--assume` or a variable that does the same.
    pub assumed: Vec<Assumption>,
    /// What could not be read at all, beyond single readings.
    pub troubles: Vec<Trouble>,
}

/// Where a reading came from and what it said.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// The kind of place.
    pub source: Source,
    /// The path, variable or option.
    #[serde(rename = "where")]
    pub at: String,
    /// The line, counted from 1, where the place is a text file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// The column of that line, counted from 1 in characters, where one thing of the line is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// What stands there, shortened to a line.
    pub says: String,
}

/// The kind of place a reading came from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A file or folder, or the absence of one.
    #[default]
    File,
    /// An environment variable.
    Env,
    /// The dynamic section of a shared library, or the loader's search over it.
    Loader,
    /// The metadata of an installed Python distribution.
    Package,
    /// An option of the command line (`--assume`).
    Option,
    /// A row of the database.
    Database,
    /// A program that was run.
    Run,
}

impl Evidence {
    /// The longest `says`, in characters; longer texts are cut.
    pub const LONGEST: usize = 300;

    /// A piece of evidence without a line.
    pub fn new(source: Source, at: impl Into<String>, says: impl AsRef<str>) -> Self {
        let says = says.as_ref().trim();
        let mut text: String = says.chars().map(|c| if c.is_control() { ' ' } else { c }).take(Self::LONGEST).collect();
        if says.chars().count() > Self::LONGEST {
            text.push('…');
        }
        Self { source, at: at.into(), line: None, column: None, says: text }
    }

    /// Evidence from a file.
    pub fn file(at: impl Into<String>, says: impl AsRef<str>) -> Self {
        Self::new(Source::File, at, says)
    }

    /// Evidence from an environment variable.
    pub fn env(name: impl Into<String>, value: impl AsRef<str>) -> Self {
        Self::new(Source::Env, name, value)
    }

    /// Evidence from the loader.
    pub fn loader(at: impl Into<String>, says: impl AsRef<str>) -> Self {
        Self::new(Source::Loader, at, says)
    }

    /// Evidence from the metadata of a Python distribution.
    pub fn package(at: impl Into<String>, says: impl AsRef<str>) -> Self {
        Self::new(Source::Package, at, says)
    }

    /// The same evidence with a line number, counted from 1.
    #[must_use]
    pub fn line(mut self, line: u32) -> Self {
        self.line = Some(line);
        self
    }

    /// The same evidence with a column, counted from 1 in characters.
    #[must_use]
    pub fn column(mut self, column: u32) -> Self {
        self.column = Some(column);
        self
    }
}

/// A reading in one of four states.
///
/// "Not there", "could not tell" and "not asked" call for different answers, so they stay apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case", try_from = "Shape<T>")]
pub enum Probed<T> {
    /// It was read.
    Found {
        /// What was read.
        value: T,
        /// Where it was read.
        evidence: Evidence,
    },
    /// It is certainly not there.
    Absent,
    /// It could not be read.
    Failed {
        /// The reason, a fragment that fits after "could not tell, because".
        why: String,
    },
    /// It was not looked at.
    Skipped {
        /// The reason.
        why: String,
    },
}

/// How a reading is written. A tagged enum would be read twice over, and the code for that is large: once for each `T`.
#[derive(Deserialize)]
struct Shape<T> {
    state: State,
    value: Option<T>,
    evidence: Option<Evidence>,
    why: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    Found,
    Absent,
    Failed,
    Skipped,
}

impl<T> TryFrom<Shape<T>> for Probed<T> {
    type Error = &'static str;

    fn try_from(shape: Shape<T>) -> Result<Self, Self::Error> {
        let why = shape.why.ok_or("missing field `why`");
        Ok(match shape.state {
            State::Found => Self::Found {
                value: shape.value.ok_or("missing field `value`")?,
                evidence: shape.evidence.ok_or("missing field `evidence`")?,
            },
            State::Absent => Self::Absent,
            State::Failed => Self::Failed { why: why? },
            State::Skipped => Self::Skipped { why: why? },
        })
    }
}

impl<T> Default for Probed<T> {
    fn default() -> Self {
        Self::Skipped { why: "not looked at".to_owned() }
    }
}

impl<T> Probed<T> {
    /// The value, where one was read.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Found { value, .. } => Some(value),
            _ => None,
        }
    }

    /// The evidence, where a value was read.
    pub fn evidence(&self) -> Option<&Evidence> {
        match self {
            Self::Found { evidence, .. } => Some(evidence),
            _ => None,
        }
    }

    /// Whether it is certainly not there.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }

    /// The reason why nothing is known, where it is neither found nor absent.
    pub fn unknown(&self) -> Option<&str> {
        match self {
            Self::Failed { why } | Self::Skipped { why } => Some(why),
            Self::Found { .. } | Self::Absent => None,
        }
    }

    /// A reading that failed.
    pub fn failed(why: impl Into<String>) -> Self {
        Self::Failed { why: why.into() }
    }

    /// A reading that was found.
    pub fn found(value: T, evidence: Evidence) -> Self {
        Self::Found { value, evidence }
    }
}

/// One value that was read at one place; several of them may disagree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reading<T> {
    /// What was read.
    pub value: T,
    /// Where.
    pub evidence: Evidence,
}

/// Something that was pretended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assumption {
    /// `driver`, `gpu`, `python` or `cuda`.
    pub key: String,
    /// The version that is pretended.
    pub value: Dotted,
    /// The option or variable that said so.
    pub evidence: Evidence,
}

/// Something that could not be read and may matter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trouble {
    /// The path or thing.
    #[serde(rename = "where")]
    pub at: String,
    /// Why it could not be read.
    pub why: String,
}
