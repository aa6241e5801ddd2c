//! [`TrafficArguments`]: what generators send.

use super::numbers::{flows, renewal};
use crate::family::Family;
use crate::flow::Renewal;
use crate::traffic::{Protocol, Size, TrafficSpec};

/// What is sent.
#[derive(Clone, Debug, clap::Args)]
pub struct TrafficArguments {
    /// Flows that are alive at once
    #[arg(long, value_parser = flows, default_value = "1k")]
    pub flows: u64,
    /// Bytes of a frame on the wire (64 to 1518, IPv6 at least 78), or imix (7 × 64, 4 × 594, 1 × 1518)
    #[arg(long, default_value = "64")]
    pub size: Size,
    /// What flows are made of: UDP, TCP connections, or only TCP SYNs
    #[arg(long, value_enum, default_value = "udp")]
    pub protocol: Protocol,
    /// New flows per second in place of old ones, or all: every packet is a new flow
    #[arg(long, value_parser = renewal, default_value = "0")]
    pub new_flows: Renewal,
}

impl TrafficArguments {
    /// As the generator takes it.
    pub fn spec(&self, family: Family) -> TrafficSpec {
        let Self { flows, size, protocol, new_flows: renewal } = *self;
        TrafficSpec { family, flows, size, protocol, renewal }
    }

    /// The words that say the same.
    pub fn words(&self) -> Vec<String> {
        let renewal = match self.new_flows {
            Renewal::PerSecond(rate) => rate.to_string(),
            Renewal::EveryPacket => "all".to_owned(),
        };
        let words = [
            ("--flows", self.flows.to_string()),
            ("--size", self.size.to_string()),
            ("--protocol", self.protocol.name().to_owned()),
            ("--new-flows", renewal),
        ];
        words.into_iter().flat_map(|(key, value)| [key.to_owned(), value]).collect()
    }
}
