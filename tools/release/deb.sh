#!/usr/bin/env bash
# Makes Debian packages of what `make install` installs: libdim0 (the library) and libdim-dev (all that a compiler, a reader
# and pkg-config or CMake want). Two, so that a program's package depends on the library alone and that a libdim1 can lie
# beside libdim0.
#
#   tools/release/deb.sh FOLDER        -> FOLDER/libdim0_*.deb, FOLDER/libdim-dev_*.deb; by way of `make deb`
#
# dpkg-deb does it without debhelper: the list of files is tools/release/install.sh's, and there is nothing to configure.
# Who packages is DEBFULLNAME and DEBEMAIL, otherwise git's last author. The same commit gives the same bytes.
set -euo pipefail
cd "$(dirname "$0")/../.."
output=$(mkdir -p "$1" && cd "$1" && pwd)
fail() { printf 'make deb: %s\n' "$*" >&2; exit 1; }
for command in dpkg-deb dpkg-shlibdeps dpkg-architecture; do
    command -v $command >/dev/null || fail "$command is missing; run make deps"
done

version=$(awk '/define DIM_VERSION_(MAJOR|MINOR|PATCH)/ { printf "%s%s", dot, $3; dot = "." }' include/dim.h)
major=${version%%.*}
soname=libdim.so.$major
revision=$version-1
triplet=$(dpkg-architecture -qDEB_HOST_MULTIARCH)
architecture=$(dpkg-architecture -qDEB_HOST_ARCH)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH
name=${DEBFULLNAME:-$(git log -1 --format=%an 2>/dev/null || echo libdim)}
email=${DEBEMAIL:-$(git log -1 --format=%ae 2>/dev/null || echo "root@$(hostname -f)")}
maintainer="$name <$email>"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umask 022
library=$work/libdim0
library=${library%0}$major
development=$work/libdim-dev
runtime=$(basename "$library")
libdir=/usr/lib/$triplet

# ---- Files

# Without libdim.a: distributions want security updates of a library to reach its programs.
ARCHIVE="" DESTDIR=$development PREFIX=/usr libdir=$libdir includedir=/usr/include mandir=/usr/share/man \
    docdir=/usr/share/doc/libdim-dev tools/release/install.sh install
mkdir -p "$library$libdir" "$library/DEBIAN" "$development/DEBIAN"
mv "$development$libdir/libdim.so.$version" "$development$libdir/$soname" "$library$libdir/"
chmod 644 "$library$libdir/libdim.so.$version"  # Debian's libraries are not executable

changelog() {
    printf 'libdim (%s) unstable; urgency=medium\n\n  * Made from the source by make deb.\n\n -- %s  %s\n' \
        "$revision" "$maintainer" "$(date -R -u -d "@$SOURCE_DATE_EPOCH")"
}
for package in "$library" "$development"; do
    documents=$package/usr/share/doc/$(basename "$package")
    mkdir -p "$documents"
    rm -f "$documents/LICENSE" "$documents/CHANGELOG.md"
    gzip -9n <CHANGELOG.md >"$documents/changelog.gz"
    changelog | gzip -9n >"$documents/changelog.Debian.gz"
    { sed -n '/^Format:/,$p' tools/release/copyright; echo; sed '1,2d; s/^$/./; s/^/ /' LICENSE; } >"$documents/copyright"
done
find "$development/usr/share/man" -type f -exec gzip -9n {} +

# ---- What dpkg needs to know

exported() { nm -D --defined-only --with-symbol-versions "$library$libdir/$soname" | awk '{ sub(/@@/, "@", $NF); print $NF }'; }
{
    echo "$soname $runtime #MINVER#"
    echo "* Build-Depends-Package: libdim-dev"
    # LIBDIM_0.2 came with 0.2.0.
    exported | sort | awk -F@ '{ since = $2; sub(/LIBDIM_/, "", since); print " " $0 " " (since == "" ? $1 : since) ".0" }'
} >"$library/DEBIAN/symbols"
echo "libdim $major $runtime (>= $version)" >"$library/DEBIAN/shlibs"
echo "activate-noawait ldconfig" >"$library/DEBIAN/triggers"

# It reads a source package's control file; this is as much of one as it looks at.
mkdir -p "$work/source/debian"
printf 'Source: libdim\n\nPackage: %s\nArchitecture: %s\n' "$runtime" "$architecture" >"$work/source/debian/control"
depends=$(cd "$work/source" && dpkg-shlibdeps -O -e"$library$libdir/$soname" 2>"$work/messages") ||
    { cat "$work/messages" >&2; fail "dpkg-shlibdeps failed"; }

control() { # package, section, dependencies, summary, description
    local folder=$work/$1
    cat >"$folder/DEBIAN/control" <<CONTROL
Package: $1
Source: libdim
Version: $revision
Architecture: $architecture
Maintainer: $maintainer
Installed-Size: $(du -k -s --apparent-size --exclude=DEBIAN "$folder" | cut -f 1)
Depends: $3
Section: $2
Priority: optional
Multi-Arch: same
Homepage: https://arxiv.org/abs/1808.06670
Description: $4
 libdim holds the five networks of Deep InfoMax as its original notebook in
 PyTorch defines them: an encoder, three discriminators and a classifier. It
 encodes images, scores pairs, classifies, trains, and exchanges weights with
 PyTorch through HDF5 files. Programs need neither Swift nor Python.
 .
$5
CONTROL
    (cd "$folder" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | LC_ALL=C sort -z | xargs -0 md5sum) >"$folder/DEBIAN/md5sums"
    dpkg-deb --root-owner-group --build "$folder" "$output/$1_${revision}_$architecture.deb" >/dev/null
    echo "$output/$1_${revision}_$architecture.deb"
}
control "$runtime" libs "${depends#shlibs:Depends=}" "Deep InfoMax on the CPU (shared library)" \
    " This package contains the shared library."
control libdim-dev libdevel "$runtime (= $revision)" "Deep InfoMax on the CPU (development files)" \
    " This package contains the headers for C and C++, the manual, examples, and the
 files by which pkg-config and CMake find the library."
