//! Rule `container-without-gpu`: whether this container was started without the GPU that its machine has.

use super::{Cx, Family, Rule, layer};
use crate::facts::{Container, Evidence};
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::version::Dotted;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "container-without-gpu",
    family: Family::Driver,
    level: Level::Deny,
    // Before the driver's own rules: what they would miss here is what the runtime did not bring in.
    layer: layer::DRIVER - 1,
    summary: "this container was started without the GPU of its machine",
    docs: "\
### What it means

This is a container, the machine beneath it shows an NVIDIA GPU, and the container has no `/dev/nvidiaN`. The \
container runtime hands GPUs, and the driver's libraries with them, only to containers that are started with them.

### Why it matters

Nothing inside the container can use the GPU. What is missing besides (libcuda, NVML) is missing for the same reason \
and must not be installed into the image.

### How to fix it

Start the container with its GPU: `docker run --gpus all …`, `podman run --device nvidia.com/gpu=all …`, in Compose a \
device reservation with `capabilities: [gpu]`, in Kubernetes a limit `nvidia.com/gpu: 1`, with Apptainer `--nv`, in \
LXD and Incus a device of type `gpu` with `nvidia.runtime`. The \
host needs the NVIDIA Container Toolkit. `NVIDIA_VISIBLE_DEVICES` must not be empty, `void` or `none`.
",
    check,
};

/// How a container gets its GPU and the driver's libraries with it, by what runs it.
pub(super) fn start(cx: &Cx<'_>, finding: Finding, container: &Container, why: &str) -> Finding {
    match container.kind.as_str() {
        "docker" if cx.facts.machine.tegra.is_some() => finding.run(why, "docker run --runtime nvidia …"),
        "podman" => finding.run(why, "podman run --device nvidia.com/gpu=all …"),
        "apptainer" | "singularity" => finding.run(why, "apptainer exec --nv …"),
        "kubernetes" => {
            finding.help(format!("{why}: give the container a limit `nvidia.com/gpu: 1` under `resources`"))
        }
        "charliecloud" => finding.run(why, "ch-fromhost --nvidia …"),
        "lxc" => finding.help(format!(
            "{why}: in LXD and Incus add a device of type `gpu` and set `nvidia.runtime` to `true`; elsewhere, as in Proxmox, pass the nodes /dev/nvidia* through, and install the driver's libraries of exactly the host's version inside, without its kernel module"
        )),
        "systemd-nspawn" => finding.help(format!(
            "{why}: `--bind=/dev/nvidia0 --bind=/dev/nvidiactl --bind=/dev/nvidia-uvm`, and the driver's libraries of exactly the host's version inside, without its kernel module"
        )),
        "toolbox" => finding.help(
            "a toolbox has what its host has: install the driver there with its CUDA libraries (`xorg-x11-drv-nvidia-cuda` of RPM Fusion), then make the toolbox anew",
        ),
        "flatpak" => finding.help(format!(
            "{why}: an application gets devices by `flatpak override --user --device=all …`, and the driver's libraries by the extension `org.freedesktop.Platform.GL.nvidia-…` of the host's version"
        )),
        _ => finding.run(why, "docker run --gpus all …"),
    }
}

/// How a container that has the GPU gets the libraries of its machine's driver.
pub(super) fn libraries(cx: &Cx<'_>, finding: Finding, container: &Container, driver: Option<&Dotted>) -> Finding {
    match (container.kind.as_str(), driver) {
        ("flatpak", Some(driver)) => finding.run(
            "install the extension that has the driver's libraries, then start the application anew",
            format!("flatpak install org.freedesktop.Platform.GL.nvidia-{}", driver.to_string().replace('.', "-")),
        ),
        _ => start(cx, finding, container, "start the container with the GPU, which brings the host's library in"),
    }
}

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    let Some(container) = &cx.facts.machine.container else { return };
    if !cx.view.driver_matters() || cx.view.gpu_is_assumed() {
        return;
    }
    out.applies();
    if !cx.view.container_lacks_gpu() {
        return;
    }
    let wish = cx.facts.env.get("NVIDIA_VISIBLE_DEVICES");
    let refused = wish.filter(|value| matches!(value.trim(), "" | "void" | "none"));
    let title = match refused.map(|value| value.trim()) {
        Some("") => "NVIDIA_VISIBLE_DEVICES is empty: this container was started without the GPU".to_owned(),
        Some(value) => format!("NVIDIA_VISIBLE_DEVICES is {value}: this container was started without the GPU"),
        None => "this container was started without the GPU of its machine".to_owned(),
    };
    let mut finding = Finding::new(Subject::Machine, title)
        .because_all(refused.map(|value| Evidence::env("NVIDIA_VISIBLE_DEVICES", value)))
        .because(Evidence::file("/dev/nvidia0", "not there"))
        .because_all(cx.view.gpus.first().map(|gpu| gpu.evidence.clone()))
        .because(container.evidence.clone());
    finding = start(cx, finding, container, "start it with the GPU");
    if let Some(value) = wish.filter(|_| refused.is_none()) {
        finding = finding.because(Evidence::env("NVIDIA_VISIBLE_DEVICES", value)).help(
            "NVIDIA_VISIBLE_DEVICES asks for GPUs, so the runtime did not act on it: install the NVIDIA Container Toolkit on the host and make its runtime the one that is used",
        );
    }
    out.find(finding.breaks(Break::Cuda));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{judge, machine, silent};

    #[test]
    fn a_container_without_nodes_is_found() {
        let mut facts = machine();
        facts.machine.container = Some(Container { kind: "docker".to_owned(), ..Container::default() });
        assert!(silent(&RULE, &facts));
        facts.driver.nodes.clear();
        facts.env.insert("NVIDIA_VISIBLE_DEVICES".to_owned(), "void".to_owned());
        let said = judge(&RULE, &facts);
        assert!(said.findings[0].title.starts_with("NVIDIA_VISIBLE_DEVICES is void"));
        assert_eq!(said.findings[0].breaks, [(Subject::Machine, Break::Cuda)]);
        // The nodes' own rule leaves it to this one.
        assert!(silent(&super::super::device_node_inaccessible::RULE, &facts));
    }
}
