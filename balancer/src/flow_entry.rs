//! An entry of a sticky table, as whoever lists flows sees it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::flow_key::FlowKey;
use crate::flow_tuple::FlowTuple;
use crate::flow_value::FlowValue;
use crate::vip::{KeyKind, VipId};

/// A flow in a sticky table ([`StickyTable::entry`](crate::StickyTable::entry)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowEntry {
    pub(crate) key: FlowKey,
    pub(crate) value: FlowValue,
}

impl FlowEntry {
    /// What identifies the flow.
    #[must_use]
    pub fn key(&self) -> &FlowKey {
        &self.key
    }

    /// The VIP; `None` for a client's flow to an AS's service itself.
    #[must_use]
    pub fn vip(&self) -> Option<VipId> {
        self.key.vip()
    }

    /// What is known of it. The AS means nothing for a direct flow.
    #[must_use]
    pub fn value(&self) -> FlowValue {
        self.value
    }

    /// The 5-tuple of the client's packets, where the entry has it in full.
    #[must_use]
    pub fn tuple(&self) -> Option<FlowTuple<IpAddr>> {
        let cell = self.key.cell()?;
        // No host has an IPv6 address within ::/96 (RFC 4291, 2.5.5.1).
        let is_v6 = cell.client.max(cell.address) > u128::from(u32::MAX);
        let address = |bits: u128| match is_v6 {
            true => IpAddr::from(Ipv6Addr::from(bits)),
            false => IpAddr::from(Ipv4Addr::from(bits as u32)),
        };
        Some(FlowTuple {
            src: address(cell.client),
            dst: address(cell.address),
            src_port: cell.client_port,
            dst_port: cell.port,
            protocol: cell.protocol,
        })
    }

    /// The client's address and port (host byte order), where the entry keeps them; `kind` is the
    /// [`Vip::key_kind`](crate::Vip::key_kind) of its VIP. An entry of [`KeyKind::Tag`] keeps a hash.
    #[must_use]
    pub fn client(&self, kind: KeyKind) -> Option<(IpAddr, u16)> {
        if let Some(tuple) = self.tuple() {
            return Some((tuple.src, tuple.src_port));
        }
        let (address, port) = self.key.exact_client();
        (kind == KeyKind::Exact).then_some((address.into(), port))
    }
}
