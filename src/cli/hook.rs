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
    // Cargo reads the working tree: where that is another one, it cannot be asked.
    let only_static = index.files.keys().any(|file| staged::is_cargo(file));
    let db = database(Some(&here));
    let host = here.standing_in(&staged.top).laid_over(index.files.clone());
    staged::drop_quiet_sources(&host, &mut staged);
    if staged.files.is_empty() {
        return Ok(Exit::Ok);
    }
    let mut python =
        staged.files.iter().filter(|file| sources::is_source(file)).map(|file| staged.top.join(file)).peekable();
    let sources: Option<Vec<PathBuf>> = python.peek().is_some().then(|| python.collect());
    let manifests = staged::manifests(&host, &staged);
    let projects: Vec<Option<&Path>> =
        if manifests.is_empty() { vec![None] } else { manifests.iter().map(|path| Some(path.as_path())).collect() };
    let mut checked: Vec<Checked> = Vec::new();
    let mut seen = BTreeSet::new();
    for (number, manifest) in projects.into_iter().enumerate() {
        let options = Options {
            manifest: manifest.map(|path| path.to_string_lossy().into_owned()),
            gpu: args.gpu.map(GpuWish::from),
            assume: assume(&args.assume),
            building: true,
            // The repository declares the same for all of its projects.
            declared: number == 0,
            sources: sources.clone().filter(|_| number == 0),
            only_static,
            ..Options::default()
        };
        let policy = policy::read(&host, options.manifest.as_deref()).map_err(Failure::policy)?;
        let one = one(&host, &db, policy, &options, &staged);
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
        HookFormat::Human => told(&checked, &db, &staged.top, paint),
    };
    sink.write(&text, exit)
}

/// Judges one project of the index.
fn one(host: &Host, db: &Database, mut policy: Policy, options: &Options, staged: &Staged) -> Checked {
    let facts = crate::probe::probe(host, options);
    let wish = policy.gpu(options);
    let mut outcomes = judge_with(&facts, db, wish, &policy.requires, host.today());
    // What was wrong before is no reason to refuse this commit.
    let touches = |finding: &Finding| {
        let mut places = finding.evidence.iter().map(|evidence| Path::new(&evidence.at));
        places.any(|at| staged.files.iter().any(|file| at.ends_with(file)))
    };
    let policy_changes = staged.files.iter().any(|file| staged::is_policy(file));
    gate::narrow(&mut outcomes, &mut policy, wish, |_, finding| match finding.subject {
        Subject::Project => options.manifest.is_some(),
        Subject::Declared => policy_changes || touches(finding),
        Subject::Machine | Subject::Env(_) => false,
    });
    let met = outcomes.findings.iter().map(|(rule, _)| rule.id).collect();
    let ruling = policy.apply(&outcomes, options, host.today(), &met);
    Checked { name: None, facts, outcomes, ruling, timings: BTreeMap::new() }
}

/// A short report: the findings, and the way past them.
fn told(checked: &[Checked], db: &Database, top: &Path, paint: Paint) -> String {
    let mut text = String::new();
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
