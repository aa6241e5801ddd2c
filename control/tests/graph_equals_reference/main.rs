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

/// What the graph can do and can be typed: a VIP that takes turns does not go by the client's
/// address. VIPs stay: one that comes takes the number, and so the counters, of one that went.
const SCOPE: Scope =
    Scope { node_ports: false, src_ip_sticky: false, changes: false, ..Scope::ALL };

fn config(default: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let cases = asked.unwrap_or(default);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn whatever_is_configured_and_happens(scenario in strategy::scenario(SCOPE, 40)) {
        Differential::<TypedConfig>::play(&scenario).map_err(TestCaseError::fail)?;
    }
}
