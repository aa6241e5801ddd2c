//! Virtual IPs: what clients connect to.

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

use crate::application_server::AsId;
use crate::new_flow_table::NewFlowTable;
use crate::protocol::Protocol;

/// How many of the 65 536 indices of a [`FlowKey`](crate::FlowKey) name direct flows, which reach
/// an AS past its VIP, instead of VIPs.
pub const DIRECT_INDICES: usize = 4096;

/// How many VIPs can exist: a flow key has 16 bits for the VIP, less the tail for direct flows.
pub const MAX_VIPS: usize = 65_536 - DIRECT_INDICES;

/// A VIP's index, below [`MAX_VIPS`]; the number that `lb_vip_add ok <index>` prints.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VipId(u32);

impl VipId {
    /// The VIP with this index; `None` from [`MAX_VIPS`] on.
    #[must_use]
    pub const fn new(index: u32) -> Option<Self> {
        if (index as usize) < MAX_VIPS { Some(Self(index)) } else { None }
    }

    /// The index as a number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The index for slices.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for VipId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What identifies a VIP: a /32 address, the protocol and the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VipKey {
    /// The address that clients use.
    pub address: Ipv4Addr,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The port that clients use, host byte order.
    pub port: u16,
}

impl VipKey {
    /// One non-zero word for exact tables: address, port, protocol from the top.
    pub(crate) fn word(self) -> u64 {
        endpoint_word(self.address, self.port, self.protocol)
    }
}

/// Packs (address, port, protocol) into one word; never 0, as no protocol is 0.
pub(crate) fn endpoint_word(address: Ipv4Addr, port: u16, protocol: Protocol) -> u64 {
    u64::from(u32::from(address)) << 32 | u64::from(port) << 16 | u64::from(protocol.number())
}

/// Prints the key as commands spell it: `10.10.2.2/32 protocol tcp port 8080`.
impl fmt::Display for VipKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/32 protocol {} port {}", self.address, self.protocol.name(), self.port)
    }
}

/// A VIP's configuration, from which [`LbTables`](crate::LbTables) derives a [`Vip`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VipSpec {
    /// The VIP's index.
    pub id: VipId,
    /// Address, protocol and port.
    pub key: VipKey,
    /// The port on the ASs, host byte order (`target_port`).
    pub target_port: u16,
    /// Whether all flows of one source address go to one AS (`src_ip_sticky`).
    pub src_ip_sticky: bool,
    /// The length of the new-flow table (`new_len`).
    pub length: crate::TableLength,
}

/// A VIP as a worker needs it; immutable part of a snapshot.
#[derive(Clone, Debug)]
pub struct Vip {
    /// The VIP's index.
    pub id: VipId,
    /// Address, protocol and port.
    pub key: VipKey,
    /// The port on the ASs, host byte order.
    pub target_port: u16,
    /// Whether all flows of one source address go to one AS.
    pub src_ip_sticky: bool,
    /// Whether replies of at least one AS can be told apart only by a flow entry, because another
    /// VIP has the same AS, target port and protocol.
    pub shared_reverse: bool,
    /// Which member a new flow goes to; shared by VIPs with the same ASs and weights.
    pub table: Arc<NewFlowTable>,
    /// The AS behind each member of `table`, in the same order.
    pub members: Arc<[AsId]>,
}

impl Vip {
    /// The AS in a slot of the new-flow table; `None` when no AS takes new flows.
    #[must_use]
    pub fn server_in_slot(&self, slot: usize) -> Option<AsId> {
        let member = self.table.member_in_slot(slot)?;
        self.members.get(member).copied()
    }

    /// The AS that the new-flow table gives to a flow hash; `None` when no AS takes new flows.
    #[must_use]
    pub fn server_for(&self, hash: u64) -> Option<AsId> {
        self.server_in_slot(self.table.slot_of(hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_stop_before_the_tail_for_direct_flows() {
        assert_eq!(VipId::new(61_439).map(VipId::get), Some(61_439));
        assert_eq!(VipId::new(61_440), None);
    }

    #[test]
    fn a_key_prints_as_commands_spell_it() {
        let key =
            VipKey { address: Ipv4Addr::new(10, 10, 2, 2), protocol: Protocol::Tcp, port: 8080 };
        assert_eq!(key.to_string(), "10.10.2.2/32 protocol tcp port 8080");
    }

    #[test]
    fn words_differ_in_every_part() {
        let word = endpoint_word(Ipv4Addr::new(1, 2, 3, 4), 5, Protocol::Tcp);
        assert_ne!(word, endpoint_word(Ipv4Addr::new(1, 2, 3, 5), 5, Protocol::Tcp));
        assert_ne!(word, endpoint_word(Ipv4Addr::new(1, 2, 3, 4), 6, Protocol::Tcp));
        assert_ne!(word, endpoint_word(Ipv4Addr::new(1, 2, 3, 4), 5, Protocol::Udp));
        assert_ne!(endpoint_word(Ipv4Addr::UNSPECIFIED, 0, Protocol::Tcp), 0);
    }
}
