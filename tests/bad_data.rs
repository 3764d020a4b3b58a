//! Every fault that the linter knows, on a data file that has it: tests/bad-data/TABLE.WHAT.toml.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use gpu_doctor::db::Day;
use gpu_doctor::db::lint::{FILES, lint};

const META: &str = "schema = 1\nrevision = 1\ndate = 2026-06-01\nlicense = \"MIT\"\n";

#[expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test reads its own files")]
fn cases() -> Vec<(PathBuf, String)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad-data");
    let mut cases: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (path, text)
        })
        .collect();
    cases.sort();
    cases
}

fn files() -> BTreeMap<String, String> {
    FILES.iter().map(|name| ((*name).to_owned(), if *name == "meta.toml" { META } else { "" }.to_owned())).collect()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a test reads its own files")]
fn each_fault_is_named_with_its_place() {
    let today = Day::new("2026-12-31").unwrap();
    let cases = cases();
    assert!(cases.len() > 40, "the bad data is missing");
    for (path, text) in cases {
        let name = path.file_name().unwrap().to_str().unwrap();
        let file = format!("{}.toml", name.split('.').next().unwrap());
        let mut files = files();
        assert!(files.insert(file.clone(), text.clone()).is_some(), "{name} is about no data file");
        // What it refers to, where the fault lies between two tables: sound files in a folder of its name.
        for other in std::fs::read_dir(path.with_extension("with")).into_iter().flatten() {
            let other = other.unwrap().path();
            let name = other.file_name().unwrap().to_str().unwrap().to_owned();
            assert!(files.insert(name, std::fs::read_to_string(other).unwrap()).is_some());
        }
        let (_, faults) = lint(&files, "", Some(&today));
        assert!(!faults.is_empty(), "{name} has no fault");
        let mut said = String::new();
        for fault in faults {
            assert_eq!(fault.file, file, "{name}: {fault}");
            writeln!(said, "{fault}\n{}", fault.render(&text)).unwrap();
        }
        snapbox::Assert::new().action_env("SNAPSHOTS").eq(
            said,
            snapbox::Data::read_from(&path.with_extension("expected"), Some(snapbox::data::DataFormat::Text)),
        );
    }
}

#[test]
fn a_missing_file_is_a_fault() {
    let mut files = files();
    files.remove("gpu.toml");
    let (_, faults) = lint(&files, "data/", None);
    let said: Vec<_> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(said, ["data/gpu.toml:1:1: the file is missing"]);
}
