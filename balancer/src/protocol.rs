//! The transport protocols that a VIP can balance.

use std::fmt;
use std::str::FromStr;

/// A transport protocol, with its IANA number as discriminant.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// TCP (RFC 9293).
    Tcp = 6,
    /// UDP (RFC 768).
    Udp = 17,
}

impl Protocol {
    /// The protocol of an IPv4 header's protocol field, if it is one we balance.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            6 => Some(Self::Tcp),
            17 => Some(Self::Udp),
            _ => None,
        }
    }

    /// The IANA protocol number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The word that commands use: `tcp` or `udp`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}

/// Prints the number, as `show lb vips` does (`protocol:6`).
impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.number(), f)
    }
}

/// The text is neither `tcp`, `udp`, `6` nor `17`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected `tcp` or `udp`")]
pub struct ParseProtocolError;

/// Reads the command word or the number.
impl FromStr for Protocol {
    type Err = ParseProtocolError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "tcp" | "6" => Ok(Self::Tcp),
            "udp" | "17" => Ok(Self::Udp),
            _ => Err(ParseProtocolError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_names_and_text_agree() {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            assert_eq!(Protocol::from_number(protocol.number()), Some(protocol));
            assert_eq!(protocol.name().parse(), Ok(protocol));
            assert_eq!(protocol.to_string().parse(), Ok(protocol));
        }
        assert_eq!(Protocol::Tcp.to_string(), "6");
        assert_eq!(Protocol::Udp.to_string(), "17");
        assert_eq!(Protocol::from_number(1), None);
        assert_eq!("icmp".parse::<Protocol>(), Err(ParseProtocolError));
    }
}
