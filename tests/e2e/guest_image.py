"""The disk of the tests' virtual servers: a Debian kernel and an initial RAM disk that is all there is.

The kernel comes from Debian's package as it is, unpacked and never installed. `test.sh packages`
downloads it. The RAM disk holds busybox, iproute2 and nft of this machine, the kernel's network
modules, and a 10 MB file.
"""

import random
import shutil
import subprocess
from pathlib import Path

from daemon import BINARIES
from topology import run

# What is loaded on demand inside: link types, packet filters, and what the virtual NICs need.
MODULES = (
    "kernel/net/ipv4", "kernel/net/ipv6", "kernel/net/core", "kernel/net/802", "kernel/net/8021q",
    "kernel/net/llc", "kernel/net/bridge", "kernel/net/netfilter", "kernel/lib",
    "kernel/drivers/virtio", "kernel/drivers/net/virtio_net.ko", "kernel/drivers/net/dummy.ko",
    "kernel/drivers/net/veth.ko", "kernel/drivers/net/net_failover.ko", "kernel/net/core/failover.ko",
)
PROGRAMS = ("ip", "nft", "dash")
BLOB_BYTES = 10_000_000

# The first process. It serves commands on the second serial port, which may lose bytes on a busy machine:
# a line in is the MD5 sum of the rest, a number, and a script in base64; a line out is the same of the
# number, exit status, and `=` and the output. `again` for a script asks for the last answer, and `unclear`
# for one. Scripts go to dash: busybox's own shell would run busybox's `ip`, which knows few tunnels,
# whatever PATH says.
INIT = r"""#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /run /tmp /var
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t tmpfs run /run
/bin/busybox ln -s /run /var/run
/bin/busybox --install -s /bin
export PATH=/usr/sbin:/sbin:/bin HOME=/root
modprobe virtio_pci
modprobe virtio_net
ip link set lo up
exec 3<>/dev/ttyS1
stty raw -echo <&3
echo ready >&3
while read -r sum number line <&3; do
    if [ "$(echo "$number $line" | md5sum | cut -c1-32)" != "$sum" ]; then
        echo unclear >&3
        continue
    fi
    if [ "$line" != again ]; then
        echo "$line" | base64 -d >/tmp/script
        dash -e /tmp/script >/tmp/output 2>&1 </dev/null
        echo "$number $? =$(base64 /tmp/output | tr -d '\n')" >/tmp/answer
    fi
    echo "$(md5sum </tmp/answer | cut -c1-32) $(cat /tmp/answer)" >&3
done
"""

# Says who serves, and whom: "NAME CLIENT-ADDRESS CLIENT-PORT", as server.py does.
WHO = r"""#!/bin/busybox sh
printf 'Content-Type: text/plain\r\n\r\n'
client=${REMOTE_ADDR#[}
client=${client%]}
echo "$SLUICE_NAME ${client#::ffff:} $REMOTE_PORT"
"""

# Takes an upload, and answers its length and SHA-256.
UPLOAD = r"""#!/bin/busybox sh
printf 'Content-Type: text/plain\r\n\r\n'
head -c "$CONTENT_LENGTH" | tee /tmp/upload.$$ | sha256sum | cut -d' ' -f1
stat -c %s /tmp/upload.$$
rm /tmp/upload.$$
"""


def blob():
    """The content of `/10M` on every guest's server; no two parts of it are alike."""
    return random.Random(20).randbytes(BLOB_BYTES)


def kernel_package():
    """The Debian package of the kernel that test.sh downloaded."""
    found = sorted((BINARIES.parent / "guest").glob("linux-image-*-cloud-amd64_*.deb"))
    assert found, "there is no kernel for the virtual servers: run ./test.sh packages"
    return found[-1]


class GuestImage:
    """Kernel and RAM disk in `directory`, made once and used by every guest of a session."""

    def __init__(self, directory):
        self.directory = Path(directory)
        package = self.directory / "package"
        # Minutes, where others keep the CPUs busy: all guests wait for it.
        run("dpkg-deb", "-x", kernel_package(), package, timeout=300)
        (self.kernel,) = (package / "boot").glob("vmlinuz-*")
        self.release = self.kernel.name.removeprefix("vmlinuz-")
        self.initrd = self.directory / "initrd"
        root = self.directory / "root"
        for name in ("bin", "sbin", "usr/sbin", "www/cgi-bin", "root"):
            (root / name).mkdir(parents=True)
        busybox = Path(shutil.which("busybox"))
        shutil.copy(busybox, root / "bin/busybox")
        (root / "sbin/modprobe").symlink_to("/bin/busybox")
        for name in PROGRAMS:
            self._add_program(root, name)
        self._add_modules(root, package / "lib/modules" / self.release)
        self._add_script(root / "init", INIT)
        self._add_script(root / "www/cgi-bin/who", WHO)
        self._add_script(root / "www/cgi-bin/upload", UPLOAD)
        (root / "www/10M").write_bytes(blob())
        self._pack(root)
        shutil.rmtree(root)

    def _add_script(self, path, text):
        path.write_text(text)
        path.chmod(0o755)

    def _add_program(self, root, name):
        """Copies a program and the shared libraries that it says it needs."""
        program = Path(shutil.which(name, path="/usr/sbin:/sbin:/usr/bin:/bin")).resolve()
        shutil.copy(program, root / "usr/sbin" / name)
        for word in run("ldd", program).stdout.split():
            if word.startswith("/"):
                copy = root / word.lstrip("/")
                if not copy.exists():
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(word, copy)

    def _add_modules(self, root, source):
        target = root / "lib/modules" / self.release
        for name in MODULES:
            found = source / name
            files = found.rglob("*.ko") if found.is_dir() else [found] if found.exists() else []
            for file in files:
                copy = target / file.relative_to(source)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, copy)
        for name in ("modules.builtin", "modules.order"):
            shutil.copy(source / name, target / name)
        run("busybox", "depmod", "-b", root, self.release, timeout=300)

    def _pack(self, root):
        names = ["."] + sorted(str(p.relative_to(root)) for p in root.rglob("*"))
        with open(self.initrd, "wb") as out:
            subprocess.run(
                ["cpio", "--create", "--format=newc", "--quiet", "--owner=0:0"],
                input="\n".join(names).encode(), stdout=out, cwd=root, check=True,
            )
