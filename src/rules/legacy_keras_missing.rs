//! Rule `legacy-keras-missing`: `tF_USE_LEGACY_KERAS` is on, and `tf_keras` is not installed.

use super::{Cx, Family, Rule, layer};
use crate::finding::{Break, Finding, Judgment, Level, Subject};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "legacy-keras-missing",
    family: Family::Keras,
    level: Level::Deny,
    layer: layer::IMPORT + 8,
    summary: "TF_USE_LEGACY_KERAS is on, and tf_keras is not installed",
    docs: r"### What it means

`TF_USE_LEGACY_KERAS` makes `tf.keras` use the package `tf_keras`, the old Keras 2. It is switched on by `1`, `true` or `True`, and the package is not here.

### Why it matters

Everything under `tf.keras` fails with `Keras cannot be imported`, although Keras 3 is installed. Some libraries set the variable themselves.

### How to fix it

Install `tf_keras` of the same minor as TensorFlow, or unset the variable.",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    for env in cx.view.envs().filter(|env| env.tf_alive().is_some() && env.legacy()) {
        out.applies();
        if env.env.tf_keras.as_ref().is_some_and(|module| !module.namespace) {
            continue;
        }
        let Some((major, minor)) = env.tf_minor() else { continue };
        out.find(
            Finding::new(Subject::Env(env.index), "TF_USE_LEGACY_KERAS is on, and tf_keras is not installed")
                .because_all(env.env.keras_config.legacy.clone())
                .run(
                    "install the legacy Keras of the same minor",
                    cx.view.install(env.env, &format!("'tf_keras~={major}.{minor}.0'")),
                )
                .run("or use the Keras that is installed", "unset TF_USE_LEGACY_KERAS")
                .so("everything under `tf.keras` fails")
                .breaks(Break::KerasUses),
        );
    }
}
