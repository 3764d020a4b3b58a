//! Rule `keras-backend-cpu-only`: keras computes with a backend that has no CUDA here.

use super::compute_capability_unsupported::none_fits;
use super::{Cx, Family, Rule, layer};
use crate::facts::{Dist, Requirement};
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::shell;
use crate::view::{Accelerated, EnvView, Lack, Lacks, within};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "keras-backend-cpu-only",
    family: Family::Keras,
    level: Level::Deny,
    layer: layer::KERAS,
    summary: "Keras computes with a backend that has no CUDA here",
    docs: r"### What it means

Keras 3 chooses its backend from `KERAS_BACKEND`, else from `keras.json`, else it takes TensorFlow. It is set to JAX, PyTorch, NumPy or OpenVINO, and that does not compute on the GPU here: it is built without CUDA, a package of its CUDA half or a CUDA library is not there or lacks what another one asks of it, a variable such as `JAX_PLATFORMS` or `KERAS_TORCH_DEVICE` keeps it off the GPU, or it has no code for this GPU.

### Why it matters

This is the plainest answer to the question why TensorFlow sees the GPU and Keras does not: in the same process TensorFlow lists the GPU and Keras's tensors lie on the CPU. `keras.json` is written at the first import, so an old choice sticks for years. JAX says nothing at all in most of these cases.

### How to fix it

Mend what is named, or install the build of the backend that has CUDA, or set the backend to TensorFlow.",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    if !cx.view.has_gpu() {
        return;
    }
    for env in
        cx.view.envs().filter(|env| env.keras().is_some() && !env.keras_on_tensorflow() && env.backend_is_known())
    {
        let backend = env.backend();
        // jaxlib-mismatch is the root.
        if !env.has_backend(&backend.name) || (backend.name == "jax" && env.jax_refuses()) {
            continue;
        }
        let lack = match env.backend_acceleration() {
            Accelerated::Yes(_) => {
                out.applies();
                continue;
            }
            Accelerated::Unknown(why) => {
                out.unknown(Subject::Env(env.index), why, Some(Break::KerasUses));
                continue;
            }
            Accelerated::No(lack) => lack,
        };
        let name = match backend.name.as_str() {
            "jax" => "JAX",
            "torch" => "PyTorch",
            "numpy" => "NumPy",
            "openvino" => "OpenVINO",
            other => other,
        };
        let mut finding =
            Finding::new(Subject::Env(env.index), format!("Keras computes with {name}, {}", title(&lack)))
                .because_all(backend.evidence.clone())
                .because_all(lack.evidence.clone());
        if name == "PyTorch" && matches!(lack.of, Lacks::Libraries(_) | Lacks::Fitting(_)) {
            finding = finding.so("`import torch` fails, and `import keras` with it");
        }
        let tensorflow = env.tf_alive().is_some();
        if tensorflow {
            finding = finding.so("TensorFlow may list the GPU in the same process; Keras does not use it");
        }
        let variable = lack.variable.and_then(|variable| lack.evidence.iter().find(|evidence| evidence.at == variable));
        if variable.is_some_and(|variable| {
            variable.at == "JAX_PLATFORMS" && variable.says.split(',').any(|name| name == "gpu")
        }) {
            finding =
                finding.so("`gpu` stands for CUDA and ROCm both, and JAX fails where one of those named is not there");
        }
        // What costs nothing comes first.
        if let Some(variable) = lack.variable {
            let what = if name == "JAX" { "let JAX choose its platform" } else { "let Keras choose the device" };
            finding = finding.run(what, format!("unset {variable}"));
        }
        // Where TensorFlow finds no GPU either, or has no code for it, Keras on TensorFlow is no way out.
        if tensorflow && env.cuda_build() != Some(false) && env.missing().is_empty() && !none_fits(cx, &env) {
            let what = if lack.variable.is_some() { "or run Keras on TensorFlow" } else { "run Keras on TensorFlow" };
            finding = match backend.from.as_str() {
                "KERAS_BACKEND" => finding.run(what, "unset KERAS_BACKEND"),
                file => finding.run(
                    what,
                    format!("sed -i 's/\"backend\": *\"[^\"]*\"/\"backend\": \"tensorflow\"/' {}", shell::word(file)),
                ),
            };
            if backend.from == "KERAS_BACKEND"
                && env.env.keras_config.file.value().is_some_and(|file| file != "tensorflow")
            {
                finding = finding.help("keras.json names another backend than TensorFlow too; mend it as well");
            }
        }
        finding = mend(cx, &env, &backend.name, &lack, finding);
        out.find(finding.breaks(Break::KerasUses));
    }
}

/// What is wrong, as the end of "Keras computes with …".
fn title(lack: &Lack) -> String {
    let listed = |names: &[String]| names.join(", ");
    match (&lack.of, lack.variable) {
        (Lacks::Nothing, Some(variable)) => format!("which {variable} keeps off the GPU"),
        (Lacks::Nothing | Lacks::Cuda, _) => "which has no CUDA here".to_owned(),
        (Lacks::Parts(names), _) => format!("which has no CUDA here without {}", listed(names)),
        (Lacks::Libraries(names), _) => format!("which does not find {}", listed(names)),
        (Lacks::Fitting(name), _) => format!("which does not load with this {name}"),
        (Lacks::Code(gpu), _) => format!("which has no code for {gpu}"),
    }
}

/// Adds how the backend itself gets what it lacks.
fn mend(cx: &Cx<'_>, env: &EnvView<'_, '_>, backend: &str, lack: &Lack, finding: Finding) -> Finding {
    let begins = if lack.variable.is_some() {
        "and"
    } else if finding.help.is_empty() {
        ""
    } else {
        "or"
    };
    let text = |what: &str| format!("{begins} {what}").trim_start().to_owned();
    match (backend, &lack.of) {
        (_, Lacks::Nothing) => finding,
        ("jax", _) => match cx.view.cuda_backend(env, backend) {
            Some(install) => finding.run(text("give JAX CUDA"), install),
            None => finding,
        },
        ("torch", Lacks::Libraries(_) | Lacks::Fitting(_)) => {
            // `cuda-toolkit` holds nothing itself and brings NVIDIA's wheels by its extras.
            let lacking = |requirement: &&Requirement| {
                let asked = requirement.applies != Some(false) && requirement.extra.is_none();
                let fits = |dist: &Dist| within(&dist.version, &requirement.specifier) == Some(true);
                let nvidia = requirement.name.starts_with("nvidia-") && !env.dist(&requirement.name).is_some_and(fits);
                asked && (nvidia || requirement.name == "cuda-toolkit")
            };
            let words = |requirement: &Requirement| {
                format!("'{}'", requirement.text.split(';').next().unwrap_or_default().trim())
            };
            let requires = env.dist("torch").map(|dist| dist.requires.as_slice()).unwrap_or_default();
            let asked: Vec<String> = requires.iter().filter(lacking).map(words).collect();
            if asked.is_empty() {
                finding.help(text("install PyTorch together with what it requires, and not with `--no-deps`"))
            } else {
                finding.run(text("install what this PyTorch requires"), cx.view.install(env.env, &asked.join(" ")))
            }
        }
        ("torch", Lacks::Code(_)) => {
            finding.help(text("install a PyTorch that has code for this GPU: the builds of one release for several CUDA versions differ in it, see https://pytorch.org/get-started"))
        }
        _ => finding,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Evidence, Facts, Jax, JaxPlugin, MissingNeeded, Module, PythonEnv, Torch, Unresolved};
    use crate::rules::testing::{absent, found, judge, machine, pci, resolved, silent, titles};

    const LIBRARIES: [&str; 7] = [
        "libcudart.so.12",
        "libcublas.so.12",
        "libcufft.so.11",
        "libcusolver.so.11",
        "libcusparse.so.12",
        "libcupti.so.12",
        "libcudnn.so.9",
    ];

    fn keras(backend: &str) -> Facts {
        let mut facts = machine();
        facts.env.insert("KERAS_BACKEND".to_owned(), backend.to_owned());
        let mut env = PythonEnv { path: "/venv".to_owned(), ..PythonEnv::default() };
        env.keras = Some(Module { version: Some("3.15.1".to_owned()), ..Module::default() });
        env.keras_config.variable = Some(Evidence::env("KERAS_BACKEND", backend));
        facts.pythons = vec![env];
        facts
    }

    fn jax() -> Facts {
        let mut facts = keras("jax");
        let plugin = JaxPlugin {
            major: 12,
            library: Some("/site/jax_plugins/xla_cuda12/xla_cuda_plugin.so".to_owned()),
            checks: Some(Evidence::file("/site/jax_plugins/xla_cuda12/__init__.py", "_check_cuda_versions()")),
            kernels: Some("/site/jax_cuda12_plugin".to_owned()),
            version: Some("0.6.2".to_owned()),
        };
        let env = &mut facts.pythons[0];
        env.jax = Some(Jax {
            module: Some(Module::default()),
            jaxlib: Some("0.6.2".to_owned()),
            libraries: LIBRARIES.map(|name| resolved(name, &format!("/lib/{name}"), &format!("/lib/{name}"))).to_vec(),
            cuda: vec![plugin],
            ..Jax::default()
        });
        env.dists = ["jax", "jax-cuda12-plugin"]
            .map(|name| Dist { name: name.to_owned(), version: "0.6.2".to_owned(), ..Dist::default() })
            .to_vec();
        facts
    }

    fn torch() -> Facts {
        let mut facts = keras("torch");
        facts.pythons[0].torch = Some(Torch {
            module: Some(Module::default()),
            cuda: found("12.6".to_owned()),
            libtorch_cuda: true,
            compute: vec!["sm_80".to_owned(), "sm_90".to_owned()],
            ..Torch::default()
        });
        facts
    }

    #[test]
    fn a_device_that_is_named_keeps_keras_off_the_gpu() {
        for (device, kept) in [("cpu", true), ("meta", true), ("cuda", false), ("cuda:0", false), ("", false)] {
            let mut facts = torch();
            facts.env.insert("KERAS_TORCH_DEVICE".to_owned(), device.to_owned());
            let said = judge(&RULE, &facts).findings;
            assert_eq!(said.len(), usize::from(kept), "{device}");
            if let Some(finding) = said.first() {
                assert_eq!(finding.title, "Keras computes with PyTorch, which KERAS_TORCH_DEVICE keeps off the GPU");
                assert_eq!(finding.help[0].command.as_deref(), Some("unset KERAS_TORCH_DEVICE"));
            }
        }
    }

    fn spoilt(facts: &Facts, spoil: impl FnOnce(&mut Jax)) -> Facts {
        let mut facts = facts.clone();
        spoil(facts.pythons[0].jax.as_mut().unwrap());
        facts
    }

    #[test]
    fn a_whole_jax_is_silent_and_each_missing_part_is_told() {
        assert!(silent(&RULE, &jax()));
        let no = |spoil: fn(&mut Jax)| titles(&RULE, &spoilt(&jax(), spoil)).join("; ");
        assert!(no(|jax| jax.cuda.clear()).ends_with("JAX, which has no CUDA here"));
        assert!(no(|jax| jax.cuda[0].library = None).ends_with("without jax-cuda12-pjrt"));
        assert!(no(|jax| jax.cuda[0].kernels = None).ends_with("without jax-cuda12-plugin"));
        assert!(no(|jax| jax.libraries[5] = absent("libcupti.so.12")).ends_with("does not find libcupti.so.12"));
        assert!(no(|jax| jax.libraries[6] = absent("libcudnn.so.9")).ends_with("does not find libcudnn.so.9"));
    }

    #[test]
    fn what_cannot_be_told_of_jax_stays_open() {
        let open = |facts: &Facts| {
            let said = judge(&RULE, facts);
            assert!(said.findings.is_empty());
            said.unknown.len() == 1
        };
        assert!(open(&spoilt(&jax(), |jax| jax.jaxlib = Some("0.6.1".to_owned()))));
        assert!(open(&spoilt(&jax(), |jax| jax.libraries[3] = absent("libcusolver.so.11"))));
        assert!(open(&spoilt(&jax(), |jax| {
            jax.cuda.clear();
            jax.jaxlib = Some("0.4.7+cuda12.cudnn88".to_owned());
        })));
        let mut skips = spoilt(&jax(), |jax| jax.libraries[5] = absent("libcupti.so.12"));
        skips.env.insert("JAX_SKIP_CUDA_CONSTRAINTS_CHECK".to_owned(), "1".to_owned());
        assert!(open(&skips));
        // Those that ask for nothing beforehand: what is not needed at once may be missing.
        let old = |missing: &[usize]| {
            spoilt(&jax(), |jax| {
                jax.cuda[0].checks = None;
                for &at in missing {
                    jax.libraries[at] = absent(LIBRARIES[at]);
                }
            })
        };
        assert!(silent(&RULE, &old(&[5])) && open(&old(&[2, 4])));
        assert_eq!(titles(&RULE, &old(&[0, 1, 6])).len(), 1);
    }

    #[test]
    fn a_library_in_nvidia_packages_is_opened_from_there() {
        let facts = spoilt(&jax(), |jax| {
            jax.libraries[6] = absent("libcudnn.so.9");
            let path = "/user/site/nvidia/cudnn/lib/libcudnn.so.9".to_owned();
            jax.libraries[6].others = vec![crate::facts::Candidate { path, via: None, version: None }];
        });
        assert!(silent(&RULE, &facts));
    }

    #[test]
    fn a_variable_is_to_be_unset_and_nothing_installed_where_nothing_lacks() {
        let mut facts = jax();
        facts.env.insert("JAX_PLATFORMS".to_owned(), "cpu".to_owned());
        let help = |facts: &Facts| -> Vec<String> {
            judge(&RULE, facts).findings[0].help.iter().filter_map(|help| help.command.clone()).collect()
        };
        assert_eq!(help(&facts), ["unset JAX_PLATFORMS"]);
        let both = help(&spoilt(&facts, |jax| jax.cuda.clear()));
        assert_eq!(both.len(), 2);
        assert!(both[0] == "unset JAX_PLATFORMS" && both[1].ends_with("install 'jax[cuda12]==0.6.2'"), "{both:?}");
    }

    #[test]
    fn torch_needs_its_libraries_and_code_for_the_gpu() {
        assert!(silent(&RULE, &torch()));
        let mut facts = torch();
        let own = |facts: &mut Facts| facts.pythons[0].torch.take().unwrap();
        let lacking =
            |name: &str| MissingNeeded { name: name.to_owned(), by: "/torch/lib/libtorch_cuda.so".to_owned() };
        let whole = own(&mut facts);
        facts.pythons[0].torch = Some(Torch { missing: vec![lacking("libcudart.so.12")], ..whole.clone() });
        assert!(titles(&RULE, &facts)[0].ends_with("PyTorch, which does not find libcudart.so.12"));
        let symbol = Unresolved { of: "libnvJitLink.so.12".to_owned(), ..Unresolved::default() };
        facts.pythons[0].torch = Some(Torch { unresolved: vec![symbol], ..whole.clone() });
        let named = |name: &str, version: &str, requires| Dist {
            name: name.to_owned(),
            version: version.to_owned(),
            requires,
            ..Dist::default()
        };
        let asks = |name: &str, specifier: &str| Requirement {
            name: name.to_owned(),
            specifier: specifier.to_owned(),
            text: format!("{name}{specifier}; platform_system == \"Linux\""),
            ..Requirement::default()
        };
        let asked = vec![asks("nvidia-nvjitlink-cu12", "==12.6.85"), asks("nvidia-nvtx-cu12", "==12.6.77")];
        facts.pythons[0].dists = vec![
            named("torch", "2.7.1", asked),
            named("nvidia-nvjitlink-cu12", "12.1.105", Vec::new()),
            named("nvidia-nvtx-cu12", "12.6.77", Vec::new()),
        ];
        let said = judge(&RULE, &facts).findings;
        assert!(said[0].title.ends_with("PyTorch, which does not load with this libnvJitLink.so.12"));
        let command = said[0].help[0].command.as_deref().unwrap();
        assert!(command.ends_with("install 'nvidia-nvjitlink-cu12==12.6.85'"), "{command}");
        facts.pythons[0].torch = Some(Torch { missing: vec![lacking("libgomp.so.1")], ..whole.clone() });
        assert_eq!(judge(&RULE, &facts).unknown.len(), 1);
        facts.pythons[0].torch = Some(Torch { compute: vec!["sm_80".to_owned(), "sm_86".to_owned()], ..whole.clone() });
        assert!(titles(&RULE, &facts)[0].contains("which has no code for NVIDIA H100"));
        // Of two GPUs either may be taken; of an unknown one nothing is known.
        facts.pci.push(pci("0000:02:00.0", "0x20b0"));
        assert_eq!(judge(&RULE, &facts).unknown.len(), 1);
        facts.pythons[0].torch = Some(Torch { compute: Vec::new(), ..whole });
        assert!(silent(&RULE, &facts));
    }
}
