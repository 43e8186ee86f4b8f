#!/usr/bin/env bash
# Every kernel on older processors, emulated: the same bytes as here with the same instruction set, no illegal instruction.
#
#     tools/check/emulated.sh PROGRAM [all]        PROGRAM: build/tests-c/fingerprint, which knows what `all` adds
set -uo pipefail
program=$1
parts=("${@:2}")
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
command -v qemu-x86_64 >/dev/null || { echo "emulated: there is no qemu-x86_64; see make deps" >&2; exit 1; }

# check PROCESSOR ISA: ISA is what the processor's name promises, and what the library must choose there by itself.
check() {
    local processor=$1 isa=$2
    local here="$folder/$processor.here" there="$folder/$processor.there" code
    DIM_ISA=$isa "$program" "${parts[@]}" >"$here" || { echo "emulated: $program failed here with DIM_ISA=$isa" >&2; return 1; }
    timeout 3600 qemu-x86_64 -cpu "$processor" "$program" "${parts[@]}" >"$there" 2>"$there.err"
    code=$?
    # qemu names features of the real processor that it cannot emulate.
    grep -v "TCG doesn't support requested feature" "$there.err" >&2
    if [ $code != 0 ]; then
        echo "emulated: $processor: ended with status $code" >&2
        return 1
    elif ! diff "$here" "$there" >&2; then
        echo "emulated: $processor: results differ from this processor's with DIM_ISA=$isa" >&2
        return 1
    fi
    echo "emulated $processor: $(wc -l <"$there") lines equal, $isa kernels"
}

# Side by side: an emulated program is slow, and mostly one thread of it works.
check Haswell avx2 &
first=$!
check Nehalem baseline
second=$?
wait $first && exit $second
