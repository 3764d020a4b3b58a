//! What `check` writes: each format, for one machine and for many; judges nothing itself.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::output::{Failure, Sink, warn};
use super::{CheckFormat, DOCUMENT_LIMIT, json};
use crate::db::Database;
use crate::exit::Exit;
use crate::facts::Facts;
use crate::fleet::{Documents, Fleet, Member, Raw, ordered};
use crate::host::{self, Host};
use crate::options::Options;
use crate::policy::Policy;
use crate::report::item::{Item, Scene};
use crate::report::summary::{Summary, Unread};
use crate::report::{Origin, Outcome, github, human, junit, markdown, sarif};
use crate::run::{self, Checked, Clock, NotFacts, Recorded};
use crate::sort::Sorted as _;

/// Machines that get a report of their own beside the summary, without being asked for.
const DETAILS: usize = 5;
/// Machines whose facts could not be read that are told of at once, beside the report.
const UNREAD_TOLD: usize = 10;
/// Documents whose judgment is kept, for machines that are recorded alike.
const KEPT: usize = 32;
/// Streams are read in pieces of this size.
const BUFFER: usize = 1 << 18;
/// A job summary may have this many bytes.
const STEP_SUMMARY: usize = 1 << 20;

/// Whether each of many machines gets a report of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Each {
    /// However many there are.
    Always,
    /// As JSON; for people where there are few.
    WhereFew,
    /// Only what all have together, as JSON in one document.
    Never,
}

/// How a check is written.
#[derive(Debug)]
pub(super) struct Page<'a> {
    pub(super) format: CheckFormat,
    /// For people, only the test kernel and what stands in its way.
    pub(super) kernel: bool,
    pub(super) db: &'a Database,
    pub(super) policy: &'a Policy,
    pub(super) options: &'a Options,
    pub(super) scene: Scene,
    pub(super) today: &'a str,
    pub(super) width: Option<usize>,
    /// Whether names are taken out before anything is judged.
    pub(super) redact: bool,
    /// Of many machines: whether each gets a report of its own.
    pub(super) each: Each,
    /// Where the job summary goes.
    pub(super) step_summary: Option<&'a str>,
}

/// A document with the machine's name and its place among all.
struct Job {
    index: usize,
    name: String,
    stream: String,
    /// The document, or why there is none.
    raw: Result<Raw, String>,
    last: bool,
}

/// What came of one machine.
struct Told {
    name: String,
    /// What is kept of it, or why its facts could not be read.
    gist: Result<Arc<Gist>, String>,
    /// Its report, where one is written.
    text: Option<String>,
    /// The last machine, whose report waits for what only all together tell.
    rest: Option<Checked>,
}

/// Judgments of documents, by the hash of their bytes, which stand beside them.
type Kept = Mutex<HashMap<u64, (Vec<u8>, Arc<Gist>)>>;

/// What is kept of one machine.
struct Gist {
    denied: bool,
    items: Vec<Item>,
    met: Vec<&'static str>,
}

impl Page<'_> {
    /// Takes names out, where that is asked for.
    pub(super) fn prepare(&self, machine: &mut Recorded) {
        if self.redact {
            crate::facts::redact::redact(&mut machine.facts);
        }
    }

    /// The text on one machine.
    pub(super) fn one(&self, checked: &Checked) -> Result<String, Failure> {
        let report = checked.report(self.db, self.options);
        let items = || Item::all(&report, &self.scene);
        Ok(match self.format {
            CheckFormat::Json => json(&report, true)?,
            CheckFormat::Human if self.kernel => human::kernel(&report, self.db, self.width),
            CheckFormat::Human => format!(
                "{}{}",
                human::report(&report, &checked.outcomes, self.db, self.width),
                database(&report.database)
            ),
            CheckFormat::Markdown => markdown::report(&report, &items()),
            CheckFormat::Sarif => {
                let items = items();
                json(
                    &sarif::document(
                        &items,
                        &report.database,
                        report.exit_code,
                        &troubles(&items, report.exit_code, &[]),
                    ),
                    true,
                )?
            }
            CheckFormat::Junit => junit::document("this machine", &junit::cases(&report, &items())),
            CheckFormat::Github => {
                let items = items();
                self.job_summary(&markdown::report(&report, &items));
                github::annotations(&items, &troubles(&items, report.exit_code, &[]))
            }
        })
    }

    /// Judges many machines and writes what is to be said of them.
    pub(super) fn many(&self, documents: &mut Recordings<'_>, sink: Sink<'_>) -> Result<Exit, Failure> {
        let mut stream = sink.begin()?;
        let mut fleet = Fleet::default();
        // What an ignore is unused for is known at the end only.
        let everything: BTreeSet<&str> = self.policy.ignores.iter().map(|ignore| ignore.rule.as_str()).sorted_set();
        let mut met: BTreeSet<&str> = BTreeSet::new();
        let kept: Kept = Mutex::default();
        let (mut held, mut last, mut unread) = (Vec::new(), None, 0);
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let result = ordered(
            || Ok(documents.take()),
            threads,
            |job| self.judge(job, &everything, &kept),
            |told: Told| {
                match told.gist {
                    Ok(gist) => {
                        met.extend(&gist.met);
                        if let Some(checked) = told.rest {
                            last = Some((told.name, checked));
                            return Ok(());
                        }
                        fleet.add(told.name, gist.denied, gist.items.clone());
                    }
                    Err(why) => {
                        unread += 1;
                        if unread <= UNREAD_TOLD {
                            warn(&why);
                        }
                        fleet.add_unread(told.name, why);
                    }
                }
                match told.text {
                    // Reports for people come only where there are few.
                    Some(text) if self.format == CheckFormat::Human && self.each != Each::Always => held.push(text),
                    Some(text) => stream.put(&text)?,
                    None => {}
                }
                Ok(())
            },
        );
        result?;
        if unread > UNREAD_TOLD {
            warn(&format!("{} more could not be read; the report names each", unread - UNREAD_TOLD));
        }
        if let Some((name, mut checked)) = last {
            checked.ruling = self.policy.apply(&checked.outcomes, self.options, self.today, &met);
            let report = checked.report(self.db, self.options);
            fleet.add(name.clone(), checked.ruling.denied, Item::all(&report, &self.scene));
            if self.wants_report(fleet.machines.len() - 1) {
                held.push(self.single(&name, &checked)?);
            }
        }
        let few = self.each == Each::Always || fleet.machines.len() <= DETAILS;
        if self.format != CheckFormat::Human || few {
            held.iter().try_for_each(|text| stream.put(text))?;
        }
        let exit = if fleet.denied() > 0 {
            Exit::Denied
        } else if fleet.unread().is_empty() {
            Exit::Ok
        } else {
            Exit::Usage
        };
        stream.put(&self.together(&fleet, exit)?)?;
        Ok(exit)
    }

    /// Whether a machine gets a report of its own.
    fn wants_report(&self, index: usize) -> bool {
        self.each != Each::Never
            && match self.format {
                CheckFormat::Json => true,
                CheckFormat::Human => self.each == Each::Always || index < DETAILS,
                _ => false,
            }
    }

    fn judge(&self, job: Job, everything: &BTreeSet<&str>, kept: &Kept) -> Result<Told, Failure> {
        let Job { index, name, stream, raw, last } = job;
        let report = self.wants_report(index);
        // One that cannot be read hides none of the others.
        let unread = |name: String, why: String| {
            let text =
                (report && self.format == CheckFormat::Json).then(|| json(&Unread::new(&why), false)).transpose()?;
            Ok(Told { name, gist: Err(why), text, rest: None })
        };
        let raw = match raw {
            Ok(raw) => raw,
            Err(why) => return unread(name, why),
        };
        let hash = {
            let mut hasher = DefaultHasher::new();
            raw.bytes.hash(&mut hasher);
            hasher.finish()
        };
        if !report && !last {
            let kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, gist)) = kept.get(&hash).filter(|(bytes, _)| *bytes == raw.bytes) {
                return Ok(Told { name, gist: Ok(Arc::clone(gist)), text: None, rest: None });
            }
        }
        let clock = Clock::start();
        let mut facts = match parse(&stream, &raw) {
            Ok(facts) => facts,
            Err(why) => return unread(name, why),
        };
        crate::probe::assume(&mut facts, &self.options.assume);
        let mut machine = Recorded { name: Some(name.clone()), facts };
        self.prepare(&mut machine);
        let (db, policy, options) = (self.db, self.policy, self.options);
        let checked = run::check_one(machine, db, policy, options, self.today, &clock, everything);
        let met = checked.outcomes.findings.iter().map(|(rule, _)| rule.id).collect();
        if last {
            let gist = Arc::new(Gist { denied: false, items: Vec::new(), met });
            return Ok(Told { name, gist: Ok(gist), text: None, rest: Some(checked) });
        }
        let text = if report { Some(self.single(&name, &checked)?) } else { None };
        let items = Item::all(&checked.report(db, options), &self.scene);
        let gist = Arc::new(Gist { denied: checked.ruling.denied, items, met });
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !report && kept.len() < KEPT {
            kept.insert(hash, (raw.bytes, Arc::clone(&gist)));
        }
        Ok(Told { name, gist: Ok(gist), text, rest: None })
    }

    /// The report on one of many machines.
    fn single(&self, name: &str, checked: &Checked) -> Result<String, Failure> {
        let report = checked.report(self.db, self.options);
        if self.format == CheckFormat::Json {
            return json(&report, false);
        }
        let bold = anstyle::Style::new().bold();
        let page = if self.kernel {
            human::kernel(&report, self.db, self.width)
        } else {
            human::report(&report, &checked.outcomes, self.db, self.width)
        };
        Ok(format!("{bold}=== {} ==={bold:#}\n{page}\n", crate::report::wrap::clean(name)))
    }

    /// What is said of all machines together.
    fn together(&self, fleet: &Fleet, exit: Exit) -> Result<String, Failure> {
        let (count, denied) = (fleet.machines.len(), fleet.denied());
        let items = fleet.items();
        let meta = self.db.meta();
        let database = Origin { revision: meta.revision, date: meta.date, origin: meta.origin };
        let troubles = troubles(&items, exit.code(), &fleet.unread());
        Ok(match self.format {
            CheckFormat::Json if self.each != Each::Never => String::new(),
            CheckFormat::Json => json(&Summary::new(fleet, &items, database, exit), true)?,
            CheckFormat::Human => {
                let line = self::database(&database);
                let more = if count > DETAILS && self.each == Each::WhereFew {
                    "`--details` prints each machine's own report\n"
                } else {
                    ""
                };
                format!("{}{more}{line}", human::fleet(&items, count, denied, &fleet.unread(), self.width))
            }
            CheckFormat::Markdown => markdown::fleet(&items, count, denied, &fleet.unread(), exit.code()),
            CheckFormat::Sarif => json(&sarif::document(&items, &database, exit.code(), &troubles), true)?,
            CheckFormat::Github => {
                self.job_summary(&markdown::fleet(&items, count, denied, &fleet.unread(), exit.code()));
                github::annotations(&items, &troubles)
            }
            CheckFormat::Junit => junit::document("machines", &machine_cases(fleet)),
        })
    }

    /// Appends to GitHub's job summary, where there is one; a summary that cannot be written fails nothing.
    fn job_summary(&self, page: &str) {
        let Some(path) = self.step_summary else { return };
        let page = if page.len() < STEP_SUMMARY { page } else { "The report is too long for a job summary.\n" };
        if let Err(error) = host::append_file(Path::new(path), format!("{page}\n").as_bytes()) {
            warn(&format!("GITHUB_STEP_SUMMARY {path}: {error}"));
        }
    }
}

/// Which database it was, for people.
fn database(origin: &Origin) -> String {
    format!("database revision {} of {} ({})\n", origin.revision, origin.date, origin.origin)
}

/// A test case for each machine.
fn machine_cases(fleet: &Fleet) -> Vec<junit::Case> {
    let mut said: Vec<Vec<&Item>> = vec![Vec::new(); fleet.machines.len()];
    for cause in &fleet.causes {
        for machine in &cause.machines {
            if let Some(list) = said.get_mut(*machine) {
                list.push(&cause.item);
            }
        }
    }
    let case = |(machine, items): (&Member, Vec<&Item>)| {
        let text = items.iter().map(|item| format!("{}: {}", item.rule.id, item.title)).collect::<Vec<_>>().join("\n");
        let worst = items.iter().find(|item| item.level == crate::finding::Level::Deny);
        let ending = if let Some(error) = &machine.error {
            junit::Ending::Broken(error.clone())
        } else if machine.outcome == Outcome::Denied {
            let message = worst.map_or("a verdict could not be told (`--strict`)", |item| item.title.as_str());
            junit::Ending::Failed(message.to_owned(), text)
        } else if text.is_empty() {
            junit::Ending::Passed
        } else {
            junit::Ending::Said(text)
        };
        junit::Case { class: "gpu-doctor.machine".to_owned(), name: machine.name.clone(), ending }
    };
    fleet.machines.iter().zip(said).map(case).collect()
}

/// Why the check fails where no finding is denied: facts that could not be read, or `--strict`.
fn troubles<'t>(items: &[Item], exit_code: u8, unread: &[&'t str]) -> Vec<&'t str> {
    let denied = items.iter().any(|item| item.level == crate::finding::Level::Deny);
    let strict = (exit_code == Exit::Denied.code() && !denied)
        .then_some("the check fails because of `--strict`: a verdict or a requirement could not be told");
    unread.iter().copied().chain(strict).collect()
}

/// The documents of `--facts`, read as they are needed.
pub(super) struct Recordings<'a> {
    host: &'a Host,
    files: std::slice::Iter<'a, PathBuf>,
    open: Option<(String, Documents<Box<dyn BufRead + Send>>)>,
    /// What comes next, with the name of its stream: never more than two.
    ahead: VecDeque<(String, Result<Raw, String>)>,
    index: usize,
}

impl<'a> Recordings<'a> {
    pub(super) fn new(files: &'a [PathBuf], host: &'a Host) -> Self {
        Self { host, files: files.iter(), open: None, ahead: VecDeque::new(), index: 0 }
    }

    /// The only document, or `None` where there are more; then all are still to come.
    pub(super) fn only(&mut self) -> Result<Option<Recorded>, Failure> {
        self.look_ahead();
        if self.ahead.len() != 1 {
            return Ok(None);
        }
        let Some((name, raw)) = self.ahead.pop_front() else { return Ok(None) };
        let facts = raw.and_then(|raw| parse(&name, &raw)).map_err(Failure::usage)?;
        Ok(Some(Recorded { facts, name: Some(name) }))
    }

    fn take(&mut self) -> Option<Job> {
        self.look_ahead();
        let (stream, raw) = self.ahead.pop_front()?;
        let number = raw.as_ref().ok().map(|raw| raw.number);
        let next = self.ahead.front().and_then(|(_, next)| next.as_ref().ok()).map(|next| next.number);
        let name = match number {
            Some(number) if number > 1 || next == Some(2) => format!("{stream}, document {number}"),
            _ => stream.clone(),
        };
        let index = self.index;
        self.index += 1;
        Some(Job { index, name, stream, raw, last: self.ahead.is_empty() })
    }

    fn look_ahead(&mut self) {
        while self.ahead.len() < 2 {
            if let Some((name, documents)) = &mut self.open {
                match documents.take() {
                    Ok(Some(raw)) => {
                        self.ahead.push_back((name.clone(), Ok(raw)));
                        continue;
                    }
                    Ok(None) if !documents.is_empty() => {}
                    Ok(None) => self.ahead.push_back((name.clone(), Err(wrong(name, &NotFacts::Empty)))),
                    Err(why) => self.ahead.push_back((name.clone(), Err(wrong(name, &why)))),
                }
                self.open = None;
                continue;
            }
            let Some(file) = self.files.next() else { break };
            let (name, reader): (String, Box<dyn BufRead + Send>) = if file.as_os_str() == "-" {
                ("standard input".to_owned(), Box::new(BufReader::with_capacity(BUFFER, std::io::stdin())))
            } else {
                let name = file.display().to_string();
                match self.host.open(self.host.absolute(file)) {
                    Ok(open) => (name, Box::new(BufReader::with_capacity(BUFFER, open.into_reader()))),
                    Err(error) => {
                        let why = wrong(&name, &error.why);
                        self.ahead.push_back((name, Err(why)));
                        continue;
                    }
                }
            };
            self.open = Some((name, Documents::new(reader, DOCUMENT_LIMIT)));
        }
    }
}

/// What is wrong with a stream or a document of it.
fn wrong(stream: &str, why: &dyn std::fmt::Display) -> String {
    format!("--facts: {stream}: {why}")
}

fn parse(stream: &str, raw: &Raw) -> Result<Facts, String> {
    if std::str::from_utf8(&raw.bytes).is_err() {
        return Err(wrong(stream, &format!("document {}: not UTF-8", raw.number)));
    }
    run::document(&raw.bytes, raw.number, raw.line).map_err(|error| wrong(stream, &error))
}
