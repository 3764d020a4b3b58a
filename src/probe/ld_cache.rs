//! Reads glibc's library cache, `/etc/ld.so.cache`, in all its formats; rebuilds and judges nothing.
//!
//! The oldest format is a table of its own, the newer one is a second table that either follows the
//! old one or stands alone; since glibc 2.33 an extension names the `glibc-hwcaps` subfolders.

use std::collections::HashMap;

/// Where glibc keeps it.
pub const PATH: &str = "/etc/ld.so.cache";
/// The largest cache that is read; real ones have some hundred kilobytes.
pub const LIMIT: u64 = 32 << 20;

const OLD_MAGIC: &[u8] = b"ld.so-1.7.0";
const NEW_MAGIC: &[u8] = b"glibc-ld.so.cache1.1";
const OLD_HEADER: usize = 16;
const OLD_ENTRY: usize = 12;
const NEW_HEADER: usize = 48;
const NEW_ENTRY: usize = 24;
/// Begins the extension directory.
const EXTENSION_MAGIC: u32 = 0xEAA4_2174;
/// The extension section that lists names of `glibc-hwcaps` subfolders.
const HWCAPS_TAG: u32 = 1;
/// Set in the hardware bits of an entry that belongs to a `glibc-hwcaps` subfolder.
const HWCAPS_BIT: u64 = 1 << 62;
/// The low bits of the upper half may hold an instruction-set level.
const LEVEL_BITS: u64 = 0x3ff << 32;
/// The longest name or path that is read.
const LONGEST: usize = 4096;
/// Names and paths are kept up to this many bytes.
const MOST_KEPT: usize = 32 << 20;

/// The cache: which paths it gives for a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cache {
    entries: HashMap<String, Vec<Entry>>,
    count: u32,
    /// Bytes of names and paths kept so far.
    kept: usize,
}

/// One entry of the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Kind and architecture of the library.
    pub flags: u32,
    /// The path of the library.
    pub path: String,
    /// What the processor must be capable of.
    pub needs: Needs,
}

/// What an entry demands of the processor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// What a `glibc-hwcaps` subfolder of this name stands for.
    Level(String),
    /// Hardware bits of the kind that glibc dropped in 2.37.
    Bits,
}

/// Why a cache cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CacheError {
    /// It begins like none.
    #[error("it does not begin like a cache of the loader")]
    NotACache,
    /// It ends too early.
    #[error("it is truncated")]
    Truncated,
    /// It was made for the other byte order.
    #[error("it has the other byte order")]
    ByteOrder,
}

impl Cache {
    /// Reads the bytes of a cache file.
    ///
    /// # Errors
    ///
    /// What makes the loader ignore the whole file.
    pub fn parse(bytes: &[u8]) -> Result<Self, CacheError> {
        if bytes.starts_with(NEW_MAGIC) {
            return Self::parse_new(bytes, 0);
        }
        if !bytes.starts_with(OLD_MAGIC) {
            return Err(CacheError::NotACache);
        }
        let count = word(bytes, 12).ok_or(CacheError::Truncated)? as usize;
        let end = count
            .checked_mul(OLD_ENTRY)
            .and_then(|size| size.checked_add(OLD_HEADER))
            .filter(|end| *end <= bytes.len())
            .ok_or(CacheError::Truncated)?;
        // The newer table, where there is one, begins at the next multiple of eight.
        let aligned = end.next_multiple_of(8);
        if bytes.get(aligned..).is_some_and(|rest| rest.starts_with(NEW_MAGIC)) {
            return Self::parse_new(bytes, aligned);
        }
        let mut cache = Self::default();
        for entry in bytes[OLD_HEADER..end].chunks_exact(OLD_ENTRY) {
            cache.add(entry, &bytes[end..], Needs::Nothing);
        }
        Ok(cache)
    }

    /// The newer table, which begins at `start` of the file.
    fn parse_new(bytes: &[u8], start: usize) -> Result<Self, CacheError> {
        let table = &bytes[start..];
        let count = word(table, 20).ok_or(CacheError::Truncated)? as usize;
        let end = count
            .checked_mul(NEW_ENTRY)
            .and_then(|size| size.checked_add(NEW_HEADER))
            .filter(|end| *end <= table.len())
            .ok_or(CacheError::Truncated)?;
        // 0: older than the marking; 2: little-endian, as all machines are that have NVIDIA's driver.
        if !matches!(table[28] & 3, 0 | 2) {
            return Err(CacheError::ByteOrder);
        }
        let levels = levels(bytes, word(table, 32).unwrap_or(0));
        let mut cache = Self::default();
        for entry in table[NEW_HEADER..end].chunks_exact(NEW_ENTRY) {
            let bits = u64::from(word(entry, 16).unwrap_or(0)) | u64::from(word(entry, 20).unwrap_or(0)) << 32;
            let needs = if bits == 0 {
                Needs::Nothing
            } else if bits & !LEVEL_BITS & !0xffff_ffff == HWCAPS_BIT {
                let index = usize::try_from(bits & 0xffff_ffff).unwrap_or(usize::MAX);
                levels.get(index).cloned().flatten().map_or(Needs::Bits, Needs::Level)
            } else {
                Needs::Bits
            };
            cache.add(entry, table, needs);
        }
        Ok(cache)
    }

    /// Adds an entry whose name and path lie in `strings`; the loader passes over those that do not.
    fn add(&mut self, entry: &[u8], strings: &[u8], needs: Needs) {
        let text = |at| string(strings, word(entry, at)? as usize);
        let (Some(flags), Some(name), Some(path)) = (word(entry, 0), text(4), text(8)) else { return };
        // Entries of a hostile file may all point at one long string.
        self.kept += name.len() + path.len();
        if self.kept > MOST_KEPT {
            return;
        }
        self.count = self.count.saturating_add(1);
        self.entries.entry(name).or_default().push(Entry { flags, path, needs });
    }

    /// How many entries it holds.
    pub fn len(&self) -> u32 {
        self.count
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The entries for a name on a machine, the one that the loader takes first.
    ///
    /// `levels` are the `glibc-hwcaps` subfolders that the processor can use, the best one first. The
    /// loader tries only the first of these entries.
    pub fn lookup(&self, name: &str, machine: &str, levels: &[&str]) -> Vec<&Entry> {
        let rank = |entry: &Entry| match &entry.needs {
            Needs::Nothing => Some(levels.len()),
            Needs::Level(level) => levels.iter().position(|known| known == level),
            Needs::Bits => None,
        };
        let mut found: Vec<(usize, &Entry)> = self
            .entries
            .get(name)
            .into_iter()
            .flatten()
            .filter(|entry| fits(entry.flags, machine))
            .filter_map(|entry| Some((rank(entry)?, entry)))
            .collect();
        // Stable: entries of one rank stay in the order of the file.
        found.sort_by_key(|(rank, _)| *rank);
        found.into_iter().map(|(_, entry)| entry).collect()
    }
}

/// Whether entries with these flags are for 64-bit programs of that machine.
fn fits(flags: u32, machine: &str) -> bool {
    match machine {
        "x86_64" => flags == 0x0303,
        "aarch64" => flags == 0x0a03,
        // Any library for the current C library; its own header tells the rest.
        _ => flags & 0xff == 3,
    }
}

/// Names of the `glibc-hwcaps` subfolders; a name that cannot be read is `None`, so that the others keep their index.
fn levels(bytes: &[u8], directory: u32) -> Vec<Option<String>> {
    let directory = directory as usize;
    if directory == 0 || word(bytes, directory) != Some(EXTENSION_MAGIC) {
        return Vec::new();
    }
    let sections = word(bytes, directory.saturating_add(4)).unwrap_or(0) as usize;
    let table = bytes.get(directory.saturating_add(8)..).unwrap_or_default();
    for section in table.chunks_exact(16).take(sections) {
        if word(section, 0) != Some(HWCAPS_TAG) {
            continue;
        }
        let (Some(offset), Some(size)) = (word(section, 8), word(section, 12)) else { continue };
        let (offset, size) = (offset as usize, size as usize);
        let Some(names) = offset.checked_add(size).and_then(|end| bytes.get(offset..end)) else { continue };
        return names.chunks_exact(4).take(4096).map(|name| string(bytes, word(name, 0)? as usize)).collect();
    }
    Vec::new()
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

fn string(bytes: &[u8], at: usize) -> Option<String> {
    let bytes = bytes.get(at..)?;
    let bytes = &bytes[..bytes.len().min(LONGEST)];
    let end = bytes.iter().position(|&byte| byte == 0)?;
    Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
}
