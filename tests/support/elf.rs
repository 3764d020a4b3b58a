//! Writes small but valid ELF64 shared objects, and glibc's loader cache; reads nothing.

/// What a shared object says of itself.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Object {
    /// DT_SONAME.
    #[serde(default)]
    pub(crate) soname: String,
    /// DT_NEEDED in order.
    #[serde(default)]
    pub(crate) needed: Vec<String>,
    /// DT_RUNPATH entries.
    #[serde(default)]
    pub(crate) runpath: Vec<String>,
    /// DT_RPATH entries.
    #[serde(default)]
    pub(crate) rpath: Vec<String>,
    /// The dynamic loader that a program names.
    #[serde(default)]
    pub(crate) interpreter: String,
    /// `e_machine`; 62 (x86-64) where 0.
    #[serde(default)]
    pub(crate) machine: u16,
    /// Text that the object carries.
    #[serde(default)]
    pub(crate) text: String,
    /// Only this many bytes of the file are written; all where 0.
    #[serde(default)]
    pub(crate) truncate: usize,
}

const BASE: u64 = 0;
const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
const SECTION_HEADER: usize = 64;

/// The bytes of a shared object.
pub(crate) fn shared_object(object: &Object) -> Vec<u8> {
    let mut strings = vec![0u8];
    let mut intern = |text: &str| {
        let at = strings.len() as u64;
        strings.extend_from_slice(text.as_bytes());
        strings.push(0);
        at
    };
    let mut dynamic: Vec<(u64, u64)> = Vec::new();
    for needed in &object.needed {
        dynamic.push((1, intern(needed)));
    }
    if !object.soname.is_empty() {
        dynamic.push((14, intern(&object.soname)));
    }
    if !object.rpath.is_empty() {
        dynamic.push((15, intern(&object.rpath.join(":"))));
    }
    if !object.runpath.is_empty() {
        dynamic.push((29, intern(&object.runpath.join(":"))));
    }
    let interpreter = if object.interpreter.is_empty() { 0 } else { intern(&object.interpreter) as usize };
    let names = b"\0.dynamic\0.dynstr\0.shstrtab\0.rodata\0";

    let strings_at = HEADER + 3 * PROGRAM_HEADER;
    let text_at = strings_at + strings.len();
    let dynamic_at = (text_at + object.text.len() + 15) & !15;
    dynamic.push((5, BASE + strings_at as u64));
    dynamic.push((10, strings.len() as u64));
    dynamic.push((6, BASE + strings_at as u64)); // DT_SYMTAB: there must be one; no symbol is ever looked up.
    dynamic.push((11, 24));
    dynamic.push((0, 0));
    let names_at = dynamic_at + dynamic.len() * 16;
    let sections_at = (names_at + names.len() + 15) & !15;
    let end = sections_at + 5 * SECTION_HEADER;

    let mut out = Vec::with_capacity(end);
    out.extend_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    half(&mut out, 3);
    half(&mut out, if object.machine == 0 { 62 } else { object.machine });
    word(&mut out, 1);
    long(&mut out, 0);
    long(&mut out, HEADER as u64);
    long(&mut out, sections_at as u64);
    word(&mut out, 0);
    for value in [HEADER as u16, PROGRAM_HEADER as u16, 3, SECTION_HEADER as u16, 5, 3] {
        half(&mut out, value);
    }
    let mut segment = |kind: u32, flags: u32, at: usize, size: usize, align: u64| {
        word(&mut out, kind);
        word(&mut out, flags);
        for value in [at as u64, BASE + at as u64, BASE + at as u64, size as u64, size as u64, align] {
            long(&mut out, value);
        }
    };
    segment(1, 6, 0, end, 0x1000);
    segment(2, 6, dynamic_at, dynamic.len() * 16, 8);
    match interpreter {
        0 => segment(0x6474_e551, 6, 0, 0, 16),
        at => segment(3, 4, strings_at + at, object.interpreter.len() + 1, 1),
    }
    out.extend_from_slice(&strings);
    out.extend_from_slice(object.text.as_bytes());
    out.resize(dynamic_at, 0);
    for (tag, value) in &dynamic {
        long(&mut out, *tag);
        long(&mut out, *value);
    }
    out.extend_from_slice(names);
    out.resize(sections_at, 0);
    let mut section = |name: u32, kind: u32, flags: u64, at: usize, size: usize, link: u32, entry: u64| {
        word(&mut out, name);
        word(&mut out, kind);
        long(&mut out, flags);
        for value in [if flags == 0 { 0 } else { BASE + at as u64 }, at as u64, size as u64] {
            long(&mut out, value);
        }
        word(&mut out, link);
        word(&mut out, 0);
        long(&mut out, 1);
        long(&mut out, entry);
    };
    section(0, 0, 0, 0, 0, 0, 0);
    section(1, 6, 3, dynamic_at, dynamic.len() * 16, 2, 16);
    section(10, 3, 2, strings_at, strings.len(), 0, 0);
    section(18, 3, 0, names_at, names.len(), 0, 0);
    section(28, 1, 2, text_at, object.text.len(), 0, 0);
    if object.truncate > 0 {
        out.truncate(object.truncate);
    }
    out
}

/// The bytes of `/etc/ld.so.cache` as glibc 2.32 and later write it, for x86-64: names with their paths, the preferred path of a name first.
pub(crate) fn loader_cache(entries: &[(String, String)]) -> Vec<u8> {
    let mut entries: Vec<&(String, String)> = entries.iter().collect();
    // A stable sort: of equal names the earlier folder stays first.
    entries.sort_by(|a, b| order(&b.0, &a.0));
    let strings_at = 48 + entries.len() * 24;
    let mut strings = Vec::new();
    let mut table = Vec::new();
    for (name, path) in entries {
        word(&mut table, 0x0303);
        for text in [name, path] {
            word(&mut table, (strings_at + strings.len()) as u32);
            strings.extend_from_slice(text.as_bytes());
            strings.push(0);
        }
        word(&mut table, 0);
        long(&mut table, 0);
    }
    let mut out = b"glibc-ld.so.cache1.1".to_vec();
    word(&mut out, (table.len() / 24) as u32);
    word(&mut out, strings.len() as u32);
    out.extend_from_slice(&[2, 0, 0, 0]); // little endian
    for _ in 0..4 {
        word(&mut out, 0);
    }
    out.extend_from_slice(&table);
    out.extend_from_slice(&strings);
    out
}

/// The order of names in the cache: runs of digits count as numbers.
fn order(a: &str, b: &str) -> std::cmp::Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    loop {
        let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        match (a.first(), b.first()) {
            (Some(x), Some(y)) if x.is_ascii_digit() && y.is_ascii_digit() => {
                let (m, n) = (digits(a), digits(b));
                let number = |text: &[u8]| std::str::from_utf8(text).ok().and_then(|text| text.parse::<u64>().ok());
                let compared = number(&a[..m]).cmp(&number(&b[..n]));
                if compared.is_ne() {
                    return compared;
                }
                (a, b) = (&a[m..], &b[n..]);
            }
            // A digit counts for more than any other byte.
            (Some(x), Some(_)) if x.is_ascii_digit() => return std::cmp::Ordering::Greater,
            (Some(_), Some(y)) if y.is_ascii_digit() => return std::cmp::Ordering::Less,
            (Some(x), Some(y)) if x == y => (a, b) = (&a[1..], &b[1..]),
            (x, y) => return x.cmp(&y),
        }
    }
}

fn half(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn word(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn long(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}
