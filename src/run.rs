//! The pipeline: facts are read or taken from a document, judged, ruled on by the policy; prints nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde::Deserialize;

use crate::db::Database;
use crate::exit::Exit;
use crate::facts::{self, Facts};
use crate::host::Host;
use crate::options::{Options, Wishes};
use crate::policy::{Policy, Ruling};
use crate::report::Report;
use crate::sort::Sorted as _;
use crate::verdict::{Outcomes, judge_with};

/// The entry of the timings that is a number of compilers, not of milliseconds.
pub const STARTED: &str = "kernel.compilers_started";

/// One judged machine.
#[derive(Debug)]
pub struct Checked {
    /// Where its facts come from, where that was a document.
    pub name: Option<String>,
    /// What was read.
    pub facts: Facts,
    /// What the rules said.
    pub outcomes: Outcomes,
    /// What the policy made of it.
    pub ruling: Ruling,
    /// How long each stage and each part of the reading took, in milliseconds.
    pub timings: BTreeMap<String, f64>,
}

impl Checked {
    /// The report on it.
    pub fn report<'a>(&'a self, db: &'a Database, options: &Options) -> Report<'a> {
        Report::new(db, &self.facts, &self.outcomes, &self.ruling, options.timings.then_some(&self.timings))
    }

    /// The exit code that it asks for.
    pub fn exit(&self) -> Exit {
        if self.ruling.denied { Exit::Denied } else { Exit::Ok }
    }
}

/// Reads a machine that is to be judged by a database.
pub fn probe(host: &Host, options: &Options, db: &Database, clock: &mut Clock) -> Vec<Recorded> {
    // Of another platform, as a tree may be, the rows are read when they are asked for.
    let prepare = || db.prepare(&format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH));
    let (facts, times) = clock.stage("probe", || crate::probe::probe_timed(host, options, prepare));
    for (part, time) in times.0 {
        clock.add(part, time);
    }
    vec![Recorded { name: None, facts }]
}

/// Judges machines and applies the policy.
pub fn check(
    machines: Vec<Recorded>,
    db: &Database,
    policy: &Policy,
    options: &Options,
    today: &str,
    clock: &Clock,
) -> Vec<Checked> {
    let wishes = Wishes { gpu: policy.gpu(options), launch: options.launch };
    let judged: Vec<_> = machines
        .into_iter()
        .map(|machine| {
            let mut clock = clock.clone();
            let outcomes = clock.stage("judge", || judge_with(&machine.facts, db, wishes, &policy.requires, today));
            (machine, outcomes, clock)
        })
        .collect();
    let met: BTreeSet<&str> =
        judged.iter().flat_map(|(_, outcomes, _)| &outcomes.findings).map(|(rule, _)| rule.id).sorted_set();
    judged
        .into_iter()
        .map(|(machine, outcomes, mut clock)| {
            let ruling = clock.stage("policy", || policy.apply(&outcomes, options, today, &met));
            let mut timings = clock.total();
            // No time, but what explains one: a second run starts none.
            let observed = machine.facts.observed.as_ref().filter(|_| machine.name.is_none());
            if let Some(started) = observed.and_then(|observed| observed.compilers_started) {
                timings.insert(STARTED.to_owned(), f64::from(started));
            }
            Checked { name: machine.name, facts: machine.facts, outcomes, ruling, timings }
        })
        .collect()
}

/// Judges one machine and applies the policy; `met` names the rules that found something on any machine judged with it.
pub fn check_one(
    machine: Recorded,
    db: &Database,
    policy: &Policy,
    options: &Options,
    today: &str,
    clock: &Clock,
    met: &BTreeSet<&str>,
) -> Checked {
    let mut clock = clock.clone();
    let wishes = Wishes { gpu: policy.gpu(options), launch: options.launch };
    let outcomes = clock.stage("judge", || judge_with(&machine.facts, db, wishes, &policy.requires, today));
    let ruling = clock.stage("policy", || policy.apply(&outcomes, options, today, met));
    let timings = clock.total();
    Checked { name: machine.name, facts: machine.facts, outcomes, ruling, timings }
}

/// Measures the stages of a run.
#[derive(Clone, Debug)]
pub struct Clock {
    start: Instant,
    stages: BTreeMap<String, f64>,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self { start: Instant::now(), stages: BTreeMap::new() }
    }

    /// Runs a stage and adds its time to others of that name.
    pub fn stage<T>(&mut self, name: &str, run: impl FnOnce() -> T) -> T {
        let begin = Instant::now();
        let result = run();
        self.add(name, begin.elapsed());
        result
    }

    /// Adds a time that was measured elsewhere to others of that name.
    pub fn add(&mut self, name: &str, time: Duration) {
        *self.stages.entry(name.to_owned()).or_default() += millis(time);
    }

    fn total(&self) -> BTreeMap<String, f64> {
        let mut stages = self.stages.clone();
        stages.insert("total".to_owned(), millis(self.start.elapsed()));
        stages
    }
}

/// Milliseconds, to the microsecond.
fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// Facts that were recorded earlier.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// Where they come from.
    pub name: Option<String>,
    /// The facts.
    pub facts: Facts,
}

/// Why a text is no facts document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotFacts {
    /// It is no JSON, or not of the right shape.
    #[error("document {number}, which begins at line {line}: {why}")]
    Shape {
        /// Which document of the text, counted from 1.
        number: usize,
        /// Where the document begins.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// A newer program wrote it.
    #[error(
        "these facts have schema {0}, and this program knows schema {known}: update it with \
         `cargo install cargo-gpu-doctor`, or record the facts again with this version",
        known = facts::SCHEMA
    )]
    Newer(u64),
    /// There is nothing in it.
    #[error("no facts document in it")]
    Empty,
}

#[derive(Deserialize)]
struct Head {
    schema: Option<u64>,
}

/// Reads one facts document, which begins at a line of its stream.
///
/// # Errors
///
/// What is wrong with it.
pub fn document(bytes: &[u8], number: usize, line: usize) -> Result<Facts, NotFacts> {
    let shape = |why: String| NotFacts::Shape { number, line, why };
    let parsed = serde_json::from_slice::<Facts>(bytes);
    if let Ok(facts) = parsed
        && facts.schema == facts::SCHEMA
    {
        return Ok(facts);
    }
    // What is wrong is told from the head, and only then from the whole.
    match serde_json::from_slice::<Head>(bytes) {
        Err(error) => Err(shape(error.to_string())),
        Ok(Head { schema: Some(schema) }) if schema > u64::from(facts::SCHEMA) => Err(NotFacts::Newer(schema)),
        Ok(Head { schema }) if schema != Some(u64::from(facts::SCHEMA)) => {
            Err(shape("it has no `schema` of facts; write one with `cargo gpu-doctor facts`".to_owned()))
        }
        Ok(_) => serde_json::from_slice(bytes).map_err(|error| shape(error.to_string())),
    }
}

/// Reads facts documents, one after the other, whether each is a line of its own or spread over many.
///
/// # Errors
///
/// What is wrong with the first document that cannot be read.
pub fn documents(text: &str) -> Result<Vec<Facts>, NotFacts> {
    let mut all = Vec::new();
    let mut begin = 0;
    let mut heads = serde_json::Deserializer::from_slice(text.as_bytes()).into_iter::<Head>();
    loop {
        let number = all.len() + 1;
        begin += text[begin..].len() - text[begin..].trim_start().len();
        let line = text[..begin].matches('\n').count() + 1;
        let shape = |why: String| NotFacts::Shape { number, line, why };
        match heads.next() {
            None if all.is_empty() => return Err(NotFacts::Empty),
            None => return Ok(all),
            Some(Err(error)) => return Err(shape(error.to_string())),
            Some(Ok(Head { schema: Some(schema) })) if schema > u64::from(facts::SCHEMA) => {
                return Err(NotFacts::Newer(schema));
            }
            Some(Ok(Head { schema })) if schema != Some(u64::from(facts::SCHEMA)) => {
                return Err(shape("it has no `schema` of facts; write one with `cargo gpu-doctor facts`".to_owned()));
            }
            Some(Ok(_)) => {}
        }
        let end = heads.byte_offset();
        all.push(serde_json::from_slice(&text.as_bytes()[begin..end]).map_err(|error| shape(error.to_string()))?);
        begin = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn document() -> String {
        serde_json::to_string(&Facts { schema: 1, ..Facts::default() }).unwrap()
    }

    #[test]
    fn documents_follow_each_other() {
        let one = document();
        let pretty = serde_json::to_string_pretty(&Facts { schema: 1, ..Facts::default() }).unwrap();
        assert_eq!(documents(&format!("{one}\n\n{pretty}\n{one}\n")).unwrap().len(), 3);
        assert_eq!(documents(" \n"), Err(NotFacts::Empty));
    }

    #[test]
    fn a_newer_schema_says_what_to_do() {
        let error = documents(r#"{"schema": 2, "news": []}"#).unwrap_err();
        assert_eq!(error, NotFacts::Newer(2));
        assert!(error.to_string().contains("update"));
    }

    #[test]
    fn a_fault_names_its_document() {
        let text = format!("{}\n\n{{\"schema\": 1, \"news\": 3}}", document());
        assert!(matches!(documents(&text).unwrap_err(), NotFacts::Shape { number: 2, line: 3, .. }));
        assert!(matches!(documents("{}").unwrap_err(), NotFacts::Shape { number: 1, line: 1, .. }));
    }

    proptest! {
        #[test]
        fn nonsense_never_panics(text in "([{}\\[\\]\",:0-9a-z\n é]{0,10}|\\{\"schema\":1\\}){0,8}") {
            let _ = documents(&text);
        }
    }
}
