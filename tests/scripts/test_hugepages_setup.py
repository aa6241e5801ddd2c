"""`hugepages-setup.sh` on made-up machines: a folder with the sysfs, procfs and /etc files it uses."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "hugepages-setup.sh"


class Machine:
    """A folder that looks like the root of a machine with NUMA nodes and hugepage sizes."""

    def __init__(self, root, nodes=(0, 1), sizes_kb=(2048, 1048576)):
        self.root = root
        places = [f"sys/devices/system/node/node{n}/hugepages" for n in nodes]
        for place in places or ["sys/kernel/mm/hugepages"]:
            for size in sizes_kb:
                folder = root / place / f"hugepages-{size}kB"
                folder.mkdir(parents=True)
                (folder / "nr_hugepages").write_text("0\n")
                (folder / "free_hugepages").write_text("0\n")
        for node in nodes:
            (root / f"sys/devices/system/node/node{node}/meminfo").write_text(
                f"Node {node} MemTotal: 8388608 kB\nNode {node} MemFree: 1048576 kB\n"
            )
        (root / "proc").mkdir()
        (root / "proc/meminfo").write_text("MemTotal: 16777216 kB\nHugepagesize: 2048 kB\n")
        (root / "proc/mounts").write_text("proc /proc proc rw 0 0\n")
        # Commands that change the real machine are replaced by ones that change this one.
        self.programs = root / "programs"
        self.programs.mkdir()
        self.program("mount", f'echo "nodev ${{@: -1}} $2 rw,$4 0 0" | sed "s# {root}# #" >>{root}/proc/mounts')
        self.program("umount", f'sed -i "\\# ${{1#{root}}} #d" {root}/proc/mounts')

    def program(self, name, text):
        file = self.programs / name
        file.write_text(f"#!/bin/bash\n{text}\n")
        file.chmod(0o755)

    def run(self, *arguments, status=0):
        environment = os.environ | {
            "SLUICE_HUGEPAGES_ROOT": str(self.root),
            "PATH": f"{self.programs}:{os.environ['PATH']}",
        }
        done = subprocess.run(
            [SCRIPT, *arguments], env=environment, capture_output=True, text=True, timeout=30
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout if status == 0 else done.stderr

    def pages(self, node, size_kb=2048):
        folder = f"sys/devices/system/node/node{node}/hugepages/hugepages-{size_kb}kB"
        return int((self.root / folder / "nr_hugepages").read_text())

    def text(self, path):
        return (self.root / path).read_text()

    def exists(self, path):
        return (self.root / path).exists()


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_reserves_on_every_node(machine):
    out = machine.run("--reserve", "64M")
    assert "node 0: 32 pages of 2M reserved (64M), was 0" in out
    assert "node 1: 32 pages of 2M reserved (64M), was 0" in out
    assert (machine.pages(0), machine.pages(1)) == (32, 32)


def test_a_second_run_changes_nothing_and_says_so(machine):
    machine.run("-r", "64M", "-m", "--persist")
    before = {p: p.read_text() for p in machine.root.rglob("*") if p.is_file()}
    out = machine.run("-r", "64M", "-m", "--persist")
    assert out.count("already") == 5, out  # two nodes, the mount, two files
    assert before == {p: p.read_text() for p in machine.root.rglob("*") if p.is_file()}


def test_one_node_and_another_page_size(machine):
    machine.run("-p", "1G", "-n", "1", "-r", "3G")
    assert machine.pages(1, 1048576) == 3
    assert machine.pages(0, 1048576) == 0
    assert machine.pages(1) == 0


def test_works_without_numa_sysfs(tmp_path):
    machine = Machine(tmp_path, nodes=())
    assert "this machine: 8 pages" in machine.run("--size", "2M", "--reserve=16M")
    assert machine.text("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages") == "8\n"


def test_at_least_never_lowers(machine):
    machine.run("-r", "64M")
    assert "32 pages of 2M already reserved" in machine.run("--at-least", "-r", "16M")
    assert machine.pages(0) == 32
    machine.run("-r", "16M")
    assert machine.pages(0) == 8


def test_clear_covers_every_size_and_node(machine):
    machine.run("-r", "64M")
    machine.run("-p", "1G", "-r", "1G")
    out = machine.run("--clear")
    assert "node 1: gave back 32 of 32 pages (2048kB)" in out
    for node in (0, 1):
        assert machine.pages(node) == machine.pages(node, 1048576) == 0


def test_setup_clears_unmounts_reserves_and_mounts(machine):
    machine.run("-p", "1G", "-r", "1G", "-m")
    out = machine.run("--setup", "32M")
    assert machine.pages(0, 1048576) == 0 and machine.pages(0) == 16
    assert "/dev/hugepages: unmounted" in out
    assert "/dev/hugepages: mounted (pagesize=2M)" in out
    assert machine.text("proc/mounts").count("hugetlbfs") == 1


def test_short_memory_names_what_was_to_be_had_and_restores(machine):
    machine.run("-r", "4M")
    # The kernel grants what it can: reading back gives less than what was written.
    machine.program("cat", 'n=$(/bin/cat "$@"); [[ $n =~ ^[0-9]+$ && $n -gt 10 ]] && n=10; echo "$n"')
    err = machine.run("-n", "0", "-r", "64M", status=1)
    assert "node 0: only 10 of 32 pages of 2M could be had (20M of 64M); left at 2" in err
    assert "1024M of its memory is free" in err
    assert "hugepagesz=2M hugepages=32" in err
    assert machine.pages(0) == 2


def test_more_than_the_memory_is_refused_before_trying(machine):
    err = machine.run("-r", "16G", status=1)
    assert "node 0: 16G asked for, but its whole memory is 8192M" in err
    assert machine.pages(0) == 0


@pytest.mark.parametrize(
    "arguments, status, text",
    [
        (["-r", "3M"], 1, "3M is not a multiple of the page size 2M: the next one is 4M"),
        (["-p", "4M", "-r", "4M"], 1, "node 0 has no 4M pages; it has:"),
        (["-n", "7", "-r", "4M"], 1, "there is no NUMA node 7 with hugepages; there is: 0 1"),
        (["-n", "a", "-r", "4M"], 2, "'a' is not a list of NUMA nodes"),
        (["-r", "lots"], 2, "'lots' is not a size"),
        (["-r"], 2, "-r needs a value"),
        (["--frobnicate"], 2, "unknown option '--frobnicate'"),
        (["-d", "huge", "-m"], 2, "must be an absolute path"),
        (["--persist"], 1, "nothing is reserved"),
        (["--persist", "--unpersist"], 2, "exclude each other"),
    ],
)
def test_mistakes_are_named(machine, arguments, status, text):
    assert text in machine.run(*arguments, status=status)


def test_persist_writes_sysctl_and_a_mount_unit(machine):
    machine.run("-r", "64M", "--persist")
    # vm.nr_hugepages is for the whole machine: two nodes of 32.
    assert "vm.nr_hugepages = 64" in machine.text("etc/sysctl.d/80-sluice-hugepages.conf")
    unit = machine.text("etc/systemd/system/dev-hugepages.mount")
    assert "Where=/dev/hugepages" in unit and "Options=pagesize=2M" in unit
    machine.run("--unpersist")
    assert not machine.exists("etc/sysctl.d/80-sluice-hugepages.conf")
    assert not machine.exists("etc/systemd/system/dev-hugepages.mount")


def test_persist_for_one_node_or_another_size_uses_tmpfiles(machine):
    machine.run("-r", "64M", "--persist")
    machine.run("-p", "1G", "-n", "1", "-r", "2G", "-d", "/mnt/huge-1g", "--persist")
    assert (
        "w /sys/devices/system/node/node1/hugepages/hugepages-1048576kB/nr_hugepages - - - - 2"
        in machine.text("etc/tmpfiles.d/80-sluice-hugepages.conf")
    )
    assert not machine.exists("etc/sysctl.d/80-sluice-hugepages.conf")
    unit = machine.text("etc/systemd/system/mnt-huge\\x2d1g.mount")
    assert "Where=/mnt/huge-1g" in unit and "Options=pagesize=1G" in unit


def test_unpersist_leaves_a_foreign_unit_alone(machine):
    folder = machine.root / "etc/systemd/system"
    folder.mkdir(parents=True)
    (folder / "dev-hugepages.mount").write_text("# mine\n")
    machine.run("--unpersist")
    assert machine.exists("etc/systemd/system/dev-hugepages.mount")


def test_status_lists_nodes_sizes_and_mounts(machine):
    machine.run("-r", "64M", "-m")
    out = machine.run("--status")
    assert out == machine.run() == machine.run("-s")
    lines = [line.split() for line in out.splitlines()]
    assert ["Node", "Size", "Pages", "Free", "Total"] in lines
    assert ["1", "2M", "32", "0", "64M"] in lines
    assert "/dev/hugepages: mounted (rw,pagesize=2M)" in out
