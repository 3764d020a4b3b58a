//! Rule `tensorflow-python-unsupported`: tensorFlow was not made for this Python.

use super::{Cx, Family, Rule, layer};
use crate::facts::Evidence;
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::view::{EnvView, within};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "tensorflow-python-unsupported",
    family: Family::Python,
    level: Level::Deny,
    layer: layer::IMPORT,
    summary: "TensorFlow was not made for this Python",
    docs: r"### What it means

The wheel's tags or its `Requires-Python` name other Python versions than the one that runs. Compiled modules are bound to one minor version of Python.

### Why it matters

Another Python does not find the compiled modules, and the import fails; or pip finds no matching distribution at all.

### How to fix it

Use a Python that the release has wheels for, or a TensorFlow release that has wheels for this Python.",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    for env in cx.view.envs().filter(|env| env.tf_alive().is_some()) {
        let (Some(dist), Some((major, minor)), Some(version)) = (env.tf_dist(), env.python(), env.env.version.value())
        else {
            continue;
        };
        out.applies();
        let tag = format!("cp{major}{minor}");
        let tagged: Vec<&String> = dist.tags.iter().filter(|tag| tag.starts_with("cp")).collect();
        let by_tag = (!tagged.is_empty()
            && !tagged.iter().any(|other| {
                other.split('-').next().is_some_and(|python| python.split('.').any(|one| one == tag))
                    || other.contains("-abi3-")
            }))
        .then(|| Evidence::package(format!("{}/WHEEL", dist.metadata), format!("Tag: {}", tagged[0])));
        let by_requirement =
            dist.requires_python.as_deref().filter(|specifier| within(version, specifier) == Some(false)).map(
                |specifier| {
                    Evidence::package(format!("{}/METADATA", dist.metadata), format!("Requires-Python: {specifier}"))
                },
            );
        let row = env
            .tf_row()
            .filter(|row| row.python.as_deref().is_some_and(|specifier| within(version, specifier) == Some(false)));
        // A build of one's own can serve a Python for which there are no wheels; its tags then say so.
        if by_tag.is_none() && by_requirement.is_none() && (row.is_none() || !tagged.is_empty()) {
            continue;
        }
        let wheels = env.tf_row().and_then(|row| row.python.clone());
        let mut finding = Finding::new(
            Subject::Env(env.index),
            format!("TensorFlow {} has no wheel for Python {major}.{minor}", dist.version),
        )
        .because_all(by_tag)
        .because_all(by_requirement)
        .because_all(env.env.version.evidence().cloned())
        .because(EnvView::dist_evidence(dist))
        .row(env.tf_row_ref())
        .so("its compiled modules are not found, so the import fails")
        .breaks(Break::TfSees);
        finding = match wheels {
            Some(wheels) => finding.help(format!("use a Python that it has wheels for: {wheels}")),
            None => finding.help("use the Python that the wheel's tags name"),
        };
        out.find(finding);
    }
}
