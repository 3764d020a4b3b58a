//! Rule `driver-library-mismatch`: whether the kernel module and the libcuda that wins are of one version.

use super::container_without_gpu::libraries;
use super::driver_not_loaded::prebuilt;
use super::{Cx, Family, Rule, layer};
use crate::facts::{Evidence, LibcudaKind};
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::shell;
use crate::version::Dotted;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "driver-library-mismatch",
    family: Family::Driver,
    level: Level::Deny,
    layer: layer::DRIVER,
    summary: "the loaded kernel module and the driver's libcuda are of different versions",
    docs: "\
### What it means

The version of the kernel module that is loaded now differs from the version of the `libcuda.so.1` that programs get. \
Both belong to one driver and must be equal to the last digit. Most often a package update replaced the files on disk \
while the old module stayed in memory.

### Why it matters

The module refuses the library: `cuInit` answers 803, NVML and `nvidia-smi` say \"Driver/library version mismatch\" \
(18). No program can use the GPU until both agree.

### How to fix it

Reboot, or stop everything that uses the GPU and reload the modules: the new version is already installed, and \
installing a driver again does not help. Where DKMS has built only the old version for the running kernel, a reboot \
loads that one again: build the new one (`dkms install nvidia/VERSION`). In a container the library must come from the host: remove driver packages \
(`libnvidia-compute-…`, `libcuda1`) from the image. A container of LXC whose nodes are passed through has libraries of \
its own, which must be of exactly the host's version.
",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    if !cx.view.driver_matters() || cx.view.is_wsl() {
        return;
    }
    let Some(kernel) = cx.facts.driver.kernel.first() else { return };
    out.applies();
    for (library, users) in cx.view.libcudas() {
        if cx.view.libcuda_kind(library) != LibcudaKind::Driver {
            continue;
        }
        // Readings of the kernel that disagree among themselves are another rule's business.
        let Some(version) = cx.view.libcuda_version(library) else { continue };
        if cx.facts.driver.kernel.iter().any(|reading| reading.value == version) {
            continue;
        }
        let subject = users.first().cloned().unwrap_or(Subject::Machine);
        let title = format!("the loaded kernel module is {} but libcuda is {version}", kernel.value);
        let mut finding = Finding::new(subject, title)
            .because(kernel.evidence.clone())
            .because(Evidence::file(&library.real, format!("version {version}")))
            .because(library.evidence("libcuda.so.1"));
        let on_disk_twice = cx.facts.driver.userspace.iter().any(|reading| reading.value == kernel.value);
        finding = if let Some(container) = &cx.facts.machine.container {
            match container.kind.as_str() {
                "flatpak" => libraries(cx, finding, container, Some(&kernel.value)),
                "lxc" => finding.help(format!(
                    "install exactly version {} of the driver's libraries in the container, without its kernel module; or, in LXD and Incus, take them out and set `nvidia.runtime` to `true`, which brings the host's in",
                    kernel.value
                )),
                _ => finding.help("take the driver's packages out of the image (`libcuda1`, `libnvidia-compute-…`): the container runtime brings the host's libcuda in"),
            }
        } else if on_disk_twice {
            finding.help(format!(
                "another libcuda of version {} is installed too: remove the stray copy {} or whatever makes it win",
                kernel.value, library.path
            ))
        } else {
            bring_up(cx, finding, &kernel.value, &version)
        };
        if users.is_empty() {
            finding = finding.at(Level::Warn);
        }
        for user in users {
            finding = finding.breaks_for(user, Break::Cuda);
        }
        out.find(finding.so("cuInit fails with 803, nvidia-smi with \"Driver/library version mismatch\""));
    }
}

/// How the module of the libraries' version is loaded, where it is there to be loaded.
fn bring_up(cx: &Cx<'_>, finding: Finding, loaded: &Dotted, wanted: &Dotted) -> Finding {
    let driver = &cx.facts.driver;
    let Some(kernel) = cx.facts.machine.kernel.value() else { return reload(finding) };
    let of = |version| driver.dkms.iter().filter(move |dkms| dkms.version.parse().ok().as_ref() == Some(version));
    let built = |version| of(version).find(|dkms| dkms.kernels.contains(kernel));
    if let (Some(old), None) = (built(loaded), built(wanted)) {
        let finding = finding.because(Evidence::file(&old.path, format!("DKMS has built {loaded} for {kernel}")));
        let known = of(wanted).find_map(|dkms| dkms.path.strip_prefix("/var/lib/dkms/"));
        return match known {
            Some(name) => finding
                .run(
                    format!("build the module of version {wanted} for this kernel"),
                    format!("sudo dkms install {} -k {}", shell::word(name), shell::word(kernel)),
                )
                .run("then reboot", "sudo reboot"),
            None => finding.help(format!(
                "bring the package of the driver's kernel module to version {wanted}, then reboot: a reboot alone loads {loaded} again"
            )),
        };
    }
    let finding = reload(finding);
    match driver.modules.iter().find(|module| module.kernel == *kernel).and_then(prebuilt) {
        Some(branch) => finding.help(format!(
            "where that loads {loaded} again, upgrade the packages `linux-modules-nvidia-{branch}-…` with the others (`apt-mark showhold` lists what is held back)"
        )),
        None => finding,
    }
}

fn reload(finding: Finding) -> Finding {
    finding.run("reboot, so that the module of the installed version is loaded", "sudo reboot").run(
        "or stop everything that uses the GPU and reload the modules",
        "sudo rmmod nvidia_uvm nvidia_drm nvidia_modeset nvidia && sudo modprobe nvidia",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::DkmsModule;
    use crate::rules::testing::{LIB, judge, machine, reading, resolved, silent};

    #[test]
    fn an_update_without_a_reboot_is_found() {
        let mut facts = machine();
        facts.driver.kernel = vec![reading("/sys/module/nvidia/version", "535.129.03")];
        let said = judge(&RULE, &facts);
        assert_eq!(said.findings[0].title, "the loaded kernel module is 535.129.03 but libcuda is 535.54.03");
        assert_eq!(said.findings[0].breaks, [(Subject::Machine, Break::Cuda)]);
        assert_eq!(said.findings[0].help[0].command.as_deref(), Some("sudo reboot"));
    }

    #[test]
    fn a_reboot_is_no_way_out_where_only_the_old_module_is_built() {
        let mut facts = machine();
        facts.driver.kernel = vec![reading("/sys/module/nvidia/version", "535.43.02")];
        let dkms = |version: &str, kernels: &[&str]| DkmsModule {
            version: version.to_owned(),
            kernels: kernels.iter().map(|kernel| (*kernel).to_owned()).collect(),
            path: format!("/var/lib/dkms/nvidia/{version}"),
        };
        let help = |facts: &crate::facts::Facts| judge(&RULE, facts).findings.remove(0).help;
        let here = &["6.1.0-18-amd64"][..];
        facts.driver.dkms = vec![dkms("535.43.02", here)];
        assert_eq!((help(&facts).len(), help(&facts)[0].command.clone()), (1, None));
        facts.driver.dkms.push(dkms("535.54.03", &["6.1.0-19-amd64"]));
        let command = "sudo dkms install nvidia/535.54.03 -k 6.1.0-18-amd64";
        assert_eq!(help(&facts)[0].command.as_deref(), Some(command));
        facts.driver.dkms[1] = dkms("535.54.03", here);
        assert_eq!(help(&facts)[0].command.as_deref(), Some("sudo reboot"));
        // What version a prebuilt one is of is not read.
        facts.driver.dkms.clear();
        facts.driver.modules[0].path = "/lib/modules/6.1.0-18-amd64/kernel/nvidia-535/nvidia.ko".to_owned();
        assert!(help(&facts)[2].text.contains("`linux-modules-nvidia-535-…`"));
    }

    #[test]
    fn equal_versions_and_other_kinds_are_not_its_business() {
        assert!(silent(&RULE, &machine()));
        let mut facts = machine();
        let compat = "/usr/local/cuda-12.4/compat/libcuda.so.550.54.14";
        facts.driver.libcuda = resolved("libcuda.so.1", "/usr/local/cuda-12.4/compat/libcuda.so.1", compat);
        assert!(silent(&RULE, &facts));
        facts.driver.libcuda = resolved("libcuda.so.1", &format!("{LIB}/libcuda.so.1"), "/opt/libcuda.so.1");
        assert!(silent(&RULE, &facts));
    }
}
