//! The command line: turns arguments into options and results into text and an exit code; judges nothing.

use std::path::{Path, PathBuf};

use clap::{ArgMatches, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

use crate::db::overlay::{self, Installed};
use crate::exit::Exit;
use crate::finding::Level;
use crate::host::{self, Host};
use crate::options::{self, Assume, GpuWish, Options};
use crate::policy;
use crate::report::item::Scene;
use crate::run::{self, Checked, Clock};
use crate::version::Dotted;

mod db;
mod explain;
mod hook;
mod init;
mod output;
mod progress;
mod write;

use output::{Failure, Paint, Sink};
use write::{Each, Page, Recordings};

/// Facts documents are read up to this many bytes.
const DOCUMENT_LIMIT: usize = 256 << 20;

const AFTER: &str = "\
Exit codes, the same for every format:
    0  nothing was denied
    2  the command line or a configuration file is wrong
  100  at least one finding was denied
  101  the check did not finish

Policy: gpu-doctor.toml, [package.metadata.gpu-doctor] or [workspace.metadata.gpu-doctor] of Cargo.toml.
Colour: only on a terminal; NO_COLOR, CLICOLOR_FORCE and CARGO_TERM_COLOR are honoured.";

/// Says whether TensorFlow, Keras and CUDA code will use the NVIDIA GPU of a machine, why not, and what mends it.
///
/// Without a command it checks: it reads the files of this machine, holds them against a database, and
/// answers for every Python environment whether TensorFlow sees the GPU and computes on it, and whether
/// Keras does. Where a CUDA crate is in the project's lock file, `cargo metadata` is asked; where a driver is loaded, a
/// child process asks it, and a test kernel is compiled by the CUDA compilers found and launched. --static reads files
/// only. No network is used.
#[derive(Debug, Parser)]
#[command(
    name = "cargo-gpu-doctor",
    bin_name = "cargo gpu-doctor",
    version,
    after_long_help = AFTER,
    args_conflicts_with_subcommands = true,
    subcommand_precedence_over_arg = true,
    max_term_width = 100
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    check: CheckArgs,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Judge this machine, this project, its Python environments (the default)
    #[command(after_long_help = AFTER)]
    Check(Box<CheckArgs>),
    /// Compile the test kernel by every compiler found and launch it by every route; a table with timings
    ///
    /// It checks as `check` does, and its JSON is the same report.
    #[command(after_long_help = AFTER)]
    Kernel(Box<CheckArgs>),
    /// Print what was read as JSON, names of users and hosts and GPU ids redacted
    ///
    /// The document can be judged elsewhere with `check --facts`.
    Facts(Box<FactsArgs>),
    /// Say what a rule means, why it matters, how to fix it
    Explain(ExplainArgs),
    /// Show, query, export, lint, verify and renew the database of what goes with what
    Db(DbArgs),
    /// Put a git hook in that judges what is staged, take it out, or run it
    Hook(HookArgs),
    /// Write the policy section, a CI step and a build script, where they are not there yet
    ///
    /// Nothing that exists is overwritten or changed but by lines at the end of Cargo.toml. What was written, and what
    /// was left as it is, is said. A second run writes nothing.
    Init(InitArgs),
    /// Print a completion script for a shell
    Completions(CompletionsArgs),
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is one switch of the command line")]
struct CheckArgs {
    /// What goes to standard output; the exit code is the same for all
    #[arg(long, value_enum, default_value_t = CheckFormat::Human)]
    format: CheckFormat,
    #[command(flatten)]
    print: PrintArgs,
    #[command(flatten)]
    inspect: InspectArgs,
    /// Judge recorded facts instead of this machine; `-` reads documents from standard input
    ///
    /// Several documents may follow each other, as one a line does. Several machines are summed up by cause;
    /// up to five get a report of their own too. The exit code is the worst. What --assume pretends is laid over
    /// all of them.
    #[arg(
        long,
        value_name = "FILE",
        num_args = 1..,
        conflicts_with_all = ["root", "env_file", "python", "deep", "hashes"]
    )]
    facts: Vec<PathBuf>,
    /// Of several machines, print each report, however many they are
    #[arg(long, requires = "facts", conflicts_with = "summary")]
    details: bool,
    /// Of several machines, print the causes and who has them only; as JSON one document in place of one a machine
    #[arg(long, requires = "facts")]
    summary: bool,
    /// Keep the names of users and hosts and the GPU ids in Markdown, which takes them out otherwise
    #[arg(long)]
    no_redact: bool,
    /// What a machine without a usable GPU means: a denied finding, a note, or not looked at [default: optional]
    #[arg(long, value_enum, value_name = "WISH")]
    gpu: Option<Wish>,
    /// Make findings of a rule fail the check
    #[arg(long, value_name = "RULE", value_parser = rule_name)]
    deny: Vec<String>,
    /// Report findings of a rule without failing the check
    #[arg(long, value_name = "RULE", value_parser = rule_name)]
    warn: Vec<String>,
    /// Do not report findings of a rule; of --deny, --warn and --allow the last one for a rule counts
    #[arg(long, value_name = "RULE", value_parser = rule_name)]
    allow: Vec<String>,
    /// Fail the check too where something that a verdict rests on could not be told
    #[arg(long)]
    strict: bool,
    /// Report how long each stage and each part of the reading took
    #[arg(long)]
    timings: bool,
}

#[derive(Debug, Args)]
struct FactsArgs {
    /// What goes to standard output
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
    #[command(flatten)]
    print: PrintArgs,
    #[command(flatten)]
    inspect: InspectArgs,
    /// Keep the names of users and hosts and the GPU ids
    #[arg(long)]
    no_redact: bool,
}

#[derive(Debug, Args)]
struct InitArgs {
    /// Say what would be written, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// The Cargo.toml of the project; the nearest from the working folder upward unless told
    #[arg(long, value_name = "PATH")]
    manifest_path: Option<String>,
    /// Write no build script and no build-dependency
    #[arg(long)]
    no_build_script: bool,
    #[command(flatten)]
    print: PrintArgs,
}

#[derive(Debug, Args)]
struct ExplainArgs {
    /// The rule
    #[arg(value_name = "RULE", required_unless_present = "list", value_parser = rule_name)]
    rule: Option<String>,
    /// Name all rules, one a line
    #[arg(long, conflicts_with = "rule")]
    list: bool,
    /// What goes to standard output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    #[command(flatten)]
    print: PrintArgs,
}

#[derive(Debug, Args)]
struct DbArgs {
    #[command(subcommand)]
    command: DbCommand,
}

#[derive(Debug, Subcommand)]
enum DbCommand {
    /// Say which database this is and what it holds, or print one table
    Show(DbShowArgs),
    /// Print the rows about a version or name, with their sources
    Query(DbQueryArgs),
    /// Print every table with its rows
    Export(DbExportArgs),
    /// Hold data files against the rules of data; without DIR, the database in use
    Lint(DbLintArgs),
    /// Derive rows again from the packages themselves and tell each disagreement
    ///
    /// Wheels are not downloaded: their tables of contents and the few files that matter are asked for
    /// by HTTP range requests.
    Verify(DbVerifyArgs),
    /// Add releases that are newer than the database, or install a signed database
    ///
    /// Derived rows go to the user's data folder, are marked as derived, and never take the place of a
    /// curated row.
    Update(DbUpdateArgs),
}

#[derive(Debug, Args)]
struct DbShowArgs {
    /// The table
    #[arg(value_name = "TABLE", value_parser = table_names())]
    table: Option<String>,
    /// What goes to standard output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    #[command(flatten)]
    print: PrintArgs,
}

#[derive(Debug, Args)]
struct DbQueryArgs {
    /// The table
    #[arg(value_name = "TABLE", value_parser = table_names())]
    table: String,
    /// A version (`2.18` is all of 2.18), or a name: of a GPU, a chip, a crate
    #[arg(value_name = "VERSION")]
    wanted: String,
    /// Rows of this package only, such as tensorflow-cpu or tf-keras
    #[arg(long, value_name = "NAME")]
    package: Option<String>,
    /// Rows of this platform only, such as linux-x86_64
    #[arg(long, value_name = "NAME")]
    platform: Option<String>,
    /// What goes to standard output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    #[command(flatten)]
    print: PrintArgs,
}

#[derive(Debug, Args)]
struct DbExportArgs {
    /// One table only
    #[arg(value_name = "TABLE", value_parser = table_names())]
    table: Option<String>,
    /// What goes to standard output; CSV of all tables has one line for each value
    #[arg(long, value_enum, default_value_t = ExportFormat::Json)]
    format: ExportFormat,
    #[command(flatten)]
    print: PrintArgs,
}

#[derive(Debug, Args)]
struct DbLintArgs {
    /// The folder of the data files
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    /// What goes to standard output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    #[command(flatten)]
    print: PrintArgs,
}

#[derive(Debug, Args)]
struct NetworkArgs {
    /// The package index; without it, that of uv or pip on this machine
    #[arg(long, value_name = "ADDRESS")]
    index_url: Option<String>,
    /// How many requests run beside each other
    #[arg(long, value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=32))]
    jobs: u8,
    /// How long one request may take, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..))]
    timeout: u16,
}

#[derive(Debug, Args)]
struct DbVerifyArgs {
    /// Only the newest releases of each package
    #[arg(long, value_name = "COUNT")]
    newest: Option<usize>,
    /// Only rows of this package, such as tensorflow or keras
    #[arg(long, value_name = "NAME")]
    package: Vec<String>,
    /// Read `host_config.h` of the toolkits and the sonames of the libraries too
    #[arg(long)]
    deep: bool,
    #[command(flatten)]
    network: NetworkArgs,
    /// What goes to standard output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    #[command(flatten)]
    print: PrintArgs,
}

#[derive(Debug, Args)]
struct DbUpdateArgs {
    /// Take rows from a database that `db export` wrote elsewhere, or a signed one, and use no network
    #[arg(long, value_name = "FILE", conflicts_with_all = ["curated", "index_url", "nvidia_url"])]
    from: Option<PathBuf>,
    /// The address of a signed database; its signature lies beside it, with `.minisig` at its end
    #[arg(long, value_name = "ADDRESS")]
    curated: Option<String>,
    /// The minisign public key of signed databases
    #[arg(long, value_name = "KEY")]
    public_key: Option<String>,
    /// Where NVIDIA's manifests are: the folder above `compute/cuda/redist` and `compute/cudnn/redist`
    #[arg(long, value_name = "ADDRESS")]
    nvidia_url: Option<String>,
    #[command(flatten)]
    network: NetworkArgs,
    /// What goes to standard output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    #[command(flatten)]
    print: PrintArgs,
}

#[derive(Debug, Args)]
struct HookArgs {
    #[command(subcommand)]
    command: HookCommand,
}

impl HookArgs {
    fn color(&self) -> clap::ColorChoice {
        match &self.command {
            HookCommand::Run(args) => args.print.color,
            HookCommand::Install | HookCommand::Uninstall => clap::ColorChoice::Auto,
        }
    }
}

#[derive(Debug, Subcommand)]
enum HookCommand {
    /// Put the hook into this repository, beside the hooks that are there
    ///
    /// It becomes pre-commit and pre-merge-commit. A hook that is there is renamed in its folder, its content
    /// untouched, and called first; core.hooksPath, worktrees and husky are honoured. Where it is in already,
    /// nothing changes.
    Install,
    /// Take the hook out again and put back what was there
    Uninstall,
    /// Judge what is staged; this is what the hook calls
    ///
    /// Judged is what the repository asks for, as it is in the index: its Cargo project and what its files declare.
    /// The driver, the GPU and the Python environments of this machine are no reason to refuse a commit. Where
    /// nothing is staged that matters, it ends at once and says nothing.
    #[command(after_long_help = AFTER)]
    Run(Box<HookRunArgs>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum HookFormat {
    /// The findings, for people
    Human,
    /// The whole report, one document a project
    Json,
}

#[derive(Debug, Args)]
struct HookRunArgs {
    /// What goes to standard output
    #[arg(long, value_enum, default_value_t = HookFormat::Human)]
    format: HookFormat,
    #[command(flatten)]
    print: PrintArgs,
    /// Judge the projects of these files of the index, in place of those whose files are staged
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Whether how the project would run counts as well: only a warning (optional), a denied finding, or not looked at
    #[arg(long, value_enum, value_name = "WISH")]
    gpu: Option<Wish>,
    /// Pretend: driver=550.54.14, gpu=9.0, python=3.12, cuda=12.4
    #[arg(long, value_name = "KEY=VALUE", num_args = 1.., value_parser = assumption)]
    assume: Vec<(String, Dotted)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ExportFormat {
    /// One object with every table
    Json,
    /// Lines for spreadsheets
    Csv,
}

fn table_names() -> clap::builder::PossibleValuesParser {
    crate::db::document::TABLES.into()
}

#[derive(Debug, Args)]
struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
struct PrintArgs {
    /// Write a second copy of standard output to a file, without colour
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// When to use colour
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = clap::ColorChoice::Auto)]
    color: clap::ColorChoice,
}

#[expect(clippy::struct_excessive_bools, reason = "each is one switch of the command line")]
#[derive(Debug, Args)]
#[command(next_help_heading = "What to inspect")]
struct InspectArgs {
    /// Inspect that file tree instead of `/`; implies --static, and the process's environment is not used
    ///
    /// Every path is then a path of that tree, those of --python and --manifest-path included.
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Take the environment to inspect from `KEY=VALUE` lines instead of the process's own
    ///
    /// `KEY=` means set and empty. A line that is neither empty nor KEY=VALUE is an error, a comment too.
    /// The working folder is PWD of that file, where it is there.
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// Look at these interpreters or environment folders only
    #[arg(long, value_name = "PATH", num_args = 1..)]
    python: Vec<String>,
    /// Also read the Python sources of the repository: variables that are set after what reads them
    #[arg(long)]
    sources: bool,
    /// The Cargo.toml of the project
    #[arg(long, value_name = "PATH")]
    manifest_path: Option<String>,
    /// The package of the workspace
    #[arg(long, short, value_name = "NAME")]
    package: Option<String>,
    /// Features of the project to build with, as for `cargo build`
    #[arg(long, short = 'F', value_name = "FEATURES", action = clap::ArgAction::Append)]
    features: Vec<String>,
    /// Build the project with all of its features
    #[arg(long)]
    all_features: bool,
    /// Build the project without its default features
    #[arg(long)]
    no_default_features: bool,
    /// The platform that the project is built for
    #[arg(long, value_name = "TRIPLE")]
    target: Option<String>,
    /// Run no program and load no library: read files only
    ///
    /// Without it, `cargo metadata` is asked where a CUDA crate is in the lock file, and the driver where one is loaded.
    #[arg(long = "static")]
    only_static: bool,
    /// Whether to ask the driver and launch the test kernel, in child processes
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = Launch::Auto)]
    launch: Launch,
    /// Seconds that a child process may be silent that asks the driver
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    probe_timeout: u64,
    /// Seconds that a compiler may take for the test kernel
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    compile_timeout: u64,
    /// Forget all compiled test kernels that are kept, before anything is compiled
    #[arg(long, conflicts_with_all = ["only_static", "root"])]
    wipe_cache: bool,
    /// A folder with libraries that stand in for the driver; for tests
    #[arg(long, value_name = "DIR", hide = true, conflicts_with_all = ["only_static", "root"])]
    stand_in: Option<PathBuf>,
    /// Also ask each environment's own interpreter: import, list GPUs, compute; and compare with the prediction
    ///
    /// In child processes that leave no bytecode and write nothing to the home folder. Where they saw something else
    /// than was foretold, what they saw counts and `prediction-contradicted` says so.
    #[arg(long, conflicts_with_all = ["only_static", "root", "assume"])]
    run_python: bool,
    /// Seconds that such a child process may take
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    python_timeout: u64,
    /// Pretend: driver=550.54.14, gpu=9.0, python=3.12, cuda=12.4
    #[arg(long, value_name = "KEY=VALUE", num_args = 1.., value_parser = assumption)]
    assume: Vec<(String, Dotted)>,
    /// Compare every file of every Python package with its RECORD, not only those that a verdict rests on
    #[arg(long)]
    deep: bool,
    /// With --deep, compare contents too, not only sizes
    #[arg(long, requires = "deep")]
    hashes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Human,
    /// For programs
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CheckFormat {
    /// For people
    Human,
    /// For programs; of several machines one report a line
    Json,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// JUnit XML, for CI servers
    Junit,
    /// Annotations for GitHub Actions, and the job summary
    Github,
    /// Markdown, for pasting into an issue
    Markdown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Launch {
    /// Where a driver is loaded
    Auto,
    /// It must run: the check fails where it did not
    Require,
    /// Not at all
    Never,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Wish {
    /// A denied finding
    Required,
    /// A note
    Optional,
    /// It is not looked at
    None,
}

impl From<Wish> for GpuWish {
    fn from(wish: Wish) -> Self {
        match wish {
            Wish::Required => Self::Required,
            Wish::Optional => Self::Optional,
            Wish::None => Self::None,
        }
    }
}

/// The command line as a clap command; for the man page and completions.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Runs the program: reads the process's arguments, prints, and says how it ends.
pub fn main() -> Exit {
    let mut args: Vec<_> = std::env::args_os().collect();
    // Cargo calls `cargo-gpu-doctor gpu-doctor …`.
    if args.get(1).is_some_and(|first| first == "gpu-doctor") {
        args.remove(1);
    }
    #[cfg(feature = "cuda")]
    if args.get(1).is_some_and(|first| first == crate::probe::child::ARGUMENT) {
        return crate::probe::child::answer(args.get(2..).unwrap_or_default());
    }
    let here = Host::here();
    let env = |name: &str| here.as_ref().ok().and_then(|host| host.env_nonempty(name));
    let colour = output::colour(env);
    let matches = match command().color(colour).try_get_matches_from(args) {
        Ok(matches) => matches,
        Err(error) => return usage(&error),
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let stderr = std::io::stderr();
    let paint = |choice| Paint::new(choice, colour, env("TERM"));
    let (paint, result) = match cli.command {
        None => {
            let paint = paint(cli.check.print.color);
            (paint, check(&cli.check, &matches, here, paint, false))
        }
        Some(Command::Check(args)) => {
            let paint = paint(args.print.color);
            let levels = matches.subcommand_matches("check").unwrap_or(&matches);
            (paint, check(&args, levels, here, paint, false))
        }
        Some(Command::Kernel(args)) => {
            let paint = paint(args.print.color);
            let levels = matches.subcommand_matches("kernel").unwrap_or(&matches);
            (paint, check(&args, levels, here, paint, true))
        }
        Some(Command::Facts(args)) => {
            let paint = paint(args.print.color);
            (paint, facts(&args, here, paint))
        }
        Some(Command::Explain(args)) => {
            let paint = paint(args.print.color);
            (paint, explain::run(&args, paint))
        }
        Some(Command::Db(args)) => {
            let paint = paint(args.print().color);
            (paint, db::run(&args, here, paint))
        }
        Some(Command::Hook(args)) => {
            let paint = paint(args.color());
            (paint, hook::run(&args, here, paint))
        }
        Some(Command::Init(args)) => {
            let paint = paint(args.print.color);
            (paint, init::run(&args, here, paint))
        }
        Some(Command::Completions(args)) => {
            let paint = paint(clap::ColorChoice::Never);
            (paint, completions(&args, paint))
        }
    };
    result.unwrap_or_else(|failure| {
        // Nobody is left to tell where standard error is closed.
        let _ = failure.print(&mut stderr.lock(), paint.stderr);
        failure.exit
    })
}

/// Prints clap's message: help and version to standard output, mistakes to standard error.
fn usage(error: &clap::Error) -> Exit {
    match error.print() {
        Err(trouble) if trouble.kind() != std::io::ErrorKind::BrokenPipe => Exit::Incomplete,
        _ if error.exit_code() == 0 => Exit::Ok,
        _ => Exit::Usage,
    }
}

fn check(
    args: &CheckArgs,
    matches: &ArgMatches,
    here: Result<Host, host::HostError>,
    paint: Paint,
    kernel: bool,
) -> Result<Exit, Failure> {
    let mut clock = Clock::start();
    let db = clock.stage("database", || database(here.as_ref().ok()));
    let step_summary = here.as_ref().ok().and_then(|here| here.env_nonempty("GITHUB_STEP_SUMMARY")).map(str::to_owned);
    let (options, host) = prepare(&args.inspect, here)?;
    let policy = policy::read(&host, options.manifest.as_deref()).map_err(Failure::policy)?;
    let launch =
        if kernel && options.launch == options::Launch::Auto { options::Launch::Asked } else { options.launch };
    let options = Options {
        launch,
        gpu: args.gpu.map(GpuWish::from),
        levels: levels(args, matches),
        strict: args.strict,
        timings: args.timings,
        ..options
    };
    if let (Some(driver), Some(cuda)) = (&options.assume.driver, &options.assume.cuda)
        && let Some((reports, _)) = db.driver_reports_cuda(driver)
        && reports.prefix(2) != cuda.prefix(2)
    {
        let why =
            format!("--assume driver={driver} cuda={cuda}: that driver reports CUDA {reports}; name one of the two");
        return Err(Failure::usage(why));
    }
    let sink = Sink { paint, output: args.print.output.as_deref() };
    let page = Page {
        format: args.format,
        kernel,
        db: &db,
        policy: &policy,
        options: &options,
        scene: scene(&host, options.manifest.as_deref()),
        today: host.today(),
        width: paint.width,
        redact: args.format == CheckFormat::Markdown && !args.no_redact,
        each: match (args.summary, args.details) {
            (true, _) => Each::Never,
            (_, true) => Each::Always,
            _ => Each::WhereFew,
        },
        step_summary: step_summary.as_deref(),
    };
    let mut machines = if args.facts.is_empty() {
        progress::during("reading this machine", || run::probe(&host, &options, &db, &mut clock))
    } else {
        let mut documents = Recordings::new(&args.facts, &host);
        match documents.only()? {
            None => return page.many(&mut documents, sink),
            Some(mut machine) => {
                crate::probe::assume(&mut machine.facts, &options.assume);
                vec![machine]
            }
        }
    };
    for machine in &mut machines {
        mistaken(machine.facts.project.as_ref(), &options)?;
        page.prepare(machine);
    }
    let checked = run::check(machines, &db, &policy, &options, host.today(), &clock);
    let exit = checked.iter().map(Checked::exit).max_by_key(|exit| exit.code()).unwrap_or(Exit::Ok);
    let text = checked.iter().map(|machine| page.one(machine)).collect::<Result<String, _>>()?;
    sink.write(&text, exit)
}

/// What Cargo says of a feature or a platform that the command line names and that is none.
fn mistaken(project: Option<&crate::facts::Project>, options: &Options) -> Result<(), Failure> {
    let Some(why) = project.and_then(|project| project.unresolved.as_deref()) else { return Ok(()) };
    let Some(said) = why.strip_prefix("cargo metadata: ") else { return Ok(()) };
    let feature = !options.features.is_empty() && said.contains("feature");
    let target =
        options.target.as_ref().is_some_and(|target| said.contains(target.as_str()) || said.contains("target"));
    let option = match (&options.target, feature) {
        (_, true) => format!("--features {}", options.features.join(",")),
        (Some(name), _) if target => format!("--target {name}"),
        _ => return Ok(()),
    };
    Err(Failure::usage(format!("{option}: {why}")))
}

/// The project in whose files findings are placed: that of the checkout, else of the manifest, else the working folder.
fn scene(host: &Host, manifest: Option<&str>) -> Scene {
    let manifest = manifest.map(|path| host.absolute(path));
    let cwd = host.cwd().to_path_buf();
    let start = manifest.as_deref().and_then(Path::parent).unwrap_or(&cwd).to_path_buf();
    let manifest =
        manifest.or_else(|| start.ancestors().map(|folder| folder.join("Cargo.toml")).find(|path| host.is_file(path)));
    let checkout = start.ancestors().find(|folder| host.exists(folder.join(".git")));
    let root = checkout.or_else(|| manifest.as_deref().and_then(Path::parent)).unwrap_or(&start).to_path_buf();
    let of_root = |path: &Path| path.strip_prefix(&root).ok().map(|path| path.to_string_lossy().into_owned());
    // Where there is no manifest, some other file that says what the project is.
    let others = ["gpu-doctor.toml", "pyproject.toml", "requirements.txt", "environment.yml", "Dockerfile"];
    let other = || others.iter().find(|name| host.is_file(root.join(name))).map(|name| (*name).to_owned());
    let fallback = manifest.as_deref().and_then(of_root).or_else(other).unwrap_or_else(|| "Cargo.toml".to_owned());
    Scene { root, cwd, fallback }
}

fn facts(args: &FactsArgs, here: Result<Host, host::HostError>, paint: Paint) -> Result<Exit, Failure> {
    let db = database(here.as_ref().ok());
    let (options, host) = prepare(&args.inspect, here)?;
    let mut facts = progress::during("reading this machine", || crate::probe::probe(&host, &options));
    if !args.no_redact {
        crate::facts::redact::redact(&mut facts);
    }
    let text = match args.format {
        Format::Json => json(&facts, true)?,
        Format::Human => crate::report::human::facts(&facts, &db, paint.width),
    };
    Sink { paint, output: args.print.output.as_deref() }.write(&text, Exit::Ok)
}

fn completions(args: &CompletionsArgs, paint: Paint) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    let mut command = command().bin_name("cargo-gpu-doctor");
    clap_complete::generate(args.shell, &mut command, "cargo-gpu-doctor", &mut script);
    Sink { paint, output: None }.write(&String::from_utf8_lossy(&script), Exit::Ok)
}

/// The database of the user who asks, whatever machine is inspected.
fn database(here: Option<&Host>) -> Installed {
    let installed = here.map_or_else(Installed::default, overlay::installed);
    for trouble in &installed.troubles {
        output::warn(&format!("{trouble}; going on without it"));
    }
    installed
}

#[cfg(feature = "cuda")]
fn wipe_cache(host: &Host) -> Result<(), Failure> {
    let wiped = crate::kernel::wipe_cache(host);
    let failed = |error| Failure::incomplete(format!("the compiled test kernels could not be forgotten: {error}"));
    wiped.map(|_| ()).map_err(failed)
}

/// A build without the feature keeps none.
#[cfg(not(feature = "cuda"))]
#[expect(clippy::unnecessary_wraps, reason = "as with the feature")]
fn wipe_cache(_host: &Host) -> Result<(), Failure> {
    Ok(())
}

/// The host to inspect, and what is asked of it.
fn prepare(args: &InspectArgs, here: Result<Host, host::HostError>) -> Result<(Options, Host), Failure> {
    let here = here.map_err(|error| Failure::incomplete(format!("the working folder cannot be read: {error}")))?;
    let env = args.env_file.as_deref().map(|file| env_file(&here, file)).transpose()?;
    let host = match (&args.root, env) {
        (Some(root), env) => Host::rooted(&here.absolute(root), env.unwrap_or_default())
            .map_err(|error| Failure::usage(format!("--root {}: {}", root.display(), error.why)))?,
        (None, Some(env)) => Host::here_with(env).map_err(|error| Failure::incomplete(error.to_string()))?,
        (None, None) => here,
    };
    if args.wipe_cache {
        wipe_cache(&host)?;
    }
    let mut manifest = args.manifest_path.as_deref().map(|path| manifest(&host, path)).transpose()?;
    if let Some(package) = &args.package {
        let member = policy::read::member(&host, manifest.as_deref(), package);
        manifest = Some(member.map_err(|why| Failure::usage(format!("--package: {why}")))?);
    }
    let python = args.python.iter().map(|path| python(&host, path)).collect::<Result<_, _>>()?;
    let options = Options {
        python,
        manifest,
        package: args.package.clone(),
        features: args.features.clone(),
        all_features: args.all_features,
        no_default_features: args.no_default_features,
        target: args.target.clone(),
        sources: args.sources.then(Vec::new),
        only_static: args.only_static,
        assume: assume(&args.assume),
        deep: args.deep,
        hashes: args.hashes,
        launch: match args.launch {
            Launch::Auto => options::Launch::Auto,
            Launch::Require => options::Launch::Require,
            Launch::Never => options::Launch::Never,
        },
        #[cfg(feature = "cuda")]
        child: (!args.only_static && !host.is_rooted())
            .then(|| crate::probe::child::Child::this(std::time::Duration::from_secs(args.probe_timeout))),
        compile: crate::kernel::Settings {
            limit: std::time::Duration::from_secs(args.compile_timeout),
            ..crate::kernel::Settings::default()
        },
        stand_in: args.stand_in.as_deref().map(|folder| host.absolute(folder)),
        run_python: args.run_python.then(|| std::time::Duration::from_secs(args.python_timeout)),
        ..Options::default()
    };
    Ok((options, host))
}

fn env_file(here: &Host, file: &Path) -> Result<std::collections::BTreeMap<String, String>, Failure> {
    let wrong = |why: &dyn std::fmt::Display| Failure::usage(format!("--env-file {}: {why}", file.display()));
    let bytes = here.read(here.absolute(file), host::TEXT_LIMIT).map_err(|error| wrong(&error.why))?;
    host::parse_env_file(&bytes).map_err(|error| wrong(&error))
}

fn manifest(host: &Host, path: &str) -> Result<String, Failure> {
    let absolute = host.absolute(path);
    let inside = absolute.join("Cargo.toml");
    let absolute = if host.is_file(&inside) { inside } else { absolute };
    if host.is_file(&absolute) {
        Ok(absolute.to_string_lossy().into_owned())
    } else {
        Err(Failure::usage(format!("--manifest-path {path}: no such file")))
    }
}

/// An interpreter or environment folder; a bare name is looked for on PATH, as a shell would.
fn python(host: &Host, path: &str) -> Result<String, Failure> {
    let absolute = host.absolute(path);
    // Copied trees lose the permission to execute: there the name has to do.
    let named = || path.rsplit('/').next().is_some_and(|name| name.contains("py"));
    let found = if host.exists(&absolute) {
        (host.is_dir(&absolute) || host.is_executable(&absolute) || named()).then_some(absolute)
    } else if path.contains('/') {
        None
    } else {
        let folders = host.env("PATH").unwrap_or_default().split(':').filter(|folder| !folder.is_empty());
        folders.map(|folder| host.absolute(folder).join(path)).find(|file| host.is_executable(file))
    };
    let found =
        found.ok_or_else(|| Failure::usage(format!("--python {path}: no such interpreter or environment folder")))?;
    if host.is_dir(&found)
        && let Err(why) = crate::probe::python::environment(host, &found)
    {
        let mut near = [".venv", "venv", "env"].into_iter().map(|name| found.join(name));
        let near = near.find(|near| crate::probe::python::environment(host, near).is_ok());
        let hint = near.map_or_else(String::new, |near| format!("; did you mean {}?", near.display()));
        return Err(Failure::usage(format!("--python {path}: no environment folder: {why}{hint}")));
    }
    Ok(found.to_string_lossy().into_owned())
}

fn assume(pairs: &[(String, Dotted)]) -> Assume {
    let mut assume = Assume::default();
    for (key, version) in pairs {
        let place = match key.as_str() {
            "driver" => &mut assume.driver,
            "gpu" => &mut assume.gpu,
            "python" => &mut assume.python,
            _ => &mut assume.cuda,
        };
        *place = Some(version.clone());
    }
    assume
}

fn assumption(text: &str) -> Result<(String, Dotted), String> {
    const KEYS: [&str; 4] = ["driver", "gpu", "python", "cuda"];
    let (key, value) = text.split_once('=').ok_or("it must be KEY=VALUE, such as `gpu=9.0`")?;
    if !KEYS.contains(&key) {
        return Err(format!("unknown key `{key}`; known are {}", KEYS.join(", ")));
    }
    // `90` is how CUDA's own tools write compute capability 9.0.
    let capability = (key == "gpu").then(|| crate::probe::compute_capability(value)).flatten();
    let version = match capability {
        Some(version) => version,
        None => value.parse().map_err(|error: crate::version::NotDotted| error.to_string())?,
    };
    Ok((key.to_owned(), version))
}

fn rule_name(name: &str) -> Result<String, String> {
    if crate::rules::find(name).is_some() {
        return Ok(name.to_owned());
    }
    Err(policy::nearest(name).map_or_else(
        || "no such rule; `cargo gpu-doctor explain --list` names them all".to_owned(),
        |near| format!("no such rule; a rule with a similar name exists: `{near}`"),
    ))
}

/// The levels of the command line in the order in which they stand there.
fn levels(args: &CheckArgs, matches: &ArgMatches) -> Vec<(String, Option<Level>)> {
    let kinds = [
        ("deny", &args.deny, Some(Level::Deny)),
        ("warn", &args.warn, Some(Level::Warn)),
        ("allow", &args.allow, None),
    ];
    let mut placed: Vec<_> = kinds
        .into_iter()
        .flat_map(|(id, rules, level)| {
            let places = matches.indices_of(id).into_iter().flatten();
            places.zip(rules).map(move |(place, rule)| (place, (rule.clone(), level)))
        })
        .collect();
    crate::sort::by_key(&mut placed, |(place, _)| *place);
    placed.into_iter().map(|(_, level)| level).collect()
}

fn json(value: &impl serde::Serialize, pretty: bool) -> Result<String, Failure> {
    let text = if pretty { crate::json::pretty(value) } else { serde_json::to_string(value) };
    text.map(|text| text + "\n")
        .map_err(|error| Failure::incomplete(format!("the report could not be written: {error}")))
}
