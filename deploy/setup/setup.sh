#!/usr/bin/env bash
# Installs what `make demo` (level demo), `make test` (level test, more), `make test-deploy` or `make test-kernels`
# (levels deploy and kernels, still more) needs, once.
#
#     deploy/setup/setup.sh demo|test|deploy|kernels
#
# A stamp in .venv with the hash of everything that decides the result makes the next call return at once.
# Services of packages that are installed here are neither started nor enabled; those that ran go on running.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

level=${1:-}
root=$PWD
log=.sonde/setup.log
python=/usr/bin/python3 # the one that python3-bpfcc belongs to
policy=/usr/sbin/policy-rc.d
policy_made=

# A word is a package, or alternatives in the order of preference.
demo_packages="python3-venv python3-bpfcc iproute2 procps util-linux mount nginx-light
    mariadb-server-core|mariadb-server mariadb-client-core|mariadb-client redis-server bpftool|linux-tools-generic"
test_packages="$demo_packages redis-tools clang-format"
# Ubuntu's chromium package is only a pointer to a snap: there the browser comes with playwright.
test_packages_debian="chromium chromium-driver"
deploy_packages="debootstrap systemd-container openssh-client"

# Debian's kernel, 6.1: the guest boots it with the machine's files, so its modules have to be there.
kernels_packages="qemu-system-x86 linux-image-amd64"

demo_extras='.[agent,aggregator,dashboard]'
demo_modules="pymysql redis" # the demo's API uses them
test_extras='.[agent,aggregator,dashboard,dev]'

say() { printf 'sonde set-up: %s\n' "$*" >&2; }

fail() {
    say "$*"
    exit 1
}

# Runs a step with its output in the log; shows the log's end if it fails.
step() {
    local what=$1 begin=$SECONDS
    shift
    say "$what ..."
    if ! "$@" >>"$log" 2>&1; then
        tail -n 20 "$log" >&2
        fail "failed: $what. The end of $root/$log is above; a machine without network or with a wrong package" \
            "source fails here. Put that right and run the same command again."
    fi
    say "  done in $((SECONDS - begin)) s"
}

stamp_of() {
    {
        printf '%s %s\n' "$1" "$root"
        "$python" --version
        cat constraints.txt pyproject.toml deploy/setup/setup.sh
    } | sha256sum | cut -d ' ' -f 1
}

is_installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

is_available() { [ -n "$(apt-cache madison "$1" 2>/dev/null)" ]; }

# The packages of a list that have to be installed, alternatives resolved. Wants an up-to-date package index.
missing_of() {
    local word name wanted
    for word in "$@"; do
        wanted=
        for name in ${word//|/ }; do
            if is_installed "$name"; then
                wanted=
                break
            fi
            if [ -z "$wanted" ] && is_available "$name"; then wanted=$name; fi
        done
        if [ -n "$wanted" ]; then printf '%s\n' "$wanted"; fi
    done
}

# True if of each word at least one alternative is installed.
all_installed() {
    local word name found
    for word in "$@"; do
        found=
        for name in ${word//|/ }; do
            if is_installed "$name"; then found=yes; fi
        done
        [ -n "$found" ] || return 1
    done
}

restore_policy() {
    if [ -n "$policy_made" ]; then
        rm -f "$policy"
        if [ -e "$policy.before-sonde" ]; then mv "$policy.before-sonde" "$policy"; fi
        policy_made=
    fi
}

forbid_service_starts() {
    trap restore_policy EXIT
    trap 'exit 130' INT TERM
    # Ours may be left from a killed run: then the one before it is already aside.
    if [ -e "$policy" ] && ! grep -q 'Sonde installs packages' "$policy"; then mv "$policy" "$policy.before-sonde"; fi
    policy_made=yes
    printf '#!/bin/sh\n# Sonde installs packages; their services are not to start. Removed afterwards.\nexit 101\n' >"$policy"
    chmod 755 "$policy"
}

# Packages just installed would start their services at the next boot.
disable_new_services() {
    local package service
    for package in "$@"; do
        case $package in
            nginx*) service=nginx ;;
            redis-server) service=redis-server ;;
            mariadb-server) service=mariadb ;;
            *) continue ;;
        esac
        if command -v systemctl >/dev/null; then
            systemctl disable "$service.service" >>"$log" 2>&1 || true
        elif command -v deb-systemd-helper >/dev/null; then
            deb-systemd-helper disable "$service.service" >>"$log" 2>&1 || true
        fi
        if command -v update-rc.d >/dev/null; then update-rc.d "$service" disable >>"$log" 2>&1 || true; fi
    done
}

install_packages() {
    local missing new_services
    if all_installed "$@"; then return; fi
    [ "$(id -u)" = 0 ] || fail "packages have to be installed, which needs root. Run: sudo make $level"
    command -v apt-get >/dev/null || fail "this machine has no apt-get. Sonde's set-up knows Debian and Ubuntu; install by hand: $*"
    export DEBIAN_FRONTEND=noninteractive
    step "reading the package index" apt-get -q -o DPkg::Lock::Timeout=300 update
    missing=$(missing_of "$@" | tr '\n' ' ')
    [ -n "${missing// /}" ] || fail "no package source offers all of: $* (on Ubuntu, enable universe)"
    # The part of them that brings a service which is not there yet.
    new_services=$missing
    if is_installed nginx; then new_services=${new_services//nginx-light/}; fi
    forbid_service_starts
    # shellcheck disable=SC2086 # a list of words
    step "installing packages: ${missing% }" \
        apt-get -q -y -o DPkg::Lock::Timeout=300 install --no-install-recommends $missing
    restore_policy
    # shellcheck disable=SC2086
    disable_new_services $new_services
}

# Ubuntu's bpftool is a wrapper that insists on the running kernel's own package; any build reads BTF.
link_bpftool() {
    local found
    if bpftool version >/dev/null 2>&1; then return; fi
    found=$(find /usr/lib/linux-tools* -name bpftool -type f -perm -u+x 2>/dev/null | sort -V | tail -n 1)
    if [ -n "$found" ]; then ln -sf "$found" .venv/bin/bpftool; fi
}

make_environment() {
    if ! [ -x .venv/bin/python ] || ! .venv/bin/python -c 'import sys; sys.exit(sys.base_prefix != "/usr")'; then
        rm -rf .venv
        step "making a virtual environment with $python" "$python" -m venv .venv
    fi
    step "installing Python packages ($*; chdb is large: a minute or two)" \
        .venv/bin/pip install --disable-pip-version-check --no-input --progress-bar off -c constraints.txt "$@"
}

main() {
    local packages stamp distribution
    case $level in
        demo | test | deploy | kernels) ;;
        *) fail "usage: setup.sh demo|test|deploy|kernels" ;;
    esac
    [ -x "$python" ] || fail "$python is missing: apt-get install python3"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || fail "$python is older than 3.10: use Debian 12 or Ubuntu 22.04 and later"
    stamp=.venv/.sonde-$level
    if [ "$(cat "$stamp" 2>/dev/null)" = "$(stamp_of "$level")" ]; then return; fi

    mkdir -p .sonde
    : >"$log"
    say "first run: installing what \`make $level\` needs (details in $log)"
    distribution=$(. /etc/os-release 2>/dev/null && echo "${ID:-}") || distribution=
    packages=$demo_packages
    if [ "$level" != demo ]; then
        packages=$test_packages
        if [ "$distribution" != ubuntu ]; then packages+=" $test_packages_debian"; fi
        if [ "$level" = deploy ]; then packages+=" $deploy_packages"; fi
        if [ "$level" = kernels ]; then packages+=" $kernels_packages"; fi
    fi
    # shellcheck disable=SC2086
    install_packages $packages
    if [ "$level" != demo ]; then
        make_environment -e "$test_extras"
        if [ "$distribution" = ubuntu ]; then
            step "installing playwright's Chromium" .venv/bin/playwright install --with-deps chromium
        fi
        if [ "$level" = kernels ]; then make_environment virtme-ng; fi
        stamp_of demo >.venv/.sonde-demo
        stamp_of test >.venv/.sonde-test
    else
        # shellcheck disable=SC2086
        make_environment -e "$demo_extras" $demo_modules
    fi
    link_bpftool
    stamp_of "$level" >"$stamp"
    say "ready"
}

main
