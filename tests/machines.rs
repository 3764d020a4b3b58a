//! Judges every machine under `tests/machines` with the real program and compares verdicts and findings.
//!
//! `MACHINE=name cargo test --test machines -- --nocapture` runs one and prints its report; with `KEEP=1` its folder stays. The machines are written from the
//! domain's rules, not from what the program says: where they differ, one of the two is wrong.

#![expect(clippy::unwrap_used, reason = "a test that cannot lay its files out has to stop")]
#![expect(clippy::print_stdout, reason = "asked for one machine, the test shows its report")]
#![expect(clippy::disallowed_methods, reason = "tests lay files out and run the program; the fence is for the product")]

#[path = "support/elf.rs"]
#[expect(clippy::cast_possible_truncation, reason = "ELF's own names; small sizes written by this test")]
#[expect(clippy::many_single_char_names, reason = "two texts walked side by side")]
mod elf;
#[expect(clippy::format_push_string, clippy::format_collect, reason = "short texts")]
#[path = "support/machine.rs"]
mod machine;
#[path = "support/packages.rs"]
mod packages;
#[path = "support/schema.rs"]
mod schema;

use std::collections::{BTreeMap, BTreeSet};
use std::process::Output;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use machine::{Built, Machine};
use serde_json::Value;

/// What one machine gave.
#[derive(Default)]
struct Seen {
    name: String,
    about: String,
    rules: Vec<String>,
    /// What is wrong, by the test that tells it.
    faults: BTreeMap<&'static str, Vec<String>>,
}

/// Lays every machine out once, and makes every check of it.
fn seen() -> &'static [Seen] {
    static SEEN: OnceLock<Vec<Seen>> = OnceLock::new();
    SEEN.get_or_init(|| {
        let only = std::env::var("MACHINE").ok();
        let mut machines = machine::all();
        machines.retain(|machine| only.as_ref().is_none_or(|name| *name == machine.name));
        assert!(!machines.is_empty(), "no machine of that name");
        let (next, seen) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while let Some(machine) = machines.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let one = look(machine, only.is_some());
                        seen.lock().unwrap().push(one);
                    }
                });
            }
        });
        let mut seen = seen.into_inner().unwrap();
        seen.sort_by(|a, b| a.name.cmp(&b.name));
        seen
    })
}

fn look(machine: &Machine, aloud: bool) -> Seen {
    let mut built = machine::build(machine);
    if std::env::var_os("KEEP").is_some() {
        println!("{}: {}", machine.name, built.keep().display());
    }
    let (faults, report, direct) = machine::judge(machine, &built);
    if aloud {
        println!("{report:#}");
    }
    let faults = BTreeMap::from([
        (VERDICTS, faults),
        (SAME, same_bytes(machine, &built, &direct)),
        (RECORDED, recorded(machine, &built, &direct, &report)),
        (HUMAN, human(machine, &built, &direct)),
        (SCHEMA, shaped(&report)),
    ]);
    Seen { name: machine.name.clone(), about: machine.about.clone(), rules: machine::rules_of(&report), faults }
}

const VERDICTS: &str = "verdicts and findings";
const SAME: &str = "the same bytes";
const RECORDED: &str = "recorded facts";
const HUMAN: &str = "human reports";
const SCHEMA: &str = "schemas";

/// Fails with all that is wrong.
fn clean(test: &str) {
    let wrong: Vec<String> = seen()
        .iter()
        .filter(|seen| seen.faults.get(test).is_some_and(|faults| !faults.is_empty()))
        .map(|seen| format!("{} ({})\n    {}", seen.name, seen.about, seen.faults[test].join("\n    ")))
        .collect();
    assert!(wrong.is_empty(), "{} of {} machines:\n{}", wrong.len(), seen().len(), wrong.join("\n"));
}

#[test]
fn verdicts_and_findings() {
    clean(VERDICTS);
}

#[test]
fn the_same_machine_gives_the_same_bytes() {
    clean(SAME);
}

#[test]
fn recorded_facts_give_the_same_report() {
    clean(RECORDED);
}

#[test]
fn human_reports_match_their_snapshots() {
    clean(HUMAN);
}

#[test]
fn reports_and_facts_keep_to_their_schemas() {
    clean(SCHEMA);
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

/// What of a report, and of the facts in it, is against the schemas that others read.
fn shaped(report: &Value) -> Vec<String> {
    static SCHEMAS: OnceLock<[schema::Schema; 2]> = OnceLock::new();
    let [of_report, of_facts] = SCHEMAS
        .get_or_init(|| ["report", "facts"].map(|name| schema::Schema::read(&format!("schemas/{name}.schema.json"))));
    // Where it only has to survive there may be none.
    if report.is_null() {
        return Vec::new();
    }
    of_report.faults(report).into_iter().chain(of_facts.faults(&report["facts"])).collect()
}

fn same_bytes(machine: &Machine, built: &Built, direct: &Output) -> Vec<String> {
    let again = machine::check(machine, built);
    if again.stdout == direct.stdout { Vec::new() } else { vec!["two runs differ".to_owned()] }
}

/// Records the facts, judges the record, and compares with the direct report.
fn recorded(machine: &Machine, built: &Built, direct: &Output, report: &Value) -> Vec<String> {
    if machine.args.iter().any(|arg| arg == "--python") {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for redact in [false, true] {
        // How much is read is for the recording to say.
        let (reading, judging): (Vec<&str>, Vec<&str>) = machine
            .args
            .iter()
            .map(String::as_str)
            .partition(|arg| matches!(*arg, "--deep" | "--hashes" | "--sources"));
        let wish = if redact { None } else { Some("--no-redact") };
        let facts = built.inspect("facts", &reading.into_iter().chain(wish).collect::<Vec<_>>());
        faults.extend(machine::orderly(&facts));
        let file = built.beside("facts.json");
        std::fs::write(&file, &facts.stdout).unwrap();
        let mut args = vec!["check", "--facts", file.to_str().unwrap(), "--format", "json"];
        args.extend(judging);
        let replayed = Built::run(&args);
        faults.extend(machine::orderly(&replayed));
        if direct.status.code() != replayed.status.code() {
            faults.push(format!("exit {:?} directly, {:?} from facts", direct.status.code(), replayed.status.code()));
        }
        let Ok(replayed) = serde_json::from_slice::<Value>(&replayed.stdout) else {
            faults.push(format!("no JSON: {}", String::from_utf8_lossy(&replayed.stderr).trim()));
            return if report.is_null() { Vec::new() } else { faults };
        };
        if redact {
            // Names differ, what is concluded does not.
            if gist(report) != gist(&replayed) {
                faults.push(format!("redacted differ: {:#?} and {:#?}", gist(report), gist(&replayed)));
            }
            continue;
        }
        for part in ["verdicts", "findings", "outcomes", "outcome"] {
            if report[part] != replayed[part] {
                faults.push(format!("{part} differ: {} and {}", report[part], replayed[part]));
            }
        }
    }
    faults
}

/// What a report concludes, without the words in which it does.
fn gist(report: &Value) -> Vec<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let findings = list(&report["findings"]).into_iter().map(|it| format!("{} {}", it["rule"], it["level"]));
    let environments = list(&report["verdicts"]["environments"]).into_iter().map(|it| {
        let (tensorflow, keras) = (&it["tensorflow"], &it["keras"]);
        format!(
            "{} {} {} {} {}",
            tensorflow["sees_gpu"],
            tensorflow["runs_on_gpu"],
            tensorflow["because"],
            keras["uses_gpu"],
            keras["because"]
        )
    });
    let outcomes = [&report["outcomes"]["passed"], &report["outcomes"]["not_applicable"]].map(ToString::to_string);
    let unknown = list(&report["outcomes"]["unknown"]).into_iter().map(|it| it["rule"].to_string());
    findings.chain(environments).chain(outcomes).chain(unknown).collect()
}

/// Compares the human report with the one that is kept, and its exit code with that of JSON.
fn human(machine: &Machine, built: &Built, direct: &Output) -> Vec<String> {
    let mut args: Vec<&str> = machine.args.iter().map(String::as_str).collect();
    args.extend(["--format", "human"]);
    let output = built.inspect("check", &args);
    let mut faults = machine::orderly(&output);
    if direct.status.code() != output.status.code() {
        faults.push(format!("exit {:?} as JSON, {:?} for people", direct.status.code(), output.status.code()));
    }
    if !machine.snapshot || !faults.is_empty() {
        return faults;
    }
    let now = String::from_utf8_lossy(&output.stdout).replace(built.root().to_str().unwrap(), "[ROOT]");
    // Which data it was changes with every change of the data.
    let now: String = now.split_inclusive('\n').filter(|line| !line.starts_with("database revision ")).collect();
    let file = machine::folder().join(format!("{}.txt", machine.name));
    if std::env::var("SNAPSHOTS").as_deref() == Ok("overwrite") {
        std::fs::write(&file, &now).unwrap();
        return Vec::new();
    }
    match std::fs::read_to_string(&file) {
        Ok(kept) if uncounted(&kept) == uncounted(&now) => Vec::new(),
        Ok(kept) => {
            vec![format!("it has changed (SNAPSHOTS=overwrite keeps the new one)\n--- kept\n{kept}\n+++ now\n{now}")]
        }
        Err(_) => vec!["no snapshot yet: run with SNAPSHOTS=overwrite and read it".to_owned()],
    }
}

/// A report without the counts of rules, which change with every rule that is added.
fn uncounted(report: &str) -> String {
    let line = |line: &str| match line.split_once("; ") {
        Some((head, rest)) if rest.contains(" not apply") => format!("{head}\n"),
        _ => format!("{line}\n"),
    };
    report.lines().map(line).collect()
}

/// Rules that no machine here can show, and where they are tested.
const ELSEWHERE: &[(&str, &str)] = &[
    ("kernel-", "needs a driver that answers; tested in tests/kernel.rs with a stand-in"),
    ("gpu-memory-failing", "needs an NVML that answers; tested in tests/kernel.rs with a stand-in"),
    ("library-computation-failed", "needs a driver that answers; tested in tests/libraries.rs with stand-ins"),
    ("toolkit-", "speaks only where a project or a reader of a variable is there; tested with the projects"),
    ("host-compiler-unsupported", "speaks only where a project compiles CUDA; tested with the projects"),
    ("gpu-not-targeted-by-toolkit", "speaks only where a project compiles CUDA; tested with the projects"),
    ("requirement-unmet", "needs a policy file; tested with the policy"),
    ("source-sets-variable-too-late", "needs a project's sources; tested with the projects"),
    ("prediction-contradicted", "needs an interpreter: tests/run_python.rs"),
    ("ignore-", "needs a policy file; tested with the policy"),
    ("database-old", "depends on the day; tested with the rule"),
    ("driver-branch-ended", "depends on the day; tested with the rule"),
];

#[test]
fn every_rule_fires_somewhere() {
    let listed = Built::run(&["explain", "--list"]);
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
    let fired: BTreeSet<&String> = seen().iter().flat_map(|seen| &seen.rules).collect();
    let silent: Vec<&&str> = rules
        .iter()
        .filter(|rule| !fired.iter().any(|name| *name == *rule))
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
