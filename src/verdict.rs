//! Runs every rule over the facts and turns their findings into verdicts, root cause first.
//!
//! Levels from the policy, ignores and exit codes are not its business: verdicts are the truth, whatever
//! the policy.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::db::Database;
use crate::facts::{Cause, Facts, KernelCompile, Observation};
use crate::finding::{Break, Finding, Judgment, Level, Subject, Unknown};
use crate::options::{GpuWish, Wishes};
use crate::policy::{NOTHING_REQUIRED, Requires};
use crate::rules::{self, Cx, Family, Rule, layer, prediction_contradicted};
use crate::sort::Sorted as _;
use crate::view::{EnvView, View};

/// An answer to a question about the GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// It will.
    Yes,
    /// It will not.
    No,
    /// That cannot be told.
    Unknown,
}

/// What all rules said.
#[derive(Clone, Debug)]
pub struct Outcomes {
    /// Findings, the root cause first.
    pub findings: Vec<(&'static Rule, Finding)>,
    /// Rules that had something to look at and found nothing wrong.
    pub passed: Vec<&'static str>,
    /// What could not be told.
    pub unknown: Vec<(&'static str, Unknown)>,
    /// Rules that had nothing to look at.
    pub not_applicable: Vec<&'static str>,
    /// The verdicts.
    pub verdicts: Verdicts,
}

/// The verdicts on one machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Verdicts {
    /// One for each Python environment.
    pub environments: Vec<EnvVerdict>,
    /// On the Cargo project, where its lock file has crates that deal with CUDA.
    pub project: Option<ProjectVerdict>,
    /// On the test kernel; empty where none ran.
    pub kernel: Vec<KernelVerdict>,
}

/// The verdict on one Python environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EnvVerdict {
    /// Its folder.
    pub path: String,
    /// Its Python version.
    pub python: Option<String>,
    /// Whether `python` would start it.
    pub active: bool,
    /// On TensorFlow, where it is installed.
    pub tensorflow: Option<TfVerdict>,
    /// On Keras, where it is installed.
    pub keras: Option<KerasVerdict>,
}

/// The verdict on TensorFlow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TfVerdict {
    /// Its version.
    pub version: Option<String>,
    /// Whether `tf.config.list_physical_devices('GPU')` returns a device.
    pub sees_gpu: Answer,
    /// Whether its operations compute on it.
    pub runs_on_gpu: Answer,
    /// The rules that say so, root cause first.
    pub because: Vec<String>,
}

/// The verdict on Keras.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KerasVerdict {
    /// Its version.
    pub version: Option<String>,
    /// Its backend.
    pub backend: String,
    /// What chose the backend.
    pub backend_from: String,
    /// Whether a computation with it, a small `fit` included, runs on the GPU.
    pub uses_gpu: Answer,
    /// The rules that say so, root cause first.
    pub because: Vec<String>,
}

/// The verdict on a Cargo project.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProjectVerdict {
    /// Whether its CUDA code builds.
    pub builds: Answer,
    /// Whether it runs.
    pub runs: Answer,
    /// The rules that say so.
    pub because: Vec<String>,
}

/// The outcome of one test kernel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KernelVerdict {
    /// The number of the GPU; none where it was only compiled.
    pub gpu: Option<u32>,
    /// `ptx`, `nvrtc` or `nvcc`.
    pub route: String,
    /// The version of the compiler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toolkit: Option<String>,
    /// What it was compiled for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<String>,
    /// `ok`, `compiled` where it was not launched, or what failed in one word.
    pub outcome: String,
    /// Milliseconds by stage.
    pub ms: BTreeMap<String, f64>,
}

/// What rules have said so far.
#[derive(Debug, Default)]
struct Said {
    findings: Vec<(&'static Rule, Finding)>,
    unknown: Vec<(&'static str, Unknown)>,
    passed: Vec<&'static str>,
    not_applicable: Vec<&'static str>,
}

impl Said {
    fn take(&mut self, rule: &'static Rule, cx: &Cx<'_>) {
        let mut judgment = Judgment::default();
        (rule.check)(cx, &mut judgment);
        match (judgment.applied, judgment.findings.is_empty(), judgment.unknown.is_empty()) {
            (false, ..) => self.not_applicable.push(rule.id),
            (true, true, true) => self.passed.push(rule.id),
            _ => {}
        }
        self.findings.extend(judgment.findings.into_iter().map(|finding| (rule, finding)));
        self.unknown.extend(judgment.unknown.into_iter().map(|item| (rule.id, item)));
    }

    /// Holds what files foretold against what the test kernel showed: one root, and what was seen wins.
    fn weigh(&mut self, facts: &Facts) {
        let Some(observed) = &facts.observed else { return };
        let stops_all = |(rule, finding): &(&'static Rule, Finding)| {
            rule.layer < layer::KERNEL && finding.breaks.contains(&(Subject::Machine, Break::Cuda))
        };
        if observed.works() {
            let (contradicted, kept): (Vec<_>, Vec<_>) = self.findings.drain(..).partition(stops_all);
            self.findings = kept;
            self.unknown.retain(|(_, item)| item.subject != Subject::Machine || item.breaks != Some(Break::Cuda));
            if let Some(finding) = prediction_contradicted::by_kernel(&contradicted, observed) {
                self.not_applicable.retain(|id| *id != prediction_contradicted::RULE.id);
                self.not_applicable.extend(contradicted.iter().map(|(rule, _)| rule.id));
                self.findings.push((&prediction_contradicted::RULE, finding));
                // Rules that looked no further, because nothing seemed to work, have not judged the environments.
                let missing = "what the environments need, since files tell another state of the GPU than it has";
                let missing =
                    Unknown { subject: Subject::Machine, missing: missing.to_owned(), breaks: Some(Break::Cuda) };
                self.unknown.push((prediction_contradicted::RULE.id, missing));
                self.sort();
            }
            return;
        }
        // What the test kernel met follows from a cause that files tell; a note hides no more than that nothing is visible.
        let nothing = observed.driver.value().and_then(|driver| driver.failure.as_ref());
        let nothing = nothing.is_some_and(|failed| failed.cause == Cause::NoDevice);
        let root = |item: &(&'static Rule, Finding)| {
            stops_all(item) && (nothing || item.1.level.unwrap_or(item.0.level) > Level::Note)
        };
        let Some(root) = self.findings.iter().position(root) else { return };
        let follows = |(rule, finding): &(&'static Rule, Finding)| {
            rule.family == Family::Kernel && finding.breaks.iter().any(|(subject, _)| *subject == Subject::Machine)
        };
        let (followers, kept): (Vec<_>, Vec<_>) = self.findings.drain(..).partition(follows);
        self.findings = kept;
        // It stands before them, as their layer is behind its own.
        if let Some((_, finding)) = self.findings.get_mut(root) {
            finding.consequences.extend(followers.iter().map(|(_, follower)| follower.title.clone()));
        }
        let gone = followers
            .iter()
            .map(|(rule, _)| rule.id)
            .filter(|id| !self.findings.iter().any(|(rule, _)| rule.id == *id));
        self.not_applicable.extend(gone.collect::<Vec<_>>());
    }

    fn sort(&mut self) {
        // Stable: rules of one layer keep the order in which they are listed.
        crate::sort::by_key(&mut self.findings, |(rule, finding)| (rule.layer, finding.subject.clone()));
        crate::sort::by_key(&mut self.unknown, |(id, _)| rules::find(id).map_or(u8::MAX, |rule| rule.layer));
    }
}

/// What became of the test kernel.
fn kernel_verdicts(facts: &Facts) -> Vec<KernelVerdict> {
    let Some(observed) = &facts.observed else { return Vec::new() };
    let runs = observed.runs.iter().map(|run| KernelVerdict {
        gpu: Some(run.gpu),
        route: run.route.clone(),
        toolkit: run.toolkit.clone(),
        arch: Some(run.arch.clone()),
        outcome: run.failure.as_ref().map_or_else(|| "ok".to_owned(), |failed| failed.cause.word()),
        ms: run.ms.clone(),
    });
    let launched = |compile: &KernelCompile| {
        observed.runs.iter().any(|run| {
            (&run.route, &run.compiler, Some(&run.arch)) == (&compile.route, &compile.compiler, compile.arch.as_ref())
        })
    };
    // Of two host compilers one may have failed where the other's kernel ran.
    let alone = |compile: &&KernelCompile| compile.failure.is_some() || !launched(compile);
    let compiles = observed.compiles.iter().filter(alone).map(|compile| KernelVerdict {
        gpu: None,
        route: compile.route.clone(),
        toolkit: compile.toolkit.clone(),
        arch: compile.arch.clone(),
        outcome: compile.failure.as_ref().map_or_else(|| "compiled".to_owned(), |failed| failed.cause.clone()),
        ms: (!compile.cached).then(|| ("compile".to_owned(), compile.ms)).into_iter().sorted_map(),
    });
    runs.chain(compiles).collect()
}

/// The verdict with what was observed in place of what was foretold; where the two differ, the rule that says so.
fn as_observed(mut verdict: EnvVerdict, observation: &Observation) -> EnvVerdict {
    let observed = prediction_contradicted::read(observation);
    let settle = |place: &mut Answer, seen: Option<Answer>, because: &mut Vec<String>| {
        let Some(seen) = seen.filter(|seen| seen != place) else { return };
        if *place != Answer::Unknown && seen == Answer::No {
            because.insert(0, prediction_contradicted::RULE.id.to_owned());
            because.dedup();
        }
        *place = seen;
    };
    if let Some(tensorflow) = &mut verdict.tensorflow {
        settle(&mut tensorflow.sees_gpu, observed.sees_gpu, &mut tensorflow.because);
        settle(&mut tensorflow.runs_on_gpu, observed.runs_on_gpu, &mut tensorflow.because);
        if tensorflow.runs_on_gpu == Answer::Yes {
            tensorflow.because.clear();
        }
    }
    if let Some(keras) = &mut verdict.keras {
        settle(&mut keras.uses_gpu, observed.uses_gpu, &mut keras.because);
        if keras.uses_gpu == Answer::Yes {
            keras.because.clear();
        }
    }
    verdict
}

/// Judges one machine of which nothing in particular is required.
pub fn judge(facts: &Facts, db: &Database, wishes: impl Into<Wishes>, today: &str) -> Outcomes {
    judge_with(facts, db, wishes, &NOTHING_REQUIRED, today)
}

/// Judges one machine, `[requires]` of the policy included.
pub fn judge_with(
    facts: &Facts,
    db: &Database,
    wishes: impl Into<Wishes>,
    requires: &Requires,
    today: &str,
) -> Outcomes {
    let view = View::new(facts, db);
    let Wishes { gpu, launch } = wishes.into();
    let mut cx = Cx { facts, db, view: &view, gpu, requires, launch, today, predicted: None };
    let mut said = Said::default();
    for rule in rules::all() {
        said.take(rule, &cx);
    }
    said.sort();
    said.weigh(facts);
    let foretold: Vec<EnvVerdict> = view.envs().map(|env| env_verdict(&env, &said.findings, &said.unknown)).collect();
    // This rule looks at what the others came to, so it is asked again.
    if facts.pythons.iter().any(|env| env.observed.is_some()) {
        cx.predicted = Some(&foretold);
        said.not_applicable.retain(|id| *id != prediction_contradicted::RULE.id);
        said.take(&prediction_contradicted::RULE, &cx);
        said.sort();
    }
    let Said { mut findings, unknown, mut passed, mut not_applicable } = said;
    let environments = foretold
        .iter()
        .zip(&facts.pythons)
        .map(|(verdict, env)| match &env.observed {
            Some(observation) => as_observed(verdict.clone(), observation),
            None => verdict.clone(),
        })
        .collect();
    let verdicts = Verdicts {
        environments,
        project: project_verdict(facts, db, &findings, &unknown),
        kernel: kernel_verdicts(facts),
    };

    // A message level hides something only where there is something to hide.
    let trouble = findings
        .iter()
        .any(|(rule, finding)| rule.layer < layer::TOOL && finding.level.unwrap_or(rule.level) > Level::Note);
    let mut dropped = Vec::new();
    findings.retain(|(rule, _)| {
        let keep = match rule.id {
            "log-level-hides-errors" => trouble,
            // Where no GPU is wanted, only what breaks imports, builds or the check itself is worth a word.
            _ => {
                gpu != GpuWish::None
                    || (layer::IMPORT..layer::WHEEL).contains(&rule.layer)
                    || rule.layer >= layer::PROJECT
            }
        };
        if !keep {
            dropped.push(rule.id);
        }
        keep
    });
    dropped.dedup();
    not_applicable.extend(dropped.into_iter().filter(|id| !findings.iter().any(|(rule, _)| rule.id == *id)));
    crate::sort::plain(&mut not_applicable);
    not_applicable.dedup();
    crate::sort::plain(&mut passed);
    Outcomes { findings, passed, unknown, not_applicable, verdicts }
}

fn env_verdict(
    env: &EnvView<'_, '_>,
    findings: &[(&'static Rule, Finding)],
    unknown: &[(&'static str, Unknown)],
) -> EnvVerdict {
    let asked = |wanted: &[Break]| verdict_on(&[Subject::Machine, Subject::Env(env.index)], wanted, findings, unknown);
    let tensorflow = env.tf().map(|_| {
        let (sees_gpu, _) = asked(&[Break::Cuda, Break::TfSees]);
        let (runs_on_gpu, because) = asked(&[Break::Cuda, Break::TfSees, Break::TfRuns]);
        TfVerdict { version: env.tf_version_text().map(str::to_owned), sees_gpu, runs_on_gpu, because }
    });
    let legacy = env.legacy().then_some(env.env.tf_keras.as_ref()).flatten();
    // One in name only is a Keras that does not compute, rather than none.
    let hollow = || env.hollow_keras().map(|dist| Some(dist.version.clone()));
    let keras = legacy.or_else(|| env.keras()).map(|keras| keras.version.clone()).or_else(hollow).map(|version| {
        let backend = env.backend();
        let (uses_gpu, because) = if backend.name == "tensorflow" {
            asked(&[Break::Cuda, Break::TfSees, Break::TfRuns, Break::KerasUses])
        } else {
            asked(&[Break::Cuda, Break::KerasUses])
        };
        KerasVerdict { version, backend: backend.name, backend_from: backend.from, uses_gpu, because }
    });
    EnvVerdict {
        path: env.env.path.clone(),
        python: env.env.version.value().cloned(),
        active: env.env.active,
        tensorflow,
        keras,
    }
}

/// The answer that findings and unknown things leave for some subjects, and the rules that decide it.
fn verdict_on(
    subjects: &[Subject],
    wanted: &[Break],
    findings: &[(&'static Rule, Finding)],
    unknown: &[(&'static str, Unknown)],
) -> (Answer, Vec<String>) {
    let mut because: Vec<String> = Vec::new();
    for (rule, finding) in findings {
        let breaks = finding.breaks.iter().any(|(subject, what)| subjects.contains(subject) && wanted.contains(what));
        if breaks && !because.iter().any(|id| id == rule.id) {
            because.push(rule.id.to_owned());
        }
    }
    if !because.is_empty() {
        return (Answer::No, because);
    }
    for (id, item) in unknown {
        let open = subjects.contains(&item.subject) && item.breaks.is_some_and(|what| wanted.contains(&what));
        if open && !because.iter().any(|known| known == id) {
            because.push((*id).to_owned());
        }
    }
    (if because.is_empty() { Answer::Yes } else { Answer::Unknown }, because)
}

fn project_verdict(
    facts: &Facts,
    db: &Database,
    findings: &[(&'static Rule, Finding)],
    unknown: &[(&'static str, Unknown)],
) -> Option<ProjectVerdict> {
    let project = facts.project.as_ref()?;
    // Which crates are in it, nobody knows.
    if project.unread().is_some() {
        return Some(ProjectVerdict { builds: Answer::Unknown, runs: Answer::Unknown, because: Vec::new() });
    }
    // A project without CUDA asks nothing of the machine.
    project.crates.iter().find(|locked| db.crates().iter().any(|row| row.name == locked.name))?;
    let (builds, because) = verdict_on(&[Subject::Project], &[Break::Builds], findings, unknown);
    // A lock file that could not be read leaves all open.
    let certain = |answer| if project.trouble.is_some() && answer == Answer::Yes { Answer::Unknown } else { answer };
    let subjects = [Subject::Project, Subject::Machine];
    let (runs, runs_because) = verdict_on(&subjects, &[Break::Builds, Break::Runs, Break::Cuda], findings, unknown);
    Some(ProjectVerdict {
        builds: certain(builds),
        runs: certain(runs),
        // What is certain is told before what is open.
        because: if because.is_empty() || builds != Answer::No && runs == Answer::No { runs_because } else { because },
    })
}
