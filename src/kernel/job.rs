//! One compiler, one target: asks the cache, else runs the compiler, and says what came out; chooses nothing.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::store::{Cache, digest};
use super::{
    Cause, Code, CompileFailure, Compiled, Compiler, GENERATION_ENTRY, GENERATION_SOURCE, Route, SOURCE, Stage, message,
};
use crate::doing::doing;
use crate::host::{End, Host, Kept, Program};
use crate::probe::child::{self, Child, How, Question, nvrtc};
use crate::probe::toolkit::{ccbin_of, define, misread};
use crate::version::Dotted;

/// Bytes of a compiler's output that are kept.
const CAP: usize = 1 << 20;
/// The largest PTX or cubin that is taken; the kernel's have some kilobytes.
const LARGEST: u64 = 1 << 20;
/// Variables that change what nvcc makes.
const FLAGS: [&str; 3] = ["NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS", "LD_LIBRARY_PATH"];
/// What nvcc needs of its toolkit: programs and headers, and the folders in which others appear and vanish.
const PARTS: [&str; 11] = [
    "bin",
    "bin/cudafe++",
    "bin/fatbinary",
    "bin/nvcc.profile",
    "bin/ptxas",
    "include",
    "include/crt",
    "include/crt/host_config.h",
    "include/cuda_runtime.h",
    "nvvm/bin/cicc",
    "nvvm/libdevice",
];

/// What is to be compiled, and with what.
#[derive(Clone, Debug)]
pub(super) struct Job<'a> {
    pub(super) compiler: &'a Compiler,
    /// The host compiler for nvcc; `None` leaves the choice to it.
    pub(super) ccbin: Option<&'a str>,
    /// The compute capability; `None` leaves the choice to the compiler.
    pub(super) target: Option<&'a Dotted>,
}

/// What a job gave.
pub(super) struct Done {
    pub(super) results: Vec<Result<Compiled, CompileFailure>>,
    /// How many compilers were started.
    pub(super) started: u32,
    /// Why the result could not be kept.
    pub(super) unkept: Option<String>,
}

/// What a compiler made, as it is kept and as a child tells it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Made {
    toolkit: Option<String>,
    ms: f64,
    pieces: Vec<Piece>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Piece {
    arch: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ptx: Option<String>,
    /// Machine code, as hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cubin: Option<String>,
}

/// Why a compiler made nothing.
struct Failed {
    stage: Stage,
    cause: Cause,
    message: String,
}

impl Job<'_> {
    pub(super) fn run(&self, host: &Host, child: &Child, cache: Option<&Cache>) -> Done {
        let limit = child.limit;
        let whole = format!("{SOURCE}{GENERATION_SOURCE}");
        let key = self.key(host, &whole);
        if let Some(made) = cache.and_then(|cache| serde_json::from_slice(cache.get(host, &key)?.as_bytes()).ok()) {
            return Done {
                results: self.results(host, made, true).into_iter().map(Ok).collect(),
                started: 0,
                unkept: None,
            };
        }
        child.keep();
        let name = if self.compiler.route == Route::Nvrtc { "NVRTC" } else { "nvcc" };
        let release = self.stated(host).map_or_else(String::new, |version| format!(" {version}"));
        let _doing = doing(format!("compiling with {name}{release}"));
        let mut started = 1;
        let mut begin = Instant::now();
        let mut made = self.compile(host, child, limit, &whole);
        // What only the second kernel asks for must not fail the first.
        if matches!(&made, Err(failed) if failed.cause == Cause::Other && failed.stage != Stage::Start) {
            let first = begin.elapsed();
            begin = Instant::now();
            started += 1;
            match self.compile(host, child, limit.saturating_sub(first), SOURCE) {
                Ok(smaller) => made = Ok(smaller),
                // The first message is about the same fault.
                Err(_) => begin = begin.checked_sub(first).unwrap_or(begin),
            }
        }
        let ms = child::millis(begin);
        match made {
            Ok(mut made) => {
                made.ms = ms;
                let unkept = cache.and_then(|cache| {
                    let kept = serde_json::to_string(&made).map_err(std::io::Error::from);
                    let failed = kept.and_then(|body| cache.put(&key, body)).err()?;
                    Some(format!("{}: {failed}", cache.folder().display()))
                });
                Done { results: self.results(host, made, false).into_iter().map(Ok).collect(), started, unkept }
            }
            // It was ended with all others, which is no failure of it.
            Err(_) if child.is_over() => Done { results: Vec::new(), started, unkept: None },
            // Never kept. What makes it fail is often not in the key: a header that is installed later, a compiler behind a
            // wrapper that keeps its size and time, a disk that was full. To be told of a fault that has been mended is
            // worse than the tenth of a second in which a compiler fails again.
            Err(failed) => {
                let failure = CompileFailure {
                    route: self.compiler.route,
                    compiler: self.compiler.path.clone(),
                    toolkit: self.stated(host),
                    host_compiler: self.host_compiler(host),
                    arch: self.target.map(|target| format!("sm_{}", digits(target))),
                    stage: failed.stage,
                    cause: failed.cause,
                    message: failed.message,
                    ms,
                };
                Done { results: vec![Err(failure)], started, unkept: None }
            }
        }
    }

    /// All that decides what comes out, in words.
    fn key(&self, host: &Host, source: &str) -> String {
        let path = Path::new(&self.compiler.path);
        let mut key = vec![format!("1 {:?} {}", self.compiler.route, digest(source.as_bytes()))];
        key.push(stamp(host, path));
        key.push(format!("for {}", self.target.map_or_else(String::new, digits)));
        key.push(format!("states {}", self.stated(host).unwrap_or_default()));
        match self.compiler.route {
            Route::Nvrtc => {
                key.extend(self.builtins(host).iter().map(|path| stamp(host, path)));
                key.push(format!("LD_LIBRARY_PATH={}", host.env("LD_LIBRARY_PATH").unwrap_or_default()));
            }
            Route::Nvcc | Route::Ptx => {
                let root = self.root(host);
                key.extend(PARTS.iter().map(|part| stamp(host, &root.join(part))));
                key.extend(FLAGS.iter().filter_map(|name| Some(format!("{name}={}", host.env(name)?))));
                let flags = |name| host.env(name).and_then(ccbin_of);
                let ccbin = flags("NVCC_APPEND_FLAGS").or(self.ccbin).or_else(|| flags("NVCC_PREPEND_FLAGS"));
                let ccbin = ccbin.or_else(|| host.env_nonempty("NVCC_CCBIN")).unwrap_or("gcc");
                let program = crate::probe::toolkit::find_program(host, ccbin);
                key.push(format!(
                    "{:?} {ccbin} {}",
                    self.ccbin,
                    stamp(host, Path::new(program.as_deref().unwrap_or(ccbin)))
                ));
            }
        }
        key.join("\n")
    }

    /// The libraries beside NVRTC that it opens while it compiles.
    fn builtins(&self, host: &Host) -> Vec<PathBuf> {
        let Some(folder) = Path::new(&self.compiler.path).parent() else { return Vec::new() };
        let names = host.names(folder).into_iter().filter(|name| name.starts_with("libnvrtc-builtins.so."));
        names.map(|name| folder.join(name)).collect()
    }

    /// The folder of the toolkit to which the compiler belongs.
    fn root(&self, host: &Host) -> PathBuf {
        let real = host.real(&self.compiler.path).unwrap_or_else(|_| PathBuf::from(&self.compiler.path));
        real.parent().and_then(Path::parent).map(Path::to_path_buf).unwrap_or_default()
    }

    /// The toolkit's version by its header, without asking the compiler.
    fn stated(&self, host: &Host) -> Option<String> {
        let header = host.read_head(self.root(host).join("include/cuda.h"), 1 << 20).ok()?;
        let (number, _) = define(&String::from_utf8_lossy(&header), "CUDA_VERSION")?;
        Some(format!("{}.{}", number / 1000, number % 1000 / 10))
    }

    /// The host compiler, where something names one.
    fn host_compiler(&self, host: &Host) -> Option<String> {
        let named = self.ccbin.or_else(|| host.env_nonempty("NVCC_CCBIN"));
        named.filter(|_| self.compiler.route == Route::Nvcc).map(str::to_owned)
    }

    fn results(&self, host: &Host, made: Made, cached: bool) -> Vec<Compiled> {
        let mut results = Vec::new();
        let generation = made
            .pieces
            .iter()
            .filter_map(|piece| piece.ptx.as_deref())
            .any(|ptx| ptx.contains(&format!(".entry {GENERATION_ENTRY}(")));
        for piece in made.pieces {
            let cubin = piece.cubin.and_then(|text| unhex(&text)).map(Code::Cubin);
            let codes = cubin.into_iter().chain(piece.ptx.map(|text| Code::Ptx(text.into_bytes())));
            results.extend(codes.map(|code| Compiled {
                code,
                generation,
                route: self.compiler.route,
                compiler: Some(self.compiler.path.clone()),
                toolkit: made.toolkit.clone(),
                host_compiler: self.host_compiler(host),
                arch: piece.arch.clone(),
                ms: made.ms,
                cached,
            }));
        }
        results
    }

    fn compile(&self, host: &Host, child: &Child, limit: Duration, source: &str) -> Result<Made, Failed> {
        match self.compiler.route {
            Route::Nvrtc => self.nvrtc(host, child, limit, source),
            Route::Nvcc | Route::Ptx => self.nvcc(host, child, limit, source),
        }
    }

    fn nvcc(&self, host: &Host, child: &Child, limit: Duration, source: &str) -> Result<Made, Failed> {
        let no_space = |error: &std::io::Error| Failed {
            stage: Stage::Start,
            cause: Cause::NoTemporarySpace,
            message: format!("{}: {error}", place(host)),
        };
        let (_kept, folder) = temporary(host).map_err(|error| no_space(&error))?;
        crate::host::write_file(&folder.path().join("kernel.cu"), source.as_bytes())
            .map_err(|error| no_space(&error))?;
        let mut args: Vec<String> = ["-c", "--keep", "-o", "kernel.o"].map(str::to_owned).into();
        if let Some(target) = self.target.map(digits) {
            args.push("-gencode".to_owned());
            args.push(format!("arch=compute_{target},code=[sm_{target},compute_{target}]"));
        }
        args.extend(self.ccbin.map(|ccbin| format!("-ccbin={ccbin}")));
        args.push("kernel.cu".to_owned());
        let mut env = host.env_all().clone();
        env.insert("TMPDIR".to_owned(), folder.path().to_string_lossy().into_owned());
        let program = Program {
            file: &self.compiler.path,
            args,
            env,
            cwd: folder.path(),
            stdin: b"",
            limit,
            most: None,
            cap: CAP,
            beside: child.beside.as_deref(),
        };
        let ran = host.run(&program).map_err(|error| Failed {
            stage: Stage::Start,
            cause: Cause::PartMissing,
            message: format!("it could not be started: {}", error.why),
        })?;
        let names = host.names(folder.path());
        let ending = |ending: &str| names.iter().find(|name| name.ends_with(ending));
        if ran.end != End::Code(0) {
            let text = format!("{}\n{}", String::from_utf8_lossy(&ran.stderr), String::from_utf8_lossy(&ran.stdout));
            let stage = if ending(".cubin").is_some() {
                Stage::Host
            } else if ending(".ptx").is_some() {
                Stage::Assemble
            } else if ending(".ii").is_some() {
                Stage::Compile
            } else {
                Stage::Preprocess
            };
            let (cause, message) = match ran.end {
                End::Code(_) => (self.placed(message::cause(&text, self.ccbin)), message::first_useful(&text)),
                End::Signal(_) => (Cause::Crashed, ran.end.to_string()),
                End::Overtime(_) => (Cause::TimedOut, ran.end.to_string()),
            };
            return Err(Failed { stage, cause, message });
        }
        let odd = |what: &str| Failed { stage: Stage::Assemble, cause: Cause::Other, message: what.to_owned() };
        let read = |name: &String| host.read(folder.path().join(name), LARGEST).ok();
        let ptx = ending(".ptx").and_then(read).and_then(|bytes| String::from_utf8(bytes).ok());
        let ptx = ptx.ok_or_else(|| odd("it ended well and left no PTX"))?;
        let cubin = ending(".cubin").and_then(read).ok_or_else(|| odd("it ended well and left no machine code"))?;
        let arch = target_of(&ptx).ok_or_else(|| odd("its PTX names no target"))?;
        let pieces = vec![
            Piece { arch: format!("sm_{arch}"), ptx: None, cubin: Some(nvrtc::hex(&cubin)) },
            Piece { arch: format!("compute_{arch}"), ptx: Some(ptx.clone()), cubin: None },
        ];
        Ok(Made { toolkit: version_of(&ptx), ms: 0.0, pieces })
    }

    /// The cause of a failure of nvcc. It hands its own path to a shell in double quotes (seen with 13.0 and 13.5): where
    /// that reads it otherwise, nothing of the toolkit is found.
    fn placed(&self, cause: Cause) -> Cause {
        let lost = matches!(
            cause,
            Cause::HeaderMissing
                | Cause::PartMissing
                | Cause::LibdeviceMissing
                | Cause::HostCompilerMissing
                | Cause::Other
        );
        if lost && misread(&self.compiler.path) { Cause::PathUnsupported } else { cause }
    }

    fn nvrtc(&self, host: &Host, child: &Child, limit: Duration, source: &str) -> Result<Made, Failed> {
        let question = Question::Nvrtc(nvrtc::Compile {
            library: self.compiler.path.clone(),
            before: self.builtins(host).iter().map(|path| path.to_string_lossy().into_owned()).collect(),
            source: source.to_owned(),
            target: self.target.map(digits),
        });
        let reply = child::ask::<nvrtc::Part>(host, child, &question, limit);
        let mut made = Made { toolkit: None, ms: 0.0, pieces: Vec::new() };
        for part in reply.parts {
            match part {
                nvrtc::Part::Made { ptx, cubin } => {
                    let arch = target_of(&ptx).unwrap_or_default();
                    made.toolkit = version_of(&ptx);
                    made.pieces.extend(cubin.map(|cubin| Piece {
                        arch: format!("sm_{arch}"),
                        ptx: None,
                        cubin: Some(cubin),
                    }));
                    made.pieces.push(Piece { arch: format!("compute_{arch}"), ptx: Some(ptx), cubin: None });
                }
                nvrtc::Part::Failed { name, log } => {
                    let text = if log.trim().is_empty() { name } else { log };
                    let cause = message::cause(&text, None);
                    return Err(Failed { stage: Stage::Compile, cause, message: message::first_useful(&text) });
                }
            }
        }
        let Some(failure) = reply.failure else {
            let nothing = || Failed {
                stage: Stage::Compile,
                cause: Cause::Other,
                message: "it ended well and made nothing".to_owned(),
            };
            return if made.pieces.is_empty() { Err(nothing()) } else { Ok(made) };
        };
        let (stage, cause) = match &failure.how {
            How::Overtime(_) => (Stage::Compile, Cause::TimedOut),
            How::Signal(_) => (Stage::Compile, Cause::Crashed),
            How::Refused(why) if why.contains("could not be opened") => (Stage::Start, Cause::PartMissing),
            How::NotStarted(_) => (Stage::Start, Cause::Other),
            How::Refused(_) | How::Panic(_) | How::NoAnswer(..) => (Stage::Compile, Cause::Other),
        };
        Err(Failed { stage, cause, message: failure.to_string() })
    }
}

/// Where temporary files belong.
pub(super) fn place(host: &Host) -> &str {
    // One that is no UTF-8 is not known by its name here.
    host.env_nonempty("TMPDIR").filter(|path| !path.contains(char::REPLACEMENT_CHARACTER)).unwrap_or("/tmp")
}

/// A folder for temporary files, which is removed even where this process is killed; it is dropped first.
pub(super) fn temporary(host: &Host) -> std::io::Result<(Kept, tempfile::TempDir)> {
    let folder = tempfile::Builder::new().prefix("gpu-doctor-").tempdir_in(host.absolute(place(host)))?;
    Ok((Kept::folder(folder.path()), folder))
}

/// `90` of 9.0.
fn digits(target: &Dotted) -> String {
    format!("{}{}", target.major(), target.minor())
}

/// `90` of PTX that says `.target sm_90`.
fn target_of(ptx: &str) -> Option<String> {
    let target = ptx.lines().find_map(|line| line.strip_prefix(".target"))?.trim().strip_prefix("sm_")?;
    Some(target.split([',', ' ']).next()?.to_owned()).filter(|target| !target.is_empty())
}

/// `13.5.37` of PTX whose head says `V13.5.37`.
fn version_of(ptx: &str) -> Option<String> {
    let line = ptx.lines().take(20).find(|line| line.contains("ompilation tools"))?;
    Some(line.rsplit_once(", V")?.1.trim().to_owned())
}

/// A file's identity.
pub(super) fn stamp(host: &Host, path: &Path) -> String {
    let real = host.real_text(path);
    match host.stat(&real) {
        Ok(stat) => format!("{real} {} {}", stat.size, stat.modified),
        Err(error) => format!("{real} {}", error.why),
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let value = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let pairs = digits.chunks(2).map(|pair| match pair {
        [high, low] => Some((value(*high)? << 4) | value(*low)?),
        _ => None,
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ptx_says_who_made_it_and_for_what() {
        let head = "//\n// Cuda compilation tools, release 13.5, V13.5.37\n//\n\n.version 9.4\n.target sm_90a, debug\n";
        assert_eq!((version_of(head).as_deref(), target_of(head).as_deref()), (Some("13.5.37"), Some("90a")));
        assert_eq!((version_of(""), target_of(".target \n")), (None, None));
    }

    #[test]
    fn hexadecimal_goes_there_and_back() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(unhex(&nvrtc::hex(&bytes)), Some(bytes));
        assert_eq!((unhex("0"), unhex("0g"), unhex("")), (None, None, Some(Vec::new())));
    }
}
