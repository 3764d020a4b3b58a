//! Reads which releases lock files pin, of the packages that matter here: uv.lock, poetry.lock, Pipfile.lock.

use serde::Deserialize;
use toml::Spanned;

use crate::facts::{DeclaredBy, DeclaredPackage, DeclaredSet, DeclaredVersion};
use crate::probe::python::requirement::normalise;

use super::place::Text;

/// Packages whose locked version is worth keeping.
fn matters(name: &str) -> bool {
    const NAMES: [&str; 5] = ["keras", "tf-keras", "numpy", "torch", "jaxlib"];
    const BEGINNINGS: [&str; 3] = ["tensorflow", "nvidia-", "jax-cuda"];
    NAMES.contains(&name) || BEGINNINGS.iter().any(|begin| name.starts_with(begin))
}

#[derive(Deserialize)]
struct Lock {
    #[serde(rename = "requires-python")]
    python: Option<Spanned<String>>,
    #[serde(default)]
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: Spanned<String>,
    version: Option<String>,
}

/// A uv.lock or poetry.lock, which tell of packages alike.
pub(super) fn tables(path: &str, text: &str) -> Result<DeclaredSet, String> {
    let lock: Lock = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    let text = Text::new(path, text);
    let mut set = DeclaredSet { by: DeclaredBy::Lock, file: path.to_owned(), ..DeclaredSet::default() };
    if let Some(python) = lock.python {
        let evidence = text.at(python.span().start + 1, python.get_ref());
        set.python.push(DeclaredVersion { value: python.into_inner(), evidence });
    }
    for package in lock.package {
        let name = normalise(package.name.get_ref());
        let Some(version) = package.version.filter(|_| matters(&name)) else { continue };
        let evidence = text.at(package.name.span().start + 1, &format!("{name} {version}"));
        set.packages.push(pinned(name, &format!("=={version}"), evidence));
    }
    Ok(set)
}

/// A Pipfile.lock; `develop` is a set of its own.
pub(super) fn pipfile(path: &str, text: &str) -> Result<Vec<DeclaredSet>, String> {
    let root: serde_json::Value = serde_json::from_slice(text.as_bytes()).map_err(|error| error.to_string())?;
    let text = Text::new(path, text);
    let mut sets = Vec::new();
    for section in ["default", "develop"] {
        let Some(packages) = root.get(section).and_then(serde_json::Value::as_object) else { continue };
        let from = text.all.find(&format!("\"{section}\"")).unwrap_or(0);
        let mut set = DeclaredSet {
            by: DeclaredBy::Lock,
            file: path.to_owned(),
            part: Some(section.to_owned()),
            ..DeclaredSet::default()
        };
        for (key, package) in packages {
            let name = normalise(key);
            let Some(version) = package.get("version").and_then(serde_json::Value::as_str) else { continue };
            if !matters(&name) {
                continue;
            }
            // JSON tells no places: the key behind its section is the one.
            let at = text.all[from..].find(&format!("\"{key}\":")).map_or(from, |at| from + at + 1);
            set.packages.push(pinned(name.clone(), version, text.at(at, &format!("{name} {version}"))));
        }
        if !set.packages.is_empty() {
            sets.push(set);
        }
    }
    Ok(sets)
}

fn pinned(name: String, specifier: &str, evidence: crate::facts::Evidence) -> DeclaredPackage {
    DeclaredPackage { name, specifier: specifier.to_owned(), holds: Some(true), evidence, ..DeclaredPackage::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UV: &str = "version = 1\nrequires-python = \">=3.10\"\n\n[[package]]\nname = \"app\"\nsource = { virtual = \".\" }\n\n[[package]]\nname = \"tensorflow\"\nversion = \"2.18.0\"\n\n[[package]]\nname = \"flask\"\nversion = \"3.0.0\"\n";
    const PIPFILE: &str = "{\n  \"_meta\": {},\n  \"default\": {\n    \"keras\": {\n      \"version\": \"==3.5.0\"\n    },\n    \"flask\": {\"version\": \"==3\"}\n  },\n  \"develop\": {}\n}\n";

    #[test]
    fn locked_versions_have_places() {
        let set = tables("uv.lock", UV).unwrap();
        let [package] = set.packages.as_slice() else { panic!("{set:?}") };
        assert_eq!((package.name.as_str(), package.specifier.as_str()), ("tensorflow", "==2.18.0"));
        assert_eq!((package.evidence.line, package.evidence.column), (Some(9), Some(9)));
        assert_eq!(set.python[0].value, ">=3.10");
        let sets = pipfile("Pipfile.lock", PIPFILE).unwrap();
        let package = &sets[0].packages[0];
        assert_eq!((sets.len(), sets[0].packages.len()), (1, 1));
        assert_eq!(
            (package.specifier.as_str(), package.evidence.line, package.evidence.column),
            ("==3.5.0", Some(4), Some(6))
        );
        assert!(tables("uv.lock", "[[package]]\n").is_err() && pipfile("Pipfile.lock", "{").is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(\\PC|\n){0,80}", cut in 0..260usize) {
            let _ = tables("l", &text);
            let _ = tables("l", UV.get(..cut).unwrap_or(UV));
            let _ = pipfile("l", &text);
            let _ = pipfile("l", PIPFILE.get(..cut).unwrap_or(PIPFILE));
        }
    }
}
