//! Rule `toolkit-missing`: whether a project that compiles CUDA finds nvcc.
//!
//! What the rules about toolkits share is here too: which crates compile CUDA, and which toolkit is chosen.

use super::{Cx, Family, Rule, build, layer};
use crate::db::CrateRow;
use crate::facts::{Evidence, LockedCrate, Toolkit, ToolkitKind};
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::version::Dotted;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "toolkit-missing",
    family: Family::Cuda,
    level: Level::Deny,
    layer: layer::PROJECT + 1,
    summary: "a crate of this project compiles CUDA, and there is no nvcc",
    docs: "\
### What it means

The lock file of this project holds a crate whose build script runs nvcc or reads the toolkit's headers, and no CUDA \
toolkit with `bin/nvcc` was found: not through `CUDA_HOME` and its like, not on `PATH`, not in the usual places.

### Why it matters

The build script fails. Only projects that compile CUDA need a toolkit: Python wheels and crates that load CUDA at \
run time do not, and this rule says nothing about them.

### How to fix it

Install a CUDA toolkit of a version that the driver and the host compiler take, and put its `bin` on `PATH` (or set \
the variable that the crate reads, most often `CUDA_HOME`). The toolkit alone is enough: do not let a package replace \
the driver.
",
    check,
};

/// The crates of this project that the database knows, with their rows.
pub(super) fn crates<'c>(cx: &'c Cx<'_>) -> Vec<(&'c LockedCrate, &'c CrateRow)> {
    let locked = cx.facts.project.iter().flat_map(|project| &project.crates);
    // What nothing switches on for certain is no reason for a finding; that it stays open is said by the crates' own rules.
    let locked = locked.filter(|locked| locked.built);
    locked.filter_map(|locked| Some((locked, cx.db.crate_row(&locked.name, &locked.version)?))).collect()
}

/// The crates of this project that compile CUDA.
pub(super) fn compiling<'c>(cx: &'c Cx<'_>) -> Vec<(&'c LockedCrate, &'c CrateRow)> {
    // These read headers or look for libraries; none of them runs nvcc.
    let only_look = |name: &str| matches!(name, "cudarc" | "cust" | "cust_raw" | "find_cuda_helper");
    crates(cx).into_iter().filter(|(locked, row)| row.compiles_cuda && !only_look(&locked.name)).collect()
}

/// Evidence that a crate is in the lock file.
pub(super) fn locked_evidence(locked: &LockedCrate) -> Evidence {
    locked.evidence.clone()
}

/// The toolkit that a build would use: what a variable or PATH selects, else the first with nvcc.
pub(super) fn selected<'c>(cx: &'c Cx<'_>) -> Option<&'c Toolkit> {
    let toolkits = &cx.facts.toolkits;
    let by_real = |real: &String| toolkits.iter().find(|toolkit| toolkit.real == *real || toolkit.path == *real);
    let mut selectors = cx.facts.selectors.iter().filter_map(|selector| selector.toolkit.as_ref());
    selectors.find_map(by_real).or_else(|| {
        let usable = |toolkit: &&Toolkit| toolkit.nvcc.is_some() && toolkit.kind != ToolkitKind::Wheel;
        toolkits.iter().find(usable)
    })
}

/// The version of a toolkit: its first reading.
pub(super) fn version(toolkit: &Toolkit) -> Option<&Dotted> {
    toolkit.readings.first().map(|reading| &reading.value)
}

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    build::say(cx, RULE.id, out);
    if let Some(why) = cx.facts.project.as_ref().and_then(crate::facts::Project::unread) {
        let missing = format!("which crates the project has: {why}");
        out.unknown(Subject::Project, missing, Some(Break::Builds));
    }
    // Crates whose build scripts are not followed one by one.
    let rest: Vec<_> = compiling(cx).into_iter().filter(|(locked, _)| !build::follows(&locked.name)).collect();
    judge(cx, &rest, out);
}

fn judge(cx: &Cx<'_>, compiling: &[(&LockedCrate, &CrateRow)], out: &mut Judgment) {
    let Some((locked, row)) = compiling.first() else { return };
    out.applies();
    if cx.facts.toolkits.iter().any(|toolkit| toolkit.nvcc.is_some()) {
        return;
    }
    let title = format!("{} {} compiles CUDA, and there is no nvcc", locked.name, locked.version);
    let mut finding = Finding::new(Subject::Project, title).because(locked_evidence(locked));
    finding = match cx.facts.toolkits.first() {
        Some(toolkit) => finding.because(Evidence::file(format!("{}/bin/nvcc", toolkit.path), "not there")),
        None => finding.because(Evidence::file("/usr/local/cuda/bin/nvcc", "not there")),
    };
    finding = match cx.facts.machine.distribution_id.value().map(String::as_str) {
        Some("debian" | "ubuntu") => finding.run("install a CUDA toolkit", "sudo apt install nvidia-cuda-toolkit"),
        Some("arch") => finding.run("install a CUDA toolkit", "sudo pacman -S cuda"),
        _ => finding.help("install a CUDA toolkit and put its `bin` on PATH"),
    };
    if !row.env.is_empty() {
        finding = finding.help(format!("{} looks for it through {}", locked.name, row.env.join(", ")));
    }
    out.find(finding.row(Some(row.row_ref())).breaks(Break::Builds));
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::db::{Database, Day};
    use crate::facts::Facts;
    use crate::options::{GpuWish, Launch};
    use crate::rules::testing::{bare, reading, silent};
    use crate::view::View;

    /// A crate that compiles CUDA, which the database need not know.
    pub(in crate::rules) fn kernels() -> (LockedCrate, CrateRow) {
        let locked = LockedCrate {
            name: "kernels".to_owned(),
            version: "0.1.0".to_owned(),
            evidence: Evidence::file("/project/Cargo.lock", "kernels 0.1.0").line(7),
            built: true,
            ..LockedCrate::default()
        };
        let row = CrateRow {
            name: "kernels".to_owned(),
            versions: "*".to_owned(),
            compiles_cuda: true,
            env: vec!["CUDA_HOME".to_owned(), "NVCC".to_owned()],
            cuda_features: Vec::new(),
            symbols_at_load: None,
            libtorch: None,
            libtensorflow: None,
            onnxruntime: None,
            source: "https://example.org/".to_owned(),
            also: Vec::new(),
            checked: Day::new("2026-11-23").unwrap(),
            note: None,
        };
        (locked, row)
    }

    /// A toolkit of a version.
    pub(in crate::rules) fn toolkit(path: &str, version: &str) -> Toolkit {
        Toolkit {
            path: path.to_owned(),
            real: path.to_owned(),
            readings: vec![reading(&format!("{path}/version.json"), version)],
            nvcc: Some(format!("{path}/bin/nvcc")),
            ..Toolkit::default()
        }
    }

    /// What a check says of a machine whose project has that crate.
    pub(in crate::rules) fn judged(
        judge: fn(&Cx<'_>, &[(&LockedCrate, &CrateRow)], &mut Judgment),
        facts: &Facts,
    ) -> Judgment {
        let db = Database::embedded();
        let view = View::new(facts, db);
        let cx = Cx {
            facts,
            db,
            view: &view,
            gpu: GpuWish::Optional,
            requires: &crate::policy::NOTHING_REQUIRED,
            launch: Launch::Never,
            today: "2026-11-23",
            predicted: None,
        };
        let (locked, row) = kernels();
        let mut out = Judgment::default();
        judge(&cx, &[(&locked, &row)], &mut out);
        out
    }

    #[test]
    fn a_project_that_compiles_cuda_needs_nvcc() {
        let mut facts = bare();
        assert_eq!(judged(judge, &facts).findings[0].breaks, [(Subject::Project, Break::Builds)]);
        facts.toolkits = vec![toolkit("/usr/local/cuda-12.4", "12.4.1")];
        assert!(judged(judge, &facts).findings.is_empty());
    }

    #[test]
    fn a_machine_without_such_a_project_does_not() {
        assert!(silent(&RULE, &bare()));
    }
}
