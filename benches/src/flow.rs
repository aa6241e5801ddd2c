//! Flows: numbers that stand for clients, and the window of those that are alive.

use std::net::Ipv4Addr;

/// Most flows that can be alive at once: one client address each.
pub const FLOWS_MAX: u64 = 1 << ADDRESS_BITS;
/// Clients are in 16.0.0.0/8.
const ADDRESS_BITS: u32 = 24;
const CLIENTS: u32 = 0x1000_0000;
const ADDRESS_MASK: u32 = (1 << ADDRESS_BITS) - 1;
/// Odd, so that multiplying by it is one to one modulo a power of two.
const SCRAMBLE: u32 = 0x9e37_79b1;
/// Modulo 2^32.
const UNSCRAMBLE: u32 = inverse(SCRAMBLE);
/// Client ports: from 1024 on, so many.
const PORTS: u32 = 1 << 15;

/// The number that undoes a multiplication by an odd number (Newton: each step doubles the bits).
const fn inverse(odd: u32) -> u32 {
    let mut guess = odd;
    let mut step = 0;
    while step < 5 {
        guess = guess.wrapping_mul(2_u32.wrapping_sub(odd.wrapping_mul(guess)));
        step += 1;
    }
    guess
}

/// Who sends a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Client {
    /// Address.
    pub address: Ipv4Addr,
    /// Port, host order.
    pub port: u16,
}

impl Client {
    /// The client of flow `id`. Different flows have different clients (for ids below 2^39);
    /// neighbouring ids have addresses far from each other.
    #[inline]
    pub fn of(id: u64) -> Self {
        let low = (id as u32).wrapping_mul(SCRAMBLE) & ADDRESS_MASK;
        // Two flows of one address differ in the bits above, and so in their ports.
        let port = ((id >> ADDRESS_BITS) as u32).wrapping_add(low.wrapping_mul(SCRAMBLE) >> 17);
        Self { address: Ipv4Addr::from_bits(CLIENTS | low), port: 1024 + (port % PORTS) as u16 }
    }

    /// The flow below [`FLOWS_MAX`] whose client has this address; `None` for other addresses.
    pub fn flow_of(address: Ipv4Addr) -> Option<u64> {
        let bits = address.to_bits();
        let low = (bits & ADDRESS_MASK).wrapping_mul(UNSCRAMBLE) & ADDRESS_MASK;
        (bits & !ADDRESS_MASK == CLIENTS).then_some(u64::from(low))
    }
}

/// How fast new flows take the place of old ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// So many per second; 0 for never.
    PerSecond(u64),
    /// Every packet is the first of a flow.
    EveryPacket,
}

/// The flows that are alive, visited one after the other, and their renewal.
#[derive(Clone, Debug)]
pub struct FlowWindow {
    first: u64,
    len: u64,
    cursor: u64,
    renewal: Renewal,
    /// TSC clocks per second.
    hz: u64,
    last_tsc: u64,
    /// Share of a new flow that has been earned, in flows times `hz`.
    owed: u64,
    /// New flows that are due.
    due: u64,
    started: u64,
}

impl FlowWindow {
    /// Flows `first` to `first + len`; at least one.
    pub fn new(first: u64, len: u64, renewal: Renewal, hz: u64) -> Self {
        let (len, hz) = (len.max(1), hz.max(1));
        Self { first, len, cursor: 0, renewal, hz, last_tsc: 0, owed: 0, due: 0, started: 0 }
    }

    /// Says that a burst begins. A pause counts as one millisecond at most, so that flows do not
    /// pile up while nothing is sent.
    #[inline]
    pub fn begin_burst(&mut self, tsc: impl FnOnce() -> u64) {
        let Renewal::PerSecond(rate) = self.renewal else { return };
        if rate == 0 {
            return;
        }
        let now = tsc();
        let elapsed = now.wrapping_sub(self.last_tsc).min(self.hz / 1000);
        self.last_tsc = now;
        self.owed = self.owed.saturating_add(elapsed.saturating_mul(rate));
        self.due += self.owed / self.hz;
        self.owed %= self.hz;
    }

    /// The flow of the next packet, and whether that is its first.
    #[inline]
    pub fn next_flow(&mut self) -> (u64, bool) {
        if self.due > 0 || self.renewal == Renewal::EveryPacket {
            self.due = self.due.saturating_sub(1);
            self.started += 1;
            self.first += 1;
            return (self.first + self.len - 1, true);
        }
        self.cursor = if self.cursor + 1 < self.len { self.cursor + 1 } else { 0 };
        (self.first + self.cursor, false)
    }

    /// Flows that have begun since the start, those of the first window not counted.
    pub fn started(&self) -> u64 {
        self.started
    }

    /// Flows that are alive.
    pub fn alive(&self) -> std::ops::Range<u64> {
        self.first..self.first + self.len
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_flow_has_a_client_of_its_own() {
        let step = 1 << ADDRESS_BITS;
        // A long run of neighbours, and many flows that share an address.
        let ids = (0..200_000).chain((1..5_000).map(|high| high * step + 7));
        let clients: HashSet<_> = ids.clone().map(Client::of).collect();
        assert_eq!(clients.len(), ids.count());
        assert!(clients.iter().all(|client| client.port >= 1024));
    }

    #[test]
    fn a_flow_is_found_by_its_address() {
        for id in [0, 1, 2, 999, 123_456, FLOWS_MAX - 1] {
            assert_eq!(Client::flow_of(Client::of(id).address), Some(id));
        }
        assert_eq!(Client::flow_of(Ipv4Addr::new(17, 0, 0, 0)), None);
    }

    #[test]
    fn a_window_visits_exactly_its_flows() {
        let mut window = FlowWindow::new(5, 1000, Renewal::PerSecond(0), 1);
        let seen: Vec<_> = (0..3000).map(|_| window.next_flow()).collect();
        assert!(seen.iter().all(|(id, first)| (5..1005).contains(id) && !first));
        for round in seen.chunks(1000) {
            assert_eq!(round.iter().collect::<HashSet<_>>().len(), 1000);
        }
        assert_eq!(window.started(), 0);
    }

    #[test]
    fn new_flows_come_at_their_rate() {
        let mut window = FlowWindow::new(0, 10, Renewal::PerSecond(500), 1_000_000);
        let mut first = 0;
        // Two seconds in steps of half a millisecond; the first step has no past.
        for step in 0..=4000 {
            window.begin_burst(|| step * 500);
            first += (0..3).filter(|_| window.next_flow().1).count();
        }
        assert_eq!((first, window.started()), (1000, 1000));
        assert_eq!(window.alive(), 1000..1010);
        // An hour's pause is no reason for a flood.
        window.begin_burst(|| 3_600_000_000);
        assert!((0..10).filter(|_| window.next_flow().1).count() <= 1);
    }

    #[test]
    fn every_packet_can_be_a_new_flow() {
        let mut window = FlowWindow::new(0, 10, Renewal::EveryPacket, 1);
        let ids: HashSet<_> = (0..500).map(|_| window.next_flow()).collect();
        assert!(ids.len() == 500 && ids.iter().all(|(id, first)| *first && *id >= 10));
    }
}
