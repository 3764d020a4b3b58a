//! Rule `jupyter-kernel-elsewhere`: a Jupyter kernel runs another Python than the one with TensorFlow.

use super::{Cx, Family, Rule, layer};
use crate::facts::{Evidence, JupyterKernel};
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
    for kernel in &cx.facts.kernels {
        // A program that was not recognised (a wrapper, a container's) may lead to any environment.
        let env = kernel.env.and_then(|index| cx.facts.pythons.get(index));
        let tensorflow = kernel.tensorflow.or_else(|| env.map(|env| env.tensorflow.is_some()));
        if tensorflow.is_none() && !kernel.gone {
            continue;
        }
        out.applies();
        if tensorflow == Some(true) {
            continue;
        }
        // A Jupyter of the environment itself finds its own kernel of that name first.
        let own = format!("{}/", home.path());
        let hidden = |other: &&JupyterKernel| other.name == kernel.name && other.path.starts_with(&own);
        if cx.facts.kernels.iter().any(|other| hidden(&other)) {
            continue;
        }
        let interpreter = kernel.interpreter.as_deref().unwrap_or("another Python");
        let why = if kernel.gone { "which is not there" } else { "which has no TensorFlow" };
        let mut finding = Finding::new(
            Subject::Env(home.index),
            format!("the Jupyter kernel `{}` runs {interpreter}, {why}", kernel.name),
        )
        .because(Evidence::file(
            &kernel.path,
            if kernel.bare {
                "argv[0] is no path: the Python that runs Jupyter".to_owned()
            } else {
                format!("argv[0] is {interpreter}")
            },
        ))
        .because(Evidence::file(home.path(), "TensorFlow is here"));
        if kernel.gone {
            let folder = kernel.path.trim_end_matches("/kernel.json");
            finding = finding.run("remove the kernel that leads nowhere", format!("rm -r {}", shell::word(folder)));
        }
        out.find(finding.run(
            "make a kernel of the environment that has it",
            format!(
                "{} && {} -m ipykernel install --user --name {}",
                cx.view.install(home.env, "ipykernel"),
                shell::word(&home.env.interpreter),
                shell::word(&name_for(home.path()))
            ),
        ));
    }
}

/// A kernel's name from an environment's path: its folder, or that folder's parent for `.venv`.
fn name_for(path: &str) -> String {
    let mut parts = path.rsplit('/').filter(|part| !part.is_empty() && !matches!(*part, ".venv" | "venv" | "env"));
    parts.next().unwrap_or("tensorflow").to_owned()
}
