//! Rule `ignore-unused`: a name for what the policy says of an ignore that met nothing; it looks at no facts itself.

use super::{Cx, Family, Rule, layer};
use crate::finding::{Judgment, Level};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "ignore-unused",
    family: Family::Tool,
    level: Level::Warn,
    layer: layer::TOOL,
    summary: "an ignore in the policy matches no finding",
    docs: "\
### What it means

An entry in the policy ignores a finding that was not made in this run. The stage that applies the policy makes this \
finding, not a check of the machine.

### Why it matters

An entry that ignores nothing today may hide something tomorrow that nobody decided about. Most often the cause is \
fixed, or the name of the rule or the path in the entry is misspelt.

### How to fix it

Remove the entry, or correct it.
",
    check,
};

/// Whether an ignore counts is known only after all rules have spoken and the policy was applied, which is where this
/// rule's findings are made; the facts of a machine say nothing about it.
fn check(_cx: &Cx<'_>, _out: &mut Judgment) {}
