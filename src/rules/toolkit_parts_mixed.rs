//! Rule `toolkit-parts-mixed`: whether the parts of the toolkit in use are of one release.

use super::toolkit_missing::{compiling, locked_evidence, selected};
use super::{Cx, Family, Rule, layer};
use crate::db::CrateRow;
use crate::facts::LockedCrate;
use crate::finding::{Finding, Judgment, Level, Subject};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "toolkit-parts-mixed",
    family: Family::Cuda,
    level: Level::Warn,
    layer: layer::PROJECT,
    summary: "the CUDA toolkit in use is a mixture of releases",
    docs: "\
### What it means

The parts of a CUDA toolkit each state their version: `version.json`, the header `cuda.h`, the library `libcudart`, \
the compiler's profile. In the toolkit that this project's build would use they state different releases (major and \
minor).

### Why it matters

Headers of one release with libraries of another compile and then fail: undefined symbols when linking, wrong \
structures at run time. It happens when a toolkit is unpacked over an older one, or when a distribution and NVIDIA's \
packages share a folder.

### How to fix it

Remove that folder and install one toolkit anew, or choose another toolkit that is whole with the variable that the \
crate reads.
",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    judge(cx, &compiling(cx), out);
}

fn judge(cx: &Cx<'_>, compiling: &[(&LockedCrate, &CrateRow)], out: &mut Judgment) {
    let (Some((locked, _)), Some(toolkit)) = (compiling.first(), selected(cx)) else { return };
    let Some(first) = toolkit.readings.first() else { return };
    out.applies();
    let release = first.value.prefix(2);
    // A reading without a minor contradicts nothing.
    let differs = toolkit.readings.iter().find(|other| {
        other.value.major() != first.value.major() || (other.value.len() > 1 && other.value.prefix(2) != release)
    });
    let Some(other) = differs else { return };
    let title = format!("the toolkit {} is a mixture of CUDA {} and {}", toolkit.path, first.value, other.value);
    out.find(
        Finding::new(Subject::Project, title)
            .because(first.evidence.clone())
            .because(other.evidence.clone())
            .because(locked_evidence(locked))
            .help(format!("remove {} and install one toolkit anew, or choose another one", toolkit.path)),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{bare, reading};
    use crate::rules::toolkit_missing::tests::{judged, toolkit};

    #[test]
    fn parts_of_two_releases_are_found() {
        let mut facts = bare();
        let mut mixed = toolkit("/usr/local/cuda-12.4", "12.4.1");
        mixed.readings.push(reading("/usr/local/cuda-12.4/lib64/libcudart.so.12.4.127", "12.4.127"));
        facts.toolkits = vec![mixed.clone()];
        assert!(judged(judge, &facts).findings.is_empty());
        mixed.readings.push(reading("/usr/local/cuda-12.4/include/cuda.h", "12.2"));
        facts.toolkits = vec![mixed];
        let title = "the toolkit /usr/local/cuda-12.4 is a mixture of CUDA 12.4.1 and 12.2";
        assert_eq!(judged(judge, &facts).findings[0].title, title);
    }
}
