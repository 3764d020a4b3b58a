//! Renews and verifies the database over the network; `check` never comes here.
//!
//! What is fetched goes through `http`, what is written through `store`; the rest reads, derives and compares.

pub mod derive;
pub mod http;
pub mod index;
pub mod manifest;
pub mod renew;
pub mod signature;
pub mod store;
pub mod verify;
pub mod wheel;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Tells how far something is: what was done last, how many of how many, bytes so far.
pub trait Progress: Sync {
    /// One more is done.
    fn step(&self, done: usize, of: usize, bytes: u64);
}

impl Progress for () {
    fn step(&self, _: usize, _: usize, _: u64) {}
}

/// Runs something for each item, at most `jobs` beside each other, and keeps the order of the results.
fn each<Item: Sync, Out: Send>(
    items: &[Item],
    jobs: usize,
    run: impl Fn(&Item) -> Out + Sync,
    done: impl Fn(usize) + Sync,
) -> Vec<Out> {
    let next = AtomicUsize::new(0);
    let finished = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, Out)>> = Mutex::new(Vec::with_capacity(items.len()));
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, 32).min(items.len()) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(index) else { return };
                    let out = run(item);
                    if let Ok(mut results) = results.lock() {
                        results.push((index, out));
                    }
                    done(finished.fetch_add(1, Ordering::Relaxed) + 1);
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_default();
    crate::sort::by_key(&mut results, |(index, _)| *index);
    results.into_iter().map(|(_, out)| out).collect()
}
