//! Rule `compute-capability-needs-jit`: whether a GPU must wait for PTX to be translated.

use super::compute_capability_unsupported::fits;
use super::ptx_newer_than_driver::{Ptx, ptx};
use super::{Cx, Family, Rule, layer};
use crate::finding::{Finding, Judgment, Level, Subject};
use crate::view::{CodeFit, EnvView, Gpu};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "compute-capability-needs-jit",
    family: Family::Gpu,
    level: Level::Note,
    layer: layer::FIT,
    summary: "TensorFlow has only PTX for this GPU, which is translated at first use",
    docs: "\
### What it means

This TensorFlow holds no machine code for the GPU, but PTX of an older compute capability, which the driver \
translates when a program first uses it.

### Why it matters

It works, so this is a note. The first start may take many minutes; the result is kept in `~/.nv/ComputeCache`, which \
must be writable and large enough to hold it, or every start is slow. Code that was not built for the GPU may also \
run slower than it could.

### How to fix it

Wait once, and make the cache large enough with `CUDA_CACHE_MAXSIZE=4294967296`. Better, install a release that has \
machine code for this GPU.
",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    for env in cx.view.envs().filter(EnvView::wants_cuda) {
        out.applies();
        let gpus: Vec<&Gpu> =
            fits(cx, &env).into_iter().filter(|(_, fit)| *fit == Some(CodeFit::Jit)).map(|(gpu, _)| gpu).collect();
        let Some(first) = gpus.first() else { continue };
        // Where the driver cannot translate it, that is what matters.
        if matches!(ptx(cx, &env), Ptx::Newer(..)) {
            continue;
        }
        let version = env.tf_version_text().unwrap_or("here");
        let compute = first.compute.as_ref().map(ToString::to_string).unwrap_or_default();
        let title = if first.assumed {
            format!("TensorFlow {version} has only PTX for compute capability {compute}")
        } else {
            format!("TensorFlow {version} has only PTX for {} (compute capability {compute})", first.name)
        };
        out.find(
            Finding::new(Subject::Env(env.index), title)
                .because_all(env.tf().and_then(|tf| tf.build.evidence()).cloned())
                .because_all(gpus.iter().take(8).map(|gpu| gpu.evidence.clone()))
                .row(env.tf_row_ref())
                .run(
                    "let the driver keep what it translates, so that only the first start is slow",
                    "export CUDA_CACHE_MAXSIZE=4294967296",
                )
                .so("the first start may take many minutes"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{judge, machine, machine_with_driver, silent, tensorflow};

    #[test]
    fn ptx_alone_is_noted_where_the_driver_reads_it() {
        let mut facts = machine_with_driver("555.42.02");
        facts.pythons = vec![tensorflow("2.20.0", "12.5.1", &["sm_80", "compute_80"])];
        let said = judge(&RULE, &facts);
        assert_eq!(said.findings.len(), 1);
        assert!(said.findings[0].breaks.is_empty());
        let pythons = std::mem::take(&mut facts.pythons);
        facts = machine();
        facts.pythons = pythons;
        assert!(silent(&RULE, &facts));
    }
}
