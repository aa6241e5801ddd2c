"""`sluiced --supervise` for a test: the daemon is a child that may be killed."""

import http.client
import os
from pathlib import Path

from daemon import SLUICED, Daemon, Refused
from topology import wait_until


class Supervised(Daemon):
    """As `Daemon`; `process` is the supervisor."""

    def launch(self):
        with open(self.log, "ab") as log:
            self.process = self.topology.lb.start(
                SLUICED, "--supervise", "--config", self.config, stdout=log, stderr=log
            )

    def child(self):
        """The daemon's process number, or None while it does not answer."""
        try:
            return self.api.get("version")["pid"]
        except (OSError, http.client.HTTPException, Refused):
            return None

    def restarted(self, before):
        """Waits until another daemon answers than the one with this number; returns its number."""
        return wait_until(
            lambda: (pid := self.child()) and pid != before and pid, 20, f"a restart; {self.tail()}"
        )

    def resident_kib(self):
        """Memory of the daemon that is resident, in KiB."""
        status = Path(f"/proc/{self.child()}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1])

    def _dpdk_files(self):
        # Those of a child that was killed are removed by the next one.
        return set()

    def kill(self):
        """kill -9 of the supervisor and its child."""
        child = self.child()
        super().kill()
        if child:
            os.kill(child, 9)
