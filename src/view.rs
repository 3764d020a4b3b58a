//! Derived views of the facts, shared by rules: which GPU, which driver, what an environment would import.
//!
//! Pure: it looks at facts, rows and wishes only, and decides nothing about levels.

use std::collections::BTreeSet;
use std::str::FromStr as _;

use pep440_rs::{Version, VersionSpecifiers};

use crate::db::Database;
use crate::db::schema::TensorflowRow;
use crate::facts::{
    ApiDevice, Assumption, DeviceNode, Dist, DriverApi, Evidence, Facts, Jax, JaxPlugin, LibcudaKind, Library, Module,
    PathOrigin, PciDevice, ProcGpu, PythonEnv, Requirement, Resolution, Source, TensorFlow, Torch, Via, Wsl, Xid,
};
use crate::finding::{RowRef, Subject};
use crate::shell;
use crate::version::{Dotted, leading_numbers};

/// The sonames of one CUDA major that TensorFlow opens by name, cuDNN left out.
///
/// Source: the sonames of NVIDIA's libraries, as TensorFlow 2.10 to 2.22 was seen to open them.
pub const GENERATIONS: &[(u32, &[&str])] = &[
    (
        11,
        &[
            "libcudart.so.11.0",
            "libcublas.so.11",
            "libcublasLt.so.11",
            "libcufft.so.10",
            "libcusolver.so.11",
            "libcusparse.so.11",
        ],
    ),
    (
        12,
        &[
            "libcudart.so.12",
            "libcublas.so.12",
            "libcublasLt.so.12",
            "libcufft.so.11",
            "libcusolver.so.11",
            "libcusparse.so.12",
        ],
    ),
    (
        13,
        &[
            "libcudart.so.13",
            "libcublas.so.13",
            "libcublasLt.so.13",
            "libcufft.so.12",
            "libcusolver.so.12",
            "libcusparse.so.12",
        ],
    ),
];

/// Distributions that bring a `tensorflow` package of their own.
pub const TENSORFLOW_DISTS: &[&str] = &[
    "tensorflow",
    "tensorflow-cpu",
    "tensorflow-gpu",
    "tensorflow-intel",
    "tf-nightly",
    "tf-nightly-cpu",
    "tensorflow-rocm",
    "tensorflow-macos",
    "intel-tensorflow",
];

/// The backends that Keras 3 knows.
pub const BACKENDS: &[&str] = &["tensorflow", "jax", "torch", "numpy", "openvino"];

/// Derived views of one machine.
#[derive(Debug)]
pub struct View<'a> {
    /// The facts.
    pub facts: &'a Facts,
    /// The database.
    pub db: &'a Database,
    /// The GPUs that programs could use, assumed ones in place of real ones.
    pub gpus: Vec<Gpu>,
}

/// A GPU, real or assumed.
#[derive(Clone, Debug)]
pub struct Gpu {
    /// Its marketing name, or the best that is known.
    pub name: String,
    /// Its compute capability, where it can be told.
    pub compute: Option<Dotted>,
    /// The row that gave the compute capability.
    pub row: Option<RowRef>,
    /// `datacenter`, `workstation`, `geforce`, `jetson`.
    pub class: Option<String>,
    /// Its PCI address.
    pub address: Option<String>,
    /// Its UUID.
    pub uuid: Option<String>,
    /// What shows it.
    pub evidence: Evidence,
    /// Whether it is only assumed.
    pub assumed: bool,
}

/// What is known of a driver's version where only the CUDA that it reports is given.
#[derive(Clone, Copy, Debug)]
pub struct DriverBounds<'a> {
    /// The CUDA that it reports.
    pub reports: &'a Dotted,
    /// Who says so.
    pub evidence: &'a Evidence,
    /// It is at least this version, where a row tells.
    pub at_least: Option<&'a Dotted>,
    /// It is older than this version, where a row tells.
    pub below: Option<&'a Dotted>,
}

impl DriverBounds<'_> {
    /// Whether it reaches a version; `None` where that cannot be told.
    pub fn reaches(&self, floor: &Dotted) -> Option<bool> {
        match (self.at_least, self.below) {
            (Some(least), _) if least >= floor => Some(true),
            (_, Some(below)) if below <= floor => Some(false),
            _ => None,
        }
    }
}

impl<'a> View<'a> {
    /// Derives what several rules need.
    pub fn new(facts: &'a Facts, db: &'a Database) -> Self {
        let mut view = Self { facts, db, gpus: Vec::new() };
        view.gpus = view.find_gpus();
        view
    }

    /// An assumption by its key.
    pub fn assumed(&self, key: &str) -> Option<&'a Assumption> {
        self.facts.assumed.iter().find(|assumption| assumption.key == key)
    }

    /// The driver that is pretended: by its version, or only by the CUDA that it reports.
    ///
    /// `--assume cuda=` alone asks for such a driver. `CONDA_OVERRIDE_CUDA` and `UV_CUDA_DRIVER_VERSION`, which people
    /// set for conda's and uv's own reasons, stand for one only where no driver answers and no real GPU waits for one:
    /// they hide no fault.
    pub fn assumed_driver(&self) -> Option<&'a Assumption> {
        let vacant = || {
            !self.really_loaded()
                && self.facts.machine.tegra.is_none()
                && self.gpu_nodes().next().is_none()
                && self.gpus.iter().all(|gpu| gpu.assumed)
        };
        let counts = |wish: &&Assumption| wish.evidence.source == Source::Option || vacant();
        self.assumed("driver").filter(counts).or_else(|| self.assumed("cuda").filter(counts))
    }

    /// The CUDA that the driver is said to report; a variable does not overrule a driver that is really here.
    pub fn assumed_cuda(&self) -> Option<&'a Assumption> {
        // A driver that is named tells what it reports, and so does one that is here.
        self.assumed("cuda").filter(|cuda| cuda.evidence.source == Source::Option || self.driver().is_none())
    }

    /// Whether the driver is a pretended one, its user-space libraries included.
    pub fn driver_is_assumed(&self) -> bool {
        self.assumed_driver().is_some()
    }

    /// What the version of a driver lies within of which only the CUDA that it reports is known.
    ///
    /// Branches report the more the newer they are, so the rows give both ends; `None` where the version itself is
    /// known or no driver is pretended.
    pub fn driver_bounds(&self) -> Option<DriverBounds<'a>> {
        let assumption = self.assumed_driver().filter(|assumption| assumption.key == "cuda")?;
        let reports = assumption.value.prefix(2);
        let rows = self.db.driver_rows();
        let of_its_own = rows.iter().filter(|row| row.reports_cuda == reports).min_by(|a, b| a.branch.cmp(&b.branch));
        // A version between two rows is at least as new as the older one.
        let older = || rows.iter().filter(|row| row.reports_cuda < reports).max_by(|a, b| a.branch.cmp(&b.branch));
        let newer = rows.iter().filter(|row| row.reports_cuda > reports).min_by(|a, b| a.branch.cmp(&b.branch));
        Some(DriverBounds {
            reports: &assumption.value,
            evidence: &assumption.evidence,
            at_least: of_its_own.or_else(older).map(|row| row.first.as_ref().unwrap_or(&row.branch)),
            below: newer.map(|row| &row.branch),
        })
    }

    /// Those that are here; an assumed one in place of all of them where the command line asks for it, and where none
    /// is here also by `CUDA_COMPUTE_CAP`, which people set for compilers and which is to hide no GPU.
    fn find_gpus(&self) -> Vec<Gpu> {
        let real = self.as_the_driver_shows(self.gpus_by_files());
        let assumed = self.assumed("gpu").filter(|wish| real.is_empty() || wish.evidence.source == Source::Option);
        if let Some(assumed) = assumed {
            return vec![Gpu {
                name: format!("GPU of compute capability {}", assumed.value),
                compute: Some(assumed.value.clone()),
                row: None,
                class: None,
                address: None,
                uuid: None,
                evidence: assumed.evidence.clone(),
                assumed: true,
            }];
        }
        real
    }

    /// Whether NVIDIA's driver drives a device, by the bus or by the driver's own list.
    pub fn is_driven(&self, device: &PciDevice) -> bool {
        device.driver.as_deref() == Some("nvidia") || (device.driver.is_none() && self.listed(device).is_some())
    }

    /// What the driver's own list says of a device on the bus.
    fn listed(&self, device: &PciDevice) -> Option<&'a ProcGpu> {
        self.facts.driver.gpus.iter().find(|gpu| gpu.address.eq_ignore_ascii_case(&device.address))
    }

    /// Whether this is a container that was given GPUs: its nodes tell which, and the bus is that of its machine.
    fn has_nodes_of_its_own(&self) -> bool {
        self.facts.machine.container.is_some() && self.gpu_nodes().next().is_some()
    }

    /// Whether a GPU of the driver's list may be used here: some runtimes show a container those of the whole machine.
    fn is_given(&self, gpu: &ProcGpu) -> bool {
        let mut nodes = self.gpu_nodes().filter_map(|node| node.path.strip_prefix("/dev/nvidia")?.parse().ok());
        !self.has_nodes_of_its_own() || gpu.minor.is_none_or(|minor| nodes.any(|node: u32| node == minor))
    }

    /// The GPUs on the bus that CUDA could show.
    ///
    /// Beside one that NVIDIA's driver drives CUDA never sees one that another driver holds (`vfio-pci` for a virtual
    /// machine, `nouveau`) or that none does. Where it drives none, all that nobody else holds could be meant. A
    /// container sees the bus of its machine, and on it only what it was given counts.
    fn on_bus(&self) -> Vec<&'a PciDevice> {
        let asks = self.has_nodes_of_its_own() && !self.facts.driver.gpus.is_empty();
        let given = |device: &PciDevice| !asks || self.listed(device).is_some_and(|gpu| self.is_given(gpu));
        let all: Vec<&PciDevice> =
            self.facts.pci.iter().filter(|device| device.is_nvidia_gpu() && given(device)).collect();
        let some = |wanted: &dyn Fn(&PciDevice) -> bool| {
            let some: Vec<&PciDevice> = all.iter().copied().filter(|device| wanted(device)).collect();
            (!some.is_empty()).then_some(some)
        };
        some(&|device| self.is_driven(device))
            .or_else(|| some(&|device| device.driver.is_none()))
            .unwrap_or(all.clone())
    }

    /// What the machine's own driver told, where it was asked and shows GPUs; a stand-in tells nothing of the machine.
    pub fn driver_told(&self) -> Option<&'a DriverApi> {
        let api = self.facts.observed.as_ref().filter(|observed| observed.stand_in.is_none())?.driver.value()?;
        (api.failure.is_none() && !api.devices.is_empty()).then_some(api)
    }

    /// The GPUs as the driver shows them, where it was asked: what was observed wins over what files foretell.
    fn as_the_driver_shows(&self, mut gpus: Vec<Gpu>) -> Vec<Gpu> {
        let Some(api) = self.driver_told() else { return gpus };
        let told = |device: &ApiDevice| {
            let compute = device.compute.as_ref().map_or("?", Dotted::as_str);
            Evidence::new(Source::Run, &api.library, format!("GPU {} is of compute capability {compute}", device.gpu))
        };
        if gpus.iter().all(|gpu| gpu.address.is_none()) {
            // Files tell no more than that there is one.
            let class = gpus.first().and_then(|gpu| gpu.class.clone());
            let shown = api.devices.iter().filter(|device| device.compute.is_some()).map(|device| Gpu {
                name: device.name.clone(),
                compute: device.compute.clone(),
                row: None,
                class: class.clone(),
                address: device.address.clone(),
                uuid: device.uuid.clone(),
                evidence: told(device),
                assumed: false,
            });
            let shown: Vec<Gpu> = shown.collect();
            return if shown.is_empty() { gpus } else { shown };
        }
        for gpu in &mut gpus {
            let same = |device: &&ApiDevice| match (&device.address, &gpu.address) {
                (Some(here), Some(there)) => here.eq_ignore_ascii_case(there),
                _ => false,
            };
            let Some(device) = api.devices.iter().find(same).filter(|device| device.compute.is_some()) else {
                continue;
            };
            if gpu.compute != device.compute {
                (gpu.compute, gpu.row, gpu.evidence) = (device.compute.clone(), None, told(device));
                gpu.name.clone_from(&device.name);
            }
        }
        gpus
    }

    /// The GPUs that files tell of.
    pub fn gpus_by_files(&self) -> Vec<Gpu> {
        let mut gpus: Vec<Gpu> = self
            .on_bus()
            .into_iter()
            .map(|device| {
                let known = self.db.gpu_by_pci(&device.device);
                let proc = self.listed(device);
                let by_name = proc.and_then(|gpu| gpu.model.as_deref()).and_then(|model| self.db.gpu_by_name(model));
                let known = by_name.or(known);
                Gpu {
                    name: proc
                        .and_then(|gpu| gpu.model.clone())
                        .or_else(|| known.as_ref().map(|gpu| gpu.name.clone()))
                        .unwrap_or_else(|| format!("NVIDIA device {}", device.device)),
                    compute: known.as_ref().map(|gpu| gpu.compute.clone()),
                    row: known.as_ref().map(|gpu| gpu.row.clone()),
                    class: known.and_then(|gpu| gpu.class),
                    address: Some(device.address.clone()),
                    uuid: proc.and_then(|gpu| gpu.uuid.clone()),
                    evidence: Evidence::file(
                        &device.path,
                        format!("vendor {} device {} class {}", device.vendor, device.device, device.class),
                    ),
                    assumed: false,
                }
            })
            .collect();
        // Which of them a container was given nothing tells here; where they differ, not even their model.
        let nodes = self.gpu_nodes().count();
        if self.has_nodes_of_its_own() && nodes < gpus.len() {
            let alike = gpus.iter().all(|gpu| gpu.compute.is_some() && gpu.name == gpus[0].name);
            gpus.truncate(if alike { nodes } else { 0 });
        }
        if gpus.is_empty() {
            // Containers and WSL often hide the PCI bus: the driver's own list, then bare nodes, tell.
            gpus.extend(self.facts.driver.gpus.iter().filter(|gpu| self.is_given(gpu)).map(|gpu| {
                let known = gpu.model.as_deref().and_then(|model| self.db.gpu_by_name(model));
                Gpu {
                    name: gpu.model.clone().unwrap_or_else(|| "NVIDIA GPU".to_owned()),
                    compute: known.as_ref().map(|gpu| gpu.compute.clone()),
                    row: known.as_ref().map(|gpu| gpu.row.clone()),
                    class: known.and_then(|gpu| gpu.class),
                    address: Some(gpu.address.clone()),
                    uuid: gpu.uuid.clone(),
                    evidence: Evidence::file(&gpu.path, gpu.model.as_deref().unwrap_or("a device")),
                    assumed: false,
                }
            }));
        }
        let bare = |name: &str, evidence: Evidence| Gpu {
            name: name.to_owned(),
            compute: None,
            row: None,
            class: None,
            address: None,
            uuid: None,
            evidence,
            assumed: false,
        };
        if gpus.is_empty() {
            if let Some(wsl) = self.facts.machine.wsl.as_ref().filter(|wsl| self.wsl_has_driver(wsl)) {
                gpus.push(bare(
                    "GPU of the Windows host",
                    Evidence::file("/dev/dxg", format!("there; {}", wsl.evidence.says)),
                ));
            } else if let Some(tegra) = &self.facts.machine.tegra {
                gpus.push(Gpu { class: Some("jetson".to_owned()), ..bare("NVIDIA Jetson", tegra.clone()) });
            } else {
                // `/dev/nvidia0` is made for a device; a lone `/dev/nvidiactl` proves nothing.
                let node = |node: &DeviceNode| bare("NVIDIA GPU", Evidence::file(&node.path, "a device node"));
                gpus.extend(self.gpu_nodes().map(node));
            }
        }
        gpus
    }

    /// Why nobody can tell whether there is a GPU: a tree without a bus, in which nothing else speaks of one.
    ///
    /// A driver that lists its devices and has none tells it all the same, and so does WSL, where GPUs are on no bus.
    pub fn gpu_untold(&self) -> Option<&'a str> {
        let told = self.has_gpu() || self.is_wsl() || self.facts.driver.gpus_listed.value() == Some(&true);
        self.facts.machine.pci_unlisted.as_deref().filter(|_| !told)
    }

    /// Whether there is a GPU, real or assumed.
    pub fn has_gpu(&self) -> bool {
        !self.gpus.is_empty()
    }

    /// Whether the GPU is only assumed.
    pub fn gpu_is_assumed(&self) -> bool {
        self.gpus.iter().any(|gpu| gpu.assumed)
    }

    /// Whether WSL's door leads to a driver of NVIDIA's: it is there for the GPUs of other makers too.
    fn wsl_has_driver(&self, wsl: &Wsl) -> bool {
        let (machine, driver) = (&self.facts.machine, &self.facts.driver);
        let library = wsl.libcuda.is_some() || driver.libcuda.file.value().is_some() || !driver.copies.is_empty();
        wsl.dxg && (library || machine.container.is_some())
    }

    /// Whether this is WSL with its door to the Windows driver.
    pub fn is_wsl(&self) -> bool {
        self.facts.machine.wsl.is_some()
    }

    /// The driver's version: assumed, else the loaded module's, else that of the user-space library.
    ///
    /// A driver that is pretended by the CUDA that it reports has none; see [`View::driver_bounds`].
    pub fn driver(&self) -> Option<(&'a Dotted, &'a Evidence)> {
        if let Some(assumed) = self.assumed_driver() {
            return (assumed.key == "driver").then_some((&assumed.value, &assumed.evidence));
        }
        let driver = &self.facts.driver;
        driver.kernel.first().or_else(|| driver.userspace.first()).map(|reading| (&reading.value, &reading.evidence))
    }

    /// Whether a driver answers as far as files tell: module loaded, or WSL, or assumed.
    pub fn driver_loaded(&self) -> bool {
        self.driver_is_assumed() || self.really_loaded()
    }

    fn really_loaded(&self) -> bool {
        // One that shows its devices is loaded, whatever files say.
        self.driver_told().is_some()
            || self.is_wsl()
            || self.facts.driver.loaded.value() == Some(&true)
            || !self.facts.driver.kernel.is_empty()
    }

    /// The CUDA version that the driver reports, and where that is known from.
    pub fn driver_cuda(&self) -> Option<(Dotted, Option<RowRef>)> {
        if let Some(assumed) = self.assumed_cuda() {
            return Some((assumed.value.clone(), None));
        }
        // A compat package tells of itself, and not of the driver.
        let own = |library: &Library| self.libcuda_kind(library) != LibcudaKind::Compat;
        let told = self.driver_told().filter(|_| self.facts.driver.libcuda.file.value().is_none_or(own));
        let told = told.and_then(|api| api.cuda.clone()).filter(|_| !self.driver_is_assumed());
        told.map(|cuda| (cuda, None)).or_else(|| self.driver_cuda_by_files())
    }

    /// The CUDA version that the driver reports by its version.
    pub fn driver_cuda_by_files(&self) -> Option<(Dotted, Option<RowRef>)> {
        let (version, _) = self.driver()?;
        self.db.driver_reports_cuda(version).map(|(cuda, row)| (cuda, Some(row)))
    }

    /// The environments.
    pub fn envs(&self) -> impl Iterator<Item = EnvView<'_, 'a>> {
        (0..self.facts.pythons.len()).map(|index| self.env(index))
    }

    /// One environment.
    pub fn env(&self, index: usize) -> EnvView<'_, 'a> {
        EnvView { view: self, index, env: &self.facts.pythons[index] }
    }

    /// `linux-x86_64` and the like, as the database names platforms.
    pub fn platform(&self) -> String {
        let arch = match (self.facts.machine.os.as_str(), self.facts.machine.arch.as_str()) {
            ("macos", "aarch64") => "arm64",
            (_, arch) => arch,
        };
        format!("{}-{arch}", self.facts.machine.os)
    }

    /// Text for "pip install", by what made the environment, and by where its TensorFlow lies: what is installed elsewhere
    /// loses against what is there, and TensorFlow looks for NVIDIA's wheels beside itself.
    pub fn install(&self, env: &PythonEnv, what: &str) -> String {
        let python = if env.interpreter.is_empty() { "python".into() } else { shell::word(&env.interpreter) };
        match place(env) {
            // With `--target` pip replaces whole folders: all of `nvidia` for one wheel of it. uv replaces files.
            Place::Folder(folder) if is_uv(env) || !what.contains("[and-cuda]") => {
                format!("uv pip install --python {python} --target {} {what}", shell::word(folder))
            }
            Place::Folder(folder) => {
                format!("{python} -m pip install --upgrade --target {} {what}", shell::word(folder))
            }
            // uv knows no such place.
            Place::User => format!("{python} -m pip install --user {what}"),
            Place::Prefix if is_uv(env) => format!("uv pip install --python {python} {what}"),
            Place::Prefix => format!("{python} -m pip install {what}"),
        }
    }

    /// Text for "pip uninstall", by what made the environment, and by where its TensorFlow lies.
    pub fn uninstall(&self, env: &PythonEnv, what: &str) -> String {
        let python = if env.interpreter.is_empty() { "python".into() } else { shell::word(&env.interpreter) };
        match place(env) {
            Place::Folder(folder) => {
                format!("uv pip uninstall --python {python} --target {} {what}", shell::word(folder))
            }
            Place::Prefix if is_uv(env) => format!("uv pip uninstall --python {python} {what}"),
            _ => format!("{python} -m pip uninstall -y {what}"),
        }
    }

    /// Whether the driver's own state is worth asking about: a GPU, and no driver assumed.
    pub fn driver_matters(&self) -> bool {
        self.has_gpu() && !self.driver_is_assumed()
    }

    /// The nodes of the GPUs themselves: `/dev/nvidia0` and so on.
    pub fn gpu_nodes(&self) -> impl Iterator<Item = &'a DeviceNode> {
        self.facts.driver.nodes.iter().filter(|node| {
            let tail = node.path.strip_prefix("/dev/nvidia").unwrap_or_default();
            !tail.is_empty() && tail.bytes().all(|byte| byte.is_ascii_digit())
        })
    }

    /// Whether this is a container that was given no GPU, though the machine beneath may well have one.
    pub fn container_lacks_gpu(&self) -> bool {
        self.facts.machine.container.is_some()
            && !self.driver_is_assumed()
            && !self.gpu_is_assumed()
            && !self.is_wsl()
            && self.facts.machine.tegra.is_none()
            && self.facts.driver.loaded.value() != Some(&false)
            && self.gpu_nodes().next().is_none()
    }

    /// Whether a program may have missing nodes made by the helper that the driver's libraries run.
    ///
    /// In a container it has neither the modules nor the right to make nodes.
    pub fn helper_works(&self) -> bool {
        self.facts.machine.container.is_none() && self.facts.driver.modprobe.value() == Some(&true)
    }

    /// Whether a driver stands behind this process: loaded here, or its nodes were handed into the container.
    pub fn driver_answers(&self) -> bool {
        self.driver_told().is_some()
            || !self.container_lacks_gpu()
                && (self.driver_loaded()
                    || (self.facts.machine.container.is_some() && self.gpu_nodes().next().is_some())
                    || self.facts.machine.tegra.is_some())
    }

    /// What the kernel module reported of a GPU, the last report first; of all GPUs without an address.
    pub fn xids(&self, address: Option<&str>) -> Vec<&'a Xid> {
        let reported = self.facts.driver.xids.value().into_iter().flatten();
        let mut of: Vec<&Xid> =
            reported.filter(|xid| address.is_none_or(|address| address.eq_ignore_ascii_case(&xid.address))).collect();
        of.reverse();
        of
    }

    /// What a copy of libcuda is.
    pub fn libcuda_kind(&self, library: &Library) -> LibcudaKind {
        let copies = &self.facts.driver.copies;
        let copy = copies.iter().find(|copy| copy.path == library.path || copy.real == library.real);
        let folder = |name: &str| [&library.path, &library.real].iter().any(|path| path.split('/').any(|p| p == name));
        match copy {
            Some(copy) => copy.kind,
            None if library.via == Via::Assumed => LibcudaKind::Assumed,
            None if folder("stubs") => LibcudaKind::Stub,
            None if folder("compat") || folder("cuda-compat") => LibcudaKind::Compat,
            None if folder("wsl") => LibcudaKind::Wsl,
            None => LibcudaKind::Driver,
        }
    }

    /// The driver version that a copy of libcuda states in its file name.
    pub fn libcuda_version(&self, library: &Library) -> Option<Dotted> {
        let copies = &self.facts.driver.copies;
        let copy = copies.iter().find(|copy| copy.path == library.path || copy.real == library.real);
        copy.and_then(|copy| copy.version.clone()).or_else(|| driver_file_version(&library.real))
    }

    /// The libcuda that TensorFlow of an environment gets, else the one of an ordinary program.
    pub fn libcuda_of(&self, env: &PythonEnv) -> Option<&'a Library> {
        let generic = self.facts.driver.libcuda.file.value();
        let index = self.facts.pythons.iter().position(|other| std::ptr::eq(other, env));
        let own = index.and_then(|index| self.facts.pythons[index].tensorflow.as_ref());
        own.and_then(|tf| tf.libcuda.file.value()).or(generic)
    }

    /// Each libcuda that wins for somebody, with whom it serves: the machine where it serves everybody.
    pub fn libcudas(&self) -> Vec<(&'a Library, Vec<Subject>)> {
        let generic = self.facts.driver.libcuda.file.value();
        let mut groups: Vec<(&'a Library, Vec<Subject>)> =
            generic.map(|library| (library, Vec::new())).into_iter().collect();
        for (index, env) in self.facts.pythons.iter().enumerate() {
            let Some(library) = self.libcuda_of(env) else { continue };
            match groups.iter_mut().find(|(other, _)| other.real == library.real) {
                Some((_, users)) => users.push(Subject::Env(index)),
                None => groups.push((library, vec![Subject::Env(index)])),
            }
        }
        if let [(_, users)] = groups.as_mut_slice() {
            *users = vec![Subject::Machine];
        }
        groups
    }

    /// The driver that the programs of an environment meet: a winning forward-compatibility package stands in for it.
    pub fn driver_for(&self, env: &PythonEnv) -> Option<(Dotted, Evidence)> {
        if !self.driver_is_assumed()
            && let Some(library) = self.libcuda_of(env)
            && self.libcuda_kind(library) == LibcudaKind::Compat
            && let Some(version) = self.libcuda_version(library)
        {
            return Some((version, library.evidence("libcuda.so.1")));
        }
        self.driver().map(|(version, evidence)| (version.clone(), evidence.clone()))
    }

    /// The CUDA version that the driver reports to the programs of an environment.
    pub fn driver_cuda_for(&self, env: &PythonEnv) -> Option<(Dotted, Option<RowRef>)> {
        if self.assumed_cuda().is_some() {
            return self.driver_cuda();
        }
        let generic = self.facts.driver.libcuda.file.value();
        let asked = self.libcuda_of(env).map(|library| &library.real) == generic.map(|library| &library.real);
        if let Some(cuda) =
            self.driver_told().filter(|_| asked && !self.driver_is_assumed()).and_then(|api| api.cuda.clone())
        {
            return Some((cuda, None));
        }
        let (version, _) = self.driver_for(env)?;
        self.db.driver_reports_cuda(&version).map(|(cuda, row)| (cuda, Some(row)))
    }
}

/// Where an environment keeps its TensorFlow.
enum Place<'a> {
    /// Among its own packages.
    Prefix,
    /// Among those of the user.
    User,
    /// In a folder of `PYTHONPATH` or of a `.pth` file, into which it was installed.
    Folder(&'a str),
}

fn place(env: &PythonEnv) -> Place<'_> {
    let module = env.tensorflow.as_ref().and_then(|tf| tf.module.as_ref());
    let dist = module.and_then(|module| env.dists.get(module.dist?));
    match module.zip(dist).filter(|(module, dist)| module.entry == dist.location && dist.editable.is_none()) {
        Some((module, _)) => match &module.origin {
            Some(PathOrigin::UserSite) => Place::User,
            Some(PathOrigin::PythonPath | PathOrigin::Pth { .. }) => Place::Folder(&module.entry),
            _ => Place::Prefix,
        },
        None => Place::Prefix,
    }
}

/// Whether uv installed any of it.
fn is_uv(env: &PythonEnv) -> bool {
    env.dists.iter().any(|dist| dist.installer.as_deref() == Some("uv"))
}

/// The driver version in the name of a library of the driver's: `libcuda.so.535.54.03`, but not `libcuda.so.1`.
pub fn driver_file_version(path: &str) -> Option<Dotted> {
    Dotted::from_file_name(path).filter(|version| version.len() >= 2 && version.major() >= 10)
}

/// One Python environment with what follows from its readings.
#[derive(Clone, Copy, Debug)]
pub struct EnvView<'v, 'a> {
    /// The whole.
    pub view: &'v View<'a>,
    /// Its index in `Facts::pythons`.
    pub index: usize,
    /// Its readings.
    pub env: &'a PythonEnv,
}

/// What Keras 3 computes with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Its name as configured.
    pub name: String,
    /// What decides: `KERAS_BACKEND`, the path of keras.json, or `default`.
    pub from: String,
    /// The evidence, where something decides.
    pub evidence: Option<Evidence>,
}

impl<'a> EnvView<'_, 'a> {
    /// TensorFlow's readings, where it is installed.
    pub fn tf(&self) -> Option<&'a TensorFlow> {
        self.env.tensorflow.as_ref()
    }

    /// TensorFlow where it is worth asking about the GPU: installed and importable.
    pub fn tf_alive(&self) -> Option<&'a TensorFlow> {
        self.tf()
            .filter(|tf| tf.module.as_ref().is_some_and(|module| !module.namespace && !module.archived))
            .filter(|_| self.tf_stranger().is_none())
    }

    /// A module that answers to `import tensorflow` from in front of the packages and is no TensorFlow.
    pub fn tf_stranger(&self) -> Option<&'a Module> {
        let tf = self.tf()?;
        let module = tf.module.as_ref().filter(|module| !module.namespace && !module.archived)?;
        let in_front = matches!(
            module.origin,
            Some(PathOrigin::Script | PathOrigin::PythonPath | PathOrigin::UserSite | PathOrigin::Pth { .. })
        );
        let bare = module.dist.is_none() && tf.build.is_absent() && tf.caller.is_none();
        (in_front && bare).then_some(module)
    }

    /// The distribution that TensorFlow's module belongs to.
    pub fn tf_dist(&self) -> Option<&'a Dist> {
        let tf = self.tf()?;
        let owner = tf.module.as_ref().and_then(|module| module.dist);
        owner.or_else(|| tf.dists.first().copied()).and_then(|index| self.env.dists.get(index))
    }

    /// The distributions that bring a `tensorflow` package, without mere shims.
    pub fn tf_dists(&self) -> Vec<&'a Dist> {
        self.tf().map(|tf| tf.dists.iter().filter_map(|&index| self.env.dists.get(index)).collect()).unwrap_or_default()
    }

    /// TensorFlow's version as text.
    pub fn tf_version_text(&self) -> Option<&'a str> {
        let tf = self.tf()?;
        let module = tf.module.as_ref().and_then(|module| module.version.as_deref());
        self.tf_dist().map(|dist| dist.version.as_str()).or(module)
    }

    /// TensorFlow's version.
    pub fn tf_version(&self) -> Option<Version> {
        Version::from_str(self.tf_version_text()?).ok()
    }

    /// TensorFlow's release as `(major, minor)`.
    pub fn tf_minor(&self) -> Option<(u64, u64)> {
        let version = self.tf_version()?;
        let release = version.release();
        Some((*release.first()?, release.get(1).copied().unwrap_or(0)))
    }

    /// TensorFlow's row.
    pub fn tf_row(&self) -> Option<&'a TensorflowRow> {
        let package = self.tf_dist().map_or("tensorflow", |dist| dist.name.as_str());
        self.view.db.tensorflow(package, &self.view.platform(), self.tf_version_text()?)
    }

    /// TensorFlow's row as far as it tells of this very build.
    ///
    /// NVIDIA, conda-forge, distributions and Jetson's images build the same release for another CUDA or cuDNN than the
    /// package index has it: where `build_info.py` says so, what the row knows of its libraries is not about this one.
    pub fn build_row(&self) -> Option<&'a TensorflowRow> {
        let row = self.tf_row()?;
        let Some(build) = self.tf().and_then(|tf| tf.build.value()) else { return Some(row) };
        let version = |text: &Option<String>| text.as_deref().and_then(|text| text.parse::<Dotted>().ok());
        let cuda = version(&build.cuda).zip(row.cuda.as_ref());
        let cudnn = version(&build.cudnn).zip(row.cudnn.as_ref());
        let same = build.cuda_build == row.cuda_build
            && cuda.is_none_or(|(built, row)| built.prefix(2) == row.prefix(2))
            && cudnn.is_none_or(|(built, row)| built.major() == row.major());
        same.then_some(row)
    }

    /// Whether it is a build of its own, made for another CUDA or cuDNN than the release's row says.
    pub fn is_own_build(&self) -> bool {
        self.tf_row().is_some() && self.build_row().is_none()
    }

    /// A reference to the row of this build of TensorFlow.
    pub fn tf_row_ref(&self) -> Option<RowRef> {
        self.build_row().map(TensorflowRow::row_ref)
    }

    /// Whether TensorFlow was built with CUDA.
    pub fn cuda_build(&self) -> Option<bool> {
        let tf = self.tf()?;
        tf.build.value().map(|build| build.cuda_build).or_else(|| self.build_row().map(|row| row.cuda_build))
    }

    /// Whether it is worth asking about the CUDA libraries: a GPU, and a living CUDA build.
    pub fn wants_cuda(&self) -> bool {
        self.view.has_gpu() && self.tf_alive().is_some() && self.cuda_build() == Some(true)
    }

    /// The CUDA major that TensorFlow was built for.
    pub fn cuda_major(&self) -> Option<u32> {
        let built = self.tf()?.build.value().and_then(|build| build.cuda.clone());
        let built = built.or_else(|| self.build_row().and_then(|row| row.cuda.as_ref().map(ToString::to_string)));
        if let Some(major) = built.and_then(|text| text.split('.').next().and_then(|major| major.parse().ok())) {
            return Some(major);
        }
        // A release that does not say it names its wheels by it: nvidia-cublas-cu12.
        self.requirements()
            .find_map(|requirement| requirement.name.strip_prefix("nvidia-")?.rsplit_once("-cu")?.1.parse().ok())
    }

    /// The CUDA version that TensorFlow was built for, as text.
    pub fn cuda_text(&self) -> Option<String> {
        let built = self.tf()?.build.value().and_then(|build| build.cuda.clone());
        built
            .or_else(|| self.build_row().and_then(|row| row.cuda.as_ref().map(ToString::to_string)))
            .or_else(|| self.cuda_major().map(|major| major.to_string()))
    }

    /// The requirement lines of the distributions that bring TensorFlow.
    pub fn requirements(&self) -> impl Iterator<Item = &'a Requirement> {
        self.tf_dists().into_iter().flat_map(|dist| dist.requires.iter())
    }

    /// A requirement of TensorFlow, the extra's or the plain one, that applies here.
    ///
    /// A build of its own carries the metadata of the package index; which wheels of NVIDIA that names is not for it.
    pub fn requirement(&self, name: &str) -> Option<&'a Requirement> {
        self.requirements()
            .find(|requirement| requirement.name == name && requirement.applies != Some(false))
            .filter(|_| !(name.starts_with("nvidia-") && self.is_own_build()))
    }

    /// Where a requirement of TensorFlow stands.
    pub fn requirement_evidence(&self, requirement: &Requirement) -> Evidence {
        let at = self
            .tf_dists()
            .into_iter()
            .find(|dist| dist.requires.iter().any(|other| std::ptr::eq(other, requirement)))
            .map_or_else(|| "METADATA".to_owned(), |dist| format!("{}/METADATA", dist.metadata));
        Evidence::package(at, &requirement.text).line(requirement.line)
    }

    /// The cuDNN that TensorFlow was built with: the row's figure, else the lowest that its requirements allow, else the major.
    pub fn cudnn_built(&self) -> Option<Dotted> {
        let from_row = self.build_row().and_then(|row| row.cudnn.clone());
        let build: Option<Dotted> = self.tf().and_then(|tf| tf.build.value()?.cudnn.as_deref()?.parse().ok());
        // The extra of the package index stands in the metadata of builds for another cuDNN too.
        let fits =
            |bound: &Dotted| !self.is_own_build() && build.as_ref().is_none_or(|build| build.major() == bound.major());
        let from_requirement = || {
            self.requirements()
                .find(|requirement| requirement.name.starts_with("nvidia-cudnn-cu"))
                .and_then(|requirement| lower_bound(&requirement.specifier))
                .map(|bound: Dotted| bound.prefix(3))
                .filter(fits)
        };
        from_row.or_else(from_requirement).or_else(|| build.clone())
    }

    /// The names that TensorFlow opens when it registers GPUs, cuDNN last.
    pub fn wanted(&self) -> Vec<String> {
        if let Some(row) = self.build_row().filter(|row| !row.libraries.is_empty()) {
            return row.libraries.clone();
        }
        let generation = self.cuda_major().and_then(|major| GENERATIONS.iter().find(|(of, _)| *of == major));
        let mut names: Vec<String> =
            generation.map(|(_, names)| names.iter().map(|&name| name.to_owned()).collect()).unwrap_or_default();
        if let Some(cudnn) = self.cudnn_built()
            && !names.is_empty()
        {
            names.push(format!("libcudnn.so.{}", cudnn.major()));
        }
        names
    }

    /// How a name resolves for TensorFlow.
    pub fn resolution(&self, name: &str) -> Option<&'a Resolution> {
        self.tf()?.libraries.iter().find(|resolution| resolution.name == name)
    }

    /// The file that wins for a name.
    pub fn library(&self, name: &str) -> Option<&'a Library> {
        self.resolution(name)?.file.value()
    }

    /// The name of the cuDNN that TensorFlow opens.
    pub fn cudnn_name(&self) -> Option<String> {
        self.wanted().into_iter().find(|name| name.starts_with("libcudnn.so."))
    }

    /// The cuDNN that TensorFlow gets.
    pub fn cudnn(&self) -> Option<&'a Library> {
        self.library(&self.cudnn_name()?)
    }

    /// Wanted names that nothing provides, with their resolutions.
    pub fn missing(&self) -> Vec<(String, Option<&'a Resolution>)> {
        self.wanted()
            .into_iter()
            .filter_map(|name| {
                let resolution = self.resolution(&name);
                let usable = resolution
                    .and_then(|resolution| resolution.file.value())
                    .is_some_and(|library| library.missing.is_empty() && library.unresolved.is_empty());
                (!usable).then_some((name, resolution))
            })
            .collect()
    }

    /// Whether none of the wanted names is found, and no file of such a name lies about unused.
    pub fn has_no_cuda_library_at_all(&self) -> bool {
        let wanted = self.wanted();
        !wanted.is_empty()
            && wanted.iter().all(|name| {
                self.resolution(name).is_none_or(|resolution| {
                    resolution.file.is_absent() && resolution.others.is_empty() && resolution.rejected.is_empty()
                })
            })
            && self.lost_nvidia().is_empty()
    }

    /// NVIDIA wheels of which shared libraries are gone or cut off.
    pub fn hollow_nvidia(&self) -> Vec<&'a Dist> {
        self.env
            .dists
            .iter()
            .filter(|dist| dist.name.starts_with("nvidia-"))
            .filter(|dist| {
                dist.record.as_ref().is_some_and(|record| record.torn().any(|(path, _)| path.contains(".so")))
            })
            .collect()
    }

    /// NVIDIA wheels of which a library is gone or cut off that TensorFlow opens and gets from nowhere else.
    pub fn lost_nvidia(&self) -> Vec<&'a Dist> {
        if !self.wants_cuda() {
            return Vec::new();
        }
        let lost = self.missing();
        self.hollow_nvidia()
            .into_iter()
            .filter(|dist| {
                dist.record.as_ref().is_some_and(|record| {
                    record
                        .torn()
                        .any(|(path, _)| lost.iter().any(|(name, _)| path.rsplit('/').next() == Some(name.as_str())))
                })
            })
            .collect()
    }

    /// Whether a wheel of NVIDIA's is of the CUDA major that TensorFlow wants.
    pub fn serves_tensorflow(&self, dist: &Dist) -> bool {
        match (dist.name.rsplit_once("-cu"), self.cuda_major()) {
            (Some((_, major)), Some(wanted)) => major.parse() == Ok(wanted),
            (None, Some(wanted)) => wanted >= 13,
            _ => false,
        }
    }

    /// The Python version as `(major, minor)`.
    pub fn python(&self) -> Option<(u64, u64)> {
        let mut parts = self.env.version.value()?.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }

    /// That version as a requirement which every patch release of it meets: `==3.11.*`.
    pub fn python_requirement(&self) -> Option<String> {
        self.python().map(|(major, minor)| format!("=={major}.{minor}.*"))
    }

    /// Keras, where `import keras` gives something that is Keras.
    pub fn keras(&self) -> Option<&'a Module> {
        self.keras_name().filter(|module| module.version.is_some() || module.dist.is_some() || !module.hides.is_empty())
    }

    /// Whatever answers to `import keras`, be it Keras or not.
    pub fn keras_name(&self) -> Option<&'a Module> {
        self.env.keras.as_ref().filter(|module| !module.namespace)
    }

    /// The distribution of a Keras that is there in name only: files of its own are gone, and nothing answers to
    /// `import keras`, or a folder without code.
    pub fn hollow_keras(&self) -> Option<&'a Dist> {
        // Code that may add folders to `sys.path` may lead to another.
        if self.keras_name().is_some() || self.legacy() || self.env.path_code.is_some() {
            return None;
        }
        self.env.dists.iter().find(|dist| {
            matches!(dist.name.as_str(), "keras" | "keras-nightly")
                && dist.editable.is_none()
                && dist.record.as_ref().is_some_and(|record| record.missing > 0)
        })
    }

    /// Keras's version.
    pub fn keras_version(&self) -> Option<Version> {
        Version::from_str(self.keras()?.version.as_deref()?).ok()
    }

    /// Keras's release as `(major, minor)`.
    pub fn keras_minor(&self) -> Option<(u64, u64)> {
        let version = self.keras_version()?;
        let release = version.release();
        Some((*release.first()?, release.get(1).copied().unwrap_or(0)))
    }

    /// Whether `import keras` gives Keras 3 or newer.
    pub fn is_keras3(&self) -> bool {
        self.keras_minor().is_some_and(|(major, _)| major >= 3)
    }

    /// Whether `tf.keras` is switched to the legacy package: only these three spellings count.
    pub fn legacy(&self) -> bool {
        self.env
            .keras_config
            .legacy
            .as_ref()
            .is_some_and(|evidence| matches!(evidence.says.as_str(), "1" | "true" | "True"))
            && self.tf_minor().is_some_and(|minor| minor >= (2, 16))
    }

    /// The backend, as Keras would choose it.
    pub fn backend(&self) -> Backend {
        let config = &self.env.keras_config;
        if self.legacy() {
            return Backend {
                name: "tensorflow".to_owned(),
                from: "TF_USE_LEGACY_KERAS".to_owned(),
                evidence: config.legacy.clone(),
            };
        }
        // Keras 2 after 2.3 computes with TensorFlow only.
        if self.keras_minor().is_some_and(|(major, _)| major < 3) {
            return Backend { name: "tensorflow".to_owned(), from: "keras 2".to_owned(), evidence: None };
        }
        if let Some(variable) = &config.variable {
            return Backend {
                name: self.raw_backend(variable),
                from: "KERAS_BACKEND".to_owned(),
                evidence: Some(variable.clone()),
            };
        }
        if let (Some(name), Some(evidence)) = (config.file.value(), config.file.evidence()) {
            return Backend { name: name.clone(), from: evidence.at.clone(), evidence: Some(evidence.clone()) };
        }
        Backend { name: "tensorflow".to_owned(), from: "default".to_owned(), evidence: None }
    }

    /// The variable's value as Python sees it: evidence is trimmed, and a padded name is a wrong name.
    fn raw_backend(&self, variable: &Evidence) -> String {
        self.view.facts.env.get("KERAS_BACKEND").cloned().unwrap_or_else(|| variable.says.clone())
    }

    /// Whether the backend's name is one that Keras knows.
    pub fn backend_is_known(&self) -> bool {
        BACKENDS.contains(&self.backend().name.as_str())
    }

    /// Whether a backend's package is installed here.
    pub fn has_backend(&self, name: &str) -> bool {
        // All of them hold native modules, which Python loads out of no archive.
        let real = |module: Option<&Module>| module.is_some_and(|module| !module.namespace && !module.archived);
        match name {
            "tensorflow" => self.tf_alive().is_some(),
            "jax" => self.env.jax.as_ref().is_some_and(|jax| real(jax.module.as_ref())),
            "torch" => self.env.torch.as_ref().is_some_and(|torch| real(torch.module.as_ref())),
            other => real(self.env.modules.get(other)),
        }
    }

    /// Whether Keras computes with TensorFlow here.
    pub fn keras_on_tensorflow(&self) -> bool {
        self.backend().name == "tensorflow"
    }

    /// A distribution by its normalised name; the first in import order.
    pub fn dist(&self, name: &str) -> Option<&'a Dist> {
        self.env.dists.iter().find(|dist| dist.name == name)
    }

    /// Evidence that a distribution is installed.
    pub fn dist_evidence(dist: &Dist) -> Evidence {
        Evidence::package(&dist.metadata, format!("{} {}", dist.name, dist.version))
    }

    /// The environment's path, for a title.
    pub fn path(&self) -> &'a str {
        &self.env.path
    }

    /// Whether an entry of `sys.path` belongs to the environment itself.
    pub fn is_own(origin: Option<&PathOrigin>) -> bool {
        matches!(origin, Some(PathOrigin::Site | PathOrigin::BaseSite | PathOrigin::Stdlib | PathOrigin::Pth { .. }))
    }

    /// The highest compute capability for which TensorFlow has code or PTX, and all that it has.
    ///
    /// `build_info.py` says `compute_90` where the kernels hold PTX for `sm_90a`; the row of the same build knows.
    pub fn compute(&self) -> Vec<String> {
        let built = self.tf().and_then(|tf| tf.build.value()).map(|build| &build.compute[..]).unwrap_or_default();
        let row = self.build_row().map(|row| &row.compute[..]).unwrap_or_default();
        let same = built.len() == row.len() && built.iter().zip(row).all(|(built, row)| built == plain_name(row));
        if built.is_empty() || same { row.to_vec() } else { built.to_vec() }
    }
}

/// `compute_90` of `compute_90a`: what a build's own list calls it.
pub(crate) fn plain_name(name: &str) -> &str {
    name.trim_end_matches('a')
}

/// How a GPU fits the code in a binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeFit {
    /// There is machine code for it.
    Native,
    /// There is only PTX, which the driver must translate.
    Jit,
    /// There is nothing for it.
    None,
}

/// Holds a compute capability against the names in a wheel, such as `sm_80` and `compute_90`.
///
/// `sm_XY` runs on the same major with an equal or higher minor. `compute_XY` stands for PTX of XY, for
/// everything newer, and, as TensorFlow's builds use it, for machine code of XY itself too. An `a` at the end binds
/// both to XY alone (PTX ISA, `.target`: such PTX is not translated for later architectures, and ptxas refuses it).
///
/// ```
/// use gpu_doctor::view::{CodeFit, code_fit};
/// let wheel = ["sm_60", "sm_80", "compute_90"].map(String::from);
/// assert_eq!(code_fit(&"8.9".parse().unwrap(), &wheel), Some(CodeFit::Native));
/// assert_eq!(code_fit(&"9.0".parse().unwrap(), &wheel), Some(CodeFit::Native));
/// assert_eq!(code_fit(&"12.0".parse().unwrap(), &wheel), Some(CodeFit::Jit));
/// assert_eq!(code_fit(&"5.2".parse().unwrap(), &wheel), Some(CodeFit::None));
/// assert_eq!(code_fit(&"12.0".parse().unwrap(), &["compute_90a".to_owned()]), Some(CodeFit::None));
/// ```
pub fn code_fit(compute: &Dotted, names: &[String]) -> Option<CodeFit> {
    let parse = |digits: &str| -> Option<(u32, u32)> {
        let digits = digits.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let (major, minor) = digits.split_at_checked(digits.len().checked_sub(1)?)?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    let wanted = (compute.major(), compute.minor());
    let (mut known, mut native, mut jit) = (false, false, false);
    for name in names {
        let (digits, ptx) = match (name.strip_prefix("sm_"), name.strip_prefix("compute_")) {
            (Some(digits), _) => (digits, false),
            (_, Some(digits)) => (digits, true),
            _ => (name.as_str(), false),
        };
        // Older build files write `8.0`.
        let Some(has) = parse(digits).or_else(|| digits.parse::<Dotted>().ok().map(|v| (v.major(), v.minor()))) else {
            continue;
        };
        known = true;
        let alone = digits.ends_with('a');
        native |= if alone { has == wanted } else { has.0 == wanted.0 && has.1 <= wanted.1 };
        jit |= ptx && !alone && has <= wanted;
    }
    known.then_some(if native {
        CodeFit::Native
    } else if jit {
        CodeFit::Jit
    } else {
        CodeFit::None
    })
}

/// Whether a version lies in a specifier; pre-releases count by their numbers. `None` where either is not understood.
pub fn within(version: &str, specifier: &str) -> Option<bool> {
    if specifier.trim().is_empty() {
        return Some(true);
    }
    let version = Version::from_str(version).ok()?;
    let specifiers = VersionSpecifiers::from_str(specifier).ok()?;
    Some(specifiers.contains(&version))
}

/// The lowest version that a specifier allows, from `>=`, `==` or `~=`.
pub fn lower_bound(specifier: &str) -> Option<Dotted> {
    specifier.split(',').map(str::trim).find_map(|part| {
        let rest = part.strip_prefix(">=").or_else(|| part.strip_prefix("==")).or_else(|| part.strip_prefix("~="))?;
        rest.trim().trim_end_matches(".*").parse().ok()
    })
}

/// Paths' folders, each once, in order.
pub fn folders<'p>(paths: impl Iterator<Item = &'p str>) -> Vec<&'p str> {
    let mut seen = BTreeSet::new();
    paths
        .filter_map(|path| path.rsplit_once('/').map(|(folder, _)| folder))
        .filter(|folder| seen.insert(*folder))
        .collect()
}

impl<'a> EnvView<'_, 'a> {
    /// Other cuDNN majors that are about: their name and a path.
    pub fn other_cudnns(&self, wanted: &str) -> Vec<(&'a str, &'a str)> {
        let Some(tf) = self.tf() else { return Vec::new() };
        tf.libraries
            .iter()
            .filter(|resolution| resolution.name.starts_with("libcudnn.so.") && resolution.name != wanted)
            .filter_map(|resolution| {
                let found = resolution.file.value().map(|library| library.path.as_str());
                let unused = resolution.others.first().map(|other| other.path.as_str());
                Some((resolution.name.as_str(), found.or(unused)?))
            })
            .collect()
    }
}

impl<'a> EnvView<'_, 'a> {
    /// conda's TensorFlow and its build string, where conda brought it.
    pub fn conda_tf(&self) -> Option<(&'a Dist, &'a str)> {
        self.env
            .dists
            .iter()
            .filter(|dist| dist.name == "tensorflow" || dist.name == "tensorflow-base")
            .find_map(|dist| Some((dist, dist.conda_build.as_deref()?)))
    }

    /// Whether conda brought TensorFlow.
    pub fn is_conda_tf(&self) -> bool {
        self.conda_tf().is_some()
    }

    /// The requirement that brings a TensorFlow with the libraries of CUDA, as near as can be to a distribution that is
    /// here, and why it is another release where it is one; `None` where none that is known runs on this Python.
    pub fn with_cuda(&self, name: &str, version: Option<&str>) -> Option<(String, Option<String>)> {
        if name.starts_with("tf-nightly") {
            return Some(("'tf-nightly[and-cuda]'".to_owned(), None));
        }
        let db = self.view.db;
        let python = self.python_requirement();
        let python: Vec<&str> = python.as_deref().into_iter().collect();
        // Builds of others add a fourth number or a local part, which the package index does not have.
        let release = |version: Version| match version.release() {
            [first, second, third, _, ..] => Version::new([*first, *second, *third]),
            _ => version.without_local(),
        };
        let version = version.and_then(|text| Version::from_str(text).ok()).map(release);
        let row = version.as_ref().and_then(|version| db.wheel_row(version));
        let fails = row.and_then(|row| row.and_cuda_fails_on(&python));
        let has = row.map_or_else(
            || {
                let newest = db.nearest_and_cuda(None, &[]).map(|row| &row.version);
                let own = name == "tensorflow"
                    && self.requirements().any(|requirement| requirement.extra.as_deref() == Some("and-cuda"));
                own || version.as_ref().is_some_and(|version| newest.is_none_or(|newest| version > newest))
            },
            |row| !row.and_cuda.is_empty(),
        );
        let spec = |version: &Version| format!("'tensorflow[and-cuda]=={version}'");
        if let Some(version) = version.as_ref().filter(|_| has && fails.is_none()) {
            return Some((spec(version), None));
        }
        let near = db.nearest_and_cuda(version.as_ref(), &python)?;
        let why = version.map(|version| match fails {
            Some(why) => format!("`tensorflow[and-cuda]=={version}` alone gives no GPU: {why}"),
            None => format!("TensorFlow {version} has no extra `and-cuda`, which brings the libraries of CUDA"),
        });
        Some((spec(&near.version), why))
    }

    /// Whether this TensorFlow is made for AMD's GPUs.
    pub fn is_rocm(&self) -> bool {
        self.tf().and_then(|tf| tf.build.value()).is_some_and(|build| build.rocm_build)
    }

    /// Whether a distribution only pulls another one in and holds no package of its own.
    pub fn is_shim(&self, dist: &Dist) -> bool {
        // On Arm `tensorflow` up to 2.16 is empty and requires `tensorflow-cpu-aws`; on Windows it requires `tensorflow-intel`.
        dist.requires.iter().any(|requirement| {
            requirement.applies == Some(true)
                && requirement.extra.is_none()
                && requirement.name.starts_with("tensorflow-")
                && self.tf_dists().iter().any(|other| other.name == requirement.name)
        })
    }
}

/// Whether a backend of Keras computes on the GPU, as far as its packages tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accelerated {
    /// It has CUDA here; what shows it.
    Yes(Vec<Evidence>),
    /// It does not; why.
    No(Lack),
    /// It cannot be told; why.
    Unknown(String),
}

/// Why a backend of Keras does not compute on the GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// What it lacks.
    pub of: Lacks,
    /// The variable that keeps it off the GPU besides.
    pub variable: Option<&'static str>,
    /// What shows it.
    pub evidence: Vec<Evidence>,
}

/// What a backend of Keras lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lacks {
    /// Nothing that is installed of it is made for CUDA.
    Cuda,
    /// Nothing: a variable keeps it off the GPU.
    Nothing,
    /// Packages of its own.
    Parts(Vec<String>),
    /// Libraries of CUDA that it opens or needs.
    Libraries(Vec<String>),
    /// A library of CUDA that has what others ask of it.
    Fitting(String),
    /// Code for the GPUs that are here: the first of them, in words.
    Code(String),
}

impl Lack {
    fn new(of: Lacks, evidence: Vec<Evidence>) -> Self {
        Self { of, variable: None, evidence }
    }
}

impl Accelerated {
    /// The same where a variable keeps it off the GPU besides.
    fn kept_off(self, variable: &'static str, value: &str) -> Self {
        let mut lack = match self {
            Self::No(lack) => lack,
            _ => Lack::new(Lacks::Nothing, Vec::new()),
        };
        lack.evidence.insert(0, Evidence::env(variable, value));
        lack.variable = Some(variable);
        Self::No(lack)
    }
}

impl EnvView<'_, '_> {
    /// Whether the backend that Keras is set to has CUDA here; only for backends other than TensorFlow.
    pub fn backend_acceleration(&self) -> Accelerated {
        match self.backend().name.as_str() {
            "jax" => self.jax_acceleration(),
            "torch" => self.torch_acceleration(),
            name => {
                let at = self.env.modules.get(name).map_or(name, |module| module.path.as_str());
                Accelerated::No(Lack::new(Lacks::Cuda, vec![Evidence::file(at, "this backend computes on the CPU")]))
            }
        }
    }

    /// Whether Keras computes with another backend than TensorFlow, which may well have the GPU: what TensorFlow lacks
    /// is no fault then. Keras's own `requirements-jax-cuda.txt` brings `tensorflow-cpu`.
    pub fn computes_elsewhere(&self) -> bool {
        self.keras().is_some()
            && !self.keras_on_tensorflow()
            && self.backend_is_known()
            && self.has_backend(&self.backend().name)
            && !matches!(self.backend_acceleration(), Accelerated::No(_))
    }

    /// Whether JAX does not let itself be imported with the jaxlib that is here.
    pub fn jax_refuses(&self) -> bool {
        self.env.unmet.iter().any(|unmet| unmet.clashes("jax"))
    }

    fn jax_acceleration(&self) -> Accelerated {
        let Some(jax) = &self.env.jax else { return Accelerated::Unknown("what JAX is installed".to_owned()) };
        if self.jax_refuses() {
            return Accelerated::Unknown("what JAX has here, which does not import".to_owned());
        }
        let here = self.jax_cuda(jax);
        let variable = |name: &str| self.view.facts.env.get(name).map(String::as_str);
        let (list, single) = (variable("JAX_PLATFORMS"), variable("JAX_PLATFORM_NAME"));
        let Some(variable) = jax_kept_off(list, single) else { return here };
        here.kept_off(variable, if variable == "JAX_PLATFORMS" { list } else { single }.unwrap_or(""))
    }

    /// Whether JAX has CUDA here, variables left aside. Of two CUDA majors one is enough.
    fn jax_cuda(&self, jax: &Jax) -> Accelerated {
        if jax.cuda.is_empty() {
            if let Some(name) = jax.plugins.keys().find(|name| name.contains("cuda")) {
                return Accelerated::Unknown(format!("what of {name} is there"));
            }
            let dist = self.dist("jaxlib");
            let version = jax.jaxlib.as_deref().unwrap_or("of unknown version");
            // Older wheels (`0.4.7+cuda12.cudnn88`) and conda's package hold CUDA themselves.
            let own = version.contains("+cuda")
                || dist.and_then(|dist| dist.conda_build.as_deref()).is_some_and(|build| build.starts_with("cuda"));
            if own {
                return Accelerated::Unknown(format!(
                    "whether jaxlib {version}, which holds CUDA itself, finds all of it"
                ));
            }
            let at = dist.map_or("jaxlib", |dist| dist.metadata.as_str());
            let says = format!("jaxlib {version}, and no jax-cuda plugin beside it");
            return Accelerated::No(Lack::new(Lacks::Cuda, vec![Evidence::package(at, says)]));
        }
        let mut all: Vec<Accelerated> = jax.cuda.iter().map(|plugin| self.jax_plugin(jax, plugin)).collect();
        let best = |one: &Accelerated| match one {
            Accelerated::Yes(_) => 0,
            Accelerated::Unknown(_) => 1,
            Accelerated::No(_) => 2,
        };
        crate::sort::by_key(&mut all, best);
        all.swap_remove(0)
    }

    /// Whether one CUDA plugin of JAX gives it the GPU.
    ///
    /// Source: `initialize` of `jax_plugins/xla_cuda12/__init__.py` (jax-cuda12-pjrt 0.4.30 to 0.10.2), exceptions of
    /// which `discover_pjrt_plugins` of `jax/_src/xla_bridge.py` logs and forgets, and `check_plugin_version` of
    /// `jaxlib/plugin_support.py`.
    fn jax_plugin(&self, jax: &Jax, plugin: &JaxPlugin) -> Accelerated {
        let names = ["pjrt", "plugin"].map(|part| format!("jax-cuda{}-{part}", plugin.major));
        let dist = |name: &str| self.dist(name).map(Self::dist_evidence);
        let shown = || names.iter().find_map(|name| dist(name)).into_iter();
        let site = names.iter().find_map(|name| self.dist(name)).map(|dist| dist.location.as_str());
        let parts = |name: &str, file: String| {
            let file = site.map_or_else(|| file.clone(), |site| format!("{site}/{file}"));
            let evidence = shown().chain([Evidence::file(file, "not there")]).collect();
            Accelerated::No(Lack::new(Lacks::Parts(vec![name.to_owned()]), evidence))
        };
        if plugin.library.is_none() {
            return parts(&names[0], format!("jax_plugins/xla_cuda{}/xla_cuda_plugin.so", plugin.major));
        }
        if plugin.kernels.is_none() {
            return match &plugin.checks {
                Some(_) => parts(&names[1], format!("jax_cuda{}_plugin", plugin.major)),
                None => Accelerated::Unknown(format!("whether JAX computes on the GPU without {}", names[1])),
            };
        }
        // Which of two majors a library belongs to is not asked.
        let alone = jax.cuda.iter().filter(|plugin| plugin.library.is_some()).count() == 1;
        let mut missing = Vec::new();
        let mut untold = None;
        for resolution in &jax.libraries {
            let name = &resolution.name;
            let stem = name.split(".so").next().unwrap_or_default();
            match resolution.file.value() {
                Some(library) if library.missing.is_empty() && library.unresolved.is_empty() => {}
                Some(library) => untold = Some(format!("whether JAX can load {}", library.path)),
                // From `nvidia/*/lib` JAX opens it itself.
                None if resolution.others.iter().any(|other| other.path.contains("/nvidia/")) => {}
                None if !resolution.file.is_absent() => untold = Some(format!("which {name} JAX gets")),
                None if stem == "libcupti" && plugin.checks.is_none() => {}
                // No release asks for it before it is used.
                None if stem == "libcusolver" => untold = Some(format!("whether JAX needs {name}, which is not found")),
                None => missing.push(resolution),
            }
        }
        if !missing.is_empty() {
            let listed = missing.iter().map(|resolution| resolution.name.clone()).collect::<Vec<_>>();
            let skips = self.view.facts.env.get(JAX_SKIPS_CHECKS).is_some_and(|value| !value.is_empty());
            // One that asks for nothing beforehand may get far without some of them, but not without all.
            let checked = plugin.checks.is_some() && !skips;
            let all = ["libcudart", "libcublas", "libcudnn"];
            let all = all.iter().all(|stem| listed.iter().any(|name| name.split(".so").next() == Some(stem)));
            if !alone || !(checked || all) {
                return Accelerated::Unknown(format!("whether JAX needs {}, not found", listed.join(", ")));
            }
            let at = plugin.library.as_deref().unwrap_or("xla_cuda_plugin.so");
            let says = format!(
                "opens {} by name; neither `nvidia` packages, LD_LIBRARY_PATH, its RPATH, the loader's cache nor the default folders have it",
                listed[0]
            );
            let evidence = [Evidence::loader(at, says)].into_iter().chain(plugin.checks.clone()).collect();
            return Accelerated::No(Lack::new(Lacks::Libraries(listed), evidence));
        }
        if let Some(why) = untold.or_else(|| self.jax_versions(jax, plugin, &names[1])) {
            return Accelerated::Unknown(why);
        }
        Accelerated::Yes(shown().collect())
    }

    /// What of the versions leaves open whether JAX computes on the GPU.
    fn jax_versions(&self, jax: &Jax, plugin: &JaxPlugin, name: &str) -> Option<String> {
        // jaxlib leaves out kernels of another version: the numbers in front are compared, and no more.
        if let (Some(own), Some(other)) = (jax.jaxlib.as_deref(), plugin.version.as_deref())
            && let (Some(numbers), Some(others)) = (leading_numbers(own), leading_numbers(other))
            && numbers != others
        {
            return Some(format!(
                "whether JAX computes on the GPU with {name} {other}: jaxlib {own} does not use kernels of another version"
            ));
        }
        // Which versions it was built with is in compiled modules; that it asks for others is not.
        let dist = self.dist(name)?;
        let asked = dist.requires.iter().filter(|requirement| requirement.applies != Some(false));
        let part = |name: &str| name.starts_with("nvidia-") || name.starts_with("jax-cuda");
        asked.filter(|requirement| part(&requirement.name)).find_map(|requirement| {
            let ask = |what: String| {
                let specifier = &requirement.specifier;
                Some(format!("whether JAX works with {what}: {name} {} asks for {specifier}", dist.version))
            };
            if let Some(wheel) = self.dist(&requirement.name) {
                let outside = within(&wheel.version, &requirement.specifier) == Some(false);
                return outside.then(|| ask(format!("{} {}", wheel.name, wheel.version))).flatten();
            }
            // A cuDNN from elsewhere tells its version by its name or its header.
            let stem = requirement.name.strip_prefix("nvidia-cudnn-cu").map(|_| "libcudnn.so.")?;
            let library = jax.libraries.iter().find(|resolution| resolution.name.starts_with(stem))?.file.value()?;
            let version = &library.version.as_ref()?.value;
            let floor = lower_bound(&requirement.specifier)?;
            (version.prefix(floor.len()) < floor).then(|| ask(format!("cuDNN {version}"))).flatten()
        })
    }

    fn torch_acceleration(&self) -> Accelerated {
        let here = self.torch_here();
        // Keras takes any text for the device; it asks for CUDA itself only where there is none.
        let device = self.view.facts.env.get(TORCH_DEVICE).map(String::as_str);
        match device.filter(|device| !device.is_empty() && !device.starts_with("cuda")) {
            Some(device) => here.kept_off(TORCH_DEVICE, device),
            None => here,
        }
    }

    /// Whether `PyTorch` has CUDA here, variables left aside.
    fn torch_here(&self) -> Accelerated {
        let Some(torch) = &self.env.torch else { return Accelerated::Unknown("what PyTorch is installed".to_owned()) };
        let no = |of: Lacks, evidence: Vec<Evidence>| Accelerated::No(Lack::new(of, evidence));
        match (torch.cuda.value(), torch.cuda.is_absent()) {
            (Some(cuda), _) if torch.libtorch_cuda => {
                let stated = torch
                    .cuda
                    .evidence()
                    .cloned()
                    .unwrap_or_else(|| Evidence::package("torch", format!("CUDA {cuda}")));
                self.torch_cuda(torch, stated)
            }
            (Some(_), _) => no(
                Lacks::Cuda,
                vec![Evidence::file("torch/lib/libtorch_cuda.so", "not there, although version.py names a CUDA")],
            ),
            (None, true) => {
                let at = torch
                    .module
                    .as_ref()
                    .map_or_else(|| "torch/version.py".to_owned(), |module| format!("{}/version.py", module.path));
                let says = format!("torch {} without CUDA", torch.version.as_deref().unwrap_or_default());
                no(Lacks::Cuda, vec![Evidence::file(at, says)])
            }
            (None, false) => Accelerated::Unknown("whether this PyTorch has CUDA".to_owned()),
        }
    }

    /// Whether a `PyTorch` that was built with CUDA can be loaded, and has code for a GPU that is here.
    fn torch_cuda(&self, torch: &Torch, stated: Evidence) -> Accelerated {
        let nvidia =
            |name: &str| name.starts_with("libcu") || name.starts_with("libnv") || name.starts_with("libnccl.");
        let (cuda, other): (Vec<_>, Vec<_>) = torch.missing.iter().partition(|lacking| nvidia(&lacking.name));
        if let Some(first) = cuda.first() {
            let says = format!("needs {}, which neither the loader nor `nvidia` packages have", first.name);
            let names = cuda.iter().map(|lacking| lacking.name.clone()).collect();
            let evidence = vec![Evidence::loader(&first.by, says), stated];
            return Accelerated::No(Lack::new(Lacks::Libraries(names), evidence));
        }
        if let Some(first) = torch.unresolved.first() {
            let says = format!("asks {} for {}, which {} does not have", first.of, first.symbol, first.file);
            let evidence = vec![Evidence::loader(&first.by, says), stated];
            return Accelerated::No(Lack::new(Lacks::Fitting(first.of.clone()), evidence));
        }
        if let Some(first) = other.first() {
            return Accelerated::Unknown(format!(
                "whether {} loads: it needs {}, which is not found",
                first.by, first.name
            ));
        }
        if let Some(why) = &torch.untold {
            return Accelerated::Unknown(format!("whether PyTorch finds the libraries that it needs: {why}"));
        }
        if torch.compute.is_empty() {
            return Accelerated::Yes(vec![stated]);
        }
        let gpus = &self.view.gpus;
        let fits = gpus.iter().map(|gpu| (gpu, gpu.compute.as_ref().and_then(|of| code_fit(of, &torch.compute))));
        let (unfit, rest): (Vec<_>, Vec<_>) = fits.partition(|(_, fit)| *fit == Some(CodeFit::None));
        let name = |gpu: &Gpu| match &gpu.compute {
            Some(compute) if gpu.assumed => format!("compute capability {compute}"),
            Some(compute) => format!("{} (compute capability {compute})", gpu.name),
            None => gpu.name.clone(),
        };
        match (unfit.first(), rest.first()) {
            (Some((first, _)), None) => {
                let at = torch.module.as_ref().map_or("torch", |module| module.path.as_str());
                let code = Evidence::file(format!("{at}/lib/libtorch_python.so"), torch.compute.join(" "));
                let devices = unfit.iter().take(8).map(|(gpu, _)| gpu.evidence.clone());
                let evidence = [code].into_iter().chain(devices).collect();
                Accelerated::No(Lack::new(Lacks::Code(name(first)), evidence))
            }
            // The fastest is taken, or the first on the bus.
            (Some((first, _)), Some(_)) => {
                Accelerated::Unknown(format!("which GPU PyTorch takes: it has no code for {}", name(first)))
            }
            (None, _) => match rest.iter().find(|(_, fit)| fit.is_none()) {
                Some((gpu, _)) => Accelerated::Unknown(format!("the compute capability of {}", gpu.name)),
                None => Accelerated::Yes(vec![stated]),
            },
        }
    }
}

/// The variable that names the device on which Keras computes with `PyTorch`.
const TORCH_DEVICE: &str = "KERAS_TORCH_DEVICE";

/// The variable with which JAX passes over what it would find missing of CUDA.
pub const JAX_SKIPS_CHECKS: &str = "JAX_SKIP_CUDA_CONSTRAINTS_CHECK";

/// The variable that keeps JAX off NVIDIA's GPUs, or makes it fail.
///
/// Source: `backends` and `_get_backend_uncached` of `jax/_src/xla_bridge.py`, 0.4.30 to 0.10.2. All platforms of
/// `JAX_PLATFORMS` must start, or an exception ends it, and the first is the default; `gpu` stands there for `cuda`
/// and `rocm` both, so that it fails where one of them is missing. Neither case nor spaces are forgiven. `JAX_PLATFORM_NAME`,
/// in any case, chooses the default among them; its `gpu` is the one that is there.
fn jax_kept_off(list: Option<&str>, single: Option<&str>) -> Option<&'static str> {
    let list: Vec<&str> =
        list.filter(|text| !text.is_empty()).map(|text| text.split(',').collect()).unwrap_or_default();
    if !list.is_empty() && (list.iter().any(|name| !matches!(*name, "cpu" | "cuda")) || !list.contains(&"cuda")) {
        return Some("JAX_PLATFORMS");
    }
    match single.filter(|text| !text.is_empty()).map(str::to_lowercase).as_deref() {
        Some("cuda" | "gpu") => None,
        Some(_) => Some("JAX_PLATFORM_NAME"),
        None => list.first().filter(|first| **first != "cuda").map(|_| "JAX_PLATFORMS"),
    }
}

impl View<'_> {
    /// A command that gives a backend CUDA, for the CUDA major that the driver can run.
    pub fn cuda_backend(&self, env: &EnvView<'_, '_>, backend: &str) -> Option<String> {
        // Wheels of two CUDA majors in one environment overwrite each other: what is there decides.
        let installed = env
            .env
            .dists
            .iter()
            .filter(|dist| dist.name.starts_with("nvidia-"))
            .find_map(|dist| dist.name.rsplit_once("-cu")?.1.parse().ok());
        let plugin = env.env.jax.as_ref().filter(|_| backend == "jax").and_then(|jax| jax.cuda.last());
        let major = plugin
            .map(|plugin| plugin.major)
            .or(installed)
            .or_else(|| env.cuda_major())
            .unwrap_or_else(|| self.driver_cuda().map_or(12, |(cuda, _)| if cuda.major() >= 13 { 13 } else { 12 }));
        match backend {
            "jax" => {
                let version = env.dist("jax").map_or_else(String::new, |dist| format!("=={}", dist.version));
                Some(self.install(env.env, &format!("'jax[cuda{major}]{version}'")))
            }
            // Which index serves a CUDA build of PyTorch changes with its releases: no command is better than a wrong one.
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What JAX 0.6.2 was seen to do with these values, and what its source says of those with a GPU.
    #[test]
    fn platforms_of_jax_are_those_that_all_start_and_the_first_is_the_default() {
        let by = |list: &str, single: &str| jax_kept_off(Some(list), Some(single));
        for list in ["cpu", "cpu,cuda", "gpu", "cuda,rocm", "rocm", "CUDA", "cuda, cpu", " cuda", "cuda,", "tpu,cuda"] {
            assert_eq!(by(list, ""), Some("JAX_PLATFORMS"), "{list}");
        }
        for single in ["cpu", "CPU", "rocm", "cuda,cpu", " gpu"] {
            assert_eq!(by("", single), Some("JAX_PLATFORM_NAME"), "{single}");
            assert_eq!(by("cuda,cpu", single), Some("JAX_PLATFORM_NAME"), "{single}");
        }
        for (list, single) in [("", ""), ("cuda", ""), ("cuda,cpu", ""), ("", "gpu"), ("", "CUDA"), ("cpu,cuda", "gpu")]
        {
            assert_eq!(by(list, single), None, "{list} {single}");
        }
        assert_eq!(by("cpu", "gpu"), Some("JAX_PLATFORMS"));
        assert_eq!(jax_kept_off(None, None), None);
    }

    #[test]
    fn packages_are_installed_where_tensorflow_lies() {
        let (facts, db) = (Facts::default(), Database::embedded());
        let view = View::new(&facts, db);
        let module = Module { dist: Some(0), ..Module::default() };
        let mut env = PythonEnv {
            interpreter: "/venv/bin/python".to_owned(),
            dists: vec![Dist { name: "tensorflow".to_owned(), ..Dist::default() }],
            tensorflow: Some(TensorFlow { module: Some(module), ..TensorFlow::default() }),
            ..PythonEnv::default()
        };
        let mut at = |origin, location: &str, what: &str| {
            let module = env.tensorflow.as_mut().unwrap().module.as_mut().unwrap();
            module.origin = Some(origin);
            "/t".clone_into(&mut module.entry);
            location.clone_into(&mut env.dists[0].location);
            view.install(&env, what).replace("/venv/bin/", "")
        };
        let all = "'tensorflow[and-cuda]==2.20.0'";
        assert_eq!(at(PathOrigin::Site, "/t", "x"), "python -m pip install x");
        assert_eq!(at(PathOrigin::UserSite, "/t", "x"), "python -m pip install --user x");
        let upgrade = format!("python -m pip install --upgrade --target /t {all}");
        assert_eq!(at(PathOrigin::PythonPath, "/t", all), upgrade);
        assert_eq!(at(PathOrigin::PythonPath, "/t", "x"), "uv pip install --python python --target /t x");
        // Its own sources on PYTHONPATH: nothing is installed among them.
        assert_eq!(at(PathOrigin::PythonPath, "/site", "x"), "python -m pip install x");
    }
}
