"""Runs `sluiced` for a test, talks to it, and checks what it leaves behind."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
from pathlib import Path

from topology import Topology, wait_until

REPO = Path(__file__).resolve().parents[2]
BINARIES = Path(os.environ.get("SLUICE_BIN_DIR", REPO / "target/e2e"))
SLUICED = BINARIES / "sluiced"
SLUICECTL = BINARIES / "sluicectl"

# The words for an AS in `show lb vips verbose`.
STATES = ("used", "draining", "drained", "removed")

# What the three commands of the VPP documentation's walk-through configure.
WALKTHROUGH = (
    "lb set interface nat4 in GigabitEthernet0/9/0",
    "lb vip 10.10.2.2/32 protocol tcp port 8080 encap nat4 type clusterip target_port 80",
    "lb as 10.10.2.2/32 protocol tcp port 8080 192.168.1.1 192.168.1.3",
)


class Refused(AssertionError):
    """The API answered with an error status; `status` and `body` say which."""

    def __init__(self, status, body):
        super().__init__(f"{status}: {body}")
        self.status = status
        self.body = body


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=10)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Api:
    """HTTP over the daemon's UNIX socket."""

    def __init__(self, path):
        self.path = path

    def request(self, method, path, body=None):
        """Returns (status, decoded JSON body)."""
        connection = _UnixConnection(self.path)
        try:
            connection.request(method, path, body, {"Content-Type": "text/plain"} if body else {})
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        return answer.status, json.loads(text)

    def get(self, path):
        """The body of `GET /v1/PATH`."""
        status, body = self.request("GET", f"/v1/{path}")
        if status != 200:
            raise Refused(status, body)
        return body

    def cli(self, *lines, atomic=False):
        """Runs command lines; returns their output texts, raises `Refused` if one failed."""
        path = "/v1/cli" + ("?atomic=true" if atomic else "")
        status, body = self.request("POST", path, "\n".join(lines))
        if status != 200:
            raise Refused(status, body)
        return [result["output"] for result in body["results"]]


def vip_counters(text):
    """`show lb vips verbose` as {(address, protocol, port): {counter name: value, "as": {…}}}."""
    vips = {}
    current = None
    for line in text.splitlines():
        if found := re.match(r"\s*ip[46]-\S+ \[\d+\] (\S+?)/\d+", line):
            current = {"prefix": found[1], "as": {}}
        elif current is not None:
            if found := re.search(r"protocol:(\d+)\s+port:(\d+)", line):
                vips[current["prefix"], int(found[1]), int(found[2])] = current
            elif found := re.match(r"\s+(\S+) weight:(\d+) buckets:(\d+) flows:(\d+)(.*)", line):
                current["as"][found[1]] = {
                    "weight": int(found[2]), "buckets": int(found[3]), "flows": int(found[4]),
                    "state": next(word for word in found[5].split() if word in STATES),
                }
            elif found := re.match(r"\s+([a-z ]+): (\d+)$", line):
                current[found[1].strip()] = int(found[2])
    return vips


class Daemon:
    """One `sluiced` in a topology's `lb` namespace, with a configuration, socket and log of its own."""

    def __init__(self, topology, config):
        self.topology = topology
        self.directory = topology.directory
        self.socket = self.directory / "cli.sock"
        self.config = self.directory / "sluice.toml"
        self.config.write_text(config.replace("@SOCKET@", str(self.socket)))
        self.log = self.directory / "sluiced.log"
        self.api = Api(self.socket)
        self.process = None
        self.files = set()

    # -- life ----------------------------------------------------------------------------------

    def start(self, timeout_s=30):
        """Starts it and waits until the API answers."""
        self.launch()
        self.wait_ready(timeout_s)
        self.baseline = self.buffers_used()
        return self

    def launch(self):
        """Starts the process, and does not wait."""
        with open(self.log, "ab") as log:
            # `ip netns exec` becomes the daemon: the pid is the daemon's own.
            self.process = self.topology.lb.start(
                SLUICED, "--config", self.config, stdout=log, stderr=log
            )

    def wait_ready(self, timeout_s=30):
        """Waits for the API, and remembers which files of DPDK the process holds open."""
        def ready():
            if self.process.poll() is not None:
                raise AssertionError(f"sluiced ended with {self.process.returncode}: {self.tail()}")
            try:
                return self.api.get("version")
            except (OSError, http.client.HTTPException):
                return None

        version = wait_until(ready, timeout_s, f"sluiced ready; {self.tail()}")
        self.files |= self._dpdk_files()
        return version

    def _dpdk_files(self):
        found = set()
        base = Path(f"/proc/{self.process.pid}")
        for line in (base / "maps").read_text().splitlines():
            path = line.split(maxsplit=5)[-1]
            if re.search(r"/(dpdk|hugepages)/", path) and " (deleted)" not in path:
                if "/lib/" not in path:
                    found.add(path)
        for fd in (base / "fd").iterdir():
            try:
                path = os.readlink(fd)
            except OSError:
                continue
            if re.search(r"^/(run|var/run|dev)/.*(dpdk|hugepages)", path) and "(deleted)" not in path:
                found.add(path)
        return found

    def stop(self, timeout_s=10, sig=signal.SIGTERM):
        """Asks it to end; it must do so cleanly, and leave nothing behind."""
        self.process.send_signal(sig)
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"sluiced did not stop within {timeout_s} s; {self.tail()}") from None
        assert status == 0, f"sluiced ended with {status}: {self.tail()}"
        assert not self.socket.exists(), "the socket was left behind"
        left = [path for path in self.files if os.path.exists(path)]
        assert not left, f"DPDK's files were left behind: {left}"

    def kill(self):
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def running(self):
        """Is the process there?"""
        return self.process is not None and self.process.poll() is None

    def tail(self, lines=25):
        """The end of its log, for messages."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "log:\n" + "\n".join(text.splitlines()[-lines:])

    def check_and_stop(self):
        """The end of every test: every packet is accounted for, all buffers come home, nothing
        panicked, a clean stop."""
        if not self.running():
            raise AssertionError(f"sluiced is gone ({self.process and self.process.returncode}): {self.tail()}")
        self.balance()
        wait_until(
            lambda: self.buffers_used() <= self.baseline, 10,
            f"packet buffers in use are back to {self.baseline} (now {self.buffers_used()})",
            interval_s=0.2,
        )
        self.stop()
        log = self.log.read_text(errors="replace")
        assert "panicked" not in log, self.tail()

    # -- questions -----------------------------------------------------------------------------

    def cli(self, *lines):
        """Runs command lines; returns the outputs as one text."""
        return "\n".join(self.api.cli(*lines))

    def refused(self, line):
        """Runs one command that must fail; returns its error as the API gives it."""
        status, body = self.api.request("POST", "/v1/cli", line)
        assert status == 422, f"{line}: {status} {body}"
        (result,) = body["results"]
        assert result["ok"] is False
        return result["error"]

    def ctl(self, *words, stdin=None, check=True):
        """Runs sluicectl from outside the namespace."""
        done = subprocess.run(
            [SLUICECTL, "-s", self.socket, *words], capture_output=True, text=True, timeout=20,
            **({"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}),
        )
        if check:
            assert done.returncode == 0, done.stdout + done.stderr
        return done

    def balance(self, timeout_s=10):
        """Waits until no packet is missing; returns {term: packets} and {part: packets} in one."""
        found = {}

        def settled():
            found.update(self.api.get("balance"))
            return found["missing"] == 0

        try:
            wait_until(settled, timeout_s, "no packet is missing", interval_s=0.1)
        except AssertionError as late:
            raise AssertionError(f"{late}\n{self.cli('show lb balance')}\n{self.cli('show errors')}") from None
        terms = {term["term"]: term["packets"] for term in found["terms"]}
        parts = {part["what"]: part["packets"] for term in found["terms"] for part in term["parts"]}
        return terms | parts

    def buffers_used(self):
        """Packet buffers that are not in a pool."""
        return sum(pool["used"] for pool in self.api.get("buffers")["pools"])

    def errors(self, *severities):
        """{(node, reason): count} of `show errors`, of these severities or all."""
        return {
            (entry["node"], entry["reason"]): entry["count"]
            for entry in self.api.get("errors")["errors"]
            if not severities or entry["severity"] in severities
        }

    def vip(self, address, port, protocol=6):
        """One VIP's counters and ASs, by VPP's names."""
        return vip_counters(self.cli("show lb vips verbose"))[address, protocol, port]

    def interfaces(self):
        """{name: its entry in the API}."""
        return {entry["name"]: entry for entry in self.api.get("interfaces")["interfaces"]}

    def warm(self, client, *addresses):
        """Has every neighbour resolved, so that counts are not about the first packet's ARP."""
        for address in addresses:
            wait_until(lambda address=address: client.ping(address, count=1), 10, f"ping {address}")


@contextlib.contextmanager
def own_topology(directory):
    """A topology that tests share, and what starts daemons in it: (topology, daemons).

    At its end every daemon must pass `check_and_stop`, as those of the fixture `daemons` must.
    """
    topology, started = Topology(directory), []

    def daemons(config):
        started.append(Daemon(topology, str(config)))
        return started[-1].start()

    try:
        yield topology, daemons
        for daemon in started:
            daemon.check_and_stop()
    finally:
        for daemon in started:
            if daemon.running():
                daemon.kill()
        topology.close()


class Config:
    """Builds a configuration file for a topology, device by device."""

    def __init__(self, workers=1, **lb):
        self.parts = [
            "[cpu]", "main-core = 0", f"workers = {workers}", 'poll = "adaptive"',
            "[dpdk]", 'hugepages = "auto"', "buffers-per-numa = 16384",
            "[unix]", 'cli-listen = "@SOCKET@"',
        ]
        if lb:
            self.parts += ["[lb]", *(f"{key.replace('_', '-')} = {value}" for key, value in lb.items())]
        self.devices = 0

    def port(self, name, veth, *addresses, queues=1, nat4=False, vdev=None):
        """A device on a veth of the lb namespace, with its addresses."""
        number = self.devices
        self.devices += 1
        vdev = vdev or f"net_af_packet{number},iface={veth}"
        quoted = ", ".join(f'"{address}"' for address in addresses)
        self.parts += [
            "[[dpdk.dev]]", f'name = "{name}"', f'vdev = "{vdev}"', f"num-rx-queues = {queues}",
            "[[interface]]", f'name = "{name}"', f"address = [{quoted}]", 'state = "up"',
        ]
        if nat4:
            self.parts.append("lb-nat4-in = true")
        return self

    def add(self, text):
        """Any further TOML."""
        self.parts.append(text)
        return self

    def __str__(self):
        return "\n".join(self.parts) + "\n"
