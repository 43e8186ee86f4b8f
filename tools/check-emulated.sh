#!/usr/bin/env bash
# Every kernel on older processors, emulated: the same bytes as here with the same instruction set, no illegal instruction.
#
#     tools/check-emulated.sh PROGRAM        PROGRAM: build/tests-c/fingerprint
set -uo pipefail
program=$1
here=$(mktemp) there=$(mktemp)
trap 'rm -f "$here" "$there"' EXIT
command -v qemu-x86_64 >/dev/null || { echo "check-emulated: there is no qemu-x86_64; see make deps" >&2; exit 1; }

# What the processor's name promises, and what the library must choose there by itself.
status=0
for pair in Haswell:avx2 Nehalem:baseline; do
    processor=${pair%:*} isa=${pair#*:}
    DIM_ISA=$isa "$program" >"$here" || { echo "check-emulated: $program failed here with DIM_ISA=$isa" >&2; exit 1; }
    timeout 600 qemu-x86_64 -cpu "$processor" "$program" >"$there" 2>"$there.err"
    code=$?
    # qemu names features of the real processor that it cannot emulate.
    grep -v "TCG doesn't support requested feature" "$there.err" >&2
    rm -f "$there.err"
    if [ $code != 0 ]; then
        echo "check-emulated: $processor: ended with status $code" >&2
        status=1
    elif ! diff "$here" "$there" >&2; then
        echo "check-emulated: $processor: results differ from this processor's with DIM_ISA=$isa" >&2
        status=1
    else
        echo "emulated $processor: $(wc -l <"$there") lines equal, $isa kernels"
    fi
done
exit $status
