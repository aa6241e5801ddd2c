"""A server for the tests: `server.py http|udp NAME@ADDRESS:PORT...`; prints `ready` when listening.

http: answers GET with "NAME CLIENT-ADDRESS CLIENT-PORT". It keeps the connection unless asked
not to; then it closes first. `/bytes/N` answers N bytes, `/slow/N` waits N milliseconds.
udp: answers each datagram with "NAME CLIENT-ADDRESS CLIENT-PORT " and the datagram.
"""

import asyncio
import socket
import sys


class Http(asyncio.Protocol):
    """One connection. Small on purpose: the load test is about the load balancer's speed."""

    def __init__(self, name):
        self.name = name
        self.pending = b""

    def connection_made(self, transport):
        self.transport = transport
        self.peer = transport.get_extra_info("peername")

    def data_received(self, data):
        self.pending += data
        while (end := self.pending.find(b"\r\n\r\n")) >= 0:
            head, self.pending = self.pending[:end], self.pending[end + 4:]
            self.answer(head)

    def answer(self, head):
        path = head.split(b" ", 2)[1].decode()
        close = b"connection: close" in head.lower() or b"HTTP/1.0" in head
        if path.startswith("/slow/"):
            wait_s = int(path.rsplit("/", 1)[1]) / 1000
            asyncio.get_running_loop().call_later(wait_s, self.respond, self.identity(), close)
        elif path.startswith("/bytes/"):
            self.respond(b"x" * int(path.rsplit("/", 1)[1]), close)
        else:
            self.respond(self.identity(), close)

    def identity(self):
        return f"{self.name} {self.peer[0]} {self.peer[1]}\n".encode()

    def respond(self, body, close):
        if self.transport.is_closing():
            return
        connection = "close" if close else "keep-alive"
        self.transport.write(
            f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n"
            f"Connection: {connection}\r\n\r\n".encode() + body
        )
        if close:
            self.transport.close()


class Udp(asyncio.DatagramProtocol):
    """Echoes datagrams with a prefix."""

    def __init__(self, name):
        self.name = name

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, peer):
        self.transport.sendto(f"{self.name} {peer[0]} {peer[1]} ".encode() + data, peer)


async def main(protocol, listeners):
    loop = asyncio.get_running_loop()
    for listener in listeners:
        name, _, where = listener.partition("@")
        address, port = where.rsplit(":", 1)
        where = (address, int(port))
        if protocol == "http":
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            made = socket.create_server(where, family=family, backlog=4096)
            await loop.create_server(lambda name=name: Http(name), sock=made)
        else:
            await loop.create_datagram_endpoint(lambda name=name: Udp(name), local_addr=where)
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main(sys.argv[1], sys.argv[2:]))
