//! Readings of Python environments: interpreter, import order, distributions, TensorFlow, Keras, JAX, `PyTorch`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{CudnnPart, Evidence, MissingNeeded, Probed, Resolution, Unresolved};
use crate::version::Dotted;

/// One Python environment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PythonEnv {
    /// Its folder (`sys.prefix`).
    pub path: String,
    /// The interpreter that a user would start.
    pub interpreter: String,
    /// The interpreter behind all links.
    pub real_interpreter: String,
    /// What made it.
    pub kind: EnvKind,
    /// Its Python version as text, such as `3.11.7`; `3.11` where only the folder name tells.
    pub version: Probed<String>,
    /// Whether `python` in the inspected shell would start it.
    pub active: bool,
    /// What led to it: `VIRTUAL_ENV`, `PATH`, the project's `.venv`, a Jupyter kernel, `--python`.
    pub found_by: Vec<Evidence>,
    /// `sys.path` as `python -c` would have it, in order.
    pub sys_path: Vec<SysPathEntry>,
    /// Distributions that matter here, in import order; those hidden by an earlier one of the same name come later.
    pub dists: Vec<Dist>,
    /// How many distributions were met in all.
    pub dist_count: u32,
    /// TensorFlow, where a `tensorflow` package or distribution is there.
    pub tensorflow: Option<TensorFlow>,
    /// What `import keras` gives; `None` where nothing is found.
    pub keras: Option<Module>,
    /// What `import tf_keras` gives.
    pub tf_keras: Option<Module>,
    /// The dynamic loader that the interpreter starts with, where it is not the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loader: Option<String>,
    /// Code that may add folders to `sys.path` and is not run here: a line of a `.pth` file, or `sitecustomize.py`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_code: Option<Evidence>,
    /// What chooses the backend of Keras 3.
    pub keras_config: KerasConfig,
    /// JAX, where something of it is installed.
    pub jax: Option<Jax>,
    /// `PyTorch`, where it is installed.
    pub torch: Option<Torch>,
    /// Other modules that Keras can use as a backend, or that TensorFlow imports: whether `numpy`, `openvino`,
    /// `google.protobuf` import.
    pub modules: BTreeMap<String, Module>,
    /// Packages that `import tensorflow` or `import keras` asks for and does not get, so that it fails.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unmet: Vec<UnmetImport>,
    /// Variables that end Python, TensorFlow's import or XLA by their value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fatal: Vec<FatalVariable>,
    /// The NVIDIA libraries under `site-packages/nvidia`: package folder and what is wrong with it.
    pub nvidia: Vec<NvidiaWheel>,
    /// What the interpreter itself did, where it was asked (`--run-python`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<Observation>,
    /// What could not be read.
    pub troubles: Vec<super::Trouble>,
}

/// A variable with a value that ends programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FatalVariable {
    /// What it ends.
    pub ends: Ends,
    /// What is wrong with it, as the end of "`VARIABLE` …".
    pub what: String,
    /// The variable and its value.
    pub evidence: Evidence,
}

/// What a variable ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ends {
    /// Python itself.
    Python,
    /// `import tensorflow`.
    Import,
    /// A program that asks TensorFlow for its devices.
    Devices,
    /// A program for which XLA compiles.
    Compilation,
}

/// What an environment's own interpreter did, in one child process for each question.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observation {
    /// Importing TensorFlow, listing GPUs, a matrix product and a convolution on the first.
    pub tensorflow: Probed<Seen>,
    /// Importing Keras and training a small model.
    pub keras: Probed<Seen>,
}

/// What was seen in one child process that came to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// The module's version.
    pub version: Option<String>,
    /// The module's file.
    pub file: Option<String>,
    /// How many GPUs TensorFlow lists.
    pub gpus: Option<u32>,
    /// The backend that Keras chose.
    pub backend: Option<String>,
    /// The device on which the result or the model's weights lie, in the framework's words.
    pub device: Option<String>,
    /// Whether that device is a GPU; absent where nothing was computed.
    pub on_gpu: Option<bool>,
    /// How the computation failed.
    pub failed: Option<String>,
    /// How the import failed.
    pub error: Option<String>,
}

/// What made an environment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EnvKind {
    /// `python -m venv`, virtualenv or uv: a `pyvenv.cfg`.
    Venv,
    /// conda, mamba, pixi: a `conda-meta` folder.
    Conda,
    /// pyenv's own installation.
    Pyenv,
    /// An interpreter that uv manages.
    Uv,
    /// The system's.
    #[default]
    System,
}

/// One entry of `sys.path`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SysPathEntry {
    /// The folder or archive.
    pub path: String,
    /// What put it there.
    pub origin: PathOrigin,
    /// Names for which alone it answers: no entry of `sys.path`, but a folder to which code of an editable
    /// installation leads. Empty for a real entry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
}

/// What put an entry on `sys.path`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum PathOrigin {
    /// The working directory, as for `python -c`, `python -m` and scripts that lie there.
    Script,
    /// The variable `PYTHONPATH`.
    PythonPath,
    /// The standard library.
    Stdlib,
    /// The user's site-packages.
    UserSite,
    /// The environment's site-packages.
    Site,
    /// The base installation's site-packages (`--system-site-packages`).
    BaseSite,
    /// A line of a `.pth` file.
    Pth {
        /// The file.
        file: String,
        /// The line, counted from 1.
        line: u32,
    },
}

/// An installed distribution.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dist {
    /// Its normalised name: lower case, runs of `-_.` as one `-`.
    pub name: String,
    /// Its version as written.
    pub version: String,
    /// The `.dist-info` folder, `.egg-info`, or conda-meta file.
    pub metadata: String,
    /// The `sys.path` entry it lies in.
    pub location: String,
    /// `INSTALLER`, such as `pip` or `uv`; `conda` for conda-meta.
    pub installer: Option<String>,
    /// conda's build string, such as `cuda126py311h…` or `cpu_py311…`.
    pub conda_build: Option<String>,
    /// The tags of the wheel it came from.
    pub tags: Vec<String>,
    /// `Requires-Python`.
    pub requires_python: Option<String>,
    /// The `Requires-Dist` lines that were read, evaluated for this environment; only for
    /// distributions on which a verdict rests.
    pub requires: Vec<Requirement>,
    /// Where `direct_url.json` says that it is editable, the project folder.
    pub editable: Option<String>,
    /// Its files held against RECORD; only for distributions on which a verdict rests, or all with `--deep`.
    pub record: Option<RecordCheck>,
}

/// A requirement line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Requirement {
    /// The normalised name of what is required.
    pub name: String,
    /// The version specifier, such as `>=1.26.0,<2.2.0`; empty for any.
    pub specifier: String,
    /// The extra that asks for it, where the marker names one.
    pub extra: Option<String>,
    /// Whether the marker holds here, the extra taken as asked for; `None` where it was not understood.
    pub applies: Option<bool>,
    /// The line in METADATA, counted from 1.
    pub line: u32,
    /// The line as written.
    pub text: String,
}

/// A package that is surely imported and is not there, lacks what it cannot be imported without, or clashes with another.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnmetImport {
    /// Whose import fails: `tensorflow`, `keras`, `tf_keras` or `jax`.
    pub importer: String,
    /// The normalised name of what is imported.
    pub name: String,
    /// The version specifier; empty for any.
    pub specifier: String,
    /// The version that its metadata states, where that is still there.
    pub installed: Option<String>,
    /// The compiled module that is gone, without the end of its name, where the rest of the package is there.
    pub lacks: Option<String>,
    /// Where it is all there, what it does not fit, so that its import ends with another error: `numpy`, which is of 2
    /// or newer while it was compiled for NumPy 1 alone, or `jax`, which asks for another jaxlib.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clash: Option<String>,
    /// The line that requires it; of one that clashes, what shows it.
    pub required: Evidence,
    /// The line that imports it.
    pub by: Evidence,
}

/// A distribution's files held against its RECORD.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordCheck {
    /// How many files were compared.
    pub compared: u32,
    /// How many are not there.
    pub missing: u32,
    /// How many have another size, or another hash where hashes were asked for.
    pub changed: u32,
    /// A few of the missing ones, libraries first.
    pub missing_examples: Vec<String>,
    /// A few of the changed ones, with the sizes.
    pub changed_examples: Vec<String>,
    /// A few of the changed ones that surely are no use, with the sizes: nothing is left of them, or a library ends
    /// before what its own headers name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cut_off: Vec<String>,
    /// Why RECORD could not be compared, where it could not.
    pub trouble: Option<String>,
}

impl UnmetImport {
    /// Whether it is there and does not fit that.
    pub fn clashes(&self, with: &str) -> bool {
        self.clash.as_deref() == Some(with)
    }
}

impl RecordCheck {
    /// What is known by name to be gone or cut off, and what is wrong with each.
    pub fn torn(&self) -> impl Iterator<Item = (&str, &str)> {
        let gone = self.missing_examples.iter().map(|path| (path.as_str(), "listed in RECORD, not there"));
        let cut = self.cut_off.iter().filter_map(|cut| cut.strip_suffix(')')?.rsplit_once(" ("));
        gone.chain(cut)
    }

    /// What is wrong with its files, as the end of a title.
    pub fn fault(&self) -> &'static str {
        match (self.missing > 0, self.cut_off.is_empty()) {
            (false, false) => "are cut off",
            (true, false) => "are gone or cut off",
            _ => "are gone",
        }
    }

    /// How many files are not there or not whole.
    pub fn summary(&self) -> String {
        let gone = format!("{} of {} compared files are not there", self.missing, self.compared);
        match self.cut_off.len() {
            0 => gone,
            cut => format!("{gone}, {cut} are cut off"),
        }
    }
}

/// A module as `import` would find it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Module {
    /// The package folder, module file or archive member.
    pub path: String,
    /// The `sys.path` entry that wins.
    pub entry: String,
    /// What put that entry there.
    pub origin: Option<PathOrigin>,
    /// A folder without `__init__`: a namespace package, which holds nothing of its own.
    pub namespace: bool,
    /// Whether it lies in an archive, out of which Python loads no native module.
    #[serde(default)]
    pub archived: bool,
    /// Its version: from its own files, else from the distribution that owns it.
    pub version: Option<String>,
    /// Where the version was read.
    pub version_from: Option<Evidence>,
    /// The distribution that owns it, as an index into `PythonEnv::dists`.
    pub dist: Option<usize>,
    /// Other places of the same name, later on `sys.path`.
    pub hides: Vec<String>,
}

/// An installed TensorFlow.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorFlow {
    /// The module as imported; `None` where only metadata is left.
    pub module: Option<Module>,
    /// The distributions that bring a `tensorflow` package, as indexes into `PythonEnv::dists`.
    pub dists: Vec<usize>,
    /// `tensorflow/python/platform/build_info.py`.
    pub build: Probed<BuildInfo>,
    /// The object whose `dlopen` opens the CUDA libraries, and whose RUNPATH therefore counts.
    pub caller: Option<String>,
    /// What `caller` needs, directly or further down, and nothing provides, so that the import fails.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacks: Vec<MissingNeeded>,
    /// Names that TensorFlow of this and neighbouring generations opens, resolved as if opened by `caller`.
    pub libraries: Vec<Resolution>,
    /// `libcuda.so.1` as this TensorFlow would get it.
    pub libcuda: Resolution,
    /// `libnvidia-ml.so.1` as this TensorFlow would get it.
    pub nvml: Resolution,
    /// cuDNN's sub-libraries as the chosen `libcudnn.so.N` would open them.
    pub cudnn_parts: Vec<CudnnPartResolution>,
    /// `ptxas` and `libdevice.10.bc` where XLA would look for them.
    pub compiler: CompilerParts,
    /// What the code that protobuf generated for it asks of the runtime; `None` where that does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generated: Option<GeneratedCode>,
}

/// What code that protobuf's compiler wrote asks of protobuf's runtime, by `tensorflow/core/framework/tensor_pb2.py`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeneratedCode {
    /// How it meets the runtime.
    pub style: GeneratedStyle,
    /// The runtime that it asks for at least, where it says so.
    pub runtime: Option<Dotted>,
    /// The file and the line.
    pub evidence: Evidence,
}

/// How generated code meets protobuf's runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GeneratedStyle {
    /// It asks for the runtime's version, and an older one is an error.
    Checks,
    /// It imports `google.protobuf.internal.builder`, which is there from 3.20 on.
    Builder,
    /// It makes descriptors itself, which from 4.0 on the compiled runtime refuses.
    Descriptors,
}

/// A sub-library of cuDNN as the chosen libcudnn would open it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CudnnPartResolution {
    /// Whether this generation of cuDNN cannot work without it.
    pub required: bool,
    /// The part, with its version, where it resolves.
    pub part: Option<CudnnPart>,
    /// How the search went.
    pub resolution: Resolution,
}

/// The compiler parts that XLA needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompilerParts {
    /// The `ptxas` that XLA would run.
    pub ptxas: Option<Evidence>,
    /// The `libdevice.10.bc` that XLA would read.
    pub libdevice: Option<Evidence>,
    /// The places that were looked at, in order.
    pub looked: Vec<String>,
    /// `--xla_gpu_cuda_data_dir` of `XLA_FLAGS`, where set.
    pub data_dir: Option<Evidence>,
    /// Where there is no `ptxas`: the first file of that name that may not be run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inert: Option<Evidence>,
}

/// What a TensorFlow wheel says of its build.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BuildInfo {
    /// `is_cuda_build`.
    pub cuda_build: bool,
    /// `is_rocm_build`.
    pub rocm_build: bool,
    /// `cuda_version` as written.
    pub cuda: Option<String>,
    /// `cudnn_version` as written.
    pub cudnn: Option<String>,
    /// `cuda_compute_capabilities` as written.
    pub compute: Vec<String>,
}

/// What chooses the backend of Keras 3, and what in `keras.json` ends an import.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KerasConfig {
    /// `KERAS_BACKEND`, where set and not empty.
    pub variable: Option<Evidence>,
    /// The folder that Keras would read, and what decides it (`KERAS_HOME`, home, or `/tmp`).
    pub folder: Option<Evidence>,
    /// `keras.json` there: its `backend`, with the line; as written where it is no string.
    pub file: Probed<String>,
    /// Whether `keras.json` is there but is no valid JSON, which Keras ignores silently.
    pub invalid: Option<Evidence>,
    /// What in that `keras.json` makes `import keras` of Keras 3 fail, beside an unknown backend.
    #[serde(default)]
    pub fault: Option<KerasFault>,
    /// What makes TensorFlow's own import fail: it holds an old Keras that reads `keras.json` too, and so do
    /// Keras 2 and `tf_keras`. Their folder is that of `KERAS_HOME` or home, never `/tmp`.
    #[serde(default)]
    pub tensorflow_fault: Option<KerasFault>,
    /// What switches NNX on (`KERAS_NNX_ENABLED` or `nnx_enabled`), which needs the package `flax`.
    #[serde(default)]
    pub nnx: Option<Evidence>,
    /// `TF_USE_LEGACY_KERAS`, where set.
    pub legacy: Option<Evidence>,
}

/// Why reading a `keras.json` ends in an exception.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KerasFault {
    /// What is wrong, as the end of "`keras.json` …".
    pub what: String,
    /// Whether the exception is an `AttributeError`, over which TensorFlow passes when Keras raises it.
    pub attribute: bool,
    /// The file and the value.
    pub evidence: Evidence,
}

/// JAX.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jax {
    /// `import jax`.
    pub module: Option<Module>,
    /// Version of jaxlib.
    pub jaxlib: Option<String>,
    /// CUDA plugins (`jax-cuda12-plugin`, `jax-cuda13-pjrt`, ...): name and version.
    pub plugins: BTreeMap<String, String>,
    /// `JAX_PLATFORMS` or `JAX_PLATFORM_NAME`, where set.
    pub platforms: Option<Evidence>,
    /// The CUDA libraries as the plugin would get them.
    pub libraries: Vec<Resolution>,
    /// The CUDA plugins of which anything is there, the older CUDA first.
    #[serde(default)]
    pub cuda: Vec<JaxPlugin>,
}

/// What lets JAX compute on NVIDIA's GPUs: two packages, one of each CUDA major.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JaxPlugin {
    /// The CUDA major.
    pub major: u32,
    /// `jax_plugins/xla_cudaN/xla_cuda_plugin.so`, which runs programs; JAX looks for it by its folder.
    pub library: Option<String>,
    /// Where the module beside it refuses to start without the CUDA libraries, older ones do not.
    pub checks: Option<Evidence>,
    /// The folder `jax_cudaN_plugin`, which holds kernels and tells the versions of the CUDA libraries.
    pub kernels: Option<String>,
    /// The version of those kernels.
    pub version: Option<String>,
}

/// `PyTorch`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Torch {
    /// `import torch`.
    pub module: Option<Module>,
    /// `torch/version.py`: its version with the local part.
    pub version: Option<String>,
    /// `torch/version.py`: `cuda`, absent for a build without CUDA.
    pub cuda: Probed<String>,
    /// Whether `torch/lib/libtorch_cuda.so` is there.
    pub libtorch_cuda: bool,
    /// Libraries that it needs, and that neither the loader nor PyTorch's own search finds; only where Keras computes
    /// with `PyTorch`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<MissingNeeded>,
    /// Symbols that one of NVIDIA's libraries asks of another in vain; only where Keras computes with `PyTorch`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unresolved: Vec<Unresolved>,
    /// Why it could not be told which libraries are missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untold: Option<String>,
    /// For which GPUs `libtorch_python.so` says that there is code, as `torch.cuda.get_arch_list()` tells it: `sm_90`,
    /// `compute_90`; none where it does not tell; only where Keras computes with `PyTorch`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compute: Vec<String>,
    /// `setuptools`, where `torch/utils/cpp_extension.py` imports it and it is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension_lacks: Option<Evidence>,
}

/// One wheel of NVIDIA's libraries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NvidiaWheel {
    /// The distribution, as an index into `PythonEnv::dists`.
    pub dist: usize,
    /// Other distributions whose RECORD claims the same files (`-cu12` and `-cu13` twins).
    pub twins: Vec<usize>,
    /// How many files they share, benign ones left out.
    pub shared: u32,
}

/// Where Jupyter would start a kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JupyterKernel {
    /// The kernel's name (its folder).
    pub name: String,
    /// `kernel.json`.
    pub path: String,
    /// The interpreter, `argv[0]` resolved.
    pub interpreter: Option<String>,
    /// Whether `argv[0]` names no path: Jupyter puts the interpreter that runs it in its place.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bare: bool,
    /// Whether nothing lies at the interpreter's path.
    #[serde(default)]
    pub gone: bool,
    /// The environment it belongs to, as an index into `Facts::pythons`; none for one that is not judged, because
    /// `--python` named others.
    pub env: Option<usize>,
    /// That environment's folder, judged or not.
    #[serde(default)]
    pub prefix: Option<String>,
    /// Whether a TensorFlow is installed there; none where no environment was found.
    #[serde(default)]
    pub tensorflow: Option<bool>,
    /// Variables that the kernel sets.
    pub variables: BTreeMap<String, String>,
    /// Why it could not be read.
    pub trouble: Option<String>,
}
