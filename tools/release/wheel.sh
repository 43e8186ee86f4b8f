#!/usr/bin/env bash
# Makes the wheel: the Python package with a libdim.so that needs nothing but libc, libm, libstdc++ and libgcc.
#
#   tools/release/wheel.sh DESTINATION SWIFT-FLAGS...      by way of `make wheel`, which knows the flags of the link
#
# The platform tag is the oldest that the library's symbols allow, manylinux_2_34 at most.
set -euo pipefail
cd "$(dirname "$0")/../.."
destination=$1
shift

private=$PWD/build/private
scratch=$PWD/build/wheel/swift
python=${PYTHON:-python3}
fail() { printf 'make wheel: %s\n' "$*" >&2; exit 1; }
quietly() {
    local log
    log=$(mktemp)
    if "$@" >"$log" 2>&1; then rm -f "$log"; else cat "$log" >&2; rm -f "$log"; return 1; fi
}

# ---- The library

tools/release/private-libraries.sh "$private"
echo "building the wheel's libdim.so"
# Ours come first, and there are only static ones among them.
export PKG_CONFIG_PATH=$private/lib/pkgconfig
product=$scratch/release/libdim.so
# SwiftPM does not see that flags, version script or private libraries have changed.
for input in tools/release/wheel.sh tools/release/release.mk tools/build/build.mk tools/build/libdim.map "$private/built"; do
    if [ -e "$product" ] && [ "$input" -nt "$product" ]; then rm "$product"; fi
done
quietly swift build -c release --product dim --scratch-path "$scratch" "$@" || fail "the library was not built"

allowed='libc\.so\.6|libm\.so\.6|libstdc\+\+\.so\.6|libgcc_s\.so\.1|libpthread\.so\.0|libdl\.so\.2|ld-linux-x86-64\.so\.2'
extra=$(readelf -dW "$product" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep -vxE "$allowed" || true)
[ -z "$extra" ] || fail "the library needs $(xargs <<<"$extra")"
readelf -dW "$product" | grep -qE 'RPATH|RUNPATH' && fail "the library has a search path of its own"
foreign=$(nm -D --defined-only "$product" | awk '{ print $NF }' | grep -v '^dim_' || true)
[ -z "$foreign" ] || fail "the library exports $(head -n 5 <<<"$foreign" | xargs)"
if strings -n 8 "$product" | grep -qF "$PWD"; then fail "the library names folders of this machine"; fi

# ---- The tag

newest() { readelf -VW "$product" | grep -o "$1_[0-9.]*[0-9]" | sort -Vu | tail -n 1 | cut -d _ -f 2; }
glibc=$(newest GLIBC)
# What libstdc++ each policy grants: a newer one would not be there although libc is.
case $(newest GLIBCXX) in
"" | 3.4 | 3.4.? | 3.4.1?) least=2.17 ;;
3.4.2[0-4]) least=2.24 ;;
3.4.2[5-8]) least=2.31 ;;
3.4.29) least=2.34 ;;
3.4.30) least=2.35 ;;
3.4.3[1-3]) least=2.39 ;;
*) fail "no policy is known for libstdc++'s GLIBCXX_$(newest GLIBCXX)" ;;
esac
glibc=$(printf '%s\n' "$glibc" "$least" | sort -V | tail -n 1)
[ "$(printf '%s\n' "$glibc" 2.34 | sort -V | tail -n 1)" = 2.34 ] || fail "the library needs glibc $glibc; expected 2.34 at most"
export DIM_WHEEL_PLATFORM=manylinux_${glibc/./_}_$(uname -m)

# ---- The wheel, from a copy: setuptools leaves its own folders behind

package=$PWD/build/wheel/package
rm -rf "$package"
mkdir -p "$destination"
cp -r bindings/python "$package"
find "$package" -name __pycache__ -prune -exec rm -rf {} +
cp LICENSE "$private"/licences/* "$package"
DIM_LIBRARY=$product quietly "$python" -m pip wheel --disable-pip-version-check --no-deps -w "$destination" "$package" ||
    fail "pip made no wheel"
wheel=$(ls -t "$destination"/deepinfomax-*.whl | head -n 1)
printf '%s (%s bytes)\n' "$wheel" "$(stat -c %s "$wheel")"
