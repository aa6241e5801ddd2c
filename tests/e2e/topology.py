"""Networks made of Linux network namespaces, with the load balancer's own namespace in the middle.

Every name begins with ``sluice-PID-``, so that what a killed run left behind is recognised and two
runs never meet. Sockets are made inside a namespace and used by the test process itself.
"""

import atexit
import contextlib
import ctypes
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_serial = itertools.count()


def run(*command, check=True, timeout=30, **options):
    """Runs a command to its end; its output is part of the error when it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=timeout, **options,
    )
    if check and done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}")
    return done


def _setns(fd):
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def wait_until(condition, timeout_s=10, what="condition", interval_s=0.02):
    """Polls until `condition` returns something true, and returns that."""
    deadline = time.monotonic() + timeout_s
    while True:
        if value := condition():
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout_s} s")
        time.sleep(interval_s)


class Namespace:
    """A network namespace: no IPv6 unless asked for, no forwarding, loopback up."""

    def __init__(self, name):
        self.name = f"sluice-{os.getpid()}-{next(_serial)}-{name}"
        self.short = name
        self.processes = []
        run("ip", "netns", "add", self.name)
        self.run(
            "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1",
            "net.ipv6.conf.default.disable_ipv6=1", "net.ipv4.ip_forward=0",
        )
        self.run("ip", "link", "set", "lo", "up")

    def enable_ipv6(self, *interfaces):
        """IPv6 on loopback and these interfaces, without router advertisements.

        An address is usable at once: duplicate address detection would only delay the tests.
        """
        for interface in ("all", "default", "lo", *interfaces):
            base = f"net.ipv6.conf.{interface}"
            self.run("sysctl", "-qw", f"{base}.accept_ra=0", f"{base}.accept_dad=0", f"{base}.disable_ipv6=0")

    def run(self, *command, **options):
        """Runs a command inside, to its end."""
        return run("ip", "netns", "exec", self.name, *command, **options)

    def start(self, *command, **options):
        """Starts a command inside; it ends with the namespace."""
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL} | options
        process = subprocess.Popen(
            ["ip", "netns", "exec", self.name, *(str(word) for word in command)], **options
        )
        self.processes.append(process)
        return process

    @contextlib.contextmanager
    def entered(self):
        """The calling thread is inside the namespace within the `with` block."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        inside = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            _setns(inside)
            yield
        finally:
            _setns(home)
            os.close(inside)
            os.close(home)

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_STREAM, protocol=0):
        """A socket that lives in this namespace; it times out after 5 s."""
        with self.entered():
            made = socket.socket(family, kind, protocol)
        made.settimeout(5)
        return made

    def tcp(self, address, port, source_port=None, options=()):
        """A TCP connection from here."""
        made = self.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        try:
            for option in options:
                made.setsockopt(*option)
            if source_port is not None:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                made.bind(("::" if ":" in address else "0.0.0.0", source_port))
            made.connect((address, port))
        except OSError:
            made.close()
            raise
        return made

    def udp(self):
        """An unconnected UDP socket."""
        return self.socket(kind=socket.SOCK_DGRAM)

    def packets(self, interface="eth0"):
        """A raw socket that sends and receives whole Ethernet frames."""
        with self.entered():
            made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            made.bind((interface, 0))
        made.settimeout(5)
        return made

    def mac(self, interface="eth0"):
        """The interface's address, as text."""
        return self.run("cat", f"/sys/class/net/{interface}/address").stdout.strip()

    def curl(self, url, *arguments, check=True, max_time_s=5):
        """Fetches a URL and returns the body, or None when it failed and `check` is off."""
        done = self.run("curl", "-sS", "-m", max_time_s, *arguments, url, check=check)
        return done.stdout if done.returncode == 0 else None

    def ping(self, address, *arguments, count=3):
        """Pings and returns how many answers came."""
        done = self.run(
            "ping", "-c", count, "-i", "0.2", "-W", "2", *arguments, address, check=False
        )
        return done.stdout.count("bytes from")

    def close(self):
        """Ends the processes that were started inside, then removes the namespace."""
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        # What those left: only processes inside our own namespace.
        for pid in run("ip", "netns", "pids", self.name, check=False).stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        run("ip", "netns", "delete", self.name, check=False)


class Topology:
    """The load balancer's namespace `lb` and the hosts that are wired to it."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.namespaces = {}
        atexit.register(self.close)
        self.lb = self.add("lb")
        self.ports = {}

    def add(self, name):
        """A namespace without links."""
        made = self.namespaces[name] = Namespace(name)
        return made

    def host(self, name, *addresses, gateway, mtu=1500):
        """A namespace with interface `eth0`, wired to interface `NAME` of the load balancer's.

        Both MAC addresses are fixed: 02:..:01:NN is the host's, 02:..:02:NN the load balancer's.
        `gateway` is one address, or a list with one for each family.
        """
        made = self.add(name)
        self.wire(made, name, *addresses, gateway=gateway, mtu=mtu)
        return made

    def wire(self, made, name, *addresses, gateway, mtu=1500):
        """Gives a namespace its `eth0`, as `host` does; again, when the link was deleted."""
        port = self.ports.get(name, f"v{len(self.ports) + 1}")
        number = int(port[1:])
        run(
            "ip", "link", "add", "eth0", "address", f"02:00:00:00:01:{number:02x}", "mtu", mtu,
            "netns", made.name, "type", "veth",
            "peer", "name", port, "address", f"02:00:00:00:02:{number:02x}", "mtu", mtu,
            "netns", self.lb.name,
        )
        for namespace, interface in ((made, "eth0"), (self.lb, port)):
            namespace.run(
                "ethtool", "-K", interface,
                "tx", "off", "rx", "off", "tso", "off", "gso", "off", "gro", "off",
            )
        if any(":" in address for address in addresses):
            made.enable_ipv6("eth0")
        for address in addresses:
            made.run("ip", "address", "add", address, "dev", "eth0")
        self.lb.run("ip", "link", "set", port, "up")
        made.run("ip", "link", "set", "eth0", "up")
        for hop in [gateway] if isinstance(gateway, str) else gateway:
            made.run("ip", "route", "add", "default", "via", hop)
        self.ports[name] = port

    def connect(self, one, interface, other, far_interface):
        """A link between two namespaces, up, without addresses and without offloads."""
        run(
            "ip", "link", "add", interface, "netns", one.name, "type", "veth",
            "peer", "name", far_interface, "netns", other.name,
        )
        for namespace, name in ((one, interface), (other, far_interface)):
            namespace.run(
                "ethtool", "-K", name, "tx", "off", "rx", "off", "tso", "off", "gso", "off", "gro", "off"
            )
            namespace.run("ip", "link", "set", name, "up")

    def serve(self, host, *names, protocol="http"):
        """Starts tests/e2e/server.py inside `host`, once for all NAME@ADDRESS:PORT in `names`."""
        process = host.start(
            sys.executable, Path(__file__).with_name("server.py"), protocol, *names,
            stdout=subprocess.PIPE,
        )
        assert process.stdout.readline() == b"ready\n", "the server did not start"
        return process

    def capture(self, host, *expression, interface="eth0"):
        """Starts a capture in `host`; see `Capture`."""
        return Capture(self, host, interface, expression)

    def close(self):
        """Removes everything; safe to call twice."""
        atexit.unregister(self.close)
        for name in list(self.namespaces):
            self.namespaces.pop(name).close()


class Capture:
    """Frames seen at a host, by tcpdump; `stop` returns them parsed."""

    def __init__(self, topology, host, interface, expression):
        self.file = topology.directory / f"{host.short}-{next(_serial)}.pcap"
        self.process = host.start(
            "tcpdump", "-i", interface, "--immediate-mode", "-U", "-n", "-s", "0", "-B", "16384", "-w", self.file,
            *expression, stderr=subprocess.PIPE,
        )
        line = self.process.stderr.readline()
        assert b"listening" in line, line

    def stop(self, settle_s=0.3):
        """Ends the capture and returns a list of scapy packets."""
        from scapy.utils import rdpcap

        time.sleep(settle_s)
        self.process.send_signal(signal.SIGINT)
        self.process.wait(10)
        return rdpcap(str(self.file))
