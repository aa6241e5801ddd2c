//! What a daemon knows of the flows of the one before.

use super::{
    FLOWS, KINDS, Place, TOTAL, all_flows, counts, daemon, open_flows, open_more_packets, reply,
    situation, state_line, sweep, where_to,
};
use crate::bench::{Bench, ROUTED};

#[test]
fn flows_of_every_kind_go_on_after_a_kill() {
    let place = Place::new("kinds");
    let mut bench = daemon(&place.0, &situation(1, 0), "192.168.1.1 192.168.1.3 192.168.1.5");
    assert!(state_line(&mut bench).ends_with("started empty: the directory is new"));
    open_flows(&mut bench);
    let (flows, counted) = (all_flows(&mut bench), counts(&bench));
    assert!(flows.iter().all(|(why, _)| why == "sticky"), "{flows:?}");
    assert_eq!(counted.iter().map(|(.., flows)| flows).sum::<u64>(), TOTAL);
    drop(bench);
    // ASs in another order, and so many more that the new-flow tables give most flows elsewhere.
    let others = "192.168.1.9 192.168.1.5 192.168.1.8 192.168.1.3 192.168.1.7 192.168.1.1";
    let mut bench = daemon(&place.0, &situation(1, 30), others);
    assert!(state_line(&mut bench).ends_with(&format!(", {TOTAL} flows restored")));
    sweep(&mut bench);
    assert_eq!(all_flows(&mut bench), flows);
    assert_eq!(counts(&bench), counted);
    // They are no new flows, and replies find their way back.
    open_more_packets(&mut bench);
    let vips = bench.control.vips().vips;
    assert!(vips.iter().all(|vip| vip.counters.first_session_packets == 0));
    for port in 0..FLOWS {
        let server = &flows[usize::from(FLOWS + port)].1;
        assert_eq!(reply(&mut bench, server, 4000 + port), Some([10, 10, 3, 7]));
    }
    bench.end();
}

/// Time that passed while no daemon ran counts.
#[test]
fn expiry_goes_on_exactly() {
    let place = Place::new("expiry");
    let servers = "192.168.1.1 192.168.1.3";
    let mut bench = daemon(&place.0, &situation(1, 0), servers);
    bench.ok("lb conf tcp-established-timeout 100");
    open_flows(&mut bench);
    drop(bench);
    let mut bench = daemon(&place.0, &situation(1, 99), servers);
    assert!(state_line(&mut bench).ends_with(&format!(", {TOTAL} flows restored")));
    drop(bench);
    let mut bench = daemon(&place.0, &situation(1, 100), servers);
    assert!(state_line(&mut bench).ends_with(", 0 flows restored"));
    let json: serde_json::Value = serde_json::from_str(&bench.control.api("lb").unwrap()).unwrap();
    assert_eq!(json["state"]["expired"].as_u64(), Some(TOTAL));
    assert_eq!(json["state"]["kept"].as_bool(), Some(true));
    assert!(counts(&bench).is_empty());
    bench.end();
}

#[test]
fn a_server_that_left_the_configuration_keeps_its_flows() {
    let place = Place::new("removed");
    let mut bench = daemon(&place.0, &situation(1, 0), "192.168.1.1 192.168.1.3");
    bench.ok("lb conf tcp-established-timeout 100");
    open_flows(&mut bench);
    // One is removed while it has flows, the other one after the daemon has gone.
    for (_, vip, _) in KINDS {
        bench.ok(&format!("lb as {vip} 192.168.1.3 del"));
        bench.ok(&format!("lb as {vip} 192.168.1.5"));
    }
    let (flows, counted) = (all_flows(&mut bench), counts(&bench));
    drop(bench);
    let mut bench = daemon(&place.0, &situation(1, 10), "192.168.1.7 192.168.1.5");
    sweep(&mut bench);
    bench.pass(1_000);
    assert_eq!(all_flows(&mut bench), flows);
    assert_eq!(counts(&bench), counted);
    for vip in bench.control.vips().vips {
        let removed = vip.servers.iter().filter(|server| server.removed);
        let addresses: Vec<_> = removed.map(|server| server.address.to_string()).collect();
        assert_eq!(addresses, ["192.168.1.1", "192.168.1.3"]);
        let mut indices: Vec<_> = vip.servers.iter().map(|server| server.index).collect();
        indices.sort_unstable();
        indices.dedup();
        assert_eq!(indices.len(), vip.servers.len(), "an index of its own each");
    }
    // Who comes back finds its flows; who does not goes when they end.
    for (_, vip, _) in KINDS {
        bench.ok(&format!("lb as {vip} 192.168.1.1"));
    }
    assert_eq!(counts(&bench), counted);
    bench.pass(200_000);
    sweep(&mut bench);
    (0..3).for_each(|_| bench.pass(1_000));
    for vip in bench.control.vips().vips {
        let addresses: Vec<_> = vip.servers.iter().map(|s| s.address.to_string()).collect();
        assert_eq!(addresses.len(), 3, "{addresses:?}");
        assert!(!addresses.contains(&"192.168.1.3".to_owned()), "{addresses:?}");
    }
    bench.end();
}

#[test]
fn a_flush_is_not_undone() {
    let place = Place::new("flush");
    let servers = "192.168.1.1 192.168.1.3";
    let mut bench = daemon(&place.0, &situation(1, 0), servers);
    open_flows(&mut bench);
    bench.ok(&format!("lb flush vip {}", KINDS[0].1));
    bench.ok(&format!("lb vip {} del", KINDS[1].1));
    // Nobody has swept anything yet.
    drop(bench);
    let mut bench = daemon(&place.0, &situation(1, 1), servers);
    let left = TOTAL - 2 * u64::from(FLOWS);
    assert!(state_line(&mut bench).ends_with(&format!(", {left} flows restored")));
    assert!((0..FLOWS).all(|port| where_to(&mut bench, KINDS[0].0, 4000 + port).0 == "table"));
    assert!((0..FLOWS).all(|port| where_to(&mut bench, KINDS[1].0, 4000 + port).0 == "table"));
    assert!((0..FLOWS).all(|port| where_to(&mut bench, KINDS[2].0, 4000 + port).0 == "sticky"));
    bench.end();
}

/// The index of a VIP is in the keys of its flows: nobody else may have it before they are gone.
#[test]
fn a_vip_that_does_not_come_back_leaves_nothing_to_others() {
    let place = Place::new("gone");
    let mut bench = daemon(&place.0, &situation(1, 0), "192.168.1.1 192.168.1.3");
    open_flows(&mut bench);
    drop(bench);
    let mut bench = Bench::kept(&place.0, &situation(1, 1)).unwrap();
    bench.all(&ROUTED);
    // Before everything is configured nothing is swept, and no index is anybody else's.
    sweep(&mut bench);
    bench.pass(1_000);
    let used = |bench: &mut Bench| {
        let json = bench.control.api("lb").unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        json["workers"][0]["flows"].as_u64().unwrap()
    };
    assert_eq!(used(&mut bench), TOTAL);
    assert_eq!(bench.ok("lb vip 10.10.9.1/32 encap gre4"), "lb_vip_add ok 6");
    bench.ok("lb as 10.10.9.1/32 192.168.1.8");
    assert!(bench.control.vips().vips[0].servers[0].index > 10);
    assert_eq!(bench.ok(&format!("lb vip {} {}", KINDS[2].1, KINDS[2].2)), "lb_vip_add ok 3");
    bench.control.settle_state();
    sweep(&mut bench);
    (0..3).for_each(|_| bench.pass(1_000));
    assert_eq!(used(&mut bench), u64::from(FLOWS), "those of the VIP that came back");
    assert_eq!(bench.ok("lb vip 10.10.9.2/32 encap gre4"), "lb_vip_add ok 1");
    drop(bench);
    // The next one knows of all that.
    let mut bench = Bench::kept(&place.0, &situation(1, 60)).unwrap();
    assert_eq!(bench.ok("lb vip 10.10.9.2/32 encap gre4"), "lb_vip_add ok 1");
    assert_eq!(bench.ok("lb vip 10.10.9.1/32 encap gre4"), "lb_vip_add ok 6");
    assert_eq!(bench.ok("lb vip 10.10.9.3/32 encap gre4"), "lb_vip_add ok 2");
    assert_eq!(bench.ok(&format!("lb vip {} {}", KINDS[2].1, KINDS[2].2)), "lb_vip_add ok 3");
    bench.end();
}
