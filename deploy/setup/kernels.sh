#!/usr/bin/env bash
# Boots another kernel under QEMU, with this machine's files, and runs the kernel suite inside.
#
#     deploy/setup/kernels.sh [KERNEL_IMAGE] [-- PYTEST ARGUMENTS]
#
# Software emulation: minutes, not seconds. The guest sees this machine's file system read-only, under a layer of its
# own in memory; it has no network but its own. What it prints is in .sonde/kernels/RELEASE.txt, its end is shown.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

limit_s=${SONDE_KERNELS_SECONDS:-3000}
image=
if [ $# -gt 0 ] && [ "$1" != -- ]; then
    image=$1
    shift
fi
if [ "${1:-}" = -- ]; then shift; fi
[ -n "$image" ] || image=$(find /boot -name 'vmlinuz-6.1.*-amd64' | sort -V | tail -n 1)
[ -r "$image" ] || {
    echo "no kernel image: install Debian's linux-image-amd64 (6.1), or name one: deploy/setup/kernels.sh /boot/vmlinuz-..." >&2
    exit 2
}
release=${image##*/vmlinuz-}
[ -d "/lib/modules/$release" ] || {
    echo "/lib/modules/$release is missing: install the package of $image" >&2
    exit 2
}

folder=$PWD/.sonde/kernels
mkdir -p "$folder" .sonde/cache
output=$folder/$release.txt
status=$folder/$release.status
: >"$output"
rm -f "$status"
printf 'kernel %s, output in %s\n' "$release" "$output" >&2
tail -n +1 -f "$output" &
tail_pid=$!
trap 'kill "$tail_pid" 2>/dev/null || true' EXIT

# The guest's standard output is lost: its script writes into the one folder that it may write to.
arguments=$(printf '%q ' "$output" "$status" "$@")
PATH=$PWD/.venv/bin:$PATH timeout --kill-after 10 "$limit_s" \
    vng --run "$image" --user root --memory 4G --cpus 2 --disable-kvm --rwdir "$folder" \
    -- "$PWD/deploy/setup/in-guest.sh $arguments" >"$folder/$release.vng" 2>&1 </dev/null || true
sleep 1 # the last lines
if ! [ -r "$status" ]; then
    tail -n 5 "$folder/$release.vng" >&2
    echo "the guest did not finish within $limit_s s (SONDE_KERNELS_SECONDS), or did not boot" >&2
    exit 1
fi
exit "$(cat "$status")"
