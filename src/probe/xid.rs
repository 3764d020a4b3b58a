//! Reads the NVIDIA driver's error reports (Xid) from the kernel's ring buffer; judges nothing.
//!
//! The buffer holds what was said since the machine started, or the last of it. Where it may not be read, that is told.

use crate::facts::{Evidence, Probed, Xid};
use crate::host::{Host, Why};

/// The kernel's ring buffer.
const LOG: &str = "/dev/kmsg";
/// Bytes of it that are read; kernels keep a quarter of that by default.
const LIMIT: u64 = 4 << 20;
/// The last reports are kept, this many.
const KEPT: usize = 32;
/// Characters of a report that are kept.
const LENGTH: usize = 200;

/// Reads the reports, the oldest first.
pub fn probe(host: &Host) -> Probed<Vec<Xid>> {
    match host.kernel_log(LOG, LIMIT) {
        Ok(text) => {
            let xids = parse(&text);
            let says = match xids.last() {
                None => "holds no Xid".to_owned(),
                Some(last) => format!("holds {} Xid, the last one {} on {}", xids.len(), last.number, last.address),
            };
            Probed::found(xids, Evidence::file(LOG, says))
        }
        Err(error) if error.why == Why::NotFound => Probed::Absent,
        Err(error) => Probed::failed(format!("{LOG}: {}", error.why)),
    }
}

/// The reports in records of the buffer: `PRIORITY,NUMBER,MICROSECONDS,FLAGS;MESSAGE`, further lines begin with a space.
///
/// The form of a record: the kernel's Documentation/ABI/testing/dev-kmsg. That of a report: NVIDIA's "XID Errors", and
/// the open kernel module's `nvErrorLog`.
fn parse(text: &str) -> Vec<Xid> {
    let mut xids: Vec<Xid> = text.lines().filter_map(record).collect();
    let surplus = xids.len().saturating_sub(KEPT);
    xids.drain(..surplus);
    xids
}

fn record(line: &str) -> Option<Xid> {
    let (head, message) = line.split_once(';')?;
    let seconds = head.split(',').nth(2)?.parse::<u64>().ok()? / 1_000_000;
    let report = message.split_once("NVRM: Xid (")?.1;
    let (address, rest) = report.split_once("): ")?;
    let digits = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
    let (number, says) = rest.split_at_checked(digits)?;
    // A MIG instance is named behind its GPU.
    let address = address.trim_start_matches("PCI:").split(' ').next()?;
    // The kernel leaves the function out; it is 0.
    let address = if address.contains('.') { address.to_owned() } else { format!("{address}.0") };
    Some(Xid {
        address: address.to_ascii_lowercase(),
        number: number.parse().ok()?,
        seconds,
        says: says.trim_start_matches([',', ' ']).chars().take(LENGTH).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing::Tree;
    use proptest::prelude::*;

    const RECORDS: &str = "\
6,1,100,-;Linux version 6.1.0
 SUBSYSTEM=pci
4,812,51407900123,-;NVRM: Xid (PCI:0000:65:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.
4,813,51407900124,-;NVRM: GPU 0000:65:00.0: GPU has fallen off the bus.
4,901,60000000000,-;NVRM: Xid (PCI:0000:17:00 GPU-I:05): 31, pid=4242, name=python3, Ch 00000008, MMU Fault
4,902,60000000001,-;NVRM: Xid (0000:03:00): 13, Graphics Exception
4,903,x,-;NVRM: Xid (0000:03:00): 13, no time
4,904,1,-;NVRM: Xid (0000:03:00): many
";

    #[test]
    fn reports_have_their_gpu_number_and_time() {
        let tree = Tree::new();
        tree.write("/dev/kmsg", RECORDS);
        let xids = probe(&tree.host(&[])).value().cloned().unwrap();
        let short: Vec<_> = xids.iter().map(|xid| (xid.address.as_str(), xid.number, xid.seconds)).collect();
        assert_eq!(short, [("0000:65:00.0", 79, 51_407), ("0000:17:00.0", 31, 60_000), ("0000:03:00.0", 13, 60_000)]);
        assert_eq!(xids[0].says, "pid='<unknown>', name=<unknown>, GPU has fallen off the bus.");
        assert!(probe(&Tree::new().host(&[])).is_absent());
    }

    proptest! {
        #[test]
        fn no_log_makes_it_panic(text in "[0-9a-z,;:(). \\nNVRMXidPCI]{0,200}") {
            let _ = parse(&text);
            let _ = parse(&format!("4,1,2,-;NVRM: Xid ({text}"));
        }
    }
}
