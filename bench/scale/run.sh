#!/usr/bin/env bash
# Workers on a queue: one worker on one core, then two on two.
#   bench/scale/run.sh target/release/taggram FOLDER-OF-MUSIC
# Needs nats-server. Prints seconds and tracks a second, from the first part to the last.
set -euo pipefail
taggram=$1 music=$2 work=$(mktemp -d) port=14222
trap 'kill "$broker" 2>/dev/null || true; rm -rf "$work"' EXIT
nats-server -a 127.0.0.1 -p $port -js -sd "$work/js" > "$work/nats.log" 2>&1 & broker=$!
sleep 1
queue=nats://127.0.0.1:$port
for workers in 1 2 1 2; do
    run="w$workers-$RANDOM"
    tracks=$("$taggram" submit "$music" --queue $queue --run "$run" --part-size 16 2>&1 >/dev/null | grep -oE '^[0-9]+')
    begun=$(date +%s.%N) pids=()
    for core in $(seq 0 $((workers - 1))); do
        taskset -c "$core" "$taggram" worker --queue $queue --out "$work/out" --jobs 1 --once > /dev/null 2>> "$work/worker.log" & pids+=($!)
    done
    parts=$(((tracks + 15) / 16))
    until [ "$(find "$work/out/$run" -name '*.parquet' 2>/dev/null | wc -l)" -ge "$parts" ]; do sleep 0.02; done
    took=$(echo "$(date +%s.%N) - $begun" | bc)
    echo "$workers worker(s): $tracks tracks in $took s, $(echo "scale=2; $tracks / $took" | bc) tracks/s"
    wait "${pids[@]}"
done
