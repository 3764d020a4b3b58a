//! Rule `crate-needs-gpu-at-build`: a build script asks nvidia-smi for the GPU, and there is none that answers.
//!
//! What each build script does is followed in `build`.

use super::build::{self, NEEDS_GPU as ID};
use super::{Family, Rule, layer};
use crate::finding::Level;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: ID,
    family: Family::Project,
    level: Level::Deny,
    layer: layer::PROJECT,
    summary: "a build script asks nvidia-smi for the GPU, and there is none that answers",
    docs: "\
### What it means

Build scripts that use bindgen_cuda or cudaforge (candle's kernels among them) compile for the GPU that `nvidia-smi` \
reports, unless `CUDA_COMPUTE_CAP` is set. Here it is not set, and `nvidia-smi` is not there or has no GPU to report.

### Why it matters

The build stops in every container build and on every CI machine without a GPU, though compiling needs none.

### How to fix it

Set `CUDA_COMPUTE_CAP` to the compute capability of the machine that will run the program, without the dot: 86 for 8.6.
",
    check: |cx, out| build::say(cx, ID, out),
};
