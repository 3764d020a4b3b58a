//! Rule `legacy-keras-mismatch`: `tf_keras` is of another minor than TensorFlow.

use super::{Cx, Family, Rule, layer};
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::version::Dotted;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "legacy-keras-mismatch",
    family: Family::Keras,
    level: Level::Deny,
    layer: layer::IMPORT + 8,
    summary: "tf_keras is of another minor than TensorFlow",
    docs: r"### What it means

`TF_USE_LEGACY_KERAS` is on, and the installed `tf_keras` was released for another minor of TensorFlow.

### Why it matters

The legacy Keras calls TensorFlow's inner functions and is tied to one minor: another one fails at import, for example with `register_load_context_function`.

### How to fix it

Install `tf_keras` of the same minor as TensorFlow.",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    for env in cx.view.envs().filter(|env| env.tf_alive().is_some() && env.legacy()) {
        let (Some(module), Some((major, minor))) = (&env.env.tf_keras, env.tf_minor()) else { continue };
        out.applies();
        let Some(version) = module.version.as_deref().and_then(Dotted::find_in) else { continue };
        if (u64::from(version.major()), u64::from(version.minor())) == (major, minor) {
            continue;
        }
        out.find(
            Finding::new(
                Subject::Env(env.index),
                format!(
                    "tf_keras {version} is made for TensorFlow {}, and this is {}",
                    version.prefix(2),
                    env.tf_version_text().unwrap_or_default()
                ),
            )
            .because_all(env.env.keras_config.legacy.clone())
            .because_all(module.version_from.clone())
            .run(
                "install the legacy Keras of the same minor",
                cx.view.install(env.env, &format!("'tf_keras~={major}.{minor}.0'")),
            )
            .so("`tf.keras` fails")
            .breaks(Break::KerasUses),
        );
    }
}
