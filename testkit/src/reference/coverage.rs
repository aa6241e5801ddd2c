//! The strategies reach what they are meant to reach, and the reference loses no packet.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config as RunnerConfig, RngAlgorithm, TestRng, TestRunner};

use super::config::{Config, Service};
use super::player::Player;
use super::scenario::{Action, Scenario, Step};
use super::strategy::{scenario, universe};
use super::{NewFlowOrder, Outcome, Reason, Reference, reason};

/// A new-flow table of sorts: the client's port decides who is first.
struct ByPort(Config);

impl NewFlowOrder for ByPort {
    fn order(&self, vip: Service, client: (Ipv4Addr, u16)) -> Vec<Ipv4Addr> {
        let vip = self.0.vips.iter().find(|v| v.service == vip);
        let servers = vip.into_iter().flat_map(|vip| &vip.servers);
        let mut order: Vec<_> = servers.filter(|(_, w)| **w > 0).map(|(s, _)| *s).collect();
        if !order.is_empty() {
            let first = usize::from(client.1) % order.len();
            order.rotate_left(first);
        }
        order
    }
}

/// Plays a scenario; every frame ends in exactly one way.
fn play(scenario: &Scenario, counts: &mut BTreeMap<Reason, u64>) {
    let mut reference = Reference::new(scenario.universe.config.clone());
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
            Action::Nothing => (0, Outcome::default()),
        };
        if outcome == Outcome::default() && received == 0 {
            continue;
        }
        let ended = outcome.sent.len() + outcome.punted.len();
        let ended = ended as u64 + outcome.drops + outcome.consumed + outcome.held;
        assert_eq!(received + held_before, ended, "{step:?}: {outcome:?}");
        held_before = outcome.held;
        outcome.sent.iter().for_each(|(interface, frame)| player.sent(*interface, frame));
        outcome.needed.iter().for_each(|(interface, address)| player.needed(*interface, *address));
        for (reason, count) in outcome.counts {
            *counts.entry(reason).or_default() += count;
        }
    }
}

#[test]
fn every_reason_is_reached_and_every_frame_ends_once() {
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(RunnerConfig::default(), rng);
    let strategy = scenario(60);
    let mut counts = BTreeMap::new();
    for _ in 0..1500 {
        let scenario = strategy.new_tree(&mut runner).expect("no filter can fail").current();
        play(&scenario, &mut counts);
    }
    let reached: BTreeSet<Reason> = counts.keys().copied().collect();
    // Thousands of packets in a second take a test of their own.
    let many = [reason::HOLD_FULL, reason::ECHO_LIMIT, reason::ERROR_LIMIT];
    let wanted = reason::ALL.iter().filter(|reason| !many.contains(*reason));
    let missing: Vec<_> = wanted.filter(|reason| !reached.contains(*reason)).collect();
    assert!(missing.is_empty(), "never reached: {missing:?}; reached {counts:#?}");
}

/// The box forwards a packet that ends where its options do; nobody can answer it.
#[test]
fn a_packet_without_ports_is_not_answered() {
    let mut runner = TestRunner::deterministic();
    let universe = universe().new_tree(&mut runner).expect("no filter can fail").current();
    let mut player = Player::new(&universe);
    let mut frame = vec![0; 14 + 28];
    frame[12..14].copy_from_slice(&[0x08, 0x00]);
    (frame[14], frame[17], frame[23]) = (0x47, 28, 6);
    player.sent(1, &frame);
    let flaws = Vec::new();
    let reply = Step::Reply { back: 0, flags: 0x10, len: 0, zero_sum: false, flaws };
    assert_eq!(player.act(&reply, &universe.config), Action::Nothing);
}
