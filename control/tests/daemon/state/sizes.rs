//! Tables of other sizes than before.

use control::state::Situation;

use super::{
    FLOWS, Place, TOTAL, all_flows, counts, daemon, open_flows, open_more_packets, reply,
    situation, state_line, sweep,
};
use crate::bench::BUCKETS;

/// `lb conf buckets` that was not saved, or that is new in the configuration: either way the tables
/// that are there have another size than those that are configured.
#[test]
fn tables_of_another_size_than_configured_are_served_until_they_are_empty() {
    for (size, configured) in [(4096, 1024), (1024, 4096)] {
        let place = Place::new("unsaved");
        let servers = "192.168.1.1 192.168.1.3 192.168.1.5";
        let mut bench = daemon(&place.0, &situation(1, 0), servers);
        open_flows(&mut bench);
        if size != BUCKETS {
            bench.ok(&format!("lb conf buckets {size}"));
            while bench.control.is_resizing() {
                bench.turn();
            }
        }
        let (flows, counted) = (all_flows(&mut bench), counts(&bench));
        drop(bench);
        let now = Situation { buckets: configured, ..situation(1, 1) };
        let others = "192.168.1.9 192.168.1.5 192.168.1.8 192.168.1.3 192.168.1.7 192.168.1.1";
        let mut bench = daemon(&place.0, &now, others);
        let line = state_line(&mut bench);
        let expected =
            format!("{TOTAL} flows restored, {TOTAL} flows in 1 tables without a worker");
        assert!(line.ends_with(&expected), "{line}");
        assert_eq!((all_flows(&mut bench), counts(&bench)), (flows.clone(), counted.clone()));
        // A kill right after it changes nothing.
        drop(bench);
        let mut bench = daemon(&place.0, &now, others);
        for port in 0..FLOWS {
            let server = &flows[usize::from(FLOWS + port)].1;
            assert_eq!(reply(&mut bench, server, 4000 + port), Some([10, 10, 3, 7]));
        }
        open_more_packets(&mut bench);
        let vips = bench.control.vips().vips;
        assert!(vips.iter().all(|vip| vip.counters.first_session_packets == 0));
        assert_eq!(all_flows(&mut bench), flows);
        // All were taken over: what is left has the size that is configured.
        sweep(&mut bench);
        (0..configured / 16).for_each(|_| bench.turn());
        let names = place.tables();
        assert_eq!(names.len(), 2, "{names:?}");
        assert!(names.iter().all(|name| name.ends_with(&format!("-{configured}"))), "{names:?}");
        assert_eq!(counts(&bench), counted);
        bench.end();
    }
}

#[test]
fn a_resize_that_a_kill_interrupts_loses_nothing() {
    let place = Place::new("resize");
    let servers = "192.168.1.1 192.168.1.3";
    let mut bench = daemon(&place.0, &situation(1, 0), servers);
    open_flows(&mut bench);
    let (flows, counted) = (all_flows(&mut bench), counts(&bench));
    bench.ok("lb conf buckets 4096");
    // The worker has not even heard of it.
    drop(bench);
    assert_eq!(place.tables().len(), 4);
    let now = Situation { buckets: 4096, ..situation(1, 1) };
    let mut bench = daemon(&place.0, &now, servers);
    assert_eq!(all_flows(&mut bench), flows);
    assert_eq!(counts(&bench), counted);
    open_more_packets(&mut bench);
    sweep(&mut bench);
    assert_eq!(place.tables(), ["buckets-0-1-4096", "cells-0-1-4096"]);
    assert_eq!(counts(&bench), counted);
    // Now some flows have moved and some have not.
    bench.ok("lb conf buckets 2048");
    (0..40).for_each(|_| bench.turn());
    assert!(bench.control.is_resizing());
    drop(bench);
    assert_eq!(place.tables().len(), 4);
    let now = Situation { buckets: 2048, ..situation(1, 2) };
    let mut bench = daemon(&place.0, &now, servers);
    assert!(state_line(&mut bench).ends_with("flows in 1 tables without a worker"));
    assert_eq!(all_flows(&mut bench), flows);
    assert_eq!(counts(&bench), counted);
    // One that is done leaves one table.
    open_more_packets(&mut bench);
    sweep(&mut bench);
    bench.ok("lb conf buckets 1024");
    while bench.control.is_resizing() {
        bench.turn();
    }
    assert_eq!(place.tables(), ["buckets-0-3-1024", "cells-0-3-1024"]);
    assert_eq!(counts(&bench), counted);
    drop(bench);
    assert_eq!(all_flows(&mut daemon(&place.0, &situation(1, 3), servers)), flows);
}
