//! The ports of a VIP, and those of its ASs.

use std::fmt;

use crate::protocol::Protocol;

/// Which packets to a VIP's addresses are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ports {
    /// Those of every protocol and port.
    All,
    /// Those of one protocol to some ports.
    Range {
        /// TCP or UDP.
        protocol: Protocol,
        /// The first port, host byte order.
        first: u16,
        /// The last port, inclusive.
        last: u16,
    },
}

impl Ports {
    /// One port, host byte order.
    #[must_use]
    pub const fn one(protocol: Protocol, port: u16) -> Self {
        Self::Range { protocol, first: port, last: port }
    }

    /// The protocol; `None` for all.
    #[must_use]
    pub const fn protocol(self) -> Option<Protocol> {
        match self {
            Self::All => None,
            Self::Range { protocol, .. } => Some(protocol),
        }
    }

    /// The first and the last port; `None` for all.
    #[must_use]
    pub const fn range(self) -> Option<(u16, u16)> {
        match self {
            Self::All => None,
            Self::Range { first, last, .. } => Some((first, last)),
        }
    }

    /// The port, if there is only one.
    #[must_use]
    pub const fn single(self) -> Option<u16> {
        match self {
            Self::Range { first, last, .. } if first == last => Some(first),
            _ => None,
        }
    }

    /// Whether packets of this protocol to this port are meant.
    #[must_use]
    pub const fn contains(self, protocol: u8, port: u16) -> bool {
        match self {
            Self::All => true,
            Self::Range { protocol: own, first, last } => {
                own.number() == protocol && first <= port && port <= last
            }
        }
    }
}

/// As commands spell it: nothing for all, ` protocol tcp port 80`, ` protocol tcp port 80-89`.
impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Range { protocol, first, last } = self else { return Ok(()) };
        write!(f, " protocol {} port {first}", protocol.name())?;
        if first == last { Ok(()) } else { write!(f, "-{last}") }
    }
}

/// The port of an AS to which packets to a port of the VIP go (`target_port`). Host byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TargetPort {
    /// The same.
    Keep,
    /// One for all.
    One(u16),
    /// One to one: this for the VIP's first port, the next for the next.
    From(u16),
}

impl TargetPort {
    /// The AS's port for a port of the VIP.
    #[must_use]
    pub const fn of(self, ports: Ports, port: u16) -> u16 {
        match (self, ports) {
            (Self::Keep, _) | (Self::From(_), Ports::All) => port,
            (Self::One(target), _) => target,
            (Self::From(start), Ports::Range { first, .. }) => {
                start.wrapping_add(port.wrapping_sub(first))
            }
        }
    }

    /// The VIP's port for a port of the AS; `None` when it could be any of several.
    #[must_use]
    pub const fn origin(self, ports: Ports, port: u16) -> Option<u16> {
        match (self, ports) {
            (Self::Keep, _) | (Self::From(_), Ports::All) => Some(port),
            (Self::One(_), _) => ports.single(),
            (Self::From(start), Ports::Range { first, .. }) => {
                Some(first.wrapping_add(port.wrapping_sub(start)))
            }
        }
    }

    /// The first and the last port of the ASs; `None` when the last would be above 65 535.
    #[must_use]
    pub const fn range(self, first: u16, last: u16) -> Option<(u16, u16)> {
        match self {
            Self::Keep => Some((first, last)),
            Self::One(port) => Some((port, port)),
            Self::From(start) => match start.checked_add(last - first) {
                Some(end) => Some((start, end)),
                None => None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENS: Ports = Ports::Range { protocol: Protocol::Tcp, first: 10, last: 19 };

    #[test]
    fn ports_match_by_protocol_and_port() {
        assert!(TENS.contains(6, 10) && TENS.contains(6, 19));
        assert!(!TENS.contains(6, 9) && !TENS.contains(6, 20) && !TENS.contains(17, 10));
        assert!(Ports::All.contains(47, 0));
        assert_eq!((TENS.single(), Ports::one(Protocol::Udp, 5).single()), (None, Some(5)));
    }

    #[test]
    fn targets_have_origins_where_one_port_only_leads_there() {
        for (target, to, back) in [
            (TargetPort::Keep, 12, Some(12)),
            (TargetPort::One(80), 80, None),
            (TargetPort::From(8000), 8002, Some(12)),
        ] {
            assert_eq!(target.of(TENS, 12), to);
            assert_eq!(target.origin(TENS, to), back);
        }
        assert_eq!(TargetPort::One(80).origin(Ports::one(Protocol::Tcp, 8080), 80), Some(8080));
        assert_eq!(TargetPort::Keep.range(10, 19), Some((10, 19)));
        assert_eq!(TargetPort::One(80).range(10, 19), Some((80, 80)));
        assert_eq!(TargetPort::From(65_526).range(10, 19), Some((65_526, 65_535)));
        assert_eq!(TargetPort::From(65_527).range(10, 19), None);
    }

    #[test]
    fn ports_print_as_commands_spell_them() {
        assert_eq!(TENS.to_string(), " protocol tcp port 10-19");
        assert_eq!(Ports::one(Protocol::Udp, 53).to_string(), " protocol udp port 53");
        assert_eq!(Ports::All.to_string(), "");
    }
}
