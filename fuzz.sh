#!/usr/bin/env bash
#
# Looks for bytes that a parser or the graph does not take, guided by what they reach: libFuzzer, which
# comes with clang. Bytes that reach something new are kept below target/fuzz.
#
# SPDX-License-Identifier: Apache-2.0

set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"

usage() {
    cat <<USAGE
Usage: ./fuzz.sh TARGET [SECONDS [LIBFUZZER-OPTION...]]

Runs for 60 seconds unless told otherwise; ends at once with a file crash-... below target/fuzz/TARGET
when something is wrong: cargo run -p fuzz -- TARGET FILE runs it again.

Targets: wire (headers), lines (commands), startup (TOML), http (the socket), state (files of kept
state), graph (everything, beside the reference model)
USAGE
}

case ${1:-} in
    wire | lines | startup | http | state | graph) target=$1 ;;
    -h | --help) usage && exit ;;
    *) usage >&2 && exit 2 ;;
esac
seconds=${2:-60}
shift $(($# > 2 ? 2 : $#))

triple=x86_64-unknown-linux-gnu
flags=(
    -Ctarget-cpu=x86-64-v3 -Ctarget-feature=+aes
    --cfg sluice_fuzzer -Cdebug-assertions -Coverflow-checks
    # What libFuzzer wants to know: edges taken, and the operands of comparisons.
    -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares
    -Clinker=clang -Clink-arg=-fsanitize=fuzzer
)
home=${CARGO_TARGET_DIR:-target}/fuzz
# A --target of its own keeps the flags from build scripts.
SLUICE_FUZZ_TARGET=$target RUSTFLAGS="${flags[*]}" CARGO_TARGET_DIR=$home/build CARGO_PROFILE_RELEASE_LTO=false \
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=0 \
    cargo rustc --quiet --release --package fuzz --bin fuzz --target $triple -- \
    -Clink-arg=-Wl,-z,start-stop-gc

mkdir -p "$home/$target/found"
cp "$home/build/$triple/release/fuzz" "$home/$target/fuzz"
exec "$home/$target/fuzz" \
    -max_total_time="$seconds" -artifact_prefix="$home/$target/" -print_final_stats=1 "$@" \
    "$home/$target/found" "fuzz/corpus/$target"
