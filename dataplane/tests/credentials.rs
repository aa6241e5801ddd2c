//! Dropping privileges on all threads. Each test runs in a process of its own, since there is no way
//! back: it starts this program again, for that test alone.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::mpsc::channel;

use dataplane::credentials::{Credentials, Identity};

const ALONE: &str = "SLUICE_TEST_ALONE";

/// Runs the calling test, called `name`, once more in a process of its own; true inside.
fn alone(name: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let again = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=2"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&again.stdout) + String::from_utf8_lossy(&again.stderr);
    assert!(again.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
    false
}

/// `/proc/self/task/*/status` by thread and field.
fn threads() -> Vec<BTreeMap<String, String>> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let parse = |text: String| {
        let fields = text.lines().filter_map(|line| line.split_once(':'));
        fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
    };
    // A thread may end before it is read.
    let texts =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("status")).ok());
    texts.map(parse).collect()
}

fn mask(thread: &BTreeMap<String, String>, field: &str) -> u64 {
    u64::from_str_radix(&thread[field], 16).unwrap()
}

/// Some threads that sleep, one that works, and one that keeps starting others, while `body` runs.
fn among_threads(body: impl FnOnce()) {
    std::thread::scope(|scope| {
        let mut held = Vec::new();
        for _ in 0..4 {
            let (end, ended) = channel::<()>();
            held.push(end);
            scope.spawn(move || ended.recv());
        }
        let (end, ended) = channel::<()>();
        held.push(end);
        scope.spawn(
            move || while ended.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected) {},
        );
        let (end, ended) = channel::<()>();
        held.push(end);
        scope.spawn(move || {
            while ended.try_recv() != Err(std::sync::mpsc::TryRecvError::Disconnected) {
                std::thread::spawn(|| std::thread::sleep(std::time::Duration::from_millis(1)));
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        });
        body();
        drop(held);
    });
}

#[test]
fn every_thread_keeps_what_is_named_and_nothing_else() {
    if !alone("every_thread_keeps_what_is_named_and_nothing_else") {
        return;
    }
    among_threads(|| {
        let keep = 1 << 13 | 1 << 14;
        let before = mask(&threads()[0], "CapPrm");
        let changed =
            Credentials { identity: None, capabilities: keep }.apply_to_all_threads().unwrap();
        assert!(changed >= 7, "{changed}");
        let threads = threads();
        assert!(threads.len() >= 7);
        for thread in &threads {
            assert_eq!(mask(thread, "CapPrm"), keep & before, "{thread:?}");
            assert_eq!(mask(thread, "CapEff"), keep & before, "{thread:?}");
            assert_eq!((mask(thread, "CapInh"), mask(thread, "CapAmb")), (0, 0));
            assert_eq!(thread["NoNewPrivs"], "1");
            if before >> 8 & 1 == 1 {
                assert_eq!(mask(thread, "CapBnd") & !keep, 0, "{thread:?}");
            }
        }
    });
}

#[test]
fn every_thread_becomes_the_user_and_keeps_capabilities() {
    // SAFETY: takes nothing.
    if unsafe { libc::geteuid() } != 0
        || !alone("every_thread_becomes_the_user_and_keeps_capabilities")
    {
        return;
    }
    among_threads(|| {
        let identity = Identity { uid: 65534, gid: 65533, groups: vec![65533, 4242] };
        let credentials = Credentials { identity: Some(identity), capabilities: 1 << 13 };
        credentials.apply_to_all_threads().unwrap();
        for thread in &threads() {
            let four = |id: &str| format!("{id}\t{id}\t{id}\t{id}");
            assert_eq!(thread["Uid"], four("65534"));
            assert_eq!(thread["Gid"], four("65533"));
            assert_eq!(thread["Groups"], "4242 65533");
            assert_eq!(mask(thread, "CapEff"), 1 << 13, "{thread:?}");
        }
        // Back to root leads no way.
        let back = Identity { uid: 0, gid: 0, groups: vec![] };
        let error = Credentials { identity: Some(back), capabilities: 0 }.apply_to_all_threads();
        let error = error.unwrap_err().to_string();
        assert!(error.starts_with("setting the groups of thread"), "{error}");
    });
}
