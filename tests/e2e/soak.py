"""Minutes of traffic, changes and faults: `soak.py [--keep-going] MINUTES`, run by ./soak.sh.

Connections with checked payload are held through churn, reloads, floods, flapping links, control that
panics, API abuse, random bytes on the wire and kill -9 of the daemon, and looked at each minute. At the end there is a table, and the exit status says whether every
promise was kept: no held connection broken, no packet unaccounted for, no buffer missing, memory steady.
Latency and refused changes are told as information.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from churn_rig import Changes, ChurnRig, untouched  # noqa: E402
from soak_faults import FAULTS, Faults  # noqa: E402
from soak_ledger import Ledger  # noqa: E402
from supervised import Supervised  # noqa: E402
from topology import Topology, wait_until  # noqa: E402

PER_VIP = 20
MINUTE_S = 60


class Soak:
    """The rig, the daemon under a supervisor, and what was seen."""

    def __init__(self, directory, minutes):
        self.minutes = minutes
        self.topology = Topology(directory)
        self.rig = ChurnRig(self.topology, buckets=65536)
        text = str(self.rig.config).replace("[unix]\n", "[unix]\ndebug-commands = true\n")
        # On tmpfs, as /run is.
        self.state = tempfile.TemporaryDirectory(prefix="sluice-soak-", dir="/dev/shm")
        text += f'[state]\ndir = "{self.state.name}"\n'
        self.daemon = Supervised(self.topology, text).start()
        self.daemon.warm(self.rig.client, *untouched())
        self.ledger = Ledger(self.daemon)
        self.faults = Faults(self.rig, self.daemon)
        self.changes = None

    def start_changes(self, seed):
        """A thousand changes a second, until `stop_changes`."""
        self.changes = Changes(self.daemon.api, seed=seed)
        self.changes.start()

    def stop_changes(self):
        self.changes.stop()
        self.ledger.count("changes", self.changes.made)
        self.ledger.count("changes refused", self.changes.refused)

    def minute(self, number, seconds, kill):
        """Traffic and faults for so long; then everything is looked at."""
        held = self.rig.hold(seconds, PER_VIP)
        self.start_changes(number)
        self.ledger.probe(self.rig.client, "before")
        until = time.monotonic() + seconds - 5
        between = lambda: self.ledger.probe(self.rig.client, "during")  # noqa: E731
        if kill:
            self.ledger.faults(self.faults.some(until - seconds / 2, between))
            self.kill()
        self.ledger.faults(self.faults.some(until, between))
        self.stop_changes()
        self.ledger.connections(self.rig.held(held))
        self.ledger.probe(self.rig.client, "after")
        self.ledger.look(f"minute {number}")

    def kill(self):
        """kill -9: the supervisor starts the daemon again, and traffic flows by itself."""
        before = self.daemon.child()
        self.faults.kill(before)
        self.daemon.restarted(before)
        self.ledger.restarted()
        wait_until(lambda: self.faults.answers(), 20, "traffic after kill -9")
        self.ledger.count("kill -9, traffic back by itself", 1)

    def run(self):
        """All of it; returns what was wrong."""
        ends = time.monotonic() + self.minutes * MINUTE_S
        number = 0
        while (left := ends - time.monotonic()) > 15:
            number += 1
            # None is killed in the second half, in which memory is watched.
            kill = number == 1 or 2 * number <= self.minutes
            self.minute(number, min(MINUTE_S - 8, left - 8), kill)
        self.ledger.finish()
        return self.ledger.table()

    def close(self):
        """Ends the daemon, which must leave nothing, and removes the namespaces."""
        try:
            if self.daemon.running():
                self.daemon.stop(timeout_s=20)
        finally:
            self.topology.close()
            self.state.cleanup()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("minutes", type=float, nargs="?", default=10)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="sluice-soak-") as directory:
        soak = Soak(Path(directory), arguments.minutes)
        print(f"soak: {arguments.minutes:g} minutes of {', '.join(FAULTS)}", flush=True)
        try:
            wrong = soak.run()
        except BaseException:
            print(soak.daemon.tail(40), file=sys.stderr)
            raise
        finally:
            soak.close()
    return 1 if wrong else 0


sys.exit(main())
