//! Reads what a Dockerfile builds on and installs, stage by stage; builds nothing and asks no registry.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::{DeclaredImage, DeclaredVariable, DeclaredVersion, Evidence};

use super::image::{self, Put};
use super::place::Text;
use super::requirements::{self, Read};
use super::shell::{self, Command, Word};
use crate::sort::Sorted as _;

mod instructions;

use instructions::{Instruction, MOST_INSTRUCTIONS, instructions, options};

/// More stages than these are not read.
const MOST_STAGES: usize = 64;

/// A stage.
#[derive(Clone, Debug, Default)]
pub(super) struct Stage {
    /// Its name or number.
    pub(super) name: String,
    /// The image, where that is known.
    pub(super) image: Option<DeclaredImage>,
    /// The stage that it continues.
    pub(super) parent: Option<usize>,
    /// The Python that its image brings, as a requirement.
    pub(super) python: Option<DeclaredVersion>,
    /// Whether something in it may change which Python that is.
    pub(super) python_open: bool,
    /// What it installs.
    pub(super) installs: Vec<Install>,
    /// Whether everything that it does is understood.
    pub(super) complete: bool,
    /// What it sets.
    pub(super) variables: Vec<DeclaredVariable>,
    /// The names of all that it sets, those whose values are not known among them.
    named: BTreeSet<String>,
    /// Indexes that it sets for all of its commands.
    pub(super) indexes: Vec<DeclaredVersion>,
    /// What puts files into it or changes them, in order.
    pub(super) files: Vec<Put>,
    /// The folder in which its commands run, where that is known.
    folder: Option<String>,
}

/// A command that installs Python packages.
#[derive(Clone, Debug, Default)]
pub(super) struct Install {
    pub(super) read: Read,
    /// Whether pip looks at what the packages ask for.
    pub(super) dependencies: bool,
    /// Whether it certainly runs, and all of its words are known.
    pub(super) certain: bool,
    /// The folder in which it runs, where that is known.
    pub(super) folder: Option<String>,
    /// How many of the stage's `files` come before it.
    pub(super) before: usize,
}

/// The stages of a Dockerfile.
pub(super) fn read(path: &str, text: &str) -> Vec<Stage> {
    let text = Text::new(path, text);
    let mut reader = Reader { text: &text, globals: BTreeMap::new(), locals: BTreeMap::new(), stages: Vec::new() };
    for instruction in instructions(text.all) {
        reader.take(&instruction);
    }
    reader.stages
}

/// The arguments that a build may set, as far as the Dockerfile has a value for them.
pub(super) fn arguments(text: &str) -> BTreeSet<String> {
    let words = |instruction: Instruction| {
        let words = instruction.rest.split_whitespace().filter_map(|word| word.split_once('='));
        words.map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
    };
    instructions(text).into_iter().filter(|instruction| instruction.keyword == "ARG").flat_map(words).sorted_set()
}

/// Whether a variable tells pip or uv where packages come from.
fn names_an_index(name: &str) -> bool {
    let tool = name.starts_with("PIP_") || name.starts_with("UV_");
    tool && ["INDEX", "FIND_LINKS", "CONFIG"].iter().any(|word| name.contains(word))
}

struct Reader<'t> {
    text: &'t Text<'t>,
    /// `ARG`s before the first `FROM`.
    globals: BTreeMap<String, Option<String>>,
    /// What the current stage knows.
    locals: BTreeMap<String, Option<String>>,
    stages: Vec<Stage>,
}

impl Reader<'_> {
    fn value(&self, name: &str) -> Option<String> {
        let values = if self.stages.is_empty() { &self.globals } else { &self.locals };
        values.get(name).cloned().flatten()
    }

    /// A text with its variables replaced; `None` where one is not known.
    fn expand(&self, text: &str, global: bool) -> Option<String> {
        let value = |name: &str| if global { self.globals.get(name).cloned().flatten() } else { self.value(name) };
        let mut out = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            let (found, used) = shell::substitute(after, &value);
            out.push_str(&found?);
            rest = &after[used..];
        }
        out.push_str(rest);
        Some(out.trim().trim_matches(['"', '\'']).to_owned())
    }

    fn take(&mut self, instruction: &Instruction) {
        let rest = instruction.rest.trim();
        match instruction.keyword.as_str() {
            "ARG" => {
                self.arg(rest);
                let named = rest.split_whitespace().map(|word| word.split('=').next().unwrap_or_default());
                if named.into_iter().any(names_an_index) {
                    self.index(instruction);
                }
            }
            "FROM" => self.from(instruction),
            _ if self.stages.is_empty() => {}
            "ENV" => self.env(instruction),
            "COPY" | "ADD" => self.copy(instruction),
            "WORKDIR" => {
                let to = self.expand(rest, false);
                if let Some(stage) = self.stages.last_mut() {
                    stage.folder = to.and_then(|to| image::path(stage.folder.as_deref(), &to));
                }
            }
            "RUN" => self.run(instruction),
            // They change the shell or what other builds do.
            "SHELL" | "ONBUILD" => {
                self.open();
                self.open_python();
            }
            _ => {}
        }
    }

    /// Notes that packages may come from an index that cannot be told.
    fn index(&mut self, instruction: &Instruction) {
        let says = format!("{} {}", instruction.keyword, instruction.rest.trim());
        let evidence = self.text.at(instruction.start, &says);
        if let Some(stage) = self.stages.last_mut() {
            stage.indexes.push(DeclaredVersion { value: String::new(), evidence });
        }
    }

    fn open(&mut self) {
        if let Some(stage) = self.stages.last_mut() {
            stage.complete = false;
        }
    }

    /// Notes that something may bring or choose another Python than that of the image.
    fn open_python(&mut self) {
        if let Some(stage) = self.stages.last_mut() {
            stage.python_open = true;
        }
    }

    fn arg(&mut self, rest: &str) {
        for word in rest.split_whitespace() {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, self.expand(value, self.stages.is_empty())),
                None => (word, self.globals.get(word).cloned().flatten()),
            };
            // What `ENV` sets wins over an argument, and images set their own version.
            let fixed = |stage: &Stage| {
                let image = stage.image.as_ref().map(|image| image.name.rsplit('/').next().unwrap_or_default());
                let own = matches!((image, name), (Some("python"), "PYTHON_VERSION") | (Some("cuda"), "CUDA_VERSION"));
                own || stage.named.contains(name)
            };
            if self.stages.last().is_some_and(fixed) {
                continue;
            }
            let values = if self.stages.is_empty() { &mut self.globals } else { &mut self.locals };
            values.insert(name.to_owned(), value);
        }
    }

    fn from(&mut self, instruction: &Instruction) {
        if self.stages.len() >= MOST_STAGES {
            return;
        }
        let words: Vec<&str> = instruction.rest.split_whitespace().filter(|word| !word.starts_with("--")).collect();
        let named = words.iter().position(|word| word.eq_ignore_ascii_case("as")).and_then(|at| words.get(at + 1));
        let name = named.map_or_else(|| self.stages.len().to_string(), |name| (*name).to_owned());
        let reference = words.first().and_then(|word| self.expand(word, true));
        let says = format!("FROM {}", instruction.rest.trim());
        let evidence = self.text.at(instruction.start, &says);
        let parent = reference.as_deref().and_then(|reference| {
            let same = |stage: &Stage| stage.name.eq_ignore_ascii_case(reference);
            self.stages.iter().rposition(same)
        });
        self.locals.clear();
        let mut stage = match parent {
            Some(index) => {
                let below = &self.stages[index];
                for variable in &below.variables {
                    self.locals.insert(variable.name.clone(), Some(variable.value.clone()));
                }
                Stage { parent: Some(index), installs: Vec::new(), ..below.clone() }
            }
            None => Stage { complete: true, ..Stage::default() },
        };
        stage.name = name;
        if parent.is_none() {
            stage.image = reference.filter(|text| !text.is_empty()).map(|text| image(&text, evidence));
            let bare = |image: &DeclaredImage| {
                matches!(image.name.as_str(), "debian" | "python" | "ubuntu" | "nvidia/cuda" | "nvcr.io/nvidia/cuda")
            };
            let folder = if stage.image.as_ref().is_some_and(bare) { "/" } else { image::SOMEWHERE };
            stage.folder = Some(folder.to_owned());
            stage.python = stage.image.as_ref().and_then(python_of);
            stage.complete = stage.image.is_some();
        }
        self.stages.push(stage);
    }

    fn env(&mut self, instruction: &Instruction) {
        let rest = instruction.rest.trim_start();
        let skipped = instruction.rest.len() - rest.len();
        let first = rest.split_whitespace().next().unwrap_or_default();
        let value = |name: &str| self.value(name);
        let mut pairs = Vec::new();
        if first.contains('=') {
            for word in shell::words(&instruction.rest, &value) {
                if let Some((name, value)) = word.text.split_once('=') {
                    pairs.push((name.to_owned(), word.known.then(|| value.to_owned()), word.at));
                }
            }
        } else if let Some((name, text)) = rest.split_once(char::is_whitespace) {
            pairs.push((name.to_owned(), self.expand(text, false), skipped));
        }
        for (name, value, at) in pairs {
            let says = format!("{name}={}", value.as_deref().unwrap_or("…"));
            let evidence = self.text.at(instruction.source(at), &says);
            if let Some(stage) = self.stages.last_mut() {
                stage.named.insert(name.clone());
                stage.complete &= !matches!(name.as_str(), "LD_LIBRARY_PATH" | "PYTHONPATH" | "LD_PRELOAD");
                stage.python_open |= matches!(name.as_str(), "PATH" | "PYTHONHOME" | "CONDA_PREFIX" | "VIRTUAL_ENV");
                if names_an_index(&name) {
                    let value = value.clone().unwrap_or_default();
                    stage.indexes.push(DeclaredVersion { value, evidence: evidence.clone() });
                }
                if let Some(value) = &value {
                    stage.variables.retain(|variable| variable.name != name);
                    let value = value.clone();
                    stage.variables.push(DeclaredVariable { name: name.clone(), value, evidence });
                }
            }
            self.locals.insert(name, value);
        }
    }

    fn copy(&mut self, instruction: &Instruction) {
        if ["pip.conf", "pip.ini", "uv.toml", ".netrc"].iter().any(|name| instruction.rest.contains(name)) {
            self.index(instruction);
        }
        let words: Vec<&str> = instruction.rest.split_whitespace().collect();
        let elsewhere = words.iter().any(|word| word.starts_with("--from"));
        let listed: Vec<Option<String>> = if let Some(words) = exec(&instruction.rest) {
            words.iter().map(|word| self.expand(word, false)).collect()
        } else {
            let words = words.iter().filter(|word| !word.starts_with("--"));
            words.map(|word| self.expand(word, false)).collect()
        };
        let Some(stage) = self.stages.last_mut() else { return };
        let target = listed.last().and_then(Option::as_deref);
        let put = target.and_then(|target| image::path(stage.folder.as_deref(), target)).unwrap_or_default();
        let sources = listed.split_last().map_or(&[][..], |(_, sources)| sources);
        let unpacked = |source: &str| {
            let ends = ["bz2", "gz", "xz", "tbz", "tgz"];
            source.contains(".tar") || (instruction.keyword == "ADD" && ends.iter().any(|end| source.ends_with(end)))
        };
        let plain = |source: &&String| {
            !source.contains("://") && !unpacked(source) && !source.starts_with("<<") && !source.contains('@')
        };
        let known: Vec<String> = sources.iter().flatten().filter(plain).cloned().collect();
        // An option may leave files out, or keep the folders that they are in.
        let exact = known.len() == sources.len()
            && !put.is_empty()
            && words.iter().all(|word| {
                !word.starts_with("--") || ["--link", "--chown=", "--chmod="].iter().any(|it| word.starts_with(it))
            });
        stage.files.push(if exact { Put::Copy { sources: known, target: put } } else { Put::Change(put) });
        if elsewhere {
            // Libraries may come along, and a Python; programs alone that are no Python leave that one as it is.
            stage.complete = false;
            let program = |word: &Option<String>| {
                word.as_ref().is_some_and(|word| ["/uv", "/uvx", "/bin/", "/app/"].contains(&word.as_str()))
            };
            stage.python_open |= !listed.iter().all(program);
            return;
        }
        if sources.iter().any(|source| source.as_ref().is_none_or(|it| it.contains("://") || it.contains(".tar"))) {
            stage.complete = false;
            stage.python_open = true;
        }
        // A tree that is laid over the system's may hold anything.
        stage.python_open |= ["", "/usr", "/usr/local"].contains(&target.unwrap_or_default().trim_end_matches('/'));
    }

    fn run(&mut self, instruction: &Instruction) {
        let settings =
            ["PIP_INDEX", "PIP_EXTRA", "PIP_FIND", "UV_INDEX", "UV_EXTRA", "UV_DEFAULT", "UV_FIND", "pip.conf"];
        if instruction.rest.contains("config set") || settings.iter().any(|name| instruction.rest.contains(name)) {
            self.index(instruction);
        }
        let value = |name: &str| self.value(name);
        let (options, mut rest) = options(&instruction.rest);
        let mounts: Vec<Put> = options.iter().filter_map(|it| self.mount(it.strip_prefix("--mount=")?)).collect();
        if rest.trim_start().starts_with("<<") {
            rest = rest.split_once('\n').map_or("", |(_, body)| body);
        }
        let skipped = instruction.rest.len() - rest.len();
        let commands = match exec(rest) {
            Some(words) => {
                let words = words.into_iter().map(|text| Word { text, at: 0, known: true }).collect();
                vec![Command { words, certain: true, ..Command::default() }]
            }
            // What the commands themselves set is not known.
            None => shell::commands(rest, &|name| value(name).filter(|_| !assigns(rest, name))),
        };
        let opened: Vec<Put> = mounts.iter().map(Put::opened).collect();
        let Some(stage) = self.stages.last_mut() else { return };
        let mut folder = stage.folder.clone();
        stage.files.extend(mounts);
        let mut done = Vec::new();
        for command in &commands {
            let at = |word: &Word| instruction.source(skipped + word.at);
            let mut understood = self.command(command, &at);
            let Some(stage) = self.stages.last_mut() else { return };
            if let Understood::Install(install) = &mut understood {
                install.folder.clone_from(&folder);
                install.before = stage.files.len();
            }
            stage.files.extend(changes(command, folder.as_deref(), &understood).into_iter().map(Put::Change));
            go(command, &mut folder);
            done.push(understood);
        }
        let Some(stage) = self.stages.last_mut() else { return };
        // What a mount brought is gone behind the command.
        stage.files.extend(opened);
        if stage.files.len() > MOST_INSTRUCTIONS {
            stage.files = vec![Put::Change(String::new())];
        }
        stage.python_open |= other_python(rest, stage.python.as_ref());
        // Where a word is only known when it is built, a `python` in it may be any.
        stage.python_open |= rest.contains("python$") || rest.contains("py$");
        for understood in done {
            match understood {
                Understood::Nothing => {}
                Understood::Install(install) => stage.installs.push(*install),
                Understood::NoPython => stage.complete = false,
                // It may compile a Python, or fetch one.
                Understood::Not => {
                    stage.complete = false;
                    stage.python_open = true;
                }
            }
        }
    }

    /// What a `--mount` brings for one command, or hides.
    fn mount(&self, text: &str) -> Option<Put> {
        let Some(text) = self.expand(text, false) else { return Some(Put::Change(String::new())) };
        let get = |names: &[&str]| {
            let mut pairs = text.split(',').filter_map(|pair| pair.split_once('='));
            pairs.find(|(name, _)| names.contains(name)).map(|(_, value)| value)
        };
        let folder = self.stages.last().and_then(|stage| stage.folder.as_deref());
        let target = image::path(folder, get(&["target", "dst", "destination"])?).unwrap_or_default();
        let source = get(&["source", "src"]).unwrap_or(".").to_owned();
        let ours = get(&["type"]).is_none_or(|kind| kind == "bind") && get(&["from"]).is_none() && !target.is_empty();
        Some(if ours { Put::Copy { sources: vec![source], target } } else { Put::Change(target) })
    }

    fn command(&self, command: &Command, at: &dyn Fn(&Word) -> usize) -> Understood {
        let words = inner(&command.words);
        let Some(first) = words.first() else { return Understood::Nothing };
        let name = first.text.rsplit('/').next().unwrap_or_default();
        let arguments: Vec<&str> = words[1..].iter().map(|word| word.text.as_str()).collect();
        let (tool, skip) = match (name, arguments.as_slice()) {
            ("pip" | "pip3", _) => (Tool::Pip, 1),
            ("python" | "python3", ["-m", "pip", ..]) => (Tool::Pip, 3),
            ("uv", ["pip", ..]) => (Tool::Uv, 2),
            (
                "python" | "python3",
                ["-m", "venv" | "ensurepip" | "compileall", ..] | ["-c" | "--version" | "-V", ..],
            ) => return Understood::Nothing,
            ("apt-get" | "apt" | "apk", _) => {
                let suspicious = arguments.iter().any(|word| brings_cuda(word));
                return if suspicious || words.iter().any(|word| !word.known) {
                    Understood::Not
                } else {
                    Understood::Nothing
                };
            }
            (name, _) if HARMLESS.contains(&name) => return Understood::Nothing,
            (name, _) if NO_PYTHON.contains(&name) => return Understood::NoPython,
            _ => return Understood::Not,
        };
        let words = words.get(skip..).unwrap_or_default();
        let Some(place) = words.iter().position(|word| !word.text.starts_with('-')) else { return Understood::Nothing };
        match words[place].text.as_str() {
            "install" => {}
            "cache" | "check" | "list" | "freeze" | "show" | "config" | "--version" => return Understood::Nothing,
            _ => return Understood::Not,
        }
        let words = &words[place + 1..];
        let mut install = Install {
            dependencies: true,
            certain: command.certain && words.iter().all(|word| word.known),
            ..Install::default()
        };
        let texts: Vec<&str> = words.iter().map(|word| word.text.as_str()).collect();
        let named =
            |names: &[&str]| texts.iter().any(|text| names.contains(&text.split('=').next().unwrap_or_default()));
        install.dependencies = !named(&["--no-deps", "--no-dependencies", "--override", "--overrides"]);
        let elsewhere =
            named(&["-t", "--target", "--prefix", "--root", "--platform", "--python-version", "-p", "--python"]);
        // Images of Python have theirs in /usr/local, and a distribution's may stand beside it.
        let image = self.stages.last().and_then(|stage| stage.image.as_ref());
        let bin = if image.is_some_and(|it| it.name == "python") { "/usr/local/bin/" } else { "/usr/bin/" };
        let plain =
            matches!(first.text.as_str(), "pip" | "pip3" | "python" | "python3" | "uv") || first.text.starts_with(bin);
        let system = tool == Tool::Pip || named(&["--system"]) || self.value("UV_SYSTEM_PYTHON").is_some();
        if elsewhere || !plain || !system {
            install.certain = false;
        }
        let mut kept = Vec::new();
        let mut skip = false;
        for (index, text) in texts.iter().enumerate() {
            if std::mem::take(&mut skip) {
                continue;
            }
            skip = VALUED.contains(text);
            if !skip {
                kept.push(index);
            }
        }
        let wanted: Vec<&str> = kept.iter().map(|index| texts[*index]).collect();
        let here = |says: &str| self.text.at(words.first().map_or(0, at), says);
        let requirements = requirements::options(&wanted, &mut install.read, &here);
        for text in requirements {
            let word = words.iter().find(|word| std::ptr::eq(word.text.as_str(), text));
            // Past a quote: the requirement itself.
            let offset = word.map_or(0, |word| {
                let offset = at(word);
                offset + usize::from(self.text.all[offset..].starts_with(['"', '\'']))
            });
            match requirements::package(text, &self.text.at(offset, text)) {
                Some(package) if word.is_some_and(|word| word.known) => install.read.packages.push(package),
                _ => install.read.open = true,
            }
        }
        Understood::Install(Box::new(install))
    }
}

/// The words without variables of this command alone, and without words that run another one.
fn inner(mut words: &[Word]) -> &[Word] {
    while let Some(first) = words.first() {
        let setting = first
            .text
            .split_once('=')
            .is_some_and(|(name, _)| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
        let other = ["sudo", "exec", "time", "env", "command", "then", "else", "do", "!"];
        if !setting && !other.contains(&first.text.as_str()) {
            break;
        }
        words = &words[1..];
    }
    words
}

/// How the paths begin at which a command may have left other files; an empty beginning is that of all.
fn changes(command: &Command, folder: Option<&str>, understood: &Understood) -> Vec<String> {
    // Up to what the shell fills in.
    let begin = |word: &Word| {
        let plain = word.text.split(['*', '?', '[', '{']).next().unwrap_or_default();
        image::path(folder, plain).filter(|_| word.known).unwrap_or_default()
    };
    let mut all: Vec<String> = command.writes.iter().map(begin).collect();
    let Some((first, rest)) = inner(&command.words).split_first() else { return all };
    let name = first.text.rsplit('/').next().unwrap_or_default();
    let option = |named: &dyn Fn(&str) -> bool| rest.iter().any(|word| word.text.starts_with('-') && named(&word.text));
    let has = |texts: &[&str]| rest.iter().any(|word| texts.iter().any(|text| word.text.contains(text)));
    let named = || rest.iter().filter(|word| !word.text.starts_with('-'));
    match (name, understood) {
        (_, Understood::Install(_)) => {}
        // What is gone is no other file.
        ("rm", _) => all.extend(named().filter(|word| word.known).map(begin)),
        ("cp" | "install" | "ln" | "mv" | "tee" | "truncate", _) => all.extend(named().map(begin)),
        ("sed", _) => {
            if option(&|it| it.starts_with("--in-place") || (!it.starts_with("--") && it.contains('i'))) {
                all.extend(named().map(begin));
            }
        }
        ("find", _) => {
            if option(&|it| ["-exec", "-ok", "-delete", "-fprint"].iter().any(|action| it.starts_with(action))) {
                all.extend(named().map(begin));
            }
        }
        ("uv", _) if !has(&["export", "compile"]) => {}
        ("." | "source", _) if has(&["/activate"]) => {}
        ("python" | "python3", Understood::Nothing) if has(&["open(", "write"]) => all.push(String::new()),
        (_, Understood::Nothing) => {}
        (name, _) if LEAVE_FILES.contains(&name) => {}
        _ => all.push(String::new()),
    }
    all
}

/// Changes the folder as a command does.
fn go(command: &Command, folder: &mut Option<String>) {
    let Some((first, rest)) = inner(&command.words).split_first() else { return };
    match (first.text.as_str(), rest) {
        ("cd", [to]) if to.known && !command.grouped && !to.text.starts_with(['-', '~']) => {
            *folder = image::path(folder.as_deref(), &to.text);
        }
        ("." | "source", [script]) if script.text.ends_with("/activate") => {}
        ("cd" | "pushd" | "popd" | "eval" | "." | "source", _) => *folder = None,
        _ => {}
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tool {
    Pip,
    Uv,
}

/// What a command does, as far as packages go.
enum Understood {
    /// Nothing that matters.
    Nothing,
    /// It installs packages.
    Install(Box<Install>),
    /// That cannot be told.
    Not,
    /// That cannot be told, but it brings no Python.
    NoPython,
}

/// Options of pip and uv with a value of their own that tells nothing about packages.
const VALUED: &[&str] = &[
    "--abi",
    "--cache-dir",
    "--cert",
    "--config-settings",
    "--default-timeout",
    "--implementation",
    "--log",
    "--no-binary",
    "--only-binary",
    "--platform",
    "--prefix",
    "--progress-bar",
    "--proxy",
    "--python",
    "--python-version",
    "--report",
    "--retries",
    "--root",
    "--src",
    "--target",
    "--timeout",
    "--trusted-host",
    "--upgrade-strategy",
    "-p",
    "-t",
];

/// Programs that install nothing.
const HARMLESS: &[&str] = &[
    ":",
    "[",
    "addgroup",
    "adduser",
    "cat",
    "cd",
    "chmod",
    "chown",
    "date",
    "echo",
    "exit",
    "export",
    "find",
    "getent",
    "groupadd",
    "ldconfig",
    "ln",
    "locale-gen",
    "ls",
    "mkdir",
    "printf",
    "pwd",
    "rm",
    "rmdir",
    "sed",
    "set",
    "sleep",
    "test",
    "touch",
    "true",
    "update-ca-certificates",
    "useradd",
    "usermod",
    "which",
];

/// Programs that leave the files of a project as they are, whatever else they do.
const LEAVE_FILES: &[&str] = &[
    "add-apt-repository",
    "apk",
    "apt",
    "apt-get",
    "apt-key",
    "conda",
    "dpkg",
    "gpg",
    "mamba",
    "micromamba",
    "node",
    "npm",
    "npx",
    "nvidia-smi",
    "pip",
    "pip3",
    "update-alternatives",
    "yarn",
];

/// Programs that may do anything to libraries and packages, and that bring no other Python.
const NO_PYTHON: &[&str] = &[
    "apt-key",
    "curl",
    "dpkg",
    "git",
    "gpg",
    "jupyter",
    "node",
    "npm",
    "npx",
    "nvidia-smi",
    "pytest",
    "python",
    "python3",
    "tee",
    "wget",
    "xargs",
    "yarn",
];

/// Whether a system package may bring libraries of CUDA.
fn brings_cuda(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["cuda", "cudnn", "nvidia", "cublas", "cufft", "nvinfer", "tensorrt", "/", ".deb"]
        .iter()
        .any(|part| name.contains(part))
        && !name.starts_with("/var/lib/apt/lists")
}

/// Whether a command may bring or choose another Python than that of the image.
fn other_python(text: &str, own: Option<&DeclaredVersion>) -> bool {
    const WORDS: [&str; 12] = [
        "conda",
        "mamba",
        "micromamba",
        "pyenv",
        "uv python",
        "uv venv",
        "uv sync",
        "deadsnakes",
        "virtualenv",
        "update-alternatives",
        "pypy",
        "pixi",
    ];
    let own = own.and_then(|own| own.value.trim_start_matches('=').split('.').nth(1).map(str::to_owned));
    WORDS.iter().any(|word| text.contains(word))
        || text.match_indices("python3.").any(|(at, found)| {
            let rest = &text[at + found.len()..];
            let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
            own.as_deref() != Some(minor.as_str())
        })
}

/// Whether commands give a variable a value of their own.
fn assigns(text: &str, name: &str) -> bool {
    let begins = |before: &str| !before.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    text.match_indices(name).any(|(at, _)| {
        let after = &text[at + name.len()..];
        let looped = ["for ", "read "].iter().any(|word| text[..at].ends_with(word));
        begins(&text[..at]) && (after.starts_with('=') || looped)
    })
}

/// The words of a command or copy in JSON form.
fn exec(rest: &str) -> Option<Vec<String>> {
    let rest = rest.trim();
    if rest.starts_with('[') { serde_json::from_slice(rest.as_bytes()).ok() } else { None }
}

/// An image by its reference.
pub(super) fn image(reference: &str, evidence: Evidence) -> DeclaredImage {
    let reference = reference.split('@').next().unwrap_or_default();
    let (name, tag) = match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag.to_owned())),
        _ => (reference, None),
    };
    let name = name.strip_prefix("docker.io/").or_else(|| name.strip_prefix("index.docker.io/")).unwrap_or(name);
    let name = name.strip_prefix("library/").unwrap_or(name);
    DeclaredImage { name: name.to_owned(), tag, evidence }
}

/// The Python of an image, as a requirement, where its tag says so.
fn python_of(image: &DeclaredImage) -> Option<DeclaredVersion> {
    let tag = image.tag.as_deref()?;
    let version = match image.name.as_str() {
        "python" => {
            let version = tag.split('-').next()?;
            let parts: Vec<&str> = version.split('.').collect();
            let numbers = parts.iter().all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
            match parts.len() {
                2 if numbers => format!("=={version}.*"),
                3 if numbers => format!("=={version}"),
                _ => return None,
            }
        }
        // The distribution's own python3.
        "ubuntu" => format!("=={}.*", distribution(tag)?),
        "debian" => format!("=={}.*", distribution(tag.trim_end_matches("-slim"))?),
        "nvidia/cuda" | "nvcr.io/nvidia/cuda" => format!("=={}.*", distribution(tag.rsplit('-').next()?)?),
        _ => return None,
    };
    Some(DeclaredVersion { value: version, evidence: image.evidence.clone() })
}

/// The `python3` of a distribution's release.
fn distribution(release: &str) -> Option<&'static str> {
    Some(match release {
        "ubuntu16.04" | "16.04" | "xenial" => "3.5",
        "ubuntu18.04" | "18.04" | "bionic" => "3.6",
        "ubuntu20.04" | "20.04" | "focal" => "3.8",
        "ubuntu22.04" | "22.04" | "jammy" => "3.10",
        "ubuntu24.04" | "24.04" | "noble" => "3.12",
        "buster" | "10" => "3.7",
        "bullseye" | "11" => "3.9",
        "bookworm" | "12" => "3.11",
        "trixie" | "13" => "3.13",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SAMPLE: &str = "\
# syntax=docker/dockerfile:1
ARG CUDA=12.2.2
ARG BASE
FROM nvidia/cuda:${CUDA}-cudnn8-runtime-ubuntu22.04 AS base
ENV DEBIAN_FRONTEND=noninteractive KERAS_BACKEND=\"jax\"
ENV CUDA_VISIBLE_DEVICES 0
RUN apt-get update && apt-get install -y --no-install-recommends \\
        python3 python3-pip \\
    # a comment within
    && rm -rf /var/lib/apt/lists/*
ARG TF=2.18.0
COPY requirements.txt /app/
RUN --mount=type=cache,target=/root/.cache pip3 install --no-cache-dir \\
    \"tensorflow==${TF}\" -r /app/requirements.txt
FROM base AS test
RUN if [ -n \"$CI\" ]; then pip install pytest; fi
FROM $BASE
RUN <<EOF
pip install a==1
pip install b==2
EOF
COPY <<FILE /x
pip install c
FILE
RUN [\"python\", \"-m\", \"pip\", \"install\", \"d==3\"]
";

    #[test]
    fn stages_and_what_they_install() {
        let stages = read("/p/Dockerfile", SAMPLE);
        assert_eq!(stages.len(), 3);
        let base = &stages[0];
        let image = base.image.as_ref().unwrap();
        assert_eq!(
            (image.name.as_str(), image.tag.as_deref()),
            ("nvidia/cuda", Some("12.2.2-cudnn8-runtime-ubuntu22.04"))
        );
        assert_eq!((image.evidence.line, image.evidence.column), (Some(4), Some(1)));
        assert_eq!(base.python.as_ref().unwrap().value, "==3.10.*");
        assert!(base.complete && !base.python_open);
        assert_eq!(
            base.files[1],
            Put::Copy { sources: vec!["requirements.txt".to_owned()], target: "/app".to_owned() }
        );
        let variables: Vec<String> = base.variables.iter().map(|it| format!("{}={}", it.name, it.value)).collect();
        assert_eq!(variables, ["DEBIAN_FRONTEND=noninteractive", "KERAS_BACKEND=jax", "CUDA_VISIBLE_DEVICES=0"]);
        let install = &base.installs[0];
        assert!(install.certain && install.dependencies);
        let package = &install.read.packages[0];
        assert_eq!((package.name.as_str(), package.specifier.as_str()), ("tensorflow", "==2.18.0"));
        assert_eq!((package.evidence.line, package.evidence.column), (Some(14), Some(6)));
        assert_eq!(install.read.includes[0].path, "/app/requirements.txt");
        assert_eq!(stages[1].parent, Some(0));
        assert!(!stages[1].installs[0].certain);
        let last = &stages[2];
        assert!(last.image.is_none() && !last.complete);
        let names: Vec<(&str, Option<u32>)> = last
            .installs
            .iter()
            .flat_map(|install| &install.read.packages)
            .map(|package| (package.name.as_str(), package.evidence.line))
            .collect();
        assert_eq!(names, [("a", Some(19)), ("b", Some(20)), ("d", Some(25))]);
    }

    #[test]
    fn documents_follow_options() {
        let text = "FROM a\nRUN --mount=type=cache,target=/c \\\n  --network=none <<EOF\nset -e\npip install b==1\nEOF\nRUN pip install c\n";
        let stage = read("D", text).remove(0);
        let packages = stage.installs.iter().flat_map(|install| &install.read.packages);
        let seen: Vec<_> = packages.map(|package| (package.name.as_str(), package.evidence.line)).collect();
        assert_eq!(seen, [("b", Some(5)), ("c", Some(7))]);
        assert!(stage.complete && stage.files.contains(&Put::Change("/c".to_owned())));
    }

    #[test]
    fn what_is_not_understood_leaves_things_open() {
        let stage = |run: &str| read("D", &format!("FROM python:3.8-slim\nRUN {run}\n")).remove(0);
        for run in [
            "./install.sh",
            "apt-get install -y libcudnn8",
            "curl x | sh",
            "pip install $(cat x)",
            "cat x | xargs pip install",
        ] {
            let stage = stage(run);
            assert!(!stage.complete || stage.installs.iter().any(|install| !install.certain), "{run}");
        }
        assert!(stage("conda install x").python_open && stage("apt-get install python3.11").python_open);
        assert!(!stage("ls /usr/lib/python3.8").python_open);
        assert!(!stage("apk add --no-cache build-base hdf5-dev").python_open);
        for run in ["make install", "./install.sh 3.10", "tar xzf p.tgz -C /opt", "apt-get install -y python${PY}"] {
            assert!(stage(run).python_open, "{run}");
        }
        assert!(!stage("git clone https://example.org/x && python x/fetch.py").python_open);
        for more in [
            "COPY --from=python:3.11-slim /usr/local /usr/local",
            "ENV PATH=/opt/env/bin:$PATH",
            "SHELL [\"conda\", \"run\"]",
            "ADD https://example.org/p.tgz /opt",
            "COPY rootfs /",
        ] {
            assert!(read("D", &format!("FROM ubuntu:20.04\n{more}\n"))[0].python_open, "{more}");
        }
        for more in
            ["COPY --from=ghcr.io/astral-sh/uv:latest /uv /uvx /bin/", "COPY . /opt/app", "COPY run.sh /usr/local/bin/"]
        {
            assert!(!read("D", &format!("FROM ubuntu:20.04\n{more}\n"))[0].python_open, "{more}");
        }
        assert!(!stage("/usr/bin/python3 -m pip install a").installs[0].certain);
        assert!(!stage("/opt/venv/bin/pip install a").installs[0].certain);
        assert!(!stage("pip install --no-deps a").installs[0].dependencies);
        // Without quotes it is a redirection, and in JSON it is none.
        assert_eq!(stage("pip install a>=2").installs[0].read.packages[0].specifier, "");
        assert_eq!(stage("[\"pip\", \"install\", \"a>=2\"]").installs[0].read.packages[0].specifier, ">=2");
        for run in ["pip config set global.index-url x", "PIP_INDEX_URL=x pip install a"] {
            assert_eq!(stage(run).indexes.len(), 1, "{run}");
        }
        assert_eq!(
            read("D", "FROM a\nENV UV_INDEX_URL=x\nCOPY pip.conf /etc/\nARG PIP_INDEX_URL\n")[0].indexes.len(),
            3
        );
        assert_eq!(arguments("ARG A\nARG B=1 C=2\nFROM x\nARG D=${B}\n").len(), 3);
        assert_eq!(stage("pip install a").python.unwrap().value, "==3.8.*");
    }

    #[test]
    fn installs_know_their_folder_and_what_came_before() {
        let text = "FROM python:3.8\nCOPY a b/ c/\nWORKDIR /app\nCOPY --chown=1 . ./\nCOPY --from=x /y /z/\n\
            RUN --mount=type=bind,source=r.txt,target=/t/r.txt --mount=type=cache,target=/c pip install a && cd b && pip install b\n\
            RUN (cd x) && pip install c; cd /y; pip install d\nWORKDIR $X\nRUN pip install e; cd /z && cd ../w && pip install f\n\
            FROM other\nRUN pip install g\n";
        let stages = read("D", text);
        let seen: Vec<(usize, Option<&str>)> = stages
            .iter()
            .flat_map(|stage| &stage.installs)
            .map(|install| (install.before, install.folder.as_deref()))
            .collect();
        let wanted = [
            (5, Some("/app")),
            (5, Some("/app/b")),
            (7, None),
            (7, Some("/y")),
            (7, None),
            (7, Some("/w")),
            (0, Some(image::SOMEWHERE)),
        ];
        assert_eq!(seen, wanted);
        let copy = |sources: &[&str], target: &str| Put::Copy {
            sources: sources.iter().map(|source| (*source).to_owned()).collect(),
            target: target.to_owned(),
        };
        let change = |begin: &str| Put::Change(begin.to_owned());
        let wanted = [copy(&["a", "b/"], "/c"), copy(&["."], "/app"), change("/z"), copy(&["r.txt"], "/t/r.txt")];
        assert_eq!(stages[0].files[..4], wanted);
        assert_eq!(stages[0].files[4..], [change("/c"), change("/t/r.txt"), change("/c")]);
        for text in [
            "<<EOF /x\na\nEOF",
            "$A /x",
            "https://example.org/a /x",
            "--exclude=a b /x",
            "a.tgz /x",
            "[\"a.tar.gz\", \"/x\"]",
        ] {
            assert_eq!(read("D", &format!("FROM a\nADD {text}\n"))[0].files, [change("/x")], "{text}");
        }
    }

    #[test]
    fn commands_that_change_files_are_told() {
        for (run, wanted) in [
            ("sed -i '/tensorflow/d' r.txt && pip install -r r.txt", Some("/tensorflow/d /a/r.txt")),
            ("sed -Ei s/a/b/ /x/*.txt", Some("/a/s/a/b /x")),
            ("sed s/a/b/ r.txt > /x/r.txt", Some("/x/r.txt")),
            ("echo a >> r.txt; printf b>$X", Some("/a/r.txt ")),
            ("cat <<EOF > r.txt\nb\nEOF", Some("/a/r.txt")),
            ("cd /y && ln -sf old.txt r.txt", Some("/y/old.txt /y/r.txt")),
            ("rm -f c.txt $X", Some("/a/c.txt")),
            ("apt-get update && apt-get install -y x && rm -rf /var/lib/apt/lists/*", Some("/var/lib/apt/lists")),
            ("find /y -name r.txt -exec sed -i s/a/b/ {} +", Some("/y /a/r.txt /a/sed /a/s/a/b /a /a/+")),
            ("find /y -name r.txt; cat r.txt; chmod +x r.txt; ls 2>/dev/null", Some("/dev/null")),
            ("echo r.txt | xargs sed -i s/a/b/", Some("")),
            ("git clone https://example.org/x /y", Some("")),
            ("wget -O r.txt https://example.org/r.txt", Some("")),
            ("make r.txt", Some("")),
            ("uv export -o r.txt", Some("")),
            ("uv venv && . .venv/bin/activate && conda install a && npm ci", None),
            ("python -c 'import a'", None),
            ("python -c 'open(\"r.txt\", \"w\")'", Some("")),
        ] {
            let stage = read("D", &format!("FROM a\nWORKDIR /a\nRUN {run}\n")).remove(0);
            let begins = stage.files.iter().map(|put| match put {
                Put::Change(begin) => begin.as_str(),
                Put::Copy { .. } => "copy",
            });
            let seen = begins.collect::<Vec<_>>().join(" ");
            assert_eq!((!stage.files.is_empty()).then_some(seen.as_str()), wanted, "{run}");
        }
    }

    #[test]
    fn a_variable_wins_over_an_argument() {
        let installs = |lines: &str| {
            let text =
                format!("ARG TF=0\nARG PYTHON_VERSION=3.8\nFROM python:3.11 AS a\n{lines}\nRUN pip install b==$TF\n");
            let stages = read("D", &text);
            let install = &stages.last().unwrap().installs[0];
            install.read.packages.first().filter(|_| install.certain).map(|package| package.specifier.clone())
        };
        for (lines, wanted) in [
            ("ARG TF=2\nENV TF=1\nARG TF=2", Some("==1")),
            ("ENV TF=1\nARG TF", Some("==1")),
            ("ENV TF=1\nFROM a\nARG TF=2", Some("==1")),
            ("ARG TF=2\nENV TF=$X\nFROM a\nARG TF=2", None),
            ("ARG TF=2", Some("==2")),
            ("ARG TF=2\nRUN echo TF=3", Some("==2")),
            ("ARG TF=2\nRUN export TF=1 && pip install a==$TF", None),
            ("ARG TF=2\nRUN export B_TF=1 && pip install a==$TF", Some("==2")),
            ("ARG TF", Some("==0")),
            ("ARG PYTHON_VERSION\nENV TF=$PYTHON_VERSION", None),
        ] {
            assert_eq!(installs(lines).as_deref(), wanted, "{lines}");
        }
    }

    #[test]
    fn tags_tell_the_python() {
        let python = |reference: &str| python_of(&image(reference, Evidence::default())).map(|it| it.value);
        assert_eq!(python("docker.io/library/python:3.8.18-slim@sha256:0").as_deref(), Some("==3.8.18"));
        assert_eq!(python("localhost:5000/python:3.8"), None);
        assert_eq!(python("python:3"), None);
        assert_eq!(python("python:3.14-rc").as_deref(), Some("==3.14.*"));
        assert_eq!(python("ubuntu:focal").as_deref(), Some("==3.8.*"));
        assert_eq!(python("nvidia/cuda:11.8.0-base-rockylinux8"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "((RUN|FROM|ENV|ARG|COPY|pip install) |[-a-z=$\\\\{}\"'`<|&#é:]|\n| ){0,80}", cut in 0..900usize) {
            let _ = read("D", &text);
            let _ = read("D", SAMPLE.get(..cut).unwrap_or(SAMPLE));
        }
    }
}
