//! What one build of a workspace makes of the graph that `cargo metadata` gives: which packages, with which features.
//!
//! That program joins the features of all members of a workspace and of their tests; a build of one member does not.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use cargo_metadata::{Dependency, DependencyKind, Metadata, Node, Package};

use crate::sort::Sorted as _;

/// What switches features of the built packages on, from the command line.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked<'a> {
    /// Features by name, `package/feature` among them.
    pub(super) features: &'a [String],
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
    nodes: HashMap<&'m str, &'m Node>,
    todo: VecDeque<(usize, String)>,
}

/// A package of the graph.
#[derive(Debug)]
pub(super) struct Active<'m> {
    /// The package itself.
    pub(super) package: &'m Package,
    /// Its features that are on.
    pub(super) features: BTreeSet<String>,
    /// Whether it is built.
    pub(super) built: bool,
    /// Features that `name?/feature` asks for where that dependency is on.
    weak: BTreeMap<String, Vec<String>>,
    /// Its dependencies that are on, by their index here, with what declares them.
    pub(super) links: Vec<(usize, &'m Dependency)>,
}

impl<'m> Graph<'m> {
    /// Resolves one build of `roots`.
    pub(super) fn resolve(metadata: &'m Metadata, roots: &[&str], asked: Asked<'_>) -> Self {
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
        let index = metadata.packages.iter().enumerate().map(|(at, p)| (p.id.repr.as_str(), at)).collect();
        let nodes = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes);
        let nodes = nodes.map(|node| (node.id.repr.as_str(), node)).collect();
        let mut graph = Self { packages, index, nodes, todo: VecDeque::new() };
        for root in roots {
            let Some(&at) = graph.index.get(root) else { continue };
            graph.build(at);
            let package = graph.packages[at].package;
            if asked.all {
                graph.todo.extend(package.features.keys().map(|name| (at, name.clone())));
            } else if !asked.no_default {
                graph.todo.push_back((at, "default".to_owned()));
            }
            for name in asked.features {
                let own = name.split_once('/').filter(|(owner, _)| *owner == package.name.as_str());
                graph.todo.push_back((at, own.map_or(name.as_str(), |(_, feature)| feature).to_owned()));
            }
        }
        while let Some((at, feature)) = graph.todo.pop_front() {
            graph.switch_on(at, &feature);
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
    pub(super) fn ways(&self, roots: &[&str]) -> HashMap<usize, (usize, &'m Dependency)> {
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
    fn link(&mut self, at: usize, dependency: &'m Dependency) {
        if dependency.kind == DependencyKind::Development
            || self.packages[at].links.iter().any(|(_, known)| std::ptr::eq(*known, dependency))
        {
            return;
        }
        let Some(to) = self.target(at, dependency) else { return };
        self.packages[at].links.push((to, dependency));
        self.build(to);
        if dependency.uses_default_features {
            self.todo.push_back((to, "default".to_owned()));
        }
        self.todo.extend(dependency.features.iter().map(|name| (to, name.clone())));
        let waiting = self.packages[at].weak.get(name_of(dependency)).cloned().unwrap_or_default();
        self.todo.extend(waiting.into_iter().map(|name| (to, name)));
    }

    /// The package that Cargo chose for a dependency; none where it is not for this platform.
    fn target(&self, at: usize, dependency: &Dependency) -> Option<usize> {
        let node = self.nodes.get(self.packages[at].package.id.repr.as_str())?;
        node.deps.iter().find_map(|chosen| {
            let &to = self.index.get(chosen.pkg.repr.as_str())?;
            let package = self.packages[to].package;
            let fits = package.name.as_str() == dependency.name
                // Of a folder or a repository any version is taken where none is asked for, pre-releases too; the
                // requirement that is stated then, `*`, matches none of those.
                && (dependency.req.matches(&package.version) || dependency.path.is_some() || of_git(dependency))
                && chosen.dep_kinds.iter().any(|info| info.kind == dependency.kind && info.target == dependency.target);
            fits.then_some(to)
        })
    }

    fn switch_on(&mut self, at: usize, feature: &str) {
        // `dependency/feature` may be asked for on the command line too.
        let package = self.packages[at].package;
        let Some(values) = package.features.get(feature) else {
            if feature.contains('/') {
                self.value(at, feature);
            }
            return;
        };
        if self.packages[at].features.insert(feature.to_owned()) {
            for value in values {
                self.value(at, value);
            }
        }
    }

    /// What one entry of a feature switches on.
    fn value(&mut self, at: usize, value: &str) {
        let package = self.packages[at].package;
        let named = |name: &str| package.dependencies.iter().filter(move |it| name_of(it) == name).collect::<Vec<_>>();
        if let Some(name) = value.strip_prefix("dep:") {
            for dependency in named(name) {
                self.link(at, dependency);
            }
            return;
        }
        let Some((name, feature)) = value.split_once('/') else {
            self.todo.push_back((at, value.to_owned()));
            return;
        };
        let (name, weak) = name.strip_suffix('?').map_or((name, false), |name| (name, true));
        if weak {
            self.packages[at].weak.entry(name.to_owned()).or_default().push(feature.to_owned());
        } else {
            // An optional dependency that has a feature of its own name switches that on too.
            self.todo.push_back((at, name.to_owned()));
            for dependency in named(name) {
                self.link(at, dependency);
            }
        }
        let on: Vec<usize> =
            self.packages[at].links.iter().filter(|(_, it)| name_of(it) == name).map(|(to, _)| *to).collect();
        self.todo.extend(on.into_iter().map(|to| (to, feature.to_owned())));
    }
}

/// Whether a dependency comes from a repository.
fn of_git(dependency: &Dependency) -> bool {
    dependency.source.as_ref().is_some_and(|source| source.repr.starts_with("git+"))
}

/// The name by which a manifest calls a dependency.
pub(super) fn name_of(dependency: &Dependency) -> &str {
    dependency.rename.as_deref().unwrap_or(&dependency.name)
}
