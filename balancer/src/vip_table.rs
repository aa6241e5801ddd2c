//! From (address, protocol, port) to the VIP.

use std::net::Ipv4Addr;

use crate::exact_table::ExactTable;
use crate::protocol::Protocol;
use crate::vip::{VipId, VipKey};

/// All VIPs by what identifies them.
#[derive(Clone, Debug)]
pub struct VipTable {
    ports: ExactTable,
}

impl VipTable {
    /// The table of these VIPs; of equal keys the first stays.
    #[must_use]
    pub fn new(vips: impl ExactSizeIterator<Item = (VipKey, VipId)>) -> Self {
        Self { ports: ExactTable::new(vips.map(|(key, id)| (key.word(), id.get()))) }
    }

    /// The VIP that a packet with this destination is for. `port` is in host byte order.
    #[must_use]
    pub fn get(&self, address: Ipv4Addr, protocol: Protocol, port: u16) -> Option<VipId> {
        self.ports.get(VipKey { address, protocol, port }.word()).and_then(VipId::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_must_agree() {
        let address = Ipv4Addr::new(10, 10, 2, 2);
        let key = |protocol, port| VipKey { address, protocol, port };
        let ids = [0, 1, 2].map(|id| VipId::new(id).unwrap());
        let vips = [
            (key(Protocol::Tcp, 8080), ids[0]),
            (key(Protocol::Udp, 8080), ids[1]),
            (key(Protocol::Tcp, 8081), ids[2]),
        ];
        let table = VipTable::new(vips.into_iter());
        for (key, id) in vips {
            assert_eq!(table.get(key.address, key.protocol, key.port), Some(id));
        }
        assert_eq!(table.get(address, Protocol::Udp, 8081), None);
        assert_eq!(table.get(Ipv4Addr::new(10, 10, 2, 3), Protocol::Tcp, 8080), None);
    }
}
