//! Ends what was started and removes temporary folders where this process is killed: a process of its own waits for that.
//!
//! Compilers and interpreters have process groups of their own, and what they start in turn knows nothing of us: a signal
//! that ends this process reaches none of them. The keeper holds the other end of a pipe, which the kernel closes however
//! this process ends. It keeps what it was told, and only that.

#![expect(clippy::disallowed_methods, reason = "this is the seam that the fence protects")]

use std::ffi::OsStr;
use std::io::{Read, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

/// The pipe to the keeper and its number, where there is one.
static KEEPER: OnceLock<Option<(std::process::ChildStdin, String)>> = OnceLock::new();
/// By this variable, with the number of the keeper, a process is known that was started when this one was killed, before
/// the keeper could be told, and one that left its group.
const MARK: &str = "CARGO_GPU_DOCTOR_KEEPER";

/// Starts the keeper, where there is none: a program that hands these arguments over to [`keep`]. Without it nothing is
/// kept, and nothing fails.
pub fn start_keeper(program: &Path, args: &[&str]) {
    KEEPER.get_or_init(|| {
        let mut keeper = Command::new(program)
            .args(args)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .ok()?;
        Some((keeper.stdin.take()?, keeper.id().to_string()))
    });
}

/// Tells the keeper, in one piece.
fn tell(kind: u8, what: &[u8]) {
    if let Some(Some((keeper, _))) = KEEPER.get() {
        let mut keeper = keeper;
        let _ = keeper.write_all(&[&[kind], what, &[0]].concat());
    }
}

/// The variable that marks what is started.
pub(super) fn mark() -> Option<(&'static str, &'static str)> {
    KEEPER.get()?.as_ref().map(|(_, id)| (MARK, id.as_str()))
}

/// Something that is kept until this is dropped.
#[derive(Debug)]
pub struct Kept(u8, Vec<u8>);

impl Kept {
    /// A folder that shall be removed. It belongs to this program and has been made just now.
    pub fn folder(path: &Path) -> Self {
        Self::new(b'F', path.as_os_str().as_bytes())
    }

    /// A process group that shall be ended.
    pub(super) fn group(id: u32) -> Self {
        Self::new(b'G', id.to_string().as_bytes())
    }

    fn new(kind: u8, what: &[u8]) -> Self {
        tell(kind, what);
        Self(kind, what.to_vec())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        tell(self.0.to_ascii_lowercase(), &self.1);
    }
}

/// The keeper's side: listens until the pipe is closed, then ends and removes what is left.
pub fn keep(from: &mut impl Read) {
    let mut told = Vec::new();
    let _ = from.read_to_end(&mut told);
    let mut left: Vec<(u8, &[u8])> = Vec::new();
    for record in told.split(|byte| *byte == 0) {
        let Some((kind, what)) = record.split_first() else { continue };
        if kind.is_ascii_uppercase() {
            left.push((*kind, what));
        } else {
            left.retain(|(other, known)| (other.to_ascii_lowercase(), *known) != (*kind, what));
        }
    }
    let groups = left.iter().filter(|(kind, _)| *kind == b'G').filter_map(|(_, id)| std::str::from_utf8(id).ok());
    for group in groups.filter_map(|id| Pid::from_raw(id.parse().ok()?)) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    if left.is_empty() {
        return;
    }
    // One may be about to become a program, and has no mark yet.
    for _ in 0..10 {
        for process in marked(std::process::id()) {
            let _ = kill_process(process, Signal::KILL);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let folders = left.iter().filter(|(kind, _)| *kind == b'F').map(|(_, path)| PathBuf::from(OsStr::from_bytes(path)));
    for folder in folders {
        // What was killed may still be writing.
        for _ in 0..20 {
            if std::fs::remove_dir_all(&folder).is_ok() || !folder.exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Processes with the mark of a keeper.
fn marked(keeper: u32) -> impl Iterator<Item = Pid> {
    let mark = format!("{MARK}={keeper}");
    let processes = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    processes.filter_map(move |entry| {
        let id = entry.file_name().to_str()?.parse().ok()?;
        let variables = std::fs::read(entry.path().join("environ")).ok()?;
        variables.split(|byte| *byte == 0).any(|one| one == mark.as_bytes()).then(|| Pid::from_raw(id))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_be_told_is_known_by_its_mark() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept");
        std::fs::create_dir(&path).unwrap();
        let mut sleeper =
            Command::new("/bin/sleep").arg("600").env(MARK, std::process::id().to_string()).spawn().unwrap();
        keep(&mut format!("F{}\0", path.display()).as_bytes());
        assert!(!path.exists() && !sleeper.wait().unwrap().success());
    }

    #[test]
    fn only_what_is_still_kept_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let [gone, kept] = ["gone", "kept\n é"].map(|name| folder.path().join(name));
        for path in [&gone, &kept] {
            std::fs::create_dir(path).unwrap();
            std::fs::write(path.join("file"), "").unwrap();
        }
        let mut sleeper = Command::new("/bin/sh").args(["-c", "sleep 600; true"]).process_group(0).spawn().unwrap();
        let id = sleeper.id();
        let told = format!("F{0}\0F{1}\0f{1}\0G{id}\0G1\0g1\0Gx\0\0", gone.display(), kept.display());
        keep(&mut told.as_bytes());
        assert!(!gone.exists() && kept.exists());
        assert!(!sleeper.wait().unwrap().success());
    }
}
