//! `show ip fib`, `GET /v1/fib/ip4`; `show ip6 fib`, `GET /v1/fib/ip6`.

use std::fmt::Write;

use config::Family;
use serde::Serialize;

/// The FIB of one family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fib {
    /// The family.
    #[serde(skip)]
    pub family: Family,
    /// Shorter prefixes first.
    pub entries: Vec<FibStatus>,
}

/// One prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FibStatus {
    /// Destination.
    pub prefix: String,
    /// Its length.
    pub prefix_len: u8,
    /// Who put it there: `special`, `adjacency`, `CLI`, `interface` or `lb`.
    pub source: &'static str,
    /// `drop`, `local`, `glean`, `forward` or `vip`.
    pub kind: &'static str,
    /// Interface packets leave by.
    pub interface: Option<String>,
    /// Router or neighbour they go to.
    pub next_hop: Option<String>,
    /// Why packets are dropped.
    pub reason: Option<&'static str>,
    /// VPP's way to say all this.
    pub forwarding: Vec<String>,
}

impl Fib {
    fn header(&self) -> String {
        format!("ipv{}-VRF:0, fib_index:0\n", self.version())
    }

    fn version(&self) -> u8 {
        if self.family == Family::Ip4 { 4 } else { 6 }
    }

    /// The text of `show ip fib`.
    pub fn text(&self) -> String {
        let mut text = self.header();
        let version = self.version();
        for entry in &self.entries {
            // A String takes everything.
            let _ = writeln!(text, "{}\n  unicast-ip{version}-chain", entry.prefix);
            for (number, line) in entry.forwarding.iter().enumerate() {
                let _ = writeln!(text, "    [{number}] [@0]: {line}");
            }
        }
        text
    }

    /// The text of `show ip fib <prefix>`.
    pub fn detail(&self) -> String {
        let mut text = self.header();
        let version = self.version();
        for entry in &self.entries {
            let _ = writeln!(text, "{} fib:0\n  {}", entry.prefix, entry.source);
            let _ = writeln!(text, "\n forwarding:   unicast-ip{version}-chain");
            for (number, line) in entry.forwarding.iter().enumerate() {
                let _ = writeln!(text, "    [{number}] [@0]: {line}");
            }
        }
        text
    }

    /// The text of `show ip fib summary`.
    pub fn summary(&self) -> String {
        let mut text = format!("{}    Prefix length         Count     \n", self.header());
        for len in 0..=self.family.bits() {
            let count = self.entries.iter().filter(|entry| entry.prefix_len == len).count();
            if count > 0 {
                let _ = writeln!(text, "{len:>20}{count:>16}");
            }
        }
        text
    }
}
