//! The EAL's command line, from what the startup file says. Pure.

use crate::dpdk::runtime_files;

/// Where EAL takes its memory from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Hugepages, as many as the pools need.
    Hugepages,
    /// Ordinary pages: so many MiB, reserved at start.
    NoHuge {
        /// MiB.
        mib: u32,
    },
}

/// What `rte_eal_init` is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EalArgs {
    /// CPUs of the main lcore (control and every thread it starts): EAL pins its caller, and later
    /// threads inherit that, so this is the set of housekeeping CPUs.
    pub main_cpus: Vec<usize>,
    /// CPU of each worker; worker *i* is lcore *i* + 1.
    pub worker_cpus: Vec<usize>,
    /// Tells the files of several EAL processes apart.
    pub file_prefix: String,
    /// Memory.
    pub memory: Memory,
    /// `--vdev` values.
    pub vdevs: Vec<String>,
    /// PCI addresses to probe; with none, PCI is not probed at all.
    pub pci: Vec<String>,
    /// Appended as they are.
    pub extra: Vec<String>,
}

/// Most workers: EAL has 128 lcores and the first is control's.
pub const WORKERS_MAX: usize = 127;

impl EalArgs {
    /// Says what EAL could not use, or what would harm other processes' files.
    pub fn check(&self) -> Result<(), String> {
        runtime_files::check_prefix(&self.file_prefix)?;
        if self.main_cpus.is_empty() {
            return Err("there is no CPU for control".into());
        }
        if self.worker_cpus.len() > WORKERS_MAX {
            return Err(format!(
                "{} workers are wanted, at most {WORKERS_MAX} can be",
                self.worker_cpus.len()
            ));
        }
        Ok(())
    }

    /// Whether nobody but this process needs to see packets: neither a device that reads memory by
    /// itself nor the process behind a virtual one, for which the memory must be EAL's.
    pub fn keeps_packets(&self) -> bool {
        self.memory != Memory::Hugepages
            && self.pci.is_empty()
            && !self.extra.iter().any(|arg| arg == "--single-file-segments")
    }

    /// The `--lcores` value: `0@(0,1),1@1`.
    pub fn lcores(&self) -> String {
        let cpus: Vec<String> = self.main_cpus.iter().map(ToString::to_string).collect();
        let mut lcores = format!("0@({})", cpus.join(","));
        for (worker, cpu) in self.worker_cpus.iter().enumerate() {
            lcores.push_str(&format!(",{}@{cpu}", worker + 1));
        }
        lcores
    }

    /// The argument vector, program name first.
    pub fn to_vec(&self) -> Vec<String> {
        let mut args: Vec<String> = vec![
            "sluiced".into(),
            format!("--lcores={}", self.lcores()),
            format!("--file-prefix={}", self.file_prefix),
            // As root EAL would pick physical addresses, which no device here needs.
            "--iova-mode=va".into(),
            "--log-level=lib.*:warning".into(),
            "--log-level=pmd.*:warning".into(),
        ];
        match self.memory {
            Memory::Hugepages => {}
            Memory::NoHuge { mib } => args.extend(["--no-huge".into(), format!("-m{mib}")]),
        }
        if self.pci.is_empty() {
            args.push("--no-pci".into());
        }
        args.extend(self.pci.iter().map(|address| format!("--allow={address}")));
        args.extend(self.vdevs.iter().map(|vdev| format!("--vdev={vdev}")));
        args.extend(self.extra.iter().cloned());
        args
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> EalArgs {
        EalArgs {
            main_cpus: vec![0],
            worker_cpus: vec![0, 1],
            file_prefix: "sluice-1".into(),
            memory: Memory::NoHuge { mib: 256 },
            vdevs: vec!["net_null0".into()],
            pci: vec![],
            extra: vec!["--no-telemetry".into()],
        }
    }

    #[test]
    fn a_prefix_that_leaves_its_folder_is_refused() {
        for prefix in ["", ".", "..", "../x", "a/b", "a b", "-x"] {
            let args = EalArgs { file_prefix: prefix.into(), ..args() };
            assert!(args.check().is_err(), "{prefix:?}");
        }
        assert_eq!(args().check(), Ok(()));
        assert!(EalArgs { main_cpus: vec![], ..args() }.check().is_err());
        assert!(EalArgs { worker_cpus: vec![0; 128], ..args() }.check().is_err());
    }

    #[test]
    fn housekeeping_cpus_are_a_set() {
        let args = EalArgs { main_cpus: vec![0, 2, 5], worker_cpus: vec![1], ..args() };
        assert_eq!(args.lcores(), "0@(0,2,5),1@1");
    }

    #[test]
    fn two_workers_fit_two_cpus() {
        assert_eq!(args().lcores(), "0@(0),1@0,2@1");
    }

    #[test]
    fn pci_is_off_unless_a_device_is_named() {
        let mut args = args();
        assert!(args.to_vec().contains(&"--no-pci".to_owned()));
        args.pci.push("0000:02:00.0".into());
        let vec = args.to_vec();
        assert!(!vec.contains(&"--no-pci".to_owned()));
        assert!(vec.contains(&"--allow=0000:02:00.0".to_owned()));
    }

    #[test]
    fn packets_are_kept_unless_somebody_else_needs_to_see_them() {
        assert!(args().keeps_packets());
        let shared = EalArgs { extra: vec!["--single-file-segments".into()], ..args() };
        let physical = EalArgs { pci: vec!["0000:02:00.0".into()], ..args() };
        let huge = EalArgs { memory: Memory::Hugepages, ..args() };
        assert!([shared, physical, huge].iter().all(|args| !args.keeps_packets()));
    }

    #[test]
    fn memory_and_extra_arguments_are_passed_on() {
        let vec = args().to_vec();
        assert!(vec.contains(&"--no-huge".to_owned()) && vec.contains(&"-m256".to_owned()));
        assert_eq!(vec.last().unwrap(), "--no-telemetry");
        let huge = EalArgs { memory: Memory::Hugepages, ..args() }.to_vec();
        assert!(!huge.contains(&"--no-huge".to_owned()));
    }
}
