//! [`Counter`]: runs the program under Callgrind and reads what was counted.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::baseline::Counts;

/// The word by which the program knows that it is the one to be counted.
const WORK: &str = "work";

/// A run of the program under Callgrind.
#[derive(Debug)]
pub struct Counter {
    child: Child,
    folder: PathBuf,
    keep: bool,
}

/// The compiler, the profile and the instructions that the program may use.
///
/// # Errors
///
/// When the program was not built in a way whose counts mean anything.
pub fn build() -> Result<String, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let profile = program.parent().and_then(Path::file_name).unwrap_or_default();
    if profile != "e2e" || cfg!(debug_assertions) {
        return Err("the baseline is for the profile e2e: build with `cargo build --profile e2e \
                    --package benches`"
            .to_owned());
    }
    let features = crate::host::target_features().join(" ");
    Ok(format!("{}, profile e2e, {features}", env!("COMPILER")))
}

impl Counter {
    /// Starts to count workloads, all or one of this name, and keeps the output in `folder`;
    /// `lines`: to be looked at line by line.
    ///
    /// # Errors
    ///
    /// When there is no Valgrind.
    pub fn start(folder: &Path, only: Option<&str>, lines: bool) -> Result<Self, String> {
        std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let yes_no = |yes| if yes { "yes" } else { "no" };
        let mut command = Command::new("valgrind");
        // The place of the stack, and with it a few instructions of copies, depends on the
        // environment's size.
        command.env_clear();
        for name in ["PATH", "LD_LIBRARY_PATH"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command
            .args(["--tool=callgrind", "--collect-atstart=no", "--instr-atstart=no"])
            .arg(format!("--callgrind-out-file={}/counts", folder.display()))
            .arg(format!("--log-file={}/log", folder.display()))
            .arg(format!("--dump-instr={}", yes_no(lines)))
            .arg(program)
            .arg(WORK)
            .args(only)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let child = command.spawn().map_err(|error| {
            format!("valgrind: {error} (`./test.sh packages` installs what is needed)")
        })?;
        Ok(Self { child, folder: folder.to_owned(), keep: lines })
    }

    /// Waits for the end; returns instructions per packet or operation.
    ///
    /// # Errors
    ///
    /// When a workload failed, or the output is not what it should be.
    pub fn finish(self) -> Result<Counts, String> {
        let output = self.child.wait_with_output().map_err(|error| error.to_string())?;
        let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        if !output.status.success() {
            return Err(format!("counting failed ({})\n{log}", output.status));
        }
        let operations = operations(&String::from_utf8_lossy(&output.stdout))?;
        let mut counts = Counts::new();
        for (name, total) in dumps(&self.folder)? {
            let Some(operations) = operations.get(&name) else { continue };
            // Hundredths, so that the baseline is easy to read.
            counts.insert(name, (total as f64 / operations * 100.0).round() / 100.0);
        }
        if counts.len() != operations.len() {
            let (dumped, worked) = (counts.len(), operations.len());
            return Err(format!("{dumped} of {worked} workloads were counted\n{log}"));
        }
        if !self.keep {
            // What is left in a temporary folder is no reason to fail.
            let _ = std::fs::remove_dir_all(&self.folder);
        }
        Ok(counts)
    }
}

/// By workload: packets or operations, as the counted program writes them.
fn operations(text: &str) -> Result<BTreeMap<String, f64>, String> {
    let line = |line: &str| {
        let (count, name) = line.split_once(' ')?;
        Some((name.to_owned(), count.parse::<u32>().ok().filter(|count| *count > 0)?.into()))
    };
    let lines = text.lines().map(|text| line(text).ok_or_else(|| format!("not a count: {text}")));
    lines.collect()
}

/// The names and totals of all dumps in a folder.
fn dumps(folder: &Path) -> Result<Vec<(String, u64)>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let text = std::fs::read_to_string(&path).map_err(failed)?;
        all.extend(dump(&text));
    }
    Ok(all)
}

/// The name and total of a dump that the program asked for (the Valgrind manual, "Callgrind Format
/// Specification").
fn dump(text: &str) -> Option<(String, u64)> {
    let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key));
    let name = value("desc: Trigger: Client Request: ")?;
    Some((name.to_owned(), value("totals: ")?.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dumps_are_read() {
        let text = "# callgrind format\nversion: 1\npart: 2\n\n\
                    desc: Trigger: Client Request: nat4, udp, 1 flow\n\nevents: Ir\n\n\
                    fn=(1) a\n1 5\n\ntotals: 2534891\n";
        assert_eq!(dump(text), Some(("nat4, udp, 1 flow".to_owned(), 2_534_891)));
        assert_eq!(dump("desc: Trigger: Program termination\ntotals: 7\n"), None);
    }

    #[test]
    fn operations_are_read() {
        let read = operations("8192 nat4, udp, 1 flow\n1 fib: build\n").unwrap();
        assert_eq!((read["nat4, udp, 1 flow"], read["fib: build"]), (8192.0, 1.0));
        assert!(operations("0 nothing\n").is_err() && operations("panic\n").is_err());
    }
}
