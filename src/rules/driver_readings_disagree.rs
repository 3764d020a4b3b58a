//! Rule `driver-readings-disagree`: whether all readings of the driver's version agree.

use super::{Cx, Family, Rule, layer};
use crate::facts::{Cause, Evidence, Failed, Probed, Source};
use crate::finding::{Finding, Judgment, Level, Subject};
use crate::version::Dotted;
use crate::view::driver_file_version;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "driver-readings-disagree",
    family: Family::Driver,
    level: Level::Warn,
    layer: layer::DRIVER,
    summary: "readings of the driver's version contradict each other",
    docs: "\
### What it means

The version of the driver can be read in several places: `/sys/module/nvidia/version`, `/proc/driver/nvidia/version`, \
and the file names of its libraries. Either the kernel's own readings differ, or libcuda agrees with the kernel \
module and NVML (`libnvidia-ml`) does not.

### Why it matters

Programs may work while tools such as `nvidia-smi` fail with \"Driver/library version mismatch\", and TensorFlow 2.21 \
and newer ask NVML too. Every verdict that rests on the driver's version rests on the first reading.

### How to fix it

Install all parts of the driver in one version, remove leftovers of other versions (a second copy from NVIDIA's \
`.run` installer, or a library baked into an image), and run `ldconfig`.
",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    observed(cx, out);
    if !cx.view.driver_matters() || !cx.view.driver_answers() || cx.view.is_wsl() {
        return;
    }
    let driver = &cx.facts.driver;
    let Some(kernel) = driver.kernel.first() else { return };
    out.applies();
    if let Some(other) = driver.kernel.iter().find(|reading| reading.value != kernel.value) {
        let title = format!("the kernel states two versions of the driver: {} and {}", kernel.value, other.value);
        out.find(
            Finding::new(Subject::Machine, title)
                .because(kernel.evidence.clone())
                .because(other.evidence.clone())
                .run("reboot, so that one driver is loaded as a whole", "sudo reboot"),
        );
        return;
    }
    let (Some(libcuda), Some(nvml)) = (driver.libcuda.file.value(), driver.nvml.file.value()) else { return };
    let Some(nvml_version) = driver_file_version(&nvml.real) else { return };
    // A libcuda of another version is `driver-library-mismatch`, with NVML in its wake.
    if cx.view.libcuda_version(libcuda).as_ref() == Some(&kernel.value) && nvml_version != kernel.value {
        let title = format!("libcuda and the kernel module are {} but NVML is {nvml_version}", kernel.value);
        out.find(
            Finding::new(Subject::Machine, title)
                .because(Evidence::file(&nvml.real, format!("version {nvml_version}")))
                .because(nvml.evidence("libnvidia-ml.so.1"))
                .because(libcuda.evidence("libcuda.so.1"))
                .because(kernel.evidence.clone())
                .help(format!("install NVML of version {} and remove {}", kernel.value, nvml.path))
                .so("nvidia-smi fails with \"Driver/library version mismatch\""),
        );
    }
}

fn hangs(failure: Option<&Failed>) -> bool {
    failure.is_some_and(|failed| failed.cause == Cause::TimedOut)
}

/// Holds what NVML says against what the driver API says.
fn observed(cx: &Cx<'_>, out: &mut Judgment) {
    let Some(observed) = &cx.facts.observed else { return };
    let Some(api) = observed.driver.value().filter(|api| api.failure.is_none()) else { return };
    let cuda =
        Evidence::new(Source::Run, &api.library, format!("CUDA {}", api.cuda.as_ref().map_or("?", Dotted::as_str)));
    let nvml = match &observed.nvml {
        Probed::Found { value, .. } => value,
        // A driver that hangs takes NVML along.
        Probed::Failed { .. } if observed.runs.iter().any(|run| hangs(run.failure.as_ref())) => return,
        Probed::Failed { why } => {
            out.find(
                Finding::new(Subject::Machine, "the driver answers programs, and NVML fails".to_owned())
                    .because(Evidence::new(Source::Run, "NVML", why))
                    .because(cuda)
                    .help("install libnvidia-ml.so.1 in the version of the loaded module"),
            );
            return;
        }
        Probed::Absent | Probed::Skipped { .. } => return,
    };
    out.applies();
    let disagree = |title: String, says: String| {
        Finding::new(Subject::Machine, title)
            .because(Evidence::new(Source::Run, &nvml.library, says))
            .because(cuda.clone())
            .help("install all parts of the driver in one version, and run `ldconfig`")
    };
    if let (Some(here), Some(there)) = (&api.cuda, &nvml.cuda)
        && here != there
    {
        let title = format!("the driver reports CUDA {here} to programs and CUDA {there} by NVML");
        out.find(disagree(title, format!("CUDA {there}")));
    }
    for device in &api.devices {
        let same = nvml.gpus.iter().find(|gpu| gpu.address.is_some() && gpu.address == device.address);
        let Some((here, there)) = same.and_then(|gpu| Some((device.compute.as_ref()?, gpu.compute.as_ref()?))) else {
            continue;
        };
        if here != there {
            let title = format!("GPU {} is {here} to programs and {there} by NVML", device.gpu);
            out.find(disagree(title, format!("compute capability {there}")));
        }
    }
    // MIG instances are devices to programs and parts of a GPU to NVML.
    if nvml.gpus.is_empty() && !api.devices.is_empty() {
        let title = format!("programs see {} devices and NVML none", api.devices.len());
        out.find(disagree(title, "no GPU".to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{LIB, machine, reading, resolved, silent, titles};

    #[test]
    fn contradictions_are_found() {
        let mut facts = machine();
        assert!(silent(&RULE, &facts));
        facts.driver.nvml = resolved(
            "libnvidia-ml.so.1",
            &format!("{LIB}/libnvidia-ml.so.1"),
            &format!("{LIB}/libnvidia-ml.so.550.54.14"),
        );
        assert_eq!(titles(&RULE, &facts), ["libcuda and the kernel module are 535.54.03 but NVML is 550.54.14"]);
        facts.driver.kernel.push(reading("/proc/driver/nvidia/version", "535.129.03"));
        assert_eq!(titles(&RULE, &facts), ["the kernel states two versions of the driver: 535.54.03 and 535.129.03"]);
    }
}
