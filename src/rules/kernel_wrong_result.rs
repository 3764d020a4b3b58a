//! Rule `kernel-wrong-result`: whether the test kernel computes what the CPU does.

use super::kernel::{self, Kind};
use super::{Cx, Family, Rule, layer};
use crate::finding::{Judgment, Level};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "kernel-wrong-result",
    family: Family::Kernel,
    level: Level::Deny,
    layer: layer::KERNEL,
    summary: "the test kernel ran and gave wrong numbers",
    docs: "\
### What it means

The test kernel computes with integers only, so the GPU's numbers must be those of the CPU to the last bit. They are not.

### Why it matters

Nothing that this GPU computes can be trusted, and no program notices.

### How to fix it

Look for Xids in the kernel's log and for memory errors (`nvidia-smi -q -d ECC,PAGE_RETIREMENT,ROW_REMAPPER`); run \
`dcgmi diag -r 3`. Undo overclocking. A GPU that fails again after a reset must be replaced.
",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    kernel::check(cx, Kind::Wrong, out);
}
