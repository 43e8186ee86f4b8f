#!/usr/bin/env bash
# Runs the contract's test programs one after another and adds up their counts.
# usage: run.sh FOLDER TOP PROGRAM...
set -uo pipefail
out=$1
top=$2
shift 2
cd "$(dirname "$0")"

passed=0
failed=0
run() { # name, command...
    local name=$1 lines status counts
    shift
    # A hang: beside the other checks, on two cores that others use as well, one was not done after ten minutes.
    lines=$(timeout 1800 "$@" 2>"$out/stderr")
    status=$?
    counts=$(tail -n 1 <<<"$lines" | sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p')
    if [ -z "$counts" ]; then
        printf '%s: ended with status %d before it was done\n' "$name" "$status"
        counts="0 1"
    elif [ "$status" != 0 ] && [ "${counts#* }" = 0 ]; then
        printf '%s: all tests passed, then it ended with status %d\n' "$name" "$status"
        counts="${counts% *} 1"
    fi
    cat "$out/stderr"
    printf '%s: %d passed, %d failed\n' "$name" ${counts}
    passed=$((passed + ${counts% *}))
    failed=$((failed + ${counts#* }))
}

for program in "$@"; do
    run "$program" "$out/$program"
done
run loading "$out/loading" "$top/build/libdim.so"
run isolation "$out/isolation" "$top/build/libdim.so" "$out/evil.so"
run examples ./examples.sh "$top/build/bin"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
