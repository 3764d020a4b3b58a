//! Rule `tensorflow-platform-without-gpu`: no TensorFlow wheel for this platform has CUDA.

use super::{Cx, Family, Rule, layer};
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::view::EnvView;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "tensorflow-platform-without-gpu",
    family: Family::Python,
    level: Level::Deny,
    layer: layer::WHEEL,
    summary: "No TensorFlow wheel for this platform has CUDA",
    docs: r"### What it means

TensorFlow's own wheels contain CUDA for Linux on x86-64 only (on Windows up to 2.10). The wheels for Linux on Arm, for macOS and for native Windows are CPU builds, although they accept the `and-cuda` extra.

### Why it matters

The extra then downloads gigabytes of libraries that the wheel never opens.

### How to fix it

On Windows use WSL2. On NVIDIA's Arm machines use NVIDIA's own wheel or container. Elsewhere use another Keras backend that has CUDA for the platform.",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    let platform = cx.view.platform();
    if !cx.view.has_gpu() || platform == "linux-x86_64" {
        return;
    }
    for env in cx.view.envs().filter(|env| env.tf_alive().is_some()) {
        out.applies();
        if env.cuda_build() != Some(false) || env.is_conda_tf() {
            continue;
        }
        let version = env.tf_version_text().unwrap_or_default();
        let help = match cx.facts.machine.os.as_str() {
            "windows" => "run it under WSL2, where the Linux wheel has CUDA",
            "linux" => "use NVIDIA's own TensorFlow wheel or container for this platform",
            _ => "use a platform with an NVIDIA driver",
        };
        out.find(
            Finding::new(
                Subject::Env(env.index),
                format!("TensorFlow {version} has no CUDA in its wheels for {platform}"),
            )
            .because_all(env.tf().and_then(|tf| tf.build.evidence()).cloned())
            .because_all(env.tf_dist().map(EnvView::dist_evidence))
            .row(env.tf_row_ref())
            .help(help)
            .breaks(Break::TfSees),
        );
    }
}
