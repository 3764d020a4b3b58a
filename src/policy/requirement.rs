//! Version requirements in Cargo's syntax, over versions that may have one to four parts.

use std::fmt;
use std::str::FromStr;

use pep440_rs::Version;

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

    /// Whether a version, as a file states it, meets the requirement; `None` where the text is no version or does not
    /// say enough.
    ///
    /// Unlike [`matches`](Self::matches), parts that are not stated count as not known: `12` may be 12.4. A
    /// pre-release does not count as the release that it comes before.
    pub fn met_by(&self, text: &str) -> Option<bool> {
        let version = Version::from_str(text.trim()).ok()?;
        let parts: Vec<u32> =
            version.release().iter().map(|&part| u32::try_from(part)).collect::<Result<_, _>>().ok()?;
        let known = Dotted::new(&parts);
        let early = version.any_prerelease();
        let answers: Vec<Option<bool>> =
            self.comparators.iter().map(|comparator| comparator.met_by(&known, early)).collect();
        if answers.contains(&Some(false)) {
            return Some(false);
        }
        (!answers.contains(&None)).then_some(true)
    }

    /// The requirement in the syntax of Python packages, such as `>=2.18,<3`; empty for `*`.
    pub fn pep440(&self) -> String {
        // The first version behind all that begin with these parts.
        let behind = |version: &Dotted, parts: usize| {
            let mut parts: Vec<u32> = (0..parts.max(1)).map(|part| version.part(part)).collect();
            if let Some(last) = parts.last_mut() {
                *last = last.saturating_add(1);
            }
            Dotted::new(&parts)
        };
        let bounds = self.comparators.iter().map(|Comparator { op, version }| match op {
            Op::Exact => format!("=={version}.*"),
            Op::Greater => format!(">={}", behind(version, version.len())),
            Op::GreaterEq => format!(">={version}"),
            Op::Less => format!("<{version}"),
            Op::LessEq => format!("<{}", behind(version, version.len())),
            Op::Tilde => format!(">={version},<{}", behind(version, version.len().min(2))),
            Op::Caret => format!(">={version},<{}", behind(version, leading(version))),
        });
        bounds.collect::<Vec<_>>().join(",")
    }
}

/// How many parts a caret keeps: up to the first that is not zero.
fn leading(version: &Dotted) -> usize {
    (0..version.len()).position(|part| version.part(part) != 0).map_or(version.len(), |part| part + 1)
}

impl Comparator {
    /// The answer for a version of which only the first parts may be known.
    fn met_by(&self, known: &Dotted, early: bool) -> Option<bool> {
        let (stated, parts) = (self.version.len(), known.len());
        let same = (0..parts.min(stated)).all(|part| known.part(part) == self.version.part(part));
        let rest_is_zero = (parts..stated).all(|part| self.version.part(part) == 0);
        if parts < stated && same {
            let open = match self.op {
                Op::GreaterEq | Op::Less => !rest_is_zero,
                Op::Tilde => !(rest_is_zero && parts >= stated.min(2)),
                Op::Caret => !(rest_is_zero && parts >= leading(&self.version)),
                Op::Exact | Op::Greater | Op::LessEq => true,
            };
            if open {
                return None;
            }
        }
        let release = self.matches(known);
        // 2.18.0rc1 comes before 2.18 and is none of 2.17 either.
        let first = early && known == &self.version;
        Some(release && !(first && matches!(self.op, Op::Exact | Op::GreaterEq | Op::Tilde | Op::Caret)))
    }

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
            Op::Caret => version >= &self.version && same(leading(&self.version)),
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
    fn what_is_not_stated_is_not_known() {
        let met = |requirement: &str, text: &str| requirement.parse::<Requirement>().unwrap().met_by(text);
        assert_eq!(met(">=12.4", "12"), None);
        assert_eq!(met(">=12.4", "13"), Some(true));
        assert_eq!(met(">=12.4", "11"), Some(false));
        assert_eq!(met(">=12", "12"), Some(true));
        assert_eq!(met("12", "12"), Some(true));
        assert_eq!(met("<13", "12"), Some(true));
        assert_eq!(met("<12.0", "12"), Some(false));
        assert_eq!(met("<12.4", "12"), None);
        assert_eq!(met(">=12.4, <13", "13"), Some(false));
        assert_eq!(met("~9.1", "9"), None);
        assert_eq!(met("=3.11", "3"), None);
        assert_eq!(met("*", "1"), Some(true));
        assert_eq!(met("*", "one"), None);
        assert_eq!(met(">=9.0", "9"), Some(true));
    }

    #[test]
    fn a_pre_release_is_not_its_release() {
        let met = |requirement: &str, text: &str| requirement.parse::<Requirement>().unwrap().met_by(text);
        assert_eq!(met(">=2.18", "2.18.0rc1"), Some(false));
        assert_eq!(met("<2.18", "2.18.0rc1"), Some(false));
        assert_eq!(met(">=2.17", "2.18.0rc1"), Some(true));
        assert_eq!(met("2.18", "2.18.0+cu12"), Some(true));
        assert_eq!(met(">=535.54", "535.54.03"), Some(true));
    }

    #[test]
    fn python_is_told_in_its_own_syntax() {
        let shown = |requirement: &str| requirement.parse::<Requirement>().unwrap().pep440();
        assert_eq!(shown(">=12.4, <14"), ">=12.4,<14");
        assert_eq!(shown("3"), ">=3,<4");
        assert_eq!(shown("0.3.1"), ">=0.3.1,<0.4");
        assert_eq!(shown("~2.18.1"), ">=2.18.1,<2.19");
        assert_eq!(shown("=2.18"), "==2.18.*");
        assert_eq!(shown(">2.18"), ">=2.19");
        assert_eq!(shown("<=2.18"), "<2.19");
        assert_eq!(shown("*"), "");
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
                let holds = requirement.matches(&version.parse().unwrap());
                // A whole version is told alike by both.
                if let Some(met) = requirement.met_by(&version) {
                    prop_assert_eq!(met, holds);
                }
                requirement.pep440();
            }
        }
    }
}
