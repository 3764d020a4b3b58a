//! The check for other crates' build scripts: judges the Cargo project that is being built and speaks in Cargo's lines.
//!
//! It has no rules of its own, runs no program and never panics. Python environments are left alone unless one is named.
//!
//! ```no_run
//! // build.rs
//! gpu_doctor::build_script::check();
//! ```
//!
//! ```toml
//! # Cargo.toml: the core alone, without the command line and the network
//! [build-dependencies]
//! cargo-gpu-doctor = { version = "0.1", default-features = false }
//! ```
//!
//! # What it judges
//!
//! What a crate's author wants to know before the compiler works for an hour: will the CUDA crates of this build find
//! a toolkit, a compiler and libraries that fit. Findings that break the build are errors of the build. A finding that
//! only says how the program would run is a warning, as programs are often built elsewhere than they run; the driver
//! and the GPU of the building machine are looked at where [`Check::gpu`] or the policy says `required`.
//!
//! # Which project
//!
//! The one whose `Cargo.lock` this build uses: the lock file above the target folder that holds this package, else
//! that of this package's workspace. For a package from a registry whose build has its target folder elsewhere,
//! nothing is judged. The policy is that of this project: `gpu-doctor.toml`, or `metadata.gpu-doctor` of its
//! manifests. It wins over what the builder says, so that whoever builds has the last word.
//!
//! # How to leave it out
//!
//! - `GPU_DOCTOR_SKIP`, set and neither empty nor `0`: nothing is judged.
//! - On docs.rs (`DOCS_RS` is set) nothing is judged.
//! - `gpu = "none"` in the policy: only what breaks the build itself is told.
//! - Where the build is not for Linux, nothing is judged.
//!
//! # When it runs again
//!
//! It names the policy files, the manifests, the lock file, the files that told the toolkit's version, and the
//! variables on which the verdict rests, with `cargo::rerun-if-changed` and `cargo::rerun-if-env-changed`. Cargo then
//! no longer runs the build script again for every change in the package: a build script that reads other files must
//! name them too. A policy file that is made later is seen at the next run.
//!
//! Cargo knows `cargo::error` from 1.84 on; this crate needs a newer one. For a package whose `rust-version` is older
//! than 1.77, which Cargo does not let use these lines, warnings are printed instead and the process ends with code 1.

use std::fmt::Write as _;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use crate::db::Database;
use crate::env;
use crate::facts::{Facts, LockedCrate, PythonEnv, Source};
use crate::finding::{Finding, Level, Subject};
use crate::gate;
use crate::host::Host;
use crate::options::{GpuWish, Options};
use crate::policy;
use crate::probe::project;
use crate::rules::{self, Rule, layer};
use crate::sort::Sorted as _;
use crate::verdict::judge_with;
use crate::version::Dotted;

/// The variable that leaves the check out.
const SKIP: &str = "GPU_DOCTOR_SKIP";
/// Set where docs.rs builds.
const DOCS_RS: &str = "DOCS_RS";

/// Judges the project that is being built and prints Cargo's lines; see the [module](self).
///
/// The same as [`Check::new()`]`.run()`.
pub fn check() {
    Check::new().run();
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing was denied.
    Passed,
    /// Something was denied, or the policy has faults: Cargo will fail the build.
    Denied,
    /// Nothing was judged, for this reason.
    Skipped(&'static str),
}

/// A check with options.
///
/// ```no_run
/// use gpu_doctor::build_script::Check;
/// use gpu_doctor::options::GpuWish;
///
/// Check::new().gpu(GpuWish::Required).warn("host-compiler-unsupported").run();
/// ```
#[derive(Clone, Debug, Default)]
pub struct Check {
    gpu: Option<GpuWish>,
    levels: Vec<(String, Option<Level>)>,
    python: Vec<String>,
}

impl Check {
    /// A check of the project alone, with the levels that the rules have.
    pub fn new() -> Self {
        Self::default()
    }

    /// What a building machine without a usable GPU means, where the policy does not say: an error of the build, nothing
    /// (the default), or that how the program would run is not told at all.
    #[must_use]
    pub fn gpu(mut self, wish: GpuWish) -> Self {
        self.gpu = Some(wish);
        self
    }

    /// Makes findings of a rule fail the build, where the policy does not say otherwise.
    #[must_use]
    pub fn deny(self, rule: impl Into<String>) -> Self {
        self.level(rule.into(), Some(Level::Deny))
    }

    /// Makes findings of a rule warnings, where the policy does not say otherwise.
    #[must_use]
    pub fn warn(self, rule: impl Into<String>) -> Self {
        self.level(rule.into(), Some(Level::Warn))
    }

    /// Leaves findings of a rule out, where the policy does not say otherwise.
    #[must_use]
    pub fn allow(self, rule: impl Into<String>) -> Self {
        self.level(rule.into(), None)
    }

    /// Judges this Python environment too: its folder or its interpreter, from the package's folder on.
    #[must_use]
    pub fn python(mut self, path: impl Into<String>) -> Self {
        self.python.push(path.into());
        self
    }

    fn level(mut self, rule: String, level: Option<Level>) -> Self {
        self.levels.push((rule, level));
        self
    }

    /// Judges, prints Cargo's lines to standard output, and says how it ended.
    pub fn run(&self) -> Outcome {
        let judged = catch_unwind(AssertUnwindSafe(|| match Host::here() {
            Ok(host) => self.judge(&host).told(),
            Err(error) => left_out(&error.to_string()),
        }));
        let told = judged.unwrap_or_else(|_| left_out("a fault of its own, which is worth a report"));
        // Where nobody reads, nobody can be told.
        let _ = std::io::stdout().lock().write_all(told.text.as_bytes());
        if told.old && told.outcome == Outcome::Denied {
            // The only way to fail a build that old lines leave.
            std::process::exit(1);
        }
        told.outcome
    }

    /// What the check of a build on this machine has to say.
    fn judge<'h>(&self, host: &'h Host) -> Script<'h> {
        let mut script = Script::new(host);
        script.variable(DOCS_RS);
        script.variable(SKIP);
        if host.env(DOCS_RS).is_some() {
            return script.skip("DOCS_RS is set");
        }
        if host.env_nonempty(SKIP).is_some_and(|value| value != "0") {
            return script.skip("GPU_DOCTOR_SKIP is set");
        }
        // On which system a build script itself runs is known to the compiler.
        let target = host.env("CARGO_CFG_TARGET_OS").unwrap_or(std::env::consts::OS);
        if std::env::consts::OS != "linux" || target != "linux" {
            return script.skip("this build is not on Linux and for Linux");
        }
        for (rule, _) in self.levels.iter().filter(|(rule, _)| rules::find(rule).is_none()) {
            let near = policy::nearest(rule).map(|near| format!("; a rule with a similar name exists: `{near}`"));
            script.fail(&format!("unknown rule `{rule}` in the build script{}", near.unwrap_or_default()));
        }
        let Some(manifest) = built(host) else {
            return script.skip("the lock file of this build was not found");
        };
        let mut policy = match policy::read(host, Some(&manifest)) {
            Ok(policy) => policy,
            Err(faults) => {
                for fault in &faults.0 {
                    script.file(host.absolute(&fault.file));
                    script.fail(&fault.to_string());
                }
                script.project(&manifest, None);
                return script;
            }
        };
        let wish = policy.gpu.or(self.gpu).unwrap_or_default();
        let levels = self.levels.iter().filter(|(rule, _)| !policy.levels.contains_key(rule)).cloned().collect();
        let options = Options {
            python: self.python.clone(),
            manifest: Some(manifest.clone()),
            gpu: Some(wish),
            levels,
            building: true,
            only_static: true,
            ..Options::default()
        };
        let facts = crate::probe::probe(host, &options);
        script.project(&manifest, facts.project.as_ref().and_then(|project| project.lock.as_deref()));
        script.facts(&facts);

        let db = Database::embedded();
        let compiles = facts.project.as_ref().is_some_and(|project| {
            let row = |locked: &LockedCrate| db.crate_row(&locked.name, &locked.version);
            project.crates.iter().any(|locked| row(locked).is_some_and(|row| row.compiles_cuda))
        });
        policy.requires.retain(|key, _| match key.as_str() {
            // A thing that was not looked at is not absent.
            "driver" | "compute-capability" => wish == GpuWish::Required,
            "cuda" => compiles && self.python.is_empty(),
            _ => !self.python.is_empty(),
        });
        let mut outcomes = judge_with(&facts, db, wish, &policy.requires, host.today());
        gate::narrow(&mut outcomes, &mut policy, wish, |rule, finding| match finding.subject {
            // Of environments only those that were named were read.
            Subject::Project | Subject::Env(_) => true,
            Subject::Machine => wish == GpuWish::Required || rule.layer == layer::PROJECT,
            Subject::Declared => false,
        });
        let met = outcomes.findings.iter().map(|(rule, _)| rule.id).sorted_set();
        let ruling = policy.apply(&outcomes, &options, host.today(), &met);
        for (rule, level, finding) in &ruling.findings {
            script.finding(rule, *level, finding);
        }
        if script.outcome == Outcome::Denied {
            let first = ruling.findings.iter().find(|(_, level, _)| *level == Level::Deny);
            let more = first.map(|(rule, ..)| format!("`cargo gpu-doctor explain {}` says more; ", rule.id));
            script.fail(&format!("{}{SKIP}=1 builds without this check", more.unwrap_or_default()));
        }
        script
    }
}

/// Whether a variable chooses the toolkit, the compilers or the libraries of a CUDA build.
fn chooses(name: &str) -> bool {
    let families = ["CUDA", "CUDNN", "CUTENSOR", "LIBTORCH", "NVCC", "ORT_"];
    // These choose devices, and only when the program runs.
    let runs = ["CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES"];
    (families.iter().any(|family| name.starts_with(family)) && !runs.contains(&name))
        || ["CC", "CXX", "UV_CUDA_DRIVER_VERSION"].contains(&name)
}

/// The manifest of the project that is being built: this package's own where its workspace has the lock file in use,
/// else the one beside that lock file.
fn built(host: &Host) -> Option<String> {
    let own = PathBuf::from(host.env_nonempty("CARGO_MANIFEST_DIR")?);
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let (name, version) = (host.env("CARGO_PKG_NAME")?, host.env("CARGO_PKG_VERSION")?);
    let out = host.env_nonempty("OUT_DIR").map(Path::new);
    // The nearest lock file above the target folder, where it is that of this build.
    let lock = out.into_iter().flat_map(Path::ancestors).find(|folder| host.is_file(folder.join("Cargo.lock")));
    if let Some(root) = lock.filter(|root| project::lock_holds(host, &root.join("Cargo.lock"), name, version)) {
        let inside = own.ancestors().find(|folder| host.is_file(folder.join("Cargo.lock"))) == Some(root);
        return Some(text(if inside { own } else { root.to_path_buf() }.join("Cargo.toml")));
    }
    // Cargo and `cargo vendor` leave these in what they unpack: such a package's own lock file is not used.
    let foreign = own
        .ancestors()
        .any(|folder| [".cargo-ok", ".cargo-checksum.json"].iter().any(|mark| host.exists(folder.join(mark))));
    (!foreign).then(|| text(own.join("Cargo.toml")))
}

/// What is told to Cargo, as text.
struct Told {
    text: String,
    outcome: Outcome,
    old: bool,
}

/// A warning that nothing was judged.
fn left_out(why: &str) -> Told {
    let why: String = why.chars().map(|sign| if sign.is_control() { ' ' } else { sign }).collect();
    let text = format!("cargo:warning=the check by gpu_doctor was left out: {why}\n");
    Told { text, outcome: Outcome::Skipped("the check could not be made"), old: false }
}

/// What is told to Cargo.
struct Script<'h> {
    host: &'h Host,
    /// Whether the package is too old for lines with two colons.
    old: bool,
    files: Vec<PathBuf>,
    variables: Vec<String>,
    lines: Vec<(Level, String)>,
    outcome: Outcome,
}

impl<'h> Script<'h> {
    fn new(host: &'h Host) -> Self {
        let first = Dotted::new(&[1, 77]);
        let declared = host.env_nonempty("CARGO_PKG_RUST_VERSION").and_then(|text| text.parse::<Dotted>().ok());
        Self {
            host,
            old: declared.is_some_and(|version| version < first),
            files: Vec::new(),
            variables: Vec::new(),
            lines: Vec::new(),
            outcome: Outcome::Passed,
        }
    }

    fn skip(mut self, why: &'static str) -> Self {
        if self.outcome == Outcome::Passed {
            self.outcome = Outcome::Skipped(why);
        }
        self
    }

    fn variable(&mut self, name: &str) {
        if !self.variables.iter().any(|known| known == name) {
            self.variables.push(name.to_owned());
        }
    }

    /// A file that the verdict rests on; Cargo takes one that is not there for changed at every build.
    fn file(&mut self, path: PathBuf) {
        if self.host.is_file(&path) && !self.files.contains(&path) && !path.to_string_lossy().contains(char::is_control)
        {
            self.files.push(path);
        }
    }

    /// The manifests, the policy's file and the lock file.
    fn project(&mut self, manifest: &str, lock: Option<&str>) {
        self.file(PathBuf::from(manifest));
        let root = lock.map(Path::new);
        if let Some(lock) = root {
            self.file(lock.to_path_buf());
            self.file(lock.with_file_name("Cargo.toml"));
        }
        // As far up as the policy looks.
        let top = root.and_then(Path::parent);
        for folder in Path::new(manifest).ancestors().skip(1) {
            let path = folder.join(policy::read::FILE);
            if self.host.is_file(&path) {
                self.file(path);
                break;
            }
            if top.is_none_or(|top| folder == top) {
                break;
            }
        }
    }

    /// What of the machine the verdict rests on.
    fn facts(&mut self, facts: &Facts) {
        for env in &facts.pythons {
            self.python(env);
        }
        if facts.project.as_ref().is_none_or(|project| project.crates.is_empty()) {
            return;
        }
        for variable in env::VARIABLES.iter().filter(|variable| chooses(variable.name)) {
            self.variable(variable.name);
        }
        // PATH differs between shells and editors: it counts only where it chooses.
        if facts.selectors.iter().any(|selector| selector.name == "PATH") {
            self.variable("PATH");
        }
        for toolkit in &facts.toolkits {
            self.file(PathBuf::from(format!("{}/bin/nvcc", toolkit.path)));
            if let Some(reading) = toolkit.readings.first().filter(|reading| reading.evidence.source == Source::File) {
                self.file(PathBuf::from(&reading.evidence.at));
            }
        }
    }

    /// What of a Python environment its verdict rests on.
    fn python(&mut self, env: &PythonEnv) {
        for name in ["KERAS_BACKEND", "KERAS_HOME", "LD_LIBRARY_PATH", "PYTHONPATH", "TF_USE_LEGACY_KERAS"] {
            self.variable(name);
        }
        self.file(PathBuf::from(format!("{}/pyvenv.cfg", env.path)));
        for dist in env.dists.iter().filter(|dist| dist.name.contains("tensorflow") || dist.name.contains("keras")) {
            self.file(Path::new(&dist.metadata).join("RECORD"));
        }
    }

    fn line(&mut self, level: Level, text: &str) {
        // Cargo takes one line for one message.
        let text = text.chars().map(|sign| if sign.is_control() { ' ' } else { sign }).collect();
        self.lines.push((level, text));
    }

    fn fail(&mut self, text: &str) {
        self.outcome = Outcome::Denied;
        self.line(Level::Deny, text);
    }

    fn finding(&mut self, rule: &Rule, level: Level, finding: &Finding) {
        match level {
            // Cargo has no line for it.
            Level::Note => return,
            Level::Warn => {}
            Level::Deny => self.outcome = Outcome::Denied,
        }
        self.line(level, &format!("{} [{}]", finding.title, rule.id));
        for evidence in finding.evidence.iter().take(4) {
            let place = evidence.line.map(|line| format!(":{line}")).unwrap_or_default();
            self.line(level, &format!("  = {}{place} says: {}", evidence.at, evidence.says));
        }
        for consequence in &finding.consequences {
            self.line(level, &format!("  = {consequence}"));
        }
        for help in &finding.help {
            self.line(level, &format!("  help: {}", help.text));
            if let Some(command) = &help.command {
                self.line(level, &format!("          {command}"));
            }
        }
    }

    fn told(self) -> Told {
        Told { text: self.text(), outcome: self.outcome, old: self.old }
    }

    /// The lines as Cargo reads them.
    fn text(&self) -> String {
        let colons = if self.old { ":" } else { "::" };
        let mut text = String::new();
        for name in &self.variables {
            let _ = writeln!(text, "cargo{colons}rerun-if-env-changed={name}");
        }
        for path in &self.files {
            let _ = writeln!(text, "cargo{colons}rerun-if-changed={}", path.display());
        }
        for (level, line) in &self.lines {
            let key = if *level == Level::Deny && !self.old { "error" } else { "warning" };
            let _ = writeln!(text, "cargo{colons}{key}={line}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing::Tree;
    use proptest::prelude::*;

    /// A crate `app` of a workspace whose lock file has a crate that compiles CUDA.
    fn project() -> Tree {
        let tree = Tree::new();
        tree.write("/w/Cargo.toml", "[workspace]\nmembers = ['app']\n")
            .write(
                "/w/app/Cargo.toml",
                "[package]\nname = 'app'\nversion = '0.1.0'\n[dependencies]\nbindgen_cuda = '0.1'\n",
            )
            .write("/w/app/src/lib.rs", "")
            .write("/usr/bin/true", "")
            .write(
                "/w/Cargo.lock",
                "version = 4\n[[package]]\nname = \"app\"\nversion = \"0.1.0\"\ndependencies = [\"bindgen_cuda\"]\n\
                 [[package]]\nname = \"bindgen_cuda\"\nversion = \"0.1.5\"\n\
                 source = \"registry+https://github.com/rust-lang/crates.io-index\"\n",
            );
        tree
    }

    fn host(tree: &Tree, more: &[(&str, &str)]) -> Host {
        let env = [
            ("CARGO_MANIFEST_DIR", "/w/app"),
            ("CARGO_PKG_NAME", "app"),
            ("CARGO_PKG_VERSION", "0.1.0"),
            ("OUT_DIR", "/w/target/debug/build/app-1/out"),
            ("CARGO_CFG_TARGET_OS", "linux"),
            ("PWD", "/w/app"),
            // No GPU has to be asked.
            ("CUDA_COMPUTE_CAP", "90"),
            ("PATH", "/usr/bin"),
        ];
        // Later ones win.
        tree.host(&[&env[..], more].concat())
    }

    fn said(check: &Check, host: &Host) -> (Outcome, String) {
        let script = check.judge(host);
        (script.outcome, script.text())
    }

    #[test]
    fn a_broken_project_is_an_error_and_names_what_it_rests_on() {
        let tree = project();
        let (outcome, text) = said(&Check::new(), &host(&tree, &[]));
        assert_eq!(outcome, Outcome::Denied, "{text}");
        assert!(text.contains("cargo::error=bindgen_cuda 0.1.5 ") && text.contains(" [toolkit-missing]\n"), "{text}");
        for line in [
            "env-changed=GPU_DOCTOR_SKIP",
            "env-changed=CUDA_HOME",
            "changed=/w/Cargo.lock",
            "changed=/w/Cargo.toml",
            "changed=/w/app/Cargo.toml",
        ] {
            assert!(text.contains(&format!("cargo::rerun-if-{line}\n")), "{line}: {text}");
        }
        assert!(!text.contains("=PATH\n") && !text.contains("gpu-doctor.toml"), "{text}");
    }

    #[test]
    fn it_can_be_left_out() {
        let tree = project();
        for more in [("DOCS_RS", "1"), ("GPU_DOCTOR_SKIP", "1"), ("CARGO_CFG_TARGET_OS", "windows")] {
            let (outcome, text) = said(&Check::new(), &host(&tree, &[more]));
            assert!(matches!(outcome, Outcome::Skipped(_)), "{more:?}");
            assert_eq!(text, "cargo::rerun-if-env-changed=DOCS_RS\ncargo::rerun-if-env-changed=GPU_DOCTOR_SKIP\n");
        }
        for value in ["", "0"] {
            assert_eq!(said(&Check::new(), &host(&tree, &[("GPU_DOCTOR_SKIP", value)])).0, Outcome::Denied);
        }
    }

    #[test]
    fn the_policy_has_the_last_word() {
        let tree = project();
        assert_eq!(said(&Check::new().allow("toolkit-missing"), &host(&tree, &[])).0, Outcome::Passed);
        let (outcome, text) = said(&Check::new().warn("toolkit-missing"), &host(&tree, &[]));
        assert!(outcome == Outcome::Passed && text.contains("cargo::warning=bindgen_cuda"), "{text}");
        tree.write("/w/gpu-doctor.toml", "[rules]\ntoolkit-missing = 'deny'\n");
        let (outcome, text) = said(&Check::new().allow("toolkit-missing"), &host(&tree, &[]));
        assert!(outcome == Outcome::Denied && text.contains("rerun-if-changed=/w/gpu-doctor.toml\n"), "{text}");
        // What a policy ignores elsewhere is no business of a build.
        let ignores = "[[ignore]]\nrule = 'toolkit-missing'\nreason = 'CI has one'\n\
                       [[ignore]]\nrule = 'keras-outdated'\nreason = 'known'\nexpires = 2020-01-01\n";
        tree.write("/w/gpu-doctor.toml", ignores);
        let (outcome, text) = said(&Check::new(), &host(&tree, &[]));
        assert!(outcome == Outcome::Passed && !text.contains("cargo::warning"), "{text}");
    }

    #[test]
    fn the_gpu_is_looked_at_by_wish_only() {
        let tree = project();
        tree.folder("/sys/bus/pci/devices");
        tree.write("/w/Cargo.lock", "version = 4\n[[package]]\nname = \"app\"\nversion = \"0.1.0\"\n");
        assert_eq!(said(&Check::new(), &host(&tree, &[("CUDA_COMPUTE_CAP", "")])).0, Outcome::Passed);
        let (outcome, text) = said(&Check::new().gpu(GpuWish::Required), &host(&tree, &[("CUDA_COMPUTE_CAP", "")]));
        assert!(outcome == Outcome::Denied && text.contains("[gpu-absent]"), "{text}");
        tree.write("/w/gpu-doctor.toml", "gpu = 'none'\n");
        assert_eq!(
            said(&Check::new().gpu(GpuWish::Required), &host(&tree, &[("CUDA_COMPUTE_CAP", "")])).0,
            Outcome::Passed
        );
    }

    #[test]
    fn mistakes_are_errors_of_the_build() {
        let tree = project();
        tree.write("/w/gpu-doctor.toml", "gpus = 1\n[rules]\ntoolkit-missng = 'deny'\n");
        let (outcome, text) = said(&Check::new(), &host(&tree, &[]));
        assert_eq!(outcome, Outcome::Denied);
        assert!(
            text.contains("gpu-doctor.toml:1:1: unknown key `gpus`") && text.contains(":3:1: unknown rule"),
            "{text}"
        );
        assert!(text.contains("rerun-if-changed=/w/gpu-doctor.toml\n"), "{text}");
        tree.write("/w/gpu-doctor.toml", "");
        let (outcome, text) = said(&Check::new().deny("toolkit-missng").allow("toolkit-missing"), &host(&tree, &[]));
        assert!(outcome == Outcome::Denied && text.contains("exists: `toolkit-missing`"), "{text}");
    }

    #[test]
    fn a_package_of_a_registry_is_judged_by_the_build_that_uses_it() {
        let tree = project();
        let home = "/home/.cargo/registry/src/index/dep-2.0.0";
        tree.write(&format!("{home}/Cargo.toml"), "[package]\nname = 'dep'\nversion = '2.0.0'\n")
            .write(&format!("{home}/.cargo-ok"), "")
            .write(&format!("{home}/Cargo.lock"), "version = 4\n[[package]]\nname = \"dep\"\nversion = \"2.0.0\"\n");
        let own = [("CARGO_MANIFEST_DIR", home), ("CARGO_PKG_NAME", "dep"), ("CARGO_PKG_VERSION", "2.0.0")];
        assert!(matches!(said(&Check::new(), &host(&tree, &own)).0, Outcome::Skipped(_)), "that lock does not hold it");
        let lock = host(&tree, &[]).read_text("/w/Cargo.lock").unwrap();
        tree.write("/w/Cargo.lock", &format!("{lock}[[package]]\nname = \"dep\"\nversion = \"2.0.0\"\n"));
        // Which of the lock file's crates are built can be told of direct dependencies only.
        let (outcome, text) = said(&Check::new(), &host(&tree, &own));
        assert!(outcome != Outcome::Skipped("the lock file of this build was not found"), "{text}");
        assert!(text.contains("rerun-if-changed=/w/Cargo.lock\n") && text.contains("=/w/Cargo.toml\n"), "{text}");
    }

    #[test]
    fn an_old_package_gets_lines_that_it_may_have() {
        let tree = project();
        let judged = |version| Check::new().judge(&host(&tree, &[("CARGO_PKG_RUST_VERSION", version)])).told();
        let script = judged("1.70");
        assert!(script.old && script.outcome == Outcome::Denied);
        assert!(script.text.contains("cargo:warning=bindgen_cuda") && !script.text.contains("cargo::"));
        assert!(!judged("1.77").old);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_message_stays_one_line(text in "(\\PC|[\n\r\u{1b}\u{85}]){0,40}") {
            let tree = Tree::new();
            let host = tree.host(&[]);
            let mut script = Script::new(&host);
            script.fail(&text);
            prop_assert_eq!(script.text().lines().count(), 1);
            prop_assert!(!script.text().trim_end_matches('\n').contains(char::is_control));
        }
    }
}
