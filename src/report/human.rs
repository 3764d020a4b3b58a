//! The report for people: what was found, like a doctor's letter, then the findings, like rustc's diagnostics.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use super::item::{Item, named};
use super::wrap::{clean, lines};
use super::{GpuStanding, GpuState, Report, Reported};
use crate::db::Database;
use crate::facts::{Driver, Evidence, Facts, Failed, Source};
use crate::finding::{Break, Level, Subject};
use crate::rules::{Family, layer};
use crate::sort::Sorted as _;
use crate::verdict::{Answer, EnvVerdict, KerasVerdict, KernelVerdict, Outcomes, TfVerdict, Verdicts};
use crate::view::View;

const BOLD: Style = Style::new().bold();
const RED: Style = AnsiColor::Red.on_default().bold();
const YELLOW: Style = AnsiColor::Yellow.on_default().bold();
const GREEN: Style = AnsiColor::Green.on_default();
const CYAN: Style = AnsiColor::Cyan.on_default().bold();
const BLUE: Style = AnsiColor::Blue.on_default().bold();

/// Pieces of evidence shown for one finding; the JSON has them all.
const EVIDENCE: usize = 8;
/// Consequences and ways out shown for one finding.
const FEW: usize = 4;
/// Stages of a launch, each a column of its table.
const STAGES: [&str; 6] = ["compile", "context", "load", "memory", "launch", "verify"];
/// Machines that are named for one cause; the JSON has them all.
const NAMES: usize = 8;
/// Where the letter's second column begins.
const COLUMN: usize = 9;
/// The room that the longest answers and the indent of their line take.
const ANSWERS: usize = 69;

/// The letter and the findings, with colour; `width` is the terminal's, where it is one.
pub fn report(report: &Report<'_>, outcomes: &Outcomes, db: &Database, width: Option<usize>) -> String {
    let mut page = Page { out: String::new(), width };
    page.found(report.facts, db, Some(&report.gpu));
    let shown: BTreeSet<&str> = report.findings.iter().map(|finding| finding.rule).sorted_set();
    page.verdicts(report.facts, outcomes, &shown);
    for finding in &report.findings {
        page.finding(finding);
    }
    page.close(report)
}

/// The table of the test kernel, and the findings that are about it or the driver beneath.
pub fn kernel(report: &Report<'_>, db: &Database, width: Option<usize>) -> String {
    let mut page = Page { out: String::new(), width };
    page.found(report.facts, db, Some(&report.gpu));
    page.put(format_args!("\n"));
    page.kernel_table(&report.verdicts.kernel);
    page.libraries(report.facts, true);
    let about = |rule: &str| {
        crate::rules::find(rule).is_some_and(|rule| {
            rule.family == Family::Kernel || rule.layer <= layer::KERNEL || rule.id == "prediction-contradicted"
        })
    };
    for finding in report.findings.iter().filter(|finding| about(finding.rule)) {
        page.finding(finding);
    }
    page.close(report)
}

/// What is wrong, for places that have room for nothing else; empty where only notes are left.
pub fn findings(report: &Report<'_>, width: Option<usize>) -> String {
    let mut page = Page { out: String::new(), width };
    for finding in report.findings.iter().filter(|finding| finding.level != Level::Note) {
        page.finding(finding);
    }
    page.out
}

/// The causes that several machines have, and how many machines there are.
pub fn fleet(items: &[Item], machines: usize, denied: usize, unread: &[&str], width: Option<usize>) -> String {
    let mut page = Page { out: String::new(), width };
    for item in items {
        let (word, style) = word(item.level);
        let head = word.len() + item.rule.id.len() + 4;
        page.put(format_args!("\n{style}{word}[{}]{style:#}{BOLD}: ", item.rule.id));
        let title = lines(&clean(&item.title), width, head, 4).join("\n    ");
        page.put(format_args!("{title}{BOLD:#}\n  {BLUE}-->{BLUE:#} "));
        page.text(&clean(&named(&item.machines, NAMES)), 6, 6);
        for detail in item.details.iter().take(FEW) {
            page.mark("=", &clean(detail));
        }
        for (text, command) in item.help.iter().take(FEW) {
            page.put(format_args!("  {CYAN}help{CYAN:#}: "));
            page.text(&clean(text), 8, 8);
            for line in command.iter().flat_map(|command| command.lines()) {
                page.put(format_args!("          {}\n", clean(line)));
            }
        }
    }
    if !unread.is_empty() {
        page.put(format_args!("\n{RED}error{RED:#}{BOLD}: these facts could not be read{BOLD:#}\n"));
    }
    for why in unread {
        page.mark("=", &clean(why));
    }
    let rest = machines - denied - unread.len();
    let mut text = format!("{machines} machines: {denied} denied, {rest} not");
    if !unread.is_empty() {
        let _ = write!(text, ", {} could not be read", unread.len());
    }
    page.put(format_args!("\n{BOLD}{text}{BOLD:#}\n"));
    page.out
}

/// What was found, without any judgment.
pub fn facts(facts: &Facts, db: &Database, width: Option<usize>) -> String {
    let mut page = Page { out: String::new(), width };
    page.found(facts, db, None);
    for env in &facts.pythons {
        let version = env.version.value().map_or("version unknown", String::as_str);
        let active = if env.active { ", active" } else { "" };
        page.entry("Python", &format!("{} ({version}{active})", clean(&env.path)));
        for name in ["tensorflow", "keras", "jax", "jaxlib", "torch"] {
            for dist in env.dists.iter().filter(|dist| dist.name == name) {
                page.put(format_args!("{:13}{name} {}\n", "", clean(&dist.version)));
            }
        }
    }
    page.out
}

struct Page {
    out: String,
    width: Option<usize>,
}

impl Page {
    /// The page, ended with the summary and, where asked for, the times.
    fn close(mut self, report: &Report<'_>) -> String {
        self.summary(report);
        for (stage, value) in report.timings_ms.into_iter().flatten() {
            if stage == crate::run::STARTED {
                self.put(format_args!("{stage:>13} {value:5}\n"));
            } else {
                self.put(format_args!("{stage:>13} {value:9.3} ms\n"));
            }
        }
        self.out
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a String does not fail.
        let _ = self.out.write_fmt(text);
    }

    /// A line of the letter: a label and a text, broken under itself.
    fn entry(&mut self, label: &str, text: &str) {
        self.put(format_args!("{BOLD}{label:COLUMN$}{BOLD:#}"));
        self.text(text, COLUMN, COLUMN);
    }

    /// A text that begins at a column and is broken at an indent.
    fn text(&mut self, text: &str, used: usize, indent: usize) {
        for (number, line) in lines(text, self.width, used, indent).iter().enumerate() {
            if number > 0 {
                self.put(format_args!("{:indent$}", ""));
            }
            self.put(format_args!("{line}\n"));
        }
    }

    fn found(&mut self, facts: &Facts, db: &Database, state: Option<&GpuState<'_>>) {
        let view = View::new(facts, db);
        let gpus = gpus(&view);
        let unwanted = state.is_some_and(|gpu| gpu.state == GpuStanding::NotWanted);
        match state {
            _ if !gpus.is_empty() => {}
            Some(_) if unwanted => self.entry("GPU", "none, and none is wanted"),
            _ if view.gpu_untold().is_some() => self.entry("GPU", "not known"),
            Some(gpu) if gpu.wanted == "required" => self.entry("GPU", "none, and one is required"),
            _ => self.entry("GPU", "none"),
        }
        for (gpu, count) in &gpus {
            let times = if *count > 1 { format!("{count} × ") } else { String::new() };
            self.entry("GPU", &format!("{times}{gpu}"));
        }
        match state {
            Some(_) if unwanted && !gpus.is_empty() => self.entry("", "not looked at: none is wanted"),
            Some(gpu) if gpu.state == GpuStanding::Unusable => {
                self.entry("", &format!("no program can use it: {}", gpu.because.join(", ")));
            }
            _ => {}
        }
        self.entry("Driver", &driver(&view));
        // What stands for a driver is told with the driver.
        let cuda = view.assumed_cuda().filter(|_| view.driver_bounds().is_none());
        for assumption in view.assumed("python").into_iter().chain(cuda) {
            let label = if assumption.key == "cuda" { "CUDA" } else { "Python" };
            self.entry(label, &format!("{} (assumed)", assumption.value));
        }
    }

    fn verdicts(&mut self, facts: &Facts, outcomes: &Outcomes, shown: &BTreeSet<&str>) {
        let Verdicts { environments, project, kernel } = &outcomes.verdicts;
        let empty = |env: &&EnvVerdict| env.tensorflow.is_none() && env.keras.is_none();
        for (index, env) in environments.iter().enumerate() {
            if !empty(&env) || env.active {
                self.environment(index, env, outcomes, shown);
            }
        }
        let others = environments.iter().filter(empty).filter(|env| !env.active).count();
        match others {
            0 if environments.is_empty() => self.entry("Python", "none found"),
            0 => {}
            1 => self.entry("Python", "one more environment, without TensorFlow and Keras"),
            _ => self.entry("Python", &format!("{others} more environments, without TensorFlow and Keras")),
        }
        if let (Some(verdict), Some(project)) = (project, &facts.project)
            && !(project.crates.is_empty() && verdict.because.is_empty() && project.unread().is_none())
        {
            self.entry("Project", &clean(&project.manifest));
            let (builds, runs) = (answer(verdict.builds), answer(verdict.runs));
            self.put(format_args!("{:11}builds: {builds}   runs: {runs}\n", ""));
            if verdict.builds == Answer::No || verdict.runs == Answer::No {
                self.because(&verdict.because, shown);
            }
            self.missing(
                &Subject::Project,
                &[Break::Builds, Break::Runs],
                outcomes,
                verdict.builds.min_with(verdict.runs),
            );
        }
        for line in kernels(kernel) {
            self.entry("Kernel", &line);
        }
        self.libraries(facts, false);
    }

    /// What cuBLAS and cuDNN computed, a line for each file and GPU.
    fn libraries(&mut self, facts: &Facts, at_length: bool) {
        for work in facts.observed.iter().flat_map(|observed| &observed.libraries) {
            let version = work.version.as_ref().map_or_else(String::new, |version| format!(" {version}"));
            let name = format!("{}{version}", work.library.name());
            let outcome = |failed: Option<&Failed>| {
                failed.map_or_else(|| "ok".to_owned(), |failed| failed.cause.word().replace('-', " "))
            };
            if work.failure.is_some() {
                self.entry("Library", &clean(&format!("{name}: {}", outcome(work.failure.as_ref()))));
            }
            for run in &work.runs {
                let mut line = format!("{name} on GPU {}: {}", run.gpu, outcome(run.failure.as_ref()));
                if at_length {
                    let times: Vec<String> = run.ms.iter().map(|(stage, ms)| format!("{stage} {ms:.1} ms")).collect();
                    line = format!("{line} ({})", times.join(", "));
                }
                self.entry("Library", &clean(&line));
            }
            if at_length {
                self.put(format_args!("{:11}{}\n", "", clean(&work.path)));
            }
        }
    }

    fn kernel_table(&mut self, kernel: &[KernelVerdict]) {
        if kernel.is_empty() {
            self.put(format_args!("the test kernel was neither compiled nor launched\n"));
            return;
        }
        // The second kernel runs only where a compiler made it.
        let second = kernel.iter().any(|run| run.ms.contains_key("generation")).then_some("generation");
        let stages = || STAGES.into_iter().chain(second);
        let heads = ["GPU", "route", "toolkit", "for"].into_iter().chain(stages()).chain(["outcome"]);
        let mut rows = vec![heads.map(str::to_owned).collect::<Vec<_>>()];
        for run in kernel {
            let dash = || "-".to_owned();
            let mut row = vec![
                run.gpu.map_or_else(dash, |gpu| gpu.to_string()),
                clean(&run.route),
                run.toolkit.as_deref().map_or_else(dash, clean),
                run.arch.as_deref().map_or_else(dash, clean),
            ];
            row.extend(stages().map(|stage| run.ms.get(stage).map_or_else(dash, |ms| format!("{ms:.1} ms"))));
            row.push(clean(&run.outcome));
            rows.push(row);
        }
        let columns = rows.first().map_or(0, Vec::len);
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
            })
            .collect();
        for (number, row) in rows.iter().enumerate() {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                let time = (4..columns.saturating_sub(1)).contains(&column);
                // Writing to a String does not fail.
                let _ = if time { write!(line, "{cell:>width$}  ") } else { write!(line, "{cell:width$}  ") };
            }
            let line = line.trim_end();
            if number == 0 {
                self.put(format_args!("{BOLD}{line}{BOLD:#}\n"));
            } else {
                self.put(format_args!("{line}\n"));
            }
        }
    }

    fn environment(&mut self, index: usize, env: &EnvVerdict, outcomes: &Outcomes, shown: &BTreeSet<&str>) {
        let version = env.python.as_deref().unwrap_or("version unknown");
        let active = if env.active { ", active" } else { "" };
        self.entry("Python", &format!("{} ({}{active})", clean(&env.path), clean(version)));
        let subject = Subject::Env(index);
        let tensorflow = env.tensorflow.as_ref().map(|tf| (tensorflow_name(tf), tf));
        let keras = env.keras.as_ref().map(|keras| (keras_name(keras), keras));
        let names = [tensorflow.as_ref().map(|(name, _)| name), keras.as_ref().map(|(name, _)| name)];
        let column = names.into_iter().flatten().map(|name| name.chars().count()).max().unwrap_or(0);
        // Names and answers share a line where they fit on one, for both or for none.
        let (names, gap) = match self.width {
            Some(width) if column + ANSWERS > width => (0, format!("\n{:13}", "")),
            _ => (column, "   ".to_owned()),
        };
        if let Some((name, tf)) = tensorflow {
            let (sees, runs) = (answer(tf.sees_gpu), answer(tf.runs_on_gpu));
            self.put(format_args!("{:11}{name:names$}{gap}sees the GPU: {sees}   computes on it: {runs}\n", ""));
            if tf.runs_on_gpu == Answer::No {
                self.because(&tf.because, shown);
            }
            let breaks = [Break::Cuda, Break::TfSees, Break::TfRuns];
            self.missing(&subject, &breaks, outcomes, tf.sees_gpu.min_with(tf.runs_on_gpu));
        }
        if let Some((name, keras)) = keras {
            self.put(format_args!("{:11}{name:names$}{gap}uses the GPU: {}\n", "", answer(keras.uses_gpu)));
            let told = env.tensorflow.as_ref().map_or(&[][..], |tf| &tf.because);
            let rest: Vec<String> = keras.because.iter().filter(|rule| !told.contains(rule)).cloned().collect();
            if keras.uses_gpu == Answer::No {
                self.because(&rest, shown);
            }
            let cuda = env.tensorflow.is_none().then_some(Break::Cuda);
            let breaks: Vec<Break> = cuda.into_iter().chain([Break::KerasUses]).collect();
            self.missing(&subject, &breaks, outcomes, keras.uses_gpu);
        }
        if env.tensorflow.is_none() && env.keras.is_none() {
            self.put(format_args!("{:11}neither TensorFlow nor Keras\n", ""));
        }
    }

    /// Names the causes of a verdict that no finding below explains, because the policy lets them pass.
    fn because(&mut self, because: &[String], shown: &BTreeSet<&str>) {
        let hidden: Vec<&str> = because.iter().map(String::as_str).filter(|rule| !shown.contains(rule)).collect();
        if !hidden.is_empty() {
            self.put(format_args!("{:13}", ""));
            self.text(&format!("because {} (let pass)", hidden.join(", ")), 13, 15);
        }
    }

    /// What is missing for a verdict that stays open.
    fn missing(&mut self, subject: &Subject, breaks: &[Break], outcomes: &Outcomes, answer: Answer) {
        if answer != Answer::Unknown {
            return;
        }
        let touches = |on: &Subject, what: Option<Break>| {
            (on == subject || *on == Subject::Machine) && what.is_some_and(|what| breaks.contains(&what))
        };
        let missing: BTreeSet<&str> = outcomes
            .unknown
            .iter()
            .filter(|(_, unknown)| touches(&unknown.subject, unknown.breaks))
            .map(|(_, unknown)| unknown.missing.as_str())
            .sorted_set();
        for reason in missing.iter().take(FEW) {
            self.put(format_args!("{:13}", ""));
            self.text(&format!("cannot tell: {}", clean(reason)), 13, 15);
        }
    }

    fn finding(&mut self, finding: &Reported<'_>) {
        let (word, style) = word(finding.level);
        let head = word.len() + finding.rule.len() + 4;
        self.put(format_args!("\n{style}{word}[{}]{style:#}{BOLD}: ", finding.rule));
        let title = lines(&clean(finding.title), self.width, head, 4).join("\n    ");
        self.put(format_args!("{title}{BOLD:#}\n"));
        let subject = if finding.subject == "machine" { "this machine" } else { finding.subject };
        self.put(format_args!("  {BLUE}-->{BLUE:#} {}\n", clean(subject)));
        let short = shortened(finding.evidence, finding.subject);
        for (evidence, at) in finding.evidence.iter().zip(&short).take(EVIDENCE) {
            self.mark("=", &said(evidence, at));
        }
        if let Some(more) = finding.evidence.len().checked_sub(EVIDENCE + 1) {
            self.mark("=", &format!("and {} more; `--format json` has them all", more + 1));
        }
        for consequence in finding.consequences.iter().take(FEW) {
            self.mark("=", &format!("so {}", clean(consequence)));
        }
        if let Some(row) = finding.row {
            self.mark("=", &format!("row: {} {} ({})", clean(&row.table), clean(&row.key), clean(&row.source)));
        }
        for way in finding.help.iter().take(FEW) {
            self.put(format_args!("  {CYAN}help{CYAN:#}: "));
            self.text(&clean(way.text), 8, 8);
            for line in way.command.into_iter().flat_map(str::lines) {
                // A command is never broken: it is there to be copied.
                self.put(format_args!("          {}\n", clean(line)));
            }
        }
    }

    fn mark(&mut self, sign: &str, text: &str) {
        self.put(format_args!("   {BLUE}{sign}{BLUE:#} "));
        self.text(text, 5, 7);
    }

    fn summary(&mut self, report: &Report<'_>) {
        let count = |level: Level| report.findings.iter().filter(|finding| finding.level == level).count();
        let (denied, warned, notes) = (count(Level::Deny), count(Level::Warn), count(Level::Note));
        let unknown: BTreeSet<&str> = report.outcomes.unknown.iter().map(|unknown| unknown.rule).sorted_set();
        let head = if report.findings.is_empty() && report.outcomes.ignored.is_empty() {
            let open = if unknown.is_empty() { "" } else { ", as far as could be told" };
            format!("nothing wrong was found{open}")
        } else {
            let notes = if notes == 1 { "1 note".to_owned() } else { format!("{notes} notes") };
            let ignored = match report.outcomes.ignored.len() {
                0 => String::new(),
                ignored => format!(", {ignored} ignored by the policy"),
            };
            format!("{denied} denied, {warned} warned, {notes}{ignored}")
        };
        let text = format!(
            "{head}; {} {} passed, {} could not be told, {} {} not apply",
            report.outcomes.passed.len(),
            if report.outcomes.passed.len() == 1 { "rule" } else { "rules" },
            unknown.len(),
            report.outcomes.not_applicable.len(),
            if report.outcomes.not_applicable.len() == 1 { "does" } else { "do" },
        );
        self.put(format_args!("\n"));
        self.text(&text, 0, 2);
        if denied == 0 && report.exit_code != 0 {
            self.text("the check fails because of `--strict`: a verdict or a requirement could not be told", 0, 2);
        }
        // What stands in a file of the repository is told in any case: it is the reader's to mend.
        let strict = denied == 0 && report.exit_code != 0;
        for unknown in report.outcomes.unknown.iter().filter(|it| strict || it.rule == DECLARED) {
            self.text(&format!("cannot tell ({}): {}", unknown.rule, clean(unknown.missing)), 2, 4);
        }
    }
}

/// The rule that speaks of what the repository's files declare.
const DECLARED: &str = "declared-versions-conflict";

fn word(level: Level) -> (&'static str, Style) {
    match level {
        Level::Deny => ("error", RED),
        Level::Warn => ("warning", YELLOW),
        Level::Note => ("note", CYAN),
    }
}

impl Answer {
    /// The less certain of two answers.
    fn min_with(self, other: Self) -> Self {
        if self == Self::Unknown { self } else { other }
    }
}

fn tensorflow_name(tf: &TfVerdict) -> String {
    format!("TensorFlow {}", clean(tf.version.as_deref().unwrap_or("of unknown version")))
}

fn keras_name(keras: &KerasVerdict) -> String {
    let version = clean(keras.version.as_deref().unwrap_or("of unknown version"));
    let from = match keras.backend_from.as_str() {
        "" | "default" => "by default".to_owned(),
        from => format!("from {}", clean(from)),
    };
    format!("Keras {version} ({}, {from})", clean(&keras.backend))
}

fn answer(answer: Answer) -> String {
    match answer {
        Answer::Yes => format!("{GREEN}yes{GREEN:#}"),
        Answer::No => format!("{RED}NO{RED:#}"),
        Answer::Unknown => format!("{YELLOW}cannot tell{YELLOW:#}"),
    }
}

/// One piece of evidence as a line.
pub(super) fn said(evidence: &Evidence, at: &str) -> String {
    let place = match evidence.line {
        Some(line) => match evidence.column {
            Some(column) => format!("{at}:{line}:{column}"),
            None => format!("{at}:{line}"),
        },
        None => at.to_owned(),
    };
    let says = clean(&evidence.says);
    match evidence.source {
        Source::Env if says.is_empty() => format!("{place} is set and empty"),
        _ if says.is_empty() => place,
        // A value or a line is quoted; of a whole file something is stated.
        Source::Env | Source::Option => format!("{place} says: {says}"),
        _ if evidence.line.is_some() => format!("{place} says: {says}"),
        _ => format!("{place}: {says}"),
    }
}

/// The places of the evidence; inside the subject's folder without what the arrow already says.
pub(super) fn shortened(evidence: &[Evidence], subject: &str) -> Vec<String> {
    let short: Vec<String> = evidence
        .iter()
        .map(|evidence| {
            let at = clean(&evidence.at);
            let inside = evidence.at.strip_prefix(subject).and_then(|rest| rest.strip_prefix('/'));
            match inside.and_then(|rest| rest.split_once("site-packages/")) {
                Some((_, rest)) => format!("…/{}", clean(rest)),
                None => at,
            }
        })
        .collect();
    let ambiguous = |index: usize| {
        (0..evidence.len()).any(|other| short[other] == short[index] && evidence[other].at != evidence[index].at)
    };
    (0..evidence.len())
        .map(|index| if ambiguous(index) { clean(&evidence[index].at) } else { short[index].clone() })
        .collect()
}

/// The GPUs by name, equal ones counted.
fn gpus(view: &View<'_>) -> Vec<(String, usize)> {
    let mut counted: Vec<(String, usize)> = Vec::new();
    for gpu in &view.gpus {
        let name = match (&gpu.compute, gpu.assumed) {
            (Some(compute), true) => format!("compute {compute} (assumed)"),
            (Some(compute), false) => format!("{} (compute {compute})", clean(&gpu.name)),
            (None, _) => clean(&gpu.name),
        };
        match counted.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => counted.push((name, 1)),
        }
    }
    counted
}

/// What became of the test kernel: a line for each route that went well, and for each failure.
fn kernels(kernel: &[KernelVerdict]) -> Vec<String> {
    let mut lines: Vec<(String, String, Vec<u32>)> = Vec::new();
    for run in kernel {
        let toolkit = run.toolkit.as_deref().map_or_else(String::new, |version| format!(" {version}"));
        let (route, outcome) = (format!("{}{toolkit}", run.route), run.outcome.replace('-', " "));
        let same = lines.iter_mut().find(|(known, ended, _)| (known, ended) == (&route, &outcome));
        match same {
            Some((_, _, gpus)) => {
                let more = run.gpu.filter(|gpu| !gpus.contains(gpu));
                gpus.extend(more);
            }
            None => lines.push((route, outcome, run.gpu.into_iter().collect())),
        }
    }
    let line = |(route, outcome, gpus): (String, String, Vec<u32>)| {
        let place = match gpus.as_slice() {
            [] => String::new(),
            [gpu] => format!(" on GPU {gpu}"),
            several => format!(" on {} GPUs", several.len()),
        };
        clean(&format!("{route}{place}: {outcome}"))
    };
    lines.into_iter().map(line).collect()
}

/// The driver in one line.
fn driver(view: &View<'_>) -> String {
    let facts = view.facts;
    let Driver { kernel, userspace, loaded, .. } = &facts.driver;
    if let Some(bounds) = view.driver_bounds() {
        return format!("one that reports CUDA {} (assumed)", bounds.reports);
    }
    let assumed = facts.assumed.iter().find(|assumption| assumption.key == "driver").map(|it| &it.value);
    let distinct = |readings: &[crate::facts::Reading<crate::version::Dotted>]| {
        let mut versions: Vec<String> = Vec::new();
        for reading in readings {
            let version = reading.value.to_string();
            if !versions.contains(&version) {
                versions.push(version);
            }
        }
        versions.join(" and ")
    };
    let (module, libraries) = (distinct(kernel), distinct(userspace));
    let (known, text) = if let Some(version) = assumed {
        (true, format!("{version} (assumed)"))
    } else if !kernel.is_empty() {
        let differ = !libraries.is_empty() && libraries != module;
        let text = if differ { format!("{module} (its libraries are {libraries})") } else { module };
        (true, text)
    } else if loaded.value() == Some(&true) {
        (false, "loaded, of unknown version".to_owned())
    } else if !userspace.is_empty() {
        let module =
            if loaded.unknown().is_some() { "the kernel module is not told" } else { "no kernel module is loaded" };
        (true, format!("{libraries} (libraries only, {module})"))
    } else if let Some(why) = loaded.unknown() {
        (false, format!("cannot tell: {}", clean(why)))
    } else {
        (false, "none".to_owned())
    };
    match view.driver_cuda().filter(|_| known) {
        Some((cuda, _)) => format!("{text}, runs CUDA up to {cuda}"),
        None => text,
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    clippy::needless_raw_string_hashes,
    reason = "snapbox's snapshot macro brings both"
)]
mod tests {
    use std::collections::BTreeSet;

    use anstream::adapter::strip_str;
    use snapbox::{assert_data_eq, str};

    use super::*;
    use crate::facts::{PciDevice, ProcGpu, PythonEnv, Reading};
    use crate::finding::{Finding, RowRef, Unknown};
    use crate::options::Options;
    use crate::policy::Policy;

    const VENV: &str = "/srv/app/.venv";

    fn machine() -> Facts {
        let mut facts = Facts { schema: 1, ..Facts::default() };
        for address in ["0000:01:00.0", "0000:02:00.0"] {
            facts.pci.push(PciDevice {
                address: address.to_owned(),
                vendor: PciDevice::NVIDIA.to_owned(),
                device: "0x2330".to_owned(),
                class: "0x030200".to_owned(),
                ..PciDevice::default()
            });
            facts.driver.gpus.push(ProcGpu {
                address: address.to_owned(),
                model: Some("NVIDIA H100 80GB HBM3".to_owned()),
                ..ProcGpu::default()
            });
        }
        let evidence = Evidence::file("/sys/module/nvidia/version", "550.54.14");
        facts.driver.kernel.push(Reading { value: "550.54.14".parse().unwrap(), evidence });
        facts.pythons.push(PythonEnv { path: VENV.to_owned(), ..PythonEnv::default() });
        facts
    }

    fn healthy() -> Outcomes {
        let tensorflow = TfVerdict {
            version: Some("2.20.0".to_owned()),
            sees_gpu: Answer::Yes,
            runs_on_gpu: Answer::Yes,
            because: Vec::new(),
        };
        let keras = KerasVerdict {
            version: Some("3.15.1".to_owned()),
            backend: "tensorflow".to_owned(),
            backend_from: "default".to_owned(),
            uses_gpu: Answer::Yes,
            because: Vec::new(),
        };
        let env = EnvVerdict {
            path: VENV.to_owned(),
            python: Some("3.11.2".to_owned()),
            active: true,
            tensorflow: Some(tensorflow),
            keras: Some(keras),
        };
        let bare = EnvVerdict { path: "/usr".to_owned(), python: None, active: false, tensorflow: None, keras: None };
        Outcomes {
            findings: Vec::new(),
            passed: vec!["gpu-absent", "gpu-lost"],
            unknown: Vec::new(),
            not_applicable: Vec::new(),
            verdicts: Verdicts { environments: vec![env, bare], project: None, kernel: Vec::new() },
        }
    }

    fn sick() -> Outcomes {
        let mut outcomes = healthy();
        if let Some(keras) = &mut outcomes.verdicts.environments[0].keras {
            keras.backend = "jax".to_owned();
            keras.backend_from = "KERAS_BACKEND".to_owned();
            keras.uses_gpu = Answer::No;
            keras.because = vec!["keras-backend-cpu-only".to_owned()];
        }
        let title = "Keras computes with JAX, and this JAX has no CUDA";
        let metadata = "/srv/app/.venv/lib/python3.11/site-packages/jaxlib-0.10.2.dist-info/METADATA";
        let finding = Finding::new(Subject::Env(0), title)
            .because(Evidence::env("KERAS_BACKEND", "jax"))
            .because(Evidence::package(metadata, "Version: 0.10.2").line(3))
            .row(Some(RowRef {
                table: "keras".to_owned(),
                key: "3.15.1".to_owned(),
                source: "https://pypi.org/project/keras/3.15.1/".to_owned(),
            }))
            .so("the GPU that TensorFlow has lies idle")
            .run("run Keras on TensorFlow", "unset KERAS_BACKEND");
        outcomes.findings.push((crate::rules::find("keras-backend-cpu-only").unwrap(), finding));
        outcomes
    }

    fn shown(outcomes: &Outcomes, policy: &Policy, width: Option<usize>) -> String {
        let (facts, db) = (machine(), Database::embedded());
        let ruling = policy.apply(outcomes, &Options::default(), "2026-11-23", &BTreeSet::new());
        let styled = report(&Report::new(db, &facts, outcomes, &ruling, None), outcomes, db, width);
        strip_str(&styled).to_string()
    }

    #[test]
    fn a_healthy_machine_alarms_nobody() {
        assert_data_eq!(
            shown(&healthy(), &Policy::default(), None),
            str![[r#"
GPU      2 × NVIDIA H100 80GB HBM3 (compute 9.0)
Driver   550.54.14, runs CUDA up to 12.4
Python   /srv/app/.venv (3.11.2, active)
           TensorFlow 2.20.0                       sees the GPU: yes   computes on it: yes
           Keras 3.15.1 (tensorflow, by default)   uses the GPU: yes
Python   one more environment, without TensorFlow and Keras

nothing wrong was found; 2 rules passed, 0 could not be told, 0 do not apply

"#]]
        );
    }

    #[test]
    fn one_fault_fits_on_one_screen() {
        let text = shown(&sick(), &Policy::default(), Some(80));
        assert!(text.lines().count() <= 24, "{text}");
        assert_data_eq!(
            text,
            str![[r#"
GPU      2 × NVIDIA H100 80GB HBM3 (compute 9.0)
Driver   550.54.14, runs CUDA up to 12.4
Python   /srv/app/.venv (3.11.2, active)
           TensorFlow 2.20.0
             sees the GPU: yes   computes on it: yes
           Keras 3.15.1 (jax, from KERAS_BACKEND)
             uses the GPU: NO
Python   one more environment, without TensorFlow and Keras

error[keras-backend-cpu-only]: Keras computes with JAX, and this JAX has no CUDA
  --> /srv/app/.venv
   = KERAS_BACKEND says: jax
   = …/jaxlib-0.10.2.dist-info/METADATA:3 says: Version: 0.10.2
   = so the GPU that TensorFlow has lies idle
   = row: keras 3.15.1 (https://pypi.org/project/keras/3.15.1/)
  help: run Keras on TensorFlow
          unset KERAS_BACKEND

1 denied, 0 warned, 0 notes; 2 rules passed, 0 could not be told, 0 do not apply

"#]]
        );
    }

    #[test]
    fn a_verdict_says_what_the_policy_let_pass() {
        let mut policy = Policy::default();
        policy.levels.insert("keras-backend-cpu-only".to_owned(), None);
        let text = shown(&sick(), &policy, None);
        assert!(text.contains("uses the GPU: NO"), "{text}");
        assert!(text.contains("because keras-backend-cpu-only (let pass)"), "{text}");
    }

    #[test]
    fn an_open_verdict_says_what_is_missing() {
        let mut outcomes = healthy();
        if let Some(tf) = &mut outcomes.verdicts.environments[0].tensorflow {
            tf.runs_on_gpu = Answer::Unknown;
        }
        let missing = "the compute capability of the GPU".to_owned();
        outcomes
            .unknown
            .push(("gpu-lost", Unknown { subject: Subject::Machine, missing, breaks: Some(Break::TfRuns) }));
        let text = shown(&outcomes, &Policy::default(), None);
        assert!(text.contains("computes on it: cannot tell"), "{text}");
        assert!(text.contains("cannot tell: the compute capability of the GPU"), "{text}");
    }

    #[test]
    fn a_hostile_name_steers_no_terminal() {
        let mut outcomes = healthy();
        outcomes.verdicts.environments[0].path = "/srv/\u{1b}[2J".to_owned();
        assert!(!shown(&outcomes, &Policy::default(), None).contains('\u{1b}'));
    }

    #[test]
    fn paths_are_shortened_only_where_they_stay_distinct() {
        let under = |lib: &str| Evidence::file(format!("{VENV}/{lib}/python3.11/site-packages/x/METADATA"), "");
        assert_eq!(shortened(&[under("lib")], VENV), ["…/x/METADATA"]);
        let both = [under("lib"), under("lib64")];
        assert_eq!(shortened(&both, VENV), [both[0].at.clone(), both[1].at.clone()]);
    }
}
