#!/usr/bin/env bash
# Speed, memory and size of `taggram scan` on a library made by make.py:
#   bench/library/run.sh target/release/taggram LIBRARY
# Prints: one core, all cores, re-scan of the same, bytes a track, similar.
set -euo pipefail
taggram=$1 library=$2 work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
one=$(find "$library" -mindepth 1 -maxdepth 1 -type d | sort | sed -n 1p)
timed() { # NAME COMMAND…: wall seconds and peak memory
    local name=$1; shift
    /usr/bin/env python3 - "$name" "$@" <<'PY'
import resource, subprocess, sys, time
begun = time.perf_counter()
done = subprocess.run(sys.argv[2:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
wall, use = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
said = (done.stderr.strip().splitlines() or [""])[-1]
print(f"{sys.argv[1]}: {wall:.2f} s, {use.ru_utime + use.ru_stime:.2f} s of CPU, {use.ru_maxrss / 1024:.0f} MiB · {said}", flush=True)
PY
}
timed "one core" taskset -c 0 "$taggram" scan "$one" --db "$work/one.sqlite" --jobs 1
timed "all cores" "$taggram" scan "$library" --db "$work/all.sqlite"
timed "no change" "$taggram" scan "$library" --db "$work/all.sqlite"
tracks=$(find "$library" -name '*.mp3' | wc -l)
sqlite_bytes=$(stat -c %s "$work/all.sqlite")
echo "index: $((sqlite_bytes / tracks)) bytes a track"
song=$(find "$library" -name '*.mp3' | sort | sed -n 1p)
timed "similar" "$taggram" similar "$song" --db "$work/all.sqlite"
timed "thorough, one core, one folder" taskset -c 0 "$taggram" scan "$(dirname "$song")" --db "$work/thorough.sqlite" --jobs 1 --thorough
