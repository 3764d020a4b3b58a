//! Rule `keras-in-another-environment`: tensorFlow is in one Python environment and Keras in another.

use super::{Cx, Family, Rule, layer};
use crate::facts::Evidence;
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::shell;
use crate::view::EnvView;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "keras-in-another-environment",
    family: Family::Keras,
    level: Level::Deny,
    layer: layer::IMPORT + 6,
    summary: "TensorFlow is in one Python environment and Keras in another",
    docs: r"### What it means

One environment has TensorFlow, and the Keras that would compute with it lives in another one, which has no TensorFlow.

### Why it matters

A program runs in one environment only. In the one, `import keras` fails; in the other, Keras has nothing to compute with. Each half alone looks fine in its own `pip list`.

### How to fix it

Install both into the same environment and start the program with that environment's Python.",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    let with_tf: Vec<EnvView<'_, '_>> = cx.view.envs().filter(|env| env.tf_alive().is_some()).collect();
    for env in cx.view.envs() {
        let Some(keras) = env.keras().filter(|keras| keras.version.is_some() || keras.dist.is_some()) else { continue };
        out.applies();
        // A Keras that computes with something else needs no TensorFlow.
        if env.tf().is_some() || !env.keras_on_tensorflow() {
            continue;
        }
        let Some(home) = with_tf.iter().find(|home| home.keras().is_none()).or_else(|| with_tf.first()) else {
            continue;
        };
        let version = env.env.keras.as_ref().and_then(|keras| keras.version.as_deref()).unwrap_or_default();
        let tf = home.tf_version_text().unwrap_or_default();
        let finding = Finding::new(
            Subject::Env(env.index),
            format!("Keras is in {}, and TensorFlow is in {}", env.path(), home.path()),
        )
        .because(Evidence::file(&keras.path, format!("Keras {version}; no TensorFlow in this environment")))
        .because_all(home.tf_dist().map(EnvView::dist_evidence))
        .so(format!("Keras in {} has nothing to compute with", env.path()))
        .breaks(Break::KerasUses);
        // What lies about beside a whole environment is no fault, unless it is the one that runs.
        let finding = if home.keras().is_some() && !env.env.active { finding.at(Level::Note) } else { finding };
        out.find(if home.keras().is_some() {
            finding
                .run("use the Python that has both", format!("{} your_program.py", shell::word(&home.env.interpreter)))
        } else {
            finding
                .run("install Keras beside TensorFlow", cx.view.install(home.env, "keras"))
                .help(format!("or install TensorFlow {tf} into {}", env.path()))
        });
    }
}
