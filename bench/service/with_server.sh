#!/usr/bin/env bash
# Runs a script against a service of its own and tells how that ended:
#   bench/service/with_server.sh target/release/taggram bench/service/hostile.py --requests 10000
set -euo pipefail
binary=$1 script=$2
shift 2
log=$(mktemp)
"$binary" serve --addr 127.0.0.1:0 --timeout 12 2> "$log" &
server=$!
trap 'kill "$server" 2> /dev/null || true; rm -f "$log"' EXIT
until grep -q listening "$log"; do sleep 0.1; done
status=0
python3 "$script" "$(sed -n 's/.*\(http:.*\)/\1/p' "$log" | head -1)" "$@" || status=$?
grep -E 'VmRSS|VmHWM|Threads' "/proc/$server/status"
kill -TERM "$server"
wait "$server" || { echo "the service ended with $?"; status=1; }
# Only the two lines it always says.
tail -n +2 "$log" | grep -v 'every request that was accepted is answered' && status=1
exit "$status"
