//! What outlives the daemon: the flows of its workers, and whose they are.
//!
//! Tables are files on tmpfs or hugetlbfs that are mapped, so that a daemon that is killed leaves
//! them as they are. Beside them lies the directory: a header that says under which circumstances
//! they mean something, and whom the indices in their entries belong to. It is always written before
//! workers see what it describes.
//!
//! A table belongs to one worker. One whose worker is no more, or that is not of the size that is
//! configured, is an orphan: all workers look into it, and control sweeps it until it is empty.

mod checksum;
mod directory;
mod folder;
mod header;
#[cfg(test)]
mod layout;
mod orphan;
mod record;
mod status;

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use balancer::{AsId, InstanceKey, MAX_SERVERS, StickyOwner, StickyTable, Stock, TableFiles};

pub use header::{LAYOUT, MAX_GAP_S, Situation, Unusable};
pub use status::StateStatus;

use crate::model::{LbModel, Reserved};
use directory::Directory;
use folder::{Folder, TableName};
use header::Header;
use orphan::Orphan;

/// The file that is locked.
const DIRECTORY: &str = "directory";

/// State cannot be kept where it should be.
#[derive(Debug, thiserror::Error)]
#[error("[state] dir {}: {reason}", dir.display())]
pub struct StateError {
    dir: PathBuf,
    reason: io::Error,
}

/// Keeps state while the daemon runs.
#[derive(Debug)]
pub struct Keeper {
    folder: Folder,
    directory: Directory,
    header: Header,
    instance: InstanceKey,
    /// The tables of workers, also those that are being replaced.
    tables: Vec<(TableName, Arc<StickyTable>)>,
    orphans: Vec<Orphan>,
    next_generation: u32,
    reserved: Reserved,
    status: StateStatus,
    /// What is configured is all there is.
    settled: bool,
}

/// State, ready to be used.
#[derive(Debug)]
pub struct Opened {
    /// For control.
    pub keeper: Keeper,
    /// For the workers, in their order.
    pub owners: Vec<StickyOwner>,
    /// The TSC at tick 0 of the workers' clocks.
    pub tsc_start: u64,
    /// TSC clocks per second of the workers' clocks.
    pub tsc_hz: u64,
}

impl Opened {
    /// Opens what an earlier daemon has left, or begins anew where that is of no use. Made by whoever
    /// starts workers, before they run.
    ///
    /// # Errors
    ///
    /// When nothing can be kept there: another daemon does, others may look into it, it is on a
    /// disk, or there is not the room.
    pub fn new(dir: &Path, now: &Situation) -> Result<Self, StateError> {
        Self::open(dir, now).map_err(|reason| StateError { dir: dir.to_owned(), reason })
    }

    fn open(dir: &Path, now: &Situation) -> io::Result<Self> {
        let begun = Instant::now();
        let folder = Folder::open(dir)?;
        let mut directory = Directory::open(folder.locked(DIRECTORY)?)?;
        let last = Header::last_tick(directory.page());
        let found = Header::read(directory.page())
            .and_then(|header| header.check(now, last).map(|tick| (header, tick)));
        let (header, first_tick, unusable) = match found {
            Ok((header, tick)) => {
                let (workers, buckets) = (now.workers as u64, u64::from(now.buckets));
                (Header { workers, buckets, ..header }, tick, None)
            }
            Err(why) => {
                clear(&folder, &mut directory)?;
                (new_header(now)?, 0, Some(why))
            }
        };
        let (owners_of, reserved) = directory.read();
        let mut keeper = Keeper {
            instance: instance_key(header.key),
            header,
            tables: Vec::new(),
            orphans: Vec::new(),
            next_generation: 0,
            reserved,
            status: StateStatus::new(&folder, unusable),
            settled: false,
            folder,
            directory,
        };
        let mut owners = keeper.open_tables(now)?;
        let mut stock = Stock::default();
        let owner_of = |id: AsId| owners_of.get(id.index()).copied().flatten();
        for owner in owners.iter_mut().chain(keeper.orphans.iter_mut().map(|o| &mut o.owner)) {
            stock = stock.and(owner.take_stock(first_tick, owner_of));
        }
        keeper.drop_empty_orphans();
        keeper.header.write(keeper.directory.page());
        Header::set_last_tick(keeper.directory.page(), first_tick);
        keeper.status.tell(&stock, keeper.orphans.len(), begun.elapsed());
        let Header { tsc_start, tsc_hz, .. } = keeper.header;
        Ok(Self { keeper, owners, tsc_start, tsc_hz })
    }
}

impl Keeper {
    /// Maps the files that are there, and makes those that workers lack.
    fn open_tables(&mut self, now: &Situation) -> io::Result<Vec<StickyOwner>> {
        let found = self.folder.tables()?;
        self.next_generation = found.iter().map(|name| name.generation + 1).max().unwrap_or(0);
        let mut owners = Vec::new();
        let mut own = Vec::new();
        for worker in 0..now.workers {
            // Of two the later; the other one was being replaced.
            let fits = |name: &&TableName| name.worker == worker && name.buckets == now.buckets;
            let name = found.iter().rfind(fits).copied();
            own.extend(name);
            owners.push(self.open_table(name, worker, now.buckets)?);
        }
        for name in found.into_iter().filter(|name| !own.contains(name)) {
            let owner = self.map(name)?;
            self.orphans.push(Orphan::new(name, owner));
        }
        Ok(owners)
    }

    /// The table of a worker: the one called so, else a new one.
    fn open_table(
        &mut self,
        name: Option<TableName>,
        worker: usize,
        buckets: u32,
    ) -> io::Result<StickyOwner> {
        let generation = self.next_generation;
        let new = TableName { worker, generation, buckets };
        let owner = match name {
            Some(name) => self.map(name)?,
            None => self.map(new).inspect_err(|_| self.folder.remove(new))?,
        };
        let name = name.unwrap_or(new);
        self.next_generation = self.next_generation.max(name.generation + 1);
        self.tables.push((name, Arc::clone(owner.table())));
        Ok(owner)
    }

    fn map(&self, name: TableName) -> io::Result<StickyOwner> {
        let [buckets, cells] = self.folder.table(name)?;
        let files = TableFiles { buckets: &buckets, cells: &cells };
        StickyOwner::in_files(u64::from(name.buckets), &files, self.instance, MAX_SERVERS)
            .map_err(|error| io::Error::new(error.kind(), format!("table {name}: {error}")))
    }

    /// Whose indices must not be given to others.
    pub(crate) fn reserved(&self) -> &Reserved {
        &self.reserved
    }

    /// The tables that belong to no worker.
    pub(crate) fn orphans(&self) -> impl Iterator<Item = &Arc<StickyTable>> {
        self.orphans.iter().map(|orphan| orphan.owner.table())
    }

    /// What `show lb` says of it.
    pub(crate) fn status(&self) -> StateStatus {
        let flows = self.orphans().map(|table| u64::from(table.used())).sum();
        StateStatus {
            orphan_tables: self.orphans.len(),
            orphan_flows: flows,
            ..self.status.clone()
        }
    }

    /// Says that everything is configured which is so from the start.
    pub(crate) fn settle(&mut self) {
        self.settled = true;
    }

    /// Gives the files to the user and group that the daemon becomes: it makes and removes some while
    /// it runs.
    pub(crate) fn give_to(&self, owner: (u32, u32)) -> io::Result<()> {
        self.folder.give_to(owner)
    }

    /// Whether that was said.
    pub(crate) fn is_settled(&self) -> bool {
        self.settled
    }

    /// Writes what a model says that workers will see next.
    pub(crate) fn note(&mut self, lb: &LbModel, fingerprint: &str) {
        if let Err(error) = self.directory.note(lb) {
            tracing::error!("state: the directory cannot grow, new ASs are not kept: {error}");
        }
        let buckets = u64::from(lb.settings.buckets);
        let header = Header { buckets, fingerprint: fingerprint_of(fingerprint), ..self.header };
        // Until then the key of the start may not have been set yet.
        if self.settled && header != self.header {
            self.header = header;
            header.write(self.directory.page());
        }
    }

    /// A new table for a worker, in the place of another.
    pub(crate) fn new_table(&mut self, worker: usize, buckets: u32) -> io::Result<StickyOwner> {
        self.open_table(None, worker, buckets)
    }

    /// Removes the files of tables that are of no use to any worker any more.
    pub(crate) fn forget_tables(&mut self, is_over: impl Fn(&Arc<StickyTable>) -> bool) {
        self.tables.retain(|(name, table)| {
            let over = is_over(table);
            if over {
                self.folder.remove(*name);
            }
            !over
        });
    }

    /// A sign of life.
    pub(crate) fn every_second(&mut self, tick_s: u32) {
        Header::set_last_tick(self.directory.page(), tick_s);
    }

    /// Sweeps a part of the orphans: what is over goes, and flows that `others` have. Returns whether
    /// one is empty and gone.
    pub(crate) fn sweep_orphans(
        &mut self,
        tick_s: u32,
        epoch_of: impl Fn(AsId) -> Option<u8>,
        others: &[Arc<StickyTable>],
    ) -> bool {
        for orphan in &mut self.orphans {
            orphan.sweep(tick_s, &epoch_of, others);
        }
        self.drop_empty_orphans()
    }

    fn drop_empty_orphans(&mut self) -> bool {
        let before = self.orphans.len();
        self.orphans.retain(|orphan| {
            let empty = orphan.owner.used() == 0;
            if empty {
                self.folder.remove(orphan.name);
            }
            !empty
        });
        self.orphans.len() < before
    }
}

/// Leaves nothing; the header goes first.
fn clear(folder: &Folder, directory: &mut Directory) -> io::Result<()> {
    Header::erase(directory.page());
    folder.tables()?.into_iter().for_each(|name| folder.remove(name));
    directory.erase();
    Ok(())
}

fn new_header(now: &Situation) -> io::Result<Header> {
    let mut key = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut key)?;
    let (words, _) = key.as_chunks::<8>();
    Ok(Header {
        layout: LAYOUT,
        boot_id: now.boot_id,
        tsc_hz: now.tsc_hz,
        tsc_start: now.tsc,
        key: std::array::from_fn(|word| u64::from_le_bytes(words[word])),
        fingerprint: now.fingerprint,
        workers: now.workers as u64,
        buckets: u64::from(now.buckets),
    })
}

fn instance_key(words: [u64; 4]) -> InstanceKey {
    let mut key = [0; 32];
    let (chunks, _) = key.as_chunks_mut::<8>();
    for (chunk, word) in chunks.iter_mut().zip(words) {
        *chunk = word.to_le_bytes();
    }
    InstanceKey::from_bytes(key)
}

/// The number that a fingerprint is in hexadecimal digits.
fn fingerprint_of(digits: &str) -> u64 {
    u64::from_str_radix(digits, 16).unwrap_or_default()
}

impl Situation {
    /// The present one, with the time of a TSC of this frequency.
    ///
    /// # Errors
    ///
    /// When the kernel does not say which start of the machine this is.
    pub fn here(
        workers: usize,
        buckets: u32,
        fingerprint: &str,
        (tsc, tsc_hz): (u64, u64),
    ) -> io::Result<Self> {
        let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let digits: String = boot_id.chars().filter(char::is_ascii_hexdigit).collect();
        let boot_id = u128::from_str_radix(&digits, 16).map_err(io::Error::other)?;
        let fingerprint = fingerprint_of(fingerprint);
        Ok(Self { boot_id, tsc_hz, tsc, fingerprint, workers, buckets })
    }
}
