#!/usr/bin/env bash
# Makes the sounds against which recipes/default.toml learns to say `unknown`: what strange_sounds.py says, and its feature maps.
#
#   bench/strange-sounds.sh [FOLDER]      # default runs/strange; needs what strange_sounds.py needs, and 1 GB
#
# A model that is trained already learns them by
#   taggram model remember MODEL --data ../shared/data/gtzan/mel --strange runs/strange/maps --out NEW
set -euo pipefail
cd "$(dirname "$0")/.."
out="${1:-runs/strange}"
"${PYTHON:-python3}" bench/strange_sounds.py "$out"
"${TAGGRAM:-target/release/taggram}" dataset extract "$out/clips" --recipe recipes/default.toml --out "$out/maps"
