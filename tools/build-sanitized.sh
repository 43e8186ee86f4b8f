#!/usr/bin/env bash
# Builds libdim.so with a sanitizer, in a folder of its own: build-sanitized.sh NAME SWIFT-BUILD-ARGUMENT...
#   -> build/sanitize/NAME/release/libdim.so
# It is linked against Swift's shared libraries, and the sanitizer's runtime is the program's: link it with Swift's clang.
set -euo pipefail
cd "$(dirname "$0")/.."
name=$1
shift
scratch=build/sanitize/$name
mkdir -p "$scratch"
[ -e "$scratch/release/libdim.so" ] || echo "building $scratch/release/libdim.so"
swift build -c release --product dim --scratch-path "$scratch" "$@" -Xswiftc -g -Xswiftc -use-ld=lld >"$scratch/log" 2>&1 ||
    { cat "$scratch/log" >&2; echo "make: the build with the sanitizer failed" >&2; exit 1; }
