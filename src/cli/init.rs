//! `init`: writes the policy section, a CI step and a build script; never changes a line that is there.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::InitArgs;
use super::output::{Failure, Paint, Sink};
use crate::exit::Exit;
use crate::host::{self, Host, HostError};
use crate::policy::read::FILE;

/// The body of a policy; `{table}` is what stands before a name of a sub-table.
const POLICY: &str = "\
# What a machine without a usable GPU means: required | optional | none
gpu = \"optional\"

# What has to be there, in Cargo's requirement syntax: driver, cuda, cudnn, tensorflow, keras, python, compute-capability
[{table}requires]
# driver = \">=550\"

# allow | warn | deny; `cargo gpu-doctor explain --list` names the rules
[{table}rules]
";

const GITHUB: &str = "\
name: gpu-doctor
on: [push, pull_request]
permissions:
  contents: read
jobs:
  gpu-doctor:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - run: cargo install cargo-gpu-doctor --locked
      # The runner has no GPU: describe the machine that will run this, or judge its facts with `--facts`.
      - run: cargo gpu-doctor check --format github --assume driver=550.54.14 gpu=8.0
";

const GITLAB: &str = "\
gpu-doctor:
  image: rust:latest
  script:
    - cargo install cargo-gpu-doctor --locked
    # The runner has no GPU: describe the machine that will run this, or judge its facts with `--facts`.
    - cargo gpu-doctor check --format junit --output gpu-doctor.xml --assume driver=550.54.14 gpu=8.0
  artifacts:
    when: always
    reports:
      junit: gpu-doctor.xml
";

const BUILD: &str = "\
//! Says before the build whether the CUDA code of this package will build and run.

fn main() {
    gpu_doctor::build_script::check();
}
";

const DEPENDENCY: &str = "\
[build-dependencies.cargo-gpu-doctor]
version = \"{version}\"
default-features = false
";

/// What is done with one file.
enum Step {
    Create(PathBuf, String),
    Append(PathBuf, String),
    Leave(PathBuf, String),
}

pub(super) fn run(args: &InitArgs, here: Result<Host, HostError>, paint: Paint) -> Result<Exit, Failure> {
    let host = here.map_err(|error| Failure::incomplete(format!("the working folder cannot be read: {error}")))?;
    let manifest = match &args.manifest_path {
        Some(path) => Some(PathBuf::from(super::manifest(&host, path)?)),
        None => host.cwd().ancestors().map(|folder| folder.join("Cargo.toml")).find(|path| host.is_file(path)),
    };
    let steps = plan(&host, manifest.as_deref(), !args.no_build_script)?;
    let mut said = String::new();
    for step in steps {
        let show = |path: &Path| path.strip_prefix(host.cwd()).unwrap_or(path).display().to_string();
        let wrong = |path: &Path, error: &std::io::Error| Failure::incomplete(format!("{}: {error}", show(path)));
        let would = if args.dry_run { "would " } else { "" };
        let _ = match &step {
            Step::Leave(path, why) => writeln!(said, "left {}: {why}", show(path)),
            Step::Create(path, text) => {
                if !args.dry_run {
                    if let Some(folder) = path.parent() {
                        host::make_folders(folder).map_err(|error| Failure::incomplete(error.to_string()))?;
                    }
                    host::create_file(path, text.as_bytes()).map_err(|error| wrong(path, &error))?;
                }
                writeln!(said, "{would}write {}{}", show(path), indented(text))
            }
            Step::Append(path, text) => {
                if !args.dry_run {
                    host::append_file(path, text.as_bytes()).map_err(|error| wrong(path, &error))?;
                }
                writeln!(said, "{would}add to {}{}", show(path), indented(text))
            }
        };
    }
    Sink { paint, output: args.print.output.as_deref() }.write(&said, Exit::Ok)
}

fn indented(text: &str) -> String {
    text.trim().lines().fold(String::new(), |mut out, line| {
        let _ = write!(out, "\n    {line}");
        out
    })
}

/// The step of a CI server, run in a folder below the repository's: there the policy is that was written.
fn within(text: &str, folder: &Path) -> String {
    let folder = folder.display();
    let mut out = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("- cargo gpu-doctor") {
            let _ = writeln!(out, "    - cd '{folder}'");
        }
        let _ = writeln!(out, "{line}");
        if line.trim_start().starts_with("- run: cargo gpu-doctor") {
            let _ = writeln!(out, "        working-directory: '{folder}'");
        }
    }
    // A server looks for reports from the repository's folder on.
    out.replace("junit: gpu-doctor.xml", &format!("junit: '{folder}/gpu-doctor.xml'"))
}

/// What is to be done, in order.
fn plan(host: &Host, manifest: Option<&Path>, build_script: bool) -> Result<Vec<Step>, Failure> {
    let mut steps = Vec::new();
    let folder = manifest.and_then(Path::parent).unwrap_or(host.cwd()).to_path_buf();
    let text = manifest.map(|path| host.read_text(path)).transpose();
    let text = text.map_err(|error| Failure::usage(error.to_string()))?;
    let table = text.as_deref().map(DeTable::parse).transpose();
    let table = table.map_err(|error| {
        let manifest = manifest.map(|path| path.display().to_string()).unwrap_or_default();
        Failure::usage(format!("{manifest}: {}", error.message()))
    })?;
    let kind = match &table {
        Some(table) if table.get_ref().contains_key("package") => Some("package"),
        Some(table) if table.get_ref().contains_key("workspace") => Some("workspace"),
        _ => None,
    };
    let root = folder.ancestors().find(|above| host.exists(above.join(".git"))).unwrap_or(&folder).to_path_buf();

    // The manifest as it will be, to which each step adds.
    let mut grown = text.clone().unwrap_or_default();
    let mut add = |text: &str| {
        let gap = if grown.is_empty() || grown.ends_with("\n\n") {
            ""
        } else if grown.ends_with('\n') {
            "\n"
        } else {
            "\n\n"
        };
        let piece = format!("{gap}{text}");
        let next = format!("{grown}{piece}");
        // A section that is written in another way, such as an inline table, takes no second one.
        DeTable::parse(&next).is_ok().then(|| {
            grown = next;
            piece
        })
    };

    let file = folder.join(FILE);
    let section = |kind: &str| {
        let section = table.as_ref()?.get_ref().get(kind)?.get_ref().get("metadata")?.get_ref().get("gpu-doctor");
        section.map(|_| format!("[{kind}.metadata.gpu-doctor]"))
    };
    let there = ["package", "workspace"].iter().find_map(|kind| section(kind));
    let own = folder.ancestors().take_while(|above| above.starts_with(&root)).map(|above| above.join(FILE));
    let own = own.into_iter().find(|path| host.exists(path));
    match (own, there, kind, manifest) {
        (Some(path), ..) => steps.push(Step::Leave(path, "it is the policy".to_owned())),
        (None, Some(section), _, Some(manifest)) => {
            steps.push(Step::Leave(manifest.to_path_buf(), format!("it has {section}")));
        }
        (None, None, Some(kind), Some(manifest)) => {
            let table = format!("{kind}.metadata.gpu-doctor");
            let text = format!("[{table}]\n{}", POLICY.replace("{table}", &format!("{table}.")));
            match add(&text) {
                Some(piece) => steps.push(Step::Append(manifest.to_path_buf(), piece)),
                None => steps.push(Step::Create(file, POLICY.replace("{table}", ""))),
            }
        }
        _ => steps.push(Step::Create(file, POLICY.replace("{table}", ""))),
    }

    let (github, gitlab) = (root.join(".github/workflows/gpu-doctor.yml"), root.join(".gitlab/gpu-doctor.yml"));
    let (path, text) = if host.exists(root.join(".gitlab-ci.yml")) { (gitlab, GITLAB) } else { (github, GITHUB) };
    steps.push(if host.exists(&path) {
        Step::Leave(path, "it is there".to_owned())
    } else {
        let below = folder.strip_prefix(&root).ok().filter(|below| !below.as_os_str().is_empty());
        Step::Create(path, below.map_or_else(|| text.to_owned(), |below| within(text, below)))
    });

    if let (true, Some("package"), Some(manifest)) = (build_script, kind, manifest) {
        let package = table.as_ref().and_then(|table| table.get_ref().get("package"));
        let named = package.and_then(|package| package.get_ref().get("build"));
        if named.is_some_and(|build| build.get_ref().as_bool() == Some(false)) {
            steps.push(Step::Leave(
                manifest.to_path_buf(),
                "it has `build = false`, so that no build script runs".to_owned(),
            ));
            return Ok(steps);
        }
        let depends = |table: &DeTable<'_>| {
            let list = table.get("build-dependencies");
            list.is_some_and(|list| list.get_ref().get("cargo-gpu-doctor").is_some())
        };
        let known = table.as_ref().is_some_and(|table| depends(table.get_ref()));
        let version = env!("CARGO_PKG_VERSION").rsplit_once('.').map_or("0", |(version, _)| version);
        let dependency = DEPENDENCY.replace("{version}", version);
        let path = match named.map(|build| build.get_ref().as_str()) {
            Some(Some(name)) => folder.join(name),
            _ => folder.join("build.rs"),
        };
        if host.exists(&path) || named.is_some() {
            let has = host.read_text(&path).is_ok_and(|text| text.contains("gpu_doctor::build_script"));
            let why = match (has, known) {
                (true, _) => "it asks gpu-doctor".to_owned(),
                (false, true) => "to ask in it, call `gpu_doctor::build_script::check();`".to_owned(),
                (false, false) => format!(
                    "to ask in it, call `gpu_doctor::build_script::check();` and add to the manifest{}",
                    indented(&dependency)
                ),
            };
            steps.push(Step::Leave(path, why));
        } else {
            match (known, add(&dependency)) {
                (true, _) => steps.push(Step::Create(path, BUILD.to_owned())),
                (false, Some(piece)) => {
                    steps.push(Step::Append(manifest.to_path_buf(), piece));
                    steps.push(Step::Create(path, BUILD.to_owned()));
                }
                // Without the dependency the build script would not compile.
                (false, None) => {
                    let why = "add `cargo-gpu-doctor` to its build-dependencies, without default features".to_owned();
                    steps.push(Step::Leave(manifest.to_path_buf(), why));
                }
            }
        }
    }
    Ok(steps)
}
