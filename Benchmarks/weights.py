"""The figures of docs/hdf5.md.

    python Benchmarks/weights.py open      opening and saving all networks, beside h5py on the same files
    python Benchmarks/weights.py flips     every bit of a small saved file flipped, one at a time
    python Benchmarks/weights.py mutants   random damage to valid files, in child processes (--count, --seed)
        --checksums     to their metadata alone, and its checksums made right again
        --untrusted     opened by an isolated reader

It needs h5py, and build/libdim.so or DIM_LIBRARY.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "bindings" / "python"), str(ROOT / "Tests" / "python"), str(ROOT / "Tests" / "fuzz")]

import h5py  # noqa: E402
from deepinfomax import DimError, Model  # noqa: E402
from weights_fixtures import CHILD, SHAPES, state_of, write  # noqa: E402
from weights_mutants import mutants, sources  # noqa: E402


def least_ms(action, times=15):
    durations = []
    for _ in range(times):
        start = time.perf_counter()
        result = action()
        durations.append((time.perf_counter() - start) * 1e3)
        del result
    return min(durations)


def read_with_h5py(path):
    with h5py.File(path) as file:
        return {key: file[key][()] for key in file}


def opening(folder, _):
    state = state_of(*SHAPES)
    print("least of 15, page cache warm, ms              h5py  libdim  untrusted")
    plain = write(folder / "plain.h5", state)
    model = Model.open(plain)
    saved = str(folder / "saved.h5")
    model.save(saved)
    gzip = write(folder / "gzip.h5", state, compression="gzip", shuffle=True, fletcher32=True)
    double = write(folder / "double.h5", state, convert=lambda a: a.astype("f8") if a.dtype.kind == "f" else a)
    rows = {"plain float32": plain, "saved by libdim": saved, "float64": double, "gzip, shuffle, fletcher32": gzip}
    for label, path in rows.items():
        times = 3 if path == gzip else 15
        h5py_ms, dim_ms = least_ms(lambda: read_with_h5py(path), times), least_ms(lambda: Model.open(path), times)
        isolated_ms = least_ms(lambda: Model.open(path, untrusted=True), times)
        print(f"open {label:27} {os.path.getsize(path) / 1e6:6.1f} MB {h5py_ms:6.1f} {dim_ms:7.1f} {isolated_ms:10.1f}")
    print(f"save{'':42} {least_ms(lambda: write(folder / 'h.h5', state), 5):6.1f} ", end="")
    print(f"{least_ms(lambda: model.save(saved), 5):6.1f}   (libdim's with fsync)")


def flips(folder, _):
    path = folder / "saved.h5"
    Model.open(write(folder / "plain.h5", state_of("classifier"))).save(str(path))
    expected = {k: a.tobytes() for k, a in Model.open(str(path)).state_dict().items()}
    outcomes = Counter()
    with open(path, "r+b", buffering=0) as file:
        for at in range(path.stat().st_size):
            byte = os.pread(file.fileno(), 1, at)[0]
            for bit in range(8):
                os.pwrite(file.fileno(), bytes([byte ^ 1 << bit]), at)
                try:
                    found = {k: a.tobytes() for k, a in Model.open(str(path)).state_dict().items()}
                    outcomes["same weights" if found == expected else "WRONG WEIGHTS"] += 1
                except DimError as error:
                    outcomes[error.status_name] += 1
            os.pwrite(file.fileno(), bytes([byte]), at)
    print(f"{sum(outcomes.values())} flipped bits of {path.stat().st_size} bytes: {dict(outcomes)}")


CHILD_PROGRAM = """
import sys, time, deepinfomax
slowest = 0
for path in sys.stdin.read().split():
    start = time.monotonic()
    try:
        deepinfomax.Model.open(path, untrusted=sys.argv[1] == "untrusted")
        outcome = "opened"
    except deepinfomax.DimError as error:
        outcome = "ended_the_reader" if "ended the isolated reader" in str(error) else error.status_name
    slowest = max(slowest, time.monotonic() - start)
    # Not ru_maxrss, which remembers what the parent held.
    peak = next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(outcome, slowest, peak, flush=True)
"""


def damage(folder, options):
    """500 at a time, each lot in a host of its own, which its crash or hang ends."""
    made_of, chooser = sources(folder, options.checksums), random.Random(options.seed)
    outcomes, slowest, peak = Counter(), 0.0, 0
    for first in range(0, options.count, 500):
        paths = mutants(folder, chooser, min(500, options.count - first), made_of)
        while paths:
            child = subprocess.run(
                [sys.executable, "-c", CHILD_PROGRAM, "untrusted" if options.untrusted else "open"],
                input="\n".join(paths),
                capture_output=True,
                text=True,
                timeout=300,
                env=CHILD,
            )
            lines = [line.split() for line in child.stdout.splitlines()]
            outcomes.update(line[0] for line in lines)
            if lines:
                slowest, peak = max(slowest, float(lines[-1][1])), max(peak, int(lines[-1][2]))
            paths = paths[len(lines) :]
            if child.returncode != 0:
                outcomes[f"HOST ENDED BY SIGNAL {-child.returncode}"] += 1
                paths = paths[1:]
    kind = "mutants under right checksums" if options.checksums else "mutants"
    print(
        f"{options.count} {kind}, seed {options.seed}, {'untrusted' if options.untrusted else 'open'}: {dict(outcomes)}; ",
        end="",
    )
    print(f"the slowest took {slowest:.2f} s, the largest host {peak / 1024:.0f} MB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["open", "flips", "mutants"])
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--untrusted", action="store_true", help="mutants: through an isolated reader")
    parser.add_argument("--checksums", action="store_true", help="mutants: in metadata, whose checksums are made right again")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if arguments.what != "open" else None) as name:
        {"open": opening, "flips": flips, "mutants": damage}[arguments.what](Path(name), arguments)
