//! Rule `gpu-absent`: whether there is an NVIDIA GPU at all; why a present one is not usable is for others to say.

use super::container_without_gpu::start;
use super::driver_not_loaded::switch_on;
use super::{Cx, Family, Rule, layer};
use crate::facts::Evidence;
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::options::GpuWish;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "gpu-absent",
    family: Family::Driver,
    level: Level::Note,
    layer: layer::DEVICE,
    summary: "this machine has no NVIDIA GPU that programs could see",
    docs: "\
### What it means

No NVIDIA GPU was found: none on the PCI bus (vendor 0x10de, class 0300 or 0302), none in the list of a loaded \
driver, no `/dev/nvidia0`, no door to the GPU of a Windows host, no Jetson. Only NVIDIA GPUs count, because the CUDA \
builds of TensorFlow, JAX and PyTorch run on no other.

### Why it matters

Everything that runs here computes on the CPU. That is fine on a build server or a laptop, so it is a note; with \
`--gpu required` it is denied, and with `--gpu none` it is not shown. A tree that is given with `--root` and has no \
`/sys/bus/pci/devices`, such as the unpacked image of a container, does not tell what is on the bus of its machine: \
then it is unknown whether there is a GPU, and nothing is denied for it.

### How to fix it

Run the check on the machine that has the GPU. In a virtual machine or a container, the GPU must be handed in from \
outside (PCI passthrough, `docker run --gpus all`). On a laptop with two GPUs `prime-select` may have taken this one \
off the bus: `sudo prime-select nvidia`, then reboot. To ask whether the software here would work on a machine with a \
GPU, describe that machine: `--assume driver=535.54.03 --assume gpu=9.0`.
",
    check,
};

/// AMD's vendor id.
const AMD: &str = "0x1002";
/// Intel's vendor id.
const INTEL: &str = "0x8086";

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    out.applies();
    if cx.view.has_gpu() {
        return;
    }
    let machine = &cx.facts.machine;
    if machine.os == "windows" {
        let missing = "whether there is a GPU: devices are not read on Windows itself, only on Linux and in WSL";
        return out.unknown(Subject::Machine, missing, Some(Break::Cuda));
    }
    if let Some(why) = cx.view.gpu_untold() {
        let missing = format!("whether there is a GPU: {why}; describe one with `--assume gpu=9.0`");
        return out.unknown(Subject::Machine, missing, Some(Break::Cuda));
    }
    let level = if cx.gpu == GpuWish::Required { Level::Deny } else { Level::Note };
    let other = cx.facts.pci.iter().find(|device| {
        device.class.starts_with("0x03") && [AMD, INTEL].iter().any(|id| device.vendor.eq_ignore_ascii_case(id))
    });
    // Docker Desktop's containers have the kernel of WSL, and get its door only where they are started with it.
    let wsl = machine.wsl.as_ref().filter(|wsl| wsl.version == 1 || machine.container.is_none());
    // A program that switches GPUs and keeps the module out has found one here.
    let kept = cx.facts.driver.held_back.as_ref().filter(|line| line.says.contains("(written by "));
    let off = cx.facts.driver.switched_off.as_ref().or(kept);
    let off = off.filter(|_| machine.container.is_none() && wsl.is_none());
    let title = match (machine.os.as_str(), wsl, other) {
        ("macos", _, _) => "macOS has no CUDA: there is no NVIDIA GPU to compute on".to_owned(),
        (_, Some(wsl), _) if wsl.version == 1 => "WSL 1 hands no GPU to Linux programs".to_owned(),
        (_, Some(wsl), _) if wsl.dxg => {
            "Windows hands no NVIDIA driver to this WSL: it has no NVIDIA GPU, or no driver for it".to_owned()
        }
        (_, Some(_), _) => "this WSL has no door to the GPU of the Windows host (/dev/dxg)".to_owned(),
        _ if off.is_some() => "the NVIDIA GPU of this machine is switched off".to_owned(),
        (_, _, Some(device)) if device.vendor.eq_ignore_ascii_case(AMD) => {
            "no NVIDIA GPU here, only one of AMD's, which CUDA does not run on".to_owned()
        }
        (_, _, Some(_)) => "no NVIDIA GPU here, only one of Intel's, which CUDA does not run on".to_owned(),
        _ if machine.container.is_some() => "no NVIDIA GPU is visible in this container".to_owned(),
        _ => "no NVIDIA GPU on this machine".to_owned(),
    };
    let mut finding = Finding::new(Subject::Machine, title).at(level).breaks(Break::Cuda);
    finding = match (&machine.wsl, other) {
        (Some(wsl), _) => finding
            .because(wsl.evidence.clone())
            .because(Evidence::file(if wsl.dxg { "/usr/lib/wsl/lib/libcuda.so.1" } else { "/dev/dxg" }, "not there")),
        (None, Some(device)) => finding.because(Evidence::file(
            &device.path,
            format!("vendor {} device {} class {}", device.vendor, device.device, device.class),
        )),
        (None, None) if machine.os == "macos" => finding,
        (None, None) if machine.pci_unlisted.is_some() => finding,
        (None, None) => finding
            .because(Evidence::file("/sys/bus/pci/devices", "no device of vendor 0x10de and class 0300 or 0302"))
            .because(Evidence::file("/dev/nvidia0", "not there")),
    };
    if let Some(container) = &machine.container {
        finding = finding.because(container.evidence.clone());
    }
    finding = finding.because_all(off.cloned());
    finding = match wsl {
        Some(wsl) if wsl.version == 1 => {
            finding.run("move this distribution to WSL 2, from Windows", "wsl --set-version <distribution> 2")
        }
        Some(wsl) if wsl.dxg => finding.run(
            "if the machine has an NVIDIA GPU, install or update its driver in Windows, and none here; then, from Windows",
            "wsl --shutdown",
        ),
        Some(_) => finding.run("bring WSL and its kernel up to date, from Windows, and restart it", "wsl --update"),
        None => match (&machine.container, off) {
            (Some(container), _) => {
                start(cx, finding, container, "if the machine beneath has a GPU, start the container with it")
            }
            (None, Some(off)) => switch_on(finding, off),
            (None, None) => finding,
        },
    };
    let missing = match (cx.view.driver_is_assumed(), cx.view.assumed("gpu").is_some()) {
        (true, false) => "--assume gpu=9.0",
        _ => "--assume driver=535.54.03 --assume gpu=9.0",
    };
    out.find(
        finding
            .run(
                "to ask whether it would work on a machine with a GPU, describe that machine",
                format!("cargo gpu-doctor {missing}"),
            )
            .so("TensorFlow, Keras, JAX and PyTorch compute on the CPU here"),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Container, Facts, PciDevice, Wsl};
    use crate::rules::testing::{bare, found, judge, judge_for, machine, pci, titles};

    #[test]
    fn a_machine_without_a_gpu_is_noted_or_denied() {
        let facts = bare();
        let said = judge(&RULE, &facts);
        assert_eq!(said.findings[0].level, Some(Level::Note));
        assert_eq!(said.findings[0].breaks, [(Subject::Machine, Break::Cuda)]);
        let said = judge_for(&RULE, &facts, GpuWish::Required, "2026-11-23");
        assert_eq!(said.findings[0].level, Some(Level::Deny));
    }

    #[test]
    fn another_makers_gpu_is_named() {
        let mut facts = bare();
        let mut device = pci("0000:03:00.0", "0x73bf");
        device.vendor = AMD.to_owned();
        facts.pci.push(device);
        assert!(titles(&RULE, &facts)[0].contains("AMD"));
    }

    #[test]
    fn a_tree_without_a_bus_tells_nothing() {
        let mut facts = bare();
        facts.machine.pci_unlisted = Some("the tree has no /sys/bus/pci/devices".to_owned());
        let said = judge_for(&RULE, &facts, GpuWish::Required, "2026-11-23");
        assert_eq!((said.findings.len(), said.unknown[0].breaks), (0, Some(Break::Cuda)));
        // The list of a loaded driver tells what the bus does not, and so does WSL.
        let mut listed = facts.clone();
        listed.driver.gpus_listed = found(true);
        assert_eq!(titles(&RULE, &listed).len(), 1);
        facts.machine.wsl = Some(Wsl { version: 2, ..Wsl::default() });
        assert_eq!(titles(&RULE, &facts).len(), 1);
        assert!(titles(&RULE, &machine()).is_empty());
    }

    #[test]
    fn a_container_over_wsl_was_started_without_the_gpu() {
        let mut facts = bare();
        facts.machine.wsl = Some(Wsl { version: 2, ..Wsl::default() });
        let way = |facts: &Facts| judge(&RULE, facts).findings[0].help[0].command.clone().unwrap();
        assert_eq!(way(&facts), "wsl --update");
        facts.machine.container = Some(Container { kind: "docker".to_owned(), ..Container::default() });
        assert_eq!(way(&facts), "docker run --gpus all …");
        assert_eq!(titles(&RULE, &facts), ["no NVIDIA GPU is visible in this container"]);
    }

    #[test]
    fn a_gpu_that_is_switched_off_is_switched_on() {
        let mut facts = bare();
        facts.pci.push(PciDevice { vendor: INTEL.to_owned(), ..pci("0000:00:02.0", "0x9a49") });
        facts.driver.switched_off = Some(Evidence::file("/etc/prime-discrete", "off"));
        let said = judge(&RULE, &facts);
        assert_eq!(said.findings[0].help[0].command.as_deref(), Some("sudo prime-select nvidia"));
        assert!(said.findings[0].evidence.iter().any(|evidence| evidence.at == "/etc/prime-discrete"));
        facts.driver.switched_off = Some(Evidence::file("/proc/acpi/bbswitch", "0000:01:00.0 OFF"));
        assert!(judge(&RULE, &facts).findings[0].help[0].command.as_deref().unwrap().contains("bbswitch"));
        facts.driver.switched_off = None;
        let kept = |says: &str| Some(Evidence::file("/etc/modprobe.d/nvidia.conf", says));
        facts.driver.held_back = kept("alias nvidia off (written by system76-power)");
        let said = judge(&RULE, &facts);
        assert_eq!(said.findings[0].help[0].command.as_deref(), Some("sudo system76-power graphics hybrid"));
        // Anybody may have written this, on a machine that never had a GPU.
        facts.driver.held_back = kept("alias nvidia off");
        assert_eq!(titles(&RULE, &facts), ["no NVIDIA GPU here, only one of Intel's, which CUDA does not run on"]);
    }

    #[test]
    fn a_gpu_is_enough() {
        assert!(titles(&RULE, &machine()).is_empty());
    }
}
