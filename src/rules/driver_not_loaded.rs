//! Rule `driver-not-loaded`: a GPU is there and no loaded module drives it; says why, as far as files tell.

use super::{Cx, Family, Rule, layer};
use crate::facts::{Evidence, InstalledModule, PciDevice, ProcGpu};
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::shell;
use crate::version::Dotted;
use crate::view::Gpu;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "driver-not-loaded",
    family: Family::Driver,
    level: Level::Deny,
    layer: layer::DRIVER,
    summary: "an NVIDIA GPU is there but no loaded kernel module of NVIDIA's drives it",
    docs: "\
### What it means

The PCI bus shows an NVIDIA GPU, and the kernel has no module `nvidia` loaded. Files tell why: another module \
(`nouveau`, `vfio-pci`) holds the device; Secure Boot is on and refuses a module without an enrolled signature; the \
module was built for another kernel than the one that runs; a line such as `alias nvidia off` in modprobe's \
configuration keeps it out, as programs write that switch the GPU of a laptop off; no driver is installed; or it is \
installed and was merely not loaded.

A module may also be loaded and refuse the GPU: the closed module drives no GPU of the generation Blackwell or newer, \
the open one none before Turing, and neither one that is newer than it. Then the bus shows no driver of the device, \
and `/proc/driver/nvidia/gpus` is empty or says that no firmware runs on it. The open module needs the GPU's firmware of its own version \
(`/lib/firmware/nvidia/VERSION/gsp_….bin`).

Where the module is on disk for this kernel and the helper `nvidia-modprobe` is installed setuid root, the driver's \
libraries load the module themselves; why it was not loaded before is not known then, and neither is the answer.

### Why it matters

Without the module CUDA cannot start: `cuInit` answers 100 (no device), and every framework falls back to the CPU, \
TensorFlow with no more than a line in its log.

### How to fix it

Follow the cause that the finding names: build the module for the running kernel (`dkms autoinstall` or `akmods` with \
the kernel's headers installed), install Ubuntu's prebuilt one, or reboot where an upgrade has taken the running kernel's \
files away; enrol the signing key (`mokutil --import`), switch the GPU on with the program that has \
switched it off (`prime-select`, `system76-power`, `envycontrol`), give the device back to `nvidia`, install \
the driver from your distribution, install the other kind of kernel module, or load it with `modprobe nvidia`. \
Installing another CUDA toolkit does not help: a toolkit is not a driver.
",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    let driver = &cx.facts.driver;
    if !cx.view.driver_matters() || cx.view.is_wsl() || cx.facts.machine.tegra.is_some() {
        return;
    }
    if none_driven(cx) {
        return out.find(undriven(cx).breaks(Break::Cuda));
    }
    let idle = |gpu: &ProcGpu| gpu.firmware.as_deref() == Some("N/A");
    if let Some(gone) = driver.firmware_gone.as_ref().filter(|_| driver.gpus.iter().all(idle))
        && let Some(listed) = driver.gpus.first()
    {
        // A GPU that nobody has opened yet runs none either, and that of a virtual machine may need none.
        if driver.gpus.iter().any(|gpu| gpu.model.is_some()) {
            let missing = format!("whether the GPU's firmware can be loaded: {} {}", gone.at, gone.says);
            return out.unknown(Subject::Machine, missing, Some(Break::Cuda));
        }
        return out.find(without_firmware(cx, gone, listed).breaks(Break::Cuda));
    }
    // A container gets its nodes from outside, and may not see the list of modules as it is.
    if !all_held(cx) && (cx.view.driver_answers() || cx.view.container_lacks_gpu()) {
        out.applies();
        return some_undriven(cx, out);
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
    if loads_when_asked(cx) {
        let missing = "whether the kernel module loads when a program asks for it: nvidia-modprobe would load it, and \
                       nothing tells why it is not loaded";
        return out.unknown(Subject::Machine, missing, Some(Break::Cuda));
    }
    out.find(diagnose(cx).because_all(cx.view.gpus.first().map(|gpu| gpu.evidence.clone())).breaks(Break::Cuda));
}

/// The open module is loaded, and the firmware without which it drives no GPU is not there.
fn without_firmware(cx: &Cx<'_>, gone: &Evidence, listed: &ProcGpu) -> Finding {
    let title = "NVIDIA's open kernel module is loaded, and the GPU's firmware of its version is not on disk";
    let finding = Finding::new(Subject::Machine, title)
        .because(gone.clone())
        .because(Evidence::file(&listed.path, "Model: Unknown, GPU Firmware: N/A"))
        .because_all(cx.facts.driver.kernel.last().map(|reading| reading.evidence.clone()));
    let text = "install the firmware of the very version of the module, then reboot";
    let debian = cx.facts.machine.distribution_id.value().is_some_and(|id| id == "debian");
    let finding = if debian { finding.run(text, "sudo apt install firmware-nvidia-gsp") } else { finding.help(text) };
    finding.run("see what the module says of it", "sudo dmesg | grep -i -e NVRM -e firmware")
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

/// The GPUs on the bus that are not lost, where the bus is the machine's own and not what a container sees of it.
fn on_bus<'a>(cx: &Cx<'a>) -> Vec<&'a PciDevice> {
    let own = cx.facts.machine.container.is_none() && !cx.view.gpu_is_assumed() && !cx.view.is_wsl();
    cx.facts.pci.iter().filter(|device| own && device.is_nvidia_gpu() && !device.lost).collect()
}

/// Whether a loaded module drives no GPU, though one is there that nothing else holds.
///
/// Two witnesses must agree, the bus and the driver's own list: of a tree one or the other may be missing. That the
/// closed module refused a GPU is told by the driver's list alone.
pub(super) fn none_driven(cx: &Cx<'_>) -> bool {
    let driver = &cx.facts.driver;
    let gpus = on_bus(cx);
    let none_bound = driver.gpus.is_empty()
        && gpus.iter().any(|device| device.driver.is_none())
        && !gpus.iter().any(|device| cx.view.is_driven(device));
    driver.loaded.value() == Some(&true)
        && driver.gpus_listed.value() == Some(&true)
        && cx.facts.machine.tegra.is_none()
        && !gpus.is_empty()
        && (none_bound || cx.view.gpus.iter().all(|gpu| wants(cx, gpu) == Some(Kind::Open) && is_idle(cx, gpu)))
}

/// The two kinds of NVIDIA's kernel module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Open,
    Closed,
}

/// The kind of module that a GPU needs where the other one is loaded.
///
/// NVIDIA's README: the closed one does not support Blackwell, and the open one needs the GSP that came with Turing.
fn wants(cx: &Cx<'_>, gpu: &Gpu) -> Option<Kind> {
    let compute = gpu.compute.as_ref()?;
    match cx.facts.driver.open_module? {
        false if compute.major() >= 10 => Some(Kind::Open),
        true if (compute.major(), compute.minor()) < (7, 5) => Some(Kind::Closed),
        _ => None,
    }
}

/// Whether the driver lists a GPU and says that no firmware runs on it, without which none since Turing's GSP works
/// with the open module, and none of Blackwell at all.
fn is_idle(cx: &Cx<'_>, gpu: &Gpu) -> bool {
    let listed = cx.facts.driver.gpus.iter().find(|listed| gpu.address.as_ref() == Some(&listed.address));
    listed.is_some_and(|listed| listed.firmware.as_deref() == Some("N/A"))
}

/// The last branch of the driver that knows an old GPU, by NVIDIA's list of legacy GPUs.
fn last_branch(compute: &Dotted) -> Option<u32> {
    match (compute.major(), compute.minor()) {
        (..3, _) => Some(390),
        (3 | 4, _) => Some(470),
        (5 | 6, _) | (7, ..5) => Some(580),
        _ => None,
    }
}

/// The first branch of the driver that knows GPUs of a compute capability: that of the first CUDA that compiles for it.
fn first_branch(cx: &Cx<'_>, compute: &Dotted) -> Option<u32> {
    let knows = cx.db.cuda_rows().iter().filter(|row| row.compute_max.as_ref().is_some_and(|max| max >= compute));
    let cuda = knows.map(|row| row.version.number.prefix(2)).min()?;
    let branches = cx.db.driver_rows().iter().filter(|row| row.reports_cuda >= cuda);
    branches.map(|row| row.branch.major()).min()
}

/// Why a loaded module drives no GPU.
fn undriven(cx: &Cx<'_>) -> Finding {
    let driver = &cx.facts.driver;
    let gpu = cx.view.gpus.first();
    let kind = gpu.and_then(|gpu| wants(cx, gpu));
    let name = gpu.map_or("the GPU", |gpu| gpu.name.as_str());
    let title = match kind {
        Some(Kind::Open) => format!("{name} needs NVIDIA's open kernel module, and the closed one is loaded"),
        Some(Kind::Closed) => format!("{name} needs NVIDIA's closed kernel module, and the open one is loaded"),
        None => format!("NVIDIA's kernel module is loaded and does not drive {name}"),
    };
    let unbound = on_bus(cx).into_iter().find(|device| device.driver.is_none());
    let idle = driver.gpus.first().map(|gpu| Evidence::file(&gpu.path, "GPU Firmware: N/A"));
    let finding = Finding::new(Subject::Machine, title)
        .because_all(unbound.map(|device| Evidence::file(format!("{}/driver", device.path), "not there: no driver")))
        .because_all(idle.or_else(|| driver.gpus_listed.evidence().cloned()))
        // The last one is the module's own line, which names its kind.
        .because_all(driver.kernel.last().map(|reading| reading.evidence.clone()))
        .because_all(gpu.map(|gpu| gpu.evidence.clone()));
    let major = driver.kernel.first().map(|reading| reading.value.major());
    let distribution = cx.facts.machine.distribution_id.value().map(String::as_str);
    let last = gpu.and_then(|gpu| last_branch(gpu.compute.as_ref()?));
    // A driver that is older than the GPU does not know it, whatever its kind.
    let first = gpu.and_then(|gpu| first_branch(cx, gpu.compute.as_ref()?));
    let behind = first.filter(|&first| major.is_some_and(|major| major < first));
    let then = |kind: &str| format!("install the {kind} kernel module, then reboot");
    let finding = match (kind, distribution, major) {
        (Some(Kind::Open), Some("ubuntu"), Some(major)) => {
            finding.run(then("open"), format!("sudo apt install nvidia-driver-{}-open", behind.unwrap_or(major)))
        }
        _ if let Some(first) = behind.filter(|_| distribution != Some("arch")) => finding.help(format!(
            "install a driver of branch {first} or newer, the first one for this GPU{}, then reboot",
            if kind == Some(Kind::Open) { ", with its open kernel module" } else { "" },
        )),
        (Some(Kind::Open), Some("debian"), _) => finding.run(then("open"), "sudo apt install nvidia-open-kernel-dkms"),
        (Some(Kind::Open), Some("arch"), _) => finding.run(then("open"), arch_driver(cx)),
        (Some(Kind::Open), ..) => finding
            .help("install the driver's packages with the open kernel module (`-open` in their names), then reboot"),
        (Some(Kind::Closed), Some("ubuntu"), Some(major)) => finding.run(
            then("closed"),
            format!("sudo apt install nvidia-driver-{}", last.map_or(major, |last| major.min(last))),
        ),
        (_, _, Some(major)) if let Some(last) = last.filter(|&last| kind.is_some() || major > last) => {
            at_most(finding, last)
        }
        _ => {
            return finding.run("see what the module says of it", "sudo dmesg | grep NVRM").help(
                "where that says `BAR1 is 0M`, switch `Above 4G Decoding` on in the machine's firmware; where it says that the GPU is not supported, install a newer driver for a new GPU, a legacy branch for an old one",
            );
        }
    };
    finding.run("see what the module says of it", "sudo dmesg | grep NVRM")
}

/// GPUs that nobody drives beside others that NVIDIA's driver has: CUDA works, and does not show them.
fn some_undriven(cx: &Cx<'_>, out: &mut Judgment) {
    let gpus = on_bus(cx);
    let driven = gpus.iter().filter(|device| cx.view.is_driven(device)).count();
    let left: Vec<_> = gpus.iter().filter(|device| device.driver.is_none() && !cx.view.is_driven(device)).collect();
    let Some(first) = left.first().filter(|_| driven > 0) else { return };
    let name = cx.db.gpu_by_pci(&first.device).map_or_else(|| format!("device {}", first.device), |gpu| gpu.name);
    let title = match left.len() {
        1 => format!("CUDA does not see {name} at {}: no driver has taken it", first.address),
        count => format!("CUDA does not see {count} of {} GPUs: no driver has taken them", driven + count),
    };
    let evidence = |device: &&PciDevice| Evidence::file(format!("{}/driver", device.path), "not there: no driver");
    out.find(
        Finding::new(Subject::Machine, title)
            .at(Level::Note)
            .because_all(left.iter().take(8).map(|device| evidence(device)))
            .run("see what the module says of it", "sudo dmesg | grep NVRM"),
    );
}

/// Whether the driver's libraries would load the module themselves, so that its absence proves nothing.
///
/// Something kept it from loading when the machine started, and files do not tell what; `prime-select` does.
fn loads_when_asked(cx: &Cx<'_>) -> bool {
    let driver = &cx.facts.driver;
    let kernel = cx.facts.machine.kernel.value();
    cx.view.helper_works()
        && driver.rivals.is_empty()
        && switched_off(cx).is_none()
        && driver.libcuda.file.value().is_some()
        && driver.modules.iter().any(|module| Some(&module.kernel) == kernel && !may_be_refused(cx, module))
}

/// Whether Secure Boot may be why a module is not loaded; Ubuntu signs those that it builds itself.
fn may_be_refused(cx: &Cx<'_>, module: &InstalledModule) -> bool {
    cx.facts.driver.secure_boot.value() == Some(&true) && prebuilt(module).is_none()
}

/// The branch of one of Ubuntu's prebuilt modules, which lie in `kernel/nvidia-550`.
pub(super) fn prebuilt(module: &InstalledModule) -> Option<&str> {
    module.path.split_once("/kernel/nvidia-")?.1.split('/').next()
}

/// The key that signed a module: what DKMS uses lies in `/var/lib`, what packages and akmods use elsewhere.
fn signing_key<'a>(cx: &Cx<'a>, module: &InstalledModule) -> Option<&'a Evidence> {
    let driver = &cx.facts.driver;
    let by_dkms = !driver.dkms.is_empty() || module.path.contains("/dkms/");
    let public = |key: &&Evidence| !key.at.contains(".priv") && key.at.starts_with("/var/lib/") == by_dkms;
    let keys = || driver.mok.iter().filter(public);
    let version = driver.userspace.first().map(|reading| reading.value.to_string());
    keys().find(|key| version.as_ref().is_some_and(|version| key.at.contains(version))).or_else(|| keys().next())
}

/// Which of the causes it is, the one that the files show most surely first.
fn diagnose(cx: &Cx<'_>) -> Finding {
    let driver = &cx.facts.driver;
    let state = driver.loaded.evidence().cloned();
    let new = |title: String| Finding::new(Subject::Machine, title);
    let library = driver.libcuda.file.value();
    let installed = library.is_some() || !driver.modules.is_empty() || !driver.dkms.is_empty();
    // Where only some are held, the others wait for a module that is not loaded.
    let spare = cx.facts.pci.iter().any(|device| device.is_nvidia_gpu() && device.driver.is_none());
    let held = |rival: &&Evidence| !(spare && rival.at.starts_with("/sys/bus/pci/"));
    if let Some(rival) = driver.rivals.iter().find(held) {
        // The driver that nova_core registers is called NovaCore; modules go by their own name.
        let says = rival.says.to_ascii_lowercase();
        let known = [("nouveau", "nouveau"), ("vfio-pci", "vfio-pci"), ("nova", "nova_core")];
        let name =
            known.into_iter().find(|(mark, _)| says.contains(mark)).map_or(rival.says.as_str(), |(_, name)| name);
        let finding = new(format!("the GPU is held by {name}, not by NVIDIA's driver")).because(rival.clone());
        let finding = finding.because_all(state);
        return match (name, installed) {
            ("vfio-pci", _) => finding
                .help("the GPU is reserved for a virtual machine: use it there, or take its id out of the `vfio-pci` options and reboot"),
            (_, false) => install(cx, finding),
            ("nouveau", true) => finding.run(
                "keep nouveau from loading, rebuild the initial ramdisk and reboot",
                format!(
                    "printf 'blacklist nouveau\\noptions nouveau modeset=0\\n' | sudo tee /etc/modprobe.d/blacklist-nouveau.conf{}",
                    match cx.facts.machine.distribution_id.value().map_or("", String::as_str) {
                        "ubuntu" | "debian" => " && sudo update-initramfs -u",
                        "fedora" | "rhel" | "rocky" | "almalinux" | "centos" => " && sudo dracut --force",
                        "arch" => " && sudo mkinitcpio -P",
                        _ => "",
                    }
                ),
            ),
            _ => finding.help(format!("keep {name} from loading (a line `blacklist {name}` in a file of /etc/modprobe.d), rebuild the initial ramdisk and reboot")),
        };
    }
    if cx.facts.machine.container.is_some() {
        let finding = new("the machine beneath this container has not loaded NVIDIA's driver".to_owned());
        return finding.because_all(state).run("load it there, outside of the container", "sudo modprobe nvidia");
    }
    if let Some(off) = switched_off(cx) {
        let title = if is_power(off) {
            "the NVIDIA GPU of this machine is switched off"
        } else {
            "NVIDIA's kernel module is kept from loading"
        };
        return switch_on(new(title.to_owned()).because(off.clone()), off).because_all(state);
    }
    let kernel = cx.facts.machine.kernel.value();
    let here = kernel.and_then(|kernel| driver.modules.iter().find(|module| module.kernel == *kernel));
    if let Some(module) = here {
        let on_disk = Evidence::file(&module.path, format!("a module for {}", module.kernel));
        if may_be_refused(cx, module) {
            let key = signing_key(cx, module);
            let finding = new("Secure Boot is on and NVIDIA's module is on disk but not loaded".to_owned())
                .because_all(driver.secure_boot.evidence().cloned())
                .because(on_disk)
                .because_all(state)
                .because_all(key.cloned());
            let finding = match key {
                Some(key) => finding.run(
                    "enrol the key that signed the module, then reboot and confirm it",
                    format!("sudo mokutil --import {}", shell::word(&key.at)),
                ),
                None => finding
                    .run(
                        "see whether its signature is refused (\"Key was rejected by service\")",
                        "sudo modprobe nvidia",
                    )
                    .help("if so, enrol the public key that signed the module with `mokutil --import`, then reboot"),
            };
            return finding.help("or switch Secure Boot off in the firmware");
        }
        let finding = new("NVIDIA's driver is installed for this kernel but not loaded".to_owned());
        let finding = finding.because_all(state).because(on_disk).because_all(driver.held_back.clone());
        let finding = finding.run("load it; `dmesg` tells why where it refuses", "sudo modprobe nvidia");
        // A module on the blacklist loads when it is named, but not when the machine starts.
        return match &driver.held_back {
            Some(line) => finding.help(format!("to load it with the machine, take the line out of {}", line.at)),
            None => finding,
        };
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
        return build(cx, finding.because_all(state), kernel);
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

/// How the running kernel gets a module: built by DKMS or akmods, prebuilt by Ubuntu, or with another kernel.
fn build(cx: &Cx<'_>, finding: Finding, kernel: &str) -> Finding {
    let driver = &cx.facts.driver;
    let name = shell::word(kernel);
    let module = driver.modules.first();
    if let Some(module) = module.filter(|_| driver.modules_gone.is_some()) {
        // An upgrade has taken this kernel's files away; nothing can be built for it or loaded into it.
        let folder = module.path.split('/').take_while(|part| *part != module.kernel).collect::<Vec<_>>().join("/");
        return finding
            .because(Evidence::file(format!("{folder}/{kernel}"), "not there"))
            .run("reboot into the kernel that is installed now", "sudo reboot");
    }
    let then = |finding: Finding| finding.run("then load it", "sudo modprobe nvidia");
    let distribution = cx.facts.machine.distribution_id.value().map(String::as_str);
    let command = match (distribution, module.and_then(prebuilt)) {
        _ if !driver.dkms.is_empty() => format!("sudo dkms autoinstall -k {name}"),
        (Some("ubuntu"), Some(branch)) => {
            let (number, kind) = branch.strip_suffix("srv").map_or((branch, ""), |number| (number, "-server"));
            if number.bytes().any(|byte| !byte.is_ascii_digit()) {
                return finding.help(format!("install the packages `linux-modules-nvidia-…` for {kernel}"));
            }
            let package = format!("sudo apt install linux-modules-nvidia-{number}{kind}-{name}");
            return then(finding.run("install Ubuntu's module for this kernel", package));
        }
        (Some("fedora"), _) if module.is_some_and(|module| module.path.contains("/extra/nvidia")) => {
            format!("sudo akmods --force --kernels {name}")
        }
        _ => {
            return finding
                .help(format!("install the driver's kernel modules for {kernel}, or boot the kernel they are for"));
        }
    };
    let missing = driver.headers.value() == Some(&false);
    let text = match driver.headers.value() {
        Some(_) => "build the module for this kernel",
        None => "with the headers of this kernel installed, build it",
    };
    let finding = match headers(distribution, kernel) {
        Some(command) if missing => finding.run("install the headers of this kernel", command),
        None if missing => finding.help("install the headers of this kernel"),
        _ => finding,
    };
    let finding = finding.because_all(driver.headers.evidence().filter(|_| missing).cloned());
    then(finding.run(text, command))
}

/// How the headers of a kernel are installed.
fn headers(distribution: Option<&str>, kernel: &str) -> Option<String> {
    let name = shell::word(kernel);
    Some(match distribution? {
        "debian" | "ubuntu" | "pop" | "linuxmint" => format!("sudo apt install linux-headers-{name}"),
        "fedora" | "rhel" | "centos" | "rocky" | "almalinux" => format!("sudo dnf install kernel-devel-{name}"),
        "arch" => format!("sudo pacman -S linux{}-headers", arch_kernel(kernel)),
        _ => return None,
    })
}

/// The end of the name of an Arch package for a kernel: `-lts` of `6.12.10-1-lts`, nothing of `6.12.10-arch1-1`.
fn arch_kernel(kernel: &str) -> &str {
    let ends = ["-lts", "-zen", "-hardened"];
    ends.into_iter().find(|end| kernel.ends_with(end)).unwrap_or_default()
}

/// What keeps a GPU on the bus without its driver: a switch, or a line that modprobe obeys even where it is told a name.
fn switched_off<'a>(cx: &Cx<'a>) -> Option<&'a Evidence> {
    let driver = &cx.facts.driver;
    // A rule that takes the GPU off the bus has not done so.
    let switch = driver.switched_off.as_ref().filter(|off| is_power(off));
    switch.or_else(|| driver.held_back.as_ref().filter(|line| !line.says.starts_with("blacklist")))
}

/// Whether a GPU is switched off as a device, by `prime-select` or `bbswitch`.
fn is_power(off: &Evidence) -> bool {
    off.at == "/etc/prime-discrete" || off.at == "/proc/acpi/bbswitch"
}

/// How the GPU of a hybrid machine is switched on again: by what has switched it off.
pub(super) fn switch_on(finding: Finding, off: &Evidence) -> Finding {
    let by = |maker: &str| off.says.contains(maker) || off.at.ends_with(&format!("/{maker}.conf"));
    let then = "switch it on, then reboot";
    if off.at == "/proc/acpi/bbswitch" {
        finding.run("switch it on, then load the driver", "echo ON | sudo tee /proc/acpi/bbswitch")
    } else if by("system76-power") {
        finding.run(then, "sudo system76-power graphics hybrid")
    } else if by("EnvyControl") {
        finding.run(then, "sudo envycontrol -s hybrid")
    } else if by("nvidia-prime") || off.at == "/etc/prime-discrete" {
        finding
            .run(then, "sudo prime-select nvidia")
            .help("or `sudo prime-select on-demand`, which leaves the display to the other GPU")
    } else {
        finding.help(format!("take that line out of {}, rebuild the initial ramdisk, then reboot", off.at))
    }
}

/// How a driver is installed here that knows the GPU and runs the CUDA of the environments.
fn install(cx: &Cx<'_>, finding: Finding) -> Finding {
    let machine = &cx.facts.machine;
    let compute = cx.view.gpus.first().and_then(|gpu| gpu.compute.as_ref());
    let last = compute.and_then(last_branch);
    let floors = cx.view.envs().filter_map(|env| Some(cx.db.cuda_floor(env.cuda_major()?)?.0.major()));
    let needed = floors.chain(compute.and_then(|compute| first_branch(cx, compute))).max();
    let then = "install the driver, then reboot";
    let fusion = "install the driver from RPM Fusion, then reboot";
    match (machine.distribution_id.value().map(String::as_str), last) {
        (Some("ubuntu"), _) => finding.run(then, "sudo ubuntu-drivers install"),
        (Some("debian"), _) => {
            // What Debian's package archive has for each release.
            let name = machine.distribution.value().map_or("", String::as_str);
            let own = match name.split_whitespace().find_map(|word| word.parse().ok()) {
                Some(11u32) => Some(470),
                Some(12) => Some(535),
                Some(13) => Some(550),
                _ => None,
            };
            match (own, needed) {
                (Some(own), Some(needed)) if own < needed => finding.help(format!(
                    "Debian's own driver is of branch {own} here, and {needed} or newer is needed: install NVIDIA's, from its repository for Debian (developer.download.nvidia.com/compute/cuda/repos), then reboot"
                )),
                _ if let Some(last) = last.filter(|&last| own.is_some_and(|own| last < own)) => at_most(finding, last),
                _ => finding
                    .run("install the driver (from the component `non-free`), then reboot", "sudo apt install nvidia-driver"),
            }
        }
        (Some("arch"), Some(last)) => finding.help(format!(
            "build the last branch for this GPU, `nvidia-{last}xx-dkms` and `nvidia-{last}xx-utils`, from the AUR, then reboot"
        )),
        (Some("arch"), None) => finding.run(then, arch_driver(cx)),
        (Some("fedora"), Some(580)) => {
            finding.run(fusion, "sudo dnf install akmod-nvidia-580xx xorg-x11-drv-nvidia-580xx-cuda")
        }
        (Some("fedora"), None) => finding.run(fusion, "sudo dnf install akmod-nvidia xorg-x11-drv-nvidia-cuda"),
        (_, Some(last)) => at_most(finding, last),
        _ => finding
            .help("install the NVIDIA driver from your distribution, then reboot; a CUDA toolkit alone is no driver"),
    }
}

fn at_most(finding: Finding, last: u32) -> Finding {
    finding.help(format!(
        "install a driver of branch {last} at most, the last one for this GPU, with its closed kernel module"
    ))
}

/// The command that installs Arch's package for the running kernel; since branch 590 Arch has the open module alone.
fn arch_driver(cx: &Cx<'_>) -> String {
    let kernel = cx.facts.machine.kernel.value().map_or("", String::as_str);
    match arch_kernel(kernel) {
        "" if kernel.contains("-arch") => "sudo pacman -S nvidia-open".to_owned(),
        "-lts" => "sudo pacman -S nvidia-lts-open".to_owned(),
        other => format!("sudo pacman -S nvidia-open-dkms linux{other}-headers"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Assumption, Container, DkmsModule, Source};
    use crate::rules::testing::{bare, found, judge, machine, pci, silent, titles, v};

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
        facts.driver.rivals[0].says = "NovaCore".to_owned();
        let said = judge(&RULE, &facts).findings.remove(0);
        assert_eq!(said.title, "the GPU is held by nova_core, not by NVIDIA's driver");
        assert!(said.help[0].text.contains("`blacklist nova_core`"));
    }

    #[test]
    fn a_driver_is_installed_that_fits_gpu_and_frameworks() {
        let (ada, blackwell, pascal) = ("0x2684", "0x2b85", "0x1b80");
        let help = |distribution: (&str, &str), kernel: &str, device: &str| {
            let mut facts = unloaded();
            facts.machine.distribution_id = found(distribution.0.to_owned());
            facts.machine.distribution = found(distribution.1.to_owned());
            facts.machine.kernel = found(kernel.to_owned());
            facts.pci[0].device = device.to_owned();
            facts.pythons = vec![crate::rules::testing::tensorflow("2.20.0", "12.5.1", &["sm_80", "compute_90"])];
            judge(&RULE, &facts).findings.remove(0).help.remove(0)
        };
        let command = |distribution, kernel, device| help(distribution, kernel, device).command.unwrap_or_default();
        let arch = ("arch", "Arch Linux");
        assert_eq!(command(arch, "6.12.10-arch1-1", ada), "sudo pacman -S nvidia-open");
        assert_eq!(command(arch, "6.12.10-1-lts", ada), "sudo pacman -S nvidia-lts-open");
        assert_eq!(command(arch, "6.12.10-zen1-1-zen", ada), "sudo pacman -S nvidia-open-dkms linux-zen-headers");
        assert!(help(arch, "6.12.10-1-lts", pascal).text.contains("`nvidia-580xx-dkms`"));
        let fedora = ("fedora", "Fedora Linux 41");
        assert_eq!(command(fedora, "6.11", ada), "sudo dnf install akmod-nvidia xorg-x11-drv-nvidia-cuda");
        assert!(command(fedora, "6.11", pascal).contains("akmod-nvidia-580xx"));
        let debian = ("debian", "Debian GNU/Linux 12 (bookworm)");
        assert_eq!(command(debian, "6.1.0-18-amd64", ada), "sudo apt install nvidia-driver");
        assert!(
            help(debian, "6.1.0-18-amd64", blackwell).text.contains("of branch 535 here, and 570 or newer is needed")
        );
        let bullseye = ("debian", "Debian GNU/Linux 11 (bullseye)");
        assert!(help(bullseye, "5.10.0-30-amd64", ada).text.contains("of branch 470 here, and 525 or newer is needed"));
        assert_eq!(command(("debian", "Debian GNU/Linux forky/sid"), "6.18", ada), "sudo apt install nvidia-driver");
        assert!(help(("opensuse-tumbleweed", "openSUSE"), "6.18", pascal).text.contains("branch 580 at most"));
    }

    #[test]
    fn a_kernel_gets_its_module_from_where_the_others_came() {
        let mut facts = unloaded();
        facts.machine.kernel = found("6.11.7-300.fc41.x86_64".to_owned());
        let way = |facts: &crate::facts::Facts| {
            let help = judge(&RULE, facts).findings.remove(0).help;
            help.into_iter().filter_map(|help| help.command).collect::<Vec<_>>()
        };
        let on = |facts: &mut crate::facts::Facts, distribution: &str, path: &str| {
            facts.machine.distribution_id = found(distribution.to_owned());
            facts.driver.modules =
                vec![InstalledModule { kernel: "6".to_owned(), path: format!("/lib/modules/6/{path}/nvidia.ko.xz") }];
        };
        on(&mut facts, "fedora", "extra/nvidia");
        assert_eq!(way(&facts)[0], "sudo akmods --force --kernels 6.11.7-300.fc41.x86_64");
        facts.driver.headers = found(false);
        assert_eq!(way(&facts)[0], "sudo dnf install kernel-devel-6.11.7-300.fc41.x86_64");
        on(&mut facts, "rocky", "extra/nvidia");
        assert!(way(&facts).is_empty());
        on(&mut facts, "ubuntu", "kernel/nvidia-535srv");
        assert_eq!(way(&facts)[0], "sudo apt install linux-modules-nvidia-535-server-6.11.7-300.fc41.x86_64");
        on(&mut facts, "ubuntu", "kernel/nvidia-new-kind");
        assert!(way(&facts).is_empty());
        on(&mut facts, "arch", "updates/dkms");
        facts.machine.kernel = found("6.12.10-1-lts".to_owned());
        facts.driver.dkms = vec![DkmsModule {
            version: "590.44.01".to_owned(),
            kernels: vec![],
            path: "/var/lib/dkms/nvidia".to_owned(),
        }];
        assert_eq!(way(&facts)[..2], ["sudo pacman -S linux-lts-headers", "sudo dkms autoinstall -k 6.12.10-1-lts"]);
        // Into a kernel whose files are gone nothing is loaded any more.
        facts.driver.modules_gone =
            Some(Evidence::file("/lib/modules/6.12.10-1-lts", "not there, and this kernel runs"));
        assert_eq!(way(&facts), ["sudo reboot"]);
    }

    #[test]
    fn only_a_key_that_is_there_is_enrolled() {
        let mut facts = unloaded();
        facts.driver.modules = machine().driver.modules;
        facts.driver.userspace = machine().driver.userspace;
        facts.driver.secure_boot = found(true);
        let way = |facts: &crate::facts::Facts| judge(&RULE, facts).findings[0].help[0].command.clone().unwrap();
        facts.driver.mok = vec![Evidence::file("/var/lib/shim-signed/mok/MOK.priv", "is there")];
        assert_eq!(way(&facts), "sudo modprobe nvidia");
        let folder = "/usr/share/nvidia-pubkeys/MOK-nvidia-driver-G06";
        let keys = [
            "/var/lib/shim-signed/mok/MOK.der".to_owned(),
            format!("{folder}-a.der"),
            format!("{folder}-535.54.03.der"),
        ];
        facts.driver.mok = keys.iter().map(|key| Evidence::file(key, "is there")).collect();
        assert_eq!(way(&facts), format!("sudo mokutil --import {}", keys[0]));
        facts.driver.modules[0].path = "/lib/modules/6.1.0-18-amd64/updates/nvidia.ko".to_owned();
        assert_eq!(way(&facts), format!("sudo mokutil --import {}", keys[2]));
        // Ubuntu has signed this one.
        facts.driver.modules[0].path = "/lib/modules/6.1.0-18-amd64/kernel/nvidia-535/nvidia.ko".to_owned();
        assert_eq!(titles(&RULE, &facts), ["NVIDIA's driver is installed for this kernel but not loaded"]);
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
    fn a_loaded_module_that_refuses_the_gpu_is_found() {
        let refused = |device: &str, open: Option<bool>| {
            let mut facts = machine();
            facts.pci = vec![PciDevice { driver: None, ..pci("0000:01:00.0", device) }];
            facts.driver.gpus.clear();
            facts.driver.gpus_listed = found(true);
            facts.driver.open_module = open;
            facts
        };
        let title = |facts: &crate::facts::Facts| titles(&RULE, facts).remove(0);
        assert!(title(&refused("0x2b85", Some(false))).contains("5090 needs NVIDIA's open kernel module"));
        assert!(title(&refused("0x1db1", Some(true))).contains("needs NVIDIA's closed kernel module"));
        for (device, open) in [("0x2330", Some(false)), ("0x2b85", Some(true)), ("0xffff", None)] {
            assert!(title(&refused(device, open)).starts_with("NVIDIA's kernel module is loaded and does not drive"));
        }
        // A driver that is older than the GPU knows it neither closed nor open.
        let with = |distribution: &str, open| {
            let mut facts = refused("0x2b85", Some(open));
            facts.machine.distribution_id = found(distribution.to_owned());
            judge(&RULE, &facts).findings.remove(0).help.remove(0)
        };
        assert_eq!(with("ubuntu", false).command.as_deref(), Some("sudo apt install nvidia-driver-570-open"));
        assert!(with("debian", false).text.contains("branch 570 or newer, the first one for this GPU, with its open"));
        assert!(with("ubuntu", true).text.contains("branch 570 or newer"));
        // A legacy branch is named where the driver has left the GPU behind.
        let mut old = refused("0x13bb", Some(false));
        old.driver.kernel = vec![crate::rules::testing::reading("/sys/module/nvidia/version", "590.44.01")];
        assert!(judge(&RULE, &old).findings[0].help[0].text.contains("branch 580 at most"));
        let facts = refused("0x2b85", Some(false));
        assert_eq!(judge(&RULE, &facts).findings[0].breaks, [(Subject::Machine, Break::Cuda)]);
        // Its node may be missing for this reason, which is told once.
        assert!(silent(&super::super::device_node_inaccessible::RULE, &facts));

        // Where one of the two witnesses is missing, or speaks of another machine, nothing is claimed.
        let spoil: [&dyn Fn(&mut crate::facts::Facts); 4] = [
            &|facts| facts.driver.gpus_listed = crate::facts::Probed::default(),
            &|facts| facts.driver.gpus = machine().driver.gpus,
            &|facts| facts.pci[0].driver = Some("nvidia".to_owned()),
            &|facts| facts.machine.container = Some(Container::default()),
        ];
        for spoil in spoil {
            let mut facts = facts.clone();
            spoil(&mut facts);
            assert!(silent(&RULE, &facts));
        }
    }

    #[test]
    fn the_closed_module_may_list_a_gpu_that_it_refuses() {
        let mut facts = machine();
        facts.pci = vec![pci("0000:01:00.0", "0x2b85")];
        facts.driver.gpus[0].model = Some("NVIDIA GeForce RTX 5090".to_owned());
        facts.driver.gpus_listed = found(true);
        facts.driver.open_module = Some(false);
        assert!(silent(&RULE, &facts));
        facts.driver.gpus[0].firmware = Some("N/A".to_owned());
        assert_eq!(titles(&RULE, &facts).len(), 1);
        for (device, model) in [("0x2330", "NVIDIA H100 80GB HBM3"), ("0x1db1", "Tesla V100-SXM2-16GB")] {
            facts.pci[0].device = device.to_owned();
            facts.driver.gpus[0].model = Some(model.to_owned());
            assert!(silent(&RULE, &facts), "{model}");
        }
    }

    #[test]
    fn a_second_gpu_without_a_driver_is_noted() {
        let mut facts = machine();
        facts.driver.gpus_listed = found(true);
        facts.pci.push(PciDevice { driver: None, ..pci("0000:02:00.0", "0x13bb") });
        let said = judge(&RULE, &facts);
        assert_eq!((said.findings[0].level, said.findings[0].breaks.len()), (Some(Level::Note), 0));
        facts.pci[1].driver = Some("vfio-pci".to_owned());
        facts.driver.rivals = vec![Evidence::file("/sys/bus/pci/devices/0000:02:00.0/driver", "vfio-pci")];
        assert!(silent(&RULE, &facts));
        // The module is what is missing, not the card that was given away.
        facts.driver.loaded = found(false);
        facts.driver.kernel.clear();
        facts.driver.gpus.clear();
        facts.pci[0].driver = None;
        assert_eq!(titles(&RULE, &facts), ["NVIDIA's driver is installed for this kernel but not loaded"]);
    }

    #[test]
    fn a_module_that_is_loaded_when_asked_for_is_not_missed() {
        let mut facts = machine();
        facts.driver.loaded = found(false);
        facts.driver.kernel.clear();
        facts.driver.gpus.clear();
        facts.driver.nodes.clear();
        facts.pci[0].driver = None;
        assert_eq!(titles(&RULE, &facts).len(), 1);
        facts.driver.modprobe = found(true);
        let said = judge(&RULE, &facts);
        assert_eq!((said.findings.len(), said.unknown[0].breaks), (0, Some(Break::Cuda)));
        let off = Evidence::file("/etc/prime-discrete", "off");
        let spoil: [&dyn Fn(&mut crate::facts::Facts); 5] = [
            &|facts| facts.driver.switched_off = Some(off.clone()),
            &|facts| facts.driver.secure_boot = found(true),
            &|facts| facts.driver.modules.clear(),
            &|facts| facts.driver.libcuda = bare().driver.libcuda,
            &|facts| facts.driver.rivals = vec![Evidence::file("/proc/modules", "nouveau is loaded")],
        ];
        for spoil in spoil {
            let mut facts = facts.clone();
            spoil(&mut facts);
            assert_eq!(titles(&RULE, &facts).len(), 1);
        }
        facts.driver.switched_off = Some(off);
        assert_eq!(judge(&RULE, &facts).findings[0].help[0].command.as_deref(), Some("sudo prime-select nvidia"));
    }

    #[test]
    fn what_keeps_the_module_out_is_taken_back_by_its_maker() {
        let mut facts = unloaded();
        facts.driver.libcuda = machine().driver.libcuda;
        facts.driver.modules = machine().driver.modules;
        facts.driver.modprobe = found(true);
        let way = |at: &str, says: &str| {
            let mut facts = facts.clone();
            facts.driver.held_back = Some(Evidence::file(at, says));
            let said = judge(&RULE, &facts);
            said.findings.first().map(|finding| (finding.title.clone(), finding.help[0].clone()))
        };
        let kept = "NVIDIA's kernel module is kept from loading";
        for (at, says, command) in [
            ("/etc/modprobe.d/system76-power.conf", "alias nvidia off", Some("sudo system76-power graphics hybrid")),
            ("/etc/modprobe.d/b.conf", "alias nvidia off (written by EnvyControl)", Some("sudo envycontrol -s hybrid")),
            ("/lib/modprobe.d/b.conf", "alias nvidia off (written by nvidia-prime)", Some("sudo prime-select nvidia")),
            ("/etc/modprobe.d/own.conf", "install nvidia /bin/false", None),
        ] {
            let (title, help) = way(at, says).unwrap();
            assert_eq!((title.as_str(), help.command.as_deref()), (kept, command));
            assert!(command.is_some() || help.text.contains(at));
        }
        // Who asks for a module by its name gets it, whatever the blacklist says.
        assert_eq!(way("/etc/modprobe.d/own.conf", "blacklist nvidia"), None);
        facts.driver.modprobe = crate::facts::Probed::Absent;
        facts.driver.held_back = Some(Evidence::file("/etc/modprobe.d/own.conf", "blacklist nvidia"));
        let said = judge(&RULE, &facts);
        assert_eq!(said.findings[0].help[0].command.as_deref(), Some("sudo modprobe nvidia"));
        assert!(said.findings[0].help[1].text.contains("own.conf"));
        // The rule of udev that takes a GPU off the bus has not done so.
        facts.driver.switched_off = Some(Evidence::file("/etc/udev/rules.d/50-remove-nvidia.rules", "remove"));
        assert_eq!(titles(&RULE, &facts), ["NVIDIA's driver is installed for this kernel but not loaded"]);
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
