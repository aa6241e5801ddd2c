//! A session that was typed into VPP's load balancer plugin, typed in here: what VPP takes is taken
//! with VPP's answer, what it refuses is refused, and both show the same lines. Where Sluice differs
//! it says so below, and why.

use crate::bench::Bench;

/// What becomes of a line.
enum Answer {
    /// Accepted, with VPP's output.
    Ok(&'static str),
    /// Refused, as by VPP; the error has these words.
    Refused(&'static str),
    /// VPP refuses it; Sluice can do it.
    More,
    /// VPP takes it in a way that is a defect; the error has these words.
    Stricter(&'static str),
}

use Answer::{More, Ok, Refused, Stricter};

/// `lb conf` and `lb vip`, good and bad, in VPP's order.
const VIPS: &[(&str, Answer)] = &[
    ("lb conf ip4-src-address 39.40.41.42", Ok("")),
    ("lb conf ip6-src-address 2004::1", Ok("")),
    ("lb conf buckets 2048", Ok("")),
    ("lb conf buckets 1000", Refused("power of two")),
    ("lb conf buckets 3", Refused("power of two")),
    ("lb conf buckets 1", Ok("")),
    ("lb conf timeout 60", Ok("")),
    ("lb conf timeout -1", Stricter("-1")),
    ("lb conf timeout 40", Ok("")),
    ("lb conf buckets-log2 10", Ok("")),
    ("lb conf buckets-log2 32", Refused("buckets-log2")),
    ("lb conf buckets abc", Refused("abc")),
    ("lb conf foo", Refused("foo")),
    ("lb conf ip4-src-address 1.2.3", Refused("1.2.3")),
    ("lb conf ip4-src-address 2001::1", Refused("2001::1")),
    ("lb conf ip4-src-address 39.40.41.42 ip6-src-address 2004::1 buckets 1024 timeout 40", Ok("")),
    ("lb vip 90.0.0.0/8 encap gre4 new_len 1024", Ok("lb_vip_add ok 1")),
    ("lb vip 90.0.0.0/8 encap gre4", Refused("exists already")),
    ("lb vip 90.0.0.0/8 encap gre6", Refused("exists already")),
    ("lb vip 90.1.2.3/8 encap gre4", Refused("exists already")),
    ("lb vip 90.0.0.1/32 encap gre4 new_len 1000", Refused("new_len")),
    ("lb vip 90.0.0.1/32 encap gre4 new_len 16", Ok("lb_vip_add ok 2")),
    ("lb vip 91.0.0.1", Refused("91.0.0.1")),
    ("lb vip 91.0.0.1/33 encap gre4", Refused("between 0 and 32")),
    ("lb vip foo", Refused("foo")),
    ("lb vip 91.0.0.1/32", Ok("lb_vip_add ok 3")),
    ("lb vip 91.0.0.2/32 encap foo", Refused("foo")),
    ("lb vip 91.0.0.2/32 encap l3dsr", Refused("dscp")),
    ("lb vip 91.0.0.2/32 encap l3dsr dscp 64", Refused("between 0 and 63")),
    ("lb vip 91.0.0.2/32 encap l3dsr dscp 7", Ok("lb_vip_add ok 4")),
    ("lb vip 91.0.0.3/32 encap gre4 dscp 7", Refused("dscp goes with encap l3dsr only")),
    ("lb vip 91.0.0.4/32 encap nat6", Refused("currently does not support NAT46")),
    ("lb vip 91.0.0.5/32 protocol udp port 53 encap gre4", Ok("lb_vip_add ok 5")),
    ("lb vip 91.0.0.5/32 protocol tcp port 53 encap gre4", Ok("lb_vip_add ok 6")),
    ("lb vip 91.0.0.5/32 protocol udp port 53 encap gre4", Refused("exists already")),
    ("lb vip 91.0.0.7/32 protocol sctp port 80 encap gre4", Refused("sctp")),
    ("lb vip 91.0.0.6/32 protocol udp port 70000 encap gre4", Stricter("70000")),
    ("lb vip 91.0.0.6/32 protocol udp port 4464 encap gre4", Ok("lb_vip_add ok 7")),
    (
        "lb vip 91.0.0.8/32 protocol udp port 20000 encap nat4 type clusterip target_port 3307",
        Ok("lb_vip_add ok 8"),
    ),
    (
        "lb vip 91.0.0.9/32 protocol tcp port 80 encap nat4 type clusterip target_port 8080",
        Ok("lb_vip_add ok 9"),
    ),
    ("lb vip 91.0.0.10/32 protocol udp port 53 encap nat4 type foo target_port 1", Refused("foo")),
    (
        "lb vip 91.0.0.11/32 protocol udp port 30000 encap nat4 type nodeport target_port 53",
        Ok("lb_vip_add ok 10"),
    ),
    (
        "lb vip 91.0.0.12/32 protocol udp port 30000 encap nat4 type nodeport target_port 54",
        Refused("node port 30000 is the VIP 91.0.0.11/32 protocol udp port 30000's"),
    ),
    // There VPP has used up an index for the half-made VIP; Sluice has not.
    ("lb vip 91.0.0.13/32 encap gre4 src_ip_sticky", Ok("lb_vip_add ok 11")),
    ("lb vip 2001:db8::/32 encap gre4", Ok("lb_vip_add ok 12")),
    ("lb vip 2001:db9::/32 encap gre6", Ok("lb_vip_add ok 13")),
    ("lb vip 2001:dba::1/128 protocol udp port 53 encap gre6", Ok("lb_vip_add ok 14")),
    (
        "lb vip 2001:dbb::1/128 protocol udp port 53 encap nat6 type clusterip target_port 5353",
        Ok("lb_vip_add ok 15"),
    ),
    ("lb vip 2001:dbc::1/128 encap nat4", Refused("currently does not support NAT64")),
    ("lb vip 2001:dbd::1/129 encap gre6", Refused("between 0 and 128")),
    ("lb vip 0.0.0.0/0 encap gre4", Ok("lb_vip_add ok 16")),
    ("lb vip ::/0 encap gre6", Ok("lb_vip_add ok 17")),
    ("lb vip 91.0.0.14/32 encap gre4 new_len 1", Ok("lb_vip_add ok 18")),
    ("lb vip 91.0.0.15/32 encap gre4 new_len 65536", Ok("lb_vip_add ok 19")),
    ("lb", Refused("incomplete")),
    ("lb foo", Refused("foo")),
    ("show lb foo", Refused("foo")),
];

/// `lb as` and what else needs a VIP.
const SERVERS: &[(&str, Answer)] = &[
    ("lb as 90.0.0.0/8 10.0.0.1", Ok("")),
    ("lb as 90.0.0.0/8 10.0.0.1", Refused("already an AS")),
    ("lb as 90.0.0.0/8 10.0.0.2 10.0.0.3", Ok("")),
    ("lb as 90.0.0.0/8 10.0.0.4", Ok("")),
    ("lb as 90.0.0.0/8 2002::1", Refused("encap gre4 needs IPv4 ASs")),
    ("lb as 90.0.0.0/8", Refused("address")),
    ("lb as 90.0.0.0/8 foo", Refused("foo")),
    ("lb as 99.0.0.0/8 10.0.0.1", Refused("there is no VIP 99.0.0.0/8 for all ports")),
    ("lb as 90.0.0.0/9 10.0.0.1", Refused("there is no VIP 90.0.0.0/9")),
    ("lb as 90.1.1.1/8 10.0.0.5", Ok("")),
    ("lb as foo 10.0.0.1", Refused("foo")),
    ("lb as 90.0.0.0/8 10.0.0.9 del", Refused("not an AS")),
    ("lb as 90.0.0.0/8 10.0.0.3 del", Ok("")),
    ("lb as 90.0.0.0/8 10.0.0.3 del", Stricter("any more")),
    ("lb as 90.0.0.0/8 10.0.0.6 weight 50", Ok("")),
    ("lb as 90.0.0.0/8 10.0.0.6 weight 0", Ok("")),
    ("lb as 90.0.0.0/8 10.0.0.6 weight 101", Refused("weight")),
    ("lb as 90.0.0.0/8 10.0.0.6 weight 10 del", Refused("del")),
    ("lb as 90.0.0.0/8 10.0.0.2 weight 0 flush", Ok("")),
    ("lb as 90.0.0.0/8 10.0.0.1 weight 5", Ok("")),
    ("lb as 91.0.0.5/32 10.0.0.1", Refused("VIPs on 91.0.0.5: tcp port 53, udp port 53")),
    ("lb as 91.0.0.5/32 port 53 10.0.0.1", Refused("protocol")),
    ("lb as 91.0.0.5/32 protocol udp port 53 10.0.0.1", Ok("")),
    ("lb as 91.0.0.5/32 protocol udp port 54 10.0.0.1", Refused("54: there is no VIP")),
    ("lb as 91.0.0.5/32 protocol tcp port 53 10.0.0.1 10.0.0.2", Ok("")),
    ("lb as 2001:db8::/32 10.0.0.1", Ok("")),
    ("lb as 2001:db8::/32 2002::1", Refused("encap gre4 needs IPv4 ASs")),
    ("lb as 2001:db9::/32 2002::1 2002::2", Ok("")),
    ("lb as 2001:db9::/32 10.0.0.1", Refused("encap gre6 needs IPv6 ASs")),
    ("lb as 91.0.0.8/32 protocol udp port 20000 10.0.0.1 10.0.0.2", Ok("")),
    ("lb as 2001:dbb::1/128 protocol udp port 53 2002::1", Ok("")),
    ("lb as 91.0.0.2/32 10.0.0.1 10.0.0.2", Ok("")),
    ("lb as 91.0.0.14/32 10.0.0.1 10.0.0.2 10.0.0.3", Stricter("new_len 1")),
    ("lb as 91.0.0.13/32 ::1", Stricter("::1")),
    ("lb as 91.0.0.13/32 0.0.0.0", Stricter("0.0.0.0")),
    ("lb flush vip 90.0.0.0/8", Ok("lb_flush_vip ok 1")),
    ("lb flush vip 99.0.0.0/8", Refused("there is no VIP 99.0.0.0/8")),
    ("lb flush vip foo", Refused("foo")),
    ("lb flush vip 91.0.0.5/32 protocol udp port 53", Ok("lb_flush_vip ok 5")),
    ("lb set interface nat4 in nope", Refused("there is no interface nope")),
    ("lb set interface nat4 in local0", Ok("")),
    ("lb set interface nat4 in local0 del", Ok("")),
    ("lb vip 90.0.0.1/32 del", Ok("")),
    ("lb vip 90.0.0.1/32 del", Refused("there is no VIP 90.0.0.1/32")),
    ("lb vip 91.0.0.5/32 del", Refused("there is no VIP 91.0.0.5/32 for all ports")),
    ("lb vip 91.0.0.5/32 protocol tcp port 53 del", Ok("")),
    ("lb vip 99.0.0.0/8 del", Refused("there is no VIP")),
    ("lb vip 91.0.0.11/32 protocol udp port 30000 del", Ok("")),
    // VPP never gives a node port back.
    ("lb vip 91.0.0.11/32 protocol udp port 30000 encap nat4 type nodeport target_port 53", More),
    // Nor does it let the ports of an address go different ways.
    ("lb vip 91.0.0.5/32 protocol udp port 54 encap gre6", More),
    ("lb vip 91.0.0.5/32 encap gre4", More),
    ("lb vip 90.0.0.0/8 protocol udp port 53 encap gre4", More),
];

fn play(bench: &mut Bench, session: &[(&str, Answer)]) {
    for (line, answer) in session {
        match answer {
            Ok(output) => assert_eq!(bench.ok(line), *output, "{line}"),
            More => drop(bench.ok(line)),
            Refused(words) | Stricter(words) => {
                let error = bench.refused(line);
                assert!(error.contains(words), "{line}\n  says: {error}");
            }
        }
    }
}

#[test]
fn what_vpp_takes_and_refuses() {
    let mut bench = Bench::routed();
    play(&mut bench, VIPS);
    // VPP's lines, with the length of the new-flow table that Sluice has where none is given.
    assert_eq!(
        bench.ok("show lb vips"),
        "ip4-gre4 90.0.0.0/8 new_size:1024 #as:0
ip4-gre4 90.0.0.1/32 new_size:16 #as:0
ip4-gre4 91.0.0.1/32 new_size:65537 #as:0
ip4-l3dsr 91.0.0.2/32 new_size:65537 #as:0  dscp:7
ip4-gre4 91.0.0.5/32 new_size:65537 #as:0  protocol:17 port:53 
ip4-gre4 91.0.0.5/32 new_size:65537 #as:0  protocol:6 port:53 
ip4-gre4 91.0.0.6/32 new_size:65537 #as:0  protocol:17 port:4464 
ip4-nat4 91.0.0.8/32 new_size:65537 #as:0  protocol:17 port:20000  type:clusterip port:20000 target_port:3307
ip4-nat4 91.0.0.9/32 new_size:65537 #as:0  protocol:6 port:80  type:clusterip port:80 target_port:8080
ip4-nat4 91.0.0.11/32 new_size:65537 #as:0  protocol:17 port:30000  type:nodeport port:30000 target_port:53
ip4-gre4 91.0.0.13/32 new_size:65537 #as:0
ip6-gre4 2001:db8::/32 new_size:65537 #as:0
ip6-gre6 2001:db9::/32 new_size:65537 #as:0
ip6-gre6 2001:dba::1/128 new_size:65537 #as:0  protocol:17 port:53 
ip6-nat6 2001:dbb::1/128 new_size:65537 #as:0  protocol:17 port:53  type:clusterip port:53 target_port:5353
ip4-gre4 0.0.0.0/0 new_size:65537 #as:0
ip6-gre6 ::/0 new_size:65537 #as:0
ip4-gre4 91.0.0.14/32 new_size:1 #as:0
ip4-gre4 91.0.0.15/32 new_size:65536 #as:0
"
    );
    assert!(bench.ok("show lb").starts_with(
        "lb_main ip4-src-address: 39.40.41.42 \n ip6-src-address: 2004::1 \n #vips: 19\n #ass: 0\n"
    ));
    play(&mut bench, SERVERS);
    let text = bench.ok("show ip fib 90.1.2.3");
    assert!(text.contains("90.0.0.0/8 fib:0\n  lb\n"), "{text}");
    assert!(text.contains("    [0] [@0]: ip4-gre4 90.0.0.0/8 new_size:1024 #as:6\n"), "{text}");
    let text = bench.ok("show ip6 fib 2001:db9::/32");
    assert!(text.starts_with("ipv6-VRF:0, fib_index:0\n2001:db9::/32 fib:0\n  lb\n"), "{text}");
    assert!(
        text.contains(
            "unicast-ip6-chain\n    [0] [@0]: ip6-gre6 2001:db9::/32 new_size:65537 #as:2"
        )
    );
    bench.end();
}

/// The bucket numbers of VPP's own test, which weights keep exactly here: 256 of 1024 each; then one
/// at half the weight of three others gets a seventh; then another none.
#[test]
fn weights_of_vpps_own_test() {
    let mut bench = Bench::routed();
    bench.ok("lb vip 192.0.2.0/24 encap gre4 new_len 1024");
    bench.ok("lb as 192.0.2.0/24 10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4");
    let buckets = |bench: &Bench| -> Vec<u32> {
        bench.control.vips().vips[0].servers.iter().map(|server| server.buckets).collect()
    };
    assert_eq!(buckets(&bench), [256; 4]);
    bench.ok("lb as 192.0.2.0/24 10.0.0.1 weight 50");
    let weighted = buckets(&bench);
    assert_eq!(weighted.iter().sum::<u32>(), 1024);
    for (buckets, ideal) in weighted.iter().zip([1024.0 / 7.0, 292.57, 292.57, 292.57]) {
        assert!((f64::from(*buckets) - ideal).abs() <= 1.0, "{weighted:?}");
    }
    bench.ok("lb as 192.0.2.0/24 10.0.0.2 weight 0");
    assert_eq!(buckets(&bench)[1], 0);
    let before = buckets(&bench);
    bench.ok("lb as 192.0.2.0/24 10.0.0.5 weight 0");
    assert_eq!(buckets(&bench)[..4], before[..], "an AS of weight 0 moves nothing");
    bench.ok("lb as 192.0.2.0/24 10.0.0.5 weight 50");
    assert!(buckets(&bench)[4] > 0);
    bench.ok("lb as 192.0.2.0/24 10.0.0.1 10.0.0.3 weight 0 flush");
    let left = buckets(&bench);
    assert_eq!((left[0], left[2], left[3] + left[4]), (0, 0, 1024));
    let vip = bench.control.vips().vips.remove(0);
    let (min, max) = (vip.share_of_ideal_min.unwrap(), vip.share_of_ideal_max.unwrap());
    assert!(min > 0.99 && max < 1.01, "{min} {max}");
    assert_eq!(vip.new_flow_table_digest.len(), 16);
}
