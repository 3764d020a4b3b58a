//! ort-sys and tensorflow-sys: prebuilt libraries that they download, and the CUDA that those are made for.

use super::{CUDNN, Nvcc, Said, Script, UNSUPPORTED, release};
use crate::finding::Break;

/// ort-sys 2.0.0-rc.14 and rc.15 have builds for CUDA 13 alone.
pub(super) fn ort(script: &Script<'_>, said: &mut Said) {
    said.looked(UNSUPPORTED);
    if script.has("disable-linking") == Some(true) || script.env("DOCS_RS").is_some() {
        return;
    }
    let newest = matches!(script.it.version.as_str(), "2.0.0-rc.14" | "2.0.0-rc.15");
    let own = ["ORT_LIB_PATH", "ORT_LIB_LOCATION"].iter().find_map(|name| script.env(name));
    if own.is_none()
        && newest
        && script.has("download-binaries") == Some(true)
        && ["cuda", "tensorrt"].iter().any(|name| script.has(name) == Some(true))
        && let Some((text, evidence)) = script.env("ORT_CUDA_VERSION")
        && text == "12"
    {
        let title = format!("ORT_CUDA_VERSION is 12, and {} has prebuilt libraries for CUDA 13 only", script.title());
        let finding =
            script.finding(title).because(evidence).run("take those for CUDA 13", "export ORT_CUDA_VERSION=13");
        let finding = finding.help("or build ONNX Runtime for CUDA 12 yourself and name its folder in ORT_LIB_PATH");
        return said.find(UNSUPPORTED, finding.breaks(Break::Builds));
    }
    if newest
        && own.is_none()
        && script.has("cuda") == Some(true)
        && let Nvcc::There { toolkit, .. } = script.nvcc()
        && let Some((cuda, evidence)) = release(toolkit)
        && cuda.major() < 13
    {
        let title =
            format!("{} takes ONNX Runtime for CUDA 13, and the toolkit here is of CUDA {cuda}", script.title());
        let finding = script.finding(title).because(evidence).at(crate::finding::Level::Warn);
        said.find(
            UNSUPPORTED,
            finding
                .help("install the libraries of CUDA 13 for run time")
                .so("without them ONNX Runtime computes on the CPU and says nothing"),
        );
    }
    let what = if own.is_some() {
        "what the ONNX Runtime that is named holds"
    } else {
        "whether ONNX Runtime can be downloaded"
    };
    said.open(UNSUPPORTED, format!("{what}, which {} links", script.title()), Break::Builds);
}

pub(super) fn tensorflow(script: &Script<'_>, said: &mut Said) {
    said.looked(CUDNN);
    if script.has("runtime_linking") == Some(true) || script.has("private-docs-rs") == Some(true) {
        return;
    }
    let version = script.row.and_then(|row| row.libtensorflow.as_ref()).map(ToString::to_string).unwrap_or_default();
    said.open(
        UNSUPPORTED,
        format!("whether libtensorflow {version} can be downloaded or is here, which {} links", script.title()),
        Break::Builds,
    );
    if script.has("tensorflow_gpu") == Some(true) {
        said.open(
            CUDNN,
            format!("whether the CUDA and cuDNN that libtensorflow {version} opens are here"),
            Break::Runs,
        );
    }
}
