//! Starts a real EAL over `net_null`: what a port is given and what it turns out to be, owners
//! dropped in any order, and a log that goes where it is sent. One test, as EAL starts once per
//! process.

use std::sync::Mutex;

use dataplane::dpdk::eal::Eal;
use dataplane::dpdk::eal_args::{EalArgs, Memory};
use dataplane::dpdk::io::DpdkIo;
use dataplane::dpdk::mempool::{self, Mempool};
use dataplane::dpdk::port::{Port, PortConfig};
use dataplane::dpdk::{lcore, log, port_stats, runtime_files};
use dataplane::frame::Frame;
use dataplane::interface::{InterfaceId, QueueId};
use dataplane::io::PacketIo;
use dataplane::packet::Packet;

const MBUFS: u32 = 4095;

static LOGGED: Mutex<Vec<String>> = Mutex::new(Vec::new());

fn keep(line: &str) {
    LOGGED.lock().unwrap().push(line.to_owned());
}

/// What the kernel does about transparent huge pages.
const THP: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// Whether the memory around the first packet is, by `/proc/self/smaps` (proc(5)).
fn is_in_huge_pages(packets: &[Packet]) -> bool {
    let address = packets[0].data().as_ptr() as usize;
    let mut here = false;
    for line in std::fs::read_to_string("/proc/self/smaps").unwrap().lines() {
        if let Some((start, end)) = line.split(' ').next().unwrap().split_once('-') {
            let [start, end] = [start, end].map(|at| usize::from_str_radix(at, 16).unwrap());
            here = (start..end).contains(&address);
        } else if let Some(huge) = line.strip_prefix("AnonHugePages:").filter(|_| here) {
            return huge.trim() != "0 kB";
        }
    }
    panic!("no mapping with {address:#x}");
}

#[test]
fn two_workers_share_a_port_and_owners_may_go_in_any_order() {
    let prefix = format!("sluice-{}-null", std::process::id());
    let dir = runtime_files::runtime_dir(&prefix);
    // As if an earlier process had been killed.
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("config"), "stale").unwrap();
    std::fs::write(dir.join("fbarray_stale"), "stale").unwrap();

    log::set_sink(keep);
    let args = EalArgs {
        main_cpus: vec![0],
        worker_cpus: vec![0, 0],
        file_prefix: prefix,
        memory: Memory::NoHuge { mib: mempool::needed_mib(MBUFS) },
        // The second device does not exist: EAL starts all the same and logs the reason.
        vdevs: vec!["net_null0,size=128".into(), "net_af_packet0,iface=sluice-no-such".into()],
        pci: vec![],
        extra: vec!["--no-telemetry".into()],
    };
    let eal = Eal::start(&args).unwrap();
    assert!(!dir.join("fbarray_stale").exists());
    let logged = LOGGED.lock().unwrap().clone();
    assert!(logged.iter().any(|line| line.contains("net_af_packet0")), "{logged:?}");

    // Without hugepages all memory is on one node, whichever is asked for.
    let pool = Mempool::create("test", MBUFS, 1).unwrap();
    let bytes = u64::from(pool.element_bytes()) + 64;
    assert!(bytes <= mempool::BYTES_PER_MBUF, "an mbuf takes {bytes} bytes and more");
    let mut packet = vec![pool.alloc().unwrap()];
    assert_eq!(
        is_in_huge_pages(&packet),
        !std::fs::read_to_string(THP).unwrap().contains("[never]")
    );
    mempool::free_bulk(&mut packet);
    let config = PortConfig {
        name: "null".into(),
        device: "net_null0".into(),
        rx_queues: 2,
        tx_queues: 2,
        rx_descriptors: 512,
        tx_descriptors: 512,
    };
    let greedy = PortConfig { rx_queues: 5000, ..config.clone() };
    let error = Port::start(&eal, &greedy, &pool).unwrap_err();
    assert!(error.to_string().contains("at most"), "{error}");
    let mut port = Port::start(&eal, &config, &pool).unwrap();
    assert_eq!(port.info().driver, "net_null");
    assert_eq!(port.info().queues, (2, 2));
    assert!(port.info().max_queues.0 >= 2 && port.info().mtu >= 1500);
    assert!(port.link().up);

    // net_null receives empty packets without end; each worker has a pair of queues.
    let id = port.id();
    let queues = port.take_rx_queues().into_iter().zip(port.take_tx_queues());
    for (worker, (rx, tx)) in queues.enumerate() {
        let mut io = DpdkIo::new(pool.clone(), vec![rx], vec![tx]);
        let queue = QueueId(worker as u16);
        let other = QueueId(1 - worker as u16);
        let turns = move || {
            let mut frame = Frame::boxed();
            assert_eq!(io.rx_burst(id, other, InterfaceId(1), &mut frame), 0);
            for _ in 0..100 {
                assert!(io.rx_burst(id, queue, InterfaceId(1), &mut frame) > 0);
                assert!(frame.data(0).len() == 128);
                assert!(frame.is_whole());
                assert_eq!(io.tx_burst(id, queue, frame.packets_mut()), frame.len());
                frame.clear();
            }
        };
        lcore::launch(&eal, eal.worker_lcores()[worker], turns).unwrap();
    }
    // A job is running or has just ended: the port may go, its queues keep the device open.
    drop(port);
    for &lcore in eal.worker_lcores() {
        lcore::wait(&eal, lcore);
    }
    // The last queue has closed the device and returned what it held.
    assert_eq!(port_stats::read(id).rx_packets, 0);
    assert_eq!(pool.in_use(), 0);

    // Memory that is still in use is not pulled away.
    drop(eal);
    assert_eq!(pool.available(), MBUFS);
    let logged = LOGGED.lock().unwrap().clone();
    assert!(logged.iter().any(|line| line.contains("the EAL is left as it is")), "{logged:?}");
    runtime_files::clean(&dir, &args.file_prefix, &[]).unwrap();
}
