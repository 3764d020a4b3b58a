//! Asks the driver API for its devices and launches kernels on them, in a child process; what it means is judged elsewhere.
//!
//! The functions are declared here rather than taken from a crate: codes are plain numbers, so that one of a newer
//! driver does no harm; the library is opened by its path; and what an old driver lacks is missed only where it is used.

#![expect(unsafe_code, reason = "the driver is called in child processes, from here only")]

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::ptr;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::library::Library;
use super::{MOST_GPUS, Teller, millis};
use crate::facts::{ApiDevice, Cause, ComputeMode, Failed, Stage};
use crate::kernel::{self, BLOCK, ENTRY, GENERATION_ENTRY};
use crate::version::Dotted;

/// Asks for the devices, and what becomes of kernels on them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ask {
    /// The libcuda that the loader would choose.
    pub library: String,
    /// Kernels to launch.
    pub images: Vec<Image>,
    /// GPU and image that are done already.
    pub done: Vec<(u32, usize)>,
    /// GPUs that are not asked: one that was crashed another process.
    #[serde(default)]
    pub skip: Vec<u32>,
    /// How many seconds the start may work in silence before its limit counts.
    #[serde(default)]
    pub patience: u32,
}

/// A compiled kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// What distinguishes it from others: only the best fit of one origin is launched on a GPU.
    pub origin: String,
    /// What it was compiled for: `sm_90`, `compute_90`.
    pub arch: String,
    /// PTX, without a NUL at its end, or machine code.
    pub code: Vec<u8>,
    /// Whether it holds the second kernel, which is launched behind the first.
    #[serde(default)]
    pub generation: bool,
}

/// A piece of the answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The driver itself.
    Driver {
        /// The file that was mapped.
        mapped: Option<String>,
        /// The CUDA version that it reports.
        cuda: Option<Dotted>,
    },
    /// The driver could not be asked for devices.
    Failed(Failed),
    /// A device.
    Device(ApiDevice),
    /// What is done next, on a GPU with an image.
    At(u32, usize, Stage),
    /// What became of an image on a GPU.
    Ran(Ran),
    /// Nothing more is launched on a GPU: what failed there fails for every image.
    Leave(u32),
}

/// What became of an image on a GPU.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ran {
    /// The number of the GPU.
    pub gpu: u32,
    /// The number of the image.
    pub image: usize,
    /// Milliseconds by stage.
    pub ms: BTreeMap<String, f64>,
    /// What failed.
    pub failure: Option<Failed>,
}

/// The images that are launched on a GPU: for each origin and kind the one that fits best.
pub fn plan(images: &[Image], compute: Option<&Dotted>) -> Vec<usize> {
    let mut best: BTreeMap<(&str, bool), (Dotted, usize)> = BTreeMap::new();
    let mut planned = Vec::new();
    for (index, image) in images.iter().enumerate() {
        let (machine, built) = match image.arch.split_once('_') {
            Some(("sm", number)) => (true, crate::probe::compute_capability(number)),
            Some((_, number)) => (false, crate::probe::compute_capability(number)),
            None => (false, None),
        };
        let (Some(built), Some(compute)) = (built, compute) else {
            planned.push(index);
            continue;
        };
        let fits = if machine { built.major() == compute.major() && built <= *compute } else { built <= *compute };
        if !fits {
            continue;
        }
        let slot = best.entry((image.origin.as_str(), machine)).or_insert_with(|| (built.clone(), index));
        if slot.0 < built {
            *slot = (built, index);
        }
    }
    planned.extend(best.into_values().map(|(_, index)| index));
    crate::sort::plain(&mut planned);
    planned
}

pub(super) type Code = c_int;
pub(super) type Device = c_int;
pub(super) type Handle = *mut c_void;
pub(super) type Memory = u64;

/// Declares the functions that every driver has and those that may be missing.
macro_rules! functions {
    ($($field:ident: $name:literal, fn($($argument:ty),*);)*) => {
        /// The driver's functions.
        pub(super) struct Cuda<'library> {
            pub(super) library: &'library Library,
            $(pub(super) $field: Option<unsafe extern "C" fn($($argument),*) -> Code>,)*
        }

        impl<'library> Cuda<'library> {
            pub(super) fn new(library: &'library Library) -> Self {
                Self {
                    library,
                    // SAFETY: these are the types of the functions in NVIDIA's cuda.h.
                    $($field: unsafe {
                        library.function::<unsafe extern "C" fn($($argument),*) -> Code>($name).ok().map(|function| *function)
                    },)*
                }
            }
        }
    };
}

functions! {
    init: "cuInit", fn(c_uint);
    version: "cuDriverGetVersion", fn(*mut c_int);
    count: "cuDeviceGetCount", fn(*mut c_int);
    device: "cuDeviceGet", fn(*mut Device, c_int);
    device_name: "cuDeviceGetName", fn(*mut c_char, c_int, Device);
    attribute: "cuDeviceGetAttribute", fn(*mut c_int, c_int, Device);
    total: "cuDeviceTotalMem_v2", fn(*mut usize, Device);
    uuid: "cuDeviceGetUuid", fn(*mut u8, Device);
    uuid_v2: "cuDeviceGetUuid_v2", fn(*mut u8, Device);
    address: "cuDeviceGetPCIBusId", fn(*mut c_char, c_int, Device);
    error_name: "cuGetErrorName", fn(Code, *mut *const c_char);
    error_text: "cuGetErrorString", fn(Code, *mut *const c_char);
    context: "cuCtxCreate_v2", fn(*mut Handle, c_uint, Device);
    leave_context: "cuCtxDestroy_v2", fn(Handle);
    primary: "cuDevicePrimaryCtxRetain", fn(*mut Handle, Device);
    enter: "cuCtxSetCurrent", fn(Handle);
    free: "cuMemGetInfo_v2", fn(*mut usize, *mut usize);
    load: "cuModuleLoadDataEx", fn(*mut Handle, *const c_void, c_uint, *const c_int, *mut *mut c_void);
    unload: "cuModuleUnload", fn(Handle);
    function: "cuModuleGetFunction", fn(*mut Handle, Handle, *const c_char);
    take: "cuMemAlloc_v2", fn(*mut Memory, usize);
    give: "cuMemFree_v2", fn(Memory);
    send: "cuMemcpyHtoD_v2", fn(Memory, *const c_void, usize);
    fetch: "cuMemcpyDtoH_v2", fn(*mut c_void, Memory, usize);
    launch: "cuLaunchKernel", fn(Handle, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, Handle, *mut *mut c_void, *mut *mut c_void);
    wait: "cuCtxSynchronize", fn();
}

/// `CU_DEVICE_ATTRIBUTE_…`.
mod attribute {
    pub(super) const MULTIPROCESSORS: i32 = 16;
    pub(super) const COMPUTE_MODE: i32 = 20;
    pub(super) const MAJOR: i32 = 75;
    pub(super) const MINOR: i32 = 76;
}

/// `CU_JIT_ERROR_LOG_BUFFER` and `CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES`.
static LOG: [c_int; 2] = [5, 6];
/// What lies in the results before the kernel runs; the total is counted on from there.
const POISON: u32 = 0xdead_beef;
const BASE: u64 = 0x0123_4567_89ab_cdef;

/// Calls a function of the driver; its code, or that it is missing, as a failure.
macro_rules! call {
    ($cuda:expr, $stage:expr, $mode:expr, $field:ident, $name:literal $(, $argument:expr)*) => {
        match $cuda.$field {
            None => Err(missing($cuda.library, $name, $stage)),
            Some(function) => {
                // SAFETY: the declarations are those of cuda.h, and every pointer outlives the call.
                let code = unsafe { function($($argument),*) };
                if code == 0 { Ok(()) } else { Err($cuda.failed($name, code, $stage, $mode)) }
            }
        }
    };
}

pub(super) use call;

pub(super) fn missing(library: &Library, name: &str, stage: Stage) -> Failed {
    Failed { stage, cause: Cause::SymbolMissing, code: None, says: format!("{} has no {name}", library.name()) }
}

impl Cuda<'_> {
    pub(super) fn failed(&self, call: &str, code: Code, stage: Stage, mode: Option<ComputeMode>) -> Failed {
        let text = |function: Option<unsafe extern "C" fn(Code, *mut *const c_char) -> Code>| {
            let mut text = ptr::null();
            // SAFETY: the driver writes a pointer to a text that lives as long as it does, or leaves it null.
            let failed = unsafe { function?(code, &raw mut text) };
            // SAFETY: as above; it is no null.
            (failed == 0 && !text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
        };
        let says = match (text(self.error_name), text(self.error_text)) {
            (Some(name), Some(text)) => format!("{call} gives {code}, {name}: {text}"),
            (Some(name), None) => format!("{call} gives {code}, {name}"),
            // A stub answers every call with the same, this one, too.
            _ if Cause::of(code, stage, mode) == Cause::StubLibrary => {
                format!("{call} gives {code}, CUDA_ERROR_STUB_LIBRARY")
            }
            _ => format!("{call} gives {code}"),
        };
        Failed { stage, cause: Cause::of(code, stage, mode), code: Some(code), says }
    }

    fn number(&self, which: i32, device: Device) -> Result<i32, Failed> {
        let mut value = 0;
        call!(self, Stage::Device, None, attribute, "cuDeviceGetAttribute", &raw mut value, which, device)?;
        Ok(value)
    }
}

/// Answers [`Ask`].
pub(super) fn ask(question: &Ask, teller: &mut Teller) -> Result<(), String> {
    let library = Library::open(&question.library, teller)?;
    let cuda = Cuda::new(&library);
    let mapped = library.mapped().map(str::to_owned);
    teller.stage("cuDriverGetVersion ran");
    let mut version = 0;
    let reported = call!(cuda, Stage::Init, None, version, "cuDriverGetVersion", &raw mut version);
    let reported = reported.ok().and_then(|()| u32::try_from(version).ok()).filter(|version| *version > 0);
    let reported = reported.map(Dotted::of_cuda);
    teller.part(&Part::Driver { mapped, cuda: reported });
    teller.stage("cuInit ran");
    let mut count = 0;
    let beats = teller.beats(question.patience);
    let started = call!(cuda, Stage::Init, None, init, "cuInit", 0).and_then(|()| {
        teller.stage("cuDeviceGetCount ran");
        call!(cuda, Stage::Init, None, count, "cuDeviceGetCount", &raw mut count)
    });
    drop(beats);
    if let Err(failed) = started {
        teller.part(&Part::Failed(failed));
        return Ok(());
    }
    let mut devices = Vec::new();
    let all = 0..u32::try_from(count).unwrap_or(0).min(MOST_GPUS);
    for gpu in all.filter(|gpu| !question.skip.contains(gpu)) {
        teller.stage(format!("GPU {gpu} was asked"));
        let mut device = 0;
        let mut seen = ApiDevice { gpu, ..ApiDevice::default() };
        let ordinal = c_int::try_from(gpu).unwrap_or(c_int::MAX);
        match call!(cuda, Stage::Device, None, device, "cuDeviceGet", &raw mut device, ordinal) {
            Ok(()) => look(&cuda, device, &mut seen),
            Err(failed) => seen.failure = Some(failed),
        }
        teller.part(&Part::Device(seen.clone()));
        devices.push((device, seen));
    }
    for (device, seen) in devices {
        if seen.failure.is_some() {
            continue;
        }
        let images = plan(&question.images, seen.compute.as_ref());
        let open: Vec<usize> =
            images.into_iter().filter(|image| !question.done.contains(&(seen.gpu, *image))).collect();
        if !open.is_empty() && !run_all(&cuda, device, &seen, &open, &question.images, teller) {
            // What the kernel did to this process, another one does not have: the parent asks for the rest again.
            return Ok(());
        }
    }
    Ok(())
}

/// What a device tells of itself.
fn look(cuda: &Cuda<'_>, device: Device, seen: &mut ApiDevice) {
    let asked = cuda.number(attribute::MAJOR, device).and_then(|major| {
        let minor = cuda.number(attribute::MINOR, device)?;
        let number = |value: i32| u32::try_from(value).unwrap_or(0);
        seen.compute = Some(Dotted::new(&[number(major), number(minor)]));
        seen.multiprocessors = u32::try_from(cuda.number(attribute::MULTIPROCESSORS, device)?).unwrap_or(0);
        Ok(())
    });
    seen.failure = asked.err();
    seen.compute_mode = cuda.number(attribute::COMPUTE_MODE, device).ok().and_then(ComputeMode::new);
    let mut text: [c_char; 256] = [0; 256];
    if call!(cuda, Stage::Device, None, device_name, "cuDeviceGetName", text.as_mut_ptr(), 255, device).is_ok() {
        seen.name = text_of(&text);
    }
    let mut text: [c_char; 64] = [0; 64];
    if call!(cuda, Stage::Device, None, address, "cuDeviceGetPCIBusId", text.as_mut_ptr(), 63, device).is_ok() {
        seen.address = Some(text_of(&text).to_ascii_lowercase());
    }
    let mut bytes = 0;
    if call!(cuda, Stage::Device, None, total, "cuDeviceTotalMem_v2", &raw mut bytes, device).is_ok() {
        seen.memory = u64::try_from(bytes).ok();
    }
    // The second version tells a MIG instance's own id.
    let mut id = [0u8; 16];
    let second = call!(cuda, Stage::Device, None, uuid_v2, "cuDeviceGetUuid_v2", id.as_mut_ptr(), device);
    if second.is_ok() || call!(cuda, Stage::Device, None, uuid, "cuDeviceGetUuid", id.as_mut_ptr(), device).is_ok() {
        let hex = format!("{:032x}", u128::from_be_bytes(id));
        let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
        let kind = if seen.name.contains(" MIG ") { "MIG" } else { "GPU" };
        seen.uuid = Some(format!("{kind}-{}", parts.join("-")));
    }
}

pub(super) fn text_of(text: &[c_char]) -> String {
    let bytes: Vec<u8> = text.iter().take_while(|byte| **byte != 0).map(|byte| byte.to_ne_bytes()[0]).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Launches images on a device; whether this process can go on with the next one.
fn run_all(
    cuda: &Cuda<'_>,
    device: Device,
    seen: &ApiDevice,
    open: &[usize],
    images: &[Image],
    teller: &mut Teller,
) -> bool {
    let gpu = seen.gpu;
    let first = open.first().copied().unwrap_or(0);
    let mut ms = BTreeMap::new();
    teller.part(&Part::At(gpu, first, Stage::Context));
    teller.stage(format!("cuCtxCreate ran on GPU {gpu}"));
    let mut context = ptr::null_mut();
    let begin = Instant::now();
    let made = call!(cuda, Stage::Context, seen.compute_mode, context, "cuCtxCreate", &raw mut context, 0, device);
    ms.insert("context".to_owned(), millis(begin));
    if let Err(failed) = made {
        teller.part(&Part::Ran(Ran { gpu, image: first, ms, failure: Some(failed) }));
        teller.part(&Part::Leave(gpu));
        return true;
    }
    let (blocks, count) = kernel::grid(seen.multiprocessors);
    let input = kernel::input(count);
    let expected = kernel::reference(&input);
    let second = (open.iter().any(|index| images.get(*index).is_some_and(|image| image.generation)))
        .then(|| kernel::generation_reference(&input));
    for &index in open {
        let mut job =
            Job { cuda, gpu, index, ms: std::mem::take(&mut ms), teller: &mut *teller, blocks, stage: Stage::Load };
        let failure = images.get(index).and_then(|image| job.run(image, &input, &expected, second.as_ref()).err());
        let ms = job.ms;
        let fatal = failure.as_ref().is_some_and(|failed| {
            matches!(failed.cause, Cause::KernelFault | Cause::TimedOut | Cause::HardwareFault | Cause::DeviceLost)
                || (failed.cause == Cause::Other && failed.stage >= Stage::Launch)
        });
        teller.part(&Part::Ran(Ran { gpu, image: index, ms, failure }));
        if fatal {
            return false;
        }
    }
    teller.stage(format!("cuCtxDestroy ran on GPU {gpu}"));
    let _ = call!(cuda, Stage::Context, None, leave_context, "cuCtxDestroy", context);
    true
}

/// What a kernel must compute: its output and its total.
type Expected = (Vec<u32>, u64);

/// An image on a device.
struct Job<'j, 'library> {
    cuda: &'j Cuda<'library>,
    gpu: u32,
    index: usize,
    ms: BTreeMap<String, f64>,
    teller: &'j mut Teller,
    blocks: u32,
    stage: Stage,
}

impl Job<'_, '_> {
    fn at(&mut self, stage: Stage, call: &str) -> Instant {
        self.stage = stage;
        self.teller.part(&Part::At(self.gpu, self.index, stage));
        self.teller.stage(format!("{call} ran on GPU {}", self.gpu));
        Instant::now()
    }

    fn took(&mut self, begin: Instant) {
        let name = match self.stage {
            Stage::Load => "load",
            Stage::Memory => "memory",
            Stage::Launch => "launch",
            _ => "verify",
        };
        self.ms.insert(name.to_owned(), millis(begin));
    }

    fn run(&mut self, image: &Image, input: &[u32], first: &Expected, second: Option<&Expected>) -> Result<(), Failed> {
        let begin = self.at(Stage::Load, "cuModuleLoadDataEx");
        let (module, function) = self.load(image)?;
        self.took(begin);
        let begin = self.at(Stage::Memory, "cuMemAlloc");
        let cuda = self.cuda;
        let bytes = size_of_val(input);
        let mut memory: [Memory; 3] = [0; 3];
        for (slot, size) in memory.iter_mut().zip([bytes, bytes, size_of::<u64>()]) {
            call!(cuda, Stage::Memory, None, take, "cuMemAlloc", ptr::from_mut(slot), size)?;
        }
        call!(cuda, Stage::Memory, None, send, "cuMemcpyHtoD", memory[0], input.as_ptr().cast(), bytes)?;
        self.poison(memory, input.len())?;
        self.took(begin);
        self.launch(function, memory, input.len(), first)?;
        if let Some(expected) = second.filter(|_| image.generation) {
            let begin = Instant::now();
            let two = |mut failed: Failed| {
                failed.says =
                    format!("the second kernel, which uses what this generation of GPUs added: {}", failed.says);
                failed
            };
            let function = self.function(module, GENERATION_ENTRY).map_err(two)?;
            self.poison(memory, input.len()).map_err(two)?;
            let before = std::mem::take(&mut self.ms);
            let ran = self.launch(function, memory, input.len(), expected).map_err(two);
            self.ms = before;
            self.ms.insert("generation".to_owned(), millis(begin));
            ran?;
        }
        for slot in memory {
            let _ = call!(cuda, Stage::Verify, None, give, "cuMemFree", slot);
        }
        let _ = call!(cuda, Stage::Verify, None, unload, "cuModuleUnload", module);
        Ok(())
    }

    /// Fills results with what no kernel gives.
    fn poison(&self, memory: [Memory; 3], count: usize) -> Result<(), Failed> {
        let cuda = self.cuda;
        let (poison, base) = (vec![POISON; count], BASE);
        let [_, out, total] = memory;
        let bytes = size_of_val(poison.as_slice());
        call!(cuda, Stage::Memory, None, send, "cuMemcpyHtoD", out, poison.as_ptr().cast(), bytes)?;
        call!(cuda, Stage::Memory, None, send, "cuMemcpyHtoD", total, (&raw const base).cast(), size_of::<u64>())
    }

    /// Launches a kernel, fetches what it computed and compares.
    fn launch(
        &mut self,
        function: Handle,
        mut memory: [Memory; 3],
        count: usize,
        expected: &Expected,
    ) -> Result<(), Failed> {
        let cuda = self.cuda;
        let begin = self.at(Stage::Launch, "cuLaunchKernel");
        let mut number = c_uint::try_from(count).unwrap_or(0);
        let mut arguments: [*mut c_void; 4] = [
            (&raw mut memory[0]).cast(),
            (&raw mut memory[1]).cast(),
            (&raw mut memory[2]).cast(),
            (&raw mut number).cast(),
        ];
        let (blocks, arguments) = (self.blocks, arguments.as_mut_ptr());
        let (none, stream) = (ptr::null_mut(), ptr::null_mut());
        call!(
            cuda,
            Stage::Launch,
            None,
            launch,
            "cuLaunchKernel",
            function,
            blocks,
            1,
            1,
            BLOCK,
            1,
            1,
            0,
            stream,
            arguments,
            none
        )?;
        call!(cuda, Stage::Launch, None, wait, "cuCtxSynchronize")?;
        self.took(begin);
        let begin = self.at(Stage::Verify, "cuMemcpyDtoH");
        let (mut out, mut total) = (vec![0u32; count], 0u64);
        let bytes = size_of_val(out.as_slice());
        call!(cuda, Stage::Verify, None, fetch, "cuMemcpyDtoH", out.as_mut_ptr().cast(), memory[1], bytes)?;
        call!(cuda, Stage::Verify, None, fetch, "cuMemcpyDtoH", (&raw mut total).cast(), memory[2], size_of::<u64>())?;
        compare(&out, total, expected)?;
        self.took(begin);
        Ok(())
    }

    fn load(&self, image: &Image) -> Result<(Handle, Handle), Failed> {
        let cuda = self.cuda;
        let mut code = image.code.clone();
        // PTX is a text; machine code does not mind.
        code.push(0);
        let mut log = vec![0u8; 4096];
        let mut values: [*mut c_void; 2] = [log.as_mut_ptr().cast(), ptr::without_provenance_mut(log.len())];
        let mut module = ptr::null_mut();
        let loaded = call!(
            cuda,
            Stage::Load,
            None,
            load,
            "cuModuleLoadDataEx",
            &raw mut module,
            code.as_ptr().cast(),
            2,
            LOG.as_ptr(),
            values.as_mut_ptr()
        );
        loaded.map_err(|mut failed| {
            let text: Vec<u8> = log.iter().copied().take_while(|byte| *byte != 0).collect();
            let text = String::from_utf8_lossy(&text);
            if let Some(line) = text.lines().map(str::trim).find(|line| !line.is_empty()) {
                failed.says.push_str("; ");
                failed.says.extend(line.chars().take(200));
            }
            failed
        })?;
        Ok((module, self.function(module, ENTRY)?))
    }

    fn function(&self, module: Handle, name: &str) -> Result<Handle, Failed> {
        let cuda = self.cuda;
        let name = CString::new(name).unwrap_or_default();
        let mut function = ptr::null_mut();
        call!(cuda, Stage::Load, None, function, "cuModuleGetFunction", &raw mut function, module, name.as_ptr())?;
        Ok(function)
    }
}

/// Holds what the GPU computed against what the CPU did.
fn compare(out: &[u32], total: u64, expected: &Expected) -> Result<(), Failed> {
    let wrong = |says: String| Failed { stage: Stage::Verify, cause: Cause::WrongResult, code: None, says };
    let differing = || out.iter().zip(&expected.0).enumerate().filter(|(_, (seen, right))| seen != right);
    if let Some((at, (seen, right))) = differing().next() {
        let count = differing().count();
        let untouched = if *seen == POISON { ", which the kernel did not touch" } else { "" };
        return Err(wrong(format!(
            "{count} of {} numbers are wrong, the first at {at}: {seen:#010x}{untouched}, and not {right:#010x}",
            out.len()
        )));
    }
    let right = BASE.wrapping_add(expected.1);
    if total == right {
        Ok(())
    } else {
        Err(wrong(format!("the total is {total:#018x}, and not {right:#018x}: an atomic addition was lost")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(origin: &str, arch: &str) -> Image {
        Image { origin: origin.to_owned(), arch: arch.to_owned(), ..Image::default() }
    }

    #[test]
    fn of_each_origin_the_best_fit_is_launched() {
        let images = [
            image("ptx", "compute_30"),
            image("nvcc", "sm_80"),
            image("nvcc", "sm_86"),
            image("nvcc", "sm_90"),
            image("nvcc", "compute_80"),
            image("nvcc", "compute_90"),
        ];
        let plan = |compute: &str| plan(&images, Some(&compute.parse().unwrap()));
        assert_eq!(plan("8.9"), [0, 2, 4]);
        assert_eq!(plan("8.0"), [0, 1, 4]);
        assert_eq!(plan("9.0"), [0, 3, 5]);
        assert_eq!(plan("12.0"), [0, 5]);
        assert_eq!(super::plan(&images, None).len(), images.len());
    }

    #[test]
    fn wrong_numbers_are_told_with_their_place() {
        let expected = (vec![1, 2, 3], 6);
        assert!(compare(&[1, 2, 3], BASE + 6, &expected).is_ok());
        let failed = compare(&[1, POISON, 4], BASE + 6, &expected).unwrap_err();
        assert_eq!(failed.cause, Cause::WrongResult);
        assert!(
            failed.says.starts_with("2 of 3 numbers are wrong, the first at 1: 0xdeadbeef, which"),
            "{}",
            failed.says
        );
        assert!(compare(&[1, 2, 3], BASE + 5, &expected).unwrap_err().says.contains("atomic"));
    }
}
