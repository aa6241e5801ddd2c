//! From command line to packets: what operators type goes through the parser, the model and the
//! compiler into a worker's graph, which must then do what the reference model says of the same
//! configuration. `graph-nodes` has the same property without control.
//!
//! `PROPTEST_CASES` raises the number of scenarios.

#![allow(missing_docs)]

mod typed;

use proptest::prelude::*;
use testkit::reference::differential::Differential;
use testkit::reference::scope::Scope;
use testkit::reference::strategy;

use typed::TypedConfig;

/// A VIP that takes turns does not go by the client's address, so that one scenario cannot ask for
/// both.
const BY_TURNS: Scope = Scope { src_ip_sticky: false, ..Scope::ALL };
const BY_ADDRESS: Scope = Scope { round_robin: false, ..Scope::ALL };

fn config(default: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let cases = asked.unwrap_or(default);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(100))]

    #[test]
    fn whatever_is_configured_by_turns(scenario in strategy::scenario(BY_TURNS, 40)) {
        Differential::<TypedConfig>::play(&scenario).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn whatever_is_configured_by_address(scenario in strategy::scenario(BY_ADDRESS, 40)) {
        Differential::<TypedConfig>::play(&scenario).map_err(TestCaseError::fail)?;
    }
}
