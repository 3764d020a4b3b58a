//! `explain`: what the rules mean; reads neither the machine nor the database.

use std::fmt::Write as _;

use serde::Serialize;

use super::output::{Failure, Paint, Sink};
use super::{ExplainArgs, Format, json};
use crate::exit::Exit;
use crate::finding::Level;
use crate::rules::{Family, Rule};

#[derive(Serialize)]
struct Explained {
    rule: &'static str,
    family: &'static str,
    level: Level,
    summary: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    docs: Option<&'static str>,
}

#[derive(Serialize)]
struct List {
    schema: u32,
    rules: Vec<Explained>,
}

impl Explained {
    fn new(rule: &Rule, docs: bool) -> Self {
        Self {
            rule: rule.id,
            family: family(rule.family),
            level: rule.level,
            summary: rule.summary,
            docs: docs.then(|| rule.docs.trim()),
        }
    }
}

pub(super) fn run(args: &ExplainArgs, paint: Paint) -> Result<Exit, Failure> {
    let rule = args.rule.as_deref().and_then(crate::rules::find);
    let text = match (args.format, rule) {
        (Format::Json, Some(rule)) => json(&Explained::new(rule, true), true)?,
        (Format::Json, None) => {
            let rules = crate::rules::all().iter().map(|rule| Explained::new(rule, false)).collect();
            json(&List { schema: 1, rules }, true)?
        }
        (Format::Human, Some(rule)) => page(rule),
        (Format::Human, None) => list(),
    };
    Sink { paint, output: args.print.output.as_deref() }.write(&text, Exit::Ok)
}

fn page(rule: &Rule) -> String {
    let bold = anstyle::Style::new().bold();
    let mut text = format!("{bold}{}{bold:#} ({}, {})\n", rule.id, family(rule.family), level(rule.level));
    let _ = writeln!(text, "{}\n", rule.summary);
    for line in rule.docs.trim().lines() {
        let _ = match line.strip_prefix('#') {
            Some(heading) => writeln!(text, "{bold}{}{bold:#}", heading.trim_start_matches('#').trim()),
            None => writeln!(text, "{line}"),
        };
    }
    text
}

fn list() -> String {
    let rules = crate::rules::all();
    let column = rules.iter().map(|rule| rule.id.len()).max().unwrap_or(0);
    rules.iter().fold(String::new(), |mut text, rule| {
        let _ = writeln!(text, "{:column$}  {:4}  {}", rule.id, level(rule.level), rule.summary);
        text
    })
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Note => "note",
        Level::Warn => "warn",
        Level::Deny => "deny",
    }
}

fn family(family: Family) -> &'static str {
    match family {
        Family::Driver => "driver",
        Family::Visibility => "visibility",
        Family::Gpu => "gpu",
        Family::Cuda => "cuda",
        Family::Python => "python",
        Family::Keras => "keras",
        Family::Project => "project",
        Family::Kernel => "kernel",
        Family::Tool => "tool",
    }
}
