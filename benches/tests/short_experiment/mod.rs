//! [`short_experiment`]: what both tests of whole experiments begin with.

use benches::churn::Kinds;
use benches::experiment::Experiment;
use benches::mode::Mode;
use benches::service::Service;
use benches::traffic::TrafficSpec;

/// Modes on so many packets that it can be seen whether they go where they should.
pub(crate) fn short_experiment(spec: TrafficSpec, modes: Vec<Mode>) -> Experiment {
    Experiment {
        spec,
        modes,
        service: Service::of(16),
        buckets: None,
        burst: 256,
        repeats: 1,
        // Clocks of the TSC: some milliseconds.
        slice: 5_000_000,
        hz: 1_000_000_000,
        churn: Vec::new(),
        changes: Kinds::default(),
        workers: Vec::new(),
        loads: Vec::new(),
        recording: None,
        commands: Vec::new(),
    }
}
