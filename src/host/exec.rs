//! Runs a program for the host: in a process group of its own, with a time limit and an output cap, killed as a whole.
//!
//! What the program prints means nothing here.

#![expect(clippy::disallowed_methods, reason = "this is the seam that the fence protects")]

use std::collections::BTreeMap;
use std::io::{Read, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What is run, and its limits.
#[derive(Clone, Debug)]
pub struct Program<'a> {
    /// The program file.
    pub file: &'a str,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its whole environment.
    pub env: BTreeMap<String, String>,
    /// Its working folder.
    pub cwd: &'a Path,
    /// What it reads from its standard input; empty for nothing.
    pub stdin: &'a [u8],
    /// How long it may take.
    pub limit: Duration,
    /// Whether each piece of its standard output gives it that time anew.
    pub renewed: bool,
    /// How many bytes of each of its outputs are kept.
    pub cap: usize,
}

/// A program that came to its end, or was ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// How it ended.
    pub end: End,
    /// The first bytes of its standard output.
    pub stdout: Vec<u8>,
    /// The last bytes of its standard error.
    pub stderr: Vec<u8>,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum End {
    /// With an exit code.
    #[error("it ended with exit code {0}")]
    Code(i32),
    /// By a signal.
    #[error("signal {0} ended it")]
    Signal(i32),
    /// It took longer than its limit and was killed.
    #[error("it took longer than {} s and was ended", .0.as_secs())]
    Overtime(Duration),
}

/// How often a running program is looked at where the kernel cannot say when it ends.
const LOOK: Duration = Duration::from_millis(5);

/// Runs it.
pub(super) fn run(program: &Program<'_>) -> std::io::Result<Ran> {
    let mut child = Command::new(program.file)
        .args(&program.args)
        .env_clear()
        .envs(&program.env)
        .current_dir(program.cwd)
        .stdin(if program.stdin.is_empty() { Stdio::null() } else { Stdio::piped() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let start = Instant::now();
    // Milliseconds from the start to the last output that counts.
    let heard = AtomicU64::new(0);
    let deadline = || start + Duration::from_millis(heard.load(Ordering::Relaxed)) + program.limit;
    let group = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    let watch = group.and_then(|pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok());
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let hear = || {
        if program.renewed {
            let now = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
            heard.store(now, Ordering::Relaxed);
        }
    };
    std::thread::scope(|scope| {
        if let Some(mut stdin) = stdin {
            // One that ends without reading it is told apart by how it ends.
            scope.spawn(move || stdin.write_all(program.stdin));
        }
        let stdout = scope.spawn(|| head(stdout, program.cap, hear));
        let stderr = scope.spawn(|| tail(stderr, program.cap));
        let mut status = None;
        while status.is_none() && Instant::now() < deadline() {
            status = child.try_wait()?;
            if status.is_none() {
                wait(watch.as_ref(), deadline());
            }
        }
        // Whatever it started must not outlive it, nor hold its pipes open.
        if let Some(group) = group {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let end = if let Some(status) = status {
            end(status)
        } else {
            let _ = child.kill();
            let _ = child.wait();
            End::Overtime(program.limit)
        };
        Ok(Ran { end, stdout: stdout.join().unwrap_or_default(), stderr: stderr.join().unwrap_or_default() })
    })
}

/// Waits until the program ends, the deadline comes, or it is time to look again.
fn wait(watch: Option<&OwnedFd>, deadline: Instant) {
    let left = deadline.saturating_duration_since(Instant::now());
    let waited = watch.and_then(|watch| {
        let timeout = rustix::event::Timespec::try_from(left).ok()?;
        let mut ends = [rustix::event::PollFd::new(watch, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut ends, Some(&timeout)).ok()
    });
    if waited.is_none() {
        sleep(LOOK.min(left));
    }
}

fn end(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Code(code),
        (None, signal) => End::Signal(signal.unwrap_or(0)),
    }
}

/// The first bytes; the rest is read and dropped, so that the program does not wait for a reader.
fn head(from: Option<impl Read>, cap: usize, hear: impl Fn()) -> Vec<u8> {
    let mut kept = Vec::new();
    pieces(from, |piece| {
        hear();
        let room = cap.saturating_sub(kept.len()).min(piece.len());
        kept.extend_from_slice(&piece[..room]);
    });
    kept
}

/// The last bytes.
fn tail(from: Option<impl Read>, cap: usize) -> Vec<u8> {
    let mut kept = Vec::new();
    pieces(from, |piece| {
        kept.extend_from_slice(piece);
        if kept.len() > 2 * cap {
            kept.drain(..kept.len() - cap);
        }
    });
    let surplus = kept.len().saturating_sub(cap);
    kept.split_off(surplus)
}

fn pieces(from: Option<impl Read>, mut take: impl FnMut(&[u8])) {
    let Some(mut from) = from else { return };
    let mut buffer = [0; 8192];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => take(&buffer[..length]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limit: u64) -> Ran {
        run(&Program {
            file: "/bin/sh",
            args: vec!["-c".to_owned(), script.to_owned()],
            env: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
            cwd: Path::new("/"),
            stdin: b"asked\n",
            limit: Duration::from_millis(limit),
            renewed: false,
            cap: 1000,
        })
        .unwrap()
    }

    #[test]
    fn output_and_code_are_kept() {
        let ran = shell("echo one; echo two >&2; exit 3", 20_000);
        assert_eq!((ran.end, &*ran.stdout, &*ran.stderr), (End::Code(3), &b"one\n"[..], &b"two\n"[..]));
    }

    #[test]
    fn it_reads_what_it_is_given_or_leaves_it() {
        assert_eq!(shell("read line; echo got $line", 20_000).stdout, b"got asked\n");
        let large = vec![b'x'; 1 << 20];
        let ran = run(&Program {
            file: "/bin/sh",
            args: vec!["-c".to_owned(), "exit 4".to_owned()],
            env: BTreeMap::new(),
            cwd: Path::new("/"),
            stdin: &large,
            limit: Duration::from_secs(20),
            renewed: false,
            cap: 1000,
        });
        assert_eq!(ran.unwrap().end, End::Code(4));
    }

    #[test]
    fn one_that_goes_on_telling_gets_its_time_anew() {
        let asked = |renewed| {
            let program = Program {
                file: "/bin/sh",
                args: vec!["-c".to_owned(), "for i in 1 2 3 4 5 6; do echo; sleep 0.5; done".to_owned()],
                env: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
                cwd: Path::new("/"),
                stdin: b"",
                limit: Duration::from_secs(2),
                renewed,
                cap: 1000,
            };
            run(&program).unwrap().end
        };
        assert_eq!(asked(true), End::Code(0));
        assert!(matches!(asked(false), End::Overtime(_)));
    }

    #[test]
    fn a_signal_is_told() {
        assert_eq!(shell("kill -SEGV $$", 20_000).end, End::Signal(11));
    }

    #[test]
    fn a_hang_ends_with_all_that_it_started() {
        let start = Instant::now();
        // The inner one holds the pipe.
        let ran = shell("sleep 600 & sleep 600", 200);
        assert!(matches!(ran.end, End::Overtime(_)));
        assert!(start.elapsed() < Duration::from_mins(1));
        // One that leaves a child behind and ends is no reason to wait for that child.
        let ran = shell("sleep 600 & exit 0", 20_000);
        assert_eq!(ran.end, End::Code(0));
        assert!(start.elapsed() < Duration::from_mins(1));
    }

    #[test]
    fn a_flood_is_cut() {
        let ran =
            shell("i=0; while [ $i -lt 2000 ]; do echo 0123456789; echo abcdefghij >&2; i=$((i+1)); done", 60_000);
        assert_eq!(ran.end, End::Code(0));
        assert_eq!((ran.stdout.len(), ran.stderr.len()), (1000, 1000));
    }
}
