//! What one build of a workspace makes of the graph that `cargo metadata` gives: which packages, with which features.
//!
//! That program joins the features of all members of a workspace and of their tests; a build of one member does not.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use semver::{Version, VersionReq};

use super::answer::{Dependency, Kind, Metadata, Package};
use crate::sort::Sorted as _;

/// What switches features of the built packages on, from the command line.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked<'a> {
    /// Features by name, `package/feature` among them.
    pub(super) features: &'a [&'a str],
    /// All features.
    pub(super) all: bool,
    /// Without `default`.
    pub(super) no_default: bool,
}

/// The packages of one build.
#[derive(Debug)]
pub(super) struct Graph<'m> {
    packages: Vec<Active<'m>>,
    index: HashMap<&'m str, usize>,
    /// What Cargo chose for each of the packages: by index, with what it was chosen for.
    chosen: Vec<Vec<(usize, &'m [Kind<'m>])>>,
    todo: VecDeque<(usize, &'m str)>,
}

/// A package of the graph.
#[derive(Debug)]
pub(super) struct Active<'m> {
    /// The package itself.
    pub(super) package: &'m Package<'m>,
    /// Its features that are on.
    pub(super) features: BTreeSet<&'m str>,
    /// Whether it is built.
    pub(super) built: bool,
    /// Features that `name?/feature` asks for where that dependency is on.
    weak: BTreeMap<&'m str, Vec<&'m str>>,
    /// Its dependencies that are on, by their index here, with what declares them.
    pub(super) links: Vec<(usize, &'m Dependency<'m>)>,
}

impl<'m> Graph<'m> {
    /// Resolves one build of `roots`.
    pub(super) fn resolve(metadata: &'m Metadata<'m>, roots: &[&str], asked: Asked<'m>) -> Self {
        let packages: Vec<_> = metadata
            .packages
            .iter()
            .map(|package| Active {
                package,
                features: BTreeSet::new(),
                built: false,
                weak: BTreeMap::new(),
                links: Vec::new(),
            })
            .collect();
        let index: HashMap<&str, usize> = metadata.packages.iter().enumerate().map(|(at, p)| (&*p.id, at)).collect();
        let mut chosen: Vec<_> = packages.iter().map(|_| Vec::new()).collect();
        for node in metadata.resolve.iter().flat_map(|resolve| &resolve.nodes) {
            let Some(&at) = index.get(&*node.id) else { continue };
            let known = node.deps.iter().filter_map(|dep| Some((*index.get(&*dep.pkg)?, dep.dep_kinds.as_slice())));
            chosen[at] = known.collect();
        }
        let mut graph = Self { packages, index, chosen, todo: VecDeque::new() };
        for root in roots {
            let Some(&at) = graph.index.get(root) else { continue };
            graph.build(at);
            let package = graph.packages[at].package;
            if asked.all {
                graph.todo.extend(package.features.keys().map(|name| (at, &**name)));
            } else if !asked.no_default {
                graph.todo.push_back((at, "default"));
            }
            for name in asked.features {
                let own = name.split_once('/').filter(|(owner, _)| *owner == &*package.name);
                graph.todo.push_back((at, own.map_or(*name, |(_, feature)| feature)));
            }
        }
        while let Some((at, feature)) = graph.todo.pop_front() {
            graph.switch_on(at, feature);
        }
        graph
    }

    /// The packages that are built.
    pub(super) fn built(&self) -> impl Iterator<Item = (usize, &Active<'m>)> {
        self.packages.iter().enumerate().filter(|(_, active)| active.built)
    }

    /// A package by its index.
    pub(super) fn package(&self, at: usize) -> &Active<'m> {
        &self.packages[at]
    }

    /// The shortest way from a root to each package: its predecessor and the dependency that leads on.
    pub(super) fn ways(&self, roots: &[&str]) -> HashMap<usize, (usize, &'m Dependency<'m>)> {
        let mut ways = HashMap::new();
        let mut queue: VecDeque<usize> = roots.iter().filter_map(|root| self.index.get(root)).copied().collect();
        let mut seen: BTreeSet<usize> = queue.iter().copied().sorted_set();
        while let Some(at) = queue.pop_front() {
            for &(to, dependency) in &self.packages[at].links {
                if seen.insert(to) {
                    ways.insert(to, (at, dependency));
                    queue.push_back(to);
                }
            }
        }
        ways
    }

    /// Marks a package as built and follows what it always depends on.
    fn build(&mut self, at: usize) {
        if std::mem::replace(&mut self.packages[at].built, true) {
            return;
        }
        let package = self.packages[at].package;
        for dependency in package.dependencies.iter().filter(|dependency| !dependency.optional) {
            self.link(at, dependency);
        }
    }

    /// Follows a dependency, where it is one of this build.
    fn link(&mut self, at: usize, dependency: &'m Dependency<'m>) {
        if dependency.kind.as_deref() == Some("dev")
            || self.packages[at].links.iter().any(|(_, known)| std::ptr::eq(*known, dependency))
        {
            return;
        }
        let Some(to) = self.target(at, dependency) else { return };
        self.packages[at].links.push((to, dependency));
        self.build(to);
        if dependency.uses_default_features {
            self.todo.push_back((to, "default"));
        }
        self.todo.extend(dependency.features.iter().map(|name| (to, &**name)));
        let waiting = self.packages[at].weak.get(name_of(dependency)).cloned().unwrap_or_default();
        self.todo.extend(waiting.into_iter().map(|name| (to, name)));
    }

    /// The package that Cargo chose for a dependency; none where it is not for this platform.
    fn target(&self, at: usize, dependency: &Dependency<'_>) -> Option<usize> {
        let mut chosen = self.chosen[at].iter();
        chosen.find_map(|&(to, kinds)| {
            let package = self.packages[to].package;
            let fits = *package.name == *dependency.name
                // Of a folder or a repository any version is taken where none is asked for, pre-releases too; the
                // requirement that is stated then, `*`, matches none of those.
                && (dependency.path.is_some() || of_git(dependency) || matches(&dependency.req, &package.version))
                && kinds.iter().any(|info| info.kind == dependency.kind && info.target == dependency.target);
            fits.then_some(to)
        })
    }

    fn switch_on(&mut self, at: usize, feature: &'m str) {
        // `dependency/feature` may be asked for on the command line too.
        let package = self.packages[at].package;
        let Some(values) = package.features.get(feature) else {
            if feature.contains('/') {
                self.value(at, feature);
            }
            return;
        };
        if self.packages[at].features.insert(feature) {
            for value in values {
                self.value(at, value);
            }
        }
    }

    /// What one entry of a feature switches on.
    fn value(&mut self, at: usize, value: &'m str) {
        let package = self.packages[at].package;
        let named = |name: &str| package.dependencies.iter().filter(move |it| name_of(it) == name).collect::<Vec<_>>();
        if let Some(name) = value.strip_prefix("dep:") {
            for dependency in named(name) {
                self.link(at, dependency);
            }
            return;
        }
        let Some((name, feature)) = value.split_once('/') else {
            self.todo.push_back((at, value));
            return;
        };
        let (name, weak) = name.strip_suffix('?').map_or((name, false), |name| (name, true));
        if weak {
            self.packages[at].weak.entry(name).or_default().push(feature);
        } else {
            // An optional dependency that has a feature of its own name switches that on too.
            self.todo.push_back((at, name));
            for dependency in named(name) {
                self.link(at, dependency);
            }
        }
        let on: Vec<usize> =
            self.packages[at].links.iter().filter(|(_, it)| name_of(it) == name).map(|(to, _)| *to).collect();
        self.todo.extend(on.into_iter().map(|to| (to, feature)));
    }
}

/// Whether a version meets a requirement; not where either cannot be read.
fn matches(requirement: &str, version: &str) -> bool {
    let read = VersionReq::parse(requirement).ok().zip(Version::parse(version).ok());
    read.is_some_and(|(requirement, version)| requirement.matches(&version))
}

/// Whether a dependency comes from a repository.
fn of_git(dependency: &Dependency<'_>) -> bool {
    dependency.source.as_ref().is_some_and(|source| source.starts_with("git+"))
}

/// The name by which a manifest calls a dependency.
pub(super) fn name_of<'m>(dependency: &'m Dependency<'_>) -> &'m str {
    dependency.rename.as_deref().unwrap_or(&dependency.name)
}
