//! Modes on ports that replay a file: EAL as the daemon has it, without hugepages or root. One test,
//! as EAL starts once per process.

mod short_experiment;

use benches::family::Family;
use benches::flow::Renewal;
use benches::frame_template::Direction;
use benches::mode::Mode;
use benches::pcap_harness::{PcapHarness, mac_of, packets_of, write_file};
use benches::traffic::{Protocol, Size, TrafficSpec};

use short_experiment::short_experiment;

/// The experiment itself fails when a packet is dropped or not balanced.
#[test]
fn files_are_replayed_through_every_mode() {
    let renewal = Renewal::PerSecond(0);
    let size = Size::Imix;
    let spec = |family| TrafficSpec { family, flows: 500, size, protocol: Protocol::Tcp, renewal };
    let folder = std::env::temp_dir().join(format!("sluice-bench-test-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let cases = [
        (Direction::Forward, Family::Ip4, vec![Mode::Io, Mode::Ip4, Mode::LbNat4, Mode::LbGre4]),
        (Direction::Return, Family::Ip4, vec![Mode::Io, Mode::LbNat4Return]),
        (Direction::Forward, Family::Ip6, vec![Mode::Io, Mode::Ip6, Mode::LbNat6, Mode::LbIpip6]),
    ];
    let mut files = Vec::new();
    for (index, (direction, family, _)) in cases.iter().enumerate() {
        files.push(folder.join(format!("{index}.pcap")));
        write_file(&files[index], &spec(*family), *direction, 16, index).unwrap();
    }
    let harness = PcapHarness::start(&files, packets_of(&spec(Family::Ip4)), 0).unwrap();
    for (index, (_, family, modes)) in cases.into_iter().enumerate() {
        let graphs = modes.iter().filter(|mode| mode.has_graph()).count() as u64;
        let experiment = short_experiment(spec(family), modes);
        let (port, io) = harness.open(index).unwrap();
        let packets = packets_of(&spec(family));
        let outcome = experiment.run_on_port(io, port.id(), mac_of(index), packets).unwrap();
        assert!(outcome.passed.received >= graphs * packets * 2);
        assert_eq!(outcome.passed.received, outcome.passed.sent);
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
