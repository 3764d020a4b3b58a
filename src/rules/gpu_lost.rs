//! Rule `gpu-lost`: whether a GPU has fallen off the bus.

use super::{Cx, Family, Rule, layer};
use crate::facts::{Evidence, Source, Xid};
use crate::finding::{Break, Finding, Judgment, Level, Subject};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "gpu-lost",
    family: Family::Driver,
    level: Level::Deny,
    layer: layer::DEVICE,
    summary: "a GPU has fallen off the PCI bus",
    docs: "\
### What it means

The kernel still lists the GPU, but its PCI configuration space reads all ones: the device does not answer any more. \
The kernel log usually holds `Xid 79`, \"GPU has fallen off the bus\".

### Why it matters

No program can use the device, and calls to the driver may hang. Where other GPUs live it is a warning, else it is \
denied.

### How to fix it

Power the machine off and on; a warm reboot may not be enough. If it returns, look for the cause in hardware: heat, \
power supply, a loose card or riser, PCIe power saving. On a cloud machine, stop it and start it anew so that it \
lands on other hardware.
",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    if cx.view.gpu_is_assumed() {
        return;
    }
    let gpus: Vec<_> = cx.facts.pci.iter().filter(|device| device.is_nvidia_gpu()).collect();
    if gpus.is_empty() {
        return;
    }
    out.applies();
    by_nvml(cx, out);
    let lost: Vec<_> = gpus.iter().filter(|device| device.lost).collect();
    let Some(first) = lost.first() else { return };
    let title = match lost.len() {
        1 => format!("the GPU at {} has fallen off the bus", first.address),
        count => format!("{count} GPUs have fallen off the bus, the first at {}", first.address),
    };
    let finding = Finding::new(Subject::Machine, title)
        .because_all(lost.iter().take(8).map(|device| {
            Evidence::file(format!("{}/config", device.path), "reads all ones: the device does not answer")
        }))
        .because_all(lost.iter().flat_map(|device| cx.view.xids(Some(&device.address))).take(4).map(Xid::evidence))
        .run("see what the kernel says of it (Xid 79)", "sudo dmesg | grep -i xid")
        .help("power the machine off and on; if it returns, check power, heat and the seat of the card");
    let left = gpus.len() - lost.len();
    out.find(if left > 0 {
        finding.at(Level::Warn).so(format!("{left} of {} GPUs are left", gpus.len()))
    } else {
        finding.breaks(Break::Cuda)
    });
}

/// GPUs whose registers still answer and of which NVML says that they are lost.
fn by_nvml(cx: &Cx<'_>, out: &mut Judgment) {
    let Some(nvml) = cx.facts.observed.as_ref().and_then(|observed| observed.nvml.value()) else { return };
    for gpu in nvml.gpus.iter().filter(|gpu| gpu.is_lost()) {
        let says = format!("GPU {}: {}", gpu.index, gpu.failure.as_deref().unwrap_or_default());
        out.find(
            Finding::new(Subject::Machine, format!("NVML says that GPU {} is lost", gpu.index))
                .at(Level::Warn)
                .because(Evidence::new(Source::Run, &nvml.library, says))
                .because_all(cx.view.xids(gpu.address.as_deref()).into_iter().take(4).map(Xid::evidence))
                .run("see what the kernel says of it (Xid 79)", "sudo dmesg | grep -i xid")
                .help("power the machine off and on; if it returns, check power, heat and the seat of the card"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Nvml, NvmlGpu, Observed, Probed};
    use crate::rules::testing::{judge, machine, pci, silent};

    #[test]
    fn the_last_gpu_counts_more_than_one_of_two() {
        let mut facts = machine();
        assert!(silent(&RULE, &facts));
        facts.pci[0].lost = true;
        assert_eq!(judge(&RULE, &facts).findings[0].breaks, [(Subject::Machine, Break::Cuda)]);
        facts.pci.push(pci("0000:02:00.0", "0x2330"));
        assert_eq!(judge(&RULE, &facts).findings[0].level, Some(Level::Warn));
    }

    #[test]
    fn one_that_nvml_calls_lost_is_told_though_its_registers_answer() {
        let mut facts = machine();
        let gone = NvmlGpu { index: 1, failure: Some(NvmlGpu::LOST.to_owned()), ..NvmlGpu::default() };
        let nvml = Nvml { gpus: vec![NvmlGpu::default(), gone], ..Nvml::default() };
        let nvml = Probed::found(nvml, Evidence::new(Source::Run, "libnvidia-ml.so.1", "2 GPUs"));
        facts.observed = Some(Observed { nvml, ..Observed::default() });
        let found = judge(&RULE, &facts).findings;
        assert_eq!((found[0].title.as_str(), found[0].level), ("NVML says that GPU 1 is lost", Some(Level::Warn)));
    }
}
