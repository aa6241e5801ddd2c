//! Wire headers: `repr(C)` views with big-endian fields that are laid over packet bytes.
//!
//! A view is obtained through [`Header`], which checks bounds once; after that no accessor can
//! fail or panic. Nothing here copies or allocates.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub mod arp;
pub mod checksum;
pub mod ecn;
pub mod ethernet;
pub mod extension;
pub mod fragment;
pub mod gre;
pub mod icmpv4;
pub mod icmpv6;
pub mod ip;
pub mod ipv4;
pub mod ipv6;
pub mod neighbor_discovery;
pub mod quoted;
pub mod tcp;
pub mod tcp_options;
pub mod udp;

pub use ipv4::protocol;

/// A fixed-size header that can be viewed at any byte offset.
pub trait Header: FromBytes + IntoBytes + KnownLayout + Immutable + Unaligned + Sized {
    /// Bytes of the header.
    const LEN: usize = size_of::<Self>();

    /// The header at `offset`, or `None` when the bytes end before it does.
    #[inline]
    fn at(bytes: &[u8], offset: usize) -> Option<&Self> {
        Some(Self::ref_from_prefix(bytes.get(offset..)?).ok()?.0)
    }

    /// The writable header at `offset`, or `None` when the bytes end before it does.
    #[inline]
    fn at_mut(bytes: &mut [u8], offset: usize) -> Option<&mut Self> {
        Some(Self::mut_from_prefix(bytes.get_mut(offset..)?).ok()?.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Header;
    use super::udp::UdpHeader;

    #[test]
    fn a_header_needs_all_its_bytes() {
        let bytes = [0; 10];
        assert!(UdpHeader::at(&bytes, 2).is_some());
        assert!(UdpHeader::at(&bytes, 3).is_none());
        assert!(UdpHeader::at(&bytes, 11).is_none());
        assert!(UdpHeader::at(&bytes, usize::MAX).is_none());
    }
}
