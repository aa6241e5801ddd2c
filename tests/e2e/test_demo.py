"""`demo.sh` itself: it shows what it promises, leaves nothing behind, and can be run again."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from daemon import BINARIES, REPO
from topology import run, wait_until

PREFIX = f"sluice-{os.getpid()}-demo-"
RUN_DIR = Path(f"/run/sluice-demo-{PREFIX}")


def demo(*arguments, timeout=120):
    """Runs the demo to its end; returns (status, output)."""
    done = subprocess.run(
        [REPO / "demo.sh", "--bin-dir", BINARIES, "--prefix", PREFIX, *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=timeout,
    )
    return done.returncode, done.stdout


def leftovers():
    """What a demo of ours has on the machine right now."""
    found = [n for n in run("ip", "netns", "list").stdout.split() if n.startswith(PREFIX)]
    found += [str(RUN_DIR)] if RUN_DIR.exists() else []
    found += run("pgrep", "-f", str(RUN_DIR), check=False).stdout.split()
    return found


def hugepages():
    """Reserved pages of each size on each node."""
    files = Path("/sys/devices/system/node").glob("node*/hugepages/*/nr_hugepages")
    return {str(file): file.read_text() for file in files}


@pytest.fixture(autouse=True)
def nothing_left():
    """Before and after: the machine is the same."""
    assert leftovers() == []
    before = hugepages()
    yield
    demo("--stop")
    assert leftovers() == []
    assert hugepages() == before


def test_it_shows_every_request_answered_and_cleans_up():
    status, output = demo()
    assert status == 0, output
    for vip, servers in (
        ("10.10.2.2:8080", {"web-1", "web-3"}),
        ("20.20.20.1:2020", {"server1", "server2", "server3"}),
        ("10.10.10.254:2020", {"server1", "server2", "server3"}),
    ):
        (line,) = [line for line in output.splitlines() if line.startswith(f"{vip} ")]
        answers = line.split("->")[1].split()
        assert len(answers) == 12 and set(answers) <= servers, line
    for word in ("first session packet: 12", "GigabitEthernet0/9/0", "lb4-nat4", "lb_vip_add ok"):
        assert word in output, f"{word} is not in:\n{output}"
    assert leftovers() == []


def test_keep_leaves_it_running_until_stop():
    status, output = demo("--keep")
    assert status == 0, output
    client = f"{PREFIX}client"
    answer = run("ip", "netns", "exec", client, "curl", "-sS", "-m", "5", "http://20.20.20.1:2020/")
    assert answer.stdout.split()[1] == "10.10.10.1"
    # The commands that it prints are for typing.
    assert str(RUN_DIR / "cli.sock") in output
    # Once more while one is kept: the new one takes its place.
    status, output = demo("--keep")
    assert status == 0, output
    assert demo("--stop")[0] == 0
    assert leftovers() == []


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_cleans_up(sig):
    process = start_demo()
    wait_until(lambda: (RUN_DIR / "sluiced.log").exists(), 30, "the demo got going")
    # As a terminal does: to the whole group.
    os.killpg(process.pid, sig)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + sig, output
    assert "Cleaned up" in output
    assert leftovers() == []


def test_after_kill_9_it_can_be_run_again():
    process = start_demo()
    wait_until(lambda: (RUN_DIR / "cli.sock").exists(), 30, "the demo got going")
    process.kill()
    process.communicate(timeout=60)
    assert leftovers() != []
    status, output = demo()
    assert status == 0, output
    assert "Removing what an earlier demo left" in output
    assert leftovers() == []


def test_a_failed_request_fails_the_demo(tmp_path):
    """With a sluicectl that forgets to add servers, the requests fail, and so must the demo."""
    for program in ("sluiced", "sluicectl"):
        (tmp_path / program).write_text(
            f'#!/bin/bash\n[[ "$*" == *"lb as"* ]] && exit 0\nexec {BINARIES}/{program} "$@"\n'
        )
        (tmp_path / program).chmod(0o755)
    status, output = demo("--bin-dir", str(tmp_path), timeout=400)
    assert status == 1, output
    assert "FAILED" in output
    assert leftovers() == []


def start_demo():
    """The demo in a process group of its own."""
    return subprocess.Popen(
        [REPO / "demo.sh", "--bin-dir", BINARIES, "--prefix", PREFIX],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )
