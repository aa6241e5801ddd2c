#!/usr/bin/env bash
#
# Builds sluice-instructions as test.sh builds everything for its end-to-end tests, and runs it:
#
#   benches/instructions.sh check            counts beside the baseline, benches/instructions.json
#   benches/instructions.sh update           makes the present counts the baseline
#   benches/instructions.sh profile NAME     where the instructions of a workload are
#
# SPDX-License-Identifier: Apache-2.0

set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")/.."
# All three together, so that they share their dependencies.
cargo build --profile e2e --locked --package control --package cli --package benches
exec "${CARGO_TARGET_DIR:-target}/e2e/sluice-instructions" "${@:-check}"
