//! NVIDIA's redistributable manifests: rows of CUDA and cuDNN from `redistrib_*.json`; judges nothing.
//!
//! The folder of a product lists its manifests. One of CUDA has `release_label` and an entry for each part,
//! `nvidia_driver` among them; one of cuDNN has the entry `cudnn` with its version and CUDA variants.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Url;
use serde::Deserialize;

use super::http::{Http, NetError, shown};
use crate::db::schema::Release;
use crate::db::{CudaRow, CudnnRow, Day};
use crate::sort::Sorted as _;
use crate::version::Dotted;

/// Where NVIDIA publishes them; rows cite this address whatever mirror was asked.
pub const HOME: &str = "https://developer.download.nvidia.com/";
/// The folder of CUDA's manifests.
pub const CUDA: &str = "compute/cuda/redist/";
/// The folder of cuDNN's manifests.
pub const CUDNN: &str = "compute/cudnn/redist/";
/// A manifest or a list is read up to this many bytes.
const LIMIT: u64 = 8 << 20;

/// Why a manifest gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The network.
    #[error(transparent)]
    Net(#[from] NetError),
    /// It is no manifest.
    #[error("{0}: this is no manifest of NVIDIA's: {1}")]
    Shape(String, String),
}

#[derive(Deserialize)]
struct Manifest {
    #[serde(default)]
    release_label: Option<String>,
    #[serde(flatten)]
    parts: BTreeMap<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct Part {
    version: String,
    #[serde(default)]
    cuda_variant: Vec<String>,
    #[serde(rename = "linux-x86_64", default)]
    linux: Option<serde_json::Value>,
}

/// The names of the manifests in a folder, with the versions in their names.
pub fn list(http: &Http, base: &Url, folder: &str) -> Result<BTreeMap<String, Dotted>, ManifestError> {
    let url = join(base, folder)?;
    let page = http.page(&url, "text/html, */*;q=0.5", LIMIT)?;
    let found = names(&String::from_utf8_lossy(&page.bytes));
    if found.is_empty() {
        return Err(ManifestError::Shape(shown(&url), "it lists no redistrib_*.json".to_owned()));
    }
    Ok(found)
}

fn names(text: &str) -> BTreeMap<String, Dotted> {
    text.match_indices("redistrib_")
        .filter_map(|(at, start)| {
            let rest = text.get(at + start.len()..)?;
            let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
            let version: Dotted = rest.get(..end)?.trim_end_matches('.').parse().ok()?;
            rest.get(version.as_str().len()..)?
                .starts_with(".json")
                .then(|| (format!("redistrib_{version}.json"), version))
        })
        .sorted_map()
}

fn join(base: &Url, path: &str) -> Result<Url, NetError> {
    base.join(path).map_err(|_| NetError::Address(path.to_owned()))
}

fn read(http: &Http, base: &Url, folder: &str, name: &str) -> Result<Manifest, ManifestError> {
    let url = join(base, &format!("{folder}{name}"))?;
    let page = http.page(&url, "application/json", LIMIT)?;
    serde_json::from_slice(&page.bytes).map_err(|error| ManifestError::Shape(shown(&url), error.to_string()))
}

/// The row of a toolkit. `floor` is that of its family, where the tables know one.
pub fn cuda(http: &Http, base: &Url, name: &str, floor: Option<Dotted>, today: &Day) -> Result<CudaRow, ManifestError> {
    let manifest = read(http, base, CUDA, name)?;
    let shape = |why: &str| ManifestError::Shape(name.to_owned(), why.to_owned());
    let label = manifest.release_label.as_deref().ok_or_else(|| shape("it has no release_label"))?;
    let number: Dotted = label.parse().map_err(|_| shape("its release_label is no version"))?;
    let driver = manifest
        .parts
        .get("nvidia_driver")
        .and_then(|part| Part::deserialize(part).ok())
        .filter(|part| part.linux.is_some())
        .and_then(|part| part.version.parse().ok());
    // Since 13.4 no driver is bundled; then no figure is stated.
    let mut note = vec!["derived from the manifest".to_owned()];
    if floor.is_some() {
        note.push("floor_linux: that of its family".to_owned());
    }
    Ok(CudaRow {
        version: Release { number, pre: None },
        driver_linux: driver,
        driver_windows: None,
        floor_linux: floor,
        floor_windows: None,
        compute_min: None,
        compute_max: None,
        gcc_min: None,
        gcc_max: None,
        clang_min: None,
        clang_max: None,
        msvc_min: None,
        msvc_below: None,
        ptx_isa: None,
        source: format!("{HOME}{CUDA}{name}"),
        also: Vec::new(),
        checked: today.clone(),
        derived: true,
        note: Some(note.join("; ")),
    })
}

/// The rows of a cuDNN, one for each CUDA major.
pub fn cudnn(http: &Http, base: &Url, name: &str, today: &Day) -> Result<Vec<CudnnRow>, ManifestError> {
    let manifest = read(http, base, CUDNN, name)?;
    let shape = |why: &str| ManifestError::Shape(name.to_owned(), why.to_owned());
    let part = manifest.parts.get("cudnn").ok_or_else(|| shape("it has no entry `cudnn`"))?;
    let part = Part::deserialize(part).map_err(|error| shape(&error.to_string()))?;
    let version: Dotted = part.version.parse().map_err(|_| shape("its version is no version"))?;
    let mut majors: BTreeSet<u32> = part.cuda_variant.iter().filter_map(|major| major.parse().ok()).sorted_set();
    if let Some(serde_json::Value::Object(variants)) = &part.linux {
        majors.extend(variants.keys().filter_map(|key| key.strip_prefix("cuda")?.parse::<u32>().ok()));
    }
    if majors.is_empty() {
        return Err(shape("it names no CUDA variant"));
    }
    Ok(majors
        .into_iter()
        .map(|major| CudnnRow {
            version: version.prefix(3),
            cuda: vec![Dotted::new(&[major])],
            driver_linux: None,
            compute_min: None,
            source: format!("{HOME}{CUDNN}{name}"),
            also: Vec::new(),
            checked: today.clone(),
            derived: true,
            note: Some("derived from the manifest".to_owned()),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_all_kinds_give_names() {
        let text = "<a href=\"redistrib_12.4.1.json\">redistrib_12.4.1.json</a> <a href='redistrib_13.0.0.json'>x</a> \
                    redistrib_features_12.4.1.json redistrib_.json redistrib_12.5.0.xml";
        let found: Vec<_> = names(text).into_values().map(|version| version.to_string()).collect();
        assert_eq!(found, ["12.4.1", "13.0.0"]);
    }
}
