//! Rule `mig-without-compute-instance`: GPUs are cut into instances in which nothing can compute.

use super::{Cx, Family, Rule, layer};
use crate::facts::Evidence;
use crate::finding::{Break, Finding, Judgment, Level, Subject};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "mig-without-compute-instance",
    family: Family::Driver,
    level: Level::Deny,
    layer: layer::DEVICE,
    summary: "the GPU is cut into instances (MIG), and none has a compute instance",
    docs: "\
### What it means

With MIG a GPU is cut into GPU instances, and each of these into compute instances. GPU instances were made on every \
GPU here, and no compute instance in any of them.

### Why it matters

CUDA shows compute instances only: programs find no device, while `nvidia-smi` lists the GPU.

### How to fix it

Make the compute instances with `sudo nvidia-smi mig -cci`, or switch MIG off with `sudo nvidia-smi -mig 0`. Both are \
lost when the machine starts anew, unless a service makes them again.
",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    let instances = &cx.facts.driver.mig;
    if instances.is_empty() || !cx.view.driver_matters() || !cx.view.driver_answers() || cx.view.gpu_is_assumed() {
        return;
    }
    out.applies();
    // Entries of one GPU lie beside each other. One without any may not be cut, and then it computes.
    let cut = instances.chunk_by(|a, b| a.gpu == b.gpu).count();
    if cut < cx.view.gpus.len() || instances.iter().any(|instance| instance.compute_instances > 0) {
        return;
    }
    out.find(
        Finding::new(Subject::Machine, "the GPU is cut into instances (MIG), and none has a compute instance")
            .because_all(instances.iter().take(8).map(|instance| Evidence::file(&instance.path, "holds no `ci…`")))
            .run("make one in each", "sudo nvidia-smi mig -cci")
            .breaks(Break::Cuda),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::MigDevice;
    use crate::rules::testing::{judge, machine, pci, silent};

    #[test]
    fn every_gpu_must_be_without_one() {
        let instance = |gpu, compute_instances| {
            let path = format!("/proc/driver/nvidia/capabilities/gpu{gpu}/mig/gi1");
            MigDevice { gpu, instance: 1, compute_instances, path }
        };
        let mut facts = machine();
        assert!(silent(&RULE, &facts));
        facts.driver.mig = vec![instance(0, 0)];
        assert_eq!(judge(&RULE, &facts).findings[0].breaks, [(Subject::Machine, Break::Cuda)]);
        facts.driver.mig.push(instance(0, 1));
        assert!(silent(&RULE, &facts));
        facts.driver.mig.pop();
        facts.pci.push(pci("0000:02:00.0", "0x2330"));
        assert!(silent(&RULE, &facts), "the other GPU is whole");
    }
}
