//! Hash, new-flow table, sticky table, decision.

use benches::kernels;
use criterion::{criterion_group, criterion_main};

#[path = "shared/time.rs"]
mod time;

criterion_group! { name = all; config = time::config(); targets = balancer }
criterion_main!(all);

fn balancer(criterion: &mut criterion::Criterion) {
    time::all(criterion, &kernels::of_balancer());
}
