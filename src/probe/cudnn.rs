//! cuDNN outside of Python environments, by its headers and file names; opens no library.

use std::collections::BTreeSet;

use crate::facts::{CudnnInstall, CudnnPart, Evidence, Reading, Toolkit};
use crate::host::Host;
use crate::probe::machine::LIBRARY_FOLDERS;
use crate::probe::toolkit::{define, include_folders, library_folders};
use crate::version::Dotted;

/// Headers are read up to this many bytes.
const HEADER_LIMIT: u64 = 1 << 20;
/// Headers that state the version; the one for all of them stood in `cudnn.h` before release 8.
const HEADERS: &[&str] = &["cudnn_version.h", "cudnn_version_v9.h", "cudnn_version_v8.h", "cudnn.h"];

/// Reads the cuDNN installations of the system's folders, the toolkits, and `LD_LIBRARY_PATH`.
pub fn probe(host: &Host, toolkits: &[Toolkit]) -> Vec<CudnnInstall> {
    // Each place: folders of libraries, and the folders of headers that go with them.
    let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<String>>();
    let (local, system): (Vec<&str>, Vec<&str>) =
        LIBRARY_FOLDERS.iter().partition(|folder| folder.starts_with("/usr/local/"));
    let headers_of_system = ["/usr/include/x86_64-linux-gnu", "/usr/include/aarch64-linux-gnu", "/usr/include"];
    let mut places = vec![(owned(&system), owned(&headers_of_system)), (owned(&local), owned(&["/usr/local/include"]))];
    for toolkit in toolkits {
        places.push((library_folders(&toolkit.real, toolkit.kind), include_folders(&toolkit.real, toolkit.kind)));
    }
    let named = [host.env_nonempty("CUDNN_LIB"), host.env_nonempty("LD_LIBRARY_PATH")];
    for folder in named.into_iter().flatten().flat_map(|value| value.split([':', ';'])) {
        // What lies in a Python environment is read with that environment.
        if !folder.is_empty() && !folder.contains("-packages/") {
            let folder = host.absolute(folder).to_string_lossy().into_owned();
            let include = folder.rsplit_once('/').map(|(above, _)| format!("{above}/include"));
            places.push((vec![folder], include.into_iter().collect()));
        }
    }

    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    let mut headers_read = BTreeSet::new();
    for (libraries, includes) in places {
        let first = found.len();
        for folder in libraries {
            let Ok(real) = host.real(&folder) else { continue };
            let real = real.to_string_lossy().into_owned();
            if seen.insert(real.clone()) {
                found.extend(install(host, &real));
            }
        }
        for folder in includes {
            let Ok(real) = host.real(&folder) else { continue };
            let real = real.to_string_lossy().into_owned();
            let readings = headers(host, &real, &mut headers_read);
            if readings.is_empty() {
                continue;
            }
            // Headers beside no library are told too: they decide what a crate is built against.
            if first == found.len() {
                if !found.iter().any(|one: &CudnnInstall| one.folder == real) {
                    found.push(CudnnInstall { folder: real.clone(), readings, parts: Vec::new() });
                }
            } else {
                found[first].readings.extend(readings);
            }
        }
    }
    found
}

/// The cuDNN libraries of one folder.
fn install(host: &Host, folder: &str) -> Option<CudnnInstall> {
    let names: Vec<String> = host.names_where(folder, is_part);
    let mut parts: Vec<CudnnPart> = Vec::new();
    let mut readings: Vec<Reading<Dotted>> = Vec::new();
    let mut behind = BTreeSet::new();
    // The names by which programs open them come first; a full name counts only where no short one leads to it.
    let (short, full): (Vec<_>, Vec<_>) =
        names.into_iter().partition(|name| Dotted::from_file_name(name).is_some_and(|version| version.len() == 1));
    for name in short.into_iter().chain(full) {
        let path = format!("{folder}/{name}");
        if !host.is_file(&path) {
            continue;
        }
        let real = host.real_text(&path);
        let is_full = Dotted::from_file_name(&name).is_some_and(|version| version.len() > 1);
        if !behind.insert(real.clone()) && is_full {
            continue;
        }
        let file = real.rsplit('/').next().unwrap_or_default();
        let version = Dotted::from_file_name(file)
            .filter(|version| version.len() >= 3)
            .map(|value| Reading { value, evidence: Evidence::file(&real, file) });
        if let Some(reading) = &version
            && !readings.iter().any(|known| known.value == reading.value)
        {
            readings.push(reading.clone());
        }
        parts.push(CudnnPart { name, path, version });
    }
    (!parts.is_empty()).then(|| CudnnInstall { folder: folder.to_owned(), readings, parts })
}

/// Whether a file name is that of a cuDNN library, such as `libcudnn_graph.so.9`.
fn is_part(name: &str) -> bool {
    name.strip_prefix("libcudnn").is_some_and(|rest| rest.starts_with(['.', '_']))
        && Dotted::from_file_name(name).is_some()
}

/// The versions that the headers of one folder state; names that lead to one file count once.
fn headers(host: &Host, folder: &str, seen: &mut BTreeSet<String>) -> Vec<Reading<Dotted>> {
    HEADERS
        .iter()
        .filter_map(|name| {
            let path = format!("{folder}/{name}");
            let bytes = host.read_head(&path, HEADER_LIMIT).ok()?;
            let (value, line) = header_version(&String::from_utf8_lossy(&bytes))?;
            seen.insert(host.real_text(&path)).then(|| {
                let says = format!("CUDNN_MAJOR, CUDNN_MINOR, CUDNN_PATCHLEVEL: {value}");
                Reading { value, evidence: Evidence::file(path, says).line(line) }
            })
        })
        .collect()
}

/// The version that a header defines, and the line of its first part.
fn header_version(text: &str) -> Option<(Dotted, u32)> {
    let (major, line) = define(text, "CUDNN_MAJOR")?;
    let (minor, _) = define(text, "CUDNN_MINOR")?;
    let (patch, _) = define(text, "CUDNN_PATCHLEVEL")?;
    Some((Dotted::new(&[major, minor, patch]), line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing::Tree;
    use proptest::prelude::*;

    #[test]
    fn a_debian_installation_is_read() {
        let tree = Tree::new();
        let folder = "/usr/lib/x86_64-linux-gnu";
        for part in ["libcudnn", "libcudnn_graph"] {
            tree.write(&format!("{folder}/{part}.so.9.3.0"), "")
                .link(&format!("{part}.so.9.3.0"), &format!("{folder}/{part}.so.9"));
        }
        tree.write(
            "/usr/include/x86_64-linux-gnu/cudnn_version_v9.h",
            "\n#define CUDNN_MAJOR 9\n#define CUDNN_MINOR 3\n#define CUDNN_PATCHLEVEL 0\n",
        )
        .link("/etc/alternatives/libcudnn", "/usr/include/cudnn_version.h")
        .link("/usr/include/x86_64-linux-gnu/cudnn_version_v9.h", "/etc/alternatives/libcudnn")
        .link("cudnn_version_v9.h", "/usr/include/x86_64-linux-gnu/cudnn_version.h");
        let found = probe(&tree.host(&[]), &[]);
        assert_eq!(found.len(), 1);
        let names: Vec<_> = found[0].parts.iter().map(|part| part.name.as_str()).collect();
        assert_eq!(names, ["libcudnn.so.9", "libcudnn_graph.so.9"]);
        let values: Vec<_> = found[0].readings.iter().map(|reading| reading.value.as_str()).collect();
        assert_eq!(values, ["9.3.0", "9.3.0"]);
        assert_eq!(found[0].readings[1].evidence.line, Some(2));
    }

    #[test]
    fn folders_of_the_loader_count_but_not_those_of_python() {
        let tree = Tree::new();
        tree.write("/opt/cudnn/lib/libcudnn.so.8.9.7", "")
            .write("/v/lib/python3.11/site-packages/nvidia/cudnn/lib/libcudnn.so.9", "")
            .write("/usr/lib/libcudnn_broken.so.x", "")
            .link("nowhere", "/usr/lib/libcudnn.so.7");
        let path = "/opt/cudnn/lib:/v/lib/python3.11/site-packages/nvidia/cudnn/lib";
        let found = probe(&tree.host(&[("LD_LIBRARY_PATH", path)]), &[]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].folder, "/opt/cudnn/lib");
        assert_eq!(found[0].parts[0].name, "libcudnn.so.8.9.7");
    }

    proptest! {
        #[test]
        fn parsers_never_panic(text in "(\\PC|\n){0,200}") {
            let _ = (header_version(&text), is_part(&text));
        }
    }
}
