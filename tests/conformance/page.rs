//! Writes `docs/conformance.md` from the outcomes that were kept; runs nothing.

use std::fmt::Write as _;
use std::path::Path;

use super::Places;
use super::compare::Outcome;
use super::describe::Environment;

/// The page over all environments of the list.
pub(crate) fn write(places: &Places, all: &[Environment]) {
    let mut rows = String::new();
    let (mut agree, mut healthy, mut differ, mut missing) = (0, 0, 0, Vec::new());
    for environment in all {
        let path = places.results.join(format!("{}.outcome.json", environment.name));
        let outcome: Option<Outcome> =
            std::fs::read_to_string(path).ok().and_then(|text| serde_json::from_str(&text).ok());
        let Some(outcome) = outcome else {
            missing.push(format!("- `{}`: not run", environment.name));
            continue;
        };
        if let Some(fault) = &outcome.fault {
            let first: String = fault.lines().next().unwrap_or_default().chars().take(200).collect();
            let first =
                first.replace(&*places.envs.to_string_lossy(), "…").replace(&*places.roots.to_string_lossy(), "…");
            missing.push(format!("- `{}`: {first}", environment.name));
            continue;
        }
        let word = if outcome.disagreements.is_empty() { "yes" } else { "**no**" };
        if outcome.disagreements.is_empty() {
            agree += 1
        } else {
            differ += 1
        }
        healthy += usize::from(environment.healthy);
        let pair = |(predicted, observed): &(String, String)| {
            if predicted == observed { predicted.clone() } else { format!("{predicted} / {observed}") }
        };
        let place = if environment.root.is_empty() { String::new() } else { format!(" ({})", environment.root) };
        writeln!(
            rows,
            "| {} | {}{place} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            environment.name,
            outcome.python,
            outcome.versions.replace('|', "\\|"),
            pair(&outcome.sees),
            pair(&outcome.backend),
            pair(&outcome.uses),
            outcome.trained.replace('|', "\\|").replace('\n', " "),
            outcome.because.join(", "),
            outcome.paths,
            outcome.libraries,
            word,
        )
        .unwrap();
    }
    let text = format!(
        "# Predictions beside real packages\n\n\
        Written by `cargo test --release --test conformance -- --write`; do not edit. Each row is a real environment from\n\
        PyPI in which the real interpreter ran with a stand-in driver, and which the program judged from files alone.\n\
        Two words with a slash are prediction / observation; one word is both. A stand-in computes nothing: it shows that a\n\
        device is listed and which libraries are mapped, and nothing of what happens on the device.\n\n\
        {agree} agree, {differ} disagree, {} not built or not run. {healthy} are healthy: no finding at deny or warn there.\n\n\
        | environment | Python | TensorFlow, Keras | sees_gpu | backend | uses_gpu | a small model | rests on | paths | libraries | agree |\n\
        |---|---|---|---|---|---|---|---|---|---|---|\n{rows}",
        missing.len(),
    );
    let text =
        if missing.is_empty() { text } else { format!("{text}\nNot built or not run:\n\n{}\n", missing.join("\n")) };
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/conformance.md");
    std::fs::create_dir_all(page.parent().unwrap()).unwrap();
    std::fs::write(page, text).unwrap();
}
