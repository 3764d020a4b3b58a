//! Rule `declared-versions-conflict`: whether what the repository declares can work together at all, before it is installed.
//!
//! Only what is certain is told: no release in the database, and none that may come, meets all that one set asks for.

use std::collections::{BTreeMap, BTreeSet};

use pep440_rs::{Version, VersionSpecifiers};

use super::{Cx, Family, Rule, layer};
use crate::db::{Database, TensorflowRow};
use crate::facts::{DeclaredBy, DeclaredPackage, DeclaredSet, Evidence};
use crate::finding::{Finding, Judgment, Level, RowRef, Subject};
use crate::options::GpuWish;
use crate::policy::Require;
use crate::ranges::common;
use crate::sort::Sorted as _;
use crate::version::Dotted;
use crate::view::lower_bound;

mod image;
mod removed;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "declared-versions-conflict",
    family: Family::Project,
    level: Level::Deny,
    layer: layer::PROJECT + 5,
    summary: "what the repository declares cannot work together",
    docs: "\
### What it means

A requirements file, `pyproject.toml`, an environment file or a Dockerfile of this repository asks for versions of \
TensorFlow, Keras, Python, CUDA or cuDNN of which no release goes with the others, or none that `[requires]` of the \
policy allows. Files, extras, groups and stages \
that are alternatives are never held against each other, and what cannot be told for certain is passed over.

### Why it matters

The installation fails after minutes of downloads, or succeeds and TensorFlow then has no GPU or no Keras.

### How to fix it

Change one of the lines that are named. `cargo gpu-doctor db query tensorflow VERSION` shows the Python, Keras, CUDA \
and cuDNN of a release.
",
    check,
};

/// Indexes that hold no TensorFlow, Keras or NumPy of their own.
const USUAL_INDEXES: [&str; 4] = [
    "https://pypi.org/",
    "https://pypi.python.org/",
    "https://download.pytorch.org/",
    "https://storage.googleapis.com/jax-releases/",
];

/// More packages of one set than this are not compared.
const MOST: usize = 1_000;

/// Distributions of TensorFlow whose releases the database knows.
const TENSORFLOWS: [&str; 4] = ["tensorflow", "tensorflow-cpu", "tensorflow-gpu", "tensorflow-intel"];

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    let Some(declared) = &cx.facts.declared else { return };
    for trouble in &declared.troubles {
        out.unknown(Subject::Declared, format!("what {} declares: {}", trouble.at, trouble.why), None);
    }
    let mut told: BTreeSet<Vec<Evidence>> = BTreeSet::new();
    let mut open: BTreeSet<String> = BTreeSet::new();
    for set in &declared.sets {
        let asked = Asked::new(set);
        for (key, require) in cx.requires {
            if let Some(finding) = asked.policy(key, require)
                && told.insert(finding.evidence.clone())
            {
                out.find(finding);
            }
        }
        // Conda has builds of its own, and a lock file is what a resolver found.
        if matches!(set.by, DeclaredBy::Conda | DeclaredBy::Lock | DeclaredBy::Service) {
            continue;
        }
        // Some other index may have builds that nobody knows of.
        if set.indexes.iter().any(|index| !USUAL_INDEXES.iter().any(|usual| index.value.starts_with(usual))) {
            continue;
        }
        if !asked.packages.is_empty() {
            out.applies();
        }
        let mut findings = Vec::new();
        if set.together {
            findings.extend(asked.twice());
        }
        let removed = asked.removed(cx.db, &declared.sets);
        open.extend(asked.untold(cx.db).into_iter().filter(|it| removed.is_none() || !it.contains("tensorflow-gpu")));
        findings.extend(removed);
        let musl: Vec<Finding> = TENSORFLOWS.iter().filter_map(|name| asked.musl(cx.db, name)).collect();
        if musl.is_empty() {
            findings.extend(TENSORFLOWS.iter().filter_map(|name| asked.tensorflow(cx.db, name)));
            if cx.gpu != GpuWish::None {
                findings.extend(asked.image(cx.db));
            }
            findings.extend(asked.without_extra(cx.db));
        }
        findings.extend(musl);
        findings.extend(["keras", "tf-keras"].iter().filter_map(|name| asked.keras(cx.db, name)));
        for finding in findings {
            // One line may stand in several sets: in a requirements file and in the Dockerfile that installs it.
            if told.insert(finding.evidence.clone()) {
                out.find(finding);
            }
        }
    }
    for missing in open {
        out.unknown(Subject::Declared, missing, None);
    }
}

/// Whether versions of a package are held against others.
fn matters(name: &str) -> bool {
    TENSORFLOWS.contains(&name) || matches!(name, "keras" | "tf-keras" | "numpy") || name.starts_with("nvidia-")
}

/// What one set asks for, as far as it certainly holds.
struct Asked<'a> {
    set: &'a DeclaredSet,
    packages: Vec<&'a DeclaredPackage>,
}

/// A release that a package may have, or what is known of releases to come.
#[derive(Default)]
struct Candidate<'a> {
    name: String,
    /// The Pythons that it has wheels for, by platform; none where nothing is known.
    python: Vec<String>,
    /// The Keras that it asks for, by platform.
    keras: Vec<String>,
    row: Option<&'a TensorflowRow>,
    source: Option<RowRef>,
}

/// Something that a set asks for, and which candidates it rules out.
struct Demand<'a> {
    /// What it is about, in words: `keras>=3`.
    what: String,
    /// What the candidates need of it, for the title.
    needs: String,
    evidence: Vec<Evidence>,
    rules_out: Box<dyn Fn(&Candidate<'_>) -> bool + 'a>,
}

impl<'a> Asked<'a> {
    fn new(set: &'a DeclaredSet) -> Self {
        let certain = set.packages.iter().filter(|package| package.holds == Some(true) && matters(&package.name));
        let packages = certain.take(MOST).collect();
        Self { set, packages }
    }

    /// What is asked of a package; none where it comes from an address, or is somebody's own build.
    fn of(&self, name: &str) -> Vec<&'a DeclaredPackage> {
        let named: Vec<_> = self.packages.iter().filter(|package| package.name == name).copied().collect();
        if named.iter().any(|package| elsewhere(package)) { Vec::new() } else { named }
    }

    /// Whether something certainly brings a package: constraints alone install nothing.
    fn installs(&self, name: &str) -> bool {
        // Every release of TensorFlow asks for NumPy; some of Keras do not.
        let brings = |package: &DeclaredPackage| {
            package.name == name || name == "numpy" && matches!(&*package.name, "tensorflow" | "tensorflow-cpu")
        };
        self.packages.iter().any(|package| !package.constraint && brings(package))
    }

    /// Two lines that ask for different versions of one package.
    fn twice(&self) -> Option<Finding> {
        let names: BTreeSet<&str> = self.packages.iter().map(|package| package.name.as_str()).sorted_set();
        let name = names.into_iter().find(|name| contradictory(&self.of(name)) && self.installs(name))?;
        // The lines that alone contradict each other, where two of them do.
        let all = self.of(name);
        let pair = all.iter().enumerate().find_map(|(index, first)| {
            let second = all[index + 1..].iter().find(|second| contradictory(&[first, second]))?;
            Some(vec![*first, *second])
        });
        let lines = pair.unwrap_or(all);
        let wanted: Vec<String> = lines.iter().map(|package| format!("{name}{}", package.specifier)).collect();
        Some(
            Finding::new(Subject::Declared, format!("no version of {name} is both {}", wanted.join(" and ")))
                .because_all(lines.iter().map(|package| package.evidence.clone()))
                .help("ask for one of the two")
                .so("pip and uv refuse to install them together"),
        )
    }

    /// What the set asks of a TensorFlow, held against its releases.
    fn tensorflow(&self, db: &'a Database, name: &str) -> Option<Finding> {
        let asked = self.of(name);
        if !asked.iter().any(|package| !package.constraint) || contradictory(&asked) {
            return None;
        }
        let rows: Vec<&TensorflowRow> = db.tensorflow_rows().iter().filter(|row| row.package == name).collect();
        let candidates = tensorflow_candidates(&asked, &rows)?;
        let mut demands = Vec::new();
        if self.set.together {
            demands.extend(self.keras_demand());
            if name == "tensorflow" {
                demands.extend(self.legacy_demand(db));
                demands.extend(TENSORFLOWS[1..].iter().filter_map(|other| self.other_demand(db, other)));
                demands.extend(self.cuda_demands(&asked));
            }
        }
        demands.extend(self.python_demand());
        conflict(name, &asked, &candidates, &demands)
    }

    /// TensorFlow and Keras of which the database knows no release that is asked for: what they go with is open.
    fn untold(&self, db: &Database) -> Vec<String> {
        let untold = |name: &&str| {
            let asked = self.of(name);
            if !asked.iter().any(|package| !package.constraint) || contradictory(&asked) {
                return None;
            }
            let specifiers = specifiers(&asked);
            let tensorflow = db.tensorflow_rows().iter().map(|row| (row.package.as_str(), &row.version));
            let keras = db.keras_rows().iter().map(|row| (row.package.as_str(), &row.version));
            let mut rows = tensorflow.chain(keras).filter(|(package, _)| package == name);
            let fits = |version: &Version| {
                common(specifiers.iter().copied().chain([format!("=={version}").as_str()])) != Some(false)
            };
            let first = asked.first()?;
            (!specifiers.join("").is_empty() && !rows.any(|(_, version)| fits(version))).then(|| {
                let line = first.evidence.line.map_or_else(String::new, |line| format!(":{line}"));
                format!(
                    "what {name}{} goes with ({}{line}): the database knows no such release",
                    specifiers.join(","),
                    first.evidence.at
                )
            })
        };
        TENSORFLOWS.iter().chain(&["keras", "tf-keras"]).filter_map(untold).collect()
    }

    fn keras_demand(&self) -> Option<Demand<'a>> {
        let keras = self.of("keras");
        if keras.is_empty() || contradictory(&keras) {
            return None;
        }
        let evidence = keras.iter().map(|package| package.evidence.clone()).collect();
        let specifiers = specifiers(&keras);
        Some(Demand {
            what: format!("keras{}", specifiers.join(",")),
            needs: "keras".to_owned(),
            evidence,
            rules_out: Box::new(move |candidate| none_meets(&candidate.keras, &specifiers)),
        })
    }

    /// Another distribution of TensorFlow asks for a Keras too.
    fn other_demand(&self, db: &'a Database, name: &str) -> Option<Demand<'a>> {
        let asked = self.of(name);
        if !asked.iter().any(|package| !package.constraint) || contradictory(&asked) {
            return None;
        }
        let rows: Vec<&TensorflowRow> = db.tensorflow_rows().iter().filter(|row| row.package == name).collect();
        let others = tensorflow_candidates(&asked, &rows)?;
        let apart = |mine: &[String], theirs: &[String]| {
            !theirs.is_empty() && theirs.iter().all(|keras| none_meets(mine, &[keras.as_str()]))
        };
        Some(Demand {
            what: format!("{name}{}", specifiers(&asked).join(",")),
            needs: "keras".to_owned(),
            evidence: asked.iter().map(|package| package.evidence.clone()).collect(),
            rules_out: Box::new(move |candidate| others.iter().all(|other| apart(&candidate.keras, &other.keras))),
        })
    }

    /// `tf-keras` goes with one minor of TensorFlow.
    fn legacy_demand(&self, db: &'a Database) -> Option<Demand<'a>> {
        let legacy = self.of("tf-keras");
        if !legacy.iter().any(|package| !package.constraint) || contradictory(&legacy) {
            return None;
        }
        let specifiers = specifiers(&legacy);
        let rows: Vec<_> = db.keras_rows().iter().filter(|row| row.package == "tf-keras").collect();
        let fits = |version: &str| common(specifiers.iter().copied().chain([version])) != Some(false);
        let wanted: Vec<&str> = rows
            .iter()
            .filter(|row| fits(&format!("=={}", row.version)))
            .map(|row| row.tensorflow.as_deref().unwrap_or_default())
            .collect();
        let newest = rows.last()?.version.clone();
        // A release that nobody knows yet, or one between those that are known.
        if wanted.is_empty()
            || wanted.contains(&"")
            || fits(&format!(">{newest}"))
            || fits(&format!("<{}", rows.first()?.version))
        {
            return None;
        }
        let evidence = legacy.iter().map(|package| package.evidence.clone()).collect();
        let what = format!("tf-keras{}", specifiers.join(","));
        Some(Demand {
            what,
            needs: "tf-keras".to_owned(),
            evidence,
            rules_out: Box::new(move |candidate| match candidate.row {
                Some(row) => {
                    let version = format!("=={}", row.version);
                    wanted.iter().all(|wanted| common([*wanted, version.as_str()]) == Some(false))
                }
                // Newer than all that is known, and `tf-keras` is not.
                None => true,
            }),
        })
    }

    /// Pins of NVIDIA's packages against what the extra `and-cuda` asks for.
    fn cuda_demands(&self, asked: &[&'a DeclaredPackage]) -> Vec<Demand<'a>> {
        if !asked.iter().any(|package| package.extras.iter().any(|extra| extra == "and-cuda")) {
            return Vec::new();
        }
        let names: BTreeSet<&str> =
            self.packages.iter().map(|it| it.name.as_str()).filter(|name| name.starts_with("nvidia-")).sorted_set();
        let demand = |name: &'a str| {
            let pinned = self.of(name);
            if pinned.is_empty() || contradictory(&pinned) {
                return None;
            }
            let specifiers = specifiers(&pinned);
            Some(Demand {
                what: format!("{name}{}", specifiers.join(",")),
                needs: name.to_owned(),
                evidence: pinned.iter().map(|package| package.evidence.clone()).collect(),
                rules_out: Box::new(move |candidate| {
                    let needs = candidate.row.and_then(|row| row.and_cuda.get(name));
                    needs.is_some_and(|needs| common(specifiers.iter().copied().chain([needs.as_str()])) == Some(false))
                }),
            })
        };
        names.into_iter().filter_map(demand).collect()
    }

    fn python_demand(&self) -> Option<Demand<'a>> {
        let pythons = &self.set.python;
        let specifiers: Vec<&str> = pythons.iter().map(|python| python.value.as_str()).collect();
        if pythons.is_empty() || common(specifiers.iter().copied()) != Some(true) {
            return None;
        }
        let every = self.set.every_python;
        // Whether the set allows a Python that is too old. Before 3.8 wheels and Requires-Python differ.
        let oldest = Dotted::new(&[3, 8]);
        let too_old = move |needs: &String, specifiers: &[&str]| {
            let below = lower_bound(needs).filter(|floor| *floor >= oldest).map(|floor| format!("<{floor}"));
            below.is_some_and(|below| common(specifiers.iter().copied().chain([&*below])) == Some(true))
        };
        let all = if every { "all of " } else { "" };
        Some(Demand {
            what: format!("{all}Python {}", specifiers.join(",").trim_start_matches("==").trim_end_matches(".*")),
            needs: "Python".to_owned(),
            evidence: pythons.iter().map(|python| python.evidence.clone()).collect(),
            rules_out: Box::new(move |candidate| {
                let mut needs = candidate.python.iter();
                none_meets(&candidate.python, &specifiers)
                    || every && needs.len() > 0 && needs.all(|needs| too_old(needs, &specifiers))
            }),
        })
    }

    /// What the set asks of something, held against what the policy requires of it.
    fn policy(&self, key: &str, require: &Require) -> Option<Finding> {
        let wanted = require.requirement.pep440();
        let framework = |name: &&str| self.of(name).iter().any(|package| !package.constraint);
        let versions = |versions: &[(&'a str, &Evidence)], name: &str| {
            let values: Vec<&str> =
                versions.iter().map(|(value, _)| *value).filter(|value| !value.is_empty()).collect();
            // What contradicts itself is told of elsewhere.
            if common(values.iter().copied()) != Some(true)
                || common(values.iter().copied().chain([wanted.as_str()])) != Some(false)
            {
                return None;
            }
            let title =
                format!("{name}{} is declared, and the policy requires {}", values.join(","), require.requirement);
            Some(
                Finding::new(Subject::Declared, title)
                    .because_all(versions.iter().map(|(_, evidence)| (*evidence).clone()))
                    .because(require.evidence.clone())
                    .help("change one of the two lines"),
            )
        };
        let package = |name: &str| {
            let asked = self.of(name);
            let asked: Vec<_> = asked.iter().map(|it| (it.specifier.as_str(), &it.evidence)).collect();
            versions(&asked, name)
        };
        match key {
            "tensorflow" => TENSORFLOWS.iter().filter(|name| framework(name)).find_map(|name| package(name)),
            "keras" if framework(&"keras") => package("keras"),
            // The Python of something else is none of the policy's business.
            "python" if framework(&"keras") || TENSORFLOWS.iter().any(framework) => {
                let pythons = self.set.python.iter().map(|python| (python.value.as_str(), &python.evidence));
                versions(&pythons.collect::<Vec<_>>(), "Python ")
            }
            _ => None,
        }
    }

    /// The extra `and-cuda` of releases that do not have it: pip says so in passing and installs without.
    fn without_extra(&self, db: &'a Database) -> Option<Finding> {
        let asked = self.of("tensorflow");
        let one = asked.iter().find(|package| package.extras.iter().any(|extra| extra == "and-cuda"))?;
        let here = |row: &&TensorflowRow| row.package == "tensorflow";
        let rows: Vec<&TensorflowRow> = db.tensorflow_rows().iter().filter(here).collect();
        let first = rows.iter().find(|row| !row.and_cuda.is_empty())?;
        let candidates = tensorflow_candidates(&asked, &rows)?;
        let before = |it: &Candidate<'_>| it.row.is_some_and(|row| row.version < first.version);
        candidates.iter().all(before).then(|| {
            let wanted = specifiers(&asked).join(",");
            Finding::new(Subject::Declared, format!("no tensorflow{wanted} has an extra and-cuda"))
                .at(Level::Note)
                .because(one.evidence.clone())
                .row(candidates.last().and_then(|it| it.source.clone()))
                .so("it is installed without CUDA's libraries: those of the system have to serve")
                .help(format!("the extra exists since tensorflow {}", first.version))
        })
    }

    /// What the set asks of a Keras, held against its releases: the Python alone.
    fn keras(&self, db: &'a Database, name: &str) -> Option<Finding> {
        let asked = self.of(name);
        if !asked.iter().any(|package| !package.constraint) || contradictory(&asked) {
            return None;
        }
        let rows: Vec<_> = db.keras_rows().iter().filter(|row| row.package == name).collect();
        let known = rows.iter().map(|row| Candidate {
            name: format!("{name} {}", row.version),
            python: row.python.iter().cloned().collect(),
            keras: Vec::new(),
            row: None,
            source: Some(row.row_ref()),
        });
        let versions: Vec<String> = rows.iter().map(|row| row.version.to_string()).collect();
        let candidates = candidates(&asked, known.collect(), &versions, name)?;
        conflict(name, &asked, &candidates, &[self.python_demand()?])
    }
}

/// Whether it is no release of the package index: it comes from an address, or a local version (`1.15.5+nv22.12`) says so.
fn elsewhere(package: &DeclaredPackage) -> bool {
    package.address || package.specifier.contains('+')
}

fn specifiers<'a>(packages: &[&'a DeclaredPackage]) -> Vec<&'a str> {
    packages.iter().map(|package| package.specifier.as_str()).filter(|text| !text.is_empty()).collect()
}

/// Whether what is asked for leaves nothing of any of several needs; no where nothing is needed.
fn none_meets(needs: &[String], specifiers: &[&str]) -> bool {
    let missed = |needs: &String| common(specifiers.iter().copied().chain([needs.as_str()])) == Some(false);
    !needs.is_empty() && needs.iter().all(missed)
}

fn contradictory(packages: &[&DeclaredPackage]) -> bool {
    common(packages.iter().map(|package| package.specifier.as_str())) == Some(false)
}

/// The releases of a TensorFlow that may be meant; `None` where others may be meant that are not known.
fn tensorflow_candidates<'a>(asked: &[&DeclaredPackage], rows: &[&'a TensorflowRow]) -> Option<Vec<Candidate<'a>>> {
    // By release, over all platforms: what works on one of them is no conflict. On Windows the package itself asks for
    // nothing and leaves that to another one.
    let mut releases: BTreeMap<&Version, Vec<&'a TensorflowRow>> = BTreeMap::new();
    for row in rows {
        releases.entry(&row.version).or_default().push(row);
    }
    let versions: Vec<String> = releases.keys().map(ToString::to_string).collect();
    let known = releases.into_values().filter_map(|rows| {
        let first = rows.iter().find(|row| row.platform == "linux-x86_64").or(rows.first())?;
        Some(Candidate {
            name: format!("{} {}", first.package, first.version),
            python: rows.iter().filter_map(|row| row.python.clone()).collect(),
            keras: rows.iter().filter_map(|row| row.keras.clone()).collect(),
            row: Some(first),
            source: Some(first.row_ref()),
        })
    });
    candidates(asked, known.collect(), &versions, &rows.first()?.package)
}

/// The known releases that fit what is asked, and one that stands for those to come.
///
/// `versions` are those of the database in their order.
fn candidates<'a>(
    asked: &[&DeclaredPackage],
    mut known: Vec<Candidate<'a>>,
    versions: &[String],
    name: &str,
) -> Option<Vec<Candidate<'a>>> {
    let wanted = specifiers(asked);
    let fits = |more: &str| common(wanted.iter().copied().chain([more]));
    // Releases before the first row: nothing is known of them.
    if fits(&format!("<{}", versions.first()?)) != Some(false) {
        return None;
    }
    let newest = versions.last()?;
    let newer = fits(&format!(">{}", newest.split(['r', 'a', 'b']).next().unwrap_or(newest)))?;
    // Floors rise and never fall: what the newest needs at least, later ones need too.
    let floor = |of: &dyn Fn(&Candidate<'_>) -> Vec<String>| -> Vec<String> {
        let stated = known.iter().rev().map(of).find(|stated| !stated.is_empty()).unwrap_or_default();
        let bounds: Vec<Option<Dotted>> = stated.iter().map(|stated| lower_bound(stated)).collect();
        // One without a floor allows everything.
        if bounds.contains(&None) { Vec::new() } else { bounds.iter().flatten().map(|it| format!(">={it}")).collect() }
    };
    let (python, keras) = (floor(&|candidate| candidate.python.clone()), floor(&|candidate| candidate.keras.clone()));
    // The newest may be pre-releases that ask for nightly builds of the other. Where one of them is asked for, nothing
    // is known of what it goes with.
    let asks_for_one = |text: &&str| {
        let parsed = text.parse::<VersionSpecifiers>();
        parsed.is_ok_and(|all| all.iter().any(|one| one.version().any_prerelease()))
    };
    let keras = if wanted.iter().any(asks_for_one) { Vec::new() } else { keras };
    for candidate in known.iter_mut().rev().take_while(|candidate| candidate.keras.is_empty()) {
        candidate.keras.clone_from(&keras);
    }
    let to_come = newer.then(|| Candidate {
        name: format!("a {name} newer than {newest}"),
        python,
        keras,
        row: None,
        source: None,
    });
    let version_of =
        |candidate: &Candidate<'_>| candidate.name.rsplit(' ').next().map(|version| fits(&format!("=={version}")));
    let mut all = Vec::new();
    for candidate in known {
        match version_of(&candidate)? {
            Some(true) => all.push(candidate),
            Some(false) => {}
            None => return None,
        }
    }
    // A release that the database lacks is no conflict.
    if all.is_empty() {
        return None;
    }
    all.extend(to_come);
    Some(all)
}

/// The finding, where demands rule out every candidate.
fn conflict(
    name: &str,
    asked: &[&DeclaredPackage],
    candidates: &[Candidate<'_>],
    demands: &[Demand<'_>],
) -> Option<Finding> {
    // As few demands as together leave nothing: each of them rules out what no other one does.
    let all_killed = |demands: &[&Demand<'_>]| {
        candidates.iter().all(|candidate| demands.iter().any(|demand| (demand.rules_out)(candidate)))
    };
    let mut decisive: Vec<&Demand<'_>> = demands.iter().collect();
    if !all_killed(&decisive) {
        return None;
    }
    if let Some(one) = demands.iter().find(|demand| all_killed(&[demand])) {
        decisive = vec![one];
    }
    for index in (0..decisive.len()).rev() {
        let mut fewer = decisive.clone();
        fewer.remove(index);
        if all_killed(&fewer) {
            decisive = fewer;
        }
    }
    let wanted = format!("{name}{}", specifiers(asked).join(","));
    let what: Vec<&str> = decisive.iter().map(|demand| demand.what.as_str()).collect();
    // The release that pip would take is the one to speak of, of those that a demand alone stands in the way of.
    let released = |it: &Candidate<'_>| it.row.is_none_or(|row| !row.version.any_prerelease()) && it.source.is_some();
    let alone = |demand: &Demand<'_>| {
        let only = |candidate: &&Candidate<'_>| {
            let others = decisive.iter().filter(|other| !std::ptr::eq(**other, demand));
            (demand.rules_out)(candidate) && !others.into_iter().any(|other| (other.rules_out)(candidate))
        };
        let of: Vec<&Candidate<'_>> = candidates.iter().filter(only).collect();
        let newest = of.iter().rev().find(|it| released(it)).or(of.last()).copied();
        (of, newest)
    };
    let mut finding = Finding::new(Subject::Declared, format!("no {wanted} goes with {}", what.join(" and ")))
        .because_all(asked.iter().map(|package| package.evidence.clone()))
        .because_all(decisive.iter().flat_map(|demand| demand.evidence.iter().cloned()))
        .row(decisive.first().and_then(|demand| alone(demand).1).and_then(|newest| newest.source.clone()));
    let lines = match finding.evidence.len() {
        2 => "one of the two lines",
        3 => "one of the three lines",
        _ => "one of these lines",
    };
    for demand in &decisive {
        let (of, newest) = alone(demand);
        let Some(newest) = newest else { continue };
        let needs = match demand.needs.as_str() {
            "Python" => newest.python.first().map(|python| {
                // An older release may take a Python that the newest one does not.
                let floor = |it: &Candidate<'_>| it.python.iter().filter_map(|python| lower_bound(python)).min();
                let older = of.iter().rev().filter(|it| released(it) && floor(it) < floor(newest));
                let below = floor(newest).is_some_and(|floor| {
                    let python = vec![format!(">={floor}")];
                    (demand.rules_out)(&Candidate { python, ..Candidate::default() })
                });
                let lowest = older.min_by_key(|it| floor(it)).filter(|_| below);
                let lowest = lowest.and_then(|it| Some(format!(", and {} Python {}", it.name, it.python.first()?)));
                format!("Python {python}{}", lowest.unwrap_or_default())
            }),
            "keras" => newest.keras.first().map(|keras| format!("keras{keras}")),
            "tf-keras" => None,
            other => newest.row.and_then(|row| row.and_cuda.get(other)).map(|needs| format!("{other}{needs}")),
        };
        finding = match needs {
            Some(needs) => finding.help(format!("{} needs {needs}: change {lines}", newest.name)),
            None => {
                finding.help(format!("{} goes with another {name}: give both the same minor version", demand.needs))
            }
        };
    }
    Some(finding)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Declared, DeclaredImage, DeclaredVersion, Facts, Trouble};
    use crate::rules::testing::{bare, silent, titles, unknowns};

    /// A set of packages as a requirements file would have them; `python …` is the Python.
    pub(super) fn set(lines: &[&str]) -> DeclaredSet {
        let mut set = DeclaredSet { file: "/r/requirements.txt".to_owned(), together: true, ..DeclaredSet::default() };
        for (number, line) in (1..).zip(lines) {
            let evidence = Evidence::file("/r/requirements.txt", line).line(number).column(1);
            if let Some(python) = line.strip_prefix("python ") {
                set.python.push(DeclaredVersion { value: python.to_owned(), evidence });
                continue;
            }
            let parsed = crate::probe::python::requirement::parse(line).unwrap();
            set.packages.push(DeclaredPackage {
                name: parsed.name,
                extras: parsed.extras,
                specifier: parsed.specifier,
                holds: Some(true),
                evidence,
                ..DeclaredPackage::default()
            });
        }
        set
    }

    /// A stage on an image with packages.
    pub(super) fn stage(image: &str, lines: &[&str]) -> DeclaredSet {
        let (name, tag) = image.split_once(':').unwrap();
        let evidence = Evidence::file("/r/Dockerfile", format!("FROM {image}")).line(1).column(1);
        let image = Some(DeclaredImage { name: name.to_owned(), tag: Some(tag.to_owned()), evidence });
        DeclaredSet { by: DeclaredBy::Stage, image, together: false, complete: true, ..set(lines) }
    }

    pub(super) fn said(sets: Vec<DeclaredSet>) -> Vec<String> {
        let mut facts = bare();
        facts.declared = Some(Declared { root: "/r".to_owned(), sets, ..Declared::default() });
        titles(&RULE, &facts)
    }

    #[test]
    fn what_the_database_does_not_know_or_nobody_could_read_is_left_open() {
        let open = |lines: &[&str], troubles: &[&str]| {
            let mut facts = bare();
            let troubles = troubles.iter().map(|at| Trouble { at: (*at).to_owned(), why: "torn".to_owned() });
            let sets = vec![set(lines), set(lines)];
            facts.declared =
                Some(Declared { root: "/r".to_owned(), sets, troubles: troubles.collect(), ..Declared::default() });
            unknowns(&RULE, &facts)
        };
        let told = open(&["tensorflow==3.1.0", "keras>=3.10"], &[]);
        let wanted = "what tensorflow==3.1.0 goes with (/r/requirements.txt:1): the database knows no such release";
        assert_eq!(told, [wanted]);
        for known in ["tensorflow", "tensorflow==2.20.*", "tensorflow>=2.20", "keras==3.10.0", "flask==99"] {
            assert!(open(&[known], &[]).is_empty(), "{known}");
        }
        assert_eq!(open(&["keras<1"], &[]).len(), 1);
        assert_eq!(open(&["tensorflow"], &["/r/pyproject.toml"]), ["what /r/pyproject.toml declares: torn"]);
    }

    #[test]
    fn versions_without_a_common_release() {
        for (lines, wanted) in [
            (&["tensorflow==2.15.*", "keras>=3"][..], "no tensorflow==2.15.* goes with keras>=3"),
            (&["tensorflow>=2.18", "keras<3"], "no tensorflow>=2.18 goes with keras<3"),
            (&["tensorflow>=2.18", "python ==3.8.*"], "no tensorflow>=2.18 goes with Python 3.8"),
            (&["tensorflow~=2.15.0", "python >=3.12"], "no tensorflow~=2.15.0 goes with Python >=3.12"),
            (&["tensorflow-cpu==2.16.1", "keras~=2.15"], "no tensorflow-cpu==2.16.1 goes with keras~=2.15"),
            (&["tensorflow==2.18.0", "tf-keras==2.16.0"], "no tensorflow==2.18.0 goes with tf-keras==2.16.0"),
            (
                &["tensorflow[and-cuda]==2.18.0", "nvidia-cudnn-cu12==8.9.7.29"],
                "no tensorflow==2.18.0 goes with nvidia-cudnn-cu12==8.9.7.29",
            ),
            (
                &["tensorflow==2.15.0", "tensorflow==2.16.1"],
                "no version of tensorflow is both tensorflow==2.15.0 and tensorflow==2.16.1",
            ),
            (&["keras==3.13.0", "python ==3.10.*"], "no keras==3.13.0 goes with Python 3.10"),
            (
                &["tensorflow==2.16.1", "tensorflow-cpu==2.15.1"],
                "no tensorflow==2.16.1 goes with tensorflow-cpu==2.15.1",
            ),
            // Each alone would leave a release, both together leave none.
            (
                &["tensorflow>=2.13", "keras<3", "python >=3.12"],
                "no tensorflow>=2.13 goes with keras<3 and Python >=3.12",
            ),
        ] {
            assert_eq!(said(vec![set(lines)]), [wanted], "{lines:?}");
        }
    }

    #[test]
    fn each_line_is_told_what_it_stands_in_the_way_of() {
        let help = |lines: &[&str]| {
            let mut facts = bare();
            facts.declared = Some(Declared { sets: vec![set(lines)], ..Declared::default() });
            let finding = crate::rules::testing::judge(&RULE, &facts).findings.remove(0);
            finding.help.into_iter().map(|help| help.text).collect::<Vec<_>>()
        };
        for (lines, wanted) in [
            // Keras stands in the way of the newer ones, Python in that of the older ones.
            (
                &["tensorflow>=2.13", "keras<3", "python >=3.12"][..],
                &[
                    "tensorflow 2.21.0 needs keras>=3.12.0: change one of the three lines",
                    "tensorflow 2.15.1 needs Python >=3.9,<3.12: change one of the three lines",
                ][..],
            ),
            // Some older release is content with less.
            (
                &["tensorflow>=2.14", "python ==3.8.*"],
                &[
                    "tensorflow 2.21.0 needs Python >=3.10,<3.14, and tensorflow 2.20.0 Python >=3.9,<3.14: change one of \
                   the two lines",
                ],
            ),
            (
                &["tensorflow>=2.12,<2.16", "python ==3.12.*"],
                &["tensorflow 2.15.1 needs Python >=3.9,<3.12: change one of the two lines"],
            ),
        ] {
            assert_eq!(help(lines), wanted, "{lines:?}");
        }
    }

    #[test]
    fn an_extra_that_does_not_exist() {
        let wanted = "no tensorflow==2.12.0 has an extra and-cuda";
        assert_eq!(said(vec![set(&["tensorflow[and-cuda]==2.12.0"])]), [wanted]);
        for line in ["tensorflow[and-cuda]>=2.12", "tensorflow[and-cuda]==2.14.0", "tensorflow==2.12.0"] {
            assert!(said(vec![set(&[line])]).is_empty(), "{line}");
        }
    }

    #[test]
    fn a_lock_file_needs_releases_for_every_python() {
        let locked = |lines: &[&str]| said(vec![DeclaredSet { every_python: true, ..set(lines) }]);
        for (lines, wanted) in [
            (
                &["tensorflow>=2.18,<3", "python >=3.8,<4"][..],
                &["no tensorflow>=2.18,<3 goes with all of Python >=3.8,<4"][..],
            ),
            (&["keras>=3.13", "python >=3.9"], &["no keras>=3.13 goes with all of Python >=3.9"]),
            (&["tensorflow>=2.18,<3", "python >=3.9,<4"], &[]),
            (&["tensorflow>=2.12", "python >=3.8"], &[]),
            // Its wheels are for 3.7 on, and it says that 3.6 will do.
            (&["tensorflow==2.7.0", "python >=3.6"], &[]),
        ] {
            assert_eq!(locked(lines), wanted, "{lines:?}");
            assert!(said(vec![set(lines)]).is_empty(), "{lines:?}");
        }
    }

    #[test]
    fn what_may_work_is_let_alone() {
        for lines in [
            &["tensorflow==2.15.*", "keras>=2.15"][..],
            &["tensorflow>=2.15", "keras>=3"],
            &["tensorflow", "keras"],
            &["tensorflow", "keras<3"],
            &["tensorflow<2", "keras>=3"],
            &["tensorflow>=2.18", "python >=3.8"],
            &["tensorflow>=2.18", "python >=3.14"],
            &["tensorflow==2.15.1", "tensorflow-cpu==2.15.0"],
            &["tensorflow==2.16.1", "tensorflow-cpu>=2.15"],
            // A pre-release that asks for nightly builds of Keras.
            &["tensorflow==2.22.0rc0", "keras==3.0.0"],
            &["tensorflow-gpu<2.12"],
            &["tensorflow-gpu==2.10.*"],
            &["tensorflow-gpu==2.15.0+nv24"],
            // Builds of NVIDIA's own.
            &["tensorflow==1.15.5+nv22.12", "python ==3.8.*"],
            &["tensorflow==2.15.0+nv23.12", "keras>=3"],
            // Releases that the database lacks.
            &["tensorflow==2.23.0", "keras==3.0.0"],
            &["tensorflow==2.15.9", "keras>=3"],
            &["tensorflow==2.99.0", "keras==3.99.0", "python ==3.19.*"],
            &["tensorflow===2.15.0", "keras>=3"],
            &["tensorflow[and-cuda]==2.18.0", "nvidia-cudnn-cu12==9.3.0.75"],
            &["tensorflow==2.18.0", "nvidia-cudnn-cu12==8.9.7.29"],
            &["tensorflow==2.18.0", "tf-keras~=2.18.0"],
            &["tensorflow-cpu==2.18.0", "tf-keras~=2.16.0"],
            &["keras==3.13.0", "python >=3.8"],
            &["numpy<2", "numpy>=1.26"],
        ] {
            assert_eq!(said(vec![set(lines)]), Vec::<String>::new(), "{lines:?}");
        }
    }

    #[test]
    fn alternatives_and_what_is_not_resolved_together_are_let_alone() {
        assert!(said(vec![set(&["tensorflow==2.15.*"]), set(&["keras>=3"])]).is_empty());
        let lines = &["tensorflow==2.15.*", "keras>=3"];
        assert!(said(vec![DeclaredSet { together: false, ..set(lines) }]).is_empty());
        assert!(said(vec![DeclaredSet { by: DeclaredBy::Conda, ..set(lines) }]).is_empty());
        let mut other = set(lines);
        other.packages[1].holds = None;
        assert!(said(vec![other]).is_empty());
        let mut other = set(lines);
        other.packages[0].address = true;
        assert!(said(vec![other]).is_empty());
        let mut other = set(lines);
        other.indexes.push(DeclaredVersion {
            value: "https://pypi.example.org/simple".to_owned(),
            ..DeclaredVersion::default()
        });
        assert!(said(vec![other]).is_empty());
        // A constraint counts only where something asks for the package.
        let mut other = set(&["tensorflow==2.15.*", "python ==3.8.*"]);
        other.packages[0].constraint = true;
        assert!(said(vec![other]).is_empty());
        let mut other = set(lines);
        other.packages[1].constraint = true;
        assert_eq!(said(vec![other]).len(), 1);
        // Two of them on a package that nobody wants, and on one that TensorFlow brings.
        for (first, wanted) in [("flask", 0), ("tensorflow", 1), ("numpy", 1)] {
            let mut other = set(&[first, "numpy<1.24", "numpy>=1.26"]);
            other.packages[1..].iter_mut().for_each(|package| package.constraint = true);
            assert_eq!(said(vec![other]).len(), wanted, "{first}");
        }
    }

    #[test]
    fn what_the_policy_does_not_allow() {
        let required = |sets: Vec<DeclaredSet>, key: &str, text: &str| -> Vec<String> {
            let require = Require {
                requirement: text.parse().unwrap(),
                evidence: Evidence::file("/r/gpu-doctor.toml", format!("{key} = \"{text}\"")).line(3),
            };
            let requires = std::iter::once((key.to_owned(), require)).collect();
            let facts = Facts { declared: Some(Declared { sets, ..Declared::default() }), ..bare() };
            let db = Database::embedded();
            let view = crate::view::View::new(&facts, db);
            let mut out = Judgment::default();
            let gpu = GpuWish::Optional;
            check(
                &Cx {
                    facts: &facts,
                    db,
                    view: &view,
                    gpu,
                    requires: &requires,
                    today: "2026-11-23",
                    predicted: None,
                    launch: crate::options::Launch::Never,
                },
                &mut out,
            );
            out.findings.into_iter().map(|finding| finding.title).collect()
        };
        let lock = DeclaredSet { by: DeclaredBy::Lock, ..set(&["tensorflow==2.15.0"]) };
        assert_eq!(
            required(vec![lock], "tensorflow", ">=2.18"),
            ["tensorflow==2.15.0 is declared, and the policy requires >=2.18"]
        );
        let old = || set(&["tensorflow-cpu", "python ==3.8.*"]);
        assert_eq!(
            required(vec![old()], "python", ">=3.10"),
            ["Python ==3.8.* is declared, and the policy requires >=3.10"]
        );
        assert_eq!(required(vec![set(&["keras<3"])], "keras", "3"), ["keras<3 is declared, and the policy requires 3"]);
        assert!(required(vec![set(&["tensorflow>=2.15"])], "tensorflow", ">=2.18").is_empty());
        assert!(required(vec![set(&["flask", "python ==3.8.*"])], "python", ">=3.10").is_empty());
        assert!(required(vec![old()], "driver", ">=550").is_empty());
        // Two releases of one lock file are for different machines.
        let lock = DeclaredSet { by: DeclaredBy::Lock, ..set(&["tensorflow==2.15.0", "tensorflow==2.16.1"]) };
        assert!(required(vec![lock], "tensorflow", ">=2.18").is_empty());
    }

    #[test]
    fn the_same_lines_are_told_once() {
        let lines = &["tensorflow==2.15.*", "keras>=3"];
        assert_eq!(said(vec![set(lines), DeclaredSet { by: DeclaredBy::Install, ..set(lines) }]).len(), 1);
        assert!(silent(&RULE, &bare()));
    }
}
