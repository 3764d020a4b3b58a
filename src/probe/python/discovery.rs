//! Finds Python environments and Jupyter kernels from variables, folders and PATH; starts none of them.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::layout::{self, Layout, join};
use crate::facts::{EnvKind, Evidence, JupyterKernel, Trouble};
use crate::host::{Host, Why};
use crate::options::Options;
use crate::sort::Sorted as _;

/// How far the project's environment is looked for above the working folder.
const LEVELS: usize = 20;
/// More kernels than this are not read.
const KERNELS: usize = 200;

/// An environment that was found.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) layout: Layout,
    pub(super) found_by: Vec<Evidence>,
    pub(super) active: bool,
    /// Named on the command line, or by a kernel: never left out.
    pub(super) wanted: bool,
    /// A kernel's, while `--python` names others: read for what the kernel would start, and not judged.
    pub(super) beside: bool,
}

/// All that was found.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) places: Vec<Place>,
    pub(super) kernels: Vec<JupyterKernel>,
    pub(super) troubles: Vec<Trouble>,
}

struct Discovery<'h> {
    host: &'h Host,
    found: Found,
    keys: HashMap<(String, Option<(u32, u32)>), usize>,
}

/// Looks in every place, in a fixed order; with `--python` only there.
pub(super) fn discover(host: &Host, options: &Options) -> Found {
    let mut discovery = Discovery { host, found: Found::default(), keys: HashMap::new() };
    if options.python.is_empty() {
        discovery.everywhere();
        discovery.kernels(true);
    } else {
        for named in &options.python {
            let evidence = Evidence::new(crate::facts::Source::Option, "--python", named);
            if let Some(index) = discovery.add(Path::new(named), evidence)
                && let Some(place) = discovery.found.places.get_mut(index)
            {
                place.wanted = true;
            }
        }
        discovery.activate(Some(0));
        discovery.kernels(false);
    }
    discovery.found
}

impl Discovery<'_> {
    fn trouble(&mut self, at: impl Into<String>, why: impl Into<String>) {
        self.found.troubles.push(Trouble { at: at.into(), why: why.into() });
    }

    /// Adds an interpreter or folder; what cannot be located is told.
    fn add(&mut self, path: &Path, evidence: Evidence) -> Option<usize> {
        match layout::locate(self.host, path) {
            Ok(layout) => Some(self.add_layout(layout, evidence)),
            Err(why) => {
                self.trouble(path.to_string_lossy(), format!("{} names no Python environment: {why}", evidence.at));
                None
            }
        }
    }

    fn add_layout(&mut self, layout: Layout, evidence: Evidence) -> usize {
        let key = layout.key(self.host);
        if let Some(&index) = self.keys.get(&key) {
            if let Some(place) = self.found.places.get_mut(index) {
                place.found_by.push(evidence);
            }
            return index;
        }
        let index = self.found.places.len();
        self.found.places.push(Place { layout, found_by: vec![evidence], active: false, wanted: false, beside: false });
        self.keys.insert(key, index);
        index
    }

    fn activate(&mut self, index: Option<usize>) -> bool {
        match index.and_then(|index| self.found.places.get_mut(index)) {
            Some(place) => {
                place.active = true;
                true
            }
            None => false,
        }
    }

    fn everywhere(&mut self) {
        let mut active = None;
        for name in ["VIRTUAL_ENV", "CONDA_PREFIX"] {
            if let Some(value) = self.host.env_nonempty(name).map(str::to_owned) {
                let index = self.add(Path::new(&value), Evidence::env(name, &value));
                active = active.or(index);
            }
        }
        let project = self.project();
        let on_path = self.on_path();
        active = active.or(on_path).or(project);
        for path in ["/usr/bin/python3", "/usr/local/bin/python3"] {
            // Where PATH leads to the same one, nothing new is learned.
            if self.host.is_file(path)
                && let Ok(layout) = layout::locate(self.host, Path::new(path))
            {
                self.add_layout(layout, Evidence::file(path, "the system's interpreter"));
            }
        }
        if active.is_none() && self.found.places.len() == 1 {
            active = Some(0);
        }
        self.activate(active);
    }

    /// The project's own environment, in the working folder or above it.
    fn project(&mut self) -> Option<usize> {
        let wished = self.host.env_nonempty("UV_PROJECT_ENVIRONMENT").map(str::to_owned);
        let mut found = None;
        if let Some(wished) = wished.as_deref().filter(|wished| wished.starts_with('/')) {
            found = self.add(Path::new(wished), Evidence::env("UV_PROJECT_ENVIRONMENT", wished));
        }
        let cwd = self.host.cwd().to_path_buf();
        for folder in cwd.ancestors().take(LEVELS) {
            let mut here = None;
            if let Some(wished) = wished.as_deref().filter(|wished| !wished.starts_with('/')) {
                let path = folder.join(wished);
                if self.host.is_file(path.join("pyvenv.cfg")) {
                    here = self.add(&path, Evidence::env("UV_PROJECT_ENVIRONMENT", wished));
                }
            }
            for name in [".venv", "venv", "env"] {
                let path = folder.join(name);
                if self.host.is_file(path.join("pyvenv.cfg")) || self.host.is_dir(path.join("conda-meta")) {
                    let says = format!("the project's {name}");
                    let index = self.add(&path, Evidence::file(path.to_string_lossy(), says));
                    here = here.or(index);
                }
            }
            if here.is_some() {
                return found.or(here);
            }
            if self.host.exists(folder.join(".git")) {
                break;
            }
        }
        found
    }

    /// What the names `python` and `python3` start; the first of the two that leads somewhere.
    fn on_path(&mut self) -> Option<usize> {
        let mut first = None;
        for name in ["python", "python3"] {
            let Some(program) = self.program(name) else { continue };
            // Other tools put programs of their own in the place of interpreters; those are told once.
            let index = match layout::locate(self.host, &program) {
                Ok(layout) => {
                    let says = format!("{name} is {}", program.display());
                    Some(self.add_layout(layout, Evidence::env("PATH", says)))
                }
                Err(why) => {
                    self.trouble(program.to_string_lossy(), format!("{name} on PATH is no interpreter: {why}"));
                    None
                }
            };
            first = first.or(index);
        }
        first
    }

    /// The file that a shell would start, pyenv's stand-ins resolved.
    fn program(&mut self, name: &str) -> Option<PathBuf> {
        let folders: Vec<PathBuf> = self
            .host
            .env_nonempty("PATH")?
            .split(':')
            .map(|folder| if folder.is_empty() { self.host.cwd().to_path_buf() } else { self.host.absolute(folder) })
            .collect();
        for folder in folders {
            let path = folder.join(name);
            if !self.host.is_executable(&path) {
                continue;
            }
            let Some(root) = self.pyenv_root(&folder) else { return Some(path) };
            match self.pyenv_choice(&root) {
                Some((version, _)) if version == "system" => {}
                Some((version, origin)) => {
                    let chosen = pyenv_folder(self.host, &root, &version).map(|folder| folder.join("bin").join(name));
                    match chosen.filter(|chosen| self.host.is_file(chosen)) {
                        Some(chosen) => return Some(chosen),
                        None => self.trouble(origin, format!("pyenv has no {name} of version {version}")),
                    }
                }
                // Without a choice pyenv takes the system's.
                None => {}
            }
        }
        None
    }

    /// pyenv's folder, where `folder` holds its stand-ins.
    fn pyenv_root(&self, folder: &Path) -> Option<PathBuf> {
        let root = match self.host.env_nonempty("PYENV_ROOT") {
            Some(root) => PathBuf::from(root),
            None => Path::new(self.host.home()?).join(".pyenv"),
        };
        let shims = root.join("shims");
        (folder == shims || (folder.ends_with("shims") && self.host.real(folder).ok() == self.host.real(&shims).ok()))
            .then_some(root)
    }

    /// The version that pyenv would choose, and what says so.
    fn pyenv_choice(&self, root: &Path) -> Option<(String, String)> {
        let first = |text: &str| {
            text.lines()
                .map(|line| line.split('#').next().unwrap_or_default())
                .flat_map(|line| line.split([':', ' ', '\t']))
                .map(str::trim)
                .find(|word| !word.is_empty())
                .map(str::to_owned)
        };
        if let Some(version) = self.host.env_nonempty("PYENV_VERSION").and_then(first) {
            return Some((version, "PYENV_VERSION".to_owned()));
        }
        let files = self.host.cwd().ancestors().map(|folder| folder.join(".python-version")).take(LEVELS * 2);
        for file in files.chain([root.join("version")]) {
            if let Ok(text) = self.host.read_lossy(&file)
                && let Some(version) = first(&text)
            {
                return Some((version, file.to_string_lossy().into_owned()));
            }
        }
        None
    }

    /// Reads kernels; with `add`, the environments that they name join the list of those that are judged.
    fn kernels(&mut self, add: bool) {
        let host = self.host;
        let mut folders: Vec<(String, Option<usize>)> = Vec::new();
        for folder in host.env_nonempty("JUPYTER_PATH").unwrap_or_default().split(':').filter(|f| !f.is_empty()) {
            folders.push((join(folder, "kernels"), None));
        }
        if let Some(data) = host.env_nonempty("JUPYTER_DATA_DIR") {
            folders.push((join(data, "kernels"), None));
        } else if let Some(data) = host.env_nonempty("XDG_DATA_HOME") {
            folders.push((join(data, "jupyter/kernels"), None));
        } else if let Some(home) = host.home() {
            folders.push((join(home, ".local/share/jupyter/kernels"), None));
        }
        // Every Jupyter reads these, whichever Python runs it.
        let shared = ["/usr/local/share/jupyter/kernels", "/usr/share/jupyter/kernels"];
        for (index, place) in self.found.places.iter().enumerate() {
            let own = join(&place.layout.prefix, "share/jupyter/kernels");
            if !shared.contains(&own.as_str()) {
                folders.push((own, Some(index)));
            }
        }
        folders.extend(shared.iter().map(|folder| ((*folder).to_owned(), None)));
        let mut seen = HashSet::new();
        let mut next = 0;
        while let Some((folder, owner)) = folders.get(next).cloned() {
            next += 1;
            if !host.is_dir(&folder) || !seen.insert(host.real_text(&folder)) {
                continue;
            }
            for name in host.names(&folder) {
                let path = join(&folder, &format!("{name}/kernel.json"));
                if self.found.kernels.len() >= KERNELS || !host.is_file(&path) {
                    continue;
                }
                let before = self.found.places.len();
                if let Some(kernel) = self.kernel(name, path, owner, add) {
                    self.found.kernels.push(kernel);
                }
                if let Some(place) = self.found.places.get(before).filter(|place| !place.beside) {
                    folders.push((join(&place.layout.prefix, "share/jupyter/kernels"), Some(before)));
                }
            }
        }
    }

    fn kernel(&mut self, name: String, path: String, owner: Option<usize>, add: bool) -> Option<JupyterKernel> {
        let mut kernel = JupyterKernel { name, path, ..JupyterKernel::default() };
        let spec = match self.host.read_lossy(&kernel.path).map_err(|error| error.why.to_string()) {
            Ok(text) => parse_kernel(&text),
            Err(why) => Err(why),
        };
        let (program, variables) = match spec {
            Ok(Some(spec)) => spec,
            Ok(None) => return None,
            Err(why) => {
                kernel.trouble = Some(why);
                return Some(kernel);
            }
        };
        kernel.variables = variables;
        // Jupyter puts its own prefix and the kernel's folder in the place of these.
        let own = matches!(program.as_str(), "{prefix}/bin/python" | "{prefix}/bin/python3");
        let folder = kernel.path.trim_end_matches("/kernel.json").to_owned();
        let program = program.replace("{resource_dir}", &folder);
        if own || !program.contains('/') {
            // A bare `python` is replaced by the interpreter that runs Jupyter.
            kernel.bare = true;
            kernel.env = owner.or_else(|| self.found.places.iter().position(|place| place.active));
            kernel.interpreter =
                kernel.env.and_then(|index| self.found.places.get(index)).map(|place| place.layout.interpreter.clone());
            if let Some(place) = owner.and_then(|index| self.found.places.get_mut(index)) {
                place.wanted = true;
            }
            return Some(kernel);
        }
        kernel.interpreter = Some(program.clone());
        match layout::locate(self.host, Path::new(&program)) {
            Ok(layout) => {
                let before = self.found.places.len();
                let says = format!("the kernel {} starts {program}", kernel.name);
                let index = self.add_layout(layout, Evidence::file(&kernel.path, says));
                if let Some(place) = self.found.places.get_mut(index) {
                    place.wanted |= add;
                    place.beside |= !add && index == before;
                }
                kernel.env = Some(index);
            }
            Err(why) => {
                // What is relative, or holds another placeholder, leads nobody knows where.
                let certain = program.starts_with('/') && !program.contains('{');
                kernel.gone = certain && self.host.stat(&program).is_err_and(|error| error.why == Why::NotFound);
                kernel.trouble = Some(format!("{program}: {why}"));
            }
        }
        Some(kernel)
    }
}

/// The folder of a pyenv version; a prefix such as `3.11` means the newest that begins with it.
fn pyenv_folder(host: &Host, root: &Path, version: &str) -> Option<PathBuf> {
    if version.contains('/') && version.starts_with('.') {
        return None;
    }
    let versions = root.join("versions");
    let version = version.strip_prefix("python-").unwrap_or(version);
    let exact = versions.join(version);
    if host.is_dir(&exact) {
        return Some(exact);
    }
    let wanted = format!("{version}.");
    host.names(&versions)
        .into_iter()
        .filter(|name| name.starts_with(&wanted))
        .filter_map(|name| name.parse::<crate::version::Dotted>().ok())
        .max()
        .map(|version| versions.join(version.as_str()))
}

/// The program and variables of a `kernel.json`; `None` for kernels of other languages.
type Spec = (String, BTreeMap<String, String>);

fn parse_kernel(text: &str) -> Result<Option<Spec>, String> {
    let json: serde_json::Value = serde_json::from_slice(text.as_bytes()).map_err(|error| error.to_string())?;
    let program = json.get("argv").and_then(|argv| argv.get(0)).and_then(serde_json::Value::as_str);
    let Some(program) = program else { return Err("it names no program".to_owned()) };
    let file = program.rsplit('/').next().unwrap_or(program);
    let language = json.get("language").and_then(serde_json::Value::as_str).unwrap_or_default();
    // Kernels of other languages may be written in Python.
    let python = language.to_ascii_lowercase().starts_with("python");
    let by_name = language.is_empty() && file.starts_with("python");
    if !(python || by_name) {
        return Ok(None);
    }
    let variables = json.get("env").and_then(serde_json::Value::as_object).map_or_else(BTreeMap::new, |map| {
        map.iter().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).take(200).sorted_map()
    });
    Ok(Some((program.to_owned(), variables)))
}

/// Whether an environment is one that nobody made for a purpose.
pub(super) fn is_plain(kind: EnvKind) -> bool {
    matches!(kind, EnvKind::System | EnvKind::Pyenv | EnvKind::Uv)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn tree(files: &[&str], env: &[(&str, &str)]) -> (tempfile::TempDir, Host) {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            let (path, text) = file.split_once('|').unwrap_or((file, ""));
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let host = Host::rooted(dir.path(), env).unwrap();
        (dir, host)
    }

    const VENV: &str = "app/.venv/pyvenv.cfg|home = /usr/bin\nversion = 3.11.2\n";

    fn prefixes(found: &Found) -> Vec<(&str, bool)> {
        found.places.iter().map(|place| (place.layout.prefix.as_str(), place.active)).collect()
    }

    #[test]
    fn the_active_one_follows_the_shell() {
        let files = ["usr/bin/python3.11", "usr/bin/python3", VENV, "app/.venv/bin/python", "app/sub/x"];
        let (_dir, host) = tree(&files, &[("PATH", "/usr/bin"), ("PWD", "/app/sub")]);
        let found = discover(&host, &Options::default());
        assert_eq!(prefixes(&found), [("/app/.venv", false), ("/usr", true)]);
        let (_dir, host) = tree(&files, &[("PATH", "/usr/bin"), ("VIRTUAL_ENV", "/app/.venv")]);
        assert_eq!(prefixes(&discover(&host, &Options::default()))[0], ("/app/.venv", true));
        let (_dir, host) = tree(&files[2..], &[("PWD", "/app"), ("VIRTUAL_ENV", "/gone")]);
        let found = discover(&host, &Options::default());
        assert_eq!(prefixes(&found), [("/app/.venv", true)]);
        assert_eq!(found.troubles[0].at, "/gone");
    }

    #[test]
    fn named_ones_are_the_only_ones() {
        let (_dir, host) = tree(&["usr/bin/python3.11", VENV, "app/.venv/bin/python"], &[("PATH", "/usr/bin")]);
        let options = Options { python: vec!["/app/.venv".into(), "/none".into()], ..Options::default() };
        let found = discover(&host, &options);
        assert_eq!(prefixes(&found), [("/app/.venv", true)]);
        assert_eq!(found.troubles.len(), 1);
    }

    #[test]
    fn pyenv_stand_ins_are_resolved() {
        let files = [
            "home/a/.pyenv/shims/python",
            "home/a/.pyenv/version|3.10.1\n",
            "home/a/.pyenv/versions/3.11.2/bin/python3.11",
            "home/a/.pyenv/versions/3.11.10/bin/python3.11",
            "w/.python-version|# note\n3.11\n",
        ];
        let env = [("PATH", "/home/a/.pyenv/shims"), ("HOME", "/home/a"), ("PWD", "/w")];
        let (dir, host) = tree(&files, &env);
        for version in ["3.11.2", "3.11.10"] {
            let bin = dir.path().join(format!("home/a/.pyenv/versions/{version}/bin"));
            symlink("python3.11", bin.join("python")).unwrap();
        }
        let found = discover(&host, &Options::default());
        assert_eq!(prefixes(&found), [("/home/a/.pyenv/versions/3.11.10", true)]);
        assert_eq!(found.places[0].layout.kind, EnvKind::Pyenv);
    }

    #[test]
    fn kernels_name_their_environments() {
        let files = [
            VENV,
            "app/.venv/bin/python",
            "app/.venv/share/jupyter/kernels/own/kernel.json|{\"argv\":[\"python\",\"-m\"],\"language\":\"python\"}",
            "k/pyvenv.cfg|version = 3.12.1\n",
            "k/bin/python",
            "usr/share/jupyter/kernels/far/kernel.json|{\"argv\":[\"/k/bin/python\"],\"env\":{\"A\":\"b\"}}",
            "usr/share/jupyter/kernels/dead/kernel.json|{\"argv\":[\"/gone/bin/python\"]}",
            "usr/share/jupyter/kernels/r/kernel.json|{\"argv\":[\"R\"],\"language\":\"R\"}",
            "usr/share/jupyter/kernels/bad/kernel.json|{",
            "usr/share/jupyter/kernels/prefix/kernel.json|{\"argv\":[\"{prefix}/bin/python\",\"-m\"]}",
            "usr/share/jupyter/kernels/script/kernel.json|{\"argv\":[\"{resource_dir}/run.sh\"],\"language\":\"python\"}",
            "usr/share/jupyter/kernels/script/run.sh|#!/bin/sh\n",
            "usr/share/jupyter/kernels/what/kernel.json|{\"argv\":[\"{x}/python\"],\"language\":\"python\"}",
        ];
        let (_dir, host) = tree(&files, &[("VIRTUAL_ENV", "/app/.venv")]);
        let found = discover(&host, &Options::default());
        assert_eq!(prefixes(&found), [("/app/.venv", true), ("/k", false)]);
        let told: Vec<(&str, Option<usize>, bool)> =
            found.kernels.iter().map(|kernel| (kernel.name.as_str(), kernel.env, kernel.trouble.is_some())).collect();
        assert_eq!(
            told,
            [
                ("own", Some(0), false),
                ("bad", None, true),
                ("dead", None, true),
                ("far", Some(1), false),
                ("prefix", Some(0), false),
                ("script", None, true),
                ("what", None, true),
            ]
        );
        assert_eq!(found.kernels[3].variables["A"], "b");
        let gone: Vec<&str> =
            found.kernels.iter().filter(|kernel| kernel.gone).map(|kernel| kernel.name.as_str()).collect();
        assert_eq!(gone, ["dead"]);

        // Where `--python` names one, the others are found for what their kernels start, and not judged.
        let named = Options { python: vec!["/app/.venv".to_owned()], ..Options::default() };
        let found = discover(&host, &named);
        assert_eq!(found.places.iter().map(|place| place.beside).collect::<Vec<_>>(), [false, true]);
        assert_eq!(found.kernels[3].env, Some(1));
    }

    proptest! {
        #[test]
        fn kernel_files_never_panic(text in "[{}\\[\\]\":,a-z/\\\\ 0-9]{0,80}") {
            let _ = parse_kernel(&text);
        }
    }
}
