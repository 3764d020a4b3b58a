//! Reads a machine's files and says whether TensorFlow, Keras and CUDA code will use its NVIDIA GPU.
//!
//! The library does the reading (`host`, `probe`), holds it against a database (`db`), judges
//! (`rules`, `verdict`) and writes reports (`report`). It runs no program but `cargo metadata`,
//! CUDA's compilers and the Python interpreters that it is told to ask, and opens foreign libraries
//! in child processes only, where it is told to.
//! Other crates' build scripts want [`build_script`]. ARCHITECTURE.md has the map.

pub mod build_script;
pub mod db;
pub mod doing;
pub mod env;
pub mod exit;
pub mod facts;
pub mod finding;
mod gate;
#[cfg(feature = "cli")]
pub mod hook;
pub mod host;
#[cfg(any(test, feature = "cli", feature = "update"))]
mod json;
pub mod kernel;
pub mod options;
pub mod policy;
pub mod probe;
mod ranges;
pub mod report;
pub mod rules;
#[cfg(any(test, feature = "cli"))]
pub mod run;
mod shell;
mod sort;
pub mod verdict;
pub mod version;
pub mod view;

#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
pub mod fleet;
#[cfg(feature = "update")]
pub mod update;
