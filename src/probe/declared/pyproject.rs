//! Reads the dependencies that pyproject.toml declares: PEP 621, dependency groups, Poetry's and uv's tables.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::facts::{DeclaredBy, DeclaredPackage, DeclaredSet, DeclaredVersion};
use crate::probe::python::requirement::normalise;

use super::place::Text;
use super::requirements;

/// Groups and extras that include each other are followed this deep.
const DEPTH: u32 = 8;
/// More sets than this are not made of one file.
const MOST: usize = 200;

type Value<'v> = Spanned<DeValue<'v>>;

/// The sets of a pyproject.toml, or why it could not be read.
///
/// `above` are the files that tell uv more, by path and text: `uv.toml` beside it, and both files of the folders above.
/// `locked` is whether a lock file of uv's is there, which holds for every Python that is declared.
pub(super) fn read(
    path: &str,
    text: &str,
    above: &[(String, String)],
    locked: bool,
) -> Result<Vec<DeclaredSet>, String> {
    let text = Text::new(path, text);
    let root = DeTable::parse(text.all).map_err(|error| error.message().to_owned())?;
    let root = root.get_ref();
    let project = table(root.get("project"));
    let tool = |name: &str| table(root.get("tool")).and_then(|tools| table(tools.get(name)));
    let mut out = Reader {
        text: &text,
        project_name: String::new(),
        constraints: Vec::new(),
        sets: Vec::new(),
        elsewhere: BTreeSet::new(),
    };
    let uv = tool("uv");
    out.constraints = out.list(uv.and_then(|uv| uv.get("constraint-dependencies")), true);
    let every_python = locked;
    let mut common = DeclaredSet { file: path.to_owned(), together: true, every_python, ..DeclaredSet::default() };
    // Of several settings uv heeds one; what any of them may change is left open.
    for (path, above) in above {
        // What is wrong with such a file is told of where it is read for itself.
        let Ok(root) = DeTable::parse(above) else { continue };
        let root = root.get_ref();
        let whole = path.ends_with("uv.toml").then_some(root);
        let uv = whole.or_else(|| table(root.get("tool")).and_then(|tools| table(tools.get("uv"))));
        out.settings(uv, &Text::new(path, above), &mut common);
    }
    out.settings(uv, &text, &mut common);
    let poetry = tool("poetry");
    let pdm = tool("pdm");
    for tool in [poetry, pdm].into_iter().flatten() {
        out.sources(tool, &mut common);
    }
    let pixi = tool("pixi").and_then(|pixi| table(pixi.get("pypi-options")));
    // What is overridden on purpose is no conflict.
    common.together &= !pdm.is_some_and(|pdm| pdm.contains_key("resolution") || pdm.contains_key("overrides"))
        && !pixi.is_some_and(|pixi| pixi.contains_key("dependency-overrides"));
    if let Some(project) = project {
        out.project_name = string(project.get("name")).map(normalise).unwrap_or_default();
        if let Some(value) = project.get("requires-python")
            && let Some(wanted) = value.get_ref().as_str()
        {
            common.python.push(out.version(wanted, value.span()));
        }
        let base = out.list(project.get("dependencies"), false);
        let extras = table(project.get("optional-dependencies"));
        out.push(&common, DeclaredBy::Project, None, base.clone());
        for (name, _) in extras.into_iter().flatten() {
            let name = normalise(name.get_ref());
            let mut packages = base.clone();
            out.extra(extras, &name, DEPTH, &mut packages);
            out.push(&common, DeclaredBy::Extra, Some(name), packages);
        }
    }
    let groups = table(root.get("dependency-groups"));
    for (name, _) in groups.into_iter().flatten() {
        let name = normalise(name.get_ref());
        let mut packages = Vec::new();
        out.group(groups, &name, DEPTH, &mut packages);
        out.push(&common, DeclaredBy::Group, Some(name), packages);
    }
    // What uv and PDM had before there were dependency groups.
    if let Some(list) = uv.and_then(|uv| uv.get("dev-dependencies")) {
        let packages = out.list(Some(list), false);
        out.push(&common, DeclaredBy::Group, Some("dev".to_owned()), packages);
    }
    for (name, list) in pdm.and_then(|pdm| table(pdm.get("dev-dependencies"))).into_iter().flatten() {
        let packages = out.list(Some(list), false);
        out.push(&common, DeclaredBy::Group, Some(normalise(name.get_ref())), packages);
    }
    if let Some(poetry) = poetry
        && project.is_none_or(|project| !project.contains_key("dependencies"))
    {
        out.poetry(poetry, common);
    }
    Ok(out.sets)
}

/// Whether a dependency of Poetry's comes from an address or from an index of its own.
fn comes_from_elsewhere(fields: &DeTable<'_>) -> bool {
    ["git", "url", "path", "file", "source"].iter().any(|key| fields.contains_key(*key))
}

struct Reader<'t> {
    text: &'t Text<'t>,
    project_name: String,
    constraints: Vec<DeclaredPackage>,
    sets: Vec<DeclaredSet>,
    /// Packages that Poetry and uv take from an address or from an index of their own, whatever `[project]` says of them.
    elsewhere: BTreeSet<String>,
}

impl Reader<'_> {
    fn version(&self, value: &str, span: Range<usize>) -> DeclaredVersion {
        version(self.text, value, span)
    }

    /// What the settings of uv change: overrides, sources and indexes.
    fn settings(&mut self, uv: Option<&DeTable<'_>>, text: &Text<'_>, set: &mut DeclaredSet) {
        let Some(uv) = uv else { return };
        // Each of them may leave some of the Pythons out.
        set.every_python &= !["environments", "workspace", "dependency-groups"].iter().any(|key| uv.contains_key(*key));
        // What is overridden on purpose is no conflict.
        set.together &= !["override-dependencies", "exclude-dependencies", "dependency-metadata"]
            .iter()
            .any(|key| uv.contains_key(*key));
        let sources = table(uv.get("sources")).into_iter().flatten();
        self.elsewhere.extend(sources.map(|(name, _)| normalise(name.get_ref())));
        indexes(uv, text, set);
    }

    /// The requirements of a list; what is no requirement is left out.
    fn list(&self, list: Option<&Value<'_>>, constraint: bool) -> Vec<DeclaredPackage> {
        let entries = list.and_then(|list| list.get_ref().as_array()).into_iter().flatten();
        entries.filter_map(|entry| Some(DeclaredPackage { constraint, ..self.package(entry)? })).collect()
    }

    fn package(&self, entry: &Value<'_>) -> Option<DeclaredPackage> {
        let says = entry.get_ref().as_str()?;
        // Behind the quote.
        requirements::package(says, &self.text.at(entry.span().start + 1, says))
    }

    fn push(&mut self, common: &DeclaredSet, by: DeclaredBy, part: Option<String>, mut packages: Vec<DeclaredPackage>) {
        if packages.is_empty() && common.python.is_empty() || self.sets.len() >= MOST {
            return;
        }
        packages.extend(self.constraints.iter().cloned());
        // A source of its own: whatever lies there.
        for package in &mut packages {
            package.address |= self.elsewhere.contains(&package.name);
        }
        self.sets.push(DeclaredSet { by, part, packages, ..common.clone() });
    }

    /// The packages of an extra, those of the extras that it names included.
    fn extra(&self, extras: Option<&DeTable<'_>>, name: &str, depth: u32, into: &mut Vec<DeclaredPackage>) {
        let Some(depth) = depth.checked_sub(1) else { return };
        let found = extras.into_iter().flatten().find(|(key, _)| normalise(key.get_ref()) == name);
        for package in self.list(found.map(|(_, list)| list), false) {
            if package.name == self.project_name && !package.name.is_empty() {
                package.extras.iter().for_each(|extra| self.extra(extras, extra, depth, into));
            } else if !into.contains(&package) && into.len() < MOST * 10 {
                into.push(package);
            }
        }
    }

    /// The packages of a group, those of the groups that it includes included.
    fn group(&self, groups: Option<&DeTable<'_>>, name: &str, depth: u32, into: &mut Vec<DeclaredPackage>) {
        let Some(depth) = depth.checked_sub(1) else { return };
        let found = groups.into_iter().flatten().find(|(key, _)| normalise(key.get_ref()) == name);
        for entry in found.and_then(|(_, list)| list.get_ref().as_array()).into_iter().flatten() {
            if let Some(included) = table(Some(entry)).and_then(|entry| string(entry.get("include-group"))) {
                self.group(groups, &normalise(included), depth, into);
            } else if let Some(package) = self.package(entry).filter(|it| !into.contains(it))
                && into.len() < MOST * 10
            {
                into.push(package);
            }
        }
    }

    /// Poetry's and PDM's indexes, which hold for the dependencies of `[project]` too, and what it takes from elsewhere.
    fn sources(&mut self, poetry: &DeTable<'_>, set: &mut DeclaredSet) {
        for source in poetry.get("source").and_then(|sources| sources.get_ref().as_array()).into_iter().flatten() {
            if let Some(value) = table(Some(source)).and_then(|source| source.get("url"))
                && let Some(address) = value.get_ref().as_str()
            {
                set.indexes.push(self.version(address, value.span()));
            }
        }
        let elsewhere = table(poetry.get("dependencies")).into_iter().flatten();
        let elsewhere = elsewhere.filter(|(_, value)| table(Some(value)).is_some_and(comes_from_elsewhere));
        self.elsewhere.extend(elsewhere.map(|(name, _)| normalise(name.get_ref())));
    }

    /// Poetry finds one version of everything, groups included.
    fn poetry(&mut self, poetry: &DeTable<'_>, mut set: DeclaredSet) {
        let groups = table(poetry.get("group")).into_iter().flatten();
        let groups = groups.filter_map(|(_, group)| table(table(Some(group))?.get("dependencies")));
        let tables = [poetry.get("dependencies"), poetry.get("dev-dependencies")];
        let tables = tables.into_iter().filter_map(table).chain(groups);
        for (name, value) in tables.flatten() {
            let named = normalise(name.get_ref());
            let says = self.text.all.get(name.span().start..value.span().end).unwrap_or_default();
            let says = says.lines().next().unwrap_or_default();
            let evidence = self.text.at(name.span().start, says);
            let mut package =
                DeclaredPackage { name: named, holds: Some(true), evidence, ..DeclaredPackage::default() };
            let wanted = match value.get_ref() {
                DeValue::Table(fields) => {
                    let depends = ["platform", "python"].iter().any(|key| fields.contains_key(*key));
                    package.address = comes_from_elsewhere(fields);
                    let markers = string(fields.get("markers")).unwrap_or("os_name == 'posix'");
                    let marked = requirements::package(&format!("x ; {markers}"), &package.evidence);
                    package.holds = marked.and_then(|marked| marked.holds).filter(|_| !depends);
                    let extras = fields.get("extras").and_then(|extras| extras.get_ref().as_array());
                    let extras = extras.into_iter().flatten().filter_map(|extra| extra.get_ref().as_str());
                    package.extras = extras.map(normalise).collect();
                    string(fields.get("version")).unwrap_or("*")
                }
                DeValue::String(text) => text,
                // Several, one for each kind of machine.
                _ => continue,
            };
            let Some(specifier) = poetry_specifier(wanted) else { continue };
            if package.name == "python" {
                set.python.push(DeclaredVersion { value: specifier, evidence: package.evidence });
            } else {
                set.packages.push(DeclaredPackage { specifier, ..package });
            }
        }
        (set.by, set.every_python) = (DeclaredBy::Project, true);
        if !set.packages.is_empty() || !set.python.is_empty() {
            self.sets.push(set);
        }
    }
}

/// Indexes beside the public one.
fn indexes(uv: &DeTable<'_>, text: &Text<'_>, set: &mut DeclaredSet) {
    let mut push = |value: &Value<'_>| {
        if let Some(address) = value.get_ref().as_str() {
            set.indexes.push(version(text, address, value.span()));
        }
    };
    let tables = ["index", "pip"].map(|name| uv.get(name));
    let several = tables.into_iter().flatten().flat_map(|value| match value.get_ref() {
        DeValue::Array(list) => list.iter().collect::<Vec<_>>(),
        _ => vec![value],
    });
    for value in several.filter_map(|value| table(Some(value))).chain([uv]) {
        for key in ["url", "index-url", "extra-index-url", "find-links"] {
            match value.get(key).map(|value| (value, value.get_ref())) {
                Some((_, DeValue::Array(list))) => list.iter().for_each(&mut push),
                Some((value, _)) => push(value),
                None => {}
            }
        }
    }
}

fn version(text: &Text<'_>, value: &str, span: Range<usize>) -> DeclaredVersion {
    let says = text.all.get(span.clone()).unwrap_or(value);
    DeclaredVersion { value: value.to_owned(), evidence: text.at(span.start, says) }
}

fn table<'v, 't>(value: Option<&'v Value<'t>>) -> Option<&'v DeTable<'t>> {
    value.and_then(|value| value.get_ref().as_table())
}

fn string<'v>(value: Option<&'v Value<'_>>) -> Option<&'v str> {
    value.and_then(|value| value.get_ref().as_str())
}

/// Poetry's requirement as PEP 440 writes it; `None` for alternatives and what is not understood.
pub(super) fn poetry_specifier(text: &str) -> Option<String> {
    if text.contains('|') {
        return None;
    }
    let mut parts = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty() && *part != "*") {
        let (sign, version) = part.split_at(part.find(|c: char| c.is_ascii_digit())?);
        let version = version.trim();
        let release: Vec<u64> = version.split('.').map_while(|number| number.parse().ok()).collect();
        let plain = release.len() == version.split('.').count();
        let bumped = |at: usize| {
            let mut next = release.get(..=at)?.to_vec();
            *next.last_mut()? = next.last()?.checked_add(1)?;
            Some(next.iter().map(u64::to_string).collect::<Vec<_>>().join("."))
        };
        parts.push(match sign.trim() {
            "^" => {
                let leading = release.iter().position(|&number| number != 0).unwrap_or(release.len().checked_sub(1)?);
                format!(">={version},<{}", bumped(leading)?)
            }
            "~" if plain => format!(">={version},<{}", bumped(usize::from(release.len() > 1))?),
            "" | "=" => format!("=={version}"),
            sign @ ("==" | ">=" | "<=" | ">" | "<" | "!=" | "~=") => format!("{sign}{version}"),
            _ => return None,
        });
    }
    Some(parts.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(set: &DeclaredSet) -> Vec<String> {
        set.packages.iter().map(|package| format!("{}{}", package.name, package.specifier)).collect()
    }

    const UV: &str = "\
[project]
name = \"App\"
requires-python = \">=3.10\"
dependencies = [
    \"numpy<2\",
    \"tensorflow[and-cuda]~=2.15.0; sys_platform == 'linux'\",
]

[project.optional-dependencies]
new = [\"tensorflow>=2.18\"]
all = [\"app[new]\", \"app[all]\", \"keras>=3\"]

[dependency-groups]
dev = [{include-group = \"test\"}, \"ruff\"]
test = [\"pytest\", {include-group = \"dev\"}]

[tool.uv]
constraint-dependencies = [\"keras<4\"]

[[tool.uv.index]]
url = \"https://example.org/simple\"
";

    #[test]
    fn extras_and_groups_are_sets_of_their_own() {
        let sets = read("/p/pyproject.toml", UV, &[], false).unwrap();
        let seen: Vec<(Option<&str>, Vec<String>)> = sets.iter().map(|set| (set.part.as_deref(), names(set))).collect();
        let base = ["numpy<2", "tensorflow~=2.15.0"];
        let with = |more: &[&str]| base.iter().chain(more).map(|&it| it.to_owned()).collect::<Vec<_>>();
        let owned = |all: &[&str]| all.iter().map(|&it| it.to_owned()).collect::<Vec<_>>();
        assert_eq!(seen[0], (None, with(&["keras<4"])));
        assert!(seen.contains(&(Some("new"), with(&["tensorflow>=2.18", "keras<4"]))));
        assert!(seen.contains(&(Some("all"), with(&["tensorflow>=2.18", "keras>=3", "keras<4"]))));
        assert!(seen.contains(&(Some("dev"), owned(&["pytest", "ruff", "keras<4"]))));
        let first = &sets[0].packages[1].evidence;
        assert_eq!((first.line, first.column), (Some(6), Some(6)));
        assert_eq!(sets[0].python[0].evidence.line, Some(3));
        assert_eq!(sets[0].indexes[0].value, "https://example.org/simple");
        assert!(sets[0].packages[2].constraint && sets.iter().all(|set| set.together));
    }

    #[test]
    fn poetry_has_one_set_with_its_groups() {
        let text = "\
[tool.poetry.dependencies]
python = \"^3.8\"
tensorflow = {version = \"~2.15\", extras = [\"and-cuda\"]}
keras = \"^3.0\"
torch = {url = \"https://example.org/x.whl\"}
colorama = {version = \"*\", markers = \"sys_platform == 'win32'\"}
absl-py = {version = \"*\", markers = \"sys_platform != 'darwin' or platform_machine != 'arm64'\"}
h5py = {version = \"*\", markers = \"python_version > '3.9'\"}
numpy = [{version = \"^1\", python = \"<3.9\"}, {version = \"^2\", python = \">=3.9\"}]

[tool.poetry.group.dev.dependencies]
pytest = \"8.1\"
";
        let sets = read("pyproject.toml", text, &[], false).unwrap();
        assert_eq!(sets.len(), 1);
        let wanted = ["tensorflow>=2.15,<2.16", "keras>=3.0,<4", "torch", "colorama", "pytest==8.1", "absl-py", "h5py"];
        let mut seen = names(&sets[0]);
        seen.sort_unstable();
        let mut wanted = wanted.map(str::to_owned);
        wanted.sort_unstable();
        assert_eq!(seen, wanted);
        assert_eq!(sets[0].python[0].value, ">=3.8,<4");
        let holds = |name: &str| sets[0].packages.iter().find(|package| package.name == name).unwrap().holds;
        assert_eq!(["colorama", "absl-py", "h5py"].map(holds), [Some(false), Some(true), None]);
    }

    #[test]
    fn a_lock_file_is_for_every_python() {
        let project = "[project]\nrequires-python = \">=3.8\"\n";
        let every = |text: &str, locked| read("p", text, &[], locked).unwrap()[0].every_python;
        assert!(every(project, true) && !every(project, false));
        assert!(!every(&format!("{project}[tool.uv]\nenvironments = [\"python_version > '3.9'\"]\n"), true));
        assert!(!every(&format!("{project}[tool.uv.workspace]\nmembers = [\"a\"]\n"), true));
        assert!(every("[tool.poetry.dependencies]\npython = \"^3.8\"\n", false));
    }

    #[test]
    fn an_override_is_no_conflict() {
        let text = "[project]\ndependencies = [\"keras>=3\", \"numpy\"]\n[tool.poetry.dependencies]\nkeras = {source = \"own\"}\n[[tool.poetry.source]]\nname = \"own\"\nurl = \"https://example.org/simple\"\n";
        let sets = read("p", text, &[], false).unwrap();
        assert_eq!(sets[0].indexes[0].value, "https://example.org/simple");
        let own: Vec<bool> = sets[0].packages.iter().map(|package| package.address).collect();
        assert_eq!(own, [true, false]);
        let text = "[project]\ndependencies = [\"keras>=3\"]\n[tool.uv]\noverride-dependencies = [\"keras>=3\"]\n[tool.uv.sources]\nKeras = {git = \"x\"}\n";
        let sets = read("pyproject.toml", text, &[], false).unwrap();
        assert!(!sets[0].together && sets[0].packages[0].address);
        assert!(read("pyproject.toml", "[project\n", &[], false).is_err());
    }

    #[test]
    fn older_groups_of_uv_and_pdm_are_read() {
        let text = "[tool.uv]\ndev-dependencies = [\"keras\"]\n[tool.pdm.dev-dependencies]\nTest_it = [\"numpy\"]\n";
        let sets = read("p", text, &[], false).unwrap();
        let seen: Vec<_> = sets.iter().map(|set| (set.by, set.part.as_deref().unwrap(), names(set))).collect();
        let group = |name, package: &str| (DeclaredBy::Group, name, vec![package.to_owned()]);
        assert_eq!(seen, [group("dev", "keras"), group("test-it", "numpy")]);
    }

    #[test]
    fn what_other_files_and_tools_change() {
        let project = "[project]\ndependencies = [\"tensorflow==2.15.1\", \"keras>=3\"]\n";
        let told = |more: &str, above: &[(&str, &str)]| {
            let above: Vec<_> = above.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
            let set = read("/r/a/pyproject.toml", &format!("{project}{more}"), &above, false).unwrap().remove(0);
            (
                set.together,
                set.packages[0].address,
                set.indexes.into_iter().map(|it| it.evidence.at).collect::<Vec<_>>(),
            )
        };
        let (root, uv) = ("/r/pyproject.toml", "/r/a/uv.toml");
        let private = "[[index]]\nurl = \"https://example.org/simple\"\n";
        for (more, above, wanted) in [
            ("", ("/r/uv.toml", "x = ["), (true, false, vec![])),
            ("", (root, "[tool.uv]\noverride-dependencies = [\"keras<3\"]\n"), (false, false, vec![])),
            ("", (root, "[tool.uv.sources]\ntensorflow = {index = \"corp\"}\n"), (true, true, vec![])),
            ("", (uv, "override-dependencies = [\"keras<3\"]\n"), (false, false, vec![])),
            ("", (uv, private), (true, false, vec![uv.to_owned()])),
            ("[[tool.uv.dependency-metadata]]\nname = \"tensorflow\"\n", (uv, ""), (false, false, vec![])),
            ("[tool.uv]\nexclude-dependencies = [\"keras\"]\n", (uv, ""), (false, false, vec![])),
            ("[tool.pixi.pypi-options.dependency-overrides]\nkeras = \"*\"\n", (uv, ""), (false, false, vec![])),
            (
                "[[tool.pdm.source]]\nurl = \"https://example.org/simple\"\nname = \"x\"\n",
                (uv, ""),
                (true, false, vec!["/r/a/pyproject.toml".to_owned()]),
            ),
        ] {
            assert_eq!(told(more, &[above]), wanted, "{more} {above:?}");
        }
    }

    #[test]
    fn poetry_requirements_are_translated() {
        for (text, wanted) in [
            ("^2.15", Some(">=2.15,<3")),
            ("^0.3.1", Some(">=0.3.1,<0.4")),
            ("^0.0", Some(">=0.0,<0.1")),
            ("~2.15.1", Some(">=2.15.1,<2.16")),
            ("~2", Some(">=2,<3")),
            ("2.15.*", Some("==2.15.*")),
            ("*", Some("")),
            (">=3.9, <3.13", Some(">=3.9,<3.13")),
            ("^2.15 || ^3", None),
            ("latest", None),
        ] {
            assert_eq!(poetry_specifier(text).as_deref(), wanted, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(\\PC|\n){0,120}", cut in 0..600usize) {
            let _ = read("p", &text, &[], false);
            let _ = read("p", UV.get(..cut).unwrap_or(UV), &[], false);
            let _ = poetry_specifier(&text);
        }
    }
}
