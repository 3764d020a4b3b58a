//! The NVIDIA driver from files: module, libraries, nodes, devices it lists; opens no device and loads nothing.

use std::collections::BTreeSet;

use crate::facts::{
    DeviceNode, DkmsModule, Driver, Evidence, Fabric, InstalledModule, LibcudaCopy, LibcudaKind, MigDevice, PciDevice,
    Probed, ProcGpu, Reading, Resolution,
};
use crate::host::{Host, Kind};
use crate::probe::loader::Search;
use crate::probe::machine::{LIBRARY_FOLDERS, OSRELEASE, container, dpkg_version, kernel as kernel_release};
use crate::version::Dotted;

/// What the loaded driver says of itself.
const PROC: &str = "/proc/driver/nvidia";
/// Folders beside the usual ones in which drivers put their libraries.
const DRIVER_FOLDERS: &[&str] = &[
    "/usr/lib/wsl/lib",
    "/usr/local/nvidia/lib64",
    "/usr/local/nvidia/lib",
    "/usr/lib64/nvidia",
    "/usr/lib/nvidia",
    "/usr/lib/x86_64-linux-gnu/nvidia/current",
    "/usr/lib/aarch64-linux-gnu/nvidia/current",
    "/usr/lib/aarch64-linux-gnu/tegra",
    "/usr/lib/aarch64-linux-gnu/nvidia",
    "/usr/lib/x86_64-linux-gnu/stubs",
    "/usr/lib/aarch64-linux-gnu/stubs",
    "/run/opengl-driver/lib",
    "/home/kubernetes/bin/nvidia/lib64",
    "/run/nvidia/driver/usr/lib/x86_64-linux-gnu",
    "/run/nvidia/driver/usr/lib64",
    "/usr/local/cuda/compat",
    "/opt/cuda/lib64/stubs",
];
/// Folders looked at in one walk over kernel modules.
const WALK_LIMIT: usize = 500;
/// Processes looked at in search of the fabric manager.
const PROCESS_LIMIT: usize = 20_000;

/// Reads the driver.
pub fn probe(host: &Host, search: &Search<'_>, pci: &[PciDevice]) -> Driver {
    let libcuda = search.resolve("libcuda.so.1", &[]);
    let nvml = search.resolve("libnvidia-ml.so.1", &[]);
    let libraries = libraries(host, &[&libcuda, &nvml]);
    let nodes = nodes(host);
    let loaded = loaded(host);
    let (kernel, open_module) = kernel(host);
    let gpus_listed = gpus_listed(host, &loaded);
    let (modules, uvm_modules) = installed_modules(host);
    // Without the module there is nobody who could have reported any.
    let xids = if loaded.value() == Some(&true) {
        super::xid::probe(host)
    } else {
        Probed::Skipped { why: "no kernel module is loaded".to_owned() }
    };
    Driver {
        xids,
        uvm_loaded: uvm_loaded(host, &loaded, &nodes),
        rivals: rivals(host, pci),
        userspace: libraries.versions,
        copies: libraries.copies,
        modprobe: modprobe(host),
        switched_off: switched_off(host),
        held_back: held_back(host),
        modules,
        uvm_modules,
        modules_gone: modules_gone(host),
        headers: headers(host),
        dkms: dkms(host),
        secure_boot: secure_boot(host),
        mok: mok(host),
        gpus: gpus(host),
        fabric: fabric(host, pci, &nodes),
        mig: mig(host),
        firmware_gone: firmware_gone(host, &kernel).filter(|_| open_module == Some(true)),
        kernel,
        open_module,
        loaded,
        libcuda,
        nvml,
        nodes,
        gpus_listed,
    }
}

/// The versions that the loaded module states, and whether it says that it is the open one.
fn kernel(host: &Host) -> (Vec<Reading<Dotted>>, Option<bool>) {
    let mut readings = Vec::new();
    let path = "/sys/module/nvidia/version";
    if let Ok(text) = host.read_lossy(path)
        && let Ok(value) = text.trim().parse()
    {
        readings.push(Reading { value, evidence: Evidence::file(path, &text).line(1) });
    }
    let path = format!("{PROC}/version");
    let text = host.read_lossy(&path).unwrap_or_default();
    let Some((line, version, open)) = (1u32..).zip(text.lines()).find_map(|(number, line)| {
        let (version, open) = module_version(line)?;
        Some(((number, line), version, open))
    }) else {
        return (readings, None);
    };
    readings.push(Reading { value: version, evidence: Evidence::file(path, line.1).line(line.0) });
    (readings, Some(open))
}

/// The version in a line such as `NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.54.03  Tue …`,
/// and whether it names the open module.
fn module_version(line: &str) -> Option<(Dotted, bool)> {
    let (before, after) = line.split_once("Kernel Module")?;
    Some((Dotted::find_in(after)?, before.contains("Open")))
}

/// Whether the kernel finds no firmware of the module's version where it looks for firmware.
fn firmware_gone(host: &Host, kernel: &[Reading<Dotted>]) -> Option<Evidence> {
    const ROOT: &str = "/lib/firmware";
    let version = &kernel.first()?.value;
    let elsewhere =
        host.read_lossy("/sys/module/firmware_class/parameters/path").is_ok_and(|path| !path.trim().is_empty())
            || host.read_lossy("/proc/cmdline").is_ok_and(|line| line.contains("firmware_class.path="));
    // A tree without any firmware was not copied whole.
    if elsewhere || container(host).is_some() || host.names(ROOT).is_empty() {
        return None;
    }
    let release = host.read_lossy(OSRELEASE).ok()?;
    let release = release.trim();
    let folders = [format!("updates/{release}/"), "updates/".to_owned(), format!("{release}/"), String::new()];
    let holds = |folder: &String| {
        host.names(format!("{ROOT}/{folder}nvidia/{version}")).iter().any(|name| name.starts_with("gsp"))
    };
    let gone = || Evidence::file(format!("{ROOT}/nvidia/{version}"), "holds no gsp_….bin");
    (!folders.iter().any(holds)).then(gone)
}

/// Whether a kernel module is loaded, as far as /sys/module and /proc/modules tell.
fn module_loaded(host: &Host, name: &str) -> Option<Probed<bool>> {
    let folder = format!("/sys/module/{name}");
    if host.is_dir(&folder) {
        return Some(Probed::found(true, Evidence::file(folder, "is there")));
    }
    let list = "/proc/modules";
    let text = host.read_lossy(list).ok()?;
    let line = (1u32..).zip(text.lines()).find(|(_, line)| line.split_whitespace().next() == Some(name));
    Some(match line {
        Some((number, line)) => Probed::found(true, Evidence::file(list, line).line(number)),
        None => Probed::found(false, Evidence::file(list, format!("does not list {name}"))),
    })
}

fn loaded(host: &Host) -> Probed<bool> {
    let path = format!("{PROC}/version");
    let modules = module_loaded(host, "nvidia");
    if matches!(modules, Some(Probed::Found { value: true, .. })) {
        return modules.unwrap_or_default();
    }
    if host.is_file(&path) {
        return Probed::found(true, Evidence::file(path, "is there"));
    }
    if let Some(reading) = modules {
        return reading;
    }
    // An image of a container has no /sys of its own, and gVisor shows no modules: the machine beneath may have it.
    if !host.is_dir("/sys/module") {
        return Probed::Skipped { why: "neither /sys/module nor /proc/modules is there".to_owned() };
    }
    Probed::found(false, Evidence::file("/sys/module/nvidia", "is not there"))
}

fn uvm_loaded(host: &Host, loaded: &Probed<bool>, nodes: &[DeviceNode]) -> Probed<bool> {
    if let Some(reading) = module_loaded(host, "nvidia_uvm") {
        return reading;
    }
    if loaded.value() == Some(&false) {
        return Probed::found(false, Evidence::file("/sys/module/nvidia_uvm", "is not there"));
    }
    if !host.is_rooted() && host.is_dir("/sys/module") {
        return Probed::found(false, Evidence::file("/sys/module/nvidia_uvm", "is not there"));
    }
    // A recorded tree may hold only the parts that someone copied.
    match nodes.iter().find(|node| node.path == "/dev/nvidia-uvm") {
        Some(node) => Probed::found(true, Evidence::file(&node.path, "is there")),
        None => Probed::Skipped { why: "neither /sys/module/nvidia_uvm nor /proc/modules is there".to_owned() },
    }
}

/// What owns NVIDIA's devices in place of its driver: the bus knows best, the list of modules is second.
fn rivals(host: &Host, pci: &[PciDevice]) -> Vec<Evidence> {
    let gpus: Vec<&PciDevice> = pci.iter().filter(|device| device.is_nvidia_gpu()).collect();
    let bound: Vec<(&PciDevice, &str)> =
        gpus.iter().filter_map(|device| Some((*device, device.driver.as_deref()?))).collect();
    if !bound.is_empty() || gpus.is_empty() {
        let foreign = bound.into_iter().filter(|(_, driver)| *driver != "nvidia");
        return foreign.map(|(device, driver)| Evidence::file(format!("{}/driver", device.path), driver)).collect();
    }
    if host.is_dir("/sys/module/nvidia") {
        return Vec::new();
    }
    ["nouveau", "nova_core"]
        .into_iter()
        .filter_map(|name| match module_loaded(host, name)? {
            Probed::Found { value: true, evidence } => Some(Evidence { says: format!("{name} is loaded"), ..evidence }),
            _ => None,
        })
        .collect()
}

/// What was found of user-space libraries.
struct Libraries {
    versions: Vec<Reading<Dotted>>,
    copies: Vec<LibcudaCopy>,
}

fn libraries(host: &Host, resolutions: &[&Resolution]) -> Libraries {
    let mut folders: Vec<String> =
        LIBRARY_FOLDERS.iter().chain(DRIVER_FOLDERS).map(|folder| (*folder).to_owned()).collect();
    for name in host.names("/usr/local").into_iter().filter(|name| name.starts_with("cuda")) {
        let below = ["compat", "lib64/stubs", "targets/x86_64-linux/lib/stubs", "targets/sbsa-linux/lib/stubs"];
        folders.extend(below.iter().map(|part| format!("/usr/local/{name}/{part}")));
    }
    for entry in host.env("LD_LIBRARY_PATH").unwrap_or_default().split([':', ';']).filter(|entry| !entry.is_empty()) {
        folders.push(host.absolute(entry).to_string_lossy().into_owned());
    }
    for resolution in resolutions {
        let chosen = resolution.file.value().into_iter().flat_map(|library| [&library.path, &library.real]);
        let others = resolution.others.iter().map(|other| &other.path);
        folders.extend(chosen.chain(others).filter_map(|path| Some(path.rsplit_once('/')?.0.to_owned())));
    }

    let mut seen = BTreeSet::new();
    let mut met = BTreeSet::new();
    let mut found = Libraries { versions: Vec::new(), copies: Vec::new() };
    for folder in folders {
        let Ok(real) = host.real(&folder) else { continue };
        if !seen.insert(real) {
            continue;
        }
        let mut names: Vec<String> = host.names_where(&folder, driver_library);
        // The name that programs ask for stands for its file; the others only where it is missing.
        crate::sort::by_key(&mut names, |name| (!name.ends_with(".so.1"), name.len()));
        for name in names {
            let path = format!("{folder}/{name}");
            if !host.is_file(&path) {
                continue;
            }
            let real = host.real_text(&path);
            let version = file_version(&real);
            let kind = kind_of(&path, &real);
            if name.starts_with("libcuda.so") && met.insert((folder.clone(), real.clone())) {
                let version = version.clone();
                found.copies.push(LibcudaCopy { path: path.clone(), real: real.clone(), kind, version });
            }
            if let Some(value) = version
                && matches!(kind, LibcudaKind::Driver | LibcudaKind::Wsl)
                && !found.versions.iter().any(|reading| reading.evidence.at == real)
            {
                let says = real.rsplit('/').next().unwrap_or_default().to_owned();
                found.versions.push(Reading { value, evidence: Evidence::file(real, says) });
            }
        }
    }
    found
}

fn driver_library(name: &str) -> bool {
    ["libcuda.so", "libnvidia-ml.so"].iter().any(|stem| {
        name.strip_prefix(stem).is_some_and(|rest| {
            rest.is_empty() || rest.strip_prefix('.').is_some_and(|version| version.parse::<Dotted>().is_ok())
        })
    })
}

/// The version in a file's name; `libcuda.so.1` states none, `libcuda.so.1.1` of WSL neither.
fn file_version(path: &str) -> Option<Dotted> {
    let version = Dotted::from_file_name(path.rsplit('/').next()?)?;
    (version.len() >= 2 && version.major() >= 10).then_some(version)
}

/// What a copy of libcuda is, by the folder in which it lies.
pub(crate) fn kind_of(path: &str, real: &str) -> LibcudaKind {
    let lies_in = |wanted: &[&str]| {
        [path, real].iter().any(|path| {
            let mut parts = path.split('/').rev();
            parts.next();
            parts.any(|part| wanted.contains(&part))
        })
    };
    if lies_in(&["stubs"]) {
        LibcudaKind::Stub
    } else if lies_in(&["compat", "cuda-compat"]) {
        LibcudaKind::Compat
    } else if [path, real].iter().any(|path| path.starts_with("/usr/lib/wsl/")) {
        LibcudaKind::Wsl
    } else {
        LibcudaKind::Driver
    }
}

/// Where the modules of all kernels lie.
fn modules_root(host: &Host) -> &'static str {
    if host.names("/lib/modules").is_empty() { "/usr/lib/modules" } else { "/lib/modules" }
}

/// Some distributions take the modules of the running kernel away when they install a newer one.
fn modules_gone(host: &Host) -> Option<Evidence> {
    let kernel = host.read_lossy(OSRELEASE).ok()?;
    let (root, kernel) = (modules_root(host), kernel.trim());
    let installed = host.names(root);
    let gone = !kernel.is_empty() && !installed.is_empty() && !installed.iter().any(|name| name == kernel);
    gone.then(|| Evidence::file(format!("{root}/{kernel}"), "not there, and this kernel runs"))
}

/// The main modules of the driver on disk, and those named `nvidia_uvm`.
fn installed_modules(host: &Host) -> (Vec<InstalledModule>, Vec<InstalledModule>) {
    let root = modules_root(host);
    let mut found = (Vec::new(), Vec::new());
    let mut budget = WALK_LIMIT;
    for kernel in host.names(root) {
        let places = ["updates", "extra", "extramodules", "weak-updates", "misc", "video", "kernel/drivers/video"];
        let mut places: Vec<String> = places.iter().map(|place| format!("{root}/{kernel}/{place}")).collect();
        // Ubuntu's prebuilt modules lie in `kernel/nvidia-535`.
        let prebuilt = host.names(format!("{root}/{kernel}/kernel"));
        let prebuilt = prebuilt.into_iter().filter(|name| name.starts_with("nvidia"));
        places.extend(prebuilt.map(|name| format!("{root}/{kernel}/kernel/{name}")));
        for place in places {
            walk_modules(host, &kernel, &place, 3, &mut budget, &mut found);
        }
    }
    found
}

/// Whether what modules are built with is there for the running kernel, of which there is a folder.
fn headers(host: &Host) -> Probed<bool> {
    let Probed::Found { value: kernel, .. } = kernel_release(host) else { return Probed::default() };
    let root = modules_root(host);
    if host.names(root).is_empty() {
        return Probed::Skipped { why: "no kernel has a folder of modules".to_owned() };
    }
    let folder = format!("{root}/{kernel}");
    if !host.is_dir(&folder) {
        return Probed::Skipped { why: "this kernel has no folder of modules".to_owned() };
    }
    let build = format!("{folder}/build");
    let there = host.is_dir(&build);
    Probed::found(there, Evidence::file(build, if there { "is there" } else { "leads to no headers" }))
}

fn walk_modules(
    host: &Host,
    kernel: &str,
    folder: &str,
    depth: u32,
    budget: &mut usize,
    found: &mut (Vec<InstalledModule>, Vec<InstalledModule>),
) {
    let Some(left) = budget.checked_sub(1) else { return };
    let Ok(entries) = host.list(folder) else { return };
    *budget = left;
    for entry in entries {
        let path = format!("{folder}/{}", entry.name);
        if entry.kind == Kind::Folder && depth > 1 {
            walk_modules(host, kernel, &path, depth - 1, budget, found);
            continue;
        }
        let list = match module_of(&entry.name) {
            Some(DriverModule::Main) => &mut found.0,
            Some(DriverModule::Uvm) => &mut found.1,
            None => continue,
        };
        // `weak-updates` holds links, which may lead nowhere.
        if host.is_file(&path) {
            list.push(InstalledModule { kernel: kernel.to_owned(), path });
        }
    }
}

/// Two of the modules of which the driver consists.
#[derive(Debug, PartialEq, Eq)]
enum DriverModule {
    /// The one that drives the device.
    Main,
    /// The one that only CUDA needs.
    Uvm,
}

/// Which of the driver's modules a file is: `nvidia.ko`, `nvidia-uvm.ko`, Debian's `nvidia-current.ko` and
/// `nvidia-current-uvm.ko`, packed or not.
fn module_of(name: &str) -> Option<DriverModule> {
    let (stem, packed) = name.split_once(".ko")?;
    if !["", ".xz", ".zst", ".gz"].contains(&packed) {
        return None;
    }
    // The kernel takes both signs for the same.
    if let Some(stem) = stem.strip_suffix("-uvm").or_else(|| stem.strip_suffix("_uvm")) {
        return is_main_module(stem).then_some(DriverModule::Uvm);
    }
    is_main_module(stem).then_some(DriverModule::Main)
}

fn is_main_module(stem: &str) -> bool {
    match stem {
        "nvidia" | "nvidia-current" | "nvidia-current-open" => true,
        _ => ["nvidia-legacy-", "nvidia-tesla-", "nvidia-tesla"].iter().any(|start| {
            stem.strip_prefix(start).is_some_and(|rest| {
                rest.is_empty() || rest.strip_suffix("xx").unwrap_or(rest).bytes().all(|byte| byte.is_ascii_digit())
            })
        }),
    }
}

/// Whether the helper is there that the driver's libraries run as root, whoever started the program.
///
/// Its path is fixed in the libraries. In a tree the owner of a file is whoever copied it.
fn modprobe(host: &Host) -> Probed<bool> {
    let path = "/usr/bin/nvidia-modprobe";
    let stat = match host.stat(path) {
        Ok(stat) if stat.kind == Kind::File => stat,
        Ok(_) => return Probed::Absent,
        Err(error) if error.is_absent() => return Probed::Absent,
        Err(error) => return Probed::failed(error.to_string()),
    };
    let of_root = host.is_rooted() || stat.uid == 0;
    let works = of_root && stat.mode & 0o4000 != 0 && stat.mode & 0o111 != 0;
    // An administrator who says so makes the nodes another way.
    let params = format!("{PROC}/params");
    let text = host.read_lossy(&params).unwrap_or_default();
    let line = (1u32..).zip(text.lines()).find(|(_, line)| line.split_whitespace().eq(["ModifyDeviceFiles:", "0"]));
    match line.filter(|_| works) {
        Some((number, line)) => Probed::found(false, Evidence::file(params, line).line(number)),
        None => Probed::found(works, Evidence::file(path, format!("mode {:04o}, owner {}", stat.mode, stat.uid))),
    }
}

/// What has taken the NVIDIA GPU of a hybrid machine off the bus, or its power.
fn switched_off(host: &Host) -> Option<Evidence> {
    let path = "/etc/prime-discrete";
    if let Ok(text) = host.read_lossy(path)
        && text.trim() == "off"
    {
        return Some(Evidence::file(path, "off").line(1));
    }
    let path = "/proc/acpi/bbswitch";
    let text = host.read_lossy(path).unwrap_or_default();
    if let Some((number, line)) = (1u32..).zip(text.lines()).find(|(_, line)| line.trim_end().ends_with("OFF")) {
        return Some(Evidence::file(path, line).line(number));
    }
    configured(host, "udev/rules.d", ".rules", |line| {
        line.contains("0x10de") && line.contains("==\"0x03") && line.contains("{remove}=\"1\"")
    })
}

/// A line that keeps the module `nvidia` from loading: even where it is asked for by name, else (`blacklist`) only where
/// the kernel asks for whatever drives the device.
fn held_back(host: &Host) -> Option<Evidence> {
    let find = |wanted: fn(&[&str]) -> bool| {
        configured(host, "modprobe.d", ".conf", |line| wanted(&line.split_whitespace().collect::<Vec<_>>()))
    };
    find(|words| match words {
        ["alias", "nvidia", "off"] => true,
        ["install", "nvidia", program, ..] => matches!(program.rsplit('/').next(), Some("false" | "true")),
        _ => false,
    })
    .or_else(|| find(|words| words == ["blacklist", "nvidia"]))
}

/// The first line of a kind in a configuration of udev or kmod: of files of one name the first folder's counts.
///
/// Programs that switch GPUs sign what they write, which tells who can take it back.
fn configured(host: &Host, folder: &str, ending: &str, wanted: impl Fn(&str) -> bool) -> Option<Evidence> {
    let mut seen = BTreeSet::new();
    for above in ["/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib"] {
        let folder = format!("{above}/{folder}");
        for name in host.names_where(&folder, |name| name.ends_with(ending)) {
            if !seen.insert(name.clone()) {
                continue;
            }
            let path = format!("{folder}/{name}");
            let text = host.read_lossy(&path).unwrap_or_default();
            let Some((number, line)) = (1u32..).zip(text.lines()).find(|(_, line)| wanted(line)) else { continue };
            let maker =
                ["EnvyControl", "nvidia-prime", "system76-power"].into_iter().find(|maker| text.contains(maker));
            let says = maker.map_or_else(|| line.to_owned(), |maker| format!("{line} (written by {maker})"));
            return Some(Evidence::file(path, says).line(number));
        }
    }
    None
}

fn dkms(host: &Host) -> Vec<DkmsModule> {
    let root = "/var/lib/dkms";
    let driver = |name: &String| {
        name == "nvidia"
            || ["current", "open", "srv", "legacy", "tesla"]
                .iter()
                .any(|kind| name.strip_prefix("nvidia-").is_some_and(|rest| rest.starts_with(kind)))
    };
    let mut found = Vec::new();
    for name in host.names(root).into_iter().filter(driver) {
        for version in host.names(format!("{root}/{name}")) {
            let path = format!("{root}/{name}/{version}");
            if !version.starts_with(|c: char| c.is_ascii_digit()) || !host.is_dir(&path) {
                continue;
            }
            let entries = host.list(&path).unwrap_or_default().into_iter();
            let kernels = entries
                .filter(|entry| entry.kind == Kind::Folder && entry.name != "build" && entry.name != "source")
                .map(|entry| entry.name)
                .collect();
            found.push(DkmsModule { version, kernels, path });
        }
    }
    found
}

fn secure_boot(host: &Host) -> Probed<bool> {
    if !host.is_dir("/sys/firmware/efi") {
        return if host.names("/sys").is_empty() {
            Probed::Skipped { why: "there is no /sys".to_owned() }
        } else {
            Probed::Absent
        };
    }
    let folder = "/sys/firmware/efi/efivars";
    let path = format!("{folder}/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c");
    match host.read_head(&path, 16) {
        // Four bytes of attributes come before the value.
        Ok(bytes) if bytes.len() == 5 => {
            let on = bytes.last() == Some(&1);
            Probed::found(on, Evidence::file(path, if on { "the last byte is 1" } else { "the last byte is not 1" }))
        }
        Ok(bytes) => Probed::failed(format!("{path} has {} bytes, not 5", bytes.len())),
        Err(error) if error.is_absent() && !host.names(folder).is_empty() => Probed::Absent,
        Err(error) => Probed::failed(error.to_string()),
    }
}

/// Public keys with which the tools of distributions sign the modules that they build: Ubuntu's and Debian's DKMS, the
/// akmods of Fedora, and the packages of openSUSE, which leave one for each driver.
fn mok(host: &Host) -> Vec<Evidence> {
    let fixed = ["/var/lib/shim-signed/mok/MOK.der", "/var/lib/dkms/mok.pub", "/etc/pki/akmods/certs/public_key.der"];
    let folder = "/usr/share/nvidia-pubkeys";
    let packaged = host.names_where(folder, |name| name.starts_with("MOK-"));
    let packaged = packaged.into_iter().map(|name| format!("{folder}/{name}"));
    let paths = fixed.into_iter().map(str::to_owned).chain(packaged);
    paths.filter(|path| host.is_file(path)).map(|path| Evidence::file(path, "is there")).collect()
}

fn nodes(host: &Host) -> Vec<DeviceNode> {
    let mut paths: Vec<String> =
        host.names("/dev").iter().filter(|name| is_node(name)).map(|name| format!("/dev/{name}")).collect();
    paths.extend(host.names("/dev/nvidia-caps").iter().map(|name| format!("/dev/nvidia-caps/{name}")));
    let mut nodes: Vec<DeviceNode> = paths.into_iter().filter_map(|path| node(host, path)).collect();
    if !nodes.is_empty()
        && let Some(list) = device_wall(host)
    {
        for node in nodes.iter_mut().filter(|node| node.path == "/dev/nvidiactl") {
            (node.open, node.why) = (Some(false), Some(format!("{list} has no line for its major, 195")));
        }
    }
    nodes
}

/// The list of a device cgroup, of its first version, that lets nobody open a node of NVIDIA's major.
///
/// The second version has no list.
fn device_wall(host: &Host) -> Option<String> {
    let folder = "/sys/fs/cgroup/devices";
    let cgroups = host.read_lossy("/proc/self/cgroup").unwrap_or_default();
    let own = cgroups.lines().find_map(|line| line.split_once(":devices:"))?.1.trim_end_matches('/').to_owned();
    let lists = [format!("{folder}{own}/devices.list"), format!("{folder}/devices.list")];
    let (path, list) = lists.into_iter().find_map(|path| host.read_lossy(&path).ok().map(|list| (path, list)))?;
    let opens = |line: &str| {
        let mut words = line.split_whitespace();
        let (kind, number, may) = (words.next(), words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let major = number.split(':').next();
        matches!(kind, Some("a" | "c")) && matches!(major, Some("*" | "195")) && may.contains('r') && may.contains('w')
    };
    (!list.trim().is_empty() && !list.lines().any(opens)).then_some(path)
}

/// Whether a name under /dev is one of the driver's nodes.
fn is_node(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("nvidia") else { return false };
    matches!(rest, "ctl" | "-uvm" | "-uvm-tools" | "-modeset" | "-vgpuctl")
        || rest.starts_with("-nvswitch")
        || (!rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit()))
}

fn node(host: &Host, path: String) -> Option<DeviceNode> {
    let stat = host.stat(&path).ok()?;
    if stat.kind == Kind::Folder {
        return None;
    }
    let open = host.may_use_node(&path);
    let why = (open == Some(false)).then(|| {
        let who = host.user().uid.map_or_else(|| "the user".to_owned(), |uid| format!("user {uid}"));
        format!("mode {:04o}, owner {}, group {}: not open to {who}", stat.mode, stat.uid, stat.gid)
    });
    let character = stat.kind == Kind::Character;
    Some(DeviceNode { path, character, mode: stat.mode, uid: stat.uid, gid: stat.gid, open, why })
}

fn gpus(host: &Host) -> Vec<ProcGpu> {
    let folder = format!("{PROC}/gpus");
    let read = |address: String| {
        let path = format!("{folder}/{address}/information");
        let text = host.read_lossy(&path).ok()?;
        Some(information(&text, address, path))
    };
    host.names(&folder).into_iter().filter_map(read).collect()
}

/// Reads the `information` file of one GPU.
fn information(text: &str, address: String, path: String) -> ProcGpu {
    let field = |key: &str| {
        text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            (name.trim() == key).then(|| value.trim().to_owned()).filter(|value| !value.is_empty())
        })
    };
    ProcGpu {
        model: field("Model").filter(|model| model != "Unknown"),
        // A user who may not read it sees question marks.
        uuid: field("GPU UUID").filter(|uuid| !uuid.contains('?')),
        minor: field("Device Minor").and_then(|minor| minor.parse().ok()),
        firmware: field("GPU Firmware"),
        address,
        path,
    }
}

fn gpus_listed(host: &Host, loaded: &Probed<bool>) -> Probed<bool> {
    let folder = format!("{PROC}/gpus");
    match host.list(&folder) {
        Ok(entries) => Probed::found(true, Evidence::file(folder, format!("{} devices", entries.len()))),
        Err(error) if error.is_absent() && loaded.value() == Some(&false) => Probed::Absent,
        Err(error) if error.is_absent() && host.is_rooted() => {
            Probed::Skipped { why: format!("{folder} is not there") }
        }
        Err(error) => Probed::failed(error.to_string()),
    }
}

fn fabric(host: &Host, pci: &[PciDevice], nodes: &[DeviceNode]) -> Fabric {
    let mut switches: Vec<Evidence> = pci
        .iter()
        .filter(|device| device.is_nvswitch())
        .map(|device| Evidence::file(&device.path, format!("vendor {}, class {}", device.vendor, device.class)))
        .collect();
    // `/dev/nvidia-nvswitchctl` is the module's own and needs no switch.
    let node = |node: &&DeviceNode| {
        let number = node.path.strip_prefix("/dev/nvidia-nvswitch");
        number.is_some_and(|number| number.parse::<u32>().is_ok())
    };
    switches.extend(nodes.iter().filter(node).map(|node| Evidence::file(&node.path, "is there")));
    let listed = "/proc/driver/nvidia-nvswitch/devices";
    let devices = host.names(listed);
    switches.extend(devices.iter().map(|name| Evidence::file(format!("{listed}/{name}"), "is there")));
    if switches.is_empty() {
        let skipped = || "there is no NVSwitch".to_owned();
        let running = Probed::Skipped { why: skipped() };
        return Fabric { switches, installed: Probed::Skipped { why: skipped() }, running };
    }
    Fabric { switches, installed: manager_installed(host), running: manager_running(host) }
}

fn manager_installed(host: &Host) -> Probed<Dotted> {
    let package = |name: &str| {
        name.strip_prefix("nvidia-fabricmanager").is_some_and(|rest| {
            rest.is_empty() || rest.strip_prefix('-').is_some_and(|n| n.bytes().all(|byte| byte.is_ascii_digit()))
        })
    };
    if let Some((_, version, evidence)) = dpkg_version(host, package) {
        return Probed::found(version, evidence);
    }
    match ["/usr/bin/nv-fabricmanager", "/usr/local/bin/nv-fabricmanager"].iter().find(|path| host.is_file(path)) {
        Some(path) => Probed::failed(format!("{path} is there but no file states its version")),
        None => Probed::Absent,
    }
}

fn manager_running(host: &Host) -> Probed<bool> {
    // The kernel cuts the name of a process after 15 characters.
    let is_manager = |pid: &str| {
        let path = format!("/proc/{pid}/comm");
        let text = host.read_lossy(&path).ok()?;
        text.starts_with("nv-fabricmanag").then(|| Probed::found(true, Evidence::file(path, text)))
    };
    let processes: Vec<String> = host
        .names("/proc")
        .into_iter()
        .filter(|name| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit()))
        .take(PROCESS_LIMIT)
        .collect();
    if let Some(running) = processes.iter().find_map(|pid| is_manager(pid)) {
        return running;
    }
    let folders = ["/run/nvidia-fabricmanager", "/var/run/nvidia-fabricmanager"];
    let mut note = folders.iter().flat_map(|folder| {
        let names = host.names(folder).into_iter().filter(|name| name.strip_suffix(".pid").is_some());
        names.map(move |name| format!("{folder}/{name}"))
    });
    match (note.next(), processes.is_empty()) {
        // Without a list of processes the note that it left is all there is.
        (Some(path), true) => Probed::found(true, Evidence::file(path, "is there")),
        (None, true) => Probed::Skipped { why: "no processes can be listed".to_owned() },
        (_, false) if container(host).is_some() => {
            Probed::failed("it would run outside this container, where processes cannot be seen")
        }
        (_, false) => Probed::found(false, Evidence::file("/proc", "no process is named nv-fabricmanager")),
    }
}

fn mig(host: &Host) -> Vec<MigDevice> {
    let root = format!("{PROC}/capabilities");
    let number = |name: &str, prefix: &str| name.strip_prefix(prefix).and_then(|rest| rest.parse::<u32>().ok());
    let mut found = Vec::new();
    for gpu in host.names(&root) {
        let Some(index) = number(&gpu, "gpu") else { continue };
        for instance in host.names(format!("{root}/{gpu}/mig")) {
            let Some(of_gpu) = number(&instance, "gi") else { continue };
            let path = format!("{root}/{gpu}/mig/{instance}");
            let parts = host.names(&path).iter().filter(|name| number(name, "ci").is_some()).count();
            let compute_instances = u32::try_from(parts).unwrap_or(u32::MAX);
            found.push(MigDevice { gpu: index, instance: of_gpu, compute_instances, path });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::pci;
    use crate::probe::testing::Tree;
    use proptest::prelude::*;

    fn read(tree: &Tree, env: &[(&str, &str)]) -> Driver {
        let host = tree.host(env);
        let pci = pci::probe(&host);
        probe(&host, &Search::new(&host), &pci)
    }

    fn gpu(tree: &Tree, driver: &str) {
        let folder = "/sys/bus/pci/devices/0000:01:00.0";
        tree.write(&format!("{folder}/vendor"), "0x10de\n").write(&format!("{folder}/class"), "0x030200\n");
        tree.link(&format!("../../../bus/pci/drivers/{driver}"), &format!("{folder}/driver"));
    }

    #[test]
    fn a_loaded_driver_is_read() {
        let tree = Tree::new();
        gpu(&tree, "nvidia");
        tree.write("/sys/module/nvidia/version", "535.54.03\n")
            .folder("/sys/module/nvidia_uvm")
            .write(
                "/proc/driver/nvidia/version",
                "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  535.54.03  Release Build\nGCC version: 12.2\n",
            )
            .write(
                "/proc/driver/nvidia/gpus/0000:01:00.0/information",
                "Model: \t\t NVIDIA H100\nGPU UUID: \t GPU-????????-????\nBus Location: \t 0000:01:00.0\nGPU Firmware: \t N/A\nDevice Minor: \t 0\n",
            )
            .write("/usr/lib/x86_64-linux-gnu/libcuda.so.535.54.03", "")
            .link("libcuda.so.535.54.03", "/usr/lib/x86_64-linux-gnu/libcuda.so.1")
            .link("libcuda.so.1", "/usr/lib/x86_64-linux-gnu/libcuda.so")
            .write("/usr/local/cuda-12.4/compat/libcuda.so.550.54.15", "")
            .write("/usr/local/cuda-12.4/lib64/stubs/libcuda.so", "")
            .write("/dev/nvidia0", "")
            .write("/dev/nvidiactl", "")
            .write("/dev/nvidia-caps/nvidia-cap1", "")
            .folder("/proc/driver/nvidia/capabilities/gpu0/mig/gi1/ci0");
        let driver = read(&tree, &[]);
        assert_eq!(driver.kernel.len(), 2);
        assert!(driver.kernel.iter().all(|reading| reading.value.as_str() == "535.54.03"));
        assert_eq!(driver.open_module, Some(true));
        assert_eq!((driver.loaded.value(), driver.uvm_loaded.value()), (Some(&true), Some(&true)));
        assert!(driver.rivals.is_empty());
        assert_eq!(driver.userspace.len(), 1);
        let copies: Vec<_> = driver.copies.iter().map(|copy| (copy.kind, copy.path.as_str())).collect();
        assert_eq!(
            copies,
            [
                (LibcudaKind::Driver, "/usr/lib/x86_64-linux-gnu/libcuda.so.1"),
                (LibcudaKind::Compat, "/usr/local/cuda-12.4/compat/libcuda.so.550.54.15"),
                (LibcudaKind::Stub, "/usr/local/cuda-12.4/lib64/stubs/libcuda.so"),
            ]
        );
        assert_eq!((driver.gpus[0].minor, driver.gpus[0].firmware.as_deref()), (Some(0), Some("N/A")));
        assert_eq!((driver.gpus[0].model.as_deref(), driver.gpus[0].uuid.as_deref()), (Some("NVIDIA H100"), None));
        assert_eq!(driver.gpus_listed.value(), Some(&true));
        assert_eq!(driver.nodes.len(), 3);
        assert_eq!((driver.mig[0].gpu, driver.mig[0].instance, driver.mig[0].compute_instances), (0, 1, 1));
        assert!(driver.secure_boot.is_absent());
    }

    #[test]
    fn what_is_not_in_a_tree_is_not_claimed() {
        let empty = read(&Tree::new(), &[]);
        assert!(empty.loaded.unknown().is_some() && empty.uvm_loaded.unknown().is_some());
        let tree = Tree::new();
        gpu(&tree, "nouveau");
        assert!(read(&tree, &[]).loaded.unknown().is_some(), "a bus tells nothing of modules");
        tree.folder("/sys/module");
        let driver = read(&tree, &[]);
        assert_eq!((driver.loaded.value(), driver.uvm_loaded.value()), (Some(&false), Some(&false)));
        assert_eq!(driver.rivals[0].says, "nouveau");
        assert!(driver.gpus_listed.is_absent());
        tree.write("/sys/module/nvidia/version", "535.54.03\n");
        assert!(read(&tree, &[]).uvm_loaded.unknown().is_some());
        tree.write("/dev/nvidia-uvm", "");
        assert_eq!(read(&tree, &[]).uvm_loaded.value(), Some(&true));
        tree.write("/proc/modules", "nvidia 1 0 - Live 0x0\n");
        assert_eq!(read(&tree, &[]).uvm_loaded.value(), Some(&false));
    }

    #[test]
    fn what_makes_nodes_and_what_switches_a_gpu_off_is_read() {
        use std::os::unix::fs::PermissionsExt as _;
        let tree = Tree::new();
        assert!(read(&tree, &[]).modprobe.is_absent());
        assert_eq!(read(&tree, &[]).switched_off, None);
        tree.write("/usr/bin/nvidia-modprobe", "program").write("/etc/prime-discrete", "on-demand\n");
        let set = |mode| {
            std::fs::set_permissions(tree.path("/usr/bin/nvidia-modprobe"), std::fs::Permissions::from_mode(mode))
        };
        set(0o755).unwrap();
        assert_eq!(read(&tree, &[]).modprobe.value(), Some(&false));
        set(0o4755).unwrap();
        assert_eq!(read(&tree, &[]).modprobe.value(), Some(&true));
        assert_eq!(read(&tree, &[]).switched_off, None);
        tree.write("/proc/driver/nvidia/params", "EnableMSI: 1\nModifyDeviceFiles: 0\n");
        let refused = read(&tree, &[]).modprobe;
        assert_eq!((refused.value(), refused.evidence().unwrap().line), (Some(&false), Some(2)));
        tree.write("/proc/acpi/bbswitch", "0000:01:00.0 OFF\n");
        assert_eq!(read(&tree, &[]).switched_off.unwrap().at, "/proc/acpi/bbswitch");
        tree.write("/etc/prime-discrete", "off\n");
        assert_eq!(read(&tree, &[]).switched_off.unwrap().at, "/etc/prime-discrete");
    }

    #[test]
    fn what_keeps_the_module_from_loading_is_read() {
        let tree = Tree::new();
        let read = || held_back(&tree.host(&[])).map(|line| (line.at, line.line.unwrap(), line.says));
        tree.write("/lib/modprobe.d/a.conf", "# alias nvidia off\nblacklist nvidiafb\noptions nvidia x=1\n");
        assert_eq!(read(), None);
        tree.write("/etc/modprobe.d/z.conf", "blacklist nvidia\n").write("/etc/modprobe.d/z.bak", "alias nvidia off\n");
        assert_eq!(read().unwrap().2, "blacklist nvidia");
        tree.write("/lib/modprobe.d/y.conf", "# This file was generated by nvidia-prime\nalias nvidia off\n");
        assert_eq!(
            read().unwrap(),
            ("/lib/modprobe.d/y.conf".to_owned(), 2, "alias nvidia off (written by nvidia-prime)".to_owned())
        );
        // A file of the same name takes its place.
        tree.write("/etc/modprobe.d/y.conf", "install nvidia modprobe -i nvidia-current\n");
        assert_eq!(read().unwrap().2, "blacklist nvidia");
        tree.write("/etc/modprobe.d/x.conf", "install nvidia /bin/false\n");
        assert_eq!(read().unwrap().0, "/etc/modprobe.d/x.conf");

        let rule = |class: &str| {
            format!(
                "SUBSYSTEM==\"pci\", ATTR{{vendor}}==\"0x10de\", ATTR{{class}}==\"{class}\", ATTR{{remove}}=\"1\"\n"
            )
        };
        let path = "/etc/udev/rules.d/50-remove-nvidia.rules";
        tree.write(path, &rule("0x040300"));
        assert_eq!(switched_off(&tree.host(&[])), None);
        tree.write(path, &rule("0x03[0-9]*"));
        assert_eq!(switched_off(&tree.host(&[])).unwrap().at, path);
    }

    #[test]
    fn modules_on_disk_are_found_for_each_kernel() {
        let tree = Tree::new();
        tree.write("/lib/modules/6.1.0-12/updates/dkms/nvidia.ko.xz", "")
            .write("/lib/modules/6.1.0-12/updates/dkms/nvidia-drm.ko.xz", "")
            .write("/lib/modules/6.1.0-12/updates/dkms/nvidia-uvm.ko.xz", "")
            .write("/lib/modules/6.1.0-13/updates/dkms/nvidia-current-uvm.ko", "")
            .write("/lib/modules/6.1.0-13/kernel/nvidia-535/nvidia.ko", "")
            .write("/lib/modules/6.1.0-13/updates/dkms/nvidia-current.ko", "")
            .folder("/var/lib/dkms/nvidia/535.54.03/6.1.0-12/x86_64")
            .folder("/var/lib/dkms/nvidia/535.54.03/build")
            .folder("/var/lib/dkms/nvidia-fs/2.0/6.1.0-12");
        let driver = read(&tree, &[]);
        assert!(driver.headers.unknown().is_some());
        let headers = |kernel: &str| {
            tree.write("/proc/sys/kernel/osrelease", kernel);
            read(&tree, &[]).headers
        };
        assert!(headers("6.1.0-11\n").unknown().is_some());
        assert!(read(&tree, &[]).modules_gone.is_some());
        tree.link("/usr/src/linux-headers-6.1.0-13", "/lib/modules/6.1.0-13/build");
        assert_eq!(headers("6.1.0-13\n").value(), Some(&false));
        tree.folder("/usr/src/linux-headers-6.1.0-13");
        assert_eq!(headers("6.1.0-13\n").value(), Some(&true));
        let kernels: Vec<_> = driver.modules.iter().map(|module| module.kernel.as_str()).collect();
        assert_eq!(kernels, ["6.1.0-12", "6.1.0-13", "6.1.0-13"]);
        let kernels: Vec<_> = driver.uvm_modules.iter().map(|module| module.kernel.as_str()).collect();
        assert_eq!(kernels, ["6.1.0-12", "6.1.0-13"]);
        assert_eq!(driver.dkms.len(), 1);
        assert_eq!(
            (driver.dkms[0].version.as_str(), &driver.dkms[0].kernels[..]),
            ("535.54.03", &["6.1.0-12".to_owned()][..])
        );
    }

    #[test]
    fn secure_boot_is_the_last_byte() {
        let tree = Tree::new();
        let path = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
        tree.write(path, "\u{6}\0\0\0\u{1}");
        assert_eq!(secure_boot(&tree.host(&[])).value(), Some(&true));
        tree.write(path, "\u{6}\0\0\0\0");
        assert_eq!(secure_boot(&tree.host(&[])).value(), Some(&false));
        tree.write(path, "");
        assert!(secure_boot(&tree.host(&[])).unknown().is_some());
        tree.write("/var/lib/dkms/mok.pub", "").write("/var/lib/shim-signed/mok/MOK.priv", "");
        tree.write("/usr/share/nvidia-pubkeys/MOK-nvidia-driver-G06-570.172.08-default.der", "");
        let keys = mok(&tree.host(&[]));
        assert_eq!((keys.len(), keys[0].at.as_str()), (2, "/var/lib/dkms/mok.pub"));
    }

    #[test]
    fn the_fabric_manager_is_looked_for_where_there_are_switches() {
        let tree = Tree::new();
        assert!(fabric(&tree.host(&[]), &[], &[]).running.unknown().is_some());
        let chipset = "/sys/bus/pci/devices/0000:00:07.0";
        tree.write(&format!("{chipset}/vendor"), "0x10de\n").write(&format!("{chipset}/class"), "0x068000\n");
        tree.write("/dev/nvidia-nvswitchctl", "");
        assert!(read(&tree, &[]).fabric.switches.is_empty());
        tree.link("../../../bus/pci/drivers/nvidia-nvswitch", &format!("{chipset}/driver"));
        assert_eq!(read(&tree, &[]).fabric.switches.len(), 1);
        let tree = Tree::new();
        tree.write("/dev/nvidia-nvswitch0", "").write("/proc/1/comm", "systemd\n").write(
            "/var/lib/dpkg/status",
            "Package: nvidia-fabricmanager-535\nStatus: install ok installed\nVersion: 535.54.03-1\n",
        );
        let found = read(&tree, &[]).fabric;
        assert_eq!((found.switches.len(), found.running.value()), (1, Some(&false)));
        assert_eq!(found.installed.value().unwrap().as_str(), "535.54.03");
        tree.write("/proc/77/comm", "nv-fabricmanage\n");
        assert_eq!(read(&tree, &[]).fabric.running.value(), Some(&true));
    }

    #[test]
    fn nodes_closed_to_the_user_say_why() {
        use std::os::unix::fs::PermissionsExt as _;
        let tree = Tree::new();
        tree.write("/etc/passwd", "ada:x:4242:4242::/home/ada:/bin/sh\n").write("/dev/nvidia0", "");
        std::fs::set_permissions(tree.path("/dev/nvidia0"), std::fs::Permissions::from_mode(0o600)).unwrap();
        let nodes = nodes(&tree.host(&[("USER", "ada")]));
        assert_eq!(nodes[0].open, Some(false));
        assert!(nodes[0].why.as_deref().unwrap().starts_with("mode 0600"));
    }

    proptest! {
        #[test]
        fn parsers_never_panic(text in "\\PC{0,120}") {
            let _ = (module_version(&text), driver_library(&text), file_version(&text), module_of(&text));
            let _ = (is_node(&text), kind_of(&text, &text), information(&text, String::new(), String::new()));
        }
    }
}
