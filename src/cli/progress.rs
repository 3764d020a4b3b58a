//! Says on standard error what a run is at, where that is a terminal and only while it takes long; then takes it back.

use std::io::IsTerminal as _;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How long something may take before it is worth a word.
const PATIENCE: Duration = Duration::from_millis(500);

/// Does something, and says so while it takes longer than half a second.
pub(super) fn during<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let mut stderr = std::io::stderr();
    if !stderr.is_terminal() {
        return work();
    }
    telling(what, PATIENCE, &mut stderr, work)
}

/// As [`during`], to any writer.
fn telling<T>(what: &str, patience: Duration, to: &mut (impl std::io::Write + Send), work: impl FnOnce() -> T) -> T {
    let (ended, end) = channel::<()>();
    std::thread::scope(|scope| {
        let teller = move || {
            let begin = Instant::now();
            let mut said = false;
            // The sender is dropped when the work is done, or when it panics.
            while end.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
                said = true;
                // Nobody is told where nothing can be written.
                let _ = write!(to, "\r\x1b[K{what} … {:.0} s", begin.elapsed().as_secs_f64());
                let _ = to.flush();
            }
            if said {
                let _ = write!(to, "\r\x1b[K");
                let _ = to.flush();
            }
        };
        let _ = std::thread::Builder::new().spawn_scoped(scope, teller);
        let result = work();
        drop(ended);
        result
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_long_is_told_and_taken_back() {
        let mut told = Vec::new();
        let answer = telling("compiling", Duration::from_millis(20), &mut told, || {
            std::thread::sleep(Duration::from_millis(200));
            7
        });
        let told = String::from_utf8(told).unwrap();
        assert!(answer == 7 && told.starts_with("\r\x1b[Kcompiling … 0 s") && told.ends_with("\r\x1b[K"), "{told:?}");
    }

    #[test]
    fn what_is_quick_is_not_told() {
        let mut told = Vec::new();
        telling("reading", Duration::from_mins(1), &mut told, || ());
        assert!(told.is_empty());
    }
}
