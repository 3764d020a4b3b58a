//! Rule `kernel-timed-out`: whether the driver answers in time.

use super::kernel::{self, Kind};
use super::{Cx, Family, Rule, layer};
use crate::finding::{Judgment, Level};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "kernel-timed-out",
    family: Family::Kernel,
    level: Level::Deny,
    layer: layer::KERNEL,
    summary: "the driver or the test kernel hangs",
    docs: "\
### What it means

A call of the driver did not come back within the time limit. The process that made it was ended, and the driver was asked \
nothing more.

### Why it matters

Every CUDA program hangs in the same way. A driver in that state often needs a reboot.

### How to fix it

Look for Xids and stuck processes in the kernel's log. On machines with many GPUs and without persistence mode the start is \
slow by itself: `sudo nvidia-smi -pm 1`, or give it more time with `--probe-timeout`.
",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    kernel::check(cx, Kind::TimedOut, out);
}
