//! Micro-benchmarks: `cargo bench -p benches`. Compare ratios within one run; absolute times depend
//! on the machine and on its neighbours.
