//! The report for people: what was found, like a doctor's letter, then the findings, like rustc's diagnostics.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};

use super::wrap::{clean, lines};
use super::{Report, Reported};
use crate::db::Database;
use crate::facts::{Driver, Evidence, Facts, PciDevice, Source};
use crate::finding::{Break, Level, Subject};
use crate::verdict::{Answer, EnvVerdict, Outcomes, Verdicts};

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
/// Where the letter's second column begins.
const COLUMN: usize = 9;

/// The letter and the findings, with colour; `width` is the terminal's, where it is one.
pub fn report(report: &Report<'_>, outcomes: &Outcomes, db: &Database, width: Option<usize>) -> String {
    let mut page = Page { out: String::new(), width };
    page.found(report.facts, db);
    let shown: BTreeSet<&str> = report.findings.iter().map(|finding| finding.rule).collect();
    page.verdicts(report.facts, outcomes, &shown);
    for finding in &report.findings {
        page.finding(finding);
    }
    page.summary(report);
    if let Some(timings) = report.timings_ms {
        for (stage, ms) in timings {
            page.put(format_args!("{stage:>10} {ms:9.3} ms\n"));
        }
    }
    page.out
}

/// What was found, without any judgment.
pub fn facts(facts: &Facts, db: &Database, width: Option<usize>) -> String {
    let mut page = Page { out: String::new(), width };
    page.found(facts, db);
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

    fn found(&mut self, facts: &Facts, db: &Database) {
        let gpus = gpus(facts, db);
        if gpus.is_empty() {
            self.entry("GPU", "none");
        }
        for (gpu, count) in gpus {
            let times = if count > 1 { format!("{count} × ") } else { String::new() };
            self.entry("GPU", &format!("{times}{}", clean(&gpu)));
        }
        self.entry("Driver", &driver(facts, db));
        for assumption in facts.assumed.iter().filter(|it| matches!(it.key.as_str(), "python" | "cuda")) {
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
            && !(project.crates.is_empty() && verdict.because.is_empty())
        {
            self.entry("Project", &clean(&project.manifest));
            let (builds, runs) = (answer(verdict.builds), answer(verdict.runs));
            self.put(format_args!("{:11}builds: {builds}   runs: {runs}\n", ""));
            self.because(&verdict.because, shown);
            self.missing(
                &Subject::Project,
                &[Break::Builds, Break::Runs],
                outcomes,
                verdict.builds.min_with(verdict.runs),
            );
        }
        for kernel in kernel {
            self.entry(
                "Kernel",
                &format!("GPU {} by {}: {}", kernel.gpu, clean(&kernel.route), clean(&kernel.outcome)),
            );
        }
    }

    fn environment(&mut self, index: usize, env: &EnvVerdict, outcomes: &Outcomes, shown: &BTreeSet<&str>) {
        let version = env.python.as_deref().unwrap_or("version unknown");
        let active = if env.active { ", active" } else { "" };
        self.entry("Python", &format!("{} ({}{active})", clean(&env.path), clean(version)));
        let subject = Subject::Env(index);
        if let Some(tf) = &env.tensorflow {
            let name = format!("TensorFlow {}", clean(tf.version.as_deref().unwrap_or("of unknown version")));
            let (sees, runs) = (answer(tf.sees_gpu), answer(tf.runs_on_gpu));
            self.put(format_args!("{:11}{name:<24} sees the GPU: {sees}   computes on it: {runs}\n", ""));
            self.because(&tf.because, shown);
            let breaks = [Break::Cuda, Break::TfSees, Break::TfRuns];
            self.missing(&subject, &breaks, outcomes, tf.sees_gpu.min_with(tf.runs_on_gpu));
        }
        if let Some(keras) = &env.keras {
            let version = clean(keras.version.as_deref().unwrap_or("of unknown version"));
            let from = if keras.backend_from.is_empty() || keras.backend_from == "default" {
                "by default".to_owned()
            } else {
                format!("from {}", clean(&keras.backend_from))
            };
            let name = format!("Keras {version} ({}, {from})", clean(&keras.backend));
            self.put(format_args!("{:11}{name:<24} uses the GPU: {}\n", "", answer(keras.uses_gpu)));
            let told = env.tensorflow.as_ref().map_or(&[][..], |tf| &tf.because);
            let rest: Vec<String> = keras.because.iter().filter(|rule| !told.contains(rule)).cloned().collect();
            self.because(&rest, shown);
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
            self.text(&format!("because {} (let pass by the policy)", hidden.join(", ")), 13, 15);
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
            .collect();
        for reason in missing.iter().take(FEW) {
            self.put(format_args!("{:13}", ""));
            self.text(&format!("cannot tell: {}", clean(reason)), 13, 15);
        }
    }

    fn finding(&mut self, finding: &Reported<'_>) {
        let (word, style) = match finding.level {
            Level::Deny => ("error", RED),
            Level::Warn => ("warning", YELLOW),
            Level::Note => ("note", CYAN),
        };
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
        let unknown: BTreeSet<&str> = report.outcomes.unknown.iter().map(|unknown| unknown.rule).collect();
        let head = if report.findings.is_empty() && report.outcomes.ignored.is_empty() {
            "nothing wrong was found".to_owned()
        } else {
            let notes = if notes == 1 { "1 note".to_owned() } else { format!("{notes} notes") };
            let ignored = match report.outcomes.ignored.len() {
                0 => String::new(),
                ignored => format!(", {ignored} ignored by the policy"),
            };
            format!("{denied} denied, {warned} warned, {notes}{ignored}")
        };
        let text = format!(
            "{head}; {} rules passed, {} could not be told, {} do not apply",
            report.outcomes.passed.len(),
            unknown.len(),
            report.outcomes.not_applicable.len()
        );
        self.put(format_args!("\n"));
        self.text(&text, 0, 2);
        if denied == 0 && report.exit_code != 0 {
            self.text("the check fails because of `--strict`: a verdict could not be told", 0, 2);
        }
    }
}

impl Answer {
    /// The less certain of two answers.
    fn min_with(self, other: Self) -> Self {
        if self == Self::Unknown { self } else { other }
    }
}

fn answer(answer: Answer) -> String {
    match answer {
        Answer::Yes => format!("{GREEN}yes{GREEN:#}"),
        Answer::No => format!("{RED}NO{RED:#}"),
        Answer::Unknown => format!("{YELLOW}cannot tell{YELLOW:#}"),
    }
}

/// One piece of evidence as a line.
fn said(evidence: &Evidence, at: &str) -> String {
    let place = match evidence.line {
        Some(line) => format!("{at}:{line}"),
        None => at.to_owned(),
    };
    let says = clean(&evidence.says);
    match evidence.source {
        Source::Env if says.is_empty() => format!("{place} is set and empty"),
        _ if says.is_empty() => place,
        _ => format!("{place} says: {says}"),
    }
}

/// The places of the evidence; inside the subject's folder without what the arrow already says.
fn shortened(evidence: &[Evidence], subject: &str) -> Vec<String> {
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
fn gpus(facts: &Facts, db: &Database) -> Vec<(String, usize)> {
    let mut names = Vec::new();
    for device in facts.pci.iter().filter(|device| device.is_nvidia_gpu()) {
        let listed = facts.driver.gpus.iter().find(|gpu| gpu.address.eq_ignore_ascii_case(&device.address));
        names.push(name(listed.and_then(|gpu| gpu.model.as_deref()), Some(device), db));
    }
    for gpu in &facts.driver.gpus {
        if !facts.pci.iter().any(|device| device.address.eq_ignore_ascii_case(&gpu.address)) {
            names.push(name(gpu.model.as_deref(), None, db));
        }
    }
    if names.is_empty() && facts.machine.wsl.as_ref().is_some_and(|wsl| wsl.dxg) {
        names.push("reached through WSL (/dev/dxg)".to_owned());
    }
    if names.is_empty() && facts.machine.tegra.is_some() {
        names.push("NVIDIA Jetson".to_owned());
    }
    for assumption in facts.assumed.iter().filter(|assumption| assumption.key == "gpu") {
        names.push(format!("compute {} (assumed)", assumption.value));
    }
    let mut counted: Vec<(String, usize)> = Vec::new();
    for name in names {
        match counted.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => counted.push((name, 1)),
        }
    }
    counted
}

/// A GPU's name: the driver's word, else the database's, else the device id.
fn name(model: Option<&str>, device: Option<&PciDevice>, db: &Database) -> String {
    let (known, compute) = super::gpu_row(db, device, model).unzip();
    let name = match (model.map(str::to_owned).or(known), device) {
        (Some(name), _) if name.starts_with("NVIDIA") => name,
        (Some(name), _) => format!("NVIDIA {name}"),
        (None, Some(device)) => format!("NVIDIA device {}", device.device),
        (None, None) => "NVIDIA GPU".to_owned(),
    };
    match compute {
        Some(compute) => format!("{name} (compute {compute})"),
        None => name,
    }
}

/// The driver in one line.
fn driver(facts: &Facts, db: &Database) -> String {
    let Driver { kernel, userspace, loaded, .. } = &facts.driver;
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
    let (version, text) = if let Some(version) = assumed {
        (Some(version), format!("{version} (assumed)"))
    } else if let Some(first) = kernel.first() {
        let differ = !libraries.is_empty() && libraries != module;
        let text = if differ { format!("{module} (its libraries are {libraries})") } else { module };
        (Some(&first.value), text)
    } else if loaded.value() == Some(&true) {
        (None, "loaded, of unknown version".to_owned())
    } else if let Some(first) = userspace.first() {
        (Some(&first.value), format!("{libraries} (libraries only, no kernel module is loaded)"))
    } else if let Some(why) = loaded.unknown() {
        (None, format!("cannot tell: {}", clean(why)))
    } else {
        (None, "none".to_owned())
    };
    match version.and_then(|version| super::reported_cuda(db, version)) {
        Some(cuda) => format!("{text}, runs CUDA up to {cuda}"),
        None => text,
    }
}
