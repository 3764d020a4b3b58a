//! Rule `cudnn-missing`: the cuDNN that TensorFlow opens is nowhere.

use super::{Cx, Family, Rule, layer};
use crate::facts::{Evidence, Resolution};
use crate::finding::{Break, Finding, Judgment, Level, Subject};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "cudnn-missing",
    family: Family::Cuda,
    level: Level::Deny,
    layer: layer::LOADER + 2,
    summary: "The cuDNN that TensorFlow opens is nowhere",
    docs: r"### What it means

TensorFlow opens `libcudnn.so.N` by name, N being the major it was built with. The loader finds no file of that name, and none lies unused on the disk.

### Why it matters

cuDNN is on the list of libraries that must all open: without it TensorFlow registers no GPU, even for work that needs no convolution.

### How to fix it

Install the cuDNN wheel of the right major into the same environment, at best through TensorFlow's `and-cuda` extra.",
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
        if !nowhere || !env.other_cudnns(&name).is_empty() {
            continue;
        }
        // Where others are nowhere either, cuda-library-missing names them all and brings them all.
        let absent = |found: Option<&Resolution>| {
            found.is_some_and(|found| found.file.is_absent() && found.others.is_empty() && found.rejected.is_empty())
        };
        if env.missing().into_iter().any(|(other, found)| *other != name && absent(found)) {
            continue;
        }
        let version = env.tf_version_text().unwrap_or_default();
        let package =
            env.cuda_major().map_or_else(|| "nvidia-cudnn".to_owned(), |major| format!("nvidia-cudnn-cu{major}"));
        let wanted = env.requirement(&package).map_or_else(
            || format!("'{package}=={}.*'", name.trim_start_matches("libcudnn.so.")),
            |r| format!("'{}{}'", r.name, r.specifier),
        );
        out.find(
            Finding::new(Subject::Env(env.index), format!("{name} is nowhere, and TensorFlow {version} needs it"))
                .because(Evidence::loader(
                    &name,
                    "not found on LD_LIBRARY_PATH, TensorFlow's RUNPATH, the loader's cache or the default folders",
                ))
                .row(env.tf_row_ref())
                .run("install cuDNN into this environment", cx.view.install(env.env, &wanted))
                .breaks(Break::TfSees),
        );
    }
}
