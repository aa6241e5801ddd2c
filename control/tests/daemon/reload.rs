//! Reloading: only the difference is applied, a bad file changes nothing, and what is not confirmed
//! is undone.

use std::sync::Arc;

use balancer::VipId;
use control::reload::{Candidate, Checked, Mistakes, Reloaded, Source, Started};

use crate::bench::Bench;
use crate::defects::syn;

/// The sections of a bench that a start takes up.
pub(crate) const FIXED: &str = "\
[cpu]
workers = 1
[[dpdk.dev]]
name = \"left0\"
vdev = \"net_null0\"
[[dpdk.dev]]
name = \"GigabitEthernet0/9/0\"
vdev = \"net_null1\"
[unix]
cli-listen = \"/tmp/sluice-reload-test.sock\"
";

const LINKS: &str = "\
[[interface]]
name = \"left0\"
address = [\"10.10.10.254/24\"]
[[interface]]
name = \"GigabitEthernet0/9/0\"
address = [\"192.168.1.254/24\"]
lb-nat4-in = true
[[neighbor]]
interface = \"GigabitEthernet0/9/0\"
address = \"192.168.1.1\"
mac = \"02:00:00:00:01:01\"
[[neighbor]]
interface = \"GigabitEthernet0/9/0\"
address = \"192.168.1.2\"
mac = \"02:00:00:00:01:02\"
";

/// A NAT VIP on port 80 with these ASs of 192.168.1.0/24, and further keys.
fn vip(last: u8, servers: &[&str], keys: &str) -> String {
    let servers: Vec<_> = servers.iter().map(|server| format!("\"192.168.1.{server}\"")).collect();
    format!(
        "[[vip]]\nprefix = \"10.10.2.{last}/32\"\nprotocol = \"tcp\"\nport = 80\nencap = \"nat4\"\n\
         new-len = 1021\n{keys}\nas = [{}]\n",
        servers.join(", ")
    )
}

fn file(parts: &[String]) -> String {
    [FIXED, LINKS].concat() + &parts.concat()
}

/// A bench that was started with this file.
pub(crate) fn started(text: &str) -> Bench {
    let mut bench = Bench::new(1);
    let fixed = config::Startup::parse(text).unwrap().fixed;
    bench.control.set_started(Started { file: "/nonexistent".into(), fixed, cpus: vec![0, 1] });
    reload(&mut bench, text).unwrap();
    bench.turn();
    bench
}

pub(crate) fn candidate(bench: &Bench, text: &str) -> Result<Candidate, Mistakes> {
    let checked = Checked::read(Source::Text(text.to_owned()), &[0, 1])?;
    Ok(checked.onto(bench.control.model()))
}

fn reload_within(
    bench: &mut Bench,
    text: &str,
    confirm_s: Option<u32>,
) -> Result<Reloaded, config::Problem> {
    let candidate = candidate(bench, text).unwrap_or_else(|wrong| panic!("{}", wrong.report()));
    let done = bench.control.reload(&candidate, confirm_s);
    bench.control.publish();
    done
}

pub(crate) fn reload(bench: &mut Bench, text: &str) -> Result<Reloaded, config::Problem> {
    reload_within(bench, text, None)
}

/// Where the ports begin that the one client has for a VIP: two VIPs share ASs.
fn first_port(last: u8) -> u16 {
    1000 * u16::from(last)
}

/// Flows of the one client to a VIP from so many ports.
fn flows(bench: &mut Bench, last: u8, count: u16) {
    for port in 0..count {
        bench.arrive(0, &syn(first_port(last) + port, (&format!("10.10.2.{last}"), 80)));
    }
}

/// The AS of a flow that [`flows`] made, and why it gets that.
fn server_of(bench: &mut Bench, last: u8, port: u16) -> (String, String) {
    let path = format!("lb/flow/10.10.10.1/{}/10.10.2.{last}/80/tcp", first_port(last) + port);
    let flow: serde_json::Value = serde_json::from_str(&bench.control.api(&path).unwrap()).unwrap();
    (flow["why"].to_string(), flow["as"]["address"].to_string())
}

#[test]
fn only_the_vip_that_changes_is_touched() {
    let others = [vip(1, &["1", "2"], ""), vip(3, &["7"], "")];
    let with = |vip: String| file(&[others[0].clone(), vip, others[1].clone()]);
    let text = with(vip(2, &["1", "2"], "name = \"b\""));
    let mut bench = started(&text);
    for last in 1..=2 {
        flows(&mut bench, last, 40);
    }
    let before = bench.control.vips();
    let (old, lb) = (bench.control.model().clone(), Arc::clone(&bench.control.snapshot().lb));
    let held: Vec<_> = (0..40).map(|port| server_of(&mut bench, 2, port)).collect();

    let changed = vip(2, &["2", "9"], "name = \"b\"\nmss = 1400");
    let text = with(changed);
    let done = reload(&mut bench, &text).unwrap();
    let name = "lb vip 10.10.2.2/32 protocol tcp port 80 encap nat4 type clusterip target_port 80 \
                new_len 1021";
    let own = "lb as 10.10.2.2/32 protocol tcp port 80";
    assert_eq!(
        done.changes.to_string(),
        format!(
            "- {own} 192.168.1.1\n~ {name} mss 1400 name b  # was: {name} name b\n\
             + {own} 192.168.1.9\n"
        )
    );
    let new = bench.control.model();
    for index in [1, 3] {
        // The very same, not only equal: nothing was compiled anew.
        assert!(Arc::ptr_eq(old.lb.vips.get(index).unwrap(), new.lb.vips.get(index).unwrap()));
        let id = VipId::new(index).unwrap();
        let now = bench.control.snapshot().lb.vip(id).unwrap();
        let compiled = lb.vip(id).unwrap();
        assert!(Arc::ptr_eq(&compiled.table, &now.table), "vip {index}");
    }
    assert!(Arc::ptr_eq(&old.interfaces, &new.interfaces));
    // The changed one keeps what it has in common: its index, counters and flows.
    let after = bench.control.vips();
    assert_eq!(before.vips[1].index, after.vips[1].index);
    assert_eq!(after.vips[1].counters.first_session_packets, 40);
    let indices = |vips: &control::show::vips::Vips, last: &str| {
        let server = vips.vips[1].servers.iter().find(|s| s.address.to_string().ends_with(last));
        server.map(|server| (server.index, server.flows, server.removed))
    };
    let (index, flows, _) = indices(&before, ".1").unwrap();
    assert_eq!(indices(&after, ".1"), Some((index, flows, true)), "a tombstone, with its flows");
    assert_eq!(indices(&before, ".2"), indices(&after, ".2"));
    let now: Vec<_> = (0..40).map(|port| server_of(&mut bench, 2, port)).collect();
    assert_eq!(held, now);
    bench.end();
}

#[test]
fn the_same_file_changes_nothing() {
    let text = file(&[vip(1, &["1", "2"], ""), vip(2, &["2"], "src-ip-sticky = true")]);
    let mut bench = started(&text);
    let (model, lb) = (bench.control.model().clone(), Arc::clone(&bench.control.snapshot().lb));
    let done = reload(&mut bench, &text).unwrap();
    assert!(done.changes.0.is_empty() && done.restart_needed.is_empty());
    assert!(Arc::ptr_eq(&lb, &bench.control.snapshot().lb));
    assert_eq!(bench.control.model().lb.vips.since(&model.lb.vips).count(), 0);
    bench.end();
}

#[test]
fn what_commands_have_made_goes_and_is_listed_first() {
    let text = file(&[vip(1, &["1"], "")]);
    let mut bench = started(&text);
    bench.all(&[
        "create sub-interfaces left0 7",
        "set interface ip address left0.7 10.7.0.1/24",
        "ip route add 10.70.0.0/16 via 10.7.0.9",
        "lb vip 10.10.2.9/32 protocol tcp port 80 encap nat4",
        "lb as 10.10.2.9/32 protocol tcp port 80 192.168.1.5",
        "lb as 10.10.2.1/32 protocol tcp port 80 192.168.1.5",
        "lb conf timeout 99 ip4-src-address 10.1.1.1",
        "lb no-match 10.10.0.0/16 rst",
    ]);
    let with_more = file(&[vip(1, &["1"], "mss = 1300"), vip(4, &["1"], "")]);
    let done = reload(&mut bench, &with_more).unwrap();
    let lines: Vec<_> = done.changes.to_string().lines().map(str::to_owned).collect();
    assert_eq!(
        lines[..7],
        [
            "- lb no-match 10.10.0.0/16 rst",
            "- lb vip 10.10.2.9/32 protocol tcp port 80 encap nat4 type clusterip target_port 80",
            "- lb as 10.10.2.1/32 protocol tcp port 80 192.168.1.5",
            "- lb conf timeout 99",
            "- lb conf ip4-src-address 10.1.1.1",
            "- ip route add 10.70.0.0/16 via 10.7.0.9 left0.7",
            "- create sub-interfaces left0 7 dot1q 7",
        ]
    );
    assert!(lines[7..].iter().all(|line| !line.starts_with('-')), "{lines:#?}");
    assert_eq!(bench.config(), started(&with_more).config());
    assert!(done.to_string().ends_with("reloaded request: 7 removed, 2 added, 1 changed\n"));
    bench.end();
}

#[test]
fn a_bad_file_changes_nothing_and_is_reported_as_at_a_start() {
    let good = file(&[vip(1, &["1"], "")]);
    let bench = started(&good);
    let before = (bench.config(), bench.control.snapshot().generation);
    let bad = good.replace("192.168.1.1\"", "10.10.10.254\"").replace("workers = 1", "worker = 1");
    let path = std::env::temp_dir().join(format!("sluice-reload-{}.toml", std::process::id()));
    std::fs::write(&path, &bad).unwrap();
    let wrong = Checked::read(Source::File(path.clone()), &[0, 1]).err().unwrap();
    assert_eq!(wrong.report(), control::daemon::load(&path).unwrap_err());
    std::fs::remove_file(&path).unwrap();
    assert!(wrong.report().contains("unknown key `worker`"), "{}", wrong.report());
    let place = &wrong.list()[0];
    assert_eq!((place.line, place.column, &*place.token), (Some(2), Some(1), "worker"));
    assert_eq!(before, (bench.config(), bench.control.snapshot().generation));
    bench.end();
}

#[test]
fn without_confirmation_it_is_undone() {
    let (old, new) =
        (file(&[vip(1, &["1", "2"], "")]), file(&[vip(1, &["2"], ""), vip(2, &["1"], "")]));
    let mut bench = started(&old);
    flows(&mut bench, 1, 40);
    let (config, vips) = (bench.config(), bench.control.vips().vips);
    reload_within(&mut bench, &new, Some(30)).unwrap();
    assert_eq!(bench.control.reload_pending_s(), Some(30));
    bench.pass(29_000);
    assert_eq!(bench.config(), started(&new).config());
    // What is done meanwhile goes with it.
    bench.ok("lb vip 10.10.2.7/32 protocol tcp port 80 encap nat4");
    bench.pass(1_000);
    assert_eq!(bench.config(), config);
    assert_eq!(bench.control.reload_pending_s(), None);
    // The AS that was away has its flows as before.
    let after = bench.control.vips().vips;
    let all = |vips: &[control::show::vips::VipStatus]| -> Vec<_> {
        vips[0].servers.iter().map(|s| (s.index, s.address, s.flows, s.removed)).collect()
    };
    assert_eq!(all(&after), all(&vips));
    bench.pass(100_000);
    assert_eq!(bench.config(), config, "once");
    bench.end();
}

#[test]
fn a_confirmed_reload_stays_and_only_one_waits() {
    let texts = [1, 2, 3].map(|last| file(&[vip(last, &["1"], "")]));
    let mut bench = started(&texts[0]);
    let first = bench.config();
    let reason = |problem: config::Problem| problem.reason;
    assert_eq!(
        bench.control.confirm_reload().map_err(reason),
        Err("no reload is to be confirmed".into())
    );
    assert!(bench.control.cancel_reload().is_err());
    reload_within(&mut bench, &texts[1], Some(10)).unwrap();
    bench.pass(9_000);
    // Without `confirm` it would be unclear what is undone.
    let refused = reload(&mut bench, &texts[2]).unwrap_err();
    assert!(refused.reason.contains("still to be confirmed"), "{refused:?}");
    assert_eq!(bench.config(), started(&texts[1]).config());
    // With it, the time begins anew, and the way back leads to where nobody objected.
    reload_within(&mut bench, &texts[2], Some(10)).unwrap();
    bench.pass(9_000);
    let second = bench.config();
    assert_eq!(second, started(&texts[2]).config());
    let undone = bench.control.cancel_reload().unwrap();
    bench.control.publish();
    assert!(undone.starts_with("- lb vip 10.10.2.3/32"), "{undone}");
    assert_eq!(bench.config(), first);
    reload_within(&mut bench, &texts[2], Some(10)).unwrap();
    bench.control.confirm_reload().unwrap();
    bench.pass(20_000);
    assert_eq!(bench.config(), second);
    bench.end();
}

#[test]
fn what_takes_a_restart_is_said_and_the_rest_applies() {
    let mut bench = started(&file(&[vip(1, &["1"], "")]));
    let more = file(&[vip(1, &["1", "2"], "")])
        .replace("workers = 1", "workers = 2")
        .replace("[unix]", "[[dpdk.dev]]\nname = \"new0\"\nvdev = \"net_null2\"\n[unix]")
        + "[punt]\ntap = \"sluice0\"\n[lb]\nno-match = \"punt\"\n\
           [[interface]]\nname = \"new0\"\naddress = [\"10.77.0.1/24\"]\n\
           [[route]]\nprefix = \"10.78.0.0/16\"\nvia = \"10.77.0.9\"\n";
    let done = reload(&mut bench, &more).unwrap();
    assert_eq!(
        done.to_string(),
        "+ lb as 10.10.2.1/32 protocol tcp port 80 192.168.1.2\n\
         restart needed: cpu.workers 1 → 2\n\
         restart needed: dpdk.dev.new0 (not set) → { name = \"new0\", vdev = \"net_null2\" }\n\
         restart needed: punt.tap (not set) → \"sluice0\"\n\
         restart needed: set interface ip address new0 10.77.0.1/24\n\
         restart needed: set interface state new0 up\n\
         restart needed: ip route add 10.78.0.0/16 via 10.77.0.9\n\
         restart needed: lb conf no-match punt\n\
         reloaded request: 0 removed, 1 added, 0 changed\n"
    );
    bench.end();
}

#[test]
fn names_and_addresses_may_go_round() {
    let names = |a: &str, b: &str| {
        file(&[
            vip(1, &["1"], &format!("name = \"{a}\"")),
            vip(2, &["1"], &format!("name = \"{b}\"")),
        ])
    };
    let mut bench = started(&names("a", "b"));
    let done = reload(&mut bench, &names("b", "a")).unwrap();
    assert_eq!((done.changes.0.len(), bench.config()), (2, started(&names("b", "a")).config()));
    // An error names who has a name, so the directory has to be right.
    for (name, vip) in [("a", "10.10.2.2/32"), ("b", "10.10.2.1/32")] {
        let line = format!("lb vip 10.10.2.9/32 protocol tcp port 80 encap nat4 name {name}");
        let taken = bench.refused(&line);
        assert!(taken.contains(vip), "{taken}");
    }
    // The links exchange their networks, the tunnel its ends, and an AS becomes a VIP.
    let round = names("b", "a")
        .replace("10.10.10.254/24", "@")
        .replace("192.168.1.254/24", "10.10.10.254/24")
        .replace('@', "192.168.1.254/24")
        .replace(
            "[[neighbor]]\ninterface = \"GigabitEthernet0/9/0\"",
            "[[neighbor]]\ninterface = \"left0\"",
        )
        .replace("\"192.168.1.1\"", "\"192.168.1.2\"")
        .replace(
            "192.168.1.2\"\nmac = \"02:00:00:00:01:01",
            "192.168.1.1\"\nmac = \"02:00:00:00:01:01",
        )
        + "[[vip]]\nprefix = \"192.168.1.1/32\"\n";
    reload(&mut bench, &round).unwrap();
    assert_eq!(bench.config(), started(&round).config());
    reload(&mut bench, &names("a", "b")).unwrap();
    assert_eq!(bench.config(), started(&names("a", "b")).config());
    bench.end();
}

#[test]
fn another_kind_of_vip_is_a_new_one() {
    let nat = file(&[vip(1, &["1", "2"], "")]);
    let mut bench = started(&nat);
    flows(&mut bench, 1, 10);
    let gre = nat.replace("encap = \"nat4\"", "encap = \"gre4\"");
    let diff = bench.control.diff(&candidate(&bench, &gre).unwrap()).unwrap();
    let impact = diff.1.work_out();
    assert_eq!((impact.flows_reselected, impact.flows_kept, impact.vips.len()), (10, 0, 0));
    let index = bench.control.vips().vips[0].index;
    let done = reload(&mut bench, &gre).unwrap();
    let signs: String = done.changes.to_string().lines().map(|line| &line[..1]).collect();
    assert_eq!(signs, "-+++");
    assert_ne!(bench.control.vips().vips[0].index, index);
    assert_eq!(bench.config(), started(&gre).config());
    bench.end();
}

#[test]
fn a_diff_foretells_and_changes_nothing() {
    let all = ["1", "2", "3", "4", "5", "6", "7", "8"];
    let old = file(&[vip(1, &all, ""), vip(2, &all, ""), vip(3, &["1"], "")]);
    let mut bench = started(&old);
    flows(&mut bench, 1, 60);
    flows(&mut bench, 3, 10);
    let new = file(&[vip(1, &all[1..], ""), vip(2, &all, "new-len2")])
        .replace("new-len = 1021\nnew-len2", "new-len = 2048")
        + "[lb]\nbuckets = 4096\n";
    let (model, generation) = (bench.config(), bench.control.snapshot().generation);
    let gone = bench.control.vips().vips[0].servers[0].flows;
    assert!(gone > 0);
    let tables = |bench: &Bench| {
        [1, 2].map(|vip| {
            Arc::clone(&bench.control.snapshot().lb.vip(VipId::new(vip).unwrap()).unwrap().table)
        })
    };
    let before = tables(&bench);

    let (diff, plan) = bench.control.diff(&candidate(&bench, &new).unwrap()).unwrap();
    let impact = plan.work_out();
    assert_eq!((bench.config(), bench.control.snapshot().generation), (model, generation));
    assert_eq!((impact.flows_kept, impact.flows_reselected), (gone, 10));
    // One table of 1021 slots for the first two VIPs and one for the third; then two of their own.
    assert_eq!((impact.table_bytes_before, impact.table_bytes_after), (2 * 1021, 1021 + 2048));
    assert_eq!(impact.sticky_bytes_after, 4 * impact.sticky_bytes_before);
    let text = impact.to_string();
    assert!(text.starts_with("vip 10.10.2.1/32 protocol tcp port 80: "), "{text}");

    assert_eq!(reload(&mut bench, &new).unwrap().changes, diff.changes);
    let after = tables(&bench);
    let holder = |table: &balancer::NewFlowTable, slot: usize| {
        table.members()[table.member_in_slot(slot).unwrap()].address
    };
    let differing = (0..1021).filter(|slot| holder(&before[0], *slot) != holder(&after[0], *slot));
    let moved: Vec<_> = impact.vips.iter().map(|vip| (vip.slots_moved, vip.slots)).collect();
    assert_eq!(moved[0], (differing.count() as u32, 1021));
    assert!(moved[0].0 >= 1021 / 8 && moved[0].0 < 1021 / 4, "{moved:?}");
    // Of another length: in proportion to all hashes.
    let hashes = (0..1_000_000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let share = hashes.filter(|hash| {
        holder(&before[1], before[1].slot_of(*hash)) != holder(&after[1], after[1].slot_of(*hash))
    });
    let (actual, foretold) = (share.count() as f64 / 1e6, f64::from(moved[1].0) / 2048.0);
    assert!((actual - foretold).abs() < 0.03, "{actual} {foretold}");
    bench.end();
}

#[test]
fn settings_that_are_left_out_go_back_to_their_defaults() {
    let key = std::env::temp_dir().join(format!("sluice-reload-{}.key", std::process::id()));
    std::fs::write(&key, "sixteen bytes at least").unwrap();
    let plain = file(&[vip(1, &["1", "2"], "")]);
    let set = format!(
        "{plain}[lb]\ntimeout = 77\nip4-src-address = \"10.5.5.5\"\nhash-key-file = \"{}\"\n",
        key.display()
    );
    let mut bench = started(&plain);
    let fingerprint = bench.control.hash_fingerprint().to_owned();
    reload_within(&mut bench, &set, Some(5)).unwrap();
    assert_ne!(bench.control.hash_fingerprint(), fingerprint);
    assert_eq!(bench.config(), started(&set).config());
    bench.pass(5_000);
    assert_eq!(bench.control.hash_fingerprint(), fingerprint, "undone with the rest");
    assert!(reload(&mut bench, &set).unwrap().rehashed);
    let built = bench.control.snapshot().lb.vip(VipId::new(1).unwrap()).unwrap().table.digest();
    assert!(!reload(&mut bench, &set).unwrap().rehashed);
    assert_eq!(
        bench.control.snapshot().lb.vip(VipId::new(1).unwrap()).unwrap().table.digest(),
        built
    );
    reload(&mut bench, &plain).unwrap();
    assert_eq!(bench.control.hash_fingerprint(), fingerprint);
    assert_eq!(bench.config(), started(&plain).config());
    std::fs::remove_file(&key).unwrap();
    bench.end();
}

#[test]
fn command_files_are_part_of_the_configuration() {
    let folder = std::env::temp_dir().join(format!("sluice-reload-exec-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (outer, inner) = (folder.join("outer.cli"), folder.join("inner.cli"));
    let vip = "lb vip 10.10.2.5/32 protocol tcp port 80 encap nat4";
    let script = format!("show version\n{vip}\nexec {}\nlb conf timeout 70\n", inner.display());
    std::fs::write(&outer, script).unwrap();
    std::fs::write(&inner, "lb as 10.10.2.5/32 protocol tcp port 80 192.168.1.1\n").unwrap();
    let text = file(&[]).replace("[unix]", &format!("[unix]\nexec = \"{}\"", outer.display()));
    let mut bench = started(&text);
    let config = bench.config();
    assert_eq!(config.iter().filter(|line| line.contains("10.10.2.5/32")).count(), 2);
    assert!(config.contains(&"lb conf timeout 70".to_owned()));
    std::fs::write(&inner, "lb as 10.10.2.5/32 protocol tcp port 80 192.168.1.2\n").unwrap();
    let done = reload(&mut bench, &text).unwrap();
    assert_eq!((done.changes.0.len(), done.restart_needed.len()), (2, 0));
    // A mistake is found in whatever file it is, and what follows from it is found, too.
    std::fs::write(&inner, "\nlb as 10.10.2.6/32 protocol tcp port 80 192.168.1.2\n").unwrap();
    let wrong = candidate(&bench, &text).unwrap_err().list();
    let place = (wrong[0].file.clone(), wrong[0].line, wrong[0].column);
    assert_eq!(place, (inner.display().to_string(), Some(2), Some(7)));
    std::fs::write(&inner, format!("exec {}\n", outer.display())).unwrap();
    let wrong = candidate(&bench, &text.replace(vip, "")).unwrap_err();
    assert!(wrong.report().contains("more than 8 deep"), "{}", wrong.report());
    std::fs::remove_file(&inner).unwrap();
    let wrong = candidate(&bench, &text).unwrap_err();
    assert!(wrong.report().contains("outer.cli:3:6"), "{}", wrong.report());
    std::fs::remove_dir_all(&folder).unwrap();
    bench.end();
}
