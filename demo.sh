#!/usr/bin/env bash
#
# See Sluice balance your own HTTP requests: builds it, makes a small network out of Linux network
# namespaces, puts Sluice in its middle, sends requests through it and cleans everything up.
#
# SPDX-License-Identifier: Apache-2.0

set -euo pipefail
cd "$(dirname "$(readlink -f "$0")")"
REPO=$PWD

usage() {
    cat <<'USAGE'
Usage: ./demo.sh [OPTION...]

  --keep          leave everything running at the end and print how to explore it
  --stop          end a demo that was left running, and nothing else
  --prefix NAME   put NAME in front of every namespace name (default: none)
  --bin-dir DIR   take sluiced and sluicectl from DIR instead of building them
  -h, --help      print this

              client 10.10.10.1
                   | 10.10.10.254
             +-----+------+  192.168.1.254   web      192.168.1.1:80  192.168.1.3:80
             |   sluice   +----------------- (GigabitEthernet0/9/0)
             +-+----+---+-+
               |    |   '---- server3  33.33.33.1:8080
               |    '-------- server2  32.32.32.1:8080
               '------------- server1  31.31.31.1:8080

  10.10.2.2:8080     -> 192.168.1.1:80, 192.168.1.3:80
  20.20.20.1:2020    -> server1, server2, server3   (an address routed to the load balancer)
  10.10.10.254:2020  -> server1, server2, server3   (the load balancer's own address)
USAGE
}

KEEP=0 STOP=0 BUILD=1 PREPARED=0 PREFIX='' BIN_DIR=${CARGO_TARGET_DIR:-$REPO/target}/release
ORIGINAL_ARGUMENTS=("$@")
while (($#)); do
    case $1 in
        --keep) KEEP=1 ;;
        --stop) STOP=1 ;;
        --prefix | --bin-dir)
            (($# > 1)) || {
                echo "demo.sh: $1 needs a value" >&2
                exit 2
            }
            if [[ $1 == --prefix ]]; then PREFIX=$2; else BIN_DIR=$(readlink -f "$2") BUILD=0; fi
            shift
            ;;
        --prepared) PREPARED=1 ;; # internal: packages and binaries are there, we are root now
        -h | --help)
            usage
            exit
            ;;
        *)
            echo "demo.sh: unknown option '$1'" >&2
            usage >&2
            exit 2
            ;;
    esac
    shift
done
if [[ ! $PREFIX =~ ^[A-Za-z0-9_.-]{0,40}$ ]]; then
    echo "demo.sh: a prefix is made of letters, digits, '_', '.' and '-'" >&2
    exit 2
fi

if [[ -t 1 ]]; then BOLD=$'\e[1m' DIM=$'\e[2m' RED=$'\e[31m' PLAIN=$'\e[0m'; else BOLD='' DIM='' RED='' PLAIN=''; fi
headline() { printf '\n%s%s%s\n' "$BOLD" "$*" "$PLAIN"; }
note() { printf '%s\n' "$*"; }
fail() {
    printf '%sdemo.sh: %s%s\n' "$RED" "$*" "$PLAIN" >&2
    exit 1
}

RUN_DIR=/run/sluice-demo${PREFIX:+-$PREFIX}
SOCKET=$RUN_DIR/cli.sock
SERVERS=(server1 server2 server3)
NAMESPACES=(client "${SERVERS[@]}" web lb)

# ---------------------------------------------------------------- packages and binaries

install_packages() {
    local package missing=()
    # What this script runs, and what the build needs.
    for package in curl ethtool iproute2 iputils-ping procps python3 util-linux \
        clang gcc libc6-dev libclang-dev libdpdk-dev pkg-config; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed$' || missing+=("$package")
    done
    if ((${#missing[@]} == 0)); then return; fi
    note "Installing Debian packages: ${missing[*]}"
    local log
    log=$(mktemp)
    if ! {
        as_root apt-get update -q &&
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
    } >"$log" 2>&1 </dev/null; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        fail "apt-get could not install: ${missing[*]}"
    fi
    rm -f "$log"
}

as_root() {
    if [[ $(id -u) -eq 0 ]]; then
        "$@"
    else
        sudo -- "$@"
    fi
}

# Prints the command that runs cargo. Under plain `sudo ./demo.sh` the toolchain belongs to the
# user who called sudo, and so should the files that the build makes.
cargo_command() {
    local home
    if [[ $(id -u) -eq 0 && -n ${SUDO_USER:-} && $SUDO_USER != root ]]; then
        home=$(getent passwd "$SUDO_USER" | cut -d: -f6)
        if [[ -x $home/.cargo/bin/cargo ]]; then
            printf '%s\n' runuser -u "$SUDO_USER" -- env "HOME=$home" "PATH=$home/.cargo/bin:$PATH" cargo
            return
        fi
    fi
    if command -v cargo >/dev/null; then
        echo cargo
    elif [[ -x $HOME/.cargo/bin/cargo ]]; then
        printf '%s\n' env "PATH=$HOME/.cargo/bin:$PATH" cargo
    else
        return 1
    fi
}

build() {
    local cargo command
    command=$(cargo_command) ||
        fail "cargo was not found. Install Rust from https://rustup.rs (sluice needs 1.95 or newer), then run this again."
    readarray -t cargo <<<"$command"
    note "Building sluiced and sluicectl (release; some minutes the first time)"
    "${cargo[@]}" build --release --package control --package cli --quiet </dev/null ||
        fail "the build failed; the errors are above"
}

if ((PREPARED == 0)); then
    if [[ $(id -u) -ne 0 ]] && ! command -v sudo >/dev/null; then
        fail "network namespaces need root: run this as root, or install sudo"
    fi
    if ((STOP == 0)); then
        command -v apt-get >/dev/null || fail "this demo installs what it needs with apt-get: run it on Debian 12"
        install_packages
        if ((BUILD)); then build; fi
        for program in sluiced sluicectl; do
            [[ -x $BIN_DIR/$program ]] || fail "$BIN_DIR/$program is missing"
        done
    fi
    if [[ $(id -u) -ne 0 ]]; then
        note "Becoming root for the network namespaces (sudo)"
        exec sudo -- "$REPO/demo.sh" --prepared "${ORIGINAL_ARGUMENTS[@]}" --bin-dir "$BIN_DIR"
    fi
fi

# ---------------------------------------------------------------- cleaning up

in_ns() { # NAMESPACE COMMAND...
    local name=$1
    shift
    ip netns exec "$PREFIX$name" "$@"
}

# Ends the processes inside our namespaces: politely, then not.
end_processes() {
    local name pids attempt
    for attempt in {1..50}; do
        pids=$(for name in "$@"; do ip netns pids "$name" 2>/dev/null || true; done)
        [[ -n $pids ]] || return 0
        # shellcheck disable=SC2086 # one word per process
        if ((attempt == 1)); then kill -TERM $pids 2>/dev/null || true; fi
        # shellcheck disable=SC2086
        if ((attempt == 45)); then kill -KILL $pids 2>/dev/null || true; fi
        sleep 0.2
    done
    note "still running: $pids"
}

# Undoes everything that this or an earlier demo of the same prefix wrote down in RUN_DIR.
clean_up() {
    local name path pages
    local names=()
    [[ -d $RUN_DIR ]] || return 0
    if [[ -f $RUN_DIR/namespaces ]]; then readarray -t names <"$RUN_DIR/namespaces"; fi
    if ((${#names[@]})); then
        end_processes "${names[@]}"
        for name in "${names[@]}"; do
            if [[ -e /run/netns/$name ]]; then ip netns delete "$name"; fi
        done
    fi
    if [[ -f $RUN_DIR/mounted ]] && mountpoint -q /dev/hugepages; then umount /dev/hugepages || true; fi
    if [[ -f $RUN_DIR/hugepages ]]; then
        while read -r path pages; do echo "$pages" >"$path" || true; done <"$RUN_DIR/hugepages"
    fi
    rm -rf "$RUN_DIR"
}

exec 9>"/run/lock/sluice-demo${PREFIX:+-$PREFIX}.lock"
flock --timeout 5 9 || fail "another demo is running right now"

if ((STOP)); then
    if [[ -d $RUN_DIR ]]; then
        clean_up
        note "The demo has been stopped and cleaned up."
    else
        note "No demo is running."
    fi
    exit
fi

FINISHED=0
# shellcheck disable=SC2317 # the trap below calls it
at_exit() {
    local status=$?
    trap - EXIT
    trap '' INT TERM HUP PIPE
    set +e
    if ((FINISHED && KEEP)); then exit "$status"; fi
    if ((!FINISHED)) && [[ -s $RUN_DIR/sluiced.log ]]; then
        printf '\nThe last lines of the log of sluiced:\n' >&2
        tail -n 15 "$RUN_DIR/sluiced.log" >&2
    fi
    clean_up
    note ""
    note "Cleaned up: namespaces, processes, files and hugepages are as they were."
    exit "$status"
}
trap at_exit EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
trap 'exit 141' PIPE

if [[ -d $RUN_DIR ]]; then
    note "Removing what an earlier demo left"
    clean_up
fi
for name in "${NAMESPACES[@]}"; do
    if [[ -e /run/netns/$PREFIX$name ]]; then
        trap - EXIT
        fail "there is a network namespace '$PREFIX$name' that is not ours: remove it (ip netns delete $PREFIX$name), or use --prefix"
    fi
done
mkdir -p "$RUN_DIR"

# ---------------------------------------------------------------- hugepages

# Remembers what the kernel has reserved, then asks for at least 256 MB per node.
HUGEPAGES=auto
set_up_hugepages() {
    local file text
    for file in /sys/devices/system/node/node*/hugepages/hugepages-2048kB/nr_hugepages; do
        if [[ -f $file ]]; then echo "$file $(<"$file")"; fi
    done >"$RUN_DIR/hugepages"
    if ! mountpoint -q /dev/hugepages; then touch "$RUN_DIR/mounted"; fi
    if text=$("$REPO/hugepages-setup.sh" --size 2M --at-least --reserve 256M --mount 2>&1); then
        note "$text"
    else
        note "$text"
        note "Going on without hugepages: slower, but good enough for a demo."
        HUGEPAGES=off
    fi
}

headline "Hugepages"
set_up_hugepages

# ---------------------------------------------------------------- the network

add_namespace() {
    echo "$PREFIX$1" >>"$RUN_DIR/namespaces"
    ip netns add "$PREFIX$1"
    in_ns "$1" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1 net.ipv4.ip_forward=0
    in_ns "$1" ip link set lo up
}

# A veth pair: "eth0" in NAMESPACE with GATEWAY as default route, LB_END in the load balancer's.
# The load balancer's end gets no address: DPDK reads its frames, and the kernel must not answer.
# Checksum and segmentation offloads go off at both ends. With them on, the sending kernel leaves
# the TCP checksum for hardware to finish, and there is no hardware here.
add_link() { # NAMESPACE LB_END GATEWAY ADDRESS...
    local name=$1 lb_end=$2 gateway=$3 address
    shift 3
    ip link add eth0 netns "$PREFIX$name" type veth peer name "$lb_end" netns "${PREFIX}lb"
    in_ns "$name" ethtool -K eth0 tx off rx off tso off gso off gro off >/dev/null
    in_ns lb ethtool -K "$lb_end" tx off rx off tso off gso off gro off >/dev/null
    for address in "$@"; do in_ns "$name" ip address add "$address" dev eth0; done
    in_ns lb ip link set "$lb_end" up
    in_ns "$name" ip link set eth0 up
    in_ns "$name" ip route add default via "$gateway"
}

headline "A network of six namespaces"
for name in "${NAMESPACES[@]}"; do add_namespace "$name"; done
add_link client veth-client 10.10.10.254 10.10.10.1/24
add_link web veth-web 192.168.1.254 192.168.1.1/24 192.168.1.3/24
for i in 1 2 3; do add_link "server$i" "veth-server$i" "3$i.3$i.3$i.254" "3$i.3$i.3$i.1/24"; done
note "client 10.10.10.1;  server1 31.31.31.1, server2 32.32.32.1, server3 33.33.33.1;"
note "web 192.168.1.1 and 192.168.1.3;  in their middle lb, where only Sluice moves packets"

# ---------------------------------------------------------------- the servers

# Each answers with its name, and the address and port of the client that it sees.
start_servers() { # NAMESPACE NAME@ADDRESS:PORT...
    local name=$1
    shift
    in_ns "$name" /usr/bin/python3 "$REPO/tests/e2e/server.py" http "$@" </dev/null >/dev/null 2>>"$RUN_DIR/servers.log" 9>&- &
}

wait_for() { # SECONDS WHAT COMMAND...
    local seconds=$1 what=$2 i
    shift 2
    for ((i = 0; i < seconds * 10; i++)); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        sleep 0.1
    done
    fail "$what did not come up within $seconds seconds"
}

for i in 1 2 3; do start_servers "server$i" "server$i@3$i.3$i.3$i.1:8080"; done
start_servers web web-1@192.168.1.1:80 web-3@192.168.1.3:80
for i in 1 2 3; do
    wait_for 10 "the HTTP server of server$i" in_ns "server$i" curl -sf -m 1 "http://3$i.3$i.3$i.1:8080/"
done
for i in 1 3; do wait_for 10 "the HTTP server web-$i" in_ns web curl -sf -m 1 "http://192.168.1.$i/"; done

# ---------------------------------------------------------------- sluice

devices=0
port() { # NAME VETH ADDRESS/LENGTH: one port as TOML
    cat <<TOML

[[dpdk.dev]]
name = "$1"
vdev = "net_af_packet$devices,iface=$2"

[[interface]]
name = "$1"
address = ["$3"]
state = "up"
TOML
    devices=$((devices + 1))
}

{
    cat <<TOML
# Written by demo.sh. docs/ describes every key.
[cpu]
main-core = 0
workers = 1
poll = "adaptive"

[dpdk]
hugepages = "$HUGEPAGES"
buffers-per-numa = 16384

[unix]
cli-listen = "$SOCKET"

[lb]
buckets = 65536
TOML
    port GigabitEthernet0/9/0 veth-web 192.168.1.254/24
    port client0 veth-client 10.10.10.254/24
    for i in 1 2 3; do port "server$i" "veth-server$i" "3$i.3$i.3$i.254/24"; done
} >"$RUN_DIR/sluice.toml"

start_daemon() {
    in_ns lb "$BIN_DIR/sluiced" --config "$RUN_DIR/sluice.toml" </dev/null >"$RUN_DIR/sluiced.log" 2>&1 9>&- &
    DAEMON=$!
    local i
    for ((i = 0; i < 300; i++)); do
        if "$BIN_DIR/sluicectl" -s "$SOCKET" show version >/dev/null 2>&1 </dev/null; then return 0; fi
        kill -0 "$DAEMON" 2>/dev/null || return 1
        sleep 0.1
    done
    return 1
}

sluice() { # WORDS...: one command, shown as it would be typed
    printf '%ssluice#%s %s\n' "$DIM" "$PLAIN" "$*"
    "$BIN_DIR/sluicectl" -s "$SOCKET" "$@" </dev/null
}

headline "Sluice starts (${BIN_DIR#"$REPO/"}/sluiced --config $RUN_DIR/sluice.toml)"
if ! start_daemon; then
    if [[ $HUGEPAGES == auto ]]; then
        # The kernel may take pages back, or forbid them to a container, between our check and now.
        note "It did not come up with hugepages; once more without."
        if kill -0 "$DAEMON" 2>/dev/null; then kill -TERM "$DAEMON"; fi
        wait "$DAEMON" 2>/dev/null || true
        sed -i 's/^hugepages = .*/hugepages = "off"/' "$RUN_DIR/sluice.toml"
        start_daemon || fail "sluiced did not come up"
    else
        fail "sluiced did not come up"
    fi
fi
sluice show version

headline "It is a router already: the client reaches the servers directly (which client do they see?)"
ROUTING_FAILURES=0
in_ns client ping -c 3 -i 0.2 -W 2 31.31.31.1 || ROUTING_FAILURES=1
for i in 1 2 3; do
    answer=$(in_ns client curl -sS -m 5 "http://3$i.3$i.3$i.1:8080/" 2>&1) || ROUTING_FAILURES=1
    note "http://3$i.3$i.3$i.1:8080/  ->  $answer"
    [[ $answer == "server$i 10.10.10.1 "* ]] || ROUTING_FAILURES=1
done

headline "Three virtual services, with the commands of the VPP load balancer"
sluice lb set interface nat4 in GigabitEthernet0/9/0
sluice lb vip 10.10.2.2/32 protocol tcp port 8080 encap nat4 type clusterip target_port 80
sluice lb as 10.10.2.2/32 protocol tcp port 8080 192.168.1.1 192.168.1.3
sluice lb set interface nat4 in server1 in server2 in server3
for vip in 20.20.20.1 10.10.10.254; do
    sluice lb vip "$vip/32" protocol tcp port 2020 encap nat4 type clusterip target_port 8080
    sluice lb as "$vip/32" protocol tcp port 2020 31.31.31.1 32.32.32.1 33.33.33.1
done

# ---------------------------------------------------------------- requests

FAILURES=0
REQUESTS=12
send_requests() { # VIP:PORT SERVER... (the servers that may answer)
    local vip=$1 answer server answers='' reason='' in_a_row=0 i
    shift
    for ((i = 1; i <= REQUESTS; i++)); do
        answer=$(in_ns client curl -sS --connect-timeout 3 -m 5 "http://$vip/" 2>&1) || true
        server=${answer%% *}
        if [[ " $* " == *" $server "* && $answer == "$server 10.10.10.1 "* ]]; then
            answers+=" $server"
            in_a_row=0
            continue
        fi
        answers+=" FAILED"
        reason=$answer
        FAILURES=$((FAILURES + 1)) in_a_row=$((in_a_row + 1))
        if ((in_a_row == 3)); then
            answers+=" and so on"
            FAILURES=$((FAILURES + REQUESTS - i))
            break
        fi
    done
    printf '%-18s ->%s\n' "$vip" "$answers"
    [[ -z $reason ]] || note "                   $reason"
}

headline "$REQUESTS HTTP requests to each; who answered (every server must see the client's own address)"
send_requests 10.10.2.2:8080 web-1 web-3
send_requests 20.20.20.1:2020 "${SERVERS[@]}"
send_requests 10.10.10.254:2020 "${SERVERS[@]}"
if in_ns client ping -q -c 1 -W 2 10.10.2.2 >/dev/null; then
    note "ping 10.10.2.2     -> answered by Sluice itself"
else
    note "ping 10.10.2.2     -> FAILED"
    FAILURES=$((FAILURES + 1))
fi

headline "What Sluice counted"
sluice show lb vips verbose
sluice show interface
sluice show runtime

FINISHED=1
note ""
if ((FAILURES || ROUTING_FAILURES)); then
    printf '%sFAILED: %d of %d requests through the virtual services went wrong%s%s\n' "$RED" "$FAILURES" \
        $((3 * REQUESTS + 1)) "$(if ((ROUTING_FAILURES)); then echo ", and so did direct access"; fi)" "$PLAIN"
    RESULT=1
else
    note "${BOLD}All $((3 * REQUESTS)) requests were answered, by the right servers.${PLAIN}"
    RESULT=0
fi

if ((KEEP)); then
    headline "Left running. To explore, as root:"
    cat <<EXPLORE
  export SLUICE_SOCKET=$SOCKET PATH=$BIN_DIR:\$PATH

  sluicectl                           the command line: '?' helps, Tab completes, 'quit' leaves
  ip netns exec ${PREFIX}client curl http://20.20.20.1:2020/
  ip netns exec ${PREFIX}server1 tcpdump -ni eth0 tcp
  sluicectl lb as 20.20.20.1/32 protocol tcp port 2020 31.31.31.1 weight 0
  sluicectl show lb vips verbose      new connections avoid server1 now
  sluicectl trace add dpdk-input 20   after some more requests: sluicectl show trace
  curl --unix-socket $SOCKET http://localhost/v1/lb/vips

  $RUN_DIR has the configuration and the log.
  $REPO/demo.sh --stop${PREFIX:+ --prefix $PREFIX} ends it and cleans up.
EXPLORE
fi
exit "$RESULT"
