//! Finds Python environments and reads from their files what is installed; starts no Python and imports nothing.

use std::collections::BTreeMap;

use crate::facts::{Dist, EnvKind, Evidence, JupyterKernel, Probed, PythonEnv, RecordCheck, Source, Trouble};
use crate::host::{Host, HostError};
use crate::options::Options;
use crate::probe::loader::Search;
use crate::sort::Sorted as _;
use crate::version::Dotted;

mod archive;
mod deep;
mod discovery;
mod dists;
mod folders;
mod keras;
mod layout;
mod literal;
mod modules;
mod nvidia;
#[cfg(feature = "cli")]
mod observed;
mod paths;
mod pyjson;
mod record;
pub(crate) mod requirement;
mod tensorflow;
mod unmet;
mod variables;

#[cfg(feature = "cli")]
pub use observed::observe;

use deep::{Package, Work};
use discovery::Place;
use folders::Folders;
use layout::{Layout, join};
use modules::Importer;
use nvidia::Wheels;
use requirement::MarkerEnv;

// What the texts in packages say, whether they are installed or read from an index.
pub(crate) use self::requirement::normalise;
#[cfg(feature = "update")]
pub(crate) use self::{dists::head, requirement::parse as parse_requirement, tensorflow::parse_build};

/// Whether a folder is that of an environment; why not.
///
/// # Errors
///
/// What is missing in it.
pub fn environment(host: &Host, folder: &std::path::Path) -> Result<(), String> {
    layout::locate(host, folder).map(drop)
}

/// Reads every Python environment, the active one first, and the Jupyter kernels that start them.
///
/// The troubles are those of the search itself: a path of `--python` that is no environment, a
/// variable that points nowhere.
pub fn probe(
    host: &Host,
    search: &Search<'_>,
    options: &Options,
) -> (Vec<PythonEnv>, Vec<JupyterKernel>, Vec<Trouble>) {
    let mut found = discovery::discover(host, options);
    if options.deep && options.hashes && cfg!(not(feature = "cli")) {
        let why = "this build cannot compare hashes; it has not the feature `cli`".to_owned();
        found.troubles.push(Trouble { at: "--hashes".to_owned(), why });
    }
    let folders = Folders::new(host);
    let config = keras::config(host);
    let mut envs: Vec<(usize, PythonEnv)> = Vec::new();
    for (index, place) in found.places.iter().enumerate() {
        let env = read(&folders, search, options, place, &config);
        for kernel in found.kernels.iter_mut().filter(|kernel| kernel.env == Some(index)) {
            kernel.prefix = Some(env.path.clone());
            kernel.tensorflow = Some(env.tensorflow.is_some());
        }
        if place.beside {
            continue;
        }
        if place.active || place.wanted || !discovery::is_plain(env.kind) || concerns(&env) {
            envs.push((index, env));
        }
    }
    crate::sort::by_key(&mut envs, |(_, env)| !env.active);
    for kernel in &mut found.kernels {
        kernel.env = kernel.env.and_then(|old| envs.iter().position(|(index, _)| *index == old));
    }
    (envs.into_iter().map(|(_, env)| env).collect(), found.kernels, found.troubles)
}

/// Whether an interpreter that nobody chose holds anything that is judged here.
fn concerns(env: &PythonEnv) -> bool {
    env.tensorflow.is_some()
        || env.torch.is_some()
        || env.jax.is_some()
        || env.keras.as_ref().is_some_and(|module| !module.namespace)
        || env.tf_keras.as_ref().is_some_and(|module| !module.namespace)
        || env.dists.iter().any(|dist| dists::is_keras(&dist.name) || dist.name == "tf-keras")
}

fn read(
    folders: &Folders<'_>,
    search: &Search<'_>,
    options: &Options,
    place: &Place,
    config: &crate::facts::KerasConfig,
) -> PythonEnv {
    let host = folders.host;
    // Of what is only looked at beside the others, no file is compared.
    let deep = options.deep && !place.beside;
    let hashes = options.hashes && cfg!(feature = "cli");
    let layout = &place.layout;
    let version = layout.version.clone();
    let markers = markers(host, search, layout, version.value());
    let paths::Paths { entries: sys_path, code, mut troubles } = paths::sys_path(host, layout);
    troubles.extend(folders.open_archives(&sys_path));
    let recorded = |metadata: &str, location: &str| metadata.ends_with(".dist-info") && !folders.is_archived(location);
    // TensorFlow's RECORD takes as long as all the rest, which goes on beside it.
    let work = deep.then(|| Work::new(host, dists::packages(folders, &sys_path), hashes));
    let (count, rest, mut env) = std::thread::scope(|scope| {
        if let Some(work) = &work {
            for _ in 0..Work::helpers() {
                // Where no thread can be had, the others do it all.
                let _ = std::thread::Builder::new().spawn_scoped(scope, || work.run());
            }
        }
        let found = dists::find(folders, layout, &sys_path, &markers, deep);
        let (count, rest, installed, requires) = (found.count, found.rest, found.dists, found.requires);
        troubles.extend(found.troubles);
        let known: Vec<(usize, Package)> = (installed.iter().enumerate())
            .filter(|(_, dist)| !deep && recorded(&dist.metadata, &dist.location) && is_large(&dist.name))
            .map(|(index, dist)| (index, Package::new(&dist.location, &dist.metadata)))
            .collect();
        let known = std::sync::Arc::new(known);
        let theirs = std::sync::Arc::clone(&known);
        // Where no thread can be had, it is done here in the end.
        let worker = (!known.is_empty())
            .then(|| std::thread::Builder::new().spawn_scoped(scope, move || compare_all(host, &theirs)).ok())
            .flatten();
        let mut records = nvidia_records(host, &installed, recorded);
        let mut checks = std::mem::take(&mut records.unread);
        if work.is_none() {
            for (index, text) in &records.texts {
                if let Some(dist) = installed.get(*index) {
                    checks.push((*index, record::check(folders, &dist.location, text)));
                }
            }
        }
        let wheels = Wheels::read(host, &installed, &records.texts);
        let mut env = assemble(folders, search, layout, config, wheels, installed, sys_path);
        env.path_code = code;
        let importer = Importer { folders, sys_path: &env.sys_path, dists: &env.dists };
        env.unmet = unmet::read(&importer, &env, &requires, &markers);
        env.troubles = troubles;
        checks.extend(match worker {
            Some(worker) => worker.join().unwrap_or_default(),
            None => compare_all(host, &known),
        });
        for (index, check) in checks {
            if let Some(dist) = env.dists.get_mut(index) {
                dist.record = Some(check);
            }
        }
        if let Some(work) = &work {
            work.run();
        }
        (count, rest, env)
    });
    if let Some(work) = work {
        let mut checks = work.finish();
        for dist in env.dists.iter_mut().filter(|dist| recorded(&dist.metadata, &dist.location)) {
            if let Some(check) = checks.remove(&join(&dist.metadata, "RECORD")) {
                dist.record = Some(check.unwrap_or_else(|error| unread(&error)));
            }
        }
        let rest = rest.iter().filter(|(location, name)| recorded(name, location));
        env.dists.extend(rest.filter_map(|(location, name)| {
            let check = checks.remove(&join(&join(location, name), "RECORD"))?;
            faulty(location, name, check)
        }));
    }
    PythonEnv {
        path: layout.prefix.clone(),
        interpreter: layout.interpreter.clone(),
        real_interpreter: layout.real_interpreter.clone(),
        loader: search.foreign(&layout.real_interpreter),
        kind: layout.kind,
        version,
        active: place.active,
        found_by: place.found_by.clone(),
        dist_count: count,
        ..env
    }
}

/// Compares the files of distributions as far as a verdict rests on them.
fn compare_all(host: &Host, known: &[(usize, Package)]) -> Vec<(usize, RecordCheck)> {
    let own = Folders::new(host);
    let compare = |package: &Package| {
        record::check_file(&own, &package.location, &package.record).unwrap_or_else(|error| unread(&error))
    };
    known.iter().map(|(index, package)| (*index, compare(package))).collect()
}

/// The text of a RECORD file, or why there is none; conda and distributions' own packages come without.
fn record(host: &Host, path: &str) -> Result<String, HostError> {
    host.read(path, record::LIMIT).map(record::text)
}

/// A comparison that could not be made.
fn unread(error: &HostError) -> RecordCheck {
    RecordCheck { trouble: Some(error.to_string()), ..RecordCheck::default() }
}

/// What follows from `sys.path` and the distributions.
fn assemble(
    folders: &Folders<'_>,
    search: &Search<'_>,
    layout: &Layout,
    config: &crate::facts::KerasConfig,
    wheels: Wheels,
    installed: Vec<Dist>,
    sys_path: Vec<crate::facts::SysPathEntry>,
) -> PythonEnv {
    let importer = Importer { folders, sys_path: &sys_path, dists: &installed };
    let usual = tensorflow::usual_folders(&importer, &layout.prefix);
    let tensorflow = tensorflow::read(&importer, search, layout, &wheels, &usual);
    let mut jax = keras::jax(&importer, search, &layout.real_interpreter);
    for resolution in jax.iter_mut().flat_map(|jax| &mut jax.libraries) {
        wheels.annotate(folders, &installed, &usual, resolution, true);
    }
    let mut modules: BTreeMap<_, _> = ["numpy", "openvino", "jax", "torch", "flax"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), importer.versioned(name, &[])?)))
        .sorted_map();
    if tensorflow.is_some() {
        modules.extend(importer.within("google", "protobuf").map(|found| ("google.protobuf".to_owned(), found)));
    }
    let (keras, tf_keras) = (keras::keras(&importer), keras::tf_keras(&importer));
    // A build script may ask it, too.
    let asked = folders.host.env("LIBTORCH_USE_PYTORCH").is_some();
    let torch_wanted = asked || keras::chooses(config, "torch");
    let torch = keras::torch(&importer, search, &layout.real_interpreter, torch_wanted);
    let package = tensorflow.as_ref().and_then(|it| it.module.as_ref()).map(|module| module.path.as_str());
    let fatal = variables::read(folders.host, layout, &sys_path, package);
    PythonEnv {
        fatal,
        keras_config: config.clone(),
        tensorflow,
        keras,
        tf_keras,
        jax,
        torch,
        modules,
        nvidia: wheels.wheels,
        dists: installed,
        sys_path,
        ..PythonEnv::default()
    }
}

/// Distributions with many files on which a verdict rests; beside them only NVIDIA's are compared.
fn is_large(name: &str) -> bool {
    dists::is_tensorflow(name) || dists::is_keras(name) || matches!(name, "tf-keras" | "tf-keras-nightly")
}

/// RECORDs of NVIDIA's wheels: who owns which library.
struct Records {
    texts: BTreeMap<usize, String>,
    unread: Vec<(usize, RecordCheck)>,
}

fn nvidia_records(host: &Host, installed: &[Dist], recorded: impl Fn(&str, &str) -> bool) -> Records {
    let mut records = Records { texts: BTreeMap::new(), unread: Vec::new() };
    for (index, dist) in installed.iter().enumerate() {
        if !dist.name.starts_with("nvidia-") || !recorded(&dist.metadata, &dist.location) {
            continue;
        }
        match record(host, &join(&dist.metadata, "RECORD")) {
            Ok(text) => drop(records.texts.insert(index, text)),
            Err(error) => records.unread.push((index, unread(&error))),
        }
    }
    records
}

/// A distribution that matters only for the faults of its files.
fn faulty(location: &str, name: &str, check: Result<RecordCheck, HostError>) -> Option<Dist> {
    // Distributions' own packages come without RECORD.
    if check.as_ref().is_err_and(HostError::is_absent) {
        return None;
    }
    let check = check.unwrap_or_else(|error| unread(&error));
    (check.missing > 0 || check.changed > 0 || check.trouble.is_some()).then(|| {
        let stem = name.trim_end_matches(".dist-info");
        let (name, version) = stem.split_once('-').unwrap_or((stem, ""));
        Dist {
            name: normalise(name),
            version: version.to_owned(),
            metadata: join(location, &format!("{stem}.dist-info")),
            location: location.to_owned(),
            record: Some(check),
            ..Dist::default()
        }
    })
}

fn markers(host: &Host, search: &Search<'_>, layout: &Layout, version: Option<&String>) -> MarkerEnv {
    let machine = search.dynamic(&layout.real_interpreter).map(|dynamic| dynamic.machine).unwrap_or_default();
    let machine =
        if machine.is_empty() { (!host.is_rooted()).then(|| std::env::consts::ARCH.to_owned()) } else { Some(machine) };
    marker_env(version.map(String::as_str), machine, &layout.real_interpreter, layout.kind)
}

fn marker_env(version: Option<&str>, machine: Option<String>, interpreter: &str, kind: EnvKind) -> MarkerEnv {
    let parts = version.map(|version| version.split('.').collect::<Vec<_>>()).unwrap_or_default();
    MarkerEnv {
        python_version: match parts.as_slice() {
            [major, minor, ..] => Some(format!("{major}.{minor}")),
            _ => None,
        },
        python_full_version: version.filter(|_| parts.len() >= 3).map(str::to_owned),
        platform_machine: machine,
        pypy: interpreter.rsplit('/').next().is_some_and(|name| name.starts_with("pypy")) && kind != EnvKind::Conda,
    }
}

/// Pretends that an environment has another Python: its version, and the requirements that depend on it.
pub(super) fn assume(env: &mut PythonEnv, version: &Dotted, arch: &str) {
    let machine = (!arch.is_empty()).then(|| arch.to_owned());
    let markers = marker_env(Some(version.as_str()), machine, &env.real_interpreter, env.kind);
    for requirement in env.dists.iter_mut().flat_map(|dist| &mut dist.requires) {
        // `python_version`, `python_full_version`, `implementation_version`
        if requirement.text.contains("_version") {
            requirement.applies = dists::applies(requirement, &markers);
        }
    }
    let evidence = Evidence::new(Source::Option, "--assume", format!("python={version}"));
    env.version = Probed::found(version.to_string(), evidence);
}
