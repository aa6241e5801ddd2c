//! What identifies a flow in a sticky table.

use std::net::Ipv4Addr;

use crate::nat_reverse::EndpointId;
use crate::vip::{DIRECT_INDICES, MAX_VIPS, VipId};

/// The key of a flow: one word {client address 32, client port 16, index 16}.
///
/// The index of a VIP implies the destination address, port and protocol, so the word is the
/// exact 5-tuple: two flows never share an entry. Indices from [`MAX_VIPS`] on stand for direct
/// flows, from a client straight to an AS's service; these take the low 12 bits of the endpoint
/// from the index and the others from the value, which has no AS to name, so they are exact too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    word: u64,
    /// The rest of a direct flow's endpoint.
    tag: u32,
}

impl FlowKey {
    /// A client's flow to a VIP. `port` is in host byte order.
    #[must_use]
    pub fn vip(client: Ipv4Addr, port: u16, vip: VipId) -> Self {
        Self { word: word(client, port, vip.get()), tag: 0 }
    }

    /// A client's flow to an AS's service itself. `port` is in host byte order.
    #[must_use]
    pub fn direct(client: Ipv4Addr, port: u16, endpoint: EndpointId) -> Self {
        let index = MAX_VIPS as u32 + endpoint.get() % DIRECT_INDICES as u32;
        Self { word: word(client, port, index), tag: endpoint.get() / DIRECT_INDICES as u32 }
    }

    /// Whether this is a direct flow.
    #[must_use]
    pub const fn is_direct(self) -> bool {
        is_direct_word(self.word)
    }

    /// The client's address.
    #[must_use]
    pub fn client(self) -> Ipv4Addr {
        Ipv4Addr::from((self.word >> 32) as u32)
    }

    /// The client's port, host byte order.
    #[must_use]
    pub const fn client_port(self) -> u16 {
        (self.word >> 16) as u16
    }

    /// The VIP; `None` for a direct flow.
    #[must_use]
    pub const fn vip_id(self) -> Option<VipId> {
        VipId::new(self.word as u16 as u32)
    }

    /// The word in the bucket.
    pub(crate) const fn word(self) -> u64 {
        self.word
    }

    /// What the value of a direct flow holds in place of the AS.
    pub(crate) const fn tag(self) -> u32 {
        self.tag
    }

    /// The key of an entry.
    pub(crate) const fn from_entry(word: u64, value: crate::flow_value::FlowValue) -> Self {
        Self { word, tag: if is_direct_word(word) { value.as_id().get() } else { 0 } }
    }
}

/// Whether a bucket's key word belongs to a direct flow.
pub(crate) const fn is_direct_word(word: u64) -> bool {
    (word as u16 as usize) >= MAX_VIPS
}

fn word(client: Ipv4Addr, port: u16, index: u32) -> u64 {
    u64::from(u32::from(client)) << 32 | u64::from(port) << 16 | u64::from(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 10, 10, 1);

    #[test]
    fn a_vip_key_gives_its_parts_back() {
        let vip = VipId::new(61_439).unwrap();
        let key = FlowKey::vip(CLIENT, 40_000, vip);
        assert_eq!((key.client(), key.client_port()), (CLIENT, 40_000));
        assert_eq!(key.vip_id(), Some(vip));
        assert!(!key.is_direct());
    }

    #[test]
    fn direct_keys_are_exact() {
        let keys: Vec<_> = [0, 1, 4095, 4096, 8192, (1 << 20) - 1]
            .map(|id| FlowKey::direct(CLIENT, 7, EndpointId::new(id)))
            .into();
        for (i, key) in keys.iter().enumerate() {
            assert!(key.is_direct());
            assert_eq!(key.vip_id(), None);
            assert!(keys[..i].iter().all(|other| other != key));
        }
    }
}
