//! Lists and reads archives on `sys.path` as Python's `zipimport` sees them; unpacks nothing onto a disk.
//!
//! Native modules are left out of every listing: Python loads none out of an archive. Work is bounded: by the
//! bytes that are read of the directory, the number of entries, and the size of one member.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use rawzip::{CompressionMethod, ReaderAt, ZipArchive, ZipArchiveEntryWayfinder, ZipLocator};

use crate::host::{Entry, Host, HostError, Kind, OpenFile, Why};

/// Bytes that may be read to find and list one archive.
const DIRECTORY: u64 = 16 << 20;
/// Entries of one archive.
const ENTRIES: usize = 100_000;
/// Where the end record is sought, from the end: itself and the longest comment, as in `zipimport`.
const TAIL: u64 = 22 + 0xffff;
/// Holds one header with its name, its extra fields and its comment.
const BUFFER: usize = 256 << 10;

/// An open archive.
#[derive(Debug)]
pub(super) struct Archive {
    path: String,
    zip: ZipArchive<Source>,
    members: BTreeMap<String, (CompressionMethod, ZipArchiveEntryWayfinder)>,
}

/// The file, which hands out a bounded number of bytes.
#[derive(Debug)]
struct Source {
    bytes: Bytes,
    left: Cell<u64>,
}

#[derive(Debug)]
enum Bytes {
    File(OpenFile),
    #[cfg(test)]
    Memory(Vec<u8>),
}

impl Bytes {
    fn len(&self) -> u64 {
        match self {
            Self::File(file) => file.stat.size,
            #[cfg(test)]
            Self::Memory(bytes) => bytes.len() as u64,
        }
    }

    fn read_at(&self, offset: u64, length: usize) -> Option<Vec<u8>> {
        match self {
            Self::File(file) => file.read_at(offset, length).ok(),
            #[cfg(test)]
            Self::Memory(bytes) => {
                let start = usize::try_from(offset).ok()?;
                bytes.get(start..start.checked_add(length)?).map(<[u8]>::to_vec)
            }
        }
    }
}

impl ReaderAt for Source {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let there = self.bytes.len().saturating_sub(offset);
        let length = buffer.len().min(usize::try_from(there).unwrap_or(usize::MAX));
        let left = self.left.get().checked_sub(length as u64);
        self.left.set(left.ok_or_else(|| io::Error::other("too large a directory"))?);
        let bytes = self.bytes.read_at(offset, length).ok_or_else(|| io::Error::other("cannot be read"))?;
        let (front, _) = buffer.split_at_mut(bytes.len().min(buffer.len()));
        front.copy_from_slice(bytes.get(..front.len()).unwrap_or_default());
        Ok(front.len())
    }
}

impl Archive {
    /// Opens and lists an archive; the error says in words what stands against it.
    pub(super) fn open(host: &Host, path: &str) -> Result<Self, String> {
        let file = host.open(path).map_err(|error| error.why.to_string())?;
        Self::list_all(path, Bytes::File(file))
    }

    fn list_all(path: &str, bytes: Bytes) -> Result<Self, String> {
        let size = bytes.len();
        let source = Source { bytes, left: Cell::new(DIRECTORY) };
        let mut buffer = vec![0; BUFFER];
        let zip = ZipLocator::new()
            .max_search_space(TAIL)
            .locate_in_reader(source, &mut buffer, size)
            .map_err(|(_, error)| error.to_string())?;
        let mut members = BTreeMap::new();
        let mut entries = zip.entries(&mut buffer);
        let mut count = 0;
        while let Some(entry) = entries.next_entry().map_err(|error| error.to_string())? {
            count += 1;
            if count > ENTRIES {
                return Err(format!("it holds more than {ENTRIES} entries"));
            }
            let name = String::from_utf8_lossy(entry.file_path().as_ref()).into_owned();
            // Of equal names the last one counts, as in `zipimport`.
            members.insert(name, (entry.compression_method(), entry.wayfinder()));
        }
        Ok(Self { path: path.to_owned(), zip, members })
    }

    /// The entries of a folder inside, sorted by name; the empty name is the archive itself. `None` where
    /// there is no such folder.
    pub(super) fn list(&self, folder: &str) -> Option<Vec<Entry>> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let mut kinds: BTreeMap<&str, Kind> = BTreeMap::new();
        let mut there = folder.is_empty();
        for name in self.members.range(prefix.clone()..).map(|(name, _)| name).take_while(|n| n.starts_with(&prefix)) {
            there = true;
            let rest = name.get(prefix.len()..).unwrap_or_default();
            match rest.split_once('/') {
                Some((first, _)) if !first.is_empty() => {
                    kinds.insert(first, Kind::Folder);
                }
                None if !rest.is_empty() && !is_native(rest) => {
                    kinds.entry(rest).or_insert(Kind::File);
                }
                _ => {}
            }
        }
        let entry = |(name, kind): (&str, Kind)| Entry { name: name.to_owned(), kind, inode: 0 };
        there.then(|| kinds.into_iter().map(entry).collect())
    }

    /// The first `limit` bytes of a member.
    pub(super) fn read_head(&self, member: &str, limit: u64) -> Result<Vec<u8>, HostError> {
        let failed = |why: &str| HostError {
            path: format!("{}/{member}", self.path),
            why: if why.is_empty() { Why::NotFound } else { Why::Other(why.to_owned()) },
        };
        let &(method, place) = self.members.get(member).ok_or_else(|| failed(""))?;
        let source = self.zip.get_ref();
        source.left.set(BUFFER as u64);
        let (start, end) =
            self.zip.get_entry(place).map_err(|error| failed(&error.to_string()))?.compressed_data_range();
        let stored = method == CompressionMethod::STORE;
        let whole = end.saturating_sub(start);
        // Text hardly ever grows when it is deflated; what it takes beyond the limit is never asked for.
        let wanted = whole.min(if stored { limit } else { limit.saturating_add(limit / 8).saturating_add(1024) });
        let length = usize::try_from(wanted).map_err(|_| failed("too large"))?;
        let bytes = source.bytes.read_at(start, length).ok_or_else(|| failed("it ends before its data does"))?;
        if stored {
            return Ok(bytes);
        }
        if method != CompressionMethod::DEFLATE {
            return Err(failed("compressed in a way that Python does not read"));
        }
        let limit = usize::try_from(limit).map_err(|_| failed("too large"))?;
        match miniz_oxide::inflate::decompress_to_vec_with_limit(&bytes, limit) {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.status == miniz_oxide::inflate::TINFLStatus::HasMoreOutput => Ok(error.output),
            Err(_) => Err(failed("its data is damaged")),
        }
    }
}

fn is_native(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, extension)| matches!(extension, "so" | "pyd" | "dylib"))
}

/// Archives that were opened so far, by their paths.
#[derive(Debug, Default)]
pub(super) struct Archives(RefCell<BTreeMap<String, Result<Rc<Archive>, String>>>);

impl Archives {
    /// Opens what an entry of `sys.path` names, where that is a file or lies inside of one.
    pub(super) fn add(&self, host: &Host, entry: &str) -> Result<(), String> {
        // Behind an archive a path may go on: `lib.zip/inside`.
        let mut path = entry;
        while !host.exists(path) {
            match path.rsplit_once('/') {
                Some((above, _)) if !above.is_empty() => path = above,
                _ => return Ok(()),
            }
        }
        if !host.is_file(path) {
            return Ok(());
        }
        let mut known = self.0.borrow_mut();
        let opened = known.entry(path.to_owned()).or_insert_with(|| Archive::open(host, path).map(Rc::new));
        opened.as_ref().map(|_| ()).map_err(Clone::clone)
    }

    /// The archive in which a path lies, and the rest of the path.
    pub(super) fn of<'p>(&self, path: &'p str) -> Option<(Rc<Archive>, &'p str)> {
        self.0.borrow().iter().find_map(|(at, archive)| {
            let rest = path.strip_prefix(at.as_str())?;
            let inside = if rest.is_empty() { rest } else { rest.strip_prefix('/')? };
            Some((archive.as_ref().ok()?.clone(), inside))
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write as _;

    /// Writes an archive: names, whether they are deflated, and their contents.
    pub(in super::super) fn zip(members: &[(&str, bool, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut writer = rawzip::ZipArchiveWriter::new(&mut out);
        for (name, deflated, data) in members {
            let method = if *deflated { CompressionMethod::DEFLATE } else { CompressionMethod::STORE };
            let (mut entry, config) = writer.new_file(name).compression_method(method).start().unwrap();
            let packed = if *deflated { miniz_oxide::deflate::compress_to_vec(data, 6) } else { data.to_vec() };
            // The sums are of what goes in, the bytes are those that come out.
            let mut sums = config.wrap(Vec::new());
            sums.write_all(data).unwrap();
            let (_, descriptor) = sums.finish().unwrap();
            entry.write_all(&packed).unwrap();
            entry.finish(descriptor).unwrap();
        }
        writer.finish().unwrap();
        out
    }

    fn open(bytes: Vec<u8>) -> Result<Archive, String> {
        Archive::list_all("/a.zip", Bytes::Memory(bytes))
    }

    fn names(archive: &Archive, folder: &str) -> Vec<String> {
        archive.list(folder).unwrap().into_iter().map(|entry| entry.name).collect()
    }

    #[test]
    fn folders_and_members_without_native_modules() {
        let text = b"__version__ = '3.1.0'\n".repeat(200);
        let bytes = zip(&[
            ("keras/__init__.py", false, b"x"),
            ("keras/src/version.py", true, &text),
            ("keras/native.cpython-311-x86_64-linux-gnu.so", false, b"\x7fELF"),
            ("top.py", true, b""),
        ]);
        for before in [&b""[..], b"#!/usr/bin/env python3\n"] {
            let archive = open([before, &bytes].concat()).unwrap();
            assert_eq!(names(&archive, ""), ["keras", "top.py"]);
            assert_eq!(names(&archive, "keras"), ["__init__.py", "src"]);
            assert!(archive.list("kera").is_none() && archive.list("keras/src/version.py").is_none());
            assert_eq!(archive.read_head("keras/__init__.py", 10).unwrap(), b"x");
            assert_eq!(archive.read_head("keras/src/version.py", 1 << 20).unwrap(), text);
            assert_eq!(archive.read_head("keras/src/version.py", 11).unwrap(), b"__version__");
            assert_eq!(archive.read_head("keras/gone.py", 10).unwrap_err().why, Why::NotFound);
        }
    }

    #[test]
    fn what_is_no_archive_is_refused() {
        assert!(open(Vec::new()).is_err());
        assert!(open(b"print('hello')\n".repeat(100)).is_err());
        let bytes = zip(&[("a.py", false, b"1")]);
        assert!(open(bytes[..bytes.len() - 1].to_vec()).is_err());
    }

    proptest! {
        #[test]
        fn never_panics_on_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = open(bytes);
        }

        #[test]
        fn never_panics_on_damage(at in proptest::collection::vec((0usize..700, any::<u8>()), 1..6)) {
            let mut bytes = zip(&[("k/__init__.py", true, &[b'x'; 90]), ("k/v.py", false, b"1"), ("t.so", false, b"2")]);
            for (at, byte) in at {
                let index = at % bytes.len();
                bytes[index] = byte;
            }
            if let Ok(archive) = open(bytes) {
                let _ = archive.list("");
                let _ = archive.list("k");
                for member in ["k/__init__.py", "k/v.py", "t.so"] {
                    if let Ok(bytes) = archive.read_head(member, 64) {
                        prop_assert!(bytes.len() <= 64);
                    }
                }
            }
        }
    }
}
