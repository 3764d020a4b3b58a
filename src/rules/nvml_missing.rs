//! Rule `nvml-missing`.

use super::{Cx, Family, Rule, layer};
use crate::finding::{Judgment, Level};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "nvml-missing",
    family: Family::Tool,
    level: Level::Deny,
    layer: layer::TOOL,
    summary: "to be written",
    docs: "",
    check,
};

fn check(_cx: &Cx<'_>, _out: &mut Judgment) {}
