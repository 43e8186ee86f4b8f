#!/usr/bin/env bash
# Runs `swift test` and prints what went wrong and the closing line; all of it goes to build/test-swift.log.
set -uo pipefail
cd "$(dirname "$0")/../.."
mkdir -p build
log=build/test-swift.log
swift test -c release --disable-xctest >"$log" 2>&1 </dev/null
status=$?
if [ $status != 0 ]; then
    grep -avE '^(◇|↳) |^✔ |^\[[0-9]+/[0-9]+\] ' "$log" | tail -n 200
    # A crash names no test: the last ones to start are the suspects.
    grep -aq 'Test run with' "$log" || { echo "the tests did not finish; the last to start:"; grep -a '^◇ ' "$log" | tail -n 3; }
else
    grep -a 'Test run with' "$log"
fi
exit $status
