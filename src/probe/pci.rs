//! Display devices and NVIDIA bridges on the PCI bus, from sysfs; wakes no sleeping device.

use crate::facts::PciDevice;
use crate::host::Host;

/// Where the kernel lists the devices of the bus.
pub(super) const DEVICES: &str = "/sys/bus/pci/devices";
/// Devices looked at; the largest servers have a few hundred.
const DEVICE_LIMIT: usize = 4096;
/// What a register reads when nothing answers.
const NO_ANSWER: &str = "0xffff";

/// Reads the display devices of any vendor and NVIDIA's bridges.
pub fn probe(host: &Host) -> Vec<PciDevice> {
    host.names(DEVICES).into_iter().take(DEVICE_LIMIT).filter_map(|address| device(host, &address)).collect()
}

fn device(host: &Host, address: &str) -> Option<PciDevice> {
    let path = format!("{DEVICES}/{address}");
    let read = |name: &str| attribute(host, &format!("{path}/{name}"));
    let vendor = read("vendor")?;
    let class = read("class")?;
    let silent = vendor.starts_with(NO_ANSWER);
    let nvidia = vendor == PciDevice::NVIDIA;
    let display = class.starts_with("0x03");
    if !(display || (nvidia && class.starts_with("0x0680")) || (silent && class.starts_with(NO_ANSWER))) {
        return None;
    }
    let power = read("power/runtime_status");
    // The kernel wakes a sleeping device when its configuration is read; a sleeping one is not lost.
    let asleep = power.as_deref().is_some_and(|state| state.starts_with("suspend"));
    let lost = silent || (!asleep && configuration_is_silent(host, &path));
    Some(PciDevice {
        address: address.to_owned(),
        device: read("device").unwrap_or_default(),
        driver: host
            .read_link(format!("{path}/driver"))
            .ok()
            .and_then(|target| target.file_name().map(|name| name.to_string_lossy().into_owned())),
        lost,
        bar_unassigned: nvidia
            && display
            && host.read_lossy(format!("{path}/resource")).is_ok_and(|text| window_is_unassigned(&text)),
        vendor,
        class,
        power,
        path,
    })
}

/// A one-line attribute, in lower case.
fn attribute(host: &Host, path: &str) -> Option<String> {
    let bytes = host.read_head(path, 64).ok()?;
    let text = String::from_utf8_lossy(&bytes).trim().to_ascii_lowercase();
    (!text.is_empty()).then_some(text)
}

fn configuration_is_silent(host: &Host, path: &str) -> bool {
    host.read_head(format!("{path}/config"), 64)
        .is_ok_and(|bytes| bytes.len() >= 4 && bytes.iter().all(|&byte| byte == 0xff))
}

/// Whether the second line of `resource`, the window onto the memory of the GPU, begins at address zero.
fn window_is_unassigned(resource: &str) -> bool {
    let start = resource.lines().nth(1).and_then(|line| line.split_whitespace().next());
    start.and_then(|text| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok()) == Some(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing::Tree;
    use proptest::prelude::*;

    fn gpu(tree: &Tree, address: &str) -> String {
        let folder = format!("{DEVICES}/{address}");
        tree.write(&format!("{folder}/vendor"), "0x10de\n")
            .write(&format!("{folder}/device"), "0x2330\n")
            .write(&format!("{folder}/class"), "0x030200\n");
        folder
    }

    #[test]
    fn a_healthy_gpu_is_read() {
        let tree = Tree::new();
        let folder = gpu(&tree, "0000:01:00.0");
        tree.write(&format!("{folder}/config"), "\u{1}\u{2}\u{3}\u{4}")
            .write(&format!("{folder}/resource"), "0xa0 0xaf 0x4\n0xb0 0xbf 0x4\n")
            .write(&format!("{folder}/power/runtime_status"), "active\n")
            .link("../../../../bus/pci/drivers/nvidia", &format!("{folder}/driver"));
        tree.write(&format!("{DEVICES}/0000:00:00.0/vendor"), "0x8086\n")
            .write(&format!("{DEVICES}/0000:00:00.0/class"), "0x060000\n");
        let devices = probe(&tree.host(&[]));
        assert_eq!(devices.len(), 1);
        let device = &devices[0];
        assert!(device.is_nvidia_gpu() && !device.lost && !device.bar_unassigned);
        assert_eq!((device.device.as_str(), device.driver.as_deref()), ("0x2330", Some("nvidia")));
        assert_eq!(device.power.as_deref(), Some("active"));
    }

    #[test]
    fn a_gpu_that_answers_nothing_is_lost_and_one_without_a_window_is_told() {
        let tree = Tree::new();
        let lost = gpu(&tree, "0000:01:00.0");
        std::fs::write(tree.path(&format!("{lost}/config")), [0xff; 256]).unwrap();
        let bare = gpu(&tree, "0000:02:00.0");
        tree.write(&format!("{bare}/resource"), "0xa0 0xaf 0x4\n0x0000 0x0000 0x0\n");
        let asleep = gpu(&tree, "0000:03:00.0");
        std::fs::write(tree.path(&format!("{asleep}/config")), [0xff; 256]).unwrap();
        tree.write(&format!("{asleep}/power/runtime_status"), "suspended\n");
        let devices = probe(&tree.host(&[]));
        let told: Vec<_> = devices.iter().map(|device| (device.lost, device.bar_unassigned)).collect();
        assert_eq!(told, [(true, false), (false, true), (false, false)]);
    }

    proptest! {
        #[test]
        fn resources_never_panic(text in "\\PC{0,200}") {
            let _ = window_is_unassigned(&text);
        }
    }
}
