//! ort-sys: the ONNX Runtime that a variable names, that `pkg-config` names, or that is downloaded.

use super::{IGNORES, Nvcc, Said, Script, UNSUPPORTED, release};
use crate::facts::{Evidence, OnnxRuntime};
use crate::finding::{Break, Finding, Level};

/// What one release's build script reads, as far as releases differ.
struct Flow {
    /// Variables that name a folder, the first that is set.
    folders: &'static [&'static str],
    /// Variables that forbid downloads.
    offline: &'static [&'static str],
    /// Whether the first of those that is set decides alone.
    first_decides: bool,
    /// Whether `pkg-config` is asked without a feature for it, and `lib` below the folder is taken.
    early: bool,
    /// Whether it copies shared libraries of a folder that is named, and stops where that cannot be listed.
    copies: bool,
}

/// The releases whose build scripts were read: rc.9 to rc.15 of 2.0.0.
fn flow(version: &str) -> Option<Flow> {
    const BOTH: &[&str] = &["ORT_LIB_PATH", "ORT_LIB_LOCATION"];
    const ONE: &[&str] = &["ORT_LIB_LOCATION"];
    const OLD: &[&str] = &["CARGO_NET_OFFLINE", "ORT_SKIP_DOWNLOAD"];
    const NEW: &[&str] = &["CARGO_NET_OFFLINE", "ORT_SKIP_DOWNLOAD", "ORT_OFFLINE"];
    let candidate: u32 = version.strip_prefix("2.0.0-rc.")?.parse().ok()?;
    let (folders, offline) = match candidate {
        9 => (ONE, &[] as &[&str]),
        10 | 11 => (ONE, OLD),
        12..=15 => (BOTH, NEW),
        _ => return None,
    };
    let (early, copies) = (candidate <= 10, candidate >= 13);
    Some(Flow { folders, offline, first_decides: candidate >= 12, early, copies })
}

/// Whether a variable says yes, as ort-sys reads it.
fn says_yes(value: &str) -> bool {
    value == "1" || value.eq_ignore_ascii_case("true")
}

pub(super) fn follow(script: &Script<'_>, said: &mut Said) {
    for rule in [UNSUPPORTED, IGNORES] {
        said.looked(rule);
    }
    if script.has("disable-linking") == Some(true) || script.env("DOCS_RS").is_some() {
        return;
    }
    let (Some(flow), Some(build)) = (flow(&script.it.version), script.build()) else {
        return said.open(UNSUPPORTED, format!("which ONNX Runtime {} links", script.title()), Break::Builds);
    };
    if script.is_foreign(said) {
        return;
    }
    // Then it links nothing; where it may, it downloads all the same.
    let loads = flow.early && script.has("load-dynamic") == Some(true);
    if loads && (script.has("download-binaries") == Some(false) || script.env("ORT_LIB_LOCATION").is_some()) {
        return;
    }
    if (flow.early || script.has("pkg-config") == Some(true)) && build.packages.contains_key("libonnxruntime") {
        let missing = format!("whether {} takes the ONNX Runtime of pkg-config", script.title());
        return said.open(UNSUPPORTED, missing, Break::Builds);
    }
    let named = flow.folders.iter().find_map(|name| build.onnxruntime.iter().find(|it| it.variable == *name));
    if let Some(named) = named.filter(|it| !it.folder.starts_with('/')) {
        let missing = format!("where {} leads, which is no path from the root on: {}", named.variable, named.folder);
        return said.open(UNSUPPORTED, missing, Break::Builds);
    }
    if let Some(named) = named {
        return if flow.early { early(script, named, said) } else { late(script, &flow, named, said) };
    }
    if let Some(ignored) = build.onnxruntime.first() {
        let title = format!("{} does not read {}", script.title(), ignored.variable);
        let finding = script
            .finding(title)
            .because(Evidence::env(&ignored.variable, &ignored.folder))
            .run("name the folder as it wants it", format!("export ORT_LIB_LOCATION={}", ignored.folder));
        said.find(IGNORES, finding);
    }
    download(script, &flow, said);
}

/// Whether the shared library is to be linked.
fn dynamic(script: &Script<'_>) -> Option<bool> {
    match script.env("ORT_PREFER_DYNAMIC_LINK") {
        Some((value, _)) => Some(says_yes(value)),
        // rc.9 prefers it for CUDA.
        None if script.it.version == "2.0.0-rc.9" => {
            let one = ["cuda", "tensorrt"].map(|name| script.has(name));
            if one.contains(&Some(true)) { Some(true) } else { (!one.contains(&None)).then_some(false) }
        }
        None => Some(false),
    }
}

/// What is said where the folder that a variable names has no library to link.
fn nothing_there(script: &Script<'_>, named: &OnnxRuntime) -> Finding {
    let (variable, folder) = (&named.variable, &named.folder);
    let shared = named.libraries.iter().find(|name| name.ends_with("libonnxruntime.so"));
    let title = match shared {
        _ if !named.there => format!("{variable} names {folder}, and there is no such folder for {}", script.title()),
        Some(_) => format!("{} looks for other libraries of ONNX Runtime than those of {folder}", script.title()),
        None => format!("{variable} names {folder}, where {} finds no ONNX Runtime to link", script.title()),
    };
    let finding = script.finding(title).because(Evidence::env(variable, folder));
    match shared {
        Some(name) => {
            let inside = name.rsplit_once('/').map_or_else(|| folder.clone(), |(inside, _)| format!("{folder}/{inside}"));
            finding
                .because(Evidence::file(format!("{folder}/{name}"), "the shared library"))
                .run("link that one", format!("export {variable}={inside} ORT_PREFER_DYNAMIC_LINK=1"))
        }
        None if named.libraries.iter().any(|name| name.contains("libonnxruntime.so.")) => finding.help(
            "linkers look for libonnxruntime.so: make that name a link to the file whose name ends in a version, and set \
             ORT_PREFER_DYNAMIC_LINK=1",
        ),
        None => finding.help("name the folder that holds libonnxruntime.so, and set ORT_PREFER_DYNAMIC_LINK=1"),
    }
}

/// A folder that is named to rc.11 and newer.
fn late(script: &Script<'_>, flow: &Flow, named: &OnnxRuntime, said: &mut Said) {
    let has = |name: &str| named.libraries.iter().any(|it| it == name);
    if dynamic(script) == Some(true) {
        if has("libonnxruntime.so") {
            return;
        }
        let finding = nothing_there(script, named);
        if flow.copies && !named.there && script.has("copy-dylibs") == Some(true) {
            return said.find(UNSUPPORTED, finding.breaks(Break::Builds));
        }
        return script.does_not_link(UNSUPPORTED, finding, said);
    }
    if has("libonnxruntime.a") {
        // The linker is sent into this one, and then not into the folder itself.
        if !has(&searched(named, "libonnxruntime.a")) {
            script.does_not_link(UNSUPPORTED, nothing_there(script, named), said);
        }
        return;
    }
    if named.libraries.iter().any(|name| name.ends_with("libonnxruntime_common.a")) {
        let missing = format!("whether all static libraries of ONNX Runtime are in {}", named.folder);
        return said.open(UNSUPPORTED, missing, Break::Builds);
    }
    said.find(UNSUPPORTED, nothing_there(script, named).breaks(Break::Builds));
}

/// A library where the linker is sent for a folder that is named: into `Release` or `Debug` of it where one is there.
fn searched(named: &OnnxRuntime, library: &str) -> String {
    let inside = ["Release", "Debug"].into_iter().find(|it| named.folders.iter().any(|folder| folder == it));
    inside.map_or_else(|| library.to_owned(), |inside| format!("{inside}/{library}"))
}

/// A folder that is named to rc.9 or rc.10: `lib` in it counts, and what is missing shows when linking.
fn early(script: &Script<'_>, named: &OnnxRuntime, said: &mut Said) {
    let has = |name: &str| named.libraries.iter().any(|it| it == name);
    let inside = named.folders.iter().any(|it| it == "lib");
    let shared = if inside { "lib/libonnxruntime.so" } else { "libonnxruntime.so" };
    let archive = if inside { "lib/libonnxruntime.a" } else { "libonnxruntime.a" };
    let Some(dynamic) = dynamic(script) else {
        return said.open(UNSUPPORTED, format!("which ONNX Runtime {} links", script.title()), Break::Builds);
    };
    if has("libonnxruntime.a") {
        if !has(&searched(named, "libonnxruntime.a")) {
            script.does_not_link(UNSUPPORTED, nothing_there(script, named), said);
        }
        return;
    }
    if has(shared) || has(&searched(named, "libonnxruntime.so")) || !dynamic && has(archive) {
        return;
    }
    if !dynamic && named.libraries.iter().any(|name| name.ends_with("libonnxruntime_common.a")) {
        let missing = format!("whether all static libraries of ONNX Runtime are in {}", named.folder);
        return said.open(UNSUPPORTED, missing, Break::Builds);
    }
    script.does_not_link(UNSUPPORTED, nothing_there(script, named), said);
}

/// What it does where no folder is named.
fn download(script: &Script<'_>, flow: &Flow, said: &mut Said) {
    let set = flow.offline.iter().filter_map(|name| script.env(name).map(|(value, it)| (*name, value, it)));
    let forbids = |(_, value, _): &(&str, &str, Evidence)| says_yes(value);
    let forbidden = if flow.first_decides { set.take(1).find(forbids) } else { set.into_iter().find(forbids) };
    let feature = script.has("download-binaries");
    // One that loads its library when it runs links none.
    if flow.early && script.has("load-dynamic") == Some(true) && forbidden.is_some() {
        return;
    }
    if feature == Some(false) || feature == Some(true) && forbidden.is_some() {
        // rc.10 then links what the linker finds by itself.
        let system = ["/usr", "/usr/local"]
            .iter()
            .filter_map(|it| script.place(it))
            .any(|place| place.libraries.contains_key("libonnxruntime.so"));
        if flow.early && feature == Some(true) && system {
            return;
        }
        let finding = script.finding(format!("{} has no ONNX Runtime to link", script.title()));
        let finding = finding.because(Evidence::env(flow.folders.first().copied().unwrap_or_default(), "not set"));
        let finding = match forbidden.filter(|_| feature == Some(true)) {
            Some((name, _, evidence)) => finding.because(evidence).run("let it download one", format!("unset {name}")),
            None => finding.help("switch on the feature `download-binaries` of ort"),
        };
        let finding = finding.help(format!(
            "or name a folder that holds libonnxruntime.so in {}, and set ORT_PREFER_DYNAMIC_LINK=1",
            flow.folders.first().copied().unwrap_or_default()
        ));
        return script.does_not_link(UNSUPPORTED, finding, said);
    }
    let newest = matches!(script.it.version.as_str(), "2.0.0-rc.14" | "2.0.0-rc.15");
    let cuda = |name: &&str| script.has(name) == Some(true);
    if newest
        && feature == Some(true)
        && ["cuda", "tensorrt"].iter().any(cuda)
        && script.has("lax-feature-matching") == Some(false)
        && let Some((text, evidence)) = script.env("ORT_CUDA_VERSION")
        && text == "12"
    {
        let title = format!("ORT_CUDA_VERSION is 12, and {} has prebuilt libraries for CUDA 13 only", script.title());
        let finding =
            script.finding(title).because(evidence).run("take those for CUDA 13", "export ORT_CUDA_VERSION=13");
        let finding = finding.help("or build ONNX Runtime for CUDA 12 yourself and name its folder in ORT_LIB_PATH");
        return script.does_not_link(UNSUPPORTED, finding, said);
    }
    if newest
        && script.has("cuda") == Some(true)
        && let Nvcc::There { toolkit, .. } = script.nvcc()
        && let Some((cuda, evidence)) = release(toolkit)
        && cuda.major() < 13
    {
        let title =
            format!("{} takes ONNX Runtime for CUDA 13, and the toolkit here is of CUDA {cuda}", script.title());
        let finding = script.finding(title).because(evidence).at(Level::Warn);
        said.find(
            UNSUPPORTED,
            finding
                .help("install the libraries of CUDA 13 for run time")
                .so("without them ONNX Runtime computes on the CPU and says nothing"),
        );
    }
    let missing = format!("whether ONNX Runtime can be downloaded, which {} links", script.title());
    said.open(UNSUPPORTED, missing, Break::Builds);
}
