//! Rule `keras-config-invalid`: what is configured for Keras ends its import or TensorFlow's, or is ignored as no JSON.

use super::{Cx, Family, Rule, layer};
use crate::facts::{Evidence, KerasFault};
use crate::finding::{Break, Finding, Help, Judgment, Level, Subject};
use crate::shell;
use crate::view::{BACKENDS, EnvView};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "keras-config-invalid",
    family: Family::Keras,
    level: Level::Deny,
    layer: layer::IMPORT + 5,
    summary: "What is configured for Keras ends an import, or keras.json is no JSON",
    docs: r#"### What it means

`keras.json` or `KERAS_BACKEND` holds something that Keras cannot take. `keras.json` is read twice: by Keras, and by an old copy of Keras inside TensorFlow, so that `import tensorflow` fails over it even where Keras is not installed. Only a text that Python's `json` refuses is ignored silently.

### Why it matters

Measured in November 2026 with TensorFlow 2.10, 2.15, 2.16, 2.19, 2.20, 2.21 and Keras 2.15, 3.4, 3.15:

| `keras.json` | `import tensorflow` | `import keras` (3) | backend |
|---|---|---|---|
| no object: `[]`, `null`, `"jax"`, `3`, `NaN` | fails | fails | - |
| `floatx` other than `float16`, `float32`, `float64` | fails | fails | - |
| `epsilon` that is no float: `1`, `true`, `"x"`, `null` | fails | fails | - |
| `image_data_format` other than `channels_first`, `channels_last` | fails | fails | - |
| a folder, or a file that may not be read | fails | fails | - |
| unknown `backend`: `"theano"`, `"JAX"`, `""`, `3`, `null`, `NaN` | fails from 2.16 on | fails | - |
| `nnx_enabled` true, without the package `flax` (Keras 3.11 on) | works | fails | - |
| no JSON: cut off, empty, single quotes, comment, byte order mark, not UTF-8 | works | works | file ignored |
| `NaN`, `Infinity` as `epsilon` or elsewhere; the last of equal keys | works | works | as written |

`KERAS_BACKEND` replaces the backend of the file and mends nothing else in it. Keras 2 and `tf_keras` take neither: they read the first five rows in the same way and ignore the rest. `TF_USE_LEGACY_KERAS` changes nothing about TensorFlow's own copy.

### How to fix it

Remove what the evidence names; Keras writes a new `keras.json`. A backend is one of `tensorflow`, `jax`, `torch`, `numpy`, `openvino`, in lower case."#,
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    for env in cx.view.envs() {
        let config = &env.env.keras_config;
        let (keras3, tensorflow) = (env.is_keras3() && !env.legacy(), env.tf_alive().is_some());
        let of_tensorflow = config.tensorflow_fault.as_ref().filter(|_| tensorflow);
        let of_keras = config.fault.as_ref().filter(|_| keras3);
        if let Some(fault) = of_tensorflow.or(of_keras) {
            out.find(broken(&env, fault, of_tensorflow.is_some(), of_keras.is_some()));
        }
        if !env.is_keras3() {
            continue;
        }
        if config.variable.is_some() || config.file.value().is_some() || config.invalid.is_some() {
            out.applies();
        }
        if of_keras.is_some() {
            continue;
        }
        if !env.backend_is_known() {
            out.find(unknown_backend(&env));
        } else if let Some(nnx) = needs_flax(&env).filter(|_| keras3) {
            out.find(
                Finding::new(Subject::Env(env.index), "Keras is told to use NNX, and flax is not installed")
                    .because(nnx.clone())
                    .run("install it", cx.view.install(env.env, "flax"))
                    .help("or take NNX out of what the evidence names")
                    .so("`import keras` fails with `you must install flax`")
                    .breaks(Break::KerasUses),
            );
        } else if config.variable.is_none() && keras3 {
            if let Some(invalid) = &config.invalid {
                out.find(
                    Finding::new(
                        Subject::Env(env.index),
                        "keras.json is not valid JSON, and Keras ignores it silently",
                    )
                    .at(Level::Warn)
                    .because(invalid.clone())
                    .run("remove it; Keras writes a new one", format!("rm {}", shell::word(&invalid.at))),
                );
            } else if let Some(why) = config.file.unknown() {
                let missing = format!("which backend keras.json names: {why}");
                out.unknown(Subject::Env(env.index), missing, Some(Break::KerasUses));
            }
        }
    }
}

/// A `keras.json` that ends an import.
fn broken(env: &EnvView<'_, '_>, fault: &KerasFault, of_tensorflow: bool, of_keras: bool) -> Finding {
    let at = &fault.evidence.at;
    let mut finding = Finding::new(Subject::Env(env.index), format!("keras.json {}", fault.what))
        .because(fault.evidence.clone())
        .run(
            "take it out of the way; Keras writes a new one",
            format!("mv {} {}", shell::word(at), shell::word(&format!("{at}.bad"))),
        );
    if of_tensorflow {
        finding = finding
            .so("`import tensorflow` fails, since an old Keras inside of it reads the file too")
            .breaks(Break::TfSees);
    } else if imports_keras(env) && !fault.attribute {
        finding = finding.so("`import tensorflow` fails with it, since TensorFlow imports Keras").breaks(Break::TfSees);
    }
    // What is not Keras 3 imports TensorFlow.
    if of_keras || (!env.is_keras3() && env.keras().is_some()) {
        finding = finding.so("`import keras` fails").breaks(Break::KerasUses);
    }
    finding
}

/// Whether TensorFlow imports what `import keras` gives when it is imported itself.
pub(super) fn imports_keras(env: &EnvView<'_, '_>) -> bool {
    env.tf_alive().is_some() && !env.legacy() && env.tf_minor().is_some_and(|minor| minor >= (2, 16))
}

/// What switches NNX on for a Keras that knows it, where flax is missing.
fn needs_flax<'a>(env: &EnvView<'_, 'a>) -> Option<&'a Evidence> {
    let nnx = env.env.keras_config.nnx.as_ref()?;
    let flax = env.env.modules.get("flax").is_some_and(|module| !module.namespace);
    (!flax && env.keras_minor().is_some_and(|minor| minor >= (3, 11))).then_some(nnx)
}

fn unknown_backend(env: &EnvView<'_, '_>) -> Finding {
    let backend = env.backend();
    let mut finding = Finding::new(Subject::Env(env.index), format!("`{}` is no backend of Keras 3", backend.name))
        .because_all(backend.evidence.clone())
        .help(format!("Keras knows {}", BACKENDS.join(", ")));
    let fix = match backend.from.as_str() {
        "KERAS_BACKEND" => "unset KERAS_BACKEND".to_owned(),
        file => format!("rm {}", shell::word(file)),
    };
    finding.help.insert(0, Help { text: "let Keras take TensorFlow".to_owned(), command: Some(fix) });
    finding = finding.so("`import keras` fails with `Unable to import backend`").breaks(Break::KerasUses);
    if imports_keras(env) {
        finding = finding.so("`import tensorflow` fails with it, since TensorFlow imports Keras").breaks(Break::TfSees);
    }
    finding
}
