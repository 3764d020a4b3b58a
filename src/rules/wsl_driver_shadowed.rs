//! Rule `wsl-driver-shadowed`: whether another libcuda hides the one through which WSL reaches the Windows driver.

use super::{Cx, Family, Rule, layer};
use crate::facts::Evidence;
use crate::finding::{Break, Finding, Judgment, Level, Subject};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "wsl-driver-shadowed",
    family: Family::Driver,
    level: Level::Deny,
    layer: layer::DRIVER,
    summary: "in WSL, a Linux libcuda wins over the one of the Windows driver",
    docs: "\
### What it means

In WSL the driver is that of Windows; Linux programs reach it through `/usr/lib/wsl/lib/libcuda.so.1`. Here the \
loader picks another `libcuda.so.1`, one that a Linux driver package or a CUDA package installed.

### Why it matters

That library looks for a Linux kernel module, which WSL does not have: `cuInit` fails with 100 (no device), though \
`nvidia-smi` from Windows works.

### How to fix it

Remove the Linux driver packages from the distribution inside WSL (`libcuda1`, `libnvidia-compute-…`, \
`nvidia-driver-…`, `cuda-drivers`) and run `ldconfig`. Of NVIDIA's packages install only the toolkit \
(`cuda-toolkit-…`), never `cuda` or `cuda-drivers`.
",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    let Some(wsl) = &cx.facts.machine.wsl else { return };
    if !cx.view.driver_matters() {
        return;
    }
    for (library, users) in cx.view.libcudas() {
        out.applies();
        if [&library.path, &library.real].iter().any(|path| path.starts_with("/usr/lib/wsl/")) {
            continue;
        }
        let subject = users.first().cloned().unwrap_or(Subject::Machine);
        let title = format!("in WSL, {} wins over the libcuda of the Windows driver", library.path);
        let mut finding = Finding::new(subject, title)
            .because(library.evidence("libcuda.so.1"))
            .because_all(wsl.libcuda.as_ref().map(|path| Evidence::file(path, "the Windows driver's, passed over")))
            .because(wsl.evidence.clone())
            .run(
                "remove the Linux driver from this distribution and write the loader's cache anew",
                "sudo apt purge '^libcuda1$' '^libnvidia-compute-.*' '^nvidia-driver-.*' '^cuda-drivers.*' && sudo ldconfig",
            );
        if users.is_empty() {
            finding = finding.at(Level::Warn);
        }
        for user in users {
            finding = finding.breaks_for(user, Break::Cuda);
        }
        out.find(finding.help("where no package owns it, take it off LD_LIBRARY_PATH or remove the file"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Facts, Wsl};
    use crate::rules::testing::{bare, judge, machine, resolved, silent};

    fn wsl() -> Facts {
        let mut facts = bare();
        let lib = "/usr/lib/wsl/lib/libcuda.so.1";
        facts.machine.wsl =
            Some(Wsl { version: 2, dxg: true, libcuda: Some(lib.to_owned()), evidence: Evidence::default() });
        facts.driver.libcuda = resolved("libcuda.so.1", lib, "/usr/lib/wsl/drivers/nv.inf/libcuda.so.1.1");
        facts
    }

    #[test]
    fn a_linux_libcuda_in_wsl_is_found() {
        let mut facts = wsl();
        assert!(silent(&RULE, &facts));
        facts.driver.libcuda = machine().driver.libcuda;
        assert_eq!(judge(&RULE, &facts).findings[0].breaks, [(Subject::Machine, Break::Cuda)]);
    }
}
