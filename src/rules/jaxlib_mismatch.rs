//! Rule `jaxlib-mismatch`: jaxlib is older than JAX asks for, or newer than JAX; says nothing of JAX's CUDA half.

use super::keras_config_invalid::imports_keras;
use super::{Cx, Family, Rule, layer};
use crate::finding::{Break, Finding, Judgment, Level, Subject};

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
    for env in cx.view.envs() {
        let clashes = || env.env.unmet.iter().filter(|unmet| unmet.clashes("jax"));
        let Some(unmet) = clashes().find(|unmet| unmet.importer == "jax") else { continue };
        let in_tensorflow = clashes().find(|unmet| unmet.importer == "tensorflow");
        let keras = env.is_keras3() && env.backend().name == "jax";
        let tensorflow = env.tf_alive().is_some() && (in_tensorflow.is_some() || keras && imports_keras(&env));
        if !keras && !tensorflow {
            continue;
        }
        out.applies();
        let jax = env.env.jax.as_ref().and_then(|jax| jax.module.as_ref()?.version.as_deref()).unwrap_or_default();
        let installed = unmet.installed.as_deref().unwrap_or_default();
        let mut finding = Finding::new(
            Subject::Env(env.index),
            format!("JAX {jax} does not let itself be imported with jaxlib {installed}"),
        )
        .because(unmet.required.clone())
        .because_all(env.dist("jaxlib").map(crate::view::EnvView::dist_evidence))
        .because(in_tensorflow.unwrap_or(unmet).by.clone())
        .run("install the jaxlib that fits", cx.view.install(env.env, &format!("'jaxlib{}'", unmet.specifier)))
        .so("`import jax` fails");
        if keras {
            finding = finding.so("`import keras` fails").breaks(Break::KerasUses);
        }
        if tensorflow {
            finding = finding.so("`import tensorflow` fails").breaks(Break::TfSees);
        }
        out.find(finding);
    }
}
