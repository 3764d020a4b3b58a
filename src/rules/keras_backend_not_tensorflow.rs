//! Rule `keras-backend-not-tensorflow`: keras computes with another backend than TensorFlow, on the GPU.

use super::{Cx, Family, Rule, layer};
use crate::finding::{Finding, Judgment, Level, Subject};
use crate::view::Accelerated;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "keras-backend-not-tensorflow",
    family: Family::Keras,
    level: Level::Note,
    layer: layer::KERAS + 3,
    summary: "Keras computes with another backend than TensorFlow, on the GPU",
    docs: r"### What it means

Keras 3 is set to JAX or PyTorch, and that backend has CUDA here. What TensorFlow sees does not matter to it.

### Why it matters

It is worth knowing when the two are compared: memory, devices and messages are those of the other backend.

### How to fix it

Nothing needs fixing. To go back to TensorFlow, change what the evidence names.",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    for env in
        cx.view.envs().filter(|env| env.keras().is_some() && !env.keras_on_tensorflow() && env.backend_is_known())
    {
        let backend = env.backend();
        out.applies();
        if !cx.view.has_gpu()
            || !env.has_backend(&backend.name)
            || !matches!(env.backend_acceleration(), Accelerated::Yes(_))
        {
            continue;
        }
        out.find(
            Finding::new(
                Subject::Env(env.index),
                format!(
                    "Keras computes with {}, which has CUDA here; TensorFlow's GPU does not matter to it",
                    backend.name
                ),
            )
            .because_all(backend.evidence)
            .because_all(match env.backend_acceleration() {
                Accelerated::Yes(evidence) => evidence,
                _ => Vec::new(),
            }),
        );
    }
}
