//! The dependencies that a manifest declares, with their lines; resolves nothing.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;

use super::line_of;
use crate::facts::Evidence;
use crate::host::Host;

/// The dependency tables of a manifest.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Manifest {
    #[serde(default)]
    dependencies: Table,
    #[serde(default, rename = "build-dependencies")]
    build: Table,
    #[cfg(feature = "cli")]
    #[serde(default)]
    target: BTreeMap<String, Tables>,
    #[serde(default)]
    pub(super) package: Option<Package>,
}

/// The part of a package that is read.
#[derive(Debug, Deserialize)]
pub(super) struct Package {
    pub(super) name: Option<String>,
    #[serde(default)]
    version: Option<Version>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Version {
    Text(String),
    Inherited(serde::de::IgnoredAny),
}

#[cfg(feature = "cli")]
#[derive(Debug, Default, Deserialize)]
struct Tables {
    #[serde(default)]
    dependencies: Table,
    #[serde(default, rename = "build-dependencies")]
    build: Table,
}

type Table = BTreeMap<Spanned<String>, Declared>;

/// What a manifest says of a dependency.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Declared {
    Table(Spec),
    /// A bare version.
    Text(serde::de::IgnoredAny),
}

#[derive(Debug, Default, Deserialize)]
struct Spec {
    #[serde(default)]
    features: Vec<String>,
    #[serde(default)]
    optional: bool,
    #[serde(default, rename = "default-features", alias = "default_features")]
    default_features: Option<bool>,
    package: Option<String>,
    #[serde(default)]
    workspace: bool,
}

/// A dependency that is surely built with the package.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Certain {
    /// The crate's own name.
    pub(super) name: String,
    /// Features that are surely on.
    pub(super) features: Vec<String>,
    /// Where it is declared.
    pub(super) evidence: Evidence,
}

impl Manifest {
    /// Name and version of its package, as far as it states them.
    pub(super) fn title(&self) -> Option<String> {
        let package = self.package.as_ref()?;
        let name = package.name.as_ref()?;
        match &package.version {
            Some(Version::Text(version)) => Some(format!("{name} {version}")),
            _ => Some(name.clone()),
        }
    }

    #[cfg(feature = "cli")]
    fn tables(&self) -> impl Iterator<Item = &Table> {
        let targets = self.target.values().flat_map(|tables| [&tables.dependencies, &tables.build]);
        [&self.dependencies, &self.build].into_iter().chain(targets)
    }

    /// Dependencies that are neither optional nor for some platforms only.
    pub(super) fn certain(&self, path: &str, text: &str) -> Vec<Certain> {
        let both = [&self.dependencies, &self.build].into_iter().flatten();
        both.filter_map(|(key, declared)| {
            let default = Spec::default();
            let spec = match declared {
                Declared::Table(spec) => spec,
                Declared::Text(_) => &default,
            };
            if spec.optional {
                return None;
            }
            let mut features = spec.features.clone();
            // What a workspace says of default features is not read here, so they are not certain.
            if spec.default_features.unwrap_or(true) && !spec.workspace {
                features.push("default".to_owned());
            }
            Some(Certain {
                name: spec.package.clone().unwrap_or_else(|| key.get_ref().clone()),
                features,
                evidence: evidence(path, text, key),
            })
        })
        .collect()
    }
}

fn evidence(path: &str, text: &str, key: &Spanned<String>) -> Evidence {
    let line = line_of(text, key.span().start);
    let says = text.lines().nth(line as usize - 1).unwrap_or(key.get_ref());
    Evidence::file(path, says).line(line)
}

/// Reads a manifest, with its text.
pub(super) fn read(host: &Host, path: &Path) -> Option<(Manifest, String)> {
    let text = host.read_text(path).ok()?;
    let manifest = toml::from_str(&text).ok()?;
    Some((manifest, text))
}

/// The line of a manifest that declares a dependency, by the name that it has there.
#[cfg(feature = "cli")]
pub(super) fn declared(host: &Host, path: &Path, name: &str) -> Option<Evidence> {
    let (manifest, text) = read(host, path)?;
    let found = manifest.tables().find_map(|table| table.keys().find(|key| key.get_ref() == name))?;
    Some(evidence(&path.to_string_lossy(), &text, found))
}
