//! Ethernet addresses.

use std::fmt;
use std::str::FromStr;

/// An Ethernet address, octets in wire order; written `02:00:00:00:00:09`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    /// Is the group bit clear and the address not all zero, so that one station can own it?
    pub fn is_unicast(&self) -> bool {
        self.0[0] & 1 == 0 && self.0 != [0; 6]
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The text is not six hexadecimal octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("six hexadecimal octets expected, such as 02:00:00:00:00:09")]
pub struct NotAMacAddress;

impl FromStr for MacAddress {
    type Err = NotAMacAddress;

    /// Reads `02:00:00:00:00:09`, and VPP's other form `0200.0000.0009`.
    fn from_str(text: &str) -> Result<MacAddress, NotAMacAddress> {
        let (separator, digits) = if text.contains('.') { ('.', 4) } else { (':', 2) };
        let mut octets = Vec::with_capacity(6);
        for group in text.split(separator) {
            let hex = group.len() == digits && group.bytes().all(|b| b.is_ascii_hexdigit());
            let value = u16::from_str_radix(group, 16).map_err(|_| NotAMacAddress)?;
            if !hex {
                return Err(NotAMacAddress);
            }
            octets.extend_from_slice(&value.to_be_bytes()[2 - digits / 2..]);
        }
        octets.try_into().map(MacAddress).map_err(|_| NotAMacAddress)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_notations_and_nothing_else() {
        let mac = MacAddress([2, 0, 0, 0, 0, 9]);
        assert_eq!("02:00:00:00:00:09".parse(), Ok(mac));
        assert_eq!("0200.0000.0009".parse(), Ok(mac));
        assert_eq!(mac.to_string(), "02:00:00:00:00:09");
        for bad in ["", "02:00", "2:0:0:0:0:9", "02:00:00:00:00:09:00", "02-00-00-00-00-09", "é"] {
            assert_eq!(bad.parse::<MacAddress>(), Err(NotAMacAddress), "{bad}");
        }
        assert!(mac.is_unicast());
        assert!(!MacAddress([1, 0, 0, 0, 0, 9]).is_unicast());
        assert!(!MacAddress([0; 6]).is_unicast());
    }
}
