//! Says on standard error what a run waits for, where that is a terminal and only while it takes long; then takes it back.

use std::fmt::Write as _;
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
    let width =
        rustix::termios::tcgetwinsize(&stderr).ok().map(|size| usize::from(size.ws_col)).filter(|width| *width > 0);
    telling(what, PATIENCE, width.unwrap_or(80), &mut stderr, work)
}

/// The line: what has been waited for longest, else the whole. One that is longer than the terminal is wide would leave
/// its beginning there.
fn line(what: &str, begin: Instant, width: usize) -> String {
    let (what, time) = crate::doing::longest().unwrap_or_else(|| (what.to_owned(), begin.elapsed()));
    let mut line = String::new();
    let _ = write!(line, "{what} … {:.0} s", time.as_secs_f64());
    line.chars().take(width.saturating_sub(1)).collect()
}

/// As [`during`], to any writer.
fn telling<T>(
    what: &str,
    patience: Duration,
    width: usize,
    to: &mut (impl std::io::Write + Send),
    work: impl FnOnce() -> T,
) -> T {
    let (ended, end) = channel::<()>();
    std::thread::scope(|scope| {
        let teller = move || {
            let begin = Instant::now();
            let mut said = false;
            // The sender is dropped when the work is done, or when it panics.
            while end.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
                said = true;
                // Nobody is told where nothing can be written.
                let _ = write!(to, "\r\x1b[K{}", line(what, begin, width));
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
    fn the_line_says_what_is_waited_for_longest_and_fits() {
        let begin = Instant::now();
        let first = crate::doing::doing("waiting for the driver");
        let second = crate::doing::doing("compiling with nvcc 13.0");
        let told = line("reading", begin, 80);
        assert!(told.ends_with(" … 0 s") && told.len() > 20, "{told}");
        drop(first);
        assert_eq!(line("reading", begin, 10).chars().count(), 9);
        drop(second);
    }

    #[test]
    fn what_takes_long_is_told_and_taken_back() {
        let mut told = Vec::new();
        let answer = telling("compiling", Duration::from_millis(20), 80, &mut told, || {
            std::thread::sleep(Duration::from_millis(200));
            7
        });
        let told = String::from_utf8(told).unwrap();
        assert!(
            answer == 7 && told.starts_with("\r\x1b[K") && told.contains(" … 0 s") && told.ends_with("\r\x1b[K"),
            "{told:?}"
        );
    }

    #[test]
    fn what_is_quick_is_not_told() {
        let mut told = Vec::new();
        telling("reading", Duration::from_mins(1), 80, &mut told, || ());
        assert!(told.is_empty());
    }
}
