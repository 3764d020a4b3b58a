//! Readings of CUDA toolkits, host compilers and cuDNN outside of Python environments.

use serde::{Deserialize, Serialize};

use super::{Evidence, Probed, Reading};
use crate::version::Dotted;

/// A CUDA toolkit on disk.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Toolkit {
    /// The folder, as it was found.
    pub path: String,
    /// The folder behind all links.
    pub real: String,
    /// Where it comes from.
    pub kind: ToolkitKind,
    /// What pointed to it: a default place, a variable, PATH.
    pub found_by: Vec<Evidence>,
    /// Every version that its parts state: `version.json`, `version.txt`, `cuda.h`, `libcudart`, `nvcc.profile`.
    pub readings: Vec<Reading<Dotted>>,
    /// `bin/nvcc`, where it is there.
    pub nvcc: Option<String>,
    /// The host compilers that `crt/host_config.h` accepts.
    pub host_limits: Probed<HostLimits>,
}

/// Where a toolkit comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ToolkitKind {
    /// NVIDIA's own layout, such as `/usr/local/cuda-12.4`.
    #[default]
    System,
    /// A distribution's packages, spread over `/usr` (Debian's `nvidia-cuda-toolkit`).
    Distribution,
    /// A conda environment.
    Conda,
    /// Wheels in a Python environment.
    Wheel,
}

/// The range of host compilers that a toolkit accepts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostLimits {
    /// Newest GCC major.
    pub gcc_max: Option<u32>,
    /// Newest Clang major.
    pub clang_max: Option<u32>,
    /// Oldest GCC major.
    pub gcc_min: Option<u32>,
    /// Oldest Clang major.
    pub clang_min: Option<u32>,
}

/// What makes programs choose a toolkit: a variable or PATH.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolkitSelector {
    /// The variable, or `PATH`.
    pub name: String,
    /// What it says.
    pub value: String,
    /// The toolkit's real folder, or `None` where it points nowhere.
    pub toolkit: Option<String>,
}

/// A host compiler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostCompiler {
    /// What chooses it: `NVCC_CCBIN`, `CXX`, `CC`, `PATH`.
    pub chosen_by: Evidence,
    /// Its path.
    pub path: String,
    /// `gcc` or `clang`.
    pub kind: String,
    /// Its version, as far as installed files tell.
    pub version: Probed<Dotted>,
}

/// A cuDNN outside of Python environments.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CudnnInstall {
    /// The folder of its libraries.
    pub folder: String,
    /// Every version that headers and file names state.
    pub readings: Vec<Reading<Dotted>>,
    /// Its libraries.
    pub parts: Vec<CudnnPart>,
}

/// One file of cuDNN.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CudnnPart {
    /// The name by which it is opened, such as `libcudnn_graph.so.9`.
    pub name: String,
    /// Its path.
    pub path: String,
    /// Its version: from its file name, its package, or the text in the library.
    pub version: Option<Reading<Dotted>>,
}
