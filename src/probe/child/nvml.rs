//! Asks NVML for its GPUs, in a child process; what a GPU or an old driver does not know is left out.
//!
//! The functions are declared here, as those of the driver are: a crate that has them all loads hundreds, and so few are
//! asked that it would be a hundredth of this program.

#![expect(unsafe_code, reason = "NVML is called in child processes, from here only")]

use std::ffi::{CStr, c_char, c_int, c_uint, c_ulonglong, c_void};
use std::ptr;

use serde::{Deserialize, Serialize};

use super::library::Library;
use super::{MOST_GPUS, Teller};
use crate::facts::{ComputeMode, GpuProcess, MigInstance, Nvml, NvmlGpu, RemappedRows};
use crate::version::Dotted;

/// Asks for an [`Nvml`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ask {
    /// The libnvidia-ml that the loader would choose.
    pub library: String,
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
/// Processes for which room is made: more than a GPU can serve.
const MOST_PROCESSES: u32 = 4096;
/// Places for MIG instances on one GPU.
const INSTANCES: u32 = 16;
/// The longest text that NVML gives (`NVML_DEVICE_NAME_V2_BUFFER_SIZE`, and of an id as much).
const TEXT: c_uint = 96;

// Codes of nvml.h.
const INSUFFICIENT_SIZE: c_int = 7;
const GPU_IS_LOST: c_int = 15;
const LIB_RM_VERSION_MISMATCH: c_int = 18;

/// A GPU, or a MIG instance.
type Handle = *mut c_void;

/// `nvmlPciInfo_t`.
#[repr(C)]
#[derive(Default)]
struct Pci {
    legacy: [u8; 16],
    numbers: [c_uint; 5],
    address: [u8; 32],
}

/// `nvmlMemory_v2_t`.
#[repr(C)]
#[derive(Default)]
struct Memory {
    version: c_uint,
    total: c_ulonglong,
    reserved: c_ulonglong,
    free: c_ulonglong,
    used: c_ulonglong,
}

/// The length of [`Memory`].
const MEMORY: c_uint = 40;
const _: () = assert!(size_of::<Memory>() == MEMORY as usize);

/// `nvmlProcessInfo_t`.
#[repr(C)]
#[derive(Clone, Default)]
struct Process {
    pid: c_uint,
    memory: c_ulonglong,
    instances: [c_uint; 2],
}

/// Answers [`Ask`].
pub(super) fn ask(question: &Ask, teller: &mut Teller) -> Result<(), String> {
    let library = Library::open(&question.library, teller)?;
    let nvml = Api { library: &library };
    teller.stage("nvmlInit ran");
    let failed = |function: &str, why: Failure| format!("{function}: {}", nvml.told(why));
    nvml.init().map_err(|why| failed("nvmlInit", why))?;
    teller.stage("the driver's version was asked");
    let mut seen = Nvml { library: question.library.clone(), ..Nvml::default() };
    seen.driver = nvml.driver().and_then(|version| version.parse().ok());
    seen.cuda = nvml.number("nvmlSystemGetCudaDriverVersion_v2").ok().filter(|cuda| *cuda > 0).map(Dotted::of_cuda);
    let count = nvml.number("nvmlDeviceGetCount_v2").map_err(|why| failed("nvmlDeviceGetCount", why))?;
    teller.part(&Part::Library(Box::new(seen)));
    for index in 0..count.min(MOST_GPUS) {
        teller.stage(format!("GPU {index} was asked"));
        let seen = match nvml.device(index) {
            Ok(device) => device.gpu(index),
            Err(why) => NvmlGpu { index, failure: Some(nvml.told(why)), ..NvmlGpu::default() },
        };
        teller.part(&Part::Gpu(Box::new(seen)));
    }
    Ok(())
}

/// Why something was not told.
enum Failure {
    /// The library has no such function.
    Absent(String),
    /// The function answered with this code.
    Code(c_int),
}

fn check(code: c_int) -> Result<(), Failure> {
    if code == 0 { Ok(()) } else { Err(Failure::Code(code)) }
}

/// What stands in a buffer of text, which NVML ends with a NUL.
fn text(buffer: &[u8]) -> Option<String> {
    CStr::from_bytes_until_nul(buffer).ok()?.to_str().ok().map(str::to_owned)
}

/// NVML.
#[derive(Clone, Copy)]
struct Api<'library> {
    library: &'library Library,
}

impl<'library> Api<'library> {
    /// # Safety
    ///
    /// `F` must be the type of a pointer to that function.
    unsafe fn function<F: Copy>(self, name: &str) -> Result<F, Failure> {
        // SAFETY: by the contract of this function.
        unsafe { self.library.function::<F>(name) }.map(|function| *function).map_err(Failure::Absent)
    }

    fn init(self) -> Result<(), Failure> {
        // SAFETY: that is its type in nvml.h.
        let function = unsafe { self.function::<unsafe extern "C" fn() -> c_int>("nvmlInit_v2") }?;
        // SAFETY: it takes nothing.
        check(unsafe { function() })
    }

    /// The answer of a function that writes one number.
    fn number(self, name: &str) -> Result<u32, Failure> {
        // SAFETY: that is the type in nvml.h of those that are asked so.
        let function = unsafe { self.function::<unsafe extern "C" fn(*mut c_uint) -> c_int>(name) }?;
        let mut number = 0;
        // SAFETY: it writes the one number.
        check(unsafe { function(&raw mut number) })?;
        Ok(number)
    }

    fn driver(self) -> Option<String> {
        type Function = unsafe extern "C" fn(*mut u8, c_uint) -> c_int;
        // SAFETY: that is its type in nvml.h.
        let function = unsafe { self.function::<Function>("nvmlSystemGetDriverVersion") }.ok()?;
        let mut buffer = [0; TEXT as usize];
        // SAFETY: it writes no more than the length that it is told.
        check(unsafe { function(buffer.as_mut_ptr(), TEXT) }).ok()?;
        text(&buffer)
    }

    fn device(self, index: u32) -> Result<Device<'library>, Failure> {
        type Function = unsafe extern "C" fn(c_uint, *mut Handle) -> c_int;
        // SAFETY: that is its type in nvml.h.
        let function = unsafe { self.function::<Function>("nvmlDeviceGetHandleByIndex_v2") }?;
        let mut handle = ptr::null_mut();
        // SAFETY: it writes the one handle.
        check(unsafe { function(index, &raw mut handle) })?;
        Ok(Device { nvml: self, handle })
    }

    /// A failure in words, those of the library where there are none here.
    fn told(self, why: Failure) -> String {
        type Function = unsafe extern "C" fn(c_int) -> *const c_char;
        let code = match why {
            Failure::Absent(why) => return why,
            Failure::Code(LIB_RM_VERSION_MISMATCH) => {
                return "driver and library are of different versions (18)".to_owned();
            }
            Failure::Code(GPU_IS_LOST) => return NvmlGpu::LOST.to_owned(),
            Failure::Code(code) => code,
        };
        // SAFETY: that is its type in nvml.h.
        let Ok(function) = (unsafe { self.function::<Function>("nvmlErrorString") }) else {
            return format!("({code})");
        };
        // SAFETY: it takes every number.
        let words = unsafe { function(code) };
        if words.is_null() {
            return format!("({code})");
        }
        // SAFETY: it is a text of the library, which stays open.
        format!("{} ({code})", unsafe { CStr::from_ptr(words) }.to_string_lossy())
    }
}

/// A GPU or an instance of one.
#[derive(Clone, Copy)]
struct Device<'library> {
    nvml: Api<'library>,
    handle: Handle,
}

impl Device<'_> {
    fn gpu(self, index: u32) -> NvmlGpu {
        let memory = self.memory();
        let lost = matches!(memory, Err(Failure::Code(GPU_IS_LOST))).then(|| NvmlGpu::LOST.to_owned());
        let memory = memory.ok().or_else(|| self.older_memory());
        let mig = self.pair("nvmlDeviceGetMigMode").map(|(now, _)| now == 1);
        // Pages with several single-bit errors, and with one of two bits.
        let retired = self.retired_pages(0).and_then(|single| single.checked_add(self.retired_pages(1)?));
        NvmlGpu {
            index,
            name: self.text("nvmlDeviceGetName"),
            uuid: self.text("nvmlDeviceGetUUID"),
            address: self.address(),
            compute: self.pair("nvmlDeviceGetCudaComputeCapability").map(|(major, minor)| Dotted::new(&[major, minor])),
            memory: memory.map(|(total, _)| total),
            free: memory.map(|(_, free)| free),
            compute_mode: self.number("nvmlDeviceGetComputeMode").and_then(|mode| match mode {
                0 => Some(ComputeMode::Default),
                1 => Some(ComputeMode::ExclusiveThread),
                2 => Some(ComputeMode::Prohibited),
                3 => Some(ComputeMode::ExclusiveProcess),
                _ => None,
            }),
            persistence: self.number("nvmlDeviceGetPersistenceMode").and_then(switch),
            mig,
            instances: if mig == Some(true) { self.instances() } else { Vec::new() },
            ecc: self.pair("nvmlDeviceGetEccMode").and_then(|(now, _)| switch(now)),
            uncorrected: self.uncorrected(),
            retired_pages: retired,
            remapped_rows: self.remapped(),
            processes: self.processes().unwrap_or_default(),
            failure: lost,
        }
    }

    /// The answer of a function that writes one number.
    fn number(self, name: &str) -> Option<u32> {
        type Function = unsafe extern "C" fn(Handle, *mut c_uint) -> c_int;
        // SAFETY: that is the type in nvml.h of those that are asked so.
        let function = unsafe { self.nvml.function::<Function>(name) }.ok()?;
        let mut number = 0;
        // SAFETY: the handle is of this library, and it writes the one number.
        let code = unsafe { function(self.handle, &raw mut number) };
        (code == 0).then_some(number)
    }

    /// The answer of a function that writes two numbers.
    fn pair(self, name: &str) -> Option<(u32, u32)> {
        type Function = unsafe extern "C" fn(Handle, *mut c_uint, *mut c_uint) -> c_int;
        // SAFETY: that is the type in nvml.h of those that are asked so.
        let function = unsafe { self.nvml.function::<Function>(name) }.ok()?;
        let (mut first, mut second) = (0, 0);
        // SAFETY: the handle is of this library, and it writes the two numbers.
        let code = unsafe { function(self.handle, &raw mut first, &raw mut second) };
        (code == 0).then_some((first, second))
    }

    /// The answer of a function that writes a text.
    fn text(self, name: &str) -> Option<String> {
        type Function = unsafe extern "C" fn(Handle, *mut u8, c_uint) -> c_int;
        // SAFETY: that is the type in nvml.h of those that are asked so.
        let function = unsafe { self.nvml.function::<Function>(name) }.ok()?;
        let mut buffer = [0; TEXT as usize];
        // SAFETY: the handle is of this library, and it writes no more than the length that it is told.
        let code = unsafe { function(self.handle, buffer.as_mut_ptr(), TEXT) };
        if code == 0 { text(&buffer) } else { None }
    }

    fn address(self) -> Option<String> {
        type Function = unsafe extern "C" fn(Handle, *mut Pci) -> c_int;
        // SAFETY: that is its type in nvml.h.
        let function = unsafe { self.nvml.function::<Function>("nvmlDeviceGetPciInfo_v3") }.ok()?;
        let mut pci = Pci::default();
        // SAFETY: the handle is of this library, and it writes one such structure.
        let code = unsafe { function(self.handle, &raw mut pci) };
        if code == 0 { text(&pci.address).map(|address| short_address(&address)) } else { None }
    }

    /// Total and free memory.
    fn memory(self) -> Result<(u64, u64), Failure> {
        type Function = unsafe extern "C" fn(Handle, *mut Memory) -> c_int;
        // SAFETY: that is its type in nvml.h.
        let function = unsafe { self.nvml.function::<Function>("nvmlDeviceGetMemoryInfo_v2") }?;
        // `NVML_STRUCT_VERSION(Memory, 2)` of nvml.h.
        let version = MEMORY | 2 << 24;
        let mut memory = Memory { version, ..Memory::default() };
        // SAFETY: the handle is of this library, and it writes one structure of that version.
        check(unsafe { function(self.handle, &raw mut memory) })?;
        Ok((memory.total, memory.free))
    }

    /// Total and free memory by the call of drivers before 510.
    fn older_memory(self) -> Option<(u64, u64)> {
        type Function = unsafe extern "C" fn(Handle, *mut [u64; 3]) -> c_int;
        // SAFETY: that is its type in nvml.h: three numbers, total, free and used.
        let function = unsafe { self.nvml.function::<Function>("nvmlDeviceGetMemoryInfo") }.ok()?;
        let mut numbers = [0; 3];
        // SAFETY: the handle is of this library, and it writes the three numbers.
        let code = unsafe { function(self.handle, &raw mut numbers) };
        (code == 0).then_some((numbers[0], numbers[1]))
    }

    /// Errors since the driver was loaded that could not be corrected.
    fn uncorrected(self) -> Option<u64> {
        type Function = unsafe extern "C" fn(Handle, c_uint, c_uint, *mut c_ulonglong) -> c_int;
        // SAFETY: that is its type in nvml.h.
        let function = unsafe { self.nvml.function::<Function>("nvmlDeviceGetTotalEccErrors") }.ok()?;
        let (uncorrected, volatile) = (1, 0);
        let mut count = 0;
        // SAFETY: the handle is of this library, and it writes the one number.
        let code = unsafe { function(self.handle, uncorrected, volatile, &raw mut count) };
        (code == 0).then_some(count)
    }

    /// How many pages were retired for a cause.
    fn retired_pages(self, cause: c_uint) -> Option<u32> {
        type Function = unsafe extern "C" fn(Handle, c_uint, *mut c_uint, *mut c_ulonglong) -> c_int;
        // SAFETY: that is its type in nvml.h.
        let function = unsafe { self.nvml.function::<Function>("nvmlDeviceGetRetiredPages") }.ok()?;
        let (mut count, mut none) = (0, 0);
        // SAFETY: the handle is of this library; it is told that there is room for no page, and writes how many there are.
        let code = unsafe { function(self.handle, cause, &raw mut count, &raw mut none) };
        matches!(code, 0 | INSUFFICIENT_SIZE).then_some(count)
    }

    fn remapped(self) -> Option<RemappedRows> {
        type Function = unsafe extern "C" fn(Handle, *mut c_uint, *mut c_uint, *mut c_uint, *mut c_uint) -> c_int;
        // SAFETY: that is its type in nvml.h.
        let function = unsafe { self.nvml.function::<Function>("nvmlDeviceGetRemappedRows") }.ok()?;
        let (mut correctable, mut uncorrectable, mut pending, mut failed) = (0, 0, 0, 0);
        // SAFETY: the handle is of this library, and it writes the four numbers.
        let code = unsafe {
            function(self.handle, &raw mut correctable, &raw mut uncorrectable, &raw mut pending, &raw mut failed)
        };
        (code == 0).then_some(RemappedRows { correctable, uncorrectable, pending: pending != 0, failed: failed != 0 })
    }

    fn processes(self) -> Option<Vec<GpuProcess>> {
        type Function = unsafe extern "C" fn(Handle, *mut c_uint, *mut Process) -> c_int;
        // SAFETY: that is its type in nvml.h.
        let function = unsafe { self.nvml.function::<Function>("nvmlDeviceGetComputeRunningProcesses_v3") }.ok()?;
        let mut count = 0;
        // SAFETY: the handle is of this library, and with room for none it writes how many there are.
        let code = unsafe { function(self.handle, &raw mut count, ptr::null_mut()) };
        if code != INSUFFICIENT_SIZE {
            return None;
        }
        // Some may start meanwhile.
        let mut processes = vec![Process::default(); count.min(MOST_PROCESSES) as usize + 5];
        count = u32::try_from(processes.len()).ok()?;
        // SAFETY: the handle is of this library, and it writes no more structures than it is told to have room for.
        let code = unsafe { function(self.handle, &raw mut count, processes.as_mut_ptr()) };
        if code != 0 {
            return None;
        }
        processes.truncate(count as usize);
        // `NVML_VALUE_NOT_AVAILABLE` is -1.
        let memory = |process: &Process| Some(process.memory).filter(|bytes| *bytes != u64::MAX);
        let all = processes.iter().take(PROCESSES);
        Some(all.map(|process| GpuProcess { pid: process.pid, memory: memory(process) }).collect())
    }

    fn instances(self) -> Vec<MigInstance> {
        type Function = unsafe extern "C" fn(Handle, c_uint, *mut Handle) -> c_int;
        // SAFETY: that is its type in nvml.h.
        let Ok(function) = (unsafe { self.nvml.function::<Function>("nvmlDeviceGetMigDeviceHandleByIndex") }) else {
            return Vec::new();
        };
        let places = self.number("nvmlDeviceGetMaxMigDeviceCount").unwrap_or(0).min(INSTANCES);
        let found = (0..places).filter_map(|place| {
            let mut handle = ptr::null_mut();
            // SAFETY: the handle is of this library, and it writes the one of the instance.
            let code = unsafe { function(self.handle, place, &raw mut handle) };
            (code == 0).then_some(Device { nvml: self.nvml, handle })
        });
        found
            .map(|instance| MigInstance {
                uuid: instance.text("nvmlDeviceGetUUID"),
                name: instance.text("nvmlDeviceGetName"),
                memory: instance.memory().ok().map(|(total, _)| total),
            })
            .collect()
    }
}

/// `nvmlEnableState_t`.
fn switch(state: u32) -> Option<bool> {
    match state {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
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
