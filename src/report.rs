//! The report on one machine, in the shape that its JSON has; writes nothing and decides nothing.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::db::Database;
use crate::exit::Exit;
use crate::facts::{Evidence, Facts};
use crate::finding::{Break, Finding, Level, RowRef, Subject};
use crate::options::GpuWish;
use crate::policy::Ruling;
use crate::verdict::{Outcomes, Verdicts};
use crate::view::View;

#[cfg(feature = "cli")]
pub mod github;
#[cfg(feature = "cli")]
pub mod human;
#[cfg(feature = "cli")]
pub mod item;
#[cfg(feature = "cli")]
pub mod junit;
#[cfg(feature = "cli")]
pub mod markdown;
#[cfg(feature = "cli")]
pub mod sarif;
#[cfg(feature = "cli")]
pub mod summary;
#[cfg(feature = "cli")]
pub mod wrap;

/// The schema number of the report document.
pub const SCHEMA: u32 = 1;

/// The report on one machine.
#[derive(Clone, Debug, Serialize)]
pub struct Report<'a> {
    /// The schema of this document: [`SCHEMA`].
    pub schema: u32,
    /// The program that wrote it.
    pub tool: Tool,
    /// The database that the facts were held against.
    pub database: Origin,
    /// How the check ended.
    pub outcome: Outcome,
    /// The exit code that this machine asks for.
    pub exit_code: u8,
    /// What will run on the GPU.
    pub verdicts: &'a Verdicts,
    /// Whether there is a GPU to use, and whether one is wanted.
    pub gpu: GpuState<'a>,
    /// What was found, root causes first.
    pub findings: Vec<Reported<'a>>,
    /// What became of every rule.
    pub outcomes: Ledger<'a>,
    /// What was read.
    pub facts: &'a Facts,
    /// How long each stage and each part of the reading took, in milliseconds; only where asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timings_ms: Option<&'a BTreeMap<String, f64>>,
}

/// The program.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Tool {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
}

impl Tool {
    /// This program.
    pub const THIS: Self = Self { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") };
}

/// Which database it was.
#[derive(Clone, Debug, Serialize)]
pub struct Origin {
    /// Its revision.
    pub revision: u32,
    /// Its day.
    pub date: String,
    /// Where it came from.
    pub origin: String,
}

/// The GPU of the machine: the three states of "no GPU" stay apart.
#[derive(Clone, Debug, Serialize)]
pub struct GpuState<'a> {
    /// What a machine without a usable GPU means, by the command line or the policy.
    pub wanted: &'static str,
    /// What there is.
    pub state: GpuStanding,
    /// The rules that say so, root cause first.
    pub because: Vec<&'a str>,
}

/// What there is of a GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum GpuStanding {
    /// None is wanted, so none was looked for.
    NotWanted,
    /// There is none.
    Absent,
    /// There is one, and no program can use it.
    Unusable,
    /// There is one, and nothing speaks against it on the machine itself.
    Usable,
    /// It cannot be told.
    Unknown,
}

impl<'a> GpuState<'a> {
    fn new(facts: &Facts, db: &Database, outcomes: &'a Outcomes, wish: GpuWish) -> Self {
        let wanted = match wish {
            GpuWish::Required => "required",
            GpuWish::Optional => "optional",
            GpuWish::None => "none",
        };
        if wish == GpuWish::None {
            return Self { wanted, state: GpuStanding::NotWanted, because: Vec::new() };
        }
        let breaks = |finding: &Finding| finding.breaks.contains(&(Subject::Machine, Break::Cuda));
        let found = outcomes.findings.iter().filter(|(_, finding)| breaks(finding)).map(|(rule, _)| rule.id);
        let open = outcomes
            .unknown
            .iter()
            .filter(|(_, unknown)| unknown.subject == Subject::Machine && unknown.breaks == Some(Break::Cuda));
        let (mut because, open): (Vec<&str>, Vec<&str>) = (found.collect(), open.map(|(id, _)| *id).collect());
        let there = View::new(facts, db).has_gpu();
        let state = match (because.is_empty(), open.is_empty()) {
            (false, _) if there => GpuStanding::Unusable,
            (false, _) => GpuStanding::Absent,
            (true, true) if there => GpuStanding::Usable,
            _ => GpuStanding::Unknown,
        };
        if state == GpuStanding::Unknown {
            because = open;
        }
        because.dedup();
        Self { wanted, state, because }
    }
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Nothing was denied.
    Ok,
    /// Something was denied.
    Denied,
    /// It did not finish.
    Incomplete,
}

impl From<Exit> for Outcome {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Ok => Self::Ok,
            Exit::Denied => Self::Denied,
            Exit::Usage | Exit::Incomplete => Self::Incomplete,
        }
    }
}

/// A finding as it is reported.
#[derive(Clone, Debug, Serialize)]
pub struct Reported<'a> {
    /// The rule.
    pub rule: &'static str,
    /// How much it counts, by the policy.
    pub level: Level,
    /// What is so, one line.
    pub title: &'a str,
    /// An environment's folder, the Cargo manifest, the repository's folder, or `machine`.
    pub subject: &'a str,
    /// What shows it.
    pub evidence: &'a [Evidence],
    /// The row it was held against.
    pub row: Option<&'a RowRef>,
    /// What to do, the best first.
    pub help: Vec<Way<'a>>,
    /// What follows from it.
    pub consequences: &'a [String],
}

/// A way out.
#[derive(Clone, Debug, Serialize)]
pub struct Way<'a> {
    /// What to do, in words.
    pub text: &'a str,
    /// One command that does it.
    pub command: Option<&'a str>,
}

/// What became of every rule.
#[derive(Clone, Debug, Serialize)]
pub struct Ledger<'a> {
    /// Rules that found nothing.
    pub passed: &'a [&'static str],
    /// What could not be told.
    pub unknown: Vec<Missing<'a>>,
    /// Rules with nothing to look at.
    pub not_applicable: Vec<&'static str>,
    /// Findings that the policy ignores.
    pub ignored: Vec<Ignored<'a>>,
}

/// Something that could not be told.
#[derive(Clone, Debug, Serialize)]
pub struct Missing<'a> {
    /// The rule.
    pub rule: &'static str,
    /// What is missing.
    pub missing: &'a str,
}

/// Something that the policy ignores.
#[derive(Clone, Debug, Serialize)]
pub struct Ignored<'a> {
    /// The rule.
    pub rule: &'static str,
    /// The policy's reason.
    pub reason: &'a str,
}

impl<'a> Report<'a> {
    /// Puts a report together.
    pub fn new(
        db: &Database,
        facts: &'a Facts,
        outcomes: &'a Outcomes,
        ruling: &'a Ruling,
        timings: Option<&'a BTreeMap<String, f64>>,
    ) -> Self {
        let exit = if ruling.denied { Exit::Denied } else { Exit::Ok };
        let meta = db.meta();
        let spoke = |id: &str| ruling.findings.iter().any(|(rule, _, _)| rule.id == id);
        let findings = ruling.findings.iter().map(|(rule, level, finding)| Reported {
            rule: rule.id,
            level: *level,
            title: &finding.title,
            subject: subject(facts, &finding.subject),
            evidence: &finding.evidence,
            row: finding.row.as_ref(),
            help: finding.help.iter().map(|way| Way { text: &way.text, command: way.command.as_deref() }).collect(),
            consequences: &finding.consequences,
        });
        Self {
            schema: SCHEMA,
            tool: Tool::THIS,
            database: Origin { revision: meta.revision, date: meta.date, origin: meta.origin },
            outcome: exit.into(),
            exit_code: exit.code(),
            verdicts: &outcomes.verdicts,
            gpu: GpuState::new(facts, db, outcomes, ruling.gpu),
            findings: findings.collect(),
            outcomes: Ledger {
                passed: &outcomes.passed,
                unknown: outcomes.unknown.iter().map(|(rule, it)| Missing { rule, missing: &it.missing }).collect(),
                // The policy's own rules have nothing to look at in the facts, and may have spoken all the same.
                not_applicable: outcomes.not_applicable.iter().copied().filter(|id| !spoke(id)).collect(),
                ignored: ruling.ignored.iter().map(|(rule, reason)| Ignored { rule, reason }).collect(),
            },
            facts,
            timings_ms: timings,
        }
    }
}

/// A subject as text: an environment's folder, the Cargo manifest, the repository's folder, or `machine`.
pub fn subject<'a>(facts: &'a Facts, subject: &Subject) -> &'a str {
    match subject {
        Subject::Machine => None,
        Subject::Env(index) => facts.pythons.get(*index).map(|env| env.path.as_str()),
        Subject::Project => facts.project.as_ref().map(|project| project.manifest.as_str()),
        Subject::Declared => {
            let declared = facts.declared.as_ref().map(|declared| declared.root.as_str());
            declared.or_else(|| facts.sources.as_ref().map(|sources| sources.root.as_str()))
        }
    }
    .unwrap_or("machine")
}
