//! Judges variables that end Python, TensorFlow's import or XLA by their value; where none is set, it reads nothing.

use super::layout::{Layout, join};
use crate::facts::{Ends, Evidence, FatalVariable, PathOrigin, SysPathEntry};
use crate::host::Host;

/// What of the variables ends something here; `package` is the folder of TensorFlow's package.
pub(super) fn read(
    host: &Host,
    layout: &Layout,
    sys_path: &[SysPathEntry],
    package: Option<&str>,
) -> Vec<FatalVariable> {
    let mut found = Vec::new();
    let mut add = |name: &str, ends, what: &dyn Fn(&str) -> Option<String>| {
        if let Some(value) = host.env_nonempty(name)
            && let Some(what) = what(value)
        {
            found.push(FatalVariable { ends, what, evidence: Evidence::env(name, value) });
        }
    };
    add("PYTHONHOME", Ends::Python, &|_| home(host, layout, sys_path));
    if let Some(package) = package {
        add("PYTHONOPTIMIZE", Ends::Import, &|value| optimize(host, package, value));
        add("TF_PLUGGABLE_DEVICE_LIBRARY_PATH", Ends::Import, &|value| plugin(host, package, value));
        add("TF_XLA_FLAGS", Ends::Devices, &|value| flags(host, value));
        add("XLA_FLAGS", Ends::Compilation, &|value| flags(host, value));
    }
    found
}

/// Python imports `encodings` before anything else, out of `PYTHONPATH` and the standard library that `PYTHONHOME`
/// names; a venv honours the variable too (measured with 3.6 to 3.13).
fn home(host: &Host, layout: &Layout, sys_path: &[SysPathEntry]) -> Option<String> {
    // PyPy has a search of its own, and what is no program may set the variable itself.
    let own = layout.minor.is_some_and(|(major, _)| major == 3)
        && !layout.real_interpreter.contains("pypy")
        && host.read_head(&layout.real_interpreter, 4).is_ok_and(|head| head == b"\x7fELF");
    let mut places = sys_path.iter().filter(|it| matches!(it.origin, PathOrigin::PythonPath | PathOrigin::Stdlib));
    // A file is an archive.
    let found = places.any(|it| host.exists(join(&it.path, "encodings")) || host.is_file(&it.path));
    (own && !found).then(|| format!("names a folder without lib/{}/encodings", layout.folder_name()))
}

/// From level 2 on Python drops docstrings. `make_all` of TensorFlow before 2.21 hands one to `re` without a look at
/// it: <https://github.com/tensorflow/tensorflow/blob/v2.20.0/tensorflow/python/util/all_util.py>.
fn optimize(host: &Host, package: &str, value: &str) -> Option<String> {
    // As `strtol` reads it; what it does not take is 1 (`_Py_get_env_flag` in CPython's Python/preconfig.c).
    value.trim_start().parse::<i32>().ok().filter(|level| *level >= 2)?;
    let text = host.read_lossy(join(package, "python/util/all_util.py")).ok()?;
    let blind = text.contains("finditer(doc_module.__doc__)") && text.matches("__doc__").count() == 1;
    blind.then(|| "drops the docstrings that tensorflow/python/util/all_util.py reads".to_owned())
}

/// The end of `tensorflow/__init__.py` loads the file, or what is called a shared object in the folder:
/// `load_pluggable_device_library` in `tensorflow/python/framework/load_library.py`.
fn plugin(host: &Host, package: &str, value: &str) -> Option<String> {
    if !host.read_lossy(join(package, "__init__.py")).ok()?.contains("TF_PLUGGABLE_DEVICE_LIBRARY_PATH") {
        return None;
    }
    let path = host.absolute(value).to_string_lossy().into_owned();
    if host.stat(&path).is_err_and(|error| error.is_absent()) {
        return Some("names a file or folder that is not there".to_owned());
    }
    let shared = |name: &str| {
        let version = name.rsplit_once(".so.").and_then(|(_, version)| version.bytes().next());
        name.strip_suffix(".so").is_some() || version.is_some_and(|first| first.is_ascii_digit())
    };
    let no_library = |path: &str| host.read_head(path, 4).is_ok_and(|head| head != b"\x7fELF");
    if no_library(&path) {
        return Some("names a file that is no library".to_owned());
    }
    let name = host.names_where(&path, shared).into_iter().find(|name| no_library(&join(&path, name)))?;
    Some(format!("names a folder in which {name} is no library"))
}

/// Which flags there are only XLA's code knows; that a value is no flag, or a word not one of `--`, is certain:
/// <https://github.com/openxla/xla/blob/main/xla/parse_flags_from_env.cc> (measured with TensorFlow 2.15, 2.20, 2.21).
fn flags(host: &Host, value: &str) -> Option<String> {
    let blank = [' ', '\t', '\r', '\n'];
    if !value.trim_start_matches(blank).starts_with('-') {
        // A folder is opened, and found empty.
        let absent = host.stat(host.absolute(value)).is_err_and(|error| error.is_absent());
        return absent.then(|| "does not begin with `--`, and no file of that name is there".to_owned());
    }
    // What is quoted may hold blanks, and what does not begin with `-` ends the list unread.
    let words = value.split(['"', '\'']).next().unwrap_or_default().split(blank).filter(|word| !word.is_empty());
    let word = words.take_while(|word| word.starts_with('-')).find(|word| !word.starts_with("--") || *word == "--")?;
    Some(format!("holds `{word}`, and flags begin with `--`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_certainly_no_flag_is_told() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("flags"), "--x").unwrap();
        let host = Host::rooted(dir.path(), std::collections::BTreeMap::new()).unwrap();
        for dead in ["gone", " ", " /flags", "xla_gpu_autotune_level=0", "  -x", "--a=1 -b", "--a --", "-"] {
            assert!(flags(&host, dead).is_some(), "{dead}");
        }
        for alive in ["/flags", "/", "--a", " --a=1\t--b", "--a=1 b -c", "--a=\"b -c\"", "--a='b' -c"] {
            assert!(flags(&host, alive).is_none(), "{alive}");
        }
    }

    #[test]
    fn levels_are_read_as_python_reads_them() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("tf/python/util")).unwrap();
        let host = Host::rooted(dir.path(), std::collections::BTreeMap::new()).unwrap();
        let file = dir.path().join("tf/python/util/all_util.py");
        let asked = "in _reference_pattern.finditer(doc_module.__doc__)\n";
        std::fs::write(&file, asked).unwrap();
        for (level, told) in [("2", true), ("3", true), (" 2", true), ("+2", true), ("1", false), ("2 ", false)] {
            assert_eq!(optimize(&host, "/tf", level).is_some(), told, "{level}");
        }
        std::fs::write(&file, format!("if doc_module.__doc__ is None:\n  continue\n{asked}")).unwrap();
        assert!(optimize(&host, "/tf", "2").is_none());
    }
}
