//! Rule `keras-not-for-tensorflow`: the installed Keras does not go with the installed TensorFlow.

use super::keras_shadowed::stranger;
use super::{Cx, Family, Rule, layer};
use crate::facts::Evidence;
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::view::within;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "keras-not-for-tensorflow",
    family: Family::Keras,
    level: Level::Deny,
    layer: layer::IMPORT + 5,
    summary: "The installed Keras does not go with the installed TensorFlow",
    docs: r"### What it means

TensorFlow names the Keras that it works with in its metadata. From 2.16 on that is Keras 3; before, it is the Keras 2 of the same minor. The Keras that `import keras` gives lies outside that range.

### Why it matters

Keras 2 under TensorFlow 2.16 or newer fails when it is imported. Keras 3 under TensorFlow 2.15 or older imports, and then `tf.keras` is another Keras than the one that TensorFlow was made with, without a word.

### How to fix it

Install the Keras that TensorFlow's metadata asks for.",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    for env in cx.view.envs().filter(|env| env.tf_alive().is_some()) {
        let (Some(keras), Some(tf), Some((major, minor))) = (env.keras(), env.tf_minor(), env.keras_minor()) else {
            continue;
        };
        out.applies();
        let version = keras.version.as_deref().unwrap_or_default();
        let requirement = env.requirement("keras");
        let specifier = requirement
            .map(|requirement| requirement.specifier.clone())
            .or_else(|| env.tf_row().and_then(|row| row.keras.clone()));
        let Some(specifier) = specifier else { continue };
        if within(version, &specifier) != Some(false) {
            continue;
        }
        let old_keras_new_tf = major < 3 && tf >= (2, 16);
        let new_keras_old_tf = major >= 3 && tf < (2, 16);
        let other_minor = major < 3 && tf < (2, 16) && (major, minor) != tf;
        if !(old_keras_new_tf || new_keras_old_tf || other_minor) {
            // Keras 3 of another age than TensorFlow asks for: keras-outdated.
            continue;
        }
        let finding = Finding::new(
            Subject::Env(env.index),
            format!(
                "Keras {version} does not go with TensorFlow {}, which needs keras{specifier}",
                env.tf_version_text().unwrap_or_default()
            ),
        )
        .because_all(requirement.map(|requirement| env.requirement_evidence(requirement)))
        .because_all(keras.version_from.clone())
        .because(Evidence::file(&keras.path, "what `import keras` gives"))
        .row(env.tf_row_ref());
        // Where one from elsewhere hides the environment's own, installing changes nothing.
        let finding = match stranger(&env, keras) {
            Some((_, fix)) => fix.help(finding, keras),
            None => finding
                .run("install the Keras that goes with it", cx.view.install(env.env, &format!("'keras{specifier}'"))),
        };
        if old_keras_new_tf {
            out.find(finding.so("`import keras` fails; TensorFlow itself lives").breaks(Break::KerasUses));
        } else if new_keras_old_tf {
            out.find(finding.at(Level::Warn).so("`tf.keras` is then Keras 3, which this TensorFlow was not made for"));
        } else {
            let missing =
                format!("whether Keras {version} works on TensorFlow {}", env.tf_version_text().unwrap_or_default());
            out.unknown(Subject::Env(env.index), missing, Some(Break::KerasUses));
            out.find(finding.at(Level::Warn));
        }
    }
}
