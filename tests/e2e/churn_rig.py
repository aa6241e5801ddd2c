"""A client and eight servers behind two links, with VIPs of nat4 and gre4 whose connections are held while
everything about the other servers changes."""

import http.client
import json
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

from daemon import Config

HERE = Path(__file__).parent
LB = "10.10.10.254"
# By address: the words of its creation.
VIPS = {
    "20.20.20.1": "encap nat4 type clusterip target_port 8080 new_len 2053",
    "20.20.20.2": "encap nat4 type clusterip target_port 8081 new_len 251",
    "20.20.20.3": "encap gre4 mss auto new_len 1031",
}
PORT = 2020
# Addresses of servers on each of the two links; nobody ever touches the first ones.
LINKS = ("31.31.31", "32.32.32")
UNTOUCHED, TOUCHED = (1, 2), (11, 12, 13, 14)


def key(vip):
    """The VIP as commands name it."""
    return f"{vip}/32 protocol tcp port {PORT}"


def untouched():
    """Addresses of the servers that stay as they are."""
    return [f"{link}.{last}" for link in LINKS for last in UNTOUCHED]


def touched():
    """Addresses of those that come and go."""
    return [f"{link}.{last}" for link in LINKS for last in TOUCHED]


class ChurnRig:
    """The topology, and in `config` what the daemon starts with."""

    def __init__(self, topology, **lb):
        self.topology = topology
        self.client = topology.host("client", "10.10.10.1/24", gateway=LB)
        self.config = Config(ip4_src_address=f'"{LB}"', **lb).port("client0", topology.ports["client"], f"{LB}/24")
        for number, link in enumerate(LINKS):
            name = f"servers{number}"
            addresses = [f"{link}.{last}" for last in UNTOUCHED + TOUCHED]
            host = topology.host(name, *(f"{a}/24" for a in addresses), gateway=f"{link}.254")
            host.run("ip", "address", "add", "20.20.20.3/32", "dev", "lo")
            host.run("sysctl", "-qw", "net.ipv4.conf.all.arp_ignore=1", "net.ipv4.conf.all.arp_announce=2")
            self.ready(host.start(sys.executable, HERE / "tun_server.py", stdout=subprocess.PIPE))
            listeners = [f"{a}@{a}:{listening}" for a in addresses for listening in (8080, 8081)]
            # Behind a tunnel all servers of a host are the same one.
            listeners.append(f"{link}@20.20.20.3:{PORT}")
            self.ready(host.start(sys.executable, HERE / "echo_server.py", *listeners, stdout=subprocess.PIPE))
            self.config.port(name, topology.ports[name], f"{link}.254/24", nat4=True)
        self.configure()

    @staticmethod
    def ready(process):
        """Waits until a server says that it listens."""
        assert process.stdout.readline() == b"ready\n", "the server did not start"

    def configure(self):
        """The VIPs, in the file: a reload is to find the untouched servers there."""
        for vip, words in VIPS.items():
            words = words.split()
            lines = [f'[[vip]]\nprefix = "{vip}/32"\nprotocol = "tcp"\nport = {PORT}']
            for name, value in zip(words[::2], words[1::2]):
                quoted = value if value.isdigit() else f'"{value}"'
                lines.append(f"{name.replace('_', '-')} = {quoted}")
            servers = ", ".join(f'"{server}"' for server in untouched())
            self.config.add("\n".join(lines + [f"as = [{servers}]"]))

    def hold(self, seconds, count):
        """Opens `count` connections to each VIP, which exchange checked blocks for so long."""
        services = [f"{vip}:{PORT}" for vip in VIPS]
        process = self.client.start(
            sys.executable, HERE / "echo_client.py", seconds, count, *services, stdout=subprocess.PIPE
        )
        assert process.stdout.readline() == b"open\n"
        return process

    @staticmethod
    def held(process, timeout_s=60):
        """The connections of `hold`, when they have ended."""
        out, _ = process.communicate(timeout=timeout_s)
        return json.loads(out)


class Changes(threading.Thread):
    """Random changes over the API, `per_second` at most, until `stop`."""

    def __init__(self, api, per_second=1000, seed=1, batch=20):
        super().__init__(daemon=True)
        self.api, self.per_second, self.batch = api, per_second, batch
        self.random = random.Random(seed)
        self.made = self.refused = self.failed_requests = 0
        self.seconds = 0.0
        self.ended = threading.Event()

    def line(self):
        """One change of a server that may be touched, or of something that no connection needs."""
        pick = self.random
        vip, server = pick.choice(list(VIPS)), pick.choice(touched())
        command = f"lb as {key(vip)} {server}"
        return pick.choice(
            [command] * 5
            + [f"{command} weight {pick.randint(0, 100)}"] * 3
            + [f"{command} del"] * 3
            + [f"{command} del flush"] * 2
            + [f"{command} drain", f"{command} drain then del", f"{command} undrain"]
            + [
                f"lb vip 20.20.20.9/32 protocol tcp port {PORT} encap nat4 type clusterip target_port 8082",
                f"lb as 20.20.20.9/32 protocol tcp port {PORT} {server}",
                f"lb flush vip 20.20.20.9/32 protocol tcp port {PORT}",
                f"lb vip 20.20.20.9/32 protocol tcp port {PORT} del",
                f"lb vip {key(vip)} new_len {pick.choice((251, 1031, 2053))} update",
                f"ip route {pick.choice(('add', 'del'))} 99.0.0.0/8 via {untouched()[0]}",
                # Back to the file, which knows none of the servers that come and go.
                pick.choice(("reload", f"lb conf timeout {pick.choice((40, 41))}")),
            ]
            + [f"lb conf buckets {size}" for size in (16384, 32768)]
        )

    def run(self):
        start = time.monotonic()
        while not self.ended.is_set():
            due = start + self.made / self.per_second
            if (wait := due - time.monotonic()) > 0:
                self.ended.wait(wait)
                continue
            lines = [self.line() for _ in range(self.batch)]
            try:
                _, body = self.api.request("POST", "/v1/cli", "\n".join(lines))
                self.refused += sum(not result["ok"] for result in body["results"])
            except (OSError, http.client.HTTPException, ValueError, KeyError):
                # A daemon that is being started again; the tests that allow it say so.
                self.failed_requests += 1
                self.ended.wait(0.2)
            self.made += self.batch
        self.seconds = time.monotonic() - start

    def stop(self):
        """Ends it; the configuration is that of the file then."""
        self.ended.set()
        self.join()
        self.api.cli("reload")
        return self
