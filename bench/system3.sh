#!/bin/sh
# Writes docs/results/system3.md: System 3's classifiers and System 2's MLP on the published table of
# features, under the protocols of the claims and under the honest one, and what leakage is worth.
#
#   bench/system3.sh [TAGGRAM] [DATA]
#
# TAGGRAM is the program (target/debug/taggram), DATA holds gtzan/ ($TAGGRAM_DATA or ../shared/data).
# Needs only a shell and Python's standard library. Takes a few minutes on two cores.
set -eu
cd "$(dirname "$0")/.."
taggram=${1:-target/debug/taggram}
data=${2:-${TAGGRAM_DATA:-../shared/data}}/gtzan
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for recipe in recipes/system3-*.toml recipes/system2-mlp.toml; do
    name=$(basename "$recipe" .toml)
    echo "$name" >&2
    "$taggram" evaluate "$recipe" --data "$data/features_30_sec.csv" \
        --split random-song:80/0/20@0 --out "$work/$name/random-song" >/dev/null
    "$taggram" evaluate "$recipe" --data "$data/features_30_sec.csv" \
        --split fault-filtered --out "$work/$name/fault-filtered" >/dev/null
    "$taggram" evaluate "$recipe" --data "$data/features_30_sec.csv" \
        --cv 10 --group artist --out "$work/$name/artist" >/dev/null
done

# The same rows, windows of 3 s of the 100 clips, once split at random and once by song.
"$taggram" features "$data/audio" --per segment --segment 3 --out "$work/segments.csv" >/dev/null
for recipe in system2-mlp system3-knn system3-svm-rbf; do
    "$taggram" evaluate "recipes/$recipe.toml" --data "$work/segments.csv" \
        --split random-segment:80/0/20@0 --out "$work/leak/$recipe/random-segment" >/dev/null
    "$taggram" evaluate "recipes/$recipe.toml" --data "$work/segments.csv" \
        --split random-song:80/0/20@0 --out "$work/leak/$recipe/random-song" >/dev/null
    "$taggram" evaluate "recipes/$recipe.toml" --data "$work/segments.csv" \
        --cv 10 --group artist --out "$work/leak/$recipe/artist" >/dev/null
done

mkdir -p docs/results
python3 bench/system3_table.py "$work" > "$work/system3.md"
mv "$work/system3.md" docs/results/system3.md
echo docs/results/system3.md
