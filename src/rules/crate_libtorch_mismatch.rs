//! Rule `crate-libtorch-mismatch`: the LibTorch that tch would find is not the one that it takes.
//!
//! What each build script does is followed in `build`.

use super::build::{self, LIBTORCH as ID};
use super::{Family, Rule, layer};
use crate::finding::Level;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: ID,
    family: Family::Project,
    level: Level::Deny,
    layer: layer::PROJECT + 1,
    summary: "the LibTorch that tch would find is not the one that it takes",
    docs: "\
### What it means

Each release of tch and torch-sys is made for one release of PyTorch, and its build script compares: the LibTorch in \
`LIBTORCH`, or the torch of the active Python where `LIBTORCH_USE_PYTORCH` is set. Here it is another one, or none.

### Why it matters

The build stops with \"this tch version expects PyTorch …\" or \"Cannot find a libtorch install\".

### How to fix it

Install the PyTorch that this tch takes, or ask for the tch that takes the PyTorch that is here. \
`LIBTORCH_BYPASS_VERSION_CHECK` only silences the comparison; the C++ code rarely compiles then.
",
    check: |cx, out| build::say(cx, ID, out),
};
