//! cust, `cust_raw` and `find_cuda_helper`: the folder of libraries that the last one looks for, and stops without.

use super::{IGNORES, MISSING, Said, Script, UNSUPPORTED};
use crate::facts::{BuildSystem, Evidence};
use crate::finding::{Break, Finding, Level};

/// Variables of `find_cuda_helper` 0.1 that name a toolkit.
const OLD_FOLDERS: &[&str] = &["CUDA_PATH", "CUDA_ROOT", "CUDA_TOOLKIT_ROOT_DIR"];

/// cust and `cust_raw` call `find_cuda_helper` and do nothing else.
pub(super) fn follow(script: &Script<'_>, said: &mut Said) {
    if script.it.name != "find_cuda_helper" || script.env("DOCS_RS").is_some() {
        return;
    }
    for rule in [MISSING, UNSUPPORTED] {
        said.looked(rule);
    }
    if script.row.is_none() {
        return said.open(
            UNSUPPORTED,
            format!("what {} looks for: that release was not read", script.title()),
            Break::Builds,
        );
    }
    let Some(build) = script.build() else {
        return said.open(UNSUPPORTED, "where the libraries of CUDA are".to_owned(), Break::Builds);
    };
    if script.version() < (0, 2, 0) {
        return before_0_2(script, build, said);
    }
    let set = script.env("CUDA_LIBRARY_PATH");
    let named = set.iter().flat_map(|(value, _)| value.split(':'));
    let numbered =
        build.places.iter().map(|place| place.folder.as_str()).filter(|it| it.starts_with("/usr/local/cuda-"));
    let folders = named.chain(["/opt/cuda", "/usr/local/cuda"]).chain(numbered);
    let found: Vec<_> = folders.filter_map(|it| script.place(it)).filter(|it| it.lib64 || it.target_header).collect();
    if found.is_empty() {
        let title = format!(
            "{} finds no CUDA toolkit: no lib64 and no targets/x86_64-linux in the folders at which it looks",
            script.title()
        );
        let finding = script.finding(title).because_all(set.clone().map(|(_, evidence)| evidence));
        let finding = finding.because(Evidence::file("/usr/local/cuda", "no lib64"));
        if let Some((folder, _)) = set {
            said.looked(MISSING);
            let help = format!(
                "name a folder in CUDA_LIBRARY_PATH that has lib64, with include/cuda.h beside it; {folder} has none"
            );
            return said.find(MISSING, finding.help(help).at(Level::Deny).breaks(Break::Builds));
        }
        return none_found(script, finding, &["CUDA_LIBRARY_PATH"], "CUDA_LIBRARY_PATH", said);
    }
    let linked = found.iter().any(|place| place.libraries.contains_key("libcuda.so"));
    let system = script.place("/usr").is_some_and(|place| place.libraries.contains_key("libcuda.so"));
    if !linked && !system && script.project.links != Some(false) {
        said.open(
            UNSUPPORTED,
            "whether the linker finds libcuda.so: it is in no folder that find_cuda_helper names".to_owned(),
            Break::Builds,
        );
    }
}

/// Releases 0.1: the first folder with `include/cuda.h`, and `lib64` of that one.
fn before_0_2(script: &Script<'_>, build: &BuildSystem, said: &mut Said) {
    let named = OLD_FOLDERS.iter().filter_map(|name| script.env(name)).map(|(value, _)| value);
    let mut folders = named.chain(["/usr/local/cuda", "/opt/cuda"]);
    let Some(root) = folders.find_map(|it| script.place(it).filter(|place| place.has_header)) else {
        let title = format!("{} finds no CUDA toolkit: no include/cuda.h where it looks", script.title());
        let finding = script.finding(title).because(Evidence::file("/usr/local/cuda/include/cuda.h", "not there"));
        return none_found(script, finding, OLD_FOLDERS, "CUDA_PATH", said);
    };
    if !root.lib64 {
        let title = format!("{} takes the toolkit in {}, which has no lib64", script.title(), root.folder);
        let finding = script.finding(title).because(Evidence::file(format!("{}/lib64", root.folder), "not there"));
        let finding =
            finding.help("name a toolkit that has it in CUDA_PATH, or make it a link to its folder of libraries");
        return said.find(UNSUPPORTED, finding.breaks(Break::Builds));
    }
    // It names no folder of stubs to the linker.
    let real = |folder: &String| !folder.ends_with("/stubs");
    let linked = [Some(root), build.places.iter().find(|place| place.folder == "/usr")];
    let linked = linked.into_iter().flatten().any(|place| place.libraries.get("libcuda.so").is_some_and(real));
    if !linked && script.project.links != Some(false) {
        let missing = format!("whether the linker finds libcuda.so: it is not in {}/lib64", root.folder);
        said.open(UNSUPPORTED, missing, Break::Builds);
    }
}

/// What is said where it finds no toolkit: another variable names one, one lies elsewhere, or there is none.
fn none_found(script: &Script<'_>, finding: Finding, reads: &[&str], variable: &str, said: &mut Said) {
    let (rule, finding) = if let Some((ignored, toolkit)) = script.ignored_variable(reads) {
        let command = format!("export {variable}={}", toolkit.path);
        let finding = finding.because(Evidence::env(ignored, &toolkit.path));
        (IGNORES, finding.run(format!("{ignored} is not read by it; name the toolkit so"), command))
    } else if let Some(toolkit) = script.other_toolkit() {
        (MISSING, finding.run("name the toolkit that is here", format!("export {variable}={}", toolkit.path)))
    } else {
        let help = format!("install a CUDA toolkit; {variable} names its folder where it is not /usr/local/cuda");
        (MISSING, finding.help(help))
    };
    said.looked(rule);
    said.find(rule, finding.at(Level::Deny).breaks(Break::Builds));
}
