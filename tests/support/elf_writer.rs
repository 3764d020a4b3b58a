//! Writes tiny shared objects that the real loader accepts; they hold a dynamic section and nothing else.

/// A shared object to be.
#[derive(Clone, Debug)]
pub(crate) struct Elf {
    pub(crate) class: u8,
    pub(crate) machine: u16,
    pub(crate) soname: Option<String>,
    pub(crate) needed: Vec<String>,
    pub(crate) rpath: Option<String>,
    pub(crate) runpath: Option<String>,
    pub(crate) no_default_folders: bool,
}

/// The machine that the tests run on, as ELF numbers it.
pub(crate) const HERE: u16 = if cfg!(target_arch = "aarch64") { 183 } else { 62 };

impl Default for Elf {
    fn default() -> Self {
        Self {
            class: 64,
            machine: HERE,
            soname: None,
            needed: Vec::new(),
            rpath: None,
            runpath: None,
            no_default_folders: false,
        }
    }
}

impl Elf {
    /// The bytes of the file.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let wide = self.class == 64;
        let word = if wide { 8 } else { 4 };
        let (header, segment) = if wide { (64, 56) } else { (52, 32) };
        let mut strings = vec![0];
        let mut string = |text: &str| {
            let at = strings.len() as u64;
            strings.extend_from_slice(text.as_bytes());
            strings.push(0);
            at
        };
        let mut entries: Vec<(u64, u64)> = Vec::new();
        entries.extend(self.needed.iter().map(|name| (1, string(name))));
        entries.extend(self.soname.iter().map(|name| (14, string(name))));
        entries.extend(self.rpath.iter().map(|path| (15, string(path))));
        entries.extend(self.runpath.iter().map(|path| (29, string(path))));
        if self.no_default_folders {
            entries.push((0x6fff_fffb, 0x800));
        }
        let dynamic_at = (header + 3 * segment) as u64;
        let dynamic_size = ((entries.len() + 7) * 2 * word) as u64;
        let hash_at = dynamic_at + dynamic_size;
        let symbols_at = hash_at + 16;
        let symbol_size = if wide { 24 } else { 16 };
        let strings_at = symbols_at + symbol_size;
        let total = strings_at + strings.len() as u64;
        entries.extend([
            (4, hash_at),
            (5, strings_at),
            (6, symbols_at),
            (10, strings.len() as u64),
            (11, symbol_size),
            (0, 0),
            (0, 0),
        ]);

        let mut bytes = Vec::new();
        let mut put = |value: u64, length: usize| bytes.extend_from_slice(&value.to_le_bytes()[..length]);
        put(0x464c_457f, 4);
        put(if wide { 2 } else { 1 }, 1);
        put(1, 1);
        put(1, 1);
        put(0, 8);
        put(0, 1);
        put(3, 2);
        put(u64::from(self.machine), 2);
        put(1, 4);
        put(0, word);
        put(header as u64, word);
        put(0, word);
        put(0, 4);
        for half in [header as u64, segment as u64, 3, 0, 0, 0] {
            put(half, 2);
        }
        // What is loaded (all of it, writable: the loader relocates the entries), the dynamic section, a plain stack.
        for (kind, offset, size, align) in
            [(1, 0, total, 0x1000), (2, dynamic_at, dynamic_size, 8), (0x6474_e551, 0, 0, 16)]
        {
            put(kind, 4);
            if wide {
                put(6, 4);
            }
            for value in [offset, offset, offset, size, size] {
                put(value, word);
            }
            if !wide {
                put(6, 4);
            }
            put(align, word);
        }
        for (tag, value) in entries {
            put(tag, word);
            put(value, word);
        }
        // One bucket and one chain, both empty; one symbol, the undefined one.
        for value in [1, 1, 0, 0] {
            put(value, 4);
        }
        for _ in 0..symbol_size {
            put(0, 1);
        }
        bytes.extend_from_slice(&strings);
        bytes
    }
}
