//! Rule `cudnn-without-code-for-gpu`: whether the cuDNN that TensorFlow gets still has code for the GPU.

use super::compute_capability_unsupported::none_fits;
use super::visible_devices_hides_all::shown;
use super::{Cx, Family, Rule, layer};
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::view::{EnvView, Gpu};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "cudnn-without-code-for-gpu",
    family: Family::Gpu,
    level: Level::Deny,
    layer: layer::CUDNN,
    summary: "cuDNN has dropped this GPU",
    docs: "\
### What it means

cuDNN drops old GPUs on its own schedule, apart from TensorFlow and CUDA. The cuDNN that TensorFlow would load holds \
no code for a compute capability as low as this GPU's.

### Why it matters

TensorFlow lists the GPU and simple operations run; convolutions and other operations of cuDNN fail, with \
`CUDNN_STATUS_ARCH_MISMATCH` or \"no kernel image is available\".

### How to fix it

Pin an older cuDNN of the same major that still has code for the GPU and is not older than the one TensorFlow was \
built with, such as `nvidia-cudnn-cu12<9.11`; the finding names the last one that the database knows.
",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    for env in cx.view.envs().filter(EnvView::wants_cuda) {
        let Some(library) = env.cudnn() else { continue };
        let Some(reading) = &library.version else { continue };
        // The wheel says for which CUDA it is; another file is taken to be for TensorFlow's.
        let owner = library.owner.as_deref().and_then(|owner| owner.split_whitespace().next());
        let package = owner.filter(|name| name.starts_with("nvidia-cudnn-cu"));
        let major = package.and_then(|name| name.rsplit_once("-cu")?.1.parse().ok()).or_else(|| env.cuda_major());
        let Some(row) = major.and_then(|major| cx.db.cudnn(&reading.value, major)) else {
            out.applies();
            continue;
        };
        out.applies();
        let Some(lowest) = &row.compute_min else { continue };
        let dropped = |gpu: &&Gpu| gpu.compute.as_ref().is_some_and(|compute| compute < lowest);
        let shown = shown(cx);
        let gpus: Vec<&Gpu> = shown.iter().copied().filter(dropped).collect();
        let Some(first) = gpus.first() else { continue };
        if none_fits(cx, &env) {
            continue;
        }
        let compute = first.compute.clone().unwrap_or_else(|| lowest.clone());
        let title = if first.assumed {
            format!("cuDNN {} has no code for compute capability {compute}", reading.value)
        } else {
            format!("cuDNN {} has no code for {} (compute capability {compute})", reading.value, first.name)
        };
        let last = cx.db.cudnn_rows().iter().filter(|other| {
            other.version.major() == reading.value.major()
                && other.cuda.iter().any(|cuda| Some(cuda.major()) == major)
                && other.compute_min.as_ref().is_some_and(|lowest| *lowest <= compute)
                && env.cudnn_built().is_none_or(|built| other.version.prefix(2) >= built.prefix(2))
        });
        let last = last.max_by(|a, b| a.version.cmp(&b.version));
        let mut finding = Finding::new(Subject::Env(env.index), title)
            .because(reading.evidence.clone())
            .because(library.evidence(&env.cudnn_name().unwrap_or_else(|| "libcudnn".to_owned())))
            .because_all(gpus.iter().take(8).map(|gpu| gpu.evidence.clone()))
            .row(Some(row.row_ref()));
        finding = match last {
            Some(last) => {
                let text = format!("pin cuDNN {}, the last of this major that has code for it", last.version);
                let package =
                    package.map_or_else(|| format!("nvidia-cudnn-cu{}", major.unwrap_or_default()), str::to_owned);
                finding.run(text, cx.view.install(env.env, &format!("'{package}=={}.*'", last.version)))
            }
            None => finding.help("install a TensorFlow that was built with an older cuDNN"),
        };
        finding = finding.so(format!("it has code from compute capability {lowest} on"));
        let all = gpus.len() == shown.len();
        out.find(if all { finding.breaks(Break::TfRuns) } else { finding.at(Level::Warn) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Facts;
    use crate::rules::testing::{judge, machine, pci, reading, resolved, silent, tensorflow};

    fn with_cudnn(version: &str, device: &str) -> Facts {
        let mut facts = machine();
        facts.pci = vec![pci("0000:01:00.0", device)];
        facts.driver.gpus.clear();
        let mut env = tensorflow("2.20.0", "12.5.1", &["sm_60", "sm_70", "sm_80", "compute_90"]);
        let path = "/venv/lib/python3.11/site-packages/nvidia/cudnn/lib/libcudnn.so.9";
        let mut cudnn = resolved("libcudnn.so.9", path, path);
        if let crate::facts::Probed::Found { value, .. } = &mut cudnn.file {
            value.version = Some(reading(path, version));
            value.owner = Some(format!("nvidia-cudnn-cu12 {version}"));
        }
        if let Some(tf) = env.tensorflow.as_mut() {
            tf.libraries = vec![cudnn];
        }
        facts.pythons = vec![env];
        facts
    }

    #[test]
    fn a_gpu_that_cudnn_dropped_is_found() {
        // A P100, compute capability 6.0; the second version is newer than all rows.
        for version in ["9.28.0.42", "9.99.0.1"] {
            let said = judge(&RULE, &with_cudnn(version, "0x15f8"));
            assert_eq!(said.findings[0].breaks, [(Subject::Env(0), Break::TfRuns)], "{version}");
            assert!(said.findings[0].help[0].command.is_some(), "{:?}", said.findings[0].help);
        }
    }

    #[test]
    fn a_gpu_that_it_has_is_fine() {
        assert!(silent(&RULE, &with_cudnn("9.28.0.42", "0x2330")));
        assert!(silent(&RULE, &with_cudnn("9.3.0.75", "0x15f8")));
    }
}
