"""A step of K micro-batches: its bytes do not depend on how many processes share it. Here they are trainers of one process
that take turns; Tests/python/test_distributed.py has real ones."""

import numpy as np
import pytest
from training_fixtures import PHOTOS, assert_same_state, content

import deepinfomax as dim
from deepinfomax import Architecture, Model, Trainer

K = 4
#: With batch norms in the encoder and in both heads, dropout in the encoder, drawn negatives and the prior's noise.
DESCRIPTION = {
    "image": {"channels": 3, "height": 32, "width": 32},
    "encoder": {
        "layers": [
            {"op": "conv", "name": "c0", "out": 8, "kernel": 4, "stride": 2, "norm": "batch", "activation": "relu"},
            {"op": "dropout", "dropout": 0.3},
            {"op": "conv", "name": "c1", "out": 12, "kernel": 4, "stride": 2, "norm": "batch", "activation": "relu"},
            {"op": "flatten"},
            {"op": "linear", "name": "l0", "out": 10},
        ],
        "features": "c1",
    },
    "local": {"score": "dot", "net": "authors", "units": 12},
    "global": {"score": "dot", "net": "copy", "units": 8},
    "prior": {"hidden": [12], "squash": "sigmoid"},
    "coordinates": {"hidden": [8]},
}
SETTINGS = {
    "own": dict(measure="jsd", negatives=1, prior="adversarial", gradient_penalty=1.0, alpha=0.5, gamma=0.1, gradient_clip=1.0),
    "structure": dict(
        measure="nce",
        negatives="all",
        prior="monolithic",
        alpha=0.5,
        gamma=0.1,
        occlusion=True,
        locations=3,
        coordinates="absolute",
    ),
    "notebook": dict(prior="adversarial"),
}


def new(name, micro_batches=K, **settings):
    architecture = Architecture.from_json(DESCRIPTION) if name != "notebook" else Architecture.preset(name)
    return Trainer(Model(1, architecture=architecture), seed=3, micro_batches=micro_batches, **SETTINGS[name] | settings)


def part(trainer, batch, rank, processes):
    """Accumulates what rank has of the batch, skips the rest."""
    n = len(batch) // K
    own = K // processes
    return [trainer.accumulate(batch[m * n : (m + 1) * n]) if m // own == rank else trainer.skip(n) for m in range(K)]


def tree(arrays):
    while len(arrays) > 1:
        arrays = [a + b for a, b in zip(arrays[::2], arrays[1::2], strict=True)]
    return arrays[0]


def shared_step(trainers, batch):
    """As over MPI: each hands its array over and is stopped, then all get the sum."""
    handed = []

    def hand_over(values):
        handed.append(values.copy())
        raise InterruptedError

    for rank, trainer in enumerate(trainers):
        part(trainer, batch, rank, len(trainers))
        trainer.on_gradients = hand_over
        with pytest.raises(InterruptedError):
            trainer.update()
    total = tree(handed)
    for rank, trainer in enumerate(trainers):
        losses = part(trainer, batch, rank, len(trainers))
        trainer.on_gradients = lambda values: np.copyto(values, total)
        trainer.update()
    return losses


@pytest.mark.parametrize("name", ["own", "structure", "notebook"])
def test_the_number_of_processes_changes_no_byte(name, tmp_path):
    batches = PHOTOS[:24].reshape(3, 8, 3, 32, 32)[: 3 if name != "notebook" else 1]
    with new(name) as alone:
        for batch in batches:
            alone.step(batch)
        alone.save(tmp_path / "alone.h5")
    for processes in (2, 4) if name != "notebook" else (2,):
        trainers = [new(name) for _ in range(processes)]
        for batch in batches:
            shared_step(trainers, batch)
        for rank, trainer in enumerate(trainers):
            trainer.save(tmp_path / f"{rank}.h5")
            trainer.close()
            assert (tmp_path / f"{rank}.h5").read_bytes() == (tmp_path / "alone.h5").read_bytes(), (processes, rank)


def test_a_step_is_its_micro_batches():
    """Losses are their mean, gradients add as a tree, and running statistics move by each in turn."""
    batch = PHOTOS[:8]
    with new("own") as whole, new("own") as parts:
        losses = whole.step(batch)
        found = part(parts, batch, 0, 1)
        seen = []
        parts.on_gradients = lambda values: seen.append(values.copy())
        parts.update()
        assert losses == pytest.approx(np.mean(found, axis=0), rel=1e-12)
        assert_same_state(whole.model.state_dict(), parts.model.state_dict())
        assert parts.model.state_dict()["encoder.c0_norm.num_batches_tracked"] == K
    gradients = []
    for m in range(K):
        with new("own") as trainer:
            trainer.on_gradients = lambda values: gradients.append(values.copy())
            for other in range(K):
                trainer.skip(2) if other != m else trainer.accumulate(batch[2 * m : 2 * m + 2])
            with pytest.raises(dim.InvalidArgument, match="0 times, expected once"):
                trainer.update()
    infos = Model(0, architecture=Architecture.from_json(DESCRIPTION)).parameters_info()
    count = sum(info.nbytes // 4 for info in infos if info.trainable and not info.name.startswith("coordinates_d"))
    # Scaled once, after the sum.
    assert np.array_equal(seen[0][:count], tree([g[:count] for g in gradients]) * np.float32(1 / K))


def test_gradients_that_wait_are_sums_over_micro_batches():
    with new("own") as trainer:
        singles = []
        for m in range(3):
            trainer.accumulate(PHOTOS[2 * m : 2 * m + 2])
            singles.append(trainer.gradients()["encoder.c1.weight"])
        first, second, third = singles
        assert not np.array_equal(first, second)
        with new("own", micro_batches=4) as alone:
            for m in range(3):
                alone.skip(2) if m < 2 else alone.accumulate(PHOTOS[4:6])
            # The third waits beside the sum of the first two.
            assert np.array_equal(third, alone.gradients()["encoder.c1.weight"] + second)


def test_a_failed_micro_batch_leaves_the_waiting_ones_and_the_random_stream():
    states = []
    for fails in (False, True):
        with new("own") as trainer:
            for m in range(K):
                if fails and m in (1, 2):
                    with pytest.raises(dim.InvalidArgument, match="nan"):
                        trainer.accumulate(np.full_like(PHOTOS[:2], np.nan))
                    with pytest.raises(dim.NotFinite):  # In the backward pass of nothing: the loss overflows first.
                        trainer.accumulate(np.full_like(PHOTOS[:2], 3e38) * np.sign(PHOTOS[:2] - 0.5))
                trainer.accumulate(PHOTOS[2 * m : 2 * m + 2])
            trainer.update()
            states.append(trainer.model.state_dict())
    assert_same_state(*states)


def test_dropped_micro_batches_leave_no_trace(tmp_path):
    with new("own") as trainer:
        trainer.step(PHOTOS[:8])
        trainer.save(tmp_path / "before.h5")
        trainer.skip(2)
        trainer.accumulate(PHOTOS[:2])
        with pytest.raises(
            dim.InvalidArgument, match=r"expected none, found an open step \(1 micro-batches accumulated, 1 skipped\)"
        ):
            trainer.save(tmp_path / "after.h5")
        trainer.drop()
        trainer.save(tmp_path / "after.h5")
        trainer.drop()  # Nothing waits.
    assert content(tmp_path / "after.h5") == content(tmp_path / "before.h5")


def test_a_stopped_update_leaves_no_trace(tmp_path):
    with new("own") as trainer:
        trainer.save(tmp_path / "before.h5")
        trainer.on_gradients = lambda values: 1 / 0
        for m in range(K):
            trainer.accumulate(PHOTOS[2 * m : 2 * m + 2])
        with pytest.raises(ZeroDivisionError):
            trainer.update()
        trainer.save(tmp_path / "after.h5")
    assert content(tmp_path / "after.h5") == content(tmp_path / "before.h5")


def test_a_run_continues_with_its_micro_batches(tmp_path):
    with new("own") as whole, new("own") as half:
        for start in (0, 8):
            whole.step(PHOTOS[start : start + 8])
        half.step(PHOTOS[:8])
        half.save(tmp_path / "half.h5")
        with Trainer.resume(tmp_path / "half.h5") as resumed:
            assert resumed.options.micro_batches == K
            resumed.step(PHOTOS[8:16])
            assert_same_state(resumed.model.state_dict(), whole.model.state_dict())


def test_one_micro_batch_is_no_setting(tmp_path):
    """Files of such runs are what they were."""
    h5py = pytest.importorskip("h5py")
    with new("own", micro_batches=1) as trainer:
        trainer.save(tmp_path / "c.h5")
    with h5py.File(tmp_path / "c.h5") as file:
        assert b"micro" not in file["checkpoint/settings"][()]


@pytest.mark.parametrize(
    ("calls", "words"),
    [
        ("a", "1 micro-batches were accumulated or skipped"),
        ("ssss", "nothing to update.*4 were skipped"),
        ("sass", "micro-batches 1 to 1 of 4 are here"),
        ("aaas", "micro-batches 0 to 2 of 4 are here"),
        ("saas", "micro-batches 1 to 2 of 4 are here"),
        ("aass", "no gradient callback"),
    ],
)
def test_parts_that_make_no_step(calls, words):
    with new("own") as trainer:
        for call in calls:
            trainer.skip(2) if call == "s" else trainer.accumulate(PHOTOS[:2])
        if words == "micro-batches 1 to 1 of 4 are here":  # A stretch of one is sound: only the callback is missing.
            words = "no gradient callback"
        with pytest.raises(dim.InvalidArgument, match=words):
            trainer.update()


def test_refusals():
    for count in (0, -1, 4097):
        with pytest.raises(ValueError, match="micro_batches: expected 1 to 4096"):
            new("own", micro_batches=count)
    with new("own") as trainer:
        for images in (4, 9, 10):
            with pytest.raises(dim.InvalidArgument, match="expects a multiple of 4, 8 at least"):
                trainer.step(PHOTOS[:images])
        for m in range(2):
            trainer.accumulate(PHOTOS[:2])
        trainer.skip(2)
        with pytest.raises(dim.InvalidArgument, match="one after another"):
            trainer.accumulate(PHOTOS[:2])
        with pytest.raises(dim.InvalidArgument, match="of one size"):
            trainer.skip(3)
        trainer.skip(2)
        for call in (lambda: trainer.skip(2), lambda: trainer.accumulate(PHOTOS[:2])):
            with pytest.raises(dim.InvalidArgument, match="all 4 micro-batches of the step are there|one after another"):
                call()
        for n, error in ((0, dim.InvalidArgument), (1, dim.InvalidArgument), (2**40, dim.TooLarge)):
            with pytest.raises(error):
                trainer.skip(n)
    with new("own", micro_batches=1) as trainer, pytest.raises(dim.InvalidArgument, match="micro_batches 1"):
        trainer.skip(2)


@pytest.mark.parametrize("first", ["skip", "accumulate"])
@pytest.mark.parametrize("then", ["skip", "accumulate"])
def test_a_step_has_micro_batches_of_one_size(first, then):
    """Others were taken: processes that skip them would have drawn other random numbers than the one that computes them."""

    def call(trainer, name, n):
        trainer.skip(n) if name == "skip" else trainer.accumulate(PHOTOS[:n])

    with new("own") as trainer:
        trainer.step(PHOTOS[:12])  # How many numbers parts of three draw is known from now on.
        for n, other in (2, 3), (3, 2):
            call(trainer, first, n)
            before = trainer.steps
            with pytest.raises(dim.InvalidArgument, match=f"n is {other}, and the step's other micro-batches have {n} images"):
                call(trainer, then, other)
            call(trainer, then, n)
            trainer.drop()
            assert trainer.steps == before


def test_a_callback_that_does_not_add_is_reported():
    """Before the weights move: an average instead of a sum, one process's array twice, noise in the statistics."""
    for spoil in (
        lambda v: v * np.float32(0.5),
        lambda v: v * 2,
        lambda v: np.where(np.arange(len(v)) == len(v) - 1, np.float32(0.5), v),
    ):
        with new("own") as trainer:
            before = trainer.model.state_dict()
            trainer.on_gradients = lambda values, spoil=spoil: np.copyto(values, spoil(values))
            part(trainer, PHOTOS[:8], 0, 2)
            with pytest.raises(dim.InvalidArgument, match="the step was not applied"):
                trainer.update()
            assert_same_state(trainer.model.state_dict(), before)


def test_a_step_that_is_open_is_told(tmp_path):
    """Of one that was skipped it said "found those of 1", and advised an update, which fails."""
    with new("own") as trainer:
        trainer.skip(2)
        for call in (lambda: trainer.step(PHOTOS[:8]), lambda: trainer.save(tmp_path / "c.h5")):
            with pytest.raises(
                dim.InvalidArgument,
                match=r"open step \(0 micro-batches accumulated, 1 skipped\).*Trainer.update or Trainer.drop",
            ):
                call()
        trainer.drop()
        trainer.step(PHOTOS[:8])


def test_batches_that_micro_batches_do_not_divide():
    """It was told of n, which is no argument, and of listed batches after steps."""
    with new("own") as trainer:
        for data, batch, message in (
            (PHOTOS[:16], 9, "^batch: expected a multiple of micro_batches, which is 4, found 9$"),
            (
                PHOTOS[:17],
                64,
                "^batch: expected a multiple of micro_batches, which is 4, found 64, of which dataset has 17 images$",
            ),
            ([PHOTOS[:8], PHOTOS[:9]], 64, "^dataset: batch 1: expected a multiple of 4 images, micro_batches, found 9$"),
        ):
            with pytest.raises(ValueError, match=message):
                trainer.fit(data, epochs=1, batch=batch)
        assert trainer.steps == 0
        trainer.fit(PHOTOS[:16], epochs=1, batch=8, validation=PHOTOS[:7])
