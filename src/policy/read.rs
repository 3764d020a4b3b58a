//! Finds and reads the policy: `gpu-doctor.toml` and the metadata of Cargo manifests; gathers every fault before it gives up.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Fault, Faults, Ignore, Policy, Require, nearest, nearest_of};
use crate::facts::Evidence;
use crate::finding::Level;
use crate::host::Host;
use crate::options::GpuWish;

/// The policy's own file.
pub const FILE: &str = "gpu-doctor.toml";
/// What `[requires]` may name.
pub const REQUIRES: [&str; 7] = ["driver", "cuda", "cudnn", "tensorflow", "keras", "python", "compute-capability"];
const KEYS: [&str; 4] = ["gpu", "requires", "rules", "ignore"];
const WISHES: [&str; 3] = ["required", "optional", "none"];
const LEVELS: [&str; 3] = ["allow", "warn", "deny"];
/// Folders that are walked upward, at most.
const DEPTH: usize = 64;

/// Reads the policy that holds for a manifest, or for the working folder.
///
/// The workspace's metadata, then the package's, then the nearest `gpu-doctor.toml` between the
/// working folder and the root of the Cargo workspace (or of the checkout); the later wins.
///
/// # Errors
///
/// All faults of all these files.
pub fn read(host: &Host, manifest: Option<&str>) -> Result<Policy, Faults> {
    let start = match manifest {
        Some(manifest) => host.absolute(manifest).parent().map_or_else(|| PathBuf::from("/"), Path::to_path_buf),
        None => host.cwd().to_path_buf(),
    };
    let mut reader = Reader { host, policy: Policy::default(), faults: Vec::new() };
    let project = Project::find(&mut reader, &start);
    if let Some(project) = &project {
        for (manifest, table) in [(&project.workspace, "workspace"), (&project.package, "package")] {
            if let Some(manifest) = manifest {
                reader.metadata(manifest, table);
            }
        }
    }
    let top = match &project {
        Some(project) => project.root.clone(),
        None => upward(&start).find(|folder| host.exists(folder.join(".git"))).unwrap_or(&start).to_path_buf(),
    };
    for folder in upward(&start) {
        if let Some(source) = reader.open(&folder.join(FILE)) {
            reader.file(&source);
            break;
        }
        if folder == top {
            break;
        }
    }
    if reader.faults.is_empty() { Ok(reader.policy) } else { Err(Faults(reader.faults)) }
}

fn upward(start: &Path) -> impl Iterator<Item = &Path> {
    start.ancestors().take(DEPTH)
}

/// The manifest of a workspace's member, by the package's name.
///
/// # Errors
///
/// Why there is no such package, a sentence without a full stop.
pub fn member(host: &Host, manifest: Option<&str>, package: &str) -> Result<String, String> {
    let start = match manifest {
        Some(manifest) => host.absolute(manifest).parent().map_or_else(|| PathBuf::from("/"), Path::to_path_buf),
        None => host.cwd().to_path_buf(),
    };
    let mut reader = Reader { host, policy: Policy::default(), faults: Vec::new() };
    let Some(project) = Project::find(&mut reader, &start) else {
        return Err(format!("there is no Cargo project here, and so no package `{package}`"));
    };
    let mut manifests: Vec<PathBuf> =
        project.package.iter().chain(&project.workspace).map(|s| s.path.clone()).collect();
    if let Some(workspace) = &project.workspace {
        let parsed = DeTable::parse(&workspace.text).ok();
        let members = parsed.as_ref().and_then(|root| root.get_ref().get("workspace")?.get_ref().get("members"));
        for pattern in members.and_then(|value| value.get_ref().as_array()).into_iter().flat_map(|list| list.iter()) {
            if let Some(pattern) = pattern.get_ref().as_str() {
                manifests.extend(expand(host, &project.root, pattern).into_iter().map(|f| f.join("Cargo.toml")));
            }
        }
    }
    for path in manifests {
        if let Some(source) = reader.open(&path)
            && let Ok(root) = DeTable::parse(&source.text)
            && root.get_ref().get("package").and_then(|p| p.get_ref().get("name")?.get_ref().as_str()) == Some(package)
        {
            return Ok(source.name);
        }
    }
    Err(format!("no package `{package}` in the workspace at {}", project.root.display()))
}

/// The folders that a member pattern names; `*` and `?` within one part of the path.
fn expand(host: &Host, root: &Path, pattern: &str) -> Vec<PathBuf> {
    const MOST: usize = 10_000;
    let mut folders = vec![root.to_path_buf()];
    for part in pattern.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part.contains(['*', '?']) {
            let mut next = Vec::new();
            for folder in &folders {
                let names = host.names(folder);
                next.extend(names.iter().filter(|name| glob(part, name)).map(|name| folder.join(name)));
                next.truncate(MOST);
            }
            folders = next;
        } else {
            for folder in &mut folders {
                folder.push(part);
            }
        }
    }
    folders
}

/// Whether a name fits a pattern of `*` and `?`.
pub(crate) fn glob(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    // `fits[n]`: the pattern so far covers the first `n` characters.
    let name: Vec<char> = name.chars().collect();
    let mut fits = vec![false; name.len() + 1];
    fits[0] = true;
    for sign in pattern {
        if sign == '*' {
            let first = fits.iter().position(|fit| *fit).unwrap_or(fits.len());
            fits[first..].fill(true);
        } else {
            for end in (1..=name.len()).rev() {
                fits[end] = fits[end - 1] && (sign == '?' || sign == name[end - 1]);
            }
            fits[0] = false;
        }
    }
    fits.last().copied().unwrap_or(false)
}

/// A file of the policy.
#[derive(Debug)]
struct Source {
    path: PathBuf,
    name: String,
    text: Arc<str>,
}

/// A Cargo project as far as the policy needs it.
#[derive(Debug)]
struct Project {
    /// The folder above which no policy is looked for.
    root: PathBuf,
    package: Option<Source>,
    workspace: Option<Source>,
}

impl Project {
    fn find(reader: &mut Reader<'_>, start: &Path) -> Option<Self> {
        let mut folders = upward(start);
        let (home, nearest) =
            folders.by_ref().find_map(|folder| Some((folder, reader.open(&folder.join("Cargo.toml"))?)))?;
        let table = DeTable::parse(&nearest.text).ok();
        let root = table.as_ref().map(Spanned::get_ref);
        let is_workspace = root.is_some_and(|root| root.contains_key("workspace"));
        let pointer = root
            .and_then(|root| root.get("package")?.get_ref().get("workspace")?.get_ref().as_str())
            .map(|to| home.join(to));
        if is_workspace {
            let again = Source { path: nearest.path.clone(), name: nearest.name.clone(), text: nearest.text.clone() };
            return Some(Self { root: home.to_path_buf(), package: Some(again), workspace: Some(nearest) });
        }
        if let Some(folder) = pointer {
            let workspace = reader.open(&folder.join("Cargo.toml"));
            return Some(Self { root: reader.host.absolute(folder), package: Some(nearest), workspace });
        }
        for folder in folders {
            let Some(source) = reader.open(&folder.join("Cargo.toml")) else { continue };
            let Ok(table) = DeTable::parse(&source.text) else { continue };
            let Some(workspace) = table.get_ref().get("workspace") else { continue };
            let excluded =
                workspace.get_ref().get("exclude").and_then(|list| list.get_ref().as_array()).is_some_and(|list| {
                    list.iter()
                        .filter_map(|item| item.get_ref().as_str())
                        .any(|item| home.starts_with(folder.join(item)))
                });
            if excluded {
                break;
            }
            drop(table);
            return Some(Self { root: folder.to_path_buf(), package: Some(nearest), workspace: Some(source) });
        }
        Some(Self { root: home.to_path_buf(), package: Some(nearest), workspace: None })
    }
}

struct Reader<'h> {
    host: &'h Host,
    policy: Policy,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    /// The file, where it is there; a fault where it is there and cannot be read.
    fn open(&mut self, path: &Path) -> Option<Source> {
        let name = path.strip_prefix(self.host.cwd()).unwrap_or(path).to_string_lossy().into_owned();
        match self.host.read_text(path) {
            Ok(text) => {
                let text = Arc::from(text.strip_prefix('\u{feff}').unwrap_or(&text));
                Some(Source { path: path.to_path_buf(), name, text })
            }
            Err(error) if error.is_absent() => None,
            Err(error) => {
                let fault =
                    Fault { file: name, text: Arc::from(""), span: None, message: error.why.to_string(), help: None };
                if !self.faults.contains(&fault) {
                    self.faults.push(fault);
                }
                None
            }
        }
    }

    fn fault(&mut self, source: &Source, span: Option<Range<usize>>, message: impl Into<String>, help: Option<String>) {
        let fault = Fault { file: source.name.clone(), text: source.text.clone(), span, message: message.into(), help };
        if !self.faults.contains(&fault) {
            self.faults.push(fault);
        }
    }

    /// The file's table; syntax errors become faults, all of them.
    fn parse<'s>(&mut self, source: &'s Source) -> Spanned<DeTable<'s>> {
        let (table, errors) = DeTable::parse_recoverable(&source.text);
        for error in errors {
            self.fault(source, error.span(), error.message(), None);
        }
        table
    }

    fn file(&mut self, source: &Source) {
        let table = self.parse(source);
        self.table(source, table.get_ref());
    }

    /// `[<table>.metadata.gpu-doctor]` of a manifest.
    fn metadata(&mut self, source: &Source, table: &str) {
        let root = self.parse(source);
        let section =
            root.get_ref().get(table).and_then(|value| value.get_ref().get("metadata")?.get_ref().get("gpu-doctor"));
        match section.map(|section| (section.span(), section.get_ref())) {
            Some((_, DeValue::Table(table))) => self.table(source, table),
            Some((span, _)) => {
                self.fault(source, Some(span), format!("`{table}.metadata.gpu-doctor` must be a table"), None);
            }
            None => {}
        }
    }

    fn table(&mut self, source: &Source, table: &DeTable<'_>) {
        for (key, value) in table {
            match &**key.get_ref() {
                "gpu" => {
                    if let Some(wish) = self.choice(source, value, &WISHES) {
                        self.policy.gpu = Some(match wish {
                            "required" => GpuWish::Required,
                            "optional" => GpuWish::Optional,
                            _ => GpuWish::None,
                        });
                    }
                }
                "requires" => self.each(source, value, "requires", Self::require),
                "rules" => self.each(source, value, "rules", Self::rule),
                "ignore" => match value.get_ref() {
                    DeValue::Array(list) => {
                        for entry in list {
                            self.ignore(source, entry);
                        }
                    }
                    _ => self.fault(
                        source,
                        Some(value.span()),
                        "`ignore` must be a list of tables",
                        Some("write each as `[[ignore]]`".to_owned()),
                    ),
                },
                other => self.unknown_key(source, key, other, &KEYS),
            }
        }
    }

    fn each(
        &mut self,
        source: &Source,
        value: &Spanned<DeValue<'_>>,
        name: &str,
        read: fn(&mut Self, &Source, &Spanned<toml::de::DeString<'_>>, &Spanned<DeValue<'_>>),
    ) {
        let DeValue::Table(table) = value.get_ref() else {
            return self.fault(source, Some(value.span()), format!("`{name}` must be a table"), None);
        };
        for (key, value) in table {
            read(self, source, key, value);
        }
    }

    fn require(&mut self, source: &Source, key: &Spanned<toml::de::DeString<'_>>, value: &Spanned<DeValue<'_>>) {
        let name: &str = key.get_ref();
        if !REQUIRES.contains(&name) {
            return self.unknown_key(source, key, name, &REQUIRES);
        }
        let Some(text) = value.get_ref().as_str() else {
            let help = "write it as text, such as \">=12.4, <14\"".to_owned();
            return self.fault(source, Some(value.span()), "a version requirement must be a text", Some(help));
        };
        match text.parse() {
            Ok(requirement) => {
                let evidence = evidence(source, key.span(), &format!("{name} = \"{text}\""));
                self.policy.requires.insert(name.to_owned(), Require { requirement, evidence });
            }
            Err(error) => {
                let help = "Cargo's syntax is understood, such as `>=12.4, <14` or `9`".to_owned();
                let error: super::requirement::NotRequirement = error;
                self.fault(source, Some(value.span()), error.to_string(), Some(help));
            }
        }
    }

    fn rule(&mut self, source: &Source, key: &Spanned<toml::de::DeString<'_>>, value: &Spanned<DeValue<'_>>) {
        let known = self.known_rule(source, key.span(), key.get_ref());
        let level = self.choice(source, value, &LEVELS);
        if let (true, Some(level)) = (known, level) {
            let level = match level {
                "deny" => Some(Level::Deny),
                "warn" => Some(Level::Warn),
                _ => None,
            };
            self.policy.levels.insert(key.get_ref().to_string(), level);
        }
    }

    fn ignore(&mut self, source: &Source, entry: &Spanned<DeValue<'_>>) {
        const KEYS: [&str; 3] = ["rule", "reason", "expires"];
        let DeValue::Table(table) = entry.get_ref() else {
            return self.fault(source, Some(entry.span()), "an ignore must be a table", None);
        };
        let (mut rule, mut reason, mut expires, mut sound) = (None, None, None, true);
        for (key, value) in table {
            let before = self.faults.len();
            match (&**key.get_ref(), value.get_ref()) {
                ("rule", DeValue::String(name)) => {
                    self.known_rule(source, value.span(), name);
                    rule = Some((name.to_string(), value.span()));
                }
                ("reason", DeValue::String(text)) if !text.trim().is_empty() => reason = Some(text.trim().to_owned()),
                ("reason", DeValue::String(_)) => {
                    self.fault(source, Some(value.span()), "the reason of an ignore must say something", None);
                }
                (name @ ("rule" | "reason"), _) => {
                    self.fault(source, Some(value.span()), format!("`{name}` must be a text"), None);
                }
                ("expires", DeValue::Datetime(day)) if day.time.is_none() && day.offset.is_none() => {
                    expires = Some(day.to_string());
                }
                ("expires", _) => {
                    let help = "write it without quotes and without a time, such as `2027-03-01`".to_owned();
                    self.fault(source, Some(value.span()), "`expires` must be a day", Some(help));
                }
                (other, _) => self.unknown_key(source, key, other, &KEYS),
            }
            sound &= self.faults.len() == before;
        }
        if !table.contains_key("rule") {
            self.fault(source, Some(entry.span()), "an ignore must name its `rule`", None);
        }
        if !table.contains_key("reason") {
            let help = "add `reason = \"…\"`: why this finding is let pass".to_owned();
            self.fault(source, Some(entry.span()), "an ignore needs a `reason`", Some(help));
        }
        if let (true, Some((rule, span)), Some(reason)) = (sound, rule, reason) {
            let evidence = evidence(source, span, &reason);
            self.policy.ignores.push(Ignore { rule, reason, expires, evidence });
        }
    }

    fn known_rule(&mut self, source: &Source, span: Range<usize>, name: &str) -> bool {
        let known = crate::rules::find(name).is_some();
        if !known {
            let help = nearest(name).map_or_else(
                || "`cargo gpu-doctor explain --list` names all rules".to_owned(),
                |near| format!("a rule with a similar name exists: `{near}`"),
            );
            self.fault(source, Some(span), format!("unknown rule `{name}`"), Some(help));
        }
        known
    }

    fn choice<'c>(&mut self, source: &Source, value: &Spanned<DeValue<'_>>, choices: &[&'c str]) -> Option<&'c str> {
        let chosen = value.get_ref().as_str().and_then(|text| choices.iter().copied().find(|choice| *choice == text));
        if chosen.is_none() {
            let list = choices.iter().map(|choice| format!("\"{choice}\"")).collect::<Vec<_>>().join(", ");
            self.fault(source, Some(value.span()), format!("must be one of {list}"), None);
        }
        chosen
    }

    fn unknown_key(&mut self, source: &Source, key: &Spanned<toml::de::DeString<'_>>, name: &str, known: &[&str]) {
        let help = nearest_of(name, known.iter().copied()).map_or_else(
            || format!("known keys: {}", known.join(", ")),
            |near| format!("a key with a similar name exists: `{near}`"),
        );
        self.fault(source, Some(key.span()), format!("unknown key `{name}`"), Some(help));
    }
}

fn evidence(source: &Source, span: Range<usize>, says: &str) -> Evidence {
    let line = source.text.get(..span.start).map_or(0, |before| before.matches('\n').count()) + 1;
    Evidence::file(&*source.name, says).line(u32::try_from(line).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn tree(files: &[(&str, &str)], cwd: &str) -> (tempfile::TempDir, Host) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let host = Host::rooted(dir.path(), BTreeMap::from([("PWD".to_owned(), cwd.to_owned())])).unwrap();
        (dir, host)
    }

    #[test]
    fn the_nearer_file_wins() {
        let (_dir, host) = tree(
            &[
                (
                    "w/Cargo.toml",
                    "[workspace]\nmembers = ['m']\n[workspace.metadata.gpu-doctor]\ngpu = 'none'\n[workspace.metadata.gpu-doctor.rules]\ngpu-absent = 'warn'\nignore-unused = 'deny'\n",
                ),
                (
                    "w/m/Cargo.toml",
                    "[package]\nname = 'm'\n[package.metadata.gpu-doctor]\ngpu = 'optional'\nrules.gpu-absent = 'deny'\n",
                ),
                ("w/gpu-doctor.toml", "gpu = 'required'\nrequires.cuda = '>=12.4, <14'\n"),
                ("gpu-doctor.toml", "nonsense = 1\n"),
            ],
            "/w/m/src",
        );
        let policy = read(&host, None).unwrap();
        assert_eq!(policy.gpu, Some(GpuWish::Required));
        assert_eq!(policy.levels["gpu-absent"], Some(Level::Deny));
        assert_eq!(policy.levels["ignore-unused"], Some(Level::Deny));
        assert_eq!(policy.requires["cuda"].evidence.line, Some(2));
        assert_eq!(member(&host, None, "m").unwrap(), "/w/m/Cargo.toml");
        assert!(member(&host, None, "other").is_err());
    }

    #[test]
    fn each_line_of_the_layers_wins_for_itself() {
        let manifest = |table: &str, requires: &str| format!("[{table}.metadata.gpu-doctor.requires]\n{requires}");
        let workspace = manifest("workspace", "driver = '1'\ncuda = '1'\ncudnn = '1'\n");
        let package = format!("[package]\nname = 'm'\n{}", manifest("package", "driver = '2'\ncuda = '2'\n"));
        let (_dir, host) = tree(
            &[
                ("w/Cargo.toml", &format!("[workspace]\n{workspace}")),
                ("w/m/Cargo.toml", &package),
                ("w/gpu-doctor.toml", "requires.driver = '3'\n"),
            ],
            "/w/m",
        );
        let requires = read(&host, None).unwrap().requires;
        let of = |key: &str| (requires[key].requirement.to_string(), requires[key].evidence.at.clone());
        assert_eq!(of("driver"), ("3".to_owned(), "/w/gpu-doctor.toml".to_owned()));
        assert_eq!(of("cuda"), ("2".to_owned(), "Cargo.toml".to_owned()));
        assert_eq!(of("cudnn"), ("1".to_owned(), "/w/Cargo.toml".to_owned()));
    }

    #[test]
    fn without_a_project_the_working_folder_is_read() {
        let (_dir, host) = tree(&[("gpu-doctor.toml", "nonsense = 1\n"), ("a/b/gpu-doctor.toml", "")], "/a/b");
        assert_eq!(read(&host, None).unwrap(), Policy::default());
        let (_dir, host) = tree(&[("gpu-doctor.toml", "nonsense = 1\n"), ("a/x", "")], "/a");
        assert_eq!(read(&host, None).unwrap(), Policy::default());
    }

    #[test]
    fn all_faults_are_told_at_once() {
        let text = "gpus = 'required'\ngpu = 'maybe'\n[rules]\ngpu-absnt = 'deny'\ngpu-absent = 'forbid'\n[requires]\ncuda = 12\ntorch = '2'\nkeras = 'three'\n[[ignore]]\nrule = 'gpu-absent'\nexpires = '2027-01-01'\n[[ignore]]\nreason = ''\n";
        let (_dir, host) = tree(&[("gpu-doctor.toml", text)], "/");
        let Faults(faults) = read(&host, None).unwrap_err();
        let mut lines: Vec<u32> = faults.iter().map(|fault| fault.position().unwrap().0).collect();
        lines.sort_unstable();
        assert_eq!(lines, [1, 2, 4, 5, 7, 8, 9, 10, 12, 13, 14]);
        let shown = Faults(faults).to_string();
        assert!(shown.contains("gpu-doctor.toml:4:1"), "{shown}");
        assert!(shown.contains("a rule with a similar name exists: `gpu-absent`"), "{shown}");
    }

    #[test]
    fn syntax_errors_have_a_place() {
        let (_dir, host) = tree(&[("gpu-doctor.toml", "gpu = \n[rules\n")], "/");
        let Faults(faults) = read(&host, None).unwrap_err();
        assert!(faults.len() >= 2, "{faults:?}");
        assert!(faults.iter().all(|fault| fault.position().is_some()));
    }

    #[test]
    fn patterns_fit_names() {
        assert!(glob("*", "abc") && glob("a*c", "abbc") && glob("a?c", "abc") && glob("**", "x"));
        assert!(!glob("a?c", "ac") && !glob("b*", "abc"));
    }

    proptest! {
        #[test]
        fn any_file_is_read_without_panic(text in "([a-z.\\[\\]='\"0-9 ,{}]{0,12}\n){0,8}") {
            let (_dir, host) = tree(&[("gpu-doctor.toml", &text)], "/");
            if let Err(faults) = read(&host, None) {
                let _ = faults.to_string();
            }
        }
    }
}
