//! Rule `kernel-load-failed`: whether the driver takes the test kernel.

use super::kernel::{self, Kind};
use super::{Cx, Family, Rule, layer};
use crate::finding::{Judgment, Level};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "kernel-load-failed",
    family: Family::Kernel,
    level: Level::Deny,
    layer: layer::KERNEL,
    summary: "the driver does not load the test kernel",
    docs: "\
### What it means

The driver started, and then refused the test kernel: there is no machine code for this GPU (209), its PTX is newer than \
the driver (222), the driver's own compiler is missing (221), or it crashed while it loaded the kernel.

### Why it matters

Programs that carry the same kind of code fail at their first kernel, long after they have listed the GPU.

### How to fix it

Compile for the GPU's own architecture (`-gencode arch=compute_90,code=sm_90`), with a toolkit that is not newer than what \
the driver reports, or install a newer driver. Where even the PTX that this program carries is refused, the driver itself \
is broken: install its libraries again.
",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    kernel::check(cx, Kind::Load, out);
}
