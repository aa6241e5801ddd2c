//! When kept state is used, when it is not, and who may have it.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};

use control::state::{MAX_GAP_S, Situation};

use super::{HZ, Place, situation, state_line};
use crate::bench::{Bench, ROUTED};
use crate::defects::syn;

const VIP: &str = "10.10.2.2/32 protocol tcp port 8080";
const FLOWS: u16 = 50;

/// The walk-through over kept state.
fn daemon(place: &Place, now: &Situation) -> Bench {
    let mut bench = Bench::kept(&place.0, now).unwrap();
    bench.all(&ROUTED);
    bench.all(&[
        &format!("lb vip {VIP} encap nat4 target_port 80"),
        &format!("lb as {VIP} 192.168.1.1 192.168.1.3"),
    ]);
    bench.control.settle_state();
    bench
}

/// Leaves flows behind.
fn leave_flows(place: &Place) {
    let mut bench = daemon(place, &situation(1, 0));
    (0..FLOWS).for_each(|port| bench.arrive(0, &syn(4000 + port, ("10.10.2.2", 8080))));
}

fn flows(bench: &Bench) -> u64 {
    bench.control.vips().vips[0].servers.iter().map(|server| server.flows).sum()
}

/// What the next daemon says of the state; it must be one that works in any case.
fn next(place: &Place, now: &Situation) -> (String, u64) {
    let mut bench = daemon(place, now);
    let (line, kept) = (state_line(&mut bench), flows(&bench));
    bench.arrive(0, &syn(3000 + kept as u16, ("10.10.2.2", 8080)));
    assert_eq!(flows(&bench), kept + 1);
    bench.end();
    (line, kept)
}

#[test]
fn each_circumstance_that_differs_is_named_and_nothing_is_used() {
    let now = situation(1, 1);
    let cases: [(Situation, &str); 5] = [
        (Situation { boot_id: 78, ..now.clone() }, "boot id: file 0"),
        (Situation { tsc_hz: 2 * HZ, ..now.clone() }, "TSC frequency: file 1000, now 2000 Hz"),
        (Situation { fingerprint: 1, ..now.clone() }, "hash key: file "),
        (Situation { tsc: 5, ..now.clone() }, "time: file second "),
        (situation(1, 60 + MAX_GAP_S), "time: file second "),
    ];
    for (other, expected) in cases {
        let place = Place::new("differs");
        leave_flows(&place);
        let (line, kept) = next(&place, &other);
        assert!(line.contains(&format!(", started empty: {expected}")), "{line}");
        assert_eq!(kept, 0, "{line}");
        assert_eq!(place.tables().len(), 2, "what is of no use is removed");
        // From now on that is how it is; the key is the one that control has in truth.
        let (tsc, fingerprint) = (other.tsc + other.tsc_hz, now.fingerprint);
        let (line, kept) = next(&place, &Situation { tsc, fingerprint, ..other });
        assert!(line.ends_with(", 1 flows restored"), "{line}");
        assert_eq!(kept, 1);
    }
    let place = Place::new("same");
    leave_flows(&place);
    assert_eq!(next(&place, &now).1, u64::from(FLOWS));
}

/// Expiry is compared modulo 2^16 seconds: 2^15 later, flows that ended would be alive again.
#[test]
fn flows_do_not_come_back_to_life() {
    for after in [5_000, MAX_GAP_S, MAX_GAP_S + 60, 32_768 + 60, 40_000, 65_536, 200_000] {
        let place = Place::new("gap");
        leave_flows(&place);
        assert_eq!(next(&place, &situation(1, after)).1, 0, "after {after} s");
    }
}

#[test]
fn a_damaged_header_is_noticed() {
    let place = Place::new("header");
    leave_flows(&place);
    let file = File::options().write(true).open(place.0.join("directory")).unwrap();
    // Both of them.
    file.write_all_at(&[0xa5; 40], 24).unwrap();
    file.write_all_at(&[0xa5; 40], 512 + 24).unwrap();
    let (line, kept) = next(&place, &situation(1, 1));
    assert!(line.ends_with("started empty: checksum: the header is damaged"), "{line}");
    assert_eq!(kept, 0);
}

/// Random bytes all over the tables and the directory: what is left is whole, and counted right.
#[test]
fn torn_entries_and_records_are_dropped() {
    let place = Place::new("noise");
    leave_flows(&place);
    let mut random = 0x9e37_79b9_u64;
    let mut next_random = move || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        random >> 20
    };
    let buckets = File::options().write(true).open(place.0.join("buckets-0-0-1024")).unwrap();
    for _ in 0..2_000 {
        buckets.write_all_at(&[next_random() as u8], next_random() % 65_536).unwrap();
    }
    let mut bench = daemon(&place, &situation(1, 1));
    let json: serde_json::Value = serde_json::from_str(&bench.control.api("lb").unwrap()).unwrap();
    let state = |name: &str| json["state"][name].as_u64().unwrap();
    assert!(state("torn") > 50, "{json}");
    assert!((1..=u64::from(FLOWS)).contains(&state("restored")), "{json}");
    assert_eq!(flows(&bench), state("restored"));
    // Nothing is counted twice or for ever, whenever an entry says that it expires.
    for _ in 0..3 {
        bench.pass(15_000_000);
        (0..100).for_each(|_| bench.turn());
    }
    assert_eq!(flows(&bench), 0);
    assert!(bench.ok("show lb").contains("usage: 0 / 4096"));
    bench.end();
    // Without its record, an AS's flows are nobody's.
    let place = Place::new("record");
    leave_flows(&place);
    let file = File::options().write(true).open(place.0.join("directory")).unwrap();
    let servers = 4096 + balancer::MAX_VIPS as u64 * 32;
    file.write_all_at(&[0xee], servers + 32 + 8).unwrap();
    let (line, kept) = next(&place, &situation(1, 1));
    assert!(line.ends_with(&format!(", {kept} flows restored")), "{line}");
    assert!((1..u64::from(FLOWS)).contains(&kept), "those of the other AS: {kept}");
}

#[test]
fn two_daemons_cannot_share() {
    let place = Place::new("lock");
    let bench = daemon(&place, &situation(1, 0));
    let error = Bench::kept(&place.0, &situation(1, 0)).err().unwrap().to_string();
    assert!(error.ends_with("another sluiced has its state there"), "{error}");
    assert!(error.starts_with("[state] dir /dev/shm/sluice-state-"), "{error}");
    bench.end();
    daemon(&place, &situation(1, 1)).end();
}

#[test]
fn nobody_else_may_look() {
    let place = Place::new("modes");
    leave_flows(&place);
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&place.0), 0o700);
    let names = fs::read_dir(&place.0).unwrap().map(|entry| entry.unwrap().path());
    let names: Vec<_> = names.collect();
    assert_eq!(names.len(), 3);
    assert!(names.iter().all(|name| mode(name) == 0o600), "{names:?}");
    let refused = || Bench::kept(&place.0, &situation(1, 1)).err().unwrap().to_string();
    let open = |path: &std::path::Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    open(&place.0, 0o750);
    assert!(refused().ends_with("mode 750 lets others in: chmod 700 would be right"));
    open(&place.0, 0o700);
    open(&place.0.join("cells-0-0-1024"), 0o644);
    let error = refused();
    assert!(error.contains("cells-0-0-1024: mode 644 lets others in: chmod 600"), "{error}");
    open(&place.0.join("cells-0-0-1024"), 0o600);
    assert_eq!(next(&place, &situation(1, 1)).1, u64::from(FLOWS));
}

#[test]
fn links_are_not_followed() {
    let place = Place::new("links");
    leave_flows(&place);
    let elsewhere = Place::new("links-elsewhere");
    symlink(&place.0, &elsewhere.0).unwrap();
    let error = Bench::kept(&elsewhere.0, &situation(1, 1)).err().unwrap().to_string();
    assert!(error.ends_with("not a directory; a symbolic link will not do"), "{error}");
    fs::remove_file(&elsewhere.0).unwrap();
    for name in ["directory", "buckets-0-0-1024"] {
        let (path, aside) = (place.0.join(name), place.0.join("aside"));
        fs::rename(&path, &aside).unwrap();
        symlink(&aside, &path).unwrap();
        let error = Bench::kept(&place.0, &situation(1, 1)).err().unwrap().to_string();
        assert!(error.contains(&format!("{name} is a symbolic link")), "{error}");
        fs::rename(&aside, &path).unwrap();
        // A second name would outlive our removing it.
        fs::hard_link(&path, &aside).unwrap();
        let error = Bench::kept(&place.0, &situation(1, 1)).err().unwrap().to_string();
        assert!(error.contains(&format!("{name} is not a file of its own")), "{error}");
        fs::remove_file(&aside).unwrap();
    }
    assert_eq!(next(&place, &situation(1, 1)).1, u64::from(FLOWS));
}

#[test]
fn without_a_directory_nothing_is_kept_and_show_says_so() {
    let mut bench = Bench::walkthrough();
    assert_eq!(state_line(&mut bench), "not kept: no [state] dir");
    bench.control.settle_state();
    bench.end();
    let error = Bench::kept("/proc/sluice".as_ref(), &situation(1, 0)).err().unwrap();
    assert!(error.to_string().starts_with("[state] dir /proc/sluice: "), "{error}");
}
