//! [`Ledger`]: what the counters say of where packets began and where they ended.
//!
//! Nothing is counted for it on the way of ordinary packets: the counters are there anyway.

use dataplane::graph::GraphInfo;
use dataplane::shared::WorkerShared;
use dataplane::snapshot::Snapshot;

/// A part of a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// What is counted.
    pub what: &'static str,
    /// Packets; less than 0 for what comes off the others.
    pub packets: i64,
}

/// One term of the balance: the sum of its parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Term(Vec<Part>);

impl Term {
    /// Its parts, those that are 0 included.
    pub fn parts(&self) -> &[Part] {
        &self.0
    }

    /// Packets.
    pub fn total(&self) -> i64 {
        self.0.iter().map(|part| part.packets).sum()
    }

    /// Adds packets to the part of this name.
    pub fn add(&mut self, what: &'static str, packets: i64) {
        match self.0.iter_mut().find(|part| part.what == what) {
            Some(part) => part.packets += packets,
            None => self.0.push(Part { what, packets }),
        }
    }
}

/// Where packets came from, and what became of them. Exact while nothing moves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// Came in by ports.
    pub received: Term,
    /// Were made here.
    pub originated: Term,
    /// Left by ports.
    pub sent: Term,
    /// Were dropped, each with a reason in `show errors`.
    pub dropped: Term,
    /// Were given to control or the kernel.
    pub punted: Term,
    /// Were for us, and are dealt with.
    pub consumed: Term,
    /// Wait.
    pub held: Term,
}

impl Balance {
    /// Packets that came in or were made, and of which nothing is known: 0, unless packets are on
    /// their way at this moment.
    pub fn missing(&self) -> i64 {
        let ends = [&self.sent, &self.dropped, &self.punted, &self.consumed, &self.held];
        let ends: i64 = ends.into_iter().map(Term::total).sum();
        self.received.total() + self.originated.total() - ends
    }

    /// Of what ports took, so many packets were not sent after all.
    pub fn not_sent(&mut self, packets: u64) {
        self.sent.add(TAKEN_NOT_SENT, -(packets as i64));
        self.dropped.add(TAKEN_NOT_SENT, packets as i64);
    }

    /// The same of the tap to the kernel.
    pub fn not_punted(&mut self, packets: u64) {
        self.punted.add(TAKEN_NOT_SENT, -(packets as i64));
        self.dropped.add(TAKEN_NOT_SENT, packets as i64);
    }
}

/// What a counter of a node says.
#[derive(Clone, Copy, Debug)]
enum Entry {
    /// Packets were made.
    Made(&'static str),
    /// Packets became others: in place, or in a buffer of their own.
    Became(&'static str, &'static str),
    /// Packets ended here.
    Dealt(&'static str),
    /// Packets were given to control.
    ToControl,
    /// Packets began to wait.
    Waits(&'static str),
    /// Packets ceased to wait.
    Goes(&'static str),
}

/// What a driver said it had sent, and had not.
const TAKEN_NOT_SENT: &str = "taken by ports but not sent";
/// Who waits for a neighbour's address.
const FOR_NEIGHBOR: &str = "packets for a neighbor";
/// Who waits for the first fragment.
const FOR_FIRST: &str = "fragments for their first";
/// What a packet about which an ICMP error is sent becomes.
const ICMP_ERROR: Entry = Entry::Became("packets answered by an ICMP error", "ICMP errors");
const ARP_HEARD: Entry = Entry::Dealt("ARP messages heard");
const DISCOVERY_HEARD: Entry = Entry::Dealt("neighbor discovery messages heard");

/// By text of a counter.
const ENTRIES: &[(&str, Entry)] = &[
    ("frames sent for control", Entry::Made("frames of control")),
    ("packets routed for control", Entry::Made("packets of control")),
    ("ARP replies sent", Entry::Became("ARP requests answered", "ARP replies")),
    ("ARP replies received", ARP_HEARD),
    ("ARP message for another station", ARP_HEARD),
    (
        "neighbor advertisements sent",
        Entry::Became("neighbor solicitations answered", "neighbor advertisements"),
    ),
    ("neighbor advertisements received", DISCOVERY_HEARD),
    ("neighbor solicitation for another station", DISCOVERY_HEARD),
    ("echo replies sent", Entry::Became("echo requests answered", "echo replies")),
    ("echo replies punted", Entry::ToControl),
    ("hop limit exceeded response sent", ICMP_ERROR),
    ("destination unreachable response sent", ICMP_ERROR),
    ("packet too big response sent", ICMP_ERROR),
    ("resets sent", Entry::Became("packets answered by a TCP reset", "TCP resets")),
    ("outer packets fragmented", Entry::Dealt("packets sent in fragments")),
    ("packets held for a neighbor", Entry::Waits(FOR_NEIGHBOR)),
    ("held packets released", Entry::Goes(FOR_NEIGHBOR)),
    ("neighbor not resolved in time", Entry::Goes(FOR_NEIGHBOR)),
    ("fragments held", Entry::Waits(FOR_FIRST)),
    ("held fragments released", Entry::Goes(FOR_FIRST)),
];

/// Knows which counters of a graph tell of beginnings and ends.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// Index of the counter, and what it says.
    entries: Vec<(usize, Entry)>,
}

impl Ledger {
    /// For workers that run a graph of this shape.
    pub fn new(graph: &GraphInfo) -> Self {
        let entry = |text: &str| ENTRIES.iter().find(|(known, _)| *known == text);
        let counters = graph.counters.iter().enumerate();
        let entries = counters.filter_map(|(at, info)| Some((at, entry(info.text)?.1)));
        Self { entries: entries.collect() }
    }

    /// Adds what a worker has counted since it was made.
    pub fn add(&self, balance: &mut Balance, shared: &WorkerShared, snapshot: &Snapshot) {
        for (at, entry) in &self.entries {
            balance.enter(*entry, shared.counters[*at].get() as i64);
        }
        balance.originated.add("outer fragments", shared.rare.fragments_made.get() as i64);
        balance.originated.add("put in by tools", shared.rare.injected.get() as i64);
        balance.held.add(FOR_FIRST, -(shared.rare.fragments_given_up.get() as i64));
        for stats in &shared.interfaces {
            balance.dropped.add("by nodes", stats.drops.get() as i64);
        }
        // What sub-interfaces and tunnels receive and send, ports do too.
        let ports = snapshot.interfaces.iter().filter(|link| link.parent.is_none());
        for link in ports.filter(|link| link.port.is_some()) {
            let Some(stats) = shared.interfaces.get(link.id.index()) else { continue };
            let (from, to) = match link.punt {
                true => ("from the kernel", (&mut balance.punted, "to the kernel")),
                false => ("from ports", (&mut balance.sent, "taken by ports")),
            };
            to.0.add(to.1, stats.tx_packets.get() as i64);
            balance.received.add(from, stats.rx_packets.get() as i64);
            balance.dropped.add("refused by ports", stats.tx_errors.get() as i64);
        }
    }
}

impl Balance {
    fn enter(&mut self, entry: Entry, packets: i64) {
        match entry {
            Entry::Made(what) => self.originated.add(what, packets),
            Entry::Became(from, to) => {
                self.consumed.add(from, packets);
                self.originated.add(to, packets);
            }
            Entry::Dealt(what) => self.consumed.add(what, packets),
            Entry::ToControl => self.punted.add("to control", packets),
            Entry::Waits(what) => self.held.add(what, packets),
            Entry::Goes(what) => self.held.add(what, -packets),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_a_counter_of_the_graph() {
        let graph = crate::builder().info().unwrap();
        for (text, _) in ENTRIES {
            assert!(graph.counters.iter().any(|counter| counter.text == *text), "{text}");
        }
    }

    #[test]
    fn what_is_missing_is_what_has_no_end() {
        let mut balance = Balance::default();
        balance.received.add("from ports", 7);
        balance.sent.add("taken by ports", 5);
        assert_eq!(balance.missing(), 2);
        balance.enter(Entry::Became("requests", "replies"), 1);
        assert_eq!(balance.missing(), 2);
        balance.enter(Entry::Waits("packets"), 3);
        balance.enter(Entry::Goes("packets"), 1);
        assert_eq!((balance.missing(), balance.held.total()), (0, 2));
        balance.not_sent(4);
        assert_eq!((balance.missing(), balance.sent.total(), balance.dropped.total()), (0, 1, 4));
    }
}
