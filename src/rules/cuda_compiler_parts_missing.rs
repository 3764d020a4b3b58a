//! Rule `cuda-compiler-parts-missing`: ptxas or libdevice, which XLA needs, is not where XLA looks.

use super::{Cx, Family, Rule, layer};
use crate::facts::Evidence;
use crate::facts::loader::in_store;
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::shell;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "cuda-compiler-parts-missing",
    family: Family::Cuda,
    level: Level::Deny,
    layer: layer::XLA,
    summary: "ptxas or libdevice, which XLA needs, is not where XLA looks",
    docs: r"### What it means

XLA compiles for the GPU through two parts of the CUDA toolkit: the file `libdevice.10.bc` and the program `ptxas`. Neither the environment's `nvidia/cuda_nvcc` nor the places that XLA searches beyond it hold what is missing.

### Why it matters

Keras turns XLA on by itself as soon as TensorFlow lists a GPU. TensorFlow's own operations work, and `model.fit` then fails with `libdevice not found` or `Couldn't invoke ptxas`.

### How to fix it

Install NVIDIA's nvcc wheel of the right CUDA major into the environment; it brings both. A `ptxas` that is there and may not be run needs no more than `chmod +x`. Or compile the model with `jit_compile=False`.

A TensorFlow that somebody else built also looks in the toolkit that it was built with, whose place no file tells: where nothing else is found, it stays unknown.",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    for env in cx.view.envs().filter(super::super::view::EnvView::wants_cuda) {
        let Some(tf) = env.tf() else { continue };
        // A TensorFlow that gets no GPU never starts XLA for one.
        if !env.missing().is_empty() {
            continue;
        }
        out.applies();
        let parts = &tf.compiler;
        let mut gone = Vec::new();
        if parts.libdevice.is_none() {
            gone.push("libdevice.10.bc");
        }
        if parts.ptxas.is_none() {
            gone.push("ptxas");
        }
        if gone.is_empty() {
            continue;
        }
        let keras = (env.keras().is_some() || env.env.tf_keras.is_some()) && env.keras_on_tensorflow();
        // The folder of the toolkit that a build was made with is compiled in, and is none of those looked at.
        if env.is_own_build() {
            if keras {
                let missing = format!(
                    "whether XLA finds {}: this build of TensorFlow also looks in the toolkit that it was built with",
                    gone.join(" and ")
                );
                out.unknown(Subject::Env(env.index), missing, Some(Break::KerasUses));
            }
            continue;
        }
        let major = env.cuda_major().unwrap_or(12);
        // What is installed and torn is satisfied as a requirement.
        let torn = env.env.dists.iter().find(|dist| {
            (dist.name == "nvidia-cuda-nvcc" || dist.name == format!("nvidia-cuda-nvcc-cu{major}"))
                && dist.record.as_ref().is_some_and(|record| {
                    record.torn().any(|(path, _)| path.ends_with("/ptxas") || path.strip_suffix(".bc").is_some())
                })
        });
        let package = env.requirement(&format!("nvidia-cuda-nvcc-cu{major}")).map_or_else(
            || if major >= 13 { "nvidia-cuda-nvcc".to_owned() } else { format!("nvidia-cuda-nvcc-cu{major}") },
            |r| format!("'{}{}'", r.name, r.specifier),
        );
        let package =
            torn.map_or(package, |dist| format!("--force-reinstall --no-deps {}=={}", dist.name, dist.version));
        let mut finding = Finding::new(Subject::Env(env.index), format!("XLA does not find {}", gone.join(" and ")))
            .because_all(parts.data_dir.clone())
            .because_all(parts.inert.clone())
            .because_all(parts.looked.iter().take(4).map(|place| Evidence::file(place, "looked here, not there")));
        finding = if keras {
            finding.so("Keras compiles with XLA as soon as TensorFlow lists a GPU, so `fit` fails while plain TensorFlow operations work").breaks(Break::KerasUses)
        } else {
            finding.at(Level::Note).so("only code that XLA compiles is concerned")
        };
        // Installing changes no mode of a file that is there.
        if let Some(inert) = &parts.inert {
            finding = finding.run("let it be run", format!("chmod +x {}", shell::word(&inert.at)));
            if gone.len() == 1 {
                out.find(finding);
                continue;
            }
        }
        // No package is installed into what a store holds.
        finding = if in_store(&env.env.path) {
            finding.help(
                "name a toolkit that has them: `XLA_FLAGS=--xla_gpu_cuda_data_dir=DIR`, where DIR holds `nvvm/libdevice` and `bin/ptxas`",
            )
        } else {
            finding.run("install the compiler parts", cx.view.install(env.env, &package))
        };
        // Without it the same folders are looked at.
        if let Some(flags) = &parts.data_dir {
            finding = finding.help(format!("or let XLA_FLAGS name a toolkit that has them, and not {}", flags.says));
        }
        out.find(finding);
    }
}
