"""Who may use the daemon: groups on the UNIX socket, tokens over TCP. No secret is ever shown."""

import json
import os
import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from daemon import SLUICECTL, Config, own_topology

# Groups need no entry when given by number.
READ_ONLY, READ_WRITE = 54321, 54322
STRANGER = 54320
ADDRESS = "127.0.0.1:8642"


class Site:
    """A daemon with groups, a TCP listener, a hash key, and whom it belongs to."""

    def __init__(self, topology, daemons):
        self.directory = topology.directory
        self.secrets = {name: secrets.token_hex(20) for name in ("token", "read-token", "hash-key")}
        for name, secret in self.secrets.items():
            path = self.directory / name
            path.write_text(secret)
            path.chmod(0o600)
        topology.host("client", "10.10.10.1/24", gateway="10.10.10.254")
        config = Config(hash_key_file=f'"{self.directory}/hash-key"')
        config.port("client0", topology.ports["client"], "10.10.10.254/24")
        config.add(
            f'[api]\nread-only-group = "{READ_ONLY}"\nread-write-group = "{READ_WRITE}"\n'
            f'tcp-listen = "{ADDRESS}"\ntoken-file = "{self.directory}/token"\n'
            f'read-only-token-file = "{self.directory}/read-token"\n'
        )
        self.lb = topology.lb
        self.lb.run("ip", "link", "set", "lo", "up")
        self.daemon = daemons(config)

    def curl(self, *arguments, **who):
        """(status, body) of a request, by somebody else."""
        done = subprocess.run(
            ["curl", "-sS", "-m", "10", "-w", "\n%{http_code}", *map(str, arguments)],
            capture_output=True, text=True, timeout=20, **who,
        )
        assert done.returncode == 0, done.stderr
        body, status = done.stdout.rsplit("\n", 1)
        return int(status), body

    def cli(self, line, group, extra=()):
        """One line over the UNIX socket, as another user with these groups."""
        return self.curl(
            "--unix-socket", self.daemon.socket, "--data-binary", line, "http://localhost/v1/cli",
            user=STRANGER, group=group, extra_groups=list(extra),
        )

    def tcp(self, line, token=None):
        """One line over TCP."""
        header = ["-H", f"Authorization: Bearer {token}"] if token else []
        with self.lb.entered():
            return self.curl("--data-binary", line, *header, f"http://{ADDRESS}/v1/cli")


@pytest.fixture(scope="module")
def site():
    # Not below pytest's own folder, which is root's alone.
    directory = Path(tempfile.mkdtemp(prefix="sluice-access-"))
    directory.chmod(0o755)
    try:
        with own_topology(directory) as (topology, daemons):
            yield Site(topology, daemons)
    finally:
        shutil.rmtree(directory)


def test_groups_decide_who_may_change(site):
    change = "lb conf timeout 41"
    for group, extra, statuses in (
        (STRANGER, [], (403, 403)),
        (READ_ONLY, [], (200, 403)),
        (STRANGER, [READ_ONLY], (200, 403)),
        (STRANGER, [READ_WRITE], (200, 200)),
        (READ_WRITE, [READ_ONLY], (200, 200)),
    ):
        asked = [site.cli(line, group, extra) for line in ("show version", change)]
        assert tuple(status for status, _ in asked) == statuses, f"{group} {extra}: {asked}"
        if statuses == (200, 403):
            reason = json.loads(asked[1][1])["error"]["reason"]
            assert "may only read" in reason and str(READ_WRITE) in reason, reason
    for line in ("clear errors", "trace add dpdk-input 1", "ping 10.10.10.1 repeat 1", "exec /dev/null"):
        assert site.cli(f"show version\n{line}", READ_ONLY)[0] == 403, line
    # Root may always; and the log says who did what.
    site.daemon.cli("lb conf timeout 40")
    log = site.daemon.log.read_text()
    assert f"uid {STRANGER} (no name): {change}" in log, log
    assert "uid 0 (root): lb conf timeout 40" in log, log
    assert f"uid {STRANGER} (no name): exec /dev/null: refused" in log, log


def test_sluicectl_says_why_it_is_refused(site):
    # A user without a way to the build's folder needs a copy of the program.
    program = shutil.copy(SLUICECTL, site.directory / "sluicectl")
    done = subprocess.run(
        [program, "-s", site.daemon.socket, "lb", "conf", "timeout", "42"],
        capture_output=True, text=True, timeout=20, user=STRANGER, group=READ_ONLY, extra_groups=[],
    )
    assert done.returncode == 1 and "may only read" in done.stderr, done.stderr


def test_tokens_decide_over_tcp(site):
    token, read_token = site.secrets["token"], site.secrets["read-token"]
    assert site.tcp("show version")[0] == 401
    assert site.tcp("show version", "0" * 40)[0] == 401
    assert site.tcp("show version", read_token)[0] == 200
    assert site.tcp("lb conf timeout 43", read_token)[0] == 403
    assert site.tcp("lb conf timeout 43", token)[0] == 200
    assert "tcp 127.0.0.1:" in site.daemon.log.read_text()


def test_sluicectl_over_tcp(site):
    for name, status in (("token", 0), ("read-token", 1)):
        done = site.lb.run(
            SLUICECTL, "--url", f"http://{ADDRESS}", "--token-file", site.directory / name,
            "lb", "conf", "timeout", "44", check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr
    done = site.lb.run(SLUICECTL, "--url", f"http://{ADDRESS}", "show", "version", check=False)
    assert done.returncode == 1 and "token" in done.stderr, done.stderr


def test_no_secret_is_logged_or_shown(site):
    said = site.daemon.log.read_text()
    lines = [line[2:42].strip() for line in site.daemon.cli("help").splitlines() if line.startswith("  show")]
    assert len(lines) > 15, lines
    for line in lines:
        words = line.split("[")[0].split("<")[0].split("|")[0].strip()
        for suffix in ("", " verbose", " json"):
            said += json.dumps(site.daemon.api.request("POST", "/v1/cli", words + suffix)[1])
    for name, secret in site.secrets.items():
        forms = (secret, secret.encode().hex(), secret[:12], secret[-12:])
        assert not any(form in said for form in forms), name
    assert os.fspath(site.directory / "hash-key") in said, "the path may be shown"


def test_tcp_takes_a_token_to_start(site):
    loose = site.directory / "loose"
    loose.write_text("x" * 40)
    loose.chmod(0o644)
    for line, reason in (
        ("", "listening for TCP takes a token"),
        (f'token-file = "{loose}"', "its mode is 0644"),
        (f'token-file = "{site.directory}/nothing"', "No such file"),
    ):
        config = site.directory / "other.toml"
        config.write_text(f'[unix]\ncli-listen = "/tmp/x.sock"\n[api]\ntcp-listen = "{ADDRESS}"\n{line}\n')
        done = subprocess.run(
            [SLUICECTL.with_name("sluiced"), "--config", config], capture_output=True, text=True, timeout=20
        )
        assert done.returncode == 1 and reason in done.stderr, done.stderr
