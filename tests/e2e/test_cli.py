"""`sluicectl` as an operator uses it, and the HTTP API beside it."""

import json
import os
import pty
import re
import select
import time

from daemon import SLUICECTL, WALKTHROUGH, Refused
from topology import run


def test_one_shot(walkthrough):
    daemon = walkthrough.daemon
    for line in WALKTHROUGH:
        done = daemon.ctl(*line.split())
        assert done.stderr == ""
    out = daemon.ctl("show", "lb", "vips").stdout
    assert out.startswith("ip4-nat4 10.10.2.2/32 new_size:65537 #as:2"), out
    assert "protocol:6" in out and "port:8080" in out and "target_port:80" in out
    # One argument that is a whole line works as well, and so do unique prefixes.
    assert daemon.ctl("show lb vips").stdout == out
    assert daemon.ctl("sh", "lb", "vip").stdout == out


def test_the_exit_status_tells(walkthrough):
    daemon = walkthrough.daemon
    failed = daemon.ctl("lb", "vip", "nonsense", check=False)
    assert failed.returncode != 0 and failed.stderr
    assert daemon.ctl("no", "such", "command", check=False).returncode != 0
    missing = run(
        SLUICECTL, "-s", "/nonexistent/cli.sock", "show", "version",
        check=False,
    )
    assert missing.returncode != 0 and "/nonexistent/cli.sock" in missing.stderr


def test_no_such_vip_names_those_on_the_address(walkthrough):
    walkthrough.daemon.cli(*WALKTHROUGH)
    line = "lb as 10.10.2.2/32 protocol tcp port 8081 1.2.3.4"
    failed = walkthrough.daemon.ctl(*line.split(), check=False)
    assert failed.returncode != 0
    text = failed.stderr + failed.stdout
    assert "10.10.2.2/32" in text and "8081" in text and "8080" in text, text
    error = walkthrough.daemon.refused(line)
    assert set(error) >= {"token", "column", "reason", "hint"}
    assert "8080" in (error["reason"] + str(error["hint"])), error


def test_a_script_on_standard_input(walkthrough):
    daemon = walkthrough.daemon
    done = daemon.ctl(stdin="# a comment\n\n" + "\n".join(WALKTHROUGH) + "\nshow lb vips\n")
    assert "lb_vip_add ok 1" in done.stdout
    assert "ip4-nat4 10.10.2.2/32" in done.stdout
    failed = daemon.ctl(stdin="show version\nlb vip nonsense\n", check=False)
    assert failed.returncode != 0
    assert "nonsense" in failed.stderr


class Terminal:
    """`sluicectl` on a terminal of its own."""

    def __init__(self, daemon):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ |= {"TERM": "dumb", "HOME": str(daemon.directory)}
            os.execv(SLUICECTL, ["sluicectl", "-s", str(daemon.socket)])
        self.seen = ""
        self.expect("sluice# ")

    def expect(self, text, timeout_s=5):
        """Reads until `text` has been printed; returns everything up to there."""
        deadline = time.monotonic() + timeout_s
        while text not in self.seen:
            left = deadline - time.monotonic()
            ready = select.select([self.fd], [], [], max(left, 0))[0]
            assert ready, f"{text!r} did not come, but {self.seen!r}"
            self.seen += os.read(self.fd, 65536).decode()
        before, _, self.seen = self.seen.partition(text)
        return before

    def type(self, keys):
        os.write(self.fd, keys.encode())

    def close(self):
        """Waits for its end; returns the exit status."""
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(status)


def test_a_session_on_a_terminal(walkthrough):
    terminal = Terminal(walkthrough.daemon)
    for line in WALKTHROUGH:
        terminal.type(line + "\n")
    terminal.expect("lb_vip_add ok 1")
    terminal.type("show lb vips\n")
    terminal.expect("ip4-nat4 10.10.2.2/32")
    # Tab completes what is unique; `?` lists what may come next.
    terminal.type("show hardw\t\n")
    terminal.expect("GigabitEthernet0/9/0")
    terminal.type("lb set interface ?\n")
    terminal.expect("lb set interface nat4")
    terminal.type("lb vip nonsense\n")
    terminal.expect("invalid vip prefix")
    terminal.type("quit\n")
    terminal.close()
    assert walkthrough.get()[0] in ("web-1", "web-3")


def test_what_a_method_cannot_do_is_refused_with_the_reason(walkthrough):
    vip = "lb vip 90.0.0.1/32 protocol udp port 53"
    walkthrough.daemon.cli(f"{vip} encap nat4", "lb vip 91.0.0.0/8 encap ipip")
    for line, words in (
        ("lb vip 90.0.0.2/32 protocol udp port 53 encap gre4 target_port 54", ["port translation", "gre4", "nat4"]),
        ("lb vip 90.0.0.2/32 encap nat4", ["nat4", "port"]),
        ("lb vip 90.0.0.2/32 protocol udp port 53 encap nat6", ["NAT46"]),
        ("lb vip 90.0.0.2/32 encap ipip dscp 7", ["dscp", "l3dsr"]),
        ("lb as 91.0.0.0/8 10.0.0.1 encap nat4", ["nat"]),
        ("lb as 90.0.0.1/32 protocol udp port 53 10.0.0.1 encap dr", ["nat"]),
        ("lb as 91.0.0.0/8 10.0.0.1 encap gre6", ["gre6", "IPv6"]),
        (f"{vip} encap ipip update", ["nat"]),
    ):
        error = walkthrough.daemon.refused(line)
        text = f"{error['token']} {error['reason']} {error['hint']}".lower()
        assert all(word.lower() in text for word in words), (line, error)


def test_bad_commands_are_answered_and_harmless(walkthrough):
    daemon = walkthrough.daemon
    daemon.cli(*WALKTHROUGH)
    before = daemon.cli("show running-config")
    vip = "10.10.2.2/32 protocol tcp port 8080"
    for line in (
        "lb flush vip 10.10.2.2/32 frobnicate",  # VPP: never returns (defect 20)
        "lb conf buckets 0",  # VPP: crash at the first packet (18)
        "lb conf buckets-log2 31",  # VPP: crash (19)
        "lb vip 10.10.9.9/32 protocol tcp port 80 encap nat4 type clusterip target_port 80 new_len 0",
        "lb vip 10.10.9.9/32 encap nat4 type clusterip target_port 80",  # no port (21)
        "lb vip 10.10.9.9/32 port 70000 protocol tcp encap nat4 type clusterip target_port 80",
        "lb vip 10.10.9.9/32 port 80 encap nat4 type clusterip target_port 80",  # no protocol (32)
        f"lb vip {vip} encap nat4 type clusterip target_port 80",  # is there
        f"lb as {vip} ::1",  # (33)
        f"lb as {vip} 0.0.0.0",
        f"lb as {vip} 1.2.3.4 weight 101",
        f"lb as {vip} 192.168.1.1 weight 5 del",
        f"lb as {vip} 192.168.1.77 del",  # (34)
        f"lb as {vip}",
        "lb set interface nat4 in nowhere",
        "set interface ip address nowhere 1.2.3.4/24",
        "ip route add 1.0.0.0/8 via 203.0.113.1",
        "x" * 5000,
        "\x01\x02",
    ):
        error = daemon.refused(line)
        assert error["reason"], line
    assert daemon.cli("show running-config") == before
    assert walkthrough.get()[0] in ("web-1", "web-3")


def test_atomic_batches_change_everything_or_nothing(walkthrough):
    daemon = walkthrough.daemon
    before = daemon.cli("show running-config")
    try:
        daemon.api.cli(*WALKTHROUGH, "lb vip nonsense", atomic=True)
        raise AssertionError("a batch with an error was accepted")
    except Refused as refused:
        assert refused.status == 422
    assert daemon.cli("show running-config") == before
    daemon.api.cli(*WALKTHROUGH, atomic=True)
    assert walkthrough.get()[0] in ("web-1", "web-3")


def test_show_json_is_the_body_of_the_api(walkthrough):
    daemon = walkthrough.daemon
    daemon.cli(*WALKTHROUGH)
    pairs = {
        "show version": "version",
        "show interface address": "addresses",
        "show ip fib": "fib/ip4",
        "show lb": "lb",
        "show lb vips": "lb/vips",
        "show lb as": "lb/as",
    }
    for command, path in pairs.items():
        printed = json.loads(daemon.ctl(*command.split(), "json").stdout)
        assert printed.keys() == daemon.api.get(path).keys(), command
    for path in ("threads", "runtime", "errors", "buffers", "interfaces", "hardware", "neighbors",
                 "trace", "config"):
        assert isinstance(daemon.api.get(path), dict), path


def test_the_running_configuration_can_be_replayed(walkthrough):
    daemon = walkthrough.daemon
    daemon.cli(*WALKTHROUGH, "lb conf timeout 55", "ip route add 172.16.0.0/12 via 10.10.10.1")
    config = daemon.cli("show running-config")
    daemon.stop()
    script = daemon.directory / "saved.cli"
    script.write_text(config + "\n")
    # A file that names devices and nothing else: all of the rest comes from the saved commands.
    bare = re.sub(r"^address = .*\n", "", daemon.config.read_text(), flags=re.M)
    daemon.config.write_text(bare)
    daemon.start()
    daemon.ctl("exec", str(script))
    assert daemon.cli("show running-config") == config
    daemon.warm(walkthrough.client, "192.168.1.1", "192.168.1.3")
    assert walkthrough.get()[0] in ("web-1", "web-3")


def test_a_trace_tells_the_packets_way(walkthrough):
    daemon = walkthrough.daemon
    daemon.cli(*WALKTHROUGH, "trace add dpdk-input 20")
    walkthrough.get()
    out = daemon.cli("show trace")
    for node in ("dpdk-input", "ethernet-input", "ip4-lookup", "lb4-vip", "lb4-nat4",
                 "interface-output", "lb-nat4-in2out"):
        assert node in out, f"{node} is not in:\n{out}"
    assert "10.10.2.2" in out
    daemon.cli("clear trace")
    assert "lb4-nat4" not in daemon.cli("show trace")


def test_counters_can_be_cleared(walkthrough):
    daemon = walkthrough.daemon
    daemon.cli(*WALKTHROUGH)
    walkthrough.get()
    assert "lb-express" in daemon.cli("show runtime")
    daemon.cli("clear runtime", "clear errors")
    runtime = daemon.api.get("runtime")
    for thread in runtime["threads"]:
        for node in thread["nodes"]:
            if node["name"] == "lb-express":
                assert node["vectors"] == 0


def test_interfaces_go_down_and_up(walkthrough):
    daemon = walkthrough.daemon
    daemon.cli("set interface state GigabitEthernet0/9/0 down")
    assert walkthrough.client.ping("192.168.1.1", count=1) == 0
    daemon.cli("set interface state GigabitEthernet0/9/0 up")
    daemon.warm(walkthrough.client, "192.168.1.1")
    out = daemon.cli("show interface")
    assert "GigabitEthernet0/9/0" in out and "local0" in out and "rx packets" in out


def test_curl_on_the_socket(walkthrough):
    done = run(
        "curl", "-sS", "--unix-socket", walkthrough.daemon.socket, "http://localhost/v1/version"
    )
    assert json.loads(done.stdout) == walkthrough.daemon.api.get("version")
    done = run(
        "curl", "-sS", "--unix-socket", walkthrough.daemon.socket, "-o", "/dev/null",
        "-w", "%{http_code}", "http://localhost/v1/nothing",
    )
    assert done.stdout == "404"
