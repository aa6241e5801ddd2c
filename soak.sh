#!/usr/bin/env bash
#
# Traffic, changes and faults for MINUTES (10 by default) against sluiced in network namespaces, as
# root: connections with checked payload must outlive them all. Prints a table; exits with 1 when a
# promise was not kept.
#
# SPDX-License-Identifier: Apache-2.0

set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
    echo "Usage: ./soak.sh [MINUTES]"
    exit
fi
if [[ $(id -u) -ne 0 ]]; then
    echo "soak.sh: network namespaces need root" >&2
    exit 2
fi
if [[ -z ${SLUICE_BIN_DIR:-} ]]; then
    cargo build --profile e2e --locked --package control --package cli
    export SLUICE_BIN_DIR="${CARGO_TARGET_DIR:-$PWD/target}/e2e"
fi
# One run at a time, and none beside the end-to-end tests: they would fight over the CPUs.
lock=/run/lock/sluice-e2e.lock
[[ -d ${lock%/*} ]] || lock=/tmp/sluice-e2e.lock
# The system's own Python: scapy comes from a Debian package.
exec flock --close "$lock" /usr/bin/python3 tests/e2e/soak.py "$@"
