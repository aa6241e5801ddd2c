//! VIPs and ASs.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use control::show::timeouts::TimeoutStatus;
use control::show::vips::{
    ServerCounters, ServerOfVip, ServerStatus, Servers, VipCounters, VipStatus, Vips,
};

use super::json;

pub(super) fn timeouts() -> TimeoutStatus {
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

pub(super) fn server(index: u32, last: u8, removed: bool) -> ServerStatus {
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
