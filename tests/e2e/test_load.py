"""Many connections at once: none refused, reset or wrongly answered, and nothing is lost inside."""

import json
import re
import sys
from pathlib import Path

import pytest
from conftest import Farm

CLIENT = Path(__file__).with_name("load_client.py")


@pytest.fixture
def farm(topology, daemons):
    """The demo's network with room for every flow of the test."""
    return Farm(topology, daemons, buckets=65536)


def raised(before, after):
    """Drop reasons that rose."""
    return {key: after[key] - before.get(key, 0) for key in after if after[key] > before.get(key, 0)}


def drops(daemon):
    """Every counted reason, and what the interfaces lost other than by a full receive ring."""
    found = daemon.errors("error", "warn")
    for name, interface in daemon.interfaces().items():
        for counter in ("drops", "tx_errors"):
            found[name, counter] = interface["counters"][counter]
    return found


def test_wrk_with_256_connections(farm):
    before = drops(farm.daemon)
    for vip in farm.VIPS:
        out = farm.client.run(
            "wrk", "-t1", "-c256", "-d8s", "--timeout", "10s", f"http://{vip}:2020/", timeout=40
        ).stdout
        assert "Socket errors" not in out, out
        assert "Non-2xx" not in out, out
        assert int(re.search(r"(\d+) requests in", out)[1]) > 1000, out
        # 256, and one by which wrk first finds out whether the address answers at all.
        assert farm.daemon.vip(vip, 2020)["first session packet"] == 257
    assert raised(before, drops(farm.daemon)) == {}


def test_ten_thousand_short_connections_at_200_in_flight(farm):
    before = drops(farm.daemon)
    for vip in farm.VIPS:
        out = farm.client.run(
            sys.executable, CLIENT, vip, 2020, 5000, 200, *farm.SERVERS, timeout=120
        ).stdout
        assert json.loads(out) == {
            "ok": 5000, "wrong": 0, "refused": 0, "reset": 0, "timeout": 0, "other": []
        }
        counters = farm.daemon.vip(vip, 2020)
        assert counters["untracked packet"] == 0
        # Also at the second VIP, whose connections come from source ports that the first one's just
        # had: each keeps clear of the server where its port is in TIME-WAIT.
        assert counters["first session packet"] == 5000
    assert raised(before, drops(farm.daemon)) == {}
    # Every server had its share: Maglev is even to one slot, the flows to a few percent.
    shares = [server["buckets"] for server in farm.daemon.vip("20.20.20.1", 2020)["as"].values()]
    assert max(shares) - min(shares) <= 1


def test_changing_servers_under_load_breaks_nothing(farm):
    """`lb as` add, del and weight while connections run: those on a server that stays, stay."""
    load = farm.client.start(
        sys.executable, CLIENT, "20.20.20.1", 2020, 3000, 50, *farm.SERVERS, stdout=-1
    )
    prefix = "lb as 20.20.20.1/32 protocol tcp port 2020 "
    changes = 0
    while load.poll() is None and changes < 400:
        farm.daemon.cli(prefix + "33.33.33.1 del")
        farm.daemon.cli(prefix + "33.33.33.1")
        farm.daemon.cli(prefix + "32.32.32.1 weight 40")
        farm.daemon.cli(prefix + "32.32.32.1 weight 100")
        changes += 4
    out, _ = load.communicate(timeout=60)
    assert json.loads(out) == {
        "ok": 3000, "wrong": 0, "refused": 0, "reset": 0, "timeout": 0, "other": []
    }
    assert changes > 4
