//! Rule `source-sets-variable-too-late`: a Python source sets a variable after what reads it has read it.

use super::{Cx, Family, Rule, layer};
use crate::facts::{Evidence, SourceDoes, SourceFile, SourceStep, is_within};
use crate::finding::{Finding, Judgment, Level, Subject};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "source-sets-variable-too-late",
    family: Family::Project,
    level: Level::Warn,
    layer: layer::PROJECT,
    summary: "A Python source sets a variable after what reads it has read it",
    docs: r"### What it means

A source of the repository sets `KERAS_BACKEND`, `TF_USE_LEGACY_KERAS` or `CUDA_VISIBLE_DEVICES` in `os.environ` at a place where what reads it has surely read it already. Keras reads its backend when it is imported, and `import tensorflow` imports Keras. The driver reads `CUDA_VISIBLE_DEVICES` once, when a process first uses it: `import tensorflow` does not, `tf.config.list_physical_devices()` does.

Only sources that were asked for are read (`--sources`, and those that are staged in the git hook), and only an order that holds in every run is told. A source that starts other processes is passed over: these get the variable in time.

### Why it matters

Nothing fails: the variable looks set, and Keras keeps its backend, or the process keeps its GPUs.

### How to fix it

Move the assignment above the import or the call, or set the variable before Python starts.",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    let Some(sources) = &cx.facts.sources else { return };
    out.applies();
    for file in &sources.files {
        let late = if file.starts.is_none() { file.steps.iter().find_map(|step| late(cx, file, step)) } else { None };
        let Some((step, reader)) = late else { continue };
        let line = |evidence: &Evidence| evidence.line.unwrap_or_default();
        let (what, so) = match step.name.as_str() {
            "CUDA_VISIBLE_DEVICES" => (
                format!("after {}() has initialised the GPUs", reader.name),
                "this process keeps the GPUs that it saw then",
            ),
            "KERAS_BACKEND" => {
                (format!("after {} was imported", reader.name), "Keras keeps the backend that it had read")
            }
            _ => (format!("after {} was imported", reader.name), "what was imported is not the legacy Keras"),
        };
        let finding = Finding::new(Subject::Declared, format!("{} is set {what}", step.name))
            .because(step.evidence.clone())
            .because(reader.evidence.clone())
            .so(so)
            .help(format!(
                "move the statement of line {}, and the import of `os` that it needs, above line {}",
                line(&step.evidence),
                line(&reader.evidence)
            ))
            .help(format!("or set {} before Python starts", step.name));
        out.find(finding);
    }
}

/// The step where it comes too late, and what had read the variable.
fn late<'a>(cx: &Cx<'_>, file: &'a SourceFile, step: &'a SourceStep) -> Option<(&'a SourceStep, &'a SourceStep)> {
    if step.does != SourceDoes::Set || (step.value.is_some() && cx.facts.env.get(&step.name) == step.value.as_ref()) {
        return None;
    }
    let before = || step.after.iter().filter_map(|&index| Some((index, file.steps.get(index)?)));
    let legacy = cx.facts.env.contains_key("TF_USE_LEGACY_KERAS")
        || file.steps.iter().any(|it| it.does == SourceDoes::Set && it.name == "TF_USE_LEGACY_KERAS");
    let (place, reader) = before().find(|(_, it)| match (step.name.as_str(), it.does) {
        ("KERAS_BACKEND", SourceDoes::Import) => {
            is_within(&it.name, "keras") || (!legacy && is_within(&it.name, "tensorflow"))
        }
        ("TF_USE_LEGACY_KERAS", SourceDoes::Import) => is_within(&it.name, "tensorflow.keras"),
        ("CUDA_VISIBLE_DEVICES", SourceDoes::Call) => true,
        _ => false,
    })?;
    // What was set in time, to the same value or to one that is computed, may only be set again.
    let in_time = before().any(|(index, it)| {
        index < place
            && it.does == SourceDoes::Set
            && it.name == step.name
            && (it.value.is_none() || step.value.is_none() || it.value == step.value)
    });
    (!in_time).then_some((step, reader))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Facts, Sources};
    use crate::rules::testing;

    fn step(does: SourceDoes, name: &str, value: Option<&str>, line: u32, after: &[usize]) -> SourceStep {
        let evidence = Evidence::file("/a/train.py", name).line(line);
        SourceStep { does, name: name.to_owned(), value: value.map(str::to_owned), evidence, after: after.to_vec() }
    }

    fn titles(steps: Vec<SourceStep>, starts: bool, env: &[(&str, &str)]) -> Vec<String> {
        let starts = starts.then(|| Evidence::file("/a/train.py", "import subprocess"));
        let files = vec![SourceFile { file: "/a/train.py".to_owned(), steps, starts }];
        let sources = Some(Sources { root: "/a".to_owned(), looked_into: 1, files, ..Sources::default() });
        let mut facts = Facts { sources, ..testing::machine() };
        facts.env.extend(env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        testing::judge(&RULE, &facts).findings.into_iter().map(|finding| finding.title).collect()
    }

    use SourceDoes::{Call, Import, Set};

    #[test]
    fn too_late_is_after_what_reads_it() {
        let one =
            |reader: SourceStep, name: &str| titles(vec![reader, step(Set, name, Some("1"), 9, &[0])], false, &[]);
        let import = |name: &str| step(Import, name, None, 1, &[]);
        let call = || step(Call, "jax.devices", None, 1, &[]);
        assert_eq!(one(import("keras.ops"), "KERAS_BACKEND"), ["KERAS_BACKEND is set after keras.ops was imported"]);
        assert_eq!(one(import("tensorflow"), "KERAS_BACKEND"), ["KERAS_BACKEND is set after tensorflow was imported"]);
        assert_eq!(one(call(), "CUDA_VISIBLE_DEVICES").len(), 1);
        assert_eq!(one(import("tensorflow.keras"), "TF_USE_LEGACY_KERAS").len(), 1);
        // The import alone does not use the driver, and tf.keras is chosen when it is first used.
        assert!(one(import("tensorflow"), "CUDA_VISIBLE_DEVICES").is_empty());
        assert!(one(import("tensorflow"), "TF_USE_LEGACY_KERAS").is_empty());
        assert!(one(call(), "KERAS_BACKEND").is_empty());
        assert!(one(import("kerasx"), "KERAS_BACKEND").is_empty());
    }

    #[test]
    fn what_may_be_in_time_is_not_told() {
        let steps = || vec![step(Import, "keras", None, 1, &[]), step(Set, "KERAS_BACKEND", Some("jax"), 2, &[0])];
        assert_eq!(titles(steps(), false, &[]).len(), 1);
        assert!(titles(steps(), true, &[]).is_empty());
        assert!(titles(steps(), false, &[("KERAS_BACKEND", "jax")]).is_empty());
        let mut twice = vec![step(Set, "KERAS_BACKEND", Some("jax"), 1, &[])];
        twice.push(step(Import, "keras", None, 2, &[]));
        twice.push(step(Set, "KERAS_BACKEND", Some("jax"), 3, &[0, 1]));
        assert!(titles(twice.clone(), false, &[]).is_empty());
        twice[0].value = Some("torch".to_owned());
        assert_eq!(titles(twice, false, &[]).len(), 1);
        let legacy = vec![
            step(Set, "TF_USE_LEGACY_KERAS", Some("1"), 1, &[]),
            step(Import, "tensorflow", None, 2, &[]),
            step(Set, "KERAS_BACKEND", Some("jax"), 3, &[0, 1]),
        ];
        assert!(titles(legacy, false, &[]).is_empty());
    }
}
