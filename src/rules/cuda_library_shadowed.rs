//! Rule `cuda-library-shadowed`: a wrong copy of a CUDA library wins the search over the right one.

use super::{Cx, Family, Rule, layer};
use crate::facts::{Evidence, Library, Unresolved, Via};
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::shell;
use crate::version::Dotted;
use crate::view::{EnvView, lower_bound};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "cuda-library-shadowed",
    family: Family::Cuda,
    level: Level::Deny,
    layer: layer::LOADER + 1,
    summary: "A wrong copy of a CUDA library wins the search over the right one",
    docs: r"### What it means

Several files carry the name that TensorFlow opens, and the one that the loader meets first belongs to another CUDA major, lacks the libraries it needs in turn, or is older than what TensorFlow was built for. CUDA 11 and 12 even share sonames such as `libcusolver.so.11`.

### Why it matters

`LD_LIBRARY_PATH` is searched before the folders that the wheel names itself, so a toolkit of long ago can break a complete installation. The GPU vanishes, or operations fail with missing symbols.

### How to fix it

Take the folder of the wrong copy off the path that is named in the evidence. A copy of the same major that is equal or newer is fine and is not reported.",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    for env in cx.view.envs().filter(EnvView::wants_cuda) {
        for name in env.wanted().iter().filter(|name| !name.starts_with("libcudnn.")) {
            let Some((resolution, library)) =
                env.resolution(name).and_then(|resolution| Some((resolution, resolution.file.value()?)))
            else {
                continue;
            };
            out.applies();
            if let Some(unresolved) = library.unresolved.first() {
                out.find(foreign_part(cx, &env, name, library, unresolved));
                break;
            }
            let Some((why, breaks)) = fault(&env, name, library, !resolution.others.is_empty()) else { continue };
            let mut finding = Finding::new(Subject::Env(env.index), format!("the wrong {name} wins: {}", library.path))
                .because(library.evidence(name))
                .because(Evidence::file(&library.path, why));
            if let Some(other) = resolution.others.first() {
                let version = other.version.as_ref().map_or(String::new(), |version| format!(" {}", version.value));
                finding = finding.because(Evidence::file(&other.path, format!("the copy{version} that loses")));
            }
            finding = finding.row(env.tf_row_ref()).breaks(breaks);
            out.find(way_out(finding, library));
            // The same folder shadows its neighbours too: one finding is enough.
            break;
        }
    }
}

/// A library whose neighbour comes from another release and lacks what it asks for.
fn foreign_part(cx: &Cx<'_>, env: &EnvView<'_, '_>, name: &str, library: &Library, lacking: &Unresolved) -> Finding {
    let short = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    let owner = lacking.owner.as_ref().map_or(String::new(), |owner| format!(" ({owner})"));
    let finding = Finding::new(
        Subject::Env(env.index),
        format!("the {} that wins is from another release: {} does not open with it", lacking.of, short(&lacking.by)),
    )
    .because(Evidence::loader(
        &lacking.by,
        format!("asks {} for the symbol {}, which the file that wins does not have", lacking.of, lacking.symbol),
    ))
    .because(Evidence::loader(&lacking.of, format!("{}{owner} is loaded under that name", lacking.file)))
    .because_all(library.owner.iter().map(|owner| Evidence::loader(name, format!("{} ({owner})", library.path))))
    .row(env.tf_row_ref())
    .breaks(Break::TfSees)
    .so(format!("TensorFlow opens {name} with all its symbols at once, cannot, and lists no GPU"));
    if let Some(entry) = &lacking.entry {
        return finding.run(format!("take `{entry}` off LD_LIBRARY_PATH"), shell::without_entry(entry));
    }
    let name = env.tf_dist().map_or("tensorflow", |dist| dist.name.as_str());
    let wanted = env.with_cuda(name, env.tf_version_text()).filter(|_| !env.is_own_build());
    match (&lacking.owner, wanted) {
        (Some(_), Some((wanted, why))) => why.into_iter().fold(finding, Finding::so).run(
            "install the CUDA libraries that this release asks for, of one release",
            cx.view.install(env.env, &format!("--upgrade {wanted}")),
        ),
        _ => finding.help(format!("give {} the copy of {} that it was made with", short(&lacking.by), lacking.of)),
    }
}

/// What is wrong with the file that wins, and which verdict that breaks.
fn fault(env: &EnvView<'_, '_>, name: &str, library: &Library, has_rival: bool) -> Option<(String, Break)> {
    // Where no other copy is there, nothing is shadowed: the library that it needs is missing, which is another rule's.
    if let Some(missing) = library.missing.first().filter(|_| has_rival) {
        return Some((format!("{} needs {}, which nothing provides", missing.by, missing.name), Break::TfSees));
    }
    let wanted = env.cuda_major()?;
    // libcublas carries the toolkit's major in its soname; what a library needs tells where it comes from.
    let foreign = library
        .needed
        .iter()
        .filter_map(|needed| needed.strip_prefix("libcublas.so.").or_else(|| needed.strip_prefix("libcublasLt.so.")))
        .filter_map(|major| major.parse::<u32>().ok())
        .find(|&major| major != wanted);
    if let Some(major) = foreign {
        return Some((format!("made for CUDA {major}: it needs libcublas.so.{major}"), Break::TfRuns));
    }
    if !has_rival {
        return None;
    }
    let floor = floor(env, name)?;
    let version = library.version.as_ref().filter(|version| version.value < floor)?;
    Some((format!("version {}; TensorFlow was built for {floor} or newer", version.value), Break::TfRuns))
}

/// The oldest version of a library that TensorFlow's own requirements allow.
fn floor(env: &EnvView<'_, '_>, name: &str) -> Option<Dotted> {
    let package = match name.split(".so.").next()? {
        "libcudart" => "nvidia-cuda-runtime-cu",
        "libcublas" | "libcublasLt" => "nvidia-cublas-cu",
        "libcufft" => "nvidia-cufft-cu",
        "libcusolver" => "nvidia-cusolver-cu",
        "libcusparse" => "nvidia-cusparse-cu",
        _ => return None,
    };
    env.requirements()
        .find(|requirement| requirement.name.starts_with(package))
        .and_then(|requirement| lower_bound(&requirement.specifier))
}

/// How to get the winner out of the way.
fn way_out(finding: Finding, library: &Library) -> Finding {
    match &library.via {
        Via::LibraryPath { entry } => {
            finding.run(format!("take `{entry}` off LD_LIBRARY_PATH"), shell::without_entry(entry))
        }
        Via::AlreadyLoaded { by } => finding.help(format!("take {by} out of LD_PRELOAD")),
        _ => finding.help(format!("remove {} or the package that brought it, then run ldconfig", library.path)),
    }
}
