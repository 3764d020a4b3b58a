//! Asks NVML for its GPUs, in a child process; what a GPU or an old driver does not know is left out.

#![expect(unsafe_code, reason = "one call is not in the crate, and is made in child processes only")]

use std::ffi::{OsStr, c_int, c_uint};

use nvml_wrapper::Device;
use nvml_wrapper::Nvml as Library;
use nvml_wrapper::enum_wrappers::device::{ComputeMode as Mode, EccCounter, MemoryError, RetirementCause};
use nvml_wrapper::enums::device::UsedGpuMemory;
use nvml_wrapper::error::NvmlError;
use serde::{Deserialize, Serialize};

use super::{MOST_GPUS, Teller, library};
use crate::facts::{ComputeMode, GpuProcess, MigInstance, Nvml, NvmlGpu, RemappedRows};
use crate::version::Dotted;

/// Asks for an [`Nvml`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ask {
    /// The libnvidia-ml that the loader would choose.
    pub library: String,
    /// How many seconds it may work in silence before its limit counts.
    #[serde(default)]
    pub patience: u32,
    /// The first GPU that is asked: one before it crashed another process.
    #[serde(default)]
    pub from: u32,
}

/// A piece of the answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// What comes first: everything but the GPUs.
    Library(Box<Nvml>),
    /// One GPU, or why it cannot be asked.
    Gpu(Box<NvmlGpu>),
}

/// Processes that are listed of one GPU.
const PROCESSES: usize = 32;
/// Places for MIG instances on one GPU.
const INSTANCES: u32 = 16;

/// Answers [`Ask`].
pub(super) fn ask(question: &Ask, teller: &mut Teller) -> Result<(), String> {
    teller.stage("nvmlInit ran");
    let _beats = teller.beats(question.patience);
    let nvml = Library::builder().lib_path(OsStr::new(&question.library)).init();
    let nvml = nvml.map_err(|error| format!("nvmlInit: {}", told(&error)))?;
    // The same library again, for what the crate does not have; it stays without where that fails.
    let raw = library::Library::open(&question.library, teller).ok();
    teller.stage("the driver's version was asked");
    let mut seen = Nvml { library: question.library.clone(), ..Nvml::default() };
    seen.driver = nvml.sys_driver_version().ok().and_then(|version| version.parse().ok());
    let cuda = nvml.sys_cuda_driver_version().ok().and_then(|version| u32::try_from(version).ok());
    seen.cuda = cuda.filter(|cuda| *cuda > 0).map(Dotted::of_cuda);
    let count = nvml.device_count().map_err(|error| format!("nvmlDeviceGetCount: {}", told(&error)))?;
    teller.part(&Part::Library(Box::new(seen)));
    for index in question.from..count.min(MOST_GPUS) {
        teller.stage(format!("GPU {index} was asked"));
        let seen = match nvml.device_by_index(index) {
            Ok(device) => gpu(index, &device, raw.as_ref()),
            Err(error) => NvmlGpu { index, failure: Some(told(&error)), ..NvmlGpu::default() },
        };
        teller.part(&Part::Gpu(Box::new(seen)));
    }
    Ok(())
}

fn told(error: &NvmlError) -> String {
    match error {
        NvmlError::LibRmVersionMismatch => "driver and library are of different versions (18)".to_owned(),
        NvmlError::GpuLost => NvmlGpu::LOST.to_owned(),
        other => other.to_string(),
    }
}

fn gpu(index: u32, device: &Device<'_>, raw: Option<&library::Library>) -> NvmlGpu {
    let memory = device.memory_info();
    let lost = matches!(memory, Err(NvmlError::GpuLost)).then(|| NvmlGpu::LOST.to_owned());
    let memory = memory.map(|memory| (memory.total, memory.free)).ok().or_else(|| older_memory(device, raw?));
    let mig = device.mig_mode().ok().map(|mode| mode.current == 1);
    let pages = |cause| device.retired_pages(cause).ok().and_then(|pages| u32::try_from(pages.len()).ok());
    let retired = pages(RetirementCause::MultipleSingleBitEccErrors)
        .and_then(|single| Some(single + pages(RetirementCause::DoubleBitEccError)?));
    NvmlGpu {
        index,
        name: device.name().ok(),
        uuid: device.uuid().ok(),
        address: device.pci_info().ok().map(|pci| short_address(&pci.bus_id)),
        compute: device.cuda_compute_capability().ok().and_then(|capability| {
            Some(Dotted::new(&[u32::try_from(capability.major).ok()?, u32::try_from(capability.minor).ok()?]))
        }),
        memory: memory.map(|(total, _)| total),
        free: memory.map(|(_, free)| free),
        compute_mode: device.compute_mode().ok().map(|mode| match mode {
            Mode::Default => ComputeMode::Default,
            Mode::ExclusiveThread => ComputeMode::ExclusiveThread,
            Mode::Prohibited => ComputeMode::Prohibited,
            Mode::ExclusiveProcess => ComputeMode::ExclusiveProcess,
        }),
        persistence: device.is_in_persistent_mode().ok(),
        mig,
        instances: if mig == Some(true) { instances(device) } else { Vec::new() },
        ecc: device.is_ecc_enabled().ok().map(|ecc| ecc.currently_enabled),
        uncorrected: device.total_ecc_errors(MemoryError::Uncorrected, EccCounter::Volatile).ok(),
        retired_pages: retired,
        remapped_rows: raw.and_then(|raw| remapped(device, raw)),
        processes: device.running_compute_processes().unwrap_or_default().iter().take(PROCESSES).map(process).collect(),
        failure: lost,
    }
}

fn process(process: &nvml_wrapper::struct_wrappers::device::ProcessInfo) -> GpuProcess {
    let memory = match process.used_gpu_memory {
        UsedGpuMemory::Used(bytes) => Some(bytes),
        UsedGpuMemory::Unavailable => None,
    };
    GpuProcess { pid: process.pid, memory }
}

fn instances(device: &Device<'_>) -> Vec<MigInstance> {
    let places = device.mig_device_count().unwrap_or(0).min(INSTANCES);
    let found = (0..places).filter_map(|place| device.mig_device_by_index(place).ok());
    found
        .map(|instance| MigInstance {
            uuid: instance.uuid().ok(),
            name: instance.name().ok(),
            memory: instance.memory_info().ok().map(|memory| memory.total),
        })
        .collect()
}

/// Total and free memory by the call of drivers before 510, which the crate does not make.
fn older_memory(device: &Device<'_>, raw: &library::Library) -> Option<(u64, u64)> {
    type Function = unsafe extern "C" fn(*mut std::ffi::c_void, *mut [u64; 3]) -> c_int;
    // SAFETY: that is its type in nvml.h: three numbers, total, free and used.
    let function = unsafe { raw.function::<Function>("nvmlDeviceGetMemoryInfo") }.ok()?;
    let mut numbers = [0; 3];
    // SAFETY: the handle is of the same library, which stays open, and is used by nobody else meanwhile.
    let code = unsafe { function(device.handle().cast(), &raw mut numbers) };
    (code == 0).then_some((numbers[0], numbers[1]))
}

fn remapped(device: &Device<'_>, raw: &library::Library) -> Option<RemappedRows> {
    type Function =
        unsafe extern "C" fn(*mut std::ffi::c_void, *mut c_uint, *mut c_uint, *mut c_uint, *mut c_uint) -> c_int;
    // SAFETY: that is its type in nvml.h.
    let function = unsafe { raw.function::<Function>("nvmlDeviceGetRemappedRows") }.ok()?;
    let (mut correctable, mut uncorrectable, mut pending, mut failed) = (0, 0, 0, 0);
    // SAFETY: the handle is of the same library, which stays open, and is used by nobody else meanwhile.
    let code = unsafe {
        function(
            device.handle().cast(),
            &raw mut correctable,
            &raw mut uncorrectable,
            &raw mut pending,
            &raw mut failed,
        )
    };
    (code == 0).then_some(RemappedRows { correctable, uncorrectable, pending: pending != 0, failed: failed != 0 })
}

/// `00000000:01:00.0` as the kernel writes it, `0000:01:00.0`.
fn short_address(address: &str) -> String {
    let address = address.to_ascii_lowercase();
    match address.strip_prefix("0000") {
        Some(rest) if rest.find(':') == Some(4) => rest.to_owned(),
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn addresses_are_those_of_the_kernel() {
        assert_eq!(super::short_address("00000000:01:00.0"), "0000:01:00.0");
        assert_eq!(super::short_address("0000:C1:00.0"), "0000:c1:00.0");
        assert_eq!(super::short_address("00010000:01:00.0"), "00010000:01:00.0");
    }
}
