#!/bin/sh
# Runs every fuzz target for some seconds (first argument, 60 without one) on the stable toolchain.
# What a run finds worth keeping lies in fuzz/corpus (not committed), what breaks in fuzz/artifacts.
set -eu
seconds=${1:-60}
cd "$(dirname "$0")/.."
if ! cargo fuzz --version >/dev/null 2>&1; then
    cargo install cargo-fuzz --version 0.13.2 --locked
fi
for target in $(cargo fuzz list); do
    mkdir -p "fuzz/corpus/$target"
    seeds=
    if [ -d "fuzz/seeds/$target" ]; then
        seeds="fuzz/seeds/$target"
    fi
    # A dictionary is named after its target, or after the first word of several.
    dictionary="fuzz/dictionaries/$target.dict"
    if [ ! -f "$dictionary" ]; then
        dictionary="fuzz/dictionaries/${target%%_*}.dict"
    fi
    options="-max_total_time=$seconds"
    if [ -f "$dictionary" ]; then
        options="$options -dict=$dictionary"
    fi
    echo "== $target: $seconds s"
    # shellcheck disable=SC2086 # one word each, or none
    cargo fuzz run -s none "$target" "fuzz/corpus/$target" $seeds -- $options
done
