//! New-flow tables that are built elsewhere, while control goes on.

use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use balancer::{ServerState, VipId};
use control::compile::{BuiltTable, TableExecutor, TableOrder};
use proptest::prelude::*;

use crate::bench::Bench;

/// Builds when the test says so.
#[derive(Clone, Default)]
pub(crate) struct Held {
    orders: Rc<RefCell<VecDeque<TableOrder>>>,
    built: Rc<RefCell<VecDeque<BuiltTable>>>,
    count: Rc<RefCell<usize>>,
}

impl TableExecutor for Held {
    fn submit(&mut self, order: TableOrder) {
        *self.count.borrow_mut() += 1;
        self.orders.borrow_mut().push_back(order);
    }
    fn finished(&mut self) -> Option<BuiltTable> {
        self.built.borrow_mut().pop_front()
    }
    fn renew(&mut self) -> std::io::Result<()> {
        self.orders.borrow_mut().clear();
        self.built.borrow_mut().clear();
        Ok(())
    }
}

impl Held {
    /// Builds one table, if one was ordered.
    pub(crate) fn build(&self) -> bool {
        let order = self.orders.borrow_mut().pop_front();
        order.map(|order| self.built.borrow_mut().push_back(order.build())).is_some()
    }

    /// A box with links that builds here.
    pub(crate) fn bench(&self) -> Bench {
        let mut bench = Bench::routed();
        bench.control.build_tables_with(Box::new(self.clone()));
        bench
    }

    /// How many tables were ordered.
    pub(crate) fn ordered(&self) -> usize {
        *self.count.borrow()
    }

    pub(crate) fn finish(&self, bench: &mut Bench) {
        while self.build() {
            bench.turn();
        }
        bench.turn();
    }
}

/// The VIP numbered `n` as commands name it.
fn vip(n: u8) -> String {
    format!("10.10.2.{n}/32 protocol tcp port 80")
}

pub(crate) fn add(n: u8) -> String {
    // Longer than what is built on the spot.
    format!("lb vip {} encap nat4 target_port 8080 new_len 1031", vip(n))
}

pub(crate) fn server(n: u8, last: u8, words: &str) -> String {
    format!("lb as {} 192.168.1.{last} {words}", vip(n))
}

/// By VIP: digest of its table, and its ASs that take flows, with weights.
pub(crate) type Published = Vec<(String, u64, BTreeSet<(String, u8)>)>;

/// What workers have. A VIP's table must be that of its ASs.
pub(crate) fn published(bench: &Bench) -> Published {
    let lb = &bench.control.snapshot().lb;
    let described = lb.vips.iter().flatten().map(|vip| {
        let own = lb.servers.iter().flatten().filter(|server| server.vip == vip.id);
        let taking = own.filter(|s| s.state == ServerState::Active && s.weight > 0);
        let taking: BTreeSet<_> = taking.map(|s| (s.address.to_string(), s.weight)).collect();
        let members = vip.table.members().iter().map(|m| (m.address.to_string(), m.weight));
        assert_eq!(members.collect::<BTreeSet<_>>(), taking, "half a change was published");
        for (member, id) in vip.table.members().iter().zip(vip.members.iter()) {
            assert_eq!(lb.server(*id).unwrap().address, member.address);
        }
        (vip.key.to_string(), vip.table.digest(), taking)
    });
    described.collect()
}

#[test]
fn changes_to_one_vip_that_queue_up_take_one_build() {
    let held = Held::default();
    let mut bench = held.bench();
    bench.all(&[&add(1), &server(1, 1, "")]);
    assert_eq!(published(&bench)[0].2.len(), 0, "its table is not there yet");
    for last in 2..20 {
        bench.ok(&server(1, last, ""));
    }
    assert_eq!((*held.count.borrow(), bench.control.tables_waiting()), (1, 1));
    held.build();
    bench.turn();
    // The first state was built; the last follows.
    assert_eq!(published(&bench)[0].2.len(), 1);
    held.finish(&mut bench);
    assert_eq!(published(&bench)[0].2.len(), 19);
    assert_eq!((*held.count.borrow(), bench.control.tables_waiting()), (2, 0));
}

#[test]
fn what_needs_no_table_does_not_wait_for_one() {
    let held = Held::default();
    let mut bench = held.bench();
    bench.all(&[&add(1), &server(1, 1, "")]);
    let generation = bench.control.snapshot().generation;
    bench.ok("ip route add 99.0.0.0/8 via 10.10.10.1");
    let entry = bench.control.snapshot().fib4.lookup("99.1.1.1".parse().unwrap());
    assert!(matches!(entry, dataplane::fib::FibEntry::Adjacency(_)), "{entry:?}");
    // Without news, nothing is published.
    for _ in 0..5 {
        bench.turn();
    }
    assert_eq!(bench.control.snapshot().generation, generation + 1);
    // A VIP that goes needs no table, whatever was ordered for it.
    bench.ok(&format!("lb vip {} del", vip(1)));
    assert!(published(&bench).is_empty());
    held.finish(&mut bench);
    assert!(published(&bench).is_empty());
    assert_eq!(bench.control.tables_waiting(), 0);
}

#[test]
fn equal_sets_are_built_once_and_an_old_state_comes_back_at_once() {
    let held = Held::default();
    let mut bench = held.bench();
    for n in 1..9 {
        bench.all(&[&add(n), &server(n, 1, "")]);
    }
    held.finish(&mut bench);
    assert!(*held.count.borrow() <= 2, "{} builds", held.count.borrow());
    let before = published(&bench);
    assert!(before.iter().all(|(_, digest, own)| *digest == before[0].1 && own.len() == 1));
    // There and back while the way there is still being built.
    bench.ok(&server(1, 1, "weight 50"));
    bench.ok(&server(1, 1, "weight 100"));
    assert_eq!((published(&bench), bench.control.tables_waiting()), (before.clone(), 1));
    held.finish(&mut bench);
    assert_eq!(published(&bench), before);
}

#[test]
fn a_command_is_settled_when_its_own_tables_are_published() {
    let held = Held::default();
    let mut bench = held.bench();
    bench.all(&[&add(1), &add(2)]);
    let first = bench.control.next_wish();
    bench.ok(&server(1, 1, ""));
    let second = bench.control.next_wish();
    // A later state of the same VIP stands for the earlier one.
    bench.ok(&server(2, 1, ""));
    bench.ok(&server(2, 2, ""));
    let end = bench.control.next_wish();
    let settled = |bench: &Bench| {
        let control = &bench.control;
        (control.is_settled(first, second), control.is_settled(second, end))
    };
    assert_eq!(settled(&bench), (false, false));
    held.build();
    bench.turn();
    assert_eq!(settled(&bench), (true, false));
    held.finish(&mut bench);
    assert_eq!(settled(&bench), (true, true));
}

#[test]
fn a_thread_builds_the_same() {
    let (told, heard) = std::sync::mpsc::channel();
    let mut bench = Bench::routed();
    let wake = move || {
        let _ = told.send(());
    };
    let thread = control::compile::TableThread::start(wake).unwrap();
    bench.control.build_tables_with(Box::new(thread));
    let mut plain = Bench::routed();
    for line in [add(1), server(1, 1, ""), server(1, 2, "weight 7")] {
        bench.ok(&line);
        plain.ok(&line);
    }
    while bench.control.tables_waiting() > 0 {
        heard.recv().unwrap();
        bench.turn();
    }
    assert_eq!(published(&bench), published(&plain));
    assert_eq!(published(&bench)[0].2.len(), 2);
}

fn any_line() -> impl Strategy<Value = Option<String>> {
    let words = prop::sample::select(vec!["", "weight 0", "weight 50", "del", "del flush"]);
    prop_oneof![
        4 => Just(None),
        1 => (1..4_u8).prop_map(|n| Some(add(n))),
        1 => (1..4_u8).prop_map(|n| Some(format!("lb vip {} del", vip(n)))),
        6 => (1..4_u8, 1..6_u8, words).prop_map(|(n, last, words)| Some(server(n, last, words))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    /// However changes and builds are interleaved: a VIP is published whole or as it was, and all
    /// ends as if every table had been built on the spot.
    #[test]
    fn coalesced_changes_end_where_single_ones_do(lines in prop::collection::vec(any_line(), 1..40)) {
        let held = Held::default();
        let (mut bench, mut plain) = (held.bench(), Bench::routed());
        // The time does not go on from here, so that no tombstone goes.
        bench.turn();
        plain.turn();
        for line in lines {
            match line {
                None => {
                    held.build();
                    bench.turn();
                    plain.turn();
                }
                Some(line) => {
                    let run = |bench: &mut Bench| {
                        let command = config::parse(&line).unwrap();
                        let done = bench.control.execute(&command).is_ok();
                        bench.control.publish();
                        done
                    };
                    prop_assert_eq!(run(&mut bench), run(&mut plain));
                }
            }
            published(&bench);
        }
        held.finish(&mut bench);
        plain.turn();
        prop_assert_eq!(published(&bench), published(&plain));
        prop_assert_eq!(bench.control.tables_waiting(), 0);
        let paths = |bench: &Bench| bench.control.snapshot().server_paths.iter().flatten().count();
        prop_assert_eq!(paths(&bench), paths(&plain));
    }
}

#[test]
fn a_server_that_still_has_slots_is_not_forgotten() {
    let held = Held::default();
    let mut bench = held.bench();
    bench.all(&[&add(1), &server(1, 1, ""), &server(1, 2, "")]);
    held.finish(&mut bench);
    bench.ok(&server(1, 2, "del"));
    for _ in 0..3 {
        bench.pass(1_000);
    }
    assert_eq!(published(&bench)[0].2.len(), 2, "its removal waits for a table");
    let id = VipId::new(1).unwrap();
    let table = Arc::clone(&bench.control.snapshot().lb.vip(id).unwrap().table);
    held.finish(&mut bench);
    assert!(!Arc::ptr_eq(&table, &bench.control.snapshot().lb.vip(id).unwrap().table));
    assert_eq!(published(&bench)[0].2.len(), 1);
    for _ in 0..3 {
        bench.pass(1_000);
    }
    assert_eq!(bench.control.vips().vips[0].servers.len(), 1);
}
