//! FIB lookup, snapshot read, counters.

use std::hint::black_box;
use std::net::Ipv4Addr;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use dataplane::adjacency::AdjacencyId;
use dataplane::fib::{Fib4, FibEntry, FibRoute};
use dataplane::sync::counter::Counter;
use dataplane::sync::qsbr::Publisher;

const BURST: u64 = 32;

fn fib(c: &mut Criterion) {
    let routes: Vec<_> = (0..10_000_u32)
        .map(|n| FibRoute {
            network: Ipv4Addr::from(n.wrapping_mul(0x9e37_79b1)),
            prefix_len: 16 + (n % 17) as u8,
            entry: FibEntry::Adjacency(AdjacencyId(n)),
        })
        .collect();
    let fib = Fib4::build(&routes);
    let mut group = c.benchmark_group("fib");
    group.bench_function("build, 10000 routes", |b| b.iter(|| Fib4::build(black_box(&routes))));
    group.throughput(Throughput::Elements(BURST));
    let mut address = 0_u32;
    group.bench_function("lookup, 10000 routes", |b| {
        b.iter(|| {
            for _ in 0..BURST {
                address = address.wrapping_add(0x9e37_79b1);
                black_box(fib.lookup(Ipv4Addr::from(address)));
            }
        });
    });
    group.finish();
}

fn snapshot(c: &mut Criterion) {
    let mut publisher = Publisher::new(Box::new(7_u64), 1);
    let mut reader = publisher.reader().expect("one reader was asked for");
    c.bench_function("snapshot read and quiescent point", |b| {
        b.iter(|| {
            black_box(reader.current());
            reader.quiesce();
        });
    });
    let counter = Counter::new();
    c.bench_function("counter add", |b| b.iter(|| black_box(&counter).add(1)));
}

criterion_group!(benches, fib, snapshot);
criterion_main!(benches);
