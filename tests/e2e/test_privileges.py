"""What every thread of the running daemon may still do, by the kernel's word."""

from pathlib import Path

NET_ADMIN, NET_RAW, IPC_LOCK = 1 << 12, 1 << 13, 1 << 14


def threads(daemon):
    """{name and number: {field: value}} of every thread."""
    found = {}
    for task in Path(f"/proc/{daemon.process.pid}/task").iterdir():
        lines = (task / "status").read_text().splitlines()
        fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        found[f"{fields['Name']} {task.name}"] = fields
    return found


def check_threads(daemon, capabilities, uid=0):
    """Every thread has these capabilities and nothing else, and can get no more."""
    found = threads(daemon)
    names = " ".join(found)
    # Ours, a worker, and those that EAL makes for itself.
    for kind in ("sluiced", "worker-1", "eal-intr-thread", "rte_mp_handle"):
        assert kind in names, names
    for name, fields in found.items():
        for field in ("CapEff", "CapPrm"):
            assert int(fields[field], 16) == capabilities, f"{name}: {field} {fields[field]}"
        assert int(fields["CapBnd"], 16) & ~capabilities == 0, f"{name}: CapBnd {fields['CapBnd']}"
        for field in ("CapInh", "CapAmb"):
            assert int(fields[field], 16) == 0, f"{name}: {field} {fields[field]}"
        assert fields["NoNewPrivs"] == "1", name
        assert fields["Seccomp"] == "2", name
        assert fields["Uid"].split() == [str(uid)] * 4, f"{name}: Uid {fields['Uid']}"


def test_af_packet_keeps_packet_sockets_and_locked_memory(walkthrough):
    check_threads(walkthrough.daemon, NET_RAW | IPC_LOCK)
    walkthrough.daemon.cli(
        "lb set interface nat4 in GigabitEthernet0/9/0",
        "lb vip 10.10.2.2/32 protocol tcp port 8080 encap nat4 type clusterip target_port 80",
        "lb as 10.10.2.2/32 protocol tcp port 8080 192.168.1.1 192.168.1.3",
    )
    assert walkthrough.get()[0].startswith("web-")
    # A table that is built now is built by a thread that inherits.
    check_threads(walkthrough.daemon, NET_RAW | IPC_LOCK)
