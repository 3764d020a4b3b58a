//! Derives rows again from the packages and tells each disagreement; changes nothing.
//!
//! One wheel for each release and platform is read: the one for the newest Python. What no package states
//! (drivers, measured libraries, figures of pages) is not proved here, and is not counted as proved.

use std::collections::{BTreeMap, BTreeSet};

use pep440_rs::Version;
use serde::Serialize;

use super::derive::{self, DeriveError, Release};
use super::http::{Http, shown};
use super::index::{self, Index};
use super::wheel::Hints;
use super::{Progress, each};
use crate::db::{CudaRow, Database, KerasRow, TensorflowRow};
use crate::sort::Sorted as _;
use crate::version::Dotted;
use crate::view::plain_name;

/// Libraries of at most this many bytes, packed, are unpacked for their soname.
const LIBRARY_LIMIT: u64 = 3 << 20;

/// What is verified.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Only the newest releases of each package.
    pub newest: Option<usize>,
    /// Only these packages; empty for all.
    pub packages: Vec<String>,
    /// Headers and sonames too.
    pub deep: bool,
    /// Requests beside each other.
    pub jobs: usize,
}

/// A figure of a row that the package contradicts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Disagreement {
    /// The table.
    pub table: &'static str,
    /// The row.
    pub key: String,
    /// The column.
    pub column: &'static str,
    /// What the row says.
    pub row: String,
    /// What the package says.
    pub package: String,
    /// Where it says so.
    pub source: String,
}

/// A release that the index has and the table lacks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Missing {
    /// The table.
    pub table: &'static str,
    /// The release, and the platform where rows have one.
    pub key: String,
    /// Whether the index took it back.
    pub yanked: bool,
}

/// Something that could not be asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Failed {
    /// What was asked for.
    pub what: String,
    /// Why it failed.
    pub why: String,
}

/// What came out.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verified {
    /// Which index was asked.
    pub index: String,
    /// What names it.
    pub index_from: String,
    /// Rows that were derived again, by table.
    pub rows: BTreeMap<&'static str, usize>,
    /// Figures that were compared, by table and column.
    pub figures: BTreeMap<String, usize>,
    /// Package URLs of rows that the index confirms.
    pub citations: usize,
    /// What rows and packages disagree about.
    pub disagreements: Vec<Disagreement>,
    /// What the tables lack.
    pub missing: Vec<Missing>,
    /// What could not be asked.
    pub failures: Vec<Failed>,
    /// Releases that the index has and that are older than the table, by package.
    pub older: BTreeMap<String, usize>,
    /// Bytes that were received.
    pub bytes: u64,
    /// Requests that were made.
    pub requests: u64,
}

/// The findings about one row.
#[derive(Default)]
struct Judged {
    table: &'static str,
    /// The row, where anything of it was compared.
    key: Option<String>,
    compared: Vec<&'static str>,
    disagreements: Vec<Disagreement>,
}

impl Judged {
    fn new(table: &'static str) -> Self {
        Self { table, ..Self::default() }
    }

    /// Compares one figure, where the package states it.
    fn figure(
        &mut self,
        key: &str,
        column: &'static str,
        (row, package): (String, Option<String>),
        same: bool,
        source: &str,
    ) {
        let Some(package) = package else { return };
        self.compared.push(column);
        self.key = Some(key.to_owned());
        if !same {
            self.disagreements.push(Disagreement {
                table: self.table,
                key: key.to_owned(),
                column,
                row,
                package,
                source: source.to_owned(),
            });
        }
    }
}

/// The pages that were read: releases by project.
type Pages = BTreeMap<String, BTreeMap<Version, Release>>;

/// Verifies the tables of a database against an index.
pub fn verify(db: &Database, http: &Http, index: &Index, wish: &Wish, progress: &dyn Progress) -> Verified {
    let mut out = Verified { index: shown(&index.url), index_from: index.from.clone(), ..Verified::default() };
    let wanted = |package: &str| {
        wish.packages.is_empty() || wish.packages.iter().any(|wanted| derive::same_project(wanted, package))
    };
    let mut projects: BTreeSet<String> = BTreeSet::new();
    projects.extend(db.tensorflow_rows().iter().map(|row| row.package.clone()));
    projects.extend(db.keras_rows().iter().map(|row| row.package.clone()));
    let cited = citations(db);
    projects.extend(cited.iter().map(|citation| citation.package.clone()));
    projects.extend(["cuda-toolkit", "nvidia-cudnn-cu11", "nvidia-cudnn-cu12", "nvidia-cudnn-cu13"].map(str::to_owned));
    if wish.deep {
        projects.extend(db.tensorflow_rows().iter().flat_map(|row| row.and_cuda.keys().cloned()));
    }
    projects.retain(|project| wanted(project));
    let projects: Vec<String> = projects.into_iter().collect();
    let pages = pages(http, index, &projects, wish.jobs, progress, &mut out.failures);

    for citation in cited.iter().filter(|citation| pages.contains_key(&citation.package)) {
        let there = citation.version.parse().is_ok_and(|version: Version| {
            pages.get(&citation.package).is_some_and(|releases| releases.contains_key(&version))
        });
        if there {
            out.citations += 1;
        } else {
            out.disagreements.push(Disagreement {
                table: citation.table,
                key: citation.key.clone(),
                column: "source",
                row: format!("{}@{}", citation.package, citation.version),
                package: "the index has no such release".to_owned(),
                source: shown(&index.url),
            });
        }
    }
    missing(db, &pages, wish, &mut out);

    let newest = |package: &str, version: &Version| {
        wish.newest.is_none_or(|count| {
            pages
                .get(package)
                .is_some_and(|releases| newer(releases, package, db).take(count).any(|other| other == version))
        })
    };
    let hints = Hints::default();
    let jobs: Vec<Job<'_>> = db
        .tensorflow_rows()
        .iter()
        .filter(|row| pages.contains_key(&row.package) && newest(&row.package, &row.version))
        .map(Job::Tensorflow)
        .chain(
            db.keras_rows()
                .iter()
                .filter(|row| pages.contains_key(&row.package) && newest(&row.package, &row.version))
                .map(Job::Keras),
        )
        .chain(db.cuda_rows().iter().filter(|_| wish.deep).map(Job::Headers))
        .chain(
            db.tensorflow_rows()
                .iter()
                .filter(|row| {
                    wish.deep && wanted(&row.package) && !row.and_cuda.is_empty() && !row.libraries.is_empty()
                })
                .map(Job::Sonames),
        )
        .collect();
    let total = jobs.len();
    let results = each(
        &jobs,
        wish.jobs,
        |job| (job.name(), job.run(http, &pages, &hints)),
        |done| progress.step(done, total, http.bytes()),
    );
    // A row may have been looked at for several reasons.
    let mut rows: BTreeMap<&'static str, BTreeSet<String>> = BTreeMap::new();
    for (name, result) in results {
        match result {
            Ok(judged) => {
                if let Some(key) = judged.key {
                    rows.entry(judged.table).or_default().insert(key);
                }
                for column in judged.compared {
                    *out.figures.entry(format!("{}.{column}", judged.table)).or_default() += 1;
                }
                out.disagreements.extend(judged.disagreements);
            }
            Err(error) => out.failures.push(Failed { what: name, why: error.to_string() }),
        }
    }
    out.rows = rows.into_iter().map(|(table, keys)| (table, keys.len())).sorted_map();
    crate::sort::plain(&mut out.disagreements);
    out.disagreements.dedup();
    crate::sort::plain(&mut out.missing);
    crate::sort::plain(&mut out.failures);
    (out.bytes, out.requests) = (http.bytes(), http.requests());
    out
}

/// Reads the pages of projects; a project that the index does not know is a failure too.
pub(super) fn pages(
    http: &Http,
    index: &Index,
    projects: &[String],
    jobs: usize,
    progress: &dyn Progress,
    failures: &mut Vec<Failed>,
) -> Pages {
    let read = each(
        projects,
        jobs,
        |project| index::files(http, index, project),
        |done| progress.step(done, projects.len(), http.bytes()),
    );
    let mut pages = Pages::new();
    for (project, result) in projects.iter().zip(read) {
        match result {
            Ok(Some(files)) => drop(pages.insert(project.clone(), derive::releases(files))),
            Ok(None) => {
                failures.push(Failed { what: project.clone(), why: "the index has no such project".to_owned() });
            }
            Err(error) => failures.push(Failed { what: project.clone(), why: error.to_string() }),
        }
    }
    pages
}

/// The releases that a table should have, the newest first: finished ones, and pre-releases after the last of them.
pub(super) fn newer<'r>(
    releases: &'r BTreeMap<Version, Release>,
    package: &str,
    db: &Database,
) -> impl Iterator<Item = &'r Version> + use<'r> {
    let last = releases.keys().rev().find(|version| !version.any_prerelease()).cloned();
    let rows = db.tensorflow_rows().iter().map(|row| (&row.package, &row.version));
    let rows = rows.chain(db.keras_rows().iter().map(|row| (&row.package, &row.version)));
    let known: BTreeSet<Version> =
        rows.filter(|(name, _)| *name == package).map(|(_, version)| version.clone()).sorted_set();
    releases.keys().rev().filter(move |version| {
        known.contains(*version) || !version.any_prerelease() || last.as_ref().is_none_or(|last| *version > last)
    })
}

/// A package URL of `PyPI` in a row.
struct Citation {
    table: &'static str,
    key: String,
    package: String,
    version: String,
}

fn citations(db: &Database) -> Vec<Citation> {
    let mut found = Vec::new();
    let mut add = |table, key: &dyn Fn() -> String, source: &str, also: &[String]| {
        for text in std::iter::once(source).chain(also.iter().map(String::as_str)) {
            let Some(rest) = text.strip_prefix("pkg:pypi/") else { continue };
            let rest = rest.split('#').next().unwrap_or_default();
            let Some((package, version)) = rest.split_once('@') else { continue };
            found.push(Citation { table, key: key(), package: package.to_owned(), version: version.to_owned() });
        }
    };
    for row in db.tensorflow_rows() {
        add("tensorflow", &|| tensorflow_key(row), &row.source, &row.also);
    }
    for row in db.keras_rows() {
        add("keras", &|| keras_key(row), &row.source, &row.also);
    }
    for row in db.cuda_rows() {
        add("cuda", &|| row.version.to_string(), &row.source, &row.also);
    }
    for row in db.cudnn_rows() {
        add("cudnn", &|| row.version.to_string(), &row.source, &row.also);
    }
    found
}

fn tensorflow_key(row: &TensorflowRow) -> String {
    format!("{} {} {}", row.package, row.version, row.platform)
}

fn keras_key(row: &KerasRow) -> String {
    format!("{} {}", row.package, row.version)
}

/// Names what the index has and the tables lack.
fn missing(db: &Database, pages: &Pages, wish: &Wish, out: &mut Verified) {
    let tensorflow: BTreeSet<&String> = db.tensorflow_rows().iter().map(|row| &row.package).sorted_set();
    let keras: BTreeSet<&String> = db.keras_rows().iter().map(|row| &row.package).sorted_set();
    for (package, releases) in pages {
        let oldest = |mut versions: Vec<&Version>| {
            crate::sort::plain(&mut versions);
            versions.first().map(|version| (*version).clone())
        };
        let count = wish.newest.unwrap_or(usize::MAX);
        if tensorflow.contains(package) {
            let rows: Vec<_> = db.tensorflow_rows().iter().filter(|row| row.package == *package).collect();
            let oldest = oldest(rows.iter().map(|row| &row.version).collect());
            for version in newer(releases, package, db).take(count) {
                let Some(release) = releases.get(version) else { continue };
                if oldest.as_ref().is_some_and(|oldest| version < oldest) {
                    *out.older.entry(package.clone()).or_default() += 1;
                    continue;
                }
                for platform in release.platforms().into_iter().filter(|platform| *platform != "any") {
                    if !rows.iter().any(|row| row.version == *version && row.platform == platform) {
                        let key = format!("{package} {version} {platform}");
                        out.missing.push(Missing { table: "tensorflow", key, yanked: release.yanked });
                    }
                }
            }
        } else if keras.contains(package) {
            let rows: Vec<_> = db.keras_rows().iter().filter(|row| row.package == *package).collect();
            let oldest = oldest(rows.iter().map(|row| &row.version).collect());
            for version in newer(releases, package, db).take(count) {
                let Some(release) = releases.get(version) else { continue };
                if oldest.as_ref().is_some_and(|oldest| version < oldest) {
                    *out.older.entry(package.clone()).or_default() += 1;
                } else if !rows.iter().any(|row| row.version == *version) {
                    out.missing.push(Missing {
                        table: "keras",
                        key: format!("{package} {version}"),
                        yanked: release.yanked,
                    });
                }
            }
        } else if let Some(major) = package.strip_prefix("nvidia-cudnn-cu") {
            let mut seen = BTreeSet::new();
            for (version, release) in releases {
                let Ok(number) = version.to_string().parse::<Dotted>() else { continue };
                let number = number.prefix(3);
                let there = db
                    .cudnn_rows()
                    .iter()
                    .any(|row| row.version == number && row.cuda.iter().any(|cuda| cuda.as_str() == major));
                if !there && seen.insert(number.clone()) {
                    let key = format!("{number} for CUDA {major}");
                    out.missing.push(Missing { table: "cudnn", key, yanked: release.yanked });
                }
            }
        } else if package == "cuda-toolkit" {
            // The name was held by an empty release before there was a first one.
            for (version, release) in releases.iter().filter(|(version, _)| version.release().first() > Some(&0)) {
                let there =
                    |row: &CudaRow| row.version.to_string().parse::<Version>().is_ok_and(|known| known == *version);
                if !db.cuda_rows().iter().any(there) {
                    out.missing.push(Missing { table: "cuda", key: version.to_string(), yanked: release.yanked });
                }
            }
        }
    }
}

/// One row to derive again.
enum Job<'d> {
    Tensorflow(&'d TensorflowRow),
    Keras(&'d KerasRow),
    Headers(&'d CudaRow),
    Sonames(&'d TensorflowRow),
}

impl Job<'_> {
    fn name(&self) -> String {
        match self {
            Self::Tensorflow(row) => tensorflow_key(row),
            Self::Keras(row) => keras_key(row),
            Self::Headers(row) => format!("host_config.h of CUDA {}", row.version),
            Self::Sonames(row) => format!("sonames for {}", tensorflow_key(row)),
        }
    }

    fn run(&self, http: &Http, pages: &Pages, hints: &Hints) -> Result<Judged, DeriveError> {
        match self {
            Self::Tensorflow(row) => tensorflow(row, http, pages, hints),
            Self::Keras(row) => keras(row, http, pages, hints),
            Self::Headers(row) => headers(row, http, pages, hints),
            Self::Sonames(row) => sonames(row, http, pages),
        }
    }
}

fn release<'p>(pages: &'p Pages, package: &str, version: &Version) -> Option<&'p Release> {
    pages.get(package)?.get(version)
}

fn option(text: Option<&String>) -> String {
    text.cloned().unwrap_or_else(|| "nothing".to_owned())
}

fn tensorflow(row: &TensorflowRow, http: &Http, pages: &Pages, hints: &Hints) -> Result<Judged, DeriveError> {
    let mut judged = Judged::new("tensorflow");
    let key = tensorflow_key(row);
    let page = format!("pkg:pypi/{}@{}", row.package, row.version);
    let Some(release) = release(pages, &row.package, &row.version) else {
        judged.figure(&key, "version", (row.version.to_string(), Some("no such release".to_owned())), false, &page);
        return Ok(judged);
    };
    let wheels = release.wheels_for(&row.platform);
    let Some((file, _)) = wheels.first() else {
        // A release that is only a source archive has a row that says so; there is nothing to derive from it.
        let same = release.wheels.is_empty() && release.source;
        let platforms: Vec<&str> = release.platforms().into_iter().collect();
        let says = if same { "a source archive".to_owned() } else { platforms.join(", ") };
        judged.figure(&key, "platform", (row.platform.clone(), Some(says)), same, &page);
        return Ok(judged);
    };
    judged.figure(&key, "version", (String::new(), Some(String::new())), true, &page);

    let minors = release.minors(&row.platform);
    let same = row.python.as_deref().and_then(derive::python_minors).is_some_and(|said| said == minors);
    let package = derive::python_requirement(&minors);
    judged.figure(&key, "python", (option(row.python.as_ref()), package), same, &page);

    let wheel = derive::tensorflow(http, file, hints, &format!("{} {}", row.package, row.platform))?;
    let source = format!("{page}#METADATA");
    let parts = |text: Option<&String>| text.map(|text| derive::parts(text)).unwrap_or_default();
    let same = parts(row.keras.as_ref()) == parts(wheel.metadata.keras.as_ref());
    judged.figure(
        &key,
        "keras",
        (option(row.keras.as_ref()), Some(option(wheel.metadata.keras.as_ref()))),
        same,
        &source,
    );
    if row.cuda_build {
        pins(&mut judged, &key, &row.and_cuda, &wheel.metadata.and_cuda, &source);
    }
    let source = format!("{page}#{}", derive::BUILD_INFO);
    let flag = |flag: bool| if flag { "a CUDA build" } else { "no CUDA build" }.to_owned();
    let Some(built) = &wheel.built else {
        // A wheel without code is no CUDA build.
        judged.figure(
            &key,
            "cuda_build",
            (flag(row.cuda_build), Some("no build_info.py".to_owned())),
            !row.cuda_build,
            &page,
        );
        return Ok(judged);
    };
    judged.figure(
        &key,
        "cuda_build",
        (flag(row.cuda_build), Some(flag(built.cuda_build))),
        row.cuda_build == built.cuda_build,
        &source,
    );
    if row.cuda_build {
        let says = |version: Option<&Dotted>| version.map_or_else(|| "nothing".to_owned(), ToString::to_string);
        // A package that gives a major only proves no more than that.
        let within =
            |row: Option<&Dotted>, package: &Dotted| row.is_some_and(|row| row.prefix(package.len()) == *package);
        let cuda = built.cuda.as_ref();
        let same = cuda.is_none_or(|cuda| within(row.cuda.as_ref(), cuda));
        judged.figure(&key, "cuda", (says(row.cuda.as_ref()), cuda.map(ToString::to_string)), same, &source);
        let cudnn = derive::wanted_cudnn(&wheel.metadata.and_cuda).or_else(|| built.cudnn.clone());
        let same = cudnn.as_ref().is_none_or(|cudnn| within(row.cudnn.as_ref(), cudnn));
        judged.figure(&key, "cudnn", (says(row.cudnn.as_ref()), cudnn.map(|it| it.to_string())), same, &source);
        let compute = (!built.compute.is_empty()).then(|| built.compute.join(" "));
        judged.figure(
            &key,
            "compute",
            (row.compute.join(" "), compute),
            same_compute(&row.compute, &built.compute),
            &source,
        );
    }
    Ok(judged)
}

/// Whether a row has the list of a build, which does not tell PTX for one architecture alone from other PTX.
fn same_compute(row: &[String], built: &[String]) -> bool {
    row.len() == built.len() && row.iter().zip(built).all(|(row, built)| plain_name(row) == built)
}

fn pins(
    judged: &mut Judged,
    key: &str,
    row: &BTreeMap<String, String>,
    package: &BTreeMap<String, String>,
    source: &str,
) {
    let names: BTreeSet<&String> = row.keys().chain(package.keys()).sorted_set();
    if names.is_empty() {
        return;
    }
    judged.compared.push("and_cuda");
    for name in names {
        let (said, found) = (row.get(name), package.get(name));
        let parts = |text: Option<&String>| text.map(|text| derive::parts(text));
        if parts(said) != parts(found) {
            let say = |text: Option<&String>| text.map_or_else(|| format!("no {name}"), |text| format!("{name}{text}"));
            judged.disagreements.push(Disagreement {
                table: "tensorflow",
                key: key.to_owned(),
                column: "and_cuda",
                row: say(said),
                package: say(found),
                source: source.to_owned(),
            });
        }
    }
}

fn keras(row: &KerasRow, http: &Http, pages: &Pages, hints: &Hints) -> Result<Judged, DeriveError> {
    let mut judged = Judged::new("keras");
    let key = keras_key(row);
    let page = format!("pkg:pypi/{}@{}", row.package, row.version);
    let Some(release) = release(pages, &row.package, &row.version) else {
        judged.figure(&key, "version", (row.version.to_string(), Some("no such release".to_owned())), false, &page);
        return Ok(judged);
    };
    judged.figure(&key, "version", (String::new(), Some(String::new())), true, &page);
    let Some((file, _)) = release.wheels.first() else { return Ok(judged) };
    let (metadata, backends) = derive::keras(http, file, hints)?;
    let source = format!("{page}#METADATA");
    let parts = |text: Option<&String>| text.map(|text| derive::parts(text)).unwrap_or_default();
    let same = parts(row.python.as_ref()) == parts(metadata.python.as_ref());
    judged.figure(&key, "python", (option(row.python.as_ref()), Some(option(metadata.python.as_ref()))), same, &source);
    // Keras 2 names no TensorFlow; its row has it from TensorFlow's side.
    let same = parts(row.tensorflow.as_ref()) == parts(metadata.tensorflow.as_ref());
    judged.figure(&key, "tensorflow", (option(row.tensorflow.as_ref()), metadata.tensorflow.clone()), same, &source);
    if !backends.is_empty() {
        let set = |names: &[String]| names.iter().cloned().sorted_set();
        let same = set(&row.backends) == set(&backends);
        let source = format!("{page}#{}", derive::BACKENDS);
        judged.figure(&key, "backends", (row.backends.join(" "), Some(backends.join(" "))), same, &source);
    }
    Ok(judged)
}

/// The header that a row cites, in the wheel that it cites.
fn headers(row: &CudaRow, http: &Http, pages: &Pages, hints: &Hints) -> Result<Judged, DeriveError> {
    let mut judged = Judged::new("cuda");
    let cited = std::iter::once(&row.source).chain(&row.also).find_map(|source| {
        let (package, file) = source.strip_prefix("pkg:pypi/")?.split_once('#')?;
        let (package, version) = package.split_once('@')?;
        file.ends_with("/host_config.h").then(|| Some((source, package, version.parse::<Version>().ok()?, file)))?
    });
    let Some((source, package, version, path)) = cited else { return Ok(judged) };
    let Some(release) = release(pages, package, &version) else { return Ok(judged) };
    let wheels = release.wheels_for("linux-x86_64");
    let Some((file, _)) = wheels.first() else { return Ok(judged) };
    let mut archive = derive::open(http, file)?;
    let Some(text) = derive::read_member(&mut archive, path, hints, package)? else {
        judged.figure(
            &row.version.to_string(),
            "source",
            (path.to_owned(), Some("no such file".to_owned())),
            false,
            source,
        );
        return Ok(judged);
    };
    let found = derive::compilers(&text);
    for (column, said, found) in [
        ("gcc_max", &row.gcc_max, found.limits.gcc_max),
        ("clang_min", &row.clang_min, found.limits.clang_min),
        ("clang_max", &row.clang_max, found.limits.clang_max),
        ("msvc_min", &row.msvc_min, found.msvc_min),
        ("msvc_below", &row.msvc_below, found.msvc_below),
    ] {
        let same = said.as_ref().map(Dotted::major) == found;
        let said = said.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
        judged.figure(&row.version.to_string(), column, (said, found.map(|number| number.to_string())), same, source);
    }
    Ok(judged)
}

/// The libraries that TensorFlow opens are in the packages that its extra asks for, under these names.
fn sonames(row: &TensorflowRow, http: &Http, pages: &Pages) -> Result<Judged, DeriveError> {
    let mut judged = Judged::new("tensorflow");
    let key = tensorflow_key(row);
    for library in &row.libraries {
        let stem = library.split(".so").next().unwrap_or_default();
        let part = match stem {
            "libcudart" => "cuda-runtime",
            "libcublas" | "libcublasLt" => "cublas",
            "libcufft" => "cufft",
            "libcurand" => "curand",
            "libcusolver" => "cusolver",
            "libcusparse" => "cusparse",
            "libcudnn" => "cudnn",
            _ => continue,
        };
        let name = format!("nvidia-{part}");
        let wanted = row.and_cuda.iter().find(|(package, _)| {
            **package == name || package.strip_prefix(&name).is_some_and(|rest| rest.starts_with("-cu"))
        });
        let Some((package, requirement)) = wanted else { continue };
        let Ok(requirement) = requirement.parse::<pep440_rs::VersionSpecifiers>() else { continue };
        let lowest = pages.get(package).and_then(|releases| {
            releases.iter().find(|(version, release)| {
                requirement.contains(version) && !release.wheels_for("linux-x86_64").is_empty()
            })
        });
        let Some((version, release)) = lowest else { continue };
        let wheels = release.wheels_for("linux-x86_64");
        let Some((file, _)) = wheels.first() else { continue };
        let mut archive = derive::open(http, file)?;
        let source = format!("pkg:pypi/{package}@{version}");
        let names = |members: &[super::wheel::Member]| -> Vec<String> {
            let files = members.iter().filter_map(|member| member.name.rsplit('/').next());
            files
                .filter(|file| file.split(".so").next() == Some(stem) && file.contains(".so"))
                .map(str::to_owned)
                .collect()
        };
        let members = archive.members().map_err(DeriveError::from)?.to_vec();
        let member = members.iter().find(|member| member.name.rsplit('/').next() == Some(library.as_str()));
        let Some(member) = member else {
            judged.figure(&key, "libraries", (library.clone(), Some(names(&members).join(" "))), false, &source);
            continue;
        };
        // The name of the file is what is opened; where the file is small its own word is asked too.
        let own =
            if member.packed() <= LIBRARY_LIMIT { derive::soname(&archive.contents(member, 64 << 20)?) } else { None };
        let same = own.as_ref().is_none_or(|own| own == library);
        judged.figure(
            &key,
            "libraries",
            (library.clone(), Some(own.unwrap_or_else(|| library.clone()))),
            same,
            &source,
        );
    }
    Ok(judged)
}
