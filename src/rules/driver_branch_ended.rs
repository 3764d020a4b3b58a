//! Rule `driver-branch-ended`: whether NVIDIA still supports the branch of the driver.

use super::{Cx, Family, Rule, layer};
use crate::finding::{Finding, Judgment, Level, Subject};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "driver-branch-ended",
    family: Family::Driver,
    level: Level::Note,
    layer: layer::TOOL,
    summary: "NVIDIA has ended the support of this driver branch",
    docs: "\
### What it means

The first number of a driver's version is its branch. NVIDIA supports a branch for a stated time and publishes the \
month in which that ends; for the branch of this machine's driver that month has passed.

### Why it matters

Nothing breaks by it today, so it is a note. The branch gets no more fixes, security fixes included, and support for \
newer GPUs and newer CUDA comes in later branches only.

### How to fix it

At the next occasion move to a supported branch, best one that NVIDIA supports for years. A newer driver runs all \
older CUDA.
",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    // The Windows driver beneath WSL has branches of its own.
    if !cx.view.driver_matters() || !cx.view.driver_answers() || cx.view.is_wsl() {
        return;
    }
    let Some(reading) = cx.facts.driver.kernel.first() else { return };
    let Some(row) = cx.db.driver_branch(&reading.value) else { return };
    out.applies();
    let (Some(end), Some(month)) = (row.end_of_life.as_deref(), cx.today.get(..7)) else { return };
    if month <= end {
        return;
    }
    let title = format!("driver {}: NVIDIA's support of branch {} ended in {end}", reading.value, row.branch);
    let supported = cx
        .db
        .driver_rows()
        .iter()
        .filter(|other| other.branch > row.branch && other.end_of_life.as_deref().is_some_and(|end| month <= end));
    // The one that lasts longest is the best to move to.
    let best = supported.max_by(|a, b| a.end_of_life.cmp(&b.end_of_life));
    let mut finding = Finding::new(Subject::Machine, title).because(reading.evidence.clone()).row(Some(row.row_ref()));
    if let Some(best) = best {
        let until = best.end_of_life.as_deref().unwrap_or_default();
        finding = finding.help(format!("move to a supported branch, such as {} (until {until})", best.branch));
    }
    out.find(finding);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::GpuWish;
    use crate::rules::testing::{judge_for, machine};

    #[test]
    fn the_month_after_the_last_counts() {
        let facts = machine();
        let on = |day| judge_for(&RULE, &facts, GpuWish::Optional, day).findings.len();
        assert_eq!((on("2026-06-30"), on("2026-07-01")), (0, 1));
    }
}
