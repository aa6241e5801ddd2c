//! `sluiced --check`: everything that is wrong with a configuration, found without starting anything.

use std::fs;
use std::path::PathBuf;

use control::daemon::load;

/// A configuration file of this test's own, removed with it.
struct Config(PathBuf);

impl Config {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sluice-{}-{name}", std::process::id()));
        fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for Config {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

const GOOD: &str = r#"
[[dpdk.dev]]
name = "clients0"
vdev = "net_null0"
[[interface]]
name = "clients0"
address = ["10.10.10.254/24"]
state = "up"
[[route]]
prefix = "0.0.0.0/0"
via = "10.10.10.1"
[[vip]]
prefix = "10.10.2.2/32"
protocol = "tcp"
port = 8080
encap = "nat4"
as = ["192.168.1.1"]
"#;

#[test]
fn a_good_file_gives_a_plan() {
    let file = Config::new("good.toml", GOOD);
    let (startup, plan) = load(&file.0).unwrap();
    assert_eq!(plan.ports.len(), 1);
    assert_eq!(plan.file_prefix, "sluice");
    assert!(!startup.commands.is_empty());
}

#[test]
fn what_does_not_fit_together_is_reported_with_its_place() {
    let text = GOOD.replace("10.10.10.1\"", "10.99.0.1\"").replace("192.168.1.1", "10.10.10.254");
    let file = Config::new("bad.toml", &text);
    let report = load(&file.0).unwrap_err();
    let via = text.lines().position(|line| line.starts_with("via")).unwrap() + 1;
    assert!(report.contains("the next hop 10.99.0.1 is not on a connected"), "{report}");
    assert!(report.contains(&format!("bad.toml:{via}:")), "{report}");
    assert!(report.contains("10.10.10.0/24"), "{report}");
    assert!(report.contains("10.10.10.254 is our own address"), "all errors at once: {report}");
}

#[test]
fn what_only_follows_from_another_error_is_not_reported() {
    let twice = format!("{GOOD}{}", &GOOD[GOOD.find("[[vip]]").unwrap()..]);
    let file = Config::new(
        "twice.toml",
        &twice.replace(
            "port = 8080\nencap = \"nat4\"\nas = [\"192.168.1.1\"]\n[[vip]]",
            "port = 8080\nencap = \"nat4\"\n[[vip]]",
        ),
    );
    let report = load(&file.0).unwrap_err();
    assert_eq!(report.matches("error").count(), 1, "{report}");
}

#[test]
fn the_command_file_is_checked_too() {
    let script = Config::new(
        "script.cli",
        "# fine\nlb conf timeout 50\nlb as 10.10.2.2/32 protocol tcp port 8081 192.168.1.9\nlb vip nonsense\n",
    );
    let text = format!("[unix]\nexec = \"{}\"\n{GOOD}", script.0.display());
    let file = Config::new("exec.toml", &text);
    let report = load(&file.0).unwrap_err();
    assert!(report.contains("script.cli:3:38"), "{report}");
    assert!(report.contains("VIPs on 10.10.2.2: tcp port 8080"), "{report}");
    assert!(report.contains("script.cli:4:8"), "{report}");
    fs::write(&script.0, "lb conf timeout 50\n").unwrap();
    load(&file.0).unwrap();
    fs::remove_file(&script.0).unwrap();
    let report = load(&file.0).unwrap_err();
    assert!(report.contains("exec.toml:2:8") && report.contains("cannot read"), "{report}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let report = load("/nonexistent/sluice.toml".as_ref()).unwrap_err();
    assert!(report.starts_with("/nonexistent/sluice.toml: "), "{report}");
}

#[test]
fn a_tap_to_the_kernel_is_an_interface_that_policies_can_use() {
    let policy = "[[no-match]]\nprefix = \"10.10.0.0/16\"\npolicy = \"punt\"\n";
    let file = Config::new("punt", &format!("{GOOD}[punt]\ntap = \"sluice0\"\n{policy}"));
    let (startup, plan) = load(&file.0).unwrap();
    assert_eq!(startup.punt.unwrap().tap.value, "sluice0");
    assert!(plan.ports.last().unwrap().punt);
}
