//! [`TableQueue`]: new-flow tables that are being built, on another thread than control's.
//!
//! A VIP whose ASs change goes on as it is until its new table is there; then all of the change is
//! published at once. What happens to a VIP meanwhile is kept as one wish, the latest: however many
//! changes come while a table is built, one more build follows. VIPs take turns.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
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
    /// It was tried before, and failed.
    again: bool,
    /// `debug control panic tables`.
    panics: bool,
}

/// A table that was ordered.
#[derive(Debug)]
pub struct BuiltTable {
    order: TableOrder,
    /// `None` when building it panicked.
    table: Option<Arc<NewFlowTable>>,
}

impl TableOrder {
    /// Builds it.
    pub fn build(self) -> BuiltTable {
        let build = || {
            assert!(!self.panics, "`debug control panic tables` asked for it");
            NewFlowTable::build(&self.members, self.length, self.seed).ok().map(Arc::new)
        };
        let table = catch_unwind(AssertUnwindSafe(build)).ok().flatten();
        BuiltTable { order: self, table }
    }
}

/// Where tables are built.
pub trait TableExecutor {
    /// Takes an order.
    fn submit(&mut self, order: TableOrder);
    /// A table that is done.
    fn finished(&mut self) -> Option<BuiltTable>;
    /// Forgets all orders and starts anew, after a panic of control.
    ///
    /// # Errors
    ///
    /// When there is no thread to be had.
    fn renew(&mut self) -> std::io::Result<()>;
}

/// Builds tables on a thread of its own, one after the other.
pub struct TableThread {
    orders: mpsc::Sender<TableOrder>,
    built: mpsc::Receiver<BuiltTable>,
    wake: Wake,
}

type Wake = Arc<dyn Fn() + Send + Sync>;

impl TableThread {
    /// Starts the thread, which runs `wake` after each table. It ends when this is dropped and all
    /// orders are done.
    ///
    /// # Errors
    ///
    /// When there is no thread to be had.
    pub fn start(wake: impl Fn() + Send + Sync + 'static) -> std::io::Result<Self> {
        Self::start_with(Arc::new(wake))
    }

    fn start_with(wake: Wake) -> std::io::Result<Self> {
        let (orders, taken) = mpsc::channel::<TableOrder>();
        let woken = Arc::clone(&wake);
        let (done, built) = mpsc::channel();
        std::thread::Builder::new().name("sluice-tables".to_owned()).spawn(move || {
            for order in taken {
                if done.send(order.build()).is_err() {
                    break;
                }
                // A thread that is gone would keep VIPs waiting for ever.
                let _ = catch_unwind(AssertUnwindSafe(|| woken()));
            }
        })?;
        Ok(Self { orders, built, wake })
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

    fn renew(&mut self) -> std::io::Result<()> {
        *self = Self::start_with(Arc::clone(&self.wake))?;
        Ok(())
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
    /// The table.
    pub(super) table: Arc<NewFlowTable>,
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
    /// So many of the next builds are to panic.
    panics: usize,
}

impl TableQueue {
    pub(super) fn new(executor: Box<dyn TableExecutor>) -> Self {
        let (waiting, running) = (HashMap::new(), HashMap::new());
        Self { executor, waiting, turns: VecDeque::new(), running, next: 0, panics: 0 }
    }

    /// Forgets all wishes and orders; the numbers of wishes go on.
    pub(super) fn renew(&mut self) -> std::io::Result<()> {
        self.waiting.clear();
        self.turns.clear();
        self.running.clear();
        self.executor.renew()
    }

    /// Has one more of the next builds panic.
    pub(super) fn panic_in_next_build(&mut self) {
        self.panics += 1;
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
            let panics = self.panics > 0;
            self.panics -= usize::from(panics);
            self.executor.submit(TableOrder { vip, members, length, seed, again: false, panics });
        }
        fulfilled
    }

    /// A table that is done. One whose building failed is tried once more; its VIP then stays as
    /// it is until the next publication, which wishes for the table again.
    pub(super) fn finished(&mut self) -> Option<Finished> {
        loop {
            let BuiltTable { order, table } = self.executor.finished()?;
            let index = order.vip.index;
            if table.is_none() && !order.again {
                tracing::error!("building the new-flow table of {} panicked", order.vip.key);
                let panics = self.panics > 0;
                self.panics -= usize::from(panics);
                self.executor.submit(TableOrder { again: true, panics, ..order });
                continue;
            }
            let running = self.running.remove(&index);
            let Some(table) = table else {
                tracing::error!("{} keeps its former new-flow table", order.vip.key);
                continue;
            };
            let vip = running.filter(|running| !running.obsolete).map(|_| order.vip);
            return Some(Finished { vip, table });
        }
    }
}
