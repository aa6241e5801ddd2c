use std::sync::Arc;

use dataplane::graph::GraphInfo;
use dataplane::interface::{Interface, PortId, QueueId};
use dataplane::transmit::Transmit;
use dataplane::worker::WorkerShared;
use testkit::memory_io::MemoryIo;
use testkit::world::World;

struct Bench {
    transmit: Transmit,
    io: MemoryIo,
    shared: Arc<WorkerShared>,
    links: Vec<Interface>,
}

impl Bench {
    fn new() -> Self {
        let mut world = World::new();
        world.add_interface(&[]);
        world.add_interface(&[]);
        Self {
            transmit: Transmit::new(QueueId(0)),
            io: MemoryIo::new(1024),
            shared: WorkerShared::new(0, &GraphInfo::default()),
            links: world.interfaces()[1..].to_vec(),
        }
    }

    fn push(&mut self, link: usize, bytes: &[u8]) {
        let packet = self.io.pool.packet(bytes);
        let Self { transmit, io, shared, links } = self;
        transmit.push(&links[link], PortId(link as u16), packet, io, shared);
    }

    /// Pushes packets of 60 bytes, named one after the other from `first` on, all at once.
    fn push_all(&mut self, link: usize, first: u8, count: u8) {
        let pool = &mut self.io.pool;
        let mut packets: Vec<_> =
            (first..first + count).map(|name| Some(pool.packet(&[name; 60]))).collect();
        let Self { transmit, io, shared, links } = self;
        transmit.push_all(&links[link], PortId(link as u16), &mut packets, io, shared);
        assert!(packets.iter().all(Option::is_none));
    }

    /// First bytes of what was sent on a link.
    fn sent(&mut self, link: u16) -> Vec<u8> {
        self.io.sent(PortId(link)).iter().map(|bytes| bytes[0]).collect()
    }

    fn flush(&mut self) {
        self.transmit.flush(&mut self.io, &self.shared);
    }

    /// Packets, bytes and errors of a link.
    fn counts(&self, link: usize) -> [u64; 3] {
        let stats = &self.shared.interfaces[self.links[link].id.index()];
        [stats.tx_packets.get(), stats.tx_bytes.get(), stats.tx_errors.get()]
    }
}

#[test]
fn packets_wait_for_the_flush_and_leave_in_order() {
    let mut bench = Bench::new();
    for name in [1, 2, 3] {
        bench.push(usize::from(name == 2), &[name; 60]);
    }
    assert_eq!(bench.counts(0), [0; 3]);
    bench.flush();
    assert_eq!(bench.io.sent(PortId(0)), [[1; 60], [3; 60]]);
    assert_eq!(bench.io.sent(PortId(1)), [[2; 60]]);
    assert_eq!((bench.counts(0), bench.counts(1)), ([2, 120, 0], [1, 60, 0]));
    bench.flush();
    assert_eq!(bench.counts(0), [2, 120, 0]);
}

#[test]
fn a_full_buffer_does_not_wait() {
    let mut bench = Bench::new();
    for _ in 0..63 {
        bench.push(0, &[0; 60]);
    }
    assert_eq!(bench.io.sent(PortId(0)).len(), 0);
    bench.push(0, &[0; 60]);
    assert_eq!(bench.io.sent(PortId(0)).len(), 64);
    // The buffer starts anew, and the flush still knows of it.
    bench.push(0, &[7; 60]);
    bench.flush();
    assert_eq!(bench.io.sent(PortId(0)), [[7; 60]]);
    assert_eq!(bench.counts(0), [65, 65 * 60, 0]);
}

#[test]
fn what_the_port_refuses_is_freed_and_counted() {
    let mut bench = Bench::new();
    bench.io.tx_room = 2;
    for len in [60, 61, 100, 200] {
        bench.push(0, &vec![0; len]);
    }
    bench.flush();
    assert_eq!(bench.counts(0), [2, 121, 2]);
    assert_eq!(bench.io.pool.outstanding(), 0);
    // Nothing of it is left for the next flush.
    assert_eq!(bench.io.sent(PortId(0)).len(), 2);
    bench.flush();
    assert_eq!(bench.counts(0), [2, 121, 2]);
}

#[test]
fn many_leave_at_once_behind_those_that_wait() {
    let mut bench = Bench::new();
    bench.push(0, &[1; 60]);
    bench.push(1, &[9; 60]);
    bench.push_all(0, 2, 40);
    assert_eq!(bench.sent(0), (1..42).collect::<Vec<u8>>());
    assert_eq!((bench.counts(0), bench.counts(1)), ([41, 41 * 60, 0], [0; 3]));
    bench.push(0, &[50; 60]);
    bench.flush();
    assert_eq!((bench.sent(0), bench.sent(1)), (vec![50], vec![9]));
    assert_eq!(bench.counts(0), [42, 42 * 60, 0]);
}

#[test]
fn few_wait_for_more() {
    let mut bench = Bench::new();
    bench.push_all(0, 1, 31);
    assert_eq!(bench.counts(0), [0; 3]);
    bench.push_all(0, 32, 2);
    bench.flush();
    assert_eq!(bench.sent(0), (1..34).collect::<Vec<u8>>());
}

#[test]
fn many_that_the_port_refuses_are_freed_and_counted() {
    let mut bench = Bench::new();
    bench.io.tx_room = 30;
    bench.push_all(0, 0, 200);
    assert_eq!(bench.counts(0), [30, 30 * 60, 170]);
    assert_eq!(bench.io.pool.outstanding(), 0);
}
