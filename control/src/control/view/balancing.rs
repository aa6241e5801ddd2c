//! The load balancer.

use balancer::AsId;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::control::Control;
use crate::model::{Server, Vip};
use crate::show::lb::{LbStatus, StickyUsage};
use crate::show::vips::{ServerStatus, VipCounters, VipStatus, Vips};

impl Control {
    /// `show lb`.
    pub fn lb_status(&self) -> LbStatus {
        let lb = &self.model.lb;
        let vips = || lb.vips.values().filter(|vip| !vip.removed);
        let servers = || vips().flat_map(|vip| &vip.servers);
        let usage = self.workers.iter().enumerate().map(|(worker, handle)| StickyUsage {
            thread: worker + 1,
            flows: u64::from(handle.sticky.used()),
            flows_max: handle.sticky.capacity() as u64,
        });
        LbStatus {
            ip4_src_address: lb.ip4_src_address.unwrap_or(Ipv4Addr::BROADCAST),
            ip6_src_address: lb.ip6_src_address.unwrap_or(Ipv6Addr::from_bits(u128::MAX)),
            vips: vips().count(),
            servers: servers().count(),
            as_removed: servers().filter(|server| server.removed).count(),
            buckets_per_worker: lb.buckets,
            timeout_s: lb.timeout_s,
            tcp_established_timeout_s: lb.tcp_established_timeout_s,
            tcp_closing_timeout_s: lb.tcp_closing_timeout_s,
            hash_key_file: lb.hash_key_file.as_ref().map(|path| path.display().to_string()),
            hash_key_fingerprint: self.lb.fingerprint().to_owned(),
            workers: usage.collect(),
        }
    }

    /// `show lb vips`. A removed VIP is not shown: its flows ended with it, only their entries are
    /// still to be swept away.
    pub fn vips(&self) -> Vips {
        let vips = self.model.lb.vips.values().filter(|vip| !vip.removed);
        Vips { vips: vips.map(|vip| self.vip_status(vip)).collect() }
    }

    pub(super) fn vip_status(&self, vip: &Vip) -> VipStatus {
        let table = self.lb.table(vip.index);
        let counted = self.vip_counted(vip.index);
        let before = self.baseline.vips.get(&vip.index).copied().unwrap_or_default();
        VipStatus {
            index: vip.index,
            name: vip.name.as_ref().map(ToString::to_string),
            prefix: format!("{}/32", vip.key.address),
            protocol: vip.key.protocol.name(),
            protocol_number: vip.key.protocol.number(),
            port: vip.key.port,
            encap: vip.encap.word(),
            service_type: vip.service_type.word(),
            target_port: vip.target_port,
            new_len: vip.new_len,
            new_flow_table_digest: table
                .map(|t| format!("{:016x}", t.digest()))
                .unwrap_or_default(),
            src_ip_sticky: vip.src_ip_sticky,
            counters: counted.since(&before),
            servers: vip.servers.iter().map(|server| self.server_status(vip, server)).collect(),
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

    pub(super) fn server_status(&self, vip: &Vip, server: &Server) -> ServerStatus {
        let table = self.lb.table(vip.index).filter(|_| !server.removed);
        let path = AsId::new(server.index).and_then(|id| self.snapshot().server_path(id));
        ServerStatus {
            index: server.index,
            address: server.address,
            weight: server.weight,
            buckets: table.map_or(0, |table| table.share(server.address.into())),
            flows: self.live_flows(server.index),
            adjacency: path.map(|path| path.adjacency.0),
            removed: server.removed,
        }
    }
}
