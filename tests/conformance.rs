//! Puts predictions beside what real packages do: builds environments, observes them, asks the program, compares.
//!
//! `cargo test --release --test conformance` runs all of `tests/conformance/environments.toml`; `-- --small` the set
//! of the gate; `-- NAME…` those whose names hold a word; `--keep` leaves the environments on disk, `--write` renews
//! `docs/conformance.md`, `--list` prints names. It needs `uv`, the Python interpreters that the list names (an
//! environment whose interpreter is not here is named as not built), a C compiler, and a package index as `uv`
//! is configured. Environments in Debian roots need root, `debootstrap` and a Debian mirror as `apt` is configured.
//! It judges nothing itself: each expectation is what the real interpreter did in the same run, or in an earlier one
//! of the same description (`target/conformance/observed`).

#![expect(clippy::print_stdout, reason = "it prints a table")]
#![expect(clippy::disallowed_methods, reason = "a test starts programs and lays out folders itself")]
#![expect(clippy::unwrap_used, reason = "a test stops where it cannot go on")]

#[path = "conformance/build.rs"]
mod build;
#[path = "conformance/compare.rs"]
mod compare;
#[path = "conformance/describe.rs"]
mod describe;
#[path = "conformance/observe.rs"]
mod observe;
#[path = "conformance/page.rs"]
mod page;
#[path = "conformance/predict.rs"]
mod predict;
#[path = "conformance/roots.rs"]
mod roots;

use std::path::{Path, PathBuf};
use std::time::Instant;

use describe::Environment;

/// Where everything lies that a run makes.
pub(crate) struct Places {
    /// What several environments begin with.
    pub(crate) bases: PathBuf,
    /// Environments under construction, one folder each.
    pub(crate) envs: PathBuf,
    /// Observations and results that later runs use.
    pub(crate) results: PathBuf,
    /// Debian roots.
    pub(crate) roots: PathBuf,
    /// The folder of the stand-in `libcuda.so.1`.
    pub(crate) cuda: PathBuf,
    /// The folder of the stand-in `libnvidia-ml.so.1`.
    pub(crate) nvml: PathBuf,
}

fn places() -> Places {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/conformance");
    let base = std::env::var_os("CONFORMANCE_DIR").map_or(base, PathBuf::from);
    let places = Places {
        bases: base.join("bases"),
        envs: base.join("envs"),
        results: base.join("results"),
        roots: base.join("roots"),
        cuda: base.join("standin/cuda"),
        nvml: base.join("standin/nvml"),
    };
    for folder in [&places.bases, &places.envs, &places.results, &places.roots, &places.cuda, &places.nvml] {
        std::fs::create_dir_all(folder).unwrap();
    }
    places
}

fn main() {
    let mut words: Vec<String> = std::env::args().skip(1).collect();
    let mut flag = |name: &str| {
        let before = words.len();
        words.retain(|word| word != name);
        words.len() != before
    };
    let (small, keep, write, list) = (flag("--small"), flag("--keep"), flag("--write"), flag("--list"));
    let again = flag("--again");
    let all = describe::read();
    let chosen: Vec<&Environment> = all
        .iter()
        .filter(|environment| !small || environment.small)
        .filter(|environment| words.is_empty() || words.iter().any(|word| environment.name.contains(word.as_str())))
        .collect();
    if list {
        for environment in &chosen {
            println!("{:44} {}", environment.name, environment.about);
        }
        return;
    }
    let places = places();
    build::stand_ins(&places);
    let mut bad = Vec::new();
    let mut not_built = Vec::new();
    for (index, environment) in chosen.iter().enumerate() {
        let start = Instant::now();
        let result = run_one(&places, environment, again, keep);
        let word = match &result.fault {
            Some(_) => "NOT BUILT",
            None if result.disagreements.is_empty() => "agree",
            None => "DISAGREE",
        };
        println!(
            "{:3}/{} {:44} {:9} {} ({:.0} s)",
            index + 1,
            chosen.len(),
            environment.name,
            word,
            result.line(),
            start.elapsed().as_secs_f64()
        );
        for text in result.fault.iter().chain(&result.disagreements) {
            println!("        {text}");
        }
        if result.fault.is_some() {
            not_built.push(environment.name.clone());
        } else if !result.disagreements.is_empty() {
            bad.push(environment.name.clone());
        }
        compare::save(&places, environment, &result);
    }
    if !keep {
        let _ = std::fs::remove_dir_all(&places.bases);
    }
    if write {
        page::write(&places, &all);
    }
    println!(
        "{} environments: {} agree, {} disagree, {} could not be built",
        chosen.len(),
        chosen.len() - bad.len() - not_built.len(),
        bad.len(),
        not_built.len()
    );
    if !not_built.is_empty() {
        println!("not built: {}", not_built.join(", "));
    }
    if !bad.is_empty() {
        println!("disagree: {}", bad.join(", "));
        std::process::exit(1);
    }
}

fn run_one(places: &Places, environment: &Environment, again: bool, keep: bool) -> compare::Outcome {
    let outcome = build::build(places, environment).and_then(|built| {
        // First the prediction: a first import of Keras writes its configuration.
        let predicted = predict::predict(places, environment, &built)?;
        let observed = observe::observe(places, environment, &built, again)?;
        Ok(compare::compare(environment, &built, &observed, &predicted))
    });
    if !keep {
        build::remove(places, environment);
    }
    outcome.unwrap_or_else(compare::Outcome::not_built)
}
