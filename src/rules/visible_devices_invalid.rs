//! Rule `visible-devices-invalid`: whether `CUDA_VISIBLE_DEVICES` names devices that are not here.

use super::visible_devices_hides_all::{Mask, VARIABLE, evidence, mask};
use super::{Cx, Family, Rule, layer};
use crate::finding::{Break, Finding, Judgment, Level, Subject};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "visible-devices-invalid",
    family: Family::Visibility,
    level: Level::Deny,
    layer: layer::VISIBILITY,
    summary: "CUDA_VISIBLE_DEVICES names a device that is not here",
    docs: "\
### What it means

CUDA reads `CUDA_VISIBLE_DEVICES` from left to right and stops at the first entry that is no device of this machine: \
a number out of range, an unknown or ambiguous UUID, a word. What stands behind it is not read. A list that names a \
device twice counts as none.

### Why it matters

There is no error message: programs simply see fewer GPUs, or none. Where none is left it is denied, else it is a \
warning.

### How to fix it

Name devices that are here, counted from 0 (`CUDA_VISIBLE_DEVICES=0,1`), or their UUIDs as `nvidia-smi -L` prints \
them, or unset the variable. Inside a container the numbers count the GPUs of the container, not those of the host.
",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    if !cx.view.has_gpu() || !cx.facts.env.contains_key(VARIABLE) {
        return;
    }
    out.applies();
    let Mask::List { visible, invalid, untold } = mask(cx) else { return };
    if let Some((token, why)) = untold {
        let breaks = visible.is_empty().then_some(Break::Cuda);
        let missing = format!("whether {VARIABLE} names a GPU of this machine with {}: {why}", short(&token));
        return out.unknown(Subject::Machine, missing, breaks);
    }
    let Some((token, why)) = invalid else { return };
    let value = short(cx.facts.env.get(VARIABLE).map(String::as_str).unwrap_or_default());
    let title = match visible.len() {
        0 => format!("CUDA_VISIBLE_DEVICES is {value}, which leaves no GPU: {why}"),
        1 => format!("CUDA_VISIBLE_DEVICES is {value}, and only its first GPU counts: {why}"),
        left => format!("CUDA_VISIBLE_DEVICES is {value}, and only its first {left} GPUs count: {why}"),
    };
    let finding = Finding::new(Subject::Machine, title)
        .because(evidence(cx))
        .because_all(cx.view.gpus.iter().take(8).map(|gpu| gpu.evidence.clone()))
        .run("unset it; all GPUs are visible then", "unset CUDA_VISIBLE_DEVICES")
        .run("or name a device that is here", "export CUDA_VISIBLE_DEVICES=0")
        .so(format!("the list ends at {}, without a message", short(&token)));
    out.find(if visible.is_empty() { finding.breaks(Break::Cuda) } else { finding.at(Level::Warn) });
}

/// A value for a title.
fn short(value: &str) -> String {
    let short: String = value.trim().chars().take(60).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if short.is_empty() { "an empty entry".to_owned() } else { short }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Facts;
    use crate::rules::testing::{judge, machine, pci, silent};

    fn two(value: &str) -> Facts {
        let mut facts = machine();
        facts.pci.push(pci("0000:02:00.0", "0x2330"));
        facts.env.insert(VARIABLE.to_owned(), value.to_owned());
        facts
    }

    #[test]
    fn what_leaves_no_gpu_is_denied() {
        for value in ["2", "abc", "2,0", "0,0", ",0"] {
            let said = judge(&RULE, &two(value));
            assert_eq!(said.findings[0].breaks, [(Subject::Machine, Break::Cuda)], "{value}");
        }
    }

    #[test]
    fn what_leaves_one_is_a_warning() {
        for value in ["0,2", "1,-1", "1,x,0", "GPU-11111111,5"] {
            let said = judge(&RULE, &two(value));
            assert_eq!(said.findings[0].level, Some(Level::Warn), "{value}");
        }
    }

    #[test]
    fn what_is_here_is_fine_and_what_cannot_be_told_stays_open() {
        for value in ["0", "1", "0,1", "1, 0", "GPU-11111111", "", "-1"] {
            assert!(silent(&RULE, &two(value)), "{value}");
        }
        for value in ["GPU-22", "MIG-GPU-1/2/3"] {
            assert_eq!(judge(&RULE, &two(value)).unknown[0].breaks, Some(Break::Cuda), "{value}");
        }
        let mut facts = two("GPU-22");
        facts.pci.pop();
        assert_eq!(judge(&RULE, &facts).findings.len(), 1);
    }

    proptest::proptest! {
        #[test]
        fn any_value_is_judged(value in "\\PC{0,60}") {
            judge(&RULE, &two(&value));
        }
    }
}
