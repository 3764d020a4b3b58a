//! What a run was asked to do, in the domain's terms; knows nothing of the command line's syntax.

use std::path::PathBuf;

use crate::finding::Level;
use crate::version::Dotted;

/// What a run was asked to do.
#[expect(clippy::struct_excessive_bools, reason = "each is one switch of the command line")]
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Only these interpreters or environment folders; empty for all.
    pub python: Vec<String>,
    /// Whether only that is read on which a Cargo build rests: of Python environments those of `python` alone.
    pub building: bool,
    /// Whether, where `building`, what the repository declares is read as well.
    pub declared: bool,
    /// The Python sources that are read: these files, or all of the repository where none is named; `None` for none.
    pub sources: Option<Vec<PathBuf>>,
    /// The Cargo manifest, where named.
    pub manifest: Option<String>,
    /// The package of the workspace, where one was named; `manifest` is then its manifest.
    pub package: Option<String>,
    /// Features of the project to build with.
    pub features: Vec<String>,
    /// Whether it is built with all of its features.
    pub all_features: bool,
    /// Whether it is built without its default features.
    pub no_default_features: bool,
    /// The platform to build for, where it is not this one.
    pub target: Option<String>,
    /// Whether no program may be run.
    pub only_static: bool,
    /// What a machine without a usable GPU means.
    pub gpu: Option<GpuWish>,
    /// What is pretended.
    pub assume: Assume,
    /// Levels from the command line: rule and level.
    pub levels: Vec<(String, Option<Level>)>,
    /// Whether unknown things fail the check too.
    pub strict: bool,
    /// Whether every file of every Python package is compared with its RECORD.
    pub deep: bool,
    /// Whether `--deep` compares hashes too.
    pub hashes: bool,
    /// How long a child process may take that asks an interpreter; `None` where none is asked.
    pub run_python: Option<std::time::Duration>,
    /// Whether the test kernel is launched, and what it means that it was not.
    pub launch: Launch,
    /// How child processes are started; without it no foreign library is opened.
    #[cfg(feature = "cuda")]
    pub child: Option<crate::probe::child::Child>,
    /// A folder of libraries that stand in for the driver, whether or not one is loaded; for tests.
    pub stand_in: Option<PathBuf>,
    /// How the test kernel is compiled.
    pub compile: crate::kernel::Settings,
    /// Whether times are measured and reported.
    pub timings: bool,
    /// A policy file other than the default ones.
    pub config: Option<PathBuf>,
}

/// What a machine without a usable GPU means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GpuWish {
    /// A denied finding.
    Required,
    /// A note.
    #[default]
    Optional,
    /// It is not looked at.
    None,
}

/// Whether the test kernel is launched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Launch {
    /// Not at all: no library is opened.
    #[default]
    Never,
    /// Where a driver is loaded.
    Auto,
    /// It is what was asked for: compiled anyhow, launched where a driver is loaded.
    Asked,
    /// It must run.
    Require,
}

/// What a run wishes that weighs in judging.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// What a machine without a usable GPU means.
    pub gpu: GpuWish,
    /// Whether the test kernel had to run.
    pub launch: Launch,
}

impl From<GpuWish> for Wishes {
    fn from(gpu: GpuWish) -> Self {
        Self { gpu, launch: Launch::Never }
    }
}

/// What is pretended, from `--assume`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assume {
    /// The driver's version; its user-space libraries are assumed with it.
    pub driver: Option<Dotted>,
    /// The compute capability of a device.
    pub gpu: Option<Dotted>,
    /// The Python version.
    pub python: Option<Dotted>,
    /// The CUDA version that the driver reports; without a driver's version it stands for such a driver.
    pub cuda: Option<Dotted>,
}
