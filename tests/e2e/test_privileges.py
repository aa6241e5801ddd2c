"""What every thread of the running daemon may still do, by the kernel's word."""

import shutil
import tempfile
from pathlib import Path

import pytest
from daemon import SLUICED, Config, own_topology
from tap_rig import TapRig

NET_ADMIN, NET_RAW, IPC_LOCK = 1 << 12, 1 << 13, 1 << 14
# A user that every system has, and that owns nothing.
USER, UID = "nobody", 65534


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


def test_tap_keeps_the_configuration_of_its_interface_too(topology, daemons):
    rig = TapRig(topology, daemons, {"left0": ["10.1.0.254/24"]})
    check_threads(rig.daemon, NET_ADMIN | NET_RAW | IPC_LOCK)


@pytest.fixture
def users_folder():
    """A folder that the user owns, and can reach: pytest's own are root's alone."""
    folder = Path(tempfile.mkdtemp(prefix="sluice-privileges-"))
    shutil.chown(folder, UID)
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.parametrize("kind", ["af_packet", "tap"])
def test_another_user(users_folder, kind):
    config = Config().add(f'[privileges]\nuser = "{USER}"\nkeep = ["net_bind_service"]\n')
    keep = NET_RAW | IPC_LOCK | 1 << 10
    with own_topology(users_folder) as (topology, daemons):
        client = topology.host("client", "10.10.10.1/24", gateway="10.10.10.254")
        config.port("client0", topology.ports["client"], "10.10.10.254/24")
        if kind == "tap":
            config.port("tap0", None, "10.1.0.254/24", vdev="net_tap1,iface=tap0")
            keep |= NET_ADMIN
        daemon = daemons(config)
        check_threads(daemon, keep, UID)
        assert daemon.socket.stat().st_uid == UID
        daemon.warm(client, "10.10.10.254")
        daemon.cli("lb conf timeout 41", "lb vip 10.9.0.1/32 protocol tcp port 1 encap gre4")
        # It may not remove files from the hugepages' folder, but gives the pages back. That it leaves
        # nothing else behind is looked at when it stops.
        pages = {path for path in daemon.files if path.startswith("/dev/hugepages")}
        daemon.files -= pages
    for path in map(Path, pages):
        assert path.stat().st_size == 0, path
        path.unlink()


def test_what_is_not_there_is_named(topology):
    for line, reason in (
        ('user = "no-such-user"', "there is no user no-such-user"),
        ('keep = ["net_admn"]', "did you mean `net_admin`"),
        ("seccomp = 1", "must be true, false or"),
    ):
        config = topology.directory / "wrong.toml"
        config.write_text(f'[unix]\ncli-listen = "/tmp/x.sock"\n[privileges]\n{line}\n')
        done = topology.lb.run(SLUICED, "--check", "--config", config, check=False)
        assert done.returncode == 1 and reason in done.stderr, done.stderr
