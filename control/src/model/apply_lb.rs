//! `lb …`

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use config::{
    Family, LbAs, LbConf, LbVipAdd, Prefix, Problem, Protocol, Spanned, TargetPort, defaults,
};

use super::apply_address::unroutable;
use super::{Model, Server, Vip, VipKey};

/// The IPv4 address in `address`.
fn ip4(address: &Spanned<IpAddr>) -> Result<Ipv4Addr, Problem> {
    match address.value {
        IpAddr::V4(ip4) => Ok(ip4),
        IpAddr::V6(_) => Err(ip4_expected(address.span)),
    }
}

/// The IPv4 address and length in `prefix`.
fn ip4_prefix(prefix: &Spanned<Prefix>) -> Result<(Ipv4Addr, u8), Problem> {
    match prefix.address() {
        IpAddr::V4(ip4) => Ok((ip4, prefix.length())),
        IpAddr::V6(_) => Err(ip4_expected(prefix.span)),
    }
}

fn ip4_expected(span: config::Span) -> Problem {
    Problem::new(span, "IPv6 is not supported here yet").with_hint("use an IPv4 address")
}

/// The name of the VIP that `key` means.
fn vip_key(key: &config::VipKey) -> Result<VipKey, Problem> {
    let (address, prefix_len) = ip4_prefix(&key.prefix)?;
    let Some(port) = key.port else {
        return Err(Problem::new(key.prefix.span, "all-port VIPs are not supported yet")
            .with_hint("name one with `protocol tcp|udp port <n>`"));
    };
    if prefix_len != 32 {
        return Err(Problem::new(key.prefix.span, "VIP prefixes are not supported yet")
            .with_hint(format!("use one address: {address}/32")));
    }
    if !port.ports.is_one() {
        return Err(Problem::new(port.ports.span, "port ranges are not supported yet")
            .with_hint("one VIP for each port"));
    }
    let protocol = match port.protocol.value {
        Protocol::Tcp => balancer::Protocol::Tcp,
        Protocol::Udp => balancer::Protocol::Udp,
    };
    Ok(VipKey { address, protocol, port: port.ports.first() })
}

impl Model {
    pub(super) fn lb_conf(&mut self, conf: &LbConf) -> Result<(), Problem> {
        let lb = &mut self.lb;
        if let Some(address) = &conf.ip4_src_address {
            if let Some(why) = unroutable(address.value.into()) {
                let reason = format!("{} cannot be a source address: {why}", address.value);
                return Err(Problem::new(address.span, reason));
            }
            lb.ip4_src_address = Some(address.value);
        }
        if let Some(address) = &conf.ip6_src_address {
            if let Some(why) = unroutable(address.value.into()) {
                let reason = format!("{} cannot be a source address: {why}", address.value);
                return Err(Problem::new(address.span, reason));
            }
            lb.ip6_src_address = Some(address.value);
        }
        lb.buckets = conf.buckets.map_or(lb.buckets, |v| v.value);
        lb.timeout_s = conf.timeout_s.map_or(lb.timeout_s, |v| v.value);
        lb.tcp_established_timeout_s =
            conf.tcp_established_timeout_s.map_or(lb.tcp_established_timeout_s, |v| v.value);
        lb.tcp_closing_timeout_s =
            conf.tcp_closing_timeout_s.map_or(lb.tcp_closing_timeout_s, |v| v.value);
        if let Some(path) = &conf.hash_key_file {
            lb.hash_key_file = Some(path.value.clone());
        }
        Ok(())
    }

    pub(super) fn lb_vip_add(&mut self, add: &LbVipAdd) -> Result<String, Problem> {
        let key = vip_key(&add.key)?;
        let problem = |reason: String| Problem::new(add.key.prefix.span, reason);
        if let Some(why) = unroutable(key.address.into()) {
            return Err(problem(format!("{} cannot be a VIP: {why}", key.address)));
        }
        if self.lb.find(key).is_some() {
            return Err(problem(format!("the VIP {key} exists already"))
                .with_hint(format!("to change it, first: lb vip {key} del")));
        }
        let served = self
            .lb
            .vips
            .values()
            .find(|vip| vip.server(key.address).is_some_and(|server| !server.removed));
        if let Some(vip) = served {
            // Traffic for the AS would come back to the VIP for ever.
            return Err(problem(format!("{} is an AS of the VIP {}", key.address, vip.key)));
        }
        let other = self.lb.on_address(key.address).find(|vip| vip.encap != add.encap());
        if let (Some(vip), Some(encap)) = (other, add.encap) {
            let reason = format!("the VIPs on {} have encap {}", key.address, vip.encap);
            return Err(Problem::new(encap.span, reason)
                .with_hint("all ports of one address have the same encap"));
        }
        let Some(index) = self.lb.free_vip_index() else {
            return Err(problem(format!("all {} VIPs are in use", balancer::MAX_VIPS - 1)));
        };
        self.lb.insert(Vip {
            index,
            key,
            encap: add.encap(),
            service_type: add.service_type(),
            target_port: match add.target() {
                TargetPort::Keep => key.port,
                TargetPort::One(port) | TargetPort::From(port) => port,
            },
            new_len: add.new_len.map_or(defaults::NEW_LEN, |len| len.value),
            src_ip_sticky: add.src_ip_sticky,
            name: add.name.as_ref().map(|name| Arc::from(name.as_str())),
            servers: Vec::new(),
            removed: false,
        });
        Ok(format!("lb_vip_add ok {index}"))
    }

    pub(super) fn lb_vip_del(&mut self, key: &config::VipKey) -> Result<(), Problem> {
        let index = self.vip_index(key)?;
        self.lb.remove(index);
        Ok(())
    }

    pub(super) fn lb_flush_vip(&mut self, key: &config::VipKey) -> Result<String, Problem> {
        let index = self.vip_index(key)?;
        if let Some(vip) = self.lb.vip_mut(index) {
            for server in &mut vip.servers {
                server.epoch = server.epoch.wrapping_add(1);
            }
        }
        Ok(format!("lb_flush_vip ok {index}"))
    }

    pub(super) fn lb_as(&mut self, command: &LbAs) -> Result<(), Problem> {
        let index = self.vip_index(&command.vip)?;
        for address in &command.addresses {
            let ip = ip4(address)?;
            if command.del {
                self.remove_server(index, ip, address, command.flush)?;
            } else {
                self.add_server(index, ip, address, command)?;
            }
        }
        Ok(())
    }

    fn remove_server<T>(
        &mut self,
        vip: u32,
        ip: Ipv4Addr,
        word: &Spanned<T>,
        flush: bool,
    ) -> Result<(), Problem> {
        let Some(vip) = self.lb.vip_mut(vip) else { return Ok(()) };
        let found = vip.servers.iter_mut().find(|server| server.address == ip);
        // A removed AS can still be flushed; to remove it again is an error.
        match found {
            Some(server) if flush || !server.removed => {
                server.removed = true;
                server.epoch = server.epoch.wrapping_add(u8::from(flush));
                Ok(())
            }
            found => {
                let state = if found.is_some() { " any more" } else { "" };
                let reason = format!("{ip} is not an AS of the VIP {}{state}", vip.key);
                Err(Problem::new(word.span, reason).with_hint(servers_hint(vip)))
            }
        }
    }

    fn add_server<T>(
        &mut self,
        vip_index: u32,
        ip: Ipv4Addr,
        word: &Spanned<T>,
        command: &LbAs,
    ) -> Result<(), Problem> {
        let problem = |reason: String| Problem::new(word.span, reason);
        if let Some(why) = unroutable(ip.into()) {
            return Err(problem(format!("{ip} cannot be an AS: {why}")));
        }
        if let Some(own) = self.owner_of(ip.into()) {
            return Err(problem(format!("{ip} is our own address on {}", own.name)));
        }
        if let Some(vip) = self.lb.on_address(ip).next() {
            // Traffic for the AS would come back to the VIP for ever.
            return Err(problem(format!("{ip} is the address of the VIP {}", vip.key)));
        }
        let weight = command.weight.map(|weight| weight.value);
        let Some(vip) = self.lb.vip_mut(vip_index) else { return Ok(()) };
        let others = vip
            .servers
            .iter()
            .filter(|server| server.address != ip && !server.removed && server.weight > 0);
        if weight != Some(0) && others.count() >= vip.new_len as usize {
            let slots = vip.new_len;
            return Err(problem(format!(
                "the new-flow table of {} is full: new_len {slots}",
                vip.key
            ))
            .with_hint("an AS without a slot gets no flows; give the VIP a larger new_len"));
        }
        let epoch_step = u8::from(command.flush);
        match vip.servers.iter_mut().find(|server| server.address == ip) {
            Some(server) if server.removed || weight.is_some() || command.flush => {
                // Back again with its flows, or re-weighted, or flushed.
                let default = if server.removed { defaults::WEIGHT } else { server.weight };
                server.weight = weight.unwrap_or(default);
                server.removed = false;
                server.epoch = server.epoch.wrapping_add(epoch_step);
                Ok(())
            }
            Some(_) => Err(problem(format!("{ip} is already an AS of the VIP {}", vip.key))
                .with_hint("to change its weight, add `weight <0-100>`")),
            None => {
                let Some((index, epoch)) = self.lb.take_server_index() else {
                    let limit = balancer::MAX_SERVERS - 1;
                    return Err(problem(format!("all {limit} ASs are in use")));
                };
                let weight = weight.unwrap_or(defaults::WEIGHT);
                let server = Server { index, address: ip, weight, epoch, removed: false };
                if let Some(vip) = self.lb.vip_mut(vip_index) {
                    vip.servers.push(server);
                }
                Ok(())
            }
        }
    }

    pub(super) fn lb_set_interface_nat(
        &mut self,
        family: Family,
        interfaces: &[Spanned<String>],
        del: bool,
    ) -> Result<(), Problem> {
        for name in interfaces {
            let interface = self.interface_mut(name)?;
            let (on, word) = match family {
                Family::Ip4 => (&mut interface.nat4_in, "nat4"),
                Family::Ip6 => (&mut interface.nat6_in, "nat6"),
            };
            if del && !*on {
                return Err(Problem::new(name.span, format!("{} is not {word} in", name.value)));
            }
            *on = !del;
        }
        Ok(())
    }

    /// The index of the VIP that `key` names; when there is none, the error says which there are.
    fn vip_index(&self, key: &config::VipKey) -> Result<u32, Problem> {
        let (address, prefix_len) = ip4_prefix(&key.prefix)?;
        let named = vip_key(key).ok();
        if let Some(vip) = named.and_then(|named| self.lb.find(named)) {
            return Ok(vip.index);
        }
        let others: Vec<_> = self
            .lb
            .on_address(address)
            .map(|vip| format!("{} port {}", vip.key.protocol.name(), vip.key.port))
            .collect();
        let name = match (named, key.port) {
            (Some(named), _) => named.to_string(),
            (None, Some(port)) => {
                format!("{address}/{prefix_len} protocol {} port {}", port.protocol, port.ports)
            }
            (None, None) => format!("{address}/{prefix_len} for all ports"),
        };
        let hint = match others.is_empty() {
            false => format!("VIPs on {address}: {}", others.join(", ")),
            true if self.lb.vips.values().all(|vip| vip.removed) => {
                "there is no VIP yet".to_owned()
            }
            true => format!("there is no VIP on {address}; `show lb vips` lists them"),
        };
        // Point at what is wrong: the address when nothing is there, else the port.
        let span = match key.port {
            Some(port) if !others.is_empty() => port.ports.span,
            _ => key.prefix.span,
        };
        Err(Problem::new(span, format!("there is no VIP {name}")).with_hint(hint))
    }
}

fn servers_hint(vip: &Vip) -> String {
    let list: Vec<_> =
        vip.servers.iter().filter(|s| !s.removed).map(|s| s.address.to_string()).collect();
    match list.is_empty() {
        true => "it has no AS".to_owned(),
        false => format!("its ASs: {}", list.join(", ")),
    }
}
