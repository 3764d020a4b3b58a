//! CUDA toolkits and host compilers from files: where they are, what points to them, what they state; runs none.

use std::path::Path;

use crate::facts::{Evidence, HostCompiler, HostLimits, Probed, Reading, Toolkit, ToolkitKind, ToolkitSelector};
use crate::host::Host;
use crate::probe::machine::LIBRARY_FOLDERS;
use crate::version::Dotted;

/// Variables that name a toolkit's folder, in no order.
pub const FOLDER_VARIABLES: &[&str] =
    &["CUDA_HOME", "CUDA_PATH", "CUDA_ROOT", "CUDA_TOOLKIT_ROOT_DIR", "CUDA_LIBRARY_PATH"];
/// Debian's toolkit: its parts lie under `/usr`, its programs here.
const DEBIAN: &str = "/usr/lib/nvidia-cuda-toolkit";
/// Headers are read up to this many bytes; what is sought stands near their beginning.
const HEADER_LIMIT: u64 = 1 << 20;
/// Where programs are sought without PATH, as a tree without an environment has none.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// The folders for other targets in NVIDIA's and conda's layouts.
const TARGETS: &[&str] = &["targets/x86_64-linux", "targets/sbsa-linux", "targets/aarch64-linux"];

/// What was found of toolkits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// The toolkits.
    pub toolkits: Vec<Toolkit>,
    /// What selects one.
    pub selectors: Vec<ToolkitSelector>,
    /// The host compilers.
    pub compilers: Vec<HostCompiler>,
}

/// Reads toolkits, what selects them, and host compilers.
pub fn probe(host: &Host) -> Found {
    let mut toolkits = Vec::new();
    for place in default_places(host) {
        let evidence = Evidence::file(&place, "is there");
        add(host, &mut toolkits, &place, evidence);
    }
    let mut selectors = Vec::new();
    for &name in FOLDER_VARIABLES {
        let Some(value) = host.env(name) else { continue };
        // Some readers take a list of folders; the first that is a toolkit counts.
        let toolkit = value
            .split(':')
            .filter(|part| !part.is_empty())
            .find_map(|part| add(host, &mut toolkits, part, Evidence::env(name, value)));
        selectors.push(ToolkitSelector { name: name.to_owned(), value: value.to_owned(), toolkit });
    }
    if let Some(value) = host.env("NVCC") {
        let program = find_program(host, value.trim());
        let toolkit = program.and_then(|path| of_nvcc(host, &mut toolkits, &path, Evidence::env("NVCC", value)));
        selectors.push(ToolkitSelector { name: "NVCC".to_owned(), value: value.to_owned(), toolkit });
    }
    if let Some(prefix) = host.env_nonempty("CONDA_PREFIX")
        && host.is_file(format!("{prefix}/bin/nvcc"))
    {
        add(host, &mut toolkits, prefix, Evidence::env("CONDA_PREFIX", prefix));
    }
    if host.env("PATH").is_some()
        && let Some(path) = find_program(host, "nvcc")
    {
        let toolkit = of_nvcc(host, &mut toolkits, &path, Evidence::env("PATH", &path));
        selectors.push(ToolkitSelector { name: "PATH".to_owned(), value: path, toolkit });
    } else if host.is_file("/usr/bin/nvcc") {
        of_nvcc(host, &mut toolkits, "/usr/bin/nvcc", Evidence::file("/usr/bin/nvcc", "is there"));
    }
    Found { toolkits, selectors, compilers: compilers(host) }
}

fn default_places(host: &Host) -> Vec<String> {
    let mut places = vec!["/usr/local/cuda".to_owned()];
    let numbered = host.names("/usr/local").into_iter().filter(|name| name.starts_with("cuda-"));
    places.extend(numbered.map(|name| format!("/usr/local/{name}")));
    places.extend(["/opt/cuda", DEBIAN, "/usr/lib/cuda"].map(str::to_owned));
    places
}

/// A program by its path, or by its name on PATH.
pub(crate) fn find_program(host: &Host, name: &str) -> Option<String> {
    if name.is_empty() {
        return None;
    }
    if name.contains('/') {
        return host.is_executable(name).then(|| host.absolute(name).to_string_lossy().into_owned());
    }
    host.env("PATH")
        .unwrap_or(DEFAULT_PATH)
        .split(':')
        .map(|folder| host.absolute(folder).join(name))
        .find(|path| host.is_executable(path))
        .map(|path| path.to_string_lossy().into_owned())
}

/// Adds the toolkit to which a compiler belongs; gives its real folder.
fn of_nvcc(host: &Host, toolkits: &mut Vec<Toolkit>, nvcc: &str, evidence: Evidence) -> Option<String> {
    let real = host.real(nvcc).ok()?;
    let folder = real.parent()?.parent()?;
    // A distribution's program lies in /usr/bin; on Debian that one starts the one of its own folder.
    if folder == Path::new("/usr") && host.is_dir(DEBIAN) {
        return add(host, toolkits, DEBIAN, evidence);
    }
    add(host, toolkits, &folder.to_string_lossy(), evidence)
}

/// Adds a folder where it is a toolkit, or one more pointer to a known one; gives its real folder.
fn add(host: &Host, toolkits: &mut Vec<Toolkit>, folder: &str, evidence: Evidence) -> Option<String> {
    let path = host.absolute(folder);
    let mut real = host.real(&path).ok().filter(|real| host.is_dir(real))?.to_string_lossy().into_owned();
    // Debian's compatibility folder belongs to the same packages.
    if real == "/usr/lib/cuda" && host.is_dir(DEBIAN) {
        DEBIAN.clone_into(&mut real);
    }
    if let Some(known) = toolkits.iter_mut().find(|toolkit| toolkit.real == real) {
        if !known.found_by.contains(&evidence) {
            known.found_by.push(evidence);
        }
        if let Some(nvcc) = known.nvcc.as_mut().filter(|nvcc| misread(nvcc)) {
            *nvcc = format!("{}/bin/nvcc", readable(&path, &known.real));
        }
        return Some(real);
    }
    let kind = if real == DEBIAN || real == "/usr" || real == "/usr/lib/cuda" {
        ToolkitKind::Distribution
    } else if host.is_dir(format!("{real}/conda-meta")) {
        ToolkitKind::Conda
    } else if real.contains("-packages/nvidia/") {
        ToolkitKind::Wheel
    } else {
        ToolkitKind::System
    };
    let nvcc = [format!("{}/bin/nvcc", readable(&path, &real)), "/usr/bin/nvcc".to_owned()]
        .into_iter()
        .take(if kind == ToolkitKind::Distribution { 2 } else { 1 })
        .find(|path| host.is_file(path));
    let include = include_folders(&real, kind);
    let readings = readings(host, &real, kind, &include);
    if nvcc.is_none() && readings.is_empty() {
        return None;
    }
    let path = path.to_string_lossy().into_owned();
    let host_limits = host_limits(host, &include);
    toolkits.push(Toolkit { path, real: real.clone(), kind, found_by: vec![evidence], readings, nvcc, host_limits });
    Some(real)
}

/// Whether a shell reads a path otherwise, to which nvcc hands its own in double quotes.
pub(crate) fn misread(path: &str) -> bool {
    path.contains(['$', '"', '`'])
}

/// The folder by which nvcc is to be called: the real one, or where it cannot work there, the link that leads to it.
fn readable(path: &Path, real: &str) -> String {
    let path = path.to_string_lossy();
    if misread(real) && !misread(&path) { path.into_owned() } else { real.to_owned() }
}

/// Folders in which a toolkit keeps its headers.
pub(crate) fn include_folders(real: &str, kind: ToolkitKind) -> Vec<String> {
    if kind == ToolkitKind::Distribution {
        return ["/usr/include", "/usr/include/cuda", "/usr/lib/cuda/include"].map(str::to_owned).to_vec();
    }
    let below = TARGETS.iter().map(|target| format!("{real}/{target}/include"));
    std::iter::once(format!("{real}/include")).chain(below).collect()
}

/// Folders in which a toolkit keeps its libraries.
pub(crate) fn library_folders(real: &str, kind: ToolkitKind) -> Vec<String> {
    if kind == ToolkitKind::Distribution {
        return LIBRARY_FOLDERS.iter().map(|folder| (*folder).to_owned()).collect();
    }
    let below = TARGETS.iter().map(|target| format!("{real}/{target}/lib"));
    [format!("{real}/lib64"), format!("{real}/lib")].into_iter().chain(below).collect()
}

fn readings(host: &Host, real: &str, kind: ToolkitKind, include: &[String]) -> Vec<Reading<Dotted>> {
    let mut readings = Vec::new();
    let folders = if kind == ToolkitKind::Distribution { vec![real, "/usr/lib/cuda"] } else { vec![real] };
    for folder in folders {
        let path = format!("{folder}/version.json");
        if let Ok(text) = host.read_lossy(&path)
            && let Some((value, line)) = version_json(&text)
        {
            readings.push(Reading { evidence: Evidence::file(&path, format!("cuda {value}")).line(line), value });
        }
        let path = format!("{folder}/version.txt");
        if let Ok(bytes) = host.read_head(&path, 4096) {
            let text = String::from_utf8_lossy(&bytes);
            let line = text.lines().next().unwrap_or_default();
            if line.contains("CUDA")
                && let Some(value) = Dotted::find_in(line)
            {
                readings.push(Reading { value, evidence: Evidence::file(&path, line).line(1) });
            }
        }
    }
    let header = include.iter().find_map(|folder| {
        let path = format!("{folder}/cuda.h");
        let bytes = host.read_head(&path, HEADER_LIMIT).ok()?;
        let (number, line) = define(&String::from_utf8_lossy(&bytes), "CUDA_VERSION")?;
        let value = Dotted::of_cuda(number);
        Some(Reading { value, evidence: Evidence::file(path, format!("CUDA_VERSION {number}")).line(line) })
    });
    readings.extend(header);
    let mut seen = Vec::new();
    for folder in library_folders(real, kind) {
        for name in host.names_where(&folder, |name| name.starts_with("libcudart.so.")) {
            let path = host.real_text(format!("{folder}/{name}"));
            let file = path.rsplit('/').next().unwrap_or_default();
            let Some(value) = Dotted::from_file_name(file).filter(|version| version.len() >= 2) else { continue };
            if !seen.contains(&path) {
                seen.push(path.clone());
                readings.push(Reading { value, evidence: Evidence::file(&path, file) });
            }
        }
    }
    readings
}

/// The toolkit's version in `version.json`, and its line.
fn version_json(text: &str) -> Option<(Dotted, u32)> {
    let document: serde_json::Value = serde_json::from_slice(text.as_bytes()).ok()?;
    let said = document.get("cuda")?.get("version")?.as_str()?;
    let version = said.parse().ok().or_else(|| Dotted::find_in(said))?;
    let quoted = format!("\"{said}\"");
    let after = (1u32..).zip(text.lines()).skip_while(|(_, line)| !line.contains("\"cuda\""));
    let line = after.into_iter().find(|(_, line)| line.contains(&quoted)).map_or(1, |(number, _)| number);
    Some((version, line))
}

/// The number of a `#define NAME 123`, and its line.
pub(crate) fn define(text: &str, name: &str) -> Option<(u32, u32)> {
    (1u32..).zip(text.lines()).find_map(|(number, line)| {
        let mut words = line.trim_start().strip_prefix('#')?.split_whitespace();
        (words.next() == Some("define") && words.next() == Some(name)).then_some(())?;
        Some((words.next()?.parse().ok()?, number))
    })
}

fn host_limits(host: &Host, include: &[String]) -> Probed<HostLimits> {
    for folder in include {
        // Before CUDA 9.2 the header had no folder of its own.
        for path in [format!("{folder}/crt/host_config.h"), format!("{folder}/host_config.h")] {
            match host.read_head(&path, HEADER_LIMIT) {
                Ok(bytes) => {
                    let limits = parse_host_config(&String::from_utf8_lossy(&bytes));
                    if limits != HostLimits::default() {
                        return Probed::found(limits.clone(), Evidence::file(path, says(&limits)));
                    }
                }
                Err(error) if error.is_absent() => {}
                Err(error) => return Probed::failed(error.to_string()),
            }
        }
    }
    Probed::Absent
}

fn says(limits: &HostLimits) -> String {
    let part = |name: &str, min: Option<u32>, max: Option<u32>| match (min, max) {
        (Some(min), Some(max)) => Some(format!("{name} {min} to {max}")),
        (None, Some(max)) => Some(format!("{name} up to {max}")),
        (Some(min), None) => Some(format!("{name} from {min}")),
        (None, None) => None,
    };
    let parts = [part("gcc", limits.gcc_min, limits.gcc_max), part("clang", limits.clang_min, limits.clang_max)];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Reads the conditions under which `host_config.h` refuses a compiler.
///
/// An `#error` under `#if __GNUC__ > 13` means that 13 is the newest GCC; under
/// `#if (__clang_major__ >= 18) || (__clang_major__ < 3)` that Clang 3 to 17 are taken. Conditions
/// for other compilers that call themselves Clang (Grace's, QNX's, Apple's) do not count.
pub fn parse_host_config(text: &str) -> HostLimits {
    let mut limits = HostLimits::default();
    let mut open: Vec<String> = Vec::new();
    for line in text.lines() {
        let Some(directive) = line.trim_start().strip_prefix('#').map(str::trim_start) else { continue };
        if let Some(rest) = directive.strip_prefix("ifdef").or_else(|| directive.strip_prefix("ifndef")) {
            open.push(format!("named {rest}"));
        } else if let Some(condition) = directive.strip_prefix("if") {
            open.push(condition.split_whitespace().collect());
        } else if let Some(condition) = directive.strip_prefix("elif") {
            open.pop();
            open.push(condition.split_whitespace().collect());
        } else if directive.starts_with("else") {
            open.pop();
            open.push("else".to_owned());
        } else if directive.starts_with("endif") {
            open.pop();
        } else if directive.starts_with("error") {
            refuse(&open, &mut limits);
        }
        if open.len() > 64 {
            break;
        }
    }
    limits
}

/// Takes in what the innermost open condition refuses.
fn refuse(open: &[String], limits: &mut HostLimits) {
    const OTHERS: [&str; 5] = ["__HORIZON__", "__GRCO_CLANG_COMPILER__", "__APPLE__", "__QNX__", "__ibmxl_vrm__"];
    let Some(condition) = open.last() else { return };
    let for_others = open.iter().any(|outer| {
        OTHERS.iter().any(|name| {
            outer.contains(&format!("{name}=="))
                || outer.match_indices(&format!("defined({name})")).any(|(at, _)| !outer[..at].ends_with('!'))
        })
    });
    if for_others {
        return;
    }
    for (name, min, max) in [
        ("__GNUC__", &mut limits.gcc_min, &mut limits.gcc_max),
        ("__clang_major__", &mut limits.clang_min, &mut limits.clang_max),
    ] {
        for (operator, number) in comparisons(condition, name) {
            match operator {
                ">" => *max = Some(number),
                ">=" => *max = number.checked_sub(1),
                "<" => *min = Some(number),
                "<=" => *min = number.checked_add(1),
                _ => {}
            }
        }
    }
}

/// The comparisons of one name with numbers in a condition without blanks.
pub(crate) fn comparisons<'c>(condition: &'c str, name: &'c str) -> impl Iterator<Item = (&'static str, u32)> + 'c {
    condition.match_indices(name).filter_map(move |(at, _)| {
        let rest = &condition[at + name.len()..];
        let operator = [">=", "<=", ">", "<"].into_iter().find(|operator| rest.starts_with(operator))?;
        let rest = &rest[operator.len()..];
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        Some((operator, rest[..end].parse().ok()?))
    })
}

fn compilers(host: &Host) -> Vec<HostCompiler> {
    // nvcc takes the last that it is told, and the variable where it is told nothing.
    let chosen: Vec<HostCompiler> = ["NVCC_APPEND_FLAGS", "NVCC_PREPEND_FLAGS", "NVCC_CCBIN", "CXX", "CC"]
        .into_iter()
        .filter_map(|name| {
            let value = host.env_nonempty(name)?;
            let word = compiler_word(host, if name.ends_with("_FLAGS") { ccbin_of(value)? } else { value })?;
            Some(compiler(host, &word, Evidence::env(name, value)))
        })
        .collect();
    if !chosen.is_empty() {
        return chosen;
    }
    let on_path = ["c++", "g++", "gcc"].into_iter().find_map(|name| find_program(host, name));
    on_path.map(|path| compiler(host, &path, Evidence::env("PATH", &path))).into_iter().collect()
}

/// The host compiler that options of nvcc name.
pub(crate) fn ccbin_of(flags: &str) -> Option<&str> {
    let mut words = flags.split_whitespace();
    let mut named = None;
    while let Some(word) = words.next() {
        let (option, value) = word.split_once('=').map_or((word, None), |(option, value)| (option, Some(value)));
        if ["-ccbin", "--compiler-bindir"].contains(&option) {
            named = value.or_else(|| words.next());
        }
    }
    named.map(|name| name.trim_matches(['"', '\'']))
}

/// The compiler in a variable's value, which may begin with a cache and end with options.
fn compiler_word(host: &Host, value: &str) -> Option<String> {
    let value = value.trim();
    if host.is_dir(value) && value.contains('/') {
        // nvcc takes a folder too, and looks for its compiler there.
        let inside = ["gcc", "g++"].iter().map(|name| format!("{value}/{name}"));
        return inside.into_iter().find(|path| host.is_file(path)).or_else(|| Some(value.to_owned()));
    }
    if host.is_file(value) && value.contains('/') {
        return Some(value.to_owned());
    }
    let caches = ["ccache", "sccache", "distcc", "icecc"];
    let mut words = value.split_whitespace();
    words.find(|word| !caches.contains(&word.rsplit('/').next().unwrap_or_default())).map(str::to_owned)
}

fn compiler(host: &Host, word: &str, chosen_by: Evidence) -> HostCompiler {
    let Some(path) = find_program(host, word) else {
        let kind = named(word).0.to_owned();
        return HostCompiler { chosen_by, path: word.to_owned(), kind, version: Probed::failed("it is not found") };
    };
    let real = host.real_text(&path);
    let (mut kind, version) = named(&real);
    if !["gcc", "clang"].contains(&kind) {
        kind = match named(&path).0 {
            known @ ("gcc" | "clang") => known,
            _ if matches!(real.rsplit('/').next(), Some("cc" | "c++")) => "gcc",
            _ => "other",
        };
    }
    let version = match version {
        Some(version) => Probed::found(version, Evidence::file(&real, "the version is in its path")),
        None => version_by_folder(host, kind, &real),
    };
    HostCompiler { chosen_by, path, kind: kind.to_owned(), version }
}

/// Kind and version of a compiler by its file name, such as `x86_64-linux-gnu-g++-12`, or LLVM's folder.
fn named(path: &str) -> (&'static str, Option<Dotted>) {
    let name = path.rsplit('/').next().unwrap_or_default();
    let (stem, version) = match name.rsplit_once('-') {
        Some((stem, tail)) => match tail.parse::<Dotted>() {
            Ok(version) => (stem, Some(version)),
            Err(_) => (name, None),
        },
        None => (name, None),
    };
    let last = stem.rsplit('-').next().unwrap_or_default();
    match last {
        "gcc" | "g++" => ("gcc", version),
        "clang" | "clang++" => {
            let by_folder = || path.split('/').find_map(|part| part.strip_prefix("llvm-")?.parse().ok());
            ("clang", version.or_else(by_folder))
        }
        _ => ("other", version),
    }
}

/// The version by the folder in which a compiler keeps its own parts.
fn version_by_folder(host: &Host, kind: &str, real: &str) -> Probed<Dotted> {
    let prefix = Path::new(real)
        .parent()
        .and_then(Path::parent)
        .map_or_else(String::new, |prefix| prefix.to_string_lossy().trim_end_matches('/').to_owned());
    let mut prefixes = vec![prefix];
    if prefixes[0].is_empty() {
        prefixes.push("/usr".to_owned());
    }
    let mut found: Vec<(Dotted, String)> = Vec::new();
    for prefix in prefixes {
        let mut folders = Vec::new();
        match kind {
            "gcc" => {
                let root = format!("{prefix}/lib/gcc");
                folders.extend(host.names(&root).into_iter().map(|triple| format!("{root}/{triple}")));
            }
            "clang" => folders.extend(["lib/clang", "lib64/clang"].map(|part| format!("{prefix}/{part}"))),
            _ => {}
        }
        for folder in folders {
            for name in host.names(&folder) {
                // Debian has a second name for each version: `12` and `12.2.0` are one.
                if let Ok(version) = name.parse::<Dotted>()
                    && !found.iter().any(|(known, _)| known.major() == version.major())
                {
                    found.push((version, format!("{folder}/{name}")));
                }
            }
        }
    }
    match found.len() {
        1 => {
            let (version, path) = found.swap_remove(0);
            Probed::found(version, Evidence::file(path, "the only one there"))
        }
        0 => Probed::failed("no file states its version"),
        _ => Probed::failed("several versions are installed and its name does not say which it is"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing::Tree;
    use proptest::prelude::*;

    /// The conditions of CUDA 13.5's header, in its order, with the texts of the errors left out.
    const HEADER_13: &str = "\
#if defined(__GRCO_CLANG_COMPILER__)
#if (__GRCO_CLANG_COMPILER__ == 1) && ((__clang_major__ < 16) || (__clang_major__ > 22))
#error -- Grace
#endif
#endif
#if defined(__GNUC__)
#if __GNUC__ > 16
#error -- GNU
#endif /* __GNUC__ > 16 */
#if defined(__HORIZON__)
#if (__clang_major__ >= 22) || (__clang_major__ < 3) || ((__clang_major__ == 3) &&  (__clang_minor__ < 3))
#error -- HOS
#endif
#endif
#if defined(__clang__) && !defined(__ibmxl_vrm__) && !defined(__HORIZON__) && !defined(__APPLE__) && !defined(__GRCO_CLANG_COMPILER__)
#if (__clang_major__ >= 23) || (__clang_major__ < 3) || ((__clang_major__ == 3) &&  (__clang_minor__ < 3))
#error -- clang
#endif
#endif
#endif
";

    fn nvidia(tree: &Tree, version: &str) {
        let root = format!("/usr/local/cuda-{version}");
        tree.program(&format!("{root}/bin/nvcc"))
            .write(
                &format!("{root}/version.json"),
                &format!(
                    "{{\n  \"cuda\" : {{\n    \"name\" : \"CUDA SDK\",\n    \"version\" : \"{version}.1\"\n  }}\n}}\n"
                ),
            )
            .write(&format!("{root}/include/crt/host_config.h"), HEADER_13);
    }

    #[test]
    fn the_conditions_of_the_header_become_limits() {
        let limits = parse_host_config(HEADER_13);
        let want = HostLimits { gcc_max: Some(16), clang_max: Some(22), gcc_min: None, clang_min: Some(3) };
        assert_eq!(limits, want);
        let old = "#if __GNUC__ > 4 || (__GNUC__ == 4 && __GNUC_MINOR__ > 8)\n#error\n#endif\n";
        assert_eq!(parse_host_config(old).gcc_max, Some(4));
        let other_form = "#if __clang_major__ > 14 || __clang_major__ <= 2\n#error\n#endif\n";
        let limits = parse_host_config(other_form);
        assert_eq!((limits.clang_max, limits.clang_min), (Some(14), Some(3)));
        // A condition that refuses nothing is no limit.
        assert_eq!(parse_host_config("#if __GNUC__ > 5\n#define X\n#endif\n"), HostLimits::default());
    }

    #[test]
    fn a_toolkit_is_one_however_many_names_point_to_it() {
        let tree = Tree::new();
        nvidia(&tree, "12.4");
        tree.link("cuda-12.4", "/usr/local/cuda")
            .write("/usr/local/cuda-12.4/include/cuda.h", "/* */\n#define CUDA_VERSION 12040\n")
            .write("/usr/local/cuda-12.4/lib64/libcudart.so.12.4.127", "")
            .link("libcudart.so.12.4.127", "/usr/local/cuda-12.4/lib64/libcudart.so.12");
        let env =
            [("CUDA_HOME", "/usr/local/cuda"), ("CUDA_PATH", "/nowhere"), ("PATH", "/usr/bin:/usr/local/cuda/bin")];
        let found = probe(&tree.host(&env));
        assert_eq!(found.toolkits.len(), 1);
        let toolkit = &found.toolkits[0];
        assert_eq!((toolkit.path.as_str(), toolkit.real.as_str()), ("/usr/local/cuda", "/usr/local/cuda-12.4"));
        assert_eq!(toolkit.found_by.len(), 4);
        let values: Vec<_> = toolkit.readings.iter().map(|reading| reading.value.as_str()).collect();
        assert_eq!(values, ["12.4.1", "12.4", "12.4.127"]);
        assert_eq!(toolkit.readings[0].evidence.line, Some(4));
        assert_eq!(toolkit.host_limits.value().unwrap().gcc_max, Some(16));
        let selected: Vec<_> = found.selectors.iter().map(|one| (one.name.as_str(), one.toolkit.as_deref())).collect();
        let real = Some("/usr/local/cuda-12.4");
        assert_eq!(selected, [("CUDA_HOME", real), ("CUDA_PATH", None), ("PATH", real)]);
    }

    #[test]
    fn a_folder_with_compat_libraries_only_is_no_toolkit() {
        let tree = Tree::new();
        tree.write("/usr/local/cuda-12.4/compat/libcuda.so.1", "").link("cuda-12.4", "/usr/local/cuda");
        let found = probe(&tree.host(&[("CUDA_HOME", "")]));
        assert!(found.toolkits.is_empty());
        assert_eq!(
            found.selectors,
            [ToolkitSelector { name: "CUDA_HOME".into(), value: String::new(), toolkit: None }]
        );
    }

    #[test]
    fn debians_toolkit_is_one() {
        let tree = Tree::new();
        tree.program("/usr/bin/nvcc")
            .program("/usr/lib/nvidia-cuda-toolkit/bin/nvcc")
            .write("/usr/lib/cuda/version.txt", "CUDA Version 11.8.89\n")
            .write("/usr/include/cuda.h", "#define CUDA_VERSION 11080\n");
        let found = probe(&tree.host(&[("PATH", "/usr/bin"), ("CUDA_HOME", "/usr/lib/cuda")]));
        assert_eq!(found.toolkits.len(), 1);
        assert_eq!(found.toolkits[0].kind, ToolkitKind::Distribution);
        assert_eq!(found.toolkits[0].readings.len(), 2);
        assert!(found.selectors.iter().all(|one| one.toolkit.as_deref() == Some(DEBIAN)));
    }

    #[test]
    fn a_path_that_a_shell_reads_otherwise_is_left_for_a_link() {
        let tree = Tree::new();
        tree.program("/opt/a$b/bin/nvcc").link("/opt/a$b", "/opt/link");
        let nvcc = |env: &[(&str, &str)]| probe(&tree.host(env)).toolkits.swap_remove(0).nvcc.unwrap();
        assert_eq!(nvcc(&[("CUDA_HOME", "/opt/a$b")]), "/opt/a$b/bin/nvcc");
        assert_eq!(nvcc(&[("CUDA_HOME", "/opt/a$b"), ("CUDA_PATH", "/opt/link")]), "/opt/link/bin/nvcc");
        tree.link("/opt/a$b", "/usr/local/cuda");
        assert_eq!(nvcc(&[]), "/usr/local/cuda/bin/nvcc");
    }

    #[test]
    fn compilers_tell_their_version_by_name_or_folder() {
        let tree = Tree::new();
        tree.program("/usr/bin/x86_64-linux-gnu-g++-12")
            .link("x86_64-linux-gnu-g++-12", "/usr/bin/g++-12")
            .link("g++-12", "/usr/bin/g++")
            .link("/usr/bin/g++", "/etc/alternatives/c++")
            .link("/etc/alternatives/c++", "/usr/bin/c++")
            .program("/usr/lib/llvm-15/bin/clang")
            .link("../lib/llvm-15/bin/clang", "/usr/bin/clang")
            .program("/opt/rh/usr/bin/gcc")
            .folder("/opt/rh/usr/lib/gcc/x86_64-redhat-linux/13");
        let told = |env: &[(&str, &str)]| {
            let env: Vec<_> = env.iter().copied().chain([("PATH", "/usr/bin")]).collect();
            let one = compilers(&tree.host(&env)).swap_remove(0);
            (one.kind, one.version.value().map(ToString::to_string))
        };
        let pair = |kind: &str, version: &str| (kind.to_owned(), Some(version.to_owned()));
        assert_eq!(told(&[]), pair("gcc", "12"));
        assert_eq!(told(&[("CXX", "ccache clang -O2")]), pair("clang", "15"));
        assert_eq!(told(&[("NVCC_CCBIN", "/opt/rh/usr/bin")]), pair("gcc", "13"));
        let flags =
            [("NVCC_CCBIN", "/opt/rh/usr/bin"), ("NVCC_APPEND_FLAGS", "-O2 -ccbin clang --compiler-bindir=g++")];
        assert_eq!(told(&flags), pair("gcc", "12"));
        assert_eq!(told(&[("CXX", "clang"), ("NVCC_APPEND_FLAGS", "-O2 -ccbin")]), pair("clang", "15"));
        assert_eq!(told(&[("CC", "gcc-99")]), ("gcc".to_owned(), None));
    }

    proptest! {
        #[test]
        fn parsers_never_panic(text in "(\\PC|\n){0,200}") {
            let _ = (parse_host_config(&text), version_json(&text), define(&text, "X"), named(&text));
        }

        #[test]
        fn any_stack_of_directives_is_survived(lines in prop::collection::vec(prop::sample::select(vec![
            "#if __GNUC__ > 4294967295", "#if __GNUC__ >= 0", "#if __clang_major__<é", "#elif x", "#else", "#endif", "#error", "#ifdef A",
        ]), 0..80)) {
            let _ = parse_host_config(&lines.join("\n"));
        }
    }
}
