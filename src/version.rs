//! Dotted version numbers of drivers, CUDA and cuDNN: they compare by number and print as they were read.
//!
//! Not for Python packages (PEP 440 is `pep440_rs`) nor for Rust crates (`semver`).

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A dotted version that compares by number and prints as it was read.
///
/// Drivers print `535.54.03` and cuDNN has four parts: `semver` refuses both, and
/// PEP 440 prints `535.54.3`. Missing parts count as zero, so `12.4` equals `12.4.0`.
///
/// ```
/// use gpu_doctor::version::Dotted;
/// let read: Dotted = "535.54.03".parse().unwrap();
/// assert_eq!(read.to_string(), "535.54.03");
/// assert!(read < "535.183.01".parse().unwrap());
/// assert_eq!("12.4".parse::<Dotted>().unwrap(), "12.4.0".parse().unwrap());
/// ```
#[derive(Clone, Debug)]
pub struct Dotted {
    text: String,
    parts: Vec<u32>,
}

/// A text that is not a dotted version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a dotted version: {why}")]
pub struct NotDotted {
    text: String,
    why: &'static str,
}

impl Dotted {
    /// The longest text that is accepted, in bytes; nothing in this field is near it.
    const LONGEST: usize = 64;

    /// A version from its numbers.
    ///
    /// ```
    /// use gpu_doctor::version::Dotted;
    /// assert_eq!(Dotted::new(&[12, 4]).to_string(), "12.4");
    /// ```
    pub fn new(parts: &[u32]) -> Self {
        let text = parts.iter().map(u32::to_string).collect::<Vec<_>>().join(".");
        Self { text, parts: parts.to_vec() }
    }

    /// A version of CUDA by the number that headers and libraries give: `12080` is 12.8.
    ///
    /// ```
    /// use gpu_doctor::version::Dotted;
    /// assert_eq!(Dotted::of_cuda(12080).to_string(), "12.8");
    /// ```
    pub fn of_cuda(number: u32) -> Self {
        Self::new(&[number / 1000, number % 1000 / 10])
    }

    /// The first number.
    pub fn major(&self) -> u32 {
        self.part(0)
    }

    /// The second number, zero where there is none.
    pub fn minor(&self) -> u32 {
        self.part(1)
    }

    /// The number at `index`, zero where there is none.
    pub fn part(&self, index: usize) -> u32 {
        self.parts.get(index).copied().unwrap_or(0)
    }

    /// How many numbers were written.
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// Never true: a version has at least one number.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The first `count` numbers as a version of their own.
    ///
    /// ```
    /// use gpu_doctor::version::Dotted;
    /// assert_eq!("12.4.131".parse::<Dotted>().unwrap().prefix(2).to_string(), "12.4");
    /// ```
    #[must_use]
    pub fn prefix(&self, count: usize) -> Self {
        Self::new(&self.parts[..count.clamp(1, self.parts.len())])
    }

    /// The text as it was read.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The version in the name of a shared library: `libcuda.so.535.54.03` gives `535.54.03`.
    ///
    /// ```
    /// use gpu_doctor::version::Dotted;
    /// assert_eq!(Dotted::from_file_name("libcudart.so.12.4.127").unwrap().to_string(), "12.4.127");
    /// assert!(Dotted::from_file_name("libcudart.so").is_none());
    /// ```
    pub fn from_file_name(name: &str) -> Option<Self> {
        let (_, tail) = name.rsplit_once(".so.")?;
        tail.parse().ok()
    }

    /// The first dotted version with at least two numbers in a line of text.
    pub fn find_in(text: &str) -> Option<Self> {
        text.split(|c: char| !(c.is_ascii_digit() || c == '.'))
            .map(|word| word.trim_matches('.'))
            .filter(|word| word.contains('.') && word.len() <= Self::LONGEST)
            .find_map(|word| word.parse().ok())
    }

    /// Numbers without trailing zeros, which is what equality and order look at.
    fn significant(&self) -> &[u32] {
        let end = self.parts.iter().rposition(|&part| part != 0).map_or(0, |last| last + 1);
        &self.parts[..end]
    }
}

impl FromStr for Dotted {
    type Err = NotDotted;

    fn from_str(text: &str) -> Result<Self, NotDotted> {
        let fault = |why| NotDotted { text: text.chars().take(Self::LONGEST).collect(), why };
        if text.len() > Self::LONGEST {
            return Err(fault("it is too long"));
        }
        let mut parts = Vec::with_capacity(4);
        for part in text.split('.') {
            if part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
                return Err(fault("a part is not a number"));
            }
            parts.push(part.parse().map_err(|_| fault("a part is too large"))?);
        }
        Ok(Self { text: text.to_owned(), parts })
    }
}

impl fmt::Display for Dotted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl PartialEq for Dotted {
    fn eq(&self, other: &Self) -> bool {
        self.significant() == other.significant()
    }
}

impl Eq for Dotted {}

impl Hash for Dotted {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.significant().hash(state);
    }
}

impl PartialOrd for Dotted {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Dotted {
    fn cmp(&self, other: &Self) -> Ordering {
        self.significant().cmp(other.significant())
    }
}

impl Serialize for Dotted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Dotted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// The numbers in front of a version, as JAX and jaxlib compare them: `0.6.2` of `0.6.2.dev20250617`.
pub fn leading_numbers(version: &str) -> Option<Vec<u64>> {
    let mut numbers = Vec::new();
    for part in version.split('.') {
        let digits = part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if digits == 0 {
            break;
        }
        numbers.push(part[..digits].parse().ok()?);
        if digits < part.len() {
            break;
        }
    }
    (!numbers.is_empty()).then_some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v(text: &str) -> Dotted {
        text.parse().unwrap()
    }

    #[test]
    fn they_compare_as_numbers_and_print_as_read() {
        assert!(v("535.183.01") > v("535.54.03"));
        assert!(v("9.10.2") > v("9.9.0"));
        assert_eq!(v("550.144.03").to_string(), "550.144.03");
        assert_eq!(v("12.4"), v("12.4.0"));
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for text in ["", ".", "12.", "V12.4", "12.4-rc1", "550.x", "99999999999", " 12", "+1.2"] {
            assert!(text.parse::<Dotted>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_version_is_found_in_a_sentence() {
        let line = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.54.03  Tue Jun  6";
        assert_eq!(Dotted::find_in(line).unwrap().to_string(), "535.54.03");
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_printing_gives_it_back(text in "\\PC{0,80}") {
            if let Ok(version) = text.parse::<Dotted>() {
                prop_assert_eq!(version.to_string(), text);
            }
        }

        #[test]
        fn order_agrees_with_padded_numbers(a in prop::collection::vec(0u32..50, 1..5), b in prop::collection::vec(0u32..50, 1..5)) {
            let pad = |parts: &[u32]| { let mut p = parts.to_vec(); p.resize(8, 0); p };
            prop_assert_eq!(Dotted::new(&a).cmp(&Dotted::new(&b)), pad(&a).cmp(&pad(&b)));
        }
    }

    #[test]
    fn jaxlib_compares_the_numbers_in_front() {
        assert_eq!(leading_numbers("0.6.2"), Some(vec![0, 6, 2]));
        assert_eq!(leading_numbers("0.6.2.dev20250617"), Some(vec![0, 6, 2]));
        assert_eq!(leading_numbers("0.9.0.1"), Some(vec![0, 9, 0, 1]));
        assert_eq!(leading_numbers("0.4.7+cuda12.cudnn88"), Some(vec![0, 4, 7]));
        assert_eq!(leading_numbers("0.6rc1"), Some(vec![0, 6]));
        assert_eq!(leading_numbers("x"), None);
        assert_eq!(leading_numbers("99999999999999999999.1"), None);
    }
}
