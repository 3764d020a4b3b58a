//! Compiles the test kernel by every compiler found, several at a time, through the cache; launches nothing.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::job::{Done, Job, place, stamp, temporary};
use super::store::Cache;
use super::{Compilation, Route, Settings, compilers};
use crate::doing::doing;
use crate::facts::{Facts, Trouble};
use crate::host::Host;
use crate::probe::child::{Child, Question, ask_one, host_compiler};
use crate::probe::toolkit::find_program;
use crate::version::Dotted;

/// Compiles the kernel by every compiler found, for each of the targets: as machine code and as PTX.
///
/// A target is a compute capability. Without one, each compiler takes its own default. The embedded PTX is not among
/// the results: it needs no compiler ([`super::embedded`]). nvcc is run with the host compiler that the crate `cc` would
/// hand to it, and where `NVCC_CCBIN` names another one, with that too. Of a machine that is a folder, none is run.
pub fn compile(host: &Host, facts: &Facts, settings: &Settings, targets: &[Dotted]) -> Compilation {
    let mut compilation = Compilation::default();
    let compilers = if host.is_rooted() { Vec::new() } else { compilers(host, facts) };
    let cache = settings.cache.then(|| Cache::of(host)).flatten();
    let mut child = Child::this(settings.limit);
    child.beside.clone_from(&settings.beside);
    if let Some(program) = &settings.program {
        child.program.clone_from(program);
    }
    let mut ccbins = Vec::new();
    if compilers.iter().any(|compiler| compiler.route == Route::Nvcc) {
        ccbins = host_compilers(host, &child, cache.as_ref(), &mut compilation);
    }
    let targets: Vec<Option<&Dotted>> =
        if targets.is_empty() { vec![None] } else { targets.iter().map(Some).collect() };
    let mut jobs = Vec::new();
    for compiler in &compilers {
        for &target in &targets {
            match compiler.route {
                Route::Nvcc => {
                    jobs.extend(ccbins.iter().map(|ccbin| Job { compiler, ccbin: ccbin.as_deref(), target }));
                }
                Route::Nvrtc | Route::Ptx => jobs.push(Job { compiler, ccbin: None, target }),
            }
        }
    }
    for done in side_by_side(&jobs, |job| {
        if child.is_over() {
            return Done { results: Vec::new(), started: 0, unkept: None };
        }
        job.run(host, &child, cache.as_ref())
    }) {
        compilation.results.extend(done.results);
        compilation.started += done.started;
        if let Some(why) = done.unkept {
            let trouble = Trouble { at: "the cache of compiled kernels".to_owned(), why };
            if !compilation.troubles.iter().any(|known| known.at == trouble.at) {
                compilation.troubles.push(trouble);
            }
        }
    }
    compilation
}

/// Removes all compiled kernels that are kept; how many files that were.
pub fn wipe_cache(host: &Host) -> std::io::Result<usize> {
    Cache::of(host).map_or(Ok(0), |cache| cache.wipe())
}

/// Runs jobs, as many at a time as there are processors; their results come in the order of the jobs.
fn side_by_side<J: Sync>(jobs: &[J], run: impl Fn(&J) -> Done + Sync) -> Vec<Done> {
    let next = AtomicUsize::new(0);
    let done = Mutex::new(BTreeMap::new());
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(at) else { return };
            let result = run(job);
            done.lock().expect("no thread panics while it holds this").insert(at, result);
        }
    };
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(jobs.len());
    std::thread::scope(|scope| {
        for _ in 1..workers {
            // Where no thread can be had, this one does it all.
            let _ = std::thread::Builder::new().spawn_scoped(scope, work);
        }
        work();
    });
    done.into_inner().expect("no thread panics while it holds this").into_values().collect()
}

/// What decides which host compiler `cc` chooses, beside the default's own file.
const DECIDE: [&str; 9] =
    ["CC", "CXX", "HOST_CC", "HOST_CXX", "TARGET_CC", "TARGET_CXX", "CROSS_COMPILE", "RUSTC_", "PATH"];

/// The host compilers to use with nvcc: what the crate `cc` hands to it, and what `NVCC_CCBIN` says; `None` for the latter.
fn host_compilers(
    host: &Host,
    child: &Child,
    cache: Option<&Cache>,
    compilation: &mut Compilation,
) -> Vec<Option<String>> {
    let mut key = vec!["host compiler 1".to_owned()];
    let variables = host.env_all().iter().filter(|(name, _)| DECIDE.iter().any(|prefix| name.starts_with(prefix)));
    key.extend(variables.map(|(name, value)| format!("{name}={value}")));
    let named = find_program(host, "c++").unwrap_or_default();
    key.push(stamp(host, Path::new(&named)));
    let key = key.join("\n");
    let kept = cache.and_then(|cache| serde_json::from_slice(cache.get(host, &key)?.as_bytes()).ok());
    let asked = kept.map_or_else(
        || {
            // It runs the compiler, to learn which one it is.
            compilation.started += 1;
            child.keep();
            let _doing = doing("asking which host compiler Cargo's cc takes");
            let choice = match temporary(host) {
                Ok((_kept, folder)) => {
                    let question = Question::HostCompiler(folder.path().to_string_lossy().into_owned());
                    ask_one::<host_compiler::Choice>(host, child, &question, child.limit).map_err(|why| why.to_string())
                }
                Err(error) => Err(format!("{}: {error}", place(host))),
            };
            if let (Ok(choice), Some(cache)) = (&choice, cache)
                && let Ok(text) = serde_json::to_string(choice)
            {
                // What could not be kept is told with the kernels.
                let _ = cache.put(&key, text);
            }
            choice
        },
        Ok,
    );
    let by_variable = host.env_nonempty("NVCC_CCBIN");
    match asked {
        Ok(choice) if choice.ccbin.is_some() => {
            let also = by_variable.is_some_and(|name| choice.ccbin.as_deref() != Some(name));
            std::iter::once(choice.ccbin).chain(also.then_some(None)).collect()
        }
        Ok(_) => vec![None],
        // It was ended with all others.
        Err(_) if child.is_over() => Vec::new(),
        Err(why) => {
            compilation.troubles.push(Trouble { at: "the host compiler".to_owned(), why });
            vec![None]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_the_order_of_their_jobs() {
        let jobs: Vec<u32> = (0..50).collect();
        let done = side_by_side(&jobs, |&job| Done { results: Vec::new(), started: job, unkept: None });
        assert!(done.iter().map(|done| done.started).eq(0..50));
        assert!(side_by_side(&[] as &[u32], |_| unreachable!()).is_empty());
    }
}
