#!/usr/bin/env bash
# Installs libdim into a folder, builds programs outside this tree from what is there, and runs them; then the same from the
# Debian packages. Needs what `make deps` installs and a library that is built.
set -uo pipefail
cd "$(dirname "$0")/../.."
top=$PWD
folder=$(mktemp -d /tmp/libdim-install-XXXXXX)
made=
[ -e build/libdim.a ] || made=$top/build/libdim.a
trap 'rm -rf "$folder" $made' EXIT
passed=0
failed=0
warnings="-Wall -Wextra -Werror -pedantic"
version=$(awk '/define DIM_VERSION_(MAJOR|MINOR|PATCH)/ { printf "%s%s", dot, $3; dot = "." }' include/dim.h)
IFS=. read -r major minor _ <<<"$version"
triplet=$(dpkg-architecture -qDEB_HOST_MULTIARCH)

# is: what, expected status (0, or "fails"), a text that the output must contain, command...
is() {
    local what=$1 status=$2 text=$3 found=0
    shift 3
    "$@" >"$folder/stdout" 2>"$folder/stderr" || found=$?
    [ "$found" != 0 ] && [ "$status" = fails ] && found=fails
    if [ "$found" = "$status" ] && { [ -z "$text" ] || grep -qF -- "$text" "$folder/stdout" "$folder/stderr"; }; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'not so: %s: expected status %s and "%s", found status %s:\n' "$what" "$status" "$text" "$found" >&2
        tail -n 15 "$folder/stdout" "$folder/stderr" >&2
    fi
}
# Where nothing of this tree is in reach.
bare() { env -i PATH="$PATH" HOME="$folder" LC_ALL=C.UTF-8 "$@"; }
install_tree() { make -s -C "$top" "$1" "${@:2}"; }
tree() { (cd "$1" && find . ! -type d -printf '%P %y %l\n' | sort); }
cp -r Tests/install/clients "$folder/clients"
cd "$folder" || exit 1
cp "$top/build/libdim.so.$version" before.so

# ---- make install, make uninstall

prefix=$folder/prefix
mkdir -p "$prefix/lib/pkgconfig" "$prefix/include" "$prefix/share/man/man3"
touch "$prefix/lib/pkgconfig/other.pc" "$prefix/include/other.h" "$prefix/lib/libdimension.so" "$prefix/share/man/man3/dim.3"
tree "$prefix" >foreign.txt
is "make static" 0 "" install_tree static
is "install" 0 "" install_tree install PREFIX="$prefix"
is "the library under its full name" 0 "libdim.so.$version" find "$prefix/lib" -name "libdim.so.$version" -type f -perm 755
is "the soname leads to it" 0 "libdim.so.$version" readlink "$prefix/lib/libdim.so.$major"
is "the linker's name leads to the soname" 0 "libdim.so.$major" readlink "$prefix/lib/libdim.so"
is "the library is what was built" 0 "" cmp "$prefix/lib/libdim.so" before.so
is "headers" 0 "" test -f "$prefix/include/dim.h" -a -f "$prefix/include/dim.hpp"
is "documents" 0 "" test -f "$prefix/share/doc/libdim/abi.md" -a -f "$prefix/share/doc/libdim/LICENSE"
astray() { # folder: relative links of its documents that lead nowhere
    local page link
    find "$1" -name '*.md' | while read -r page; do
        grep -oP '\]\(\K[^()\s#]+' "$page" | grep -vE '^[a-z]+:' | while read -r link; do
            [ -e "$(dirname "$page")/$link" ] || echo "$page: $link"
        done
    done
}
unseen() { # files that are named and not there: documents in dim.h, programs in the examples' README
    local name
    for name in $(grep -ohP 'docs/\K[a-z]+\.md' "$prefix"/include/dim.h* | sort -u); do
        [ -f "$prefix/share/doc/libdim/$name" ] || echo "$name"
    done
    for name in $(grep -ohE '\b[a-z_]+\.[ch]\b' "$prefix/share/doc/libdim/examples/README.md" | sort -u); do
        [ "$name" = dim.h ] || [ -f "$prefix/share/doc/libdim/examples/$name" ] || echo "$name"
    done
}
is "links between documents" 0 "(install.md)" grep -F "](" "$prefix/share/doc/libdim/README.md"
is "each leads somewhere" 0 "" test -z "$(astray "$prefix" | tee >(cat >&2))"
is "what documents and headers name is there" 0 "" test -z "$(unseen | tee >(cat >&2))"
is "no file that only root can read" 0 "" test -z "$(find "$prefix" ! -type l ! -perm -444)"
is "no broken link" 0 "" test -z "$(find "$prefix" -xtype l)"
is "nothing that names the build" 1 "" grep -rF "$top" "$prefix"
is "installing again" 0 "" install_tree install PREFIX="$prefix"
tree "$prefix" >installed.txt
is "a relative PREFIX is refused" fails "must be absolute" install_tree install PREFIX=relative
for sign in '$$' '(' ')'; do  # Of make's command line, which has $ as $$.
    is "a PREFIX with $sign is refused" fails "no way to name a folder" install_tree install PREFIX="$folder/a${sign}b"
done

is "install with DESTDIR" 0 "" install_tree install DESTDIR="$folder/stage" PREFIX=/usr libdir="/usr/lib/$triplet"
is "the same files below DESTDIR" 0 "" diff <(comm -13 foreign.txt installed.txt | sed "s|^lib/|lib/$triplet/|" | sort) \
    <(tree "$folder/stage/usr")
is "DESTDIR is in no file" 1 "" grep -rF "$folder" "$folder/stage"
# --define-prefix takes the folder over lib/pkgconfig for the prefix; here lib has a folder between.
is "moved, with another libdir" 0 "-I$folder/stage/new/include -L$folder/stage/new/lib/$triplet" env \
    PKG_CONFIG_PATH="$folder/stage/usr/lib/$triplet/pkgconfig" pkg-config --define-variable=prefix="$folder/stage/new" --cflags --libs dim

# ---- The manual

exported=$(nm -D --defined-only before.so | awk '{ sub(/@.*/, "", $NF); print $NF }')
without_page() { for name in $exported; do [ -f "$prefix/share/man/man3/$name.3" ] || echo "$name"; done; }
undescribed() { # The page that a function leads to has its prototype and a section of its own.
    local name page
    for name in $exported; do
        page=$prefix/share/man/man3/$name.3
        [ "$(head -c 3 "$page")" = .so ] && page=$prefix/share/man/$(cut -d ' ' -f 2 "$page")
        grep -qE "^[^.].*[ *]$name\(" "$page" && grep -qE "^\.SS .*\b$name\b" "$page" || echo "$name"
    done
}
complaints() {
    local page
    for page in "$prefix"/share/man/man*/dim_*.? "$prefix/share/man/man7/dim.7"; do
        (cd "$prefix/share/man" && groff -man -Tutf8 -ww -z "$page" 2>&1)
    done
}
is "a page for every function" 0 "" test -z "$(without_page)"
is "that describes it" 0 "" test -z "$(undescribed)"
is "without a warning of groff" 0 "" test -z "$(complaints)"
is "with every type of the header" 0 "" test -z "$(comm -23 \
    <(grep -oE '^(typedef (struct|enum) |\} )dim_[a-z_]+' "$top/include/dim.h" | grep -o 'dim_.*' | sort -u) \
    <(cat "$prefix"/share/man/man3/* | grep -oE 'dim_[a-z_]+' | sort -u))"
if command -v man >/dev/null && ! grep -qs 'man' /etc/dpkg/dpkg.cfg.d/excludes; then
    is "man finds a function by its name" 0 "The global discriminator" bare MANPATH="$prefix/share/man" man -P cat dim_score_global
fi

# ---- C99 and C++17 through pkg-config

export PKG_CONFIG_PATH=$prefix/lib/pkgconfig
is "pkg-config knows the version" 0 "$version" pkg-config --modversion dim
is "pkg-config: at least 0.1" 0 "" pkg-config --exists "dim >= 0.1"
is "pkg-config: not 99" 1 "" pkg-config --exists "dim >= 99"
flags=$(pkg-config --cflags --libs dim)
is "C99" 0 "" bare cc -std=c99 $warnings clients/use.c -o use-c $flags
is "it runs" 0 "$version" bare LD_LIBRARY_PATH="$prefix/lib" ./use-c weights.h5
line=$(cat stdout)
is "what it needs is the soname" 0 "[libdim.so.$major]" readelf -dW use-c
is "and the version of its functions" 0 "LIBDIM_0.1" readelf -VW use-c
is "C++17" 0 "" bare c++ -std=c++17 $warnings clients/use.cpp -o use-cpp $flags
is "it prints the same" 0 "$line" bare LD_LIBRARY_PATH="$prefix/lib" ./use-cpp weights.h5
is "C++20" 0 "" bare c++ -std=c++20 $warnings clients/use.cpp -o use-cpp20 $flags
is "it prints the same" 0 "$line" bare LD_LIBRARY_PATH="$prefix/lib" ./use-cpp20 weights.h5
is "linked by name alone" 0 "" bare cc -std=c99 $warnings -I"$prefix/include" clients/use.c -o use-rpath \
    -L"$prefix/lib" -ldim -Wl,-rpath,"$prefix/lib"
is "it prints the same" 0 "$line" bare ./use-rpath weights.h5

# ---- A prefix with signs that mean something in dim.pc; and elsewhere, what was moved or unpacked there

odd="$folder/a # place & more"
with_flags() { # source, program, pkg-config's arguments: as a shell takes what pkg-config prints
    local printed
    printed=$(env PKG_CONFIG_PATH="$odd/lib/pkgconfig" pkg-config "${@:3}" --cflags --libs dim) || return
    eval "bare cc -std=c99 $warnings '$1' -o '$2' $printed"
}
is "install below a blank and a #" 0 "" install_tree install PREFIX="$odd"
is "pkg-config knows the folder" 0 "$version" env PKG_CONFIG_PATH="$odd/lib/pkgconfig" pkg-config --modversion dim
is "C99 from there" 0 "" with_flags clients/use.c use-odd
is "it prints the same" 0 "$line" bare LD_LIBRARY_PATH="$odd/lib" ./use-odd weights.h5
is "uninstall from there" 0 "" install_tree uninstall PREFIX="$odd"
is "nothing is left there" 0 "" test -z "$(find "$odd" ! -type d)"
rm -rf "$odd"
for place in "$folder/moved" "$folder/moved # too"; do
    odd=$place
    cp -a "$prefix" "$odd"
    mv "$prefix" "$prefix.away"
    is "moved to $(basename "$odd"): C99 by pkg-config --define-prefix" 0 "" with_flags clients/use.c use-moved --define-prefix
    is "it prints the same" 0 "$line" bare LD_LIBRARY_PATH="$odd/lib" ./use-moved weights.h5
    mv "$prefix.away" "$prefix"
    rm -rf "$odd" use-moved
done

# ---- dlopen

is "dlopen: compiles" 0 "" bare cc -std=c99 -Wall -Wextra -Werror -D_GNU_SOURCE -I"$prefix/include" clients/load.c -o load -ldl
is "dlopen: the same, with no libdim linked" 0 "$line" bare ./load "$prefix/lib/libdim.so.$major" weights.h5
is "dlopen: not linked with it" 1 "" bash -c "readelf -dW load | grep libdim"

# A library of a version that lacks what the program needs is refused when the program starts.
printf 'const char *dim_version(void) { return "0.0.1"; }\n' >older.c
echo 'LIBDIM_0.0 { global: dim_version; local: *; };' >older.map
mkdir older
cc -shared -fPIC older.c -o "older/libdim.so.$major" -Wl,-soname="libdim.so.$major",--version-script=older.map
is "an older library is refused by name" fails "version \`LIBDIM_0.1' not found" bare LD_LIBRARY_PATH=older ./use-c weights.h5

# ---- The examples, as they were installed

cp -r "$prefix/share/doc/libdim/examples" examples
is "the examples build" 0 "" bare PKG_CONFIG_PATH="$PKG_CONFIG_PATH" make -C examples
is "and run" 0 "usage: encode" bare LD_LIBRARY_PATH="$prefix/lib" examples/encode --help
head -c 12288 /dev/zero >black.f32
is "and encode" 0 "" bare LD_LIBRARY_PATH="$prefix/lib" examples/encode weights.h5 black.f32
if command -v mpicc >/dev/null; then
    is "the one over MPI builds as it says" 0 "" bare mpicc -I"$prefix/include" examples/train_mpi.c -L"$prefix/lib" -ldim -o train_mpi
fi

# ---- The static archive

# shellcheck source=/dev/null
source "$top/Tests/install/static.sh"

# ---- CMake, from a folder to which everything was moved

mv "$prefix" moved
is "CMake configures" 0 "" bare cmake -S clients -B cmake -DCMAKE_PREFIX_PATH="$folder/moved" -DCMAKE_BUILD_TYPE=Release
is "CMake builds" 0 "" bare cmake --build cmake
is "C by CMake prints the same" 0 "$line" bare cmake/use_c weights.h5
is "C++ by CMake prints the same" 0 "$line" bare cmake/use_cpp weights.h5
finds() { # status, text, what find_package is given
    rm -rf find && mkdir find
    sed "s/@WANTED@/$3/" clients/find.cmake.in >find/CMakeLists.txt
    is "find_package(dim $3)" "$1" "$2" bare cmake -S find -B find/build -DCMAKE_PREFIX_PATH="$folder/moved"
}
finds 0 "" ""
finds 0 "" "$version EXACT"
finds 0 "" "$major.$minor...<$((major + 1))"
finds fails "version: $version" "$major.$((minor + 1))"
finds fails "version: $version" "$((major + 1)).0"
rm "moved/lib/libdim.so.$version"
finds fails "at least one is not there" 0.1
cp before.so "moved/lib/libdim.so.$version"
mv moved "$prefix"

# ---- make uninstall

is "uninstall" 0 "" install_tree uninstall PREFIX="$prefix"
is "what was there before is left, and nothing else" 0 "" diff foreign.txt <(tree "$prefix")
is "no folder of its own is left" 0 "" test ! -e "$prefix/lib/cmake/dim" -a ! -e "$prefix/share/doc/libdim"
is "uninstalling again" 0 "" install_tree uninstall PREFIX="$prefix"

# ---- Debian packages

# shellcheck source=/dev/null
source "$top/Tests/install/deb.sh"

echo "install: $passed passed, $failed failed"
[ "$failed" = 0 ]
