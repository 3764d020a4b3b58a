//! The policy: which findings fail the check, which are let pass and for how long; judges no machine.
//!
//! Levels come from the rule, then from the policy files, then from the command line; the later
//! wins. Verdicts are not touched: what is allowed or ignored here is still named by them.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::Evidence;
use crate::finding::{Finding, Level, Subject, Unknown};
use crate::options::{GpuWish, Options};
use crate::rules::{self, Rule};
use crate::verdict::{Answer, Outcomes, Verdicts};

pub mod fault;
pub mod read;
pub mod requirement;

pub use fault::{Fault, Faults};
pub use read::read;
pub use requirement::Requirement;

/// What the policy files say, the nearer file before the farther one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What a machine without a usable GPU means.
    pub gpu: Option<GpuWish>,
    /// What is required of the machine, by key.
    pub requires: Requires,
    /// Levels of rules; `None` lets a rule's findings pass.
    pub levels: BTreeMap<String, Option<Level>>,
    /// Findings that are let pass for a stated reason.
    pub ignores: Vec<Ignore>,
}

/// What is required of a machine, by key.
pub type Requires = BTreeMap<String, Require>;

/// A policy that requires nothing.
pub static NOTHING_REQUIRED: Requires = BTreeMap::new();

/// One line of `[requires]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Require {
    /// The requirement.
    pub requirement: Requirement,
    /// Where it stands.
    pub evidence: Evidence,
}

/// One `[[ignore]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ignore {
    /// The rule.
    pub rule: String,
    /// Why its findings are let pass.
    pub reason: String,
    /// The last day on which it holds, `YYYY-MM-DD`.
    pub expires: Option<String>,
    /// Where it stands.
    pub evidence: Evidence,
}

impl Ignore {
    fn expired(&self, today: &str) -> bool {
        // Dates of this form order as text.
        self.expires.as_deref().is_some_and(|last| today > last)
    }
}

/// What the policy made of the outcomes of one machine.
#[derive(Clone, Debug, Default)]
pub struct Ruling {
    /// The findings that stand, root causes first, each with its level.
    pub findings: Vec<(&'static Rule, Level, Finding)>,
    /// What was ignored: the rule and the reason.
    pub ignored: Vec<(&'static str, String)>,
    /// Whether the check fails.
    pub denied: bool,
    /// What a machine without a usable GPU means.
    pub gpu: GpuWish,
}

impl Policy {
    /// What a machine without a GPU means: the command line, then the policy, then "optional".
    pub fn gpu(&self, options: &Options) -> GpuWish {
        options.gpu.or(self.gpu).unwrap_or_default()
    }

    /// Applies the policy to the outcomes of one machine.
    ///
    /// `met` names the rules that found something on any of the machines that are judged together:
    /// an ignore that one of them needs is not unused.
    pub fn apply(&self, outcomes: &Outcomes, options: &Options, today: &str, met: &BTreeSet<&str>) -> Ruling {
        let mut levels = self.levels.clone();
        levels.extend(options.levels.iter().cloned());
        let mut ruling = Ruling { gpu: self.gpu(options), ..Ruling::default() };
        let own = self.own_findings(today, met);
        for (rule, finding) in outcomes.findings.iter().chain(&own) {
            let ignore = self.ignores.iter().find(|ignore| ignore.rule == rule.id && !ignore.expired(today));
            if let Some(ignore) = ignore {
                let entry = (rule.id, ignore.reason.clone());
                if !ruling.ignored.contains(&entry) {
                    ruling.ignored.push(entry);
                }
                continue;
            }
            let level = match levels.get(rule.id) {
                Some(Some(level)) => *level,
                Some(None) => continue,
                None => finding.level.unwrap_or(rule.level),
            };
            ruling.denied |= level == Level::Deny;
            ruling.findings.push((rule, level, finding.clone()));
        }
        ruling.denied |= options.strict && touches_a_verdict(&outcomes.unknown, &outcomes.verdicts);
        ruling
    }

    fn own_findings(&self, today: &str, met: &BTreeSet<&str>) -> Vec<(&'static Rule, Finding)> {
        let mut findings = Vec::new();
        for ignore in &self.ignores {
            if let Some(last) = ignore.expires.as_deref().filter(|_| ignore.expired(today)) {
                let finding = Finding::new(
                    Subject::Machine,
                    format!("the ignore of `{}` ended on {last} and no longer holds", ignore.rule),
                )
                .because(ignore.evidence.clone())
                .help("take the ignore out, or look at its reason again and set a later day");
                findings.extend(rules::find("ignore-expired").map(|rule| (rule, finding)));
            } else if !met.contains(ignore.rule.as_str()) {
                let finding = Finding::new(
                    Subject::Machine,
                    format!("nothing was found that the ignore of `{}` would let pass", ignore.rule),
                )
                .because(ignore.evidence.clone())
                .help("take the ignore out");
                findings.extend(rules::find("ignore-unused").map(|rule| (rule, finding)));
            }
        }
        findings
    }
}

fn touches_a_verdict(unknown: &[(&'static str, Unknown)], verdicts: &Verdicts) -> bool {
    let open = |answer: Answer| answer == Answer::Unknown;
    // A requirement that cannot be told to be met is not met, and what declares versions and cannot be read declares
    // nothing that is known to work.
    let counts = |unknown: &Unknown| unknown.breaks.is_some() || unknown.subject == Subject::Declared;
    unknown.iter().any(|(id, unknown)| counts(unknown) || *id == "requirement-unmet")
        || verdicts.environments.iter().any(|env| {
            env.tensorflow.as_ref().is_some_and(|tf| open(tf.sees_gpu) || open(tf.runs_on_gpu))
                || env.keras.as_ref().is_some_and(|keras| open(keras.uses_gpu))
        })
        || verdicts.project.as_ref().is_some_and(|project| open(project.builds) || open(project.runs))
}

/// The rule whose name is nearest to a mistyped one.
pub fn nearest(name: &str) -> Option<&'static str> {
    nearest_of(name, rules::all().iter().map(|rule| rule.id))
}

/// The candidate nearest to a mistyped name, where one is near.
pub fn nearest_of<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Longer texts are no slip of the fingers, and the distance costs their product.
    if name.len() > 64 {
        return None;
    }
    let name = name.to_lowercase().replace('_', "-");
    let (distance, best) = candidates
        .into_iter()
        .map(|candidate| (distance(&name, candidate), candidate))
        .min_by_key(|(cost, _)| *cost)?;
    (distance <= (name.chars().count() / 3).max(1)).then_some(best)
}

/// How many characters must be put in, taken out or changed to get from one text to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (above, left) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (column, right) in to.iter().enumerate() {
            let cost = (diagonal + usize::from(left != *right)).min(row[column] + 1).min(row[column + 1] + 1);
            diagonal = row[column + 1];
            row[column + 1] = cost;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nothing() -> Outcomes {
        Outcomes {
            findings: Vec::new(),
            passed: Vec::new(),
            unknown: Vec::new(),
            not_applicable: Vec::new(),
            verdicts: Verdicts { environments: Vec::new(), project: None, kernel: Vec::new() },
        }
    }

    fn outcomes() -> Outcomes {
        Outcomes {
            findings: vec![(
                rules::find("gpu-absent").unwrap(),
                Finding::new(Subject::Machine, "no GPU").at(Level::Deny),
            )],
            ..nothing()
        }
    }

    fn ignore(rule: &str, expires: Option<&str>) -> Ignore {
        Ignore {
            rule: rule.to_owned(),
            reason: "known".to_owned(),
            expires: expires.map(str::to_owned),
            evidence: Evidence::file("gpu-doctor.toml", "ignore").line(3),
        }
    }

    fn apply(policy: &Policy, options: &Options) -> Ruling {
        policy.apply(&outcomes(), options, "2026-11-23", &BTreeSet::from(["gpu-absent"]))
    }

    #[test]
    fn the_command_line_wins_over_the_file() {
        let mut policy = Policy::default();
        assert!(apply(&policy, &Options::default()).denied);
        policy.levels.insert("gpu-absent".to_owned(), None);
        assert!(apply(&policy, &Options::default()).findings.is_empty());
        let mut options = Options::default();
        options.levels.push(("gpu-absent".to_owned(), Some(Level::Deny)));
        options.levels.push(("gpu-absent".to_owned(), Some(Level::Warn)));
        let ruling = apply(&policy, &options);
        assert!(!ruling.denied);
        assert_eq!(ruling.findings[0].1, Level::Warn);
    }

    #[test]
    fn an_ignore_holds_through_its_last_day() {
        let policy = Policy { ignores: vec![ignore("gpu-absent", Some("2026-11-23"))], ..Policy::default() };
        let ruling = apply(&policy, &Options::default());
        assert!(ruling.findings.is_empty() && !ruling.denied);
        assert_eq!(ruling.ignored, [("gpu-absent", "known".to_owned())]);
        let policy = Policy { ignores: vec![ignore("gpu-absent", Some("2026-11-22"))], ..Policy::default() };
        let ruling = apply(&policy, &Options::default());
        assert!(ruling.denied);
        assert_eq!(ruling.findings[1].0.id, "ignore-expired");
    }

    #[test]
    fn an_ignore_of_nothing_is_said() {
        let policy = Policy { ignores: vec![ignore("gpu-lost", None)], ..Policy::default() };
        assert_eq!(apply(&policy, &Options::default()).findings[1].0.id, "ignore-unused");
    }

    #[test]
    fn strict_fails_on_what_touches_a_verdict_only() {
        let mut outcomes = nothing();
        let options = Options { strict: true, ..Options::default() };
        let denied =
            |outcomes: &Outcomes| Policy::default().apply(outcomes, &options, "2026-11-23", &BTreeSet::new()).denied;
        let mut unknown = Unknown { subject: Subject::Machine, missing: "x".to_owned(), breaks: None };
        outcomes.unknown.push(("gpu-lost", unknown.clone()));
        assert!(!denied(&outcomes));
        outcomes.unknown.push(("requirement-unmet", unknown.clone()));
        assert!(denied(&outcomes));
        outcomes.unknown.pop();
        outcomes.unknown.push(("x", Unknown { subject: Subject::Declared, ..unknown.clone() }));
        assert!(denied(&outcomes));
        outcomes.unknown.pop();
        unknown.breaks = Some(crate::finding::Break::Cuda);
        outcomes.unknown.push(("gpu-lost", unknown));
        assert!(denied(&outcomes));
    }

    #[test]
    fn near_names_are_found() {
        let names = ["gpu-absent", "gpu-lost", "keras-outdated"];
        assert_eq!(nearest_of("gpu-absnt", names), Some("gpu-absent"));
        assert_eq!(nearest_of("GPU_LOST", names), Some("gpu-lost"));
        assert_eq!(nearest_of("something", names), None);
        assert_eq!(nearest_of("", names), None);
    }
}
