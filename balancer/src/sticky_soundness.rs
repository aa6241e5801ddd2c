//! What holds of a sticky table at every moment between two changes of its owner. Debug builds, and
//! with them all tests, look at it as the sweep comes by.

use std::collections::BTreeMap;

use crate::bucket::WAYS;
use crate::flow_key::is_direct_word;
use crate::sticky_owner::StickyOwner;

impl StickyOwner {
    /// Whether every flow of a bucket is found, and found there only: the bucket is one of its two,
    /// and neither its other one nor the table before has it too. Who is in the second is known to be.
    pub(crate) fn is_sound_at(&self, index: u32) -> bool {
        let entries = self.table().entries(index);
        (0..WAYS).filter(|&way| !entries.bucket.value(way).is_free()).all(|way| {
            let key = entries.key(way);
            let pair = self.table().bucket_of(&key);
            let copies = [pair.first, pair.second].map(|bucket| self.copies(bucket, &key));
            let copies = if pair.first == pair.second { copies[0] } else { copies[0] + copies[1] };
            [pair.first, pair.second].contains(&index)
                && copies == 1
                && (index == pair.first || self.strays.may_be(pair.first))
                && self.find_before(&key).is_none()
        })
    }

    /// How many entries of a bucket are a flow's.
    fn copies(&self, index: u32, key: &crate::flow_key::FlowKey) -> usize {
        let entries = self.table().entries(index);
        let is_its =
            |way: &usize| !entries.bucket.value(*way).is_free() && entries.key(*way) == *key;
        (0..WAYS).filter(is_its).count()
    }

    /// Whether the counts are those of the entries. Looks at all of them.
    pub(crate) fn counts_are_right(&self) -> bool {
        let (table, mut used, mut direct) = (self.table(), 0, 0);
        let mut of_servers = BTreeMap::new();
        for index in 0..table.buckets() as u32 {
            let bucket = table.entries(index).bucket;
            for way in (0..WAYS).filter(|&way| !bucket.value(way).is_free()) {
                used += 1;
                match is_direct_word(bucket.word(way)) {
                    true => direct += 1,
                    false => *of_servers.entry(bucket.value(way).as_id()).or_default() += 1,
                }
            }
        }
        let live = table.live_flows();
        let counted = |id: &crate::AsId| id.index() < live.servers_max();
        (used, direct) == (live.used(), live.direct())
            && of_servers.iter().filter(|(id, _)| counted(id)).all(|(id, n)| live.of(*id) == *n)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::{AsId, FlowKey, FlowState, InstanceKey, NewEntry, VipId};

    fn key(n: u32) -> FlowKey {
        FlowKey::exact(Ipv4Addr::from(n), 7, VipId::new(1).unwrap())
    }

    /// A table with one flow, and the bucket of it.
    fn table() -> (StickyOwner, u32) {
        let mut owner = StickyOwner::new(8, InstanceKey::from_bytes([1; 32]), 4).unwrap();
        let as_id = AsId::new(2).unwrap();
        let entry = NewEntry { as_id, epoch: 0, state: FlowState::Udp, expiry_tick: 9 };
        let slot = owner.insert(&key(0), entry, 0, |_| Some(0)).unwrap();
        assert!(owner.is_sound_at(slot.bucket()) && owner.counts_are_right());
        (owner, slot.bucket())
    }

    /// A flow in a bucket, put there behind the owner's back.
    fn smuggle(owner: &StickyOwner, bucket: u32, key: &FlowKey, way: usize) {
        let as_id = AsId::new(2).unwrap();
        let value = crate::FlowValue::new(as_id, 0, FlowState::Udp, 9, 1);
        owner.table().entries(bucket).replace(way, key, value);
    }

    #[test]
    fn a_flow_in_a_foreign_bucket_shows() {
        let (owner, bucket) = table();
        let pair = |n| owner.table().bucket_of(&key(n));
        let stranger = (1..).find(|n| ![pair(*n).first, pair(*n).second].contains(&bucket));
        smuggle(&owner, bucket, &key(stranger.unwrap()), 3);
        assert!(!owner.is_sound_at(bucket) && !owner.counts_are_right());
    }

    #[test]
    fn a_flow_with_two_entries_shows() {
        let (owner, bucket) = table();
        let pair = owner.table().bucket_of(&key(0));
        smuggle(&owner, pair.second, &key(0), 3);
        assert!(!owner.is_sound_at(bucket) && !owner.is_sound_at(pair.second));
    }
}
