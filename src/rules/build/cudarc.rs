//! cudarc: which CUDA its build script settles on, what it then links, and which driver its bindings need.

use super::{CUDNN, DRIVER, MISSING, Nvcc, STUB, Said, Script, UNSUPPORTED, minor, release};
use crate::facts::{Evidence, LibcudaKind, SearchFolder};
use crate::finding::{Break, Finding};
use crate::shell;
use crate::version::Dotted;

/// The variables that name a folder, in the order in which they are read.
const FOLDERS: &[&str] = &["CUDA_HOME", "CUDA_PATH", "CUDA_ROOT", "CUDA_TOOLKIT_ROOT_DIR", "CUDNN_LIB"];
/// Where it looks without them.
const PLACES: &[&str] = &["/usr", "/usr/local/cuda", "/opt/cuda", "/usr/lib/cuda"];
/// CUDA releases whose `libcuda` has functions that the one before lacks, by the features that guard them in cudarc's
/// `driver/sys/mod.rs` (0.16.4, 0.17.3, 0.18.2 and 0.19.4 say the same).
const NEW_SYMBOLS: &[(u32, u32)] = &[
    (11, 4),
    (11, 6),
    (11, 7),
    (11, 8),
    (12, 0),
    (12, 1),
    (12, 2),
    (12, 3),
    (12, 4),
    (12, 5),
    (12, 8),
    (12, 9),
    (13, 0),
    (13, 1),
    (13, 2),
];
/// The cuDNN releases that cudarc 0.19.5 and newer have bindings for.
const CUDNN_KNOWN: &[&str] = &["8.9", "9.10", "9.21"];

pub(super) fn follow(script: &Script<'_>, said: &mut Said) {
    for rule in [UNSUPPORTED, DRIVER, MISSING] {
        said.looked(rule);
    }
    if script.row.is_none() {
        let missing = format!("what the build script of {} asks for: that release was not read", script.title());
        said.open(UNSUPPORTED, missing.clone(), Break::Builds);
        return said.open(DRIVER, missing, Break::Runs);
    }
    if script.version() < (0, 11, 0) {
        return before_features(script, said);
    }
    if linking_conflicts(script, said) {
        return;
    }
    let Some(chosen) = choose(script, said) else { return };
    link(script, said);
    cudnn(script, said);
    stub(script, said);
    driver(script, &chosen, said);
}

/// 0.9.15 and 0.10.0 stop without `include/cuda.h` and link what they find beside it.
fn before_features(script: &Script<'_>, said: &mut Said) {
    if script.has("ci-check") == Some(true) {
        return;
    }
    match header(script) {
        Some(_) => said.open(UNSUPPORTED, format!("whether what {} links is there", script.title()), Break::Builds),
        None if script.build().is_some() => {
            said.find(UNSUPPORTED, no_header(script).breaks(Break::Builds));
        }
        None => said.open(UNSUPPORTED, "where include/cuda.h is".to_owned(), Break::Builds),
    }
}

/// The folders at which releases that read headers look, the variables first.
fn roots(script: &Script<'_>) -> Vec<String> {
    let reads = script.row.map(|row| row.env.as_slice()).unwrap_or_default();
    let named = FOLDERS.iter().filter(|name| reads.iter().any(|read| read == *name));
    let values = named.filter_map(|name| script.env(name)).map(|(value, _)| value.to_owned());
    values.chain(PLACES.iter().map(|place| (*place).to_owned())).collect()
}

/// The first `include/cuda.h`, with the CUDA that it states.
fn header(script: &Script<'_>) -> Option<(Option<Dotted>, Evidence)> {
    roots(script).iter().find_map(|folder| {
        let place = script.place(folder).filter(|place| place.has_header)?;
        Some(match &place.header {
            Some(reading) => (Some(minor(&reading.value)), reading.evidence.clone()),
            None => (None, Evidence::file(format!("{}/include/cuda.h", place.folder), "states no version")),
        })
    })
}

fn no_header(script: &Script<'_>) -> Finding {
    let title = format!("{} finds include/cuda.h in none of the folders at which it looks", script.title());
    let finding = script.finding(title).because(Evidence::file(PLACES[1], "no include/cuda.h"));
    match script.other_toolkit() {
        Some(toolkit) => finding.run("name the toolkit that is here", format!("export CUDA_PATH={}", toolkit.path)),
        None => finding.help("install a CUDA toolkit; CUDA_PATH names its folder where it is not /usr/local/cuda"),
    }
}

/// Features that stop the build script whatever is installed.
fn linking_conflicts(script: &Script<'_>, said: &mut Said) -> bool {
    if script.version() < (0, 15, 0) {
        return false;
    }
    let on: Vec<&str> = ["dynamic-loading", "dynamic-linking", "static-linking"]
        .into_iter()
        .filter(|name| script.has(name) == Some(true))
        .collect();
    // Default features are named, not spelt out, where Cargo did not resolve them.
    let default = script.has("default") == Some(true);
    let fallback = script.version() >= (0, 19, 0) && (script.has("fallback-dynamic-loading") == Some(true) || default);
    let loads = default && script.version() < (0, 19, 0) && !on.contains(&"dynamic-loading");
    let count = on.len() + usize::from(loads);
    if count == 1 || count == 0 && fallback || !script.it.all_features && count < 2 {
        return false;
    }
    let title = if count == 0 {
        format!("{} is built with none of dynamic-loading, dynamic-linking and static-linking", script.title())
    } else {
        let with =
            if loads { format!("dynamic-loading (its default) and {}", on.join(", ")) } else { on.join(" and ") };
        format!("{} is built with {with}, of which it takes one only", script.title())
    };
    let help = if count == 0 {
        "name one of them in the manifest: features = [\"dynamic-loading\"]"
    } else {
        "turn default features off where linking is wanted: default-features = false"
    };
    said.find(UNSUPPORTED, script.finding(title).help(help).breaks(Break::Builds));
    true
}

/// The CUDA that the build script settles on; `None` where it fails or that is open.
fn choose(script: &Script<'_>, said: &mut Said) -> Option<Dotted> {
    let row = script.row?;
    let known = |version: &Dotted| row.cuda_features.iter().any(|one| minor(one) == *version);
    if script.version() >= (0, 16, 5)
        && let Some((text, evidence)) = script.env("CUDARC_CUDA_VERSION")
    {
        let named = row.cuda_features.iter().find(|one| code(one) == text);
        if named.is_none() {
            let said_so = if text.is_empty() { "empty" } else { text };
            let title = format!("CUDARC_CUDA_VERSION is {said_so}, for which {} has no bindings", script.title());
            let finding = script.finding(title).because(evidence);
            let finding = match row.cuda_features.last() {
                Some(last) => finding.run(
                    format!("name a CUDA that it knows; {last} is the newest"),
                    format!("export CUDARC_CUDA_VERSION={}", code(last)),
                ),
                None => finding,
            };
            said.find(UNSUPPORTED, finding.breaks(Break::Builds));
        }
        return named.map(minor);
    }
    let by_feature = row.cuda_features.iter().rev().find(|one| {
        let name = format!("cuda-{}", code(one));
        script.it.features.contains(&name)
    });
    // 0.11.0 to 0.11.3 read the header beside a feature that names a version, too.
    let reads_header = script.version() < (0, 11, 4);
    let asks = script.has("cuda-version-from-build-system");
    if let Some(named) = by_feature
        && !(reads_header && asks != Some(false))
    {
        return Some(minor(named));
    }
    match asks {
        Some(true) => {}
        Some(false) => {
            let title = format!("no feature of {} says for which CUDA it is built", script.title());
            let newest = row.cuda_features.last().map(code).unwrap_or_default();
            let mut finding = script.finding(title).help(format!(
                "name it in the manifest: features = [\"cuda-version-from-build-system\"], or a version, such as \"cuda-{newest}\""
            ));
            if script.version() >= (0, 16, 5) {
                finding = finding.run("or for this build only", format!("export CUDARC_CUDA_VERSION={newest}"));
            }
            said.find(UNSUPPORTED, finding.breaks(Break::Builds));
            return None;
        }
        None => {
            let why = script.project.unresolved.as_deref().unwrap_or("not resolved");
            let missing = format!("for which CUDA {} is built; its features: {why}", script.title());
            said.open(UNSUPPORTED, missing, Break::Builds);
            return None;
        }
    }
    let (found, evidence) = if reads_header {
        match header(script) {
            Some((Some(version), evidence)) => (version, evidence),
            Some((None, _)) => {
                said.open(UNSUPPORTED, "which CUDA include/cuda.h is of".to_owned(), Break::Builds);
                return None;
            }
            None => {
                said.find(MISSING, no_header(script).breaks(Break::Builds));
                return None;
            }
        }
    } else {
        match script.nvcc() {
            Nvcc::There { path, toolkit } => {
                script.warn_of_ignored(toolkit, &["NVCC"], "export PATH={}/bin:$PATH", said);
                let Some(read) = release(toolkit) else {
                    said.open(UNSUPPORTED, format!("the release of {path}"), Break::Builds);
                    return None;
                };
                read
            }
            Nvcc::Unknown => {
                said.open(UNSUPPORTED, "which nvcc is on PATH".to_owned(), Break::Builds);
                return None;
            }
            Nvcc::Missing => {
                let falls_back = script.version() >= (0, 17, 7);
                match script.has("fallback-latest") {
                    Some(true) if falls_back => return row.cuda_features.last().map(minor),
                    None if falls_back => {
                        let why = script.project.unresolved.as_deref().unwrap_or("its features are not resolved");
                        said.open(UNSUPPORTED, format!("whether fallback-latest is on: {why}"), Break::Builds);
                    }
                    _ => said_no_nvcc(script, said),
                }
                return None;
            }
        }
    };
    if known(&found) {
        return Some(found);
    }
    said.find(UNSUPPORTED, unsupported(script, &found, evidence).breaks(Break::Builds));
    None
}

fn said_no_nvcc(script: &Script<'_>, said: &mut Said) {
    // CUDA_HOME and its like say where to link from, not which nvcc is asked.
    let (rule, finding) = script.no_nvcc("on PATH", &[]);
    let newest = script.row.and_then(|row| row.cuda_features.last()).map(code).unwrap_or_default();
    let finding = if script.version() >= (0, 16, 5) {
        finding.run("or say for which CUDA it is built", format!("export CUDARC_CUDA_VERSION={newest}"))
    } else {
        finding.help(format!("or name the version in the manifest: features = [\"cuda-{newest}\"]"))
    };
    said.looked(rule);
    said.find(rule, finding);
}

/// The toolkit is of a release that this cudarc has no bindings for.
fn unsupported(script: &Script<'_>, found: &Dotted, evidence: Evidence) -> Finding {
    let Some(row) = script.row else { return script.finding("") };
    let newest = row.cuda_features.last();
    let oldest = row.cuda_features.first();
    let title = match (oldest, newest) {
        (Some(oldest), Some(newest)) => {
            format!("{} knows CUDA {oldest} to {newest}, and the toolkit is of {found}", script.title())
        }
        _ => format!("{} does not know CUDA {found}", script.title()),
    };
    let mut finding = script.finding(title).because(evidence);
    let rows = script.cx.db.crates().iter().filter(|other| other.name == "cudarc");
    let mut knows = rows.filter(|other| other.cuda_features.iter().any(|one| minor(one) == *found));
    if let Some(first) = knows.next().and_then(crate::db::CrateRow::first) {
        let own = script.version();
        let release = first.release();
        let same = release.first() == Some(&own.0) && release.get(1) == Some(&own.1);
        let newer = (release.first(), release.get(1), release.get(2)) > (Some(&own.0), Some(&own.1), Some(&own.2));
        finding = match (same, newer) {
            (true, true) => finding.run(
                format!("take the first release that knows CUDA {found}"),
                format!("cargo update -p cudarc@{} --precise {first}", script.it.version),
            ),
            (_, true) if script.it.via.len() > 1 => finding.help(format!(
                "cudarc {first} is the first that knows CUDA {found}; a release of {} that asks for it is needed",
                script.it.via[1]
            )),
            (_, true) => finding
                .help(format!("ask for cudarc {first} or newer in the manifest, the first that knows CUDA {found}")),
            _ => finding.help(format!("cudarc {first} still knew CUDA {found}; newer ones do not")),
        };
    } else {
        let rows = || script.cx.db.crates().iter().filter(|other| other.name == "cudarc");
        let oldest = rows().flat_map(|row| &row.cuda_features).min();
        if let Some(oldest) = oldest.filter(|oldest| minor(oldest) > *found) {
            return finding.help(format!(
                "no release of cudarc has bindings for a CUDA as old as {found}: install CUDA {oldest} or newer"
            ));
        }
        let last = rows().flat_map(|row| &row.cuda_features).max().map(ToString::to_string).unwrap_or_default();
        finding = finding.help(format!(
            "no release of cudarc that is known here has bindings for CUDA {found} yet; the newest goes up to {last}"
        ));
    }
    // Bindings of an older release of the same major fit a newer toolkit and driver.
    let below = row
        .cuda_features
        .iter()
        .rev()
        .find(|one| one.major() == found.major() && minor(one) < *found && others_know(script, one));
    if let Some(below) = below {
        finding = if script.version() >= (0, 16, 5) {
            finding.run(
                format!("until then build with its bindings for CUDA {below}, which CUDA {found} serves too"),
                format!("export CUDARC_CUDA_VERSION={}", code(below)),
            )
        } else {
            finding.help(format!(
                "until then name the bindings for CUDA {below} in the manifest: features = [\"cuda-{}\"]",
                code(below)
            ))
        };
    }
    finding
}

/// Whether every other cudarc of the project that reads the variable has these bindings too: one variable is for all.
fn others_know(script: &Script<'_>, cuda: &Dotted) -> bool {
    let others =
        script.project.crates.iter().filter(|it| it.name == "cudarc" && it.built && it.version != script.it.version);
    others.filter(|it| it.features.iter().any(|name| name == "cuda-version-from-build-system")).all(|it| {
        let row = script.cx.db.crate_row(&it.name, &it.version);
        row.is_none_or(|row| row.cuda_features.contains(cuda))
    })
}

/// `12080` for 12.8, as cudarc writes it.
fn code(version: &Dotted) -> String {
    format!("{}0{}0", version.major(), version.minor())
}

/// Whether what is linked lies where the linker is sent.
fn link(script: &Script<'_>, said: &mut Said) {
    let old_default = script.version() < (0, 11, 0);
    if !old_default && script.has("static-linking") == Some(true) {
        return said.open(
            UNSUPPORTED,
            format!("whether the static libraries that {} links are there", script.title()),
            Break::Builds,
        );
    }
    if script.has("dynamic-linking") != Some(true) {
        return;
    }
    if script.version() < (0, 15, 0) && header(script).is_none() && script.build().is_some() {
        return said.find(MISSING, no_header(script).breaks(Break::Builds));
    }
    let features = &script.it.features;
    let on =
        |name: &str| features.iter().any(|feature| feature == name || name == "cudnn" && feature.starts_with("cudnn-"));
    let mut wanted = Vec::new();
    for (feature, libraries) in [
        ("driver", &["libcuda.so"][..]),
        ("nccl", &["libnccl.so"]),
        ("nvrtc", &["libnvrtc.so"]),
        ("curand", &["libcurand.so"]),
        ("cublas", &["libcublas.so", "libcublasLt.so"]),
        ("cublaslt", &["libcublasLt.so"]),
        ("cusparse", &["libcusparse.so"]),
        ("cusolver", &["libcusolver.so"]),
        ("cudnn", &["libcudnn.so"]),
        ("runtime", &["libcudart.so"]),
    ] {
        if on(feature) {
            wanted.extend_from_slice(libraries);
        }
    }
    let mut folders = roots(script);
    if script.version() >= (0, 18, 0) && FOLDERS.iter().any(|name| script.env(name).is_some()) {
        folders.truncate(folders.len() - PLACES.len());
        // The linker has its own folders all the same.
        folders.push("/usr".to_owned());
    }
    let there =
        |name: &&str| folders.iter().filter_map(|it| script.place(it)).any(|it| it.libraries.contains_key(*name));
    wanted.retain(|name| !there(name));
    wanted.dedup();
    if !wanted.is_empty() {
        let missing = format!(
            "whether the linker finds {}, which {} links: not in {}",
            wanted.join(", "),
            script.title(),
            folders.join(", ")
        );
        said.open(UNSUPPORTED, missing, Break::Builds);
    }
}

/// `cudnn-version-from-build-system`, which 0.19.5 brought.
fn cudnn(script: &Script<'_>, said: &mut Said) {
    if script.version() < (0, 19, 5) || script.has("cudnn-version-from-build-system") != Some(true) {
        return;
    }
    said.looked(CUDNN);
    let named = ["CUDA_PATH", "CUDA_HOME", "CUDNN_PATH", "CUTENSOR_PATH"].iter().filter_map(|name| script.env(name));
    let mut folders: Vec<&str> = named.map(|(value, _)| value).collect();
    folders.extend(["/usr/local/cuda", "/usr/local", "/opt/cuda", "/usr"]);
    let falls_back = script.has("fallback-latest") == Some(true);
    match folders.iter().find_map(|folder| script.place(folder)?.cudnn.as_ref()) {
        Some(reading) if CUDNN_KNOWN.contains(&minor(&reading.value).as_str()) || falls_back => {}
        Some(reading) => {
            let title = format!(
                "{} has bindings for cuDNN {}, and the headers are of {}",
                script.title(),
                CUDNN_KNOWN.join(", "),
                reading.value
            );
            let finding = script.finding(title).because(reading.evidence.clone());
            said.find(
                CUDNN,
                finding
                    .help("name the version in the manifest: features = [\"cudnn-09010\"], or add \"fallback-latest\"")
                    .breaks(Break::Builds),
            );
        }
        None if falls_back => {}
        None => {
            let title = format!("{} reads the version of cuDNN from its header, and there is none", script.title());
            let finding = script.finding(title).because(Evidence::file("/usr/include/cudnn_version.h", "not there"));
            said.find(
                CUDNN,
                finding
                    .run("where cuDNN is unpacked elsewhere, name its folder", "export CUDNN_PATH=/path/to/cudnn")
                    .help("or name the version in the manifest: features = [\"cudnn-09010\"]")
                    .breaks(Break::Builds),
            );
        }
    }
}

/// Of the names that it opens `libcuda.so` is the first (`get_lib_name_candidates`), which in a folder of stubs is one.
fn stub(script: &Script<'_>, said: &mut Said) {
    let (view, facts) = (&script.cx.view, script.cx.facts);
    let links = script.has("dynamic-linking") != Some(false) || script.has("static-linking") == Some(true);
    let without = script.has("driver") == Some(false) && script.has("default") == Some(false);
    if links || without || !view.has_gpu() || view.is_wsl() {
        return;
    }
    let copies = &facts.driver.copies;
    let stubs = |folder: &SearchFolder| folder.path.trim_end_matches('/').ends_with("/stubs");
    let holds = |folder: &SearchFolder| copies.iter().any(|copy| parent(&copy.path) == folder.path);
    let first = facts.loader.library_path.iter().find(|folder| folder.exists && (stubs(folder) || holds(folder)));
    let Some(folder) = first.filter(|folder| stubs(folder)) else { return };
    let Some(copy) = copies.iter().find(|copy| copy.kind == LibcudaKind::Stub) else { return };
    // Where everybody meets it, that is told already.
    if facts.driver.libcuda.file.value().is_some_and(|library| library.real == copy.real) {
        return;
    }
    said.find(
        STUB,
        script
            .finding(format!("{} asks for libcuda.so first, which is the toolkit's stub here", script.title()))
            .because(Evidence::env("LD_LIBRARY_PATH", &folder.text))
            .because(Evidence::file(&copy.real, "lies in a folder of stubs"))
            .run(format!("take `{}` off LD_LIBRARY_PATH", folder.text), shell::without_entry(&folder.text))
            .so("every call to CUDA fails with error 34")
            .breaks(Break::Runs),
    );
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Bindings that take every function out of `libcuda` at once stop where the driver is older than they are.
fn driver(script: &Script<'_>, chosen: &Dotted, said: &mut Said) {
    let Some(row) = script.row else { return };
    let links = script.has("dynamic-linking") == Some(true) || script.has("static-linking") == Some(true);
    if row.symbols_at_load != Some(true)
        || links
        || script.has("driver") == Some(false) && script.has("default") == Some(false)
    {
        return;
    }
    let needs = NEW_SYMBOLS.iter().map(|&(major, minor)| Dotted::new(&[major, minor])).rfind(|one| one <= chosen);
    let Some(needs) = needs else { return };
    let Some((reports, driver_row)) = script.cx.view.driver_cuda() else {
        if script.cx.view.driver_matters() || script.cx.view.driver_is_assumed() {
            said.open(
                DRIVER,
                format!("whether the driver has every function that {} takes from it", script.title()),
                Break::Runs,
            );
        }
        return;
    };
    if minor(&reports) >= needs {
        return;
    }
    let title = format!(
        "{} with its bindings for CUDA {chosen} needs a driver that reports CUDA {needs}; this one reports {reports}",
        script.title()
    );
    let mut finding = script.finding(title).breaks(Break::Runs);
    finding = finding.because_all(script.cx.view.driver().map(|(_, evidence)| evidence.clone()));
    if let Some(row) = driver_row {
        finding = finding.because(Evidence::new(
            crate::facts::Source::Database,
            format!("driver {}", row.key),
            format!("reports CUDA {reports}"),
        ));
    }
    let fits = row.cuda_features.iter().rev().find(|one| minor(one) <= minor(&reports));
    if let Some(fits) = fits {
        finding = if script.version() >= (0, 16, 5) {
            finding.run(
                format!("build with its bindings for CUDA {fits}"),
                format!("export CUDARC_CUDA_VERSION={}", code(fits)),
            )
        } else {
            finding.help(format!(
                "name the bindings for CUDA {fits} in the manifest: features = [\"cuda-{}\"]",
                code(fits)
            ))
        };
    }
    said.find(DRIVER, finding.help("or take cudarc 0.19.5 or newer, which asks for a function when it is called").so("the program stops at its first call of CUDA, because it takes all functions of libcuda at once and one is missing"));
}
