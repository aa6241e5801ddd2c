//! What a packet carries, as lanes tell it.

use dataplane::family::Family;
use dataplane::frame::{Lanes, flag};
use dataplane::wire::extension::{UpperLayer, UpperLayerError};
use dataplane::wire::ip::IpHeader;

/// Value of the `protocol` lane of a packet whose extension headers could not be walked to the end.
/// It is a reserved protocol number, so that the rare packet that claims it is walked once more.
pub const NOT_FOUND: u8 = 255;

/// Writes what was found into the lanes of packet `at`.
#[inline]
pub fn mark(lanes: &mut Lanes, at: usize, upper: &UpperLayer) {
    lanes.l4_offset[at] = upper.offset as u16;
    lanes.protocol[at] = upper.protocol;
    if let Some(fragment) = upper.fragment {
        lanes.flags[at] |= flag::FRAGMENT;
        if !fragment.is_first() {
            lanes.flags[at] |= flag::LATER_FRAGMENT;
        }
    }
}

/// Why the upper layer of the packet at `l3` was not found, if it was not.
#[inline]
pub fn lost<F: Family>(data: &[u8], l3: usize, protocol: u8) -> Option<UpperLayerError> {
    if protocol != NOT_FOUND {
        return None;
    }
    F::Header::upper_layer(data, l3).err()
}
