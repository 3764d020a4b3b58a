//! The repository around a working folder: where it begins, and which of its files are its own; reads no file.

use std::path::{Path, PathBuf};

use crate::facts::Trouble;
use crate::host::{Entry, Host, Kind};
use crate::options::Options;

/// Folders in which nothing of the repository's own is declared, or that only tests look at.
const PASSED_OVER: &[&str] = &[
    "__pycache__",
    "build",
    "dist",
    "env",
    "fixtures",
    "node_modules",
    "site-packages",
    "target",
    "test",
    "test-data",
    "test_data",
    "testdata",
    "tests",
    "third-party",
    "third_party",
    "vendor",
    "venv",
];

/// How much of a repository is searched.
pub(super) struct Bounds {
    /// How deep below its folder.
    pub(super) depth: u32,
    /// How many folders are listed at most.
    pub(super) folders: usize,
    /// How many files are taken at most.
    pub(super) files: usize,
}

/// The folder of the repository around the working folder (or the manifest that was named), and how deep it is searched
/// where it is to be searched that deep.
pub(super) fn around(host: &Host, options: &Options, depth: u32) -> (PathBuf, u32) {
    let start = match &options.manifest {
        Some(manifest) => {
            let path = host.absolute(manifest);
            if host.is_dir(&path) { path } else { path.parent().unwrap_or(Path::new("/")).to_path_buf() }
        }
        None => host.cwd().to_path_buf(),
    };
    root(host, &start, depth)
}

/// Whether a folder is someone else's: a repository within this one (a submodule), or an environment.
fn is_foreign(entries: &[Entry]) -> bool {
    entries.iter().any(|entry| [".git", "pyvenv.cfg", "conda-meta"].contains(&entry.name.as_str()))
}

/// Whether nothing of the repository's own is in a folder of that name.
fn is_passed_over(name: &str) -> bool {
    (name.starts_with('.') && name != ".devcontainer") || PASSED_OVER.contains(&name.to_ascii_lowercase().as_str())
}

/// The folder of the repository, and how deep it is searched.
///
/// A working folder that belongs to none may hold anything (a home folder, `/`): only its own files count.
fn root(host: &Host, start: &Path, depth: u32) -> (PathBuf, u32) {
    let home = host.home().map(Path::new);
    let own = |folder: &&Path| folder.parent().is_some() && Some(*folder) != home;
    let git = start.ancestors().filter(own).find(|folder| host.exists(folder.join(".git")));
    let manifest = || start.ancestors().filter(own).find(|folder| host.is_file(folder.join("Cargo.toml")));
    let python = || Some(start).filter(own).filter(|folder| host.is_file(folder.join("pyproject.toml")));
    match git.or_else(manifest).or_else(python) {
        Some(folder) => (folder.to_path_buf(), depth),
        None => (start.to_path_buf(), 0),
    }
}

/// The repository's own files that are wanted, by path; the wish is told the entry and the name of its folder.
pub(super) fn walk<T>(
    host: &Host,
    root: &Path,
    bounds: &Bounds,
    troubles: &mut Vec<Trouble>,
    wanted: impl Fn(&Entry, &str) -> Option<T>,
) -> Vec<(PathBuf, T)> {
    let mut found = Vec::new();
    let mut folders = vec![(root.to_path_buf(), 0)];
    let mut listed = 0;
    while let Some((folder, level)) = folders.pop() {
        listed += 1;
        if listed > bounds.folders || found.len() >= bounds.files {
            let why = "the repository has more folders or files than are searched".to_owned();
            troubles.push(Trouble { at: root.to_string_lossy().into_owned(), why });
            break;
        }
        let Ok(entries) = host.list(&folder) else { continue };
        if level > 0 && is_foreign(&entries) {
            continue;
        }
        let own = folder.file_name().unwrap_or_default().to_string_lossy();
        for entry in entries {
            let path = folder.join(&entry.name);
            if entry.kind != Kind::Folder {
                found.extend(wanted(&entry, &own).map(|what| (path, what)));
            } else if level < bounds.depth && !is_passed_over(&entry.name) {
                folders.push((path, level + 1));
            }
        }
    }
    crate::sort::by(&mut found, |a, b| a.0.cmp(&b.0));
    found.truncate(bounds.files);
    found
}
