#!/usr/bin/env bash
# How well the default model says that it does not know; the figures of docs/results/unknown.md.
#
#   bench/unknown.sh [DATASET] [OUT]      # default ../shared/data/gtzan runs/unknown; needs numpy, espeak-ng and,
#                                         # for the second part, what recipes/default.toml needs
#
# 1. Noise, tones and speech made by unknown_audio.py: how many are called unknown.
# 2. One genre at a time is left out of a training of the same recipe of two short epochs: how many of its songs, which
#    that model has not met, it calls unknown. The threshold is always that of the validation songs.
set -euo pipefail
cd "$(dirname "$0")/.."
data="${1:-../shared/data/gtzan}" out="${2:-runs/unknown}"
taggram="${TAGGRAM:-target/release/taggram}" python="${PYTHON:-python3}"
mkdir -p "$out"
"$python" bench/unknown_audio.py "$out/audio"
for kind in noise tone speech; do
    "$taggram" classify "$out"/audio/$kind-*.wav --format json > "$out/$kind.jsonl"
    echo "$kind: $(grep -c '"genre":"unknown"' "$out/$kind.jsonl") of $(wc -l < "$out/$kind.jsonl") unknown"
done
for genre in blues classical country disco hiphop jazz metal pop reggae rock; do
    echo -n "$genre: "
    "$taggram" train recipes/default.toml --data "$data/mel" --set "data.without=[\"$genre\"]" \
        --set fit.epochs=2 --set fit.patches_per_clip=3 --out "$out/without-$genre" 2>&1 | grep "has not met"
done
