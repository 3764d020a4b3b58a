//! What build scripts would find here: the folders that they look at, and the variables that Cargo's configuration sets.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::{line_of, native};
use crate::facts::{BuildPlace, BuildSystem, ConfiguredVariable, Evidence, Reading};
use crate::host::Host;
use crate::probe::toolkit::{define, find_program};
use crate::version::Dotted;

/// Variables whose values some build script takes for a folder of CUDA's or cuDNN's.
const FOLDER_VARIABLES: &[&str] =
    &["CUDA_HOME", "CUDA_PATH", "CUDA_ROOT", "CUDA_TOOLKIT_ROOT_DIR", "CUDA_LIBRARY_PATH", "CUDNN_LIB", "CUDNN_PATH"];
/// Folders at which build scripts look without being told.
const DEFAULT_PLACES: &[&str] = &["/usr", "/usr/local/cuda", "/opt/cuda", "/usr/lib/cuda", "/usr/local"];
/// Folders of libraries below a place, in the order in which cudarc hands them to the linker.
const LIBRARY_FOLDERS: &[&str] = &[
    "lib",
    "lib/stubs",
    "lib/x86_64-linux-gnu",
    "lib/aarch64-linux-gnu",
    "lib64",
    "lib64/stubs",
    "targets/x86_64-linux",
    "targets/x86_64-linux/lib",
    "targets/x86_64-linux/lib/stubs",
];
/// Libraries that crates of CUDA link by their bare names.
const LIBRARIES: &[&str] = &[
    "libcuda.so",
    "libcudart.so",
    "libcublas.so",
    "libcublasLt.so",
    "libcurand.so",
    "libcusparse.so",
    "libcusolver.so",
    "libcufft.so",
    "libcudnn.so",
    "libnvrtc.so",
    "libnccl.so",
    "libcupti.so",
    "libtorch.so",
    "libtensorflow.so",
    "libnvidia-ml.so",
    "libonnxruntime.so",
];

/// Reads all that.
pub(super) fn probe(host: &Host, target: Option<&str>) -> BuildSystem {
    let configuration = files(host);
    let env = configured(host, &configuration);
    // Only what takes effect is among those that Cargo's configuration sets: without `force`, what is set stays.
    let value = |name: &str| {
        let set = env.get(name).map(|set: &ConfiguredVariable| set.value.clone());
        set.or_else(|| host.env(name).map(str::to_owned))
    };
    let mut folders: Vec<String> = Vec::new();
    for name in FOLDER_VARIABLES {
        let text = value(name).unwrap_or_default();
        folders.extend(text.split(':').filter(|part| !part.is_empty()).map(str::to_owned));
    }
    folders.extend(DEFAULT_PLACES.iter().map(|place| (*place).to_owned()));
    let numbered = host.names("/usr/local").into_iter().filter(|name| name.starts_with("cuda-"));
    folders.extend(numbered.map(|name| format!("/usr/local/{name}")));
    let mut places: Vec<BuildPlace> = Vec::new();
    for folder in folders {
        let path = host.absolute(&folder).to_string_lossy().into_owned();
        if places.iter().all(|place| place.folder != path)
            && let Some(place) = place(host, path)
        {
            places.push(place);
        }
    }
    let pkg_config = value("PKG_CONFIG").filter(|it| !it.is_empty());
    let cxx = value("CXX").filter(|it| !it.is_empty());
    // The build scripts of PyTorch's crate ask this one.
    let python = if value("VIRTUAL_ENV").is_some() { "python" } else { "python3" };
    BuildSystem {
        target: target.map(str::to_owned).or_else(|| target_in(host, &configuration)),
        linked_elsewhere: linked_elsewhere(&configuration, value),
        python: find_program(host, python),
        nvidia_smi: find_program(host, "nvidia-smi"),
        cxx: find_program(host, cxx.as_deref().unwrap_or("c++")),
        bazel: find_program(host, "bazel"),
        pkg_config: find_program(host, pkg_config.as_deref().unwrap_or("pkg-config")),
        packages: native::packages(host, value),
        libtorch: native::libtorch(host, value),
        onnxruntime: native::onnxruntime(host, value),
        tensorflow_archives: native::tensorflow_archives(host, value("TF_RUST_DOWNLOAD_DIR")),
        env,
        places,
    }
}

/// One folder, where it is there.
fn place(host: &Host, folder: String) -> Option<BuildPlace> {
    if !host.is_dir(&folder) {
        return None;
    }
    let header = format!("{folder}/include/cuda.h");
    let version =
        native::head(host, &header).and_then(|text| define(&text, "CUDA_VERSION")).map(|(number, line)| Reading {
            value: Dotted::of_cuda(number),
            evidence: Evidence::file(&header, format!("CUDA_VERSION {number}")).line(line),
        });
    let cudnn = ["cudnn_version.h", "cudnn.h"].iter().find_map(|name| {
        let path = format!("{folder}/include/{name}");
        let text = native::head(host, &path)?;
        let (major, line) = define(&text, "CUDNN_MAJOR")?;
        let (minor, _) = define(&text, "CUDNN_MINOR")?;
        let value = Dotted::new(&[major, minor]);
        Some(Reading { evidence: Evidence::file(path, format!("cuDNN {value}")).line(line), value })
    });
    let mut libraries = BTreeMap::new();
    for below in LIBRARY_FOLDERS {
        let inside = format!("{folder}/{below}");
        if !host.is_dir(&inside) {
            continue;
        }
        for name in LIBRARIES {
            if !libraries.contains_key(*name) && host.is_file(format!("{inside}/{name}")) {
                libraries.insert((*name).to_owned(), inside.clone());
            }
        }
    }
    Some(BuildPlace {
        has_header: host.is_file(&header),
        header: version,
        nvcc: host.is_file(format!("{folder}/bin/nvcc")),
        lib64: host.is_dir(format!("{folder}/lib64")),
        target_header: host.is_file(format!("{folder}/targets/x86_64-linux/include/cuda.h")),
        cudnn,
        libraries,
        folder,
    })
}

/// The part of Cargo's configuration that is read.
#[derive(Debug, Default, Deserialize)]
struct Config {
    #[serde(default)]
    env: BTreeMap<Spanned<String>, Setting>,
    #[serde(default)]
    build: Build,
    #[serde(default)]
    target: BTreeMap<String, toml::Table>,
}

#[derive(Debug, Default, Deserialize)]
struct Build {
    target: Option<Target>,
    rustflags: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Target {
    One(String),
    Several(Vec<String>),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Setting {
    Text(String),
    Table {
        value: String,
        #[serde(default)]
        force: bool,
        #[serde(default)]
        relative: bool,
    },
}

/// A configuration file of Cargo's: its path, what is read of it, and its text.
type File = (PathBuf, Config, String);

/// Cargo's configuration files, the nearest first.
fn files(host: &Host) -> Vec<File> {
    let mut folders: Vec<PathBuf> = host.cwd().ancestors().map(|folder| folder.join(".cargo")).collect();
    let home = host.env_nonempty("CARGO_HOME").map(|home| host.absolute(home));
    folders.extend(home.or_else(|| host.home().map(|home| Path::new(home).join(".cargo"))));
    let mut files: Vec<File> = Vec::new();
    for folder in folders {
        let read = ["config", "config.toml"].iter().find_map(|name| {
            let path = folder.join(name);
            let text = host.read_text(&path).ok()?;
            Some((path, toml::from_str(&text).ok()?, text))
        });
        if let Some(read) = read.filter(|(path, _, _)| files.iter().all(|(known, _, _)| known != path)) {
            files.push(read);
        }
    }
    files
}

/// Variables of `[env]`, as far as they take effect.
fn configured(host: &Host, files: &[File]) -> BTreeMap<String, ConfiguredVariable> {
    let mut set = BTreeMap::new();
    for (path, config, text) in files {
        for (name, setting) in &config.env {
            let (value, force, relative) = match setting {
                Setting::Text(value) => (value.clone(), false, false),
                Setting::Table { value, force, relative } => (value.clone(), *force, *relative),
            };
            let key = name.get_ref();
            if set.contains_key(key) || host.env(key).is_some() && !force {
                continue;
            }
            // Relative to the folder that holds `.cargo`.
            let value = match path.parent().and_then(Path::parent).filter(|_| relative) {
                Some(folder) => folder.join(&value).to_string_lossy().into_owned(),
                None => value,
            };
            let line = line_of(text, name.span().start);
            let evidence = Evidence::file(path.to_string_lossy(), format!("{key} = {value}")).line(line);
            set.insert(key.clone(), ConfiguredVariable { value, evidence });
        }
    }
    // Only what build scripts of CUDA crates read matters, and configuration may hold secrets.
    set.retain(|name, _| crate::env::VARIABLES.iter().any(|variable| variable.name == name));
    set
}

/// What may send the linker to more folders than are known here.
fn linked_elsewhere(files: &[File], value: impl Fn(&str) -> Option<String>) -> Option<Evidence> {
    let variables = ["LIBRARY_PATH", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS"];
    let set = variables.into_iter().find_map(|name| Some((name, value(name).filter(|it| !it.is_empty())?)));
    let configured = || {
        let flags = |config: &Config| {
            config.build.rustflags.is_some() || config.target.values().any(|table| table.contains_key("rustflags"))
        };
        let (path, ..) = files.iter().find(|(_, config, _)| flags(config))?;
        Some(Evidence::file(path.to_string_lossy(), "rustflags"))
    };
    set.map(|(name, value)| Evidence::env(name, value)).or_else(configured)
}

/// `build.target` of Cargo's configuration.
#[cfg(feature = "cli")]
pub(super) fn target_of(host: &Host) -> Option<String> {
    target_in(host, &files(host))
}

fn target_in(host: &Host, files: &[File]) -> Option<String> {
    let named = host.env_nonempty("CARGO_BUILD_TARGET").map(str::to_owned);
    named.or_else(|| {
        files.iter().find_map(|(_, config, _)| match config.build.target.as_ref()? {
            Target::One(name) => Some(name.clone()),
            Target::Several(all) => all.first().cloned(),
        })
    })
}
