//! Readings of a Cargo project: which crates of its graph deal with CUDA, and what their build scripts would find.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Evidence, Reading};
use crate::version::Dotted;

/// A Cargo project.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Project {
    /// The manifest.
    pub manifest: String,
    /// The lock file, where there is one.
    pub lock: Option<String>,
    /// Packages that the database knows as dealing with CUDA: of the graph that Cargo resolves, else of the lock file.
    pub crates: Vec<LockedCrate>,
    /// Why the lock file could not be read.
    pub trouble: Option<String>,
    /// Whether Cargo itself resolved the graph; otherwise only the lock file tells, and features are known in part.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resolved: bool,
    /// Why Cargo did not resolve the graph, where it was asked or could not be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unresolved: Option<String>,
    /// What build scripts would find; only where a crate is there that might ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<BuildSystem>,
}

impl Project {
    /// Why the lock file could not be read, so that nobody knows which crates are in it.
    pub fn lock_unread(&self) -> Option<&str> {
        self.trouble.as_deref().filter(|_| self.crates.is_empty() && self.lock.is_some())
    }
}

/// A package of the project's graph.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedCrate {
    /// Its name.
    pub name: String,
    /// Its version (semver).
    pub version: String,
    /// Where it stands.
    pub evidence: Evidence,
    /// Its features as far as they are known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// Whether these are all of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub all_features: bool,
    /// Whether it is certain that it is built: not only as an optional dependency that nothing switches on.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub built: bool,
    /// What pulls it in, from a package of the project (`app 0.1.0`) to the one before it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub via: Vec<String>,
    /// The line of the manifest that begins that way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared: Option<Evidence>,
    /// `build` or `dev` where it is there for build scripts or tests alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_for: Option<String>,
    /// The platform of the dependency that pulls it in, where there is one: `cfg(unix)`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Whether the dependency that pulls it in is optional.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

/// What build scripts would find on this machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildSystem {
    /// Variables that Cargo's configuration sets for build scripts, with the files that say so.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, ConfiguredVariable>,
    /// `nvidia-smi` on PATH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvidia_smi: Option<String>,
    /// The LibTorch that `LIBTORCH` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub libtorch: Option<LibTorch>,
    /// Folders in which some build script looks for a toolkit, those of variables among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<BuildPlace>,
}

/// A LibTorch on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LibTorch {
    /// Its folder.
    pub folder: String,
    /// Whether its headers are there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub headers: bool,
    /// What its `build-version` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whether it has `libtorch_cuda.so`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cuda: bool,
}

/// A variable that Cargo's configuration sets for build scripts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfiguredVariable {
    /// Its value there.
    pub value: String,
    /// The file that says so.
    pub evidence: Evidence,
}

/// A folder in which build scripts look for a toolkit.
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that is there or not")]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildPlace {
    /// The folder.
    pub folder: String,
    /// `CUDA_VERSION` of its `include/cuda.h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Reading<Dotted>>,
    /// Whether `include/cuda.h` is there, whatever it says.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub has_header: bool,
    /// Whether `bin/nvcc` is there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nvcc: bool,
    /// Whether `lib64` is there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lib64: bool,
    /// Whether `targets/x86_64-linux/include/cuda.h` is there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub target_header: bool,
    /// The version in its `include/cudnn_version.h` or `include/cudnn.h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cudnn: Option<Reading<Dotted>>,
    /// Libraries that linkers and build scripts ask for by their bare names, such as `libcuda.so`, with their folders.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub libraries: BTreeMap<String, String>,
}
