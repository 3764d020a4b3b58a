//! Reads what chooses Keras' backend and what JAX and PyTorch are there; imports none of them.

use std::collections::BTreeMap;

use super::dists;
use super::layout::join;
use super::literal;
use super::modules::Importer;
use crate::facts::{Evidence, Jax, KerasConfig, Module, Probed, Torch};
use crate::host::{Host, Kind};
use crate::probe::loader::Search;

/// What `import keras` gives.
pub(super) fn keras(importer: &Importer<'_, '_>) -> Option<Module> {
    importer.versioned("keras", &["src/version.py", "version.py", "__init__.py", "src/__init__.py"])
}

/// What `import tf_keras` gives.
pub(super) fn tf_keras(importer: &Importer<'_, '_>) -> Option<Module> {
    importer.versioned("tf_keras", &["__init__.py", "src/version.py"])
}

/// The variables and the file that choose a backend; the same for all environments of one user.
pub(super) fn config(host: &Host) -> KerasConfig {
    let mut config = KerasConfig {
        variable: host.env_nonempty("KERAS_BACKEND").map(|value| Evidence::env("KERAS_BACKEND", value)),
        legacy: host.env("TF_USE_LEGACY_KERAS").map(|value| Evidence::env("TF_USE_LEGACY_KERAS", value)),
        ..KerasConfig::default()
    };
    // Set and empty counts: Keras then reads `keras.json` of the working folder.
    let (folder, evidence) = if let Some(folder) = host.env("KERAS_HOME") {
        let folder = host.absolute(folder).to_string_lossy().into_owned();
        (folder.clone(), Evidence::env("KERAS_HOME", folder))
    } else {
        match host.home().filter(|home| may_write(host, home)) {
            Some(home) => {
                let folder = join(home, ".keras");
                (folder.clone(), Evidence::env("HOME", folder))
            }
            None => ("/tmp/.keras".to_owned(), Evidence::file("/tmp", "/tmp/.keras")),
        }
    };
    config.folder = Some(evidence);
    let path = join(&folder, "keras.json");
    match host.read_lossy(&path) {
        Err(error) if error.is_absent() => config.file = Probed::Absent,
        Err(error) => config.file = Probed::failed(error.to_string()),
        Ok(text) => match backend(&text) {
            Ok(Some((backend, line))) => {
                let says = format!("\"backend\": \"{backend}\"");
                config.file = Probed::found(backend, Evidence::file(path, says).line(line));
            }
            Ok(None) => config.file = Probed::Absent,
            Err((why, line)) => {
                config.file = Probed::failed(format!("{path} is no valid JSON object"));
                config.invalid = Some(Evidence::file(path, why).line(line));
            }
        },
    }
    config
}

/// `backend` of a `keras.json`, with its line; the error tells what is wrong and where.
fn backend(text: &str) -> Result<Option<(String, u32)>, (String, u32)> {
    let json: serde_json::Value = serde_json::from_str(text)
        .map_err(|error| (error.to_string(), u32::try_from(error.line()).unwrap_or(1).max(1)))?;
    let serde_json::Value::Object(map) = json else { return Err(("not an object".to_owned(), 1)) };
    let Some(value) = map.get("backend") else { return Ok(None) };
    let name = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let line =
        (1u32..).zip(text.lines()).find(|(_, line)| line.contains("\"backend\"")).map_or(1, |(number, _)| number);
    Ok(Some((name.chars().take(200).collect(), line)))
}

/// Whether the user may write into a folder, as Keras asks before it uses the home folder.
fn may_write(host: &Host, folder: &str) -> bool {
    let Ok(stat) = host.stat(folder) else { return false };
    if stat.kind != Kind::Folder {
        return false;
    }
    if !host.is_rooted() {
        return host.may_use_node(folder).unwrap_or(true);
    }
    let user = host.user();
    match user.uid {
        Some(0) | None => true,
        Some(uid) if uid == stat.uid => stat.mode & 0o200 != 0,
        Some(_) if user.gids.contains(&stat.gid) => stat.mode & 0o020 != 0,
        // The owner inside a recorded tree is whoever unpacked it, so the bits of others prove nothing.
        Some(_) => true,
    }
}

/// JAX, where anything of it is there.
pub(super) fn jax(importer: &Importer<'_, '_>, search: &Search<'_>, interpreter: &str) -> Option<Jax> {
    let host = importer.folders.host;
    let module = importer.versioned("jax", &[]);
    let jaxlib = dists::by_name(importer.dists, "jaxlib").map(|(_, dist)| dist.version.clone());
    let plugins: BTreeMap<String, String> = importer
        .dists
        .iter()
        .rev()
        .filter(|dist| dists::is_jax_plugin(&dist.name))
        .map(|dist| (dist.name.clone(), dist.version.clone()))
        .collect();
    if module.is_none() && jaxlib.is_none() && plugins.is_empty() {
        return None;
    }
    let platforms = ["JAX_PLATFORMS", "JAX_PLATFORM_NAME"]
        .into_iter()
        .find_map(|name| host.env_nonempty(name).map(|value| Evidence::env(name, value)));
    let mut libraries = Vec::new();
    for (major, names) in [
        (
            12,
            &[
                "libcudart.so.12",
                "libcublas.so.12",
                "libcufft.so.11",
                "libcusolver.so.11",
                "libcusparse.so.12",
                "libcudnn.so.9",
            ],
        ),
        (
            13,
            &[
                "libcudart.so.13",
                "libcublas.so.13",
                "libcufft.so.12",
                "libcusolver.so.12",
                "libcusparse.so.12",
                "libcudnn.so.9",
            ],
        ),
    ] {
        let plugin = importer
            .sys_path
            .iter()
            .map(|entry| join(&entry.path, &format!("jax_plugins/xla_cuda{major}/xla_cuda_plugin.so")))
            .find(|path| host.is_file(path));
        if let Some(plugin) = plugin {
            libraries.extend(search.resolve_all(names, &[&plugin, interpreter]));
        }
    }
    Some(Jax { module, jaxlib, plugins, platforms, libraries })
}

/// PyTorch, where it is there.
pub(super) fn torch(importer: &Importer<'_, '_>) -> Option<Torch> {
    let module = importer.versioned("torch", &["version.py"]);
    let dist = dists::by_name(importer.dists, "torch").or_else(|| dists::by_name(importer.dists, "pytorch"));
    if module.is_none() && dist.is_none() {
        return None;
    }
    let mut torch = Torch { version: dist.map(|(_, dist)| dist.version.clone()), ..Torch::default() };
    if let Some(module) = module.as_ref().filter(|module| !module.namespace) {
        let path = join(&module.path, "version.py");
        torch.version = module.version.clone().or(torch.version);
        torch.cuda = match importer.folders.host.read_lossy(&path) {
            Ok(text) => cuda_of(&text, &path),
            Err(error) => Probed::failed(error.to_string()),
        };
        torch.libtorch_cuda = importer.folders.host.is_file(join(&module.path, "lib/libtorch_cuda.so"));
    }
    torch.module = module;
    Some(torch)
}

/// `cuda` of `torch/version.py`.
fn cuda_of(text: &str, path: &str) -> Probed<String> {
    match literal::assigned(text, "cuda") {
        Some((literal::Value::Text(version), line)) => {
            let says = format!("cuda = {version:?}");
            Probed::found(version, Evidence::file(path, says).line(line))
        }
        Some((literal::Value::Nothing, _)) => Probed::Absent,
        _ => Probed::failed(format!("{path} states no CUDA version")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    fn config_of(files: &[(&str, &str)], env: &[(&str, &str)]) -> KerasConfig {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        config(&Host::rooted(dir.path(), env).unwrap())
    }

    #[test]
    fn the_file_is_read_from_the_chosen_folder() {
        let file = [("root/.keras/keras.json", "{\n  \"epsilon\": 1e-07,\n  \"backend\": \"jax\"\n}\n"), ("k/x", "")];
        let config = config_of(&file, &[("HOME", "/root"), ("KERAS_BACKEND", "")]);
        assert_eq!(config.file.value().unwrap(), "jax");
        assert_eq!(config.file.evidence().unwrap().line, Some(3));
        assert_eq!(config.folder.unwrap().says, "/root/.keras");
        assert!(config.variable.is_none());
        let config = config_of(&file, &[("HOME", "/root"), ("KERAS_HOME", "/k"), ("TF_USE_LEGACY_KERAS", "")]);
        assert!(config.file.is_absent());
        assert_eq!(config.folder.unwrap().at, "KERAS_HOME");
        assert_eq!(config.legacy.unwrap().says, "");
        assert_eq!(config_of(&file, &[("HOME", "/gone")]).folder.unwrap().says, "/tmp/.keras");
    }

    #[test]
    fn a_broken_file_is_told_with_its_line() {
        let config = config_of(&[("root/.keras/keras.json", "{\n \"backend\": \"jax\",\n}\n")], &[("HOME", "/root")]);
        assert_eq!(config.invalid.unwrap().line, Some(3));
    }

    #[test]
    fn pytorch_states_its_cuda() {
        let text =
            "from typing import Optional\n__version__ = '2.5.1+cu124'\ndebug = False\ncuda: Optional[str] = '12.4'\n";
        assert_eq!(cuda_of(text, "v").value().unwrap(), "12.4");
        assert!(cuda_of("cuda: Optional[str] = None\n", "v").is_absent());
        assert!(cuda_of("", "v").unknown().is_some());
    }

    proptest! {
        #[test]
        fn never_panics(text in "[{}\\[\\]\":,a-z\\\\\\n 0-9]{0,80}") {
            let _ = backend(&text);
            let _ = cuda_of(&text, "v");
        }
    }
}
