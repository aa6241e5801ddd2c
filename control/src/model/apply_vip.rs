//! `lb vip …`, `lb flush vip …`, `lb no-match …`.

use balancer::{Ports, Prefix, VipKey};
use config::{
    LbNoMatch, LbVipAdd, LbVipUpdate, Mss, PortRange, Problem, Protocol, Scheduler, Span, Spanned,
    TargetPort, VipPort, check_as_of_vip, defaults,
};

use super::apply_address::unroutable;
use super::{LbModel, Model, Network, Vip};

/// The balancer's name of the VIP that `key` means.
pub(super) fn vip_key(key: &config::VipKey) -> VipKey {
    let network = Network::new(key.prefix.address(), key.prefix.length());
    let prefix = Prefix { network: network.address, len: network.prefix_len };
    let ports = key.port.map_or(Ports::All, |VipPort { protocol, ports }| Ports::Range {
        protocol: match protocol.value {
            Protocol::Tcp => balancer::Protocol::Tcp,
            Protocol::Udp => balancer::Protocol::Udp,
        },
        first: ports.first(),
        last: ports.last(),
    });
    VipKey { prefix, ports }
}

/// A VIP's parameters as the running configuration shows them: with the encap, without what is the
/// default anyway, and without places in a line of text.
pub fn canonical(add: &LbVipAdd) -> LbVipAdd {
    let own_ports = add.key.port.map(|port| port.ports.value);
    let nat = add.encap().is_nat();
    let target = match add.target() {
        TargetPort::Keep => own_ports,
        _ => add.target_port.map(|ports| ports.value),
    };
    let key = config::VipKey {
        prefix: add.key.prefix.value.into(),
        port: add.key.port.map(|port| VipPort {
            protocol: port.protocol.value.into(),
            ports: port.ports.value.into(),
        }),
    };
    LbVipAdd {
        key,
        encap: Some(add.encap().into()),
        dscp: add.dscp.map(|dscp| dscp.value.into()),
        service_type: nat.then(|| add.service_type().into()),
        node_port: add.node_port().map(Into::into),
        target_port: target.filter(|_| nat).map(Into::<Spanned<PortRange>>::into),
        new_len: add
            .new_len
            .map(|len| len.value)
            .filter(|len| *len != defaults::NEW_LEN)
            .map(Into::into),
        src_ip_sticky: add.src_ip_sticky,
        scheduler: Some(add.scheduler()).filter(|s| *s != Scheduler::Maglev).map(Into::into),
        mss: Some(add.mss()).filter(|mss| *mss != Mss::Off).map(Into::into),
        timeouts: add.timeouts.alone(),
        name: add.name.as_ref().map(|name| name.value.clone().into()),
    }
}

/// Why no VIP can have a prefix, if so: no host can have any of its addresses.
fn no_vip(network: Network) -> Option<&'static str> {
    unroutable(network.address).filter(|why| unroutable(network.last()) == Some(*why))
}

impl Model {
    pub(super) fn lb_vip_add(&mut self, add: &LbVipAdd) -> Result<String, Problem> {
        let key = vip_key(&add.key);
        let span = add.key.prefix.span;
        let problem = |reason: String| Problem::new(span, reason);
        let network = Network::new(add.key.prefix.address(), add.key.prefix.length());
        if let Some(why) = no_vip(network) {
            let what =
                if network.is_host() { network.address.to_string() } else { network.to_string() };
            return Err(problem(format!("{what} cannot be a VIP: {why}")));
        }
        if self.lb.find(key).is_some() {
            return Err(problem(format!("the VIP {key} exists already"))
                .with_hint(format!("to change it: lb vip {key} … update")));
        }
        if let Some(vip) = self.lb.served_by(network.address).filter(|_| network.is_host()) {
            // Traffic for the AS would come back to the VIP for ever.
            let address = network.address;
            return Err(problem(format!("{address} is an AS of the VIP {}", vip.key)));
        }
        self.check_ports(add, network)?;
        self.lb.check_name(add.name.as_ref(), None)?;
        let Some(index) = self.lb.index_for(key) else {
            return Err(problem(format!("all {} VIPs are in use", balancer::MAX_VIPS - 1)));
        };
        let spec = canonical(add);
        let servers = self.lb.servers_before(index, &spec);
        self.lb.insert(Vip { index, key, spec, servers, removed: false });
        Ok(format!("lb_vip_add ok {index}"))
    }

    /// Ports that another VIP has already.
    fn check_ports(&self, add: &LbVipAdd, network: Network) -> Result<(), Problem> {
        let clash = self.lb.on_prefix(network).find(|vip| vip.spec.key.conflicts(&add.key));
        if let (Some(vip), Some(port)) = (clash, add.key.port) {
            let reason =
                format!("the ports {} overlap with those of the VIP {}", port.ports, vip.key);
            return Err(Problem::new(port.ports.span, reason).with_hint(
                "ranges of one address must be apart; a single port may lie in a range",
            ));
        }
        let Some(node_port) = add.node_port() else { return Ok(()) };
        let taken = self.lb.with_node_port(vip_key(&add.key), node_port);
        let Some(vip) = taken else { return Ok(()) };
        let span = add.node_port.map_or(add.key.prefix.span, |port| port.span);
        let reason = format!("node port {node_port} is the VIP {}'s", vip.key);
        Err(Problem::new(span, reason).with_hint("say another: node_port <n>"))
    }

    pub(super) fn lb_vip_update(&mut self, update: &LbVipUpdate) -> Result<(), Problem> {
        let index = self.vip_index(&update.key)?;
        let Some(vip) = self.lb.vips.get(index) else { return Ok(()) };
        let mut spec = update.onto(&vip.spec)?;
        if let Some(encap) = update.encap {
            spec.encap = Some(encap);
        }
        let in_use = vip.servers.iter().filter(|server| !server.removed);
        for server in in_use.clone() {
            let encap = server.encap.map(Into::into);
            let dscp = server.dscp.map(Into::into);
            let problems = check_as_of_vip(&spec, server.address.into(), encap, dscp);
            if let Some(mut problem) = problems.into_iter().next() {
                problem.span = update.encap.map_or(update.key.prefix.span, |encap| encap.span);
                problem.reason = format!("AS {}: {}", server.address, problem.reason);
                return Err(problem);
            }
        }
        let (taking, slots) = (in_use.filter(|server| server.weight > 0).count(), spec.new_len);
        if let Some(slots) = slots.filter(|slots| taking > slots.value as usize) {
            let reason = format!("new_len {} has no slot for each of {taking} ASs", slots.value);
            let span = update.new_len.map_or(update.key.prefix.span, |word| word.span);
            return Err(Problem::new(span, reason));
        }
        self.lb.check_name(update.name.as_ref(), Some(index))?;
        self.lb.set_spec(index, canonical(&spec));
        Ok(())
    }

    pub(super) fn lb_vip_del(&mut self, key: &config::VipKey) -> Result<(), Problem> {
        let index = self.vip_index(key)?;
        self.lb.remove(index);
        Ok(())
    }

    pub(super) fn lb_flush_vip(&mut self, key: &config::VipKey) -> Result<String, Problem> {
        let index = self.vip_index(key)?;
        self.lb.flush(index);
        Ok(format!("lb_flush_vip ok {index}"))
    }

    pub(super) fn lb_flush_all(&mut self) {
        let indices: Vec<u32> = self.lb.vips.iter().map(|(index, _)| index).collect();
        for index in indices {
            self.lb.flush(index);
        }
    }

    pub(super) fn lb_no_match(&mut self, command: &LbNoMatch) -> Result<(), Problem> {
        let network = Network::new(command.prefix.address(), command.prefix.length());
        let problem = |reason: String| Problem::new(command.prefix.span, reason);
        let Some(policy) = &command.policy else {
            return match self.lb.no_match.remove(&network) {
                Some(_) => Ok(()),
                None => Err(problem(format!("{network} has no policy of its own"))
                    .with_hint("`show lb no-match` lists those that have")),
            };
        };
        self.check_policy(policy)?;
        let prefixes = self.lb.prefixes();
        let around = prefixes.iter().find(|vips| vips.covers(network) && **vips != network);
        if let Some(around) = around.filter(|_| !prefixes.iter().any(|vips| network.covers(*vips)))
        {
            return Err(problem(format!("{network} is a part of the VIP prefix {around}"))
                .with_hint(format!(
                    "a VIP prefix has one policy: lb no-match {around} {}",
                    policy.value
                )));
        }
        self.lb.no_match.insert(network, policy.value);
        Ok(())
    }

    /// The index of the VIP that `key` names; when there is none, the error says which there are.
    pub(crate) fn vip_index(&self, key: &config::VipKey) -> Result<u32, Problem> {
        let named = vip_key(key);
        if let Some(vip) = self.lb.find(named) {
            return Ok(vip.index);
        }
        let network = super::lb::network(named.prefix);
        let others: Vec<_> = self.lb.on_prefix(network).map(|vip| ports_of(vip.key)).collect();
        let shown =
            if network.is_host() { network.address.to_string() } else { network.to_string() };
        let hint = match others.is_empty() {
            false => format!("VIPs on {shown}: {}", others.join(", ")),
            true if self.lb.active().next().is_none() => "there is no VIP yet".to_owned(),
            true => format!("there is no VIP on {shown}; `show lb vips` lists them"),
        };
        // Point at what is wrong: the address when nothing is there, else the port.
        let span: Span = match key.port {
            Some(port) if !others.is_empty() => port.ports.span,
            _ => key.prefix.span,
        };
        let all = if named.ports == Ports::All { " for all ports" } else { "" };
        Err(Problem::new(span, format!("there is no VIP {named}{all}")).with_hint(hint))
    }
}

/// The ports of a VIP in a list.
fn ports_of(key: VipKey) -> String {
    match key.ports {
        Ports::All => "all ports".to_owned(),
        ports => ports.to_string().trim_start().trim_start_matches("protocol ").to_owned(),
    }
}

impl LbModel {
    /// Names are unique; `of` is the VIP that is to have this one.
    fn check_name(&self, name: Option<&Spanned<String>>, of: Option<u32>) -> Result<(), Problem> {
        let Some(name) = name else { return Ok(()) };
        let taken = self.named(name).filter(|vip| Some(vip.index) != of);
        match taken {
            Some(vip) => {
                let reason = format!("the VIP {} is called {} already", vip.key, name.value);
                Err(Problem::new(name.span, reason))
            }
            None => Ok(()),
        }
    }
}
