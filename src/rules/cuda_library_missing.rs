//! Rule `cuda-library-missing`: a CUDA library that TensorFlow opens by name is not found by the loader.

use super::{Cx, Family, Rule, layer};
use crate::facts::{Dist, Evidence, Library, Probed, Resolution};
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::shell;
use crate::view::{EnvView, folders};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "cuda-library-missing",
    family: Family::Cuda,
    level: Level::Deny,
    layer: layer::LOADER,
    summary: "A CUDA library that TensorFlow opens by name is not found by the loader",
    docs: r"### What it means

TensorFlow links no CUDA library; it opens each of a fixed list by name when it registers GPUs. The dynamic loader, asked the way TensorFlow's own library asks it, ends its search for at least one of those names with nothing.

### Why it matters

One name that fails is enough: TensorFlow then registers no GPU at all, often with no more than a line in the log. The library may even be on the disk, in a folder that nothing on the search path names.

### How to fix it

Where the file is on the disk, put its folder on `LD_LIBRARY_PATH` or use a TensorFlow release whose own search path names it. Where it is nowhere, install TensorFlow's `and-cuda` extra for the same version.",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    for env in cx.view.envs().filter(EnvView::wants_cuda) {
        let wanted = env.wanted();
        if wanted.is_empty() {
            let version = env.tf_version_text().unwrap_or("of unknown version");
            out.unknown(
                Subject::Env(env.index),
                format!("which CUDA libraries TensorFlow {version} opens"),
                Some(Break::TfSees),
            );
            continue;
        }
        out.applies();
        // Nothing at all is a cause of its own, and so is a wheel whose files are gone.
        if env.has_no_cuda_library_at_all() || !env.lost_nvidia().is_empty() {
            continue;
        }
        let absent: Vec<_> = env
            .missing()
            .into_iter()
            // A file that is found but lacks what it needs is a case of its own.
            .filter(|(_, resolution)| resolution.is_none_or(|resolution| resolution.file.value().is_none()))
            .collect();
        let (untold, absent): (Vec<_>, Vec<_>) = absent.into_iter().partition(|(_, resolution)| {
            resolution.is_some_and(|resolution| matches!(resolution.file, Probed::Skipped { .. }))
        });
        if let Some((name, Some(resolution))) = untold.first() {
            let why = resolution.file.unknown().unwrap_or_default();
            let missing = format!("whether TensorFlow finds {name}: {why}");
            out.unknown(Subject::Env(env.index), missing, Some(Break::TfSees));
        }
        if absent.is_empty() {
            if untold.is_empty() {
                needed_in_turn(cx, &env, out);
            }
            continue;
        }
        let (ended, absent): (Vec<_>, Vec<_>) = absent.into_iter().partition(|(_, resolution)| {
            resolution.is_some_and(|resolution| matches!(resolution.file, Probed::Failed { .. }))
        });
        if !ended.is_empty() {
            given_up(cx, &env, &ended, out);
        }
        if absent.is_empty() {
            continue;
        }
        let only_cudnn_nowhere = absent.iter().all(|(name, resolution)| {
            name.starts_with("libcudnn.")
                && resolution.is_none_or(|resolution| resolution.others.is_empty() && resolution.file.is_absent())
        });
        if only_cudnn_nowhere {
            continue;
        }
        // Without the library that asks, its own search path is unknown, and these files may well be on it.
        let lies_about =
            absent.iter().all(|(_, resolution)| resolution.is_some_and(|resolution| !resolution.others.is_empty()));
        if env.tf().is_some_and(|tf| tf.caller.is_none()) && lies_about {
            out.unknown(
                Subject::Env(env.index),
                "where TensorFlow searches for CUDA libraries: libtensorflow_framework.so.2 cannot be read",
                Some(Break::TfSees),
            );
            continue;
        }
        let caller = env.tf().and_then(|tf| tf.caller.as_deref()).unwrap_or("TensorFlow");
        let names: Vec<&str> = absent.iter().map(|(name, _)| name.as_str()).collect();
        let unused: Vec<&str> = absent
            .iter()
            .filter_map(|(_, resolution)| resolution.and_then(|resolution| resolution.others.first()))
            .map(|other| other.path.as_str())
            .collect();
        let mut finding = Finding::new(
            Subject::Env(env.index),
            format!("the loader does not find {} for TensorFlow", names.join(", ")),
        );
        let mut closed = None;
        for (name, resolution) in &absent {
            let Some(resolution) = resolution else { continue };
            // What is passed over for its mode is on the search path; the same file by another name is none aside.
            if let Some(file) = resolution.rejected.iter().find(|file| file.why == "permission denied") {
                closed = closed.or(Some(file));
                finding = finding.because(Evidence::file(&file.path, format!("passed over: {}", file.why)));
                continue;
            }
            for other in resolution.others.iter().take(1) {
                finding = finding.because(Evidence::file(
                    &other.path,
                    format!("{name} is here, in a folder that the search does not visit"),
                ));
            }
            for rejected in resolution.rejected.iter().take(2) {
                finding = finding.because(Evidence::file(&rejected.path, format!("passed over: {}", rejected.why)));
            }
        }
        finding = finding
            .because_all(closed.is_none().then(|| Evidence::loader(caller, format!("opens {} by name; neither LD_LIBRARY_PATH, its RUNPATH, the loader's cache nor the default folders have it", names[0]))))
            .row(env.tf_row_ref())
            .breaks(Break::TfSees)
            .so("TensorFlow lists no GPU: it registers one only when every library of its list opens");
        if let Some(file) = closed {
            let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            finding = finding
                .run("let every user read what lies there", format!("sudo chmod -R a+rX {}", shell::word(folder)));
        } else if unused.len() == absent.len() {
            let folders = folders(unused.into_iter()).join(":");
            let folders = shell::word(&folders);
            finding = finding.run(
                "put the folder on the loader's path",
                format!("export LD_LIBRARY_PATH={folders}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"),
            );
        } else {
            finding = with_libraries(cx, &env, finding);
        }
        out.find(finding);
    }
}

/// How the libraries of CUDA that this TensorFlow asks for are installed.
pub(super) fn with_libraries(cx: &Cx<'_>, env: &EnvView<'_, '_>, finding: Finding) -> Finding {
    if env.is_own_build() {
        let cuda = env.cuda_text().unwrap_or_default();
        let cudnn = env.cudnn_built().map_or_else(String::new, |it| format!(" and cuDNN {}", it.major()));
        let built = env.tf().and_then(|tf| tf.build.evidence()).cloned();
        return finding.because_all(built).help(format!(
            "install the libraries of CUDA {cuda}{cudnn}, for which this build of TensorFlow was made; the wheels of \
             the package index are for others"
        ));
    }
    let name = env.tf_dist().map_or("tensorflow", |dist| dist.name.as_str());
    match env.with_cuda(name, env.tf_version_text()) {
        Some((wanted, None)) if name.starts_with("tf-nightly") || name == "tensorflow" => {
            finding.run("install the CUDA libraries that this release asks for", cx.view.install(env.env, &wanted))
        }
        Some((wanted, Some(why))) if name == "tensorflow" && has_extra(env) => {
            finding.so(why).run("install a release whose extra brings them all", cx.view.install(env.env, &wanted))
        }
        _ => {
            let cuda = env.cuda_text().unwrap_or_default();
            let cudnn = env.cudnn_built().map_or_else(String::new, |cudnn| format!(" and cuDNN {cudnn}"));
            finding.help(format!("install CUDA {cuda}{cudnn}, or a TensorFlow from 2.14 on with its `and-cuda` extra"))
        }
    }
}

/// Whether the TensorFlow that is here has an extra that is to bring the libraries.
fn has_extra(env: &EnvView<'_, '_>) -> bool {
    env.tf_row().is_some_and(|row| !row.and_cuda.is_empty())
}

/// Names whose search ends at a file that is no library: the loader looks no further, wherever else they lie.
fn given_up(cx: &Cx<'_>, env: &EnvView<'_, '_>, ended: &[(String, Option<&Resolution>)], out: &mut Judgment) {
    let names: Vec<&str> = ended.iter().map(|(name, _)| name.as_str()).collect();
    let title = format!("the loader gives up on {}: the first file of that name is no library", names.join(", "));
    let mut finding = Finding::new(Subject::Env(env.index), title);
    let mut files: Vec<&str> = Vec::new();
    for (name, resolution) in ended {
        let Some(why) = resolution.and_then(|resolution| resolution.file.unknown()) else { continue };
        finding = finding.because(Evidence::loader(name, why));
        files.extend(why.split_once(": ").map(|(path, _)| path).filter(|path| path.starts_with('/')));
    }
    finding = finding
        .row(env.tf_row_ref())
        .breaks(Break::TfSees)
        .so("TensorFlow lists no GPU: it registers one only when every library of its list opens");
    let folder = files.first().and_then(|file| file.rsplit_once('/')).map(|(folder, _)| folder);
    let mut entries = cx.facts.loader.library_path.iter().map(|entry| entry.text.as_str());
    let entry = folder.and_then(|folder| entries.find(|entry| entry.trim_end_matches('/') == folder));
    if let Some(entry) = entry {
        finding = finding.run(
            format!("take {entry} out of LD_LIBRARY_PATH"),
            format!("export LD_LIBRARY_PATH={}", shell::quoted(&cx.facts.loader.without(entry))),
        );
    }
    let mut owners: Vec<String> = files
        .iter()
        .filter_map(|file| owner(env, file))
        .map(|dist| format!("{}=={}", dist.name, dist.version))
        .collect();
    owners.dedup();
    let whole = files.iter().all(|file| owner(env, file).is_some());
    let elsewhere = ended.iter().all(|(_, resolution)| resolution.is_some_and(|it| !it.others.is_empty()));
    let or = if finding.help.is_empty() { "" } else { "or " };
    if !owners.is_empty() {
        let what = format!("--force-reinstall --no-deps {}", owners.join(" "));
        finding =
            finding.run(format!("{or}install it again, as its package brought it"), cx.view.install(env.env, &what));
    }
    // What is gone then must be somewhere else.
    if !whole && elsewhere && owners.is_empty() {
        let words: Vec<_> = files.iter().map(|file| shell::word(file)).collect();
        finding = finding.run(format!("{or}remove what is no library"), format!("rm {}", words.join(" ")));
    } else if !whole {
        finding = finding.help(format!("{or}put the library in the place of {}", files.join(", ")));
    }
    out.find(finding);
}

/// The package that brought a file which is no longer what its RECORD says.
fn owner<'a>(env: &EnvView<'_, 'a>, file: &str) -> Option<&'a Dist> {
    let is = |example: &String| {
        let path = example.rsplit_once(" (").map_or(example.as_str(), |(path, _)| path);
        file.strip_suffix(path).is_some_and(|rest| rest.ends_with('/'))
    };
    env.env.dists.iter().find(|dist| dist.record.as_ref().is_some_and(|record| record.changed_examples.iter().any(is)))
}

/// Libraries that are found, but need others in turn that are not, and of which no other copy is there.
fn needed_in_turn(cx: &Cx<'_>, env: &EnvView<'_, '_>, out: &mut Judgment) {
    let lacking: Vec<(String, &Library)> = env
        .missing()
        .into_iter()
        .filter_map(|(name, resolution)| {
            let resolution = resolution.filter(|resolution| resolution.others.is_empty())?;
            // One that lacks a symbol has all its libraries, and one of them is the wrong one.
            Some((name, resolution.file.value().filter(|library| !library.missing.is_empty())?))
        })
        .collect();
    let mut needed: Vec<&str> =
        lacking.iter().flat_map(|(_, library)| &library.missing).map(|missing| missing.name.as_str()).collect();
    crate::sort::plain(&mut needed);
    needed.dedup();
    let Some((first, _)) = lacking.first() else { return };
    let mut finding = Finding::new(
        Subject::Env(env.index),
        format!("the loader does not find {}, which {first} needs", needed.join(", ")),
    );
    for (name, library) in lacking.iter().take(3) {
        for missing in library.missing.iter().take(2) {
            finding = finding.because(Evidence::loader(
                &missing.by,
                format!("needs {}, which nothing provides; so {name} does not open", missing.name),
            ));
        }
    }
    out.find(
        with_libraries(cx, env, finding)
            .row(env.tf_row_ref())
            .breaks(Break::TfSees)
            .so("TensorFlow lists no GPU: it registers one only when every library of its list opens"),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Rejected;
    use crate::rules::testing::{absent, judge, machine, tensorflow};

    #[test]
    fn a_library_that_nobody_else_may_read_is_opened_and_not_searched_elsewhere() {
        let mut facts = machine();
        facts.pythons = vec![tensorflow("2.20.0", "12.5.1", &["sm_80", "compute_90"])];
        let tf = facts.pythons[0].tensorflow.as_mut().unwrap();
        for resolution in &mut tf.libraries {
            resolution.file = crate::rules::testing::resolved(&resolution.name, "/l/x", "/l/x").file;
        }
        let mut shut = absent("libcufft.so.11");
        let path = "/v/nvidia/cufft/lib/libcufft.so.11".to_owned();
        shut.rejected = vec![Rejected { path: path.clone(), why: "permission denied".to_owned() }];
        shut.others = vec![crate::facts::Candidate { path, via: None, version: None }];
        tf.libraries.retain(|resolution| resolution.name != shut.name);
        tf.libraries.push(shut);
        let said = judge(&RULE, &facts);
        let help = &said.findings[0].help[0];
        assert_eq!(help.command.as_deref(), Some("sudo chmod -R a+rX /v/nvidia/cufft/lib"));
    }
}
