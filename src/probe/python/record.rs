//! Holds the files of a distribution against its RECORD; judges nothing and changes nothing.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::atomic::AtomicU64;
#[cfg(feature = "cli")]
use std::sync::atomic::Ordering::Relaxed;

use memchr::{memchr, memrchr};

use super::folders::{Folders, find};
use super::layout::join;
use crate::facts::RecordCheck;
use crate::host::{Host, HostError, Kind, OpenFile, OpenFolder, Why};
use crate::probe::elf::{self, ElfError};

/// RECORD files larger than this are not read.
pub(super) const LIMIT: u64 = 32 << 20;
/// How much of one is read at a time, and how much more for the line at its end.
pub(super) const PIECE: u64 = 32 << 10;
const LONG_LINE: usize = 512;
/// Lines beyond this are not read.
const LINES: usize = 400_000;
/// Of the files of one RECORD, at most as many bytes are read for their hashes.
const HASHED: u64 = 32 << 30;
/// How many bytes of a file are held at once.
#[cfg(feature = "cli")]
const CHUNK: u64 = 1 << 20;
/// What stands between a path and its hash, and how long a SHA-256 is behind it.
const HASH: &[u8] = b",sha256=";
const SHA256: usize = 43;
/// Sizes of more digits are read the slow way: they may be larger than any number.
const MOST_DIGITS: usize = 19;
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
    let mut rest = text;
    let next = move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr(b'\n', rest.as_bytes()).unwrap_or(rest.len());
        let whole = rest.get(..end)?;
        rest = rest.get(end + 1..).unwrap_or_default();
        Some(whole.strip_suffix('\r').unwrap_or(whole))
    };
    // No path holds a NUL; where the text has none, no line is searched for it.
    let nul = memchr(0, text.as_bytes()).is_some();
    let read = move |text| line(text).filter(|line| !nul || memchr(0, line.path.as_bytes()).is_none());
    std::iter::from_fn(next).take(LINES).filter_map(read)
}

fn line(line: &str) -> Option<Line<'_>> {
    usual(line).or_else(|| unusual(line))
}

/// A line as installers write nearly all of them, `PATH,sha256=HASH,SIZE`: read from its end, so that the path, which
/// is most of it, is not searched for what it does not hold.
fn usual(line: &str) -> Option<Line<'_>> {
    let bytes = line.as_bytes();
    let digits = bytes.iter().rev().take(MOST_DIGITS).take_while(|byte| byte.is_ascii_digit()).count();
    let (rest, size) = bytes.split_at_checked(bytes.len() - digits).filter(|_| digits > 0)?;
    let rest = rest.strip_suffix(b",")?;
    let (path, hash) = rest.split_at_checked(rest.len().checked_sub(HASH.len() + SHA256)?)?;
    let hash = hash.strip_prefix(HASH)?;
    let plain = hash.last().is_some_and(u8::is_ascii_alphanumeric) && memchr(b',', hash).is_none();
    if !plain || path.is_empty() || path.starts_with(b"\"") {
        return None;
    }
    let size = size.iter().fold(0, |size, digit| size * 10 + u64::from(digit - b'0'));
    let sha256 = line.get(path.len() + HASH.len()..rest.len())?;
    Some(Line { path: Cow::Borrowed(line.get(..path.len())?), size: Some(size), sha256: Some(sha256) })
}

fn unusual(line: &str) -> Option<Line<'_>> {
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
    if path.is_empty() {
        return None;
    }
    let size = size.trim().parse().ok();
    let sha256 = hash.trim().strip_prefix("sha256=").map(|text| text.trim_end_matches('='));
    Some(Line { path, size, sha256 })
}

/// What stands before and behind the last comma.
fn comma(text: &str) -> Option<(&str, &str)> {
    let at = memrchr(b',', text.as_bytes())?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// Files whose absence means nothing: what Python writes itself, and what another wheel rightly owns too.
fn benign(path: &str) -> bool {
    path.strip_suffix(".pyc").is_some() || path == "nvidia/__init__.py" || path.ends_with("/bin/tensorboard")
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

fn extension(path: &str) -> &str {
    parted(path).1.rsplit_once('.').map_or("", |(_, extension)| extension)
}

/// Whether a path names a shared library.
pub(super) fn is_library(path: &str) -> bool {
    // Of most paths the last letter is enough.
    if !matches!(path.as_bytes().last(), Some(b'o' | b'.' | b'0'..=b'9')) {
        return false;
    }
    let extension = extension(path);
    extension == "so" || (extension.bytes().all(|byte| byte.is_ascii_digit()) && parted(path).1.contains(".so."))
}

/// What XLA compiles with: no library, and read as surely.
fn is_compiler_part(path: &str) -> bool {
    path.ends_with("/bin/ptxas") || path.ends_with("/libdevice.10.bc")
}

/// Whether a file of another size than recorded is surely no use: nothing is left of it, or it is a library that ends
/// before what its own headers name. Others may have been stripped, patched or edited on purpose.
fn is_cut_off(path: &str, recorded: u64, there: u64, open: impl FnOnce() -> Result<OpenFile, HostError>) -> bool {
    there == 0
        || (there < recorded
            && is_library(path)
            && open().is_ok_and(|file| matches!(elf::read(&file, None), Err(ElfError::Broken(_)))))
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

/// So few files of a folder are looked at one by one: to list it takes as long.
const FEW: usize = 4;
/// How far a source file lies from the package folder; deeper ones are compared with `--deep` only.
const SHALLOW: usize = 3;

/// Opens a RECORD file, of which pieces are read.
pub(super) fn open(host: &Host, path: &str) -> Result<OpenFile, HostError> {
    let file = host.open(path)?;
    if file.stat.size > LIMIT {
        return Err(HostError { path: path.to_owned(), why: Why::TooLarge(LIMIT) });
    }
    Ok(file)
}

/// Compares what a verdict rests on, of a RECORD that was read.
pub(super) fn check(folders: &Folders<'_>, location: &str, record: &str) -> RecordCheck {
    let mut shallow = Shallow::new(folders, location);
    shallow.add(record);
    shallow.finish()
}

/// As [`check`], of a RECORD that is read piece by piece: TensorFlow's has megabytes.
pub(super) fn check_file(folders: &Folders<'_>, location: &str, path: &str) -> Result<RecordCheck, HostError> {
    let file = open(folders.host, path)?;
    let mut shallow = Shallow::new(folders, location);
    for range in pieces(file.stat.size, PIECE) {
        shallow.add(&piece(&file, &range)?);
    }
    Ok(shallow.finish())
}

/// Compares what a verdict rests on: presence by listing folders, sizes of libraries.
struct Shallow<'f, 'h> {
    folders: &'f Folders<'h>,
    location: &'f str,
    check: RecordCheck,
    missing: Vec<String>,
    /// How many lines are still read.
    left: usize,
}

impl<'f, 'h> Shallow<'f, 'h> {
    fn new(folders: &'f Folders<'h>, location: &'f str) -> Self {
        let check = RecordCheck::default();
        Self { folders, location, check, missing: Vec::new(), left: LINES }
    }

    fn add(&mut self, record: &str) {
        // RECORD is sorted, so files of one folder stand together.
        let (mut last, mut deep) = (String::new(), false);
        let mut waiting: Vec<Line<'_>> = Vec::new();
        for line in lines(record).take(self.left) {
            self.left -= 1;
            let path = line.path.as_ref();
            let folder = parted(path).0;
            if folder != last {
                folder.clone_into(&mut last);
                deep = path.bytes().filter(|&byte| byte == b'/').count() > SHALLOW;
            }
            let library = is_library(path) || is_compiler_part(path);
            if (deep && !library) || benign(path) || idle(path) || path.starts_with("..") || path.starts_with('/') {
                continue;
            }
            self.check.compared += 1;
            if library || telling(path) {
                self.compare(&line);
                continue;
            }
            if waiting.first().is_some_and(|first| parted(&first.path).0 != folder) {
                self.look(&waiting);
                waiting.clear();
            }
            waiting.push(line);
        }
        self.look(&waiting);
    }

    /// Looks whether files of one folder are there.
    fn look(&mut self, lines: &[Line<'_>]) {
        let Some(folder) = lines.first().map(|line| parted(&line.path).0) else { return };
        let place = if folder.is_empty() { self.location.to_owned() } else { join(self.location, folder) };
        let listing = (lines.len() > FEW).then(|| self.folders.list(&place));
        for line in lines {
            let name = parted(&line.path).1;
            let kind = match &listing {
                Some(listing) => listing.as_ref().and_then(|listing| find(listing, name)).map(|entry| entry.kind),
                None => match self.folders.host.lstat(join(&place, name)) {
                    Ok(stat) => Some(stat.kind),
                    Err(error) if error.is_absent() => None,
                    Err(_) => continue,
                },
            };
            match kind {
                None => self.missing.push(line.path.to_string()),
                Some(Kind::Link) => self.compare(line),
                Some(_) => {}
            }
        }
    }

    /// Compares presence and size.
    fn compare(&mut self, line: &Line<'_>) {
        let path = &line.path;
        match self.folders.host.stat(join(self.location, path)) {
            Err(error) if error.is_absent() => self.missing.push(path.to_string()),
            // What may not be looked at is not known to be gone.
            Err(_) => {}
            Ok(stat) => {
                if let Some(size) = line.size.filter(|&size| size != stat.size) {
                    self.check.changed += 1;
                    let example = format!("{path} ({size} bytes recorded, {} there)", stat.size);
                    let cut = self.check.cut_off.len() < EXAMPLES
                        && is_cut_off(path, size, stat.size, || self.folders.host.open(join(self.location, path)));
                    if cut {
                        self.check.cut_off.push(example.clone());
                    }
                    if self.check.changed_examples.len() < EXAMPLES {
                        self.check.changed_examples.push(example);
                    }
                }
            }
        }
    }

    fn finish(mut self) -> RecordCheck {
        settle(&mut self.check, self.missing);
        self.check
    }
}

/// What comparing every file of a RECORD, or of a part of it, gave.
#[derive(Debug, Default)]
pub(super) struct Part {
    compared: u32,
    missing: Vec<String>,
    changed: u32,
    changed_examples: Vec<String>,
    cut_off: Vec<String>,
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
        self.cut_off.extend(later.cut_off);
        self.cut_off.truncate(EXAMPLES);
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
            cut_off: self.cut_off,
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

/// The ranges in which a RECORD of a size is read: together they are all of it.
pub(super) fn pieces(size: u64, length: u64) -> impl Iterator<Item = Range<u64>> {
    (0..size.div_ceil(length)).map(move |index| index * length..((index + 1) * length).min(size))
}

/// The whole lines that begin in a range of a RECORD.
pub(super) fn piece(file: &OpenFile, range: &Range<u64>) -> Result<String, HostError> {
    let size = file.stat.size;
    // A line begins behind the end of another, and ends where no range does.
    let start = range.start.saturating_sub(1);
    let skipped = range.start > 0;
    let own = usize::try_from(range.end - start).unwrap_or(usize::MAX);
    let mut length = own.saturating_add(LONG_LINE);
    loop {
        length = length.min(usize::try_from(size - start).unwrap_or(usize::MAX));
        let mut bytes = file.read_at(start, length)?;
        let (head, tail) = bytes.split_at(own.saturating_sub(1).min(length));
        let begin = if skipped { memchr(b'\n', head).map(|at| at + 1) } else { Some(0) };
        let Some(begin) = begin else { return Ok(String::new()) };
        let end = match memchr(b'\n', tail) {
            Some(at) => head.len() + at + 1,
            None if start + length as u64 == size => length,
            None => {
                length = length.saturating_mul(2);
                continue;
            }
        };
        bytes.truncate(end);
        bytes.drain(..begin);
        return Ok(text(bytes));
    }
}

/// The text of a RECORD; bytes that are not UTF-8 are replaced.
pub(super) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// How many files in a row below one folder make it worth holding that folder open.
const HELD: usize = 8;

/// The folder and the name in a path.
fn parted(path: &str) -> (&str, &str) {
    memrchr(b'/', path.as_bytes()).and_then(|at| Some((path.get(..at)?, path.get(at + 1..)?))).unwrap_or(("", path))
}

/// What stands behind a folder in a path that leads below it.
fn below<'p>(path: &'p str, folder: &str) -> Option<&'p str> {
    path.strip_prefix(folder)?.strip_prefix('/').filter(|rest| !rest.is_empty() && !rest.starts_with('/'))
}

/// The folder of packages that paths in RECORDs begin at, held open.
#[derive(Debug)]
pub(super) struct Site<'h> {
    host: &'h Host,
    location: String,
    open: Result<OpenFolder<'h>, Why>,
}

impl<'h> Site<'h> {
    pub(super) fn new(host: &'h Host, location: &str) -> Self {
        let open = host.open_folder(location).map_err(|error| error.why);
        Self { host, location: location.to_owned(), open }
    }
}

/// The folders on the way to a file, as far as they are held open: each lies in the one before it.
struct Held<'t, 'h> {
    site: &'t Result<OpenFolder<'h>, Why>,
    folders: Vec<(&'t str, OpenFolder<'h>)>,
    /// In a root, where each way is walked by hand, every folder is worth holding.
    least: usize,
}

impl<'t, 'h> Held<'t, 'h> {
    fn new(site: &'t Site<'h>) -> Self {
        Self { site: &site.open, folders: Vec::new(), least: if site.host.is_rooted() { 1 } else { HELD } }
    }

    /// The size of the file at a path, which is the first of some lines.
    fn size(&mut self, path: &'t str, lines: &[Line<'_>]) -> Result<u64, Why> {
        let site = self.site.as_ref().map_err(Clone::clone)?;
        while self.folders.pop_if(|(folder, _)| below(path, folder).is_none()).is_some() {}
        let folder = parted(path).0;
        let (last, from) = self.folders.last().map_or(("", site), |(last, open)| (*last, open));
        let way = if last.is_empty() { folder } else { below(folder, last).unwrap_or("") };
        let further = |line: &Line<'_>| below(&line.path, folder).is_some();
        // What cannot be opened is looked at by its path, which tells why.
        if !way.is_empty()
            && lines.get(self.least - 1).is_some_and(further)
            && let Ok(open) = from.below(way)
        {
            self.folders.push((folder, open));
        }
        match self.folders.last().and_then(|(last, open)| Some((open, below(path, last)?))) {
            Some((open, rest)) => open.size(rest),
            None => site.size(path),
        }
    }
}

/// Compares every file by presence and size, and where asked for by its hash.
///
/// RECORD is sorted, so files of one folder stand together: they are looked at from that folder.
pub(super) fn check_all(site: &Site<'_>, record: &str, hashes: Option<&Budget>) -> Part {
    let host = site.host;
    let mut part = Part::default();
    let all: Vec<Line<'_>> = lines(record).collect();
    let mut held = Held::new(site);
    for (index, line) in all.iter().enumerate() {
        let path = line.path.as_ref();
        if benign(path) {
            continue;
        }
        let seen = if path.starts_with('/') {
            host.stat(path).map(|stat| stat.size).map_err(|error| error.why)
        } else {
            held.size(path, all.get(index..).unwrap_or_default())
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
            let example = format!("{path} ({recorded} bytes recorded, {there} there)");
            let cut = part.cut_off.len() < EXAMPLES
                && is_cut_off(path, recorded, there, || {
                    host.open(if path.starts_with('/') { path.to_owned() } else { join(&site.location, path) })
                });
            if cut {
                part.cut_off.push(example.clone());
            }
            part.change(|| example);
        } else if let (Some(budget), Some(recorded)) = (hashes, line.sha256) {
            let full = if path.starts_with('/') { path.to_owned() } else { join(&site.location, path) };
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
    crate::sort::by_key(&mut missing, |path| !is_library(path));
    missing.truncate(EXAMPLES);
    check.missing_examples = missing;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::fmt::Write as _;
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
    fn a_long_line_belongs_to_one_piece() {
        let (dir, host) = tree();
        let text = format!("a.py,,1\n{}.py,,2\nb.py,,3\n\u{e9}.py,,4", "x".repeat(3 * LONG_LINE));
        fs::write(dir.path().join("RECORD"), &text).unwrap();
        let file = open(&host, "/RECORD").unwrap();
        for length in [1, 2, 8, 9, 700, 1 << 20] {
            let pieces: Vec<String> = pieces(file.stat.size, length).map(|at| piece(&file, &at).unwrap()).collect();
            assert_eq!(pieces.concat(), text, "{length}");
            assert_eq!(pieces.iter().filter(|piece| piece.contains("x.py")).count(), 1);
        }
    }

    #[test]
    fn usual_lines_read_as_any_line() {
        let hash = "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0";
        let shorter = &hash[1..];
        for text in [
            format!("a/b.py,sha256={hash},12"),
            format!("a,b.py,sha256={hash},18446744073709551615"),
            format!("a/b.py,sha256={hash},99999999999999999999"),
            format!("\u{e9},sha256={hash},0"),
            format!("a,sha256={shorter}=,1"),
            format!("a,sha256={shorter},,1"),
            format!("a,sha256={shorter} ,1"),
            format!("\"a,sha256={hash},1"),
            format!(",sha256={hash},1"),
            format!("a,sha256={hash},"),
            format!("a,sha256={hash},1 "),
            format!("a,sha256={}\u{3000},1", &hash[3..]),
        ] {
            assert_eq!(line(&text), unusual(&text), "{text}");
            assert!(usual(&text).is_none_or(|found| Some(found) == unusual(&text)), "{text}");
        }
        assert!(usual(&format!("a/b.py,sha256={hash},12")).is_some());
        let paths = |text: &str| lines(text).map(|line| line.path.into_owned()).collect::<Vec<_>>();
        assert_eq!(paths(&format!("a\0b,sha256={hash},1\nc,sha256={hash},1\n\0d,,\ne,,\0\n")), ["c", "e"]);
    }

    #[test]
    fn folders_are_held_open_and_odd_paths_looked_at_whole() {
        let dir = tempfile::tempdir().unwrap();
        let mut record = String::new();
        for number in 10..30 {
            for folder in ["a", "a/b", "a/b/c", "a/bc"] {
                fs::create_dir_all(dir.path().join(folder)).unwrap();
                fs::write(dir.path().join(folder).join(format!("{number}.h")), "abc").unwrap();
            }
        }
        for folder in ["a", "a/b", "a/b/c", "a/bc", "gone"] {
            for number in 10..30 {
                writeln!(record, "{folder}/{number}.h,,{}", if number == 20 { 4 } else { 3 }).unwrap();
            }
        }
        for odd in ["a//b/10.h", "a//10.h", "a/b/../10.h", "a/b/", "a/b//", "a//bc//11.h", "a/../a/12.h", "./a/13.h"] {
            writeln!(record, "{odd},,").unwrap();
        }
        let host = Host::here().unwrap();
        let site = dir.path().to_str().unwrap();
        let whole = check_all(&Site::new(&host, site), &record, None).finish();
        assert_eq!((whole.compared, whole.missing, whole.changed, whole.trouble), (108, 20, 4, None));
        let rooted = Host::rooted(dir.path(), BTreeMap::new()).unwrap();
        let whole = check_all(&Site::new(&rooted, "/"), &record, None).finish();
        assert_eq!((whole.compared, whole.missing, whole.changed, whole.trouble), (108, 20, 4, None));
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
        let all = check_all(&Site::new(&host, "/site"), RECORD, None).finish();
        assert_eq!((all.compared, all.missing, all.changed), (6, 4, 1));
    }

    #[test]
    fn what_is_cut_off_is_told_apart_from_what_differs() {
        let (dir, host) = tree();
        let site = dir.path().join("site");
        let whole = elf::elf_writer::Elf { soname: Some("libx.so".to_owned()), ..Default::default() }.bytes();
        for (name, bytes) in
            [("a.so", &whole[..]), ("b.so", &whole[..whole.len() / 2]), ("c.py", b""), ("d.py", b"x\n")]
        {
            fs::write(site.join("tensorflow").join(name), bytes).unwrap();
        }
        fs::write(site.join("tensorflow/__init__.py"), "").unwrap();
        let record = "tensorflow/__init__.py,sha256=abc,3\ntensorflow/a.so,,999999\ntensorflow/b.so,,999999\n\
            tensorflow/c.py,,7\ntensorflow/d.py,,7\n";
        let paths = |check: &RecordCheck| check.torn().map(|(path, _)| path.to_owned()).collect::<Vec<_>>();
        assert_eq!(paths(&check(&Folders::new(&host), "/site", record)), ["tensorflow/__init__.py", "tensorflow/b.so"]);
        let all = check_all(&Site::new(&host, "/site"), record, None).finish();
        assert_eq!(paths(&all), ["tensorflow/__init__.py", "tensorflow/b.so", "tensorflow/c.py"]);
        assert_eq!(all.changed, 5);
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
        assert_eq!(check_all(&Site::new(&host, "/site"), record, None).changed, 0);
        let check = check_all(&Site::new(&host, "/site"), record, Some(&Budget::default())).finish();
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
            let (dir, host) = tree();
            let _ = check(&Folders::new(&host), "/site", &text);
            let _ = check_all(&Site::new(&host, "/site"), &text, Some(&Budget::default())).finish();
            fs::write(dir.path().join("RECORD"), &text).unwrap();
            let file = open(&host, "/RECORD").unwrap();
            let pieces: Vec<String> = pieces(file.stat.size, 7).map(|range| piece(&file, &range).unwrap()).collect();
            let mut full = pieces.iter().rev().filter(|piece| !piece.is_empty()).skip(1);
            prop_assert!(full.all(|piece| piece.ends_with('\n')));
            prop_assert_eq!(pieces.concat(), text);
        }
    }
}
