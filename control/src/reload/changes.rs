//! [`Changes`]: what differs between two states, as commands.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use config::Command;
use serde::Serialize;

use crate::model::{Model, Vip};

/// What becomes of a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Sign {
    /// It goes.
    #[serde(rename = "-")]
    Gone,
    /// It comes.
    #[serde(rename = "+")]
    New,
    /// It becomes another, in place.
    #[serde(rename = "~")]
    Changed,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What becomes of it.
    pub sign: Sign,
    /// The command that makes it.
    pub command: String,
    /// The command that made it what it was, where it changes in place.
    pub was: Option<String>,
}

/// All differences: first what goes, what needs others before those, then the rest in the order of
/// the running configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Changes(pub Vec<Change>);

impl Display for Change {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let command = &self.command;
        match (self.sign, &self.was) {
            (Sign::Gone, _) => write!(f, "- {command}"),
            (Sign::New, _) => write!(f, "+ {command}"),
            (Sign::Changed, None) => write!(f, "~ {command}"),
            (Sign::Changed, Some(was)) => write!(f, "~ {command}  # was: {was}"),
        }
    }
}

impl Display for Changes {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|change| writeln!(f, "{change}"))
    }
}

/// A thing that a command makes.
struct Entry {
    /// What it is, whatever it is like: two states have the same thing if they have this in common.
    subject: String,
    line: String,
    /// The thing that it is a part of, with which it comes and goes.
    part_of: Option<String>,
}

impl Changes {
    /// What leads from one state to another that was made of it: what is the same thing in both has
    /// the same index.
    pub fn between(old: &Model, new: &Model) -> Self {
        let same = Arc::ptr_eq(&old.interfaces, &new.interfaces)
            && Arc::ptr_eq(&old.routes, &new.routes)
            && Arc::ptr_eq(&old.static_neighbors, &new.static_neighbors);
        // There may be many routes.
        let [mut before, mut after] = match same {
            true => [Vec::new(), Vec::new()],
            false => [network(old), network(new)],
        };
        let [conf_before, conf_after] = [settings(old), settings(new)];
        before.extend(conf_before);
        after.extend(conf_after);
        for (_, old, new) in new.lb.vips.since(&old.lb.vips) {
            before.extend(old.into_iter().flat_map(vip));
            after.extend(new.into_iter().flat_map(vip));
        }
        before.extend(policies(old));
        after.extend(policies(new));
        Self::of(before, after)
    }

    fn of(before: Vec<Entry>, after: Vec<Entry>) -> Self {
        let index = |entries: &[Entry]| -> BTreeMap<String, String> {
            entries.iter().map(|entry| (entry.subject.clone(), entry.line.clone())).collect()
        };
        let [old, new] = [index(&before), index(&after)];
        let gone = before.into_iter().rev().filter(|entry| {
            let with_other = entry.part_of.as_ref().is_some_and(|whole| !new.contains_key(whole));
            !new.contains_key(&entry.subject) && !with_other
        });
        let gone = gone.map(|Entry { line, .. }| Change::new(Sign::Gone, line, None));
        let rest =
            after.into_iter().filter_map(|Entry { subject, line, .. }| match old.get(&subject) {
                None => Some(Change::new(Sign::New, line, None)),
                Some(was) if *was != line => {
                    Some(Change::new(Sign::Changed, line, Some(was.clone())))
                }
                Some(_) => None,
            });
        Self(gone.chain(rest).collect())
    }

    /// How many there are of a kind.
    pub fn count(&self, sign: Sign) -> usize {
        self.0.iter().filter(|change| change.sign == sign).count()
    }
}

impl Change {
    fn new(sign: Sign, command: String, was: Option<String>) -> Self {
        Self { sign, command, was }
    }
}

/// Links, neighbours and routes.
fn network(model: &Model) -> Vec<Entry> {
    let mut entries = Vec::new();
    for link in model.interfaces.iter() {
        let whole = format!("link {}", link.id.0);
        for command in model.commands_of(link) {
            let line = command.to_string();
            let (subject, part_of) = match command {
                Command::CreateSubInterface(_) | Command::CreateIpipTunnel { .. } => {
                    (whole.clone(), None)
                }
                Command::SetInterfaceMtu { .. } => (format!("{whole} mtu"), Some(whole.clone())),
                Command::SetInterfaceState { .. } => {
                    (format!("{whole} state"), Some(whole.clone()))
                }
                _ => (format!("{whole} {line}"), Some(whole.clone())),
            };
            // Nothing makes a device.
            let part_of = part_of.filter(|_| !link.is_device());
            entries.push(Entry { subject, line, part_of });
        }
    }
    let others = model.neighbor_commands().chain(model.route_commands());
    entries.extend(others.map(|command| {
        let subject = match &command {
            Command::IpRoute { prefix, .. } => format!("route {prefix}"),
            Command::SetIpNeighbor { interface, address, .. } => {
                format!("neighbor {interface} {address}")
            }
            other => other.to_string(),
        };
        Entry { subject, line: command.to_string(), part_of: None }
    }));
    entries
}

/// `lb conf`, word by word.
fn settings(model: &Model) -> Vec<Entry> {
    let line = model.lb.settings.command().map(|conf| conf.to_string()).unwrap_or_default();
    let words: Vec<&str> = line.split_whitespace().skip(2).collect();
    let pairs = words.chunks(2).map(|pair| Entry {
        subject: format!("conf {}", pair[0]),
        line: format!("lb conf {}", pair.join(" ")),
        part_of: None,
    });
    pairs.collect()
}

/// A VIP and its ASs; nothing of one that is removed.
fn vip(vip: &Arc<Vip>) -> Vec<Entry> {
    if vip.removed {
        return Vec::new();
    }
    let whole = format!("vip {}", vip.index);
    let line = Command::LbVipAdd(vip.spec.clone()).to_string();
    let mut entries = vec![Entry { subject: whole.clone(), line, part_of: None }];
    for server in vip.servers.iter().filter(|server| !server.removed) {
        let alone = Vip { servers: vec![*server], ..(**vip).clone() };
        entries.extend(alone.server_commands().enumerate().map(|(number, command)| Entry {
            subject: format!("{whole} {} {number}", server.address),
            line: Command::LbAs(command).to_string(),
            part_of: Some(whole.clone()),
        }));
    }
    entries
}

fn policies(model: &Model) -> Vec<Entry> {
    let commands = model.policy_commands();
    let entry = |command: Command| match &command {
        Command::LbNoMatch(policy) => Entry {
            subject: format!("no-match {}", policy.prefix),
            line: command.to_string(),
            part_of: None,
        },
        other => Entry { subject: other.to_string(), line: other.to_string(), part_of: None },
    };
    commands.map(entry).collect()
}
