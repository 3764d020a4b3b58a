//! Rule `libcuda-missing`: whether a driver that runs also has its library where programs look for it.

use super::{Cx, Family, Rule, layer};
use crate::facts::Evidence;
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::shell;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "libcuda-missing",
    family: Family::Driver,
    level: Level::Deny,
    layer: layer::DRIVER,
    summary: "the driver is loaded but the loader finds no libcuda.so.1",
    docs: "\
### What it means

NVIDIA's driver has two halves: the kernel module and the library `libcuda.so.1`. The kernel side is there, and the \
dynamic loader finds no `libcuda.so.1` anywhere. The library comes with the driver, never with a CUDA toolkit or a \
Python wheel.

### Why it matters

Every CUDA program opens this library first. Without it TensorFlow logs error 303 and uses the CPU.

### How to fix it

Install the user-space part of the driver in the version of the loaded module (`libcuda1` on Debian, \
`libnvidia-compute-…` on Ubuntu). In a container install nothing: start it with the `compute` capability, \
`NVIDIA_DRIVER_CAPABILITIES=compute,utility`, and the runtime brings the host's library in. On WSL update the Windows \
driver and run `wsl --update`.
",
    check,
};

/// The capabilities that a container asks for, where they lack one of a name.
pub(super) fn lacks_capability(cx: &Cx<'_>, wanted: &str) -> Option<Evidence> {
    cx.facts.machine.container.as_ref()?;
    let value = cx.facts.env.get("NVIDIA_DRIVER_CAPABILITIES").filter(|value| !value.trim().is_empty())?;
    let has = value.split(',').map(str::trim).any(|capability| capability == wanted || capability == "all");
    (!has).then(|| Evidence::env("NVIDIA_DRIVER_CAPABILITIES", value))
}

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    let driver = &cx.facts.driver;
    if !cx.view.driver_matters() || !cx.view.driver_answers() {
        return;
    }
    out.applies();
    if !cx.view.libcudas().is_empty() {
        return;
    }
    if let Some(why) = driver.libcuda.file.unknown() {
        let missing = format!("whether libcuda.so.1 can be found: {why}");
        return out.unknown(Subject::Machine, missing, Some(Break::Cuda));
    }
    let version = driver.kernel.first();
    let title = "the driver is loaded but nothing provides libcuda.so.1";
    let mut finding = Finding::new(Subject::Machine, title)
        .because(Evidence::loader("libcuda.so.1", "nothing provides it"))
        .because_all(driver.loaded.evidence().cloned())
        .because_all(driver.libcuda.rejected.first().map(|file| Evidence::loader(&file.path, &file.why)))
        .because_all(
            driver.libcuda.others.first().map(|file| Evidence::file(&file.path, "lies where nothing searches")),
        );
    finding = if let Some(capabilities) = lacks_capability(cx, "compute") {
        finding.because(capabilities).run(
            "start the container with the `compute` capability",
            "docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=compute,utility …",
        )
    } else if cx.facts.machine.container.is_some() {
        finding.run(
            "start the container through NVIDIA's runtime, which brings the host's library in",
            "docker run --gpus all …",
        )
    } else if let Some(wsl) = &cx.facts.machine.wsl {
        match &wsl.libcuda {
            Some(path) => {
                finding.because(Evidence::file(path, "there, but the loader does not search its folder")).run(
                    "let the loader search it",
                    "echo /usr/lib/wsl/lib | sudo tee /etc/ld.so.conf.d/ld.wsl.conf && sudo ldconfig",
                )
            }
            None => finding.run("update the NVIDIA driver of Windows, then WSL, from Windows", "wsl --update"),
        }
    } else if let Some(other) = driver.libcuda.others.first() {
        let folder = other.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        finding.run(
            "let the loader search the folder in which it lies",
            format!("echo {} | sudo tee /etc/ld.so.conf.d/nvidia.conf && sudo ldconfig", shell::word(folder)),
        )
    } else {
        let exactly = version.map_or_else(String::new, |version| format!(", in version {}", version.value));
        let text = format!("install the user-space part of the driver{exactly}");
        match cx.facts.machine.distribution_id.value().map(String::as_str) {
            Some("debian") => finding.run(text, "sudo apt install libcuda1"),
            Some("ubuntu") if version.is_some() => {
                let major = version.map_or(0, |version| version.value.major());
                finding.run(text, format!("sudo apt install libnvidia-compute-{major}"))
            }
            _ => finding.help(text),
        }
    };
    out.find(finding.breaks(Break::Cuda));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Container;
    use crate::rules::testing::{absent, bare, judge, machine, silent};

    #[test]
    fn a_loaded_module_without_its_library_is_found() {
        let mut facts = machine();
        facts.driver.libcuda = absent("libcuda.so.1");
        let said = judge(&RULE, &facts);
        assert_eq!(said.findings[0].breaks, [(Subject::Machine, Break::Cuda)]);
        facts.machine.container = Some(Container::default());
        facts.env.insert("NVIDIA_DRIVER_CAPABILITIES".to_owned(), "utility".to_owned());
        let said = judge(&RULE, &facts);
        assert!(said.findings[0].evidence.iter().any(|e| e.at == "NVIDIA_DRIVER_CAPABILITIES"));
    }

    #[test]
    fn it_keeps_still_without_a_driver_and_with_a_library() {
        assert!(silent(&RULE, &machine()));
        let mut facts = machine();
        facts.driver = bare().driver;
        assert!(silent(&RULE, &facts));
    }
}
