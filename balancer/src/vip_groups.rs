//! From a VIP prefix, protocol and port to the VIP.
//!
//! The FIB says which VIP prefix a packet's destination is in (its *group*); here the port
//! decides. One lookup in a hash table finds a VIP of one port; only what is left looks at ranges,
//! all-port VIPs, and shorter prefixes.

use std::net::IpAddr;

use crate::exact_table::ExactTable;
use crate::ports::Ports;
use crate::prefix::Prefix;
use crate::vip::{Vip, VipId, VipKey, VipSpec};

/// All VIPs of one prefix; an index that is valid within one [`LbTables`](crate::LbTables).
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VipGroupId(u32);

impl VipGroupId {
    /// The group with this index.
    #[must_use]
    pub const fn new(index: u32) -> Self {
        Self(index)
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

/// What decides where a VIP's packets are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupMember {
    pub(crate) id: VipId,
    pub(crate) key: VipKey,
    pub(crate) node_port: Option<u16>,
    pub(crate) nat: bool,
}

impl From<&VipSpec> for GroupMember {
    fn from(vip: &VipSpec) -> Self {
        Self { id: vip.id, key: vip.key, node_port: vip.node_port, nat: vip.nat }
    }
}

impl From<&Vip> for GroupMember {
    fn from(vip: &Vip) -> Self {
        Self { id: vip.id, key: vip.key, node_port: vip.node_port, nat: vip.nat }
    }
}

#[derive(Clone, Debug)]
struct PortRange {
    protocol: u8,
    first: u16,
    last: u16,
    vip: VipId,
}

#[derive(Clone, Debug)]
struct Group {
    prefix: Prefix,
    /// The longest of the shorter VIP prefixes that hold this one.
    parent: Option<VipGroupId>,
    /// By protocol and port; they do not overlap.
    ranges: Box<[PortRange]>,
    all: Option<VipId>,
    /// Whether any VIP of the group has one port.
    has_ports: bool,
    /// Whether a VIP here or in a shorter prefix is without NAT.
    direct_return: bool,
}

/// The VIPs by prefix and port, and by node port.
#[derive(Clone, Debug)]
pub struct VipGroups {
    /// In the order of their prefixes.
    groups: Box<[Group]>,
    ports: ExactTable<u64>,
    node_ports: ExactTable<u64>,
}

/// Packs (index, port, protocol) into one word.
fn word(index: u32, protocol: u8, port: u16) -> u64 {
    u64::from(index) << 32 | u64::from(port) << 16 | u64::from(protocol)
}

impl VipGroups {
    /// The groups of these VIPs; of VIPs with equal keys or node ports the first stays.
    pub(crate) fn new(vips: &[GroupMember]) -> Self {
        let mut keys: Vec<(VipKey, VipId)> = vips.iter().map(|vip| (vip.key, vip.id)).collect();
        keys.sort_by_key(|&(key, _)| key);
        let mut groups = Vec::new();
        let mut ports = Vec::new();
        for members in keys.chunk_by(|a, b| a.0.prefix == b.0.prefix) {
            groups.push(group(groups.len() as u32, members, &mut ports));
        }
        let prefixes: Vec<Prefix> = groups.iter().map(|group| group.prefix).collect();
        for (group, parent) in groups.iter_mut().zip(parents(&prefixes)) {
            group.parent = parent;
        }
        for vip in vips.iter().filter(|vip| !vip.nat) {
            if let Ok(index) = prefixes.binary_search(&vip.key.prefix) {
                groups[index].direct_return = true;
            }
        }
        // A prefix comes before those it holds.
        for index in 0..groups.len() {
            if let Some(parent) = groups[index].parent {
                groups[index].direct_return |= groups[parent.index()].direct_return;
            }
        }
        let node_ports: Vec<(u64, u32)> = vips
            .iter()
            .filter_map(|vip| {
                let protocol = vip.key.ports.protocol()?.number();
                let family = u32::from(vip.key.prefix.is_v6());
                Some((word(family, protocol, vip.node_port?), vip.id.get()))
            })
            .collect();
        Self {
            groups: groups.into(),
            ports: ExactTable::new(ports.into_iter()),
            node_ports: ExactTable::new(node_ports.into_iter()),
        }
    }

    /// The group of a prefix that some VIP has.
    #[must_use]
    pub fn of(&self, prefix: Prefix) -> Option<VipGroupId> {
        let index = self.groups.binary_search_by_key(&prefix, |group| group.prefix).ok()?;
        Some(VipGroupId(index as u32))
    }

    /// The group of the longest VIP prefix that holds an address. For slow paths: the FIB knows.
    #[must_use]
    pub fn of_address(&self, address: IpAddr) -> Option<VipGroupId> {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        (0..=longest).rev().find_map(|len| self.of(Prefix::new(address, len)?))
    }

    /// The prefixes of all groups, in the order of their ids.
    pub fn prefixes(&self) -> impl ExactSizeIterator<Item = Prefix> {
        self.groups.iter().map(|group| group.prefix)
    }

    /// The VIP of a packet to an address of a group. `port` is in host byte order, 0 for protocols
    /// without ports.
    ///
    /// In this order: a VIP of the very port, one of a range, an all-port one; then the same of the
    /// next shorter prefix.
    #[must_use]
    pub fn find(&self, group: VipGroupId, protocol: u8, port: u16) -> Option<VipId> {
        let mut next = Some(group);
        while let Some(id) = next {
            let group = self.groups.get(id.index())?;
            if group.has_ports
                && let Some(vip) = self.ports.get(word(id.0, protocol, port))
            {
                return VipId::new(vip);
            }
            let vip = in_ranges(&group.ranges, protocol, port).or(group.all);
            if vip.is_some() {
                return vip;
            }
            // A parent's prefix is shorter, so this ends.
            next = group.parent;
        }
        None
    }

    /// The VIP that all packets to a group's addresses belong to, where no port has one of its own.
    #[must_use]
    pub fn find_any(&self, group: VipGroupId) -> Option<VipId> {
        let group = self.groups.get(group.index())?;
        if group.has_ports || !group.ranges.is_empty() { None } else { group.all }
    }

    /// Whether ASs answer with addresses of this group as their source, because a VIP that holds
    /// them is without NAT.
    #[must_use]
    pub fn returns_directly(&self, group: VipGroupId) -> bool {
        self.groups.get(group.index()).is_some_and(|group| group.direct_return)
    }

    /// Whether a group is every address, those of clients among them.
    #[must_use]
    pub fn is_everything(&self, group: VipGroupId) -> bool {
        self.groups.get(group.index()).is_some_and(|group| group.prefix.len == 0)
    }

    /// The VIP to which a node port leads, for packets to an address of an interface.
    #[must_use]
    pub fn find_node_port(&self, v6: bool, protocol: u8, port: u16) -> Option<VipId> {
        self.node_ports.get(word(u32::from(v6), protocol, port)).and_then(VipId::new)
    }
}

/// `members` have the same prefix and are in the order of their keys; single ports go to `ports`.
fn group(index: u32, members: &[(VipKey, VipId)], ports: &mut Vec<(u64, u32)>) -> Group {
    let before = ports.len();
    let mut ranges = Vec::new();
    let mut all = None;
    for &(key, vip) in members {
        match key.ports {
            Ports::All => all = all.or(Some(vip)),
            Ports::Range { protocol, first, last } if first == last => {
                ports.push((word(index, protocol.number(), first), vip.get()));
            }
            Ports::Range { protocol, first, last } => {
                ranges.push(PortRange { protocol: protocol.number(), first, last, vip });
            }
        }
    }
    let has_ports = ports.len() > before;
    let prefix = members[0].0.prefix;
    Group { prefix, parent: None, ranges: ranges.into(), all, has_ports, direct_return: false }
}

/// Of each prefix the longest other one that holds it. `prefixes` are in order: one comes before
/// those it holds, and these before all others.
fn parents(prefixes: &[Prefix]) -> Vec<Option<VipGroupId>> {
    let mut around: Vec<usize> = Vec::new();
    let parent = |(index, prefix): (usize, &Prefix)| {
        while around.pop_if(|last| !prefixes[*last].contains(prefix.network)).is_some() {}
        let parent = around.last().map(|last| VipGroupId(*last as u32));
        around.push(index);
        parent
    };
    prefixes.iter().enumerate().map(parent).collect()
}

fn in_ranges(ranges: &[PortRange], protocol: u8, port: u16) -> Option<VipId> {
    let after = ranges.partition_point(|range| (range.protocol, range.first) <= (protocol, port));
    let range = ranges.get(after.checked_sub(1)?)?;
    (range.protocol == protocol && port <= range.last).then_some(range.vip)
}
