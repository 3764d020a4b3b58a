//! The one place that writes the user's data folder: under a lock, and each file whole or not at all.
//!
//! Nothing else may create, rename or remove files (clippy's `disallowed-methods` holds the fence), but for
//! the copy that `--output` asks for.

#![expect(clippy::disallowed_methods, reason = "this is the seam that the fence protects")]

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Why nothing could be written; what was there is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// There is no place for data.
    #[error("there is no folder for data: neither XDG_DATA_HOME nor HOME names one")]
    NoFolder,
    /// Somebody else is at it.
    #[error("{0}: another update is running")]
    Busy(String),
    /// The disk says no.
    #[error("{0}: {1}")]
    Disk(String, String),
}

/// The data folder, locked for as long as this lives.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    // The lock ends when the file is closed, however the program ends.
    _lock: File,
}

impl Store {
    /// Makes the folder where it is not there, and locks it; waits for another update at most `patience`.
    pub fn lock(folder: &Path, patience: Duration) -> Result<Self, StoreError> {
        fs::create_dir_all(folder).map_err(|error| disk(folder, &error))?;
        let path = folder.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|error| disk(&path, &error))?;
        let begin = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { folder: folder.to_path_buf(), _lock: file }),
                Err(TryLockError::WouldBlock) if begin.elapsed() < patience => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(TryLockError::WouldBlock) => return Err(StoreError::Busy(folder.display().to_string())),
                Err(TryLockError::Error(error)) => return Err(disk(&path, &error)),
            }
        }
    }

    /// Writes a file: readers see the old one or the new one, whatever happens in between.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf, StoreError> {
        let path = self.folder.join(name);
        let mut file = tempfile::Builder::new()
            .prefix(&format!(".{name}."))
            .tempfile_in(&self.folder)
            .map_err(|error| disk(&self.folder, &error))?;
        file.write_all(text.as_bytes()).map_err(|error| disk(&path, &error))?;
        file.as_file().sync_all().map_err(|error| disk(&path, &error))?;
        file.persist(&path).map_err(|error| disk(&path, &error.error))?;
        // That the new name lasts is the folder's to know; some file systems cannot be asked for that.
        if let Ok(folder) = File::open(&self.folder) {
            let _ = folder.sync_all();
        }
        Ok(path)
    }
}

fn disk(path: &Path, error: &std::io::Error) -> StoreError {
    StoreError::Disk(path.display().to_string(), error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_updates_do_not_meet() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a/b");
        let first = Store::lock(&folder, Duration::ZERO).unwrap();
        assert!(matches!(Store::lock(&folder, Duration::ZERO), Err(StoreError::Busy(_))));
        first.write("x.json", "one").unwrap();
        drop(first);
        let second = Store::lock(&folder, Duration::ZERO).unwrap();
        second.write("x.json", "two").unwrap();
        assert_eq!(fs::read_to_string(folder.join("x.json")).unwrap(), "two");
        let mut names: Vec<_> = fs::read_dir(&folder).unwrap().map(|it| it.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["lock", "x.json"]);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_told() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        assert!(matches!(Store::lock(&dir.path().join("file/x"), Duration::ZERO), Err(StoreError::Disk(..))));
    }
}
