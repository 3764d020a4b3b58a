//! Computes with stand-ins for cuBLAS and cuDNN in an environment's own folders, and lets them fail in every way asked for.

#![expect(clippy::unwrap_used, reason = "a test that cannot lay its files out has to stop")]
#![expect(
    clippy::disallowed_methods,
    reason = "tests build libraries and run the program; the fence is for the product"
)]

#[path = "support/elf.rs"]
#[expect(clippy::cast_possible_truncation, reason = "ELF's own names; small sizes written by this test")]
#[expect(clippy::many_single_char_names, reason = "two texts walked side by side")]
mod elf;
#[path = "support/machine.rs"]
#[expect(clippy::format_push_string, clippy::format_collect, reason = "short texts")]
#[expect(dead_code, reason = "the tests of the machines need the rest")]
mod machine;
#[path = "support/packages.rs"]
mod packages;
#[path = "support/standin.rs"]
mod standin;

use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

/// An environment with TensorFlow whose cuBLAS and cuDNN are stand-ins, and a driver that is one.
struct Machine {
    built: machine::Built,
    driver: tempfile::TempDir,
}

impl Machine {
    /// `part`: the release of cuDNN's part beside a door of 9.28.0; none where it is gone.
    fn new(part: Option<u32>) -> Self {
        let description = machine::all().into_iter().find(|machine| machine.name == "wheels").unwrap();
        let machine = Self { built: machine::build(&description), driver: tempfile::tempdir().unwrap() };
        standin::build(machine.driver.path(), "cuda.c", "libcuda.so.1", &[]);
        let (cublas, cudnn) = (machine.lib("cublas"), machine.lib("cudnn"));
        // The shells that the description lays out are no libraries that a loader takes.
        for folder in [&cublas, &cudnn] {
            for entry in std::fs::read_dir(folder).unwrap() {
                std::fs::remove_file(entry.unwrap().path()).unwrap();
            }
        }
        standin::build(&cublas, "cublas.c", "libcublas.so.12", &[]);
        standin::build(&cudnn, "cudnn.c", "libcudnn.so.9", &["-Wl,-rpath,$ORIGIN", "-ldl"]);
        if let Some(release) = part {
            standin::build(&cudnn, "cudnn.c", "libcudnn_ops.so.9", &["-DPART", &format!("-DRELEASE={release}")]);
        }
        machine
    }

    fn env(&self) -> PathBuf {
        self.built.root().join("srv/app/.venv")
    }

    fn lib(&self, package: &str) -> PathBuf {
        self.env().join("lib/python3.11/site-packages/nvidia").join(package).join("lib")
    }

    fn report(&self, more: &[&str], variables: &[(&str, &str)]) -> Value {
        let env = self.env();
        let driver = self.driver.path().to_str().unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_cargo-gpu-doctor"))
            .args(["check", "--format", "json", "--stand-in", driver, "--python", env.to_str().unwrap()])
            .args(more)
            .env_clear()
            .env("HOME", "/nonexistent")
            .env("PATH", "/nonexistent")
            .envs(variables.iter().copied())
            .current_dir(self.built.root())
            .output()
            .unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn libraries(report: &Value) -> &[Value] {
    list(&report["facts"]["observed"]["libraries"])
}

fn findings(report: &Value) -> Vec<(&str, &str)> {
    let ours = list(&report["findings"]).iter().filter(|finding| finding["rule"] == "library-computation-failed");
    ours.map(|finding| (finding["level"].as_str().unwrap(), finding["title"].as_str().unwrap())).collect()
}

#[test]
fn the_files_of_the_environment_compute() {
    let machine = Machine::new(Some(92_800));
    let report = machine.report(&[], &[]);
    let [cublas, cudnn] = libraries(&report) else { panic!("{:#}", report["facts"]["observed"]) };
    for (work, name, version, package) in [(cublas, "cublas", "12.9.1", "cublas"), (cudnn, "cudnn", "9.28.0", "cudnn")]
    {
        assert_eq!(
            (&work["library"], &work["version"], &work["cudart"]),
            (&json!(name), &json!(version), &json!("12.9"))
        );
        let file = std::fs::canonicalize(work["path"].as_str().unwrap()).unwrap();
        assert!(file.starts_with(std::fs::canonicalize(machine.lib(package)).unwrap()), "{work}");
        assert_eq!((&work["envs"], &work["failure"]), (&json!([0]), &Value::Null));
        assert_eq!(work["runs"][0]["failure"], Value::Null, "{work}");
        for stage in ["context", "handle", "memory", "compute", "verify"] {
            assert!(work["runs"][0]["ms"][stage].as_f64().is_some(), "{stage}: {work}");
        }
    }
    // What cuDNN opened by itself shows, and what TensorFlow would have loaded before it was there.
    let mapped: Vec<&str> = list(&cudnn["mapped"]).iter().filter_map(Value::as_str).collect();
    for (package, name) in [("cudnn", "libcudnn_ops.so.9"), ("cublas", "libcublas.so.12")] {
        let file = std::fs::canonicalize(machine.lib(package).join(name)).unwrap();
        assert!(mapped.contains(&file.to_str().unwrap()), "{name}: {mapped:?}");
    }
    assert_eq!(findings(&report), []);
    assert_ne!(report["verdicts"]["environments"][0]["tensorflow"]["runs_on_gpu"], "no");
}

#[test]
fn each_failure_has_its_cause_and_breaks_the_environment() {
    let whole = Machine::new(Some(92_800));
    let mixed = Machine::new(Some(92_700));
    let gone = Machine::new(None);
    for (machine, variable, which, stage, cause, title) in [
        (
            &whole,
            ("STANDIN_FAIL", "cublasCreate=1"),
            "cublas",
            "handle",
            "other",
            "cuBLAS 12.9.1 does not compute on GPU 0: cublasCreate_v2 gives 1, CUBLAS_STATUS_NOT_INITIALIZED",
        ),
        (
            &whole,
            ("STANDIN_FAIL", "cublasSgemm=8"),
            "cublas",
            "launch",
            "no-binary-for-gpu",
            "cuBLAS 12.9.1 does not compute on GPU 0: cublasSgemm_v2 gives 8",
        ),
        (
            &whole,
            ("STANDIN_WRONG", "product"),
            "cublas",
            "verify",
            "wrong-result",
            "cuBLAS 12.9.1 computes wrong numbers on GPU 0",
        ),
        (
            &whole,
            ("STANDIN_FAIL", "cudnnConvolutionForward=crash"),
            "cudnn",
            "launch",
            "crashed",
            "cuDNN 9.28.0 crashes on GPU 0",
        ),
        (
            &whole,
            ("STANDIN_FAIL", "cudnnConvolutionForward=5000"),
            "cudnn",
            "launch",
            "kernel-fault",
            "cuDNN 9.28.0 does not compute on GPU 0: cudnnConvolutionForward gives 5000",
        ),
        (
            &mixed,
            ("A", ""),
            "cudnn",
            "handle",
            "parts-mixed",
            "cuDNN 9.28.0 does not compute on GPU 0: cudnnCreate gives 1002, CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH: said by the stand-in",
        ),
        (&gone, ("A", ""), "cudnn", "handle", "crashed", "cuDNN 9.28.0 crashes on GPU 0"),
    ] {
        let report = machine.report(&[], &[variable]);
        let work = libraries(&report).iter().find(|work| work["library"] == which).unwrap();
        let failure = &work["runs"][0]["failure"];
        assert_eq!((&failure["stage"], &failure["cause"]), (&json!(stage), &json!(cause)), "{variable:?}: {work}");
        let found = findings(&report);
        assert_eq!(found.len(), 1, "{variable:?}: {found:?}");
        assert!(found[0].0 == "deny" && found[0].1.starts_with(title), "{variable:?}: {found:?}");
        let tensorflow = &report["verdicts"]["environments"][0]["tensorflow"];
        assert_eq!(tensorflow["runs_on_gpu"], "no", "{variable:?}: {tensorflow}");
        // The other library was asked in a process of its own.
        let other = libraries(&report).iter().find(|work| work["library"] != which).unwrap();
        assert_eq!(other["runs"][0]["failure"], Value::Null, "{variable:?}: {other}");
    }
}

#[test]
fn what_passes_breaks_nothing() {
    let machine = Machine::new(Some(92_800));
    for (fail, cause, more) in [
        ("cublasCreate=3", "out-of-memory", &[][..]),
        ("cublasSgemm=hang", "timed-out", &["--probe-timeout", "1", "--compile-timeout", "1"]),
    ] {
        let report = machine.report(more, &[("STANDIN_FAIL", fail)]);
        assert_eq!(libraries(&report)[0]["runs"][0]["failure"]["cause"], cause, "{fail}");
        // One that hangs is the last that is asked.
        assert_eq!(libraries(&report).len(), if cause == "timed-out" { 1 } else { 2 }, "{fail}");
        assert!(matches!(findings(&report)[..], [("warn", _)]), "{fail}: {:?}", findings(&report));
        assert_ne!(report["verdicts"]["environments"][0]["tensorflow"]["runs_on_gpu"], "no", "{fail}");
    }
}

#[test]
fn a_gpu_on_which_it_fails_hides_no_other() {
    let machine = Machine::new(Some(92_800));
    let variables =
        [("STANDIN_DEVICES", "2"), ("STANDIN_CC", "6.0,9.0"), ("STANDIN_FAIL", "cuDevicePrimaryCtxRetain@0=999")];
    let report = machine.report(&[], &variables);
    for work in libraries(&report) {
        let runs: Vec<(&Value, bool)> =
            list(&work["runs"]).iter().map(|run| (&run["gpu"], run["failure"].is_null())).collect();
        assert_eq!(runs, [(&json!(0), false), (&json!(1), true)], "{work}");
    }
    assert!(matches!(findings(&report)[..], [("warn", _), ("warn", _)]), "{:?}", findings(&report));
}

#[test]
fn a_full_gpu_is_no_fault_of_the_library() {
    let machine = Machine::new(Some(92_800));
    let report = machine.report(&[], &[("STANDIN_FAIL", "cublasCreate=1"), ("STANDIN_FREE", "300")]);
    let failure = &libraries(&report)[0]["runs"][0]["failure"];
    assert_eq!(failure["cause"], "out-of-memory", "{failure}");
    assert!(failure["says"].as_str().unwrap().contains("300 MiB of the GPU's memory are free"), "{failure}");
    assert!(matches!(findings(&report)[..], [("warn", _)]), "{:?}", findings(&report));
}

#[test]
fn nothing_is_asked_where_the_kernel_does_not_run() {
    let machine = Machine::new(Some(92_800));
    for fail in ["cuInit=803", "cuLaunchKernel=719"] {
        let report = machine.report(&[], &[("STANDIN_FAIL", fail)]);
        assert_eq!(libraries(&report), &[] as &[Value], "{fail}");
    }
    assert_eq!(libraries(&machine.report(&["--launch", "never"], &[])), &[] as &[Value]);
}
