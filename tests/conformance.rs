//! Puts predictions beside what real packages do: builds environments, observes them, asks the program, compares.
//!
//! `cargo test --release --test conformance` runs all of `tests/conformance/environments.toml`; `-- --small` the set
//! of the gate; `-- NAME…` those whose names hold a word; `--keep` leaves the environments on disk, `--write` renews
//! `docs/conformance.md`, `--list` prints names, `--two` works at two environments at a time, `--again` observes anew,
//! `--resume` passes over those that agreed before with the same description and program. It needs `uv`, the Python interpreters that the list names (an
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

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
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
    let (again, resume) = (flag("--again"), flag("--resume"));
    let jobs = if flag("--two") { 2 } else { 1 };
    let mut all = describe::read();
    all.iter_mut().filter(|environment| !environment.pythons.is_empty()).for_each(build::settle);
    let chosen: Vec<&Environment> = all
        .iter()
        .filter(|environment| !small || environment.small)
        .filter(|environment| words.is_empty() || words.iter().any(|word| environment.name.contains(word.as_str())))
        .collect();
    if list {
        for environment in &chosen {
            println!("{:28} {}", environment.name, environment.about);
        }
        return;
    }
    let places = places();
    build::stand_ins(&places);
    let program = build::digest_of(&std::fs::read(predict::program()).unwrap());
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let bad = Mutex::new(Vec::new());
    let not_built = Mutex::new(Vec::new());
    // What several begin with goes as soon as none of them is left: all of it at once would fill a disk.
    let base = |environment: &Environment| format!("{} {}", environment.root, build::base_name(environment));
    let mut users: BTreeMap<String, usize> = BTreeMap::new();
    for environment in &chosen {
        *users.entry(base(environment)).or_default() += 1;
    }
    let users = Mutex::new(users);
    let work = || {
        while let Some(environment) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
            let start = Instant::now();
            let digest = compare::digest(environment, &program);
            let before = compare::kept(&places, environment);
            let before = before.filter(|outcome| resume && outcome.digest == digest && outcome.agrees());
            let taken = before.is_some();
            let result = before.unwrap_or_else(|| run_one(&places, environment, again, keep));
            let result = compare::Outcome { digest, ..result };
            let word = match &result.fault {
                Some(_) => "NOT BUILT",
                None if result.agrees() => "agree",
                None => "DISAGREE",
            };
            let mut text = format!(
                "{:3}/{} {:28} {word:9} {} ({:.0} s)",
                done.fetch_add(1, Ordering::Relaxed) + 1,
                chosen.len(),
                environment.name,
                result.line(),
                start.elapsed().as_secs_f64()
            );
            for fault in result.fault.iter().chain(&result.disagreements) {
                text.push_str("\n        ");
                text.push_str(fault);
            }
            println!("{text}");
            if result.fault.is_some() {
                not_built.lock().unwrap().push(environment.name.clone());
            } else if !result.agrees() {
                bad.lock().unwrap().push(environment.name.clone());
            }
            if !taken {
                compare::save(&places, environment, &result);
            }
            let mut users = users.lock().unwrap();
            let left = users.entry(base(environment)).or_default();
            *left = left.saturating_sub(1);
            if *left == 0 && !keep {
                build::remove_base(&places, environment);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(work);
        }
    });
    let (bad, not_built) = (bad.into_inner().unwrap(), not_built.into_inner().unwrap());
    if write {
        page::write(&places, &all, &program);
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
        let asked = environment.run_python.then(|| predict::ask(environment, &built)).transpose()?;
        let observed = observe::observe(places, environment, &built, again)?;
        let mut outcome = compare::compare(environment, &built, &observed, &predicted);
        if let Some(asked) = asked {
            compare::asked(&mut outcome, &built, &observed, &asked);
        }
        Ok(outcome)
    });
    if !keep {
        build::remove(places, environment);
    }
    outcome.unwrap_or_else(compare::Outcome::not_built)
}
