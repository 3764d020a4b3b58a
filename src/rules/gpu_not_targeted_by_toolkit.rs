//! Rule `gpu-not-targeted-by-toolkit`: whether the toolkit can compile for the GPUs here.

use super::toolkit_missing::{compiling, locked_evidence, selected, version};
use super::{Cx, Family, Rule, layer};
use crate::db::CrateRow;
use crate::facts::LockedCrate;
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::view::Gpu;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "gpu-not-targeted-by-toolkit",
    family: Family::Cuda,
    level: Level::Deny,
    layer: layer::PROJECT + 1,
    summary: "the CUDA toolkit cannot compile for this GPU",
    docs: "\
### What it means

Each CUDA toolkit compiles for a range of compute capabilities. A crate of this project compiles CUDA, and the GPU \
here lies outside the range of the toolkit that the build would use: too new for an old toolkit, or dropped by a new \
one.

### Why it matters

nvcc stops with \"Unsupported gpu architecture 'compute_…'\" when the build asks for this GPU; built for another \
one, the program may find no kernel that the GPU can run.

### How to fix it

For a GPU that is too new install a newer toolkit; for one that is too old install an older toolkit (Maxwell, Pascal \
and Volta end with CUDA 12). Then make the variable that the crate reads, or `PATH`, choose it.
",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    judge(cx, &compiling(cx), out);
}

fn judge(cx: &Cx<'_>, compiling: &[(&LockedCrate, &CrateRow)], out: &mut Judgment) {
    let (Some((locked, _)), Some(toolkit)) = (compiling.first(), selected(cx)) else { return };
    let Some(reading) = toolkit.readings.first() else { return };
    let Some(row) = version(toolkit).and_then(|version| cx.db.cuda(version)) else { return };
    if !cx.view.has_gpu() {
        return;
    }
    out.applies();
    let too_new = |gpu: &Gpu| matches!((&gpu.compute, &row.compute_max), (Some(gpu), Some(max)) if gpu > max);
    let too_old = |gpu: &Gpu| matches!((&gpu.compute, &row.compute_min), (Some(gpu), Some(min)) if gpu < min);
    let outside: Vec<&Gpu> = cx.view.gpus.iter().filter(|gpu| too_new(gpu) || too_old(gpu)).collect();
    let Some(first) = outside.first() else { return };
    let compute = first.compute.as_ref().map(ToString::to_string).unwrap_or_default();
    let range = match (too_new(first), &row.compute_min, &row.compute_max) {
        (true, _, Some(max)) => format!("up to {max}"),
        (false, Some(min), _) => format!("from {min} on"),
        _ => String::new(),
    };
    let title = if first.assumed {
        format!("CUDA {} compiles for compute capabilities {range}, not for {compute}", reading.value)
    } else {
        format!("CUDA {} compiles for compute capabilities {range}, not for {} ({compute})", reading.value, first.name)
    };
    let fits = |other: &&crate::db::CudaRow| {
        other.version.pre.is_none()
            && matches!((&first.compute, &other.compute_min, &other.compute_max),
                (Some(gpu), Some(min), Some(max)) if gpu >= min && gpu <= max)
    };
    let rows = || cx.db.cuda_rows().iter().filter(fits);
    let best = if too_new(first) {
        rows().min_by(|a, b| a.version.number.cmp(&b.version.number))
    } else {
        rows().max_by(|a, b| a.version.number.cmp(&b.version.number))
    };
    let mut finding = Finding::new(Subject::Project, title)
        .because(reading.evidence.clone())
        .because_all(outside.iter().take(8).map(|gpu| gpu.evidence.clone()))
        .because(locked_evidence(locked))
        .row(Some(row.row_ref()));
    finding = match best {
        Some(best) if too_new(first) => {
            finding.help(format!("install CUDA {} or newer, the first that compiles for it", best.version))
        }
        Some(best) => finding.help(format!("install CUDA {} or older, the last that compiles for it", best.version)),
        None => finding.help("install a toolkit that compiles for it"),
    };
    let all = outside.len() == cx.view.gpus.len();
    out.find(if all { finding.breaks(Break::Builds).breaks(Break::Runs) } else { finding.at(Level::Warn) });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Assumption, Evidence, Facts};
    use crate::rules::testing::{bare, v};
    use crate::rules::toolkit_missing::tests::{judged, toolkit};

    fn with(cuda: &str, gpu: &str) -> Facts {
        let mut facts = bare();
        facts.toolkits = vec![toolkit("/usr/local/cuda", cuda)];
        facts.assumed = vec![Assumption { key: "gpu".to_owned(), value: v(gpu), evidence: Evidence::default() }];
        facts
    }

    #[test]
    fn a_gpu_outside_of_the_range_is_found() {
        let said = judged(judge, &with("12.4.1", "12.0"));
        assert_eq!(said.findings[0].breaks, [(Subject::Project, Break::Builds), (Subject::Project, Break::Runs)]);
        assert!(said.findings[0].help[0].text.starts_with("install CUDA 12.8"), "{:?}", said.findings[0].help);
        let said = judged(judge, &with("13.0.0", "7.0"));
        assert!(said.findings[0].help[0].text.starts_with("install CUDA 12.9"), "{:?}", said.findings[0].help);
    }

    #[test]
    fn a_gpu_inside_of_it_is_fine() {
        assert!(judged(judge, &with("12.4.1", "9.0")).findings.is_empty());
        assert!(judged(judge, &with("99.0", "9.0")).findings.is_empty());
    }
}
