//! Each mode on a few thousand packets. No time is judged: only that packets go where they should.

mod short_experiment;

use benches::cores::Cores;
use benches::experiment::{Experiment, Outcome};
use benches::family::Family;
use benches::flow::Renewal;
use benches::mode::Mode;
use benches::pcap_harness::mac_of;
use benches::recording::Recording;
use benches::service::{Service, VipPorts};
use benches::traffic::{Protocol, Size, Traffic, TrafficSpec};
use dataplane::interface::MacAddress;

use short_experiment::short_experiment;

fn experiment(modes: &[Mode], protocol: Protocol, size: Size, renewal: Renewal) -> Experiment {
    let spec = TrafficSpec { family: Family::Ip4, flows: 1000, size, protocol, renewal };
    Experiment { repeats: 2, ..short_experiment(spec, modes.to_vec()) }
}

fn run(experiment: &Experiment) -> Outcome {
    experiment.run(&Cores::choose(&[], 1).unwrap()).unwrap()
}

const NO_RENEWAL: Renewal = Renewal::PerSecond(0);

/// The experiment itself fails when a packet is lost, goes elsewhere than to an AS, moves to another
/// AS, or leaves with a wrong checksum.
#[test]
fn packets_of_every_kind_are_forwarded() {
    let modes = [Mode::Io, Mode::Macswap, Mode::Ip4, Mode::LbNat4];
    for (protocol, size) in [
        (Protocol::Udp, Size::Fixed(64)),
        (Protocol::Tcp, Size::Imix),
        (Protocol::Syn, Size::Fixed(1518)),
    ] {
        let outcome = run(&experiment(&modes, protocol, size, NO_RENEWAL));
        assert_eq!(outcome.modes.len(), 4);
        assert!(outcome.passed.received > 1000);
        assert_eq!(outcome.passed.received, outcome.passed.sent);
    }
}

const DIRECT: [Mode; 9] = [
    Mode::Io,
    Mode::LbGre4,
    Mode::LbGre6,
    Mode::LbIpip,
    Mode::LbIpip6,
    Mode::LbGue,
    Mode::LbGue6,
    Mode::LbL3dsr,
    Mode::LbDr,
];

#[test]
fn every_way_to_an_as_works() {
    for (family, ports) in [(Family::Ip4, VipPorts::All), (Family::Ip6, VipPorts::One)] {
        let mut all = experiment(&DIRECT, Protocol::Udp, Size::Imix, NO_RENEWAL);
        all.spec.family = family;
        all.service.ports = Some(ports);
        all.repeats = 1;
        run(&all);
    }
}

#[test]
fn packets_of_ipv6_clients_are_forwarded() {
    let modes = [Mode::Io, Mode::Macswap, Mode::Ip6, Mode::LbNat6];
    for protocol in [Protocol::Udp, Protocol::Tcp, Protocol::Syn] {
        let mut six = experiment(&modes, protocol, Size::Fixed(64), NO_RENEWAL);
        six.spec.family = Family::Ip6;
        assert!(run(&six).passed.received > 1000);
    }
}

/// Every answer leaves with the VIP's address and port, or the experiment fails.
#[test]
fn answers_are_translated_back() {
    for (family, mode) in [(Family::Ip4, Mode::LbNat4Return), (Family::Ip6, Mode::LbNat6Return)] {
        for protocol in [Protocol::Udp, Protocol::Tcp] {
            let mut answers = experiment(&[Mode::Io, mode], protocol, Size::Fixed(64), NO_RENEWAL);
            answers.spec.family = family;
            assert!(run(&answers).passed.sent > 1000);
        }
    }
}

#[test]
fn every_packet_can_be_a_new_flow() {
    let modes = [Mode::Io, Mode::LbNat4];
    run(&experiment(&modes, Protocol::Syn, Size::Fixed(64), Renewal::EveryPacket));
    run(&experiment(&modes, Protocol::Tcp, Size::Fixed(64), Renewal::PerSecond(10_000)));
}

#[test]
fn a_graph_without_room_for_flows_still_forwards() {
    let modes = [Mode::Io, Mode::LbNat4];
    let mut full = experiment(&modes, Protocol::Udp, Size::Fixed(64), NO_RENEWAL);
    full.buckets = Some(16);
    run(&full);
}

#[test]
fn more_servers_than_the_bench_knows_are_not_mistaken() {
    let mut many =
        experiment(&[Mode::Io, Mode::LbNat4], Protocol::Udp, Size::Fixed(64), NO_RENEWAL);
    (many.service.servers, many.burst) = (300, 32);
    run(&many);
}

#[test]
fn packets_are_forwarded_while_servers_come_and_go() {
    let modes = [Mode::Io, Mode::LbNat4, Mode::LbGre4];
    let mut churned = experiment(&modes, Protocol::Tcp, Size::Fixed(64), NO_RENEWAL);
    churned.service = Service { vips: 3, vip_length: Some(1021), ..Service::of(4) };
    churned.churn = vec![0, 700, 1000];
    let outcome = run(&churned);
    let shape: Vec<_> = outcome.modes.iter().map(|mode| (mode.mode, mode.churn)).collect();
    let (io, nat, gre) = (Mode::Io, Mode::LbNat4, Mode::LbGre4);
    let [none, some, more] = [0, 700, 1000];
    let of = |mode| [none, some, more].map(|rate| (mode, rate));
    assert_eq!(shape, [&[(io, 0)][..], &of(nat), &of(gre)].concat());
    assert!(outcome.modes.iter().all(|mode| mode.slices.len() == 2));
    let changes = |churned| {
        let modes = outcome.modes.iter().filter(|mode| (mode.churn > 0) == churned);
        modes.map(|mode| mode.changes.count).sum::<u64>()
    };
    // A busy machine may leave no time for some, but not for all.
    assert!(changes(true) > 0 && changes(false) == 0);
}

#[test]
fn one_worker_is_compared_with_two() {
    let Ok(cores) = Cores::choose(&[], 2) else { return };
    let mut both =
        experiment(&[Mode::Io, Mode::LbNat4], Protocol::Udp, Size::Fixed(64), NO_RENEWAL);
    both.workers = vec![1, 2];
    let outcome = both.run(&cores).unwrap();
    let lanes: Vec<_> = outcome.modes.iter().map(|mode| mode.slices[0].len()).collect();
    assert_eq!(lanes, [1, 1, 2, 2]);
    assert_eq!(outcome.passed.received, outcome.passed.sent);
}

#[test]
fn recorded_packets_go_through_what_a_file_of_commands_sets_up() {
    let mut own =
        experiment(&[Mode::Io, Mode::Configured], Protocol::Udp, Size::Fixed(64), NO_RENEWAL);
    let mut traffic = Traffic::forward(&own.spec, 0..100, MacAddress([2; 6]), 1);
    let mut frames: Vec<_> = (0..300).map(|_| traffic.next_frame()).collect();
    // Every fourth frame goes nowhere: its destination has no route.
    for frame in frames.iter_mut().step_by(4) {
        frame[30..34].copy_from_slice(&[200, 0, 0, 1]);
    }
    own.recording = Some(Recording::of(frames, mac_of(0)).unwrap());
    own.commands = [
        "set interface state bench0 up",
        "set interface ip address bench0 10.0.255.254/16",
        "set ip neighbor bench0 10.0.0.1 02:00:00:00:00:01 static",
        "lb vip 90.0.0.1/32 encap gre4",
        "lb as 90.0.0.1/32 10.0.0.1",
    ]
    .map(str::to_owned)
    .to_vec();
    let outcome = run(&own);
    let configured = &outcome.modes[1];
    let share = configured.lost as f64 / configured.received as f64;
    assert!(configured.received > 0 && (share - 0.25).abs() < 0.05, "{share}");
}

#[test]
fn every_packet_of_a_schedule_is_timed() {
    let mut timed =
        experiment(&[Mode::Io, Mode::LbNat4], Protocol::Udp, Size::Fixed(64), NO_RENEWAL);
    timed.loads = vec![10.0, 500.0];
    let outcome = run(&timed);
    for mode in &outcome.modes {
        let [low, high] = mode.latencies.as_slice() else { panic!("two loads: {mode:?}") };
        assert!(high.offered_mpps > low.offered_mpps && low.ns.p50 <= low.ns.max);
        // On a busy machine all of it may have been disturbed; else far too many packets are lost.
        assert!(high.ns.packets == 0 || high.lost > 0, "{high:?}");
    }
}
