//! What the kernel says about hugepages per NUMA node, and whether to use them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::dpdk::eal_args::Memory;

/// Where the kernel describes NUMA nodes.
const SYSFS_NODES: &str = "/sys/devices/system/node";
/// Where the kernel describes CPUs.
const SYSFS_CPUS: &str = "/sys/devices/system/cpu";

/// The startup file's `[dpdk] hugepages`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HugepagePolicy {
    /// Use them when enough are free on every node that needs some.
    Auto,
    /// Refuse to start without.
    Required,
    /// Never.
    Off,
}

/// A hugetlbfs mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where.
    pub path: String,
    /// Size of its pages in KiB; `None` when the mount uses the kernel's default size.
    pub page_kib: Option<u64>,
}

/// Free hugepage memory of one NUMA node, in MiB per page size in KiB.
pub type FreeBySize = BTreeMap<u64, u64>;

/// Free hugepage memory by NUMA node, as found under `sysfs`.
pub fn free_by_node(sysfs: &Path) -> BTreeMap<u32, FreeBySize> {
    let mut free = BTreeMap::new();
    let Ok(nodes) = fs::read_dir(sysfs) else { return free };
    for node in nodes.flatten() {
        let name = node.file_name();
        let number = name.to_string_lossy().strip_prefix("node").and_then(|n| n.parse().ok());
        let Some(number) = number else { continue };
        let Ok(sizes) = fs::read_dir(node.path().join("hugepages")) else { continue };
        let by_size: &mut FreeBySize = free.entry(number).or_default();
        for size in sizes.flatten() {
            let name = size.file_name();
            let kib = name.to_string_lossy();
            let kib = kib.strip_prefix("hugepages-").and_then(|k| k.strip_suffix("kB"));
            let Some(kib) = kib.and_then(|k| k.parse::<u64>().ok()) else { continue };
            let pages = fs::read_to_string(size.path().join("free_hugepages")).unwrap_or_default();
            by_size.insert(kib, pages.trim().parse::<u64>().unwrap_or(0) * kib / 1024);
        }
    }
    free
}

/// Mounts of hugetlbfs, from the text of `/proc/mounts`.
pub fn mounts(proc_mounts: &str) -> Vec<Mount> {
    let fields = proc_mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let mounts = fields.filter(|f| f.get(2) == Some(&"hugetlbfs")).map(|f| Mount {
        path: f[1].to_owned(),
        page_kib: f.get(3).and_then(|options| {
            options.split(',').find_map(|o| o.strip_prefix("pagesize=")).and_then(page_kib)
        }),
    });
    mounts.collect()
}

/// `2M` is 2048, `1G` or `1024M` is 1048576, `64K` is 64.
fn page_kib(size: &str) -> Option<u64> {
    let digits = size.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &size[digits.len()..] {
        "K" | "k" => 1,
        "M" | "m" => 1024,
        "G" | "g" => 1024 * 1024,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// The mounts of this machine.
pub fn mounts_here() -> Vec<Mount> {
    mounts(&fs::read_to_string("/proc/mounts").unwrap_or_default())
}

/// NUMA node of a CPU; 0 where the kernel names none.
pub fn node_of_cpu(cpu: usize) -> u32 {
    let Ok(entries) = fs::read_dir(Path::new(SYSFS_CPUS).join(format!("cpu{cpu}"))) else {
        return 0;
    };
    let node = entries.flatten().find_map(|entry| {
        entry.file_name().to_string_lossy().strip_prefix("node").and_then(|n| n.parse().ok())
    });
    node.unwrap_or(0)
}

/// Picks the memory when each of `nodes` needs `need_mib`, and says why in a line for the log.
/// Only page sizes that have a mount count, as EAL uses no others.
pub fn choose(
    policy: HugepagePolicy,
    need_mib: u32,
    nodes: &[u32],
    free: &BTreeMap<u32, FreeBySize>,
    mounts: &[Mount],
    default_page_kib: u64,
) -> Result<(Memory, String), String> {
    let total = need_mib.saturating_mul(u32::try_from(nodes.len().max(1)).unwrap_or(u32::MAX));
    let no_huge = Memory::NoHuge { mib: total };
    if policy == HugepagePolicy::Off {
        return Ok((no_huge, "running without hugepages: the configuration says so".into()));
    }
    let usable = |kib: &u64| mounts.iter().any(|m| m.page_kib.unwrap_or(default_page_kib) == *kib);
    let free_on = |node: &u32| -> u64 {
        let sizes = free.get(node).into_iter().flatten();
        sizes.filter(|(kib, _)| usable(kib)).map(|(_, mib)| mib).sum()
    };
    let short = nodes.iter().find(|node| free_on(node) < u64::from(need_mib));
    let state = match short {
        _ if mounts.is_empty() => "no hugetlbfs is mounted".to_owned(),
        Some(node) => format!(
            "node {node} has {} MiB of hugepages free and needs {need_mib} MiB",
            free_on(node)
        ),
        None => {
            let nodes: Vec<String> =
                nodes.iter().map(|node| format!("{} MiB on node {node}", free_on(node))).collect();
            let why = format!(
                "using hugepages: {need_mib} MiB needed per node, free are {}",
                nodes.join(", ")
            );
            return Ok((Memory::Hugepages, why));
        }
    };
    if policy == HugepagePolicy::Required {
        return Err(format!(
            "hugepages are required, but {state}: run hugepages-setup.sh, or set \
             hugepages = \"auto\" under [dpdk]"
        ));
    }
    Ok((no_huge, format!("running without hugepages: {state}")))
}

/// [`choose`] on this machine's present state.
pub fn choose_here(
    policy: HugepagePolicy,
    need_mib: u32,
    nodes: &[u32],
) -> Result<(Memory, String), String> {
    let free = free_by_node(Path::new(SYSFS_NODES));
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let default_page_kib = default_page_kib(&meminfo);
    choose(policy, need_mib, nodes, &free, &mounts_here(), default_page_kib)
}

/// `Hugepagesize` in the text of `/proc/meminfo`.
fn default_page_kib(meminfo: &str) -> u64 {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("Hugepagesize:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(2048)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: HugepagePolicy = HugepagePolicy::Auto;

    fn free(nodes: &[(u32, u64)]) -> BTreeMap<u32, FreeBySize> {
        nodes.iter().map(|(node, mib)| (*node, FreeBySize::from([(2048, *mib)]))).collect()
    }

    fn mount() -> [Mount; 1] {
        [Mount { path: "/dev/hugepages".into(), page_kib: Some(2048) }]
    }

    #[test]
    fn reads_nodes_and_sizes() {
        let dir = std::env::temp_dir().join(format!("sluice-{}-hugepages", std::process::id()));
        for (path, pages) in [
            ("node0/hugepages/hugepages-2048kB", "100\n"),
            ("node1/hugepages/hugepages-2048kB", "4\n"),
            ("node1/hugepages/hugepages-1048576kB", "1\n"),
        ] {
            fs::create_dir_all(dir.join(path)).unwrap();
            fs::write(dir.join(path).join("free_hugepages"), pages).unwrap();
        }
        let free = free_by_node(&dir);
        assert_eq!(free[&0], FreeBySize::from([(2048, 200)]));
        assert_eq!(free[&1], FreeBySize::from([(2048, 8), (1_048_576, 1024)]));
        fs::remove_dir_all(&dir).unwrap();
        assert!(free_by_node(&dir).is_empty());
    }

    #[test]
    fn finds_hugetlbfs_mounts() {
        let text = "none / ext4 rw 0 0\nh /dev/hugepages hugetlbfs rw,relatime,pagesize=2M 0 0\n\
                    h /mnt/1g hugetlbfs rw,pagesize=1024M 0 0\nh /mnt/d hugetlbfs rw 0 0\n";
        let sizes: Vec<_> = mounts(text).into_iter().map(|m| (m.path, m.page_kib)).collect();
        assert_eq!(
            sizes,
            [
                ("/dev/hugepages".to_owned(), Some(2048)),
                ("/mnt/1g".to_owned(), Some(1_048_576)),
                ("/mnt/d".to_owned(), None)
            ]
        );
    }

    #[test]
    fn auto_falls_back_and_says_so() {
        let (memory, why) = choose(POLICY, 100, &[0], &free(&[(0, 50)]), &mount(), 2048).unwrap();
        assert_eq!(memory, Memory::NoHuge { mib: 100 });
        assert_eq!(
            why,
            "running without hugepages: node 0 has 50 MiB of hugepages free and needs 100 MiB"
        );
        let (memory, why) = choose(POLICY, 100, &[0], &free(&[(0, 100)]), &mount(), 2048).unwrap();
        assert_eq!(memory, Memory::Hugepages);
        assert_eq!(why, "using hugepages: 100 MiB needed per node, free are 100 MiB on node 0");
    }

    #[test]
    fn every_node_must_have_its_share() {
        let free = free(&[(0, 1000), (1, 10)]);
        let (memory, why) = choose(POLICY, 100, &[0, 1], &free, &mount(), 2048).unwrap();
        assert_eq!(memory, Memory::NoHuge { mib: 200 });
        assert!(why.contains("node 1 has 10 MiB"), "{why}");
    }

    #[test]
    fn page_sizes_without_a_mount_do_not_count() {
        let only_1g = [Mount { path: "/mnt".into(), page_kib: Some(1_048_576) }];
        let (memory, _) = choose(POLICY, 100, &[0], &free(&[(0, 500)]), &only_1g, 2048).unwrap();
        assert_eq!(memory, Memory::NoHuge { mib: 100 });
        let default_size = [Mount { path: "/mnt".into(), page_kib: None }];
        let free = free(&[(0, 500)]);
        let (memory, _) = choose(POLICY, 100, &[0], &free, &default_size, 2048).unwrap();
        assert_eq!(memory, Memory::Hugepages);
        let (memory, _) = choose(POLICY, 100, &[0], &free, &default_size, 1_048_576).unwrap();
        assert_eq!(memory, Memory::NoHuge { mib: 100 });
    }

    #[test]
    fn required_refuses_without_and_off_is_off() {
        let required = HugepagePolicy::Required;
        let error = choose(required, 100, &[0], &free(&[(0, 500)]), &[], 2048).unwrap_err();
        assert!(error.contains("no hugetlbfs") && error.contains("hugepages-setup.sh"), "{error}");
        let off = HugepagePolicy::Off;
        let (memory, _) = choose(off, 64, &[0], &free(&[(0, 500)]), &mount(), 2048).unwrap();
        assert_eq!(memory, Memory::NoHuge { mib: 64 });
    }

    #[test]
    fn reads_the_default_page_size() {
        assert_eq!(default_page_kib("HugePages_Free: 0\nHugepagesize:    1048576 kB\n"), 1_048_576);
    }
}
