//! [`TomlFile`]: commands written as the file that means them.

use std::fmt::Write;
use std::net::IpAddr;

use crate::startup::{Fixed, quoted};
use crate::{Command, Family, LbAs, LbConf, LbVipAdd, Prefix, SubInterface, VipKey, grammar};

/// Keys whose values are text even when they look like numbers.
const TEXT: [&str; 2] = ["name", "hash-key-file"];

/// `[[interface]]`.
#[derive(Default)]
struct Interface {
    name: String,
    addresses: Vec<Prefix>,
    up: Option<bool>,
    mtu: Option<u16>,
    nat: Vec<Family>,
}

/// `[[vip]]`.
struct Vip {
    key: VipKey,
    keys: String,
    /// The addresses of the ASs, each with its other keys, as in a table.
    servers: Vec<(IpAddr, String)>,
}

/// A configuration as a file that [`crate::Startup::parse`] reads. Commands that are not
/// configuration, that delete, or that have no place in a file are left out.
#[derive(Default)]
pub struct TomlFile {
    interfaces: Vec<Interface>,
    links: String,
    neighbors: String,
    routes: String,
    conf: String,
    no_match: String,
    vips: Vec<Vip>,
}

impl TomlFile {
    /// The text of a file with these sections for the start, and these commands.
    pub fn render(fixed: &Fixed, commands: &[Command]) -> String {
        let mut file = Self::default();
        commands.iter().for_each(|command| file.add(command));
        let tap = fixed.value("punt.tap").map(|tap| tap.trim_matches('"').to_owned());
        let mut text = fixed.to_toml();
        text.push_str(&file.links);
        for interface in &file.interfaces {
            // The tap is up unless it was taken down; everything else is down at first.
            interface.write(tap.as_deref() == Some(&*interface.name), &mut text);
        }
        text.push_str(&file.neighbors);
        text.push_str(&file.routes);
        if !file.conf.is_empty() {
            text.push_str("\n[lb]\n");
            text.push_str(&file.conf);
        }
        text.push_str(&file.no_match);
        file.vips.iter().for_each(|vip| vip.write(&mut text));
        text.trim_start().to_owned()
    }

    fn add(&mut self, command: &Command) {
        match command {
            Command::SetInterfaceState { interface, up } => {
                self.interface(interface).up = Some(*up);
            }
            Command::SetInterfaceMtu { interface, mtu } => {
                self.interface(interface).mtu = Some(mtu.value);
            }
            Command::SetInterfaceIpAddress { interface, address, del: false } => {
                self.interface(interface).addresses.push(address.value);
            }
            Command::LbSetInterfaceNat { family, interfaces, del: false } => {
                interfaces.iter().for_each(|name| self.interface(name).nat.push(*family));
            }
            Command::CreateSubInterface(sub) => self.sub_interface(sub),
            Command::CreateIpipTunnel { source, destination, instance } => {
                let ends = [("src", source.value), ("dst", destination.value)];
                self.tunnel(ends, instance.map(|instance| instance.value));
            }
            Command::SetIpNeighbor {
                interface, address, mac: Some(mac), is_static: true, ..
            } => {
                let _ = write!(
                    self.neighbors,
                    "\n[[neighbor]]\ninterface = {}\naddress = \"{address}\"\nmac = \"{mac}\"\n",
                    quoted(interface)
                );
            }
            Command::IpRoute { prefix, via, interface, del: false } => {
                let _ = write!(self.routes, "\n[[route]]\nprefix = \"{prefix}\"\n");
                if let Some(via) = via {
                    let _ = writeln!(self.routes, "via = \"{via}\"");
                }
                if let Some(interface) = interface {
                    let _ = writeln!(self.routes, "interface = {}", quoted(interface));
                }
            }
            Command::LbConf(conf) => self.conf(conf),
            Command::LbNoMatch(no_match) => {
                if let Some(policy) = no_match.policy {
                    let prefix = no_match.prefix;
                    let _ = write!(
                        self.no_match,
                        "\n[[no-match]]\nprefix = \"{prefix}\"\npolicy = \"{policy}\"\n"
                    );
                }
            }
            Command::LbVipAdd(vip) => self.vip(vip),
            Command::LbAs(servers) if !servers.del => self.servers(servers),
            _ => {}
        }
    }

    fn interface(&mut self, name: &str) -> &mut Interface {
        let at = self.interfaces.iter().position(|interface| interface.name == name);
        let at = at.unwrap_or_else(|| {
            self.interfaces.push(Interface { name: name.to_owned(), ..Interface::default() });
            self.interfaces.len() - 1
        });
        &mut self.interfaces[at]
    }

    fn sub_interface(&mut self, sub: &SubInterface) {
        let (parent, id, tags) = (quoted(&sub.parent), sub.id, sub.tags);
        let _ = write!(
            self.links,
            "\n[[sub-interface]]\ninterface = {parent}\nid = {id}\n{} = {}\n",
            tags.kind.word(),
            tags.outer
        );
        if let Some(inner) = tags.inner {
            let _ = writeln!(self.links, "inner-dot1q = {inner}");
        }
    }

    fn tunnel(&mut self, ends: [(&str, IpAddr); 2], instance: Option<u32>) {
        self.links.push_str("\n[[tunnel]]\n");
        for (key, end) in ends {
            let _ = writeln!(self.links, "{key} = \"{end}\"");
        }
        if let Some(instance) = instance {
            let _ = writeln!(self.links, "instance = {instance}");
        }
    }

    fn conf(&mut self, conf: &LbConf) {
        // A path is the one value that a line may not be able to hold.
        let others = LbConf { hash_key_file: None, ..conf.clone() };
        for (key, value) in keys(&Command::LbConf(others)) {
            let _ = writeln!(self.conf, "{key} = {value}");
        }
        if let Some(path) = &conf.hash_key_file {
            let _ = writeln!(self.conf, "hash-key-file = {}", quoted(&path.display().to_string()));
        }
    }

    fn vip(&mut self, vip: &LbVipAdd) {
        let mut text = format!("prefix = \"{}\"\n", vip.key.prefix);
        for (key, value) in keys(&Command::LbVipAdd(vip.clone())) {
            let _ = writeln!(text, "{key} = {value}");
        }
        self.vips.push(Vip { key: vip.key, keys: text, servers: Vec::new() });
    }

    fn servers(&mut self, servers: &LbAs) {
        let of_vip = self.vips.iter_mut().rfind(|vip| vip.key == servers.vip);
        let Some(vip) = of_vip else { return };
        if let Some(admin) = servers.admin {
            let asked = |address| servers.addresses.iter().any(|own| own.value == address);
            for (_, keys) in vip.servers.iter_mut().filter(|(address, _)| asked(*address)) {
                let _ = write!(keys, ", admin = \"{admin}\"");
            }
            return;
        }
        let keys = keys(&Command::LbAs(servers.clone()));
        let own = keys.iter().filter(|(key, _)| !["protocol", "port"].contains(&key.as_str()));
        let own: Vec<String> = own.map(|(key, value)| format!(", {key} = {value}")).collect();
        vip.servers.extend(servers.addresses.iter().map(|address| (address.value, own.concat())));
    }
}

/// The keywords of a command's line, which a file has as keys: joined with `-`, numbers bare.
fn keys(command: &Command) -> Vec<(String, String)> {
    let options = grammar::options(&command.to_string());
    let key = |(word, value): (&str, Option<String>)| {
        let key = word.replace('_', "-");
        let value = match value {
            None => "true".to_owned(),
            Some(value) => {
                let digits = value.bytes().all(|byte| byte.is_ascii_digit());
                if digits && !TEXT.contains(&&*key) { value } else { quoted(&value) }
            }
        };
        (key, value)
    };
    options.into_iter().map(key).collect()
}

impl Interface {
    fn write(&self, is_tap: bool, text: &mut String) {
        let up = self.up.unwrap_or(is_tap);
        let _ = write!(text, "\n[[interface]]\nname = {}\n", quoted(&self.name));
        let _ = writeln!(text, "state = \"{}\"", if up { "up" } else { "down" });
        if let Some(mtu) = self.mtu {
            let _ = writeln!(text, "mtu = {mtu}");
        }
        if !self.addresses.is_empty() {
            let all: Vec<_> = self.addresses.iter().map(|own| format!("\"{own}\"")).collect();
            let _ = writeln!(text, "address = [{}]", all.join(", "));
        }
        for family in &self.nat {
            let _ = match family {
                Family::Ip4 => writeln!(text, "lb-nat4-in = true"),
                Family::Ip6 => writeln!(text, "lb-nat6-in = true"),
            };
        }
    }
}

impl Vip {
    fn write(&self, text: &mut String) {
        let _ = write!(text, "\n[[vip]]\n{}", self.keys);
        let server = |(address, keys): &(IpAddr, String)| match keys.is_empty() {
            true => format!("\"{address}\""),
            false => format!("{{ address = \"{address}\"{keys} }}"),
        };
        match &self.servers.iter().map(server).collect::<Vec<_>>()[..] {
            [] => {}
            [one] => {
                let _ = writeln!(text, "as = [{one}]");
            }
            several => {
                let _ = writeln!(text, "as = [\n    {},\n]", several.join(",\n    "));
            }
        }
    }
}
