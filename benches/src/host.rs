//! [`Host`]: the machine, so that figures of different ones are not compared by mistake.

use std::fs;

use serde::{Deserialize, Serialize};

/// A machine's fingerprint, and what else bears on figures.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// CPU model, family, model number and stepping.
    pub cpu: String,
    /// CPUs that the bench may use.
    pub cpus: usize,
    /// Caches of the first CPU, as `L1d 32K`.
    pub caches: Vec<String>,
    /// True inside a virtual machine.
    pub virtual_machine: bool,
    /// Kernel release.
    pub kernel: String,
    /// Memory, MiB.
    pub memory_mib: u64,
    /// Transparent hugepages: `always`, `madvise` or `never`.
    pub thp: String,
    /// What the program was compiled for.
    pub target_features: Vec<String>,
    /// Compiled with optimisation.
    pub optimised: bool,
    /// Processes that wanted a CPU during the last minute, when the bench started.
    pub load: f64,
}

impl Host {
    /// This machine.
    pub fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        Self {
            cpu: cpu(&cpuinfo),
            cpus: core_affinity::get_core_ids().map_or(0, |cores| cores.len()),
            caches: caches(),
            virtual_machine: field(&cpuinfo, "flags")
                .is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            memory_mib: memory_mib(&read("/proc/meminfo")),
            thp: chosen(&read("/sys/kernel/mm/transparent_hugepage/enabled")),
            target_features: target_features(),
            optimised: !cfg!(debug_assertions),
            load: load(&read("/proc/loadavg")),
        }
    }

    /// What must be equal for figures to be comparable; the load comes and goes.
    pub fn is_like(&self, other: &Self) -> bool {
        let key = |host: &Self| Self { load: 0.0, ..host.clone() };
        key(self) == key(other)
    }

    /// One line.
    pub fn summary(&self) -> String {
        let Self { cpu, cpus, kernel, load, .. } = self;
        let kind = if self.virtual_machine { "virtual machine" } else { "bare metal" };
        format!(
            "{cpu}, {cpus} CPUs, {}, {kind}, Linux {kernel}, THP {}, load {load:.1}",
            self.caches.join(" "),
            self.thp
        )
    }
}

fn field<'a>(cpuinfo: &'a str, name: &str) -> Option<&'a str> {
    let pairs = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    pairs
        .map(|(key, value)| (key.trim(), value.trim()))
        .find(|(key, _)| *key == name)
        .map(|(_, v)| v)
}

fn cpu(cpuinfo: &str) -> String {
    let get = |name| field(cpuinfo, name).unwrap_or("?");
    let (name, family) = (get("model name"), get("cpu family"));
    format!("{name} (family {family} model {} stepping {})", get("model"), get("stepping"))
}

fn caches() -> Vec<String> {
    let read = |index: usize, what: &str| {
        let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{what}");
        fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
    };
    let cache = |index| {
        let kind = match read(index, "type")?.as_str() {
            "Data" => "d",
            "Instruction" => "i",
            _ => "",
        };
        Some(format!("L{}{kind} {}", read(index, "level")?, read(index, "size")?))
    };
    (0..8).map_while(cache).collect()
}

fn memory_mib(meminfo: &str) -> u64 {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

/// `always [madvise] never` is `madvise`.
fn chosen(text: &str) -> String {
    let inside = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    inside.map_or("never", |(word, _)| word).to_owned()
}

fn load(loadavg: &str) -> f64 {
    loadavg.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0.0)
}

pub(crate) fn target_features() -> Vec<String> {
    let all = [
        ("avx2", cfg!(target_feature = "avx2")),
        ("bmi2", cfg!(target_feature = "bmi2")),
        ("aes", cfg!(target_feature = "aes")),
        ("avx512f", cfg!(target_feature = "avx512f")),
        ("vaes", cfg!(target_feature = "vaes")),
    ];
    all.into_iter().filter(|(_, on)| *on).map(|(name, _)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_read() {
        let text = "processor\t: 0\ncpu family\t: 25\nmodel\t\t: 17\nmodel name\t: AMD EPYC\n\
                    stepping\t: 1\nflags\t\t: fpu hypervisor aes\n";
        assert_eq!(cpu(text), "AMD EPYC (family 25 model 17 stepping 1)");
        assert_eq!(field(text, "flags"), Some("fpu hypervisor aes"));
        assert_eq!(cpu(""), "? (family ? model ? stepping ?)");
        assert_eq!(chosen("always [madvise] never\n"), "madvise");
        assert_eq!(chosen(""), "never");
        assert_eq!(load("4.46 3.63 4.57 1/2 3"), 4.46);
        assert_eq!(memory_mib("MemTotal:       24683520 kB\nMemFree: 1 kB\n"), 24105);
    }

    #[test]
    fn load_is_not_part_of_the_fingerprint() {
        let here = Host::here();
        assert!(here.is_like(&Host { load: here.load + 1.0, ..here.clone() }));
        assert!(!here.is_like(&Host { cpus: here.cpus + 1, ..here.clone() }));
        assert!(here.summary().contains("Linux"));
    }
}
