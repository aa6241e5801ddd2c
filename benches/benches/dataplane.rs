//! Headers, checksums, frames, FIB, snapshot, counters.

use benches::kernels;
use criterion::{criterion_group, criterion_main};

#[path = "shared/time.rs"]
mod time;

criterion_group! { name = all; config = time::config(); targets = dataplane }
criterion_main!(all);

fn dataplane(criterion: &mut criterion::Criterion) {
    time::all(criterion, &kernels::of_dataplane());
}
