//! Rule `compat-package-misused`: whether a forward-compatibility libcuda that wins may stand on this GPU and driver.

use super::{Cx, Family, Rule, layer};
use crate::facts::{LibcudaKind, Via};
use crate::finding::{Break, Finding, Judgment, Level, RowRef, Subject};
use crate::shell;
use crate::version::Dotted;

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "compat-package-misused",
    family: Family::Driver,
    level: Level::Deny,
    layer: layer::DRIVER,
    summary: "a cuda-compat libcuda wins where it must not",
    docs: "\
### What it means

The packages `cuda-compat-…` bring the `libcuda.so.1` of a newer driver, so that newer CUDA runs on an older kernel \
module. NVIDIA supports that for data-center GPUs and some workstation cards, on listed driver branches, and only \
with a library that is newer than the module. Here such a library wins the loader's search, and one of these \
conditions does not hold.

### Why it matters

CUDA does not start: error 804 (forward compatibility on hardware that does not have it) or 803 (a combination of \
driver and library that is not supported). Every program that gets this library loses the GPU.

### How to fix it

Take the `compat` folder out of the loader's way (`LD_LIBRARY_PATH`, a file in `/etc/ld.so.conf.d`, or the package \
itself), so that the driver's own libcuda wins. If newer CUDA is needed, update the driver.
",
    check,
};

/// What is wrong with a compat library here.
enum Fault {
    /// A title, and the row that it was held against.
    Certain(String, Option<RowRef>),
    /// It cannot be told; what is missing.
    Unknown(String),
}

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    if !cx.view.driver_matters() || !cx.view.driver_answers() || cx.view.is_wsl() {
        return;
    }
    for (library, users) in cx.view.libcudas() {
        if cx.view.libcuda_kind(library) != LibcudaKind::Compat {
            continue;
        }
        out.applies();
        let subject = users.first().cloned().unwrap_or(Subject::Machine);
        let title = match fault(cx, cx.view.libcuda_version(library)) {
            None => continue,
            Some(Fault::Unknown(missing)) => {
                if users.is_empty() {
                    out.unknown(subject, missing, None);
                } else {
                    for user in users {
                        out.unknown(user, missing.as_str(), Some(Break::Cuda));
                    }
                }
                continue;
            }
            Some(Fault::Certain(title, row)) => (title, row),
        };
        let mut finding = Finding::new(subject, title.0)
            .because(library.evidence("libcuda.so.1"))
            .because_all(cx.facts.driver.kernel.first().map(|reading| reading.evidence.clone()))
            .because_all(cx.view.gpus.first().map(|gpu| gpu.evidence.clone()))
            .row(title.1);
        let folder = library.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        finding = match &library.via {
            Via::LibraryPath { entry } => {
                finding.run(format!("take `{entry}` off LD_LIBRARY_PATH"), shell::without_entry(entry))
            }
            Via::Cache { .. } => finding.run(
                "take its folder out of the loader's configuration, so that the driver's own libcuda wins",
                format!(
                    "sudo sed -i {} /etc/ld.so.conf /etc/ld.so.conf.d/*.conf && sudo ldconfig",
                    shell::quoted(&format!(r"\#^{folder}/*$#d"))
                ),
            ),
            via => finding.help(format!(
                "take {} out of the loader's way ({}), so that the driver's own libcuda wins",
                library.path,
                via.how()
            )),
        };
        if users.is_empty() {
            finding = finding.at(Level::Warn);
        }
        for user in users {
            finding = finding.breaks_for(user, Break::Cuda);
        }
        out.find(finding);
    }
}

fn fault(cx: &Cx<'_>, version: Option<Dotted>) -> Option<Fault> {
    let unknown = |missing: &str| Some(Fault::Unknown(missing.to_owned()));
    let Some(kernel) = cx.facts.driver.kernel.first().map(|reading| &reading.value) else {
        return unknown("the version of the driver beneath the cuda-compat library");
    };
    let Some(version) = version else { return unknown("the version of the cuda-compat library that wins") };
    if version == *kernel {
        return None;
    }
    if version.major() <= kernel.major() {
        let title = format!("cuda-compat {version} wins, though the driver {kernel} is not older");
        return Some(Fault::Certain(title, None));
    }
    if let Some(gpu) = cx.view.gpus.iter().find(|gpu| gpu.class.as_deref() == Some("geforce")) {
        let title = format!("cuda-compat {version} wins, and {} has no forward compatibility", gpu.name);
        return Some(Fault::Certain(title, gpu.row.clone()));
    }
    let Some((cuda, _)) = cx.db.driver_reports_cuda(&version) else {
        return Some(Fault::Unknown(format!("which CUDA the cuda-compat library {version} brings")));
    };
    let Some(row) = cx.db.compat(&cuda) else {
        return Some(Fault::Unknown(format!("on which driver branches cuda-compat for CUDA {cuda} works")));
    };
    if !row.branches.iter().any(|branch| branch.major() == kernel.major()) {
        let title = format!("cuda-compat for CUDA {cuda} wins, which is not made for driver branch {}", kernel.major());
        return Some(Fault::Certain(title, Some(row.row_ref())));
    }
    if let Some(gpu) = cx.view.gpus.iter().find(|gpu| gpu.class.is_none()) {
        return Some(Fault::Unknown(format!("whether {} has forward compatibility", gpu.name)));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Facts;
    use crate::rules::testing::{judge, machine, pci, reading, resolved, silent, titles};

    fn with_compat(version: &str) -> Facts {
        let mut facts = machine();
        let folder = "/usr/local/cuda/compat";
        facts.driver.libcuda =
            resolved("libcuda.so.1", &format!("{folder}/libcuda.so.1"), &format!("{folder}/libcuda.so.{version}"));
        facts
    }

    #[test]
    fn a_listed_branch_on_a_data_center_gpu_is_fine() {
        let facts = with_compat("550.54.14");
        assert!(silent(&RULE, &facts), "{:?}", judge(&RULE, &facts));
        assert!(silent(&RULE, &machine()));
    }

    #[test]
    fn a_library_older_than_the_driver_is_a_fault() {
        let facts = with_compat("525.60.13");
        assert_eq!(titles(&RULE, &facts), ["cuda-compat 525.60.13 wins, though the driver 535.54.03 is not older"]);
    }

    #[test]
    fn geforce_and_other_branches_are_faults() {
        let mut facts = with_compat("550.54.14");
        facts.pci = vec![pci("0000:01:00.0", "0x2684")];
        facts.driver.gpus[0].model = Some("NVIDIA GeForce RTX 4090".to_owned());
        assert!(titles(&RULE, &facts)[0].contains("GeForce"), "{:?}", judge(&RULE, &facts));
        let mut facts = with_compat("550.54.14");
        facts.driver.kernel = vec![reading("/sys/module/nvidia/version", "530.30.02")];
        assert!(titles(&RULE, &facts)[0].ends_with("not made for driver branch 530"));
    }
}
