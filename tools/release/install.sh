#!/usr/bin/env bash
# Installs libdim, or removes what this version installs: one list for both.
#
#   tools/release/install.sh install|uninstall      by way of `make install` and `make uninstall`
#
# DESTDIR, PREFIX, libdir, includedir, mandir, docdir and ARCHIVE come in the environment. Folders that only libdim uses go when they
# are empty; those of the system (lib, include, share/man/man3...) stay.
set -euo pipefail
cd "$(dirname "$0")/../.."
verb=$1
: "${PREFIX:?}" "${libdir:?}" "${includedir:?}" "${mandir:?}" "${docdir:?}"
root=${DESTDIR:-}
fail() { printf 'make %s: %s\n' "$verb" "$*" >&2; exit 1; }
for folder in "$PREFIX" "$libdir" "$includedir" "$mandir" "$docdir"; do
    [[ $folder == /* ]] || fail "PREFIX and the folders below it must be absolute; found \"$folder\""
done
for folder in "$PREFIX" "$libdir" "$includedir"; do
    # pkg-config prints these as they are, however dim.pc has them, and a shell takes them for its own.
    [[ $folder != *[\$\(\)$'\n']* ]] || fail "pkg-config has no way to name a folder with \$, (, ) or a line end; found \"$folder\""
done

version=$(awk '/define DIM_VERSION_(MAJOR|MINOR|PATCH)/ { printf "%s%s", dot, $3; dot = "." }' include/dim.h)
soname=libdim.so.${version%%.*}
built=$(mktemp -d)
trap 'rm -rf "$built"' EXIT

# ---- What is made for these folders

# CMake finds folders from the package's own, so that the whole tree can be moved.
cmakedir=$libdir/cmake/dim
from_cmakedir() { realpath -m --relative-to="$cmakedir" "$1"; }
# A folder in dim.pc, as pkg-config --define-prefix itself puts it there: # begins a comment, a blank the next flag.
in_pc() { sed "s/[][\\\"'\`#;&|<>*?~ ]/\\\\&/g" <<<"$1"; }
# Below the prefix, for pkg-config --define-prefix.
below_prefix() { # folder
    case $1 in
    "$PREFIX"/*) printf '${prefix}%s' "$(in_pc "${1#"$PREFIX"}")" ;;
    *) in_pc "$1" ;;
    esac
}
fill() { # template; no sed: folders may hold any of its signs
    local text
    text=$(<"tools/release/$1.in")
    text=${text//@PREFIX@/"$(in_pc "$PREFIX")"}
    text=${text//@LIBDIR@/"$(below_prefix "$libdir")"}
    text=${text//@INCLUDEDIR@/"$(below_prefix "$includedir")"}
    text=${text//@VERSION@/"$version"}
    text=${text//@MAJOR@/"${version%%.*}"}
    text=${text//@SONAME@/"$soname"}
    text=${text//@PRIVATE@/"$private"}
    text=${text//@TO_LIBDIR@/"$(from_cmakedir "$libdir")"}
    text=${text//@TO_INCLUDEDIR@/"$(from_cmakedir "$includedir")"}
    printf '%s\n' "$text" | sed '/^Libs.private: $/d' >"$built/$1"
}
# Installed where it was made, unless ARCHIVE is empty; and what a program that links it must link besides.
archive=${ARCHIVE-build/libdim.a}
private=
if [ "$verb" = install ] && [ -f "$archive" ]; then
    private="$(pkg-config --libs hdf5-serial zlib) -lstdc++ -lm -lpthread -ldl"
fi
fill dim.pc
fill dimConfig.cmake
fill dimConfigVersion.cmake
python3 tools/release/man.py "$built/man"

# What is read and built on: the examples, all that dim.h names, and what these documents lead to and a user of C wants.
documents=()
for file in bindings/c/*.[ch] bindings/c/Makefile bindings/c/README.md; do
    documents+=("$file=examples/$(basename "$file")")
done
for file in README.md CHANGELOG.md LICENSE SECURITY.md \
    docs/{abi,architecture,distributed,hdf5,install,isolation,measures,original,safetensors,training}.md; do
    documents+=("$file=$(basename "$file")")
done
python3 tools/release/documents.py "$built/documents" "${documents[@]}"

# ---- The two verbs

if [ "$verb" = install ]; then
    [ -f "build/libdim.so.$version" ] || fail "build/libdim.so.$version is missing; run make first"
    if [ -f "$archive" ] && [ "build/libdim.so.$version" -nt "$archive" ]; then
        fail "$archive is older than the library; run make static, or remove it"
    fi
    put() { install -D -m "$1" "$2" "$root$3"; }              # mode, file, target
    link() { ln -sfn "$1" "$root$2"; }                        # target, path
    own() { :; }                                              # folder
elif [ "$verb" = uninstall ]; then
    put() { rm -f "$root$3"; }
    link() { rm -f "$root$2"; }
    own() { if [ -d "$root$1" ]; then rmdir --ignore-fail-on-non-empty "$root$1"; fi; }
else
    fail "expected install or uninstall, found $verb"
fi

# ---- The list

put 755 "build/libdim.so.$version" "$libdir/libdim.so.$version"
if [ "$verb" = uninstall ] || [ -f "$archive" ]; then
    put 644 "$archive" "$libdir/libdim.a"
fi
link "libdim.so.$version" "$libdir/$soname"
link "$soname" "$libdir/libdim.so"
put 644 include/dim.h "$includedir/dim.h"
put 644 include/dim.hpp "$includedir/dim.hpp"
put 644 "$built/dim.pc" "$libdir/pkgconfig/dim.pc"
put 644 "$built/dimConfig.cmake" "$cmakedir/dimConfig.cmake"
put 644 "$built/dimConfigVersion.cmake" "$cmakedir/dimConfigVersion.cmake"
own "$cmakedir"
for page in "$built"/man/man*/*; do
    put 644 "$page" "$mandir/${page#"$built/man/"}"
done
for document in "${documents[@]#*=}"; do
    put 644 "$built/documents/$document" "$docdir/$document"
done
own "$docdir/examples"
own "$docdir"
