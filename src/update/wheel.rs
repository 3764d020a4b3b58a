//! Wheels: what their names say, and single files out of a wheel that is never read whole.
//!
//! A wheel is a ZIP archive: its table of contents stands at its end. Of a large table only the pieces are
//! asked for in which the wanted names can be, because wheels are written folder by folder; where that does
//! not lead to a name, the whole table is read.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::Mutex;

use flate2::Crc;
use flate2::read::DeflateDecoder;
use reqwest::Url;
use sha2::{Digest as _, Sha256};

use super::http::{Http, NetError, Part, Wanted, shown};

/// The first read, from the end of the file: the end record, and the last entries of the table.
const TAIL: u64 = 8 << 10;
/// A piece of a large table.
const PIECE: u64 = 4 << 10;
/// A table up to this size is read at once.
const SMALL: u64 = 64 << 10;
/// Tables larger than this are not read whole.
const TABLE_LIMIT: u64 = 16 << 20;
/// Pieces of one table that are tried for one name.
const TRIES: u32 = 64;

/// What the name of a wheel says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WheelName {
    /// The version, as written.
    pub version: String,
    /// Interpreter tags: `cp312`, `py3`.
    pub pythons: Vec<String>,
    /// ABI tags.
    pub abis: Vec<String>,
    /// Platform tags.
    pub platforms: Vec<String>,
}

impl WheelName {
    /// Reads a file name; none where it is no wheel.
    pub fn parse(name: &str) -> Option<Self> {
        let stem = name.strip_suffix(".whl")?;
        let parts: Vec<&str> = stem.split('-').collect();
        let (version, tags) = match parts.as_slice() {
            [_, version, tags @ ..] if tags.len() == 3 => (version, tags),
            // A build number stands between.
            [_, version, _, tags @ ..] if tags.len() == 3 => (version, tags),
            _ => return None,
        };
        let list = |text: &str| text.split('.').map(str::to_owned).collect();
        let [pythons, abis, platforms] = tags else { return None };
        Some(Self {
            version: (*version).to_owned(),
            pythons: list(pythons),
            abis: list(abis),
            platforms: list(platforms),
        })
    }

    /// The platforms in the words of the database; `any` for a wheel that is for all.
    pub fn platforms(&self) -> Vec<&'static str> {
        let mut found = Vec::new();
        for tag in &self.platforms {
            let linux = tag.starts_with("manylinux") || tag.starts_with("linux");
            let mac = tag.starts_with("macosx");
            let names: &[&str] = match tag.as_str() {
                "any" => &["any"],
                "win_amd64" => &["windows-x86_64"],
                _ if linux && tag.ends_with("_x86_64") => &["linux-x86_64"],
                _ if linux && tag.ends_with("_aarch64") => &["linux-aarch64"],
                // `intel` is 32 and 64 bits in one file.
                _ if mac && (tag.ends_with("_x86_64") || tag.ends_with("_intel")) => &["macos-x86_64"],
                _ if mac && tag.ends_with("_arm64") => &["macos-arm64"],
                _ if mac && tag.ends_with("_universal2") => &["macos-arm64", "macos-x86_64"],
                _ => &[],
            };
            found.extend(names);
        }
        crate::sort::plain(&mut found);
        found.dedup();
        found
    }

    /// The minors of `CPython` that it is for: `cp312` is (3, 12). Tags for free-threaded builds count too.
    pub fn minors(&self) -> Vec<(u32, u32)> {
        let digits = |tag: &str| {
            let digits = tag.strip_prefix("cp")?;
            let (major, minor) = digits.split_at_checked(1)?;
            Some((major.parse().ok()?, minor.parse().ok()?))
        };
        self.pythons.iter().filter_map(|tag| digits(tag)).collect()
    }
}

/// Where the bytes of an archive come from.
pub trait Bytes {
    /// A part of the file.
    fn part(&self, wanted: &Wanted) -> Result<Part, NetError>;
    /// What the file is called in errors.
    fn name(&self) -> String;
}

/// A file on a server.
#[derive(Debug)]
pub struct Remote<'h> {
    /// The client.
    pub http: &'h Http,
    /// Where the file is.
    pub url: Url,
    /// Its SHA-256 in lower case, where the index tells it.
    pub sha256: Option<String>,
}

impl Bytes for Remote<'_> {
    fn part(&self, wanted: &Wanted) -> Result<Part, NetError> {
        let part = self.http.part(&self.url, wanted)?;
        // Only a whole file can be held against its hash; parts have the archive's own checksums.
        if let (Part::Whole(bytes), Some(promised)) = (&part, &self.sha256) {
            check_hash(bytes, promised, &self.url)?;
        }
        Ok(part)
    }

    fn name(&self) -> String {
        shown(&self.url)
    }
}

/// Holds bytes against a SHA-256 in hexadecimal.
pub fn check_hash(bytes: &[u8], promised: &str, url: &Url) -> Result<(), NetError> {
    let found = hex(&Sha256::digest(bytes));
    if found.eq_ignore_ascii_case(promised) {
        Ok(())
    } else {
        Err(NetError::Hash(shown(url), found, promised.chars().take(64).collect()))
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A file in memory.
#[derive(Debug)]
pub struct InMemory<'b>(pub &'b [u8]);

impl Bytes for InMemory<'_> {
    fn part(&self, _: &Wanted) -> Result<Part, NetError> {
        Ok(Part::Whole(self.0.to_vec()))
    }

    fn name(&self) -> String {
        "the archive".to_owned()
    }
}

/// Why a file could not be taken out of a wheel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WheelError {
    /// The network.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The archive is broken, or is none.
    #[error("{0}: {1}")]
    Broken(String, &'static str),
}

/// A file in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its path.
    pub name: String,
    method: u16,
    crc: u32,
    packed: u64,
    /// Its size in bytes, unpacked.
    pub size: u64,
    offset: u64,
}

impl Member {
    /// Its size in the archive.
    pub fn packed(&self) -> u64 {
        self.packed
    }
}

/// Where in their tables names were found before, as a share of the table: wheels of one package are alike.
#[derive(Debug, Default)]
pub struct Hints(Mutex<BTreeMap<String, f64>>);

impl Hints {
    fn get(&self, key: &str) -> Option<f64> {
        self.0.lock().ok()?.get(key).copied()
    }

    fn set(&self, key: &str, share: f64) {
        if let Ok(mut hints) = self.0.lock() {
            hints.insert(key.to_owned(), share);
        }
    }
}

/// An archive of which parts were read.
#[derive(Debug)]
pub struct Archive<B> {
    bytes: B,
    /// Parts that were read, by where they begin.
    parts: Vec<(u64, Vec<u8>)>,
    total: u64,
    table: u64,
    length: u64,
    /// All members, once the whole table was read.
    all: Option<Vec<Member>>,
}

impl<B: Bytes> Archive<B> {
    /// Opens an archive by its end.
    pub fn open(bytes: B) -> Result<Self, WheelError> {
        let mut archive = Self { bytes, parts: Vec::new(), total: 0, table: 0, length: 0, all: None };
        let tail = match archive.bytes.part(&Wanted::Last(TAIL))? {
            Part::Of(start, total, bytes) => {
                archive.total = total;
                (start, bytes)
            }
            Part::Whole(bytes) => {
                archive.total = bytes.len() as u64;
                (0, bytes)
            }
        };
        let start = tail.0;
        archive.parts.push(tail);
        let bytes = archive.parts.first().map(|(_, bytes)| bytes.as_slice()).unwrap_or_default();
        let at = bytes
            .windows(22)
            .enumerate()
            .rev()
            .find(|(at, window)| {
                window.starts_with(b"PK\x05\x06")
                    && half(window, 20).is_some_and(|note| at + 22 + usize::from(note) == bytes.len())
            })
            .map(|(at, _)| at);
        let Some(at) = at else { return Err(archive.broken("it has no end record: it is no ZIP archive, or was cut")) };
        let record = bytes.get(at..).unwrap_or_default();
        let (mut length, mut table) = (word(record, 12).unwrap_or(0), word(record, 16).unwrap_or(0));
        if length == u64::from(u32::MAX) || table == u64::from(u32::MAX) || half(record, 10) == Some(u16::MAX) {
            // The locator of the long form stands just before the end record.
            let long = at
                .checked_sub(20)
                .and_then(|at| bytes.get(at..))
                .filter(|locator| locator.starts_with(b"PK\x06\x07"))
                .and_then(|locator| long(locator, 8))
                .and_then(|record| bytes.get(usize::try_from(record.checked_sub(start)?).ok()?..))
                .filter(|record| record.starts_with(b"PK\x06\x06"))
                .and_then(|record| Some((long(record, 40)?, long(record, 48)?)));
            let Some((long_length, long_table)) = long else { return Err(archive.broken("its end record is broken")) };
            (length, table) = (long_length, long_table);
        }
        if table.checked_add(length).is_none_or(|end| end > start + at as u64) {
            return Err(archive.broken("its table of contents lies outside of it"));
        }
        (archive.table, archive.length) = (table, length);
        Ok(archive)
    }

    fn broken(&self, why: &'static str) -> WheelError {
        WheelError::Broken(self.bytes.name(), why)
    }

    /// Bytes of the file, asked for where they were not read yet.
    fn read(&mut self, start: u64, length: u64) -> Result<Vec<u8>, WheelError> {
        let end = start.saturating_add(length).min(self.total);
        for (from, bytes) in &self.parts {
            if *from <= start && end <= from + bytes.len() as u64 {
                let at = usize::try_from(start - from).unwrap_or(usize::MAX);
                let count = usize::try_from(end.saturating_sub(start)).unwrap_or(0);
                return Ok(bytes.get(at..at + count).unwrap_or_default().to_vec());
            }
        }
        match self.bytes.part(&Wanted::Bytes(start..end))? {
            Part::Of(_, total, _) if total != self.total => Err(self.broken("its length changed while it was read")),
            Part::Of(start, _, bytes) => {
                self.parts.push((start, bytes.clone()));
                Ok(bytes)
            }
            Part::Whole(bytes) => {
                let range = usize::try_from(start).unwrap_or(usize::MAX)..usize::try_from(end).unwrap_or(usize::MAX);
                let part = bytes.get(range).map(<[u8]>::to_vec);
                self.parts = vec![(0, bytes)];
                part.ok_or_else(|| self.broken("its length changed while it was read"))
            }
        }
    }

    /// All members.
    pub fn members(&mut self) -> Result<&[Member], WheelError> {
        if self.all.is_none() {
            if self.length > TABLE_LIMIT {
                return Err(self.broken("its table of contents is larger than anything sensible"));
            }
            let bytes = self.read(self.table, self.length)?;
            let (members, end) = entries(&bytes);
            if end as u64 != self.length {
                return Err(self.broken("its table of contents is broken"));
            }
            self.all = Some(members);
        }
        Ok(self.all.as_deref().unwrap_or_default())
    }

    /// A member whose path fits, out of the whole table.
    pub fn find(&mut self, fits: impl Fn(&str) -> bool) -> Result<Option<Member>, WheelError> {
        Ok(self.members()?.iter().find(|member| fits(&member.name)).cloned())
    }

    /// The member of a path.
    pub fn member(&mut self, path: &str, hints: &Hints, hint: &str) -> Result<Option<Member>, WheelError> {
        if self.all.is_none() && self.length > SMALL {
            match self.search(path, hints.get(hint))? {
                Search::Found(member, share) => {
                    hints.set(hint, share);
                    return Ok(Some(member));
                }
                Search::Lost => {}
            }
        }
        Ok(self.members()?.iter().find(|member| member.name == path).cloned())
    }

    /// Looks for a path in pieces of the table.
    ///
    /// Archives are written folder by folder, in whatever order: between two entries of a folder there are only
    /// entries of that folder. So each piece tells of the gap beside it whether the path can be there.
    fn search(&mut self, path: &str, hint: Option<f64>) -> Result<Search, WheelError> {
        let mut samples: Vec<Sample> = Vec::new();
        let tail =
            self.parts.first().map_or(self.length, |(start, _)| start.saturating_sub(self.table)).min(self.length);
        let mut next = Some(tail..self.length);
        // What was found in a wheel of this kind before, then the beginning.
        let mut queue: Vec<std::ops::Range<u64>> = Vec::with_capacity(2);
        queue.push(0..PIECE.min(self.length));
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share of a table"
        )]
        queue.extend(hint.map(|share| {
            let from = ((share * self.length as f64) as u64).saturating_sub(PIECE / 2).min(self.length);
            from..(from + PIECE).min(self.length)
        }));
        for _ in 0..TRIES {
            let Some(range) = next.take() else { return Ok(Search::Lost) };
            let bytes = self.read(self.table + range.start, range.end - range.start)?;
            let Some((skipped, members, used)) = aligned(&bytes) else { return Ok(Search::Lost) };
            if let Some(member) = members.iter().find(|member| member.name == path) {
                #[expect(clippy::cast_precision_loss, reason = "a share of a table")]
                let share = (range.start + (range.end - range.start) / 2) as f64 / self.length as f64;
                return Ok(Search::Found(member.clone(), share));
            }
            let (Some(first), Some(last)) = (members.first(), members.last()) else { return Ok(Search::Lost) };
            let sample = Sample {
                range: range.start + skipped as u64..range.start + used as u64,
                first: first.name.clone(),
                last: last.name.clone(),
            };
            let place = samples.partition_point(|other| other.range.start < sample.range.start);
            samples.insert(place, sample);
            next = queue.pop().or_else(|| gap(&samples, path));
        }
        Ok(Search::Lost)
    }

    /// The contents of a member of at most `limit` bytes.
    pub fn contents(&mut self, member: &Member, limit: u64) -> Result<Vec<u8>, WheelError> {
        if member.size > limit || member.packed > limit {
            return Err(self.broken("a file in it is larger than anything sensible"));
        }
        // Before the data stands a header with the name again and a note of a length that only it tells.
        let header = 30 + member.name.len() as u64;
        let slack = 64;
        let bytes = self.read(member.offset, header + slack + member.packed)?;
        if !bytes.starts_with(b"PK\x03\x04") {
            return Err(self.broken("a file in it is not where the table says"));
        }
        let (Some(name), Some(extra)) = (half(&bytes, 26), half(&bytes, 28)) else {
            return Err(self.broken("a file in it is cut"));
        };
        let begin = 30 + u64::from(name) + u64::from(extra);
        let bytes = if begin <= header + slack { bytes } else { self.read(member.offset, begin + member.packed)? };
        let range =
            usize::try_from(begin).unwrap_or(usize::MAX)..usize::try_from(begin + member.packed).unwrap_or(usize::MAX);
        let Some(packed) = bytes.get(range) else { return Err(self.broken("a file in it is cut")) };
        let mut plain = Vec::new();
        match member.method {
            0 => plain.extend_from_slice(packed),
            8 => {
                if DeflateDecoder::new(packed).take(limit + 1).read_to_end(&mut plain).is_err() {
                    return Err(self.broken("a file in it cannot be unpacked"));
                }
            }
            _ => return Err(self.broken("a file in it is packed in a way that is not read here")),
        }
        let mut crc = Crc::new();
        crc.update(&plain);
        if plain.len() as u64 != member.size || crc.sum() != member.crc {
            return Err(self.broken("a file in it does not have its checksum"));
        }
        Ok(plain)
    }
}

enum Search {
    Found(Member, f64),
    Lost,
}

/// A piece of a table: whole entries, and which.
struct Sample {
    range: std::ops::Range<u64>,
    first: String,
    last: String,
}

/// The next piece to read: in the most promising gap between two samples.
fn gap(samples: &[Sample], path: &str) -> Option<std::ops::Range<u64>> {
    let wanted = folders(path);
    let best = samples
        .windows(2)
        .filter_map(|pair| match pair {
            [before, after] if before.range.end < after.range.start => Some((before, after)),
            _ => None,
        })
        .filter(|(before, after)| {
            let (left, right) = (folders(&before.last), folders(&after.first));
            let both = common(&left, &right);
            common(&wanted, &left) >= both
        })
        .max_by_key(|(before, after)| {
            let near = common(&wanted, &folders(&before.last)).max(common(&wanted, &folders(&after.first)));
            (near, after.range.start - before.range.end)
        })?;
    let (before, after) = best;
    let (from, to) = (before.range.end, after.range.start);
    if to - from <= PIECE {
        return Some(from..to);
    }
    // Where a neighbour is in the very folder, the path is most likely just beside it.
    let beside = |name: &str| folders(name) == wanted;
    Some(if beside(&before.last) {
        from..from + PIECE
    } else if beside(&after.first) {
        to - PIECE..to
    } else {
        let middle = u64::midpoint(from, to) - PIECE / 2;
        middle..middle + PIECE
    })
}

/// The folders above an entry; a folder's own entry stands among those of the folder above it.
fn folders(name: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = name.trim_end_matches('/').split('/').collect();
    parts.pop();
    parts
}

fn common(a: &[&str], b: &[&str]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?).into())
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// One entry of a table, and its length.
fn entry(bytes: &[u8]) -> Option<(Member, usize)> {
    if !bytes.starts_with(b"PK\x01\x02") {
        return None;
    }
    let (name, extra, note) = (half(bytes, 28)?, half(bytes, 30)?, half(bytes, 32)?);
    let (name, extra, note) = (usize::from(name), usize::from(extra), usize::from(note));
    let text = bytes.get(46..46 + name)?;
    let more = bytes.get(46 + name..46 + name + extra)?;
    let length = 46 + name + extra + note;
    bytes.get(..length)?;
    let (mut packed, mut size, mut offset) = (word(bytes, 20)?, word(bytes, 24)?, word(bytes, 42)?);
    // The long form of figures that do not fit stands in the first field of what is added.
    if half(more, 0) == Some(1) {
        let mut at = 4;
        for figure in [&mut size, &mut packed, &mut offset] {
            if *figure == u64::from(u32::MAX) {
                *figure = long(more, at)?;
                at += 8;
            }
        }
    }
    let member = Member {
        name: String::from_utf8_lossy(text).into_owned(),
        method: half(bytes, 10)?,
        crc: u32::from_le_bytes(bytes.get(16..20)?.try_into().ok()?),
        packed,
        size,
        offset,
    };
    Some((member, length))
}

/// The entries from the beginning of some bytes on, and where they end.
fn entries(bytes: &[u8]) -> (Vec<Member>, usize) {
    let mut members = Vec::new();
    let mut at = 0;
    while let Some((member, length)) = bytes.get(at..).and_then(entry) {
        members.push(member);
        at += length;
    }
    (members, at)
}

/// The whole entries in a piece of a table that may begin and end within one: how much comes before them,
/// the entries, and where they end.
fn aligned(bytes: &[u8]) -> Option<(usize, Vec<Member>, usize)> {
    let mut at = 0;
    while let Some(next) = bytes.get(at..)?.windows(4).position(|window| window == b"PK\x01\x02") {
        let begin = at + next;
        let (members, length) = entries(bytes.get(begin..)?);
        // What is left is an entry that was cut, and those are short.
        if !members.is_empty() && bytes.len() - begin - length < 1024 {
            return Some((begin, members, begin + length));
        }
        at = begin + 4;
    }
    None
}

/// A small ZIP archive, for tests: names and contents, stored or deflated.
#[cfg(test)]
pub(super) fn zip(files: &[(String, Vec<u8>)], deflate: bool) -> Vec<u8> {
    use std::io::Write as _;
    let mut out = Vec::new();
    let mut table = Vec::new();
    for (name, plain) in files {
        let mut crc = Crc::new();
        crc.update(plain);
        let packed = if deflate {
            let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        } else {
            plain.clone()
        };
        let offset = u32::try_from(out.len()).unwrap();
        let lengths = |bytes: &mut Vec<u8>| {
            bytes.extend(if deflate { [8u8, 0] } else { [0, 0] });
            bytes.extend([0; 4]);
            bytes.extend(crc.sum().to_le_bytes());
            bytes.extend(u32::try_from(packed.len()).unwrap().to_le_bytes());
            bytes.extend(u32::try_from(plain.len()).unwrap().to_le_bytes());
            bytes.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
            bytes.extend([0; 2]);
        };
        out.extend(b"PK\x03\x04\x14\0\0\0");
        lengths(&mut out);
        out.extend(name.as_bytes());
        out.extend(&packed);
        table.extend(b"PK\x01\x02\x14\0\x14\0\0\0");
        lengths(&mut table);
        table.extend([0; 10]);
        table.extend(offset.to_le_bytes());
        table.extend(name.as_bytes());
    }
    let begin = out.len();
    out.extend(&table);
    out.extend(b"PK\x05\x06\0\0\0\0");
    let count = u16::try_from(files.len()).unwrap();
    out.extend(count.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend(u32::try_from(table.len()).unwrap().to_le_bytes());
    out.extend(u32::try_from(begin).unwrap().to_le_bytes());
    out.extend([0; 2]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::cell::Cell;

    /// A server in miniature that counts what it gives.
    struct Ranged<'b>(&'b [u8], Cell<u64>);

    impl Bytes for &Ranged<'_> {
        fn part(&self, wanted: &Wanted) -> Result<Part, NetError> {
            let total = self.0.len() as u64;
            let range = match wanted {
                Wanted::Last(count) => total.saturating_sub(*count)..total,
                Wanted::Bytes(range) => range.start..range.end.min(total),
            };
            self.1.set(self.1.get() + (range.end - range.start));
            let bytes = self.0[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].to_vec();
            Ok(Part::Of(range.start, total, bytes))
        }

        fn name(&self) -> String {
            "test".to_owned()
        }
    }

    fn files(count: usize) -> Vec<(String, Vec<u8>)> {
        let mut files: Vec<(String, Vec<u8>)> = (0..count)
            .map(|n| (format!("tensorflow/include/some/long/folder{:02}/header_{n:05}.h", n % 40), vec![b'x'; n % 7]))
            .collect();
        files.push(("tensorflow/python/platform/build_info.py".to_owned(), b"build_info = {}\n".to_vec()));
        files.push(("tensorflow/__init__.py".to_owned(), Vec::new()));
        // Folder by folder, and the folders in no order that means anything.
        files.sort_by_key(|(name, _)| {
            (
                folders(name).iter().map(|it| (it.len(), it.bytes().rev().collect::<Vec<_>>())).collect::<Vec<_>>(),
                name.clone(),
            )
        });
        files.push(("tensorflow-2.0.0.dist-info/METADATA".to_owned(), b"Name: tensorflow\n".to_vec()));
        files.push(("tensorflow-2.0.0.dist-info/RECORD".to_owned(), Vec::new()));
        files
    }

    #[test]
    fn names_of_wheels() {
        let name =
            WheelName::parse("tensorflow-2.20.0-cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64.whl").unwrap();
        assert_eq!(
            (name.version.as_str(), name.minors(), name.platforms()),
            ("2.20.0", vec![(3, 13)], vec!["linux-x86_64"])
        );
        let name = WheelName::parse("keras-3.0.0-py3-none-any.whl").unwrap();
        assert_eq!((name.minors(), name.platforms()), (vec![], vec!["any"]));
        assert_eq!(WheelName::parse("a-1-2-cp27-cp27mu-win_amd64.whl").unwrap().minors(), [(2, 7)]);
        let name = WheelName::parse("tensorflow-2.0.1-cp35-cp35m-macosx_10_6_intel.whl").unwrap();
        assert_eq!(name.platforms(), ["macos-x86_64"]);
        assert_eq!(WheelName::parse("tensorflow-2.0.tar.gz"), None);
        assert_eq!(WheelName::parse("a-b.whl"), None);
    }

    #[test]
    fn of_a_large_table_only_pieces_are_read() {
        let bytes = zip(&files(12_000), true);
        let server = Ranged(&bytes, Cell::new(0));
        let mut archive = Archive::open(&server).unwrap();
        let hints = Hints::default();
        let member = archive.member("tensorflow-2.0.0.dist-info/METADATA", &hints, "m").unwrap().unwrap();
        assert_eq!(archive.contents(&member, 100).unwrap(), b"Name: tensorflow\n");
        let member = archive.member("tensorflow/python/platform/build_info.py", &hints, "x").unwrap().unwrap();
        assert_eq!(archive.contents(&member, 100).unwrap(), b"build_info = {}\n");
        assert!(archive.all.is_none() && archive.length > 1_000_000);
        let first = server.1.replace(0);
        assert!(first < 250_000, "{first} bytes");
        let mut again = Archive::open(&server).unwrap();
        assert!(again.member("tensorflow/python/platform/build_info.py", &hints, "x").unwrap().is_some());
        assert!(server.1.get() < 70_000, "{} bytes", server.1.get());
        assert!(again.all.is_none());
        // That something is absent only the whole table proves.
        assert!(again.member("tensorflow/python/platform/absent.py", &hints, "y").unwrap().is_none());
        assert!(again.all.is_some());
    }

    #[test]
    fn a_table_without_order_is_read_whole() {
        let mut mixed = files(6000);
        mixed.sort_by_key(|(name, _)| {
            name.bytes().map(u64::from).fold(7u64, |sum, byte| sum.wrapping_mul(0x0100_0193) ^ byte)
        });
        let bytes = zip(&mixed, false);
        let server = Ranged(&bytes, Cell::new(0));
        let mut archive = Archive::open(&server).unwrap();
        let found = archive.member("tensorflow/python/platform/build_info.py", &Hints::default(), "x").unwrap();
        assert!(found.is_some() && archive.all.is_some());
    }

    #[test]
    fn what_is_broken_is_said() {
        let bytes = zip(&files(3), true);
        assert!(matches!(Archive::open(InMemory(&bytes[..bytes.len() - 3])), Err(WheelError::Broken(..))));
        assert!(matches!(Archive::open(InMemory(b"nonsense")), Err(WheelError::Broken(..))));
        let mut flipped = bytes.clone();
        let at = bytes.windows(16).position(|window| window.starts_with(b"PK\x03\x04")).unwrap() + 14;
        flipped[at] ^= 1;
        let table = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap() + 16;
        flipped[table] ^= 1;
        let mut archive = Archive::open(InMemory(&flipped)).unwrap();
        let first = archive.members().unwrap()[0].clone();
        assert!(matches!(
            archive.contents(&first, 1000),
            Err(WheelError::Broken(_, "a file in it does not have its checksum"))
        ));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_bytes_make_it_panic(place in 0usize..400, byte: u8, cut in 0usize..400) {
            let mut bytes = zip(&files(2), true);
            let place = place % bytes.len();
            bytes[place] = byte;
            bytes.truncate(bytes.len() - cut % bytes.len());
            if let Ok(mut archive) = Archive::open(InMemory(&bytes)) {
                let members = archive.members().map(<[Member]>::to_vec).unwrap_or_default();
                for member in &members {
                    let _ = archive.contents(member, 1 << 20);
                }
            }
        }
    }
}
