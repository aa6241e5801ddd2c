"""What a soak has seen: connections, packets, buffers, memory, latency; and whether it is right."""

import itertools
import re
import statistics
import time

from topology import wait_until

# Growth of resident memory that counts as a leak, in KiB per minute, over the second half.
LEAK_KIB_PER_MINUTE = 1024


class Ledger:
    """Collects, and prints the table at the end."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.start = time.monotonic()
        self.counts = {}
        self.latency = {"before": [], "during": [], "after": []}
        self.memory = []
        self.wrong = []

    def count(self, what, number):
        """Adds to a line of the table."""
        self.counts[what] = self.counts.get(what, 0) + number

    def faults(self, done):
        """{fault: times}"""
        for name, times in done.items():
            self.count(f"fault: {name}", times)

    def probe(self, client, phase):
        """Round trips of ten pings through the load balancer's address, in ms; lost ones are none."""
        out = client.run("ping", "-c", 10, "-i", "0.02", "-W", "1", "10.10.10.254", check=False).stdout
        self.latency[phase] += [float(ms) for ms in re.findall(r"time=([0-9.]+) ms", out)]

    def connections(self, held):
        """The connections of a minute, all of which were on servers that nobody touches."""
        self.count("connections held", len(held))
        self.count("blocks checked", sum(connection["blocks"] for connection in held))
        self.count("MB checked", sum(connection["bytes"] for connection in held) / 1e6)
        broken = [connection for connection in held if connection["error"]]
        self.count("connections broken", len(broken))
        for connection in broken:
            self.wrong.append(f"broken: {connection}")

    def look(self, when):
        """Is every packet accounted for, and is every buffer back?"""
        minute = (time.monotonic() - self.start) / 60
        try:
            self.daemon.balance(timeout_s=15)
        except AssertionError as error:
            self.wrong.append(f"{when}: {error}")
        try:
            wait_until(lambda: self.daemon.buffers_used() <= self.daemon.baseline, 15, "all buffers back", 0.2)
        except AssertionError as error:
            self.wrong.append(f"{when}: {error}; {self.daemon.buffers_used()} used of {self.daemon.baseline}")
        kib = self.daemon.resident_kib()
        self.memory.append((minute, kib))
        rebuilt = self.daemon.api.get("version")["control_rebuilt"]
        print(
            f"soak: {when}: {self.counts['connections broken']} connections broken, {kib // 1024} MiB, "
            f"control rebuilt {rebuilt} times, {len(self.wrong)} violations so far", flush=True,
        )

    def restarted(self):
        """Another process has other memory."""
        self.memory.clear()

    def slope(self):
        """Growth of memory in KiB per minute since the last restart; None if that is too short to tell.

        The median of the slopes between any two points (Theil and Sen): a leak grows all the time,
        while a heap that has once become larger, as for larger tables, does not count.
        """
        # Caches have filled and tables been replaced for a while.
        points = self.memory[1:]
        if len(points) < 3:
            return None
        pairs = itertools.combinations(points, 2)
        return statistics.median((later - earlier) / (at - before) for (before, earlier), (at, later) in pairs)

    def finish(self):
        """The last checks."""
        slope = self.slope()
        self.counts["memory growth, KiB/min"] = "too short to tell" if slope is None else round(slope)
        if slope is not None and slope > LEAK_KIB_PER_MINUTE:
            self.wrong.append(f"memory grows by {slope:.0f} KiB a minute: {self.memory}")
        log = self.daemon.log.read_text(errors="replace")
        panics = re.findall(r"panicked at (.*\n.*)", log)
        strange = [what for what in panics if "asked for it" not in what]
        if strange:
            self.wrong.append(f"panics that nobody asked for: {strange}")
        self.counts["panics asked for"] = len(panics) - len(strange)

    @staticmethod
    def percentile(values, share):
        """The value that this share of all does not exceed."""
        return sorted(values)[min(len(values) - 1, int(len(values) * share))] if values else None

    def table(self):
        """Prints everything; returns the list of violations."""
        print(f"\nsoak: {(time.monotonic() - self.start) / 60:.1f} minutes")
        for what, number in self.counts.items():
            print(f"  {what:<40} {number:>14,.0f}" if isinstance(number, (int, float)) else f"  {what:<40} {number}")
        for phase, values in self.latency.items():
            p50, p99 = self.percentile(values, 0.5), self.percentile(values, 0.99)
            print(f"  ping {phase:<35} p50 {p50} ms, p99 {p99} ms, {len(values)} answers")
        for wrong in self.wrong:
            print(f"  VIOLATION {wrong}")
        print("soak: every promise was kept" if not self.wrong else f"soak: {len(self.wrong)} violations")
        return self.wrong
