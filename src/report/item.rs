//! A finding as the formats for other tools want it: with a place in the project, whole sentences, and the machines that have it.

use std::path::{Component, Path, PathBuf};

use super::human::{said, shortened};
use super::{Report, Reported};
use crate::facts::{Evidence, Facts, Source};
use crate::finding::Level;
use crate::rules::{self, Rule};

/// The project in whose files findings are placed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scene {
    /// The folder that places are relative to: that of the checkout.
    pub root: PathBuf,
    /// The working folder, to which relative evidence is relative.
    pub cwd: PathBuf,
    /// The file in which a finding is placed that no file of the project proves: the manifest.
    pub fallback: String,
}

/// A place in the project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, relative to the project's folder.
    pub file: String,
    /// The line, counted from 1.
    pub line: u32,
    /// The column, counted from 1 in characters, where one thing of the line is meant.
    pub column: Option<u32>,
}

/// A finding, or equal findings of several machines.
#[derive(Clone, Debug)]
pub struct Item {
    /// The rule.
    pub rule: &'static Rule,
    /// How much it counts.
    pub level: Level,
    /// What is so, one line.
    pub title: String,
    /// Whom it is about.
    pub subject: String,
    /// What shows it and what follows from it, a line each.
    pub details: Vec<String>,
    /// What to do: words and a command.
    pub help: Vec<(String, Option<String>)>,
    /// Where it is placed.
    pub place: Place,
    /// The machines that have it; empty where only one was judged.
    pub machines: Vec<String>,
}

impl Item {
    /// The findings of a report.
    pub fn all(report: &Report<'_>, scene: &Scene) -> Vec<Self> {
        report.findings.iter().filter_map(|finding| Self::new(finding, report.facts, scene)).collect()
    }

    /// One finding.
    pub fn new(finding: &Reported<'_>, facts: &Facts, scene: &Scene) -> Option<Self> {
        let places = shortened(finding.evidence, finding.subject);
        let mut details: Vec<String> =
            finding.evidence.iter().zip(&places).map(|(evidence, at)| said(evidence, at)).collect();
        details.extend(finding.consequences.iter().map(|text| format!("so {text}")));
        details.extend(finding.row.map(|row| format!("row: {} {} ({})", row.table, row.key, row.source)));
        Some(Self {
            rule: rules::find(finding.rule)?,
            level: finding.level,
            title: finding.title.to_owned(),
            subject: finding.subject.to_owned(),
            details,
            help: finding.help.iter().map(|way| (way.text.to_owned(), way.command.map(str::to_owned))).collect(),
            place: scene.place(finding.evidence, facts),
            machines: Vec::new(),
        })
    }

    /// Everything that is said about it, a line each, the title first.
    pub fn text(&self) -> String {
        let mut lines = vec![self.title.clone()];
        if !self.machines.is_empty() {
            lines.push(named(&self.machines, 20));
        } else if self.subject != "machine" {
            lines.push(format!("in {}", self.subject));
        }
        lines.extend(self.details.iter().cloned());
        for (text, command) in &self.help {
            lines.push(match command {
                Some(command) => format!("help: {text}: {command}"),
                None => format!("help: {text}"),
            });
        }
        lines.join("\n")
    }
}

/// How many machines these are, and the first of their names.
pub fn named(machines: &[String], most: usize) -> String {
    let count = machines.len();
    let names = machines.iter().take(most).map(String::as_str).collect::<Vec<_>>().join(", ");
    let noun = if count == 1 { "machine" } else { "machines" };
    match count.checked_sub(most) {
        Some(more @ 1..) => format!("{count} {noun}: {names} and {more} more"),
        _ => format!("{count} {noun}: {names}"),
    }
}

impl Scene {
    /// The manifest's line, the policy's key, or the file of the project that shows it; else the manifest's first line.
    fn place(&self, evidence: &[Evidence], facts: &Facts) -> Place {
        let inside = evidence.iter().filter_map(|evidence| {
            let file = self.inside(evidence, facts)?;
            let name = file.rsplit('/').next().unwrap_or_default();
            let rank = match (name, evidence.line) {
                ("Cargo.toml", Some(_)) => 0,
                ("gpu-doctor.toml", Some(_)) => 1,
                (_, Some(_)) => 2,
                (_, None) => 3,
            };
            let column = evidence.column.filter(|column| *column > 0 && evidence.line.is_some());
            Some((rank, Place { line: evidence.line.unwrap_or(1).max(1), column, file }))
        });
        // Of equals the first: evidence has the decisive piece first.
        let best = inside.min_by_key(|(rank, _)| *rank).map(|(_, place)| place);
        best.unwrap_or_else(|| Place { file: self.fallback.clone(), line: 1, column: None })
    }

    /// The file of a piece of evidence, relative to the project's folder, where it is one of its own files.
    fn inside(&self, evidence: &Evidence, facts: &Facts) -> Option<String> {
        // Of the whole file system as a project nothing is known to be its own.
        if !matches!(evidence.source, Source::File | Source::Package) || self.root.parent().is_none() {
            return None;
        }
        let path = plain(&self.cwd.join(&evidence.at))?;
        let environments = facts.pythons.iter().map(|env| Path::new(&env.path));
        if environments.clone().any(|env| env != self.root && path.starts_with(env)) {
            return None;
        }
        let relative = path.strip_prefix(&self.root).ok()?.to_str()?;
        (!relative.is_empty() && !relative.starts_with("target/")).then(|| relative.to_owned())
    }
}

/// The path without `.` and `..`.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop().then_some(())?;
            }
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::PythonEnv;

    fn scene() -> Scene {
        Scene { root: "/w".into(), cwd: "/w/m".into(), fallback: "m/Cargo.toml".to_owned() }
    }

    fn at(evidence: &[Evidence]) -> (String, u32) {
        let env = PythonEnv { path: "/w/.venv".to_owned(), ..PythonEnv::default() };
        let place = scene().place(evidence, &Facts { pythons: vec![env], ..Facts::default() });
        (place.file, place.line)
    }

    #[test]
    fn the_manifests_line_wins_then_the_policys_then_a_file_of_the_project() {
        let lock = Evidence::file("/w/Cargo.lock", "cudarc").line(7);
        let policy = Evidence::file("../gpu-doctor.toml", "driver").line(3);
        let manifest = Evidence::file("Cargo.toml", "driver").line(9);
        let folder = Evidence::file("/w/keras.py", "shadows");
        assert_eq!(at(&[folder.clone(), lock.clone(), policy.clone(), manifest]), ("m/Cargo.toml".to_owned(), 9));
        assert_eq!(at(&[folder.clone(), lock.clone(), policy]), ("gpu-doctor.toml".to_owned(), 3));
        assert_eq!(at(&[folder.clone(), lock]), ("Cargo.lock".to_owned(), 7));
        assert_eq!(at(&[folder]), ("keras.py".to_owned(), 1));
    }

    #[test]
    fn what_is_no_file_of_the_project_is_placed_at_the_manifest() {
        let elsewhere = [
            Evidence::file("/proc/modules", "nvidia").line(4),
            Evidence::package("/w/.venv/lib/python3.11/site-packages/x/METADATA", "x").line(2),
            Evidence::file("/w/../etc/x", ""),
            Evidence::file("/w/target/debug/x", ""),
            Evidence::env("KERAS_BACKEND", "jax"),
            Evidence::file("/wide/x", ""),
        ];
        assert_eq!(at(&elsewhere), ("m/Cargo.toml".to_owned(), 1));
        let everything = Scene { root: "/".into(), cwd: "/".into(), fallback: "Cargo.toml".to_owned() };
        assert_eq!(everything.place(&elsewhere, &Facts::default()).file, "Cargo.toml");
    }

    #[test]
    fn machines_are_counted_and_named() {
        let machines: Vec<String> = (0..4).map(|number| format!("node{number}")).collect();
        assert_eq!(named(&machines[..1], 2), "1 machine: node0");
        assert_eq!(named(&machines, 2), "4 machines: node0, node1 and 2 more");
    }
}
