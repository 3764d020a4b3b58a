//! Rule `dependency-missing`: a package that TensorFlow or Keras imports is not there.

use super::{Cx, Family, Rule, layer};
use crate::facts::{Evidence, UnmetImport};
use crate::finding::{Break, Finding, Judgment, Level, Subject};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "dependency-missing",
    family: Family::Python,
    level: Level::Deny,
    layer: layer::IMPORT + 4,
    summary: "A package that TensorFlow, Keras or its backend imports is not there",
    docs: r"### What it means

TensorFlow, Keras, or the PyTorch or JAX that Keras is set to, requires a package, one of its files imports it outside of any block, and no folder of `sys.path` holds it: it was never installed (`--no-deps`), uninstalled, or its code is gone and only the metadata stayed. Packages that are required and not surely imported are passed over. NumPy and protobuf have rules of their own.

### Why it matters

The import ends with `ModuleNotFoundError`.

### How to fix it

Install the package. Where its metadata is still there, installers have to be told to install it again.",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    for env in cx.view.envs() {
        let alive = env.tf_alive().is_some();
        if !alive && env.keras_name().is_none() {
            continue;
        }
        out.applies();
        for (importer, breaks) in [("tensorflow", Break::TfSees), ("keras", Break::KerasUses)] {
            let by = |unmet: &UnmetImport, importer: &str| {
                let same = |it: &UnmetImport| it.name == unmet.name && it.importer == importer && it.clash.is_none();
                env.env.unmet.iter().any(same)
            };
            // What both import is told once.
            let told = |unmet: &UnmetImport| importer == "keras" && alive && by(unmet, "tensorflow");
            let of = |unmet: &&UnmetImport| unmet.importer == importer && unmet.clash.is_none() && !told(unmet);
            let unmet: Vec<&UnmetImport> = env.env.unmet.iter().filter(of).collect();
            if unmet.is_empty() || (importer == "tensorflow" && !alive) {
                continue;
            }
            let names: Vec<&str> = unmet.iter().map(|unmet| unmet.name.as_str()).collect();
            let names = names.join(", ");
            if let Some(code) = &env.env.path_code {
                let missing = format!("whether {names} is here: {} may add folders to sys.path", code.at);
                out.unknown(Subject::Env(env.index), missing, Some(breaks));
                continue;
            }
            // Installers take the metadata for the package, and would do nothing.
            let again = unmet.iter().any(|unmet| unmet.installed.is_some());
            let wanted: Vec<String> = unmet
                .iter()
                .map(|unmet| match &unmet.installed {
                    Some(version) => format!("{}=={version}", unmet.name),
                    None => format!("'{}{}'", unmet.name, unmet.specifier),
                })
                .collect();
            let flags = if again { "--force-reinstall --no-deps " } else { "" };
            let title = if unmet.iter().all(|unmet| unmet.installed.is_some()) {
                format!("{importer} imports {names}, of which code is gone")
            } else {
                format!("{importer} imports {names}, which {} does not have", env.path())
            };
            let mut finding = Finding::new(Subject::Env(env.index), title);
            for unmet in unmet.iter().take(3) {
                finding = finding.because(unmet.by.clone()).because(unmet.required.clone());
                finding = finding.because_all(unmet.lacks.iter().map(|lacks| Evidence::file(lacks, "not there")));
            }
            if importer == "tensorflow" && unmet.iter().any(|unmet| by(unmet, "keras")) {
                finding = finding.so("`import keras` fails").breaks(Break::KerasUses);
            }
            out.find(
                finding
                    .run("install it", cx.view.install(env.env, &format!("{flags}{}", wanted.join(" "))))
                    .so(format!("`import {importer}` fails"))
                    .breaks(breaks),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Facts;
    use crate::rules::testing;

    fn facts(importer: &str, installed: Option<&str>) -> Facts {
        let mut env = testing::tensorflow("2.20.0", "12.5.1", &["sm_80"]);
        env.unmet = vec![UnmetImport {
            importer: importer.to_owned(),
            name: "wrapt".to_owned(),
            specifier: ">=1.11.0".to_owned(),
            installed: installed.map(str::to_owned),
            ..UnmetImport::default()
        }];
        Facts { pythons: vec![env], ..testing::machine() }
    }

    #[test]
    fn the_one_that_imports_it_is_broken() {
        for (importer, breaks) in [("tensorflow", Break::TfSees), ("keras", Break::KerasUses)] {
            let judgment = testing::judge(&RULE, &facts(importer, None));
            assert_eq!(judgment.findings[0].breaks[0].1, breaks);
        }
        let judgment = testing::judge(&RULE, &facts("tensorflow", Some("2.5.1")));
        let commands: Vec<_> = judgment.findings[0].help.iter().filter_map(|help| help.command.as_deref()).collect();
        assert!(commands[0].ends_with("--force-reinstall --no-deps wrapt==2.5.1"), "{commands:?}");
    }

    #[test]
    fn what_code_may_bring_stays_open() {
        let mut open = facts("tensorflow", None);
        open.pythons[0].path_code = Some(Evidence::file("/p/x.pth", "import x"));
        let judgment = testing::judge(&RULE, &open);
        assert_eq!((judgment.findings.len(), judgment.unknown.len()), (0, 1));
    }
}
