//! The parts on a packet's way, each alone: timed by `cargo bench -p benches`, and some of them
//! counted by `sluice-instructions`.

mod checksum;
mod fib;
mod frame;
mod hash;
mod header;
mod kernel;
mod maglev;
mod selection;
mod snapshot;
mod sticky;
mod world;

pub use kernel::Kernel;

/// Those of the balancer.
pub fn of_balancer() -> Vec<Kernel> {
    let kernels = [hash::all(), maglev::all(), sticky::all(), selection::all()];
    kernels.into_iter().flatten().collect()
}

/// Those of the data plane.
pub fn of_dataplane() -> Vec<Kernel> {
    let kernels = [header::all(), checksum::all(), frame::all(), fib::all(), snapshot::all()];
    kernels.into_iter().flatten().collect()
}

/// Those whose instructions are counted.
pub fn counted() -> Vec<Kernel> {
    let all = of_balancer().into_iter().chain(of_dataplane());
    all.filter(Kernel::is_counted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_has_work_and_a_name_of_its_own() {
        let all: Vec<_> = of_balancer().into_iter().chain(of_dataplane()).collect();
        let names: std::collections::HashSet<_> = all.iter().map(Kernel::full_name).collect();
        assert_eq!(names.len(), all.len());
        assert!(counted().len() > 10);
        for kernel in &all {
            assert!(kernel.operations() > 0, "{kernel:?}");
        }
    }
}
