//! Interfaces, tunnels, routes and neighbours.

use std::net::Ipv4Addr;

use config::HardwareDetail;
use control::show::fib::{Fib, FibStatus};
use control::show::hardware::{Hardware, NamedCount, PortCounters, PortStatus};
use control::show::interfaces::{
    Addresses, InterfaceAddresses, InterfaceCounters, InterfaceStatus, Interfaces,
};
use control::show::neighbors::{NeighborStatus, Neighbors};
use control::show::tunnels::{TunnelStatus, Tunnels};

use super::json;

#[test]
fn ipip_tunnel() {
    let none = Tunnels { tunnels: vec![] };
    assert_eq!(none.to_string(), "No IPIP tunnels configured...\n");
    let tunnel = |instance: u32, next_hop: Option<&str>| TunnelStatus {
        name: format!("ipip{instance}"),
        index: 3,
        instance,
        source: "10.0.0.1".parse().unwrap(),
        destination: "10.9.0.1".parse().unwrap(),
        up: true,
        mtu_bytes: 1480,
        interface: next_hop.map(|_| "pg1".into()),
        next_hop: next_hop.map(str::to_owned),
    };
    let tunnels = Tunnels { tunnels: vec![tunnel(0, Some("10.0.0.2")), tunnel(7, None)] };
    assert_eq!(
        tunnels.to_string(),
        "[0] instance 0 src 10.0.0.1 dst 10.9.0.1 table-ID 0 sw-if-idx 3 flags [none] dscp CS0 mtu \
         1480 via 10.0.0.2 pg1\n\
         [1] instance 7 src 10.0.0.1 dst 10.9.0.1 table-ID 0 sw-if-idx 3 flags [none] dscp CS0 mtu \
         1480 no route\n"
    );
    assert!(json(&tunnels).starts_with(
        r#"{"tunnels":[{"name":"ipip0","index":3,"instance":0,"source":"10.0.0.1","destination":"10.9.0.1","up":true,"mtu_bytes":1480,"interface":"pg1","next_hop":"10.0.0.2"},"#
    ));
}

#[test]
fn interface() {
    let status = |name: &str, index, up, mtu_bytes, counters| InterfaceStatus {
        name: name.into(),
        index,
        up,
        mtu_bytes,
        nat4_in: false,
        link: "up",
        nat6_in: false,
        counters,
    };
    let busy = InterfaceCounters {
        rx_packets: 4,
        rx_bytes: 240,
        tx_packets: 1,
        tx_bytes: 170,
        ip4_packets: 4,
        ..InterfaceCounters::default()
    };
    let lossy = InterfaceCounters { drops: 21, punts: 2, rx_missed: 5, ..Default::default() };
    let interfaces = Interfaces {
        interfaces: vec![
            status("local0", 0, false, 0, InterfaceCounters::default()),
            status("pg0", 1, true, 9000, busy),
            status("pg1", 2, true, 1500, lossy),
        ],
    };
    assert_eq!(
        interfaces.to_string(),
        "              Name               Idx    State  MTU (L3/IP4/IP6/MPLS)     Counter          Count     
local0                            0     down          0/0/0/0       
pg0                               1      up          9000/0/0/0     rx packets                     4
                                                                    rx bytes                     240
                                                                    tx packets                     1
                                                                    tx bytes                     170
                                                                    ip4                            4
pg1                               2      up          1500/0/0/0     drops                         21
                                                                    punt                           2
                                                                    rx-miss                        5
"
    );
    let text = json(&interfaces);
    let end = r#"{"name":"pg1","index":2,"up":true,"link":"up","mtu_bytes":1500,"nat4_in":false,"nat6_in":false,"counters":{"rx_packets":0,"rx_bytes":0,"tx_packets":0,"tx_bytes":0,"drops":21,"punts":2,"ip4_packets":0,"ip6_packets":0,"rx_missed":5,"rx_no_buffer":0,"rx_errors":0,"tx_errors":0}}]}"#;
    assert!(text.ends_with(end), "{text}");
}

#[test]
fn interface_address() {
    let of = |name: &str, index, up, addresses: &[&str]| InterfaceAddresses {
        name: name.into(),
        index,
        up,
        addresses: addresses.iter().map(ToString::to_string).collect(),
    };
    let addresses = Addresses {
        interfaces: vec![of("local0", 0, false, &[]), of("pg0", 1, true, &["172.16.1.1/24"])],
    };
    assert_eq!(addresses.to_string(), "local0 (dn):\npg0 (up):\n  L3 172.16.1.1/24\n");
    assert_eq!(
        json(&addresses),
        r#"{"interfaces":[{"name":"local0","index":0,"up":false,"addresses":[]},{"name":"pg0","index":1,"up":true,"addresses":["172.16.1.1/24"]}]}"#
    );
}

#[test]
fn hardware_interfaces() {
    let hardware = Hardware {
        ports: vec![PortStatus {
            name: "Ethernet0".into(),
            index: 1,
            device: "net_af_packet0".into(),
            driver: "net_af_packet".into(),
            link_up: true,
            speed_mbps: Some(10_000),
            full_duplex: true,
            mac: "02:70:63:61:70:00".into(),
            numa_node: None,
            rx_queues: 2,
            rx_queues_max: 16,
            tx_queues: 2,
            tx_queues_max: 16,
            rx_descriptors: 1024,
            tx_descriptors: 1024,
            mtu_bytes: 1500,
            promiscuous: true,
            rx_offloads_available: vec![],
            tx_offloads_available: vec!["multi-segs".into()],
            rx_queue_threads: vec![1, 2],
            rx_mode: "adaptive",
            statistics: PortCounters { rx_packets: 202_496, ..PortCounters::default() },
            extended_statistics: vec![
                NamedCount { name: "rx_good_packets".into(), value: 202_496 },
                NamedCount { name: "rx_errors".into(), value: 0 },
            ],
        }],
    };
    let brief = "              Name                Idx   Link  Hardware
Ethernet0                          1     up  net_af_packet0
";
    assert_eq!(hardware.text(HardwareDetail::Brief), brief);
    let normal = "  Link speed: 10 Gbps
  RX Queues:
    queue thread          mode      
    0     sluice_wk_0 (1) adaptive  
    1     sluice_wk_1 (2) adaptive  
  Ethernet address 02:70:63:61:70:00
  net_af_packet
    carrier up full duplex mtu 1500
    rx: queues 2 (max 16), desc 1024
    tx: queues 2 (max 16), desc 1024
    promiscuous: unicast on
    rx offload avail:  none
    rx offload active: none
    tx offload avail:  multi-segs
    tx offload active: none

    rx frames ok                                      202496
    extended stats:
      rx_good_packets                                 202496
";
    assert_eq!(hardware.text(HardwareDetail::Normal), format!("{brief}{normal}"));
    let verbose = "      rx_errors                                            0\n";
    assert_eq!(hardware.text(HardwareDetail::Verbose), format!("{brief}{normal}{verbose}"));
    assert!(json(&hardware).starts_with(r#"{"ports":[{"name":"Ethernet0","index":1,"device":"net_af_packet0","driver":"net_af_packet","link_up":true,"speed_mbps":10000,"#));
}

#[test]
fn ip_fib() {
    let entry = |prefix: &str, prefix_len, source, kind, forwarding: &str| FibStatus {
        prefix: prefix.into(),
        prefix_len,
        source,
        kind,
        interface: None,
        next_hop: None,
        reason: None,
        forwarding: vec![forwarding.into()],
    };
    let fib = Fib {
        family: config::Family::Ip4,
        entries: vec![
            entry("0.0.0.0/0", 0, "special", "drop", "dpo-drop ip4 (no route)"),
            entry(
                "10.0.0.0/24",
                24,
                "CLI",
                "forward",
                "ipv4 via 172.16.2.2 pg1: mtu:9000 02000000020202feb76958200800",
            ),
        ],
    };
    assert_eq!(
        fib.text(),
        "ipv4-VRF:0, fib_index:0
0.0.0.0/0
  unicast-ip4-chain
    [0] [@0]: dpo-drop ip4 (no route)
10.0.0.0/24
  unicast-ip4-chain
    [0] [@0]: ipv4 via 172.16.2.2 pg1: mtu:9000 02000000020202feb76958200800
"
    );
    assert_eq!(
        fib.summary(),
        "ipv4-VRF:0, fib_index:0
    Prefix length         Count     
                   0               1
                  24               1
"
    );
    assert!(
        fib.detail().contains("10.0.0.0/24 fib:0\n  CLI\n\n forwarding:   unicast-ip4-chain\n")
    );
    assert!(json(&fib).starts_with(r#"{"entries":[{"prefix":"0.0.0.0/0","prefix_len":0,"source":"special","kind":"drop","interface":null,"next_hop":null,"reason":null,"forwarding":["#));
}

#[test]
fn ip_neighbors() {
    let neighbor = |age_s, last, mac: Option<&str>, state, interface: &str| NeighborStatus {
        age_s,
        address: Ipv4Addr::from([172, 16, last, 2]).into(),
        is_static: state == "static",
        state,
        mac: mac.map(str::to_owned),
        interface: interface.into(),
    };
    let neighbors = Neighbors {
        neighbors: vec![
            neighbor(1.8582, 1, Some("02:00:00:00:01:02"), "static", "pg0"),
            neighbor(0.25, 2, None, "incomplete", "pg1"),
        ],
    };
    assert_eq!(
        neighbors.to_string(),
        "     Age                       IP                    Flags      Ethernet              Interface       
      1.8582               172.16.1.2                  S    02:00:00:00:01:02 pg0
      0.2500               172.16.2.2                  D      (incomplete) pg1
"
    );
    assert!(json(&neighbors).starts_with(r#"{"neighbors":[{"age_s":1.8582,"address":"172.16.1.2","static":true,"state":"static","mac":"02:00:00:00:01:02","interface":"pg0"},"#));
}
