#!/usr/bin/env bash
# Builds the private libhdf5 and zlib of the wheel: static, position-independent, everything hidden, nothing that libdim
# does not use (no szip, no high-level library, no tools, no network driver). Debian's own libhdf5.a will not do: it is
# not position-independent and pulls in libcurl and libcrypto.
#
#   tools/release/private-libraries.sh DESTINATION    -> DESTINATION/{lib,include,lib/pkgconfig}
#
# The sources are those of the distribution, by `apt-get source` with a configuration of its own: the system's package
# lists stay as they are, signatures are checked as usual. Where that is not possible, name folders that hold the unpacked
# sources in HDF5_SOURCE and ZLIB_SOURCE. Takes 2 to 3 minutes on two cores, once: a finished DESTINATION is kept.
set -euo pipefail

destination=$(mkdir -p "$1" && cd "$1" && pwd)
# What was built, by which version of this script.
stamp=$(sha256sum "${BASH_SOURCE[0]}" | cut -c 1-16)
[ "$(cat "$destination/built" 2>/dev/null)" = "$stamp" ] && exit 0

say() { printf 'private libraries: %s\n' "$*"; }
fail() {
    printf 'private libraries: %s\n' "$1" >&2
    printf '%s\n' "Name folders with the unpacked sources (HDF5 1.10.8 or newer, zlib 1.2.13 or newer) in HDF5_SOURCE and" \
        "ZLIB_SOURCE to build without apt-get; or build a library for this machine alone, with \`make\`." >&2
    exit 1
}
# Prints what the command said only if it fails.
quietly() {
    local log
    log=$(mktemp)
    if "$@" >"$log" 2>&1; then rm -f "$log"; else tail -n 40 "$log" >&2; rm -f "$log"; return 1; fi
}

# ---- Sources

# The user's own sources, as source entries; lists and downloads in a folder that is thrown away.
fetch() { # package, folder
    local apt=$2/apt
    command -v apt-get >/dev/null || fail "there is no apt-get here to fetch the sources of $1"
    mkdir -p "$apt/sources.d" "$apt/lists/partial" "$apt/cache/archives/partial"
    local file
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ -f "$file" ] && sed -n 's/^deb /deb-src /p' "$file" >"$apt/sources.d/$(basename "$file" .list).list"
    done
    for file in /etc/apt/sources.list.d/*.sources; do
        [ -f "$file" ] && sed 's/^Types:.*/Types: deb-src/' "$file" >"$apt/sources.d/$(basename "$file")"
    done
    local options=(-qq -o Dir::Etc::SourceList=/dev/null -o "Dir::Etc::SourceParts=$apt/sources.d"
        -o "Dir::State::Lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o "APT::Sandbox::User=$(id -un)")
    if [ ! -e "$apt/updated" ]; then
        quietly apt-get "${options[@]}" update || fail "apt-get update failed for the source packages"
        touch "$apt/updated"
    fi
    (cd "$2" && quietly apt-get "${options[@]}" source --download-only "$1") || fail "apt-get could not fetch the sources of $1"
    # Upstream's archive: what Debian patches is its packaging, and alignment on other processors.
    tar -xf "$2/$1"_*.orig.tar.* -C "$2" --one-top-level="$1" --strip-components=1
}

work=$destination/work
rm -rf "$work" "$destination/built"
mkdir -p "$work"
if [ -n "${HDF5_SOURCE:-}" ]; then cp -r "$HDF5_SOURCE" "$work/hdf5"; else say "fetching sources"; fetch hdf5 "$work"; fi
if [ -n "${ZLIB_SOURCE:-}" ]; then cp -r "$ZLIB_SOURCE" "$work/zlib"; else fetch zlib "$work"; fi

# ---- Build

# Paths of this machine must not end up in what is shipped.
flags="-O2 -fPIC -fvisibility=hidden -ffunction-sections -fdata-sections -fstack-protector-strong -D_FORTIFY_SOURCE=2"
flags+=" -ffile-prefix-map=$work=."
jobs=${JOBS:-$(nproc)}

say "building zlib"
cd "$work/zlib"
CFLAGS=$flags quietly ./configure --static --prefix="$destination" || fail "zlib's configure failed"
quietly make -j"$jobs" libz.a || fail "zlib was not built"
quietly make install || fail "zlib was not installed"

say "building HDF5 (about two minutes)"
mkdir "$work/hdf5-build"
cd "$work/hdf5-build"
CFLAGS="$flags -w" quietly ../hdf5/configure --prefix="$destination" --enable-build-mode=production \
    --enable-static --disable-shared --with-pic --with-zlib="$destination" --without-szlib \
    --disable-hl --disable-tools --disable-tests --disable-cxx --disable-fortran --disable-java --disable-parallel \
    --disable-direct-vfd --disable-ros3-vfd --disable-hdfs --disable-trace --disable-embedded-libinfo \
    || fail "HDF5's configure failed"
quietly make -j"$jobs" -C src || fail "HDF5 was not built"
quietly make -C src install || fail "HDF5 was not installed"

# ---- For the build of libdim, which asks pkg-config

cat >"$destination/lib/pkgconfig/hdf5-serial.pc" <<PC
Name: hdf5
Description: libdim's private HDF5
Version: $(sed -n 's/.*define H5_VERS_INFO .*version \([0-9.]*\).*/\1/p' "$destination/include/H5public.h" | head -n 1)
Libs: -L$destination/lib -lhdf5 -lz -lm -ldl
Cflags: -I$destination/include
PC
# Their licences ask to go with every copy.
mkdir -p "$destination/licences"
cp "$work/hdf5/COPYING" "$destination/licences/LICENSE-hdf5"
cp "$work/zlib/README" "$destination/licences/LICENSE-zlib"
rm -rf "$work"
printf '%s\n' "$stamp" >"$destination/built"
say "built in $destination"
