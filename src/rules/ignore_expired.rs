//! Rule `ignore-expired`: a name for what the policy says of an ignore past its day; it looks at no facts itself.

use super::{Cx, Family, Rule, layer};
use crate::finding::{Judgment, Level};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "ignore-expired",
    family: Family::Tool,
    level: Level::Warn,
    layer: layer::TOOL,
    summary: "an ignore in the policy has passed its day",
    docs: "\
### What it means

An entry in the policy that ignores a finding states a day until which it holds, and that day has passed. The stage \
that applies the policy makes this finding, not a check of the machine.

### Why it matters

The entry has no effect any more: what it ignored counts again and may fail the check.

### How to fix it

Fix what was ignored and remove the entry, or decide anew and give it a later day.
",
    check,
};

/// Whether an ignore counts is known only after all rules have spoken and the policy was applied, which is where this
/// rule's findings are made; the facts of a machine say nothing about it.
fn check(_cx: &Cx<'_>, _out: &mut Judgment) {}
