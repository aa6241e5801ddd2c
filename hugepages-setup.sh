#!/usr/bin/env bash
#
# Reserve and mount hugepages for a DPDK application, on every NUMA node or on chosen ones.
# The short options are those of DPDK's own dpdk-hugepages.py.
#
# SPDX-License-Identifier: Apache-2.0

set -euo pipefail

PROGRAM=${0##*/}
# Prefix of every path touched below, so that the tests can work on a made-up machine.
ROOT=${SLUICE_HUGEPAGES_ROOT:-}
SYSFS_NODES=$ROOT/sys/devices/system/node
SYSFS_FLAT=$ROOT/sys/kernel/mm/hugepages
PROC=$ROOT/proc
SYSCTL_FILE=$ROOT/etc/sysctl.d/80-sluice-hugepages.conf
TMPFILES_FILE=$ROOT/etc/tmpfiles.d/80-sluice-hugepages.conf
UNIT_DIR=$ROOT/etc/systemd/system

usage() {
    cat <<USAGE
Usage: $PROGRAM ACTION... [OPTION...]

Actions (several may be given; they run in this order):
  -c, --clear          give every reserved hugepage back to the kernel
  -u, --unmount        unmount the hugepage filesystem
  -r, --reserve SIZE   have SIZE bytes of hugepages reserved on each NUMA node (256M, 1G, ...)
  -m, --mount          mount the hugepage filesystem
      --setup SIZE     the same as --clear --unmount --reserve SIZE --mount
      --persist        make the reservation and the mount survive a reboot: a sysctl.d (or, for
                       single nodes or another page size, tmpfiles.d) file and a mount unit
      --unpersist      remove the files that --persist wrote
  -s, --show, --status print what is reserved, free and mounted (also when no action is given)

Options:
  -p, --pagesize, --size SIZE   page size: 2M, 1G, ...      (default: the kernel's default)
  -n, --node LIST      only these NUMA nodes: 0 or 0,1      (default: every node with memory)
  -d, --directory DIR  mount point                          (default: /dev/hugepages)
  -U, --user USER      owner of the mount
  -G, --group GROUP    group of the mount
      --at-least       never lower a reservation that is larger already
  -h, --help           print this

Examples:
  $PROGRAM --setup 1G --persist          1 GiB per node now and after every reboot
  $PROGRAM -p 1G -n 0 -r 4G -m           four 1 GiB pages on node 0
  $PROGRAM --status
USAGE
}

say() { printf '%s\n' "$*"; }
complain() { printf '%s: %s\n' "$PROGRAM" "$*" >&2; }
die() {
    complain "$*"
    exit 1
}
bad_usage() {
    printf '%s: %s\nTry: %s --help\n' "$PROGRAM" "$*" "$PROGRAM" >&2
    exit 2
}

# "2M" -> 2048. A bare number is bytes, as in dpdk-hugepages.py.
to_kb() {
    local text=${1^^} number unit
    text=${text%B}
    [[ $text =~ ^([0-9]{1,9})([KMGT]?)$ ]] || bad_usage "'$1' is not a size: write 2M, 512M, 1G, ..."
    number=${BASH_REMATCH[1]} unit=${BASH_REMATCH[2]}
    case $unit in
        '') echo $((10#$number / 1024)) ;;
        K) echo $((10#$number)) ;;
        M) echo $((10#$number * 1024)) ;;
        G) echo $((10#$number * 1024 * 1024)) ;;
        T) echo $((10#$number * 1024 * 1024 * 1024)) ;;
    esac
}

# 2048 -> "2M": the largest unit that leaves a whole number.
from_kb() {
    local kb=$1
    if ((kb == 0)); then
        echo 0
    elif ((kb % 1048576 == 0)); then
        echo "$((kb / 1048576))G"
    elif ((kb % 1024 == 0)); then
        echo "$((kb / 1024))M"
    else
        echo "${kb}K"
    fi
}

default_page_kb() {
    local kb
    kb=$(awk '$1 == "Hugepagesize:" { print $2 }' "$PROC/meminfo" 2>/dev/null) || true
    [[ -n $kb ]] || die "this kernel has no hugepage support (no Hugepagesize in /proc/meminfo)"
    echo "$kb"
}

# One word per place that can hold a reservation: a node number, or "-" without NUMA sysfs.
all_places() {
    local directory found=0
    for directory in "$SYSFS_NODES"/node[0-9]*; do
        # A node of CPUs alone (or of memory that takes no hugepages) has no such folder.
        if [[ -d $directory/hugepages ]]; then
            echo "${directory##*/node}"
            found=1
        fi
    done
    if ((found == 0)); then
        [[ -d $SYSFS_FLAT ]] || die "this kernel has no hugepage support ($SYSFS_FLAT is missing)"
        echo -
    fi
}

pages_dir() { # PLACE -> the folder with one hugepages-NkB folder per page size
    if [[ $1 == - ]]; then echo "$SYSFS_FLAT"; else echo "$SYSFS_NODES/node$1/hugepages"; fi
}

place_name() { if [[ $1 == - ]]; then echo "this machine"; else echo "node $1"; fi; }

size_dir() { # PLACE PAGE_KB
    local base directory size sizes=
    base=$(pages_dir "$1")
    if [[ ! -d $base/hugepages-$2kB ]]; then
        for directory in "$base"/hugepages-*kB; do
            size=${directory##*hugepages-}
            sizes+=" $(from_kb "${size%kB}")"
        done
        die "$(place_name "$1") has no $(from_kb "$2") pages; it has:$sizes"
    fi
    echo "$base/hugepages-$2kB"
}

need_root() {
    if [[ -z $ROOT && $(id -u) -ne 0 ]]; then
        die "must be root to $1: run 'sudo $0 ...'"
    fi
}

write_pages() { # DIRECTORY PAGES -> writes, prints how many the kernel gave
    echo "$2" >"$1/nr_hugepages" || die "cannot write $1/nr_hugepages"
    cat "$1/nr_hugepages"
}

memory_kb() { # PLACE KEY -> kB, nothing when the kernel does not tell
    if [[ $1 == - ]]; then
        awk -v key="$2:" '$1 == key { print $2 }' "$PROC/meminfo" 2>/dev/null || true
    else
        awk -v key="$2:" '$3 == key { print $4 }' "$SYSFS_NODES/node$1/meminfo" 2>/dev/null || true
    fi
}

clear_all() {
    need_root "give hugepages back"
    local place directory got before
    for place in $(all_places); do
        for directory in "$(pages_dir "$place")"/hugepages-*kB; do
            before=$(<"$directory/nr_hugepages")
            ((before > 0)) || continue
            got=$(write_pages "$directory" 0)
            say "$(place_name "$place"): gave back $((before - got)) of $before pages (${directory##*hugepages-})"
            ((got == 0)) || say "  $got are in use and go when their process ends"
        done
    done
}

reserve() {
    need_root "reserve hugepages"
    local place directory before got kb failed=0
    for place in "${PLACES[@]}"; do
        directory=$(size_dir "$place" "$PAGE_KB")
        before=$(<"$directory/nr_hugepages")
        if ((before == PAGES)) || { ((AT_LEAST)) && ((before > PAGES)); }; then
            say "$(place_name "$place"): $before pages of $(from_kb "$PAGE_KB") already reserved ($(from_kb $((before * PAGE_KB))))"
            continue
        fi
        # Asking for more than there is would squeeze everything else out of memory first.
        kb=$(memory_kb "$place" MemTotal)
        if [[ -n $kb ]] && ((PAGES * PAGE_KB > kb)); then
            complain "$(place_name "$place"): $(from_kb $((PAGES * PAGE_KB))) asked for, but its whole memory is $((kb / 1024))M"
            failed=1
            continue
        fi
        got=$(write_pages "$directory" "$PAGES")
        if ((got < PAGES)) && [[ -w $PROC/sys/vm/compact_memory ]]; then
            # Free memory may be there but scattered: let the kernel gather it, and ask once more.
            echo 1 >"$PROC/sys/vm/compact_memory" || true
            got=$(write_pages "$directory" "$PAGES")
        fi
        if ((got == PAGES)); then
            say "$(place_name "$place"): $got pages of $(from_kb "$PAGE_KB") reserved ($(from_kb $((got * PAGE_KB)))), was $before"
        elif ((got > PAGES)); then
            say "$(place_name "$place"): $got pages of $(from_kb "$PAGE_KB") stay reserved, $PAGES wanted: the others are in use"
        else
            write_pages "$directory" "$before" >/dev/null
            kb=$(memory_kb "$place" MemFree)
            complain "$(place_name "$place"): only $got of $PAGES pages of $(from_kb "$PAGE_KB") could be had ($(from_kb $((got * PAGE_KB))) of $(from_kb $((PAGES * PAGE_KB)))); left at $before"
            [[ -z $kb ]] || complain "$(place_name "$place"): $((kb / 1024))M of its memory is free"
            failed=1
        fi
    done
    if ((failed)); then
        complain "reserve less, stop what uses the memory, or reserve at boot with 'hugepagesz=$(from_kb "$PAGE_KB") hugepages=$((PAGES * ${#PLACES[@]}))' on the kernel command line"
        return 1
    fi
}

is_mounted() { awk -v dir="$1" '$3 == "hugetlbfs" && $2 == dir { found = 1 } END { exit !found }' "$PROC/mounts"; }

mount_options() {
    local options
    options=pagesize=$(from_kb "$PAGE_KB")
    [[ -z $OWNER ]] || options+=,uid=$OWNER
    [[ -z $GROUP ]] || options+=,gid=$GROUP
    echo "$options"
}

mount_pages() {
    need_root "mount $DIRECTORY"
    if is_mounted "$DIRECTORY"; then
        say "$DIRECTORY: already mounted"
        return
    fi
    mkdir -p "$ROOT$DIRECTORY"
    mount -t hugetlbfs -o "$(mount_options)" nodev "$ROOT$DIRECTORY"
    say "$DIRECTORY: mounted ($(mount_options))"
}

unmount_pages() {
    need_root "unmount $DIRECTORY"
    if is_mounted "$DIRECTORY"; then
        umount "$ROOT$DIRECTORY"
        say "$DIRECTORY: unmounted"
    else
        say "$DIRECTORY: not mounted"
    fi
}

# Write standard input to FILE unless it says so already.
install_file() {
    local file=$1 text
    text=$(cat)
    if [[ -f $file && $(<"$file") == "$text" ]]; then
        say "$file: already as wanted"
    else
        mkdir -p "${file%/*}"
        printf '%s\n' "$text" >"$file"
        say "$file: written"
    fi
}

unit_file() {
    local name
    if command -v systemd-escape >/dev/null; then
        name=$(systemd-escape --path --suffix=mount "$DIRECTORY")
    else
        name=${DIRECTORY#/}
        name=${name//-/\\x2d}
        name=${name//\//-}.mount
    fi
    echo "$UNIT_DIR/$name"
}

systemd_runs() { [[ -z $ROOT && -d /run/systemd/system ]]; }

persist() {
    need_root "write to /etc"
    local place total=0 directory unit pages
    unit=$(unit_file)
    for place in "${PLACES[@]}"; do
        directory=$(size_dir "$place" "$PAGE_KB")
        pages=$(<"$directory/nr_hugepages")
        total=$((total + pages))
    done
    if ((total == 0)); then
        die "nothing is reserved, so there is nothing to persist: add --reserve SIZE"
    fi
    if ((PAGE_KB == $(default_page_kb))) && [[ -z $NODES ]]; then
        # vm.nr_hugepages counts the whole machine; the kernel spreads it over the nodes evenly.
        printf '# Written by %s.\nvm.nr_hugepages = %d\n' "$PROGRAM" "$total" | install_file "$SYSCTL_FILE"
        rm -f "$TMPFILES_FILE"
    else
        # sysctl knows neither nodes nor a second page size; tmpfiles.d writes to sysfs at boot.
        {
            printf '# Written by %s.\n' "$PROGRAM"
            for place in "${PLACES[@]}"; do
                directory=$(size_dir "$place" "$PAGE_KB")
                printf 'w %s/nr_hugepages - - - - %d\n' "${directory#"$ROOT"}" "$(<"$directory/nr_hugepages")"
            done
        } | install_file "$TMPFILES_FILE"
        rm -f "$SYSCTL_FILE"
        if ((PAGE_KB >= 1048576)); then
            say "note: pages this large are easier to get at boot: hugepagesz=$(from_kb "$PAGE_KB") hugepages=$total on the kernel command line"
        fi
    fi
    install_file "$unit" <<UNIT
# Written by $PROGRAM.
[Unit]
Description=Hugepages of $(from_kb "$PAGE_KB") at $DIRECTORY
DefaultDependencies=no
Before=sysinit.target
ConditionPathExists=/sys/kernel/mm/hugepages

[Mount]
What=hugetlbfs
Where=$DIRECTORY
Type=hugetlbfs
Options=$(mount_options)

[Install]
WantedBy=sysinit.target
UNIT
    if systemd_runs; then
        systemctl daemon-reload
        systemctl --quiet enable "${unit##*/}"
        say "${unit##*/}: enabled"
    fi
}

unpersist() {
    need_root "remove files from /etc"
    local file unit
    unit=$(unit_file)
    for file in "$SYSCTL_FILE" "$TMPFILES_FILE" "$unit"; do
        # Another hand's unit of the same name stays.
        if [[ ! -f $file ]] || ! grep -q "^# Written by $PROGRAM" "$file"; then continue; fi
        if [[ $file == "$unit" ]] && systemd_runs; then systemctl --quiet disable "${unit##*/}"; fi
        rm "$file"
        say "$file: removed"
    done
    if systemd_runs; then systemctl daemon-reload; fi
}

status() {
    local place directory size pages free
    printf '%-6s %-6s %8s %8s %8s\n' Node Size Pages Free Total
    for place in $(all_places); do
        for directory in "$(pages_dir "$place")"/hugepages-*kB; do
            size=${directory##*hugepages-} size=${size%kB}
            pages=$(<"$directory/nr_hugepages")
            free=$(<"$directory/free_hugepages")
            printf '%-6s %-6s %8d %8d %8s\n' "$place" "$(from_kb "$size")" "$pages" "$free" "$(from_kb $((pages * size)))"
        done
    done
    awk '$3 == "hugetlbfs" { printf "%s: mounted (%s)\n", $2, $4; found = 1 }
         END { if (!found) print "no hugepage filesystem is mounted" }' "$PROC/mounts"
    for file in "$SYSCTL_FILE" "$TMPFILES_FILE" "$(unit_file)"; do
        if [[ -f $file ]]; then say "$file: in place (kept across reboots)"; fi
    done
}

DO_CLEAR=0 DO_UNMOUNT=0 DO_MOUNT=0 DO_PERSIST=0 DO_UNPERSIST=0 DO_STATUS=0 AT_LEAST=0
RESERVE='' PAGE_SIZE='' NODES='' DIRECTORY=/dev/hugepages OWNER='' GROUP=''

[[ $# -gt 0 ]] || DO_STATUS=1
while (($#)); do
    option=$1
    shift
    case $option in
        --*=*)
            set -- "${option#*=}" "$@"
            option=${option%%=*}
            ;;
    esac
    case $option in
        -r | --reserve | --setup | -p | --pagesize | --size | -n | --node | -d | --directory | -U | --user | -G | --group)
            (($#)) || bad_usage "$option needs a value"
            value=$1
            shift
            ;;
    esac
    case $option in
        -c | --clear) DO_CLEAR=1 ;;
        -u | --unmount) DO_UNMOUNT=1 ;;
        -m | --mount) DO_MOUNT=1 ;;
        -s | --show | --status) DO_STATUS=1 ;;
        -r | --reserve) RESERVE=$value ;;
        --setup) DO_CLEAR=1 DO_UNMOUNT=1 DO_MOUNT=1 RESERVE=$value ;;
        --persist) DO_PERSIST=1 ;;
        --unpersist) DO_UNPERSIST=1 ;;
        -p | --pagesize | --size) PAGE_SIZE=$value ;;
        -n | --node) NODES=$value ;;
        -d | --directory) DIRECTORY=$value ;;
        -U | --user) OWNER=$value ;;
        -G | --group) GROUP=$value ;;
        --at-least) AT_LEAST=1 ;;
        -h | --help)
            usage
            exit
            ;;
        *) bad_usage "unknown option '$option'" ;;
    esac
done

if ! ((DO_CLEAR || DO_UNMOUNT || DO_MOUNT || DO_PERSIST || DO_UNPERSIST)) && [[ -z $RESERVE ]]; then
    DO_STATUS=1
fi
if ((DO_PERSIST && DO_UNPERSIST)); then bad_usage "--persist and --unpersist exclude each other"; fi
[[ $DIRECTORY == /?* ]] || bad_usage "the mount point must be an absolute path, not '$DIRECTORY'"
DIRECTORY=${DIRECTORY%/}

if [[ -n $PAGE_SIZE ]]; then PAGE_KB=$(to_kb "$PAGE_SIZE"); else PAGE_KB=$(default_page_kb); fi
((PAGE_KB > 0)) || bad_usage "'$PAGE_SIZE' is not a page size"

all=$(all_places)
read -ra PLACES <<<"${all//$'\n'/ }"
if [[ -n $NODES ]]; then
    [[ $NODES =~ ^[0-9]+(,[0-9]+)*$ ]] || bad_usage "'$NODES' is not a list of NUMA nodes: write 0 or 0,1"
    read -ra chosen <<<"${NODES//,/ }"
    for node in "${chosen[@]}"; do
        [[ " ${PLACES[*]} " == *" $node "* ]] || die "there is no NUMA node $node with hugepages; there is: ${PLACES[*]}"
    done
    PLACES=("${chosen[@]}")
fi

if [[ -n $RESERVE ]]; then
    reserve_kb=$(to_kb "$RESERVE")
    ((reserve_kb % PAGE_KB == 0)) ||
        die "$RESERVE is not a multiple of the page size $(from_kb "$PAGE_KB"): the next one is $(from_kb $(((reserve_kb / PAGE_KB + 1) * PAGE_KB)))"
    PAGES=$((reserve_kb / PAGE_KB))
    size_dir "${PLACES[0]}" "$PAGE_KB" >/dev/null
fi

if ((DO_CLEAR)) && { [[ -z $RESERVE ]] || ((!AT_LEAST)); }; then clear_all; fi
if ((DO_UNMOUNT)); then unmount_pages; fi
if [[ -n $RESERVE ]]; then reserve; fi
if ((DO_MOUNT)); then mount_pages; fi
if ((DO_PERSIST)); then persist; fi
if ((DO_UNPERSIST)); then unpersist; fi
if ((DO_STATUS)); then status; fi
