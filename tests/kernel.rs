//! Launches the test kernel on a stand-in for the driver that computes, and that fails in every way asked for.

#![expect(clippy::unwrap_used, reason = "a test that cannot lay its files out has to stop")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests build libraries and run the program; the fence is for the product"
)]

#[path = "support/standin.rs"]
mod standin;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use gpu_doctor::facts::{Cause, Facts, Observed, PciDevice, Probed, Toolkit};
use gpu_doctor::host::Host;
use gpu_doctor::kernel::{self, Settings};
use gpu_doctor::options::{Launch, Options};
use gpu_doctor::probe::child::driver::{Ask, Image, Part};
use gpu_doctor::probe::child::{Child, Question, ask};
use gpu_doctor::probe::observed;
use serde_json::{Value, json};

/// Folders with stand-ins: both libraries, libcuda alone, one without contexts, and one that leaves a mark.
struct StandIns {
    folder: tempfile::TempDir,
}

impl StandIns {
    fn get() -> &'static Self {
        static ALL: OnceLock<StandIns> = OnceLock::new();
        ALL.get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            for (name, arguments, nvml) in
                [("both", &[][..], true), ("alone", &[], false), ("lacking", &["-DWITHOUT_CONTEXTS"], false)]
            {
                let into = folder.path().join(name);
                std::fs::create_dir(&into).unwrap();
                standin::build(&into, "cuda.c", "libcuda.so.1", arguments);
                if nvml {
                    standin::build(&into, "nvml.c", "libnvidia-ml.so.1", &[]);
                }
            }
            std::fs::create_dir(folder.path().join("text")).unwrap();
            std::fs::write(folder.path().join("text/libcuda.so.1"), "no library").unwrap();
            StandIns { folder }
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// The program in an empty folder, with no variable of the tester's.
fn doctor(cwd: &Path, args: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cargo-gpu-doctor"))
        .args(args)
        .env_clear()
        .env("HOME", "/nonexistent")
        .env("PATH", "/nonexistent")
        .envs(variables.iter().copied())
        .current_dir(cwd)
        .output()
        .unwrap()
}

/// How the program is asked as a child.
fn child(limit: Duration) -> Child {
    Child { program: env!("CARGO_BIN_EXE_cargo-gpu-doctor").into(), ..Child::this(limit) }
}

/// What is observed where the bus has so many GPUs, an nvcc hangs and a child may be silent for three seconds; how long
/// that takes.
fn observe(gpus: u32, variables: &[(&str, &str)]) -> (Observed, Duration) {
    let folder = tempfile::tempdir().unwrap();
    let nvcc = folder.path().join("bin/nvcc");
    std::fs::create_dir(folder.path().join("bin")).unwrap();
    std::fs::write(&nvcc, "#!/bin/sh\nsleep 300\n").unwrap();
    std::fs::set_permissions(&nvcc, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let toolkit = Toolkit { real: text(folder.path()), nvcc: Some(text(&nvcc)), ..Toolkit::default() };
    let pci = |at: u32| PciDevice {
        address: format!("0000:{:02x}:00.0", at + 1),
        vendor: "0x10de".to_owned(),
        device: "0x2330".to_owned(),
        class: "0x030200".to_owned(),
        ..PciDevice::default()
    };
    let facts = Facts { pci: (0..gpus).map(pci).collect(), toolkits: vec![toolkit], ..Facts::default() };
    let devices = ("STANDIN_DEVICES", gpus.to_string());
    let path = ("PATH", "/usr/bin:/bin".to_owned());
    let home = ("TMPDIR", text(folder.path()));
    let env =
        [devices, path, home].into_iter().chain(variables.iter().map(|(name, value)| (*name, (*value).to_owned())));
    let host = Host::here_with(env.map(|(name, value)| (name.to_owned(), value)).collect()).unwrap();
    let child = child(Duration::from_secs(3));
    let compile = Settings { program: Some(child.program.clone()), ..Settings::default() };
    let stand_in = Some(StandIns::get().path("both"));
    let options = Options { child: Some(child), launch: Launch::Asked, stand_in, compile, ..Options::default() };
    let begin = Instant::now();
    let observed = observed::probe(&host, &options, &facts).unwrap();
    (observed, begin.elapsed())
}

#[test]
fn whatever_hangs_the_check_ends_a_second_after_the_limit() {
    for (gpus, fail, nvml) in
        [(8, "cuInit=hang", "0"), (8, "cuInit=hang", "hang"), (2, "cuModuleLoadData@1=hang", "hang")]
    {
        let (observed, took) = observe(gpus, &[("STANDIN_FAIL", fail), ("STANDIN_NVML", nvml)]);
        // Seven seconds of patience, and a compiler with a minute: a busy machine is slower, but not by that.
        assert!(took < Duration::from_secs(7), "{gpus} {fail} {nvml}: {took:?}");
        let run = observed.runs.iter().find_map(|run| run.failure.as_ref());
        let failed = run.or(observed.driver.value().and_then(|driver| driver.failure.as_ref())).unwrap();
        assert_eq!(failed.cause, Cause::TimedOut, "{failed:?}");
        assert_eq!(matches!(observed.nvml, Probed::Found { .. }), nvml == "0", "{:?}", observed.nvml);
        // A compiler that was ended for that has not failed.
        assert!(observed.compiles.is_empty(), "{:?}", observed.compiles);
        assert!(observed.troubles.iter().any(|trouble| trouble.at == "the compilers"));
    }
}

#[test]
fn many_gpus_may_start_slowly_as_long_as_the_driver_works() {
    // NVML may have to wait for the same GPUs.
    let slow = [("STANDIN_FAIL", "cuInit=5000busy"), ("STANDIN_NVML", "5000ms")];
    let (observed, _) = observe(8, &[slow[0], slow[1], ("PATH", "/nonexistent")]);
    assert_eq!(observed.driver.value().unwrap().failure, None);
    assert_eq!(observed.nvml.value().unwrap().gpus.len(), 8);
    assert!(observed.works());
    // One GPU has no such patience, and one that stands still has none however many there are.
    for (gpus, fail) in [(1, "cuInit=5000busy"), (8, "cuInit=5000ms")] {
        let (observed, took) = observe(gpus, &[("STANDIN_FAIL", fail), ("STANDIN_NVML", "5000ms")]);
        let failed = observed.driver.value().unwrap().failure.clone().unwrap();
        assert!(failed.cause == Cause::TimedOut && took < Duration::from_secs(7), "{fail}: {took:?}, {failed:?}");
    }
}

/// The report on a stand-in; its children get all the time that they want, unless `more` says otherwise.
fn report_of(stand_in: &str, more: &[&str], variables: &[(&str, &str)]) -> (Value, Option<i32>) {
    let cwd = tempfile::tempdir().unwrap();
    let folder = StandIns::get().path(stand_in);
    let mut args = vec!["check", "--stand-in", folder.to_str().unwrap(), "--format", "json"];
    if !more.contains(&"--probe-timeout") {
        args.extend(["--probe-timeout", "300"]);
    }
    args.extend(more);
    let output = doctor(cwd.path(), &args, variables);
    let report = serde_json::from_slice(&output.stdout);
    (report.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr))), output.status.code())
}

fn report(variables: &[(&str, &str)]) -> Value {
    report_of("both", &[], variables).0
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// GPU, route and outcome of the embedded kernel.
fn outcomes(report: &Value) -> Vec<(u64, &str)> {
    let runs = list(&report["verdicts"]["kernel"]).iter().filter(|run| run["route"] == "ptx");
    runs.map(|run| (run["gpu"].as_u64().unwrap(), run["outcome"].as_str().unwrap())).collect()
}

/// Rule and title of what was found about the driver and the kernel.
fn findings(report: &Value) -> Vec<(&str, &str)> {
    list(&report["findings"])
        .iter()
        .map(|finding| (finding["rule"].as_str().unwrap(), finding["title"].as_str().unwrap()))
        .filter(|(rule, _)| !["gpu-absent", "database-old", "driver-branch-ended"].contains(rule))
        .collect()
}

#[test]
fn a_kernel_runs_and_its_numbers_are_compared() {
    let (report, code) = report_of("both", &["--timings"], &[("STANDIN_PIDS", "2")]);
    assert_eq!(outcomes(&report), [(0, "ok")]);
    assert_eq!(code, Some(0), "{:?}", findings(&report));
    let run = &report["verdicts"]["kernel"][0];
    for stage in ["context", "load", "memory", "launch", "verify"] {
        assert!(run["ms"][stage].as_f64().unwrap() >= 0.0, "{run}");
    }
    let observed = &report["facts"]["observed"];
    let api = &observed["driver"]["value"];
    assert_eq!(api["mapped"], json!(StandIns::get().path("both").join("libcuda.so.1")));
    assert_eq!(api["cuda"], "12.4");
    let device = &api["devices"][0];
    assert_eq!((&device["name"], &device["compute"]), (&json!("Stand-in GPU 0"), &json!("9.0")));
    assert_eq!((&device["address"], &device["multiprocessors"]), (&json!("0000:01:00.0"), &json!(30)));
    assert_eq!(device["uuid"], "GPU-11111111-1111-1111-1111-111111111111");
    let nvml = &observed["nvml"]["value"];
    assert_eq!((&nvml["driver"], &nvml["cuda"]), (&json!("550.54.14"), &json!("12.4")));
    let gpu = &nvml["gpus"][0];
    assert_eq!((&gpu["address"], &gpu["uuid"], &gpu["compute"]), (&device["address"], &device["uuid"], &json!("9.0")));
    assert_eq!((&gpu["free"], &gpu["ecc"], &gpu["persistence"]), (&json!(2u64 << 30), &json!(true), &json!(true)));
    assert_eq!(gpu["remapped_rows"]["correctable"], 1);
    assert_eq!(gpu["processes"], json!([{"pid": 4242, "memory": 1u64 << 30}, {"pid": 4243, "memory": 1u64 << 30}]));
    assert!(report["timings_ms"]["probe.kernel"].as_f64().unwrap() > 0.0);
    // Files see no GPU here, and a kernel ran: what was seen wins, and the difference is told.
    assert_eq!(
        findings(&report),
        [("prediction-contradicted", "a kernel ran on GPU 0 although `gpu-absent` was foretold")]
    );
}

#[test]
fn the_second_kernel_is_launched_behind_the_first() {
    let launch = |generation: bool, wrong: &str| {
        let env = [("STANDIN_WRONG".to_owned(), wrong.to_owned())].into();
        let limit = Duration::from_mins(5);
        let child = child(limit);
        let code = kernel::PTX.as_bytes().to_vec();
        let image = Image { origin: "nvcc".to_owned(), arch: "compute_30".to_owned(), code, generation };
        let library = StandIns::get().path("both").join("libcuda.so.1").to_str().unwrap().to_owned();
        let question = Question::Driver(Ask { library, images: vec![image], ..Ask::default() });
        let reply = ask::<Part>(&Host::here_with(env).unwrap(), &child, &question, limit);
        assert_eq!(reply.failure, None);
        let ran = reply.parts.into_iter().find_map(|part| if let Part::Ran(ran) = part { Some(ran) } else { None });
        ran.unwrap()
    };
    let both = launch(true, "");
    assert_eq!(both.failure, None);
    assert!(both.ms.contains_key("generation") && both.ms.contains_key("launch"), "{:?}", both.ms);
    assert!(!launch(false, "generation").ms.contains_key("generation"));
    let failed = launch(true, "generation").failure.unwrap();
    assert_eq!(failed.cause, Cause::WrongResult);
    assert!(failed.says.starts_with("the second kernel") && failed.says.contains("1 of "), "{}", failed.says);
    // The first one is compared before the second one runs.
    assert!(!launch(true, "number").failure.unwrap().says.contains("second"));
}

#[test]
fn every_code_has_its_stage_and_cause() {
    for (fail, mode, rule, stage, cause, name) in [
        ("cuInit=34", "0", "kernel-launch-failed", "init", "stub-library", "CUDA_ERROR_STUB_LIBRARY"),
        ("cuInit=802", "0", "kernel-launch-failed", "init", "system-not-ready", "CUDA_ERROR_SYSTEM_NOT_READY"),
        ("cuInit=803", "0", "kernel-launch-failed", "init", "driver-mismatch", "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH"),
        ("cuInit=804", "0", "kernel-launch-failed", "init", "compat-unsupported", "CUDA_ERROR_COMPAT_NOT_SUPPORTED"),
        ("cuInit=12345", "0", "kernel-launch-failed", "init", "other", "cuInit gives 12345"),
        ("cuCtxCreate=2", "0", "kernel-launch-failed", "context", "out-of-memory", "CUDA_ERROR_OUT_OF_MEMORY"),
        ("cuMemAlloc=2", "0", "kernel-launch-failed", "memory", "out-of-memory", "cuMemAlloc gives 2"),
        ("cuCtxCreate=46", "3", "kernel-launch-failed", "context", "exclusive-mode", "CUDA_ERROR_DEVICE_UNAVAILABLE"),
        (
            "cuCtxCreate=46",
            "0",
            "kernel-launch-failed",
            "context",
            "device-unavailable",
            "CUDA_ERROR_DEVICE_UNAVAILABLE",
        ),
        (
            "cuModuleLoadData=209",
            "0",
            "kernel-load-failed",
            "load",
            "no-binary-for-gpu",
            "CUDA_ERROR_NO_BINARY_FOR_GPU",
        ),
        (
            "cuModuleLoadData=222",
            "0",
            "kernel-load-failed",
            "load",
            "ptx-newer-than-driver",
            "line 9; fatal : stand-in",
        ),
        ("cuModuleGetFunction=500", "0", "kernel-load-failed", "load", "other", "CUDA_ERROR_NOT_FOUND"),
        ("cuLaunchKernel=719", "0", "kernel-launch-failed", "launch", "kernel-fault", "CUDA_ERROR_LAUNCH_FAILED"),
        ("cuCtxSynchronize=702", "0", "kernel-timed-out", "launch", "timed-out", "cuCtxSynchronize gives 702"),
        ("cuMemcpyDtoH=999", "0", "kernel-launch-failed", "verify", "other", "CUDA_ERROR_UNKNOWN"),
    ] {
        let (report, code) = report_of("both", &[], &[("STANDIN_FAIL", fail), ("STANDIN_MODE", mode)]);
        let found = findings(&report);
        assert_eq!(found.len(), 1, "{fail}: {found:?}");
        assert_eq!(found[0].0, rule, "{fail}");
        assert_eq!(code, Some(100), "{fail}");
        let observed = &report["facts"]["observed"];
        let driver = &observed["driver"]["value"]["failure"];
        let failure = if driver.is_null() { &observed["runs"][0]["failure"] } else { driver };
        assert_eq!((&failure["stage"], &failure["cause"]), (&json!(stage), &json!(cause)), "{fail}");
        assert!(failure["says"].as_str().unwrap().contains(name), "{fail}: {failure}");
        let help = list(&report["findings"]).iter().find(|finding| finding["rule"] == rule).unwrap();
        assert!(!list(&help["help"]).is_empty(), "{fail}");
    }
}

#[test]
fn wrong_numbers_are_seen() {
    for (wrong, says) in
        [("number", "1 of "), ("total", "an atomic addition was lost"), ("nothing", "which the kernel did not touch")]
    {
        let (report, code) = report_of("both", &[], &[("STANDIN_WRONG", wrong)]);
        assert_eq!(findings(&report), [("kernel-wrong-result", "GPU 0: the test kernel gives wrong numbers")]);
        assert_eq!((outcomes(&report), code), (vec![(0, "wrong-result")], Some(100)));
        let failure = &report["facts"]["observed"]["runs"][0]["failure"];
        assert!(failure["says"].as_str().unwrap().contains(says), "{wrong}: {failure}");
    }
}

#[test]
fn a_driver_that_hangs_costs_one_limit_and_is_asked_nothing_more() {
    for (fail, title) in [
        ("cuInit=hang", "the driver hangs: no answer while the driver was started"),
        ("cuModuleLoadData@1=hang", "GPU 1: the driver hangs: no answer while the kernel was loaded"),
    ] {
        let start = Instant::now();
        let (report, code) = report_of(
            "both",
            &["--probe-timeout", "10"],
            &[("STANDIN_FAIL", fail), ("STANDIN_DEVICES", "3"), ("STANDIN_NVML", "hang")],
        );
        // Driver and NVML hang, two GPUs are still to come: that would be more than two limits.
        assert!(start.elapsed() < Duration::from_secs(19), "{:?}", start.elapsed());
        let found = findings(&report);
        assert_eq!((found[0], code), (("kernel-timed-out", title), Some(100)), "{found:?}");
        if fail.contains('@') {
            assert_eq!(outcomes(&report), [(0, "ok"), (1, "timed-out")]);
            let open = ("kernel-not-run", "the test kernel was not launched on GPU 2: its turn did not come");
            assert!(found.contains(&open), "{found:?}");
        }
        let nvml = report["facts"]["observed"]["nvml"]["why"].as_str().unwrap();
        assert!(nvml.contains("longer than 10 s and was ended while nvmlInit ran"), "{nvml}");
    }
}

#[test]
fn a_crash_hits_one_gpu_and_is_named() {
    let two = ("STANDIN_DEVICES", "3");
    for (fail, doing) in
        [("cuCtxCreate@1=crash", "a context was made"), ("cuModuleLoadData@1=crash", "the kernel was loaded")]
    {
        let report = report(&[two, ("STANDIN_FAIL", fail)]);
        assert_eq!(outcomes(&report), [(0, "ok"), (1, "crashed"), (2, "ok")], "{fail}");
        let title = format!("GPU 1: the driver crashes while {doing}");
        assert!(findings(&report).iter().any(|(_, known)| *known == title), "{:?}", findings(&report));
        let failure = &report["facts"]["observed"]["runs"][1]["failure"]["says"];
        assert!(failure.as_str().unwrap().starts_with("SIGSEGV ended it while cu"), "{failure}");
    }
    for (fail, says) in [("cuInit=crash", "SIGSEGV"), ("cuInit=exit", "exit code 9")] {
        let report = report(&[("STANDIN_FAIL", fail)]);
        assert_eq!(
            findings(&report),
            [("kernel-launch-failed", "the driver crashes while the driver was started")],
            "{fail}"
        );
        let failure = &report["facts"]["observed"]["driver"]["value"]["failure"]["says"];
        assert!(failure.as_str().unwrap().contains(says), "{failure}");
    }
}

#[test]
fn a_gpu_that_crashes_who_asks_it_hides_no_other() {
    let four = ("STANDIN_DEVICES", "4");
    let fail = ("STANDIN_FAIL", "cuDeviceGetName@1=crash,nvmlDeviceGetName@1=crash,cuDeviceGetName@2=exit");
    let report = report(&[four, fail]);
    assert_eq!(outcomes(&report), [(0, "ok"), (3, "ok")]);
    let observed = &report["facts"]["observed"];
    let devices = list(&observed["driver"]["value"]["devices"]);
    let failed: Vec<&Value> = devices.iter().map(|device| &device["failure"]["cause"]).collect();
    assert_eq!(failed, [&Value::Null, &json!("crashed"), &json!("crashed"), &Value::Null]);
    let gpus = list(&observed["nvml"]["value"]["gpus"]);
    let failed: Vec<bool> = gpus.iter().map(|gpu| gpu["failure"].is_string()).collect();
    assert_eq!(failed, [false, true, false, false]);
    let title = "2 GPUs cannot be asked: SIGSEGV ended it while GPU 1 was asked";
    assert!(findings(&report).contains(&("kernel-launch-failed", title)), "{:?}", findings(&report));
}

#[test]
fn a_crash_behind_a_launch_takes_no_answer_away() {
    let two = ("STANDIN_DEVICES", "2");
    for fail in ["cuCtxDestroy=crash", "cuCtxDestroy=exit"] {
        let (report, code) = report_of("both", &[], &[two, ("STANDIN_FAIL", fail)]);
        assert_eq!((outcomes(&report), code), (vec![(0, "ok"), (1, "ok")], Some(0)), "{:?}", findings(&report));
        let troubles = list(&report["facts"]["observed"]["troubles"]);
        assert!(troubles.iter().any(|it| it["why"].as_str().unwrap().contains("cuCtxDestroy ran on GPU 0")), "{fail}");
    }
}

#[test]
fn a_kernel_that_breaks_its_process_leaves_the_other_gpus() {
    let report = report(&[("STANDIN_DEVICES", "4"), ("STANDIN_FAIL", "cuLaunchKernel@1=700,cuCtxCreate@2=2")]);
    assert_eq!(outcomes(&report), [(0, "ok"), (1, "kernel-fault"), (2, "out-of-memory"), (3, "ok")]);
}

#[test]
fn a_library_that_lacks_something_says_what() {
    let (report, code) = report_of("lacking", &[], &[]);
    let found = findings(&report);
    assert_eq!((found.len(), found[0].0, code), (1, "kernel-launch-failed", Some(100)));
    assert!(found[0].1.ends_with("libcuda.so.1 has no cuCtxCreate"), "{found:?}");
    let (report, code) = report_of("text", &[], &[]);
    let failure = &report["facts"]["observed"]["driver"]["value"]["failure"];
    assert_eq!((&failure["stage"], &failure["cause"], code), (&json!("open"), &json!("library-broken"), Some(100)));
}

#[test]
fn a_device_that_vanishes_is_told() {
    let report = report(&[("STANDIN_DEVICES", "2"), ("STANDIN_FAIL", "cuDeviceGet@1=101")]);
    assert_eq!(outcomes(&report), [(0, "ok")]);
    let device = &report["facts"]["observed"]["driver"]["value"]["devices"][1];
    assert_eq!(device["failure"]["cause"], "device-lost");
    let found = findings(&report);
    assert!(found.iter().any(|(rule, title)| *rule == "kernel-launch-failed" && title.contains("cannot be asked")));
}

#[test]
fn eight_gpus_of_two_kinds_all_run_it() {
    let kinds = "8.0,8.0,8.0,8.0,9.0";
    let report = report(&[("STANDIN_DEVICES", "8"), ("STANDIN_CC", kinds)]);
    assert_eq!(outcomes(&report), (0..8).map(|gpu| (gpu, "ok")).collect::<Vec<_>>());
    let devices = list(&report["facts"]["observed"]["driver"]["value"]["devices"]);
    let compute: Vec<&str> = devices.iter().map(|device| device["compute"].as_str().unwrap()).collect();
    assert_eq!(compute, ["8.0", "8.0", "8.0", "8.0", "9.0", "9.0", "9.0", "9.0"]);
    assert_eq!(list(&report["facts"]["observed"]["nvml"]["value"]["gpus"]).len(), 8);
}

#[test]
fn only_visible_devices_are_used() {
    let two = ("STANDIN_DEVICES", "2");
    assert_eq!(outcomes(&report(&[two, ("CUDA_VISIBLE_DEVICES", "1")])), [(0, "ok")]);
    let none = report(&[two, ("CUDA_VISIBLE_DEVICES", "-1")]);
    let failure = &none["facts"]["observed"]["driver"]["value"]["failure"];
    assert_eq!((&failure["cause"], &failure["code"]), (&json!("no-device"), &json!(100)));
    assert!(outcomes(&none).is_empty());
}

#[test]
fn mig_instances_are_devices_to_programs_and_parts_to_nvml() {
    let report = report(&[("STANDIN_MIG", "1")]);
    assert_eq!(outcomes(&report), [(0, "ok")]);
    let observed = &report["facts"]["observed"];
    let uuid = observed["driver"]["value"]["devices"][0]["uuid"].as_str().unwrap();
    assert!(uuid.starts_with("MIG-"), "{uuid}");
    let gpu = &observed["nvml"]["value"]["gpus"][0];
    assert_eq!((&gpu["mig"], list(&gpu["instances"]).len()), (&json!(true), 2));
    assert_eq!(gpu["instances"][1]["uuid"], "MIG-22222222-2222-2222-2222-000000000001");
    assert!(findings(&report).iter().all(|(rule, _)| *rule == "prediction-contradicted"));
}

#[test]
fn nvml_may_be_absent_fail_or_disagree() {
    let (report, _) = report_of("alone", &[], &[]);
    assert_eq!((outcomes(&report), &report["facts"]["observed"]["nvml"]["state"]), (vec![(0, "ok")], &json!("absent")));
    for (variable, value, says) in [
        ("STANDIN_NVML", "18", "the driver answers programs, and NVML fails"),
        ("STANDIN_NVML", "crash", "the driver answers programs, and NVML fails"),
        ("STANDIN_NVML_CUDA", "12020", "the driver reports CUDA 12.4 to programs and CUDA 12.2 by NVML"),
        ("STANDIN_NVML_DEVICES", "0", "programs see 1 devices and NVML none"),
    ] {
        let (report, code) = report_of("both", &[], &[(variable, value)]);
        assert_eq!(outcomes(&report), [(0, "ok")], "{variable}");
        assert!(findings(&report).contains(&("driver-readings-disagree", says)), "{:?}", findings(&report));
        assert_eq!(code, Some(0), "{variable}: a warning");
    }
}

#[test]
fn rows_of_memory_that_could_not_be_remapped_are_told() {
    let (report, code) = report_of("both", &[], &[("STANDIN_ROWS", "failed")]);
    let found = findings(&report);
    assert!(found.contains(&("gpu-memory-failing", "rows of the memory of GPU 0 could not be remapped")), "{found:?}");
    assert_eq!((outcomes(&report), code), (vec![(0, "ok")], Some(0)));
}

#[test]
fn garbage_on_standard_output_does_no_harm() {
    let report = report(&[("STANDIN_FAIL", "cuInit=garbage")]);
    assert_eq!(outcomes(&report), [(0, "ok")]);
}

#[test]
fn recorded_facts_give_the_same_report_and_hide_ids() {
    let cwd = tempfile::tempdir().unwrap();
    let folder = StandIns::get().path("both");
    let facts = |more: &[&str]| {
        let mut args = vec!["facts", "--stand-in", folder.to_str().unwrap(), "--probe-timeout", "300"];
        args.extend(more);
        doctor(cwd.path(), &args, &[("STANDIN_FAIL", "cuLaunchKernel@1=719"), ("STANDIN_DEVICES", "2")]).stdout
    };
    let judged = |facts: &[u8]| -> Value {
        std::fs::write(cwd.path().join("facts.json"), facts).unwrap();
        let args = ["check", "--facts", "facts.json", "--format", "json"];
        serde_json::from_slice(&doctor(cwd.path(), &args, &[]).stdout).unwrap()
    };
    let direct = report(&[("STANDIN_FAIL", "cuLaunchKernel@1=719"), ("STANDIN_DEVICES", "2")]);
    let (plain, redacted) = (facts(&["--no-redact"]), facts(&[]));
    let text = String::from_utf8(redacted.clone()).unwrap();
    assert!(
        text.contains("\"observed\"") && text.contains("\"mapped\"") && !text.contains("11111111-1111-1111"),
        "{text}"
    );
    for recorded in [judged(&plain), judged(&redacted)] {
        assert_eq!(findings(&recorded), findings(&direct));
        assert_eq!(outcomes(&recorded), outcomes(&direct));
        assert_eq!(recorded["exit_code"], direct["exit_code"]);
    }
}

#[test]
fn the_command_kernel_prints_a_table() {
    let cwd = tempfile::tempdir().unwrap();
    let folder = StandIns::get().path("both");
    let args = ["kernel", "--stand-in", folder.to_str().unwrap(), "--probe-timeout", "300"];
    let output = doctor(cwd.path(), &args, &[("STANDIN_FAIL", "cuLaunchKernel@1=719"), ("STANDIN_DEVICES", "2")]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(100));
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(rows.iter().any(|row| row.starts_with(&["GPU", "route", "toolkit", "for", "compile"])), "{text}");
    assert!(rows.iter().any(|row| row.starts_with(&["0", "ptx"]) && row.ends_with(&["ok"])), "{text}");
    assert!(rows.iter().any(|row| row.starts_with(&["1", "ptx"]) && row.ends_with(&["kernel-fault"])), "{text}");
    assert!(text.contains("error[kernel-launch-failed]: GPU 1: the test kernel ends with a fault"), "{text}");
}

/// Where no driver is loaded nothing is opened, not even a library that lies where the loader finds it.
#[test]
fn nothing_is_called_where_no_driver_is_loaded() {
    if ["/sys/module/nvidia", "/proc/driver/nvidia/version", "/dev/dxg"].iter().any(|path| Path::new(path).exists()) {
        // Here the driver may be called.
        return;
    }
    let cwd = tempfile::tempdir().unwrap();
    let source = "__attribute__((constructor)) static void opened(void) { FILE *mark = fopen(\"opened\", \"w\"); if (mark) fclose(mark); }";
    std::fs::write(cwd.path().join("mark.c"), format!("#include <stdio.h>\n{source}\n")).unwrap();
    for name in ["libcuda.so.1", "libnvidia-ml.so.1"] {
        let built =
            Command::new("cc").args(["-shared", "-fPIC", "-o", name, "mark.c"]).current_dir(cwd.path()).status();
        assert!(built.unwrap().success());
    }
    let folder = cwd.path().to_str().unwrap();
    let variables = [("LD_LIBRARY_PATH", folder)];
    for (args, code) in [
        (&["check"][..], 0),
        (&["check", "--static"], 0),
        (&["kernel"], 0),
        (&["check", "--launch", "require"], 100),
        (&["kernel", "--launch", "require"], 100),
        (&["check", "--launch", "require", "--static"], 100),
        (&["facts"], 0),
    ] {
        let output = doctor(cwd.path(), args, &variables);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", String::from_utf8_lossy(&output.stdout));
        assert!(!cwd.path().join("opened").exists(), "{args:?}");
    }
    let output = doctor(cwd.path(), &["kernel", "--format", "json"], &variables);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(findings(&report), [("kernel-not-run", "the test kernel was not launched: no NVIDIA driver is loaded")]);
    // The mark works: a stand-in is opened.
    doctor(cwd.path(), &["check", "--stand-in", folder], &[]);
    assert!(cwd.path().join("opened").exists());
}
