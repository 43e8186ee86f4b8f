# The Debian packages: a part of run.sh, which sources this in its folder. Nothing is installed in this system: they are
# unpacked, and installed by dpkg in a system of their own.

export DEBFULLNAME="A Packager" DEBEMAIL=packager@example.net
packages() { "$top/tools/release/deb.sh" "$folder/$1"; }
is "packages" 0 "libdim-dev_$version-1" packages dist
is "the same packages again" 0 "" packages again
is "are the same, byte for byte" 0 "" diff -r dist again
library_package=$(ls dist/libdim"$major"_*.deb)
development_package=$(ls dist/libdim-dev_*.deb)
# As root it says that it should not be; that is no finding.
is "lintian finds no error" 0 "" lintian --fail-on error "$library_package" "$development_package"
grep -h '^E:' stdout >&2
is "the library's package depends on what it links" 0 "libhdf5" dpkg-deb -f "$library_package" Depends
is "the other on exactly this one" 0 "libdim$major (= $version-1)" dpkg-deb -f "$development_package" Depends
is "the library's package has the library alone" 0 "libdim.so.$major libdim.so.$version" \
    bash -c "dpkg-deb --fsys-tarfile '$library_package' | tar -t | grep -v -e '/$' -e /doc/ | xargs -n 1 basename | sort | xargs"

mkdir root
is "unpacking the library" 0 "" dpkg-deb -x "$library_package" root
is "unpacking the rest" 0 "" dpkg-deb -x "$development_package" root
libraries=$folder/root/usr/lib/$triplet
is "every link leads somewhere" 0 "" test -z "$(find root -xtype l)"
is "those of documents as well" 0 "" test -z "$(astray root | tee >(cat >&2))"
is "checksums" 0 "" bash -c "for p in '$library_package' '$development_package'; do
    dpkg-deb --ctrl-tarfile \$p | tar -xO ./md5sums | (cd root && md5sum --quiet -c) || exit 1; done"
flags=$(PKG_CONFIG_PATH= PKG_CONFIG_LIBDIR=$libraries/pkgconfig PKG_CONFIG_SYSROOT_DIR=$folder/root PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 \
    PKG_CONFIG_ALLOW_SYSTEM_LIBS=1 pkg-config --cflags --libs dim)
is "a program against them" 0 "" bare cc -std=c99 $warnings clients/use.c -o use-deb $flags
is "it prints the same" 0 "$line" bare LD_LIBRARY_PATH="$libraries" ./use-deb weights.h5
is "CMake finds them" 0 "" bare cmake -S clients -B cmake-deb -DCMAKE_PREFIX_PATH="$folder/root/usr" \
    -DCMAKE_LIBRARY_ARCHITECTURE="$triplet"
is "and builds with them" 0 "" bare cmake --build cmake-deb
is "it prints the same" 0 "$line" bare cmake-deb/use_cpp weights.h5

# By dpkg itself, which gives files to root. The system below has none of the packages that they depend on.
if [ "$(id -u)" = 0 ]; then
    mkdir -p system/var/lib/dpkg/{info,updates,triggers}
    touch system/var/lib/dpkg/{status,available}
    installed() { dpkg --root=system "$@"; }
    is "dpkg knows what is missing" fails "depends on libc6" installed -i "$library_package"
    is "dpkg installs both" 0 "" installed --force-depends -i "$library_package" "$development_package"
    is "they are installed" 0 "installed installed" \
        bash -c "dpkg-query --root=system -W -f '\${db:Status-Status}\n' libdim$major libdim-dev | xargs"
    is "what is installed is what was packed" 0 "" diff -r root/usr system/usr
    is "dpkg finds nothing changed" 0 "" installed -V
    is "dpkg removes both" 0 "" installed --force-depends -P libdim-dev "libdim$major"
    is "nothing is left" 0 "" test -z "$(find system -path system/var -prune -o ! -type d -print)"
fi

# What a package that holds such a program would depend on.
mkdir -p consumer/debian
printf 'Source: consumer\n\nPackage: consumer\nArchitecture: any\n' >consumer/debian/control
dpkg-deb -R "$library_package" consumer/library
is "a program's package depends on it" 0 "libdim$major (>= 0.1.0)" \
    bash -c "cd consumer && dpkg-shlibdeps -O -Slibrary ../use-deb"
