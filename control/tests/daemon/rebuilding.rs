//! Control panics: workers forward on, and control is rebuilt from what was published last.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use control::execute::{LineResult, Shared};
use tokio::task::LocalSet;

use crate::bench::Bench;
use crate::defects::{served, syn};
use crate::tables::{Held, add, published, server};

const VIP: &str = "10.10.2.2/32 protocol tcp port 8080";

/// Has control panic by this command, and rebuilds it.
fn break_and_rebuild(bench: &mut Bench, line: &str) {
    bench.control.allow_debug_commands();
    let broken = catch_unwind(AssertUnwindSafe(|| {
        bench.ok(line);
        bench.turn();
    }));
    assert!(broken.is_err(), "{line} broke nothing");
    bench.control.rebuild();
}

/// The AS that a client's packet is sent to now, if it is sent.
fn way(bench: &mut Bench, port: u16) -> Option<[u8; 4]> {
    bench.arrive(0, &syn(port, ("10.10.2.2", 8080)));
    let frames = bench.sent(1);
    frames
        .iter()
        .find_map(|frame| (frame[12..14] == [8, 0]).then(|| frame[30..34].try_into()))?
        .ok()
}

/// Runs `test` while workers and control turn, as in the daemon.
fn with_shared(bench: Bench, test: impl AsyncFnOnce(&Shared)) {
    let Bench { control, mut workers, .. } = bench;
    let mut control = control.take();
    control.allow_debug_commands();
    let shared = Shared::new(control);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, async {
        let pump = shared.clone();
        tokio::task::spawn_local(async move {
            loop {
                for worker in &mut workers {
                    worker.turn();
                }
                let _ = catch_unwind(AssertUnwindSafe(|| pump.pump()));
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        test(&shared).await;
    });
}

/// Of each line: was it carried out, and if not, why.
fn told(results: &[LineResult]) -> Vec<(bool, String)> {
    let reason = |r: &LineResult| r.error.as_ref().map_or(String::new(), |e| e.reason.clone());
    results.iter().map(|result| (result.ok, reason(result))).collect()
}

#[test]
fn flows_neighbors_and_counters_outlive_a_panic_in_any_place() {
    let mut bench = served();
    let before: Vec<_> = (0..50).map(|port| way(&mut bench, 4000 + port)).collect();
    assert!(before.iter().all(Option::is_some), "{before:?}");
    let config = bench.config();
    for (line, trigger) in [
        ("debug control panic", ""),
        ("debug control panic events", ""),
        ("debug control panic publish", "lb conf timeout 41"),
    ] {
        if !trigger.is_empty() {
            bench.control.allow_debug_commands();
            bench.ok(line);
        }
        break_and_rebuild(&mut bench, if trigger.is_empty() { line } else { trigger });
        assert_eq!(bench.config(), config, "{line}");
        let after: Vec<_> = (0..50).map(|port| way(&mut bench, 4000 + port)).collect();
        assert_eq!(after, before, "{line}");
    }
    assert_eq!(bench.control.rebuilt(), 3);
    let vip = bench.control.vips().vips.remove(0);
    assert_eq!(vip.counters.first_session_packets, 50, "counters go on");
    // All that the daemon does goes on: commands, neighbours, new flows.
    bench.ok(&format!("lb as {VIP} 192.168.1.1 weight 0"));
    for port in 0..20 {
        assert_eq!(way(&mut bench, 5000 + port), Some([192, 168, 1, 3]));
    }
    assert!(bench.ok("show version verbose").contains("Control rebuilt:          3 times"));
    bench.end();
}

#[test]
fn the_rebuilt_control_asks_only_for_neighbors_it_does_not_know() {
    let mut bench = Bench::walkthrough();
    bench.all(&[
        // As if they had told it.
        "set ip neighbor GigabitEthernet0/9/0 192.168.1.1 02:00:00:00:01:01",
        "set ip neighbor GigabitEthernet0/9/0 192.168.1.3 02:00:00:00:01:03",
        &format!("lb as {VIP} 192.168.1.77"),
    ]);
    bench.turn();
    bench.sent(1);
    break_and_rebuild(&mut bench, "debug control panic");
    bench.turn();
    let asked: Vec<_> = bench.sent(1).iter().map(|frame| frame[38..42].to_vec()).collect();
    assert_eq!(asked, [[192, 168, 1, 77]], "the neighbours in use are known");
    bench.end();
}

#[test]
fn a_panic_costs_the_failing_command_and_no_other_line() {
    let line = |words: &str| format!("lb as {VIP} 192.168.1.1 weight {words}");
    with_shared(Bench::walkthrough(), async |shared| {
        let batch = [line("7"), "debug control panic".to_owned(), line("9")].join("\n");
        let results = told(&shared.batch(&batch, &mut |_| true).await);
        assert_eq!((results[0].0, results[2].0), (true, true), "{results:?}");
        assert!(!results[1].0 && results[1].1.contains("rebuilt; nothing was changed"));
        let config = shared.line("show running-config").await.unwrap();
        assert!(config.contains("192.168.1.1 weight 9"), "{config}");
    });
}

#[test]
fn whose_change_was_not_published_before_a_panic_is_told_so() {
    let line = |words: &str| format!("lb as {VIP} 192.168.1.1 weight {words}");
    with_shared(Bench::walkthrough(), async |shared| {
        shared.line("debug control panic publish").await.unwrap();
        let results = told(&shared.batch(&[line("7"), line("8")].join("\n"), &mut |_| true).await);
        assert!(results.iter().all(|(ok, why)| !ok && why.contains("without this change")));
        assert_eq!(shared.with(|control| control.rebuilt()), 1);
        let config = shared.line("show running-config").await.unwrap();
        assert!(!config.contains("weight 7") && !config.contains("weight 8"), "{config}");
        shared.line("debug control panic publish").await.unwrap();
        let error = shared.line(&line("7")).await.unwrap_err();
        assert!(error.reason.contains("without this change"), "{error:?}");
        let error = shared.atomic_batch(&line("7"), &mut |_| true).await;
        assert!(error[0].ok, "the panic was for once: {error:?}");
        shared.line("debug control panic publish").await.unwrap();
        assert!(!shared.atomic_batch(&line("8"), &mut |_| true).await[0].ok);
        assert_eq!(shared.with(|control| control.rebuilt()), 3);
    });
}

#[test]
fn tables_that_were_being_built_are_ordered_again() {
    let held = Held::default();
    let mut bench = held.bench();
    bench.all(&[&add(1), &server(1, 1, "")]);
    held.finish(&mut bench);
    bench.ok(&server(1, 2, ""));
    let before = published(&bench);
    break_and_rebuild(&mut bench, "debug control panic events");
    assert_eq!(published(&bench), before, "as it was until the table is there");
    assert_eq!(bench.control.tables_waiting(), 1);
    held.finish(&mut bench);
    assert_eq!(published(&bench)[0].2.len(), 2);
    bench.end();
}

#[test]
fn a_panic_of_the_builder_is_tried_once_more_and_then_given_up_until_the_next_change() {
    let held = Held::default();
    let mut bench = held.bench();
    bench.control.allow_debug_commands();
    bench.all(&[&add(1), &server(1, 1, "")]);
    held.finish(&mut bench);
    bench.all(&["debug control panic tables", &server(1, 2, "")]);
    held.finish(&mut bench);
    assert_eq!(published(&bench)[0].2.len(), 2, "the second try did it");
    bench.all(&["debug control panic tables", "debug control panic tables", &server(1, 3, "")]);
    held.finish(&mut bench);
    assert_eq!((published(&bench)[0].2.len(), bench.control.tables_waiting()), (2, 0));
    bench.ok("lb conf timeout 41");
    held.finish(&mut bench);
    assert_eq!(published(&bench)[0].2.len(), 3);
    assert_eq!(bench.control.rebuilt(), 0, "control has not panicked");
    bench.end();
}

#[test]
fn a_flush_that_was_not_published_takes_no_flows_off_the_count() {
    let mut bench = served();
    for port in 0..20 {
        way(&mut bench, 4000 + port);
    }
    let live = |bench: &Bench| -> u64 {
        let vip = bench.control.model().lb.active().next().unwrap();
        vip.servers.iter().map(|server| bench.control.live_flows(server.index)).sum()
    };
    assert_eq!(live(&bench), 20);
    bench.control.allow_debug_commands();
    bench.ok("debug control panic publish");
    break_and_rebuild(&mut bench, &format!("lb flush vip {VIP}"));
    assert_eq!(live(&bench), 20);
    bench.ok(&format!("lb flush vip {VIP}"));
    assert_eq!(live(&bench), 0);
    bench.end();
}

#[test]
fn nothing_is_broken_on_purpose_unless_the_file_allows_it() {
    let mut bench = Bench::walkthrough();
    for line in ["debug control panic", "debug control hang 600", "debug worker panic 0"] {
        let error = bench.refused(line);
        assert!(error.contains("debug commands are off"), "{error}");
        assert!(error.contains("`debug-commands = true` under [unix]"), "{error}");
    }
    bench.control.allow_debug_commands();
    let error = bench.refused("debug worker panic 1");
    assert!(
        error.starts_with("1: there is no worker 1 (workers are counted from 0 to 0"),
        "{error}"
    );
    bench.ok("debug worker panic 0");
    assert!(catch_unwind(AssertUnwindSafe(|| bench.workers[0].turn())).is_err());
}
