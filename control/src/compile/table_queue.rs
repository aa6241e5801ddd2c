//! [`TableQueue`]: new-flow tables that are being built, on another thread than control's.
//!
//! A VIP whose ASs change goes on as it is until its new table is there; then all of the change is
//! published at once. What happens to a VIP meanwhile is kept as one wish, the latest: however many
//! changes come while a table is built, one more build follows. VIPs take turns.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, mpsc};

use balancer::{Member, NewFlowTable, TableLength};

use crate::model::Vip;

/// Tables handed out at once, so that the builder never waits for control.
const AHEAD: usize = 2;

/// A table to be built.
#[derive(Debug)]
pub struct TableOrder {
    /// For this state of a VIP.
    pub vip: Arc<Vip>,
    members: Vec<Member>,
    length: TableLength,
    seed: u64,
}

/// A table that was ordered.
#[derive(Debug)]
pub struct BuiltTable {
    vip: Arc<Vip>,
    /// `None` when it could not be built, which control then finds out for itself.
    table: Option<Arc<NewFlowTable>>,
}

impl TableOrder {
    /// Builds it.
    pub fn build(self) -> BuiltTable {
        let Self { vip, members, length, seed } = self;
        let build = || NewFlowTable::build(&members, length, seed).ok().map(Arc::new);
        BuiltTable { vip, table: std::panic::catch_unwind(build).ok().flatten() }
    }
}

/// Where tables are built.
pub trait TableExecutor {
    /// Takes an order.
    fn submit(&mut self, order: TableOrder);
    /// A table that is done.
    fn finished(&mut self) -> Option<BuiltTable>;
}

/// Builds tables on a thread of its own, one after the other.
#[derive(Debug)]
pub struct TableThread {
    orders: mpsc::Sender<TableOrder>,
    built: mpsc::Receiver<BuiltTable>,
}

impl TableThread {
    /// Starts the thread, which runs `wake` after each table. It ends when this is dropped and all
    /// orders are done.
    ///
    /// # Errors
    ///
    /// When there is no thread to be had.
    pub fn start(wake: impl Fn() + Send + 'static) -> std::io::Result<Self> {
        let (orders, taken) = mpsc::channel::<TableOrder>();
        let (done, built) = mpsc::channel();
        std::thread::Builder::new().name("sluice-tables".to_owned()).spawn(move || {
            for order in taken {
                if done.send(order.build()).is_err() {
                    break;
                }
                wake();
            }
        })?;
        Ok(Self { orders, built })
    }
}

impl TableExecutor for TableThread {
    fn submit(&mut self, order: TableOrder) {
        // The thread ends only after this sender.
        let _ = self.orders.send(order);
    }

    fn finished(&mut self) -> Option<BuiltTable> {
        self.built.try_recv().ok()
    }
}

/// A state of a VIP that needs a table.
struct Wish {
    /// The first of the wishes in a row that it stands for, and its own.
    numbers: (u64, u64),
    vip: Arc<Vip>,
    members: Vec<Member>,
    length: TableLength,
}

/// A wish that is being fulfilled.
struct Running {
    numbers: (u64, u64),
    /// Its VIP has got a later state already.
    obsolete: bool,
}

/// A table that is done.
pub(super) struct Finished {
    /// The state of a VIP that it makes possible, unless there is a later one.
    pub(super) vip: Option<Arc<Vip>>,
    /// The table, if it could be built.
    pub(super) table: Option<Arc<NewFlowTable>>,
}

/// See the module.
pub(super) struct TableQueue {
    executor: Box<dyn TableExecutor>,
    /// By VIP index: the latest wish that was not handed out.
    waiting: HashMap<u32, Wish>,
    /// The VIPs of `waiting`, the longest waiting first; some may have gone from there.
    turns: VecDeque<u32>,
    /// By VIP index.
    running: HashMap<u32, Running>,
    next: u64,
}

impl TableQueue {
    pub(super) fn new(executor: Box<dyn TableExecutor>) -> Self {
        let (waiting, running) = (HashMap::new(), HashMap::new());
        Self { executor, waiting, turns: VecDeque::new(), running, next: 0 }
    }

    /// The number of the next wish.
    pub(super) fn next_wish(&self) -> u64 {
        self.next
    }

    /// How many VIPs wait for a table.
    pub(super) fn len(&self) -> usize {
        let running = self.running.keys().filter(|vip| !self.waiting.contains_key(vip));
        self.waiting.len() + running.count()
    }

    /// Whether all wishes from `first` on and before `end` have been fulfilled.
    pub(super) fn is_settled(&self, first: u64, end: u64) -> bool {
        let waiting = self.waiting.values().map(|wish| wish.numbers);
        let mut open = waiting.chain(self.running.values().map(|wish| wish.numbers));
        !open.any(|(from, to)| from < end && to >= first)
    }

    /// Whether this very state of a VIP is waited for.
    pub(super) fn has(&self, vip: &Arc<Vip>) -> bool {
        self.waiting.get(&vip.index).is_some_and(|wish| Arc::ptr_eq(&wish.vip, vip))
    }

    /// Wishes for a table, in place of what the VIP wished for before.
    pub(super) fn wish(&mut self, vip: Arc<Vip>, members: Vec<Member>, length: TableLength) {
        let (index, number) = (vip.index, self.next);
        self.next += 1;
        let earlier = self.waiting.get(&index).map(|wish| wish.numbers.0);
        if earlier.is_none() {
            self.turns.push_back(index);
        }
        let numbers = (earlier.unwrap_or(number), number);
        self.waiting.insert(index, Wish { numbers, vip, members, length });
    }

    /// A VIP has got its latest state without waiting for a table.
    pub(super) fn forget(&mut self, vip: u32) {
        self.waiting.remove(&vip);
        if let Some(running) = self.running.get_mut(&vip) {
            running.obsolete = true;
        }
    }

    /// Hands out the next orders. `ready` finds tables that are there by now; what needs no order
    /// any more is returned.
    pub(super) fn hand_out(
        &mut self,
        seed: u64,
        mut ready: impl FnMut(&[Member], TableLength) -> bool,
    ) -> Vec<Arc<Vip>> {
        let mut fulfilled = Vec::new();
        for _ in 0..self.turns.len() {
            if self.running.len() >= AHEAD {
                break;
            }
            let Some(index) = self.turns.pop_front() else { break };
            if self.running.contains_key(&index) {
                self.turns.push_back(index);
                continue;
            }
            let Some(Wish { numbers, vip, members, length }) = self.waiting.remove(&index) else {
                continue;
            };
            if ready(&members, length) {
                fulfilled.push(vip);
                continue;
            }
            self.running.insert(index, Running { numbers, obsolete: false });
            self.executor.submit(TableOrder { vip, members, length, seed });
        }
        fulfilled
    }

    /// A table that is done.
    pub(super) fn finished(&mut self) -> Option<Finished> {
        let BuiltTable { vip, table } = self.executor.finished()?;
        let running = self.running.remove(&vip.index);
        let vip = running.filter(|running| !running.obsolete).map(|_| vip);
        Some(Finished { vip, table })
    }
}
