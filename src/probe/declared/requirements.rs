//! Reads requirements files as pip does: continued lines, comments, options, included files; asks no index.

use crate::facts::{DeclaredPackage, DeclaredVersion, Evidence};
use crate::probe::python::requirement::{self, MarkerEnv};

use super::place::Text;

/// More requirements than this are not read from one file.
const MOST: usize = 20_000;

/// What a requirements file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Read {
    pub(super) packages: Vec<DeclaredPackage>,
    pub(super) indexes: Vec<DeclaredVersion>,
    pub(super) includes: Vec<Include>,
    /// Whether it says something that cannot be known from here: a project of this folder, an address.
    pub(super) open: bool,
}

/// Another file that is to be read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Include {
    pub(super) path: String,
    pub(super) constraint: bool,
}

/// The bytes of a requirements file as text; a byte order mark decides, as it does in pip.
pub(super) fn decode(bytes: &[u8]) -> Option<String> {
    let wide = |rest: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = rest.chunks_exact(2).map(|pair| unit([pair[0], pair[1]])).collect();
        String::from_utf16(&units).ok()
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => wide(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => wide(rest, u16::from_be_bytes),
        _ => String::from_utf8(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).to_vec()).ok(),
    }
}

/// Reads the text of a requirements file.
pub(super) fn read(path: &str, text: &str) -> Read {
    let text = Text::new(path, text);
    let mut read = Read::default();
    for (offset, line) in logical(text.all) {
        if read.packages.len() >= MOST {
            read.open = true;
            break;
        }
        let says = line.trim();
        if says.is_empty() {
            continue;
        }
        let offset = offset + (line.len() - line.trim_start().len());
        if says.starts_with('-') {
            let words: Vec<&str> = says.split_whitespace().collect();
            options(&words, &mut read, &|says| text.at(offset, says));
            continue;
        }
        match package(says, &text.at(offset, says)) {
            Some(package) => read.packages.push(package),
            None => read.open = true,
        }
    }
    read
}

/// What options say, in a file or on a command line; the words that are no options are given back.
pub(super) fn options<'w>(words: &[&'w str], read: &mut Read, at: &dyn Fn(&str) -> Evidence) -> Vec<&'w str> {
    let mut rest = Vec::new();
    let mut words = words.iter().copied();
    while let Some(word) = words.next() {
        let (name, attached) = match word.split_once('=') {
            Some((name, value)) if word.starts_with("--") => (name, Some(value)),
            // `-rfile.txt`, which pip takes too.
            _ if word.starts_with('-') && !word.starts_with("--") && word.len() > 2 && word.is_char_boundary(2) => {
                let (name, value) = word.split_at(2);
                (name, Some(value.trim_start_matches('=')))
            }
            _ => (word, None),
        };
        let mut value = || attached.or_else(|| words.next()).unwrap_or_default().trim_matches(['"', '\'']);
        match name {
            "-r" | "--requirement" | "--requirements" => {
                read.includes.push(Include { path: value().to_owned(), constraint: false });
            }
            "-c" | "--constraint" | "--constraints" => {
                read.includes.push(Include { path: value().to_owned(), constraint: true });
            }
            "-e" | "--editable" => {
                value();
                read.open = true;
            }
            "-i" | "--index-url" | "--extra-index-url" | "-f" | "--find-links" | "--index" | "--default-index" => {
                let value = value();
                let place = at(value);
                read.indexes.push(DeclaredVersion { value: value.to_owned(), evidence: place });
            }
            _ if !word.starts_with('-') => rest.push(word),
            _ => {}
        }
    }
    rest
}

/// One requirement; `None` where it is a path, an address without a name, or not understood.
pub(super) fn package(text: &str, evidence: &Evidence) -> Option<DeclaredPackage> {
    // Options of a single requirement, hashes above all.
    let text = text.split_once(" --").map_or(text, |(before, _)| before).trim();
    if text.contains("${") {
        return None;
    }
    let parsed = requirement::parse(text)?;
    // No version of Python is known here, so that a marker on it stays open.
    let linux = MarkerEnv { platform_machine: None, ..MarkerEnv::default() };
    let holds = parsed.applies(&linux, "");
    let evidence = Evidence { says: Evidence::file("", text).says, ..evidence.clone() };
    Some(DeclaredPackage {
        name: parsed.name,
        extras: parsed.extras,
        specifier: parsed.specifier,
        constraint: false,
        address: parsed.address,
        holds,
        evidence,
    })
}

/// Lines with their continuations joined and comments taken out, each with the byte at which it begins.
fn logical(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut begun: Option<(usize, String)> = None;
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let start = offset;
        offset += line.len();
        let line = line.trim_end_matches(['\n', '\r']);
        let comment = line.trim_start().starts_with('#');
        let (at, mut whole) = begun.take().unwrap_or((start, String::new()));
        if comment {
            // A comment ends what was continued, as in pip.
            lines.push((at, without_comment(&whole).to_owned()));
            continue;
        }
        if let Some(part) = line.strip_suffix('\\') {
            whole.push_str(part);
            whole.push(' ');
            begun = Some((at, whole));
            continue;
        }
        whole.push_str(line);
        lines.push((at, without_comment(&whole).to_owned()));
    }
    if let Some((at, whole)) = begun {
        lines.push((at, without_comment(&whole).to_owned()));
    }
    lines
}

/// A line up to its comment: a `#` at its beginning or behind a space.
fn without_comment(line: &str) -> &str {
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        if c == '#' && before.is_whitespace() {
            return &line[..at];
        }
        before = c;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_are_read_as_pip_reads_them() {
        let text = "\
# the stack
--index-url https://pypi.org/simple
-r base.txt
--constraint=constraints.txt
tensorflow[and-cuda] == 2.15.* # the GPU box
  Keras>=3,\\
    <4 ; python_version >= '3.9'
numpy==1.26.4 \\
    --hash=sha256:aaaa \\
    --hash=sha256:bbbb
torch @ https://example.org/torch-2.4.0.whl#sha256=1
-e .
colorama ; sys_platform == 'win32'
pkg#fragment
./local.whl
";
        let read = read("requirements.txt", text);
        let seen: Vec<(&str, &str, Option<u32>, Option<u32>)> = read
            .packages
            .iter()
            .map(|it| (it.name.as_str(), it.specifier.as_str(), it.evidence.line, it.evidence.column))
            .collect();
        assert_eq!(
            seen,
            [
                ("tensorflow", "==2.15.*", Some(5), Some(1)),
                ("keras", ">=3,<4", Some(6), Some(3)),
                ("numpy", "==1.26.4", Some(8), Some(1)),
                ("torch", "", Some(11), Some(1)),
                ("colorama", "", Some(13), Some(1)),
            ]
        );
        assert_eq!(read.packages[0].extras, ["and-cuda"]);
        assert_eq!(read.packages[0].evidence.says, "tensorflow[and-cuda] == 2.15.*");
        let holds: Vec<Option<bool>> = read.packages.iter().map(|package| package.holds).collect();
        assert_eq!(holds, [Some(true), None, Some(true), Some(true), Some(false)]);
        assert!(read.packages[3].address && read.open);
        let includes: Vec<(&str, bool)> = read.includes.iter().map(|it| (it.path.as_str(), it.constraint)).collect();
        assert_eq!(includes, [("base.txt", false), ("constraints.txt", true)]);
        assert_eq!(read.indexes[0].value, "https://pypi.org/simple");
    }

    #[test]
    fn byte_order_marks_decide() {
        let wide: Vec<u8> =
            [0xfe, 0xff].into_iter().chain("numpy\n".encode_utf16().flat_map(u16::to_be_bytes)).collect();
        assert_eq!(decode(&wide).as_deref(), Some("numpy\n"));
        assert_eq!(decode(b"\xef\xbb\xbfnumpy").as_deref(), Some("numpy"));
        assert_eq!(decode(b"\xff\xfen\0").as_deref(), Some("n"));
        assert_eq!(decode(b"\xffnumpy"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "([-a-z.=<>~!0-9 #@;\\\\'\"\\[\\]é]|\n|\r){0,120}") {
            for package in read("r.txt", &text).packages {
                let line = usize::try_from(package.evidence.line.unwrap()).unwrap();
                prop_assert!(line <= text.matches('\n').count() + 1);
            }
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Some(text) = decode(&bytes) {
                read("r.txt", &text);
            }
        }
    }
}
