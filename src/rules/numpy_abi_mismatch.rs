//! Rule `numpy-abi-mismatch`: numPy has another major than TensorFlow was compiled against.

use super::{Cx, Family, Rule, layer};
use crate::facts::Requirement;
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::view::{EnvView, within};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "numpy-abi-mismatch",
    family: Family::Python,
    level: Level::Deny,
    layer: layer::IMPORT + 2,
    summary: "NumPy has another major than TensorFlow was compiled against",
    docs: r"### What it means

TensorFlow's compiled modules are bound to NumPy's binary interface. NumPy 2 changed it: a TensorFlow that requires `numpy<2` does not load under NumPy 2. Nor does it load where there is no NumPy at all, or only its metadata.

### Why it matters

`import tensorflow` fails with `numpy.core.umath failed to import`, or finds no module of that name.

### How to fix it

Install a NumPy inside the range that TensorFlow's metadata states.",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    for env in cx.view.envs().filter(|env| env.tf_alive().is_some()) {
        let Some(requirement) = env.requirement("numpy") else { continue };
        out.applies();
        if lacks_package(cx, &env, requirement, "numpy", out) {
            continue;
        }
        let Some(numpy) = env.dist("numpy") else { continue };
        let major = numpy.version.split('.').next().unwrap_or_default();
        if within(&numpy.version, &requirement.specifier) != Some(false) {
            continue;
        }
        // Only another major breaks the binary interface; a newer minor outside the range usually works.
        let newer_major = major == "2"
            && within("2.0.0", &requirement.specifier) == Some(false)
            && within("1.26.4", &requirement.specifier) == Some(true);
        if !newer_major {
            continue;
        }
        let version = env.tf_version_text().unwrap_or_default();
        out.find(
            Finding::new(
                Subject::Env(env.index),
                format!(
                    "NumPy {} breaks TensorFlow {version}, which needs numpy{}",
                    numpy.version, requirement.specifier
                ),
            )
            .because(env.requirement_evidence(requirement))
            .because(EnvView::dist_evidence(numpy))
            .run("install a NumPy that fits", cx.view.install(env.env, &format!("'numpy{}'", requirement.specifier)))
            .so("`import tensorflow` fails")
            .breaks(Break::TfSees),
        );
    }
}

/// Finds that a package which every import of TensorFlow asks for is not here, whatever metadata is; whether that is so.
///
/// Where code may add folders to `sys.path`, that stays open.
pub(super) fn lacks_package(
    cx: &Cx<'_>,
    env: &EnvView<'_, '_>,
    requirement: &Requirement,
    module: &str,
    out: &mut Judgment,
) -> bool {
    // One without metadata imports as well; a folder without code is what an uninstall leaves.
    if env.env.modules.get(module).is_some_and(|module| !module.namespace) {
        return false;
    }
    if let Some(code) = &env.env.path_code {
        let missing = format!("whether {} is here: {} may add folders to sys.path", requirement.name, code.at);
        out.unknown(Subject::Env(env.index), missing, Some(Break::TfSees));
        return true;
    }
    let version = env.tf_version_text().unwrap_or_default();
    let mut title = format!("TensorFlow {version} imports {}, which {} does not have", requirement.name, env.path());
    let mut wanted = format!("'{}{}'", requirement.name, requirement.specifier);
    let dist = env.dist(&requirement.name);
    // Installers take the metadata for the package, and would do nothing.
    if let Some(dist) = dist {
        title = format!("{} {} is installed in name only: its package is gone", dist.name, dist.version);
        if within(&dist.version, &requirement.specifier) == Some(true) {
            wanted = format!("{}=={}", dist.name, dist.version);
        }
        wanted = format!("--force-reinstall --no-deps {wanted}");
    }
    out.find(
        Finding::new(Subject::Env(env.index), title)
            .because(env.requirement_evidence(requirement))
            .because_all(dist.map(EnvView::dist_evidence))
            .run("install it", cx.view.install(env.env, &wanted))
            .so("`import tensorflow` fails")
            .breaks(Break::TfSees),
    );
    true
}
