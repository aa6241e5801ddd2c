//! The first page of the state: under which circumstances its tables mean something.

use std::fmt::{self, Display, Formatter};
use std::sync::atomic::{AtomicU64, Ordering};

use super::checksum::checksum;

/// Counts up whenever a table, a key word, a flow value or a record means something else. Written
/// by another Sluice, state is of no use. What that is in bytes is in `layout.txt`.
pub const LAYOUT: u64 = 3;

/// Longest time, in seconds, for which flows outlive the daemon. They expire modulo 2^16 seconds:
/// one that ended just before would seem alive again 2^15 seconds later.
pub const MAX_GAP_S: u64 = 30_000;

/// Words of the page.
pub(super) const HEADER_WORDS: usize = 512;

/// Words of one of the two headers: while one is written, the other holds.
const SLOT_WORDS: usize = 64;
/// Where the second of the last sign of life is, next to a 1.
const LAST_TICK: usize = 2 * SLOT_WORDS;
const ALIVE: u64 = 1 << 32;

/// "SLUICEST", as octets in memory.
const MAGIC: u64 = u64::from_le_bytes(*b"SLUICEST");

/// Under which circumstances the tables are read and written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// [`LAYOUT`]
    pub layout: u64,
    /// `/proc/sys/kernel/random/boot_id`: the TSC counts from the machine's start.
    pub boot_id: u128,
    /// TSC clocks per second.
    pub tsc_hz: u64,
    /// The TSC at tick 0 of the flows' clock.
    pub tsc_start: u64,
    /// The secret that places flows in the tables.
    pub key: [u64; 4],
    /// Of the cluster's hash key.
    pub fingerprint: u64,
    /// Workers that have tables.
    pub workers: u64,
    /// Buckets that tables were made with last; each tells its own by its name.
    pub buckets: u64,
}

/// Never shows the key.
impl fmt::Debug for Header {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Header(layout {}, {} workers, {} buckets)",
            self.layout, self.workers, self.buckets
        )
    }
}

/// What the present daemon is, to be compared with a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Situation {
    /// `/proc/sys/kernel/random/boot_id`
    pub boot_id: u128,
    /// TSC clocks per second.
    pub tsc_hz: u64,
    /// The TSC now.
    pub tsc: u64,
    /// Of the cluster's hash key.
    pub fingerprint: u64,
    /// Workers.
    pub workers: usize,
    /// Buckets of each worker's table.
    pub buckets: u32,
}

/// Why state is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// Nothing was kept there yet.
    New,
    /// Its header is not whole, or it is something else.
    Checksum,
    /// A field is another.
    Mismatch {
        /// What it is called.
        field: &'static str,
        /// What the file says.
        file: String,
        /// What would be right.
        now: String,
    },
}

impl Display for Unusable {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::New => f.write_str("the directory is new"),
            Self::Checksum => f.write_str("checksum: the header is damaged"),
            Self::Mismatch { field, file, now } => write!(f, "{field}: file {file}, {now}"),
        }
    }
}

impl Header {
    /// The one in force.
    pub(super) fn read(page: &[AtomicU64]) -> Result<Self, Unusable> {
        let load = |slot: usize| {
            let words = page.iter().skip(slot * SLOT_WORDS).take(SLOT_WORDS);
            words.map(|word| word.load(Ordering::SeqCst)).collect::<Vec<_>>()
        };
        let slots = [load(0), load(1)];
        if slots.iter().flatten().all(|word| *word == 0) {
            return Err(Unusable::New);
        }
        let whole = slots.iter().filter(|slot| slot[0] == MAGIC && slot[1] == sum(slot));
        let latest = whole.max_by_key(|slot| slot[2]).ok_or(Unusable::Checksum)?;
        Ok(Self {
            layout: latest[3],
            boot_id: u128::from(latest[5]) << 64 | u128::from(latest[4]),
            tsc_hz: latest[6],
            tsc_start: latest[7],
            key: [latest[8], latest[9], latest[10], latest[11]],
            fingerprint: latest[12],
            workers: latest[13],
            buckets: latest[14],
        })
    }

    /// Puts it in force. Whoever is killed meanwhile leaves the one before.
    pub(super) fn write(&self, page: &[AtomicU64]) {
        let serial = |slot: usize| page[slot * SLOT_WORDS + 2].load(Ordering::SeqCst);
        let (slot, next) = match (serial(0), serial(1)) {
            (first, second) if first > second => (1, first + 1),
            (_, second) => (0, second + 1),
        };
        let mut words = [0; SLOT_WORDS];
        words[0] = MAGIC;
        words[2] = next;
        words[3] = self.layout;
        words[4] = self.boot_id as u64;
        words[5] = (self.boot_id >> 64) as u64;
        words[6] = self.tsc_hz;
        words[7] = self.tsc_start;
        words[8..12].copy_from_slice(&self.key);
        words[12] = self.fingerprint;
        words[13] = self.workers;
        words[14] = self.buckets;
        words[1] = sum(&words);
        let place = &page[slot * SLOT_WORDS..][..SLOT_WORDS];
        place[1].store(!words[1], Ordering::SeqCst);
        for (at, word) in words.iter().enumerate().filter(|(at, _)| *at != 1) {
            place[at].store(*word, Ordering::SeqCst);
        }
        place[1].store(words[1], Ordering::SeqCst);
    }

    /// Leaves no header.
    pub(super) fn erase(page: &[AtomicU64]) {
        page.iter().for_each(|word| word.store(0, Ordering::SeqCst));
    }

    /// The second of the last sign of life.
    pub(super) fn last_tick(page: &[AtomicU64]) -> Option<u32> {
        let word = page[LAST_TICK].load(Ordering::SeqCst);
        (word & ALIVE != 0).then_some(word as u32)
    }

    /// Gives a sign of life.
    pub(super) fn set_last_tick(page: &[AtomicU64], tick_s: u32) {
        page[LAST_TICK].store(ALIVE | u64::from(tick_s), Ordering::SeqCst);
    }

    /// The second of the flows' clock, if tables with this header can be used now.
    ///
    /// The frequency is measured anew at each start: what differs by less than one in a hundred is
    /// the same, and the header's counts.
    pub(super) fn check(&self, now: &Situation, last_tick: Option<u32>) -> Result<u32, Unusable> {
        let differs = |field, file: &dyn Display, now: String| {
            Err(Unusable::Mismatch { field, file: file.to_string(), now })
        };
        if self.layout != LAYOUT {
            return differs("layout version", &self.layout, format!("this version has {LAYOUT}"));
        }
        if self.boot_id != now.boot_id {
            let [file, present] = [self.boot_id, now.boot_id].map(|id| format!("{id:032x}"));
            return differs("boot id", &file, format!("now {present}: the machine was restarted"));
        }
        if self.tsc_hz.abs_diff(now.tsc_hz) > now.tsc_hz / 100 || self.tsc_hz == 0 {
            return differs("TSC frequency", &self.tsc_hz, format!("now {} Hz", now.tsc_hz));
        }
        if self.fingerprint != now.fingerprint {
            let file = format!("{:016x}", self.fingerprint);
            return differs("hash key", &file, format!("configured {:016x}", now.fingerprint));
        }
        let (tick, last) = (now.tsc.checked_sub(self.tsc_start), last_tick.map(u64::from));
        match (tick.map(|clocks| clocks / self.tsc_hz), last) {
            (Some(tick), Some(last)) if tick > last + MAX_GAP_S => {
                let now = format!("now second {tick}: more than {MAX_GAP_S} s have passed");
                differs("time", &format!("second {last}"), now)
            }
            // It is written with the precision of a second or so.
            (Some(tick), Some(last)) if tick + 5 >= last => Ok(tick as u32),
            _ => {
                let last = format!("second {}", last.unwrap_or_default());
                differs("time", &last, "now earlier: the clock went back".to_owned())
            }
        }
    }
}

fn sum(slot: &[u64]) -> u64 {
    checksum(slot.iter().enumerate().filter(|(at, _)| *at != 1).map(|(_, word)| *word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Vec<AtomicU64> {
        (0..HEADER_WORDS).map(|_| AtomicU64::new(0)).collect()
    }

    fn header() -> Header {
        Header {
            layout: LAYOUT,
            boot_id: 1 << 100 | 5,
            tsc_hz: 1_000,
            tsc_start: 5_000,
            key: [1, 2, 3, 4],
            fingerprint: 9,
            workers: 2,
            buckets: 1024,
        }
    }

    fn situation() -> Situation {
        Situation {
            boot_id: 1 << 100 | 5,
            tsc_hz: 1_001,
            tsc: 65_000,
            fingerprint: 9,
            workers: 3,
            buckets: 1024,
        }
    }

    #[test]
    fn the_latest_whole_header_holds() {
        let page = page();
        assert_eq!(Header::read(&page), Err(Unusable::New));
        for buckets in 1..6 {
            Header { buckets, ..header() }.write(&page);
            assert_eq!(Header::read(&page), Ok(Header { buckets, ..header() }));
        }
        // Killed while the next was written, at any word: the last one holds.
        let before: Vec<u64> = page.iter().map(|word| word.load(Ordering::SeqCst)).collect();
        let spoilt = (0..2).find(|slot| before[slot * SLOT_WORDS + 14] == 4).unwrap();
        for at in 0..15 {
            page[spoilt * SLOT_WORDS + at].store(77, Ordering::SeqCst);
            assert_eq!(Header::read(&page), Ok(Header { buckets: 5, ..header() }));
        }
        page[(1 - spoilt) * SLOT_WORDS + 20].store(1, Ordering::SeqCst);
        assert_eq!(Header::read(&page), Err(Unusable::Checksum));
        Header::erase(&page);
        assert_eq!(Header::read(&page), Err(Unusable::New));
    }

    #[test]
    fn the_last_sign_of_life_is_kept() {
        let page = page();
        assert_eq!(Header::last_tick(&page), None);
        Header::set_last_tick(&page, 0);
        assert_eq!(Header::last_tick(&page), Some(0));
        Header::set_last_tick(&page, u32::MAX);
        assert_eq!(Header::last_tick(&page), Some(u32::MAX));
    }

    #[test]
    fn each_field_that_differs_is_named() {
        assert_eq!(header().check(&situation(), Some(58)), Ok(60));
        // Neither other workers nor other tables are in the way.
        let other = Situation { workers: 1, buckets: 65_536, ..situation() };
        assert_eq!(header().check(&other, Some(58)), Ok(60));
        let cases: [(Situation, &str); 4] = [
            (Situation { boot_id: 6, ..situation() }, "boot id: file 0000001"),
            (Situation { tsc_hz: 2_000, ..situation() }, "TSC frequency: file 1000, now 2000 Hz"),
            (
                Situation { fingerprint: 10, ..situation() },
                "hash key: file 0000000000000009, configured 000000000000000a",
            ),
            (Situation { tsc: 4_000, ..situation() }, "time: file second 58, now earlier"),
        ];
        for (situation, expected) in cases {
            let why = header().check(&situation, Some(58)).unwrap_err().to_string();
            assert!(why.starts_with(expected), "{why}");
        }
        let why = Header { layout: 7, ..header() }.check(&situation(), Some(58)).unwrap_err();
        assert!(why.to_string().starts_with("layout version: file 7, this version has "));
    }

    #[test]
    fn flows_are_not_kept_for_longer_than_expiry_can_tell() {
        let after = |seconds: u64| Situation { tsc: 5_000 + seconds * 1_000, ..situation() };
        assert_eq!(header().check(&after(100 + MAX_GAP_S), Some(100)), Ok(100 + MAX_GAP_S as u32));
        let why = header().check(&after(101 + MAX_GAP_S), Some(100)).unwrap_err().to_string();
        assert_eq!(why, "time: file second 100, now second 30101: more than 30000 s have passed");
        assert!(header().check(&after(98), Some(100)).is_ok());
        assert!(header().check(&after(90), Some(100)).is_err(), "the clock went back");
        assert!(header().check(&after(90), None).is_err());
    }
}
