//! Virtual IPs: what clients connect to.

use std::fmt;
use std::sync::Arc;

use crate::address::Address;
use crate::application_server::AsId;
use crate::new_flow_table::NewFlowTable;
use crate::ports::{Ports, TargetPort};
use crate::prefix::Prefix;
use crate::rotation::Rotation;
use crate::tcp_state::Direction;
use crate::timeouts::{ProfileId, Timeouts};

/// How many of the 65 536 indices of a [`FlowKey`](crate::FlowKey) are kept from VIPs; the first of
/// them names direct flows, which reach an AS past its VIP.
pub const RESERVED_INDICES: usize = 4096;

/// How many VIPs can exist: a flow key has 16 bits for the VIP, less the reserved tail.
pub const MAX_VIPS: usize = 65_536 - RESERVED_INDICES;

/// A VIP's index, below [`MAX_VIPS`]; the number that `lb_vip_add ok <index>` prints.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VipId(u32);

impl VipId {
    /// The VIP with this index; `None` from [`MAX_VIPS`] on.
    #[inline]
    #[must_use]
    pub const fn new(index: u32) -> Option<Self> {
        if (index as usize) < MAX_VIPS { Some(Self(index)) } else { None }
    }

    /// The index as a number.
    #[inline]
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The index for slices.
    #[inline]
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

/// What identifies a VIP: where its packets go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VipKey {
    /// The addresses that clients use.
    pub prefix: Prefix,
    /// The ports that clients use.
    pub ports: Ports,
}

/// Prints the key as commands spell it: `10.10.2.2/32 protocol tcp port 8080`.
impl fmt::Display for VipKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.prefix, self.ports)
    }
}

/// How new flows find their AS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Scheduler {
    /// By their hash, so that replicas agree.
    #[default]
    Maglev,
    /// One after the other, over all workers.
    RoundRobin,
}

/// A VIP's configuration, from which [`LbTables`](crate::LbTables) derives a [`Vip`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VipSpec {
    /// The VIP's index.
    pub id: VipId,
    /// Addresses and ports.
    pub key: VipKey,
    /// The ports on the ASs (`target_port`); anything but [`TargetPort::Keep`] needs `nat`.
    pub target: TargetPort,
    /// The port at which every address of an interface leads to the VIP as well, host byte order
    /// (`type nodeport node_port <n>`); needs `nat` and a VIP of one port.
    pub node_port: Option<u16>,
    /// Whether all flows of one source address go to one AS (`src_ip_sticky`).
    pub src_ip_sticky: bool,
    /// How new flows find their AS (`scheduler`).
    pub scheduler: Scheduler,
    /// The length of the new-flow table (`new_len`).
    pub length: crate::TableLength,
    /// Whether replies pass us and are translated; needs ports.
    pub nat: bool,
    /// How long its flows live; `None` is as everywhere.
    pub timeouts: Option<Timeouts>,
}

/// What it takes to recognise a flow of a VIP in a sticky table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// The client's IPv4 address and port: the VIP says the rest.
    Exact,
    /// A strong hash of the 5-tuple: nobody asks for a flow by anything else.
    Tag,
    /// A strong hash of the client's address and port, as replies know only these: the VIP says the
    /// rest. The 5-tuple is kept beside it to be shown.
    End,
    /// The 5-tuple in full, found by the client's address and port: replies know only these.
    Full,
}

impl KeyKind {
    /// Whether the VIP has one address and port, so that a client's address and port name a flow.
    #[inline]
    #[must_use]
    pub const fn is_of_one_service(self) -> bool {
        matches!(self, Self::Exact | Self::End)
    }

    /// Whether entries have a cell beside their bucket.
    #[inline]
    #[must_use]
    pub const fn has_cell(self) -> bool {
        matches!(self, Self::End | Self::Full)
    }
}

impl VipSpec {
    pub(crate) fn key_kind(&self) -> KeyKind {
        let (prefix, ports) = (self.key.prefix, self.key.ports);
        let one_service = prefix.is_host() && ports.single().is_some() && self.node_port.is_none();
        match (one_service, self.nat) {
            (true, _) if !prefix.is_v6() => KeyKind::Exact,
            (true, true) => KeyKind::End,
            (false, true) => KeyKind::Full,
            (_, false) => KeyKind::Tag,
        }
    }
}

/// A VIP as a worker needs it; immutable part of a snapshot, but for the cursor of its rotation.
#[derive(Clone, Debug)]
pub struct Vip {
    /// The VIP's index.
    pub id: VipId,
    /// Addresses and ports.
    pub key: VipKey,
    /// The ports on the ASs.
    pub target: TargetPort,
    /// The port of every interface address that leads here, host byte order.
    pub node_port: Option<u16>,
    /// Whether all flows of one source address go to one AS.
    pub src_ip_sticky: bool,
    /// Whether replies are translated.
    pub nat: bool,
    /// Which member a new flow goes to; shared by VIPs with the same ASs and weights.
    pub table: Arc<NewFlowTable>,
    /// The AS behind each member of `table`, in the same order.
    pub members: Arc<[AsId]>,
    /// The order in which new flows go to ASs with [`Scheduler::RoundRobin`].
    pub rotation: Option<Rotation>,
    /// All its ASs, tombstones included.
    pub(crate) servers: Arc<[AsId]>,
    pub(crate) kind: KeyKind,
    /// Its timeouts, if they are its own.
    pub(crate) timeouts: Option<Timeouts>,
    /// Which timeouts its flows have.
    pub profile: ProfileId,
}

impl Vip {
    /// The port on the ASs for a packet to this port (host byte order) of the VIP; the node port
    /// stands for the VIP's own.
    #[must_use]
    pub fn target_port(&self, port: u16) -> u16 {
        let port = match (self.node_port, self.key.ports) {
            (Some(_), Ports::Range { first, .. }) => first,
            _ => port,
        };
        self.target.of(self.key.ports, port)
    }

    /// The address and port of the VIP that a packet from this port of an AS answers for; `None`
    /// when there are several.
    #[must_use]
    pub fn origin<A: Address>(&self, server_port: u16) -> Option<(A, u16)> {
        if !self.key.prefix.is_host() || self.node_port.is_some() {
            return None;
        }
        let port = self.target.origin(self.key.ports, server_port)?;
        Some((A::from_ip(self.key.prefix.network)?, port))
    }

    /// What clients' packets tell of the states of its flows.
    #[must_use]
    pub const fn client_direction(&self) -> Direction {
        if self.nat { Direction::ToServer } else { Direction::OneWay }
    }

    /// What it takes to recognise its flows.
    #[must_use]
    pub fn key_kind(&self) -> KeyKind {
        self.kind
    }

    /// How new flows find their AS.
    #[must_use]
    pub fn scheduler(&self) -> Scheduler {
        if self.rotation.is_some() { Scheduler::RoundRobin } else { Scheduler::Maglev }
    }

    /// The AS in a slot of the new-flow table; `None` when no AS takes new flows.
    #[inline]
    #[must_use]
    pub fn server_in_slot(&self, slot: usize) -> Option<AsId> {
        let member = self.table.member_in_slot(slot)?;
        self.members.get(member).copied()
    }

    /// The AS that the new-flow table gives to a flow hash; `None` when no AS takes new flows.
    #[inline]
    #[must_use]
    pub fn server_for(&self, hash: u64) -> Option<AsId> {
        self.server_in_slot(self.table.slot_of(hash))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Protocol;

    #[test]
    fn ids_stop_before_the_reserved_tail() {
        assert_eq!(VipId::new(61_439).map(VipId::get), Some(61_439));
        assert_eq!(VipId::new(61_440), None);
    }

    #[test]
    fn a_key_prints_as_commands_spell_it() {
        let prefix = |text: &str, len| Prefix::new(text.parse().unwrap(), len).unwrap();
        let key =
            VipKey { prefix: prefix("10.10.2.2", 32), ports: Ports::one(Protocol::Tcp, 8080) };
        assert_eq!(key.to_string(), "10.10.2.2/32 protocol tcp port 8080");
        let all = VipKey { prefix: prefix("2001:db8::", 64), ports: Ports::All };
        assert_eq!(all.to_string(), "2001:db8::/64");
    }
}
