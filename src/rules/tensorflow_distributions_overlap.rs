//! Rule `tensorflow-distributions-overlap`: two distributions bring the same tensorflow package.

use super::{Cx, Family, Rule, layer};
use crate::facts::Evidence;
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::view::EnvView;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "tensorflow-distributions-overlap",
    family: Family::Python,
    level: Level::Deny,
    layer: layer::IMPORT + 1,
    summary: "Two distributions bring the same tensorflow package",
    docs: r"### What it means

More than one installed distribution (such as `tensorflow` and `tensorflow-cpu`) owns the folder `tensorflow` of one environment. They write thousands of the same files, and the one that was installed last wins file by file.

### Why it matters

Which build answers is a matter of chance: often the CPU build. `pip check` sees nothing wrong, and uninstalling one of them removes the files of both.

### How to fix it

Uninstall all of them, then install one.",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    for env in cx.view.envs().filter(|env| env.tf().is_some()) {
        out.applies();
        let dists = env.tf_dists();
        let Some(first) = dists.first() else { continue };
        // The same place, not a copy in the base environment that is merely hidden.
        let here: Vec<_> = dists.iter().filter(|dist| dist.location == first.location && !env.is_shim(dist)).collect();
        if here.len() < 2 || env.tf_alive().is_none() {
            continue;
        }
        let names: Vec<String> = here.iter().map(|dist| format!("{} {}", dist.name, dist.version)).collect();
        let kept = here.iter().find(|dist| dist.name == "tensorflow").unwrap_or(&here[0]);
        let mut finding =
            Finding::new(Subject::Env(env.index), format!("{} write the same files", names.join(" and ")))
                .because_all(here.iter().map(|dist| EnvView::dist_evidence(dist)))
                .because_all(env.tf().and_then(|tf| tf.build.evidence()).cloned());
        for dist in &here {
            if let Some(record) = dist.record.as_ref().filter(|record| record.changed + record.missing > 0) {
                finding = finding.because(Evidence::package(
                    format!("{}/RECORD", dist.metadata),
                    format!(
                        "{} of {} compared files are not its own, {} are gone",
                        record.changed, record.compared, record.missing
                    ),
                ));
            }
        }
        let all: Vec<&str> = here.iter().map(|dist| dist.name.as_str()).collect();
        let uninstall = cx.view.uninstall(env.env, &all.join(" "));
        finding = match env.with_cuda(&kept.name, Some(&kept.version)) {
            Some((wanted, why)) => {
                let finding = why.into_iter().fold(finding, Finding::so);
                finding.run("keep one", format!("{uninstall} && {}", cx.view.install(env.env, &wanted)))
            }
            None => finding.run("keep one: uninstall all, then install one", uninstall),
        };
        match env.cuda_build() {
            Some(false) if cx.view.platform() == "linux-x86_64" => {
                finding = finding.so("the files that won are those of the CPU build").breaks(Break::TfSees);
            }
            Some(true) => {
                let torn = here.iter().any(|dist| {
                    dist.name == "tensorflow"
                        && dist.record.as_ref().is_some_and(|record| record.changed + record.missing > 0)
                });
                if torn {
                    out.unknown(
                        Subject::Env(env.index),
                        "what a TensorFlow mixed from two distributions does",
                        Some(Break::TfSees),
                    );
                }
            }
            _ => {}
        }
        out.find(finding);
    }
}
