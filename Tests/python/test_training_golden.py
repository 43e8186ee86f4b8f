"""Training from seeds alone against what PyTorch recorded, by the criterion of deepinfomax/compare/deviations.py."""

import numpy as np
import pytest
from deepinfomax import Model, Trainer
from deepinfomax.compare import deviations, runs
from deepinfomax.data import photographs

RECORDED = runs.Recorded()
PHOTOS = photographs.pixels(RECORDED.photographs)
GRADIENTS = {
    (prior, n): RECORDED.expected(f"gradients/{prior}/batch{n}") for prior in runs.PRIORS for n in runs.GRADIENT_BATCHES
}


def assert_close(found):
    wrong = [d for d in found if not d.passed]
    assert not wrong, "\n" + "\n".join(f"{d.where}: {d.here:.1e}, PyTorch's float32 {d.scale:.1e}" for d in wrong)


def kept(expected):
    """The numbers of steps after which weights are recorded."""
    return {int(key.partition("/")[0].removeprefix("step")) for key in expected.arrays}


@pytest.mark.parametrize(("prior", "n"), GRADIENTS)
def test_gradients_of_every_parameter(prior, n):
    found = runs.gradients(PHOTOS, prior, n)
    assert len(found.arrays) == 38
    assert_close(deviations.deviations(found, GRADIENTS[prior, n], GRADIENTS.values()))


@pytest.mark.parametrize("prior", runs.PRIORS)
def test_steps_of_the_objective(prior):
    expected = RECORDED.expected(f"run/{prior}")
    assert_close(deviations.deviations(runs.objective_run(PHOTOS, prior, 20, kept(expected)), expected))


@pytest.mark.parametrize(("encoder", "loss"), runs.CLASSIFIER_RUNS)
def test_steps_of_the_classifier(encoder, loss):
    expected = RECORDED.expected(f"classifier/{encoder}/{loss}")
    assert_close(deviations.deviations(runs.classifier_run(PHOTOS, encoder, loss, 20, kept(expected)), expected))


def test_the_criterion_notices():
    """One part in a hundred more of one gradient, a loss off in the fifth digit, an array that is missing."""
    expected = GRADIENTS["monolithic", 8]
    found = runs.gradients(PHOTOS, "monolithic", 8)
    found.arrays["global_d.c1.weight"] *= np.float32(1.01)
    found.history[0][3] *= 1.00001
    del found.arrays["prior_d.l0.bias"]
    failed = {d.where for d in deviations.deviations(found, expected, GRADIENTS.values()) if not d.passed}
    assert failed == {"global_d.c1.weight", "step 1", "prior_d.l0.bias"}


# ---- Finite differences: without PyTorch, the gradients are those of the losses that are reported

# One or more of each network and each kind of layer, or a whole network.
DIRECTIONS = [
    "encoder.",
    "encoder.c0.weight",
    "encoder.c2.weight",
    "encoder.l1.weight",
    "encoder.b1.bias",
    "encoder.b3.weight",
    "global_d.",
    "global_d.c0.weight",
    "global_d.l0.weight",
    "global_d.l1.bias",
    "local_d.",
    "local_d.c0.weight",
    "local_d.c1.weight",
    "local_d.c2.bias",
    "prior_d.",
    "prior_d.l0.weight",
    "prior_d.l1.bias",
]
BATCH = PHOTOS[:3]


@pytest.fixture(scope="module")
def point():
    """Weights, and the gradients there."""
    with Model(0) as model, Trainer(model, seed=3) as trainer:
        trainer.accumulate(BATCH)
        yield model.state_dict(), trainer.gradients()


@pytest.mark.parametrize("prefix", DIRECTIONS)
def test_finite_differences(point, prefix):
    """Along a gradient g the total changes as g says: L(w + h g/|g|) - L(w - h g/|g|) = g . (difference of the weights).

    h is as small as rounding allows: the losses are right to 1e-8 (test_gradients_of_every_parameter), of differences
    of 2 h |g| > 1e-7. It still crosses switches (ReLU), more of them the larger it is: the error falls with h.
    """
    weights, gradients = point
    chosen = {name: g for name, g in gradients.items() if name.startswith(prefix)}
    norm = np.sqrt(sum(np.square(g, dtype=np.float64).sum() for g in chosen.values()))
    h = max(3e-5, 1e-6 / norm)
    moved = [{name: weights[name] + np.float32(s * h / norm) * g for name, g in chosen.items()} for s in (1, -1)]
    expected = sum(np.vdot(g, moved[0][k].astype(np.float64) - moved[1][k]) for k, g in chosen.items())
    totals = []
    with Model(0) as model:
        for weights_here in moved:
            model.load_state_dict(weights | weights_here)
            with Trainer(model, seed=3) as trainer:  # The same noise each time.
                totals.append(trainer.accumulate(BATCH).total)
    assert totals[0] - totals[1] == pytest.approx(expected, rel=0.02)
