//! VLAN sub-interfaces.

use std::fmt;

use crate::Spanned;
use crate::choice::choices;

choices! {
    /// The kind of an outer VLAN tag.
    VlanKind {
        /// IEEE 802.1Q, EtherType 0x8100.
        Dot1q = "dot1q",
        /// IEEE 802.1ad, EtherType 0x88a8.
        Dot1ad = "dot1ad",
    }
}

/// The VLAN tags of a sub-interface's frames. They are matched exactly: a frame with one tag more
/// is another sub-interface's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VlanTags {
    /// What the outer tag is.
    pub kind: VlanKind,
    /// VLAN of the outer tag, 1..=4094.
    pub outer: u16,
    /// VLAN of an inner 802.1Q tag, 1..=4094.
    pub inner: Option<u16>,
}

impl fmt::Display for VlanTags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.outer)?;
        match self.inner {
            Some(inner) => write!(f, " inner-dot1q {inner}"),
            None => Ok(()),
        }
    }
}

/// `create sub-interfaces`. The name of what it makes is [`SubInterface::name`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubInterface {
    /// The interface whose port it shares.
    pub parent: Spanned<String>,
    /// Its number, 1..=4294967295; by itself it is the VLAN too.
    pub id: Spanned<u32>,
    /// The tags of its frames.
    pub tags: Spanned<VlanTags>,
}

impl SubInterface {
    /// The name of the sub-interface: `eth0.100`.
    pub fn name(&self) -> String {
        format!("{}.{}", self.parent, self.id)
    }
}
