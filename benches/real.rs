//! Times the program as a whole process against named yardsticks, in one run, and prints ratios; judges nothing.
//!
//! `BENCH_ENV=/path/to/venv cargo bench` measures the check of that environment (made with
//! `tensorflow[and-cuda]` and Keras) against importing TensorFlow and Keras with its own Python, and `--deep`
//! against a bare loop of `stat` over the same files on two threads; and 10,000 machines recorded like it against
//! reading their facts as plain JSON. Without `BENCH_ENV` only the start-up
//! and the git hook are measured. `BENCH_PROJECT=/path/to/Cargo.toml` measures the check of that project, which asks `cargo metadata`,
//! against that program alone. Times are wall time; CPU seconds are the kernel's account of the finished children, in its ticks.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::disallowed_methods, reason = "a benchmark starts programs and walks folders itself")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot measure has to stop")]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

const PROGRAM: &str = env!("CARGO_BIN_EXE_cargo-gpu-doctor");
/// The unit of the CPU times in `/proc/self/stat`: 1/100 s on every Linux that Rust supports.
const TICKS_PER_SECOND: f64 = 100.0;

/// Wall milliseconds (median) and CPU seconds (mean) of a command.
struct Figure {
    wall_ms: f64,
    cpu_s: f64,
}

fn children_cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: f64 = fields[13].parse::<f64>().unwrap() + fields[14].parse::<f64>().unwrap();
    ticks / TICKS_PER_SECOND
}

fn measure(runs: u32, program: &str, args: &[&str]) -> Figure {
    measure_in(Path::new("."), runs, program, args)
}

fn measure_in(folder: &Path, runs: u32, program: &str, args: &[&str]) -> Figure {
    let once = || {
        let start = Instant::now();
        run(folder, program, args);
        start.elapsed().as_secs_f64() * 1e3
    };
    // The first run warms the page cache.
    once();
    let before = children_cpu();
    let mut walls: Vec<f64> = (0..runs).map(|_| once()).collect();
    let cpu_s = (children_cpu() - before) / f64::from(runs);
    walls.sort_by(f64::total_cmp);
    Figure { wall_ms: walls[walls.len() / 2], cpu_s }
}

/// The medians in milliseconds of two things that take turns, so that whatever else the machine does is shared.
fn paired(runs: usize, mut first: impl FnMut(), mut second: impl FnMut()) -> (f64, f64) {
    let time = |what: &mut dyn FnMut()| {
        let start = Instant::now();
        what();
        start.elapsed().as_secs_f64() * 1e3
    };
    // The first turn warms the page cache.
    let mut turns: Vec<(f64, f64)> = (0..=runs).map(|_| (time(&mut first), time(&mut second))).skip(1).collect();
    turns.sort_by(|a, b| a.0.total_cmp(&b.0));
    let first = turns[runs / 2].0;
    turns.sort_by(|a, b| a.1.total_cmp(&b.1));
    (first, turns[runs / 2].1)
}

fn run(folder: &Path, program: &str, args: &[&str]) {
    let mut command = Command::new(program);
    command.args(args).current_dir(folder).stdout(Stdio::null()).stderr(Stdio::null());
    // Cargo adds its own folders of thousands of files for the benchmark; nobody else's programs are given them.
    command.env_remove("LD_LIBRARY_PATH");
    let status = command.status().unwrap();
    assert!(status.code().is_some_and(|code| code != 101), "{program} {args:?} did not finish");
}

fn files(folder: &Path, into: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => files(&entry.path(), into),
            Ok(_) => into.push(entry.path()),
            Err(_) => {}
        }
    }
}

/// The check of a Cargo project beside the `cargo metadata` that it asks.
fn project(manifest: &str) {
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let metadata = ["metadata", "--format-version", "1", "--offline", "--locked", "--filter-platform", &triple];
    let (here, metadata) = (Path::new("."), [&metadata[..], &["--manifest-path", manifest]].concat());
    let check = ["check", "--gpu", "none", "--manifest-path", manifest];
    let (cargo, ours) = paired(40, || run(here, env!("CARGO"), &metadata), || run(here, PROGRAM, &check));
    println!("cargo metadata: {cargo:.1} ms; check of that project: {ours:.1} ms; {:.1} ms more", ours - cargo);
}

/// The hook on a commit that touches nothing relevant, in a repository of 2,000 files.
fn hook() {
    let folder = tempfile::tempdir().unwrap();
    let git = |args: &[&str]| {
        let who = ["-c", "user.name=a", "-c", "user.email=a@example.org"];
        assert!(Command::new("git").args(who).args(args).current_dir(&folder).status().unwrap().success());
    };
    git(&["init", "--quiet"]);
    for number in 0..2000 {
        let below = folder.path().join(format!("src/{}", number % 40));
        std::fs::create_dir_all(&below).unwrap();
        std::fs::write(below.join(format!("{number}.rs")), "").unwrap();
    }
    std::fs::write(folder.path().join("Cargo.toml"), "[package]\nname = \"a\"\n").unwrap();
    git(&["add", "."]);
    git(&["commit", "--quiet", "-m", "first"]);
    std::fs::write(folder.path().join("src/0/0.rs"), "fn f() {}").unwrap();
    git(&["add", "."]);
    let alone = measure_in(folder.path(), 100, "git", &["diff", "--cached", "--name-only"]);
    let ours = measure_in(folder.path(), 100, PROGRAM, &["hook", "run"]);
    println!("hook run, nothing relevant: {:.2} ms wall, of which git alone: {:.2} ms", ours.wall_ms, alone.wall_ms);
}

/// Many recorded machines, none like another, through a pipe; beside reading the same documents as plain JSON.
fn fleet(env: &str) {
    const MACHINES: usize = 10_000;
    let args = ["facts", "--python", env, "--assume", "driver=580.95.05", "--assume", "gpu=9.0"];
    let empty = tempfile::tempdir().unwrap();
    let facts = Command::new(PROGRAM).args(args).current_dir(&empty).output().unwrap().stdout;
    let facts: serde_json::Value = serde_json::from_slice(&facts).unwrap();
    let facts = facts.to_string();
    let document = |number: usize| facts.replace(env, &format!("/srv/app{number:05}")) + "\n";
    let bytes: usize = MACHINES * document(0).len();
    let all: Vec<String> = (0..MACHINES).map(document).collect();
    let start = Instant::now();
    let (first, second) = all.split_at(MACHINES / 2);
    std::thread::scope(|scope| {
        for half in [first, second] {
            scope.spawn(move || {
                half.iter().filter(|text| serde_json::from_str::<serde_json::Value>(text).is_ok()).count()
            });
        }
    });
    let plain = start.elapsed().as_secs_f64();
    let once = || {
        let start = Instant::now();
        let mut child = Command::new(PROGRAM)
            .args(["check", "--summary", "--facts", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        for text in &all {
            input.write_all(text.as_bytes()).unwrap();
        }
        drop(input);
        assert!(child.wait().unwrap().success());
        start.elapsed().as_secs_f64()
    };
    let mut runs: Vec<f64> = (0..3).map(|_| once()).collect();
    runs.sort_by(f64::total_cmp);
    println!(
        "check of {MACHINES} recorded machines ({} MB): {:.2} s; reading them as plain JSON on two threads: {plain:.2} s; ratio {:.2}",
        bytes / 1_000_000,
        runs[1],
        runs[1] / plain
    );
}

fn main() {
    let start_up = measure(100, PROGRAM, &["explain", "--list"]);
    println!("explain --list: {:.2} ms wall, {:.4} s CPU", start_up.wall_ms, start_up.cpu_s);
    if let Some(manifest) = std::env::var_os("BENCH_PROJECT").map(PathBuf::from) {
        project(manifest.to_str().unwrap());
    }
    hook();
    let Some(env) = std::env::var_os("BENCH_ENV").map(PathBuf::from) else {
        println!("BENCH_ENV is not set: the check of a real environment is not measured");
        return;
    };
    let env_text = env.to_str().unwrap();
    fleet(env_text);
    let check = ["check", "--python", env_text, "--assume", "driver=550.54.14", "--assume", "gpu=9.0"];
    // A folder without a project: nothing but the environment is measured.
    let empty = tempfile::tempdir().unwrap();
    let ours = measure_in(empty.path(), 50, PROGRAM, &check);
    println!("check: {:.2} ms wall, {:.4} s CPU", ours.wall_ms, ours.cpu_s);
    let python = env.join("bin/python");
    let import = "import tensorflow as tf, keras; tf.config.list_physical_devices('GPU')";
    let theirs = measure(2, python.to_str().unwrap(), &["-c", import]);
    println!("importing TensorFlow and Keras: {:.0} ms wall, {:.2} s CPU", theirs.wall_ms, theirs.cpu_s);
    println!(
        "ratio: {:.0} times less CPU, {:.0} times less time",
        theirs.cpu_s / ours.cpu_s,
        theirs.wall_ms / ours.wall_ms
    );

    let deep: Vec<&str> = check.iter().copied().chain(["--deep"]).collect();
    let mut all = Vec::new();
    files(&env.join("lib"), &mut all);
    let stats = || {
        let (first, second) = all.split_at(all.len() / 2);
        std::thread::scope(|scope| {
            for half in [first, second] {
                scope.spawn(move || half.iter().filter(|path| std::fs::metadata(path).is_ok()).count());
            }
        });
    };
    let (bare, ours) = paired(40, stats, || run(empty.path(), PROGRAM, &deep));
    println!(
        "check --deep: {ours:.1} ms; bare stat of {} files on two threads: {bare:.1} ms; ratio {:.2}",
        all.len(),
        ours / bare
    );
}
