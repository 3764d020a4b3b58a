//! `db verify` and `db update`: options into wishes, results into text; the work is done in `update`.

use std::fmt::Write as _;
use std::io::{IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::super::output::Failure;
use super::super::{DbVerifyArgs, Format, NetworkArgs, json};
use crate::db::Database;
use crate::exit::Exit;
use crate::host::{Host, TEXT_LIMIT};
use crate::report::wrap::clean;
use crate::update::Progress;
use crate::update::http::{Http, Settings};
use crate::update::index::{self, Index};
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

/// The client, and the index that is asked.
fn network(args: &NetworkArgs, host: &Host) -> Result<(Http, Index), Failure> {
    let index = index::discover(host, args.index_url.as_deref()).map_err(|error| Failure::usage(error.to_string()))?;
    let certificates = index
        .certificates
        .as_deref()
        .map(|file| {
            host.read(host.absolute(file), TEXT_LIMIT).map_err(|error| Failure::usage(format!("certificates: {error}")))
        })
        .transpose()?;
    let settings = Settings { timeout: Duration::from_secs(args.timeout.into()), certificates, ..Settings::default() };
    let http = Http::new(settings).map_err(|error| Failure::incomplete(error.to_string()))?;
    Ok((http, index))
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
    let (http, index) = network(&args.network, host)?;
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
