"""A server with a kernel of its own: QEMU without hardware help, on taps in network namespaces.

Servers in network namespaces share this machine's kernel, which may lack what a test is about (this
one's tunnels, say). A guest is Debian's kernel, so what works on it works on a Debian server.
"""

import base64
import contextlib
import fcntl
import hashlib
import itertools
import os
import select
import shlex
import struct
import subprocess
import time

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_TAP, IFF_NO_PI = 1, 2, 0x1000
_serial = itertools.count(1)


def open_tap(namespace, name, kind=IFF_TAP):
    """A new tap (or tun) interface `name` in a namespace, up; returns the file it hangs on."""
    with namespace.entered():
        file = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.ioctl(file, TUNSETIFF, struct.pack("16sH22x", name.encode(), kind | IFF_NO_PI))
        except OSError:
            os.close(file)
            raise
    namespace.run("ip", "link", "set", name, "up")
    return file


# How often a command is tried whose line lost bytes.
ATTEMPTS = 5


def md5(line):
    """What md5sum prints of a line, without its newline."""
    return hashlib.md5(line + b"\n", usedforsecurity=False).hexdigest().encode()


class CommandFailed(AssertionError):
    """A command inside a guest ended with a status other than 0."""


class Guest:
    """One virtual machine. Its interfaces are eth0, eth1…, one for each tap it was given."""

    def __init__(self, image, topology, name="guest", memory_mb=256):
        self.image = image
        self.name = name
        self.directory = topology.directory
        self.memory_mb = memory_mb
        self.number = next(_serial)
        self.taps = []
        self.process = None
        self.console = self.directory / f"{name}-console.log"

    def wire(self, namespace, tap, mac=None):
        """Gives it an interface that is the tap `tap` of a namespace; returns its MAC address."""
        index = len(self.taps)
        mac = mac or f"02:00:00:{self.number & 0xFF:02x}:03:{index + 1:02x}"
        self.taps.append((open_tap(namespace, tap), mac, namespace))
        return mac

    def start(self, setup="", timeout_s=120):
        """Boots it, and runs a setup script inside."""
        files = [file for file, _, _ in self.taps]
        namespace = self.taps[0][2]
        command = [
            "qemu-system-x86_64", "-accel", "tcg", "-machine", "pc", "-cpu", "max",
            "-m", str(self.memory_mb), "-nodefaults", "-no-user-config", "-no-reboot",
            "-display", "none", "-kernel", self.image.kernel, "-initrd", self.image.initrd,
            "-append", "console=ttyS0 quiet panic=-1 mitigations=off random.trust_cpu=on",
            "-serial", f"file:{self.console}",
            "-chardev", "stdio,id=commands,signal=off", "-serial", "chardev:commands",
        ]
        for index, (file, mac, _) in enumerate(self.taps):
            command += [
                "-netdev", f"tap,id=net{index},fd={file}",
                "-device", f"virtio-net-pci,netdev=net{index},mac={mac},romfile=",
            ]
        self.process = namespace.start(
            *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=files, bufsize=0
        )
        for file in files:
            os.close(file)
        self.taps = [(None, mac, namespace) for _, mac, namespace in self.taps]
        self.pending, self.number = b"", 0
        self._line(timeout_s, b"ready")
        if setup:
            self.run(setup)
        return self

    def _line(self, timeout_s, wanted=None):
        """The next line from inside; if `wanted` is given, the next one that is that."""
        deadline = time.monotonic() + timeout_s
        while True:
            line, newline, rest = self.pending.partition(b"\n")
            if newline:
                self.pending = rest
                line = line.strip()
                if wanted is None or line == wanted:
                    return line
                continue
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                raise AssertionError(f"{self.name} says nothing within {timeout_s} s; {self.tail()}")
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data:
                raise AssertionError(f"{self.name} is gone ({self.process.poll()}); {self.tail()}")
            self.pending += data

    def _answer(self, script, timeout_s):
        """Status and output of a script, both as they come; asks again where the line lost some bytes."""
        self.number += 1
        number, command, send = b"%d" % self.number, script, True
        for _ in range(ATTEMPTS):
            rest = number + b" " + command
            if send:
                self.process.stdin.write(md5(rest) + b" " + rest + b"\n")
            line, send = self._line(timeout_s), True
            if line == b"unclear":
                continue
            checksum, _, answer = line.partition(b" ")
            answered, _, answer = answer.partition(b" ")
            if checksum != md5(answered + b" " + answer):
                command = b"again"
            elif answered == number:
                return answer
            else:
                # An earlier answer: asked for again as this script was never run, or late.
                command, send = script, command == b"again"
        raise AssertionError(f"{self.name} is not to be understood: {line[:200]}; {self.tail()}")

    def run(self, script, check=True, timeout_s=120):
        """Runs a shell script inside, as root; returns its output.

        The script ends at the first command that fails; unless `check` is off that is an error.
        """
        status, _, output = self._answer(base64.b64encode(script.encode()), timeout_s).partition(b" =")
        output = base64.b64decode(output).decode(errors="replace")
        if check and status != b"0":
            raise CommandFailed(f"{self.name}: status {status.decode()} of\n{script}\n{output}")
        return output

    def serve(self, name, port=80, where="[::]", namespace=None):
        """An HTTP server: `/` says NAME, `/cgi-bin/who` NAME and the client, `/10M` is `blob()`."""
        inside = f"ip netns exec {shlex.quote(namespace)} " if namespace else ""
        self.run(
            f"mkdir -p /srv/{name} && cd /srv/{name}\n"
            f"ln -sf /www/10M 10M; ln -sfn /www/cgi-bin cgi-bin; echo {name} >index.html\n"
            f"SLUICE_NAME={name} {inside}httpd -p '{where}:{port}' -h /srv/{name}\n"
        )

    def counter(self, name, namespace=None):
        """A counter of /proc/net/snmp, netstat or snmp6, as `TcpInErrs` or `Ip6InReceives`."""
        inside = f"ip netns exec {shlex.quote(namespace)} " if namespace else ""
        text = self.run(f"{inside}cat /proc/net/snmp /proc/net/netstat; {inside}cat /proc/net/snmp6")
        lines = text.splitlines()
        for head, values in zip(lines, lines[1:]):
            group, _, names = head.partition(":")
            if values.startswith(group + ":") and name.startswith(group):
                with contextlib.suppress(ValueError):
                    return int(values.split()[1 + names.split().index(name.removeprefix(group))])
        for line in lines:
            if line.split()[:1] == [name]:
                return int(line.split()[1])
        raise KeyError(name)

    def tail(self, lines=25):
        """The end of what the kernel printed, for messages."""
        text = self.console.read_text(errors="replace") if self.console.exists() else ""
        return "console:\n" + "\n".join(text.splitlines()[-lines:])

    def stop(self):
        """Ends the virtual machine: there is nothing in it to keep."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()
            self.process = None
        for file, _, _ in self.taps:
            if file is not None:
                os.close(file)
        self.taps = []
