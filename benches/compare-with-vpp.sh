#!/usr/bin/env bash
#
# Runs VPP's load balancer and Sluice on the very same packets, the same CPU and the same driver, in
# alternation, and prints medians of what a packet costs. See docs/sluice-bench.md.
#
# SPDX-License-Identifier: Apache-2.0

set -euo pipefail

usage() {
    cat <<USAGE
Usage: compare-with-vpp.sh [OPTION...]

Both programs replay a file for ever (net_pcap0,rx_pcap=FILE,infinite_rx=1) and drop what they send.
Needs root, vpp and vppctl (with the plugins dpdk and lb), and sluiced, sluicectl and sluice-bench.

  --bin FOLDER      where Sluice's programs are (default: those on PATH, else target/release)
  --encap LIST      of gre4, l3dsr, nat4, nat4-return (default: all)
  --flows LIST      (default: 1,1000,100000)
  --pairs N         how often both are run (default: 9)
  --seconds N       measured time of each run (default: 2)
  --cpu N           the worker's CPU; the other work is on CPU 0 (default: 1)
  --buckets N       sticky buckets of both (default: 1048576)
  --sluice-only     without VPP: shows that the harness works
USAGE
}

die() {
    echo "compare-with-vpp.sh: $*" >&2
    exit 2
}

BIN='' ENCAPS=gre4,l3dsr,nat4,nat4-return FLOWS=1,1000,100000 PAIRS=9 SECONDS_EACH=2 CPU=1
BUCKETS=1048576 SYSTEMS=(vpp sluice)
while (($#)); do
    case $1 in
        -h | --help)
            usage
            exit
            ;;
        --sluice-only)
            SYSTEMS=(sluice)
            shift
            continue
            ;;
        --bin | --encap | --flows | --pairs | --seconds | --cpu | --buckets)
            (($# > 1)) || die "$1 needs a value; --help says which"
            ;;
        *) die "there is no option '$1'; --help lists those there are" ;;
    esac
    case $1 in
        --bin) BIN=$2 ;;
        --encap) ENCAPS=$2 ;;
        --flows) FLOWS=$2 ;;
        --pairs) PAIRS=$2 ;;
        --seconds) SECONDS_EACH=$2 ;;
        --cpu) CPU=$2 ;;
        --buckets) BUCKETS=$2 ;;
    esac
    shift 2
done
for number in "$PAIRS" "$SECONDS_EACH" "$CPU" "$BUCKETS" ${FLOWS//,/ }; do
    [[ $number =~ ^[0-9]+$ ]] || die "'$number' is not a number"
done
for encap in ${ENCAPS//,/ }; do
    [[ $encap =~ ^(gre4|l3dsr|nat4|nat4-return)$ ]] ||
        die "'$encap' is not one of gre4, l3dsr, nat4, nat4-return"
done

[[ $(id -u) -eq 0 ]] || die "VPP and hugepages need root"
if [[ ${SYSTEMS[0]} == vpp ]]; then
    for program in vpp vppctl; do
        command -v "$program" >/dev/null ||
            die "$program is not installed, so there is nothing to compare with (https://fd.io)." \
                "--sluice-only runs Sluice alone"
    done
fi
if [[ -z $BIN ]] && ! command -v sluiced >/dev/null; then
    BIN=$(cd "$(dirname "$(readlink -f "$0")")/.." && pwd)/target/release
fi
[[ -z $BIN ]] || PATH=$BIN:$PATH
for program in sluiced sluicectl sluice-bench; do
    command -v "$program" >/dev/null || die "$program is not on PATH; say --bin FOLDER"
done

RUN=$(mktemp -d -t sluice-vpp-XXXXXX)
DAEMON=''
stop_daemon() {
    if [[ -n $DAEMON ]]; then
        kill "$DAEMON" 2>/dev/null || true
        wait "$DAEMON" 2>/dev/null || true
        DAEMON=''
    fi
}
cleanup() {
    stop_daemon
    rm -rf "$RUN"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The commands of one case, the same for both.
commands() {
    local encap=$1
    cat <<EOF
set interface ip address Ethernet0 10.10.0.1/16
set interface state Ethernet0 up
set ip neighbor static Ethernet0 10.10.0.2 02:fe:00:00:00:02
ip route add 10.0.0.0/24 via 10.10.0.2 Ethernet0
ip route add 16.0.0.0/8 via 10.10.0.2 Ethernet0
lb conf ip4-src-address 10.10.0.1 buckets $BUCKETS
EOF
    local key='90.0.0.1/32' more=''
    case $encap in
        gre4) more='encap gre4' ;;
        l3dsr) more='encap l3dsr dscp 7' ;;
        *)
            key='90.0.0.1/32 protocol udp port 20000'
            more='encap nat4 type clusterip target_port 3307'
            ;;
    esac
    echo "lb vip $key $more new_len 1024"
    echo "lb as $key $(printf '10.0.0.%s ' {1..16})"
    if [[ $encap == nat4-return ]]; then
        echo 'lb set interface nat4 in Ethernet0'
    fi
}

start_vpp() {
    local file=$1 mbufs=$2
    cat >"$RUN/vpp.conf" <<EOF
unix { nodaemon nosyslog log $RUN/vpp.log cli-listen $RUN/vpp.sock runtime-dir $RUN exec $RUN/commands }
api-segment { prefix sluice-compare-$$ }
socksvr { socket-name $RUN/vpp-api.sock }
statseg { socket-name $RUN/vpp-stats.sock }
memory { main-heap-size 2G }
buffers { buffers-per-numa $mbufs default data-size 2048 page-size default-hugepage }
cpu { main-core 0 corelist-workers $CPU }
plugins { plugin default { disable } plugin dpdk_plugin.so { enable } plugin lb_plugin.so { enable } }
dpdk { no-pci no-multi-seg vdev net_pcap0,rx_pcap=$file,infinite_rx=1 }
EOF
    vpp -c "$RUN/vpp.conf" >"$RUN/vpp.out" 2>&1 &
    DAEMON=$!
}

start_sluice() {
    local file=$1 mbufs=$2
    cat >"$RUN/sluice.toml" <<EOF
[cpu]
main-core = 0
corelist-workers = "$CPU"
poll = "busy"
[dpdk]
buffers-per-numa = $mbufs
[[dpdk.dev]]
name = "Ethernet0"
vdev = "net_pcap0,rx_pcap=$file,infinite_rx=1"
[unix]
cli-listen = "$RUN/sluice.sock"
exec = "$RUN/commands"
EOF
    sluiced --config "$RUN/sluice.toml" >"$RUN/sluice.out" 2>&1 &
    DAEMON=$!
}

ask() {
    case $1 in
        vpp) vppctl -s "$RUN/vpp.sock" "${@:2}" ;;
        sluice) sluicectl -s "$RUN/sluice.sock" "${@:2}" ;;
    esac
}

wait_for() {
    local system=$1 tries
    for ((tries = 0; tries < 300; tries++)); do
        if ! kill -0 "$DAEMON" 2>/dev/null; then
            cat "$RUN/$system.out" >&2
            die "$system ended"
        fi
        if ask "$system" show version >/dev/null 2>&1; then return; fi
        sleep 0.1
    done
    cat "$RUN/$system.out" >&2
    die "$system did not answer"
}

# TSC clocks per packet over all nodes of the worker, and Mpps, from "show runtime"; fails unless all
# packets that came were sent. Both programs print the same columns: name, state, calls, vectors, suspends,
# clocks per packet, vectors per call.
whole_path() {
    awk '
        /^Thread|^-----/ { worker = 0 }
        /^Thread/ && !/_main|lcore 0/ { worker = 1 }
        worker && $1 == "Time" { sub(",", "", $2); time = $2 }
        worker && $1 == "vector" { sub(",", "", $4); sub(",", "", $6); came = $4 + 0; left = $6 + 0 }
        worker && NF == 7 && $3 $4 ~ /^[0-9]+$/ && $4 > 0 {
            clocks += $4 * $6
            if ($1 == "dpdk-input") packets = $4
        }
        END {
            if (packets == 0 || left < 0.99 * came) exit 1
            printf "%.1f %.3f\n", clocks / packets, packets / time / 1e6
        }'
}

measure() {
    local system=$1 file=$2 mbufs=$3 figures
    "start_$system" "$file" "$mbufs"
    wait_for "$system"
    # Flows begin, and caches fill.
    sleep 2
    ask "$system" clear runtime >/dev/null
    sleep "$SECONDS_EACH"
    ask "$system" show runtime >"$RUN/runtime"
    stop_daemon
    figures=$(whole_path <"$RUN/runtime") || {
        cat "$RUN/runtime" >&2
        die "$system: not all packets that came were sent"
    }
    echo "$figures"
}

median() {
    sort -g | awk '{ v[NR] = $1 } END { print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

# One at a time: the packets of a file are for the port that replays it, which is the first here.
write_packets() {
    sluice-bench run --harness pcap --pcaps "$RUN/pcaps" --encap "$1" --flows "$2" \
        --cpu "$CPU" --repeats 1 --millis 1 >"$RUN/bench.out" 2>&1 || {
        cat "$RUN/bench.out" >&2
        die "sluice-bench could not write the packets"
    }
}

echo "TSC clocks per packet, whole path, medians of $PAIRS runs of ${SECONDS_EACH} s, in alternation"
printf '%-12s %10s %10s %10s %8s\n' encap flows vpp sluice ratio
for encap in ${ENCAPS//,/ }; do
    way=in
    [[ $encap != nat4-return ]] || way=out
    commands "$encap" >"$RUN/commands"
    for flows in ${FLOWS//,/ }; do
        file=$RUN/pcaps/udp_${way}_64_$flows.pcap
        write_packets "$encap" "$flows"
        [[ -f $file ]] || die "sluice-bench has not written $(basename "$file")"
        : >"$RUN/vpp" && : >"$RUN/sluice"
        for ((pair = 0; pair < PAIRS; pair++)); do
            for system in "${SYSTEMS[@]}"; do
                measure "$system" "$file" $((flows + 32768)) >>"$RUN/$system"
            done
        done
        ours=$(cut -d' ' -f1 "$RUN/sluice" | median)
        if [[ -s $RUN/vpp ]]; then
            theirs=$(cut -d' ' -f1 "$RUN/vpp" | median)
            ratio=$(awk "BEGIN { printf \"%.3f\", $ours / $theirs }")
        else
            theirs=- ratio=-
        fi
        printf '%-12s %10s %10s %10s %8s\n' "$encap" "$flows" "$theirs" "$ours" "$ratio"
    done
done
