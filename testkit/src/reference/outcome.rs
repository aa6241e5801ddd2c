//! What one step does to the world, as far as anybody outside can see.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::service::VipKey;

/// Why something was counted: the node's name and the text, as `show errors` prints them.
pub type Reason = (&'static str, &'static str);

/// What one step did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Frames sent, in order: interface index and bytes.
    pub sent: Vec<(u16, Vec<u8>)>,
    /// Neighbours that packets wait for.
    pub needed: Vec<(u16, IpAddr)>,
    /// Neighbours that ARP told of, other than we know them.
    pub seen: Vec<(u16, IpAddr, [u8; 6])>,
    /// IP packets given to control, with the interface they came by, up to their total length.
    pub punted: Vec<(u16, Vec<u8>)>,
    /// What was counted how often.
    pub counts: BTreeMap<Reason, u64>,
    /// By VIP (index into the configuration): its four counters.
    pub vips: BTreeMap<usize, VipCounts>,
    /// By VIP and AS: what it was sent, and what it answered.
    pub servers: BTreeMap<(VipKey, IpAddr), ServerCounts>,
    /// IP packets given to the host's kernel.
    pub tapped: Vec<Vec<u8>>,
    /// Packets that came to be here: the second and further pieces of outer packets.
    pub made: u64,
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

/// The counters of an AS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerCounts {
    /// Packets of clients.
    pub packets: u64,
    /// Their bytes as they came, from the IP header on.
    pub bytes: u64,
    /// Packets of the AS, where they pass us.
    pub reply_packets: u64,
    /// Their bytes as they came.
    pub reply_bytes: u64,
}

impl VipCounts {
    /// Takes in what another worker counted.
    pub fn add(&mut self, other: Self) {
        self.existing += other.existing;
        self.first += other.first;
        self.untracked += other.untracked;
        self.no_server += other.no_server;
    }

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
            self.vips.entry(vip).or_default().add(counts);
        }
        for (server, counts) in next.servers {
            let sum = self.servers.entry(server).or_default();
            sum.packets += counts.packets;
            sum.bytes += counts.bytes;
            sum.reply_packets += counts.reply_packets;
            sum.reply_bytes += counts.reply_bytes;
        }
        self.tapped.extend(next.tapped);
        self.made += next.made;
        self.drops += next.drops;
        self.consumed += next.consumed;
        self.held = next.held;
    }

    /// What differs between what the graph did and what the reference says, part by part.
    pub fn difference(&self, reference: &Self) -> String {
        let mut text = String::new();
        let mut part = |name, graph: String, reference: String| {
            if graph != reference {
                text += &format!("{name} of the graph     {graph}\n");
                text += &format!("{name} of the reference {reference}\n");
            }
        };
        let hex = |of: &Self| format!("{:02x?}", (&of.sent, &of.punted, &of.tapped));
        part("frames", hex(self), hex(reference));
        let plain = |of: &Self| format!("{:?}", (&of.counts, of.drops, of.consumed, of.held));
        part("counts", plain(self), plain(reference));
        let events = |of: &Self| format!("{:?} {:02x?}", of.needed, of.seen);
        part("events", events(self), events(reference));
        let flows = |of: &Self| format!("{:?}", (&of.vips, &of.servers));
        part("decisions", flows(self), flows(reference));
        text
    }

    /// Counts one dropped packet.
    pub fn drop(&mut self, reason: Reason) {
        self.count(reason);
        self.drops += 1;
    }
}
