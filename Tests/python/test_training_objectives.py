"""Every measure and the structure terms: reports, options, resumption and threads byte for byte, scores beyond floats."""

import json
import math
import re
from pathlib import Path

import deepinfomax as dim
import numpy as np
import pytest
from deepinfomax import Model, Trainer, evaluation
from training_fixtures import content

TINY = json.loads((Path(__file__).parent / "digits8.json").read_text()) | {
    "global": {"score": "dot", "net": "authors", "units": 32},
    "coordinates": {"hidden": [24]},
}
STRUCTURE = {
    "absolute": {"coordinates": "absolute"},
    "relative": {"coordinates": "relative", "coordinates_weight": 0.5},
    "occlusion": {"occlusion": True, "measure": "jsd"},
    "locations": {"locations": 5, "negatives": 2},
    "everything": {"coordinates": "relative", "occlusion": True, "locations": 7, "negatives": "rotation"},
}
CASES = {name: {"measure": name} for name in ("jsd", "gan", "kl", "rkl", "h2", "dv", "nce")} | STRUCTURE


def images(n=6, seed=1):
    return np.random.default_rng(seed).random((n, 1, 8, 8), np.float32)


@pytest.fixture
def model():
    with Model(0, architecture=TINY) as made:
        yield made


def silence(model, prefix, values=()):
    """A network of zeros, but for `values`."""
    state = model.state_dict()
    for name, value in state.items():
        if name.startswith(prefix):
            state[name] = np.zeros_like(value)
    model.load_state_dict(state | dict(values))


def objective(model, **changes):
    return Trainer(model, "adversarial", 3, **{"alpha": 0.5, "gamma": 0.3, "gradient_penalty": 0.1, **changes})


# ---- Bit for bit


@pytest.mark.parametrize("case", CASES)
def test_resumed_is_uninterrupted_and_threads_do_not_matter(case, tmp_path):
    """Three runs of three steps: on one thread, on two, and on three and one with a stop after each step."""
    files, histories = [], []
    for threads in (1, 2, 3):
        dim.set_num_threads(threads)
        with Model(0, architecture=TINY) as model, objective(model, **CASES[case]) as trainer:
            histories.append([trainer.step(images(seed=step)) for step in range(3)])
            histories[-1].append(trainer.report())
            files.append(tmp_path / f"{threads}.h5")
            trainer.save(files[-1])
    path = tmp_path / "stopped.h5"
    with Model(0, architecture=TINY) as model, objective(model, **CASES[case]) as trainer:
        history = [trainer.step(images(seed=0))]
        options = trainer.options
        trainer.save(path)
    for step in (1, 2):
        dim.set_num_threads(5 - 2 * step)
        with Trainer.resume(path) as trainer:
            assert (trainer.steps, trainer.options) == (step, options)
            history.append(trainer.step(images(seed=step)))
            report = trainer.report()
            trainer.save(path)
    for found in histories:
        assert found[:3] == history and str(found[3]) == str(report)  # nan is not nan.
    expected = content(files[0])
    for file in (*files[1:], path):
        found = content(file)
        assert [name for name in expected if found[name] != expected[name]] == [] and found.keys() == expected.keys()


# ---- The report


def test_the_report_of_a_step(model):
    with objective(model, coordinates="absolute", coordinates_weight=0.25) as trainer:
        assert trainer.report().images == 0 and math.isnan(trainer.report().total)
        losses = trainer.step(images())
        report = trainer.report()
    assert (report.step, report.images) == (1, 6)
    assert (report.total, report.local, report.global_, report.prior) == tuple(losses)
    terms = report.local + 0.5 * report.global_ + 0.3 * report.prior + 0.25 * report.coordinates
    assert report.total == pytest.approx(terms, rel=1e-12)
    # nce: all locations of the five others, and one's own.
    assert report.local_information == pytest.approx(math.log(5 * 16 + 1) - report.local)
    assert report.global_information == pytest.approx(math.log(5 + 1) - report.global_)
    assert set(report.gradient_norms) == {"encoder", "global_d", "local_d", "prior_d", "coordinates_d"}
    assert report.gradient_norm == pytest.approx(math.hypot(*report.gradient_norms.values()))
    assert report.gradient_penalty > 0 and report.local_score > 0 and 0 < report.prior_distance < 0.5


def test_the_norms_are_those_of_the_gradients(model):
    with objective(model) as trainer:
        trainer.accumulate(images())
        gradients = trainer.gradients()
        trainer.update()
        norms = trainer.report().gradient_norms
    for network, norm in norms.items():
        squares = [np.sum(np.square(g, dtype=np.float64)) for name, g in gradients.items() if name.startswith(network + ".")]
        assert norm == pytest.approx(math.sqrt(sum(squares)), rel=1e-6), network


def test_the_report_of_an_evaluation(model):
    x = images(40)
    with objective(model) as trainer:
        losses = trainer.evaluate(x)
        report = trainer.report()
    assert report.total == losses.total and report.images == 40 and report.gradient_norms == {}
    assert math.isnan(report.gradient_norm) and math.isnan(report.coordinates)
    assert report.prior_distance == pytest.approx(evaluation.prior_distance(model.encode(x)[0], "sigmoid"), rel=1e-5)


def test_the_norm_is_of_before_it_is_clipped(model):
    with objective(model, gradient_clip=1e-3) as trainer:
        trainer.step(images())
        assert trainer.report().gradient_norm > 0.1


def test_an_error_leaves_the_report(model):
    with objective(model) as trainer:
        trainer.step(images())
        before = trainer.report()
        with pytest.raises(dim.InvalidArgument):
            trainer.step(images() + np.nan)
        assert str(trainer.report()) == str(before)


# ---- The structure terms


def test_coordinates_of_equal_logits_are_the_logarithms_of_the_sizes(model):
    """A network of zeros predicts nothing: log 4 for a row and for a column of a 4x4 map."""
    silence(model, "coordinates_d.")
    with objective(model, coordinates="absolute") as trainer:
        trainer.evaluate(images())
        assert trainer.report().coordinates == pytest.approx(2 * math.log(4), rel=1e-6)
    with objective(model, coordinates="relative") as trainer:
        trainer.evaluate(images(400))
        # Of a difference d between two of four rows (4 - |d|) / 16, and as likely: its entropy, for rows and for columns.
        p = [(4 - abs(d)) / 16 for d in range(-3, 4)]
        entropy = -sum(x * math.log(x) for x in p)
        assert trainer.report().coordinates == pytest.approx(2 * entropy, rel=0.02)


def test_occlusion_hides_a_box_from_the_vectors_alone(model):
    """In evaluation mode the local term's maps are of whole images: with images that are the mean nothing is hidden."""
    mean = np.full((6, 1, 8, 8), 0.5, np.float32)
    with Trainer(model) as plain, Trainer(model, occlusion=True) as occluded:
        assert plain.evaluate(mean) == occluded.evaluate(mean)
        assert plain.evaluate(images()) != occluded.evaluate(images())
        assert occluded.evaluate(images()) == occluded.evaluate(images())


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"coordinates": "polar"}, "coordinates: expected one of 'none', 'absolute', 'relative', found 'polar'"),
        ({"coordinates_weight": -1.0}, "coordinates_weight is -1"),
        ({"locations": 0}, "locations: expected None, for all, or 1 or more, found 0"),
        ({"locations": 17}, "locations is 17; the features have 16"),
        ({"locations": 3, "beta": 0.0}, "there is no local term"),
    ],
)
def test_options_that_are_refused(model, options, error):
    with pytest.raises(ValueError, match=re.escape(error)):
        objective(model, **options)


def test_coordinates_need_their_network():
    with Model(0, architecture=TINY | {"coordinates": None}) as model:
        with pytest.raises(ValueError, match="the architecture has no coordinates_d"):
            objective(model, coordinates="absolute")


def test_a_prior_has_the_papers_weight_where_the_preset_has_none():
    """It was 0: a prior changed nothing, and nothing said so."""
    with Model(0, "basic28") as model:
        for prior, gamma, expected in (("adversarial", None, 0.1), ("adversarial", 0.0, 0.0), ("none", None, 0.0)):
            with Trainer(model, prior, gamma=gamma) as trainer:
                assert trainer.options.gamma == expected
    with Model(0) as model, Trainer(model, "adversarial") as trainer:
        assert trainer.options.gamma == 0.1, "the notebook's own"


# ---- Scores that are no floats


@pytest.mark.parametrize("measure", ["jsd", "gan", "kl", "rkl", "h2", "dv", "nce"])
@pytest.mark.parametrize("size", [1e4, -1e4])
def test_scores_of_ten_thousand(model, measure, size):
    """All scores alike: kl overflows at +, rkl at -, h2 at both (at + of negatives, at - of positives)."""
    root = math.sqrt(abs(size) * math.sqrt(64))
    first = np.eye(1, 64, dtype=np.float32)[0]
    silence(model, "local_d.", {"local_d.f1.bias": root * first, "local_d.y1.bias": math.copysign(root, size) * first})
    before = model.state_dict()
    overflows = (measure, size) in {("kl", 1e4), ("rkl", -1e4), ("h2", 1e4), ("h2", -1e4)}
    with objective(model, measure=measure, alpha=0) as trainer:
        if not overflows:
            assert math.isfinite(trainer.step(images()).total)
            assert trainer.report().local_score == pytest.approx(1e4, rel=1e-3)
            return
        with pytest.raises(dim.NotFinite, match=rf"the local loss of step 1, {measure}, .*scores are from .*{abs(size):.0f}"):
            trainer.step(images())
        assert trainer.steps == 0
        after = model.state_dict()
        assert all(np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("option, value", [("prior", "adversarial"), ("coordinates", "absolute")])
def test_the_advice_for_what_an_architecture_lacks(option, value):
    """It was to set a weight to 0 that nobody had given."""
    text = (Path(__file__).parent / "digits8.json").read_text()
    description = {**json.loads(text), "prior": None, "coordinates": None}
    with dim.Model(0, dim.Architecture(json.dumps(description))) as model:
        with pytest.raises(dim.InvalidArgument, match=f"but the architecture has no .*: set {option} to none, or describe one"):
            dim.Trainer(model, **{option: value})
