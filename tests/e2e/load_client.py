"""Opens COUNT short HTTP connections to ADDRESS:PORT, AT_ONCE in flight, and reports what happened.

Usage: load_client.py ADDRESS PORT COUNT AT_ONCE SERVER...
Prints one JSON object: {"ok": n, "wrong": n, "refused": n, "reset": n, "timeout": n, "other": [...]}.
An answer is right when it names one of SERVER..., and the client's own address and source port.
"""

import asyncio
import json
import sys


async def fetch(address, port, servers, result):
    reader, writer = await asyncio.open_connection(address, port)
    try:
        source, source_port = writer.get_extra_info("sockname")
        writer.write(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        answer = await reader.read(-1)
        head, _, body = answer.partition(b"\r\n\r\n")
        name, seen, seen_port = body.decode().split()
        right = head.startswith(b"HTTP/1.1 200") and name in servers
        right = right and (seen, int(seen_port)) == (source, source_port)
        result["ok" if right else "wrong"] += 1
    finally:
        writer.close()


async def main(address, port, count, at_once, servers):
    result = {"ok": 0, "wrong": 0, "refused": 0, "reset": 0, "timeout": 0, "other": []}
    left = iter(range(count))

    async def worker():
        for _ in left:
            try:
                await asyncio.wait_for(fetch(address, port, servers, result), 10)
            except ConnectionRefusedError:
                result["refused"] += 1
            except ConnectionResetError:
                result["reset"] += 1
            except asyncio.TimeoutError:
                result["timeout"] += 1
            except Exception as error:
                result["other"].append(repr(error))

    await asyncio.gather(*(worker() for _ in range(at_once)))
    print(json.dumps(result))


address, port, count, at_once, *servers = sys.argv[1:]
asyncio.run(main(address, int(port), int(count), int(at_once), set(servers)))
