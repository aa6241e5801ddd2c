//! VPP's `lb` commands: each of its lines is understood, and each of its errors has a counterpart.

use config::{parse_line, report_line};

/// Every form of VPP's grammar, keywords in VPP's order and in others.
const LINES: [&str; 31] = [
    "lb conf ip4-src-address 39.40.41.42",
    "lb conf ip4-src-address 39.40.41.42 ip6-src-address 2004::1",
    "lb conf ip6-src-address 2004::1 buckets 1024 timeout 40",
    "lb conf buckets-log2 10",
    "lb vip 90.0.0.0/8",
    "lb vip 90.0.0.0/8 encap gre4",
    "lb vip 90.0.0.0/8 encap gre6 new_len 1024",
    "lb vip 2001::/16 encap gre4",
    "lb vip 2001::/16 encap gre6",
    "lb vip 90.0.0.0/8 protocol udp port 20000 encap gre4",
    "lb vip 2001::/16 protocol udp port 20000 encap gre6",
    "lb vip 90.0.0.0/8 encap l3dsr dscp 7",
    "lb vip dscp 7 encap l3dsr 90.0.0.0/8 port 20000 protocol udp src_ip_sticky",
    "lb vip 90.0.0.0/8 protocol udp port 20000 encap nat4 type clusterip target_port 3307",
    "lb vip 2001::/16 protocol udp port 20000 encap nat6 type clusterip target_port 3307",
    "lb vip 90.1.2.1/32 protocol tcp port 3306 encap nat4 type nodeport node_port 30964 \
     target_port 3307",
    "lb vip 90.0.0.0/8 del",
    "lb vip 90.0.0.0/8 encap l3dsr del",
    "lb as 90.0.0.0/8 10.0.0.1",
    "lb as 90.0.0.0/8 10.0.0.1 10.0.0.2 10.0.0.1 weight 50",
    "lb as 2001::/16 2002::1 weight 0",
    "lb as 90.0.0.0/8 protocol udp port 20000 10.0.0.1 del flush",
    "lb as 90.0.0.0/8 10.0.0.1 del",
    "lb flush vip 90.0.0.0/8",
    "lb flush vip 90.0.0.0/8 protocol udp port 20000",
    "lb set interface nat4 in pg0",
    "lb set interface nat4 in pg0 in pg1 del",
    "lb set interface nat6 in pg0",
    "show lb",
    "show lb vip",
    "show lb vips verbose",
];

#[test]
fn every_line_of_vpp_is_understood() {
    for line in LINES {
        let command = parse_line(line).unwrap_or_else(|e| panic!("{}", report_line(line, &e)));
        assert_eq!(parse_line(&command.to_string()), Ok(command), "{line}");
    }
}

/// What VPP says, a line that makes it say so, and what is said here about which word.
const ERRORS: [(&str, &str, &str, &str); 14] = [
    ("invalid vip prefix", "lb vip 1.2.3.4", "1.2.3.4", "invalid vip prefix"),
    ("invalid as address", "lb as 90.0.0.0/8 foo", "foo", "invalid as address: `foo`"),
    ("parse error", "lb vip 90.0.0.0/8 foo", "foo", "unknown input `foo`"),
    ("unknown input", "lb conf foo", "foo", "unknown input `foo`"),
    (
        "should not configure dscp for none L3DSR",
        "lb vip 90.0.0.0/8 encap gre4 dscp 7",
        "7",
        "dscp goes with encap l3dsr only",
    ),
    (
        "dscp for L3DSR should be less than 64",
        "lb vip 90.0.0.0/8 encap l3dsr dscp 64",
        "64",
        "between 0 and 63",
    ),
    (
        "currently does not support NAT46",
        "lb vip 90.0.0.0/8 protocol tcp port 80 encap nat6",
        "nat6",
        "currently does not support NAT46",
    ),
    (
        "currently does not support NAT64",
        "lb vip 2001::/16 protocol tcp port 80 encap nat4",
        "nat4",
        "currently does not support NAT64",
    ),
    (
        "weight must be between 0 and 100",
        "lb as 90.0.0.0/8 10.0.0.1 weight 101",
        "101",
        "weight must be between 0 and 100",
    ),
    (
        "weight and del are mutually exclusive",
        "lb as 90.0.0.0/8 10.0.0.1 weight 5 del",
        "5",
        "weight and del are mutually exclusive",
    ),
    ("No AS address provided", "lb as 90.0.0.0/8", "", "no AS address provided"),
    (
        "buckets-log2 value is too high",
        "lb conf buckets-log2 32",
        "32",
        "buckets-log2 must be between 0 and 24",
    ),
    (
        "lb_vip_add error: new_len no power of two",
        "lb vip 90.0.0.0/8 new_len 1000",
        "1000",
        "new_len must be a power of two or a prime",
    ),
    ("add|del <intfc> failed", "lb set interface nat4 in", "in", "`in` needs a value"),
];

#[test]
fn every_error_of_vpp_has_a_counterpart() {
    for (theirs, line, token, ours) in ERRORS {
        let error = parse_line(line).expect_err(theirs);
        assert_eq!(error.token, token, "{theirs}: {error}");
        assert!(error.reason.contains(ours), "{theirs}: {error}");
    }
}
