//! Flows outlive the daemon: two daemons, one after the other, over one directory (FEATURES D16,
//! H-05). A daemon that is dropped was killed: it does nothing more.

mod circumstances;
mod restarts;
mod sizes;
mod workers;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use balancer::HashKey;
use control::state::Situation;
use testkit::packet_builder::PacketBuilder;
use testkit::reference::frame::tcp_flag::{ACK, SYN};

use crate::bench::{BUCKETS, Bench, CLIENT, CLIENT_MAC, LEFT_MAC, RIGHT_MAC, ROUTED, SERVER_MAC};

const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 1);
const SYN_ACK: u8 = SYN | ACK;
const FLOWS: u16 = 20;
/// Of [`open_flows`].
const TOTAL: u64 = FLOWS as u64 * KINDS.len() as u64;

/// TSC clocks of a second.
const HZ: u64 = 1_000;

/// A directory of this test's own, removed with it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = format!("/dev/shm/sluice-state-{}-{name}", std::process::id());
        let _ = std::fs::remove_dir_all(&path);
        Self(path.into())
    }

    /// The files of tables, without the directory.
    fn tables(&self) -> Vec<String> {
        let names = std::fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name());
        let names = names.map(|name| name.into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name != "directory").collect();
        names.sort();
        names
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A daemon with so many workers, so many seconds after some beginning.
fn situation(workers: usize, second: u64) -> Situation {
    let fingerprint = HashKey::default().fingerprint();
    let fingerprint = u64::from_str_radix(&fingerprint, 16).unwrap();
    let tsc = 1_000_000 + second * HZ;
    Situation { boot_id: 77, tsc_hz: HZ, tsc, fingerprint, workers, buckets: BUCKETS }
}

/// VIPs of every way: the address that clients use, and the commands.
const KINDS: [(&str, &str, &str); 5] = [
    ("10.10.2.2", "10.10.2.2/32 protocol tcp port 8080", "encap nat4 target_port 80"),
    ("10.10.3.7", "10.10.3.0/24 protocol tcp port 8080", "encap nat4"),
    ("10.10.2.3", "10.10.2.3/32", "encap gre4"),
    ("10.10.2.4", "10.10.2.4/32", "encap l3dsr dscp 7"),
    ("2001:db8:90::5", "2001:db8:90::/64", "encap gre4"),
];

/// A configured daemon; its VIPs have these ASs.
fn daemon(dir: &Path, now: &Situation, servers: &str) -> Bench {
    let mut bench = Bench::kept(dir, now).unwrap();
    bench.all(&ROUTED);
    bench.all(&[
        "set interface ip address left0 2001:db8:2::254/64",
        "lb conf ip4-src-address 10.10.10.254",
        "lb set interface nat4 in GigabitEthernet0/9/0",
        "set ip neighbor left0 10.10.10.1 02:00:00:00:00:10 static",
    ]);
    for n in 1..10 {
        bench.ok(&format!(
            "set ip neighbor GigabitEthernet0/9/0 192.168.1.{n} 02:00:00:00:01:0{n} static"
        ));
    }
    for (_, vip, how) in KINDS {
        bench.ok(&format!("lb vip {vip} {how}"));
        bench.ok(&format!("lb as {vip} {servers}"));
    }
    bench.control.settle_state();
    bench
}

fn client_of(vip: &str) -> IpAddr {
    if vip.contains(':') { CLIENT6.into() } else { CLIENT.into() }
}

/// A client's packet to a VIP.
fn packet(vip: &str, port: u16, flags: u8) -> Vec<u8> {
    let to: IpAddr = vip.parse().unwrap();
    PacketBuilder::tcp((client_of(vip), port), (to, 8080), flags).macs(LEFT_MAC, CLIENT_MAC).build()
}

/// A flow of each kind from each of some ports, established.
fn open_flows(bench: &mut Bench) {
    for (vip, ..) in KINDS {
        for port in 0..FLOWS {
            bench.arrive(0, &packet(vip, 4000 + port, SYN));
            bench.arrive(0, &packet(vip, 4000 + port, ACK));
        }
    }
}

fn open_more_packets(bench: &mut Bench) {
    for (vip, ..) in KINDS {
        (0..FLOWS).for_each(|port| bench.arrive(0, &packet(vip, 4000 + port, ACK)));
    }
}

/// The source that the client sees of a server's reply to the prefix VIP, if it sees one.
fn reply(bench: &mut Bench, server: &str, port: u16) -> Option<[u8; 4]> {
    bench.sent(0);
    let from: Ipv4Addr = server.parse().unwrap();
    let frame = PacketBuilder::tcp((from, 8080), (CLIENT, port), SYN_ACK)
        .macs(RIGHT_MAC, SERVER_MAC)
        .build();
    bench.arrive(1, &frame);
    let sent = bench.sent(0);
    sent.iter().find(|f| f[12..14] == [8, 0]).map(|f| f[26..30].try_into().unwrap())
}

/// Why a flow goes where, and where.
fn where_to(bench: &mut Bench, vip: &str, port: u16) -> (String, String) {
    let path = format!("lb/flow/{}/{port}/{vip}/8080/tcp", client_of(vip));
    let flow: serde_json::Value = serde_json::from_str(&bench.control.api(&path).unwrap()).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    (text(&flow["why"]), text(&flow["as"]["address"]))
}

fn all_flows(bench: &mut Bench) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (vip, ..) in KINDS {
        found.extend((0..FLOWS).map(|port| where_to(bench, vip, 4000 + port)));
    }
    found
}

/// By VIP and address: the flows that count.
fn counts(bench: &Bench) -> Vec<(String, IpAddr, u64)> {
    let vips = bench.control.vips().vips;
    let mut all: Vec<_> = vips
        .iter()
        .flat_map(|vip| vip.servers.iter().map(|s| (vip.prefix.clone(), s.address, s.flows)))
        .filter(|(.., flows)| *flows > 0)
        .collect();
    all.sort();
    all
}

/// The line of `show lb`.
fn state_line(bench: &mut Bench) -> String {
    let text = bench.ok("show lb");
    let line = text.lines().find_map(|line| line.strip_prefix(" state: "));
    line.unwrap_or_else(|| panic!("{text}")).to_owned()
}

/// Lets workers and control sweep all they have.
fn sweep(bench: &mut Bench) {
    (0..3 * BUCKETS / 16).for_each(|_| bench.turn());
}
