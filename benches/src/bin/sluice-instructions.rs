//! `sluice-instructions`: counts the instructions that packets take, and compares them with those
//! that the sources promise. For developers of Sluice; `./test.sh instructions` runs it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use benches::instructions::{Baseline, Counter, all_workloads, build};
use clap::{Parser, Subcommand};

/// Percent by which counts may grow.
const LIMIT: f64 = 3.0;

/// Counts the instructions of fixed work with Valgrind's Callgrind.
#[derive(Debug, Parser)]
#[command(name = "sluice-instructions", version)]
struct Arguments {
    #[command(subcommand)]
    action: Action,
    /// The baseline
    #[arg(long, global = true, default_value = "benches/instructions.json")]
    baseline: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Count, twice; exit with 1 when a count has grown by more than 3 % or is not steady
    Check,
    /// Count and make this the baseline
    Update,
    /// Count one workload so that each line's share can be looked at
    Profile {
        /// Its name, as `check` prints it
        workload: String,
        /// Where the output goes
        #[arg(long, default_value = "callgrind")]
        folder: PathBuf,
    },
    /// Do the work that is counted (Callgrind runs this)
    #[command(hide = true)]
    Work {
        /// One workload only
        workload: Option<String>,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.action {
        Action::Check => check(&arguments.baseline),
        Action::Update => update(&arguments.baseline).map(|()| true),
        Action::Profile { workload, folder } => profile(&workload, &folder).map(|()| true),
        Action::Work { workload } => work(workload.as_deref()).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(reason) => {
            eprintln!("sluice-instructions: {reason}");
            ExitCode::from(2)
        }
    }
}

fn temporary(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("sluice-instructions-{}-{name}", std::process::id()))
}

fn check(path: &Path) -> Result<bool, String> {
    let (build, baseline) = (build()?, Baseline::read(path)?);
    // Side by side: the two do not disturb each other's counts.
    let both = ["first", "second"].map(|name| Counter::start(&temporary(name), None, false));
    let [now, again] = both.map(|counter| counter.and_then(Counter::finish));
    let comparison = baseline.compare(&build, [&now?, &again?], LIMIT);
    print!("{}", comparison.text(LIMIT));
    let (passed, failed) = comparison.passed_and_failed();
    println!("\ninstructions: {passed} passed; {failed} failed");
    Ok(failed == 0)
}

fn update(path: &Path) -> Result<(), String> {
    let build = build()?;
    let instructions = Counter::start(&temporary("update"), None, false)?.finish()?;
    let count = instructions.len();
    Baseline { build, instructions }.write(path)?;
    println!("{}: {count} counts", path.display());
    Ok(())
}

fn profile(workload: &str, folder: &Path) -> Result<(), String> {
    let counts = Counter::start(folder, Some(workload), true)?.finish()?;
    for (name, count) in counts {
        println!("{name}: {count}");
    }
    println!("callgrind_annotate --auto=yes {}/counts.1", folder.display());
    Ok(())
}

fn work(only: Option<&str>) -> Result<(), String> {
    let all = all_workloads();
    let chosen: Vec<_> =
        all.iter().filter(|workload| only.is_none_or(|name| name == workload.name())).collect();
    if chosen.is_empty() {
        return Err(format!("there is no workload {}", only.unwrap_or_default()));
    }
    for workload in chosen {
        let name = workload.name();
        let operations = workload.count().map_err(|reason| format!("{name}: {reason}"))?;
        println!("{operations} {name}");
    }
    Ok(())
}
