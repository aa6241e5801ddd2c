//! `lb as …`, `lb set interface …`.

use std::net::IpAddr;

use config::{Admin, Family, LbAs, Problem, Spanned, check_as_of_vip, defaults};

use super::apply_address::unroutable;
use super::{Model, Server, Vip};

impl Model {
    pub(super) fn lb_as(&mut self, command: &LbAs) -> Result<String, Problem> {
        let index = self.vip_index(&command.vip)?;
        for address in &command.addresses {
            match command.admin {
                Some(admin) => self.set_admin(index, address, admin.value, command.flush)?,
                None if command.del => self.remove_server(index, address, command.flush)?,
                None => self.add_server(index, address, command)?,
            }
        }
        Ok(self.weights_that_wait(index, command))
    }

    /// Says which ASs got a weight that does not count yet.
    fn weights_that_wait(&self, vip: u32, command: &LbAs) -> String {
        let Some(vip) = self.lb.vips.get(vip).filter(|_| command.weight.is_some()) else {
            return String::new();
        };
        let given = command.addresses.iter().filter_map(|address| vip.server(address.value));
        given
            .filter(|server| !server.removed && server.admin != Admin::Up)
            .map(|server| format!("{} drains: its weight counts after undrain\n", server.address))
            .collect()
    }

    fn remove_server(
        &mut self,
        vip: u32,
        address: &Spanned<IpAddr>,
        flush: bool,
    ) -> Result<(), Problem> {
        let Some(present) = self.lb.vips.get(vip) else { return Ok(()) };
        // A removed AS can still be flushed; to remove it again is an error.
        match present.server(address.value) {
            Some(server) if flush || !server.removed => {
                let index = server.index;
                self.lb.with_server(vip, index, |server| {
                    server.removed = true;
                    server.epoch = server.epoch.wrapping_add(u8::from(flush));
                });
                Ok(())
            }
            _ => Err(not_a_server(present, address)),
        }
    }

    fn set_admin(
        &mut self,
        vip: u32,
        address: &Spanned<IpAddr>,
        admin: Admin,
        flush: bool,
    ) -> Result<(), Problem> {
        let Some(present) = self.lb.vips.get(vip) else { return Ok(()) };
        let server = present.server(address.value).filter(|server| !server.removed);
        let Some(server) = server else { return Err(not_a_server(present, address)) };
        let index = server.index;
        self.lb.with_server(vip, index, |server| {
            server.admin = admin;
            server.epoch = server.epoch.wrapping_add(u8::from(flush));
        });
        Ok(())
    }

    fn add_server(
        &mut self,
        vip_index: u32,
        address: &Spanned<IpAddr>,
        command: &LbAs,
    ) -> Result<(), Problem> {
        self.check_server(vip_index, address, command)?;
        let ip = address.value;
        let problem = |reason: String| Problem::new(address.span, reason);
        let weight = command.weight.map(|weight| weight.value);
        let encap = command.encap.map(|encap| encap.value);
        let dscp = command.dscp.map(|dscp| dscp.value);
        let changes = weight.is_some() || encap.is_some() || dscp.is_some() || command.flush;
        let Some(vip) = self.lb.vips.get(vip_index) else { return Ok(()) };
        let own = encap.filter(|encap| *encap != vip.spec.encap());
        match vip.server(ip).copied() {
            Some(present) if present.removed || changes || present.admin != Admin::Up => {
                self.lb.with_server(vip_index, present.index, |server| {
                    // Back again with its flows, or changed, or flushed.
                    if server.removed {
                        *server =
                            Server { weight: defaults::WEIGHT, encap: None, dscp: None, ..*server };
                    }
                    if server.removed || !changes {
                        server.admin = Admin::Up;
                    }
                    server.weight = weight.unwrap_or(server.weight);
                    if encap.is_some() {
                        (server.encap, server.dscp) = (own, None);
                    }
                    server.dscp = dscp.or(server.dscp);
                    server.removed = false;
                    server.epoch = server.epoch.wrapping_add(u8::from(command.flush));
                });
                Ok(())
            }
            Some(_) => Err(problem(format!("{ip} is already an AS of the VIP {}", vip.key))
                .with_hint("to change its weight, add `weight <0-100>`")),
            None => {
                let weight = weight.unwrap_or(defaults::WEIGHT);
                match self.lb.add_server(vip_index, ip, weight, own, dscp) {
                    true => Ok(()),
                    false => {
                        let limit = balancer::MAX_SERVERS - 1;
                        Err(problem(format!("all {limit} ASs are in use")))
                    }
                }
            }
        }
    }

    /// What speaks against an AS.
    fn check_server(
        &self,
        vip: u32,
        address: &Spanned<IpAddr>,
        command: &LbAs,
    ) -> Result<(), Problem> {
        let ip = address.value;
        let problem = |reason: String| Problem::new(address.span, reason);
        if let Some(why) = unroutable(ip) {
            return Err(problem(format!("{ip} cannot be an AS: {why}")));
        }
        if let Some(own) = self.owner_of(ip) {
            return Err(problem(format!("{ip} is our own address on {}", own.name)));
        }
        if let Some(vip) = self.lb.on_prefix(super::Network::host(ip)).next() {
            // Traffic for the AS would come back to the VIP for ever.
            return Err(problem(format!("{ip} is the address of the VIP {}", vip.key))
                .with_hint("an AS needs an address of its own"));
        }
        let Some(vip) = self.lb.vips.get(vip) else { return Ok(()) };
        let present = vip.server(ip).filter(|server| !server.removed);
        let encap = command.encap.or(present.and_then(|server| server.encap).map(Into::into));
        let dscp = command.dscp.or(present.and_then(|server| server.dscp).map(Into::into));
        let dscp = dscp.filter(|_| command.dscp.is_some() || command.encap.is_none());
        if let Some(problem) = check_as_of_vip(&vip.spec, *address, encap, dscp).into_iter().next()
        {
            return Err(problem);
        }
        // One that drains keeps its claim to a slot, so that it can always come back.
        let others = vip.servers.iter().filter(|s| s.address != ip && !s.removed && s.weight > 0);
        let slots = vip.spec.new_len.map_or(defaults::NEW_LEN, |len| len.value);
        let takes_flows = command.weight.is_none_or(|weight| weight.value > 0);
        if takes_flows && others.count() >= slots as usize {
            let reason = format!("the new-flow table of {} is full: new_len {slots}", vip.key);
            return Err(problem(reason)
                .with_hint("an AS without a slot gets no flows; give the VIP a larger new_len"));
        }
        Ok(())
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
}

/// A VIP has no such AS, or not any more.
pub fn not_a_server(vip: &Vip, address: &Spanned<IpAddr>) -> Problem {
    let state = if vip.server(address.value).is_some() { " any more" } else { "" };
    let reason = format!("{} is not an AS of the VIP {}{state}", address.value, vip.key);
    Problem::new(address.span, reason).with_hint(servers_hint(vip))
}

fn servers_hint(vip: &Vip) -> String {
    let list: Vec<_> =
        vip.servers.iter().filter(|s| !s.removed).map(|s| s.address.to_string()).collect();
    match list.is_empty() {
        true => "it has no AS".to_owned(),
        false => format!("its ASs: {}", list.join(", ")),
    }
}
