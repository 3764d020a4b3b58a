//! The machine itself from files: system, processor, C library, container, WSL; asks no program.

use crate::facts::{Container, Evidence, Machine, Probed, Wsl};
use crate::host::{Host, HostError};
use crate::version::Dotted;

/// The release of the running kernel.
pub(super) const OSRELEASE: &str = "/proc/sys/kernel/osrelease";
/// The C library is read up to this many bytes when its version stands nowhere else.
const LIBC_LIMIT: u64 = 8 << 20;
/// dpkg's list of packages is read up to this many bytes.
const DPKG_LIMIT: u64 = 64 << 20;

/// Folders in which distributions keep shared libraries, the specific ones first.
pub(crate) const LIBRARY_FOLDERS: &[&str] = &[
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/lib/x86_64-linux-gnu",
    "/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/lib64",
    "/usr/lib",
    "/lib",
    "/usr/local/lib",
    "/usr/local/lib64",
];

/// Reads the machine itself.
pub fn probe(host: &Host) -> Machine {
    let arch = arch(host);
    let release = os_release(host);
    let field = |key: &str| match &release {
        Ok((path, text)) => os_release_field(path, text, key),
        Err(error) if error.is_absent() => Probed::Absent,
        Err(error) => Probed::failed(error.to_string()),
    };
    Machine {
        os: if host.is_rooted() { "linux" } else { std::env::consts::OS }.to_owned(),
        distribution: field("PRETTY_NAME"),
        distribution_id: field("ID"),
        kernel: kernel(host),
        glibc: glibc(host),
        avx: avx(host, &arch),
        user: host.user().clone(),
        wsl: wsl(host),
        container: container(host),
        pci_unlisted: pci_unlisted(host),
        tegra: tegra(host, &arch),
        arch,
    }
}

/// The name of the machine in its network, for taking it out of what is shown to others.
pub fn host_name(host: &Host) -> Option<String> {
    ["/proc/sys/kernel/hostname", "/etc/hostname"].into_iter().find_map(|path| {
        let name = host.read_lossy(path).ok()?.trim().to_owned();
        (!name.is_empty() && name != "(none)").then_some(name)
    })
}

fn arch(host: &Host) -> String {
    if !host.is_rooted() {
        return std::env::consts::ARCH.to_owned();
    }
    let programs = [
        "/bin/sh",
        "/usr/bin/env",
        "/lib64/ld-linux-x86-64.so.2",
        "/lib/ld-linux-aarch64.so.1",
        "/lib64/ld64.so.2",
        "/lib/x86_64-linux-gnu/libc.so.6",
        "/lib/aarch64-linux-gnu/libc.so.6",
        "/usr/lib64/libc.so.6",
    ];
    if let Some(name) = programs.iter().find_map(|path| elf_machine(&host.read_head(path, 20).ok()?)) {
        return name.to_owned();
    }
    // A recorded tree may hold no program at all, but its folders still name the processor.
    let folders = [("/usr/lib/x86_64-linux-gnu", "x86_64"), ("/usr/lib/aarch64-linux-gnu", "aarch64")];
    let mut named = folders.iter().filter(|(folder, _)| host.is_dir(folder)).map(|(_, arch)| *arch);
    match (named.next(), named.next()) {
        (Some(arch), None) => arch.to_owned(),
        _ => std::env::consts::ARCH.to_owned(),
    }
}

/// The processor that the first bytes of an ELF file name.
fn elf_machine(head: &[u8]) -> Option<&'static str> {
    if head.get(..4)? != b"\x7fELF" {
        return None;
    }
    let pair = [*head.get(18)?, *head.get(19)?];
    let number = if head.get(5) == Some(&2) { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) };
    match number {
        3 => Some("x86"),
        21 => Some("powerpc64"),
        22 => Some("s390x"),
        40 => Some("arm"),
        62 => Some("x86_64"),
        183 => Some("aarch64"),
        243 => Some("riscv64"),
        _ => None,
    }
}

fn os_release(host: &Host) -> Result<(&'static str, String), HostError> {
    let first = "/etc/os-release";
    match host.read_lossy(first) {
        Ok(text) => Ok((first, text)),
        Err(error) if error.is_absent() => {
            host.read_lossy("/usr/lib/os-release").map(|text| ("/usr/lib/os-release", text))
        }
        Err(error) => Err(error),
    }
}

fn os_release_field(path: &str, text: &str, key: &str) -> Probed<String> {
    for (number, line) in (1u32..).zip(text.lines()) {
        if let Some((name, value)) = line.split_once('=')
            && name.trim() == key
        {
            let value = value.trim().trim_matches(['"', '\'']);
            if !value.is_empty() {
                return Probed::found(value.to_owned(), Evidence::file(path, line).line(number));
            }
        }
    }
    Probed::Absent
}

/// The release of the running kernel.
pub(crate) fn kernel(host: &Host) -> Probed<String> {
    match host.read_lossy(OSRELEASE) {
        Ok(text) if !text.trim().is_empty() => {
            Probed::found(text.trim().to_owned(), Evidence::file(OSRELEASE, &text).line(1))
        }
        Ok(_) => Probed::failed(format!("{OSRELEASE} is empty")),
        Err(error) => Probed::failed(error.to_string()),
    }
}

fn glibc(host: &Host) -> Probed<Dotted> {
    let library = LIBRARY_FOLDERS.iter().map(|folder| format!("{folder}/libc.so.6")).find(|path| host.is_file(path));
    // Up to 2.33 the real file carries the version in its name.
    if let Some(path) = &library {
        let real = host.real_text(path);
        if let Some(version) = libc_name(&real) {
            return Probed::found(version, Evidence::file(path, format!("is {real}")));
        }
    }
    let script = "/usr/bin/ldd";
    if let Ok(bytes) = host.read_head(script, 64 << 10)
        && let Some((version, line, says)) = ldd_version(&String::from_utf8_lossy(&bytes))
    {
        return Probed::found(version, Evidence::file(script, says).line(line));
    }
    if let Some(path) = &library
        && let Ok(bytes) = host.read(path, LIBC_LIMIT)
        && let Some((version, says)) = libc_banner(&bytes)
    {
        return Probed::found(version, Evidence::file(path, says));
    }
    let package = dpkg_version(host, |name| name == "libc6");
    if let Some((_, version, evidence)) = package {
        return Probed::found(version, evidence);
    }
    if library.is_none() {
        let musl = host.names("/lib").iter().any(|name| name.starts_with("ld-musl-"));
        return if musl { Probed::Absent } else { Probed::failed("no libc.so.6 was found in the library folders") };
    }
    Probed::failed("neither the library nor ldd states the version")
}

/// The version in `libc-2.31.so`.
fn libc_name(path: &str) -> Option<Dotted> {
    path.rsplit('/').next()?.strip_prefix("libc-")?.strip_suffix(".so")?.parse().ok()
}

/// The version that the script `ldd` prints: `echo 'ldd (Debian GLIBC 2.36-9) 2.36'`.
fn ldd_version(script: &str) -> Option<(Dotted, u32, &str)> {
    (1u32..).zip(script.lines()).find_map(|(number, line)| {
        let (_, after) = line.split_once("ldd (")?;
        let (_, version) = after.rsplit_once(')')?;
        Some((Dotted::find_in(version)?, number, line))
    })
}

/// The version in the text that the C library prints when it is run.
fn libc_banner(bytes: &[u8]) -> Option<(Dotted, String)> {
    const MARK: &[u8] = b"GNU C Library ";
    let at = bytes.windows(MARK.len()).position(|window| window == MARK)?;
    let text = String::from_utf8_lossy(bytes.get(at..bytes.len().min(at + 200))?);
    let line = text.lines().next()?;
    let (_, version) = line.rsplit_once("version ")?;
    Some((Dotted::find_in(version)?, line.to_owned()))
}

/// The first installed package that dpkg knows by a wanted name: name, upstream version, evidence.
pub(crate) fn dpkg_version(host: &Host, wanted: impl Fn(&str) -> bool) -> Option<(String, Dotted, Evidence)> {
    let path = "/var/lib/dpkg/status";
    let bytes = host.read_head(path, DPKG_LIMIT).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let (mut name, mut installed) = ("", false);
    for (number, line) in (1u32..).zip(text.lines()) {
        if let Some(value) = line.strip_prefix("Package: ") {
            (name, installed) = (value.trim(), false);
        } else if let Some(value) = line.strip_prefix("Status: ") {
            installed = value.trim_end().ends_with(" installed");
        } else if let Some(value) = line.strip_prefix("Version: ")
            && installed
            && wanted(name)
            && let Some(version) = debian_upstream(value)
        {
            return Some((name.to_owned(), version, Evidence::file(path, format!("{name} {value}")).line(number)));
        }
    }
    None
}

/// The upstream part of a Debian version: `1:535.54.03-1` gives `535.54.03`.
fn debian_upstream(text: &str) -> Option<Dotted> {
    let text = text.trim();
    let text = text.split_once(':').map_or(text, |(_, rest)| rest);
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    text.get(..end)?.trim_end_matches('.').parse().ok()
}

fn avx(host: &Host, arch: &str) -> Probed<bool> {
    if arch != "x86_64" {
        return Probed::Skipped { why: "only x86-64 processors have it".to_owned() };
    }
    let path = "/proc/cpuinfo";
    // One processor's entry is enough, and the file of a large machine is long.
    let bytes = match host.read_head(path, 64 << 10) {
        Ok(bytes) => bytes,
        Err(error) => return Probed::failed(error.to_string()),
    };
    let text = String::from_utf8_lossy(&bytes);
    let flags = (1u32..).zip(text.lines()).find_map(|(number, line)| {
        let (key, flags) = line.split_once(':')?;
        (key.trim() == "flags").then_some((number, flags))
    });
    let Some((number, flags)) = flags else { return Probed::failed(format!("{path} has no line `flags`")) };
    let has = flags.split_whitespace().any(|flag| flag == "avx");
    let says = if has { "flags: … avx …" } else { "flags without avx" };
    Probed::found(has, Evidence::file(path, says).line(number))
}

fn wsl(host: &Host) -> Option<Wsl> {
    let folder = "/usr/lib/wsl";
    let by_kernel = [OSRELEASE, "/proc/version"].into_iter().find_map(|path| {
        let text = host.read_lossy(path).ok()?;
        Some((wsl_version(&text)?, Evidence::file(path, &text).line(1)))
    });
    let dxg = host.exists("/dev/dxg");
    let (version, evidence) = by_kernel
        .or_else(|| host.is_dir(format!("{folder}/lib")).then(|| (2, Evidence::file(folder, "is there"))))
        .or_else(|| dxg.then(|| (2, Evidence::file("/dev/dxg", "is there"))))?;
    let libcuda = format!("{folder}/lib/libcuda.so.1");
    Some(Wsl { version, evidence, dxg, libcuda: host.is_file(&libcuda).then_some(libcuda) })
}

/// An image of a container, or a copy of some folders, has no bus: what is on that of its machine nobody can tell.
///
/// On the machine itself there is none where the kernel shows none.
fn pci_unlisted(host: &Host) -> Option<String> {
    let folder = super::pci::DEVICES;
    (host.is_rooted() && !host.is_dir(folder)).then(|| format!("the tree has no {folder}"))
}

/// 1 or 2, where a kernel's name says that it is Microsoft's.
fn wsl_version(kernel: &str) -> Option<u8> {
    let lower = kernel.to_ascii_lowercase();
    if lower.contains("wsl2") || lower.contains("microsoft-standard") {
        return Some(2);
    }
    if !lower.contains("microsoft") {
        return None;
    }
    // WSL 1 answers with a fixed 4.4 kernel; the second generation began with 4.19.
    let numbers = Dotted::find_in(kernel)?;
    Some(if (numbers.major(), numbers.minor()) <= (4, 4) { 1 } else { 2 })
}

/// The container that encloses the process, where there is one.
pub(crate) fn container(host: &Host) -> Option<Container> {
    let made = |kind: &str, evidence| Some(Container { kind: kind.to_owned(), evidence });
    let there = |path: &str| host.exists(path).then(|| Evidence::file(path, "is there"));
    if host.env_nonempty("KUBERNETES_SERVICE_HOST").is_some() {
        return made("kubernetes", Evidence::env("KUBERNETES_SERVICE_HOST", "is set"));
    }
    if let Some(evidence) = there("/var/run/secrets/kubernetes.io").or_else(|| there("/run/secrets/kubernetes.io")) {
        return made("kubernetes", evidence);
    }
    if let Some(evidence) = there("/.dockerenv") {
        return made("docker", evidence);
    }
    if let Some(evidence) = there("/.flatpak-info") {
        return made("flatpak", evidence);
    }
    if host.env_nonempty("CH_RUNNING").is_some() {
        return made("charliecloud", Evidence::env("CH_RUNNING", "is set"));
    }
    // A toolbox is a container of Podman's that has its host's devices.
    if let Some(evidence) = there("/run/.toolboxenv") {
        return made("toolbox", evidence);
    }
    if let Some(evidence) = there("/run/.containerenv") {
        return made("podman", evidence);
    }
    if let Some(evidence) = there("/.singularity.d") {
        return made("apptainer", evidence);
    }
    let systemd = "/run/systemd/container";
    // systemd counts WSL among containers; it is none that hides devices.
    if let Ok(text) = host.read_lossy(systemd)
        && text.trim() != "wsl"
    {
        return made(container_kind(text.trim()), Evidence::file(systemd, &text).line(1));
    }
    let environ = "/proc/1/environ";
    if let Ok(bytes) = host.read_head(environ, 256 << 10) {
        let said = bytes.split(|&byte| byte == 0).find_map(|pair| pair.strip_prefix(b"container="));
        if let Some(value) = said.map(String::from_utf8_lossy)
            && !value.is_empty()
            && value != "wsl"
        {
            return made(container_kind(&value), Evidence::file(environ, format!("container={value}")));
        }
    }
    let cgroup = "/proc/1/cgroup";
    let text = host.read_lossy(cgroup).unwrap_or_default();
    let line = (1u32..).zip(text.lines()).find_map(|(number, line)| Some((cgroup_kind(line)?, number, line)));
    if let Some((kind, number, line)) = line {
        return made(kind, Evidence::file(cgroup, line).line(number));
    }
    // A kernel in user space, which says that it was built at this one second, whatever release it claims to be.
    let version = "/proc/version";
    let text = host.read_lossy(version).ok()?;
    let gvisor = text.contains("-gvisor ") || text.contains("#1 SMP Sun Jan 10 15:06:54 PST 2016");
    made("gvisor", Evidence::file(version, &text).line(1)).filter(|_| gvisor)
}

/// The name of a container manager by the word with which it marks its containers.
fn container_kind(word: &str) -> &'static str {
    match word {
        "docker" => "docker",
        "podman" => "podman",
        "lxc" | "lxc-libvirt" => "lxc",
        "systemd-nspawn" => "systemd-nspawn",
        "kubernetes" | "kube" => "kubernetes",
        "apptainer" | "singularity" => "apptainer",
        _ => "unknown",
    }
}

/// The container manager that made a control group of the first process.
fn cgroup_kind(line: &str) -> Option<&'static str> {
    let path = line.rsplit(':').next()?;
    path.split('/').find_map(|part| match part {
        "docker" => Some("docker"),
        "lxc" => Some("lxc"),
        _ if part.starts_with("docker-") && part.strip_suffix(".scope").is_some() => Some("docker"),
        _ if part.starts_with("kubepods") => Some("kubernetes"),
        _ if part.starts_with("libpod-") => Some("podman"),
        _ if part.starts_with("lxc.payload") => Some("lxc"),
        _ => None,
    })
}

/// A Jetson, by the note that NVIDIA's own images hold, else by the device tree or the driver of its GPU: those of
/// Yocto and `NixOS` hold no note, and containers get none.
fn tegra(host: &Host, arch: &str) -> Option<Evidence> {
    let note = "/etc/nv_tegra_release";
    if let Ok(bytes) = host.read_head(note, 4096) {
        let text = String::from_utf8_lossy(&bytes);
        return Some(Evidence::file(note, text.lines().next().unwrap_or_default()).line(1));
    }
    // The 32-bit ones have no GPU for CUDA, or an old one.
    if arch != "aarch64" {
        return None;
    }
    let by_tree =
        ["/proc/device-tree/compatible", "/sys/firmware/devicetree/base/compatible"].iter().find_map(|path| {
            let bytes = host.read_head(path, 4096).ok()?;
            let mut names = bytes.split(|&byte| byte == 0);
            let name = names.find(|name| name.starts_with(b"nvidia,tegra"))?;
            Some(Evidence::file(*path, String::from_utf8_lossy(name)))
        });
    by_tree.or_else(|| {
        let path = ["/sys/module/nvgpu", "/dev/nvhost-gpu"].into_iter().find(|path| host.exists(path))?;
        Some(Evidence::file(path, "is there"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing::Tree;
    use proptest::prelude::*;

    #[test]
    fn a_debian_tree_is_read() {
        let tree = Tree::new();
        tree.write("/usr/lib/os-release", "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n")
            .link("../usr/lib/os-release", "/etc/os-release")
            .write(OSRELEASE, "6.1.0-13-amd64\n")
            .write("/usr/bin/ldd", "#! /bin/bash\necho 'ldd (Debian GLIBC 2.36-9+deb12u14) 2.36'\n")
            .write("/lib/x86_64-linux-gnu/libc.so.6", "")
            .folder("/usr/lib/x86_64-linux-gnu")
            .write("/proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu sse avx2\n")
            .write("/proc/1/cgroup", "0::/init.scope\n");
        let machine = probe(&tree.host(&[]));
        assert_eq!((machine.os.as_str(), machine.arch.as_str()), ("linux", "x86_64"));
        assert_eq!(machine.distribution_id.value().unwrap(), "debian");
        assert_eq!(machine.kernel.value().unwrap(), "6.1.0-13-amd64");
        assert_eq!(machine.glibc.value().unwrap().as_str(), "2.36");
        assert_eq!(machine.glibc.evidence().unwrap().line, Some(2));
        // `avx2` alone is not `avx`.
        assert_eq!(machine.avx.value(), Some(&false));
        assert_eq!((machine.wsl, machine.container, machine.tegra), (None, None, None));
    }

    #[test]
    fn the_c_library_tells_its_version_in_several_ways() {
        let named = Tree::new();
        named.write("/lib64/libc-2.17.so", "").link("libc-2.17.so", "/lib64/libc.so.6");
        assert_eq!(glibc(&named.host(&[])).value().unwrap().as_str(), "2.17");
        let banner = Tree::new();
        let text = "\0GNU C Library (Ubuntu GLIBC 2.39-0ubuntu8) stable release version 2.39.\nCopyright";
        banner.write("/lib64/libc.so.6", text);
        assert_eq!(glibc(&banner.host(&[])).value().unwrap().as_str(), "2.39");
        let musl = Tree::new();
        musl.write("/lib/ld-musl-x86_64.so.1", "");
        assert!(glibc(&musl.host(&[])).is_absent());
        assert!(glibc(&Tree::new().host(&[])).unknown().is_some());
        let dpkg = Tree::new();
        dpkg.write("/lib64/libc.so.6", "")
            .write("/var/lib/dpkg/status", "Package: libc6\nStatus: install ok installed\nVersion: 2.36-9+deb12u14\n");
        assert_eq!(glibc(&dpkg.host(&[])).value().unwrap().as_str(), "2.36");
    }

    #[test]
    fn the_processor_of_a_tree_is_that_of_its_programs() {
        let tree = Tree::new();
        tree.write("/bin/sh", "\u{7f}ELF\u{2}\u{1}\u{1}\0\0\0\0\0\0\0\0\0\u{3}\0\u{3e}\0");
        assert_eq!(probe(&tree.host(&[])).arch, "x86_64");
        assert_eq!(elf_machine(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\xb7\0"), Some("aarch64"));
        assert_eq!(elf_machine(b"\x7fELF"), None);
    }

    #[test]
    fn wsl_is_told_by_its_kernel() {
        assert_eq!(wsl_version("5.15.90.1-microsoft-standard-WSL2"), Some(2));
        assert_eq!(wsl_version("4.4.0-19041-Microsoft"), Some(1));
        assert_eq!(wsl_version("6.1.0-13-amd64"), None);
        let tree = Tree::new();
        tree.write(OSRELEASE, "5.15.90.1-microsoft-standard-WSL2\n")
            .write("/usr/lib/wsl/lib/libcuda.so.1", "")
            .write("/run/systemd/container", "wsl\n");
        let machine = probe(&tree.host(&[]));
        let wsl = machine.wsl.unwrap();
        assert!(!wsl.dxg && wsl.libcuda.is_some());
        assert_eq!(machine.container, None);
    }

    #[test]
    fn a_jetson_is_told_without_its_note() {
        let tree = Tree::new();
        tree.write("/proc/device-tree/compatible", "nvidia,p3701-0000\0nvidia,tegra234\0");
        assert_eq!(tegra(&tree.host(&[]), "aarch64").unwrap().says, "nvidia,tegra234");
        assert_eq!(tegra(&tree.host(&[]), "arm"), None);
        let tree = Tree::new();
        tree.write("/proc/device-tree/compatible", "raspberrypi,5-model-b\0brcm,bcm2712\0");
        assert_eq!(tegra(&tree.host(&[]), "aarch64"), None);
        tree.folder("/sys/module/nvgpu");
        assert_eq!(tegra(&tree.host(&[]), "aarch64").unwrap().at, "/sys/module/nvgpu");
    }

    #[test]
    fn containers_are_told_by_their_marks() {
        let kind = |make: &dyn Fn(&Tree), env: &[(&str, &str)]| {
            let tree = Tree::new();
            make(&tree);
            container(&tree.host(env)).map(|container| container.kind)
        };
        assert_eq!(
            kind(
                &|t| {
                    t.write("/.dockerenv", "");
                },
                &[]
            )
            .as_deref(),
            Some("docker")
        );
        assert_eq!(
            kind(
                &|t| {
                    t.write("/run/.containerenv", "");
                },
                &[]
            )
            .as_deref(),
            Some("podman")
        );
        assert_eq!(kind(&|_| (), &[("KUBERNETES_SERVICE_HOST", "10.0.0.1")]).as_deref(), Some("kubernetes"));
        assert_eq!(kind(&|_| (), &[("CH_RUNNING", "yes")]).as_deref(), Some("charliecloud"));
        assert_eq!(
            kind(
                &|t| {
                    t.write("/proc/1/environ", "A=1\0container=lxc\0");
                },
                &[]
            )
            .as_deref(),
            Some("lxc")
        );
        assert_eq!(
            kind(
                &|t| {
                    t.write("/proc/1/cgroup", "0::/system.slice/docker.service\n");
                },
                &[]
            ),
            None
        );
        let scope = "0::/system.slice/docker-0123.scope\n";
        assert_eq!(
            kind(
                &|t| {
                    t.write("/proc/1/cgroup", scope);
                },
                &[]
            )
            .as_deref(),
            Some("docker")
        );
        let version = |text: &'static str| {
            let tree = Tree::new();
            tree.write("/proc/version", text);
            container(&tree.host(&[])).map(|container| container.kind)
        };
        assert_eq!(version("Linux version 4.4.0 #1 SMP Sun Jan 10 15:06:54 PST 2016\n").as_deref(), Some("gvisor"));
        assert_eq!(version("Linux version 4.19.0-gvisor #1 SMP Mon Mar 1 2027\n").as_deref(), Some("gvisor"));
        assert_eq!(version("Linux version 4.4.0-21-generic #37-Ubuntu SMP Mon Apr 18 18:33:37 UTC 2016\n"), None);
        assert_eq!(kind(&|_| (), &[]), None);
    }

    proptest! {
        #[test]
        fn parsers_never_panic(text in "\\PC{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = (ldd_version(&text), libc_name(&text), wsl_version(&text), cgroup_kind(&text));
            let _ = (os_release_field("", &text, "ID"), debian_upstream(&text));
            let _ = (elf_machine(&bytes), libc_banner(&bytes));
        }
    }
}
