//! Rule `prediction-contradicted`: whether the interpreter itself did something else than the files foretold.

use super::{Cx, Family, Rule, kernel, layer};
use crate::facts::{ApiDevice, Evidence, NvmlGpu, Observation, Observed as Launched, Probed, Seen, Source};
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
it did differs from what this program foretold from files. The verdicts show what was observed. Or the test kernel ran on a GPU where files said that no program could use one, or the driver shows other GPUs or \
reports another CUDA than files foretold; those are warnings.

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
    other_driver(cx, out);
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

/// Where the driver shows other GPUs, or reports another CUDA, than files foretold.
fn other_driver(cx: &Cx<'_>, out: &mut Judgment) {
    let Some(api) = cx.view.driver_told().filter(|_| !cx.view.driver_is_assumed()) else { return };
    out.applies();
    let told = |says: String| Evidence::new(Source::Run, &api.library, says);
    let mut differ = |level: Level, title: String, by_files: Option<Evidence>, told: Evidence| {
        out.find(
            Finding::new(Subject::Machine, title)
                .at(level)
                .because(told)
                .because_all(by_files)
                .run("report it with these facts", "cargo gpu-doctor facts --output facts.json"),
        );
    };
    let by_files = cx.view.driver_cuda_by_files().map(|(cuda, _)| cuda);
    if let (Some(foretold), Some(cuda)) = (by_files, &api.cuda)
        && cx.view.driver_cuda().is_some_and(|(now, _)| now == *cuda)
        && foretold != *cuda
    {
        let title = format!("the driver was foretold to run CUDA up to {foretold}, and it reports {cuda}");
        differ(
            Level::Warn,
            title,
            cx.view.driver().map(|(_, evidence)| evidence.clone()),
            told(format!("CUDA {cuda}")),
        );
    }
    // MIG instances are devices of their own, and a variable chooses among them.
    let all = !cx.facts.env.contains_key("CUDA_VISIBLE_DEVICES")
        && cx.facts.driver.mig.is_empty()
        // Of a lost one another rule tells.
        && !cx.facts.observed.iter().filter_map(|it| it.nvml.value()).flat_map(|it| &it.gpus).any(NvmlGpu::is_lost);
    for gpu in cx.view.gpus_by_files() {
        let Some(address) = &gpu.address else { continue };
        let shown = |device: &&ApiDevice| device.address.as_ref().is_some_and(|at| at.eq_ignore_ascii_case(address));
        match api.devices.iter().find(shown) {
            Some(device) => {
                if let (Some(foretold), Some(compute)) = (&gpu.compute, &device.compute)
                    && foretold != compute
                {
                    let title =
                        format!("the GPU at {address} was foretold as {foretold}, and the driver says {compute}");
                    let says = format!("GPU {}, {}", device.gpu, device.name);
                    differ(Level::Warn, title, Some(gpu.evidence.clone()), told(says));
                }
            }
            None if all => {
                let title = format!("the driver does not show {} at {address} to programs", gpu.name);
                // A container may have been given nodes that it may not use.
                let level = if cx.facts.machine.container.is_some() { Level::Note } else { Level::Warn };
                differ(level, title, Some(gpu.evidence.clone()), told(format!("it shows {}", api.devices.len())));
            }
            None => {}
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
    use crate::db::Database;
    use crate::facts::DriverApi;
    use crate::rules::testing::{machine, titles};
    use crate::verdict::{KerasVerdict, TfVerdict};
    use crate::view::View;

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

    #[test]
    fn what_the_driver_shows_wins_over_files_and_each_difference_is_told() {
        let device = |address: &str, compute: &str| ApiDevice {
            address: Some(address.to_owned()),
            compute: Some(compute.parse().unwrap()),
            name: "NVIDIA X900".to_owned(),
            ..ApiDevice::default()
        };
        let told = |cuda: &str, devices: Vec<ApiDevice>| {
            let mut facts = machine();
            let api = DriverApi { cuda: Some(cuda.parse().unwrap()), devices, ..DriverApi::default() };
            let driver = Probed::found(api, Evidence::new(Source::Run, "libcuda.so.1", "it says so"));
            facts.observed = Some(Launched { driver, ..Launched::default() });
            facts
        };
        let same = told("12.2", vec![device("0000:01:00.0", "9.0")]);
        assert!(titles(&RULE, &same).is_empty());
        let other = told("11.4", vec![device("0000:01:00.0", "5.0")]);
        assert_eq!(
            titles(&RULE, &other),
            [
                "the driver was foretold to run CUDA up to 12.2, and it reports 11.4",
                "the GPU at 0000:01:00.0 was foretold as 9.0, and the driver says 5.0",
            ]
        );
        let view = View::new(&other, Database::embedded());
        assert_eq!(view.driver_cuda().unwrap().0.as_str(), "11.4");
        assert_eq!(view.gpus[0].compute.as_ref().unwrap().as_str(), "5.0");
        // Of two one is shown: unless something chooses among them, that is a difference.
        let mut one = told("12.2", vec![device("0000:01:00.0", "9.0")]);
        let mut second = one.pci[0].clone();
        second.address = "0000:02:00.0".to_owned();
        one.pci.push(second);
        assert_eq!(titles(&RULE, &one).len(), 1);
        one.env.insert("CUDA_VISIBLE_DEVICES".to_owned(), "0".to_owned());
        assert!(titles(&RULE, &one).is_empty());
        // What files do not know the driver tells.
        let mut unknown = told("12.2", vec![device("0000:01:00.0", "12.0")]);
        (unknown.pci[0].device, unknown.driver.gpus) = ("0xffff".to_owned(), Vec::new());
        assert_eq!(View::new(&unknown, Database::embedded()).gpus[0].compute.as_ref().unwrap().as_str(), "12.0");
        assert!(titles(&RULE, &unknown).is_empty());
    }
}
