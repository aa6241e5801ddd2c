//! The whole graph beside the reference model: whatever arrives, in whatever configuration, both do
//! the same, nothing is lost, and nobody touches a byte behind a packet.

#[allow(unreachable_pub, dead_code)]
#[path = "../../graph-nodes/tests/graph_equals_reference/plain_compiler.rs"]
mod plain_compiler;
#[allow(unreachable_pub, dead_code)]
#[path = "../../graph-nodes/tests/graph_equals_reference/plain_links.rs"]
mod plain_links;

use std::sync::LazyLock;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use testkit::reference::differential::{Differential, Style};
use testkit::reference::scenario::{Scenario, Step, Universe};
use testkit::reference::scope::Scope;
use testkit::reference::strategy;

use plain_compiler::PlainCompiler;

/// How many configurations there are.
const UNIVERSES: usize = 16;
/// Steps that are taken at most.
const STEPS: usize = 24;

/// Always the same ones, with VIPs of every method among them.
static ALL: LazyLock<Vec<Universe>> = LazyLock::new(|| {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let universes = strategy::universe(Scope::ALL);
    let one = |_| universes.new_tree(&mut runner).expect("no filter can fail").current();
    (0..UNIVERSES).map(one).collect()
});

/// Frames by themselves, and with packets of flows before and behind them.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let frames = crate::packets::frames();
    let alone = frames.iter().enumerate().map(|(n, frame)| {
        let mut bytes = vec![n as u8];
        raw(frame, n as u8, &mut bytes);
        bytes
    });
    let talk = (0..UNIVERSES as u8).map(|universe| {
        let mut bytes = vec![universe];
        for n in 0..4 {
            bytes.extend([1, n, 0, n, n, 2, 9, 1, n, 0, n, n, 16, 40, 2, 0, 18, 30]);
        }
        raw(&frames[usize::from(universe) % frames.len()], universe, &mut bytes);
        bytes.extend([3, 2, 4, 9, 5]);
        bytes
    });
    alone.chain(talk).collect()
}

/// A step that lets a frame arrive.
fn raw(frame: &[u8], interface: u8, bytes: &mut Vec<u8>) {
    let payload = &frame[14..frame.len().min(14 + 255)];
    let kind = match frame[12..14] {
        [0x86, 0xdd] => 2,
        [8, 6] => 3,
        [0x81, 0] => 4,
        _ => 1,
    };
    bytes.extend([0, interface, kind, 1, payload.len() as u8]);
    bytes.extend_from_slice(payload);
}

pub(crate) fn run(bytes: &[u8]) {
    let Some((first, mut rest)) = bytes.split_first() else { return };
    let universe = ALL[usize::from(*first) % UNIVERSES].clone();
    let steps: Vec<_> = std::iter::from_fn(|| step(&mut rest)).take(STEPS).collect();
    let workers = 1 + usize::from(first / 128);
    let style = Style { workers, guarded: true, ..Style::default() };
    let scenario = Scenario { universe, steps };
    if let Err(difference) = Differential::<PlainCompiler>::play_in_style(&scenario, style) {
        panic!("{:?}\n{difference}", scenario.steps);
    }
}

/// So many bytes off the front.
fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*taken)
}

/// The next step that the bytes tell; none at their end.
fn step(bytes: &mut &[u8]) -> Option<Step> {
    let [kind] = take(bytes)?;
    Some(match kind % 8 {
        1 => {
            let [client, port, vip, within, flags, len] = take(bytes)?;
            let (client, port) = (client.into(), usize::from(port % 3));
            let (vip, within, len) = (vip.into(), within.into(), len.into());
            Step::ToVip { client, port, vip, within, flags, len, flaws: Vec::new() }
        }
        2 => {
            let [back, flags, len] = take(bytes)?;
            let (back, len) = (back.into(), len.into());
            Step::Reply { back, flags, len, zero_sum: false, flaws: Vec::new() }
        }
        3 => Step::Wait(u32::from(take::<1>(bytes)?[0])),
        4 => Step::Resize(8 + u32::from(take::<1>(bytes)?[0]) % 4),
        5 => Step::Audit,
        6 => {
            let [neighbor, mac] = take(bytes)?;
            Step::Learn(neighbor.into(), mac)
        }
        _ => {
            let [interface, ether_type, fixed, len] = take(bytes)?;
            let len = usize::from(len).min(bytes.len());
            let (payload, rest) = bytes.split_at(len);
            *bytes = rest;
            let ether_type = match ether_type % 6 {
                0 => None,
                1 => Some(0x0800),
                2 => Some(0x86dd),
                3 => Some(0x0806),
                4 => Some(0x8100),
                _ => Some(0x88a8),
            };
            let (interface, fixed) = (interface.into(), fixed % 2 == 1);
            Step::Bytes { interface, ether_type, fixed, bytes: payload.to_vec() }
        }
    })
}
