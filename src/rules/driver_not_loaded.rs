//! Rule `driver-not-loaded`: a GPU is there and the kernel module is not; says why, as far as files tell.

use super::{Cx, Family, Rule, layer};
use crate::facts::Evidence;
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::shell;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "driver-not-loaded",
    family: Family::Driver,
    level: Level::Deny,
    layer: layer::DRIVER,
    summary: "an NVIDIA GPU is there but NVIDIA's kernel module is not loaded",
    docs: "\
### What it means

The PCI bus shows an NVIDIA GPU, and the kernel has no module `nvidia` loaded. Files tell why: another module \
(`nouveau`, `vfio-pci`) holds the device; Secure Boot is on and refuses a module without an enrolled signature; the \
module was built for another kernel than the one that runs; no driver is installed; or it is installed and was merely \
not loaded.

### Why it matters

Without the module CUDA cannot start: `cuInit` answers 100 (no device), and every framework falls back to the CPU, \
TensorFlow with no more than a line in its log.

### How to fix it

Follow the cause that the finding names: build the module for the running kernel (`dkms autoinstall` with the \
kernel's headers installed), enrol the signing key (`mokutil --import`), give the device back to `nvidia`, install \
the driver from your distribution, or load it with `modprobe nvidia`. Installing another CUDA toolkit does not help: \
a toolkit is not a driver.
",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    let driver = &cx.facts.driver;
    if !cx.view.driver_matters() || cx.view.is_wsl() || cx.facts.machine.tegra.is_some() {
        return;
    }
    // A container gets its nodes from outside, and may not see the list of modules as it is.
    if !all_held(cx) && (cx.view.driver_answers() || cx.view.container_lacks_gpu()) {
        return out.applies();
    }
    if cx.view.gpu_is_assumed() {
        let missing = "no driver is here; name one with `--assume driver=VERSION`";
        return out.unknown(Subject::Machine, missing, Some(Break::Cuda));
    }
    if driver.loaded.value().is_none() && driver.rivals.is_empty() {
        let why = driver.loaded.unknown().unwrap_or("nothing says so");
        let missing = format!("whether the driver is loaded: {why}");
        return out.unknown(Subject::Machine, missing, Some(Break::Cuda));
    }
    out.find(diagnose(cx).because_all(cx.view.gpus.first().map(|gpu| gpu.evidence.clone())).breaks(Break::Cuda));
}

/// Whether other modules hold every GPU, so that a loaded module `nvidia` has none to drive.
pub(super) fn all_held(cx: &Cx<'_>) -> bool {
    let mut gpus = cx.facts.pci.iter().filter(|device| device.is_nvidia_gpu()).peekable();
    !cx.view.gpu_is_assumed()
        && !cx.facts.driver.rivals.is_empty()
        && cx.facts.machine.container.is_none()
        && gpus.peek().is_some()
        && gpus.all(|device| device.driver.as_deref().is_some_and(|driver| driver != "nvidia"))
}

/// Which of the causes it is, the one that the files show most surely first.
fn diagnose(cx: &Cx<'_>) -> Finding {
    let driver = &cx.facts.driver;
    let state = driver.loaded.evidence().cloned();
    let new = |title: String| Finding::new(Subject::Machine, title);
    let library = driver.libcuda.file.value();
    let installed = library.is_some() || !driver.modules.is_empty() || !driver.dkms.is_empty();
    if let Some(rival) = driver.rivals.first() {
        let name = ["nouveau", "vfio-pci", "nova"].into_iter().find(|name| rival.says.contains(name));
        let name = name.unwrap_or(rival.says.as_str());
        let finding = new(format!("the GPU is held by {name}, not by NVIDIA's driver")).because(rival.clone());
        let finding = finding.because_all(state);
        return match (name, installed) {
            ("vfio-pci", _) => finding
                .help("the GPU is reserved for a virtual machine: use it there, or take its id out of the `vfio-pci` options and reboot"),
            (_, false) => install(cx, finding),
            ("nouveau", true) => finding.run(
                "keep nouveau from loading, rebuild the initial ramdisk and reboot",
                "printf 'blacklist nouveau\\noptions nouveau modeset=0\\n' | sudo tee /etc/modprobe.d/blacklist-nouveau.conf",
            ),
            _ => finding.help(format!("keep {name} from loading (a `blacklist` line in /etc/modprobe.d) and reboot")),
        };
    }
    if cx.facts.machine.container.is_some() {
        let finding = new("the machine beneath this container has not loaded NVIDIA's driver".to_owned());
        return finding.because_all(state).run("load it there, outside of the container", "sudo modprobe nvidia");
    }
    let kernel = cx.facts.machine.kernel.value();
    let here = kernel.and_then(|kernel| driver.modules.iter().find(|module| module.kernel == *kernel));
    if let Some(module) = here {
        let on_disk = Evidence::file(&module.path, format!("a module for {}", module.kernel));
        if driver.secure_boot.value() == Some(&true) {
            let finding = new("Secure Boot is on and NVIDIA's module is on disk but not loaded".to_owned())
                .because_all(driver.secure_boot.evidence().cloned())
                .because(on_disk)
                .because_all(state)
                .because_all(driver.mok.first().cloned());
            let key = driver.mok.first().map_or("/var/lib/dkms/mok.pub", |key| key.at.as_str());
            return finding
                .run(
                    "enrol the key that signed the module, then reboot and confirm it",
                    format!("sudo mokutil --import {}", shell::word(key)),
                )
                .help("or switch Secure Boot off in the firmware");
        }
        let finding = new("NVIDIA's driver is installed for this kernel but not loaded".to_owned());
        let finding = finding.because_all(state).because(on_disk);
        return finding.run("load it; `dmesg` tells why where it refuses", "sudo modprobe nvidia");
    }
    if let (Some(kernel), true) = (kernel, !driver.modules.is_empty() || !driver.dkms.is_empty()) {
        let mut finding = new(format!("NVIDIA's module is not built for the running kernel {kernel}"))
            .because_all(cx.facts.machine.kernel.evidence().cloned());
        finding = match (driver.modules.first(), driver.dkms.first()) {
            (Some(module), _) => {
                finding.because(Evidence::file(&module.path, format!("a module for {}", module.kernel)))
            }
            (None, Some(dkms)) if dkms.kernels.is_empty() => {
                finding.because(Evidence::file(&dkms.path, format!("nvidia {}, built for no kernel", dkms.version)))
            }
            (None, Some(dkms)) => {
                let says = format!("nvidia {}, built for {}", dkms.version, dkms.kernels.join(", "));
                finding.because(Evidence::file(&dkms.path, says))
            }
            (None, None) => finding,
        };
        finding = finding.because_all(state);
        return if driver.dkms.is_empty() {
            finding.help(format!("install the driver's kernel modules for {kernel}, or boot the kernel they are for"))
        } else {
            finding
                .run(
                    "with the headers of this kernel installed, build it",
                    format!("sudo dkms autoinstall -k {}", shell::word(kernel)),
                )
                .run("then load it", "sudo modprobe nvidia")
        };
    }
    if installed {
        let finding = new("NVIDIA's libraries are installed but its kernel module is not loaded".to_owned());
        let finding = finding.because_all(state);
        let finding = finding.because_all(library.map(|library| library.evidence("libcuda.so.1")));
        return finding.run(
            "load it; where there is no such module, install the driver's kernel package",
            "sudo modprobe nvidia",
        );
    }
    let finding = new("no NVIDIA driver is installed".to_owned())
        .because_all(state)
        .because(Evidence::loader("libcuda.so.1", "nothing provides it"));
    install(cx, finding)
}

/// How a driver is installed here.
fn install(cx: &Cx<'_>, finding: Finding) -> Finding {
    let then = "install the driver, then reboot";
    match cx.facts.machine.distribution_id.value().map(String::as_str) {
        Some("ubuntu") => finding.run(then, "sudo ubuntu-drivers install"),
        Some("debian") => finding
            .run("install the driver (from the component `non-free`), then reboot", "sudo apt install nvidia-driver"),
        Some("arch") => finding.run(then, "sudo pacman -S nvidia"),
        Some("fedora") => {
            finding.run("install the driver from RPM Fusion, then reboot", "sudo dnf install akmod-nvidia")
        }
        _ => finding
            .help("install the NVIDIA driver from your distribution, then reboot; a CUDA toolkit alone is no driver"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Assumption, Container, DkmsModule, Source};
    use crate::rules::testing::{bare, found, judge, machine, silent, titles, v};

    fn unloaded() -> crate::facts::Facts {
        let mut facts = machine();
        facts.driver = bare().driver;
        facts
    }

    #[test]
    fn each_cause_has_its_own_title() {
        let mut facts = unloaded();
        assert_eq!(titles(&RULE, &facts), ["no NVIDIA driver is installed"]);
        facts.driver.libcuda = machine().driver.libcuda;
        assert_eq!(titles(&RULE, &facts), ["NVIDIA's libraries are installed but its kernel module is not loaded"]);
        facts.driver.modules = machine().driver.modules;
        assert_eq!(titles(&RULE, &facts), ["NVIDIA's driver is installed for this kernel but not loaded"]);
        facts.driver.secure_boot = found(true);
        assert_eq!(titles(&RULE, &facts), ["Secure Boot is on and NVIDIA's module is on disk but not loaded"]);
        facts.driver.modules.clear();
        facts.driver.dkms = vec![DkmsModule {
            version: "535.54.03".to_owned(),
            kernels: vec![],
            path: "/var/lib/dkms/nvidia".to_owned(),
        }];
        assert_eq!(titles(&RULE, &facts), ["NVIDIA's module is not built for the running kernel 6.1.0-18-amd64"]);
        facts.driver.rivals = vec![Evidence::file("/sys/bus/pci/devices/0000:01:00.0/driver", "nouveau")];
        assert_eq!(titles(&RULE, &facts), ["the GPU is held by nouveau, not by NVIDIA's driver"]);
    }

    #[test]
    fn a_loaded_driver_and_a_container_with_its_nodes_are_fine() {
        assert!(silent(&RULE, &machine()));
        let mut facts = unloaded();
        facts.machine.container = Some(Container::default());
        facts.driver.nodes = machine().driver.nodes;
        assert!(silent(&RULE, &facts));
    }

    #[test]
    fn a_loaded_module_without_a_gpu_to_drive_is_found() {
        let mut facts = machine();
        facts.pci[0].driver = Some("vfio-pci".to_owned());
        facts.driver.rivals = vec![Evidence::file("/sys/bus/pci/devices/0000:01:00.0/driver", "vfio-pci")];
        facts.driver.nodes.clear();
        assert_eq!(titles(&RULE, &facts), ["the GPU is held by vfio-pci, not by NVIDIA's driver"]);
        assert!(silent(&super::super::device_node_inaccessible::RULE, &facts));
    }

    #[test]
    fn an_assumed_gpu_without_a_driver_leaves_it_open() {
        let mut facts = bare();
        facts.assumed = vec![Assumption { key: "gpu".to_owned(), value: v("9.0"), evidence: Evidence::default() }];
        let said = judge(&RULE, &facts);
        assert!(said.findings.is_empty());
        assert_eq!(said.unknown[0].breaks, Some(Break::Cuda));
        facts.assumed.push(Assumption {
            key: "driver".to_owned(),
            value: v("535.54.03"),
            evidence: Evidence::default(),
        });
        assert!(silent(&RULE, &facts));
    }

    #[test]
    fn the_cuda_that_a_driver_reports_stands_for_one() {
        let assume = |key: &str, value: &str, source| Assumption {
            key: key.to_owned(),
            value: v(value),
            evidence: Evidence::new(source, "somewhere", value),
        };
        for source in [Source::Option, Source::Env] {
            let mut facts = bare();
            facts.assumed = vec![assume("gpu", "9.0", source), assume("cuda", "12.4", source)];
            assert!(silent(&RULE, &facts), "{source:?}");
            // What conda is told hides no fault of a GPU that is here; what this program is told does.
            let mut facts = unloaded();
            facts.assumed = vec![assume("cuda", "12.4", source)];
            assert_eq!(silent(&RULE, &facts), source == Source::Option, "{source:?}");
        }
    }
}
