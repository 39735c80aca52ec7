#!/bin/sh
# Everything in docs/results/compression.md: models compressed, scored, weighed and timed.
#
#   bench/compression.sh DATA WORK [RESNET18]
#
# DATA is the folder with gtzan/, WORK a folder for models and reports. The musicnn models must be
# installed (`taggram model import WHEEL`) where $TAGGRAM_MODELS points. RESNET18 is a model file made
# by `taggram train recipes/system2-resnet18-mel.toml`; without it its rows are left out.
# TAGGRAM and LATENCY may name programs that are built already (both, or none). What is in WORK and newer than
# what it is made of is kept, so the script may be run again. Of the page, what lies below its marker is written by
# hand and stays.
set -eu
data=$1/gtzan work=$2 resnet=${3:-}
here=$(cd "$(dirname "$0")" && pwd)
models=${TAGGRAM_MODELS:?names the folder of the installed models}
[ -e "$models/msd-musicnn.safetensors" ] || { echo "$models has no msd-musicnn.safetensors: taggram model import WHEEL" >&2; exit 2; }
if [ -z "${TAGGRAM:-}" ] || [ -z "${LATENCY:-}" ]; then
  (cd "$here/.." && cargo build --release --bin taggram && cargo build --release --example model_latency -p taggram)
  TAGGRAM=$here/../target/release/taggram LATENCY=$here/../target/release/examples/model_latency
fi
mkdir -p "$work"

# take NAME MODEL: a copy as $work/NAME.safetensors, as old as what is in it
take() {
  cmp -s "$2" "$work/$1.safetensors" || cp "$2" "$work/$1.safetensors"
}
# compress NAME MODEL RECIPE [DATASET]: $work/NAME.safetensors
compress() {
  [ "$work/$1.safetensors" -nt "$2" ] || "$TAGGRAM" compress "$2" --recipe "$here/../recipes/$3" ${4:+--data "$4"} --out "$work/$1.safetensors"
}
# score NAME MODEL DATASET: a report in $work/report-NAME
score() {
  "$TAGGRAM" evaluate "$2" --data "$3" --split fault-filtered --out "$work/report-$1" >&2
}
# memory NAME COMMAND…: the most memory that a command held, KiB
memory() {
  name=$1; shift
  python3 -c 'import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)' "$@" >"$work/$name.memory"
}
clip=$(ls "$data"/audio/blues/* | head -1)

# The default model.
take default "$here/../crates/taggram/models/default.safetensors"
compress default-int8 "$work/default.safetensors" compress-int8.toml "$data/mel"
compress default-filters "$work/default.safetensors" compress-filters.toml "$data/mel"
pairs="default:default-int8 default:default-filters"
for m in default default-int8 default-filters; do
  score $m "$work/$m.safetensors" "$data/mel"
  memory $m "$TAGGRAM" classify --jobs 1 --model "$work/$m.safetensors" "$clip"
done

# ResNet18 on mel.
if [ -n "$resnet" ]; then
  take resnet18 "$resnet"
  compress resnet18-int8 "$work/resnet18.safetensors" compress-int8.toml "$data/mel"
  pairs="$pairs resnet18:resnet18-int8"
  for m in resnet18 resnet18-int8; do
    score $m "$work/$m.safetensors" "$data/mel"
    memory $m "$TAGGRAM" classify --jobs 1 --model "$work/$m.safetensors" "$clip"
  done
fi

# The MLP on a table of descriptors.
[ -e "$work/mlp/model.safetensors" ] ||
  "$TAGGRAM" train "$here/../recipes/system2-mlp.toml" --data "$data/features_30_sec.csv" --out "$work/mlp"
take mlp "$work/mlp/model.safetensors"
compress mlp-pruned "$work/mlp.safetensors" compress-mlp.toml "$data/features_30_sec.csv"
pairs="$pairs mlp:mlp-pruned"
for m in mlp mlp-pruned; do
  score $m "$work/$m.safetensors" "$data/features_30_sec.csv"
  memory $m "$TAGGRAM" evaluate "$work/$m.safetensors" --data "$data/features_30_sec.csv" --out "$work/report-$m"
done

# musicnn: without its dead filters, and that in integers. Tags and genres of the 100 clips, which are too few to score
# the split.
take musicnn "$models/msd-musicnn.safetensors"
compress musicnn-dead "$work/musicnn.safetensors" compress-dead.toml
compress musicnn-dead-int8 "$work/musicnn-dead.safetensors" compress-int8.toml "$data/audio"
pairs="$pairs musicnn:musicnn-dead musicnn:musicnn-dead-int8"
for m in musicnn musicnn-dead musicnn-dead-int8; do
  # The head looks for the model that it reads by name.
  folder=$work/models-$m
  mkdir -p "$folder"
  cp "$work/$m.safetensors" "$folder/msd-musicnn.safetensors"
  TAGGRAM_MODELS=$folder "$TAGGRAM" classify --model musicnn --format json "$data/audio" >"$work/$m.genres"
  find "$data/audio" -name '*.flac' | sort | xargs "$TAGGRAM" tags --model "$work/$m.safetensors" --format json >"$work/$m.tags"
  memory $m "$TAGGRAM" tags --model "$work/$m.safetensors" "$clip"
done

# All in turn, in one run.
names=$(echo "$pairs" | tr ' :' '\n\n' | awk '!seen[$0]++')
files=$(for n in $names; do printf '%s ' "$work/$n.safetensors"; done)
# shellcheck disable=SC2086 # the list is meant to be split
"$LATENCY" "${ROUNDS:-15}" $files >"$work/latency"
# shellcheck disable=SC2086
python3 "$here/compression_table.py" "$here/../docs/results/compression.md" "$work" "$data" $pairs
