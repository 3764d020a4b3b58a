//! The hooks of `.pre-commit-hooks.yaml` under the real pre-commit framework: what is refused and what passes.
//!
//! `.ci/run` installs the framework under `target/pre-commit`. Where it is not there the test says so; where it is, it
//! leaves a mark, and `.ci/run` fails without it. The hook that builds the program from source is not built here.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::disallowed_methods, reason = "tests stand outside of the seam: they lay out files and run programs")]

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use snapbox::cmd::cargo_bin;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("pre-commit")
}

/// The user's machine: a home of its own, git, the framework, and the program on PATH.
struct Machine {
    home: PathBuf,
}

impl Machine {
    fn run(&self, at: &Path, program: &str, args: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.args(args).current_dir(at).env_clear().env("HOME", &self.home).env("GIT_CONFIG_NOSYSTEM", "1");
        for name in ["RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "CARGO_HOME"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "A").env(format!("GIT_{who}_EMAIL"), "a@example.org");
        }
        let own = cargo_bin!("cargo-gpu-doctor").parent().unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}:{}:{path}", own.display(), folder().join("bin").display()));
        command.output().unwrap()
    }

    fn git(&self, at: &Path, args: &[&str]) {
        let output = self.run(at, "git", args);
        assert!(output.status.success(), "{args:?}: {}", said(&output));
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_framework_refuses_what_cannot_work_and_lets_the_rest_pass() {
    const NAME: &str = "the_framework_refuses_what_cannot_work_and_lets_the_rest_pass";
    if !folder().join("bin/pre-commit").is_file() {
        // Past the capture of libtest, as this must be seen.
        let _ = writeln!(std::io::stderr(), "NOT RUN: {NAME}: no pre-commit under {}", folder().display());
        return;
    }
    let temporary = tempfile::tempdir().unwrap();
    let at = |name: &str| temporary.path().canonicalize().unwrap().join(name);
    let machine = Machine { home: at("home") };
    let write = |path: &Path, text: &str| {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    // The project as the framework clones it, of which it reads this one file.
    let (project, user) = (at("project"), at("a user"));
    let hooks = Path::new(env!("CARGO_MANIFEST_DIR")).join(".pre-commit-hooks.yaml");
    write(&project.join(".pre-commit-hooks.yaml"), &fs::read_to_string(hooks).unwrap());
    fs::create_dir_all(&user).unwrap();
    fs::create_dir_all(&machine.home).unwrap();
    for (folder, args) in [
        (&project, &["init", "--quiet"][..]),
        (&project, &["add", "."]),
        (&project, &["commit", "--quiet", "-m", "first"]),
        (&project, &["tag", "v0.1.0"]),
        (&user, &["init", "--quiet"]),
    ] {
        machine.git(folder, args);
    }
    let config = format!("repos:\n- repo: {}\n  rev: v0.1.0\n  hooks:\n  - id: gpu-doctor-system\n", project.display());
    write(&user.join(".pre-commit-config.yaml"), &config);
    let installed = machine.run(&user, "pre-commit", &["install"]);
    assert!(installed.status.success(), "{}", said(&installed));
    assert_ne!(fs::metadata(user.join(".git/hooks/pre-commit")).unwrap().permissions().mode() & 0o100, 0);

    let commit = |message: &str| {
        machine.git(&user, &["add", "."]);
        machine.run(&user, "git", &["commit", "-m", message])
    };
    write(&user.join("requirements.txt"), "tensorflow==2.20.0\nkeras==3.10.0\n");
    write(&user.join("notes.txt"), "x");
    let output = commit("healthy");
    assert!(output.status.success() && said(&output).contains("Passed"), "{}", said(&output));
    // Files that are none of its business are not even handed to it.
    write(&user.join("notes.txt"), "y");
    let output = commit("notes");
    assert!(output.status.success() && said(&output).contains("no files to check"), "{}", said(&output));
    write(&user.join("requirements.txt"), "tensorflow==2.15.0\nkeras==3.10.0\n");
    let output = commit("broken");
    let text = said(&output);
    assert!(!output.status.success() && text.contains("declared-versions-conflict"), "{text}");
    assert!(text.contains("requirements.txt:1"), "{text}");
    // What is staged counts: the framework puts away what is not.
    write(&user.join("requirements.txt"), "tensorflow==2.20.0\nkeras==3.10.0\nflask\n");
    machine.git(&user, &["add", "."]);
    write(&user.join("requirements.txt"), "tensorflow==2.15.0\nkeras==3.10.0\n");
    let output = machine.run(&user, "git", &["commit", "-m", "mended"]);
    assert!(output.status.success(), "{}", said(&output));
    let all = || machine.run(&user, "pre-commit", &["run", "--all-files"]);
    assert!(all().status.success(), "{}", said(&all()));
    machine.git(&user, &["add", "."]);
    let all = all();
    assert!(!all.status.success() && said(&all).contains("declared-versions-conflict"), "{}", said(&all));
    fs::write(folder().join(NAME), "").unwrap();
}
