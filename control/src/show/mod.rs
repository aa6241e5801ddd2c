//! What `show` shows. Every answer is a structure: the API sends it as JSON, the CLI prints it in
//! VPP's layout. Fields are only ever added.

pub mod balance;
pub mod buffers;
pub mod drain;
pub mod errors;
pub mod events;
pub mod fib;
pub mod flow;
pub mod flows;
pub mod hardware;
pub mod interfaces;
mod layout;
pub mod lb;
pub mod neighbors;
pub mod no_match;
mod packet;
pub mod runtime;
mod servers;
pub mod timeouts;
pub mod trace;
pub mod tunnels;
pub mod version;
pub mod vips;

use serde::Serialize;

/// A body as JSON.
pub(crate) fn to_json(body: &impl Serialize) -> String {
    // Bodies are made of strings, numbers and lists, which always serialise.
    let mut json = serde_json::to_string_pretty(body).unwrap_or_default();
    json.push('\n');
    json
}

/// The running configuration, `GET /v1/config`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunningConfig {
    /// Command lines that would make it.
    pub commands: Vec<String>,
}
