//! Rule `crate-ignores-variable`: a variable that names a CUDA toolkit is set, and the crates of this project do not read it.
//!
//! What each build script does is followed in `build`.

use super::build::{self, IGNORES as ID};
use super::{Family, Rule, layer};
use crate::finding::Level;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: ID,
    family: Family::Project,
    level: Level::Warn,
    layer: layer::PROJECT,
    summary: "a variable that names a CUDA toolkit is set, and the crates of this project do not read it",
    docs: "\
### What it means

Each CUDA crate reads its own list of variables: one `CUDA_HOME`, another `CUDA_PATH` or `CUDA_LIBRARY_PATH`, some only \
`PATH`. The variable that is set here is not on the list of the crate that looks for a toolkit, or its value is not in \
the form that the crate reads.

### Why it matters

The crate goes on to the next place of its own list: it fails, or it builds with another toolkit than was meant.

### How to fix it

Set the variable that the crate reads; the finding names it. Variables that lead to the toolkit that is taken anyway \
are not told.
",
    check: |cx, out| build::say(cx, ID, out),
};
