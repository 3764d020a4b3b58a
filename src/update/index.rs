//! The package index: which one this machine uses, and what it lists; chooses no file and reads no wheel.
//!
//! The address is that of `--index-url`, else of the environment, else of the configuration of uv and pip,
//! else what the installed pip has built in, which is read from pip's own source. None is written here.
//! Pages are read in the JSON form (PEP 691) and in the HTML form (PEP 503).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use reqwest::Url;
use serde::Deserialize;

use super::http::{Http, NetError, address};
use super::wheel::{Archive, InMemory, WheelName};
use crate::host::Host;
use crate::probe::python::normalise;

/// A page of the index is read up to this many bytes.
const PAGE_LIMIT: u64 = 64 << 20;
/// A wheel of pip is read up to this many bytes.
const PIP_LIMIT: u64 = 16 << 20;

/// Which index is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// Its address, with a slash at its end.
    pub url: Url,
    /// What names it: an option, a variable, a file.
    pub from: String,
    /// A file of certificates that the same configuration names.
    pub certificates: Option<String>,
}

/// Why no index is asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoIndex {
    /// The machine is told to use none.
    #[error("{0} says that no index is to be used; name one with --index-url")]
    Forbidden(String),
    /// Nothing names one.
    #[error(
        "no package index is known here: no option, variable or configuration file names one, and no pip is installed; name one with --index-url"
    )]
    Unknown,
    /// A configuration names something that is no address.
    #[error("{0}: {1}")]
    Wrong(String, String),
}

/// A file that the index lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub url: Url,
    /// Its SHA-256, where the index tells it.
    pub sha256: Option<String>,
    /// The Pythons it asks for.
    pub requires_python: Option<String>,
    /// Whether it was taken back.
    pub yanked: bool,
    /// Whether its metadata lies beside it (PEP 658), and with which SHA-256.
    pub metadata: Option<Option<String>>,
}

/// Finds the index that this machine uses.
pub fn discover(host: &Host, option: Option<&str>) -> Result<Index, NoIndex> {
    let certificates = host.env_nonempty("PIP_CERT").map(str::to_owned);
    if let Some(text) = option {
        return index(text, "--index-url".to_owned(), certificates);
    }
    for name in ["UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"] {
        if let Some(text) = host.env_nonempty(name) {
            // uv lets an index have a name: `name=https://…`.
            let text = text.split_once('=').filter(|(name, _)| !name.contains(':')).map_or(text, |(_, url)| url);
            return index(text, name.to_owned(), certificates);
        }
    }
    let set = |name: &str| host.env_nonempty(name).is_some_and(|value| truth(value) == Some(true));
    for name in ["UV_OFFLINE", "UV_NO_INDEX", "PIP_NO_INDEX"] {
        if set(name) {
            return Err(NoIndex::Forbidden(name.to_owned()));
        }
    }
    if !set("UV_NO_CONFIG")
        && let Some((text, from)) = uv(host)?
    {
        return index(&text, from, certificates);
    }
    let pip = pip_config(host);
    let certificates = certificates.or(pip.cert);
    if let Some((text, from)) = pip.index {
        return index(&text, from, certificates);
    }
    if let Some(from) = pip.forbidden {
        return Err(NoIndex::Forbidden(from));
    }
    let (text, from) = built_in(host).ok_or(NoIndex::Unknown)?;
    index(&text, from, certificates)
}

fn index(text: &str, from: String, certificates: Option<String>) -> Result<Index, NoIndex> {
    let text = text.trim().trim_end_matches('/');
    let url = address(&format!("{text}/")).map_err(|error| NoIndex::Wrong(from.clone(), error.to_string()))?;
    Ok(Index { url, from, certificates })
}

fn truth(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" | "y" | "t" => Some(true),
        "0" | "false" | "no" | "off" | "n" | "f" => Some(false),
        _ => None,
    }
}

/// What uv's configuration names: the project's, the user's, the system's, the first that names one.
fn uv(host: &Host) -> Result<Option<(String, String)>, NoIndex> {
    let mut files: Vec<(PathBuf, bool)> = Vec::new();
    if let Some(file) = host.env_nonempty("UV_CONFIG_FILE") {
        files.push((host.absolute(file), false));
    } else {
        for folder in host.cwd().ancestors() {
            // In one folder uv.toml wins over pyproject.toml; the nearest folder that has settings is the project.
            let own = folder.join("uv.toml");
            let project = folder.join("pyproject.toml");
            if host.is_file(&own) {
                files.push((own, false));
                break;
            }
            if host.read_text(&project).is_ok_and(|text| text.contains("[tool.uv")) {
                files.push((project, true));
                break;
            }
        }
        files.extend(config_home(host).map(|folder| (folder.join("uv/uv.toml"), false)));
        for folder in host.env_nonempty("XDG_CONFIG_DIRS").unwrap_or("/etc/xdg").split(':') {
            files.push((Path::new(folder).join("uv/uv.toml"), false));
        }
        files.push((PathBuf::from("/etc/uv/uv.toml"), false));
    }
    for (file, project) in files {
        let Ok(text) = host.read_text(&file) else { continue };
        let from = file.display().to_string();
        let wrong = |why: String| NoIndex::Wrong(from.clone(), why);
        let root: toml::Table = text.parse().map_err(|error: toml::de::Error| wrong(error.message().to_owned()))?;
        let settings = if project {
            root.get("tool").and_then(|tool| tool.get("uv")).and_then(toml::Value::as_table)
        } else {
            Some(&root)
        };
        let Some(settings) = settings else { continue };
        let text = |value: Option<&toml::Value>| value.and_then(toml::Value::as_str).map(str::to_owned);
        let default = settings.get("index").and_then(toml::Value::as_array).and_then(|list| {
            list.iter().find(|index| index.get("default").and_then(toml::Value::as_bool) == Some(true))
        });
        let found = text(default.and_then(|index| index.get("url")))
            .or_else(|| text(settings.get("index-url")))
            .or_else(|| text(settings.get("pip").and_then(|pip| pip.get("index-url"))));
        if let Some(found) = found {
            return Ok(Some((found, from)));
        }
        for key in ["no-index", "offline"] {
            if settings.get(key).and_then(toml::Value::as_bool) == Some(true) {
                return Err(NoIndex::Forbidden(format!("{key} in {from}")));
            }
        }
    }
    Ok(None)
}

fn config_home(host: &Host) -> Option<PathBuf> {
    match host.env_nonempty("XDG_CONFIG_HOME") {
        Some(folder) => Some(PathBuf::from(folder)),
        None => host.home().map(|home| Path::new(home).join(".config")),
    }
}

#[derive(Debug, Default)]
struct PipConfig {
    index: Option<(String, String)>,
    cert: Option<String>,
    forbidden: Option<String>,
}

/// What pip's configuration says; a later file wins over an earlier one, as in pip.
fn pip_config(host: &Host) -> PipConfig {
    let mut files: Vec<PathBuf> = Vec::new();
    let named = host.env_nonempty("PIP_CONFIG_FILE");
    if named != Some("/dev/null") {
        let dirs = host.env_nonempty("XDG_CONFIG_DIRS").unwrap_or("/etc/xdg");
        files.extend(dirs.split(':').map(|folder| Path::new(folder).join("pip/pip.conf")));
        files.push(PathBuf::from("/etc/pip.conf"));
        files.extend(host.home().map(|home| Path::new(home).join(".pip/pip.conf")));
        files.extend(config_home(host).map(|folder| folder.join("pip/pip.conf")));
        files.extend(prefixes(host).into_iter().next().map(|prefix| prefix.join("pip.conf")));
        files.extend(named.map(|file| host.absolute(file)));
    }
    let mut config = PipConfig::default();
    // The section of a command wins over the global one, whatever file it stands in.
    for section in ["global", "download", "install"] {
        for file in &files {
            let Ok(text) = host.read_lossy(file) else { continue };
            let from = file.display().to_string();
            let entries = ini(&text, section);
            if let Some(url) = entries.get("index-url").filter(|url| !url.is_empty()) {
                config.index = Some((url.clone(), from.clone()));
            }
            if let Some(cert) = entries.get("cert").filter(|cert| !cert.is_empty()) {
                config.cert = Some(cert.clone());
            }
            if let Some(value) = entries.get("no-index") {
                config.forbidden = (truth(value) == Some(true)).then(|| format!("no-index in {from}"));
            }
        }
    }
    config
}

/// The entries of one section of an INI file, as Python's `configparser` reads them; `_` in a key is `-`.
fn ini(text: &str, wanted: &str) -> BTreeMap<String, String> {
    let mut entries = BTreeMap::new();
    let mut inside = false;
    for line in text.lines() {
        let line = line.trim_end();
        if line.trim_start().starts_with(['#', ';']) || line.trim().is_empty() || line.starts_with([' ', '\t']) {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            inside = name.0 == wanted;
        } else if let Some((key, value)) = line.split_once(['=', ':']).filter(|_| inside) {
            entries.insert(key.trim().to_ascii_lowercase().replace('_', "-"), value.trim().to_owned());
        }
    }
    entries
}

/// Where Pythons are installed, the active one first.
fn prefixes(host: &Host) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    found.extend(
        ["VIRTUAL_ENV", "CONDA_PREFIX"]
            .into_iter()
            .filter_map(|name| host.env_nonempty(name))
            .map(|path| host.absolute(path)),
    );
    found.push(host.absolute(".venv"));
    for folder in host.env_nonempty("PATH").unwrap_or_default().split(':').filter(|folder| folder.starts_with('/')) {
        for name in ["python3", "python"] {
            if let Ok(real) = host.real(Path::new(folder).join(name)) {
                found.extend(real.parent().and_then(Path::parent).map(Path::to_path_buf));
            }
        }
    }
    let pyenv = host
        .env_nonempty("PYENV_ROOT")
        .map(PathBuf::from)
        .or_else(|| host.home().map(|home| Path::new(home).join(".pyenv")));
    if let Some(versions) = pyenv.map(|root| root.join("versions")) {
        found.extend(host.names(&versions).into_iter().rev().map(|name| versions.join(name)));
    }
    found.extend(["/usr/local", "/usr"].map(PathBuf::from));
    // A venv may have been made without pip; what it was made from has one.
    let bases: Vec<PathBuf> = found
        .iter()
        .filter_map(|prefix| host.read_lossy(prefix.join("pyvenv.cfg")).ok())
        .filter_map(|cfg| {
            let home = cfg.lines().find_map(|line| line.split_once('=').filter(|(key, _)| key.trim() == "home"))?.1;
            Path::new(home.trim()).parent().map(Path::to_path_buf)
        })
        .collect();
    found.extend(bases);
    let mut seen = Vec::new();
    found.retain(|prefix| {
        host.is_dir(prefix) && !seen.contains(prefix) && {
            seen.push(prefix.clone());
            true
        }
    });
    found
}

/// The index that an installed pip has built in, and the file that says so.
fn built_in(host: &Host) -> Option<(String, String)> {
    const SOURCE: &str = "pip/_internal/models/index.py";
    let prefixes = prefixes(host);
    let libraries = || {
        prefixes.iter().flat_map(|prefix| {
            let lib = prefix.join("lib");
            host.names(&lib).into_iter().rev().filter(|name| name.starts_with("python")).map(move |name| lib.join(name))
        })
    };
    for library in libraries() {
        for packages in ["site-packages", "dist-packages"] {
            let file = library.join(packages).join(SOURCE);
            if let Some(url) = host.read_lossy(&file).ok().as_deref().and_then(literal) {
                return Some((url, file.display().to_string()));
            }
        }
    }
    // Python itself carries the wheel that makes pip where it is wanted.
    for library in libraries() {
        let folder = library.join("ensurepip/_bundled");
        for name in
            host.names(&folder).into_iter().filter(|name| name.starts_with("pip-") && WheelName::parse(name).is_some())
        {
            let file = folder.join(name);
            let Ok(bytes) = host.read(&file, PIP_LIMIT) else { continue };
            let source = Archive::open(InMemory(&bytes)).ok().and_then(|mut archive| {
                let member = archive.find(|path| path == SOURCE).ok()??;
                archive.contents(&member, 1 << 20).ok()
            });
            if let Some(url) = source.and_then(|source| literal(&String::from_utf8_lossy(&source))) {
                return Some((url, file.display().to_string()));
            }
        }
    }
    None
}

/// The address in `PyPI = PackageIndex("…", …)`, with the folder of the simple API that the class adds.
fn literal(source: &str) -> Option<String> {
    let line = source.lines().find_map(|line| line.strip_prefix("PyPI")?.trim_start().strip_prefix('='))?;
    let start = source.find(line)?;
    let rest = source.get(start..)?.trim_start();
    let rest = rest.strip_prefix("PackageIndex")?.trim_start().strip_prefix('(')?.trim_start();
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let (url, _) = rest.get(1..)?.split_once(quote)?;
    Url::parse(url).ok()?.join("simple").ok().map(|url| url.to_string())
}

/// The files of a project; none where the index has no such project.
pub fn files(http: &Http, index: &Index, project: &str) -> Result<Option<Vec<File>>, IndexError> {
    const ACCEPT: &str =
        "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1";
    let name = normalise(project);
    let url = index.url.join(&format!("{name}/")).map_err(|_| NetError::Address(name.clone()))?;
    let page = match http.page(&url, ACCEPT, PAGE_LIMIT) {
        Ok(page) => page,
        Err(NetError::Status(_, 404 | 410, _)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let strange = |why: String| IndexError::Page(super::http::shown(&url), why);
    if page.kind.ends_with("json") { json(&page.bytes, &page.url) } else { html(&page.bytes, &page.url) }
        .map(Some)
        .map_err(strange)
}

/// Why a page of the index could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// The network.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The page is not what an index answers.
    #[error("{0}: this is no page of a package index: {1}")]
    Page(String, String),
}

#[derive(Deserialize)]
struct JsonPage {
    meta: JsonMeta,
    files: Vec<JsonFile>,
}

#[derive(Deserialize)]
struct JsonMeta {
    #[serde(rename = "api-version")]
    version: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct JsonFile {
    filename: String,
    url: String,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
    #[serde(default)]
    requires_python: Option<String>,
    #[serde(default)]
    yanked: serde_json::Value,
    #[serde(default)]
    core_metadata: serde_json::Value,
    #[serde(default)]
    dist_info_metadata: serde_json::Value,
}

fn json(bytes: &[u8], base: &Url) -> Result<Vec<File>, String> {
    let page: JsonPage = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if !page.meta.version.starts_with("1.") {
        return Err(format!("it has version {} of the interface, and 1 is read here", page.meta.version));
    }
    let metadata = |value: &serde_json::Value| match value {
        serde_json::Value::Bool(true) => Some(None),
        serde_json::Value::Object(hashes) => {
            Some(hashes.get("sha256").and_then(serde_json::Value::as_str).map(str::to_owned))
        }
        _ => None,
    };
    Ok(page
        .files
        .into_iter()
        .filter_map(|file| {
            Some(File {
                url: base.join(&file.url).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?,
                name: file.filename,
                sha256: file.hashes.get("sha256").cloned(),
                requires_python: file.requires_python.filter(|text| !text.trim().is_empty()),
                yanked: file.yanked == serde_json::Value::Bool(true) || file.yanked.is_string(),
                metadata: metadata(&file.core_metadata).or_else(|| metadata(&file.dist_info_metadata)),
            })
        })
        .collect())
}

/// Reads the anchors of an HTML page; whatever else stands there is passed over.
fn html(bytes: &[u8], base: &Url) -> Result<Vec<File>, String> {
    let text = String::from_utf8_lossy(bytes);
    let lower = text.to_ascii_lowercase();
    if !lower.contains("<html") && !lower.contains("<a ") {
        return Err("it is neither JSON nor HTML".to_owned());
    }
    let mut base = base.clone();
    if let Some(at) = lower.find("<base ")
        && let Some(href) = tag(&text[at..]).and_then(|(attributes, _)| attributes.get("href").cloned())
        && let Ok(url) = base.join(&href)
    {
        base = url;
    }
    let mut files = Vec::new();
    let mut at = 0;
    while let Some(next) = lower[at..].find("<a") {
        at += next;
        let Some((attributes, length)) = tag(&text[at..]) else { break };
        at += length;
        let end = lower[at..].find("</a").map_or(text.len(), |end| at + end);
        let name = unescape(text[at..end].trim());
        at = end;
        let Some(url) = attributes.get("href").and_then(|href| base.join(href).ok()) else { continue };
        if !matches!(url.scheme(), "http" | "https") {
            continue;
        }
        let hash = |text: &str| text.strip_prefix("sha256=").map(str::to_owned);
        let metadata = attributes.get("data-core-metadata").or_else(|| attributes.get("data-dist-info-metadata"));
        files.push(File {
            name,
            sha256: url.fragment().and_then(hash),
            requires_python: attributes.get("data-requires-python").filter(|text| !text.trim().is_empty()).cloned(),
            yanked: attributes.contains_key("data-yanked"),
            metadata: metadata.filter(|text| *text != "false").map(|text| hash(text)),
            url,
        });
    }
    Ok(files)
}

/// The attributes of a tag at the beginning of a text, and the length of the tag.
fn tag(text: &str) -> Option<(BTreeMap<String, String>, usize)> {
    let begin = text.find(|c: char| c.is_whitespace() || c == '>')?;
    let mut attributes = BTreeMap::new();
    let mut rest = &text[begin..];
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
        if let Some(after) = rest.strip_prefix('>') {
            return Some((attributes, text.len() - after.len()));
        }
        let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '=' | '>' | '/'))?;
        let key = rest[..end].to_ascii_lowercase();
        rest = rest[end..].trim_start();
        let mut value = "";
        if let Some(after) = rest.strip_prefix('=') {
            let after = after.trim_start();
            if let Some(quote) = after.chars().next().filter(|c| matches!(c, '"' | '\'')) {
                let (inner, left) = after[1..].split_once(quote)?;
                (value, rest) = (inner, left);
            } else {
                let end = after.find(|c: char| c.is_whitespace() || c == '>')?;
                (value, rest) = after.split_at(end);
            }
        } else if key.is_empty() {
            return None;
        }
        attributes.insert(key, unescape(value));
    }
}

fn unescape(text: &str) -> String {
    if !text.contains('&') {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let Some(end) = rest.find(';').filter(|end| *end <= 8) else {
            out.push('&');
            rest = &rest[1..];
            continue;
        };
        let name = &rest[1..end];
        let number = name
            .strip_prefix("#x")
            .or_else(|| name.strip_prefix("#X"))
            .map(|hex| u32::from_str_radix(hex, 16))
            .or_else(|| name.strip_prefix('#').map(str::parse));
        let c = match name {
            "lt" => Some('<'),
            "gt" => Some('>'),
            "amp" => Some('&'),
            "quot" => Some('"'),
            "apos" => Some('\''),
            _ => number.and_then(Result::ok).and_then(char::from_u32),
        };
        match c {
            Some(c) => out.push(c),
            None => out.push_str(&rest[..=end]),
        }
        rest = &rest[end + 1..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn base() -> Url {
        Url::parse("https://mirror.example/simple/keras/").unwrap()
    }

    fn host(files: &[(&str, &str)], env: &[(&str, &str)]) -> (tempfile::TempDir, Host) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let mut all =
            BTreeMap::from([("HOME".to_owned(), "/home/ada".to_owned()), ("PWD".to_owned(), "/w/p".to_owned())]);
        all.extend(env.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        let host = Host::rooted(dir.path(), all).unwrap();
        (dir, host)
    }

    fn found(files: &[(&str, &str)], env: &[(&str, &str)], option: Option<&str>) -> (String, String) {
        let (_dir, host) = host(files, env);
        let index = discover(&host, option).unwrap();
        (index.url.to_string(), index.from)
    }

    const PIP: &str = "class PackageIndex:\n    pass\n\n\nPyPI = PackageIndex(\n    \"https://built-in.example/\", file_storage_domain=\"files.example\"\n)\nTestPyPI = PackageIndex(\"https://test.example/\")\n";

    #[test]
    fn the_nearest_word_names_the_index() {
        let pip = ("usr/lib/python3.12/site-packages/pip/_internal/models/index.py", PIP);
        let user = ("home/ada/.config/pip/pip.conf", "[global]\nindex-url = https://user.example/simple\n");
        let system =
            ("etc/pip.conf", "[global]\n# note\nindex_url: https://system.example/simple\n[install]\ncert = /c.pem\n");
        let uv = ("w/uv.toml", "index-url = \"https://uv.example/simple\"\n");
        assert_eq!(found(&[pip], &[], None).0, "https://built-in.example/simple/");
        assert_eq!(found(&[pip, system], &[], None), ("https://system.example/simple/".into(), "/etc/pip.conf".into()));
        assert_eq!(found(&[pip, system, user], &[], None).0, "https://user.example/simple/");
        assert_eq!(found(&[system, uv], &[], None), ("https://uv.example/simple/".into(), "/w/uv.toml".into()));
        assert_eq!(found(&[system, uv], &[("UV_NO_CONFIG", "1")], None).0, "https://system.example/simple/");
        let env = [("PIP_INDEX_URL", "https://pip.example/s/"), ("UV_DEFAULT_INDEX", "own=https://env.example/s")];
        assert_eq!(found(&[uv], &env[..1], None), ("https://pip.example/s/".into(), "PIP_INDEX_URL".into()));
        assert_eq!(found(&[uv], &env, None), ("https://env.example/s/".into(), "UV_DEFAULT_INDEX".into()));
        assert_eq!(found(&[uv], &env, Some("http://o.example")).0, "http://o.example/");
        assert_eq!(
            found(&[system], &[("PIP_CONFIG_FILE", "/dev/null"), ("PIP_INDEX_URL", "https://x.example")], None).0,
            "https://x.example/"
        );
    }

    #[test]
    fn all_forms_of_configuration_are_read() {
        let project = (
            "w/p/pyproject.toml",
            "[[tool.uv.index]]\nurl = \"https://extra.example\"\n[[tool.uv.index]]\nurl = \"https://p.example/simple\"\ndefault = true\n",
        );
        assert_eq!(found(&[project], &[], None).0, "https://p.example/simple/");
        let section = (
            "etc/pip.conf",
            "[install]\nindex-url = https://install.example\n[global]\nindex-url = https://global.example\n",
        );
        assert_eq!(found(&[section], &[], None).0, "https://install.example/");
        let site = ("venv/pip.conf", "[global]\nindex-url = https://venv.example\n");
        assert_eq!(found(&[section, site], &[("VIRTUAL_ENV", "/venv")], None).0, "https://install.example/");
        let named = ("x.conf", "[install]\nindex-url = https://named.example\n");
        assert_eq!(found(&[section, named], &[("PIP_CONFIG_FILE", "/x.conf")], None).0, "https://named.example/");
        let (_dir, host) = host(&[("etc/pip.conf", "[global]\ncert = /c.pem\n")], &[]);
        assert_eq!(discover(&host, Some("https://x.example")).unwrap().certificates, None);
        assert_eq!(pip_config(&host).cert.as_deref(), Some("/c.pem"));
    }

    #[test]
    fn where_no_index_may_or_can_be_asked_it_says_so() {
        let none = |files: &[(&str, &str)], env: &[(&str, &str)]| {
            let (_dir, host) = host(files, env);
            discover(&host, None).unwrap_err()
        };
        assert_eq!(none(&[], &[]), NoIndex::Unknown);
        assert_eq!(none(&[], &[("PIP_NO_INDEX", "1")]), NoIndex::Forbidden("PIP_NO_INDEX".into()));
        assert!(matches!(none(&[("etc/pip.conf", "[global]\nno-index = true\n")], &[]), NoIndex::Forbidden(_)));
        assert!(matches!(none(&[("etc/uv/uv.toml", "offline = true\n")], &[]), NoIndex::Forbidden(_)));
        assert!(matches!(none(&[("etc/uv/uv.toml", "= nonsense")], &[]), NoIndex::Wrong(..)));
        assert!(matches!(none(&[], &[("UV_INDEX_URL", "/some/folder")]), NoIndex::Wrong(..)));
    }

    #[test]
    fn pip_in_the_wheel_that_python_carries() {
        let wheel =
            super::super::wheel::zip(&[("pip/_internal/models/index.py".to_owned(), PIP.as_bytes().to_vec())], true);
        let (dir, host) = host(&[("usr/lib/python3.12/os.py", "")], &[]);
        let folder = dir.path().join("usr/lib/python3.12/ensurepip/_bundled");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("pip-24.0-py3-none-any.whl"), wheel).unwrap();
        assert_eq!(discover(&host, None).unwrap().url.as_str(), "https://built-in.example/simple/");
    }

    #[test]
    fn pages_in_json() {
        let text = r#"{"meta":{"api-version":"1.1"},"name":"keras","files":[
            {"filename":"keras-3.0.0-py3-none-any.whl","url":"../../f/keras-3.0.0-py3-none-any.whl","hashes":{"sha256":"ab"},
             "requires-python":">=3.9","yanked":"broken","core-metadata":{"sha256":"cd"}},
            {"filename":"x.whl","url":"file:///etc/passwd","hashes":{}}]}"#;
        let files = json(text.as_bytes(), &base()).unwrap();
        assert_eq!(files.len(), 1);
        assert_eq!(files[0].url.as_str(), "https://mirror.example/f/keras-3.0.0-py3-none-any.whl");
        assert!(files[0].yanked);
        assert_eq!(files[0].metadata, Some(Some("cd".to_owned())));
        assert!(json(br#"{"meta":{"api-version":"2.0"},"files":[]}"#, &base()).unwrap_err().contains("2.0"));
        assert!(json(b"{", &base()).is_err());
    }

    #[test]
    fn pages_in_html() {
        let text = "<!DOCTYPE html><html><body>\n<a href=\"../../f/keras-3.0.0-py3-none-any.whl#sha256=ab\" \
                    data-requires-python=\"&gt;=3.9\" data-yanked data-core-metadata='sha256=cd'>keras-3.0.0-py3-none-any.whl</a><br/>\n\
                    <A HREF=other.whl>other.whl</A></body></html>";
        let files = html(text.as_bytes(), &base()).unwrap();
        assert_eq!(files.len(), 2);
        assert_eq!(files[0].requires_python.as_deref(), Some(">=3.9"));
        assert_eq!((files[0].sha256.as_deref(), files[0].yanked), (Some("ab"), true));
        assert_eq!(files[0].metadata, Some(Some("cd".to_owned())));
        assert_eq!(files[1].url.as_str(), "https://mirror.example/simple/keras/other.whl");
        assert!(html(b"welcome", &base()).is_err());
    }

    proptest! {
        #[test]
        fn no_page_makes_it_panic(text in "(<a |href=|\"|'|>|</a>|&#x|;|&|<base |<html|[a-z é/]){0,30}") {
            let _ = html(text.as_bytes(), &base());
            let _ = json(text.as_bytes(), &base());
            let _ = literal(&text);
            let _ = ini(&text, "global");
        }
    }
}
