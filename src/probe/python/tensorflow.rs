//! Reads an installed TensorFlow: its build, the CUDA libraries it would get, XLA's compiler parts; loads none of them.

use super::dists::{is_tensorflow, requirement_generation};
use super::layout::{Layout, join};
use super::literal::{self, Value};
use super::modules::Importer;
use super::nvidia::{self, Wheels};
use crate::facts::{
    BuildInfo, CompilerParts, CudnnPart, CudnnPartResolution, Evidence, GeneratedCode, GeneratedStyle, PathOrigin,
    Probed, Resolution, TensorFlow,
};
use crate::host::Host;
use crate::probe::loader::Search;
use crate::version::Dotted;

/// What the libraries of one CUDA generation are called.
fn generation(major: u32) -> &'static [&'static str] {
    match major {
        ..=10 => &[
            "libcudart.so.10.1",
            "libcublas.so.10",
            "libcufft.so.10",
            "libcurand.so.10",
            "libcusolver.so.10",
            "libcusparse.so.10",
        ],
        11 => &[
            "libcudart.so.11.0",
            "libcublas.so.11",
            "libcublasLt.so.11",
            "libcufft.so.10",
            "libcurand.so.10",
            "libcusolver.so.11",
            "libcusparse.so.11",
        ],
        12 => &[
            "libcudart.so.12",
            "libcublas.so.12",
            "libcublasLt.so.12",
            "libcufft.so.11",
            "libcusolver.so.11",
            "libcusparse.so.12",
        ],
        _ => &[
            "libcudart.so.13",
            "libcublas.so.13",
            "libcublasLt.so.13",
            "libcufft.so.12",
            "libcusolver.so.12",
            "libcusparse.so.12",
        ],
    }
}

const CUDARTS: [&str; 3] = ["libcudart.so.11.0", "libcudart.so.12", "libcudart.so.13"];

/// cuDNN's sub-libraries, and whether nothing works without them.
fn cudnn_parts(major: u32) -> &'static [(&'static str, bool)] {
    match major {
        8 => &[
            ("libcudnn_ops_infer.so.8", true),
            ("libcudnn_ops_train.so.8", true),
            ("libcudnn_cnn_infer.so.8", true),
            ("libcudnn_cnn_train.so.8", true),
            ("libcudnn_adv_infer.so.8", false),
            ("libcudnn_adv_train.so.8", false),
        ],
        9 => &[
            ("libcudnn_graph.so.9", true),
            ("libcudnn_ops.so.9", true),
            ("libcudnn_cnn.so.9", true),
            ("libcudnn_adv.so.9", false),
            ("libcudnn_engines_precompiled.so.9", true),
            ("libcudnn_engines_runtime_compiled.so.9", true),
            ("libcudnn_heuristic.so.9", true),
        ],
        _ => &[],
    }
}

/// Reads the TensorFlow of an environment, where there is one.
pub(super) fn read(
    importer: &Importer<'_, '_>,
    search: &Search<'_>,
    layout: &Layout,
    wheels: &Wheels,
    usual: &[String],
) -> Option<TensorFlow> {
    let host = importer.folders.host;
    let dists: Vec<usize> = (0..importer.dists.len()).filter(|&i| is_tensorflow(&importer.dists[i].name)).collect();
    let mut module = importer.module("tensorflow");
    // Where none is installed, a folder or a file of that name in the project is no TensorFlow.
    if dists.is_empty()
        && module.as_ref().is_some_and(|module| {
            matches!(module.origin, Some(PathOrigin::Script | PathOrigin::PythonPath))
                && module.hides.is_empty()
                && !module.archived
                && (module.namespace || !host.is_dir(join(&module.path, "python")))
        })
    {
        module = None;
    }
    if module.is_none() && dists.is_empty() {
        return None;
    }
    if let Some(module) = &mut module
        && let Some(dist) = module.dist.and_then(|index| importer.dists.get(index))
    {
        module.version = Some(dist.version.clone());
        module.version_from = Some(Evidence::package(&dist.metadata, format!("{} {}", dist.name, dist.version)));
    }
    let mut tensorflow = TensorFlow { module, dists, ..TensorFlow::default() };
    let Some(package) = tensorflow.module.as_ref().filter(|module| !module.namespace).map(|module| module.path.clone())
    else {
        tensorflow.build = Probed::Absent;
        return Some(tensorflow);
    };
    tensorflow.build = build(host, &package);
    tensorflow.generated = generated(host, &package);
    // A library that cannot be read says nothing of its search path.
    tensorflow.caller = caller(host, &package).filter(|caller| search.dynamic(caller).is_ok());
    let mut chain: Vec<&str> = tensorflow.caller.as_deref().into_iter().collect();
    chain.push(&layout.real_interpreter);
    let annotate = |resolution: &mut Resolution, header| {
        wheels.annotate(importer.folders, importer.dists, usual, resolution, header);
    };

    if tensorflow.caller.is_some() {
        tensorflow.lacks = search.lacking(&chain);
    }
    tensorflow.libcuda = search.resolve("libcuda.so.1", &chain);
    tensorflow.nvml = search.resolve("libnvidia-ml.so.1", &chain);
    for resolution in [&mut tensorflow.libcuda, &mut tensorflow.nvml] {
        annotate(resolution, false);
    }
    let built = tensorflow.build.value();
    if built.is_some_and(|built| !built.cuda_build) {
        // A build without CUDA opens none of the libraries.
        tensorflow.compiler = compiler(host, &package, None);
        return Some(tensorflow);
    }
    let cuda = built.and_then(|built| built.cuda.as_deref()).and_then(leading_version);
    let major = cuda
        .as_ref()
        .map(Dotted::major)
        .or_else(|| tensorflow.dists.iter().find_map(|&index| requirement_generation(importer.dists.get(index)?)))
        .unwrap_or(12);
    let cudnn = built.and_then(|built| built.cudnn.as_deref()).and_then(leading_version).map(|version| version.major());
    let cudnn_name = format!("libcudnn.so.{}", cudnn.unwrap_or(if major >= 12 { 9 } else { 8 }));
    let mut names: Vec<&str> = generation(major).to_vec();
    names.push(&cudnn_name);
    tensorflow.libraries = search.resolve_all(&names, &chain);
    // Other generations are asked for one by one: they share no process with the names above.
    for name in ["libcudnn.so.7", "libcudnn.so.8", "libcudnn.so.9", "libcudnn.so.10"].into_iter().chain(CUDARTS) {
        if !names.contains(&name) {
            tensorflow.libraries.push(search.resolve(name, &chain));
        }
    }
    for resolution in &mut tensorflow.libraries {
        annotate(resolution, true);
    }
    tensorflow.cudnn_parts = parts(importer, search, wheels, usual, &tensorflow, &chain, &cudnn_name);
    tensorflow.compiler = compiler(host, &package, cuda.as_ref());
    Some(tensorflow)
}

fn parts(
    importer: &Importer<'_, '_>,
    search: &Search<'_>,
    wheels: &Wheels,
    usual: &[String],
    tensorflow: &TensorFlow,
    chain: &[&str],
    wanted: &str,
) -> Vec<CudnnPartResolution> {
    let chosen = tensorflow
        .libraries
        .iter()
        .filter(|resolution| resolution.name.starts_with("libcudnn.so."))
        .filter_map(|resolution| resolution.file.value().map(|library| (resolution, library)))
        .max_by_key(|(resolution, _)| resolution.name == wanted);
    let Some((resolution, library)) = chosen else { return Vec::new() };
    let major = Dotted::from_file_name(&resolution.name).map_or(0, |version| version.major());
    let wanted = cudnn_parts(major);
    let names: Vec<&str> = wanted.iter().map(|(name, _)| *name).collect();
    let mut inner = vec![library.path.as_str()];
    inner.extend(chain);
    search
        .resolve_all(&names, &inner)
        .into_iter()
        .zip(wanted)
        .map(|(mut resolution, (name, required))| {
            wheels.annotate(importer.folders, importer.dists, usual, &mut resolution, false);
            let part = resolution.file.value().map(|library| CudnnPart {
                name: (*name).to_owned(),
                path: library.path.clone(),
                version: library.version.clone(),
            });
            CudnnPartResolution { required: *required, part, resolution }
        })
        .collect()
}

/// The object that calls `dlopen`, by the path under which Python's import opens it.
fn caller(host: &Host, package: &str) -> Option<String> {
    let framework = ["libtensorflow_framework.so.2", "libtensorflow_framework.so.1", "libtensorflow_framework.so"]
        .into_iter()
        .find(|name| host.is_file(join(package, name)));
    if let Some(name) = framework {
        // The first extension that is imported lies in `python/platform` and asks for `../..`.
        return Some(if host.is_dir(join(package, "python/platform")) {
            join(package, &format!("python/platform/../../{name}"))
        } else {
            join(package, name)
        });
    }
    ["python/_pywrap_tensorflow_internal.so", "libtensorflow_cc.so.2"]
        .into_iter()
        .map(|name| join(package, name))
        .find(|path| host.is_file(path))
}

/// How much of generated code is read: the largest that is known of this module has 11 KiB.
const GENERATED_HEAD: u64 = 32 << 10;

/// What generated code asks of protobuf's runtime; all modules of one release are generated by one compiler.
fn generated(host: &Host, package: &str) -> Option<GeneratedCode> {
    let path = join(package, "core/framework/tensor_pb2.py");
    let head = host.read_head(&path, GENERATED_HEAD).ok()?;
    parse_generated(&String::from_utf8_lossy(&head), &path)
}

fn parse_generated(text: &str, path: &str) -> Option<GeneratedCode> {
    const CHECK: &str = "ValidateProtobufRuntimeVersion(";
    let styles = [
        (GeneratedStyle::Checks, CHECK),
        (GeneratedStyle::Builder, "from google.protobuf.internal import builder"),
        (GeneratedStyle::Descriptors, "_descriptor.FieldDescriptor("),
    ];
    let (style, at, sign) = styles.into_iter().find_map(|(style, sign)| Some((style, text.find(sign)?, sign)))?;
    let mut says = sign.trim_end_matches('(').to_owned();
    let mut runtime = None;
    if style == GeneratedStyle::Checks {
        // The domain, three numbers, a suffix, and the name of the file.
        let numbers: Vec<&str> = text[at + CHECK.len()..].split(',').skip(1).take(3).map(str::trim).collect();
        runtime = Some(numbers.join(".").parse().ok()?);
        says = format!("{CHECK}…, {}, …)", numbers.join(", "));
    }
    let line = text[..at].matches('\n').count();
    let evidence = Evidence::file(path, says).line(u32::try_from(line).ok()? + 1);
    Some(GeneratedCode { style, runtime, evidence })
}

/// `python/platform/build_info.py`.
fn build(host: &Host, package: &str) -> Probed<BuildInfo> {
    let path = join(package, "python/platform/build_info.py");
    match host.read_lossy(&path) {
        Err(error) if error.is_absent() => Probed::Absent,
        Err(error) => Probed::failed(error.to_string()),
        Ok(text) => match parse_build(&text) {
            Some((info, line)) => {
                let says = match (&info.cuda, &info.cudnn) {
                    (Some(cuda), Some(cudnn)) => format!("cuda_version {cuda}, cudnn_version {cudnn}"),
                    _ => format!("is_cuda_build {}", if info.cuda_build { "True" } else { "False" }),
                };
                Probed::found(info, Evidence::file(path, says).line(line))
            }
            None => Probed::failed(format!("{path} holds no build information that can be read")),
        },
    }
}

/// The build information of a source text: one mapping, or in old releases plain assignments.
pub(crate) fn parse_build(text: &str) -> Option<(BuildInfo, u32)> {
    let (pairs, line) = literal::assigned_map(text, "build_info").or_else(|| {
        let names = ["is_cuda_build", "is_rocm_build", "cuda_version_number", "cudnn_version_number"];
        let mut first = None;
        let pairs: Vec<(String, Value)> = names
            .into_iter()
            .filter_map(|name| {
                let (value, line) = literal::assigned(text, name)?;
                first.get_or_insert(line);
                Some((name.trim_end_matches("_number").to_owned(), value))
            })
            .collect();
        first.map(|line| (pairs, line))
    })?;
    let get = |name: &str| pairs.iter().find(|(key, _)| key == name).map(|(_, value)| value);
    let version =
        |name: &str| get(name).and_then(Value::text).map(str::trim).filter(|text| !text.is_empty() && text.len() <= 64);
    let flag = |name: &str| match get(name) {
        Some(Value::Bool(flag)) => Some(*flag),
        _ => None,
    };
    let cuda = version("cuda_version").map(str::to_owned);
    let info = BuildInfo {
        cuda_build: flag("is_cuda_build").unwrap_or(cuda.is_some()),
        rocm_build: flag("is_rocm_build").unwrap_or(false),
        cudnn: version("cudnn_version").map(str::to_owned),
        compute: match get("cuda_compute_capabilities") {
            Some(Value::List(items)) => {
                items.iter().filter_map(|item| item.text().map(str::to_owned)).take(64).collect()
            }
            Some(Value::Text(text)) => {
                text.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).take(64).collect()
            }
            _ => Vec::new(),
        },
        cuda,
    };
    (info.rocm_build || flag("is_cuda_build").is_some() || info.cuda.is_some()).then_some((info, line))
}

/// The numbers in front: `64_112` of a Windows build and the like give nothing sensible and so nothing.
fn leading_version(text: &str) -> Option<Dotted> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let version: Dotted = text[..end].trim_end_matches('.').parse().ok()?;
    (version.major() < 50).then_some(version)
}

/// Where XLA would find `ptxas` and `libdevice.10.bc`.
fn compiler(host: &Host, package: &str, cuda: Option<&Dotted>) -> CompilerParts {
    const LIBDEVICE: &str = "nvvm/libdevice/libdevice.10.bc";
    let mut parts = CompilerParts::default();
    let mut roots: Vec<String> = Vec::new();
    let flag = host.env_nonempty("XLA_FLAGS").and_then(|flags| {
        flags.split_whitespace().rev().find_map(|flag| flag.strip_prefix("--xla_gpu_cuda_data_dir="))
    });
    let absolute = |path: &str| host.absolute(path).to_string_lossy().into_owned();
    if let Some(folder) = flag {
        parts.data_dir = Some(Evidence::env("XLA_FLAGS", format!("--xla_gpu_cuda_data_dir={folder}")));
        roots.push(absolute(folder));
    } else {
        roots.push(absolute("cuda_sdk_lib"));
    }
    if let Some(cuda) = cuda {
        roots.push(format!("/usr/local/cuda-{}", cuda.prefix(2)));
    }
    roots.push("/usr/local/cuda".to_owned());
    roots.push("/opt/cuda".to_owned());
    if let Some((site, _)) = package.rsplit_once('/') {
        roots.push(join(site, "nvidia/cuda_nvcc"));
    }
    roots.push(join(package, "cuda"));
    if let Some(conda) = host.env_nonempty("CONDA_PREFIX") {
        roots.push(conda.to_owned());
    }
    roots.dedup();
    for root in &roots {
        let libdevice = join(root, LIBDEVICE);
        if parts.libdevice.is_none() && host.is_file(&libdevice) {
            parts.libdevice = Some(Evidence::file(libdevice, "libdevice.10.bc"));
        }
        parts.looked.push(root.clone());
    }
    // Last of all the working folder itself.
    let here = absolute("libdevice.10.bc");
    if parts.libdevice.is_none() && host.is_file(&here) {
        parts.libdevice = Some(Evidence::file(here, "libdevice.10.bc"));
    }
    // XLA takes the first that is there, and what is empty is no bitcode.
    let whole = |path: &str| host.stat(path).is_ok_and(|stat| stat.size > 0);
    parts.libdevice = parts.libdevice.filter(|libdevice| whole(&libdevice.at));
    let first = roots.first().map(|root| join(root, "bin/ptxas"));
    let on_path =
        host.env_nonempty("PATH").unwrap_or_default().split(':').map(|folder| join(&absolute(folder), "ptxas"));
    let rest = roots.iter().skip(1).map(|root| join(root, "bin/ptxas"));
    let all: Vec<String> = first.into_iter().chain(on_path).chain(rest).collect();
    // One that does not start is passed over.
    let starts = |path: &&String| host.is_executable(path) && whole(path);
    parts.ptxas = all.iter().find(starts).map(|path| Evidence::file(path, "ptxas"));
    if parts.ptxas.is_none() {
        let inert = all.iter().find(|path| host.is_file(path) && !host.is_executable(path));
        parts.inert = inert.map(|path| Evidence::file(path, "ptxas, which nobody may run"));
    }
    parts.looked.push("PATH".to_owned());
    parts
}

/// The folders of packages where NVIDIA's wheels may lie.
pub(super) fn usual_folders(importer: &Importer<'_, '_>, prefix: &str) -> Vec<String> {
    let sites: Vec<&str> = importer
        .sys_path
        .iter()
        .filter(|entry| matches!(entry.origin, PathOrigin::Site | PathOrigin::UserSite | PathOrigin::BaseSite))
        .map(|entry| entry.path.as_str())
        .collect();
    nvidia::usual_folders(importer.folders, &sites, prefix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    #[test]
    fn generated_code_tells_its_runtime() {
        let of = |text: &str| parse_generated(text, "p").map(|code| (code.style, code.evidence.line, code.runtime));
        let text = "from google.protobuf.internal import builder as _builder\n_runtime_version.ValidateProtobufRuntimeVersion(\n    _runtime_version.Domain.PUBLIC,\n    5,\n    28,\n    3,\n    '',\n    't.proto'\n)\n";
        assert_eq!(of(text), Some((GeneratedStyle::Checks, Some(2), Some("5.28.3".parse().unwrap()))));
        assert_eq!(of(&text[..57]), Some((GeneratedStyle::Builder, Some(1), None)));
        let old = "\n_X = _descriptor.Descriptor(\n  fields=[\n    _descriptor.FieldDescriptor(\n";
        assert_eq!(of(old), Some((GeneratedStyle::Descriptors, Some(4), None)));
        for text in
            ["", "DESCRIPTOR = 1", "ValidateProtobufRuntimeVersion(", "ValidateProtobufRuntimeVersion(a, b, c, d"]
        {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn build_information_of_all_ages() {
        let new = "import collections\nbuild_info = collections.OrderedDict([('cuda_compute_capabilities', ['sm_60', 'compute_90']), ('cuda_version', '12.5.1'), ('cudnn_version', '9'), ('is_cuda_build', True), ('is_rocm_build', False)])\n";
        let (info, line) = parse_build(new).unwrap();
        assert_eq!((info.cuda.as_deref(), info.cudnn.as_deref(), line), (Some("12.5.1"), Some("9"), 2));
        assert_eq!(info.compute, ["sm_60", "compute_90"]);
        let old =
            "is_rocm_build = False\nis_cuda_build = True\ncuda_version_number = '10.1'\ncudnn_version_number = \"7\"\n";
        assert_eq!(parse_build(old).unwrap().0.cuda.as_deref(), Some("10.1"));
        let bare = "build_info = collections.OrderedDict([('is_cuda_build', True), ('is_rocm_build', False)])";
        assert!(parse_build(bare).unwrap().0.cuda_build && parse_build(bare).unwrap().0.cuda.is_none());
        assert!(!parse_build("build_info = {'is_cuda_build': False}").unwrap().0.cuda_build);
        assert!(parse_build("build_info = make()").is_none() && parse_build("").is_none());
        assert!(leading_version("64_112").is_none());
        assert_eq!(leading_version("10").unwrap().major(), 10);
    }

    #[test]
    fn compiler_parts_are_found_in_order() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["site/nvidia/cuda_nvcc/nvvm/libdevice/libdevice.10.bc", "data/nvvm/libdevice/libdevice.10.bc"] {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "BC").unwrap();
        }
        let find = |flags: &str| {
            let env = [("XLA_FLAGS".to_owned(), flags.to_owned())].into();
            compiler(&Host::rooted(dir.path(), env).unwrap(), "/site/tensorflow", None)
        };
        let parts = find("--xla_gpu_cuda_data_dir=/data");
        assert_eq!(parts.libdevice.unwrap().at, "/data/nvvm/libdevice/libdevice.10.bc");
        assert!(parts.ptxas.is_none());
        assert!(find("").libdevice.unwrap().at.starts_with("/site/nvidia/cuda_nvcc"));
        fs::write(dir.path().join("data/nvvm/libdevice/libdevice.10.bc"), "").unwrap();
        assert!(find("--xla_gpu_cuda_data_dir=/data").libdevice.is_none());
    }

    proptest! {
        #[test]
        fn build_information_never_panics(text in "[\\[\\](){}:,'_=\\n a-zA-Z0-9.]{0,160}") {
            let _ = parse_build(&format!("build_info = {text}"));
            let _ = (parse_build(&text), leading_version(&text));
        }
    }
}
