//! cust, `cust_raw` and `find_cuda_helper`: the folder of libraries that the last one looks for, and stops without.

use super::{IGNORES, MISSING, Said, Script, UNSUPPORTED};
use crate::facts::Evidence;
use crate::finding::{Break, Level};

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
    let reads: &[&str] = if script.version() < (0, 2, 0) { OLD_FOLDERS } else { &["CUDA_LIBRARY_PATH"] };
    let named: Vec<&str> =
        reads.iter().filter_map(|name| script.env(name)).flat_map(|(value, _)| value.split(':')).collect();
    if script.version() < (0, 2, 0) {
        // Which folder below the toolkit is taken differs between its releases.
        return said.open(UNSUPPORTED, format!("which folder of libraries {} takes", script.title()), Break::Builds);
    }
    let numbered =
        build.places.iter().map(|place| place.folder.as_str()).filter(|it| it.starts_with("/usr/local/cuda-"));
    let folders = named.into_iter().chain(["/opt/cuda", "/usr/local/cuda"]).chain(numbered);
    let found: Vec<_> = folders.filter_map(|it| script.place(it)).filter(|it| it.lib64 || it.target_header).collect();
    if found.is_empty() {
        let title = format!(
            "{} finds no CUDA toolkit: no lib64 and no targets/x86_64-linux in the folders at which it looks",
            script.title()
        );
        let set = script.env("CUDA_LIBRARY_PATH").filter(|_| reads == ["CUDA_LIBRARY_PATH"]);
        let finding = script.finding(title).because_all(set.clone().map(|(_, evidence)| evidence));
        let finding = finding.because(Evidence::file("/usr/local/cuda", "no lib64"));
        if let Some((folder, _)) = set {
            said.looked(MISSING);
            let help = format!(
                "name a folder in CUDA_LIBRARY_PATH that has lib64, with include/cuda.h beside it; {folder} has none"
            );
            return said.find(MISSING, finding.help(help).at(Level::Deny).breaks(Break::Builds));
        }
        let ignored = script.ignored_variable(reads);
        let (rule, finding) = match ignored {
            Some((variable, toolkit)) => (
                IGNORES,
                finding.because(Evidence::env(variable, &toolkit.path)).run(
                    format!("{variable} is not read by it; name the toolkit so"),
                    format!("export CUDA_LIBRARY_PATH={}", toolkit.path),
                ),
            ),
            None => match script.other_toolkit() {
                Some(toolkit) => (
                    MISSING,
                    finding.run("name the toolkit that is here", format!("export CUDA_LIBRARY_PATH={}", toolkit.path)),
                ),
                None => (
                    MISSING,
                    finding.help(
                        "install a CUDA toolkit; CUDA_LIBRARY_PATH names its folder where it is not /usr/local/cuda",
                    ),
                ),
            },
        };
        said.looked(rule);
        return said.find(rule, finding.at(Level::Deny).breaks(Break::Builds));
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
