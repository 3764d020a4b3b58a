//! Builds real releases of CUDA crates with the real Cargo, and holds what happens beside what the program foretold.
//!
//! Not part of `cargo test`; it needs the crates registry, and toolkits made of NVIDIA's wheels (`bin`, `include`,
//! `lib` and `nvvm` in one folder, `lib64` a link to `lib`):
//!
//! ```sh
//! cargo test --test built -- --work /tmp/built --toolkit 13.0=/path --toolkit 13.5=/path --place NAME=/path ... \
//!     [--only NAME] [--write]
//! ```
//!
//! `--place` names folders that builds are given, all of them of real packages: `cuda-dev` (Debian's `nvidia-cuda-dev`:
//! its `include`, and its folder of libraries as `lib64`), `venv-2.4.0`, `venv-2.13.0` and `venv-bare` (virtual
//! environments with that PyTorch of PyPI, the last one 2.4.0 without setuptools), `torch-2.4.0` and `torch-2.13.0` (the
//! folder `torch` in them), `tensorflow` (`lib` with the two libraries of the wheel `tensorflow-cpu` 2.13.0 as
//! libtensorflow.so and libtensorflow_framework.so, and a `lib/pkgconfig/tensorflow.pc` that names them),
//! `tensorflow-archive` (a folder with those in `libtensorflow-cpu-linux-x86_64-2.13.0.tar.gz`) and `onnxruntime` (the
//! library of the wheel `onnxruntime`, and libonnxruntime.so as a link to it). A case whose place is not given is left
//! out.
//!
//! `--foretell` builds nothing and holds what the program foretells today against the table: a change of the program
//! shows in seconds. `--write` puts the table into `docs/crates.md`. Each project has a target folder of its own, since Cargo does not run
//! a build script again because another nvcc is on PATH. `cargo check` is run: it runs the build scripts and compiles
//! Rust, and links nothing.

#![expect(clippy::unwrap_used, reason = "a harness that cannot lay its projects out has to stop")]
#![expect(clippy::print_stdout, reason = "it reports what it saw")]
#![expect(clippy::disallowed_methods, reason = "it lays projects out and runs programs; the fence is for the product")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// A project and what it is built with.
struct Case {
    /// The lines of its `[dependencies]`.
    dependencies: &'static str,
    /// The toolkit on PATH; empty for none.
    toolkit: &'static str,
    /// Variables; `{13.0}` stands for the folder of that toolkit, `{work}` for the working folder.
    env: &'static [(&'static str, &'static str)],
    /// Its name here.
    name: &'static str,
    /// The `main` of its build script, where it has one: the crate is a library for build scripts then.
    build: &'static str,
    /// Its program, where it has one: it is linked then.
    program: &'static str,
}

const fn case(
    name: &'static str,
    dependencies: &'static str,
    toolkit: &'static str,
    env: &'static [(&'static str, &'static str)],
) -> Case {
    Case { dependencies, toolkit, env, name, build: "", program: "" }
}

/// A project that is linked.
const fn program(
    name: &'static str,
    dependencies: &'static str,
    program: &'static str,
    env: &'static [(&'static str, &'static str)],
) -> Case {
    Case { dependencies, toolkit: "", env, name, build: "", program }
}

/// A project whose build script compiles a kernel by one of the libraries for that.
const fn kernel(
    name: &'static str,
    dependencies: &'static str,
    build: &'static str,
    toolkit: &'static str,
    env: &'static [(&'static str, &'static str)],
) -> Case {
    Case { dependencies, toolkit, env, name, build, program: "" }
}

include!("built/cases.rs");

/// What was foretold and what happened.
struct Line {
    predicted: String,
    because: String,
    observed: bool,
    said: String,
}

fn main() {
    let mut args = std::env::args().skip(1);
    let (mut work, mut only, mut write, mut foretell) = (PathBuf::from("/tmp/built"), None, false, false);
    let mut toolkits = BTreeMap::new();
    let mut places = BTreeMap::new();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--work" => work = PathBuf::from(args.next().unwrap()),
            "--only" => only = args.next(),
            "--write" => write = true,
            "--foretell" => foretell = true,
            "--toolkit" | "--place" => {
                let text = args.next().unwrap();
                let (name, folder) = text.split_once('=').unwrap();
                if arg == "--toolkit" {
                    toolkits.insert(name.to_owned(), folder.to_owned());
                }
                places.insert(name.to_owned(), folder.to_owned());
            }
            other => panic!("unknown argument {other}"),
        }
    }
    let (mut table, mut wrong, mut open, mut count) = (String::new(), 0, 0, 0);
    for case in CASES {
        if only.as_ref().is_some_and(|only| !case.name.contains(only.as_str())) {
            continue;
        }
        if !case.toolkit.is_empty() && !toolkits.contains_key(case.toolkit) {
            println!("{}: left out, no toolkit {}", case.name, case.toolkit);
            continue;
        }
        let unknown = case.env.iter().map(|(_, value)| filled(value, &work, &places)).find(|it| it.contains('{'));
        if let Some(unknown) = unknown {
            println!("{}: left out, no place {unknown}", case.name);
            continue;
        }
        if foretell {
            let line = look(case, &work, &toolkits, &places, false);
            let said = known(case);
            if said.as_deref() != Some(line.predicted.as_str()) {
                wrong += 1;
                println!("{}: foretold {}, and the table has {said:?}", case.name, line.predicted);
            }
            count += 1;
            continue;
        }
        let line = look(case, &work, &toolkits, &places, true);
        count += 1;
        let agrees = match line.predicted.as_str() {
            "unknown" => {
                open += 1;
                true
            }
            answer => (answer == "yes") == line.observed,
        };
        wrong += usize::from(!agrees);
        let mark = if agrees { "" } else { " **differs**" };
        let with = if case.toolkit.is_empty() { "none".to_owned() } else { case.toolkit.to_owned() };
        let env: Vec<String> = case.env.iter().map(|(name, value)| format!("`{name}={value}`")).collect();
        let observed = if line.observed { "builds".to_owned() } else { format!("fails: {}", line.said) };
        let by = match (case.build, case.program) {
            ("", "") => "",
            ("", _) => " (and a program)",
            _ => " (in a build script)",
        };
        let dependencies = case.dependencies.replace('\n', "; ");
        let because = if line.because.is_empty() { String::new() } else { format!(" ({})", line.because) };
        let row = format!(
            "| `{dependencies}`{by} | {with} | {} | {}{because}{mark} | {observed} |",
            env.join(" "),
            line.predicted
        );
        println!("{row}");
        let _ = writeln!(table, "{row}");
    }
    println!("{count} builds, {wrong} foretold wrongly, {open} left open");
    if write {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/crates.md");
        let text = std::fs::read_to_string(&page).unwrap();
        let (before, rest) = text.split_once("<!-- builds -->\n").unwrap();
        let (_, after) = rest.split_once("<!-- end -->").unwrap();
        let head = "| dependencies | nvcc on PATH | variables | foretold | what Cargo did |\n|---|---|---|---|---|\n";
        let foot = format!("\n{count} builds, {wrong} foretold wrongly, {open} left open.\n");
        let text = format!("{before}<!-- builds -->\n{head}{table}{foot}<!-- end -->{after}");
        std::fs::write(page, text).unwrap();
    }
    assert_eq!(wrong, 0, "a verdict was wrong");
}

/// What the table says was foretold of a case.
fn known(case: &Case) -> Option<String> {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/crates.md")).unwrap();
    let env: Vec<String> = case.env.iter().map(|(name, value)| format!("`{name}={value}`")).collect();
    let with = if case.toolkit.is_empty() { "none" } else { case.toolkit };
    let dependencies = format!("`{}`", case.dependencies.replace('\n', "; "));
    let row = page.lines().find(|line| {
        let cells: Vec<&str> = line.split(" | ").collect();
        let program = line.contains("(and a program)") != case.program.is_empty();
        program
            && cells.len() > 4
            && cells[0].trim_start_matches("| ").starts_with(&dependencies)
            && cells[1] == with
            && cells[2].trim() == env.join(" ")
    })?;
    row.split(" | ").nth(3)?.split_whitespace().next().map(str::to_owned)
}

/// A value with the folders for which its names in braces stand; a name that is not known stays.
fn filled(value: &str, work: &Path, places: &BTreeMap<String, String>) -> String {
    let mut value = value.replace("{work}", work.to_str().unwrap());
    for (name, folder) in places {
        value = value.replace(&format!("{{{name}}}"), folder);
    }
    value
}

/// Foretells one build, and then does it.
fn look(
    case: &Case,
    work: &Path,
    toolkits: &BTreeMap<String, String>,
    places: &BTreeMap<String, String>,
    builds: bool,
) -> Line {
    let folder = work.join(case.name);
    std::fs::create_dir_all(folder.join("src")).unwrap();
    if case.program.is_empty() {
        std::fs::write(folder.join("src/lib.rs"), "").unwrap();
    } else {
        std::fs::write(folder.join("src/main.rs"), format!("fn main() {{ {} }}\n", case.program)).unwrap();
    }
    let table = if case.build.is_empty() { "dependencies" } else { "build-dependencies" };
    let manifest = format!(
        "[package]\nname = \"built\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n[{table}]\n{}\n\n[workspace]\n",
        case.dependencies
    );
    if !case.build.is_empty() {
        std::fs::write(folder.join("build.rs"), case.build).unwrap();
        let kernel = "extern \"C\" __global__ void add(float *x) { x[threadIdx.x] += 1.0f; }\n";
        std::fs::write(folder.join("src/add.cu"), kernel).unwrap();
    }
    std::fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    let cargo = |args: &[&str]| Command::new(env!("CARGO")).args(args).current_dir(&folder).output().unwrap();
    // The lock and the sources come first; from then on nothing is asked of the network.
    if !folder.join("Cargo.lock").is_file() {
        let locked = cargo(&["generate-lockfile"]);
        assert!(locked.status.success(), "{}: {}", case.name, String::from_utf8_lossy(&locked.stderr));
    }
    let fetched = cargo(&["fetch", "--locked", "--target", "x86_64-unknown-linux-gnu"]);
    assert!(fetched.status.success(), "{}: {}", case.name, String::from_utf8_lossy(&fetched.stderr));

    let mut env: BTreeMap<String, String> = BTreeMap::new();
    for name in ["HOME", "CARGO_HOME", "RUSTUP_HOME"] {
        env.extend(std::env::var(name).ok().map(|value| (name.to_owned(), value)));
    }
    let cargo_folder = Path::new(env!("CARGO")).parent().unwrap().display().to_string();
    let nvcc = toolkits.get(case.toolkit).map(|folder| format!("{folder}/bin:")).unwrap_or_default();
    env.insert("PATH".to_owned(), format!("{nvcc}{cargo_folder}:/usr/local/bin:/usr/bin:/bin"));
    env.insert("CARGO".to_owned(), env!("CARGO").to_owned());
    for (name, value) in case.env {
        env.insert((*name).to_owned(), filled(value, work, places));
    }
    if let Some(venv) = env.get("VIRTUAL_ENV").cloned() {
        env.entry("PATH".to_owned()).and_modify(|path| path.insert_str(0, &format!("{venv}/bin:")));
    }
    let target = folder.join("target");
    let _ = std::fs::remove_dir_all(&target);
    let run = |program: &str, args: &[&str]| {
        let mut command = Command::new(program);
        command.args(args).current_dir(&folder).env_clear().envs(&env).env("CARGO_TARGET_DIR", &target);
        command.output().unwrap()
    };
    let report = run(env!("CARGO_BIN_EXE_cargo-gpu-doctor"), &["check", "--format", "json", "--gpu", "none"]);
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    let verdict = &report["verdicts"]["project"];
    let predicted = verdict["builds"].as_str().unwrap_or("none").to_owned();
    let because: Vec<&str> = verdict["because"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let because =
        if predicted == "no" { because.first().copied().unwrap_or_default().to_owned() } else { String::new() };
    if !builds {
        return Line { predicted, because, observed: false, said: String::new() };
    }
    let what = if case.program.is_empty() { "check" } else { "build" };
    let built = run(env!("CARGO"), &[what, "--offline", "--locked"]);
    let stderr = String::from_utf8_lossy(&built.stderr);
    if let Ok(log) = std::env::var("BUILT_LOG") {
        let _ = std::fs::write(Path::new(&log).join(format!("{}.log", case.name)), &*stderr);
    }
    let _ = std::fs::remove_dir_all(&target);
    Line { predicted, because, observed: built.status.success(), said: decisive(&stderr) }
}

/// The line of a failed build that says why.
fn decisive(stderr: &str) -> String {
    let mut lines = stderr.lines().map(str::trim);
    let panicked = lines.clone().skip_while(|line| !line.contains("panicked at")).nth(1);
    let returned = lines.clone().find(|line| line.starts_with("Error: "));
    let linked = lines.clone().find(|line| line.starts_with("rust-lld: error") || line.contains("ld: "));
    let script = lines.clone().find_map(|line| line.strip_prefix("cargo:error="));
    let told = lines.find(|line| line.starts_with("error"));
    let line = panicked.or(returned).or(linked).or(script).or(told).unwrap_or_default();
    let line: String = line.replace('|', "\\|").chars().take(110).collect();
    format!("`{}`", line.replace('`', "'"))
}
