//! Tells which installation an interpreter or folder belongs to: its prefix, base, kind and version; searches nothing.

use std::path::{Path, PathBuf};

use crate::facts::{EnvKind, Evidence, Probed};
use crate::host::Host;

/// Where one Python lives.
#[derive(Clone, Debug, Default)]
pub(super) struct Layout {
    /// `sys.prefix`.
    pub(super) prefix: String,
    /// The interpreter that a user would start.
    pub(super) interpreter: String,
    /// The interpreter behind all links.
    pub(super) real_interpreter: String,
    pub(super) kind: EnvKind,
    pub(super) version: Probed<String>,
    /// Major and minor, which name the library folders.
    pub(super) minor: Option<(u32, u32)>,
    /// The installation whose standard library is used; the prefix itself outside of virtual environments.
    pub(super) base: String,
    /// `include-system-site-packages`.
    pub(super) system_site: bool,
}

impl Layout {
    /// `python3.11`.
    pub(super) fn folder_name(&self) -> String {
        self.minor.map_or_else(|| "python3".to_owned(), |(major, minor)| format!("python{major}.{minor}"))
    }

    pub(super) fn is_venv(&self) -> bool {
        self.kind == EnvKind::Venv
    }

    /// What tells two environments apart: Debian's interpreters share one prefix.
    pub(super) fn key(&self, host: &Host) -> (String, Option<(u32, u32)>) {
        (host.real_text(&self.prefix), if self.is_venv() { None } else { self.minor })
    }
}

/// Joins a folder and a relative path as text.
pub(super) fn join(folder: &str, rest: &str) -> String {
    if folder == "/" { format!("/{rest}") } else { format!("{}/{rest}", folder.trim_end_matches('/')) }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// An absolute path; where it holds `..`, the path behind all links.
pub(super) fn tidy(host: &Host, path: impl AsRef<Path>) -> String {
    let path = host.absolute(path);
    if path.components().any(|part| part == std::path::Component::ParentDir) {
        host.real_text(&path)
    } else {
        text(&path)
    }
}

/// `3.11` from `python3.11`; the `m`, `d` and `t` of special builds are passed over.
fn minor_from_name(name: &str) -> Option<(u32, u32)> {
    let rest = name.strip_prefix("python").or_else(|| name.strip_prefix("pypy"))?;
    let rest = rest.trim_end_matches(['m', 'd', 'u', 't']);
    let (major, minor) = rest.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

fn minor_of(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// The leading numbers of `3.11.7.final.0`: at most three.
fn leading(version: &str) -> Option<String> {
    let parts: Vec<&str> =
        version.trim().split('.').take(3).take_while(|part| part.starts_with(|c: char| c.is_ascii_digit())).collect();
    (parts.len() >= 2 && version.len() <= 64).then(|| parts.join("."))
}

/// The value of a key of `pyvenv.cfg`, with its line.
pub(super) fn cfg_value<'a>(cfg: &'a str, wanted: &str) -> Option<(&'a str, u32)> {
    (1u32..).zip(cfg.lines()).find_map(|(number, line)| {
        let (key, value) = line.split_once('=')?;
        key.trim().eq_ignore_ascii_case(wanted).then(|| (value.trim(), number))
    })
}

/// `PY_VERSION` of `patchlevel.h`, with its line.
fn patchlevel(header: &str) -> Option<(String, u32)> {
    (1u32..).zip(header.lines()).find_map(|(number, line)| {
        let rest = line.trim().strip_prefix("#define")?.trim_start().strip_prefix("PY_VERSION")?;
        let value = rest.strip_prefix(char::is_whitespace)?.trim().trim_matches('"').trim_end_matches('+');
        (!value.is_empty() && value.len() < 32).then(|| (value.to_owned(), number))
    })
}

/// The interpreter in a folder of programs, the plainest name first.
fn interpreter_in(host: &Host, bin: &str) -> Option<String> {
    for name in ["python", "python3"] {
        let path = join(bin, name);
        if host.is_file(&path) {
            return Some(path);
        }
    }
    host.names(bin)
        .into_iter()
        .rev()
        .find(|name| minor_from_name(name).is_some() && host.is_file(join(bin, name)))
        .map(|name| join(bin, &name))
}

/// The environment of an interpreter path or an environment folder.
pub(super) fn locate(host: &Host, path: &Path) -> Result<Layout, String> {
    let path = PathBuf::from(tidy(host, path));
    if host.is_dir(&path) {
        let prefix = text(&path);
        let interpreter = interpreter_in(host, &join(&prefix, "bin"));
        let marked = host.is_file(path.join("pyvenv.cfg")) || host.is_dir(path.join("conda-meta"));
        return match interpreter {
            Some(interpreter) => from_interpreter(host, &interpreter, Some(&prefix)),
            // The interpreter of a venv is a link that may dangle; the packages can still be read.
            None if marked => from_interpreter(host, &join(&prefix, "bin/python"), Some(&prefix)),
            None => Err("the folder holds no bin/python".to_owned()),
        };
    }
    match host.stat(&path) {
        Ok(_) => from_interpreter(host, &text(&path), None),
        Err(_) if host.lstat(&path).is_ok() => Err("it is a link to an interpreter that is not there".to_owned()),
        Err(error) => Err(error.why.to_string()),
    }
}

fn from_interpreter(host: &Host, interpreter: &str, folder: Option<&str>) -> Result<Layout, String> {
    let real = host.real_text(interpreter);
    let bin = Path::new(interpreter).parent().unwrap_or(Path::new("/"));
    let above = bin.parent().unwrap_or(Path::new("/"));
    // A venv is recognised beside the interpreter as it was called, links not followed.
    let cfg = [above, bin].into_iter().find_map(|place| {
        let file = text(&place.join("pyvenv.cfg"));
        host.read_lossy(&file).ok().map(|cfg| (text(place), file, cfg))
    });
    if let Some((prefix, file, cfg)) = cfg {
        return Ok(venv(host, prefix, interpreter, real, &file, &cfg));
    }
    let name = Path::new(&real).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let prefix = match folder {
        Some(folder) => folder.to_owned(),
        None if name.starts_with("python") || name.starts_with("pypy") => Path::new(&real)
            .parent()
            .and_then(Path::parent)
            .map(text)
            .ok_or_else(|| "it lies in no installation".to_owned())?,
        None => return Err(format!("it leads to {real}, which is no Python interpreter")),
    };
    let mut layout = Layout {
        interpreter: interpreter.to_owned(),
        real_interpreter: real,
        base: prefix.clone(),
        prefix,
        ..Layout::default()
    };
    layout.kind = if host.is_dir(join(&layout.prefix, "conda-meta")) {
        EnvKind::Conda
    } else if layout.prefix.contains("/uv/python/") {
        EnvKind::Uv
    } else if layout.prefix.contains("/versions/")
        && (layout.prefix.contains("/.pyenv/")
            || host.env_nonempty("PYENV_ROOT").is_some_and(|root| layout.prefix.starts_with(root)))
    {
        EnvKind::Pyenv
    } else {
        EnvKind::System
    };
    layout.minor = minor_from_name(&name).or_else(|| single_library(host, &layout.prefix));
    layout.version = installed_version(host, &layout);
    if layout.minor.is_none() {
        layout.minor = layout.version.value().and_then(|version| minor_of(version));
    }
    Ok(layout)
}

fn venv(host: &Host, prefix: String, interpreter: &str, real: String, file: &str, cfg: &str) -> Layout {
    let stated = ["version", "version_info"]
        .into_iter()
        .find_map(|key| cfg_value(cfg, key).and_then(|(value, line)| Some((leading(value)?, line, value))));
    let real_name = Path::new(&real).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let minor = stated
        .as_ref()
        .and_then(|(version, ..)| minor_of(version))
        .or_else(|| minor_from_name(&real_name))
        .or_else(|| single_library(host, &prefix));
    let home = cfg_value(cfg, "home").map(|(value, _)| value.to_owned()).filter(|home| home.starts_with('/'));
    let library = minor.map_or_else(String::new, |(major, minor)| format!("lib/python{major}.{minor}"));
    let beside = |path: &str| Path::new(path).parent().map(text);
    let bases = [home.as_deref().and_then(beside), Path::new(&real).parent().map(text).as_deref().and_then(beside)];
    let base = bases
        .iter()
        .flatten()
        .find(|base| !library.is_empty() && host.is_dir(join(base, &library)))
        .or_else(|| bases.iter().flatten().next())
        .cloned()
        .unwrap_or_else(|| "/usr".to_owned());
    let mut layout = Layout {
        interpreter: interpreter.to_owned(),
        real_interpreter: real,
        kind: EnvKind::Venv,
        version: Probed::Absent,
        minor,
        base,
        system_site: cfg_value(cfg, "include-system-site-packages")
            .is_some_and(|(value, _)| value.eq_ignore_ascii_case("true")),
        prefix,
    };
    layout.version = match stated {
        Some((version, line, value)) if version.split('.').count() == 3 => {
            Probed::found(version, Evidence::file(file, value).line(line))
        }
        other => match installed_version(host, &layout) {
            better @ Probed::Found { .. } => better,
            worse => other
                .map_or(worse, |(version, line, value)| Probed::found(version, Evidence::file(file, value).line(line))),
        },
    };
    layout
}

/// The one `lib/pythonX.Y` folder with packages or a standard library.
fn single_library(host: &Host, prefix: &str) -> Option<(u32, u32)> {
    let lib = join(prefix, "lib");
    let mut found = host
        .names(&lib)
        .into_iter()
        .filter_map(|name| minor_from_name(&name).map(|minor| (minor, name)))
        .filter(|(_, name)| {
            let folder = join(&lib, name);
            host.exists(join(&folder, "site-packages")) || host.exists(join(&folder, "os.py"))
        })
        .map(|(minor, _)| minor);
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// The version by installed headers, conda's records, or the folder that uv or pyenv names after it.
fn installed_version(host: &Host, layout: &Layout) -> Probed<String> {
    if let Some((major, minor)) = layout.minor {
        for suffix in ["", "m", "t"] {
            let header = join(&layout.base, &format!("include/python{major}.{minor}{suffix}/patchlevel.h"));
            if let Ok(read) = host.read_lossy(&header)
                && let Some((version, line)) = patchlevel(&read)
            {
                let says = format!("PY_VERSION {version}");
                return Probed::found(version, Evidence::file(header, says).line(line));
            }
        }
    }
    let meta = join(&layout.base, "conda-meta");
    for name in host.names(&meta) {
        let Some(stem) = name.strip_suffix(".json").and_then(|stem| stem.strip_prefix("python-")) else { continue };
        if stem.starts_with(|c: char| c.is_ascii_digit())
            && let Some(version) = stem.split('-').next()
        {
            return Probed::found(version.to_owned(), Evidence::package(join(&meta, &name), stem));
        }
    }
    if matches!(layout.kind, EnvKind::Pyenv | EnvKind::Uv) || layout.is_venv() {
        let folder = layout.base.rsplit('/').next().unwrap_or_default();
        let version = folder.split('-').find(|part| part.starts_with(|c: char| c.is_ascii_digit()));
        if let Some(version) = version.filter(|version| version.split('.').count() == 3) {
            return Probed::found(version.to_owned(), Evidence::file(&layout.base, folder));
        }
    }
    match layout.minor {
        Some((major, minor)) => {
            let version = format!("{major}.{minor}");
            let evidence = Evidence::file(&layout.real_interpreter, "the interpreter's name");
            Probed::found(version, evidence)
        }
        None => Probed::failed(format!("nothing under {} tells the version", layout.prefix)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::fs;

    #[test]
    fn a_venv_is_read_from_its_own_file() {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put(
            "app/.venv/pyvenv.cfg",
            "home = /usr/bin\nInclude-System-Site-Packages = TRUE\nversion_info = 3.11.7.final.0\n",
        );
        put("app/.venv/lib/python3.11/site-packages/x.py", "");
        put("usr/lib/python3.11/os.py", "");
        put("usr/bin/python3.11", "");
        std::os::unix::fs::symlink("/usr/bin/python3.11", dir.path().join("usr/bin/python3")).unwrap();
        let host = Host::rooted(dir.path(), BTreeMap::new()).unwrap();
        let venv = locate(&host, Path::new("/app/.venv")).unwrap();
        assert_eq!(venv.kind, EnvKind::Venv);
        assert_eq!(venv.version.value().unwrap(), "3.11.7");
        assert_eq!(venv.version.evidence().unwrap().line, Some(3));
        assert_eq!(venv.base, "/usr");
        assert!(venv.system_site);
        let system = locate(&host, Path::new("/usr/bin/python3")).unwrap();
        assert_eq!((system.kind, system.minor, system.prefix.as_str()), (EnvKind::System, Some((3, 11)), "/usr"));
        assert_eq!(system.version.value().unwrap(), "3.11");
        assert!(locate(&host, Path::new("/nowhere")).is_err());
        assert!(locate(&host, Path::new("/app")).is_err());
    }

    proptest! {
        #[test]
        fn version_files_never_panic(text in "\\PC{0,200}") {
            let _ = (leading(&text), cfg_value(&text, "version"), patchlevel(&text), minor_from_name(&text));
            let _ = patchlevel(&format!("#define PY_VERSION {text}"));
            let _ = minor_from_name(&format!("python{text}"));
        }
    }
}
