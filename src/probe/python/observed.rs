//! Asks real interpreters what TensorFlow and Keras do in them, in child processes; compares nothing.
//!
//! The child gets the environment as it is, but for what keeps it from leaving traces: no bytecode, a home folder
//! that is thrown away (with the user's own keras.json in it, and the user site where it was), no caches, and a folder
//! for temporary files that goes with it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use crate::doing::doing;
use crate::facts::{Evidence, Observation, Probed, PythonEnv, Seen, Source};
use crate::host::{Host, Kept, Program};

const SCRIPT: &str = include_str!("observe.py");
/// What begins the line that is meant for us; the rest of what a framework prints is noise.
const MARK: &str = "@@cargo-gpu-doctor@@";
/// Bytes of output that are kept.
const CAP: usize = 1 << 20;

/// What the script prints.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    version: Option<String>,
    file: Option<String>,
    gpus: Option<u32>,
    backend: Option<String>,
    device: Option<String>,
    failed: Option<String>,
    error: Option<String>,
}

/// Observes every environment in which there is something to ask.
pub fn observe(host: &Host, pythons: &mut [PythonEnv], limit: Duration) {
    for env in pythons {
        let _kept;
        let folder = match tempfile::Builder::new().prefix("gpu-doctor-").tempdir() {
            Ok(folder) => folder,
            Err(error) => {
                let failed = || Probed::Failed { why: format!("there is no place for a home folder: {error}") };
                env.observed = Some(Observation { tensorflow: failed(), keras: failed() });
                continue;
            }
        };
        _kept = Kept::folder(folder.path());
        let variables = variables(host, folder.path(), env);
        let ask = |question: &str, there: bool| {
            if there {
                one(host, &env.interpreter, question, &variables, limit)
            } else {
                Probed::Skipped { why: "it is not installed".to_owned() }
            }
        };
        let (has_tensorflow, has_keras) = (env.tensorflow.is_some(), env.keras.is_some() || env.tf_keras.is_some());
        let _doing = doing("asking Python what TensorFlow and Keras do");
        // One after the other: two frameworks that fill one GPU's memory at the same time would be in each other's way.
        let tensorflow = ask("tensorflow", has_tensorflow);
        let keras = ask("keras", has_keras);
        env.observed = Some(Observation { tensorflow, keras });
    }
}

/// The child's environment.
fn variables(host: &Host, home: &Path, env: &PythonEnv) -> BTreeMap<String, String> {
    let mut variables = host.env_all().clone();
    let home_text = home.to_string_lossy().into_owned();
    let mut set = |name: &str, value: String| variables.insert(name.to_owned(), value);
    set("PYTHONDONTWRITEBYTECODE", "1".to_owned());
    set("PYTHONIOENCODING", "utf-8".to_owned());
    // The user site hangs on the home folder; it stays where it was.
    if host.env_nonempty("PYTHONUSERBASE").is_none()
        && let Some(real) = host.home()
    {
        set("PYTHONUSERBASE", format!("{real}/.local"));
    }
    set("HOME", home_text.clone());
    set("XDG_CACHE_HOME", format!("{home_text}/cache"));
    // Compilers and profilers of the frameworks leave files in the place for temporary ones.
    let temporary = home.join("tmp");
    if crate::host::make_folder(&temporary).is_ok() {
        set("TMPDIR", temporary.to_string_lossy().into_owned());
    }
    set("CUDA_CACHE_PATH", format!("{home_text}/nv"));
    // Keras writes its configuration at the first import: it gets a copy of the one that it would have read.
    let keras = home.join("keras");
    if crate::host::make_folder(&keras).is_ok() {
        let file = env.keras_config.folder.as_ref().map(|folder| format!("{}/keras.json", folder.says));
        if let Some(bytes) = file.and_then(|file| host.read(file, crate::host::TEXT_LIMIT).ok()) {
            let _ = crate::host::write_file(&keras.join("keras.json"), &bytes);
        }
        set("KERAS_HOME", keras.to_string_lossy().into_owned());
    }
    variables
}

fn one(
    host: &Host,
    interpreter: &str,
    question: &str,
    variables: &BTreeMap<String, String>,
    limit: Duration,
) -> Probed<Seen> {
    let program = Program {
        file: interpreter,
        args: vec!["-c".to_owned(), SCRIPT.to_owned(), question.to_owned(), MARK.to_owned()],
        env: variables.clone(),
        cwd: host.cwd(),
        stdin: &[],
        limit,
        most: None,
        cap: CAP,
        beside: None,
    };
    let ran = match host.run(&program) {
        Ok(ran) => ran,
        Err(error) => return Probed::Failed { why: format!("{interpreter} could not be started: {error}") },
    };
    let stdout = String::from_utf8_lossy(&ran.stdout);
    let answer = stdout.lines().rev().find_map(|line| line.strip_prefix(MARK));
    let Some(answer) = answer.and_then(|line| serde_json::from_slice::<Answer>(line.as_bytes()).ok()) else {
        let stderr = String::from_utf8_lossy(&ran.stderr);
        let last = stderr.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it printed nothing");
        return Probed::Failed { why: format!("{interpreter} gave no answer: {}; {}", ran.end, short(last)) };
    };
    let on_gpu = match (question, answer.gpus, &answer.device) {
        ("tensorflow", Some(0), _) => Some(false),
        (_, _, Some(device)) => Some(is_gpu(device)),
        _ => None,
    };
    let seen = Seen {
        version: answer.version,
        file: answer.file,
        gpus: answer.gpus,
        backend: answer.backend,
        device: answer.device,
        on_gpu,
        failed: answer.failed,
        error: answer.error,
    };
    let says = seen.error.clone().or_else(|| seen.failed.clone()).unwrap_or_else(|| match (seen.gpus, &seen.device) {
        (Some(count), None) => format!("{count} GPUs listed"),
        (Some(count), Some(device)) => format!("{count} GPUs listed, computed on {device}"),
        (None, Some(device)) => format!("computed on {device}"),
        (None, None) => "nothing".to_owned(),
    });
    Probed::found(seen, Evidence::new(Source::Run, format!("{interpreter}: import {question}"), short(&says)))
}

/// Whether a framework's name of a device is that of a GPU: `/job:localhost/…/device:GPU:0`, `cuda:0`, `gpu`.
fn is_gpu(device: &str) -> bool {
    let device = device.to_ascii_lowercase();
    device.contains("gpu") || device.contains("cuda")
}

fn short(text: &str) -> String {
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_told_apart() {
        for (device, gpu) in [
            ("/job:localhost/replica:0/task:0/device:GPU:0", true),
            ("/job:localhost/replica:0/task:0/device:CPU:0", false),
            ("cuda:0", true),
            ("cpu", false),
            ("['CudaDevice(id=0)']", true),
            ("TFRT_CPU_0", false),
        ] {
            assert_eq!(is_gpu(device), gpu, "{device}");
        }
    }
}
