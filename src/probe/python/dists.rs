//! Lists installed distributions and reads the metadata of those that matter; imports nothing.

use std::collections::HashMap;

use super::deep::Package;
use super::folders::Folders;
use super::layout::{Layout, join};
use super::requirement::{self, MarkerEnv, normalise};
use crate::facts::{Dist, PathOrigin, Requirement, SysPathEntry, Trouble};
use crate::host::{Host, Kind};

/// The head of METADATA ends long before this.
const HEAD: u64 = 256 << 10;
/// Small files beside METADATA.
const SMALL: u64 = 64 << 10;

/// Distributions that bring a `tensorflow` package.
pub(super) fn is_tensorflow(name: &str) -> bool {
    matches!(
        name,
        "tensorflow"
            | "tensorflow-cpu"
            | "tensorflow-gpu"
            | "tensorflow-intel"
            | "tensorflow-rocm"
            | "tensorflow-macos"
            | "tensorflow-cpu-aws"
            | "tensorflow-aarch64"
            | "intel-tensorflow"
            | "intel-tensorflow-avx512"
            | "tensorflow-base"
            | "tf-nightly"
            | "tf-nightly-cpu"
            | "tf-nightly-gpu"
    )
}

/// Distributions that bring a `keras` package.
pub(super) fn is_keras(name: &str) -> bool {
    matches!(name, "keras" | "keras-nightly")
}

fn matters(name: &str) -> bool {
    is_tensorflow(name)
        || is_keras(name)
        || name == "tensorflow-metal"
        || matches!(
            name,
            "tf-keras"
                | "tf-keras-nightly"
                | "keras-core"
                | "numpy"
                | "protobuf"
                | "jax"
                | "jaxlib"
                | "torch"
                | "pytorch"
                | "openvino"
                | "ml-dtypes"
                | "h5py"
                | "transformers"
                | "cudnn"
                | "libcudnn"
                | "cudatoolkit"
        )
        || is_jax_plugin(name)
        || name.starts_with("nvidia-")
        || name.starts_with("cuda-")
        || name.starts_with("tensorrt")
}

/// `jax-cuda12-plugin`, `jax-cuda13-pjrt`, ...
pub(super) fn is_jax_plugin(name: &str) -> bool {
    name.starts_with("jax-cuda") && (name.ends_with("-plugin") || name.ends_with("-pjrt"))
}

/// Whether the requirements of a distribution are kept.
fn requires_matter(name: &str) -> bool {
    is_tensorflow(name)
        || is_keras(name)
        || matches!(name, "tf-keras" | "tf-keras-nightly" | "torch")
        || (is_jax_plugin(name) && name.ends_with("-plugin"))
}

fn requirement_matters(name: &str) -> bool {
    matches!(name, "keras" | "keras-nightly" | "tf-keras" | "tf-keras-nightly" | "numpy" | "protobuf" | "ml-dtypes")
        || name.starts_with("tensorflow")
        || name.starts_with("nvidia-")
        || name.starts_with("tensorrt")
        || name == "cuda-toolkit"
        || is_jax_plugin(name)
        || is_tensorflow(name)
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) dists: Vec<Dist>,
    pub(super) count: u32,
    /// Those that do not matter: location and folder name, for `--deep`.
    pub(super) rest: Vec<(String, String)>,
    /// All requirements of TensorFlow and Keras.
    pub(super) requires: Vec<Requires>,
    pub(super) troubles: Vec<Trouble>,
}

/// The requirements of a distribution, as its METADATA states them.
#[derive(Debug)]
pub(super) struct Requires {
    /// The path of METADATA.
    pub(super) path: String,
    /// Its `Requires-Dist` lines with their numbers.
    pub(super) lines: Vec<(u32, String)>,
}

/// The head of a METADATA file.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Head {
    pub(crate) name: Option<String>,
    pub(crate) version: Option<String>,
    pub(crate) requires_python: Option<String>,
    /// `Requires-Dist` lines with their numbers.
    pub(crate) requires: Vec<(u32, String)>,
}

/// Reads the fields in front of the description.
pub(crate) fn head(text: &str) -> Head {
    let mut head = Head::default();
    for (number, line) in (1u32..).zip(text.lines()) {
        if line.is_empty() {
            break;
        }
        // A folded line continues the one before it; none of the fields read here is ever folded.
        if line.starts_with([' ', '\t']) {
            continue;
        }
        let Some((key, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        let slot = match key.trim().to_ascii_lowercase().as_str() {
            "name" => &mut head.name,
            "version" => &mut head.version,
            "requires-python" => &mut head.requires_python,
            "requires-dist" => {
                head.requires.push((number, value.to_owned()));
                continue;
            }
            _ => continue,
        };
        if slot.is_none() && value.len() <= 512 {
            *slot = Some(value.to_owned());
        }
    }
    head
}

/// Name and version of an egg by its own name, which its metadata folder does not bear.
fn from_egg(egg: &str, folder: &str) -> Option<(String, String)> {
    let stem = egg.rsplit('/').next()?.strip_suffix(".egg")?;
    folder.eq_ignore_ascii_case("EGG-INFO").then(|| from_folder(&format!("{stem}.egg-info")))?
}

/// Name and version in the name of a metadata folder or file.
pub(super) fn from_folder(name: &str) -> Option<(String, String)> {
    let stem = name.strip_suffix(".dist-info").or_else(|| name.strip_suffix(".egg-info"))?;
    if stem.starts_with('~') || stem.is_empty() {
        // What an interrupted pip leaves behind; Python's own tools pass it over.
        return None;
    }
    let (name, rest) = stem.split_once('-').unwrap_or((stem, ""));
    let version = rest.split("-py").next().unwrap_or(rest);
    (is_plain(name) && is_plain(version)).then(|| (normalise(name), version.to_owned()))
}

/// Whether a text has only the letters of names and versions: they stand in commands that a report proposes.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'+' | b'!' | b'*'))
}

/// Lists what is installed along `sys.path`.
pub(super) fn find(
    folders: &Folders<'_>,
    layout: &Layout,
    sys_path: &[SysPathEntry],
    markers: &MarkerEnv,
    deep: bool,
) -> Found {
    let mut found = Found::default();
    let mut seen: Vec<&str> = Vec::new();
    for entry in sys_path.iter().filter(|entry| entry.only.is_empty()) {
        if entry.origin == PathOrigin::Stdlib || seen.contains(&entry.path.as_str()) {
            continue;
        }
        seen.push(&entry.path);
        let Some(listing) = folders.list(&entry.path) else { continue };
        for item in listing.iter() {
            let Some((name, version)) = from_folder(&item.name).or_else(|| from_egg(&entry.path, &item.name)) else {
                continue;
            };
            found.count += 1;
            let path = join(&entry.path, &item.name);
            if !matters(&name) {
                if deep {
                    found.rest.push((entry.path.clone(), item.name.clone()));
                }
                continue;
            }
            let folder = item.kind == Kind::Folder || (item.kind == Kind::Link && folders.host.is_dir(&path));
            read(folders, &path, folder, &entry.path, (name, version), markers, &mut found);
        }
    }
    conda(folders.host, &layout.prefix, &mut found);
    found
}

/// The packages whose files are compared with `--deep`: all that come with a `.dist-info` folder, TensorFlow's first.
///
/// Nothing of them is read for that, so that the comparison can begin at once.
pub(super) fn packages(folders: &Folders<'_>, sys_path: &[SysPathEntry]) -> Vec<Package> {
    let mut packages: Vec<(bool, Package)> = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for entry in sys_path.iter().filter(|entry| entry.only.is_empty()) {
        if entry.origin == PathOrigin::Stdlib || seen.contains(&entry.path.as_str()) || folders.is_archived(&entry.path)
        {
            continue;
        }
        seen.push(&entry.path);
        for item in folders.list(&entry.path).iter().flat_map(|listing| listing.iter()) {
            let Some((name, _)) = from_folder(&item.name).filter(|_| item.name.ends_with(".dist-info")) else {
                continue;
            };
            let package = Package::new(&entry.path, &join(&entry.path, &item.name));
            packages.push((!(is_tensorflow(&name) || is_keras(&name)), package));
        }
    }
    crate::sort::by_key(&mut packages, |(later, _)| *later);
    packages.into_iter().map(|(_, package)| package).collect()
}

fn read(
    folders: &Folders<'_>,
    path: &str,
    folder: bool,
    location: &str,
    (name, version): (String, String),
    markers: &MarkerEnv,
    found: &mut Found,
) {
    let mut dist = Dist { name, version, metadata: path.to_owned(), location: location.to_owned(), ..Dist::default() };
    let file = if !folder {
        path.to_owned()
    } else if path.ends_with(".dist-info") {
        join(path, "METADATA")
    } else {
        join(path, "PKG-INFO")
    };
    match folders.read_head(&file, HEAD) {
        Ok(bytes) => {
            let head = head(&String::from_utf8_lossy(&bytes));
            if let Some(name) = head.name.filter(|name| is_plain(name)) {
                dist.name = normalise(&name);
            }
            if let Some(version) = head.version.filter(|version| is_plain(version)) {
                dist.version = version;
            }
            dist.requires_python = head.requires_python;
            if requires_matter(&dist.name) {
                dist.requires =
                    head.requires.iter().filter_map(|(line, text)| required(*line, text, markers)).collect();
            }
            if is_tensorflow(&dist.name) || is_keras(&dist.name) {
                found.requires.push(Requires { path: file, lines: head.requires });
            }
        }
        Err(error) => found.troubles.push(Trouble { at: file, why: error.why.to_string() }),
    }
    if folder && path.ends_with(".dist-info") {
        let small = |name: &str| {
            folders.read_head(&join(path, name), SMALL).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        };
        dist.installer = small("INSTALLER").map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        if is_tensorflow(&dist.name) || dist.name == "jaxlib" {
            dist.tags = small("WHEEL")
                .iter()
                .flat_map(|text| text.lines())
                .filter_map(|line| line.strip_prefix("Tag:").map(|tag| tag.trim().to_owned()))
                .take(64)
                .collect();
        }
        if folders.host.lstat(join(path, "direct_url.json")).is_ok() {
            dist.editable = small("direct_url.json").and_then(|text| editable(&text));
        }
    }
    found.dists.push(dist);
}

/// The project folder of an editable installation.
fn editable(text: &str) -> Option<String> {
    let json: serde_json::Value = serde_json::from_slice(text.as_bytes()).ok()?;
    if json.get("dir_info")?.get("editable")?.as_bool()? {
        let url = json.get("url")?.as_str()?;
        return Some(url.strip_prefix("file://").unwrap_or(url).to_owned());
    }
    None
}

/// Lines of requirements are kept up to this many characters.
const LONGEST_LINE: usize = 1000;

fn required(line: u32, text: &str, markers: &MarkerEnv) -> Option<Requirement> {
    let parsed = requirement::parse(text)?;
    if !requirement_matters(&parsed.name) {
        return None;
    }
    let extra = parsed.extra();
    let applies = parsed.applies(markers, extra.as_deref().unwrap_or(""));
    Some(Requirement {
        name: parsed.name,
        specifier: parsed.specifier,
        extra,
        applies,
        line,
        text: text.chars().take(LONGEST_LINE).collect(),
    })
}

/// Whether a requirement that was read earlier holds for another environment; `None` where its line was cut.
pub(super) fn applies(requirement: &Requirement, markers: &MarkerEnv) -> Option<bool> {
    if requirement.text.chars().count() >= LONGEST_LINE {
        return None;
    }
    let parsed = requirement::parse(&requirement.text)?;
    parsed.applies(markers, requirement.extra.as_deref().unwrap_or(""))
}

/// Adds what conda installed: its build strings, and the packages that only conda knows.
fn conda(host: &Host, prefix: &str, found: &mut Found) {
    let meta = join(prefix, "conda-meta");
    let mut known: HashMap<String, Vec<usize>> = HashMap::new();
    for (index, dist) in found.dists.iter().enumerate() {
        known.entry(dist.name.clone()).or_default().push(index);
    }
    for file in host.names(&meta) {
        // NAME-VERSION-BUILD.json; the name may hold dashes, the others do not.
        let Some(stem) = file.strip_suffix(".json") else { continue };
        let mut parts = stem.rsplitn(3, '-');
        let (Some(build), Some(version), Some(name)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let name = normalise(name);
        // conda names PyTorch's wheel-like package differently.
        let python_name = if name == "pytorch" { "torch" } else { &name };
        if let Some(indexes) = known.get(python_name) {
            for &index in indexes {
                if let Some(dist) = found.dists.get_mut(index).filter(|dist| dist.version == version) {
                    dist.conda_build = Some(build.to_owned());
                }
            }
            continue;
        }
        found.count += 1;
        if matters(&name) {
            found.dists.push(Dist {
                name,
                version: version.to_owned(),
                metadata: join(&meta, &file),
                location: meta.clone(),
                installer: Some("conda".to_owned()),
                conda_build: Some(build.to_owned()),
                ..Dist::default()
            });
        }
    }
}

/// The CUDA generation that a TensorFlow asks for in its extra: 12 from `nvidia-cublas-cu12`.
pub(super) fn requirement_generation(dist: &Dist) -> Option<u32> {
    dist.requires.iter().find_map(|required| {
        let (base, digits) = required.name.rsplit_once("-cu")?;
        base.starts_with("nvidia-").then(|| digits.parse().ok())?
    })
}

/// The first distribution of a name, in import order.
pub(super) fn by_name<'d>(dists: &'d [Dist], name: &str) -> Option<(usize, &'d Dist)> {
    dists.iter().enumerate().find(|(_, dist)| dist.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_head_ends_at_the_description() {
        let head = head(
            "Metadata-Version: 2.4\nName: A.b\nVersion: 1.0\nRequires-Python: >=3.10\nRequires-Dist: x>1\n folded: y\n\nName: no\nRequires-Dist: z\n",
        );
        assert_eq!(head.name.as_deref(), Some("A.b"));
        assert_eq!(head.requires_python.as_deref(), Some(">=3.10"));
        assert_eq!(head.requires, [(5, "x>1".to_owned())]);
    }

    #[test]
    fn folder_names() {
        let pair = |a: &str, b: &str| Some((a.to_owned(), b.to_owned()));
        assert_eq!(from_folder("nvidia_cudnn_cu12-9.1.0.70.dist-info"), pair("nvidia-cudnn-cu12", "9.1.0.70"));
        assert_eq!(from_folder("Foo-1.0-py3.8.egg-info"), pair("foo", "1.0"));
        assert_eq!(from_folder("project.egg-info"), pair("project", ""));
        assert_eq!(from_folder("~ensorflow-2.1.dist-info"), None);
        assert_eq!(from_folder("tensorflow"), None);
        assert_eq!(from_folder("nvidia_$(reboot)-1.dist-info"), None);
        assert_eq!(from_folder("keras-1;reboot.dist-info"), None);
    }

    #[test]
    fn editable_projects() {
        assert_eq!(editable(r#"{"url":"file:///src/k","dir_info":{"editable":true}}"#).as_deref(), Some("/src/k"));
        assert_eq!(editable(r#"{"url":"https://x/y.whl","archive_info":{}}"#), None);
        assert_eq!(editable("{"), None);
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,200}", lines in "[A-Za-z:\\- \\n;'()<>=0-9.]{0,300}") {
            let _ = (head(&text), head(&lines), editable(&text), from_folder(&text));
            let _ = required(1, &lines, &MarkerEnv::default());
        }
    }
}
