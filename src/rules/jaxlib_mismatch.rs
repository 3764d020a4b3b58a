//! Rule `jaxlib-mismatch`: jaxlib is older than JAX asks for, or newer than JAX; says nothing of JAX's CUDA half.

use super::numpy_abi_mismatch::clashes;
use super::{Cx, Family, Rule, layer};
use crate::finding::{Judgment, Level};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "jaxlib-mismatch",
    family: Family::Python,
    level: Level::Deny,
    layer: layer::IMPORT + 4,
    summary: "jaxlib is older than JAX asks for, or newer than JAX",
    docs: r"### What it means

JAX compares the version of jaxlib when it is imported: it must be as new as `_minimum_jaxlib_version` of `jax/version.py`, and no newer than JAX.

### Why it matters

Otherwise `import jax` ends with a `RuntimeError`. TensorFlow imports JAX wherever it is installed (`tensorflow/lite/python/util.py`) and passes over it only where it is not there, so `import tensorflow` fails too, whatever backend Keras has.

### How to fix it

Install the jaxlib of JAX's own release, or uninstall both where nothing needs them.",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    clashes(cx, "jax", out);
}
