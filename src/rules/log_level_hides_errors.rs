//! Rule `log-level-hides-errors`: a variable hides the messages that would have told.

use super::{Cx, Family, Rule, layer};
use crate::finding::{Finding, Judgment, Level, Subject};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "log-level-hides-errors",
    family: Family::Python,
    level: Level::Note,
    layer: layer::TOOL,
    summary: "A variable hides the messages that would have told",
    docs: r"### What it means

`TF_CPP_MIN_LOG_LEVEL` is 2 or 3, so TensorFlow does not print its warnings, among them the only hint at a library that does not open.

### Why it matters

It breaks nothing; it only hides. It is therefore mentioned beside another finding and never alone.

### How to fix it

Unset it while you look for the fault.",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    let Some(value) = cx.facts.env.get("TF_CPP_MIN_LOG_LEVEL") else { return };
    if !cx.view.envs().any(|env| env.tf().is_some()) {
        return;
    }
    out.applies();
    // The verdict stage keeps this only beside another finding about TensorFlow.
    if matches!(value.trim(), "2" | "3") {
        out.find(
            Finding::new(Subject::Machine, format!("TF_CPP_MIN_LOG_LEVEL={value} hides TensorFlow's own messages"))
                .because(crate::facts::Evidence::env("TF_CPP_MIN_LOG_LEVEL", value))
                .run("let it speak while you look for the fault", "unset TF_CPP_MIN_LOG_LEVEL"),
        );
    }
}
