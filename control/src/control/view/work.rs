//! Threads, nodes, counters, buffers and traces; and what clears them.

use config::{Problem, Spanned};

use crate::control::Control;
use crate::control::baseline::{NodeWork, Traffic};
use crate::model::Kind;
use crate::show::buffers::Buffers;
use crate::show::drain::state_word;
use crate::show::errors::{ErrorCount, Errors};
use crate::show::runtime::{NodeRuntime, Runtime, ThreadRuntime};
use crate::show::trace::{Context, Trace};
use crate::show::version::{ThreadStatus, Threads, Version};

impl Control {
    /// `show version`.
    pub fn version(&self) -> Version {
        Version {
            name: "sluice",
            version: env!("CARGO_PKG_VERSION"),
            dpdk: self.hardware.version(),
            flow_hash_version: balancer::FLOW_HASH_VERSION,
            pid: std::process::id(),
            control_rebuilt: self.rebuilt(),
        }
    }

    /// `show threads`.
    pub fn threads(&self) -> Threads {
        let main = ThreadStatus {
            id: 0,
            name: "sluice_main".to_owned(),
            lwp: Some(std::process::id()),
            lcore: 0,
            cpus: self.main_cpus.clone(),
            loops: 0,
            busy_loops: 0,
            events_lost: 0,
        };
        let workers = self.workers.iter().enumerate().map(|(at, worker)| ThreadStatus {
            id: at + 1,
            name: format!("sluice_wk_{at}"),
            lwp: crate::runtime::threads::lwp_of_lcore(worker.lcore),
            lcore: worker.lcore,
            cpus: worker.cpu.to_string(),
            loops: worker.shared.turns.get(),
            busy_loops: worker.shared.busy_turns.get(),
            events_lost: worker.shared.events_lost.get(),
        });
        Threads { threads: std::iter::once(main).chain(workers).collect() }
    }

    fn node_work(&self, worker: usize) -> Vec<NodeWork> {
        let nodes = self.workers[worker].shared.nodes.iter();
        nodes
            .map(|stats| NodeWork {
                calls: stats.calls.get(),
                vectors: stats.vectors.get(),
                clocks: stats.clocks.get(),
            })
            .collect()
    }

    fn worker_traffic(&self, worker: usize) -> Traffic {
        let mut sum = Traffic::default();
        let interfaces = &self.workers[worker].shared.interfaces;
        for stats in interfaces {
            sum.drops += stats.drops.get();
            sum.punts += stats.punts.get();
        }
        // What sub-interfaces and tunnels receive and send, ports do too.
        let ports = self
            .model
            .interfaces
            .iter()
            .filter(|link| matches!(link.kind, Kind::Device(_) | Kind::Punt(_)));
        for stats in ports.filter_map(|link| interfaces.get(link.id.index())) {
            sum.rx += stats.rx_packets.get();
            sum.tx += stats.tx_packets.get();
        }
        sum
    }

    /// `show runtime`.
    pub fn runtime(&self) -> Runtime {
        Runtime { threads: (0..self.workers.len()).map(|at| self.thread_runtime(at)).collect() }
    }

    fn thread_runtime(&self, worker: usize) -> ThreadRuntime {
        let time_s = self.now_ms.saturating_sub(self.baseline.runtime_ms) as f64 / 1_000.0;
        let per_second = |now: u64, then: u64| match time_s > 0.0 {
            true => now.saturating_sub(then) as f64 / time_s,
            false => 0.0,
        };
        let traffic = self.worker_traffic(worker);
        let before = self.baseline.traffic.get(worker).copied().unwrap_or_default();
        let work_before = self.baseline.nodes.get(worker);
        let rate = self.rates.of(worker);
        let mut nodes: Vec<_> = self
            .node_work(worker)
            .into_iter()
            .enumerate()
            .map(|(at, work)| {
                let before = work_before.and_then(|nodes| nodes.get(at)).copied();
                self.node_runtime(at, work, before.unwrap_or_default())
            })
            .collect();
        nodes.sort_by_key(|node| node.name);
        ThreadRuntime {
            thread: worker + 1,
            name: format!("sluice_wk_{worker}"),
            lcore: self.workers[worker].lcore,
            time_s,
            vector_rate: rate.vectors_per_call,
            loops_per_second: rate.turns_per_second,
            rate_interval_s: rate.interval_s,
            rx_packets_per_second: per_second(traffic.rx, before.rx),
            tx_packets_per_second: per_second(traffic.tx, before.tx),
            drop_packets_per_second: per_second(traffic.drops, before.drops),
            punt_packets_per_second: per_second(traffic.punts, before.punts),
            nodes,
        }
    }

    fn node_runtime(&self, at: usize, work: NodeWork, before: NodeWork) -> NodeRuntime {
        let calls = work.calls.saturating_sub(before.calls);
        let vectors = work.vectors.saturating_sub(before.vectors);
        let clocks = work.clocks.saturating_sub(before.clocks);
        let ratio = |a: u64, b: u64| if b == 0 { 0.0 } else { a as f64 / b as f64 };
        NodeRuntime {
            name: self.graph.nodes.get(at).copied().unwrap_or("unknown"),
            state: if self.graph.inputs.get(at) == Some(&true) { "polling" } else { "active" },
            calls,
            vectors,
            suspends: 0,
            clocks_per_packet: ratio(clocks, vectors),
            vectors_per_call: ratio(vectors, calls),
        }
    }

    /// `clear runtime`.
    pub fn clear_runtime(&mut self) {
        let workers = 0..self.workers.len();
        self.baseline.runtime_ms = self.now_ms;
        self.baseline.nodes = workers.clone().map(|worker| self.node_work(worker)).collect();
        self.baseline.traffic = workers.map(|worker| self.worker_traffic(worker)).collect();
    }

    fn error_counts(&self) -> Vec<u64> {
        let count = |at: usize| self.workers.iter().map(|w| w.shared.counters[at].get()).sum();
        (0..self.graph.counters.len()).map(count).collect()
    }

    /// What is counted beside the nodes, ever.
    fn rare_counts(&self) -> [u64; 3] {
        let counts = self.workers.iter().map(|worker| {
            let rare = &worker.shared.rare;
            [rare.overflowed.get(), rare.starved.get(), rare.events_limited.get()]
        });
        counts.fold([0; 3], |sum, one| std::array::from_fn(|at| sum[at] + one[at]))
    }

    fn rare_errors(&self) -> impl Iterator<Item = ErrorCount> {
        let kinds = [
            ("frame of the next node full", "error"),
            ("no packet buffer free to receive", "error"),
            ("neighbor event rate limit exceeded", "warn"),
        ];
        let (now, then) = (self.rare_counts(), self.baseline.rare);
        let counts = kinds.into_iter().zip(now).zip(then);
        counts.filter_map(|(((reason, severity), now), then)| {
            let count = now.saturating_sub(then);
            (count > 0).then_some(ErrorCount { count, node: "graph", reason, severity })
        })
    }

    /// `show errors`.
    pub fn errors(&self) -> Errors {
        let counts = self.error_counts().into_iter().enumerate().map(|(at, count)| {
            (at, count.saturating_sub(self.baseline.errors.get(at).copied().unwrap_or(0)))
        });
        let conflicts = self.announcements.conflicts_seen().saturating_sub(self.baseline.conflicts);
        let own = (conflicts > 0).then_some(ErrorCount {
            count: conflicts,
            node: "control",
            reason: "address of ours claimed by another station",
            severity: "warn",
        });
        let errors = counts.filter(|(_, count)| *count > 0).map(|(at, count)| {
            let info = self.graph.counters[at];
            ErrorCount {
                count,
                node: self.graph.nodes[usize::from(info.node)],
                reason: info.text,
                severity: match info.severity {
                    dataplane::node::Severity::Error => "error",
                    dataplane::node::Severity::Warning => "warn",
                    dataplane::node::Severity::Info => "info",
                },
            }
        });
        Errors { errors: errors.chain(own).chain(self.rare_errors()).collect() }
    }

    /// `clear errors`.
    pub fn clear_errors(&mut self) {
        self.baseline.errors = self.error_counts();
        self.baseline.conflicts = self.announcements.conflicts_seen();
        self.baseline.rare = self.rare_counts();
    }

    /// `clear interfaces`.
    pub fn clear_interfaces(&mut self) {
        let now = self.model.interfaces.iter().map(|link| (link.id.0, self.traffic_of(link)));
        self.baseline.interfaces = now.collect();
    }

    /// `show buffers`.
    pub fn buffers(&self) -> Buffers {
        Buffers { pools: self.hardware.pools() }
    }

    /// `trace add`.
    ///
    /// # Errors
    ///
    /// A node that the graph does not have.
    pub fn trace_add(&mut self, node: &Spanned<String>, count: u32) -> Result<(), Problem> {
        let Some(index) = self.graph.node(node) else {
            let inputs = self.graph.nodes.iter().zip(&self.graph.inputs);
            let inputs: Vec<_> =
                inputs.filter(|(_, input)| **input).map(|(name, _)| *name).collect();
            return Err(Problem::new(node.span, format!("there is no node {}", node.value))
                .with_hint(format!("input nodes: {}", inputs.join(", "))));
        };
        for worker in &self.workers {
            worker.shared.arm_trace(index, count);
        }
        Ok(())
    }

    /// `show trace`.
    pub fn trace(&mut self, max: u32) -> Trace {
        self.traces.drain(&self.workers);
        let (vip_text, server_text) = (|vip| self.vip_text(vip), |server| self.server_text(server));
        let context = Context {
            graph: &self.graph,
            snapshot: self.snapshot(),
            vip: &vip_text,
            server: &server_text,
            tsc_start: self.tsc.start,
            tsc_hz: self.tsc.hz,
        };
        let threads = self.traces.records().iter().enumerate();
        let threads =
            threads.map(|(worker, records)| context.thread(worker + 1, records, max as usize));
        Trace { threads: threads.collect() }
    }

    fn vip_text(&self, index: u32) -> String {
        match self.model.lb.vips.get(index) {
            Some(vip) => self.vip_status(vip).line(),
            None => "removed".to_owned(),
        }
    }

    fn server_text(&self, index: u32) -> String {
        let servers = self.model.lb.vips.values().flat_map(|vip| &vip.servers);
        match servers.into_iter().find(|server| server.index == index) {
            Some(server) => {
                let draining = server.admin != config::Admin::Up;
                let drained = self.drains.is_drained(index);
                let state = state_word(server.removed, draining, drained);
                format!("{} weight:{} {state}", server.address, server.weight)
            }
            None => "removed".to_owned(),
        }
    }

    /// `clear trace`.
    pub fn clear_trace(&mut self) {
        self.traces.clear(&self.workers);
    }
}
