//! Starts the data plane, and ends it so that nothing is left behind.

use dataplane::clock::{TscClock, read_tsc};
use dataplane::dpdk::eal::Eal;
use dataplane::dpdk::eal_args::EalArgs;
use dataplane::dpdk::error::DpdkError;
use dataplane::dpdk::io::DpdkIo;
use dataplane::dpdk::mempool::{Mempool, needed_mib};
use dataplane::dpdk::port::Port;
use dataplane::dpdk::queue::{RxQueue, TxQueue};
use dataplane::dpdk::{hugepages, lcore, log, runtime_files, vdev};
use dataplane::graph::GraphError;
use dataplane::interface::QueueId;
use dataplane::shared::WorkerShared;
use dataplane::worker::{RxAssignment, Worker, WorkerState};
use std::sync::Arc;

use super::dpdk_hardware::{DpdkHardware, OpenPort};
use super::hardware::Hardware;
use super::plan::Plan;
use super::sticky_plan::{StickyPlan, StickyTables};
use crate::control::{Control, Parts, Ticks, TscBase, WorkerHandle};
use crate::model::Model;
use crate::show::hardware::PortCounters;
use crate::state::StateError;

/// Why the data plane does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// DPDK refuses.
    #[error(transparent)]
    Dpdk(#[from] DpdkError),
    /// There is not the memory that was asked for.
    #[error("{0}")]
    Memory(String),
    /// A device that takes its packets from the kernel names an interface that is not there.
    #[error(
        "there is no network interface {interface}, which iface= of the vdev {device} names; \
         this network namespace has: {present}"
    )]
    NoInterface {
        /// The name.
        interface: String,
        /// The device.
        device: String,
        /// Names that would be right.
        present: String,
    },
    /// The graph does not fit together.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// What a killed daemon left cannot be removed, or belongs to one that runs.
    #[error("cleaning up after an earlier run: {0}")]
    Leftovers(std::io::Error),
    /// No randomness for the sticky tables.
    #[error("making the sticky tables: {0}")]
    Sticky(#[from] std::io::Error),
    /// Flows cannot be kept.
    #[error(transparent)]
    State(#[from] StateError),
    /// Something is missing that was just made.
    #[error("internal error: {0}")]
    Internal(&'static str),
}

/// The workers and what they stand on.
pub struct DataPlane {
    /// Not launched yet.
    waiting: Vec<(u32, Worker<DpdkIo, TscClock>)>,
    shared: Vec<Arc<WorkerShared>>,
    /// Of every port.
    drivers: Vec<String>,
    // The last to go.
    eal: Eal,
}

impl std::fmt::Debug for DataPlane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DataPlane({} workers)", self.shared.len())
    }
}

/// What one worker gets.
#[derive(Default)]
struct Share {
    queues: Vec<RxAssignment>,
    rx: Vec<RxQueue>,
    tx: Vec<TxQueue>,
}

impl DataPlane {
    /// Starts EAL, pools and ports, and makes the workers ready. They run from
    /// [`launch`](Self::launch) on, so that the box can be configured before the first packet.
    /// `sticky` says what tables they have.
    ///
    /// # Errors
    ///
    /// What is refused; everything that was started by then is ended.
    pub fn start(plan: &Plan, sticky: &StickyPlan) -> Result<(Self, Control), StartError> {
        log::set_sink(|line| tracing::info!("dpdk: {line}"));
        check_interfaces(plan, &std::fs::read_to_string("/proc/self/net/dev").unwrap_or_default())?;
        let eal = start_eal(plan)?;
        let tsc = TscBase { start: read_tsc(), hz: eal.tsc_hz() };
        let StickyTables { owners, keeper, clock } = sticky.open(plan.worker_cpus.len(), tsc)?;
        let mut hardware =
            DpdkHardware { ports: Vec::new(), pools: pools(&eal, plan)?, version: eal.version() };
        let mut model = Model::default();
        let mut shares: Vec<Share> = Vec::new();
        shares.resize_with(plan.worker_cpus.len(), Share::default);
        open_ports(&eal, plan, &mut hardware, &mut model, &mut shares)?;
        let drivers = hardware.ports.iter().map(|open| open.info.driver.clone()).collect();
        let graph = graph_nodes::builder().info()?;
        let mut handles = Vec::new();
        for ((index, cpu), owner) in plan.worker_cpus.iter().enumerate().zip(&owners) {
            handles.push(WorkerHandle {
                shared: WorkerShared::new(index, &graph),
                sticky: Arc::clone(owner.table()),
                lcore: eal.worker_lcores().get(index).copied().unwrap_or_default(),
                cpu: *cpu,
            });
        }
        model.lb.settings.buckets = sticky.buckets;
        let worker_pools: Vec<Mempool> = handles
            .iter()
            .filter_map(|handle| pool_of(&eal, &hardware, handle.lcore).cloned())
            .collect();
        let (control, readers) = Control::new(Parts {
            model,
            workers: handles.clone(),
            graph,
            hardware: Box::new(hardware),
            tsc,
            main_cpus: plan.main_cpu.to_string(),
            ticks: Ticks::Tsc(clock),
            keeper,
        });
        if readers.len() != handles.len() || worker_pools.len() != handles.len() {
            return Err(StartError::Internal("a worker has no reader or pool"));
        }
        let mut workers = Vec::new();
        let parts = owners.into_iter().zip(shares).zip(readers).zip(worker_pools);
        for (handle, (((owner, share), reader), pool)) in handles.iter().zip(parts) {
            let shared = Arc::clone(&handle.shared);
            let graph = graph_nodes::builder().build(&shared)?;
            let queue = QueueId(shared.index as u16);
            let state = WorkerState::new(shared, owner, queue, share.queues);
            let io = DpdkIo::new(pool, share.rx, share.tx);
            let clock = TscClock::new(clock.start, clock.hz);
            let worker = Worker::new(state, graph, io, clock, reader, plan.poll);
            workers.push((handle.lcore, worker));
        }
        let shared = handles.iter().map(|handle| Arc::clone(&handle.shared)).collect();
        Ok((Self { waiting: workers, shared, drivers, eal }, control))
    }

    /// The drivers of the ports.
    pub fn drivers(&self) -> impl Iterator<Item = &str> {
        self.drivers.iter().map(String::as_str)
    }

    /// Gives DPDK's files to the user (uid, gid) that the process is about to become.
    ///
    /// # Errors
    ///
    /// A file that cannot be given away.
    pub fn give_files(&self, to: (u32, u32)) -> std::io::Result<()> {
        self.eal.give_files(to)
    }

    /// Lets the workers run.
    ///
    /// # Errors
    ///
    /// An lcore that does not take its worker.
    pub fn launch(&mut self) -> Result<(), StartError> {
        for (lcore, mut worker) in self.waiting.drain(..) {
            lcore::launch(&self.eal, lcore, move || worker.run())?;
        }
        Ok(())
    }

    /// Ends the workers, takes every packet back, closes the ports and cleans up EAL. Returns how
    /// many packets did not come back.
    pub fn stop(mut self, mut control: Control) -> u32 {
        self.stop_workers();
        control.discard_events();
        let mut hardware: Box<dyn Hardware> = control.into_hardware();
        let missing = hardware.close();
        drop(hardware);
        // EAL goes with `self`, as the last.
        missing
    }

    fn stop_workers(&mut self) {
        // Those that never ran may have packets in their mailboxes.
        for (_, mut worker) in self.waiting.drain(..) {
            worker.finish();
        }
        for shared in &self.shared {
            shared.request_stop();
        }
        for lcore in self.eal.worker_lcores() {
            lcore::wait(&self.eal, *lcore);
        }
    }
}

impl Drop for DataPlane {
    fn drop(&mut self) {
        self.stop_workers();
    }
}

/// Finds interfaces of the kernel that are not there before EAL does, which only logs it. `present`
/// is the text of `/proc/self/net/dev`, which is of this process's network namespace.
fn check_interfaces(plan: &Plan, present: &str) -> Result<(), StartError> {
    // Two lines of headings; then a line for each, its name before the colon.
    let lines = present.lines().skip(2).filter_map(|line| line.split(':').next());
    let names: Vec<_> = lines.map(str::trim).collect();
    for vdev in &plan.vdevs {
        let Some(interface) = vdev::kernel_interface(vdev) else { continue };
        if !names.is_empty() && !names.contains(&interface) {
            return Err(StartError::NoInterface {
                interface: interface.to_owned(),
                device: vdev::device_name(vdev).to_owned(),
                present: names.join(", "),
            });
        }
    }
    Ok(())
}

fn start_eal(plan: &Plan) -> Result<Eal, StartError> {
    let cpus = plan.worker_cpus.iter().map(|cpu| usize::from(*cpu));
    let mut nodes: Vec<u32> = cpus.clone().map(hugepages::node_of_cpu).collect();
    nodes.sort_unstable();
    nodes.dedup();
    // A killed daemon's hugepages are free only when its files are gone.
    let mounts: Vec<_> = hugepages::mounts_here().into_iter().map(|mount| mount.path).collect();
    let folder = runtime_files::runtime_dir(&plan.file_prefix);
    runtime_files::clean(&folder, &plan.file_prefix, &mounts).map_err(StartError::Leftovers)?;
    let need_mib = needed_mib(plan.buffers_per_numa);
    let (memory, why) =
        hugepages::choose_here(plan.hugepages, need_mib, &nodes).map_err(StartError::Memory)?;
    tracing::info!("{why}");
    Ok(Eal::start(&EalArgs {
        main_cpus: vec![usize::from(plan.main_cpu)],
        worker_cpus: cpus.collect(),
        file_prefix: plan.file_prefix.clone(),
        memory,
        vdevs: plan.vdevs.clone(),
        pci: plan.pci.clone(),
        extra: plan.eal_args.clone(),
    })?)
}

/// One pool on each NUMA node that has a worker. Without hugepages all memory counts as one node.
fn pools(eal: &Eal, plan: &Plan) -> Result<Vec<(u32, Mempool)>, StartError> {
    let mut nodes: Vec<u32> = match eal.has_hugepages() {
        true => eal.worker_lcores().iter().map(|lcore| eal.lcore_node(*lcore)).collect(),
        false => vec![0],
    };
    nodes.sort_unstable();
    nodes.dedup();
    let create = |node: u32| {
        Mempool::create(&format!("numa-{node}"), plan.buffers_per_numa, node).map(|p| (node, p))
    };
    Ok(nodes.into_iter().map(create).collect::<Result<_, _>>()?)
}

/// The pool nearest to an lcore.
fn pool_of<'a>(eal: &Eal, hardware: &'a DpdkHardware, lcore: u32) -> Option<&'a Mempool> {
    let node = eal.lcore_node(lcore);
    let near = hardware.pools.iter().find(|(of, _)| *of == node);
    near.or(hardware.pools.first()).map(|(_, pool)| pool)
}

/// Starts the ports, makes their interfaces, and deals out their queues.
fn open_ports(
    eal: &Eal,
    plan: &Plan,
    hardware: &mut DpdkHardware,
    model: &mut Model,
    shares: &mut [Share],
) -> Result<(), StartError> {
    for port_plan in &plan.ports {
        let first = port_plan.rx_workers.first().copied().unwrap_or(0);
        let lcore = eal.worker_lcores().get(first).copied().unwrap_or_default();
        let pool = pool_of(eal, hardware, lcore)
            .ok_or(StartError::Internal("there is no buffer pool"))?
            .clone();
        let mut port = Port::start(eal, &port_plan.config, &pool)?;
        let (info, name) = (port.info().clone(), &port_plan.config.name);
        let id = match port_plan.punt {
            true => model.add_punt(name, port.id(), info.mac),
            false => model.add_device(name, port.id(), info.mac, config::defaults::MTU),
        };
        tracing::info!(
            "{name}: {} {}, {} rx and {} tx queues, {}",
            info.driver,
            port_plan.config.device,
            info.queues.0,
            info.queues.1,
            info.mac
        );
        for (queue, worker) in port.take_rx_queues().into_iter().zip(&port_plan.rx_workers) {
            let assignment = RxAssignment { port: port.id(), queue: queue.id(), interface: id };
            shares[*worker].queues.push(assignment);
            shares[*worker].rx.push(queue);
        }
        for (queue, share) in port.take_tx_queues().into_iter().zip(shares.iter_mut()) {
            share.tx.push(queue);
        }
        let device = &port_plan.config.device;
        let vdev = plan.vdevs.iter().find(|vdev| vdev::device_name(vdev) == device);
        hardware.ports.push(OpenPort {
            id: port.id(),
            port: Some(port),
            info,
            config: port_plan.config.clone(),
            pool,
            vdev: vdev.cloned(),
            rx_workers: port_plan.rx_workers.clone(),
            poll: plan.poll,
            past: PortCounters::default(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use config::Startup;

    use super::*;

    #[test]
    fn an_interface_that_is_not_there_is_named() {
        let text = "[unix]\ncli-listen = \"/tmp/x.sock\"\n[[dpdk.dev]]\nname = \"left0\"\n\
                    vdev = \"net_af_packet0,iface=veth1\"\n";
        let plan = Plan::new(&Startup::parse(text).unwrap(), &[0, 1]).unwrap();
        let table = |names: &[&str]| {
            let rows = names.iter().map(|name| format!("{name:>6}: 0 0 0\n"));
            format!("Inter-| Receive\n face |bytes\n{}", rows.collect::<String>())
        };
        check_interfaces(&plan, &table(&["lo", "veth1"])).unwrap();
        let error = check_interfaces(&plan, &table(&["lo", "veth10"])).unwrap_err().to_string();
        assert!(error.contains("no network interface veth1,"), "{error}");
        assert!(error.ends_with("this network namespace has: lo, veth10"), "{error}");
    }
}
