//! Opens foreign libraries, in a child process only; the one place, with its neighbours, where `unsafe` is allowed.

#![expect(unsafe_code, reason = "foreign libraries are called in child processes, from here only")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::mem::ManuallyDrop;

use libloading::os::unix;
use serde::{Deserialize, Serialize};

use super::Teller;

unsafe extern "C" {
    // Ends the process without running what libraries left to be run at the end, where drivers like to crash.
    safe fn _exit(code: c_int) -> !;
    fn signal(number: c_int, handler: usize) -> usize;
    fn dlinfo(handle: *mut c_void, request: c_int, info: *mut c_void) -> c_int;
}

/// `RTLD_DI_LINKMAP`: what the loader knows of a library.
const LINK_MAP: c_int = 2;

/// The beginning of the loader's `struct link_map`.
#[repr(C)]
struct LinkMap {
    address: usize,
    name: *const c_char,
}

/// Ends the child.
pub(super) fn leave() -> ! {
    _exit(0)
}

/// Lets the signals pass by which a terminal, a user or a service manager ends programs: SIGHUP, SIGINT, SIGTERM.
pub(super) fn ignore_ends() {
    /// `SIG_IGN`.
    const IGNORED: usize = 1;
    for number in [1, 2, 15] {
        // SAFETY: no function is handed over that could be called.
        unsafe { signal(number, IGNORED) };
    }
}

/// Asks whether a library can be opened.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Open {
    /// The file that the loader would choose, or a name where the loader shall choose.
    pub library: String,
}

/// A library that could be opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opened {
    /// The file that is mapped.
    pub mapped: Option<String>,
}

/// A foreign library. It is never closed: drivers start threads.
#[derive(Debug)]
pub struct Library {
    handle: ManuallyDrop<unix::Library>,
    name: String,
    mapped: Option<String>,
}

impl Library {
    /// Opens the file, as programs do that open it by name.
    pub fn open(path: &str, teller: &mut Teller) -> Result<Self, String> {
        teller.stage(format!("{path} was opened"));
        // SAFETY: this process exists to run that library's code; what it breaks, the parent notices.
        let handle = unsafe { unix::Library::open(Some(path), unix::RTLD_NOW | unix::RTLD_LOCAL) };
        match handle {
            Ok(handle) => {
                let raw = handle.into_raw();
                let mapped = mapped(raw);
                // SAFETY: it has just been taken out of such a library, which nothing else holds.
                let handle = unsafe { unix::Library::from_raw(raw) };
                Ok(Self { handle: ManuallyDrop::new(handle), name: path.to_owned(), mapped })
            }
            Err(error) => Err(format!("{path} could not be opened: {error}")),
        }
    }

    /// A function of it.
    ///
    /// # Safety
    ///
    /// `F` must be the type of a pointer to that function.
    pub unsafe fn function<F: Copy>(&self, name: &str) -> Result<Function<'_, F>, String> {
        // SAFETY: by the contract of this function.
        match unsafe { self.handle.get::<F>(name.as_bytes()) } {
            Ok(symbol) => Ok(Function { pointer: *symbol, library: PhantomData }),
            Err(_) => Err(format!("{} has no {name}", self.name)),
        }
    }

    /// The path by which it was opened.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that is mapped, as the loader names it.
    pub fn mapped(&self) -> Option<&str> {
        self.mapped.as_deref()
    }
}

/// The file behind an open library.
fn mapped(handle: *mut c_void) -> Option<String> {
    let mut map: *const LinkMap = std::ptr::null();
    // SAFETY: the handle is that of an open library, and this request writes one pointer.
    let failed = unsafe { dlinfo(handle, LINK_MAP, (&raw mut map).cast()) };
    if failed != 0 || map.is_null() {
        return None;
    }
    // SAFETY: the loader keeps the map and its name as long as the library is open, and it is never closed.
    let name = unsafe { CStr::from_ptr((*map).name) };
    Some(name.to_string_lossy().into_owned()).filter(|name| !name.is_empty())
}

/// A function of an open library.
#[derive(Clone, Copy, Debug)]
pub struct Function<'library, F> {
    pointer: F,
    library: PhantomData<&'library c_void>,
}

impl<F> std::ops::Deref for Function<'_, F> {
    type Target = F;

    fn deref(&self) -> &F {
        &self.pointer
    }
}

/// Answers [`Open`].
pub(super) fn open(question: &Open, teller: &mut Teller) -> Result<(), String> {
    let library = Library::open(&question.library, teller)?;
    teller.part(&Opened { mapped: library.mapped().map(str::to_owned) });
    Ok(())
}
