#!/usr/bin/env bash
# Makes libdim.a from the objects of which libdim.so was linked: one relocatable object with Swift's runtime inside, in which
# the functions of dim.h are global and everything else is local. So it needs no Swift to be linked, and does not meet
# another Swift runtime in the same program.
#
#   tools/release/static.sh OBJECTS TARGET WRAPPED...      by way of `make static`; OBJECTS is SwiftPM's list of the link's
#       inputs, WRAPPED are functions that the library calls through __wrap_
set -euo pipefail
cd "$(dirname "$0")/../.."
objects=$1
target=$2
wrapped=("${@:3}")
fail() { printf 'make static: %s\n' "$*" >&2; exit 1; }
[ -f "$objects" ] || fail "$objects is missing; run make first"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

runtime=$(swift -print-target-info | sed -n 's/.*"runtimeResourcePath": *"\(.*\)".*/\1/p')_static/linux
[ -f "$runtime/libswiftCore.a" ] || fail "there is no static runtime of Swift in $runtime"
mapfile -t inputs < <(tr -d "'" <"$objects")
# What the compiler asked to be linked, as it noted in the objects; -lhdf5 and the like are the program's to link.
"$(dirname "$(readlink -f "$(command -v swift)")")/swift-autolink-extract" "${inputs[@]}" -o "$work/wanted"
mapfile -t archives < <(sed -n 's/^-l\(swift.*\)/\1/p' "$work/wanted" | sort -u |
    while read -r name; do if [ -f "$runtime/lib$name.a" ]; then echo "$runtime/lib$name.a"; fi; done)
[[ " ${archives[*]} " == *libswiftCore.a* ]] || fail "no object asks for Swift's library; found ${archives[*]:-nothing}"

# GNU ld: lld has no --force-group-allocation, and groups would outlive the names by which they are merged.
ld.bfd -r --force-group-allocation "${wrapped[@]/#/--wrap=}" -o "$work/all.o" "$runtime/$(uname -m)/swiftrt.o" "${inputs[@]}" \
    --start-group "${archives[@]}" --end-group

# Swift finds its metadata between __start_swift5_... and __stop_swift5_..., which the last link sets around all sections of
# that name: ours get names of their own.
renames=()
for section in $(readelf -SW "$work/all.o" | grep -oE '\bswift5_[a-z0-9_]+' | sort -u); do
    renames+=(--rename-section "$section=dim_$section")
done
for symbol in $(nm "$work/all.o" | grep -oE '__(start|stop)_swift5_[a-z0-9_]+' | sort -u); do
    renames+=(--redefine-sym "$symbol=${symbol/swift5/dim_swift5}")
done
sed -n 's/^ *\(dim_[a-z0-9_]*\);$/\1/p' tools/build/libdim.map >"$work/global"
objcopy --keep-global-symbols="$work/global" "${renames[@]}" --remove-section=.comment \
    --remove-section=.swift1_autolink_entries "$work/all.o" "$work/libdim.o"
objcopy --strip-unneeded "$work/libdim.o"

foreign=$(nm -g --defined-only "$work/libdim.o" | awk '{ print $NF }' | grep -vxFf "$work/global" || true)
[ -z "$foreign" ] || fail "these are global as well: $(head -n 5 <<<"$foreign" | xargs)"
missing=$(nm -g --defined-only "$work/libdim.o" | awk '{ print $NF }' | grep -xFvf - "$work/global" || true)
[ -z "$missing" ] || fail "these are missing: $(xargs <<<"$missing")"
if strings -n 8 "$work/libdim.o" | grep -qF "$PWD"; then fail "the archive names folders of this machine"; fi
rm -f "$target"
ar rcsD "$target" "$work/libdim.o"
