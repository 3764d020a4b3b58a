//! Rule `toolkit-variable-dead`: whether a variable that a crate reads points to a toolkit that is not there.

use super::toolkit_missing::{crates, locked_evidence};
use super::{Cx, Family, Rule, layer};
use crate::db::CrateRow;
use crate::facts::{Evidence, LockedCrate};
use crate::finding::{Finding, Judgment, Level, Subject};
use crate::shell;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "toolkit-variable-dead",
    family: Family::Cuda,
    level: Level::Warn,
    layer: layer::PROJECT,
    summary: "a variable that a crate of this project reads points to no CUDA toolkit",
    docs: "\
### What it means

A variable such as `CUDA_HOME` is set to a folder that is no CUDA toolkit (any more), and the build script of a crate \
in this lock file reads it. Variables that nothing here reads do not count.

### Why it matters

Most build scripts believe the variable and fail, or silently go on to the next place of their own list and build \
with another toolkit than was meant.

### How to fix it

Set the variable to a toolkit that is there, or unset it so that the crate looks in the usual places. An update of \
the toolkit often leaves an old version's folder behind in a shell profile.
",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    judge(cx, &crates(cx), out);
}

fn judge(cx: &Cx<'_>, crates: &[(&LockedCrate, &CrateRow)], out: &mut Judgment) {
    for selector in cx.facts.selectors.iter().filter(|selector| selector.name != "PATH") {
        let reader = crates.iter().find(|(_, row)| row.env.contains(&selector.name));
        let Some((locked, row)) = reader else { continue };
        out.applies();
        if selector.toolkit.is_some() || selector.value.trim().is_empty() {
            continue;
        }
        let title = format!("{} is {}, which is no CUDA toolkit", selector.name, selector.value);
        let finding = Finding::new(Subject::Project, title)
            .because(Evidence::env(&selector.name, &selector.value))
            .because(locked_evidence(locked))
            .row(Some(row.row_ref()));
        let there = cx.facts.toolkits.iter().find(|toolkit| toolkit.nvcc.is_some());
        out.find(match there {
            Some(toolkit) => finding.run(
                "set it to the toolkit that is there",
                format!("export {}={}", selector.name, shell::word(&toolkit.path)),
            ),
            None => finding.run(
                format!("unset it, so that {} looks in the usual places", locked.name),
                format!("unset {}", selector.name),
            ),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::ToolkitSelector;
    use crate::rules::testing::bare;
    use crate::rules::toolkit_missing::tests::{judged, toolkit};

    #[test]
    fn a_dead_variable_counts_where_it_is_read() {
        let mut facts = bare();
        let dead =
            |name: &str| ToolkitSelector { name: name.to_owned(), value: "/opt/cuda-11".to_owned(), toolkit: None };
        facts.selectors = vec![dead("CUDA_HOME")];
        assert_eq!(judged(judge, &facts).findings[0].help[0].command.as_deref(), Some("unset CUDA_HOME"));
        facts.toolkits = vec![toolkit("/usr/local/cuda-12.4", "12.4.1")];
        let said = judged(judge, &facts);
        assert_eq!(said.findings[0].help[0].command.as_deref(), Some("export CUDA_HOME=/usr/local/cuda-12.4"));
        facts.selectors = vec![dead("CUDA_ROOT")];
        assert!(judged(judge, &facts).findings.is_empty());
    }
}
