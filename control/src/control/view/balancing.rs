//! The load balancer.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use balancer::{AsId, Backing, StickyTable};
use config::{Admin, FlowTimeout, FlowTimeouts, Problem, TargetPort};
use dataplane::forwarding::{Method, ServerPath};

use crate::control::Control;
use crate::model::{Server, Vip};
use crate::show::lb::{LbStatus, StickyUsage, TunnelStatus};
use crate::show::no_match::{NoMatchStatus, PrefixPolicy};
use crate::show::timeouts::TimeoutStatus;
use crate::show::vips::{
    ServerCounters, ServerOfVip, ServerStatus, Servers, VipCounters, VipStatus, Vips, title,
};

fn sticky_usage(thread: usize, table: &StickyTable) -> StickyUsage {
    let bytes = table.bytes() as u64;
    let (pages, huge_bytes) = match table.backing() {
        Backing::Ordinary => ("ordinary", 0),
        Backing::HugePages => ("huge", bytes),
        Backing::Transparent { huge_bytes } => ("transparent", bytes.min(huge_bytes as u64)),
    };
    StickyUsage {
        thread,
        flows: u64::from(table.used()),
        flows_moving: 0,
        flows_lost: 0,
        flows_max: table.capacity() as u64,
        bytes,
        pages,
        huge_bytes,
    }
}

fn is_draining(server: &Server) -> bool {
    server.admin != Admin::Up && !server.removed
}

impl Control {
    /// `show lb`.
    pub fn lb_status(&self) -> LbStatus {
        let lb = &self.model.lb;
        let servers = || lb.active().flat_map(|vip| &vip.servers);
        let usage = self.workers.iter().enumerate();
        let usage = usage.map(|(worker, handle)| {
            let moving = self.resize.flows_moving(worker);
            let lost = handle.shared.flows_lost.get();
            let usage = sticky_usage(worker + 1, &handle.sticky);
            StickyUsage {
                flows: usage.flows + moving,
                flows_moving: moving,
                flows_lost: lost,
                ..usage
            }
        });
        let settings = &lb.settings;
        let key_file = settings.hash_key_file.as_ref();
        let in_force = |of: FlowTimeout| of.in_force(&FlowTimeouts::default(), &settings.timeouts);
        LbStatus {
            ip4_src_address: settings.ip4_src_address.unwrap_or(Ipv4Addr::BROADCAST),
            ip6_src_address: settings.ip6_src_address.unwrap_or(Ipv6Addr::from_bits(u128::MAX)),
            vips: lb.active().count(),
            servers: servers().count(),
            as_removed: servers().filter(|server| server.removed).count(),
            as_draining: servers().filter(|server| is_draining(server)).count(),
            draining_flows: servers()
                .filter(|server| server.removed || is_draining(server))
                .map(|server| self.live_flows(server.index))
                .sum(),
            as_drained_total: self.drains.drained(),
            buckets_per_worker: settings.buckets,
            timeout_s: in_force(FlowTimeout::General),
            tcp_established_timeout_s: in_force(FlowTimeout::TcpEstablished),
            tcp_closing_timeout_s: in_force(FlowTimeout::TcpClosing),
            timeouts: TimeoutStatus::of(&FlowTimeouts::default(), &settings.timeouts),
            tunnel: TunnelStatus {
                ttl: settings.tunnel_ttl,
                dscp: settings.tunnel_dscp.to_string(),
                ecn: settings.tunnel_ecn.word(),
                df: settings.tunnel_df.word(),
                too_big: settings.too_big.word(),
                gue_port: settings.gue_port,
                ip4_src_entropy: settings.ip4_src_entropy.to_string(),
                ip6_src_entropy: settings.ip6_src_entropy.to_string(),
            },
            no_match: settings.no_match.word(),
            hash_key_file: key_file.map(|path| path.display().to_string()),
            hash_key_fingerprint: self.compiler.lb.fingerprint().to_owned(),
            state: self.state_status(),
            workers: usage.collect(),
        }
    }

    /// `show lb no-match`.
    pub fn no_match_status(&self) -> NoMatchStatus {
        let lb = &self.model.lb;
        let prefixes = lb.prefixes();
        let longest = |vips: &crate::model::Network| {
            let covering = lb.no_match.keys().filter(|prefix| prefix.covers(*vips));
            covering.max_by_key(|prefix| prefix.prefix_len).copied()
        };
        let of = |(prefix, policy): (&crate::model::Network, &config::NoMatch)| PrefixPolicy {
            prefix: prefix.to_string(),
            policy: policy.word(),
            vip_prefixes: prefixes
                .iter()
                .filter(|vips| longest(vips) == Some(*prefix))
                .map(ToString::to_string)
                .collect(),
        };
        NoMatchStatus {
            default: lb.settings.no_match.word(),
            prefixes: lb.no_match.iter().map(of).collect(),
        }
    }

    /// `show lb vips`. A removed VIP is not shown: its flows ended with it, only their entries are
    /// still to be swept away.
    pub fn vips(&self) -> Vips {
        let tables = self.sticky_tables();
        let status = |vip: &Arc<Vip>| self.vip_status_with(vip, &tables);
        Vips { vips: self.model.lb.active().map(status).collect() }
    }

    /// `show lb as`: of all VIPs, or of those that `key` names; one without ports names all of its
    /// prefix.
    ///
    /// # Errors
    ///
    /// There is no such VIP.
    pub fn servers(&self, key: Option<&config::VipKey>) -> Result<Servers, Problem> {
        let Some(key) = key else { return Ok(self.servers_of(self.model.lb.active())) };
        let network = crate::model::Network::new(key.prefix.address(), key.prefix.length());
        let of_prefix: Vec<_> = self.model.lb.on_prefix(network).collect();
        let wanted: Vec<_> = match key.port {
            None if !of_prefix.is_empty() => of_prefix,
            _ => {
                let index = self.model.vip_index(key)?;
                self.model.lb.vips.get(index).into_iter().collect()
            }
        };
        Ok(self.servers_of(wanted))
    }

    /// With a hundred thousand ASs, what is the same for all of a VIP is found out once.
    fn servers_of<'a>(&self, vips: impl IntoIterator<Item = &'a Arc<Vip>>) -> Servers {
        let tables = self.sticky_tables();
        let mut servers = Vec::new();
        for vip in vips {
            let prefix = vip.key.prefix.to_string();
            let protocol = vip.key.ports.protocol().map(balancer::Protocol::name);
            let (port, port_last) = vip.key.ports.range().unzip();
            let title: Arc<str> = title(&prefix, protocol, port, port_last).into();
            servers.extend(vip.servers.iter().map(|server| ServerOfVip {
                vip: Arc::clone(&title),
                vip_index: vip.index,
                vip_prefix: prefix.clone(),
                protocol,
                port,
                port_last,
                server: self.server_status(vip, server, &tables),
            }));
        }
        Servers { servers }
    }

    pub(super) fn vip_status(&self, vip: &Vip) -> VipStatus {
        self.vip_status_with(vip, &self.sticky_tables())
    }

    fn vip_status_with(&self, vip: &Vip, tables: &[Arc<StickyTable>]) -> VipStatus {
        let table = self.compiler.lb.table(vip.index);
        let spread = table.and_then(balancer::NewFlowTable::spread);
        let counted = self.vip_counted(vip.index);
        let before = self.baseline.vips.get(&vip.index).copied().unwrap_or_default();
        let spec = &vip.spec;
        let ports = vip.key.ports.range();
        let nat = spec.encap().is_nat();
        let target = match (spec.target(), ports) {
            (TargetPort::One(port), _) => Some((port, port)),
            (TargetPort::From(port), Some((first, last))) => {
                Some((port, port.saturating_add(last - first)))
            }
            _ => ports,
        };
        let target = target.filter(|_| nat);
        VipStatus {
            index: vip.index,
            name: spec.name.as_ref().map(|name| name.value.clone()),
            prefix: vip.key.prefix.to_string(),
            protocol: vip.key.ports.protocol().map(balancer::Protocol::name),
            port: ports.map(|(first, _)| first),
            port_last: ports.map(|(_, last)| last),
            encap: spec.encap().word(),
            dscp: spec.dscp.map(|dscp| dscp.value),
            service_type: spec.service_type().word(),
            node_port: spec.node_port(),
            target_port: target.map(|(first, _)| first),
            target_port_last: target.map(|(_, last)| last),
            scheduler: spec.scheduler().word(),
            mss: spec.mss().to_string(),
            timeouts: TimeoutStatus::of(&spec.timeouts, &self.model.lb.settings.timeouts),
            own_timeouts: spec
                .timeouts
                .iter()
                .filter_map(|(of, _)| Some((of.word(), spec.timeouts.seconds(of)?)))
                .collect(),
            no_match: self.model.lb.no_match_of(vip.network()).word(),
            new_len: spec.new_len.map_or(config::defaults::NEW_LEN, |len| len.value),
            new_flow_table_digest: table
                .map(|t| format!("{:016x}", t.digest()))
                .unwrap_or_default(),
            share_of_ideal_min: spread.map(|spread| spread.min),
            share_of_ideal_max: spread.map(|spread| spread.max),
            src_ip_sticky: spec.src_ip_sticky,
            counters: counted.since(&before),
            servers: vip
                .servers
                .iter()
                .map(|server| self.server_status(vip, server, tables))
                .collect(),
        }
    }

    /// What the workers have counted under a VIP's index, ever.
    pub(in crate::control) fn vip_counted(&self, index: u32) -> VipCounters {
        let mut sum = VipCounters::default();
        for stats in self.workers.iter().filter_map(|w| w.shared.vips.get(index as usize)) {
            sum.packets_from_existing_sessions += stats.existing.get();
            sum.first_session_packets += stats.first.get();
            sum.untracked_packets += stats.untracked.get();
            sum.no_server_configured += stats.no_server.get();
        }
        sum
    }

    /// What the workers have counted under an AS's index, ever.
    pub(in crate::control) fn server_counted(&self, index: u32) -> ServerCounters {
        let mut sum = ServerCounters::default();
        for stats in self.workers.iter().filter_map(|w| w.shared.servers.get(index as usize)) {
            sum.packets += stats.packets.get();
            sum.bytes += stats.bytes.get();
            sum.reply_packets += stats.reply_packets.get();
            sum.reply_bytes += stats.reply_bytes.get();
        }
        sum
    }

    fn server_status(
        &self,
        vip: &Vip,
        server: &Server,
        tables: &[Arc<StickyTable>],
    ) -> ServerStatus {
        let table = self.compiler.lb.table(vip.index).filter(|_| !server.removed);
        let path = AsId::new(server.index).and_then(|id| self.snapshot().server_path(id));
        let adjacency = path.and_then(|path| self.snapshot().adjacency(path.adjacency?));
        let before = self.baseline.servers.get(&server.index).copied().unwrap_or_default();
        ServerStatus {
            index: server.index,
            address: server.address,
            weight: server.weight,
            encap: server.method(&vip.spec).word(),
            dscp: server.l3dsr(&vip.spec),
            buckets: table.map_or(0, |table| table.share(server.address)),
            buckets_ideal: table.map_or(0.0, |table| table.ideal_share(server.address)),
            flows: self.flushes.live(server.index, tables),
            counters: self.server_counted(server.index).since(&before),
            adjacency: path.and_then(|path| path.adjacency).map(|id| id.0),
            interface: adjacency.map(|a| self.model.name_of(a.interface).to_owned()),
            next_hop: adjacency.map(|adjacency| adjacency.next_hop),
            path: self.path_state(path),
            tunnel_source: path.and_then(|path| path.tunnel_source),
            removed: server.removed,
            admin: server.admin.word(),
            drained: self.drains.is_drained(server.index),
        }
    }

    /// Whether packets find their way to an AS.
    fn path_state(&self, path: Option<&ServerPath>) -> &'static str {
        let snapshot = self.snapshot();
        let adjacency = path.and_then(|path| snapshot.adjacency(path.adjacency?));
        let (Some(path), Some(adjacency)) = (path, adjacency) else { return "no route" };
        if matches!(path.method, Method::Gre | Method::Ipip | Method::Gue)
            && path.tunnel_source.is_none()
        {
            return "no tunnel source";
        }
        let link = match adjacency.tunnel {
            None => Some(adjacency),
            Some(tunnel) => tunnel.underlay.and_then(|id| snapshot.adjacency(id)),
        };
        match link {
            None => "no route",
            Some(link) if link.rewrite.is_none() => "unresolved",
            Some(_) => "resolved",
        }
    }
}
