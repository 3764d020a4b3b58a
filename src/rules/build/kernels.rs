//! `bindgen_cuda`, cudaforge, and the build scripts of candle-kernels: they run nvcc, and ask nvidia-smi for the GPU.

use super::{DRIVER, IGNORES, MISSING, NEEDS_GPU, Nvcc, Said, Script, minor, release};
use crate::facts::{Evidence, Toolkit};
use crate::finding::{Break, Level};
use crate::version::Dotted;

/// Variables of `bindgen_cuda` (and cudarc before it) that name a folder, in their order.
const FOLDERS: &[&str] = &["CUDA_PATH", "CUDA_ROOT", "CUDA_TOOLKIT_ROOT_DIR", "CUDNN_LIB"];
/// Where `bindgen_cuda` looks without them.
const PLACES: &[&str] = &["/usr", "/usr/local/cuda", "/opt/cuda", "/usr/lib/cuda"];
/// Where cudaforge looks for nvcc after PATH and `CUDA_HOME`.
const FORGE_PLACES: &[&str] = &["/usr/local/cuda", "/opt/cuda", "/usr/lib/cuda", "/usr"];

/// candle-kernels hands on to one of the two from 0.3.3 on; before, it had a copy of the first.
pub(super) fn candle(script: &Script<'_>, said: &mut Said) {
    if script.version() < (0, 3, 3) {
        follow(script, said);
    }
}

pub(super) fn follow(script: &Script<'_>, said: &mut Said) {
    for rule in [NEEDS_GPU, MISSING, DRIVER] {
        said.looked(rule);
    }
    if script.row.is_none() {
        let missing = format!("what {} asks for: that release was not read", script.title());
        return said.open(NEEDS_GPU, missing, Break::Builds);
    }
    let forge = script.it.name == "cudaforge";
    // cudaforge looks for nvcc first, and bindgen_cuda asks for the GPU first: the build stops at the first of them.
    let toolkit = if forge {
        let (toolkit, missing) = forge_nvcc(script, said);
        if !missing {
            compute(script, forge, said);
        }
        toolkit
    } else {
        compute(script, forge, said);
        bindgen_nvcc(script, said)
    };
    if let Some(toolkit) = toolkit {
        driver(script, toolkit, said);
    }
}

/// The GPU for which is compiled.
fn compute(script: &Script<'_>, forge: bool, said: &mut Said) {
    if let Some((text, evidence)) = script.env("CUDA_COMPUTE_CAP") {
        let plain = |text: &str| text.parse::<u32>().is_ok();
        let fine = if forge {
            let text = text.trim().to_lowercase();
            let text = text.strip_prefix("sm_").unwrap_or(&text);
            plain(text.strip_suffix(['a', 'f']).unwrap_or(text))
        } else {
            plain(text)
        };
        if fine {
            compiled_for(script, text, said);
        } else {
            let title =
                format!("CUDA_COMPUTE_CAP is {text}, which {} does not read as a number such as 86", script.title());
            let digits: String = text.chars().filter(char::is_ascii_digit).collect();
            let finding = script.finding(title).because(evidence).at(Level::Deny).breaks(Break::Builds);
            said.find(
                IGNORES,
                if digits.is_empty() {
                    finding
                } else {
                    finding.run("write it without a dot", format!("export CUDA_COMPUTE_CAP={digits}"))
                },
            );
        }
        return;
    }
    let cx = script.cx;
    let (asked, gpu_known) = (
        script.build().and_then(|build| build.nvidia_smi.as_ref()),
        cx.view.gpus.first().and_then(|gpu| gpu.compute.clone()),
    );
    if script.build().is_none() {
        return said.open(NEEDS_GPU, "whether nvidia-smi is on PATH".to_owned(), Break::Builds);
    }
    let title = match asked {
        None => format!("{} asks nvidia-smi for which GPU to compile, and it is not on PATH", script.title()),
        // What is assumed of a GPU or a driver does not answer nvidia-smi.
        Some(_) if cx.facts.pci.is_empty() && cx.facts.driver.gpus.is_empty() && !cx.view.is_wsl() => {
            format!("{} asks nvidia-smi for which GPU to compile, and there is none here", script.title())
        }
        Some(_) if !cx.view.is_wsl() && cx.facts.driver.loaded.value() == Some(&false) => {
            format!("{} asks nvidia-smi for which GPU to compile, and the driver is not loaded", script.title())
        }
        Some(_) => return,
    };
    let cap = gpu_known.map_or_else(|| "86".to_owned(), |compute| format!("{}{}", compute.major(), compute.minor()));
    let finding = script
        .finding(title)
        .because(Evidence::env("CUDA_COMPUTE_CAP", "not set"))
        .because(match asked {
            Some(path) => Evidence::file(path, "is there, and has no GPU to report"),
            None => Evidence::env("PATH", "no folder of it has nvidia-smi"),
        })
        .run("say for which compute capability to compile (8.6 is 86)", format!("export CUDA_COMPUTE_CAP={cap}"));
    said.find(NEEDS_GPU, finding.breaks(Break::Builds));
}

/// Whether what is compiled for one compute capability runs on a GPU that is here: on that one and newer ones.
fn compiled_for(script: &Script<'_>, text: &str, said: &mut Said) {
    said.looked(NEEDS_GPU);
    let lower = text.trim().to_lowercase();
    // `90a` is for 9.0 alone, `120f` for its family.
    let (alone, family) = (lower.ends_with('a'), lower.ends_with('f'));
    let Some(target) = crate::probe::compute_capability(&lower) else { return };
    let runs = |compute: &Dotted| match (alone, family) {
        (true, _) => *compute == target,
        (_, true) => compute.major() == target.major() && *compute >= target,
        _ => *compute >= target,
    };
    let gpus = &script.cx.view.gpus;
    let Some(compute) = gpus.first().and_then(|gpu| gpu.compute.as_ref()) else { return };
    // Where one of several runs it, or is not known, that is the one to choose.
    if gpus.iter().any(|gpu| gpu.compute.as_ref().is_none_or(runs)) {
        return;
    }
    let Some((_, evidence)) = script.env("CUDA_COMPUTE_CAP") else { return };
    let title = format!("{} compiles for compute capability {target}, and the GPU here is {compute}", script.title());
    let finding = script
        .finding(title)
        .because(evidence)
        .because_all(gpus.first().map(|gpu| gpu.evidence.clone()))
        .so("on this GPU its kernels do not load; where another machine is to run them, all is well")
        .run("compile for this GPU", format!("export CUDA_COMPUTE_CAP={}{}", compute.major(), compute.minor()))
        .at(Level::Warn);
    said.find(NEEDS_GPU, finding.breaks(Break::Runs));
}

/// `bindgen_cuda` takes nvcc from PATH and headers from a list of folders.
fn bindgen_nvcc<'c>(script: &Script<'c>, said: &mut Said) -> Option<&'c Toolkit> {
    let toolkit = match script.nvcc() {
        Nvcc::There { toolkit, .. } => {
            // Where it reads a variable and that leads elsewhere, the rule about selectors speaks.
            script.warn_of_ignored(toolkit, FOLDERS, "export PATH={}/bin:$PATH", said);
            toolkit
        }
        Nvcc::Unknown => {
            said.open(MISSING, "which nvcc is on PATH".to_owned(), Break::Builds);
            return None;
        }
        Nvcc::Missing => {
            let (rule, finding) = script.no_nvcc("on PATH", &[]);
            said.looked(rule);
            said.find(rule, finding);
            return None;
        }
    };
    let named = FOLDERS.iter().filter_map(|name| script.env(name)).map(|(value, _)| value);
    let found = named.chain(PLACES.iter().copied()).find(|folder| script.place(folder).is_some_and(|it| it.has_header));
    if found.is_none() && script.build().is_some() {
        let title = format!("{} finds include/cuda.h in none of the folders at which it looks", script.title());
        let ignored = script.ignored_variable(FOLDERS);
        let mut finding = script.finding(title).because(Evidence::file(PLACES[1], "no include/cuda.h"));
        if let Some((variable, named)) = ignored {
            finding = finding
                .because(Evidence::env(variable, &named.path))
                .help(format!("{variable} is set, and {} does not read it", script.title()));
        }
        let folder = ignored.map(|(_, toolkit)| toolkit).or(toolkit).map_or("/usr/local/cuda", |toolkit| &toolkit.path);
        let finding = finding
            .run("name the toolkit in a variable that it reads", format!("export CUDA_PATH={folder}"))
            .breaks(Break::Builds);
        let rule = if ignored.is_some() { IGNORES } else { MISSING };
        said.looked(rule);
        said.find(rule, finding.at(Level::Deny));
    }
    toolkit
}

/// cudaforge takes NVCC, then PATH, then `CUDA_HOME`, then the usual places; and whether nvcc is certainly in none.
fn forge_nvcc<'c>(script: &Script<'c>, said: &mut Said) -> (Option<&'c Toolkit>, bool) {
    let facts = script.cx.facts;
    let by_name = |name: &str| {
        let selector = facts.selectors.iter().find(|selector| selector.name == name)?;
        let real = selector.toolkit.as_ref()?;
        facts.toolkits.iter().find(|toolkit| toolkit.real == *real)
    };
    if script.env("NVCC").is_some()
        && let Some(toolkit) = by_name("NVCC")
    {
        return (Some(toolkit), false);
    }
    match script.nvcc() {
        Nvcc::There { toolkit, .. } => {
            script.warn_of_ignored(toolkit, &["NVCC"], "export NVCC={}/bin/nvcc", said);
            return (toolkit, false);
        }
        Nvcc::Unknown => {
            said.open(MISSING, "which nvcc is on PATH".to_owned(), Break::Builds);
            return (None, false);
        }
        Nvcc::Missing => {}
    }
    let home = script.env("CUDA_HOME").map(|(value, _)| value);
    let folder =
        home.into_iter().chain(FORGE_PLACES.iter().copied()).find(|it| script.place(it).is_some_and(|it| it.nvcc));
    if let Some(folder) = folder {
        let there = facts.toolkits.iter().find(|it| it.path == folder.trim_end_matches('/') || it.real == folder);
        return (there, false);
    }
    let (rule, finding) =
        script.no_nvcc("by NVCC, on PATH, in CUDA_HOME or in the usual places", &["NVCC", "CUDA_HOME"]);
    said.looked(rule);
    said.find(rule, finding);
    (None, true)
}

/// Kernels are kept as PTX, which a driver older than nvcc does not take; and the runtime has a floor.
fn driver(script: &Script<'_>, toolkit: &Toolkit, said: &mut Said) {
    let Some((cuda, evidence)) = release(Some(toolkit)) else {
        return said.open(DRIVER, format!("the release of the toolkit in {}", toolkit.path), Break::Runs);
    };
    let Some((reports, row)) = script.cx.view.driver_cuda() else { return };
    if minor(&reports) >= cuda {
        return;
    }
    let title = format!("kernels are compiled by CUDA {cuda} to PTX, and the driver takes PTX up to CUDA {reports}");
    let mut finding = script.finding(title).because(evidence).breaks(Break::Runs);
    finding = finding.because_all(script.cx.view.driver().map(|(_, evidence)| evidence.clone()));
    if let Some(row) = row {
        finding = finding.row(Some(row));
    }
    let needs =
        script.cx.db.driver_rows().iter().filter(|row| minor(&row.reports_cuda) >= cuda).map(|row| &row.branch).min();
    finding = finding
        .help(format!("build with a toolkit of CUDA {} or older", Dotted::new(&[reports.major(), reports.minor()])));
    if let Some(branch) = needs {
        finding = finding.help(format!("or install a driver of branch {branch} or newer"));
    }
    said.find(DRIVER, finding.so("loading a kernel fails with CUDA_ERROR_UNSUPPORTED_PTX_VERSION (222)"));
}
