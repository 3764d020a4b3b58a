//! Rule `ptx-newer-than-driver`: whether the driver can translate the PTX that a GPU depends on.

use super::{Cx, Family, Rule, driver_below_cuda_floor, driver_not_loaded, layer};
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::version::Dotted;
use crate::view::{CodeFit, EnvView, code_fit};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "ptx-newer-than-driver",
    family: Family::Driver,
    level: Level::Note,
    layer: layer::FIT,
    summary: "a GPU depends on PTX that is newer than its driver can translate",
    docs: "\
### What it means

TensorFlow holds no machine code for this GPU, only PTX, which the driver translates when the program runs. The PTX \
was written by a newer CUDA than the driver reports, and a driver reads PTX up to its own CUDA only. Where machine \
code for the GPU is there, PTX is not used and this rule says nothing.

### Why it matters

Loading a kernel fails with `CUDA_ERROR_UNSUPPORTED_PTX_VERSION` (222). Minor-version compatibility covers machine \
code, not PTX: TensorFlow lists the GPU, and the first operation on it fails.

### How to fix it

Update the driver to one that reports at least the CUDA that TensorFlow was built with, or install a TensorFlow whose \
wheel has machine code for this GPU.
",
    check,
};

/// How PTX stands to the driver.
pub(super) enum Ptx {
    /// The driver reads it.
    Fine,
    /// It was written by a newer CUDA (first) than the driver reports (second).
    Newer(Dotted, Dotted),
    /// It cannot be told; what is missing.
    Unknown(String),
}

/// Holds the PTX of an environment's TensorFlow against the driver.
pub(super) fn ptx(cx: &Cx<'_>, env: &EnvView<'_, '_>) -> Ptx {
    let Some(written) = env.cuda_text().and_then(|text| text.parse::<Dotted>().ok()) else {
        return Ptx::Unknown("the CUDA that TensorFlow was built with".to_owned());
    };
    let Some((reports, _)) = cx.view.driver_cuda_for(env.env) else {
        return Ptx::Unknown("the CUDA that the driver reports".to_owned());
    };
    if written.prefix(2) > reports.prefix(2) {
        return Ptx::Newer(written, reports);
    }
    if written.len() < 2 && written.major() == reports.major() {
        return Ptx::Unknown(format!("which release of CUDA {written} TensorFlow was built with"));
    }
    Ptx::Fine
}

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    for env in cx.view.envs().filter(EnvView::wants_cuda) {
        let names = env.compute();
        let fits: Vec<_> =
            cx.view.gpus.iter().map(|gpu| (gpu, gpu.compute.as_ref().and_then(|c| code_fit(c, &names)))).collect();
        let jit: Vec<_> = fits.iter().filter(|(_, fit)| *fit == Some(CodeFit::Jit)).map(|(gpu, _)| *gpu).collect();
        out.applies();
        let Some(first) = jit.first() else { continue };
        // A driver that drives no GPU reads no PTX, and the one that must take its place is another one.
        if !cx.view.driver_answers() || driver_not_loaded::none_driven(cx) || driver_below_cuda_floor::below(cx, &env) {
            continue;
        }
        let subject = Subject::Env(env.index);
        let all = fits.iter().all(|(_, fit)| matches!(fit, Some(CodeFit::Jit | CodeFit::None)));
        match ptx(cx, &env) {
            Ptx::Fine => {}
            Ptx::Unknown(missing) => out.unknown(subject, missing, all.then_some(Break::TfRuns)),
            Ptx::Newer(written, reports) => {
                let title = format!(
                    "{} depends on PTX of CUDA {written}, and the driver reads PTX up to CUDA {reports}",
                    first.name
                );
                let told = cx.view.assumed_cuda().map(|assumption| assumption.evidence.clone());
                let driver = told.or_else(|| cx.view.driver_for(env.env).map(|(_, evidence)| evidence));
                let mut finding = Finding::new(subject, title)
                    .because_all(driver)
                    .because_all(env.tf().and_then(|tf| tf.build.evidence()).cloned())
                    .because(first.evidence.clone())
                    .row(cx.view.driver_cuda_for(env.env).and_then(|(_, row)| row))
                    .help(format!("update the driver to one that reports CUDA {} or newer", written.prefix(2)))
                    .help("or install a TensorFlow that has machine code for this GPU")
                    .so("TensorFlow lists the GPU, and its operations fail with CUDA error 222");
                finding = if all { finding.at(Level::Deny).breaks(Break::TfRuns) } else { finding.at(Level::Warn) };
                out.find(finding);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Assumption, Evidence, Source};
    use crate::rules::testing::{judge, machine, machine_with_driver, silent, tensorflow};

    #[test]
    fn ptx_alone_needs_a_driver_as_new_as_its_cuda() {
        let mut facts = machine();
        facts.pythons = vec![tensorflow("2.20.0", "12.5.1", &["sm_70", "sm_80", "compute_80"])];
        let said = judge(&RULE, &facts);
        assert_eq!(said.findings[0].level, Some(Level::Deny));
        assert_eq!(said.findings[0].breaks, [(Subject::Env(0), Break::TfRuns)]);
        let pythons = facts.pythons;
        facts = machine_with_driver("555.42.02");
        facts.pythons = pythons;
        assert!(silent(&RULE, &facts));
    }

    #[test]
    fn machine_code_does_not_care() {
        let mut facts = machine();
        facts.pythons = vec![tensorflow("2.20.0", "12.5.1", &["sm_80", "compute_90"])];
        assert!(silent(&RULE, &facts));
    }

    #[test]
    fn a_variable_of_conda_does_not_overrule_the_driver() {
        for (source, found) in [(Source::Option, 1), (Source::Env, 0)] {
            let mut facts = machine_with_driver("555.42.02");
            facts.pythons = vec![tensorflow("2.20.0", "12.5.1", &["sm_70", "sm_80", "compute_80"])];
            let evidence = Evidence::new(source, "somewhere", "12.4");
            facts.assumed = vec![Assumption { key: "cuda".to_owned(), value: "12.4".parse().unwrap(), evidence }];
            assert_eq!(judge(&RULE, &facts).findings.len(), found, "{source:?}");
        }
    }
}
