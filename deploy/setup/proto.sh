#!/usr/bin/env bash
# Generates proto/*_pb2*.py from proto/*.proto, or proves with --check that they are fresh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

python=${PYTHON:-.venv/bin/python}
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT
"$python" -m grpc_tools.protoc -I. --python_out="$made" --pyi_out="$made" --grpc_python_out="$made" proto/sonde.proto
"$python" -m grpc_tools.protoc -I. --python_out="$made" --pyi_out="$made" proto/journal.proto
if [ "${1:-}" = --check ]; then
    for file in "$made"/proto/*; do
        if ! cmp -s "$file" "proto/${file##*/}"; then
            echo "proto/${file##*/} does not fit its .proto: run \`make proto\` and commit" >&2
            exit 1
        fi
    done
else
    cp "$made"/proto/* proto/
fi
