//! Rule `visible-devices-hides-all`: whether `CUDA_VISIBLE_DEVICES` hides every GPU on purpose.
//!
//! The reading of the variable, which the two neighbouring rules share, is here too.

use super::{Cx, Family, Rule, layer};
use crate::facts::Evidence;
use crate::finding::{Break, Finding, Judgment, Level, Subject};
use crate::view::Gpu;

/// The variable.
pub(super) const VARIABLE: &str = "CUDA_VISIBLE_DEVICES";

/// The rule.
pub(super) static RULE: Rule = Rule {
    id: "visible-devices-hides-all",
    family: Family::Visibility,
    level: Level::Deny,
    layer: layer::VISIBILITY,
    summary: "CUDA_VISIBLE_DEVICES hides every GPU",
    docs: "\
### What it means

`CUDA_VISIBLE_DEVICES` lists the GPUs that CUDA may show to a program. Set to an empty text, `-1`, `void` or \
`NoDevFiles` it lists none. An empty value is not the same as an unset variable: unset shows all.

### Why it matters

Every CUDA program started with this variable sees no GPU, while `nvidia-smi`, which ignores the variable, lists them \
all. A `kernel.json` of Jupyter can set it as well, for the notebooks of that kernel alone: that may be meant so, and is a note.

### How to fix it

`unset CUDA_VISIBLE_DEVICES`, or name the devices that are meant, such as `CUDA_VISIBLE_DEVICES=0`. Look for who sets \
it: a shell profile, a service file, a job scheduler that granted no GPU, or a notebook.
",
    check,
};

/// What the variable does on this machine.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mask {
    /// It is not set, or it cannot be judged because there is no GPU to hold it against.
    None,
    /// It hides all on purpose.
    HidesAll,
    /// It lists devices.
    List {
        /// Indexes of the devices that stay visible, in its order; those that could not be told are left out.
        visible: Vec<usize>,
        /// The first entry that is no device here, where the list ends, and why.
        invalid: Option<(String, String)>,
        /// An entry that cannot be told, and why.
        untold: Option<(String, String)>,
    },
}

/// How many devices a program could see; none where that cannot be told.
pub(super) fn count(cx: &Cx<'_>) -> Option<usize> {
    let gpus = &cx.view.gpus;
    if gpus.iter().any(|gpu| gpu.assumed) {
        return Some(gpus.len());
    }
    // What a container was given are nodes; the bus shows what the whole machine has.
    if cx.facts.machine.container.is_some() {
        return Some(cx.view.gpu_nodes().count()).filter(|&count| count > 0);
    }
    if cx.view.is_wsl() || gpus.iter().any(|gpu| gpu.address.is_none()) {
        return None;
    }
    let lost: Vec<&str> =
        cx.facts.pci.iter().filter(|device| device.lost).map(|device| device.address.as_str()).collect();
    Some(gpus.iter().filter(|gpu| gpu.address.as_deref().is_none_or(|address| !lost.contains(&address))).count())
}

/// Reads the variable as the driver does: from left to right, up to the first entry that is no device.
pub(super) fn mask(cx: &Cx<'_>) -> Mask {
    let Some(value) = cx.facts.env.get(VARIABLE).filter(|_| cx.view.has_gpu()) else { return Mask::None };
    if hides_all(value) {
        return Mask::HidesAll;
    }
    let tokens: Vec<&str> = value.split(',').map(str::trim).collect();
    let Some(count) = count(cx) else { return Mask::None };
    let (mut visible, mut invalid, mut untold): (Vec<usize>, _, _) = (Vec::new(), None, None);
    for token in tokens {
        match entry(cx, token, count) {
            Entry::Device(index) if visible.contains(&index) => {
                // The driver refuses a list that names a device twice as a whole.
                visible.clear();
                invalid = Some((token.to_owned(), "it names a device a second time".to_owned()));
                break;
            }
            Entry::Device(index) => visible.push(index),
            Entry::Untold(why) => {
                untold = Some((token.to_owned(), why));
                break;
            }
            Entry::Invalid(why) => {
                invalid = Some((token.to_owned(), why));
                break;
            }
        }
    }
    Mask::List { visible, invalid, untold }
}

/// Whether a value hides all on purpose.
/// The GPUs that programs see, as far as that is told which they are; all of them where it is not.
///
/// Numbers follow the bus only where that is asked for: CUDA puts the fastest first. The driver tells those that are
/// left itself, and a container has GPUs of its own.
pub(super) fn shown<'v>(cx: &'v Cx<'_>) -> Vec<&'v Gpu> {
    let gpus = &cx.view.gpus;
    let env = |name: &str| cx.facts.env.get(name).map_or("", String::as_str);
    let told = env(VARIABLE).split(',').all(|token| token.trim().starts_with("GPU-"))
        || env("CUDA_DEVICE_ORDER") == "PCI_BUS_ID";
    let by_files = cx.facts.machine.container.is_none() && cx.view.driver_told().is_none() && gpus.len() > 1;
    match mask(cx) {
        Mask::List { visible, untold: None, .. }
            if told && by_files && !visible.is_empty() && !cx.facts.pci.iter().any(|device| device.lost) =>
        {
            gpus.iter().enumerate().filter(|(index, _)| visible.contains(index)).map(|(_, gpu)| gpu).collect()
        }
        _ => gpus.iter().collect(),
    }
}

fn hides_all(value: &str) -> bool {
    let first = value.split(',').next().unwrap_or_default().trim();
    value.trim().is_empty() || matches!(first, "-1" | "NoDevFiles" | "void" | "none")
}

/// What one entry names.
enum Entry {
    Device(usize),
    Invalid(String),
    Untold(String),
}

fn entry(cx: &Cx<'_>, token: &str, count: usize) -> Entry {
    if token.starts_with("GPU-") {
        return uuid(cx, token);
    }
    if token.starts_with("MIG-") {
        return Entry::Untold("which MIG instances there are is not told by their names in files".to_owned());
    }
    if token.is_empty() {
        return Entry::Invalid("an entry is empty".to_owned());
    }
    let digits = token.strip_prefix('+').unwrap_or(token);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let there = match count {
            1 => "there is one GPU, number 0".to_owned(),
            count => format!("there are {count} GPUs, 0 to {}", count.saturating_sub(1)),
        };
        return match digits.parse::<usize>() {
            Ok(index) if index < count => Entry::Device(index),
            _ => Entry::Invalid(there),
        };
    }
    if token.starts_with('-') {
        return Entry::Invalid("a negative number ends the list".to_owned());
    }
    Entry::Invalid("it is neither a number nor a UUID that begins with GPU- or MIG-".to_owned())
}

/// A UUID may be shortened as long as it is unique.
fn uuid(cx: &Cx<'_>, token: &str) -> Entry {
    let gpus = &cx.view.gpus;
    if gpus.iter().any(|gpu| gpu.assumed) {
        return Entry::Untold("the assumed GPU has no UUID".to_owned());
    }
    let fits = |gpu: &&Gpu| {
        let uuid = gpu.uuid.as_deref().unwrap_or_default();
        uuid.get(..token.len()).is_some_and(|head| head.eq_ignore_ascii_case(token))
    };
    let matches: Vec<usize> = gpus.iter().enumerate().filter(|(_, gpu)| fits(gpu)).map(|(index, _)| index).collect();
    match matches.as_slice() {
        [index] => Entry::Device(*index),
        [] if gpus.iter().any(|gpu| gpu.uuid.is_none()) => {
            Entry::Untold("the UUIDs of the GPUs here are not known".to_owned())
        }
        [] => Entry::Invalid("no GPU here has that UUID".to_owned()),
        _ => Entry::Invalid("several GPUs here have a UUID that begins so".to_owned()),
    }
}

/// What the variable says, as evidence.
pub(super) fn evidence(cx: &Cx<'_>) -> Evidence {
    let value = cx.facts.env.get(VARIABLE).map(String::as_str).unwrap_or_default();
    Evidence::env(VARIABLE, if value.trim().is_empty() { "set, and empty" } else { value })
}

fn check(cx: &Cx<'_>, out: &mut Judgment) {
    if !cx.view.has_gpu() {
        return;
    }
    kernels(cx, out);
    if !cx.facts.env.contains_key(VARIABLE) {
        return;
    }
    out.applies();
    if mask(cx) != Mask::HidesAll {
        return;
    }
    let value = cx.facts.env.get(VARIABLE).map(|value| value.trim()).unwrap_or_default();
    let title = match value {
        "" => "CUDA_VISIBLE_DEVICES is set and empty, which hides every GPU".to_owned(),
        value => {
            let short: String = value.chars().take(40).map(|c| if c.is_control() { ' ' } else { c }).collect();
            format!("CUDA_VISIBLE_DEVICES is {short}, which hides every GPU")
        }
    };
    out.find(
        Finding::new(Subject::Machine, title)
            .because(evidence(cx))
            .run("unset it; all GPUs are visible then", "unset CUDA_VISIBLE_DEVICES")
            .so("every CUDA program started from here sees no GPU, while nvidia-smi lists them all")
            .breaks(Break::Cuda),
    );
}

/// Jupyter's kernels whose own variables hide all: what runs in such a notebook sees none.
fn kernels(cx: &Cx<'_>, out: &mut Judgment) {
    for kernel in &cx.facts.kernels {
        let Some(value) = kernel.variables.get(VARIABLE) else { continue };
        out.applies();
        if !hides_all(value) {
            continue;
        }
        let subject = kernel.env.map_or(Subject::Machine, Subject::Env);
        out.find(
            Finding::new(subject, format!("the Jupyter kernel `{}` hides every GPU from what runs in it", kernel.name))
                .at(Level::Note)
                .because(Evidence::file(&kernel.path, format!("env: {VARIABLE} is {value:?}")))
                .help(format!("take {VARIABLE} out of `env` in that file, and start the kernel again")),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Facts, JupyterKernel};
    use crate::rules::testing::{bare, judge, machine, silent};

    fn set(value: &str) -> Facts {
        let mut facts = machine();
        facts.env.insert(VARIABLE.to_owned(), value.to_owned());
        facts
    }

    #[test]
    fn a_kernel_that_hides_all_is_told() {
        let mut facts = machine();
        let with = |value: &str| JupyterKernel {
            name: "cpu".to_owned(),
            path: "/home/ada/.local/share/jupyter/kernels/cpu/kernel.json".to_owned(),
            variables: [(VARIABLE.to_owned(), value.to_owned())].into(),
            ..JupyterKernel::default()
        };
        facts.kernels = vec![with("0"), JupyterKernel::default()];
        assert!(silent(&RULE, &facts));
        facts.kernels.push(with("-1"));
        let said = judge(&RULE, &facts);
        assert_eq!((said.findings.len(), said.findings[0].level), (1, Some(Level::Note)));
        assert!(said.findings[0].breaks.is_empty());
    }

    #[test]
    fn deliberate_hiding_is_found() {
        for value in ["", " ", "-1", "-1,0", "NoDevFiles", "void"] {
            let said = judge(&RULE, &set(value));
            assert_eq!(said.findings[0].breaks, [(Subject::Machine, Break::Cuda)], "{value:?}");
        }
    }

    #[test]
    fn a_gpu_that_another_driver_holds_is_not_counted() {
        use crate::rules::testing::{pci, titles};
        use crate::rules::{visible_devices_hides_some, visible_devices_invalid};
        for held in [Some("vfio-pci".to_owned()), Some("nouveau".to_owned()), None] {
            let mut facts = set("0");
            facts.pci.insert(0, crate::facts::PciDevice { driver: held, ..pci("0000:00:01.0", "0x2684") });
            assert!(silent(&visible_devices_hides_some::RULE, &facts));
            assert!(silent(&visible_devices_invalid::RULE, &facts));
            facts.env.insert(VARIABLE.to_owned(), "1".to_owned());
            assert_eq!(titles(&visible_devices_invalid::RULE, &facts).len(), 1);
            // Where NVIDIA's driver has none, all that there are could be meant.
            facts.pci.truncate(1);
            facts.driver.gpus.clear();
            assert_eq!(titles(&visible_devices_invalid::RULE, &facts).len(), 1);
        }
    }

    #[test]
    fn other_values_and_machines_are_not_its_business() {
        assert!(silent(&RULE, &machine()));
        assert!(silent(&RULE, &set("0")));
        assert!(silent(&RULE, &set("7")));
        let mut facts = bare();
        facts.env.insert(VARIABLE.to_owned(), "-1".to_owned());
        assert!(silent(&RULE, &facts));
    }
}
