//! A worker that panics takes the whole process down at once, and what the dead process leaves does
//! not stop the next start under the same prefix. One test, which runs itself again as the process
//! that dies.

use std::os::unix::process::ExitStatusExt;
use std::process::Command;

use dataplane::dpdk::eal::Eal;
use dataplane::dpdk::eal_args::{EalArgs, Memory};
use dataplane::dpdk::{lcore, runtime_files};

/// Set in the process that is to die: its EAL file prefix.
const VICTIM: &str = "SLUICE_TEST_VICTIM_PREFIX";
const SIGABRT: i32 = 6;

fn start(prefix: &str) -> Eal {
    Eal::start(&EalArgs {
        main_cpus: vec![0],
        worker_cpus: vec![0],
        file_prefix: prefix.into(),
        memory: Memory::NoHuge { mib: 64 },
        vdevs: vec![],
        pci: vec![],
        extra: vec!["--no-telemetry".into()],
    })
    .unwrap()
}

#[test]
fn a_panicking_worker_aborts_and_the_next_start_succeeds() {
    if let Ok(prefix) = std::env::var(VICTIM) {
        let eal = start(&prefix);
        lcore::launch(&eal, eal.worker_lcores()[0], || panic!("on purpose")).unwrap();
        lcore::wait(&eal, eal.worker_lcores()[0]);
        // Not reached: were it, this process would end well and the test would notice.
        return;
    }
    let prefix = format!("sluice-{}-abort", std::process::id());
    let name = "a_panicking_worker_aborts_and_the_next_start_succeeds";
    let victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(VICTIM, &prefix)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&victim.stderr);
    assert_eq!(victim.status.signal(), Some(SIGABRT), "{:?}: {said}", victim.status);
    assert!(said.contains("on purpose"), "{said}");

    let dir = runtime_files::runtime_dir(&prefix);
    assert!(dir.exists(), "the dead process left nothing to clean");
    drop(start(&prefix));
    assert!(!dir.exists());
}
