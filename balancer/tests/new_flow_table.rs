//! Properties of new-flow tables (FEATURES C-02 to C-10, B-02, B-22).

use std::net::{IpAddr, Ipv4Addr};

use balancer::{Member, NewFlowTable, NewFlowTableError, TableLength};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

const SEED: u64 = 0x5eed;

fn address(n: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n))
}

fn members(weights: &[u8]) -> Vec<Member> {
    weights.iter().zip(1..).map(|(&weight, n)| Member { address: address(n), weight }).collect()
}

fn length(slots: u64) -> TableLength {
    TableLength::new(slots).unwrap()
}

fn table(members: &[Member], slots: u64) -> NewFlowTable {
    NewFlowTable::build(members, length(slots), SEED).unwrap()
}

fn slots(table: &NewFlowTable) -> Vec<IpAddr> {
    (0..table.length().get() as usize)
        .map_while(|slot| table.member_in_slot(slot))
        .map(|member| table.members()[member].address)
        .collect()
}

/// The part of all slots whose AS changed although neither the old nor the new one is `touched`.
fn collateral(before: &NewFlowTable, after: &NewFlowTable, touched: IpAddr) -> f64 {
    let (before, after) = (slots(before), slots(after));
    let changed = before
        .iter()
        .zip(&after)
        .filter(|&(old, new)| old != new && *old != touched && *new != touched)
        .count();
    changed as f64 / before.len() as f64
}

fn mixed_weights(count: usize) -> Vec<u8> {
    (0..count).map(|n| [100, 50, 10][n % 3]).collect()
}

fn any_members() -> impl Strategy<Value = Vec<Member>> {
    btree_map(0u32..500, 0u8..=100, 0..40).prop_map(|set| {
        set.into_iter().map(|(n, weight)| Member { address: address(n), weight }).collect()
    })
}

fn any_length() -> impl Strategy<Value = u64> {
    prop::sample::select(vec![1u64, 2, 3, 7, 8, 64, 101, 251, 1009, 1024])
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// C-02.
    #[test]
    fn order_does_not_matter(members in any_members(), slots in any_length(), swaps in vec((0usize..40, 0usize..40), 0..40)) {
        let mut shuffled = members.clone();
        for (a, b) in swaps {
            if a < shuffled.len() && b < shuffled.len() {
                shuffled.swap(a, b);
            }
        }
        prop_assert_eq!(table(&members, slots).digest(), table(&shuffled, slots).digest());
    }

    /// C-03, C-04, C-07: every slot is filled, every share is less than one slot off the ideal.
    #[test]
    fn shares_are_exact(members in any_members(), length in any_length()) {
        let table = table(&members, length);
        let filled = slots(&table);
        let total: u32 = members.iter().map(|m| u32::from(m.weight)).sum();
        prop_assert_eq!(table.is_empty(), total == 0);
        prop_assert_eq!(filled.len() as u64, if total == 0 { 0 } else { length });
        for member in &members {
            let count = filled.iter().filter(|&&address| address == member.address).count();
            prop_assert_eq!(count, table.share(member.address) as usize);
            let ideal = table.ideal_share(member.address);
            prop_assert!((count as f64 - ideal).abs() < 1.0, "{count} {ideal}");
            if total > 0 {
                let expected = length as f64 * f64::from(member.weight) / f64::from(total);
                prop_assert!((ideal - expected).abs() < 1e-9);
            }
        }
    }
}

/// C-05: slots that change hands although their AS stays, at most 1.5 times what a plain Maglev
/// table of this size measures on average.
#[test]
fn removal_moves_little_else() {
    for (weights, bound) in [
        (vec![100; 10], 0.0039),
        (vec![100; 100], 0.0087),
        (mixed_weights(30), 0.0062),
        (mixed_weights(100), 0.0101),
    ] {
        let all = members(&weights);
        let before = table(&all, 65_537);
        for index in [0, 1, 2, 9] {
            let mut rest = all.clone();
            let removed = rest.remove(index).address;
            let moved = collateral(&before, &table(&rest, 65_537), removed);
            assert!(moved <= bound, "{} ASs less {removed}: {moved}", weights.len());
        }
    }
}

/// C-06. The divisor of turns is constant, so it holds for the heaviest AS too.
#[test]
fn a_weight_of_one_more_moves_little_else() {
    let mut heaviest = mixed_weights(30);
    heaviest.retain(|&weight| weight < 100);
    heaviest.push(70);
    for (weights, index) in [
        (mixed_weights(30), 1),
        (mixed_weights(100), 1),
        (mixed_weights(100), 2),
        (vec![50; 10], 3),
        (vec![50; 100], 3),
        (heaviest.clone(), heaviest.len() - 1),
    ] {
        let mut set = members(&weights);
        let before = table(&set, 65_537);
        set[index].weight += 1;
        let moved = collateral(&before, &table(&set, 65_537), set[index].address);
        assert!(moved <= 0.003, "{} ASs: {moved}", weights.len());
    }
}

/// B-02, with exact shares.
#[test]
fn vpp_s_numbers_made_exact() {
    let shares = |weights: &[u8]| -> Vec<u32> {
        let set = members(weights);
        let table = table(&set, 1024);
        set.iter().map(|member| table.share(member.address)).collect()
    };
    assert_eq!(shares(&[100; 4]), [256; 4]);
    assert_eq!(shares(&[50, 100, 100, 100]), [146, 293, 293, 292]);
    assert_eq!(shares(&[50, 0, 100, 100]), [205, 0, 410, 409]);
    assert_eq!(shares(&[0; 4]), [0; 4]);
}

/// B-22: 2.56 % of 65 537 is 1680.4; VPP gives the AS as much as the others.
#[test]
fn one_of_twenty_at_half_weight() {
    let mut weights = vec![100; 20];
    weights[0] = 50;
    let table = table(&members(&weights), 65_537);
    assert!((1680..=1681).contains(&table.share(address(1))));
    assert!((3360..=3361).contains(&table.share(address(2))));
    let spread = table.spread().unwrap();
    assert!(spread.min > 0.999 && spread.max < 1.001, "{spread:?}");
}

/// C-08.
#[test]
fn a_table_without_takers_is_empty() {
    let table = table(&members(&[0, 0]), 65_537);
    assert!(table.is_empty());
    assert_eq!(table.member_in_slot(table.slot_of(u64::MAX)), None);
    assert_eq!(table.spread(), None);
    assert_eq!(table.length(), TableLength::DEFAULT);
}

/// C-09: tables of two seeds agree by chance only.
#[test]
fn seeds_give_unrelated_tables() {
    let set = members(&[100; 10]);
    let build = |seed| slots(&NewFlowTable::build(&set, length(65_537), seed).unwrap());
    let (one, two) = (build(1), build(2));
    let same = one.iter().zip(&two).filter(|(a, b)| a == b).count() as f64 / 65_537.0;
    assert!((0.09..0.11).contains(&same), "{same}");
}

/// C-10: what every machine and compiler must get.
#[test]
fn golden_digests() {
    let sets = [
        (vec![], 65_537),
        (vec![100; 3], 7),
        (vec![100, 50, 1], 1024),
        (mixed_weights(30), 65_537),
        (vec![100; 300], 65_536),
    ];
    let digests = sets.map(|(weights, slots)| table(&members(&weights), slots).digest());
    assert_eq!(
        format!("{digests:016x?}"),
        "[71940a272a674686, 74be0a0cf5d1319f, 3bc324007befe06c, 4499060a74f8453c, d78a6b7db8efc3ce]"
    );
}

#[test]
fn hashes_reach_every_slot_evenly() {
    let table = table(&members(&[1]), 7);
    assert_eq!((table.slot_of(0), table.slot_of(u64::MAX)), (0, 6));
    let step = u64::MAX / 7000;
    let mut counts = [0; 7];
    (0..7000).for_each(|n| counts[table.slot_of(n * step)] += 1);
    assert!(counts.iter().all(|&count| (999..=1001).contains(&count)), "{counts:?}");
}

#[test]
fn nonsense_is_refused() {
    let twice =
        [Member { address: address(1), weight: 1 }, Member { address: address(1), weight: 2 }];
    let error = NewFlowTable::build(&twice, length(8), 0).unwrap_err();
    assert_eq!(error, NewFlowTableError::Duplicate(address(1)));
    let heavy = [Member { address: address(1), weight: 101 }];
    let error = NewFlowTable::build(&heavy, length(8), 0).unwrap_err();
    assert_eq!(error, NewFlowTableError::Weight(address(1)));
}

#[test]
fn many_members_need_wider_slots() {
    let set = members(&vec![1; 70_000]);
    let table = table(&set, 131_072);
    assert!(set.iter().all(|member| (1..=2).contains(&table.share(member.address))));
    assert_eq!(slots(&table).len(), 131_072);
}
