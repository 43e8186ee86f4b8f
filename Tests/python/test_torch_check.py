"""Random architectures, and `dim check --architecture` against a float32 PyTorch behind the library's names."""

import json

import deepinfomax
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deepinfomax.torch import _lockstep, check, objectives  # noqa: E402
from deepinfomax.torch._description import expanded  # noqa: E402
from deepinfomax.torch._layout import layout  # noqa: E402
from deepinfomax.torch._lockstep import Lockstep  # noqa: E402
from deepinfomax.torch.networks import modules  # noqa: E402
from deepinfomax.torch.random_architectures import (  # noqa: E402
    MULTIPLY_ADDS,
    PARAMETERS,
    random_description,
    with_vector_features,
)
from vector_fixtures import VECTORS  # noqa: E402

torch.set_num_threads(1)

SEEDS = range(200)
DESCRIPTIONS = {seed: random_description(seed) for seed in SEEDS}


# ---- Random architectures


def operators(layers):
    for layer in layers:
        yield layer["op"]
        yield f"norm {layer.get('norm')}"
        yield f"activation {layer.get('activation')}"
        if layer["op"] == "residual":
            yield "named block" if "name" in layer else "block without a name"
            yield "shortcut" if "shortcut" in layer else "identity"
            yield from operators(layer["layers"])


def features(description):
    yield from operators(description["encoder"]["layers"])
    yield f"norms {description['encoder'].get('norms')}"
    for key in "local", "global":
        head = description.get(key)
        yield f"{key} {head and head.get('net', head['score'])}"
    for key in "prior", "classifier", "coordinates":
        yield f"{key} {key in description}"


def test_every_operator_is_in_twenty_at_least():
    found = [set(features(description)) for description in DESCRIPTIONS.values()]
    wanted = {"conv", "linear", "maxpool", "avgpool", "flatten", "residual", "dropout", "shortcut", "identity"}
    wanted |= {f"norm {norm}" for norm in (None, "batch", "layer")}
    wanted |= {f"activation {activation}" for activation in (None, "relu", "sigmoid")}
    wanted |= {"named block", "block without a name", "norms None", "norms last"}
    wanted |= {f"local {net}" for net in ("light", "authors", "concat")}
    wanted |= {f"global {net}" for net in (None, "light", "authors", "concat", "copy")}
    wanted |= {f"{key} {there}" for key in ("prior", "classifier", "coordinates") for there in (True, False)}
    count = {name: sum(name in one for one in found) for name in wanted}
    assert min(count.values()) >= 20, count


def test_they_are_small_different_and_the_same_each_time():
    assert len({json.dumps(description) for description in DESCRIPTIONS.values()}) == 200
    for seed, description in DESCRIPTIONS.items():
        assert description == random_description(seed)
        found = layout(expanded(description))
        assert 0 < found.parameters <= PARAMETERS and found.multiply_adds <= MULTIPLY_ADDS


@pytest.mark.parametrize("tens", range(20))
def test_they_build_and_run_at_batch_5(tens):
    for seed in range(10 * tens, 10 * tens + 10):
        torch.manual_seed(seed)
        net = modules(DESCRIPTIONS[seed])
        description = net.description
        assert list(net.state_dict()) == list(layout(description).entries)
        x = torch.from_numpy(check.images(description, 5, seed))
        found = objectives.losses(net, x, check.default_settings(description, seed))
        assert found.total.isfinite(), seed
        if "classifier" in net:
            assert net.classifier(net.encoder(x).encoded).shape == (5, description["classifier"]["classes"])
        gradients = objectives.gradients(net, found, check.default_settings(description, seed))
        assert all(gradient.isfinite().all() for gradient in gradients.values()), seed


# ---- What PyTorch's float32 may stray


def lockstep(seed=0):
    description = expanded(random_description(seed))
    return Lockstep(description, seed, check.default_settings(description, seed))


def test_every_run_is_another_and_near_float64():
    _, found = lockstep().choose(5, 0)
    assert found.close == 0
    name = "encoder.c1.weight"
    exact, *float32 = (gradients[name] for gradients in found.gradients)
    errors = [float(np.abs(one - exact).max() / np.abs(exact).max()) for one in float32]
    assert len(errors) == 5 and all(0 < error < 1e-4 for error in errors)
    assert len({one.tobytes() for one in float32}) == 5


def test_the_runs_stay_together():
    """After three steps float32's weights are within rounding of float64's, which runs of their own would not be."""
    run = lockstep(27)
    for _ in _lockstep.steps(run, 3, 5):
        pass
    exact, *float32 = run.states()
    for state in float32[:2]:  # The others start beside.
        for name, value in state.items():
            if name.endswith("weight"):
                assert np.abs(value - exact[name]).max() <= 8 * 2**-24 * max(1e-3, np.abs(exact[name]).max()), name


def test_a_batch_that_was_only_tried_leaves_nothing():
    run = lockstep()
    before = run.states()
    run._compute(5, 0)
    run._forget()
    for old, new in zip(before, run.states(), strict=True):
        assert all(np.array_equal(old[name], new[name]) for name in old)
    first, again = run._compute(5, 0), run._compute(5, 0)
    assert first.losses == again.losses  # The same random numbers.


def test_switches_within_reach():
    exact = torch.tensor([[[1.0, -2e-6], [0.0, torch.inf]]], dtype=torch.float64)  # (1, 2, 2)
    near = torch.tensor([[[1.0 + 5e-7, -2e-6], [0.0, torch.inf]]])
    (reached,) = _lockstep._within_reach([[exact], [near]])
    assert reached.tolist() == [[[False, True], [False, False]]]  # 2e-6 <= 5 * 5e-7; the others are 0 in both, or far.
    (reached,) = _lockstep._within_reach([[exact], [exact.float()]])
    assert not reached.any()


def test_a_run_with_the_switches_within_reach_gone_the_other_way():
    run = lockstep()
    number, found = run.choose(5, 0)
    assert found.close == 0 and run._switched(5, number, found) is found
    statistics = {name: value.clone() for name, value in run.runs[0].named_buffers()}
    found.reached[0].view(-1)[0] = True
    switched = run._switched(5, number, found)
    assert len(switched.gradients) == len(found.gradients) + 1
    name = "encoder.c0.weight"
    exact, *float32, other = (gradients[name] for gradients in switched.gradients)
    rounding = max(np.abs(one - exact).max() for one in float32)
    assert np.abs(other - exact).max() > 100 * rounding, "one of the first layer's ReLUs passes its gradient, or does no longer"
    assert all(torch.equal(value, statistics[name]) for name, value in run.runs[0].named_buffers())


def test_the_lead_of_a_maximum():
    x = torch.tensor([[[[1.0, 4.0, 2.0], [3.0, 0.0, 7.0]]]])
    with _lockstep._Switches() as seen:
        assert torch.nn.functional.max_pool2d(x, (2, 2), (1, 1), (1, 0)).shape == (1, 1, 3, 2)
        torch.nn.functional.relu(x)
    lead, z = seen.found
    assert lead.tolist() == [[[3.0, 2.0, 1.0, 3.0, 3.0, 7.0]]] and torch.equal(z, x)


# ---- The comparison


class Library:
    """PyTorch in float32 under the library's names, off the reference's path where it can be."""

    def __init__(self, spoil=lambda net: None):
        library = self

        class Model:
            def __init__(self, seed, architecture):
                torch.manual_seed(seed)
                self.net = modules(architecture, notebook_classes=False).eval()
                self.stream = torch.get_rng_state()
                spoil(self.net)

            def state_dict(self):
                return {name: value.numpy().copy() for name, value in self.net.state_dict().items()}

            def train(self):
                self.net.train()

            def eval(self):
                self.net.eval()

            def _run(self, function):
                torch.set_rng_state(self.stream)
                with torch.no_grad():
                    found = function()
                self.stream = torch.get_rng_state()
                return found.numpy() if isinstance(found, torch.Tensor) else found

            def encode(self, x, outputs):
                found = self._run(lambda: self.net.encoder(torch.from_numpy(x)))
                return [getattr(found, name).numpy() for name in outputs]

            def score_local(self, y, M):
                return self._run(lambda: self.net.local_d(torch.from_numpy(y), torch.from_numpy(M)))

            def score_local_pairs(self, y, M):
                return self._run(lambda: self.net.local_d.pairs(torch.from_numpy(y), torch.from_numpy(M)))

            def score_global(self, y, M):
                return self._run(lambda: self.net.global_d(torch.from_numpy(y), torch.from_numpy(M)))

            def score_prior(self, y):
                return self._run(lambda: torch.sigmoid(self.net.prior_d(torch.from_numpy(y))))

            def classify(self, y):
                return self._run(lambda: torch.softmax(self.net.classifier(torch.from_numpy(y)), 1))

        class Trainer:
            def __init__(self, model, *, seed, **settings):
                self.model, self.settings = model, objectives.Settings(**settings)
                torch.manual_seed(seed)
                self.adams = objectives.optimisers(model.net.train(), self.settings)

            def accumulate(self, x):
                found = objectives.losses(self.model.net, torch.from_numpy(x), self.settings)
                self.found = objectives.gradients(self.model.net, found, self.settings)
                return library.numbers(found)

            def gradients(self):
                return {name: gradient.numpy().copy() for name, gradient in self.found.items()}

            def update(self):
                values = torch.cat([gradient.reshape(-1) for gradient in self.found.values()]).numpy()
                self.on_gradients(values)
                parts = torch.from_numpy(values).split([gradient.numel() for gradient in self.found.values()])
                parameters = dict(self.model.net.named_parameters())
                for name, part in zip(self.found, parts, strict=True):
                    parameters[name].grad = part.view_as(parameters[name])
                for adam in self.adams:
                    adam.step()

        self.Model, self.Trainer = Model, Trainer

    def numbers(self, found):
        total, local, global_, prior = found.numbers()
        return objectives.Losses(*map(torch.tensor, (total, local, global_, prior, 0, 0, 0, 0)))

    def build_info(self):
        return "PyTorch in float32"


@pytest.mark.parametrize("seed", [0, 1, 2, 7])
def test_float32_passes(seed, capsys):
    code = check.run("random", seed, library=Library(), steps=3)
    shown = capsys.readouterr().out
    assert code == 0, shown
    assert shown.splitlines()[-1].startswith("passed") and "weights, 3 steps: encoder" in shown


@pytest.mark.parametrize("seed", [5, 10, 11, 14])
def test_the_library_agrees_on_features_that_are_vectors(seed):
    """The library itself: outputs in both modes, losses and gradients, training. The seeds have among their terms coordinates of
    both kinds, locations, copies and others as global heads."""
    description = expanded(VECTORS if seed in (5, 11) else with_vector_features(random_description(seed)))
    found = list(check.compare(deepinfomax, description, seed, steps=3))
    assert not [row.line() for row in found if not row.passed]
    assert layout(description).features[1:] == (1, 1) and any("weights, 3 steps: local_d" in row.what for row in found)


@pytest.mark.parametrize("encoder", [{}, {"conv": None}, {"features": "l0"}])
def test_the_table_asks_for_what_the_encoder_has(encoder):
    """No more locations than the features have, no `conv` where there is none."""
    given = expanded({"preset": "basic28", "encoder": encoder})
    places = np.prod(layout(given).features[1:])
    found = [settings.locations for one, settings in check.combinations(given) if deepinfomax.Architecture(one)]
    assert len(found) == 172 and [one for one in found if one] == [min(one, places) for one in (7, 20, 9)]


def spoil_weight(name, amount):
    def spoil(net):
        dict(net.named_parameters())[name].data.view(-1)[0] += amount

    return spoil


@pytest.mark.parametrize("name", ["encoder.c0.weight", "local_d.f0.weight", "local_d.y1.bias", "prior_d.l1.bias"])
def test_one_wrong_weight_fails(name, capsys):
    description = {
        "image": {"channels": 1, "height": 8, "width": 8},
        "encoder": {
            "layers": [
                {"op": "conv", "name": "c0", "out": 6, "kernel": 3, "activation": "relu"},
                {"op": "flatten"},
                {"op": "linear", "name": "l0", "out": 7},
            ],
            "features": "c0",
        },
        "local": {"score": "dot", "net": "light", "units": 8},
        "prior": {"hidden": [9], "squash": "sigmoid"},
    }
    assert check.run(description, library=Library(), steps=1) == 0
    capsys.readouterr()
    assert check.run(description, library=Library(spoil_weight(name, 0.01)), steps=1, as_json=True) == 1
    report = json.loads(capsys.readouterr().out)
    failed = {row["what"].split(".")[0] for row in report["rows"] if not row["passed"]}
    assert "weights of the seed, bit for bit" in failed and name.split(".")[0] in failed and not report["passed"]


def rows(library, seed=0, steps=4):
    description = expanded(random_description(seed))
    return {row.what: row for row in check.compare(library, description, seed, steps)}


def test_a_wrong_gradient_fails_alone():
    """One entry of one array, in the second step only, by a hundredth of the array's size."""

    class Wrong(Library):
        def __init__(self):
            super().__init__()
            plain = self.Trainer

            class Trainer(plain):
                steps = 0

                def accumulate(self, x):
                    self.steps += 1
                    numbers = super().accumulate(x)
                    if self.steps == 2:
                        gradient = self.found["encoder.c0.weight"]
                        gradient.view(-1)[0] += 0.01 * gradient.square().mean().sqrt()
                    return numbers

            self.Trainer = Trainer

    # Where a ReLU lies within rounding in one of the batches, which depends on the processor and on PyTorch, such an error is
    # within the array's bound.
    every = (rows(Wrong(), seed) for seed in (0, 1, 3))
    found = next(found for found in every if not all(row.passed for row in found.values()))
    assert [row.where for row in found.values() if not row.passed] == [found["gradients: encoder"].where]
    assert "encoder.c0.weight, step 2" in found["gradients: encoder"].where


@pytest.mark.parametrize("option", [{"eps": 1e-7}, {"betas": (0.9, 0.998)}, {"betas": (0.89, 0.999)}])
def test_a_wrong_adam_fails(option):
    """Its first step is right to 1e-7 / |g|: the weights tell, and from them the next steps' gradients."""

    class Wrong(Library):
        def __init__(self):
            super().__init__()
            plain = self.Trainer

            class Trainer(plain):
                def __init__(self, model, **settings):
                    super().__init__(model, **settings | option)

            self.Trainer = Trainer

    assert not rows(Wrong())["weights, 4 steps: encoder"].passed


def test_another_order_fails(capsys):
    class Swapped(Library):
        def __init__(self):
            super().__init__()
            plain = self.Model

            class Model(plain):
                def state_dict(self):
                    items = list(super().state_dict().items())
                    return dict([*items[1:], items[0]])

            self.Model = Model

    assert check.run("random", 3, library=Swapped(), steps=1) == 1
    assert "names and order" in capsys.readouterr().out


def test_parts_of_the_table(monkeypatch):
    """Together all objectives, each once."""
    seen = []
    monkeypatch.setattr(check, "_weights", lambda *_: ())
    monkeypatch.setattr(check, "_outputs", lambda *_: ())
    monkeypatch.setattr(
        check, "_training_rows", lambda _, head, seed, settings, *more: seen.append((str(head), settings)) or ()
    )
    everything = [(str(head), settings) for head, settings in check.combinations(expanded("basic32"))]
    for k in 1, 2, 3:
        list(check.compare(None, expanded("basic32"), 0, objectives_table=True, part=(k, 3)))
        assert abs(len(seen) - len(everything) * k / 3) < 1
    assert sorted(map(str, seen)) == sorted(map(str, everything)) and len(everything) == 172
    # A part of nothing would pass.
    with pytest.raises(ValueError, match="part 173/999: the table has 172 objectives"):
        check.run("basic32", objectives_table=True, part=(173, 999))
