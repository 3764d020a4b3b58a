//! Every environment variable that the program reads, with what it means; the README's table comes from here.

/// A variable that the program reads.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it means here, one line.
    pub doc: &'static str,
}

const fn var(name: &'static str, doc: &'static str) -> Variable {
    Variable { name, doc }
}

/// The variables of the inspected machine; these are recorded in facts.
pub const VARIABLES: &[Variable] = &[
    var("CARGO", "the Cargo that is asked for `cargo metadata`; Cargo itself sets it"),
    var("CARGO_BUILD_RUSTFLAGS", "flags for rustc, which may name folders to the linker"),
    var("CARGO_BUILD_TARGET", "the platform that Cargo builds for"),
    var("CARGO_ENCODED_RUSTFLAGS", "flags for rustc, which may name folders to the linker"),
    var("CARGO_HOME", "where Cargo keeps its files"),
    var("CARGO_NET_OFFLINE", "Cargo asks no network; ort-sys downloads nothing then"),
    var("CC", "the C compiler that build scripts choose"),
    var("CH_RUNNING", "set: the process runs in a container of Charliecloud"),
    var("CONDA_DEFAULT_ENV", "the name of the active conda environment"),
    var(
        "CONDA_OVERRIDE_CUDA",
        "the CUDA version that conda assumes; honoured like `--assume cuda=`, but hides no driver or GPU that is here",
    ),
    var("CONDA_PREFIX", "the active conda environment"),
    var("CUDARC_CUDA_VERSION", "the CUDA version that cudarc's build script assumes"),
    var(
        "CUDA_COMPUTE_CAP",
        "the compute capability that Rust's CUDA crates build for; honoured like `--assume gpu=`, but hides no GPU that is here",
    ),
    var("CUDA_DEVICE_ORDER", "the order in which devices are numbered"),
    var("CUDA_HOME", "a CUDA toolkit"),
    var("CUDA_LIBRARY_PATH", "a CUDA toolkit, read by find_cuda_helper"),
    var("CUDA_PATH", "a CUDA toolkit"),
    var("CUDA_ROOT", "a CUDA toolkit"),
    var("CUDA_TOOLKIT_ROOT_DIR", "a CUDA toolkit"),
    var("CUDA_VISIBLE_DEVICES", "the devices that programs see"),
    var("CUDNN_LIB", "a folder of cuDNN, read by cudarc"),
    var("CUDNN_PATH", "a folder of cuDNN, read by cudarc"),
    var("CUTENSOR_PATH", "a folder of cuTENSOR, read by cudarc"),
    var("CXX", "the C++ compiler that build scripts choose"),
    var("DOCS_RS", "set: build scripts look for no CUDA, as on docs.rs"),
    var("HOME", "the home folder: `~/.keras`, the user's site-packages, Jupyter kernels"),
    var("JAX_PLATFORMS", "the platforms that JAX may use"),
    var("JAX_PLATFORM_NAME", "the platform that JAX prefers"),
    var("JAX_SKIP_CUDA_CONSTRAINTS_CHECK", "set: JAX does not ask for the CUDA libraries before it uses them"),
    var("JUPYTER_DATA_DIR", "where Jupyter keeps the user's kernels"),
    var("JUPYTER_PATH", "more folders in which Jupyter looks for kernels"),
    var("KERAS_BACKEND", "the backend of Keras 3"),
    var("KERAS_HOME", "the folder of `keras.json`"),
    var("KERAS_NNX_ENABLED", "switches NNX of Keras 3 on, which needs `flax`"),
    var("KERAS_TORCH_DEVICE", "the device on which Keras computes with PyTorch"),
    var("KUBERNETES_SERVICE_HOST", "set: the process runs in a Kubernetes pod"),
    var("LD_LIBRARY_PATH", "folders that the dynamic loader searches before RUNPATH"),
    var("LD_PRELOAD", "libraries that the dynamic loader opens first"),
    var("LIBRARY_PATH", "more folders in which the linker looks"),
    var("LIBTORCH", "a LibTorch folder, read by torch-sys"),
    var("LIBTORCH_BYPASS_VERSION_CHECK", "set: torch-sys takes any LibTorch"),
    var("LIBTORCH_CXX11_ABI", "the C++ ABI for which torch-sys compiles"),
    var("LIBTORCH_INCLUDE", "a folder of LibTorch's headers, read by torch-sys"),
    var("LIBTORCH_LIB", "a folder of LibTorch's libraries, read by torch-sys"),
    var("LIBTORCH_STATIC", "set, and neither 0 nor false: torch-sys links LibTorch statically"),
    var("LIBTORCH_USE_PYTORCH", "set: torch-sys takes the LibTorch of the active Python"),
    var("NVCC", "the CUDA compiler"),
    var("NVCC_APPEND_FLAGS", "options that nvcc adds behind those that it gets"),
    var("NVCC_CCBIN", "the host compiler that nvcc uses"),
    var("NVCC_PREPEND_FLAGS", "options that nvcc adds before those that it gets"),
    var("NVIDIA_DRIVER_CAPABILITIES", "which parts of the driver a container gets"),
    var("NVIDIA_REQUIRE_CUDA", "the driver that a container image asks for"),
    var("NVIDIA_VISIBLE_DEVICES", "the devices that a container gets"),
    var("ORT_CUDA_VERSION", "the CUDA major for which ort-sys takes ONNX Runtime"),
    var("ORT_LIB_LOCATION", "a folder of ONNX Runtime, read by ort-sys"),
    var("ORT_LIB_PATH", "a folder of ONNX Runtime, read by ort-sys"),
    var("ORT_OFFLINE", "1 or true: ort-sys downloads nothing"),
    var("ORT_PREFER_DYNAMIC_LINK", "1 or true: ort-sys links the shared library of ONNX Runtime"),
    var("ORT_SKIP_DOWNLOAD", "1 or true: ort-sys downloads nothing"),
    var("PATH", "where programs are found"),
    var("PKG_CONFIG", "the `pkg-config` that build scripts ask"),
    var("PKG_CONFIG_LIBDIR", "the folders of `pkg-config`, in place of its own"),
    var("PKG_CONFIG_PATH", "more folders in which `pkg-config` looks"),
    var("PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "which of protobuf's runtimes Python takes"),
    var("PWD", "the working directory, in an env file"),
    var("PYENV_ROOT", "where pyenv keeps its interpreters"),
    var("PYENV_VERSION", "the interpreter that pyenv chooses"),
    var("PYTHONHOME", "where Python looks for its standard library"),
    var("PYTHONNOUSERSITE", "leaves the user's site-packages out"),
    var("PYTHONOPTIMIZE", "2 or more: Python drops docstrings, which TensorFlow before 2.21 does not survive"),
    var("PYTHONPATH", "folders that Python searches first"),
    var("PYTHONSAFEPATH", "leaves the script folder out"),
    var("PYTHONUSERBASE", "the base of the user's site-packages"),
    var("RUSTFLAGS", "flags for rustc, which may name folders to the linker"),
    var("TEMPORARILY_DISABLE_PROTOBUF_VERSION_CHECK", "`true`: generated code takes any version of protobuf"),
    var("TENSORFLOW_NO_PKG_CONFIG", "set: tensorflow-sys asks no `pkg-config`"),
    var("TF_CPP_MIN_LOG_LEVEL", "hides TensorFlow's messages"),
    var("TF_PLUGGABLE_DEVICE_LIBRARY_PATH", "a library or a folder of them that TensorFlow loads when it is imported"),
    var("TF_RUST_BUILD_FROM_SRC", "`true`: tensorflow-sys builds TensorFlow from source, with Bazel"),
    var("TF_RUST_DOWNLOAD_DIR", "where tensorflow-sys keeps TensorFlow's C library"),
    var("TF_USE_LEGACY_KERAS", "makes `tf.keras` use `tf_keras`"),
    var("TF_XLA_FLAGS", "options of TensorFlow's XLA, or a file of them"),
    var("TMPDIR", "where nvcc and its parts keep what they make in between"),
    var("USER", "the login name"),
    var(
        "UV_CUDA_DRIVER_VERSION",
        "the driver version that uv assumes; honoured like `--assume driver=`, but hides no driver or GPU that is here",
    ),
    var("UV_PROJECT_ENVIRONMENT", "the project's environment in place of `.venv`"),
    var("VIRTUAL_ENV", "the active virtual environment"),
    var("XDG_CACHE_HOME", "where compiled kernels are kept, in `cargo-gpu-doctor`"),
    var("XDG_DATA_HOME", "where the user's data lies"),
    var("XLA_FLAGS", "options of XLA; `--xla_gpu_cuda_data_dir` names a CUDA folder"),
];

/// The variables that steer the program's own output.
pub const OWN: &[Variable] = &[
    var("CARGO_TERM_COLOR", "`always`, `never` or `auto`: colour of the output"),
    var("NO_COLOR", "set and not empty: no colour"),
    var("CLICOLOR_FORCE", "set and not 0: colour even where the output is no terminal"),
    var("GITHUB_STEP_SUMMARY", "the file of the job summary, to which `check --format github` appends its report"),
];

/// The variables that the check in a build script reads beside those of the machine and Cargo's own.
pub const BUILD_SCRIPT: &[Variable] = &[
    var("GPU_DOCTOR_SKIP", "set, and neither empty nor `0`: a build script's check is left out"),
    var("DOCS_RS", "set: docs.rs builds, and a build script's check is left out"),
];

/// The variables that `db` reads, those of the machine that it runs on; `check` reads none of them but the first.
pub const DATABASE: &[Variable] = &[
    var("XDG_DATA_HOME", "where the renewed database lies, in `cargo-gpu-doctor`"),
    var("GPU_DOCTOR_DATABASE_KEY", "the minisign public key of signed databases"),
    var("GPU_DOCTOR_DATABASE_URL", "the address of a signed database"),
    var("GPU_DOCTOR_NVIDIA_URL", "a mirror of NVIDIA's manifests"),
    var("UV_DEFAULT_INDEX", "the package index"),
    var("UV_INDEX_URL", "the package index, where UV_DEFAULT_INDEX is not set"),
    var("PIP_INDEX_URL", "the package index, where uv's variables are not set"),
    var("UV_CONFIG_FILE", "uv's configuration, in place of those in their usual places"),
    var("UV_NO_CONFIG", "uv's configuration is not read"),
    var("PIP_CONFIG_FILE", "pip's last configuration; `/dev/null`: none is read"),
    var("UV_OFFLINE", "no index is asked unless one is named"),
    var("UV_NO_INDEX", "no index is asked unless one is named"),
    var("PIP_NO_INDEX", "no index is asked unless one is named"),
    var("PIP_CERT", "more certificates to trust"),
    var("XDG_CONFIG_HOME", "where the user's configuration of uv and pip lies"),
    var("XDG_CONFIG_DIRS", "where the system's configuration of uv and pip lies"),
    var("SSL_CERT_FILE", "the certificates to trust, in place of the system's"),
    var("SSL_CERT_DIR", "a folder of certificates to trust, in place of the system's"),
    var("HTTPS_PROXY", "the proxy for https; also HTTP_PROXY, ALL_PROXY, and NO_PROXY for exceptions"),
];

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_sorted_and_unique() {
        {
            let list = super::VARIABLES;
            assert!(list.windows(2).all(|pair| pair[0].name < pair[1].name));
        }
    }
}
