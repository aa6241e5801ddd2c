"""`test.sh` with made-up programs: its summary says again what failed in each section, and ends with the
counts of all."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]

CARGO_TEST = """\
     Running unittests src/lib.rs (target/debug/deps/control-0123456789abcdef)

running 2 tests
test model::good ... ok
test model::bad ... FAILED

failures:

---- model::bad stdout ----

thread 'model::bad' (42) panicked at control/src/model/mod.rs:7:5:
assertion `left == right` failed
  left: 1
 right: 2
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace


failures:
    model::bad

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s

error: test failed, to rerun pass `-p control --lib`
     Running tests/nodes/main.rs (target/debug/deps/nodes-0123456789abcdef)

running 1 test
error: test failed, to rerun pass `-p graph-nodes --test nodes`

Caused by:
  process didn't exit successfully: `target/debug/deps/nodes-0123456789abcdef` (signal: 11, SIGSEGV: invalid)
error: 2 targets failed:
    `-p control --lib`
"""

INSTRUCTIONS = """\
instructions per packet or operation                 baseline          now    change
gre4, udp, 1 flow                                       400.0        400.0    +0.0 %
nat4, udp, 1 flow                                       400.0        440.0   +10.0 %  FAILED: too many more

instructions: 1 passed; 1 failed
"""

PYTEST = """\
import pytest

class TestTable:
    @pytest.mark.parametrize("family", [4, 6])
    def test_sizes(self, family):
        assert family == 4, "a family\\nof six"

@pytest.fixture
def folder():
    yield
    raise OSError("still there")

def test_cleaning(folder):
    pass
"""


@pytest.fixture
def checkout(tmp_path):
    """A tree with test.sh and what it runs; `cargo` does what the files named after its commands say."""
    for name in ("test.sh", "tests/what_failed.py", "tests/pytest.ini"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(REPO / name, tmp_path / name)
    program(tmp_path / "bin/cargo", 'cat "$0-$1"; exit "$(cat "$0-$1-status" 2>/dev/null || echo 0)"')
    for command in ("fmt", "clippy", "test", "build"):
        cargo(tmp_path, command, "", 0)
    return tmp_path


def program(file, text):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/bash\n{text}\n")
    file.chmod(0o755)


def cargo(checkout, command, output, status):
    (checkout / f"bin/cargo-{command}").write_text(output)
    (checkout / f"bin/cargo-{command}-status").write_text(str(status))


def run(checkout, *sections):
    """The exit status and the lines from the summary on."""
    environment = {**os.environ, "PATH": f"{checkout}/bin:/usr/bin:/bin"}
    done = subprocess.run(
        [checkout / "test.sh", *sections], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, timeout=60,
    )
    return done.returncode, done.stdout.split("== summary\n")[1].splitlines()


def test_the_summary_names_what_failed_in_each_section(checkout):
    cargo(checkout, "clippy", "first\n\x1b[1merror\x1b[0m: unused variable: `x`\n --> a.rs:1\n", 101)
    cargo(checkout, "test", CARGO_TEST, 101)
    program(checkout / "benches/instructions.sh", f"cat <<'END'\n{INSTRUCTIONS}END\nexit 1")
    (checkout / "tests/scripts").mkdir()
    (checkout / "tests/scripts/test_made_up.py").write_text(PYTEST)
    status, lines = run(checkout, "fmt", "clippy", "scripts", "unit", "instructions")
    assert status == 1
    assert lines[-1] == "5 passed, 5 failed"
    assert lines[lines.index("== failed") + 1 : -2] == [
        "clippy:",
        "  first",
        "  error: unused variable: `x`",
        "  --> a.rs:1",
        "scripts:",
        "  tests/scripts/test_made_up.py::TestTable::test_sizes[6]: AssertionError: a family of six assert 6 == 4",
        '  tests/scripts/test_made_up.py::test_cleaning: failed on teardown with "OSError: still there"',
        "unit:",
        "  control: model::bad: control/src/model/mod.rs:7:5: assertion `left == right` failed left: 1 right: 2",
        "  process didn't exit successfully: `target/debug/deps/nodes-0123456789abcdef` (signal: 11, SIGSEGV: invalid)",
        "instructions:",
        "  nat4, udp, 1 flow 400.0 440.0 +10.0 % FAILED: too many more",
    ]


def test_nothing_failed_and_nothing_is_said_about_it(checkout):
    cargo(checkout, "test", "test result: ok. 12 passed; 0 failed; 0 ignored\n", 0)
    status, lines = run(checkout, "fmt", "unit")
    assert (status, lines[-1]) == (0, "13 passed, 0 failed")
    assert "== failed" not in lines


def test_a_build_that_fails_is_told_by_its_errors(checkout):
    error = "warning: no\nerror[E0432]: unresolved import `x`\n  --> a.rs:1\nerror: could not compile `control`\n"
    cargo(checkout, "build", error, 101)
    cargo(checkout, "test", error, 101)
    status, lines = run(checkout, "unit", "e2e")
    assert (status, lines[-1]) == (1, "0 passed, 3 failed")
    said = ["  error[E0432]: unresolved import `x`", "  error: could not compile `control`"]
    assert lines[lines.index("== failed") + 1 : -2] == ["unit:", *said, "e2e:", *said]


def test_many_failures_stay_few_lines(checkout):
    cargo(checkout, "test", "".join(f"test t{n} ... FAILED\n" for n in range(50)), 101)
    _, lines = run(checkout, "unit")
    assert len(lines) < 30
    assert "  … and 30 more" in lines
