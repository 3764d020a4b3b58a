//! Asks foreign code in a child process: the program runs itself again as `__probe`, one foreign library a process.
//!
//! Drivers crash, hang and print. A child that does so is an ordinary failed reading with its cause: it has a time limit
//! and an output cap, its process group is killed as a whole, and its answers are marked lines on a descriptor that
//! nothing else writes to. What an answer means is not known here.

use std::fmt;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::exit::Exit;
use crate::host::{BEAT, Beside, End, Host, Program, keep, start_keeper};

pub mod driver;
pub mod host_compiler;
pub mod library;
pub mod math;
pub mod nvml;
pub mod nvrtc;

/// The hidden argument that makes the program a child.
pub const ARGUMENT: &str = "__probe";
/// What follows it where nothing is asked, and what was started is to be ended some day.
const KEEP: &str = "keep";
/// What begins each line of an answer.
const MARK: &str = "@@cargo-gpu-doctor@@ ";
/// Bytes of output that are kept.
const CAP: usize = 8 << 20;
/// How long one probe may take where nothing else is said.
pub const LIMIT: Duration = Duration::from_secs(5);

/// How children are started.
#[derive(Clone, Debug)]
pub struct Child {
    /// The program file; it must understand [`ARGUMENT`].
    pub program: PathBuf,
    /// How long one probe may take without telling how far it is.
    pub limit: Duration,
    /// What it has to do with others at the same time.
    pub beside: Option<Arc<Beside>>,
}

impl Child {
    /// The running program, which must hand [`ARGUMENT`] over to [`answer`].
    pub fn this(limit: Duration) -> Self {
        // The kernel's own name of it, which holds where the file was replaced meanwhile.
        Self { program: PathBuf::from("/proc/self/exe"), limit, beside: None }
    }

    /// Has a process wait for the end of this one, to end what was started then; once.
    pub fn keep(&self) {
        start_keeper(&self.program, &[ARGUMENT, KEEP]);
    }

    /// Whether children are not wanted any more.
    pub fn is_over(&self) -> bool {
        self.beside.as_ref().is_some_and(|beside| beside.is_over())
    }
}

/// What a child is asked. Each loads one foreign library.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// Whether a library can be opened, and which file that is: one [`library::Opened`].
    Open(library::Open),
    /// What the driver API tells, and what becomes of kernels: many [`driver::Part`].
    Driver(driver::Ask),
    /// What NVML tells: one [`crate::facts::Nvml`].
    Nvml(nvml::Ask),
    /// What an NVRTC makes of a source: one [`nvrtc::Part`].
    Nvrtc(nvrtc::Compile),
    /// What becomes of a computation by a library of NVIDIA's: many [`math::Part`].
    Math(math::Ask),
    /// Which host compiler the crate `cc` hands to nvcc, with a folder for temporary files: one [`host_compiler::Choice`].
    HostCompiler(String),
}

/// One line of an answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    /// What is done from here on.
    Stage(String),
    /// A piece of the answer.
    Part(serde_json::Value),
    /// The answer is complete.
    Done,
    /// It could not be answered.
    Refused(String),
    /// The program itself, or a crate in it, gave up.
    Panic(String),
}

/// What a child answered: whole, or as far as it came.
#[derive(Clone, Debug)]
pub struct Reply<P> {
    /// The pieces that came, in their order.
    pub parts: Vec<P>,
    /// Why there are no more of them, where the answer is not complete.
    pub failure: Option<Failure>,
}

/// Why a child gave no whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What happened.
    pub how: How,
    /// What it was doing.
    pub stage: Option<String>,
}

/// More GPUs than this no machine has: a count beyond it is no count.
const MOST_GPUS: u32 = 256;

/// A child that goes on telling gets its time anew, and no more of it than so many limits.
const LIMITS: u32 = 12;

/// What happened to a child.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// It could not be started.
    NotStarted(String),
    /// A signal ended it.
    Signal(i32),
    /// It took too long.
    Overtime(Duration),
    /// It says why it cannot answer.
    Refused(String),
    /// It gave up by a fault of the program, or of a crate in it.
    Panic(String),
    /// It ended without a whole answer; the last line of its standard error.
    NoAnswer(i32, String),
}

impl Failure {
    fn new(how: How, stage: Option<String>) -> Self {
        Self { how, stage }
    }

    /// Whether the child was ended because it took too long.
    pub fn hung(&self) -> bool {
        matches!(self.how, How::Overtime(_))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = self.stage.as_deref().unwrap_or("it started");
        match &self.how {
            How::NotStarted(why) => write!(f, "no child process could be started: {why}"),
            How::Signal(signal) => write!(f, "{} while {stage}", signal_name(*signal)),
            How::Overtime(limit) => {
                write!(f, "it took longer than {} s and was ended while {stage}", limit.as_secs_f64())
            }
            How::Refused(why) => f.write_str(why),
            How::Panic(why) => write!(f, "the program gave up while {stage}: {why}"),
            How::NoAnswer(code, said) if said.is_empty() => {
                write!(f, "it ended with exit code {code} while {stage}")
            }
            How::NoAnswer(code, said) => write!(f, "it ended with exit code {code} while {stage}: {said}"),
        }
    }
}

/// A signal as people know it.
fn signal_name(signal: i32) -> String {
    let name = match signal {
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        15 => "SIGTERM",
        31 => "SIGSYS",
        _ => return format!("signal {signal} ended it"),
    };
    format!("{name} ended it")
}

/// Asks a child; what it answers before it fails is kept.
pub fn ask<P: DeserializeOwned>(host: &Host, child: &Child, question: &Question, limit: Duration) -> Reply<P> {
    let nothing = |how| Reply { parts: Vec::new(), failure: Some(Failure::new(how, None)) };
    let question = match serde_json::to_vec(question) {
        Ok(text) => text,
        Err(error) => return nothing(How::NotStarted(error.to_string())),
    };
    let file = child.program.to_string_lossy();
    let program = Program {
        file: &file,
        args: vec![ARGUMENT.to_owned()],
        env: host.env_all().clone(),
        cwd: host.cwd(),
        stdin: &question,
        limit,
        most: Some(limit * LIMITS),
        cap: CAP,
        beside: child.beside.as_deref(),
    };
    match host.run(&program) {
        Ok(mut ran) => {
            // A beat may have come into the middle of a line.
            ran.stdout.retain(|byte| *byte != BEAT);
            read(&ran.stdout, &ran.stderr, ran.end)
        }
        Err(error) => nothing(How::NotStarted(error.why.to_string())),
    }
}

/// Asks a child for an answer of one piece.
pub fn ask_one<P: DeserializeOwned>(
    host: &Host,
    child: &Child,
    question: &Question,
    limit: Duration,
) -> Result<P, Failure> {
    let Reply { mut parts, failure } = ask(host, child, question, limit);
    match (parts.pop(), failure) {
        (Some(part), None) => Ok(part),
        (_, Some(failure)) => Err(failure),
        (None, None) => Err(Failure::new(How::NoAnswer(0, String::new()), None)),
    }
}

/// Reads what a child printed.
fn read<P: DeserializeOwned>(stdout: &[u8], stderr: &[u8], end: End) -> Reply<P> {
    let (mut parts, mut stage, mut how, mut done) = (Vec::new(), None, None, false);
    for line in String::from_utf8_lossy(stdout).lines() {
        let Some(line) = line.strip_prefix(MARK).and_then(|line| serde_json::from_slice(line.as_bytes()).ok()) else {
            continue;
        };
        match line {
            Line::Stage(name) => stage = Some(name),
            // By way of a text, as facts are read anyway.
            Line::Part(value) => match serde_json::from_slice(value.to_string().as_bytes()) {
                Ok(part) => parts.push(part),
                Err(error) => how = Some(How::Panic(format!("an answer of another shape: {error}"))),
            },
            Line::Done => done = true,
            Line::Refused(why) => how = Some(How::Refused(why)),
            Line::Panic(why) => how = Some(How::Panic(why)),
        }
    }
    let how = how.or_else(|| match end {
        // What became of the child after its whole answer does not matter.
        _ if done => None,
        End::Signal(signal) => Some(How::Signal(signal)),
        End::Overtime(limit) => Some(How::Overtime(limit)),
        End::Code(code) => {
            let said = String::from_utf8_lossy(stderr);
            let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
            Some(How::NoAnswer(code, last.trim().chars().take(300).collect()))
        }
    });
    Reply { parts, failure: how.map(|how| Failure::new(how, stage)) }
}

/// Milliseconds since then, to a thousandth: a text gives such a number back as it was.
pub(crate) fn millis(begin: Instant) -> f64 {
    (begin.elapsed().as_secs_f64() * 1e6).round() / 1e3
}

/// What a child tells with.
#[derive(Debug)]
pub struct Teller {
    to: File,
}

impl Teller {
    /// Says what is done from here on: a fragment that fits after "while", such as `cuInit ran`.
    pub fn stage(&mut self, name: impl Into<String>) {
        self.line(&Line::Stage(name.into()));
    }

    /// Gives a piece of the answer.
    pub fn part(&mut self, part: &impl Serialize) {
        match serde_json::to_string(part) {
            Ok(text) => self.put(&format!("{{\"part\":{text}}}")),
            Err(error) => self.line(&Line::Panic(error.to_string())),
        }
    }

    /// Shows for some time that this process works, while a call that it is in tells nothing; until that is dropped.
    ///
    /// One that stands still does not work: only processor time counts.
    pub fn beats(&self, seconds: u32) -> Beats {
        let patience = Duration::from_secs(seconds.into());
        let beats = Beats(Arc::new(AtomicBool::new(true)));
        let (begin, mut before, on) = (Instant::now(), worked(), Arc::clone(&beats.0));
        if let (Ok(mut to), false) = (self.to.try_clone(), patience.is_zero()) {
            let beat = move || {
                while on.load(Ordering::Relaxed) && begin.elapsed() < patience {
                    std::thread::sleep(BEATS);
                    let now = worked();
                    if now.saturating_sub(before) > BEATS / 20 {
                        let _ = to.write_all(&[BEAT]);
                    }
                    before = now;
                }
            };
            // Without a thread the call has the usual time.
            let _ = std::thread::Builder::new().spawn(beat);
        }
        beats
    }

    fn line(&mut self, line: &Line) {
        if let Ok(text) = serde_json::to_string(line) {
            self.put(&text);
        }
    }

    fn put(&mut self, text: &str) {
        // Nobody is left to tell where the parent is gone.
        let _ = self.to.write_all(format!("\n{MARK}{text}\n").as_bytes());
    }
}

/// How often it is looked whether a process works.
const BEATS: Duration = Duration::from_millis(250);

/// Beats until it is dropped.
#[derive(Debug)]
pub struct Beats(Arc<AtomicBool>);

impl Drop for Beats {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// The processor time of this process.
fn worked() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// The child's side: reads a question from standard input, answers it, and ends.
///
/// Whatever foreign code writes to standard output goes to standard error from here on.
pub fn answer(args: &[std::ffi::OsString]) -> Exit {
    if args.first().is_some_and(|first| first == KEEP) {
        // What ends the one that it waits for must not end it first.
        library::ignore_ends();
        keep(&mut std::io::stdin().lock());
        return Exit::Ok;
    }
    let Some(mut teller) = prepare() else { return Exit::Incomplete };
    let asked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut text = Vec::new();
        std::io::stdin().lock().read_to_end(&mut text).map_err(|error| error.to_string())?;
        let question = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
        dispatch(question, &mut teller)
    }));
    teller.line(&match asked {
        Ok(Ok(())) => Line::Done,
        Ok(Err(why)) => Line::Refused(why),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref().copied());
            Line::Panic(text.unwrap_or("without a word").to_owned())
        }
    });
    library::leave()
}

fn dispatch(question: Question, teller: &mut Teller) -> Result<(), String> {
    match question {
        Question::Open(question) => library::open(&question, teller),
        Question::Driver(question) => driver::ask(&question, teller),
        Question::Nvml(question) => nvml::ask(&question, teller),
        Question::Nvrtc(question) => nvrtc::compile(&question, teller),
        Question::Math(question) => math::ask(&question, teller),
        Question::HostCompiler(question) => host_compiler::choose(&question, teller),
    }
}

/// Keeps the descriptor of answers to itself, and takes care that a crash leaves nothing behind.
fn prepare() -> Option<Teller> {
    let to = rustix::io::fcntl_dupfd_cloexec(std::io::stdout().as_fd(), 3).ok()?;
    rustix::stdio::dup2_stdout(std::io::stderr().as_fd()).ok()?;
    // No core file, and no child that outlives the one that asks.
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    Some(Teller { to: File::from(to) })
}
