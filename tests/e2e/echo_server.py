"""Sends back what it gets, after a line with its name: `echo_server.py NAME@ADDRESS:PORT...`.

Prints `ready` when it listens on all of them.
"""

import asyncio
import sys


async def main(listeners):
    for listener in listeners:
        name, _, where = listener.partition("@")
        address, _, port = where.rpartition(":")

        async def echo(reader, writer, name=name):
            try:
                writer.write(f"{name}\n".encode())
                while data := await reader.read(65536):
                    writer.write(data)
                    await writer.drain()
            except OSError:
                pass
            finally:
                writer.close()

        await asyncio.start_server(echo, address, int(port), backlog=1024)
    print("ready", flush=True)
    await asyncio.Event().wait()


asyncio.run(main(sys.argv[1:]))
