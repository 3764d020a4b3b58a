//! Rule `device-node-inaccessible`: whether the nodes that CUDA opens are all there and open to this user.

use super::container_without_gpu::start;
use super::{Cx, Family, Rule, layer};
use crate::facts::{DeviceNode, Evidence};
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::shell;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "device-node-inaccessible",
    family: Family::Driver,
    level: Level::Deny,
    layer: layer::VISIBILITY,
    summary: "a device node that CUDA opens is missing or not open to this user",
    docs: "\
### What it means

CUDA talks to the driver through `/dev/nvidiactl`, `/dev/nvidia-uvm` and one `/dev/nvidiaN` per GPU. The driver is \
loaded, and one of these is missing beside the others, or this user may not open it for reading and writing. A missing \
one is no fault where the driver's libraries make it themselves: they run `/usr/bin/nvidia-modprobe` where it is \
installed setuid root.

### Why it matters

`cuInit` fails, with 100 (no device) or 999 (unknown error), or 304 where access is refused; `nvidia-smi`, which does \
not need `/dev/nvidia-uvm`, may work all the same and so mislead.

### How to fix it

Make missing nodes with `nvidia-modprobe -c 0 -u`, or install that helper of the driver's packages setuid root, and \
CUDA calls it. Where access is refused, join the group that owns the node (often `video` or `render`) \
or set `NVreg_DeviceFileMode`. Where an update of the kernel has taken the modules of the running one away, reboot. \
In a container hand all of them in: `--gpus all`, or one `--device` for each.
",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    let driver = &cx.facts.driver;
    if !cx.view.driver_matters()
        || !cx.view.driver_answers()
        || cx.view.is_wsl()
        || cx.facts.machine.tegra.is_some()
        || (cx.view.gpu_is_assumed() && cx.view.gpu_nodes().next().is_none())
    {
        return;
    }
    out.applies();
    // A GPU that is lost, or that another module holds, has no node for a reason of its own.
    let mut on_bus = cx.facts.pci.iter().filter(|device| device.is_nvidia_gpu()).peekable();
    if super::driver_not_loaded::all_held(cx)
        || super::driver_not_loaded::none_driven(cx)
        || super::libcuda_missing::vgpu_manager(cx).is_some()
        || (on_bus.peek().is_some() && on_bus.all(|device| device.lost))
    {
        return;
    }
    let container = cx.facts.machine.container.as_ref();
    let shared = ["/dev/nvidiactl", "/dev/nvidia-uvm"];
    let node = |path: &str| driver.nodes.iter().find(|node| node.path == path);
    let gpus: Vec<&DeviceNode> = cx.view.gpu_nodes().collect();
    let missing: Vec<&str> = shared.into_iter().filter(|path| node(path).is_none()).collect();
    if let Some(gone) = driver.modules_gone.as_ref().filter(|_| container.is_none())
        && missing.contains(&"/dev/nvidia-uvm")
        && driver.uvm_loaded.value() == Some(&false)
    {
        return out.find(
            Finding::new(Subject::Machine, "nvidia_uvm is not loaded, and the modules of the running kernel are gone")
                .because_all(driver.uvm_loaded.evidence().cloned())
                .because(gone.clone())
                .run("start the machine anew, with the kernel that is installed", "sudo reboot")
                .breaks(Break::Cuda),
        );
    }
    if cx.view.helper_works() {
        // What is missing is made when a program asks for it, of a module that is loaded or can be.
        let kernel = cx.facts.machine.kernel.value();
        let on_disk = || driver.uvm_modules.iter().any(|module| Some(&module.kernel) == kernel);
        if missing.contains(&"/dev/nvidia-uvm") && driver.uvm_loaded.value() != Some(&true) && !on_disk() {
            let missing = "whether nvidia-modprobe can load the module nvidia_uvm when a program asks for it";
            return out.unknown(Subject::Machine, missing, Some(Break::Cuda));
        }
    } else if driver.nodes.is_empty() {
        // Programs make the nodes themselves where the driver's helper may run as root, and a tree may have no /dev.
        return out.unknown(Subject::Machine, "whether /dev/nvidia* can be made: none is there", None);
    } else if gpus.is_empty() || !missing.is_empty() {
        let title = match (gpus.is_empty(), missing.as_slice()) {
            (true, _) => "the driver is loaded but /dev/nvidia0 is missing".to_owned(),
            (false, missing) => format!("{} missing beside {}", is(missing), gpus[0].path),
        };
        let mut finding = Finding::new(Subject::Machine, title).breaks(Break::Cuda);
        if gpus.is_empty() {
            finding = finding.because(Evidence::file("/dev/nvidia0", "not there"));
        }
        finding = finding.because_all(missing.iter().map(|path| Evidence::file(*path, "not there")));
        finding = finding.because_all(gpus.first().map(|node| Evidence::file(&node.path, "there")));
        finding = finding.because_all(driver.loaded.evidence().cloned());
        finding = match container {
            Some(container) => start(cx, finding, container, "hand all nodes into the container"),
            // The driver's helper is a package of its own; without it, as NVIDIA's installation guide does it.
            None if driver.modprobe.is_absent() && missing == ["/dev/nvidia-uvm"] => finding.run(
                "load the module and make its node",
                "sudo modprobe nvidia-uvm && sudo mknod -m 666 /dev/nvidia-uvm c \"$(awk '$2==\"nvidia-uvm\"{print $1}' /proc/devices)\" 0",
            ),
            None => finding.run("make the nodes", "sudo nvidia-modprobe -c 0 -u"),
        };
        return out.find(finding);
    }
    let needed = || gpus.iter().copied().chain(shared.iter().filter_map(|path| node(path)));
    let shut: Vec<&DeviceNode> = needed().filter(|node| node.open == Some(false)).collect();
    let untold: Vec<&str> = needed().filter(|node| node.open.is_none()).map(|node| node.path.as_str()).collect();
    if let Some(first) = shut.first() {
        let some_left = gpus.iter().any(|node| node.open != Some(false)) && shut.iter().all(|node| gpus.contains(node));
        let who = cx.facts.machine.user.name.as_deref().unwrap_or("this user");
        let title = match shut.len() {
            1 => format!("{who} cannot open {}", first.path),
            count => format!("{who} cannot open {} and {} more", first.path, count - 1),
        };
        let mut finding = Finding::new(Subject::Machine, title).because_all(shut.iter().take(8).map(|node| {
            let mode = || format!("mode {:04o}, owner {}, group {}", node.mode & 0o7777, node.uid, node.gid);
            Evidence::file(&node.path, node.why.clone().unwrap_or_else(mode))
        }));
        finding = if let Some(container) = container {
            start(cx, finding, container, "hand the nodes into the container with access")
        } else if first.why.as_ref().is_some_and(|why| why.contains("devices.list")) {
            // A mode changes nothing there.
            finding.help("this job was given no GPU: ask the batch system for one, in Slurm with `srun --gpus=1 …`")
        } else if first.mode & 0o060 == 0o060 && first.gid != 0 {
            let user = cx.facts.machine.user.name.as_deref().unwrap_or("\"$USER\"");
            finding.run(
                format!("join the group {} that owns it, then log in anew", first.gid),
                format!("sudo usermod -aG \"$(getent group {} | cut -d: -f1)\" {}", first.gid, shell::word(user)),
            )
        } else {
            finding.run(
                "open it to all users, as the driver does by default",
                format!("sudo chmod 0666 {}", shell::word(&first.path)),
            )
        };
        finding = if some_left { finding.at(Level::Warn) } else { finding.breaks(Break::Cuda) };
        return out.find(finding);
    }
    if !untold.is_empty() {
        let missing = format!("whether this user can open {}", untold.join(", "));
        out.unknown(Subject::Machine, missing, Some(Break::Cuda));
    }
}

/// `a is`, `a and b are`.
fn is(paths: &[&str]) -> String {
    match paths {
        [one] => format!("{one} is"),
        many => format!("{} are", many.join(" and ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{judge, machine, silent, titles};

    #[test]
    fn missing_siblings_are_found() {
        let mut facts = machine();
        facts.driver.nodes.retain(|node| node.path != "/dev/nvidia-uvm");
        assert_eq!(titles(&RULE, &facts), ["/dev/nvidia-uvm is missing beside /dev/nvidia0"]);
        facts.driver.nodes.clear();
        // No node at all may be made on demand, or belong to a tree without /dev.
        let said = judge(&RULE, &facts);
        assert!(said.findings.is_empty());
        assert_eq!(said.unknown[0].breaks, None);
    }

    #[test]
    fn the_helper_makes_what_is_missing() {
        use crate::facts::{Container, InstalledModule, Probed};
        use crate::rules::testing::found;
        let mut facts = machine();
        facts.driver.nodes.retain(|node| node.path != "/dev/nvidia-uvm");
        facts.driver.uvm_loaded = found(false);
        facts.driver.modprobe = found(true);
        // The module must be there for it.
        assert_eq!(judge(&RULE, &facts).unknown[0].breaks, Some(Break::Cuda));
        let kernel = facts.machine.kernel.value().cloned().unwrap();
        facts.driver.uvm_modules = vec![InstalledModule { kernel, path: "/lib/modules/nvidia-uvm.ko".to_owned() }];
        assert!(silent(&RULE, &facts));
        facts.driver.nodes.retain(|node| node.path == "/dev/nvidiactl");
        assert!(silent(&RULE, &facts));
        facts.driver.nodes.clear();
        assert!(silent(&RULE, &facts));
        // Neither without the right to act as root, nor in a container.
        facts.driver.nodes = vec![crate::rules::testing::node("/dev/nvidia0")];
        facts.driver.modprobe = found(false);
        assert_eq!(titles(&RULE, &facts).len(), 1);
        facts.driver.modprobe = Probed::Absent;
        assert_eq!(titles(&RULE, &facts).len(), 1);
        facts.driver.modprobe = found(true);
        facts.machine.container = Some(Container { kind: "podman".to_owned(), ..Container::default() });
        let said = judge(&RULE, &facts);
        assert!(said.findings[0].help[0].command.as_deref().unwrap().starts_with("podman run"));
    }

    #[test]
    fn a_shut_node_is_found_and_an_untold_one_stays_open() {
        let mut facts = machine();
        facts.driver.nodes[1].open = Some(false);
        facts.driver.nodes[1].mode = 0o660;
        facts.driver.nodes[1].gid = 44;
        let said = judge(&RULE, &facts);
        assert_eq!(said.findings[0].title, "this user cannot open /dev/nvidiactl");
        assert_eq!(said.findings[0].breaks, [(Subject::Machine, Break::Cuda)]);
        facts.driver.nodes[1].open = None;
        assert_eq!(judge(&RULE, &facts).unknown[0].breaks, Some(Break::Cuda));
    }

    #[test]
    fn all_nodes_open_is_fine() {
        assert!(silent(&RULE, &machine()));
    }
}
