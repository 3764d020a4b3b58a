//! Facts for the rules' tests: a healthy machine that each test spoils in one place.

use crate::db::Database;
use crate::facts::{
    BuildInfo, DeviceNode, Dist, Evidence, Facts, InstalledModule, Library, Module, PciDevice, Probed, ProcGpu,
    PythonEnv, Reading, Resolution, TensorFlow, Via,
};
use crate::finding::Judgment;
use crate::options::{GpuWish, Launch};
use crate::policy::NOTHING_REQUIRED;
use crate::rules::{Cx, Rule};
use crate::version::Dotted;
use crate::view::View;

/// Where the C libraries lie.
pub(super) const LIB: &str = "/usr/lib/x86_64-linux-gnu";

/// A version.
pub(super) fn v(text: &str) -> Dotted {
    text.parse().unwrap()
}

/// A reading of a version.
pub(super) fn reading(at: &str, version: &str) -> Reading<Dotted> {
    Reading { value: v(version), evidence: Evidence::file(at, version) }
}

/// A reading that was found.
pub(super) fn found<T>(value: T) -> Probed<T> {
    Probed::found(value, Evidence::file("/there", "it says so"))
}

/// A name that resolves to a file.
pub(super) fn resolved(name: &str, path: &str, real: &str) -> Resolution {
    let via = Via::Cache { file: "/etc/ld.so.cache".to_owned() };
    let file = Library { path: path.to_owned(), real: real.to_owned(), via, ..Library::default() };
    Resolution { name: name.to_owned(), file: found(file), ..Resolution::default() }
}

/// A name that nothing provides.
pub(super) fn absent(name: &str) -> Resolution {
    Resolution { name: name.to_owned(), file: Probed::Absent, ..Resolution::default() }
}

/// A device node that everybody can open.
pub(super) fn node(path: &str) -> DeviceNode {
    DeviceNode { path: path.to_owned(), character: true, mode: 0o666, uid: 0, gid: 0, open: Some(true), why: None }
}

/// A GPU on the bus, by its device id.
pub(super) fn pci(address: &str, device: &str) -> PciDevice {
    PciDevice {
        address: address.to_owned(),
        vendor: PciDevice::NVIDIA.to_owned(),
        device: device.to_owned(),
        class: "0x030200".to_owned(),
        driver: Some("nvidia".to_owned()),
        path: format!("/sys/bus/pci/devices/{address}"),
        ..PciDevice::default()
    }
}

/// A machine without anything of NVIDIA's.
pub(super) fn bare() -> Facts {
    let mut facts = Facts::default();
    facts.machine.os = "linux".to_owned();
    facts.machine.arch = "x86_64".to_owned();
    facts.machine.kernel = found("6.1.0-18-amd64".to_owned());
    facts.driver.loaded = Probed::found(false, Evidence::file("/proc/modules", "does not list nvidia"));
    facts.driver.libcuda = absent("libcuda.so.1");
    facts.driver.nvml = absent("libnvidia-ml.so.1");
    facts
}

/// A healthy machine: one H100, driver 535.54.03.
pub(super) fn machine() -> Facts {
    let mut facts = bare();
    let driver = "535.54.03";
    facts.pci = vec![pci("0000:01:00.0", "0x2330")];
    facts.driver.loaded = found(true);
    facts.driver.uvm_loaded = found(true);
    facts.driver.kernel = vec![reading("/sys/module/nvidia/version", driver)];
    facts.driver.userspace = vec![reading(&format!("{LIB}/libcuda.so.{driver}"), driver)];
    let library = |stem: &str| {
        resolved(&format!("{stem}.so.1"), &format!("{LIB}/{stem}.so.1"), &format!("{LIB}/{stem}.so.{driver}"))
    };
    facts.driver.libcuda = library("libcuda");
    facts.driver.nvml = library("libnvidia-ml");
    facts.driver.modules = vec![InstalledModule {
        kernel: "6.1.0-18-amd64".to_owned(),
        path: "/lib/modules/6.1.0-18-amd64/updates/dkms/nvidia.ko".to_owned(),
    }];
    facts.driver.nodes = ["/dev/nvidia0", "/dev/nvidiactl", "/dev/nvidia-uvm"].map(node).to_vec();
    facts.driver.gpus = vec![ProcGpu {
        address: "0000:01:00.0".to_owned(),
        model: Some("NVIDIA H100 80GB HBM3".to_owned()),
        uuid: Some("GPU-11111111-0000-0000-0000-000000000000".to_owned()),
        minor: Some(0),
        firmware: None,
        path: "/proc/driver/nvidia/gpus/0000:01:00.0/information".to_owned(),
    }];
    facts
}

/// The same machine with another driver throughout.
pub(super) fn machine_with_driver(driver: &str) -> Facts {
    let mut facts = machine();
    facts.driver.kernel = vec![reading("/sys/module/nvidia/version", driver)];
    facts.driver.userspace = vec![reading(&format!("{LIB}/libcuda.so.{driver}"), driver)];
    let real = |stem: &str| format!("{LIB}/{stem}.so.{driver}");
    facts.driver.libcuda = resolved("libcuda.so.1", &format!("{LIB}/libcuda.so.1"), &real("libcuda"));
    facts.driver.nvml = resolved("libnvidia-ml.so.1", &format!("{LIB}/libnvidia-ml.so.1"), &real("libnvidia-ml"));
    facts
}

/// An environment with a TensorFlow that was built with CUDA.
pub(super) fn tensorflow(version: &str, cuda: &str, compute: &[&str]) -> PythonEnv {
    let module = Module {
        path: "/venv/lib/python3.11/site-packages/tensorflow".to_owned(),
        version: Some(version.to_owned()),
        dist: Some(0),
        ..Module::default()
    };
    PythonEnv {
        path: "/venv".to_owned(),
        interpreter: "/venv/bin/python".to_owned(),
        dists: vec![Dist { name: "tensorflow".to_owned(), version: version.to_owned(), ..Dist::default() }],
        tensorflow: Some(TensorFlow {
            module: Some(module),
            dists: vec![0],
            build: found(BuildInfo {
                cuda_build: true,
                cuda: Some(cuda.to_owned()),
                cudnn: Some("9".to_owned()),
                compute: compute.iter().map(|&name| name.to_owned()).collect(),
                ..BuildInfo::default()
            }),
            ..TensorFlow::default()
        }),
        ..PythonEnv::default()
    }
}

/// What a rule says about a machine.
pub(super) fn judge(rule: &Rule, facts: &Facts) -> Judgment {
    judge_for(rule, facts, GpuWish::Optional, "2026-11-23")
}

/// What a rule says about a machine, the wish and the day given.
pub(super) fn judge_for(rule: &Rule, facts: &Facts, gpu: GpuWish, today: &str) -> Judgment {
    let db = Database::embedded();
    let view = View::new(facts, db);
    let mut out = Judgment::default();
    let requires = &NOTHING_REQUIRED;
    let cx = Cx { facts, db, view: &view, gpu, requires, launch: Launch::Never, today, predicted: None };
    (rule.check)(&cx, &mut out);
    out
}

/// The titles of what a rule found.
pub(super) fn titles(rule: &Rule, facts: &Facts) -> Vec<String> {
    judge(rule, facts).findings.into_iter().map(|finding| finding.title).collect()
}

/// What a rule leaves open.
pub(super) fn unknowns(rule: &Rule, facts: &Facts) -> Vec<String> {
    judge(rule, facts).unknown.into_iter().map(|unknown| unknown.missing).collect()
}

/// Whether a rule looked at a machine and found nothing, not even something that it could not tell.
pub(super) fn silent(rule: &Rule, facts: &Facts) -> bool {
    let said = judge(rule, facts);
    said.findings.is_empty() && said.unknown.is_empty()
}
