//! A configuration, two workers and a clock to decide with.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use balancer::{
    Address, ApplicationServer, AsId, Balancer, Decision, DirectDecision, FlowHasher, FlowTuple,
    HashKey, InstanceKey, LbConfig, LbTables, NewFlowCache, Ports, Prefix, Protocol, ReplyVerdict,
    Scheduler, ServerState, StickyOwner, StickyTable, TableLength, TargetPort, TcpFlags, Timeouts,
    Vip, VipId, VipKey, VipSpec,
};

pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 10, 10, 1);
pub(crate) const SYN: TcpFlags = TcpFlags::SYN;
pub(crate) const ACK: TcpFlags = TcpFlags::ACK;
pub(crate) const FIN: TcpFlags = TcpFlags::FIN.with(TcpFlags::ACK);
pub(crate) const RST: TcpFlags = TcpFlags::RST;

pub(crate) fn vip_id(n: u32) -> VipId {
    VipId::new(n).unwrap()
}

pub(crate) fn as_id(n: u32) -> AsId {
    AsId::new(n).unwrap()
}

/// The address of a VIP that [`spec`] makes.
pub(crate) fn vip_address(n: u32) -> Ipv4Addr {
    Ipv4Addr::new(20, 20, 20, n as u8)
}

pub(crate) fn spec(n: u32, protocol: Protocol) -> VipSpec {
    let prefix = Prefix::host(vip_address(n).into());
    VipSpec {
        id: vip_id(n),
        key: VipKey { prefix, ports: Ports::one(protocol, 2020) },
        target: TargetPort::One(80),
        node_port: None,
        src_ip_sticky: false,
        scheduler: Scheduler::Maglev,
        length: TableLength::new(1024).unwrap(),
        nat: true,
        timeouts: None,
    }
}

pub(crate) fn server(id: u32, vip: u32, last: u8) -> ApplicationServer {
    ApplicationServer {
        id: as_id(id),
        vip: vip_id(vip),
        address: Ipv4Addr::new(192, 168, 1, last).into(),
        weight: 100,
        state: ServerState::Active,
        epoch: 0,
    }
}

/// A configuration, one or two workers, and a clock.
pub(crate) struct World {
    pub(crate) vips: Vec<VipSpec>,
    pub(crate) servers: Vec<ApplicationServer>,
    pub(crate) tables: LbTables,
    pub(crate) cache: NewFlowCache,
    pub(crate) workers: Vec<StickyOwner>,
    pub(crate) peers: Vec<Arc<StickyTable>>,
    pub(crate) now_s: u32,
}

impl World {
    pub(crate) fn new(vips: Vec<VipSpec>, servers: Vec<ApplicationServer>, buckets: u64) -> Self {
        let owner = || StickyOwner::new(buckets, InstanceKey::from_bytes([9; 32]), 64).unwrap();
        let workers = vec![owner(), owner()];
        let peers = workers.iter().map(|worker| Arc::clone(worker.table())).collect();
        let hasher = FlowHasher::new(&HashKey::default());
        let tables = LbTables::empty(hasher, Timeouts::default());
        let cache = NewFlowCache::new();
        // Just before 16-bit ticks wrap.
        let mut world = Self { vips, servers, tables, cache, workers, peers, now_s: 65_500 };
        world.publish();
        world
    }

    /// One VIP (TCP, id 1) with `servers` ASs 192.168.1.1 and on.
    pub(crate) fn one_vip(servers: u32) -> Self {
        let servers = (0..servers).map(|n| server(n, 1, n as u8 + 1)).collect();
        Self::new(vec![spec(1, Protocol::Tcp)], servers, 64)
    }

    /// Two VIPs (TCP, ids 1 and 2) with the same two ASs, 0 and 1, 2 and 3.
    pub(crate) fn two_vips(buckets: u64) -> Self {
        let vips = vec![spec(1, Protocol::Tcp), spec(2, Protocol::Tcp)];
        let servers = vec![server(0, 1, 1), server(1, 1, 2), server(2, 2, 1), server(3, 2, 2)];
        Self::new(vips, servers, buckets)
    }

    pub(crate) fn publish(&mut self) {
        let config = LbConfig {
            vips: &self.vips,
            servers: &self.servers,
            hasher: self.tables.hasher.clone(),
            timeouts: *self.tables.timeouts.global(),
        };
        self.tables = LbTables::build(&config, &self.tables, &mut self.cache).unwrap();
    }

    pub(crate) fn balancer(&mut self, worker: usize) -> Balancer<'_> {
        Balancer {
            tables: &self.tables,
            owner: &mut self.workers[worker],
            peers: &self.peers,
            now_s: self.now_s,
        }
    }

    fn tuple(&self, vip: u32, port: u16) -> FlowTuple<Ipv4Addr> {
        let ports = self.tables.vip(vip_id(vip)).unwrap().key.ports;
        FlowTuple {
            src: CLIENT,
            dst: vip_address(vip),
            src_port: port,
            dst_port: ports.single().unwrap(),
            protocol: ports.protocol().unwrap().number(),
        }
    }

    /// The AS that the new-flow table says for a client port.
    pub(crate) fn wish(&self, vip: u32, port: u16) -> AsId {
        let hash = self.tables.hasher.hash(&self.tuple(vip, port), false);
        self.tables.vip(vip_id(vip)).unwrap().server_for(hash).unwrap()
    }

    pub(crate) fn send_at(
        &mut self,
        worker: usize,
        vip: u32,
        port: u16,
        flags: TcpFlags,
    ) -> Decision {
        let vip = self.tables.vip(vip_id(vip)).unwrap().clone();
        let tuple = self.tuple(vip.id.get(), port);
        self.balancer(worker).select(&vip, &tuple, flags)
    }

    pub(crate) fn send(&mut self, vip: u32, port: u16, flags: TcpFlags) -> Decision {
        self.send_at(0, vip, port, flags)
    }

    pub(crate) fn reply_at(
        &mut self,
        worker: usize,
        last: u8,
        port: u16,
        flags: TcpFlags,
    ) -> ReplyVerdict<Ipv4Addr> {
        let tuple = FlowTuple {
            src: Ipv4Addr::new(192, 168, 1, last),
            dst: CLIENT,
            src_port: 80,
            dst_port: port,
            protocol: Protocol::Tcp.number(),
        };
        self.balancer(worker).attribute_reply(&tuple, flags)
    }

    pub(crate) fn reply(&mut self, last: u8, port: u16, flags: TcpFlags) -> ReplyVerdict<Ipv4Addr> {
        self.reply_at(0, last, port, flags)
    }

    pub(crate) fn direct_at(
        &mut self,
        worker: usize,
        last: u8,
        port: u16,
        flags: TcpFlags,
    ) -> DirectDecision {
        let tuple = FlowTuple {
            src: CLIENT,
            dst: Ipv4Addr::new(192, 168, 1, last),
            src_port: port,
            dst_port: 80,
            protocol: Protocol::Tcp.number(),
        };
        self.balancer(worker).record_direct(&tuple, flags)
    }

    pub(crate) fn direct(&mut self, last: u8, port: u16, flags: TcpFlags) -> DirectDecision {
        self.direct_at(0, last, port, flags)
    }

    /// The VIP of a client's packet.
    pub(crate) fn vip_of<A: Address>(&self, tuple: &FlowTuple<A>) -> Option<Vip> {
        let group = self.tables.groups.of_address(tuple.dst.into())?;
        let id = self.tables.find_vip(group, tuple.protocol, tuple.dst_port)?;
        self.tables.vip(id).cloned()
    }

    /// Decides for a client's packet, which must be for a VIP.
    pub(crate) fn forward<A: Address>(
        &mut self,
        worker: usize,
        tuple: &FlowTuple<A>,
        flags: TcpFlags,
    ) -> Decision {
        let vip = self.vip_of(tuple).unwrap();
        self.balancer(worker).select(&vip, tuple, flags)
    }

    /// The tuple of a reply: `tuple` is the client's packet to the VIP, `id` the AS.
    pub(crate) fn reply_tuple<A: Address>(
        &self,
        vip: &Vip,
        tuple: &FlowTuple<A>,
        id: AsId,
    ) -> FlowTuple<A> {
        let src = A::from_ip(self.tables.server(id).unwrap().address).unwrap();
        let src_port = vip.target_port(tuple.dst_port);
        FlowTuple { src, src_port, dst: tuple.src, dst_port: tuple.src_port, ..*tuple }
    }

    pub(crate) fn server_mut(&mut self, id: u32) -> &mut ApplicationServer {
        self.servers.iter_mut().find(|server| server.id == as_id(id)).unwrap()
    }

    pub(crate) fn live(&self, id: u32) -> u32 {
        self.workers[0].table().live_flows().of(as_id(id))
    }

    pub(crate) fn last_octet(&self, id: AsId) -> u8 {
        match self.tables.server(id).unwrap().address {
            IpAddr::V4(address) => address.octets()[3],
            IpAddr::V6(address) => address.octets()[15],
        }
    }
}

pub(crate) fn translate(vip: u32, id: AsId) -> ReplyVerdict<Ipv4Addr> {
    let (vip, address) = (vip_id(vip), vip_address(vip));
    ReplyVerdict::Translate { vip, as_id: id, address, port: 2020 }
}
