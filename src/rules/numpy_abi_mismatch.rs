//! Rule `numpy-abi-mismatch`: NumPy has another major than TensorFlow, or a package that it imports, was compiled against.

use super::keras_config_invalid::imports_keras;
use super::{Cx, Family, Rule, layer};
use crate::facts::{Requirement, UnmetImport};
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::view::{EnvView, within};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "numpy-abi-mismatch",
    family: Family::Python,
    level: Level::Deny,
    layer: layer::IMPORT + 2,
    summary: "NumPy has another major than TensorFlow, or a package that it imports, was compiled against",
    docs: r"### What it means

TensorFlow's compiled modules are bound to NumPy's binary interface. NumPy 2 changed it: a TensorFlow that requires `numpy<2` does not load under NumPy 2. Nor does it load where there is no NumPy at all, or only its metadata.

So it is with packages that TensorFlow or Keras imports. Keras asks for pandas wherever it is installed, and passes over it only where it is not: old releases of pandas and h5py end on NumPy 2 with another error, which nobody catches.

### Why it matters

`import tensorflow` fails with `numpy.core.umath failed to import` or `numpy.dtype size changed, may indicate binary incompatibility`, or finds no module of that name.

### How to fix it

Install a NumPy inside the range that TensorFlow's metadata states, or a release of the package that was compiled for NumPy 2.",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    clashes(cx, "numpy", out);
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

/// Tells of packages that are imported and do not fit NumPy, or JAX.
pub(super) fn clashes(cx: &Cx<'_>, with: &str, out: &mut Judgment) {
    for env in cx.view.envs() {
        let all = &env.env.unmet;
        for (at, unmet) in all.iter().enumerate().filter(|(_, unmet)| unmet.clashes(with)) {
            let same = |it: &&UnmetImport| it.name == unmet.name && it.clash.is_some();
            if all.iter().skip(at + 1).any(|it| same(&it)) {
                continue;
            }
            let by = |importer: &str| all.iter().filter(same).any(|it| it.importer == importer);
            let legacy = env.legacy();
            let backend = env.backend().name;
            let keras =
                if legacy { by("tf_keras") } else { by("keras") || (by("jax") && backend == "jax" && env.is_keras3()) };
            // Where Keras ends before with an `ImportError`, TensorFlow goes on without it.
            let first = env.has_backend(&backend) && all.iter().all(|it| it.clash.is_some());
            let with_keras = keras && first && (legacy || imports_keras(&env));
            let tensorflow = env.tf_alive().is_some() && (by("tensorflow") || with_keras);
            if !keras && !tensorflow {
                continue;
            }
            out.applies();
            let (name, version) = (&unmet.name, unmet.installed.as_deref().unwrap_or_default());
            let other = env.env.modules.get(with).and_then(|module| module.version.as_deref()).unwrap_or_default();
            let title = match with {
                "jax" => format!("JAX {other} does not let itself be imported with {name} {version}"),
                _ => format!("{name} {version} was compiled for NumPy 1, and NumPy is {other}"),
            };
            let asked = env.requirement(name).map_or_else(String::new, |asked| format!("{},", asked.specifier));
            let wanted = format!("'{name}{}{}'", asked.trim_start_matches(','), unmet.specifier);
            let mut finding = Finding::new(Subject::Env(env.index), title)
                .because(unmet.required.clone())
                .because(unmet.by.clone())
                .run("install one that fits", cx.view.install(env.env, &wanted));
            if keras {
                finding = finding.so("`import keras` fails").breaks(Break::KerasUses);
            }
            if tensorflow {
                finding = finding.so("`import tensorflow` fails").breaks(Break::TfSees);
            }
            out.find(finding);
        }
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
