//! Rule `crate-driver-too-old`: what a crate of this project is built for needs a newer driver.
//!
//! What each build script does is followed in `build`.

use super::build::{self, DRIVER as ID};
use super::{Family, Rule, layer};
use crate::finding::Level;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: ID,
    family: Family::Project,
    level: Level::Deny,
    layer: layer::PROJECT + 1,
    summary: "what a crate of this project is built for needs a newer driver",
    docs: "\
### What it means

The project builds, and what comes out needs a newer driver than the one that is here: bindings take every function of \
a CUDA release out of `libcuda` when they open it, or kernels are kept as PTX of a toolkit that is newer than the driver.

### Why it matters

The program stops at its first use of CUDA: a panic about a missing symbol, or error 222 \
(`CUDA_ERROR_UNSUPPORTED_PTX_VERSION`). Minor-version compatibility covers neither.

### How to fix it

Build for an older CUDA release, as the finding says; or install a driver that reports the CUDA release that is asked for.
",
    check: |cx, out| build::say(cx, ID, out),
};
