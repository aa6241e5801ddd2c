"""Starting, stopping, dying and starting again; checking a configuration without running it."""

import os
import re
import signal
import socket
import stat
import subprocess

import pytest
from daemon import REPO, SLUICED, WALKTHROUGH, Daemon
from topology import wait_until


def check(path, *arguments):
    """`sluiced --config PATH --check`, as (exit status, everything it printed)."""
    done = subprocess.run(
        [SLUICED, "--config", path, "--check", *arguments],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=20,
    )
    return done.returncode, done.stdout + done.stderr


# ------------------------------------------------------------------------------- life and death


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_cleanly(walkthrough, sig):
    daemon = walkthrough.daemon
    daemon.cli(*WALKTHROUGH)
    assert walkthrough.get()[0] in ("web-1", "web-3")
    assert stat.S_IMODE(os.stat(daemon.socket).st_mode) == 0o660
    daemon.stop(sig=sig)
    daemon.process = None


def test_it_stops_cleanly_while_packets_flow(walkthrough):
    walkthrough.daemon.cli(*WALKTHROUGH)
    load = walkthrough.client.start(
        "wrk", "-t1", "-c32", "-d20s", f"http://{walkthrough.VIP}:8080/"
    )
    wait_until(lambda: walkthrough.daemon.vip("10.10.2.2", 8080)["first session packet"] >= 32)
    walkthrough.daemon.stop()
    walkthrough.daemon.process = None
    load.terminate()
    load.wait()


TOML_WALKTHROUGH = """
[[vip]]
prefix = "10.10.2.2/32"
protocol = "tcp"
port = 8080
encap = "nat4"
type = "clusterip"
target-port = 80
as = ["192.168.1.1", "192.168.1.3"]
"""


def write_walkthrough(daemon):
    """Puts what the three commands configure into the daemon's file."""
    name = 'name = "GigabitEthernet0/9/0"\naddress'
    text = daemon.config.read_text()
    assert name in text
    text = text.replace(name, name.replace("address", "lb-nat4-in = true\naddress"))
    daemon.config.write_text(text + TOML_WALKTHROUGH)


def test_killed_and_started_again_three_times(walkthrough):
    daemon = walkthrough.daemon
    write_walkthrough(daemon)
    daemon.stop()
    for _ in range(3):
        daemon.start()
        wait_until(
            lambda: walkthrough.client.curl("http://10.10.2.2:8080/", check=False, max_time_s=1),
            10, "served again",
        )
        daemon.kill()
        assert daemon.socket.exists(), "a killed daemon cannot have removed its socket"
    daemon.start()


def test_the_configuration_file_alone_gives_the_walkthrough(walkthrough):
    daemon = walkthrough.daemon
    daemon.stop()
    write_walkthrough(daemon)
    daemon.start()
    daemon.warm(walkthrough.client, "192.168.1.1", "192.168.1.3")
    assert walkthrough.get()[0] in ("web-1", "web-3")
    assert daemon.vip("10.10.2.2", 8080)["as"].keys() == {"192.168.1.1", "192.168.1.3"}


def test_the_exec_file_of_the_configuration_is_run(walkthrough):
    daemon = walkthrough.daemon
    daemon.stop()
    script = daemon.directory / "startup.cli"
    script.write_text("# the walk-through\n\n" + "\n".join(WALKTHROUGH) + "\n")
    text = daemon.config.read_text()
    daemon.config.write_text(text.replace("[unix]", f'[unix]\nexec = "{script}"'))
    daemon.start()
    daemon.warm(walkthrough.client, "192.168.1.1")
    assert walkthrough.get()[0] in ("web-1", "web-3")


def test_a_live_socket_is_refused(walkthrough):
    daemon = walkthrough.daemon
    second = walkthrough.topology.lb.start(
        SLUICED, "--config", daemon.config, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output = second.communicate(timeout=30)[0].decode()
    assert second.returncode not in (0, None)
    assert str(daemon.socket) in output, output
    assert daemon.api.get("version"), "the first one must not notice"


def test_a_stale_socket_is_replaced(walkthrough):
    daemon = walkthrough.daemon
    daemon.stop()
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(daemon.socket))
    left.close()
    daemon.start()


def test_a_file_that_is_no_socket_is_left_alone(walkthrough):
    daemon = walkthrough.daemon
    daemon.stop()
    daemon.socket.write_text("precious")
    daemon.launch()
    assert daemon.process.wait(30) != 0
    daemon.process = None
    assert daemon.socket.read_text() == "precious"


def test_two_daemons_side_by_side(topology, walkthrough, tmp_path_factory):
    """Each with its own socket: DPDK's run-time files must not clash."""
    directory = tmp_path_factory.mktemp("second")
    config = '[unix]\ncli-listen = "@SOCKET@"\n[dpdk]\nbuffers-per-numa = 4096\n'
    config += '[[dpdk.dev]]\nname = "ring0"\nvdev = "net_null0"\n'

    class Beside:
        lb = topology.lb

    Beside.directory = directory
    second = Daemon(Beside, config)
    second.start()
    try:
        assert second.api.get("version") and walkthrough.daemon.api.get("version")
    finally:
        second.stop()
    assert walkthrough.client.ping("10.10.10.254", count=1) == 1


def test_without_hugepages_it_says_so_and_works(walkthrough):
    daemon = walkthrough.daemon
    daemon.stop()
    daemon.config.write_text(daemon.config.read_text().replace('"auto"', '"off"'))
    daemon.start()
    daemon.cli(*WALKTHROUGH)
    daemon.warm(walkthrough.client, "192.168.1.1", "192.168.1.3")
    assert walkthrough.get()[0] in ("web-1", "web-3")


def test_required_hugepages_that_are_not_there_stop_it(walkthrough):
    daemon = walkthrough.daemon
    daemon.stop()
    # The session has 256 MB of them, and this pool needs ten times as much.
    text = daemon.config.read_text().replace('"auto"', '"required"')
    daemon.config.write_text(text.replace("buffers-per-numa = 16384", "buffers-per-numa = 1000000"))
    daemon.launch()
    assert daemon.process.wait(60) != 0
    daemon.process = None
    assert "hugepages" in daemon.tail().lower(), daemon.tail()


# ------------------------------------------------------------------------------- --check

GOOD = (REPO / "packaging/sluice.toml").read_text()


def test_check_accepts_the_packaged_example():
    status, output = check(REPO / "packaging/sluice.toml")
    assert status == 0, output


BROKEN = [
    # What is wrong, the edit that does it, and the words the message must have.
    ("syntax", "main-core = 0", "main-core = = 0", []),
    ("unknown key", "main-core = 0", "main-coer = 0", ["main-coer", "main-core"]),
    ("unknown section", "[cpu]", "[cpuu]", ["cpuu"]),
    ("wrong type", "workers = 1", 'workers = "one"', ["workers"]),
    ("not an address", '"10.10.10.254/24"', '"10.10.10.299/24"', ["10.10.10.299"]),
    ("prefix too long", '"10.10.2.2/32"', '"10.10.2.2/33"', ["10.10.2.2/33"]),
    ("port out of range", "port = 8080", "port = 80800", ["80800"]),
    ("unknown protocol", 'protocol = "tcp"', 'protocol = "sctp"', ["sctp", "tcp"]),
    ("weight out of range", "weight = 50", "weight = 500", ["500", "100"]),
    ("unknown poll mode", 'poll = "adaptive"', 'poll = "lazy"', ["lazy", "adaptive"]),
    ("interface without device", 'name = "servers"\naddress', 'name = "serverz"\naddress', ["serverz"]),
    ("next hop not connected", 'via = "10.10.10.1"', 'via = "172.16.0.1"', ["172.16.0.1"]),
    ("unknown encap", 'encap = "nat4"', 'encap = "gre5"', ["gre5", "gre4"]),
    ("two ports, one name", '"servers"\nvdev', '"clients"\nvdev', ["clients"]),
    ("new-len neither prime nor power of two", "target-port = 80", "target-port = 80\nnew-len = 1000",
     ["1000", "1024"]),
    ("buckets zero", "buckets = 65536", "buckets = 0", ["buckets"]),
]


@pytest.mark.parametrize("name, old, new, words", BROKEN, ids=[b[0] for b in BROKEN])
def test_check_points_at_each_mistake(tmp_path, name, old, new, words):
    assert GOOD.count(old) >= 1, f"the example has no {old!r}"
    path = tmp_path / "broken.toml"
    text = GOOD.replace(old, new, 1)
    path.write_text(text)
    status, output = check(path)
    assert status == 1, output
    places = re.findall(rf"{re.escape(str(path))}:(\d+):(\d+)", output)
    assert places, f"no file:line:column in:\n{output}"
    changed = 1 + next(
        i for i, (a, b) in enumerate(zip(GOOD.splitlines(), text.splitlines())) if a != b
    )
    assert any(abs(int(line) - changed) <= 1 for line, _ in places), output
    assert "^" in output, f"no caret in:\n{output}"
    for word in words:
        assert word in output, f"{word!r} is not in:\n{output}"
    assert "panicked" not in output


def test_check_reports_every_mistake_at_once(tmp_path):
    path = tmp_path / "broken.toml"
    path.write_text(
        GOOD.replace("main-core = 0", "main-coer = 0")
        .replace("port = 8080", "port = 80800")
        .replace('via = "10.10.10.1"', 'via = "172.16.0.1"')
    )
    status, output = check(path)
    assert status == 1
    assert len(set(re.findall(r"broken\.toml:(\d+):", output))) >= 3, output


def test_check_of_a_file_that_is_not_there():
    status, output = check("/nonexistent/sluice.toml")
    assert status == 1
    assert "/nonexistent/sluice.toml" in output


def test_a_broken_file_does_not_start(topology, tmp_path):
    path = tmp_path / "broken.toml"
    path.write_text(GOOD.replace("port = 8080", "port = 80800"))
    done = topology.lb.run(SLUICED, "--config", path, check=False)
    assert done.returncode == 1
    assert re.search(r"broken\.toml:\d+:\d+", done.stdout + done.stderr)
