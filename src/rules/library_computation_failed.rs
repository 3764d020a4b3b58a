//! Rule `library-computation-failed`: whether the cuBLAS and the cuDNN that TensorFlow would load compute on the GPU.

use super::{Cx, Family, Rule, kernel, layer};
use crate::facts::{Cause, Evidence, Failed, LibraryWork, Source};
use crate::finding::{Break, Finding, Judgment, Level, Subject};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "library-computation-failed",
    family: Family::Kernel,
    level: Level::Deny,
    layer: layer::CUDNN + 9,
    summary: "cuBLAS or cuDNN, as TensorFlow would load it, does not compute on the GPU",
    docs: "\
### What it means

The test kernel ran, so GPU and driver work. Then the cuBLAS and the cuDNN that an environment's TensorFlow would load were \
opened in a process of their own, with what TensorFlow would have loaded before them, and asked for a small matrix product \
and a convolution. One of them failed: it could not be opened, made no handle, crashed, or gave wrong numbers.

### Why it matters

It is not a prediction: TensorFlow lists the GPU, and its first matrix product or convolution fails the same way.

### How to fix it

By the code in the finding. Parts of several releases (cuDNN 1002, of cuDNN 8: 14) or a missing part: install the cuDNN \
package again. No code for this GPU (cuBLAS 8, cuDNN 3007, of cuDNN 8: 6): take the release that still has it. Memory: see who holds it.
",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    let Some(observed) = &cx.facts.observed else { return };
    for work in &observed.libraries {
        out.applies();
        let Some((gpu, failed)) = work.failures().next() else { continue };
        let subject = work.envs.first().map_or(Subject::Machine, |index| Subject::Env(*index));
        let mut finding = Finding::new(subject, title(work, gpu, failed))
            .because(Evidence::new(Source::Run, &work.path, &failed.says))
            .because_all(
                (work.mapped.iter().filter(|path| file_name(path) != file_name(&work.path)).take(12))
                    .map(|path| Evidence::new(Source::Run, path, "was mapped beside it")),
            );
        let elsewhere = work.runs.iter().any(|run| run.failure.is_none());
        // Somebody else's memory, or a machine that is slow today, says nothing of the library.
        let passing = matches!(
            failed.cause,
            Cause::OutOfMemory | Cause::TimedOut | Cause::ExclusiveMode | Cause::DeviceUnavailable
        );
        if work.library.refuses(failed) {
            // The question may be at fault, and TensorFlow asks others.
            finding = finding.at(Level::Note);
        } else if elsewhere || passing {
            finding = finding.at(Level::Warn);
        } else {
            for env in &work.envs {
                finding = finding.breaks_for(Subject::Env(*env), Break::TfRuns);
            }
        }
        out.find(help(cx, finding, work, failed));
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

fn title(work: &LibraryWork, gpu: Option<u32>, failed: &Failed) -> String {
    let name = work.library.name();
    let version = work.version.as_ref().map_or(String::new(), |version| format!(" {version}"));
    let place = gpu.map_or(String::new(), |gpu| format!(" on GPU {gpu}"));
    match failed.cause {
        Cause::Crashed => format!("{name}{version} crashes{place} when it is asked to compute"),
        Cause::TimedOut => format!("{name}{version} gives no answer{place}"),
        Cause::WrongResult => format!("{name}{version} computes wrong numbers{place}"),
        _ => format!("{name}{version} does not compute{place}: {}", failed.says),
    }
}

fn help(cx: &Cx<'_>, finding: Finding, work: &LibraryWork, failed: &Failed) -> Finding {
    let env = work.envs.first().and_then(|index| cx.facts.pythons.get(*index));
    let owner = env.and_then(|env| {
        let libraries = env.tensorflow.iter().flat_map(|tf| &tf.libraries);
        let library = libraries.filter_map(|resolution| resolution.file.value()).find(|file| file.path == work.path)?;
        Some((env, library.owner.as_deref()?.split_once(' ')?))
    });
    let name = work.library.name();
    match (failed.cause, owner) {
        // The same release: another one may have no code for this GPU, or not fit its neighbours.
        (
            Cause::PartsMixed | Cause::PartMissing | Cause::Crashed | Cause::LibraryBroken | Cause::SymbolMissing,
            Some((env, (package, version))),
        ) => finding.run(
            format!("install {package} {version} again, all its parts of one release"),
            cx.view.install(env, &format!("--force-reinstall --no-deps {package}=={version}")),
        ),
        (
            Cause::PartsMixed | Cause::PartMissing | Cause::Crashed | Cause::LibraryBroken | Cause::SymbolMissing,
            None,
        ) => finding.help("install the package again that the library comes from, with what it needs"),
        (Cause::NoBinaryForGpu, _) => {
            finding.help(format!("take a release of {name} that still has code for this GPU"))
        }
        (Cause::KernelFault, _) => {
            finding.run("look for an Xid of that moment in the kernel's log", "sudo dmesg | grep -i xid")
        }
        _ => kernel::help(cx, finding, failed, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Facts, LibraryRun, MathLibrary, Observed, Stage};
    use crate::rules::testing::{judge, machine, silent, tensorflow};

    fn machine_with(runs: Vec<(u32, Option<Cause>)>) -> Facts {
        coded(runs, 1002)
    }

    fn coded(runs: Vec<(u32, Option<Cause>)>, code: i32) -> Facts {
        let mut facts = machine();
        facts.pythons = vec![tensorflow("2.20.0", "12.5.1", &["sm_90"])];
        let runs = runs.into_iter().map(|(gpu, cause)| {
            let failure = cause.map(|cause| Failed {
                stage: Stage::Handle,
                cause,
                code: Some(code),
                says: format!("cudnnCreate gives {code}"),
            });
            LibraryRun { gpu, failure, ..LibraryRun::default() }
        });
        let work = LibraryWork {
            library: MathLibrary::Cudnn,
            path: "/lib/libcudnn.so.9".to_owned(),
            envs: vec![0],
            version: "9.3.0".parse().ok(),
            runs: runs.collect(),
            ..LibraryWork::default()
        };
        facts.observed = Some(Observed { libraries: vec![work], ..Observed::default() });
        facts
    }

    #[test]
    fn a_library_that_computes_nowhere_breaks_its_environments() {
        assert!(silent(&RULE, &machine_with(vec![(0, None)])));
        let found = judge(&RULE, &machine_with(vec![(0, Some(Cause::PartsMixed))])).findings;
        assert_eq!(found[0].breaks, [(Subject::Env(0), Break::TfRuns)]);
        assert_eq!(found[0].title, "cuDNN 9.3.0 does not compute on GPU 0: cudnnCreate gives 1002");
    }

    #[test]
    fn what_the_library_does_not_take_is_a_note() {
        for code in [3000, 2008, 9] {
            let found = judge(&RULE, &coded(vec![(0, Some(Cause::Other))], code)).findings;
            assert_eq!((found[0].level, found[0].breaks.len()), (Some(Level::Note), 0), "{code}");
        }
        assert_eq!(judge(&RULE, &coded(vec![(0, Some(Cause::NoBinaryForGpu))], 3007)).findings[0].level, None);
    }

    #[test]
    fn what_passes_or_hits_one_gpu_of_several_is_a_warning() {
        for runs in [vec![(0, Some(Cause::OutOfMemory))], vec![(0, None), (1, Some(Cause::NoBinaryForGpu))]] {
            let found = judge(&RULE, &machine_with(runs)).findings;
            assert_eq!((found[0].level, found[0].breaks.len()), (Some(Level::Warn), 0));
        }
    }
}
