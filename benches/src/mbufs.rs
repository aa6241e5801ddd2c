//! Mbufs in plain memory: the layout of DPDK's, all made before the first packet, without EAL.

use std::mem::MaybeUninit;
use std::ptr::NonNull;

use dataplane::packet::Packet;
use dpdk_sys::rte_mbuf;

use crate::frame_template::payload_byte;
use crate::pages::Pages;

/// Free bytes in front of the data of a new packet (DPDK's default headroom).
const HEADROOM: u16 = 128;
/// Room for the data of one packet (DPDK's default).
const DATA_ROOM: u16 = 2048;
const BUFFER_LEN: usize = (HEADROOM + DATA_ROOM) as usize;

/// One mbuf with its buffer, behind as many bytes as DPDK's pools have in front of an object: 37 lines,
/// as with DPDK. An odd number, so that the first lines of mbufs are spread over all sets of the caches.
#[repr(C, align(64))]
struct Slot {
    header: [u8; 64],
    mbuf: rte_mbuf,
    buffer: [u8; BUFFER_LEN],
}

const _: () = assert!(size_of::<Slot>() / 64 % 2 == 1);

/// Makes `count` empty packets, as a port would give them, whose buffers are filled with the payload
/// of all frames. Their memory is never given back: packets are bare pointers to it.
pub(crate) fn make(count: usize) -> Vec<Packet> {
    let slots = Pages::<MaybeUninit<Slot>>::zeroed(count, true).leak();
    slots.iter_mut().map(new_packet).collect()
}

fn new_packet(slot: &'static mut MaybeUninit<Slot>) -> Packet {
    let slot =
        slot.write(Slot { header: [0; 64], mbuf: rte_mbuf::default(), buffer: [0; BUFFER_LEN] });
    for (at, byte) in slot.buffer[usize::from(HEADROOM)..].iter_mut().enumerate() {
        *byte = payload_byte(at);
    }
    slot.mbuf.buf_addr = slot.buffer.as_mut_ptr().cast();
    slot.mbuf.buf_len = BUFFER_LEN as u16;
    slot.mbuf.data_off = HEADROOM;
    slot.mbuf.refcnt = 1;
    slot.mbuf.nb_segs = 1;
    // SAFETY: the mbuf is initialised with one reference, no data, a buffer of `buf_len` bytes that
    // lives as long as the process, and is known to the new handle alone.
    unsafe { Packet::from_raw(NonNull::from(&mut slot.mbuf)) }
}

/// Does what a driver does to an mbuf before it fills it: everything at its default, `len` bytes of
/// data behind the headroom. What the bytes are stays as it was.
///
/// # Panics
/// When the buffer is too small, or the packet has several.
#[inline]
pub(crate) fn rearm(packet: Packet, len: u16) -> Packet {
    let mut raw = packet.into_raw();
    // SAFETY: the handle was the only one and was just given up.
    let mbuf = unsafe { raw.as_mut() };
    // Wider than the fields: a sum that wrapped would let the data reach out of the buffer.
    let fits = u32::from(mbuf.buf_len) >= u32::from(HEADROOM) + u32::from(len);
    assert!(fits && mbuf.nb_segs == 1, "a whole buffer of our own");
    mbuf.data_off = HEADROOM;
    mbuf.refcnt = 1;
    mbuf.ol_flags = 0;
    mbuf.data_len = len;
    mbuf.pkt_len = u32::from(len);
    // SAFETY: the data is inside the buffer, by the check above, and there is one segment.
    unsafe { Packet::from_raw(raw) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_empty_and_have_headroom_and_payload() {
        let mut packets = make(3);
        assert_eq!(packets.len(), 3);
        let packet = packets.pop().unwrap();
        assert_eq!((packet.len(), packet.segments()), (0, 1));
        let mut packet = rearm(packet, 1514);
        assert_eq!(packet.len(), 1514);
        assert!(packet.data().iter().enumerate().all(|(at, byte)| *byte == payload_byte(at)));
        assert!(packet.prepend(HEADROOM) && !packet.prepend(1));
        // Whatever was done to it, it begins anew.
        let packet = rearm(packet, 60);
        assert_eq!(packet.len(), 60);
        assert_eq!(packet.data()[59], payload_byte(59));
    }

    #[test]
    #[should_panic(expected = "a whole buffer")]
    fn a_frame_longer_than_a_buffer_is_refused() {
        rearm(make(1).remove(0), DATA_ROOM + 1);
    }

    #[test]
    #[should_panic(expected = "a whole buffer")]
    fn a_length_that_would_wrap_is_refused() {
        rearm(make(1).remove(0), u16::MAX);
    }
}
