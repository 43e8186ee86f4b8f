#!/usr/bin/env bash
# Installs the wheel into a bare venv and uses it there: no Swift, no compiler, no HDF5 within reach, an empty environment.
# usage: tools/release/check-wheel.sh dist/deepinfomax-*.whl
set -euo pipefail
wheel=$(realpath "$1")

# As root, in a file system where these are not even there: every libhdf5, Swift, the compilers.
if [ "$(id -u)" = 0 ] && [ -z "${DIM_HIDDEN:-}" ] && unshare -m true 2>/dev/null; then
    export DIM_HIDDEN=1
    exec unshare -m "${BASH_SOURCE[0]}" "$wheel"
fi
if [ -n "${DIM_HIDDEN:-}" ]; then
    empty=$(mktemp -d)
    for file in /usr/lib/*/libhdf5*.so* /usr/local/lib/libhdf5*.so*; do
        [ -f "$file" ] && [ ! -L "$file" ] && mount --bind /dev/null "$file"
    done
    for name in swift gcc cc c++ g++ clang; do
        file=$(readlink -f "$(command -v "$name" || true)")
        [ -n "$file" ] && mount --bind /dev/null "$file"
    done
    swift_libraries=$(find /opt /usr/lib /usr/local/lib -maxdepth 4 -type d -path '*/lib/swift' 2>/dev/null || true)
    for directory in $swift_libraries; do mount --bind "$empty" "$directory"; done
    echo "check-wheel: libhdf5, Swift and compilers are hidden"
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
bare() { env -i PATH="$folder/venv/bin" HOME="$folder" "$@"; }
say() { printf 'check-wheel: %s\n' "$*"; }

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "$wheel"
venv/bin/pip list --disable-pip-version-check --format freeze | grep -viE '^(pip|setuptools|wheel)=' | xargs echo "check-wheel: installed"
say "$(bare dim --version); $(bare python -c 'import deepinfomax as dim; print(dim.build_info())')"

library=$(bare python -c 'from deepinfomax import _library; _library.library(); print(_library._find())')
case $library in "$folder"/*) ;; *) say "another library was found: $library" >&2; exit 1 ;; esac
say "needs $(readelf -dW "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | xargs)"
# Which files the running program has mapped, beside those of Python and numpy.
bare python -c '
import deepinfomax as dim
dim.Model(0).save("a.h5"); dim.Model.open("a.h5")
libraries = {line.split()[-1] for line in open("/proc/self/maps") if ".so" in line}
foreign = sorted(name for name in libraries if "hdf5" in name or "swift" in name or "libcurl" in name)
assert not foreign, foreign
'
say "a weights file written and read; no HDF5 and no Swift library mapped"
bare python -c '
import time; start = time.perf_counter(); import deepinfomax; own = time.perf_counter() - start
import sys; assert not {"h5py", "torch", "sklearn", "PIL", "matplotlib"} & set(sys.modules)
assert own < 1, own
print(f"check-wheel: import in {own:.2f} s, numpy included")
'
bare python -c '
import numpy as np
np.save("images.npy", np.random.RandomState(0).randint(0, 256, (12, 32, 32, 3)).astype("uint8"))'
bare dim encode --data images.npy --output vectors.npz | tail -n 1
if bare dim train --epochs 1 2>message; then
    say "the default data was found without scikit-learn" >&2
    exit 1
fi
say "without scikit-learn: $(cat message)"

# The commands on the default data, which the extra `data` brings.
venv/bin/pip install --quiet --disable-pip-version-check "$wheel[data]"
last() { local began=$SECONDS; bare dim "$@" >output 2>&1 || { cat output >&2; say "dim $* failed" >&2; exit 1; }
    say "dim $*: $(tail -n 1 output) ($((SECONDS - began)) s)"; }
last check
last train --epochs 1 --output run
last info --untrusted run/weights.h5
last encode --weights run/weights.h5 --output encoded.npz
last neighbours --weights run/weights.h5
last classify --weights run/weights.h5 --end-to-end-epochs 1
for file in run/weights.h5 run/checkpoint.h5 run/metrics.csv encoded.npz neighbours.png; do
    [ -s $file ] || { say "there is no $file" >&2; exit 1; }
done
say "ok"
