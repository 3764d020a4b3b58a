//! Rule `visible-devices-hides-some`.

use super::{Cx, Family, Rule, layer};
use crate::finding::{Judgment, Level};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "visible-devices-hides-some",
    family: Family::Tool,
    level: Level::Deny,
    layer: layer::TOOL,
    summary: "to be written",
    docs: "",
    check,
};

fn check(_cx: &Cx<'_>, _out: &mut Judgment) {}
