//! torch-sys: the one LibTorch that a release takes, and the one that its build script would find.

use super::{LIBTORCH, Said, Script};
use crate::facts::{Evidence, LibTorch};
use crate::finding::{Break, Level};

pub(super) fn follow(script: &Script<'_>, said: &mut Said) {
    said.looked(LIBTORCH);
    if script.has("doc-only") == Some(true) {
        return;
    }
    if script.is_foreign(said) {
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
            return true;
        }
        let title = format!("{} takes PyTorch {wanted} and no other; the one that it finds is {found}", script.title());
        let finding = script.finding(title).because(evidence);
        if bypass {
            let missing =
                format!("whether {} compiles against PyTorch {found}: its check is switched off", script.title());
            said.open(LIBTORCH, missing, Break::Builds);
            return false;
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
        false
    };
    if script.env("LIBTORCH_USE_PYTORCH").is_some() {
        return of_python(script, wanted.as_str(), &mismatch, said);
    }
    let Some(build) = script.build() else {
        return said.open(LIBTORCH, "which LibTorch is here".to_owned(), Break::Builds);
    };
    if let Some(found) = &build.libtorch {
        // Before 0.14 its build script did not look at `build-version`.
        let found =
            &LibTorch { version: found.version.clone().filter(|_| script.version() >= (0, 14, 0)), ..found.clone() };
        return named(script, wanted.as_str(), found, &mismatch, said);
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

/// Compares a version with the wanted one, and says what differs; whether it is the same.
type Mismatch<'f> = dyn Fn(&str, Evidence, &mut Said) -> bool + 'f;

/// The LibTorch of the active Python, which its build script asks for the folders and the ABI.
fn of_python(script: &Script<'_>, wanted: &str, mismatch: &Mismatch<'_>, said: &mut Said) {
    let asked = script.build().and_then(|build| build.python.as_deref());
    let folder = asked.and_then(|path| path.rsplit_once("/bin/")).map(|(folder, _)| folder);
    let Some(env) = script.cx.facts.pythons.iter().find(|env| Some(env.path.as_str()) == folder) else {
        let missing =
            format!("what the Python that LIBTORCH_USE_PYTORCH asks has ({})", asked.unwrap_or("none on PATH"));
        return said.open(LIBTORCH, missing, Break::Builds);
    };
    let asks = script.env("LIBTORCH_USE_PYTORCH").map(|(_, it)| it);
    let Some(torch) = env.dists.iter().find(|dist| dist.name == "torch") else {
        let title = format!("LIBTORCH_USE_PYTORCH is set for {}, and {} has no PyTorch", script.title(), env.path);
        let finding = script.finding(title).because_all(asks);
        let finding =
            finding.run("install the one that it takes", script.cx.view.install(env, &format!("torch=={wanted}")));
        return said.find(LIBTORCH, finding.breaks(Break::Builds));
    };
    let evidence = Evidence::package(format!("{}: torch", env.path), &torch.version);
    if !mismatch(&torch.version, evidence, said) {
        return;
    }
    if let Some(import) = env.torch.as_ref().and_then(|torch| torch.extension_lacks.clone()) {
        let title =
            format!("{} asks PyTorch for its folders, and {} lacks setuptools for that", script.title(), env.path);
        let finding = script.finding(title).because_all(asks).because(import);
        let finding = finding.run("install it", script.cx.view.install(env, "setuptools"));
        return said.find(LIBTORCH, finding.breaks(Break::Builds));
    }
    if let Some(torch) = &env.torch {
        if let Some(lacking) = torch.missing.first() {
            let title = format!(
                "{} asks PyTorch for its folders, and `import torch` finds no {}",
                script.title(),
                lacking.name
            );
            let finding = script.finding(title).because_all(asks);
            let finding = finding.because(Evidence::loader(&lacking.by, format!("needs {}", lacking.name)));
            let finding = finding.help("install PyTorch together with what it requires");
            return said.find(LIBTORCH, finding.breaks(Break::Builds));
        }
        if let Some(why) = &torch.untold {
            said.open(LIBTORCH, format!("whether `import torch` works: {why}"), Break::Builds);
        }
    }
    needs_compiler(script, said);
}

/// A LibTorch in a folder that is named.
fn named(script: &Script<'_>, wanted: &str, found: &LibTorch, mismatch: &Mismatch<'_>, said: &mut Said) {
    let folder = &found.folder;
    let variables = ["LIBTORCH", "LIBTORCH_INCLUDE", "LIBTORCH_LIB"].map(|name| script.env(name).map(|(_, it)| it));
    let finding = |title: String| script.finding(title).because_all(variables.iter().flatten().cloned());
    if let Some(version) = &found.version
        && !mismatch(version, Evidence::file(format!("{folder}/build-version"), version), said)
    {
        return;
    }
    if !found.headers {
        let title = if folder.is_empty() {
            format!("LIBTORCH is set and empty, so that {} looks in its own folder", script.title())
        } else if folder.starts_with('/') {
            format!("LIBTORCH is {folder}, where {} finds no headers of LibTorch", script.title())
        } else {
            format!("LIBTORCH is {folder}, and {} looks for that in its own folder", script.title())
        };
        let finding = finding(title).because(Evidence::file(format!("{folder}/include"), "no headers of LibTorch"));
        let finding = finding.help(format!(
            "unpack LibTorch {wanted} and name its folder, the one with include and lib, from the root on"
        ));
        return said.find(LIBTORCH, finding.breaks(Break::Builds));
    }
    match &found.header {
        Some(header) if header.value == wanted => {}
        // Without `build-version` nothing compares, and the compiler has the last word.
        Some(header) if found.version.is_none() => {
            let title = format!("{} is made for PyTorch {wanted}, and {folder} is of {}", script.title(), header.value);
            let finding = finding(title).because(header.evidence.clone());
            let finding = finding.help(format!("install PyTorch (or LibTorch) {wanted}"));
            said.find(LIBTORCH, finding.at(Level::Warn));
            let missing = format!("whether {} compiles against PyTorch {}", script.title(), header.value);
            said.open(LIBTORCH, missing, Break::Builds);
        }
        Some(_) => {}
        None => said.open(LIBTORCH, format!("the version of the LibTorch in {folder}"), Break::Builds),
    }
    let linked_statically =
        script.env("LIBTORCH_STATIC").is_some_and(|(value, _)| !matches!(value, "0" | "false" | "FALSE"));
    if linked_statically {
        said.open(LIBTORCH, format!("whether {folder} has static libraries"), Break::Builds);
    } else if !found.library {
        let title = format!("{} links libtorch.so, which {folder} does not have", script.title());
        let finding = finding(title).because(Evidence::file(format!("{folder}/lib/libtorch.so"), "not there"));
        let finding = finding.help("name the folder that has include and lib; LIBTORCH_LIB names it for lib alone");
        script.does_not_link(LIBTORCH, finding, said);
    }
    let abi = script.env("LIBTORCH_CXX11_ABI");
    let (value, asked) = abi.map_or(("1", None), |(value, evidence)| (value, Some(evidence)));
    match &found.cxx11_abi {
        Some(made) if made.value != value => {
            let title = format!(
                "{} compiles for the C++ ABI {value}, and the LibTorch in {folder} is made for {}",
                script.title(),
                made.value
            );
            let finding = finding(title).because_all(asked).because(made.evidence.clone());
            let finding = finding
                .so("names of functions that take a std::string differ between the two, so that the linker does not find them")
                .run("compile for the ABI of that LibTorch", format!("export LIBTORCH_CXX11_ABI={}", made.value));
            script.does_not_link(LIBTORCH, finding, said);
        }
        // From PyTorch 2.7 on its CMake files say nothing, since there is one ABI only.
        None if value != "1" => {
            said.open(LIBTORCH, format!("for which C++ ABI the LibTorch in {folder} is made"), Break::Builds);
        }
        _ => {}
    }
    needs_compiler(script, said);
}

/// Its glue is C++ and is compiled in every build.
fn needs_compiler(script: &Script<'_>, said: &mut Said) {
    if script.build().is_some_and(|build| build.cxx.is_none()) {
        said.open(LIBTORCH, format!("which C++ compiler {} uses: no c++ is on PATH", script.title()), Break::Builds);
    }
}
