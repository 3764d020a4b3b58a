//! What a run is waiting for at the moment, for a word on a terminal; shows nothing itself.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What is waited for, the longest first.
static NOW: Mutex<Vec<(u64, Instant, String)>> = Mutex::new(Vec::new());

/// Something that is waited for until this is dropped.
#[derive(Debug)]
pub struct Doing(u64);

/// Says what is waited for from here on: `waiting for the driver`.
pub fn doing(what: impl Into<String>) -> Doing {
    let Ok(mut now) = NOW.lock() else { return Doing(0) };
    let id = now.last().map_or(1, |(id, ..)| id + 1);
    now.push((id, Instant::now(), what.into()));
    Doing(id)
}

impl Drop for Doing {
    fn drop(&mut self) {
        if let Ok(mut now) = NOW.lock() {
            now.retain(|(id, ..)| *id != self.0);
        }
    }
}

/// What has been waited for longest, and for how long.
pub fn longest() -> Option<(String, Duration)> {
    let now = NOW.lock().ok()?;
    now.first().map(|(_, begin, what)| (what.clone(), begin.elapsed()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for_longest_comes_first() {
        // Other tests wait for something at the same time; what began before this stays in front of it.
        let first = doing("the first");
        let second = doing("the second");
        let place = |what: &str| NOW.lock().unwrap().iter().position(|(.., told)| told == what);
        assert!(place("the first") < place("the second") && longest().is_some());
        drop(first);
        assert!(place("the first").is_none() && place("the second").is_some());
        drop(second);
        assert!(place("the second").is_none());
    }
}
