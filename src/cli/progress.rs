//! Says on standard error what a run waits for, where that is a terminal and only while it takes long; then takes it back.

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
    let width = width.unwrap_or(80);
    let line = |begin: Instant| {
        let (what, time) = crate::doing::longest().unwrap_or_else(|| (what.to_owned(), begin.elapsed()));
        line(&what, time, width)
    };
    telling(&line, PATIENCE, &mut stderr, work)
}

/// The line. One that is longer than the terminal is wide would leave its beginning there.
fn line(what: &str, time: Duration, width: usize) -> String {
    format!("{what} … {:.0} s", time.as_secs_f64()).chars().take(width.saturating_sub(1)).collect()
}

/// As [`during`], to any writer; `line` says what is waited for since a time.
fn telling<T>(
    line: &(impl Fn(Instant) -> String + Sync),
    patience: Duration,
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
                let _ = write!(to, "\r\x1b[K{}", line(begin));
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

    fn compiling(begin: Instant) -> String {
        line("compiling", begin.elapsed(), 80)
    }

    #[test]
    fn the_line_fits() {
        assert_eq!(line("waiting for the driver", Duration::from_secs(3), 80), "waiting for the driver … 3 s");
        assert_eq!(line("waiting for the driver", Duration::from_secs(3), 10), "waiting f");
    }

    #[test]
    fn what_takes_long_is_told_and_taken_back() {
        let mut told = Vec::new();
        let answer = telling(&compiling, Duration::from_millis(20), &mut told, || {
            std::thread::sleep(Duration::from_millis(200));
            7
        });
        let told = String::from_utf8(told).unwrap();
        assert!(answer == 7 && told.starts_with("\r\x1b[Kcompiling … 0 s") && told.ends_with("\r\x1b[K"), "{told:?}");
    }

    #[test]
    fn what_is_quick_is_not_told() {
        let mut told = Vec::new();
        telling(&compiling, Duration::from_mins(1), &mut told, || ());
        assert!(told.is_empty());
    }
}
