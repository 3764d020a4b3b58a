//! Readings of the repository's Python sources: where they set variables that frameworks read, and what ran before.

use serde::{Deserialize, Serialize};

use super::{Evidence, Trouble};

/// What the Python sources of a repository do with variables that frameworks read once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sources {
    /// The folder of the repository.
    pub root: String,
    /// How many files were looked into.
    pub looked_into: usize,
    /// Those that set such a variable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<SourceFile>,
    /// What could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub troubles: Vec<Trouble>,
}

/// A Python source that sets such a variable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceFile {
    /// Its path.
    pub file: String,
    /// What it does that matters, from its first line to its last.
    pub steps: Vec<SourceStep>,
    /// Where it starts other processes or loads modules anew: for these, a variable that is set late is in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts: Option<Evidence>,
}

/// One thing that a source does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceStep {
    /// What it is.
    pub does: SourceDoes,
    /// The module, the function by its full name, or the variable.
    pub name: String,
    /// The value that is set, where it stands there as a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Where it stands.
    pub evidence: Evidence,
    /// The steps, by their places in the list, that have surely run whenever this one runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<usize>,
}

/// What a step of a source does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceDoes {
    /// It imports a framework.
    #[default]
    Import,
    /// It calls a function that initialises the GPUs of this process.
    Call,
    /// It sets a variable.
    Set,
}

/// Whether a dotted Python name is a module or something in it.
pub fn is_within(name: &str, module: &str) -> bool {
    name.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}
