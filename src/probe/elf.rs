//! Reads what the dynamic loader reads of an ELF file: headers and the dynamic section, never the rest.
//!
//! It refuses what glibc refuses, with glibc's reasons, and reads no more than a few kilobytes of
//! libraries that measure gigabytes. It looks at no symbol, section or code.

use std::collections::HashSet;

use object::elf;

#[cfg(test)]
#[path = "elf_writer.rs"]
pub(crate) mod elf_writer;

use crate::facts::Dynamic;
use crate::host::{HostError, OpenFile};

/// Program headers read at most; real objects have about a dozen.
const MOST_SEGMENTS: usize = 1024;
/// Dynamic entries read at most; real objects have some dozens.
const MOST_ENTRIES: usize = 4096;
/// Needed libraries read at most.
const MOST_NEEDED: usize = 1024;
/// The longest name read.
const LONGEST_NAME: u64 = 4096;
/// The longest search path read; TensorFlow has one of more than 20 KB.
const LONGEST_PATH: u64 = 1 << 20;
/// Different entries of a search path kept at most.
const MOST_FOLDERS: usize = 4096;

/// What the loader knows of a file before it maps it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// The dynamic section.
    pub dynamic: Dynamic,
    /// Whether it is a program, which cannot be loaded as a library.
    pub program: bool,
    /// Whether it has a `DT_RUNPATH`, be it empty: even then its `DT_RPATH` does not count.
    pub has_runpath: bool,
    /// Whether it names an interpreter, as programs do.
    pub interpreter: Option<String>,
}

/// Why a file is no object that the loader would take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    /// It could not be read.
    #[error(transparent)]
    Host(#[from] HostError),
    /// It is an object of another class or machine: the loader passes over it and searches on.
    #[error("{0}")]
    Foreign(String),
    /// It is no usable object: the loader gives up with this reason.
    #[error("{0}")]
    Broken(String),
}

/// The class and machine that a process can load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// 32 or 64.
    pub class: u8,
    /// As in [`Dynamic::machine`].
    pub machine: String,
}

/// The name of a machine number, as Rust names architectures.
fn machine_name(number: u16) -> String {
    match elf::Machine(number) {
        elf::EM_386 => "x86",
        elf::EM_ARM => "arm",
        elf::EM_X86_64 => "x86_64",
        elf::EM_AARCH64 => "aarch64",
        elf::EM_PPC64 => "powerpc64",
        elf::EM_S390 => "s390x",
        elf::EM_RISCV => "riscv64",
        elf::EM_LOONGARCH => "loongarch64",
        _ => return format!("other-{number}"),
    }
    .to_owned()
}

/// Little- or big-endian numbers of an object of one class.
#[derive(Clone, Copy)]
struct Layout {
    wide: bool,
    big: bool,
}

impl Layout {
    fn number(self, bytes: &[u8], at: usize, length: usize) -> u64 {
        let Some(bytes) = at.checked_add(length).and_then(|end| bytes.get(at..end)) else { return 0 };
        let join = |value: u64, &byte: &u8| (value << 8) | u64::from(byte);
        if self.big { bytes.iter().fold(0, join) } else { bytes.iter().rev().fold(0, join) }
    }

    fn half(self, bytes: &[u8], at: usize) -> u16 {
        u16::try_from(self.number(bytes, at, 2)).unwrap_or(0)
    }

    fn word(self, bytes: &[u8], at: usize) -> u32 {
        u32::try_from(self.number(bytes, at, 4)).unwrap_or(0)
    }

    /// A number as wide as an address, at one of two offsets.
    fn address(self, bytes: &[u8], wide: usize, narrow: usize) -> u64 {
        if self.wide { self.number(bytes, wide, 8) } else { self.number(bytes, narrow, 4) }
    }

    fn header_size(self) -> usize {
        if self.wide { 64 } else { 52 }
    }

    fn segment_size(self) -> usize {
        if self.wide { 56 } else { 32 }
    }

    fn entry_size(self) -> usize {
        if self.wide { 16 } else { 8 }
    }
}

/// A program header, as far as it matters here.
struct Segment {
    kind: elf::ProgramType,
    offset: u64,
    address: u64,
    length: u64,
}

/// Reads an object; with `wanted`, one of another class or machine is [`ElfError::Foreign`].
///
/// # Errors
///
/// Everything for which the loader would refuse the file, and everything that cannot be read.
pub fn read(file: &OpenFile, wanted: Option<&Wanted>) -> Result<Object, ElfError> {
    let broken = |why: &str| ElfError::Broken(why.to_owned());
    let size = file.stat.size;
    // The loader reads a header of its own class before it looks at anything.
    let least: usize = if wanted.is_none_or(|wanted| wanted.class == 32) { 52 } else { 64 };
    if size < least as u64 {
        return Err(broken("file too short"));
    }
    let header = file.read_at(0, usize::try_from(size.min(64)).unwrap_or(least))?;
    if !header.starts_with(&elf::ELFMAG) {
        return Err(broken("invalid ELF header"));
    }
    let class = match header[4] {
        1 => 32,
        2 => 64,
        _ => return Err(broken("invalid ELF header")),
    };
    let layout = Layout { wide: class == 64, big: header[5] == 2 };
    if header.len() < layout.header_size() {
        return Err(broken("file too short"));
    }
    let machine = machine_name(layout.half(&header, 18));
    if let Some(wanted) = wanted {
        if class != wanted.class {
            return Err(ElfError::Foreign(format!("wrong ELF class: it is a {class}-bit object")));
        }
        let big = matches!(wanted.machine.as_str(), "s390x");
        if wanted.machine != "powerpc64" && layout.big != big {
            return Err(broken("wrong byte order"));
        }
    }
    if header[6] != 1 {
        return Err(broken("unknown ELF version"));
    }
    // 0 is System V, 3 is GNU.
    if !matches!(header[7], 0 | 3) {
        return Err(broken("ELF file OS ABI invalid"));
    }
    if header[7] == 0 && header[8] != 0 {
        return Err(broken("ELF file ABI version invalid"));
    }
    if layout.word(&header, 20) != 1 {
        return Err(broken("unknown ELF version"));
    }
    if let Some(wanted) = wanted
        && machine != wanted.machine
    {
        return Err(ElfError::Foreign(format!("for {machine}")));
    }
    let kind = layout.half(&header, 16);
    // Executable and shared object.
    if !matches!(kind, 2 | 3) {
        return Err(broken("only shared objects and programs can be loaded"));
    }
    let (stride_at, count_at) = if layout.wide { (54, 56) } else { (42, 44) };
    if usize::from(layout.half(&header, stride_at)) != layout.segment_size() {
        return Err(broken("program headers of unexpected size"));
    }
    let segments = segments(file, layout, layout.address(&header, 32, 28), layout.half(&header, count_at))?;
    let mut loaded = segments.iter().filter(|segment| segment.kind == elf::PT_LOAD).peekable();
    if loaded.peek().is_none() {
        return Err(broken("object file has no loadable segments"));
    }
    // The loader maps what is not there without a word, and the process dies of a bus error.
    if loaded.any(|segment| segment.offset.saturating_add(segment.length) > size) {
        return Err(broken("the file ends before its segments: it is truncated"));
    }
    let interpreter = segments
        .iter()
        .find(|segment| segment.kind == elf::PT_INTERP)
        .and_then(|segment| string_at(file, segment.offset, segment.length.min(4096)).ok());
    let mut object = Object {
        dynamic: Dynamic { class, machine, ..Dynamic::default() },
        program: kind == 2,
        has_runpath: false,
        interpreter,
    };
    match segments.iter().find(|segment| segment.kind == elf::PT_DYNAMIC && segment.length > 0) {
        Some(dynamic) => read_dynamic(file, layout, dynamic, &segments, &mut object)?,
        // A static program has none; a library must.
        None if object.program => {}
        None => return Err(broken("object file has no dynamic section")),
    }
    Ok(object)
}

fn segments(file: &OpenFile, layout: Layout, offset: u64, count: u16) -> Result<Vec<Segment>, ElfError> {
    let count = usize::from(count);
    if count > MOST_SEGMENTS {
        return Err(ElfError::Broken(format!("{count} program headers")));
    }
    let size = layout.segment_size();
    let bytes = file.read_at(offset, count * size).map_err(|_| ElfError::Broken("cannot read file data".to_owned()))?;
    Ok(bytes
        .chunks_exact(size)
        .map(|bytes| Segment {
            kind: elf::ProgramType(layout.word(bytes, 0)),
            offset: layout.address(bytes, 8, 4),
            address: layout.address(bytes, 16, 8),
            length: layout.address(bytes, 32, 16),
        })
        .collect())
}

fn read_dynamic(
    file: &OpenFile,
    layout: Layout,
    dynamic: &Segment,
    segments: &[Segment],
    object: &mut Object,
) -> Result<(), ElfError> {
    let broken = |why: &str| ElfError::Broken(why.to_owned());
    let size = layout.entry_size();
    let length = usize::try_from(dynamic.length).unwrap_or(usize::MAX).min(MOST_ENTRIES * size);
    let bytes = file
        .read_at(dynamic.offset, length)
        .map_err(|_| broken("the file ends before its dynamic section: it is truncated"))?;
    let mut strings = None;
    let mut strings_size = None;
    let (mut soname, mut rpath, mut runpath) = (None, None, None);
    let mut needed = Vec::new();
    for entry in bytes.chunks_exact(size) {
        let tag = layout.address(entry, 0, 0);
        let value = layout.address(entry, 8, 4);
        match i64::try_from(tag).map(elf::DynamicTag) {
            Ok(elf::DT_NULL) => break,
            Ok(elf::DT_STRTAB) => strings = Some(value),
            Ok(elf::DT_STRSZ) => strings_size = Some(value),
            Ok(elf::DT_SONAME) => soname = Some(value),
            Ok(elf::DT_RPATH) => rpath = Some(value),
            Ok(elf::DT_RUNPATH) => runpath = Some(value),
            Ok(elf::DT_NEEDED) if needed.len() < MOST_NEEDED => needed.push(value),
            Ok(elf::DT_FLAGS_1) => {
                object.dynamic.no_default_folders = value & 0x800 != 0;
                object.program |= value & 0x0800_0000 != 0;
            }
            _ => {}
        }
    }
    let Some(strings) = strings else {
        // Without strings there are no names to read; the loader needs none then.
        return if needed.is_empty() && soname.is_none() && rpath.is_none() && runpath.is_none() {
            Ok(())
        } else {
            Err(broken("its dynamic section has no string table"))
        };
    };
    let (start, room) = segments
        .iter()
        .filter(|segment| segment.kind == elf::PT_LOAD)
        .find_map(|segment| {
            let inside = strings.checked_sub(segment.address).filter(|inside| *inside < segment.length)?;
            Some((segment.offset.checked_add(inside)?, segment.length - inside))
        })
        .ok_or_else(|| broken("its string table lies outside of the file"))?;
    let room = strings_size.map_or(room, |size| size.min(room));
    let text = |offset: u64, longest: u64| -> Result<String, ElfError> {
        let (Some(start), Some(room)) = (start.checked_add(offset), room.checked_sub(offset)) else {
            return Err(broken("a string lies outside of the string table"));
        };
        string_at(file, start, room.min(longest))
    };
    let name = |offset: u64| text(offset, LONGEST_NAME);
    let path = |offset: Option<u64>| -> Result<Vec<String>, ElfError> {
        offset.map_or_else(|| Ok(Vec::new()), |offset| Ok(folders(&text(offset, LONGEST_PATH)?)))
    };
    object.has_runpath = runpath.is_some();
    object.dynamic.soname = soname.map(name).transpose()?;
    object.dynamic.rpath = path(rpath)?;
    object.dynamic.runpath = path(runpath)?;
    object.dynamic.needed = needed.into_iter().map(name).collect::<Result<_, _>>()?;
    Ok(())
}

/// The text at `offset`, up to its zero byte or `room` bytes.
fn string_at(file: &OpenFile, offset: u64, room: u64) -> Result<String, ElfError> {
    let end = offset.saturating_add(room).min(file.stat.size);
    let (mut at, mut step) = (offset, 256);
    let mut bytes = Vec::new();
    loop {
        let length = end.saturating_sub(at).min(step);
        if length == 0 {
            return Err(ElfError::Broken("a string of its dynamic section has no end".to_owned()));
        }
        let chunk = file.read_at(at, usize::try_from(length).unwrap_or(0))?;
        if let Some(zero) = chunk.iter().position(|&byte| byte == 0) {
            bytes.extend_from_slice(&chunk[..zero]);
            return Ok(String::from_utf8_lossy(&bytes).into_owned());
        }
        bytes.extend_from_slice(&chunk);
        at += length;
        step = 16 << 10;
    }
}

/// The entries of a search path, each once: TensorFlow's repeat hundreds of times.
fn folders(path: &str) -> Vec<String> {
    if path.is_empty() {
        return Vec::new();
    }
    let mut seen = HashSet::new();
    path.split(':').filter(|entry| seen.insert(*entry)).take(MOST_FOLDERS).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::elf_writer::Elf;
    use super::*;
    use crate::host::Host;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn parse(bytes: &[u8]) -> Result<Object, ElfError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("x.so"), bytes).unwrap();
        let host = Host::rooted(folder.path(), BTreeMap::new()).unwrap();
        read(&host.open("/x.so").unwrap(), None)
    }

    fn example() -> Elf {
        Elf {
            soname: Some("libx.so.1".to_owned()),
            needed: vec!["liba.so".to_owned(), "libb.so".to_owned()],
            rpath: Some("/one:/two".to_owned()),
            runpath: Some("$ORIGIN/a:$ORIGIN/b:$ORIGIN/a::".to_owned()),
            no_default_folders: true,
            ..Elf::default()
        }
    }

    #[test]
    fn the_dynamic_section_is_read_in_both_classes() {
        for (class, machine, name) in [(64, 62, "x86_64"), (64, 183, "aarch64"), (32, 3, "x86"), (64, 9, "other-9")] {
            let object = parse(&Elf { class, machine, ..example() }.bytes()).unwrap();
            let dynamic = object.dynamic;
            assert_eq!((dynamic.class, dynamic.machine.as_str()), (class, name));
            assert_eq!(dynamic.soname.as_deref(), Some("libx.so.1"));
            assert_eq!(dynamic.needed, ["liba.so", "libb.so"]);
            assert_eq!(dynamic.rpath, ["/one", "/two"]);
            assert_eq!(dynamic.runpath, ["$ORIGIN/a", "$ORIGIN/b", ""]);
            assert!(dynamic.no_default_folders && object.has_runpath && !object.program);
        }
    }

    #[test]
    fn a_search_path_may_be_longer_than_one_read() {
        let entries: Vec<String> = (0..3000).map(|number| format!("$ORIGIN/../../nvidia/part{number}/lib")).collect();
        let elf = Elf { runpath: Some(entries.join(":")), ..Elf::default() };
        assert_eq!(parse(&elf.bytes()).unwrap().dynamic.runpath, entries);
    }

    #[test]
    fn an_empty_runpath_is_one() {
        let object = parse(&Elf { runpath: Some(String::new()), ..Elf::default() }.bytes()).unwrap();
        assert!(object.has_runpath && object.dynamic.runpath.is_empty());
    }

    #[test]
    fn a_truncated_file_is_refused() {
        let bytes = example().bytes();
        for length in 0..bytes.len() - 1 {
            assert!(matches!(parse(&bytes[..length]), Err(ElfError::Broken(_))), "{length}");
        }
        assert_eq!(parse(&bytes[..20]), Err(ElfError::Broken("file too short".to_owned())));
    }

    #[test]
    fn a_file_cut_off_behind_its_dynamic_section_is_refused() {
        let whole = example().bytes();
        let lengths = whole[64..].chunks(56).position(|header| header.starts_with(&[1, 0, 0, 0])).unwrap();
        let mut bytes = whole.clone();
        // One byte more than there is.
        let at = 64 + 56 * lengths + 32;
        bytes[at..at + 8].copy_from_slice(&(whole.len() as u64 + 1).to_le_bytes());
        assert!(parse(&whole).is_ok());
        assert!(matches!(parse(&bytes), Err(ElfError::Broken(why)) if why.ends_with("truncated")));
    }

    #[test]
    fn the_running_program_can_be_read() {
        let host = Host::here().unwrap();
        let object = read(&host.open("/proc/self/exe").unwrap(), None).unwrap();
        assert_eq!(object.dynamic.machine, std::env::consts::ARCH);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            prop_assert!(parse(&bytes).is_err());
        }

        #[test]
        fn damaged_objects_never_panic(changes in prop::collection::vec((0usize..700, any::<u8>()), 1..12), wide in any::<bool>()) {
            let (class, machine) = if wide { (64, 62) } else { (32, 3) };
            let mut bytes = Elf { class, machine, ..example() }.bytes();
            for (at, byte) in changes {
                let length = bytes.len();
                bytes[at % length] = byte;
            }
            let _ = parse(&bytes);
        }
    }
}
