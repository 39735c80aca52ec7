#!/usr/bin/env bash
# Requests made up from the service's own description, and its answers held against it:
#   pip install -r tests/api/requirements.txt
#   tests/api/fuzz.sh target/debug/taggram [schemathesis arguments]
set -euo pipefail
binary=$1
shift
log=$(mktemp)
"$binary" serve --addr 127.0.0.1:0 --timeout 24 2> "$log" &
server=$!
trap 'kill "$server"; rm -f "$log"' EXIT
until grep -q listening "$log"; do sleep 0.1; done
address=$(sed -n 's/.*\(http:.*\)/\1/p' "$log" | head -1)
# What a random body gets depends on what the decoder sees in it, so "rejects" and "accepts" are not judged from the
# description; that every answer is described, and none is the server's fault, is.
SCHEMATHESIS_HOOKS="$(dirname "$0")/hooks.py" "${SCHEMATHESIS:-schemathesis}" run "$address/openapi.json" --url "$address" --seed 1 --no-color --max-examples "${EXAMPLES:-100}" \
    --checks not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,response_schema_conformance \
    --exclude-path-regex '^/metrics$' "$@"
counters=$(curl -s "$address/metrics")
grep -E '^taggram_requests_total.*classify' <<< "$counters"
grep -E '^taggram_panics_total 0$' <<< "$counters"
