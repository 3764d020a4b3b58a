//! Compares every file of many distributions with their RECORDs, on as many threads as there are; judges nothing.
//!
//! The RECORD of TensorFlow is longer than all others together, so the work is shared out by parts of RECORDs.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::layout::join;
use super::record::{self, Budget, Part};
use crate::facts::RecordCheck;
use crate::host::{Host, HostError};

/// How much of a RECORD is compared at a time: some hundred lines, or some few where all bytes are read.
const PART: usize = 32 << 10;
const HASHED_PART: usize = 1 << 10;
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
    /// One for each package; empty without hashes.
    budgets: Vec<Budget>,
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The next package whose RECORD is to be read.
    next: usize,
    /// RECORDs that are being read: parts may come of them.
    reading: usize,
    queue: Vec<Task>,
    done: Vec<(usize, usize, Part)>,
    unread: Vec<(usize, HostError)>,
}

/// A part of a RECORD.
#[derive(Debug)]
struct Task {
    package: usize,
    text: Arc<str>,
    range: Range<usize>,
}

impl<'h> Work<'h> {
    /// Work on packages; those with the longest RECORDs had best come first.
    pub(super) fn new(host: &'h Host, packages: Vec<Package>, hashes: bool) -> Self {
        let budgets = if hashes { packages.iter().map(|_| Budget::default()).collect() } else { Vec::new() };
        Self { host, packages, budgets, state: Mutex::default(), news: Condvar::new() }
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
                let location = self.packages.get(task.package).map_or("", |package| package.location.as_str());
                let text = task.text.get(task.range.clone()).unwrap_or_default();
                let part = record::check_all(self.host, location, text, self.budgets.get(task.package));
                state = self.state();
                state.done.push((task.package, task.range.start, part));
            } else if let Some(package) = self.packages.get(state.next) {
                let index = state.next;
                state.next += 1;
                state.reading += 1;
                drop(state);
                let read = super::record(self.host, &package.record);
                state = self.state();
                state.reading -= 1;
                match read {
                    Ok(text) => {
                        let length = if self.budgets.is_empty() { PART } else { HASHED_PART };
                        let text: Arc<str> = text.into();
                        let parts = record::parts(&text, length);
                        state.queue.extend(parts.into_iter().map(|range| Task {
                            package: index,
                            text: Arc::clone(&text),
                            range,
                        }));
                    }
                    Err(error) => state.unread.push((index, error)),
                }
                self.news.notify_all();
            } else if state.reading > 0 {
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
        done.sort_by_key(|(package, start, _)| (*package, *start));
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
