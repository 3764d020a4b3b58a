//! Asks the program about an environment, from inside and, in a Debian root, from outside; compares nothing.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::Places;
use super::build::{Built, run};
use super::describe::Environment;
use super::observe::inside;

const PROGRAM: &str = env!("CARGO_BIN_EXE_cargo-gpu-doctor");

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
        let mut command = inside(environment, built, Path::new(PROGRAM), true);
        return Ok(Predicted { inside: report(command.args(&arguments))?, outside: None });
    }
    // The root's glibc may be older than the one the program was built with: it brings its own.
    let folder = built.outside(Path::new("/srv/doctor"));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::copy(PROGRAM, folder.join("doctor")).unwrap();
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
    let mut command = Command::new(PROGRAM);
    command.args(&arguments).arg("--root").arg(&built.root).arg("--env-file").arg(&env_file);
    Ok(Predicted { inside: from_inside, outside: Some(report(&mut command)?) })
}

/// The libraries that the program itself needs, and the loader.
fn needed() -> Result<Vec<PathBuf>, String> {
    let output = run(Command::new("ldd").arg(PROGRAM), Duration::from_secs(20))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}

fn report(command: &mut Command) -> Result<Value, String> {
    let output = command.output().map_err(|error| error.to_string())?;
    serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("the program's report: {error}: {}", String::from_utf8_lossy(&output.stderr)))
}
