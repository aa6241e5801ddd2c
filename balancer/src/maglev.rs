//! Maglev's fill (NSDI 2016, §3.4) with exact weights.
//!
//! Every member walks its own permutation of the slots, `offset + k * skip (mod length)`, and on
//! its turn takes the first slot still empty. Two things are ours:
//!
//! - *Turns by weight*, as Katran's second Maglev does: in each of 100 rounds a member adds its
//!   weight to a sum and has a turn whenever the sum reaches 100. The divisor is the constant 100
//!   and not the largest weight present, so changing one AS never reorders the turns of others.
//! - *Quotas*: a member stops at its share by largest remainder. Every share is then within less
//!   than one slot of the ideal, whatever the mix of weights; turns alone would let the roundings
//!   of many light members add up in favour of a heavy one.

use crate::application_server::MAX_WEIGHT;

/// A member's walk over the slots. `skip` is coprime to the length, so the walk meets every slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Permutation {
    /// The first slot.
    pub(crate) offset: u32,
    /// The distance from one slot to the next.
    pub(crate) skip: u32,
}

impl Permutation {
    /// The walk that 128 hash bits select.
    ///
    /// `length` is a prime or a power of two; the latter needs an odd skip to meet every slot.
    pub(crate) fn from_hash(hash: u128, length: u32) -> Self {
        let offset = scale(hash as u64, length);
        let skip = if length.is_power_of_two() {
            scale((hash >> 64) as u64, (length / 2).max(1)) * 2 + 1
        } else {
            scale((hash >> 64) as u64, length - 1) + 1
        };
        Self { offset, skip: if length == 1 { 0 } else { skip } }
    }
}

/// Maps a uniform 64-bit hash to `0..range` by its high bits (multiply-shift).
#[inline]
pub(crate) const fn scale(hash: u64, range: u32) -> u32 {
    ((hash as u128 * range as u128) >> 64) as u32
}

/// Shares of `length` slots by largest remainder; equal remainders favour the earlier member.
///
/// Every weight must be positive.
pub(crate) fn quotas(weights: &[u8], length: u32) -> Vec<u32> {
    let total: u64 = weights.iter().map(|&w| u64::from(w)).sum();
    if total == 0 {
        return vec![0; weights.len()];
    }
    let exact = |weight: u8| u64::from(length) * u64::from(weight);
    let mut quotas: Vec<u32> = weights.iter().map(|&w| (exact(w) / total) as u32).collect();
    let missing = length - quotas.iter().sum::<u32>();
    let mut by_remainder: Vec<usize> = (0..weights.len()).collect();
    by_remainder.sort_by_key(|&i| (std::cmp::Reverse(exact(weights[i]) % total), i));
    for &member in by_remainder.iter().take(missing as usize) {
        quotas[member] += 1;
    }
    quotas
}

/// The turns of 100 rounds, after which they repeat: every member as often as its weight says.
fn turns(weights: &[u8]) -> Vec<u32> {
    let mut sums = vec![0u8; weights.len()];
    let mut turns = Vec::with_capacity(weights.iter().map(|&w| usize::from(w)).sum());
    for _ in 0..MAX_WEIGHT {
        for (member, (sum, &weight)) in sums.iter_mut().zip(weights).enumerate() {
            *sum += weight;
            if *sum >= MAX_WEIGHT {
                *sum -= MAX_WEIGHT;
                turns.push(member as u32);
            }
        }
    }
    turns
}

fn greatest_divisor(a: u8, b: u8) -> u8 {
    if b == 0 { a } else { greatest_divisor(b, a % b) }
}

/// The turns after which they repeat, without the repetitions that a common divisor of all weights
/// makes: for equal weights one turn each, in order.
pub(crate) fn shortest_turns(weights: &[u8]) -> Vec<u32> {
    let divisor = weights.iter().copied().fold(0, greatest_divisor);
    let total: usize = weights.iter().map(|&weight| usize::from(weight)).sum();
    let Some(length) = total.checked_div(usize::from(divisor)) else { return Vec::new() };
    // After 100 / divisor rounds everybody had its exact share for the first time.
    turns(weights).into_iter().take(length).collect()
}

/// Fills a table: calls `place(slot, member)` once for every slot of `0..length`.
///
/// `weights` are 1 to 100, one for each permutation. The caller brings members into a canonical
/// order, so that the result depends on the set only. Without members nothing is placed.
pub(crate) fn fill(
    permutations: &[Permutation],
    weights: &[u8],
    length: u32,
    mut place: impl FnMut(u32, u32),
) {
    let turns = turns(weights);
    let quotas = quotas(weights, length).into_iter();
    let walker = |(walk, quota): (&Permutation, _)| Walker::new(*walk, length, quota);
    let mut walkers: Vec<Walker> = permutations.iter().zip(quotas).map(walker).collect();
    // So few that other members take hardly any of the slots meanwhile.
    let times = length as usize / permutations.len().max(1) / (16 * STEPS);
    let times = times.clamp(1, LOOK_AHEAD / STEPS);
    let mut turn = 0;
    // Whose turn it is and who has not got its quota yet.
    let mut next = |walkers: &mut [Walker]| {
        loop {
            let member = turns[turn];
            turn += 1;
            if turn == turns.len() {
                turn = 0;
            }
            let walker = &mut walkers[member as usize];
            if walker.quota > 0 {
                walker.quota -= 1;
                return member;
            }
        }
    };
    let few = if length < 64 { 0 } else { 2 * length.isqrt() };
    let empty = if permutations.is_empty() { 0 } else { length };
    // One bit a slot: the search for an empty one then stays in the L1 cache.
    let mut taken = vec![0u64; length.div_ceil(64) as usize];
    for _ in few..empty {
        let member = next(&mut walkers);
        place(walkers[member as usize].take(&mut taken, length, times), member);
    }
    let mut left = LastSlots { length, slots: empty_slots(&taken, length) };
    let strides: Vec<Stride> = match left.slots.is_empty() {
        true => Vec::new(),
        false => permutations.iter().map(|p| Stride::new(p.skip, length)).collect(),
    };
    let mut positions: Vec<u32> = walkers.iter().map(Walker::position).collect();
    for _ in 0..few.min(empty) {
        let member = next(&mut walkers);
        let from = &mut positions[member as usize];
        place(left.take(from, &strides[member as usize]), member);
    }
}

/// So many steps are made at once: each alone would wait for the one before.
const STEPS: usize = 8;

/// The most steps that a member looks ahead.
const LOOK_AHEAD: usize = 8 * STEPS;

/// A member on its way.
struct Walker {
    /// The next slots of its walk, behind those that it has seen.
    ahead: [u32; STEPS],
    /// The distance from each of them to that after all of them.
    jump: u32,
    /// So many slots it has still to take.
    quota: u32,
    /// Slots of its walk that were empty when it looked; those from `next` on it has not tried yet.
    seen: [u32; LOOK_AHEAD],
    next: usize,
    end: usize,
}

/// The slot after a distance that is less than the length.
#[inline(always)]
fn behind(slot: u32, distance: u32, length: u32) -> u32 {
    let ahead = slot + distance;
    // Without a jump: where a walk wraps around is not to be foreseen.
    ahead.min(ahead.wrapping_sub(length))
}

impl Walker {
    fn new(walk: Permutation, length: u32, quota: u32) -> Self {
        let (mut slot, mut jump) = (walk.offset, 0);
        let ahead = [(); STEPS].map(|()| {
            jump = behind(jump, walk.skip, length);
            let next = behind(slot, walk.skip, length);
            std::mem::replace(&mut slot, next)
        });
        Self { ahead, jump, quota, seen: [0; LOOK_AHEAD], next: 0, end: 0 }
    }

    /// Takes the next slot that is empty. Looks so many times [`STEPS`] ahead.
    fn take(&mut self, taken: &mut [u64], length: u32, times: usize) -> u32 {
        loop {
            while self.next < self.end {
                let slot = self.seen[self.next % LOOK_AHEAD];
                self.next += 1;
                let word = &mut taken[(slot / 64) as usize];
                if *word >> (slot % 64) & 1 == 0 {
                    *word |= 1 << (slot % 64);
                    return slot;
                }
            }
            self.look_ahead(taken, length, times);
        }
    }

    /// Looks which of the next slots are empty: without a jump for each, as nobody can foresee that.
    fn look_ahead(&mut self, taken: &[u64], length: u32, times: usize) {
        let mut end = 0;
        for _ in 0..times {
            for slot in self.ahead {
                self.seen[end % LOOK_AHEAD] = slot;
                end += usize::from(taken[(slot / 64) as usize] >> (slot % 64) & 1 == 0);
            }
            self.ahead = self.ahead.map(|slot| behind(slot, self.jump, length));
        }
        (self.next, self.end) = (0, end);
    }

    /// The first slot that may be empty.
    fn position(&self) -> u32 {
        if self.next < self.end { self.seen[self.next % LOOK_AHEAD] } else { self.ahead[0] }
    }
}

/// The slots that nobody has taken.
fn empty_slots(taken: &[u64], length: u32) -> Vec<u32> {
    let slots = taken.iter().enumerate().filter(|(_, word)| **word != u64::MAX);
    let slots = slots.flat_map(|(at, word)| {
        let first = at as u32 * 64;
        (first..length.min(first + 64)).filter(move |slot| *word >> (slot - first) & 1 == 0)
    });
    slots.collect()
}

/// The last empty slots. The walk to the next of them would be long: a thousandth of the slots costs
/// half of all steps. So the distance to each is computed instead, and the nearest one taken.
struct LastSlots {
    length: u32,
    slots: Vec<u32>,
}

/// A distance between the slots of a walk, to multiply with and to divide by, modulo the length.
struct Stride {
    skip: u32,
    inverse: u32,
    /// `inverse` as a fraction of the length, in units of 2^-32: a product's quotient without a
    /// division (V. Shoup, NTL).
    fraction: u64,
}

impl Stride {
    /// `skip` is coprime to `length`.
    fn new(skip: u32, length: u32) -> Self {
        // Extended Euclid.
        let (mut r, mut new_r) = (i64::from(length), i64::from(skip));
        let (mut t, mut new_t) = (0i64, 1i64);
        while new_r != 0 {
            let quotient = r / new_r;
            (r, new_r) = (new_r, r - quotient * new_r);
            (t, new_t) = (new_t, t - quotient * new_t);
        }
        let inverse = t.rem_euclid(i64::from(length)) as u32;
        Self { skip, inverse, fraction: (u64::from(inverse) << 32) / u64::from(length) }
    }
}

impl LastSlots {
    /// Takes the slot that a walk meets next, and moves the walk behind it.
    fn take(&mut self, from: &mut u32, stride: &Stride) -> u32 {
        let (length, start) = (self.length, *from);
        let steps = |slot: &u32| {
            let ahead = slot.wrapping_sub(start);
            let ahead = ahead.min(ahead.wrapping_add(length));
            let quotient = ((u64::from(ahead) * stride.fraction) >> 32) as u32;
            // At most one length too much.
            let rest =
                ahead.wrapping_mul(stride.inverse).wrapping_sub(quotient.wrapping_mul(length));
            rest.min(rest.wrapping_sub(length))
        };
        let nearest = self.slots.iter().map(steps).fold(u32::MAX, u32::min);
        let walk = |steps: u32| {
            let slot = u64::from(start) + u64::from(steps) * u64::from(stride.skip);
            (slot % u64::from(length)) as u32
        };
        let chosen = walk(nearest);
        if let Some(at) = self.slots.iter().position(|slot| *slot == chosen) {
            self.slots.swap_remove(at);
        }
        *from = walk(nearest + 1);
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(permutations: &[(u32, u32)], length: u32) -> Vec<u32> {
        let permutations: Vec<_> =
            permutations.iter().map(|&(offset, skip)| Permutation { offset, skip }).collect();
        let mut slots = vec![u32::MAX; length as usize];
        fill(&permutations, &vec![100; permutations.len()], length, |slot, member| {
            assert_eq!(slots[slot as usize], u32::MAX, "slot {slot} placed twice");
            slots[slot as usize] = member;
        });
        slots
    }

    /// The worked example of the Maglev paper, table 1 (C-01).
    #[test]
    fn the_paper_s_example() {
        assert_eq!(filled(&[(3, 4), (0, 2), (3, 1)], 7), [1, 0, 1, 0, 2, 2, 0]);
        // Without B1; B2 is now the second member.
        assert_eq!(filled(&[(3, 4), (3, 1)], 7), [0, 0, 0, 0, 1, 1, 1]);
    }

    /// The fill as the paper has it, step by step.
    fn walked(permutations: &[Permutation], weights: &[u8], length: u32) -> Vec<u32> {
        let mut quotas = quotas(weights, length);
        let mut next: Vec<u64> = permutations.iter().map(|p| p.offset.into()).collect();
        let mut slots = vec![u32::MAX; length as usize];
        let mut empty = length;
        for member in turns(weights).into_iter().cycle() {
            let at = member as usize;
            if empty == 0 {
                break;
            }
            if quotas[at] == 0 {
                continue;
            }
            quotas[at] -= 1;
            while slots[next[at] as usize] != u32::MAX {
                next[at] = (next[at] + u64::from(permutations[at].skip)) % u64::from(length);
            }
            slots[next[at] as usize] = member;
            empty -= 1;
        }
        slots
    }

    #[test]
    fn shortcuts_lead_to_the_same_slots() {
        for length in [1u32, 2, 61, 64, 67, 101, 1024, 4093, 65_536, 65_537] {
            for members in [1u32, 2, 7, 100] {
                let hash = |n: u32| {
                    u128::from(n + length + 1)
                        .wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
                };
                let permutations: Vec<_> =
                    (0..members).map(|n| Permutation::from_hash(hash(n), length)).collect();
                let weights: Vec<_> = (0..members).map(|n| 100 - (n % 3) as u8 * 45).collect();
                let mut slots = vec![u32::MAX; length as usize];
                fill(&permutations, &weights, length, |slot, member| slots[slot as usize] = member);
                assert!(slots == walked(&permutations, &weights, length), "{length} {members}");
            }
        }
    }

    #[test]
    fn quotas_are_by_largest_remainder() {
        // B-02: VPP gives 150/292/291/291 and 208/0/408/408.
        assert_eq!(quotas(&[50, 100, 100, 100], 1024), [146, 293, 293, 292]);
        assert_eq!(quotas(&[50, 100, 100], 1024), [205, 410, 409]);
        assert_eq!(quotas(&[100; 4], 1024), [256; 4]);
        assert_eq!(quotas(&[1, 1, 1], 2), [1, 1, 0]);
        assert_eq!(quotas(&[], 8), [0u32; 0]);
    }

    #[test]
    fn turns_follow_weights_and_repeat() {
        assert_eq!(turns(&[100, 50]).iter().filter(|&&m| m == 1).count(), 50);
        assert_eq!(turns(&[100, 50])[..6], [0, 0, 1, 0, 0, 1]);
        assert_eq!(turns(&[1]), [0]);
    }

    #[test]
    fn shortest_turns_are_exact() {
        assert_eq!(shortest_turns(&[]), [0u32; 0]);
        assert_eq!(shortest_turns(&[77; 3]), [0, 1, 2]);
        for weights in [&[3, 6][..], &[7, 21, 14], &[100, 99], &[10, 10, 20], &[33, 66, 99, 100]] {
            let divisor = weights.iter().copied().fold(0, greatest_divisor);
            let turns = shortest_turns(weights);
            for (member, &weight) in weights.iter().enumerate() {
                let count = turns.iter().filter(|&&turn| turn == member as u32).count();
                assert_eq!(count, usize::from(weight / divisor), "{weights:?}: {turns:?}");
            }
        }
    }

    #[test]
    fn walks_meet_every_slot() {
        for length in [1u32, 2, 3, 4, 7, 64, 101, 1024] {
            for seed in 0..50u128 {
                let hash = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
                let walk = Permutation::from_hash(hash, length);
                let mut met = vec![false; length as usize];
                let mut slot = walk.offset;
                for _ in 0..length {
                    met[slot as usize] = true;
                    slot = (slot + walk.skip) % length;
                }
                assert!(met.iter().all(|&m| m), "length {length}: {walk:?}");
            }
        }
    }
}
