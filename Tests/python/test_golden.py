"""libdim against what PyTorch computed in float64 (Tests/golden), from seeds alone. Needs no PyTorch."""

import os
import zlib

import cases
import deepinfomax as dim
import numpy as np
import pytest
from deepinfomax.compare import recordings, walk

FORWARD = recordings.Recording(cases.FOLDER / "forward.npz")

# The bound of the contract: 1e-4 of the output's rms, 1e-5 with direct convolutions. Where PyTorch's own float32
# comes near that bound or misses it, the output is ill-conditioned (a batch norm over two patches of sky, a logit that
# cancels to 0), and the bound is a multiple of PyTorch's deviation: a larger one for Winograd's larger rounding errors.
DIRECT = os.environ.get("DIM_CONV") == "direct"
BOUND, MULTIPLE = (1e-5, 8) if DIRECT else (1e-4, 10)


def initial_weights():
    by_seed = {}
    with open(cases.FOLDER / "init.txt") as file:
        for line in file:
            if not line.startswith("#"):
                seed, *entry = line.split()
                by_seed.setdefault(int(seed), []).append(entry)
    return by_seed


@pytest.mark.parametrize(("seed", "entries"), initial_weights().items())
def test_initial_weights_are_pytorchs(seed, entries):
    with dim.Model(seed) as model:
        state = model.state_dict()
    floats = [name for name, value in state.items() if value.dtype == np.float32]
    assert floats == [name for name, *_ in entries]
    different = []
    for name, size, crc, total, first, last in entries:
        value = state[name].ravel()
        assert value.size == int(size)
        if zlib.crc32(value.astype("<f4").tobytes()) != int(crc, 16):
            different.append(name)
            assert value[0] == pytest.approx(float(first), rel=1e-6)
            assert value[-1] == pytest.approx(float(last), rel=1e-6)
            assert value.sum(dtype=np.float64) == pytest.approx(float(total), rel=1e-6, abs=1e-6)
    assert not different, "right but for the last bits"


@pytest.mark.parametrize("case", cases.forward_cases(), ids=lambda case: case.key)
def test_outputs_are_pytorchs(case, inputs):
    with dim.Model(case.seed) as model:
        if case.state == "warm":
            model.load_state_dict(model.state_dict() | cases.warm(inputs, case.seed))
        steps = list(walk.cells(model, cases.images(inputs, case.input, case.seed), case.mode))

    wrong = []
    for step in steps:
        expected = FORWARD.outputs.get(f"{case.key}/{step.output}")
        if step.array is None or expected is None:
            assert step.array is None and expected is None, f"{step.output}: refused by one side alone"
            continue
        assert step.array.shape == expected.shape
        assert np.isfinite(step.array).all()
        if step.output == "prior_d" and case.input == "huge":
            # A probability of e^-80 has few correct digits in anyone's float32.
            error, bound = float(np.abs(step.array.ravel() - expected.sample).max()), BOUND
        else:
            error = recordings.error_over_rms(step.array, expected)
            bound = max(BOUND, MULTIPLE * expected.float32)
        if not error <= bound:
            wrong.append(f"{step.output}: error/rms {error:.2e}, bound {bound:.2e}, PyTorch's float32 {expected.float32:.2e}")
    assert not wrong, "\n" + "\n".join(wrong)


def test_a_sample_is_of_distinct_entries_from_everywhere():
    for size in (1, 64, 128, 129, 1000, 7 * 128 * 26 * 26):
        indices = recordings.sample_indices(size)
        assert len(set(indices)) == len(indices) == min(size, 128)
        assert indices.min() >= 0 and indices.max() < size
