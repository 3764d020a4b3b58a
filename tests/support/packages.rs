//! Lays out Python packages as the real wheels do: METADATA, WHEEL, RECORD, and the few files that matter.
//!
//! Requirements, RUNPATH and NEEDED entries are those of the real wheels; contents are otherwise empty shells.

use super::elf::{Object, shared_object};

/// A wheel to be laid out.
#[derive(Debug, Default)]
pub(crate) struct Wheel {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) requires: Vec<String>,
    pub(crate) requires_python: String,
    pub(crate) tags: Vec<String>,
    /// Paths below site-packages, and contents.
    pub(crate) files: Vec<(String, Vec<u8>)>,
}

/// Where and for what a wheel is laid out.
#[derive(Debug)]
pub(crate) struct Site<'a> {
    /// `311`.
    pub(crate) python: &'a str,
    /// `x86_64` or `aarch64`.
    pub(crate) arch: &'a str,
    /// Whether it is a conda environment.
    pub(crate) conda: bool,
}

/// The C library's names that every library needs.
const LIBC: [&str; 6] = ["libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libgcc_s.so.1", "libc.so.6"];

/// Reads `name version [flag…]`, and gives the wheels that it stands for.
pub(crate) fn wheels(spec: &str, site: &Site<'_>) -> Vec<Wheel> {
    let mut words = spec.split_whitespace();
    let (name, version) = (words.next().unwrap_or_default(), words.next().expect("a version"));
    let flags: Vec<&str> = words.collect();
    if name == "nvidia-set" {
        return nvidia_set(version, site);
    }
    let mut wheel = match name {
        "tensorflow" | "tensorflow-cpu" | "tensorflow-gpu" | "tensorflow-rocm" => {
            tensorflow(name, version, &flags, site)
        }
        "keras" => keras(version),
        "tf_keras" => module("tf_keras", version),
        "protobuf" => module("google/protobuf", version),
        "torch" => torch(version),
        "jax" | "jaxlib" => jax(name, version),
        "jax-cuda12-pjrt" => jax_pjrt(version),
        "jax-cuda12-plugin" => jax_plugin(version),
        _ if name.starts_with("nvidia-") => nvidia(name, version, site),
        _ => module(&name.replace('-', "_"), version),
    };
    name.clone_into(&mut wheel.name);
    version.clone_into(&mut wheel.version);
    if wheel.requires_python.is_empty() {
        ">=3.9".clone_into(&mut wheel.requires_python);
    }
    if wheel.tags.is_empty() {
        wheel.tags.push("py3-none-any".to_owned());
    }
    vec![wheel]
}

fn text(path: impl Into<String>, text: impl Into<String>) -> (String, Vec<u8>) {
    (path.into(), text.into().into_bytes())
}

fn module(name: &str, version: &str) -> Wheel {
    Wheel {
        files: vec![text(format!("{name}/__init__.py"), format!("__version__ = \"{version}\"\n"))],
        ..Wheel::default()
    }
}

fn keras(version: &str) -> Wheel {
    let mut wheel = Wheel::default();
    if version.starts_with("2.") {
        wheel
            .files
            .push(text("keras/__init__.py", format!("from keras.src import layers\n\n__version__ = \"{version}\"\n")));
        wheel.files.push(text("keras/src/__init__.py", ""));
    } else {
        wheel.files.push(text("keras/__init__.py", "from keras.src.version import __version__ as __version__\n"));
        wheel.files.push(text("keras/src/__init__.py", ""));
        wheel.files.push(text(
            "keras/src/version.py",
            format!("from keras.src.api_export import keras_export\n\n# Unique source of truth for the version number.\n__version__ = \"{version}\"\n"),
        ));
        wheel.requires = ["absl-py", "numpy", "rich", "namex", "h5py", "optree", "ml-dtypes", "packaging"]
            .map(str::to_owned)
            .to_vec();
    }
    wheel
}

fn torch(version: &str) -> Wheel {
    let cuda = version.split_once("+cu").map(|(_, digits)| {
        let (major, minor) = digits.split_at(2);
        format!("{major}.{minor}")
    });
    let mut wheel = module("torch", version);
    let said = cuda.as_ref().map_or("None".to_owned(), |cuda| format!("'{cuda}'"));
    wheel.files.push(text(
        "torch/version.py",
        format!("from typing import Optional\n\n__all__ = ['__version__', 'debug', 'cuda', 'git_version', 'hip']\n__version__ = '{version}'\ndebug = False\ncuda: Optional[str] = {said}\ngit_version = '0'\nhip: Optional[str] = None\n"),
    ));
    wheel.files.push(("torch/lib/libtorch_cpu.so".to_owned(), library("libtorch_cpu.so", &[], &["$ORIGIN"], &[])));
    let Some(cuda) = cuda else { return wheel };
    // Those of 2.7.1, as `torch.cuda.get_arch_list()` gives them.
    let code = if cuda.starts_with("12.8") {
        "sm_75 sm_80 sm_86 sm_90 sm_100 sm_120 compute_120"
    } else {
        "sm_50 sm_60 sm_70 sm_75 sm_80 sm_86 sm_90"
    };
    let folders = ["cublas", "cuda_nvrtc", "cuda_runtime", "cudnn", "cufft", "curand", "cusparse", "nccl"]
        .map(|folder| format!("$ORIGIN/../../nvidia/{folder}/lib"));
    let rpath: Vec<&str> = folders.iter().map(String::as_str).chain(["$ORIGIN"]).collect();
    let needed = [
        "libtorch_cpu.so",
        "libcudart.so.12",
        "libcusparse.so.12",
        "libcufft.so.11",
        "libcurand.so.10",
        "libcublas.so.12",
        "libcublasLt.so.12",
        "libcudnn.so.9",
        "libnccl.so.2",
    ];
    let python = shared_object(&Object {
        soname: "libtorch_python.so".to_owned(),
        needed: ["libtorch_cuda.so", "libcudart.so.12", "libcudnn.so.9"].map(str::to_owned).to_vec(),
        rpath: rpath.iter().map(|&entry| entry.to_owned()).collect(),
        text: format!("torch\0{code}\0_cuda_getArchFlags\0"),
        ..Object::default()
    });
    wheel.files.extend([
        ("torch/lib/libtorch_cuda.so".to_owned(), library("libtorch_cuda.so", &needed, &[], &rpath)),
        (
            "torch/lib/libtorch_global_deps.so".to_owned(),
            library("libtorch_global_deps.so", &["libcudart.so.12"], &[], &rpath),
        ),
        ("torch/lib/libtorch_python.so".to_owned(), python),
    ]);
    // The CUDA builds of the package index require NVIDIA's wheels.
    let linux = "platform_system == \"Linux\" and platform_machine == \"x86_64\"";
    wheel.requires = [("cuda-runtime", "12.6.77"), ("cublas", "12.6.4.1"), ("cudnn", "9.5.1.17")]
        .map(|(name, version)| format!("nvidia-{name}-cu12=={version}; {linux}"))
        .to_vec();
    wheel
}

fn jax(name: &str, version: &str) -> Wheel {
    let mut wheel = module(name, version);
    wheel.files.push(text(
        format!("{name}/version.py"),
        format!("_version = \"{version}\"\n_release_version: str = '{version}'\n"),
    ));
    if name == "jax" {
        wheel.requires = vec![
            format!("jaxlib<={version},>={version}"),
            "numpy>=2.0".to_owned(),
            format!("jax-cuda12-plugin[with-cuda]<={version},>={version}; extra == \"cuda12\""),
        ];
    }
    wheel
}

/// The CUDA half of JAX that runs programs.
fn jax_pjrt(version: &str) -> Wheel {
    let folders = [
        "cublas",
        "cuda_cupti",
        "cuda_nvrtc",
        "cuda_runtime",
        "cudnn",
        "cufft",
        "cusolver",
        "cusparse",
        "nccl",
        "nvjitlink",
    ]
    .map(|folder| format!("$ORIGIN/../../nvidia/{folder}/lib"));
    let runpath: Vec<&str> = folders.iter().map(String::as_str).collect();
    // Older ones ask for no library.
    let initialize = if version.starts_with("0.4.") || version.starts_with("0.5.") {
        "def initialize():\n  path = _get_library_path()\n"
    } else {
        "def _check_cuda_versions(raise_on_first_error: bool = False):\n  pass\n\n\ndef initialize():\n  path = _get_library_path()\n  _check_cuda_versions(raise_on_first_error=True)\n"
    };
    Wheel {
        files: vec![
            text("jax_plugins/xla_cuda12/__init__.py", initialize),
            text("jax_plugins/xla_cuda12/version.py", format!("__version__ = \"{version}\"\n")),
            ("jax_plugins/xla_cuda12/xla_cuda_plugin.so".to_owned(), library("xla_cuda_plugin.so", &[], &runpath, &[])),
        ],
        ..Wheel::default()
    }
}

/// The CUDA half of JAX that holds its kernels.
fn jax_plugin(version: &str) -> Wheel {
    // A folder without `__init__.py`, as in the real wheel.
    Wheel {
        files: vec![
            text(
                "jax_cuda12_plugin/version.py",
                format!("_version = \"{version}\"\n_release_version: str = '{version}'\n"),
            ),
            ("jax_cuda12_plugin/_versions.so".to_owned(), library("_versions.so", &[], &[], &[])),
        ],
        requires: vec![
            format!("jax-cuda12-pjrt=={version}"),
            "nvidia-cublas-cu12>=12.1.3.1; extra == \"with-cuda\"".to_owned(),
            "nvidia-cudnn-cu12<10.0,>=9.8; extra == \"with-cuda\"".to_owned(),
        ],
        ..Wheel::default()
    }
}

fn library(soname: &str, needed: &[&str], runpath: &[&str], rpath: &[&str]) -> Vec<u8> {
    let own = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<String>>();
    let mut all = own(needed);
    all.extend(own(&LIBC));
    shared_object(&Object {
        soname: soname.to_owned(),
        needed: all,
        runpath: own(runpath),
        rpath: own(rpath),
        ..Object::default()
    })
}

/// What differs between releases of TensorFlow.
struct Release {
    cuda: String,
    cudnn: String,
    compute: &'static str,
    /// Folders under `nvidia` in the RUNPATH of the framework library.
    folders: &'static [&'static str],
    requires: &'static [&'static str],
    python: &'static str,
}

const PASCAL_ON: &str = "'sm_60', 'sm_70', 'sm_80', 'sm_89', 'compute_90'";

fn release(version: &str) -> Release {
    let minor: u32 = version.split('.').nth(1).and_then(|minor| minor.parse().ok()).expect("2.MINOR");
    match minor {
        ..=15 => Release {
            cuda: "12.2".to_owned(),
            cudnn: "8".to_owned(),
            compute: "'sm_50', 'sm_60', 'sm_70', 'sm_75', 'compute_80'",
            folders: &["cuda_runtime", "cublas", "cudnn", "cufft", "cusolver", "cusparse"],
            requires: &[
                "numpy (<2.0.0,>=1.23.5)",
                "protobuf (!=4.21.0,!=4.21.5,<5.0.0dev,>=3.20.3)",
                "keras (<2.16,>=2.15.0)",
            ],
            python: ">=3.9",
        },
        16 | 17 => Release {
            cuda: "12.3".to_owned(),
            cudnn: "8".to_owned(),
            compute: "'sm_50', 'sm_60', 'sm_70', 'sm_80', 'compute_90'",
            folders: &["cuda_runtime"],
            requires: &[
                "protobuf !=4.21.0,!=4.21.5,<5.0.0dev,>=3.20.3",
                "keras >=3.0.0",
                "numpy <2.0.0,>=1.23.5 ; python_version <= \"3.11\"",
                "numpy <2.0.0,>=1.26.0 ; python_version >= \"3.12\"",
            ],
            python: ">=3.9",
        },
        18 | 19 => Release {
            cuda: "12.5.1".to_owned(),
            cudnn: "9".to_owned(),
            compute: PASCAL_ON,
            folders: &["cublas", "cudnn", "cufft", "cusolver", "cusparse", "cuda_runtime"],
            requires: &["protobuf !=4.21.0,!=4.21.5,<6.0.0dev,>=3.20.3", "keras >=3.5.0", "numpy <2.1.0,>=1.26.0"],
            python: ">=3.9",
        },
        21 => Release {
            cuda: "12.5.1".to_owned(),
            cudnn: "9".to_owned(),
            compute: PASCAL_ON,
            // No cusolver: as released.
            folders: &["nccl", "cuda_cupti", "cublas", "cudnn", "cufft", "cusparse", "cuda_runtime", "nvshmem"],
            requires: &["protobuf<8.0.0,>=6.31.1", "keras>=3.12.0", "numpy>=1.26.0"],
            python: ">=3.10",
        },
        _ => Release {
            cuda: "12.5.1".to_owned(),
            cudnn: "9".to_owned(),
            compute: PASCAL_ON,
            folders: &["cuda_cupti", "cublas", "cudnn", "cufft", "cusolver", "cusparse", "cuda_runtime"],
            requires: &["protobuf>=5.28.0", "keras>=3.10.0", "numpy>=1.26.0"],
            python: ">=3.9",
        },
    }
}

const CU12: [&str; 12] = [
    "cublas",
    "cuda-cupti",
    "cuda-nvcc",
    "cuda-nvrtc",
    "cuda-runtime",
    "cudnn",
    "cufft",
    "curand",
    "cusolver",
    "cusparse",
    "nccl",
    "nvjitlink",
];

fn tensorflow(name: &str, version: &str, flags: &[&str], site: &Site<'_>) -> Wheel {
    let mut release = release(version);
    // A build of its own, for another CUDA or cuDNN.
    for flag in flags {
        match flag.split_once('=') {
            Some(("cuda", it)) => it.clone_into(&mut release.cuda),
            Some(("cudnn", it)) => it.clone_into(&mut release.cudnn),
            _ => {}
        }
    }
    let rocm = flags.contains(&"rocm");
    let cuda = !rocm && name != "tensorflow-cpu" && site.arch == "x86_64" && !flags.contains(&"cpu");
    let mut wheel = Wheel { requires_python: release.python.to_owned(), ..Wheel::default() };
    wheel.requires = release.requires.iter().map(|&line| line.to_owned()).collect();
    if name == "tensorflow" {
        let (set, _) = and_cuda(version);
        wheel.requires.extend(
            CU12.iter()
                .zip(set)
                .map(|(part, (low, high))| format!("nvidia-{part}-cu12<{high},>={low}; extra == \"and-cuda\"")),
        );
    }
    let python = flags.iter().find_map(|flag| flag.strip_prefix("tag=")).unwrap_or(site.python);
    wheel.tags = match site.arch {
        "x86_64" => vec![
            format!("cp{python}-cp{python}-manylinux_2_17_x86_64"),
            format!("cp{python}-cp{python}-manylinux2014_x86_64"),
        ],
        arch => vec![format!("cp{python}-cp{python}-manylinux_2_27_{arch}")],
    };
    let runpath: Vec<String> = if !cuda {
        vec!["$ORIGIN/".to_owned()]
    } else if site.conda {
        vec!["$ORIGIN/../../../".to_owned()]
    } else {
        release
            .folders
            .iter()
            .flat_map(|folder| {
                [format!("$ORIGIN/../../nvidia/{folder}/lib"), format!("$ORIGIN/../nvidia/{folder}/lib")]
            })
            .collect()
    };
    let machine = if site.arch == "aarch64" { 183 } else { 62 };
    let needed =
        ["libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libstdc++.so.6", "libgcc_s.so.1", "libc.so.6"]
            .map(str::to_owned)
            .to_vec();
    let object = |soname: &str, needed: &[String], runpath: &[String], text: &str| {
        shared_object(&Object {
            soname: soname.to_owned(),
            needed: needed.to_vec(),
            runpath: runpath.to_vec(),
            machine,
            text: text.to_owned(),
            ..Object::default()
        })
    };
    let with =
        |first: &[&str]| first.iter().map(|&text| text.to_owned()).chain(needed.clone()).collect::<Vec<String>>();
    let up = vec!["$ORIGIN/../../".to_owned(), "$ORIGIN/../".to_owned(), "$ORIGIN/".to_owned()];
    wheel.files = vec![
        text("tensorflow/__init__.py", format!("# TensorFlow {version} {name}\n")),
        text("tensorflow/python/__init__.py", ""),
        text("tensorflow/python/platform/__init__.py", ""),
        text("tensorflow/core/framework/tensor_pb2.py", generated(version)),
        text("tensorflow/include/tensorflow/core/public/version.h", version_header(version)),
        (
            "tensorflow/libtensorflow_framework.so.2".to_owned(),
            object("libtensorflow_framework.so.2", &needed, &runpath, &format!("framework of {name} {version}")),
        ),
        (
            "tensorflow/libtensorflow_cc.so.2".to_owned(),
            object(
                "libtensorflow_cc.so.2",
                &with(&["libtensorflow_framework.so.2"]),
                &["$ORIGIN/".to_owned()],
                &format!("kernels of {name} {version}"),
            ),
        ),
    ];
    for part in ["_pywrap_tf2.so", "_pywrap_cpu_feature_guard.so"] {
        wheel.files.push((
            format!("tensorflow/python/platform/{part}"),
            object(part, &with(&["libtensorflow_framework.so.2", "libtensorflow_cc.so.2"]), &up, ""),
        ));
    }
    let said = if cuda {
        format!(
            "[('cpu_compiler', 'clang 18'), ('cuda_compute_capabilities', [{}]), ('cuda_version', '{}'), ('cudnn_version', '{}'), ('is_cuda_build', True), ('is_rocm_build', False), ('is_tensorrt_build', False)]",
            release.compute, release.cuda, release.cudnn
        )
    } else {
        let rocm = if rocm { "True" } else { "False" };
        format!("[('is_cuda_build', False), ('is_rocm_build', {rocm}), ('is_tensorrt_build', False)]")
    };
    wheel.files.push(text(
        "tensorflow/python/platform/build_info.py",
        format!("\"\"\"Auto-generated module providing information about the build.\"\"\"\nimport collections\n\nbuild_info = collections.OrderedDict({said})\n"),
    ));
    wheel
}

/// The head of a module that protobuf's compiler wrote.
fn generated(version: &str) -> String {
    let check = |numbers: &str| {
        format!(
            "from google.protobuf import runtime_version as _runtime_version\nfrom google.protobuf.internal import builder as _builder\n_runtime_version.ValidateProtobufRuntimeVersion(\n    _runtime_version.Domain.PUBLIC,\n    {numbers},\n    '',\n    'tensorflow/core/framework/tensor.proto'\n)\n"
        )
    };
    let code = match version.split('.').nth(1) {
        Some("20") => check("5,\n    28,\n    3"),
        Some("21") => check("6,\n    31,\n    1"),
        _ => "from google.protobuf.internal import builder as _builder\n".to_owned(),
    };
    format!("# Generated by the protocol buffer compiler.  DO NOT EDIT!\n{code}")
}

fn version_header(version: &str) -> String {
    let mut parts = version.split('.');
    ["MAJOR", "MINOR", "PATCH"]
        .map(|part| format!("#define TF_{part}_VERSION {}\n", parts.next().unwrap_or("0")))
        .concat()
}

/// The bounds of the `and-cuda` extra, and the versions that an installation gets today.
fn and_cuda(version: &str) -> ([(&'static str, &'static str); 12], [&'static str; 12]) {
    let minor: u32 = version.split('.').nth(1).and_then(|minor| minor.parse().ok()).unwrap_or(20);
    let ranges = [
        ("12.5.3.2", "13.0"),
        ("12.5.82", "13.0"),
        ("12.5.82", "13.0"),
        ("12.5.82", "13.0"),
        ("12.5.82", "13.0"),
        ("9.3.0.75", "10.0"),
        ("11.2.3.61", "12.0"),
        ("10.3.6.82", "11.0"),
        ("11.6.3.83", "12.0"),
        ("12.5.1.3", "13.0"),
        ("2.25.1", "3.0"),
        ("12.5.82", "13.0"),
    ];
    let old = ranges
        .map(|(_, high)| ("2", high))
        .map(|(low, high)| if high == "10.0" { ("8.9.4.25", "9.0") } else { (low, high) });
    match minor {
        ..=15 => (
            old,
            [
                "12.2.5.6",
                "12.2.142",
                "12.2.140",
                "12.2.140",
                "12.2.140",
                "8.9.4.25",
                "11.0.8.103",
                "10.3.3.141",
                "11.5.2.141",
                "12.1.2.141",
                "2.16.5",
                "12.2.140",
            ],
        ),
        16 | 17 => (
            old,
            [
                "12.3.4.1",
                "12.3.101",
                "12.3.107",
                "12.3.107",
                "12.3.101",
                "8.9.7.29",
                "11.0.12.1",
                "10.3.4.107",
                "11.5.4.101",
                "12.2.0.103",
                "2.19.3",
                "12.3.101",
            ],
        ),
        18 | 19 => (
            ranges,
            [
                "12.5.3.2",
                "12.5.82",
                "12.5.82",
                "12.5.82",
                "12.5.82",
                "9.3.0.75",
                "11.2.3.61",
                "10.3.6.82",
                "11.6.3.83",
                "12.5.1.3",
                "2.21.5",
                "12.5.82",
            ],
        ),
        _ => (
            ranges,
            [
                "12.9.3.13",
                "12.9.79",
                "12.9.86",
                "12.9.86",
                "12.9.79",
                "9.28.0.42",
                "11.4.1.4",
                "10.3.10.19",
                "11.7.5.82",
                "12.5.10.65",
                "2.32.3",
                "12.9.86",
            ],
        ),
    }
}

/// What `tensorflow[and-cuda]==VERSION` brings.
fn nvidia_set(version: &str, site: &Site<'_>) -> Vec<Wheel> {
    CU12.iter()
        .zip(and_cuda(version).1)
        .flat_map(|(part, version)| wheels(&format!("nvidia-{part}-cu12 {version}"), site))
        .collect()
}

/// A library of a wheel: soname, what it needs beside the C library, RUNPATH, RPATH.
type Shared = (&'static str, &'static [&'static str], &'static [&'static str], &'static [&'static str]);

const CUDNN_RUNPATH: &[&str] = &["$ORIGIN", "$ORIGIN/../../cublas/lib", "$ORIGIN/../../cuda_nvrtc/lib"];
const SOLVER_RUNPATH: &[&str] =
    &["$ORIGIN", "$ORIGIN/../../cublas/lib", "$ORIGIN/../../nvjitlink/lib", "$ORIGIN/../../cusparse/lib"];

fn shared(folder: &str, major: &str) -> &'static [Shared] {
    match (folder, major) {
        ("cublas", _) => &[
            ("libcublas.so.12", &["libcublasLt.so.12"], &[], &["$ORIGIN"]),
            ("libcublasLt.so.12", &[], &[], &["$ORIGIN"]),
            ("libnvblas.so.12", &["libcublas.so.12"], &[], &["$ORIGIN"]),
        ],
        ("cuda_cupti", _) => &[("libcupti.so.12", &[], &[], &[])],
        ("cuda_nvrtc", _) => &[("libnvrtc.so.12", &[], &["$ORIGIN"], &[])],
        ("cuda_runtime", _) => &[("libcudart.so.12", &[], &[], &[])],
        ("cufft", _) => &[
            ("libcufft.so.11", &[], &["$ORIGIN/../../nvjitlink/lib", "$ORIGIN"], &[]),
            ("libcufftw.so.11", &["libcufft.so.11"], &["$ORIGIN/../../nvjitlink/lib", "$ORIGIN"], &[]),
        ],
        ("curand", _) => &[("libcurand.so.10", &[], &["$ORIGIN"], &[])],
        ("cusolver", _) => &[(
            "libcusolver.so.11",
            &["libnvJitLink.so.12", "libcusparse.so.12", "libcublas.so.12", "libcublasLt.so.12"],
            SOLVER_RUNPATH,
            &[],
        )],
        ("cusparse", _) => {
            &[("libcusparse.so.12", &["libnvJitLink.so.12"], &["$ORIGIN/../../nvjitlink/lib", "$ORIGIN"], &[])]
        }
        ("nccl", _) => &[("libnccl.so.2", &[], &[], &[])],
        ("nvjitlink", _) => &[("libnvJitLink.so.12", &[], &[], &[])],
        ("cudnn", "8") => &[
            ("libcudnn.so.8", &[], &["$ORIGIN"], &[]),
            ("libcudnn_ops_infer.so.8", &[], CUDNN_RUNPATH, &[]),
            ("libcudnn_ops_train.so.8", &["libcudnn_ops_infer.so.8"], CUDNN_RUNPATH, &[]),
            ("libcudnn_cnn_infer.so.8", &["libcudnn_ops_infer.so.8"], CUDNN_RUNPATH, &[]),
            (
                "libcudnn_cnn_train.so.8",
                &["libcudnn_ops_infer.so.8", "libcudnn_ops_train.so.8", "libcudnn_cnn_infer.so.8"],
                CUDNN_RUNPATH,
                &[],
            ),
            ("libcudnn_adv_infer.so.8", &["libcudnn_ops_infer.so.8"], CUDNN_RUNPATH, &[]),
            (
                "libcudnn_adv_train.so.8",
                &["libcudnn_ops_infer.so.8", "libcudnn_ops_train.so.8", "libcudnn_adv_infer.so.8"],
                CUDNN_RUNPATH,
                &[],
            ),
        ],
        ("cudnn", _) => &[
            ("libcudnn.so.9", &[], &[], &["$ORIGIN"]),
            ("libcudnn_graph.so.9", &["libz.so.1"], CUDNN_RUNPATH, &[]),
            ("libcudnn_ops.so.9", &["libcudnn_graph.so.9"], CUDNN_RUNPATH, &[]),
            ("libcudnn_cnn.so.9", &["libcudnn_ops.so.9", "libcudnn_graph.so.9"], CUDNN_RUNPATH, &[]),
            ("libcudnn_adv.so.9", &["libcudnn_ops.so.9", "libcudnn_graph.so.9"], CUDNN_RUNPATH, &[]),
            ("libcudnn_engines_precompiled.so.9", &["libcudnn_graph.so.9"], CUDNN_RUNPATH, &[]),
            ("libcudnn_engines_runtime_compiled.so.9", &["libcudnn_graph.so.9", "libcuda.so.1"], CUDNN_RUNPATH, &[]),
            ("libcudnn_heuristic.so.9", &["libcudnn_graph.so.9"], CUDNN_RUNPATH, &[]),
        ],
        _ => &[],
    }
}

/// The sub-libraries that came later than cuDNN 9.1, for wheels that have them.
const CUDNN_LATE: &[Shared] = &[
    ("libcudnn_engines_tensor_ir.so.9", &["libcudnn_graph.so.9"], CUDNN_RUNPATH, &[]),
    ("libcudnn_ext.so.9", &["libz.so.1"], CUDNN_RUNPATH, &[]),
];

fn nvidia(name: &str, version: &str, site: &Site<'_>) -> Wheel {
    let folder =
        name.trim_start_matches("nvidia-").trim_end_matches("-cu12").trim_end_matches("-cu13").replace('-', "_");
    let major = version.split('.').next().unwrap_or_default();
    let mut wheel = Wheel { requires_python: ">=3".to_owned(), ..Wheel::default() };
    wheel.tags.push(format!("py3-none-manylinux_2_27_{}", site.arch));
    let late = version
        .strip_prefix("9.")
        .and_then(|rest| rest.split('.').next()?.parse().ok())
        .is_some_and(|minor: u32| minor >= 26);
    let late = if folder == "cudnn" && late { CUDNN_LATE } else { &[] };
    for (soname, needed, runpath, rpath) in shared(&folder, major).iter().chain(late) {
        let mut bytes = library(soname, needed, runpath, rpath);
        // Twins of another CUDA major differ in size, as the real ones do.
        bytes.extend_from_slice(format!("{name} {version}").as_bytes());
        wheel.files.push((format!("nvidia/{folder}/lib/{soname}"), bytes));
    }
    if folder == "cudnn" {
        let mut parts = version.split('.');
        let header = ["MAJOR", "MINOR", "PATCHLEVEL"]
            .map(|part| format!("#define CUDNN_{part} {}\n", parts.next().unwrap_or("0")));
        wheel.files.push(text(
            "nvidia/cudnn/include/cudnn_version.h",
            format!("#ifndef CUDNN_VERSION_H_\n#define CUDNN_VERSION_H_\n\n{}\n#endif\n", header.concat()),
        ));
        wheel.requires.push(format!("nvidia-cublas-{}", if name.ends_with("13") { "cu13" } else { "cu12" }));
    }
    if folder == "cuda_nvcc" {
        wheel.files.push(text("nvidia/cuda_nvcc/bin/ptxas", format!("\u{7f}ELF ptxas {version}")));
        wheel.files.push(text("nvidia/cuda_nvcc/nvvm/libdevice/libdevice.10.bc", "BC\u{c0}\u{de}"));
    }
    if folder == "cusolver" {
        for part in ["cublas", "nvjitlink", "cusparse"] {
            wheel.requires.push(format!("nvidia-{part}-cu12"));
        }
    }
    wheel
}
