//! Rule `cudnn-incomplete`: a sub-library of cuDNN is missing.

use super::{Cx, Family, Rule, layer};
use crate::facts::{Evidence, Probed, Resolution};
use crate::finding::{Break, Finding, Judgment, Level, Subject};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "cudnn-incomplete",
    family: Family::Cuda,
    level: Level::Deny,
    layer: layer::CUDNN + 1,
    summary: "A sub-library of cuDNN is missing",
    docs: r"### What it means

`libcudnn.so.N` is a small door: it opens its sub-libraries (`libcudnn_graph`, `libcudnn_ops` and others) by name when they are first needed. At least one that this generation cannot do without is not found the way libcudnn looks for it, or was cut off.

### Why it matters

The GPU is listed, since libcudnn itself opens. The first call into cuDNN then ends the whole process with `Cannot load symbol`.

### How to fix it

Reinstall the cuDNN package so that all its files are there, and keep copies of other releases off the search path.",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    for env in cx.view.envs().filter(super::super::view::EnvView::wants_cuda) {
        let (Some(library), Some(tf)) = (env.cudnn(), env.tf()) else { continue };
        out.applies();
        // A part that is there and ends too early, which its wheel tells.
        let torn = |resolution: &Resolution| {
            matches!(resolution.file, Probed::Failed { .. })
                && env.hollow_nvidia().iter().filter_map(|dist| dist.record.as_ref()).any(|record| {
                    record.torn().any(|(path, _)| path.rsplit('/').next() == Some(resolution.name.as_str()))
                })
        };
        let gone: Vec<&str> = tf
            .cudnn_parts
            .iter()
            .filter(|part| part.required && (part.resolution.file.is_absent() || torn(&part.resolution)))
            .map(|part| part.resolution.name.as_str())
            .collect();
        // Files that lie beside libcudnn and that its own search path does not name: no part is missing then.
        let beside = |name: &str| {
            tf.cudnn_parts.iter().any(|part| {
                part.resolution.name == name && part.resolution.file.is_absent() && !part.resolution.others.is_empty()
            })
        };
        if let Some(part) = gone.iter().find(|name| beside(name)) {
            out.unknown(
                Subject::Env(env.index),
                format!("whether {} finds {part}, which lies where nothing searches", library.path),
                Some(Break::TfRuns),
            );
            continue;
        }
        if gone.is_empty() {
            continue;
        }
        let parts = || tf.cudnn_parts.iter().map(|part| &part.resolution).filter(|part| gone.contains(&&*part.name));
        let cut = parts().any(|part| !part.file.is_absent());
        let owner = library.owner.as_deref().and_then(|owner| owner.split_once(' '));
        let mut finding = Finding::new(
            Subject::Env(env.index),
            format!("cuDNN is incomplete: {} is missing{}", gone.join(", "), if cut { " or cut off" } else { "" }),
        )
        .because(Evidence::file(&library.path, format!("opens {} by name at first use", gone[0])))
        .because_all(
            parts().take(3).map(|part| Evidence::loader(&part.name, part.file.unknown().unwrap_or("not found"))),
        )
        .so("TensorFlow lists the GPU, and the process dies at the first call into cuDNN")
        .breaks(Break::TfRuns);
        finding = match owner {
            // The same release: a newer one may have no code for this GPU.
            Some((package, version)) => finding.run(
                "reinstall cuDNN",
                cx.view.install(env.env, &format!("--force-reinstall --no-deps {package}=={version}")),
            ),
            None => finding.help("reinstall the cuDNN package that brought this file, all parts of one release"),
        };
        out.find(finding);
    }
}
