//! Thousands of changes, a thousand in each second of virtual time, while packets flow through two
//! workers: who is on an AS that nobody touched stays there, and every packet is accounted for.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use control::compile::TableThread;
use dataplane::interface::{PortId, QueueId};
use testkit::packet_builder::PacketBuilder;
use testkit::reference::frame::tcp_flag::{ACK, SYN};

use crate::bench::{Bench, CLIENT, CLIENT_MAC, LEFT_MAC, RIGHT_MAC, SERVER_MAC};
use crate::tables::Held;

/// Source port of the flow numbered 0.
const FIRST_PORT: u16 = 2000;
/// Flows on all VIPs together.
const FLOWS: usize = 1200;
/// ASs of each VIP that stay as they are: 192.168.1.1 to this.
const UNTOUCHED: u8 = 4;
/// ASs that come and go: 192.168.1.101 and on.
const TOUCHED: u8 = 10;

/// A VIP whose flows are watched.
struct Service {
    key: &'static str,
    address: Ipv4Addr,
    words: &'static str,
    /// Bytes of the outer headers that its ASs' packets get.
    outer: usize,
    /// What its length may become.
    lengths: &'static [u32],
}

const SERVICES: [Service; 4] = [
    Service {
        key: "10.10.2.1/32 protocol tcp port 80",
        address: Ipv4Addr::new(10, 10, 2, 1),
        words: "encap nat4 target_port 8080 new_len 1021",
        outer: 0,
        // Short tables are built on the spot.
        lengths: &[251, 1021],
    },
    Service {
        key: "10.10.2.2/32 protocol tcp port 80",
        address: Ipv4Addr::new(10, 10, 2, 2),
        words: "encap nat4 target_port 8081 new_len 4099",
        outer: 0,
        lengths: &[2053, 4099],
    },
    Service {
        key: "10.10.2.3/32 protocol tcp port 80",
        address: Ipv4Addr::new(10, 10, 2, 3),
        words: "encap gre4 new_len 2048",
        outer: 24,
        lengths: &[1024, 2048],
    },
    Service {
        key: "10.10.2.4/32",
        address: Ipv4Addr::new(10, 10, 2, 4),
        words: "encap l3dsr dscp 7 new_len 1031",
        outer: 0,
        lengths: &[1031, 2053],
    },
];

/// A VIP that is flushed as a whole, goes and comes back; its flows may move.
const OTHER: &str = "10.10.2.5/32 protocol tcp port 80";
/// Long enough for a table to be built elsewhere.
const OTHER_WORDS: &str = "encap nat4 target_port 8085 new_len 1031";

/// Numbers that look random and are the same in each run (xorshift, Marsaglia 2003).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }
    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// Where a flow is, and since which change.
#[derive(Clone, Copy)]
struct Place {
    server: [u8; 4],
    since: usize,
}

struct Churn {
    bench: Bench,
    dice: Dice,
    /// By flow; its VIP is its number modulo those of VIPs.
    places: Vec<Option<Place>>,
    opened: usize,
    /// By VIP and AS: the last change that may have moved its flows.
    flushed: HashMap<(usize, [u8; 4]), usize>,
    /// Flushes that may not be in force yet: unpublished, or waiting for a table.
    pending: Vec<(usize, [u8; 4])>,
    changes: usize,
    /// Whether the last change is.
    published: bool,
    refused: usize,
    packets: usize,
    moved: usize,
}

impl Churn {
    fn new(mut bench: Bench, seed: u64) -> Self {
        bench.all(&[
            "lb conf ip4-src-address 192.168.1.254",
            "lb set interface nat4 in GigabitEthernet0/9/0",
            "set ip neighbor left0 10.10.10.1 02:00:00:00:00:10 static",
        ]);
        for last in (1..=UNTOUCHED).chain(101..=100 + TOUCHED) {
            bench.ok(&format!(
                "set ip neighbor GigabitEthernet0/9/0 192.168.1.{last} 02:00:00:00:01:{last:02x} \
                 static"
            ));
        }
        let untouched: String = (1..=UNTOUCHED).map(|last| format!(" 192.168.1.{last}")).collect();
        for Service { key, words, .. } in SERVICES {
            bench.ok(&format!("lb vip {key} {words}"));
            bench.ok(&format!("lb as {key}{untouched}"));
        }
        bench.ok(&format!("lb vip {OTHER} {OTHER_WORDS}"));
        Self {
            bench,
            dice: Dice(seed),
            places: vec![None; FLOWS],
            opened: 0,
            flushed: HashMap::new(),
            pending: Vec::new(),
            changes: 0,
            published: true,
            refused: 0,
            packets: 0,
            moved: 0,
        }
    }

    /// The next change, as a command line.
    fn change(&mut self) -> String {
        let vip = self.dice.below(SERVICES.len());
        let Service { key, lengths, .. } = &SERVICES[vip];
        let last = 101 + self.dice.below(usize::from(TOUCHED)) as u8;
        let server = format!("lb as {key} 192.168.1.{last}");
        match self.dice.below(24) {
            0..6 => server,
            6..9 => format!("{server} weight {}", self.dice.below(101)),
            9..12 => format!("{server} del"),
            12..14 => {
                self.pending.push((vip, [192, 168, 1, last]));
                format!("{server} del flush")
            }
            14 => format!("lb vip {key} new_len {} update", self.dice.of(lengths)),
            15 => match self.dice.below(8) {
                0 => format!("lb conf buckets {}", self.dice.of(&[1024, 2048, 4096])),
                1..4 => format!("lb conf timeout {}", self.dice.of(&[40, 41])),
                _ => {
                    format!("ip route {} 99.0.0.0/8 via 192.168.1.1", self.dice.of(&["add", "del"]))
                }
            },
            16 => format!("lb flush vip {OTHER}"),
            17 => format!("lb vip {OTHER} del"),
            18 => format!("lb vip {OTHER} {OTHER_WORDS}"),
            19 => format!("lb as {OTHER} 192.168.1.{last}"),
            20..22 => format!("{server} drain"),
            22 => format!("{server} drain then del"),
            _ => format!("{server} undrain"),
        }
    }

    /// Carries out one change, and publishes it at once or with one of the next.
    fn carry_out(&mut self) {
        let line = self.change();
        let command = config::parse(&line).unwrap_or_else(|error| panic!("{line}: {error:?}"));
        // Some cannot be: an AS that is there already, one that is not.
        self.refused += usize::from(self.bench.control.execute(&command).is_err());
        self.changes += 1;
        self.published = self.dice.below(4) > 0;
        if self.published {
            self.bench.control.publish();
        }
        if self.changes.is_multiple_of(1000) {
            self.bench.pass(1000);
        }
    }

    fn worker_of(flow: usize) -> usize {
        flow / SERVICES.len() % 2
    }

    /// Lets packets of random flows arrive, and sees where each goes.
    fn forward(&mut self, count: usize) {
        let mut expected = vec![0; FLOWS];
        for _ in 0..count {
            let flow = match self.opened {
                opened if opened < FLOWS && self.dice.below(4) == 0 => opened,
                0 => 0,
                opened => self.dice.below(opened),
            };
            let flags = if flow == self.opened { SYN } else { ACK };
            self.opened = self.opened.max(flow + 1);
            let vip = (SERVICES[flow % SERVICES.len()].address, 80);
            let frame = PacketBuilder::tcp((CLIENT, FIRST_PORT + flow as u16), vip, flags)
                .macs(LEFT_MAC, CLIENT_MAC)
                .build();
            self.arrive(0, Self::worker_of(flow), &frame);
            expected[flow] += 1;
        }
        // What may be dropped is none of these.
        let unwatched = PacketBuilder::tcp((CLIENT, 999), (Ipv4Addr::new(10, 10, 2, 5), 80), ACK);
        self.arrive(0, 0, &unwatched.macs(LEFT_MAC, CLIENT_MAC).build());
        for flush in &self.pending {
            self.flushed.insert(*flush, self.changes);
        }
        let settled = self.published && self.bench.control.tables_waiting() == 0;
        self.turn();
        if settled {
            self.pending.clear();
        }
        for frame in self.bench.sent(1) {
            if let Some((flow, server)) = arrival(&frame) {
                expected[flow] -= 1;
                self.packets += 1;
                self.see(flow, server);
            }
        }
        let lost: Vec<_> = expected.iter().enumerate().filter(|(_, left)| **left != 0).collect();
        assert!(lost.is_empty(), "after {} changes: {lost:?}", self.changes);
    }

    fn arrive(&mut self, port: u16, worker: usize, frame: &[u8]) {
        let io = &mut self.bench.workers[worker].io;
        let packet = io.pool.packet(frame);
        io.arrive(PortId(port), QueueId(worker as u16), packet);
    }

    /// Workers take a turn; control looks for news only now and then, as it has its own pace.
    fn turn(&mut self) {
        match self.dice.below(3) {
            0 => self.bench.turn(),
            _ => {
                for worker in &mut self.bench.workers {
                    worker.turn();
                }
            }
        }
    }

    /// A packet of a flow has gone to an AS: the one it was at, unless that one was flushed since.
    fn see(&mut self, flow: usize, server: [u8; 4]) {
        let vip = flow % SERVICES.len();
        let before = self.places[flow];
        if let Some(place) = before.filter(|place| place.server != server) {
            let flushed = self.flushed.get(&(vip, place.server));
            assert!(
                flushed.is_some_and(|at| *at >= place.since),
                "after {} changes, flow {flow} of {} moved from {:?} to {server:?}",
                self.changes,
                SERVICES[vip].key,
                place.server
            );
            self.moved += 1;
        }
        if before.is_none_or(|place| place.server != server) {
            self.places[flow] = Some(Place { server, since: self.changes });
        }
    }

    /// Replies of the untouched ASs of NAT VIPs come back from the VIP's address.
    fn reply(&mut self) {
        for (flow, place) in self.places.clone().into_iter().enumerate() {
            // Only NAT has replies, and a flow that was flushed away may not have come again.
            let stays = |place: &Place| place.server[3] <= UNTOUCHED && flow % SERVICES.len() < 2;
            let Some(place) = place.filter(stays) else { continue };
            let from = (Ipv4Addr::from(place.server), 8080 + (flow % SERVICES.len()) as u16);
            let frame = PacketBuilder::tcp(from, (CLIENT, FIRST_PORT + flow as u16), ACK)
                .macs(RIGHT_MAC, SERVER_MAC)
                .build();
            self.bench.sent(0);
            self.arrive(1, Self::worker_of(flow), &frame);
            self.bench.turn();
            let frames = self.bench.sent(0);
            let source = frames.iter().find(|frame| frame[12..14] == [8, 0]).map(|f| &f[26..30]);
            let vip = SERVICES[flow % SERVICES.len()].address.octets();
            assert_eq!(source, Some(&vip[..]), "the reply of flow {flow}");
        }
    }

    fn untouched(&self) -> usize {
        let places = self.places.iter().flatten();
        places.filter(|place| place.server[3] <= UNTOUCHED).count()
    }
}

/// The flow of a packet that was sent to an AS, and the AS.
fn arrival(frame: &[u8]) -> Option<(usize, [u8; 4])> {
    (frame[12..14] == [8, 0]).then_some(())?;
    let outer = if frame[23] == 47 { SERVICES[2].outer } else { 0 };
    let source = u16::from_be_bytes([frame[outer + 34], frame[outer + 35]]);
    let flow = usize::from(source.checked_sub(FIRST_PORT)?);
    Some((flow, frame[30..34].try_into().ok()?))
}

/// Runs the changes; `build` builds tables now and then.
fn run(bench: Bench, seed: u64, changes: usize, mut build: impl FnMut(&mut Dice)) {
    let mut churn = Churn::new(bench, seed);
    // Tables of the start.
    while churn.bench.control.tables_waiting() > 0 {
        build(&mut churn.dice);
        churn.bench.turn();
    }
    for _ in 0..changes {
        churn.carry_out();
        build(&mut churn.dice);
        churn.forward(12);
    }
    while churn.bench.control.tables_waiting() > 0 {
        build(&mut churn.dice);
        churn.bench.turn();
    }
    for _ in 0..20 {
        churn.forward(100);
    }
    churn.reply();
    let Churn { packets, moved, refused, opened, .. } = churn;
    assert_eq!(opened, FLOWS);
    assert_eq!(packets, 12 * changes + 2000, "each packet of a watched flow was seen");
    assert!(churn.untouched() > FLOWS / 4, "{} flows on untouched ASs", churn.untouched());
    assert!(moved > 50, "only {moved} flows were flushed away");
    assert!(refused < changes / 2, "{refused} of {changes} changes were refused");
    churn.bench.end();
}

#[test]
fn flows_of_untouched_ass_never_move_under_a_thousand_changes_a_second() {
    let held = Held::default();
    let mut bench = Bench::routed_with(2);
    bench.control.build_tables_with(Box::new(held.clone()));
    run(bench, 0x5eed_0001, 3000, |dice| {
        // A table takes the time of a few changes.
        if dice.below(4) == 0 {
            held.build();
        }
    });
    // Most changes are of three VIPs with large tables: those that queue up take one build.
    assert!((300..1500).contains(&held.ordered()), "{} tables were built", held.ordered());
}

#[test]
fn the_same_with_tables_built_on_a_thread() {
    let mut bench = Bench::routed_with(2);
    bench.control.build_tables_with(Box::new(TableThread::start(|| ()).unwrap()));
    run(bench, 0x5eed_0002, 1500, |_| ());
}
