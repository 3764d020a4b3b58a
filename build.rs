//! Lints data/*.toml and turns it into one compact JSON text per table, which the library embeds.
//!
//! It refuses data with faults, naming file, line and column.

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

#[path = "src/db/lint.rs"]
#[expect(dead_code, unreachable_pub, reason = "public in the library, which uses the rest")]
mod lint;
#[path = "src/db/load.rs"]
#[expect(unreachable_pub, reason = "public in the library")]
mod load;
#[path = "src/db/schema.rs"]
#[expect(unreachable_pub, reason = "public in the library")]
mod schema;
#[path = "src/version.rs"]
#[expect(dead_code, unreachable_pub, reason = "public in the library, which uses the rest")]
mod version;

#[expect(clippy::print_stderr, reason = "this is how a build script speaks")]
fn main() -> ExitCode {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=data");
    println!("cargo:rerun-if-changed=src/db");
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
    table(&mut code, "TENSORFLOW", &tables.tensorflow)?;
    table(&mut code, "KERAS", &tables.keras)?;
    table(&mut code, "CUDA", &tables.cuda)?;
    table(&mut code, "CUDNN", &tables.cudnn)?;
    table(&mut code, "DRIVER", &tables.driver)?;
    table(&mut code, "GPU", &tables.gpu)?;
    table(&mut code, "CHIP", &tables.chip)?;
    table(&mut code, "COMPAT", &tables.compat)?;
    table(&mut code, "CRATES", &tables.crates)?;
    std::fs::write(out.join("database.rs"), code)?;
    Ok(())
}

/// Adds a table's rows as a constant.
fn table<Row: Serialize>(code: &mut String, name: &str, rows: &[Row]) -> Result<(), Box<dyn Error>> {
    let json = serde_json::to_string(rows)?;
    writeln!(code, "pub(super) const {name}: &str = {json:?};")?;
    Ok(())
}
