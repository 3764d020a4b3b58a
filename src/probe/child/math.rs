//! Asks cuBLAS for a matrix product and cuDNN for a convolution, in a child process; what it means is judged elsewhere.
//!
//! The files are those that a framework of some environment would load, and what it would have loaded before them is
//! loaded before them here. Numbers are small and whole, so that every way of rounding gives the same.

#![expect(unsafe_code, reason = "foreign libraries are called in child processes, from here only")]

use std::collections::BTreeMap;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::driver::{Cuda, Device, Handle, Memory, call, missing};
use super::library::Library;
use super::{Teller, millis};
use crate::facts::{Cause, ComputeMode, Failed, LibraryRun, MathLibrary, Stage};
use crate::sort::Sorted as _;
use crate::version::Dotted;

/// Asks for a computation by one library.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ask {
    /// Which library it is.
    pub which: MathLibrary,
    /// Its file.
    pub library: String,
    /// Files that are loaded before it, in this order; one that cannot be opened is passed over.
    pub before: Vec<String>,
    /// The libcuda that the loader would choose.
    pub libcuda: String,
    /// The GPUs to compute on, by their numbers, and who may use each.
    pub gpus: Vec<(u32, Option<ComputeMode>)>,
}

/// A piece of the answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The library could be opened.
    Opened {
        /// The version that it tells.
        version: Option<Dotted>,
        /// The CUDA runtime that it was built with.
        cudart: Option<Dotted>,
    },
    /// It could not be, or the driver does not start.
    Failed(Failed),
    /// What is done next, on a GPU.
    At(u32, Stage),
    /// What became of it on a GPU.
    Ran(LibraryRun),
    /// The files of NVIDIA's that are mapped in the end, sorted.
    Mapped(Vec<String>),
}

/// The side of the matrices, and of the picture that is convolved.
const SIDE: usize = 16;
/// The side of the filter, which stands over the whole of the picture at every place.
const FILTER: usize = 3;

/// With less free memory than this (bytes) a handle may fail for want of it.
const LITTLE: usize = 1 << 30;

type Status = c_int;
type Property = unsafe extern "C" fn(c_int, *mut c_int) -> Status;
type Runtime = unsafe extern "C" fn() -> usize;
type Text = unsafe extern "C" fn(Status) -> *const c_char;

/// Answers [`Ask`].
pub(super) fn ask(question: &Ask, teller: &mut Teller) -> Result<(), String> {
    for path in &question.before {
        // What cannot be opened would not have been loaded either; what needs it says so.
        let _ = Library::open(path, teller);
    }
    let library = match Library::open(&question.library, teller) {
        Ok(library) => library,
        Err(says) => {
            teller.part(&Part::Failed(Failed { stage: Stage::Open, cause: Cause::LibraryBroken, code: None, says }));
            return Ok(());
        }
    };
    teller.stage("it told its version");
    teller.part(&Part::Opened { version: version(&library, question.which), cudart: cudart(&library, question.which) });
    let driver = Library::open(&question.libcuda, teller)?;
    let cuda = Cuda::new(&driver);
    teller.stage("cuInit ran");
    if let Err(failed) = call!(cuda, Stage::Init, None, init, "cuInit", 0) {
        teller.part(&Part::Failed(failed));
        return Ok(());
    }
    for &(gpu, mode) in &question.gpus {
        let which = question.which;
        let mut job =
            Job { which, cuda: &cuda, library: &library, gpu, mode, ms: BTreeMap::new(), begin: None, teller };
        let failure = job.run().err().map(|failed| job.explained(failed));
        job.took();
        let ms = job.ms;
        let broken = failure.is_some();
        teller.part(&Part::Ran(LibraryRun { gpu, ms, failure }));
        if broken {
            // What a failed computation did to this process, nobody knows: another one goes on.
            break;
        }
    }
    teller.part(&Part::Mapped(mapped()));
    Ok(())
}

/// The version by the property calls, which every release since CUDA 9 and cuDNN 7 has.
fn version(library: &Library, which: MathLibrary) -> Option<Dotted> {
    let name = match which {
        MathLibrary::Cublas => "cublasGetProperty",
        MathLibrary::Cudnn => "cudnnGetProperty",
    };
    // SAFETY: that is its type in cublas_api.h and in cudnn.h: MAJOR_VERSION, MINOR_VERSION and PATCH_LEVEL are 0, 1, 2.
    let property = unsafe { library.function::<Property>(name) }.ok()?;
    let parts = [0, 1, 2].map(|which| {
        let mut value = 0;
        // SAFETY: the call writes one number.
        let status = unsafe { property(which, &raw mut value) };
        u32::try_from(value).ok().filter(|_| status == 0)
    });
    match parts {
        [Some(major), Some(minor), Some(patch)] => Some(Dotted::new(&[major, minor, patch])),
        _ => None,
    }
}

/// The runtime that is linked into it: `12080` is 12.8.
fn cudart(library: &Library, which: MathLibrary) -> Option<Dotted> {
    let name = match which {
        MathLibrary::Cublas => "cublasGetCudartVersion",
        MathLibrary::Cudnn => "cudnnGetCudartVersion",
    };
    // SAFETY: that is its type in cublas_api.h and in cudnn.h.
    let runtime = unsafe { library.function::<Runtime>(name) }.ok()?;
    // SAFETY: it takes nothing.
    u32::try_from(unsafe { runtime() }).ok().filter(|number| *number > 0).map(Dotted::of_cuda)
}

/// The files of NVIDIA's that this process has mapped.
#[expect(clippy::disallowed_methods, reason = "it is this process that is asked about, and not the machine")]
fn mapped() -> Vec<String> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let paths = maps.lines().filter_map(|line| line.find('/').and_then(|at| line.get(at..)));
    let ours = |path: &&str| {
        let name = path.rsplit('/').next().unwrap_or_default();
        name.starts_with("libcu") || name.starts_with("libnv")
    };
    paths.filter(ours).map(str::to_owned).sorted_set().into_iter().collect()
}

/// A computation on a GPU.
struct Job<'j, 'library> {
    which: MathLibrary,
    cuda: &'j Cuda<'library>,
    library: &'j Library,
    gpu: u32,
    mode: Option<ComputeMode>,
    ms: BTreeMap<String, f64>,
    begin: Option<(Stage, Instant)>,
    teller: &'j mut Teller,
}

/// Calls a function of the library; its code, or that it is missing, as a failure.
macro_rules! ask_library {
    ($job:expr, $stage:expr, $name:literal, fn($($type:ty),* $(,)?) $(, $argument:expr)* $(,)?) => {{
        // SAFETY: these are the types of cublas_api.h, and of cudnn's headers from 8 to 9.
        match unsafe { $job.library.function::<unsafe extern "C" fn($($type),*) -> Status>($name) } {
            Err(_) => Err(missing($job.library, $name, $stage)),
            Ok(function) => {
                // SAFETY: as above, and every pointer outlives the call.
                match unsafe { function($($argument),*) } {
                    0 => Ok(()),
                    code => Err($job.failed($name, $stage, code)),
                }
            }
        }
    }};
}

impl Job<'_, '_> {
    fn at(&mut self, stage: Stage, call: &str) {
        self.took();
        self.begin = Some((stage, Instant::now()));
        self.teller.part(&Part::At(self.gpu, stage));
        self.teller.stage(format!("{call} ran on GPU {}", self.gpu));
    }

    fn took(&mut self) {
        let Some((stage, begin)) = self.begin.take() else { return };
        let name = match stage {
            Stage::Context => "context",
            Stage::Handle => "handle",
            Stage::Memory => "memory",
            Stage::Verify => "verify",
            _ => "compute",
        };
        self.ms.insert(name.to_owned(), millis(begin));
    }

    fn failed(&self, name: &str, stage: Stage, code: Status) -> Failed {
        let texts: &[&str] = match self.which {
            MathLibrary::Cublas => &["cublasGetStatusName", "cublasGetStatusString"],
            MathLibrary::Cudnn => &["cudnnGetErrorString"],
        };
        let mut says = format!("{name} gives {code}");
        for text in texts {
            // SAFETY: that is their type in the libraries' headers; older ones lack some.
            let Ok(function) = (unsafe { self.library.function::<Text>(text) }) else { continue };
            // SAFETY: it takes any number, and gives a text that lives as long as the library.
            let text = unsafe { function(code) };
            if !text.is_null() {
                // SAFETY: as above; it is no null.
                let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
                says.push_str(", ");
                says.extend(text.chars().take(200));
            }
        }
        if self.which == MathLibrary::Cudnn {
            type Last = unsafe extern "C" fn(*mut c_char, usize);
            let mut text: [c_char; 512] = [0; 512];
            // SAFETY: that is its type in cudnn_graph.h, from cuDNN 9 on.
            let last = unsafe { self.library.function::<Last>("cudnnGetLastErrorString") };
            if let Ok(last) = last {
                // SAFETY: it writes at most as many bytes as it is told.
                unsafe { last(text.as_mut_ptr(), text.len() - 1) };
                let last = super::driver::text_of(&text);
                if !last.trim().is_empty() {
                    says.push_str(": ");
                    says.push_str(last.trim());
                }
            }
        }
        Failed { stage, cause: self.which.cause(code), code: Some(code), says }
    }

    fn run(&mut self) -> Result<(), Failed> {
        let cuda = self.cuda;
        self.at(Stage::Context, "cuDevicePrimaryCtxRetain");
        let (mut device, mut context): (Device, Handle) = (0, ptr::null_mut());
        let ordinal = c_int::try_from(self.gpu).unwrap_or(c_int::MAX);
        call!(cuda, Stage::Device, None, device, "cuDeviceGet", &raw mut device, ordinal)?;
        // The context that the libraries' own runtime takes.
        call!(cuda, Stage::Context, self.mode, primary, "cuDevicePrimaryCtxRetain", &raw mut context, device)?;
        call!(cuda, Stage::Context, self.mode, enter, "cuCtxSetCurrent", context)?;
        match self.which {
            MathLibrary::Cublas => self.product(),
            MathLibrary::Cudnn => self.convolution(),
        }
    }

    /// A failure with what may lie behind it: libraries tell of a full GPU by codes that tell nothing.
    fn explained(&self, mut failed: Failed) -> Failed {
        // The test kernel had a context here a moment ago, so that somebody came in between.
        if failed.stage == Stage::Context && failed.cause == Cause::DeviceLost {
            failed.cause = Cause::DeviceUnavailable;
        }
        let vague = failed.cause == Cause::Other && matches!(failed.stage, Stage::Handle | Stage::Launch);
        let (cuda, mut free, mut total) = (self.cuda, 0, 0);
        if vague
            && call!(cuda, Stage::Memory, None, free, "cuMemGetInfo", &raw mut free, &raw mut total).is_ok()
            && free < LITTLE
        {
            failed.cause = Cause::OutOfMemory;
            failed.says = format!("{}; {} MiB of the GPU's memory are free", failed.says, free >> 20);
        }
        failed
    }

    /// Takes memory on the GPU and fills it.
    fn memory(&self, numbers: &[f32]) -> Result<Memory, Failed> {
        let cuda = self.cuda;
        let mut memory = 0;
        let bytes = size_of_val(numbers);
        call!(cuda, Stage::Memory, None, take, "cuMemAlloc", &raw mut memory, bytes)?;
        call!(cuda, Stage::Memory, None, send, "cuMemcpyHtoD", memory, numbers.as_ptr().cast(), bytes)?;
        Ok(memory)
    }

    /// Fetches what was computed and compares it.
    fn compare(&mut self, memory: Memory, right: &[f32]) -> Result<(), Failed> {
        let cuda = self.cuda;
        self.at(Stage::Verify, "cuMemcpyDtoH");
        let mut seen = vec![f32::NAN; right.len()];
        let bytes = size_of_val(right);
        call!(cuda, Stage::Verify, None, fetch, "cuMemcpyDtoH", seen.as_mut_ptr().cast::<c_void>(), memory, bytes)?;
        compare(&seen, right)
    }

    /// A product of two matrices by cuBLAS.
    fn product(&mut self) -> Result<(), Failed> {
        self.at(Stage::Handle, "cublasCreate");
        let mut handle: Handle = ptr::null_mut();
        ask_library!(self, Stage::Handle, "cublasCreate_v2", fn(*mut Handle), &raw mut handle)?;
        self.at(Stage::Memory, "cuMemAlloc");
        let (a, b) = (whole(SIDE * SIDE, 7), whole(SIDE * SIDE, 5));
        let (on_a, on_b) = (self.memory(&a)?, self.memory(&b)?);
        let on_c = self.memory(&vec![f32::NAN; SIDE * SIDE])?;
        self.at(Stage::Launch, "cublasSgemm");
        let (one, zero, side) = (1f32, 0f32, c_int::try_from(SIDE).unwrap_or(0));
        ask_library!(
            self,
            Stage::Launch,
            "cublasSgemm_v2",
            fn(
                Handle,
                c_int,
                c_int,
                c_int,
                c_int,
                c_int,
                *const f32,
                Memory,
                c_int,
                Memory,
                c_int,
                *const f32,
                Memory,
                c_int,
            ),
            handle,
            0,
            0,
            side,
            side,
            side,
            &raw const one,
            on_a,
            side,
            on_b,
            side,
            &raw const zero,
            on_c,
            side
        )?;
        self.wait()?;
        self.compare(on_c, &product(&a, &b))?;
        ask_library!(self, Stage::Verify, "cublasDestroy_v2", fn(Handle), handle)
    }

    /// A convolution of one picture with one filter by cuDNN.
    fn convolution(&mut self) -> Result<(), Failed> {
        let (side, filter) = (c_int::try_from(SIDE).unwrap_or(0), c_int::try_from(FILTER).unwrap_or(0));
        let mut handle: Handle = ptr::null_mut();
        self.at(Stage::Handle, "cudnnCreate");
        ask_library!(self, Stage::Handle, "cudnnCreate", fn(*mut Handle), &raw mut handle)?;
        let mut shapes: [Handle; 4] = [ptr::null_mut(); 4];
        let [picture, result, weights, how] = &mut shapes;
        for shape in [&mut *picture, &mut *result] {
            ask_library!(self, Stage::Handle, "cudnnCreateTensorDescriptor", fn(*mut Handle), shape)?;
            // CUDNN_TENSOR_NCHW and CUDNN_DATA_FLOAT are 0.
            ask_library!(
                self,
                Stage::Handle,
                "cudnnSetTensor4dDescriptor",
                fn(Handle, c_int, c_int, c_int, c_int, c_int, c_int),
                *shape,
                0,
                0,
                1,
                1,
                side,
                side
            )?;
        }
        ask_library!(self, Stage::Handle, "cudnnCreateFilterDescriptor", fn(*mut Handle), &raw mut *weights)?;
        ask_library!(
            self,
            Stage::Handle,
            "cudnnSetFilter4dDescriptor",
            fn(Handle, c_int, c_int, c_int, c_int, c_int, c_int),
            *weights,
            0,
            0,
            1,
            1,
            filter,
            filter
        )?;
        ask_library!(self, Stage::Handle, "cudnnCreateConvolutionDescriptor", fn(*mut Handle), &raw mut *how)?;
        // CUDNN_CROSS_CORRELATION is 1.
        ask_library!(
            self,
            Stage::Handle,
            "cudnnSetConvolution2dDescriptor",
            fn(Handle, c_int, c_int, c_int, c_int, c_int, c_int, c_int, c_int),
            *how,
            filter / 2,
            filter / 2,
            1,
            1,
            1,
            1,
            1,
            0
        )?;
        let [picture, result, weights, how] = shapes;
        self.at(Stage::Memory, "cuMemAlloc");
        let (numbers, factors) = (whole(SIDE * SIDE, 7), whole(FILTER * FILTER, 5));
        let (on_picture, on_weights) = (self.memory(&numbers)?, self.memory(&factors)?);
        let on_result = self.memory(&vec![f32::NAN; SIDE * SIDE])?;
        self.at(Stage::Launch, "cudnnConvolutionForward");
        let (one, zero, none): (f32, f32, *mut c_void) = (1.0, 0.0, ptr::null_mut());
        // CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM is 0; it wants no memory of its own.
        ask_library!(
            self,
            Stage::Launch,
            "cudnnConvolutionForward",
            fn(
                Handle,
                *const f32,
                Handle,
                Memory,
                Handle,
                Memory,
                Handle,
                c_int,
                *mut c_void,
                usize,
                *const f32,
                Handle,
                Memory,
            ),
            handle,
            &raw const one,
            picture,
            on_picture,
            weights,
            on_weights,
            how,
            0,
            none,
            0,
            &raw const zero,
            result,
            on_result
        )?;
        self.wait()?;
        self.compare(on_result, &convolution(&numbers, &factors))?;
        ask_library!(self, Stage::Verify, "cudnnDestroy", fn(Handle), handle)
    }

    fn wait(&self) -> Result<(), Failed> {
        let cuda = self.cuda;
        call!(cuda, Stage::Launch, None, wait, "cuCtxSynchronize")
    }
}

/// Small whole numbers that differ from place to place.
fn whole(count: usize, modulus: u16) -> Vec<f32> {
    (0..count).map(|at| f32::from(u16::try_from(at * at + 3 * at).unwrap_or(0) % modulus) - 2.0).collect()
}

/// The product of two square matrices that are stored column by column.
fn product(a: &[f32], b: &[f32]) -> Vec<f32> {
    let at = |matrix: &[f32], row: usize, column: usize| matrix.get(column * SIDE + row).copied().unwrap_or(0.0);
    let cell = |place: usize| (0..SIDE).map(|inner| at(a, place % SIDE, inner) * at(b, inner, place / SIDE)).sum();
    (0..SIDE * SIDE).map(cell).collect()
}

/// The cross-correlation of a picture with a filter, the picture continued by zeros.
fn convolution(picture: &[f32], filter: &[f32]) -> Vec<f32> {
    let cell = |place: usize| {
        let (y, x) = (place / SIDE, place % SIDE);
        (0..FILTER * FILTER)
            .filter_map(|tap| {
                let (y, x) = ((y + tap / FILTER).checked_sub(FILTER / 2)?, (x + tap % FILTER).checked_sub(FILTER / 2)?);
                let seen = (y < SIDE && x < SIDE).then(|| picture.get(y * SIDE + x))??;
                Some(seen * filter.get(tap)?)
            })
            .sum()
    };
    (0..SIDE * SIDE).map(cell).collect()
}

/// Holds what the GPU computed against what the CPU did; whole numbers of this size have one form.
fn compare(seen: &[f32], right: &[f32]) -> Result<(), Failed> {
    let differing =
        || seen.iter().zip(right).enumerate().filter(|(_, (seen, right))| seen.to_bits() != right.to_bits());
    // A zero may have either sign.
    let mut differing = differing().filter(|(_, (seen, right))| !(**seen == 0.0 && **right == 0.0));
    let Some((at, (first, wanted))) = differing.next() else { return Ok(()) };
    let count = differing.count() + 1;
    Err(Failed {
        stage: Stage::Verify,
        cause: Cause::WrongResult,
        code: None,
        says: format!("{count} of {} numbers are wrong, the first at {at}: {first}, and not {wanted}", right.len()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_computes_the_same_by_hand() {
        let mut unit = vec![0.0; SIDE * SIDE];
        (0..SIDE).for_each(|at| unit[at * SIDE + at] = 1.0);
        let a = whole(SIDE * SIDE, 7);
        assert_eq!(product(&a, &unit), a);
        let mut middle = vec![0.0; FILTER * FILTER];
        middle[FILTER * FILTER / 2] = 1.0;
        assert_eq!(convolution(&a, &middle), a);
        // The first place of the filter stands above and to the left.
        let mut first = vec![0.0; FILTER * FILTER];
        first[0] = 2.0;
        let shifted = convolution(&a, &first);
        assert_eq!((shifted[0], shifted[SIDE + 1]), (0.0, 2.0 * a[0]));
    }

    #[test]
    fn wrong_numbers_are_told_with_their_place() {
        assert!(compare(&[1.0, -0.0], &[1.0, 0.0]).is_ok());
        let failed = compare(&[1.0, f32::NAN, 3.0], &[1.0, 2.0, 4.0]).unwrap_err();
        assert_eq!(failed.cause, Cause::WrongResult);
        assert_eq!(failed.says, "2 of 3 numbers are wrong, the first at 1: NaN, and not 2");
    }
}
