#!/usr/bin/env bash
# Lints, builds and tests the Python package: `pip` makes the wheel of it, and what is tested is what that installed.
#   python/check.sh        # with TAGGRAM_BINARY=…/taggram and TAGGRAM_DATA: its answers beside the binary's
set -euo pipefail
cd "$(dirname "$0")"
command -v python3 > /dev/null || { echo "SKIPPED: the Python package needs python3"; exit 0; }

# One folder for what is compiled: crates that the product has compiled already are not compiled again.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$(cd .. && pwd)/target}"
export CARGO_NET_RETRY="${CARGO_NET_RETRY:-3}"

cache="${XDG_CACHE_HOME:-$HOME/.cache}/taggram-ci"
venv="$cache/python"
if [ ! -x "$venv/bin/maturin" ] || ! cmp -s requirements.txt "$venv/requirements.txt"; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet -r requirements.txt
    cp requirements.txt "$venv/requirements.txt"
fi
export PATH="$venv/bin:$PATH" PYO3_PYTHON="$venv/bin/python"

cargo fmt --check
cargo clippy --quiet --all-targets --locked -- -D warnings
if command -v cargo-deny > /dev/null; then
    cargo fetch --locked --quiet # the crates of other platforms, too
    cargo deny --offline --log-level error --config ../deny.toml check licenses bans sources
fi

wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT
pip wheel --quiet --no-deps --no-build-isolation --wheel-dir "$wheels" \
    --config-settings=build-args="--profile dev --locked" .
ls -l "$wheels"
pip install --quiet --no-deps --force-reinstall "$wheels"/*.whl

mypy taggram
# From here on no source is beside the tests: `taggram` is what was installed, with its hints.
cd tests
mypy --config-file ../pyproject.toml . ../examples
pytest -c ../pyproject.toml --rootdir . -p no:cacheprovider .
