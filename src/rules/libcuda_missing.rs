//! Rule `libcuda-missing`: whether a driver that runs also has its library where programs look for it.

use super::container_without_gpu::libraries;
use super::{Cx, Family, Rule, layer};
use crate::facts::{DeviceNode, Evidence, LibcudaCopy, LibcudaKind};
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::shell;
use crate::view::EnvView;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "libcuda-missing",
    family: Family::Driver,
    level: Level::Deny,
    layer: layer::DRIVER,
    summary: "the driver is loaded but the loader finds no libcuda.so.1",
    docs: "\
### What it means

NVIDIA's driver has two halves: the kernel module and the library `libcuda.so.1`. The kernel side is there, and the \
dynamic loader finds no `libcuda.so.1` anywhere. The library comes with the driver, never with a CUDA toolkit or a \
Python wheel.

### Why it matters

Every CUDA program opens this library first. Without it TensorFlow logs error 303 and uses the CPU.

### How to fix it

Install the user-space part of the driver in the version of the loaded module (`libcuda1` on Debian, \
`libnvidia-compute-…` on Ubuntu). Where it lies in a folder that nothing searches, as on NixOS \
(`/run/opengl-driver/lib`) or on Google's Kubernetes (`/usr/local/nvidia/lib64`), put that folder on \
`LD_LIBRARY_PATH`. A library that is there under its full name \
alone gets the short one by `ldconfig`. In a container install nothing: start it with the `compute` capability, \
`NVIDIA_DRIVER_CAPABILITIES=compute,utility`, and the runtime brings the host's library in; Apptainer does with \
`--nv`. A machine of Kubernetes may keep its driver for pods, and one with NVIDIA's \
vGPU manager has no CUDA at all. On WSL update the Windows \
driver and run `wsl --update`.

A Python of Nix or Guix on another system starts with a loader of its own, which searches neither the system's cache \
nor its folders. It finds the driver through a wrapper (`nixglhost`, `nixGL`), or through a folder on \
`LD_LIBRARY_PATH` that holds links to the driver's libraries and nothing else.
",
    check,
};

/// The capabilities that a container asks for, where they lack one of a name.
pub(super) fn lacks_capability(cx: &Cx<'_>, wanted: &str) -> Option<Evidence> {
    cx.facts.machine.container.as_ref()?;
    let value = cx.facts.env.get("NVIDIA_DRIVER_CAPABILITIES").filter(|value| !value.trim().is_empty())?;
    let has = value.split(',').map(str::trim).any(|capability| capability == wanted || capability == "all");
    (!has).then(|| Evidence::env("NVIDIA_DRIVER_CAPABILITIES", value))
}

/// Folders that drivers use and no loader searches by itself.
const ASIDE: &[&str] = &[
    "/run/opengl-driver/lib",
    "/usr/local/nvidia/lib64",
    "/usr/local/nvidia/lib",
    "/usr/lib/wsl/lib",
    "/usr/lib/x86_64-linux-gnu/nvidia/current",
    "/usr/lib/aarch64-linux-gnu/nvidia/current",
    "/usr/lib/aarch64-linux-gnu/nvidia",
    "/usr/lib/aarch64-linux-gnu/tegra",
    "/usr/lib64/nvidia",
    "/usr/lib/nvidia",
    "/home/kubernetes/bin/nvidia/lib64",
    "/run/nvidia/driver/usr/lib/x86_64-linux-gnu",
    "/run/nvidia/driver/usr/lib64",
    // What a container gets lies where its machine has it, which its own loader may not search.
    "/usr/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
];

/// The driver's library in a folder that nothing searches; one of another version than the module is no help.
fn aside<'a>(cx: &Cx<'a>) -> Option<(&'a LibcudaCopy, &'a str)> {
    let module = cx.facts.driver.kernel.first().map(|reading| &reading.value);
    let wsl = cx.view.is_wsl();
    let fits = |copy: &&LibcudaCopy| {
        let kind = if wsl { LibcudaKind::Wsl } else { LibcudaKind::Driver };
        let refused = cx.facts.driver.libcuda.rejected.iter().any(|file| file.path == copy.path);
        let version = copy.version.as_ref().zip(module).is_none_or(|(here, module)| here == module);
        copy.kind == kind && !refused && version && copy.path.ends_with("/libcuda.so.1")
    };
    cx.facts.driver.copies.iter().filter(fits).find_map(|copy| {
        let folder = copy.path.rsplit_once('/')?.0;
        ASIDE.contains(&folder).then_some((copy, folder))
    })
}

/// Environments whose Python starts with a loader of its own, which does not find what all others find.
fn another_loader(cx: &Cx<'_>, out: &mut Judgment) {
    for env in cx.view.envs().filter(EnvView::wants_cuda) {
        let Some((tf, loader)) = env.tf().zip(env.env.loader.as_deref()) else { continue };
        let subject = Subject::Env(env.index);
        if let Some(why) = tf.libcuda.file.unknown() {
            let missing = format!("whether TensorFlow finds libcuda.so.1: {why}");
            out.unknown(subject, missing, Some(Break::TfSees));
        } else if tf.libcuda.file.is_absent() {
            let there = cx.facts.driver.libcuda.file.value();
            out.find(
                Finding::new(subject, "the loader of this Python does not find libcuda.so.1, which others find")
                    .because(Evidence::file(&env.env.real_interpreter, format!("starts with {loader}")))
                    .because(Evidence::loader(loader, "searches neither /etc/ld.so.cache nor the system's folders"))
                    .because_all(there.map(|library| library.evidence("libcuda.so.1")))
                    .breaks(Break::TfSees)
                    .help(
                        "start Python through a wrapper that shows its loader the driver's libraries (`nixglhost`, `nixGL`)",
                    )
                    .help(
                        "or put links to `libcuda.so.1`, `libnvidia-ml.so.1` and `libnvidia-ptxjitcompiler.so.1` into a \
                         folder that holds nothing else, and name that folder in LD_LIBRARY_PATH: the system's own folder \
                         would bring another C library in",
                    ),
            );
        }
    }
}

/// The node of NVIDIA's vGPU manager, where that is the driver of this machine and no library of CUDA's is here.
pub(super) fn vgpu_manager<'a>(cx: &Cx<'a>) -> Option<&'a DeviceNode> {
    let alone = cx.facts.machine.container.is_none() && cx.view.libcudas().is_empty();
    cx.facts.driver.nodes.iter().find(|node| alone && node.path == "/dev/nvidia-vgpuctl")
}

/// The driver's library under its full name alone, without the name that programs ask for: `ldconfig` makes that one.
fn unlinked<'a>(cx: &Cx<'a>) -> Option<(&'a LibcudaCopy, &'a str)> {
    let module = cx.facts.driver.kernel.first().map(|reading| &reading.value);
    let fits = |copy: &&LibcudaCopy| {
        copy.kind == LibcudaKind::Driver
            && copy.path == copy.real
            && copy.version.is_some()
            && copy.version.as_ref() == module
    };
    let copy = cx.facts.driver.copies.iter().find(fits)?;
    Some((copy, copy.path.rsplit_once('/')?.0))
}

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    let driver = &cx.facts.driver;
    if !cx.view.driver_matters() || !cx.view.driver_answers() {
        return;
    }
    out.applies();
    if !cx.view.libcudas().is_empty() {
        return another_loader(cx, out);
    }
    if let Some(why) = driver.libcuda.file.unknown() {
        let missing = format!("whether libcuda.so.1 can be found: {why}");
        return out.unknown(Subject::Machine, missing, Some(Break::Cuda));
    }
    if let Some(node) = vgpu_manager(cx) {
        let finding = Finding::new(Subject::Machine, "the driver here is NVIDIA's vGPU manager, which has no CUDA")
            .because(Evidence::file(&node.path, "there"))
            .because(Evidence::loader("libcuda.so.1", "nothing provides it"))
            .help("run the programs in a virtual machine that has a vGPU; on this machine only NVIDIA's ordinary driver in place of the vGPU manager would run CUDA");
        return out.find(finding.breaks(Break::Cuda));
    }
    let version = driver.kernel.first();
    let title = "the driver is loaded but nothing provides libcuda.so.1";
    let mut finding = Finding::new(Subject::Machine, title)
        .because(Evidence::loader("libcuda.so.1", "nothing provides it"))
        .because_all(cx.facts.machine.tegra.as_ref().or(driver.loaded.evidence()).cloned())
        .because_all(driver.libcuda.rejected.first().map(|file| Evidence::loader(&file.path, &file.why)));
    let container = cx.facts.machine.container.as_ref();
    let nixos = cx.facts.machine.distribution_id.value().is_some_and(|id| id == "nixos");
    let copy = aside(cx);
    let found = |finding: Finding, copy: &LibcudaCopy| {
        finding.because(Evidence::file(&copy.path, "there, but the loader does not search its folder"))
    };
    // The drivers that Kubernetes puts on its machines are for pods.
    let for_pods = |folder: &str| folder.starts_with("/home/kubernetes/") || folder.starts_with("/run/nvidia/");
    let pods = container.is_none() && copy.is_some_and(|(_, folder)| for_pods(folder));
    finding = if let Some((copy, folder)) = copy.filter(|_| container.is_some() || nixos || pods) {
        // None of them keeps what `ldconfig` would be told.
        let text = match container {
            Some(_) => "let the loader search its folder, by the container's environment",
            None if pods => "or let the loader search its folder",
            None => "let the loader search its folder",
        };
        let finding = found(finding, copy);
        let finding = if pods {
            finding.help("run the programs in a pod with a limit `nvidia.com/gpu: 1`: this driver is for pods")
        } else {
            finding
        };
        let folder = shell::word(folder);
        finding.run(text, format!("export LD_LIBRARY_PATH={folder}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"))
    } else if let Some((copy, folder)) = unlinked(cx).filter(|_| !nixos) {
        let sudo = if container.is_some() { "" } else { "sudo " };
        let finding = finding.because(Evidence::file(&copy.path, "there, but without the name libcuda.so.1 beside it"));
        finding.run("make the name and let the loader know it", format!("{sudo}ldconfig {}", shell::word(folder)))
    } else if let Some(capabilities) = lacks_capability(cx, "compute") {
        finding.because(capabilities).run(
            "start the container with the `compute` capability",
            "docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility …",
        )
    } else if let Some(container) = container {
        libraries(cx, finding, container, version.map(|version| &version.value))
    } else if let Some(wsl) = &cx.facts.machine.wsl {
        match &wsl.libcuda {
            Some(path) => {
                finding.because(Evidence::file(path, "there, but the loader does not search its folder")).run(
                    "let the loader search it",
                    "echo /usr/lib/wsl/lib | sudo tee /etc/ld.so.conf.d/ld.wsl.conf && sudo ldconfig",
                )
            }
            None => finding.run("update the NVIDIA driver of Windows, then WSL, from Windows", "wsl --update"),
        }
    } else if let Some((copy, folder)) = copy {
        found(finding, copy).run(
            "let the loader search the folder in which it lies",
            format!("echo {} | sudo tee /etc/ld.so.conf.d/nvidia.conf && sudo ldconfig", shell::word(folder)),
        )
    } else if nixos {
        finding
            .help("switch `hardware.graphics.enable` on, which puts the driver's libraries into /run/opengl-driver/lib")
    } else {
        let exactly = version.map_or_else(String::new, |version| format!(", in version {}", version.value));
        let text = format!("install the user-space part of the driver{exactly}");
        match cx.facts.machine.distribution_id.value().map(String::as_str) {
            Some("debian") => finding.run(text, "sudo apt install libcuda1"),
            Some("ubuntu") if version.is_some() => {
                let major = version.map_or(0, |version| version.value.major());
                finding.run(text, format!("sudo apt install libnvidia-compute-{major}"))
            }
            // DKMS brings modules of other repositories than RPM Fusion.
            Some("fedora") if driver.dkms.is_empty() => finding.run(text, "sudo dnf install xorg-x11-drv-nvidia-cuda"),
            _ => finding.help(text),
        }
    };
    out.find(finding.breaks(Break::Cuda));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Container, Facts};
    use crate::rules::testing::{absent, bare, found, judge, machine, silent, v};

    #[test]
    fn a_loaded_module_without_its_library_is_found() {
        let mut facts = machine();
        facts.driver.libcuda = absent("libcuda.so.1");
        let said = judge(&RULE, &facts);
        assert_eq!(said.findings[0].breaks, [(Subject::Machine, Break::Cuda)]);
        facts.machine.container = Some(Container::default());
        facts.env.insert("NVIDIA_DRIVER_CAPABILITIES".to_owned(), "utility".to_owned());
        let said = judge(&RULE, &facts);
        assert!(said.findings[0].evidence.iter().any(|e| e.at == "NVIDIA_DRIVER_CAPABILITIES"));
    }

    #[test]
    fn a_library_in_a_folder_that_nothing_searches_is_named() {
        let mut facts = machine();
        facts.driver.libcuda = absent("libcuda.so.1");
        let copy = |folder: &str, version: &str| LibcudaCopy {
            path: format!("{folder}/libcuda.so.1"),
            real: format!("{folder}/libcuda.so.{version}"),
            kind: LibcudaKind::Driver,
            version: Some(v(version)),
        };
        let way = |facts: &Facts| judge(&RULE, facts).findings[0].help[0].command.clone();
        facts.driver.copies = vec![copy("/usr/lib64/nvidia", "535.54.03")];
        assert!(way(&facts).unwrap().starts_with("echo /usr/lib64/nvidia | sudo tee"));
        // What another driver has left behind is none.
        facts.driver.copies = vec![copy("/usr/lib64/nvidia", "470.82.01")];
        assert_eq!(way(&facts), None);
        facts.driver.copies = vec![copy("/run/opengl-driver/lib", "535.54.03")];
        facts.machine.distribution_id = found("nixos".to_owned());
        let kept = "${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}";
        assert_eq!(way(&facts), Some(format!("export LD_LIBRARY_PATH=/run/opengl-driver/lib{kept}")));
        let said = judge(&RULE, &facts);
        assert!(said.findings[0].evidence.iter().any(|e| e.at == "/run/opengl-driver/lib/libcuda.so.1"));
        facts.driver.copies = vec![copy("/usr/local/nvidia/lib64", "535.54.03")];
        facts.machine.distribution_id = found("debian".to_owned());
        facts.machine.container = Some(Container { kind: "kubernetes".to_owned(), ..Container::default() });
        assert_eq!(way(&facts), Some(format!("export LD_LIBRARY_PATH=/usr/local/nvidia/lib64{kept}")));
        facts.machine.container = None;
        facts.driver.copies = vec![copy("/home/kubernetes/bin/nvidia/lib64", "535.54.03")];
        let help = &judge(&RULE, &facts).findings[0].help;
        assert!(help[0].text.contains("in a pod") && help[1].command.as_deref().unwrap().starts_with("export LD_"));
        facts.driver.copies.clear();
        facts.machine.container = Some(Container { kind: "apptainer".to_owned(), ..Container::default() });
        assert_eq!(way(&facts).as_deref(), Some("apptainer exec --nv …"));
        let mut kind = |kind: &str| {
            facts.machine.container = Some(Container { kind: kind.to_owned(), ..Container::default() });
            judge(&RULE, &facts).findings.remove(0).help.remove(0)
        };
        let extension = "flatpak install org.freedesktop.Platform.GL.nvidia-535-54-03";
        assert_eq!(kind("flatpak").command.as_deref(), Some(extension));
        assert_eq!(kind("charliecloud").command.as_deref(), Some("ch-fromhost --nvidia …"));
        assert!(kind("toolbox").text.contains("make the toolbox anew") && kind("lxc").text.contains("Proxmox"));
    }

    #[test]
    fn a_library_without_its_short_name_gets_it() {
        let mut facts = machine();
        facts.driver.libcuda = absent("libcuda.so.1");
        let path = |version: &str| format!("/usr/lib64/libcuda.so.{version}");
        let copy = |version: &str| LibcudaCopy {
            path: path(version),
            real: path(version),
            kind: LibcudaKind::Driver,
            version: Some(v(version)),
        };
        let way = |facts: &Facts| judge(&RULE, facts).findings[0].help[0].command.clone();
        facts.driver.copies = vec![copy("470.82.01")];
        assert_eq!(way(&facts), None);
        facts.driver.copies.push(copy("535.54.03"));
        assert_eq!(way(&facts).as_deref(), Some("sudo ldconfig /usr/lib64"));
        facts.machine.container = Some(Container { kind: "podman".to_owned(), ..Container::default() });
        assert_eq!(way(&facts).as_deref(), Some("ldconfig /usr/lib64"));
    }

    #[test]
    fn it_keeps_still_without_a_driver_and_with_a_library() {
        assert!(silent(&RULE, &machine()));
        let mut facts = machine();
        facts.driver = bare().driver;
        assert!(silent(&RULE, &facts));
    }
}
