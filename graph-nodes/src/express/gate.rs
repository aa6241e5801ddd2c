//! [`Gate`]: who may enter by an interface.

use dataplane::interface::InterfaceId;
use dataplane::snapshot::Snapshot;

use super::ordinary::Station;
use crate::ethernet_input::takes_ip6;

/// What is to be known of the interface that packets come from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gate {
    /// The interface.
    pub(super) interface: InterfaceId,
    /// The only station whose frames enter; [`Station::NOBODY`] lets none in.
    pub(super) station: Station,
    /// IPv6 packets may enter.
    pub(super) ip6: bool,
    /// Replies of nat4 and nat6 ASs arrive here.
    pub(super) nat_in: [bool; 2],
}

impl Gate {
    /// Lets nobody in.
    pub(super) const CLOSED: Self = Self {
        interface: InterfaceId::LOCAL0,
        station: Station::NOBODY,
        ip6: false,
        nat_in: [false; 2],
    };

    /// Makes this the gate of an interface.
    #[inline]
    pub(super) fn turn_to(&mut self, snapshot: &Snapshot, interface: InterfaceId) {
        if interface != self.interface {
            *self = Self::of(snapshot, interface);
        }
    }

    fn of(snapshot: &Snapshot, id: InterfaceId) -> Self {
        let closed = Self { interface: id, ..Self::CLOSED };
        match snapshot.interface(id) {
            // The kernel's packets are of all kinds.
            Some(interface) if interface.up && interface.port.is_some() && !interface.punt => {
                Self {
                    interface: id,
                    station: Station::of(interface.mac),
                    ip6: takes_ip6(snapshot, id),
                    nat_in: [interface.nat4_in, interface.nat6_in],
                }
            }
            _ => closed,
        }
    }
}
