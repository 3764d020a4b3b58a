//! Rule `gpu-memory-failing`: whether NVML says that rows of a GPU's memory could not be, or are still to be, remapped.

use super::{Cx, Family, Rule, layer};
use crate::facts::{Evidence, Source};
use crate::finding::{Finding, Judgment, Level, Subject};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "gpu-memory-failing",
    family: Family::Driver,
    level: Level::Warn,
    layer: layer::DEVICE,
    summary: "a GPU's memory has rows that could not be remapped, or waits for a reset to remap some",
    docs: "\
### What it means

GPUs from Ampere on replace rows of their memory that showed errors by spare ones, at the next reset. NVML says that this \
has failed once (a warning), or that a row waits for a reset (a note). Rows that were remapped well are healthy, and \
say nothing here; neither do errors that were corrected.

### Why it matters

Where remapping failed, a bad row may stay in use: programs may end with an uncorrectable error (214, Xid 94 or 95). NVIDIA \
takes that flag as a reason to examine the GPU for a replacement. While a row only waits, other programs go on without \
harm.

### How to fix it

Reset the GPU when nothing uses it, or reboot. After a failure, run NVIDIA's diagnostics, and have the GPU replaced if \
they say so. (NVIDIA, \"GPU Memory Error Management\": row remapping, error recovery and response flags; NVML, \
`nvmlDeviceGetRemappedRows`.)
",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    let Some(nvml) = cx.facts.observed.as_ref().and_then(|observed| observed.nvml.value()) else { return };
    for gpu in &nvml.gpus {
        let Some(rows) = gpu.remapped_rows else { continue };
        out.applies();
        if !rows.failed && !rows.pending {
            continue;
        }
        let index = gpu.index;
        let mut says = format!(
            "GPU {index}: {} rows remapped for uncorrectable errors, {} for correctable ones",
            rows.uncorrectable, rows.correctable
        );
        if let Some(errors) = gpu.uncorrected.filter(|errors| *errors > 0) {
            says = format!("{says}; {errors} uncorrectable errors since the driver was loaded");
        }
        let title = if rows.failed {
            format!("rows of the memory of GPU {index} could not be remapped")
        } else {
            format!("GPU {index} waits for a reset to remap rows of its memory")
        };
        let mut finding = Finding::new(Subject::Machine, title)
            .because(Evidence::new(Source::Run, &nvml.library, says))
            .because_all(cx.view.xids(gpu.address.as_deref()).into_iter().take(4).map(crate::facts::Xid::evidence));
        if rows.failed {
            finding = finding
                .run("see whether the GPU is to be replaced", format!("dcgmi diag -r 3 -i {index}"))
                .help("show NVIDIA's field diagnostic, or the vendor, what it says: a failed remapping is a reason for a replacement");
        } else {
            finding = finding.at(Level::Note);
        }
        if rows.pending {
            finding = finding.run(
                "when nothing uses the GPU, reset it, or reboot",
                format!("sudo nvidia-smi --gpu-reset -i {index}"),
            );
        }
        out.find(finding);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Facts, Nvml, NvmlGpu, Observed, RemappedRows};
    use crate::rules::testing::{found, judge, machine, silent};

    fn with(rows: Option<RemappedRows>) -> Facts {
        let gpu = NvmlGpu { index: 3, remapped_rows: rows, uncorrected: Some(2), ..NvmlGpu::default() };
        let nvml = found(Nvml { gpus: vec![NvmlGpu::default(), gpu], ..Nvml::default() });
        Facts { observed: Some(Observed { nvml, ..Observed::default() }), ..machine() }
    }

    #[test]
    fn rows_that_were_remapped_well_are_no_news() {
        assert!(silent(&RULE, &with(None)));
        let well = RemappedRows { correctable: 5, uncorrectable: 2, ..RemappedRows::default() };
        assert!(silent(&RULE, &with(Some(well))));
    }

    #[test]
    fn a_failure_is_a_warning_and_what_waits_is_a_note() {
        let rows = RemappedRows { uncorrectable: 1, pending: true, ..RemappedRows::default() };
        let waits = judge(&RULE, &with(Some(rows))).findings.remove(0);
        assert_eq!((waits.level, waits.breaks.len()), (Some(Level::Note), 0));
        assert_eq!(waits.help[0].command.as_deref(), Some("sudo nvidia-smi --gpu-reset -i 3"));
        let fails = judge(&RULE, &with(Some(RemappedRows { failed: true, pending: false, ..rows }))).findings.remove(0);
        assert_eq!((fails.title.as_str(), fails.level), ("rows of the memory of GPU 3 could not be remapped", None));
        assert!(fails.evidence[0].says.ends_with("2 uncorrectable errors since the driver was loaded"));
    }
}
