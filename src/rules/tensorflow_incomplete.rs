//! Rule `tensorflow-incomplete`: files of the installed TensorFlow are gone.

use super::{Cx, Family, Rule, layer};
use crate::facts::{Dist, Evidence, RecordCheck};
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::view::EnvView;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "tensorflow-incomplete",
    family: Family::Python,
    level: Level::Deny,
    layer: layer::IMPORT,
    summary: "Files of the installed TensorFlow are gone",
    docs: r"### What it means

The metadata of TensorFlow is there, and files that its RECORD lists are not, or were cut off: an installation that broke off, a full disk, or an uninstall of a twin distribution that removed the shared files. Or the library in it needs one of the system that is not there. Or a zip or egg earlier on `sys.path` answers to `import tensorflow`: Python loads no native module out of an archive.

### Why it matters

`import tensorflow` fails, or gives an empty package: `module 'tensorflow' has no attribute 'config'`. `pip check` and `pip list` see nothing wrong.

### How to fix it

Install the same version again over what is left, without touching its dependencies. An archive has to leave `sys.path`. What its own library needs of the system (the C++ library) comes from the distribution.",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    for env in cx.view.envs() {
        let Some(tf) = env.tf() else { continue };
        out.applies();
        if let Some(module) = tf.module.as_ref().filter(|module| module.archived && !module.namespace) {
            out.find(
                Finding::new(
                    Subject::Env(env.index),
                    "tensorflow comes from an archive, out of which Python loads no native module",
                )
                .because(Evidence::file(&module.path, format!("wins through {} on sys.path", module.entry)))
                .help(format!("take {} off sys.path", module.entry))
                .run(
                    "and install it as files",
                    cx.view.install(
                        env.env,
                        &env.with_cuda("tensorflow", env.tf_version_text())
                            .map_or_else(|| "tensorflow".to_owned(), |(wanted, _)| wanted),
                    ),
                )
                .so("`import tensorflow` fails")
                .breaks(Break::TfSees),
            );
            continue;
        }
        let hollow = tf.module.as_ref().is_none_or(|module| module.namespace);
        if hollow && env.tf_dists().is_empty() {
            continue;
        }
        let torn = env.tf_dists().into_iter().find(|dist| needs_what_is_gone(dist));
        // What a build for AMD's GPUs lacks would not give it NVIDIA's: that it is one is the cause to be told.
        let other = cx.view.has_gpu() && env.is_rocm();
        if let Some(lacking) = tf.lacks.first().filter(|_| !hollow && torn.is_none() && !other) {
            let short = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
            let mut finding = Finding::new(
                Subject::Env(env.index),
                format!("{} needs {}, which the loader does not find", short(&lacking.by), lacking.name),
            )
            .because(Evidence::loader(&lacking.by, format!("needs {}, which nothing provides", lacking.name)))
            .so("`import tensorflow` fails")
            .breaks(Break::TfSees);
            // Another loader than the system's does not find what the distribution installs.
            let distribution = cx.facts.machine.distribution_id.value().filter(|_| env.env.loader.is_none());
            let distribution = distribution.map(String::as_str);
            finding = match (lacking.name.as_str(), distribution) {
                ("libstdc++.so.6", Some("debian" | "ubuntu")) => {
                    finding.run("install the C++ library", "sudo apt install libstdc++6")
                }
                ("libstdc++.so.6", Some("fedora" | "rhel" | "centos" | "rocky" | "almalinux")) => {
                    finding.run("install the C++ library", "sudo dnf install libstdc++")
                }
                (name, _) => finding
                    .help(format!("install what brings {name}, or put the folder that holds it on LD_LIBRARY_PATH")),
            };
            out.find(finding);
            continue;
        }
        // Two distributions over each other explain each other's differences, unless nothing is left.
        let overlap = env.tf_dists().len() > 1 && !hollow;
        if overlap || (!hollow && torn.is_none()) {
            continue;
        }
        let Some(dist) = torn.or_else(|| env.tf_dist()) else { continue };
        let title = if hollow {
            format!("{} {} is installed in name only: its package is gone", dist.name, dist.version)
        } else {
            let fault = dist.record.as_ref().map_or("are gone", RecordCheck::fault);
            format!("files of {} {} {fault}", dist.name, dist.version)
        };
        let mut finding = Finding::new(Subject::Env(env.index), title);
        if let Some(record) = &dist.record {
            finding = finding.because(Evidence::package(format!("{}/RECORD", dist.metadata), record.summary()));
            finding = finding.because_all(record.torn().take(3).map(|(path, what)| Evidence::file(path, what)));
        }
        finding = finding
            .because(EnvView::dist_evidence(dist))
            .run(
                "install it again",
                cx.view.install(env.env, &format!("--force-reinstall --no-deps {}=={}", dist.name, dist.version)),
            )
            .so("`import tensorflow` fails or gives an empty package")
            .breaks(Break::TfSees);
        out.find(finding);
    }
}

/// Whether something is gone that the import needs: code or libraries, not licences or data.
fn needs_what_is_gone(dist: &Dist) -> bool {
    dist.record.as_ref().is_some_and(|record| {
        record.torn().any(|(path, _)| {
            let python = path.rsplit_once('.').is_some_and(|(_, extension)| extension == "py");
            (python || path.contains(".so")) && !path.contains("/tests/") && !path.contains("/testing/")
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::MissingNeeded;
    use crate::rules::testing::{found, machine, silent, tensorflow, titles};

    #[test]
    fn what_a_build_for_other_gpus_lacks_is_not_the_cause() {
        let mut facts = machine();
        let mut env = tensorflow("2.18.1", "12", &[]);
        let lacking = MissingNeeded { name: "libhsa-runtime64.so.1".to_owned(), by: "/x/libtf.so.2".to_owned() };
        env.tensorflow.as_mut().unwrap().lacks = vec![lacking];
        facts.pythons = vec![env];
        assert_eq!(titles(&RULE, &facts), ["libtf.so.2 needs libhsa-runtime64.so.1, which the loader does not find"]);
        let build = crate::facts::BuildInfo { rocm_build: true, ..crate::facts::BuildInfo::default() };
        facts.pythons[0].tensorflow.as_mut().unwrap().build = found(build);
        assert!(silent(&RULE, &facts));
    }
}
