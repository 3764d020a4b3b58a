//! Native libraries that build scripts look for beside CUDA's: LibTorch, ONNX Runtime, TensorFlow's C library, and what
//! `pkg-config` would say of them. Only files are read; no program is run.

use std::collections::BTreeMap;
use std::path::Path;

use super::line_of;
use crate::facts::{Evidence, LibTorch, OnnxRuntime, PkgConfigFile, Reading};
use crate::host::Host;
use crate::probe::toolkit::define;

/// Headers and `CMake` files are read up to this many bytes.
const LIMIT: u64 = 1 << 20;
/// How many libraries or archives of one folder are recorded.
const MOST: usize = 64;
/// How often a variable of a `.pc` file may stand for others.
const DEPTH: usize = 16;
/// How long a line of a `.pc` file may become.
const LONGEST: usize = 1 << 16;
/// Packages for which some build script asks `pkg-config`.
const PACKAGES: &[&str] = &["libonnxruntime", "tensorflow"];
/// Folders in which the `pkg-config` of some distribution looks.
const PKG_CONFIG_FOLDERS: &[&str] = &[
    "/usr/local/lib/x86_64-linux-gnu/pkgconfig",
    "/usr/local/lib/aarch64-linux-gnu/pkgconfig",
    "/usr/local/lib/pkgconfig",
    "/usr/local/share/pkgconfig",
    "/usr/lib/x86_64-linux-gnu/pkgconfig",
    "/usr/lib/aarch64-linux-gnu/pkgconfig",
    "/usr/lib64/pkgconfig",
    "/usr/lib/pkgconfig",
    "/usr/share/pkgconfig",
];
/// Folders that linkers search by themselves.
const LINKER_FOLDERS: &[&str] = &[
    "/usr/local/lib/x86_64-linux-gnu",
    "/usr/local/lib/aarch64-linux-gnu",
    "/usr/local/lib64",
    "/usr/local/lib",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/lib64",
    "/lib",
];
/// Libraries of the compiler and of the C library, which are where no folder of these tells.
const TOOLCHAIN: &[&str] = &["c", "dl", "gcc", "gcc_s", "gomp", "m", "pthread", "rt", "stdc++"];

/// The LibTorch that torch-sys would take without asking Python.
pub(super) fn libtorch(host: &Host, value: impl Fn(&str) -> Option<String>) -> Option<LibTorch> {
    let system = || host.is_file("/usr/lib/libtorch.so").then(|| "/usr".to_owned());
    let folder = value("LIBTORCH").or_else(system)?;
    // Build scripts run in the folder of their own package, so that a relative path leads nowhere.
    let within = |given: Option<String>| given.unwrap_or_else(|| folder.clone());
    let (include, lib) = (within(value("LIBTORCH_INCLUDE")), within(value("LIBTORCH_LIB")));
    let there = |folder: &str, rest: &str| folder.starts_with('/') && host.is_file(format!("{folder}/{rest}"));
    let version = host.read_text(format!("{folder}/build-version")).ok().filter(|_| folder.starts_with('/'));
    Some(LibTorch {
        headers: there(&include, "include/torch/csrc/api/include/torch/version.h")
            || there(&include, "include/torch/csrc/api/include/torch/torch.h")
            || there(&include, "include/torch/headeronly/version.h"),
        version: version.map(|text| text.trim().to_owned()),
        header: header_version(host, &include),
        // The linker searches its own folders too.
        library: there(&lib, "lib/libtorch.so")
            || LINKER_FOLDERS.iter().any(|folder| host.is_file(format!("{folder}/libtorch.so"))),
        cuda: there(&lib, "lib/libtorch_cuda.so"),
        cxx11_abi: cxx11_abi(host, &folder),
        folder,
    })
}

/// The version that LibTorch's headers define: newer releases have it in `headeronly`.
fn header_version(host: &Host, folder: &str) -> Option<Reading<String>> {
    ["include/torch/headeronly/version.h", "include/torch/csrc/api/include/torch/version.h"].iter().find_map(|name| {
        let path = format!("{folder}/{name}");
        let text = head(host, &path)?;
        let (major, line) = define(&text, "TORCH_VERSION_MAJOR")?;
        let (minor, _) = define(&text, "TORCH_VERSION_MINOR")?;
        let (third, _) = define(&text, "TORCH_VERSION_PATCH")?;
        let value = format!("{major}.{minor}.{third}");
        let evidence = Evidence::file(path, format!("TORCH_VERSION_MAJOR {major}, MINOR {minor}, PATCH {third}"));
        Some(Reading { evidence: evidence.line(line), value })
    })
}

/// The C++ ABI that LibTorch's `CMake` files ask of who compiles against it.
fn cxx11_abi(host: &Host, folder: &str) -> Option<Reading<String>> {
    let path = format!("{folder}/share/cmake/Torch/TorchConfig.cmake");
    let text = head(host, &path)?;
    let at = text.find("-D_GLIBCXX_USE_CXX11_ABI=")?;
    let value = text.get(at..)?.split_once('=')?.1.chars().next()?.to_string();
    let evidence = Evidence::file(path, format!("-D_GLIBCXX_USE_CXX11_ABI={value}")).line(line_of(&text, at));
    matches!(value.as_str(), "0" | "1").then_some(Reading { value, evidence })
}

/// The folders of ONNX Runtime that variables name, in the order in which ort-sys reads them.
pub(super) fn onnxruntime(host: &Host, value: impl Fn(&str) -> Option<String>) -> Vec<OnnxRuntime> {
    let named = ["ORT_LIB_PATH", "ORT_LIB_LOCATION"].into_iter().filter_map(|name| Some((name, value(name)?)));
    named
        .map(|(variable, folder)| {
            let absolute = folder.starts_with('/');
            let mut libraries = Vec::new();
            for inside in ["", "lib", "onnxruntime", "Release", "RelWithDebInfo", "MinSizeRel", "Debug"] {
                let path = Path::new(&folder).join(inside);
                let library = |name: &String| absolute && name.starts_with("libonnxruntime");
                let found = host.names(&path).into_iter().filter(library);
                libraries.extend(found.map(|name| Path::new(inside).join(name).to_string_lossy().into_owned()));
            }
            libraries.truncate(MOST);
            let inside = ["lib", "Release", "Debug"].iter();
            let folders = inside.filter(|it| absolute && host.is_dir(format!("{folder}/{it}")));
            let folders = folders.map(|it| (*it).to_owned()).collect();
            let there = absolute && host.is_dir(&folder);
            OnnxRuntime { variable: variable.to_owned(), there, folders, libraries, folder }
        })
        .collect()
}

/// Archives of TensorFlow's C library in the folder in which tensorflow-sys keeps them.
pub(super) fn tensorflow_archives(host: &Host, folder: Option<String>) -> Vec<String> {
    let Some(folder) = folder.filter(|it| it.starts_with('/')) else { return Vec::new() };
    let archive = |name: &String| name.starts_with("libtensorflow-") && name.ends_with(".tar.gz");
    let names = host.names(&folder).into_iter().filter(archive).take(MOST);
    names.filter(|name| host.is_file(Path::new(&folder).join(name))).collect()
}

/// What `pkg-config` would find of the packages for which build scripts ask it.
pub(super) fn packages(host: &Host, value: impl Fn(&str) -> Option<String>) -> BTreeMap<String, PkgConfigFile> {
    let named = value("PKG_CONFIG_PATH").unwrap_or_default();
    let own = value("PKG_CONFIG_LIBDIR").unwrap_or_else(|| PKG_CONFIG_FOLDERS.join(":"));
    let folders: Vec<&str> = named.split(':').chain(own.split(':')).filter(|it| it.starts_with('/')).collect();
    let mut found = BTreeMap::new();
    for name in PACKAGES {
        let read = folders.iter().find_map(|folder| {
            let path = format!("{}/{name}.pc", folder.trim_end_matches('/'));
            Some((head(host, &path)?, path))
        });
        if let Some((text, path)) = read {
            found.insert((*name).to_owned(), described(host, &text, path));
        }
    }
    found
}

/// One `.pc` file.
fn described(host: &Host, text: &str, path: String) -> PkgConfigFile {
    let folder = path.rsplit_once('/').map_or("/", |(folder, _)| folder);
    let mut variables = BTreeMap::from([("pcfiledir".to_owned(), folder.to_owned())]);
    let mut found = PkgConfigFile::default();
    let (mut folders, mut names): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        let Some(at) = line.find([':', '=']) else { continue };
        let (key, rest) = line.split_at(at);
        let Some(said) = expanded(&rest[1..], &variables) else {
            found.open = Some(format!("the variables of {path}"));
            continue;
        };
        if rest.starts_with('=') {
            variables.insert(key.trim().to_owned(), said);
            continue;
        }
        match key.trim() {
            "Version" => found.version = Some(said),
            "Requires" | "Requires.private" if !said.is_empty() => {
                found.open = Some(format!("whether {said} is here, which {path} requires"));
            }
            "Libs" if said.contains(['"', '\'', '\\']) => found.open = Some(format!("what {path} quotes")),
            "Libs" => {
                let mut words = said.split_whitespace();
                while let Some(word) = words.next() {
                    let (list, rest) = match (word.strip_prefix("-L"), word.strip_prefix("-l")) {
                        (Some(rest), _) => (&mut folders, rest),
                        (_, Some(rest)) => (&mut names, rest),
                        _ => continue,
                    };
                    let rest = if rest.is_empty() { words.next().unwrap_or_default() } else { rest };
                    list.push(rest.to_owned());
                }
            }
            _ => {}
        }
    }
    names.truncate(MOST);
    folders.truncate(MOST);
    folders.extend(LINKER_FOLDERS.iter().map(|folder| (*folder).to_owned()));
    let is_there = |name: &str| {
        if let Some(file) = name.strip_prefix(':') {
            return folders.iter().any(|it| host.is_file(format!("{it}/{file}")));
        }
        folders.iter().any(|it| ["so", "a"].iter().any(|kind| host.is_file(format!("{it}/lib{name}.{kind}"))))
    };
    found.missing = names.into_iter().filter(|name| !TOOLCHAIN.contains(&name.as_str()) && !is_there(name)).collect();
    found.path = path;
    found
}

/// Text with the variables of a `.pc` file put in; `None` where one is not known, or they do not end.
fn expanded(text: &str, variables: &BTreeMap<String, String>) -> Option<String> {
    let mut text = text.trim().to_owned();
    for _ in 0..DEPTH {
        let Some(at) = text.find("${") else { return Some(text) };
        let end = at + text.get(at..)?.find('}')?;
        let value = variables.get(text.get(at + 2..end)?)?.clone();
        text.replace_range(at..=end, &value);
        if text.len() > LONGEST {
            return None;
        }
    }
    None
}

/// The first part of a file, as text.
pub(super) fn head(host: &Host, path: &str) -> Option<String> {
    host.read_head(path, LIMIT).ok().map(|it| String::from_utf8_lossy(&it).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn host(files: &[(&str, &str)]) -> (tempfile::TempDir, Host) {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let host = Host::rooted(folder.path(), BTreeMap::new()).unwrap();
        (folder, host)
    }

    fn pc(text: &str, files: &[(&str, &str)]) -> PkgConfigFile {
        let (_folder, host) = host(files);
        described(&host, text, "/opt/tf/lib/pkgconfig/tensorflow.pc".to_owned())
    }

    #[test]
    fn a_package_names_libraries_that_are_there_or_not() {
        let text = "prefix=${pcfiledir}/../..\nlibdir = ${prefix}/lib\n\nVersion: 2.13.0 # not newer\n\
                    Libs: -L${libdir} -ltensorflow -l tensorflow_framework -lm\n";
        let there = [("opt/tf/lib/libtensorflow.so", ""), ("opt/tf/lib/pkgconfig/tensorflow.pc", "")];
        let found = pc(text, &there);
        assert_eq!(found.version.as_deref(), Some("2.13.0"));
        assert_eq!(found.missing, ["tensorflow_framework"]);
        assert_eq!(found.open, None);
        assert!(pc("Libs: -L${nowhere}/lib -ltensorflow\n", &there).open.is_some());
        assert!(pc("Requires: zlib >= 1.2\n", &there).open.unwrap().contains("zlib"));
        assert!(pc("a=${a}\nLibs: ${a}\n", &there).open.is_some());
        assert!(pc("Libs: '-L/opt/with blank' -lx\n", &there).open.is_some());
    }

    #[test]
    fn libtorch_of_a_wheel_has_no_build_version_and_tells_its_abi() {
        let version = "#define TORCH_VERSION_MAJOR 2\n#define TORCH_VERSION_MINOR 4\n#define TORCH_VERSION_PATCH 0\n";
        let (_folder, host) = host(&[
            ("t/include/torch/csrc/api/include/torch/version.h", version),
            ("t/lib/libtorch.so", ""),
            ("t/share/cmake/Torch/TorchConfig.cmake", "if(x)\n  set(TORCH_CXX_FLAGS \"-D_GLIBCXX_USE_CXX11_ABI=0\")\n"),
        ]);
        let at = |folder: &'static str| {
            libtorch(&host, move |name| (name == "LIBTORCH").then(|| folder.to_owned())).unwrap()
        };
        let found = at("/t");
        assert!(found.headers && found.library && !found.cuda && found.version.is_none());
        assert_eq!(found.header.unwrap().value, "2.4.0");
        let abi = found.cxx11_abi.unwrap();
        assert_eq!((abi.value.as_str(), abi.evidence.line), ("0", Some(2)));
        assert!(!at("t").headers, "a relative folder is not where the build script runs");
        assert!(libtorch(&host, |_| None).is_none());
    }

    proptest! {
        #[test]
        fn pc_files_never_panic(text in "([ -~]{0,20}(\\$\\{[a-z]{0,3}\\}?|=|:|\n|é)){0,40}") {
            let _ = pc(&text, &[]);
        }
    }
}
