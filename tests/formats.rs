//! What `check` writes for other tools, held against their schemas; many machines at once; what `init` writes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::disallowed_methods, reason = "tests lay files out and run the program; the fence is for the product")]

#[path = "support/elf.rs"]
#[expect(clippy::cast_possible_truncation, reason = "ELF's own names; small sizes written by this test")]
#[expect(clippy::many_single_char_names, reason = "two texts walked side by side")]
mod elf;
#[path = "support/machine.rs"]
#[expect(clippy::format_push_string, clippy::format_collect, reason = "short texts")]
#[expect(dead_code, reason = "the tests of the machines need the rest")]
mod machine;
#[path = "support/packages.rs"]
mod packages;
#[path = "support/schema.rs"]
mod schema;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use schema::Schema;
use serde_json::Value;

/// A broken machine, a healthy one, and one of which something cannot be told; what their checks end with.
const MACHINES: [(&str, &[&str], i32); 4] = [
    ("keras-on-cpu-jax", &[], 100),
    ("wheels-h100", &[], 0),
    ("system-toolkit-without-cache", &[], 0),
    ("system-toolkit-without-cache", &["--strict"], 100),
];
const FORMATS: [&str; 6] = ["human", "json", "sarif", "junit", "github", "markdown"];

/// The facts of some machines, recorded once.
fn recorded(name: &str) -> &'static str {
    static FACTS: OnceLock<BTreeMap<String, String>> = OnceLock::new();
    let all = FACTS.get_or_init(|| {
        let names: Vec<&str> = MACHINES.iter().map(|(name, ..)| *name).chain(["gpu-absent"]).collect();
        let machines = machine::all();
        let record = |machine: &machine::Machine| {
            let output = machine::build(machine).inspect("facts", &["--no-redact"]);
            // On one line, the keys in the order in which they are written.
            let text = String::from_utf8(output.stdout).unwrap();
            (machine.name.clone(), text.lines().map(str::trim).collect::<String>())
        };
        machines.iter().filter(|machine| names.contains(&machine.name.as_str())).map(record).collect()
    });
    &all[name]
}

/// The program in a folder, with nothing of this process's environment.
fn doctor(folder: &Path, args: &[&str], env: &[(&str, &str)], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_cargo-gpu-doctor"))
        .env_clear()
        .envs(env.iter().copied())
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // Written beside the reading, as a pipe holds only so much; who reads may end early.
    let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

/// Judges documents from standard input.
fn judge(folder: &Path, args: &[&str], input: &str) -> (Option<i32>, String, String) {
    let output = doctor(folder, &[&["check", "--facts", "-"], args].concat(), &[], input);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// What a SARIF document has for each result: rule, level, file, line.
fn sarif(text: &str) -> Vec<(String, String, String, u64)> {
    static SCHEMA: OnceLock<Schema> = OnceLock::new();
    let document = parsed(text);
    let faults = SCHEMA.get_or_init(|| Schema::read("tests/data/schemas/sarif-2.1.0.json")).faults(&document);
    assert!(faults.is_empty(), "{faults:#?}");
    let run = &document["runs"][0];
    let results = run["results"].as_array().unwrap().iter().map(|result| {
        let place = &result["locations"][0]["physicalLocation"];
        let (file, line) = (place["artifactLocation"]["uri"].as_str().unwrap(), place["region"]["startLine"].as_u64());
        assert!(!file.starts_with('/') && !file.contains("://") && line >= Some(1), "{place}");
        let rule = &run["tool"]["driver"]["rules"][usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()];
        assert_eq!(rule["id"], result["ruleId"]);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&result["ruleId"]), text(&result["level"]), file.to_owned(), line.unwrap())
    });
    results.collect()
}

/// Holds a JUnit document against the schema of the Jenkins plugin; how many cases failed, were skipped and broke.
fn junit(text: &str) -> [usize; 4] {
    let schema = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/schemas/junit-10.xsd"));
    let schema = schema.unwrap();
    let schema = roxmltree::Document::parse(&schema).unwrap();
    let document = roxmltree::Document::parse(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    for node in document.descendants().filter(roxmltree::Node::is_element) {
        let name = node.tag_name().name();
        let declared = schema.root_element().children().find(|it| it.attribute("name") == Some(name));
        let declared = declared.unwrap_or_else(|| panic!("`{name}` is no element of the schema"));
        let says = |kind: &str| declared.descendants().filter(|it| it.tag_name().name() == kind).collect::<Vec<_>>();
        for attribute in says("attribute").iter().filter(|it| it.attribute("use") == Some("required")) {
            assert!(node.has_attribute(attribute.attribute("name").unwrap()), "{name}: {attribute:?}");
        }
        for attribute in node.attributes() {
            let known = says("attribute").iter().any(|it| it.attribute("name") == Some(attribute.name()));
            assert!(known, "{name}: attribute {}", attribute.name());
        }
        for child in node.children().filter(roxmltree::Node::is_element) {
            let known = says("element").iter().any(|it| it.attribute("ref") == Some(child.tag_name().name()));
            assert!(known, "{name}: element {}", child.tag_name().name());
        }
        let texts = declared.attribute("type").is_some() || declared.children().any(|it| it.has_attribute("mixed"));
        let own = node.children().filter(roxmltree::Node::is_text).any(|it| !it.text().unwrap().trim().is_empty());
        assert!(texts || !own, "{name}: text");
    }
    let suite = document.descendants().find(|node| node.has_tag_name("testsuite")).unwrap();
    [("testcase", "tests"), ("failure", "failures"), ("skipped", "skipped"), ("error", "errors")].map(
        |(name, attribute)| {
            let count = suite.descendants().filter(|node| node.has_tag_name(name)).count();
            assert_eq!(suite.attribute(attribute), Some(count.to_string().as_str()), "{attribute}");
            count
        },
    )
}

/// How many errors, warnings and notices GitHub would show.
fn github(text: &str) -> [usize; 3] {
    let mut counts = [0; 3];
    let lines: Vec<&str> = text.lines().collect();
    let (last, annotations) = lines.split_last().unwrap();
    assert!(last.starts_with("gpu-doctor: "), "{last}");
    for line in annotations {
        let (properties, message) = line.strip_prefix("::").and_then(|rest| rest.split_once("::")).unwrap();
        let (command, properties) = properties.split_once(' ').unwrap();
        let kind = ["error", "warning", "notice"].iter().position(|it| *it == command).unwrap();
        counts[kind] += 1;
        let properties: BTreeMap<&str, &str> = properties.split(',').map(|it| it.split_once('=').unwrap()).collect();
        assert!(properties["title"].starts_with("gpu-doctor"), "{line}");
        assert!(!message.is_empty() && !message.contains('\r'), "{line}");
        if let Some(number) = properties.get("line") {
            assert!(number.parse::<u32>().unwrap() >= 1 && !properties["file"].starts_with('/'), "{line}");
        }
    }
    counts
}

#[test]
fn every_format_tells_the_same() {
    let folder = folder();
    std::fs::create_dir_all(folder.path().join(".git")).unwrap();
    let mut unknown = 0;
    for (name, args, expected) in MACHINES {
        let facts = recorded(name);
        let written: BTreeMap<&str, _> = FORMATS
            .iter()
            .map(|format| (*format, judge(folder.path(), &[&["--format", format], args].concat(), facts)))
            .collect();
        let codes: Vec<_> = written.values().map(|(code, ..)| *code).collect();
        assert!(codes.iter().all(|code| *code == codes[0]), "{name}: {codes:?}");
        assert_eq!(codes[0], Some(expected), "{name} {args:?}");
        let report = parsed(&written["json"].1);
        let findings = report["findings"].as_array().unwrap();
        unknown += report["outcomes"]["unknown"].as_array().unwrap().len();
        let count = |level: &str| findings.iter().filter(|finding| finding["level"] == level).count();
        let (denied, warned, noted) = (count("deny"), count("warn"), count("note"));

        let told = sarif(&written["sarif"].1);
        let rules: Vec<&str> = told.iter().map(|(rule, ..)| rule.as_str()).collect();
        assert_eq!(rules, findings.iter().map(|finding| finding["rule"].as_str().unwrap()).collect::<Vec<_>>());
        assert_eq!(told.iter().filter(|(_, level, ..)| level == "error").count(), denied);
        // Nothing of this machine is a file of the project, which has no manifest.
        assert!(told.iter().all(|(.., file, line)| file == "Cargo.toml" && *line == 1), "{told:?}");

        let strict = codes[0] == Some(100) && denied == 0;
        let [_, failed, _, broken] = junit(&written["junit"].1);
        assert_eq!(broken, 0);
        assert!(if strict { failed > 0 } else { failed == denied }, "{name}: {failed} failed, {denied} denied");
        assert_eq!(github(&written["github"].1), [denied + usize::from(strict), warned, noted], "{name}");
        let page = &written["markdown"].1;
        assert!(page.starts_with("## cargo gpu-doctor: "), "{page}");
        assert_eq!(page.lines().filter(|line| line.starts_with("### error")).count(), denied, "{page}");
        for finding in findings {
            assert!(page.contains(&format!("`{}` in", finding["rule"].as_str().unwrap())), "{page}");
        }
    }
    assert!(unknown > 0, "no machine here of which something cannot be told");
}

#[test]
fn a_finding_stands_where_the_project_says_it() {
    let folder = folder();
    std::fs::create_dir_all(folder.path().join(".git")).unwrap();
    std::fs::create_dir_all(folder.path().join("app")).unwrap();
    std::fs::write(folder.path().join("app/gpu-doctor.toml"), "# wishes\n[requires]\ndriver = \">=9999\"\n").unwrap();
    let app = folder.path().join("app");
    let (code, text, _) = judge(&app, &["--format", "sarif"], recorded("wheels-h100"));
    assert_eq!(code, Some(100), "{text}");
    let told = sarif(&text);
    let at = told.iter().find(|(rule, ..)| rule == "requirement-unmet").unwrap();
    assert_eq!((at.2.as_str(), at.3), ("app/gpu-doctor.toml", 3));
    let (_, text, _) = judge(&app, &["--format", "github"], recorded("wheels-h100"));
    assert!(text.starts_with("::error file=app/gpu-doctor.toml,line=3,"), "{text}");
}

#[test]
fn the_job_summary_is_added_to() {
    let folder = folder();
    let facts = folder.path().join("facts.json");
    std::fs::write(&facts, recorded("keras-on-cpu-jax")).unwrap();
    let page = folder.path().join("summary.md");
    std::fs::write(&page, "before\n").unwrap();
    let env = [("GITHUB_STEP_SUMMARY", page.to_str().unwrap())];
    let args = ["check", "--facts", facts.to_str().unwrap(), "--format"];
    for _ in 0..2 {
        assert_eq!(doctor(folder.path(), &[&args[..], &["github"]].concat(), &env, "").status.code(), Some(100));
    }
    assert_eq!(doctor(folder.path(), &[&args[..], &["human"]].concat(), &env, "").status.code(), Some(100));
    let text = std::fs::read_to_string(&page).unwrap();
    assert!(text.starts_with("before\n"), "{text}");
    assert_eq!(text.matches("## cargo gpu-doctor: 1 denied").count(), 2, "{text}");
    // A summary that cannot be written changes no verdict.
    let env = [("GITHUB_STEP_SUMMARY", "/nonexistent/summary.md")];
    let output = doctor(folder.path(), &[&args[..], &["github"]].concat(), &env, "");
    assert_eq!(output.status.code(), Some(100));
    assert!(String::from_utf8_lossy(&output.stderr).contains("GITHUB_STEP_SUMMARY"));
}

#[test]
fn markdown_names_nobody() {
    let folder = folder();
    let facts = recorded("keras-on-cpu-jax").replace("/srv/", "/home/alicia/");
    let (_, page, _) = judge(folder.path(), &["--format", "markdown"], &facts);
    assert!(page.contains("keras-backend-cpu-only") && !page.contains("alicia"), "{page}");
    let (_, page, _) = judge(folder.path(), &["--format", "markdown", "--no-redact"], &facts);
    assert!(page.contains("alicia"), "{page}");
}

/// Two broken machines, two healthy ones, of which the last is pretty-printed.
fn fleet() -> String {
    let (broken, healthy) = (recorded("keras-on-cpu-jax"), recorded("wheels-h100"));
    let pretty = serde_json::to_string_pretty(&parsed(healthy)).unwrap();
    format!("{broken}\n{healthy}\n{broken}\n{pretty}\n")
}

#[test]
fn a_fleet_is_grouped_by_cause() {
    let folder = folder();
    let fleet = fleet();
    let (code, text, said) = judge(folder.path(), &["--format", "json", "--summary"], &fleet);
    assert_eq!((code, said.as_str()), (Some(100), ""));
    let summary = parsed(&text);
    assert_eq!(Schema::read("schemas/summary.schema.json").faults(&summary), [""; 0]);
    let outcomes: Vec<&str> =
        summary["machines"].as_array().unwrap().iter().map(|it| it["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["denied", "ok", "denied", "ok"]);
    let cause = &summary["causes"][0];
    assert_eq!((cause["rule"].as_str(), cause["count"].as_u64()), (Some("keras-backend-cpu-only"), Some(2)));
    assert_eq!(cause["machines"][1], "standard input, document 3");

    let (code, text, _) = judge(folder.path(), &["--format", "json"], &fleet);
    let reports: Vec<Value> = text.lines().map(parsed).collect();
    assert_eq!((code, reports.len()), (Some(100), 4));
    let of_report = Schema::read("schemas/report.schema.json");
    for (report, outcome) in reports.iter().zip(outcomes) {
        assert_eq!(of_report.faults(report), [""; 0]);
        assert_eq!(report["outcome"], outcome);
    }

    let (code, text, _) = judge(folder.path(), &["--format", "sarif"], &fleet);
    assert_eq!(code, Some(100));
    assert_eq!(sarif(&text).iter().filter(|(rule, ..)| rule == "keras-backend-cpu-only").count(), 1);
    let (_, text, _) = judge(folder.path(), &["--format", "junit"], &fleet);
    let [cases, failed, _, broken] = junit(&text);
    assert_eq!((cases, failed, broken), (4, 2, 0));
    let (_, text, _) = judge(folder.path(), &["--format", "github"], &fleet);
    assert_eq!(github(&text)[0], 1, "{text}");
    let (_, text, _) = judge(folder.path(), &["--summary"], &fleet);
    assert!(text.contains("4 machines: 2 denied, 2 not") && !text.contains("==="), "{text}");
    let (_, text, _) = judge(folder.path(), &[], &fleet);
    assert_eq!(text.matches("===").count(), 8, "{text}");
    // Only healthy ones.
    let healthy = format!("{0}\n{0}\n", recorded("wheels-h100"));
    assert_eq!(judge(folder.path(), &[], &healthy).0, Some(0));
}

#[test]
fn many_bad_documents_do_not_flood() {
    let folder = folder();
    let input = format!("{}{}\n", "nonsense\n".repeat(30), recorded("wheels-h100"));
    let (code, text, said) = judge(folder.path(), &[], &input);
    assert_eq!(code, Some(2));
    assert!(text.contains("31 machines: 0 denied, 1 not, 30 could not be read"), "{text}");
    assert_eq!(said.lines().count(), 11, "{said}");
    assert!(said.ends_with("20 more could not be read; the report names each\n"), "{said}");
}

#[test]
fn a_bad_document_hides_no_other() {
    let folder = folder();
    let (broken, healthy) = (recorded("keras-on-cpu-jax"), recorded("wheels-h100"));
    let cut = &healthy[..healthy.len() / 2];
    let bad = ["nonsense", cut, r#"{"schema": 1, "news": 3}"#, r#"{"schema": 99}"#, "{}"];
    for bad in bad {
        let input = format!("{healthy}\n{bad}\n{broken}\n{healthy}\n");
        let (code, text, said) = judge(folder.path(), &["--format", "json", "--summary"], &input);
        assert_eq!(code, Some(100), "{bad:.40}: {said}");
        let summary = parsed(&text);
        assert_eq!(Schema::read("schemas/summary.schema.json").faults(&summary), [""; 0]);
        let outcomes: Vec<&str> =
            summary["machines"].as_array().unwrap().iter().map(|it| it["outcome"].as_str().unwrap()).collect();
        assert_eq!(outcomes, ["ok", "incomplete", "denied", "ok"], "{bad:.40}");
        assert!(said.contains("standard input") && said.lines().count() == 1, "{said}");
        // Nothing is denied here, and yet it is no pass.
        let input = format!("{healthy}\n{bad}\n{healthy}\n");
        for format in FORMATS {
            let (code, text, _) = judge(folder.path(), &["--format", format], &input);
            assert_eq!(code, Some(2), "{format}: {text}");
            match format {
                "json" => {
                    let second = parsed(text.lines().nth(1).unwrap());
                    assert_eq!(Schema::read("schemas/unread.schema.json").faults(&second), [""; 0]);
                    assert_eq!((text.lines().count(), &second["outcome"]), (3, &"incomplete".into()));
                }
                "sarif" => {
                    sarif(&text);
                    let notices = &parsed(&text)["runs"][0]["invocations"][0]["toolExecutionNotifications"];
                    assert_eq!(notices.as_array().unwrap().len(), 1);
                }
                "junit" => assert_eq!(junit(&text)[3], 1),
                "github" => assert_eq!(github(&text)[0], 1, "{text}"),
                "markdown" => assert!(text.contains("### Could not be read"), "{text}"),
                _ => assert!(text.contains("3 machines: 0 denied, 2 not, 1 could not be read"), "{text}"),
            }
        }
    }
}

#[test]
fn a_missing_file_hides_no_other() {
    let folder = folder();
    for (name, text) in [("a.json", recorded("keras-on-cpu-jax")), ("b.json", recorded("wheels-h100")), ("c.json", "")]
    {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let all = ["check", "--format", "json", "--summary", "--facts", "none.json", "a.json", "c.json", "b.json"];
    let output = doctor(folder.path(), &all, &[], "");
    assert_eq!(output.status.code(), Some(100));
    let summary = parsed(&String::from_utf8(output.stdout).unwrap());
    let told = |number: usize| {
        let machine = &summary["machines"][number];
        format!("{} {}", machine["name"].as_str().unwrap(), machine["outcome"].as_str().unwrap())
    };
    assert_eq!([0, 1, 2, 3].map(told), ["none.json incomplete", "a.json denied", "c.json incomplete", "b.json ok"]);
    // Alone it is a mistake of the command line.
    assert_eq!(doctor(folder.path(), &["check", "--facts", "none.json"], &[], "").status.code(), Some(2));
}

/// Fields of each structure of the facts and the report, as their sources have them.
fn fields() -> BTreeMap<String, Vec<String>> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files: Vec<_> = ["facts.rs", "report.rs", "report/summary.rs", "verdict.rs", "finding.rs"]
        .map(|name| source.join(name))
        .into_iter()
        .collect();
    files.extend(std::fs::read_dir(source.join("facts")).unwrap().map(|entry| entry.unwrap().path()));
    let mut all = BTreeMap::new();
    for file in files {
        let text = std::fs::read_to_string(file).unwrap();
        let (mut name, mut fields, mut renamed) = (None, Vec::new(), None);
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("pub struct ").filter(|rest| rest.ends_with('{')) {
                name = rest.split(|c: char| !c.is_alphanumeric()).next().map(str::to_owned);
            } else if line == "}" {
                if let Some(name) = name.take() {
                    all.insert(name, std::mem::take(&mut fields));
                }
                fields.clear();
            } else if let Some((_, rest)) = line.split_once("rename = \"") {
                renamed = rest.split('"').next().map(str::to_owned);
            } else if let (Some(rest), true) = (line.strip_prefix("    pub "), name.is_some()) {
                let field = rest.split(':').next().unwrap().to_owned();
                fields.push(renamed.take().unwrap_or(field));
            }
        }
    }
    all
}

#[test]
fn the_schemas_have_the_fields_of_the_sources() {
    let sources = fields();
    let mut seen = 0;
    for (file, root) in [("facts", "Facts"), ("report", "Report"), ("summary", "Summary"), ("unread", "Unread")] {
        let schema = Schema::read(&format!("schemas/{file}.schema.json"));
        for (name, part) in schema.0["$defs"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, part)| (name.as_str(), part))
            .chain([(root, &schema.0)])
        {
            let Some(properties) = part["properties"].as_object() else { continue };
            assert_eq!(part["additionalProperties"], false, "{file}: {name}");
            let name = name.split_once("Of").filter(|(head, _)| *head == "Reading").map_or(name, |(head, _)| head);
            let fields = sources.get(name).unwrap_or_else(|| panic!("{file}: no structure is named {name}"));
            let (mut there, mut known) = (fields.clone(), properties.keys().cloned().collect::<Vec<_>>());
            there.sort();
            known.sort();
            assert_eq!(there, known, "{file}: {name}");
            seen += 1;
        }
    }
    assert!(seen > 100, "{seen} structures");
}

#[test]
fn init_writes_what_is_read_and_overwrites_nothing() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir_all(at("src")).unwrap();
    std::fs::create_dir_all(at(".git")).unwrap();
    let manifest = "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\n";
    std::fs::write(at("Cargo.toml"), manifest).unwrap();
    let init = |args: &[&str]| {
        let output = doctor(folder.path(), &[&["init"], args].concat(), &[], "");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let said = init(&["--dry-run"]);
    assert!(said.contains("would write .github/workflows/gpu-doctor.yml"), "{said}");
    assert_eq!(std::fs::read_to_string(at("Cargo.toml")).unwrap(), manifest);
    assert!(!at("build.rs").exists() && !at(".github").exists());

    let said = init(&[]);
    assert!(said.contains("add to Cargo.toml") && said.contains("write build.rs"), "{said}");
    let grown = std::fs::read_to_string(at("Cargo.toml")).unwrap();
    let table: toml::Table = grown.parse().unwrap();
    assert!(grown.starts_with(manifest));
    assert_eq!(table["package"]["metadata"]["gpu-doctor"]["gpu"].as_str(), Some("optional"));
    assert_eq!(table["build-dependencies"]["cargo-gpu-doctor"]["default-features"].as_bool(), Some(false));
    assert!(std::fs::read_to_string(at("build.rs")).unwrap().contains("gpu_doctor::build_script::check();"));
    assert!(std::fs::read_to_string(at(".github/workflows/gpu-doctor.yml")).unwrap().contains("--format github"));
    // The policy reader takes it, and it is the policy: a level that it gets there holds.
    std::fs::create_dir_all(at("machine")).unwrap();
    let check = || doctor(folder.path(), &["check", "--facts", "facts.json"], &[], "").status.code();
    std::fs::write(at("facts.json"), recorded("gpu-absent")).unwrap();
    assert_eq!(check(), Some(0));
    std::fs::write(at("Cargo.toml"), grown.replace("gpu = \"optional\"", "gpu = \"required\"")).unwrap();
    assert_eq!(check(), Some(100));
    std::fs::write(at("Cargo.toml"), &grown).unwrap();

    // Where a build script is there already, the line for it is told.
    let own = at("own");
    std::fs::create_dir_all(own.join("src")).unwrap();
    std::fs::write(own.join("Cargo.toml"), manifest.replace("app", "own")).unwrap();
    std::fs::write(own.join("build.rs"), "fn main() {}\n").unwrap();
    std::fs::remove_dir_all(at(".github")).unwrap();
    let init_in = |folder: &Path| String::from_utf8(doctor(folder, &["init"], &[], "").stdout).unwrap();
    let said = init_in(&own);
    assert!(said.contains("left build.rs") && said.contains("[build-dependencies.cargo-gpu-doctor]"), "{said}");
    // The step runs where the policy is.
    let step = std::fs::read_to_string(at(".github/workflows/gpu-doctor.yml")).unwrap();
    assert!(step.contains("working-directory: 'own'"), "{step}");
    std::fs::write(own.join("Cargo.toml"), format!("{}build = false\n", manifest.replace("app", "own"))).unwrap();
    let said = init_in(&own);
    assert!(said.contains("`build = false`") && !said.contains("build.rs"), "{said}");

    // A second run finds everything there.
    std::fs::write(at("build.rs"), "fn main() {}\n").unwrap();
    let said = init(&[]);
    assert!(said.lines().all(|line| line.starts_with("left ")), "{said}");
    assert_eq!(std::fs::read_to_string(at("Cargo.toml")).unwrap(), grown);
    assert_eq!(std::fs::read_to_string(at("build.rs")).unwrap(), "fn main() {}\n");
}

#[test]
fn init_without_a_manifest_writes_a_policy_file() {
    let folder = folder();
    std::fs::create_dir_all(folder.path().join(".git")).unwrap();
    std::fs::write(folder.path().join(".gitlab-ci.yml"), "stages: []\n").unwrap();
    std::fs::write(folder.path().join("facts.json"), recorded("wheels-h100")).unwrap();
    assert_eq!(doctor(folder.path(), &["init"], &[], "").status.code(), Some(0));
    let policy = std::fs::read_to_string(folder.path().join("gpu-doctor.toml")).unwrap();
    assert!(policy.contains("gpu = \"optional\"") && folder.path().join(".gitlab/gpu-doctor.yml").exists());
    assert_eq!(std::fs::read_to_string(folder.path().join(".gitlab-ci.yml")).unwrap(), "stages: []\n");
    let checked = doctor(folder.path(), &["check", "--facts", "facts.json"], &[], "");
    assert_eq!(checked.status.code(), Some(0), "{}", String::from_utf8_lossy(&checked.stderr));
}
