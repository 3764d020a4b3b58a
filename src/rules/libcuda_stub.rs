//! Rule `libcuda-stub`: whether the libcuda that wins is the toolkit's link-time stub.

use super::{Cx, Family, Rule, layer};
use crate::facts::{Evidence, LibcudaKind, Via};
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::shell;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "libcuda-stub",
    family: Family::Driver,
    level: Level::Deny,
    layer: layer::DRIVER,
    summary: "the libcuda that programs get is the toolkit's stub",
    docs: "\
### What it means

A CUDA toolkit brings a `libcuda` in a folder `stubs`. It is there so that programs can be linked on machines without \
a driver, and holds no code. Here the dynamic loader would pick that file at run time, in place of the driver's own.

### Why it matters

The stub answers every call with `CUDA_ERROR_STUB_LIBRARY` (34): no program sees a GPU, though driver and device are \
fine.

### How to fix it

Take the `stubs` folder out of `LD_LIBRARY_PATH` and `/etc/ld.so.conf.d`, and remove a hand-made link `libcuda.so.1` \
to a stub. For linking, pass the folder to the linker (`-L`) instead.
",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    if !cx.view.driver_matters() || !cx.view.driver_answers() || cx.view.is_wsl() {
        return;
    }
    for (library, users) in cx.view.libcudas() {
        out.applies();
        if cx.view.libcuda_kind(library) != LibcudaKind::Stub {
            continue;
        }
        let subject = users.first().cloned().unwrap_or(Subject::Machine);
        let mut finding = Finding::new(subject, "the libcuda.so.1 that wins is the toolkit's stub, which has no code")
            .because(library.evidence("libcuda.so.1"))
            .because(Evidence::file(&library.real, "lies in a folder of stubs"));
        finding = match &library.via {
            Via::LibraryPath { entry } => {
                let rest = cx.facts.loader.library_path.iter().map(|folder| folder.text.as_str());
                let rest: Vec<&str> = rest.filter(|text| text != entry).collect();
                finding.because(Evidence::env("LD_LIBRARY_PATH", entry)).run(
                    format!("take {entry} out of LD_LIBRARY_PATH"),
                    format!("export LD_LIBRARY_PATH={}", shell::quoted(&rest.join(":"))),
                )
            }
            Via::Cache { file } => finding.run(
                format!("take its folder out of /etc/ld.so.conf.d and write {file} anew; this shows who names it"),
                "grep -rn stubs /etc/ld.so.conf /etc/ld.so.conf.d",
            ),
            Via::DefaultFolder { .. } => {
                finding.run("remove the link to the stub", format!("sudo rm {}", shell::word(&library.path)))
            }
            via => finding.help(format!("remove what makes it win: {via}")),
        };
        if users.is_empty() {
            finding = finding.at(Level::Warn);
        }
        for user in users {
            finding = finding.breaks_for(user, Break::Cuda);
        }
        out.find(finding.so("every call to CUDA fails with error 34"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{judge, machine, resolved, silent};

    #[test]
    fn a_stub_that_wins_is_found() {
        let mut facts = machine();
        let stub = "/usr/local/cuda-12.4/lib64/stubs/libcuda.so";
        facts.driver.libcuda = resolved("libcuda.so.1", "/usr/lib/libcuda.so.1", stub);
        let said = judge(&RULE, &facts);
        assert_eq!(said.findings[0].breaks, [(Subject::Machine, Break::Cuda)]);
    }

    #[test]
    fn the_drivers_own_is_fine() {
        assert!(silent(&RULE, &machine()));
    }
}
