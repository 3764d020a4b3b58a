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
    /// Why its manifest or its lock file could not be read.
    pub trouble: Option<String>,
    /// Whether Cargo itself resolved the graph; otherwise only the lock file tells, and features are known in part.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resolved: bool,
    /// Why Cargo did not resolve the graph, where it was asked or could not be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unresolved: Option<String>,
    /// Whether a build links a program or a shared library, which is when a missing library stops it; not known where
    /// Cargo did not resolve the graph.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub links: Option<bool>,
    /// What build scripts would find; only where a crate is there that might ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<BuildSystem>,
}

impl Project {
    /// Why nobody knows which crates are in it: its lock file is not there or cannot be read, or its manifest cannot.
    pub fn unread(&self) -> Option<&str> {
        self.trouble.as_deref().filter(|_| self.crates.is_empty())
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
    /// The platform that is built for, where another one than the machine's may be meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// What may send the linker to more folders than are known here: `LIBRARY_PATH`, flags for rustc.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linked_elsewhere: Option<Evidence>,
    /// The Python on PATH that a build script would ask: `python` in a virtual environment, else `python3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub python: Option<String>,
    /// Variables that Cargo's configuration sets for build scripts, with the files that say so.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, ConfiguredVariable>,
    /// `nvidia-smi` on PATH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvidia_smi: Option<String>,
    /// The C++ compiler that the `cc` crate takes: `CXX`, else `c++` on PATH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cxx: Option<String>,
    /// `bazel` on PATH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bazel: Option<String>,
    /// The program of `PKG_CONFIG`, else `pkg-config` on PATH.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pkg_config: Option<String>,
    /// What that program would find of the packages for which build scripts ask it, by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub packages: BTreeMap<String, PkgConfigFile>,
    /// The LibTorch that `LIBTORCH` names, else the one in /usr/lib.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub libtorch: Option<LibTorch>,
    /// The folders of ONNX Runtime that variables name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub onnxruntime: Vec<OnnxRuntime>,
    /// Archives of libtensorflow in the folder of `TF_RUST_DOWNLOAD_DIR`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tensorflow_archives: Vec<String>,
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
    /// Whether its headers are there, those of `LIBTORCH_INCLUDE` where that is set.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub headers: bool,
    /// What its `build-version` says, which wheels do not have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The version that its headers define.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Reading<String>>,
    /// Whether `libtorch.so` is there, in the folder of `LIBTORCH_LIB` where that is set.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub library: bool,
    /// Whether it has `libtorch_cuda.so`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cuda: bool,
    /// `_GLIBCXX_USE_CXX11_ABI` with which it was compiled, as its `CMake` files say: `0` or `1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cxx11_abi: Option<Reading<String>>,
}

/// A folder that a variable names to ort-sys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnnxRuntime {
    /// The variable.
    pub variable: String,
    /// What it says.
    pub folder: String,
    /// Whether that folder is there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub there: bool,
    /// Folders in it that change where its build script looks: `lib`, `Release`, `Debug`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub folders: Vec<String>,
    /// Libraries of ONNX Runtime in it and in its folders, as paths from there: `lib/libonnxruntime.so`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub libraries: Vec<String>,
}

/// A `.pc` file that `pkg-config` would read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PkgConfigFile {
    /// Its path.
    pub path: String,
    /// The version that it states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Libraries that it hands to the linker and that are in no folder that it names or that linkers search.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// What of it is not followed here: other packages that it requires, text that is quoted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<String>,
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
