//! Rule `crate-toolkit-unsupported`: a crate of this project does not build with the CUDA toolkit that its build script finds.
//!
//! What each build script does is followed in `build`.

use super::build::{self, UNSUPPORTED as ID};
use super::{Family, Rule, layer};
use crate::finding::Level;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: ID,
    family: Family::Project,
    level: Level::Deny,
    layer: layer::PROJECT + 1,
    summary: "a crate of this project does not build with the CUDA toolkit that its build script finds",
    docs: "\
### What it means

A crate of this project settles on a CUDA release when it is built: by a feature, by a variable, or by asking the nvcc \
that it finds. Here it stops, most often because the toolkit is newer than the newest release that this version of the \
crate has bindings for, or because its features name no CUDA at all.

### Why it matters

The build script panics (\"Unsupported cuda toolkit version\"), after everything before it was compiled.

### How to fix it

Take the release of the crate that the finding names, or tell the crate to use bindings of an older release of the same \
CUDA major: the toolkit and the driver serve those too. Where another crate asks for the old version, that one must be \
newer first.
",
    check: |cx, out| build::say(cx, ID, out),
};
