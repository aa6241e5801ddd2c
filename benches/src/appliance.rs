//! [`Appliance`]: the load balancer under test, configured by the same commands as the daemon.

use std::net::IpAddr;
use std::sync::Arc;

use balancer::InstanceKey;
use control::compile::{new_instance_key, new_sticky_owner};
use control::control::{Control, Parts, Ticks, TscBase, WorkerHandle};
use control::model::Model;
use control::runtime::hardware::{Hardware, Link, PortFacts};
use control::show::buffers::PoolStatus;
use control::show::hardware::{NamedCount, PortCounters};
use dataplane::clock::{Clock, read_tsc};
use dataplane::interface::{InterfaceId, MacAddress, PortId, QueueId};
use dataplane::io::PacketIo;
use dataplane::packet::Packet;
use dataplane::worker::{PollMode, RxAssignment, Worker, WorkerShared, WorkerState};

use crate::bench_clock::BenchClock;
use crate::family::Family;
use crate::frame_template::Direction;
use crate::lent::Lent;
use crate::mode::Mode;
use crate::service::{Service, VIPS_MAX, VipPorts};
use crate::site::{DSCP, SERVER_PORT, VIP_PORT, idle_vip, server, server_mac, vip};
use crate::traffic::Protocol;

/// The interface that has all the traffic, in and out, unless clients have a port of their own.
const INTERFACE: &str = "bench0";
/// ASs of a VIP without traffic.
const IDLE_SERVERS: u16 = 10;
/// The interface of clients, when they have a port of their own.
const CLIENTS: &str = "bench1";

/// What is to be set up.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// What it does with packets; a mode with a graph.
    pub mode: Mode,
    /// Family of the VIP.
    pub family: Family,
    /// Protocol of the VIP.
    pub protocol: Protocol,
    /// VIPs and ASs.
    pub service: Service,
    /// Sticky buckets per worker.
    pub buckets: u32,
    /// Number of workers.
    pub workers: usize,
    /// The port.
    pub port: PortId,
    /// Its Ethernet address.
    pub mac: MacAddress,
    /// TSC clocks per second.
    pub hz: u64,
}

impl Setup {
    /// The commands that configure it.
    pub fn commands(&self) -> Vec<String> {
        self.commands_with(client_routes("10.0.255.253", "2001:db8:1::fffd").into())
    }

    /// The commands that configure it when clients have a port of their own.
    pub fn commands_between(&self) -> Vec<String> {
        let mut lines = vec![
            format!("set interface state {CLIENTS} up"),
            format!("set interface mtu 2000 {CLIENTS}"),
            format!("set interface ip address {CLIENTS} 10.1.255.254/16"),
            format!("set interface ip address {CLIENTS} 2001:db8:2::fffe/64"),
            format!("set ip neighbor {CLIENTS} 10.1.255.253 02:00:00:00:ff:fc static"),
            format!("set ip neighbor {CLIENTS} 2001:db8:2::fffd 02:00:00:00:ff:fc static"),
        ];
        lines.extend(client_routes("10.1.255.253", "2001:db8:2::fffd"));
        self.commands_with(lines)
    }

    fn commands_with(&self, to_clients: Vec<String>) -> Vec<String> {
        let mut lines = vec![
            format!("set interface state {INTERFACE} up"),
            // Frames of 1518 bytes are to fit into tunnels.
            format!("set interface mtu 2000 {INTERFACE}"),
            format!("set interface ip address {INTERFACE} 10.0.255.254/16"),
            format!("set interface ip address {INTERFACE} 2001:db8:1::fffe/64"),
            format!("set ip neighbor {INTERFACE} 10.0.255.253 02:00:00:00:ff:fd static"),
            format!("set ip neighbor {INTERFACE} 2001:db8:1::fffd 02:00:00:00:ff:fd static"),
            // As others demand it, nearly everybody does so; and clients must not have these addresses.
            "lb conf ip4-src-address 10.0.255.254 ip6-src-address 2001:db8:1::fffe".to_owned(),
        ];
        lines.extend(to_clients);
        match self.mode.encap() {
            Some(encap) => lines.extend(self.vip_commands(encap)),
            // Routed to the same neighbour, which makes no difference.
            None => lines.push(match self.family {
                Family::Ip4 => "ip route add 90.0.0.0/8 via 10.0.255.253".to_owned(),
                Family::Ip6 => "ip route add 2001:db8:90::/48 via 2001:db8:1::fffd".to_owned(),
            }),
        }
        lines
    }

    fn vip_commands(&self, encap: &str) -> Vec<String> {
        let Service { servers, vips, .. } = self.service;
        let more = |target_port: u16| match self.mode {
            mode if mode.is_nat() => format!(" type clusterip target_port {target_port}"),
            Mode::LbL3dsr => format!(" dscp {DSCP}"),
            _ => String::new(),
        };
        let length =
            self.service.vip_length.map_or(String::new(), |slots| format!(" new_len {slots}"));
        let add = |key: &str, more: &str| format!("lb vip {key} encap {encap}{more}{length}");
        let mut lines = vec![add(&self.key(vip(self.family)), &more(SERVER_PORT))];
        for number in 0..servers {
            let address = server(number, self.mode.server_family(self.family));
            let mac = server_mac(number);
            lines.push(format!("set ip neighbor {INTERFACE} {address} {mac} static"));
        }
        lines.extend(self.server_words().iter().map(|server| format!("lb as {server}")));
        for number in 0..vips.clamp(1, VIPS_MAX) as u16 - 1 {
            let key = self.key(idle_vip(number, self.family));
            // A port of ASs that no other VIP has: shared ones need an entry for every flow.
            lines.push(add(&key, &more(SERVER_PORT + 1 + number)));
            lines.extend(self.idle_servers(number).map(|server| format!("lb as {key} {server}")));
        }
        if self.mode.direction() == Direction::Return {
            lines.push(format!("lb set interface {encap} in {INTERFACE}"));
        }
        lines
    }

    /// The words of `lb vip` that name a VIP of this address.
    fn key(&self, address: IpAddr) -> String {
        let prefix = match self.family {
            Family::Ip4 => format!("{address}/32"),
            Family::Ip6 => format!("{address}/128"),
        };
        let protocol = if self.protocol == Protocol::Udp { "udp" } else { "tcp" };
        match self.mode.ports(self.service.ports) {
            VipPorts::One => format!("{prefix} protocol {protocol} port {VIP_PORT}"),
            VipPorts::All => prefix,
        }
    }

    /// By AS of the VIP: the words of `lb as` that name it.
    pub fn server_words(&self) -> Vec<String> {
        let key = self.key(vip(self.family));
        let family = self.mode.server_family(self.family);
        (0..self.service.servers)
            .map(|number| format!("{key} {}", server(number, family)))
            .collect()
    }

    /// Addresses and weights of some ASs for a VIP without traffic: other ones for each VIP, as VIPs
    /// with equal ASs would share their table.
    fn idle_servers(&self, vip: u16) -> impl Iterator<Item = String> {
        let (servers, family) = (self.service.servers, self.mode.server_family(self.family));
        let first_weight = 1 + vip / servers % 100;
        (0..servers.min(IDLE_SERVERS)).map(move |number| {
            let weight = if number == 0 { first_weight } else { 100 };
            let address = server((vip % servers + number) % servers, family);
            format!("{address} weight {weight}")
        })
    }
}

/// Routes to clients.
fn client_routes(via4: &str, via6: &str) -> [String; 2] {
    [
        format!("ip route add 16.0.0.0/8 via {via4}"),
        format!("ip route add 2001:db8:16::/48 via {via6}"),
    ]
}

/// A load balancer whose ports are lent to it.
pub struct Appliance<I: PacketIo, C: Clock = BenchClock> {
    /// Its control, which must outlive the workers' use of the snapshot.
    pub control: Control,
    /// Its workers.
    pub workers: Vec<Worker<Lent<I>, C>>,
}

impl<I: PacketIo, C: Clock> std::fmt::Debug for Appliance<I, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Appliance({} workers)", self.workers.len())
    }
}

impl<I: PacketIo> Appliance<I> {
    /// Builds and configures it for a mode, with a key of its own and on real time.
    ///
    /// # Errors
    ///
    /// A command that is refused, or no memory for its tables.
    pub fn new(setup: &Setup) -> Result<Self, String> {
        Self::configured(setup, &setup.commands())
    }

    /// The same with other commands.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    pub fn configured(setup: &Setup, commands: &[String]) -> Result<Self, String> {
        let instance = new_instance_key().map_err(|error| format!("making a key: {error}"))?;
        let tsc = TscBase { start: read_tsc(), hz: setup.hz };
        let clock = || BenchClock::new(tsc.start, tsc.hz);
        Self::with(setup, commands, instance, tsc, clock)
    }

    /// The same where clients have a port of their own, with this Ethernet address; the port of the
    /// setup is that of the ASs.
    ///
    /// # Errors
    ///
    /// As [`Self::new`].
    pub fn between(setup: &Setup, clients: (PortId, MacAddress)) -> Result<Self, String> {
        let instance = new_instance_key().map_err(|error| format!("making a key: {error}"))?;
        let tsc = TscBase { start: read_tsc(), hz: setup.hz };
        let clock = || BenchClock::new(tsc.start, tsc.hz);
        Self::with_ports(setup, Some(clients), &setup.commands_between(), instance, tsc, clock)
    }

    /// The interface.
    pub fn interface() -> InterfaceId {
        // `local0` is 0 and nothing else was added before.
        InterfaceId(1)
    }
}

impl<I: PacketIo, C: Clock> Appliance<I, C> {
    /// Builds it and configures it by these commands. All workers' sticky tables have the key
    /// `instance`, and each worker gets a clock that counts from `tsc`.
    ///
    /// # Errors
    ///
    /// A command that is refused, or no memory for its tables.
    pub fn with(
        setup: &Setup,
        commands: &[String],
        instance: InstanceKey,
        tsc: TscBase,
        clock: impl Fn() -> C,
    ) -> Result<Self, String> {
        Self::with_ports(setup, None, commands, instance, tsc, clock)
    }

    fn with_ports(
        setup: &Setup,
        clients: Option<(PortId, MacAddress)>,
        commands: &[String],
        instance: InstanceKey,
        tsc: TscBase,
        clock: impl Fn() -> C,
    ) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("making the sticky tables: {error}");
        let info = graph_nodes::builder().info().map_err(|error| error.to_string())?;
        let mut model = Model::default();
        let mtu = config::defaults::MTU;
        let mut ports = vec![(setup.port, model.add_device(INTERFACE, setup.port, setup.mac, mtu))];
        if let Some((port, mac)) = clients {
            ports.push((port, model.add_device(CLIENTS, port, mac, mtu)));
        }
        model.lb.settings.buckets = setup.buckets;
        let (mut handles, mut states) = (Vec::new(), Vec::new());
        for index in 0..setup.workers {
            let owner = new_sticky_owner(setup.buckets, instance).map_err(failed)?;
            let shared = WorkerShared::new(index, &info);
            let sticky = Arc::clone(owner.table());
            let (lcore, cpu) = (index as u32 + 1, index as u16);
            handles.push(WorkerHandle { shared: Arc::clone(&shared), sticky, lcore, cpu });
            let queue = QueueId(index as u16);
            let assignment = |(port, interface)| RxAssignment { port, queue, interface };
            let queues = ports.iter().copied().map(assignment).collect();
            states.push(WorkerState::new(shared, owner, queue, queues));
        }
        let (mut control, readers) = Control::new(Parts {
            model,
            workers: handles,
            graph: info,
            hardware: Box::new(NoHardware),
            tsc,
            main_cpus: "0".to_owned(),
            ticks: Ticks::Tsc(tsc),
            keeper: None,
        });
        run_commands(&mut control, commands)?;
        let mut workers = Vec::new();
        for (state, reader) in states.into_iter().zip(readers) {
            let graph = graph_nodes::builder().build(&state.shared).map_err(|e| e.to_string())?;
            let io = Lent::default();
            workers.push(Worker::new(state, graph, io, clock(), reader, PollMode::Busy));
        }
        Ok(Self { control, workers })
    }
}

/// Carries out commands in one transaction and publishes the result.
///
/// # Errors
///
/// The command that is refused, and why.
pub fn run_commands(control: &mut Control, lines: &[String]) -> Result<(), String> {
    let mut draft = control.draft();
    for line in lines {
        let command =
            config::parse(line).map_err(|problem| format!("{line}: {}", problem.reason))?;
        draft.apply(&command).map_err(|problem| format!("{line}: {}", problem.reason))?;
    }
    control.commit(draft);
    control.publish();
    Ok(())
}

/// Control asks for ports and pools only to show them, and makes packets only for neighbours that are
/// not static.
struct NoHardware;

impl Hardware for NoHardware {
    fn facts(&self, _port: PortId) -> PortFacts {
        PortFacts::default()
    }
    fn link(&self, _port: PortId) -> Link {
        Link::default()
    }
    fn counters(&self, _port: PortId) -> PortCounters {
        PortCounters::default()
    }
    fn extended(&self, _port: PortId) -> Vec<NamedCount> {
        Vec::new()
    }
    fn set_mtu(&self, _port: PortId, _mtu: u16) -> Result<(), String> {
        Ok(())
    }
    fn pools(&self) -> Vec<PoolStatus> {
        Vec::new()
    }
    fn alloc(&mut self) -> Option<Packet> {
        None
    }
    fn free(&mut self, _packets: &mut Vec<Packet>) {}
    fn version(&self) -> String {
        String::new()
    }
    fn close(&mut self) -> u32 {
        0
    }
}
