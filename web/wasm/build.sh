#!/usr/bin/env bash
# Builds the page that plays and classifies HLS in the browser, into web/wasm/dist:
#   web/wasm/build.sh, and serve web/wasm/dist (the origin of taggram-hls has a `page` for it)
# Needs: rustup target add wasm32-unknown-unknown; npm for hls.js.
set -euo pipefail
cd "$(dirname "$0")"

RUSTFLAGS="-C target-feature=+simd128" cargo build --release --locked -p taggram-wasm --target wasm32-unknown-unknown
[ -f node_modules/hls.js/dist/hls.min.js ] || npm ci --silent --no-audit --no-fund

rm -rf dist && mkdir dist
cargo run --quiet --locked -p bindgen -- \
    "${CARGO_TARGET_DIR:-target}/wasm32-unknown-unknown/release/taggram_wasm.wasm" dist
cp node_modules/hls.js/dist/hls.min.js node_modules/hls.js/LICENSE dist/
cp ../hls.html ../hls-page.js ../hls-worker.js ../style.css ../chart.js dist/
ls -l dist
