//! Finds what TensorFlow, Keras and Keras's backend import of the packages that they require and would not get; imports nothing.
//!
//! Few requirements are imported wherever they are required, so a missing one counts only where a file that the import
//! surely reads names it outside of any block. Where nothing is missing, no source file is read. So it is with packages
//! that NumPy 2 does not load, which are looked for among their old releases only.

use std::collections::HashSet;

use super::dists::{self, Requires};
use super::keras;
use super::layout::join;
use super::literal;
use super::modules::Importer;
use super::record;
use super::requirement::{self, MarkerEnv};
use crate::facts::{Evidence, Module, PathOrigin, PythonEnv, UnmetImport};
use crate::probe::symbols;
use crate::version::{Dotted, leading_numbers};

/// The head of METADATA ends long before this.
const HEAD: u64 = 256 << 10;
/// An import of TensorFlow reads about two thousand files, of some twenty kilobytes each.
const FILES: usize = 6000;
const BYTES: usize = 128 << 20;

/// Packages that were compiled for NumPy 1 up to a release: the module, the part of it that is loaded with it and asks
/// for NumPy's C interface, that release as `pip` takes it, and what it imports before that part.
///
/// Older ones are looked at, and their own constants decide. That the parts are loaded was seen with pandas 1.5 to
/// 2.2, h5py 3.9 to 3.16 and `ml_dtypes` 0.2 to 0.6 on NumPy 2.4.
const COMPILED: [(&str, &str, &str, &str, &[&str]); 3] = [
    ("pandas", "pandas", "_libs/interval", "2.2.2", &["dateutil", "pytz"]),
    ("h5py", "h5py", "_conv", "3.11", &[]),
    ("ml-dtypes", "ml_dtypes", "_ml_dtypes_ext", "0.4", &[]),
];

/// Constants of an extension module read at most.
const CONSTANTS: u64 = 16 << 20;

/// A requirement of which code is gone, or which does not load.
struct Lost {
    unmet: UnmetImport,
    /// The modules that it would bring.
    modules: Vec<String>,
    /// Whether a `try` that catches an `ImportError` does not catch what its import ends with.
    escapes: bool,
}

/// What TensorFlow and Keras of an environment do not get; `known` are their requirements.
pub(super) fn read(
    importer: &Importer<'_, '_>,
    env: &PythonEnv,
    known: &[Requires],
    markers: &MarkerEnv,
) -> Vec<UnmetImport> {
    let mut found: Vec<UnmetImport> = Vec::new();
    // What lies in a folder that may not be read is not known to be gone.
    let closed = |path: &str| importer.folders.list(path).is_none() && importer.folders.host.exists(path);
    if importer.sys_path.iter().any(|entry| entry.origin != PathOrigin::Stdlib && closed(&entry.path)) {
        return found;
    }
    let tensorflow = env.tensorflow.as_ref().and_then(|tf| tf.module.as_ref());
    let numpy = env.modules.get("numpy").and_then(|numpy| numpy.version.as_deref()?.parse::<Dotted>().ok());
    let numpy_2 = numpy.is_some_and(|version| version.major() >= 2);
    found.extend(other_jaxlib(importer, env));
    let config = &env.keras_config;
    let legacy = env.tf_keras.as_ref().filter(|_| config.legacy.is_some() && numpy_2);
    for (name, module) in [("tensorflow", tensorflow), ("keras", env.keras.as_ref()), ("tf_keras", legacy)] {
        let Some(module) = module.filter(|module| !module.namespace && !module.archived) else { continue };
        let Some(dist) = module.dist.and_then(|index| env.dists.get(index)) else { continue };
        let path = join(&dist.metadata, "METADATA");
        let requires = known.iter().find(|known| known.path == path);
        let requires = requires.filter(|_| name != "tf_keras");
        let mut lost = requires.map(|requires| lost(importer, requires, markers)).unwrap_or_default();
        if name == "tensorflow"
            // So far nothing else was found.
            && let Some(unmet) = found.first().cloned()
        {
            lost.push(Lost { unmet, modules: vec!["jax".to_owned()], escapes: true });
        }
        if numpy_2 {
            lost.extend(COMPILED.iter().filter_map(|package| for_numpy_1(importer, package)));
        }
        let mut follow = vec![(name.to_owned(), module.clone())];
        // Of what TensorFlow requires, this alone has requirements that an import needs.
        if name == "tensorflow"
            && let Some(requests) = importer.module("requests").filter(|module| !module.namespace)
            && let Some((metadata, _)) = metadata(importer, "requests")
            && let Some(requires) = requires_of(importer, &metadata)
        {
            lost.extend(self::lost(importer, &requires, markers));
            follow.push(("requests".to_owned(), requests));
        }
        let mut start = vec![name.to_owned()];
        let backend = ["torch", "jax"].into_iter().find(|backend| keras::chooses(config, backend));
        if name == "keras"
            && config.legacy.is_none()
            && let Some(backend) = backend
            && let Some(module) = importer.module(backend).filter(|module| !module.namespace)
            && let Some((metadata, _)) = metadata(importer, backend)
            && let Some(requires) = requires_of(importer, &metadata)
        {
            lost.extend(self::lost(importer, &requires, markers));
            follow.push((backend.to_owned(), module));
            start.push(format!("keras.src.backend.{backend}"));
            start.push(backend.to_owned());
        }
        lost.retain(|lost| {
            // Where TensorFlow is, a NumPy that is gone altogether has a rule of its own.
            lost.unmet.name != "numpy" || lost.unmet.lacks.is_some() || tensorflow.is_none()
        });
        if !lost.is_empty() {
            found.extend(walk(importer, start, &follow, lost));
        }
    }
    found
}

/// The requirements of a distribution that was not read with the others.
fn requires_of(importer: &Importer<'_, '_>, metadata: &str) -> Option<Requires> {
    let path = join(metadata, "METADATA");
    let text = importer.folders.read_head(&path, HEAD).ok()?;
    Some(Requires { path, lines: dists::head(&String::from_utf8_lossy(&text)).requires })
}

/// The requirements of which nothing, or not the compiled part, is on `sys.path`.
fn lost(importer: &Importer<'_, '_>, requires: &Requires, markers: &MarkerEnv) -> Vec<Lost> {
    let lost = requires.lines.iter().filter_map(|(line, text)| {
        let parsed = requirement::parse(text)?;
        let wanted = parsed.extra().is_none() && parsed.applies(markers, "") == Some(true);
        let own_rule = dists::is_tensorflow(&parsed.name)
            || dists::is_keras(&parsed.name)
            || ["tf-keras", "nvidia-", "tensorflow", "tensorrt"].iter().any(|start| parsed.name.starts_with(start))
            || parsed.name == "protobuf";
        let (modules, installed, lacks) = code(importer, &parsed.name).filter(|_| wanted && !own_rule)?;
        let unmet = UnmetImport {
            name: parsed.name,
            specifier: parsed.specifier,
            installed,
            lacks,
            required: Evidence::package(&requires.path, text).line(*line),
            ..UnmetImport::default()
        };
        Some(Lost { unmet, modules, escapes: false })
    });
    lost.collect()
}

/// A package whose compiled part was made for NumPy 1 alone, which NumPy 2 does not load.
///
/// Source: `_import_array` of NumPy's `__multiarray_api.h`. That of 1.26 imports `numpy.core._multiarray_umath`, of which
/// NumPy 2 gives no interface; that of 2.0 asks for `numpy._core._multiarray_umath` first. What Cython compiled ends
/// before that: a type of NumPy's has another size than in its header, which is a `ValueError`.
fn for_numpy_1(
    importer: &Importer<'_, '_>,
    &(name, module, part, floor, before): &(&str, &str, &str, &str, &[&str]),
) -> Option<Lost> {
    let (_, version) = metadata(importer, name)?;
    if version.parse::<Dotted>().ok()? >= floor.parse().ok()? {
        return None;
    }
    let there = |module: &str| importer.module(module).filter(|module| !module.namespace && !module.archived);
    let path = join(&there(module)?.path, part);
    let (folder, stem) = path.rsplit_once('/')?;
    let listing = importer.folders.list(folder)?;
    let mut files = listing.iter().filter(|entry| is_extension(&entry.name, stem));
    // Of two that are for different Pythons it is not known which is loaded.
    let (file, None) = (files.next()?, files.next()) else { return None };
    if !before.iter().all(|module| there(module).is_some()) {
        return None;
    }
    let file = join(folder, &file.name);
    let constants = symbols::constants(&importer.folders.host.open(&file).ok()?, CONSTANTS)?;
    let holds = |text: &str| memchr::memmem::find(&constants, text.as_bytes()).is_some();
    let old = "numpy.core._multiarray_umath";
    if !holds(old) || holds("numpy._core._multiarray_umath") {
        return None;
    }
    let unmet = UnmetImport {
        name: name.to_owned(),
        specifier: format!(">={floor}"),
        installed: Some(version),
        clash: Some("numpy".to_owned()),
        required: Evidence::file(file, format!("imports {old} alone, as what was compiled for NumPy 1 does")),
        ..UnmetImport::default()
    };
    let escapes = holds("size changed, may indicate binary incompatibility");
    Some(Lost { unmet, modules: vec![module.to_owned()], escapes })
}

/// The jaxlib with which JAX does not let itself be imported: a `RuntimeError`, which nobody catches.
///
/// Source: `check_jaxlib_version` of `jax/_src/lib/__init__.py`, 0.3.25 to 0.10.2: jaxlib may be as old as
/// `_minimum_jaxlib_version` of `jax/version.py` and as new as JAX itself, by the numbers in front.
fn other_jaxlib(importer: &Importer<'_, '_>, env: &PythonEnv) -> Option<UnmetImport> {
    let jax = env.jax.as_ref()?;
    let module = jax.module.as_ref().filter(|module| !module.namespace && !module.archived)?;
    let (own, installed) = (module.version.as_deref()?, jax.jaxlib.as_deref()?);
    let (newest, is) = (leading_numbers(own)?, leading_numbers(installed)?);
    if is == newest || importer.module("jaxlib").is_none() {
        return None;
    }
    let path = join(&module.path, "version.py");
    let text = importer.folders.read_lossy(&path).ok()?;
    let (value, line) = literal::assigned(&text, "_minimum_jaxlib_version")?;
    let least = value.text().filter(|least| least.len() < 128)?;
    if is < newest && is >= leading_numbers(least)? {
        return None;
    }
    Some(UnmetImport {
        importer: "jax".to_owned(),
        name: "jaxlib".to_owned(),
        specifier: format!(">={least},<={own}"),
        installed: Some(installed.to_owned()),
        clash: Some("jax".to_owned()),
        required: Evidence::file(path, format!("_minimum_jaxlib_version = {least:?}")).line(line),
        by: Evidence::file(join(&module.path, "_src/lib/__init__.py"), "compares it when JAX is imported"),
        ..UnmetImport::default()
    })
}

/// Whether a file is the extension module of that name.
fn is_extension(file: &str, stem: &str) -> bool {
    file.strip_prefix(stem).is_some_and(|rest| rest.starts_with('.') && rest.strip_suffix(".so").is_some())
}

/// The modules of a distribution that are gone, its version where its metadata is here, and the part that is gone.
fn code(importer: &Importer<'_, '_>, name: &str) -> Option<(Vec<String>, Option<String>, Option<String>)> {
    let there = |module: &str| importer.module(module).filter(|module| !module.namespace);
    let plain = name.replace('-', "_");
    // `absl-py` brings `absl`. Other parts of a name are guesses, and may be those of modules of Python's own.
    let mut modules: Vec<String> = vec![plain.clone()];
    modules.extend(plain.strip_suffix("_py").map(str::to_owned));
    if let Some(module) = modules.iter().find_map(|module| there(module)) {
        let lacks = compiled(importer, name, &module)?;
        let version = metadata(importer, name).map(|(_, version)| version);
        return Some((vec![plain], version, Some(lacks)));
    }
    // A folder that others share, such as `google`, is no module of its own.
    modules.retain(|module| importer.module(module).is_none());
    let Some((metadata, version)) = metadata(importer, name) else { return Some((modules, None, None)) };
    // Other names than those are told by what was installed; without a list nothing is known to be gone.
    let record = importer.folders.read_head(&join(&metadata, "RECORD"), record::LIMIT).ok()?;
    let mut brings: Vec<String> = record::lines(&record::text(record))
        .filter(|line| line.path.ends_with(".py") || record::is_library(&line.path))
        .filter_map(|line| {
            let (first, rest) = line.path.split_once('/').unwrap_or((&line.path, ""));
            let first = if rest.is_empty() { first.strip_suffix(".py")? } else { first };
            let plain = first.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            plain.then(|| first.to_owned())
        })
        .collect();
    brings.dedup();
    brings.retain(|module| importer.module(module).is_none());
    (!brings.is_empty()).then_some((brings, Some(version), None))
}

/// The extension module without which a package cannot be imported, where it is gone.
fn compiled(importer: &Importer<'_, '_>, name: &str, module: &Module) -> Option<String> {
    let (folders, stem): (&[&str], _) = match name {
        // NumPy 2 keeps the old folder for the old names, and 1.26 has the new one for those of NumPy 2.
        "numpy" => (&["_core", "core"], "_multiarray_umath"),
        "ml-dtypes" => (&[""], "_ml_dtypes_ext"),
        _ => return None,
    };
    let folder = |folder: &&str| if folder.is_empty() { module.path.clone() } else { join(&module.path, folder) };
    let mut gone = None;
    for folder in folders.iter().map(folder) {
        let Some(listing) = importer.folders.list(&folder) else { continue };
        if listing.iter().any(|entry| is_extension(&entry.name, stem)) {
            return None;
        }
        gone.get_or_insert_with(|| join(&folder, stem));
    }
    gone
}

/// The metadata folder of a distribution, and its version.
fn metadata(importer: &Importer<'_, '_>, name: &str) -> Option<(String, String)> {
    let real = importer.sys_path.iter().filter(|entry| entry.origin != PathOrigin::Stdlib && entry.only.is_empty());
    real.filter_map(|entry| Some((entry, importer.folders.list(&entry.path)?))).find_map(|(entry, listing)| {
        listing.iter().find_map(|item| {
            let (found, version) = dists::from_folder(&item.name)?;
            (found == name).then(|| (join(&entry.path, &item.name), version))
        })
    })
}

/// Follows the imports outside of any block from a package on and from what it imports in one, as far as its own files and those of `follow` go, to
/// those of what is lost.
fn walk(
    importer: &Importer<'_, '_>,
    mut waiting: Vec<String>,
    follow: &[(String, Module)],
    mut lost: Vec<Lost>,
) -> Vec<UnmetImport> {
    let mut found = Vec::new();
    let package = waiting[0].clone();
    let mut seen: HashSet<String> = waiting.iter().cloned().collect();
    let (mut read, mut bytes) = (0, 0);
    while let Some(name) = waiting.pop().filter(|_| read < FILES && bytes < BYTES && !lost.is_empty()) {
        let Some((path, is_package)) = file(importer, follow, &name) else { continue };
        let Ok(text) = importer.folders.read_lossy(&path) else { continue };
        (read, bytes) = (read + 1, bytes + text.len());
        let parent = if is_package { Some(name.as_str()) } else { name.rsplit_once('.').map(|(parent, _)| parent) };
        for Import { line, module, names, tried } in imports(&text) {
            let Some(module) = absolute(parent.unwrap_or_default(), module) else { continue };
            let top = module.split('.').next().unwrap_or_default();
            let lacks = |lost: &Lost| (lost.escapes || !tried) && lost.modules.iter().any(|module| module == top);
            if let Some(at) = lost.iter().position(lacks) {
                let mut unmet = lost.swap_remove(at).unmet;
                unmet.importer.clone_from(&package);
                unmet.by = Evidence::file(&path, format!("imports {module}")).line(line);
                found.push(unmet);
            }
            if tried || !follow.iter().any(|(name, _)| name == top) {
                continue;
            }
            // The packages on the way are imported first.
            let ends = module.match_indices('.').map(|(at, _)| at).chain([module.len()]);
            let all = ends.filter_map(|end| module.get(..end).map(str::to_owned));
            for name in all.chain(names.iter().map(|name| format!("{module}.{name}"))) {
                if seen.insert(name.clone()) {
                    waiting.push(name);
                }
            }
        }
    }
    crate::sort::by(&mut found, |a: &UnmetImport, b| a.name.cmp(&b.name));
    found.dedup_by(|a, b| a.name == b.name);
    found
}

/// The source file of a module, and whether it is that of a package.
fn file(importer: &Importer<'_, '_>, follow: &[(String, Module)], name: &str) -> Option<(String, bool)> {
    let (top, rest) = name.split_once('.').unwrap_or((name, ""));
    let (_, root) = follow.iter().find(|(name, _)| name == top)?;
    let mut path = root.path.clone();
    let has = |folder: &str, name: &str| importer.folders.kind(folder, name).is_some();
    let mut parts = rest.split('.').filter(|part| !part.is_empty()).peekable();
    while let Some(part) = parts.next() {
        if !has(&path, part) {
            let source = format!("{part}.py");
            // What is named behind a module that is a file is none itself.
            return (parts.peek().is_none() && has(&path, &source)).then(|| (join(&path, &source), false));
        }
        path = join(&path, part);
    }
    Some((join(&path, "__init__.py"), true))
}

/// A module's full name.
fn absolute(parent: &str, module: &str) -> Option<String> {
    let rest = module.trim_start_matches('.');
    let mut base = parent;
    match module.len() - rest.len() {
        0 => return Some(rest.to_owned()),
        dots => {
            for _ in 1..dots {
                base = base.rsplit_once('.')?.0;
            }
        }
    }
    Some(if rest.is_empty() { base.to_owned() } else { format!("{base}.{rest}") })
}

/// An import that is surely reached.
#[derive(Debug, PartialEq, Eq)]
struct Import<'t> {
    line: u32,
    module: &'t str,
    /// The names that are taken from it.
    names: Vec<&'t str>,
    /// Whether it is the first in a `try` that catches an `ImportError` and no more.
    tried: bool,
}

/// The imports that begin a line, and those that begin a `try`.
///
/// Whatever else stands in a block (`try`, `if`, a function) may not be run, or may fail without harm.
fn imports(text: &str) -> Vec<Import<'_>> {
    const QUOTES: [&str; 2] = ["\"\"\"", "'''"];
    let mut found = Vec::new();
    let mut add = |line, module, names, tried| found.push(Import { line, module, names, tried });
    let mut quote: Option<&str> = None;
    let mut lines = (1u32..).zip(text.lines());
    while let Some((number, line)) = lines.next() {
        if let Some(end) = quote {
            quote = quote.filter(|_| !line.contains(end));
            continue;
        }
        let code = line.split('#').next().unwrap_or_default();
        quote = QUOTES.into_iter().find(|quote| code.matches(quote).count() % 2 == 1);
        let code = code.split(';').next().unwrap_or_default();
        if let Some(rest) = code.strip_prefix("import ") {
            for module in rest.split(',').filter_map(|part| part.split_whitespace().next()) {
                add(number, module, Vec::new(), false);
            }
        } else if let Some((module, names)) = code.strip_prefix("from ").and_then(|rest| rest.split_once(" import ")) {
            let mut taken: Vec<&str> = Vec::new();
            let mut part = names.trim();
            loop {
                let names = part.split('#').next().unwrap_or_default();
                let plain = names.trim().trim_start_matches('(').trim_end_matches(['\\', ')']);
                taken.extend(plain.split(',').filter_map(|name| name.split_whitespace().next()));
                let more = names.trim_end().ends_with('\\') || (code.contains('(') && !names.contains(')'));
                let Some((_, next)) = more.then(|| lines.next()).flatten() else { break };
                part = next;
            }
            add(number, module.trim(), taken, false);
        } else if code.trim_end() == "try:" {
            let mut block = lines.clone();
            if let (Some((number, first)), Some((_, "except ImportError:"))) = (block.next(), block.next())
                && let mut words = first.split_whitespace()
                && matches!(words.next(), Some("import" | "from"))
                && let Some(module) = words.next()
            {
                add(number, module, Vec::new(), true);
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn imports_outside_of_blocks_are_read() {
        let text = "\"\"\"Text.\n\nimport in_text\n\"\"\"\nimport six, a.b as c  # import d\ntry:\n  import e\nexcept ImportError:\n  pass\n\
            from . import f\nfrom .g import (  # h\n    i,\n    j as k,\n)\nfrom l import m; import n\ndef o():\n  import p\n";
        let read: Vec<_> =
            imports(text).into_iter().map(|found| (found.line, found.module, found.names.join(" "))).collect();
        let known = [(5, "six", ""), (5, "a.b", ""), (7, "e", ""), (10, ".", "f"), (11, ".g", "i j"), (15, "l", "m")];
        assert_eq!(read, known.map(|(line, module, names)| (line, module, names.to_owned())));
        assert_eq!(absolute("a.b", "..c").as_deref(), Some("a.c"));
        assert_eq!(absolute("a.b", ".").as_deref(), Some("a.b"));
        assert_eq!(absolute("a", "...c"), None);
        let text = "try:\n    import q as r  # s\nexcept ImportError:\n    q = None\n\
            try:\n    import t\nexcept Exception:\n    pass\ntry:\n    from . import w\nexcept ImportError:\n    pass\ntry:\n    import u\n    import v\nexcept ImportError:\n    pass\n";
        let tried = |line, module| Import { line, module, names: Vec::new(), tried: true };
        assert_eq!(imports(text), [tried(2, "q"), tried(10, ".")]);
    }

    proptest! {
        #[test]
        fn imports_never_panic(text in "[a-z .,()#;\\\\\"'\n]{0,80}|(import|from|import a|from a import \\(|\n|\"\"\"| ){0,20}") {
            for import in imports(&text) {
                let _ = absolute("a.b", import.module);
            }
        }
    }
}
