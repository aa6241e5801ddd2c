"""Holds connections to echo servers and checks by SHA-256 that every block of random bytes comes back.

Usage: echo_client.py SECONDS COUNT ADDRESS:PORT...
Opens COUNT connections to each address, and prints `open` when all have a server; after SECONDS, or
after SIGTERM, prints a JSON list with, for each connection, its `service` (ADDRESS:PORT), `server`
(the name that it said first), `blocks` and `bytes` that came back, `slowest_ms`, and `error`, which is
null unless the connection broke or brought other bytes.
"""

import asyncio
import hashlib
import json
import os
import random
import signal
import sys
import time

BLOCK = 6000
# Between two blocks of a connection.
PAUSE_S = 0.05
# A block that takes longer is lost: by then TCP has sent it again several times.
PATIENCE_S = 15


class Held:
    """One connection."""

    def __init__(self, service):
        self.service = service
        self.server = None
        self.blocks = self.bytes = 0
        self.slowest_ms = 0.0
        self.error = None

    async def open(self):
        """Connects and learns the server's name."""
        try:
            address, _, port = self.service.rpartition(":")
            connecting = asyncio.open_connection(address, int(port))
            self.reader, self.writer = await asyncio.wait_for(connecting, PATIENCE_S)
            line = await asyncio.wait_for(self.reader.readline(), PATIENCE_S)
            self.server = line.decode().strip() or None
        except (OSError, asyncio.TimeoutError) as error:
            self.error = f"opening: {error!r}"

    async def exchange(self, ended):
        """Sends blocks and checks what comes back, until `ended` is set."""
        while not ended.is_set() and not self.error:
            data = os.urandom(random.randint(1, BLOCK))
            start = time.monotonic()
            try:
                self.writer.write(data)
                answer = await asyncio.wait_for(self.reader.readexactly(len(data)), PATIENCE_S)
            except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError) as error:
                self.error = f"after {self.blocks} blocks: {error!r}"
                return
            if hashlib.sha256(answer).digest() != hashlib.sha256(data).digest():
                self.error = f"other bytes came back after {self.blocks} blocks"
                return
            self.blocks += 1
            self.bytes += len(data)
            self.slowest_ms = max(self.slowest_ms, (time.monotonic() - start) * 1000)
            await asyncio.sleep(PAUSE_S * random.uniform(0.5, 1.5))

    def result(self):
        keys = ("service", "server", "blocks", "bytes", "error")
        return {key: getattr(self, key) for key in keys} | {"slowest_ms": round(self.slowest_ms, 1)}


async def main(seconds, count, services):
    held = [Held(service) for service in services for _ in range(count)]
    await asyncio.gather(*(connection.open() for connection in held))
    print("open", flush=True)
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    loop.call_later(seconds, ended.set)
    await asyncio.gather(*(connection.exchange(ended) for connection in held))
    print(json.dumps([connection.result() for connection in held]), flush=True)


asyncio.run(main(float(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]))
