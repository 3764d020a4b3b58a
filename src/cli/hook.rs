//! The commands of `hook`: put in, take out, judge what is staged.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::output::{Failure, Paint, Sink};
use super::{HookArgs, HookCommand, HookFormat, HookRunArgs, assume, database, json};
use crate::db::Database;
use crate::exit::Exit;
use crate::finding::{Finding, Level, Subject};
use crate::gate;
use crate::hook::install::{self, Done, Refused};
use crate::hook::staged::Staged;
use crate::hook::{GitError, staged};
use crate::host::{self, Host};
use crate::options::{GpuWish, Options};
use crate::policy::{self, Policy};
use crate::probe::sources;
use crate::report::Report;
use crate::run::Checked;
use crate::sort::Sorted as _;
use crate::verdict::judge_with;

pub(super) fn run(args: &HookArgs, here: Result<Host, host::HostError>, paint: Paint) -> Result<Exit, Failure> {
    let here = here.map_err(|error| Failure::incomplete(format!("the working folder cannot be read: {error}")))?;
    match &args.command {
        HookCommand::Install => {
            // Where the program's own file cannot be told, the shell finds it.
            let program = std::env::current_exe().ok();
            done(install::install(&here, program.as_deref()), paint)
        }
        HookCommand::Uninstall => done(install::uninstall(&here), paint),
        HookCommand::Run(args) => run_hook(args, here, paint),
    }
}

fn done(done: Result<Done, Refused>, paint: Paint) -> Result<Exit, Failure> {
    let done = done.map_err(|refused| match refused {
        Refused::File(_) => Failure::incomplete(refused.to_string()),
        Refused::Git(_) | Refused::Name(_) | Refused::InTheWay(_) => Failure::usage(refused.to_string()),
    })?;
    let mut text = format!("{}\n", crate::report::wrap::clean(&done.folder.to_string_lossy()));
    for line in &done.lines {
        let _ = writeln!(text, "  {line}");
    }
    Sink { paint, output: None }.write(&text, Exit::Ok)
}

fn run_hook(args: &HookRunArgs, here: Host, paint: Paint) -> Result<Exit, Failure> {
    let git = |error: GitError| Failure::incomplete(error.to_string());
    let sink = Sink { paint, output: args.print.output.as_deref() };
    // Most commits end here.
    let mut staged =
        if args.files.is_empty() { staged::staged(&here) } else { staged::named(&here, &args.files) }.map_err(git)?;
    if staged.files.is_empty() {
        return Ok(Exit::Ok);
    }
    let index = staged::index(&here, &staged.top).map_err(git)?;
    // Cargo reads the working tree: where that is another one, it cannot be asked. What nobody has added yet it reads
    // too, and says so where that does not fit the lock file.
    let only_static = index.files.iter().any(|(file, content)| content.is_some() && staged::is_cargo(file));
    let db = database(Some(&here));
    let host = here.standing_in(&staged.top).laid_over(index.files.clone());
    staged::drop_quiet_sources(&host, &mut staged);
    if staged.files.is_empty() {
        return Ok(Exit::Ok);
    }
    let (mut checked, mut skipped): (Vec<Checked>, BTreeSet<String>) = (Vec::new(), BTreeSet::new());
    let mut seen = BTreeSet::new();
    for task in tasks(&host, &staged) {
        let options = Options {
            manifest: task.manifest.as_ref().map(|path| path.to_string_lossy().into_owned()),
            gpu: args.gpu.map(GpuWish::from),
            assume: assume(&args.assume),
            building: true,
            declared: !task.files.is_empty(),
            sources: task.sources(&staged.top),
            only_static,
            ..Options::default()
        };
        let policy =
            policy::read(&host, Some(&task.within.join("Cargo.toml").to_string_lossy())).map_err(Failure::policy)?;
        let one = one(&host, &db, policy, &options, &task);
        skipped.extend(unread(&one, &task));
        // Two members of a workspace share its lock file, and what is wrong with it.
        let lock = one.facts.project.as_ref().and_then(|project| project.lock.clone());
        let titles: Vec<&str> = one.ruling.findings.iter().map(|(_, _, finding)| finding.title.as_str()).collect();
        if seen.insert(format!("{lock:?} {titles:?}")) {
            checked.push(one);
        }
    }
    let exit = checked.iter().map(Checked::exit).max_by_key(|exit| exit.code()).unwrap_or(Exit::Ok);
    let options = Options::default();
    let text = match args.format {
        HookFormat::Json => {
            let mut text = String::new();
            for one in &checked {
                text.push_str(&json(&one.report(&db, &options), checked.len() == 1)?);
            }
            text
        }
        HookFormat::Human => told(&checked, &skipped, &db, &staged.top, paint),
    };
    sink.write(&text, exit)
}

/// What is judged at once: a Cargo project, or files that declare something, under one policy.
struct Task {
    /// The folder from which on the policy is looked for.
    within: PathBuf,
    /// The project.
    manifest: Option<PathBuf>,
    /// Staged files other than Cargo's, for which that policy is the nearest; whole paths.
    files: Vec<PathBuf>,
}

impl Task {
    /// The Python sources among its files.
    fn sources(&self, top: &Path) -> Option<Vec<PathBuf>> {
        let below = |file: &&PathBuf| file.strip_prefix(top).is_ok_and(sources::is_source);
        let found: Vec<PathBuf> = self.files.iter().filter(below).cloned().collect();
        (!found.is_empty()).then_some(found)
    }
}

/// The projects that staged files can change, and the files by the policy that is nearest to them.
fn tasks(host: &Host, staged: &Staged) -> Vec<Task> {
    let nearest = |folder: &Path| {
        let own = |folder: &&Path| host.is_file(folder.join(policy::read::FILE));
        let mut folders = folder.ancestors().take_while(|it| it.starts_with(&staged.top));
        folders.find(own).map_or_else(|| staged.top.clone(), Path::to_path_buf)
    };
    let mut groups: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    for file in staged.files.iter().filter(|file| !staged::is_cargo(file)) {
        let path = staged.top.join(file);
        let folder = path.parent().map_or_else(|| staged.top.clone(), nearest);
        groups.entry(folder).or_default().push(path);
    }
    let mut tasks: Vec<Task> = Vec::new();
    for manifest in staged::manifests(host, staged) {
        let within = manifest.parent().map_or_else(|| staged.top.clone(), Path::to_path_buf);
        // One look does for both where one policy is for both.
        let files = groups.remove(&nearest(&within)).unwrap_or_default();
        tasks.push(Task { within, manifest: Some(manifest), files });
    }
    tasks.extend(groups.into_iter().map(|(within, files)| Task { within, manifest: None, files }));
    tasks
}

/// Judges one task.
fn one(host: &Host, db: &Database, mut policy: Policy, options: &Options, task: &Task) -> Checked {
    let facts = crate::probe::probe(host, options);
    let wish = policy.gpu(options);
    let mut outcomes = judge_with(&facts, db, wish, &policy.requires, host.today());
    // What was wrong before is no reason to refuse this commit, unless it is the policy that changes.
    let changed: Vec<&Path> =
        task.files.iter().filter(|file| staged::is_policy(file)).filter_map(|file| file.parent()).collect();
    let touches = |finding: &Finding| {
        let mut places = finding.evidence.iter().map(|evidence| Path::new(&evidence.at));
        places.any(|at| task.files.iter().any(|file| file == at) || changed.iter().any(|folder| at.starts_with(folder)))
    };
    gate::narrow(&mut outcomes, &mut policy, wish, |_, finding| match finding.subject {
        Subject::Project => options.manifest.is_some(),
        Subject::Declared => touches(finding),
        Subject::Machine | Subject::Env(_) => false,
    });
    let met = outcomes.findings.iter().map(|(rule, _)| rule.id).sorted_set();
    let ruling = policy.apply(&outcomes, options, host.today(), &met);
    Checked { name: None, facts, outcomes, ruling, timings: BTreeMap::new() }
}

/// What could not be read of it and is staged, so that it is not taken for judged.
fn unread(one: &Checked, task: &Task) -> Vec<String> {
    let project = one.facts.project.as_ref().filter(|_| task.manifest.is_some());
    let project = project.and_then(|project| project.unread()).map(|why| format!("the project was not judged: {why}"));
    let troubles = one.facts.declared.iter().flat_map(|declared| &declared.troubles);
    let staged = troubles.filter(|trouble| task.files.iter().any(|file| file == Path::new(&trouble.at)));
    let staged = staged.map(|trouble| format!("{} was not judged: {}", trouble.at, trouble.why));
    project.into_iter().chain(staged).collect()
}

/// A short report: what was not judged, the findings, and the way past them.
fn told(checked: &[Checked], skipped: &BTreeSet<String>, db: &Database, top: &Path, paint: Paint) -> String {
    let mut text = String::new();
    for line in skipped {
        let _ = writeln!(text, "gpu-doctor: {}", crate::report::wrap::clean(line));
    }
    let mut denied = 0;
    for one in checked {
        let report: Report<'_> = one.report(db, &Options::default());
        denied += report.findings.iter().filter(|finding| finding.level == Level::Deny).count();
        text.push_str(&crate::report::human::findings(&report, paint.width));
    }
    if denied > 0 {
        let _ = writeln!(
            text,
            "\ngpu-doctor: {denied} denied in what is staged in {}; `git commit --no-verify` commits all the same",
            crate::report::wrap::clean(&PathBuf::from(top).to_string_lossy())
        );
    }
    text
}
