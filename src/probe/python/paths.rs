//! Rebuilds `sys.path` of an environment as `python -c` would have it; executes no line of any `.pth` file.

use std::collections::HashSet;

use super::layout::{Layout, join, tidy};
use super::literal;
use crate::facts::{Evidence, PathOrigin, SysPathEntry, Trouble};
use crate::host::Host;

/// `.pth` files are read up to this many bytes.
const PTH_LIMIT: u64 = 1 << 20;
/// No sane `sys.path` is longer.
const ENTRY_LIMIT: usize = 2000;

struct Builder<'h> {
    host: &'h Host,
    entries: Vec<SysPathEntry>,
    known: HashSet<String>,
    /// Folders out of which an editable installation answers by code, after all of `sys.path`.
    answered: Vec<(String, PathOrigin, &'static str)>,
    /// Code that may add more folders.
    code: Option<Evidence>,
    troubles: Vec<Trouble>,
}

/// The modules that are judged here.
const JUDGED: [&str; 6] = ["keras", "tensorflow", "tf_keras", "jax", "torch", "numpy"];

impl Builder<'_> {
    fn push(&mut self, path: String, origin: PathOrigin) -> bool {
        if self.entries.len() >= ENTRY_LIMIT || !self.known.insert(path.clone()) {
            return false;
        }
        self.entries.push(SysPathEntry { path, origin, only: Vec::new() });
        true
    }

    /// Adds a folder of packages and then what its `.pth` files name.
    fn site(&mut self, folder: &str, origin: PathOrigin) {
        if !self.host.is_dir(folder) || self.known.contains(folder) {
            return;
        }
        self.push(folder.to_owned(), origin);
        for name in self.host.names(folder) {
            if name.strip_suffix(".pth").is_some() && !name.starts_with('.') {
                self.pth(folder, &join(folder, &name));
            }
        }
    }

    fn pth(&mut self, folder: &str, file: &str) {
        let bytes = match self.host.read(file, PTH_LIMIT) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.troubles.push(Trouble { at: file.to_owned(), why: error.why.to_string() });
                return;
            }
        };
        let text = String::from_utf8_lossy(&bytes);
        for (number, line) in (1u32..).zip(text.trim_start_matches('\u{feff}').lines()) {
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            if line.starts_with("import ") || line.starts_with("import\t") {
                self.finder(folder, file, line, number);
                continue;
            }
            let line = line.trim_end();
            if line.contains('\0') {
                break;
            }
            let path = if line.starts_with('/') { line.to_owned() } else { join(folder, line) };
            let path = tidy(self.host, path);
            if self.host.exists(&path) {
                self.push(path, PathOrigin::Pth { file: file.to_owned(), line: number });
            }
        }
    }

    /// An editable installation can answer for modules by code, out of a mapping that setuptools writes into it.
    ///
    /// A package that lies in a folder of its own name is found as if that folder's parent were the last entry; what
    /// else concerns a module that is judged here is told.
    fn finder(&mut self, folder: &str, file: &str, line: &str, number: u32) {
        let Some(module) = line
            .split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .find(|word| word.starts_with("__editable__") && word.ends_with("finder"))
        else {
            if adds_to_the_path(line) {
                self.code.get_or_insert_with(|| Evidence::file(file, line.trim()).line(number));
            }
            return;
        };
        let source = self.host.read_lossy(join(folder, &format!("{module}.py"))).unwrap_or_default();
        let mapped = literal::assigned_map(&source, "MAPPING").map(|(pairs, _)| pairs).unwrap_or_default();
        let parent = |name: &str| {
            let (_, path) = mapped.iter().find(|(key, _)| key == name)?;
            let (parent, last) = path.text()?.rsplit_once('/')?;
            (last == name && parent.starts_with('/')).then(|| parent.to_owned())
        };
        let mentions = |name: &str| source.contains(&format!("'{name}'")) || source.contains(&format!("\"{name}\""));
        let mut open = false;
        for name in JUDGED.into_iter().filter(|name| mentions(name)) {
            match parent(name) {
                Some(parent) => {
                    self.answered.push((parent, PathOrigin::Pth { file: file.to_owned(), line: number }, name));
                }
                None => open = true,
            }
        }
        if open {
            self.troubles.push(Trouble {
                at: file.to_owned(),
                why: format!("{module} answers for modules by code, which is not run here"),
            });
        }
    }
}

/// `sys.path` and what could not be followed.
pub(super) fn sys_path(host: &Host, layout: &Layout) -> Paths {
    let mut builder = Builder {
        host,
        entries: Vec::new(),
        known: HashSet::new(),
        answered: Vec::new(),
        code: None,
        troubles: Vec::new(),
    };
    let cwd = host.cwd().to_string_lossy().into_owned();
    // The script's folder goes in front when everything else is there, so a second mention of it stays.
    let script = host.env_nonempty("PYTHONSAFEPATH").is_none() || layout.minor.is_some_and(|minor| minor < (3, 11));
    for entry in host.env_nonempty("PYTHONPATH").unwrap_or_default().split(':') {
        if host.env_nonempty("PYTHONPATH").is_some() {
            let path = if entry.is_empty() { cwd.clone() } else { host.absolute(entry).to_string_lossy().into_owned() };
            builder.push(path, PathOrigin::PythonPath);
        }
    }
    stdlib(&mut builder, layout);
    let name = layout.folder_name();
    if layout.is_venv() {
        venv_site(&mut builder, &layout.prefix, &name);
        if layout.system_site {
            user_site(&mut builder, &name);
            installation_site(&mut builder, &layout.base, layout, &PathOrigin::BaseSite);
        }
    } else {
        user_site(&mut builder, &name);
        let home = python_home(host);
        let prefix = home.as_deref().unwrap_or(&layout.prefix);
        installation_site(&mut builder, prefix, layout, &PathOrigin::Site);
    }
    let mut entries = builder.entries;
    // Python imports these by itself, wherever they lie; distributions have one that leaves the path as it is.
    let custom =
        entries.iter().flat_map(|entry| ["sitecustomize.py", "usercustomize.py"].map(|it| join(&entry.path, it)));
    let custom = custom.filter(|path| host.is_file(path)).find_map(|path| {
        let text = host.read_lossy(&path).ok()?;
        let (number, line) = (1u32..).zip(text.lines()).find(|(_, line)| adds_to_the_path(line))?;
        Some(Evidence::file(path, line.trim()).line(number))
    });
    for (path, origin, name) in builder.answered {
        entries.push(SysPathEntry { path, origin, only: vec![name.to_owned()] });
    }
    if script {
        entries.insert(0, SysPathEntry { path: cwd, origin: PathOrigin::Script, only: Vec::new() });
    }
    Paths { entries, code: builder.code.or(custom), troubles: builder.troubles }
}

/// Whether a line of code may add a folder to `sys.path`.
fn adds_to_the_path(line: &str) -> bool {
    let line = line.trim_start();
    !line.starts_with('#') && ["sys.path", "addsitedir", "addpackage"].iter().any(|word| line.contains(word))
}

/// `sys.path`, and what stays open about it.
#[derive(Debug)]
pub(super) struct Paths {
    pub(super) entries: Vec<SysPathEntry>,
    /// Code that may add more folders.
    pub(super) code: Option<Evidence>,
    /// What could not be followed.
    pub(super) troubles: Vec<Trouble>,
}

/// The prefix that `PYTHONHOME` names.
fn python_home(host: &Host) -> Option<String> {
    host.env_nonempty("PYTHONHOME").and_then(|home| home.split(':').next()).map(str::to_owned)
}

fn stdlib(builder: &mut Builder<'_>, layout: &Layout) {
    let home = python_home(builder.host);
    let base = home.as_deref().unwrap_or(&layout.base);
    let Some((major, minor)) = layout.minor else { return };
    builder.push(join(base, &format!("lib/python{major}{minor}.zip")), PathOrigin::Stdlib);
    let name = layout.folder_name();
    let lib = ["lib64", "lib"]
        .into_iter()
        .map(|lib| join(base, &format!("{lib}/{name}")))
        .find(|folder| builder.host.is_file(join(folder, "os.py")))
        .unwrap_or_else(|| join(base, &format!("lib/{name}")));
    // `lib64` is most often a link; the interpreter then speaks of `lib`.
    let lib = if lib.contains("/lib64/") && builder.host.is_file(join(base, &format!("lib/{name}/os.py"))) {
        join(base, &format!("lib/{name}"))
    } else {
        lib
    };
    builder.push(lib.clone(), PathOrigin::Stdlib);
    builder.push(join(&lib, "lib-dynload"), PathOrigin::Stdlib);
}

fn venv_site(builder: &mut Builder<'_>, prefix: &str, name: &str) {
    let plain = join(prefix, &format!("lib/{name}/site-packages"));
    let wide = join(prefix, &format!("lib64/{name}/site-packages"));
    if builder.host.is_dir(&wide) && builder.host.real_text(&wide) != builder.host.real_text(&plain) {
        builder.site(&wide, PathOrigin::Site);
    }
    builder.site(&plain, PathOrigin::Site);
}

fn user_site(builder: &mut Builder<'_>, name: &str) {
    let host = builder.host;
    if host.env_nonempty("PYTHONNOUSERSITE").is_some() {
        return;
    }
    let base = match host.env_nonempty("PYTHONUSERBASE") {
        Some(base) => base.to_owned(),
        None => match host.home() {
            Some(home) => join(home, ".local"),
            None => return,
        },
    };
    builder.site(&join(&base, &format!("lib/{name}/site-packages")), PathOrigin::UserSite);
}

/// The package folders of an installation; Debian's own Python has others.
fn installation_site(builder: &mut Builder<'_>, prefix: &str, layout: &Layout, origin: &PathOrigin) {
    let name = layout.folder_name();
    let debian = prefix == "/usr"
        && (builder.host.is_dir("/usr/lib/python3/dist-packages")
            || builder.host.is_dir(format!("/usr/local/lib/{name}/dist-packages")));
    if debian {
        for folder in [
            format!("/usr/local/lib/{name}/dist-packages"),
            "/usr/lib/python3/dist-packages".to_owned(),
            format!("/usr/lib/{name}/dist-packages"),
        ] {
            builder.site(&folder, origin.clone());
        }
        return;
    }
    for lib in ["lib64", "lib"] {
        let folder = join(prefix, &format!("{lib}/{name}/site-packages"));
        let linked = lib == "lib64"
            && builder.host.real_text(&folder)
                == builder.host.real_text(join(prefix, &format!("lib/{name}/site-packages")));
        if !linked {
            builder.site(&folder, origin.clone());
        }
    }
    if prefix == "/usr" {
        // Fedora and others: what pip installs for all users.
        builder.site(&format!("/usr/local/lib/{name}/site-packages"), origin.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::EnvKind;
    use std::collections::BTreeMap;
    use std::fs;

    fn tree(files: &[(&str, &str)], env: &[(&str, &str)]) -> (tempfile::TempDir, Host) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let env: BTreeMap<String, String> = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let host = Host::rooted(dir.path(), env).unwrap();
        (dir, host)
    }

    fn layout(kind: EnvKind) -> Layout {
        Layout { prefix: "/env".to_owned(), base: "/usr".to_owned(), kind, minor: Some((3, 11)), ..Layout::default() }
    }

    const FILES: &[(&str, &str)] = &[
        ("env/lib/python3.11/site-packages/a.pth", "# note\nimport os\nextra\n/gone\n/src/lib\n../x\n"),
        ("env/lib/python3.11/site-packages/extra/m.py", ""),
        ("env/lib/python3.11/x/m.py", ""),
        ("src/lib/m.py", ""),
        ("usr/lib/python3.11/os.py", ""),
        ("usr/lib/python3/dist-packages/m.py", ""),
        ("home/a/.local/lib/python3.11/site-packages/m.py", ""),
    ];

    fn paths(entries: &[SysPathEntry]) -> Vec<&str> {
        entries.iter().map(|entry| entry.path.as_str()).collect()
    }

    #[test]
    fn a_venv_without_the_system() {
        let (_dir, host) = tree(FILES, &[("HOME", "/home/a"), ("PWD", "/work"), ("PYTHONPATH", "/p:")]);
        let Paths { entries, troubles, .. } = sys_path(&host, &layout(EnvKind::Venv));
        assert_eq!(
            paths(&entries),
            [
                "/work",
                "/p",
                "/work",
                "/usr/lib/python311.zip",
                "/usr/lib/python3.11",
                "/usr/lib/python3.11/lib-dynload",
                "/env/lib/python3.11/site-packages",
                "/env/lib/python3.11/site-packages/extra",
                "/src/lib",
                "/env/lib/python3.11/x",
            ]
        );
        assert!(troubles.is_empty());
        let PathOrigin::Pth { line, .. } = entries[7].origin else { panic!("{entries:?}") };
        assert_eq!(line, 3);
    }

    #[test]
    fn a_venv_with_the_system_has_the_users_packages_too() {
        let (_dir, host) = tree(FILES, &[("HOME", "/home/a"), ("PYTHONSAFEPATH", "1")]);
        let mut layout = layout(EnvKind::Venv);
        layout.system_site = true;
        let Paths { entries, .. } = sys_path(&host, &layout);
        let tail: Vec<&str> = paths(&entries).split_off(7);
        assert_eq!(tail, ["/home/a/.local/lib/python3.11/site-packages", "/usr/lib/python3/dist-packages"]);
        assert_eq!(entries[0].origin, PathOrigin::Stdlib);
    }

    #[test]
    fn variables_switch_the_users_packages_off() {
        let (_dir, host) = tree(FILES, &[("HOME", "/home/a"), ("PYTHONNOUSERSITE", "1")]);
        let mut layout = layout(EnvKind::System);
        layout.prefix = "/usr".to_owned();
        let Paths { entries, .. } = sys_path(&host, &layout);
        assert_eq!(paths(&entries).last().copied(), Some("/usr/lib/python3/dist-packages"));
        assert_eq!(entries.len(), 5);
    }
}
