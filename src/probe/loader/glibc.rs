//! Which glibc a tree has and which processor runs it, and so which subfolders its loader tries.

use std::collections::HashSet;

use crate::facts::{Evidence, Probed};
use crate::host::Host;
use crate::probe::ld_cache::TLS_BIT;
use crate::version::Dotted;

/// The machine of a tree, by the loaders that lie in it.
pub(super) fn machine_of(host: &Host) -> String {
    let here = std::env::consts::ARCH;
    let known = [
        ("x86_64", "/lib64/ld-linux-x86-64.so.2"),
        ("aarch64", "/lib/ld-linux-aarch64.so.1"),
        ("powerpc64", "/lib64/ld64.so.2"),
        ("riscv64", "/lib/ld-linux-riscv64-lp64d.so.1"),
        ("s390x", "/lib/ld64.so.1"),
    ];
    let mut present = known.iter().filter(|(_, path)| host.exists(path)).map(|(machine, _)| *machine);
    let first = present.next();
    // A machine with foreign loaders for emulation is still the machine that it is.
    if first == Some(here) || present.any(|machine| machine == here) { here } else { first.unwrap_or(here) }.to_owned()
}

/// The version of the C library, from the name of the loader's file or from what the loader says of itself.
pub(super) fn glibc(host: &Host, machine: &str) -> Probed<Dotted> {
    let path = match machine {
        "x86_64" => "/lib64/ld-linux-x86-64.so.2",
        "aarch64" => "/lib/ld-linux-aarch64.so.1",
        _ => return Probed::Absent,
    };
    let real = host.real_text(path);
    // Before 2.34 the file bears the version: ld-2.31.so.
    let named = real.rsplit('/').next().and_then(|name| name.strip_prefix("ld-")?.strip_suffix(".so")?.parse().ok());
    if let Some(version) = named {
        return Probed::found(version, Evidence::file(path, format!("a link to {real}")));
    }
    match host.read_head(&real, LOADER_LIMIT) {
        Ok(bytes) => match banner(&bytes) {
            Some(version) => {
                let says = format!("release version {version}");
                Probed::found(version, Evidence::file(path, says))
            }
            None => Probed::failed(format!("{path} does not say which version it is")),
        },
        Err(error) if error.is_absent() => Probed::Absent,
        Err(error) => Probed::failed(error.to_string()),
    }
}

/// Of the loader's own file, at most this much is read.
pub(super) const LOADER_LIMIT: u64 = 1 << 20;

/// The version in `ld.so (…) stable release version 2.36.`
fn banner(bytes: &[u8]) -> Option<Dotted> {
    const WORDS: &[u8] = b" release version ";
    let at = memchr::memmem::find(bytes, WORDS)? + WORDS.len();
    let text = bytes.get(at..)?;
    let end = text.iter().position(|byte| !(byte.is_ascii_digit() || *byte == b'.'))?;
    std::str::from_utf8(text.get(..end)?).ok()?.trim_end_matches('.').parse().ok()
}

/// Of what the kernel says of processors, at most this much is read: one takes less than half of it.
const FIRST_PROCESSOR: u64 = 8 << 10;

/// What the loader may know of a processor.
#[derive(Debug, Default)]
pub(super) struct Processor {
    x86_64: bool,
    intel: bool,
    flags: HashSet<String>,
}

/// Subfolders that the loader tried before 2.37, in its order, and the bits of the cache that mean the same.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Legacy {
    pub(super) folders: Vec<String>,
    pub(super) bits: u64,
    pub(super) platform: u64,
}

impl Processor {
    pub(super) fn read(host: &Host, machine: &str) -> Self {
        if machine != "x86_64" {
            return Self::default();
        }
        // The processors are alike, and the kernel takes its time for each.
        let text = host.read_head("/proc/cpuinfo", FIRST_PROCESSOR).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let field = |name: &str| {
            text.lines().find_map(|line| line.strip_prefix(name)?.split_once(':')).map(|(_, value)| value.trim())
        };
        let flags = field("flags").unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        Self { x86_64: true, intel: field("vendor_id") == Some("GenuineIntel"), flags }
    }

    fn has(&self, flags: &[&str]) -> bool {
        flags.iter().all(|flag| self.flags.contains(*flag))
    }

    /// The `glibc-hwcaps` subfolders that it can use, the best one first.
    pub(super) fn levels(&self) -> Vec<&'static str> {
        const LEVELS: [(&str, &[&str]); 3] = [
            ("x86-64-v2", &["cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"]),
            ("x86-64-v3", &["avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"]),
            ("x86-64-v4", &["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"]),
        ];
        let usable = LEVELS.iter().take_while(|(_, needs)| self.has(needs)).map(|(level, _)| *level);
        let mut levels: Vec<&str> = usable.collect();
        levels.reverse();
        levels
    }

    /// What the loader tried before 2.37: every choice out of `tls`, the platform and the capabilities, the whole first.
    ///
    /// Before 2.26 the platform is what the kernel says, whatever the processor can do.
    pub(super) fn legacy(&self, plain: bool) -> Legacy {
        const X86_64: u64 = 1 << 1;
        const AVX512_1: u64 = 1 << 2;
        const HASWELL: u64 = 1 << 50;
        const XEON_PHI: u64 = 1 << 51;
        if !self.x86_64 {
            return Legacy::default();
        }
        let intel = self.intel && !plain;
        let phi = intel && self.has(&["avx512cd", "avx512er", "avx512pf"]);
        let wide = intel && self.has(&["avx512cd", "avx512bw", "avx512dq", "avx512vl"]) && !self.has(&["avx512er"]);
        let haswell = intel && self.has(&["avx2", "fma", "bmi1", "bmi2", "abm", "movbe", "popcnt"]);
        let (name, platform) = match (phi, haswell) {
            (true, _) => ("xeon_phi", XEON_PHI),
            (false, true) => ("haswell", HASWELL),
            (false, false) => ("x86_64", 0),
        };
        let mut parts = vec!["tls", name];
        let mut bits = TLS_BIT;
        if wide {
            parts.push("avx512_1");
            bits |= AVX512_1;
        }
        if !plain {
            parts.push("x86_64");
            bits |= X86_64;
        }
        let mut folders: Vec<String> = Vec::new();
        for choice in (1..1_u32 << parts.len()).rev() {
            let chosen = parts.iter().rev().enumerate().rev().filter(|(bit, _)| choice >> bit & 1 == 1);
            let folder = chosen.map(|(_, part)| *part).collect::<Vec<_>>().join("/");
            if !folders.contains(&folder) {
                folders.push(folder);
            }
        }
        Legacy { folders, bits, platform }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn subfolders_of_an_older_loader() {
        let folders = |intel, flags: &str, plain| {
            let flags = flags.split(' ').map(str::to_owned).collect();
            Processor { x86_64: true, intel, flags }.legacy(plain).folders
        };
        let haswell = "avx2 fma bmi1 bmi2 abm movbe popcnt";
        let common = ["tls/x86_64/x86_64", "tls/x86_64", "tls", "x86_64/x86_64", "x86_64"];
        assert_eq!(folders(false, haswell, false), common);
        assert_eq!(folders(true, haswell, true), ["tls/x86_64", "tls", "x86_64"]);
        let seven = ["tls/haswell/x86_64", "tls/haswell", "tls/x86_64", "tls", "haswell/x86_64", "haswell", "x86_64"];
        assert_eq!(folders(true, haswell, false), seven);
        let wide = folders(true, &format!("{haswell} avx512cd avx512bw avx512dq avx512vl"), false);
        assert_eq!((wide.len(), wide[0].as_str()), (15, "tls/haswell/avx512_1/x86_64"));
    }

    proptest! {
        #[test]
        fn what_a_loader_says_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..40), text in "[0-9.]{0,12}") {
            let _ = banner(&[bytes.as_slice(), b" release version ", text.as_bytes()].concat());
            let _ = banner(&bytes);
        }
    }
}
