"""`benches/compare-with-vpp.sh` on made-up programs: what it does without VPP, and what it makes of both
programs' tables."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benches/compare-with-vpp.sh"

# What `show runtime` of both looks like; the clocks are the table's sixth column.
RUNTIME = """\
Thread 0 vpp_main (lcore 0)
Time 1.0, 10.000000 sec internal node vector rate 0.00 loops/sec 1203686.28
  vector rates in 0.0000e0, out 0.0000e0, drop 0.0000e0, punt 0.0000e0
             Name                 State         Calls          Vectors        Suspends      Packet-Clocks   Vectors/Call
fib-walk                       "any wait"                0               0               1          9.32e4            0.00
---------------
Thread 1 vpp_wk_0 (lcore 1)
Time 2.0, 10.000000 sec internal node vector rate 256.00 loops/sec 54858.03
  vector rates in 1.0000e6, out {out}, drop 0.0000e0, punt 0.0000e0
             Name                 State         Calls          Vectors        Suspends      Packet-Clocks   Vectors/Call
dpdk-input                       polling              7813         2000000               0          {clocks}          256.00
ip4-input                        active               7813         2000000               0          1.50e1          256.00
lb4-gre4                         active               3907         1000000               0          2.00e1          256.00
"""


class Programs:
    """A folder of programs that the script finds first."""

    def __init__(self, folder):
        self.folder = folder
        self.program("id", "echo 0")
        self.program("sleep", "exec /bin/sleep 0.01")
        # Writes the file that the script expects.
        self.program(
            "sluice-bench",
            'while (($#)); do case $1 in --pcaps) d=$2;; --flows) n=$2;; esac; shift; done\n'
            'mkdir -p "$d" && touch "$d/udp_in_64_$n.pcap" "$d/udp_out_64_$n.pcap"',
        )
        for daemon in ("sluiced", "vpp"):
            self.program(daemon, f'echo {daemon} >>{folder}/order; trap "exit 0" TERM\n'
                                 'for ((i = 0; i < 3000; i++)); do /bin/sleep 0.01; done')

    def program(self, name, text):
        file = self.folder / name
        file.write_text(f"#!/bin/bash\n{text}\n")
        file.chmod(0o755)

    def clocks(self, client, clocks, out="1.0000e6"):
        runtime = RUNTIME.format(clocks=clocks, out=out)
        (self.folder / f"{client}.runtime").write_text(runtime)
        self.program(client, f'[[ "${{*: -2}}" != "show runtime" ]] || cat {self.folder}/{client}.runtime')

    def run(self, *arguments, path="/usr/bin:/bin"):
        environment = {**os.environ, "PATH": f"{self.folder}:{path}"}
        return subprocess.run(
            [SCRIPT, *arguments], env=environment, capture_output=True, text=True, timeout=60
        )


@pytest.fixture
def programs(tmp_path):
    return Programs(tmp_path)


def test_without_vpp_it_says_so(programs):
    programs.clocks("sluicectl", "4.00e1")
    (programs.folder / "vpp").unlink()
    done = programs.run()
    assert done.returncode == 2
    assert "vpp is not installed, so there is nothing to compare with" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fast"], "there is no option '--fast'"),
        (["--encap", "gre9"], "'gre9' is not one of gre4, l3dsr, nat4, nat4-return"),
        (["--pairs", "many"], "'many' is not a number"),
        (["--flows"], "--flows needs a value"),
    ],
)
def test_wrong_arguments_are_named(programs, arguments, said):
    done = programs.run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_both_run_in_alternation_and_the_ratio_is_that_of_whole_paths(programs):
    programs.clocks("vppctl", "7.50e1")
    programs.clocks("sluicectl", "2.50e1")
    done = programs.run("--encap", "gre4", "--flows", "1000", "--pairs", "3", "--seconds", "1")
    assert done.returncode == 0, done.stderr
    # 75 or 25 in dpdk-input, 15 in ip4-input, 20 for every second packet in the balancer.
    assert done.stdout.splitlines()[-1].split() == ["gre4", "1000", "100.0", "50.0", "0.500"]
    assert (programs.folder / "order").read_text().split() == ["vpp", "sluiced"] * 3


def test_packets_that_are_not_sent_are_no_figure(programs):
    programs.clocks("sluicectl", "2.50e1", out="9.0000e5")
    done = programs.run("--sluice-only", "--encap", "gre4", "--flows", "1", "--pairs", "1")
    assert done.returncode == 2
    assert "not all packets that came were sent" in done.stderr
