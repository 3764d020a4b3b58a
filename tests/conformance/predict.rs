//! Asks the program about an environment, from inside and, in a Debian root, from outside; compares nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::Places;
use super::build::{Built, run};
use super::describe::Environment;
use super::observe::inside;

/// The program that is asked: Cargo's, or the one that `CONFORMANCE_PROGRAM` names.
pub(crate) fn program() -> PathBuf {
    std::env::var_os("CONFORMANCE_PROGRAM")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_cargo-gpu-doctor")), PathBuf::from)
}

/// The program's reports.
pub(crate) struct Predicted {
    /// As judged from inside.
    pub(crate) inside: Value,
    /// As judged from outside with `--root`.
    pub(crate) outside: Option<Value>,
}

fn arguments(environment: &Environment, built: &Built) -> Vec<String> {
    let mut arguments = vec!["check".into(), "--format".into(), "json".into()];
    arguments.extend(["--python".into(), built.env.to_string_lossy().into_owned()]);
    for assumed in [format!("driver={}", environment.driver), format!("gpu={}", environment.gpu)] {
        arguments.extend(["--assume".into(), assumed]);
    }
    arguments
}

/// Both reports.
pub(crate) fn predict(places: &Places, environment: &Environment, built: &Built) -> Result<Predicted, String> {
    let arguments = arguments(environment, built);
    if built.root == Path::new("/") {
        let mut command = inside(environment, built, &program(), true);
        return Ok(Predicted { inside: report(command.args(&arguments))?, outside: None });
    }
    // The root's glibc may be older than the one the program was built with: it brings its own.
    let folder = built.outside(Path::new("/srv/doctor"));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::copy(program(), folder.join("doctor")).unwrap();
    for library in needed()? {
        std::fs::copy(&library, folder.join(library.file_name().unwrap_or_default())).unwrap();
    }
    let mut command = inside(environment, built, Path::new("/srv/doctor/ld-linux-x86-64.so.2"), true);
    command.args(["--library-path", "/srv/doctor", "/srv/doctor/doctor"]).args(&arguments);
    let from_inside = report(&mut command)?;

    let env_file = places.results.join(format!("{}.env", environment.name));
    let lines: Vec<String> =
        built.variables(environment).iter().map(|(name, value)| format!("{name}={value}\n")).collect();
    std::fs::write(&env_file, lines.concat()).unwrap();
    let mut command = Command::new(program());
    command.args(&arguments).arg("--root").arg(&built.root).arg("--env-file").arg(&env_file);
    Ok(Predicted { inside: from_inside, outside: Some(report(&mut command)?) })
}

/// The program's report where it asked the interpreter itself, and what that left behind.
pub(crate) struct Asked {
    /// The report; nothing is assumed, so the prediction is that of a machine without a GPU.
    pub(crate) report: Value,
    /// Files that were made, changed or removed.
    pub(crate) traces: Vec<PathBuf>,
}

/// `check --run-python`.
pub(crate) fn ask(environment: &Environment, built: &Built) -> Result<Asked, String> {
    let folders = [&built.home, &built.work, &built.env].map(|folder| built.outside(folder));
    let before = files(&folders);
    let mut command = inside(environment, built, &program(), true);
    command.args(["check", "--format", "json", "--run-python", "--python-timeout", "900", "--python"]);
    let report = report(command.arg(&built.env))?;
    let after = files(&folders);
    let traces = before.symmetric_difference(&after).map(|(path, _, _)| path.clone()).collect();
    Ok(Asked { report, traces })
}

/// Every file with its size and time of change.
fn files(folders: &[PathBuf]) -> BTreeSet<(PathBuf, u64, SystemTime)> {
    let (mut files, mut folders) = (BTreeSet::new(), folders.to_vec());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(meta) = entry.path().symlink_metadata() else { continue };
            if meta.is_dir() {
                folders.push(entry.path());
            } else {
                files.insert((entry.path(), meta.len(), meta.modified().unwrap_or(SystemTime::UNIX_EPOCH)));
            }
        }
    }
    files
}

/// The libraries that the program itself needs, and the loader.
fn needed() -> Result<Vec<PathBuf>, String> {
    let output = run(Command::new("ldd").arg(program()), Duration::from_secs(20))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}

fn report(command: &mut Command) -> Result<Value, String> {
    let output = command.output().map_err(|error| error.to_string())?;
    serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("the program's report: {error}: {}", String::from_utf8_lossy(&output.stderr)))
}
