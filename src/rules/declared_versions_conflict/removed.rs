//! `tensorflow-gpu` behind its end: the package was taken back, and what is left of it says so and does not install.

use super::{Asked, specifiers};
use crate::db::Database;
use crate::facts::{DeclaredBy, DeclaredPackage, DeclaredSet};
use crate::finding::{Finding, Subject};
use crate::ranges::common;

impl Asked<'_> {
    /// A `tensorflow-gpu` that pip takes from where that package ends: a source archive that only says so.
    pub(super) fn removed(&self, db: &Database, sets: &[DeclaredSet]) -> Option<Finding> {
        const NAME: &str = "tensorflow-gpu";
        let asked = self.of(NAME);
        if !asked.iter().any(|package| !package.constraint) {
            return None;
        }
        let last = db.tensorflow_rows().iter().rfind(|row| row.package == NAME && row.python.is_none())?;
        let end = format!("=={}", last.version);
        let fits = |package: &[&str], more: &str| common(package.iter().copied().chain([more]));
        let wanted = specifiers(&asked);
        // An older one may be there already, or be what is really installed.
        let older = |set: &DeclaredSet| {
            let held = |package: &DeclaredPackage| {
                package.name == NAME && (set.by == DeclaredBy::Conda || fits(&[&package.specifier], &end) != Some(true))
            };
            set.image.as_ref().is_some_and(|image| image.name.contains("tensorflow")) || set.packages.iter().any(held)
        };
        let none_before = fits(&wanted, &format!("<{}", last.version)) == Some(false);
        let taken = if fits(&wanted, &end)? {
            none_before || !sets.iter().any(older)
        } else {
            // Of what comes behind the end there is nothing.
            none_before && common(wanted.iter().copied()) == Some(true)
        };
        let title = format!("{NAME}{} cannot be installed: the package ends with {}", wanted.join(","), last.version);
        taken.then(|| {
            Finding::new(Subject::Declared, title)
                .because_all(asked.iter().map(|package| package.evidence.clone()))
                .row(Some(last.row_ref()))
                .so("what is left on the index is an archive that pip and uv fail to build")
                .help("ask for tensorflow instead, which is built with CUDA too")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{said, set, stage};
    use super::*;

    #[test]
    fn a_package_that_was_removed() {
        for version in ["", ">=2.4", "==2.12.0", ">=2.12", "==2.15.0"] {
            let line = format!("tensorflow-gpu{version}");
            let wanted = format!("{line} cannot be installed: the package ends with 2.12.0");
            assert_eq!(said(vec![set(&[&line])]), [wanted]);
        }
        // Something else in the repository says which one is really there.
        let range = || set(&["tensorflow-gpu>=2.4"]);
        assert!(
            said(vec![range(), DeclaredSet { by: DeclaredBy::Lock, ..set(&["tensorflow-gpu==2.11.0"]) }]).is_empty()
        );
        assert!(said(vec![range(), DeclaredSet { by: DeclaredBy::Conda, ..set(&["tensorflow-gpu"]) }]).is_empty());
        assert!(said(vec![range(), stage("tensorflow/tensorflow:2.4.0-gpu", &[])]).is_empty());
        let mut other = set(&["tensorflow-gpu"]);
        other.packages[0].constraint = true;
        assert!(said(vec![other]).is_empty());
    }
}
