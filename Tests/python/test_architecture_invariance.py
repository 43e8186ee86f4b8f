"""Every architecture: the same bytes for any number of threads, and an image's alone as in any batch."""

import numpy as np
import pytest
from deepinfomax import Model, Trainer, set_num_threads
from deepinfomax.torch import _subject
from deepinfomax.torch._description import PRESETS, expanded
from deepinfomax.torch._layout import layout
from deepinfomax.torch.random_architectures import random_description

THREADS = (1, 2, 3, 7)
#: With two at least of each operator, norm and head.
SEEDS = range(32)


@pytest.fixture(autouse=True)
def restore_threads():
    yield
    set_num_threads(0)


def description_of(subject):
    return expanded(random_description(subject) if isinstance(subject, int) else subject)


def layers_of(layers):
    for layer in layers:
        yield layer
        yield from layers_of(layer.get("layers") or [])


def test_the_seeds_have_everything():
    found = []
    for seed in SEEDS:
        description = description_of(seed)
        for layer in layers_of(description["encoder"]["layers"]):
            found += [layer["op"], ("norm", layer["norm"]), ("activation", layer["activation"])]
        for key in "local", "global":
            head = description[key]
            if head is not None:
                found.append((key, head["score"] if head["score"] == "concat" else head["net"]))
    wanted = ["conv", "linear", "maxpool", "avgpool", "flatten", "residual", "dropout", ("norm", "batch")]
    wanted += [("norm", "layer"), ("activation", "relu"), ("activation", "sigmoid")]
    wanted += [("local", net) for net in ("light", "authors", "concat")]
    wanted += [("global", net) for net in ("light", "authors", "concat", "copy")]
    assert min(found.count(one) for one in wanted) >= 2, {one: found.count(one) for one in wanted}


def trained(description, seed, n):
    """Losses and gradients of a batch, and the state after an update, as bytes."""
    settings = {"measure": "nce", "negatives": "all", "alpha": 0.5 * (description["global"] is not None)}
    settings |= {"prior": "monolithic" if description["prior"] is not None else "none", "gamma": 0.1}
    with Trainer(Model(seed, architecture=description), seed=1, **settings) as trainer:
        found = [np.array(_subject.numbers(trainer.accumulate(_subject.images(description, n, seed))))]
        found += trainer.gradients().values()
        trainer.update()
        return [array.tobytes() for array in (*found, *trainer.model.state_dict().values())]


@pytest.mark.parametrize("subject", [*SEEDS, *PRESETS])
def test_threads(subject):
    description = description_of(subject)
    seed = subject if isinstance(subject, int) else 0
    n = 5 if isinstance(subject, int) else 2
    large = layout(description).parameters > 20_000_000  # alex64: a second a step
    found = []
    for threads in THREADS[:2] if large else THREADS:
        set_num_threads(threads)
        with Model(seed, architecture=description) as model:
            outputs = _subject.outputs(model, description, _subject.images(description, n, seed))
        found.append([outputs[key].tobytes() for key in outputs] + ([] if large else trained(description, seed, n)))
    assert all(one == found[0] for one in found[1:])


@pytest.mark.parametrize("subject", [*SEEDS, *PRESETS])
def test_an_image_alone_is_as_in_a_batch(subject):
    """In evaluation mode: every output of 5 images at once, of 2 and 3 in another order, and of each alone."""
    description = description_of(subject)
    seed = subject if isinstance(subject, int) else 0
    x = _subject.images(description, 5, seed)
    names = tuple(name for name in ("encoded", "features", "conv", "fc") if _subject.has(description, name))
    with Model(seed, architecture=description) as model:

        def rows(images):
            y, *others = outputs = model.encode(images, outputs=names)
            found = [*outputs]
            if description["local"] is not None:
                found.append(model.score_local(y, outputs[1]))
            if description["global"] is not None:
                found.append(model.score_global(y, outputs[names.index(description["global"]["input"])]))
            if description["prior"] is not None:
                found.append(model.score_prior(y))
            if description["classifier"] is not None:
                found.append(model.classify(y))
            return [[array[i].tobytes() for array in found] for i in range(len(images))]

        together = rows(x)
        order = [3, 0, 4, 1, 2]
        apart = rows(x[order[:2]]) + rows(x[order[2:]])
        assert [together[i] for i in order] == apart
        assert together == [rows(x[i : i + 1])[0] for i in range(5)]
