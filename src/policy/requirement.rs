//! Version requirements in Cargo's syntax, over versions that may have one to four parts.

use std::fmt;
use std::str::FromStr;

use crate::version::Dotted;

/// A version requirement, such as `>=12.4, <14`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    text: String,
    /// All of them must hold; none for `*`.
    pub comparators: Vec<Comparator>,
}

/// One comparison of a requirement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparator {
    /// How it compares.
    pub op: Op,
    /// What it compares with.
    pub version: Dotted,
}

/// A way to compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// `=1.2`, `1.2.*`: the stated parts are equal.
    Exact,
    /// `>1.2`.
    Greater,
    /// `>=1.2`.
    GreaterEq,
    /// `<1.2`.
    Less,
    /// `<=1.2`.
    LessEq,
    /// `~1.2`: at least, with the same first two parts (one, where one is stated).
    Tilde,
    /// `^1.2` or `1.2`: at least, with the same parts up to the first that is not zero.
    Caret,
}

/// A text that is no requirement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{part}` is no version requirement")]
pub struct NotRequirement {
    part: String,
}

impl Requirement {
    /// Whether a version meets it; parts that a version does not state count as zero.
    pub fn matches(&self, version: &Dotted) -> bool {
        self.comparators.iter().all(|comparator| comparator.matches(version))
    }
}

impl Comparator {
    fn matches(&self, version: &Dotted) -> bool {
        let stated = self.version.len();
        let same = |parts: usize| (0..parts).all(|part| version.part(part) == self.version.part(part));
        let ordering = version.prefix(stated.max(1)).cmp(&self.version);
        match self.op {
            Op::Exact => same(stated),
            // As in Cargo, `>1.2` begins behind all of 1.2.
            Op::Greater => ordering.is_gt(),
            Op::GreaterEq => version >= &self.version,
            Op::Less => version < &self.version,
            Op::LessEq => ordering.is_le(),
            Op::Tilde => version >= &self.version && same(stated.min(2)),
            Op::Caret => {
                let leading = (0..stated).position(|part| self.version.part(part) != 0).map_or(stated, |part| part + 1);
                version >= &self.version && same(leading)
            }
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Requirement {
    type Err = NotRequirement;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut comparators = Vec::new();
        let parts: Vec<&str> = text.split(',').map(str::trim).collect();
        for part in &parts {
            if *part == "*" && parts.len() == 1 {
                break;
            }
            comparators.push(comparator(part).ok_or_else(|| NotRequirement { part: (*part).to_owned() })?);
        }
        Ok(Self { text: text.trim().to_owned(), comparators })
    }
}

fn comparator(part: &str) -> Option<Comparator> {
    const OPS: [(&str, Op); 7] = [
        (">=", Op::GreaterEq),
        ("<=", Op::LessEq),
        (">", Op::Greater),
        ("<", Op::Less),
        ("=", Op::Exact),
        ("~", Op::Tilde),
        ("^", Op::Caret),
    ];
    let stated = OPS.iter().find_map(|(sign, op)| Some((*op, part.strip_prefix(sign)?.trim_start())));
    let (mut op, mut version) = stated.unwrap_or((Op::Caret, part));
    if let Some(fixed) = version.strip_suffix(".*") {
        if stated.is_some_and(|(op, _)| op != Op::Exact) {
            return None;
        }
        (op, version) = (Op::Exact, fixed);
    }
    if !version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return None;
    }
    Some(Comparator { op, version: version.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn meets(requirement: &str, version: &str) -> bool {
        requirement.parse::<Requirement>().unwrap().matches(&version.parse().unwrap())
    }

    #[test]
    fn it_compares_as_cargo_does() {
        assert!(meets(">=550", "550.54.14"));
        assert!(meets(">=12.4, <14", "13.0"));
        assert!(!meets(">=12.4, <14", "14.0"));
        assert!(meets("9", "9.1.0.70"));
        assert!(!meets("9", "10.0"));
        assert!(meets("9.1.0.70", "9.2"));
        assert!(meets("*", "1"));
        assert!(meets("2.*", "2.18"));
        assert!(meets("=12.4", "12.4.1"));
        assert!(!meets(">12.4", "12.4.1"));
        assert!(meets(">12.4", "12.5"));
        assert!(meets("<=12.4", "12.4.1"));
        assert!(meets("~2.18", "2.18.1"));
        assert!(!meets("~2.18", "2.19"));
        assert!(meets("0.3", "0.3.9"));
        assert!(!meets("0.3", "0.4"));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", ",", "12,", "~~1", ">=", "twelve", ">=1.*", "*, 1", "2.16.0rc1", "1..2"] {
            assert!(text.parse::<Requirement>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn it_never_panics(text in "[-0-9.,<>=~^* a]{0,20}", version in "[0-9]{1,3}(\\.[0-9]{1,3}){0,3}") {
            if let Ok(requirement) = text.parse::<Requirement>() {
                requirement.matches(&version.parse().unwrap());
            }
        }
    }
}
