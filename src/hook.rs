//! The git hook: put beside the hooks that are there, taken out again, and what it judges; prints nothing.
//!
//! Git itself is asked, through the host; the repository's own files are not parsed here.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::host::{End, Host, Program};

pub mod install;
pub mod staged;

/// How long git may take for one answer.
const LIMIT: Duration = Duration::from_secs(20);
/// Longer answers of git are cut, and then not used.
const CAP: usize = 64 << 20;

/// Why git could not be asked, or did not answer; a fragment without a full stop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct GitError(pub String);

/// A repository, asked from one folder.
#[derive(Debug)]
pub struct Git<'h> {
    host: &'h Host,
    folder: PathBuf,
}

impl<'h> Git<'h> {
    /// Git as it works in a folder.
    pub fn at(host: &'h Host, folder: impl Into<PathBuf>) -> Self {
        Self { host, folder: folder.into() }
    }

    /// The bytes of git's answer.
    fn ask<A: AsRef<str>>(&self, args: impl IntoIterator<Item = A>) -> Result<Vec<u8>, GitError> {
        let args: Vec<String> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        let what = format!("git {}", args.first().map_or("", String::as_str));
        let mut env = self.host.env_all().clone();
        // Nothing is asked of a terminal, and the index is left as it is.
        env.insert("GIT_OPTIONAL_LOCKS".to_owned(), "0".to_owned());
        env.insert("GIT_TERMINAL_PROMPT".to_owned(), "0".to_owned());
        env.insert("LC_ALL".to_owned(), "C".to_owned());
        let ran = self
            .host
            .run(&Program {
                file: "git",
                args,
                env,
                cwd: &self.folder,
                stdin: &[],
                most: None,
                limit: LIMIT,
                cap: CAP,
                beside: None,
            })
            .map_err(|error| GitError(format!("git cannot be run: {}", error.why)))?;
        match ran.end {
            End::Code(0) if ran.stdout.len() < CAP => Ok(ran.stdout),
            End::Code(0) => Err(GitError(format!("{what} says more than can be taken in"))),
            end => {
                let said = String::from_utf8_lossy(&ran.stderr);
                let said = said.lines().next().map(|line| line.trim_start_matches("fatal: "));
                Err(GitError(said.map_or_else(|| format!("{what}: {end}"), |said| format!("{what}: {said}"))))
            }
        }
    }

    /// Git's answer as one path.
    fn path<A: AsRef<str>>(&self, args: impl IntoIterator<Item = A>) -> Result<PathBuf, GitError> {
        let answer = self.ask(args)?;
        let line = answer.strip_suffix(b"\n").unwrap_or(&answer);
        Ok(self.folder.join(bytes(line)))
    }

    /// Git's answer as paths, each ended by a NUL.
    fn paths<A: AsRef<str>>(&self, args: impl IntoIterator<Item = A>) -> Result<Vec<PathBuf>, GitError> {
        let answer = self.ask(args)?;
        Ok(answer.split(|byte| *byte == 0).filter(|path| !path.is_empty()).map(bytes).collect())
    }

    /// The top of the working tree.
    fn top(&self) -> Result<PathBuf, GitError> {
        self.path(["rev-parse", "--show-toplevel"])
    }
}

/// A path of any bytes.
fn bytes(path: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStringExt as _;
    PathBuf::from(OsString::from_vec(path.to_vec()))
}
