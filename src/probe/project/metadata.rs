//! Asks `cargo metadata` for the graph of a project: offline, with the lock file as it is, in a child with a time limit.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, TargetKind};

use super::graph::{Active, Asked, Graph, name_of};
use super::{Resolved, manifest};
use crate::facts::{Evidence, LockedCrate};
use crate::host::{End, Host, Program};
use crate::options::Options;
use crate::probe::toolkit::find_program;

/// How long Cargo may take; it waits for other Cargos that hold its lock.
const LIMIT: Duration = Duration::from_secs(20);
/// How much of its answer is read; the largest known have ten megabytes.
const CAP: usize = 128 << 20;

/// What Cargo said.
#[derive(Debug)]
pub(super) struct Answer(Metadata);

/// Asks Cargo; the reason where it gave no graph.
pub(super) fn ask(host: &Host, manifest: &Path, options: &Options) -> Result<Answer, String> {
    let cargo = host.env_nonempty("CARGO").unwrap_or("cargo");
    let cargo = find_program(host, cargo).ok_or("there is no `cargo` on PATH")?;
    let target = options.target.clone().or_else(|| super::configured_target(host)).unwrap_or_else(host_triple);
    let mut args: Vec<String> =
        ["metadata", "--format-version", "1", "--offline", "--locked", "--filter-platform"].map(str::to_owned).to_vec();
    args.extend([target, "--manifest-path".to_owned(), manifest.to_string_lossy().into_owned()]);
    if options.all_features {
        args.push("--all-features".to_owned());
    }
    if options.no_default_features {
        args.push("--no-default-features".to_owned());
    }
    for features in &options.features {
        args.extend(["--features".to_owned(), features.clone()]);
    }
    let mut env = host.env_all().clone();
    // A toolchain that is not installed is not to be fetched by asking.
    env.insert("RUSTUP_AUTO_INSTALL".to_owned(), "0".to_owned());
    let program = Program {
        file: &cargo,
        args,
        env,
        cwd: host.cwd(),
        stdin: &[],
        most: None,
        limit: LIMIT,
        cap: CAP,
        beside: None,
    };
    let _doing = crate::doing::doing("waiting for cargo metadata");
    let ran = host.run(&program).map_err(|error| format!("{cargo} could not be run: {}", error.why))?;
    if ran.end != End::Code(0) {
        return Err(format!("cargo metadata: {}", complaint(&ran.stderr, ran.end)));
    }
    let text = std::str::from_utf8(&ran.stdout).map_err(|_| "cargo metadata: its answer is not UTF-8".to_owned())?;
    MetadataCommand::parse(text).map(Answer).map_err(|error| format!("cargo metadata: {error}"))
}

/// The decisive line of Cargo's complaint: the last of its causes that is no advice.
fn complaint(stderr: &[u8], end: End) -> String {
    let text = String::from_utf8_lossy(stderr);
    let first = text.lines().find_map(|line| line.strip_prefix("error: "));
    first.map_or_else(|| end.to_string(), str::to_owned)
}

/// The platform for which Cargo builds where nothing else is said.
fn host_triple() -> String {
    format!("{}-unknown-linux-{}", std::env::consts::ARCH, if cfg!(target_env = "musl") { "musl" } else { "gnu" })
}

impl Answer {
    /// The crates of `names` that a build compiles, what is asked of them, and whether that build links anything.
    pub(super) fn resolved(
        &self,
        host: &Host,
        lock: &str,
        manifest: &Path,
        options: &Options,
        names: &[&str],
    ) -> Resolved {
        let metadata = &self.0;
        let root = metadata.resolve.as_ref().and_then(|resolve| resolve.root.as_ref());
        let at_workspace = metadata.workspace_root.join("Cargo.toml").as_std_path() == manifest;
        let roots: Vec<&str> = match root {
            Some(root) if !at_workspace || options.package.is_some() => vec![root.repr.as_str()],
            _ if metadata.workspace_default_members.is_available() => {
                metadata.workspace_default_members.iter().map(|id| id.repr.as_str()).collect()
            }
            _ => metadata.workspace_members.iter().map(|id| id.repr.as_str()).collect(),
        };
        let features: Vec<String> = split_features(&options.features);
        let asked = Asked { features: &features, all: options.all_features, no_default: options.no_default_features };
        let graph = Graph::resolve(metadata, &roots, asked);
        let ways = graph.ways(&roots);
        let mut crates: Vec<LockedCrate> = graph
            .built()
            .filter(|(_, active)| names.contains(&active.package.name.as_str()))
            .map(|(at, active)| {
                let (name, version) = (active.package.name.to_string(), active.package.version.to_string());
                let mut via = Vec::new();
                let (mut here, mut kinds, mut target, mut optional) = (at, BTreeSet::new(), None, false);
                let mut declared = None;
                while let Some((before, dependency)) = ways.get(&here) {
                    let package = graph.package(*before).package;
                    via.insert(0, format!("{} {}", package.name, package.version));
                    kinds.insert(dependency.kind == DependencyKind::Build);
                    target = dependency.target.as_ref().map(ToString::to_string).or(target);
                    optional |= dependency.optional;
                    declared = Some((package.manifest_path.as_std_path(), name_of(dependency)));
                    here = *before;
                }
                LockedCrate {
                    // Its line is known to who reads the lock file.
                    evidence: Evidence::file(lock, format!("{name} {version}")),
                    features: active.features.iter().cloned().collect(),
                    all_features: true,
                    built: true,
                    declared: declared.and_then(|(file, key)| manifest::declared(host, file, key)),
                    only_for: kinds.contains(&true).then(|| "build".to_owned()),
                    via,
                    target,
                    optional,
                    name,
                    version,
                }
            })
            .collect();
        crate::sort::by(&mut crates, |a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
        let links = graph.built().filter(|(_, active)| roots.contains(&active.package.id.repr.as_str())).any(
            |(_, Active { package, features, .. })| {
                let mut targets = package.targets.iter().filter(|target| {
                    target.kind.iter().any(|kind| {
                        matches!(kind, TargetKind::Bin | TargetKind::CDyLib | TargetKind::DyLib | TargetKind::ProcMacro)
                    })
                });
                targets.any(|target| target.required_features.iter().all(|feature| features.contains(feature)))
            },
        );
        Resolved { crates, links }
    }
}

/// Features as `--features` takes them: separated by commas or blanks.
fn split_features(given: &[String]) -> Vec<String> {
    given.iter().flat_map(|text| text.split([',', ' '])).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}
