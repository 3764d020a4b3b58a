//! Rule `cudnn-without-code-for-gpu`.

use super::{Cx, Family, Rule, layer};
use crate::finding::{Judgment, Level};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "cudnn-without-code-for-gpu",
    family: Family::Tool,
    level: Level::Deny,
    layer: layer::TOOL,
    summary: "to be written",
    docs: "",
    check,
};

fn check(_cx: &Cx<'_>, _out: &mut Judgment) {}
