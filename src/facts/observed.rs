//! Readings of the driver and the GPUs by the driver itself: what it says, and what became of the test kernel.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Probed;
use crate::version::Dotted;

/// What the driver, NVML and the test kernel told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observed {
    /// The folder of libraries that stood in for the driver, in tests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stand_in: Option<String>,
    /// Why no kernel was launched at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_run: Option<String>,
    /// What the driver API says.
    pub driver: Probed<DriverApi>,
    /// What NVML says.
    pub nvml: Probed<Nvml>,
    /// What the compilers made of the kernel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compiles: Vec<KernelCompile>,
    /// How many compilers were started for that; what the cache of kernels holds starts none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compilers_started: Option<u32>,
    /// What went wrong beside that and changes nothing, such as a cache that could not be written.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub troubles: Vec<super::Trouble>,
    /// What became of the kernel on each GPU, by each route.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<KernelRun>,
    /// What the libraries computed that TensorFlow of some environment would load.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub libraries: Vec<LibraryWork>,
}

impl Observed {
    /// Whether the kernel that needs only GPU and driver ran on some GPU and gave the right numbers.
    pub fn works(&self) -> bool {
        self.runs.iter().any(|run| run.route == "ptx" && run.failure.is_none())
    }
}

/// What the driver API says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DriverApi {
    /// The libcuda that was opened, by the name that the loader's search gave.
    pub library: String,
    /// The file that was mapped.
    pub mapped: Option<String>,
    /// The CUDA version that the driver reports.
    pub cuda: Option<Dotted>,
    /// Why it could not be asked for devices.
    pub failure: Option<Failed>,
    /// The devices that programs see, in their order.
    pub devices: Vec<ApiDevice>,
}

/// A device as the driver API shows it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiDevice {
    /// Its number.
    pub gpu: u32,
    /// Its name.
    pub name: String,
    /// `GPU-…` or `MIG-…`.
    pub uuid: Option<String>,
    /// PCI address, such as `0000:01:00.0`.
    pub address: Option<String>,
    /// Its compute capability.
    pub compute: Option<Dotted>,
    /// Its multiprocessors.
    pub multiprocessors: u32,
    /// Its memory in bytes.
    pub memory: Option<u64>,
    /// Who may use it.
    pub compute_mode: Option<ComputeMode>,
    /// Why it could not be asked further.
    pub failure: Option<Failed>,
}

/// Who may use a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ComputeMode {
    /// Everybody.
    Default,
    /// One thread.
    ExclusiveThread,
    /// Nobody.
    Prohibited,
    /// One process.
    ExclusiveProcess,
}

impl ComputeMode {
    /// The mode by its number.
    pub fn new(number: i32) -> Option<Self> {
        Some(match number {
            0 => Self::Default,
            1 => Self::ExclusiveThread,
            2 => Self::Prohibited,
            3 => Self::ExclusiveProcess,
            _ => return None,
        })
    }
}

/// What NVML says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nvml {
    /// The library that was opened.
    pub library: String,
    /// The version of the driver.
    pub driver: Option<Dotted>,
    /// The CUDA version that it reports.
    pub cuda: Option<Dotted>,
    /// All GPUs, visible to programs or not.
    pub gpus: Vec<NvmlGpu>,
}

/// A GPU as NVML shows it; what it does not support is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NvmlGpu {
    /// Its number there.
    pub index: u32,
    /// Its name.
    pub name: Option<String>,
    /// `GPU-…`.
    pub uuid: Option<String>,
    /// PCI address, such as `0000:01:00.0`.
    pub address: Option<String>,
    /// Its compute capability.
    pub compute: Option<Dotted>,
    /// Its memory in bytes.
    pub memory: Option<u64>,
    /// How much of it is free.
    pub free: Option<u64>,
    /// Who may use it.
    pub compute_mode: Option<ComputeMode>,
    /// Whether the driver stays loaded without users.
    pub persistence: Option<bool>,
    /// Whether MIG is on.
    pub mig: Option<bool>,
    /// Its MIG instances.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instances: Vec<MigInstance>,
    /// Whether ECC is on.
    pub ecc: Option<bool>,
    /// Uncorrectable memory errors since the driver was loaded.
    pub uncorrected: Option<u64>,
    /// Memory pages that are no longer used.
    pub retired_pages: Option<u32>,
    /// Memory rows that were remapped.
    pub remapped_rows: Option<RemappedRows>,
    /// Processes that compute on it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<GpuProcess>,
    /// What could not be asked, where that says something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

impl NvmlGpu {
    /// What `failure` says of a GPU that does not answer any more (`NVML_ERROR_GPU_IS_LOST`).
    pub const LOST: &'static str = "the GPU is lost (15)";

    /// Whether NVML says that it is lost.
    pub fn is_lost(&self) -> bool {
        self.failure.as_deref() == Some(Self::LOST)
    }
}

/// A MIG instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MigInstance {
    /// `MIG-…`.
    pub uuid: Option<String>,
    /// Its name.
    pub name: Option<String>,
    /// Its memory in bytes.
    pub memory: Option<u64>,
}

/// Remapped memory rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemappedRows {
    /// For errors that could be corrected.
    pub correctable: u32,
    /// For errors that could not.
    pub uncorrectable: u32,
    /// Whether more wait for the next reset.
    pub pending: bool,
    /// Whether one failed.
    pub failed: bool,
}

/// A process that computes on a GPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GpuProcess {
    /// Its number.
    pub pid: u32,
    /// The memory that it holds, in bytes.
    pub memory: Option<u64>,
}

/// A compilation of the test kernel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelCompile {
    /// `nvrtc` or `nvcc`.
    pub route: String,
    /// The compiler's file.
    pub compiler: Option<String>,
    /// Its version.
    pub toolkit: Option<String>,
    /// The host compiler that nvcc was told to use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_compiler: Option<String>,
    /// What it was compiled for.
    pub arch: Option<String>,
    /// Milliseconds.
    pub ms: f64,
    /// Whether it was kept from an earlier run.
    pub cached: bool,
    /// Why it gave nothing.
    pub failure: Option<CompileFailed>,
}

/// Why a compilation gave nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompileFailed {
    /// How far it came.
    pub stage: String,
    /// What it comes down to.
    pub cause: String,
    /// What the compiler says.
    pub says: String,
}

/// The test kernel on one GPU by one route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KernelRun {
    /// The number of the GPU, as programs see it.
    pub gpu: u32,
    /// `ptx`, `nvrtc` or `nvcc`.
    pub route: String,
    /// The version of the compiler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toolkit: Option<String>,
    /// The compiler's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compiler: Option<String>,
    /// What it was compiled for.
    pub arch: String,
    /// Milliseconds by stage.
    pub ms: BTreeMap<String, f64>,
    /// What failed; nothing, where the numbers were right.
    pub failure: Option<Failed>,
}

/// A library of NVIDIA's that frameworks compute with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MathLibrary {
    /// Matrices.
    #[default]
    Cublas,
    /// Neural networks.
    Cudnn,
}

impl MathLibrary {
    /// As NVIDIA writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cublas => "cuBLAS",
            Self::Cudnn => "cuDNN",
        }
    }

    /// The cause that a status of it stands for.
    ///
    /// The numbers are those of `cublas_api.h`, of `cudnn_graph.h` of cuDNN 9 (from 1000 on) and of
    /// `cudnn_ops_infer.h` of cuDNN 8 (below).
    pub const fn cause(self, status: i32) -> Cause {
        match (self, status) {
            (Self::Cublas, 3) | (Self::Cudnn, 2 | 4003 | 4004) => Cause::OutOfMemory,
            (Self::Cublas, 8) | (Self::Cudnn, 6 | 3007) => Cause::NoBinaryForGpu,
            (Self::Cublas, 13) | (Self::Cudnn, 8 | 5000..=5004) => Cause::KernelFault,
            (Self::Cudnn, 14 | 1002) => Cause::PartsMixed,
            (Self::Cudnn, 1008 | 3009) => Cause::PartMissing,
            (Self::Cudnn, 3005) => Cause::DriverTooOld,
            _ => Cause::Other,
        }
    }
}

impl MathLibrary {
    /// Whether a library says that it does not take what it was asked (invalid or not supported), which says nothing of
    /// what it takes from others.
    pub fn refuses(self, failed: &Failed) -> bool {
        let asked = match self {
            Self::Cublas => matches!(failed.code, Some(7 | 15)),
            Self::Cudnn => matches!(failed.code, Some(3 | 5 | 9 | 2000..=3999)),
        };
        asked && failed.cause == Cause::Other
    }
}

/// What a library computed on the GPUs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LibraryWork {
    /// Which library it is.
    pub library: MathLibrary,
    /// The file that was opened.
    pub path: String,
    /// The environments whose TensorFlow would load it, as indexes into `Facts::pythons`.
    pub envs: Vec<usize>,
    /// The version that it tells.
    pub version: Option<Dotted>,
    /// The CUDA runtime that it was built with, as it tells.
    pub cudart: Option<Dotted>,
    /// The files named `libcu*` and `libnv*` that were mapped in the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mapped: Vec<String>,
    /// What became of the computation on each GPU that was tried: the first of each compute capability.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub runs: Vec<LibraryRun>,
    /// What failed before a GPU was dealt with.
    pub failure: Option<Failed>,
}

impl LibraryWork {
    /// What failed, with the GPU where it has to do with one.
    pub fn failures(&self) -> impl Iterator<Item = (Option<u32>, &Failed)> {
        let runs = self.runs.iter().filter_map(|run| Some((Some(run.gpu), run.failure.as_ref()?)));
        self.failure.iter().map(|failed| (None, failed)).chain(runs)
    }
}

/// A computation on one GPU.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LibraryRun {
    /// The number of the GPU, as programs see it.
    pub gpu: u32,
    /// Milliseconds by stage.
    pub ms: BTreeMap<String, f64>,
    /// What failed; nothing, where the numbers were right.
    pub failure: Option<Failed>,
}

/// Something that failed when the driver was called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failed {
    /// How far it came.
    pub stage: Stage,
    /// What it comes down to.
    pub cause: Cause,
    /// The code that a call returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// What was called or happened, in words.
    pub says: String,
}

/// How far a launch came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The library was opened.
    Open,
    /// The driver was started.
    Init,
    /// The device was asked.
    Device,
    /// A context was made.
    Context,
    /// A library made its handle.
    Handle,
    /// The kernel was loaded.
    Load,
    /// Memory was taken and filled.
    Memory,
    /// The kernel ran.
    Launch,
    /// Its numbers were fetched and compared.
    Verify,
}

impl Stage {
    /// What was going on, a fragment that fits after "while".
    pub const fn doing(self) -> &'static str {
        match self {
            Self::Open => "libcuda was opened",
            Self::Init => "the driver was started",
            Self::Device => "the device was asked",
            Self::Context => "a context was made",
            Self::Handle => "a handle was made",
            Self::Load => "the kernel was loaded",
            Self::Memory => "memory was taken and filled",
            Self::Launch => "the kernel ran",
            Self::Verify => "the numbers were fetched",
        }
    }
}

/// What a failure comes down to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The library cannot be opened.
    LibraryBroken,
    /// It lacks a function that every driver has.
    SymbolMissing,
    /// It is the toolkit's stub.
    StubLibrary,
    /// The driver is older than the caller needs.
    DriverTooOld,
    /// Nothing is visible.
    NoDevice,
    /// The fabric or another part of the system is not ready.
    SystemNotReady,
    /// Kernel module and library are of different versions.
    DriverMismatch,
    /// Forward compatibility does not work on this GPU.
    CompatUnsupported,
    /// The GPU's memory is full.
    OutOfMemory,
    /// The GPU is set for one process, or for none.
    ExclusiveMode,
    /// The GPU is busy or cannot be had.
    DeviceUnavailable,
    /// The GPU answered and then did no more.
    DeviceLost,
    /// Uncorrectable memory errors, or another fault of the hardware.
    HardwareFault,
    /// There is no machine code for this GPU.
    NoBinaryForGpu,
    /// The PTX is newer than the driver.
    PtxNewerThanDriver,
    /// The PTX is not taken.
    InvalidPtx,
    /// The driver's own compiler for PTX is missing.
    JitCompilerMissing,
    /// It was switched off.
    JitDisabled,
    /// The kernel ended with a fault.
    KernelFault,
    /// The numbers are wrong.
    WrongResult,
    /// It took too long.
    TimedOut,
    /// A signal ended the process.
    Crashed,
    /// The parts of a library are of several releases.
    PartsMixed,
    /// A part of a library is missing.
    PartMissing,
    /// The operating system forbids it.
    NotPermitted,
    /// Something else.
    Other,
}

impl Cause {
    /// The cause that a code of the driver API stands for; what the codes mean is said in CUDA's `cuda.h` (13.5).
    pub fn of(code: i32, stage: Stage, mode: Option<ComputeMode>) -> Self {
        let shared = matches!(mode, None | Some(ComputeMode::Default));
        match code {
            2 => Self::OutOfMemory,
            34 => Self::StubLibrary,
            35 | 36 | 227 => Self::DriverTooOld,
            // Drivers answer either to a process that comes second.
            46 | 101 if stage == Stage::Context && !shared => Self::ExclusiveMode,
            46 => Self::DeviceUnavailable,
            100 => Self::NoDevice,
            // Before a GPU was named, none can be lost.
            101 if stage <= Stage::Init => Self::Other,
            101 | 709 => Self::DeviceLost,
            200 | 209 => Self::NoBinaryForGpu,
            218 => Self::InvalidPtx,
            221 => Self::JitCompilerMissing,
            222 => Self::PtxNewerThanDriver,
            223 => Self::JitDisabled,
            214 | 220 | 226 => Self::HardwareFault,
            702 => Self::TimedOut,
            700 | 710 | 714..=719 => Self::KernelFault,
            800 => Self::NotPermitted,
            802 | 919 => Self::SystemNotReady,
            803 => Self::DriverMismatch,
            804 => Self::CompatUnsupported,
            _ => Self::Other,
        }
    }

    /// The word for it, as in JSON.
    pub fn word(self) -> String {
        serde_json::to_value(self).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_down_to_causes() {
        for (code, stage, cause) in [
            (209, Stage::Load, "no-binary-for-gpu"),
            (222, Stage::Load, "ptx-newer-than-driver"),
            (34, Stage::Init, "stub-library"),
            (802, Stage::Init, "system-not-ready"),
            (803, Stage::Init, "driver-mismatch"),
            (804, Stage::Init, "compat-unsupported"),
            (2, Stage::Context, "out-of-memory"),
            (100, Stage::Init, "no-device"),
            (719, Stage::Launch, "kernel-fault"),
            (101, Stage::Init, "other"),
            (223, Stage::Load, "jit-disabled"),
            (227, Stage::Load, "driver-too-old"),
            (919, Stage::Init, "system-not-ready"),
            (701, Stage::Launch, "other"),
            (4321, Stage::Launch, "other"),
        ] {
            assert_eq!(Cause::of(code, stage, None).word(), cause, "{code}");
        }
        let exclusive = Some(ComputeMode::ExclusiveProcess);
        assert_eq!(Cause::of(46, Stage::Context, exclusive), Cause::ExclusiveMode);
        assert_eq!(Cause::of(101, Stage::Context, exclusive), Cause::ExclusiveMode);
        assert_eq!(Cause::of(46, Stage::Context, Some(ComputeMode::Default)), Cause::DeviceUnavailable);
        assert_eq!(Cause::of(101, Stage::Device, exclusive), Cause::DeviceLost);
    }
}
