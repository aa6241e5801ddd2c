#!/usr/bin/env python3
"""Says in a few lines what failed in a section of test.sh, for its summary:

    what_failed.py cargo LOG          failed tests, or the errors of a build
    what_failed.py pytest REPORT      failed tests of a JUnit report
    what_failed.py instructions LOG   counts that failed
    what_failed.py other LOG          the end of whatever it said
"""

import re
import sys
import xml.etree.ElementTree as tree
from pathlib import Path

# Summaries of all sections together have to fit into the few lines that a log is cut to.
LINES, WIDTH, END = 20, 200, 10


def cargo(path):
    """Names of failed tests with the place and the first words of their panics, and what else is an error."""
    binary, about, reasons, found = "", None, {}, []
    lines = text(path).splitlines()
    for number, line in enumerate(lines):
        if match := re.match(r"\s+Running .*/([^/]+)-[0-9a-f]+\)$|\s+Doc-tests (\S+)$", line):
            binary = match[1] or f"{match[2]}, documentation"
        elif match := re.match(r"test (.+) \.\.\. FAILED$", line):
            found.append((binary, match[1]))
        elif match := re.match(r"---- (.+) stdout ----$", line):
            about = (binary, match[1])
        elif match := re.match(r"thread .* panicked at (.*):$", line):
            # What was asked, and "left: …", "right: …".
            reasons.setdefault(about, " ".join([f"{match[1]}:", *lines[number + 1 : number + 4]]))
    failures = [": ".join(filter(None, [*test, reasons.get(test)])) for test in found]
    # A build that failed, or a program that died amid its tests.
    return failures + [
        line.strip() for line in lines
        if re.match(r"error\b(?!: test failed|: \d+ targets? failed)|\s+process didn't exit successfully", line)
        and "exit status: 101" not in line
    ]


def pytest(path):
    """Names of failed tests, as pytest takes them, with the first line of the reason."""
    try:
        cases = tree.parse(path).iter("testcase")
    except (OSError, tree.ParseError) as error:
        return [f"no report: {error}"]
    failures = []
    for case in cases:
        # "e2e.test_state.Class": folders, the file and classes, all joined by dots.
        parts = case.get("classname").split(".")
        file = next((n for n, part in enumerate(parts) if part.startswith("test_")), len(parts) - 1)
        name = "::".join(["/".join(["tests", *parts[: file + 1]]) + ".py", *parts[file + 1 :], case.get("name")])
        for end in [*case.findall("failure"), *case.findall("error")]:
            failures.append(f"{name if parts[0] else case.get('name')}: {end.get('message')}")
    return failures


def instructions(path):
    """The lines of counts that failed; of a build that did, its errors."""
    lines = text(path).splitlines()
    return [line for line in lines if "  FAILED: " in line] or [line for line in lines if re.match("error", line)]


def other(path):
    """The last lines."""
    return [line for line in text(path).splitlines() if line.strip()][-END:]


def text(path):
    """What is in a file, without colours."""
    return re.sub(r"\x1b\[[0-9;]*m", "", Path(path).read_text(errors="replace")) if Path(path).exists() else ""


def main():
    """Prints what the kind of report named first says of the file named second."""
    kind, path = sys.argv[1:]
    failures = {"cargo": cargo, "pytest": pytest, "instructions": instructions, "other": other}[kind](path)
    # Something failed, whether or not it can be told what.
    failures = failures or other(path) or ["nothing was said"]
    for line in failures[:LINES]:
        line = " ".join(line.split())
        print(f"  {line if len(line) <= WIDTH else line[: WIDTH - 1] + '…'}")
    if len(failures) > LINES:
        print(f"  … and {len(failures) - LINES} more")


if __name__ == "__main__":
    main()
