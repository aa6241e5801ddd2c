//! Whose the indices are that the tables name: VIPs and ASs, in a file that is mapped.
//!
//! A page with the [`Header`](super::Header), then a record for each VIP index, then one for each
//! AS index; the file grows with the highest AS.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use balancer::{AsId, FileWords, MAX_SERVERS, MAX_VIPS, VipId};

use super::header::HEADER_WORDS;
use super::record::{RECORD_WORDS, ServerRecord, VipRecord, Words};
use crate::model::{LbModel, Reserved, ReservedServer, ReservedVip, Server, Shelf, Vip};

/// Where records of ASs begin, in words.
const SERVERS: usize = HEADER_WORDS + MAX_VIPS * RECORD_WORDS;

/// The file grows by so many ASs: 2 MiB.
const STEP: usize = 1 << 16;

/// The directory, and what is written there.
#[derive(Debug)]
pub(super) struct Directory {
    file: File,
    words: FileWords,
    /// As last written.
    vips: Shelf<Vip>,
    reserved: Reserved,
}

/// By AS index: its VIP and epoch.
pub(super) type Owners = Vec<Option<(VipId, u8)>>;

impl Directory {
    /// The directory in a file that is locked.
    pub(super) fn open(file: File) -> io::Result<Self> {
        let words = (file.metadata()?.len() / 8) as usize;
        let words = words.clamp(SERVERS + STEP * RECORD_WORDS, size(MAX_SERVERS));
        let words = FileWords::map(&file, words)?;
        Ok(Self { file, words, vips: Shelf::default(), reserved: Reserved::default() })
    }

    /// The page of the header.
    pub(super) fn page(&self) -> &[AtomicU64] {
        &self.words[..HEADER_WORDS]
    }

    /// Forgets all VIPs and ASs.
    pub(super) fn erase(&mut self) {
        let used = self.words[HEADER_WORDS..].iter();
        used.filter(|word| word.load(Ordering::SeqCst) != 0)
            .for_each(|word| word.store(0, Ordering::SeqCst));
    }

    /// What is in it: whose the ASs' indices are, and what they were called. VIPs that were removed
    /// are left out, as their flows are over; their records go.
    pub(super) fn read(&mut self) -> (Owners, Reserved) {
        let mut vips: BTreeMap<u32, ReservedVip> = BTreeMap::new();
        for index in 0..MAX_VIPS as u32 {
            let place = vip_place(index);
            let record = VipRecord::from_words(index, &self.load(place));
            match record.filter(|record| !record.removed) {
                Some(VipRecord { key, .. }) => {
                    vips.insert(index, ReservedVip { key, servers: Vec::new() });
                }
                None => self.store(place, None),
            }
        }
        let servers = (self.words.len() - SERVERS) / RECORD_WORDS;
        let mut owners = vec![None; servers];
        for index in 0..servers as u32 {
            let place = server_place(index);
            let record = ServerRecord::from_words(index, &self.load(place));
            let record = record.filter(|record| vips.contains_key(&record.vip));
            let (Some(record), Some(_)) = (record, AsId::new(index)) else {
                self.store(place, None);
                continue;
            };
            owners[index as usize] = VipId::new(record.vip).map(|vip| (vip, record.server.epoch));
            if let Some(vip) = vips.get_mut(&record.vip) {
                vip.servers.push(record.server);
            }
        }
        self.reserved = Reserved::new(vips);
        (owners, self.reserved.clone())
    }

    /// Writes what differs from the last time. Before workers see a model: an entry of theirs then
    /// never names what is not here.
    pub(super) fn note(&mut self, lb: &LbModel) -> io::Result<()> {
        let highest = |vip: &Vip| vip.servers.iter().map(|server| server.index).max();
        let changed: Vec<_> = lb
            .vips
            .since(&self.vips)
            .map(|(index, old, new)| (index, old.cloned(), new.cloned()))
            .collect();
        let last = changed.iter().filter_map(|(_, _, new)| highest(new.as_deref()?)).max();
        self.make_room(last.unwrap_or(0))?;
        // What is gone goes first: its index may have a new owner.
        self.forget_reserved(lb);
        for (index, old, new) in &changed {
            let stays = |server: &Server| {
                let mut now = new.iter().flat_map(|vip| &vip.servers);
                now.any(|other| other.index == server.index)
            };
            for server in old.iter().flat_map(|vip| &vip.servers).filter(|s| !stays(s)) {
                self.store(server_place(server.index), None);
            }
            if new.is_none() {
                self.store(vip_place(*index), None);
            }
        }
        for vip in changed.iter().filter_map(|(_, _, new)| new.as_ref()) {
            for server in &vip.servers {
                let words = record(vip, server).to_words();
                self.store(server_place(server.index), Some(words));
            }
            let record = VipRecord { key: vip.key, removed: vip.removed };
            self.store(vip_place(vip.index), Some(record.to_words(vip.index)));
        }
        self.vips = lb.vips.clone();
        Ok(())
    }

    /// Takes out what was kept for somebody who did not ask; what somebody did ask for is written
    /// anew with its VIP.
    fn forget_reserved(&mut self, lb: &LbModel) {
        if lb.reserved().is_same(&self.reserved) {
            return;
        }
        let before = std::mem::replace(&mut self.reserved, lb.reserved().clone());
        for (index, vip) in before.vips() {
            let now = lb.reserved().vips().get(index);
            let stays = |server: &ReservedServer| {
                let reserved = now.is_some_and(|now| now.servers.contains(server));
                let vip = lb.vips.get(*index);
                reserved || vip.is_some_and(|v| v.servers.iter().any(|s| s.index == server.index))
            };
            for server in vip.servers.iter().filter(|server| !stays(server)) {
                self.store(server_place(server.index), None);
            }
            if now.is_none() && lb.vips.get(*index).is_none() {
                self.store(vip_place(*index), None);
            }
        }
    }

    /// Makes the file long enough for an AS index.
    fn make_room(&mut self, index: u32) -> io::Result<()> {
        if server_place(index) + RECORD_WORDS <= self.words.len() {
            return Ok(());
        }
        let servers = (index as usize + 1).next_multiple_of(STEP).min(MAX_SERVERS);
        self.words = FileWords::map(&self.file, size(servers))?;
        Ok(())
    }

    fn load(&self, place: usize) -> Words {
        std::array::from_fn(|word| self.words[place + word].load(Ordering::SeqCst))
    }

    /// Writes a record, the first word last, or takes it out.
    fn store(&self, place: usize, words: Option<Words>) {
        let old = self.load(place);
        let new = words.unwrap_or_default();
        let set = |word: usize, value| self.words[place + word].store(value, Ordering::SeqCst);
        if old[1..] != new[1..] && words.is_some() {
            set(0, 0);
            (1..RECORD_WORDS).for_each(|word| set(word, new[word]));
        }
        if old[0] != new[0] || old[1..] != new[1..] {
            set(0, new[0]);
        }
    }
}

fn record(vip: &Vip, server: &Server) -> ServerRecord {
    let Server { index, address, epoch, encap, dscp, removed, .. } = *server;
    let server = ReservedServer { index, address, epoch, encap, dscp };
    ServerRecord { vip: vip.index, removed, server }
}

fn vip_place(index: u32) -> usize {
    HEADER_WORDS + index as usize * RECORD_WORDS
}

fn server_place(index: u32) -> usize {
    SERVERS + index as usize * RECORD_WORDS
}

/// Words of a file with so many ASs.
const fn size(servers: usize) -> usize {
    SERVERS + servers * RECORD_WORDS
}
