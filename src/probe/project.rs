//! The Cargo project around the working folder: from its manifest and lock file, and from `cargo metadata` where a
//! crate of CUDA's is in that lock file and programs may be run.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use crate::facts::{Evidence, LockedCrate, Project};
use crate::host::{Host, HostError};
use crate::options::Options;

#[cfg(feature = "cli")]
mod graph;
mod manifest;
#[cfg(feature = "cli")]
mod metadata;
mod native;
mod places;

/// Crates that deal with CUDA, `TensorFlow` or `LibTorch`, for callers without a longer list.
pub const CUDA_CRATES: &[&str] = &[
    "bindgen_cuda",
    "burn-cuda",
    "candle-core",
    "candle-flash-attn",
    "candle-kernels",
    "cubecl-cuda",
    "cuda-config",
    "cuda-driver-sys",
    "cuda-sys",
    "cudaforge",
    "cudarc",
    "cust",
    "cust_raw",
    "find_cuda_helper",
    "nvml-wrapper",
    "ort",
    "ort-sys",
    "rustacuda",
    "tch",
    "tensorflow",
    "tensorflow-sys",
    "torch-sys",
];

/// Lock files are read up to this many bytes; the largest known have two.
const LOCK_LIMIT: u64 = 32 << 20;

/// The part of a lock file that is read.
#[derive(Deserialize)]
struct Lock {
    #[serde(default)]
    package: Vec<Package>,
}

/// A package of a lock file.
#[derive(Deserialize)]
struct Package {
    name: Spanned<String>,
    version: Option<String>,
    #[serde(default)]
    dependencies: Vec<String>,
}

/// The part of a manifest that is read.
#[derive(Default, Deserialize)]
struct Manifest {
    workspace: Option<Workspace>,
    package: Option<ManifestPackage>,
    #[serde(default)]
    dependencies: toml::Table,
    #[serde(default, rename = "build-dependencies")]
    build_dependencies: toml::Table,
    #[serde(default)]
    target: toml::Table,
}

impl Manifest {
    /// Whether it may ask for other packages.
    fn asks_for_others(&self) -> bool {
        self.workspace.is_some()
            || [&self.dependencies, &self.build_dependencies, &self.target].iter().any(|table| !table.is_empty())
    }
}

/// The part of a workspace that is read.
#[derive(Default, Deserialize)]
struct Workspace {
    #[serde(default)]
    exclude: Vec<String>,
}

/// The part of a package that is read.
#[derive(Deserialize)]
struct ManifestPackage {
    workspace: Option<String>,
}

/// Reads the project of `--manifest-path`, else the nearest one upwards of the working folder.
///
/// `names` are the crates that are looked for in its lock file.
pub fn probe(host: &Host, options: &Options, names: &[&str]) -> Option<Project> {
    let manifest = match &options.manifest {
        Some(given) => {
            let path = host.absolute(given);
            if host.is_dir(&path) { path.join("Cargo.toml") } else { path }
        }
        None => host.cwd().ancestors().map(|folder| folder.join("Cargo.toml")).find(|path| host.is_file(path))?,
    };
    let mut found = Project { manifest: text(&manifest), ..Project::default() };
    let content = match read_manifest(host, &manifest) {
        Ok(content) => content,
        Err(why) => {
            found.trouble = Some(why);
            return Some(found);
        }
    };
    let root = workspace_root(host, &manifest, &content);
    let lock = root.join("Cargo.lock");
    let path = text(&lock);
    let ask = || ask(host, &manifest, options, names, &path);
    let (read, asked, build) = std::thread::scope(|scope| {
        let content = lock_text(host, &lock);
        // Cargo takes longer than all the rest, so that it starts as soon as it is likely to be wanted.
        let likely = content.as_ref().is_ok_and(|content| mentions(content, names));
        let asking = likely.then(|| std::thread::Builder::new().spawn_scoped(scope, ask).ok()).flatten();
        let read = content.and_then(|content| {
            parse_lock(&content, &path, names).map_err(|why| LockError::Parse { path: path.clone(), why })
        });
        let build = read
            .as_ref()
            .is_ok_and(|crates| !crates.is_empty())
            .then(|| places::probe(host, options.target.as_deref()));
        let asked = asking.and_then(|asking| asking.join().ok());
        (read, asked, build)
    });
    match read {
        Ok(crates) => {
            found.lock = Some(text(&lock));
            found.crates = crates;
            if !found.crates.is_empty() {
                let asked = asked.unwrap_or_else(&ask);
                resolve(host, &manifest, options, asked, &mut found);
                found.build = build.filter(|_| !found.crates.is_empty());
            }
        }
        Err(LockError::Read(error)) if error.is_absent() => {
            let why = || format!("there is no {path}: `cargo generate-lockfile` writes one");
            found.trouble = content.asks_for_others().then(why);
        }
        Err(error) => {
            found.lock = Some(text(&lock));
            found.trouble = Some(error.to_string());
        }
    }
    Some(found)
}

/// What Cargo's own resolution of the graph tells.
struct Resolved {
    /// The crates that were asked for, as far as they are built.
    crates: Vec<LockedCrate>,
    /// Whether a program or a shared library is linked.
    links: bool,
}

/// Lets Cargo resolve the graph where it may be asked; else tells what the manifest makes certain.
fn resolve(host: &Host, manifest: &Path, options: &Options, asked: Result<Resolved, String>, found: &mut Project) {
    match asked {
        Ok(Resolved { mut crates, links }) => {
            found.links = Some(links);
            for it in &mut crates {
                let same = |locked: &&LockedCrate| (&locked.name, &locked.version) == (&it.name, &it.version);
                if let Some(locked) = found.crates.iter().find(same) {
                    it.evidence = locked.evidence.clone();
                }
            }
            found.resolved = true;
            found.crates = crates;
        }
        Err(why) => {
            found.unresolved = Some(why);
            certain(host, manifest, options, &mut found.crates);
        }
    }
}

#[cfg(feature = "cli")]
fn ask(host: &Host, manifest: &Path, options: &Options, names: &[&str], lock: &str) -> Result<Resolved, String> {
    if options.only_static || host.is_rooted() {
        return Err("only files are read (--static)".to_owned());
    }
    let answer = metadata::ask(host, manifest, options)?;
    let resolved = answer.resolved(host, lock, manifest, options, names);
    // Giving its hundred thousand pieces back takes milliseconds, and nobody has to wait for that.
    let _ = std::thread::Builder::new().spawn(move || drop(answer));
    Ok(resolved)
}

#[cfg(not(feature = "cli"))]
fn ask(_: &Host, _: &Path, _: &Options, _: &[&str], _: &str) -> Result<Resolved, String> {
    Err("this build asks no Cargo".to_owned())
}

/// Marks the crates that the manifest itself asks for, with the features that it names.
fn certain(host: &Host, path: &Path, options: &Options, crates: &mut [LockedCrate]) {
    let Some((manifest, content)) = manifest::read(host, path) else { return };
    // Features of the package switch others on, in ways that are not resolved here.
    let plain = options.features.is_empty() && !options.all_features;
    for direct in manifest.certain(&text(path), &content) {
        let mut same = crates.iter_mut().filter(|locked| locked.name == direct.name);
        // Of several versions it is not known here which is meant.
        let (Some(locked), None) = (same.next(), same.next()) else { continue };
        let only = locked.via.len() <= 1;
        locked.built = true;
        locked.features = direct.features;
        locked.all_features = plain && only;
        locked.declared = Some(direct.evidence);
        locked.via = manifest.title().into_iter().collect();
    }
    for locked in crates.iter_mut().filter(|locked| !locked.built) {
        locked.via.truncate(1);
    }
    // Some crates never come without others.
    for _ in 0..ALWAYS.len() {
        for (parent, child) in ALWAYS {
            let Some(above) = crates.iter().find(|it| it.name == *parent && it.built).cloned() else { continue };
            let mut same = crates.iter_mut().filter(|it| it.name == *child);
            let (Some(below), None) = (same.next(), same.next()) else { continue };
            if !below.built {
                below.built = true;
                below.declared.clone_from(&above.declared);
                below.via = above.via.iter().cloned().chain([format!("{} {}", above.name, above.version)]).collect();
            }
        }
    }
}

/// Crates that depend on another one in every build, whatever their features.
const ALWAYS: &[(&str, &str)] = &[
    ("candle-kernels", "bindgen_cuda"),
    ("candle-kernels", "cudaforge"),
    ("cubecl-cuda", "cudarc"),
    ("burn-cuda", "cubecl-cuda"),
    ("cust", "cust_raw"),
    ("cust", "find_cuda_helper"),
    ("cust_raw", "find_cuda_helper"),
    ("ort", "ort-sys"),
    ("tch", "torch-sys"),
    ("tensorflow", "tensorflow-sys"),
];

/// The platform that Cargo's configuration builds for.
#[cfg(feature = "cli")]
fn configured_target(host: &Host) -> Option<String> {
    places::target_of(host)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn read_manifest(host: &Host, path: &Path) -> Result<Manifest, String> {
    let content = host.read_text(path).map_err(|error| error.to_string())?;
    toml::from_str(&content).map_err(|error| format!("{}: {}", path.display(), error.message()))
}

/// The folder of the workspace to which a manifest belongs; its own where there is none.
fn workspace_root(host: &Host, manifest: &Path, parsed: &Manifest) -> PathBuf {
    let own = manifest.parent().unwrap_or(Path::new("/")).to_path_buf();
    if parsed.workspace.is_some() {
        return own;
    }
    if let Some(named) = parsed.package.as_ref().and_then(|package| package.workspace.as_ref()) {
        return host.real(own.join(named)).unwrap_or_else(|_| own.join(named));
    }
    for folder in own.ancestors().skip(1) {
        // A parent that cannot be read is no workspace as far as anyone can tell.
        let Ok(above) = read_manifest(host, &folder.join("Cargo.toml")) else { continue };
        let Some(workspace) = above.workspace else { continue };
        let excluded = workspace.exclude.iter().any(|entry| own.starts_with(folder.join(entry)));
        return if excluded { own } else { folder.to_path_buf() };
    }
    own
}

/// Whether a lock file holds a package of that version; not where it cannot be read.
pub(crate) fn lock_holds(host: &Host, path: &Path, name: &str, version: &str) -> bool {
    let Ok(bytes) = host.read(path, LOCK_LIMIT) else { return false };
    let lock = std::str::from_utf8(&bytes).ok().and_then(|content| toml::from_str::<Lock>(content).ok());
    lock.is_some_and(|lock| {
        let mut packages = lock.package.iter();
        packages.any(|package| package.name.get_ref() == name && package.version.as_deref() == Some(version))
    })
}

/// Why a lock file could not be used.
#[derive(Debug, thiserror::Error)]
enum LockError {
    #[error("{0}")]
    Read(HostError),
    #[error("{path}: {why}")]
    Parse { path: String, why: String },
}

fn lock_text(host: &Host, path: &Path) -> Result<String, LockError> {
    let bytes = host.read(path, LOCK_LIMIT).map_err(LockError::Read)?;
    String::from_utf8(bytes).map_err(|_| LockError::Parse { path: text(path), why: "not UTF-8".to_owned() })
}

/// Whether a lock file as Cargo writes it has a package of one of these names.
fn mentions(content: &str, names: &[&str]) -> bool {
    let quoted = content.lines().filter_map(|line| line.strip_prefix("name = \""));
    quoted.filter_map(|rest| rest.strip_suffix('"')).any(|name| names.contains(&name))
}

/// The wanted packages of a lock file, in its order.
fn parse_lock(content: &str, path: &str, names: &[&str]) -> Result<Vec<LockedCrate>, String> {
    let lock: Lock = toml::from_str(content).map_err(|error| error.message().to_owned())?;
    // `cudarc`, or `cudarc 0.17.3` where several versions are there.
    let asks = |package: &Package, name: &str, version: &str| {
        package.dependencies.iter().any(|entry| {
            let mut words = entry.split(' ');
            words.next() == Some(name) && words.next().is_none_or(|one| one == version)
        })
    };
    let titles = |name: &str, version: &str| {
        let above = lock.package.iter().filter(|package| asks(package, name, version));
        above.map(|it| format!("{} {}", it.name.get_ref(), it.version.as_deref().unwrap_or_default())).collect()
    };
    Ok(lock
        .package
        .iter()
        .filter(|package| names.contains(&package.name.get_ref().as_str()))
        .filter_map(|package| {
            let line = line_of(content, package.name.span().start);
            let name = package.name.get_ref().clone();
            let version = package.version.clone()?;
            let evidence = Evidence::file(path, format!("{name} {version}")).line(line);
            let via = titles(&name, &version);
            Some(LockedCrate { name, version, evidence, via, ..LockedCrate::default() })
        })
        .collect())
}

/// The line of a byte, counted from 1.
fn line_of(content: &str, offset: usize) -> u32 {
    let before = content.as_bytes().get(..offset).unwrap_or_default();
    let lines = before.split(|&byte| byte == b'\n').count();
    u32::try_from(lines).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing::Tree;
    use proptest::prelude::*;

    const LOCK: &str = "version = 4\n\n[[package]]\nname = \"anyhow\"\nversion = \"1.0.0\"\n\n[[package]]\nname = \"cudarc\"\nversion = \"0.17.3\"\n";

    fn read(tree: &Tree, cwd: &str) -> Option<Project> {
        probe(&tree.host(&[("PWD", cwd)]), &Options::default(), CUDA_CRATES)
    }

    #[test]
    fn a_member_uses_the_lock_of_its_workspace() {
        let tree = Tree::new();
        tree.write("/w/Cargo.toml", "[workspace]\nmembers = [\"a\"]\nexclude = [\"alone\"]\n")
            .write("/w/Cargo.lock", LOCK)
            .write("/w/a/Cargo.toml", "[package]\nname = \"a\"\n")
            .folder("/w/a/src")
            .write("/w/alone/Cargo.toml", "[package]\nname = \"alone\"\n");
        let project = read(&tree, "/w/a/src").unwrap();
        assert_eq!(project.manifest, "/w/a/Cargo.toml");
        assert_eq!(project.lock.as_deref(), Some("/w/Cargo.lock"));
        let one = &project.crates[0];
        assert_eq!((one.name.as_str(), one.version.as_str(), one.evidence.line), ("cudarc", "0.17.3", Some(8)));
        assert_eq!(read(&tree, "/w/alone").unwrap().lock, None);
        assert_eq!(read(&tree, "/"), None);
    }

    #[test]
    fn faulty_files_are_told() {
        let tree = Tree::new();
        tree.write("/w/Cargo.toml", "[package]\nname = \"a\"\n").write("/w/Cargo.lock", "[[package]]\nname = 3\n");
        assert!(read(&tree, "/w").unwrap().trouble.unwrap().contains("Cargo.lock"));
        tree.write("/w/Cargo.toml", "[package\n");
        assert!(read(&tree, "/w").unwrap().trouble.unwrap().contains("Cargo.toml"));
        let options = Options { manifest: Some("/nowhere".to_owned()), ..Options::default() };
        assert!(probe(&tree.host(&[]), &options, &[]).unwrap().trouble.is_some());
    }

    #[test]
    fn the_list_is_sorted() {
        assert!(CUDA_CRATES.windows(2).all(|pair| pair[0] < pair[1]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn lock_files_never_panic(text in "(\\PC|\n){0,200}", cut in 0..200usize) {
            let _ = parse_lock(&text, "Cargo.lock", CUDA_CRATES);
            let _ = parse_lock(LOCK.get(..cut).unwrap_or(LOCK), "Cargo.lock", CUDA_CRATES);
        }
    }
}
