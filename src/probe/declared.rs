//! What the repository declares: finds its requirements files, manifests, lock files, environments, Dockerfiles and
//! compose files and reads them, within limits.
//!
//! YAML is read with the feature `cli` only.
//! Nothing is resolved, built or downloaded, and nothing outside of the repository is looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::facts::{Declared, DeclaredBy, DeclaredPackage, DeclaredSet, Evidence, Trouble};
use crate::host::{Entry, Host, HostError, Kind};
use crate::options::Options;

use super::repository::{self, Bounds};
use crate::sort::Sorted as _;

#[cfg(feature = "cli")]
mod compose;
#[cfg(feature = "cli")]
mod conda;
mod dockerfile;
mod image;
mod locks;
mod place;
mod pyproject;
mod requirements;
mod shell;
#[cfg(feature = "cli")]
mod yaml;

use image::Put;
use requirements::{Include, Read};

/// Folders are searched this deep below the repository's own.
const DEPTH: u32 = 4;
/// No more folders than this are listed.
const MOST_FOLDERS: usize = 2_000;
/// No more files than this are read.
const MOST_FILES: usize = 200;
/// A larger file is not read.
const LARGEST: u64 = 4 << 20;
/// No more scripts and the like are asked whether they set arguments of builds, and no larger ones.
const MOST_SCRIPTS: usize = 1_000;
const LARGEST_SCRIPT: u64 = 1 << 20;
/// No more packages than this are taken from requirements files, those of included files counted each time.
const MOST_PACKAGES: usize = 50_000;
/// Requirements files that one of them includes, in all.
const MOST_INCLUDES: usize = 64;

/// Reads what the repository around the working folder (or the manifest that was named) declares.
pub fn probe(host: &Host, options: &Options) -> Option<Declared> {
    let (root, depth) = repository::around(host, options, DEPTH);
    let mut reader = Reader {
        host,
        root: root.clone(),
        depth,
        out: Declared::default(),
        files: BTreeSet::new(),
        packages: 0,
        arguments: BTreeMap::new(),
        overridden: Vec::new(),
        wishes: Vec::new(),
        uses: BTreeMap::new(),
    };
    let found = reader.find();
    for (path, kind) in found {
        reader.read(&path, kind);
    }
    reader.leave_out_arguments();
    reader.heed_uses();
    reader.grant();
    let mut out = reader.out;
    out.files = reader.files.into_iter().collect();
    out.root = text(&root);
    (!out.files.is_empty()).then_some(out)
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum File {
    Requirements,
    Pyproject,
    Dockerfile,
    /// uv.lock, poetry.lock.
    Lock,
    Pipfile,
    #[cfg(feature = "cli")]
    Conda,
    /// Whatever has such a name; one of conda's where it says from which channels it comes.
    #[cfg(feature = "cli")]
    MaybeConda,
    #[cfg(feature = "cli")]
    Compose,
}

/// What kind of file a name promises.
fn kind(name: &str, folder: &str) -> Option<File> {
    let lower = name.to_ascii_lowercase();
    let stem = lower.strip_suffix(".txt").or_else(|| lower.strip_suffix(".in"));
    match lower.as_str() {
        "pyproject.toml" => return Some(File::Pyproject),
        "uv.lock" | "poetry.lock" => return Some(File::Lock),
        "pipfile.lock" => return Some(File::Pipfile),
        _ => {}
    }
    #[cfg(feature = "cli")]
    if let Some(stem) = lower.strip_suffix(".yml").or_else(|| lower.strip_suffix(".yaml")) {
        let named = |word: &str| {
            stem.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-', '_']))
        };
        let ends = |word: &str| stem.strip_suffix(word).is_some_and(|rest| rest.ends_with(['.', '-', '_']));
        return if named("environment") || named("conda") {
            Some(File::Conda)
        } else if named("env") || ends("environment") || ends("env") {
            Some(File::MaybeConda)
        } else if named("compose") || named("docker-compose") {
            Some(File::Compose)
        } else {
            None
        };
    }
    let words = ["dockerfile", "containerfile"];
    if words.iter().any(|word| {
        lower.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-', '_']))
            || lower.strip_suffix(word).is_some_and(|rest| rest.ends_with('.'))
    }) {
        let other =
            [".dockerignore", ".j2", ".jinja", ".jinja2", ".tmpl", ".template", ".tpl", ".md", ".in", ".mustache"];
        return (!other.iter().any(|end| lower.ends_with(end))).then_some(File::Dockerfile);
    }
    // What constraints and overrides name, something else asks for.
    let stem = stem.filter(|stem| !stem.contains("constraint") && !stem.contains("override"))?;
    (stem.contains("requirements") || folder.eq_ignore_ascii_case("requirements")).then_some(File::Requirements)
}

/// Whether a file of that name may run builds, or say how they are run.
fn runs_builds(name: &str) -> bool {
    const NAMES: [&str; 5] = [".devcontainer.json", "devcontainer.json", "fly.toml", "package.json", "tasks.py"];
    const BEGINS: [&str; 9] = [
        "docker-bake.",
        "earthfile",
        "gnumakefile",
        "jenkinsfile",
        "justfile",
        "makefile",
        "readme",
        "taskfile",
        "tiltfile",
    ];
    let lower = name.to_ascii_lowercase();
    let end = lower.rsplit_once('.').map_or("", |(_, end)| end);
    matches!(end, "bash" | "bat" | "mk" | "ps1" | "sh" | "yaml" | "yml")
        || NAMES.contains(&lower.as_str())
        || BEGINS.iter().any(|begin| lower.starts_with(begin))
}

/// Variables with which pip and uv leave dependencies out, or put others in their place.
const FORCING: [&str; 3] = ["PIP_NO_DEPENDENCIES", "PIP_NO_DEPS", "UV_OVERRIDE"];

/// Whether an option does so.
fn forces(word: &str) -> bool {
    let name = word.split('=').next().unwrap_or_default();
    matches!(name, "--no-deps" | "--no-dependencies" | "--override" | "--overrides")
}

/// Whether a text is a template, so that nobody can tell what will stand there.
fn is_template(path: &Path, text: &str) -> bool {
    // Tools keep templates of their own in the strings of a pyproject.toml.
    let strings = path.file_name().is_some_and(|name| name == "pyproject.toml");
    let begins = |line: &str| line.trim_start_matches([' ', '\t', '#']).starts_with("{%");
    path.to_string_lossy().contains("{{") || if strings { text.lines().any(begins) } else { text.contains("{%") }
}

struct Reader<'h> {
    host: &'h Host,
    root: PathBuf,
    /// How deep below it files are looked for.
    depth: u32,
    out: Declared,
    files: BTreeSet<String>,
    packages: usize,
    /// What builds may set, by Dockerfile.
    arguments: BTreeMap<String, BTreeSet<String>>,
    /// The Dockerfiles for which a compose file sets arguments, and their names.
    overridden: Vec<(String, BTreeSet<String>)>,
    /// Dockerfiles and stages that a service runs with a GPU, and where it says so.
    wishes: Vec<(String, Option<String>, Evidence)>,
    /// How files of requirements are used, by their real path.
    uses: BTreeMap<String, BTreeSet<Use>>,
}

/// What is made of a file of requirements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    /// It only constrains what something else asks for.
    Constrain,
    /// It is installed, and versions are found for all of it.
    Resolve,
    /// It is installed as it is: without dependencies, or with some of them overridden.
    Force,
}

impl Reader<'_> {
    /// The files of the repository that declare something, by path.
    fn find(&mut self) -> Vec<(PathBuf, File)> {
        let bounds = Bounds { depth: self.depth, folders: MOST_FOLDERS, files: MOST_FILES };
        repository::walk(self.host, &self.root, &bounds, &mut self.out.troubles, |entry, own| {
            if matches!(entry.kind, Kind::File | Kind::Link) { kind(&entry.name, own) } else { None }
        })
    }

    fn trouble(&mut self, error: &HostError) {
        if !error.is_absent() {
            self.out.troubles.push(Trouble { at: error.path.clone(), why: error.why.to_string() });
        }
    }

    fn load(&mut self, path: &Path) -> Option<String> {
        let bytes = match self.host.read(path, LARGEST) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.trouble(&error);
                return None;
            }
        };
        let Some(content) = requirements::decode(&bytes) else {
            self.out.troubles.push(Trouble { at: text(path), why: "not UTF-8".to_owned() });
            return None;
        };
        if is_template(path.strip_prefix(&self.root).unwrap_or(path), &content) {
            return None;
        }
        self.files.insert(text(path));
        Some(content)
    }

    fn read(&mut self, path: &Path, kind: File) {
        // What a link outside of the repository leads to is not its declaration.
        let inside = |real: PathBuf| self.host.real(&self.root).is_ok_and(|root| real.starts_with(root));
        if !self.host.real(path).is_ok_and(inside) {
            return;
        }
        let Some(content) = self.load(path) else { return };
        let name = text(path);
        match kind {
            File::Requirements => {
                let mut set = DeclaredSet { file: name.clone(), together: true, ..DeclaredSet::default() };
                let read = requirements::read(&name, &content);
                self.gather(path, read, false, &mut set, &mut BTreeSet::from([name]));
                // Constraints alone install nothing.
                if set.packages.iter().any(|package| !package.constraint) {
                    self.out.sets.push(set);
                }
            }
            File::Pyproject => {
                let locked = self.host.is_file(path.with_file_name("uv.lock"));
                match pyproject::read(&name, &content, &self.above(path), locked) {
                    Ok(sets) => self.out.sets.extend(sets),
                    Err(why) => self.out.troubles.push(Trouble { at: name, why }),
                }
            }
            File::Dockerfile => self.dockerfile(path, &content),
            File::Lock => match locks::tables(&name, &content) {
                Ok(set) if set.packages.is_empty() && set.python.is_empty() => {}
                Ok(set) => self.out.sets.push(set),
                Err(why) => self.out.troubles.push(Trouble { at: name, why }),
            },
            File::Pipfile => match locks::pipfile(&name, &content) {
                Ok(sets) => self.out.sets.extend(sets),
                Err(why) => self.out.troubles.push(Trouble { at: name, why }),
            },
            #[cfg(feature = "cli")]
            File::Conda => match conda::read(&name, &content) {
                Ok(Some(environment)) => self.conda(path, environment),
                Ok(None) => {}
                Err(why) => self.out.troubles.push(Trouble { at: name, why }),
            },
            #[cfg(feature = "cli")]
            File::MaybeConda => {
                if let Ok(Some(environment)) = conda::read(&name, &content)
                    && environment.channels
                {
                    self.conda(path, environment);
                }
            }
            #[cfg(feature = "cli")]
            File::Compose => match compose::read(&name, &content) {
                Ok(services) => self.services(path, services),
                Err(why) => self.out.troubles.push(Trouble { at: name, why }),
            },
        }
    }

    /// The settings of uv beside a pyproject.toml and in the folders above, the root of a workspace among them.
    fn above(&mut self, path: &Path) -> Vec<(String, String)> {
        let root = self.root.clone();
        let folders = path.ancestors().skip(1).take_while(|folder| folder.starts_with(&root));
        let files = folders.flat_map(|folder| ["uv.toml", "pyproject.toml"].map(|name| folder.join(name)));
        let files: Vec<_> = files.filter(|file| file != path && self.host.is_file(file)).collect();
        files.into_iter().filter_map(|file| Some((text(&file), self.load(&file)?))).collect()
    }

    /// What pip puts on top of conda's packages is a set of its own, with conda's Python.
    #[cfg(feature = "cli")]
    fn conda(&mut self, path: &Path, environment: conda::Environment) {
        let conda = environment.conda;
        if let Some(read) = environment.pip {
            let mut pip = DeclaredSet {
                by: DeclaredBy::Install,
                part: Some("pip".to_owned()),
                python: conda.python.clone(),
                file: conda.file.clone(),
                together: true,
                ..DeclaredSet::default()
            };
            self.gather(path, read, false, &mut pip, &mut BTreeSet::new());
            self.out.sets.push(pip);
        }
        self.out.sets.push(conda);
    }

    #[cfg(feature = "cli")]
    fn services(&mut self, path: &Path, services: Vec<compose::Service>) {
        for service in services {
            if let Some(build) = service.builds {
                let folder = path.parent().unwrap_or(Path::new("/")).join(build.context);
                let file = folder.join(build.dockerfile);
                let file = text(&self.host.real(&file).unwrap_or(file));
                if let Some(gpu) = service.set.gpu.as_ref().filter(|_| !service.changed) {
                    self.wishes.push((file.clone(), build.target, gpu.clone()));
                }
                self.overridden.push((file, build.arguments));
            }
            self.out.sets.push(service.set);
        }
    }

    /// Leaves Dockerfiles out whose arguments somebody sets: their own values are not what is built.
    fn leave_out_arguments(&mut self) {
        if self.arguments.is_empty() {
            return;
        }
        let Some(advice) = self.sets_arguments() else {
            // Which of them a script means is not looked into.
            let out: BTreeSet<String> = self.arguments.keys().cloned().sorted_set();
            return self.leave_out(&out);
        };
        let host = self.host;
        let overridden = |file: &String, names: &BTreeSet<String>| {
            let real = host.real_text(file);
            self.overridden.iter().any(|(other, set)| *other == real && !set.is_disjoint(names))
                || advice.iter().any(|text| names.iter().any(|name| text.contains(name)))
        };
        let out: BTreeSet<String> = self
            .arguments
            .iter()
            .filter(|(file, names)| overridden(file, names))
            .map(|(file, _)| file.clone())
            .sorted_set();
        self.leave_out(&out);
    }

    fn leave_out(&mut self, dockerfiles: &BTreeSet<String>) {
        let of_docker = |set: &DeclaredSet| matches!(set.by, DeclaredBy::Stage | DeclaredBy::Install);
        self.out.sets.retain(|set| !(of_docker(set) && dockerfiles.contains(&set.file)));
    }

    /// `None` where something of the repository runs builds with arguments of its own; else what its READMEs say of
    /// such builds.
    fn sets_arguments(&self) -> Option<Vec<String>> {
        let bounds = Bounds { depth: self.depth, folders: MOST_FOLDERS, files: MOST_SCRIPTS };
        let wanted = |entry: &Entry, _: &str| {
            (matches!(entry.kind, Kind::File | Kind::Link) && runs_builds(&entry.name)).then_some(())
        };
        let mut advice = Vec::new();
        for folder in ["", ".github", ".circleci", "build"] {
            // Where there are more, those are asked that were found.
            let found = repository::walk(self.host, &self.root.join(folder), &bounds, &mut Vec::new(), wanted);
            for (file, ()) in found {
                let name = file.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
                if name.starts_with("docker-bake.") {
                    return None;
                }
                let Ok(bytes) = self.host.read(&file, LARGEST_SCRIPT) else { continue };
                let text = String::from_utf8_lossy(&bytes);
                let lower = text.to_ascii_lowercase();
                let words = ["build-arg", "build_arg", "buildarg", "[build.args]"];
                let mentioned = words.iter().any(|word| lower.contains(word))
                    || (name.ends_with("devcontainer.json") && lower.contains("\"args\""));
                if !mentioned {
                    continue;
                }
                if !name.starts_with("readme") {
                    return None;
                }
                advice.push(text.into_owned());
            }
        }
        Some(advice)
    }

    /// Files of the repository that hold commands, with their texts.
    fn scripts(&self) -> impl Iterator<Item = (PathBuf, String)> {
        const FILES: [&str; 10] = [
            ".circleci/config.yml",
            ".gitlab-ci.yml",
            "Jenkinsfile",
            "Justfile",
            "Makefile",
            "Taskfile.yml",
            "azure-pipelines.yml",
            "cloudbuild.yaml",
            "justfile",
            "makefile",
        ];
        let workflows = self.root.join(".github/workflows");
        let listed = self.host.names(&workflows).into_iter().map(|name| workflows.join(name));
        let scripts = ["", "scripts", "docker", "ci"].iter().flat_map(|folder| {
            let folder = self.root.join(folder);
            let names = self
                .host
                .names(&folder)
                .into_iter()
                .filter(|name| name.rsplit_once('.').is_some_and(|(_, end)| end == "sh"));
            names.map(|name| folder.join(name)).collect::<Vec<_>>()
        });
        let files: Vec<_> = FILES.iter().map(|name| self.root.join(name)).chain(listed).chain(scripts).collect();
        files.into_iter().take(MOST_FILES).filter_map(|file| {
            let bytes = self.host.read(&file, LARGEST).ok()?;
            Some((file, String::from_utf8_lossy(&bytes).into_owned()))
        })
    }

    fn note_use(&mut self, file: &Path, how: Use) {
        self.uses.entry(self.host.real_text(file)).or_default().insert(how);
    }

    /// Notes which files the commands of a script name; pip is the only program that is looked for.
    fn note_commands(&mut self, script: &Path, text: &str) {
        let quotes = ['"', '\'', '`', ',', '[', ']', '(', ')'];
        let text = text.replace("\\\r\n", " ").replace("\\\n", " ");
        let mut found: Vec<(String, Use)> = Vec::new();
        for name in ["PIP_CONSTRAINT", "UV_CONSTRAINT"] {
            for (at, _) in text.match_indices(name) {
                let value = text[at + name.len()..].trim_start_matches([':', '=', ' ', '"', '\'']);
                let value = value.split(|c: char| c.is_whitespace() || quotes.contains(&c)).next();
                found.extend(value.map(|value| (value.to_owned(), Use::Constrain)));
            }
        }
        let everywhere = FORCING.iter().any(|name| text.contains(name));
        for command in text.lines().flat_map(|line| line.split("&&")).flat_map(|line| line.split(';')) {
            let words: Vec<&str> = command
                .split(|c: char| c.is_whitespace() || quotes.contains(&c))
                .filter(|word| !word.is_empty())
                .collect();
            let Some(at) = words.iter().position(|word| matches!(*word, "install" | "sync")) else { continue };
            if !words[..at].iter().any(|word| word.contains("pip")) {
                continue;
            }
            let mut read = Read::default();
            requirements::options(&words[at + 1..], &mut read, &|_| Evidence::default());
            let forced = everywhere || words.iter().any(|word| forces(word));
            let how = if forced { Use::Force } else { Use::Resolve };
            found.extend(
                read.includes.into_iter().map(|it| (it.path, if it.constraint { Use::Constrain } else { how })),
            );
        }
        for (path, how) in found {
            // `$ROOT/requirements.txt`: the variable stands for one of the two folders.
            let behind = |at: usize| path[at..].split_once('/').map_or("", |(_, rest)| rest);
            let path = path.rfind(['$', '}']).map_or(path.as_str(), behind);
            let folders = [script.parent(), Some(&*self.root)];
            let file = folders.into_iter().flatten().map(|folder| folder.join(path)).find(|it| self.host.is_file(it));
            if let Some(file) = file {
                self.note_use(&file, how);
            }
        }
    }

    /// Leaves files out that only constrain what others ask for, and holds nothing together in those that are only ever
    /// installed as they are.
    fn heed_uses(&mut self) {
        let files = |set: &DeclaredSet| set.by == DeclaredBy::Requirements;
        if !self.out.sets.iter().any(files) {
            return;
        }
        let scripts: Vec<_> = self.scripts().collect();
        for (script, text) in scripts {
            self.note_commands(&script, &text);
        }
        let host = self.host;
        let uses = |set: &DeclaredSet| {
            let uses = self.uses.get(&host.real_text(&set.file)).filter(|_| files(set))?;
            // Where it is installed in two ways, the stricter one counts.
            [Use::Resolve, Use::Force, Use::Constrain].into_iter().find(|it| uses.contains(it))
        };
        self.out.sets.retain(|set| uses(set) != Some(Use::Constrain));
        for set in &mut self.out.sets {
            set.together &= uses(set) != Some(Use::Force);
        }
    }

    /// Marks the stages that a service runs with a GPU.
    fn grant(&mut self) {
        for (file, target, gpu) in std::mem::take(&mut self.wishes) {
            let host = self.host;
            let same = |set: &&mut DeclaredSet| {
                set.by == DeclaredBy::Stage && (set.file == file || host.real_text(&set.file) == file)
            };
            let mut stages = self.out.sets.iter_mut().filter(same);
            // Without a target the last stage is what is run.
            let stage = match &target {
                Some(target) => {
                    stages.find(|set| set.part.as_ref().is_some_and(|name| name.eq_ignore_ascii_case(target)))
                }
                None => stages.next_back(),
            };
            if let Some(stage) = stage {
                stage.gpu = Some(gpu);
            }
        }
    }

    /// Puts what a requirements file says into a set, and what the files say that it includes.
    ///
    /// Whether all of them could be read.
    fn gather(
        &mut self,
        file: &Path,
        read: Read,
        constraint: bool,
        set: &mut DeclaredSet,
        seen: &mut BTreeSet<String>,
    ) -> bool {
        let mut whole = !read.open;
        self.packages += read.packages.len();
        if self.packages > MOST_PACKAGES {
            let why = "more packages are declared than are read".to_owned();
            self.out.troubles.push(Trouble { at: text(file), why });
            return false;
        }
        set.packages.extend(
            read.packages
                .into_iter()
                .map(|package| DeclaredPackage { constraint: package.constraint || constraint, ..package }),
        );
        set.indexes.extend(read.indexes);
        for Include { path, constraint: only } in read.includes {
            if path.contains("://") || path.contains('$') || seen.len() >= MOST_INCLUDES {
                whole = false;
                continue;
            }
            let next = file.parent().unwrap_or(Path::new("/")).join(&path);
            let next = self.host.real(&next).unwrap_or(next);
            if !seen.insert(text(&next)) {
                continue;
            }
            // What lies outside of the repository is not its declaration.
            let inside =
                next.starts_with(&self.root) || self.host.real(&self.root).is_ok_and(|root| next.starts_with(root));
            let Some(content) = inside.then(|| self.load(&next)).flatten() else {
                whole = false;
                continue;
            };
            if constraint || only {
                self.note_use(&next, Use::Constrain);
            }
            let read = requirements::read(&text(&next), &content);
            whole &= self.gather(&next, read, constraint || only, set, seen);
        }
        whole
    }

    fn dockerfile(&mut self, path: &Path, content: &str) {
        let name = text(path);
        let stages = dockerfile::read(&name, content);
        let arguments = dockerfile::arguments(content);
        if !arguments.is_empty() {
            self.arguments.insert(name.clone(), arguments);
        }
        let mut built: Vec<DeclaredSet> = Vec::new();
        let mut forcing: Vec<bool> = Vec::new();
        for stage in stages {
            let sets = |name: &&str| {
                let value = stage.variables.iter().find(|it| it.name == **name).map(|it| it.value.to_lowercase());
                value.is_some_and(|value| !matches!(&*value, "" | "0" | "false" | "no" | "off"))
            };
            let forced = FORCING.iter().any(sets) || stage.parent.and_then(|at| forcing.get(at)) == Some(&true);
            forcing.push(forced);
            for variable in stage.variables.iter().filter(|it| matches!(&*it.name, "PIP_CONSTRAINT" | "UV_CONSTRAINT"))
            {
                let at = image::path(None, &variable.value);
                if let Some(file) = at.and_then(|at| self.origin(path, &stage.files, &at)) {
                    self.note_use(&file, Use::Constrain);
                }
            }
            let part = Some(stage.name.clone());
            let below = stage.parent.and_then(|index| built.get(index));
            let mut set = DeclaredSet {
                by: DeclaredBy::Stage,
                file: name.clone(),
                part: part.clone(),
                packages: below.map(|below| below.packages.clone()).unwrap_or_default(),
                indexes: below.map(|below| below.indexes.clone()).unwrap_or_default(),
                python: stage.python.into_iter().filter(|_| !stage.python_open).collect(),
                image: stage.image,
                variables: stage.variables,
                complete: stage.complete && below.is_none_or(|below| below.complete),
                ..DeclaredSet::default()
            };
            set.indexes.extend(stage.indexes.iter().cloned());
            for install in stage.installs {
                let mut one = DeclaredSet {
                    indexes: stage.indexes.clone(),
                    by: DeclaredBy::Install,
                    file: name.clone(),
                    part: part.clone(),
                    together: install.dependencies && !forced,
                    ..DeclaredSet::default()
                };
                let mut read = install.read;
                let includes = std::mem::take(&mut read.includes);
                let mut whole = !read.open && install.certain;
                self.gather(path, read, false, &mut one, &mut BTreeSet::new());
                let puts = stage.files.get(..install.before).unwrap_or(&stage.files);
                for include in includes {
                    let at = image::path(install.folder.as_deref(), &include.path);
                    if let Some(file) = at.as_ref().and_then(|at| self.origin(path, puts, at)) {
                        let how = if one.together { Use::Resolve } else { Use::Force };
                        self.note_use(&file, if include.constraint { Use::Constrain } else { how });
                    }
                    let part = at.and_then(|at| self.stands_at(path, puts, &at, include.constraint));
                    let Some((part, all)) = part else {
                        whole = false;
                        continue;
                    };
                    whole &= all;
                    one.packages.extend(part.packages);
                    one.indexes.extend(part.indexes);
                }
                set.complete &= whole;
                if install.certain {
                    set.packages.extend(one.packages.iter().cloned());
                    set.indexes.extend(one.indexes.iter().cloned());
                    self.out.sets.push(one);
                }
            }
            built.push(set);
        }
        self.out.sets.extend(built);
    }

    /// What the requirements file at a path of an image says with those that it includes, and whether all were read.
    fn stands_at(
        &mut self,
        dockerfile: &Path,
        puts: &[Put],
        at: &str,
        constraint: bool,
    ) -> Option<(DeclaredSet, bool)> {
        let file = self.origin(dockerfile, puts, at)?;
        let content = self.load(&file)?;
        let name = text(&file);
        let mut seen = BTreeSet::from([name.clone()]);
        let mut set = DeclaredSet::default();
        let whole = self.gather(&file, requirements::read(&name, &content), constraint, &mut set, &mut seen);
        // An included file must stand beside it in the image as it does in the repository.
        let real = |path: &Path| self.host.real(path).ok();
        let beside = |other: &String| {
            let other = real(Path::new(other))?;
            let (mut folder, mut there) = (real(file.parent()?)?, Path::new(at).parent()?);
            while !other.starts_with(&folder) {
                folder.pop();
                there = there.parent()?;
            }
            let below = text(other.strip_prefix(&folder).ok()?);
            let found = self.origin(dockerfile, puts, &image::path(there.to_str(), &below)?)?;
            (real(&found)? == other).then_some(())
        };
        seen.iter().all(|other| *other == name || beside(other).is_some()).then_some((set, whole))
    }

    /// The file of the repository that stands at a path of the image; `None` where more than one may.
    ///
    /// Which folder is built no Dockerfile says: its own and those around it are tried.
    fn origin(&self, dockerfile: &Path, puts: &[Put], at: &str) -> Option<PathBuf> {
        let contexts = dockerfile.ancestors().skip(1).take_while(|folder| folder.starts_with(&self.root));
        let found = contexts.filter_map(|context| image::origin(self.host, context, puts, at));
        // By what links lead to.
        let found: BTreeMap<PathBuf, PathBuf> =
            found.filter_map(|file| Some((self.host.real(&file).ok()?, file))).sorted_map();
        let root = self.host.real(&self.root).ok()?;
        let (real, file) = found.first_key_value()?;
        (found.len() == 1 && real.starts_with(root)).then(|| file.clone())
    }
}

#[cfg(all(test, feature = "cli"))]
mod tests {
    use super::*;
    use crate::probe::testing::Tree;

    fn read(tree: &Tree, cwd: &str) -> Declared {
        probe(&tree.host(&[("PWD", cwd), ("HOME", "/home/ada")]), &Options::default()).unwrap_or_default()
    }

    fn names(set: &DeclaredSet) -> Vec<String> {
        let sign = |package: &DeclaredPackage| if package.constraint { "(c)" } else { "" };
        set.packages.iter().map(|it| format!("{}{}{}", it.name, it.specifier, sign(it))).collect()
    }

    #[test]
    fn includes_end_and_constraints_stay_constraints() {
        let tree = Tree::new();
        tree.folder("/r/.git")
            .write("/r/requirements.txt", "-r deps/base.txt\n-c constraints.txt\nkeras\n")
            .write("/r/deps/base.txt", "-r ../requirements.txt\n-r ../../etc/passwd.txt\ntensorflow==2.15.*\n")
            .write("/etc/passwd.txt", "secret\n")
            .write("/r/constraints.txt", "-r more.txt\nnumpy<2\n")
            .write("/r/more.txt", "keras<3\n")
            .write("/r/node_modules/requirements.txt", "a\n")
            .write("/r/sub/.git", "gitdir: x\n")
            .write("/r/sub/requirements.txt", "a\n")
            .write("/r/own/pyvenv.cfg", "")
            .write("/r/own/requirements.txt", "a\n");
        let declared = read(&tree, "/r/deps");
        assert_eq!((declared.root.as_str(), declared.sets.len()), ("/r", 1));
        assert_eq!(names(&declared.sets[0]), ["keras", "tensorflow==2.15.*", "numpy<2(c)", "keras<3(c)"]);
        assert_eq!(declared.sets[0].packages[1].evidence.at, "/r/deps/base.txt");
        assert!(!declared.files.iter().any(|file| file.contains("passwd")));
    }

    #[test]
    fn a_folder_that_is_no_repository_is_not_searched() {
        let tree = Tree::new();
        tree.write("/home/ada/requirements.txt", "keras\n")
            .folder("/home/ada/.git")
            .write("/home/ada/x/requirements.txt", "keras\n")
            .write("/requirements.txt", "keras\n");
        assert_eq!(read(&tree, "/home/ada").files, ["/home/ada/requirements.txt"]);
        assert_eq!(read(&tree, "/").files, ["/requirements.txt"]);
        assert_eq!(read(&tree, "/nowhere").files, Vec::<String>::new());
    }

    #[test]
    fn a_dockerfile_finds_the_file_that_it_copies() {
        let tree = Tree::new();
        tree.folder("/r/.git")
            .write("/r/docker/gpu.Dockerfile", "FROM python:3.8\nWORKDIR /app\nCOPY app/requirements.txt .\nRUN pip install -r requirements.txt\n")
            .write("/r/app/requirements.txt", "tensorflow>=2.18\n")
            .write("/r/Dockerfile", "FROM python:3.8 AS a\nCOPY . /src\nRUN pip install -r /src/app/requirements.txt\nFROM a\nRUN pip install keras\n");
        let declared = read(&tree, "/r");
        let stages: Vec<Vec<String>> =
            declared.sets.iter().filter(|set| set.by == DeclaredBy::Stage).map(names).collect();
        assert_eq!(stages, [vec!["tensorflow>=2.18"], vec!["tensorflow>=2.18", "keras"], vec!["tensorflow>=2.18"]]);
        assert!(declared.sets.iter().all(|set| set.by != DeclaredBy::Stage || set.complete));
        // Two files of that name may stand there: it cannot be told which.
        tree.write("/r/docker/app/requirements.txt", "keras\n");
        let declared = read(&tree, "/r");
        let gpu = declared.sets.iter().find(|set| set.by == DeclaredBy::Stage && set.file.ends_with("gpu.Dockerfile"));
        assert!(gpu.is_some_and(|set| set.packages.is_empty() && !set.complete));
    }

    #[test]
    fn a_dockerfile_installs_what_stands_there() {
        let tree = Tree::new();
        tree.folder("/r/.git")
            .write("/r/requirements.txt", "-r base.txt\ntensorflow\n")
            .write("/r/base.txt", "numpy\n")
            .write("/r/gpu.txt", "jax\n")
            .write("/r/old/requirements.txt", "keras\n");
        for (lines, wanted) in [
            ("COPY . /app\nWORKDIR /app/old\nRUN pip install -r requirements.txt", "keras"),
            ("COPY . /app\nRUN cd /app/old && pip install -r requirements.txt", "keras"),
            ("COPY . .\nRUN pip install -r requirements.txt", "tensorflow numpy"),
            ("COPY req*.txt base.txt /t/\nRUN pip install -r /t/requirements.txt", "tensorflow numpy"),
            ("COPY requirements.txt .\nRUN pip install -r requirements.txt", "?"),
            ("COPY requirements.txt .\nCOPY gpu.txt base.txt\nRUN pip install -r requirements.txt", "?"),
            ("RUN git clone https://example.org/y /y && pip install -r /y/requirements.txt\nCOPY . /app", "?"),
            ("COPY . .\nRUN git clone https://example.org/y && cd y && pip install -r requirements.txt", "?"),
            ("WORKDIR /app\nCOPY gpu.txt requirements.txt\nRUN pip install -r requirements.txt\nCOPY . .", "jax"),
            ("COPY . /app\nRUN pip install -r /app/new/requirements.txt", "?"),
            (
                "RUN --mount=type=bind,source=gpu.txt,target=/t/requirements.txt pip install -r /t/requirements.txt\n\
                 RUN pip install -r /t/requirements.txt",
                "jax ?",
            ),
            ("RUN --mount=type=bind,target=. pip install -r old/requirements.txt", "keras"),
            ("COPY --from=made /r.txt requirements.txt\nRUN pip install -r requirements.txt\nCOPY . .", "?"),
            ("COPY . .\nRUN sed -i /b/d requirements.txt && pip install -r requirements.txt", "?"),
            ("COPY . .\nRUN echo x > base.txt\nRUN pip install -r requirements.txt", "?"),
            (
                "COPY . .\nRUN echo x > base.txt\nFROM 0\nCOPY . .\nRUN pip install -r requirements.txt",
                "tensorflow numpy",
            ),
            ("COPY . .\nRUN sed -i s/a/b/ gpu.txt && rm -rf /tmp/*\nRUN pip install -r old/requirements.txt", "keras"),
            ("COPY . /app\nWORKDIR /app\nFROM 0\nRUN pip install -r gpu.txt", "jax"),
        ] {
            tree.write("/r/Dockerfile", &format!("FROM python:3.12\n{lines}\n"));
            let declared = read(&tree, "/r");
            let stage = declared.sets.iter().rfind(|set| set.by == DeclaredBy::Stage).unwrap();
            let mut seen = names(stage);
            seen.extend((!stage.complete).then(|| "?".to_owned()));
            assert_eq!(seen.join(" "), wanted, "{lines}");
            // Each place has one name.
            assert!(declared.sets.iter().flat_map(|set| &set.packages).all(|it| !it.evidence.at.contains("/./")));
        }
    }

    #[test]
    fn arguments_that_somebody_sets_leave_a_dockerfile_out() {
        let tree = Tree::new();
        tree.folder("/r/.git").write("/r/Dockerfile", "ARG V=3.8\nFROM python:$V\nRUN pip install tensorflow\n");
        let sets = |tree: &Tree| read(tree, "/r").sets.len();
        assert_eq!(sets(&tree), 2);
        tree.write("/r/compose.yml", "services: {a: {build: {context: ., args: {W: 1}}}}\n");
        assert_eq!(sets(&tree), 3);
        tree.write("/r/compose.yml", "services: {a: {build: {context: ., args: [V=3.11]}}}\n");
        assert_eq!(sets(&tree), 1);
        tree.write("/r/compose.yml", "")
            .write("/r/.github/workflows/ci.yml", "run: docker build --build-arg V=3.12 .\n");
        assert_eq!(sets(&tree), 0);
        tree.write("/r/.github/workflows/ci.yml", "run: docker build .\n");
        assert_eq!(sets(&tree), 2);
        for (file, text, left) in [
            (".devcontainer/devcontainer.json", "{\"build\": {\"args\": {\"V\": \"3.11\"}}}", 0),
            ("skaffold.yaml", "buildArgs:\n  V: 3.11\n", 0),
            ("fly.toml", "[build.args]\nV = \"3.11\"\n", 0),
            ("tools/x/build.sh", "docker build --build-arg V=3.11 .\n", 0),
            ("README.md", "docker build --build-arg V=3.11 .\n", 0),
            ("README.md", "docker build --build-arg W=3.11 .\n", 2),
        ] {
            tree.write(&format!("/r/{file}"), text);
            assert_eq!(sets(&tree), left, "{file}");
            tree.write(&format!("/r/{file}"), "");
        }
    }

    #[test]
    fn what_only_constrains_is_no_set() {
        let tree = Tree::new();
        let own = |tree: &Tree| {
            let sets = read(tree, "/r").sets;
            let own = sets.into_iter().filter(|set| set.by == DeclaredBy::Requirements);
            own.map(|set| (set.file.replace("/r/", ""), set.together)).collect::<Vec<_>>()
        };
        tree.folder("/r/.git")
            .write("/r/requirements/constraints.txt", "tensorflow<2.16\n")
            .write("/r/requirements-override.txt", "keras>=3\n")
            .write("/r/requirements/pins.txt", "keras>=3\n")
            .write("/r/requirements/all.txt", "tensorflow<2.16\nkeras>=3\n")
            .write("/r/requirements.txt", "-c requirements/pins.txt\ntensorflow\n");
        let both = || vec![("requirements/all.txt".to_owned(), true), ("requirements.txt".to_owned(), true)];
        assert_eq!(own(&tree), both());
        tree.write("/r/run.sh", "export PIP_CONSTRAINT=\"$PWD/requirements/all.txt\"\n");
        assert_eq!(own(&tree), both()[1..]);
        // Somebody installs it too.
        tree.write("/r/Makefile", "x:\n\tpip install -r requirements/all.txt\n");
        assert_eq!(own(&tree), both());
    }

    #[test]
    fn what_is_installed_as_it_is_is_not_resolved() {
        let together = |files: &[(&str, &str)]| {
            let tree = Tree::new();
            tree.folder("/r/.git").write("/r/requirements.txt", "tensorflow<2.16\nkeras>=3\n");
            for (path, text) in files {
                tree.write(&format!("/r/{path}"), text);
            }
            let sets = read(&tree, "/r").sets;
            sets.iter().filter(|set| set.by != DeclaredBy::Stage).all(|set| set.together)
        };
        let docker = |run: &str| format!("FROM python:3.11\nCOPY requirements.txt .\n{run}\n");
        for (path, text, wanted) in [
            ("Dockerfile", docker("RUN pip install -r requirements.txt"), true),
            ("Dockerfile", docker("RUN pip install --no-deps -r requirements.txt"), false),
            ("Dockerfile", docker("ENV PIP_NO_DEPENDENCIES=1\nRUN pip install -r requirements.txt"), false),
            ("Dockerfile", docker("ENV PIP_NO_DEPS=0\nRUN pip install -r requirements.txt"), true),
            ("Makefile", "x:\n\tpip install --no-deps -r requirements.txt".to_owned(), false),
            ("Makefile", "x:\n\tuv pip install \\\n\t -r requirements.txt --override o.txt".to_owned(), false),
            ("ci/x.sh", "pip install --no-deps a && pip install -r $ROOT/requirements.txt".to_owned(), true),
            (".github/workflows/x.yml", "run: python -m pip install -rrequirements.txt --no-deps".to_owned(), false),
            (
                ".github/workflows/x.yml",
                "env: {PIP_NO_DEPS: 1}\nrun: pip install -r requirements.txt".to_owned(),
                false,
            ),
        ] {
            assert_eq!(together(&[(path, &text)]), wanted, "{text}");
        }
        let forced = "pip install --no-deps -r requirements.txt";
        assert!(together(&[("a.sh", forced), ("b.sh", "pip install -r requirements.txt")]));
    }

    #[test]
    fn a_workspace_and_uv_toml_count_for_its_members() {
        let tree = Tree::new();
        let project = "[project]\ndependencies = [\"tensorflow\"]\n";
        tree.folder("/r/.git")
            .write("/r/pyproject.toml", "[tool.uv]\noverride-dependencies = [\"keras\"]\n")
            .write("/r/a/b/pyproject.toml", project)
            .write("/uv.toml", "[[index]]\nurl = \"https://example.org/\"\n");
        let sets = read(&tree, "/r").sets;
        assert!(sets.len() == 1 && !sets[0].together && sets[0].indexes.is_empty());
        tree.write("/r/a/b/uv.toml", "[[index]]\nurl = \"https://example.org/\"\n");
        assert_eq!(read(&tree, "/r").sets[0].indexes.len(), 1);
    }

    #[test]
    fn an_environment_by_another_name_names_its_channels() {
        let tree = Tree::new();
        tree.folder("/r/.git")
            .write("/r/env.yml", "channels: [conda-forge]\ndependencies: [python=3.8, {pip: [tensorflow]}]\n")
            .write("/r/x-env.yml", "dependencies: [python=3.8, {pip: [tensorflow]}]\n")
            .write("/r/test.env.yml", "a: [");
        let declared = read(&tree, "/r");
        assert_eq!((declared.sets.len(), declared.troubles.len()), (2, 0));
    }

    #[test]
    fn templates_are_no_sets() {
        let tree = Tree::new();
        tree.folder("/r/.git")
            .write("/r/requirements.txt", "{% if new %}\ntensorflow==2.15.0\n{% endif %}\nkeras>=3\n")
            .write("/r/{{cookiecutter.name}}/requirements.txt", "keras\n")
            .write("/r/a/pyproject.toml", "[project]\n# {% if new %}\ndependencies = [\"keras\"]\n")
            .write("/r/b/pyproject.toml", "[project]\ndependencies = [\"keras\"]\n[tool.x]\ny = \"{% z %}\"\n");
        let files: Vec<String> = read(&tree, "/r").sets.into_iter().map(|set| set.file).collect();
        assert_eq!(files, ["/r/b/pyproject.toml"]);
    }

    #[test]
    fn names_of_files() {
        for (name, folder, wanted) in [
            ("requirements-gpu.txt", "r", Some(File::Requirements)),
            ("dev-requirements.in", "r", Some(File::Requirements)),
            ("base.txt", "requirements", Some(File::Requirements)),
            ("notes.txt", "r", None),
            ("constraints.txt", "requirements", None),
            ("requirements-overrides.txt", "r", None),
            ("Dockerfile.gpu", "r", Some(File::Dockerfile)),
            ("gpu.Dockerfile", "r", Some(File::Dockerfile)),
            ("Containerfile", "r", Some(File::Dockerfile)),
            ("Dockerfile.dockerignore", "r", None),
            ("Dockerfile.j2", "r", None),
            ("dockerfiles", "r", None),
            ("docker-compose.gpu.yml", "r", Some(File::Compose)),
            ("environment-gpu.yaml", "r", Some(File::Conda)),
            ("gpu-environment.yml", "r", Some(File::MaybeConda)),
            ("env.yml", "r", Some(File::MaybeConda)),
            ("environments.yml", "r", None),
            ("composer.yml", "r", None),
            ("uv.lock", "r", Some(File::Lock)),
        ] {
            assert_eq!(kind(name, folder), wanted, "{name}");
        }
    }
}
