//! The command line.

use clap::{Parser, Subcommand};

mod compare_arguments;
mod control_arguments;
mod device_arguments;
mod generate_arguments;
mod group;
mod limits_arguments;
mod ndr_arguments;
mod numbers;
mod pair_arguments;
mod run_arguments;
mod traffic_arguments;

pub use compare_arguments::CompareArguments;
pub use control_arguments::ControlArguments;
pub(crate) use device_arguments::word;
pub use device_arguments::{DeviceArguments, buckets_for, family_of, one_mode};
pub use generate_arguments::GenerateArguments;
pub use group::Group;
pub use limits_arguments::LimitsArguments;
pub use ndr_arguments::{NdrArguments, NdrLink};
pub use pair_arguments::PairArguments;
pub use run_arguments::{Harness, RunArguments};
pub use traffic_arguments::TrafficArguments;

/// Measures what a packet costs: the balancer's own workers and graph on packets made in memory, in
/// one process, without root or NIC.
#[derive(Debug, Parser)]
#[command(name = "sluice-bench", version)]
pub struct Arguments {
    /// What to do
    #[command(subcommand)]
    pub action: Action,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Measure forward modes
    Run(Box<RunArguments>),
    /// Compare two reports; exit with 1 when a case got worse by more than the threshold
    Compare(CompareArguments),
    /// Measure what this machine allows: reads of memory, hash, checksums, ports
    Limits(LimitsArguments),
    /// Measure control: building tables, loading and showing many VIPs, starting, memory
    Control(ControlArguments),
    /// Send packets through a port and look at what comes back
    Generate(GenerateArguments),
    /// Measure a device under test and a generator, two processes with a link between them
    Pair(PairArguments),
    /// Search the highest rate without loss (NDR) and with some (PDR), as RFC 2544 does
    Ndr(NdrArguments),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a command line says, without the name of the program.
    pub(super) fn parse(line: &str) -> Result<Action, clap::Error> {
        let words = ["sluice-bench"].into_iter().chain(line.split_whitespace());
        Ok(Arguments::try_parse_from(words)?.action)
    }

    /// What the words behind `run` say.
    pub(super) fn run(line: &str) -> Result<RunArguments, clap::Error> {
        match parse(&format!("run {line}"))? {
            Action::Run(run) => Ok(*run),
            _ => unreachable!("run was asked for"),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_manual_explains_every_option() {
        use clap::CommandFactory;
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");
        let manual = std::fs::read_to_string(format!("{folder}/sluice-bench.md")).unwrap();
        for command in Arguments::command().get_subcommands() {
            let name = command.get_name();
            assert!(manual.contains(&format!("sluice-bench {name}")), "{name} is not explained");
            for option in command.get_arguments().filter(|option| !option.is_hide_set()) {
                let Some(long) = option.get_long().filter(|long| *long != "help") else { continue };
                assert!(manual.contains(&format!("--{long}")), "{name} --{long} is not explained");
            }
        }
    }

    #[test]
    fn wrong_values_are_named_with_what_is_right() {
        for (line, said) in [
            ("generate --dev veth0 --to-mac 02:00:00:00:00:01", "`veth0` is neither a PCI address"),
            ("generate --dev net_memif0", "--to-mac"),
            ("generate --dev net_memif0 --to-mac 02:00", "02:00"),
            ("pair --link wire", "[possible values: memif, vhost, af_packet, af_xdp]"),
            ("pair --rate fast", "`fast` is not a rate in million packets per second such as 1.5"),
            ("pair --rate 0", "`0` is not a rate"),
            ("pair --seconds 0", "`0` is not a number of seconds from 0.01"),
            ("ndr --loss-ratio 0,1", "`1` is not a share of packets from 0 (none) to 0.5"),
            ("ndr --precision 0", "`0` is not a percentage from 0.01 to 50"),
            ("ndr --trial-seconds x", "`x` is not a number of seconds"),
            ("ndr --queue 0", "0 is not in 1..=65536"),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.contains(said), "{line}: {error}");
        }
    }
}
