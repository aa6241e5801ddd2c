//! [`Packet`]: the owning handle of one mbuf. The only place that touches mbuf fields.

use std::ptr::NonNull;

use dpdk_sys::rte_mbuf;

use crate::wire::checksum::{Sum, sum};

/// An mbuf that this handle owns alone.
///
/// It is not `Clone` and has no `Drop`: a packet ends by being transmitted or freed through
/// [`PacketIo`](crate::io::PacketIo), which knows the pool it came from. A handle that is
/// forgotten leaks its mbuf, which `show buffers` makes visible; nothing worse can happen.
#[repr(transparent)]
pub struct Packet(NonNull<rte_mbuf>);

// SAFETY: the handle is the mbuf's only owner, and an mbuf is plain memory that any thread may use.
unsafe impl Send for Packet {}

impl std::fmt::Debug for Packet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Packet({} bytes)", self.len())
    }
}

impl Packet {
    /// Takes ownership of an mbuf.
    ///
    /// # Safety
    /// `mbuf` points to an initialised mbuf with reference count 1 whose buffer is valid for
    /// `buf_len` bytes, `data_off + data_len <= buf_len`, and nobody else uses it from now on. So are
    /// all segments behind it, and `pkt_len` is the sum of their lengths.
    #[inline]
    pub unsafe fn from_raw(mbuf: NonNull<rte_mbuf>) -> Self {
        Self(mbuf)
    }

    /// Gives the mbuf away; the receiver must free or transmit it.
    #[inline]
    pub fn into_raw(self) -> NonNull<rte_mbuf> {
        self.0
    }

    #[inline]
    fn mbuf(&self) -> &rte_mbuf {
        // SAFETY: `from_raw` demands a valid mbuf, and `&self` keeps writers away.
        unsafe { self.0.as_ref() }
    }

    #[inline]
    fn mbuf_mut(&mut self) -> &mut rte_mbuf {
        // SAFETY: `from_raw` demands a valid mbuf of which this handle is the only owner.
        unsafe { self.0.as_mut() }
    }

    #[inline]
    fn set_lengths(&mut self, data_len: u16, total: u32) {
        let mbuf = self.mbuf_mut();
        mbuf.data_len = data_len;
        mbuf.pkt_len = total;
    }

    /// Length of the whole packet in bytes, all segments.
    #[inline]
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.mbuf().pkt_len as usize
    }

    /// Length of the packets of a frame in bytes.
    #[inline]
    pub fn bytes_of(packets: &[Option<Self>]) -> u64 {
        // 32 bits are enough for 256 packets, and added to from memory.
        let lengths = packets.iter().flatten().map(|packet| packet.mbuf().pkt_len);
        lengths.fold(0, u32::wrapping_add).into()
    }

    /// Number of segments; headers are always read from the first.
    #[inline]
    pub fn segments(&self) -> usize {
        usize::from(self.mbuf().nb_segs)
    }

    /// True for a packet in one segment from which the port took no VLAN tag out.
    #[inline(always)]
    pub fn is_plain(&self) -> bool {
        let mbuf = self.mbuf();
        mbuf.nb_segs == 1 && mbuf.ol_flags & dpdk_sys::RTE_MBUF_F_RX_VLAN_STRIPPED == 0
    }

    /// The VLAN tag (TCI, host order) that the port took out of the frame, if it did.
    #[inline]
    pub fn stripped_vlan(&self) -> Option<u16> {
        let mbuf = self.mbuf();
        let stripped = mbuf.ol_flags & dpdk_sys::RTE_MBUF_F_RX_VLAN_STRIPPED != 0;
        stripped.then_some(mbuf.vlan_tci)
    }

    /// The bytes of the first segment, from the Ethernet header on.
    #[inline]
    pub fn data(&self) -> &[u8] {
        segment_data(self.mbuf())
    }

    /// The bytes of the first segment, writable.
    #[inline]
    pub fn data_mut(&mut self) -> &mut [u8] {
        let (offset, len) = (self.mbuf().data_off, self.mbuf().data_len);
        debug_assert!(u32::from(offset) + u32::from(len) <= u32::from(self.mbuf().buf_len));
        // SAFETY: as in `segment_data`; `&mut self` makes the access exclusive.
        unsafe {
            let start = in_buffer(self.mbuf_mut(), offset);
            std::slice::from_raw_parts_mut(start, usize::from(len))
        }
    }

    /// Makes room for `bytes` more bytes in front; false (and no change) without headroom.
    #[inline]
    #[must_use]
    pub fn prepend(&mut self, bytes: u16) -> bool {
        let offset = self.mbuf().data_off;
        let Some(len) = self.mbuf().data_len.checked_add(bytes) else { return false };
        if offset < bytes {
            return false;
        }
        let total = self.len() as u32 + u32::from(bytes);
        self.mbuf_mut().data_off = offset - bytes;
        self.set_lengths(len, total);
        true
    }

    /// Cuts a single-segment packet down to its first `keep` bytes, and makes room for `bytes` more in front.
    /// Returns the `ROOM` bytes around its old start: `FRONT` in front of it, of which those that are not
    /// its own now may have any content, and the first behind. `None` (and no change) when there are not as
    /// many, or the packet has not as many bytes as `keep`, or `bytes` is more than `FRONT`.
    #[inline(always)]
    #[must_use]
    pub fn reframe<const FRONT: usize, const ROOM: usize>(
        &mut self,
        keep: u16,
        bytes: u16,
    ) -> Option<&mut [u8; ROOM]> {
        let mbuf = self.mbuf_mut();
        let (offset, behind) = (mbuf.data_off, const { ROOM - FRONT });
        if mbuf.nb_segs != 1
            || keep > mbuf.data_len
            || usize::from(bytes) > FRONT
            || usize::from(offset) < FRONT
            || usize::from(keep) < behind
        {
            return None;
        }
        debug_assert!(usize::from(offset) + behind <= usize::from(mbuf.buf_len));
        mbuf.data_off -= bytes;
        // No more than the buffer, as neither part is.
        let len = keep.wrapping_add(bytes);
        self.set_lengths(len, u32::from(len));
        // SAFETY: `from_raw` demands a valid buffer, in which there are `offset` bytes in front of the old
        // start and `data_len` behind it; `FRONT` and `behind` are no more. `&mut self` makes the access
        // exclusive.
        unsafe { Some(&mut *in_buffer(self.mbuf_mut(), offset - FRONT as u16).cast()) }
    }

    /// Drops the first `bytes` bytes of the first segment; false (and no change) when it is shorter.
    #[inline]
    #[must_use]
    pub fn trim_front(&mut self, bytes: u16) -> bool {
        let Some(len) = self.mbuf().data_len.checked_sub(bytes) else { return false };
        let total = self.len() as u32 - u32::from(bytes);
        self.mbuf_mut().data_off += bytes;
        self.set_lengths(len, total);
        true
    }

    /// Grows the packet by `delta` bytes in front, or shrinks it by `-delta`; false (and no change)
    /// without the headroom, or when the first segment is shorter than what is to go.
    #[inline]
    #[must_use]
    pub fn adjust_front(&mut self, delta: i32) -> bool {
        let Ok(bytes) = u16::try_from(delta.unsigned_abs()) else { return false };
        if delta >= 0 { self.prepend(bytes) } else { self.trim_front(bytes) }
    }

    /// Replaces the packet's content; false (and no change) when the buffer is too small.
    /// Only for single-segment packets, such as freshly allocated ones.
    #[must_use]
    pub fn assign(&mut self, bytes: &[u8]) -> bool {
        let room =
            usize::from(self.mbuf().buf_len).saturating_sub(usize::from(self.mbuf().data_off));
        if bytes.len() > room || self.segments() != 1 {
            return false;
        }
        self.set_lengths(bytes.len() as u16, bytes.len() as u32);
        self.data_mut().copy_from_slice(bytes);
        true
    }

    /// Shortens the packet to `len` bytes; a packet that is not longer stays as it is. Segments
    /// behind the new end stay too, empty, for only the pool could take them.
    #[inline]
    pub fn truncate(&mut self, len: usize) {
        if len >= self.len() {
            return;
        }
        self.mbuf_mut().pkt_len = len as u32;
        let mut left = len;
        let mut next = Some(self.mbuf_mut());
        while let Some(segment) = next {
            segment.data_len = left.min(usize::from(segment.data_len)) as u16;
            left -= usize::from(segment.data_len);
            // SAFETY: `from_raw` demands that `next` is null or a valid segment, owned like the
            // first, and `&mut self` keeps everybody else away.
            next = unsafe { segment.next.as_mut() };
        }
    }

    /// Lengthens a single-segment packet to `len` bytes; the new bytes have any content.
    /// False (and no change) when the buffer is too small.
    #[inline]
    #[must_use]
    pub fn extend(&mut self, len: usize) -> bool {
        let room =
            usize::from(self.mbuf().buf_len).saturating_sub(usize::from(self.mbuf().data_off));
        if len > room || self.segments() != 1 || len < usize::from(self.mbuf().data_len) {
            return false;
        }
        self.set_lengths(len as u16, len as u32);
        true
    }

    /// Puts `bytes` behind the content of a single-segment packet; false (and no change) when the
    /// buffer is too small.
    #[inline]
    #[must_use]
    pub fn append(&mut self, bytes: &[u8]) -> bool {
        let old = usize::from(self.mbuf().data_len);
        if !self.extend(old + bytes.len()) {
            return false;
        }
        self.data_mut()[old..].copy_from_slice(bytes);
        true
    }

    /// Copies `out.len()` bytes from `offset` on, whichever segments they are in; false (and `out`
    /// as it was) when the packet ends before.
    #[must_use]
    pub fn copy_bytes(&self, offset: usize, out: &mut [u8]) -> bool {
        if offset.checked_add(out.len()).is_none_or(|end| end > self.len()) {
            return false;
        }
        let mut done = 0;
        for part in self.parts(offset, out.len()) {
            out[done..done + part.len()].copy_from_slice(part);
            done += part.len();
        }
        debug_assert_eq!(done, out.len(), "the segments are shorter than the packet's length");
        true
    }

    /// One's complement sum of `len` bytes from `offset` on, whichever segments they are in, as if
    /// they were in one piece; `None` when the packet ends before.
    pub fn sum(&self, offset: usize, len: usize) -> Option<Sum> {
        if offset.checked_add(len).is_none_or(|end| end > self.len()) {
            return None;
        }
        let (mut total, mut done) = (Sum::default(), 0);
        for part in self.parts(offset, len) {
            let sum = sum(part);
            total = total.plus(if done % 2 == 0 { sum } else { sum.swapped() });
            done += part.len();
        }
        Some(total)
    }

    /// The pieces of the segments that hold `len` bytes from `offset` on.
    fn parts(&self, mut offset: usize, mut len: usize) -> impl Iterator<Item = &[u8]> {
        let mut segment = Some(self.mbuf());
        std::iter::from_fn(move || {
            while len > 0 {
                let mbuf = segment?;
                let bytes = segment_data(mbuf);
                // SAFETY: `from_raw` demands that `next` is null or a valid segment, owned like the
                // first, and `&self` keeps writers away.
                segment = unsafe { mbuf.next.as_ref() };
                let Some(rest) = bytes.get(offset..).filter(|rest| !rest.is_empty()) else {
                    offset -= bytes.len();
                    continue;
                };
                let part = &rest[..rest.len().min(len)];
                (offset, len) = (0, len - part.len());
                return Some(part);
            }
            None
        })
    }
}

/// The bytes of one segment.
#[inline]
fn segment_data(mbuf: &rte_mbuf) -> &[u8] {
    let (offset, len) = (mbuf.data_off, mbuf.data_len);
    debug_assert!(u32::from(offset) + u32::from(len) <= u32::from(mbuf.buf_len));
    // SAFETY: `Packet::from_raw` demands `data_off + data_len <= buf_len` of a valid buffer, which
    // every method of `Packet` keeps; the reference keeps writers away.
    unsafe { std::slice::from_raw_parts(in_buffer(mbuf, offset), usize::from(len)) }
}

/// A byte of a packet's buffer.
///
/// # Safety
/// The buffer is valid, and `offset` is in it or at its end.
#[inline(always)]
unsafe fn in_buffer(mbuf: &rte_mbuf, offset: u16) -> *mut u8 {
    // SAFETY: the caller vouches for the place in the buffer, and no buffer is at address 0. Saying so spares
    // callers a test: an `Option` of a reference is `None` at 0.
    unsafe {
        let byte = mbuf.buf_addr.cast::<u8>().add(usize::from(offset));
        std::hint::assert_unchecked(!byte.is_null());
        byte
    }
}
