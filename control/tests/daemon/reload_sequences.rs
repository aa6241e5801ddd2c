//! Any sequence of reloads ends in the state of the last file, and what is saved is read back.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use config::{Family, FibQuery, TomlFile};
use control::control::Draft;
use control::model::Model;
use control::reload::{self, Started};
use control::show::fib::FibStatus;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::bench::Bench;
use crate::defects::syn;
use crate::reload::{FIXED, candidate, started};

/// Command lines about few things, so that they often meet; many do not fit the state they meet.
fn line() -> impl Strategy<Value = String> {
    let link = || {
        select(vec![
            "left0",
            "GigabitEthernet0/9/0",
            "left0.7",
            "left0.8",
            "ipip0",
            "ipip1",
            "local0",
        ])
    };
    let own = select(vec![
        "10.1.0.1/24",
        "10.1.0.2/24",
        "10.2.0.1/24",
        "10.2.0.77/32",
        "10.3.0.1/30",
        "10.4.0.0/31",
        "2001:db8:1::1/64",
        "2001:db8:2::1/64",
        "fe80::1/64",
        "fe80::77/64",
    ]);
    let addresses = (link(), own, select(vec!["", "", "", "del "]))
        .prop_map(|(link, own, del)| format!("set interface ip address {del}{link} {own}"));
    let links = prop_oneof![
        (link(), any::<bool>()).prop_map(|(link, up)| {
            format!("set interface state {link} {}", if up { "up" } else { "down" })
        }),
        (link(), 1200u16..1210).prop_map(|(link, mtu)| format!("set interface mtu {mtu} {link}")),
        (select(vec!["7", "8", "7 dot1ad 9", "8 dot1q 9 inner-dot1q 3"]))
            .prop_map(|tags| format!("create sub-interfaces left0 {tags}")),
        (0u8..3, 0u8..2).prop_map(|(end, n)| {
            format!("create ipip tunnel src 10.1.0.1 dst 10.1.0.{} instance {n}", 90 + end)
        }),
        link().prop_map(|link| format!("delete sub-interface {link}")),
        link().prop_map(|link| format!("delete ipip tunnel {link}")),
        (link(), select(vec!["nat4", "nat6"]), select(vec!["", " del"]))
            .prop_map(|(link, nat, del)| format!("lb set interface {nat} in {link}{del}")),
    ];
    let hop = select(vec![
        "10.1.0.7",
        "10.2.0.7",
        "10.3.0.2",
        "ipip0",
        "ipip1",
        "2001:db8:1::7",
        "fe80::9 left0",
        "fe80::9 left0.7",
    ]);
    let to = || {
        select(vec!["0.0.0.0/0", "10.50.0.0/16", "10.2.0.77/32", "10.2.0.1/32", "2001:db8:50::/48"])
    };
    let routes = prop_oneof![
        3 => (to(), hop).prop_map(|(to, hop)| format!("ip route add {to} via {hop}")),
        1 => to().prop_map(|to| format!("ip route del {to}")),
    ];
    let hosts = select(vec!["10.1.0.7", "10.1.0.11", "10.2.0.7", "2001:db8:1::7", "fe80::9"]);
    let neighbors =
        (link(), hosts, 1u8..4, select(vec!["", "", "del "])).prop_map(|(link, host, mac, del)| {
            format!("set ip neighbor {del}{link} {host} 02:00:00:00:00:0{mac} static")
        });
    let conf = select(vec![
        "timeout 50",
        "timeout 40",
        "tcp-established-timeout 901",
        "tcp-syn-timeout 9",
        "udp-timeout 33",
        "ip4-src-address 10.1.0.1",
        "ip6-src-address 2001:db8::1",
        "tunnel-dscp 10",
        "tunnel-ttl 9",
        "too-big fragment",
        "ip4-src-entropy 10.99.0.0/16",
        "ip4-src-entropy off",
        "no-match rst",
        "gue-port 7",
        "tunnel-df set",
        "tunnel-ecn zero",
        "buckets 512",
    ]);
    let conf = conf.prop_map(|words| format!("lb conf {words}"));
    let policy = select(vec!["rst", "icmp", "drop", "del"]);
    let no_match = (select(vec!["10.10.0.0/16", "10.10.2.1/32", "2001:db8:9::/48"]), policy)
        .prop_map(|(prefix, policy)| format!("lb no-match {prefix} {policy}"));
    prop_oneof![
        4 => addresses, 4 => links, 2 => routes, 1 => neighbors, 1 => conf, 1 => no_match,
        8 => vip_line(),
    ]
}

const VIPS: [&str; 7] = [
    "10.10.2.1/32 protocol tcp port 80",
    "10.10.2.1/32 protocol udp port 80",
    "10.10.2.2/32 protocol tcp port 80-82",
    "10.10.2.2/32 protocol tcp port 81",
    "10.10.0.0/16",
    "10.1.0.11/32",
    "2001:db8:9::1/128 protocol tcp port 80",
];

fn vip_line() -> impl Strategy<Value = String> {
    let shape = select(vec![
        "encap nat4",
        "encap nat4 target_port 8080",
        "encap gre4",
        "encap gre6",
        "encap ipip",
        "encap l3dsr dscp 7",
        "encap dr",
        "encap nat4 type nodeport node_port 3000",
        "encap gue",
        "encap nat6",
    ]);
    // Short tables: each is built many times.
    let more = select(vec![
        "new_len 17",
        "new_len 31",
        "new_len 17 src_ip_sticky",
        "new_len 17 scheduler rr",
        "new_len 31 mss 1400",
        "new_len 31 tcp-syn-timeout 7 timeout 60",
        "new_len 17 mss auto",
        "new_len 17 name 7",
        "new_len 31 name b",
    ]);
    let add = (select(VIPS.to_vec()), shape, more)
        .prop_map(|(vip, shape, more)| format!("lb vip {vip} {shape} {more}"));
    let more = select(vec![
        "encap gre4",
        "encap ipip",
        "new_len 31",
        "src_ip_sticky off",
        "scheduler maglev",
        "name b",
        "encap l3dsr dscp 9",
    ]);
    let update =
        (select(VIPS.to_vec()), more).prop_map(|(vip, more)| format!("lb vip {vip} {more} update"));
    let own = select(vec![
        "10.1.0.11",
        "10.1.0.12",
        "10.2.0.13",
        "10.60.0.1",
        "10.1.0.11 10.1.0.12 10.2.0.13",
        "2001:db8:1::11",
        "10.1.0.90",
    ]);
    let words = select(vec![
        "",
        "",
        "weight 0",
        "weight 50",
        "drain",
        "drain then del",
        "undrain",
        "encap gre4",
        "encap ipip",
        "encap l3dsr dscp 3",
        "dscp 5",
        "del",
        "del flush",
        "flush",
        "drain",
        "drain then del",
        "undrain",
        "encap dr",
    ]);
    let server = (select(VIPS.to_vec()), own, words)
        .prop_map(|(vip, own, words)| format!("lb as {vip} {own} {words}"));
    prop_oneof![
        4 => add,
        1 => update,
        1 => select(VIPS.to_vec()).prop_map(|vip| format!("lb vip {vip} del")),
        8 => server,
    ]
}

/// Applies the lines that fit.
fn apply(model: &mut Model, lines: &[String]) {
    for line in lines {
        let mut draft = Draft::of(model.clone());
        if config::parse(line).and_then(|command| draft.apply(&command)).is_ok() {
            *model = draft.into_parts().0;
        }
    }
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    // ASs are listed in groups; their order may differ between boxes with the same ASs.
    lines.sort();
    lines
}

fn lines(model: &Model) -> Vec<String> {
    sorted(model.commands().iter().map(ToString::to_string).collect())
}

fn text_of(model: &Model) -> String {
    let fixed = config::Startup::parse(FIXED).unwrap().fixed;
    let text = TomlFile::render(&fixed, &model.commands());
    let started = Started { fixed, ..Started::default() };
    assert_eq!(reload::text(&started, model).as_deref(), Ok(&*text));
    text
}

/// What workers do with packets, without the numbers that things happen to have. The way to ASs that
/// are `gone` is kept for the flows they have.
fn decisions(bench: &Bench, gone: &BTreeSet<IpAddr>) -> Vec<String> {
    let control = &bench.control;
    let snapshot = control.snapshot();
    let mut all = Vec::new();
    for vip in snapshot.lb.vips.iter().flatten() {
        let policy = &snapshot.vip_policies[vip.id.index()];
        all.push(format!(
            "{} {:016x} {} {policy:?}",
            vip.key,
            vip.table.digest(),
            vip.src_ip_sticky
        ));
        for server in snapshot.lb.servers.iter().flatten().filter(|server| server.vip == vip.id) {
            if server.state != balancer::ServerState::Active {
                continue;
            }
            let path = snapshot.server_path(server.id).unwrap();
            let via = path.adjacency.and_then(|id| snapshot.adjacency(id)).map(|adjacency| {
                let link = snapshot.interface(adjacency.interface).unwrap();
                format!("{} {} {:?}", link.name, adjacency.next_hop, adjacency.rewrite)
            });
            all.push(format!(
                "{} {} {:?} {:?} {via:?}",
                vip.key, server.address, path.method, path.tunnel_source
            ));
        }
    }
    for family in [Family::Ip4, Family::Ip6] {
        let entries = control.fib(family, &FibQuery::All).entries;
        let of_gone = |row: &FibStatus| {
            let (address, _) = row.prefix.split_once('/').unwrap_or((&row.prefix, ""));
            matches!(row.source, "adjacency" | "lb")
                && row.kind == "forward"
                && gone.contains(&address.parse().unwrap())
        };
        all.extend(entries.iter().filter(|row| !of_gone(row)).map(|row| {
            format!(
                "{} {} {} {:?} {:?} {:?}",
                row.prefix, row.source, row.kind, row.interface, row.next_hop, row.reason
            )
        }));
    }
    // An index that nothing has looks like `local0`.
    let gap = |link: &dataplane::interface::Interface| &*link.name == "local0" && link.id.0 > 0;
    for link in snapshot.interfaces.iter().filter(|link| !gap(link)) {
        all.push(format!(
            "{} {:?} {} {} {} {} {:?}",
            link.name, link.mac, link.mtu, link.up, link.nat4_in, link.nat6_in, link.addresses
        ));
    }
    let prefixes = snapshot.lb.groups.prefixes().zip(&snapshot.no_match);
    all.extend(prefixes.map(|(prefix, policy)| format!("{prefix:?} {policy:?}")));
    all.push(format!("{:?} {:?}", snapshot.tunnel_policy, snapshot.lb.timeouts));
    all.sort();
    all
}

/// By VIP and AS: their indices.
fn indices(model: &Model) -> BTreeMap<String, u32> {
    let of_vip = |vip: &control::model::Vip| {
        let servers = vip.servers.iter().filter(|server| !server.removed);
        let servers =
            servers.map(|server| (format!("{} {}", vip.key, server.address), server.index));
        servers.chain([(vip.key.to_string(), vip.index)]).collect::<Vec<_>>()
    };
    model.lb.active().flat_map(|vip| of_vip(vip)).collect()
}

/// VIPs that stay what they are keep their index, and so do their ASs that stay.
fn keeps_indices(old: &Model, new: &Model) -> Result<(), TestCaseError> {
    let before = indices(old);
    let stays = |vip: &control::model::Vip| {
        let was = old.lb.find(vip.key);
        was.is_some_and(|was| config::LbVipUpdate::leads_from(&was.spec, &vip.spec))
    };
    for vip in new.lb.active().filter(|vip| stays(vip)) {
        prop_assert_eq!(before.get(&vip.key.to_string()), Some(&vip.index));
        for server in vip.servers.iter().filter(|server| !server.removed) {
            let was = before.get(&format!("{} {}", vip.key, server.address));
            prop_assert!(was.is_none_or(|index| *index == server.index));
        }
    }
    for link in new.interfaces.iter() {
        let was = old.interfaces.named(&link.name).filter(|was| was.kind == link.kind);
        prop_assert!(was.is_none_or(|was| was.id == link.id), "{}", link.name);
    }
    Ok(())
}

/// Nothing has an index that something else has, and lookups find what is there.
fn is_sound(model: &Model) -> Result<(), TestCaseError> {
    let mut seen = BTreeSet::new();
    for (index, vip) in model.lb.vips.iter() {
        prop_assert_eq!(index, vip.index);
        prop_assert!(vip.servers.iter().all(|server| seen.insert(server.index)));
        let found = model.lb.find(vip.key).map(|vip| vip.index);
        prop_assert!(vip.removed || found == Some(index));
        let named = vip.spec.name.as_ref().filter(|_| !vip.removed);
        prop_assert!(named.is_none_or(|name| model.lb.named(name).unwrap().index == index));
        let in_use = vip.servers.iter().filter(|server| !server.removed);
        for server in in_use {
            prop_assert!(model.lb.served_by(server.address).is_some());
        }
    }
    Ok(())
}

/// A box that forwards, so that there are flows.
const PREPARED: [&str; 7] = [
    "set interface state left0 up",
    "set interface state GigabitEthernet0/9/0 up",
    "set interface ip address GigabitEthernet0/9/0 10.1.0.2/24",
    "set ip neighbor GigabitEthernet0/9/0 10.1.0.11 02:00:00:00:00:11 static",
    "set ip neighbor GigabitEthernet0/9/0 10.1.0.12 02:00:00:00:00:12 static",
    "lb vip 10.10.2.1/32 protocol tcp port 80 encap gre4 new_len 31",
    "lb as 10.10.2.1/32 protocol tcp port 80 10.1.0.11 10.1.0.12",
];

/// Where clients go: to VIPs of [`VIPS`], if they are there.
const TARGETS: [(&str, u16); 4] =
    [("10.10.2.1", 80), ("10.10.2.2", 80), ("10.10.2.2", 81), ("10.10.7.7", 443)];

/// By flow: the index of its VIP, and index and epoch of its AS.
type Flows = BTreeMap<(u16, &'static str, u16), (u32, u32, u8)>;

/// The flows that a worker knows.
fn flows(bench: &mut Bench) -> Flows {
    let mut known = Flows::new();
    for port in 4000..4008 {
        for (to, service) in TARGETS {
            let path = format!("lb/flow/10.10.10.1/{port}/{to}/{service}/tcp");
            let Some(body) = bench.control.api(&path) else { continue };
            let flow: serde_json::Value = serde_json::from_str(&body).unwrap();
            if flow["why"] != "sticky" {
                continue;
            }
            let number = |value: &serde_json::Value| value.as_u64().unwrap() as u32;
            let (vip, server) = (number(&flow["vip_index"]), number(&flow["as"]["index"]));
            let of_vip = &bench.control.model().lb.vips.get(vip).unwrap().servers;
            let epoch = of_vip.iter().find(|own| own.index == server).unwrap().epoch;
            known.insert((port, to, service), (vip, server, epoch));
        }
    }
    known
}

/// Each flow stays with its AS, which may have gone, unless its VIP goes or a more specific one
/// comes.
fn keeps_flows(old: &Model, new: &Model, before: &Flows, now: &Flows) -> Result<(), TestCaseError> {
    let keys = |model: &Model| -> Vec<String> {
        model.lb.active().map(|vip| format!("{} {}", vip.key, vip.index)).collect()
    };
    let (had, has) = (keys(old), keys(new));
    for (flow, place) in before {
        let vip = old.lb.vips.get(place.0).unwrap();
        let stays = has.contains(&format!("{} {}", vip.key, place.0));
        let newer = new
            .lb
            .active()
            .filter(|other| !had.contains(&format!("{} {}", other.key, other.index)));
        let address: IpAddr = flow.1.parse().unwrap();
        if stays && !newer.into_iter().any(|other| other.network().contains(address)) {
            prop_assert_eq!(now.get(flow), Some(place), "{:?} of {}", flow, vip.key);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: 100,
        ..ProptestConfig::with_cases(8)
    })]

    #[test]
    fn what_is_saved_is_read_back_as_the_same(commands in vec(line(), 0..80)) {
        let bench = Bench::new(1);
        let mut model = bench.control.model().unconfigured();
        apply(&mut model, &commands);
        let text = text_of(&model);
        let candidate = candidate(&bench, &text)
            .unwrap_or_else(|wrong| panic!("{}\n{text}", wrong.report()));
        prop_assert_eq!(&candidate.waiting, &[""; 0]);
        prop_assert_eq!(lines(&candidate.model), lines(&model), "{}", text);
    }

    #[test]
    fn any_sequence_of_reloads_ends_in_the_state_of_the_last_file(
        files in vec((prop::bool::weighted(0.8), vec(line(), 0..60), vec(line(), 0..12)), 1..5),
    ) {
        let mut bench = started(FIXED);
        for (n, (prepared, of_file, by_hand)) in files.iter().enumerate() {
            let mut model = bench.control.model().unconfigured();
            // Every other file goes on from what is there, so that much stays.
            if n % 2 == 1 {
                model = bench.control.model().clone();
            }
            if *prepared {
                apply(&mut model, &PREPARED.map(str::to_owned));
            }
            apply(&mut model, of_file);
            let text = text_of(&model);
            for line in by_hand {
                if let Ok(command) = config::parse(line) {
                    let _ = bench.control.execute(&command);
                }
            }
            let _ = bench.control.execute(&config::parse("set interface state left0 up").unwrap());
            bench.control.publish();
            bench.turn();
            for port in 4000..4008 {
                TARGETS.iter().for_each(|to| bench.arrive(0, &syn(port, *to)));
            }
            let held = flows(&mut bench);
            let before = bench.control.model().clone();
            let candidate = candidate(&bench, &text)
                .unwrap_or_else(|wrong| panic!("{}\n{text}", wrong.report()));
            let foretold = bench.control.diff(&candidate).unwrap().0;
            let done = bench.control.reload(&candidate, None).unwrap();
            prop_assert_eq!(foretold.changes, done.changes);
            bench.control.publish();
            let now = flows(&mut bench);
            keeps_flows(&before, bench.control.model(), &held, &now)?;
            let fresh = started(&text);
            prop_assert_eq!(sorted(bench.config()), sorted(fresh.config()));
            let servers = bench.control.model().lb.vips.values().flat_map(|vip| &vip.servers);
            let gone = servers.filter(|server| server.removed).map(|server| server.address);
            let gone: BTreeSet<IpAddr> = gone.collect();
            prop_assert_eq!(decisions(&bench, &gone), decisions(&fresh, &gone));
            keeps_indices(&before, bench.control.model())?;
            is_sound(bench.control.model())?;
            // Once more: nothing is left to be done.
            let again = bench.control.reload(&candidate, None).unwrap();
            prop_assert_eq!(again.changes.0.len(), 0);
            bench.turn();
        }
        bench.end();
    }
}
