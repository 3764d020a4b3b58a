//! Many machines as JSON: who has which cause, and a machine whose facts could not be read; decides nothing.

use serde::Serialize;

use super::{Origin, Outcome, SCHEMA, Tool, Way};
use crate::exit::Exit;
use crate::finding::Level;
use crate::fleet::Fleet;
use crate::report::item::Item;

/// What is said of many machines together.
#[derive(Clone, Debug, Serialize)]
pub struct Summary<'a> {
    /// The schema of this document: [`SCHEMA`].
    pub schema: u32,
    /// The program that wrote it.
    pub tool: Tool,
    /// The database that the facts were held against.
    pub database: Origin,
    /// How the check of all machines ended.
    pub outcome: Outcome,
    /// The exit code.
    pub exit_code: u8,
    /// The machines in their order.
    pub machines: Vec<MachineOutcome<'a>>,
    /// What is wrong, the worst and commonest first.
    pub causes: Vec<CauseOf<'a>>,
}

/// One machine of many.
#[derive(Clone, Debug, Serialize)]
pub struct MachineOutcome<'a> {
    /// Where its facts come from.
    pub name: &'a str,
    /// How its check ended.
    pub outcome: Outcome,
    /// Why its facts could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a str>,
}

/// A finding and the machines that have it.
#[derive(Clone, Debug, Serialize)]
pub struct CauseOf<'a> {
    /// The rule.
    pub rule: &'static str,
    /// How much it counts, by the policy.
    pub level: Level,
    /// What is so, one line.
    pub title: &'a str,
    /// How many machines have it.
    pub count: usize,
    /// Their names, in their order.
    pub machines: &'a [String],
    /// What to do, the best first, as the first of them is told.
    pub help: Vec<Way<'a>>,
}

/// In place of a report: a machine whose facts could not be read.
#[derive(Clone, Debug, Serialize)]
pub struct Unread<'a> {
    /// The schema of this document: [`SCHEMA`].
    pub schema: u32,
    /// The program that wrote it.
    pub tool: Tool,
    /// How its check ended: `incomplete`.
    pub outcome: Outcome,
    /// The exit code that this machine asks for.
    pub exit_code: u8,
    /// Why its facts could not be read.
    pub error: &'a str,
}

impl<'a> Summary<'a> {
    /// The summary of a fleet, whose causes are these.
    pub fn new(fleet: &'a Fleet, causes: &'a [Item], database: Origin, exit: Exit) -> Self {
        let machines = fleet.machines.iter().map(|machine| MachineOutcome {
            name: &machine.name,
            outcome: machine.outcome,
            error: machine.error.as_deref(),
        });
        let causes = causes.iter().map(|item| CauseOf {
            rule: item.rule.id,
            level: item.level,
            title: &item.title,
            count: item.machines.len(),
            machines: &item.machines,
            help: item.help.iter().map(|(text, command)| Way { text, command: command.as_deref() }).collect(),
        });
        Self {
            schema: SCHEMA,
            tool: Tool::THIS,
            database,
            outcome: exit.into(),
            exit_code: exit.code(),
            machines: machines.collect(),
            causes: causes.collect(),
        }
    }
}

impl<'a> Unread<'a> {
    /// A machine of which only this is known.
    pub fn new(error: &'a str) -> Self {
        let exit = Exit::Usage;
        Self { schema: SCHEMA, tool: Tool::THIS, outcome: exit.into(), exit_code: exit.code(), error }
    }
}
