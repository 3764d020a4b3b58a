//! Rule `keras-config-invalid`: the backend that is configured for Keras is no backend, or keras.json is no JSON.

use super::{Cx, Family, Rule, layer};
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::view::BACKENDS;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "keras-config-invalid",
    family: Family::Keras,
    level: Level::Deny,
    layer: layer::IMPORT + 5,
    summary: "The backend that is configured for Keras is no backend, or keras.json is no JSON",
    docs: r"### What it means

`KERAS_BACKEND` or `keras.json` holds a name that Keras 3 does not know, such as `theano`, `TensorFlow` or a name with a space. Or `keras.json` is not valid JSON, which Keras ignores silently.

### Why it matters

An unknown name breaks more than Keras: TensorFlow imports Keras when it is imported itself, and fails with it. A broken file only loses the choice it was meant to make, so that is a warning.

### How to fix it

Write one of `tensorflow`, `jax`, `torch`, `numpy`, `openvino`, in lower case, or remove the setting.",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    for env in cx.view.envs().filter(super::super::view::EnvView::is_keras3) {
        let config = &env.env.keras_config;
        if config.variable.is_some() || config.file.value().is_some() || config.invalid.is_some() {
            out.applies();
        }
        let backend = env.backend();
        if !env.backend_is_known() {
            let mut finding =
                Finding::new(Subject::Env(env.index), format!("`{}` is no backend of Keras 3", backend.name))
                    .because_all(backend.evidence.clone())
                    .help(format!("Keras knows {}", BACKENDS.join(", ")));
            let fix = match backend.from.as_str() {
                "KERAS_BACKEND" => "unset KERAS_BACKEND".to_owned(),
                file => format!("rm {file}"),
            };
            finding
                .help
                .insert(0, crate::finding::Help { text: "let Keras take TensorFlow".to_owned(), command: Some(fix) });
            finding = finding.so("`import keras` fails with `Unable to import backend`").breaks(Break::KerasUses);
            if env.tf_alive().is_some() && env.tf_minor().is_some_and(|minor| minor >= (2, 16)) {
                finding = finding
                    .so("`import tensorflow` fails with it, since TensorFlow imports Keras")
                    .breaks(Break::TfSees);
            }
            out.find(finding);
        } else if let Some(invalid) = &config.invalid
            && config.variable.is_none()
        {
            out.find(
                Finding::new(Subject::Env(env.index), "keras.json is not valid JSON, and Keras ignores it silently")
                    .at(Level::Warn)
                    .because(invalid.clone())
                    .run("remove it; Keras writes a new one", format!("rm {}", invalid.at)),
            );
        }
    }
}
