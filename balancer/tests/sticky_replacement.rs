//! A sticky table that another replaces: its flows are found all the time, and follow in slices.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};

use balancer::{
    AsId, FlowKey, FlowState, FlowTuple, InstanceKey, KeyKind, Located, NewEntry, StickyOwner,
    VipId,
};

const FLOWS: u32 = 200;

fn server(n: u32) -> AsId {
    AsId::new(n).unwrap()
}

fn vip() -> VipId {
    VipId::new(3).unwrap()
}

fn instance() -> InstanceKey {
    InstanceKey::from_bytes([0x42; 32])
}

fn tuple(n: u32) -> FlowTuple<Ipv4Addr> {
    let (src, dst) = (Ipv4Addr::from(0x0a00_0000 + n), Ipv4Addr::new(20, 0, 0, n as u8));
    FlowTuple { src, dst, src_port: 1000, dst_port: 80, protocol: 6 }
}

fn kind(n: u32) -> KeyKind {
    [KeyKind::Exact, KeyKind::Tag, KeyKind::Full, KeyKind::End, KeyKind::Full][n as usize % 5]
}

/// Keys of every kind by turns.
fn key(n: u32) -> FlowKey {
    let tuple = tuple(n);
    match kind(n) {
        KeyKind::Exact => FlowKey::exact(tuple.src, tuple.src_port, vip()),
        KeyKind::Tag => FlowKey::tag(&instance(), &tuple, vip()),
        KeyKind::End => FlowKey::end(&instance(), &tuple, vip()),
        KeyKind::Full if n % 5 == 4 => FlowKey::direct(&instance(), &tuple),
        KeyKind::Full => FlowKey::full(&instance(), &tuple, vip()),
    }
}

fn owner(buckets: u64) -> StickyOwner {
    StickyOwner::new(buckets, instance(), 8).unwrap()
}

fn entry(as_id: AsId) -> NewEntry {
    NewEntry { as_id, epoch: 0, state: FlowState::Established, expiry_tick: 100 }
}

fn insert(owner: &mut StickyOwner, n: u32, server: AsId) {
    owner.insert(&key(n), entry(server), 1, |_| Some(0)).unwrap();
}

fn filled(buckets: u64) -> StickyOwner {
    let mut sticky = owner(buckets);
    (0..FLOWS).for_each(|n| insert(&mut sticky, n, server(n % 4)));
    sticky
}

/// A table of many buckets that has just replaced one with flows, each of AS `n % 4`.
fn replaced() -> StickyOwner {
    let mut sticky = filled(256);
    assert!(sticky.replace(Box::new(owner(512))).is_none());
    sticky
}

fn as_of(sticky: &StickyOwner, n: u32) -> Option<AsId> {
    sticky.lookup(&key(n), 1).map(|value| value.as_id())
}

#[test]
fn flows_follow_in_slices_and_none_is_ever_lost() {
    let mut sticky = filled(256);
    let before = sticky.table().clone();
    sticky.replace(Box::new(owner(512)));
    let direct = sticky.direct_flows();
    assert!(direct > 0);
    let (mut followed, mut slices) = (0, 0);
    let retired = loop {
        for n in 0..FLOWS {
            assert_eq!(as_of(&sticky, n), Some(server(n % 4)));
        }
        // Over both tables the counts are exact.
        assert_eq!((sticky.used() + before.used(), sticky.direct_flows()), (FLOWS, direct));
        let flows = |n| (0..FLOWS).filter(|f| f % 4 == n && !key(*f).is_direct()).count() as u32;
        let live =
            |n| sticky.table().live_flows().of(server(n)) + before.live_flows().of(server(n));
        assert_eq!([0, 1, 2, 3].map(live), [0, 1, 2, 3].map(flows));
        let slice = sticky.follow(2, 1, |_| Some(0));
        let moved = sticky.used() - followed;
        assert!(moved <= 2 * 4, "{moved} flows in a slice of two buckets");
        assert_eq!(slice.lost, 0);
        followed += moved;
        slices += 1;
        if let Some(old) = slice.retired {
            break old;
        }
    };
    assert!(slices > 50, "{slices}");
    assert_eq!((retired.used(), sticky.used()), (0, FLOWS));
    assert!((0..FLOWS).all(|n| as_of(&sticky, n) == Some(server(n % 4))));
    assert!(sticky.follow(2, 1, |_| Some(0)).retired.is_none(), "only once");
}

#[test]
fn what_happens_to_a_flow_before_it_follows_is_kept() {
    let mut sticky = replaced();
    // Refreshed where it is, removed, and given to another AS.
    let (slot, _) = sticky.find(&key(0)).unwrap();
    sticky.refresh(slot, FlowState::FinWait, 77);
    let (slot, _) = sticky.find(&key(1)).unwrap();
    sticky.remove(slot);
    insert(&mut sticky, 2, server(7));
    // One that is new begins in the new table.
    insert(&mut sticky, FLOWS, server(6));
    assert_eq!(sticky.used(), 1);
    let check = |sticky: &StickyOwner| {
        let refreshed = sticky.lookup(&key(0), 1).unwrap();
        assert_eq!((refreshed.state(), refreshed.expiry_tick()), (FlowState::FinWait, 77));
        assert_eq!(
            [1, 2, FLOWS].map(|n| as_of(sticky, n)),
            [None, Some(server(7)), Some(server(6))]
        );
    };
    check(&sticky);
    while sticky.follow(8, 1, |_| Some(0)).retired.is_none() {
        check(&sticky);
    }
    check(&sticky);
    assert_eq!(sticky.used(), FLOWS);
}

#[test]
fn dead_flows_do_not_follow() {
    let mut sticky = replaced();
    // Two ASs are flushed.
    let epoch_of = |id: AsId| Some(u8::from(id.get() < 2));
    let slices = std::iter::repeat_with(|| sticky.follow(64, 1, epoch_of));
    let (mut lost, mut retired) = (0, None);
    for slice in slices {
        lost += slice.lost;
        retired = slice.retired;
        if retired.is_some() {
            break;
        }
    }
    assert_eq!((retired.unwrap().used(), lost), (0, 0));
    let alive = |n: &u32| key(*n).is_direct() || n % 4 >= 2;
    assert_eq!(sticky.used(), (0..FLOWS).filter(alive).count() as u32);
    assert!((0..FLOWS).filter(alive).all(|n| as_of(&sticky, n).is_some()));
}

#[test]
fn what_finds_no_place_in_a_smaller_table_is_counted() {
    let mut sticky = filled(256);
    sticky.replace(Box::new(owner(16)));
    let mut lost = 0;
    loop {
        let slice = sticky.follow(8, 1, |_| Some(0));
        lost += slice.lost as u32;
        let known = (0..FLOWS).filter(|n| as_of(&sticky, *n) == Some(server(n % 4))).count() as u32;
        assert_eq!(known + lost, FLOWS);
        if slice.retired.is_some() {
            break;
        }
    }
    assert_eq!(sticky.used() + lost, FLOWS);
    // Nearly all of the 64 places are taken.
    assert!((60..=64).contains(&sticky.used()), "{}", sticky.used());
}

/// Whether a flow gets an entry at once, for AS 7.
fn admitted(sticky: &mut StickyOwner, located: &Located) -> bool {
    sticky.admit(located, None::<&FlowTuple<Ipv4Addr>>, entry(server(7)).into(), 1)
}

#[test]
fn the_express_way_finds_flows_in_both_tables_and_makes_none_twice() {
    let mut sticky = replaced();
    let ways = |sticky: &StickyOwner, n: u32| {
        let (tuple, kind) = (tuple(n), kind(n));
        let located = sticky.locate(kind, vip(), &tuple);
        let full = (kind == KeyKind::Full).then_some(&tuple);
        (located, sticky.known(&located, full, 1).map(|known| known.value.as_id()))
    };
    loop {
        for n in (0..FLOWS).filter(|n| !key(*n).is_direct()) {
            let (located, known) = ways(&sticky, n);
            assert_eq!(known, Some(server(n % 4)));
            assert!(kind(n) == KeyKind::Full || !admitted(&mut sticky, &located));
        }
        if sticky.follow(16, 1, |_| Some(0)).retired.is_some() {
            break;
        }
        // A flow that may be about is left to who looks closer.
        let (located, known) = ways(&sticky, 3 * FLOWS);
        assert!(known.is_none() && !admitted(&mut sticky, &located));
    }
    let (located, _) = ways(&sticky, 3 * FLOWS);
    assert!(admitted(&mut sticky, &located));
    assert_eq!(ways(&sticky, 3 * FLOWS).1, Some(server(7)));
}

#[test]
fn a_table_that_is_replaced_too_early_comes_back_with_its_flows() {
    let mut sticky = replaced();
    let left = sticky.replace(Box::new(owner(128))).unwrap();
    assert_eq!((left.used(), sticky.used()), (FLOWS, 0));
}

/// Other workers look for flows in the old table first and then in the new one.
#[test]
fn a_reader_of_both_tables_never_misses_a_flow_that_moves() {
    let mut sticky = filled(256);
    let done = AtomicBool::new(false);
    for round in 0..10 {
        let next = owner(if round % 2 == 0 { 512 } else { 256 });
        let tables = [sticky.table().clone(), next.table().clone()];
        done.store(false, Ordering::SeqCst);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut rounds = 0;
                while !done.load(Ordering::SeqCst) || rounds == 0 {
                    for n in 0..FLOWS {
                        let found = tables.iter().find_map(|table| table.lookup(&key(n), 1));
                        assert_eq!(found.map(|value| value.as_id()), Some(server(n % 4)), "{n}");
                    }
                    rounds += 1;
                }
            });
            sticky.replace(Box::new(next));
            while sticky.follow(4, 1, |_| Some(0)).retired.is_none() {
                std::thread::yield_now();
            }
            done.store(true, Ordering::SeqCst);
            reader.join().unwrap();
        });
    }
}
