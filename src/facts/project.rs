//! Readings of a Cargo project from its files: which crates of its lock file deal with CUDA.

use serde::{Deserialize, Serialize};

use super::Evidence;

/// A Cargo project.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Project {
    /// The manifest.
    pub manifest: String,
    /// The lock file, where there is one.
    pub lock: Option<String>,
    /// Packages of the lock file that the database knows as dealing with CUDA.
    pub crates: Vec<LockedCrate>,
    /// Why the lock file could not be read.
    pub trouble: Option<String>,
}

/// A package of a lock file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedCrate {
    /// Its name.
    pub name: String,
    /// Its version (semver).
    pub version: String,
    /// Where it stands.
    pub evidence: Evidence,
}
