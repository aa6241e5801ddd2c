//! [`Frame`]: up to 256 packets and, beside them, what nodes have found out about each.

use std::ops::Range;

use crate::adjacency::L2Header;
use crate::interface::InterfaceId;
use crate::packet::Packet;

/// Most packets in one frame.
pub const FRAME_MAX: usize = 256;

/// From so many packets in a row on, copying lane by lane beats packet by packet.
const WORTH_A_COPY: usize = 16;

/// Flag bits of [`Lanes::flags`].
pub mod flag {
    /// The packet is addressed to one of our own addresses through a VIP's FIB entry.
    pub const LOCAL_FALLBACK: u8 = 1 << 0;
    /// The packet was made by this box; an error about it is never sent.
    pub const ORIGINATED: u8 = 1 << 1;
    /// The frame was sent to a group of stations, not to us alone.
    pub const LINK_GROUP: u8 = 1 << 2;
    /// Its source, an AS, was replaced by the VIP.
    pub const TRANSLATED: u8 = 1 << 3;
    /// The packet is for a VIP: an error about it comes from the VIP, not from the receiving
    /// interface.
    pub const FROM_VIP: u8 = 1 << 4;
    /// A fragment of a datagram, the first included.
    pub const FRAGMENT: u8 = 1 << 5;
    /// A fragment without the start of the payload: there is no TCP, UDP or ICMP header.
    pub const LATER_FRAGMENT: u8 = 1 << 6;
    /// A whole IP packet of ours is around another one: only its outer header may be looked at.
    pub const ENCAPSULATED: u8 = 1 << 7;
}

/// Per-packet values that one node computes and a later one needs, as a structure of arrays.
///
/// Offsets count bytes from the start of the packet data, which is always the Ethernet header.
#[derive(Debug)]
pub struct Lanes {
    /// Interface it arrived on.
    pub rx_interface: [InterfaceId; FRAME_MAX],
    /// Interface it leaves by, once decided.
    pub tx_interface: [InterfaceId; FRAME_MAX],
    /// Start of the IP header.
    pub l3_offset: [u16; FRAME_MAX],
    /// Start of the TCP, UDP or ICMP header.
    pub l4_offset: [u16; FRAME_MAX],
    /// Protocol number of what `l4_offset` points at, behind IPv6 extension headers.
    pub protocol: [u8; FRAME_MAX],
    /// Adjacency chosen by the FIB or the balancer ([`AdjacencyId`](crate::adjacency::AdjacencyId)).
    pub adjacency: [u32; FRAME_MAX],
    /// The number of the prefix with VIPs that the FIB found, then the index of the VIP.
    pub vip: [u32; FRAME_MAX],
    /// AS index, once chosen.
    pub server: [u32; FRAME_MAX],
    /// Keyed flow hash, once computed.
    pub hash: [u64; FRAME_MAX],
    /// Why a packet is on its way to `error-drop`, as an index into the graph's counters.
    pub error: [u16; FRAME_MAX],
    /// Which ICMP error `ip4-icmp-error` is to send about the packet, by that node's numbering.
    pub icmp: [u8; FRAME_MAX],
    /// The MTU that an ICMP error about the packet reports, in bytes; 0 for the adjacency's.
    pub mtu: [u16; FRAME_MAX],
    /// Trace handle; 0 for a packet that is not traced.
    pub trace: [u32; FRAME_MAX],
    /// Bits of [`flag`].
    pub flags: [u8; FRAME_MAX],
}

impl Lanes {
    const EMPTY: Self = Self {
        rx_interface: [InterfaceId(0); FRAME_MAX],
        tx_interface: [InterfaceId(0); FRAME_MAX],
        l3_offset: [0; FRAME_MAX],
        l4_offset: [0; FRAME_MAX],
        protocol: [0; FRAME_MAX],
        adjacency: [0; FRAME_MAX],
        vip: [0; FRAME_MAX],
        server: [0; FRAME_MAX],
        hash: [0; FRAME_MAX],
        error: [0; FRAME_MAX],
        icmp: [0; FRAME_MAX],
        mtu: [0; FRAME_MAX],
        trace: [0; FRAME_MAX],
        flags: [0; FRAME_MAX],
    };

    #[inline]
    fn copy(&mut self, to: usize, from: &Self, at: usize) {
        self.rx_interface[to] = from.rx_interface[at];
        self.tx_interface[to] = from.tx_interface[at];
        self.l3_offset[to] = from.l3_offset[at];
        self.l4_offset[to] = from.l4_offset[at];
        self.protocol[to] = from.protocol[at];
        self.adjacency[to] = from.adjacency[at];
        self.vip[to] = from.vip[at];
        self.server[to] = from.server[at];
        self.hash[to] = from.hash[at];
        self.error[to] = from.error[at];
        self.icmp[to] = from.icmp[at];
        self.mtu[to] = from.mtu[at];
        self.trace[to] = from.trace[at];
        self.flags[to] = from.flags[at];
    }

    fn copy_all(&mut self, to: Range<usize>, from: &Self, at: Range<usize>) {
        self.rx_interface[to.clone()].copy_from_slice(&from.rx_interface[at.clone()]);
        self.tx_interface[to.clone()].copy_from_slice(&from.tx_interface[at.clone()]);
        self.l3_offset[to.clone()].copy_from_slice(&from.l3_offset[at.clone()]);
        self.l4_offset[to.clone()].copy_from_slice(&from.l4_offset[at.clone()]);
        self.protocol[to.clone()].copy_from_slice(&from.protocol[at.clone()]);
        self.adjacency[to.clone()].copy_from_slice(&from.adjacency[at.clone()]);
        self.vip[to.clone()].copy_from_slice(&from.vip[at.clone()]);
        self.server[to.clone()].copy_from_slice(&from.server[at.clone()]);
        self.hash[to.clone()].copy_from_slice(&from.hash[at.clone()]);
        self.error[to.clone()].copy_from_slice(&from.error[at.clone()]);
        self.icmp[to.clone()].copy_from_slice(&from.icmp[at.clone()]);
        self.mtu[to.clone()].copy_from_slice(&from.mtu[at.clone()]);
        self.trace[to.clone()].copy_from_slice(&from.trace[at.clone()]);
        self.flags[to].copy_from_slice(&from.flags[at]);
    }

    /// Readies the lanes of packets that have just arrived: those that somebody reads before any node
    /// has written them. What the others hold is another packet's; a debug build makes it nonsense,
    /// so that no node can come to rely on it unseen.
    #[inline]
    fn receive(&mut self, slots: Range<usize>, rx_interface: InterfaceId) {
        self.rx_interface[slots.clone()].fill(rx_interface);
        self.l3_offset[slots.clone()].fill(0);
        self.mtu[slots.clone()].fill(0);
        self.trace[slots.clone()].fill(0);
        self.flags[slots.clone()].fill(0);
        if cfg!(debug_assertions) {
            self.spoil(slots);
        }
    }

    /// Fills all lanes that [`Self::receive`] leaves as they were.
    fn spoil(&mut self, slots: Range<usize>) {
        self.tx_interface[slots.clone()].fill(InterfaceId(0xa5a5));
        self.l4_offset[slots.clone()].fill(0xa5a5);
        self.protocol[slots.clone()].fill(0xa5);
        self.adjacency[slots.clone()].fill(0xa5a5_a5a5);
        self.vip[slots.clone()].fill(0xa5a5_a5a5);
        self.server[slots.clone()].fill(0xa5a5_a5a5);
        self.hash[slots.clone()].fill(0xa5a5_a5a5_a5a5_a5a5);
        self.error[slots.clone()].fill(0xa5a5);
        self.icmp[slots].fill(0xa5);
    }

    #[inline]
    fn reset(&mut self, at: usize, rx_interface: InterfaceId) {
        self.rx_interface[at] = rx_interface;
        self.tx_interface[at] = InterfaceId(0);
        self.l3_offset[at] = 0;
        self.l4_offset[at] = 0;
        self.protocol[at] = 0;
        self.adjacency[at] = 0;
        self.vip[at] = 0;
        self.server[at] = 0;
        self.hash[at] = 0;
        self.error[at] = 0;
        self.icmp[at] = 0;
        self.mtu[at] = 0;
        self.trace[at] = 0;
        self.flags[at] = 0;
    }
}

/// A vector of packets on its way from one node to the next.
#[derive(Debug)]
pub struct Frame {
    len: usize,
    packets: [Option<Packet>; FRAME_MAX],
    /// What is known about each packet.
    pub lanes: Lanes,
}

impl Frame {
    /// An empty frame. About 12 KiB, so it is boxed and made before workers start.
    pub fn boxed() -> Box<Self> {
        Box::new(Self { len: 0, packets: [const { None }; FRAME_MAX], lanes: Lanes::EMPTY })
    }

    /// Number of slots in use. A slot whose packet was taken stays until the frame is cleared.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True when no slot is in use.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Slots left.
    #[inline]
    pub fn room(&self) -> usize {
        FRAME_MAX - self.len
    }

    /// The slots from `from` on whose packets came from the same interface as the first of them.
    #[inline]
    pub fn same_rx(&self, from: usize) -> Range<usize> {
        let rx = &self.lanes.rx_interface[from..self.len];
        let Some(first) = rx.first() else { return from..from };
        // Nearly always all, which is seen many at once when no loop ends early.
        if rx.iter().fold(true, |same, other| same & (other == first)) {
            return from..self.len;
        }
        let other = rx.iter().position(|other| other != first);
        from..other.map_or(self.len, |at| from + at)
    }

    /// Adds a packet that has just arrived (or was made) with fresh lanes; gives it back when full.
    #[inline]
    pub fn push(&mut self, packet: Packet, rx_interface: InterfaceId) -> Result<usize, Packet> {
        if self.len == FRAME_MAX {
            return Err(packet);
        }
        let at = self.len;
        self.packets[at] = Some(packet);
        self.lanes.reset(at, rx_interface);
        self.len += 1;
        Ok(at)
    }

    /// Adds a burst of packets that have just arrived: `source` puts them into the slots it is given,
    /// all empty, from the first on, and says how many. Returns that.
    #[inline]
    pub fn fill(
        &mut self,
        rx_interface: InterfaceId,
        source: impl FnOnce(&mut [Option<Packet>]) -> usize,
    ) -> usize {
        let from = self.len;
        let count = source(&mut self.packets[from..]).min(FRAME_MAX - from);
        self.len = from + count;
        self.lanes.receive(from..self.len, rx_interface);
        count
    }

    /// Moves packet `at` of `other` with its lanes to the end of this frame; false when this frame
    /// is full or the slot is empty.
    #[inline]
    pub fn move_from(&mut self, other: &mut Self, at: usize) -> bool {
        if self.len == FRAME_MAX {
            return false;
        }
        let Some(packet) = other.packets[at].take() else { return false };
        self.packets[self.len] = Some(packet);
        self.lanes.copy(self.len, &other.lanes, at);
        self.len += 1;
        true
    }

    /// Moves packets of `other` with their lanes to the end of this frame, as many as it has room for;
    /// empty slots are left out.
    #[inline]
    pub fn move_all_from(&mut self, other: &mut Self, slots: Range<usize>) {
        let whole =
            other.packets[slots.clone()].iter().fold(true, |all, slot| all & slot.is_some());
        if slots.len() >= WORTH_A_COPY && slots.len() <= self.room() && whole {
            let to = self.len..self.len + slots.len();
            self.lanes.copy_all(to.clone(), &other.lanes, slots.clone());
            let from = other.packets[slots].iter_mut();
            for (to, from) in self.packets[to.clone()].iter_mut().zip(from) {
                *to = from.take();
            }
            self.len = to.end;
            return;
        }
        for at in slots {
            self.move_from(other, at);
        }
    }

    /// How many packets were taken out of their slots.
    #[inline]
    fn taken(&self) -> usize {
        // Counted to the end, as the compiler does that for four slots in two instructions.
        self.packets().iter().map(|slot| usize::from(slot.is_none())).sum()
    }

    /// True when no packet was taken out of its slot.
    #[inline]
    pub fn is_whole(&self) -> bool {
        self.taken() == 0
    }

    /// True when every packet was taken out of its slot.
    #[inline]
    pub fn is_hollow(&self) -> bool {
        self.taken() == self.len
    }

    /// All slots in use.
    #[inline]
    pub fn packets(&self) -> &[Option<Packet>] {
        &self.packets[..self.len]
    }

    /// `N` slots from `start` on, of which the last may not be in use; `None` where there are not as
    /// many.
    #[inline]
    pub fn slots<const N: usize>(&self, start: usize) -> Option<&[Option<Packet>; N]> {
        self.packets.get(start..)?.first_chunk()
    }

    /// The same, writable.
    #[inline]
    pub fn slots_mut<const N: usize>(&mut self, start: usize) -> Option<&mut [Option<Packet>; N]> {
        self.packets.get_mut(start..)?.first_chunk_mut()
    }

    /// All slots in use, to take packets in bulk.
    #[inline]
    pub fn packets_mut(&mut self) -> &mut [Option<Packet>] {
        &mut self.packets[..self.len]
    }

    /// The packet in slot `at`, unless it was taken.
    #[inline]
    pub fn packet(&self, at: usize) -> Option<&Packet> {
        self.packets[at].as_ref()
    }

    /// The packet in slot `at`, writable, unless it was taken.
    #[inline]
    pub fn packet_mut(&mut self, at: usize) -> Option<&mut Packet> {
        self.packets[at].as_mut()
    }

    /// Bytes of packet `at` from its Ethernet header on; empty when it was taken.
    #[inline]
    pub fn data(&self, at: usize) -> &[u8] {
        self.packets[at].as_ref().map_or(&[], Packet::data)
    }

    /// Writable bytes of packet `at`; empty when it was taken.
    #[inline]
    pub fn data_mut(&mut self, at: usize) -> &mut [u8] {
        self.packets[at].as_mut().map_or(&mut [], Packet::data_mut)
    }

    /// Puts `header` directly in front of the IP header of packet `at`, which may make the packet
    /// start earlier or later; the lanes' offsets follow. False when there is no packet or no room;
    /// nothing is changed then.
    #[inline]
    #[must_use]
    pub fn set_l2(&mut self, at: usize, header: &L2Header) -> bool {
        let l3 = usize::from(self.lanes.l3_offset[at]);
        let len = header.len();
        let Some(packet) = self.packets[at].as_mut() else { return false };
        if l3 == len
            && let Some(bytes) = header.untagged()
            && let Some(room) = packet.data_mut().first_chunk_mut()
        {
            // The usual case, in stores of known length.
            *room = *bytes;
            return true;
        }
        if l3 != len {
            let moved = match len.checked_sub(l3) {
                Some(more) => packet.prepend(more as u16),
                None => packet.trim_front((l3 - len) as u16),
            };
            if !moved {
                return false;
            }
            self.lanes.l3_offset[at] = len as u16;
            self.lanes.l4_offset[at] = (usize::from(self.lanes.l4_offset[at]) + len - l3) as u16;
        }
        match packet.data_mut().get_mut(..len) {
            Some(room) => {
                room.copy_from_slice(header.as_bytes());
                true
            }
            None => false,
        }
    }

    /// Takes ownership of packet `at` out of the frame; the slot stays behind empty.
    #[inline]
    pub fn take(&mut self, at: usize) -> Option<Packet> {
        self.packets[at].take()
    }

    /// Forgets all slots. Every packet must have been taken or moved; one left behind would leak.
    #[inline]
    pub fn clear(&mut self) {
        debug_assert!(
            self.packets[..self.len].iter().all(Option::is_none),
            "a packet was left behind"
        );
        self.len = 0;
    }
}
