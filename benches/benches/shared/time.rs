//! Times kernels.

use std::time::Duration;

use benches::kernels::Kernel;
use criterion::{Criterion, Throughput};

/// Short enough that all of them end in a few minutes; `--measurement-time` asks for more.
pub(crate) fn config() -> Criterion {
    let (warm_up, measurement) = (Duration::from_millis(300), Duration::from_secs(1));
    Criterion::default().warm_up_time(warm_up).measurement_time(measurement).sample_size(30)
}

/// Times all of them, each prepared only when it is its turn and was asked for.
pub(crate) fn all(criterion: &mut Criterion, kernels: &[Kernel]) {
    for kernel in kernels {
        let mut group = criterion.benchmark_group(kernel.group());
        group.throughput(Throughput::Elements(kernel.operations()));
        group.bench_function(kernel.name(), |bencher| {
            let mut run = kernel.prepare();
            bencher.iter(&mut run);
        });
        group.finish();
    }
}
