//! Rule `compute-capability-unsupported`: whether TensorFlow's wheel has any code for the GPUs here.

use super::visible_devices_hides_all::shown;
use super::{Cx, Family, Rule, layer};
use crate::db::TensorflowRow;
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::view::{CodeFit, EnvView, Gpu, code_fit, plain_name};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "compute-capability-unsupported",
    family: Family::Gpu,
    level: Level::Deny,
    layer: layer::FIT,
    summary: "TensorFlow has no code for this GPU",
    docs: "\
### What it means

A wheel holds machine code for some compute capabilities (`sm_80`) and PTX for some (`compute_90`). Machine code runs \
on the same major with an equal or higher minor; PTX can be translated for everything newer, never for anything \
older. For the GPU here this TensorFlow holds neither, or not for all of its kernels: from 2.16 to 2.20 those for Cast, \
Add, Mul and the like are PTX for `sm_90a` (`compute_90a` here), which no GPU but those of 9.0 runs.

### Why it matters

TensorFlow may list the GPU or ignore it with a line in the log; nothing can be computed on it: kernels fail with \
\"no kernel image is available for execution on the device\" (209), or `CUDA_ERROR_INVALID_PTX` and \
`CUDA_ERROR_INVALID_HANDLE` where only PTX for another architecture is there. Where another GPU of the machine fits, this is a \
warning.

### How to fix it

Install a TensorFlow release whose wheel has code for this GPU: for an old GPU an older release, for a new one a \
newer release. No driver or toolkit changes what a wheel holds.
",
    check,
};

/// How each GPU fits the code of an environment's TensorFlow.
pub(super) fn fits<'v>(cx: &'v Cx<'_>, env: &EnvView<'_, '_>) -> Vec<(&'v Gpu, Option<CodeFit>)> {
    let names = env.compute();
    let fit = |gpu: &Gpu| gpu.compute.as_ref().and_then(|compute| code_fit(compute, &names));
    shown(cx).into_iter().map(|gpu| (gpu, fit(gpu))).collect()
}

/// Whether TensorFlow of an environment has no code for any of the GPUs.
pub(super) fn none_fits(cx: &Cx<'_>, env: &EnvView<'_, '_>) -> bool {
    let fits = fits(cx, env);
    !fits.is_empty() && fits.iter().all(|(_, fit)| *fit == Some(CodeFit::None))
}

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    for env in cx.view.envs().filter(EnvView::wants_cuda) {
        out.applies();
        let subject = Subject::Env(env.index);
        let version = env.tf_version_text().unwrap_or("here");
        let names = env.compute();
        if names.is_empty() {
            let missing = format!("for which GPUs TensorFlow {version} has code");
            out.unknown(subject, missing, Some(Break::TfRuns));
            continue;
        }
        let fits = fits(cx, &env);
        let unfit: Vec<&Gpu> =
            fits.iter().filter(|(_, fit)| *fit == Some(CodeFit::None)).map(|(gpu, _)| *gpu).collect();
        let fit = fits.iter().any(|(_, fit)| matches!(fit, Some(CodeFit::Native | CodeFit::Jit)));
        let untold = fits.iter().find(|(_, fit)| fit.is_none());
        if let (false, Some((gpu, _))) = (fit, untold) {
            let missing = format!("the compute capability of {}", gpu.name);
            out.unknown(subject, missing, Some(Break::TfRuns));
            continue;
        }
        let Some(first) = unfit.first() else { continue };
        let compute = first.compute.as_ref().map(ToString::to_string).unwrap_or_default();
        let plain: Vec<String> = names.iter().map(|name| plain_name(name).to_owned()).collect();
        let bound = first.compute.as_ref().and_then(|compute| code_fit(compute, &plain)) == Some(CodeFit::Jit);
        let what = if bound { "only a part of its code" } else { "no code" };
        let title = if first.assumed {
            format!("TensorFlow {version} has {what} for compute capability {compute}")
        } else {
            format!("TensorFlow {version} has {what} for {} (compute capability {compute})", first.name)
        };
        let build = env.tf().and_then(|tf| tf.build.evidence()).cloned();
        let finding = Finding::new(subject, title)
            .because_all(build)
            .because_all(unfit.iter().take(8).map(|gpu| gpu.evidence.clone()))
            .row(env.tf_row_ref().or_else(|| first.row.clone()))
            .so(if bound {
                "its kernels for Cast, Add, Mul and the like hold PTX for sm_90a alone: CUDA_ERROR_INVALID_PTX"
                    .to_owned()
            } else {
                format!("it has {}", names.join(", "))
            });
        let finding = with_release(cx, &env, first, finding);
        out.find(if fit { finding.at(Level::Warn) } else { finding.breaks(Break::TfRuns) });
    }
}

/// Proposes the release nearest to the installed one that has code for a GPU, the newer first.
fn with_release(cx: &Cx<'_>, env: &EnvView<'_, '_>, gpu: &Gpu, finding: Finding) -> Finding {
    let python = env.python_requirement();
    let python: Vec<&str> = python.as_deref().into_iter().collect();
    let platform = cx.view.platform();
    let fits = |row: &&TensorflowRow| {
        row.package == "tensorflow"
            && row.platform == platform
            && row.cuda_build
            && !row.version.any_prerelease()
            && row.takes(&python)
            && gpu
                .compute
                .as_ref()
                .and_then(|compute| code_fit(compute, &row.compute))
                .is_some_and(|fit| fit != CodeFit::None)
    };
    let rows = || cx.db.tensorflow_rows().iter().filter(fits);
    let row = env.tf_version().and_then(|version| {
        let newer = rows().filter(|row| row.version > version).min_by(|a, b| a.version.cmp(&b.version));
        newer.or_else(|| rows().filter(|row| row.version < version).max_by(|a, b| a.version.cmp(&b.version)))
    });
    let Some(row) = row else {
        return finding.help("install a TensorFlow that has code for this GPU, or build one for it");
    };
    let release = &row.version;
    let text = format!("install TensorFlow {release}, the nearest release that is known to have code for it");
    // A build of another maker is not replaced by a command, nor is a distribution of another name.
    let own = env.tf_dists().iter().any(|dist| dist.name == "tensorflow") && !env.is_own_build() && !env.is_conda_tf();
    if !own {
        return finding.help(format!("{text}, in {}", env.path()));
    }
    let wheels = env.env.dists.iter().any(|dist| dist.name.starts_with("nvidia-")) && !row.and_cuda.is_empty();
    let extra = if wheels { "[and-cuda]" } else { "" };
    let finding = finding.run(text, cx.view.install(env.env, &format!("'tensorflow{extra}=={release}'")));
    match row.and_cuda_fails_on(&python).filter(|_| wheels) {
        Some(why) => finding.help(format!(
            "then run this again, which tells the way to its libraries: `tensorflow[and-cuda]=={release}` alone gives no GPU, as {why}"
        )),
        None => finding,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{judge, machine, pci, silent, tensorflow};

    #[test]
    fn a_gpu_without_code_is_denied_and_one_of_two_is_a_warning() {
        let mut facts = machine();
        facts.pythons = vec![tensorflow("2.20.0", "12.5.1", &["sm_60", "sm_80"])];
        let said = judge(&RULE, &facts);
        assert_eq!(said.findings[0].breaks, [(Subject::Env(0), Break::TfRuns)]);
        assert!(said.findings[0].title.starts_with("TensorFlow 2.20.0 has no code for NVIDIA H100"));
        facts.pci.push(pci("0000:02:00.0", "0x20b0"));
        let said = judge(&RULE, &facts);
        assert_eq!(said.findings[0].level, Some(Level::Warn));
        assert!(said.findings[0].breaks.is_empty());
    }

    #[test]
    fn code_or_ptx_is_enough_and_an_unknown_gpu_stays_open() {
        let mut facts = machine();
        facts.pythons = vec![tensorflow("2.20.0", "12.5.1", &["sm_80", "compute_80"])];
        assert!(silent(&RULE, &facts));
        facts.pci[0].device = "0xffff".to_owned();
        facts.driver.gpus.clear();
        assert_eq!(judge(&RULE, &facts).unknown[0].breaks, Some(Break::TfRuns));
    }
}
