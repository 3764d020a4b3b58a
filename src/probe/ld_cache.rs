//! Reads glibc's library cache, `/etc/ld.so.cache`, in all its formats, and which folders one would cover; rebuilds and
//! judges nothing.
//!
//! The oldest format is a table of its own, the newer one is a second table that either follows the
//! old one or stands alone; since glibc 2.33 an extension names the `glibc-hwcaps` subfolders.

use std::collections::HashMap;

use crate::host::Host;

/// Where glibc keeps it.
pub const PATH: &str = "/etc/ld.so.cache";
/// The largest cache that is read; real ones have some hundred kilobytes.
pub const LIMIT: u64 = 32 << 20;

/// What `ldconfig` reads.
const CONFIGURATION: &str = "/etc/ld.so.conf";
/// Files of the configuration that are read, and folders that are kept.
const MOST: usize = 256;
/// Where WSL puts the libraries of the Windows driver; it names the folder to `ldconfig` itself when it starts.
const WSL: &str = "/usr/lib/wsl/lib";

/// The folders that the configuration of `ldconfig` names, in its order, and that of WSL.
pub fn folders(host: &Host) -> Vec<String> {
    let mut files = vec![CONFIGURATION.to_owned()];
    let mut folders: Vec<String> = Vec::new();
    let mut at = 0;
    while let Some(file) = files.get(at).cloned() {
        at += 1;
        let text = host.read_lossy(&file).unwrap_or_default();
        for line in text.lines().filter_map(|line| line.split('#').next()) {
            let mut words =
                line.split(|c: char| c.is_whitespace() || matches!(c, ':' | ',')).filter(|it| !it.is_empty());
            match words.clone().next() {
                Some("include") => {
                    let parent = file.rsplit_once('/').map_or("", |(parent, _)| parent);
                    for found in words.skip(1).flat_map(|pattern| included(host, parent, pattern)) {
                        if files.len() < MOST && !files.contains(&found) {
                            files.push(found);
                        }
                    }
                }
                Some("hwcap") => {}
                _ => {
                    for folder in words.by_ref().map(|word| word.split('=').next().unwrap_or(word)) {
                        if folder.starts_with('/') && folders.len() < MOST && !folders.iter().any(|it| it == folder) {
                            folders.push(folder.to_owned());
                        }
                    }
                }
            }
        }
    }
    if !folders.iter().any(|folder| folder == WSL) {
        folders.push(WSL.to_owned());
    }
    folders
}

/// The files that a pattern names whose last part may hold one `*`, which is all that distributions use.
fn included(host: &Host, parent: &str, pattern: &str) -> Vec<String> {
    let pattern = if pattern.starts_with('/') { pattern.to_owned() } else { format!("{parent}/{pattern}") };
    let Some((folder, name)) = pattern.rsplit_once('/') else { return Vec::new() };
    let Some((start, end)) = name.split_once('*') else { return vec![pattern] };
    let fits = |name: &String| {
        name.len() >= start.len() + end.len()
            && name.starts_with(start)
            && name.ends_with(end)
            && !name.starts_with('.')
    };
    host.names(folder).into_iter().filter(fits).map(|name| format!("{folder}/{name}")).collect()
}

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
    Bits(u64),
}

/// What a loader takes entries for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capable<'a> {
    /// The `glibc-hwcaps` subfolders that it knows and the processor can use, the best one first.
    pub levels: &'a [&'static str],
    /// Hardware bits that it allows; none from glibc 2.37 on.
    pub bits: u64,
    /// Of the platform bits, those that it takes.
    pub platform: u64,
}

/// The bits of [`Needs::Bits`] that number a platform, such as `haswell`.
pub const PLATFORM_BITS: u64 = 0xf << 48;
/// The bit of a `tls` subfolder.
pub const TLS_BIT: u64 = 1 << 63;

impl Capable<'_> {
    /// Where an entry stands among those of its name, the smallest first; `None`: it is passed over.
    fn rank(&self, needs: &Needs) -> Option<usize> {
        match needs {
            Needs::Level(level) => self.levels.iter().position(|known| known == level),
            Needs::Bits(bits) => {
                let platform = bits & PLATFORM_BITS;
                let fits = bits & !(self.bits | PLATFORM_BITS) == 0 && (platform == 0 || platform == self.platform);
                (self.bits != 0 && fits).then_some(self.levels.len())
            }
            Needs::Nothing => Some(self.levels.len() + 1),
        }
    }
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
                levels.get(index).cloned().flatten().map_or(Needs::Bits(bits), Needs::Level)
            } else {
                Needs::Bits(bits)
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
    /// The loader tries only the first of these entries.
    pub fn lookup(&self, name: &str, machine: &str, capable: &Capable<'_>) -> Vec<&Entry> {
        let mut found: Vec<(usize, &Entry)> = self
            .entries
            .get(name)
            .into_iter()
            .flatten()
            .filter(|entry| fits(entry.flags, machine))
            .filter_map(|entry| Some((capable.rank(&entry.needs)?, entry)))
            .collect();
        // Stable: entries of one rank stay in the order of the file.
        crate::sort::by_key(&mut found, |(rank, _)| *rank);
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    type Row<'a> = (u32, &'a str, &'a str, u64);

    fn put(bytes: &mut Vec<u8>, value: u32) {
        bytes.extend_from_slice(&value.to_le_bytes());
    }

    fn put_string(strings: &mut Vec<u8>, text: &str) -> u32 {
        let at = u32::try_from(strings.len()).unwrap();
        strings.extend_from_slice(text.as_bytes());
        strings.push(0);
        at
    }

    /// A cache of the newer format.
    pub(in crate::probe) fn new_format(rows: &[Row<'_>], levels: &[&str]) -> Vec<u8> {
        let base = u32::try_from(NEW_HEADER + rows.len() * NEW_ENTRY).unwrap();
        let (mut entries, mut strings) = (Vec::new(), Vec::new());
        for (flags, name, path, bits) in rows {
            put(&mut entries, *flags);
            let name = put_string(&mut strings, name);
            put(&mut entries, base + name);
            let path = put_string(&mut strings, path);
            put(&mut entries, base + path);
            put(&mut entries, 0);
            entries.extend_from_slice(&bits.to_le_bytes());
        }
        let levels: Vec<u32> = levels.iter().map(|level| base + put_string(&mut strings, level)).collect();
        strings.resize(strings.len().next_multiple_of(4), 0);
        let extension = base + u32::try_from(strings.len()).unwrap();
        let mut bytes = NEW_MAGIC.to_vec();
        put(&mut bytes, u32::try_from(rows.len()).unwrap());
        put(&mut bytes, u32::try_from(strings.len()).unwrap());
        put(&mut bytes, 2);
        put(&mut bytes, extension);
        bytes.resize(NEW_HEADER, 0);
        bytes.extend(entries);
        bytes.extend(strings);
        for word in [EXTENSION_MAGIC, 1, HWCAPS_TAG, 0, extension + 24, u32::try_from(levels.len() * 4).unwrap()] {
            put(&mut bytes, word);
        }
        for level in levels {
            put(&mut bytes, level);
        }
        bytes
    }

    fn old_format(rows: &[Row<'_>]) -> Vec<u8> {
        let mut bytes = OLD_MAGIC.to_vec();
        bytes.push(0);
        put(&mut bytes, u32::try_from(rows.len()).unwrap());
        let mut strings = Vec::new();
        for (flags, name, path, _) in rows {
            put(&mut bytes, *flags);
            let name = put_string(&mut strings, name);
            put(&mut bytes, name);
            let path = put_string(&mut strings, path);
            put(&mut bytes, path);
        }
        bytes.extend(strings);
        bytes
    }

    fn paths<'a>(cache: &'a Cache, name: &str, levels: &[&'static str]) -> Vec<&'a str> {
        cache
            .lookup(name, "x86_64", &Capable { levels, ..Capable::default() })
            .into_iter()
            .map(|entry| entry.path.as_str())
            .collect()
    }

    #[test]
    fn entries_of_other_architectures_are_left_out() {
        let rows = [(0x0003, "liba.so.1", "/lib32/liba.so.1", 0), (0x0303, "liba.so.1", "/lib/liba.so.1", 0)];
        let cache = Cache::parse(&new_format(&rows, &[])).unwrap();
        assert_eq!(cache.len(), 2);
        assert_eq!(paths(&cache, "liba.so.1", &[]), ["/lib/liba.so.1"]);
        assert!(paths(&cache, "libb.so.1", &[]).is_empty());
    }

    #[test]
    fn an_entry_for_a_better_processor_wins_only_on_one() {
        let rows = [
            (0x0303, "liba.so.1", "/lib/glibc-hwcaps/x86-64-v3/liba.so.1", HWCAPS_BIT),
            (0x0303, "liba.so.1", "/lib/glibc-hwcaps/x86-64-v2/liba.so.1", HWCAPS_BIT | 2 << 32 | 1),
            (0x0303, "liba.so.1", "/lib/haswell/liba.so.1", 4),
            (0x0303, "liba.so.1", "/lib/liba.so.1", 0),
        ];
        let cache = Cache::parse(&new_format(&rows, &["x86-64-v3", "x86-64-v2"])).unwrap();
        assert_eq!(paths(&cache, "liba.so.1", &[]), ["/lib/liba.so.1"]);
        let found = paths(&cache, "liba.so.1", &["x86-64-v2"]);
        assert_eq!(found, ["/lib/glibc-hwcaps/x86-64-v2/liba.so.1", "/lib/liba.so.1"]);
        let found = paths(&cache, "liba.so.1", &["x86-64-v4", "x86-64-v3", "x86-64-v2"]);
        assert_eq!(found[0], "/lib/glibc-hwcaps/x86-64-v3/liba.so.1");
    }

    #[test]
    fn an_older_loader_takes_entries_by_their_bits() {
        let haswell = 1 << 50;
        let rows = [
            (0x0303, "liba.so.1", "/lib/tls/liba.so.1", TLS_BIT),
            (0x0303, "liba.so.1", "/lib/glibc-hwcaps/x86-64-v3/liba.so.1", HWCAPS_BIT),
            (0x0303, "liba.so.1", "/lib/haswell/avx512_1/liba.so.1", haswell | 4),
            (0x0303, "liba.so.1", "/lib/haswell/liba.so.1", haswell),
            (0x0303, "liba.so.1", "/lib/liba.so.1", 0),
        ];
        let cache = Cache::parse(&new_format(&rows, &["x86-64-v3"])).unwrap();
        let old = Capable { levels: &[], bits: TLS_BIT | 2, platform: 0 };
        let found = |capable: &Capable<'_>| -> Vec<String> {
            cache.lookup("liba.so.1", "x86_64", capable).into_iter().map(|entry| entry.path.clone()).collect()
        };
        assert_eq!(found(&old), ["/lib/tls/liba.so.1", "/lib/liba.so.1"]);
        let intel = Capable { platform: haswell, ..old };
        assert_eq!(found(&intel), ["/lib/tls/liba.so.1", "/lib/haswell/liba.so.1", "/lib/liba.so.1"]);
        let between = Capable { levels: &["x86-64-v3"], ..old };
        assert_eq!(found(&between)[..2], ["/lib/glibc-hwcaps/x86-64-v3/liba.so.1", "/lib/tls/liba.so.1"]);
    }

    #[test]
    fn the_old_format_is_read_and_a_newer_table_behind_it_wins() {
        let old = old_format(&[(0x0303, "liba.so.1", "/old/liba.so.1", 0)]);
        assert_eq!(paths(&Cache::parse(&old).unwrap(), "liba.so.1", &[]), ["/old/liba.so.1"]);
        let mut both = old[..OLD_HEADER + OLD_ENTRY].to_vec();
        both.resize(both.len().next_multiple_of(8), 0);
        both.extend(new_format(&[(0x0303, "liba.so.1", "/new/liba.so.1", 0)], &[]));
        assert_eq!(paths(&Cache::parse(&both).unwrap(), "liba.so.1", &[]), ["/new/liba.so.1"]);
    }

    #[test]
    fn a_file_that_is_no_cache_or_ends_early_is_refused() {
        assert_eq!(Cache::parse(b""), Err(CacheError::NotACache));
        assert_eq!(Cache::parse(b"glibc-ld.so.cache1.2"), Err(CacheError::NotACache));
        let bytes = new_format(&[(0x0303, "liba.so.1", "/lib/liba.so.1", 0)], &[]);
        assert_eq!(Cache::parse(&bytes[..NEW_HEADER + 3]), Err(CacheError::Truncated));
        let mut big = bytes.clone();
        big[28] = 3;
        assert_eq!(Cache::parse(&big), Err(CacheError::ByteOrder));
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 0usize..3) {
            let mut whole = [b"".as_slice(), NEW_MAGIC, OLD_MAGIC][kind].to_vec();
            whole.extend(bytes);
            let _ = Cache::parse(&whole);
        }

        #[test]
        fn damaged_caches_never_panic(changes in prop::collection::vec((0usize..400, any::<u8>()), 1..10), cut in 0usize..400, old in any::<bool>()) {
            let rows = [(0x0303, "liba.so.1", "/lib/liba.so.1", HWCAPS_BIT), (0x0303, "libb.so.1", "/lib/libb.so.1", 0)];
            let mut bytes = if old { old_format(&rows) } else { new_format(&rows, &["x86-64-v3"]) };
            for (at, byte) in changes {
                let length = bytes.len();
                bytes[at % length] = byte;
            }
            bytes.truncate(bytes.len().max(cut + 1) - cut);
            if let Ok(cache) = Cache::parse(&bytes) {
                let _ = cache.lookup("liba.so.1", "x86_64", &Capable { levels: &["x86-64-v3"], bits: TLS_BIT, platform: 0 });
            }
        }
    }
}
