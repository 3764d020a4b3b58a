//! The program from the outside: help, exit codes, streams, faults of the policy and of the command line.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests stand outside of the seam: they lay out files and run the program"
)]

use std::path::Path;

use snapbox::cmd::{Command, cargo_bin};
use snapbox::{Assert, Data, str};

const COMMANDS: [&str; 18] = [
    "",
    "check",
    "facts",
    "kernel",
    "explain",
    "db",
    "db show",
    "db query",
    "db export",
    "db lint",
    "db verify",
    "db update",
    "hook",
    "hook install",
    "hook uninstall",
    "hook run",
    "init",
    "completions",
];

/// The program, with an empty folder as its machine's environment: no variable of the tester leaks in.
fn doctor(cwd: &Path) -> Command {
    Command::new(cargo_bin!("cargo-gpu-doctor")).env_clear().env("HOME", "/nonexistent").current_dir(cwd)
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// A bus without devices: a tree that has none tells nothing of GPUs.
fn bus(root: &Path) {
    std::fs::create_dir_all(root.join("sys/bus/pci/devices")).unwrap();
}

/// An empty machine, judged with these options.
fn check(dir: &Path, args: &[&str]) -> Command {
    bus(&dir.join("machine"));
    doctor(dir).args(["check", "--root", "machine"]).args(args)
}

fn stdout(command: Command) -> String {
    String::from_utf8(command.output().unwrap().stdout).unwrap()
}

fn stderr(command: Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "data only goes to standard output");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn long_help_of_every_command() {
    let dir = folder();
    for name in COMMANDS {
        let (file, args) = match name {
            "" => ("help", vec!["--help"]),
            name => (name, name.split(' ').chain(["--help"]).collect()),
        };
        let file = file.replace(' ', "-");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/snapshots/{file}.txt"));
        doctor(dir.path()).args(args).assert().success().stdout_eq(Data::read_from(&path, None).raw()).stderr_eq("");
    }
}

/// One page for all: the options of the default command, then each other command with its own.
fn man_page() -> String {
    let mut command = gpu_doctor::cli::command().bin_name("cargo gpu-doctor").after_long_help(None);
    command.build();
    let page = clap_mangen::Man::new(command.clone());
    let mut text = Vec::new();
    page.render_title(&mut text).unwrap();
    page.render_name_section(&mut text).unwrap();
    text.extend(b".SH SYNOPSIS\n\\fBcargo gpu\\-doctor\\fR [\\fIcommand\\fR] [\\fIoptions\\fR]\n");
    page.render_description_section(&mut text).unwrap();
    page.render_options_section(&mut text).unwrap();
    text.extend(b".SH COMMANDS\n");
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        let mut options = Vec::new();
        let about = sub.get_about().unwrap();
        text.extend(format!(".SS {}\n{about}\n", sub.get_name()).into_bytes());
        if sub.get_name() != "check" {
            clap_mangen::Man::new(sub.clone()).render_options_section(&mut options).unwrap();
            text.extend(String::from_utf8(options).unwrap().replace(".SH OPTIONS\n", ".PP\n").into_bytes());
        }
        for below in sub.get_subcommands().filter(|below| below.get_name() != "help") {
            let mut options = Vec::new();
            let about = below.get_about().unwrap();
            text.extend(format!(".SS {} {}\n{about}\n", sub.get_name(), below.get_name()).into_bytes());
            clap_mangen::Man::new(below.clone()).render_options_section(&mut options).unwrap();
            text.extend(String::from_utf8(options).unwrap().replace(".SH OPTIONS\n", ".PP\n").into_bytes());
        }
    }
    text.extend(b".SH EXIT STATUS\nThe same for every format.\n");
    for (code, means) in [
        (0, "Nothing was denied."),
        (2, "The command line or a configuration file is wrong."),
        (100, "At least one finding was denied."),
        (101, "The check did not finish."),
    ] {
        text.extend(format!(".TP\n\\fB{code}\\fR\n{means}\n").into_bytes());
    }
    text.extend(b".SH ENVIRONMENT\nThese steer the output:\n");
    let variables = |list: &[gpu_doctor::env::Variable]| -> String {
        let entry =
            |it: &gpu_doctor::env::Variable| format!(".TP\n\\fB{}\\fR\n{}\n", it.name, it.doc.replace('`', "\""));
        list.iter().map(entry).collect()
    };
    text.extend(variables(gpu_doctor::env::OWN).into_bytes());
    text.extend(b".PP\nThese belong to the machine that is inspected:\n");
    text.extend(variables(gpu_doctor::env::VARIABLES).into_bytes());
    text.extend(b".PP\nThese belong to the commands of \\fBdb\\fR:\n");
    text.extend(variables(gpu_doctor::env::DATABASE).into_bytes());
    text.extend(b".PP\nThese are read where a build script calls gpu_doctor::build_script:\n");
    text.extend(variables(gpu_doctor::env::BUILD_SCRIPT).into_bytes());
    text.extend(
        b".SH FILES\nThe policy is read from gpu\\-doctor.toml in the working folder or above it up to the root of the \
          Cargo workspace, and from [package.metadata.gpu\\-doctor] and [workspace.metadata.gpu\\-doctor] of Cargo.toml.\n",
    );
    String::from_utf8(text).unwrap()
}

#[test]
fn the_man_page_is_current() {
    let page = man_page();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("man/cargo-gpu-doctor.1");
    Assert::new().action_env("SNAPSHOTS").eq(page, Data::read_from(&path, None).raw());
}

#[test]
fn the_command_line_is_sound() {
    gpu_doctor::cli::command().debug_assert();
}

#[test]
fn cargo_calls_it_by_its_name() {
    let dir = folder();
    let version = format!("cargo-gpu-doctor {}\n", env!("CARGO_PKG_VERSION"));
    doctor(dir.path()).args(["gpu-doctor", "--version"]).assert().success().stdout_eq(version.clone());
    doctor(dir.path()).arg("--version").assert().success().stdout_eq(version);
}

#[test]
fn mistakes_on_the_command_line_end_with_2() {
    let dir = folder();
    write(dir.path(), "file", "");
    for (args, says) in [
        (&["--nonsense"][..], "--nonsense"),
        (&["--root", "missing"], "--root missing: not found"),
        (&["--root", "file"], "--root file: not a folder"),
        (&["--assume", "gpu"], "KEY=VALUE"),
        (&["--assume", "gpus=9"], "unknown key `gpus`; known are driver, gpu, python, cuda"),
        (&["--assume", "gpu=nine"], "not a dotted version"),
        (&["--deny", "gpu-absnt"], "a rule with a similar name exists: `gpu-absent`"),
        (&["--warn", "zzz"], "explain --list"),
        (&["--python", "no/such"], "--python no/such"),
        (&["--manifest-path", "no/Cargo.toml"], "--manifest-path no/Cargo.toml: no such file"),
        (&["--package", "p"], "there is no Cargo project here"),
        (&["--hashes"], "--deep"),
        (&["--facts", "f", "--root", "."], "cannot be used with"),
        (&["--facts", "missing.json"], "--facts: missing.json: not found"),
        (&["explain"], "RULE"),
        (&["explain", "ignore-unusd"], "`ignore-unused`"),
        (&["completions", "no-shell"], "no-shell"),
        (&["db"], "Usage"),
        (&["db", "show", "kuda"], "kuda"),
        (&["db", "query", "cuda", "99.9"], "no row of `cuda` is about `99.9`"),
        (&["db", "lint", "no/such"], "no/such: no such folder"),
        (&["--output", "no/such/folder", "--root", "."], "--output no/such/folder"),
    ] {
        let command = || doctor(dir.path()).args(args);
        command().assert().code(2);
        let said = stderr(command());
        assert!(said.contains(says), "{args:?}: {said}");
    }
}

#[test]
fn a_faulty_env_file_ends_with_2_and_its_line() {
    let dir = folder();
    std::fs::write(dir.path().join("bad"), "A=1\n\nnonsense\n").unwrap();
    std::fs::write(dir.path().join("note"), "A=1\n# note\n").unwrap();
    std::fs::write(dir.path().join("good"), "\u{feff}KERAS_BACKEND=\n").unwrap();
    std::fs::write(dir.path().join("bytes"), b"A=1\nB=\xff\n").unwrap();
    for (file, says) in [
        ("bad", "--env-file bad: line 3: no `KEY=VALUE`"),
        ("note", "--env-file note: line 2: no `KEY=VALUE`: comments are not known here"),
        ("bytes", "--env-file bytes: line 2: not UTF-8"),
        ("missing", "--env-file missing: not found"),
    ] {
        check(dir.path(), &["--env-file", file]).assert().code(2);
        let said = stderr(check(dir.path(), &["--env-file", file]));
        assert!(said.contains(says), "{said}");
    }
    let good = stdout(doctor(dir.path()).args(["facts", "--root", "machine", "--env-file", "good"]));
    let good: serde_json::Value = serde_json::from_str(&good).unwrap();
    assert_eq!(good["env"], serde_json::json!({"KERAS_BACKEND": ""}));
}

#[test]
fn all_faults_of_the_policy_are_told_at_once() {
    let dir = folder();
    write(
        dir.path(),
        "machine/gpu-doctor.toml",
        "gpu = \"maybe\"\n[rules]\ngpu-absnt = \"deny\"\n\n[[ignore]]\nrule = \"gpu-absent\"\n",
    );
    check(dir.path(), &[]).assert().code(2).stdout_eq("").stderr_eq(str![[r#"
error: must be one of "required", "optional", "none"
 --> gpu-doctor.toml:1:7
  |
1 | gpu = "maybe"
  |       ^^^^^^^

error: an ignore needs a `reason`
 --> gpu-doctor.toml:5:1
  |
5 | [[ignore]]
  | ^^^^^^^^^^
  |
help: add `reason = "…"`: why this finding is let pass

error: unknown rule `gpu-absnt`
 --> gpu-doctor.toml:3:1
  |
3 | gpu-absnt = "deny"
  | ^^^^^^^^^
  |
help: a rule with a similar name exists: `gpu-absent`

"#]]);
}

#[test]
fn the_policy_of_the_manifest_is_read() {
    let dir = folder();
    let manifest = "[package]\nname = \"p\"\n[package.metadata.gpu-doctor]\ngpus = 1\n";
    write(dir.path(), "machine/w/p/Cargo.toml", manifest);
    let said = stderr(check(dir.path(), &["--manifest-path", "/w/p/Cargo.toml"]));
    assert!(said.contains("/Cargo.toml:4:1"), "{said}");
    // Facts are readings: no policy stands in their way.
    doctor(dir.path()).args(["facts", "--root", "machine", "--manifest-path", "/w/p/Cargo.toml"]).assert().success();
}

#[test]
fn an_ignore_that_nothing_needs_is_said_and_can_be_denied() {
    let dir = folder();
    let text = "[[ignore]]\nrule = \"keras-backend-cpu-only\"\nreason = \"known\"\nexpires = 2020-01-01\n\
                [[ignore]]\nrule = \"keras-backend-cpu-only\"\nreason = \"known\"\n";
    write(dir.path(), "machine/gpu-doctor.toml", text);
    let warned = ["--gpu", "none", "--warn", "ignore-unused", "--warn", "ignore-expired"];
    check(dir.path(), &warned).assert().code(0);
    let said = stdout(check(dir.path(), &warned));
    assert!(said.contains("warning[ignore-expired]"), "{said}");
    assert!(said.contains("= gpu-doctor.toml:2 says: known"), "{said}");
    assert!(said.contains("warning[ignore-unused]"), "{said}");
    check(dir.path(), &[&warned[..], &["--deny", "ignore-unused"]].concat()).assert().code(100);
    let levels = ["--gpu", "none", "--deny", "ignore-unused", "--allow", "ignore-unused", "--allow", "ignore-expired"];
    check(dir.path(), &levels).assert().code(0);
    assert!(!stdout(check(dir.path(), &levels)).contains("ignore-"));
}

#[test]
fn what_is_required_has_to_be_there() {
    let dir = folder();
    let text = "[requires]\ndriver = \">=550\"\ncompute-capability = \">=8.0\"\n";
    write(dir.path(), "machine/gpu-doctor.toml", text);
    let said = stdout(check(dir.path(), &[]));
    let absent = "error[requirement-unmet]: there is no NVIDIA driver here, and the policy requires >=550";
    assert!(said.contains(absent) && said.contains("gpu-doctor.toml:2 says: driver = \">=550\""), "{said}");
    for (assume, code) in [
        (&["driver=550.54.14", "gpu=9.0"][..], 0),
        (&["driver=535.54.03", "gpu=9.0"], 100),
        (&["driver=550.54.14", "gpu=7.5"], 100),
        (&["driver=550.54.14"], 100),
    ] {
        check(dir.path(), &[&["--assume"][..], assume].concat()).assert().code(code);
    }
    // A driver that is known by the CUDA that it reports may be old enough or not.
    let vague = ["--assume", "cuda=12.4", "gpu=9.0"];
    check(dir.path(), &vague).assert().code(0);
    check(dir.path(), &[&vague[..], &["--strict"]].concat()).assert().code(100);
    // Where no GPU is wanted, none is required.
    check(dir.path(), &["--gpu", "none"]).assert().code(0);
    check(dir.path(), &["--allow", "requirement-unmet"]).assert().code(0);
}

#[test]
fn three_ways_to_have_no_gpu_are_told_apart() {
    let dir = folder();
    bus(&dir.path().join("machine"));
    write(dir.path(), "image/x", "");
    let of = |tree: &str, args: &[&str]| {
        let all = |format: &str| {
            let tree = doctor(dir.path()).args(["check", "--root", tree, "--format", format]);
            stdout(tree.args(args))
        };
        let report: serde_json::Value = serde_json::from_str(&all("json")).unwrap();
        (report["gpu"].clone(), all("human"))
    };
    let gpu = "/sys/bus/pci/devices/0000:01:00.0";
    for (name, says) in [("vendor", "0x10de\n"), ("device", "0x2330\n"), ("class", "0x030200\n")] {
        write(dir.path(), &format!("idle{gpu}/{name}"), says);
    }
    write(dir.path(), "idle/proc/modules", "ext4 1 0 - Live 0x0\n");

    let (json, human) = of("machine", &["--gpu", "none"]);
    assert_eq!(json, serde_json::json!({"wanted": "none", "state": "not-wanted", "because": []}));
    assert!(human.starts_with("GPU      none, and none is wanted\n"), "{human}");
    let (json, human) = of("machine", &["--gpu", "required"]);
    assert_eq!(json, serde_json::json!({"wanted": "required", "state": "absent", "because": ["gpu-absent"]}));
    assert!(human.starts_with("GPU      none, and one is required\n"), "{human}");
    let (json, human) = of("machine", &[]);
    assert_eq!(json["wanted"], "optional");
    assert!(human.starts_with("GPU      none\n"), "{human}");
    // Of an image nobody can tell.
    let (json, human) = of("image", &["--gpu", "required"]);
    assert_eq!(json, serde_json::json!({"wanted": "required", "state": "unknown", "because": ["gpu-absent"]}));
    assert!(human.starts_with("GPU      not known\n"), "{human}");
    let (json, human) = of("idle", &["--gpu", "required"]);
    assert_eq!(json["state"], "unusable", "{json}");
    assert_eq!(json["because"][0], "driver-not-loaded", "{json}");
    assert!(human.contains("\n         no program can use it: driver-not-loaded"), "{human}");
    let (json, human) = of("idle", &["--gpu", "none"]);
    assert_eq!(json["state"], "not-wanted");
    assert!(human.contains("\n         not looked at: none is wanted\n"), "{human}");
    let (json, _) = of("machine", &["--assume", "gpu=9.0", "driver=550.54.14"]);
    assert_eq!(json["state"], "usable");
}

#[test]
fn the_report_has_its_keys_in_order() {
    let dir = folder();
    let text = stdout(check(dir.path(), &["--format", "json", "--timings"]));
    let report: serde_json::Value = serde_json::from_str(&text).unwrap();
    let keys = ["schema", "tool", "database", "outcome", "exit_code", "verdicts", "findings", "outcomes", "facts"];
    let places: Vec<usize> =
        keys.iter().chain(&["timings_ms"]).map(|key| text.find(&format!("\n  \"{key}\":")).expect(key)).collect();
    assert!(places.is_sorted(), "{places:?}");
    assert_eq!(report["schema"], 1);
    assert_eq!(report["outcome"], "ok");
    assert_eq!(report["exit_code"], 0);
    for stage in ["total", "probe", "probe.machine", "probe.driver", "probe.python"] {
        assert!(report["timings_ms"][stage].is_number(), "{stage}");
    }
    assert!(stdout(check(dir.path(), &["--timings"])).contains("\n probe.python "));
    assert!(report["outcomes"]["ignored"].is_array());
    let mut keys: Vec<&str> = report["findings"][0].as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["consequences", "evidence", "help", "level", "row", "rule", "subject", "title"]);
    assert!(report["findings"][0]["consequences"].is_array());
}

#[test]
fn the_same_facts_give_the_same_bytes_and_a_second_copy() {
    let dir = folder();
    let first = stdout(check(dir.path(), &["--format", "json", "--output", "copy.json"]));
    assert_eq!(first, stdout(check(dir.path(), &["--format", "json"])));
    assert_eq!(first, std::fs::read_to_string(dir.path().join("copy.json")).unwrap());
}

#[test]
fn recorded_facts_are_judged_one_by_one() {
    let dir = folder();
    check(dir.path(), &[]).assert().success();
    let facts = stdout(doctor(dir.path()).args(["facts", "--root", "machine"]));
    let line = serde_json::to_string(&serde_json::from_str::<serde_json::Value>(&facts).unwrap()).unwrap();
    write(dir.path(), "facts.json", &facts);
    if !facts.contains("\"schema\": 1") {
        return;
    }

    let one = stdout(doctor(dir.path()).args(["check", "--format", "json", "--facts", "facts.json"]));
    assert!(one.lines().count() > 1, "one report is for reading");
    let lines = format!("{line}\n{line}\n");
    let two = stdout(doctor(dir.path()).args(["check", "--format", "json", "--facts", "-"]).stdin(lines.clone()));
    assert_eq!(two.lines().count(), 2);
    let reports: Vec<serde_json::Value> = two.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(reports[0], serde_json::from_str::<serde_json::Value>(&one).unwrap());

    let human = stdout(doctor(dir.path()).args(["--facts", "facts.json", "facts.json"]));
    assert_eq!(human.matches("=== facts.json ===").count(), 2, "{human}");
    let human = stdout(doctor(dir.path()).args(["--facts", "-"]).stdin(lines));
    assert!(human.contains("=== standard input, document 2 ==="), "{human}");
}

#[test]
fn the_exit_code_does_not_depend_on_the_format() {
    let dir = folder();
    check(dir.path(), &[]).assert().success();
    write(dir.path(), "facts.json", &stdout(doctor(dir.path()).args(["facts", "--root", "machine"])));
    write(dir.path(), "broken.json", "{");
    write(dir.path(), "faulty/gpu-doctor.toml", "gpus = 1\n");
    write(dir.path(), "image/x", "");
    for (args, code) in [
        (&["--root", "machine"][..], 0),
        (&["--root", "machine", "--gpu", "required"], 100),
        (&["--root", "machine", "--deny", "gpu-absent"], 100),
        (&["--root", "image", "--gpu", "required"], 0),
        (&["--root", "image", "--gpu", "required", "--strict"], 100),
        (&["--root", "machine", "--assume", "gpu=9.0"], 0),
        (&["--root", "machine", "--assume", "gpu=9.0", "--strict"], 100),
        (&["--facts", "facts.json", "facts.json"], 0),
        (&["--facts", "facts.json", "facts.json", "--gpu", "required"], 100),
        (&["--facts", "facts.json", "broken.json"], 2),
        (&["--root", "faulty"], 2),
        (&["--root", "machine", "--launch", "require"], 100),
        (&["--facts", "facts.json", "--launch", "require"], 100),
        (&["--facts", "facts.json", "--launch", "never"], 0),
    ] {
        for format in ["human", "json"] {
            let output = doctor(dir.path()).arg("check").args(args).args(["--format", format]).output().unwrap();
            assert_eq!(output.status.code(), Some(code), "{args:?} as {format}");
        }
    }
}

#[test]
fn the_table_of_options_is_that_of_the_program() {
    let help = |command: &str| {
        let args: Vec<&str> = command.split_whitespace().chain(["--help"]).collect();
        stdout(doctor(Path::new(".")).args(&args))
    };
    let takes = |command: &str, option: &str| {
        let help = help(command);
        help.lines()
            .map(str::trim_start)
            .filter(|line| line.starts_with('-'))
            .any(|line| line.split([' ', ',', '=', '<', '[', '.']).any(|word| word == option))
    };
    let databases = ["db show", "db query", "db export", "db lint", "db verify", "db update"];
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (_, table) = readme.split_once("| option | also for | meaning |\n").unwrap();
    let mut seen = 0;
    for row in table.lines().skip(1).take_while(|line| line.starts_with('|')) {
        let row = row.replace("\\|", "/");
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        if cells[2].ends_with(" only") {
            continue;
        }
        let options = cells[1].split(['`', ' ', ',']).filter(|word| word.starts_with("--"));
        for option in options {
            seen += 1;
            assert!(takes("check", option) && takes("kernel", option), "{option}");
            let mut also: Vec<&str> = ["facts", "explain"].into_iter().filter(|it| takes(it, option)).collect();
            let all = databases.iter().all(|it| takes(it, option));
            also.extend(all.then_some("db"));
            // A package of the database is another thing than one of a workspace.
            also.extend(databases.into_iter().filter(|it| !all && option != "--package" && takes(it, option)));
            also.extend(["hook run", "init"].into_iter().filter(|it| takes(it, option)));
            let mut said: Vec<&str> =
                cells[2].split('`').filter(|word| !word.trim_matches([',', ' ']).is_empty()).collect();
            also.sort_unstable();
            said.sort_unstable();
            assert_eq!(said, also, "{option}");
        }
    }
    assert!(seen > 25, "{seen}");
}

#[test]
fn the_table_of_variables_is_that_of_the_program() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let (_, section) = readme.split_once("\n## Environment variables\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    // Those of `db` are no part of the machine that is judged.
    let rows: Vec<&str> = section
        .split("\nThose ")
        .filter(|table| !table.starts_with("that `db` reads"))
        .flat_map(|table| table.lines().filter(|line| line.starts_with("| `")))
        .collect();
    let variables = gpu_doctor::env::VARIABLES.iter().chain(gpu_doctor::env::OWN).chain(gpu_doctor::env::BUILD_SCRIPT);
    let wanted: Vec<String> = variables.map(|it| format!("| `{}` | {} |", it.name, it.doc)).collect();
    assert_eq!(rows, wanted);
}

#[test]
fn assumptions_are_laid_over_recorded_facts() {
    let dir = folder();
    let recorded = stdout(check(dir.path(), &["--format", "json"]));
    write(dir.path(), "facts.json", &stdout(doctor(dir.path()).args(["facts", "--root", "machine"])));
    let old = stdout(doctor(dir.path()).args(["facts", "--root", "machine", "--assume", "gpu=7.0", "python=3.9"]));
    write(dir.path(), "old.json", &old);
    let assume = ["--assume", "gpu=9.0", "driver=550.54.14"];
    let judged = |files: &[&str]| {
        let command = doctor(dir.path()).args(["check", "--format", "json", "--facts"]).args(files).args(assume);
        let text = stdout(command);
        let reports = serde_json::Deserializer::from_str(&text).into_iter::<serde_json::Value>();
        reports.map(Result::unwrap).collect::<Vec<_>>()
    };
    let live: serde_json::Value =
        serde_json::from_str(&stdout(check(dir.path(), &[&["--format", "json"][..], &assume].concat()))).unwrap();
    assert_eq!(judged(&["facts.json"]), std::slice::from_ref(&live));
    assert!(recorded.contains("gpu-absent") && !live["findings"].to_string().contains("gpu-absent"));
    let both = judged(&["facts.json", "old.json"]);
    assert_eq!(both[0], live);
    let says = |report: &serde_json::Value| -> Vec<String> {
        let assumed = report["facts"]["assumed"].as_array().unwrap().iter();
        assumed.map(|it| it["evidence"]["says"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(says(&both[0]), ["driver=550.54.14", "gpu=9.0"]);
    assert_eq!(says(&both[1]), ["driver=550.54.14", "gpu=9.0", "python=3.9"]);
    let human = stdout(doctor(dir.path()).args(["--facts", "facts.json"]).args(assume));
    assert!(human.contains("compute 9.0 (assumed)") && human.contains("550.54.14 (assumed)"), "{human}");
}

#[test]
fn facts_of_another_shape_end_with_2() {
    let dir = folder();
    write(dir.path(), "newer.json", "{\"schema\": 99, \"news\": 1}");
    write(dir.path(), "broken.json", "{\"schema\": 1,");
    write(dir.path(), "other.json", "{\"hello\": 1}");
    for (file, says) in [
        ("newer.json", "these facts have schema 99"),
        ("broken.json", "EOF"),
        ("other.json", "it has no `schema` of facts"),
    ] {
        doctor(dir.path()).args(["--facts", file]).assert().code(2);
        let said = stderr(doctor(dir.path()).args(["--facts", file]));
        assert!(said.contains(says), "{said}");
    }
}

#[test]
fn explain_knows_every_rule() {
    let dir = folder();
    let list = stdout(doctor(dir.path()).args(["explain", "--list"]));
    for rule in gpu_doctor::rules::all() {
        assert!(list.contains(rule.id));
        let page = stdout(doctor(dir.path()).args(["explain", rule.id]));
        assert!(page.starts_with(rule.id), "{page}");
    }
    let json = stdout(doctor(dir.path()).args(["explain", "--list", "--format", "json"]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["rules"].as_array().unwrap().len(), gpu_doctor::rules::all().len());
}

#[test]
fn completions_are_written_for_every_shell() {
    let dir = folder();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(stdout(doctor(dir.path()).args(["completions", shell])).contains("cargo-gpu-doctor"), "{shell}");
    }
}

#[test]
fn colour_comes_only_where_it_is_asked_for() {
    let dir = folder();
    let coloured = |command: Command| stdout(command).contains('\u{1b}');
    assert!(!coloured(check(dir.path(), &[])));
    assert!(coloured(check(dir.path(), &["--color", "always"])));
    assert!(coloured(check(dir.path(), &[]).env("CARGO_TERM_COLOR", "always")));
    assert!(!coloured(check(dir.path(), &[]).env("CARGO_TERM_COLOR", "always").env("NO_COLOR", "1")));
    assert!(!coloured(check(dir.path(), &["--color", "never"]).env("CLICOLOR_FORCE", "1")));
    check(dir.path(), &["--color", "always", "--output", "copy"]).assert().success();
    assert!(!std::fs::read_to_string(dir.path().join("copy")).unwrap().contains('\u{1b}'));
}

#[test]
fn the_database_can_be_read_and_asked() {
    let dir = folder();
    let db = |args: &[&str]| doctor(dir.path()).arg("db").args(args);
    let said = stdout(db(&["show"]));
    assert!(said.starts_with("database revision ") && said.contains("(embedded)"), "{said}");
    assert!(stdout(db(&["show", "cuda"])).lines().count() > 20);
    let said = stdout(db(&["query", "tensorflow", "2.18", "--platform", "linux-x86_64"]));
    assert!(said.contains("tensorflow 2.18.0 linux-x86_64\n") && said.contains("tensorflow-cpu 2.18.1 "), "{said}");
    assert!(said.contains("source         pkg:pypi/tensorflow@2.18.0#"), "{said}");
    let said = stdout(db(&["query", "cudnn", "9.1.0.70", "--format", "json"]));
    let rows: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(rows["rows"][0]["version"], "9.1.0");
    for (table, wanted, holds) in [
        ("gpu", "nvidia h100", "\nNVIDIA H100 PCIe\n"),
        ("gpu", "0x2330", "NVIDIA H100"),
        ("driver", "535.183.01", "535\n"),
    ] {
        let said = stdout(db(&["query", table, wanted]));
        assert!(format!("\n{said}").contains(holds), "{table} {wanted}: {said}");
    }
    let said = stdout(db(&["query", "keras", "3.1"]));
    assert!(said.contains("keras 3.1.1\n") && !said.contains("keras 3.10") && !said.contains("keras 3.11"), "{said}");
    db(&["query", "tensorflow", "2.18.00"]).assert().code(2);
}

#[test]
fn an_export_is_a_database_again() {
    let dir = folder();
    let db = |args: &[&str]| doctor(dir.path()).arg("db").args(args);
    let text = stdout(db(&["export", "--format", "json"]));
    let document = gpu_doctor::db::document::Document::parse(&text).unwrap();
    assert_eq!(document.tables, gpu_doctor::db::Database::embedded().rows());
    let one: serde_json::Value = serde_json::from_str(&stdout(db(&["export", "keras"]))).unwrap();
    assert_eq!(one["tables"].as_object().unwrap().len(), 1);
    let csv = stdout(db(&["export", "--format", "csv", "keras"]));
    assert!(csv.starts_with("package,version,"), "{csv}");
    assert_eq!(csv.matches("\r\n").count(), document.tables.keras.len() + 1);
    let csv = stdout(db(&["export", "--format", "csv"]));
    assert!(csv.contains("cuda,12.4.1,driver_linux,"), "{csv}");
}

#[test]
fn data_files_are_linted() {
    let dir = folder();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    let lint = |args: &[&str]| doctor(dir.path()).args(["db", "lint"]).args(args);
    lint(&[]).assert().success();
    lint(&[data.to_str().unwrap()]).assert().success();
    for entry in std::fs::read_dir(data).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
    }
    write(dir.path(), "compat.toml", "[[compat]]\ncuda = \"12.3\"\nbranch = 5\n");
    lint(&["."]).assert().code(2);
    let said = stdout(lint(&["."]));
    assert!(said.contains("error: unknown key `branch`\n --> ./compat.toml:3:1"), "{said}");
    let report: serde_json::Value = serde_json::from_str(&stdout(lint(&[".", "--format", "json"]))).unwrap();
    assert_eq!(report["faults"][1]["line"], 3);
}

#[test]
fn a_closed_pipe_is_no_fault() {
    let dir = folder();
    bus(dir.path());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut child = std::process::Command::new(cargo_bin!("cargo-gpu-doctor"));
    let output = child.args(["explain", "--list"]).current_dir(&dir).stdout(writer).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn who_reads_no_further_changes_no_verdict() {
    let dir = folder();
    bus(dir.path());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut child = std::process::Command::new(cargo_bin!("cargo-gpu-doctor"));
    let args = ["check", "--static", "--gpu", "required", "--root", "."];
    let output = child.args(args).current_dir(&dir).stdout(writer).output().unwrap();
    assert_eq!(output.status.code(), Some(100));
}

#[test]
fn a_folder_that_is_no_environment_is_a_mistake() {
    let dir = folder();
    std::fs::create_dir_all(dir.path().join("app/.venv/bin")).unwrap();
    std::fs::write(dir.path().join("app/.venv/pyvenv.cfg"), "version = 3.11.2\n").unwrap();
    let mut child = std::process::Command::new(cargo_bin!("cargo-gpu-doctor"));
    let output = child.args(["check", "--static", "--python", "app"]).current_dir(&dir).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("no environment folder") && said.contains("app/.venv?"), "{said}");
}

#[test]
fn a_full_disk_is_told() {
    let dir = folder();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut child = std::process::Command::new(cargo_bin!("cargo-gpu-doctor"));
    let output = child.args(["explain", "--list"]).current_dir(&dir).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(101));
}
