//! Readings of the dynamic loader: what it would pick for a name, from where, and why.

use serde::{Deserialize, Serialize};

use super::{Evidence, Probed};
use crate::version::Dotted;

/// How the loader of this machine searches for an ordinary program.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Loader {
    /// The entries of `LD_LIBRARY_PATH` in order.
    pub library_path: Vec<SearchFolder>,
    /// Files of `LD_PRELOAD` and `/etc/ld.so.preload`, as written.
    pub preload: Vec<Evidence>,
    /// glibc's cache: how many entries, or why it could not be used.
    pub cache: Probed<u32>,
    /// The version of glibc, by the loader's own file; it decides which subfolders are tried.
    #[serde(default)]
    pub glibc: Probed<Dotted>,
    /// Default folders that exist, in order.
    pub default_folders: Vec<String>,
}

impl Loader {
    /// `LD_LIBRARY_PATH` without an entry, as written.
    pub fn without(&self, entry: &str) -> String {
        let entries = self.library_path.iter().map(|folder| folder.text.as_str());
        entries.filter(|text| *text != entry).collect::<Vec<_>>().join(":")
    }
}

/// An entry of `LD_LIBRARY_PATH`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchFolder {
    /// As written; empty means the working directory.
    pub text: String,
    /// After expansion, absolute.
    pub path: String,
    /// Whether that folder exists.
    pub exists: bool,
}

/// What the loader gives for one name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resolution {
    /// The name that is asked for, such as `libcudnn.so.9`.
    pub name: String,
    /// The file that wins; absent where the search ends with nothing.
    pub file: Probed<Library>,
    /// Files of that name that come later in the search, or that lie where nothing searches
    /// but a reader would expect them (an environment's `nvidia` folder, toolkits).
    pub others: Vec<Candidate>,
    /// Files of that name that were passed over: wrong class, wrong machine, unreadable.
    pub rejected: Vec<Rejected>,
}

/// A shared library that was chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Library {
    /// The path by which the loader opens it.
    pub path: String,
    /// The file behind all links.
    pub real: String,
    /// Why it wins.
    pub via: Via,
    /// Its DT_SONAME.
    pub soname: Option<String>,
    /// Its version, where its name, its package or a header beside it tells.
    pub version: Option<Reading>,
    /// Names of its DT_NEEDED entries.
    pub needed: Vec<String>,
    /// Names that it needs, directly or further down, and that nothing provides.
    pub missing: Vec<MissingNeeded>,
    /// Symbols that it, or what it needs, asks of another library in vain; a few of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unresolved: Vec<Unresolved>,
    /// The libraries that it brings along: name and file, for those named `libcu*`, `libnv*`.
    pub brings: Vec<Brought>,
    /// The installed Python distribution that owns the file, as `name version`.
    pub owner: Option<String>,
    /// Size in bytes.
    pub size: u64,
}

/// A version of a library and where it was read.
pub type Reading = super::Reading<Dotted>;

/// A library that another one brings along.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Brought {
    /// The name asked for.
    pub name: String,
    /// The path it resolves to.
    pub path: String,
}

/// A needed name that nothing provides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MissingNeeded {
    /// The name.
    pub name: String,
    /// The library whose DT_NEEDED names it.
    pub by: String,
}

/// A symbol that is asked of a library which does not have it: opening with `RTLD_NOW` fails.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unresolved {
    /// The symbol.
    pub symbol: String,
    /// The library that asks.
    pub by: String,
    /// The library that is to have it, as it was asked for.
    pub of: String,
    /// The file that was loaded under that name.
    pub file: String,
    /// The entry of `LD_LIBRARY_PATH` that it lies in, as written.
    pub entry: Option<String>,
    /// The installed Python distribution that owns the file, as `name version`.
    pub owner: Option<String>,
}

/// Why a file wins the search.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Via {
    /// The name holds a slash: it is the path itself.
    #[default]
    Path,
    /// `LD_PRELOAD` or something opened earlier by the same process brought it.
    AlreadyLoaded {
        /// What brought it.
        by: String,
    },
    /// DT_RPATH of an object.
    Rpath {
        /// The object that carries it.
        object: String,
        /// The entry as written.
        entry: String,
    },
    /// `LD_LIBRARY_PATH`.
    LibraryPath {
        /// The entry as written.
        entry: String,
    },
    /// DT_RUNPATH of the object that asks.
    Runpath {
        /// The object that asks.
        object: String,
        /// The entry as written.
        entry: String,
    },
    /// glibc's cache file.
    Cache {
        /// The cache file.
        file: String,
    },
    /// A default folder.
    DefaultFolder {
        /// The folder.
        folder: String,
    },
    /// Assumed with `--assume`.
    Assumed,
}

impl std::fmt::Display for Via {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path => f.write_str("by its path"),
            Self::AlreadyLoaded { by } => write!(f, "already loaded through {by}"),
            Self::Rpath { object, .. } => write!(f, "the RPATH of {object}"),
            Self::LibraryPath { entry } if entry.is_empty() => {
                f.write_str("an empty entry of LD_LIBRARY_PATH, which means the working directory")
            }
            Self::LibraryPath { entry } => write!(f, "LD_LIBRARY_PATH entry {entry}"),
            Self::Runpath { object, .. } => write!(f, "the RUNPATH of {object}"),
            Self::Cache { file } => write!(f, "the loader's cache {file}"),
            Self::DefaultFolder { folder } => write!(f, "the default folder {folder}"),
            Self::Assumed => f.write_str("assumed"),
        }
    }
}

impl Via {
    /// How the file came to win, as words that follow its path: `found through …`, `already loaded through …`.
    pub fn how(&self) -> String {
        match self {
            Self::Path => format!("found {self}"),
            Self::AlreadyLoaded { .. } | Self::Assumed => self.to_string(),
            _ => format!("found through {self}"),
        }
    }
}

/// A file of the right name that does not win.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Candidate {
    /// Its path.
    pub path: String,
    /// Where the search would meet it, or `None` where nothing searches.
    pub via: Option<Via>,
    /// Its version, where it can be told.
    pub version: Option<Reading>,
}

/// A file that the loader passes over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rejected {
    /// Its path.
    pub path: String,
    /// Why: `wrong ELF class`, `for aarch64`, `permission denied`, ...
    pub why: String,
}

/// Whether a path lies in the store of Nix or Guix, where each package has a folder of its own that nobody may change.
pub fn in_store(path: &str) -> bool {
    path.starts_with("/nix/store/") || path.starts_with("/gnu/store/")
}

/// An ELF object's dynamic section.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dynamic {
    /// 32 or 64.
    pub class: u8,
    /// `x86_64`, `aarch64`, ...; `other-N` for the rest.
    pub machine: String,
    /// DT_SONAME.
    pub soname: Option<String>,
    /// DT_NEEDED in order.
    pub needed: Vec<String>,
    /// DT_RPATH entries as written, in order; ignored by the loader where RUNPATH is there.
    pub rpath: Vec<String>,
    /// DT_RUNPATH entries as written, in order.
    pub runpath: Vec<String>,
    /// Whether DT_FLAGS_1 holds DF_1_NODEFLIB.
    pub no_default_folders: bool,
}

/// Evidence that a library resolves to a file, for a report.
impl Library {
    /// One line: which file, and why it wins.
    pub fn evidence(&self, name: &str) -> Evidence {
        Evidence::loader(name, format!("{} ({})", self.path, self.via.how()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_reads_as_a_sentence() {
        let entry = "/cuda".to_owned();
        for (via, says) in [
            (Via::Path, "found by its path"),
            (Via::AlreadyLoaded { by: "/a.so".to_owned() }, "already loaded through /a.so"),
            (Via::LibraryPath { entry }, "found through LD_LIBRARY_PATH entry /cuda"),
            (Via::DefaultFolder { folder: "/lib64".to_owned() }, "found through the default folder /lib64"),
            (Via::Assumed, "assumed"),
        ] {
            assert_eq!(via.how(), says);
        }
    }
}
