//! Rule `jupyter-kernel-elsewhere`: a Jupyter kernel runs another Python than the one with TensorFlow.

use super::{Cx, Family, Rule, layer};
use crate::facts::Evidence;
use crate::finding::{Finding, Judgment, Level, Subject};
use crate::shell;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "jupyter-kernel-elsewhere",
    family: Family::Python,
    level: Level::Warn,
    layer: layer::KERAS + 5,
    summary: "A Jupyter kernel runs another Python than the one with TensorFlow",
    docs: r"### What it means

Each Jupyter kernel names its own interpreter in `kernel.json`. One of them names an interpreter that is gone, or an environment without TensorFlow, while another environment here has it.

### Why it matters

The terminal sees the GPU and the notebook does not, because they are not the same Python.

### How to fix it

Register the environment with TensorFlow as a kernel of its own and choose it in the notebook.",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    let Some(home) = cx
        .view
        .envs()
        .find(|env| env.env.active && env.tf_alive().is_some())
        .or_else(|| cx.view.envs().find(|env| env.tf_alive().is_some()))
    else {
        return;
    };
    for kernel in cx.facts.kernels.iter().filter(|kernel| kernel.trouble.is_none()) {
        out.applies();
        let elsewhere = match kernel.env {
            Some(index) => {
                index != home.index && cx.facts.pythons.get(index).is_some_and(|env| env.tensorflow.is_none())
            }
            // An interpreter that lies in no known environment has none of the packages.
            None => kernel.interpreter.as_deref().is_some_and(|interpreter| interpreter.starts_with('/')),
        };
        if !elsewhere {
            continue;
        }
        let interpreter = kernel.interpreter.as_deref().unwrap_or("another Python");
        out.find(
            Finding::new(
                Subject::Env(home.index),
                format!("the Jupyter kernel `{}` runs {interpreter}, which has no TensorFlow", kernel.name),
            )
            .because(Evidence::file(&kernel.path, format!("argv[0] is {interpreter}")))
            .because(Evidence::file(home.path(), "TensorFlow is here"))
            .run(
                "make a kernel of the environment that has it",
                format!(
                    "{} -m ipykernel install --user --name {}",
                    shell::word(&home.env.interpreter),
                    shell::word(&name_for(home.path()))
                ),
            ),
        );
    }
}

/// A kernel's name from an environment's path: its folder, or that folder's parent for `.venv`.
fn name_for(path: &str) -> String {
    let mut parts = path.rsplit('/').filter(|part| !part.is_empty() && !matches!(*part, ".venv" | "venv" | "env"));
    parts.next().unwrap_or("tensorflow").to_owned()
}
