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
to a stub. Programs that ask for `libcuda.so`, as cudarc does first, meet the stub without any such link. For linking, pass the folder to the linker (`-L`) instead.
",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    super::build::say(cx, super::build::STUB, out);
    let assumed = cx.view.driver_is_assumed();
    if !cx.view.has_gpu() || !(assumed || cx.view.driver_answers()) || cx.view.is_wsl() {
        return;
    }
    for (library, users) in cx.view.libcudas() {
        out.applies();
        if cx.view.libcuda_kind(library) != LibcudaKind::Stub {
            continue;
        }
        // An assumed driver's libraries lie in a default folder and in the cache: they would take the stub's place
        // there, and come after it elsewhere.
        if assumed && matches!(library.via, Via::Cache { .. } | Via::DefaultFolder { .. } | Via::Assumed) {
            continue;
        }
        let subject = users.first().cloned().unwrap_or(Subject::Machine);
        let mut finding = Finding::new(subject, "the libcuda.so.1 that wins is the toolkit's stub, which has no code")
            .because(library.evidence("libcuda.so.1"))
            .because(Evidence::file(&library.real, "lies in a folder of stubs"));
        finding = match &library.via {
            Via::LibraryPath { entry } => finding.because(Evidence::env("LD_LIBRARY_PATH", entry)).run(
                format!("take {entry} out of LD_LIBRARY_PATH"),
                format!("export LD_LIBRARY_PATH={}", shell::quoted(&cx.facts.loader.without(entry))),
            ),
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
    use crate::facts::{Assumption, Library, Probed, Source};
    use crate::rules::testing::{judge, machine, resolved, silent, v};

    #[test]
    fn a_stub_that_wins_is_found() {
        let mut facts = machine();
        let stub = "/usr/local/cuda-12.4/lib64/stubs/libcuda.so";
        facts.driver.libcuda = resolved("libcuda.so.1", "/usr/lib/libcuda.so.1", stub);
        let said = judge(&RULE, &facts);
        assert_eq!(said.findings[0].breaks, [(Subject::Machine, Break::Cuda)]);
    }

    #[test]
    fn an_assumed_driver_comes_after_a_stub_on_the_path_and_in_place_of_one_in_the_cache() {
        let mut facts = machine();
        facts.driver.loaded = Probed::Absent;
        let evidence = Evidence::new(Source::Option, "--assume", "driver=535.54.03");
        facts.assumed.push(Assumption { key: "driver".to_owned(), value: v("535.54.03"), evidence });
        let stub = "/usr/local/cuda/lib64/stubs/libcuda.so.1";
        facts.driver.libcuda = resolved("libcuda.so.1", stub, stub);
        assert!(silent(&RULE, &facts));
        let via = Via::LibraryPath { entry: "/usr/local/cuda/lib64/stubs".to_owned() };
        let library = Library { path: stub.to_owned(), real: stub.to_owned(), via, ..Library::default() };
        facts.driver.libcuda.file = Probed::found(library, Evidence::env("LD_LIBRARY_PATH", "stubs"));
        assert_eq!(judge(&RULE, &facts).findings.len(), 1);
    }

    #[test]
    fn the_drivers_own_is_fine() {
        assert!(silent(&RULE, &machine()));
    }
}
