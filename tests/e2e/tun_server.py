"""Takes packets out of tunnels in a namespace whose kernel has no tunnel devices: `tun_server.py [GUE-PORT]`.

Makes the interface `tun0` and hands it every packet that arrives inside IPIP, GRE or GUE, over IPv4
or IPv6, exactly as it was inside. The kernel then sees what it would see from a tunnel device.
Prints `ready` when packets are taken.
"""

import fcntl
import os
import select
import socket
import struct
import subprocess
import sys

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 1, 0x1000
GUE_PORT = 6080


def inside(data, ip4, protocol):
    """The packet inside what a raw socket of `protocol` received; None if there is none."""
    if ip4:
        data = data[4 * (data[0] & 15):]
    if protocol == 47:
        # Flags and version 0, then the Ethernet type: no key, no checksum (RFC 2784).
        return data[4:] if data[:4] in (b"\0\0\x08\x00", b"\0\0\x86\xdd") else None
    return data


def main():
    tun = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"tun0", IFF_TUN | IFF_NO_PI))
    subprocess.run(["ip", "link", "set", "tun0", "mtu", "9000", "up"], check=True)
    subprocess.run(
        ["sysctl", "-qw", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.tun0.rp_filter=0"], check=True
    )
    sockets = {}
    for family in (socket.AF_INET, socket.AF_INET6):
        for protocol in (4, 41, 47):
            sockets[socket.socket(family, socket.SOCK_RAW, protocol)] = (family == socket.AF_INET, protocol)
        made = socket.socket(family, socket.SOCK_DGRAM)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(("", int(sys.argv[1]) if len(sys.argv) > 1 else GUE_PORT))
        # GUE variant 1: the UDP payload is the packet.
        sockets[made] = (False, 17)
    print("ready", flush=True)
    while True:
        for ready in select.select(list(sockets), [], [])[0]:
            packet = inside(ready.recv(65536), *sockets[ready])
            if packet and packet[0] >> 4 in (4, 6):
                os.write(tun, packet)


main()
