"""What was measured on, and what the machine could do at best."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata

from workers import SCRATCH

PEERS = ("torch", "onnxruntime", "openvino", "MNN", "h5py", "numpy")


def cores() -> int:
    """As many as this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def facts(threads: int, build_info: str) -> dict[str, str]:
    """For the report. Nothing that tells whose machine it is."""
    return {
        "CPU": f"{_cpu()}, {cores()} cores, {_isa()}",
        "Memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "System": f"{platform.system()} {platform.machine()}, {' '.join(platform.libc_ver())}",
        "This library": build_info,
        "Peers": ", ".join(f"{name} {version}" for name, version in _versions()),
        "Python": platform.python_version(),
        "Threads": str(threads),
    }


def load() -> float:
    """How many other programs wanted a core during the last minute."""
    return os.getloadavg()[0]


def fma_peak(threads: int) -> float | None:
    """GFLOP/s of fma_peak.c; None where it was not built or does not run."""
    return _measured("fma_peak", str(threads))


def core_latency() -> float | None:
    """Nanoseconds of core_latency.c; None likewise, or with one core."""
    return _measured("core_latency")


def has_bf16() -> bool:
    """Whether products of bf16 are instructions here; elsewhere they are emulated, up to a hundred times slower."""
    return bool({"avx512_bf16", "amx_bf16"} & set(_cpuinfo("flags").split()))


def _measured(program: str, *words: str) -> float | None:
    try:
        run = subprocess.run([SCRATCH / program, *words], capture_output=True, text=True, check=True, timeout=60)
        return float(run.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


def _cpuinfo(field: str) -> str:
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith(field))
    except (OSError, StopIteration):
        return ""


def _cpu() -> str:
    model = " ".join((_cpuinfo(field) for field in ("cpu family", "model\t")))
    return f"{_cpuinfo('model name') or platform.processor()} (family and model {model})"


def _isa() -> str:
    flags = _cpuinfo("flags").split()
    known = {"avx512f": "AVX-512", "avx512_bf16": "AVX-512 BF16", "amx_bf16": "AMX BF16"}
    found = [name for flag, name in known.items() if flag in flags]
    return " and ".join(found) or ("AVX2" if "avx2" in flags else "no AVX2")


def _versions() -> list[tuple[str, str]]:
    found = []
    for name in PEERS:
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            pass
    return found
