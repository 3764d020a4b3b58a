//! What the build scripts of known crates would do here, followed step by step as their sources have it.
//!
//! No rule of its own: each way to fail is handed to the rule that it belongs to. A crate or a release that was never
//! read is left open, not guessed.

use super::Cx;
use super::toolkit_missing::version as toolkit_version;
use crate::db::CrateRow;
use crate::facts::{BuildPlace, BuildSystem, Evidence, LockedCrate, Project, Toolkit};
use crate::finding::{Break, Finding, Judgment, Level, RowRef, Subject};
use crate::version::Dotted;

mod cudarc;
mod cust;
mod kernels;
mod ort;
mod tensorflow;
mod torch;

/// Crates without a build script of CUDA's: they ask through others, which are in the graph too.
const THROUGH_OTHERS: &[&str] = &[
    "burn-cuda",
    "candle-core",
    "candle-flash-attn",
    "cubecl-cuda",
    "nvml-wrapper",
    "ort",
    "rustacuda",
    "tch",
    "tensorflow",
];

/// What was said of all crates of the project.
#[derive(Debug, Default)]
pub(super) struct Said {
    findings: Vec<(&'static str, Finding)>,
    unknown: Vec<(&'static str, String, Break)>,
    looked: Vec<&'static str>,
}

impl Said {
    /// Says that a rule had something to look at.
    fn looked(&mut self, rule: &'static str) {
        self.looked.push(rule);
    }

    /// Adds a finding of a rule.
    fn find(&mut self, rule: &'static str, finding: Finding) {
        self.findings.push((rule, finding));
    }

    /// Adds what a rule could not tell.
    fn open(&mut self, rule: &'static str, missing: impl Into<String>, what: Break) {
        self.unknown.push((rule, missing.into(), what));
    }
}

/// The rules that speak here.
pub(super) const UNSUPPORTED: &str = "crate-toolkit-unsupported";
pub(super) const DRIVER: &str = "crate-driver-too-old";
pub(super) const NEEDS_GPU: &str = "crate-needs-gpu-at-build";
pub(super) const IGNORES: &str = "crate-ignores-variable";
pub(super) const CUDNN: &str = "crate-cudnn-mismatch";
pub(super) const LIBTORCH: &str = "crate-libtorch-mismatch";
pub(super) const MISSING: &str = "toolkit-missing";
pub(super) const STUB: &str = "libcuda-stub";

/// Whether a crate's build script is followed here.
pub(super) fn follows(name: &str) -> bool {
    matches!(
        name,
        "bindgen_cuda" | "candle-kernels" | "cudaforge" | "cudarc" | "cust" | "cust_raw" | "find_cuda_helper"
    )
}

/// Hands a rule what the build scripts of this project say to it.
pub(super) fn say(cx: &Cx<'_>, rule: &'static str, out: &mut Judgment) {
    let said = judge(cx);
    if said.looked.contains(&rule) {
        out.applies();
    }
    for (_, finding) in said.findings.into_iter().filter(|(id, _)| *id == rule) {
        out.find(finding);
    }
    for (_, missing, what) in said.unknown.into_iter().filter(|(id, ..)| *id == rule) {
        out.unknown(Subject::Project, missing, Some(what));
    }
}

/// Follows every crate.
fn judge(cx: &Cx<'_>) -> Said {
    let mut said = Said::default();
    let Some(project) = &cx.facts.project else { return said };
    for it in &project.crates {
        let row = cx.db.crate_row(&it.name, &it.version).filter(|row| covers(row, &it.version));
        let script = Script { cx, project, it, row };
        if !it.built {
            let why = project.unresolved.as_deref().unwrap_or("its features are not resolved");
            said.open(UNSUPPORTED, format!("whether {} is built at all: {why}", script.title()), Break::Builds);
            continue;
        }
        match it.name.as_str() {
            "cudarc" => cudarc::follow(&script, &mut said),
            "bindgen_cuda" | "cudaforge" => kernels::follow(&script, &mut said),
            "candle-kernels" => kernels::candle(&script, &mut said),
            "cust" | "cust_raw" | "find_cuda_helper" => cust::follow(&script, &mut said),
            "torch-sys" => torch::follow(&script, &mut said),
            "ort-sys" => ort::follow(&script, &mut said),
            "tensorflow-sys" => tensorflow::follow(&script, &mut said),
            name if THROUGH_OTHERS.contains(&name) => {}
            _ => said.open(UNSUPPORTED, format!("what the build script of {} asks for", script.title()), Break::Builds),
        }
    }
    said
}

/// Whether a row is about a version, and not only the nearest one.
fn covers(row: &CrateRow, version: &str) -> bool {
    let Ok(it) = version.parse::<pep440_rs::Version>() else { return false };
    row.versions.split(',').all(|part| {
        let part = part.trim();
        let end = part.find(|c: char| c.is_ascii_digit()).unwrap_or(part.len());
        let (operator, number) = part.split_at(end);
        let Ok(bound) = number.parse::<pep440_rs::Version>() else { return operator == "*" };
        match operator.trim() {
            ">=" => it >= bound,
            "<=" => it <= bound,
            ">" => it > bound,
            "<" => it < bound,
            _ => it == bound,
        }
    })
}

/// nvcc as a build script finds it on PATH.
#[derive(Debug)]
enum Nvcc<'c> {
    /// It is there, of this toolkit.
    There { path: &'c str, toolkit: Option<&'c Toolkit> },
    /// No folder of PATH has it.
    Missing,
    /// PATH is not known.
    Unknown,
}

/// One crate and what its build script would see.
#[derive(Clone, Copy, Debug)]
struct Script<'c> {
    cx: &'c Cx<'c>,
    project: &'c Project,
    it: &'c LockedCrate,
    row: Option<&'c CrateRow>,
}

impl<'c> Script<'c> {
    /// Name and version.
    fn title(&self) -> String {
        format!("{} {}", self.it.name, self.it.version)
    }

    /// The version as numbers, without what follows them.
    fn version(&self) -> (u64, u64, u64) {
        let mut parts = self.it.version.split(['.', '-', '+']).map(|part| part.parse().unwrap_or(0));
        let mut next = || parts.next().unwrap_or(0);
        (next(), next(), next())
    }

    /// Whether a feature is on; `None` where that is not known.
    fn has(&self, feature: &str) -> Option<bool> {
        let on = self.it.features.iter().any(|name| name == feature);
        if on || self.it.all_features { Some(on) } else { None }
    }

    /// A variable as the build script gets it.
    fn env(&self, name: &str) -> Option<(&'c str, Evidence)> {
        if let Some(set) = self.project.build.as_ref().and_then(|build| build.env.get(name)) {
            return Some((&set.value, set.evidence.clone()));
        }
        self.cx.facts.env.get(name).map(|value| (value.as_str(), Evidence::env(name, value)))
    }

    /// The processor that is built for; none for a platform other than Linux.
    fn arch(&self) -> Option<&'c str> {
        let Some(target) = self.build().and_then(|build| build.target.as_deref()) else {
            return Some(&self.cx.facts.machine.arch);
        };
        target.split('-').next().filter(|_| target.contains("-linux"))
    }

    /// Whether another platform than the machine's is built for; what its build script links is left open then.
    fn is_foreign(&self, said: &mut Said) -> bool {
        let foreign = self.arch() != Some(self.cx.facts.machine.arch.as_str());
        if foreign {
            let target = self.build().and_then(|build| build.target.as_deref()).unwrap_or_default();
            said.open(UNSUPPORTED, format!("what {} links for {target}", self.title()), Break::Builds);
        }
        foreign
    }

    /// What build scripts find, where that was read.
    fn build(&self) -> Option<&'c BuildSystem> {
        self.project.build.as_ref()
    }

    /// A folder at which build scripts look.
    fn place(&self, folder: &str) -> Option<&'c BuildPlace> {
        let folder = folder.trim_end_matches('/');
        self.build()?.places.iter().find(|place| place.folder.trim_end_matches('/') == folder)
    }

    /// nvcc on PATH.
    fn nvcc(&self) -> Nvcc<'c> {
        let facts = self.cx.facts;
        let Some(selector) = facts.selectors.iter().find(|selector| selector.name == "PATH") else {
            return if facts.env.contains_key("PATH") { Nvcc::Missing } else { Nvcc::Unknown };
        };
        let toolkit = selector.toolkit.as_ref().and_then(|real| facts.toolkits.iter().find(|it| it.real == *real));
        Nvcc::There { path: &selector.value, toolkit }
    }

    /// Another toolkit of the machine that has nvcc, which this build script does not find.
    fn other_toolkit(&self) -> Option<&'c Toolkit> {
        self.cx.facts.toolkits.iter().find(|toolkit| toolkit.nvcc.is_some())
    }

    /// A toolkit that a variable names and this build script does not look at, with that variable.
    fn ignored_variable(&self, reads: &[&str]) -> Option<(&'c str, &'c Toolkit)> {
        self.cx.facts.selectors.iter().find_map(|selector| {
            let toolkit = selector.toolkit.as_ref()?;
            let toolkit = self.cx.facts.toolkits.iter().find(|it| it.real == *toolkit)?;
            (selector.name != "PATH" && !reads.contains(&selector.name.as_str())).then_some((&*selector.name, toolkit))
        })
    }

    /// Warns where a variable that is not read names another toolkit than the one that is taken.
    fn warn_of_ignored(&self, taken: Option<&Toolkit>, reads: &[&str], remedy: &str, said: &mut Said) {
        said.looked(IGNORES);
        let (Some(taken), Some((variable, named))) = (taken, self.ignored_variable(reads)) else { return };
        if named.real == taken.real || self.env(variable).is_none_or(|(value, _)| value.is_empty()) {
            return;
        }
        let title = format!("{variable} names {}, and {} takes nvcc of {}", named.path, self.title(), taken.path);
        let finding = self
            .finding(title)
            .because(Evidence::env(variable, &named.path))
            .because_all(taken.found_by.first().cloned())
            .run(format!("where {} is meant", named.path), remedy.replace("{}", &named.path));
        said.find(IGNORES, finding);
    }

    /// Says that a library is missing when the project is linked, which stops only a build that links.
    fn does_not_link(&self, rule: &'static str, finding: Finding, said: &mut Said) {
        if let Some(flags) = self.build().and_then(|build| build.linked_elsewhere.as_ref()) {
            said.find(rule, finding.at(Level::Warn));
            return said.open(rule, format!("whether the linker finds it by {}", flags.at), Break::Builds);
        }
        // A build script is a program itself.
        let links = if self.it.only_for.as_deref() == Some("build") { Some(true) } else { self.project.links };
        match links {
            Some(true) => said.find(rule, finding.at(Level::Deny).breaks(Break::Builds)),
            Some(false) => {
                let so = "the library compiles; tests and programs that use it do not link";
                said.find(rule, finding.at(Level::Warn).so(so));
            }
            None => {
                said.find(rule, finding.at(Level::Warn));
                said.open(rule, "whether the project links a program", Break::Builds);
            }
        }
    }

    /// Whether `pkg-config` finds a package; what of it does not link, or is not followed, is said.
    fn pkg_config(&self, name: &str, said: &mut Said) -> bool {
        let off = format!("{}_NO_PKG_CONFIG", name.to_uppercase());
        let Some(build) = self.build().filter(|it| it.pkg_config.is_some() && self.env(&off).is_none()) else {
            return false;
        };
        let Some(file) = build.packages.get(name) else { return false };
        if let Some(open) = &file.open {
            said.open(UNSUPPORTED, open.clone(), Break::Builds);
        } else if let Some(missing) = file.missing.first() {
            let title = format!("{} links lib{missing}, which is in no folder that {} names", self.title(), file.path);
            let finding = self.finding(title).because(Evidence::file(&file.path, format!("-l{missing}")));
            let help =
                format!("install that library, or take {} away, so that {} looks elsewhere", file.path, self.it.name);
            self.does_not_link(UNSUPPORTED, finding.help(help), said);
        }
        true
    }

    /// The row that a finding rests on.
    fn row_ref(&self) -> Option<RowRef> {
        self.row.map(CrateRow::row_ref)
    }

    /// A finding about this crate, with the lines that bring it in.
    fn finding(&self, title: impl Into<String>) -> Finding {
        let finding = Finding::new(Subject::Project, title)
            .because_all(self.it.declared.clone())
            .because(self.it.evidence.clone())
            .row(self.row_ref());
        match self.it.via.as_slice() {
            [] | [_] => finding,
            via => finding.so(format!("{} is there through {}", self.title(), via.join(", then "))),
        }
    }

    /// The finding that nvcc is missing where this build script looks for it.
    fn no_nvcc(&self, where_: &str, reads: &[&str]) -> (&'static str, Finding) {
        if let Some((variable, toolkit)) = self.ignored_variable(reads) {
            let title =
                format!("{} looks for nvcc {where_}, not at {variable}, which names {}", self.title(), toolkit.path);
            let finding = self
                .finding(title)
                .because(Evidence::env(variable, &toolkit.path))
                .run("put that toolkit on PATH", format!("export PATH={}/bin:$PATH", toolkit.path));
            return (IGNORES, finding.at(Level::Deny).breaks(Break::Builds));
        }
        let title = format!("{} needs nvcc, and there is none {where_}", self.title());
        let finding = self.finding(title).because(Evidence::env("PATH", "no folder of it has nvcc"));
        let finding = match self.other_toolkit() {
            Some(toolkit) => finding
                .because_all(toolkit.found_by.first().cloned())
                .run("put the toolkit that is here on PATH", format!("export PATH={}/bin:$PATH", toolkit.path)),
            None => match self.cx.facts.machine.distribution_id.value().map(String::as_str) {
                Some("debian" | "ubuntu") => {
                    finding.run("install a CUDA toolkit", "sudo apt install nvidia-cuda-toolkit")
                }
                Some("arch") => finding.run("install a CUDA toolkit", "sudo pacman -S cuda"),
                _ => finding.help("install a CUDA toolkit and put its `bin` on PATH"),
            },
        };
        (MISSING, finding.breaks(Break::Builds))
    }
}

/// Major and minor of a version.
fn minor(version: &Dotted) -> Dotted {
    Dotted::new(&[version.major(), version.minor()])
}

/// The CUDA release of a toolkit.
fn release(toolkit: Option<&Toolkit>) -> Option<(Dotted, Evidence)> {
    let toolkit = toolkit?;
    let evidence = toolkit.readings.first()?.evidence.clone();
    Some((minor(toolkit_version(toolkit)?), evidence))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Database;
    use crate::facts::{
        Assumption, Dist, Facts, LibTorch, MissingNeeded, OnnxRuntime, PkgConfigFile, PythonEnv, Reading,
        ToolkitSelector, Torch,
    };
    use crate::options::GpuWish;
    use crate::rules::testing::{bare, machine_with_driver, v};
    use crate::rules::toolkit_missing::tests::toolkit;
    use crate::view::View;

    /// A machine whose project has one crate, resolved, with these features.
    fn with(mut facts: Facts, name: &str, version: &str, features: &[&str]) -> Facts {
        facts.env.insert("PATH".to_owned(), "/usr/bin".to_owned());
        let it = LockedCrate {
            name: name.to_owned(),
            version: version.to_owned(),
            evidence: Evidence::file("/p/Cargo.lock", format!("{name} {version}")).line(7),
            features: features.iter().map(|name| (*name).to_owned()).collect(),
            all_features: true,
            built: true,
            via: vec!["app 0.1.0".to_owned()],
            ..LockedCrate::default()
        };
        facts.project = Some(Project {
            manifest: "/p/Cargo.toml".to_owned(),
            crates: vec![it],
            resolved: true,
            build: Some(BuildSystem::default()),
            ..Project::default()
        });
        facts
    }

    /// The same with nvcc of a release on PATH.
    fn nvcc(mut facts: Facts, release: &str) -> Facts {
        facts.toolkits = vec![toolkit("/usr/local/cuda", release)];
        let value = "/usr/local/cuda/bin/nvcc".to_owned();
        facts.selectors.push(ToolkitSelector {
            name: "PATH".to_owned(),
            value,
            toolkit: Some("/usr/local/cuda".to_owned()),
        });
        facts
    }

    fn env(mut facts: Facts, name: &str, value: &str) -> Facts {
        facts.env.insert(name.to_owned(), value.to_owned());
        facts
    }

    fn said(facts: &Facts) -> Said {
        let db = Database::embedded();
        let view = View::new(facts, db);
        judge(&Cx {
            facts,
            db,
            view: &view,
            gpu: GpuWish::Optional,
            requires: &crate::policy::NOTHING_REQUIRED,
            launch: crate::options::Launch::Never,
            today: "2026-11-23",
            predicted: None,
        })
    }

    fn reading(value: &str) -> Reading<String> {
        Reading { value: value.to_owned(), evidence: Evidence::default() }
    }

    fn system(facts: &mut Facts) -> &mut BuildSystem {
        facts.project.as_mut().unwrap().build.as_mut().unwrap()
    }

    /// What was left open.
    fn open(facts: &Facts) -> Vec<String> {
        said(facts).unknown.into_iter().map(|(_, missing, _)| missing).collect()
    }

    /// The rules that found something, and all that they said.
    fn found(facts: &Facts) -> (Vec<&'static str>, String) {
        let said = said(facts);
        let rules = said.findings.iter().map(|(rule, _)| *rule).collect();
        let text = said.findings.iter().flat_map(|(_, finding)| {
            let help = finding.help.iter().flat_map(|help| [Some(help.text.clone()), help.command.clone()]);
            std::iter::once(Some(finding.title.clone())).chain(help).flatten()
        });
        (rules, text.collect::<Vec<_>>().join("\n"))
    }

    const ASKS: &[&str] = &["default", "dynamic-loading", "driver", "cuda-version-from-build-system"];

    #[test]
    fn a_toolkit_newer_than_the_bindings_is_told_with_the_release_that_knows_it() {
        let (rules, text) = found(&nvcc(with(bare(), "cudarc", "0.16.6", ASKS), "13.0.2"));
        assert_eq!(rules, [UNSUPPORTED]);
        assert!(text.contains("cudarc 0.17.1 or newer"), "{text}");
        let (rules, text) = found(&nvcc(with(bare(), "cudarc", "0.17.0", ASKS), "13.0.2"));
        assert_eq!(rules, [UNSUPPORTED]);
        assert!(text.contains("cargo update -p cudarc@0.17.0 --precise 0.17.1"), "{text}");
        let (rules, text) = found(&nvcc(with(bare(), "cudarc", "0.19.10", ASKS), "13.5.0"));
        assert_eq!(rules, [UNSUPPORTED]);
        assert!(text.contains("no release of cudarc") && text.contains("export CUDARC_CUDA_VERSION=13040"), "{text}");
        let fine = nvcc(with(bare(), "cudarc", "0.17.8", ASKS), "13.0.2");
        assert!(found(&fine).0.is_empty() && said(&fine).unknown.is_empty());
        let named = env(nvcc(with(bare(), "cudarc", "0.19.10", ASKS), "13.5.0"), "CUDARC_CUDA_VERSION", "13040");
        assert!(found(&named).0.is_empty());
        // Releases before 0.16.5 do not read it.
        let named = env(nvcc(with(bare(), "cudarc", "0.16.4", ASKS), "13.0.0"), "CUDARC_CUDA_VERSION", "12080");
        assert_eq!(found(&named).0, [UNSUPPORTED]);
        let wrong = env(with(bare(), "cudarc", "0.19.10", ASKS), "CUDARC_CUDA_VERSION", "12.8");
        assert_eq!(found(&wrong).0, [UNSUPPORTED]);
    }

    #[test]
    fn without_nvcc_a_feature_or_the_latest_bindings_do() {
        assert_eq!(found(&with(bare(), "cudarc", "0.19.10", ASKS)).0, [MISSING]);
        let latest: Vec<&str> = ASKS.iter().copied().chain(["fallback-latest"]).collect();
        assert!(found(&with(bare(), "cudarc", "0.19.10", &latest)).0.is_empty());
        // 0.17.5 has no such fallback.
        assert_eq!(found(&with(bare(), "cudarc", "0.17.5", &latest)).0, [MISSING]);
        assert!(found(&with(bare(), "cudarc", "0.19.10", &["dynamic-loading", "cuda-12080"])).0.is_empty());
        let (rules, text) = found(&with(bare(), "cudarc", "0.19.10", &["default", "fallback-dynamic-loading"]));
        assert_eq!(rules, [UNSUPPORTED]);
        assert!(text.contains("cuda-version-from-build-system"));
        let both = ["dynamic-loading", "dynamic-linking", "cuda-12080"];
        assert_eq!(found(&with(bare(), "cudarc", "0.17.3", &both)).0, [UNSUPPORTED]);
        assert_eq!(found(&with(bare(), "cudarc", "0.17.3", &["cuda-12080"])).0, [UNSUPPORTED]);
        // A toolkit that only a variable names is not asked.
        let mut facts = with(bare(), "cudarc", "0.19.10", ASKS);
        facts.toolkits = vec![toolkit("/opt/cuda-13", "13.0.0")];
        let value = "/opt/cuda-13".to_owned();
        facts.selectors =
            vec![ToolkitSelector { name: "CUDA_HOME".to_owned(), value: value.clone(), toolkit: Some(value) }];
        let (rules, text) = found(&facts);
        assert_eq!(rules, [IGNORES]);
        assert!(text.contains("export PATH=/opt/cuda-13/bin:$PATH"), "{text}");
    }

    #[test]
    fn bindings_that_take_all_symbols_need_a_driver_as_new() {
        let old = |version: &str, feature: &str| {
            with(machine_with_driver("535.54.03"), "cudarc", version, &["driver", "dynamic-loading", feature])
        };
        let (rules, text) = found(&old("0.16.4", "cuda-12080"));
        assert_eq!(rules, [DRIVER]);
        assert!(text.contains("reports 12.2"), "{text}");
        assert!(found(&old("0.16.4", "cuda-12020")).0.is_empty());
        // CUDA 12.6 brought no function, so a driver of 12.5 does.
        let at = |cuda: &str| {
            let mut facts = with(bare(), "cudarc", "0.16.4", &["driver", "dynamic-loading", "cuda-12060"]);
            let evidence = Evidence::default();
            facts.assumed = vec![Assumption { key: "cuda".to_owned(), value: v(cuda), evidence }];
            found(&facts).0
        };
        assert!(at("12.5").is_empty());
        assert_eq!(at("12.4"), [DRIVER]);
        assert!(found(&old("0.19.10", "cuda-13000")).0.is_empty());
    }

    #[test]
    fn kernels_need_a_gpu_or_a_number() {
        let facts = nvcc(with(bare(), "bindgen_cuda", "0.1.6", &[]), "13.0.0");
        let (rules, text) = found(&facts);
        assert!(rules.contains(&NEEDS_GPU) && text.contains("export CUDA_COMPUTE_CAP=86"), "{text}");
        let mut facts = env(facts, "CUDA_COMPUTE_CAP", "8.6");
        assert!(found(&facts).1.contains("export CUDA_COMPUTE_CAP=86"));
        facts.env.insert("CUDA_COMPUTE_CAP".to_owned(), "86".to_owned());
        // nvcc is there; the headers are in no folder at which it looks.
        assert_eq!(found(&facts).0, [MISSING]);
        let place =
            BuildPlace { folder: "/usr/local/cuda".to_owned(), has_header: true, nvcc: true, ..BuildPlace::default() };
        facts.project.as_mut().unwrap().build.as_mut().unwrap().places = vec![place];
        assert!(found(&facts).0.is_empty());
        let forge = env(with(bare(), "cudaforge", "0.1.6", &[]), "CUDA_COMPUTE_CAP", "sm_90a");
        assert_eq!(found(&forge).0, [MISSING]);
        assert!(found(&nvcc(forge, "13.0.0")).0.is_empty());
    }

    #[test]
    fn kernels_for_a_newer_gpu_do_not_run_here() {
        let on = |gpu: &str, cap: &str| {
            let mut facts = env(nvcc(with(bare(), "cudaforge", "0.1.6", &[]), "13.0.0"), "CUDA_COMPUTE_CAP", cap);
            let evidence = Evidence::new(crate::facts::Source::Option, "--assume", format!("gpu={gpu}"));
            facts.assumed = vec![Assumption { key: "gpu".to_owned(), value: v(gpu), evidence }];
            facts
        };
        let (rules, text) = found(&on("8.6", "90"));
        assert_eq!(rules, [NEEDS_GPU]);
        assert!(text.contains("export CUDA_COMPUTE_CAP=86"), "{text}");
        assert_eq!(said(&on("8.6", "90")).findings[0].1.level, Some(Level::Warn));
        for (gpu, cap) in [("9.0", "90"), ("12.0", "90"), ("9.0", "90a"), ("12.1", "120f")] {
            assert!(found(&on(gpu, cap)).0.is_empty(), "{gpu} {cap}");
        }
        for (gpu, cap) in [("10.0", "90a"), ("13.0", "120f")] {
            assert_eq!(found(&on(gpu, cap)).0, [NEEDS_GPU], "{gpu} {cap}");
        }
    }

    #[test]
    fn one_variable_is_for_all_cudarcs() {
        let mut facts = nvcc(with(bare(), "cudarc", "0.19.10", ASKS), "13.5.0");
        let mut old = facts.project.as_ref().unwrap().crates[0].clone();
        old.version = "0.17.8".to_owned();
        facts.project.as_mut().unwrap().crates.push(old);
        let (rules, text) = found(&facts);
        assert_eq!(rules, [UNSUPPORTED, UNSUPPORTED]);
        assert_eq!(text.matches("export CUDARC_CUDA_VERSION=13000").count(), 2, "{text}");
        let (_, text) = found(&nvcc(with(bare(), "cudarc", "0.19.10", ASKS), "11.2.0"));
        assert!(text.contains("as old as 11.2") && !text.contains("yet"), "{text}");
    }

    #[test]
    fn ptx_of_a_newer_toolkit_does_not_run() {
        let facts = with(machine_with_driver("535.54.03"), "cudaforge", "0.1.6", &[]);
        assert!(found(&env(nvcc(facts, "12.4.1"), "CUDA_COMPUTE_CAP", "90")).0.contains(&DRIVER));
    }

    #[test]
    fn each_crate_has_its_own_variable() {
        let mut facts = with(bare(), "find_cuda_helper", "0.2.0", &[]);
        assert_eq!(found(&facts).0, [MISSING]);
        facts.toolkits = vec![toolkit("/opt/cuda-13", "13.0.0")];
        let value = "/opt/cuda-13".to_owned();
        facts.selectors =
            vec![ToolkitSelector { name: "CUDA_PATH".to_owned(), value: value.clone(), toolkit: Some(value) }];
        let (rules, text) = found(&facts);
        assert_eq!(rules, [IGNORES]);
        assert!(text.contains("export CUDA_LIBRARY_PATH=/opt/cuda-13"), "{text}");
    }

    #[test]
    fn one_libtorch_and_one_cudnn_fit() {
        let (rules, text) = found(&with(bare(), "torch-sys", "0.26.0", &[]));
        assert_eq!(rules, [LIBTORCH]);
        assert!(text.contains("2.13.0"), "{text}");
        let mut facts = env(with(bare(), "torch-sys", "0.26.0", &[]), "LIBTORCH", "/opt/libtorch");
        let found_there = |version: &str| LibTorch {
            folder: "/opt/libtorch".to_owned(),
            headers: true,
            version: Some(version.to_owned()),
            header: Some(reading(version.split('+').next().unwrap())),
            library: true,
            cuda: true,
            cxx11_abi: None,
        };
        let build = |facts: &mut Facts, version: &str| system(facts).libtorch = Some(found_there(version));
        build(&mut facts, "2.4.0+cu121");
        let (rules, text) = found(&facts);
        assert_eq!(rules, [LIBTORCH]);
        assert!(text.contains("tch 0.17.0"), "{text}");
        build(&mut facts, "2.13.0+cpu");
        assert!(found(&facts).0.is_empty());
        assert_eq!(open(&facts), ["which C++ compiler torch-sys 0.26.0 uses: no c++ is on PATH"]);
        system(&mut facts).cxx = Some("/usr/bin/c++".to_owned());
        assert!(open(&facts).is_empty());
        let asks = ["dynamic-loading", "cuda-12080", "cudnn-version-from-build-system"];
        assert_eq!(found(&with(bare(), "cudarc", "0.19.10", &asks)).0, [CUDNN]);
    }

    #[test]
    fn the_old_helper_looks_for_a_header_first() {
        let mut facts = with(bare(), "find_cuda_helper", "0.1.2", &[]);
        facts.project.as_mut().unwrap().links = Some(false);
        assert_eq!(found(&facts).0, [MISSING]);
        let place = |folder: &str, lib64: bool| BuildPlace {
            folder: folder.to_owned(),
            has_header: true,
            lib64,
            ..BuildPlace::default()
        };
        system(&mut facts).places = vec![place("/opt/c", true), place("/usr/local/cuda", false)];
        assert_eq!(found(&facts).0, [UNSUPPORTED]);
        // The variable of the newer ones is none of this.
        let facts = env(facts, "CUDA_LIBRARY_PATH", "/opt/c");
        assert_eq!(found(&facts).0, [UNSUPPORTED]);
        let mut facts = env(facts, "CUDA_PATH", "/opt/c");
        assert!(found(&facts).0.is_empty() && open(&facts).is_empty());
        facts.project.as_mut().unwrap().links = Some(true);
        assert_eq!(open(&facts), ["whether the linker finds libcuda.so: it is not in /opt/c/lib64"]);
    }

    #[test]
    fn a_libtorch_of_a_wheel_is_compiled_against_with_its_own_abi() {
        let mut facts = env(with(bare(), "torch-sys", "0.17.0", &[]), "LIBTORCH", "/t");
        let mut wheel = LibTorch {
            folder: "/t".to_owned(),
            headers: true,
            header: Some(reading("2.4.0")),
            library: true,
            cxx11_abi: Some(reading("0")),
            ..LibTorch::default()
        };
        system(&mut facts).cxx = Some("/usr/bin/c++".to_owned());
        system(&mut facts).libtorch = Some(wheel.clone());
        facts.project.as_mut().unwrap().links = Some(true);
        let (rules, text) = found(&facts);
        assert_eq!(rules, [LIBTORCH]);
        assert!(text.contains("export LIBTORCH_CXX11_ABI=0"), "{text}");
        assert!(said(&facts).findings[0].1.breaks.len() == 1);
        // A library alone compiles.
        facts.project.as_mut().unwrap().links = Some(false);
        assert!(said(&facts).findings[0].1.breaks.is_empty());
        let mut facts = env(facts, "LIBTORCH_CXX11_ABI", "0");
        assert!(found(&facts).0.is_empty() && open(&facts).is_empty());
        // Another PyTorch that has no `build-version`: the compiler has the last word.
        wheel.header = Some(reading("2.3.1"));
        system(&mut facts).libtorch = Some(wheel.clone());
        assert_eq!(found(&facts).0, [LIBTORCH]);
        assert_eq!(open(&facts), ["whether torch-sys 0.17.0 compiles against PyTorch 2.3.1"]);
        wheel.headers = false;
        system(&mut facts).libtorch = Some(wheel);
        assert!(found(&facts).1.contains("finds no headers"), "{}", found(&facts).1);
    }

    #[test]
    fn pytorch_is_asked_by_a_python_that_has_setuptools() {
        let mut facts = env(with(bare(), "torch-sys", "0.17.0", &[]), "LIBTORCH_USE_PYTORCH", "1");
        system(&mut facts).cxx = Some("/usr/bin/c++".to_owned());
        system(&mut facts).python = Some("/venv/bin/python".to_owned());
        let torch = Dist { name: "torch".to_owned(), version: "2.4.0".to_owned(), ..Dist::default() };
        let import = Evidence::file("/venv/torch/utils/cpp_extension.py", "import setuptools").line(10);
        let lacks = Torch { extension_lacks: Some(import), ..Torch::default() };
        facts.pythons = vec![PythonEnv {
            path: "/venv".to_owned(),
            active: true,
            dists: vec![torch],
            torch: Some(lacks),
            ..PythonEnv::default()
        }];
        let (rules, text) = found(&facts);
        assert_eq!(rules, [LIBTORCH]);
        assert!(text.contains("setuptools"), "{text}");
        facts.pythons[0].torch = Some(Torch::default());
        assert!(found(&facts).0.is_empty() && open(&facts).is_empty());
        // One that does not import tells nothing, and the Python on PATH is the one that is asked.
        let mut torn = facts.clone();
        let missing =
            MissingNeeded { name: "libcudart.so.12".to_owned(), by: "/venv/torch/lib/libtorch_cuda.so".to_owned() };
        torn.pythons[0].torch.as_mut().unwrap().missing = vec![missing];
        assert!(found(&torn).1.contains("finds no libcudart.so.12"), "{}", found(&torn).1);
        system(&mut facts).python = Some("/usr/bin/python".to_owned());
        assert_eq!(open(&facts), ["what the Python that LIBTORCH_USE_PYTORCH asks has (/usr/bin/python)"]);
    }

    #[test]
    fn onnx_runtime_is_linked_from_where_it_is_named() {
        let named = |version: &str, variable: &str, libraries: &[&str], dynamic: bool| {
            let mut facts = with(bare(), "ort-sys", version, &["std", "copy-dylibs"]);
            facts.project.as_mut().unwrap().links = Some(true);
            system(&mut facts).onnxruntime = vec![OnnxRuntime {
                variable: variable.to_owned(),
                folder: "/o".to_owned(),
                there: !libraries.is_empty(),
                folders: ["lib", "Release"]
                    .into_iter()
                    .filter(|it| libraries.iter().any(|name| name.starts_with(it)))
                    .map(str::to_owned)
                    .collect(),
                libraries: libraries.iter().map(|name| (*name).to_owned()).collect(),
            }];
            if dynamic { env(facts, "ORT_PREFER_DYNAMIC_LINK", "1") } else { facts }
        };
        for version in ["2.0.0-rc.10", "2.0.0-rc.15"] {
            let fine = named(version, "ORT_LIB_LOCATION", &["libonnxruntime.so"], true);
            assert!(found(&fine).0.is_empty() && open(&fine).is_empty(), "{version}");
            assert_eq!(found(&named(version, "ORT_LIB_LOCATION", &[], true)).0, [UNSUPPORTED], "{version}");
            let only_versioned = named(version, "ORT_LIB_LOCATION", &["libonnxruntime.so.1.22.0"], true);
            assert!(found(&only_versioned).1.contains("make that name a link"), "{version}");
        }
        // The newer ones link statically unless told otherwise, the older ones take what is there.
        let (rules, text) = found(&named("2.0.0-rc.15", "ORT_LIB_PATH", &["lib/libonnxruntime.so"], false));
        assert_eq!(rules, [UNSUPPORTED]);
        assert!(text.contains("export ORT_LIB_PATH=/o/lib ORT_PREFER_DYNAMIC_LINK=1"), "{text}");
        assert!(found(&named("2.0.0-rc.10", "ORT_LIB_LOCATION", &["lib/libonnxruntime.so"], false)).0.is_empty());
        let (rules, _) = found(&named("2.0.0-rc.10", "ORT_LIB_PATH", &["libonnxruntime.so"], true));
        assert_eq!(rules, [IGNORES, UNSUPPORTED]);
        // Into `Release` the linker is sent, and then not into the folder itself.
        assert!(found(&named("2.0.0-rc.10", "ORT_LIB_LOCATION", &["Release/libonnxruntime.so"], true)).0.is_empty());
        let both = ["libonnxruntime.a", "Release/libonnxruntime_x.so"];
        for version in ["2.0.0-rc.10", "2.0.0-rc.12"] {
            assert_eq!(found(&named(version, "ORT_LIB_LOCATION", &both, false)).0, [UNSUPPORTED], "{version}");
        }
        // What a relative folder leads to differs, and so does another platform.
        let mut relative = named("2.0.0-rc.12", "ORT_LIB_LOCATION", &[], true);
        system(&mut relative).onnxruntime[0].folder = "rt/lib".to_owned();
        assert!(found(&relative).0.is_empty() && open(&relative).len() == 1);
        let mut windows = named("2.0.0-rc.12", "ORT_LIB_LOCATION", &["onnxruntime.lib"], true);
        system(&mut windows).target = Some("x86_64-pc-windows-msvc".to_owned());
        assert!(found(&windows).0.is_empty());
        assert_eq!(open(&windows), ["what ort-sys 2.0.0-rc.12 links for x86_64-pc-windows-msvc"]);
        // The linker may be sent elsewhere.
        let mut elsewhere = named("2.0.0-rc.15", "ORT_LIB_PATH", &["x"], true);
        system(&mut elsewhere).linked_elsewhere = Some(Evidence::env("LIBRARY_PATH", "/l"));
        assert!(said(&elsewhere).findings[0].1.breaks.is_empty());
        assert_eq!(open(&elsewhere), ["whether the linker finds it by LIBRARY_PATH"]);
        // What a build script links is linked whatever the package is.
        let mut script = named("2.0.0-rc.15", "ORT_LIB_PATH", &["x"], true);
        script.project.as_mut().unwrap().links = Some(false);
        assert!(said(&script).findings[0].1.breaks.is_empty());
        script.project.as_mut().unwrap().crates[0].only_for = Some("build".to_owned());
        assert_eq!(said(&script).findings[0].1.breaks.len(), 1);
        // A library that is loaded when it is asked for is none of the linker's business.
        for variable in ["ORT_LIB_LOCATION", "ORT_SKIP_DOWNLOAD"] {
            let loads = with(bare(), "ort-sys", "2.0.0-rc.10", &["std", "load-dynamic", "download-binaries"]);
            let loads = env(loads, variable, "1");
            assert!(found(&loads).0.is_empty() && open(&loads).is_empty(), "{variable}");
        }
        // Never read: nothing is claimed.
        assert!(found(&named("2.0.0-rc.99", "ORT_LIB_PATH", &[], true)).0.is_empty());
        let mut offline = with(bare(), "ort-sys", "2.0.0-rc.15", &["std", "download-binaries"]);
        assert_eq!(open(&offline).len(), 1);
        offline.project.as_mut().unwrap().links = Some(true);
        let offline = env(offline, "ORT_SKIP_DOWNLOAD", "1");
        assert!(found(&offline).1.contains("unset ORT_SKIP_DOWNLOAD"), "{}", found(&offline).1);
        // There the first variable that is set decides alone.
        assert!(found(&env(offline, "CARGO_NET_OFFLINE", "false")).0.is_empty());
    }

    #[test]
    fn tensorflows_library_comes_from_pkg_config_from_an_archive_or_from_bazel() {
        let mut facts = with(bare(), "tensorflow-sys", "0.24.0", &[]);
        assert!(found(&facts).0.is_empty());
        assert!(open(&facts)[0].contains("libtensorflow-cpu-linux-x86_64-2.13.0.tar.gz"), "{:?}", open(&facts));
        system(&mut facts).tensorflow_archives = vec!["libtensorflow-cpu-linux-x86_64-2.13.0.tar.gz".to_owned()];
        assert!(open(&facts).is_empty());
        let mut facts = env(facts, "TF_RUST_BUILD_FROM_SRC", "true");
        let (rules, text) = found(&facts);
        assert_eq!(rules, [UNSUPPORTED]);
        assert!(text.contains("bazel"), "{text}");
        let mut arm = with(bare(), "tensorflow-sys", "0.24.0", &[]);
        system(&mut arm).target = Some("aarch64-unknown-linux-gnu".to_owned());
        assert!(found(&arm).1.contains("built already for aarch64"), "{}", found(&arm).1);
        let file = PkgConfigFile { path: "/pc/tensorflow.pc".to_owned(), ..PkgConfigFile::default() };
        system(&mut facts).packages.insert("tensorflow".to_owned(), file);
        // Without the program nobody reads it.
        assert_eq!(found(&facts).0, [UNSUPPORTED]);
        system(&mut facts).pkg_config = Some("/usr/bin/pkg-config".to_owned());
        assert!(found(&facts).0.is_empty() && open(&facts).is_empty());
        system(&mut facts).packages.get_mut("tensorflow").unwrap().missing = vec!["tensorflow".to_owned()];
        facts.project.as_mut().unwrap().links = Some(true);
        assert_eq!(found(&facts).0, [UNSUPPORTED]);
    }

    #[test]
    fn what_is_not_known_is_left_open() {
        let mut facts = with(bare(), "cudarc", "0.16.6", ASKS);
        facts.project.as_mut().unwrap().crates[0].built = false;
        assert!(found(&facts).0.is_empty());
        assert_eq!(said(&facts).unknown[0].2, Break::Builds);
        let newer = with(bare(), "cudarc", "99.0.0", ASKS);
        assert!(found(&newer).0.is_empty() && !said(&newer).unknown.is_empty());
        let never_read = with(bare(), "cuda-sys", "0.2.0", &[]);
        assert!(!said(&never_read).unknown.is_empty());
    }
}
