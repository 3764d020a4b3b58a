//! Turns data/*.toml into one compact JSON text per table, which the library embeds.

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;

#[path = "src/db/schema.rs"]
#[expect(unreachable_pub, reason = "public in the library")]
mod schema;
#[path = "src/version.rs"]
#[expect(dead_code, unreachable_pub, reason = "public in the library, which uses the rest")]
mod version;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=data");
    println!("cargo:rerun-if-changed=src/db");
    println!("cargo:rerun-if-changed=src/version.rs");
    let data = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").ok_or("no CARGO_MANIFEST_DIR")?).join("data");
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("no OUT_DIR")?);
    let read = |file: &str| std::fs::read_to_string(data.join(file));

    let meta: schema::MetaRow = toml::from_str(&read("meta.toml")?)?;
    let mut code = String::new();
    writeln!(code, "pub(super) const SCHEMA: u32 = {};", meta.schema)?;
    writeln!(code, "pub(super) const REVISION: u32 = {};", meta.revision)?;
    writeln!(code, "pub(super) const DATE: &str = {:?};", meta.date.as_str())?;
    table::<schema::TensorflowRow>(&mut code, "tensorflow", &read("tensorflow.toml")?)?;
    table::<schema::KerasRow>(&mut code, "keras", &read("keras.toml")?)?;
    table::<schema::CudaRow>(&mut code, "cuda", &read("cuda.toml")?)?;
    table::<schema::CudnnRow>(&mut code, "cudnn", &read("cudnn.toml")?)?;
    table::<schema::DriverRow>(&mut code, "driver", &read("driver.toml")?)?;
    table::<schema::GpuRow>(&mut code, "gpu", &read("gpu.toml")?)?;
    table::<schema::ChipRow>(&mut code, "chip", &read("gpu.toml")?)?;
    table::<schema::CompatRow>(&mut code, "compat", &read("compat.toml")?)?;
    table::<schema::CrateRow>(&mut code, "crates", &read("crates.toml")?)?;
    std::fs::write(out.join("database.rs"), code)?;
    Ok(())
}

/// Adds a table's rows as a constant.
fn table<Row: Serialize + DeserializeOwned>(code: &mut String, name: &str, text: &str) -> Result<(), Box<dyn Error>> {
    let mut tables: toml::Table = toml::from_str(text)?;
    let rows = match tables.remove(name) {
        Some(rows) => rows.try_into::<Vec<Row>>().map_err(|e| format!("{name}: {e}"))?,
        None => Vec::new(),
    };
    let json = serde_json::to_string(&rows)?;
    writeln!(code, "pub(super) const {}: &str = {json:?};", name.to_uppercase())?;
    Ok(())
}
