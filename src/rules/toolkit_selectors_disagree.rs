//! Rule `toolkit-selectors-disagree`: whether the variables and PATH choose the same toolkit.

use super::toolkit_missing::{compiling, locked_evidence, version};
use super::{Cx, Family, Rule, layer};
use crate::db::CrateRow;
use crate::facts::{Evidence, LockedCrate, ToolkitSelector};
use crate::finding::{Finding, Judgment, Level, Subject};
use crate::shell;
use crate::version::Dotted;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "toolkit-selectors-disagree",
    family: Family::Cuda,
    level: Level::Warn,
    layer: layer::PROJECT,
    summary: "variables and PATH choose different CUDA toolkits",
    docs: "\
### What it means

Build scripts choose a toolkit by variables such as `CUDA_HOME` and `CUDA_PATH`, and take `nvcc` from `PATH`. Here \
they lead to toolkits of different versions, and a crate of this project reads them. Variables that no crate here \
reads do not count.

### Why it matters

One part of a build may use the headers of one toolkit and the compiler or libraries of another. Each crate has its \
own order, so two crates of one build may disagree.

### How to fix it

Make all of them point to one toolkit: set the variable to the folder whose `bin` comes first on `PATH`, or the other \
way round.
",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    judge(cx, &compiling(cx), out);
}

fn judge(cx: &Cx<'_>, compiling: &[(&LockedCrate, &CrateRow)], out: &mut Judgment) {
    if compiling.is_empty() {
        return;
    }
    let reads = |name: &str| compiling.iter().any(|(_, row)| name == "PATH" || row.env.iter().any(|n| n == name));
    let mut chosen: Vec<(&ToolkitSelector, &String)> = Vec::new();
    for selector in &cx.facts.selectors {
        // The first on PATH wins; later ones choose nothing.
        if let Some(real) = &selector.toolkit
            && reads(&selector.name)
            && !chosen.iter().any(|(other, _)| other.name == selector.name)
        {
            chosen.push((selector, real));
        }
    }
    if chosen.len() < 2 {
        return;
    }
    out.applies();
    let number = |real: &String| -> Option<&Dotted> {
        cx.facts.toolkits.iter().find(|toolkit| toolkit.real == *real).and_then(version)
    };
    let differ = |a: &String, b: &String| a != b && (number(a).is_none() || number(a) != number(b));
    let (first, real) = chosen[0];
    let Some((other, other_real)) = chosen.iter().find(|(_, other)| differ(real, other)).copied() else { return };
    let name = |real: &String| match number(real) {
        Some(version) => format!("CUDA {version} in {real}"),
        None => real.clone(),
    };
    let title = format!("{} chooses {} but {} chooses {}", first.name, name(real), other.name, name(other_real));
    let (variable, wanted) = match (first.name.as_str(), other.name.as_str()) {
        ("PATH", variable) => (variable, real),
        (variable, "PATH") => (variable, other_real),
        (_, variable) => (variable, real),
    };
    out.find(
        Finding::new(Subject::Project, title)
            .because_all(chosen.iter().map(|(selector, _)| Evidence::env(&selector.name, &selector.value)))
            .because_all(compiling.first().map(|(locked, _)| locked_evidence(locked)))
            .run("make them agree", format!("export {variable}={}", shell::word(wanted))),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Facts;
    use crate::rules::testing::bare;
    use crate::rules::toolkit_missing::tests::{judged, toolkit};

    fn select(name: &str, toolkit: &str) -> ToolkitSelector {
        ToolkitSelector { name: name.to_owned(), value: toolkit.to_owned(), toolkit: Some(toolkit.to_owned()) }
    }

    fn machine(selectors: Vec<ToolkitSelector>) -> Facts {
        let mut facts = bare();
        facts.toolkits = vec![toolkit("/usr/local/cuda-12.4", "12.4.1"), toolkit("/opt/cuda", "13.0.0")];
        facts.selectors = selectors;
        facts
    }

    #[test]
    fn only_variables_that_are_read_can_disagree() {
        let facts = machine(vec![select("CUDA_HOME", "/usr/local/cuda-12.4"), select("PATH", "/opt/cuda")]);
        let said = judged(judge, &facts);
        let title = "CUDA_HOME chooses CUDA 12.4.1 in /usr/local/cuda-12.4 but PATH chooses CUDA 13.0.0 in /opt/cuda";
        assert_eq!(said.findings[0].title, title);
        assert_eq!(said.findings[0].help[0].command.as_deref(), Some("export CUDA_HOME=/opt/cuda"));
        let facts = machine(vec![select("CUDA_ROOT", "/usr/local/cuda-12.4"), select("PATH", "/opt/cuda")]);
        assert!(judged(judge, &facts).findings.is_empty());
        let facts = machine(vec![select("CUDA_HOME", "/opt/cuda"), select("PATH", "/opt/cuda")]);
        assert!(judged(judge, &facts).findings.is_empty());
    }
}
