//! The strategies reach what they are meant to reach, and the reference loses no packet.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config as RunnerConfig, RngAlgorithm, TestRng, TestRunner};

use super::config::Config;
use super::player::Player;
use super::scenario::{Action, Scenario, Step};
use super::scope::Scope;
use super::service::VipKey;
use super::strategy::{narrow, scenario, universe};
use super::upper::Tuple;
use super::{NewFlowOrder, Outcome, Reason, Reference, reason};

/// A new-flow table of sorts: the client's port decides who is first.
struct ByPort(Config);

impl NewFlowOrder for ByPort {
    fn order(&self, vip: &VipKey, tuple: &Tuple) -> Vec<IpAddr> {
        let servers = self.0.vip(vip).into_iter().flat_map(|vip| &vip.servers);
        let mut order: Vec<_> =
            servers.filter(|(_, server)| server.takes_flows()).map(|(at, _)| *at).collect();
        if !order.is_empty() {
            let first = usize::from(tuple.source_port) % order.len();
            order.rotate_left(first);
        }
        order
    }

    fn entropy(&self, tuple: &Tuple) -> u64 {
        u64::from(tuple.source_port) * 65_537
    }
}

/// Plays a scenario; every frame ends in exactly one way.
fn play(scenario: &Scenario, counts: &mut BTreeMap<Reason, u64>) {
    let mut reference = Reference::new(scenario.universe.config.clone());
    reference.scope = scenario.universe.scope;
    let mut player = Player::new(&scenario.universe);
    let mut held_before = 0;
    let mut last = None;
    for step in &scenario.steps {
        let table = ByPort(reference.config.clone());
        let (received, outcome) = match player.act(step, &reference.config) {
            Action::Receive { interface, frame } => {
                last = Some((interface, frame.clone()));
                (1, reference.receive(interface, &frame, &table))
            }
            Action::ReceiveEach(frames) => {
                last = frames.last().cloned();
                let mut all = Outcome::default();
                for (interface, frame) in &frames {
                    all.add(reference.receive(*interface, frame, &table));
                }
                (frames.len() as u64, all)
            }
            Action::Repeat(times) => {
                let Some((interface, frame)) = &last else { continue };
                let mut all = Outcome::default();
                for _ in 0..times {
                    all.add(reference.receive(*interface, frame, &table));
                }
                (times as u64, all)
            }
            Action::Wait(seconds) => {
                reference.wait(seconds);
                (0, reference.turn(&table))
            }
            Action::Change(change) => {
                reference.change(&change);
                (0, reference.turn(&table))
            }
            Action::Audit => {
                reference.collect();
                continue;
            }
            Action::Resize(_) => (0, reference.turn(&table)),
            Action::Nothing => (0, Outcome::default()),
        };
        if outcome == Outcome::default() && received == 0 {
            continue;
        }
        let ended = outcome.sent.len() + outcome.punted.len() + outcome.tapped.len();
        let ended = ended as u64 + outcome.drops + outcome.consumed + outcome.held;
        assert_eq!(received + outcome.made + held_before, ended, "{step:?}: {outcome:?}");
        held_before = outcome.held;
        outcome.sent.iter().for_each(|(interface, frame)| player.sent(*interface, frame));
        outcome.needed.iter().for_each(|(interface, address)| player.needed(*interface, *address));
        for (reason, count) in outcome.counts {
            *counts.entry(reason).or_default() += count;
        }
    }
}

/// What so many scenarios count; other ones for another seed.
fn counted(
    strategy: &impl Strategy<Value = Scenario>,
    scenarios: usize,
    seed: u8,
) -> BTreeMap<Reason, u64> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(RunnerConfig::default(), rng);
    let mut counts = BTreeMap::new();
    for _ in 0..scenarios {
        let scenario = strategy.new_tree(&mut runner).expect("no filter can fail").current();
        play(&scenario, &mut counts);
    }
    counts
}

#[test]
fn every_reason_is_reached_and_every_frame_ends_once() {
    let part = |seed| {
        let mut counts = counted(&scenario(Scope::ALL, 60), 2200, seed);
        counts.extend(counted(&narrow(Scope::ALL, 40), 500, seed));
        counts
    };
    let counts: BTreeMap<Reason, u64> = std::thread::scope(|threads| {
        let parts = [1, 2].map(|seed| threads.spawn(move || part(seed)));
        parts.into_iter().flat_map(|part| part.join().expect("it plays")).collect()
    });
    let reached: BTreeSet<Reason> = counts.keys().copied().collect();
    let mut unreachable = vec![
        // Old ways of a graph that has learned the new ones.
        reason::VIP_FRAGMENT,
        reason::REPLY_FRAGMENT,
        // Thousands of packets in a second take a test of their own.
        reason::RESET_LIMIT,
        reason::PUNT_LIMIT,
        // The tap has tests of its own.
        reason::PUNTED,
    ];
    for v6 in [false, true] {
        let texts = reason::of(v6);
        unreachable.extend([texts.hold_full, texts.echo_limit, texts.error_limit]);
    }
    // An interface with a way to an AS has an address of its family.
    let no_source = |reason: &Reason| reason.1 == "no tunnel source address";
    let all = reason::all().into_iter();
    let wanted = all.filter(|reason| !unreachable.contains(reason) && !no_source(reason));
    let missing: Vec<_> = wanted.filter(|reason| !reached.contains(reason)).collect();
    assert!(missing.is_empty(), "never reached: {missing:?}; reached {counts:#?}");
}

#[test]
fn translation_alone_loses_nothing_either() {
    let counts = counted(&scenario(Scope::V4_NAT, 60), 300, 1);
    assert!(counts.contains_key(&reason::IP6) && counts.contains_key(&reason::VIP_FRAGMENT));
}

/// The box forwards a packet that ends where its options do; nobody can answer it.
#[test]
fn a_packet_without_ports_is_not_answered() {
    let mut runner = TestRunner::deterministic();
    let universe =
        universe(Scope::V4_NAT).new_tree(&mut runner).expect("no filter can fail").current();
    let mut player = Player::new(&universe);
    let mut frame = vec![0; 14 + 28];
    frame[12..14].copy_from_slice(&[0x08, 0x00]);
    (frame[14], frame[17], frame[23]) = (0x47, 28, 6);
    player.sent(1, &frame);
    let flaws = Vec::new();
    let reply = Step::Reply { back: 0, flags: 0x10, len: 0, zero_sum: false, flaws };
    assert_eq!(player.act(&reply, &universe.config), Action::Nothing);
}
