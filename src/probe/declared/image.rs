//! The files of an image, as far as its Dockerfile tells: which file of the repository stands at a path.
//!
//! Exact or open: whatever may have put something else there leaves the path without an answer.

use std::path::{Path, PathBuf};

use crate::host::Host;
use crate::policy::read::glob;

/// Where an image begins whose own folder nobody names: no path of a Dockerfile leads there.
pub(super) const SOMEWHERE: &str = "/<folder of the image>";

/// What puts files into an image, or changes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// Files and folders of the folder that is built, to a path or into the folder there.
    Copy { sources: Vec<String>, target: String },
    /// Anything may stand at the paths that begin so.
    Change(String),
}

impl Put {
    /// The same place, with nothing known of it.
    pub(super) fn opened(&self) -> Self {
        match self {
            Self::Copy { target: begin, .. } | Self::Change(begin) => Self::Change(begin.clone()),
        }
    }
}

/// A path of an image in full, without dots; `None` where it begins in a folder that is not known.
pub(super) fn path(folder: Option<&str>, text: &str) -> Option<String> {
    let before = if text.starts_with('/') { "" } else { folder? };
    let mut parts = Vec::new();
    for part in before.split('/').chain(text.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    Some(format!("/{}", parts.join("/")))
}

/// The file below the folder that is built which certainly stands at a path of the image.
pub(super) fn origin(host: &Host, context: &Path, puts: &[Put], wanted: &str) -> Option<PathBuf> {
    for put in puts.iter().rev() {
        let (sources, target) = match put {
            Put::Change(begin) if wanted.starts_with(begin) => return None,
            Put::Change(_) => continue,
            Put::Copy { sources, target } => (sources, target.trim_end_matches('/')),
        };
        let Some(rest) = wanted.strip_prefix(target) else { continue };
        let rest = match rest.strip_prefix('/') {
            Some(below) => below,
            None if rest.is_empty() => rest,
            None => continue,
        };
        for source in sources.iter().rev() {
            let source = path(Some("/"), source)?;
            let (folder, name) = source.rsplit_once('/')?;
            let folder = context.join(folder.trim_start_matches('/'));
            let found = if name.contains(['*', '?', '[']) {
                if folder.to_string_lossy().contains(['*', '?', '[']) || name.contains('[') {
                    return None;
                }
                host.names(&folder).into_iter().filter(|other| glob(name, other)).collect()
            } else {
                vec![name.to_owned()]
            };
            for name in found {
                let at = if name.is_empty() { folder.clone() } else { folder.join(name) };
                let file = if host.is_dir(&at) {
                    Some(at.join(rest)).filter(|_| !rest.is_empty())
                } else if !host.is_file(&at) {
                    // Something that others make, and nobody knows what is in it.
                    return None;
                } else {
                    // The target is its new name, or a folder.
                    Some(at).filter(|at| rest.is_empty() || at.file_name().is_some_and(|name| name == rest))
                };
                if let Some(file) = file.filter(|file| host.is_file(file)) {
                    return Some(file);
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing::Tree;

    #[test]
    fn paths_have_no_dots() {
        for (folder, text, wanted) in [
            (Some("/app"), "requirements.txt", Some("/app/requirements.txt")),
            (Some("/app"), "./a/../b/", Some("/app/b")),
            (Some("/app"), "/x//y", Some("/x/y")),
            (Some("/"), "../..", Some("/")),
            (None, "/x", Some("/x")),
            (None, "x", None),
        ] {
            assert_eq!(path(folder, text).as_deref(), wanted, "{text}");
        }
    }

    #[test]
    fn the_last_copy_decides() {
        let tree = Tree::new();
        tree.write("/r/requirements.txt", "").write("/r/gpu.txt", "").write("/r/old/requirements.txt", "");
        let host = tree.host(&[]);
        let copy = |sources: &[&str], target: &str| Put::Copy {
            sources: sources.iter().map(|source| (*source).to_owned()).collect(),
            target: target.to_owned(),
        };
        let all = || copy(&["."], "/app");
        let change = |begin: &str| Put::Change(begin.to_owned());
        let wanted = "/app/requirements.txt";
        for (puts, at, found) in [
            (vec![all()], wanted, Some("/r/requirements.txt")),
            (vec![all()], "/app/old/requirements.txt", Some("/r/old/requirements.txt")),
            (vec![all()], "/app/new/requirements.txt", None),
            (vec![all()], "/application/requirements.txt", None),
            (vec![all()], "/requirements.txt", None),
            (vec![copy(&["/"], "/")], "/requirements.txt", Some("/r/requirements.txt")),
            (vec![all(), copy(&["gpu.txt"], wanted)], wanted, Some("/r/gpu.txt")),
            (vec![copy(&["gpu.txt"], wanted), all()], wanted, Some("/r/requirements.txt")),
            (vec![all(), copy(&["old"], "/app/")], wanted, Some("/r/old/requirements.txt")),
            (vec![copy(&["gpu.txt", "requirements.txt"], "/app/")], wanted, Some("/r/requirements.txt")),
            (vec![copy(&["req*.txt"], "/app")], wanted, Some("/r/requirements.txt")),
            (vec![copy(&["gpu.tx?"], wanted)], wanted, Some("/r/gpu.txt")),
            (vec![all(), copy(&["made"], "/app")], wanted, None),
            (vec![all(), copy(&["made"], "/app/made")], wanted, Some("/r/requirements.txt")),
            (vec![all(), copy(&["*/x"], "/app")], wanted, None),
            (vec![all(), change("/app/req")], wanted, None),
            (vec![all(), change("")], wanted, None),
            (vec![change(""), all(), change("/app/old")], wanted, Some("/r/requirements.txt")),
        ] {
            let seen = origin(&host, Path::new("/r"), &puts, at);
            assert_eq!(seen.as_deref(), found.map(Path::new), "{puts:?} {at}");
        }
    }
}
