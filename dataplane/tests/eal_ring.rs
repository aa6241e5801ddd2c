//! Starts a real EAL without hugepages: packets go between two workers through two ring ports,
//! every mbuf returns, and a stop leaves no file. One test, as EAL starts once per process.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use dataplane::dpdk::eal::Eal;
use dataplane::dpdk::eal_args::{EalArgs, Memory};
use dataplane::dpdk::io::DpdkIo;
use dataplane::dpdk::mempool::Mempool;
use dataplane::dpdk::port::{Port, PortConfig};
use dataplane::dpdk::{hugepages, lcore, port_stats, runtime_files};
use dataplane::frame::Frame;
use dataplane::interface::{InterfaceId, PortId, QueueId};
use dataplane::io::PacketIo;
use dataplane::packet::Packet;

const PACKETS: usize = 64;
const QUEUE: QueueId = QueueId(0);
/// Generous, so that only a hang meets it.
const PATIENCE: Duration = Duration::from_secs(60);

fn config(device: &str) -> PortConfig {
    PortConfig {
        name: format!("port-{device}"),
        device: device.into(),
        rx_queues: 1,
        tx_queues: 1,
        rx_descriptors: 512,
        tx_descriptors: 512,
    }
}

/// Polls until all packets have come, and returns them.
fn receive_all(io: &mut DpdkIo, port: PortId) -> Vec<Option<Packet>> {
    let mut frame = Frame::boxed();
    let started = Instant::now();
    let mut packets = Vec::new();
    while packets.len() < PACKETS && started.elapsed() < PATIENCE {
        io.rx_burst(port, QUEUE, InterfaceId(1), &mut frame);
        packets.extend(frame.packets_mut().iter_mut().map(Option::take));
        frame.clear();
        std::thread::yield_now();
    }
    packets
}

#[test]
fn packets_return_and_nothing_is_left_behind() {
    let prefix = format!("sluice-{}-ring", std::process::id());
    let args = EalArgs {
        main_cpus: vec![0],
        worker_cpus: vec![0, 0],
        file_prefix: prefix.clone(),
        memory: Memory::NoHuge { mib: 64 },
        vdevs: vec!["net_ring0".into(), "net_ring1".into()],
        pci: vec![],
        extra: vec!["--no-telemetry".into()],
    };
    let eal = Eal::start(&args).unwrap();
    assert!(Eal::start(&args).is_err(), "EAL must not start twice");
    let dir = runtime_files::runtime_dir(&prefix);
    assert!(dir.exists());
    assert!(!eal.has_hugepages());
    assert!(eal.tsc_hz() > 100_000_000, "{} TSC clocks per second", eal.tsc_hz());
    for lcore in eal.worker_lcores() {
        assert_eq!(eal.lcore_node(*lcore), hugepages::node_of_cpu(0));
    }

    let pool = Mempool::create("test", 1023, 0).unwrap();
    assert_eq!((pool.available(), pool.in_use(), pool.size()), (1023, 0, 1023));
    // In bulk: all or none. Later on workers keep some in their caches.
    let mut packets = Vec::new();
    assert!(!pool.alloc_bulk(&mut packets, 1024) && packets.is_empty());
    assert!(pool.alloc_bulk(&mut packets, 1023));
    assert_eq!((pool.available(), pool.in_use()), (0, 1023));
    assert!(pool.alloc().is_none());
    assert!(packets.iter().all(|packet| packet.len() == 0));
    dataplane::dpdk::mempool::free_bulk(&mut packets);
    assert_eq!((pool.available(), pool.in_use()), (1023, 0));

    let mut there = Port::start(&eal, &config("net_ring0"), &pool).unwrap();
    let mut back = Port::start(&eal, &config("net_ring1"), &pool).unwrap();
    assert_eq!(there.info().driver, "net_ring");
    let error = Port::start(&eal, &config("net_ring7"), &pool).unwrap_err();
    assert!(error.to_string().contains("no device net_ring7"), "{error}");
    let error = Port::start(&eal, &config("net_ring0"), &pool).unwrap_err();
    assert!(error.to_string().contains("already in use"), "{error}");

    // A net_ring port receives what it sends: the first worker sends on one and receives on the
    // other, the second worker the other way round.
    let (there_id, back_id) = (there.id(), back.id());
    let mut near = DpdkIo::new(pool.clone(), back.take_rx_queues(), there.take_tx_queues());
    let mut far = DpdkIo::new(pool.clone(), there.take_rx_queues(), back.take_tx_queues());
    assert!(there.take_rx_queues().is_empty(), "a queue has one owner");

    let lcores = eal.worker_lcores().to_vec();
    let error = lcore::launch(&eal, 99, || {}).unwrap_err();
    assert_eq!(error.to_string(), "starting a worker on lcore 99: there is no such lcore");
    lcore::launch(&eal, lcores[1], move || {
        let mut packets = receive_all(&mut far, there_id);
        for packet in packets.iter_mut().flatten() {
            packet.data_mut()[1] = 0xaa;
        }
        assert_eq!(far.tx_burst(back_id, QUEUE, &mut packets), PACKETS);
    })
    .unwrap();
    let (sender, receiver) = mpsc::channel();
    lcore::launch(&eal, lcores[0], move || {
        let mut out = Vec::new();
        for n in 0..PACKETS {
            let mut packet = near.alloc().unwrap();
            assert!(packet.assign(&[n as u8; 60]) && packet.segments() == 1);
            out.push(Some(packet));
        }
        // Queues of the other worker are not ours to use.
        assert_eq!(near.tx_burst(back_id, QUEUE, &mut out), 0);
        assert_eq!(near.tx_burst(there_id, QUEUE, &mut out), PACKETS);
        assert!(out.iter().all(Option::is_none));
        let packets = receive_all(&mut near, back_id);
        let mut packets: Vec<Packet> = packets.into_iter().flatten().collect();
        let bytes: Vec<Vec<u8>> = packets.iter().map(|packet| packet.data().to_vec()).collect();
        near.free(&mut packets);
        sender.send(bytes).unwrap();
    })
    .unwrap();
    for &lcore in &lcores {
        lcore::wait(&eal, lcore);
    }
    let bytes = receiver.recv().unwrap();
    assert_eq!(bytes.len(), PACKETS);
    for (n, packet) in bytes.iter().enumerate() {
        let mut expected = [n as u8; 60];
        expected[1] = 0xaa;
        assert_eq!(*packet, expected, "packet {n}");
    }
    for port in [there_id, back_id] {
        let stats = port_stats::read(port);
        assert_eq!((stats.tx_packets, stats.rx_packets), (PACKETS as u64, PACKETS as u64));
        let extended = port_stats::read_extended(port);
        assert!(extended.contains(&("rx_good_packets".to_owned(), PACKETS as u64)));
    }

    // Every mbuf is back; some stay in the workers' caches.
    assert_eq!((pool.available(), pool.in_use()), (1023, 0));
    assert!((1..=1023).contains(&pool.cached()), "{} are cached", pool.cached());

    // In the wrong order too: the EAL goes last, by its own count.
    drop((there, back, pool, eal));
    assert!(!dir.exists(), "{} is left behind", dir.display());
    let error = Mempool::create("late", 1023, 0).unwrap_err();
    assert!(error.to_string().contains("not running"), "{error}");
}
