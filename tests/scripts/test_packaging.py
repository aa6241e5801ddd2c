"""The files in packaging/ and deny.toml agree with the program and with its dependencies."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]


def licence_is_allowed(expression, allowed):
    """Evaluates an SPDX expression of OR, AND, WITH and parentheses over a set of licence names."""
    tokens = re.findall(r"\(|\)|OR|AND|[A-Za-z0-9.+-]+(?: WITH [A-Za-z0-9.+-]+)?", expression)
    words = {"OR": "or", "AND": "and", "(": "(", ")": ")"}
    # Only the six words above and True/False ever reach eval.
    return eval(" ".join(words.get(t, str(t in allowed)) for t in tokens))


@pytest.mark.parametrize(
    "expression, verdict",
    [
        ("MIT", True),
        ("GPL-3.0", False),
        ("MIT OR GPL-3.0", True),
        ("MIT AND GPL-3.0", False),
        ("(MIT OR GPL-3.0) AND Apache-2.0 WITH LLVM-exception", True),
    ],
)
def test_licence_expressions(expression, verdict):
    allowed = {"MIT", "Apache-2.0 WITH LLVM-exception"}
    assert licence_is_allowed(expression, allowed) is verdict


def test_every_dependency_has_an_allowed_licence_and_source():
    deny = tomllib.loads((REPO / "deny.toml").read_text())
    allowed = set(deny["licenses"]["allow"])
    metadata = subprocess.run(
        ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform",
         "x86_64-unknown-linux-gnu"],
        cwd=REPO, capture_output=True, text=True,
    )
    assert metadata.returncode == 0, metadata.stderr
    packages = json.loads(metadata.stdout)["packages"]
    assert len(packages) > 9
    registries = [f"registry+{url}" for url in deny["sources"]["allow-registry"]]
    for package in packages:
        name = f"{package['name']} {package['version']}"
        expression = (package["license"] or "").replace("/", " OR ")
        assert expression, f"{name} names no licence"
        assert licence_is_allowed(expression, allowed), f"{name}: {expression}"
        # Workspace members have no source; everything else comes from crates.io.
        assert package["source"] in (None, *registries), name


def test_the_unit_starts_the_daemon_on_the_packaged_configuration():
    unit = (REPO / "packaging/sluiced.service").read_text()
    assert re.search(r"^ExecStartPre=/usr/bin/sluiced --check --config /etc/sluice/sluice.toml$", unit, re.M)
    assert re.search(r"^ExecStart=/usr/bin/sluiced --config /etc/sluice/sluice.toml$", unit, re.M)
    assert re.search(r"^Restart=on-failure$", unit, re.M)
    settings = tomllib.loads((REPO / "packaging/sluice.toml").read_text())
    # The directory that systemd makes for the unit is the one that the socket is in.
    assert re.search(r"^RuntimeDirectory=sluice$", unit, re.M)
    assert settings["unix"]["cli-listen"] == "/run/sluice/cli.sock"
    # It is there after a stop, with the flows in it.
    assert re.search(r"^RuntimeDirectoryPreserve=yes$", unit, re.M)
    assert settings["state"]["dir"] == "/run/sluice/state"


def test_readme_names_only_files_that_exist():
    text = (REPO / "README.md").read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in target:
            assert (REPO / target).exists(), target
    for folder in re.findall(r"^\| `([a-z.-]+/)`", text, re.M):
        assert (REPO / folder).is_dir(), folder
