//! Renews the user's overlay: derives what the database lacks, joins it with what is there, and lets the linter judge.
//!
//! A row that is in the curated data is never touched. What was derived before stays where the network fails;
//! what succeeded is kept; and nothing is written that the linter refuses.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pep440_rs::Version;
use reqwest::Url;
use serde::Serialize;

use super::derive::{self, Release};
use super::http::{Http, NetError, shown};
use super::index::Index;
use super::manifest::{self, ManifestError};
use super::signature::{self, Refused};
use super::store::{Store, StoreError};
use super::verify::{self, Failed};
use super::wheel::Hints;
use super::{Progress, each};
use crate::db::document::{Document, NotDocument, OVERLAY, Rows};
use crate::db::overlay::{self, CURATED, DERIVED};
use crate::db::{CudaRow, CudnnRow, Database, Day, KerasRow, TensorflowRow};
use crate::host::{Host, HostError};
use crate::sort::Sorted as _;

/// How long another update is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// A signature is read up to this many bytes.
const SIGNATURE_LIMIT: u64 = 16 << 10;

/// What is asked over the network.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Where NVIDIA's manifests are.
    pub nvidia: Url,
    /// A signed database, and the key that it must be signed with.
    pub curated: Option<(Url, String)>,
    /// Requests beside each other.
    pub jobs: usize,
}

/// What came out.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Renewed {
    /// Rows that are new in the overlay.
    pub added: Vec<String>,
    /// The revision of curated data that was installed.
    pub installed: Option<u32>,
    /// Rows that were derived and that the linter refuses.
    pub refused: Vec<Failed>,
    /// What could not be asked.
    pub failures: Vec<Failed>,
    /// Derived rows of the overlay, old and new.
    pub derived: usize,
    /// Where the overlay is, where it was written.
    pub written: Option<PathBuf>,
    /// Bytes that were received.
    pub bytes: u64,
    /// Requests that were made.
    pub requests: u64,
}

/// Why nothing was renewed; the overlay is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenewError {
    /// The data folder.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The overlay that is there.
    #[error("the overlay that is there cannot be read, and is left as it is: {0}")]
    Overlay(String),
    /// The file of `--from`.
    #[error("{0}: {1}")]
    File(String, String),
    /// A document.
    #[error(transparent)]
    Document(#[from] NotDocument),
}

/// What the update starts from, under the lock.
struct Ground {
    store: Store,
    /// Curated data, embedded or installed.
    curated: Database,
    /// Derived rows that are there.
    derived: Rows,
    /// The day of the overlay.
    date: Option<Day>,
}

impl Ground {
    fn lock(host: &Host) -> Result<Self, RenewError> {
        let folder = overlay::folder(host).ok_or(StoreError::NoFolder)?;
        let store = Store::lock(&folder, PATIENCE)?;
        let mut troubles = Vec::new();
        let curated = overlay::ground(host, &mut troubles).unwrap_or_default();
        let old = overlay::read(host, DERIVED).map_err(RenewError::Overlay)?;
        let (derived, date) = old.map(|old| (old.tables, Some(old.date))).unwrap_or_default();
        Ok(Self { store, curated, derived, date })
    }

    /// The curated data with derived rows, as one document.
    fn joined(&self, derived: &Rows) -> Option<Document> {
        let meta = self.curated.meta();
        let day = Day::new(&meta.date)?;
        // Rows are checked on the day of the update, which is after that of the curated data.
        let date = derived_days(derived).into_iter().max().map_or(day.clone(), |latest| latest.max(day));
        let mut rows = self.curated.rows();
        join(&mut rows.tensorflow, &derived.tensorflow, TensorflowRow::order);
        join(&mut rows.keras, &derived.keras, KerasRow::order);
        join(&mut rows.cuda, &derived.cuda, CudaRow::order);
        join(&mut rows.cudnn, &derived.cudnn, CudnnRow::order);
        Some(Document { schema: meta.schema, revision: meta.revision, date, origin: None, tables: rows })
    }

    /// Takes new rows in, but for those that the linter refuses, and writes the overlay.
    fn take(&mut self, new: Rows, date: Option<Day>, out: &mut Renewed) -> Result<(), RenewError> {
        let known = self.curated.rows();
        let mut kept = Rows::default();
        // What became curated meanwhile is derived no more.
        keep(&mut kept.tensorflow, &self.derived.tensorflow, &known.tensorflow, TensorflowRow::order);
        keep(&mut kept.keras, &self.derived.keras, &known.keras, KerasRow::order);
        keep(&mut kept.cuda, &self.derived.cuda, &known.cuda, CudaRow::order);
        keep(&mut kept.cudnn, &self.derived.cudnn, &known.cudnn, CudnnRow::order);
        let before = kept.clone();
        let candidates = single(new);
        let mut all = kept.clone();
        for (_, row) in &candidates {
            add(&mut all, row, &known);
        }
        let clean = |ground: &Self, rows: &Rows| match ground.joined(rows) {
            Some(document) => document.lint(true, None),
            None => Err(NotDocument::Shape("the curated data has no day".to_owned())),
        };
        if clean(self, &all).is_ok() {
            kept = all;
        } else {
            // One by one, so that a row that is refused takes no other with it. What others refer to comes first.
            for (name, row) in &candidates {
                let mut with = kept.clone();
                add(&mut with, row, &known);
                match clean(self, &with) {
                    Ok(()) => kept = with,
                    Err(why) => out.refused.push(Failed { what: name.clone(), why: why.to_string() }),
                }
            }
        }
        for (name, row) in &candidates {
            let mut with = before.clone();
            add(&mut with, row, &known);
            let refused = out.refused.iter().any(|refused| refused.what == *name);
            if with.count() > before.count() && !refused {
                out.added.push(name.clone());
            }
        }
        out.derived = kept.count();
        let date = date.or_else(|| self.date.clone()).or_else(|| Day::new(&self.curated.meta().date));
        let Some(date) = date else { return Ok(()) };
        if kept == self.derived && self.date.as_ref() == Some(&date) {
            return Ok(());
        }
        if kept.count() == 0 && !out.failures.is_empty() && self.date.is_none() {
            return Ok(());
        }
        let meta = self.curated.meta();
        let document = Document {
            schema: meta.schema,
            revision: meta.revision,
            date,
            origin: Some("derived".to_owned()),
            tables: kept.clone(),
        };
        out.written = Some(self.store.write(DERIVED, &document.text()?)?);
        self.derived = kept;
        Ok(())
    }

    /// Installs a signed document, and goes on from it.
    fn install(&mut self, document: Document, out: &mut Renewed) -> Result<(), RenewError> {
        out.written = Some(self.store.write(CURATED, &document.text()?)?);
        out.installed = Some(document.revision);
        if let Some(curated) = Database::from_tables(document.into(), OVERLAY) {
            self.curated = curated;
        }
        Ok(())
    }
}

fn derived_days(rows: &Rows) -> Vec<Day> {
    let mut days: Vec<Day> = rows.tensorflow.iter().map(|row| row.checked.clone()).collect();
    days.extend(rows.keras.iter().map(|row| row.checked.clone()));
    days.extend(rows.cuda.iter().map(|row| row.checked.clone()));
    days.extend(rows.cudnn.iter().map(|row| row.checked.clone()));
    days
}

/// Adds rows in their places; a row that is there stays.
fn join<Row: Clone>(rows: &mut Vec<Row>, more: &[Row], order: impl Fn(&Row, &Row) -> std::cmp::Ordering) {
    for row in more {
        if let Err(place) = rows.binary_search_by(|other| order(other, row)) {
            rows.insert(place, row.clone());
        }
    }
}

fn keep<Row: Clone>(
    kept: &mut Vec<Row>,
    old: &[Row],
    known: &[Row],
    order: impl Fn(&Row, &Row) -> std::cmp::Ordering + Copy,
) {
    let left: Vec<Row> =
        old.iter().filter(|row| !known.iter().any(|other| order(other, row).is_eq())).cloned().collect();
    join(kept, &left, order);
}

/// One row of any table that can be derived.
#[expect(clippy::large_enum_variant, reason = "there are few, and not for long")]
enum One {
    Keras(KerasRow),
    Cuda(CudaRow),
    Cudnn(CudnnRow),
    Tensorflow(TensorflowRow),
}

/// Rows one by one with their names; what others refer to comes first.
fn single(rows: Rows) -> Vec<(String, One)> {
    let keras = rows.keras.into_iter().map(|row| (format!("{} {}", row.package, row.version), One::Keras(row)));
    let cuda = rows.cuda.into_iter().map(|row| (format!("cuda {}", row.version), One::Cuda(row)));
    let cudnn = rows.cudnn.into_iter().map(|row| {
        let majors: Vec<String> = row.cuda.iter().map(ToString::to_string).collect();
        (format!("cudnn {} for CUDA {}", row.version, majors.join(", ")), One::Cudnn(row))
    });
    let tensorflow = rows
        .tensorflow
        .into_iter()
        .map(|row| (format!("{} {} {}", row.package, row.version, row.platform), One::Tensorflow(row)));
    keras.chain(cuda).chain(cudnn).chain(tensorflow).collect()
}

/// Adds a row where neither the rows nor the known ones are about the same thing.
fn add(rows: &mut Rows, row: &One, known: &Rows) {
    fn put<Row: Clone>(
        rows: &mut Vec<Row>,
        row: &Row,
        known: &[Row],
        order: impl Fn(&Row, &Row) -> std::cmp::Ordering,
    ) {
        if !known.iter().any(|other| order(other, row).is_eq()) {
            join(rows, std::slice::from_ref(row), order);
        }
    }
    match row {
        One::Keras(row) => put(&mut rows.keras, row, &known.keras, KerasRow::order),
        One::Cuda(row) => put(&mut rows.cuda, row, &known.cuda, CudaRow::order),
        One::Cudnn(row) => put(&mut rows.cudnn, row, &known.cudnn, CudnnRow::order),
        One::Tensorflow(row) => put(&mut rows.tensorflow, row, &known.tensorflow, TensorflowRow::order),
    }
}

/// Renews over the network. `index` is the package index, or why there is none.
pub fn online(
    host: &Host,
    http: &Http,
    index: Result<&Index, String>,
    wish: &Wish,
    progress: &dyn Progress,
) -> Result<Renewed, RenewError> {
    let mut out = Renewed::default();
    let mut ground = Ground::lock(host)?;
    let today = Day::new(host.today());
    if let Some((url, key)) = &wish.curated {
        match signed(http, url, key, ground.curated.meta().revision, today.as_ref()) {
            Ok(Some(document)) => ground.install(document, &mut out)?,
            Ok(None) => {}
            Err(why) => out.failures.push(Failed { what: shown(url), why }),
        }
    }
    let Some(day) = today.or_else(|| Day::new(&ground.curated.meta().date)) else { return Ok(out) };
    let whole = ground
        .joined(&ground.derived)
        .and_then(|document| Database::from_tables(document.into(), OVERLAY))
        .unwrap_or_default();
    let mut new = Rows::default();
    match index {
        Ok(index) => packages(&whole, http, index, wish.jobs, progress, &day, &mut new, &mut out.failures),
        Err(why) => out.failures.push(Failed { what: "the package index".to_owned(), why }),
    }
    manifests(&whole, http, wish, progress, &day, &mut new, &mut out.failures);
    let date = out.failures.is_empty().then_some(day);
    ground.take(new, date, &mut out)?;
    (out.bytes, out.requests) = (http.bytes(), http.requests());
    Ok(out)
}

/// Fetches a signed database and its signature.
fn signed(http: &Http, url: &Url, key: &str, here: u32, today: Option<&Day>) -> Result<Option<Document>, String> {
    let text = |error: NetError| error.to_string();
    let document = http.page(url, "application/json", overlay::LIMIT).map_err(text)?;
    let mut beside = url.clone();
    beside.set_path(&format!("{}.minisig", url.path()));
    let signature = http.page(&beside, "*/*", SIGNATURE_LIMIT).map_err(text)?;
    let signature = String::from_utf8_lossy(&signature.bytes);
    signature::open(&document.bytes, &signature, key, here, today).map_err(|error| error.to_string())
}

/// One wheel to derive a row from.
enum Job<'r> {
    Tensorflow(&'r str, &'r Version, &'r Release, &'static str),
    Keras(&'r str, &'r Version, &'r Release),
}

/// Derives rows of releases that the database lacks.
#[expect(clippy::too_many_arguments, reason = "what is read, what is asked, and where it goes")]
fn packages(
    db: &Database,
    http: &Http,
    index: &Index,
    jobs: usize,
    progress: &dyn Progress,
    today: &Day,
    new: &mut Rows,
    failures: &mut Vec<Failed>,
) {
    let tensorflow: BTreeSet<&str> = db.tensorflow_rows().iter().map(|row| row.package.as_str()).sorted_set();
    let keras: BTreeSet<&str> = db.keras_rows().iter().map(|row| row.package.as_str()).sorted_set();
    let projects: Vec<String> = tensorflow.iter().chain(&keras).map(|name| (*name).to_owned()).collect();
    let pages = verify::pages(http, index, &projects, jobs, progress, failures);
    let mut wanted: Vec<Job<'_>> = Vec::new();
    for (package, releases) in &pages {
        let known: BTreeSet<&Version> = if tensorflow.contains(package.as_str()) {
            db.tensorflow_rows().iter().filter(|row| row.package == *package).map(|row| &row.version).sorted_set()
        } else {
            db.keras_rows().iter().filter(|row| row.package == *package).map(|row| &row.version).sorted_set()
        };
        // What is older than the table was left out of it on purpose.
        let Some(oldest) = known.first() else { continue };
        for version in verify::newer(releases, package, db).filter(|version| version > oldest) {
            let Some(release) = releases.get(version).filter(|release| !release.yanked) else { continue };
            if known.contains(version) {
                continue;
            }
            if tensorflow.contains(package.as_str()) {
                let platforms = release.platforms().into_iter().filter(|platform| *platform != "any");
                wanted.extend(platforms.map(|platform| Job::Tensorflow(package, version, release, platform)));
            } else {
                wanted.push(Job::Keras(package, version, release));
            }
        }
    }
    let hints = Hints::default();
    let total = wanted.len();
    let results = each(
        &wanted,
        jobs,
        |job| derive_one(job, db, http, &hints, today),
        |done| progress.step(done, total, http.bytes()),
    );
    for (job, result) in wanted.iter().zip(results) {
        match result {
            Ok(Some(One::Tensorflow(row))) => new.tensorflow.push(row),
            Ok(Some(One::Keras(row))) => new.keras.push(row),
            Ok(_) => {}
            Err(why) => {
                let what = match job {
                    Job::Tensorflow(package, version, _, platform) => format!("{package} {version} {platform}"),
                    Job::Keras(package, version, _) => format!("{package} {version}"),
                };
                failures.push(Failed { what, why });
            }
        }
    }
    crate::sort::by(&mut new.tensorflow, TensorflowRow::order);
    crate::sort::by(&mut new.keras, KerasRow::order);
}

fn derive_one(job: &Job<'_>, db: &Database, http: &Http, hints: &Hints, today: &Day) -> Result<Option<One>, String> {
    let text = |error: derive::DeriveError| error.to_string();
    match job {
        Job::Tensorflow(package, version, release, platform) => {
            let wheels = release.wheels_for(platform);
            let Some((file, _)) = wheels.first() else { return Ok(None) };
            let wheel = derive::tensorflow(http, file, hints, &format!("{package} {platform}")).map_err(text)?;
            let rows = db.tensorflow_rows().iter();
            let older = rows
                .filter(|row| row.package == *package && row.platform == *platform && row.version < **version)
                .max_by(|a, b| a.version.cmp(&b.version));
            let row = derive::tensorflow_row(package, platform, version, release, &wheel, older, today);
            Ok(Some(One::Tensorflow(row)))
        }
        Job::Keras(package, version, release) => {
            let Some((file, _)) = release.wheels.first() else { return Ok(None) };
            let (metadata, backends) = derive::keras(http, file, hints).map_err(text)?;
            Ok(Some(One::Keras(derive::keras_row(package, version, &metadata, backends, today))))
        }
    }
}

/// Derives rows of toolkits and cuDNN that are newer than those of the database.
fn manifests(
    db: &Database,
    http: &Http,
    wish: &Wish,
    progress: &dyn Progress,
    today: &Day,
    new: &mut Rows,
    failures: &mut Vec<Failed>,
) {
    let mut listed = |folder: &str| match manifest::list(http, &wish.nvidia, folder) {
        Ok(found) => found,
        Err(why) => {
            failures.push(Failed { what: format!("NVIDIA's list {folder}"), why: why.to_string() });
            std::collections::BTreeMap::new()
        }
    };
    let newest = db.cuda_rows().iter().filter(|row| row.version.pre.is_none()).map(|row| &row.version.number).max();
    let cuda: Vec<String> = listed(manifest::CUDA)
        .into_iter()
        .filter(|(_, version)| newest.is_none_or(|newest| version > newest))
        .map(|(name, _)| name)
        .collect();
    // One manifest serves all CUDA majors: only a release that no row knows is asked for.
    let newest = db.cudnn_rows().iter().map(|row| &row.version).max();
    let cudnn: Vec<String> = listed(manifest::CUDNN)
        .into_iter()
        .filter(|(_, version)| newest.is_none_or(|newest| version.prefix(3) > *newest))
        .map(|(name, _)| name)
        .collect();
    let floor = |name: &str| {
        let version = crate::version::Dotted::find_in(name.strip_prefix("redistrib_")?)?;
        db.cuda_floor(version.major()).map(|(floor, _)| floor)
    };
    let all: Vec<(&str, bool)> =
        cuda.iter().map(|name| (name.as_str(), true)).chain(cudnn.iter().map(|name| (name.as_str(), false))).collect();
    let read = each(
        &all,
        wish.jobs,
        |(name, toolkit)| -> Result<(Option<CudaRow>, Vec<CudnnRow>), ManifestError> {
            if *toolkit {
                manifest::cuda(http, &wish.nvidia, name, floor(name), today).map(|row| (Some(row), Vec::new()))
            } else {
                manifest::cudnn(http, &wish.nvidia, name, today).map(|rows| (None, rows))
            }
        },
        |done| progress.step(done, all.len(), http.bytes()),
    );
    for ((name, _), result) in all.iter().zip(read) {
        match result {
            Ok((toolkit, rows)) => {
                new.cuda.extend(toolkit);
                new.cudnn.extend(rows);
            }
            Err(why) => failures.push(Failed { what: (*name).to_owned(), why: why.to_string() }),
        }
    }
    crate::sort::by(&mut new.cuda, CudaRow::order);
    crate::sort::by(&mut new.cudnn, CudnnRow::order);
}

/// Takes a document from a file: a signed one where a signature lies beside it, else one of `db export`.
///
/// Of an export the rows that are derived are taken, and where it is not older than the data here those that
/// are new here; without a signature all of them count as derived.
pub fn from_file(host: &Host, file: &Path, key: Option<&str>) -> Result<Renewed, RenewError> {
    let mut out = Renewed::default();
    let path = host.absolute(file);
    let wrong = |why: String| RenewError::File(file.display().to_string(), why);
    let bytes = host.read(&path, overlay::LIMIT).map_err(|error| wrong(error.why.to_string()))?;
    let today = Day::new(host.today());
    let mut beside = path.clone().into_os_string();
    beside.push(".minisig");
    let signature = match host.read(&beside, SIGNATURE_LIMIT) {
        Ok(signature) => Some(String::from_utf8_lossy(&signature).into_owned()),
        Err(HostError { why: crate::host::Why::NotFound, .. }) => None,
        Err(error) => return Err(wrong(error.to_string())),
    };
    if let Some(signature) = signature {
        let key = key.ok_or_else(|| {
            wrong("a signature lies beside it, and no public key is known; name it with --public-key".to_owned())
        })?;
        let mut ground = Ground::lock(host)?;
        let here = ground.curated.meta().revision;
        let document = signature::open(&bytes, &signature, key, here, today.as_ref())
            .map_err(|error: Refused| wrong(error.to_string()))?;
        if let Some(document) = document {
            ground.install(document, &mut out)?;
            ground.take(Rows::default(), None, &mut out)?;
        }
        return Ok(out);
    }
    let text = String::from_utf8(bytes).map_err(|_| wrong("not UTF-8".to_owned()))?;
    let document = Document::parse(&text).map_err(|error| wrong(error.to_string()))?;
    document.lint(true, today.as_ref()).map_err(|error| wrong(error.to_string()))?;
    let mut ground = Ground::lock(host)?;
    // What an older database has and the one here has not was taken out on purpose.
    let all = document.revision >= ground.curated.meta().revision;
    let tables = document.tables;
    let mut rows = Rows {
        tensorflow: tables.tensorflow.into_iter().filter(|row| all || row.derived).collect(),
        keras: tables.keras.into_iter().filter(|row| all || row.derived).collect(),
        cuda: tables.cuda.into_iter().filter(|row| all || row.derived).collect(),
        cudnn: tables.cudnn.into_iter().filter(|row| all || row.derived).collect(),
        ..Rows::default()
    };
    rows.tensorflow.iter_mut().for_each(|row| row.derived = true);
    rows.keras.iter_mut().for_each(|row| row.derived = true);
    rows.cuda.iter_mut().for_each(|row| row.derived = true);
    rows.cudnn.iter_mut().for_each(|row| row.derived = true);
    let newer = ground.date.clone().is_none_or(|here| document.date > here);
    ground.take(rows, newer.then_some(document.date), &mut out)?;
    Ok(out)
}
