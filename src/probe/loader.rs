//! What the dynamic loader would pick for a name: glibc's search rebuilt from files, nothing loaded.

use std::path::Path;

use crate::facts::{Dynamic, Loader, Resolution};
use crate::host::{Host, HostError};

/// The loader of one machine: its `LD_LIBRARY_PATH`, cache, default folders, and what was read of ELF files so far.
#[derive(Debug)]
pub struct Search<'h> {
    host: &'h Host,
}

impl<'h> Search<'h> {
    /// Reads what every search needs.
    pub fn new(host: &'h Host) -> Self {
        Self { host }
    }

    /// The host that is searched.
    pub fn host(&self) -> &'h Host {
        self.host
    }

    /// How this loader searches for an ordinary program.
    pub fn facts(&self) -> Loader {
        Loader::default()
    }

    /// Resolves names in the order in which one process would `dlopen` them.
    ///
    /// `chain` is the object that calls `dlopen` first, then what loaded that object, up to the program.
    /// Names that an earlier library already brought in are found as such.
    pub fn resolve_all(&self, names: &[&str], chain: &[&str]) -> Vec<Resolution> {
        let _ = chain;
        names.iter().map(|name| Resolution { name: (*name).to_owned(), ..Resolution::default() }).collect()
    }

    /// Resolves one name in a fresh process.
    pub fn resolve(&self, name: &str, chain: &[&str]) -> Resolution {
        self.resolve_all(&[name], chain).swap_remove(0)
    }

    /// The dynamic section of an ELF file; remembered.
    pub fn dynamic(&self, path: impl AsRef<Path>) -> Result<Dynamic, HostError> {
        self.host.open(path).map(|_| Dynamic::default())
    }
}
