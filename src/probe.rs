//! Reads a machine through its host and gives facts; judges nothing.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::thread::{Builder, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use crate::facts::{Assumption, Evidence, Facts, SCHEMA, Source, Trouble};
use crate::host::Host;
use crate::options::{Assume, Options};
use crate::probe::loader::Search;
use crate::sort::Sorted as _;
use crate::version::Dotted;

#[cfg(feature = "cuda")]
pub mod child;
pub mod cudnn;
pub mod declared;
pub mod driver;
pub mod elf;
pub mod ld_cache;
pub mod loader;
pub mod machine;
#[cfg(feature = "cuda")]
pub mod observed;
pub mod pci;
pub mod project;
pub mod python;
mod repository;
#[cfg(feature = "cli")]
pub mod sources;
pub mod symbols;
pub mod toolkit;
pub mod xid;

/// Reads everything, the parts side by side.
pub fn probe(host: &Host, options: &Options) -> Facts {
    probe_timed(host, options, || ()).0
}

/// As [`probe`], and how long each part took; as parts run side by side, the whole takes less than their sum.
///
/// What the caller has to do anyway is done on this thread, which else would wait for the others.
pub fn probe_timed(host: &Host, options: &Options, meanwhile: impl FnOnce()) -> (Facts, Times) {
    let mut times = Times::default();
    let search = Search::new(host);
    let search = &search;
    let mut facts = Facts {
        schema: SCHEMA,
        recorded: host.today().to_owned(),
        env: crate::env::VARIABLES
            .iter()
            .filter_map(|variable| Some((variable.name.to_owned(), host.env(variable.name)?.to_owned())))
            .sorted_map(),
        ..Facts::default()
    };
    (facts.assumed, facts.troubles) = wished_by_variables(host);
    let troubles = &mut facts.troubles;
    std::thread::scope(|scope| {
        // The first, since it may start Cargo, which takes longer than all the rest.
        let project = Aside::start(scope, "Cargo project", move || {
            let mut times = Times::default();
            (times.part("probe.project", || project::probe(host, options, project::CUDA_CRATES)), times)
        });
        let pythons = Aside::start(scope, "Python environments", move || {
            let mut times = Times::default();
            // A build has no business with the environments that it did not name.
            if options.building && options.python.is_empty() {
                return Default::default();
            }
            (times.part("probe.python", || python::probe(host, search, options)), times)
        });
        search.prepare();
        meanwhile();
        // The rest takes less time than the environments do, and a thread for each part would cost more than it gains.
        (facts.pci, facts.driver) = unless_it_fails("driver", troubles, || {
            let pci = times.part("probe.pci", || pci::probe(host));
            let driver = times.part("probe.driver", || driver::probe(host, search, &pci));
            (pci, driver)
        });
        let found = unless_it_fails("CUDA toolkits", troubles, || times.part("probe.toolkit", || toolkit::probe(host)));
        facts.cudnn =
            unless_it_fails("cuDNN", troubles, || times.part("probe.cudnn", || cudnn::probe(host, &found.toolkits)));
        (facts.toolkits, facts.selectors, facts.compilers) = (found.toolkits, found.selectors, found.compilers);
        facts.machine = unless_it_fails("machine", troubles, || times.part("probe.machine", || machine::probe(host)));
        facts.loader = unless_it_fails("loader", troubles, || times.part("probe.loader", || search.facts()));
        facts.declared = unless_it_fails("declared packages", troubles, || {
            let wanted = options.declared || !options.building;
            times.part("probe.declared", || wanted.then(|| declared::probe(host, options)).flatten())
        });
        let ((pythons, kernels, more), part) = pythons.finish(troubles);
        times.add(part);
        (facts.pythons, facts.kernels) = (pythons, kernels);
        let (project, part) = project.finish(troubles);
        facts.project = project;
        times.add(part);
        troubles.extend(more);
    });
    #[cfg(feature = "cli")]
    if options.sources.is_some() {
        facts.sources = times.part("probe.sources", || sources::probe(host, options));
    }
    #[cfg(feature = "cli")]
    if let Some(limit) = options.run_python {
        #[cfg(feature = "cuda")]
        if let Some(child) = &options.child {
            child.keep();
        }
        times.part("probe.observe", || python::observe(host, &mut facts.pythons, limit));
    }
    #[cfg(feature = "cuda")]
    if options.launch != crate::options::Launch::Never {
        facts.observed = times.part("probe.kernel", || observed::probe(host, options, &facts));
    }
    assume(&mut facts, &options.assume);
    (facts, times)
}

/// How long the parts of a reading took, by name.
///
/// A part that failed by a fault of the program has no time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times(pub BTreeMap<&'static str, Duration>);

impl Times {
    fn part<T>(&mut self, name: &'static str, read: impl FnOnce() -> T) -> T {
        let begin = Instant::now();
        let result = read();
        self.0.insert(name, begin.elapsed());
        result
    }

    fn add(&mut self, other: Self) {
        self.0.extend(other.0);
    }
}

/// One part of the reading: on a thread of its own, or done already where no thread could be had.
enum Aside<'scope, T> {
    Running(&'static str, ScopedJoinHandle<'scope, T>),
    Done(T),
}

impl<'scope, T: Default + Send + 'scope> Aside<'scope, T> {
    fn start<F>(scope: &'scope Scope<'scope, '_>, name: &'static str, read: F) -> Self
    where
        F: FnOnce() -> T + Copy + Send + 'scope,
    {
        match Builder::new().spawn_scoped(scope, read) {
            Ok(handle) => Self::Running(name, handle),
            Err(_) => Self::Done(read()),
        }
    }

    /// What was read; a fault of the program itself in one part leaves the others standing.
    fn finish(self, troubles: &mut Vec<Trouble>) -> T {
        match self {
            Self::Done(value) => value,
            Self::Running(name, handle) => handle.join().unwrap_or_else(|_| failed(name, troubles)),
        }
    }
}

/// What was read on this thread; a fault of the program itself in one part leaves the others standing.
fn unless_it_fails<T: Default>(name: &'static str, troubles: &mut Vec<Trouble>, read: impl FnOnce() -> T) -> T {
    // What a part leaves half done is its own: nobody looks at it any more.
    std::panic::catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| failed(name, troubles))
}

fn failed<T: Default>(name: &str, troubles: &mut Vec<Trouble>) -> T {
    let why = "reading it failed by a fault of this program".to_owned();
    troubles.push(Trouble { at: name.to_owned(), why });
    T::default()
}

/// What can be pretended, and the variable that means the same.
const WISHES: [(&str, Option<(&str, Parse)>); 4] = [
    ("driver", Some(("UV_CUDA_DRIVER_VERSION", |text| text.parse().ok()))),
    ("gpu", Some(("CUDA_COMPUTE_CAP", compute_capability))),
    ("python", None),
    ("cuda", Some(("CONDA_OVERRIDE_CUDA", |text| text.parse().ok()))),
];

/// Reads the text of a variable.
type Parse = fn(&str) -> Option<Dotted>;

/// What the variables of the machine pretend.
fn wished_by_variables(host: &Host) -> (Vec<Assumption>, Vec<Trouble>) {
    let mut assumed = Vec::new();
    let mut troubles = Vec::new();
    for (key, variable) in WISHES {
        let Some((name, parse)) = variable else { continue };
        let Some(text) = host.env_nonempty(name) else { continue };
        match parse(text.trim()) {
            Some(value) => {
                assumed.push(Assumption { key: key.to_owned(), value, evidence: Evidence::env(name, text) });
            }
            None => troubles.push(Trouble { at: name.to_owned(), why: "its value is not a version".to_owned() }),
        }
    }
    (assumed, troubles)
}

/// Lays assumptions over facts, be they just read or recorded earlier; they win over those that the facts hold.
///
/// Only the wish is recorded, and no reading is changed by it but the version of each Python with the requirements
/// that depend on it. An assumed driver also means its user-space libraries.
pub fn assume(facts: &mut Facts, wishes: &Assume) {
    for (key, variable) in WISHES {
        let wish = match key {
            "driver" => &wishes.driver,
            "gpu" => &wishes.gpu,
            "python" => &wishes.python,
            _ => &wishes.cuda,
        };
        let Some(value) = wish else { continue };
        facts.assumed.retain(|assumption| assumption.key != key);
        if let Some((name, _)) = variable {
            facts.troubles.retain(|trouble| trouble.at != name);
        }
        let evidence = Evidence::new(Source::Option, "--assume", format!("{key}={value}"));
        facts.assumed.push(Assumption { key: key.to_owned(), value: value.clone(), evidence });
    }
    // The same assumptions give the same document, whatever gave them.
    let mut given = std::mem::take(&mut facts.assumed);
    for (key, _) in WISHES {
        facts.assumed.extend(given.extract_if(.., |assumption| assumption.key == key));
    }
    facts.assumed.extend(given);
    if let Some(version) = &wishes.python {
        facts.pythons.iter_mut().for_each(|env| python::assume(env, version, &facts.machine.arch));
    }
}

/// A compute capability: `8.6`, `86`, `sm_86`, `90a`.
pub fn compute_capability(text: &str) -> Option<Dotted> {
    let text = text.strip_prefix("sm_").or_else(|| text.strip_prefix("compute_")).unwrap_or(text);
    let text = text.strip_suffix(['a', 'f']).unwrap_or(text);
    if text.contains('.') {
        return text.parse().ok();
    }
    let (major, minor) = text.split_at_checked(text.len().checked_sub(1)?)?;
    format!("{major}.{minor}").parse().ok()
}

/// Small trees for tests.
#[cfg(test)]
pub(crate) mod testing {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::PathBuf;

    use crate::host::Host;

    pub(crate) struct Tree(tempfile::TempDir);

    impl Tree {
        pub(crate) fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        pub(crate) fn path(&self, path: &str) -> PathBuf {
            self.0.path().join(path.trim_start_matches('/'))
        }

        pub(crate) fn write(&self, path: &str, text: &str) -> &Self {
            self.folder(path.rsplit_once('/').unwrap().0);
            std::fs::write(self.path(path), text).unwrap();
            self
        }

        pub(crate) fn program(&self, path: &str) -> &Self {
            self.write(path, "");
            std::fs::set_permissions(self.path(path), std::fs::Permissions::from_mode(0o755)).unwrap();
            self
        }

        pub(crate) fn folder(&self, path: &str) -> &Self {
            std::fs::create_dir_all(self.path(path)).unwrap();
            self
        }

        pub(crate) fn link(&self, target: &str, path: &str) -> &Self {
            self.folder(path.rsplit_once('/').unwrap().0);
            symlink(target, self.path(path)).unwrap();
            self
        }

        pub(crate) fn host(&self, env: &[(&str, &str)]) -> Host {
            let env = env.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            Host::rooted(self.0.path(), env).unwrap()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testing::Tree;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_empty_tree_gives_facts_that_survive_json() {
        let tree = Tree::new();
        let facts = probe(&tree.host(&[("CUDA_HOME", ""), ("SECRET", "x")]), &Options::default());
        assert_eq!(facts.env.keys().collect::<Vec<_>>(), ["CUDA_HOME"]);
        assert!(facts.pci.is_empty() && facts.toolkits.is_empty() && facts.troubles.is_empty());
        let text = serde_json::to_string(&facts).unwrap();
        assert_eq!(serde_json::from_str::<Facts>(&text).unwrap(), facts);
    }

    #[test]
    fn every_part_has_its_time() {
        let tree = Tree::new();
        let (facts, times) = probe_timed(&tree.host(&[]), &Options::default(), || ());
        let parts = ["cudnn", "declared", "driver", "loader", "machine", "pci", "project", "python", "toolkit"];
        assert!(times.0.keys().copied().eq(parts.map(|part| format!("probe.{part}"))), "{times:?}");
        assert_eq!(facts, probe(&tree.host(&[]), &Options::default()));
    }

    #[test]
    fn options_win_over_variables() {
        let tree = Tree::new();
        let env = [("CUDA_COMPUTE_CAP", "90"), ("CONDA_OVERRIDE_CUDA", "x"), ("UV_CUDA_DRIVER_VERSION", "")];
        let host = tree.host(&env);
        let facts = probe(&host, &Options::default());
        assert_eq!(facts.assumed.len(), 1);
        assert_eq!((facts.assumed[0].key.as_str(), facts.assumed[0].value.as_str()), ("gpu", "9.0"));
        assert_eq!(facts.troubles[0].at, "CONDA_OVERRIDE_CUDA");
        let mut options = Options::default();
        options.assume.gpu = Some(Dotted::new(&[8, 0]));
        options.assume.cuda = Some(Dotted::new(&[12, 4]));
        let live = probe(&host, &options);
        let says: Vec<&str> = live.assumed.iter().map(|assumption| assumption.evidence.says.as_str()).collect();
        assert_eq!(says, ["gpu=8.0", "cuda=12.4"]);
        assert!(live.troubles.is_empty());
        // Laid over what was recorded, they give what reading with them gives.
        let mut recorded = facts;
        assume(&mut recorded, &options.assume);
        assert_eq!(recorded, live);
    }

    #[test]
    fn compute_capabilities_have_several_spellings() {
        for (text, want) in [("90", "9.0"), ("8.6", "8.6"), ("120", "12.0"), ("sm_90a", "9.0")] {
            assert_eq!(compute_capability(text).unwrap().as_str(), want);
        }
        for text in ["", "9", "native", "é", "a"] {
            assert!(compute_capability(text).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn compute_capabilities_never_panic(text in "\\PC{0,12}") {
            let _ = compute_capability(&text);
        }
    }
}
