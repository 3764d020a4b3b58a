//! The verdicts of one machine: what TensorFlow, Keras and the project will do with its GPU; decides no level.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::db::Database;
use crate::facts::Facts;
use crate::finding::{Finding, Unknown};
use crate::options::GpuWish;
use crate::rules::Rule;

/// What all rules said about one machine.
#[derive(Clone, Debug, Default)]
pub struct Outcomes {
    /// Findings, root causes first.
    pub findings: Vec<(&'static Rule, Finding)>,
    /// Rules that had something to look at and found nothing.
    pub passed: Vec<&'static str>,
    /// What could not be told.
    pub unknown: Vec<(&'static str, Unknown)>,
    /// Rules that had nothing to look at.
    pub not_applicable: Vec<&'static str>,
    /// The verdicts.
    pub verdicts: Verdicts,
}

/// An answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// Yes.
    Yes,
    /// No.
    No,
    /// It cannot be told.
    #[default]
    Unknown,
}

/// All verdicts.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Verdicts {
    /// One for each Python environment.
    pub environments: Vec<EnvVerdict>,
    /// The Cargo project, where there is one.
    pub project: Option<ProjectVerdict>,
    /// The test kernel, one for each GPU and route.
    pub kernel: Vec<KernelVerdict>,
}

/// A Python environment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct EnvVerdict {
    /// Its folder.
    pub path: String,
    /// Its Python version.
    pub python: Option<String>,
    /// Whether `python` starts it.
    pub active: bool,
    /// TensorFlow, where installed.
    pub tensorflow: Option<TfVerdict>,
    /// Keras, where installed.
    pub keras: Option<KerasVerdict>,
}

/// TensorFlow in one environment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TfVerdict {
    /// Its version.
    pub version: Option<String>,
    /// Whether it lists a GPU.
    pub sees_gpu: Answer,
    /// Whether its operations run on it.
    pub runs_on_gpu: Answer,
    /// The rules that say so, root cause first.
    pub because: Vec<String>,
}

/// Keras in one environment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct KerasVerdict {
    /// Its version.
    pub version: Option<String>,
    /// Its backend.
    pub backend: String,
    /// What chose the backend.
    pub backend_from: String,
    /// Whether its computations run on the GPU.
    pub uses_gpu: Answer,
    /// The rules that say so, root cause first.
    pub because: Vec<String>,
}

/// The Cargo project.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ProjectVerdict {
    /// Whether it builds.
    pub builds: Answer,
    /// Whether it runs.
    pub runs: Answer,
    /// The rules that say so, root cause first.
    pub because: Vec<String>,
}

/// The test kernel by one route.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct KernelVerdict {
    /// The GPU.
    pub gpu: u32,
    /// The route.
    pub route: String,
    /// How it ended.
    pub outcome: String,
    /// Times of its stages.
    pub ms: BTreeMap<String, f64>,
}

/// Judges one machine.
pub fn judge(facts: &Facts, db: &Database, gpu: GpuWish, today: &str) -> Outcomes {
    let _ = (facts, db, gpu, today);
    Outcomes::default()
}
