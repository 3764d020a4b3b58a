//! The exit code as the gate of a CI step: a shell script under `sh -e`, and the action's own script.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests stand outside of the seam: they lay out files and run the program"
)]

use std::path::Path;
use std::process::{Command, Output};

use snapbox::cmd::cargo_bin;

const HEALTHY: &[(&str, &str)] = &[("GPU", "optional")];
const BROKEN: &[(&str, &str)] = &[("GPU", "required")];

/// A shell in an empty folder, with the program on its PATH.
fn shell(folder: &Path, shell: &[&str], script: &str, env: &[(&str, &str)]) -> Output {
    let program = cargo_bin!("cargo-gpu-doctor");
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", program.parent().unwrap().display());
    let mut command = Command::new(shell[0]);
    command.args(&shell[1..]).arg("-c").arg(script).current_dir(folder).env_clear();
    command.env("PATH", path).env("HOME", folder).envs(env.iter().copied()).output().unwrap()
}

/// A file tree that stands for the runner: nothing of the tester's machine decides.
fn runner() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(folder.path().join("machine/sys/bus/pci/devices")).unwrap();
    folder
}

#[test]
fn a_step_fails_where_something_is_denied() {
    let folder = runner();
    let script = "cargo-gpu-doctor check --root machine --gpu \"$GPU\"\necho the next step\n";
    let output = shell(folder.path(), &["sh", "-e"], script, HEALTHY);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("the next step\n"));
    let output = shell(folder.path(), &["sh", "-e"], script, BROKEN);
    assert_eq!(output.status.code(), Some(100));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains("error[gpu-absent]") && !said.contains("the next step"), "{said}");
    // What a wrong policy and a wrong command line end with is told apart.
    std::fs::write(folder.path().join("machine/gpu-doctor.toml"), "nonsense = 1\n").unwrap();
    assert_eq!(shell(folder.path(), &["sh", "-e"], script, HEALTHY).status.code(), Some(2));
}

/// The script of the action's step `check`.
fn action() -> String {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("action.yml")).unwrap();
    let (_, step) = text.split_once("      id: check\n").unwrap();
    let (_, script) = step.split_once("      run: |\n").unwrap();
    let lines = script.lines().map_while(|line| line.strip_prefix("        "));
    lines.fold(String::new(), |text, line| text + line + "\n")
}

#[test]
fn the_action_ends_with_the_exit_code() {
    let folder = runner();
    let script = action();
    let facts = shell(folder.path(), &["sh"], "cargo-gpu-doctor facts --root machine > facts.json", &[]);
    assert!(facts.status.success());
    std::fs::copy(folder.path().join("facts.json"), folder.path().join("second facts.json")).unwrap();
    let run = |more: &[(&str, &str)]| {
        let inputs = [
            ("GPU", ""),
            ("ASSUME", ""),
            ("FACTS", ""),
            ("STRICT", "false"),
            ("ARGS", "--root\nmachine"),
            ("FORMAT", "human"),
            ("SARIF", "false"),
            ("GITHUB_OUTPUT", "output"),
            ("RUNNER_TEMP", "."),
        ];
        let _ = std::fs::remove_file(folder.path().join("output"));
        // As the runner calls bash.
        let bash = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail"];
        let output = shell(folder.path(), &bash, &script, &[&inputs[..], more].concat());
        let told = std::fs::read_to_string(folder.path().join("output")).unwrap_or_default();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code(), told, said)
    };
    let (code, told, said) = run(HEALTHY);
    assert_eq!((code, told.as_str()), (Some(0), "exit-code=0\n"), "{said}");
    let (code, told, said) = run(BROKEN);
    assert_eq!((code, told.as_str()), (Some(100), "exit-code=100\n"), "{said}");
    assert!(said.contains("error[gpu-absent]"), "{said}");
    // Each input reaches the program.
    let (code, _, said) = run(&[("GPU", "required"), ("ASSUME", "driver=550.54.14 gpu=9.0")]);
    assert!(code == Some(0) && said.contains("9.0 (assumed)"), "{said}");
    let (code, _, said) = run(&[("ASSUME", "gpu=9.0"), ("STRICT", "true")]);
    assert_eq!(code, Some(100), "{said}");
    let (code, _, said) = run(&[("FACTS", "facts.json\nsecond facts.json"), ("ARGS", ""), ("GPU", "required")]);
    assert!(code == Some(100) && said.contains("second facts.json"), "{said}");
    let (code, told, _) = run(&[("ARGS", "--nonsense")]);
    assert_eq!((code, told.as_str()), (Some(2), "exit-code=2\n"));
}

#[test]
fn the_lints_that_fence_the_code_are_switched_on() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    let manifest: toml::Table = std::fs::read_to_string(manifest).unwrap().parse().unwrap();
    let lints = &manifest["lints"];
    assert_eq!(lints["rust"]["unsafe_code"].as_str(), Some("deny"));
    for lint in
        ["disallowed_methods", "exit", "print_stderr", "print_stdout", "undocumented_unsafe_blocks", "unwrap_used"]
    {
        assert_eq!(lints["clippy"][lint].as_str(), Some("warn"), "{lint}");
    }
    assert_eq!(lints["clippy"]["pedantic"]["level"].as_str(), Some("warn"));
}
