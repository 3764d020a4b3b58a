//! Rule `driver-readings-disagree`: whether all readings of the driver's version agree.

use super::{Cx, Family, Rule, layer};
use crate::facts::Evidence;
use crate::finding::{Finding, Judgment, Level, Subject};
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
