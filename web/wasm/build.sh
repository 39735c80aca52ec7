#!/usr/bin/env bash
# Builds the page that plays and classifies HLS in the browser, into web/wasm/dist:
#   web/wasm/build.sh && taggram hls origin FOLDER --page web/wasm/dist
# Needs the target wasm32-unknown-unknown and npm (for hls.js). The target comes with
#   rustup target add wasm32-unknown-unknown
# or, on Debian, with the packages rustc-web, cargo-web and rust-web-src.
set -euo pipefail
cd "$(dirname "$0")"

RUSTFLAGS="-C target-feature=+simd128" cargo build --release --locked -p taggram-wasm --target wasm32-unknown-unknown

# The player is one of the packages that the tests in a browser use.
modules="${TAGGRAM_NODE_MODULES:-../../tests/web/node_modules}"
if [ ! -f "$modules/hls.js/dist/hls.min.js" ]; then
    npm install --silent --no-package-lock --no-audit --no-fund --prefix ../../tests/web
    modules=../../tests/web/node_modules
fi

rm -rf dist && mkdir dist
cargo run --quiet --locked -p bindgen -- \
    "${CARGO_TARGET_DIR:-target}/wasm32-unknown-unknown/release/taggram_wasm.wasm" dist
cp "$modules/hls.js/dist/hls.min.js" "$modules/hls.js/LICENSE" dist/
cp ../hls.html ../hls-page.js ../hls-worker.js ../style.css ../chart.js dist/
ls -l dist
