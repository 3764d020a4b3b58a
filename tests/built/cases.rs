// The builds. Each crate has releases and settings that must fail and such that must pass.

const PLAIN: &[(&str, &str)] = &[];

const BINDGEN: &str = r#"
fn main() {
    let bindings = bindgen_cuda::Builder::default().build_ptx().unwrap();
    bindings.write(std::path::Path::new(&std::env::var("OUT_DIR").unwrap()).join("kernels.rs")).unwrap();
}
"#;
const FORGE: &str = r#"
fn main() -> cudaforge::Result<()> {
    let output = cudaforge::KernelBuilder::new().source_glob("src/**/*.cu").build_ptx()?;
    output.write(std::path::Path::new(&std::env::var("OUT_DIR").unwrap()).join("kernels.rs"))
}
"#;

/// All builds.
const CASES: &[Case] = &[
    // cudarc: the version by nvcc, by a variable, by a feature, by the newest bindings, or by nothing.
    case("cudarc-0.16.6-asks-13.0", r#"cudarc = { version = "=0.16.6", features = ["cuda-version-from-build-system"] }"#, "13.0", PLAIN),
    case("cudarc-0.17.8-asks-13.0", r#"cudarc = { version = "=0.17.8", features = ["cuda-version-from-build-system"] }"#, "13.0", PLAIN),
    case("cudarc-0.19.10-asks-13.0", r#"cudarc = { version = "=0.19.10", features = ["cuda-version-from-build-system"] }"#, "13.0", PLAIN),
    case("cudarc-0.19.10-asks-13.5", r#"cudarc = { version = "=0.19.10", features = ["cuda-version-from-build-system"] }"#, "13.5", PLAIN),
    case("cudarc-0.19.10-told-13.5", r#"cudarc = { version = "=0.19.10", features = ["cuda-version-from-build-system"] }"#, "13.5", &[("CUDARC_CUDA_VERSION", "13040")]),
    case("cudarc-0.16.6-told-13.0", r#"cudarc = { version = "=0.16.6", features = ["cuda-version-from-build-system"] }"#, "13.0", &[("CUDARC_CUDA_VERSION", "12090")]),
    case("cudarc-0.16.4-told-13.0", r#"cudarc = { version = "=0.16.4", features = ["cuda-version-from-build-system"] }"#, "13.0", &[("CUDARC_CUDA_VERSION", "12090")]),
    case("cudarc-0.19.10-told-wrong", r#"cudarc = { version = "=0.19.10", features = ["cuda-version-from-build-system"] }"#, "13.0", &[("CUDARC_CUDA_VERSION", "12.8")]),
    case("cudarc-0.19.10-no-nvcc", r#"cudarc = { version = "=0.19.10", features = ["cuda-version-from-build-system"] }"#, "", PLAIN),
    case("cudarc-0.19.10-home-only", r#"cudarc = { version = "=0.19.10", features = ["cuda-version-from-build-system"] }"#, "", &[("CUDA_HOME", "{13.0}")]),
    case("cudarc-0.19.10-latest", r#"cudarc = { version = "=0.19.10", features = ["cuda-version-from-build-system", "fallback-latest"] }"#, "", PLAIN),
    case("cudarc-0.19.10-latest-13.5", r#"cudarc = { version = "=0.19.10", features = ["cuda-version-from-build-system", "fallback-latest"] }"#, "13.5", PLAIN),
    case("cudarc-0.17.5-no-nvcc", r#"cudarc = { version = "=0.17.5", features = ["cuda-version-from-build-system"] }"#, "", PLAIN),
    case("cudarc-0.19.10-bare", r#"cudarc = "=0.19.10""#, "13.0", PLAIN),
    case("cudarc-0.13.9-bare", r#"cudarc = "=0.13.9""#, "13.0", PLAIN),
    case("cudarc-0.13.9-feature", r#"cudarc = { version = "=0.13.9", features = ["cuda-12080"] }"#, "", PLAIN),
    case("cudarc-0.17.8-both", r#"cudarc = { version = "=0.17.8", features = ["dynamic-linking", "cuda-12080"] }"#, "", PLAIN),
    case("cudarc-0.17.8-neither", r#"cudarc = { version = "=0.17.8", default-features = false, features = ["driver", "cuda-12080"] }"#, "", PLAIN),
    case("cudarc-0.19.10-cudnn", r#"cudarc = { version = "=0.19.10", features = ["cuda-12080", "cudnn-version-from-build-system"] }"#, "", PLAIN),
    case("cudarc-0.11.0-asks-13.0", r#"cudarc = { version = "=0.11.0", default-features = false, features = ["driver", "cuda-version-from-build-system"] }"#, "13.0", &[("CUDA_PATH", "{13.0}")]),
    case("cudarc-0.10.0-no-header", r#"cudarc = { version = "=0.10.0", default-features = false, features = ["driver"] }"#, "", PLAIN),
    // cust and find_cuda_helper: a folder of libraries.
    case("cust-0.3.2-none", r#"cust = "=0.3.2""#, "13.0", PLAIN),
    case("cust-raw-0.11.3-none", r#"cust_raw = "=0.11.3""#, "13.0", PLAIN),
    case("cust-raw-0.11.3-home", r#"cust_raw = "=0.11.3""#, "13.0", &[("CUDA_HOME", "{13.0}")]),
    case("cust-raw-0.11.3-path", r#"cust_raw = "=0.11.3""#, "13.0", &[("CUDA_LIBRARY_PATH", "{13.0}")]),
    case("cust-raw-0.11.2-path", r#"cust_raw = "=0.11.2""#, "", &[("CUDA_LIBRARY_PATH", "{13.0}")]),
    // torch-sys: its one LibTorch, and the offline failure.
    case("torch-sys-0.26-none", r#"torch-sys = { version = "=0.26.0", default-features = false }"#, "", PLAIN),
    case("torch-sys-0.17-none", r#"torch-sys = { version = "=0.17.0", default-features = false }"#, "", PLAIN),
    case("torch-sys-0.26-other", r#"torch-sys = { version = "=0.26.0", default-features = false }"#, "", &[("LIBTORCH", "{work}/libtorch-2.4.0")]),
    case("torch-sys-0.17-doc", r#"torch-sys = { version = "=0.17.0", default-features = false, features = ["doc-only"] }"#, "", PLAIN),
    case("torch-sys-0.26-doc", r#"torch-sys = { version = "=0.26.0", default-features = false, features = ["doc-only"] }"#, "", PLAIN),
    // nvml-wrapper opens its library at run time.
    case("nvml-wrapper-0.13", r#"nvml-wrapper = "=0.13.0""#, "", PLAIN),
    case("nvml-wrapper-0.10", r#"nvml-wrapper = "=0.10.0""#, "", PLAIN),
    // ort-sys and tensorflow-sys take prebuilt libraries from the network, which is not there.
    case("ort-sys-rc.15-off", r#"ort-sys = { version = "=2.0.0-rc.15", default-features = false, features = ["std", "disable-linking"] }"#, "", PLAIN),
    case("ort-sys-rc.10-skip", r#"ort-sys = { version = "=2.0.0-rc.10", default-features = false, features = ["std"] }"#, "", PLAIN),
    case("tensorflow-sys-0.24", r#"tensorflow-sys = "=0.24.0""#, "", PLAIN),
    // candle's kernels: nvidia-smi or CUDA_COMPUTE_CAP, nvcc, and the headers.
    case("candle-kernels-0.9.2-no-cap", r#"candle-kernels = "=0.9.2""#, "13.0", PLAIN),
    case("candle-kernels-0.9.2-dot", r#"candle-kernels = "=0.9.2""#, "13.0", &[("CUDA_COMPUTE_CAP", "8.6")]),
    case("candle-kernels-0.9.2-no-header", r#"candle-kernels = "=0.9.2""#, "13.0", &[("CUDA_COMPUTE_CAP", "86"), ("CUDA_HOME", "{13.0}")]),
    case("candle-kernels-0.9.2-no-nvcc", r#"candle-kernels = "=0.9.2""#, "", &[("CUDA_COMPUTE_CAP", "86")]),
    case("candle-kernels-0.11.1-no-cap", r#"candle-kernels = "=0.11.1""#, "13.0", PLAIN),
    case("candle-kernels-0.11.1-no-nvcc", r#"candle-kernels = "=0.11.1""#, "", &[("CUDA_COMPUTE_CAP", "86")]),
    // The libraries for build scripts by themselves, with one kernel.
    kernel("bindgen-0.1.5-path", r#"bindgen_cuda = "=0.1.5""#, BINDGEN, "13.0", &[("CUDA_COMPUTE_CAP", "86"), ("CUDA_PATH", "{13.0}")]),
    kernel("bindgen-0.1.5-no-cap", r#"bindgen_cuda = "=0.1.5""#, BINDGEN, "13.0", &[("CUDA_PATH", "{13.0}")]),
    kernel("bindgen-0.1.6-path", r#"bindgen_cuda = "=0.1.6""#, BINDGEN, "13.0", &[("CUDA_COMPUTE_CAP", "86"), ("CUDA_PATH", "{13.0}")]),
    kernel("bindgen-0.1.6-home", r#"bindgen_cuda = "=0.1.6""#, BINDGEN, "13.0", &[("CUDA_COMPUTE_CAP", "86"), ("CUDA_HOME", "{13.0}")]),
    kernel("forge-0.1.2-cap", r#"cudaforge = "=0.1.2""#, FORGE, "13.0", &[("CUDA_COMPUTE_CAP", "86")]),
    kernel("forge-0.1.2-no-cap", r#"cudaforge = "=0.1.2""#, FORGE, "13.0", PLAIN),
    kernel("forge-0.1.6-home", r#"cudaforge = "=0.1.6""#, FORGE, "", &[("CUDA_COMPUTE_CAP", "sm_90a"), ("CUDA_HOME", "{13.0}")]),
    kernel("forge-0.1.6-none", r#"cudaforge = "=0.1.6""#, FORGE, "", PLAIN),
    // cubecl and burn: cudarc beneath them.
    case("cubecl-cuda-0.8.0-asks-13.5", r#"cubecl-cuda = { version = "=0.8.0", default-features = false, features = ["std"] }"#, "13.5", PLAIN),
    case("cubecl-cuda-0.9.0-asks-13.5", r#"cubecl-cuda = { version = "=0.9.0", default-features = false, features = ["std"] }"#, "13.5", PLAIN),
    case("burn-cuda-0.18.0-asks-13.5", r#"burn-cuda = { version = "=0.18.0", default-features = false, features = ["std"] }"#, "13.5", PLAIN),
    case("burn-cuda-0.19.1-asks-13.5", r#"burn-cuda = { version = "=0.19.1", default-features = false, features = ["std"] }"#, "13.5", PLAIN),
    case("cubecl-cuda-0.9.0-asks-13.0", r#"cubecl-cuda = { version = "=0.9.0", default-features = false, features = ["std"] }"#, "13.0", PLAIN),
    case("burn-cuda-0.20.1-asks-13.0", r#"burn-cuda = { version = "=0.20.1", default-features = false, features = ["std"] }"#, "13.0", PLAIN),
    // Those that compile all of candle's kernels take minutes, so they come last.
    case("candle-kernels-0.8.4-path", r#"candle-kernels = "=0.8.4""#, "13.0", &[("CUDA_COMPUTE_CAP", "86"), ("CUDA_PATH", "{13.0}")]),
    case("candle-kernels-0.11.1-cap", r#"candle-kernels = "=0.11.1""#, "13.0", &[("CUDA_COMPUTE_CAP", "86")]),
    // LibTorch of PyPI's wheels: another C++ ABI before PyTorch 2.7.
    program(
        "tch-0.17-abi",
        r#"tch = { version = "=0.17.0", default-features = false }"#,
        "let _ = tch::Tensor::from_slice(&[1i64, 2]).sum(tch::Kind::Int64);",
        &[("LIBTORCH", "{torch-2.4.0}")],
    ),
    program(
        "tch-0.17-folder",
        r#"tch = { version = "=0.17.0", default-features = false }"#,
        "let _ = tch::Tensor::from_slice(&[1i64, 2]).sum(tch::Kind::Int64);",
        &[("LIBTORCH", "{torch-2.4.0}"), ("LIBTORCH_CXX11_ABI", "0")],
    ),
    program(
        "tch-0.17-python",
        r#"tch = { version = "=0.17.0", default-features = false }"#,
        "let _ = tch::Tensor::from_slice(&[1i64, 2]).sum(tch::Kind::Int64);",
        &[("LIBTORCH_USE_PYTORCH", "1"), ("VIRTUAL_ENV", "{venv-2.4.0}")],
    ),
    program(
        "tch-0.17-no-setuptools",
        r#"tch = { version = "=0.17.0", default-features = false }"#,
        "let _ = tch::Tensor::from_slice(&[1i64, 2]).sum(tch::Kind::Int64);",
        &[("LIBTORCH_USE_PYTORCH", "1"), ("VIRTUAL_ENV", "{venv-bare}")],
    ),
    program(
        "tch-0.17-other-python",
        r#"tch = { version = "=0.17.0", default-features = false }"#,
        "let _ = tch::Tensor::from_slice(&[1i64, 2]).sum(tch::Kind::Int64);",
        &[("LIBTORCH_USE_PYTORCH", "1"), ("VIRTUAL_ENV", "{venv-2.13.0}")],
    ),
    program(
        "tch-0.26-folder",
        r#"tch = { version = "=0.26.0", default-features = false }"#,
        "let _ = tch::Tensor::from_slice(&[1i64, 2]).sum(tch::Kind::Int64);",
        &[("LIBTORCH", "{torch-2.13.0}")],
    ),
    program(
        "tch-0.26-python",
        r#"tch = { version = "=0.26.0", default-features = false }"#,
        "let _ = tch::Tensor::from_slice(&[1i64, 2]).sum(tch::Kind::Int64);",
        &[("LIBTORCH_USE_PYTORCH", "1"), ("VIRTUAL_ENV", "{venv-2.13.0}")],
    ),
    program(
        "tch-0.26-old-folder",
        r#"tch = { version = "=0.26.0", default-features = false }"#,
        "let _ = tch::Tensor::from_slice(&[1i64, 2]).sum(tch::Kind::Int64);",
        &[("LIBTORCH", "{torch-2.4.0}"), ("LIBTORCH_CXX11_ABI", "0")],
    ),
    // cust links libcuda, here the stub of the toolkit.
    program(
        "cust-0.3-stub",
        r#"cust = "=0.3.2""#,
        "let _ = cust::quick_init();",
        &[("CUDA_LIBRARY_PATH", "{cuda-dev}")],
    ),
    program(
        "cust-0.3-ignored",
        r#"cust = "=0.3.2""#,
        "let _ = cust::quick_init();",
        &[("CUDA_PATH", "{cuda-dev}")],
    ),
    program(
        "cust-raw-0.11-stub",
        r#"cust_raw = "=0.11.3""#,
        "let _ = unsafe { cust_raw::cuInit(0) };",
        &[("CUDA_LIBRARY_PATH", "{cuda-dev}")],
    ),
    case("cust-0.2-stub", r#"cust = "=0.2.2""#, "", &[("CUDA_LIBRARY_PATH", "{cuda-dev}")]),
    case("cust-0.2-none", r#"cust = "=0.2.2""#, "", &[]),
    case("cust-raw-0.11.2-path", r#"cust_raw = "=0.11.2""#, "", &[("CUDA_PATH", "{cuda-dev}")]),
    // ONNX Runtime of PyPI's wheel.
    program(
        "ort-rc10-nothing",
        r#"ort-sys = { version = "=2.0.0-rc.10", default-features = false, features = ["std", "copy-dylibs"] }"#,
        "let _ = unsafe { ort_sys::OrtGetApiBase() };",
        &[],
    ),
    program(
        "ort-rc10-dynamic",
        r#"ort-sys = { version = "=2.0.0-rc.10", default-features = false, features = ["std", "copy-dylibs"] }"#,
        "let _ = unsafe { ort_sys::OrtGetApiBase() };",
        &[("ORT_LIB_LOCATION", "{onnxruntime}"), ("ORT_PREFER_DYNAMIC_LINK", "1")],
    ),
    program(
        "ort-rc10-gone",
        r#"ort-sys = { version = "=2.0.0-rc.10", default-features = false, features = ["std", "copy-dylibs"] }"#,
        "let _ = unsafe { ort_sys::OrtGetApiBase() };",
        &[("ORT_LIB_LOCATION", "{work}/gone"), ("ORT_PREFER_DYNAMIC_LINK", "1")],
    ),
    program(
        "ort-rc10-static",
        r#"ort-sys = { version = "=2.0.0-rc.10", default-features = false, features = ["std", "copy-dylibs"] }"#,
        "let _ = unsafe { ort_sys::OrtGetApiBase() };",
        &[("ORT_LIB_LOCATION", "{onnxruntime}")],
    ),
    program(
        "ort-rc10-other-variable",
        r#"ort-sys = { version = "=2.0.0-rc.10", default-features = false, features = ["std", "copy-dylibs"] }"#,
        "let _ = unsafe { ort_sys::OrtGetApiBase() };",
        &[("ORT_LIB_PATH", "{onnxruntime}"), ("ORT_PREFER_DYNAMIC_LINK", "1")],
    ),
    program(
        "ort-rc15-nothing",
        r#"ort-sys = { version = "=2.0.0-rc.15", default-features = false, features = ["std", "copy-dylibs"] }"#,
        "let _ = unsafe { ort_sys::OrtGetApiBase() };",
        &[],
    ),
    program(
        "ort-rc15-dynamic",
        r#"ort-sys = { version = "=2.0.0-rc.15", default-features = false, features = ["std", "copy-dylibs"] }"#,
        "let _ = unsafe { ort_sys::OrtGetApiBase() };",
        &[("ORT_LIB_LOCATION", "{onnxruntime}"), ("ORT_PREFER_DYNAMIC_LINK", "1")],
    ),
    program(
        "ort-rc15-gone",
        r#"ort-sys = { version = "=2.0.0-rc.15", default-features = false, features = ["std", "copy-dylibs"] }"#,
        "let _ = unsafe { ort_sys::OrtGetApiBase() };",
        &[("ORT_LIB_LOCATION", "{work}/gone"), ("ORT_PREFER_DYNAMIC_LINK", "1")],
    ),
    program(
        "ort-rc15-static",
        r#"ort-sys = { version = "=2.0.0-rc.15", default-features = false, features = ["std", "copy-dylibs"] }"#,
        "let _ = unsafe { ort_sys::OrtGetApiBase() };",
        &[("ORT_LIB_LOCATION", "{onnxruntime}")],
    ),
    program(
        "ort-rc15-other-variable",
        r#"ort-sys = { version = "=2.0.0-rc.15", default-features = false, features = ["std", "copy-dylibs"] }"#,
        "let _ = unsafe { ort_sys::OrtGetApiBase() };",
        &[("ORT_LIB_PATH", "{onnxruntime}"), ("ORT_PREFER_DYNAMIC_LINK", "1")],
    ),
    program(
        "ort-itself-rc10-nothing",
        r#"ort = { version = "=2.0.0-rc.10", default-features = false, features = ["std"] }"#,
        "let _ = ort::api();",
        &[],
    ),
    program(
        "ort-itself-rc10-dynamic",
        r#"ort = { version = "=2.0.0-rc.10", default-features = false, features = ["std"] }"#,
        "let _ = ort::api();",
        &[("ORT_LIB_LOCATION", "{onnxruntime}"), ("ORT_PREFER_DYNAMIC_LINK", "1")],
    ),
    program(
        "ort-itself-rc15-nothing",
        r#"ort = { version = "=2.0.0-rc.15", default-features = false, features = ["std"] }"#,
        "let _ = ort::api();",
        &[],
    ),
    program(
        "ort-itself-rc15-dynamic",
        r#"ort = { version = "=2.0.0-rc.15", default-features = false, features = ["std"] }"#,
        "let _ = ort::api();",
        &[("ORT_LIB_LOCATION", "{onnxruntime}"), ("ORT_PREFER_DYNAMIC_LINK", "1")],
    ),
    // TensorFlow's C library of PyPI's wheel.
    program(
        "tensorflow-sys-24-pkg-config",
        r#"tensorflow-sys = "=0.24.0""#,
        "let _ = unsafe { tensorflow_sys::TF_Version() };",
        &[("PKG_CONFIG_PATH", "{tensorflow}/lib/pkgconfig")],
    ),
    program(
        "tensorflow-sys-24-bazel",
        r#"tensorflow-sys = "=0.24.0""#,
        "let _ = unsafe { tensorflow_sys::TF_Version() };",
        &[("TF_RUST_BUILD_FROM_SRC", "true")],
    ),
    program(
        "tensorflow-sys-23-pkg-config",
        r#"tensorflow-sys = "=0.23.0""#,
        "let _ = unsafe { tensorflow_sys::TF_Version() };",
        &[("PKG_CONFIG_PATH", "{tensorflow}/lib/pkgconfig")],
    ),
    program(
        "tensorflow-sys-23-bazel",
        r#"tensorflow-sys = "=0.23.0""#,
        "let _ = unsafe { tensorflow_sys::TF_Version() };",
        &[("TF_RUST_BUILD_FROM_SRC", "true")],
    ),
    program(
        "tensorflow-sys-24-archive",
        r#"tensorflow-sys = "=0.24.0""#,
        "let _ = unsafe { tensorflow_sys::TF_Version() };",
        &[("TF_RUST_DOWNLOAD_DIR", "{tensorflow-archive}")],
    ),
    program(
        "tensorflow-0.21-pkg-config",
        r#"tensorflow = "=0.21.0""#,
        "let _ = tensorflow::version();",
        &[("PKG_CONFIG_PATH", "{tensorflow}/lib/pkgconfig")],
    ),
];
