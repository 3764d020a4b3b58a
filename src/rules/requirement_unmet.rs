//! Rule `requirement-unmet`: what `[requires]` of the policy names is not there, or of another version.
//!
//! It looks at what is installed; what the repository only declares is held against the policy elsewhere.

use super::toolkit_missing::{compiling, selected};
use super::{Cx, Family, Rule, layer};
use crate::facts::{EnvKind, Evidence, Resolution, Source};
use crate::finding::{Finding, Judgment, Subject};
use crate::options::GpuWish;
use crate::policy::Require;
use crate::view::EnvView;
use pep440_rs::Version;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "requirement-unmet",
    family: Family::Project,
    level: crate::finding::Level::Deny,
    layer: layer::PROJECT,
    summary: "something that the policy requires is not here, or of another version",
    docs: "\
### What it means

The policy (`gpu-doctor.toml`, or `metadata.gpu-doctor` of a Cargo manifest) has a section `[requires]`, and something \
on this machine does not meet a line of it. What a line names has to be there: an absent thing does not meet it. \
`driver` and `compute-capability` are asked of the machine and of each of its GPUs (of nothing where no GPU is wanted); \
`tensorflow`, `keras` and `python` of each environment that holds a framework, and of the active one; `cuda` and \
`cudnn` of what the frameworks of an environment load, and of the toolkit where the project compiles CUDA. Where no \
framework here computes with CUDA, an installed toolkit or cuDNN meets them.

### Why it matters

Whoever wrote the line knows of something that does not work with less. The verdicts on the GPU do not depend on it: \
they say what works as it is.

### How to fix it

Install what is required, in the environment that is named. If the requirement is no longer true, change the line of \
the policy that is shown.
",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    for (key, require) in cx.requires {
        let mut asked = Asked { cx, require, key, out };
        match key.as_str() {
            // Where no GPU is wanted, nothing is asked of one.
            "driver" | "compute-capability" if cx.gpu == GpuWish::None => {}
            "driver" => asked.driver(),
            "compute-capability" => asked.compute(),
            "cuda" => asked.cuda(),
            "cudnn" => asked.cudnn(),
            "tensorflow" => asked.tensorflow(),
            "keras" => asked.keras(),
            _ => asked.python(),
        }
    }
}

/// What is there of something that is required.
enum Here {
    /// It is there: its version as text, and what shows it.
    Is(String, Vec<Evidence>),
    /// It is there, and its version cannot be told.
    Unclear(String),
    /// It is not there.
    Absent(Vec<Evidence>),
}

/// One line of `[requires]`.
struct Asked<'c, 'a> {
    cx: &'c Cx<'a>,
    require: &'c Require,
    key: &'c str,
    out: &'c mut Judgment,
}

impl Asked<'_, '_> {
    /// Holds what is there against the line.
    fn hold(&mut self, subject: Subject, name: &str, here: Here) {
        self.out.applies();
        let requirement = &self.require.requirement;
        let finding = match here {
            Here::Is(version, evidence) => match requirement.met_by(&version) {
                Some(true) => return,
                Some(false) => {
                    let title = format!("{name} {version} is here, and the policy requires {requirement}");
                    Finding::new(subject.clone(), title).because_all(evidence)
                }
                None => {
                    let missing = format!("whether {name} {version} meets `{requirement}` of the policy");
                    return self.out.unknown(subject, missing, None);
                }
            },
            Here::Unclear(why) => {
                let missing = format!("whether {name} meets `{requirement}` of the policy: {why}");
                return self.out.unknown(subject, missing, None);
            }
            Here::Absent(evidence) => {
                let title = format!("there is no {name} here, and the policy requires {requirement}");
                Finding::new(subject.clone(), title).because_all(evidence)
            }
        };
        let finding = finding.because(self.require.evidence.clone());
        let finding = self.way_out(finding, &subject, name);
        self.out.find(finding);
    }

    fn way_out(&self, finding: Finding, subject: &Subject, name: &str) -> Finding {
        let requirement = &self.require.requirement;
        let at = match self.require.evidence.line {
            Some(line) => format!("{}:{line}", self.require.evidence.at),
            None => self.require.evidence.at.clone(),
        };
        let env = match subject {
            Subject::Env(index) => Some(self.cx.view.env(*index)),
            _ => None,
        };
        let finding = match (self.key, env) {
            (package @ ("tensorflow" | "keras"), Some(env)) => {
                let cuda = package == "tensorflow" && (self.cx.view.has_gpu() || env.cuda_build() == Some(true));
                let python = env.python_requirement();
                let python: Vec<&str> = python.as_deref().into_iter().collect();
                let known = self.cx.db.with_and_cuda(&python);
                let meets = |version: &Version| requirement.met_by(&version.to_string()) == Some(true);
                let newest = known.iter().rev().find(|row| cuda && meets(&row.version));
                // Of the releases that the extra does not serve it would bring one all the same.
                let what = match newest {
                    Some(row) => format!("'{package}[and-cuda]=={}'", row.version),
                    None => format!("'{package}{}'", requirement.pep440()),
                };
                finding.run(format!("install a release of {name} that meets it"), self.cx.view.install(env.env, &what))
            }
            ("python", _) => finding.help(format!("make the environment anew with a Python that meets {requirement}")),
            ("compute-capability", _) => finding.help(format!("run on a GPU of compute capability {requirement}")),
            ("driver", _) => finding.help(format!("install a driver of NVIDIA's that meets {requirement}")),
            _ => finding.help(format!("install a release of {name} that meets {requirement}")),
        };
        finding.help(format!("or, if less is enough, change {at}"))
    }

    fn driver(&mut self) {
        let (view, facts) = (self.cx.view, self.cx.facts);
        let here = if let Some((version, evidence)) = view.driver() {
            Here::Is(version.to_string(), vec![evidence.clone()])
        } else if let Some(bounds) = view.driver_bounds() {
            Here::Unclear(format!("only the CUDA that it reports is known, {}", bounds.reports))
        } else if view.driver_answers() {
            Here::Unclear("its version could not be read".to_owned())
        } else if let Some(why) =
            facts.driver.loaded.unknown().filter(|_| view.has_gpu() || !facts.driver.libcuda.file.is_absent())
        {
            Here::Unclear(why.to_owned())
        } else {
            let nothing = Evidence::loader("libcuda.so.1", "nothing provides it");
            Here::Absent(facts.driver.loaded.evidence().cloned().or(Some(nothing)).into_iter().collect())
        };
        self.hold(Subject::Machine, "NVIDIA driver", here);
    }

    fn compute(&mut self) {
        let view = self.cx.view;
        if !view.has_gpu() {
            let here = match view.gpu_untold() {
                Some(why) => Here::Unclear(why.to_owned()),
                None => Here::Absent(vec![Evidence::file("/sys/bus/pci/devices", "no NVIDIA GPU")]),
            };
            return self.hold(Subject::Machine, "NVIDIA GPU", here);
        }
        // Equal cards are told once.
        let mut told: Vec<&str> = Vec::new();
        for gpu in &view.gpus {
            if told.contains(&gpu.name.as_str()) {
                continue;
            }
            told.push(&gpu.name);
            let name = format!("{} of compute capability", if gpu.assumed { "GPU" } else { &gpu.name });
            let here = match &gpu.compute {
                Some(compute) => Here::Is(compute.to_string(), vec![gpu.evidence.clone()]),
                None => Here::Unclear("the database does not have this device".to_owned()),
            };
            self.hold(Subject::Machine, &name, here);
        }
    }

    /// Environments that compute with CUDA: what they load of it under one name.
    fn loaded(&self, stem: &str) -> Vec<(usize, Here)> {
        let mut all = Vec::new();
        for env in self.cx.view.envs() {
            let tensorflow = env.tf_alive().is_some() && env.cuda_build() == Some(true);
            let wanted = tensorflow.then(|| env.wanted().into_iter().find(|name| name.starts_with(stem))).flatten();
            let jax = env.env.jax.iter().filter(|jax| jax.plugins.keys().any(|name| name.contains("cuda")));
            let resolution = match &wanted {
                Some(name) => env.resolution(name),
                None => jax.flat_map(|jax| &jax.libraries).find(|resolution| resolution.name.starts_with(stem)),
            };
            if let Some(resolution) = resolution {
                all.push((env.index, resolved(resolution)));
            } else if let Some(name) = wanted {
                all.push((env.index, Here::Unclear(format!("how {name} would be found was not read"))));
            }
        }
        all
    }

    fn cuda(&mut self) {
        let mut asked = false;
        for (index, here) in self.loaded("libcudart.so.") {
            // A wheel that does not say its version says at least what TensorFlow was built for.
            let here = match (here, self.cx.view.env(index).cuda_text()) {
                (Here::Unclear(_), Some(built)) => Here::Is(built, self.built(index)),
                (here, _) => here,
            };
            self.hold(Subject::Env(index), "CUDA", here);
            asked = true;
        }
        for env in self.cx.view.envs() {
            let torch = env.env.torch.as_ref().map(|torch| &torch.cuda);
            if let Some((cuda, evidence)) = torch.and_then(|cuda| Some((cuda.value()?, cuda.evidence()?))) {
                let here = Here::Is(cuda.clone(), vec![evidence.clone()]);
                self.hold(Subject::Env(env.index), "PyTorch of CUDA", here);
                asked = true;
            }
        }
        let compiles = !compiling(self.cx).is_empty();
        if asked && !compiles {
            return;
        }
        let subject = if compiles { Subject::Project } else { Subject::Machine };
        let here = match selected(self.cx) {
            Some(toolkit) => match toolkit.readings.first() {
                Some(reading) => Here::Is(reading.value.to_string(), vec![reading.evidence.clone()]),
                None => Here::Unclear(format!("the toolkit at {} does not say its version", toolkit.path)),
            },
            None => Here::Absent(Vec::new()),
        };
        self.hold(subject, "CUDA toolkit", here);
    }

    fn built(&self, index: usize) -> Vec<Evidence> {
        let env = self.cx.view.env(index);
        env.tf().and_then(|tf| tf.build.evidence()).cloned().into_iter().collect()
    }

    fn cudnn(&mut self) {
        let loaded = self.loaded("libcudnn.so.");
        if !loaded.is_empty() {
            for (index, here) in loaded {
                self.hold(Subject::Env(index), "cuDNN", here);
            }
            return;
        }
        // Which of several would be loaded is not known without a program that loads one: one that fits is enough.
        let readings = self.cx.facts.cudnn.iter().filter_map(|install| install.readings.first());
        let best = readings.clone().find(|it| self.require.requirement.matches(&it.value)).or(readings.clone().next());
        let here = match (best, self.cx.facts.cudnn.first()) {
            (Some(reading), _) => Here::Is(reading.value.to_string(), vec![reading.evidence.clone()]),
            (None, Some(install)) => Here::Unclear(format!("the cuDNN in {} does not say its version", install.folder)),
            (None, None) => Here::Absent(Vec::new()),
        };
        self.hold(Subject::Machine, "cuDNN", here);
    }

    fn tensorflow(&mut self) {
        self.package("TensorFlow", |env| {
            env.tf()?;
            let evidence = env.tf_dist().map(EnvView::dist_evidence).into_iter().collect();
            Some(match env.tf_version_text() {
                Some(version) => Here::Is(version.to_owned(), evidence),
                None => Here::Unclear("its version could not be read".to_owned()),
            })
        });
    }

    fn keras(&mut self) {
        self.package("Keras", |env| {
            let legacy = env.legacy().then_some(env.env.tf_keras.as_ref()).flatten();
            let keras = legacy.or_else(|| env.keras())?;
            Some(match &keras.version {
                Some(version) => {
                    let owner = keras.dist.and_then(|index| env.env.dists.get(index)).map(EnvView::dist_evidence);
                    let evidence = owner.unwrap_or_else(|| Evidence::package(&keras.path, version));
                    Here::Is(version.clone(), vec![evidence])
                }
                None => Here::Unclear("its version could not be read".to_owned()),
            })
        });
    }

    /// A package of Python: each environment that has it is asked, and those that were chosen and lack it.
    fn package(&mut self, name: &str, here: impl Fn(&EnvView<'_, '_>) -> Option<Here>) {
        let view = self.cx.view;
        let found: Vec<Option<Here>> = view.envs().map(|env| here(&env)).collect();
        let somewhere = found.iter().any(Option::is_some);
        let (mut asked, mut active) = (false, None);
        for (env, here) in view.envs().zip(found) {
            if env.env.active {
                active = Some(env.index);
            }
            let here = match here {
                Some(here) => here,
                // The system's Python is active wherever nothing else was chosen.
                None if is_chosen(&env) && (env.env.kind != EnvKind::System || !somewhere) => lacking(&env),
                None => continue,
            };
            self.hold(Subject::Env(env.index), name, here);
            asked = true;
        }
        if !asked {
            let subject = active.map_or(Subject::Machine, Subject::Env);
            self.hold(subject, name, Here::Absent(Vec::new()));
        }
    }

    fn python(&mut self) {
        let view = self.cx.view;
        let framework = |env: &EnvView<'_, '_>| env.tf().is_some() || env.keras().is_some();
        let some_framework = view.envs().any(|env| framework(&env));
        let counts = |env: &EnvView<'_, '_>| {
            framework(env) || is_chosen(env) && !(env.env.kind == EnvKind::System && some_framework)
        };
        let mut asked: Vec<usize> = view.envs().filter(counts).map(|env| env.index).collect();
        if asked.is_empty() {
            asked.extend(view.envs().next().map(|env| env.index));
        }
        for index in &asked {
            let version = &view.env(*index).env.version;
            let here = match (version.value(), version.evidence()) {
                (Some(version), evidence) => Here::Is(version.clone(), evidence.into_iter().cloned().collect()),
                (None, _) => Here::Unclear(version.unknown().unwrap_or("its version could not be read").to_owned()),
            };
            self.hold(Subject::Env(*index), "Python", here);
        }
        if asked.is_empty() {
            self.hold(Subject::Machine, "Python", Here::Absent(Vec::new()));
        }
    }
}

/// Whether an environment is what the user works with: the active one, or one that `--python` names.
fn is_chosen(env: &EnvView<'_, '_>) -> bool {
    env.env.active || env.env.found_by.iter().any(|evidence| evidence.source == Source::Option)
}

fn lacking(env: &EnvView<'_, '_>) -> Here {
    Here::Absent(vec![Evidence::file(&env.env.path, format!("{} distributions, not this one", env.env.dist_count))])
}

/// What the loader gives for a name.
fn resolved(resolution: &Resolution) -> Here {
    match resolution.file.value() {
        Some(library) => match &library.version {
            Some(reading) => {
                Here::Is(reading.value.to_string(), vec![library.evidence(&resolution.name), reading.evidence.clone()])
            }
            None => Here::Unclear(format!("{} does not say its version", library.path)),
        },
        None if resolution.file.is_absent() => {
            Here::Absent(vec![Evidence::loader(&resolution.name, "nothing provides it")])
        }
        None => Here::Unclear(resolution.file.unknown().unwrap_or("it was not read").to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::Database;
    use crate::facts::{CudnnInstall, Dist, Facts, Module, Probed, PythonEnv, Toolkit, Torch};
    use crate::policy::Requires;
    use crate::rules::testing::{absent, bare, found, machine, machine_with_driver, reading, resolved, tensorflow};
    use crate::view::View;

    fn said(facts: &Facts, requires: &[(&str, &str)], gpu: GpuWish) -> Judgment {
        let db = Database::embedded();
        let requires: Requires = requires
            .iter()
            .zip(1..)
            .map(|((key, text), line)| {
                let evidence = Evidence::file("gpu-doctor.toml", format!("{key} = \"{text}\"")).line(line);
                ((*key).to_owned(), Require { requirement: text.parse().unwrap(), evidence })
            })
            .collect();
        let mut out = Judgment::default();
        let view = View::new(facts, db);
        let launch = crate::options::Launch::Never;
        let cx = Cx { facts, db, view: &view, gpu, requires: &requires, launch, today: "2026-11-23", predicted: None };
        check(&cx, &mut out);
        out
    }

    fn titles(facts: &Facts, requires: &[(&str, &str)]) -> Vec<String> {
        let said = said(facts, requires, GpuWish::Optional);
        assert!(said.unknown.is_empty(), "{:?}", said.unknown);
        said.findings.into_iter().map(|finding| finding.title).collect()
    }

    fn with(env: PythonEnv) -> Facts {
        Facts { pythons: vec![env], ..machine() }
    }

    #[test]
    fn nothing_required_is_nothing_to_say() {
        assert!(!said(&bare(), &[], GpuWish::Required).applied);
    }

    #[test]
    fn the_driver_is_compared_and_has_to_be_there() {
        let old = machine_with_driver("470.57.02");
        assert_eq!(
            titles(&old, &[("driver", ">=550")]),
            ["NVIDIA driver 470.57.02 is here, and the policy requires >=550"]
        );
        assert!(titles(&machine_with_driver("550.54.14"), &[("driver", ">=550")]).is_empty());
        assert_eq!(
            titles(&bare(), &[("driver", ">=550")]),
            ["there is no NVIDIA driver here, and the policy requires >=550"]
        );
        let mut loaded = machine();
        (loaded.driver.kernel, loaded.driver.userspace) = (Vec::new(), Vec::new());
        let said = said(&loaded, &[("driver", ">=550")], GpuWish::Optional);
        assert!(said.findings.is_empty() && said.unknown.len() == 1);
    }

    #[test]
    fn each_gpu_is_asked_and_none_is_too_few() {
        assert!(titles(&machine(), &[("compute-capability", ">=8.0")]).is_empty());
        assert_eq!(
            titles(&machine(), &[("compute-capability", ">=10.0")]),
            ["NVIDIA H100 80GB HBM3 of compute capability 9.0 is here, and the policy requires >=10.0"]
        );
        assert_eq!(titles(&bare(), &[("compute-capability", ">=8.0")]).len(), 1);
        let unwanted = said(&bare(), &[("compute-capability", ">=8.0"), ("driver", "*")], GpuWish::None);
        assert!(!unwanted.applied && unwanted.findings.is_empty());
    }

    #[test]
    fn a_finding_names_the_line_of_the_policy_and_the_way_out() {
        let facts = with(tensorflow("2.15.1", "12.2", &[]));
        let said = said(&facts, &[("keras", "*"), ("tensorflow", ">=2.18")], GpuWish::Optional);
        let finding = &said.findings[1];
        assert_eq!(finding.title, "TensorFlow 2.15.1 is here, and the policy requires >=2.18");
        assert_eq!(finding.subject, Subject::Env(0));
        assert_eq!(finding.evidence.last().unwrap().line, Some(2));
        assert!(finding.help[0].command.as_ref().unwrap().ends_with("install 'tensorflow[and-cuda]==2.20.0'"));
        assert_eq!(finding.help[1].text, "or, if less is enough, change gpu-doctor.toml:2");
        assert!(finding.breaks.is_empty(), "verdicts do not depend on the policy");
        assert_eq!(said.findings[0].title, "there is no Keras here, and the policy requires *");
    }

    #[test]
    fn a_package_has_to_be_in_the_environment_that_was_chosen() {
        let full = tensorflow("2.20.0", "12.5.1", &[]);
        let mut empty = PythonEnv { path: "/other".to_owned(), active: true, ..PythonEnv::default() };
        let two = |empty: &PythonEnv| Facts { pythons: vec![empty.clone(), full.clone()], ..machine() };
        // The system's Python is active because nothing else is.
        assert!(titles(&two(&empty), &[("tensorflow", "2")]).is_empty());
        empty.kind = EnvKind::Venv;
        assert_eq!(
            titles(&two(&empty), &[("tensorflow", "2")]),
            ["there is no TensorFlow here, and the policy requires 2"]
        );
        empty.active = false;
        assert!(titles(&two(&empty), &[("tensorflow", "2")]).is_empty());
        empty.found_by = vec![Evidence::new(Source::Option, "--python", "/other")];
        assert_eq!(titles(&two(&empty), &[("tensorflow", "2")]).len(), 1);
        assert_eq!(titles(&machine(), &[("tensorflow", "2")]).len(), 1);
    }

    #[test]
    fn pythons_with_a_framework_count_and_the_systems_does_not() {
        let mut full = tensorflow("2.20.0", "12.5.1", &[]);
        full.version = found("3.12.3".to_owned());
        let system = PythonEnv { active: true, version: found("3.9.2".to_owned()), ..PythonEnv::default() };
        let facts = Facts { pythons: vec![system.clone(), full], ..machine() };
        assert!(titles(&facts, &[("python", ">=3.10")]).is_empty());
        assert_eq!(
            titles(&with(system), &[("python", ">=3.10")]),
            ["Python 3.9.2 is here, and the policy requires >=3.10"]
        );
        assert_eq!(titles(&machine(), &[("python", ">=3.10")]).len(), 1);
        let vague = PythonEnv { version: found("3".to_owned()), ..PythonEnv::default() };
        assert_eq!(said(&with(vague), &[("python", ">=3.10")], GpuWish::Optional).unknown.len(), 1);
    }

    #[test]
    fn keras_is_the_one_that_answers() {
        let mut env = tensorflow("2.20.0", "12.5.1", &[]);
        env.dists.push(Dist { name: "keras".to_owned(), version: "3.15.1".to_owned(), ..Dist::default() });
        env.keras = Some(Module { version: Some("3.15.1".to_owned()), dist: Some(1), ..Module::default() });
        env.tf_keras = Some(Module { version: Some("2.20.1".to_owned()), ..Module::default() });
        assert!(titles(&with(env.clone()), &[("keras", "3")]).is_empty());
        env.keras_config.legacy = Some(Evidence::env("TF_USE_LEGACY_KERAS", "1"));
        assert_eq!(titles(&with(env), &[("keras", "3")]), ["Keras 2.20.1 is here, and the policy requires 3"]);
    }

    fn with_library(name: &str, version: Option<&str>) -> Facts {
        let mut env = tensorflow("2.20.0", "12.5.1", &[]);
        let mut resolution = resolved(name, &format!("/venv/{name}"), &format!("/venv/{name}"));
        if let Probed::Found { value, .. } = &mut resolution.file {
            value.version = version.map(|version| reading("/venv", version));
        }
        env.tensorflow.as_mut().unwrap().libraries.push(resolution);
        with(env)
    }

    #[test]
    fn cuda_is_what_tensorflow_loads() {
        let cuda = [("cuda", ">=12.4, <14")];
        assert!(titles(&with_library("libcudart.so.12", Some("12.5.82")), &cuda).is_empty());
        let mut old = with_library("libcudart.so.12", Some("12.3.101"));
        assert_eq!(titles(&old, &cuda), ["CUDA 12.3.101 is here, and the policy requires >=12.4, <14"]);
        // An old toolkit is nobody's business where nothing compiles CUDA, and a new one mends nothing.
        let new = Toolkit { readings: vec![reading("/usr/local/cuda/version.json", "12.6")], ..Toolkit::default() };
        old.toolkits.push(new.clone());
        assert_eq!(titles(&old, &cuda).len(), 1);
        // Without a version of its own it is what TensorFlow was built for.
        assert!(titles(&with_library("libcudart.so.12", None), &cuda).is_empty());
        let mut gone = with_library("libcudart.so.12", None);
        gone.pythons[0].tensorflow.as_mut().unwrap().libraries = vec![absent("libcudart.so.12")];
        assert_eq!(titles(&gone, &cuda), ["there is no CUDA here, and the policy requires >=12.4, <14"]);
        // Without a framework the toolkit is what there is.
        assert_eq!(titles(&machine(), &cuda), ["there is no CUDA toolkit here, and the policy requires >=12.4, <14"]);
        assert!(
            titles(&Facts { toolkits: vec![Toolkit { nvcc: Some("/x".to_owned()), ..new }], ..machine() }, &cuda)
                .is_empty()
        );
        let torch = PythonEnv {
            torch: Some(Torch { cuda: found("11.8".to_owned()), ..Torch::default() }),
            ..PythonEnv::default()
        };
        assert_eq!(titles(&with(torch), &cuda), ["PyTorch of CUDA 11.8 is here, and the policy requires >=12.4, <14"]);
    }

    #[test]
    fn cudnn_is_what_tensorflow_loads_or_what_is_installed() {
        let cudnn = [("cudnn", "9.3")];
        assert!(titles(&with_library("libcudnn.so.9", Some("9.3.0")), &cudnn).is_empty());
        assert_eq!(titles(&with_library("libcudnn.so.9", Some("9.1.0")), &cudnn).len(), 1);
        assert_eq!(said(&with_library("libcudnn.so.9", None), &cudnn, GpuWish::Optional).unknown.len(), 1);
        let install = |version: &str| CudnnInstall {
            readings: vec![reading("/usr/include/cudnn_version.h", version)],
            ..CudnnInstall::default()
        };
        let two = Facts { cudnn: vec![install("8.9.7"), install("9.3.0")], ..machine() };
        assert!(titles(&two, &cudnn).is_empty());
        assert_eq!(titles(&machine(), &cudnn), ["there is no cuDNN here, and the policy requires 9.3"]);
    }
}
