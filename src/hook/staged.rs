//! What is staged: which files a commit changes, and the repository's files as they are in the index.
//!
//! The working tree is looked at only for files that are the same there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::{Git, GitError};
use crate::host::Host;
use crate::probe::sources;
use crate::sort::Sorted as _;

/// Names whose content can change a verdict on the repository.
const NAMES: [&str; 10] = [
    "Cargo.toml",
    "Cargo.lock",
    "gpu-doctor.toml",
    "pyproject.toml",
    "uv.lock",
    "poetry.lock",
    "Pipfile",
    "Pipfile.lock",
    "setup.cfg",
    "setup.py",
];
/// A larger Python source is generated, not written.
const LARGEST_SOURCE: u64 = 1 << 20;
/// How many files git is asked for at once: the kernel bounds a command line.
const PIECE: usize = 500;

/// Whether a file, by its path from the top, can change a verdict on the repository.
pub fn matters(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return false };
    let parent = path.parent().and_then(Path::file_name).and_then(|name| name.to_str());
    let lower = name.to_ascii_lowercase();
    let ends = |ends: &[&str]| ends.iter().any(|end| lower.ends_with(end));
    NAMES.contains(&name)
        || (parent == Some(".cargo") && ["config", "config.toml"].contains(&name))
        || (lower.contains("requirements") && ends(&[".txt", ".in"]))
        || (parent == Some("requirements") && ends(&[".txt", ".in"]))
        || (lower.contains("constraints") && ends(&[".txt"]))
        || (lower.starts_with("environment") && ends(&[".yml", ".yaml"]))
        || (lower.starts_with("conda") && ends(&[".yml", ".yaml"]))
        || sources::is_source(path)
        || lower.starts_with("dockerfile")
        || lower.starts_with("containerfile")
        || ends(&[".dockerfile"])
        || ((lower.starts_with("docker-compose") || lower.starts_with("compose")) && ends(&[".yml", ".yaml"]))
}

/// Whether Cargo itself reads it.
pub fn is_cargo(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    matches!(name, Some("Cargo.toml" | "Cargo.lock" | "config.toml" | "config"))
}

/// What a commit would change that matters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Staged {
    /// The top of the working tree.
    pub top: PathBuf,
    /// The files, by their paths from the top.
    pub files: Vec<PathBuf>,
}

/// The repository's files as they are in the index, beside those of the working tree.
#[derive(Debug)]
pub struct Index {
    /// Where the content lies; gone with this.
    _folder: tempfile::TempDir,
    /// For [`Host::laid_over`].
    pub files: BTreeMap<PathBuf, Option<PathBuf>>,
}

/// The top of the working tree around the working folder.
fn top(host: &Host) -> Result<PathBuf, GitError> {
    // Git runs hooks at the top; one question less.
    let at_top = host.env("GIT_WORK_TREE").is_none() && host.exists(host.cwd().join(".git"));
    if at_top { Ok(host.cwd().to_path_buf()) } else { Git::at(host, host.cwd()).top() }
}

/// These files as though they were staged, as far as they matter.
///
/// # Errors
///
/// Why git did not say where the top is.
pub fn named(host: &Host, files: &[PathBuf]) -> Result<Staged, GitError> {
    let top = top(host)?;
    let inside = files.iter().filter_map(|file| Some(host.absolute(file).strip_prefix(&top).ok()?.to_path_buf()));
    let files = inside.filter(|file| matters(file)).collect();
    Ok(Staged { top, files })
}

/// Asks what is staged in the repository around the working folder.
///
/// # Errors
///
/// Why git did not say.
pub fn staged(host: &Host) -> Result<Staged, GitError> {
    let top = top(host)?;
    let mut files = Git::at(host, &top).paths([
        "diff",
        "--cached",
        "--name-only",
        "-z",
        "--no-renames",
        "--no-relative",
        "--no-ext-diff",
        "--ignore-submodules",
    ])?;
    files.retain(|file| matters(file));
    Ok(Staged { top, files })
}

/// Takes out of the index what differs in the working tree and matters.
///
/// # Errors
///
/// Why git did not say, or why its files could not be written.
pub fn index(host: &Host, top: &Path) -> Result<Index, GitError> {
    let git = Git::at(host, top);
    let folder = tempfile::tempdir().map_err(|error| GitError(format!("no temporary folder: {error}")))?;
    let mut changed = git.paths(["diff-files", "--name-only", "-z", "--no-relative", "--ignore-submodules"])?;
    changed.retain(|file| matters(file));
    let changed: BTreeSet<PathBuf> = changed.into_iter().sorted_set();
    let mut prefix = folder.path().to_string_lossy().into_owned();
    prefix.push('/');
    let names: Vec<&str> = changed.iter().filter_map(|file| file.to_str()).collect();
    for piece in names.chunks(PIECE) {
        let head = ["checkout-index", "--force", "--quiet", "--ignore-skip-worktree-bits"];
        let prefix = format!("--prefix={prefix}");
        git.ask(head.into_iter().chain([prefix.as_str(), "--"]).chain(piece.iter().copied()))?;
    }
    let mut files: BTreeMap<PathBuf, Option<PathBuf>> = BTreeMap::new();
    for file in &changed {
        let content = folder.path().join(file);
        // A link leads where its neighbours are not; the working tree's stands for it.
        if host.lstat(&content).is_ok_and(|stat| stat.kind != crate::host::Kind::Link) {
            files.insert(top.join(file), Some(content));
        }
    }
    // Files that are in no commit yet are not part of this one; what is ignored is nobody's to commit.
    let others = git.paths(["ls-files", "--others", "--exclude-standard", "-z"])?;
    for file in others.into_iter().filter(|file| matters(file)) {
        files.insert(top.join(file), None);
    }
    Ok(Index { _folder: folder, files })
}

/// Leaves out the Python sources that set no variable of a framework's: most commits of them end there.
pub fn drop_quiet_sources(host: &Host, staged: &mut Staged) {
    let Staged { top, files } = staged;
    files.retain(|file| {
        // One that cannot be read is left to what reads it.
        !sources::is_source(file) || host.read(top.join(file), LARGEST_SOURCE).map_or(true, |it| sources::mentions(&it))
    });
}

/// Whether it is the policy's own file.
pub fn is_policy(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == crate::policy::read::FILE)
}

/// The manifests of the Cargo projects that staged files can change, the outermost first.
pub fn manifests(host: &Host, staged: &Staged) -> Vec<PathBuf> {
    let mut found = BTreeSet::new();
    for file in staged.files.iter().filter(|file| is_cargo(file) || is_policy(file)) {
        let path = staged.top.join(file);
        let mut folders = path.ancestors().skip(1).take_while(|folder| folder.starts_with(&staged.top));
        found.extend(
            folders.find(|folder| host.is_file(folder.join("Cargo.toml"))).map(|folder| folder.join("Cargo.toml")),
        );
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_matter() {
        for name in [
            "Cargo.toml",
            "a/b/Cargo.lock",
            ".cargo/config.toml",
            "gpu-doctor.toml",
            "requirements.txt",
            "requirements-gpu.txt",
            "dev-requirements.in",
            "requirements/base.txt",
            "environment.gpu.yml",
            "Dockerfile",
            "docker/train.Dockerfile",
            "compose.yaml",
            "uv.lock",
            "src/train.py",
        ] {
            assert!(matters(Path::new(name)), "{name}");
        }
        for name in
            ["src/main.rs", "src/train.pyc", "README.md", "config.toml", "notes.txt", "a/config", "settings.yml", ""]
        {
            assert!(!matters(Path::new(name)), "{name}");
        }
    }
}
