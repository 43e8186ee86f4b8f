#!/usr/bin/env bash
# A function compiled for one instruction set must not replace another module's: fails where a kernel module's object
# files define a weak function that does not carry the module's own name, for the linker may merge those.
#
#     tools/check/kernel-symbols.sh [build directory, default .build/release]
set -euo pipefail
build=${1:-.build/release}
bad=0
for module in DimKernelsBaseline DimKernelsAVX2 DimKernelsAVX512 DimKernelsBFloat16; do
    objects=("$build/$module.build/"*.o)
    [ -e "${objects[0]}" ] || { echo "no object files of $module in $build" >&2; exit 2; }
    # Swift's mangled names: $s, the length of the module's name, the name.
    found=$(nm --defined-only "${objects[@]}" | awk -v own="^[\$]s${#module}$module" '$2 == "W" && $3 !~ own { print $3 }' | sort -u)
    if [ -n "$found" ]; then
        echo "$module defines functions that the linker may merge with other modules':" >&2
        swift demangle --simplified <<<"$found" >&2 || echo "$found" >&2
        bad=1
    fi
done
exit $bad
