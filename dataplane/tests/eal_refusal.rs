//! A start that EAL refuses: the error says why in EAL's own words, and no file is left. One test,
//! as EAL starts once per process.

use dataplane::dpdk::eal::Eal;
use dataplane::dpdk::eal_args::{EalArgs, Memory};
use dataplane::dpdk::runtime_files;

#[test]
fn a_refused_start_says_why_and_leaves_no_file() {
    let prefix = format!("sluice-{}-refusal", std::process::id());
    let args = EalArgs {
        main_cpus: vec![0],
        worker_cpus: vec![0],
        file_prefix: prefix.clone(),
        memory: Memory::NoHuge { mib: 64 },
        vdevs: vec![],
        pci: vec![],
        // There is no primary process to join: EAL finds out after it has made its folder.
        extra: vec!["--no-telemetry".into(), "--proc-type=secondary".into()],
    };
    let harmful = EalArgs { file_prefix: "../x".into(), ..args.clone() };
    let error = Eal::start(&harmful).unwrap_err();
    assert!(error.to_string().contains("the file prefix \"../x\" must"), "{error}");

    let missing_cpu = EalArgs { worker_cpus: vec![100_000], ..args.clone() };
    let error = Eal::start(&missing_cpu).unwrap_err();
    assert_eq!(error.to_string(), "starting the EAL: there is no CPU 100000");

    let error = Eal::start(&args).unwrap_err().to_string();
    assert!(error.starts_with("starting the EAL: refused without"), "{error}");
    assert!(error.contains("DPDK said: EAL:"), "{error}");
    assert!(error.contains("--lcores=0@(0),1@0"), "{error}");
    assert!(error.ends_with("--proc-type=secondary"), "{error}");
    assert!(!runtime_files::runtime_dir(&prefix).exists());
}
