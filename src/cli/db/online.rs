//! `db verify` and `db update`: options into wishes, results into text; the work is done in `update`.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::super::output::Failure;
use super::super::{DbUpdateArgs, DbVerifyArgs, Format, NetworkArgs, json};
use crate::db::Database;
use crate::exit::Exit;
use crate::host::{Host, TEXT_LIMIT};
use crate::report::wrap::clean;
use crate::update::Progress;
use crate::update::http::{self, Http, Settings};
use crate::update::index;
use crate::update::manifest;
use crate::update::renew::{self, RenewError, Renewed};
use crate::update::verify::{self, Verified, Wish};

/// A line on standard error that is written over, where that is a terminal.
struct Line {
    what: &'static str,
    last: Mutex<Option<Instant>>,
    on: bool,
}

impl Line {
    fn new(what: &'static str) -> Self {
        Self { what, last: Mutex::new(None), on: std::io::stderr().is_terminal() }
    }

    fn clear(&self) {
        if self.on {
            let _ = write!(std::io::stderr().lock(), "\r\u{1b}[K");
        }
    }
}

impl Progress for Line {
    fn step(&self, done: usize, of: usize, bytes: u64) {
        if !self.on {
            return;
        }
        let Ok(mut last) = self.last.lock() else { return };
        // More often nobody can read it.
        if done < of && last.is_some_and(|last| last.elapsed() < Duration::from_millis(100)) {
            return;
        }
        *last = Some(Instant::now());
        let filled = (done * 20).checked_div(of).unwrap_or(20);
        let _ = write!(
            std::io::stderr().lock(),
            "\r\u{1b}[K{} [{}{}] {done}/{of}, {}",
            self.what,
            "#".repeat(filled),
            " ".repeat(20 - filled.min(20)),
            megabytes(bytes)
        );
    }
}

/// Bytes as megabytes with one digit.
fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10)
}

/// The client, with the certificates of the configuration that named the index.
fn client(args: &NetworkArgs, host: &Host, certificates: Option<&str>) -> Result<Http, Failure> {
    let certificates = certificates
        .map(|file| {
            host.read(host.absolute(file), TEXT_LIMIT).map_err(|error| Failure::usage(format!("certificates: {error}")))
        })
        .transpose()?;
    let settings = Settings { timeout: Duration::from_secs(args.timeout.into()), certificates, ..Settings::default() };
    Http::new(settings).map_err(|error| Failure::incomplete(error.to_string()))
}

#[derive(Serialize)]
struct VerifyReport<'v> {
    schema: u32,
    database: crate::db::Meta,
    outcome: &'static str,
    #[serde(flatten)]
    verified: &'v Verified,
}

pub(super) fn verify(args: &DbVerifyArgs, db: &Database, host: &Host) -> Result<(String, Exit), Failure> {
    let option = args.network.index_url.as_deref();
    let index = index::discover(host, option).map_err(|error| Failure::usage(error.to_string()))?;
    let http = client(&args.network, host, index.certificates.as_deref())?;
    let wish =
        Wish { newest: args.newest, packages: args.package.clone(), deep: args.deep, jobs: args.network.jobs.into() };
    let line = Line::new("verifying");
    let verified = verify::verify(db, &http, &index, &wish, &line);
    line.clear();
    let exit = if !verified.failures.is_empty() {
        Exit::Incomplete
    } else if verified.disagreements.is_empty() && verified.missing.is_empty() {
        Exit::Ok
    } else {
        Exit::Denied
    };
    if args.format == Format::Json {
        let outcome = match exit {
            Exit::Ok => "ok",
            Exit::Denied => "disagreement",
            _ => "incomplete",
        };
        return Ok((json(&VerifyReport { schema: 1, database: db.meta(), outcome, verified: &verified }, true)?, exit));
    }
    Ok((text(&verified, db), exit))
}

#[derive(Serialize)]
struct UpdateReport<'r> {
    schema: u32,
    database: crate::db::Meta,
    outcome: &'static str,
    #[serde(flatten)]
    renewed: &'r Renewed,
}

pub(super) fn update(args: &DbUpdateArgs, host: &Host) -> Result<(String, Exit), Failure> {
    let failed = |error: RenewError| match error {
        RenewError::File(..) => Failure::usage(format!("--from {error}")),
        error => Failure::incomplete(error.to_string()),
    };
    let key = args.public_key.as_deref().or_else(|| host.env_nonempty("GPU_DOCTOR_DATABASE_KEY"));
    let renewed = match &args.from {
        Some(file) => renew::from_file(host, file, key).map_err(failed)?,
        None => online(args, host, key, &failed)?,
    };
    let exit = if renewed.failures.is_empty() && renewed.refused.is_empty() { Exit::Ok } else { Exit::Incomplete };
    let installed = crate::db::overlay::installed(host);
    let meta = installed.meta();
    if args.format == Format::Json {
        let outcome = if exit == Exit::Ok { "ok" } else { "incomplete" };
        return Ok((json(&UpdateReport { schema: 1, database: meta, outcome, renewed: &renewed }, true)?, exit));
    }
    let mut text = String::new();
    for name in &renewed.added {
        let _ = writeln!(text, "added {}", clean(name));
    }
    if let Some(revision) = renewed.installed {
        let _ = writeln!(text, "installed curated revision {revision}");
    }
    for it in &renewed.refused {
        let _ = writeln!(text, "refused {}: {}", clean(&it.what), clean(&it.why));
    }
    for it in &renewed.failures {
        let _ = writeln!(text, "could not ask {}: {}", clean(&it.what), clean(&it.why));
    }
    if renewed.added.is_empty() && renewed.installed.is_none() && exit == Exit::Ok {
        let _ = writeln!(text, "nothing newer was found");
    }
    let _ = writeln!(
        text,
        "database revision {} of {} ({}), {} derived rows",
        meta.revision, meta.date, meta.origin, renewed.derived
    );
    if renewed.requests > 0 {
        let _ = writeln!(text, "{} in {} requests", megabytes(renewed.bytes), renewed.requests);
    }
    Ok((text, exit))
}

/// Renews over the network; a part that is not to be had is a failure of that part.
fn online(
    args: &DbUpdateArgs,
    host: &Host,
    key: Option<&str>,
    failed: &dyn Fn(RenewError) -> Failure,
) -> Result<Renewed, Failure> {
    let address = |text: &str| http::address(text).map_err(|error| Failure::usage(error.to_string()));
    let curated = args.curated.as_deref().or_else(|| host.env_nonempty("GPU_DOCTOR_DATABASE_URL"));
    let curated = match (curated, key) {
        (Some(url), Some(key)) => Some((address(url)?, key.to_owned())),
        (Some(_), None) => {
            return Err(Failure::usage(
                "a signed database needs the public key of who signs it: --public-key or GPU_DOCTOR_DATABASE_KEY"
                    .to_owned(),
            ));
        }
        (None, _) => None,
    };
    let nvidia = args.nvidia_url.as_deref().or_else(|| host.env_nonempty("GPU_DOCTOR_NVIDIA_URL"));
    let nvidia = nvidia.unwrap_or(manifest::HOME).trim_end_matches('/');
    let nvidia = address(&format!("{nvidia}/"))?;
    let index = match index::discover(host, args.network.index_url.as_deref()) {
        // What was typed is wrong; what is configured otherwise is a part that is not to be had.
        Err(error) if args.network.index_url.is_some() => return Err(Failure::usage(error.to_string())),
        index => index,
    };
    let certificates = index.as_ref().ok().and_then(|index| index.certificates.clone());
    let client = client(&args.network, host, certificates.as_deref())?;
    let wish = renew::Wish { nvidia, curated, jobs: args.network.jobs.into() };
    let line = Line::new("updating");
    let renewed = renew::online(host, &client, index.as_ref().map_err(ToString::to_string), &wish, &line);
    line.clear();
    renewed.map_err(failed)
}

fn text(verified: &Verified, db: &Database) -> String {
    let meta = db.meta();
    let mut text = format!(
        "database revision {} of {} ({}) against {} (from {})\n",
        meta.revision,
        meta.date,
        meta.origin,
        clean(&verified.index),
        clean(&verified.index_from)
    );
    for it in &verified.disagreements {
        let _ = writeln!(
            text,
            "\ndisagreement: {} {}, {}\n  the row says  {}\n  the package   {}\n  in            {}",
            it.table,
            it.key,
            it.column,
            clean(&it.row),
            clean(&it.package),
            clean(&it.source)
        );
    }
    if !verified.missing.is_empty() {
        let _ = writeln!(text, "\nreleases that the index has and the table lacks:");
        for it in &verified.missing {
            let _ = writeln!(text, "  {} {}{}", it.table, clean(&it.key), if it.yanked { " (yanked)" } else { "" });
        }
    }
    for (package, count) in &verified.older {
        let _ = writeln!(text, "\n{count} releases of {} are older than the table", clean(package));
    }
    if !verified.failures.is_empty() {
        let _ = writeln!(text, "\nwhat could not be asked:");
        for it in &verified.failures {
            let _ = writeln!(text, "  {}: {}", clean(&it.what), clean(&it.why));
        }
    }
    let rows: Vec<String> = verified.rows.iter().map(|(table, count)| format!("{count} of {table}")).collect();
    let figures: usize = verified.figures.values().sum();
    let _ = writeln!(
        text,
        "\nrows derived again: {}; figures compared: {figures}; cited packages found: {}",
        if rows.is_empty() { "none".to_owned() } else { rows.join(", ") },
        verified.citations
    );
    let _ = writeln!(
        text,
        "{} disagreements, {} releases missing, {} failures; {} in {} requests",
        verified.disagreements.len(),
        verified.missing.len(),
        verified.failures.len(),
        megabytes(verified.bytes),
        verified.requests
    );
    text
}
