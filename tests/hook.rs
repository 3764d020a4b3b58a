//! The git hook in real repositories: what it refuses, what it lets pass, and what it leaves as it was.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests stand outside of the seam: they lay out files and run the program"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use snapbox::cmd::cargo_bin;

/// A repository with a Cargo project, and a toolkit that takes no compiler of today.
struct Repository {
    _folder: tempfile::TempDir,
    outside: PathBuf,
    top: PathBuf,
}

const MANIFEST: &str = "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n";
const LOCK: &str = "version = 4\n\n[[package]]\nname = \"app\"\nversion = \"0.1.0\"\n";
/// What makes the project one that compiles CUDA.
const NEEDS: &str = "[dependencies]\nbindgen_cuda = { path = \"bindgen_cuda\" }\n";
const LOCKED: &str =
    "dependencies = [\n \"bindgen_cuda\",\n]\n\n[[package]]\nname = \"bindgen_cuda\"\nversion = \"0.1.5\"\n";

impl Repository {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let outside = folder.path().canonicalize().unwrap();
        let this = Self { top: outside.join("a repository"), outside, _folder: folder };
        let limit = "#if __GNUC__ > 2\n#error -- unsupported GNU version! gcc versions later than 2 are not supported!\n#endif\n";
        this.outside_file("cuda/version.json", "{\"cuda\": {\"version\": \"12.4.1\"}}");
        this.outside_file("cuda/include/cuda.h", "#define CUDA_VERSION 12040\n");
        this.outside_file("cuda/include/crt/host_config.h", limit);
        this.program("../cuda/bin/nvcc", "#!/bin/sh\n");
        this.git(&["init", "--quiet", "--initial-branch", "main"]);
        this.healthy();
        this.write("src/main.rs", "fn main() {}\n");
        this.write("bindgen_cuda/Cargo.toml", "[package]\nname = \"bindgen_cuda\"\nversion = \"0.1.5\"\n");
        this.write("bindgen_cuda/src/lib.rs", "");
        this
    }

    fn outside_file(&self, name: &str, text: &str) {
        let path = self.outside.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.top.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn program(&self, name: &str, text: &str) {
        fs::create_dir_all(&self.top).unwrap();
        self.write(name, text);
        fs::set_permissions(self.top.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn healthy(&self) {
        self.write("Cargo.toml", MANIFEST);
        self.write("Cargo.lock", LOCK);
    }

    fn broken(&self) {
        self.write("Cargo.toml", &format!("{MANIFEST}{NEEDS}"));
        self.write("Cargo.lock", &format!("{LOCK}{LOCKED}"));
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>, folder: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(folder).env_clear().env("CUDA_PATH", self.outside.join("cuda"));
        for name in ["PATH", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "CARGO_HOME"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        // That toolkit is the one that every build script finds, and no GPU has to be asked.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{}/cuda/bin:{path}", self.outside.display())).env("CUDA_COMPUTE_CAP", "90");
        command.env("HOME", &self.outside).env("GIT_CONFIG_NOSYSTEM", "1").env("CARGO_NET_OFFLINE", "true");
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "A").env(format!("GIT_{who}_EMAIL"), "a@example.org");
        }
        command
    }

    fn try_git(&self, args: &[&str]) -> Output {
        fs::create_dir_all(&self.top).unwrap();
        self.command("git", &self.top).args(args).output().unwrap()
    }

    fn git(&self, args: &[&str]) -> String {
        let output = self.try_git(args);
        assert!(output.status.success(), "{args:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn refused(&self, args: &[&str]) -> String {
        let output = self.try_git(args);
        assert!(!output.status.success(), "{args:?} was let pass: {}", said(&output));
        said(&output)
    }

    fn hook(&self, args: &[&str]) -> Output {
        self.command(cargo_bin!("cargo-gpu-doctor"), &self.top).arg("hook").args(args).output().unwrap()
    }

    fn install(&self) -> String {
        let output = self.hook(&["install"]);
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    }

    fn uninstall(&self) {
        let output = self.hook(&["uninstall"]);
        assert!(output.status.success(), "{}", said(&output));
    }

    /// Every file of a folder with its mode and content.
    fn snapshot(&self, folder: &str) -> Vec<(String, u32, Vec<u8>)> {
        let Ok(entries) = fs::read_dir(self.top.join(folder)) else { return Vec::new() };
        let mut all: Vec<_> = entries
            .map(|entry| {
                let entry = entry.unwrap();
                let link = fs::read_link(entry.path()).map(|to| to.to_string_lossy().into_owned().into_bytes());
                let content = link.unwrap_or_else(|_| fs::read(entry.path()).unwrap_or_default());
                let mode = fs::symlink_metadata(entry.path()).unwrap().permissions().mode();
                (entry.file_name().to_string_lossy().into_owned(), mode, content)
            })
            .collect();
        all.sort();
        all
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_broken_project_is_refused_and_a_healthy_one_passes() {
    let it = Repository::new();
    it.install();
    // The first commit of all has nothing to be compared with.
    it.broken();
    it.git(&["add", "."]);
    let text = it.refused(&["commit", "-m", "first"]);
    assert!(text.contains("error[host-compiler-unsupported]") && text.contains("help: "), "{text}");
    assert!(text.contains("1 denied in what is staged") && text.contains("--no-verify"), "{text}");
    it.healthy();
    it.git(&["commit", "--quiet", "-a", "-m", "first"]);

    it.broken();
    it.refused(&["commit", "-a", "-m", "broken"]);
    it.git(&["commit", "--quiet", "-a", "--no-verify", "-m", "broken all the same"]);
    // What was committed before is no reason: nothing that matters is staged.
    it.write("notes.txt", "x");
    it.git(&["add", "notes.txt"]);
    let output = it.try_git(&["commit", "--quiet", "-m", "notes"]);
    assert!(output.status.success() && said(&output).is_empty(), "{}", said(&output));
    it.healthy();
    it.git(&["commit", "--quiet", "-m", "mended", "--", "Cargo.toml", "Cargo.lock"]);
}

#[test]
fn the_index_is_judged_and_not_the_working_tree() {
    let it = Repository::new();
    it.install();
    it.git(&["add", "."]);
    it.git(&["commit", "--quiet", "-m", "first"]);
    // Staged broken, mended since.
    it.broken();
    it.git(&["add", "Cargo.toml", "Cargo.lock"]);
    it.healthy();
    let text = it.refused(&["commit", "-m", "broken"]);
    assert!(text.contains("[host-compiler-unsupported]") && text.contains("Cargo.lock"), "{text}");
    // Staged healthy, broken since.
    it.write("Cargo.toml", &format!("# mended\n{MANIFEST}"));
    it.git(&["add", "Cargo.toml", "Cargo.lock"]);
    it.broken();
    it.git(&["commit", "--quiet", "-m", "mended"]);
    assert!(it.git(&["show", "HEAD:Cargo.toml"]).starts_with("# mended"));
    // A file that is in no commit does not count, a staged one does.
    it.healthy();
    it.write("gpu-doctor.toml", "nonsense = 1\n");
    it.git(&["commit", "--quiet", "-a", "-m", "policy not staged"]);
    it.git(&["add", "gpu-doctor.toml"]);
    let text = it.refused(&["commit", "-m", "policy"]);
    assert!(text.contains("gpu-doctor.toml:1:1") && text.contains("unknown key `nonsense`"), "{text}");
    // The staged policy holds, whatever lies beside it.
    it.write("gpu-doctor.toml", "[rules]\nhost-compiler-unsupported = \"allow\"\n");
    it.broken();
    it.git(&["add", "."]);
    it.write("gpu-doctor.toml", "[rules]\nhost-compiler-unsupported = \"deny\"\n");
    it.git(&["commit", "--quiet", "-m", "allowed"]);
    let codes = [it.hook(&["run"]).status.code(), {
        it.git(&["add", "."]);
        it.hook(&["run"]).status.code()
    }];
    assert_eq!(codes, [Some(0), Some(100)]);
    let json: serde_json::Value = serde_json::from_slice(&it.hook(&["run", "--format", "json"]).stdout).unwrap();
    assert_eq!((&json["exit_code"], &json["findings"][0]["rule"]), (&100.into(), &"host-compiler-unsupported".into()));
}

#[test]
fn a_staged_source_that_sets_a_variable_too_late_is_told() {
    let repository = Repository::new();
    repository.install();
    repository.git(&["add", "."]);
    repository.git(&["commit", "--quiet", "-m", "first"]);
    let late = "import os\nimport tensorflow as tf\nos.environ[\"KERAS_BACKEND\"] = \"jax\"\nimport keras\n";
    let timely = "import os\nos.environ[\"KERAS_BACKEND\"] = \"jax\"\nimport keras\n";
    // What is staged counts, and not what the file has become since.
    repository.write("train.py", late);
    repository.git(&["add", "train.py"]);
    repository.write("train.py", timely);
    let output = repository.try_git(&["commit", "--quiet", "-m", "second"]);
    let text = said(&output);
    assert!(output.status.success(), "a warning refuses nothing: {text}");
    assert!(text.contains("warning[source-sets-variable-too-late]") && text.contains("train.py"), "{text}");
    assert!(text.contains("train.py:3"), "{text}");
    // The policy can refuse it.
    repository.write("gpu-doctor.toml", "[rules]\nsource-sets-variable-too-late = \"deny\"\n");
    repository.write("train.py", late.replace("jax", "torch").as_str());
    repository.git(&["add", "."]);
    repository.write("train.py", timely);
    let text = repository.refused(&["commit", "--quiet", "-m", "third"]);
    assert!(text.contains("error[source-sets-variable-too-late]"), "{text}");
    repository.git(&["add", "train.py"]);
    repository.git(&["commit", "--quiet", "-m", "third"]);
    // A file that is not staged is not looked at.
    repository.write("notes.txt", "x");
    repository.write("other.py", late);
    repository.git(&["add", "notes.txt"]);
    repository.git(&["commit", "--quiet", "-m", "fourth"]);
}

#[test]
fn what_cannot_be_read_is_said_and_old_faults_refuse_nothing() {
    const CONFLICT: &str = "tensorflow==2.15.0\nkeras==3.0.0\n";
    let it = Repository::new();
    it.install();
    it.git(&["add", "."]);
    it.git(&["commit", "--quiet", "-m", "first"]);
    let text = |output: Output| {
        assert!(output.status.success(), "{}", said(&output));
        said(&output)
    };
    // A lock file with the marks of a merge: nobody knows what is in it.
    it.write("Cargo.lock", &format!("{LOCK}<<<<<<< HEAD\n"));
    it.git(&["add", "."]);
    let output = text(it.try_git(&["commit", "--quiet", "-m", "marks"]));
    assert!(output.contains("the project was not judged") && output.contains("Cargo.lock"), "{output}");
    it.healthy();
    it.write("pyproject.toml", "[project\n");
    it.git(&["add", "."]);
    let output = text(it.try_git(&["commit", "--quiet", "-m", "torn"]));
    assert!(output.contains("pyproject.toml was not judged"), "{output}");
    it.write("pyproject.toml", "");
    // A file of the same name in another folder is not the one that is staged.
    it.write("legacy/requirements.txt", CONFLICT);
    it.git(&["add", "."]);
    it.git(&["commit", "--quiet", "--no-verify", "-m", "old fault"]);
    it.write("requirements.txt", "flask==3.0.0\n");
    it.git(&["add", "."]);
    text(it.try_git(&["commit", "--quiet", "-m", "other"]));
    it.write("legacy/requirements.txt", &format!("{CONFLICT}flask\n"));
    it.git(&["add", "."]);
    assert!(it.refused(&["commit", "-m", "legacy"]).contains("[declared-versions-conflict]"));
    // The policy that is nearest to the file holds.
    it.write("legacy/gpu-doctor.toml", "[rules]\ndeclared-versions-conflict = \"allow\"\n");
    it.git(&["add", "."]);
    text(it.try_git(&["commit", "--quiet", "-m", "legacy"]));
    // A change of the policy brings up what it no longer allows.
    it.write("legacy/gpu-doctor.toml", "[rules]\ndeclared-versions-conflict = \"deny\"\n");
    it.git(&["add", "."]);
    assert!(it.refused(&["commit", "-m", "strict"]).contains("[declared-versions-conflict]"));
    it.git(&["reset", "--quiet", "--hard"]);
    // What nobody has added yet does not stand in the way of asking Cargo.
    it.write("junk/Cargo.toml", "[package]\nname = \"junk\"\nversion = \"0.1.0\"\n");
    it.broken();
    it.git(&["add", "Cargo.toml", "Cargo.lock"]);
    let output = it.hook(&["run", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["facts"]["project"]["resolved"], true, "{}", json["facts"]["project"]);
    assert_eq!(output.status.code(), Some(100));
}

#[test]
fn merges_are_judged() {
    let it = Repository::new();
    it.install();
    it.git(&["add", "."]);
    it.git(&["commit", "--quiet", "-m", "first"]);
    it.git(&["checkout", "--quiet", "-b", "side"]);
    it.broken();
    it.git(&["commit", "--quiet", "-a", "--no-verify", "-m", "broken"]);
    it.git(&["checkout", "--quiet", "main"]);
    it.write("notes.txt", "x");
    it.git(&["add", "notes.txt"]);
    it.git(&["commit", "--quiet", "-m", "notes"]);
    let text = it.refused(&["merge", "--no-edit", "side"]);
    assert!(text.contains("[host-compiler-unsupported]"), "{text}");
    it.git(&["merge", "--abort"]);
    // A merge that was resolved by hand.
    it.write("Cargo.toml", &format!("# main\n{MANIFEST}"));
    it.git(&["commit", "--quiet", "-a", "-m", "main"]);
    it.git(&["checkout", "--quiet", "side"]);
    it.write("Cargo.toml", &format!("# side\n{MANIFEST}{NEEDS}"));
    it.git(&["commit", "--quiet", "-a", "--no-verify", "-m", "side"]);
    it.git(&["checkout", "--quiet", "main"]);
    it.refused(&["merge", "--no-edit", "side"]);
    it.broken();
    it.git(&["add", "Cargo.toml", "Cargo.lock"]);
    it.refused(&["commit", "--no-edit"]);
    it.healthy();
    it.git(&["add", "Cargo.toml", "Cargo.lock"]);
    it.git(&["commit", "--quiet", "--no-edit"]);
}

#[test]
fn other_hooks_stay_as_they_were() {
    let it = Repository::new();
    let fresh = it.snapshot(".git/hooks");
    it.install();
    it.uninstall();
    assert_eq!(it.snapshot(".git/hooks"), fresh);

    let other = "#!/bin/sh\necho other $# >> \"$(dirname \"$0\")/../called\"\n[ ! -e stop ]\n";
    it.program(".git/hooks/pre-commit", other);
    fs::set_permissions(it.top.join(".git/hooks/pre-commit"), fs::Permissions::from_mode(0o711)).unwrap();
    std::os::unix::fs::symlink("pre-commit.sample", it.top.join(".git/hooks/pre-merge-commit")).unwrap();
    let before = it.snapshot(".git/hooks");
    let text = it.install();
    assert!(text.contains("is now pre-commit.before-gpu-doctor"), "{text}");
    let installed = it.snapshot(".git/hooks");
    let text = it.install();
    assert!(text.contains("already here"), "{text}");
    assert_eq!(it.snapshot(".git/hooks"), installed);

    let called = || fs::read_to_string(it.top.join(".git/called")).unwrap_or_default();
    it.git(&["add", "."]);
    it.git(&["commit", "--quiet", "-m", "first"]);
    assert_eq!(called(), "other 0\n");
    it.write("stop", "");
    it.write("notes.txt", "x");
    it.git(&["add", "notes.txt"]);
    it.refused(&["commit", "-m", "stopped by the other hook"]);
    fs::remove_file(it.top.join("stop")).unwrap();
    it.broken();
    it.refused(&["commit", "-a", "-m", "stopped by this one"]);
    assert_eq!(called(), "other 0\n".repeat(3));

    it.uninstall();
    assert_eq!(it.snapshot(".git/hooks"), before);
    it.git(&["commit", "--quiet", "-a", "-m", "nobody looks"]);
    it.uninstall();
    assert_eq!(it.snapshot(".git/hooks"), before);
}

#[test]
fn a_hook_that_goes_by_its_name_is_not_renamed() {
    let it = Repository::new();
    it.program(".git/hooks/pre-commit", "#!/bin/sh\nexec run-hooks \"$(basename \"$0\")\"\n");
    let before = it.snapshot(".git/hooks");
    let output = it.hook(&["install"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(said(&output).contains("cargo gpu-doctor hook run || exit $?"), "{}", said(&output));
    assert_eq!(it.snapshot(".git/hooks"), before);
    // Out of a repository there is no place for it.
    let output = it.command(cargo_bin!("cargo-gpu-doctor"), &it.outside).args(["hook", "install"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
}

#[test]
fn folders_of_hooks_are_where_git_says() {
    // A folder of the working tree, named from the top; the command is given below it.
    let it = Repository::new();
    it.git(&["config", "core.hooksPath", "my hooks"]);
    let output =
        it.command(cargo_bin!("cargo-gpu-doctor"), &it.top.join("src")).args(["hook", "install"]).output().unwrap();
    assert!(output.status.success() && said(&output).contains("working tree"), "{}", said(&output));
    let hook = fs::read_to_string(it.top.join("my hooks/pre-commit")).unwrap();
    assert!(!hook.contains("target"), "others have the program elsewhere: {hook}");
    it.uninstall();
    assert!(!it.top.join("my hooks").exists(), "the folder was made with it");

    // A worktree of a bare repository, with spaces in its path; the hooks are those of the repository.
    let it = Repository::new();
    it.git(&["add", "."]);
    it.git(&["commit", "--quiet", "-m", "first"]);
    it.git(&["clone", "--quiet", "--bare", ".", "../bare one.git"]);
    it.git(&["-C", "../bare one.git", "worktree", "add", "--quiet", "../a work tree", "-b", "work"]);
    let work = Repository {
        top: it.outside.join("a work tree"),
        outside: it.outside.clone(),
        _folder: tempfile::tempdir().unwrap(),
    };
    work.install();
    assert!(it.outside.join("bare one.git/hooks/pre-commit").is_file());
    work.broken();
    let text = work.refused(&["commit", "-a", "-m", "broken"]);
    assert!(text.contains("[host-compiler-unsupported]"), "{text}");
    work.healthy();
    work.write("Cargo.toml", &format!("# new\n{MANIFEST}"));
    work.git(&["commit", "--quiet", "-a", "-m", "healthy"]);
}

#[test]
fn husky_calls_it() {
    // As husky 9 lays it out: git calls `.husky/_/pre-commit`, which calls `.husky/pre-commit` by its own name.
    let it = Repository::new();
    it.write(
        ".husky/_/h",
        "#!/usr/bin/env sh\nn=$(basename \"$0\")\ns=$(dirname \"$(dirname \"$0\")\")/$n\n[ ! -f \"$s\" ] && exit 0\nsh -e \"$s\" \"$@\"\nc=$?\nexit $c\n",
    );
    it.program(".husky/_/pre-commit", "#!/usr/bin/env sh\n. \"$(dirname \"$0\")/h\"\n");
    it.write(".husky/_/.gitignore", "*");
    it.write(".husky/pre-commit", "echo tests >> .git/called\n");
    it.git(&["config", "core.hooksPath", ".husky/_"]);
    let (own, below) = (it.snapshot(".husky"), it.snapshot(".husky/_"));
    it.install();
    assert_eq!(it.snapshot(".husky/_"), below, "what husky writes anew is left alone");
    it.git(&["add", "src", "bindgen_cuda", "Cargo.toml", "Cargo.lock"]);
    // The program is where Cargo installs it, or on PATH.
    fs::create_dir_all(it.outside.join("cargo/bin")).unwrap();
    fs::copy(cargo_bin!("cargo-gpu-doctor"), it.outside.join("cargo/bin/cargo-gpu-doctor")).unwrap();
    let commit = |message: &str| {
        let mut command = it.command("git", &it.top);
        command
            .env("CARGO_HOME", it.outside.join("cargo"))
            .args(["commit", "--quiet", "-a", "-m", message])
            .output()
            .unwrap()
    };
    assert!(commit("first").status.success());
    it.broken();
    let output = commit("broken");
    assert!(!output.status.success() && said(&output).contains("[host-compiler-unsupported]"), "{}", said(&output));
    assert_eq!(fs::read_to_string(it.top.join(".git/called")).unwrap(), "tests\ntests\n");
    it.uninstall();
    assert_eq!(it.snapshot(".husky"), own);
}
