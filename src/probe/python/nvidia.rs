//! Tells which wheel owns a CUDA library and which version it is, and where wheels claim the same files; loads nothing.

use std::collections::{BTreeMap, HashMap};

use super::folders::Folders;
use super::layout::join;
use super::record;
use crate::facts::{Candidate, Dist, Evidence, NvidiaWheel, Probed, Reading, Resolution};
use crate::host::{Host, Kind};
use crate::version::Dotted;

/// RECORDs of the NVIDIA wheels, read once.
#[derive(Debug, Default)]
pub(super) struct Wheels {
    /// Library path behind all links, to the distributions that claim it and the size each records.
    owners: HashMap<String, Vec<(usize, Option<u64>)>>,
    /// What every wheel was found to be.
    pub(super) wheels: Vec<NvidiaWheel>,
}

/// `nvidia-cublas` from `nvidia-cublas-cu12`.
fn base_name(name: &str) -> &str {
    match name.rsplit_once("-cu") {
        Some((base, digits)) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => base,
        _ => name,
    }
}

impl Wheels {
    /// Reads who owns what. `records` holds the RECORD text of a distribution by its index.
    pub(super) fn read(host: &Host, dists: &[Dist], records: &BTreeMap<usize, String>) -> Self {
        let mut wheels = Self::default();
        let mut families: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
        let mut real: HashMap<&str, String> = HashMap::new();
        for (index, dist) in dists.iter().enumerate() {
            let Some(text) = records.get(&index) else { continue };
            if !dist.name.starts_with("nvidia-") {
                continue;
            }
            families.entry((&dist.location, base_name(&dist.name))).or_default().push(index);
            wheels.wheels.push(NvidiaWheel { dist: index, ..NvidiaWheel::default() });
            let location = real.entry(&dist.location).or_insert_with(|| host.real_text(&dist.location));
            for line in record::lines(text).filter(|line| record::is_library(&line.path)) {
                wheels.owners.entry(join(location, &line.path)).or_default().push((index, line.size));
            }
        }
        for family in families.values().filter(|family| family.len() > 1) {
            wheels.twins(family, records);
        }
        wheels
    }

    fn twins(&mut self, family: &[usize], records: &BTreeMap<usize, String>) {
        for wheel in self.wheels.iter_mut().filter(|wheel| family.contains(&wheel.dist)) {
            let paths = |index: usize| {
                records.get(&index).into_iter().flat_map(|text| record::lines(text)).filter(|line| {
                    !line.path.ends_with("__init__.py")
                        && !line.path.contains("__pycache__/")
                        && !line.path.contains(".dist-info/")
                        && !line.path.starts_with("..")
                })
            };
            let own: std::collections::HashSet<String> = paths(wheel.dist).map(|line| line.path.into_owned()).collect();
            for &other in family.iter().filter(|&&other| other != wheel.dist) {
                let shared = paths(other).filter(|line| own.contains(line.path.as_ref())).count();
                if shared > 0 {
                    wheel.twins.push(other);
                    wheel.shared = wheel.shared.max(u32::try_from(shared).unwrap_or(u32::MAX));
                }
            }
        }
    }

    /// The distribution that owns a file: of several, the one that recorded its size.
    fn owner(&self, real: &str, size: u64) -> Option<usize> {
        let claims = self.owners.get(real)?;
        claims.iter().rev().find(|(_, recorded)| *recorded == Some(size)).or(claims.last()).map(|(index, _)| *index)
    }

    /// Fills in owner and version of what a search found, and for what it did not find, where files of that name lie.
    pub(super) fn annotate(
        &self,
        folders: &Folders<'_>,
        dists: &[Dist],
        usual: &[String],
        resolution: &mut Resolution,
        header: bool,
    ) {
        match &mut resolution.file {
            Probed::Found { value, .. } => {
                let owner = self.owner(&value.real, value.size).and_then(|index| dists.get(index));
                value.owner = owner.map(|dist| format!("{} {}", dist.name, dist.version));
                for unresolved in &mut value.unresolved {
                    let real = folders.host.real_text(&unresolved.file);
                    let size = folders.host.stat(&real).map_or(0, |stat| stat.size);
                    let owner = self.owner(&real, size).and_then(|index| dists.get(index));
                    unresolved.owner = owner.map(|dist| format!("{} {}", dist.name, dist.version));
                }
                if let Some(version) = version(folders.host, &resolution.name, &value.real, owner, header) {
                    value.version = Some(version);
                }
            }
            _ => {
                for folder in usual {
                    if folders.kind(folder, &resolution.name).is_none_or(|kind| kind == Kind::Folder) {
                        continue;
                    }
                    let path = join(folder, &resolution.name);
                    if resolution.others.iter().any(|other| other.path == path)
                        || resolution.rejected.iter().any(|other| other.path == path)
                    {
                        continue;
                    }
                    let Ok(stat) = folders.host.stat(&path) else { continue };
                    let real = folders.host.real_text(&path);
                    let owner = self.owner(&real, stat.size).and_then(|index| dists.get(index));
                    let version = version(folders.host, &resolution.name, &real, owner, header);
                    resolution.others.push(Candidate { path, via: None, version });
                }
            }
        }
        for other in resolution.others.iter_mut().filter(|other| other.version.is_none()) {
            let real = folders.host.real_text(&other.path);
            let size = folders.host.stat(&real).map_or(0, |stat| stat.size);
            let owner = self.owner(&real, size).and_then(|index| dists.get(index));
            other.version = version(folders.host, &resolution.name, &real, owner, header);
        }
    }
}

/// Folders where a reader would expect CUDA libraries, though the loader may not look there.
pub(super) fn usual_folders(folders: &Folders<'_>, sites: &[&str], prefix: &str) -> Vec<String> {
    let mut usual = Vec::new();
    for site in sites {
        let nvidia = join(site, "nvidia");
        for entry in folders.list(&nvidia).iter().flat_map(|listing| listing.iter()) {
            if entry.kind != Kind::File && !entry.name.starts_with('_') {
                usual.push(join(&nvidia, &format!("{}/lib", entry.name)));
            }
        }
    }
    usual.push(join(prefix, "lib"));
    for entry in folders.list("/usr/local").iter().flat_map(|listing| listing.iter()) {
        if entry.name == "cuda" || entry.name.starts_with("cuda-") {
            usual.push(format!("/usr/local/{}/lib64", entry.name));
        }
    }
    usual.extend(["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib64"].map(str::to_owned));
    usual
}

/// The version of a library: from its name, a header beside it, its wheel, or its toolkit's list.
pub(super) fn version(
    host: &Host,
    name: &str,
    real: &str,
    owner: Option<&Dist>,
    header: bool,
) -> Option<Reading<Dotted>> {
    let (folder, file) = real.rsplit_once('/')?;
    let cudnn = name.starts_with("libcudnn");
    if let Some(value) = Dotted::from_file_name(file)
        && value.len() >= if cudnn { 3 } else { 2 }
    {
        return Some(Reading { value, evidence: Evidence::file(real, "the file's name") });
    }
    let above = folder.rsplit_once('/').map_or("", |(above, _)| above);
    if cudnn && header {
        let mut headers = vec![join(above, "include/cudnn_version.h")];
        if folder.starts_with("/usr/lib") || folder.starts_with("/lib") {
            headers.push("/usr/include/cudnn_version.h".to_owned());
            headers.push("/usr/include/x86_64-linux-gnu/cudnn_version.h".to_owned());
            headers.push("/usr/include/aarch64-linux-gnu/cudnn_version.h".to_owned());
        }
        let major: Option<Dotted> = Dotted::from_file_name(name);
        for header in headers {
            let Ok(text) = host.read_lossy(&header) else { continue };
            let Some((value, line)) = cudnn_header(&text) else { continue };
            if major.as_ref().is_none_or(|major| major.major() == value.major()) {
                let says = format!("CUDNN_MAJOR, MINOR, PATCHLEVEL {value}");
                return Some(Reading { value, evidence: Evidence::file(header, says).line(line) });
            }
        }
    }
    if let Some(dist) = owner
        && let Ok(value) = dist.version.parse::<Dotted>()
    {
        return Some(Reading {
            value,
            evidence: Evidence::package(&dist.metadata, format!("{} {}", dist.name, dist.version)),
        });
    }
    toolkit_version(host, name, folder)
}

/// What `version.json` of a toolkit says about one of its libraries.
fn toolkit_version(host: &Host, name: &str, folder: &str) -> Option<Reading<Dotted>> {
    let key = match name.split(".so").next()? {
        "libcudart" => "cuda_cudart",
        "libcublasLt" | "libcublas" => "libcublas",
        "libcufft" => "libcufft",
        "libcurand" => "libcurand",
        "libcusolver" => "libcusolver",
        "libcusparse" => "libcusparse",
        _ => return None,
    };
    let root = folder.strip_suffix("/lib64").or_else(|| folder.strip_suffix("/targets/x86_64-linux/lib"))?;
    let path = join(root, "version.json");
    let json: serde_json::Value = serde_json::from_slice(host.read_lossy(&path).ok()?.as_bytes()).ok()?;
    let text = json.get(key)?.get("version")?.as_str()?;
    Some(Reading { value: text.parse().ok()?, evidence: Evidence::file(path, format!("{key} {text}")) })
}

/// The version that cuDNN's header states, with the line of its first number.
fn cudnn_header(text: &str) -> Option<(Dotted, u32)> {
    let define = |wanted: &str| {
        (1u32..).zip(text.lines()).find_map(|(number, line)| {
            let mut words = line.split_whitespace();
            (words.next()? == "#define" && words.next()? == wanted).then_some(())?;
            Some((words.next()?.parse::<u32>().ok()?, number))
        })
    };
    let (major, line) = define("CUDNN_MAJOR")?;
    let (minor, _) = define("CUDNN_MINOR")?;
    let (patch, _) = define("CUDNN_PATCHLEVEL")?;
    Some((Dotted::new(&[major, minor, patch]), line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn dist(name: &str) -> Dist {
        Dist { name: name.to_owned(), location: "/site".to_owned(), version: "1.2".to_owned(), ..Dist::default() }
    }

    #[test]
    fn twins_share_more_than_their_init_files() {
        let dir = tempfile::tempdir().unwrap();
        let host = Host::rooted(dir.path(), BTreeMap::new()).unwrap();
        let dists = [dist("nvidia-cudnn-cu12"), dist("nvidia-cudnn-cu13"), dist("nvidia-cublas-cu12")];
        let shared = "nvidia/__init__.py,,0\nnvidia/cudnn/lib/libcudnn.so.9,,5\nnvidia/cudnn/__init__.py,,0\n";
        let records = BTreeMap::from([
            (0, shared.to_owned()),
            (1, shared.replace(",,5", ",,7")),
            (2, "nvidia/__init__.py,,0\nnvidia/cublas/lib/libcublas.so.12,,3\n".to_owned()),
        ]);
        let wheels = Wheels::read(&host, &dists, &records);
        assert_eq!((wheels.wheels[0].twins.as_slice(), wheels.wheels[0].shared), ([1].as_slice(), 1));
        assert!(wheels.wheels[2].twins.is_empty());
        assert_eq!(wheels.owner("/site/nvidia/cudnn/lib/libcudnn.so.9", 5), Some(0));
        assert_eq!(wheels.owner("/site/nvidia/cudnn/lib/libcudnn.so.9", 7), Some(1));
        assert_eq!(wheels.owner("/site/x", 7), None);
    }

    #[test]
    fn headers_of_cudnn() {
        let text = "#define CUDNN_MAJOR 9\n#define CUDNN_MINOR  1\n#define CUDNN_PATCHLEVEL 70\n";
        assert_eq!(cudnn_header(text).unwrap().0.to_string(), "9.1.70");
        assert!(cudnn_header("#define CUDNN_MAJOR 9\n").is_none());
    }

    proptest! {
        #[test]
        fn headers_never_panic(text in "[#defin CUDN_MAJORIPTLEVH0-9\\n]{0,120}") {
            let _ = cudnn_header(&text);
        }
    }
}
