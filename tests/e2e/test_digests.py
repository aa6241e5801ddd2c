"""Two daemons with the same configuration, given in another order, choose the same ASs."""

import random

from daemon import Daemon

VIPS = [
    ("90.0.0.0/8", "encap gre4", [f"10.0.0.{i}" for i in range(9)]),
    ("91.0.0.0/16 protocol udp port 20000", "encap l3dsr dscp 7 new_len 1024", [f"10.0.0.{i}" for i in range(5)]),
    ("91.0.0.0/16 protocol udp port 100-200", "encap ipip", ["10.0.0.1", "2002::1", "10.0.0.3"]),
    ("20.20.20.1/32 protocol tcp port 80", "encap nat4 target_port 8080 src_ip_sticky", ["10.0.0.1", "10.0.0.2"]),
    ("2001:db8::/32", "encap gre6", [f"2002::{i}" for i in range(7)]),
    ("2001:db8::1/128 protocol tcp port 80", "encap nat6 target_port 8080", [f"2002::{i}" for i in range(3)]),
    ("90.1.0.0/16", "encap dr scheduler rr", ["10.0.0.1", "10.0.0.2", "10.0.0.3"]),
]
DEVICES = "".join(
    f'[[dpdk.dev]]\nname = "pg{i}"\nvdev = "net_null{i}"\n[[interface]]\nname = "pg{i}"\naddress = [{a}]\n'
    for i, a in enumerate(('"172.16.1.1/24"', '"10.0.0.254/24", "2002::ffff/64"'))
)
CONFIG = '[unix]\ncli-listen = "@SOCKET@"\n[dpdk]\nbuffers-per-numa = 4096\n' + DEVICES


def digests(daemon):
    """{what a VIP is: its table's digest}."""
    return {
        (v["prefix"], v["protocol"], v["port"], v.get("port_last")): v["new_flow_table_digest"]
        for v in daemon.api.get("lb/vips")["vips"]
    }


def side_by_side(topology, tmp_path_factory, count):
    class Beside:
        lb = topology.lb

    for _ in range(count):
        Beside.directory = tmp_path_factory.mktemp("replica")
        yield Daemon(Beside, CONFIG)


def test_the_order_of_commands_does_not_matter(topology, tmp_path_factory):
    generator = random.Random(7)
    seen, fingerprints = [], set()
    for number, daemon in enumerate(side_by_side(topology, tmp_path_factory, 3)):
        daemon.start()
        try:
            for key, options, servers in generator.sample(VIPS, len(VIPS)) if number else VIPS:
                words = options.split()
                daemon.cli(f"lb vip {key} {' '.join(words)}")
                for server in generator.sample(servers, len(servers)) if number else servers:
                    daemon.cli(f"lb as {key} {server}")
                daemon.cli(f"lb as {key} {servers[-1]} weight 30")
                if number == 2:
                    # With a history: one that came and went, and weights that were others.
                    extra = "2002::77" if ":" in servers[0] else "10.0.0.77"
                    daemon.cli(
                        f"lb as {key} {extra}", f"lb as {key} {servers[0]} weight 7", f"lb as {key} {extra} del flush",
                        f"lb as {key} {servers[0]} del", f"lb as {key} {servers[0]}",
                    )
            seen.append(digests(daemon))
            fingerprints.add(daemon.api.get("lb")["hash_key_fingerprint"])
        finally:
            daemon.stop()
    assert len(seen[0]) == len(VIPS) and len(set(seen[0].values())) == len(VIPS)
    assert seen[0] == seen[1] == seen[2]
    assert len(fingerprints) == 1


def test_what_was_saved_gives_the_same_digests(topology, tmp_path_factory):
    first, second = side_by_side(topology, tmp_path_factory, 2)
    first.start()
    for key, options, servers in VIPS:
        first.cli(f"lb vip {key} {options}", f"lb as {key} {' '.join(servers)}", f"lb as {key} {servers[0]} weight 3")
    wanted, saved = digests(first), first.api.get("config")["commands"]
    first.stop()
    second.start()
    try:
        second.cli(*saved)
        assert digests(second) == wanted
        assert second.api.get("config")["commands"] == saved
        # And one change makes another table.
        key, _, servers = VIPS[0]
        second.cli(f"lb as {key} {servers[1]} weight 99")
        changed = {k for k, v in digests(second).items() if v != wanted[k]}
        assert {k[0] for k in changed} == {"90.0.0.0/8"}
    finally:
        second.stop()
