//! Rule `gpu-absent`: whether there is an NVIDIA GPU at all; why a present one is not usable is for others to say.

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
`--gpu required` it is denied, and with `--gpu none` it is not shown.

### How to fix it

Run the check on the machine that has the GPU. In a virtual machine or a container, the GPU must be handed in from \
outside (PCI passthrough, `docker run --gpus all`). To ask whether the software here would work on a machine with a \
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
    let level = if cx.gpu == GpuWish::Required { Level::Deny } else { Level::Note };
    let other = cx.facts.pci.iter().find(|device| {
        device.class.starts_with("0x03") && [AMD, INTEL].iter().any(|id| device.vendor.eq_ignore_ascii_case(id))
    });
    let title = match (machine.os.as_str(), &machine.wsl, other) {
        ("macos", _, _) => "macOS has no CUDA: there is no NVIDIA GPU to compute on".to_owned(),
        (_, Some(wsl), _) if wsl.version == 1 => "WSL 1 hands no GPU to Linux programs".to_owned(),
        (_, Some(_), _) => "this WSL has no door to the GPU of the Windows host (/dev/dxg)".to_owned(),
        (_, _, Some(device)) if device.vendor.eq_ignore_ascii_case(AMD) => {
            "no NVIDIA GPU here, only one of AMD's, which CUDA does not run on".to_owned()
        }
        (_, _, Some(_)) => "no NVIDIA GPU here, only one of Intel's, which CUDA does not run on".to_owned(),
        _ if machine.container.is_some() => "no NVIDIA GPU is visible in this container".to_owned(),
        _ => "no NVIDIA GPU on this machine".to_owned(),
    };
    let mut finding = Finding::new(Subject::Machine, title).at(level).breaks(Break::Cuda);
    finding = match (&machine.wsl, other) {
        (Some(wsl), _) => finding.because(wsl.evidence.clone()).because(Evidence::file("/dev/dxg", "not there")),
        (None, Some(device)) => finding.because(Evidence::file(
            &device.path,
            format!("vendor {} device {} class {}", device.vendor, device.device, device.class),
        )),
        (None, None) if machine.os == "macos" => finding,
        (None, None) => finding
            .because(Evidence::file("/sys/bus/pci/devices", "no device of vendor 0x10de and class 0300 or 0302"))
            .because(Evidence::file("/dev/nvidia0", "not there")),
    };
    if let Some(container) = &machine.container {
        finding = finding.because(container.evidence.clone());
    }
    finding = match &machine.wsl {
        Some(wsl) if wsl.version == 1 => {
            finding.run("move this distribution to WSL 2, from Windows", "wsl --set-version <distribution> 2")
        }
        Some(_) => finding.run("bring WSL and its kernel up to date, from Windows, and restart it", "wsl --update"),
        None if machine.container.is_some() => {
            finding.run("if the machine beneath has a GPU, start the container with it", "docker run --gpus all …")
        }
        None => finding,
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
    use crate::rules::testing::{bare, judge, judge_for, machine, pci, titles};

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
    fn a_gpu_is_enough() {
        assert!(titles(&RULE, &machine()).is_empty());
    }
}
