//! Starts a real EAL without hugepages: packets go out of a ring port and come back on a worker
//! lcore, every mbuf returns, and a stop leaves no file. One test, as EAL starts once per process.

use std::sync::mpsc;

use dataplane::dpdk::eal::Eal;
use dataplane::dpdk::eal_args::{EalArgs, Memory};
use dataplane::dpdk::io::DpdkIo;
use dataplane::dpdk::mempool::Mempool;
use dataplane::dpdk::port::{Port, PortConfig};
use dataplane::dpdk::{lcore, port_stats, runtime_files};
use dataplane::frame::Frame;
use dataplane::interface::{InterfaceId, QueueId};
use dataplane::io::PacketIo;
use dataplane::packet::Packet;

const PACKETS: usize = 64;

#[test]
fn packets_return_and_nothing_is_left_behind() {
    let prefix = format!("sluice-{}-ring", std::process::id());
    let args = EalArgs {
        main_cpus: vec![0],
        worker_cpus: vec![0],
        file_prefix: prefix.clone(),
        memory: Memory::NoHuge { mib: 64 },
        vdevs: vec!["net_ring0".into()],
        pci: vec![],
        extra: vec!["--no-telemetry".into()],
    };
    let eal = Eal::start(&args).unwrap();
    assert!(Eal::start(&args).is_err(), "EAL must not start twice");
    let dir = runtime_files::runtime_dir(&prefix);
    assert!(dir.exists());

    let pool = Mempool::create("test", 1023, 0).unwrap();
    let config = PortConfig {
        name: "ring".into(),
        device: "net_ring0".into(),
        rx_queues: 1,
        tx_queues: 1,
        rx_descriptors: 512,
        tx_descriptors: 512,
    };
    let port = Port::start(&eal, &config, &pool).unwrap();
    assert_eq!(port.info().driver, "net_ring");
    let missing = PortConfig { device: "net_ring7".into(), ..config };
    let error = Port::start(&eal, &missing, &pool).unwrap_err();
    assert!(error.to_string().contains("no device net_ring7"), "{error}");

    let (sender, receiver) = mpsc::channel();
    let id = port.id();
    let worker_pool = pool.clone();
    lcore::launch(&eal, eal.worker_lcores()[0], move || {
        let mut io = DpdkIo::new(worker_pool);
        let mut out: Vec<Packet> = (0..PACKETS)
            .map(|n| {
                let mut packet = io.alloc().unwrap();
                assert!(packet.assign(&[n as u8; 60]) && packet.segments() == 1);
                packet
            })
            .collect();
        assert_eq!(io.tx_burst(id, QueueId(0), &mut out), PACKETS);
        assert!(out.is_empty());
        let mut frame = Frame::boxed();
        let got = io.rx_burst(id, QueueId(0), InterfaceId(1), &mut frame);
        let bytes: Vec<Vec<u8>> = (0..frame.len()).map(|at| frame.data(at).to_vec()).collect();
        let mut garbage: Vec<Packet> = (0..frame.len()).filter_map(|at| frame.take(at)).collect();
        frame.clear();
        io.free(&mut garbage);
        sender.send((got, bytes)).unwrap();
    })
    .unwrap();
    lcore::wait(&eal, eal.worker_lcores()[0]);
    let (got, bytes) = receiver.recv().unwrap();
    assert_eq!(got, PACKETS);
    assert!(bytes.iter().enumerate().all(|(n, packet)| *packet == [n as u8; 60]));
    assert_eq!(port_stats::read(id).tx_packets, PACKETS as u64);
    assert_eq!(pool.in_use(), 0);

    drop((port, pool, eal));
    assert!(!dir.exists(), "{} is left behind", dir.display());
}
