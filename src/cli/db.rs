//! `db`: shows, queries, exports and lints the database, and hands over to `update` what needs the network.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::output::{Failure, Paint, Sink};
use super::{DbArgs, DbCommand, DbExportArgs, DbLintArgs, DbQueryArgs, DbShowArgs, ExportFormat, Format, PrintArgs};
use crate::db::Database;
use crate::db::document::{Document, NotDocument, Rows, TABLES};
use crate::db::lint::{self, FILES};
use crate::db::load::Fault;
use crate::db::{Day, overlay};
use crate::exit::Exit;
use crate::host::{Host, HostError};
use crate::report::wrap::{clean, lines};
use crate::sort::Sorted as _;

#[cfg(feature = "update")]
mod online;

impl DbArgs {
    /// The options about printing.
    pub(super) fn print(&self) -> &PrintArgs {
        match &self.command {
            DbCommand::Show(args) => &args.print,
            DbCommand::Query(args) => &args.print,
            DbCommand::Export(args) => &args.print,
            DbCommand::Lint(args) => &args.print,
            DbCommand::Verify(args) => &args.print,
            DbCommand::Update(args) => &args.print,
        }
    }
}

/// Runs a command of `db`.
pub(super) fn run(args: &DbArgs, here: Result<Host, HostError>, paint: Paint) -> Result<Exit, Failure> {
    let host = here.map_err(|error| Failure::incomplete(format!("the working folder cannot be read: {error}")))?;
    let installed = overlay::installed(&host);
    for trouble in &installed.troubles {
        super::output::warn(&format!("{trouble}; going on without it"));
    }
    let (text, exit) = match &args.command {
        DbCommand::Show(args) => (show(args, &installed, paint)?, Exit::Ok),
        DbCommand::Query(args) => (query(args, &installed, paint)?, Exit::Ok),
        DbCommand::Export(args) => (export(args, &installed)?, Exit::Ok),
        DbCommand::Lint(args) => lint(args, &installed, &host)?,
        #[cfg(feature = "update")]
        DbCommand::Verify(args) => online::verify(args, &installed, &host)?,
        #[cfg(feature = "update")]
        DbCommand::Update(args) => online::update(args, &host)?,
        #[cfg(not(feature = "update"))]
        DbCommand::Verify(_) | DbCommand::Update(_) => {
            return Err(Failure::usage("this program was built without the feature `update`".to_owned()));
        }
    };
    Sink { paint, output: args.print().output.as_deref() }.write(&text, exit)
}

/// The keys that stand in one line for each row; the others are for `query`.
fn columns(table: &str) -> &'static [&'static str] {
    match table {
        "tensorflow" => &["package", "version", "platform", "python", "cuda", "cudnn", "keras"],
        "keras" => &["package", "version", "python", "tensorflow", "backends"],
        "cuda" => &["version", "driver_linux", "floor_linux", "compute_min", "compute_max", "gcc_max", "ptx_isa"],
        "cudnn" => &["version", "cuda", "driver_linux", "compute_min"],
        "driver" => &["branch", "kind", "reports_cuda", "first", "end_of_life"],
        "gpu" => &["name", "compute", "class", "pci"],
        "chip" => &["chip", "compute", "pci"],
        "compat" => &["cuda", "branches"],
        _ => &["crate", "versions", "compiles_cuda", "env"],
    }
}

/// The keys that name a row.
fn keys(table: &str) -> &'static [&'static str] {
    match table {
        "tensorflow" => &["package", "version", "platform"],
        "keras" => &["package", "version"],
        "cuda" | "cudnn" => &["version"],
        "driver" => &["branch"],
        "gpu" => &["name"],
        "chip" => &["chip"],
        "compat" => &["cuda"],
        _ => &["crate", "versions"],
    }
}

fn rows(db: &Database, table: &str) -> Vec<Map<String, Value>> {
    let Some(Value::Array(rows)) = db.table(table) else { return Vec::new() };
    rows.into_iter()
        .filter_map(|row| match row {
            Value::Object(row) => Some(row),
            _ => None,
        })
        .collect()
}

/// A value as text: lists with commas, mappings as `key value`.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => clean(text),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Object(map) => {
            map.iter().map(|(key, value)| format!("{} {}", clean(key), plain(value))).collect::<Vec<_>>().join(", ")
        }
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::Null => String::new(),
        Value::Number(number) => number.to_string(),
    }
}

fn show(args: &DbShowArgs, db: &Database, paint: Paint) -> Result<String, Failure> {
    let meta = db.meta();
    let Some(table) = &args.table else {
        let all = db.rows();
        let derived = derived(&all);
        if args.format == Format::Json {
            let tables: BTreeMap<_, _> = all.counts().into_iter().sorted_map();
            return super::json(&json!({"schema": 1, "database": meta, "rows": tables, "derived": derived}), true);
        }
        let mut text = format!("database revision {} of {} ({})\n", meta.revision, meta.date, meta.origin);
        for (name, count) in all.counts() {
            let _ = writeln!(text, "  {name:10} {count:5} rows");
        }
        if derived > 0 {
            let _ = writeln!(text, "{derived} rows were derived from packages and are compared by nobody yet");
        }
        return Ok(text);
    };
    let rows = rows(db, table);
    if args.format == Format::Json {
        return super::json(
            &json!({"schema": 1, "revision": meta.revision, "date": meta.date, "origin": meta.origin, "table": table, "rows": rows}),
            true,
        );
    }
    Ok(grid(columns(table), &rows, paint))
}

/// How many rows were derived.
fn derived(rows: &Rows) -> usize {
    rows.tensorflow.iter().filter(|row| row.derived).count()
        + rows.keras.iter().filter(|row| row.derived).count()
        + rows.cuda.iter().filter(|row| row.derived).count()
        + rows.cudnn.iter().filter(|row| row.derived).count()
}

/// Rows in aligned columns, the source last.
fn grid(columns: &[&str], rows: &[Map<String, Value>], paint: Paint) -> String {
    /// A cell is cut after this many characters; `query` shows it whole.
    const WIDEST: usize = 36;
    let bold = anstyle::Style::new().bold();
    let cell = |row: &Map<String, Value>, key: &str| -> String {
        let text = row.get(key).map(plain).unwrap_or_default();
        if text.chars().count() <= WIDEST {
            return text;
        }
        text.chars().take(WIDEST - 1).chain(['…']).collect()
    };
    let widths: Vec<usize> = columns
        .iter()
        .map(|key| rows.iter().map(|row| cell(row, key).chars().count()).chain([key.len()]).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for (key, &width) in columns.iter().zip(&widths) {
        let _ = write!(text, "{bold}{key:width$}{bold:#}  ");
    }
    let _ = writeln!(text, "{bold}source{bold:#}");
    for row in rows {
        let mut line = String::new();
        for (key, &width) in columns.iter().zip(&widths) {
            let _ = write!(line, "{:width$}  ", cell(row, key));
        }
        line.push_str(&row.get("source").map(plain).unwrap_or_default());
        if row.get("derived") == Some(&Value::Bool(true)) {
            line.push_str(" (derived)");
        }
        // Columns that do not fit would break every line of the table.
        let line = match paint.width {
            Some(width) if line.chars().count() > width => line.chars().take(width - 1).chain(['…']).collect(),
            _ => line,
        };
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn query(args: &DbQueryArgs, db: &Database, paint: Paint) -> Result<String, Failure> {
    let all = rows(db, &args.table);
    let is = |row: &Map<String, Value>, key: &str, wanted: Option<&str>| {
        wanted.is_none_or(|wanted| row.get(key).and_then(Value::as_str) == Some(wanted))
    };
    let found: Vec<_> = all
        .iter()
        .filter(|row| is(row, "package", args.package.as_deref()) && is(row, "platform", args.platform.as_deref()))
        .filter(|row| matches(&args.table, row, args.wanted.trim()))
        .cloned()
        .collect();
    if found.is_empty() {
        return Err(Failure::usage(format!(
            "no row of `{0}` is about `{1}`; `cargo gpu-doctor db show {0}` prints them all",
            args.table, args.wanted
        )));
    }
    let meta = db.meta();
    if args.format == Format::Json {
        return super::json(
            &json!({"schema": 1, "revision": meta.revision, "date": meta.date, "origin": meta.origin, "table": args.table, "rows": found}),
            true,
        );
    }
    let mut text = String::new();
    for row in &found {
        block(&mut text, &args.table, row, paint.width);
    }
    let _ = writeln!(text, "database revision {} of {} ({})", meta.revision, meta.date, meta.origin);
    Ok(text)
}

/// One row, a key a line.
fn block(text: &mut String, table: &str, row: &Map<String, Value>, width: Option<usize>) {
    const INDENT: usize = 17;
    // The figures, then the long ones, then where they come from.
    const LAST: [&str; 9] =
        ["libraries", "and_cuda", "and_cuda_fails", "env", "source", "also", "checked", "derived", "note"];
    let bold = anstyle::Style::new().bold();
    let named = keys(table);
    let title: Vec<String> = named.iter().filter_map(|key| row.get(*key).map(plain)).collect();
    let _ = writeln!(text, "{bold}{}{bold:#}", title.join(" "));
    let place = |key: &str| match columns(table).iter().position(|column| *column == key) {
        Some(place) if !LAST.contains(&key) => place,
        _ => LAST.iter().position(|last| *last == key).map_or(50, |place| 100 + place),
    };
    let mut entries: Vec<_> = row.iter().filter(|(key, _)| !named.contains(&key.as_str())).collect();
    crate::sort::by_key(&mut entries, |(key, _)| place(key));
    for (key, value) in entries {
        let items: Vec<String> = match value {
            // One source, one package a line.
            Value::Array(items) if key == "also" => items.iter().map(plain).collect(),
            Value::Object(map) => map.iter().map(|(name, value)| format!("{} {}", clean(name), plain(value))).collect(),
            other => lines(&plain(other), width.map(|width| width.saturating_sub(1)), INDENT, INDENT),
        };
        for (index, item) in items.iter().enumerate() {
            let label = if index == 0 { key.as_str() } else { "" };
            let _ = writeln!(text, "  {label:14} {item}");
        }
    }
    text.push('\n');
}

/// Whether a row is about a version or name. `2.18` is all of 2.18; names are compared without case.
fn matches(table: &str, row: &Map<String, Value>, wanted: &str) -> bool {
    let text = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let version = |text: &str| {
        text == wanted
            || text.strip_prefix(wanted).is_some_and(|rest| {
                !wanted.is_empty()
                    && rest.starts_with(|c: char| !c.is_ascii_digit())
                    && wanted.ends_with(|c: char| c.is_ascii_digit())
            })
    };
    match table {
        "tensorflow" | "keras" | "cuda" | "cudnn" => {
            version(&text("version"))
                // What is installed may have more numbers than the row: cuDNN 9.1.0.70.
                || (table == "cudnn" && wanted.strip_prefix(&text("version")).is_some_and(|rest| rest.starts_with('.')))
        }
        "driver" => wanted.split('.').next() == Some(text("branch").as_str()),
        "compat" => version(&text("cuda")),
        "gpu" | "chip" => {
            let name = text(if table == "gpu" { "name" } else { "chip" }).to_lowercase();
            let ids = row.get("pci").and_then(Value::as_array);
            let id = |id: &Value| id.as_str().is_some_and(|id| id.eq_ignore_ascii_case(wanted));
            let plain = wanted.to_lowercase();
            let plain = plain.strip_prefix("nvidia ").unwrap_or(&plain);
            name.split(' ').collect::<Vec<_>>().windows(plain.split(' ').count()).any(|part| part.join(" ") == plain)
                || ids.is_some_and(|ids| ids.iter().any(id))
        }
        _ => text("crate") == wanted,
    }
}

fn export(args: &DbExportArgs, db: &Database) -> Result<String, Failure> {
    match (args.format, &args.table) {
        (ExportFormat::Json, None) => super::json(&db.export(), false),
        (ExportFormat::Json, Some(table)) => {
            let mut document = db.export();
            if let Some(Value::Object(tables)) = document.get_mut("tables") {
                tables.retain(|name, _| name == table);
            }
            super::json(&document, false)
        }
        (ExportFormat::Csv, Some(table)) => {
            let rows = rows(db, table);
            let mut names: Vec<&str> = keys(table).to_vec();
            names.extend(columns(table).iter().filter(|column| !keys(table).contains(column)));
            for key in rows.iter().flat_map(Map::keys) {
                if !names.contains(&key.as_str()) {
                    names.push(key);
                }
            }
            let mut text = csv(names.iter().map(|name| (*name).to_owned()));
            for row in &rows {
                text.push_str(&csv(names.iter().map(|name| row.get(*name).map(raw).unwrap_or_default())));
            }
            Ok(text)
        }
        (ExportFormat::Csv, None) => {
            let mut text = csv(["table", "row", "key", "value"].map(str::to_owned).into_iter());
            for table in TABLES {
                for row in rows(db, table) {
                    let name: Vec<String> = keys(table).iter().filter_map(|key| row.get(*key).map(raw)).collect();
                    for (key, value) in &row {
                        text.push_str(&csv([table.to_owned(), name.join(" "), key.clone(), raw(value)].into_iter()));
                    }
                }
            }
            Ok(text)
        }
    }
}

/// A value for a file: lists with blanks between, mappings as requirements.
fn raw(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(raw).collect::<Vec<_>>().join(" "),
        Value::Object(map) => {
            map.iter().map(|(key, value)| format!("{key}{}", raw(value))).collect::<Vec<_>>().join(" ")
        }
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// A line of RFC 4180.
fn csv(cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<String> =
        cells
            .map(|cell| {
                if cell.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
            })
            .collect();
    cells.join(",") + "\r\n"
}

#[derive(Serialize)]
struct Linted<'f> {
    schema: u32,
    rows: BTreeMap<&'static str, usize>,
    faults: Vec<FaultLine<'f>>,
}

#[derive(Serialize)]
struct FaultLine<'f> {
    file: &'f str,
    line: usize,
    column: usize,
    message: &'f str,
}

fn lint(args: &DbLintArgs, db: &Database, host: &Host) -> Result<(String, Exit), Failure> {
    let today = Day::new(host.today());
    let (files, prefix, overlaid) = match &args.dir {
        Some(dir) => (data_files(dir, host)?, format!("{}/", dir.display()), false),
        None => (in_use(db)?, String::new(), true),
    };
    let (tables, faults) = if overlaid {
        lint::lint_overlaid(&files, today.as_ref())
    } else {
        lint::lint(&files, &prefix, today.as_ref())
    };
    let rows = Rows::from(tables);
    // A data file that is wrong is a file that is wrong.
    let exit = if faults.is_empty() { Exit::Ok } else { Exit::Usage };
    if args.format == Format::Json {
        let line = |fault: &'_ Fault| (fault.line, fault.column);
        let faults = faults
            .iter()
            .map(|fault| {
                let (line, column) = line(fault);
                FaultLine { file: &fault.file, line, column, message: &fault.message }
            })
            .collect();
        return Ok((super::json(&Linted { schema: 1, rows: rows.counts().into(), faults }, true)?, exit));
    }
    let mut text = String::new();
    for fault in &faults {
        let name = fault.file.strip_prefix(&prefix).unwrap_or(&fault.file);
        let _ = writeln!(text, "{}\n", fault.render(files.get(name).map_or("", String::as_str)));
    }
    let _ = match faults.len() {
        0 => writeln!(text, "no fault in {} rows", rows.count()),
        1 => writeln!(text, "1 fault"),
        many => writeln!(text, "{many} faults"),
    };
    Ok((text, exit))
}

fn data_files(dir: &Path, host: &Host) -> Result<BTreeMap<String, String>, Failure> {
    let folder = host.absolute(dir);
    if !host.is_dir(&folder) {
        return Err(Failure::usage(format!("{}: no such folder", dir.display())));
    }
    let mut files = BTreeMap::new();
    for name in FILES {
        match host.read_text(folder.join(name)) {
            Ok(text) => drop(files.insert(name.to_owned(), text)),
            // The linter names what is missing.
            Err(error) if error.is_absent() => {}
            Err(error) => return Err(Failure::usage(error.to_string())),
        }
    }
    Ok(files)
}

fn in_use(db: &Database) -> Result<BTreeMap<String, String>, Failure> {
    let meta = db.meta();
    let wrong = |error: NotDocument| Failure::incomplete(error.to_string());
    let date = Day::new(&meta.date).ok_or_else(|| Failure::incomplete(format!("`{}` is no day", meta.date)))?;
    let document =
        Document { schema: meta.schema, revision: meta.revision, date, origin: Some(meta.origin), tables: db.rows() };
    document.files().map_err(wrong)
}
