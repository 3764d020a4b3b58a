//! The test kernel: its source, its PTX, what it must compute, and its compilation by every compiler found; launches nothing.
//!
//! A route is a way by which a program may come to machine code: PTX that it carries and the driver compiles,
//! NVRTC, which it loads, or nvcc, which its build ran.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::facts::Trouble;
use crate::host::Beside;

mod compilers;
#[cfg(feature = "cuda")]
mod job;
#[cfg(feature = "cuda")]
mod message;
#[cfg(feature = "cuda")]
mod routes;
#[cfg(feature = "cuda")]
mod store;

pub use compilers::{Compiler, compilers};
#[cfg(feature = "cuda")]
pub use routes::{compile, wipe_cache};

/// The name of the kernel: `extern "C" __global__ void gpu_doctor_smoke(const unsigned* in, unsigned* out,
/// unsigned long long* total, unsigned count)`.
pub const ENTRY: &str = "gpu_doctor_smoke";
/// Threads of a block; the kernel is written for this number.
pub const BLOCK: u32 = 256;
/// The kernel in CUDA C++.
pub const SOURCE: &str = include_str!("kernel/smoke.cu");
/// The name of the second kernel, which uses what the GPU's generation adds; its parameters are those of the first,
/// and it needs an even number of blocks. Only compiled code holds it ([`Compiled::generation`]).
pub const GENERATION_ENTRY: &str = "gpu_doctor_generation";
/// The second kernel in CUDA C++, to be compiled behind [`SOURCE`].
pub const GENERATION_SOURCE: &str = include_str!("kernel/generation.cu");
/// The kernel as PTX that every supported driver can compile; it has no NUL at its end.
pub const PTX: &str = include_str!("kernel/smoke.ptx");

/// A way to machine code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Route {
    /// The PTX that this program carries; the driver compiles it.
    Ptx,
    /// NVIDIA's compiler as a library.
    Nvrtc,
    /// NVIDIA's compiler as a program.
    Nvcc,
}

/// What a compiler made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Code {
    /// Text that the driver compiles; it has no NUL at its end.
    Ptx(Vec<u8>),
    /// Machine code for one architecture.
    Cubin(Vec<u8>),
}

/// A kernel that was compiled, or needed no compiling.
#[derive(Clone, Debug, PartialEq)]
pub struct Compiled {
    /// What came out.
    pub code: Code,
    /// Whether it holds the second kernel too.
    pub generation: bool,
    /// By which way.
    pub route: Route,
    /// The nvcc or libnvrtc.
    pub compiler: Option<String>,
    /// The version that the compiler itself states.
    pub toolkit: Option<String>,
    /// The host compiler that nvcc was told to use.
    pub host_compiler: Option<String>,
    /// What it was compiled for, such as `sm_90` or `compute_90`.
    pub arch: String,
    /// How long that took, or took when it was kept; in milliseconds.
    pub ms: f64,
    /// Whether it comes from the cache.
    pub cached: bool,
}

/// A compilation that gave nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct CompileFailure {
    /// By which way.
    pub route: Route,
    /// The nvcc or libnvrtc.
    pub compiler: String,
    /// The version that the compiler itself states, where it came so far.
    pub toolkit: Option<String>,
    /// The host compiler that nvcc was told to use.
    pub host_compiler: Option<String>,
    /// What it should have been compiled for.
    pub arch: Option<String>,
    /// How far it came.
    pub stage: Stage,
    /// What it comes down to.
    pub cause: Cause,
    /// What the compiler says: the first line that tells something.
    pub message: String,
    /// How long that took, in milliseconds.
    pub ms: f64,
}

/// How far a compilation came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The compiler could not be started or opened.
    Start,
    /// It read the source and the headers.
    Preprocess,
    /// It made PTX.
    Compile,
    /// It made machine code out of PTX.
    Assemble,
    /// The host compiler made an object.
    Host,
}

/// What a failed compilation comes down to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The host compiler is newer or older than the toolkit takes.
    HostCompilerUnsupported,
    /// There is no host compiler.
    HostCompilerMissing,
    /// A part of the toolkit is not there: `cicc`, `ptxas`, NVRTC's built-ins …
    PartMissing,
    /// Its parts are of different releases.
    PartsMixed,
    /// A header is not there.
    HeaderMissing,
    /// libdevice is not there.
    LibdeviceMissing,
    /// It lies where it cannot work: a shell reads its path otherwise.
    PathUnsupported,
    /// The compiler does not know the architecture.
    ArchitectureUnknown,
    /// The temporary folder cannot be written, is full or is not there.
    NoTemporarySpace,
    /// It took longer than its limit.
    TimedOut,
    /// It was ended by a signal.
    Crashed,
    /// Something else.
    Other,
}

/// How compilers are run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long one compilation may take.
    pub limit: Duration,
    /// Whether compiled kernels are taken from the cache and kept there.
    pub cache: bool,
    /// The program that answers as a child process; the running one unless told.
    pub program: Option<PathBuf>,
    /// What ends them all: then there are no results of those that are not done.
    pub beside: Option<Arc<Beside>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { limit: Duration::from_mins(1), cache: true, program: None, beside: None }
    }
}

/// What came out of all compilers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compilation {
    /// What each made, or why it did not.
    pub results: Vec<Result<Compiled, CompileFailure>>,
    /// How many compilers were started.
    pub started: u32,
    /// What went wrong beside that, such as a cache that could not be written.
    pub troubles: Vec<Trouble>,
}

/// The embedded PTX as what a compiler would have made.
pub fn embedded() -> Compiled {
    Compiled {
        code: Code::Ptx(PTX.as_bytes().to_vec()),
        generation: false,
        route: Route::Ptx,
        compiler: None,
        toolkit: None,
        host_compiler: None,
        arch: "compute_30".to_owned(),
        ms: 0.0,
        cached: false,
    }
}

/// How many blocks give every multiprocessor work, and for how many numbers.
///
/// The number of blocks is even; the numbers do not fill the last block, so that its bounds check counts.
pub fn grid(multiprocessors: u32) -> (u32, u32) {
    let blocks = 2 * multiprocessors.clamp(1, 4096);
    (blocks, blocks * BLOCK * 3 - 57)
}

/// What the kernel gets; no two neighbours are alike.
pub fn input(count: u32) -> Vec<u32> {
    (0..count).map(|at| mix(at ^ 0x5bd1_e995)).collect()
}

/// What the kernel must make of it: its output and its total.
pub fn reference(input: &[u32]) -> (Vec<u32>, u64) {
    let block = BLOCK as usize;
    let mut out = Vec::with_capacity(input.len());
    let mut tile = [0; BLOCK as usize];
    let mut base = 0u32;
    for values in input.chunks(block) {
        for (at, slot) in (base..).zip(&mut tile) {
            let value = values.get((at - base) as usize).copied().unwrap_or(0);
            *slot = mix(value.wrapping_add(at));
        }
        let ends = tile.iter().zip(tile.iter().rev()).zip(0u32..).take(values.len());
        out.extend(ends.map(|((&near, &far), thread)| near.wrapping_add(mix(far ^ thread))));
        base = base.wrapping_add(BLOCK);
    }
    let total = out.iter().map(|&value| u64::from(value)).sum();
    (out, total)
}

/// What the second kernel must make of its input: its output and its total.
pub fn generation_reference(input: &[u32]) -> (Vec<u32>, u64) {
    let block = BLOCK as usize;
    let get = |at: usize| input.get(at).copied().unwrap_or(0);
    let products = |at: usize| {
        let weights = [4, 3, 2, 1];
        let bytes = get(at).to_le_bytes().into_iter().zip(weights);
        bytes.fold(get(at ^ block), |sum, (byte, weight): (u8, u32)| sum.wrapping_add(u32::from(byte) * weight))
    };
    let mut out = Vec::with_capacity(input.len());
    for warp in (0..input.len()).step_by(32) {
        // Threads beyond the end take part in the sum of their warp.
        let mine: Vec<u32> = (warp..warp + 32).map(products).collect();
        let all = mine.iter().fold(0u32, |sum, &value| sum.wrapping_add(value));
        out.extend(mine.iter().take(input.len() - warp).map(|&value| mix(value).wrapping_add(all)));
    }
    let total = out.iter().map(|&value| u64::from(value)).sum();
    (out, total)
}

fn mix(mut value: u32) -> u32 {
    value ^= value >> 16;
    value = value.wrapping_mul(0x7feb_352d);
    value ^= value >> 15;
    value = value.wrapping_mul(0x846c_a68b);
    value ^ (value >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Database;
    use crate::version::Dotted;

    #[test]
    fn the_embedded_kernel_is_the_one_that_is_launched() {
        let entry = PTX.split(".visible .entry ").nth(1).unwrap();
        assert!(entry.starts_with(&format!("{ENTRY}(")));
        let parameters: Vec<&str> = entry.split(')').next().unwrap().matches(".param .").collect();
        assert_eq!(parameters.len(), 4);
        let kinds: Vec<&str> =
            entry.lines().filter_map(|line| line.trim().strip_prefix(".param .")?.split(' ').next()).collect();
        assert_eq!(kinds, ["u64", "u64", "u64", "u32"]);
        assert!(PTX.is_ascii() && !PTX.contains('\0'));
        assert!(PTX.contains(".shared") && PTX.contains("bar.sync") && PTX.contains("atom.global.add.u64"));
        assert!(SOURCE.contains(&format!("#define BLOCK {BLOCK}u")));
        assert!(GENERATION_SOURCE.contains(&format!(" {GENERATION_ENTRY}(")));
    }

    fn directive(name: &str) -> &'static str {
        PTX.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim()
    }

    #[test]
    fn the_embedded_kernel_is_old_enough_for_every_driver_and_gpu() {
        let db = Database::embedded();
        let version: Dotted = directive(".version").parse().unwrap();
        let mut held = 0;
        for driver in db.driver_rows() {
            let isa = db.cuda(&driver.reports_cuda).and_then(|row| row.ptx_isa.as_ref());
            assert!(isa.is_none_or(|isa| version <= *isa), "branch {} cannot read PTX {version}", driver.branch);
            held += u32::from(isa.is_some());
        }
        assert!(held > 10);
        let target = crate::probe::compute_capability(directive(".target")).unwrap();
        for gpu in db.gpu_rows() {
            assert!(target <= gpu.compute, "{} is {}", gpu.name, gpu.compute);
        }
    }

    #[test]
    fn the_reference_is_what_a_grid_of_threads_computes() {
        // The kernel, thread by thread, with barriers as the ends of loops.
        let (blocks, count) = grid(3);
        let input = input(count);
        let mut out = vec![0xdead_beef_u32; count as usize];
        let mut total = 0u64;
        for block in 0..blocks {
            let mut base = block * BLOCK;
            while base < count {
                let tile: Vec<u32> = (0..BLOCK)
                    .map(|thread| {
                        mix(input.get((base + thread) as usize).copied().unwrap_or(0).wrapping_add(base + thread))
                    })
                    .collect();
                for thread in 0..BLOCK.min(count - base) {
                    let far = tile[(BLOCK - 1 - thread) as usize];
                    let result = tile[thread as usize].wrapping_add(mix(far ^ thread));
                    out[(base + thread) as usize] = result;
                    total += u64::from(result);
                }
                base += blocks * BLOCK;
            }
        }
        assert_eq!(reference(&input), (out, total));
        assert_eq!(reference(&[]), (Vec::new(), 0));
    }

    #[test]
    fn the_second_reference_is_what_pairs_of_blocks_compute() {
        let (blocks, count) = grid(2);
        let input = input(count);
        let at = |at: u32| if at < count { input[at as usize] } else { 0 };
        let mut out = vec![0xdead_beef_u32; count as usize];
        for block in 0..blocks {
            let odd = block & 1;
            let mut pair = (block - odd) * BLOCK;
            while pair < count {
                let first = pair + odd * BLOCK;
                let mine: Vec<u32> = (first..first + BLOCK)
                    .map(|own| {
                        let (value, far) = (at(own), at(own ^ BLOCK));
                        let products = (value & 255) * 4 + ((value >> 8) & 255) * 3 + ((value >> 16) & 255) * 2;
                        far.wrapping_add(products + (value >> 24))
                    })
                    .collect();
                for thread in (0..BLOCK).filter(|thread| first + thread < count) {
                    let warp = (thread & !31) as usize;
                    let all = mine[warp..warp + 32].iter().fold(0u32, |sum, &value| sum.wrapping_add(value));
                    out[(first + thread) as usize] = mix(mine[thread as usize]).wrapping_add(all);
                }
                pair += blocks * BLOCK;
            }
        }
        let total = out.iter().map(|&value| u64::from(value)).sum();
        assert_eq!(generation_reference(&input), (out, total));
        assert_eq!(generation_reference(&[]), (Vec::new(), 0));
    }

    #[test]
    fn the_grid_gives_every_multiprocessor_work() {
        for multiprocessors in [0, 1, 7, 132, u32::MAX] {
            let (blocks, count) = grid(multiprocessors);
            assert!(blocks % 2 == 0 && blocks >= 2 * multiprocessors.min(4096));
            assert!(count > 2 * blocks * BLOCK && count % BLOCK != 0);
        }
    }
}
