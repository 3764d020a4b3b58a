//! Reads a machine's description, lays it out as a folder, and holds the program's report against what it expects.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde::Deserialize;
use serde_json::Value;

use super::elf::{Object, loader_cache, shared_object};
use super::packages::{Site, Wheel, wheels};

const CACHE: &str = "/etc/ld.so.cache";
const KERNEL: &str = "6.1.0-25-amd64";

/// A machine, as `tests/machines/NAME.toml` describes it; `tests/machines/README.md` says what the keys mean.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Machine {
    #[serde(skip)]
    pub(crate) name: String,
    pub(crate) about: String,
    #[serde(default)]
    pub(crate) healthy: bool,
    #[serde(default)]
    pub(crate) snapshot: bool,
    #[serde(default)]
    pub(crate) args: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    arch: Option<String>,
    #[serde(default)]
    driver: Option<String>,
    #[serde(default)]
    gpu: Vec<String>,
    #[serde(default)]
    venv: Vec<Venv>,
    /// Packages of the first environment, put over those that it has.
    #[serde(default)]
    add: Vec<String>,
    /// Packages of the first environment that were never installed.
    #[serde(default)]
    drop: Vec<String>,
    /// Packages of the first environment that are installed and then uninstalled, shared files and all.
    #[serde(default)]
    uninstalled: Vec<String>,
    /// Folders that the loader's cache covers, before the default ones.
    #[serde(default)]
    cache: Vec<String>,
    #[serde(default)]
    files: BTreeMap<String, String>,
    /// Files by their bytes, in hexadecimal.
    #[serde(default)]
    bytes: BTreeMap<String, String>,
    /// Files of this many MiB of RECORD lines.
    #[serde(default)]
    giant: BTreeMap<String, usize>,
    #[serde(default)]
    elf: BTreeMap<String, Object>,
    #[serde(default)]
    links: BTreeMap<String, String>,
    #[serde(default)]
    modes: BTreeMap<String, String>,
    #[serde(default)]
    remove: Vec<String>,
    pub(crate) expect: Expect,
}

/// A Python environment.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Venv {
    path: String,
    python: String,
    #[serde(default)]
    conda: bool,
    #[serde(default)]
    packages: Vec<String>,
}

/// What the report must say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expect {
    /// The environment that the verdicts are about; the first where it is absent.
    env: Option<String>,
    /// `sees_gpu`, `runs_on_gpu`, `uses_gpu`; `none` where the package is not there.
    sees: Option<String>,
    runs: Option<String>,
    uses: Option<String>,
    backend: Option<String>,
    /// Every finding as `rule` or `rule:level`, each once; `|` between alternatives, here and in verdicts.
    #[serde(default)]
    pub(crate) findings: Vec<String>,
    /// Findings that may be there or not.
    #[serde(default)]
    may: Vec<String>,
    /// The first reason of TensorFlow's verdict; the first finding where absent and the verdict is no `yes`.
    tf_because: Option<String>,
    /// The first reason of Keras's verdict.
    keras_because: Option<String>,
    #[serde(default)]
    exit: i32,
    /// Nothing but an orderly end is asked for.
    #[serde(default)]
    survives: bool,
}

/// Notes that come with the calendar.
const CALENDAR: [&str; 2] = ["driver-branch-ended", "database-old"];

/// Every machine, by name.
pub(crate) fn all() -> Vec<Machine> {
    let folder = folder();
    let mut names: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.strip_suffix(".toml").map(str::to_owned))
        .collect();
    names.sort();
    names.iter().map(|name| load(&folder, name)).collect()
}

/// The folder of the descriptions.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/machines")
}

fn load(folder: &Path, name: &str) -> Machine {
    let mut machine: Machine = table(folder, name, 0).try_into().unwrap_or_else(|error| panic!("{name}.toml: {error}"));
    name.clone_into(&mut machine.name);
    machine
}

/// A description with those that it is `like` put beneath.
fn table(folder: &Path, name: &str, depth: u32) -> toml::Table {
    assert!(depth < 5, "{name}: too many machines like another");
    let text =
        fs::read_to_string(folder.join(format!("{name}.toml"))).unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut own: toml::Table = text.parse().unwrap_or_else(|error| panic!("{name}.toml: {error}"));
    let Some(like) = own.remove("like") else { return own };
    let mut below = table(folder, like.as_str().expect("a name"), depth + 1);
    for gone in ["about", "healthy", "snapshot", "expect", "args"] {
        below.remove(gone);
    }
    for (key, value) in own {
        match (below.get_mut(&key), value) {
            (Some(toml::Value::Table(below)), toml::Value::Table(own)) => below.extend(own),
            (Some(toml::Value::Array(below)), toml::Value::Array(own))
                if ["remove", "add", "drop"].contains(&key.as_str()) =>
            {
                below.extend(own);
            }
            (_, value) => {
                below.insert(key, value);
            }
        }
    }
    below
}

/// A machine laid out on disk.
#[derive(Debug)]
pub(crate) struct Built {
    folder: tempfile::TempDir,
    arch: String,
}

impl Built {
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// Leaves the folder on disk, and says where.
    pub(crate) fn keep(&mut self) -> PathBuf {
        self.folder.disable_cleanup(true);
        self.folder.path().to_path_buf()
    }

    pub(crate) fn env_file(&self) -> PathBuf {
        self.folder.path().join("env")
    }

    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the program with nothing of this process's environment.
    pub(crate) fn run(args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_cargo-gpu-doctor")).env_clear().args(args).output().unwrap()
    }

    /// Runs `check` or `facts` on the tree.
    pub(crate) fn inspect(&self, command: &str, args: &[&str]) -> Output {
        let (root, env) = (self.root(), self.env_file());
        let mut all = vec![command, "--root", root.to_str().unwrap(), "--env-file", env.to_str().unwrap()];
        all.extend(args);
        Self::run(&all)
    }

    /// The folder of the system's libraries.
    fn libs(&self) -> String {
        format!("/usr/lib/{}-linux-gnu", self.arch)
    }

    /// The ELF number of the machine.
    fn elf_machine(&self) -> u16 {
        if self.arch == "aarch64" { 183 } else { 62 }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root().join(path.trim_start_matches('/'))
    }

    fn write(&self, path: &str, contents: impl AsRef<[u8]>) {
        let at = self.at(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        drop(fs::remove_file(&at));
        fs::write(&at, contents).unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    fn mode(&self, path: &str, mode: u32) {
        fs::set_permissions(self.at(path), fs::Permissions::from_mode(mode))
            .unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    fn program(&self, path: &str) {
        self.write(
            path,
            shared_object(&Object {
                needed: vec!["libc.so.6".to_owned()],
                machine: self.elf_machine(),
                ..Object::default()
            }),
        );
        self.mode(path, 0o755);
    }

    fn link(&self, path: &str, target: &str) {
        let at = self.at(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        drop(fs::remove_file(&at));
        symlink(target, &at).unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// Removes a file or folder, or with `*` at the end everything that begins so.
    fn remove(&self, path: &str) {
        let at = self.at(path);
        if let Some(start) = path.strip_suffix('*') {
            let at = self.at(start);
            let start =
                if start.ends_with('/') { String::new() } else { at.file_name().unwrap().to_str().unwrap().to_owned() };
            let parent = if start.is_empty() { at } else { at.parent().unwrap().to_path_buf() };
            let found: Vec<PathBuf> = fs::read_dir(&parent)
                .unwrap_or_else(|error| panic!("{path}: {error}"))
                .map(|entry| entry.unwrap())
                .filter(|entry| entry.file_name().to_str().unwrap().starts_with(&start))
                .map(|entry| entry.path())
                .collect();
            assert!(!found.is_empty(), "{path}: nothing to remove");
            for path in &found {
                remove(path);
            }
        } else {
            assert!(fs::symlink_metadata(&at).is_ok(), "{path}: nothing to remove");
            remove(&at);
        }
    }

    fn library(&self, path: &str, soname: &str, text: &str, size: u64) {
        self.write(
            path,
            shared_object(&Object {
                soname: soname.to_owned(),
                needed: if soname == "libc.so.6" { Vec::new() } else { vec!["libc.so.6".to_owned()] },
                text: text.to_owned(),
                machine: self.elf_machine(),
                ..Object::default()
            }),
        );
        if size > 0 {
            fs::OpenOptions::new().write(true).open(self.at(path)).unwrap().set_len(size).unwrap();
        }
    }

    /// A plain Debian 12 with the users root and ada.
    fn system(&self) {
        let arch = self.arch.as_str();
        for folder in [
            "usr/lib",
            "usr/lib64",
            "usr/bin",
            "usr/sbin",
            "proc",
            "sys/module",
            "sys/bus/pci/devices",
            "dev",
            "tmp",
            "home/ada",
            "root",
            "var/lib",
            "usr/local/lib",
        ] {
            fs::create_dir_all(self.root().join(folder)).unwrap();
        }
        for name in ["lib", "lib64", "bin", "sbin"] {
            self.link(&format!("/{name}"), &format!("usr/{name}"));
        }
        let libs = self.libs();
        let machine = self.elf_machine();
        for name in [
            "libc.so.6",
            "libm.so.6",
            "libdl.so.2",
            "libpthread.so.0",
            "librt.so.1",
            "libutil.so.1",
            "libgcc_s.so.1",
            "libstdc++.so.6",
            "libz.so.1",
        ] {
            self.write(
                &format!("{libs}/{name}"),
                shared_object(&Object {
                    soname: name.to_owned(),
                    machine,
                    text: if name == "libc.so.6" {
                        "GNU C Library (Debian GLIBC 2.36-9+deb12u10) stable release version 2.36.\n".to_owned()
                    } else {
                        String::new()
                    },
                    ..Object::default()
                }),
            );
        }
        let loader = if arch == "aarch64" { "ld-linux-aarch64.so.1" } else { "ld-linux-x86-64.so.2" };
        self.write(
            &format!("{libs}/{loader}"),
            shared_object(&Object { soname: loader.to_owned(), machine, ..Object::default() }),
        );
        self.link(&format!("/usr/lib64/{loader}"), &format!("{libs}/{loader}"));
        for name in ["/usr/bin/dash", "/usr/bin/env"] {
            self.write(
                name,
                shared_object(&Object { needed: vec!["libc.so.6".to_owned()], machine, ..Object::default() }),
            );
            self.mode(name, 0o755);
        }
        self.link("/usr/bin/sh", "dash");
        self.write("/etc/os-release", "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID=\"12\"\n");
        self.write("/etc/debian_version", "12.8\n");
        self.write("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\nada:x:61000:61000:Ada:/home/ada:/bin/sh\n");
        self.write("/etc/group", "root:x:0:\nvideo:x:44:\nada:x:61000:\n");
        self.write("/etc/ld.so.conf", "include /etc/ld.so.conf.d/*.conf\n");
        self.write(
            &format!("/etc/ld.so.conf.d/{arch}-linux-gnu.conf"),
            format!("/usr/local/lib/{arch}-linux-gnu\n/lib/{arch}-linux-gnu\n{libs}\n"),
        );
        self.write("/proc/sys/kernel/osrelease", format!("{KERNEL}\n"));
        self.write("/proc/version", format!("Linux version {KERNEL} (debian-kernel@lists.debian.org) (gcc-12 (Debian 12.2.0-14) 12.2.0) #1 SMP Debian 6.1.106-3\n"));
        self.write("/proc/cpuinfo", if arch == "aarch64" {
            "processor\t: 0\nFeatures\t: fp asimd evtstrm aes atomics\nCPU architecture: 8\n"
        } else {
            "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu vme msr sse sse2 ssse3 fma sse4_1 sse4_2 avx f16c avx2\n"
        });
        self.write("/proc/modules", "ext4 1 1 - Live 0x0\n");
        fs::create_dir_all(self.at(&format!("/lib/modules/{KERNEL}"))).unwrap();
    }

    /// A driver: the loaded kernel module, its nodes and its user-space libraries.
    fn driver(&self, version: &str, gpus: usize) {
        self.write("/sys/module/nvidia/version", format!("{version}\n"));
        self.write("/sys/module/nvidia/initstate", "live\n");
        self.write("/sys/module/nvidia_uvm/initstate", "live\n");
        self.write("/sys/module/nvidia_uvm/version", format!("{version}\n"));
        self.write("/proc/modules", "nvidia_uvm 1 0 - Live 0x0 (POE)\nnvidia 1 1 nvidia_uvm, Live 0x0 (POE)\n");
        self.write(
            "/proc/driver/nvidia/version",
            format!("NVRM version: NVIDIA UNIX x86_64 Kernel Module  {version}  Tue Aug 26 06:27:54 UTC 2025\nGCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n"),
        );
        self.write(
            "/proc/driver/nvidia/params",
            "ModifyDeviceFiles: 1\nDeviceFileUID: 0\nDeviceFileGID: 0\nDeviceFileMode: 438\n",
        );
        fs::create_dir_all(self.at("/proc/driver/nvidia/gpus")).unwrap();
        let module = format!("/lib/modules/{KERNEL}/updates/dkms/nvidia.ko");
        self.write(&module, "module");
        self.write(&format!("/lib/modules/{KERNEL}/updates/dkms/nvidia-uvm.ko"), "module");
        let mut nodes: Vec<String> = (0..gpus).map(|index| format!("/dev/nvidia{index}")).collect();
        nodes.extend(["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools"].map(str::to_owned));
        for node in nodes {
            self.write(&node, "");
            self.mode(&node, 0o666);
        }
        self.userspace(version);
    }

    fn userspace(&self, version: &str) {
        for (name, size) in [("libcuda", 30 << 20), ("libnvidia-ml", 2 << 20), ("libnvidia-ptxjitcompiler", 30 << 20)] {
            let (soname, libs) = (format!("{name}.so.1"), self.libs());
            self.library(&format!("{libs}/{name}.so.{version}"), &soname, &format!("{name} {version}"), size);
            self.link(&format!("{libs}/{soname}"), &format!("{name}.so.{version}"));
            self.link(&format!("{libs}/{name}.so"), &soname);
        }
        self.program("/usr/bin/nvidia-smi");
    }

    fn gpu(&self, index: usize, device: &str, driven: bool) {
        let address = format!("0000:{:02x}:00.0", index + 1);
        let folder = format!("/sys/bus/pci/devices/{address}");
        let id = u16::from_str_radix(device.trim_start_matches("0x"), 16).expect("a PCI device id");
        let mut config = vec![0u8; 64];
        config[..4].copy_from_slice(&[0xde, 0x10, id.to_le_bytes()[0], id.to_le_bytes()[1]]);
        config[8..12].copy_from_slice(&[0xa1, 0, 2, 3]);
        self.write(&format!("{folder}/config"), config);
        self.write(&format!("{folder}/vendor"), "0x10de\n");
        self.write(&format!("{folder}/device"), format!("{}\n", device.to_lowercase()));
        self.write(&format!("{folder}/class"), "0x030200\n");
        self.write(&format!("{folder}/power/runtime_status"), "active\n");
        self.write(
            &format!("{folder}/resource"),
            "0x00000000fa000000 0x00000000faffffff 0x0000000000040200\n0x000000d000000000 0x000000dfffffffff 0x000000000014220c\n0x0000000000000000 0x0000000000000000 0x0000000000000000\n",
        );
        if driven {
            fs::create_dir_all(self.at("/sys/bus/pci/drivers/nvidia")).unwrap();
            self.link(&format!("{folder}/driver"), "../../drivers/nvidia");
            let model = match device.to_lowercase().as_str() {
                "0x2330" => "NVIDIA H100 80GB HBM3",
                "0x20b5" => "NVIDIA A100 80GB PCIe",
                "0x15f8" => "Tesla P100-PCIE-16GB",
                "0x2b85" => "NVIDIA GeForce RTX 5090",
                "0x2684" => "NVIDIA GeForce RTX 4090",
                "0x13c0" => "NVIDIA GeForce GTX 980",
                _ => "NVIDIA Graphics Device",
            };
            self.write(
                &format!("/proc/driver/nvidia/gpus/{address}/information"),
                format!(
                    "Model: \t\t {model}\nIRQ:   \t\t 40\nGPU UUID: \t GPU-5aa1f0c2-7c3d-4e9b-8b0a-0000000000{index:02}\nVideo BIOS: \t ??.??.??.??.??\nBus Type: \t PCIe\nDMA Size: \t 47 bits\nBus Location: \t {address}\nDevice Minor: \t {index}\n"
                ),
            );
        }
    }

    fn venv(&self, venv: &Venv, add: &[String], drop: &[String], uninstalled: &[String], arch: &str) {
        let mut parts = venv.python.split('.');
        let short = format!("{}.{}", parts.next().unwrap(), parts.next().unwrap());
        let site = format!("{}/lib/python{short}/site-packages", venv.path);
        let base = "/usr/local";
        if venv.conda {
            self.program(&format!("{}/bin/python{short}", venv.path));
            self.write(&format!("{}/lib/python{short}/os.py", venv.path), "");
            self.write(&format!("{}/conda-meta/history", venv.path), "");
            self.write(
                &format!("{}/conda-meta/python-{}-h0_0.json", venv.path, venv.python),
                format!("{{\"name\": \"python\", \"version\": \"{}\", \"build\": \"h0_0\", \"files\": [\"bin/python{short}\"]}}", venv.python),
            );
            for name in ["python", "python3"] {
                self.link(&format!("{}/bin/{name}", venv.path), &format!("python{short}"));
            }
        } else {
            self.program(&format!("{base}/bin/python{short}"));
            self.link(&format!("{base}/bin/python3"), &format!("python{short}"));
            self.write(&format!("{base}/lib/python{short}/os.py"), "");
            fs::create_dir_all(self.at(&format!("{base}/lib/python{short}/site-packages"))).unwrap();
            self.link(&format!("{}/bin/python", venv.path), &format!("{base}/bin/python{short}"));
            for name in ["python3".to_owned(), format!("python{short}")] {
                self.link(&format!("{}/bin/{name}", venv.path), "python");
            }
            self.write(
                &format!("{}/pyvenv.cfg", venv.path),
                format!("home = {base}/bin\ninclude-system-site-packages = false\nversion = {}\nexecutable = {base}/bin/python{short}\n", venv.python),
            );
            self.link(&format!("{}/lib64", venv.path), "lib");
        }
        fs::create_dir_all(self.at(&site)).unwrap();
        let place = Site { python: &short.replace('.', ""), arch, conda: venv.conda };
        let name = |spec: &str| spec.split_whitespace().next().unwrap_or_default().to_owned();
        let added: Vec<String> = add.iter().map(|spec| name(spec)).collect();
        for spec in venv.packages.iter().filter(|spec| !drop.contains(&name(spec))) {
            for wheel in wheels(spec, &place) {
                if !added.contains(&wheel.name) && !drop.contains(&wheel.name) {
                    self.install(&site, &wheel, spec, venv);
                }
            }
        }
        for spec in add.iter().chain(uninstalled) {
            for wheel in wheels(spec, &place) {
                self.install(&site, &wheel, spec, venv);
            }
        }
        for spec in uninstalled {
            for wheel in wheels(spec, &place) {
                for (path, _) in &wheel.files {
                    self.remove(&format!("{site}/{path}"));
                }
                self.remove(&format!("{site}/{}", info(&wheel)));
            }
        }
    }

    fn install(&self, site: &str, wheel: &Wheel, spec: &str, venv: &Venv) {
        let info = info(wheel);
        let mut metadata = format!(
            "Metadata-Version: 2.1\nName: {}\nVersion: {}\nRequires-Python: {}\n",
            wheel.name, wheel.version, wheel.requires_python
        );
        for line in &wheel.requires {
            metadata += &format!("Requires-Dist: {line}\n");
        }
        if wheel.requires.iter().any(|line| line.contains("and-cuda")) {
            metadata += "Provides-Extra: and-cuda\n";
        }
        metadata += "\nA description.\n";
        let mut told = "Wheel-Version: 1.0\nGenerator: setuptools (78.1.1)\nRoot-Is-Purelib: false\n".to_owned();
        for tag in &wheel.tags {
            told += &format!("Tag: {tag}\n");
        }
        let mut files = wheel.files.clone();
        let installer = if venv.conda { "conda\n" } else { "pip\n" };
        files.extend(
            [("METADATA", metadata), ("WHEEL", told), ("INSTALLER", installer.to_owned())]
                .map(|(name, text)| (format!("{info}/{name}"), text.into_bytes())),
        );
        let mut record = String::new();
        for (path, bytes) in &files {
            self.write(&format!("{site}/{path}"), bytes);
            if path.contains("/bin/") {
                self.mode(&format!("{site}/{path}"), 0o755);
            }
            record += &format!("{path},,{}\n", bytes.len());
        }
        record += &format!("{info}/RECORD,,\n");
        self.write(&format!("{site}/{info}/RECORD"), record);
        if venv.conda {
            let build = spec.split_whitespace().find_map(|word| word.strip_prefix("build=")).unwrap_or("py311h0_0");
            self.write(
                &format!("{}/conda-meta/{}-{}-{build}.json", venv.path, wheel.name, wheel.version),
                format!("{{\"name\": \"{}\", \"version\": \"{}\", \"build\": \"{build}\", \"channel\": \"conda-forge\", \"files\": []}}", wheel.name, wheel.version),
            );
        }
    }

    /// Writes the loader's cache of what lies in the folders now.
    fn cache(&self, folders: &[String]) {
        let mut entries = Vec::new();
        for folder in folders {
            let Ok(found) = fs::read_dir(self.at(folder)) else { continue };
            let mut names: Vec<String> = found.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
            names.sort();
            for name in names.into_iter().filter(|name| name.contains(".so")) {
                // Links to nothing, and files behind a link of their soname, are left out, as ldconfig does.
                let linked = name.split_once(".so.").is_some_and(|(_, rest)| rest.contains('.'));
                if linked && !self.at(folder).join(&name).is_symlink() {
                    continue;
                }
                if fs::metadata(self.at(folder).join(&name)).is_ok() {
                    entries.push((name.clone(), format!("{}/{name}", folder.replacen("/usr/lib/", "/lib/", 1))));
                }
            }
        }
        self.write(CACHE, loader_cache(&entries));
    }
}

fn info(wheel: &Wheel) -> String {
    format!("{}-{}.dist-info", wheel.name.replace('-', "_"), wheel.version)
}

fn remove(path: &Path) {
    let folder = fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
    if folder { fs::remove_dir_all(path) } else { fs::remove_file(path) }
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// Lays a machine out.
pub(crate) fn build(machine: &Machine) -> Built {
    let built = Built {
        folder: tempfile::tempdir().unwrap(),
        arch: machine.arch.clone().unwrap_or_else(|| "x86_64".to_owned()),
    };
    let arch = built.arch.as_str();
    fs::create_dir_all(built.root()).unwrap();
    built.system();
    let driver = machine.driver.as_ref().filter(|version| !version.is_empty());
    if let Some(version) = driver {
        built.driver(version, machine.gpu.len());
    }
    for (index, device) in machine.gpu.iter().enumerate() {
        built.gpu(index, device, driver.is_some());
    }
    for (index, venv) in machine.venv.iter().enumerate() {
        let first = |list: &[String]| if index == 0 { list.to_vec() } else { Vec::new() };
        built.venv(venv, &first(&machine.add), &first(&machine.drop), &first(&machine.uninstalled), arch);
    }
    // The cache is written last, or not at all.
    machine.remove.iter().filter(|path| *path != CACHE).for_each(|path| built.remove(path));
    for (path, object) in &machine.elf {
        built.write(path, shared_object(object));
    }
    machine.links.iter().for_each(|(path, target)| built.link(path, target));
    if !machine.remove.iter().any(|path| path == CACHE) {
        let mut folders = machine.cache.clone();
        folders.push(built.libs());
        built.cache(&folders);
    }
    let gid = fs::metadata(built.root()).unwrap().gid();
    for (path, text) in &machine.files {
        built.write(path, text.replace("{gid}", &gid.to_string()));
    }
    for (path, hex) in &machine.bytes {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let bytes: Vec<u8> =
            digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect();
        built.write(path, bytes);
    }
    for (path, size) in &machine.giant {
        built.write(path, "a/file/that/is/nowhere.py,sha256=AAAA,12\n".repeat(size * (1 << 20) / 41));
    }
    for (path, mode) in &machine.modes {
        built.mode(path, u32::from_str_radix(mode, 8).expect("an octal mode"));
    }
    let mut env = BTreeMap::from([
        ("HOME".to_owned(), "/home/ada".to_owned()),
        ("USER".to_owned(), "ada".to_owned()),
        ("PWD".to_owned(), "/home/ada".to_owned()),
    ]);
    let mut path = "/usr/local/bin:/usr/bin:/bin".to_owned();
    if let Some(venv) = machine.venv.first() {
        path = format!("{}/bin:{path}", venv.path);
        env.insert(if venv.conda { "CONDA_PREFIX" } else { "VIRTUAL_ENV" }.to_owned(), venv.path.clone());
    }
    env.insert("PATH".to_owned(), path);
    env.extend(machine.env.clone());
    let lines: String = env.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    fs::write(built.env_file(), lines).unwrap();
    built
}

/// The rules that a report's findings name.
pub(crate) fn rules_of(report: &Value) -> Vec<String> {
    let findings = report["findings"].as_array().cloned().unwrap_or_default();
    findings.iter().map(|finding| finding["rule"].as_str().unwrap_or("?").to_owned()).collect()
}

/// Checks a machine as its description asks.
pub(crate) fn check(machine: &Machine, built: &Built) -> Output {
    let mut args = vec!["--format", "json"];
    args.extend(machine.args.iter().map(String::as_str));
    built.inspect("check", &args)
}

/// Where a report differs from what is expected, a line each; the report, and what the program gave.
pub(crate) fn judge(machine: &Machine, built: &Built) -> (Vec<String>, Value, Output) {
    let output = check(machine, built);
    let mut faults = orderly(&output);
    let report: Value = match serde_json::from_slice(&output.stdout) {
        Ok(report) => report,
        Err(_) if machine.expect.survives => return (faults, Value::Null, output),
        Err(error) => {
            let stderr = String::from_utf8_lossy(&output.stderr);
            faults.push(format!("no JSON report ({error}); stderr: {}", stderr.trim()));
            return (faults, Value::Null, output);
        }
    };
    faults.extend(sound(&report, output.status.code()));
    if !machine.expect.survives {
        compare(machine, &report, output.status.code(), &mut faults);
    }
    (faults, report, output)
}

/// What must hold of every run.
pub(crate) fn orderly(output: &Output) -> Vec<String> {
    let mut faults = Vec::new();
    let stderr = String::from_utf8_lossy(&output.stderr);
    if stderr.contains("panicked") || output.status.code().is_none() {
        faults.push(format!("it crashed: {}", stderr.trim()));
    }
    faults
}

/// What must hold of every report.
fn sound(report: &Value, exit: Option<i32>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut hold = |holds: bool, what: &str| {
        if !holds {
            faults.push(what.to_owned());
        }
    };
    hold(report["schema"] == 1, "schema is not 1");
    hold(report["facts"]["schema"] == 1, "facts.schema is not 1");
    hold(report["exit_code"].as_i64() == exit.map(i64::from), "exit_code differs from the exit status");
    let denied =
        report["findings"].as_array().is_some_and(|list| list.iter().any(|finding| finding["level"] == "deny"));
    hold(denied == (report["outcome"] == "denied"), "outcome does not say whether a finding is denied");
    hold(exit != Some(100) || report["outcome"] == "denied", "exit 100 without a denied finding");
    for finding in report["findings"].as_array().into_iter().flatten() {
        let rule = &finding["rule"];
        hold(
            finding["title"].as_str().is_some_and(|title| !title.is_empty() && !title.ends_with('.')),
            &format!("{rule}: no good title"),
        );
        hold(finding["evidence"].as_array().is_some_and(|list| !list.is_empty()), &format!("{rule}: no evidence"));
        hold(
            finding["level"] == "note" || finding["help"].as_array().is_some_and(|list| !list.is_empty()),
            &format!("{rule}: nothing to do about it"),
        );
    }
    for env in report["verdicts"]["environments"].as_array().into_iter().flatten() {
        let (tensorflow, keras) = (&env["tensorflow"], &env["keras"]);
        hold(
            !(tensorflow["sees_gpu"] == "no" && tensorflow["runs_on_gpu"] == "yes"),
            &format!("{}: it runs on a GPU that it does not see", env["path"]),
        );
        for (verdict, because) in [
            (&tensorflow["sees_gpu"], &tensorflow["because"]),
            (&tensorflow["runs_on_gpu"], &tensorflow["because"]),
            (&keras["uses_gpu"], &keras["because"]),
        ] {
            hold(
                verdict != "no" || because.as_array().is_some_and(|list| !list.is_empty()),
                &format!("{}: a verdict of no without a reason", env["path"]),
            );
        }
    }
    faults
}

fn compare(machine: &Machine, report: &Value, exit: Option<i32>, faults: &mut Vec<String>) {
    let expect = &machine.expect;
    if exit != Some(expect.exit) {
        faults.push(format!("exit {exit:?}, expected {}", expect.exit));
    }
    let mut seen: Vec<(String, String)> = report["findings"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|finding| {
            (finding["rule"].as_str().unwrap_or("?").to_owned(), finding["level"].as_str().unwrap_or("?").to_owned())
        })
        .collect();
    seen.dedup();
    for wanted in &expect.findings {
        let fits = |name: &str, is: &str| {
            wanted.split('|').any(|one| {
                let (rule, level) = one.split_once(':').unwrap_or((one, ""));
                name == rule && (level.is_empty() || is == level)
            })
        };
        match seen.iter().position(|(name, is)| fits(name, is)) {
            Some(at) => {
                seen.remove(at);
            }
            None => faults.push(format!("no finding {wanted}")),
        }
    }
    for (rule, level) in &seen {
        let allowed = expect.may.iter().chain(&expect.findings).any(|name| name.split(':').next() == Some(rule));
        if (!allowed || machine.healthy && level != "note") && !(CALENDAR.contains(&rule.as_str()) && level != "deny") {
            faults.push(format!("unexpected {rule}:{level}"));
        }
    }
    let Some(path) = expect.env.as_deref().or_else(|| machine.venv.first().map(|venv| venv.path.as_str())) else {
        return;
    };
    let environments = report["verdicts"]["environments"].as_array().cloned().unwrap_or_default();
    let Some(env) = environments.iter().find(|env| env["path"] == path) else {
        faults.push(format!("no verdict about {path}"));
        return;
    };
    let mut say = |what: &str, is: &Value, wanted: Option<&str>| {
        let is = is.as_str().unwrap_or("none");
        if wanted.is_some_and(|wanted| !wanted.split('|').any(|one| one.split(':').next() == Some(is))) {
            faults.push(format!("{what} is {is}, expected {}", wanted.unwrap_or_default()));
        }
    };
    let (tensorflow, keras) = (&env["tensorflow"], &env["keras"]);
    say("sees_gpu", &tensorflow["sees_gpu"], expect.sees.as_deref());
    say("runs_on_gpu", &tensorflow["runs_on_gpu"], expect.runs.as_deref());
    say("uses_gpu", &keras["uses_gpu"], expect.uses.as_deref());
    say("backend", &keras["backend"], expect.backend.as_deref());
    let root = |explicit: &Option<String>, asked: bool| {
        let first = expect.findings.first().cloned();
        explicit.clone().or(if asked { first } else { None })
    };
    let no = |verdict: &Option<String>| verdict.as_deref() == Some("no");
    say(
        "TensorFlow's first reason",
        &tensorflow["because"][0],
        root(&expect.tf_because, no(&expect.sees) || no(&expect.runs)).as_deref(),
    );
    say("Keras's first reason", &keras["because"][0], root(&expect.keras_because, no(&expect.uses)).as_deref());
}
