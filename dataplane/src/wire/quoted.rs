//! The packet that an ICMP or ICMPv6 error quotes: reading who it was from and to, and rewriting it
//! when addresses are translated.
//!
//! Errors quote at least the IP header and 8 bytes (RFC 792, RFC 1812 §4.3.2.3), so ports are always
//! there, while a TCP checksum often is not.

use super::Header;
use super::checksum::{Checksum, Delta, sum};
use super::extension::UpperLayerError;
use super::icmpv6::Icmpv6Header;
use super::ip::IpHeader;
use super::ipv4::protocol;
use super::tcp::TcpHeader;
use super::udp::UdpHeader;

/// What is known of a quoted packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quoted<A> {
    /// Who sent it: the one who is to learn of the error.
    pub source: A,
    /// To whom.
    pub destination: A,
    /// See [`protocol`].
    pub protocol: u8,
    /// Sender's port; 0 for protocols other than TCP and UDP.
    pub source_port: u16,
    /// Receiver's port; 0 for protocols other than TCP and UDP.
    pub destination_port: u16,
    /// Bytes from the start of the quote to the L4 header.
    pub l4_offset: usize,
}

/// Why a quote tells nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuoteError {
    /// It ends before the ports.
    Truncated,
    /// It is not a packet of this family, or its headers make no sense.
    Malformed,
    /// It is a fragment without L4 header.
    LaterFragment,
}

/// One end of a quoted flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Source,
    Destination,
}

/// Reads the packet at the start of `quote`: the bytes of the ICMP message behind its first 8.
pub fn parse<H: IpHeader>(quote: &[u8]) -> Result<Quoted<H::Address>, QuoteError> {
    let upper = H::upper_layer(quote, 0).map_err(|error| match error {
        UpperLayerError::Split => QuoteError::Truncated,
        _ => QuoteError::Malformed,
    })?;
    if upper.fragment.is_some_and(|fragment| !fragment.is_first()) {
        return Err(QuoteError::LaterFragment);
    }
    let header = H::at(quote, 0).ok_or(QuoteError::Truncated)?;
    let (source_port, destination_port) = if has_ports(upper.protocol) {
        let ports = quote.get(upper.offset..).and_then(<[u8]>::first_chunk);
        let [a, b, c, d] = *ports.ok_or(QuoteError::Truncated)?;
        (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
    } else {
        (0, 0)
    };
    Ok(Quoted {
        source: header.source(),
        destination: header.destination(),
        protocol: upper.protocol,
        source_port,
        destination_port,
        l4_offset: upper.offset,
    })
}

fn has_ports(protocol: u8) -> bool {
    matches!(protocol, protocol::TCP | protocol::UDP)
}

impl<A> Quoted<A> {
    /// Replaces the sender and (of TCP and UDP) its port in `quote`, which `self` was parsed from,
    /// and the checksums inside as far as they are quoted. Returns the change of all these bytes,
    /// which the checksum of the ICMP message needs.
    pub fn set_source<H>(&self, quote: &mut [u8], address: A, port: u16) -> Delta
    where
        H: IpHeader<Address = A>,
    {
        self.set_end::<H>(quote, End::Source, address, port)
    }

    /// Replaces the receiver and (of TCP and UDP) its port in `quote`, which `self` was parsed from,
    /// and the checksums inside as far as they are quoted. Returns the change of all these bytes,
    /// which the checksum of the ICMP message needs.
    pub fn set_destination<H>(&self, quote: &mut [u8], address: A, port: u16) -> Delta
    where
        H: IpHeader<Address = A>,
    {
        self.set_end::<H>(quote, End::Destination, address, port)
    }

    fn set_end<H>(&self, quote: &mut [u8], end: End, address: A, port: u16) -> Delta
    where
        H: IpHeader<Address = A>,
    {
        // Whatever is rewritten lies before the end of a TCP header. Errors are rare: summing all
        // these bytes twice is simpler than following each of up to five changes.
        let reach = quote.len().min(self.l4_offset + TcpHeader::LEN);
        let before = sum(&quote[..reach]);
        let Some(header) = H::at_mut(quote, 0) else { return Delta::NONE };
        let delta = match end {
            End::Source => header.set_source(address),
            End::Destination => header.set_destination(address),
        };
        self.set_l4(quote, end, port, delta);
        Delta::NONE.sums(before, sum(&quote[..reach]))
    }

    /// Replaces the port and updates the L4 checksum by it and by `delta`, the change of the
    /// pseudo-header.
    fn set_l4(&self, quote: &mut [u8], end: End, port: u16, mut delta: Delta) {
        let at = self.l4_offset;
        if has_ports(self.protocol) {
            let port_at = at + if end == End::Source { 0 } else { 2 };
            let Some(field) = quote.get_mut(port_at..port_at + 2) else { return };
            let old = u16::from_be_bytes([field[0], field[1]]);
            field.copy_from_slice(&port.to_be_bytes());
            delta = delta.word(old, port);
        }
        match self.protocol {
            protocol::TCP => {
                // The checksum is the 9th word; of 8 quoted bytes it is not one.
                let field = quote.get_mut(at + 16..at + 18);
                if let Some([a, b]) = field {
                    let old = Checksum(u16::from_be_bytes([*a, *b]));
                    [*a, *b] = old.updated(delta).0.to_be_bytes();
                }
            }
            protocol::UDP => {
                if let Some(udp) = UdpHeader::at_mut(quote, at) {
                    udp.update_checksum(delta);
                }
            }
            // Unlike ICMP's, its checksum covers the addresses.
            protocol::ICMPV6 => {
                if let Some(icmp) = Icmpv6Header::at_mut(quote, at) {
                    icmp.update_checksum(delta);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use proptest::prelude::*;
    use zerocopy::IntoBytes;

    use super::*;
    use crate::wire::checksum::{SummedAddress, is_transport_valid, is_valid, transport_checksum};
    use crate::wire::ipv4::Ipv4Header;
    use crate::wire::ipv6::Ipv6Header;

    const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
    const VIP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
    const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 7);
    const VIP6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 1);

    /// An L4 header of ports 80 and 5555 with 12 bytes of payload and a right checksum.
    fn l4<A: SummedAddress>(protocol: u8, from: A, to: A) -> Vec<u8> {
        let mut bytes = vec![0, 80, 0x15, 0xb3];
        let checksum_at = match protocol {
            protocol::TCP => {
                bytes.extend([1, 2, 3, 4, 5, 6, 7, 8, 0x50, 0x10, 9, 9, 0, 0, 0, 0]);
                16
            }
            protocol::UDP => {
                bytes.extend([0, 20, 0, 0]);
                6
            }
            _ => {
                bytes = vec![128, 0, 0, 0, 1, 2, 3, 4];
                2
            }
        };
        bytes.extend([0xab; 12]);
        let checksum = transport_checksum(from, to, protocol, &bytes).or_all_ones();
        bytes[checksum_at..checksum_at + 2].copy_from_slice(&checksum.0.to_be_bytes());
        bytes
    }

    /// The VIP's packet to the client, with `options` bytes of IPv4 options.
    fn v4(protocol: u8, options: usize) -> Vec<u8> {
        let l4 = l4(protocol, VIP, CLIENT);
        let header_len = 20 + options;
        let mut bytes = vec![1; header_len];
        let mut header = *Ipv4Header::at(&bytes, 0).unwrap();
        header.version_ihl = 0x40 | (header_len / 4) as u8;
        header.total_len.set((header_len + l4.len()) as u16);
        header.fragment.set(0x4000);
        header.protocol = protocol;
        header.source = VIP.octets();
        header.destination = CLIENT.octets();
        header.checksum.set(0);
        bytes[..20].copy_from_slice(header.as_bytes());
        let checksum = sum(&bytes).checksum();
        bytes[10..12].copy_from_slice(&checksum.0.to_be_bytes());
        bytes.extend(l4);
        bytes
    }

    /// The same in IPv6, behind `extensions` headers of destination options.
    fn v6(protocol: u8, extensions: usize) -> Vec<u8> {
        let l4 = l4(protocol, VIP6, CLIENT6);
        let mut bytes = vec![0x60, 0, 0, 0, 0, (extensions * 8 + l4.len()) as u8, protocol, 64];
        bytes.extend(VIP6.octets());
        bytes.extend(CLIENT6.octets());
        for _ in 0..extensions {
            bytes.extend([protocol, 0, 1, 4, 0, 0, 0, 0]);
        }
        if extensions > 0 {
            bytes[6] = 60;
            for nth in 1..extensions {
                bytes[40 + (nth - 1) * 8] = 60;
            }
        }
        bytes.extend(l4);
        bytes
    }

    #[test]
    fn reads_both_families() {
        let quoted = parse::<Ipv4Header>(&v4(6, 8)).unwrap();
        assert_eq!((quoted.source, quoted.destination, quoted.protocol), (VIP, CLIENT, 6));
        assert_eq!((quoted.source_port, quoted.destination_port), (80, 5555));
        assert_eq!(quoted.l4_offset, 28);
        let quoted = parse::<Ipv6Header>(&v6(17, 2)).unwrap();
        assert_eq!((quoted.source, quoted.destination, quoted.protocol), (VIP6, CLIENT6, 17));
        assert_eq!((quoted.source_port, quoted.destination_port), (80, 5555));
        assert_eq!(quoted.l4_offset, 56);
        let quoted = parse::<Ipv4Header>(&v4(1, 0)).unwrap();
        assert_eq!((quoted.source_port, quoted.destination_port), (0, 0));
    }

    #[test]
    fn needs_headers_and_ports_and_no_more() {
        for protocol in [6, 17] {
            let (v4, v6) = (v4(protocol, 4), v6(protocol, 1));
            for cut in 0..28 {
                assert_eq!(parse::<Ipv4Header>(&v4[..cut]), Err(QuoteError::Truncated), "{cut}");
            }
            assert!(parse::<Ipv4Header>(&v4[..28]).is_ok());
            for cut in 0..52 {
                assert_eq!(parse::<Ipv6Header>(&v6[..cut]), Err(QuoteError::Truncated), "{cut}");
            }
            assert!(parse::<Ipv6Header>(&v6[..52]).is_ok());
        }
    }

    #[test]
    fn what_tells_nothing_is_refused() {
        assert_eq!(parse::<Ipv4Header>(&v6(6, 0)), Err(QuoteError::Malformed));
        assert_eq!(parse::<Ipv6Header>(&v4(6, 0)[..40]), Err(QuoteError::Malformed));
        let mut later = v4(6, 0);
        later[7] = 1;
        assert_eq!(parse::<Ipv4Header>(&later), Err(QuoteError::LaterFragment));
        let mut first = v4(6, 0);
        first[6] = 0x20;
        assert_eq!(parse::<Ipv4Header>(&first).unwrap().source_port, 80);
        let mut later = v6(6, 1);
        (later[6], later[43]) = (44, 8);
        assert_eq!(parse::<Ipv6Header>(&later), Err(QuoteError::LaterFragment));
    }

    /// Rewrites both ends of a quote cut to `len` bytes; returns it with the Delta of both.
    fn rewritten<H: IpHeader>(
        quote: &[u8],
        len: usize,
        (source, destination): (H::Address, H::Address),
        ports: (u16, u16),
    ) -> (Vec<u8>, Delta) {
        let mut quote = quote[..len.min(quote.len())].to_vec();
        let quoted = parse::<H>(&quote).unwrap();
        let from = quoted.set_source::<H>(&mut quote, source, ports.0);
        let to = quoted.set_destination::<H>(&mut quote, destination, ports.1);
        let after = parse::<H>(&quote).unwrap();
        assert!(after.source == source && after.destination == destination);
        if has_ports(quoted.protocol) {
            assert_eq!((after.source_port, after.destination_port), ports);
        }
        (quote, from.plus(to))
    }

    #[test]
    fn nothing_but_addresses_ports_and_checksums_changes() {
        for (protocol, checksum_at) in [(6, 36), (17, 26)] {
            let quote = v4(protocol, 0);
            let (after, _) = rewritten::<Ipv4Header>(&quote, 99, (CLIENT, VIP), (1, 2));
            let expected = [(10..12), (12..20), (20..24), (checksum_at..checksum_at + 2)];
            for at in 0..quote.len() {
                let may = expected.iter().any(|range| range.contains(&at));
                assert!(may || after[at] == quote[at], "{protocol}: {at}");
            }
        }
    }

    proptest! {
        /// Whatever is rewritten, every checksum that is quoted stays right, and so does the one of
        /// the message around the quote.
        #[test]
        fn rewriting_keeps_every_checksum_right(
            protocol in prop::sample::select(vec![1_u8, 6, 17, 58]),
            addresses: (u128, u128), ports: (u16, u16), len in 48_usize..90, more in 0_usize..3,
        ) {
            let message = |quote: &[u8]| sum(&[&[3, 4, 0, 0, 0, 0, 5, 0], quote].concat()).checksum();

            let quote = v4(protocol, more * 4);
            let new = ((addresses.0 as u32).into(), (addresses.1 as u32).into());
            let (after, delta) = rewritten::<Ipv4Header>(&quote, len, new, ports);
            let before = message(&quote[..after.len()]);
            prop_assert_eq!(before.updated(delta), message(&after));
            let header_len = 20 + more * 4;
            prop_assert!(is_valid(sum(&after[..header_len])));
            if after.len() == quote.len() && matches!(protocol, 6 | 17) {
                prop_assert!(is_transport_valid(new.0, new.1, protocol, &after[header_len..]));
            }
            if protocol == 1 {
                prop_assert_eq!(&after[header_len..], &quote[header_len..after.len()]);
            }

            let quote = v6(protocol, more);
            let new = (Ipv6Addr::from(addresses.0), Ipv6Addr::from(addresses.1));
            let at = 40 + more * 8;
            let (after, delta) = rewritten::<Ipv6Header>(&quote, len + at - 40, new, ports);
            let before = message(&quote[..after.len()]);
            prop_assert_eq!(before.updated(delta), message(&after));
            if after.len() == quote.len() && protocol != 1 {
                prop_assert!(is_transport_valid(new.0, new.1, protocol, &after[at..]));
            }
        }

        #[test]
        fn no_udp_checksum_stays_none(address: u32, port: u16) {
            let mut quote = v4(17, 0);
            quote[26..28].fill(0);
            let quoted = parse::<Ipv4Header>(&quote).unwrap();
            quoted.set_source::<Ipv4Header>(&mut quote, address.into(), port);
            prop_assert_eq!(&quote[26..28], &[0, 0]);
        }

        #[test]
        fn random_bytes_never_panic(
            mut bytes in prop::collection::vec(prop_oneof![0_u8..70, any::<u8>()], 0..120),
            version in prop_oneof![Just(0x45_u8), Just(0x60), any::<u8>()],
        ) {
            if let Some(first) = bytes.first_mut() {
                *first = version;
            }
            if let Ok(quoted) = parse::<Ipv4Header>(&bytes) {
                quoted.set_source::<Ipv4Header>(&mut bytes, VIP, 1);
            }
            if let Ok(quoted) = parse::<Ipv6Header>(&bytes) {
                quoted.set_destination::<Ipv6Header>(&mut bytes, VIP6, 1);
            }
        }
    }
}
