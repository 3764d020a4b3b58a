//! Lists each folder once, those inside of archives on `sys.path` too; remembers listings and no contents.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use super::archive::Archives;
use crate::facts::{PathOrigin, SysPathEntry, Trouble};
use crate::host::{Entry, Host, HostError, Kind, TEXT_LIMIT};

/// The listing of a folder, sorted by name; `None` where it cannot be listed.
pub(super) type Listing = Option<Rc<Vec<Entry>>>;

/// Folders that were listed so far.
#[derive(Debug)]
pub(super) struct Folders<'h> {
    pub(super) host: &'h Host,
    seen: RefCell<HashMap<String, Listing>>,
    archives: Archives,
}

impl<'h> Folders<'h> {
    pub(super) fn new(host: &'h Host) -> Self {
        Self { host, seen: RefCell::default(), archives: Archives::default() }
    }

    /// The entries of a folder.
    pub(super) fn list(&self, folder: &str) -> Listing {
        if let Some(known) = self.seen.borrow().get(folder) {
            return known.clone();
        }
        let listing = match self.archives.of(folder) {
            Some((archive, inside)) => archive.list(inside),
            None => self.host.list(folder).ok(),
        };
        let listing = listing.map(Rc::new);
        self.seen.borrow_mut().insert(folder.to_owned(), listing.clone());
        listing
    }

    /// Opens the archives on `sys.path`, and tells which of its files are none that can be read.
    pub(super) fn open_archives(&self, sys_path: &[SysPathEntry]) -> Vec<Trouble> {
        sys_path
            .iter()
            .filter(|entry| entry.origin != PathOrigin::Stdlib && !self.host.is_dir(&entry.path))
            .filter_map(|entry| {
                let error = self.archives.add(self.host, &entry.path).err()?;
                let why =
                    format!("a file on sys.path that cannot be read as an archive ({error}); nothing in it counts");
                Some(Trouble { at: entry.path.clone(), why })
            })
            .collect()
    }

    /// Whether a path lies in an archive that was opened.
    pub(super) fn is_archived(&self, path: &str) -> bool {
        self.archives.of(path).is_some()
    }

    /// The first `limit` bytes of a file, or of a member of an archive.
    pub(super) fn read_head(&self, path: &str, limit: u64) -> Result<Vec<u8>, HostError> {
        match self.archives.of(path) {
            Some((archive, member)) => archive.read_head(member, limit),
            None => self.host.read_head(path, limit),
        }
    }

    /// A text file, or a member of an archive, of sensible size; bytes that are not UTF-8 are replaced.
    pub(super) fn read_lossy(&self, path: &str) -> Result<String, HostError> {
        if self.is_archived(path) {
            return self.read_head(path, TEXT_LIMIT).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        }
        self.host.read_lossy(path)
    }

    /// What an entry of a folder is, links not followed.
    pub(super) fn kind(&self, folder: &str, name: &str) -> Option<Kind> {
        let listing = self.list(folder)?;
        find(&listing, name).map(|entry| entry.kind)
    }
}

/// An entry of a sorted listing.
pub(super) fn find<'l>(listing: &'l [Entry], name: &str) -> Option<&'l Entry> {
    listing.binary_search_by(|entry| entry.name.as_str().cmp(name)).ok().and_then(|at| listing.get(at))
}
