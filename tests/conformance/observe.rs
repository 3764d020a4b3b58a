//! Runs the real interpreter in an environment and keeps what it saw; knows nothing of predictions.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Places;
use super::build::{Built, STANDIN_CUDA, run};
use super::describe::Environment;

/// What real packages did.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Observed {
    /// The description it was observed for, with what was installed.
    pub(crate) digest: String,
    /// The process that imported TensorFlow; that of Keras where Keras ran on TensorFlow.
    pub(crate) tensorflow: Seen,
    /// The process that imported Keras.
    pub(crate) keras: Seen,
    /// How the loader's searches ended, by name, in the process that imported TensorFlow; without a file where they ended with nothing.
    pub(crate) searches: BTreeMap<String, Option<String>>,
}

/// What one process saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Seen {
    pub(crate) sys_path: Vec<String>,
    /// What `import` of that name would take, whether or not the import then ends well.
    pub(crate) origins: BTreeMap<String, Option<String>>,
    pub(crate) version: String,
    pub(crate) tensorflow_file: Option<String>,
    pub(crate) tensorflow_version: Option<String>,
    pub(crate) gpus: Option<u32>,
    pub(crate) tf_keras_api: Option<String>,
    pub(crate) tf_keras_api_error: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) file: Option<String>,
    pub(crate) keras: Option<String>,
    pub(crate) backend: Option<String>,
    pub(crate) jax_devices: Option<Vec<String>>,
    pub(crate) jax_error: Option<String>,
    pub(crate) torch_cuda_build: Option<String>,
    pub(crate) torch_cuda: Option<bool>,
    pub(crate) weights_on: Option<String>,
    pub(crate) trained: Option<bool>,
    pub(crate) train_error: Option<String>,
    pub(crate) mapped: Vec<String>,
    /// The kernels that Jupyter finds, by name; nothing where Jupyter is not installed.
    pub(crate) kernels: Option<BTreeMap<String, Kernel>>,
}

/// What a kernel's interpreter says of itself, as Jupyter would start it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Kernel {
    pub(crate) interpreter: String,
    pub(crate) prefix: Option<String>,
    pub(crate) tensorflow: bool,
    pub(crate) error: Option<String>,
}

fn digest(environment: &Environment, built: &Built) -> String {
    let sources = [
        include_str!("observe.py"),
        include_str!("../standin/cuda.c"),
        include_str!("../standin/inject.h"),
        include_str!("../standin/nvml.c"),
    ];
    // What the stand-in reports is part of what was observed: JAX decides by it whether to use a device.
    let text = format!("{environment:?}{:?}{}{STANDIN_CUDA}{sources:?}", built.installed, built.python);
    super::build::digest(&text)
}

/// What the environment's own interpreter does; taken from an earlier run of the same description unless `again`.
pub(crate) fn observe(
    places: &Places,
    environment: &Environment,
    built: &Built,
    again: bool,
) -> Result<Observed, String> {
    let digest = digest(environment, built);
    let kept = places.results.join(format!("{}.observed.json", environment.name));
    if !again
        && let Ok(text) = std::fs::read_to_string(&kept)
        && let Ok(observed) = serde_json::from_str::<Observed>(&text)
        && observed.digest == digest
    {
        return Ok(observed);
    }
    std::fs::write(built.outside(&built.home).join("observe.py"), include_str!("observe.py")).unwrap();
    let (keras, searches) = ask(environment, built, "keras")?;
    // A process in which Keras came up on TensorFlow and listed devices has shown what TensorFlow does, too.
    let both = keras.error.is_none() && keras.backend.as_deref() == Some("tensorflow") && keras.gpus.is_some();
    let (tensorflow, searches) = if both { (keras.clone(), searches) } else { ask(environment, built, "tensorflow")? };
    let observed = Observed { digest, tensorflow, keras, searches };
    std::fs::write(kept, serde_json::to_string_pretty(&observed).unwrap()).unwrap();
    Ok(observed)
}

/// A program to be started in the environment: in its root, in its working folder, with its variables and no others.
pub(crate) fn inside(environment: &Environment, built: &Built, program: &Path, home: bool) -> Command {
    let mut command = if built.root == Path::new("/") {
        let mut command = Command::new("env");
        command.arg("-i").current_dir(&built.work);
        command
    } else {
        let mut command = Command::new("unshare");
        let script = "mount -t proc proc \"$0/proc\" && mount --rbind /dev \"$0/dev\" && exec chroot \"$0\" \"$@\"";
        command
            .args(["--mount", "sh", "-c", script])
            .arg(&built.root)
            .args(["/usr/bin/env", "-i", "-C"])
            .arg(&built.work);
        command
    };
    for (name, value) in built.variables(environment) {
        if home || name != "HOME" {
            command.arg(format!("{name}={value}"));
        }
    }
    command.arg(program);
    command
}

type Searches = BTreeMap<String, Option<String>>;

fn ask(environment: &Environment, built: &Built, question: &str) -> Result<(Seen, Searches), String> {
    let out = built.home.join(format!("{question}.json"));
    let debug = built.home.join(format!("{question}.ld"));
    let _ = std::fs::remove_file(built.outside(&out));
    let script = format!("exec(open('{}').read())", built.home.join("observe.py").display());
    // `env` is the program, so that the loader's debugging starts with the interpreter.
    let mut command = inside(environment, built, Path::new("env"), true);
    command.args(["LD_DEBUG=libs", &format!("LD_DEBUG_OUTPUT={}", debug.display())]);
    command.arg(built.env.join("bin/python")).args(["-c", &script, question]).arg(&out);
    let ended = run(&mut command, Duration::from_mins(15));
    let seen =
        std::fs::read_to_string(built.outside(&out)).ok().and_then(|text| serde_json::from_str::<Seen>(&text).ok());
    // A process that dies has seen that it cannot be used.
    let seen = match (seen, ended) {
        (Some(seen), _) => seen,
        // By its status `timeout` tells that the time was over: that says something of this machine alone.
        (None, Err(why)) if why.contains("exit status: 124") || why.contains("exit status: 137") => return Err(why),
        (None, Err(why)) => Seen { error: Some(format!("the process ended: {why}")), ..Seen::default() },
        (None, Ok(_)) => return Err(format!("{question}: the observation left no answer")),
    };
    let mut searches = Searches::new();
    let folder = built.outside(&built.home);
    for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
        let path: PathBuf = entry.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&format!("{question}.ld."))) {
            if let Ok(text) = std::fs::read(&path) {
                read_searches(&String::from_utf8_lossy(&text), &mut searches);
            }
            let _ = std::fs::remove_file(&path);
        }
    }
    Ok((seen, searches))
}

/// glibc's own account: `find library=NAME`, then `trying file=PATH` until one is taken, which `calling init` confirms.
fn read_searches(text: &str, searches: &mut Searches) {
    let mut asked: Vec<(String, Option<String>)> = Vec::new();
    let mut started: Vec<String> = Vec::new();
    for line in text.lines() {
        if let Some((_, rest)) = line.split_once("find library=") {
            let name = rest.split_whitespace().next().unwrap_or_default().to_owned();
            asked.push((name, None));
        } else if let Some((_, file)) = line.split_once("trying file=") {
            if let Some((_, last)) = asked.last_mut() {
                *last = Some(file.trim().to_owned());
            }
        } else if let Some((_, file)) = line.split_once("calling init: ") {
            started.push(file.trim().to_owned());
        }
    }
    for (name, last) in asked {
        if name.starts_with("libcu") || name.starts_with("libnv") || name.starts_with("libnccl") {
            let taken = last.filter(|file| started.contains(file));
            let entry = searches.entry(name).or_default();
            if entry.is_none() {
                *entry = taken;
            }
        }
    }
}
