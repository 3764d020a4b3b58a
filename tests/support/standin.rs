//! Builds the C files of `tests/standin` for the tests that open them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Builds a shared library from a file of `tests/standin`.
pub(crate) fn build(folder: &Path, source: &str, library: &str, arguments: &[&str]) -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/standin").join(source);
    let file = folder.join(library);
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-Wall", "-o"])
        .arg(&file)
        .arg(format!("-Wl,-soname,{library}"))
        .arg(source)
        .args(arguments)
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    file
}
