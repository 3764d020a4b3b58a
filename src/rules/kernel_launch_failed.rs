//! Rule `kernel-launch-failed`: whether the test kernel can be launched.

use super::kernel::{self, Kind};
use super::{Cx, Family, Rule, layer};
use crate::finding::{Judgment, Level};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "kernel-launch-failed",
    family: Family::Kernel,
    level: Level::Deny,
    layer: layer::KERNEL,
    summary: "the driver does not start, or does not launch the test kernel",
    docs: "\
### What it means

The driver was called, and a call failed: at its start (`cuInit`), with a device, when a context was made, memory was \
taken, or the kernel was launched. The code, its name and what it comes down to stand in the finding.

### Why it matters

It is not a prediction: no CUDA program in this environment gets further than the test did.

### How to fix it

By the code: 34, a stub of the toolkit is found in place of libcuda; 100, nothing is visible; 802, the fabric manager does \
not run; 803, reboot, since module and library are of different versions; 804, take `cuda-compat` away; 2, the GPU's memory \
is full; 46, another process has the GPU for itself; 700 to 719, the kernel or the hardware is at fault.
",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    kernel::check(cx, Kind::Launch, out);
}
