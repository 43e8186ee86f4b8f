"""Threads: the same bytes whatever their number, one model used by several at once, models after a fork."""

import os
import threading

import deepinfomax as dim
import numpy as np
import pytest

IMAGES = np.random.default_rng(6).random((9, 3, 32, 32), np.float32)


@pytest.fixture(autouse=True)
def restore_threads():
    yield
    dim.set_num_threads(0)


def outputs(model, images):
    """All networks' outputs as bytes."""
    y, M = model.encode(images)
    results = (y, M, model.score_global(y, M), model.score_local(y, M), model.score_prior(y), model.classify(y))
    return [result.tobytes() for result in results]


@pytest.mark.parametrize("n", [2, 9])
@pytest.mark.parametrize("training", [False, True])
def test_results_do_not_depend_on_the_number_of_threads(n, training):
    found = []
    for threads in (1, 2, 3, 16):
        dim.set_num_threads(threads)
        assert dim.num_threads() == threads
        with dim.Model().train(training) as model:
            found.append(outputs(model, IMAGES[:n]))
            found[-1] += [value.tobytes() for value in model.state_dict().values()]
    assert all(f == found[0] for f in found)


def test_several_threads_on_one_model(model):
    expected = outputs(model, IMAGES)
    found = {}

    def work(number):
        found[number] = [outputs(model, IMAGES) for _ in range(3)]

    run([lambda number=number: work(number) for number in range(4)])
    assert all(result == expected for results in found.values() for result in results) and len(found) == 4


def test_a_swap_of_weights_is_all_old_or_all_new(model):
    """Seeds 0 and 1 in turn, while others encode: every result is of one or of the other."""
    states = [model.state_dict()]
    with dim.Model(seed=1) as other:
        states.append(other.state_dict())
        allowed = {m.encode(IMAGES[:2], features=False).tobytes() for m in (model, other)}
    done, found = threading.Event(), set()

    def swap():
        for step in range(6):
            model.load_state_dict(states[step % 2])
        done.set()

    def encode():
        while not done.is_set():
            found.add(model.encode(IMAGES[:2], features=False).tobytes())

    run([swap, encode, encode])
    assert found <= allowed


def test_closing_while_others_work():
    """A call that has begun ends well; one that begins later is refused."""
    model = dim.Model()
    expected = model.encode(IMAGES, features=False).tobytes()
    found, refused = [], []

    def encode():
        try:
            while True:
                found.append(model.encode(IMAGES, features=False).tobytes())
        except dim.InvalidHandle:
            refused.append(True)

    def close():
        while len(found) < 3:
            pass
        model.close()

    run([encode, encode, close])
    assert len(refused) == 2 and set(found) == {expected}


def test_a_child_after_fork_uses_and_drops_its_copy(model):
    expected = model.encode(IMAGES, features=False)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = 0 if (model.encode(IMAGES, features=False) == expected).all() else 2
            model.close()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert (model.encode(IMAGES, features=False) == expected).all()


def run(targets):
    """All at once, to their end; an exception in any of them fails the test."""
    errors = []

    def guarded(target):
        try:
            target()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(target,)) for target in targets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert not any(thread.is_alive() for thread in threads)
    assert not errors, errors
