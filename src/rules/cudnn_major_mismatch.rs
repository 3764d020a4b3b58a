//! Rule `cudnn-major-mismatch`: a cuDNN of another major is installed than TensorFlow opens.

use super::{Cx, Family, Rule, layer};
use crate::facts::Evidence;
use crate::finding::{Break, Finding, Judgment, Level, Subject};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "cudnn-major-mismatch",
    family: Family::Cuda,
    level: Level::Deny,
    layer: layer::LOADER + 2,
    summary: "A cuDNN of another major is installed than TensorFlow opens",
    docs: r"### What it means

TensorFlow asks for `libcudnn.so.N`, where N is the major it was built with: 8 up to release 2.17, 9 from 2.18 on. What is installed carries another number.

### Why it matters

The major is part of the name that is opened. Another one is never taken in its place, however new it is, so TensorFlow registers no GPU.

### How to fix it

Install the cuDNN of the major that TensorFlow wants beside or instead of the other one. Both majors can live on one machine.",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    for env in cx.view.envs().filter(super::super::view::EnvView::wants_cuda) {
        let Some(name) = env.cudnn_name() else { continue };
        out.applies();
        if env.has_no_cuda_library_at_all() || !env.lost_nvidia().is_empty() {
            continue;
        }
        let nowhere =
            env.resolution(&name).is_none_or(|resolution| resolution.file.is_absent() && resolution.others.is_empty());
        let others = env.other_cudnns(&name);
        let (true, Some((other, path))) = (nowhere, others.first()) else { continue };
        let version = env.tf_version_text().unwrap_or_default();
        let package =
            env.cuda_major().map_or_else(|| "nvidia-cudnn".to_owned(), |major| format!("nvidia-cudnn-cu{major}"));
        let wanted = env.requirement(&package).map_or_else(
            || format!("'{package}=={}.*'", name.trim_start_matches("libcudnn.so.")),
            |r| format!("'{}{}'", r.name, r.specifier),
        );
        out.find(
            Finding::new(
                Subject::Env(env.index),
                format!("TensorFlow {version} opens {name}, and only {other} is here"),
            )
            .because(Evidence::file(*path, format!("{other}, another major")))
            .because(Evidence::loader(&name, "not found anywhere"))
            .row(env.tf_row_ref())
            .run("install the cuDNN of the right major", cx.view.install(env.env, &wanted))
            .breaks(Break::TfSees),
        );
    }
}
