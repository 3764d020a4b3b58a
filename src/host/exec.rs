//! Runs a program for the host: in a process group of its own, with a time limit and an output cap, killed as a whole.
//!
//! What the program prints means nothing here.

#![expect(clippy::disallowed_methods, reason = "this is the seam that the fence protects")]

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

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
    /// Where each line on its standard output gives it that time anew: how long it may take in all.
    pub most: Option<Duration>,
    /// How many bytes of each of its outputs are kept.
    pub cap: usize,
    /// What it has to do with programs that run at the same time.
    pub beside: Option<&'a Beside>,
}

/// What programs that run at the same time have to do with each other.
#[derive(Debug, Default)]
pub struct Beside {
    /// How often one of them showed that it works ([`BEAT`]).
    beats: AtomicU32,
    over: AtomicBool,
}

impl Beside {
    /// Ends them: what they would tell is not wanted any more.
    pub fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Whether they were ended.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// What a program prints that has nothing to tell yet and works: where its lines give it its time anew, this does too,
/// to it and to those beside it, which may wait for the same.
pub const BEAT: u8 = 0;

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
/// How often it is asked what those beside it do.
const GLANCE: Duration = Duration::from_millis(50);
/// How long what a program left in its pipes is waited for once it has ended, or has been killed.
///
/// Something that left its process group may hold them open for ever, and a process that hangs in a driver does not end
/// even when it is killed.
const REST: Duration = Duration::from_millis(200);

/// Runs it.
pub(super) fn run(program: &Program<'_>) -> std::io::Result<Ran> {
    let mut child = Command::new(program.file)
        .args(&program.args)
        .env_clear()
        .envs(program.env.iter().map(|(name, value)| (name, whole(name, value))))
        .envs(super::keep::mark())
        .current_dir(program.cwd)
        .stdin(if program.stdin.is_empty() { Stdio::null() } else { Stdio::piped() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let _kept = super::Kept::group(child.id());
    let start = Instant::now();
    let group = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    let watch = group.and_then(|pid| rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok());
    let mut pipes = Pipes {
        stdin: own(child.stdin.take()),
        unwritten: program.stdin,
        stdout: own(child.stdout.take()),
        head: Vec::new(),
        lines: false,
        beats: false,
        stderr: own(child.stderr.take()),
        tail: Vec::new(),
        cap: program.cap,
    };
    let most = start + program.most.unwrap_or(program.limit);
    let mut deadline = start + program.limit;
    let mut status = None;
    let beats = |more| program.beside.map_or(0, |beside| beside.beats.fetch_add(more, Ordering::Relaxed) + more);
    let mut heard = beats(0);
    while status.is_none()
        && Instant::now() < deadline.min(most)
        && program.beside.is_none_or(|beside| !beside.is_over())
    {
        let glance = program.beside.map_or(most, |_| Instant::now() + GLANCE);
        pipes.wait(watch.as_ref(), deadline.min(most).min(glance));
        let lines = std::mem::take(&mut pipes.lines);
        let now = beats(u32::from(std::mem::take(&mut pipes.beats)));
        if (lines || now != heard) && program.most.is_some() {
            deadline = Instant::now() + program.limit;
        }
        heard = now;
        status = child.try_wait()?;
    }
    // Whatever it started must not outlive it, nor hold its pipes open.
    if let Some(group) = group {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let end = status.map_or(End::Overtime(program.limit), end);
    let rest = Instant::now() + REST;
    while (pipes.is_open() || status.is_none()) && Instant::now() < rest {
        pipes.wait(watch.as_ref().filter(|_| status.is_none()), rest);
        status = status.or(child.try_wait()?);
    }
    let surplus = pipes.tail.len().saturating_sub(program.cap);
    Ok(Ran { end, stdout: pipes.head, stderr: pipes.tail.split_off(surplus) })
}

/// Our ends of a program's pipes. None of them is ever waited for alone.
#[derive(Debug)]
struct Pipes<'a> {
    stdin: Option<OwnedFd>,
    unwritten: &'a [u8],
    stdout: Option<OwnedFd>,
    head: Vec<u8>,
    /// Whether a line came to its end since this was last cleared.
    lines: bool,
    /// Whether a [`BEAT`] came since this was last cleared.
    beats: bool,
    stderr: Option<OwnedFd>,
    tail: Vec<u8>,
    cap: usize,
}

/// A pipe that never blocks; one that cannot be made so is closed.
fn own(pipe: Option<impl Into<OwnedFd>>) -> Option<OwnedFd> {
    let pipe = pipe?.into();
    rustix::io::ioctl_fionbio(&pipe, true).ok().map(|()| pipe)
}

impl Pipes<'_> {
    /// Whether more may be read.
    fn is_open(&self) -> bool {
        self.stdout.is_some() || self.stderr.is_some()
    }

    /// Waits until the program ends, a pipe can be used, the deadline comes, or it is time to look again; then moves
    /// what can be moved.
    fn wait(&mut self, watch: Option<&OwnedFd>, deadline: Instant) {
        let left = deadline.saturating_duration_since(Instant::now());
        // Without a handle of the program the kernel tells of its pipes alone.
        let left = if watch.is_some() { left } else { left.min(LOOK) };
        let ends = [(watch, PollFlags::IN), (self.stdin.as_ref(), PollFlags::OUT)];
        let pipes = [(self.stdout.as_ref(), PollFlags::IN), (self.stderr.as_ref(), PollFlags::IN)];
        let mut all: Vec<PollFd<'_>> =
            ends.into_iter().chain(pipes).filter_map(|(end, wish)| Some(PollFd::new(end?, wish))).collect();
        let timeout = rustix::event::Timespec::try_from(left).ok();
        if rustix::event::poll(&mut all, timeout.as_ref()).is_err() {
            sleep(LOOK.min(left));
        }
        self.write();
        if let Some(from) = self.stdout.take() {
            let mut kept = std::mem::take(&mut self.head);
            self.stdout = drain(from, |piece| {
                self.lines |= piece.contains(&b'\n');
                self.beats |= piece.contains(&BEAT);
                // The rest is read and dropped, so that the program does not wait for a reader.
                let room = self.cap.saturating_sub(kept.len()).min(piece.len());
                kept.extend_from_slice(&piece[..room]);
            });
            self.head = kept;
        }
        if let Some(from) = self.stderr.take() {
            self.stderr = drain(from, |piece| {
                self.tail.extend_from_slice(piece);
                if self.tail.len() > 2 * self.cap {
                    self.tail.drain(..self.tail.len() - self.cap);
                }
            });
        }
    }

    /// Gives the program more of its input; one that ends without reading it is told apart by how it ends.
    fn write(&mut self) {
        let Some(to) = &self.stdin else { return };
        match rustix::io::write(to, self.unwritten) {
            Ok(length) => self.unwritten = self.unwritten.get(length..).unwrap_or_default(),
            Err(Errno::AGAIN | Errno::INTR) => return,
            Err(_) => self.unwritten = &[],
        }
        if self.unwritten.is_empty() {
            self.stdin = None;
        }
    }
}

/// How many pieces of a pipe are read before the others and the clock have their turn.
const TURN: u32 = 64;

/// Reads what a pipe holds; gives it back where more may come.
fn drain(from: OwnedFd, mut take: impl FnMut(&[u8])) -> Option<OwnedFd> {
    let mut buffer = [0; 8192];
    for _ in 0..TURN {
        match rustix::io::read(&from, &mut buffer) {
            Ok(0) => return None,
            Ok(length) => take(&buffer[..length]),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => break,
            Err(_) => return None,
        }
    }
    Some(from)
}

/// The value of a variable as this process got it, where its text is not all of it: it is no UTF-8.
fn whole(name: &str, value: &str) -> OsString {
    let own = || std::env::var_os(name).filter(|own| own.to_string_lossy() == value);
    value.contains(char::REPLACEMENT_CHARACTER).then(own).flatten().unwrap_or_else(|| value.into())
}

fn end(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Code(code),
        (None, signal) => End::Signal(signal.unwrap_or(0)),
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
            most: None,
            cap: 1000,
            beside: None,
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
            most: None,
            cap: 1000,
            beside: None,
        });
        assert_eq!(ran.unwrap().end, End::Code(4));
    }

    #[test]
    fn one_that_goes_on_telling_gets_its_time_anew() {
        let asked = |most| {
            let program = Program {
                file: "/bin/sh",
                args: vec!["-c".to_owned(), "for i in 1 2 3 4 5 6; do echo; sleep 0.5; done".to_owned()],
                env: [("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into(),
                cwd: Path::new("/"),
                stdin: b"",
                limit: Duration::from_secs(2),
                most,
                cap: 1000,
                beside: None,
            };
            run(&program).unwrap().end
        };
        assert_eq!(asked(Some(Duration::from_mins(1))), End::Code(0));
        assert!(matches!(asked(None), End::Overtime(_)));
        // However much it tells.
        assert!(matches!(asked(Some(Duration::from_millis(2200))), End::Overtime(_)));
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
    fn one_that_left_its_group_and_holds_the_pipes_is_not_waited_for() {
        let start = Instant::now();
        let ran = shell("setsid sleep 90 & echo told; exit 0", 20_000);
        assert_eq!((ran.end, &*ran.stdout), (End::Code(0), &b"told\n"[..]));
        let ran = shell("setsid sleep 90 & echo told; sleep 90", 200);
        assert_eq!((ran.end, &*ran.stdout), (End::Overtime(Duration::from_millis(200)), &b"told\n"[..]));
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
