#!/usr/bin/env bash
# Inside the guest of kernels.sh: what runs here and by which hooks, then the kernel tests.
#
#     in-guest.sh OUTPUT_FILE STATUS_FILE [PYTEST ARGUMENTS]
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
output=$1
status=$2
shift 2
exec >"$output" 2>&1

export SONDE_TEST_SLACK_MS=400 # emulation is slow and other work shares the processors
export PATH=$PWD/.venv/bin:$PATH:/usr/sbin:/sbin HOME=/root SONDE_REQUIRE_KERNEL=1 PYTHONDONTWRITEBYTECODE=1
ip link set lo up
modprobe -a veth bridge
mount -t tmpfs tmpfs .sonde/cache # MariaDB's empty data directory
mountpoint -q /sys/kernel/tracing || mount -t tracefs tracefs /sys/kernel/tracing
code=0
python -m sonde doctor || code=$?
# As deploy/ansible's unit runs the agent: no root, these capabilities and no way to others.
capabilities=+bpf,+perfmon,+dac_read_search,+sys_ptrace
if [ "$(cat /proc/sys/kernel/perf_event_paranoid)" -gt 2 ]; then capabilities+=,+sys_admin; fi
printf '\nwithout root, as the unit of deploy/ansible:\n'
setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs --inh-caps "-all,$capabilities" \
    --ambient-caps "-all,$capabilities" --bounding-set "-all,$capabilities" \
    env HOME=/tmp XDG_CACHE_HOME=/tmp/cache "$(command -v python)" -m sonde doctor || code=$?
if [ $# = 0 ]; then set -- tests/kernel/test_{layout,connections,anatomy,requests}.py tests/kernel/test_turn_*.py; fi
python -m pytest -p no:cacheprovider --timeout 900 "$@" || code=$?
sync
echo "$code" >"$status"
sync
