//! Compares every file of many distributions with their RECORDs, on as many threads as there are; judges nothing.
//!
//! The RECORD of TensorFlow is longer than all others together, so the work is shared out by parts of RECORDs.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::layout::join;
use super::record::{self, Budget, Part, Site};
use crate::facts::RecordCheck;
use crate::host::{Host, HostError, OpenFile};

/// How much of a RECORD is compared at a time where all bytes of its files are read: some few lines.
const HASHED_PART: u64 = 1 << 10;
/// More threads than this wait for the same locks of the kernel.
const MOST_THREADS: usize = 8;

/// A distribution whose files are compared.
#[derive(Clone, Debug)]
pub(super) struct Package {
    /// The folder of packages that the paths in RECORD begin at.
    pub(super) location: String,
    /// The path of RECORD.
    pub(super) record: String,
}

impl Package {
    pub(super) fn new(location: &str, metadata: &str) -> Self {
        Self { location: location.to_owned(), record: join(metadata, "RECORD") }
    }
}

/// The comparisons of one environment, on which several threads work.
#[derive(Debug)]
pub(super) struct Work<'h> {
    host: &'h Host,
    packages: Vec<Package>,
    /// The folders that they lie in, of which there are few.
    sites: HashMap<String, Site<'h>>,
    /// One for each package; empty without hashes.
    budgets: Vec<Budget>,
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The next package whose RECORD is to be opened.
    next: usize,
    /// RECORDs that are being opened: parts may come of them.
    opening: usize,
    queue: Vec<Task>,
    done: Vec<(usize, u64, Part)>,
    unread: Vec<(usize, HostError)>,
}

/// A part of a RECORD.
#[derive(Debug)]
struct Task {
    package: usize,
    file: Arc<OpenFile>,
    range: Range<u64>,
}

impl<'h> Work<'h> {
    /// Work on packages; those with the longest RECORDs had best come first.
    pub(super) fn new(host: &'h Host, packages: Vec<Package>, hashes: bool) -> Self {
        let budgets = if hashes { packages.iter().map(|_| Budget::default()).collect() } else { Vec::new() };
        let mut sites = HashMap::new();
        for package in &packages {
            sites.entry(package.location.clone()).or_insert_with_key(|location| Site::new(host, location));
        }
        Self { host, packages, sites, budgets, state: Mutex::default(), news: Condvar::new() }
    }

    /// How many threads there should be beside the one that asks.
    pub(super) fn helpers() -> usize {
        std::thread::available_parallelism().map_or(1, |count| count.get().min(MOST_THREADS)) - 1
    }

    /// Works until nothing is left to do; any number of threads may.
    pub(super) fn run(&self) {
        let mut state = self.state();
        loop {
            if let Some(task) = state.queue.pop() {
                drop(state);
                let site = self.packages.get(task.package).and_then(|package| self.sites.get(&package.location));
                let part = record::piece(&task.file, &task.range).map(|text| {
                    site.map(|site| record::check_all(site, &text, self.budgets.get(task.package))).unwrap_or_default()
                });
                state = self.state();
                match part {
                    Ok(part) => state.done.push((task.package, task.range.start, part)),
                    Err(error) => state.unread.push((task.package, error)),
                }
            } else if let Some(package) = self.packages.get(state.next) {
                let index = state.next;
                state.next += 1;
                state.opening += 1;
                drop(state);
                let opened = record::open(self.host, &package.record);
                state = self.state();
                state.opening -= 1;
                match opened {
                    Ok(file) => {
                        let length = if self.budgets.is_empty() { record::PIECE } else { HASHED_PART };
                        let ranges = record::pieces(file.stat.size, length);
                        let file = Arc::new(file);
                        let task = |range| Task { package: index, file: Arc::clone(&file), range };
                        state.queue.extend(ranges.map(task));
                    }
                    Err(error) => state.unread.push((index, error)),
                }
                self.news.notify_all();
            } else if state.opening > 0 {
                state = self.news.wait(state).unwrap_or_else(PoisonError::into_inner);
            } else {
                return;
            }
        }
    }

    /// What came of it, by the path of RECORD; only once all threads are done.
    pub(super) fn finish(self) -> HashMap<String, Result<RecordCheck, HostError>> {
        let State { mut done, unread, .. } = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut parts: Vec<Part> = self.packages.iter().map(|_| Part::default()).collect();
        // Whoever compared them: the same files, the same words.
        crate::sort::by_key(&mut done, |(package, start, _)| (*package, *start));
        for (package, _, part) in done {
            if let Some(whole) = parts.get_mut(package) {
                whole.add(part);
            }
        }
        let mut checks: Vec<_> = parts.into_iter().map(|part| Ok(part.finish())).collect();
        for (package, error) in unread {
            if let Some(slot) = checks.get_mut(package) {
                *slot = Err(error);
            }
        }
        self.packages.into_iter().map(|package| package.record).zip(checks).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
