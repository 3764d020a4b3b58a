//! Rule `keras-outdated`: keras is older than the installed TensorFlow asks for.

use super::{Cx, Family, Rule, layer};
use crate::facts::Evidence;
use crate::finding::{Finding, Judgment, Level, Subject};
use crate::view::within;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "keras-outdated",
    family: Family::Keras,
    level: Level::Warn,
    layer: layer::KERAS + 4,
    summary: "Keras is older than the installed TensorFlow asks for",
    docs: r"### What it means

TensorFlow's metadata names the oldest Keras 3 that it was made to work with, and the installed one is older.

### Why it matters

Keras 3 declares no TensorFlow among its requirements, so pip does not notice when only one of the two is renewed. An old Keras may call what the newer TensorFlow has changed.

### How to fix it

Upgrade Keras into the range.",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    for env in cx.view.envs().filter(|env| env.tf_alive().is_some() && env.is_keras3()) {
        let Some(keras) = env.keras() else { continue };
        if env.tf_minor().is_none_or(|minor| minor < (2, 16)) {
            continue;
        }
        out.applies();
        let version = keras.version.as_deref().unwrap_or_default();
        let requirement = env.requirement("keras");
        let specifier = requirement
            .map(|requirement| requirement.specifier.clone())
            .or_else(|| env.tf_row().and_then(|row| row.keras.clone()));
        let Some(specifier) = specifier.filter(|specifier| within(version, specifier) == Some(false)) else { continue };
        out.find(
            Finding::new(
                Subject::Env(env.index),
                format!(
                    "Keras {version} is older than TensorFlow {} asks for: keras{specifier}",
                    env.tf_version_text().unwrap_or_default()
                ),
            )
            .because_all(requirement.map(|requirement| env.requirement_evidence(requirement)))
            .because_all(keras.version_from.clone())
            .because(Evidence::file(&keras.path, "what `import keras` gives"))
            .row(env.tf_row_ref())
            .run("upgrade Keras", cx.view.install(env.env, &format!("'keras{specifier}'"))),
        );
    }
}
