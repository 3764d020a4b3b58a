//! Holds the files of a distribution against its RECORD; judges nothing and changes nothing.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::atomic::AtomicU64;
#[cfg(feature = "cli")]
use std::sync::atomic::Ordering::Relaxed;

use super::folders::{Folders, find};
use super::layout::join;
use crate::facts::RecordCheck;
use crate::host::{Host, Kind, OpenFolder, Why};

/// RECORD files larger than this are not read.
pub(super) const LIMIT: u64 = 32 << 20;
/// Lines beyond this are not read.
const LINES: usize = 400_000;
/// Of the files of one RECORD, at most as many bytes are read for their hashes.
const HASHED: u64 = 32 << 30;
/// How many bytes of a file are held at once.
#[cfg(feature = "cli")]
const CHUNK: u64 = 1 << 20;
/// How many examples are kept.
const EXAMPLES: usize = 12;

/// A line of RECORD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line<'t> {
    /// Relative to the folder of packages.
    pub(super) path: Cow<'t, str>,
    pub(super) size: Option<u64>,
    /// The SHA-256, in the alphabet of base64 for addresses and without padding; other hashes are not compared.
    pub(super) sha256: Option<&'t str>,
}

/// The lines of a RECORD file; lines that are no records are passed over.
pub(super) fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    text.lines().take(LINES).filter_map(line)
}

fn line(line: &str) -> Option<Line<'_>> {
    if line.is_empty() {
        return None;
    }
    let (path, hash, size) = if let Some(quoted) = line.strip_prefix('"') {
        let mut end = None;
        let bytes = quoted.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            if bytes[at] == b'"' {
                if bytes.get(at + 1) == Some(&b'"') {
                    at += 1;
                } else {
                    end = Some(at);
                    break;
                }
            }
            at += 1;
        }
        let end = end?;
        let rest = quoted[end + 1..].strip_prefix(',').unwrap_or("");
        let (hash, size) = comma(rest).unwrap_or((rest, ""));
        (Cow::Owned(quoted[..end].replace("\"\"", "\"")), hash, size)
    } else {
        // From the end: neither size nor hash can hold a comma, and a path that does should have been quoted.
        let usual = comma(line).and_then(|(rest, size)| {
            let (path, hash) = comma(rest)?;
            (hash.is_empty() || hash.contains('=')).then_some((path, hash, size))
        });
        let (path, hash, size) = if let Some(usual) = usual {
            usual
        } else {
            // A field too few or too many: the path ends at the first comma.
            let (path, rest) = line.split_once(',')?;
            let (hash, more) = rest.split_once(',').unwrap_or((rest, ""));
            (path, hash, more.rsplit(',').next().unwrap_or_default())
        };
        (Cow::Borrowed(path), hash, size)
    };
    if path.is_empty() || path.bytes().any(|byte| byte == 0) {
        return None;
    }
    let size = size.trim().parse().ok();
    let sha256 = hash.trim().strip_prefix("sha256=").map(|text| text.trim_end_matches('='));
    Some(Line { path, size, sha256 })
}

/// What stands before and behind the last comma.
fn comma(text: &str) -> Option<(&str, &str)> {
    let at = text.bytes().rposition(|byte| byte == b',')?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// Files whose absence means nothing: what Python writes itself, and what another wheel rightly owns too.
fn benign(path: &str) -> bool {
    extension(path) == "pyc" || path == "nvidia/__init__.py" || path.ends_with("/bin/tensorboard")
}

/// Files that no verdict rests on. RECORD of TensorFlow has twenty thousand lines, mostly headers, so the
/// end of the name is looked at first.
fn idle(path: &str) -> bool {
    matches!(extension(path), "h" | "hpp" | "inc" | "cuh" | "pyi" | "proto" | "md" | "txt" | "cmake")
        || path.ends_with("_test.py")
        || path.contains("/include/")
        || path.contains("/tests/")
        || path.contains(".dist-info/")
}

fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

fn extension(path: &str) -> &str {
    file_name(path).rsplit_once('.').map_or("", |(_, extension)| extension)
}

/// Whether a path names a shared library.
pub(super) fn is_library(path: &str) -> bool {
    let extension = extension(path);
    extension == "so" || (extension.bytes().all(|byte| byte.is_ascii_digit()) && file_name(path).contains(".so."))
}

/// Source files whose size is compared too: those that choose what is loaded.
fn telling(path: &str) -> bool {
    matches!(
        path,
        "tensorflow/__init__.py"
            | "tensorflow/python/__init__.py"
            | "tensorflow/python/pywrap_tensorflow.py"
            | "tensorflow/python/platform/build_info.py"
            | "tensorflow/python/platform/self_check.py"
            | "keras/__init__.py"
            | "keras/src/__init__.py"
            | "keras/src/version.py"
            | "keras/src/backend/__init__.py"
            | "keras/src/backend/config.py"
            | "tf_keras/__init__.py"
    )
}

/// How far a source file lies from the package folder; deeper ones are compared with `--deep` only.
const SHALLOW: usize = 3;

/// Compares what a verdict rests on: presence by listing folders, sizes of libraries.
pub(super) fn check(folders: &Folders<'_>, location: &str, record: &str) -> RecordCheck {
    let mut check = RecordCheck::default();
    let mut missing = Vec::new();
    let mut last: Option<(String, super::folders::Listing)> = None;
    for line in lines(record) {
        let path = line.path.as_ref();
        let library = is_library(path);
        if !library && path.bytes().filter(|&byte| byte == b'/').count() > SHALLOW {
            continue;
        }
        if benign(path) || idle(path) || path.starts_with("..") || path.starts_with('/') {
            continue;
        }
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        if last.as_ref().is_none_or(|(known, _)| known != folder) {
            let place = if folder.is_empty() { location.to_owned() } else { join(location, folder) };
            last = Some((folder.to_owned(), folders.list(&place)));
        }
        let listing = last.as_ref().and_then(|(_, listing)| listing.as_ref());
        check.compared += 1;
        let Some(entry) = listing.and_then(|listing| find(listing, name)) else {
            missing.push(path.to_owned());
            continue;
        };
        if library || telling(path) || entry.kind == Kind::Link {
            compare(folders.host, &join(location, path), &line, &mut check, &mut missing);
        }
    }
    settle(&mut check, missing);
    check
}

/// What comparing every file of a RECORD, or of a part of it, gave.
#[derive(Debug, Default)]
pub(super) struct Part {
    compared: u32,
    missing: Vec<String>,
    changed: u32,
    changed_examples: Vec<String>,
    /// Files that could not be looked at, and one reason.
    unseen: u32,
    why: Option<Why>,
    /// Files whose hashes could not be compared.
    unhashed: u32,
}

impl Part {
    /// Adds what came from later lines.
    pub(super) fn add(&mut self, later: Self) {
        self.compared = self.compared.saturating_add(later.compared);
        self.missing.extend(later.missing);
        self.changed = self.changed.saturating_add(later.changed);
        self.changed_examples.extend(later.changed_examples);
        self.changed_examples.truncate(EXAMPLES);
        self.unseen = self.unseen.saturating_add(later.unseen);
        self.why = self.why.take().or(later.why);
        self.unhashed = self.unhashed.saturating_add(later.unhashed);
    }

    /// The whole.
    pub(super) fn finish(self) -> RecordCheck {
        let unseen = self.why.map(|why| format!("{} of its files could not be looked at ({why})", self.unseen));
        let unhashed =
            (self.unhashed > 0).then(|| format!("the hashes of {} of its files could not be compared", self.unhashed));
        let troubles: Vec<String> = unseen.into_iter().chain(unhashed).collect();
        let mut check = RecordCheck {
            compared: self.compared,
            changed: self.changed,
            changed_examples: self.changed_examples,
            trouble: (!troubles.is_empty()).then(|| troubles.join("; ")),
            ..RecordCheck::default()
        };
        settle(&mut check, self.missing);
        check
    }
}

/// How many bytes may still be read for hashes.
#[derive(Debug)]
#[cfg_attr(not(feature = "cli"), expect(dead_code, reason = "without hashes nothing is taken from it"))]
pub(super) struct Budget(AtomicU64);

impl Default for Budget {
    fn default() -> Self {
        Self(AtomicU64::new(HASHED))
    }
}

#[cfg(feature = "cli")]
impl Budget {
    fn take(&self, bytes: u64) -> Option<()> {
        self.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes)).ok().map(drop)
    }
}

/// The pieces in which a RECORD is compared, each of whole lines: together they are all of it.
pub(super) fn parts(record: &str, length: usize) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut begin = 0;
    while begin < record.len() {
        let wish = begin.saturating_add(length).min(record.len());
        let rest = record.as_bytes().get(wish..).unwrap_or_default();
        let end = rest.iter().position(|&byte| byte == b'\n').map_or(record.len(), |at| wish + at + 1);
        parts.push(begin..end);
        begin = end;
    }
    parts
}

/// The folder and the name of a path that has both.
fn parted(path: &str) -> Option<(&str, &str)> {
    let at = path.bytes().rposition(|byte| byte == b'/')?;
    Some((path.get(..at)?, path.get(at + 1..)?)).filter(|(folder, name)| !folder.is_empty() && !name.is_empty())
}

/// How many files of one folder in a row make it worth holding that folder open.
const HELD: usize = 4;

/// Compares every file by presence and size, and where asked for by its hash.
///
/// RECORD is sorted, so files of one folder stand together: they are looked at from that folder.
pub(super) fn check_all(host: &Host, location: &str, record: &str, hashes: Option<&Budget>) -> Part {
    let mut part = Part::default();
    let site = host.open_folder(location);
    let all: Vec<Line<'_>> = lines(record).collect();
    let mut last = "";
    let mut held: Option<Result<OpenFolder<'_>, Why>> = None;
    for (index, line) in all.iter().enumerate() {
        let path = line.path.as_ref();
        if benign(path) {
            continue;
        }
        let seen = if path.starts_with('/') {
            host.stat(path).map(|stat| stat.size).map_err(|error| error.why)
        } else if let Some((folder, name)) = parted(path) {
            if folder != last {
                (last, held) = (folder, None);
                let further = all.get(index + HELD - 1).and_then(|line| parted(&line.path));
                if host.is_rooted() || further.is_some_and(|(further, _)| further == folder) {
                    held = Some(match &site {
                        Ok(site) => site.below(folder),
                        Err(error) => Err(error.why.clone()),
                    });
                }
            }
            match (&held, &site) {
                (Some(Ok(open)), _) => open.size(name),
                (Some(Err(why)), _) => Err(why.clone()),
                (None, Ok(site)) => site.size(path),
                (None, Err(error)) => Err(error.why.clone()),
            }
        } else {
            site.as_ref().map_err(|error| error.why.clone()).and_then(|site| site.size(path))
        };
        let there = match seen {
            Ok(there) => there,
            Err(Why::NotFound) => {
                part.compared += 1;
                part.missing.push(path.to_owned());
                continue;
            }
            // What may not be looked at is not known to be gone.
            Err(why) => {
                part.unseen += 1;
                part.why.get_or_insert(why);
                continue;
            }
        };
        part.compared += 1;
        let other = line.size.filter(|&recorded| recorded != there);
        if other.is_none() && hashes.is_none() {
            continue;
        }
        // Programs get their first line rewritten, and the metadata is written after RECORD by some tools.
        if path.starts_with("..") || path.contains(".dist-info/") {
            continue;
        }
        if let Some(recorded) = other {
            part.change(|| format!("{path} ({recorded} bytes recorded, {there} there)"));
        } else if let (Some(budget), Some(recorded)) = (hashes, line.sha256) {
            let full = if path.starts_with('/') { path.to_owned() } else { join(location, path) };
            match has_hash(host, &full, recorded, budget) {
                Some(true) => {}
                Some(false) => part.change(|| format!("{path} (another hash)")),
                None => part.unhashed += 1,
            }
        }
    }
    part
}

impl Part {
    fn change(&mut self, example: impl FnOnce() -> String) {
        self.changed += 1;
        if self.changed_examples.len() < EXAMPLES {
            self.changed_examples.push(example());
        }
    }
}

/// Compares presence and size.
fn compare(host: &Host, full: &str, line: &Line<'_>, check: &mut RecordCheck, missing: &mut Vec<String>) {
    match host.stat(full) {
        Err(error) if error.is_absent() => missing.push(line.path.to_string()),
        // What may not be looked at is not known to be gone.
        Err(_) => {}
        Ok(stat) => {
            if let Some(size) = line.size.filter(|&size| size != stat.size) {
                check.changed += 1;
                if check.changed_examples.len() < EXAMPLES {
                    let path = &line.path;
                    check.changed_examples.push(format!("{path} ({size} bytes recorded, {} there)", stat.size));
                }
            }
        }
    }
}

/// Whether a file has the hash; `None` where it cannot be read, or more would be read than is left.
#[cfg(feature = "cli")]
fn has_hash(host: &Host, path: &str, recorded: &str, budget: &Budget) -> Option<bool> {
    use sha2::{Digest as _, Sha256};

    let file = host.open(path).ok()?;
    let size = file.stat.size;
    budget.take(size)?;
    let mut digest = Sha256::new();
    let mut at = 0;
    while at < size {
        let length = CHUNK.min(size - at);
        digest.update(file.read_at(at, usize::try_from(length).ok()?).ok()?);
        at += length;
    }
    Some(base64(&digest.finalize()) == recorded)
}

/// This build has no means to compare hashes; that was said once, for all files.
#[cfg(not(feature = "cli"))]
fn has_hash(_: &Host, _: &str, _: &str, _: &Budget) -> Option<bool> {
    None
}

/// The alphabet for addresses, without padding.
#[cfg(feature = "cli")]
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let three = (0..3).fold(0_usize, |all, index| all << 8 | usize::from(*chunk.get(index).unwrap_or(&0)));
        for sextet in 0..=chunk.len() {
            text.push(char::from(ALPHABET[three >> (18 - 6 * sextet) & 63]));
        }
    }
    text
}

fn settle(check: &mut RecordCheck, mut missing: Vec<String>) {
    check.missing = u32::try_from(missing.len()).unwrap_or(u32::MAX);
    missing.sort_by_key(|path| !is_library(path));
    missing.truncate(EXAMPLES);
    check.missing_examples = missing;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::fs;

    const RECORD: &str = "tensorflow/__init__.py,sha256=abc,3\n\"tensorflow/a,\"\"b.py\",sha256=x,1\n\
        tensorflow/libx.so.2,sha256=q,4\ntensorflow/python/_a.so,,9\ntensorflow/include/x.h,,1\n\
        tensorflow/__pycache__/x.cpython-311.pyc,,\n../../../bin/tensorboard,,20\ntensorflow-1.dist-info/RECORD,,\n";

    fn tree() -> (tempfile::TempDir, Host) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("site/tensorflow")).unwrap();
        fs::write(dir.path().join("site/tensorflow/__init__.py"), "abc").unwrap();
        fs::write(dir.path().join("site/tensorflow/libx.so.2"), "abcde").unwrap();
        let host = Host::rooted(dir.path(), BTreeMap::new()).unwrap();
        (dir, host)
    }

    #[test]
    fn lines_with_a_field_too_few_or_too_many_keep_their_path() {
        let read = |text: &'static str| line(text).map(|line| (line.path.into_owned(), line.size, line.sha256));
        let path = |name: &str| name.to_owned();
        assert_eq!(read("a/b.py,sha256=xy,12"), Some((path("a/b.py"), Some(12), Some("xy"))));
        assert_eq!(read("a/b.py,,"), Some((path("a/b.py"), None, None)));
        assert_eq!(read("a,b.py,sha256=xy=,12"), Some((path("a,b.py"), Some(12), Some("xy"))));
        assert_eq!(read("\"a,b.py\",sha256=xy,12"), Some((path("a,b.py"), Some(12), Some("xy"))));
        assert_eq!(read("a/b.py,sha256=xy"), Some((path("a/b.py"), None, Some("xy"))));
        assert_eq!(read("a/b.py,sha256=xy,12,more"), Some((path("a/b.py"), None, Some("xy"))));
        assert_eq!(read("a/b.py"), None);
    }

    #[test]
    fn lines_with_quotes() {
        let all: Vec<Line<'_>> = lines(RECORD).collect();
        assert_eq!(all[1], Line { path: "tensorflow/a,\"b.py".into(), size: Some(1), sha256: Some("x") });
        assert_eq!((all[5].size, all[5].sha256), (None, None));
    }

    #[test]
    fn missing_and_changed_files_are_told() {
        let (_dir, host) = tree();
        let check = check(&Folders::new(&host), "/site", RECORD);
        assert_eq!((check.compared, check.missing, check.changed), (4, 2, 1));
        assert_eq!(check.missing_examples, ["tensorflow/python/_a.so", "tensorflow/a,\"b.py"]);
        assert_eq!(check.changed_examples, ["tensorflow/libx.so.2 (4 bytes recorded, 5 there)"]);
        let all = check_all(&host, "/site", RECORD, None).finish();
        assert_eq!((all.compared, all.missing, all.changed), (6, 4, 1));
    }

    #[cfg(feature = "cli")]
    #[test]
    fn hashes_are_compared_where_asked_for() {
        let (dir, host) = tree();
        fs::write(dir.path().join("site/long.bin"), vec![7; 3 << 20 | 5]).unwrap();
        fs::write(dir.path().join("site/empty.py"), "").unwrap();
        let record = "tensorflow/__init__.py,sha256=ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0,3\n\
            tensorflow/libx.so.2,sha256=ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0,5\n\
            long.bin,sha256=AXtvR6ei7C2PPGZuAX4jKNNUHhx-wE1DNg6ZduhQwg0,3145733\n\
            empty.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU=,0\n\
            gone.py,sha256=x,1\nx.dist-info/RECORD,,\n";
        assert_eq!(check_all(&host, "/site", record, None).changed, 0);
        let check = check_all(&host, "/site", record, Some(&Budget::default())).finish();
        assert_eq!((check.changed, check.missing, &check.trouble), (1, 2, &None));
        assert_eq!(check.changed_examples, ["tensorflow/libx.so.2 (another hash)"]);
    }

    #[cfg(feature = "cli")]
    #[test]
    fn reading_for_hashes_is_bounded() {
        let (_dir, host) = tree();
        let budget = Budget(AtomicU64::new(4));
        assert_eq!(has_hash(&host, "/site/tensorflow/__init__.py", "x", &budget), Some(false));
        assert_eq!(has_hash(&host, "/site/tensorflow/__init__.py", "x", &budget), None);
        assert_eq!((budget.0.load(Relaxed), has_hash(&host, "/site/tensorflow", "x", &budget)), (1, None));
    }

    proptest! {
        #[test]
        fn never_panics(text in "[\",/a.\\n0-9é\\\\]{0,120}") {
            let (_dir, host) = tree();
            let _ = check(&Folders::new(&host), "/site", &text);
            let _ = check_all(&host, "/site", &text, Some(&Budget::default())).finish();
            let joined: String = parts(&text, 7).into_iter().map(|range| &text[range]).collect();
            prop_assert_eq!(joined, text);
        }
    }
}
