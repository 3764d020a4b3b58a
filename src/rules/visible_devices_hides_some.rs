//! Rule `visible-devices-hides-some`: whether `CUDA_VISIBLE_DEVICES` shows a part of the GPUs only.

use super::visible_devices_hides_all::{Mask, VARIABLE, count, evidence, mask};
use super::{Cx, Family, Rule, layer};
use crate::finding::{Finding, Judgment, Level, Subject};

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "visible-devices-hides-some",
    family: Family::Visibility,
    level: Level::Note,
    layer: layer::VISIBILITY,
    summary: "CUDA_VISIBLE_DEVICES shows only some of the GPUs",
    docs: "\
### What it means

`CUDA_VISIBLE_DEVICES` lists some of the GPUs of this machine and not others. CUDA shows the listed ones only, and \
counts them anew from 0 in the order of the list.

### Why it matters

It is most often meant so, and therefore a note. It explains why programs see fewer devices than `nvidia-smi`, which \
ignores the variable; and without `CUDA_DEVICE_ORDER=PCI_BUS_ID` the numbers of both may differ, because CUDA puts \
the fastest GPU first.

### How to fix it

Nothing, where it is meant. Otherwise unset the variable or list all devices.
",
    check,
};

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    if !cx.view.has_gpu() || !cx.facts.env.contains_key(VARIABLE) {
        return;
    }
    out.applies();
    let Mask::List { visible, invalid: None, untold: None } = mask(cx) else { return };
    let Some(count) = count(cx).filter(|&count| count > visible.len()) else { return };
    let title = format!("CUDA_VISIBLE_DEVICES shows {} of {count} GPUs", visible.len());
    out.find(
        Finding::new(Subject::Machine, title)
            .because(evidence(cx))
            .run("to use all of them, unset it", "unset CUDA_VISIBLE_DEVICES"),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::testing::{machine, pci, silent, titles};

    #[test]
    fn a_part_is_noted_and_the_whole_is_not() {
        let mut facts = machine();
        facts.env.insert(VARIABLE.to_owned(), "0".to_owned());
        assert!(silent(&RULE, &facts));
        facts.pci.push(pci("0000:02:00.0", "0x2330"));
        assert_eq!(titles(&RULE, &facts), ["CUDA_VISIBLE_DEVICES shows 1 of 2 GPUs"]);
        facts.env.insert(VARIABLE.to_owned(), "1,0".to_owned());
        assert!(silent(&RULE, &facts));
    }
}
