//! torch-sys: the one LibTorch that a release takes, and the one that its build script would find.

use super::{LIBTORCH, Said, Script};
use crate::facts::Evidence;
use crate::finding::Break;

pub(super) fn follow(script: &Script<'_>, said: &mut Said) {
    said.looked(LIBTORCH);
    if script.has("doc-only") == Some(true) {
        return;
    }
    let wanted = script.row.and_then(|row| row.libtorch.as_ref()).filter(|_| script.version() >= (0, 13, 0));
    let Some(wanted) = wanted else {
        return said.open(
            LIBTORCH,
            format!("which LibTorch {} takes: that release is not followed", script.title()),
            Break::Builds,
        );
    };
    let bypass = script.env("LIBTORCH_BYPASS_VERSION_CHECK").is_some();
    let mismatch = |found: &str, evidence: Evidence, said: &mut Said| {
        let found = found.trim().split('+').next().unwrap_or_default();
        if found == wanted.as_str() {
            return;
        }
        let title = format!("{} takes PyTorch {wanted} and no other; the one that it finds is {found}", script.title());
        let finding = script.finding(title).because(evidence);
        if bypass {
            return said.open(
                LIBTORCH,
                format!("whether {} compiles against PyTorch {found}: its check is switched off", script.title()),
                Break::Builds,
            );
        }
        let fits = script
            .cx
            .db
            .crates()
            .iter()
            .find(|row| row.name == "torch-sys" && row.libtorch.as_ref().is_some_and(|it| it.as_str() == found));
        let mut finding = finding.help(format!("install PyTorch (or LibTorch) {wanted}"));
        if let Some(version) = fits.and_then(crate::db::CrateRow::first) {
            finding = finding.help(format!("or ask for tch {version}, which takes PyTorch {found}"));
        }
        said.find(LIBTORCH, finding.breaks(Break::Builds));
    };
    if script.env("LIBTORCH_USE_PYTORCH").is_some() {
        let Some(env) = script.cx.facts.pythons.iter().find(|env| env.active) else {
            return said.open(LIBTORCH, "which Python LIBTORCH_USE_PYTORCH asks".to_owned(), Break::Builds);
        };
        if let Some(torch) = env.dists.iter().find(|dist| dist.name == "torch") {
            mismatch(&torch.version, Evidence::package(format!("{}: torch", env.path), &torch.version), said);
        } else {
            let title = format!("LIBTORCH_USE_PYTORCH is set for {}, and {} has no PyTorch", script.title(), env.path);
            let finding = script.finding(title).because_all(script.env("LIBTORCH_USE_PYTORCH").map(|(_, it)| it));
            let finding =
                finding.run("install the one that it takes", script.cx.view.install(env, &format!("torch=={wanted}")));
            said.find(LIBTORCH, finding.breaks(Break::Builds));
        }
        return;
    }
    let Some(build) = script.build() else {
        return said.open(LIBTORCH, "which LibTorch is here".to_owned(), Break::Builds);
    };
    if let Some((folder, evidence)) = script.env("LIBTORCH") {
        match &build.libtorch {
            Some(found) if found.headers => match &found.version {
                Some(version) => mismatch(version, Evidence::file(format!("{folder}/build-version"), version), said),
                None => said.open(LIBTORCH, format!("the version of the LibTorch in {folder}"), Break::Builds),
            },
            // The headers may lie elsewhere.
            _ if script.env("LIBTORCH_INCLUDE").is_some() => {
                said.open(LIBTORCH, "the version of LibTorch behind LIBTORCH_INCLUDE".to_owned(), Break::Builds);
            }
            _ => {
                let title = format!("LIBTORCH is {folder}, where {} finds no LibTorch", script.title());
                let finding = script
                    .finding(title)
                    .because(evidence)
                    .because(Evidence::file(format!("{folder}/include"), "not there"));
                let finding =
                    finding.help(format!("unpack LibTorch {wanted} and name its folder, the one with include and lib"));
                said.find(LIBTORCH, finding.breaks(Break::Builds));
            }
        }
        return;
    }
    let system = build
        .places
        .iter()
        .any(|place| place.folder == "/usr" && place.libraries.get("libtorch.so").is_some_and(|it| it == "/usr/lib"));
    if system {
        return said.open(LIBTORCH, "the version of the LibTorch in /usr/lib".to_owned(), Break::Builds);
    }
    match script.has("download-libtorch") {
        Some(true) => said.open(
            LIBTORCH,
            format!("whether LibTorch {wanted} can be downloaded, which {} does", script.title()),
            Break::Builds,
        ),
        None => said.open(LIBTORCH, format!("whether {} downloads LibTorch", script.title()), Break::Builds),
        Some(false) => {
            let title = format!("{} finds no LibTorch", script.title());
            let finding = script
                .finding(title)
                .because(Evidence::env("LIBTORCH", "not set"))
                .because(Evidence::file("/usr/lib/libtorch.so", "not there"));
            let finding = finding
                .run(
                    format!("take the one of a Python environment with PyTorch {wanted}"),
                    "export LIBTORCH_USE_PYTORCH=1",
                )
                .run(format!("or unpack LibTorch {wanted} and name its folder"), "export LIBTORCH=/path/to/libtorch");
            said.find(LIBTORCH, finding.breaks(Break::Builds));
        }
    }
}
