//! Compiles by an NVRTC of which the exact file is named, in a child process only.

#![expect(unsafe_code, reason = "foreign libraries are called in child processes, from here only")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};

use serde::{Deserialize, Serialize};

use super::Teller;
use super::library::Library;

/// What is to be compiled.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Compile {
    /// The library.
    pub library: String,
    /// Libraries that are opened before it: what it opens by name while it compiles lies beside it, where the loader
    /// need not search.
    pub before: Vec<String>,
    /// CUDA C++ that includes nothing.
    pub source: String,
    /// The compute capability without its dot; without one the library's own default counts.
    pub target: Option<String>,
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// Code.
    Made {
        /// PTX.
        ptx: String,
        /// Machine code as hexadecimal digits, where this NVRTC makes it (from 11.1 on).
        cubin: Option<String>,
    },
    /// The library says no.
    Failed {
        /// What it calls the error.
        name: String,
        /// What it says about the source or the options.
        log: String,
    },
}

type Program = *mut c_void;
type Create = unsafe extern "C" fn(
    *mut Program,
    *const c_char,
    *const c_char,
    c_int,
    *const *const c_char,
    *const *const c_char,
) -> c_int;
type CompileProgram = unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int;
type Size = unsafe extern "C" fn(Program, *mut usize) -> c_int;
type Fill = unsafe extern "C" fn(Program, *mut c_char) -> c_int;
type ErrorString = unsafe extern "C" fn(c_int) -> *const c_char;

/// What the library has to say at most; more is a fault of it.
const LARGEST: usize = 4 << 20;

/// Answers the question.
pub(super) fn compile(question: &Compile, teller: &mut Teller) -> Result<(), String> {
    // Where one cannot be opened, the library itself says so.
    let _before: Vec<_> = question.before.iter().filter_map(|path| Library::open(path, teller).ok()).collect();
    let library = Library::open(&question.library, teller)?;
    let target = question.target.as_deref();
    // A library that makes no machine code takes virtual architectures only.
    // SAFETY: these are the types of nvrtc.h.
    let makes_cubin = unsafe { library.function::<Size>("nvrtcGetCUBINSize") }.is_ok();
    let part = if let Some(target) = target {
        let kind = if makes_cubin { "sm" } else { "compute" };
        once(&library, question, Some(&format!("--gpu-architecture={kind}_{target}")), makes_cubin, teller)?
    } else {
        let by_default = once(&library, question, None, false, teller)?;
        let default = match &by_default {
            Part::Made { ptx, .. } => ptx.lines().find_map(|line| line.strip_prefix(".target sm_")).map(str::trim),
            Part::Failed { .. } => None,
        };
        match default {
            Some(target) if makes_cubin => {
                once(&library, question, Some(&format!("--gpu-architecture=sm_{target}")), true, teller)?
            }
            _ => by_default,
        }
    };
    teller.part(&part);
    Ok(())
}

fn once(
    library: &Library,
    question: &Compile,
    option: Option<&str>,
    with_cubin: bool,
    teller: &mut Teller,
) -> Result<Part, String> {
    // SAFETY: these are the types of nvrtc.h.
    let (create, compile, log_size, log, error_string) = unsafe {
        (
            library.function::<Create>("nvrtcCreateProgram")?,
            library.function::<CompileProgram>("nvrtcCompileProgram")?,
            library.function::<Size>("nvrtcGetProgramLogSize")?,
            library.function::<Fill>("nvrtcGetProgramLog")?,
            library.function::<ErrorString>("nvrtcGetErrorString")?,
        )
    };
    let failed = |code: c_int, log: String| {
        // SAFETY: it takes any number and gives a text that lasts, or nothing.
        let name = unsafe {
            let text = error_string(code);
            if text.is_null() { format!("error {code}") } else { CStr::from_ptr(text).to_string_lossy().into_owned() }
        };
        Part::Failed { name, log }
    };
    let source = CString::new(question.source.as_str()).map_err(|error| error.to_string())?;
    let option = option.map(CString::new).transpose().map_err(|error| error.to_string())?;
    let options: Vec<*const c_char> = option.iter().map(|option| option.as_ptr()).collect();
    let count = c_int::try_from(options.len()).unwrap_or(0);
    let mut program: Program = std::ptr::null_mut();
    teller.stage("nvrtcCreateProgram ran");
    // SAFETY: the texts end with NUL and outlive the call; there are no headers.
    let code = unsafe {
        create(&raw mut program, source.as_ptr(), c"kernel.cu".as_ptr(), 0, std::ptr::null(), std::ptr::null())
    };
    if code != 0 {
        return Ok(failed(code, String::new()));
    }
    teller.stage("nvrtcCompileProgram ran");
    // SAFETY: the program is the library's own, and as many options follow as are counted.
    let code = unsafe { compile(program, count, options.as_ptr()) };
    if code != 0 {
        // SAFETY: as above.
        let log = unsafe { bytes(*log_size, *log, program) }.unwrap_or_default();
        return Ok(failed(code, text(log)));
    }
    teller.stage("the compiled code was fetched");
    // SAFETY: as above.
    let ptx = unsafe {
        bytes(*library.function::<Size>("nvrtcGetPTXSize")?, *library.function::<Fill>("nvrtcGetPTX")?, program)
    };
    let cubin = if with_cubin {
        // SAFETY: as above.
        unsafe {
            bytes(*library.function::<Size>("nvrtcGetCUBINSize")?, *library.function::<Fill>("nvrtcGetCUBIN")?, program)
        }
        .ok()
        .filter(|cubin| !cubin.is_empty())
        .map(|cubin| hex(&cubin))
    } else {
        None
    };
    match ptx {
        Ok(ptx) => Ok(Part::Made { ptx: text(ptx), cubin }),
        Err(code) => Ok(failed(code, String::new())),
    }
}

/// What one of the library's pairs of functions gives.
///
/// # Safety
///
/// The functions must be such a pair, and the program one that this library made.
unsafe fn bytes(size: Size, fill: Fill, program: Program) -> Result<Vec<u8>, c_int> {
    let mut length = 0;
    // SAFETY: by the contract of this function.
    let code = unsafe { size(program, &raw mut length) };
    if code != 0 || length > LARGEST {
        return Err(code);
    }
    let mut bytes = vec![0u8; length];
    // SAFETY: the buffer has the size that the library asked for.
    let code = unsafe { fill(program, bytes.as_mut_ptr().cast()) };
    if code == 0 { Ok(bytes) } else { Err(code) }
}

/// A text of the library, without the NUL at its end.
fn text(mut bytes: Vec<u8>) -> String {
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let digit = |value: u8| DIGITS[usize::from(value & 15)];
    bytes.iter().flat_map(|&byte| [digit(byte >> 4), digit(byte)]).collect()
}
