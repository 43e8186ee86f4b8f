"""Outputs too large to keep, recorded as their shape, root mean square, mean and a fixed sample of their entries.

A recording is an .npz file of two arrays that numpy alone reads: `index`, a JSON text that describes every output and
says where its sample begins, and `samples`, all samples one after another in float64. Further arrays (inputs, weights)
are beside them under their own names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import NDArray

SAMPLE_SIZE = 128


@dataclass(frozen=True)
class Summary:
    """What is kept of one output."""

    shape: tuple[int, ...]
    rms: float
    mean: float
    sample: NDArray[np.float64]
    #: The largest error over rms of the same computation in PyTorch's float32, of several such the largest; nan where
    #: it was not measured.
    float32: float = float("nan")
    #: The root mean square of that computation's error over rms, likewise.
    float32_rms: float = float("nan")


def sample_indices(size: int) -> NDArray[np.int64]:
    """Which entries of a flattened array of `size` are kept: all of up to 128, else one of each of 128 equal stretches.

    Entry i is  i * size // 128  +  i * 7919 % (size // 128):  the offset within the stretch moves, so that the sample
    meets every row, column and channel.
    """
    if size <= SAMPLE_SIZE:
        return np.arange(size)
    i = np.arange(SAMPLE_SIZE, dtype=np.int64)
    return i * size // SAMPLE_SIZE + i * 7919 % (size // SAMPLE_SIZE)


def summarise(array: NDArray[Any], *float32: NDArray[Any]) -> Summary:
    """`float32` is the same output computed in PyTorch's float32, once or in several ways, to keep its deviation."""
    flat = np.asarray(array, dtype=np.float64).reshape(-1)
    summary = Summary(array.shape, rms(flat), float(flat.mean()), flat[sample_indices(flat.size)])
    if not float32:
        return summary
    largest = max(error_over_rms(single, array) for single in float32)
    typical = max(_ratio(rms(np.asarray(single, np.float64) - array), summary.rms) for single in float32)
    return replace(summary, float32=largest, float32_rms=typical)


def rms(array: NDArray[Any]) -> float:
    return float(np.sqrt(np.mean(np.square(np.asarray(array, dtype=np.float64)))))


def error_over_rms(found: NDArray[Any], expected: NDArray[Any] | Summary) -> float:
    """The largest error over the root mean square of what is expected; inf where the shapes differ, nan for nan.

    Against a Summary it is the largest over the sample, and the deviations of the whole array's mean and rms.
    """
    if found.shape != expected.shape:
        return float("inf")
    flat = np.asarray(found, dtype=np.float64).reshape(-1)
    if isinstance(expected, Summary):
        sample_error = float(np.max(np.abs(flat[sample_indices(flat.size)] - expected.sample)))
        error = float(np.max([sample_error, abs(flat.mean() - expected.mean), abs(rms(flat) - expected.rms)]))
        scale = expected.rms
    else:
        error, scale = float(np.max(np.abs(flat - np.asarray(expected, dtype=np.float64).reshape(-1)))), rms(expected)
    return _ratio(error, scale)


def _ratio(error: float, scale: float) -> float:
    if error == 0:
        return 0.0
    return error / scale if scale > 0 else float("inf")


def save(path: str | PathLike[str], outputs: Mapping[str, Summary], **arrays: Any) -> None:
    """Writes a recording, with `arrays` beside the outputs."""
    index: list[dict[str, Any]] = []
    offset = 0
    for key, output in outputs.items():
        index.append(
            {
                "key": key,
                "shape": output.shape,
                "rms": output.rms,
                "mean": output.mean,
                "float32": output.float32,
                "float32_rms": output.float32_rms,
                "offset": offset,
                "count": output.sample.size,
            }
        )
        offset += output.sample.size
    samples = np.concatenate([output.sample for output in outputs.values()])
    np.savez_compressed(path, index=np.array(json.dumps(index)), samples=samples, **arrays)


class Recording:
    """A recording read back: `outputs` by key, and any array beside them by name."""

    def __init__(self, path: str | PathLike[str]) -> None:
        with np.load(path) as file:
            arrays: dict[str, NDArray[Any]] = dict(file)
        samples = arrays.pop("samples")
        self.outputs = {entry["key"]: _summary(entry, samples) for entry in json.loads(str(arrays.pop("index")))}
        self.arrays = arrays

    def keys(self, *parts: str) -> Iterable[str]:
        """The keys of the outputs that have each of `parts` between their slashes."""
        return (key for key in self.outputs if set(parts) <= set(key.split("/")))


def _summary(entry: Mapping[str, Any], samples: NDArray[np.float64]) -> Summary:
    sample = samples[entry["offset"] : entry["offset"] + entry["count"]]
    return Summary(tuple(entry["shape"]), entry["rms"], entry["mean"], sample, entry["float32"], entry["float32_rms"])
