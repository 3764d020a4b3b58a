//! Lints data/*.toml and turns it into one compressed JSON text per table, which the library embeds.
//!
//! It refuses data with faults, naming file, line and column.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

#[path = "src/db/lint.rs"]
#[expect(dead_code, unreachable_pub, reason = "public in the library, which uses the rest")]
mod lint;
#[path = "src/db/load.rs"]
#[expect(unreachable_pub, reason = "public in the library")]
mod load;
#[path = "src/db/schema.rs"]
#[expect(unreachable_pub, reason = "public in the library")]
mod schema;
#[path = "src/sort.rs"]
#[expect(dead_code, reason = "the library uses the rest")]
mod sort;
#[path = "src/version.rs"]
#[expect(dead_code, unreachable_pub, reason = "public in the library, which uses the rest")]
mod version;

/// How hard the tables are compressed: they come down to a twentieth, and no more is left to gain.
const LEVEL: u8 = 6;

#[expect(clippy::print_stderr, reason = "this is how a build script speaks")]
fn main() -> ExitCode {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=data");
    println!("cargo:rerun-if-changed=src/db");
    println!("cargo:rerun-if-changed=src/sort.rs");
    println!("cargo:rerun-if-changed=src/version.rs");
    match embed() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a build script has no `Host`")]
fn embed() -> Result<(), Box<dyn Error>> {
    let data = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").ok_or("no CARGO_MANIFEST_DIR")?).join("data");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("no OUT_DIR")?);
    let mut files = BTreeMap::new();
    for name in lint::FILES {
        // A missing file is the linter's to name.
        if let Ok(text) = std::fs::read_to_string(data.join(name)) {
            files.insert(name.to_owned(), text);
        }
    }
    let (tables, faults) = lint::lint(&files, "data/", None);
    if !faults.is_empty() {
        let mut report = format!("faults in the database: {}\n", faults.len());
        for fault in &faults {
            writeln!(report, "{fault}")?;
        }
        return Err(report.into());
    }

    let meta = tables.meta.as_ref().ok_or("data/meta.toml cannot be read")?;
    let mut code = String::new();
    writeln!(code, "pub(super) const SCHEMA: u32 = {};", meta.schema)?;
    writeln!(code, "pub(super) const REVISION: u32 = {};", meta.revision)?;
    writeln!(code, "pub(super) const DATE: &str = {:?};", meta.date.as_str())?;
    let mut table = |name: &str, json: serde_json::Result<String>| -> Result<(), Box<dyn Error>> {
        let file = out.join(format!("{name}.deflate"));
        std::fs::write(&file, miniz_oxide::deflate::compress_to_vec(json?.as_bytes(), LEVEL))?;
        writeln!(
            code,
            "pub(super) const {name}: &[u8] = include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{name}.deflate\"));"
        )?;
        Ok(())
    };
    // A row in each line: those of one platform are found without reading the others.
    let lines: serde_json::Result<Vec<String>> = tables.tensorflow.iter().map(serde_json::to_string).collect();
    table("TENSORFLOW", lines.map(|lines| lines.join("\n")))?;
    table("KERAS", serde_json::to_string(&tables.keras))?;
    table("CUDA", serde_json::to_string(&tables.cuda))?;
    table("CUDNN", serde_json::to_string(&tables.cudnn))?;
    table("DRIVER", serde_json::to_string(&tables.driver))?;
    table("GPU", serde_json::to_string(&tables.gpu))?;
    table("CHIP", serde_json::to_string(&tables.chip))?;
    table("COMPAT", serde_json::to_string(&tables.compat))?;
    table("CRATES", serde_json::to_string(&tables.crates))?;
    std::fs::write(out.join("database.rs"), code)?;
    Ok(())
}
