//! The one place that writes the cache of compiled kernels: each file whole or not at all, and not too many.
//!
//! A cache that cannot be read or written is no failure: then compilers run again.

#![expect(clippy::disallowed_methods, reason = "this is a seam that the fence protects")]

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::host::Host;

/// How many results are kept.
const MOST: usize = 200;
/// How many bytes all of them may have.
const MOST_BYTES: u64 = 16 << 20;
/// A result larger than this is not kept, nor read.
const LARGEST: u64 = 4 << 20;
/// How the names of its files end.
const ENDING: &str = ".kernel";

/// The folder of compiled kernels.
#[derive(Clone, Debug)]
pub(super) struct Cache {
    folder: PathBuf,
}

/// What a cache file holds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// The key in words: two keys with one digest must not be taken for each other.
    key: String,
    /// The digest of `body`: a damaged file is no answer.
    digest: String,
    /// What is kept.
    body: String,
}

impl Cache {
    /// `$XDG_CACHE_HOME/cargo-gpu-doctor/kernels`, by default below `~/.cache`; none where neither names a folder.
    pub(super) fn of(host: &Host) -> Option<Self> {
        // By the specification a relative path counts as none.
        let base = match host.env_nonempty("XDG_CACHE_HOME").filter(|path| path.starts_with('/')) {
            Some(path) => PathBuf::from(path),
            None => Path::new(host.home().filter(|home| home.starts_with('/'))?).join(".cache"),
        };
        // One that is no UTF-8 is not known by its name: another folder would be made beside it.
        let known = !base.to_string_lossy().contains(char::REPLACEMENT_CHARACTER);
        known.then(|| Self { folder: base.join("cargo-gpu-doctor/kernels") })
    }

    /// The folder.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    fn path(&self, key: &str) -> PathBuf {
        self.folder.join(format!("{}{ENDING}", digest(key.as_bytes())))
    }

    /// What is kept under a key, whole or not at all.
    pub(super) fn get(&self, host: &Host, key: &str) -> Option<String> {
        let text = host.read(self.path(key), LARGEST).ok()?;
        let kept: Kept = serde_json::from_slice(&text).ok()?;
        (kept.key == key && kept.digest == digest(kept.body.as_bytes())).then_some(kept.body)
    }

    /// Keeps something under a key, and lets the oldest go where there is too much.
    pub(super) fn put(&self, key: &str, body: String) -> std::io::Result<()> {
        let kept = Kept { key: key.to_owned(), digest: digest(body.as_bytes()), body };
        let text = serde_json::to_vec(&kept)?;
        if text.len() as u64 > LARGEST {
            return Ok(());
        }
        fs::create_dir_all(&self.folder)?;
        let mut file = tempfile::Builder::new().prefix(".new-").tempfile_in(&self.folder)?;
        file.write_all(&text)?;
        // No wait for the disk: after a power cut the digest tells a file that is not whole.
        file.persist(self.path(key)).map_err(|error| error.error)?;
        self.bound();
        Ok(())
    }

    /// Files of ours with their time and size, the newest first; also what a run left behind that was ended while it wrote.
    fn files(&self) -> Vec<(SystemTime, u64, PathBuf)> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().filter_map(Result::ok);
        let mut files: Vec<_> = entries
            .filter(|entry| {
                let name = entry.file_name();
                let name = name.to_string_lossy();
                name.ends_with(ENDING) || name.starts_with(".new-")
            })
            .filter_map(|entry| {
                let meta = entry.metadata().ok().filter(fs::Metadata::is_file)?;
                Some((meta.modified().ok()?, meta.len(), entry.path()))
            })
            .collect();
        crate::sort::by(&mut files, |a, b| b.cmp(a));
        files
    }

    /// Removes the oldest files beyond the limits. Another run may do the same at the same time.
    fn bound(&self) {
        let mut bytes = 0;
        for (at, (_, size, path)) in self.files().into_iter().enumerate() {
            bytes += size;
            if at >= MOST || bytes > MOST_BYTES {
                let _ = fs::remove_file(path);
            }
        }
    }

    /// Removes all that is kept; how many files that were.
    pub(super) fn wipe(&self) -> std::io::Result<usize> {
        let files = self.files();
        for (_, _, path) in &files {
            match fs::remove_file(path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(files.len())
    }
}

/// SHA-256 as text.
pub(super) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn cache() -> (tempfile::TempDir, Host, Cache) {
        let dir = tempfile::tempdir().unwrap();
        let env = [("XDG_CACHE_HOME".to_owned(), dir.path().to_string_lossy().into_owned())].into();
        let host = Host::here_with(env).unwrap();
        let cache = Cache::of(&host).unwrap();
        (dir, host, cache)
    }

    #[test]
    fn what_is_kept_is_found_again_by_its_key_alone() {
        let (_dir, host, cache) = cache();
        assert_eq!(cache.get(&host, "a"), None);
        cache.put("a", "one".to_owned()).unwrap();
        cache.put("b", "two".to_owned()).unwrap();
        cache.put("a", "three".to_owned()).unwrap();
        assert_eq!(
            (cache.get(&host, "a").unwrap().as_str(), cache.get(&host, "b").unwrap().as_str()),
            ("three", "two")
        );
        assert_eq!(cache.wipe().unwrap(), 2);
        assert_eq!(cache.get(&host, "a"), None);
        assert_eq!(cache.wipe().unwrap(), 0);
    }

    #[test]
    fn a_folder_whose_name_is_not_known_is_none() {
        let of = |path: &str| {
            let env = [("XDG_CACHE_HOME".to_owned(), path.to_owned())].into();
            Cache::of(&Host::here_with(env).unwrap()).is_some()
        };
        assert!(of("/c/é") && !of("/c/a\u{fffd}b"));
    }

    #[test]
    fn a_damaged_file_is_no_answer() {
        let (_dir, host, cache) = cache();
        cache.put("a", "the body".to_owned()).unwrap();
        let whole = fs::read(cache.path("a")).unwrap();
        for damaged in [&whole[..whole.len() / 2], &[], b"{}"] {
            fs::write(cache.path("a"), damaged).unwrap();
            assert_eq!(cache.get(&host, "a"), None);
        }
        let changed = String::from_utf8(whole).unwrap().replace("the body", "the bodY");
        fs::write(cache.path("a"), changed).unwrap();
        assert_eq!(cache.get(&host, "a"), None);
        // Another key's file under this name.
        cache.put("b", "other".to_owned()).unwrap();
        fs::copy(cache.path("b"), cache.path("a")).unwrap();
        assert_eq!(cache.get(&host, "a"), None);
    }

    #[test]
    fn the_oldest_go_first() {
        let (_dir, host, cache) = cache();
        for at in 0..MOST + 5 {
            let key = at.to_string();
            cache.put(&key, String::new()).unwrap();
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 + at as u64);
            fs::File::options().write(true).open(cache.path(&key)).unwrap().set_modified(time).unwrap();
        }
        cache.put("last", String::new()).unwrap();
        assert_eq!(cache.files().len(), MOST);
        assert_eq!(cache.get(&host, "0"), None);
        assert!(cache.get(&host, "last").is_some() && cache.get(&host, "204").is_some());
        let big = "x".repeat(usize::try_from(LARGEST).unwrap() - 1000);
        for key in ["p", "q", "r", "s", "t"] {
            cache.put(key, big.clone()).unwrap();
        }
        assert!(cache.files().iter().map(|(_, size, _)| size).sum::<u64>() <= MOST_BYTES);
        assert!(cache.get(&host, "t").is_some());
        // Too large to be kept at all.
        cache.put("u", format!("{big}{big}")).unwrap();
        assert_eq!(cache.get(&host, "u"), None);
    }

    #[test]
    fn many_write_the_same_at_once() {
        let (_dir, host, cache) = cache();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        cache.put("k", "y".repeat(10_000)).unwrap();
                        assert_eq!(cache.get(&host, "k").unwrap().len(), 10_000);
                    }
                });
            }
        });
        assert_eq!(cache.files().len(), 1);
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error_and_no_panic() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let cache = Cache { folder: dir.path().join("file/x") };
        assert!(cache.put("a", String::new()).is_err());
        assert_eq!(cache.wipe().unwrap(), 0);
    }
}
