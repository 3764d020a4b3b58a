//! Rule `nvml-missing`: whether libnvidia-ml.so.1 is there beside libcuda.

use super::container_without_gpu::libraries;
use super::libcuda_missing::lacks_capability;
use super::{Cx, Family, Rule, layer};
use crate::facts::{Evidence, Resolution};
use crate::finding::{Break, Finding, Judgment, Level, Subject};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "nvml-missing",
    family: Family::Driver,
    level: Level::Warn,
    layer: layer::DRIVER,
    summary: "the loader finds libcuda but not NVML, which TensorFlow 2.21 and newer need",
    docs: "\
### What it means

`libnvidia-ml.so.1` (NVML) is the driver's library for watching GPUs; `nvidia-smi` is built on it. The loader finds \
`libcuda.so.1` and no NVML.

### Why it matters

TensorFlow 2.21 and newer ask NVML while they register GPUs and list none without it (measured with 2.21.0 and \
2.22.0rc0); there it is denied. TensorFlow 2.20 and older, and most other programs, compute without it: there it is a \
warning.

### How to fix it

Install the rest of the driver's user space in the version that is there (`libnvidia-ml1` on Debian, \
`libnvidia-compute-…` on Ubuntu). In a container ask for the `utility` capability: \
`NVIDIA_DRIVER_CAPABILITIES=compute,utility`.
",
    check,
};

/// The first minor of TensorFlow 2 that needs NVML.
const NEEDS_NVML: (u64, u64) = (2, 21);

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    if !cx.view.driver_matters() || !cx.view.driver_answers() {
        return;
    }
    let generic = &cx.facts.driver.nvml;
    if cx.view.is_wsl() && generic.others.iter().any(|other| other.path.starts_with("/usr/lib/wsl/")) {
        return out.applies();
    }
    let mut denied = false;
    for env in cx.view.envs().filter(|env| env.wants_cuda() && env.tf_minor().is_some_and(|v| v >= NEEDS_NVML)) {
        // Without libcuda there is a nearer cause.
        if cx.view.libcuda_of(env.env).is_none() {
            continue;
        }
        out.applies();
        let own = env.tf().map(|tf| &tf.nvml).filter(|own| own.file.unknown().is_none());
        let nvml = own.unwrap_or(generic);
        let subject = Subject::Env(env.index);
        let version = env.tf_version_text().unwrap_or_default();
        if let Some(why) = nvml.file.unknown() {
            let missing = format!("whether libnvidia-ml.so.1 can be found: {why}");
            out.unknown(subject, missing, Some(Break::TfSees));
        } else if nvml.file.is_absent() {
            denied = true;
            let title = format!("TensorFlow {version} needs libnvidia-ml.so.1, and nothing provides it");
            let finding = finding(cx, subject, title, nvml).at(Level::Deny).breaks(Break::TfSees);
            out.find(finding.so("TensorFlow lists no GPU, though CUDA itself works"));
        }
    }
    if !denied && generic.file.is_absent() && cx.facts.driver.libcuda.file.value().is_some() {
        let title = "nothing provides libnvidia-ml.so.1, though libcuda.so.1 is there";
        let finding = finding(cx, Subject::Machine, title.to_owned(), generic);
        out.find(finding.so("nvidia-smi does not work, and TensorFlow 2.21 and newer would list no GPU"));
    }
    if cx.facts.driver.libcuda.file.value().is_some() {
        out.applies();
    }
}

fn finding(cx: &Cx<'_>, subject: Subject, title: String, nvml: &Resolution) -> Finding {
    let finding = Finding::new(subject, title)
        .because(Evidence::loader("libnvidia-ml.so.1", "nothing provides it"))
        .because_all(nvml.rejected.first().map(|file| Evidence::loader(&file.path, &file.why)))
        .because_all(cx.facts.driver.libcuda.file.value().map(|library| library.evidence("libcuda.so.1")));
    if let Some(capabilities) = lacks_capability(cx, "utility") {
        return finding.because(capabilities).run(
            "start the container with the `utility` capability",
            "docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility …",
        );
    }
    if let Some(container) = &cx.facts.machine.container {
        let own = ["podman", "apptainer", "singularity", "lxc", "toolbox", "flatpak", "charliecloud"];
        if own.contains(&container.kind.as_str()) {
            return libraries(cx, finding, container, cx.facts.driver.kernel.first().map(|reading| &reading.value));
        }
        let text = "start the container through NVIDIA's runtime, which brings the host's library in";
        return finding.run(text, "docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility …");
    }
    if cx.view.is_wsl() {
        return finding.run("update the NVIDIA driver of Windows, then WSL, from Windows", "wsl --update");
    }
    let version = cx.view.driver().map(|(version, _)| version.clone());
    let exactly = version.as_ref().map_or_else(String::new, |version| format!(" in version {version}"));
    let text = format!("install the driver's NVML library{exactly}");
    match (cx.facts.machine.distribution_id.value().map(String::as_str), version) {
        (Some("debian"), _) => finding.run(text, "sudo apt install libnvidia-ml1"),
        (Some("ubuntu"), Some(version)) => {
            finding.run(text, format!("sudo apt install libnvidia-compute-{}", version.major()))
        }
        _ => finding.help(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{absent, judge, machine, silent, tensorflow};

    #[test]
    fn only_a_new_tensorflow_is_broken_by_it() {
        let mut facts = machine();
        facts.driver.nvml = absent("libnvidia-ml.so.1");
        facts.pythons = vec![tensorflow("2.20.0", "12.5.1", &["sm_80", "compute_90"])];
        let said = judge(&RULE, &facts);
        assert_eq!((said.findings[0].level, said.findings[0].breaks.len()), (None, 0));
        facts.pythons = vec![tensorflow("2.21.0", "12.5.1", &["sm_80", "compute_90"])];
        let said = judge(&RULE, &facts);
        assert_eq!(said.findings.len(), 1);
        assert_eq!(said.findings[0].breaks, [(Subject::Env(0), Break::TfSees)]);
    }

    #[test]
    fn it_keeps_still_where_libcuda_is_missing_too() {
        assert!(silent(&RULE, &machine()));
        let mut facts = machine();
        facts.driver.nvml = absent("libnvidia-ml.so.1");
        facts.driver.libcuda = absent("libcuda.so.1");
        assert!(silent(&RULE, &facts));
    }
}
