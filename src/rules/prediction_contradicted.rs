//! Rule `prediction-contradicted`: whether the interpreter itself did something else than the files foretold.

use super::{Cx, Family, Rule, kernel, layer};
use crate::facts::{Evidence, Observation, Observed as Launched, Probed, Seen, Source};
use crate::finding::{Finding, Judgment, Level, Subject};
use crate::verdict::{Answer, EnvVerdict};

/// The rule.
pub(crate) static RULE: Rule = Rule {
    id: "prediction-contradicted",
    family: Family::Tool,
    level: Level::Deny,
    layer: layer::TOOL,
    summary: "the interpreter did something else than the files foretold",
    docs: "\
### What it means

`--run-python` asked the environment's own interpreter to import TensorFlow and Keras, list GPUs and compute, and what \
it did differs from what this program foretold from files. The verdicts show what was observed. Or the test kernel ran on a GPU where files said that no program could use one; that is a warning.

### Why it matters

Observation wins, but one of two things is so: this program reads something wrongly, or something changes the outcome \
that lies outside of files, such as a driver that hangs, a GPU whose memory is full, or a wrapper around the interpreter.

### How to fix it

Look at the evidence first: an error at the computation (out of memory, an exclusive device) is a fault of the moment. \
Otherwise report it, with the output of `cargo gpu-doctor facts`: it is a bug of this program worth mending.
",
    check,
};

/// What was observed, in the terms of the verdicts; `None` where it tells nothing.
#[expect(clippy::struct_field_names, reason = "they are the names of the verdicts")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Observed {
    pub(crate) sees_gpu: Option<Answer>,
    pub(crate) runs_on_gpu: Option<Answer>,
    pub(crate) uses_gpu: Option<Answer>,
}

fn answer(yes: bool) -> Answer {
    if yes { Answer::Yes } else { Answer::No }
}

/// Reads an observation as answers.
pub(crate) fn read(observation: &Observation) -> Observed {
    let tensorflow = observation.tensorflow.value();
    let sees = |seen: &Seen| match (&seen.error, seen.gpus) {
        (Some(_), _) => Some(false),
        (None, count) => count.map(|count| count > 0),
    };
    let sees_gpu = tensorflow.and_then(sees);
    let runs_on_gpu = tensorflow.and_then(|seen| match sees_gpu {
        Some(true) if seen.failed.is_some() => Some(false),
        Some(true) => seen.on_gpu,
        other => other,
    });
    let uses_gpu = observation
        .keras
        .value()
        .and_then(|seen| if seen.error.is_some() || seen.failed.is_some() { Some(false) } else { seen.on_gpu });
    Observed { sees_gpu: sees_gpu.map(answer), runs_on_gpu: runs_on_gpu.map(answer), uses_gpu: uses_gpu.map(answer) }
}

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    other_files(cx, out);
    let Some(predicted) = cx.predicted else { return };
    for (index, (env, verdict)) in cx.facts.pythons.iter().zip(predicted).enumerate() {
        let Some(observation) = &env.observed else { continue };
        out.applies();
        let subject = Subject::Env(index);
        for probed in [&observation.tensorflow, &observation.keras] {
            if let Probed::Failed { why } = probed {
                out.unknown(subject.clone(), why.clone(), None);
            }
        }
        for (what, from, to, seen) in differences(verdict, observation) {
            let title = format!("{what} was foretold as {}, and the interpreter says {}", word(from), word(to));
            let mut finding = Finding::new(subject.clone(), title).because_all(seen.evidence().cloned());
            if let Some(seen) = seen.value() {
                for text in seen.error.iter().chain(&seen.failed) {
                    finding = finding.so(text.clone());
                }
            }
            out.find(finding.run("report it with these facts", "cargo gpu-doctor facts --output facts.json"));
        }
    }
}

/// Where a library that computed had other files mapped than the loader was foretold to choose.
fn other_files(cx: &Cx<'_>, out: &mut Judgment) {
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    for work in cx.facts.observed.iter().flat_map(|observed| &observed.libraries) {
        let Some((&index, env)) = work.envs.first().and_then(|index| Some((index, cx.facts.pythons.get(*index)?)))
        else {
            continue;
        };
        out.applies();
        let tensorflow = env.tensorflow.iter();
        let parts = tensorflow.flat_map(|tf| &tf.cudnn_parts).filter_map(|part| part.resolution.file.value());
        for part in parts {
            let other = work.mapped.iter().find(|path| name(path) == name(&part.real) && **path != part.real);
            // A file of that name that is mapped beside the foretold one is somebody else's.
            let Some(other) = other.filter(|_| !work.mapped.contains(&part.real)) else { continue };
            let title = format!("{} was foretold, and {other} was mapped", part.real);
            out.find(
                Finding::new(Subject::Env(index), title)
                    .at(Level::Warn)
                    .because(part.evidence(&name(&part.path)))
                    .because(Evidence::new(Source::Run, other, format!("mapped by {}", work.path)))
                    .run("report it with these facts", "cargo gpu-doctor facts --output facts.json"),
            );
        }
    }
}

/// What is said where the test kernel ran although findings say that nothing can use a GPU.
pub(crate) fn by_kernel(contradicted: &[(&'static Rule, Finding)], launched: &Launched) -> Option<Finding> {
    let (rule, first) = contradicted.first()?;
    let run = launched.runs.iter().find(|run| run.failure.is_none())?;
    let title = format!("a kernel ran on GPU {} although `{}` was foretold", run.gpu, rule.id);
    let at = format!("GPU {}, {}", run.gpu, kernel::name(run));
    let mut finding = Finding::new(Subject::Machine, title)
        .at(Level::Warn)
        .because(Evidence::new(Source::Run, at, "it gave the right numbers"))
        .because_all(first.evidence.iter().cloned());
    for (rule, other) in contradicted {
        finding = finding.so(format!("{}: {}", rule.id, other.title));
    }
    Some(finding.run("report it with these facts", "cargo gpu-doctor facts --output facts.json"))
}

fn word(answer: Answer) -> &'static str {
    match answer {
        Answer::Yes => "yes",
        Answer::No => "no",
        Answer::Unknown => "unknown",
    }
}

type Difference<'a> = (&'static str, Answer, Answer, &'a Probed<Seen>);

/// Where a certain prediction differs from an observation. Of several that follow from each other, the first only.
fn differences<'a>(verdict: &EnvVerdict, observation: &'a Observation) -> Vec<Difference<'a>> {
    let observed = read(observation);
    let mut differences = Vec::new();
    let mut compare =
        |what, predicted: Option<Answer>, observed: Option<Answer>, seen: &'a Probed<Seen>| match (predicted, observed)
        {
            (Some(from), Some(to)) if from != Answer::Unknown && from != to => {
                differences.push((what, from, to, seen));
                true
            }
            _ => false,
        };
    let tensorflow = verdict.tensorflow.as_ref();
    let first = compare("sees_gpu", tensorflow.map(|tf| tf.sees_gpu), observed.sees_gpu, &observation.tensorflow);
    if !first {
        compare("runs_on_gpu", tensorflow.map(|tf| tf.runs_on_gpu), observed.runs_on_gpu, &observation.tensorflow);
    }
    let keras = verdict.keras.as_ref();
    let same_root = first && keras.is_some_and(|keras| keras.backend == "tensorflow");
    if !same_root {
        compare("uses_gpu", keras.map(|keras| keras.uses_gpu), observed.uses_gpu, &observation.keras);
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verdict::{KerasVerdict, TfVerdict};

    fn seen(seen: Seen) -> Probed<Seen> {
        Probed::found(seen, Evidence::new(Source::Run, "python", "it says so"))
    }

    fn verdict(sees: Answer, uses: Answer) -> EnvVerdict {
        EnvVerdict {
            path: "/env".into(),
            python: None,
            active: true,
            tensorflow: Some(TfVerdict { version: None, sees_gpu: sees, runs_on_gpu: sees, because: Vec::new() }),
            keras: Some(KerasVerdict {
                version: None,
                backend: "tensorflow".into(),
                backend_from: String::new(),
                uses_gpu: uses,
                because: Vec::new(),
            }),
        }
    }

    fn on_gpu() -> Observation {
        let here = Seen { gpus: Some(1), on_gpu: Some(true), ..Seen::default() };
        Observation { tensorflow: seen(here.clone()), keras: seen(here) }
    }

    #[test]
    fn what_agrees_is_silent_and_unknown_contradicts_nothing() {
        assert!(differences(&verdict(Answer::Yes, Answer::Yes), &on_gpu()).is_empty());
        assert!(differences(&verdict(Answer::Unknown, Answer::Unknown), &on_gpu()).is_empty());
        assert!(differences(&verdict(Answer::Yes, Answer::Yes), &Observation::default()).is_empty());
    }

    #[test]
    fn one_root_is_one_difference() {
        let observation = on_gpu();
        let found = differences(&verdict(Answer::No, Answer::No), &observation);
        assert_eq!(found.iter().map(|found| found.0).collect::<Vec<_>>(), ["sees_gpu"]);
    }

    #[test]
    fn a_list_without_computing_is_told_apart() {
        let listed = Seen { gpus: Some(1), failed: Some("out of memory".into()), ..Seen::default() };
        let observation = Observation { tensorflow: seen(listed.clone()), keras: seen(listed) };
        let found = differences(&verdict(Answer::Yes, Answer::Yes), &observation);
        assert_eq!(found.iter().map(|found| found.0).collect::<Vec<_>>(), ["runs_on_gpu", "uses_gpu"]);
        assert_eq!(read(&observation).sees_gpu, Some(Answer::Yes));
    }

    #[test]
    fn an_import_error_is_a_no() {
        let broken = Seen { error: Some("ImportError".into()), ..Seen::default() };
        let observed = read(&Observation { tensorflow: seen(broken.clone()), keras: seen(broken) });
        assert_eq!(
            (observed.sees_gpu, observed.runs_on_gpu, observed.uses_gpu),
            (Some(Answer::No), Some(Answer::No), Some(Answer::No))
        );
    }
}
