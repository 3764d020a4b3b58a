//! Puts the hook into a repository and takes it out again; the content of other hooks is never touched.
//!
//! A hook that is there is renamed in its folder and called first, so that what it changes is judged as well. What
//! it was (content, mode, link) is what `uninstall` puts back.

use std::path::{Path, PathBuf};

use super::{Git, GitError};
use crate::host::{self, Host, HostError};
use crate::shell::quoted;

/// The hooks that are put in: git runs the second for a merge without conflicts.
pub const HOOKS: [&str; 2] = ["pre-commit", "pre-merge-commit"];
/// What is put behind the name of a hook that was there.
pub const KEPT: &str = "before-gpu-doctor";
/// The line by which a hook of this program is known.
const MARK: &str = "# Put here by `cargo gpu-doctor hook install`; `cargo gpu-doctor hook uninstall` takes it out.";
/// The line by which `uninstall` knows that the folder was made.
const MADE: &str = "# Its folder was made with it.";
/// Hooks are read up to this many bytes.
const LIMIT: u64 = 1 << 20;

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The folder of the hooks.
    pub folder: PathBuf,
    /// One line for each thing that was done, or need not be.
    pub lines: Vec<String>,
}

/// Why it was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Git does not say where hooks lie.
    #[error("{0}")]
    Git(#[from] GitError),
    /// A file could not be read or written.
    #[error("{0}")]
    File(#[from] HostError),
    /// The hook that is there would no longer work.
    #[error(
        "{0} goes by its own name, which it would lose; add this line to it instead: cargo gpu-doctor hook run || exit $?"
    )]
    Name(String),
    /// A kept hook is in the way.
    #[error("{0} is there already, and the hook beside it is not of this program: look at both, and rename one")]
    InTheWay(String),
}

/// Where hooks lie.
struct Place {
    folder: PathBuf,
    /// Whether husky calls its hooks: with `sh -e`, executable or not.
    husky: bool,
    /// Whether others get the same hooks: with the working tree, or as the hooks of every repository.
    note: Option<&'static str>,
}

impl Place {
    fn of(host: &Host) -> Result<Self, Refused> {
        // A relative core.hooksPath counts from the top, where hooks are run.
        let top = Git::at(host, host.cwd()).top().ok();
        let git = Git::at(host, top.as_deref().unwrap_or(host.cwd()));
        let mut folder = git.path(["rev-parse", "--git-path", "hooks"])?;
        let common = git.path(["rev-parse", "--git-common-dir"])?;
        // A folder that is not there yet has no other name.
        let real = |path: &Path| host.real(path).unwrap_or_else(|_| path.to_path_buf());
        folder = real(&folder);
        // Husky writes `.husky/_` anew at each `npm install`; the user's hooks lie above it.
        let husky = folder.ends_with(".husky/_");
        if husky {
            folder.pop();
        }
        let note = if folder.starts_with(real(&common)) {
            None
        } else if top.as_ref().is_some_and(|top| folder.starts_with(real(top))) {
            Some("these hooks are files of the working tree: whoever checks them out gets this one")
        } else {
            Some("core.hooksPath gives this folder to every repository that is configured so")
        };
        Ok(Self { folder, husky, note })
    }

    /// The hook's text.
    fn script(&self, name: &str, program: Option<&Path>, made: bool) -> String {
        let made = if made { format!("{MADE}\n") } else { String::new() };
        // Husky runs its hooks with `sh -e`, whatever their mode.
        let call = if self.husky {
            "if [ -f \"$kept\" ]; then sh -e \"$kept\" \"$@\" || exit $?; fi"
        } else {
            "if [ -x \"$kept\" ]; then \"$kept\" \"$@\" || exit $?; fi"
        };
        // Others have the program elsewhere.
        let known = program.filter(|_| self.note.is_none()).map(|it| quoted(&it.to_string_lossy()));
        let known = known.unwrap_or_else(|| "\"${CARGO_HOME:-$HOME/.cargo}/bin/cargo-gpu-doctor\"".to_owned());
        format!(
            "#!/bin/sh\n{MARK}\n{made}\
             # The hook that was here before comes first.\n\
             kept=$(dirname -- \"$0\")/{name}.{KEPT}\n\
             {call}\n\
             doctor={known}\n\
             [ -x \"$doctor\" ] || doctor=$(command -v cargo-gpu-doctor) || {{\n  \
             echo 'cargo-gpu-doctor is not found: this commit is not checked' >&2\n  exit 0\n}}\n\
             exec \"$doctor\" hook run\n"
        )
    }
}

/// What lies at a hook's name.
enum Found {
    Nothing,
    Ours(String),
    Other(Vec<u8>),
}

fn look(host: &Host, path: &Path) -> Result<Found, HostError> {
    match host.lstat(path) {
        Err(error) if error.is_absent() => return Ok(Found::Nothing),
        other => drop(other?),
    }
    // What cannot be read, such as a link that leads nowhere, is kept as it is.
    let bytes = host.read_head(path, LIMIT).unwrap_or_default();
    match std::str::from_utf8(&bytes) {
        Ok(text) if text.lines().nth(1) == Some(MARK) => Ok(Found::Ours(text.to_owned())),
        _ => Ok(Found::Other(bytes)),
    }
}

/// Whether a hook asks by which name it was called: one script under many names, as dispatchers have it.
fn goes_by_its_name(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    lines.any(|line| {
        let named = |name: &str| line.contains(name);
        (named("basename") && (named("$0") || named("${0}") || named("argv[0]") || named("__FILE__")))
            || named("${0##*/}")
            || (named(".name") && named("Path(sys.argv[0])"))
    })
}

/// Puts the hooks in; where they are in already, nothing changes.
///
/// # Errors
///
/// Why nothing was changed.
pub fn install(host: &Host, program: Option<&Path>) -> Result<Done, Refused> {
    let place = Place::of(host)?;
    // Everything is looked at before anything is changed.
    let mut steps = Vec::new();
    for name in HOOKS {
        let path = place.folder.join(name);
        let kept = place.folder.join(format!("{name}.{KEPT}"));
        let found = look(host, &path)?;
        if let Found::Other(bytes) = &found {
            // The pre-commit framework keeps what was there under this name, and calls it.
            let legacy = place.folder.join(format!("{name}.legacy"));
            if matches!(look(host, &legacy)?, Found::Ours(_)) {
                continue;
            }
            if host.lstat(&kept).is_ok() {
                return Err(Refused::InTheWay(kept.display().to_string()));
            }
            if goes_by_its_name(bytes) {
                return Err(Refused::Name(path.display().to_string()));
            }
        }
        steps.push((name, path, kept, found));
    }
    let made = host.lstat(&place.folder).is_err();
    if made {
        host::make_folders(&place.folder)?;
    }
    let mut lines = Vec::new();
    for (name, path, kept, found) in steps {
        let before = match &found {
            Found::Ours(text) => text.lines().any(|line| line == MADE),
            _ => made,
        };
        let script = place.script(name, program, before);
        match found {
            Found::Ours(text) if text == script => {
                lines.push(format!("{name}: already here"));
                continue;
            }
            Found::Other(_) => {
                host::rename(&path, &kept)?;
                lines.push(format!("{name}: put in; the hook that was here is now {name}.{KEPT} and is called first"));
            }
            Found::Ours(_) => lines.push(format!("{name}: renewed")),
            Found::Nothing => lines.push(format!("{name}: put in")),
        }
        if let Err(error) = host::write_program(&path, script.as_bytes()) {
            // A hook that was here must not stay out.
            let _ = host::rename(&kept, &path);
            return Err(error.into());
        }
    }
    if lines.is_empty() {
        lines.push("already here, called by the hook that was put in later".to_owned());
    }
    lines.extend(place.note.map(str::to_owned));
    Ok(Done { folder: place.folder, lines })
}

/// Takes the hooks out and puts back what was there.
///
/// # Errors
///
/// Why it could not be done.
pub fn uninstall(host: &Host) -> Result<Done, Refused> {
    let place = Place::of(host)?;
    let mut lines = Vec::new();
    let mut made = false;
    for name in HOOKS {
        let kept = place.folder.join(format!("{name}.{KEPT}"));
        // A hook that was put in later may have moved this one.
        for at in [name.to_owned(), format!("{name}.legacy")] {
            let path = place.folder.join(&at);
            let Found::Ours(text) = look(host, &path)? else { continue };
            made |= text.lines().any(|line| line == MADE);
            if host.lstat(&kept).is_ok() {
                host::rename(&kept, &path)?;
                lines.push(format!("{at}: taken out; the hook that was here before is back"));
            } else {
                host::remove_file(&path)?;
                lines.push(format!("{at}: taken out"));
            }
        }
    }
    if made && host.list(&place.folder).is_ok_and(|left| left.is_empty()) {
        host::remove_folder(&place.folder)?;
    }
    if lines.is_empty() {
        lines.push("not here: nothing was changed".to_owned());
    }
    Ok(Done { folder: place.folder, lines })
}
