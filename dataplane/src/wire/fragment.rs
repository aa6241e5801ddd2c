//! Fragments of IPv4 and IPv6 datagrams, and the IPv6 header that marks them.

use zerocopy::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Header;

/// A fragment's place in its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment {
    /// Bytes of the datagram's payload before this fragment's.
    pub offset: u16,
    /// Not the last one.
    pub more: bool,
    /// Names the datagram, together with both addresses and in IPv4 the protocol. In IPv6 the
    /// protocol must not take part: it may differ between fragments (RFC 8200 §4.5).
    pub id: u32,
}

impl Fragment {
    /// True for the fragment with the L4 header.
    #[inline]
    pub fn is_first(&self) -> bool {
        self.offset == 0
    }
}

/// The IPv6 fragment header (RFC 8200 §4.5).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct FragmentHeader {
    /// What follows in the datagram; see [`protocol`](super::protocol).
    pub next_header: u8,
    /// 0.
    pub reserved: u8,
    /// Offset in units of 8 bytes (13 bits), reserved (2 bits), more fragments (1 bit).
    pub offset_more: U16,
    /// Identification.
    pub id: U32,
}

impl Header for FragmentHeader {}

impl FragmentHeader {
    /// The header of this fragment. The offset must be a multiple of 8 bytes.
    #[inline]
    pub fn new(next_header: u8, fragment: Fragment) -> Self {
        let offset_more = fragment.offset & !7 | u16::from(fragment.more);
        Self { next_header, reserved: 0, offset_more: offset_more.into(), id: fragment.id.into() }
    }

    /// This fragment's place in its datagram.
    #[inline]
    pub fn fragment(&self) -> Fragment {
        let field = self.offset_more.get();
        Fragment { offset: field & !7, more: field & 1 != 0, id: self.id.get() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn looks_as_the_rfc_says() {
        let fragment = Fragment { offset: 1448, more: true, id: 0x0102_0304 };
        let header = FragmentHeader::new(17, fragment);
        assert_eq!(header.as_bytes(), [17, 0, 0x05, 0xa9, 1, 2, 3, 4]);
        assert!(!fragment.is_first() && Fragment { offset: 0, ..fragment }.is_first());
    }

    #[test]
    fn reserved_bits_are_ignored() {
        let header = FragmentHeader::at(&[6, 0xff, 0x00, 0x0e, 0, 0, 0, 9], 0).unwrap();
        assert_eq!(header.fragment(), Fragment { offset: 8, more: false, id: 9 });
    }

    proptest! {
        #[test]
        fn fragment_headers_are_read_back(offset in 0_u16..8192, more: bool, id: u32, next: u8) {
            let fragment = Fragment { offset: offset * 8, more, id };
            let header = FragmentHeader::new(next, fragment);
            prop_assert_eq!((header.next_header, header.fragment()), (next, fragment));
        }
    }
}
