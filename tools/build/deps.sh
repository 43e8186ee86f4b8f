#!/usr/bin/env bash
# Installs what the build, `dim check` and the tests need and this machine lacks, and only that:
# Debian packages by apt-get (as root or through sudo), Python packages into .venv. Prints nothing if all are installed.
# Arguments: names of further Debian packages.
set -euo pipefail
cd "$(dirname "$0")/../.."

swift_needed=6.3
fail() { printf 'make deps: %s\n' "$*" >&2; exit 1; }
say() { printf 'make deps: %s\n' "$*"; }
have() { command -v "$1" >/dev/null 2>&1; }
try_include() { printf '#include <%s>\n' "$1" | cc -E -x c - >/dev/null 2>&1; }

# ---- Debian packages: what is missing is found out by trying it, not by asking dpkg

packages=()
have cc || packages+=(gcc libc6-dev)
have c++ || packages+=(g++)
{ have nm && have readelf; } || packages+=(binutils)
have git || packages+=(git)
have qemu-x86_64 || packages+=(qemu-user)
{ have abidw && have abidiff; } || packages+=(abigail-tools)
# Images to learn from: the guides that the tests run, and make science.
[ -d /usr/share/datasets/fashion-mnist ] || packages+=(dataset-fashion-mnist)
# For the tests of what is installed, and for make deb.
have cmake || packages+=(cmake)
have dpkg-shlibdeps || packages+=(dpkg-dev)
have groff || packages+=(groff-base)
have lintian || packages+=(lintian)
# For the tests of several processes.
{ have mpirun && have mpicc; } || packages+=(openmpi-bin libopenmpi-dev)
if have pkg-config; then
    pkg-config --exists hdf5-serial || packages+=(libhdf5-dev)
else
    packages+=(pkg-config libhdf5-dev)
fi
if have cc; then
    try_include zlib.h || packages+=(zlib1g-dev)
else
    packages+=(zlib1g-dev)
fi
python=${PYTHON:-python3}
[ -x .venv/bin/python ] || "$python" -c 'import ensurepip, venv' >/dev/null 2>&1 || packages+=(python3 python3-venv)
for package in "$@"; do
    [ "$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null)" = "install ok installed" ] || packages+=("$package")
done

if [ ${#packages[@]} -gt 0 ]; then
    have apt-get || fail "missing: ${packages[*]} (names of Debian's packages; there is no apt-get here to install them)"
    if [ "$(id -u)" = 0 ]; then
        as_root=()
    elif have sudo; then
        as_root=(sudo)
    else
        fail "missing: ${packages[*]}; run as root: apt-get install ${packages[*]}"
    fi
    apt_install() {
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" </dev/null
    }
    log=$(mktemp)
    trap 'rm -f "$log"' EXIT
    say "installing ${packages[*]}"
    # The first try may fail because the package lists are missing or old.
    if ! apt_install "${packages[@]}" >"$log" 2>&1; then
        "${as_root[@]}" apt-get update -qq </dev/null >"$log" 2>&1 || { cat "$log" >&2; fail "apt-get update failed"; }
        apt_install "${packages[@]}" >"$log" 2>&1 || { cat "$log" >&2; fail "apt-get could not install ${packages[*]}"; }
    fi
    pkg-config --exists hdf5-serial || fail "libhdf5-dev is installed but pkg-config does not know hdf5-serial"
fi

# ---- Swift: nothing that apt has

have swift ||
    fail "there is no 'swift' on PATH; install Swift $swift_needed or newer (swift.org) and put its bin folder on PATH"
swift_found=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9][0-9.]*\).*/\1/p' | head -n 1)
[ -n "$swift_found" ] || fail "'swift --version' does not work: $(swift --version 2>&1 | head -n 1)"
[ "$(printf '%s\n%s\n' "$swift_needed" "$swift_found" | sort -V | head -n 1)" = "$swift_needed" ] ||
    fail "Swift $swift_needed or newer is needed; $(command -v swift) is $swift_found"

# ---- Python packages, into .venv

requirements=tools/build/requirements.txt
stamp=.venv/installed-requirements.txt
if ! { [ -f "$stamp" ] && cmp -s "$requirements" "$stamp" && .venv/bin/python -c '' 2>/dev/null; }; then
    .venv/bin/python -m pip --version >/dev/null 2>&1 || {
        say "making .venv"
        "$python" -m venv --clear .venv || fail "'$python -m venv .venv' failed"
    }
    say "installing into .venv: $(sed -n 's/^\([a-z0-9-]*\).*/\1/p' "$requirements" | xargs)"
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r "$requirements" </dev/null ||
        fail "pip could not install $requirements"
    cp "$requirements" "$stamp"
fi
