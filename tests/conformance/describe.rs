//! Reads the list of environments; builds nothing.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// One real environment: how to make it, in which variables it runs, and what only a GPU would show.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Environment {
    /// Its name, unique.
    pub(crate) name: String,
    /// What it stands for, in a few words.
    pub(crate) about: String,
    /// Python's version, such as `3.11`; in a Debian root the root's own.
    #[serde(default)]
    pub(crate) python: String,
    /// Other versions that will do where that one is not here.
    #[serde(default)]
    pub(crate) pythons: Vec<String>,
    /// The program also asks the interpreter itself there, with `--run-python`.
    #[serde(default)]
    pub(crate) run_python: bool,
    /// The Debian release whose root it lives in; empty for the machine itself.
    #[serde(default)]
    pub(crate) root: String,
    /// Part of the set that the gate runs.
    #[serde(default)]
    pub(crate) small: bool,
    /// No finding at deny or warn may appear, and all verdicts are yes as far as they apply.
    #[serde(default)]
    pub(crate) healthy: bool,
    /// The rule that must come first in what the verdicts rest on.
    #[serde(default)]
    pub(crate) cause: Option<String>,
    /// The rule by which a verdict is no although what a stand-in shows goes well: only a GPU would show it.
    #[serde(default)]
    pub(crate) beyond: Option<String>,
    /// The stand-in libraries that are on the loader's path: `cuda`, `nvml`.
    #[serde(default = "both")]
    pub(crate) standin: Vec<String>,
    /// The GPU that is assumed, as a compute capability.
    #[serde(default = "gpu")]
    pub(crate) gpu: String,
    /// The driver that is assumed.
    #[serde(default = "driver")]
    pub(crate) driver: String,
    /// What is done in order to make it.
    #[serde(default)]
    pub(crate) steps: Vec<Step>,
    /// Variables; `{env}`, `{site}`, `{home}`, `{work}` stand for folders, `{python}` for the version.
    #[serde(default)]
    pub(crate) variables: BTreeMap<String, String>,
    /// `venv` makes a virtual environment, `system-site-packages` one that sees its base's packages.
    #[serde(default)]
    pub(crate) kind: Kind,
}

fn both() -> Vec<String> {
    vec!["cuda".into(), "nvml".into()]
}

fn gpu() -> String {
    "9.0".into()
}

fn driver() -> String {
    "580.95.05".into()
}

/// The kind of environment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// A virtual environment of its own.
    #[default]
    Venv,
    /// A virtual environment that sees its base's packages and the user site.
    SystemSitePackages,
}

/// One step on the way to an environment.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", untagged)]
pub(crate) enum Step {
    /// `uv pip install` of these requirements.
    Install {
        /// The requirements.
        install: Vec<String>,
        /// Without their dependencies.
        #[serde(default)]
        no_deps: bool,
        /// Into this folder instead of the environment.
        #[serde(default)]
        target: Option<String>,
        /// The wheels of another Python, which no installer would take for this one.
        #[serde(default)]
        for_python: Option<String>,
    },
    /// Another virtual environment of the same Python, with these requirements.
    Venv {
        /// Its folder.
        venv: String,
        /// The requirements.
        install: Vec<String>,
    },
    /// The same as the first, by pip.
    Pip {
        /// The requirements.
        pip: Vec<String>,
        /// Further arguments.
        #[serde(default)]
        args: Vec<String>,
    },
    /// Debian packages, into a Debian root.
    Debian {
        /// The packages.
        debian: Vec<String>,
    },
    /// Uninstalls by uv.
    Uninstall {
        /// The distributions.
        uninstall: Vec<String>,
    },
    /// Writes a file.
    Write {
        /// The path.
        write: String,
        /// The text.
        text: String,
    },
    /// Removes a file or folder; `*` in the last part stands for anything.
    Remove {
        /// The path.
        remove: String,
    },
    /// Makes a symbolic link.
    Link {
        /// The path of the link.
        link: String,
        /// What it points to.
        to: String,
    },
    /// Copies a file.
    Copy {
        /// The file.
        copy: String,
        /// The new path.
        to: String,
    },
    /// Makes an empty shared library with that SONAME.
    Library {
        /// The path of the library.
        library: String,
    },
    /// Makes a folder.
    Folder {
        /// The path.
        folder: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    environment: Vec<Environment>,
}

/// All environments of the list.
pub(crate) fn read() -> Vec<Environment> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/environments.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let list: List = toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut names: Vec<&str> = list.environment.iter().map(|environment| environment.name.as_str()).collect();
    names.sort_unstable();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count, "two environments have one name");
    list.environment
}
