"""Checkpoints: a run that stops and continues is the run that never stopped, and a file is the old one or the new one."""

import copy
import pickle
import random
import re
import shutil
import signal
import subprocess
import sys
import time

import deepinfomax as dim
import h5py
import numpy as np
import pytest
from deepinfomax import ClassifierTrainer, Model, Trainer
from training_fixtures import LABELS, PHOTOS, assert_same_state, content


@pytest.fixture(autouse=True)
def restore_threads():
    yield
    dim.set_num_threads(0)


def objective(model):
    return Trainer(model, "adversarial", seed=7)


def end_to_end(model):
    return ClassifierTrainer(model, "trained", "softmax_twice")


def frozen(model):
    return ClassifierTrainer(model)


def take(trainer, step):
    """Step number 0, 1... of a run on other photographs each; its losses."""
    images = PHOTOS[4 * step : 4 * step + 4]
    return trainer.step(images) if isinstance(trainer, Trainer) else trainer.step(images, LABELS[:4])


KINDS = [objective, end_to_end, frozen]


# ---- Bit for bit


@pytest.mark.parametrize("start", KINDS)
def test_resumed_is_uninterrupted_and_threads_do_not_matter(start, tmp_path):
    """Three runs of three steps: on one thread, on two, and on two, three and one with a stop after each step."""
    files, histories = [], []
    for threads in (1, 2):
        dim.set_num_threads(threads)
        with Model(0) as model, start(model) as trainer:
            histories.append([take(trainer, step) for step in range(3)])
            files.append(tmp_path / f"{threads}.h5")
            trainer.save(files[-1])
    history, path = [], tmp_path / "stopped.h5"
    with Model(0) as model, start(model) as trainer:
        history.append(take(trainer, 0))
        trainer.save(path)
        options = trainer.options
        kind = type(trainer)
    for step in (1, 2):
        dim.set_num_threads(5 - 2 * step)
        with kind.resume(path) as trainer:
            assert (trainer.steps, trainer.options) == (step, options)
            history.append(take(trainer, step))
            trainer.save(path)
    assert histories == [history] * 2
    expected = content(files[0])
    for file in (files[1], path):
        found = content(file)
        assert found.keys() == expected.keys()
        assert not [name for name in expected if found[name] != expected[name]]


def pickled(run):
    return pickle.loads(pickle.dumps(run))


@pytest.mark.parametrize(
    "start, copier", [(objective, copy.copy), (objective, copy.deepcopy), *((start, pickled) for start in KINDS)]
)
def test_a_copy_continues_as_the_run_does(start, copier):
    with Model(0, "basic32") as model, start(model) as trainer:
        take(trainer, 0)
        model.train()
        with copier(trainer) as other:
            assert type(other) is type(trainer) and other.model.training
            assert (other.steps, other.options) == (1, trainer.options)
            other_loss = take(other, 1)
            assert trainer.steps == 1 and other.model is not model
            assert take(trainer, 1) == other_loss
            assert_same_state(other.model.state_dict(), model.state_dict())


def test_no_copy_while_gradients_wait():
    with Model(0, "basic32") as model, Trainer(model) as trainer:
        trainer.accumulate(PHOTOS[:4])
        with pytest.raises(dim.InvalidArgument, match="update"):
            pickle.dumps(trainer)
        trainer.update()
        assert pickle.loads(pickle.dumps(trainer)).steps == 1


def test_learning_rates_survive(tmp_path):
    with Model(0) as model, Trainer(model) as trainer:
        trainer.set_learning_rates(3e-4, 5e-5)
        trainer.on_gradients = print
        trainer.save(tmp_path / "c.h5")
    with Trainer.resume(tmp_path / "c.h5") as trainer:
        assert (trainer.encoder_lr, trainer.discriminator_lr) == (3e-4, 5e-5) and trainer.on_gradients is None


def test_a_checkpoint_is_a_weights_file(tmp_path):
    with Model(3) as model, Trainer(model) as trainer:
        trainer.step(PHOTOS[:2])
        trainer.save(tmp_path / "c.h5")
        with Model.open(tmp_path / "c.h5") as opened, Model(0) as loaded:
            loaded.load(tmp_path / "c.h5")
            assert_same_state(opened.state_dict(), model.state_dict())
            assert_same_state(loaded.state_dict(), model.state_dict())


# ---- What is not a checkpoint of this kind


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A checkpoint of each kind after a step."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for start in KINDS:
        with Model(0) as model, start(model) as trainer:
            take(trainer, 0)
            trainer.save(folder / f"{start.__name__}.h5")
    return folder


def test_of_another_kind(saved, tmp_path):
    with pytest.raises(dim.FileContentError, match='kind "classifier"; Trainer.resume reads "objective"$'):
        Trainer.resume(saved / "frozen.h5")
    with pytest.raises(dim.FileContentError, match='kind "objective"; ClassifierTrainer.resume reads "classifier"'):
        ClassifierTrainer.resume(saved / "objective.h5")
    Model(0).save(tmp_path / "weights.h5")
    for kind in (Trainer, ClassifierTrainer):
        with pytest.raises(dim.FileContentError, match="checkpoint"):
            kind.resume(tmp_path / "weights.h5")
        with pytest.raises(dim.FileAccessError, match="No such file"):
            kind.resume(tmp_path / "missing.h5")


def settings(file, text=None, **changes):
    """Another text, or other values in the settings; None for one to leave out."""
    import json

    values = {**json.loads(file["checkpoint/settings"][()]), **changes}
    text = json.dumps({name: value for name, value in values.items() if value is not None}) if text is None else text
    del file["checkpoint/settings"]
    kind = h5py.h5t.C_S1.copy()
    kind.set_size(len(text) + 1)  # and a NUL
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create(h5py.h5s.SCALAR)
    dataset = h5py.h5d.create(file["checkpoint"].id, b"settings", kind, space, layout)
    dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, np.array(np.bytes_(text)))


def replaced(file, name, value):
    attributes = dict(file[name].attrs)
    del file[name]
    file[name] = value
    file[name].attrs.update(attributes)


# What somebody or something did to the file -> words of the error.
DAMAGE = {
    "a newer version": (lambda f: replaced(f, "checkpoint/version", np.int64(3)), "newer libdim"),
    "an older version": (lambda f: replaced(f, "checkpoint/version", np.int64(1)), "before libdim's first release"),
    "version 0": (lambda f: replaced(f, "checkpoint/version", np.int64(0)), "version 0"),
    "moments of another model": (lambda f: replaced(f, "checkpoint/first_moment", np.zeros(10, np.float32)), "first_moment"),
    "moments of another type": (
        lambda f: replaced(f, "checkpoint/second_moment", np.zeros(f["checkpoint/second_moment"].shape, np.int64)),
        "second_moment",
    ),
    "a negative mean square": (
        lambda f: replaced(f, "checkpoint/second_moment", np.full(f["checkpoint/second_moment"].shape, -1, np.float32)),
        "a mean square is not negative",
    ),
    "moments that are not finite": (
        lambda f: replaced(f, "checkpoint/first_moment", np.full(f["checkpoint/first_moment"].shape, np.nan, np.float32)),
        "first_moment",
    ),
    "no step": (lambda f: f.__delitem__("checkpoint/step"), "step"),
    "a step below 0": (lambda f: replaced(f, "checkpoint/step", np.int64(-1)), "step is -1"),
    "a setting out of range": (lambda f: settings(f, adam_beta1=5), "settings: adam_beta1 is 5.0"),
    "a setting that is not finite": (lambda f: settings(f, '{"epsilon":1e999}'), "settings: byte 11: expected a number"),
    "a setting of another type": (
        lambda f: settings(f, epsilon="small"),
        'settings: epsilon: expected a number, found "small"',
    ),
    "a setting that there is not": (lambda f: settings(f, momentum=0.9), '"momentum" is not a setting of this version'),
    "no learning rate": (lambda f: settings(f, learning_rate=None), "settings: learning_rate is missing"),
    "settings that are no object": (lambda f: settings(f, "[1]"), "settings: expected a JSON object, found an array"),
    "settings of a kind that there is not": (
        lambda f: settings(f, '{"epsilon":true}'),
        'settings: "epsilon": expected a number or a text, found true',
    ),
    "settings of variable length": (
        lambda f: replaced(f, "checkpoint/settings", "{}"),
        "found string of variable length (), expected a string of fixed length, of at most 8192 bytes",
    ),
    "settings within settings": (lambda f: settings(f, '{"epsilon":{"x":1}}'), "settings: byte 11"),
    "settings that are too long": (lambda f: settings(f, " " * 9000), "a string of fixed length, of at most 8192 bytes"),
    "another use of the encoder than the kind's": (lambda f: settings(f, encoder="trained"), "the encoder is trained"),
    "no settings": (lambda f: f.__delitem__("checkpoint/settings"), "checkpoint/settings: missing"),
    "weights of another shape": (
        lambda f: replaced(f, "classifier.l1.weight", np.zeros((15, 63), np.float32)),
        "classifier.l1.weight",
    ),
    "no weights of the encoder": (
        lambda f: [f.__delitem__(name) for name in list(f) if name.startswith("encoder.")],
        "encoder",
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_named(saved, tmp_path, damage):
    change, words = DAMAGE[damage]
    shutil.copy(saved / "frozen.h5", tmp_path / "c.h5")
    with h5py.File(tmp_path / "c.h5", "r+") as file:
        change(file)
    with pytest.raises(dim.FileContentError, match=re.escape(words)):
        ClassifierTrainer.resume(tmp_path / "c.h5")


def test_a_link_in_place_of_a_part_is_named(saved, tmp_path):
    shutil.copy(saved / "frozen.h5", tmp_path / "c.h5")
    with h5py.File(tmp_path / "c.h5", "r+") as file:
        del file["checkpoint/step"]
        file["checkpoint/step"] = h5py.SoftLink("/checkpoint/version")
    with pytest.raises(dim.FileFormatError, match="c.h5: checkpoint/step: a soft, external or user-defined link"):
        ClassifierTrainer.resume(tmp_path / "c.h5")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("noise_position", np.int64(625)),
        ("noise_position", np.int64(-1)),
        ("noise_state", np.zeros(623, np.uint32)),
        ("noise_state", np.zeros(624, np.float32)),
    ],
)
def test_damage_of_an_objectives_run_is_named(saved, tmp_path, name, value):
    shutil.copy(saved / "objective.h5", tmp_path / "c.h5")
    with h5py.File(tmp_path / "c.h5", "r+") as file:
        replaced(file, f"checkpoint/{name}", value)
    with pytest.raises(dim.FileContentError, match=name):
        Trainer.resume(tmp_path / "c.h5")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prior": "some"}, 'settings: prior: expected one of "monolithic"'),
        ({"measure": 3}, 'settings: measure: expected one of "jsd"'),
        ({"measure": 3}, ", found 3"),
        ({"negatives": 0}, 'settings: negatives: expected "all", "rotation" or how many to draw, below 2^31, found 0'),
        ({"negatives": 1 << 40}, "to draw, below 2^31, found 1099511627776"),
        ({"seed": 7}, "settings: seed: expected a whole number of 64 bits, as text, found 7"),
        ({"seed": "-1"}, 'as text, found "-1"'),
        ({"seed": None}, "settings: seed is missing"),
        ({"locations": -1}, "settings: locations: expected a whole number from 0 to 4294967295, found -1"),
        ({"occlusion": "yes"}, 'settings: occlusion: expected a whole number from 0 to 1, found "yes"'),
        ({"alpha": -1}, "settings: alpha is -1.0"),
        ({"alpha": None, "beta": None}, "settings: alpha is missing; beta is missing"),
        ({"alpha": 0, "beta": 0, "gamma": 0, "measure": "nce"}, "leave no term to train"),
        ({"gradient_penalty": 1, "prior": "monolithic"}, "settings: gradient_penalty"),
    ],
)
def test_settings_of_an_objectives_run(saved, tmp_path, changes, words):
    shutil.copy(saved / "objective.h5", tmp_path / "c.h5")
    with h5py.File(tmp_path / "c.h5", "r+") as file:
        settings(file, **changes)
    for untrusted in (False, True):
        with pytest.raises(dim.FileContentError, match=re.escape(words)):
            Trainer.resume(tmp_path / "c.h5", untrusted=untrusted)


def test_settings_that_may_be_absent(saved, tmp_path):
    """Those whose absence means what they are by default."""
    shutil.copy(saved / "objective.h5", tmp_path / "c.h5")
    with h5py.File(tmp_path / "c.h5", "r+") as file:
        settings(file, gradient_penalty=None, gradient_clip=None)
    with Trainer.resume(tmp_path / "c.h5") as here, Trainer.resume(saved / "objective.h5") as whole:
        assert here.options == whole.options


# ---- Killed while it saves

SAVES_AND_STEPS = """
import sys, numpy
from deepinfomax import ClassifierTrainer
trainer = ClassifierTrainer.resume(sys.argv[1])
y, labels = numpy.eye(2, 64, dtype="f4"), numpy.arange(2)
while True:
    print(trainer.steps, flush=True)
    trainer.save(sys.argv[1])
    trainer.step_encoded(y, labels)
"""


def test_kill_leaves_the_old_or_the_new_file(saved, tmp_path):
    """A process saves a checkpoint a step and is killed at some moment of a save: one of the last two is there, whole."""
    path = tmp_path / "out" / "c.h5"
    path.parent.mkdir()
    shutil.copy(saved / "frozen.h5", path)
    chooser = random.Random(20240607)
    before = 1
    for _ in range(6):
        child = subprocess.Popen(
            [sys.executable, "-c", SAVES_AND_STEPS, path],
            stdout=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": ":".join(sys.path)},
        )
        for _ in range(chooser.randrange(1, 3)):
            started = int(child.stdout.readline())
        time.sleep(0.4 * chooser.random())
        child.send_signal(signal.SIGKILL)
        started = max([started, *map(int, child.stdout.read().split())])
        child.wait()
        with ClassifierTrainer.resume(path) as trainer:
            assert max(before, started - 1) <= trainer.steps <= started
            before = trainer.steps
            assert all(np.isfinite(value).all() for value in trainer.model.state_dict().values())
    names = [file.name for file in path.parent.iterdir()]
    assert all(name == "c.h5" or name.startswith(".dim-") and name.endswith(".tmp") for name in names)
