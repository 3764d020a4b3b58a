//! Rule `crate-cudnn-mismatch`: a crate of this project does not fit the cuDNN that is here.
//!
//! What each build script does is followed in `build`.

use super::build::{self, CUDNN as ID};
use super::{Family, Rule, layer};
use crate::finding::Level;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: ID,
    family: Family::Project,
    level: Level::Deny,
    layer: layer::PROJECT + 1,
    summary: "a crate of this project does not fit the cuDNN that is here",
    docs: "\
### What it means

A crate takes the version of cuDNN from its header when it is built, or brings a library that was made for one major \
version of cuDNN. What is here is another one, or none.

### Why it matters

The build script stops; or the program starts and finds no cuDNN that it can use.

### How to fix it

Name the version in the crate's features, or install the cuDNN that the finding names.
",
    check: |cx, out| build::say(cx, ID, out),
};
