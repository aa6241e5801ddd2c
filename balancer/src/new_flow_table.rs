//! The new-flow table of a VIP: which AS a flow gets that has no entry yet.
//!
//! A pure function of the set {(AS address, weight)}, the length and the seed: the order of
//! commands, the ids of ASs and the machine do not matter. Slots hold a member's position in
//! address order, one, two or four bytes wide as the number of members needs, so VIPs with equal
//! ASs can share a table, and ten thousand tables of the default length take 0.6 GB, not 2.6.

use std::net::IpAddr;

use xxhash_rust::xxh3::{Xxh3, xxh3_128_with_seed};

use crate::application_server::MAX_WEIGHT;
use crate::maglev::{self, Permutation};
use crate::prefetch::prefetch;
use crate::table_length::TableLength;

/// An AS as the new-flow table sees it: who it is and how much it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member {
    /// The AS's address: its identity, the same on every replica.
    pub address: IpAddr,
    /// Its weight, 0 to [`MAX_WEIGHT`].
    pub weight: u8,
}

/// Why a table cannot be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NewFlowTableError {
    /// A weight above [`MAX_WEIGHT`].
    #[error("the weight of {0} is above 100")]
    Weight(IpAddr),
    /// An address twice in the set.
    #[error("{0} is there twice")]
    Duplicate(IpAddr),
}

/// How evenly a table's slots are spread; see [`NewFlowTable::spread`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The smallest ratio of a member's slots to its ideal share.
    pub min: f64,
    /// The largest ratio of a member's slots to its ideal share.
    pub max: f64,
}

/// Positions of members, as narrow as their number allows.
#[derive(Debug)]
enum Slots {
    Narrow(Box<[u8]>),
    Medium(Box<[u16]>),
    Wide(Box<[u32]>),
}

/// An immutable new-flow table.
#[derive(Debug)]
pub struct NewFlowTable {
    length: TableLength,
    seed: u64,
    /// Members with a weight, in address order.
    members: Box<[Member]>,
    counts: Box<[u32]>,
    slots: Slots,
    digest: u64,
}

impl NewFlowTable {
    /// Builds the table of a set of ASs; those of weight 0 get no slot and are left out.
    ///
    /// # Errors
    ///
    /// When a weight is above 100 or an address is there twice.
    pub fn build(
        members: &[Member],
        length: TableLength,
        seed: u64,
    ) -> Result<Self, NewFlowTableError> {
        let members = canonical(members)?;
        let permutations: Vec<_> = members
            .iter()
            .map(|member| {
                let hash = with_octets(member.address, |octets| xxh3_128_with_seed(octets, seed));
                Permutation::from_hash(hash, length.get())
            })
            .collect();
        let weights: Vec<u8> = members.iter().map(|member| member.weight).collect();
        let counts = maglev::quotas(&weights, length.get()).into();
        let slots = Slots::fill(&permutations, &weights, length);
        let mut table = Self { length, seed, members: members.into(), counts, slots, digest: 0 };
        table.digest = table.compute_digest();
        Ok(table)
    }

    /// The length in slots, whether or not a member fills them.
    #[must_use]
    pub fn length(&self) -> TableLength {
        self.length
    }

    /// Bytes of the slots of a table with so many members that take new flows.
    #[must_use]
    pub fn bytes_for(members: usize, length: TableLength) -> usize {
        match members {
            0 => 0,
            _ if members <= 1 << 8 => length.get() as usize,
            _ if members <= 1 << 16 => length.get() as usize * size_of::<u16>(),
            _ => length.get() as usize * size_of::<u32>(),
        }
    }

    /// Bytes of its slots.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match &self.slots {
            Slots::Narrow(slots) => size_of_val::<[_]>(slots),
            Slots::Medium(slots) => size_of_val::<[_]>(slots),
            Slots::Wide(slots) => size_of_val::<[_]>(slots),
        }
    }

    /// The seed of the permutations.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Whether no AS takes new flows: no members, or all of weight 0.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The ASs that take new flows, in address order.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// A 64-bit digest over the address in each slot: equal on replicas that would send every new
    /// flow to the same AS.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The slot that a flow hash selects, by its high bits.
    #[inline(always)]
    #[must_use]
    pub fn slot_of(&self, hash: u64) -> usize {
        maglev::scale(hash, self.length.get()) as usize
    }

    /// Starts to fetch a slot.
    #[inline(always)]
    pub fn prefetch(&self, slot: usize) {
        match &self.slots {
            Slots::Narrow(slots) => slots.get(slot).into_iter().for_each(prefetch),
            Slots::Medium(slots) => slots.get(slot).into_iter().for_each(prefetch),
            Slots::Wide(slots) => slots.get(slot).into_iter().for_each(prefetch),
        }
    }

    /// The position in [`members`](Self::members) of the AS in a slot; `None` in an empty table.
    #[inline(always)]
    #[must_use]
    pub fn member_in_slot(&self, slot: usize) -> Option<usize> {
        match &self.slots {
            Slots::Narrow(slots) => slots.get(slot).map(|&member| usize::from(member)),
            Slots::Medium(slots) => slots.get(slot).map(|&member| usize::from(member)),
            Slots::Wide(slots) => slots.get(slot).map(|&member| member as usize),
        }
    }

    /// How many slots an address has (`buckets:` in `show lb vips verbose`); 0 for strangers.
    #[must_use]
    pub fn share(&self, address: IpAddr) -> u32 {
        self.members
            .binary_search_by_key(&address, |member| member.address)
            .map_or(0, |position| self.counts[position])
    }

    /// The share that an address would have if slots could be divided; 0.0 for strangers.
    #[must_use]
    pub fn ideal_share(&self, address: IpAddr) -> f64 {
        let total: u32 = self.members.iter().map(|member| u32::from(member.weight)).sum();
        self.members.binary_search_by_key(&address, |member| member.address).map_or(
            0.0,
            |position| {
                f64::from(self.length.get()) * f64::from(self.members[position].weight)
                    / f64::from(total)
            },
        )
    }

    /// The worst ratios of slots to ideal share; `None` in an empty table.
    #[must_use]
    pub fn spread(&self) -> Option<Spread> {
        let ratios = self
            .members
            .iter()
            .zip(&self.counts)
            .map(|(member, &count)| f64::from(count) / self.ideal_share(member.address));
        ratios
            .map(|ratio| Spread { min: ratio, max: ratio })
            .reduce(|a, b| Spread { min: a.min.min(b.min), max: a.max.max(b.max) })
    }

    fn compute_digest(&self) -> u64 {
        let mut digest = Xxh3::new();
        digest.update(&self.length.get().to_le_bytes());
        let octets = |member: &Member| match member.address {
            IpAddr::V4(address) => Some(address.octets()),
            IpAddr::V6(_) => None,
        };
        // Nearly all tables are like this one.
        if let (Slots::Narrow(slots), Some(octets)) =
            (&self.slots, self.members.iter().map(octets).collect::<Option<Vec<_>>>())
        {
            for some in slots.chunks(2048) {
                let addresses: Vec<_> =
                    some.iter().map(|&member| octets[usize::from(member)]).collect();
                digest.update(addresses.as_flattened());
            }
            return digest.digest();
        }
        // Hashing a few thousand octets at a time is ten times faster than four at a time.
        let mut octets = Vec::with_capacity(8192);
        let mut slot = 0;
        while let Some(member) = self.member_in_slot(slot) {
            with_octets(self.members[member].address, |address| octets.extend(address));
            if octets.len() >= 8192 - 16 {
                digest.update(&octets);
                octets.clear();
            }
            slot += 1;
        }
        digest.update(&octets);
        digest.digest()
    }
}

/// The members that get slots, in address order.
pub(crate) fn canonical(members: &[Member]) -> Result<Vec<Member>, NewFlowTableError> {
    let mut members = members.to_vec();
    members.sort_unstable();
    if let Some(pair) = members.windows(2).find(|pair| pair[0].address == pair[1].address) {
        return Err(NewFlowTableError::Duplicate(pair[0].address));
    }
    if let Some(member) = members.iter().find(|member| member.weight > MAX_WEIGHT) {
        return Err(NewFlowTableError::Weight(member.address));
    }
    members.retain(|member| member.weight > 0);
    Ok(members)
}

fn with_octets<R>(address: IpAddr, f: impl FnOnce(&[u8]) -> R) -> R {
    match address {
        IpAddr::V4(address) => f(&address.octets()),
        IpAddr::V6(address) => f(&address.octets()),
    }
}

impl Slots {
    fn fill(permutations: &[Permutation], weights: &[u8], length: TableLength) -> Self {
        let (members, length) = (permutations.len(), length.get());
        let size = if members == 0 { 0 } else { length as usize };
        if members <= 1 << 8 {
            let mut slots = vec![0u8; size];
            maglev::fill(permutations, weights, length, |slot, member| {
                slots[slot as usize] = member as u8;
            });
            Self::Narrow(slots.into())
        } else if members <= 1 << 16 {
            let mut slots = vec![0u16; size];
            maglev::fill(permutations, weights, length, |slot, member| {
                slots[slot as usize] = member as u16;
            });
            Self::Medium(slots.into())
        } else {
            let mut slots = vec![0u32; size];
            maglev::fill(permutations, weights, length, |slot, member| {
                slots[slot as usize] = member;
            });
            Self::Wide(slots.into())
        }
    }
}
