//! [`FragmentHold`]: fragments that came before the first of their datagram wait here a little.

use dataplane::frame::Frame;
use dataplane::interface::InterfaceId;
use dataplane::packet::Packet;

/// Datagrams of which fragments wait.
pub(crate) const DATAGRAMS_MAX: usize = 64;
/// Fragments of one datagram that wait.
pub(crate) const PER_DATAGRAM_MAX: usize = 8;
/// How long they wait, in ticks of a second.
pub(crate) const HOLD_TIME_S: u32 = 1;

/// A fragment that waits, with the lanes it needs to go on.
#[derive(Debug)]
struct Held {
    packet: Packet,
    since_s: u32,
    rx_interface: InterfaceId,
    l3_offset: u16,
    vip: u32,
    flags: u8,
    trace: u32,
}

/// The fragments of one datagram, in the order in which they came.
#[derive(Debug)]
struct Datagram<K> {
    key: K,
    len: usize,
    packets: [Option<Held>; PER_DATAGRAM_MAX],
    /// The first fragment came: they may go on.
    ready: bool,
}

/// The fragments that wait, of one direction and family. All its memory is allocated before the
/// worker starts.
#[derive(Debug)]
pub(crate) struct FragmentHold<K> {
    datagrams: Vec<Datagram<K>>,
    /// Tick of the last look for those that waited too long.
    looked_s: u32,
}

impl<K> Default for FragmentHold<K> {
    fn default() -> Self {
        Self { datagrams: Vec::with_capacity(DATAGRAMS_MAX), looked_s: 0 }
    }
}

impl<K: Copy + Eq> FragmentHold<K> {
    /// True when nothing waits.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    /// Takes packet `at` out of the frame and keeps it; false (and nothing happens) without room.
    pub(crate) fn hold(&mut self, frame: &mut Frame, at: usize, key: K, now_s: u32) -> bool {
        let found = self.datagrams.iter().position(|datagram| datagram.key == key);
        let index = match found {
            Some(index) if self.datagrams[index].len < PER_DATAGRAM_MAX => index,
            None if self.datagrams.len() < DATAGRAMS_MAX => self.datagrams.len(),
            _ => return false,
        };
        let Some(packet) = frame.take(at) else { return false };
        let lanes = &frame.lanes;
        let held = Held {
            packet,
            since_s: now_s,
            rx_interface: lanes.rx_interface[at],
            l3_offset: lanes.l3_offset[at],
            vip: lanes.vip[at],
            flags: lanes.flags[at],
            trace: lanes.trace[at],
        };
        if found.is_none() {
            let packets = [const { None }; PER_DATAGRAM_MAX];
            self.datagrams.push(Datagram { key, len: 0, packets, ready: false });
        }
        let datagram = &mut self.datagrams[index];
        datagram.packets[datagram.len] = Some(held);
        datagram.len += 1;
        true
    }

    /// The first fragment of a datagram has come: [`Self::release`] lets the others go.
    #[inline]
    pub(crate) fn set_ready(&mut self, key: K) {
        if let Some(datagram) = self.datagrams.iter_mut().find(|datagram| datagram.key == key) {
            datagram.ready = true;
        }
    }

    /// Appends to the frame the fragments whose first has come, as long as there is room. Returns
    /// how many.
    pub(crate) fn release(&mut self, frame: &mut Frame) -> usize {
        let before = frame.len();
        self.take(frame, |datagram, _| datagram.ready);
        frame.len() - before
    }

    /// Appends to the frame the fragments that have waited too long, as long as there is room.
    pub(crate) fn expire(&mut self, frame: &mut Frame, now_s: u32) {
        if self.datagrams.is_empty() || self.looked_s == now_s {
            return;
        }
        let full = self.take(frame, |_, held| now_s.wrapping_sub(held.since_s) >= HOLD_TIME_S);
        if !full {
            self.looked_s = now_s;
        }
    }

    /// Appends to the frame what `wanted` says. True when the frame was full before all was done.
    fn take(&mut self, frame: &mut Frame, wanted: impl Fn(&Datagram<K>, &Held) -> bool) -> bool {
        let mut full = false;
        let mut index = 0;
        while let Some(datagram) = self.datagrams.get_mut(index) {
            for slot in 0..datagram.len {
                let is_wanted =
                    datagram.packets[slot].as_ref().is_some_and(|held| wanted(datagram, held));
                if !is_wanted {
                    continue;
                }
                if frame.room() == 0 {
                    full = true;
                    break;
                }
                if let Some(held) = datagram.packets[slot].take() {
                    append(frame, held);
                }
            }
            compact(datagram);
            if datagram.len == 0 {
                self.datagrams.swap_remove(index);
            } else {
                index += 1;
            }
        }
        full
    }

    /// Gives up all packets.
    pub(crate) fn give_up(&mut self, garbage: &mut Vec<Packet>) {
        for mut datagram in self.datagrams.drain(..) {
            garbage.extend(datagram.packets.iter_mut().filter_map(Option::take).map(|h| h.packet));
        }
    }
}

/// Closes the gaps that taken packets left.
fn compact<K>(datagram: &mut Datagram<K>) {
    let mut kept = 0;
    for slot in 0..datagram.len {
        if datagram.packets[slot].is_some() {
            datagram.packets.swap(kept, slot);
            kept += 1;
        }
    }
    datagram.len = kept;
}

/// Puts a packet back into a frame that has room.
fn append(frame: &mut Frame, held: Held) {
    let Ok(at) = frame.push(held.packet, held.rx_interface) else { return };
    let lanes = &mut frame.lanes;
    lanes.l3_offset[at] = held.l3_offset;
    lanes.vip[at] = held.vip;
    lanes.flags[at] = held.flags;
    lanes.trace[at] = held.trace;
}
