//! `show lb no-match`, `GET /v1/lb/no-match`.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

/// What packets get that are for a VIP's address but for no VIP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NoMatchStatus {
    /// Where no prefix says otherwise: `drop`, `rst`, `icmp` or `punt`.
    pub default: &'static str,
    /// By prefix.
    pub prefixes: Vec<PrefixPolicy>,
}

/// The policy of a prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PrefixPolicy {
    /// The prefix.
    pub prefix: String,
    /// `drop`, `rst`, `icmp` or `punt`.
    pub policy: &'static str,
    /// The VIP prefixes that follow it.
    pub vip_prefixes: Vec<String>,
}

impl Display for NoMatchStatus {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "default: {}", self.default)?;
        for PrefixPolicy { prefix, policy, vip_prefixes } in &self.prefixes {
            write!(f, "{prefix}: {policy}")?;
            match vip_prefixes.is_empty() {
                true => writeln!(f, " (no VIP prefix lies in it)")?,
                false => writeln!(f, " ({})", vip_prefixes.join(", "))?,
            }
        }
        Ok(())
    }
}
