//! What one step does to the world, as far as anybody outside can see.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Why something was counted: the node's name and the text, as `show errors` prints them.
pub type Reason = (&'static str, &'static str);

/// What one step did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Frames sent, in order: interface index and bytes.
    pub sent: Vec<(u16, Vec<u8>)>,
    /// Neighbours that packets wait for.
    pub needed: Vec<(u16, Ipv4Addr)>,
    /// Neighbours that ARP told of, other than we know them.
    pub seen: Vec<(u16, Ipv4Addr, [u8; 6])>,
    /// IPv4 packets given to control, with the interface they came by, up to their total length.
    pub punted: Vec<(u16, Vec<u8>)>,
    /// What was counted how often.
    pub counts: BTreeMap<Reason, u64>,
    /// By VIP (index into the configuration): its four counters.
    pub vips: BTreeMap<usize, VipCounts>,
    /// Packets dropped for a reason.
    pub drops: u64,
    /// Packets that ended here because they were dealt with: ARP that needs no answer.
    pub consumed: u64,
    /// Packets still held at the end of the step, in all.
    pub held: u64,
}

/// The four counters of a VIP, named as VPP names them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VipCounts {
    /// `packet from existing sessions`
    pub existing: u64,
    /// `first session packet`
    pub first: u64,
    /// `untracked packet`
    pub untracked: u64,
    /// `no server configured`
    pub no_server: u64,
}

impl VipCounts {
    /// What was counted since `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            existing: self.existing - before.existing,
            first: self.first - before.first,
            untracked: self.untracked - before.untracked,
            no_server: self.no_server - before.no_server,
        }
    }
}

impl Outcome {
    /// Counts one.
    pub fn count(&mut self, reason: Reason) {
        *self.counts.entry(reason).or_default() += 1;
    }

    /// Takes in what the next packet did.
    pub fn add(&mut self, next: Self) {
        self.sent.extend(next.sent);
        self.needed.extend(next.needed);
        self.seen.extend(next.seen);
        self.punted.extend(next.punted);
        for (reason, count) in next.counts {
            *self.counts.entry(reason).or_default() += count;
        }
        for (vip, counts) in next.vips {
            let sum = self.vips.entry(vip).or_default();
            sum.existing += counts.existing;
            sum.first += counts.first;
            sum.untracked += counts.untracked;
            sum.no_server += counts.no_server;
        }
        self.drops += next.drops;
        self.consumed += next.consumed;
        self.held = next.held;
    }

    /// Counts one dropped packet.
    pub fn drop(&mut self, reason: Reason) {
        self.count(reason);
        self.drops += 1;
    }
}
