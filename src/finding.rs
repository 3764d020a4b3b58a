//! What a rule says: findings, what they break, what stays unknown.

use serde::{Deserialize, Serialize};

use crate::facts::Evidence;

/// How much a finding counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Worth knowing; never fails anything.
    Note,
    /// Likely to hurt; does not fail the check.
    Warn,
    /// Fails the check.
    Deny,
}

/// Whom a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The machine as a whole.
    Machine,
    /// A Python environment, by its index in `Facts::pythons`.
    Env(usize),
    /// The Cargo project.
    Project,
    /// What the files of the repository declare or do.
    Declared,
}

/// Which verdict a finding or an unknown thing breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Break {
    /// No program of the subject can use the GPU at all: every framework loses it.
    Cuda,
    /// TensorFlow does not list the GPU (and so cannot compute on it).
    TfSees,
    /// TensorFlow lists the GPU, but its operations do not run on it.
    TfRuns,
    /// Keras does not use the GPU; TensorFlow's own verdicts stand.
    KerasUses,
    /// The project does not build.
    Builds,
    /// The project does not run.
    Runs,
}

/// A finding: something that is so, what shows it, and what to do.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Whom it is about.
    pub subject: Subject,
    /// A level other than the rule's own, where this case weighs differently.
    pub level: Option<Level>,
    /// One line that says what is so; no full stop.
    pub title: String,
    /// What shows it, the decisive piece first.
    pub evidence: Vec<Evidence>,
    /// The row it was held against.
    pub row: Option<RowRef>,
    /// What to do, the best first.
    pub help: Vec<Help>,
    /// What follows from it, in words; shown beneath, never as findings of their own.
    pub consequences: Vec<String>,
    /// The verdicts it breaks: on the machine (all environments) or in its environment.
    pub breaks: Vec<(Subject, Break)>,
}

impl Finding {
    /// A finding that breaks nothing yet.
    pub fn new(subject: Subject, title: impl Into<String>) -> Self {
        Self {
            subject,
            level: None,
            title: title.into(),
            evidence: Vec::new(),
            row: None,
            help: Vec::new(),
            consequences: Vec::new(),
            breaks: Vec::new(),
        }
    }

    /// Adds a piece of evidence.
    #[must_use]
    pub fn because(mut self, evidence: Evidence) -> Self {
        self.evidence.push(evidence);
        self
    }

    /// Adds pieces of evidence.
    #[must_use]
    pub fn because_all(mut self, evidence: impl IntoIterator<Item = Evidence>) -> Self {
        self.evidence.extend(evidence);
        self
    }

    /// Sets the row.
    #[must_use]
    pub fn row(mut self, row: Option<RowRef>) -> Self {
        self.row = row;
        self
    }

    /// Adds a way out in words.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help.push(Help { text: text.into(), command: None });
        self
    }

    /// Adds a way out with a command to run.
    #[must_use]
    pub fn run(mut self, text: impl Into<String>, command: impl Into<String>) -> Self {
        self.help.push(Help { text: text.into(), command: Some(command.into()) });
        self
    }

    /// Adds a consequence in words.
    #[must_use]
    pub fn so(mut self, text: impl Into<String>) -> Self {
        self.consequences.push(text.into());
        self
    }

    /// Sets another level than the rule's.
    #[must_use]
    pub fn at(mut self, level: Level) -> Self {
        self.level = Some(level);
        self
    }

    /// Says that it breaks a verdict of its own subject.
    #[must_use]
    pub fn breaks(mut self, what: Break) -> Self {
        self.breaks.push((self.subject.clone(), what));
        self
    }

    /// Says that it breaks a verdict of another subject.
    #[must_use]
    pub fn breaks_for(mut self, subject: Subject, what: Break) -> Self {
        self.breaks.push((subject, what));
        self
    }
}

/// A way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Help {
    /// What to do, in words.
    pub text: String,
    /// One command that does it.
    pub command: Option<String>,
}

/// A database row that a finding was held against.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowRef {
    /// The table.
    pub table: String,
    /// The row's key, such as a version.
    pub key: String,
    /// Its primary source.
    pub source: String,
}

/// Something that a rule could not tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// Whom it is about.
    pub subject: Subject,
    /// What is missing, a fragment that fits after "could not tell: ".
    pub missing: String,
    /// The verdict that stays open because of it.
    pub breaks: Option<Break>,
}

/// What a rule said about one machine.
#[derive(Clone, Debug, Default)]
pub struct Judgment {
    /// What it found.
    pub findings: Vec<Finding>,
    /// What it could not tell.
    pub unknown: Vec<Unknown>,
    /// Whether it had something to look at.
    pub applied: bool,
}

impl Judgment {
    /// Says that there was something to look at, and it was fine (unless a finding is added).
    pub fn applies(&mut self) {
        self.applied = true;
    }

    /// Adds a finding.
    pub fn find(&mut self, finding: Finding) {
        self.applied = true;
        self.findings.push(finding);
    }

    /// Adds something that could not be told.
    pub fn unknown(&mut self, subject: Subject, missing: impl Into<String>, breaks: Option<Break>) {
        self.applied = true;
        self.unknown.push(Unknown { subject, missing: missing.into(), breaks });
    }
}
