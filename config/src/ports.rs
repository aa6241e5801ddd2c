//! Ports and port ranges.

use std::fmt;

/// One port or an inclusive range of them, such as `80` or `1000-2000`; host byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// `first..=last`; `None` if there is a port 0 or the range runs backwards.
    pub const fn new(first: u16, last: u16) -> Option<PortRange> {
        if first == 0 || last < first { None } else { Some(PortRange { first, last }) }
    }

    /// One port, 1..=65535.
    pub const fn one(port: u16) -> PortRange {
        PortRange { first: port, last: port }
    }

    /// The lowest port.
    pub const fn first(self) -> u16 {
        self.first
    }

    /// The highest port.
    pub const fn last(self) -> u16 {
        self.last
    }

    /// How many ports there are, at least 1.
    pub const fn count(self) -> u16 {
        self.last - self.first + 1
    }

    /// Is this a single port?
    pub const fn is_one(self) -> bool {
        self.first == self.last
    }

    /// Do the two share a port?
    pub const fn overlaps(self, other: PortRange) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

impl From<u16> for PortRange {
    fn from(port: u16) -> PortRange {
        PortRange::one(port)
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_one() { self.first.fmt(f) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

/// The port that a packet to a VIP has when it reaches the AS; host byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TargetPort {
    /// The one the client used.
    Keep,
    /// This one, whichever the client used.
    One(u16),
    /// The VIP's first port becomes this one, the next port the next one, and so on.
    From(u16),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_not_empty_and_has_no_port_0() {
        assert_eq!(PortRange::new(0, 5), None);
        assert_eq!(PortRange::new(6, 5), None);
        let all = PortRange::new(1, 65_535).unwrap();
        assert_eq!((all.count(), all.is_one()), (65_535, false));
        assert_eq!(PortRange::one(7).count(), 1);
        assert_eq!(PortRange::new(5, 5), Some(PortRange::one(5)));
    }

    #[test]
    fn ranges_overlap_at_their_ends() {
        let range = |first, last| PortRange::new(first, last).unwrap();
        assert!(range(10, 20).overlaps(range(20, 30)) && range(20, 30).overlaps(range(10, 20)));
        assert!(range(10, 20).overlaps(PortRange::one(15)));
        assert!(!range(10, 20).overlaps(range(21, 30)) && !range(21, 30).overlaps(range(10, 20)));
        assert_eq!(range(10, 20).to_string(), "10-20");
        assert_eq!(PortRange::one(15).to_string(), "15");
    }
}
