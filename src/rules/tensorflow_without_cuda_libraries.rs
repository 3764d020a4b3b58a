//! Rule `tensorflow-without-cuda-libraries`: tensorFlow has CUDA in it, but no CUDA library is installed.

use super::{Cx, Family, Rule, layer};
use crate::facts::Evidence;
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::view::EnvView;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "tensorflow-without-cuda-libraries",
    family: Family::Python,
    level: Level::Deny,
    layer: layer::WHEEL + 1,
    summary: "TensorFlow has CUDA in it, but no CUDA library is installed",
    docs: r"### What it means

The wheel was built with CUDA, and none of the libraries that it opens by name is found: no `nvidia-*` wheels in the environment and no toolkit of that major on the machine. Plain `pip install tensorflow` gives exactly this.

### Why it matters

TensorFlow registers no GPU. Its message, `Could not find cuda drivers`, speaks of the driver and means the library `libcudart`.

### How to fix it

Install the same version with the `and-cuda` extra, which brings every library at the right version. No toolkit, no nvcc and no variable is needed then.",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    for env in cx.view.envs().filter(EnvView::wants_cuda) {
        out.applies();
        if !env.has_no_cuda_library_at_all() {
            continue;
        }
        let version = env.tf_version_text().unwrap_or_default();
        let wanted = env.wanted();
        let mut finding = Finding::new(
            Subject::Env(env.index),
            format!("TensorFlow {version} finds none of the CUDA libraries it opens"),
        )
        .because(Evidence::loader(&wanted[0], format!("not found, and neither are {}", wanted[1..].join(", "))))
        .because_all(env.tf_dist().map(EnvView::dist_evidence))
        .row(env.tf_row_ref())
        .breaks(Break::TfSees);
        // Another CUDA major on the machine explains why its owner expects it to work.
        if let Some(other) = env
            .tf()
            .into_iter()
            .flat_map(|tf| &tf.libraries)
            .find(|r| r.name.starts_with("libcudart.") && !wanted.contains(&r.name) && r.file.value().is_some())
        {
            let path = other.file.value().map_or("", |library| library.path.as_str());
            finding = finding.because(Evidence::file(
                path,
                format!("{} is here, of another CUDA major than TensorFlow's", other.name),
            ));
        }
        out.find(super::cuda_library_missing::with_libraries(cx, &env, finding));
    }
}
