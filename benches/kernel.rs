//! Times the observed check beside a bare C program that does the same, and compilations with a cold and a warm cache.
//!
//! The C program (`bare.c`: cuInit, context, module load, launch, verify) is compiled by `cc` and opens the libcuda that
//! `BENCH_LIBCUDA` names, by default `libcuda.so.1`: with a stand-in the method can be tried where there is no GPU. The
//! goal is that the whole observed check takes at most 1.15 times as long, plus 15 ms. Compilers are those of the wheels
//! under `target/nvidia-wheels`, which `.ci/run` installs. It prints figures and judges nothing.

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

/// The median of some runs in milliseconds, or the exit code of one that failed.
fn median(mut command: impl FnMut() -> Command) -> Result<f64, Option<i32>> {
    let mut times = Vec::new();
    // The first run warms the page cache.
    for _ in 0..=RUNS {
        let begin = Instant::now();
        let status = command().stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        // A finding that is denied (100) is an answer too.
        if !matches!(status.code(), Some(0 | 100)) {
            return Err(status.code());
        }
        times.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    let mut times = times.split_off(1);
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
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
    let yardstick = median(|| {
        let mut command = Command::new(&bare);
        command.arg(&library).arg(folder.join("smoke.ptx"));
        command
    });
    let yardstick = match yardstick {
        Ok(time) => time,
        Err(code) => {
            println!("observed check: not measured, the bare program ended with {code:?} ({library})");
            return;
        }
    };
    println!("bare C program                    {yardstick:9.1} ms");
    let doctor = median(|| {
        let mut command = Command::new(PROGRAM);
        // A home of its own, so that it reads no more of this machine than it must.
        command.args(["check", "--launch", "require"]).current_dir(folder).env("HOME", folder);
        if let Some(folder) = Path::new(&library).parent().filter(|folder| folder.is_absolute()) {
            command.arg("--stand-in").arg(folder);
        }
        command
    });
    match doctor {
        Ok(time) => {
            let goal = 1.15 * yardstick + 15.0;
            println!("check --launch require            {time:9.1} ms   goal {goal:.1} ms");
        }
        Err(code) => println!("check --launch require            not measured, it ended with {code:?}"),
    }
}

fn compilations(folder: &Path) {
    let wheels = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("nvidia-wheels");
    if !wheels.join("complete").is_file() {
        println!("compilations: not measured, no CUDA wheels under {}", wheels.display());
        return;
    }
    let text = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let env = [("HOME", text("home")), ("XDG_CACHE_HOME", text("cache")), ("PATH", std::env::var("PATH").unwrap())];
    let env = env.map(|(name, value)| (name.to_owned(), value)).into();
    let host = Host::here_with(env).unwrap();
    let dist = Dist {
        name: "nvidia-cuda-nvcc".to_owned(),
        location: wheels.join("site-packages").to_string_lossy().into_owned(),
        ..Dist::default()
    };
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
