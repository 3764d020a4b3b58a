//! Readings of what a repository declares: which packages, Pythons and images its files name, before anything is installed.

use serde::{Deserialize, Serialize};

use super::{Evidence, Trouble};

/// What the files of a repository declare.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Declared {
    /// The folder that was searched.
    pub root: String,
    /// The files that were read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// What is meant to be installed together, each in its own set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sets: Vec<DeclaredSet>,
    /// What could not be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub troubles: Vec<Trouble>,
}

/// Things that end up in one environment.
///
/// Files that are alternatives (`requirements-cpu.txt` beside `requirements-gpu.txt`, two extras, two stages of a
/// Dockerfile) are sets of their own: nothing is ever held against a thing of another set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredSet {
    /// What kind of file or part of a file it is.
    pub by: DeclaredBy,
    /// The file.
    pub file: String,
    /// The part of the file: an extra, a group, a stage, a service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub part: Option<String>,
    /// The packages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<DeclaredPackage>,
    /// The Pythons it may have, as PEP 440 requirements that all hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub python: Vec<DeclaredVersion>,
    /// The image that it is built on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<DeclaredImage>,
    /// Where packages come from beside the public index.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub indexes: Vec<DeclaredVersion>,
    /// Whether one resolver must find versions for all packages at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub together: bool,
    /// Whether the resolver looks for versions for each of these Pythons, as Poetry and uv do for their lock files.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub every_python: bool,
    /// Whether nothing else gets into the environment, as far as the file tells.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub complete: bool,
    /// Environment variables that it sets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<DeclaredVariable>,
    /// Where it asks for a GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gpu: Option<Evidence>,
}

/// The kind of file that declares a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DeclaredBy {
    /// A requirements file.
    #[default]
    Requirements,
    /// The dependencies of pyproject.toml.
    Project,
    /// An extra of pyproject.toml, with the dependencies that it comes on top of.
    Extra,
    /// A dependency group of pyproject.toml.
    Group,
    /// A lock file: uv.lock, poetry.lock, Pipfile.lock.
    Lock,
    /// A conda environment.
    Conda,
    /// One command of a Dockerfile that installs packages.
    Install,
    /// A stage of a Dockerfile.
    Stage,
    /// A service of a compose file.
    Service,
}

/// A package that a file asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredPackage {
    /// Its normalised name.
    pub name: String,
    /// The extras that are asked for, normalised.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extras: Vec<String>,
    /// The version requirement as PEP 440 writes it; empty for any.
    pub specifier: String,
    /// Whether it is a constraint: it counts only if something else asks for the package.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub constraint: bool,
    /// Whether it comes from an address instead of an index, whatever its version.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub address: bool,
    /// Whether its marker holds on every Linux machine with `CPython`; absent where that depends on the machine or on
    /// the version of Python.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds: Option<bool>,
    /// Where it stands.
    pub evidence: Evidence,
}

/// A version, requirement or address with its place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredVersion {
    /// The text of it.
    pub value: String,
    /// Where it stands.
    pub evidence: Evidence,
}

/// A variable that a file sets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredVariable {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Where it stands.
    pub evidence: Evidence,
}

/// Whether a variable with this value hides every GPU from what runs with it.
pub(crate) fn hides_gpus(name: &str, value: &str) -> bool {
    match name {
        "CUDA_VISIBLE_DEVICES" => matches!(value.trim(), "" | "-1"),
        "NVIDIA_VISIBLE_DEVICES" => matches!(value.trim(), "none" | "void"),
        _ => false,
    }
}

/// The image at the bottom of a stage or service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeclaredImage {
    /// The repository, `docker.io/` and `library/` left out: `python`, `nvidia/cuda`.
    pub name: String,
    /// The tag, where one is named and known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Where it stands.
    pub evidence: Evidence,
}
