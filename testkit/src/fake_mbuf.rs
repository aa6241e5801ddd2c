//! Mbufs on the heap: the memory layout of DPDK's without EAL, hugepages or root.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dataplane::packet::Packet;
use dpdk_sys::rte_mbuf;

use crate::guard_pages::GuardPages;

/// Free bytes in front of the data of a new packet (DPDK's default headroom).
pub const HEADROOM: u16 = 128;
/// Bytes of one buffer, headroom included (DPDK's default).
pub const BUFFER_LEN: u16 = 2048 + HEADROOM;

/// One buffer. The mbuf comes first, so that a pointer to it is a pointer to the whole.
#[repr(C)]
struct FakeMbuf {
    mbuf: rte_mbuf,
    outstanding: Arc<AtomicUsize>,
    buffer: [u8; BUFFER_LEN as usize],
    /// What stands for `buffer` in a guarded pool.
    pages: Option<GuardPages>,
}

/// A source of fake mbufs that knows how many have not come back.
#[derive(Clone, Debug)]
pub struct FakePool {
    outstanding: Arc<AtomicUsize>,
    limit: usize,
    guarded: bool,
}

impl FakePool {
    /// A pool of `limit` buffers.
    pub fn new(limit: usize) -> Self {
        Self { outstanding: Arc::default(), limit, guarded: false }
    }

    /// The same, with packets of given bytes right before a page that nobody may touch.
    pub fn guarded(limit: usize) -> Self {
        Self { guarded: true, ..Self::new(limit) }
    }

    /// Buffers handed out and not freed.
    pub fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::SeqCst)
    }

    fn raw(&self) -> Option<NonNull<rte_mbuf>> {
        if self.outstanding() >= self.limit {
            return None;
        }
        self.outstanding.fetch_add(1, Ordering::SeqCst);
        let fake = Box::into_raw(Box::new(FakeMbuf {
            mbuf: rte_mbuf::default(),
            outstanding: Arc::clone(&self.outstanding),
            // Not zero, so that a read of bytes nobody wrote shows.
            buffer: [0xa5; BUFFER_LEN as usize],
            pages: None,
        }));
        // SAFETY: the box was just made and is reachable through `fake` alone.
        let whole = unsafe { &mut *fake };
        whole.mbuf.buf_addr = whole.buffer.as_mut_ptr().cast();
        whole.mbuf.buf_len = BUFFER_LEN;
        whole.mbuf.data_off = HEADROOM;
        whole.mbuf.refcnt = 1;
        whole.mbuf.nb_segs = 1;
        NonNull::new(fake.cast())
    }

    /// An empty packet; `None` when the pool is exhausted.
    pub fn alloc(&self) -> Option<Packet> {
        let raw = self.raw()?;
        // SAFETY: `raw` made an initialised mbuf with one reference, an empty data area inside its
        // buffer, and no other user.
        Some(unsafe { Packet::from_raw(raw) })
    }

    /// A packet of these bytes.
    ///
    /// # Panics
    /// When the pool is exhausted or the bytes do not fit into one buffer.
    pub fn packet(&self, bytes: &[u8]) -> Packet {
        let raw = self.raw().expect("the fake pool is exhausted");
        if self.guarded {
            fence_in(raw, bytes.len());
        }
        // SAFETY: `raw` made an initialised mbuf with one reference, an empty data area inside its
        // buffer, and no other user.
        let mut packet = unsafe { Packet::from_raw(raw) };
        assert!(packet.assign(bytes), "{} bytes do not fit into a fake mbuf", bytes.len());
        packet
    }

    /// A packet whose bytes are cut at `cuts` (ascending offsets) into several segments.
    ///
    /// # Panics
    /// As [`Self::packet`], or when a cut lies behind the end.
    pub fn segmented(&self, bytes: &[u8], cuts: &[usize]) -> Packet {
        let ends = cuts.iter().copied().chain([bytes.len()]);
        let mut start = 0;
        let mut segments: Vec<NonNull<rte_mbuf>> = Vec::new();
        for end in ends {
            segments.push(self.packet(&bytes[start..end]).into_raw());
            start = end;
        }
        let count = segments.len() as u16;
        let mut next = std::ptr::null_mut();
        for segment in segments.iter_mut().rev() {
            // SAFETY: `packet` made the mbuf and nobody else has a handle.
            unsafe { segment.as_mut() }.next = next;
            next = segment.as_ptr();
        }
        let head = &mut segments[0];
        // SAFETY: as above.
        let mbuf = unsafe { head.as_mut() };
        mbuf.nb_segs = count;
        mbuf.pkt_len = bytes.len() as u32;
        // SAFETY: the chain is complete and owned by nobody but the new handle.
        unsafe { Packet::from_raw(*head) }
    }

    /// A packet of these bytes, out of which the port took a VLAN tag with this TCI (host order).
    ///
    /// # Panics
    /// As [`Self::packet`].
    pub fn stripped_of_vlan(&self, bytes: &[u8], tci: u16) -> Packet {
        let mut raw = self.packet(bytes).into_raw();
        // SAFETY: `packet` made the mbuf and the handle was just given up.
        let mbuf = unsafe { raw.as_mut() };
        mbuf.ol_flags |= dpdk_sys::RTE_MBUF_F_RX_VLAN_STRIPPED;
        mbuf.vlan_tci = tci;
        // SAFETY: the mbuf is as valid as before and has no other handle.
        unsafe { Packet::from_raw(raw) }
    }
}

/// Gives a new mbuf another buffer, which has room for headroom and `len` bytes and not one more.
fn fence_in(raw: NonNull<rte_mbuf>, len: usize) {
    // SAFETY: every mbuf of these pools is the first field of a boxed `FakeMbuf`, and this one was
    // just made: nobody else has it.
    let fake = unsafe { raw.cast::<FakeMbuf>().as_mut() };
    let room = vec![0xa5; usize::from(HEADROOM) + len];
    let mut pages = GuardPages::new(room.len());
    fake.mbuf.buf_addr = pages.at_end(&room).as_mut_ptr().cast();
    fake.mbuf.buf_len = room.len() as u16;
    fake.pages = Some(pages);
}

/// Ends a packet of a [`FakePool`] and gives its bytes, all segments.
pub fn free(packet: Packet) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(packet.len());
    let mut segment = packet.into_raw().as_ptr();
    while !segment.is_null() {
        // SAFETY: every packet of these tests comes from `FakePool::raw`, which made the mbuf as the
        // first field of a boxed `FakeMbuf`; the handle that owned it was given up.
        let fake = unsafe { Box::from_raw(segment.cast::<FakeMbuf>()) };
        let offset = usize::from(fake.mbuf.data_off);
        let (start, len) = (fake.mbuf.buf_addr.cast::<u8>(), usize::from(fake.mbuf.data_len));
        // SAFETY: the buffer of this mbuf, its own or pages, which it still has; the data lies in it.
        let data = unsafe { std::slice::from_raw_parts(start.add(offset), len) };
        bytes.extend_from_slice(data);
        fake.outstanding.fetch_sub(1, Ordering::SeqCst);
        segment = fake.mbuf.next;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use dataplane::wire::checksum::sum;

    use super::*;

    #[test]
    fn counts_what_is_outstanding() {
        let pool = FakePool::new(2);
        let (first, second) = (pool.packet(b"first"), pool.packet(b"second"));
        assert!(pool.alloc().is_none());
        assert_eq!(free(first), b"first");
        assert_eq!(pool.outstanding(), 1);
        assert_eq!(free(second), b"second");
        assert_eq!(pool.outstanding(), 0);
    }

    #[test]
    fn a_segmented_packet_shows_its_first_segment() {
        let pool = FakePool::new(9);
        let packet = pool.segmented(b"abcdefgh", &[3, 5]);
        assert_eq!((packet.segments(), packet.len(), packet.data()), (3, 8, &b"abc"[..]));
        assert_eq!(free(packet), b"abcdefgh");
        assert_eq!(pool.outstanding(), 0);
    }

    #[test]
    fn headers_can_be_taken_off_and_put_on() {
        let pool = FakePool::new(1);
        let mut packet = pool.packet(b"abcdef");
        assert!(packet.trim_front(2));
        assert_eq!(packet.data(), b"cdef");
        assert!(packet.prepend(HEADROOM + 2));
        assert!(!packet.prepend(1));
        assert_eq!(packet.len(), usize::from(HEADROOM) + 6);
        free(packet);
    }

    #[test]
    fn a_packet_is_cut_and_put_behind_something() {
        let pool = FakePool::new(4);
        let mut packet = pool.packet(b"abcdef");
        let room = packet.reframe::<3, 7>(4, 2).expect("room in front");
        assert_eq!(room[3..], *b"abcd");
        room[..3].copy_from_slice(b"012");
        assert_eq!((packet.data(), packet.len()), (&b"12abcd"[..], 6));
        // Not so long, would be too short, longer than the room in front, and without as much headroom.
        assert!(packet.reframe::<1, 1>(7, 1).is_none());
        assert!(packet.reframe::<1, 6>(4, 1).is_none());
        assert!(packet.reframe::<1, 2>(6, 2).is_none());
        assert!(packet.reframe::<{ HEADROOM as usize - 1 }, 130>(6, 1).is_none());
        assert_eq!(free(packet), b"12abcd");
        let mut packet = pool.segmented(b"abcdefgh", &[3, 5]);
        assert!(packet.reframe::<1, 2>(2, 1).is_none());
        assert_eq!(free(packet), b"abcdefgh");
    }

    #[test]
    fn the_front_grows_and_shrinks() {
        let pool = FakePool::new(1);
        let mut packet = pool.packet(b"abcdef");
        assert!(packet.adjust_front(-4) && packet.data() == b"ef");
        assert!(packet.adjust_front(4) && packet.data() == b"abcdef");
        assert!(packet.adjust_front(0) && packet.len() == 6);
        for impossible in [-7, i32::from(HEADROOM) + 1, i32::MIN, i32::MAX, 65536, -65536] {
            assert!(!packet.adjust_front(impossible), "{impossible}");
            assert_eq!((packet.data(), packet.len()), (&b"abcdef"[..], 6));
        }
        free(packet);
    }

    #[test]
    fn bytes_are_appended_while_there_is_room() {
        let pool = FakePool::new(3);
        let mut packet = pool.packet(b"abc");
        assert!(packet.append(b"def") && packet.append(b""));
        assert_eq!((packet.data(), packet.len()), (&b"abcdef"[..], 6));
        let room = usize::from(BUFFER_LEN - HEADROOM) - 6;
        assert!(!packet.append(&vec![0; room + 1]));
        assert!(packet.append(&vec![0; room]));
        free(packet);
        let mut segmented = pool.segmented(b"abcdef", &[3]);
        assert!(!segmented.append(b"g"));
        free(segmented);
    }

    #[test]
    fn packets_end_where_they_are_cut() {
        let bytes: Vec<u8> = (0..=40).collect();
        for cuts in [&[][..], &[8], &[8, 8, 11, 40], &[2, 3, 4]] {
            for len in 0..45 {
                let mut packet = FakePool::new(9).segmented(&bytes, cuts);
                packet.truncate(len);
                assert_eq!(packet.len(), len.min(41));
                assert_eq!(free(packet), bytes[..len.min(41)]);
            }
        }
    }

    #[test]
    fn every_range_is_read_across_segments() {
        let bytes: Vec<u8> = (0..=40).collect();
        // Odd lengths, and an empty segment.
        for cuts in [&[][..], &[8], &[8, 8, 11, 40], &[2, 3, 4]] {
            let pool = FakePool::new(9);
            let mut packet = pool.segmented(&bytes, cuts);
            // What is in front of the data does not count.
            assert!(packet.trim_front(1));
            for start in 0..=40 {
                for end in start..=40 {
                    let mut out = vec![0xee; end - start];
                    assert!(packet.copy_bytes(start, &mut out));
                    assert_eq!(out, bytes[start + 1..=end]);
                    let whole = sum(&bytes[start + 1..=end]).fold();
                    assert_eq!(packet.sum(start, end - start).unwrap().fold(), whole);
                }
            }
            let mut out = [0xee; 2];
            for beyond in [39, 40, 41, usize::MAX] {
                assert!(!packet.copy_bytes(beyond, &mut out));
                assert!(packet.sum(beyond, 2).is_none());
            }
            assert_eq!(out, [0xee; 2]);
            free(packet);
        }
    }
}
