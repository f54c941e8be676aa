#!/usr/bin/env bash
# Runs the suites one after the other, also when one fails; fails if any did.
#
#     deploy/setup/suites.sh unit kernel ...
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

failed=
for suite in "$@"; do
    if [ -z "$(find "tests/$suite" -name 'test_*.py' -print -quit 2>/dev/null)" ]; then
        printf '\n== %s: no tests in tests/%s\n' "$suite" "$suite"
        continue
    fi
    printf '\n== %s (python -m pytest tests/%s)\n' "$suite" "$suite"
    code=0
    .venv/bin/python -m pytest "tests/$suite" || code=$?
    # 5: nothing was collected.
    if [ "$code" != 0 ] && [ "$code" != 5 ]; then failed+=" $suite"; fi
    # Ctrl-C ends all of it.
    if [ "$code" = 2 ] || [ "$code" = 130 ]; then break; fi
done
if [ -n "$failed" ]; then
    printf '\nfailed:%s\n' "$failed" >&2
    exit 1
fi
