//! Rule `tensorflow-shadowed`: something else answers to `import tensorflow` than the installed TensorFlow.

use super::{Cx, Family, Rule, layer};
use crate::facts::{Evidence, Module, PathOrigin};
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::shell;
use crate::view::EnvView;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "tensorflow-shadowed",
    family: Family::Python,
    level: Level::Deny,
    layer: layer::IMPORT,
    summary: "Something else answers to `import tensorflow` than the installed TensorFlow",
    docs: r"### What it means

Python takes the first `tensorflow` on `sys.path`. In front of the environment's own packages stand the folder of the script (the working folder, for `python -c`, `python -m`, the prompt and notebooks), then `PYTHONPATH`, and for a Python without a virtual environment the user's site-packages. A `tensorflow.py` there, or a folder `tensorflow` with an `__init__.py`, wins over the installed TensorFlow. A folder without `__init__.py` does not.

The working folder is where this check was started (`PWD` of an env file). `PYTHONSAFEPATH`, `python -P` (both from Python 3.11 on) and `python -I` leave it out; of these the check sees the variable.

### Why it matters

The import gives a module without `tf.config`, or fails; Keras on TensorFlow fails with it. `pip list` and `pip check` see nothing wrong. Where another release of TensorFlow wins, it works, with other libraries than those that were installed for it; that is a warning.

### How to fix it

Rename the file or folder, take the folder off `PYTHONPATH`, or leave the user's site-packages out with `PYTHONNOUSERSITE=1`.",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    for env in cx.view.envs() {
        let Some(module) = env.tf().and_then(|tf| tf.module.as_ref()).filter(|module| !module.namespace) else {
            continue;
        };
        out.applies();
        let (title, breaks) = if let Some(stranger) = env.tf_stranger() {
            (format!("`import tensorflow` gives {}, which is no TensorFlow", stranger.path), true)
        } else if let Some((version, own)) = other_release(&env, module) {
            (format!("`import tensorflow` gives TensorFlow {version} of {}, and hides {own}", module.entry), false)
        } else {
            continue;
        };
        let mut finding = Finding::new(Subject::Env(env.index), title)
            .because(Evidence::file(&module.path, format!("first on sys.path: {}", first(module))))
            .because_all(module.hides.first().map(|path| Evidence::file(path, "the TensorFlow that it hides")));
        finding = match module.origin.as_ref() {
            Some(PathOrigin::PythonPath) => finding.run("take the folder off PYTHONPATH", "unset PYTHONPATH"),
            Some(PathOrigin::UserSite) => {
                finding.run("leave the user's site-packages out", "export PYTHONNOUSERSITE=1")
            }
            Some(PathOrigin::Pth { file, line }) => finding.help(format!("take line {line} out of {file}")),
            _ => finding
                .run("rename it", format!("mv {} {}", shell::word(&module.path), shell::word(&renamed(&module.path)))),
        };
        out.find(if breaks {
            finding.so("`tf.config` is not there, and Keras on TensorFlow fails with it").breaks(Break::TfSees)
        } else {
            finding.at(Level::Warn)
        });
    }
}

/// The entry that wins, and what put it there.
fn first(module: &Module) -> String {
    match &module.origin {
        Some(PathOrigin::Script) => format!("{}, the working folder", module.entry),
        Some(PathOrigin::PythonPath) => format!("{}, from PYTHONPATH", module.entry),
        Some(PathOrigin::UserSite) => format!("{}, the user's site-packages", module.entry),
        Some(PathOrigin::Pth { file, line }) => format!("{}, by {file}:{line}", module.entry),
        _ => module.entry.clone(),
    }
}

/// Another release of TensorFlow that wins, and what it hides. The same release twice is no fault.
fn other_release(env: &EnvView<'_, '_>, module: &Module) -> Option<(String, String)> {
    if !matches!(module.origin, Some(PathOrigin::PythonPath | PathOrigin::UserSite)) {
        return None;
    }
    let version = module.version.as_deref()?;
    let hidden = |location: &str| {
        module.hides.iter().any(|path| path.strip_prefix(location).is_some_and(|rest| rest.starts_with('/')))
    };
    let own = env.tf_dists().into_iter().find(|dist| hidden(&dist.location))?;
    (own.version != version).then(|| (version.to_owned(), format!("the environment's own {}", own.version)))
}

fn renamed(path: &str) -> String {
    match path.rsplit_once("tensorflow") {
        Some((before, after)) => format!("{before}my_tensorflow{after}"),
        None => format!("{path}.old"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Facts, Probed};
    use crate::rules::testing;

    fn healthy() -> Facts {
        Facts { pythons: vec![testing::tensorflow("2.20.0", "12.5.1", &["sm_80"])], ..testing::machine() }
    }

    fn facts(origin: PathOrigin) -> Facts {
        let mut facts = healthy();
        let tf = facts.pythons[0].tensorflow.as_mut().unwrap();
        let hidden = tf.module.as_ref().map(|module| module.path.clone());
        tf.module = Some(Module {
            path: "/work/tensorflow.py".to_owned(),
            entry: "/work".to_owned(),
            origin: Some(origin),
            hides: hidden.into_iter().collect(),
            ..Module::default()
        });
        (tf.build, tf.caller) = (Probed::Absent, None);
        facts
    }

    #[test]
    fn a_file_in_front_is_named_with_the_way_out() {
        for (origin, help) in [
            (PathOrigin::Script, "mv /work/tensorflow.py /work/my_tensorflow.py"),
            (PathOrigin::PythonPath, "unset PYTHONPATH"),
            (PathOrigin::UserSite, "export PYTHONNOUSERSITE=1"),
        ] {
            let judgment = testing::judge(&RULE, &facts(origin));
            assert_eq!(judgment.findings.len(), 1);
            assert_eq!(judgment.findings[0].help[0].command.as_deref(), Some(help));
            assert!(judgment.findings[0].level.is_none());
            assert_eq!(judgment.findings[0].breaks, [(Subject::Env(0), Break::TfSees)]);
        }
    }

    #[test]
    fn the_installed_one_is_no_stranger() {
        let judgment = testing::judge(&RULE, &healthy());
        assert!(judgment.applied && judgment.findings.is_empty());
    }

    #[test]
    fn another_release_in_front_is_a_warning() {
        let mut facts = healthy();
        let env = &mut facts.pythons[0];
        env.dists[0].location = "/venv/lib/python3.11/site-packages".to_owned();
        let module = env.tensorflow.as_mut().unwrap().module.as_mut().unwrap();
        module.hides = vec![std::mem::replace(&mut module.path, "/old/tensorflow".to_owned())];
        (module.entry, module.origin) = ("/old".to_owned(), Some(PathOrigin::PythonPath));
        (module.version, module.dist) = (Some("2.18.0".to_owned()), None);
        let judgment = testing::judge(&RULE, &facts);
        assert_eq!(judgment.findings.len(), 1);
        assert_eq!((judgment.findings[0].level, judgment.findings[0].breaks.len()), (Some(Level::Warn), 0));
        facts.pythons[0].tensorflow.as_mut().unwrap().module.as_mut().unwrap().version = Some("2.20.0".to_owned());
        assert!(testing::silent(&RULE, &facts));
    }
}
