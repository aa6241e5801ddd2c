//! The whole packet graph does what the reference model says, packet by packet: the same bytes, in
//! the same order per link, the same counters, events and flows; and no packet is lost.
//!
//! `PROPTEST_CASES` raises the number of scenarios.

#![allow(missing_docs)]

mod limits;
mod plain_compiler;
mod plain_links;

use proptest::prelude::*;
use testkit::reference::differential::{Differential, Style};
use testkit::reference::scenario::Scenario;
use testkit::reference::scope::Scope;
use testkit::reference::strategy;

use plain_compiler::PlainCompiler;

type Both = Differential<PlainCompiler>;

/// What the graph can do.
const SCOPE: Scope = Scope::ALL;

/// In a burst, packets that take different nodes overtake each other, so that identifications and
/// places in queues differ.
const IN_BURSTS: Scope = Scope { encaps: false, no_match: false, ports: false, ..SCOPE };

fn config(default: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let cases = asked.unwrap_or(default);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn equal(result: Result<(), String>) -> Result<(), TestCaseError> {
    result.map_err(TestCaseError::fail)
}

proptest! {
    #![proptest_config(config(2000))]

    #[test]
    fn whatever_happens(scenario in strategy::scenario(SCOPE, 40)) {
        equal(Both::play(&scenario))?;
    }

}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn any_bytes(
        universe in strategy::universe(SCOPE),
        steps in prop::collection::vec(strategy::bytes(SCOPE), 100),
    ) {
        equal(Both::play(&Scenario { universe, steps }))?;
    }

    #[test]
    fn bursts_of_clients(
        (mut universe, burst) in strategy::burst(IN_BURSTS, 250), large_tables: bool,
    ) {
        // Where replies are translated, what a packet meets depends on those before it.
        for interface in &mut universe.config.interfaces {
            (interface.nat4_in, interface.nat6_in) = (false, false);
        }
        // So it does at ASs that clients also go to directly, in another node.
        let vips = &mut universe.config.vips;
        let servers: Vec<_> = vips.iter().flat_map(|vip| vip.servers.keys().copied()).collect();
        vips.retain(|vip| !servers.iter().any(|server| vip.key.has(*server)));
        let style = Style { large_tables, ..Style::default() };
        equal(Both::play_burst(&universe, &burst, style))?;
    }
}

proptest! {
    #![proptest_config(config(500))]

    /// Packets of one flow at two workers, and large ones in several buffers.
    #[test]
    fn whoever_gets_a_packet(scenario in strategy::scenario(SCOPE, 40)) {
        let style = Style { workers: 2, segmented: true, ..Style::default() };
        equal(Both::play_in_style(&scenario, style))?;
    }

    /// The same reference holds for the nodes that the express way stands for.
    #[test]
    fn whatever_happens_to_one_node_after_the_other(
        scenario in strategy::scenario(SCOPE, 40), workers in 1..=2_usize,
    ) {
        let style = Style { workers, plain: true, ..Style::default() };
        equal(Both::play_in_style(&scenario, style))?;
    }
}
