//! Application servers (ASs): where a VIP's flows go.

use std::fmt;
use std::net::IpAddr;

use crate::vip::VipId;

/// How many ASs can exist over all VIPs, tombstones included: a flow value has 20 bits for one.
pub const MAX_SERVERS: usize = 1 << 20;

/// The largest weight an AS can have, and the default (`lb as … weight <0-100>`).
pub const MAX_WEIGHT: u8 = 100;

/// An AS's index, below [`MAX_SERVERS`]. One address behind two VIPs has two.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AsId(u32);

impl AsId {
    /// The AS with this index; `None` from [`MAX_SERVERS`] on.
    #[inline]
    #[must_use]
    pub const fn new(index: u32) -> Option<Self> {
        if (index as usize) < MAX_SERVERS { Some(Self(index)) } else { None }
    }

    /// The index in the low 20 bits of a word.
    #[inline]
    pub(crate) const fn from_low_bits(word: u64) -> Self {
        Self((word & (MAX_SERVERS as u64 - 1)) as u32)
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

impl fmt::Display for AsId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// Whether an AS is configured or only remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServerState {
    /// Configured: takes new flows according to its weight (`used` in `show lb vips verbose`).
    Active,
    /// Deleted, kept as a tombstone while flows still use it (`removed`).
    Removed,
}

/// One AS of one VIP.
///
/// An entry of a sticky table is alive only while its epoch equals the AS's: `del flush` bumps
/// `epoch`, and so moves every flow at once. Whoever hands out ids must also bump the epoch when
/// an id gets a new owner, and must not do so before the live flows of the old one are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApplicationServer {
    /// The AS's index.
    pub id: AsId,
    /// The VIP it serves.
    pub vip: VipId,
    /// Its address, which is also its identity in the new-flow table.
    pub address: IpAddr,
    /// Its share of new flows relative to the VIP's other ASs, 0 to [`MAX_WEIGHT`]; 0 takes none.
    pub weight: u8,
    /// Active or a tombstone.
    pub state: ServerState,
    /// Which generation of flow entries is alive.
    pub epoch: u8,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_twenty_bits() {
        assert_eq!(AsId::new(1 << 20), None);
        let last = AsId::new((1 << 20) - 1).unwrap();
        assert_eq!(AsId::from_low_bits(u64::from(last.get()) | 1 << 20), last);
    }
}
