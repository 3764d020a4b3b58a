//! tensorflow-sys: TensorFlow's C library as `pkg-config` names it, from an archive, downloaded, or built with Bazel.

use super::{CUDNN, Said, Script, UNSUPPORTED};
use crate::facts::Evidence;
use crate::finding::Break;

pub(super) fn follow(script: &Script<'_>, said: &mut Said) {
    for rule in [UNSUPPORTED, CUDNN] {
        said.looked(rule);
    }
    if script.has("runtime_linking") == Some(true) || script.has("private-docs-rs") == Some(true) {
        return;
    }
    let version = script.row.and_then(|row| row.libtensorflow.as_ref());
    let (Some(version), Some(build)) = (version, script.build()) else {
        let missing = format!("where {} finds TensorFlow's C library", script.title());
        return said.open(UNSUPPORTED, missing, Break::Builds);
    };
    let own = script.arch() == Some(script.cx.facts.machine.arch.as_str());
    let Some(arch) = script.arch() else {
        let _ = script.is_foreign(said);
        return;
    };
    // Of a platform that is not the machine's `pkg-config` is not asked.
    if own && script.pkg_config("tensorflow", said) {
        return;
    }
    let gpu = script.has("tensorflow_gpu") == Some(true);
    if gpu {
        said.open(
            CUDNN,
            format!("whether the CUDA and cuDNN that libtensorflow {version} opens are here"),
            Break::Runs,
        );
    }
    let forced = script.env("TF_RUST_BUILD_FROM_SRC").filter(|(value, _)| *value == "true");
    if forced.is_some() || arch != "x86_64" {
        if build.bazel.is_some() {
            let missing = format!("whether TensorFlow {version} builds from source, which {} does", script.title());
            return said.open(UNSUPPORTED, missing, Break::Builds);
        }
        let title = format!("{} builds TensorFlow from source, and there is no bazel on PATH", script.title());
        let finding = script.finding(title).because(Evidence::env("PATH", "no folder of it has bazel"));
        let finding = match forced {
            Some((_, evidence)) => finding
                .because(evidence)
                .run("take the library that is built already", "unset TF_RUST_BUILD_FROM_SRC")
                .help("or install Bazel"),
            None => finding.help(format!("install Bazel: there is no library that is built already for {arch}")),
        };
        return said.find(UNSUPPORTED, finding.breaks(Break::Builds));
    }
    let kind = if gpu { "gpu" } else { "cpu" };
    let archive = format!("libtensorflow-{kind}-linux-x86_64-{version}.tar.gz");
    if !build.tensorflow_archives.contains(&archive) {
        let missing = format!("whether {archive} can be downloaded, which {} links", script.title());
        said.open(UNSUPPORTED, missing, Break::Builds);
    }
}
