//! What the kernel says about hugepages, per NUMA node.

use std::fs;
use std::path::Path;

/// Free memory in hugepages, in MiB, over all nodes and page sizes, as found under `sysfs`
/// (`/sys/devices/system/node`). 0 when there are none or nothing can be read.
pub fn free_mib(sysfs: &Path) -> u64 {
    let Ok(nodes) = fs::read_dir(sysfs) else { return 0 };
    let mut mib = 0;
    for node in nodes.flatten() {
        let Ok(sizes) = fs::read_dir(node.path().join("hugepages")) else { continue };
        for size in sizes.flatten() {
            let name = size.file_name();
            let kib = name.to_string_lossy();
            let kib = kib.strip_prefix("hugepages-").and_then(|k| k.strip_suffix("kB"));
            let Some(kib) = kib.and_then(|k| k.parse::<u64>().ok()) else { continue };
            let pages = fs::read_to_string(size.path().join("free_hugepages")).unwrap_or_default();
            mib += pages.trim().parse::<u64>().unwrap_or(0) * kib / 1024;
        }
    }
    mib
}

/// Mount points of hugetlbfs, from the text of `/proc/mounts`.
pub fn mounts(proc_mounts: &str) -> Vec<String> {
    let fields = proc_mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    fields.filter(|f| f.get(2) == Some(&"hugetlbfs")).map(|f| f[1].to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_nodes_and_sizes() {
        let dir = std::env::temp_dir().join(format!("sluice-{}-hugepages", std::process::id()));
        for (path, pages) in [
            ("node0/hugepages/hugepages-2048kB", "100\n"),
            ("node1/hugepages/hugepages-2048kB", "4\n"),
            ("node1/hugepages/hugepages-1048576kB", "1\n"),
        ] {
            fs::create_dir_all(dir.join(path)).unwrap();
            fs::write(dir.join(path).join("free_hugepages"), pages).unwrap();
        }
        assert_eq!(free_mib(&dir), 208 + 1024);
        fs::remove_dir_all(&dir).unwrap();
        assert_eq!(free_mib(&dir), 0);
    }

    #[test]
    fn finds_hugetlbfs_mounts() {
        let text = "none / ext4 rw 0 0\nhuge /dev/hugepages hugetlbfs rw 0 0\n";
        assert_eq!(mounts(text), ["/dev/hugepages"]);
    }
}
