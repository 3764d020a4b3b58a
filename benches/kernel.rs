//! Times the observed check beside a bare C program that does the same, with one route and with all, and compilations.
//!
//! The C program (`bare.c`: cuInit, context, module load, launch, verify) is compiled by `cc` and opens the libcuda that
//! `BENCH_LIBCUDA` names, by default `libcuda.so.1`: with a stand-in the method can be tried where there is no GPU
//! (`STANDIN_FAIL=cuCtxCreate=200ms,cuDevicePrimaryCtxRetain=200ms` lets it take as long for a context as a GPU may). Goals: the whole observed check
//! takes at most 1.15 times as long, plus 15 ms; with a warm cache all routes together take at most 1.3 times as long as
//! the first route; a driver that hangs costs one time limit and at most one second. Runs that are compared take turns.
//! Compilers are those of the wheels under `target/nvidia-wheels`, which `.ci/run` installs. It prints figures and judges
//! nothing.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::disallowed_methods, reason = "a benchmark starts programs itself")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot measure has to stop")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use gpu_doctor::facts::{Dist, Facts, PythonEnv};
use gpu_doctor::host::Host;
use gpu_doctor::kernel::{PTX, Settings, compile};
use gpu_doctor::version::Dotted;

const PROGRAM: &str = env!("CARGO_BIN_EXE_cargo-gpu-doctor");
const RUNS: usize = 15;

/// Milliseconds that a command takes, or the exit code of one that failed.
fn once(mut command: Command) -> Result<f64, Option<i32>> {
    let begin = Instant::now();
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    // A finding that is denied (100) is an answer too.
    match status.code() {
        Some(0 | 100) => Ok(begin.elapsed().as_secs_f64() * 1e3),
        code => Err(code),
    }
}

/// The medians of commands that take turns, so that whatever else the machine does is shared.
fn medians<const N: usize>(commands: [&dyn Fn() -> Command; N]) -> Result<[f64; N], Option<i32>> {
    let mut times = [const { Vec::new() }; N];
    // The first turn warms the page cache, and the cache of compiled kernels.
    for turn in 0..=RUNS {
        for (command, times) in commands.iter().zip(&mut times) {
            let time = once(command())?;
            if turn > 0 {
                times.push(time);
            }
        }
    }
    Ok(times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    }))
}

/// The folder of the wheels with compilers, where they are installed.
fn wheels() -> Option<PathBuf> {
    let wheels = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("nvidia-wheels");
    wheels.join("complete").is_file().then(|| wheels.join("site-packages"))
}

fn observed(folder: &Path) {
    let bare = folder.join("bare");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/bare.c");
    let built = Command::new("cc").args(["-O2", source, "-ldl", "-o"]).arg(&bare).status();
    if !built.is_ok_and(|status| status.success()) {
        println!("observed check: not measured, there is no C compiler");
        return;
    }
    std::fs::write(folder.join("smoke.ptx"), PTX).unwrap();
    let library = std::env::var("BENCH_LIBCUDA").unwrap_or_else(|_| "libcuda.so.1".to_owned());
    let stand_in = Path::new(&library).parent().filter(|folder| folder.is_absolute());
    // Nothing of the tester's but what chooses the driver and its GPUs.
    let kept = std::env::vars_os().filter(|(name, _)| {
        let name = name.to_string_lossy();
        name.starts_with("STANDIN_") || name.starts_with("CUDA_VISIBLE") || name == "LD_LIBRARY_PATH"
    });
    let kept: Vec<_> = kept.collect();
    let yardstick = || {
        let mut command = Command::new(&bare);
        command.arg(&library).arg(folder.join("smoke.ptx"));
        command
    };
    let doctor = |more: &[&str], path: &str| {
        let mut command = Command::new(PROGRAM);
        command.args(["check", "--launch", "require"]).args(more).current_dir(folder);
        command.env_clear().envs(kept.iter().cloned()).env("HOME", folder).env("PATH", path);
        if let Some(folder) = stand_in {
            command.arg("--stand-in").arg(folder);
        }
        command
    };
    let first_route = || doctor(&[], "/nonexistent");
    match medians([&yardstick, &first_route]) {
        Ok([bare, check]) => {
            println!("bare C program                    {bare:9.1} ms");
            println!("check --launch require            {check:9.1} ms   goal {:.1} ms", 1.15 * bare + 15.0);
        }
        Err(code) => return println!("observed check: not measured, a program ended with {code:?} ({library})"),
    }
    if let Some(site) = wheels() {
        let all_routes = || {
            let mut command = doctor(&["--format", "json", "--timings"], "/usr/bin:/bin");
            command.env("CUDA_HOME", site.join("nvidia/cu13"));
            command
        };
        match medians([&first_route, &all_routes]) {
            Ok([first, all]) => {
                let output = all_routes().output().unwrap();
                let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
                println!(
                    "all routes, warm cache            {all:9.1} ms   {:.2} times the first route (goal 1.3), {} compilers \
                     started",
                    all / first,
                    report["timings_ms"]["kernel.compilers_started"],
                );
            }
            Err(code) => println!("all routes                        not measured, it ended with {code:?}"),
        }
    }
    if stand_in.is_some() {
        let limit = 2.0;
        let mut command = doctor(&["--probe-timeout", "2"], "/nonexistent");
        command.env("STANDIN_FAIL", "cuInit=hang");
        match once(command) {
            Ok(time) => println!("a driver that hangs               {:9.1} ms beyond its limit", time - limit * 1e3),
            Err(code) => println!("a driver that hangs               not measured, it ended with {code:?}"),
        }
    }
}

fn compilations(folder: &Path) {
    let Some(site) = wheels() else {
        println!("compilations: not measured, no CUDA wheels under target/nvidia-wheels");
        return;
    };
    let text = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let env = [("HOME", text("home")), ("XDG_CACHE_HOME", text("cache")), ("PATH", std::env::var("PATH").unwrap())];
    let env = env.map(|(name, value)| (name.to_owned(), value)).into();
    let host = Host::here_with(env).unwrap();
    let dist =
        Dist { name: "nvidia-cuda-nvcc".to_owned(), location: site.to_string_lossy().into_owned(), ..Dist::default() };
    let facts = Facts { pythons: vec![PythonEnv { dists: vec![dist], ..PythonEnv::default() }], ..Facts::default() };
    let limit = Duration::from_mins(10);
    let settings = Settings { limit, program: Some(PathBuf::from(PROGRAM)), ..Settings::default() };
    for run in ["cold", "warm", "warm"] {
        let begin = Instant::now();
        let made = compile(&host, &facts, &settings, &[Dotted::new(&[9, 0])]);
        let failed = made.results.iter().filter(|result| result.is_err()).count();
        println!(
            "nvcc and NVRTC, {run} cache         {:9.1} ms   {} compilers started, {} results, {failed} failed",
            begin.elapsed().as_secs_f64() * 1e3,
            made.started,
            made.results.len(),
        );
    }
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    observed(folder.path());
    compilations(folder.path());
}
