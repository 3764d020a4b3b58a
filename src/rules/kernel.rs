//! What the rules on the test kernel share: which failures are one, what they break, and what helps.

use super::Cx;
use super::toolkit_missing::compiling;
use crate::facts::{Cause, ComputeMode, DriverApi, Evidence, Failed, KernelRun, Observed, Source, Stage, Xid};
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::options::Launch;

/// The way in which a launch fails; each has its rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The kernel could not be loaded.
    Load,
    /// The driver, the device or the launch failed.
    Launch,
    /// It ran and computed something else.
    Wrong,
    /// It took too long.
    TimedOut,
}

impl Kind {
    fn of(failed: &Failed) -> Self {
        match (failed.cause, failed.stage) {
            (Cause::WrongResult, _) => Self::Wrong,
            (Cause::TimedOut, _) => Self::TimedOut,
            (_, Stage::Load) => Self::Load,
            _ => Self::Launch,
        }
    }
}

/// Failures of one cause: one finding.
struct Case<'a> {
    failed: &'a Failed,
    /// Further ones that hit no run.
    more: Vec<&'a Failed>,
    /// The runs that it hit; none where the driver itself failed.
    runs: Vec<&'a KernelRun>,
}

impl Case<'_> {
    /// Whether it hits programs that need nothing but GPU and driver.
    fn is_bare(&self) -> bool {
        self.runs.is_empty() || self.runs.iter().any(|run| run.route == "ptx")
    }
}

fn cases<'a>(driver: Option<&'a DriverApi>, observed: &'a Observed, kind: Kind) -> Vec<Case<'a>> {
    let devices = driver.into_iter().flat_map(|driver| &driver.devices).filter_map(|device| device.failure.as_ref());
    let alone =
        driver.and_then(|driver| driver.failure.as_ref()).into_iter().chain(devices).map(|failed| (failed, None));
    let runs = observed.runs.iter().filter_map(|run| Some((run.failure.as_ref()?, Some(run))));
    let mut cases: Vec<Case<'a>> = Vec::new();
    for (failed, run) in alone.chain(runs).filter(|(failed, _)| Kind::of(failed) == kind) {
        // What hits a compiler's kernel alone is told apart from what hits everything.
        let origin = |run: &KernelRun| (run.route.clone(), run.compiler.clone());
        let same = cases.iter_mut().find(|case| {
            (case.failed.cause, case.failed.stage) == (failed.cause, failed.stage)
                && (case.is_bare()
                    || run.is_some_and(|run| case.runs.first().is_some_and(|first| origin(first) == origin(run))))
        });
        match same {
            Some(case) if run.is_none() => case.more.push(failed),
            Some(case) => case.runs.extend(run),
            None => cases.push(Case { failed, more: Vec::new(), runs: run.into_iter().collect() }),
        }
    }
    cases
}

/// How much a failure of a compiler's own kernel counts: only those who compile need it.
pub(super) fn weight(cx: &Cx<'_>) -> Option<Level> {
    let asked = matches!(cx.launch, Launch::Asked | Launch::Require);
    (!asked && compiling(cx).is_empty()).then_some(Level::Note)
}

/// Judges the failures of one kind.
pub(super) fn check(cx: &Cx<'_>, kind: Kind, out: &mut Judgment) {
    let Some(observed) = &cx.facts.observed else { return };
    let driver = observed.driver.value();
    if driver.is_none() && observed.runs.is_empty() {
        return;
    }
    out.applies();
    for case in cases(driver, observed, kind) {
        let failed = case.failed;
        let mut finding = Finding::new(Subject::Machine, title(&case, kind));
        let library = driver.map_or("libcuda.so.1", |driver| driver.library.as_str());
        if case.runs.is_empty() {
            for failed in std::iter::once(&failed).chain(&case.more).take(8) {
                finding = finding.because(Evidence::new(Source::Run, library, &failed.says));
            }
        }
        for run in &case.runs {
            let says = run.failure.as_ref().map_or("", |failed| failed.says.as_str());
            finding = finding.because(Evidence::new(Source::Run, format!("GPU {}, {}", run.gpu, name(run)), says));
        }
        if let Some(mapped) = driver.and_then(|driver| driver.mapped.as_ref()).filter(|_| case.is_bare()) {
            finding = finding.because(Evidence::new(Source::Run, mapped, "the file that was mapped"));
        }
        finding = finding.because_all(xids(cx, &case, driver)).because_all(holders(observed, &case, driver));
        if case.is_bare() {
            finding = breaks(finding, &case, driver, observed);
        } else if kind == Kind::Load && failed.cause == Cause::PtxNewerThanDriver && machine_code_ran(&case, observed) {
            // Every driver of the same major runs its machine code; only its PTX is too new.
            finding = finding.at(Level::Note);
        } else if let Some(level) = weight(cx) {
            finding = finding.at(level);
        }
        let mode = modes(driver, &case);
        if failed.cause == Cause::ExclusiveMode && mode == Some(ComputeMode::Prohibited) {
            finding =
                finding.run("it is set for no process at all: let processes use it", "sudo nvidia-smi -c DEFAULT");
        } else {
            finding = help(cx, finding, failed, case.is_bare());
        }
        out.find(finding);
    }
}

/// What the kernel module reported of the GPUs that are hit, where hardware or the kernel itself may be at fault.
fn xids(cx: &Cx<'_>, case: &Case<'_>, driver: Option<&DriverApi>) -> Vec<Evidence> {
    let told = matches!(
        case.failed.cause,
        Cause::DeviceLost
            | Cause::HardwareFault
            | Cause::KernelFault
            | Cause::WrongResult
            | Cause::TimedOut
            | Cause::Crashed
            | Cause::SystemNotReady
            | Cause::Other
    );
    if !told {
        return Vec::new();
    }
    let hit = |gpu: u32| case.runs.is_empty() || case.runs.iter().any(|run| run.gpu == gpu);
    let devices = driver.into_iter().flat_map(|driver| &driver.devices).filter(|device| hit(device.gpu));
    let addresses: Vec<Option<&str>> = devices.map(|device| device.address.as_deref()).collect();
    // A driver that does not start shows no devices: whatever was reported may be why.
    let addresses = if addresses.is_empty() { vec![None] } else { addresses };
    let mut found: Vec<&Xid> = addresses.into_iter().flat_map(|address| cx.view.xids(address)).collect();
    crate::sort::by_key(&mut found, |xid| std::cmp::Reverse(xid.seconds));
    found.into_iter().take(3).map(Xid::evidence).collect()
}

/// How much memory is free on the GPUs that are hit and which processes hold the rest, where that may be why.
fn holders(observed: &Observed, case: &Case<'_>, driver: Option<&DriverApi>) -> Vec<Evidence> {
    let told = matches!(case.failed.cause, Cause::OutOfMemory | Cause::ExclusiveMode | Cause::DeviceUnavailable);
    let Some(nvml) = observed.nvml.value().filter(|_| told) else { return Vec::new() };
    let hit = |address: Option<&String>| {
        let devices = driver.into_iter().flat_map(|driver| &driver.devices);
        let mut same = devices.filter(|device| address.is_some() && device.address.as_ref() == address);
        same.any(|device| case.runs.iter().any(|run| run.gpu == device.gpu))
    };
    let mib = |bytes: u64| bytes >> 20;
    let gpus = nvml.gpus.iter().filter(|gpu| hit(gpu.address.as_ref())).take(4);
    gpus.map(|gpu| {
        let mut says = match (gpu.free, gpu.memory) {
            (Some(free), Some(all)) => format!("GPU {}: {} of {} MiB are free", gpu.index, mib(free), mib(all)),
            _ => format!("GPU {}", gpu.index),
        };
        for process in gpu.processes.iter().take(4) {
            let held = process.memory.map_or_else(String::new, |bytes| format!(" holds {} MiB", mib(bytes)));
            says = format!("{says}; process {}{held}", process.pid);
        }
        Evidence::new(Source::Run, &nvml.library, says)
    })
    .collect()
}

/// Who may use the first GPU that is hit.
fn modes(driver: Option<&DriverApi>, case: &Case<'_>) -> Option<ComputeMode> {
    let hit = case.runs.first()?.gpu;
    driver?.devices.iter().find(|device| device.gpu == hit)?.compute_mode
}

/// Whether MIG is on where a GPU has no instance, so that programs are shown none.
fn mig_without_instances(cx: &Cx<'_>) -> bool {
    let nvml = cx.facts.observed.as_ref().and_then(|observed| observed.nvml.value());
    nvml.into_iter().flat_map(|nvml| &nvml.gpus).any(|gpu| gpu.mig == Some(true) && gpu.instances.is_empty())
}

/// Whether the same compiler's machine code ran on all GPUs that are hit.
fn machine_code_ran(case: &Case<'_>, observed: &Observed) -> bool {
    case.runs.iter().all(|hit| {
        hit.arch.starts_with("compute_")
            && observed.runs.iter().any(|run| {
                (run.gpu, &run.route, &run.compiler) == (hit.gpu, &hit.route, &hit.compiler)
                    && run.arch.starts_with("sm_")
                    && run.failure.is_none()
            })
    })
}

/// What a failure of the bare kernel breaks: everything where the driver does not start, else only what computes.
fn breaks(finding: Finding, case: &Case<'_>, driver: Option<&DriverApi>, observed: &Observed) -> Finding {
    if case.failed.stage <= Stage::Init {
        return finding.breaks(Break::Cuda);
    }
    let devices = driver.map_or(0, |driver| driver.devices.len());
    if observed.works() || devices == 0 {
        return finding;
    }
    finding.breaks(Break::TfRuns).breaks(Break::KerasUses)
}

fn title(case: &Case<'_>, kind: Kind) -> String {
    let failed = case.failed;
    let doing = failed.stage.doing();
    let Some(run) = case.runs.first() else {
        return match kind {
            Kind::TimedOut => format!("the driver hangs: no answer while {doing}"),
            _ if failed.stage == Stage::Device && !case.more.is_empty() => {
                format!("{} GPUs cannot be asked: {}", case.more.len() + 1, failed.says)
            }
            _ if failed.stage == Stage::Device => format!("a GPU cannot be asked: {}", failed.says),
            _ if failed.cause == Cause::Crashed => format!("the driver crashes while {doing}"),
            _ => format!("the driver does not start: {}", failed.says),
        };
    };
    let mut gpus: Vec<u32> = case.runs.iter().map(|run| run.gpu).collect();
    gpus.dedup();
    let numbers: Vec<String> = gpus.iter().map(u32::to_string).collect();
    let place = if numbers.len() == 1 { "GPU" } else { "GPUs" };
    let place = format!("{place} {}", numbers.join(", "));
    let by = if case.is_bare() { String::new() } else { format!(" that {} made", name(run)) };
    match kind {
        Kind::Load | Kind::Launch if failed.cause == Cause::Crashed => {
            format!("{place}: the driver crashes while {doing}")
        }
        Kind::Load => format!("{place}: the test kernel{by} cannot be loaded: {}", failed.says),
        Kind::Wrong => format!("{place}: the test kernel{by} gives wrong numbers"),
        Kind::TimedOut if failed.code.is_some() => format!("{place}: the test kernel took too long: {}", failed.says),
        Kind::TimedOut => format!("{place}: the driver hangs: no answer while {doing}"),
        Kind::Launch => {
            let what = match (failed.stage, failed.cause) {
                (Stage::Context, _) => format!("{place}: no program gets a context"),
                (Stage::Memory, _) => format!("{place}: no memory can be taken and filled for the test kernel{by}"),
                (Stage::Verify, _) => format!("{place}: the numbers of the test kernel{by} cannot be fetched"),
                (_, Cause::KernelFault | Cause::HardwareFault | Cause::DeviceLost) => {
                    format!("{place}: the test kernel{by} ends with a fault")
                }
                _ => format!("{place}: the test kernel{by} cannot be launched"),
            };
            format!("{what}: {}", failed.says)
        }
    }
}

/// A run's route as people know it.
pub(super) fn name(run: &KernelRun) -> String {
    let toolkit = run.toolkit.as_ref().map_or(String::new(), |version| format!(" {version}"));
    format!("{}{toolkit} for {}", run.route, run.arch)
}

/// What helps against a failure.
///
/// `bare` is what needs nothing but GPU and driver: no compiler is at fault.
pub(super) fn help(cx: &Cx<'_>, finding: Finding, failed: &Failed, bare: bool) -> Finding {
    let container = cx.facts.machine.container.is_some();
    match failed.cause {
        Cause::OutOfMemory if failed.stage == Stage::Init => finding.run("at its start the driver takes the machine's memory, not the GPU's: see what this shell and this container may have", "ulimit -v; cat /sys/fs/cgroup/memory.max"),
        Cause::NoBinaryForGpu | Cause::PtxNewerThanDriver if bare => finding.help("install a driver that supports this GPU: it does not compile the oldest PTX for it"),
        Cause::JitDisabled => finding.run("let the driver compile PTX again", "unset CUDA_DISABLE_PTX_JIT CUDA_DISABLE_JIT"),
        Cause::TimedOut if failed.code == Some(702) => finding.run("the watchdog of a display ends what takes long: see what else uses the GPU, and look for an Xid", "nvidia-smi; sudo dmesg | grep -i xid"),
        Cause::Other if failed.code == Some(102) => finding.run("the virtual GPU has no licence: see its state", "nvidia-smi -q | grep -i licen"),
        Cause::Other if matches!(failed.code, Some(805..=810)) => finding.run("programs go to CUDA's MPS daemon, which does not serve them: end it, or start it anew", "echo quit | nvidia-cuda-mps-control"),
        // As pop-os/default-settings#64 and pytorch/pytorch#49081 tell.
        Cause::Other if failed.code == Some(999) && failed.stage == Stage::Init && !container => finding.run("after a suspend it is mostly the module nvidia_uvm: end what uses the GPU, and load it anew", "sudo modprobe -r nvidia_uvm && sudo modprobe nvidia_uvm").help("else look into the kernel's log for messages of NVRM"),
        Cause::StubLibrary => finding.help("take the toolkit's `stubs` folder out of LD_LIBRARY_PATH: programs must find the driver's own libcuda.so.1"),
        Cause::LibraryBroken | Cause::SymbolMissing => finding.help("install the driver's libraries again, in the version of the loaded module"),
        Cause::DriverTooOld => finding.help("install a newer driver"),
        Cause::NoDevice if mig_without_instances(cx) => finding.run("MIG is on without instances: see which kinds there are, and make one (`-cgi KIND -C`)", "sudo nvidia-smi mig -lgip").help("or switch MIG off: `sudo nvidia-smi -mig 0`"),
        Cause::NoDevice => finding.run("see which devices programs are shown", "env | grep -E 'CUDA_VISIBLE_DEVICES|NVIDIA_VISIBLE_DEVICES'"),
        Cause::SystemNotReady => finding.run("where NVSwitches join the GPUs, start the fabric manager", "sudo systemctl enable --now nvidia-fabricmanager").help("else look into the kernel's log for messages of NVRM; with confidential computing, `nvidia-smi conf-compute -srs 1` lets programs in"),
        Cause::DriverMismatch if container => finding.help("take the driver's packages out of the image: the container runtime brings the host's libcuda in"),
        Cause::DriverMismatch => finding.run("reboot, so that the module of the installed version is loaded", "sudo reboot"),
        Cause::CompatUnsupported => finding.help("take the `cuda-compat` folder out of LD_LIBRARY_PATH: forward compatibility is for data-center GPUs only"),
        Cause::OutOfMemory => finding.run("see who holds the GPU's memory, and end what is not needed", "nvidia-smi --query-compute-apps=pid,used_memory --format=csv"),
        Cause::ExclusiveMode => finding.run("let more than one process use the GPU, or wait for the other one", "sudo nvidia-smi -c DEFAULT"),
        Cause::DeviceUnavailable => finding.run("see who uses the GPU, and in which mode it is", "nvidia-smi -q -d COMPUTE,PIDS"),
        Cause::DeviceLost | Cause::HardwareFault => finding.run("look for an Xid in the kernel's log", "sudo dmesg | grep -i xid").help("reset the GPU or reboot; if it comes again, the hardware or its power is at fault"),
        Cause::NoBinaryForGpu => finding.help("compile for the GPU's own architecture, or add PTX"),
        Cause::PtxNewerThanDriver => finding.help("compile machine code for the GPU, use an older toolkit, or install a newer driver"),
        Cause::InvalidPtx => finding.help("the driver does not take this PTX: install the driver's libraries again"),
        Cause::JitCompilerMissing => finding.help("install libnvidia-ptxjitcompiler, which belongs to the driver (in a container: NVIDIA_DRIVER_CAPABILITIES with `compute`)"),
        Cause::KernelFault | Cause::WrongResult => finding.run("look for an Xid in the kernel's log", "sudo dmesg | grep -i xid").help("a GPU that computes wrongly must not be used: run `dcgmi diag -r 3`, and replace it if that fails"),
        Cause::TimedOut => finding.run("look for an Xid or a stuck process", "sudo dmesg | tail -50").help("a slow start is mended by persistence mode: `sudo nvidia-smi -pm 1`; `--probe-timeout` gives it more time"),
        Cause::Crashed => finding.help("install the driver's libraries again, in the version of the loaded module, and reboot"),
        Cause::PartsMixed | Cause::PartMissing => finding.help("install the package that the library comes from again, so that all its parts are of one release"),
        Cause::NotPermitted => finding.help("the system forbids it: look at cgroups, seccomp and the permissions of /dev/nvidia*"),
        Cause::Other => finding.run("look into the kernel's log", "sudo dmesg | grep -iE 'nvrm|xid'"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{ApiDevice, Facts, GpuProcess, Nvml, NvmlGpu, Probed};
    use crate::rules::testing::{found, judge, machine};
    use crate::rules::{
        Rule, kernel_launch_failed, kernel_load_failed, kernel_timed_out, kernel_wrong_result, prediction_contradicted,
    };

    fn run(gpu: u32, route: &str, arch: &str, failure: Option<(Stage, Cause)>) -> KernelRun {
        let failure = failure.map(|(stage, cause)| Failed { stage, cause, code: Some(1), says: "it fails".to_owned() });
        let compiler = (route != "ptx").then(|| "/cuda/bin/nvcc".to_owned());
        KernelRun { gpu, route: route.to_owned(), arch: arch.to_owned(), compiler, failure, ..KernelRun::default() }
    }

    #[test]
    fn who_holds_the_memory_is_told_and_mig_without_instances_too() {
        let mut facts = observed(vec![run(0, "ptx", "compute_30", Some((Stage::Context, Cause::OutOfMemory)))]);
        let gpu = NvmlGpu {
            address: Some("0000:01:00.0".to_owned()),
            memory: Some(80 << 30),
            free: Some(100 << 20),
            processes: vec![GpuProcess { pid: 42, memory: Some(79 << 30) }],
            ..NvmlGpu::default()
        };
        let nvml = |gpu| found(Nvml { gpus: vec![gpu], ..Nvml::default() });
        let launched = facts.observed.as_mut().unwrap();
        launched.nvml = nvml(gpu.clone());
        if let Probed::Found { value, .. } = &mut launched.driver {
            value.devices[0].address = Some("0000:01:00.0".to_owned());
        }
        let says = |facts: &Facts| judge(&kernel_launch_failed::RULE, facts).findings.remove(0);
        let holder = "GPU 0: 100 of 81920 MiB are free; process 42 holds 80896 MiB";
        assert!(says(&facts).evidence.iter().any(|evidence| evidence.says == holder), "{:?}", says(&facts).evidence);
        let failure = Failed { stage: Stage::Init, cause: Cause::NoDevice, code: Some(100), says: "100".to_owned() };
        let launched = facts.observed.as_mut().unwrap();
        launched.driver = found(DriverApi { failure: Some(failure), ..DriverApi::default() });
        launched.runs.clear();
        launched.nvml = nvml(NvmlGpu { mig: Some(true), ..gpu });
        assert!(format!("{:?}", says(&facts)).contains("MIG is on without instances"));
    }

    fn observed(runs: Vec<KernelRun>) -> Facts {
        let mut facts = machine();
        let devices = (0..2).map(|gpu| ApiDevice { gpu, ..ApiDevice::default() }).collect();
        let driver = found(DriverApi { library: "libcuda.so.1".to_owned(), devices, ..DriverApi::default() });
        facts.observed = Some(Observed { driver, runs, ..Observed::default() });
        facts
    }

    fn said(rule: &Rule, facts: &Facts) -> Vec<(Option<Level>, usize)> {
        judge(rule, facts).findings.iter().map(|finding| (finding.level, finding.breaks.len())).collect()
    }

    #[test]
    fn each_failure_has_its_rule_and_equal_ones_are_one_finding() {
        let ok = observed(vec![run(0, "ptx", "compute_30", None), run(1, "ptx", "compute_30", None)]);
        for rule in [
            &kernel_load_failed::RULE,
            &kernel_launch_failed::RULE,
            &kernel_wrong_result::RULE,
            &kernel_timed_out::RULE,
        ] {
            assert!(judge(rule, &ok).applied && said(rule, &ok).is_empty(), "{}", rule.id);
        }
        for (rule, stage, cause) in [
            (&kernel_load_failed::RULE, Stage::Load, Cause::NoBinaryForGpu),
            (&kernel_launch_failed::RULE, Stage::Context, Cause::OutOfMemory),
            (&kernel_wrong_result::RULE, Stage::Verify, Cause::WrongResult),
            (&kernel_timed_out::RULE, Stage::Launch, Cause::TimedOut),
        ] {
            let fails = |gpu| run(gpu, "ptx", "compute_30", Some((stage, cause)));
            // On every GPU: nothing computes. On one of two: the other one does.
            assert_eq!(said(rule, &observed(vec![fails(0), fails(1)])), [(None, 2)], "{}", rule.id);
            let one = vec![run(0, "ptx", "compute_30", None), fails(1)];
            assert_eq!(said(rule, &observed(one)), [(None, 0)], "{}", rule.id);
        }
    }

    #[test]
    fn what_is_proposed_fits_the_code_and_the_stage() {
        use {Cause as C, Stage as S};
        let says = |stage, cause, code, route: &str| {
            let mut facts = observed(vec![run(0, route, "compute_30", Some((stage, cause)))]);
            let launched = facts.observed.as_mut().unwrap();
            if stage <= Stage::Init {
                let failure = Failed { stage, cause, code, says: String::new() };
                launched.driver = found(DriverApi { failure: Some(failure), ..DriverApi::default() });
                launched.runs.clear();
            } else if let Some(failed) = &mut launched.runs[0].failure {
                failed.code = code;
            }
            let rules = [&kernel_launch_failed::RULE, &kernel_load_failed::RULE, &kernel_timed_out::RULE];
            let mut all = rules.iter().flat_map(|rule| judge(rule, &facts).findings);
            format!("{:?}", all.next().unwrap())
        };
        for (stage, cause, code, route, want) in [
            (S::Init, C::OutOfMemory, 2, "ptx", "ulimit -v"),
            (S::Context, C::OutOfMemory, 2, "ptx", "no program gets a context: it fails"),
            (S::Init, C::Other, 999, "ptx", "modprobe -r nvidia_uvm"),
            (S::Context, C::Other, 805, "ptx", "nvidia-cuda-mps-control"),
            (S::Load, C::NoBinaryForGpu, 209, "ptx", "a driver that supports this GPU"),
            (S::Load, C::NoBinaryForGpu, 209, "nvcc", "own architecture"),
            (S::Load, C::JitDisabled, 223, "ptx", "unset CUDA_DISABLE_PTX_JIT"),
            (S::Launch, C::TimedOut, 702, "ptx", "watchdog"),
            (S::Launch, C::KernelFault, 719, "ptx", "ends with a fault"),
        ] {
            let said = says(stage, cause, Some(code), route);
            assert!(said.contains(want), "{code}: {said}");
        }
        let mut facts = observed(vec![run(0, "ptx", "compute_30", Some((Stage::Context, Cause::ExclusiveMode)))]);
        assert!(format!("{:?}", judge(&kernel_launch_failed::RULE, &facts).findings).contains("more than one process"));
        if let Probed::Found { value, .. } = &mut facts.observed.as_mut().unwrap().driver {
            value.devices[0].compute_mode = Some(ComputeMode::Prohibited);
        }
        assert!(format!("{:?}", judge(&kernel_launch_failed::RULE, &facts).findings).contains("for no process at all"));
    }

    #[test]
    fn a_driver_that_does_not_start_breaks_everything() {
        let mut facts = observed(Vec::new());
        let failure =
            Failed { stage: Stage::Init, cause: Cause::DriverMismatch, code: Some(803), says: "803".to_owned() };
        let driver = DriverApi { failure: Some(failure), ..DriverApi::default() };
        facts.observed = Some(Observed { driver: found(driver), ..Observed::default() });
        let findings = judge(&kernel_launch_failed::RULE, &facts).findings;
        assert_eq!(findings[0].breaks, [(Subject::Machine, Break::Cuda)]);
        assert_eq!(findings[0].help[0].command.as_deref(), Some("sudo reboot"));
        facts.observed = Some(Observed { driver: Probed::failed("no process"), ..Observed::default() });
        assert!(!judge(&kernel_launch_failed::RULE, &facts).applied);
    }

    #[test]
    fn what_only_a_compiler_made_weighs_less() {
        let newer = Some((Stage::Load, Cause::PtxNewerThanDriver));
        let bare = run(0, "ptx", "compute_30", None);
        let facts = observed(vec![bare.clone(), run(0, "nvcc", "sm_90", None), run(0, "nvcc", "compute_90", newer)]);
        assert_eq!(said(&kernel_load_failed::RULE, &facts), [(Some(Level::Note), 0)]);
        // Nothing here compiles CUDA code.
        let facts = observed(vec![bare, run(0, "nvcc", "sm_90", Some((Stage::Load, Cause::NoBinaryForGpu)))]);
        assert_eq!(said(&kernel_load_failed::RULE, &facts), [(Some(Level::Note), 0)]);
    }

    #[test]
    fn what_ran_contradicts_what_was_foretold() {
        let facts = observed(vec![run(0, "ptx", "compute_30", None)]);
        let launched = facts.observed.as_ref().unwrap();
        let foretold = [(&kernel_launch_failed::RULE, Finding::new(Subject::Machine, "nothing works"))];
        let finding = prediction_contradicted::by_kernel(&foretold, launched).unwrap();
        assert_eq!(finding.level, Some(Level::Warn));
        assert_eq!(finding.consequences, ["kernel-launch-failed: nothing works"]);
        assert!(prediction_contradicted::by_kernel(&[], launched).is_none());
    }
}
