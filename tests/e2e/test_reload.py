"""Reloading a running daemon, with connections held through it."""

import http.client
import signal
import socket

import pytest
from test_lifecycle import check, write_walkthrough
from topology import wait_until

VIP, PORT = "10.10.2.2", 8080
KEY = "lb as 10.10.2.2/32 protocol tcp port 8080"


def ask(connection):
    """One request on an open connection; the server's name."""
    connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
    return connection.recv(4096).split(b"\r\n\r\n")[1].split()[0].decode()


@pytest.fixture
def started(walkthrough):
    """The walk-through, started from a file that says all of it."""
    daemon = walkthrough.daemon
    daemon.stop()
    write_walkthrough(daemon)
    daemon.start()
    daemon.warm(walkthrough.client, "192.168.1.1", "192.168.1.3")
    return walkthrough


def hold(walkthrough, count=16):
    """Open connections, and the server of each: both serve some."""
    connections = [walkthrough.client.tcp(VIP, PORT) for _ in range(count)]
    held = [(connection, ask(connection)) for connection in connections]
    assert {server for _, server in held} == {"web-1", "web-3"}
    return held


def still(held):
    """Does each connection reach its server?"""
    return all(ask(connection) == server for connection, server in held)


def edit(daemon, old, new):
    """Changes the daemon's file."""
    text = daemon.config.read_text()
    assert old in text, old
    daemon.config.write_text(text.replace(old, new))


def reloads(daemon):
    """How often the log tells of a reload."""
    return daemon.log.read_text().count(f"reloaded {daemon.config}: ")


def hang_up(daemon):
    """SIGHUP; waits until the file is taken up."""
    before = reloads(daemon)
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: reloads(daemon) > before, 10, "reloaded over SIGHUP")


def test_connections_survive_reloads(started):
    daemon, held = started.daemon, hold(started)
    before = daemon.vip(VIP, PORT)
    # Made by hand, and not in the file: it goes, and is listed first.
    daemon.cli("lb vip 10.10.2.9/32 protocol tcp port 80 encap nat4")
    edit(daemon, '"192.168.1.1", "192.168.1.3"]', '"192.168.1.3"]\nmss = 1400')
    planned = daemon.ctl("diff").stdout.splitlines()
    assert planned[0] == "- lb vip 10.10.2.9/32 protocol tcp port 80 encap nat4 type clusterip target_port 80"
    assert planned[1] == f"- {KEY} 192.168.1.1"
    assert any(line.startswith(f"vip {VIP}/32") and "slots move" in line for line in planned), planned
    assert any(line.startswith("live flows: 0 re-selected, ") for line in planned), planned
    assert "192.168.1.1" in daemon.vip(VIP, PORT)["as"], "diff changes nothing"

    hang_up(daemon)
    assert still(held)
    assert daemon.vip(VIP, PORT)["as"]["192.168.1.1"]["state"] == "removed"
    assert {started.get()[0] for _ in range(8)} == {"web-3"}
    assert "10.10.2.9" not in daemon.cli("show lb vips")

    edit(daemon, '"192.168.1.3"]\nmss = 1400', '"192.168.1.1", "192.168.1.3"]')
    output = daemon.ctl("reload").stdout
    assert f"+ {KEY} 192.168.1.1\n" in output and "1 added" in output, output
    assert still(held)
    after = daemon.vip(VIP, PORT)
    assert after["as"]["192.168.1.1"]["state"] == "used"
    # The counters went on, from the connections that are held to the eight requests.
    assert before["first session packet"] == 16 and after["first session packet"] == 24
    for connection, _ in held:
        connection.close()


def test_a_bad_file_changes_nothing(started):
    daemon, held = started.daemon, hold(started, 8)
    before = daemon.api.get("config")["commands"]
    edit(daemon, '"192.168.1.1", "192.168.1.3"]', '"10.10.10.254"]\nprot = 1')
    status, report = check(daemon.config)
    assert status == 1 and "unknown key `prot`" in report
    refused = daemon.ctl("reload", check=False)
    assert refused.returncode == 1
    assert report.strip() in refused.stderr and "nothing was changed" in refused.stderr
    daemon.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "nothing was changed" in daemon.log.read_text(), 10, "the log says why not")
    assert "unknown key `prot`" in daemon.log.read_text()
    assert daemon.api.get("config")["commands"] == before
    # The same over the API, with places.
    status, body = daemon.api.request("PUT", "/v1/config", daemon.config.read_text())
    assert status == 422
    (mistake,) = [m for m in body["error"]["mistakes"] if m["token"] == "prot"]
    line = daemon.config.read_text().splitlines()[mistake["line"] - 1]
    assert line[mistake["column"] - 1:].startswith("prot")
    assert still(held)
    for connection, _ in held:
        connection.close()


def test_without_confirmation_it_is_undone(started):
    daemon, held = started.daemon, hold(started, 8)
    before = daemon.api.get("config")["commands"]
    edit(daemon, '"192.168.1.1", "192.168.1.3"]', '"192.168.1.3"]')
    assert "`confirm` within 2 s" in daemon.ctl("reload", "confirm", "2").stdout
    assert daemon.api.get("config")["commands"] != before
    assert "still to be confirmed" in daemon.ctl("save", check=False).stderr
    wait_until(lambda: daemon.api.get("config")["commands"] == before, 10, "undone")
    assert "was not confirmed in time" in daemon.log.read_text()
    assert still(held)
    # At once; then confirmed, and it stays.
    daemon.ctl("reload", "confirm", "60")
    assert f"+ {KEY} 192.168.1.1\n" in daemon.ctl("reload", "cancel").stdout
    assert daemon.api.get("config")["commands"] == before
    daemon.ctl("reload", "confirm", "60")
    assert daemon.api.request("POST", "/v1/config/confirm")[0] == 200
    assert daemon.api.request("POST", "/v1/config/confirm")[0] == 409
    assert "192.168.1.1" not in "".join(daemon.api.get("config")["commands"])
    assert still(held)
    for connection, _ in held:
        connection.close()


def test_saved_and_started_again(started):
    daemon = started.daemon
    daemon.cli("lb vip 10.10.2.9/32 protocol udp port 53 encap nat4 name dns", "lb conf timeout 50")
    commands = daemon.api.get("config")["commands"]
    original = daemon.config.read_text()
    assert daemon.ctl("save").stdout == f"saved {daemon.config}\n"
    assert daemon.config.stat().st_mode & 0o777 == 0o640
    assert daemon.config.with_name(daemon.config.name + ".bak").read_text() == original
    assert "0 removed, 0 added, 0 changed" in daemon.ctl("reload").stdout
    # The API gives the same text.
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(daemon.socket))
    connection.request("GET", "/v1/config", headers={"Accept": "text/plain"})
    assert connection.getresponse().read().decode() == daemon.config.read_text()
    connection.close()
    # What takes a restart is said, and the rest applies.
    edit(daemon, "timeout = 50", "timeout = 60")
    edit(daemon, "buffers-per-numa = 16384", "buffers-per-numa = 20000")
    output = daemon.ctl("reload").stdout
    assert "restart needed: dpdk.buffers-per-numa 16384 → 20000\n" in output, output
    assert "~ lb conf timeout 60  # was: lb conf timeout 50\n" in output, output
    refused = daemon.ctl("save", "/proc/nowhere/x.toml", check=False)
    assert refused.returncode == 1 and "cannot write /proc/nowhere/x.toml" in refused.stderr
    daemon.stop()
    daemon.start()
    expected = [line.replace("timeout 50", "timeout 60") for line in commands]
    assert sorted(daemon.api.get("config")["commands"]) == sorted(expected)
