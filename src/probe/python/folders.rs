//! Lists each folder once; remembers what was there and reads no file.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::host::{Entry, Host, Kind};

/// The listing of a folder, sorted by name; `None` where it cannot be listed.
pub(super) type Listing = Option<Rc<Vec<Entry>>>;

/// Folders that were listed so far.
#[derive(Debug)]
pub(super) struct Folders<'h> {
    pub(super) host: &'h Host,
    seen: RefCell<HashMap<String, Listing>>,
}

impl<'h> Folders<'h> {
    pub(super) fn new(host: &'h Host) -> Self {
        Self { host, seen: RefCell::default() }
    }

    /// The entries of a folder.
    pub(super) fn list(&self, folder: &str) -> Listing {
        if let Some(known) = self.seen.borrow().get(folder) {
            return known.clone();
        }
        let listing = self.host.list(folder).ok().map(Rc::new);
        self.seen.borrow_mut().insert(folder.to_owned(), listing.clone());
        listing
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
