//! Finds what `import NAME` would find along `sys.path`, and versions written in source files; imports nothing.

use super::dists;
use super::folders::{Folders, find};
use super::layout::join;
use super::literal;
use crate::facts::{Dist, Evidence, Module, PathOrigin, SysPathEntry};
use crate::host::Kind;

/// Where the import system would look, and what was installed there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Importer<'a, 'h> {
    pub(super) folders: &'a Folders<'h>,
    pub(super) sys_path: &'a [SysPathEntry],
    pub(super) dists: &'a [Dist],
}

impl Importer<'_, '_> {
    /// What `import NAME` gives.
    pub(super) fn module(&self, name: &str) -> Option<Module> {
        let mut found: Option<Module> = None;
        let mut namespace: Option<Module> = None;
        let mut seen: Vec<&str> = Vec::new();
        for entry in self.sys_path {
            // The standard library holds none of the names that are asked for here.
            let answers = entry.only.is_empty() || entry.only.iter().any(|only| only == name);
            if entry.origin == PathOrigin::Stdlib || !answers || seen.contains(&entry.path.as_str()) {
                continue;
            }
            seen.push(&entry.path);
            let Some((path, is_namespace)) = self.in_folder(&entry.path, name) else { continue };
            let slot = if is_namespace { &mut namespace } else { &mut found };
            if let Some(winner) = slot {
                winner.hides.push(path);
            } else {
                *slot = Some(Module {
                    archived: self.folders.is_archived(&path),
                    path,
                    entry: entry.path.clone(),
                    origin: Some(entry.origin.clone()),
                    namespace: is_namespace,
                    ..Module::default()
                });
            }
        }
        let mut module = found.or(namespace)?;
        if !module.namespace {
            module.dist = self.owner(name, &module);
        }
        Some(module)
    }

    /// What `import PARENT.NAME` gives of a namespace package, whose parts lie in several entries.
    pub(super) fn within(&self, parent: &str, name: &str) -> Option<Module> {
        let real = |entry: &&SysPathEntry| entry.origin != PathOrigin::Stdlib && entry.only.is_empty();
        let entries = self.sys_path.iter().filter(real);
        let mut found = entries.filter_map(|entry| Some((entry, self.in_folder(&join(&entry.path, parent), name)?)));
        found.find(|(_, (_, namespace))| !namespace).map(|(entry, (path, _))| Module {
            archived: self.folders.is_archived(&path),
            path,
            entry: entry.path.clone(),
            origin: Some(entry.origin.clone()),
            ..Module::default()
        })
    }

    /// A package folder, a module file, or a folder that is only a namespace.
    fn in_folder(&self, folder: &str, name: &str) -> Option<(String, bool)> {
        let listing = self.folders.list(folder)?;
        let package = find(&listing, name).filter(|entry| {
            entry.kind == Kind::Folder || (entry.kind == Kind::Link && self.folders.host.is_dir(join(folder, name)))
        });
        if package.is_some() {
            let inside = join(folder, name);
            if self
                .folders
                .list(&inside)
                .is_some_and(|inside| inside.iter().any(|entry| is_source(&entry.name, "__init__")))
            {
                return Some((inside, false));
            }
        }
        if let Some(file) = listing.iter().find(|entry| entry.kind != Kind::Folder && is_source(&entry.name, name)) {
            return Some((join(folder, &file.name), false));
        }
        package.map(|_| (join(folder, name), true))
    }

    /// The distribution in the same folder that brings the module.
    fn owner(&self, name: &str, module: &Module) -> Option<usize> {
        let brings = |dist: &Dist| match name {
            "tensorflow" => dists::is_tensorflow(&dist.name),
            "keras" => dists::is_keras(&dist.name),
            "tf_keras" => matches!(dist.name.as_str(), "tf-keras" | "tf-keras-nightly"),
            other => dist.name == other,
        };
        self.dists.iter().position(|dist| dist.location == module.entry && brings(dist)).or_else(|| {
            // An editable installation lies elsewhere than its metadata, and so does what only conda knows.
            let installed = matches!(module.origin, Some(PathOrigin::Site | PathOrigin::BaseSite));
            self.dists.iter().position(|dist| {
                brings(dist)
                    && (dist.editable.as_deref().is_some_and(|folder| module.path.starts_with(folder))
                        || (installed && dist.location.ends_with("/conda-meta")))
            })
        })
    }

    /// The module with its version: from the named files inside of it, else from its distribution.
    pub(super) fn versioned(&self, name: &str, files: &[&str]) -> Option<Module> {
        let mut module = self.module(name)?;
        for file in files {
            let path = join(&module.path, file);
            let Ok(text) = self.folders.read_lossy(&path) else { continue };
            if let Some((version, line)) = stated_version(&text) {
                let says = format!("__version__ = {version:?}");
                module.version = Some(version);
                module.version_from = Some(Evidence::file(path, says).line(line));
                return Some(module);
            }
        }
        if let Some(dist) = module.dist.and_then(|index| self.dists.get(index)) {
            module.version = Some(dist.version.clone());
            module.version_from = Some(Evidence::package(&dist.metadata, format!("{} {}", dist.name, dist.version)));
        }
        Some(module)
    }
}

/// `__version__` of a source file, with its line.
pub(super) fn stated_version(text: &str) -> Option<(String, u32)> {
    let (value, line) = literal::assigned(text, "__version__")?;
    let version = value.text()?.trim();
    (!version.is_empty() && version.len() <= 128).then(|| (version.to_owned(), line))
}

/// Whether a file name is a module of that name: source, bytecode or an extension.
fn is_source(file: &str, name: &str) -> bool {
    file.strip_prefix(name).and_then(|rest| rest.strip_prefix('.')).is_some_and(|rest| {
        matches!(rest, "py" | "pyc" | "so" | "abi3.so")
            || rest.strip_suffix(".so").is_some_and(|tag| tag.starts_with("cpython-") || tag.starts_with("pypy"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;
    use std::collections::BTreeMap;
    use std::fs;

    #[test]
    fn the_first_real_module_wins() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["a/keras/x.txt", "b/keras.py", "c/keras/__init__.py", "c/keras/src/version.py"] {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "__version__ = \"3.1.0\"\n").unwrap();
        }
        let host = Host::rooted(dir.path(), BTreeMap::new()).unwrap();
        let folders = Folders::new(&host);
        let entry = |path: &str| SysPathEntry { path: path.to_owned(), origin: PathOrigin::Site, only: Vec::new() };
        let all = [entry("/a"), entry("/b"), entry("/c")];
        let importer = |sys_path| Importer { folders: &folders, sys_path, dists: &[] };
        let module = importer(&all[..]).module("keras").unwrap();
        assert_eq!((module.path.as_str(), module.namespace), ("/b/keras.py", false));
        assert_eq!(module.hides, ["/c/keras"]);
        assert!(importer(&all[..1]).module("keras").unwrap().namespace);
        let module = importer(&all[2..]).versioned("keras", &["src/version.py"]).unwrap();
        assert_eq!(module.version.as_deref(), Some("3.1.0"));
        assert!(importer(&all[..]).module("torch").is_none());
    }

    #[test]
    fn an_archive_counts_like_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let metadata = b"Metadata-Version: 2.1\nName: keras\nVersion: 3.9.9\n";
        let bytes = crate::probe::python::archive::tests::zip(&[
            ("in/keras/__init__.py", false, b""),
            ("in/keras/src/version.py", true, b"__version__ = '3.9.9'\n"),
            ("in/keras-3.9.9.dist-info/METADATA", true, metadata),
            ("in/numpy.cpython-311-x86_64-linux-gnu.so", false, b""),
            ("in/jax/readme.txt", false, b""),
        ]);
        fs::write(dir.path().join("a.zip"), bytes).unwrap();
        let egg =
            [("torch/__init__.py", false, &b""[..]), ("EGG-INFO/PKG-INFO", true, b"Name: torch\nVersion: 2.5.1\n")];
        fs::write(dir.path().join("torch-2.5.1-py3.11.egg"), crate::probe::python::archive::tests::zip(&egg)).unwrap();
        fs::write(dir.path().join("b.zip"), "nothing").unwrap();
        let host = Host::rooted(dir.path(), BTreeMap::new()).unwrap();
        let folders = Folders::new(&host);
        let paths = ["/a.zip/in", "/torch-2.5.1-py3.11.egg", "/b.zip", "/gone"];
        let sys_path =
            paths.map(|path| SysPathEntry { path: path.to_owned(), origin: PathOrigin::PythonPath, only: Vec::new() });
        let troubles = folders.open_archives(&sys_path);
        assert_eq!(troubles.iter().map(|trouble| trouble.at.as_str()).collect::<Vec<_>>(), ["/b.zip"]);
        let layout = super::super::layout::Layout::default();
        let found = dists::find(&folders, &layout, &sys_path, &super::super::requirement::MarkerEnv::default(), false);
        let pairs: Vec<_> = found.dists.iter().map(|dist| (dist.name.as_str(), dist.version.as_str())).collect();
        assert_eq!(pairs, [("keras", "3.9.9"), ("torch", "2.5.1")]);
        let importer = Importer { folders: &folders, sys_path: &sys_path, dists: &found.dists };
        let keras = importer.versioned("keras", &["src/version.py"]).unwrap();
        assert_eq!((keras.path.as_str(), keras.version.as_deref()), ("/a.zip/in/keras", Some("3.9.9")));
        assert!(keras.archived && keras.dist == Some(0));
        assert_eq!(importer.versioned("torch", &[]).unwrap().version.as_deref(), Some("2.5.1"));
        assert!(importer.module("numpy").is_none());
        assert!(importer.module("jax").unwrap().namespace);
    }

    #[test]
    fn file_names_of_modules() {
        assert!(is_source("keras.py", "keras") && is_source("x.cpython-311-x86_64-linux-gnu.so", "x"));
        assert!(!is_source("keras.pyi", "keras") && !is_source("keras_core.py", "keras"));
    }
}
