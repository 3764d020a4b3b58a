//! Turns what a wheel says into the figures of a row; asks for single files of wheels, and compares nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::str::FromStr as _;

use object::LittleEndian;
use object::read::elf::{Dyn as _, FileHeader as _};
use pep440_rs::{Version, VersionSpecifiers};

use super::http::Http;
use super::index::{File, IndexError};
use super::wheel::{Archive, Bytes, Hints, Remote, WheelError, WheelName, check_hash};
use crate::db::{Day, KerasRow, TensorflowRow};
use crate::facts::HostLimits;
use crate::probe::python::{head, normalise, parse_build, parse_requirement};
use crate::probe::toolkit::{comparisons, parse_host_config};
use crate::sort::Sorted as _;
use crate::version::Dotted;

/// Texts in wheels are read up to this many bytes.
const TEXT_LIMIT: u64 = 4 << 20;
/// What a wheel of TensorFlow was built for.
pub const BUILD_INFO: &str = "tensorflow/python/platform/build_info.py";
/// The backends of Keras 3.
pub const BACKENDS: &str = "keras/src/backend/__init__.py";

/// Why nothing could be derived.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeriveError {
    /// The archive or the network.
    #[error(transparent)]
    Wheel(#[from] WheelError),
    /// A page of the index.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A file in the wheel.
    #[error("{0}: {1}")]
    Text(String, String),
}

/// A release of a project: its files.
#[derive(Clone, Debug, Default)]
pub struct Release {
    /// Wheels with what their names say.
    pub wheels: Vec<(File, WheelName)>,
    /// Whether there is a source archive.
    pub source: bool,
    /// Whether all files were taken back.
    pub yanked: bool,
}

impl Release {
    /// The platforms that it has wheels for.
    pub fn platforms(&self) -> BTreeSet<&'static str> {
        self.wheels.iter().flat_map(|(_, name)| name.platforms()).sorted_set()
    }

    /// The wheels for a platform, the one for the newest Python first.
    pub fn wheels_for(&self, platform: &str) -> Vec<&(File, WheelName)> {
        let mut wheels: Vec<_> = self.wheels.iter().filter(|(_, name)| name.platforms().contains(&platform)).collect();
        crate::sort::by_key(&mut wheels, |(file, name)| {
            let threaded = name.abis.iter().any(|abi| abi.starts_with("cp") && abi.ends_with('t'));
            (threaded, std::cmp::Reverse(name.minors()), file.name.clone())
        });
        wheels
    }

    /// The minors of Python that have wheels on a platform.
    pub fn minors(&self, platform: &str) -> BTreeSet<(u32, u32)> {
        self.wheels_for(platform).into_iter().flat_map(|(_, name)| name.minors()).sorted_set()
    }
}

/// The files of a project by release; what has no version that can be read is left out.
pub fn releases(files: Vec<File>) -> BTreeMap<Version, Release> {
    let mut releases: BTreeMap<Version, Release> = BTreeMap::new();
    let mut kept: BTreeMap<Version, bool> = BTreeMap::new();
    for file in files {
        let wheel = WheelName::parse(&file.name);
        let version = match &wheel {
            Some(name) => Version::from_str(&name.version).ok(),
            None => source_version(&file.name),
        };
        let Some(version) = version else { continue };
        *kept.entry(version.clone()).or_default() |= !file.yanked;
        let release = releases.entry(version).or_default();
        match wheel {
            Some(name) => release.wheels.push((file, name)),
            None => release.source = true,
        }
    }
    for (version, release) in &mut releases {
        release.yanked = kept.get(version) == Some(&false);
    }
    releases
}

/// The version in the name of a source archive.
fn source_version(name: &str) -> Option<Version> {
    let stem = [".tar.gz", ".zip", ".tar.bz2"].iter().find_map(|end| name.strip_suffix(end))?;
    Version::from_str(stem.rsplit_once('-')?.1).ok()
}

/// `>=3.9,<3.13` from the minors that have wheels; gaps are left out by name.
pub fn python_requirement(minors: &BTreeSet<(u32, u32)>) -> Option<String> {
    let (first, last) = (minors.first()?, minors.last()?);
    let mut text = format!(">={}.{},<{}.{}", first.0, first.1, last.0, last.1 + 1);
    // Between Python 2.7 and 3.x nothing is a gap but the 3.x that have no wheel.
    let from = if first.0 == last.0 { first.1 } else { 0 };
    for minor in from..last.1 {
        if !minors.contains(&(last.0, minor)) {
            let _ = write!(text, ",!={}.{minor}.*", last.0);
        }
    }
    Some(text)
}

/// The minors of Python that a requirement lets in, of those that ever were and some to come.
pub fn python_minors(requirement: &str) -> Option<BTreeSet<(u32, u32)>> {
    let specifiers = VersionSpecifiers::from_str(requirement).ok()?;
    let known = [(2, 7)].into_iter().chain((3..30).map(|minor| (3, minor)));
    Some(
        known
            .filter(|&(major, minor)| specifiers.contains(&Version::new([major, minor, 99].map(u64::from))))
            .sorted_set(),
    )
}

/// The parts of a requirement, in no order and without blanks.
pub fn parts(requirement: &str) -> BTreeSet<String> {
    requirement
        .split(',')
        .map(|part| part.chars().filter(|c| !c.is_whitespace()).collect::<String>())
        .filter(|part| !part.is_empty())
        .sorted_set()
}

/// What METADATA says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Requires-Python.
    pub python: Option<String>,
    /// The requirement on keras.
    pub keras: Option<String>,
    /// The requirement on tensorflow.
    pub tensorflow: Option<String>,
    /// What `and-cuda` asks for.
    pub and_cuda: BTreeMap<String, String>,
    /// Whether another distribution has the code: this one only requires it.
    pub requires_twin: bool,
}

/// Reads METADATA.
pub fn metadata(text: &str) -> Metadata {
    let head = head(text);
    let mut found = Metadata { python: head.requires_python, ..Metadata::default() };
    for (_, line) in head.requires {
        let Some(parsed) = parse_requirement(&line) else { continue };
        let specifier = || Some(parsed.specifier.clone()).filter(|text| !text.is_empty());
        match (parsed.extra().as_deref(), parsed.name.as_str()) {
            (Some("and-cuda"), _) => drop(found.and_cuda.insert(parsed.name.clone(), parsed.specifier.clone())),
            (None, "keras") if found.keras.is_none() => found.keras = specifier(),
            (None, "tensorflow") if found.tensorflow.is_none() => found.tensorflow = specifier(),
            (None, "tensorflow-intel" | "tensorflow-cpu-aws" | "tensorflow-macos") => found.requires_twin = true,
            _ => {}
        }
    }
    found
}

/// What a wheel was built for, as far as its texts say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Built {
    /// Whether it was built with CUDA.
    pub cuda_build: bool,
    /// The CUDA.
    pub cuda: Option<Dotted>,
    /// The cuDNN.
    pub cudnn: Option<Dotted>,
    /// What it has code for.
    pub compute: Vec<String>,
}

/// Reads `build_info.py`.
pub fn built(text: &str) -> Option<Built> {
    let (info, _) = parse_build(text)?;
    Some(Built {
        cuda_build: info.cuda_build,
        cuda: info.cuda.as_deref().and_then(cuda_version),
        cudnn: info.cudnn.as_deref().and_then(cuda_version),
        compute: info.compute,
    })
}

/// `12.5.1` as it stands; of Windows' DLL suffixes `64_112` is 11.2 and `64_8` is 8.
fn cuda_version(text: &str) -> Option<Dotted> {
    let Some(digits) = text.strip_prefix("64_") else { return text.parse().ok() };
    match digits.len() {
        1 => digits.parse().ok(),
        2.. => {
            digits.split_at_checked(digits.len() - 1).and_then(|(major, minor)| format!("{major}.{minor}").parse().ok())
        }
        0 => None,
    }
}

/// The lowest version that a requirement lets in: that of `==` or `>=`.
pub fn lower_bound(requirement: &str) -> Option<Dotted> {
    parts(requirement).iter().find_map(|part| part.strip_prefix("==").or_else(|| part.strip_prefix(">="))?.parse().ok())
}

/// The cuDNN that `and-cuda` asks for, without the number of its build.
pub fn wanted_cudnn(and_cuda: &BTreeMap<String, String>) -> Option<Dotted> {
    let (_, requirement) = and_cuda.iter().find(|(name, _)| name.starts_with("nvidia-cudnn-cu"))?;
    lower_bound(requirement).map(|version| version.prefix(3))
}

/// All that the texts of one TensorFlow wheel say.
#[derive(Clone, Debug, Default)]
pub struct TensorflowWheel {
    /// METADATA.
    pub metadata: Metadata,
    /// `build_info.py`; none where the wheel has none.
    pub built: Option<Built>,
}

fn text(bytes: Vec<u8>, at: &str) -> Result<String, DeriveError> {
    String::from_utf8(bytes).map_err(|_| DeriveError::Text(at.to_owned(), "not UTF-8".to_owned()))
}

/// Opens a wheel on the server.
pub fn open<'h>(http: &'h Http, file: &File) -> Result<Archive<Remote<'h>>, DeriveError> {
    Ok(Archive::open(Remote { http, url: file.url.clone(), sha256: file.sha256.clone() })?)
}

/// METADATA: the file beside the wheel where the index offers one, else the one in the wheel.
fn read_metadata<'h>(
    http: &'h Http,
    file: &File,
    archive: &mut Option<Archive<Remote<'h>>>,
    hints: &Hints,
    hint: &str,
) -> Result<Metadata, DeriveError> {
    if let Some(hash) = &file.metadata {
        let mut url = file.url.clone();
        url.set_fragment(None);
        url.set_path(&format!("{}.metadata", file.url.path()));
        let page = http.page(&url, "*/*", TEXT_LIMIT).map_err(WheelError::from)?;
        if let Some(hash) = hash {
            check_hash(&page.bytes, hash, &url).map_err(WheelError::from)?;
        }
        return Ok(metadata(&text(page.bytes, &file.name)?));
    }
    if archive.is_none() {
        *archive = Some(open(http, file)?);
    }
    let Some(archive) = archive else { return Ok(Metadata::default()) };
    let folder: Vec<&str> = file.name.splitn(3, '-').take(2).collect();
    let path = format!("{}.dist-info/METADATA", folder.join("-"));
    let mut member = archive.member(&path, hints, &format!("{hint} METADATA"))?;
    if member.is_none() {
        // Old tools wrote the name of the folder in another way than that of the file.
        member = archive.find(|name| {
            name.split_once('/').is_some_and(|(folder, file)| folder.ends_with(".dist-info") && file == "METADATA")
        })?;
    }
    let Some(member) = member else {
        return Err(DeriveError::Text(file.name.clone(), "it has no METADATA".to_owned()));
    };
    Ok(metadata(&text(archive.contents(&member, TEXT_LIMIT)?, &file.name)?))
}

/// One text of a wheel; none where the wheel does not have it.
pub fn read_member<B: Bytes>(
    archive: &mut Archive<B>,
    path: &str,
    hints: &Hints,
    hint: &str,
) -> Result<Option<String>, DeriveError> {
    let Some(member) = archive.member(path, hints, hint)? else { return Ok(None) };
    text(archive.contents(&member, TEXT_LIMIT)?, path).map(Some)
}

/// Reads a wheel of TensorFlow.
pub fn tensorflow(http: &Http, file: &File, hints: &Hints, hint: &str) -> Result<TensorflowWheel, DeriveError> {
    let mut archive = Some(open(http, file)?);
    let metadata = read_metadata(http, file, &mut archive, hints, hint)?;
    let Some(archive) = &mut archive else { return Ok(TensorflowWheel { metadata, built: None }) };
    let mut source = read_member(archive, BUILD_INFO, hints, hint)?;
    if source.is_none() {
        // TensorFlow 1.15 and 2.0 keep the package itself under another name.
        source = read_member(
            archive,
            &BUILD_INFO.replacen("tensorflow/", "tensorflow_core/", 1),
            hints,
            &format!("{hint} core"),
        )?;
    }
    let built = source
        .map(|source| {
            built(&source)
                .ok_or_else(|| DeriveError::Text(file.name.clone(), format!("{BUILD_INFO} is not understood")))
        })
        .transpose()?;
    Ok(TensorflowWheel { metadata, built })
}

/// Reads a wheel of Keras: METADATA, and the backends where it names several.
pub fn keras(http: &Http, file: &File, hints: &Hints) -> Result<(Metadata, Vec<String>), DeriveError> {
    let mut archive = Some(open(http, file)?);
    let metadata = read_metadata(http, file, &mut archive, hints, "keras")?;
    let Some(archive) = &mut archive else { return Ok((metadata, Vec::new())) };
    let source = read_member(archive, BACKENDS, hints, "keras backends")?;
    Ok((metadata, source.map(|source| backends(&source)).unwrap_or_default()))
}

/// The names that the source compares the backend with.
fn backends(source: &str) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (at, call) in source.match_indices("backend() == \"") {
        let rest = source.get(at + call.len()..).unwrap_or_default();
        if let Some((name, _)) = rest.split_once('"')
            && !names.iter().any(|known| known == name)
        {
            names.push(name.to_owned());
        }
    }
    names
}

/// What `host_config.h` accepts, `_MSC_VER` included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Compilers {
    /// GCC and Clang.
    pub limits: HostLimits,
    /// The lowest `_MSC_VER`.
    pub msvc_min: Option<u32>,
    /// The first `_MSC_VER` that is refused.
    pub msvc_below: Option<u32>,
}

/// Reads `host_config.h`.
pub fn compilers(source: &str) -> Compilers {
    let mut found = Compilers { limits: parse_host_config(source), ..Compilers::default() };
    for line in source.lines() {
        let condition: String = line.split_whitespace().collect();
        if !condition.starts_with("#if") && !condition.starts_with("#elif") {
            continue;
        }
        // The refusing condition names both ends; others tell versions of the compiler apart.
        let both: Vec<_> = comparisons(&condition, "_MSC_VER").collect();
        if let [("<", low), (">=", high)] | [(">=", high), ("<", low)] = both.as_slice()
            && low < high
            && condition.contains("||")
        {
            (found.msvc_min, found.msvc_below) = (Some(*low), Some(*high));
        }
    }
    found
}

/// The name under which a shared library wants to be found.
pub fn soname(bytes: &[u8]) -> Option<String> {
    let header = object::elf::FileHeader64::<LittleEndian>::parse(bytes).ok()?;
    let endian = header.endian().ok()?;
    let sections = header.sections(endian, bytes).ok()?;
    let (dynamic, link) = sections.dynamic(endian, bytes).ok()??;
    let strings = sections.strings(endian, bytes, link).ok()?;
    let entry = dynamic.iter().find(|entry| entry.tag32(endian) == i32::try_from(object::elf::DT_SONAME.0).ok())?;
    Some(String::from_utf8_lossy(entry.string(endian, strings).ok()?).into_owned())
}

/// The row of a TensorFlow wheel. `older` is the nearest older row of the package and platform.
pub fn tensorflow_row(
    package: &str,
    platform: &str,
    version: &Version,
    release: &Release,
    wheel: &TensorflowWheel,
    older: Option<&TensorflowRow>,
    today: &Day,
) -> TensorflowRow {
    let built = wheel.built.clone().unwrap_or_default();
    let cuda_build = built.cuda_build;
    let metadata = &wheel.metadata;
    let and_cuda = if cuda_build { metadata.and_cuda.clone() } else { BTreeMap::new() };
    // What is opened is stated nowhere. A build for the same CUDA and cuDNN that asks for the same packages
    // opens the same libraries; of any other build the list stays empty, and nothing is claimed.
    let alike = older.filter(|older| {
        let major = |version: Option<&Dotted>| version.map(Dotted::major);
        cuda_build
            && older.cuda_build
            && major(older.cuda.as_ref()) == major(built.cuda.as_ref())
            && major(older.cudnn.as_ref()) == major(built.cudnn.as_ref())
            && older.and_cuda.keys().eq(and_cuda.keys())
    });
    let mut note = vec!["derived from the wheel".to_owned()];
    if let Some(older) = alike {
        note.push(format!("libraries: as those of {}", older.version));
    }
    let file = if wheel.built.is_some() { BUILD_INFO } else { "METADATA" };
    let source = |file: &str| format!("pkg:pypi/{package}@{version}#{file}");
    TensorflowRow {
        package: package.to_owned(),
        platform: platform.to_owned(),
        version: version.clone(),
        python: python_requirement(&release.minors(platform)).or_else(|| metadata.python.clone()),
        cuda_build,
        cuda: built.cuda.filter(|_| cuda_build),
        cudnn: wanted_cudnn(&and_cuda).or(built.cudnn).filter(|_| cuda_build),
        compute: if cuda_build { built.compute } else { Vec::new() },
        keras: metadata.keras.clone(),
        libraries: alike.map(|older| older.libraries.clone()).unwrap_or_default(),
        and_cuda,
        // That it fails was measured; no package states it.
        and_cuda_fails: BTreeMap::new(),
        source: source(file),
        also: if file == "METADATA" { Vec::new() } else { vec![source("METADATA")] },
        checked: today.clone(),
        derived: true,
        note: Some(note.join("; ")),
    }
}

/// The row of a Keras wheel.
pub fn keras_row(
    package: &str,
    version: &Version,
    metadata: &Metadata,
    backends: Vec<String>,
    today: &Day,
) -> KerasRow {
    KerasRow {
        package: package.to_owned(),
        version: version.clone(),
        python: metadata.python.clone(),
        tensorflow: metadata.tensorflow.clone(),
        backends,
        source: format!("pkg:pypi/{package}@{version}#METADATA"),
        also: Vec::new(),
        checked: today.clone(),
        derived: true,
        note: Some("derived from the wheel".to_owned()),
    }
}

/// Whether two names are the same project.
pub fn same_project(a: &str, b: &str) -> bool {
    normalise(a) == normalise(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pythons_from_tags_and_back() {
        let of = |minors: &[(u32, u32)]| python_requirement(&minors.iter().copied().collect()).unwrap();
        assert_eq!(of(&[(3, 9), (3, 10), (3, 12)]), ">=3.9,<3.13,!=3.11.*");
        assert_eq!(of(&[(3, 13)]), ">=3.13,<3.14");
        assert_eq!(of(&[(2, 7), (3, 5), (3, 6)]), ">=2.7,<3.7,!=3.0.*,!=3.1.*,!=3.2.*,!=3.3.*,!=3.4.*");
        assert_eq!(python_minors(&of(&[(2, 7), (3, 5), (3, 6)])).unwrap(), [(2, 7), (3, 5), (3, 6)].into());
        assert_eq!(python_requirement(&BTreeSet::new()), None);
    }

    #[test]
    fn what_metadata_says() {
        let text = "Metadata-Version: 2.1\nName: tensorflow\nVersion: 2.20.0\nRequires-Python: >=3.9\n\
                    Requires-Dist: keras (<2.15,>=2.14.0)\nRequires-Dist: nvidia-cudnn-cu12 (==8.9.4.25) ; extra == 'and-cuda'\n\
                    Requires-Dist: tensorflow-macos (==2.14.0) ; platform_system == \"Darwin\"\n\nkeras is here\n";
        let found = metadata(text);
        assert_eq!(found.keras.as_deref(), Some("<2.15,>=2.14.0"));
        assert_eq!(found.python.as_deref(), Some(">=3.9"));
        assert_eq!(wanted_cudnn(&found.and_cuda).unwrap().as_str(), "8.9.4");
        assert!(found.requires_twin);
    }

    #[test]
    fn what_builds_say_on_all_platforms() {
        let windows =
            built("build_info = {'cuda_version': '64_112', 'cudnn_version': '64_8', 'is_cuda_build': True}").unwrap();
        assert_eq!((windows.cuda.unwrap().as_str(), windows.cudnn.unwrap().as_str()), ("11.2", "8"));
        let linux =
            built("build_info = {'cuda_version': '12.5.1', 'cudnn_version': '9', 'is_cuda_build': True}").unwrap();
        assert_eq!(linux.cuda.unwrap().as_str(), "12.5.1");
        assert_eq!(built("nothing = 1"), None);
    }

    #[test]
    fn backends_in_their_order() {
        let source = "if backend() == \"tensorflow\":\n    pass\nelif backend() == \"jax\":\n    pass\nif backend() == \"jax\": pass\n";
        assert_eq!(backends(source), ["tensorflow", "jax"]);
    }

    #[test]
    fn compilers_of_windows_too() {
        let text = "#if defined(_MSC_VER)\n#if _MSC_VER < 1910 || _MSC_VER >= 1940\n#error -- unsupported\n#elif _MSC_VER >= 1910 && _MSC_VER < 1920\n#endif\n#endif\n\
                    #if __GNUC__ > 13\n#error no\n#endif\n";
        let found = compilers(text);
        assert_eq!((found.msvc_min, found.msvc_below, found.limits.gcc_max), (Some(1910), Some(1940), Some(13)));
    }

    #[test]
    fn releases_are_sorted_out_of_file_names() {
        let url = reqwest::Url::parse("https://x.example/f").unwrap();
        let file = |name: &str, yanked| File {
            name: name.to_owned(),
            url: url.clone(),
            sha256: None,
            requires_python: None,
            yanked,
            metadata: None,
        };
        let releases = releases(vec![
            file("tensorflow-2.0.0-cp37-cp37m-manylinux2010_x86_64.whl", false),
            file("tensorflow-2.0.0-cp27-cp27mu-manylinux2010_x86_64.whl", true),
            file("tensorflow_gpu-2.12.0.tar.gz", true),
            file("readme.txt", false),
        ]);
        let versions: Vec<String> = releases.keys().map(ToString::to_string).collect();
        assert_eq!(versions, ["2.0.0", "2.12.0"]);
        let (first, last) = (&releases[&"2.0.0".parse().unwrap()], &releases[&"2.12.0".parse().unwrap()]);
        assert_eq!(first.minors("linux-x86_64"), [(2, 7), (3, 7)].into());
        assert!(first.wheels_for("linux-x86_64")[0].0.name.contains("cp37"));
        assert!(!first.yanked && last.yanked && last.source);
    }
}
