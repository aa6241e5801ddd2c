//! Generic routing encapsulation without key, checksum or sequence number (RFC 2784).

use zerocopy::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Header;

/// The 4 bytes every GRE packet starts with; optional fields follow where flags say so.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C)]
pub struct GreHeader {
    /// Flags (13 bits) and version (3 bits); see [`Self::is_plain`].
    pub flags_version: U16,
    /// What follows, as an [`ether_type`](super::ethernet::ether_type).
    pub protocol: U16,
}

impl Header for GreHeader {}

impl GreHeader {
    /// The header in front of a packet of this [`ether_type`](super::ethernet::ether_type).
    #[inline]
    pub fn carrying(ether_type: u16) -> Self {
        Self { flags_version: U16::ZERO, protocol: U16::new(ether_type) }
    }

    /// True when the packet follows at once: version 0 and no optional field. The bits that
    /// RFC 2784 §2.3 lets receivers ignore are not looked at.
    #[inline]
    pub fn is_plain(&self) -> bool {
        // Checksum, routing, key, sequence, strict route (RFC 1701); version.
        const MEANINGFUL: u16 = 0xf807;
        self.flags_version.get() & MEANINGFUL == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ethernet::ether_type;

    #[test]
    fn looks_as_the_rfc_says() {
        assert_eq!(GreHeader::carrying(ether_type::IPV4).as_bytes(), [0, 0, 0x08, 0x00]);
        assert_eq!(GreHeader::carrying(ether_type::IPV6).as_bytes(), [0, 0, 0x86, 0xdd]);
    }

    #[test]
    fn every_optional_field_is_seen() {
        let plain = |flags: u16| {
            let [a, b] = flags.to_be_bytes();
            GreHeader::at(&[a, b, 8, 0], 0).unwrap().is_plain()
        };
        assert!(plain(0) && plain(0x0008) && plain(0x0400));
        for flags in [0x8000, 0x4000, 0x2000, 0x1000, 0x0800, 1, 2, 4] {
            assert!(!plain(flags), "{flags:#x}");
        }
    }
}
