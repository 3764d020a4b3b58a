//! Rule `nvidia-wheel-twins`: two wheels of NVIDIA libraries write the same files, or files of one are gone.

use super::{Cx, Family, Rule, layer};
use crate::facts::Evidence;
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::view::EnvView;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "nvidia-wheel-twins",
    family: Family::Python,
    level: Level::Warn,
    layer: layer::WHEEL + 2,
    summary: "Two wheels of NVIDIA libraries write the same files, or files of one are gone",
    docs: r"### What it means

NVIDIA's wheels for two CUDA majors (such as `nvidia-cudnn-cu12` and `nvidia-cudnn-cu13`) put files of the same names into the same folder. The one that was installed last wins, and uninstalling either removes the files of both.

### Why it matters

TensorFlow then loads a library made for the other CUDA major, or finds none although pip lists it. `pip check` sees nothing wrong. Installing TensorFlow and PyTorch into one environment can lead here.

### How to fix it

Give each framework its own environment, or reinstall the wheel that TensorFlow needs last.",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    for env in cx.view.envs() {
        if env.env.dists.iter().any(|dist| dist.name.starts_with("nvidia-")) {
            out.applies();
        }
        // A cuDNN that lacks a sub-library is a cause of its own; here a library that TensorFlow opens is gone.
        let hollow = env.lost_nvidia();
        if !hollow.is_empty() {
            let needed: Vec<_> = hollow.iter().copied().filter(|dist| env.serves_tensorflow(dist)).collect();
            let shown = if needed.is_empty() { &hollow } else { &needed };
            let names: Vec<&str> = shown.iter().map(|dist| dist.name.as_str()).collect();
            let pins: Vec<String> = shown.iter().map(|dist| format!("{}=={}", dist.name, dist.version)).collect();
            let mut finding = Finding::new(
                Subject::Env(env.index),
                format!(
                    "libraries of {} are gone from the disk{}",
                    names.join(", "),
                    if shown.iter().any(|dist| dist.record.as_ref().is_some_and(|record| !record.cut_off.is_empty())) {
                        " or cut off"
                    } else {
                        ""
                    }
                ),
            );
            for dist in shown {
                if let Some(record) = &dist.record {
                    finding =
                        finding.because_all(record.torn().filter(|(path, _)| path.contains(".so")).take(2).map(
                            |(path, what)| Evidence::file(path, format!("{what} (by the RECORD of {})", dist.name)),
                        ));
                }
                finding = finding.because(EnvView::dist_evidence(dist));
            }
            finding = finding.run(
                "install them again",
                cx.view.install(env.env, &format!("--force-reinstall --no-deps {}", pins.join(" "))),
            );
            out.find(finding.at(Level::Deny).so("TensorFlow lists no GPU without them").breaks(Break::TfSees));
            continue;
        }
        let mut twins: Vec<(usize, usize, u32)> = Vec::new();
        for wheel in &env.env.nvidia {
            for &twin in &wheel.twins {
                let pair = (wheel.dist.min(twin), wheel.dist.max(twin));
                if !twins.iter().any(|&(a, b, _)| (a, b) == pair) {
                    twins.push((pair.0, pair.1, wheel.shared));
                }
            }
        }
        let pairs: Vec<_> = twins
            .iter()
            .filter_map(|&(a, b, shared)| Some((env.env.dists.get(a)?, env.env.dists.get(b)?, shared)))
            .collect();
        let Some(&(first, second, shared)) = pairs.first() else { continue };
        let wanted: Vec<&str> = pairs
            .iter()
            .map(|&(a, b, _)| if env.serves_tensorflow(b) { b.name.as_str() } else { a.name.as_str() })
            .collect();
        out.find(
            Finding::new(
                Subject::Env(env.index),
                format!("{} and {} write the same {shared} files", first.name, second.name),
            )
            .because(EnvView::dist_evidence(first))
            .because(EnvView::dist_evidence(second))
            .because_all(pairs.iter().skip(1).take(3).map(|(a, b, shared)| {
                Evidence::package(&a.metadata, format!("{} and {} share {shared} files too", a.name, b.name))
            }))
            .run(
                "put those that TensorFlow needs on top, or give each framework its own environment",
                cx.view.install(env.env, &format!("--force-reinstall --no-deps {}", wanted.join(" "))),
            ),
        );
    }
}
