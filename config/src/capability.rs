//! Linux capabilities, by number and by name.

use std::fmt;

/// By number, as `linux/capability.h` has them, without `CAP_` and in lower case.
const NAMES: [&str; 41] = [
    "chown",
    "dac_override",
    "dac_read_search",
    "fowner",
    "fsetid",
    "kill",
    "setgid",
    "setuid",
    "setpcap",
    "linux_immutable",
    "net_bind_service",
    "net_broadcast",
    "net_admin",
    "net_raw",
    "ipc_lock",
    "ipc_owner",
    "sys_module",
    "sys_rawio",
    "sys_chroot",
    "sys_ptrace",
    "sys_pacct",
    "sys_admin",
    "sys_boot",
    "sys_nice",
    "sys_resource",
    "sys_time",
    "sys_tty_config",
    "mknod",
    "lease",
    "audit_write",
    "audit_control",
    "setfcap",
    "mac_override",
    "mac_admin",
    "syslog",
    "wake_alarm",
    "block_suspend",
    "audit_read",
    "perfmon",
    "bpf",
    "checkpoint_restore",
];

/// One capability of capabilities(7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Capability(u8);

impl Capability {
    /// Network configuration: what taps and AF_XDP sockets need.
    pub const NET_ADMIN: Capability = Capability(12);
    /// Packet sockets.
    pub const NET_RAW: Capability = Capability(13);
    /// Memory that stays in memory.
    pub const IPC_LOCK: Capability = Capability(14);

    /// The capability of a name in any case, with or without `CAP_`.
    pub fn from_name(name: &str) -> Option<Capability> {
        let name = name.to_ascii_lowercase().replace('-', "_");
        let name = name.strip_prefix("cap_").unwrap_or(&name);
        NAMES.iter().position(|known| *known == name).map(|number| Capability(number as u8))
    }

    /// Its bit in the masks of `/proc/PID/status`.
    pub fn bit(self) -> u64 {
        1 << self.0
    }

    /// Those whose bits are set; bits without a name are left out.
    pub fn of_mask(mask: u64) -> impl Iterator<Item = Capability> {
        (0..NAMES.len() as u8).map(Capability).filter(move |known| mask & known.bit() != 0)
    }

    /// All names, without `cap_`.
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().copied()
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cap_{}", NAMES[usize::from(self.0)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_bits_are_the_kernels() {
        assert_eq!(Capability::from_name("CAP_NET_ADMIN"), Some(Capability::NET_ADMIN));
        assert_eq!(Capability::from_name("net-raw"), Some(Capability::NET_RAW));
        assert_eq!(Capability::from_name("ipc_lock").unwrap().bit(), 1 << 14);
        assert_eq!(Capability::from_name("checkpoint_restore").unwrap().bit(), 1 << 40);
        assert_eq!(Capability::from_name("sys_admin").unwrap().bit(), 1 << 21);
        assert_eq!(Capability::from_name("everything"), None);
        let shown: Vec<_> = Capability::of_mask(0x7000).map(|c| c.to_string()).collect();
        assert_eq!(shown, ["cap_net_admin", "cap_net_raw", "cap_ipc_lock"]);
    }
}
