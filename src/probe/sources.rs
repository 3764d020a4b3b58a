//! The repository's Python sources, read with a real parser: where variables are set that frameworks read once, and
//! which imports and calls have surely run by then.
//!
//! Nothing is run, and what depends on a condition, a loop or an exception is taken for granted only inside of it.
//! Imports of the repository's own modules are not followed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tree_sitter::{Node, Parser};

use crate::facts::{Evidence, SourceDoes, SourceFile, SourceStep, Sources, Trouble, is_within};
use crate::host::{Entry, Host, Kind};
use crate::options::Options;

use super::repository::{self, Bounds};

/// Folders are searched this deep below the repository's own.
const DEPTH: u32 = 8;
/// No more folders than this are listed.
const MOST_FOLDERS: usize = 5_000;
/// No more files than this are looked into.
const MOST_FILES: usize = 5_000;
/// A larger file is generated, not written.
const LARGEST: u64 = 1 << 20;
/// No more steps than this are taken from one file.
const MOST_STEPS: usize = 200;
/// Statements and expressions nested deeper than this are passed over.
const NESTED: u32 = 60;

/// Variables that a framework reads once.
pub(crate) const VARIABLES: [&str; 3] = ["CUDA_VISIBLE_DEVICES", "KERAS_BACKEND", "TF_USE_LEGACY_KERAS"];

/// Calls after which the driver has read `CUDA_VISIBLE_DEVICES` for this process: `cuInit` does.
///
/// TensorFlow's were observed with 2.20 on a stand-in driver (its import alone does not read the variable); torch's go
/// through `_lazy_init` or `cudaGetDeviceCount` in `torch/cuda/__init__.py`; JAX's make its backends.
const INITIALISES: [&str; 16] = [
    "jax.default_backend",
    "jax.device_count",
    "jax.devices",
    "jax.local_device_count",
    "jax.local_devices",
    "tensorflow.config.experimental.list_physical_devices",
    "tensorflow.config.get_visible_devices",
    "tensorflow.config.list_logical_devices",
    "tensorflow.config.list_physical_devices",
    "torch.cuda.current_device",
    "torch.cuda.get_device_capability",
    "torch.cuda.get_device_name",
    "torch.cuda.get_device_properties",
    "torch.cuda.init",
    "torch.cuda.is_available",
    "torch.cuda.mem_get_info",
];

/// Modules that start processes or load modules anew.
const STARTERS: [&str; 14] = [
    "accelerate",
    "concurrent.futures",
    "dask",
    "importlib",
    "joblib",
    "mpi4py",
    "multiprocess",
    "multiprocessing",
    "ray",
    "runpy",
    "submitit",
    "subprocess",
    "torch.multiprocessing",
    "unittest.mock",
];

/// Reads the sources that were asked for: those that are named, or all of the repository.
pub fn probe(host: &Host, options: &Options) -> Option<Sources> {
    let named = options.sources.as_ref()?;
    let (root, depth) = repository::around(host, options, DEPTH);
    let mut out = Sources { root: root.to_string_lossy().into_owned(), ..Sources::default() };
    let files: Vec<PathBuf> = if named.is_empty() {
        let bounds = Bounds { depth, folders: MOST_FOLDERS, files: MOST_FILES };
        let wanted =
            |entry: &Entry, _: &str| (entry.kind == Kind::File && is_source(Path::new(&entry.name))).then_some(());
        let found = repository::walk(host, &root, &bounds, &mut out.troubles, wanted);
        found.into_iter().map(|(path, ())| path).collect()
    } else {
        named.iter().map(|file| host.absolute(file)).collect()
    };
    for path in files {
        let name = path.to_string_lossy().into_owned();
        let bytes = match host.read(&path, LARGEST) {
            Ok(bytes) => bytes,
            Err(error) => {
                if !error.is_absent() {
                    out.troubles.push(Trouble { at: name, why: error.why.to_string() });
                }
                continue;
            }
        };
        out.looked_into += 1;
        if !mentions(&bytes) {
            continue;
        }
        match std::str::from_utf8(&bytes) {
            Ok(text) => out.files.extend(read(&name, text)),
            Err(_) => out.troubles.push(Trouble { at: name, why: "not UTF-8".to_owned() }),
        }
    }
    Some(out)
}

/// Whether a source names one of the variables at all.
pub(crate) fn mentions(bytes: &[u8]) -> bool {
    VARIABLES.iter().any(|name| memchr::memmem::find(bytes, name.as_bytes()).is_some())
}

/// Whether a file is a Python source, by its name.
pub(crate) fn is_source(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "py")
}

/// Reads one source; `None` where it sets none of the variables.
fn read(name: &str, text: &str) -> Option<SourceFile> {
    let mut parser = Parser::new();
    parser.set_language(&tree_sitter_python::LANGUAGE.into()).ok()?;
    let tree = parser.parse(text, None)?;
    let mut reader =
        Reader { text, file: SourceFile { file: name.to_owned(), ..SourceFile::default() }, names: BTreeMap::new() };
    reader.block(tree.root_node(), &mut Vec::new(), 0);
    let sets = reader.file.steps.iter().any(|step| step.does == SourceDoes::Set);
    sets.then_some(reader.file)
}

struct Reader<'t> {
    text: &'t str,
    file: SourceFile,
    /// What names stand for, by the imports so far.
    names: BTreeMap<&'t str, String>,
}

impl<'t> Reader<'t> {
    fn of(&self, node: Node<'_>) -> &'t str {
        self.text.get(node.byte_range()).unwrap_or_default()
    }

    fn evidence(&self, node: Node<'_>) -> Evidence {
        let start = self.text.get(..node.start_byte()).unwrap_or_default();
        let line = start.rsplit('\n').next().unwrap_or_default();
        let says = self.of(node).lines().next().unwrap_or_default().trim_end();
        let number = |count: usize| u32::try_from(count + 1).unwrap_or(u32::MAX);
        Evidence::file(&self.file.file, says)
            .line(number(node.start_position().row))
            .column(number(line.chars().count()))
    }

    /// Notes a step that runs after those of `before`, and gives its place.
    fn step(&mut self, does: SourceDoes, name: &str, value: Option<String>, node: Node<'_>, before: &mut Vec<usize>) {
        if self.file.steps.len() >= MOST_STEPS {
            return;
        }
        let after = if does == SourceDoes::Set { before.clone() } else { Vec::new() };
        before.push(self.file.steps.len());
        let evidence = self.evidence(node);
        self.file.steps.push(SourceStep { does, name: name.to_owned(), value, evidence, after });
    }

    /// Statements that run one after the other.
    fn block(&mut self, block: Node<'_>, before: &mut Vec<usize>, nested: u32) {
        if nested > NESTED {
            return;
        }
        let mut cursor = block.walk();
        for statement in block.named_children(&mut cursor) {
            self.statement(statement, before, nested + 1);
        }
    }

    fn statement(&mut self, node: Node<'_>, before: &mut Vec<usize>, nested: u32) {
        if nested > NESTED {
            return;
        }
        match node.kind() {
            "import_statement" => self.import(node, before),
            "import_from_statement" => self.import_from(node, before),
            "expression_statement" | "return_statement" | "delete_statement" => self.expressions(node, before, nested),
            "decorated_definition" => {
                if let Some(inner) = node.child_by_field_name("definition") {
                    self.statement(inner, before, nested + 1);
                }
            }
            // What a part of these does is sure within that part alone. A body that is run later is run after what
            // stands before it.
            "if_statement"
            | "elif_clause"
            | "else_clause"
            | "while_statement"
            | "for_statement"
            | "try_statement"
            | "except_clause"
            | "except_group_clause"
            | "finally_clause"
            | "with_statement"
            | "function_definition"
            | "class_definition"
            | "match_statement"
            | "case_clause"
            | "block" => {
                for field in ["condition", "right", "subject"] {
                    if let Some(part) = node.child_by_field_name(field) {
                        self.expression(part, before, nested + 1);
                    }
                }
                let mut cursor = node.walk();
                for part in node.named_children(&mut cursor) {
                    let mut inside = before.clone();
                    match part.kind() {
                        "block" => self.block(part, &mut inside, nested + 1),
                        "elif_clause"
                        | "else_clause"
                        | "except_clause"
                        | "except_group_clause"
                        | "finally_clause"
                        | "case_clause" => self.statement(part, &mut inside, nested + 1),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }

    /// `import a.b, c as d`.
    fn import(&mut self, node: Node<'_>, before: &mut Vec<usize>) {
        let mut cursor = node.walk();
        for part in node.named_children(&mut cursor) {
            let (module, alias) = match part.kind() {
                "aliased_import" => (part.child_by_field_name("name"), part.child_by_field_name("alias")),
                _ => (Some(part), None),
            };
            let Some(module) = module.map(|module| self.of(module)) else { continue };
            let first = module.split('.').next().unwrap_or_default();
            match alias {
                Some(alias) => self.names.insert(self.of(alias), module.to_owned()),
                None => self.names.insert(first, first.to_owned()),
            };
            self.imported(module, node, before);
        }
    }

    /// `from a.b import c as d, e`.
    fn import_from(&mut self, node: Node<'_>, before: &mut Vec<usize>) {
        let Some(module) = node.child_by_field_name("module_name").filter(|it| it.kind() == "dotted_name") else {
            return;
        };
        let module = self.of(module);
        let mut cursor = node.walk();
        for part in node.children_by_field_name("name", &mut cursor) {
            let (name, alias) = match part.kind() {
                "aliased_import" => (part.child_by_field_name("name"), part.child_by_field_name("alias")),
                _ => (Some(part), None),
            };
            let Some(name) = name.map(|name| self.of(name)) else { continue };
            let full = format!("{module}.{name}");
            self.starts(&full, node);
            self.names.insert(alias.map_or(name, |alias| self.of(alias)), full);
        }
        self.imported(module, node, before);
    }

    fn imported(&mut self, module: &str, node: Node<'_>, before: &mut Vec<usize>) {
        self.starts(module, node);
        if matches!(module.split('.').next(), Some("keras" | "tensorflow")) {
            self.step(SourceDoes::Import, module, None, node, before);
        }
    }

    fn starts(&mut self, name: &str, node: Node<'_>) {
        let system = name.strip_prefix("os.").is_some_and(|call| {
            call == "system" || ["exec", "fork", "popen", "posix_spawn", "spawn"].iter().any(|it| call.starts_with(it))
        });
        if self.file.starts.is_none()
            && (system || name == "sys.modules" || STARTERS.iter().any(|it| is_within(name, it)))
        {
            self.file.starts = Some(self.evidence(node));
        }
    }

    fn expressions(&mut self, node: Node<'_>, before: &mut Vec<usize>, nested: u32) {
        let mut cursor = node.walk();
        for part in node.named_children(&mut cursor) {
            self.expression(part, before, nested + 1);
        }
    }

    /// What is surely evaluated in an expression or assignment, its parts first.
    fn expression(&mut self, node: Node<'_>, before: &mut Vec<usize>, nested: u32) {
        if nested > NESTED {
            return;
        }
        match node.kind() {
            // What of these is evaluated depends on values.
            "lambda"
            | "conditional_expression"
            | "list_comprehension"
            | "set_comprehension"
            | "dictionary_comprehension"
            | "generator_expression" => return,
            "boolean_operator" => {
                if let Some(left) = node.child_by_field_name("left") {
                    self.expression(left, before, nested + 1);
                }
                return;
            }
            _ => {}
        }
        self.expressions(node, before, nested);
        match node.kind() {
            "assignment" => {
                let Some((left, right)) = node.child_by_field_name("left").zip(node.child_by_field_name("right"))
                else {
                    return;
                };
                if let Some(name) = self.variable(left) {
                    let value = self.literal(right);
                    self.step(SourceDoes::Set, name, value, node, before);
                }
            }
            "call" => self.call(node, before),
            "attribute" => {
                if let Some(name) = self.dotted(node) {
                    self.starts(&name, node);
                }
            }
            _ => {}
        }
    }

    fn call(&mut self, node: Node<'_>, before: &mut Vec<usize>) {
        let Some(name) = node.child_by_field_name("function").and_then(|function| self.dotted(function)) else {
            return;
        };
        self.starts(&name, node);
        let arguments = node.child_by_field_name("arguments");
        if INITIALISES.contains(&name.as_str()) {
            self.step(SourceDoes::Call, &name, None, node, before);
        } else if name == "os.environ.setdefault" {
            let mut parts = arguments.into_iter().flat_map(children);
            let known = parts.next().and_then(|key| known(&self.literal(key)?));
            if let Some(known) = known {
                let value = parts.next().and_then(|value| self.literal(value));
                self.step(SourceDoes::Set, known, value, node, before);
            }
        } else if name == "os.environ.update" {
            let pairs = arguments.into_iter().flat_map(children).flat_map(|argument| match argument.kind() {
                "dictionary" => children(argument),
                _ => vec![argument],
            });
            for pair in pairs.collect::<Vec<_>>() {
                let part = |field| pair.child_by_field_name(field);
                let (key, value) = match pair.kind() {
                    "pair" => (part("key").and_then(|key| self.literal(key)), part("value")),
                    "keyword_argument" => (part("name").map(|key| self.of(key).to_owned()), part("value")),
                    _ => continue,
                };
                if let Some(known) = key.as_deref().and_then(known) {
                    let value = value.and_then(|value| self.literal(value));
                    self.step(SourceDoes::Set, known, value, node, before);
                }
            }
        }
    }

    /// The variable that `os.environ["…"]` names.
    fn variable(&self, node: Node<'_>) -> Option<&'static str> {
        if node.kind() != "subscript" || self.dotted(node.child_by_field_name("value")?)? != "os.environ" {
            return None;
        }
        known(&self.literal(node.child_by_field_name("subscript")?)?)
    }

    /// The full name of `a.b.c`, where `a` was imported.
    fn dotted(&self, node: Node<'_>) -> Option<String> {
        let mut node = node;
        let mut parts = Vec::new();
        while node.kind() == "attribute" {
            parts.push(self.of(node.child_by_field_name("attribute")?));
            node = node.child_by_field_name("object")?;
            if parts.len() > 16 {
                return None;
            }
        }
        let mut name = if node.kind() == "identifier" { self.names.get(self.of(node))?.clone() } else { return None };
        for part in parts.iter().rev() {
            name.push('.');
            name.push_str(part);
        }
        Some(name)
    }

    /// The text of a plain string; `None` for anything that is computed.
    fn literal(&self, node: Node<'_>) -> Option<String> {
        if node.kind() != "string" {
            return None;
        }
        let parts = children(node);
        let plain = parts.iter().all(|part| match part.kind() {
            "string_start" => !self.of(*part).contains(['f', 'F', 'b', 'B', 't', 'T']),
            "string_content" => part.named_child_count() == 0,
            kind => kind == "string_end",
        });
        let content = parts.iter().filter(|part| part.kind() == "string_content");
        plain.then(|| content.map(|part| self.of(*part)).collect())
    }
}

fn children(node: Node<'_>) -> Vec<Node<'_>> {
    let mut cursor = node.walk();
    node.named_children(&mut cursor).collect()
}

fn known(name: &str) -> Option<&'static str> {
    VARIABLES.into_iter().find(|known| *known == name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Each set variable with the steps that ran before it.
    fn sets(text: &str) -> Vec<(String, Vec<String>)> {
        let Some(file) = read("/a.py", text) else { return Vec::new() };
        let sets = file.steps.iter().filter(|step| step.does == SourceDoes::Set);
        let line = |step: &SourceStep| format!("{}={}", step.name, step.value.as_deref().unwrap_or("?"));
        sets.map(|step| (line(step), step.after.iter().map(|&index| file.steps[index].name.clone()).collect()))
            .collect()
    }

    fn one(text: &str) -> Vec<String> {
        let sets = sets(text);
        assert_eq!(sets.len(), 1, "{text}: {sets:?}");
        sets.into_iter().next().unwrap().1
    }

    #[test]
    fn all_ways_to_set_a_variable() {
        for (text, wanted) in [
            ("import os\nos.environ['KERAS_BACKEND'] = 'jax'\n", "KERAS_BACKEND=jax"),
            ("import os as o\no.environ[\"KERAS_BACKEND\"] = f'{x}'\n", "KERAS_BACKEND=?"),
            ("from os import environ\nenviron['KERAS_BACKEND'] = x\n", "KERAS_BACKEND=?"),
            ("import os\nos.environ.setdefault('CUDA_VISIBLE_DEVICES', '0')\n", "CUDA_VISIBLE_DEVICES=0"),
            ("import os\nos.environ.update({'A': '1', 'KERAS_BACKEND': 'jax'})\n", "KERAS_BACKEND=jax"),
            ("import os\nos.environ.update(TF_USE_LEGACY_KERAS='1')\n", "TF_USE_LEGACY_KERAS=1"),
        ] {
            assert_eq!(sets(text).iter().map(|set| set.0.as_str()).collect::<Vec<_>>(), [wanted], "{text}");
        }
        for text in [
            "environ['KERAS_BACKEND'] = 'jax'\n",
            "import os\nos.environ['PATH'] = 'KERAS_BACKEND'\n",
            "import os\n# os.environ['KERAS_BACKEND'] = 'jax'\n",
            "import os\n'''\nos.environ['KERAS_BACKEND'] = 'jax'\n'''\n",
            "import os\nf = lambda: os.environ.update(KERAS_BACKEND='jax')\n",
            "",
        ] {
            assert!(sets(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn only_what_surely_ran_counts() {
        let set = "os.environ['KERAS_BACKEND'] = 'jax'";
        for (text, wanted) in [
            (format!("import os, keras\n{set}\n"), vec!["keras"]),
            (format!("import os\n{set}\nimport keras\n"), vec![]),
            (format!("import os\nif x:\n    import keras\n{set}\n"), vec![]),
            (format!("import os\nif x:\n    import keras\n    {set}\n"), vec!["keras"]),
            (format!("import os\nif x:\n    import keras\nelse:\n    {set}\n"), vec![]),
            (format!("import os\ntry:\n    import keras\nexcept ImportError:\n    {set}\n"), vec![]),
            (format!("import os\nimport keras\ndef main():\n    {set}\n"), vec!["keras"]),
            (format!("import os\ndef main():\n    {set}\nimport keras\n"), vec![]),
            (format!("import os\ndef load():\n    import keras\ndef main():\n    {set}\n"), vec![]),
            (format!("import os\nfrom tensorflow.keras import layers\n{set}\n"), vec!["tensorflow.keras"]),
            (format!("import os\nfrom .keras import layers\n{set}\n"), vec![]),
            (format!("import os\nimport kerastuner\n{set}\n"), vec![]),
        ] {
            assert_eq!(one(&text), wanted, "{text}");
        }
    }

    #[test]
    fn calls_are_known_by_their_full_names() {
        let set = "os.environ['CUDA_VISIBLE_DEVICES'] = '0'\n";
        let call = |text: &str| one(&format!("import os\n{text}\n{set}"));
        let name = "tensorflow.config.list_physical_devices";
        assert_eq!(
            call("import tensorflow as tf\nn = len(tf.config.list_physical_devices('GPU')[0])"),
            ["tensorflow", name]
        );
        assert_eq!(call("import torch\nprint(torch.cuda.is_available())"), ["torch.cuda.is_available"]);
        assert_eq!(call("from jax import devices as d\nd()"), ["jax.devices"]);
        assert_eq!(call("import torch\nx = y and torch.cuda.is_available()"), Vec::<String>::new());
        assert_eq!(call("import torch\ntorch.cuda.is_available"), Vec::<String>::new());
        assert_eq!(call("tf.config.list_physical_devices()"), Vec::<String>::new());
    }

    #[test]
    fn other_processes_are_noticed() {
        let starts = |text: &str| {
            read("/a.py", &format!("import os, sys\n{text}\nos.environ['KERAS_BACKEND'] = 'jax'\n")).unwrap().starts
        };
        for text in [
            "import subprocess",
            "def f():\n    import ray",
            "from torch import multiprocessing",
            "os.execv('a', [])",
            "import importlib as i",
            "del sys.modules['keras']",
        ] {
            assert!(starts(text).is_some(), "{text}");
        }
        for text in ["import rayleigh", "os.path.join('a')", "sys.exit"] {
            assert!(starts(text).is_none(), "{text}");
        }
    }

    #[test]
    fn deep_nesting_and_broken_sources_are_passed_over() {
        let deep =
            format!("import os\nx = {}{}\nos.environ['KERAS_BACKEND'] = 'jax'\n", "(".repeat(5_000), ")".repeat(5_000));
        let _ = read("/a.py", &deep);
        let chain = format!("import os\nos{}\nos.environ['KERAS_BACKEND'] = 'jax'\n", ".a".repeat(20_000));
        let _ = read("/a.py", &chain);
        assert_eq!(one("import os\nimport keras\ndef broken(:\nos.environ['KERAS_BACKEND'] = 'jax'\n").len(), 1);
    }

    proptest! {
        #[test]
        fn never_panics(text in "(import os\n|import keras as k\n|if x:\n|    |os.environ|\\[|\\]|'KERAS_BACKEND'|=|\\(|\\)|\\.update|é|\n){0,60}") {
            let _ = read("/a.py", &text);
        }
    }
}
