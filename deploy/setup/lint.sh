#!/usr/bin/env bash
# ruff, mypy, clang-format, freshness of generated code, shell syntax. Runs all, fails if any does.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

bin=.venv/bin
failed=
check() {
    local what=$1
    shift
    if "$@"; then
        printf 'lint: %s ok\n' "$what"
    else
        printf 'lint: %s FAILED (%s)\n' "$what" "$*" >&2
        failed+=" $what"
    fi
}

check ruff "$bin/ruff" check --quiet .
check format "$bin/ruff" format --quiet --check .
check mypy "$bin/mypy" --no-error-summary
check mypy-demo "$bin/mypy" --no-error-summary deploy/demo tests/targets tests/conftest.py
mapfile -t sources < <(find bpf -name '*.[ch]' | sort)
if [ "${#sources[@]}" != 0 ]; then check clang-format clang-format --dry-run --Werror "${sources[@]}"; fi
check proto deploy/setup/proto.sh --check
for script in deploy/setup/*.sh .ci/run; do check "${script##*/}" bash -n "$script"; done
if [ -n "$failed" ]; then
    printf 'lint failed:%s\n' "$failed" >&2
    exit 1
fi
