//! `--run-python` from the outside: what a real interpreter does is asked, compared, and leaves nothing behind.
//!
//! The frameworks are small stand-ins of Python's own, so that this needs no package; what real ones do is the business
//! of the conformance suite. Where no `python3` is on PATH, the tests that need one say so and end.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::print_stderr, reason = "a test that passes over something says so")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests stand outside of the seam: they lay out files and run the program"
)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use snapbox::cmd::cargo_bin;

/// An environment, a home folder and a working folder.
struct Case {
    dir: tempfile::TempDir,
    site: PathBuf,
}

/// TensorFlow as far as it is asked here: it tells what `gpus` says, and tries to leave traces.
const TENSORFLOW: &str = "\
import os, tempfile
from . import helper
for folder in (os.path.expanduser('~'), os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')):
    os.makedirs(folder, exist_ok=True)
    open(os.path.join(folder, 'trace'), 'w').close()
os.close(tempfile.mkstemp(prefix='gpu-doctor-test-trace-')[0])
__version__ = '2.20.0'
class config:
    @staticmethod
    def list_physical_devices(kind):
        return helper.gpus
";

const KERAS: &str = "\
import json, os
__version__ = '3.11.3'
folder = os.environ.get('KERAS_HOME') or os.path.expanduser('~/.keras')
with open(os.path.join(folder, 'keras.json')) as f:
    chosen = json.load(f)['backend']
with open(os.path.join(folder, 'keras.json'), 'w') as f:
    f.write('{}')
class backend:
    @staticmethod
    def backend():
        return chosen
";

impl Case {
    /// A virtual environment over this machine's Python, with those two in it; `None` where there is no Python.
    fn new(gpus: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let made = Command::new("python3").args(["-m", "venv", "--without-pip"]).arg(dir.path().join("env")).output();
        if !made.is_ok_and(|output| output.status.success()) {
            eprintln!("passed over: there is no python3 that makes virtual environments");
            return None;
        }
        let lib = dir.path().join("env/lib");
        let python = fs::read_dir(lib).unwrap().flatten().next().unwrap().path();
        let site = python.join("site-packages");
        let case = Self { dir, site };
        case.write("tensorflow/__init__.py", TENSORFLOW);
        case.write("tensorflow/helper.py", gpus);
        case.write(
            "tensorflow-2.20.0.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: tensorflow\nVersion: 2.20.0\nRequires-Python: >=3.8\n",
        );
        case.write("keras/__init__.py", KERAS);
        case.write("keras-3.11.3.dist-info/METADATA", "Metadata-Version: 2.1\nName: keras\nVersion: 3.11.3\n");
        let keras = case.home().join(".keras");
        fs::create_dir_all(&keras).unwrap();
        fs::write(keras.join("keras.json"), r#"{"backend": "numpy"}"#).unwrap();
        fs::create_dir_all(case.dir.path().join("work")).unwrap();
        fs::create_dir_all(case.dir.path().join("tmp")).unwrap();
        Some(case)
    }

    /// An environment whose interpreter is this shell script: no Python is needed for a hang or a crash.
    fn scripted(script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let site = dir.path().join("env/lib/python3.11/site-packages");
        let case = Self { dir, site };
        case.write("tensorflow/__init__.py", "");
        case.write(
            "tensorflow-2.20.0.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: tensorflow\nVersion: 2.20.0\n",
        );
        let env = case.env();
        fs::create_dir_all(env.join("bin")).unwrap();
        fs::write(env.join("pyvenv.cfg"), "home = /usr/bin\nversion = 3.11.2\n").unwrap();
        let python = env.join("bin/python");
        fs::write(&python, script).unwrap();
        fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
        for folder in ["home", "work", "tmp"] {
            fs::create_dir_all(case.dir.path().join(folder)).unwrap();
        }
        case
    }

    fn env(&self) -> PathBuf {
        self.dir.path().join("env")
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.site.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Every device is hidden, so that the prediction is the same on machines with a GPU.
    fn command(&self, args: &[&str]) -> Command {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut command = Command::new(cargo_bin!("cargo-gpu-doctor"));
        command
            .env_clear()
            .env("PATH", path)
            .env("HOME", self.home())
            .env("TMPDIR", self.dir.path().join("tmp"))
            .env("CUDA_VISIBLE_DEVICES", "-1")
            .current_dir(self.dir.path().join("work"))
            .args(["check", "--format", "json", "--python"])
            .arg(self.env())
            .args(args);
        command
    }

    fn report(&self, args: &[&str]) -> (Value, Option<i32>) {
        let output = self.run(args);
        let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        (report, output.status.code())
    }

    /// Every file and folder, with its size.
    fn files(&self) -> BTreeSet<(PathBuf, u64)> {
        let (mut files, mut folders) = (BTreeSet::new(), vec![self.dir.path().to_owned()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                let meta = entry.path().symlink_metadata().unwrap();
                if meta.is_dir() {
                    folders.push(entry.path());
                }
                files.insert((entry.path(), if meta.is_dir() { 0 } else { meta.len() }));
            }
        }
        files
    }
}

fn contradictions(report: &Value) -> Vec<&str> {
    let findings = report["findings"].as_array().unwrap();
    findings
        .iter()
        .filter(|finding| finding["rule"] == "prediction-contradicted")
        .map(|finding| finding["title"].as_str().unwrap())
        .collect()
}

fn missing(report: &Value) -> Vec<&str> {
    let unknown = report["outcomes"]["unknown"].as_array().unwrap();
    unknown
        .iter()
        .filter(|unknown| unknown["rule"] == "prediction-contradicted")
        .map(|unknown| unknown["missing"].as_str().unwrap())
        .collect()
}

#[test]
fn what_agrees_is_silent_and_nothing_is_left_behind() {
    let Some(case) = Case::new("gpus = []\n") else { return };
    let before = case.files();
    let (report, _) = case.report(&["--run-python"]);
    assert_eq!(case.files(), before, "the observation left traces");
    assert_eq!(contradictions(&report), [""; 0]);
    assert_eq!(missing(&report), [""; 0]);
    let observed = &report["facts"]["pythons"][0]["observed"];
    assert_eq!(observed["tensorflow"]["value"]["gpus"], 0, "{observed}");
    // The home folder is another one, and the choice that lies in the real one holds all the same.
    assert_eq!(observed["keras"]["value"]["backend"], "numpy", "{observed}");
}

#[test]
fn nobody_is_asked_unless_told_to() {
    let Some(case) = Case::new("raise SystemExit\n") else { return };
    let (report, _) = case.report(&[]);
    assert!(report["facts"]["pythons"][0].get("observed").is_none());
    assert_eq!(contradictions(&report), [""; 0]);
}

#[test]
fn a_contradiction_is_denied_and_what_was_seen_counts() {
    let Some(case) = Case::new("gpus = ['GPU:0']\n") else { return };
    let (report, code) = case.report(&["--run-python"]);
    assert_eq!(contradictions(&report), ["sees_gpu was foretold as no, and the interpreter says yes"]);
    assert_eq!(code, Some(100));
    let verdict = &report["verdicts"]["environments"][0]["tensorflow"];
    assert_eq!(verdict["sees_gpu"], "yes");
    // It lists a GPU and has no operations: it does not compute.
    assert_eq!(verdict["runs_on_gpu"], "no");
}

#[test]
fn an_interpreter_that_hangs_is_ended_and_tells_nothing() {
    let case = Case::scripted("#!/bin/sh\nsleep 600\n");
    let start = std::time::Instant::now();
    let (report, _) = case.report(&["--run-python", "--python-timeout", "1"]);
    assert!(start.elapsed().as_secs() < 60);
    assert_eq!(contradictions(&report), [""; 0]);
    let missing = missing(&report);
    assert_eq!(missing.len(), 1);
    assert!(missing[0].contains("it took longer than 1 s"), "{missing:?}");
}

#[cfg(feature = "cuda")]
#[test]
fn one_that_runs_ends_with_the_program_and_leaves_no_folder() {
    let case = Case::scripted("#!/bin/sh\n: >started; sleep 600; : >ended\n");
    let mut doctor = case.command(&["--run-python"]).stdout(std::process::Stdio::null()).spawn().unwrap();
    let temporary = || fs::read_dir(case.dir.path().join("tmp")).unwrap().count();
    let until = |done: &dyn Fn() -> bool| {
        let start = std::time::Instant::now();
        while !done() && start.elapsed().as_secs() < 30 {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        assert!(done());
    };
    until(&|| case.dir.path().join("work/started").exists());
    assert_eq!(temporary(), 1);
    doctor.kill().unwrap();
    doctor.wait().unwrap();
    until(&|| temporary() == 0);
}

#[test]
fn a_crash_and_chatter_tell_nothing() {
    for (script, says) in [
        ("#!/bin/sh\nkill -SEGV $$\n", "signal 11 ended it"),
        ("#!/bin/sh\necho '{\"gpus\": 1}'\necho oh no >&2\nexit 3\n", "exit code 3; oh no"),
    ] {
        let case = Case::scripted(script);
        let (report, _) = case.report(&["--run-python"]);
        assert_eq!(contradictions(&report), [""; 0]);
        let missing = missing(&report);
        assert!(missing.len() == 1 && missing[0].contains(says), "{missing:?}");
    }
}

#[test]
fn where_nothing_may_run_it_is_refused() {
    let case = Case::scripted("#!/bin/sh\n");
    for other in [&["--static"][..], &["--assume", "driver=550.54.14"], &["--root", "/"]] {
        let output = case.run(&[&["--run-python"], other].concat());
        assert_eq!(output.status.code(), Some(2), "{other:?}");
        assert!(Path::new(&case.env()).is_dir());
    }
}
