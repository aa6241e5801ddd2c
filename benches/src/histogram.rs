//! [`Histogram`]: how long packets took, without keeping every one of them.

use serde::{Deserialize, Serialize};

/// Buckets of each power of two: a figure is at most 1/64 too large.
const FINE_BITS: u32 = 6;
const FINE: usize = 1 << FINE_BITS;
/// Values below the first power of two with so many buckets have one bucket each.
const BUCKETS: usize = FINE * (64 - FINE_BITS as usize + 1);

/// Counts values by size, in logarithmic buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// None before the first value.
    buckets: Vec<u64>,
    count: u64,
    max: u64,
}

/// What is reported of latencies, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Half of the packets took no longer.
    pub p50: f64,
    /// 99 % of the packets took no longer.
    pub p99: f64,
    /// 99.9 % of the packets took no longer.
    pub p999: f64,
    /// The slowest packet.
    pub max: f64,
    /// Packets.
    pub packets: u64,
}

impl std::fmt::Display for Latency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [p50, p99, p999, max] = [self.p50, self.p99, self.p999, self.max].map(|ns| ns / 1000.0);
        write!(f, "p50 {p50:.1} µs, p99 {p99:.1} µs, p99.9 {p999:.1} µs, max {max:.1} µs")
    }
}

fn bucket_of(value: u64) -> usize {
    let above = (u64::BITS - value.leading_zeros()).saturating_sub(FINE_BITS + 1);
    FINE * above as usize + (value >> above) as usize
}

/// The largest value of a bucket.
fn end_of(bucket: usize) -> u64 {
    let above = (bucket / FINE).saturating_sub(1) as u32;
    let fine = (bucket - FINE * above as usize) as u64;
    (((u128::from(fine) + 1) << above) - 1) as u64
}

impl Histogram {
    /// Counts a value.
    #[inline]
    pub fn add(&mut self, value: u64) {
        if self.buckets.is_empty() {
            self.make_room();
        }
        self.buckets[bucket_of(value)] += 1;
        self.count += 1;
        self.max = self.max.max(value);
    }

    /// Has what it needs ready before the first value comes.
    #[cold]
    pub fn make_room(&mut self) {
        self.buckets.resize(BUCKETS, 0);
    }

    /// Values that were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        self.make_room();
        for (bucket, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *bucket += more;
        }
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The smallest value that at least `share` of all values do not exceed, rounded up to the end of
    /// its bucket.
    pub fn quantile(&self, share: f64) -> u64 {
        let wanted = ((self.count as f64 * share).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return end_of(bucket).min(self.max);
            }
        }
        self.max
    }

    /// How many values are above this one, as far as buckets tell.
    pub fn above(&self, value: u64) -> u64 {
        self.buckets.iter().skip(bucket_of(value) + 1).sum()
    }

    /// The figures that are reported, when the values are TSC clocks; `None` without values.
    pub fn latency(&self, tsc_hz: f64) -> Option<Latency> {
        let ns = |clocks: u64| clocks as f64 * 1e9 / tsc_hz;
        (self.count > 0).then(|| Latency {
            p50: ns(self.quantile(0.5)),
            p99: ns(self.quantile(0.99)),
            p999: ns(self.quantile(0.999)),
            max: ns(self.max),
            packets: self.count,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_in_a_bucket_that_is_not_much_wider() {
        for shift in 0..64 {
            for value in [1_u64 << shift, (1 << shift) + 1, (1_u64 << shift).wrapping_sub(1)] {
                let end = end_of(bucket_of(value));
                assert!(end >= value && end - value <= value / 64, "{value} in ..={end}");
            }
        }
        assert_eq!((bucket_of(u64::MAX), end_of(BUCKETS - 1)), (BUCKETS - 1, u64::MAX));
        assert_eq!(end_of(bucket_of(0)), 0);
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut histogram = Histogram::default();
        (1..=10_000).for_each(|value| histogram.add(value));
        for (share, exact) in [(0.5, 5_000.0), (0.99, 9_900.0), (0.999, 9_990.0), (1.0, 10_000.0)] {
            let found = histogram.quantile(share) as f64;
            assert!(found >= exact && found <= exact * 65.0 / 64.0, "{share}: {found}");
        }
        let latency = histogram.latency(1e9).unwrap();
        assert_eq!((latency.max, latency.packets), (10_000.0, 10_000));
        assert_eq!(histogram.latency(2e9).unwrap().max, 5_000.0);
        histogram.clear();
        assert_eq!((histogram.latency(1e9), histogram.quantile(0.5)), (None, 0));
    }

    #[test]
    fn merged_they_count_the_values_of_both() {
        let (mut one, mut other) = (Histogram::default(), Histogram::default());
        (0..100).for_each(|value| one.add(value));
        (100..200).for_each(|value| other.add(value));
        one.merge(&other);
        let mut both = Histogram::default();
        (0..200).for_each(|value| both.add(value));
        assert_eq!((one.count(), one), (200, both));
    }

    #[test]
    fn values_above_are_counted() {
        let mut histogram = Histogram::default();
        [10, 60, 61, 1000].into_iter().for_each(|value| histogram.add(value));
        assert_eq!((histogram.above(60), histogram.above(1000), histogram.above(0)), (2, 0, 4));
        assert_eq!(Histogram::default().above(0), 0);
    }

    #[test]
    fn a_quantile_is_the_first_value_with_that_share() {
        let mut histogram = Histogram::default();
        (1..=10).for_each(|value| histogram.add(value));
        let quantiles = [0.0, 0.1, 0.5, 0.51, 0.99, 1.0].map(|share| histogram.quantile(share));
        assert_eq!(quantiles, [1, 1, 5, 6, 10, 10]);
    }

    #[test]
    fn one_slow_packet_is_the_maximum_only() {
        let mut histogram = Histogram::default();
        (0..9_999).for_each(|_| histogram.add(100));
        histogram.add(1_000_000);
        assert!(histogram.quantile(0.999) <= 101);
        assert_eq!(histogram.latency(1e9).unwrap().max, 1e6);
    }
}
