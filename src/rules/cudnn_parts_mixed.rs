//! Rule `cudnn-parts-mixed`: the parts of cuDNN come from different releases.

use super::{Cx, Family, Rule, layer};
use crate::facts::Evidence;
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::view::EnvView;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "cudnn-parts-mixed",
    family: Family::Cuda,
    level: Level::Deny,
    layer: layer::CUDNN + 2,
    summary: "The parts of cuDNN come from different releases",
    docs: r"### What it means

libcudnn and a sub-library that it opens would be loaded from different folders and state different versions.

### Why it matters

cuDNN refuses parts of another release (`CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH`), or computes with interfaces that do not match. This happens when one copy is incomplete and the loader falls back to another one.

### How to fix it

Keep one complete cuDNN on the search path: reinstall the incomplete one and remove the other.",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    for env in cx.view.envs().filter(EnvView::wants_cuda) {
        let (Some(library), Some(tf)) = (env.cudnn(), env.tf()) else { continue };
        out.applies();
        let Some(main) = &library.version else { continue };
        let folder = library.real.rsplit_once('/').map_or("", |(folder, _)| folder);
        let stranger = tf.cudnn_parts.iter().filter_map(|part| part.part.as_ref()).find(|part| {
            let elsewhere = part.path.rsplit_once('/').is_some_and(|(other, _)| !other.is_empty() && other != folder);
            elsewhere && part.version.as_ref().is_some_and(|version| version.value.prefix(3) != main.value.prefix(3))
        });
        let Some((part, version)) = stranger.and_then(|part| Some((part, part.version.as_ref()?))) else { continue };
        let owner = library.owner.as_deref().and_then(|owner| owner.split_once(' '));
        let torn = env.hollow_nvidia().into_iter().find(|dist| {
            owner.is_some_and(|(name, _)| dist.name == name)
                && dist.record.as_ref().is_some_and(|record| record.torn().any(|(path, _)| path.ends_with(&part.name)))
        });
        let finding = Finding::new(
            Subject::Env(env.index),
            format!("cuDNN {} would load {} of release {}", main.value, part.name, version.value),
        )
        .because(Evidence::file(&library.path, format!("cuDNN {}", main.value)))
        .because(Evidence::file(&part.path, format!("release {}", version.value)))
        .so("cuDNN refuses sub-libraries of another release at first use")
        .breaks(Break::TfRuns);
        // Its own copy comes first where it is there.
        out.find(match torn {
            Some(dist) => finding.because(EnvView::dist_evidence(dist)).run(
                format!("install the cuDNN again that has lost its own {}", part.name),
                cx.view.install(env.env, &format!("--force-reinstall --no-deps {}=={}", dist.name, dist.version)),
            ),
            None => {
                finding.help(format!("keep one complete cuDNN: take {} off the search path or remove it", part.path))
            }
        });
    }
}
