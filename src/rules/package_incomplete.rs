//! Rule `package-incomplete`: code of an installed package is gone.

use super::{Cx, Family, Rule, layer};
use crate::facts::{Dist, Evidence};
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::view::EnvView;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "package-incomplete",
    family: Family::Python,
    level: Level::Warn,
    layer: layer::IMPORT + 1,
    summary: "Code of an installed package is gone",
    docs: r"### What it means

RECORD of an installed package lists modules or libraries that are not there, or of which nothing or a part is left: an installation that broke off, a full disk, or an uninstall of another package that owned the same files. Keras is looked at in every check, all other packages with `--deep`. TensorFlow and NVIDIA's libraries have rules of their own.

### Why it matters

`pip list` and `pip check` see nothing wrong, and the import fails, or a part of the package does when it is first used. Of Keras that decides whether it computes at all: Keras and its nightly own the same files, and to uninstall either leaves the other in name only.

### How to fix it

Install the same version again over what is left, without touching its dependencies.",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    for env in cx.view.envs() {
        let hollow = env.hollow_keras();
        for (index, dist) in env.env.dists.iter().enumerate() {
            let Some(record) = &dist.record else { continue };
            let of_its_own =
                dist.name.starts_with("nvidia-") || env.tf_dists().iter().any(|tf| std::ptr::eq(*tf, dist));
            if of_its_own {
                continue;
            }
            out.applies();
            let gone: Vec<_> = record.torn().filter(|(path, _)| is_code(path)).collect();
            // Of two that own the same files, each looks torn where the other is whole.
            let twins =
                env.env.dists.iter().filter(|other| other.location == dist.location && akin(other, dist)).count();
            let hollow = hollow.is_some_and(|hollow| std::ptr::eq(hollow, dist));
            if gone.is_empty() || (twins > 1 && !hollow) {
                continue;
            }
            let Dist { name, version, metadata, .. } = dist;
            let title = if hollow {
                format!("{name} {version} is installed in name only: its package is gone")
            } else {
                format!("files of {name} {version} {}", record.fault())
            };
            let mut finding = Finding::new(Subject::Env(env.index), title)
                .because(Evidence::package(format!("{metadata}/RECORD"), record.summary()))
                .because_all(gone.iter().take(3).map(|&(path, what)| Evidence::file(path, what)))
                .run(
                    "install it again",
                    cx.view.install(env.env, &format!("--force-reinstall --no-deps {name}=={version}")),
                );
            if hollow || is_imported(&env, index) {
                finding = finding
                    .at(Level::Deny)
                    .so("`import keras` fails or gives a broken package")
                    .breaks(Break::KerasUses);
            }
            out.find(finding);
        }
    }
}

/// Whether Keras of this environment comes from that distribution.
fn is_imported(env: &EnvView<'_, '_>, index: usize) -> bool {
    let legacy = env.legacy().then_some(env.env.tf_keras.as_ref()).flatten();
    legacy.or(env.env.keras.as_ref()).is_some_and(|module| module.dist == Some(index))
}

/// Whether two distributions bring the same package.
fn akin(one: &Dist, other: &Dist) -> bool {
    let stem = |dist: &Dist| dist.name.trim_end_matches("-nightly").to_owned();
    stem(one) == stem(other)
}

/// Whether an import may need it: code or libraries, not tests, and not what lies outside of the packages.
fn is_code(path: &str) -> bool {
    let code = path.rsplit_once('.').is_some_and(|(_, extension)| matches!(extension, "py" | "so"));
    let library = path.contains(".so.");
    let test = path.contains("/tests/") || path.contains("/testing/") || path.ends_with("_test.py");
    (code || library) && !test && !path.starts_with("..") && !path.starts_with('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Facts, Module, RecordCheck};
    use crate::rules::testing;

    fn facts(name: &str, missing: &[&str]) -> Facts {
        let mut env = testing::tensorflow("2.20.0", "12.5.1", &["sm_80"]);
        let record = RecordCheck {
            compared: 9,
            missing: u32::try_from(missing.len()).unwrap(),
            missing_examples: missing.iter().map(|&path| path.to_owned()).collect(),
            ..RecordCheck::default()
        };
        let dist =
            Dist { name: name.to_owned(), version: "3.15.1".to_owned(), record: Some(record), ..Dist::default() };
        env.dists.push(dist);
        if name == "keras" {
            env.keras = Some(Module { path: "/k".to_owned(), dist: Some(1), ..Module::default() });
        }
        Facts { pythons: vec![env], ..testing::machine() }
    }

    #[test]
    fn a_torn_keras_breaks_its_verdict_and_another_package_none() {
        let judgment = testing::judge(&RULE, &facts("keras", &["keras/src/ops/nn.py"]));
        assert_eq!(judgment.findings.len(), 1);
        assert_eq!((judgment.findings[0].level, judgment.findings[0].breaks.len()), (Some(Level::Deny), 1));
        let judgment = testing::judge(&RULE, &facts("rich", &["rich/console.py"]));
        assert_eq!((judgment.findings[0].level, judgment.findings[0].breaks.len()), (None, 0));
    }

    #[test]
    fn what_no_import_needs_and_what_others_tell_is_passed_over() {
        for missing in [&["rich/py.typed", "rich/tests/a.py", "../../../bin/rich"][..], &[]] {
            assert!(testing::silent(&RULE, &facts("rich", missing)));
        }
        assert!(testing::silent(&RULE, &facts("nvidia-cublas-cu12", &["nvidia/cublas/lib/libcublas.so.12"])));
        let mut twins = facts("keras", &["keras/a.py"]);
        twins.pythons[0].dists.push(Dist { name: "keras-nightly".to_owned(), ..Dist::default() });
        assert!(testing::silent(&RULE, &twins));
    }
}
