//! Rule `kernel-not-run`: whether the test kernel was launched where it could be.

use super::{Cx, Family, Rule, layer};
use crate::facts::{Evidence, Source};
use crate::finding::{Finding, Judgment, Level, Subject};
use crate::options::Launch;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "kernel-not-run",
    family: Family::Kernel,
    level: Level::Note,
    layer: layer::KERNEL,
    summary: "the test kernel was not launched",
    docs: "\
### What it means

The test kernel was asked for, or a driver is loaded, and still no kernel was launched on some GPU: nothing is loaded, only \
files were read, the machine was only assumed, or the driver hung before its turn came.

### Why it matters

Verdicts then rest on what files say. Under `--launch require` that is not enough, and the check fails.

### How to fix it

Run the check where the GPU is, without `--static`, `--root` and `--assume`, in a container with `--gpus all`.
",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    let required = cx.launch == Launch::Require;
    let level = if required { Level::Deny } else { Level::Note };
    let Some(observed) = &cx.facts.observed else {
        if required {
            out.find(
                Finding::new(Subject::Machine, "the test kernel had to run, and no driver was asked".to_owned())
                    .at(level)
                    .help("run the check where the GPU is, with this program's feature `cuda`, and without --static and --root"),
            );
        }
        return;
    };
    out.applies();
    if let Some(why) = &observed.not_run {
        out.find(
            Finding::new(Subject::Machine, format!("the test kernel was not launched: {why}"))
                .at(level)
                .because(Evidence::new(Source::Run, "the test kernel", why)),
        );
        return;
    }
    let Some(driver) = observed.driver.value() else { return };
    let open: Vec<String> = driver
        .devices
        .iter()
        .filter(|device| device.failure.is_none() && !observed.runs.iter().any(|run| run.gpu == device.gpu))
        .map(|device| device.gpu.to_string())
        .collect();
    if driver.failure.is_none() && !open.is_empty() {
        let place = if open.len() == 1 { "GPU" } else { "GPUs" };
        let title = format!("the test kernel was not launched on {place} {}: its turn did not come", open.join(", "));
        out.find(Finding::new(Subject::Machine, title).at(level));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::db::Database;
    use crate::facts::{ApiDevice, DriverApi, Facts, KernelRun, Observed};
    use crate::finding::Judgment;
    use crate::options::GpuWish;
    use crate::rules::testing::{found, machine};
    use crate::view::View;

    fn judge(facts: &Facts, launch: Launch) -> Judgment {
        let db = Database::embedded();
        let view = View::new(facts, db);
        let mut out = Judgment::default();
        let (gpu, requires) = (GpuWish::Optional, BTreeMap::new());
        let cx = Cx { facts, db, view: &view, gpu, launch, requires: &requires, today: "2026-11-23", predicted: None };
        check(&cx, &mut out);
        out
    }

    #[test]
    fn what_did_not_run_is_a_note_unless_it_had_to() {
        let mut facts = machine();
        assert!(!judge(&facts, Launch::Auto).applied);
        assert_eq!(judge(&facts, Launch::Require).findings[0].level, Some(Level::Deny));
        let why = Some("no NVIDIA driver is loaded".to_owned());
        facts.observed = Some(Observed { not_run: why, ..Observed::default() });
        assert_eq!(judge(&facts, Launch::Asked).findings[0].level, Some(Level::Note));
        assert_eq!(judge(&facts, Launch::Require).findings[0].level, Some(Level::Deny));
        let device = |gpu| ApiDevice { gpu, ..ApiDevice::default() };
        let driver = found(DriverApi { devices: vec![device(0), device(1)], ..DriverApi::default() });
        let run = |gpu| KernelRun { gpu, route: "ptx".to_owned(), ..KernelRun::default() };
        facts.observed = Some(Observed { driver: driver.clone(), runs: vec![run(0), run(1)], ..Observed::default() });
        assert!(judge(&facts, Launch::Require).findings.is_empty());
        facts.observed = Some(Observed { driver, runs: vec![run(0)], ..Observed::default() });
        assert_eq!(
            judge(&facts, Launch::Auto).findings[0].title,
            "the test kernel was not launched on GPU 1: its turn did not come"
        );
    }
}
