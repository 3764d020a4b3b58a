//! Asks the crate `cc`, in a child process, which host compiler build scripts would hand to nvcc; compiles nothing.

use serde::{Deserialize, Serialize};

use super::Teller;

/// What `cc` would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// The value of `-ccbin`.
    pub ccbin: Option<String>,
}

/// Answers the question. Without the folder cc would make the place for temporary files where it is missing, and hide that
/// it was. It may print, and it may run the compiler, to find out what that is.
pub(super) fn choose(folder: &str, teller: &mut Teller) -> Result<(), String> {
    teller.stage("the crate cc looked for the host compiler");
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let tool = cc::Build::new()
        .cuda(true)
        .cargo_metadata(false)
        .cargo_warnings(false)
        .target(&triple)
        .host(&triple)
        .out_dir(folder)
        .opt_level(0)
        .debug(false)
        .try_get_compiler()
        .map_err(|error| error.to_string())?;
    let ccbin = tool.args().iter().find_map(|arg| arg.to_string_lossy().strip_prefix("-ccbin=").map(str::to_owned));
    teller.part(&Choice { ccbin });
    Ok(())
}
