//! [`Load`]: packets that arrive by a schedule, whatever the worker does, and how long each of them is
//! under way.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::histogram::{Histogram, Latency};

/// Packets that wait for the worker at most, as in a receive ring; the others are lost.
const RING: u64 = 1024;
/// Times are in parts of a TSC clock, so that a rate is met exactly enough.
const FRACTION_BITS: u32 = 16;

/// How long packets took at a load.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadLatency {
    /// Percent of the rate that was measured without a schedule.
    pub percent: f64,
    /// Million packets per second that arrived, all workers together.
    pub offered_mpps: f64,
    /// Packets that found the ring full.
    pub lost: u64,
    /// From arrival to transmission.
    pub ns: Latency,
}

impl LoadLatency {
    /// One line.
    pub fn text(&self) -> String {
        let Self { percent, offered_mpps, lost, ns } = self;
        format!(
            "    at {percent} % ({offered_mpps:.2} Mpps): {ns}; {lost} of {} lost\n",
            ns.packets + lost
        )
    }
}

/// The schedule of one worker's packets. They leave in the order in which they arrived, but for the
/// few that a graph sorts by what is to be done with them within a burst.
#[derive(Clone, Debug)]
pub struct Load {
    /// Between two packets.
    interval: u64,
    start: u64,
    /// When the next packet is due, since the start.
    next: u64,
    /// When those arrived that the worker has.
    under_way: VecDeque<u64>,
    times: Histogram,
    lost: u64,
}

impl Load {
    /// So many packets per second, from `now` on (TSC clocks); `hz` is the TSC's.
    pub fn new(rate: f64, hz: u64, now: u64) -> Self {
        let interval = (hz as f64 / rate.max(1.0) * f64::from(1 << FRACTION_BITS)) as u64;
        let mut times = Histogram::default();
        times.make_room();
        let under_way = VecDeque::with_capacity(2 * RING as usize);
        Self { interval: interval.max(1), start: now, next: 0, under_way, times, lost: 0 }
    }

    /// Takes up to `most` of the packets that have arrived; returns how many.
    #[inline]
    pub fn arrive(&mut self, now: u64, most: usize) -> usize {
        let elapsed = now.saturating_sub(self.start) << FRACTION_BITS;
        if elapsed < self.next {
            return 0;
        }
        let mut due = (elapsed - self.next) / self.interval + 1;
        if due > RING {
            self.lost += due - RING;
            self.next += (due - RING) * self.interval;
            due = RING;
        }
        let count = due.min(most as u64);
        for _ in 0..count {
            self.under_way.push_back(self.start + (self.next >> FRACTION_BITS));
            self.next += self.interval;
        }
        count as usize
    }

    /// Packets have left.
    #[inline]
    pub fn leave(&mut self, now: u64, packets: usize) {
        for arrived in self.under_way.drain(..packets.min(self.under_way.len())) {
            self.times.add(now.saturating_sub(arrived));
        }
    }

    /// Begins anew at `now` with an empty ring; returns what was seen since the last time.
    pub fn restart(&mut self, now: u64) -> (Histogram, u64) {
        (self.start, self.next) = (now, 0);
        self.under_way.clear();
        let mut empty = Histogram::default();
        empty.make_room();
        (std::mem::replace(&mut self.times, empty), std::mem::take(&mut self.lost))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_arrive_by_their_schedule() {
        // One each ten clocks, from 1000 on.
        let mut load = Load::new(100.0, 1000, 1000);
        assert_eq!((load.arrive(1000, 256), load.arrive(1009, 256)), (1, 0));
        assert_eq!((load.arrive(1035, 2), load.arrive(1035, 256)), (2, 1));
        load.leave(1050, 4);
        let (times, lost) = load.restart(2000);
        // They had come at 1000, 1010, 1020 and 1030.
        assert_eq!(
            (times.count(), times.quantile(0.25), times.quantile(1.0), lost),
            (4, 20, 50, 0)
        );
        assert_eq!((load.arrive(2009, 256), load.arrive(2010, 256)), (1, 1));
    }

    #[test]
    fn a_full_ring_loses_packets() {
        let mut load = Load::new(100.0, 1000, 0);
        assert_eq!(load.arrive(20_000, 256), 256);
        // 2001 were due; the oldest had no room.
        load.leave(20_000, 256);
        let (times, lost) = load.restart(0);
        assert_eq!((lost, times.count()), (977, 256));
        // The first of the last 1024.
        assert!(times.quantile(1.0) >= 10_230 && times.quantile(1.0) <= 10_400);
    }
}
