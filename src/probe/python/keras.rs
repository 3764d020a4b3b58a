//! Reads what chooses Keras' backend and what JAX and `PyTorch` are there; imports none of them.

use std::collections::BTreeMap;

use super::dists;
use super::layout::join;
use super::literal;
use super::modules::Importer;
use super::pyjson::{self, Document, Field, Value};
use crate::facts::{Candidate, Evidence, Jax, JaxPlugin, KerasConfig, KerasFault, Module, Probed, Resolution, Torch};
use crate::host::{Host, Kind, TEXT_LIMIT, Why};
use crate::probe::loader::Search;
use crate::probe::symbols;
use crate::sort::Sorted as _;

/// What `import keras` gives.
pub(super) fn keras(importer: &Importer<'_, '_>) -> Option<Module> {
    importer.versioned("keras", &["src/version.py", "version.py", "__init__.py", "src/__init__.py"])
}

/// What `import tf_keras` gives.
pub(super) fn tf_keras(importer: &Importer<'_, '_>) -> Option<Module> {
    importer.versioned("tf_keras", &["__init__.py", "src/version.py"])
}

/// `TF_USE_LEGACY_KERAS` as it is set. TensorFlow compares the whole value, and evidence is without the blanks
/// around it: ` 1` is told in quotes, since it switches nothing on.
fn legacy(value: &str) -> Evidence {
    let blank = value.trim() != value;
    Evidence::env("TF_USE_LEGACY_KERAS", if blank { format!("{value:?}") } else { value.to_owned() })
}

/// The variables and the file that choose a backend; the same for all environments of one user.
pub(super) fn config(host: &Host) -> KerasConfig {
    let mut config = KerasConfig {
        variable: host.env_nonempty("KERAS_BACKEND").map(|value| Evidence::env("KERAS_BACKEND", value)),
        legacy: host.env("TF_USE_LEGACY_KERAS").map(legacy),
        ..KerasConfig::default()
    };
    // Set and empty counts: Keras then reads `keras.json` of the working folder.
    let (folder, evidence, other) = if let Some(folder) = host.env("KERAS_HOME") {
        let folder = expanded(host, folder);
        (folder.clone(), Evidence::env("KERAS_HOME", folder), None)
    } else {
        let own = host.home().map(|home| join(home, ".keras"));
        match (own, host.home().is_some_and(|home| may_write(host, home))) {
            (Some(folder), true) => (folder.clone(), Evidence::env("HOME", folder), None),
            (own, _) => ("/tmp/.keras".to_owned(), Evidence::file("/tmp", "/tmp/.keras"), own),
        }
    };
    config.folder = Some(evidence);
    let path = join(&folder, "keras.json");
    let reading = Reading::of(host, &path);
    // TensorFlow does not ask whether the home folder may be written to.
    config.tensorflow_fault = match other {
        Some(folder) => Reading::of(host, &join(&folder, "keras.json")).fault,
        None => reading.fault.clone(),
    };
    config.file = reading.backend;
    config.invalid = reading.invalid;
    config.fault = reading.fault;
    config.nnx = match host.env("KERAS_NNX_ENABLED") {
        Some(value) => {
            matches!(value.to_lowercase().as_str(), "true" | "1").then(|| Evidence::env("KERAS_NNX_ENABLED", value))
        }
        None => reading.nnx,
    };
    config
}

/// A folder with `~` in front replaced as `os.path.expanduser` does; of other users' homes nothing is known.
fn expanded(host: &Host, folder: &str) -> String {
    let home = folder.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/')).zip(host.home());
    match home {
        Some((rest, home)) => format!("{}{rest}", home.trim_end_matches('/')),
        None => host.absolute(folder).to_string_lossy().into_owned(),
    }
}

/// What one `keras.json` says to those who read it.
#[derive(Debug)]
struct Reading {
    backend: Probed<String>,
    invalid: Option<Evidence>,
    fault: Option<KerasFault>,
    nnx: Option<Evidence>,
}

impl Default for Reading {
    fn default() -> Self {
        Self { backend: Probed::Absent, invalid: None, fault: None, nnx: None }
    }
}

impl Reading {
    fn of(host: &Host, path: &str) -> Self {
        let error = match host.read(path, TEXT_LIMIT) {
            Ok(bytes) => return Self::from(path, &bytes),
            Err(error) => error,
        };
        if error.is_absent() {
            return Self::default();
        }
        // `os.path.exists` holds and `open` fails: an `OSError`, which nobody catches. Who may read a file of
        // a recorded tree is another matter, and what is neither file nor folder is left alone.
        let fault = match (&error.why, host.stat(path)) {
            (Why::NotRegular, Ok(stat)) if stat.kind == Kind::Folder => Some("is a folder"),
            (Why::Denied, Ok(_)) if !host.is_rooted() => Some("may not be read"),
            _ => None,
        };
        Self {
            backend: match (&error.why, host.stat(path)) {
                // Behind a folder that may not be entered it does not exist for Keras.
                (Why::Denied, Err(_)) if !host.is_rooted() => Probed::Absent,
                _ => Probed::failed(error.to_string()),
            },
            fault: fault.map(|what| KerasFault {
                what: what.to_owned(),
                attribute: false,
                evidence: Evidence::file(path, what),
            }),
            ..Self::default()
        }
    }

    fn from(path: &str, bytes: &[u8]) -> Self {
        let fields = match pyjson::read(bytes) {
            Document::Object(fields) => fields,
            Document::Other(value) => {
                let what = format!("holds {} instead of an object", kind_of(&value));
                let evidence = Evidence::file(path, &what);
                return Self {
                    backend: Probed::failed(format!("{path} {what}")),
                    fault: Some(KerasFault { what, attribute: true, evidence }),
                    ..Self::default()
                };
            }
            Document::Invalid { why, line } => {
                return Self {
                    backend: Probed::failed(format!("{path} is no valid JSON")),
                    invalid: Some(Evidence::file(path, why).line(line)),
                    ..Self::default()
                };
            }
            Document::Deep => {
                return Self {
                    backend: Probed::failed(format!("{path} nests too deep for some releases of Python")),
                    ..Self::default()
                };
            }
        };
        let evidence = |key: &str, field: &Field| {
            Evidence::file(path, format!("\"{key}\": {}", field.raw)).line(pyjson::line_at(bytes, field.at))
        };
        let mut reading = Self::default();
        if let Some(field) = fields.get("backend") {
            let name = match &field.value {
                Value::Text(name) => name.chars().take(200).collect(),
                _ => field.raw.clone(),
            };
            reading.backend = Probed::found(name, evidence("backend", field));
        }
        reading.nnx =
            fields.get("nnx_enabled").filter(|field| field.value.is_true()).map(|f| evidence("nnx_enabled", f));
        // In the order in which they are looked at: the first wrong one is the one that is told.
        let one_of =
            |value: &Value, names: &[&str]| matches!(value, Value::Text(name) if names.contains(&name.as_str()));
        let faulty = [
            ("floatx", "`float16`, `float32` or `float64`"),
            ("epsilon", "a number with a point or an exponent"),
            ("image_data_format", "`channels_last` or `channels_first`"),
        ]
        .into_iter()
        .find_map(|(key, wanted)| {
            let field = fields.get(key)?;
            let right = match key {
                "floatx" => one_of(&field.value, &["float16", "float32", "float64"]),
                "epsilon" => matches!(field.value, Value::Float { .. }),
                _ => one_of(&field.value, &["channels_last", "channels_first"]),
            };
            (!right).then_some((key, wanted, field))
        });
        reading.fault = faulty.map(|(key, wanted, field)| KerasFault {
            what: format!("has an `{key}` that is not {wanted}"),
            attribute: false,
            evidence: evidence(key, field),
        });
        reading
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "`null`",
        Value::Bool(_) => "a truth value",
        Value::Int { .. } | Value::Float { .. } => "a number",
        Value::Text(_) => "a string",
        Value::List { .. } => "a list",
        Value::Object { .. } => "an object",
    }
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
        // The owner inside a recorded tree is whoever unpacked it, so that the bits of others prove nothing, but where
        // nobody has any.
        Some(_) => stat.mode & 0o222 != 0,
    }
}

/// The CUDA libraries that JAX opens, by CUDA major.
///
/// Source: `_load_nvidia_libraries` and `_check_cuda_versions` of `jax_plugins/xla_cuda12/__init__.py` and
/// `jax_plugins/xla_cuda13/__init__.py`, jax-cuda12-pjrt 0.6.2 and jax-cuda13-pjrt 0.10.2.
const JAX_LIBRARIES: [(u32, &[&str]); 2] = [
    (
        12,
        &[
            "libcudart.so.12",
            "libcublas.so.12",
            "libcufft.so.11",
            "libcusolver.so.11",
            "libcusparse.so.12",
            "libcupti.so.12",
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
            "libcupti.so.13",
            "libcudnn.so.9",
        ],
    ),
];

/// The first file of that name below an entry of `sys.path`.
fn on_path(importer: &Importer<'_, '_>, name: &str) -> Option<String> {
    let host = importer.folders.host;
    importer
        .sys_path
        .iter()
        .filter(|entry| entry.only.is_empty())
        .map(|entry| join(&entry.path, name))
        .find(|path| host.exists(path))
}

/// A library in `nvidia/*/lib` of any entry of `sys.path`: frameworks open it from there by its path before, or where,
/// the loader does not find it.
fn in_wheels(importer: &Importer<'_, '_>, name: &str) -> Option<String> {
    importer.sys_path.iter().filter(|entry| entry.only.is_empty()).find_map(|entry| {
        let nvidia = join(&entry.path, "nvidia");
        let listing = importer.folders.list(&nvidia)?;
        let folders = listing.iter().filter(|entry| entry.kind != Kind::File);
        folders
            .map(|folder| join(&nvidia, &format!("{}/lib/{name}", folder.name)))
            .find(|path| importer.folders.host.is_file(path))
    })
}

/// Notes the copy that JAX opens itself, where the loader finds none.
fn beside(importer: &Importer<'_, '_>, resolution: &mut Resolution) {
    if resolution.file.value().is_none()
        && let Some(path) = in_wheels(importer, &resolution.name)
        && resolution.others.iter().all(|other| other.path != path)
    {
        resolution.others.push(Candidate { path, via: None, version: None });
    }
}

/// The version that JAX's packages state of themselves: `_release_version`, which `__version__` is computed from.
fn release(host: &Host, path: &str) -> Option<String> {
    let text = host.read_lossy(path).ok()?;
    let value = ["_release_version", "__version__"].into_iter().find_map(|name| literal::assigned(&text, name))?.0;
    value.text().filter(|version| !version.is_empty() && version.len() <= 128).map(str::to_owned)
}

/// Where the module beside `xla_cuda_plugin.so` asks for each CUDA library and registers nothing if one is not there;
/// 0.4 and 0.5 do not.
fn checks(host: &Host, library: &str) -> Option<Evidence> {
    let path = library.strip_suffix("xla_cuda_plugin.so").map(|folder| format!("{folder}__init__.py"))?;
    let text = host.read_lossy(&path).ok()?;
    let call = |line: &str| line.trim_start().starts_with("_check_cuda_versions(");
    let (line, says) = (1..).zip(text.lines()).find(|(_, line)| call(line))?;
    Some(Evidence::file(path, says.trim()).line(line))
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
        .sorted_map();
    if module.is_none() && jaxlib.is_none() && plugins.is_empty() {
        return None;
    }
    let platforms = ["JAX_PLATFORMS", "JAX_PLATFORM_NAME"]
        .into_iter()
        .find_map(|name| host.env_nonempty(name).map(|value| Evidence::env(name, value)));
    let mut libraries = Vec::new();
    let mut cuda = Vec::new();
    for (major, names) in JAX_LIBRARIES {
        let library = on_path(importer, &format!("jax_plugins/xla_cuda{major}/xla_cuda_plugin.so"))
            .filter(|path| host.is_file(path));
        if let Some(plugin) = &library {
            let mut resolved = search.resolve_all(names, &[plugin, interpreter]);
            for resolution in &mut resolved {
                beside(importer, resolution);
            }
            libraries.extend(resolved);
        }
        let name = format!("jax-cuda{major}-plugin");
        let kernels = on_path(importer, &format!("jax_cuda{major}_plugin")).filter(|path| host.is_dir(path));
        let version = kernels.as_deref().and_then(|folder| release(host, &join(folder, "version.py")));
        let version = version.or_else(|| plugins.get(&name).cloned());
        let installed = plugins.keys().any(|plugin| plugin.starts_with(&format!("jax-cuda{major}-")));
        if installed || library.is_some() || kernels.is_some() {
            let checks = library.as_deref().and_then(|library| checks(host, library));
            cuda.push(JaxPlugin { major, library, checks, kernels, version });
        }
    }
    Some(Jax { module, jaxlib, plugins, platforms, libraries, cuda })
}

/// How much of `cpp_extension.py` is read: its imports stand first.
const EXTENSION_HEAD: u64 = 4096;

/// Whether Keras may be set to a backend.
pub(super) fn chooses(config: &KerasConfig, backend: &str) -> bool {
    let variable = config.variable.as_ref().map(|variable| variable.says.as_str());
    variable.or(config.file.value().map(String::as_str)) == Some(backend)
}

/// `PyTorch`, where it is there; what it needs of CUDA only where Keras computes with it.
pub(super) fn torch(
    importer: &Importer<'_, '_>,
    search: &Search<'_>,
    interpreter: &str,
    computes: bool,
) -> Option<Torch> {
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
        torch.extension_lacks = extension_lacks(importer, &module.path);
        if computes && torch.libtorch_cuda {
            torch_needs(importer, search, &module.path, interpreter, &mut torch);
            torch.compute = architectures(importer.folders.host, &join(&module.path, "lib/libtorch_python.so"));
        }
    }
    torch.module = module;
    Some(torch)
}

/// What `import torch` looks for in vain.
///
/// `_load_global_deps` of `torch/__init__.py` opens `libtorch_global_deps.so`; where that fails it opens what lies in
/// `nvidia/*/lib` along `sys.path`, and tries again. `torch/_C` then needs `libtorch_cuda.so` and all that this needs.
fn torch_needs(importer: &Importer<'_, '_>, search: &Search<'_>, folder: &str, interpreter: &str, torch: &mut Torch) {
    let host = importer.folders.host;
    let paths = ["lib/libtorch_global_deps.so", "lib/libtorch_cuda.so"].map(|name| join(folder, name));
    let paths: Vec<&str> = paths.iter().map(String::as_str).filter(|path| host.is_file(path)).collect();
    for resolution in search.resolve_needed(&paths, &[interpreter]) {
        match resolution.file {
            // The driver's library is another question.
            Probed::Found { value, .. } => {
                torch.unresolved.extend(value.unresolved);
                torch.missing.extend(
                    value.missing.into_iter().filter(|lacking| {
                        lacking.name != "libcuda.so.1" && in_wheels(importer, &lacking.name).is_none()
                    }),
                );
            }
            Probed::Failed { why } | Probed::Skipped { why } => torch.untold = Some(why),
            Probed::Absent => {}
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    torch.missing.retain(|lacking| seen.insert(lacking.name.clone()));
}

/// Bytes of constants read at most; those of `libtorch_python.so` are about a million.
const MOST_CONSTANTS: u64 = 16 << 20;

/// The names of GPU architectures that `PyTorch` was compiled with.
///
/// `torch.cuda.get_arch_list()` splits the text `CUDA_ARCH_FLAGS`, which the compiler wrote into `libtorch_python.so`
/// (`THCPModule_getArchFlags`), as in 2.4 and 2.13: `sm_50 sm_60 sm_70 sm_75 sm_80 sm_86 sm_90`. A lone name may be
/// there for another reason, and says nothing.
fn architectures(host: &Host, path: &str) -> Vec<String> {
    let constants = host.open(path).ok().and_then(|file| symbols::constants(&file, MOST_CONSTANTS));
    arch_flags(&constants.unwrap_or_default())
}

fn arch_flags(constants: &[u8]) -> Vec<String> {
    let is_name = |word: &str| {
        let digits = word.strip_prefix("sm_").or_else(|| word.strip_prefix("compute_")).unwrap_or_default();
        let digits = digits.strip_suffix(['a', 'f']).unwrap_or(digits);
        matches!(digits.len(), 2 | 3) && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    let mut lists = constants.split(|&byte| byte == 0).filter_map(|text| {
        let known = text.len() < 1000 && (text.starts_with(b"sm_") || text.starts_with(b"compute_"));
        let text = known.then(|| std::str::from_utf8(text).ok()).flatten()?;
        let names: Vec<String> = text.split_ascii_whitespace().map(str::to_owned).collect();
        (names.len() > 1 && names.iter().all(|name| is_name(name))).then_some(names)
    });
    match (lists.next(), lists.next()) {
        (Some(only), None) => only,
        _ => Vec::new(),
    }
}

/// setuptools, where PyTorch's module for extensions imports it first and it is not there; build scripts ask that module.
fn extension_lacks(importer: &Importer<'_, '_>, torch: &str) -> Option<Evidence> {
    let path = join(torch, "utils/cpp_extension.py");
    let head = importer.folders.host.read_head(&path, EXTENSION_HEAD).ok()?;
    let text = String::from_utf8_lossy(&head);
    let line = (1..)
        .zip(text.lines())
        .find(|(_, line)| line.split(['#', ',']).next().unwrap_or_default().trim_end() == "import setuptools")?
        .0;
    importer.module("setuptools").is_none().then(|| Evidence::file(path, "import setuptools").line(line))
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
        assert!(config.fault.is_none() && config.tensorflow_fault.is_none());
    }

    #[test]
    fn what_ends_an_import_is_told() {
        let fault = |text: &str| Reading::from("k", text.as_bytes()).fault.map(|fault| (fault.attribute, fault.what));
        for text in ["[]", "null", "\"jax\"", "3", "NaN", " true "] {
            assert!(fault(text).is_some_and(|(attribute, _)| attribute), "{text}");
        }
        for text in [
            r#"{"floatx": "float31"}"#,
            r#"{"floatx": 3}"#,
            r#"{"floatx": []}"#,
            r#"{"floatx": null}"#,
            r#"{"floatx": "Float32"}"#,
            r#"{"floatx": "bfloat16"}"#,
            r#"{"epsilon": "x"}"#,
            r#"{"epsilon": true}"#,
            r#"{"epsilon": 1}"#,
            r#"{"epsilon": null}"#,
            r#"{"image_data_format": "NHWC"}"#,
        ] {
            assert!(fault(text).is_some_and(|(attribute, _)| !attribute), "{text}");
        }
        for text in [
            "{}",
            "",
            "{",
            r#"{"backend": "theano"}"#,
            r#"{"floatx": "float32", "epsilon": NaN, "image_data_format": "channels_first"}"#,
            r#"{"epsilon": Infinity}"#,
            r#"{"epsilon": 1e-07}"#,
            r#"{"floatx": 3, "floatx": "float16"}"#,
        ] {
            assert_eq!(fault(text), None, "{text}");
        }
    }

    #[test]
    fn a_backend_beside_nan_is_not_lost_and_one_that_is_no_string_is_kept_as_written() {
        let of = |text: &str| Reading::from("k", text.as_bytes()).backend;
        assert_eq!(of(r#"{"backend": "jax", "epsilon": Infinity}"#).value().unwrap(), "jax");
        assert_eq!(of("{\n\"backend\": NaN}").value().unwrap(), "NaN");
        assert_eq!(of("{\n\"backend\": NaN}").evidence().unwrap().line, Some(2));
        assert_eq!(of(r#"{"backend": "theano", "backend": "jax"}"#).value().unwrap(), "jax");
        assert_eq!(of(r#"{"backend": []}"#).value().unwrap(), "[]");
        assert!(of(r#"{"Backend": "jax"}"#).is_absent());
    }

    #[test]
    fn tensorflow_reads_the_home_folder_even_where_keras_does_not() {
        let files = [("tmp/.keras/keras.json", "[]"), ("root/x", "")];
        let config = config_of(&files, &[("HOME", "/gone")]);
        assert!(config.fault.is_some() && config.tensorflow_fault.is_none());
        let config = config_of(&[("root/.keras/keras.json/x", "")], &[("HOME", "/root")]);
        assert_eq!(config.fault.unwrap().what, "is a folder");
        assert!(config.tensorflow_fault.is_some());
    }

    #[test]
    fn a_tilde_in_keras_home_is_the_home_folder() {
        let file = [("root/k/keras.json", r#"{"backend": "jax", "nnx_enabled": 1}"#)];
        let config = config_of(&file, &[("HOME", "/root"), ("KERAS_HOME", "~/k")]);
        assert_eq!(config.file.value().unwrap(), "jax");
        assert_eq!(config.nnx.unwrap().says, "\"nnx_enabled\": 1");
        let env = [("HOME", "/root"), ("KERAS_HOME", "~/k"), ("KERAS_NNX_ENABLED", "no")];
        assert!(config_of(&file, &env).nnx.is_none());
    }

    #[test]
    fn pytorch_states_its_cuda() {
        let text =
            "from typing import Optional\n__version__ = '2.5.1+cu124'\ndebug = False\ncuda: Optional[str] = '12.4'\n";
        assert_eq!(cuda_of(text, "v").value().unwrap(), "12.4");
        assert!(cuda_of("cuda: Optional[str] = None\n", "v").is_absent());
        assert!(cuda_of("", "v").unknown().is_some());
    }

    #[test]
    fn architectures_are_told_by_one_list_of_them() {
        let of = |text: &[u8]| arch_flags(text).join(" ");
        assert_eq!(of(b"x\0sm_50 sm_90a compute_120\0sm_80\0compute_%d\0sm_ sm_90\0"), "sm_50 sm_90a compute_120");
        assert_eq!(of(b"sm_75 sm_80"), "sm_75 sm_80");
        for text in [&b"sm_80\0"[..], b"sm_50 sm_60\0sm_70 sm_80\0", b"sm_50 sm_60x\0", b"sm_50, sm_60\0", b""] {
            assert_eq!(of(text), "");
        }
    }

    #[test]
    fn keras_may_be_set_to_a_backend_by_either() {
        let config = |variable: Option<&str>, file: &str| KerasConfig {
            variable: variable.map(|name| Evidence::env("KERAS_BACKEND", name)),
            file: Probed::found(file.to_owned(), Evidence::file("k", file)),
            ..KerasConfig::default()
        };
        assert!(chooses(&config(None, "torch"), "torch") && chooses(&config(Some("torch"), "jax"), "torch"));
        assert!(!chooses(&config(Some("jax"), "torch"), "torch") && !chooses(&KerasConfig::default(), "torch"));
    }

    proptest! {
        #[test]
        fn never_panics(text in "[{}\\[\\]\":,a-z\\\\\\n 0-9]{0,80}") {
            let _ = Reading::from("k", text.as_bytes());
            let _ = (cuda_of(&text, "v"), arch_flags(text.as_bytes()));
        }
    }
}
