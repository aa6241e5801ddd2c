//! What the kernel knows of our threads.

/// The kernel's number of an lcore's thread, found by the name EAL gave it.
pub fn lwp_of_lcore(lcore: u32) -> Option<u32> {
    let names = [format!("rte-worker-{lcore}"), format!("lcore-worker-{lcore}")];
    let tasks = std::fs::read_dir("/proc/self/task").ok()?;
    tasks.flatten().find_map(|task| {
        let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
        let found = names.iter().any(|wanted| wanted == name.trim());
        found.then(|| task.file_name().to_str()?.parse().ok())?
    })
}
