//! Rule `conda-cpu-variant`: conda installed the CPU variant of TensorFlow.

use super::{Cx, Family, Rule, layer};
use crate::facts::Evidence;
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::view::EnvView;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "conda-cpu-variant",
    family: Family::Python,
    level: Level::Deny,
    layer: layer::WHEEL,
    summary: "conda installed the CPU variant of TensorFlow",
    docs: r"### What it means

conda has TensorFlow in variants, and the build string of the installed one says that it is for the CPU.

### Why it matters

conda chooses by what it saw when it solved: on a login node or while an image is built there is no driver, so it takes the CPU variant, and keeps it when the environment later runs on a GPU machine.

### How to fix it

Ask for the CUDA variant by its build string, and tell conda which CUDA to assume where no driver is there: `CONDA_OVERRIDE_CUDA=12.4`.",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    if !cx.view.has_gpu() {
        return;
    }
    for env in cx.view.envs().filter(|env| env.tf_alive().is_some() && env.is_conda_tf()) {
        out.applies();
        let Some((dist, build)) = env.conda_tf() else { continue };
        let cpu = build.starts_with("cpu")
            || build.contains("_cpu")
            || build.starts_with("mkl")
            || build.starts_with("eigen");
        if !(cpu || env.cuda_build() == Some(false)) {
            continue;
        }
        let reports = cx.view.driver_cuda().map_or_else(|| "12".to_owned(), |(cuda, _)| cuda.to_string());
        // Keras's GPU may be that of another backend.
        let level = if env.computes_elsewhere() { Level::Note } else { RULE.level };
        out.find(
            Finding::new(Subject::Env(env.index), format!("conda's TensorFlow {} is the CPU variant", dist.version))
                .at(level)
                .because(Evidence::package(&dist.metadata, format!("build {build}")))
                .because(EnvView::dist_evidence(dist))
                .run(
                    "install the CUDA variant",
                    format!(
                        "CONDA_OVERRIDE_CUDA={reports} conda install -p {} 'tensorflow={}=cuda*'",
                        env.path(),
                        dist.version
                    ),
                )
                .breaks(Break::TfSees),
        );
    }
}
