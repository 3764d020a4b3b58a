//! The database that the user's data folder adds to the embedded one; reads it, and never writes or fetches.
//!
//! Two documents may lie there: `curated.json`, a whole database that was signed, and `derived.json`, rows
//! that the program made out of packages. The newer of the curated and the embedded data is the ground;
//! derived rows are added to it and never take the place of a row that is there.

use std::ops::Deref;
use std::path::PathBuf;

use super::Database;
use super::document::{Document, OVERLAY};
use crate::host::{Host, HostError};

/// The document of curated data.
pub const CURATED: &str = "curated.json";
/// The document of derived rows.
pub const DERIVED: &str = "derived.json";
/// A document is read up to this many bytes.
pub const LIMIT: u64 = 16 << 20;

/// The database to judge with.
#[derive(Debug)]
pub struct Installed {
    database: Held,
    /// What lies in the data folder and could not be used, each with the reason.
    pub troubles: Vec<String>,
}

#[derive(Debug)]
enum Held {
    Embedded(&'static Database),
    Own(Box<Database>),
}

impl Default for Installed {
    fn default() -> Self {
        Self { database: Held::Embedded(Database::embedded()), troubles: Vec::new() }
    }
}

impl Deref for Installed {
    type Target = Database;

    fn deref(&self) -> &Database {
        match &self.database {
            Held::Embedded(database) => database,
            Held::Own(database) => database,
        }
    }
}

/// The folder of the user's data for this program, where there is a home at all.
pub fn folder(host: &Host) -> Option<PathBuf> {
    let base = match host.env_nonempty("XDG_DATA_HOME").filter(|path| path.starts_with('/')) {
        Some(path) => PathBuf::from(path),
        None => PathBuf::from(host.home().filter(|home| home.starts_with('/'))?).join(".local/share"),
    };
    Some(base.join("cargo-gpu-doctor"))
}

/// A document of the data folder; none where there is none.
pub fn read(host: &Host, name: &str) -> Result<Option<Document>, String> {
    let Some(path) = folder(host).map(|folder| folder.join(name)) else { return Ok(None) };
    let wrong = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
    let bytes = match host.read(&path, LIMIT) {
        Ok(bytes) => bytes,
        Err(HostError { why: crate::host::Why::NotFound, .. }) => return Ok(None),
        Err(error) => return Err(wrong(&error.why)),
    };
    let text = String::from_utf8(bytes).map_err(|_| wrong(&"not UTF-8"))?;
    Document::parse(&text).map(Some).map_err(|error| wrong(&error))
}

/// The curated data alone: the newer of what was embedded and what was installed.
pub fn ground(host: &Host, troubles: &mut Vec<String>) -> Option<Database> {
    let curated = read(host, CURATED).unwrap_or_else(|trouble| {
        troubles.push(trouble);
        None
    })?;
    // A program that was renewed may know more than what was fetched for an older one.
    (curated.revision > Database::embedded().meta().revision)
        .then(|| Database::from_tables(curated.into(), OVERLAY))
        .flatten()
}

/// The database of this machine's user. Where nothing was installed, nothing is copied.
pub fn installed(host: &Host) -> Installed {
    let mut troubles = Vec::new();
    let ground = ground(host, &mut troubles);
    let derived = read(host, DERIVED).unwrap_or_else(|trouble| {
        troubles.push(trouble);
        None
    });
    let database = match (ground, derived) {
        (None, None) => Held::Embedded(Database::embedded()),
        (ground, None) => Held::Own(Box::new(ground.unwrap_or_default())),
        (ground, Some(document)) => {
            Held::Own(Box::new(ground.unwrap_or_default().overlaid(document.tables, &document.date)))
        }
    };
    Installed { database, troubles }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Day;
    use std::collections::BTreeMap;

    fn host(derived: Option<&str>, curated: Option<&str>) -> (tempfile::TempDir, Host) {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("data/cargo-gpu-doctor");
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in [(DERIVED, derived), (CURATED, curated)] {
            if let Some(text) = text {
                std::fs::write(folder.join(name), text).unwrap();
            }
        }
        let env = BTreeMap::from([("XDG_DATA_HOME".to_owned(), "/data".to_owned())]);
        let host = Host::rooted(dir.path(), env).unwrap();
        (dir, host)
    }

    fn document(change: impl FnOnce(&mut Document)) -> String {
        let meta = Database::embedded().meta();
        let mut document = Document {
            schema: meta.schema,
            revision: meta.revision,
            date: Day::new("2031-01-01").unwrap(),
            origin: None,
            tables: Database::embedded().rows(),
        };
        change(&mut document);
        document.text().unwrap()
    }

    #[test]
    fn without_an_overlay_it_is_the_embedded_one() {
        let (_dir, host) = host(None, None);
        let installed = installed(&host);
        assert!(matches!(installed.database, Held::Embedded(_)));
        assert_eq!(installed.meta().origin, "embedded");
    }

    #[test]
    fn derived_rows_are_added_and_override_nothing() {
        let text = document(|document| {
            let rows = &mut document.tables;
            rows.cudnn.truncate(1);
            rows.cudnn[0].compute_min = Some("9.9".parse().unwrap());
            rows.keras.truncate(1);
            rows.keras[0].version = "99.0".parse().unwrap();
            rows.keras[0].derived = true;
        });
        let (_dir, host) = host(Some(&text), None);
        let installed = installed(&host);
        assert!(installed.keras("keras", "99.0").unwrap().derived);
        assert_eq!(installed.cudnn_rows(), Database::embedded().cudnn_rows());
        let meta = installed.meta();
        assert_eq!((meta.origin.as_str(), meta.date.as_str()), ("overlay", "2031-01-01"));
        assert_eq!(meta.revision, Database::embedded().meta().revision);
    }

    #[test]
    fn newer_curated_data_is_the_ground_and_older_is_not() {
        let newer = document(|document| document.revision += 5);
        let (_dir, newer_host) = host(None, Some(&newer));
        let revision = Database::embedded().meta().revision;
        assert_eq!(installed(&newer_host).meta().revision, revision + 5);
        let (_dir, same) = host(None, Some(&document(|_| {})));
        assert_eq!(installed(&same).meta().origin, "embedded");
    }

    #[test]
    fn what_cannot_be_used_is_told_and_left_alone() {
        let (_dir, host) = host(Some("{\"schema\": 7}"), Some("nonsense"));
        let installed = installed(&host);
        assert_eq!(installed.meta().origin, "embedded");
        assert_eq!(installed.troubles.len(), 2, "{:?}", installed.troubles);
        assert!(installed.troubles[1].contains("schema 7"), "{:?}", installed.troubles);
    }
}
