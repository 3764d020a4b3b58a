//! The Cargo project around the working folder, from its manifest and lock file; asks no Cargo.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use crate::facts::{Evidence, LockedCrate, Project};
use crate::host::{Host, HostError};
use crate::options::Options;

/// Crates that deal with CUDA, `TensorFlow` or `LibTorch`, for callers without a longer list.
pub const CUDA_CRATES: &[&str] = &[
    "bindgen_cuda",
    "burn-cuda",
    "candle-core",
    "candle-flash-attn",
    "candle-kernels",
    "cubecl-cuda",
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
}

/// The part of a manifest that is read.
#[derive(Default, Deserialize)]
struct Manifest {
    workspace: Option<Workspace>,
    package: Option<ManifestPackage>,
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
    match read_lock(host, &lock, names) {
        Ok(crates) => {
            found.lock = Some(text(&lock));
            found.crates = crates;
        }
        Err(LockError::Read(error)) if error.is_absent() => {}
        Err(error) => {
            found.lock = Some(text(&lock));
            found.trouble = Some(error.to_string());
        }
    }
    Some(found)
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

/// Why a lock file could not be used.
#[derive(Debug, thiserror::Error)]
enum LockError {
    #[error("{0}")]
    Read(HostError),
    #[error("{path}: {why}")]
    Parse { path: String, why: String },
}

fn read_lock(host: &Host, path: &Path, names: &[&str]) -> Result<Vec<LockedCrate>, LockError> {
    let bytes = host.read(path, LOCK_LIMIT).map_err(LockError::Read)?;
    let fault = |why: String| LockError::Parse { path: text(path), why };
    let content = String::from_utf8(bytes).map_err(|_| fault("not UTF-8".to_owned()))?;
    parse_lock(&content, &text(path), names).map_err(fault)
}

/// The wanted packages of a lock file, in its order.
fn parse_lock(content: &str, path: &str, names: &[&str]) -> Result<Vec<LockedCrate>, String> {
    let lock: Lock = toml::from_str(content).map_err(|error| error.message().to_owned())?;
    let wanted = lock.package.into_iter().filter(|package| names.contains(&package.name.get_ref().as_str()));
    Ok(wanted
        .filter_map(|package| {
            let line = line_of(content, package.name.span().start);
            let name = package.name.into_inner();
            let version = package.version?;
            let evidence = Evidence::file(path, format!("{name} {version}")).line(line);
            Some(LockedCrate { name, version, evidence })
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
