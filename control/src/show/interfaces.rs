//! `show interface`, `GET /v1/interfaces`; `show interface address`, `GET /v1/addresses`.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use super::layout::center;

/// All interfaces, by name as VPP sorts them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Interfaces {
    /// The interfaces.
    pub interfaces: Vec<InterfaceStatus>,
}

/// One interface and its traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InterfaceStatus {
    /// Name.
    pub name: String,
    /// `sw_if_index`.
    pub index: u16,
    /// Administrative state.
    pub up: bool,
    /// Its device's link: `up`, `down`, or `lost` when the kernel's interface is gone.
    pub link: &'static str,
    /// Largest IP packet.
    pub mtu_bytes: u16,
    /// `lb set interface nat4 in`.
    pub nat4_in: bool,
    /// `lb set interface nat6 in`.
    pub nat6_in: bool,
    /// Traffic since the last `clear interfaces`.
    pub counters: InterfaceCounters,
}

/// Traffic of an interface over all workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct InterfaceCounters {
    /// Received.
    pub rx_packets: u64,
    /// Received.
    pub rx_bytes: u64,
    /// Sent.
    pub tx_packets: u64,
    /// Sent.
    pub tx_bytes: u64,
    /// Received and dropped, whatever the reason.
    pub drops: u64,
    /// Received and given to control.
    pub punts: u64,
    /// IPv4 packets received.
    pub ip4_packets: u64,
    /// IPv6 packets received.
    pub ip6_packets: u64,
    /// Not received because no descriptor was free.
    pub rx_missed: u64,
    /// Not received because no buffer was free.
    pub rx_no_buffer: u64,
    /// Received in error.
    pub rx_errors: u64,
    /// Not taken by the port, or failed after it took them.
    pub tx_errors: u64,
}

impl InterfaceCounters {
    /// With VPP's names, in VPP's order.
    fn named(&self) -> [(&'static str, u64); 12] {
        [
            ("rx packets", self.rx_packets),
            ("rx bytes", self.rx_bytes),
            ("tx packets", self.tx_packets),
            ("tx bytes", self.tx_bytes),
            ("drops", self.drops),
            ("punt", self.punts),
            ("ip4", self.ip4_packets),
            ("ip6", self.ip6_packets),
            ("rx-no-buf", self.rx_no_buffer),
            ("rx-miss", self.rx_missed),
            ("rx-error", self.rx_errors),
            ("tx-error", self.tx_errors),
        ]
    }

    /// What was counted since `baseline`.
    pub fn since(&self, baseline: &Self) -> Self {
        let since = |now: u64, then: u64| now.saturating_sub(then);
        Self {
            rx_packets: since(self.rx_packets, baseline.rx_packets),
            rx_bytes: since(self.rx_bytes, baseline.rx_bytes),
            tx_packets: since(self.tx_packets, baseline.tx_packets),
            tx_bytes: since(self.tx_bytes, baseline.tx_bytes),
            drops: since(self.drops, baseline.drops),
            punts: since(self.punts, baseline.punts),
            ip4_packets: since(self.ip4_packets, baseline.ip4_packets),
            ip6_packets: since(self.ip6_packets, baseline.ip6_packets),
            rx_missed: since(self.rx_missed, baseline.rx_missed),
            rx_no_buffer: since(self.rx_no_buffer, baseline.rx_no_buffer),
            rx_errors: since(self.rx_errors, baseline.rx_errors),
            tx_errors: since(self.tx_errors, baseline.tx_errors),
        }
    }
}

impl Display for Interfaces {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let head = [("Name", 32), ("Idx", 5), ("State", 10), ("MTU (L3/IP4/IP6/MPLS)", 21)];
        let head = head.iter().chain(&[("Counter", 16), ("Count", 16)]);
        writeln!(f, "{}", head.map(|(title, width)| center(title, *width)).collect::<String>())?;
        for interface in &self.interfaces {
            let InterfaceStatus { name, index, up, mtu_bytes, .. } = interface;
            let state = center(if *up { "up" } else { "down" }, 10);
            let mtu = center(format!("{mtu_bytes}/0/0/0"), 21);
            write!(f, "{name:<32}{}{state}{mtu}", center(index, 5))?;
            let counted = interface.counters.named();
            let mut counted = counted.iter().filter(|(_, count)| *count > 0);
            if let Some((counter, count)) = counted.next() {
                write!(f, "{counter:<16}{count:>16}")?;
            }
            writeln!(f)?;
            if interface.link != "up" {
                writeln!(f, "  link {}", interface.link)?;
            }
            for (counter, count) in counted {
                writeln!(f, "{:68}{counter:<16}{count:>16}", "")?;
            }
        }
        Ok(())
    }
}

/// The addresses of all interfaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Addresses {
    /// By interface name.
    pub interfaces: Vec<InterfaceAddresses>,
}

/// The addresses of one interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InterfaceAddresses {
    /// Name.
    pub name: String,
    /// `sw_if_index`.
    pub index: u16,
    /// Administrative state.
    pub up: bool,
    /// With the length of the connected network.
    pub addresses: Vec<String>,
}

impl Display for Addresses {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for interface in &self.interfaces {
            let state = if interface.up { "up" } else { "dn" };
            writeln!(f, "{} ({state}):", interface.name)?;
            for address in &interface.addresses {
                writeln!(f, "  L3 {address}")?;
            }
        }
        Ok(())
    }
}
