//! Rule `fabric-manager-missing`: whether the fabric manager runs where `NVSwitches` join the GPUs.

use super::{Cx, Family, Rule, layer};
use crate::facts::Evidence;
use crate::finding::{Break, Finding, Judgment, Level, Subject};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "fabric-manager-missing",
    family: Family::Driver,
    level: Level::Deny,
    layer: layer::DRIVER,
    summary: "NVSwitches are here but the fabric manager does not run as it must",
    docs: "\
### What it means

The GPUs of this machine are joined by NVSwitches (HGX, DGX). A service, `nvidia-fabricmanager`, must set the fabric \
up before CUDA can be used, and it must be of exactly the driver's version. It is not installed, does not run, or is \
of another version.

### Why it matters

`cuInit` fails with 802 (system not yet initialized) while `nvidia-smi` lists all GPUs as if they were fine.

### How to fix it

Install the fabric manager of the driver's branch (`nvidia-fabricmanager-535`, or `nvidia-fabricmanager` of the same \
version), then `systemctl enable --now nvidia-fabricmanager`. In a virtual machine or a container the service runs \
outside.
",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    if !cx.view.driver_matters() || !cx.view.driver_answers() || cx.view.gpu_is_assumed() || cx.view.is_wsl() {
        return;
    }
    let fabric = &cx.facts.driver.fabric;
    let bridge = cx.facts.pci.iter().find(|device| device.is_nvswitch());
    let bridge = bridge.map(|device| Evidence::file(&device.path, format!("NVIDIA bridge, class {}", device.class)));
    let Some(switch) = fabric.switches.first().cloned().or(bridge) else { return };
    out.applies();
    let driver = cx.view.driver().map(|(version, evidence)| (version.clone(), evidence.clone()));
    let package = driver
        .as_ref()
        .map_or("nvidia-fabricmanager".to_owned(), |(version, _)| format!("nvidia-fabricmanager-{}", version.major()));
    let container = cx.facts.machine.container.is_some();
    let start = "sudo systemctl enable --now nvidia-fabricmanager";
    let new = |title: String| Finding::new(Subject::Machine, title).breaks(Break::Cuda);
    let finding = match fabric.running.value() {
        Some(true) => match (fabric.installed.value(), &driver) {
            // It states no more than three numbers; packages may add one of their own.
            (Some(installed), Some((version, evidence))) if installed.prefix(3) != version.prefix(3) && !container => {
                new(format!("the fabric manager is {installed} but the driver is {version}"))
                    .because_all(fabric.installed.evidence().cloned())
                    .because(evidence.clone())
                    .run(
                        format!("install the fabric manager of version {version} and restart it"),
                        format!(
                            "sudo apt install '{package}={version}-*' && sudo systemctl restart nvidia-fabricmanager"
                        ),
                    )
            }
            _ => return,
        },
        _ if fabric.installed.is_absent() && !container => {
            new("NVSwitches join the GPUs, and no fabric manager is installed".to_owned())
                .because(switch)
                .because_all(fabric.running.evidence().cloned())
                .run("install the one of the driver's version", format!("sudo apt install {package}"))
                .run("then start it", start)
        }
        Some(false) => new("NVSwitches join the GPUs, and the fabric manager does not run".to_owned())
            .because_all(fabric.running.evidence().cloned())
            .because(switch)
            .because_all(fabric.installed.evidence().cloned())
            .run("start it", start),
        None => {
            let why = fabric.running.unknown().unwrap_or("no process tells");
            let missing = format!("whether the fabric manager runs: {why}");
            return out.unknown(Subject::Machine, missing, None);
        }
    };
    out.find(finding.so("cuInit fails with 802, while nvidia-smi lists the GPUs"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Probed;
    use crate::rules::testing::{found, judge, machine, silent, titles, v};

    #[test]
    fn switches_need_a_running_manager_of_the_drivers_version() {
        let mut facts = machine();
        assert!(silent(&RULE, &facts));
        facts.driver.fabric.switches = vec![Evidence::file("/dev/nvidia-nvswitch0", "is there")];
        facts.driver.fabric.installed = found(v("535.54.03"));
        facts.driver.fabric.running = found(true);
        assert!(silent(&RULE, &facts));
        facts.driver.fabric.running = found(false);
        assert_eq!(titles(&RULE, &facts), ["NVSwitches join the GPUs, and the fabric manager does not run"]);
        facts.driver.fabric.installed = Probed::Absent;
        assert_eq!(titles(&RULE, &facts), ["NVSwitches join the GPUs, and no fabric manager is installed"]);
        facts.driver.fabric.installed = found(v("535.129.03"));
        facts.driver.fabric.running = found(true);
        assert_eq!(titles(&RULE, &facts), ["the fabric manager is 535.129.03 but the driver is 535.54.03"]);
        facts.driver.fabric.running = Probed::failed("no processes can be listed");
        assert_eq!(judge(&RULE, &facts).unknown[0].breaks, None);
    }
}
