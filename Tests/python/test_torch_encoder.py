"""deepinfomax.torch.Encoder: libdim inside a torch program."""

import deepinfomax as dim
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deepinfomax import _arrays  # noqa: E402
from deepinfomax.torch import Encoder, modules  # noqa: E402


@pytest.fixture(scope="module")
def small():
    return dim.Model(3, architecture="basic28")


@pytest.fixture
def images():
    return torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def test_it_computes_what_torch_computes(small, images):
    networks = modules("basic28")
    networks.load_state_dict({name: torch.from_numpy(value) for name, value in small.state_dict().items()})
    with torch.no_grad():
        expected = networks.eval().encoder(images)
    y, features, fc = Encoder(small, outputs=("encoded", "features", "fc"))(images)
    for found, name in (y, "encoded"), (features, "features"), (fc, "fc"):
        torch.testing.assert_close(found, getattr(expected, name), rtol=1e-4, atol=1e-4)


def test_a_file_and_a_model_are_the_same(small, images, tmp_path):
    small.save(tmp_path / "weights.h5")
    assert torch.equal(Encoder(tmp_path / "weights.h5")(images), Encoder(small)(images))


def test_contiguous_float32_is_read_where_it_lies(images):
    taken, _ = _arrays.images(images, (1, 28, 28))
    assert taken.ctypes.data == images.data_ptr()


def test_other_layouts_and_types_are_converted(small, images):
    encoder = Encoder(small)
    wide = torch.cat((images, images), dim=3)[..., :28]
    assert not wide.is_contiguous() and torch.equal(encoder(wide), encoder(images))
    assert torch.equal(encoder(images.double()), encoder(images))
    pixels = (images * 255).to(torch.uint8)
    torch.testing.assert_close(encoder(pixels), encoder(pixels.float() / 255))
    assert torch.equal(encoder(pixels.movedim(1, 3)), encoder(pixels))


def test_where_autograd_stops_is_said(small, images):
    encoder = Encoder(small)
    wanting = images.clone().requires_grad_()
    with pytest.raises(RuntimeError, match="no_grad.*detach"):
        encoder(wanting)
    with torch.no_grad():
        assert not encoder(wanting).requires_grad
    head = torch.nn.Sequential(encoder, torch.nn.Linear(64, 2))  # The layers behind it learn.
    head(images).sum().backward()
    assert head[1].weight.grad is not None and list(encoder.parameters()) == []


def test_training_mode_does_not_matter(small, images):
    encoder = Encoder(small)
    before = encoder(images)
    encoder.train()
    small.train()
    assert torch.equal(encoder(images), before)
    np.testing.assert_array_equal(small.state_dict()["encoder.c0_norm.num_batches_tracked"], 0)


def test_it_prints_behind_a_closed_model(small):
    assert repr(Encoder(small)).startswith("Encoder(") and "closed" not in repr(Encoder(small))
    model = dim.Model(0, architecture="basic28")
    encoder = Encoder(model, outputs=("fc",))
    model.close()
    assert repr(encoder) == "Encoder(closed, outputs=('fc',))"
    assert "closed" in repr(torch.nn.Sequential(encoder))


def test_what_is_wrong_is_said(small):
    with pytest.raises(ValueError, match="expected shape"):
        Encoder(small)(torch.rand(2, 3, 28, 28))
    with pytest.raises(TypeError, match="tensor"):
        Encoder(small)(np.zeros((2, 1, 28, 28), np.float32))
    with pytest.raises(ValueError, match="outputs"):
        Encoder(small, outputs=("y",))
    with pytest.raises(TypeError, match="outputs: expected a tuple of names, found 'encoded'"):
        Encoder(small, outputs="encoded")
