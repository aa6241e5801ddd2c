//! [`Device`]: what `--dev` names.

use std::str::FromStr;

use dataplane::dpdk::vdev;

/// Drivers of virtual devices that move packets between processes, or between us and the kernel.
const DRIVERS: [&str; 11] = [
    "net_af_packet",
    "net_af_xdp",
    "net_memif",
    "net_vhost",
    "net_virtio_user",
    "virtio_user",
    "net_tap",
    "net_pcap",
    "net_null",
    "net_ring",
    "eth_null",
];

/// A device that DPDK can open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// A virtual one, as `--vdev` of EAL takes it: `net_memif0,role=server`.
    Virtual(String),
    /// One on the PCI bus, by its address with domain: `0000:02:00.0`.
    Pci(String),
}

impl Device {
    /// The name by which DPDK finds the port.
    pub fn name(&self) -> &str {
        match self {
            Self::Virtual(text) => vdev::device_name(text),
            Self::Pci(address) => address,
        }
    }

    /// Must all of EAL's memory be in one file, since the other side maps it?
    pub fn shares_memory(&self) -> bool {
        match self {
            Self::Virtual(text) => {
                matches!(vdev::driver(text), "net_virtio_user" | "virtio_user")
                    || text.split(',').any(|word| word == "zero-copy=yes")
            }
            Self::Pci(_) => false,
        }
    }

    /// What EAL's `--vdev` is told for one queue pair; `None` for a device that is no virtual one.
    pub fn vdev(&self) -> Option<String> {
        match self {
            Self::Virtual(text) => Some(vdev::complete(text, 1)),
            Self::Pci(_) => None,
        }
    }
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(address) = pci_address(text) {
            return Ok(Self::Pci(address));
        }
        let (driver, name) = (vdev::driver(text), vdev::device_name(text));
        if !DRIVERS.contains(&driver) {
            return Err(format!(
                "`{name}` is neither a PCI address such as 0000:02:00.0 nor a virtual device such \
                 as net_af_packet0,iface=veth0; drivers of virtual devices are {}",
                DRIVERS.join(", ")
            ));
        }
        if driver == name {
            return Err(format!("`{name}` lacks the device's number: say {name}0"));
        }
        let (key, example) = match driver {
            "net_af_packet" | "net_af_xdp" => ("iface=", "iface=veth0"),
            "net_vhost" => ("iface=", "iface=/tmp/vhost.sock"),
            "net_virtio_user" | "virtio_user" => ("path=", "path=/tmp/vhost.sock"),
            _ => ("", ""),
        };
        let has_key = text.split(',').skip(1).any(|word| word.starts_with(key) && word != key);
        if !key.is_empty() && !has_key {
            return Err(format!("`{text}` lacks {key}: say {name},{example}"));
        }
        vdev::check(&vdev::complete(text, 1))?;
        Ok(Self::Virtual(text.to_owned()))
    }
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Virtual(text) | Self::Pci(text) => f.write_str(text),
        }
    }
}

/// `02:00.0` or `0000:02:00.0`, with its domain.
fn pci_address(text: &str) -> Option<String> {
    let (slot, function) = text.rsplit_once('.')?;
    let fields: Vec<&str> = slot.split(':').collect();
    let (domain, bus, device) = match fields[..] {
        [bus, device] => ("0000", bus, device),
        [domain, bus, device] => (domain, bus, device),
        _ => return None,
    };
    let is_hex = |text: &str, len| text.len() == len && text.chars().all(|c| c.is_ascii_hexdigit());
    let all = [(domain, 4), (bus, 2), (device, 2), (function, 1)];
    let valid = all.into_iter().all(|(text, len)| is_hex(text, len));
    valid.then(|| format!("{domain}:{bus}:{device}.{function}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_told_apart() {
        let device = |text: &str| text.parse::<Device>().unwrap();
        assert_eq!(device("02:00.1"), Device::Pci("0000:02:00.1".into()));
        assert_eq!(device("0000:02:00.1").name(), "0000:02:00.1");
        assert_eq!(device("net_memif0,role=server").name(), "net_memif0");
        assert_eq!(device("virtio_user3,path=/tmp/x").name(), "virtio_user3");
        assert!(device("net_virtio_user0,path=/tmp/x").shares_memory());
        assert!(device("net_memif0,zero-copy=yes").shares_memory());
        assert!(!device("net_vhost0,iface=/tmp/x").shares_memory());
        assert_eq!(device("02:00.1").vdev(), None);
        let ring = "blocksz=65536,framesz=2048,framecnt=8192";
        let expected = format!("net_af_packet0,iface=veth0,qpairs=1,{ring}");
        assert_eq!(device("net_af_packet0,iface=veth0").vdev(), Some(expected));
    }

    #[test]
    fn what_is_wrong_and_what_is_right_is_said() {
        for (text, said) in [
            ("veth0", "`veth0` is neither a PCI address such as 0000:02:00.0"),
            ("0000:02:00", "neither a PCI address"),
            ("02:00.x", "neither a PCI address"),
            ("net_memif", "say net_memif0"),
            ("net_af_packet0", "lacks iface=: say net_af_packet0,iface=veth0"),
            ("net_af_xdp0,iface=", "lacks iface="),
            ("net_vhost0,queues=1", "say net_vhost0,iface=/tmp/vhost.sock"),
            ("virtio_user0", "say virtio_user0,path=/tmp/vhost.sock"),
            ("net_af_packet0,iface=x,blocksz=1", "blocksz=1 is not a multiple of 4096"),
        ] {
            let error = text.parse::<Device>().unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }
}
