//! Rule `protobuf-mismatch`: protobuf lies outside the range that TensorFlow requires.

use super::numpy_abi_mismatch::lacks_package;
use super::{Cx, Family, Rule, layer};
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::version::Dotted;
use crate::view::{EnvView, lower_bound, within};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "protobuf-mismatch",
    family: Family::Python,
    level: Level::Deny,
    layer: layer::IMPORT + 3,
    summary: "protobuf lies outside the range that TensorFlow requires",
    docs: r"### What it means

TensorFlow's generated code needs the protobuf runtime that its metadata names. The installed one is older than the lowest allowed, or newer than the highest. Or there is none, or only its metadata.

### Why it matters

An older runtime lacks what the generated code imports (`cannot import name 'runtime_version'`) and the import fails. A newer one usually works with noise in the log, so that is only a warning.

### How to fix it

Install a protobuf inside the range.",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    for env in cx.view.envs().filter(|env| env.tf_alive().is_some()) {
        let Some(requirement) = env.requirement("protobuf") else { continue };
        out.applies();
        if lacks_package(cx, &env, requirement, "google.protobuf", out) {
            continue;
        }
        let Some(protobuf) = env.dist("protobuf") else { continue };
        if within(&protobuf.version, &requirement.specifier) != Some(false) {
            continue;
        }
        let older = match (lower_bound(&requirement.specifier), protobuf.version.parse::<Dotted>()) {
            (Some(bound), Ok(version)) => version < bound,
            _ => false,
        };
        let version = env.tf_version_text().unwrap_or_default();
        let finding = Finding::new(
            Subject::Env(env.index),
            format!(
                "protobuf {} does not fit TensorFlow {version}, which needs protobuf{}",
                protobuf.version, requirement.specifier
            ),
        )
        .because(env.requirement_evidence(requirement))
        .because(EnvView::dist_evidence(protobuf))
        .run("install a protobuf that fits", cx.view.install(env.env, &format!("'protobuf{}'", requirement.specifier)));
        out.find(if older {
            finding.so("`import tensorflow` fails").breaks(Break::TfSees)
        } else {
            finding.at(Level::Warn)
        });
    }
}
