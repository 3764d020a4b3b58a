//! Rule `keras-backend-missing`: the backend that Keras is set to is not installed.

use super::{Cx, Family, Rule, layer};
use crate::facts::Evidence;
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::shell;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "keras-backend-missing",
    family: Family::Keras,
    level: Level::Deny,
    layer: layer::IMPORT + 7,
    summary: "The backend that Keras is set to is not installed",
    docs: r"### What it means

Keras 3 brings no backend of its own. The one that `KERAS_BACKEND` or `keras.json` names (or TensorFlow, where nothing is set) is not in this environment.

### Why it matters

`import keras` fails with `No module named …`. `tf.keras` hides the reason and says only that Keras cannot be imported.

### How to fix it

Set the backend to one that is installed, or install the one that is named.",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    let tf_elsewhere = cx.view.envs().any(|env| env.tf_alive().is_some());
    for env in cx.view.envs().filter(|env| env.is_keras3() && env.backend_is_known()) {
        let backend = env.backend();
        out.applies();
        if env.has_backend(&backend.name) || env.legacy() {
            continue;
        }
        if backend.name == "tensorflow" && (tf_elsewhere || env.tf().is_some()) {
            // keras-in-another-environment or tensorflow-incomplete is the root.
            continue;
        }
        let from = match backend.from.as_str() {
            "default" => "the default".to_owned(),
            from => format!("from {from}"),
        };
        // The others compute on the CPU alone.
        let installed = ["tensorflow", "jax", "torch"].into_iter().find(|name| env.has_backend(name));
        let mut finding = Finding::new(
            Subject::Env(env.index),
            format!("Keras is set to {} ({from}), which is not installed", backend.name),
        )
        .because_all(backend.evidence.clone())
        .because_all(env.keras().map(|keras| Evidence::file(&keras.path, "imports its backend when it is imported")));
        if let Some(installed) = installed {
            finding = match backend.from.as_str() {
                "KERAS_BACKEND" | "default" => finding.run(
                    format!("set it to {installed}, which is installed"),
                    format!("export KERAS_BACKEND={installed}"),
                ),
                file => finding.run(
                    format!("set it to {installed}, which is installed"),
                    format!("sed -i 's/\"backend\": *\"[^\"]*\"/\"backend\": \"{installed}\"/' {}", shell::word(file)),
                ),
            };
        }
        let package = match backend.name.as_str() {
            "tensorflow" => {
                env.with_cuda("tensorflow", None).map_or_else(|| "tensorflow".to_owned(), |(wanted, _)| wanted)
            }
            "jax" => "'jax[cuda12]'".to_owned(),
            other => other.to_owned(),
        };
        let what = if installed.is_some() { "or install it" } else { "install it" };
        // PyTorch's wheels bring libraries of NVIDIA's that overwrite TensorFlow's (nvidia-wheel-twins).
        finding = if backend.name == "torch" && env.wants_cuda() {
            finding.help(format!("{what}, in an environment without TensorFlow"))
        } else {
            finding.run(what, cx.view.install(env.env, &package))
        };
        out.find(finding.so("`import keras` fails").breaks(Break::KerasUses));
    }
}
