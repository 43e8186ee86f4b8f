"""Beside PyTorch: its tensors as images and weights, its outputs as the truth. Skipped where it is not installed."""

import deepinfomax as dim
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deepinfomax.compare import notebook, recordings  # noqa: E402

IMAGES = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "images",
    [
        IMAGES,
        IMAGES.clone().requires_grad_(),
        IMAGES.to(memory_format=torch.channels_last),
        IMAGES.flip(0).flip(0),
        IMAGES.repeat_interleave(2, 0)[::2],
        IMAGES.double(),
    ],
    ids=["plain", "requires grad", "channels last", "flipped", "strided", "float64"],
)
def test_tensors_as_images(model, images):
    y, M = model.encode(images)
    expected = model.encode(IMAGES.numpy())
    assert type(y) is np.ndarray and (y == expected[0]).all() and (M == expected[1]).all()


def test_reduced_precision_and_bytes(model):
    for dtype in (torch.bfloat16, torch.float16):
        half = IMAGES.to(dtype)
        assert (model.encode(half, features=False) == model.encode(half.float(), features=False)).all()
    pixels = (IMAGES * 255).to(torch.uint8)
    assert (model.encode(pixels, features=False) == model.encode(pixels.numpy(), features=False)).all()


def test_wrong_tensors(model):
    with pytest.raises(TypeError, match="found int64"):
        model.encode(IMAGES.long())
    with pytest.raises(ValueError, match="expected shape"):
        model.encode(IMAGES[:, :2])


def test_tensors_as_vectors_and_features(model):
    y, M = (torch.from_numpy(array).requires_grad_() for array in model.encode(IMAGES))
    assert model.score_global(y, M).shape == (3, 1)
    assert (model.score_local(y, M.to(memory_format=torch.channels_last)) == model.score_local(y, M)).all()


def test_state_dicts_go_both_ways(model):
    theirs = notebook.networks(11, torch.float32)
    model.load_state_dict(theirs.state_dict())
    ours = model.state_dict()
    assert list(ours) == list(theirs.state_dict())
    again = notebook.networks(0, torch.float32)
    again.load_state_dict({name: torch.from_numpy(value) for name, value in ours.items()})
    assert all(torch.equal(again.state_dict()[name], value) for name, value in theirs.state_dict().items())


def test_one_modules_state_dict(model):
    theirs = notebook.networks(12, torch.float32).encoder.half()
    model.load_state_dict(theirs.state_dict(), network="encoder")
    found = model.state_dict()
    assert all((found[f"encoder.{key}"] == value.float().numpy()).all() for key, value in theirs.state_dict().items())


@pytest.mark.parametrize("seed", [3, 2**32 - 1, 2**40 + 3])
def test_same_seed_same_weights(seed):
    with dim.Model(seed) as model:
        ours = model.state_dict()
    theirs = notebook.networks(seed, torch.float32).state_dict()
    assert all(ours[name].tobytes() == value.numpy().tobytes() for name, value in theirs.items())


def test_the_notebook_unchanged(model):
    """Its cells, its own PyTorch code, both modes."""
    reference = notebook.TorchModel(0)
    x = notebook.random_image(0)
    for mode in ("train", "eval"):
        getattr(model, mode)(), getattr(reference, mode)()
        y, M = model.encode(x)
        expected_y, expected_M = reference.encode(x)
        for found, expected in [
            (y, expected_y),
            (M, expected_M),
            (model.score_global(y, M), reference.score_global(expected_y, expected_M)),
            (model.score_local(y, M), reference.score_local(expected_y, expected_M)),
            (model.score_prior(y), reference.score_prior(expected_y)),
        ]:
            assert recordings.error_over_rms(found, expected) < 1e-4
