//! Readings of the machine itself: system, processor, user, container, WSL.

use serde::{Deserialize, Serialize};

use super::{Evidence, Probed};
use crate::version::Dotted;

/// Operating system, processor, user and what encloses them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// `linux`, `macos` or `windows`.
    pub os: String,
    /// `x86_64`, `aarch64`, ... as Rust and `uname -m` name it.
    pub arch: String,
    /// `PRETTY_NAME` of os-release.
    pub distribution: Probed<String>,
    /// `ID` of os-release, such as `debian`.
    pub distribution_id: Probed<String>,
    /// The release of the running kernel.
    pub kernel: Probed<String>,
    /// The C library's version.
    pub glibc: Probed<Dotted>,
    /// Whether the processor has AVX (`flags` of /proc/cpuinfo); only read on x86-64.
    pub avx: Probed<bool>,
    /// Who would run the programs.
    pub user: User,
    /// Windows Subsystem for Linux, where this is one.
    pub wsl: Option<Wsl>,
    /// The container that encloses the process, where there is one.
    pub container: Option<Container>,
    /// Why a tree does not tell which devices are on the PCI bus; nothing where it was listed.
    #[serde(default)]
    pub pci_unlisted: Option<String>,
    /// What shows an NVIDIA Jetson, where this is one.
    pub tegra: Option<Evidence>,
}

/// Who would run the programs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The effective user id, where known.
    pub uid: Option<u32>,
    /// All group ids, where known.
    pub gids: Vec<u32>,
    /// The login name, where known.
    pub name: Option<String>,
    /// The home folder as Python's `expanduser` would give it.
    pub home: Option<String>,
}

/// Windows Subsystem for Linux.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wsl {
    /// 1 or 2.
    pub version: u8,
    /// What shows it.
    pub evidence: Evidence,
    /// Whether `/dev/dxg`, the door to the GPU, is there.
    pub dxg: bool,
    /// `/usr/lib/wsl/lib/libcuda.so.1`, where it is there.
    pub libcuda: Option<String>,
}

/// A container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Container {
    /// `docker`, `podman`, `toolbox`, `kubernetes`, `lxc`, `systemd-nspawn`, `apptainer`, `charliecloud`,
    /// `gvisor`, `flatpak`, or `unknown`.
    pub kind: String,
    /// What shows it.
    pub evidence: Evidence,
}
