//! Sharing of new-flow tables: VIPs with equal ASs, weights and length use one table, and a table
//! that did not change is not built again.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use crate::new_flow_table::{Member, NewFlowTable, NewFlowTableError, canonical};
use crate::table_length::TableLength;

/// The new-flow tables in use, by what they are made of. Lives on the control thread.
#[derive(Debug, Default)]
pub struct NewFlowCache {
    tables: HashMap<(Vec<Member>, TableLength, u64), Weak<NewFlowTable>>,
    built: u64,
}

impl NewFlowCache {
    /// An empty cache.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The table of a set of ASs, built only if nobody holds it already.
    ///
    /// # Errors
    ///
    /// As [`NewFlowTable::build`].
    pub fn table(
        &mut self,
        members: &[Member],
        length: TableLength,
        seed: u64,
    ) -> Result<Arc<NewFlowTable>, NewFlowTableError> {
        if let Some(table) = self.get(members, length, seed) {
            return Ok(table);
        }
        let key = (canonical(members)?, length, seed);
        let table = Arc::new(NewFlowTable::build(&key.0, length, seed)?);
        self.built += 1;
        self.tables.insert(key, Arc::downgrade(&table));
        Ok(table)
    }

    /// The table of a set of ASs, if somebody holds it.
    #[must_use]
    pub fn get(
        &self,
        members: &[Member],
        length: TableLength,
        seed: u64,
    ) -> Option<Arc<NewFlowTable>> {
        let key = (canonical(members).ok()?, length, seed);
        self.tables.get(&key).and_then(Weak::upgrade)
    }

    /// Takes up a table that was built elsewhere.
    pub fn keep(&mut self, table: &Arc<NewFlowTable>) {
        let key = (table.members().to_vec(), table.length(), table.seed());
        self.built += 1;
        self.tables.insert(key, Arc::downgrade(table));
    }

    /// Forgets tables that nobody holds any more.
    pub fn forget_unused(&mut self) {
        self.tables.retain(|_, table| table.strong_count() > 0);
    }

    /// How many tables were built so far.
    #[must_use]
    pub fn built(&self) -> u64 {
        self.built
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    fn member(last: u8, weight: u8) -> Member {
        Member { address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)), weight }
    }

    #[test]
    fn equal_sets_share_a_table() {
        let mut cache = NewFlowCache::new();
        let length = TableLength::new(101).unwrap();
        let one = cache.table(&[member(1, 100), member(2, 50)], length, 1).unwrap();
        let same = cache.table(&[member(2, 50), member(3, 0), member(1, 100)], length, 1).unwrap();
        assert!(Arc::ptr_eq(&one, &same));
        let other = cache.table(&[member(1, 100), member(2, 51)], length, 1).unwrap();
        assert!(!Arc::ptr_eq(&one, &other));
        assert_eq!(cache.built(), 2);
        // One that was built elsewhere is as good.
        let set = [member(9, 1)];
        assert!(cache.get(&set, length, 1).is_none());
        let elsewhere = Arc::new(NewFlowTable::build(&set, length, 1).unwrap());
        cache.keep(&elsewhere);
        assert!(Arc::ptr_eq(&elsewhere, &cache.table(&set, length, 1).unwrap()));
    }

    #[test]
    fn unused_tables_are_forgotten() {
        let mut cache = NewFlowCache::new();
        let length = TableLength::new(8).unwrap();
        drop(cache.table(&[member(1, 1)], length, 0).unwrap());
        cache.forget_unused();
        assert!(cache.tables.is_empty());
    }
}
