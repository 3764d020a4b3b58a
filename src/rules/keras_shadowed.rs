//! Rule `keras-shadowed`: something else answers to `import keras` than the installed Keras.

use super::{Cx, Family, Rule, layer};
use crate::facts::{Evidence, Module, PathOrigin};
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::shell;
use crate::view::EnvView;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "keras-shadowed",
    family: Family::Keras,
    level: Level::Deny,
    layer: layer::IMPORT + 4,
    summary: "Something else answers to `import keras` than the installed Keras",
    docs: r"### What it means

Python takes the first `keras` on `sys.path`: the script's folder, `PYTHONPATH` and the user's site-packages come before the environment's own. A file `keras.py` in the project, or another copy of Keras further up, wins over the one that was installed.

### Why it matters

The program runs another Keras than `pip list` shows, or a file that is no Keras at all.

### How to fix it

Rename the file, or take the folder off `PYTHONPATH`; `python -s` leaves the user's site-packages out.",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    for env in cx.view.envs() {
        let Some(keras) = env.keras_name() else { continue };
        out.applies();
        let Some((what, fix)) = stranger(&env, keras) else { continue };
        let works = keras.version.is_some();
        let hidden = keras.hides.first();
        let mut finding = Finding::new(Subject::Env(env.index), format!("`import keras` gives {}, {what}", keras.path))
            .because(Evidence::file(&keras.path, format!("first on sys.path: {}", keras.entry)));
        if let Some(hidden) = hidden {
            finding = finding.because(Evidence::file(hidden, "the Keras that it hides"));
        }
        finding = fix.help(finding, keras);
        // Another release answers, and works: worth a warning, not a verdict.
        out.find(if works { finding.at(Level::Warn) } else { finding.breaks(Break::KerasUses) });
    }
}

/// How what answers is got out of the way.
pub(super) enum Fix {
    Rename,
    Path,
    UserSite,
}

impl Fix {
    pub(super) fn help(&self, finding: Finding, keras: &Module) -> Finding {
        match self {
            Self::Rename => finding
                .run("rename it", format!("mv {} {}", shell::word(&keras.path), shell::word(&renamed(&keras.path)))),
            Self::Path => finding.run("take the folder off PYTHONPATH", "unset PYTHONPATH"),
            Self::UserSite => finding.run("leave the user's site-packages out", "export PYTHONNOUSERSITE=1"),
        }
    }
}

/// What answers in place of the environment's Keras, and how to get it out of the way.
pub(super) fn stranger(env: &EnvView<'_, '_>, keras: &Module) -> Option<(String, Fix)> {
    let no_keras = keras.version.is_none() && keras.dist.is_none();
    match keras.origin.as_ref()? {
        // In an environment that has neither, nobody asks for it.
        PathOrigin::Script if no_keras && (env.tf().is_some() || !keras.hides.is_empty()) => {
            Some(("which is no Keras".to_owned(), Fix::Rename))
        }
        PathOrigin::PythonPath if no_keras && !keras.hides.is_empty() => {
            Some(("which is no Keras".to_owned(), Fix::Path))
        }
        origin @ (PathOrigin::PythonPath | PathOrigin::UserSite) if !keras.hides.is_empty() => {
            // The same release twice is no fault; only a different one is.
            let own = env.env.dists.iter().enumerate().find(|(index, dist)| {
                dist.name == "keras"
                    && Some(*index) != keras.dist
                    && keras.hides.iter().any(|path| path.starts_with(&dist.location))
            })?;
            let version = keras.version.as_deref()?;
            if own.1.version == version {
                return None;
            }
            let fix = if *origin == PathOrigin::PythonPath { Fix::Path } else { Fix::UserSite };
            Some((format!("Keras {version}, and hides the environment's own {}", own.1.version), fix))
        }
        _ => None,
    }
}

fn renamed(path: &str) -> String {
    match path.rsplit_once("keras") {
        Some((before, after)) => format!("{before}my_keras{after}"),
        None => format!("{path}.old"),
    }
}
