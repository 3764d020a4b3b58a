//! Reads which symbols a shared library asks of which other library, and which it offers; resolves nothing itself.
//!
//! Frameworks open CUDA's libraries with `RTLD_NOW`: one symbol that is asked for and not there ends the call. Only
//! versioned symbols are read, because only they name the library they are expected in. 64-bit little-endian
//! objects alone, which is what CUDA exists for. The constant text of a library is read by the same headers.

use std::collections::{BTreeMap, HashSet};

use crate::host::OpenFile;
use crate::sort::Sorted as _;

/// Bytes of one table read at most; libcublas has some 50 KB of each.
const LARGEST_TABLE: u64 = 16 << 20;
/// Section headers read at most.
const MOST_SECTIONS: u16 = 4096;
/// Entries of the table of needed versions followed at most.
const MOST_VERSIONS: usize = 4096;
/// Names of sections read at most.
const LARGEST_NAMES: u64 = 1 << 16;
/// Symbols of one bucket of the hash table followed at most; real ones have a handful.
const MOST_IN_BUCKET: u32 = 4096;
/// The bytes of one symbol.
const SYMBOL: usize = 24;

/// The symbols of a library, as far as other libraries have to do with them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Symbols {
    /// What it asks for, by the SONAME of the library that is to have it; weak symbols left out.
    pub asked: BTreeMap<String, Vec<String>>,
    offered: Offered,
}

/// What a library offers.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Offered {
    /// By the table of its own in which the loader looks names up: libraries offer thousands, of which few are asked.
    Table { hashes: Vec<u8>, symbols: Vec<u8>, strings: Vec<u8> },
    /// By name, where it has no such table.
    Names(HashSet<String>),
}

impl Default for Offered {
    fn default() -> Self {
        Self::Names(HashSet::new())
    }
}

impl Symbols {
    /// Whether it offers a symbol.
    pub fn offers(&self, name: &str) -> bool {
        match &self.offered {
            Offered::Table { hashes, symbols, strings } => look_up(hashes, symbols, strings, name.as_bytes()).is_some(),
            Offered::Names(names) => names.contains(name),
        }
    }
}

/// Looks a name up as the loader does; the filter in front of the buckets is left out.
fn look_up(hashes: &[u8], symbols: &[u8], strings: &[u8], name: &[u8]) -> Option<()> {
    let at = |index: usize| word(hashes, index.checked_mul(4)?);
    let hash = name.iter().fold(5381_u32, |hash, &byte| hash.wrapping_mul(33).wrapping_add(u32::from(byte)));
    let (buckets, first, words) = (at(0)?, at(1)?, at(2)? as usize);
    let table = words.checked_mul(2)?.checked_add(4)?;
    let mut symbol = at(table.checked_add(hash.checked_rem(buckets)? as usize)?)?;
    let chains = table.checked_add(buckets as usize)?;
    for _ in 0..MOST_IN_BUCKET {
        // An empty bucket holds 0, which lies before the first.
        let found = at(chains.checked_add(symbol.checked_sub(first)? as usize)?)?;
        if found | 1 == hash | 1 {
            let bytes = symbols.get((symbol as usize).checked_mul(SYMBOL)?..)?.get(..SYMBOL)?;
            if is_offered(bytes) && word(bytes, 0).and_then(|at| name_at(strings, at)) == Some(name) {
                return Some(());
            }
        }
        if found & 1 == 1 {
            return None;
        }
        symbol = symbol.checked_add(1)?;
    }
    None
}

/// Whether a symbol has a place in its library, and is not the library's own.
fn is_offered(symbol: &[u8]) -> bool {
    // STB_LOCAL is 0; STB_GLOBAL, STB_WEAK and STB_GNU_UNIQUE are seen by others.
    half(symbol, 6).is_some_and(|home| home != 0) && symbol.get(4).is_some_and(|info| info >> 4 != 0)
}

struct Section {
    name: u32,
    kind: u32,
    offset: u64,
    size: u64,
    link: u32,
}

fn number(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(length)?)?;
    Some(bytes.iter().rev().fold(0, |value, &byte| (value << 8) | u64::from(byte)))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

/// The name at an offset of a string table.
fn name_at(strings: &[u8], at: u32) -> Option<&[u8]> {
    let rest = strings.get(usize::try_from(at).ok()?..)?;
    rest.get(..memchr::memchr(0, rest)?)
}

/// The same as text.
fn text(strings: &[u8], at: u32) -> Option<&str> {
    std::str::from_utf8(name_at(strings, at)?).ok()
}

/// Its sections, and the index of the one that holds their names.
fn sections(file: &OpenFile) -> Option<(Vec<Section>, u16)> {
    let header = file.read_at(0, 64).ok()?;
    if !header.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let (offset, stride, count) = (number(&header, 40, 8)?, half(&header, 58)?, half(&header, 60)?);
    if stride != 64 || count > MOST_SECTIONS {
        return None;
    }
    let bytes = file.read_at(offset, usize::from(stride) * usize::from(count)).ok()?;
    let sections = bytes.chunks_exact(64).filter_map(|bytes| {
        Some(Section {
            name: word(bytes, 0)?,
            kind: word(bytes, 4)?,
            offset: number(bytes, 24, 8)?,
            size: number(bytes, 32, 8)?,
            link: word(bytes, 40)?,
        })
    });
    Some((sections.collect(), half(&header, 62)?))
}

/// The section of constants, `.rodata`; `None` where there is none, or one of more than `limit` bytes.
pub fn constants(file: &OpenFile, limit: u64) -> Option<Vec<u8>> {
    let (sections, names) = sections(file)?;
    let names = sections.get(usize::from(names)).filter(|section| section.size <= LARGEST_NAMES)?;
    let names = file.read_at(names.offset, usize::try_from(names.size).ok()?).ok()?;
    let section = sections.iter().find(|section| text(&names, section.name) == Some(".rodata"))?;
    // SHT_NOBITS holds nothing in the file.
    let held = section.kind != 8 && section.size <= limit;
    held.then(|| file.read_at(section.offset, usize::try_from(section.size).ok()?).ok()).flatten()
}

/// Reads them; `None` where the file has no such tables or they cannot be made sense of.
pub fn read(file: &OpenFile) -> Option<Symbols> {
    let (sections, _) = sections(file)?;
    let table = |section: &Section| -> Option<Vec<u8>> {
        (section.size <= LARGEST_TABLE)
            .then(|| file.read_at(section.offset, usize::try_from(section.size).ok()?).ok())
            .flatten()
    };
    let find = |kind: u32| sections.iter().find(|section| section.kind == kind);
    // SHT_DYNSYM, SHT_GNU_verneed, SHT_GNU_versym.
    let symbols = find(11)?;
    let strings = table(sections.get(usize::try_from(symbols.link).ok()?)?)?;
    let indexes = find(0x6fff_ffff).and_then(&table).unwrap_or_default();
    let versions = match find(0x6fff_fffe).and_then(&table) {
        Some(bytes) => needed_versions(&bytes, &strings),
        None => BTreeMap::new(),
    };
    // SHT_GNU_HASH; an empty one says nothing.
    let hashes = find(0x6fff_fff6).and_then(&table).filter(|bytes| word(bytes, 0).is_some_and(|count| count > 0));
    let symbols = table(symbols)?;
    let mut asked: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let mut names = HashSet::new();
    for (index, symbol) in symbols.chunks_exact(SYMBOL).enumerate().skip(1) {
        if half(symbol, 6) == Some(0) {
            // STB_GLOBAL
            if symbol.get(4).is_some_and(|info| info >> 4 == 1)
                && let Some(version) = half(&indexes, index * 2)
                && let Some(&file) = versions.get(&(version & 0x7fff))
                && let Some(name) = word(symbol, 0).and_then(|name| text(&strings, name))
            {
                asked.entry(file).or_default().push(name.to_owned());
            }
        } else if hashes.is_none()
            && is_offered(symbol)
            && let Some(name) = word(symbol, 0).and_then(|name| text(&strings, name))
        {
            names.insert(name.to_owned());
        }
    }
    let asked = asked.into_iter().map(|(file, names)| (file.to_owned(), names)).sorted_map();
    let offered = match hashes {
        Some(hashes) => Offered::Table { hashes, symbols, strings },
        None => Offered::Names(names),
    };
    Some(Symbols { asked, offered })
}

/// The library that each version index stands for.
fn needed_versions<'s>(bytes: &[u8], strings: &'s [u8]) -> BTreeMap<u16, &'s str> {
    let mut versions = BTreeMap::new();
    let mut at = 0_usize;
    let step = |at: usize, by: Option<u32>| at.checked_add(usize::try_from(by?).ok()?);
    for _ in 0..MOST_VERSIONS {
        let Some(name) = word(bytes, at.saturating_add(4)).and_then(|name| text(strings, name)) else { break };
        let count = half(bytes, at.saturating_add(2)).unwrap_or(0);
        let Some(mut one) = step(at, word(bytes, at.saturating_add(8))) else { break };
        for _ in 0..count {
            if versions.len() >= MOST_VERSIONS {
                return versions;
            }
            if let Some(index) = half(bytes, one.saturating_add(6)) {
                versions.insert(index & 0x7fff, name);
            }
            match word(bytes, one.saturating_add(12)) {
                Some(next) if next > 0 => one = one.saturating_add(next as usize),
                _ => break,
            }
        }
        match word(bytes, at.saturating_add(12)) {
            Some(next) if next > 0 => at = at.saturating_add(next as usize),
            _ => break,
        }
    }
    versions
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;
    use proptest::prelude::*;

    fn parse(bytes: &[u8]) -> Option<Symbols> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("x.so"), bytes).unwrap();
        let host = Host::rooted(folder.path(), BTreeMap::new()).unwrap();
        read(&host.open("/x.so").unwrap())
    }

    #[test]
    fn the_running_program_asks_the_c_library() {
        let host = Host::here().unwrap();
        let symbols = read(&host.open("/proc/self/exe").unwrap()).unwrap();
        assert!(symbols.asked.iter().any(|(file, names)| file.starts_with("libc.so") && names.len() > 10));
    }

    #[test]
    fn the_loaders_table_offers_what_the_symbols_do() {
        let host = Host::here().unwrap();
        let path = host.read_text("/proc/self/maps").unwrap();
        let path = path.split_whitespace().find(|word| word.contains("/libc.so")).unwrap().to_owned();
        let symbols = read(&host.open(path).unwrap()).unwrap();
        let Offered::Table { hashes, symbols: table, strings } = &symbols.offered else { panic!("no table") };
        let mut offered = 0;
        for symbol in table.chunks_exact(SYMBOL).filter(|symbol| is_offered(symbol)) {
            let name = text(strings, word(symbol, 0).unwrap()).unwrap();
            assert!(symbols.offers(name), "{name}");
            assert!(!symbols.offers(&format!("{name}_no_such_symbol")));
            offered += 1;
        }
        assert!(offered > 1000 && symbols.offers("malloc"));
        for length in 0..hashes.len().min(600) {
            let _ = look_up(&hashes[..length], table, strings, b"malloc");
            let _ = look_up(hashes, &table[..length], &strings[..length], b"malloc");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn nonsense_is_no_hash_table(hashes in prop::collection::vec(0u8..4, 0..80), name in "[a-c]{0,3}") {
            let _ = look_up(&hashes, &[1; 240], b"\0a\0b\0", name.as_bytes());
        }

        #[test]
        fn damaged_objects_never_panic(changes in prop::collection::vec((0usize..4096, any::<u8>()), 1..40)) {
            let mut bytes = small();
            for (at, byte) in changes {
                let length = bytes.len();
                bytes[at % length] = byte;
            }
            let _ = parse(&bytes);
        }
    }

    /// One section header each for the string table, one asked and one offered symbol, and the versions.
    fn small() -> Vec<u8> {
        let strings = b"\0libone.so.1\0asked\0offered\0".to_vec();
        let mut symbols = vec![0; 24];
        for (name, home) in [(13_u32, 0_u16), (19, 1)] {
            symbols.extend(name.to_le_bytes());
            symbols.extend([0x12, 0]);
            symbols.extend(home.to_le_bytes());
            symbols.extend([0; 16]);
        }
        let indexes: Vec<u8> = [0_u16, 2, 1].iter().flat_map(|index| index.to_le_bytes()).collect();
        let mut versions = Vec::new();
        versions.extend(1_u16.to_le_bytes());
        versions.extend(1_u16.to_le_bytes());
        versions.extend(1_u32.to_le_bytes());
        versions.extend(16_u32.to_le_bytes());
        versions.extend(0_u32.to_le_bytes());
        versions.extend([0; 4]);
        versions.extend(0_u16.to_le_bytes());
        versions.extend(2_u16.to_le_bytes());
        versions.extend([0; 8]);
        let tables: [(u32, Vec<u8>, u32); 4] =
            [(3, strings, 0), (11, symbols, 0), (0x6fff_ffff, indexes, 0), (0x6fff_fffe, versions, 0)];
        let mut bytes = vec![0; 64];
        bytes[..6].copy_from_slice(b"\x7fELF\x02\x01");
        let mut headers = Vec::new();
        for (kind, table, link) in tables {
            let mut header = [0_u8; 64];
            header[4..8].copy_from_slice(&kind.to_le_bytes());
            header[24..32].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
            header[32..40].copy_from_slice(&(table.len() as u64).to_le_bytes());
            header[40..44].copy_from_slice(&link.to_le_bytes());
            headers.extend(header);
            bytes.extend(table);
        }
        let at = bytes.len() as u64;
        bytes[40..48].copy_from_slice(&at.to_le_bytes());
        bytes[58..60].copy_from_slice(&64_u16.to_le_bytes());
        bytes[60..62].copy_from_slice(&4_u16.to_le_bytes());
        bytes.extend(headers);
        bytes
    }

    #[test]
    fn what_is_asked_is_told_from_what_is_offered() {
        let symbols = parse(&small()).unwrap();
        assert_eq!(symbols.asked, [("libone.so.1".to_owned(), vec!["asked".to_owned()])].into());
        assert!(symbols.offers("offered") && !symbols.offers("asked") && !symbols.offers(""));
    }

    #[test]
    fn constants_are_found_by_the_name_of_their_section() {
        let folder = tempfile::tempdir().unwrap();
        let mut bytes = small();
        let open = |bytes: &[u8]| {
            std::fs::write(folder.path().join("x.so"), bytes).unwrap();
            Host::rooted(folder.path(), BTreeMap::new()).unwrap()
        };
        let constants = |bytes: &[u8]| constants(&open(bytes).open("/x.so").unwrap(), 64);
        assert_eq!(constants(&bytes), None);
        // The first section holds the names now, and the second is called by one of them.
        let names = b"\0.rodata\0";
        bytes[64..64 + names.len()].copy_from_slice(names);
        let headers = bytes.len() - 4 * 64;
        bytes[headers + 64..headers + 68].copy_from_slice(&1_u32.to_le_bytes());
        assert_eq!(constants(&bytes), None, "it is larger than the limit");
        bytes[headers + 64 + 32..headers + 64 + 40].copy_from_slice(&24_u64.to_le_bytes());
        assert_eq!(constants(&bytes), Some(vec![0; 24]));
        bytes[headers + 64 + 4..headers + 64 + 8].copy_from_slice(&8_u32.to_le_bytes());
        assert_eq!(constants(&bytes), None, "it holds nothing in the file");
    }
}
