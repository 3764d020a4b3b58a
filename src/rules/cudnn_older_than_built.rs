//! Rule `cudnn-older-than-built`: the cuDNN that is loaded is older than the one TensorFlow was built with.

use super::{Cx, Family, Rule, layer};
use crate::facts::{Evidence, Via};
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::shell;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "cudnn-older-than-built",
    family: Family::Cuda,
    level: Level::Deny,
    layer: layer::CUDNN,
    summary: "The cuDNN that is loaded is older than the one TensorFlow was built with",
    docs: r"### What it means

The file that the loader picks for `libcudnn.so.N` has the right major but a lower minor than the cuDNN that TensorFlow was compiled with.

### Why it matters

TensorFlow checks this when it first uses cuDNN: it refuses with `Loaded runtime CuDNN library … but source was compiled with …`. The GPU is listed, and the first convolution fails.

### How to fix it

Upgrade that cuDNN, or take the older copy off the search path so that the newer one in the environment wins.",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    for env in cx.view.envs().filter(super::super::view::EnvView::wants_cuda) {
        let (Some(name), Some(built)) = (env.cudnn_name(), env.cudnn_built()) else { continue };
        let Some(library) = env.cudnn() else { continue };
        out.applies();
        // A source that states the major alone gives nothing to compare with.
        if built.len() < 2 {
            continue;
        }
        let Some(version) = &library.version else {
            out.unknown(Subject::Env(env.index), format!("the version of {}", library.path), Some(Break::TfRuns));
            continue;
        };
        if version.value.major() != built.major() || version.value.minor() >= built.minor() {
            continue;
        }
        let newer = env.resolution(&name).and_then(|r| {
            r.others.iter().find(|other| other.version.as_ref().is_some_and(|v| v.value.prefix(2) >= built.prefix(2)))
        });
        let mut finding = Finding::new(
            Subject::Env(env.index),
            format!("cuDNN {} would be loaded, and TensorFlow was built with {}", version.value, built),
        )
        .because(library.evidence(&name))
        .because(version.evidence.clone())
        .row(env.tf_row_ref())
        .so("TensorFlow lists the GPU, then refuses this cuDNN at the first convolution")
        .breaks(Break::TfRuns);
        if let Some(newer) = newer {
            finding = finding.because(Evidence::file(&newer.path, "a newer copy that loses"));
        }
        finding = if let (Via::LibraryPath { entry }, Some(_)) = (&library.via, newer) {
            finding.run(format!("take `{entry}` off LD_LIBRARY_PATH"), shell::without_entry(entry))
        } else {
            let major = env.cuda_major().unwrap_or(12);
            finding.run(
                "upgrade cuDNN",
                cx.view.install(env.env, &format!("'nvidia-cudnn-cu{major}>={built},<{}'", built.major() + 1)),
            )
        };
        out.find(finding);
    }
}
