//! The real nvcc and NVRTC, from wheels of the package index, compile the real kernels on a machine without a GPU.
//!
//! `.ci/run` installs the wheels under `target/nvidia-wheels`. Where they are not there, each test says by its name that
//! it was not run; where they are, each leaves a mark, and `.ci/run` fails without it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::disallowed_methods, reason = "tests stand outside of the seam: they lay out files and run programs")]

#[path = "support/ptx.rs"]
mod ptx;
#[path = "support/standin.rs"]
mod standin;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use gpu_doctor::facts::{Dist, Facts, PythonEnv};
use gpu_doctor::host::Host;
use gpu_doctor::kernel::{
    Cause, Code, Compilation, CompileFailure, Compiled, ENTRY, GENERATION_ENTRY, PTX, Route, Settings, Stage, compile,
    generation_reference, grid, input, reference, wipe_cache,
};
use gpu_doctor::version::Dotted;
use serde_json::{Value, json};

fn wheels() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("nvidia-wheels")
}

/// The folder of the wheels, or none with a word about the test that cannot run.
fn installed(test: &str) -> Option<PathBuf> {
    let folder = wheels();
    if folder.join("complete").is_file() {
        return Some(folder.join("site-packages"));
    }
    // Past the capture of libtest, as this must be seen.
    let _ = writeln!(std::io::stderr(), "NOT RUN: {test}: no CUDA wheels under {}", folder.display());
    None
}

/// Leaves the mark that a test ran to its end.
fn ran(test: &str) {
    let folder = wheels().join("ran");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(test), "").unwrap();
}

/// A user with wheels at a place, and a home, a cache and a temporary folder of their own.
struct Bench {
    folder: tempfile::TempDir,
    site: PathBuf,
    env: BTreeMap<String, String>,
}

impl Bench {
    fn new(site: &Path) -> Self {
        // Beside the wheels, so that files can be linked.
        let folder = tempfile::Builder::new().prefix("nvcc test ").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut env = BTreeMap::new();
        for (name, place) in [("HOME", "home"), ("XDG_CACHE_HOME", "cache"), ("TMPDIR", "temporary files")] {
            let path = folder.path().join(place);
            std::fs::create_dir(&path).unwrap();
            env.insert(name.to_owned(), path.to_string_lossy().into_owned());
        }
        env.insert("PATH".to_owned(), std::env::var("PATH").unwrap());
        Self { folder, site: site.to_path_buf(), env }
    }

    fn set(&mut self, name: &str, value: impl AsRef<Path>) {
        self.env.insert(name.to_owned(), value.as_ref().to_string_lossy().into_owned());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn compile_within(&self, targets: &[&str], limit: Duration) -> Compilation {
        let host = Host::here_with(self.env.clone()).unwrap();
        let dist = Dist {
            name: "nvidia-cuda-nvcc".to_owned(),
            location: self.site.to_string_lossy().into_owned(),
            ..Dist::default()
        };
        let facts =
            Facts { pythons: vec![PythonEnv { dists: vec![dist], ..PythonEnv::default() }], ..Facts::default() };
        let program = PathBuf::from(env!("CARGO_BIN_EXE_cargo-gpu-doctor"));
        let settings = Settings { limit, program: Some(program), ..Settings::default() };
        let targets: Vec<Dotted> = targets.iter().map(|target| target.parse().unwrap()).collect();
        compile(&host, &facts, &settings, &targets)
    }

    fn compile(&self, targets: &[&str]) -> Compilation {
        // Where many work at once a compiler takes long.
        self.compile_within(targets, Duration::from_mins(10))
    }
}

/// The wheels at another place, but for one file.
fn copy_without(site: &Path, to: &Path, gone: &str) {
    let status = Command::new("cp").arg("-al").arg(site).arg(to).status().unwrap();
    assert!(status.success());
    if !gone.is_empty() {
        std::fs::remove_file(to.join("nvidia/cu13").join(gone)).unwrap();
    }
}

fn good(compilation: &Compilation) -> Vec<&Compiled> {
    compilation.results.iter().map(|result| result.as_ref().unwrap_or_else(|failure| panic!("{failure:?}"))).collect()
}

fn failures(compilation: &Compilation, route: Route) -> Vec<&CompileFailure> {
    compilation.results.iter().filter_map(|result| result.as_ref().err()).filter(|it| it.route == route).collect()
}

#[test]
fn every_route_makes_both_kinds_of_code_and_a_second_run_starts_no_compiler() {
    let name = "every_route_makes_both_kinds_of_code_and_a_second_run_starts_no_compiler";
    let Some(site) = installed(name) else { return };
    let bench = Bench::new(&site);
    let first = bench.compile(&["9.0"]);
    let kinds: Vec<(Route, &str, bool)> =
        good(&first).iter().map(|it| (it.route, it.arch.as_str(), matches!(it.code, Code::Cubin(_)))).collect();
    assert_eq!(
        kinds,
        [
            (Route::Nvcc, "sm_90", true),
            (Route::Nvcc, "compute_90", false),
            (Route::Nvrtc, "sm_90", true),
            (Route::Nvrtc, "compute_90", false),
        ]
    );
    // nvcc, NVRTC, and the compiler that cc looks at.
    assert_eq!((first.started, &first.troubles[..]), (3, &[][..]));
    for made in good(&first) {
        assert!(made.generation && !made.cached && made.ms > 0.0);
        assert!(made.toolkit.as_ref().is_some_and(|version| version.starts_with("13.")), "{:?}", made.toolkit);
        match &made.code {
            Code::Cubin(bytes) => assert!(bytes.starts_with(b"\x7fELF")),
            Code::Ptx(text) => {
                let text = String::from_utf8(text.clone()).unwrap();
                assert!(
                    text.contains(&format!(".entry {ENTRY}(")) && text.contains(&format!(".entry {GENERATION_ENTRY}("))
                );
                assert!(text.contains("redux.sync") && text.contains("cp.async") && text.contains("mapa"));
            }
        }
    }
    let second = bench.compile(&["9.0"]);
    assert_eq!(second.started, 0);
    assert!(good(&second).iter().zip(good(&first)).all(|(new, old)| new.cached && new.code == old.code));
    // Nothing is left behind.
    assert_eq!(std::fs::read_dir(bench.path("temporary files")).unwrap().count(), 0);
    assert!(wipe_cache(&Host::here_with(bench.env.clone()).unwrap()).unwrap() >= 3);
    let third = bench.compile(&["2.0"]);
    for route in [Route::Nvcc, Route::Nvrtc] {
        assert_eq!(failures(&third, route)[0].cause, Cause::ArchitectureUnknown, "{third:?}");
    }
    ran(name);
}

#[test]
fn what_compilers_make_of_both_kernels_computes_the_right_numbers() {
    let name = "what_compilers_make_of_both_kernels_computes_the_right_numbers";
    let Some(site) = installed(name) else { return };
    let bench = Bench::new(&site);
    // Each generation that generation.cu knows, and one behind them.
    let targets = ["7.5", "8.0", "9.0", "12.0"];
    let made = bench.compile(&targets);
    let (blocks, count) = grid(2);
    let input = input(count);
    let fault = |module: &str, entry: &str, seeds: std::ops::Range<u64>| {
        let (out, total) = if entry == ENTRY { reference(&input) } else { generation_reference(&input) };
        let want = Ok((out.into_iter().map(Some).collect(), total));
        let kernel = ptx::Kernel::read(module, entry).unwrap();
        seeds.into_iter().map(|seed| kernel.launch(blocks as usize, &input, 0, seed)).find(|numbers| *numbers != want)
    };
    let mut held = 0;
    for compiled in good(&made) {
        let Code::Ptx(module) = &compiled.code else { continue };
        let module = String::from_utf8_lossy(module);
        for entry in [ENTRY, GENERATION_ENTRY] {
            assert_eq!(fault(&module, entry, 0..4), None, "{entry}, {:?} {}", compiled.route, compiled.arch);
            held += 1;
        }
        // What the newest generation adds is needed: without it the numbers are wrong, or threads read what is not there.
        let waits = ["cp.async.wait_all;", "barrier.cluster.arrive;\n\tbarrier.cluster.wait;"];
        for (wait, which) in [(waits[0], 0), (waits[1], 0), (waits[1], 1)] {
            let Some((at, _)) = module.match_indices(wait).nth(which) else { continue };
            let without = format!("{}{}", &module[..at], &module[at + wait.len()..]);
            assert!(fault(&without, GENERATION_ENTRY, 0..8).is_some(), "{wait} {which} of {}", compiled.arch);
            held += 1;
        }
    }
    // Two kernels by two compilers for each; copies that are waited for from 8.0 on, clusters from 9.0 on.
    assert_eq!(held, 4 * 2 * 2 + 3 * 2 + 2 * 2 * 2);
    ran(name);
}

#[test]
fn what_compilers_make_is_loaded_and_launched_beside_the_embedded_kernel() {
    let name = "what_compilers_make_is_loaded_and_launched_beside_the_embedded_kernel";
    let Some(site) = installed(name) else { return };
    let bench = Bench::new(&site);
    standin::build(bench.folder.path(), "cuda.c", "libcuda.so.1", &[]);
    let doctor = |more: &[&str], cuda: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_cargo-gpu-doctor"))
            .args(["kernel", "--format", "json", "--timings", "--probe-timeout", "300", "--compile-timeout", "600"])
            .arg("--stand-in")
            .arg(bench.folder.path())
            .args(more)
            .env_clear()
            .envs(&bench.env)
            .env("CUDA_HOME", site.join("nvidia/cu13"))
            .env("STANDIN_CUDA", cuda)
            // What a compiler makes where no file tells of a GPU is for this one.
            .env("STANDIN_CC", "7.5")
            .current_dir(bench.folder.path())
            .output()
            .unwrap();
        let report: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        (report, output.status.code())
    };
    let runs = |report: &Value| -> Vec<String> {
        let runs = report["facts"]["observed"]["runs"].as_array().unwrap().iter();
        runs.map(|run| {
            let failed = run["failure"]["cause"].as_str().unwrap_or("ok");
            format!("{} {} {failed}", run["route"].as_str().unwrap(), run["arch"].as_str().unwrap())
        })
        .collect()
    };
    let (report, code) = doctor(&[], "13000");
    let all = ["ptx compute_30 ok", "nvcc sm_75 ok", "nvcc compute_75 ok", "nvrtc sm_75 ok", "nvrtc compute_75 ok"];
    assert_eq!(runs(&report), all, "{:#}", report["facts"]["observed"]);
    assert_eq!((code, &report["timings_ms"]["kernel.compilers_started"]), (Some(0), &json!(3.0)));
    // All is kept; PTX of a newer toolkit is no fault where its machine code runs.
    let (report, code) = doctor(&[], "12040");
    let newer = all.map(|run| match run {
        "nvcc compute_75 ok" => "nvcc compute_75 ptx-newer-than-driver",
        "nvrtc compute_75 ok" => "nvrtc compute_75 ptx-newer-than-driver",
        run => run,
    });
    assert_eq!(runs(&report), newer);
    assert_eq!((code, &report["timings_ms"]["kernel.compilers_started"]), (Some(0), &json!(0.0)));
    let levels = report["findings"].as_array().unwrap().iter().filter(|it| it["rule"] == "kernel-load-failed");
    assert!(levels.clone().count() == 2 && levels.clone().all(|it| it["level"] == "note"), "{:#}", report["findings"]);
    // Forgotten: compiled again.
    let (report, _) = doctor(&["--wipe-cache"], "13000");
    assert_eq!(report["timings_ms"]["kernel.compilers_started"], json!(3.0));
    ran(name);
}

#[test]
fn paths_with_blanks_and_no_target() {
    let name = "paths_with_blanks_and_no_target";
    let Some(site) = installed(name) else { return };
    let mut bench = Bench::new(&site);
    let here = bench.path("with a blank");
    copy_without(&site, &here, "");
    bench.site = here;
    let made = bench.compile(&[]);
    assert_eq!(good(&made).len(), 4);
    for made in good(&made) {
        let number: u32 = made.arch.rsplit('_').next().unwrap().parse().unwrap();
        assert!(number >= 75, "{}", made.arch);
    }
    ran(name);
}

#[test]
fn a_path_that_a_shell_reads_otherwise_is_named() {
    let name = "a_path_that_a_shell_reads_otherwise_is_named";
    let Some(site) = installed(name) else { return };
    for odd in ["a$HOME", "a\"b", "a`id`b"] {
        let mut bench = Bench::new(&site);
        let here = bench.path(odd);
        copy_without(&site, &here, "lib/libnvrtc.so.13");
        bench.site.clone_from(&here);
        let compilation = bench.compile(&["9.0"]);
        assert_eq!(failures(&compilation, Route::Nvcc)[0].cause, Cause::PathUnsupported, "{compilation:?}");
        // A link elsewhere helps.
        let link = bench.path("link");
        std::os::unix::fs::symlink(&here, &link).unwrap();
        bench.site = link;
        assert_eq!(good(&bench.compile(&["9.0"])).len(), 2);
    }
    // What else is odd does no harm, there and in the places for temporary files and for what is kept.
    let mut bench = Bench::new(&site);
    let odd = "a'b;c&d(e)\\f#g%h*i\nj é";
    let here = bench.path(odd);
    copy_without(&site, &here, "lib/libnvrtc.so.13");
    bench.site = here;
    for (variable, odd) in [("TMPDIR", "t $HOME\"`id`"), ("XDG_CACHE_HOME", "c $HOME\"`id`")] {
        let path = bench.path(odd);
        std::fs::create_dir(&path).unwrap();
        bench.set(variable, path);
    }
    assert_eq!(good(&bench.compile(&["9.0"])).len(), 2);
    assert_eq!(bench.compile(&["9.0"]).started, 0);
    ran(name);
}

#[test]
fn a_missing_part_is_named() {
    let name = "a_missing_part_is_named";
    let Some(site) = installed(name) else { return };
    let builtins = std::fs::read_dir(site.join("nvidia/cu13/lib")).unwrap().map(|it| it.unwrap().file_name());
    let builtins = builtins.map(|it| it.into_string().unwrap()).find(|it| it.starts_with("libnvrtc-builtins")).unwrap();
    let cases = [
        ("nvvm/bin/cicc", Route::Nvcc, Stage::Compile, Cause::PartMissing, "cicc"),
        ("bin/ptxas", Route::Nvcc, Stage::Assemble, Cause::PartMissing, "ptxas"),
        ("include/cuda_runtime.h", Route::Nvcc, Stage::Preprocess, Cause::HeaderMissing, "cuda_runtime.h"),
        (&format!("lib/{builtins}"), Route::Nvrtc, Stage::Compile, Cause::PartMissing, "libnvrtc-builtins"),
    ];
    for (gone, route, stage, cause, says) in cases {
        let mut bench = Bench::new(&site);
        let here = bench.path("site-packages");
        copy_without(&site, &here, gone);
        // The other route has nothing to do with it.
        let other = if route == Route::Nvcc { "lib/libnvrtc.so.13" } else { "bin/nvcc" };
        std::fs::remove_file(here.join("nvidia/cu13").join(other)).unwrap();
        bench.site = here;
        let compilation = bench.compile(&["9.0"]);
        let failure = failures(&compilation, route)[0];
        assert_eq!((failure.stage, failure.cause), (stage, cause), "{failure:?}");
        assert!(failure.message.contains(says), "{failure:?}");
        assert!(compilation.results.len() == 1 && failure.toolkit.as_deref().is_none_or(|it| it.starts_with("13.")));
    }
    ran(name);
}

#[test]
fn a_part_that_vanishes_is_missed_though_all_was_kept() {
    let name = "a_part_that_vanishes_is_missed_though_all_was_kept";
    let Some(site) = installed(name) else { return };
    let mut bench = Bench::new(&site);
    let here = bench.path("site-packages");
    copy_without(&site, &here, "");
    std::fs::remove_file(here.join("nvidia/cu13/lib/libnvrtc.so.13")).unwrap();
    bench.site.clone_from(&here);
    assert_eq!(good(&bench.compile(&["9.0"])).len(), 2);
    std::fs::remove_file(here.join("nvidia/cu13/include/cuda_runtime.h")).unwrap();
    let compilation = bench.compile(&["9.0"]);
    assert_eq!(failures(&compilation, Route::Nvcc)[0].cause, Cause::HeaderMissing, "{compilation:?}");
    ran(name);
}

#[test]
fn a_host_compiler_that_nvcc_does_not_take_is_named() {
    let name = "a_host_compiler_that_nvcc_does_not_take_is_named";
    let Some(site) = installed(name) else { return };
    let mut bench = Bench::new(&site);
    let newer = bench.path("g++");
    std::fs::write(&newer, "#!/bin/sh\nexec c++ -U__GNUC__ -D__GNUC__=99 \"$@\"\n").unwrap();
    std::fs::set_permissions(&newer, std::fs::Permissions::from_mode(0o755)).unwrap();
    bench.set("CXX", &newer);
    let compilation = bench.compile(&["9.0"]);
    let failure = failures(&compilation, Route::Nvcc)[0];
    assert_eq!((failure.stage, failure.cause), (Stage::Preprocess, Cause::HostCompilerUnsupported), "{failure:?}");
    assert!(failure.message.contains("unsupported GNU version"), "{failure:?}");
    assert_eq!(failure.host_compiler.as_deref(), Some(&*newer.to_string_lossy()));
    assert!(failures(&compilation, Route::Nvrtc).is_empty(), "NVRTC needs no host compiler");
    // The one that NVCC_CCBIN names is tried beside it, and one that is not there is told as such.
    bench.set("CXX", "/nonexistent/c++");
    bench.set("NVCC_CCBIN", "g++");
    let compilation = bench.compile(&["9.0"]);
    let failure = failures(&compilation, Route::Nvcc)[0];
    assert_eq!(failure.cause, Cause::HostCompilerMissing, "{compilation:?}");
    let by_variable: Vec<_> = compilation.results.iter().filter_map(|it| it.as_ref().ok()).collect();
    assert!(by_variable.iter().any(|it| it.host_compiler.as_deref() == Some("g++")), "{compilation:?}");
    ran(name);
}

#[test]
fn a_cache_or_a_temporary_folder_that_cannot_be_used_is_told() {
    let name = "a_cache_or_a_temporary_folder_that_cannot_be_used_is_told";
    let Some(site) = installed(name) else { return };
    let mut bench = Bench::new(&site);
    std::fs::write(bench.path("file"), "").unwrap();
    bench.set("XDG_CACHE_HOME", bench.path("file"));
    let made = bench.compile(&["9.0"]);
    assert_eq!((good(&made).len(), made.troubles.len()), (4, 1), "{made:?}");
    // A path of its own: on some machines /nonexistent is there.
    bench.set("TMPDIR", bench.path("not there"));
    let compilation = bench.compile(&["8.0"]);
    let failure = failures(&compilation, Route::Nvcc)[0];
    assert_eq!((failure.stage, failure.cause), (Stage::Start, Cause::NoTemporarySpace), "{failure:?}");
    // A disk on which nothing more fits.
    let disk = bench.path("disk");
    std::fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=100k", "tmpfs"]).arg(&disk).status();
    if mounted.is_ok_and(|status| status.success()) {
        bench.set("TMPDIR", &disk);
        let compilation = bench.compile(&["8.6"]);
        Command::new("umount").arg(&disk).status().unwrap();
        let failure = failures(&compilation, Route::Nvcc)[0];
        assert_eq!(failure.cause, Cause::NoTemporarySpace, "{failure:?}");
    } else {
        let _ = writeln!(std::io::stderr(), "NOT RUN: the full disk of {name}: mounting is not allowed here");
    }
    ran(name);
}

#[test]
fn a_compiler_that_takes_too_long_is_ended() {
    let name = "a_compiler_that_takes_too_long_is_ended";
    let Some(site) = installed(name) else { return };
    let mut bench = Bench::new(&site);
    let here = bench.path("site-packages");
    std::fs::create_dir_all(here.join("nvidia/cu13/bin")).unwrap();
    let slow = here.join("nvidia/cu13/bin/nvcc");
    std::fs::write(&slow, "#!/bin/sh\nsleep 600\n").unwrap();
    std::fs::set_permissions(&slow, std::fs::Permissions::from_mode(0o755)).unwrap();
    bench.site = here;
    let compilation = bench.compile_within(&["9.0"], Duration::from_secs(2));
    assert_eq!(failures(&compilation, Route::Nvcc)[0].cause, Cause::TimedOut, "{compilation:?}");
    ran(name);
}

#[test]
fn real_assemblers_take_the_embedded_kernel() {
    let name = "real_assemblers_take_the_embedded_kernel";
    let Some(site) = installed(name) else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("smoke.ptx"), PTX).unwrap();
    let ptxas = site.join("nvidia/cu13/bin/ptxas");
    let run = |args: &[&str]| Command::new(&ptxas).args(args).current_dir(folder.path()).output().unwrap();
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    let allowed = help.split("--gpu-name <gpu name>").nth(1).unwrap().split("Allowed values").nth(1).unwrap();
    let allowed = allowed.split("\n--").next().unwrap();
    let words = allowed.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let names: Vec<&str> = words.filter(|word| word.starts_with("sm_")).collect();
    assert!(names.len() > 5, "{help}");
    for arch in names {
        let output = run(&["-arch", arch, "smoke.ptx", "-o", "smoke.cubin"]);
        assert!(output.status.success(), "{arch}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(std::fs::read(folder.path().join("smoke.cubin")).unwrap().starts_with(b"\x7fELF"));
    }
    ran(name);
}
