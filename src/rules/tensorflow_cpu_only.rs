//! Rule `tensorflow-cpu-only`: the installed TensorFlow was built without CUDA.

use super::{Cx, Family, Rule, layer};
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::view::EnvView;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "tensorflow-cpu-only",
    family: Family::Python,
    level: Level::Deny,
    layer: layer::WHEEL,
    summary: "The installed TensorFlow was built without CUDA",
    docs: r"### What it means

The TensorFlow that is imported says of its own build that it has no CUDA in it. `tensorflow-cpu` is such a distribution on Linux.

### Why it matters

No driver, library or variable makes it see a GPU, and it says nothing about that: the list of devices is empty without a warning. Where Keras computes with JAX or PyTorch it is only a note: Keras's own recipe for JAX on the GPU installs `tensorflow-cpu` beside it.

### How to fix it

Uninstall it and install `tensorflow[and-cuda]` in its place. Uninstall first: both distributions write the same files.",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    if !cx.view.has_gpu() {
        return;
    }
    for env in cx.view.envs().filter(|env| env.tf_alive().is_some()) {
        match env.cuda_build() {
            None => out.unknown(Subject::Env(env.index), "whether TensorFlow was built with CUDA: build_info.py cannot be read and the database does not have this release", Some(Break::TfSees)),
            Some(true) => out.applies(),
            Some(false) => {
                out.applies();
                // These have causes of their own.
                let other_cause = env.tf_dists().len() > 1 || cx.view.platform() != "linux-x86_64" || env.is_conda_tf();
                if other_cause {
                    continue;
                }
                let version = env.tf_version_text().unwrap_or_default();
                let name = env.tf_dist().map_or("tensorflow", |dist| dist.name.as_str());
                let title = if env.is_rocm() {
                    format!("{name} {version} was built for AMD's GPUs (ROCm), and the GPU here is NVIDIA's")
                } else {
                    format!("{name} {version} was built without CUDA")
                };
                let mut finding = Finding::new(Subject::Env(env.index), title)
                    .because_all(env.tf().and_then(|tf| tf.build.evidence()).cloned())
                    .because_all(env.tf_dist().map(EnvView::dist_evidence))
                    .row(env.tf_row_ref())
                    .breaks(Break::TfSees);
                if env.computes_elsewhere() {
                    // Keras's GPU is another one, and TensorFlow is there for its input pipelines.
                    let backend = env.backend().name;
                    out.find(finding.at(Level::Note).so(format!("Keras computes with {backend} and does not ask for it")));
                    continue;
                }
                let Some((wanted, why)) = env.with_cuda(name, Some(version)) else {
                    out.find(finding.help("make the environment anew with a newer Python, and install `tensorflow[and-cuda]` there"));
                    continue;
                };
                let install = cx.view.install(env.env, &wanted);
                finding = why.into_iter().fold(finding, Finding::so);
                finding = if name == "tensorflow" {
                    finding.run("install the build with CUDA", install)
                } else {
                    finding.run("replace it by the build with CUDA", format!("{} && {install}", cx.view.uninstall(env.env, name)))
                };
                out.find(finding);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{found, judge, machine, tensorflow};

    #[test]
    fn a_release_whose_extra_works_is_proposed() {
        for (name, version, wanted) in [
            ("tensorflow-cpu", "2.20.0", "'tensorflow[and-cuda]==2.20.0'"),
            ("tensorflow-cpu", "2.21.0", "'tensorflow[and-cuda]==2.20.0'"),
            ("tensorflow-cpu", "2.16.1", "'tensorflow[and-cuda]==2.16.2'"),
            // No extra before 2.14.
            ("tensorflow-cpu", "2.12.1", "'tensorflow[and-cuda]==2.14.1'"),
            ("tensorflow", "2.18.1+local", "'tensorflow[and-cuda]==2.18.1'"),
            ("tensorflow-rocm", "2.18.1.600", "'tensorflow[and-cuda]==2.18.1'"),
            ("tensorflow-cpu", "2.99.0", "'tensorflow[and-cuda]==2.99.0'"),
            ("tf-nightly-cpu", "2.21.0.dev20250801", "'tf-nightly[and-cuda]'"),
        ] {
            let mut facts = machine();
            let mut env = tensorflow(version, "12", &[]);
            env.tensorflow.as_mut().unwrap().build = found(crate::facts::BuildInfo::default());
            env.dists[0].name = name.to_owned();
            env.version = found("3.10.4".to_owned());
            facts.pythons = vec![env];
            let finding = judge(&RULE, &facts).findings.remove(0);
            let command = finding.help[0].command.clone().unwrap();
            assert!(command.ends_with(wanted), "{command}");
        }
    }

    #[test]
    fn where_no_release_runs_on_this_python_no_command_is_proposed() {
        let mut facts = machine();
        let mut env = tensorflow("2.12.1", "12", &[]);
        env.tensorflow.as_mut().unwrap().build = found(crate::facts::BuildInfo::default());
        env.version = found("3.8.10".to_owned());
        facts.pythons = vec![env];
        assert_eq!(judge(&RULE, &facts).findings[0].help[0].command, None);
    }
}
