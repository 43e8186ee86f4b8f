"""The notebook's speed with two builds of libdim, in turn on this machine: is a change slower?

    python Benchmarks/builds.py build/old/build/libdim.so build/libdim.so

Each library works in a process of its own, one of them at a time: A B A B. It calls only functions that have not changed since
the first commits (dim_encode, dim_trainer_step), so that builds of any age can be compared. The last two columns are the second
library's median over the first one's, and the median of the pairs' quotients, which a slow minute does not move.
"""

from __future__ import annotations

import argparse
import ctypes
import multiprocessing
import statistics
import time
from ctypes import POINTER, byref, c_float, c_int, c_size_t, c_uint64, c_void_p
from multiprocessing.connection import Connection


def worker(path: str, threads: int, pipe: Connection) -> None:
    """Seconds of each task whose name is received: "encode 64", "step 64"."""
    lib = ctypes.CDLL(path)
    lib.dim_set_num_threads.argtypes = [c_int]
    lib.dim_model_create.argtypes = [c_uint64, POINTER(c_void_p)]
    lib.dim_encode.argtypes = [c_void_p, c_void_p, c_size_t, c_void_p, c_void_p]
    lib.dim_trainer_create.argtypes = [c_void_p, c_void_p, POINTER(c_void_p)]
    lib.dim_trainer_step.argtypes = [c_void_p, c_void_p, c_size_t, c_void_p]

    def check(status: int) -> None:
        if status != 0:
            raise RuntimeError(f"{path}: status {status}")

    check(lib.dim_set_num_threads(threads))
    model, trained, trainer = c_void_p(), c_void_p(), c_void_p()
    check(lib.dim_model_create(1, byref(model)))
    check(lib.dim_model_create(1, byref(trained)))
    check(lib.dim_trainer_create(trained, None, byref(trainer)))
    while task := pipe.recv():
        name, number = task.split()
        n = int(number)
        images = (c_float * (n * 3 * 32 * 32))(*((i * 2654435761 % 4096) / 4096 for i in range(n * 3 * 32 * 32)))
        vectors = (c_float * (n * 64))()
        start = time.perf_counter()
        check(
            lib.dim_encode(model, images, n, vectors, None)
            if name == "encode"
            else lib.dim_trainer_step(trainer, images, n, None)
        )
        pipe.send(time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description="compares the notebook's speed with two builds of libdim, in turn")
    parser.add_argument("first", help="libdim.so that counts as 1, for instance of an older commit")
    parser.add_argument("second", help="libdim.so that is compared with it")
    parser.add_argument("--repetitions", type=int, default=15, help="timed calls of each library and task (15)")
    parser.add_argument("--threads", type=int, default=0, help="of each library; 0: all cores (0)")
    parser.add_argument("--tasks", nargs="+", default=["encode 64", "encode 8", "step 64"], metavar="'NAME N'")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    pipes: list[Connection] = []
    for path in (options.first, options.second):
        near, far = context.Pipe()
        context.Process(target=worker, args=(path, options.threads, far), daemon=True).start()
        far.close()  # so that a worker that ends is an EOFError here
        pipes.append(near)

    def run(pipe: Connection, task: str) -> float:
        pipe.send(task)
        return float(pipe.recv())

    print(f"{'':12}{'first, ms':>12}{'second, ms':>12}{'of medians':>12}{'of pairs':>12}")
    for task in options.tasks:
        pairs = []
        for repetition in range(-2, options.repetitions):  # the first two are not timed
            # Each of them begins every other time.
            order = (0, 1) if repetition % 2 == 0 else (1, 0)
            seconds = {side: run(pipes[side], task) for side in order}
            if repetition >= 0:
                pairs.append((seconds[0], seconds[1]))
        first, second = (statistics.median(pair[side] for pair in pairs) for side in (0, 1))
        quotient = statistics.median(b / a for a, b in pairs)
        print(f"{task:12}{first * 1e3:12.2f}{second * 1e3:12.2f}{second / first:12.3f}{quotient:12.3f}", flush=True)


if __name__ == "__main__":
    main()
