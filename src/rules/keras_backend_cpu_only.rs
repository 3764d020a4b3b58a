//! Rule `keras-backend-cpu-only`: keras computes with a backend that has no CUDA here.

use super::{Cx, Family, Rule, layer};
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::shell;
use crate::view::Accelerated;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "keras-backend-cpu-only",
    family: Family::Keras,
    level: Level::Deny,
    layer: layer::KERAS,
    summary: "Keras computes with a backend that has no CUDA here",
    docs: r"### What it means

Keras 3 chooses its backend from `KERAS_BACKEND`, else from `keras.json`, else it takes TensorFlow. It is set to JAX, PyTorch, NumPy or OpenVINO, and what is installed of that has no CUDA.

### Why it matters

This is the plainest answer to the question why TensorFlow sees the GPU and Keras does not: in the same process TensorFlow lists the GPU and Keras's tensors lie on the CPU. `keras.json` is written at the first import, so an old choice sticks for years.

### How to fix it

Set the backend to TensorFlow, or install the build of the other backend that has CUDA.",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    if !cx.view.has_gpu() {
        return;
    }
    for env in
        cx.view.envs().filter(|env| env.keras().is_some() && !env.keras_on_tensorflow() && env.backend_is_known())
    {
        let backend = env.backend();
        if !env.has_backend(&backend.name) {
            continue;
        }
        let evidence = match env.backend_acceleration() {
            Accelerated::Yes(_) => {
                out.applies();
                continue;
            }
            Accelerated::Unknown(why) => {
                out.unknown(Subject::Env(env.index), why, Some(Break::KerasUses));
                continue;
            }
            Accelerated::No(evidence) => evidence,
        };
        let name = match backend.name.as_str() {
            "jax" => "JAX",
            "torch" => "PyTorch",
            "numpy" => "NumPy",
            "openvino" => "OpenVINO",
            other => other,
        };
        let mut finding =
            Finding::new(Subject::Env(env.index), format!("Keras computes with {name}, which has no CUDA here"))
                .because_all(backend.evidence.clone())
                .because_all(evidence);
        if env.tf_alive().is_some() {
            finding = finding.so("TensorFlow may list the GPU in the same process; Keras does not use it");
            finding = match backend.from.as_str() {
                "KERAS_BACKEND" => finding.run("run Keras on TensorFlow", "unset KERAS_BACKEND"),
                file => finding.run(
                    "run Keras on TensorFlow",
                    format!("sed -i 's/\"backend\": *\"[^\"]*\"/\"backend\": \"tensorflow\"/' {}", shell::word(file)),
                ),
            };
            if backend.from == "KERAS_BACKEND"
                && env.env.keras_config.file.value().is_some_and(|file| file != "tensorflow")
            {
                finding = finding.help("keras.json names another backend than TensorFlow too; mend it as well");
            }
        }
        if let Some(install) = cx.view.cuda_backend(&env, &backend.name) {
            finding = finding.run(format!("or give {name} CUDA"), install);
        }
        out.find(finding.breaks(Break::KerasUses));
    }
}
