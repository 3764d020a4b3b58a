//! Judges every machine under `tests/machines` with the real program and compares verdicts and findings.
//!
//! `MACHINE=name cargo test --test machines -- --nocapture` runs one and prints its report; with `KEEP=1` its folder stays. The machines are written from the
//! domain's rules, not from what the program says: where they differ, one of the two is wrong.

#![expect(clippy::disallowed_methods, reason = "tests lay files out and run the program; the fence is for the product")]

#[path = "support/elf.rs"]
mod elf;
#[path = "support/machine.rs"]
mod machine;
#[path = "support/packages.rs"]
mod packages;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use machine::{Built, Machine};
use serde_json::Value;

/// Runs a check on every machine, several at a time, and fails with all that was found.
fn each(check: impl Fn(&Machine, &Built) -> Vec<String> + Sync) {
    let only = std::env::var("MACHINE").ok();
    let mut machines = machine::all();
    machines.retain(|machine| only.as_ref().is_none_or(|name| *name == machine.name));
    assert!(!machines.is_empty(), "no machine of that name");
    let (next, faults) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(machine) = machines.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let mut built = machine::build(machine);
                    if std::env::var_os("KEEP").is_some() {
                        println!("{}: {}", machine.name, built.keep().display());
                    }
                    let found = check(machine, &built);
                    if !found.is_empty() {
                        let text = format!("{} ({})\n    {}", machine.name, machine.about, found.join("\n    "));
                        faults.lock().unwrap().push(text);
                    }
                }
            });
        }
    });
    let mut faults = faults.into_inner().unwrap();
    faults.sort();
    assert!(faults.is_empty(), "{} of {} machines:\n{}", faults.len(), machines.len(), faults.join("\n"));
}

#[test]
fn verdicts_and_findings() {
    each(|machine, built| {
        let (faults, report) = machine::judge(machine, built);
        if std::env::var_os("MACHINE").is_some() {
            println!("{report:#}");
        }
        faults
    });
}

#[test]
fn there_are_enough_machines() {
    let machines = machine::all();
    assert!(machines.len() >= 50, "{} machines", machines.len());
    assert!(machines.iter().filter(|machine| machine.healthy).count() >= 15);
    for machine in &machines {
        assert!(!machine.about.is_empty());
        assert!(!machine.healthy || machine.expect.findings.iter().all(|finding| !finding.ends_with(":deny")));
    }
}

#[test]
fn recorded_facts_give_the_same_report() {
    each(|machine, built| {
        if machine.args.iter().any(|arg| arg == "--assume" || arg == "--python") {
            return Vec::new();
        }
        let facts = built.inspect("facts", &["--no-redact"]);
        let mut faults = machine::orderly(&facts);
        let file = built.beside("facts.json");
        std::fs::write(&file, &facts.stdout).unwrap();
        let mut args = vec!["--format", "json"];
        args.extend(machine.args.iter().map(String::as_str));
        let direct = built.inspect("check", &args);
        args.splice(0..0, ["check", "--facts", file.to_str().unwrap()]);
        let replayed = built.run(&args);
        faults.extend(machine::orderly(&replayed));
        if direct.status.code() != replayed.status.code() {
            faults.push(format!("exit {:?} directly, {:?} from facts", direct.status.code(), replayed.status.code()));
        }
        let (Ok(direct), Ok(replayed)) =
            (serde_json::from_slice::<Value>(&direct.stdout), serde_json::from_slice::<Value>(&replayed.stdout))
        else {
            if !faults.is_empty() || direct.stdout != replayed.stdout {
                faults.push(format!("no JSON: {}", String::from_utf8_lossy(&replayed.stderr).trim()));
            }
            return faults;
        };
        for part in ["verdicts", "findings", "outcomes", "outcome"] {
            if direct[part] != replayed[part] {
                faults.push(format!("{part} differ: {} and {}", direct[part], replayed[part]));
            }
        }
        faults
    });
}

#[test]
fn the_same_machine_gives_the_same_bytes() {
    each(|machine, built| {
        let first = built.inspect("check", &["--format", "json"]);
        let second = built.inspect("check", &["--format", "json"]);
        let differs = first.stdout != second.stdout && machine.name != "nothing";
        if differs { vec!["two runs differ".to_owned()] } else { Vec::new() }
    });
}

#[test]
fn human_reports_match_their_snapshots() {
    each(|machine, built| {
        if !machine.snapshot {
            return Vec::new();
        }
        let mut args: Vec<&str> = machine.args.iter().map(String::as_str).collect();
        args.extend(["--format", "human"]);
        let output = built.inspect("check", &args);
        let seen = String::from_utf8_lossy(&output.stdout).replace(built.root().to_str().unwrap(), "[ROOT]");
        let file = machine::folder().join(format!("{}.txt", machine.name));
        if std::env::var("SNAPSHOTS").as_deref() == Ok("overwrite") {
            std::fs::write(&file, &seen).unwrap();
            return Vec::new();
        }
        match std::fs::read_to_string(&file) {
            Ok(kept) if kept == seen => Vec::new(),
            Ok(kept) => vec![format!(
                "the report has changed (SNAPSHOTS=overwrite keeps the new one)\n--- kept\n{kept}\n+++ now\n{seen}"
            )],
            Err(_) => vec!["no snapshot yet: run with SNAPSHOTS=overwrite and read it".to_owned()],
        }
    });
}

/// Rules that no machine here can show, and where they are tested.
const ELSEWHERE: &[(&str, &str)] = &[
    ("kernel-", "needs a running driver; tested with the kernel runner"),
    ("crate-", "needs a Cargo project; tested with the projects"),
    ("toolkit-", "speaks only where a project or a reader of a variable is there; tested with the projects"),
    ("host-compiler-unsupported", "speaks only where a project compiles CUDA; tested with the projects"),
    ("gpu-not-targeted-by-toolkit", "speaks only where a project compiles CUDA; tested with the projects"),
    ("declared-versions-conflict", "needs requirement files or lock files; tested with the projects"),
    ("requirement-unmet", "needs a policy file; tested with the policy"),
    ("source-sets-variable-too-late", "needs a project's sources; tested with the projects"),
    ("prediction-contradicted", "needs a real interpreter; tested with --run-python"),
    ("ignore-", "needs a policy file; tested with the policy"),
    ("database-old", "depends on the day; tested with the rule"),
    ("driver-branch-ended", "depends on the day; tested with the rule"),
];

#[test]
fn every_rule_fires_somewhere() {
    let nothing = machine::build(machine::all().iter().find(|machine| machine.name == "nothing").unwrap());
    let listed = nothing.run(&["explain", "--list"]);
    let listed = String::from_utf8_lossy(&listed.stdout);
    let rules: BTreeSet<&str> = listed
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| {
            word.contains('-')
                && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        })
        .filter(|word| !word.starts_with('-'))
        .collect();
    assert!(rules.len() > 50, "`explain --list` lists {} rules", rules.len());
    let fired = Mutex::new(BTreeSet::new());
    each(|machine, built| {
        let (_, report) = machine::judge(machine, built);
        fired.lock().unwrap().extend(machine::rules_of(&report));
        Vec::new()
    });
    let fired = fired.into_inner().unwrap();
    let silent: Vec<&&str> = rules
        .iter()
        .filter(|rule| !fired.contains(**rule))
        .filter(|rule| {
            !ELSEWHERE.iter().any(|(name, _)| *name == **rule || name.ends_with('-') && rule.starts_with(name))
        })
        .collect();
    assert!(silent.is_empty(), "no machine makes these fire: {silent:?}");
    let expected: BTreeSet<String> = machine::all()
        .iter()
        .flat_map(|machine| {
            machine
                .expect
                .findings
                .iter()
                .map(|finding| finding.split(':').next().unwrap().to_owned())
                .collect::<Vec<_>>()
        })
        .collect();
    let unknown: Vec<&String> = expected.iter().filter(|rule| !rules.contains(rule.as_str())).collect();
    assert!(unknown.is_empty(), "machines expect rules that do not exist: {unknown:?}");
}
