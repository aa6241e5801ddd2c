#!/usr/bin/env bash
#
# Everything that checks Sluice: format, lints, documentation, scripts, unit and property tests,
# instructions per packet, and end-to-end tests in network namespaces. The last line counts all of them.
#
# SPDX-License-Identifier: Apache-2.0

set -uo pipefail
cd "$(dirname "$(readlink -f "$0")")" || exit 1
exec </dev/null

SECTIONS=(packages fmt clippy doc shellcheck scripts unit loom instructions e2e)
# Only by name.
MORE_SECTIONS=(explore)
# Property tests try the same cases each time, so that a change passes or fails for what it is.
SEED=20261122

usage() {
    cat <<USAGE
Usage: ./test.sh [SECTION...] [-- PYTEST-ARGUMENT...]

Runs all sections but the last, or those named:
  packages    install the Debian packages that building and testing need, download a kernel for
              the virtual servers of the end-to-end tests
  fmt         cargo fmt --check
  clippy      cargo clippy, all targets, warnings are errors
  doc         rustdoc, warnings are errors
  shellcheck  every shell script
  scripts     tests/scripts: hugepages-setup.sh, packaging, licences
  unit        cargo test: unit, property, node and golden tests; property tests with the same cases each
              time, or those that PROPTEST_RNG_SEED=NUMBER makes
  loom        every interleaving of the lock-free parts, by model checking
  instructions
              what packets cost: instructions of fixed work, counted by Callgrind, against
              benches/instructions.json (benches/instructions.sh update renews it)
  e2e         tests/e2e: sluiced between real clients and servers in network namespaces and virtual
              machines (root)
  explore     the graph against its reference model with cases that nobody tried yet, many times as many
              as in \`unit\` (PROPTEST_CASES of each): what it finds is a bug, or a test that is too strict

  ./test.sh e2e -- -k first_light -x     passes the rest on to pytest
USAGE
}

chosen=()
pytest_arguments=()
while (($#)); do
    case $1 in
        -h | --help)
            usage
            exit
            ;;
        --)
            shift
            pytest_arguments=("$@")
            break
            ;;
        *)
            if [[ " ${SECTIONS[*]} ${MORE_SECTIONS[*]} " != *" $1 "* ]]; then
                echo "test.sh: no section '$1'" >&2
                usage >&2
                exit 2
            fi
            chosen+=("$1")
            ;;
    esac
    shift
done
if ((${#chosen[@]} == 0)); then chosen=("${SECTIONS[@]}"); fi

if [[ -t 1 ]]; then
    BOLD=$'\e[1m' RED=$'\e[31m' GREEN=$'\e[32m' PLAIN=$'\e[0m'
    # It writes to `tee`, which writes to the terminal.
    export CARGO_TERM_COLOR=${CARGO_TERM_COLOR-always}
else
    BOLD='' RED='' GREEN='' PLAIN=''
    export CARGO_TERM_COLOR=never NO_COLOR=1
fi

PASSED=0
FAILED=0
SUMMARY=()
FAILURES=()
LOGS=$(mktemp -d)
trap 'rm -rf "$LOGS"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

as_root() {
    if [[ $(id -u) -eq 0 ]]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo -- "$@"
    else
        echo "test.sh: '$1' needs root: run this as root, or install sudo" >&2
        return 1
    fi
}

# ---------------------------------------------------------------- the sections
# Each leaves its counts in `passed` and `failed`, and in `report` what tests/what_failed.py needs to say
# what failed.

one_check() { # COMMAND...: counts as one test
    report=(other "$LOGS/check")
    "$@" 2>&1 | tee "$LOGS/check"
    if ((PIPESTATUS[0] == 0)); then passed=1 failed=0; else passed=0 failed=1; fi
}

section_packages() { one_check install_packages_and_kernel; }

install_packages_and_kernel() { install_packages && download_guest_kernel; }

# The kernel of the virtual servers, as a package that is unpacked by the tests and never installed.
download_guest_kernel() {
    local directory=${CARGO_TARGET_DIR:-$PWD/target}/guest package attempt
    if compgen -G "$directory/linux-image-*-cloud-amd64_*.deb" >/dev/null; then return; fi
    mkdir -p "$directory"
    for attempt in 1 2; do
        # The package without a version in its name depends on the newest kernel.
        package=$(apt-cache depends linux-image-cloud-amd64 | awk '$1 == "Depends:" { print $2; exit }')
        echo "downloading ${package:-the kernel of the virtual servers}"
        if [[ -n $package ]] && (cd "$directory" && apt-get download -q "$package") >"$LOGS/apt" 2>&1; then return; fi
        # The lists may be older than the archive.
        if ((attempt == 1)); then as_root apt-get update -q >>"$LOGS/apt" 2>&1; fi
    done
    tail -n 30 "$LOGS/apt"
    return 1
}

install_packages() {
    local package missing=()
    for package in busybox-static clang cpio curl ethtool gcc git iproute2 iputils-ping jq libc6-dev \
        libclang-dev libdpdk-dev nftables pkg-config procps python3 python3-pytest python3-scapy \
        qemu-system-x86 shellcheck tcpdump util-linux valgrind wrk; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed$' || missing+=("$package")
    done
    if ((${#missing[@]} == 0)); then
        echo "all there"
        return
    fi
    if ! command -v apt-get >/dev/null; then
        echo "test.sh: not Debian; install the equivalents of: ${missing[*]}" >&2
        return 1
    fi
    echo "installing ${missing[*]}"
    if ! { as_root apt-get update -q && as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -q -y --no-install-recommends "${missing[@]}"; } >"$LOGS/apt" 2>&1; then
        tail -n 30 "$LOGS/apt"
        return 1
    fi
}

section_fmt() { one_check cargo fmt --all --check; }

section_clippy() { one_check cargo clippy --workspace --all-targets --locked -- -D warnings; }

section_doc() { RUSTDOCFLAGS='-D warnings' one_check cargo doc --workspace --no-deps --locked; }

section_shellcheck() {
    local scripts
    # Every tracked file that is bash by its first line, whatever its name.
    readarray -t scripts < <(git grep -lI -E '^#!/(usr/bin/env bash|bin/(ba)?sh)$' -- . | sort)
    echo "${#scripts[@]} scripts: ${scripts[*]}"
    ((${#scripts[@]})) || scripts=(demo.sh test.sh hugepages-setup.sh .ci/run)
    one_check shellcheck "${scripts[@]}"
}

section_scripts() { run_pytest scripts tests/scripts; }

section_unit() { PROPTEST_RNG_SEED=${PROPTEST_RNG_SEED:-$SEED} cargo_tests unit --workspace; }

# Optimised, with all assertions.
section_explore() {
    PROPTEST_CASES=${PROPTEST_CASES:-40000} \
        CARGO_PROFILE_E2E_DEBUG_ASSERTIONS=true CARGO_PROFILE_E2E_OVERFLOW_CHECKS=true \
        cargo_tests explore --profile e2e --target-dir "${CARGO_TARGET_DIR:-target}/explore" \
        --package graph-nodes --test graph_equals_reference
}

# A target folder of its own: the flag rebuilds every dependency.
section_loom() {
    RUSTFLAGS='--cfg loom -Ctarget-feature=+aes' cargo_tests loom --target-dir "${CARGO_TARGET_DIR:-target}/loom" \
        --package balancer --package dataplane --lib model::
}

cargo_tests() { # NAME ARGUMENT...
    local log="$LOGS/$1" status
    report=(cargo "$log")
    shift
    cargo test --locked --no-fail-fast "$@" 2>&1 | tee "$log"
    status=${PIPESTATUS[0]}
    # "test result: ok. 12 passed; 0 failed; 0 ignored; …", one line for each test binary.
    read -r passed failed < <(awk '/^test result: / { passed += $4; failed += $6 }
        END { print passed + 0, failed + 0 }' "$log")
    if ((status != 0 && failed == 0)); then failed=1; fi
    if ((passed == 0)); then failed=$((failed + 1)); fi
}

# One test for each piece of work.
section_instructions() {
    local log="$LOGS/instructions"
    report=(instructions "$log")
    echo "building sluice-instructions (profile e2e)"
    benches/instructions.sh check 2>&1 | tee "$log"
    # "instructions: 44 passed; 0 failed"
    read -r passed failed < <(awk '/^instructions: / { passed = $2; failed = $4 }
        END { print passed + 0, (NR && passed + failed) ? failed + 0 : 1 }' "$log")
}

section_e2e() {
    echo "building sluiced and sluicectl (profile e2e)"
    # The bench is not needed here, but building it along is what lets it share all dependencies.
    one_check cargo build --profile e2e --locked --package control --package cli --package benches
    report=(cargo "${report[1]}")
    if ((failed)); then return; fi
    # One run at a time: two would fight over the CPUs, and timeouts would mean nothing.
    local lock=/run/lock/sluice-e2e.lock
    [[ -d ${lock%/*} ]] || lock=/tmp/sluice-e2e.lock
    run_pytest e2e tests/e2e as_root env SLUICE_BIN_DIR="${CARGO_TARGET_DIR:-$PWD/target}/e2e" flock --close "$lock"
}

run_pytest() { # NAME DIRECTORY [COMMAND-PREFIX...]
    local directory=$2 xml="$LOGS/$1.xml" status
    report=(pytest "$xml")
    shift 2
    # The system's own Python: pytest and scapy come from Debian packages.
    "$@" /usr/bin/python3 -m pytest "$directory" --junitxml="$xml" "${pytest_arguments[@]}"
    status=$?
    read -r passed failed < <(/usr/bin/python3 - "$xml" <<'PYTHON'
import sys
import xml.etree.ElementTree as tree

try:
    suites = list(tree.parse(sys.argv[1]).iter("testsuite"))
except (OSError, tree.ParseError):
    suites = []
total = sum(int(s.get("tests")) for s in suites)
skipped = sum(int(s.get("skipped")) for s in suites)
failed = sum(int(s.get("failures")) + int(s.get("errors")) for s in suites)
# A test whose clean-up fails after it passed is one test and two results.
print(max(total - failed - skipped, 0), failed)
PYTHON
    )
    # 5: nothing was selected, which is a failure unless somebody asked for a selection.
    if ((status != 0 && failed == 0)) && ! { ((status == 5)) && ((${#pytest_arguments[@]})); }; then failed=1; fi
}

# ---------------------------------------------------------------- running them

if ! command -v cargo >/dev/null; then
    if [[ -x $HOME/.cargo/bin/cargo ]]; then
        PATH=$HOME/.cargo/bin:$PATH
    else
        echo "test.sh: cargo was not found. Install Rust from https://rustup.rs (1.95 or newer)." >&2
        echo "0 passed, 1 failed"
        exit 1
    fi
fi

for section in "${chosen[@]}"; do
    printf '\n%s== %s%s\n' "$BOLD" "$section" "$PLAIN"
    passed=0 failed=0 report=(other "$LOGS/none")
    started=$SECONDS
    "section_$section"
    PASSED=$((PASSED + passed))
    FAILED=$((FAILED + failed))
    if ((failed)); then
        colour=$RED
        FAILURES+=("$section:" "$(/usr/bin/python3 tests/what_failed.py "${report[@]}")")
    else
        colour=$GREEN
    fi
    SUMMARY+=("$(printf '%s%-12s %5d passed %5d failed %6d s%s' "$colour" "$section" "$passed" "$failed" \
        $((SECONDS - started)) "$PLAIN")")
done

printf '\n%s== summary%s\n' "$BOLD" "$PLAIN"
printf '%s\n' "${SUMMARY[@]}"
# Again what failed: whoever sees only the end of this should know.
if ((${#FAILURES[@]})); then printf '\n%s== failed%s\n' "$BOLD" "$PLAIN" && printf '%s\n' "${FAILURES[@]}"; fi
echo
echo "$PASSED passed, $FAILED failed"
((FAILED == 0))
