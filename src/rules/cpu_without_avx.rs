//! Rule `cpu-without-avx`: the processor has no AVX, and TensorFlow wheels need it.

use super::{Cx, Family, Rule, layer};
use crate::facts::Evidence;
use crate::finding::{Break, Finding, Judgment, Level, Subject};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "cpu-without-avx",
    family: Family::Python,
    level: Level::Deny,
    layer: layer::IMPORT,
    summary: "The processor has no AVX, and TensorFlow wheels need it",
    docs: r"### What it means

TensorFlow's own wheels for x86-64 are compiled with AVX instructions. The flags of this processor do not list `avx`.

### Why it matters

The import ends the process with `Illegal instruction`, whatever the GPU.

### How to fix it

Use another processor, a virtual machine that passes AVX on to its guest, or a build of TensorFlow without AVX.",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    if cx.facts.machine.arch != "x86_64" || cx.facts.machine.avx.value() != Some(&false) {
        if cx.facts.machine.avx.value() == Some(&true) {
            out.applies();
        }
        return;
    }
    for env in cx.view.envs().filter(|env| env.tf_alive().is_some()) {
        let Some(dist) = env.tf_dist() else { continue };
        // A build of one's own may do without.
        if !dist.tags.iter().any(|tag| tag.contains("manylinux") || tag.contains("win_amd64")) {
            continue;
        }
        out.find(
            Finding::new(Subject::Env(env.index), "this processor has no AVX, which TensorFlow's wheels need")
                .because_all(cx.facts.machine.avx.evidence().cloned())
                .because(Evidence::package(
                    &dist.metadata,
                    format!("{} {} is a wheel from the index", dist.name, dist.version),
                ))
                .help("run it on a processor with AVX, or pass the processor's features on to the virtual machine")
                .so("`import tensorflow` dies with `Illegal instruction`")
                .breaks(Break::TfSees),
        );
    }
}
