//! Puts together what `show` shows, from the model, the snapshot and the workers' counters.

mod balance;
mod balancing;
mod drain;
mod flow;
mod flows;
mod network;
mod work;

use config::{Command, Family, HardwareDetail, Problem, Show, Spanned, defaults};
use serde::Serialize;

use super::Control;
use crate::show::{RunningConfig, to_json};

impl Control {
    /// The text of a `show` command, or the JSON body of the matching `GET /v1/…`.
    ///
    /// # Errors
    ///
    /// A name that there is not.
    pub fn show(&mut self, show: &Show, json: bool) -> Result<String, Problem> {
        Ok(match show {
            Show::Lb => either(&self.lb_status(), json, ToString::to_string),
            Show::LbVips { verbose } => either(&self.vips(), json, |vips| match verbose {
                true => vips.verbose(),
                false => vips.brief(),
            }),
            Show::LbAs { vip } => either(&self.servers(vip.as_ref())?, json, ToString::to_string),
            Show::LbFlow(query) => either(&self.flow(query)?, json, ToString::to_string),
            Show::LbBalance => either(&self.balance_status(), json, ToString::to_string),
            Show::LbFlows(query) => either(&self.flows(query)?, json, ToString::to_string),
            Show::LbNoMatch => either(&self.no_match_status(), json, ToString::to_string),
            Show::IpipTunnel => either(&self.tunnels(), json, ToString::to_string),
            Show::Interface { names } => {
                let mut interfaces = self.interfaces();
                let wanted = self.wanted(names)?;
                interfaces
                    .interfaces
                    .retain(|i| wanted.as_ref().is_none_or(|w| w.contains(&i.index)));
                either(&interfaces, json, ToString::to_string)
            }
            Show::InterfaceAddress { names } => {
                let mut addresses = self.addresses();
                let wanted = self.wanted(names)?;
                addresses
                    .interfaces
                    .retain(|i| wanted.as_ref().is_none_or(|w| w.contains(&i.index)));
                either(&addresses, json, ToString::to_string)
            }
            Show::HardwareInterfaces { detail, names } => {
                let mut hardware = self.hardware_status();
                let wanted = self.wanted(names)?;
                hardware.ports.retain(|p| wanted.as_ref().is_none_or(|w| w.contains(&p.index)));
                either(&hardware, json, |hardware| hardware.text(*detail))
            }
            Show::Fib { family, query } => {
                let fib = self.fib(*family, query);
                either(&fib, json, |fib| match query {
                    config::FibQuery::All => fib.text(),
                    config::FibQuery::Summary => fib.summary(),
                    config::FibQuery::Entry { .. } => fib.detail(),
                })
            }
            Show::Neighbors { family, interface } => {
                let only = match interface {
                    Some(name) => self.wanted(std::slice::from_ref(name))?,
                    None => None,
                };
                let neighbors = self.neighbor_list(|(id, address)| {
                    Family::of(address) == *family
                        && only.as_ref().is_none_or(|only| only.contains(&id.0))
                });
                either(&neighbors, json, ToString::to_string)
            }
            Show::Version { verbose } => {
                either(&self.version(), json, |version| version.text(*verbose))
            }
            Show::Threads => either(&self.threads(), json, ToString::to_string),
            Show::Runtime { verbose } => {
                either(&self.runtime(), json, |runtime| runtime.text(*verbose))
            }
            Show::Errors => either(&self.errors(), json, ToString::to_string),
            Show::Buffers => either(&self.buffers(), json, ToString::to_string),
            Show::Trace { max } => {
                let trace = self.trace(max.unwrap_or(defaults::SHOW_TRACE_MAX));
                either(&trace, json, ToString::to_string)
            }
            Show::Events => either(&self.events(), json, ToString::to_string),
            Show::RunningConfig => {
                let config = self.running_config();
                either(&config, json, |config| {
                    config.commands.iter().map(|line| format!("{line}\n")).collect()
                })
            }
        })
    }

    /// The model as command lines.
    pub fn running_config(&self) -> RunningConfig {
        let commands = self.model.commands();
        RunningConfig { commands: commands.iter().map(ToString::to_string).collect() }
    }

    /// The body of `GET /v1/<path>`; `None` when there is no such path.
    pub fn api(&mut self, path: &str) -> Option<String> {
        let show = match path {
            "version" => Show::Version { verbose: true },
            "threads" => Show::Threads,
            "runtime" => Show::Runtime { verbose: true },
            "errors" => Show::Errors,
            "buffers" => Show::Buffers,
            "interfaces" => Show::Interface { names: Vec::new() },
            "addresses" => Show::InterfaceAddress { names: Vec::new() },
            "hardware" => {
                Show::HardwareInterfaces { detail: HardwareDetail::Verbose, names: Vec::new() }
            }
            "neighbors" => {
                return Some(either(&self.neighbor_list(|_| true), true, |_| String::new()));
            }
            "fib/ip4" => Show::Fib { family: Family::Ip4, query: config::FibQuery::All },
            "fib/ip6" => Show::Fib { family: Family::Ip6, query: config::FibQuery::All },
            "trace" => Show::Trace { max: None },
            "config" => Show::RunningConfig,
            "balance" => Show::LbBalance,
            "lb" => Show::Lb,
            "lb/vips" => Show::LbVips { verbose: true },
            "lb/as" => Show::LbAs { vip: None },
            "lb/no-match" => Show::LbNoMatch,
            "lb/flows" => Show::LbFlows(config::FlowsQuery::default()),
            "events" => Show::Events,
            "tunnels" => Show::IpipTunnel,
            // The words of the command, one a segment.
            _ => match config::parse(&format!(
                "show lb flow {}",
                path.strip_prefix("lb/flow/")?.replace('/', " ")
            )) {
                Ok(Command::Show { show, .. }) => show,
                _ => return None,
            },
        };
        self.show(&show, true).ok()
    }

    /// The indices of the interfaces that were named; `None` when none was, which means all.
    fn wanted(&self, names: &[Spanned<String>]) -> Result<Option<Vec<u16>>, Problem> {
        if names.is_empty() {
            return Ok(None);
        }
        let ids: Result<Vec<_>, _> =
            names.iter().map(|name| self.model.interface_id(name).map(|id| id.0)).collect();
        ids.map(Some)
    }
}

/// The body as JSON, or as text.
fn either<T: Serialize>(body: &T, json: bool, text: impl FnOnce(&T) -> String) -> String {
    if !json {
        return text(body);
    }
    to_json(body)
}
