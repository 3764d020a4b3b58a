//! What one runs on a machine with a GPU: `GPU_TEST_ENV=VENV cargo test --release --features gpu-tests --test gpu --
//! --nocapture`, `VENV` being an environment with `tensorflow[and-cuda]`.
//!
//! Nothing stands in for anything here. A machine without a working GPU fails these tests.

#![expect(clippy::unwrap_used, reason = "a test that cannot run the program has to stop")]
#![expect(clippy::disallowed_methods, reason = "tests run the program; the fence is for the product")]

use std::process::{Command, Output};
use std::time::Instant;

use serde_json::Value;

fn doctor(args: &[&str], variables: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cargo-gpu-doctor")).args(args).envs(variables.iter().copied()).output().unwrap()
}

fn report(args: &[&str], variables: &[(&str, &str)]) -> Value {
    let output = doctor(&[args, &["--format", "json", "--timings"]].concat(), variables);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn devices(report: &Value) -> &[Value] {
    list(&report["facts"]["observed"]["driver"]["value"]["devices"])
}

#[test]
fn every_route_on_every_gpu() {
    let begin = Instant::now();
    let report = report(&["kernel"], &[]);
    println!("kernel: {:?} in all; {}", begin.elapsed(), report["timings_ms"]);
    let devices = devices(&report);
    assert!(!devices.is_empty(), "{:#}", report["facts"]["observed"]);
    let runs = list(&report["verdicts"]["kernel"]);
    for run in runs {
        println!("{run}");
    }
    for device in devices {
        let by_driver = runs.iter().find(|run| run["gpu"] == device["gpu"] && run["route"] == "ptx");
        assert_eq!(by_driver.map(|run| run["outcome"].as_str()), Some(Some("ok")), "{device}");
        // Whatever was compiled for this kind of GPU has run on this very one.
        let arch = format!("sm_{}", device["compute"].as_str().unwrap().replace('.', ""));
        let compiles = list(&report["facts"]["observed"]["compiles"]).iter();
        for compile in compiles.filter(|it| it["failure"].is_null() && it["arch"] == arch.as_str()) {
            let same = |run: &&Value| ["route", "toolkit", "arch"].iter().all(|key| run[key] == compile[key]);
            let ran = runs.iter().filter(same).find(|run| run["gpu"] == device["gpu"]);
            assert_eq!(ran.map(|run| run["outcome"].as_str()), Some(Some("ok")), "{device}: {compile}");
        }
    }
    // PTX of a toolkit that is newer than the driver is refused by rights.
    let wrong = runs.iter().filter(|run| !["ok", "ptx-newer-than-driver"].contains(&run["outcome"].as_str().unwrap()));
    assert_eq!(wrong.collect::<Vec<_>>(), Vec::<&Value>::new());
}

#[test]
fn driver_nvml_and_files_agree() {
    let report = report(&["check"], &[]);
    let rules: Vec<&Value> = list(&report["findings"]).iter().map(|finding| &finding["rule"]).collect();
    for rule in ["driver-readings-disagree", "prediction-contradicted", "gpu-absent"] {
        assert!(!rules.contains(&&Value::from(rule)), "{:#}", report["findings"]);
    }
    let nvml = &report["facts"]["observed"]["nvml"];
    assert_eq!(nvml["state"], "found", "{nvml}");
    for gpu in list(&nvml["value"]["gpus"]) {
        assert!(gpu["compute"].is_string() && gpu["memory"].as_u64() > Some(1 << 30), "{gpu}");
    }
}

#[test]
fn cublas_and_cudnn_of_an_environment_compute() {
    let env = std::env::var("GPU_TEST_ENV").expect("GPU_TEST_ENV names an environment with tensorflow[and-cuda]");
    let begin = Instant::now();
    let report = report(&["kernel", "--python", &env], &[]);
    let work = list(&report["facts"]["observed"]["libraries"]);
    println!("with libraries: {:?} in all", begin.elapsed());
    for work in work {
        println!("{work}");
        assert_eq!(work["failure"], Value::Null);
        assert!(!list(&work["runs"]).is_empty());
        assert!(list(&work["runs"]).iter().all(|run| run["failure"].is_null()));
    }
    let names: Vec<&Value> = work.iter().map(|work| &work["library"]).collect();
    assert_eq!(names, ["cublas", "cudnn"]);
}

#[test]
fn only_visible_devices_are_used() {
    let all = devices(&report(&["check"], &[])).len();
    let first = report(&["check"], &[("CUDA_VISIBLE_DEVICES", "0")]);
    assert_eq!(devices(&first).len(), 1.min(all));
    let uuid = devices(&first)[0]["uuid"].as_str().unwrap().to_owned();
    assert_eq!(devices(&report(&["check"], &[("CUDA_VISIBLE_DEVICES", &uuid)])).len(), 1, "{uuid}");
    let none = report(&["check"], &[("CUDA_VISIBLE_DEVICES", "-1")]);
    assert!(devices(&none).is_empty());
    assert_eq!(none["facts"]["observed"]["driver"]["value"]["failure"]["cause"], "no-device");
    assert!(list(&none["findings"]).iter().any(|finding| finding["rule"] == "visible-devices-hides-all"));
}

#[test]
fn two_doctors_at_once_do_not_disturb_each_other() {
    std::thread::scope(|scope| {
        let both = [(); 2].map(|()| scope.spawn(|| report(&["check", "--launch", "require"], &[])));
        for one in both {
            let report = one.join().unwrap();
            let runs = list(&report["verdicts"]["kernel"]);
            assert!(runs.iter().any(|run| run["route"] == "ptx" && run["outcome"] == "ok"), "{runs:?}");
        }
    });
}
