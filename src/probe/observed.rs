//! Asks driver, NVML, compilers, cuBLAS and cuDNN, and launches the test kernel, all in child processes; judges nothing.
//!
//! Nothing is called where no kernel module is loaded: as root, NVIDIA's libraries would make device nodes that mislead
//! other programs. The first probe of the driver that hangs is the last one, and ends the compilers too.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread::{Builder, scope, sleep};
use std::time::{Duration, Instant};

use super::child::driver::{self, Image, Part, Ran};
use super::child::{Child, Failure, How, Question, Reply, ask, math, nvml};
use crate::db::Database;
use crate::doing::doing;
use crate::facts::Evidence;
use crate::facts::{
    ApiDevice, Cause, CompileFailed, ComputeMode, DriverApi, Facts, Failed, KernelCompile, KernelRun, Library,
    LibraryRun, LibraryWork, MathLibrary, Nvml, NvmlGpu, Observed, Probed, Resolution, Source, Stage, Trouble,
};
use crate::host::{Beside, Host};
use crate::kernel::{self, Code, Compilation, Compiled, Settings};
use crate::options::{Launch, Options};
use crate::version::Dotted;
use crate::view::View;

/// Processes that are started for launches at most; each but the first follows a kernel that broke its process.
const ROUNDS: usize = 24;
/// Libraries that compute at most, and for how long another one is begun: a machine may have many environments.
const LIBRARIES: usize = 8;
const LIBRARIES_TIME: Duration = Duration::from_secs(20);
/// How many seconds each further GPU may take while the driver starts, if it works meanwhile.
const EACH_GPU: u32 = 1;
/// How long compilers are waited for before the driver is asked beside them: what is kept comes sooner.
const SOON: Duration = Duration::from_millis(150);
/// How many limits a library may take for one step: cuDNN alone is a gigabyte, which may come over a network.
const LIBRARY_LIMITS: u32 = 4;

/// Observes a machine whose files have been read; `None` where that was not asked for, or nothing is there to ask.
pub fn probe(host: &Host, options: &Options, facts: &Facts) -> Option<Observed> {
    let child = options.child.as_ref()?;
    let wanted = matches!(options.launch, Launch::Asked | Launch::Require);
    if options.launch == Launch::Never || host.is_rooted() {
        return None;
    }
    let mut observed = Observed::default();
    let assume = &options.assume;
    let stand_in = options.stand_in.as_ref().map(|folder| folder.to_string_lossy().into_owned());
    let library = |resolution: &Resolution, name: &str| match &stand_in {
        Some(folder) => Some(format!("{folder}/{name}")).filter(|path| host.exists(path)),
        None => resolution.file.value().map(|library| library.path.clone()),
    };
    let libcuda = library(&facts.driver.libcuda, "libcuda.so.1");
    let why = if assume.driver.is_some() || assume.gpu.is_some() || assume.cuda.is_some() {
        Some("a driver or a GPU is only assumed")
    } else if stand_in.is_none() && !driver_here(facts) {
        Some("no NVIDIA driver is loaded")
    } else if libcuda.is_none() {
        Some("the loader finds no libcuda.so.1")
    } else {
        None
    };
    observed.not_run = why.map(str::to_owned);
    observed.stand_in.clone_from(&stand_in);
    if why.is_some() && !wanted {
        return None;
    }
    let gpus = facts.pci.iter().filter(|device| device.is_nvidia_gpu()).count();
    let further = u32::try_from(gpus.saturating_sub(1)).unwrap_or(0);
    let patience = EACH_GPU.saturating_mul(further);
    let (mut targets, all_known) = targets(facts);
    let launches = libcuda.filter(|_| why.is_none()).map(|libcuda| Launches::new(libcuda, patience));
    let nvml = launches.as_ref().and_then(|_| library(&facts.driver.nvml, "libnvidia-ml.so.1"));
    // They may wait for the same GPUs.
    let asking = Child { beside: Some(Arc::default()), ..child.clone() };
    let compilers = Arc::new(Beside::default());
    let settings = Settings { beside: Some(Arc::clone(&compilers)), ..options.compile.clone() };
    // Beside each other: where several hang, that costs one time limit.
    scope(|scope| {
        let ask_nvml = |library| Builder::new().spawn_scoped(scope, || one_nvml(host, &asking, patience, library));
        let nvml = nvml.map(ask_nvml);
        let mut launches = launches;
        if let Some(launches) = launches.as_mut().filter(|_| !all_known) {
            // Where files do not tell what is to be compiled for, the driver does.
            launches.all(host, &asking, &[], &mut observed.troubles);
            targets.extend(launches.told.api.devices.iter().filter_map(|device| device.compute.clone()));
            crate::sort::plain(&mut targets);
            targets.dedup();
        }
        let compile = || kernel::compile(host, facts, &settings, &targets);
        let Some(mut launches) = launches else {
            compiled(compile(), &mut observed);
            return;
        };
        let mut images = vec![kernel::embedded()];
        let mut compilation = None;
        if !launches.hung {
            // Where no thread can be had the kernel of this program is launched alone.
            compilation = Builder::new().spawn_scoped(scope, compile).ok();
            let (begin, running) = (Instant::now(), || compilation.as_ref().is_some_and(|it| !it.is_finished()));
            while running() && begin.elapsed() < SOON {
                sleep(Duration::from_millis(1));
            }
            if running() {
                launches.all(host, &asking, &images, &mut observed.troubles);
                if launches.hung {
                    compilers.end();
                }
            }
        }
        if launches.hung {
            let why = "what was not compiled yet was not waited for: the driver hangs".to_owned();
            observed.troubles.push(Trouble { at: "the compilers".to_owned(), why });
        }
        let compilation = compilation.and_then(|it| it.join().ok()).unwrap_or_default();
        images.extend(compiled(compilation, &mut observed));
        launches.launch(host, &asking, &images, &mut observed);
        observed.nvml = match nvml {
            None => Probed::Absent,
            Some(Ok(nvml)) => {
                nvml.join().unwrap_or_else(|_| Probed::failed("reading it failed by a fault of this program"))
            }
            Some(Err(error)) => Probed::failed(format!("no thread could be started: {error}")),
        };
    });
    let gpus = usable(&observed);
    if let (Some(libcuda), false) = (observed.driver.value().map(|driver| driver.library.clone()), gpus.is_empty()) {
        let child = Child { limit: child.limit * LIBRARY_LIMITS, ..child.clone() };
        observed.libraries = compute(host, &child, facts, &libcuda, &gpus, &mut observed.troubles);
    }
    Some(observed)
}

/// The GPUs on which libraries are worth trying: the kernel ran, and none before has the same compute capability.
fn usable(observed: &Observed) -> Vec<(u32, Option<ComputeMode>)> {
    let Some(driver) = observed.driver.value() else { return Vec::new() };
    let mut seen = Vec::new();
    let ran = |gpu| observed.runs.iter().any(|run| run.gpu == gpu && run.route == "ptx" && run.failure.is_none());
    let devices = driver.devices.iter().filter(|device| ran(device.gpu));
    let first = devices.filter(|device| {
        let new = !seen.contains(&&device.compute);
        seen.push(&device.compute);
        new
    });
    first.map(|device| (device.gpu, device.compute_mode)).collect()
}

/// A library that is to compute, for the environments whose TensorFlow would load it.
struct Wanted {
    ask: math::Ask,
    envs: Vec<usize>,
    /// The same package and size, or the same file: the same library, wherever it lies.
    identity: (MathLibrary, String, u64),
}

/// Computes with the cuBLAS and the cuDNN that TensorFlow of each environment would load; equal files once.
///
/// One after the other: a GPU may be set for one process at a time. The active environment comes first.
fn compute(
    host: &Host,
    child: &Child,
    facts: &Facts,
    libcuda: &str,
    gpus: &[(u32, Option<ComputeMode>)],
    troubles: &mut Vec<Trouble>,
) -> Vec<LibraryWork> {
    let view = View::new(facts, Database::embedded());
    let mut wanted: Vec<Wanted> = Vec::new();
    for env in view.envs().filter(|env| env.tf_alive().is_some() && env.cuda_build() == Some(true)) {
        let names = env.wanted();
        let library = |stem: &str| names.iter().find(|name| name.starts_with(stem)).and_then(|name| env.library(name));
        let with = |library: &Library| -> Vec<String> {
            // What is needed further down comes first, so that the loader has it when it is asked for.
            library.brings.iter().rev().map(|brought| brought.path.clone()).collect()
        };
        let (cudart, cublas, cudnn) = (library("libcudart.so."), library("libcublas.so."), library("libcudnn.so."));
        let mut before: Vec<String> = cudart.into_iter().map(|library| library.path.clone()).collect();
        for (which, library) in [(MathLibrary::Cublas, cublas), (MathLibrary::Cudnn, cudnn)] {
            // What the files show to be incomplete has its finding; the loader would say the same.
            let Some(library) = library.filter(|library| library.missing.is_empty()) else { continue };
            before.extend(with(library));
            let identity = (which, library.owner.clone().unwrap_or_else(|| library.real.clone()), library.size);
            let ask = math::Ask {
                which,
                library: library.path.clone(),
                before: before.clone(),
                libcuda: libcuda.to_owned(),
                gpus: gpus.to_vec(),
            };
            before.push(library.path.clone());
            match wanted.iter_mut().find(|other| other.identity == identity) {
                Some(other) => other.envs.push(env.index),
                None => wanted.push(Wanted { ask, envs: vec![env.index], identity }),
            }
        }
    }
    let (begin, all) = (Instant::now(), wanted.len());
    let mut done: Vec<LibraryWork> = Vec::new();
    for (index, Wanted { ask, envs, .. }) in wanted.into_iter().enumerate() {
        if index >= LIBRARIES || begin.elapsed() > LIBRARIES_TIME {
            let why = format!("{} more libraries of environments were not asked to compute", all - index);
            troubles.push(Trouble { at: "cuBLAS and cuDNN".to_owned(), why });
            break;
        }
        let path = ask.library.clone();
        match work(host, child, ask, envs) {
            Ok(one) => {
                let hung = one.failures().any(|(_, failed)| failed.cause == Cause::TimedOut && failed.code.is_none());
                done.push(one);
                // Where one hangs, the next would cost its time, too.
                if hung {
                    break;
                }
            }
            // That says nothing of the library.
            Err(failure) => troubles.push(Trouble { at: path, why: failure.to_string() }),
        }
    }
    done
}

fn work(host: &Host, child: &Child, mut question: math::Ask, envs: Vec<usize>) -> Result<LibraryWork, Failure> {
    let mut work =
        LibraryWork { library: question.which, path: question.library.clone(), envs, ..LibraryWork::default() };
    let _doing = doing(format!("computing with {}", question.which.name()));
    // A GPU on which it failed is the last of its process; the others have another one.
    while !question.gpus.is_empty() {
        let Reply { parts, failure } = ask(host, child, &Question::Math(question.clone()), child.limit);
        let mut at = None;
        for part in parts {
            match part {
                math::Part::Opened { version, cudart } => (work.version, work.cudart) = (version, cudart),
                math::Part::Failed(failed) => work.failure = Some(failed),
                math::Part::At(gpu, stage) => at = Some((gpu, stage)),
                math::Part::Ran(run) => {
                    at = None;
                    work.runs.push(run);
                }
                math::Part::Mapped(mapped) => work.mapped = mapped,
            }
        }
        let hung = failure.as_ref().is_some_and(Failure::hung);
        if let Some(failure) = failure {
            let cause = match &failure.how {
                How::Overtime(_) => Cause::TimedOut,
                How::Signal(_) | How::NoAnswer(..) => Cause::Crashed,
                How::NotStarted(_) | How::Refused(_) | How::Panic(_) => return Err(failure),
            };
            let failed = Failed { stage: Stage::Open, cause, code: None, says: failure.to_string() };
            match at {
                Some((gpu, stage)) => {
                    let failure = Some(Failed { stage, ..failed });
                    work.runs.push(LibraryRun { gpu, ms: BTreeMap::new(), failure });
                }
                None => work.failure = Some(failed),
            }
        }
        let left = question.gpus.len();
        question.gpus.retain(|(gpu, _)| !work.runs.iter().any(|run| run.gpu == *gpu));
        if hung || work.failure.is_some() || question.gpus.len() == left {
            break;
        }
    }
    Ok(work)
}

/// Whether a driver stands behind this process: nothing assumed counts.
fn driver_here(facts: &Facts) -> bool {
    let (driver, machine) = (&facts.driver, &facts.machine);
    let nodes = driver
        .nodes
        .iter()
        .any(|node| node.path.strip_prefix("/dev/nvidia").is_some_and(|tail| tail.parse::<u32>().is_ok()));
    let elsewhere = machine.wsl.as_ref().is_some_and(|wsl| wsl.dxg) || machine.tegra.is_some();
    let loaded = driver.loaded.value() == Some(&true) || !driver.kernel.is_empty();
    // A container may see the module of the machine beneath and have been given no device.
    elsewhere || if machine.container.is_some() { nodes } else { loaded }
}

/// The compute capabilities of the GPUs that files tell of, and whether they tell that of every one.
fn targets(facts: &Facts) -> (Vec<Dotted>, bool) {
    let view = View::new(facts, Database::embedded());
    let mut targets: Vec<Dotted> = view.gpus.iter().filter_map(|gpu| gpu.compute.clone()).collect();
    let all_known = !targets.is_empty() && targets.len() == view.gpus.len();
    crate::sort::plain(&mut targets);
    targets.dedup();
    (targets, all_known)
}

/// Writes down what compilers made and what they did not make; the former.
fn compiled(compilation: Compilation, observed: &mut Observed) -> Vec<Compiled> {
    observed.compilers_started = (!compilation.results.is_empty()).then_some(compilation.started);
    observed.troubles.extend(compilation.troubles);
    let mut done = Vec::new();
    for result in compilation.results {
        observed.compiles.push(match &result {
            Ok(made) => KernelCompile {
                route: word(&made.route),
                compiler: made.compiler.clone(),
                toolkit: made.toolkit.clone(),
                host_compiler: made.host_compiler.clone(),
                arch: Some(made.arch.clone()),
                ms: made.ms,
                cached: made.cached,
                failure: None,
            },
            Err(failed) => KernelCompile {
                route: word(&failed.route),
                compiler: Some(failed.compiler.clone()),
                toolkit: failed.toolkit.clone(),
                host_compiler: failed.host_compiler.clone(),
                arch: failed.arch.clone(),
                ms: failed.ms,
                cached: false,
                failure: Some(CompileFailed {
                    stage: word(&failed.stage),
                    cause: word(&failed.cause),
                    says: failed.message.clone(),
                }),
            },
        });
        done.extend(result);
    }
    done
}

/// A word of an enum, as in JSON.
fn word(of: &impl serde::Serialize) -> String {
    serde_json::to_value(of).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn one_nvml(host: &Host, child: &Child, patience: u32, library: String) -> Probed<Nvml> {
    let _doing = doing("waiting for NVML");
    let (mut seen, mut gpus) = (None, Vec::new());
    loop {
        let from = u32::try_from(gpus.len()).unwrap_or(u32::MAX);
        let question = Question::Nvml(nvml::Ask { library: library.clone(), patience, from });
        let Reply { parts, failure } = ask::<nvml::Part>(host, child, &question, child.limit);
        let mut heard = false;
        for part in parts {
            match part {
                nvml::Part::Library(library) => (seen, heard) = (seen.or(Some(*library)), true),
                nvml::Part::Gpu(gpu) => gpus.push(*gpu),
            }
        }
        let Some(failure) = failure else { break };
        if seen.is_none() {
            return Probed::failed(format!("{library}: {failure}"));
        }
        // What it told before it failed stands; the GPU that it was at is the one that failed.
        let index = u32::try_from(gpus.len()).unwrap_or(u32::MAX);
        gpus.push(NvmlGpu { index, failure: Some(failure.to_string()), ..NvmlGpu::default() });
        // One that crashes its process hides no other; whatever else it is, the next one meets it too.
        if !heard || failure.hung() || gpus.len() >= ROUNDS {
            break;
        }
    }
    let Some(mut seen) = seen else {
        return Probed::failed(format!("{library}: the child process told nothing"));
    };
    seen.gpus = gpus;
    let driver = seen.driver.as_ref().map_or("an unknown driver", Dotted::as_str);
    let says = format!("driver {driver}, {} GPUs", seen.gpus.len());
    Probed::found(seen, Evidence::new(Source::Run, library, says))
}

/// What a sequence of processes told of the driver.
#[derive(Default)]
struct Told {
    api: DriverApi,
    heard: bool,
    at: Option<(u32, usize, Stage)>,
    ran: Vec<Ran>,
    left: Vec<u32>,
}

impl Told {
    fn take(&mut self, parts: Vec<Part>, first: bool) {
        self.at = None;
        for part in parts {
            match part {
                Part::Driver { mapped, cuda } if first => {
                    (self.api.mapped, self.api.cuda, self.heard) = (mapped, cuda, true);
                }
                Part::Device(device) if self.device(device.gpu).is_none() => self.api.devices.push(device),
                Part::Failed(failed) if first => self.api.failure = Some(failed),
                // What went well once and fails in a later process is told of what was open then.
                Part::Driver { .. } | Part::Device(_) | Part::Failed(_) => {}
                Part::At(gpu, image, stage) => self.at = Some((gpu, image, stage)),
                Part::Ran(ran) => {
                    self.at = None;
                    self.ran.push(ran);
                }
                Part::Leave(gpu) => self.left.push(gpu),
            }
        }
    }

    /// What is known of a GPU.
    fn device(&mut self, gpu: u32) -> Option<&mut ApiDevice> {
        self.api.devices.iter_mut().find(|device| device.gpu == gpu)
    }

    /// What is still to be launched.
    fn open(&self, images: &[Image]) -> Vec<(u32, usize)> {
        let devices = self.api.devices.iter().filter(|device| device.failure.is_none());
        devices
            .filter(|device| !self.left.contains(&device.gpu))
            .flat_map(|device: &ApiDevice| {
                driver::plan(images, device.compute.as_ref()).into_iter().map(|image| (device.gpu, image))
            })
            .filter(|(gpu, image)| !self.ran.iter().any(|ran| (ran.gpu, ran.image) == (*gpu, *image)))
            .collect()
    }
}

/// The processes that ask the driver for its devices and launch every image on every device that it fits.
struct Launches {
    told: Told,
    /// Why a process told nothing.
    unheard: Option<String>,
    rounds: usize,
    /// GPUs that crashed the process that asked them: those behind them are still to be asked.
    crashed: Vec<u32>,
    /// Whether a process that asks for the others is still to come.
    more: bool,
    /// Whether another process would meet the same.
    over: bool,
    /// Whether that is because it hangs.
    hung: bool,
    /// How many seconds its start may work in silence before its limit counts.
    patience: u32,
}

impl Launches {
    fn new(libcuda: String, patience: u32) -> Self {
        let told = Told { api: DriverApi { library: libcuda, ..DriverApi::default() }, ..Told::default() };
        Self { told, unheard: None, rounds: 0, crashed: Vec::new(), more: false, over: false, hung: false, patience }
    }

    /// One process, which launches what is open.
    fn round(&mut self, host: &Host, child: &Child, images: &[Image], troubles: &mut Vec<Trouble>) {
        let (told, first) = (&mut self.told, self.rounds == 0);
        self.rounds += 1;
        let mut done: Vec<_> = told.ran.iter().map(|ran| (ran.gpu, ran.image)).collect();
        done.extend(told.left.iter().flat_map(|gpu| (0..images.len()).map(|image| (*gpu, image))));
        let library = told.api.library.clone();
        let patience = self.patience;
        let question = driver::Ask {
            library: library.clone(),
            images: images.to_vec(),
            done,
            skip: self.crashed.clone(),
            patience,
        };
        let before = told.ran.len() + told.left.len() + self.crashed.len();
        let _doing = doing("waiting for the driver");
        let Reply { parts, failure } = ask(host, child, &Question::Driver(question), child.limit);
        told.take(parts, first);
        self.hung = failure.as_ref().is_some_and(Failure::hung);
        self.more = false;
        if let Some(failure) = failure {
            match (told.at.take(), called(&failure)) {
                (Some((gpu, image, stage)), Some((cause, _))) => {
                    let failed = Failed { stage, cause, code: None, says: failure.to_string() };
                    told.ran.push(Ran { gpu, image, ms: BTreeMap::new(), failure: Some(failed) });
                }
                // One GPU that cannot be asked hides no other.
                (None, Some((cause @ Cause::Crashed, stage @ Stage::Device))) => {
                    if let Some(gpu) = asked(&failure) {
                        let failed = Failed { stage, cause, code: None, says: failure.to_string() };
                        if told.device(gpu).is_none() {
                            told.api.devices.push(ApiDevice { gpu, ..ApiDevice::default() });
                        }
                        told.device(gpu).into_iter().for_each(|device| device.failure = Some(failed.clone()));
                        self.crashed.push(gpu);
                        self.more = true;
                    }
                }
                // Behind a launch that went well the context is left: that took no answer away.
                (None, Some(_)) if !told.ran.is_empty() => {
                    troubles.push(Trouble { at: library, why: failure.to_string() });
                }
                (None, Some((cause, stage))) if first => {
                    told.heard = true;
                    told.api.failure = Some(Failed { stage, cause, code: None, says: failure.to_string() });
                }
                _ => self.unheard = Some(failure.to_string()),
            }
        }
        let nothing_new = !images.is_empty() && before == told.ran.len() + told.left.len() + self.crashed.len();
        self.over = self.hung || told.api.failure.is_some() || nothing_new || self.rounds >= ROUNDS;
    }

    /// As many processes as it takes.
    fn all(&mut self, host: &Host, child: &Child, compiled: &[Compiled], troubles: &mut Vec<Trouble>) {
        let images: Vec<Image> = compiled
            .iter()
            .map(|made| Image {
                origin: format!("{} {:?} {:?}", word(&made.route), made.compiler, made.host_compiler),
                arch: made.arch.clone(),
                generation: made.generation,
                code: match &made.code {
                    Code::Ptx(code) | Code::Cubin(code) => code.clone(),
                },
            })
            .collect();
        while !self.over && (self.rounds == 0 || self.more || !self.told.open(&images).is_empty()) {
            self.round(host, child, &images, troubles);
        }
    }

    fn launch(mut self, host: &Host, child: &Child, compiled: &[Compiled], observed: &mut Observed) {
        self.all(host, child, compiled, &mut observed.troubles);
        let Self { mut told, unheard, .. } = self;
        let libcuda = told.api.library.clone();
        for Ran { gpu, image, ms, failure } in told.ran {
            let Some(made) = compiled.get(image) else { continue };
            let mut ms = ms;
            // What was kept was compiled by an earlier run.
            if made.compiler.is_some() && !made.cached {
                ms.insert("compile".to_owned(), made.ms);
            }
            observed.runs.push(KernelRun {
                gpu,
                route: word(&made.route),
                toolkit: made.toolkit.clone(),
                compiler: made.compiler.clone(),
                arch: made.arch.clone(),
                ms,
                failure,
            });
        }
        crate::sort::by_key(&mut observed.runs, |run| run.gpu);
        crate::sort::by_key(&mut told.api.devices, |device| device.gpu);
        observed.driver = if told.heard {
            let says = match (&told.api.failure, &told.api.cuda) {
                (Some(failed), _) => failed.says.clone(),
                (None, Some(cuda)) => format!("CUDA {cuda}, {} devices", told.api.devices.len()),
                (None, None) => format!("{} devices", told.api.devices.len()),
            };
            let evidence = Evidence::new(Source::Run, libcuda, says);
            Probed::found(told.api, evidence)
        } else {
            Probed::failed(unheard.clone().unwrap_or_else(|| "the child process told nothing".to_owned()))
        };
        if observed.runs.is_empty() {
            observed.not_run = match &observed.driver {
                Probed::Found { value, .. } if value.failure.is_some() => None,
                Probed::Found { .. } => {
                    Some(unheard.unwrap_or_else(|| "the driver shows no device that can be used".to_owned()))
                }
                other => other.unknown().map(str::to_owned),
            };
        }
    }
}

/// The GPU that was asked when a process ended: `GPU 3 was asked`.
fn asked(failure: &Failure) -> Option<u32> {
    failure.stage.as_deref()?.strip_prefix("GPU ")?.split(' ').next()?.parse().ok()
}

/// Whether a failure is one of the driver, with its cause and the stage, where nothing was launched yet.
fn called(failure: &Failure) -> Option<(Cause, Stage)> {
    let stage = match failure.stage.as_deref() {
        Some(text) if text.ends_with("was opened") => Stage::Open,
        Some(text) if text.starts_with("GPU ") => Stage::Device,
        _ => Stage::Init,
    };
    match &failure.how {
        How::Signal(_) => Some((Cause::Crashed, stage)),
        How::Overtime(_) => Some((Cause::TimedOut, stage)),
        // The library ended the process itself.
        How::NoAnswer(..) if failure.stage.is_some() => Some((Cause::Crashed, stage)),
        How::Refused(_) if stage == Stage::Open => Some((Cause::LibraryBroken, stage)),
        _ => None,
    }
}
