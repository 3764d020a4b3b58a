//! Writes `docs/conformance.md` from the outcomes that were kept; runs nothing but `uv --version` and `ldd --version`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::Places;
use super::build::run;
use super::compare::{Outcome, digest, kept};
use super::describe::Environment;

/// What was found on the way; written by people.
const LESSONS: &str = include_str!("lessons.md");

/// The page over all environments of the list; `program` is the digest of the program that is asked now.
pub(crate) fn write(places: &Places, all: &[Environment], program: &str) {
    let outcomes: Vec<(&Environment, Option<Outcome>)> =
        all.iter().map(|environment| (environment, kept(places, environment))).collect();
    let mut rows = String::new();
    let mut missing = String::new();
    let (mut agree, mut healthy, mut differ, mut earlier) = (0, 0, 0, 0);
    for (environment, outcome) in &outcomes {
        match outcome {
            Some(outcome) if outcome.fault.is_none() => {
                let agrees = outcome.agrees();
                *(if agrees { &mut agree } else { &mut differ }) += 1;
                healthy += usize::from(environment.healthy && agrees);
                earlier += usize::from(outcome.digest != digest(environment, program));
                rows.push_str(&row(environment, outcome));
            }
            other => {
                let fault = other.as_ref().and_then(|outcome| outcome.fault.as_deref()).unwrap_or("not run");
                let short: String = fault.replace('\n', " ").chars().take(300).collect();
                writeln!(missing, "- `{}` ({}): {short}", environment.name, environment.about).unwrap();
            }
        }
    }
    let ran: Vec<&Outcome> = outcomes.iter().filter_map(|(_, outcome)| outcome.as_ref()).collect();
    let among = |pick: &dyn Fn(&Outcome) -> &String| -> String {
        let all: BTreeSet<&str> =
            ran.iter().map(|outcome| pick(outcome).as_str()).filter(|word| !word.is_empty()).collect();
        match (all.first(), all.last()) {
            (Some(first), Some(last)) if first == last => (*first).to_owned(),
            (Some(first), Some(last)) => format!("{first} to {last}"),
            _ => "-".to_owned(),
        }
    };
    let total = all.len();
    let mut text = format!(
        "# Predictions beside real packages\n\n\
        Written by `cargo test --test conformance -- --write`; do not edit. Each row is a real environment from PyPI in\n\
        which the real interpreter ran with a stand-in driver, and which the program judged from files alone.\n\
        Two words with a slash are prediction / observation; one word is both.\n\n\
        A stand-in computes nothing: it shows that a device is listed and which libraries are mapped, and nothing of what\n\
        happens on the device. Where only a GPU would show a fault, the prediction is `no` beside an observed `yes`.\n\n\
        - {total} environments: {agree} agree, {differ} disagree, {} not built or not run. {healthy} of those that agree\n  \
        are healthy: no finding at deny or warn there.\n\
        - Days: {}. Program: {} with its database's {}. {earlier} rows are from an earlier build of it, or of an\n  \
        earlier description: `--resume` compares those again.\n\
        - Machine: {}, {}. Assumed for the predictions: a GPU and a driver, as the list says.\n\
        - `paths`, `modules` and `libraries` are how many entries of `sys.path`, how many modules' files (`keras`,\n  \
        `tensorflow`, `tf_keras`) and how many of the loader's choices (`LD_DEBUG=libs`) were compared, besides the\n  \
        libraries in the process's memory map.\n\n\
        | environment | Python | TensorFlow, Keras | beside them | sees_gpu | backend | uses_gpu | a small model | rests on | paths | modules | libraries | day | agree |\n\
        |---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n{rows}",
        total - agree - differ,
        among(&|outcome| &outcome.day),
        env!("CARGO_PKG_VERSION"),
        among(&|outcome| &outcome.database),
        version("uv"),
        version("ldd"),
    );
    if !missing.is_empty() {
        write!(text, "\n## Not built or not run\n\n{missing}").unwrap();
    }
    write!(text, "\n{LESSONS}").unwrap();
    // No path of the machine that it was written on.
    let base = places.results.parent().unwrap_or(&places.results).to_string_lossy().into_owned();
    let project = env!("CARGO_MANIFEST_DIR");
    for (path, word) in [(&*base, "…"), (project, "…"), (&*std::env::var("HOME").unwrap_or_default(), "~")] {
        if path.len() > 1 {
            text = text.replace(path, word);
        }
    }
    let page = Path::new(project).join("docs/conformance.md");
    std::fs::create_dir_all(page.parent().unwrap()).unwrap();
    std::fs::write(page, text).unwrap();
}

fn row(environment: &Environment, outcome: &Outcome) -> String {
    let pair = |(predicted, observed): &(String, String)| {
        if predicted == observed { predicted.clone() } else { format!("{predicted} / {observed}") }
    };
    let place = if environment.root.is_empty() { String::new() } else { format!(" ({})", environment.root) };
    let cells = [
        environment.name.clone(),
        format!("{}{place}", outcome.python),
        outcome.versions.clone(),
        outcome.beside.join(", "),
        pair(&outcome.sees),
        pair(&outcome.backend),
        pair(&outcome.uses),
        outcome.trained.clone(),
        outcome.because.join(", "),
        outcome.paths.to_string(),
        outcome.modules.to_string(),
        outcome.libraries.to_string(),
        outcome.day.clone(),
        if outcome.agrees() { "yes".to_owned() } else { format!("**no**: {}", outcome.disagreements.join("; ")) },
    ];
    let cells = cells.map(|cell| cell.replace('|', "\\|").replace('\n', " "));
    format!("| {} |\n", cells.join(" | "))
}

/// The first line of what a program says of its version.
fn version(program: &str) -> String {
    let output = run(Command::new(program).arg("--version"), Duration::from_secs(20));
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().map_or_else(|| format!("no {program}"), str::to_owned)
}
