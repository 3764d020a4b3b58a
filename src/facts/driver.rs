//! Readings of the NVIDIA driver: kernel module, user-space library, devices and nodes.

use serde::{Deserialize, Serialize};

use super::{Evidence, Probed, Reading, Resolution};
use crate::version::Dotted;

/// The NVIDIA driver, every reading kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Driver {
    /// Versions of the loaded kernel module: `/sys/module/nvidia/version`, `/proc/driver/nvidia/version`.
    pub kernel: Vec<Reading<Dotted>>,
    /// Whether the kernel module `nvidia` is loaded.
    pub loaded: Probed<bool>,
    /// Whether `nvidia_uvm` is loaded.
    pub uvm_loaded: Probed<bool>,
    /// Whether the loaded module says that it is the open one.
    pub open_module: Option<bool>,
    /// The folder in which the loaded open module would find the GPU's firmware (GSP) of its version, where that is in
    /// none of the kernel's places for firmware. Not looked for in containers and where the kernel has another place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firmware_gone: Option<Evidence>,
    /// Other modules that own the device: `nouveau`, `vfio-pci`, `nova`.
    pub rivals: Vec<Evidence>,
    /// Versions of user-space driver libraries by their file names.
    pub userspace: Vec<Reading<Dotted>>,
    /// What an ordinary program gets for `libcuda.so.1`.
    pub libcuda: Resolution,
    /// What an ordinary program gets for `libnvidia-ml.so.1`.
    pub nvml: Resolution,
    /// Every copy of libcuda that was met.
    pub copies: Vec<LibcudaCopy>,
    /// Kernel modules on disk, for any kernel.
    pub modules: Vec<InstalledModule>,
    /// The modules `nvidia_uvm`, which CUDA needs beside the main one, on disk for any kernel.
    #[serde(default)]
    pub uvm_modules: Vec<InstalledModule>,
    /// The folder of the running kernel's modules, where it is gone and those of other kernels are there: what is not
    /// loaded by now cannot be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modules_gone: Option<Evidence>,
    /// Whether the headers of the running kernel are there, with which modules are built for it; not looked for where its
    /// modules are gone.
    #[serde(default)]
    pub headers: Probed<bool>,
    /// Whether `nvidia-modprobe` is there as root's own program: the driver's libraries run it to load modules and to
    /// make nodes that are missing.
    #[serde(default)]
    pub modprobe: Probed<bool>,
    /// What has switched the NVIDIA GPU of a hybrid machine off: `prime-select`, `bbswitch`, or a rule of udev that takes
    /// it off the bus.
    #[serde(default)]
    pub switched_off: Option<Evidence>,
    /// A line of modprobe's configuration that keeps the module `nvidia` from loading: `alias nvidia off` and the like,
    /// else a plain `blacklist nvidia`, which does not count where the module is asked for by name.
    #[serde(default)]
    pub held_back: Option<Evidence>,
    /// What DKMS knows.
    pub dkms: Vec<DkmsModule>,
    /// Whether Secure Boot is on.
    pub secure_boot: Probed<bool>,
    /// Public keys that sign modules built here; whether they are enrolled is not told.
    pub mok: Vec<Evidence>,
    /// The device nodes.
    pub nodes: Vec<DeviceNode>,
    /// Devices that the loaded driver lists under `/proc/driver/nvidia/gpus`.
    pub gpus: Vec<ProcGpu>,
    /// Whether `/proc/driver/nvidia/gpus` could be listed; absent without a loaded driver.
    pub gpus_listed: Probed<bool>,
    /// NVSwitch and fabric manager.
    pub fabric: Fabric,
    /// Multi-instance GPU.
    pub mig: Vec<MigDevice>,
    /// Errors that the loaded module reported to the kernel's log since the machine started, the oldest first.
    #[serde(default)]
    pub xids: Probed<Vec<Xid>>,
}

/// An error that the kernel module reported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Xid {
    /// PCI address of the GPU, such as `0000:01:00.0`.
    pub address: String,
    /// Its number, by NVIDIA's list of Xid errors.
    pub number: u32,
    /// Seconds from the start of the machine.
    pub seconds: u64,
    /// What was said behind the number.
    pub says: String,
}

impl Xid {
    /// The report as evidence.
    pub fn evidence(&self) -> Evidence {
        let says = format!("Xid {} on {}: {}", self.number, self.address, self.says);
        Evidence::file("/dev/kmsg", says)
    }
}

/// A copy of libcuda on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LibcudaCopy {
    /// Where it was met.
    pub path: String,
    /// The file behind all links.
    pub real: String,
    /// What it is.
    pub kind: LibcudaKind,
    /// The version in its file name.
    pub version: Option<Dotted>,
}

/// What a copy of libcuda is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LibcudaKind {
    /// The driver's own.
    #[default]
    Driver,
    /// From a `cuda-compat` package.
    Compat,
    /// The toolkit's link-time stub, which answers 34 to everything.
    Stub,
    /// WSL's door to the Windows driver.
    Wsl,
    /// Assumed with `--assume driver`.
    Assumed,
}

/// A kernel module on disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstalledModule {
    /// The kernel release it was built for.
    pub kernel: String,
    /// Its path.
    pub path: String,
}

/// A module version that DKMS knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DkmsModule {
    /// The driver version.
    pub version: String,
    /// The kernels for which it is built.
    pub kernels: Vec<String>,
    /// Its folder.
    pub path: String,
}

/// A device node under `/dev`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceNode {
    /// Its path.
    pub path: String,
    /// Whether it is a character device; a recorded tree may hold plain files instead.
    pub character: bool,
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Whether the user can open it for reading and writing; `None` where that cannot be told.
    pub open: Option<bool>,
    /// Why it cannot be opened: the permission bits or the error of the system.
    pub why: Option<String>,
}

/// A device that the loaded driver lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcGpu {
    /// PCI address, such as `0000:01:00.0`.
    pub address: String,
    /// The marketing name.
    pub model: Option<String>,
    /// `GPU-…`; `None` where the driver hides it.
    pub uuid: Option<String>,
    /// The minor number of its device node.
    pub minor: Option<u32>,
    /// The version of the firmware that runs on it; `N/A` where none does.
    #[serde(default)]
    pub firmware: Option<String>,
    /// The `information` file.
    pub path: String,
}

/// A device on the PCI bus.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PciDevice {
    /// Address, such as `0000:01:00.0`.
    pub address: String,
    /// Vendor id, such as `0x10de`.
    pub vendor: String,
    /// Device id, such as `0x2330`.
    pub device: String,
    /// Class, such as `0x030200`.
    pub class: String,
    /// The kernel driver it is bound to.
    pub driver: Option<String>,
    /// Whether its configuration space reads all ones: it has fallen off the bus.
    pub lost: bool,
    /// Whether its first large memory window is unassigned.
    pub bar_unassigned: bool,
    /// `power/runtime_status`.
    pub power: Option<String>,
    /// The folder under `/sys`.
    pub path: String,
}

impl PciDevice {
    /// NVIDIA's vendor id.
    pub const NVIDIA: &str = "0x10de";

    /// Whether this is an NVIDIA GPU: vendor 10de and class 0300 (VGA) or 0302 (3D).
    pub fn is_nvidia_gpu(&self) -> bool {
        self.vendor.eq_ignore_ascii_case(Self::NVIDIA)
            && (self.class.starts_with("0x0300") || self.class.starts_with("0x0302"))
    }

    /// Whether this is an NVSwitch: a bridge (class 0680) that its driver has taken, or that of an A100 or H100.
    ///
    /// Chipsets of NVIDIA's have bridges of that class too. The ids are those of pci.ids.
    pub fn is_nvswitch(&self) -> bool {
        self.vendor.eq_ignore_ascii_case(Self::NVIDIA)
            && self.class.starts_with("0x0680")
            && (self.driver.as_deref() == Some("nvidia-nvswitch") || ["0x1af1", "0x22a3"].contains(&&*self.device))
    }
}

/// NVSwitch and fabric manager.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fabric {
    /// What shows NVSwitches: PCI bridges or nodes.
    pub switches: Vec<Evidence>,
    /// The version of the fabric manager on disk.
    pub installed: Probed<Dotted>,
    /// Whether it runs, as far as files tell.
    pub running: Probed<bool>,
}

/// A MIG instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MigDevice {
    /// The number of the GPU.
    pub gpu: u32,
    /// The GPU instance.
    pub instance: u32,
    /// The compute instances made in it.
    pub compute_instances: u32,
    /// Where this was read.
    pub path: String,
}
