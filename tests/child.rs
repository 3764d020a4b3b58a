//! Opens libraries with bad manners in child processes: each is an ordinary failed reading with its cause.

#![expect(clippy::unwrap_used, reason = "a test that cannot lay its files out has to stop")]
#![expect(clippy::disallowed_methods, reason = "tests build libraries; the fence is for the product")]

#[path = "support/standin.rs"]
mod standin;

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use gpu_doctor::host::Host;
use gpu_doctor::probe::child::library::{Open, Opened};
use gpu_doctor::probe::child::{Child, How, LIMIT, Question, Reply, ask};

fn rude() -> &'static str {
    static FILE: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, file) = FILE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let file = standin::build(folder.path(), "rude.c", "librude.so.1", &[]);
        (folder, file)
    });
    file.to_str().unwrap()
}

fn opened(library: &str, how: &str, limit: Duration) -> Reply<Opened> {
    let env = [("RUDE".to_owned(), how.to_owned()), ("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into();
    let child = child(limit);
    ask(&Host::here_with(env).unwrap(), &child, &Question::Open(Open { library: library.to_owned() }), limit)
}

/// How the program is asked as a child.
fn child(limit: Duration) -> Child {
    Child { program: env!("CARGO_BIN_EXE_cargo-gpu-doctor").into(), ..Child::this(limit) }
}

const LONG: Duration = Duration::from_mins(2);

#[test]
fn a_library_is_opened_by_its_exact_path() {
    let reply = opened(rude(), "well", LONG);
    assert_eq!(reply.failure, None);
    assert_eq!(reply.parts, [Opened { mapped: Some(rude().to_owned()) }]);
}

#[test]
fn what_it_prints_is_harmless() {
    for how in ["garbage", "flood"] {
        let reply = opened(rude(), how, LONG);
        assert_eq!((reply.failure, reply.parts.len()), (None, 1), "{how}");
    }
}

#[test]
fn a_crash_names_its_signal_and_what_was_done() {
    for (how, signal, name) in [("crash", 11, "SIGSEGV"), ("abort", 6, "SIGABRT")] {
        let failure = opened(rude(), how, LONG).failure.unwrap();
        assert_eq!(failure.how, How::Signal(signal));
        assert_eq!(failure.to_string(), format!("{name} ended it while {} was opened", rude()));
    }
}

#[test]
fn one_that_ends_the_process_is_told_with_its_words() {
    let failure = opened(rude(), "exit", LONG).failure.unwrap();
    assert_eq!(failure.how, How::NoAnswer(7, "no licence for you".to_owned()));
}

#[test]
fn a_hang_costs_the_limit() {
    let start = Instant::now();
    let failure = opened(rude(), "hang", Duration::from_secs(1)).failure.unwrap();
    assert!(failure.hung() && start.elapsed() >= Duration::from_secs(1), "{failure}");
    assert!(start.elapsed() < Duration::from_mins(1));
    assert!(failure.to_string().contains("longer than 1 s"), "{failure}");
}

#[test]
fn one_that_leaves_a_process_behind_is_not_waited_for() {
    let start = Instant::now();
    assert_eq!(opened(rude(), "child", LONG).failure, None);
    assert!(start.elapsed() < Duration::from_mins(1));
}

#[test]
fn a_library_that_is_not_there_says_so() {
    let failure = opened("/no/such/libcuda.so.1", "well", LIMIT).failure.unwrap();
    assert!(matches!(&failure.how, How::Refused(why) if why.contains("/no/such/libcuda.so.1")), "{failure}");
}

#[test]
fn a_program_that_does_not_understand_is_an_ordinary_failure() {
    let host = Host::here_with([("PATH".to_owned(), "/usr/bin:/bin".to_owned())].into()).unwrap();
    let question = Question::Open(Open { library: rude().to_owned() });
    for (program, code) in [("/bin/true", 0), ("/bin/false", 1)] {
        let child = Child { program: program.into(), ..Child::this(LIMIT) };
        let reply: Reply<Opened> = ask(&host, &child, &question, LIMIT);
        assert_eq!(reply.failure.unwrap().how, How::NoAnswer(code, String::new()));
    }
    let child = Child { program: "/no/such/program".into(), ..Child::this(LIMIT) };
    let reply: Reply<Opened> = ask(&host, &child, &question, LIMIT);
    assert!(matches!(reply.failure.unwrap().how, How::NotStarted(_)));
}

/// The processes that were told of in a folder and still run.
fn running(folder: &Path) -> Vec<String> {
    let mut ids: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    // One that has ended and that nobody has waited for yet is none.
    ids.retain(|id| std::fs::read_to_string(format!("/proc/{id}/stat")).is_ok_and(|stat| !stat.contains(") Z ")));
    ids
}

#[test]
fn whatever_ends_the_program_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["bin", "ids", "temporary"] {
        std::fs::create_dir(path(name)).unwrap();
    }
    // It starts something that knows nothing of anybody, as nvcc does.
    let slow = format!("#!/bin/sh\nsleep 300 &\n: >{0}/$!; : >{0}/$$\nwait\n", path("ids").display());
    for name in ["bin/nvcc", "c++"] {
        std::fs::write(path(name), &slow).unwrap();
        std::fs::set_permissions(path(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    for (signal, more) in
        [("TERM", None), ("KILL", None), ("INT", None), ("HUP", None), ("KILL", Some(("CXX", path("c++"))))]
    {
        let mut doctor = Command::new(env!("CARGO_BIN_EXE_cargo-gpu-doctor"))
            .arg("kernel")
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", folder.path())
            .env("CUDA_HOME", folder.path())
            .env("TMPDIR", path("temporary"))
            .envs(more.clone())
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let begin = Instant::now();
        while running(&path("ids")).len() < 2 {
            assert!(begin.elapsed() < LONG && doctor.try_wait().unwrap().is_none());
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(std::fs::read_dir(path("temporary")).unwrap().count(), 1);
        let kill = Command::new("/bin/kill").args([&format!("-{signal}"), &doctor.id().to_string()]).status();
        assert!(kill.unwrap().success());
        doctor.wait().unwrap();
        let begin = Instant::now();
        while !running(&path("ids")).is_empty() || std::fs::read_dir(path("temporary")).unwrap().count() > 0 {
            assert!(begin.elapsed() < Duration::from_secs(10), "{signal} {more:?}: {:?}", running(&path("ids")));
            std::thread::sleep(Duration::from_millis(20));
        }
        std::fs::remove_dir_all(path("ids")).unwrap();
        std::fs::create_dir(path("ids")).unwrap();
    }
}

/// What the program writes to a terminal on standard error, and to standard output, while an nvcc takes two seconds.
fn on_a_terminal(columns: u16, terminal: bool) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    for name in ["bin", "include"] {
        std::fs::create_dir(folder.path().join(name)).unwrap();
    }
    let nvcc = folder.path().join("bin/nvcc");
    std::fs::write(folder.path().join("include/cuda.h"), "#define CUDA_VERSION 13000\n").unwrap();
    std::fs::write(&nvcc, "#!/bin/sh\nsleep 2\nexit 1\n").unwrap();
    std::fs::set_permissions(&nvcc, std::fs::Permissions::from_mode(0o755)).unwrap();
    let (ours, theirs) = terminal_of(columns);
    let mut command = Command::new(env!("CARGO_BIN_EXE_cargo-gpu-doctor"));
    command.arg("kernel").env_clear().env("PATH", "/usr/bin:/bin").env("HOME", folder.path());
    command.env("CUDA_HOME", folder.path()).current_dir(folder.path());
    // The other way round: a terminal on standard output is no reason to speak on standard error.
    let (stdout, stderr) = if terminal { (Stdio::piped(), theirs.into()) } else { (theirs.into(), Stdio::piped()) };
    let mut doctor = command.stdout(stdout).stderr(stderr).spawn().unwrap();
    // It holds the terminal, too.
    drop(command);
    let shown = std::thread::spawn(move || {
        let (mut ours, mut shown) = (std::fs::File::from(ours), Vec::new());
        // The end of a terminal's other side is an error.
        let _ = std::io::Read::read_to_end(&mut ours, &mut shown);
        String::from_utf8_lossy(&shown).into_owned()
    });
    let mut piped = String::new();
    let reads =
        |from: Option<&mut dyn std::io::Read>, to: &mut String| from.map(|from| from.read_to_string(to).unwrap());
    reads(doctor.stdout.as_mut().map(|it| it as &mut dyn std::io::Read), &mut piped);
    reads(doctor.stderr.as_mut().map(|it| it as &mut dyn std::io::Read), &mut piped);
    doctor.wait().unwrap();
    (shown.join().unwrap(), piped)
}

/// Both ends of a terminal of so many columns.
fn terminal_of(columns: u16) -> (OwnedFd, OwnedFd) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&ours).unwrap();
    unlockpt(&ours).unwrap();
    let name = ptsname(&ours, Vec::new()).unwrap().into_string().unwrap();
    let theirs = std::fs::File::options().read(true).write(true).open(name).unwrap();
    let size = rustix::termios::Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&theirs, size).unwrap();
    (ours, theirs.into())
}

#[test]
fn a_terminal_is_told_what_is_waited_for_and_nothing_of_it_stays() {
    let (shown, report) = on_a_terminal(80, true);
    assert!(shown.contains("\r\x1b[Kcompiling with nvcc 13.0 … 1 s"), "{shown:?}");
    assert!(shown.ends_with("\r\x1b[K") && !shown.contains('\n'), "{shown:?}");
    assert!(report.contains("kernel-compile-failed") && !report.contains("compiling"), "{report}");
    // A line that is cut fits.
    let (shown, _) = on_a_terminal(12, true);
    assert!(shown.contains("\r\x1b[Kcompiling w\r") && shown.ends_with("\r\x1b[K"), "{shown:?}");
    let (report, nothing) = on_a_terminal(80, false);
    assert!(
        nothing.is_empty() && report.contains("kernel-compile-failed") && !report.contains("compiling"),
        "{nothing:?}"
    );
}

#[test]
fn a_compiler_gets_variables_that_are_no_utf_8_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let odd = std::ffi::OsStr::from_bytes(b"a\xe9b");
    std::fs::create_dir(folder.path().join("bin")).unwrap();
    let nvcc = folder.path().join("bin/nvcc");
    let seen = folder.path().join("seen");
    std::fs::write(&nvcc, format!("#!/bin/sh\nprintf %s \"$ODD $TMPDIR\" >{}\nexit 1\n", seen.display())).unwrap();
    std::fs::set_permissions(&nvcc, std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_cargo-gpu-doctor"))
        .arg("kernel")
        .env_clear()
        .envs([("PATH", "/usr/bin:/bin".as_ref()), ("HOME", folder.path().join(odd).as_os_str()), ("ODD", odd)])
        .envs([("CUDA_HOME", folder.path()), ("TMPDIR", &folder.path().join(odd))])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let text = std::fs::read(&seen).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stdout)));
    assert!(text.starts_with(b"a\xe9b /tmp/gpu-doctor-"), "{}", text.escape_ascii());
    // Nothing is made under a name that is only like it.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}
