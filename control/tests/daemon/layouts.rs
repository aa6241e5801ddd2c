//! What `show` prints of the load balancer and the network, byte for byte: VPP's columns and wording, and the JSON of the same.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use config::HardwareDetail;
use control::show::fib::{Fib, FibStatus};
use control::show::flow::FlowStatus;
use control::show::hardware::{Hardware, NamedCount, PortCounters, PortStatus};
use control::show::interfaces::{
    Addresses, InterfaceAddresses, InterfaceCounters, InterfaceStatus, Interfaces,
};
use control::show::lb::{LbStatus, StickyUsage, TunnelStatus};
use control::show::neighbors::{NeighborStatus, Neighbors};
use control::show::no_match::{NoMatchStatus, PrefixPolicy};
use control::show::timeouts::TimeoutStatus;
use control::show::tunnels::Tunnels;
use control::show::vips::{
    ServerCounters, ServerOfVip, ServerStatus, Servers, VipCounters, VipStatus, Vips,
};
use control::state::StateStatus;
use serde::Serialize;

pub(crate) fn json(body: &impl Serialize) -> String {
    serde_json::to_string(body).unwrap()
}

#[test]
fn lb() {
    let lb = LbStatus {
        ip4_src_address: "39.40.41.42".parse().unwrap(),
        ip6_src_address: "2004::1".parse().unwrap(),
        vips: 1,
        servers: 16,
        as_removed: 2,
        as_draining: 1,
        draining_flows: 30,
        as_drained_total: 4,
        buckets_per_worker: 1_048_576,
        timeout_s: 40,
        tcp_established_timeout_s: 900,
        tcp_closing_timeout_s: 120,
        timeouts: timeouts(),
        tunnel: TunnelStatus {
            ttl: 64,
            dscp: "copy".into(),
            ecn: "rfc6040",
            df: "copy",
            too_big: "drop",
            gue_port: 6080,
            ip4_src_entropy: "off".into(),
            ip6_src_entropy: "2001:db8::/64".into(),
        },
        no_match: "rst",
        hash_key_file: None,
        hash_key_fingerprint: "00112233".into(),
        state: StateStatus {
            kept: true,
            dir: Some("/run/sluice/state".into()),
            restored: 7,
            expired: 3,
            restored_in_us: 900,
            orphan_tables: 2,
            orphan_flows: 5,
            ..StateStatus::default()
        },
        workers: vec![StickyUsage {
            thread: 1,
            flows: 1000,
            flows_moving: 0,
            flows_lost: 0,
            flows_max: 4_194_304,
            bytes: 64 << 20,
            pages: "transparent",
            huge_bytes: 62 << 20,
        }],
    };
    assert_eq!(
        lb.to_string(),
        "lb_main ip4-src-address: 39.40.41.42 \n ip6-src-address: 2004::1 \n #vips: 1\n #ass: 16\n \
         #draining: 1 removed: 2 flows: 30 drained so far: 4\n \
         timeouts in seconds: udp:40 other:41 tcp-syn:42 tcp-established:900 tcp-fin-wait:120 \
         tcp-close-wait:121 tcp-time-wait:122 tcp-close:10\n\
         core 1\n  timeout: 40s\n  usage: 1000 / 4194304\n  \
         memory: 65536 KiB in transparent pages, 63488 KiB of them huge\n \
         state: kept in /run/sluice/state, 7 flows restored, 5 flows in 2 tables without a worker\n"
    );
    assert_eq!(
        json(&lb),
        r#"{"ip4_src_address":"39.40.41.42","ip6_src_address":"2004::1","vips":1,"as":16,"as_removed":2,"as_draining":1,"draining_flows":30,"as_drained_total":4,"buckets_per_worker":1048576,"timeout_s":40,"tcp_established_timeout_s":900,"tcp_closing_timeout_s":120,"timeouts":{"udp_s":40,"other_s":41,"tcp_syn_s":42,"tcp_established_s":900,"tcp_fin_wait_s":120,"tcp_close_wait_s":121,"tcp_time_wait_s":122,"tcp_close_s":10},"tunnel":{"ttl":64,"dscp":"copy","ecn":"rfc6040","df":"copy","too_big":"drop","gue_port":6080,"ip4_src_entropy":"off","ip6_src_entropy":"2001:db8::/64"},"no_match":"rst","hash_key_file":null,"hash_key_fingerprint":"00112233","state":{"kept":true,"dir":"/run/sluice/state","not_used":null,"restored":7,"expired":3,"dead":0,"torn":0,"duplicate":0,"restored_in_us":900,"orphan_tables":2,"orphan_flows":5},"workers":[{"thread":1,"flows":1000,"flows_moving":0,"flows_lost":0,"flows_max":4194304,"bytes":67108864,"pages":"transparent","huge_bytes":65011712}]}"#
    );
}

fn timeouts() -> TimeoutStatus {
    TimeoutStatus {
        udp_s: 40,
        other_s: 41,
        tcp_syn_s: 42,
        tcp_established_s: 900,
        tcp_fin_wait_s: 120,
        tcp_close_wait_s: 121,
        tcp_time_wait_s: 122,
        tcp_close_s: 10,
    }
}

fn server(index: u32, last: u8, removed: bool) -> ServerStatus {
    ServerStatus {
        index,
        address: Ipv4Addr::new(10, 0, 0, last).into(),
        weight: 100,
        encap: "nat4",
        dscp: None,
        buckets: 512,
        buckets_ideal: 511.5,
        flows: 3,
        counters: ServerCounters { packets: 7, bytes: 420, reply_packets: 5, reply_bytes: 300 },
        adjacency: (last != 9).then_some(27),
        interface: (last != 9).then(|| "pg1".into()),
        next_hop: (last != 9).then(|| Ipv4Addr::new(10, 0, 0, last).into()),
        path: if last == 9 { "no route" } else { "resolved" },
        tunnel_source: None,
        removed,
        admin: if last == 9 { "drain" } else { "up" },
        drained: false,
    }
}

fn vips() -> Vips {
    Vips {
        vips: vec![VipStatus {
            index: 8,
            name: None,
            prefix: "91.0.0.8/32".into(),
            protocol: Some("udp"),
            port: Some(20_000),
            port_last: Some(20_000),
            encap: "nat4",
            dscp: None,
            service_type: "clusterip",
            node_port: None,
            target_port: Some(3307),
            target_port_last: Some(3307),
            scheduler: "maglev",
            mss: "off".into(),
            timeouts: timeouts(),
            own_timeouts: BTreeMap::from([("udp-timeout", 40)]),
            no_match: "drop",
            new_len: 1024,
            new_flow_table_digest: "0123456789abcdef".into(),
            share_of_ideal_min: Some(0.9987),
            share_of_ideal_max: Some(1.00129),
            src_ip_sticky: true,
            counters: VipCounters {
                packets_from_existing_sessions: 4,
                first_session_packets: 3,
                untracked_packets: 2,
                no_server_configured: 1,
            },
            servers: vec![server(17, 2, false), server(18, 1, true), server(19, 9, false)],
        }],
    }
}

#[test]
fn lb_vips() {
    assert_eq!(
        vips().brief(),
        "ip4-nat4 91.0.0.8/32 new_size:1024 #as:3  protocol:17 port:20000  type:clusterip \
         port:20000 target_port:3307\n"
    );
    assert_eq!(
        vips().verbose(),
        " ip4-nat4 [8] 91.0.0.8/32 src_ip_sticky
  new_size:1024
  protocol:17 port:20000
  type:clusterip port:20000 target_port:3307
  timeouts in seconds: udp:40 other:41 tcp-syn:42 tcp-established:900 tcp-fin-wait:120 tcp-close-wait:121 tcp-time-wait:122 tcp-close:10
  counters:
    packet from existing sessions: 4
    first session packet: 3
    untracked packet: 2
    no server configured: 1
  new-flow table digest:0123456789abcdef share of ideal min:0.9987 max:1.0013
  #as:3
    10.0.0.2 weight:100 buckets:512 flows:3 dpo:27 used encap:nat4 packets:7 bytes:420 reply-packets:5 reply-bytes:300 ideal:511.5
    10.0.0.1 weight:100 buckets:512 flows:3 dpo:27  removed encap:nat4 packets:7 bytes:420 reply-packets:5 reply-bytes:300 ideal:511.5
    10.0.0.9 weight:100 buckets:512 flows:3 dpo:none draining encap:nat4 packets:7 bytes:420 reply-packets:5 reply-bytes:300 ideal:511.5 (no route)

"
    );
    let text = json(&vips());
    let start = r#"{"vips":[{"index":8,"name":null,"prefix":"91.0.0.8/32","protocol":"udp","port":20000,"port_last":20000,"encap":"nat4","dscp":null,"type":"clusterip","node_port":null,"target_port":3307,"target_port_last":3307,"scheduler":"maglev","mss":"off","timeouts":{"udp_s":40,"other_s":41,"tcp_syn_s":42,"tcp_established_s":900,"tcp_fin_wait_s":120,"tcp_close_wait_s":121,"tcp_time_wait_s":122,"tcp_close_s":10},"own_timeouts":{"udp-timeout":40},"no_match":"drop","new_len":1024,"new_flow_table_digest":"0123456789abcdef","share_of_ideal_min":0.9987,"share_of_ideal_max":1.00129,"src_ip_sticky":true,"counters":{"packets_from_existing_sessions":4,"first_session_packets":3,"untracked_packets":2,"no_server_configured":1},"as":[{"index":17,"address":"10.0.0.2","weight":100,"encap":"nat4","dscp":null,"buckets":512,"buckets_ideal":511.5,"flows":3,"counters":{"packets":7,"bytes":420,"reply_packets":5,"reply_bytes":300},"adjacency":27,"interface":"pg1","next_hop":"10.0.0.2","path":"resolved","tunnel_source":null,"removed":false,"admin":"up","drained":false},"#;
    assert!(text.starts_with(start), "{text}");
}

/// Every form of VIP, in VPP's words where VPP has it.
#[test]
fn lb_vips_of_every_kind() {
    let base = VipStatus { servers: vec![], ..vips().vips.remove(0) };
    let all = VipStatus {
        prefix: "90.0.0.0/8".into(),
        protocol: None,
        port: None,
        port_last: None,
        target_port: None,
        target_port_last: None,
        encap: "gre4",
        src_ip_sticky: false,
        ..base.clone()
    };
    assert_eq!(all.line(), "ip4-gre4 90.0.0.0/8 new_size:1024 #as:0");
    assert_eq!(all.title(), "90.0.0.0/8");
    let own_timeouts = BTreeMap::new();
    let l3dsr = VipStatus { encap: "l3dsr", dscp: Some(7), own_timeouts, ..all.clone() };
    assert_eq!(l3dsr.line(), "ip4-l3dsr 90.0.0.0/8 new_size:1024 #as:0  dscp:7");
    assert!(l3dsr.to_string().contains("  new_size:1024\n  dscp:7\n  counters:\n"));
    let six = VipStatus {
        prefix: "2001:dba::1/128".into(),
        encap: "gre6",
        target_port: None,
        target_port_last: None,
        port: Some(53),
        port_last: Some(53),
        ..base.clone()
    };
    assert_eq!(six.line(), "ip6-gre6 2001:dba::1/128 new_size:1024 #as:0  protocol:17 port:53 ");
    let node = VipStatus {
        service_type: "nodeport",
        node_port: Some(30_000),
        port_last: Some(20_009),
        target_port_last: Some(3316),
        scheduler: "rr",
        mss: "auto".into(),
        ..base
    };
    assert_eq!(
        node.line(),
        "ip4-nat4 91.0.0.8/32 new_size:1024 #as:0  protocol:17 port:20000-20009  type:nodeport \
         port:30000 target_port:3307-3316 scheduler:rr mss:auto"
    );
    assert_eq!(node.title(), "91.0.0.8/32 udp port 20000-20009");
}

#[test]
fn lb_as() {
    let of_vip = |vip: &VipStatus, server: &ServerStatus| ServerOfVip {
        vip: vip.title().into(),
        vip_index: vip.index,
        vip_prefix: vip.prefix.clone(),
        protocol: vip.protocol,
        port: vip.port,
        port_last: vip.port_last,
        server: server.clone(),
    };
    let vips = vips().vips;
    let servers = vips.iter().flat_map(|vip| vip.servers.iter().map(move |s| of_vip(vip, s)));
    let servers = Servers { servers: servers.collect() };
    assert_eq!(
        servers.to_string(),
        "VIP                                         AS                        Encap   Weight  Buckets     Flows       Packets           Bytes  State
91.0.0.8/32 udp port 20000                  10.0.0.2                  nat4       100      512         3             7             420  used
91.0.0.8/32 udp port 20000                  10.0.0.1                  nat4       100      512         3             7             420  removed
91.0.0.8/32 udp port 20000                  10.0.0.9                  nat4       100      512         3             7             420  draining, no route
"
    );
    let text = json(&servers);
    let start = r#"{"as":[{"vip_index":8,"vip_prefix":"91.0.0.8/32","protocol":"udp","port":20000,"port_last":20000,"index":17,"address":"10.0.0.2","weight":100,"encap":"nat4","#;
    assert!(text.starts_with(start), "{text}");
}

#[test]
fn lb_flow() {
    let known = FlowStatus {
        flow: "10.1.1.1 port 4000 -> 91.0.0.8 port 20000 udp".into(),
        vip_index: Some(8),
        vip: Some("ip4-nat4 91.0.0.8/32".into()),
        why: "sticky",
        thread: Some(2),
        slot: None,
        no_match: None,
        target_port: Some(3307),
        server: Some(server(17, 2, false)),
    };
    assert_eq!(
        known.to_string(),
        "10.1.1.1 port 4000 -> 91.0.0.8 port 20000 udp
  vip [8]: ip4-nat4 91.0.0.8/32
  why: sticky: thread 2 knows the flow
  as [17]: 10.0.0.2 port 3307 encap nat4 weight:100 used
  path: via 10.0.0.2 pg1, resolved
"
    );
    let new = FlowStatus {
        why: "table",
        thread: None,
        slot: Some(77),
        server: Some(server(19, 9, false)),
        ..known.clone()
    };
    assert!(
        new.to_string().ends_with(
            "  why: a new flow: slot 77 of the new-flow table
  as [19]: 10.0.0.9 port 3307 encap nat4 weight:100 draining, no route
  path: no route
"
        ),
        "{new}"
    );
    let nobody = FlowStatus {
        vip_index: None,
        vip: None,
        why: "no match",
        no_match: Some("rst"),
        server: None,
        ..known
    };
    assert!(nobody.to_string().ends_with(
        "20000 udp\n  why: no VIP of the address takes this protocol and port: no-match rst\n"
    ));
    let start = r#"{"flow":"10.1.1.1 port 4000 -> 91.0.0.8 port 20000 udp","vip_index":8,"vip":"ip4-nat4 91.0.0.8/32","why":"table","thread":null,"slot":77,"no_match":null,"target_port":3307,"as":{"index":19,"#;
    assert!(json(&new).starts_with(start));
}

#[test]
fn lb_no_match() {
    let status = NoMatchStatus {
        default: "drop",
        prefixes: vec![
            PrefixPolicy {
                prefix: "10.0.0.0/8".into(),
                policy: "rst",
                vip_prefixes: vec!["10.1.0.0/16".into(), "10.2.0.1/32".into()],
            },
            PrefixPolicy { prefix: "192.0.2.0/24".into(), policy: "icmp", vip_prefixes: vec![] },
        ],
    };
    assert_eq!(
        status.to_string(),
        "default: drop\n10.0.0.0/8: rst (10.1.0.0/16, 10.2.0.1/32)\n192.0.2.0/24: icmp (no VIP \
         prefix lies in it)\n"
    );
    assert!(json(&status).starts_with(
        r#"{"default":"drop","prefixes":[{"prefix":"10.0.0.0/8","policy":"rst","vip_prefixes":["10.1.0.0/16","#
    ));
}

#[test]
fn ipip_tunnel() {
    let none = Tunnels { tunnels: vec![] };
    assert_eq!(none.to_string(), "No IPIP tunnels configured...\n");
    let tunnel = |instance: u32, next_hop: Option<&str>| control::show::tunnels::TunnelStatus {
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
        address: std::net::Ipv4Addr::from([172, 16, last, 2]).into(),
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
