//! The load balancer as a whole, single flows, and what matches no VIP.

use control::show::flow::FlowStatus;
use control::show::lb::{LbStatus, StickyUsage, TunnelStatus};
use control::show::no_match::{NoMatchStatus, PrefixPolicy};
use control::state::StateStatus;

use super::json;
use super::vips::{server, timeouts};

fn lb_status() -> LbStatus {
    LbStatus {
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
    }
}

#[test]
fn lb() {
    let lb = lb_status();
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
