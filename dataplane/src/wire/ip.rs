//! [`IpHeader`]: what code for both families asks of an IP header.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::Header;
use super::checksum::{Delta, SummedAddress};
use super::extension::{UpperLayer, UpperLayerError, ip4_upper_layer, ip6_upper_layer};
use super::ipv4::Ipv4Header;
use super::ipv6::Ipv6Header;

/// The IPv4 or IPv6 header. Setters keep the header's own checksum right where it has one.
pub trait IpHeader: Header + Copy {
    /// Addresses of the family.
    type Address: SummedAddress;

    /// 4 or 6.
    const VERSION: u8;

    /// Version the packet claims; anything but [`Self::VERSION`] is another kind of packet.
    fn version(&self) -> u8;
    /// Sender.
    fn source(&self) -> Self::Address;
    /// Receiver.
    fn destination(&self) -> Self::Address;
    /// Replaces the sender; returns the change for checksums over the pseudo-header.
    fn set_source(&mut self, new: Self::Address) -> Delta;
    /// Replaces the receiver; returns the change for checksums over the pseudo-header.
    fn set_destination(&mut self, new: Self::Address) -> Delta;
    /// DSCP (6 bits) and ECN (2 bits): type of service or traffic class.
    fn traffic_class(&self) -> u8;
    /// Replaces DSCP and ECN.
    fn set_traffic_class(&mut self, class: u8);
    /// Replaces the DSCP (the low 6 bits of `dscp`) and leaves the ECN bits alone.
    fn set_dscp(&mut self, dscp: u8);
    /// Hops left: TTL or hop limit.
    fn hop_limit(&self) -> u8;
    /// Takes one hop off; there must be one.
    fn decrement_hop_limit(&mut self);
    /// Bytes of the whole packet, this header included, as the header claims.
    fn packet_len(&self) -> usize;
    /// Finds what the packet at `l3_offset` of `bytes` carries, behind options, extension headers
    /// and the fragment header.
    fn upper_layer(bytes: &[u8], l3_offset: usize) -> Result<UpperLayer, UpperLayerError>;
}

impl IpHeader for Ipv4Header {
    type Address = Ipv4Addr;

    const VERSION: u8 = 4;

    #[inline]
    fn version(&self) -> u8 {
        self.version()
    }

    #[inline]
    fn source(&self) -> Ipv4Addr {
        self.source()
    }

    #[inline]
    fn destination(&self) -> Ipv4Addr {
        self.destination()
    }

    #[inline]
    fn set_source(&mut self, new: Ipv4Addr) -> Delta {
        self.set_source(new)
    }

    #[inline]
    fn set_destination(&mut self, new: Ipv4Addr) -> Delta {
        self.set_destination(new)
    }

    #[inline]
    fn traffic_class(&self) -> u8 {
        self.tos
    }

    #[inline]
    fn set_traffic_class(&mut self, class: u8) {
        self.set_tos(class);
    }

    #[inline]
    fn set_dscp(&mut self, dscp: u8) {
        self.set_dscp(dscp);
    }

    #[inline]
    fn hop_limit(&self) -> u8 {
        self.ttl
    }

    #[inline]
    fn decrement_hop_limit(&mut self) {
        self.decrement_ttl();
    }

    #[inline]
    fn packet_len(&self) -> usize {
        usize::from(self.total_len.get())
    }

    #[inline]
    fn upper_layer(bytes: &[u8], l3_offset: usize) -> Result<UpperLayer, UpperLayerError> {
        ip4_upper_layer(bytes, l3_offset)
    }
}

impl IpHeader for Ipv6Header {
    type Address = Ipv6Addr;

    const VERSION: u8 = 6;

    #[inline]
    fn version(&self) -> u8 {
        self.version()
    }

    #[inline]
    fn source(&self) -> Ipv6Addr {
        self.source()
    }

    #[inline]
    fn destination(&self) -> Ipv6Addr {
        self.destination()
    }

    #[inline]
    fn set_source(&mut self, new: Ipv6Addr) -> Delta {
        self.set_source(new)
    }

    #[inline]
    fn set_destination(&mut self, new: Ipv6Addr) -> Delta {
        self.set_destination(new)
    }

    #[inline]
    fn traffic_class(&self) -> u8 {
        self.traffic_class()
    }

    #[inline]
    fn set_traffic_class(&mut self, class: u8) {
        self.set_traffic_class(class);
    }

    #[inline]
    fn set_dscp(&mut self, dscp: u8) {
        self.set_dscp(dscp);
    }

    #[inline]
    fn hop_limit(&self) -> u8 {
        self.hop_limit
    }

    #[inline]
    fn decrement_hop_limit(&mut self) {
        self.decrement_hop_limit();
    }

    #[inline]
    fn packet_len(&self) -> usize {
        Self::LEN + usize::from(self.payload_len.get())
    }

    #[inline]
    fn upper_layer(bytes: &[u8], l3_offset: usize) -> Result<UpperLayer, UpperLayerError> {
        ip6_upper_layer(bytes, l3_offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One body for both families, as the nodes have.
    fn rewritten<H: IpHeader>(bytes: &[u8], new: H::Address) -> H {
        let mut header = *H::at(bytes, 0).unwrap();
        assert_eq!(header.version(), H::VERSION);
        assert_eq!((header.packet_len(), header.hop_limit()), (46, 9));
        header.decrement_hop_limit();
        header.set_traffic_class(0xff);
        header.set_dscp(1);
        assert_eq!((header.hop_limit(), header.traffic_class()), (8, 0x07));
        header.set_source(new);
        header.set_destination(new);
        assert!(header.source() == new && header.destination() == new);
        header
    }

    #[test]
    fn both_families_behave_alike() {
        let mut v4 = [0; 20];
        (v4[0], v4[3], v4[8]) = (0x45, 46, 9);
        let mut v4 = *Ipv4Header::at(&v4, 0).unwrap();
        v4.fill_checksum();
        let header: Ipv4Header = rewritten(zerocopy::IntoBytes::as_bytes(&v4), [1, 2, 3, 4].into());
        let mut full = header;
        full.fill_checksum();
        assert_eq!(header.checksum, full.checksum);
        let mut v6 = [0; 40];
        (v6[0], v6[5], v6[7]) = (0x60, 6, 9);
        rewritten::<Ipv6Header>(&v6, Ipv6Addr::LOCALHOST);
    }
}
