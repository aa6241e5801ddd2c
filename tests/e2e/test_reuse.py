"""A new connection from the source port of the last one works at once, on the same server (A-07)."""

import socket
import struct
import time

import pytest
from topology import wait_until

VIP, PORT = "20.20.20.1", 2020


def fetch(connection, close):
    """One request; returns the server's name once the connection is over."""
    head = b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n" if close else b"GET / HTTP/1.1\r\n\r\n"
    connection.sendall(head)
    answer = b""
    while b"\r\n\r\n" not in answer or not answer.endswith(b"\n"):
        part = connection.recv(4096)
        if not part:
            break
        answer += part
    return answer.split(b"\r\n\r\n")[1].split()[0].decode()


def closed(farm, port):
    """The client's last connection from `port` is over: its own last ACK has come back."""
    return lambda: f":{port} " not in farm.client.run("ss", "-tanH").stdout


@pytest.mark.parametrize("who", ["server closes first", "client resets"])
def test_one_source_port_twelve_times(farm, who):
    servers, times = [], []
    for _ in range(12):
        # The client's kernel would refuse the port any sooner.
        wait_until(closed(farm, 55001), what="closed", interval_s=0.001)
        started = time.monotonic()
        connection = farm.client.tcp(VIP, PORT, source_port=55001)
        if who == "server closes first":
            servers.append(fetch(connection, close=True))
            assert connection.recv(1) == b""
        else:
            servers.append(fetch(connection, close=False))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        times.append(time.monotonic() - started)
    assert len(set(servers)) == 1, servers
    # A lost SYN costs the client a whole second before it tries again.
    assert max(times) < 1, times
    assert farm.daemon.vip(VIP, PORT)["first session packet"] == 12


def test_the_same_source_port_to_two_vips_one_after_the_other(farm):
    for _ in range(6):
        for vip in farm.VIPS:
            # A server that gets the next connection before the last ACK of the old one is
            # through could not tell them apart.
            wait_until(closed(farm, 55002), what="closed", interval_s=0.001)
            connection = farm.client.tcp(vip, PORT, source_port=55002)
            assert fetch(connection, close=True) in farm.SERVERS
            assert connection.recv(1) == b""
            connection.close()
