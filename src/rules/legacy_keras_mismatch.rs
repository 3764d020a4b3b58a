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

The legacy Keras calls TensorFlow's inner functions. Up to 2.15 it calls one that TensorFlow 2.16 and newer do not have (`register_load_context_function`), and its import fails: that is denied. Later ones were seen to train, save and load under other minors than their own, which their requirements exclude and nobody promises: that is a warning. A much newer one than TensorFlow 2.16 or 2.17 asks for a protobuf that these do not take: denied, too.

### How to fix it

Install `tf_keras` of the same minor as TensorFlow.",
    check,
};

/// Whether `tf.keras` works with a `tf_keras` of another minor, as far as it was tried: 2.15 and 2.20 under TensorFlow
/// 2.16, and 2.15 to 2.21 under 2.20. Before 2.16 the switch means nothing.
fn works(legacy: (u64, u64), tensorflow: (u64, u64)) -> Option<bool> {
    // The function that it registers itself with is gone.
    if legacy < (2, 16) {
        return Some(false);
    }
    // TensorFlow 2.16 and 2.17 bring a protobuf without `runtime_version`, which newer generated code asks for.
    if tensorflow < (2, 18) && legacy > tensorflow {
        return (legacy >= (2, 20)).then_some(false);
    }
    Some(true)
}

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    for env in cx.view.envs().filter(|env| env.tf_alive().is_some() && env.legacy()) {
        let (Some(module), Some((major, minor))) = (&env.env.tf_keras, env.tf_minor()) else { continue };
        out.applies();
        let Some(version) = module.version.as_deref().and_then(Dotted::find_in) else { continue };
        let legacy = (u64::from(version.major()), u64::from(version.minor()));
        if legacy == (major, minor) {
            continue;
        }
        let finding = Finding::new(
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
        );
        match works(legacy, (major, minor)) {
            Some(true) => out.find(
                finding
                    .at(Level::Warn)
                    .so("`tf.keras` works as far as was tried, in a combination that nobody promises"),
            ),
            Some(false) => out.find(finding.so("`tf.keras` fails").breaks(Break::KerasUses)),
            None => out.unknown(
                Subject::Env(env.index),
                format!("whether tf_keras {version} works with this TensorFlow was not tried"),
                Some(Break::KerasUses),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::works;

    #[test]
    fn what_was_tried_is_known() {
        assert_eq!(works((2, 15), (2, 16)), Some(false));
        assert_eq!(works((2, 20), (2, 16)), Some(false));
        assert_eq!(works((2, 15), (2, 20)), Some(false));
        assert_eq!(works((2, 16), (2, 20)), Some(true));
        assert_eq!(works((2, 21), (2, 20)), Some(true));
        assert_eq!(works((2, 18), (2, 17)), None);
    }
}
