//! What of a check counts at a gate that does not stand on the machine that matters: a build, a commit.
//!
//! Whether TensorFlow has a GPU on this machine is no reason to refuse either; what the project asks for is.

use crate::finding::{Break, Finding, Level};
use crate::options::GpuWish;
use crate::policy::Policy;
use crate::rules::{Family, Rule};
use crate::verdict::Outcomes;

/// Leaves the findings that are a gate's business, and what the policy says of them.
///
/// A finding that says only how the project would run is at most a warning, unless a GPU is required; where none is
/// wanted it is left out.
pub(crate) fn narrow(
    outcomes: &mut Outcomes,
    policy: &mut Policy,
    wish: GpuWish,
    counts: impl Fn(&Rule, &Finding) -> bool,
) {
    outcomes.findings.retain(|(rule, finding)| {
        rule.family != Family::Tool && (wish != GpuWish::None || !only_runs(finding)) && counts(rule, finding)
    });
    if wish != GpuWish::Required {
        for (rule, finding) in outcomes.findings.iter_mut().filter(|(_, finding)| only_runs(finding)) {
            finding.level = Some(finding.level.unwrap_or(rule.level).min(Level::Warn));
        }
    }
    // Most of what a policy ignores is no business here, and so neither unused nor expired.
    policy.ignores.retain(|ignore| outcomes.findings.iter().any(|(rule, _)| rule.id == ignore.rule));
}

/// Whether a finding on the project says only how it would run.
fn only_runs(finding: &Finding) -> bool {
    let breaks = |wanted: Break| finding.breaks.iter().any(|(_, what)| *what == wanted);
    breaks(Break::Runs) && !breaks(Break::Builds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Subject;
    use crate::rules;
    use crate::verdict::Verdicts;

    fn outcomes() -> Outcomes {
        let finding = |id: &str, finding: Finding| (rules::find(id).unwrap(), finding);
        Outcomes {
            findings: vec![
                finding("gpu-absent", Finding::new(Subject::Machine, "no GPU")),
                finding("keras-shadowed", Finding::new(Subject::Env(0), "shadowed")),
                finding("toolkit-missing", Finding::new(Subject::Project, "no nvcc").breaks(Break::Builds)),
                finding("gpu-not-targeted-by-toolkit", Finding::new(Subject::Project, "old").breaks(Break::Runs)),
            ],
            passed: Vec::new(),
            unknown: Vec::new(),
            not_applicable: Vec::new(),
            verdicts: Verdicts::default(),
        }
    }

    #[test]
    fn the_machine_counts_where_it_is_asked_for() {
        let left = |wish, all: bool| {
            let mut outcomes = outcomes();
            let counts = |_: &Rule, finding: &Finding| all || finding.subject == Subject::Project;
            narrow(&mut outcomes, &mut Policy::default(), wish, counts);
            outcomes.findings.iter().map(|(rule, it)| (rule.id, it.level)).collect::<Vec<_>>()
        };
        let runs = "gpu-not-targeted-by-toolkit";
        assert_eq!(left(GpuWish::Optional, false), [("toolkit-missing", None), (runs, Some(Level::Warn))]);
        assert_eq!(left(GpuWish::None, false), [("toolkit-missing", None)]);
        assert_eq!(left(GpuWish::Required, true).len(), 4);
        assert_eq!(left(GpuWish::Required, false), [("toolkit-missing", None), (runs, None)]);
    }
}
