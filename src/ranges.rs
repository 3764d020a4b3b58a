//! Whether requirements on versions leave one that meets all of them (PEP 440); knows no index and resolves nothing.

use std::str::FromStr as _;

use pep440_rs::{Operator, Version, VersionSpecifiers};

/// More requirements than this are not held together.
const MOST: usize = 64;

/// Whether some version meets all requirements; `None` where one of them is not understood.
///
/// It may say yes where only versions fit that nobody released; it never says no where one fits.
pub(crate) fn common<'a>(specifiers: impl IntoIterator<Item = &'a str>) -> Option<bool> {
    let mut all = Vec::new();
    for text in specifiers {
        if !text.trim().is_empty() {
            all.extend(VersionSpecifiers::from_str(text).ok()?.iter().cloned());
        }
    }
    if all.len() > MOST || all.iter().any(|one| *one.operator() == Operator::ExactEqual) {
        return None;
    }
    // Between two pre-releases the points below are not all there are.
    let open = |operator: &Operator| matches!(operator, Operator::LessThan | Operator::GreaterThan);
    if all.iter().any(|one| open(one.operator()) && (one.version().any_prerelease() || one.version().is_post())) {
        return None;
    }
    let fits = |version: &Version| all.iter().all(|one| one.contains(version));
    // What all of them allow begins at the lowest version there is, at a bound, or right behind one.
    if fits(&Version::new([0])) {
        return Some(true);
    }
    Some(all.iter().flat_map(|one| points(one.version())).any(|version| fits(&version)))
}

/// The versions at a bound and right behind it.
fn points(bound: &Version) -> [Version; 4] {
    let release: Vec<u64> = bound.release().to_vec();
    let with = |release: Vec<u64>| Version::new(release).with_epoch(bound.epoch());
    // Behind all that begins with the same numbers, as `!=2.15.*` excludes them.
    let mut next = release.clone();
    if let Some(last) = next.last_mut() {
        *last = last.saturating_add(1);
    }
    let mut behind = release.clone();
    behind.resize(behind.len().max(4), 0);
    behind.push(1);
    [bound.clone(), with(release), with(behind), with(next)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_meet_or_do_not() {
        for (texts, wanted) in [
            (&["==2.15.*", ">=2.15.1"][..], Some(true)),
            (&[">=3.0.0", "<2.16,>=2.15.0"], Some(false)),
            (&[">=3", ">=3.5.0"], Some(true)),
            (&["==3.8.*", ">=3.9,<3.13"], Some(false)),
            (&[">=3.8", ">=3.9,<3.13"], Some(true)),
            (&[">=3.13", ">=3.9,<3.13"], Some(false)),
            (&["==2.15.0", "==2.15.1"], Some(false)),
            (&["==2.15", "==2.15.0"], Some(true)),
            (&["~=2.15", "<2.16"], Some(true)),
            (&["~=2.15.0", ">=2.16"], Some(false)),
            (&["!=2.15.*", ">=2.15", "<2.16"], Some(false)),
            (&["!=2.15.*", ">=2.15"], Some(true)),
            (&[">2.15", "<2.15.1"], Some(true)),
            (&[">2.15", "<=2.15"], Some(false)),
            (&["<2"], Some(true)),
            (&["", "*"], None),
            (&["===2.15", "==2.16"], None),
            (&["==2.16.1+nv24.8", ">=2.16"], Some(true)),
            (&[">1.0rc1", "<1.0rc5"], None),
            (&["==2.22.0rc0", ">=2.21"], Some(true)),
            (&[], Some(true)),
        ] {
            assert_eq!(common(texts.iter().copied()), wanted, "{texts:?}");
        }
    }

    proptest! {
        /// A version that meets them all is never denied.
        #[test]
        fn a_version_that_fits_is_not_denied(
            parts in prop::collection::vec((0..8usize, 0u64..4, 0u64..4, 0u64..4), 0..5),
            version in (0u64..5, 0u64..5, 0u64..5),
        ) {
            let operators = ["==", "!=", ">=", "<=", ">", "<", "~=", "=="];
            let texts: Vec<String> = parts
                .iter()
                .map(|(operator, a, b, c)| match operator {
                    7 => format!("=={a}.{b}.*"),
                    1 if c % 2 == 0 => format!("!={a}.{b}.*"),
                    _ => format!("{}{a}.{b}.{c}", operators[*operator]),
                })
                .collect();
            let version = Version::new([version.0, version.1, version.2]);
            let fits = texts.iter().all(|text| VersionSpecifiers::from_str(text).unwrap().contains(&version));
            if fits {
                prop_assert_eq!(common(texts.iter().map(String::as_str)), Some(true), "{:?} {}", texts, version);
            }
        }

        #[test]
        fn it_never_panics(texts in prop::collection::vec("[-0-9.,<>=~!* a-z+]{0,20}", 0..4)) {
            let _ = common(texts.iter().map(String::as_str));
        }
    }
}
