#!/bin/sh
# Everything in docs/results/compression.md: models compressed, scored, weighed and timed.
#
#   bench/compression.sh DATA WORK [RESNET18]
#
# DATA is the folder with gtzan/, WORK a folder for models and reports. The musicnn models must be
# installed (`taggram model import WHEEL`) where $TAGGRAM_MODELS points. RESNET18 is a model file made
# by `taggram train recipes/system2-resnet18-mel.toml`; without it its rows are left out.
# TAGGRAM and LATENCY may name programs that are built already.
set -eu
data=$1/gtzan work=$2 resnet=${3:-}
here=$(cd "$(dirname "$0")" && pwd)
if [ -z "${TAGGRAM:-}" ]; then
  (cd "$here/.." && cargo build --release --bin taggram && cargo build --release --example model_latency -p taggram)
  TAGGRAM=$here/../target/release/taggram LATENCY=$here/../target/release/examples/model_latency
fi
mkdir -p "$work"

# compress NAME MODEL RECIPE DATASET: $work/NAME.safetensors
compress() {
  [ -e "$work/$1.safetensors" ] || "$TAGGRAM" compress "$2" --recipe "$here/../recipes/$3" --data "$4" --out "$work/$1.safetensors"
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
cp "$here/../crates/taggram/models/default.safetensors" "$work/default.safetensors"
compress default-int8 default compress-int8.toml "$data/mel"
compress default-filters default compress-filters.toml "$data/mel"
pairs="default:default-int8 default:default-filters"
for m in default default-int8 default-filters; do
  score $m "$work/$m.safetensors" "$data/mel"
  memory $m "$TAGGRAM" classify --jobs 1 --model "$work/$m.safetensors" "$clip"
done

# ResNet18 on mel.
if [ -n "$resnet" ]; then
  cp "$resnet" "$work/resnet18.safetensors"
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
cp "$work/mlp/model.safetensors" "$work/mlp.safetensors"
compress mlp-pruned "$work/mlp.safetensors" compress-mlp.toml "$data/features_30_sec.csv"
pairs="$pairs mlp:mlp-pruned"
for m in mlp mlp-pruned; do
  score $m "$work/$m.safetensors" "$data/features_30_sec.csv"
  memory $m "$TAGGRAM" evaluate "$work/$m.safetensors" --data "$data/features_30_sec.csv" --out "$work/report-$m"
done

# musicnn: tags and genres of the 100 clips, which are too few to score the split.
models=${TAGGRAM_MODELS:?names the folder of the installed models}
cp "$models/msd-musicnn.safetensors" "$work/musicnn.safetensors"
compress musicnn-int8 "$work/musicnn.safetensors" compress-int8.toml "$data/audio"
pairs="$pairs musicnn:musicnn-int8"
mkdir -p "$work/models-int8"
cp "$work/musicnn-int8.safetensors" "$work/models-int8/msd-musicnn.safetensors"
for m in musicnn musicnn-int8; do
  folder=$models
  [ $m = musicnn ] || folder=$work/models-int8
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
python3 "$here/compression_table.py" "$work" "$data" $pairs >"$here/../docs/results/compression.md"
