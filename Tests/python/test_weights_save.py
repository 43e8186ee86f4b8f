"""What Model.save writes: readable by h5py, whole or not there, and with every flipped bit detected on reading."""

import fcntl
import os
import random
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import h5py
import pytest
from deepinfomax import ClassifierTrainer, DimError, Model, Trainer
from weights_fixtures import CHILD, SHAPES, assert_same, state_of, write

SEED = int(os.environ.get("DIM_TEST_SEED", "20240607"))


@pytest.fixture
def model(tmp_path):
    (tmp_path / "in").mkdir()
    return Model.open(write(tmp_path / "in" / "w.h5", state_of("prior_d", "classifier")))


def names(folder):
    return sorted(p.name for p in Path(folder).iterdir())


# What is in a file


def test_all_networks_survive(tmp_path):
    state = state_of(*SHAPES)
    Model.open(write(tmp_path / "a.h5", state)).save(str(tmp_path / "b.h5"))
    with h5py.File(tmp_path / "b.h5") as file:
        assert_same({k: file[k][()] for k in file}, state)
        for key, array in state.items():
            assert isinstance(file[key], h5py.Dataset) and file[key].fletcher32 == (array.ndim > 0)
    model = Model.open(str(tmp_path / "b.h5"))
    assert_same(model.state_dict(), state)


def test_one_line_of_pytorch(model, tmp_path):
    torch = pytest.importorskip("torch")
    model.save(str(tmp_path / "b.h5"))
    with h5py.File(tmp_path / "b.h5") as f:
        loaded = {k: torch.as_tensor(f[k][()]) for k in f}
    assert_same({k: v.numpy() for k, v in loaded.items()}, model.state_dict())


def test_same_weights_same_bytes(model, tmp_path):
    model.save(str(tmp_path / "a.h5"))
    time.sleep(1.1)
    Model.open(str(tmp_path / "a.h5")).save(str(tmp_path / "b.h5"))
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_load_replaces_the_networks_of_the_file(tmp_path):
    both = state_of("prior_d", "classifier", seed=1)
    other = state_of("classifier", seed=2)
    model = Model.open(write(tmp_path / "both.h5", both))
    model.load(write(tmp_path / "one.h5", other))
    assert_same(model.state_dict(), {**both, **other})


# Flipped bits


def opens_or_error(path):
    try:
        return Model.open(str(path)).state_dict()
    except DimError:
        return None


def flip(path, places, state):
    """Flips one bit at each place in turn; returns how often that went unnoticed, the weights being the same."""
    chooser = random.Random(SEED)
    unnoticed = 0
    # Written in place: a file system that flushes what is truncated and rewritten makes this 100 times slower.
    with open(path, "r+b", buffering=0) as file:
        for at in places:
            byte = os.pread(file.fileno(), 1, at)
            os.pwrite(file.fileno(), bytes([byte[0] ^ 1 << chooser.randrange(8)]), at)
            found = opens_or_error(path)
            os.pwrite(file.fileno(), byte, at)
            if found is not None:
                unnoticed += 1
                assert_same(found, state)
    return unnoticed


def test_a_flipped_bit_of_any_byte_is_detected(tmp_path):
    """An error, or the same weights where the byte is not used. Every third byte; Benchmarks/weights.py flips them all."""
    state = state_of("classifier")
    Model.open(write(tmp_path / "a.h5", state)).save(str(tmp_path / "b.h5"))
    size = (tmp_path / "b.h5").stat().st_size
    assert flip(tmp_path / "b.h5", range(SEED % 3, size, 3), state) < size / 20
    assert_same(opens_or_error(tmp_path / "b.h5"), state)


def test_flipped_bits_of_a_larger_file(tmp_path):
    """Arrays of several chunks."""
    chooser = random.Random(SEED)
    state = state_of("local_d", "prior_d")
    Model.open(write(tmp_path / "a.h5", state)).save(str(tmp_path / "b.h5"))
    size = (tmp_path / "b.h5").stat().st_size
    assert flip(tmp_path / "b.h5", [chooser.randrange(size) for _ in range(300)], state) < 10


def test_flipped_bits_of_a_checkpoint(tmp_path):
    """What the resumed trainer is made of: moments, options, random state, step. Half of the flips outside the data."""
    chooser = random.Random(SEED)
    path = tmp_path / "c.h5"
    trainer = ClassifierTrainer(Model.open(write(tmp_path / "w.h5", state_of("encoder", "classifier"))), lr=0.25)
    trainer.save(path)
    content = path.read_bytes()
    state, options = trainer.model.state_dict(), trainer.options
    headers = [m.start() for m in re.finditer(b"OHDR", content)]
    places = [chooser.choice(headers) + chooser.randrange(150) for _ in range(60)]
    places += [chooser.randrange(len(content)) for _ in range(60)]
    unnoticed = 0
    with open(path, "r+b", buffering=0) as file:
        for at in places:
            os.pwrite(file.fileno(), bytes([content[at] ^ 1 << chooser.randrange(8)]), at)
            try:
                with ClassifierTrainer.resume(path) as found:
                    unnoticed += 1
                    assert found.options == options and found.steps == 0
                    assert_same(found.model.state_dict(), state)
            except DimError:
                pass
            os.pwrite(file.fileno(), content[at : at + 1], at)
    assert unnoticed < 15, f"seed {SEED}"


def test_cut_files_are_refused(model, tmp_path):
    model.save(str(tmp_path / "b.h5"))
    content = (tmp_path / "b.h5").read_bytes()
    for length in [*range(0, 200, 7), *range(200, len(content), 9973), len(content) - 1]:
        (tmp_path / "c.h5").write_bytes(content[:length])
        assert opens_or_error(tmp_path / "c.h5") is None, length


# Whole or not at all


SAVES_IN_TURN = """
import sys, deepinfomax
models = [deepinfomax.Model.open(p) for p in sys.argv[2:]]
print("ready", flush=True)
while True:
    for model in models:
        model.save(sys.argv[1])
"""


def test_killed_while_saving(tmp_path):
    chooser = random.Random(SEED)
    states = [state_of("prior_d", "local_d", seed=s) for s in (1, 2)]
    sources = [write(tmp_path / f"{i}.h5", s) for i, s in enumerate(states)]
    target = tmp_path / "out" / "w.h5"
    target.parent.mkdir()
    seen = set()
    for _ in range(12):
        child = subprocess.Popen(
            [sys.executable, "-c", SAVES_IN_TURN, str(target), *sources], stdout=subprocess.PIPE, env=CHILD
        )
        child.stdout.readline()
        time.sleep(0.05 + 0.1 * chooser.random())
        child.send_signal(signal.SIGKILL)
        child.wait()
        if not target.exists():
            continue
        found = Model.open(str(target)).state_dict()
        which = [i for i, s in enumerate(states) if found["prior_d.l0.bias"].tobytes() == s["prior_d.l0.bias"].tobytes()]
        assert len(which) == 1
        assert_same(found, states[which[0]])
        seen.add(which[0])
    assert seen
    assert all(n == "w.h5" or n.startswith(".dim-") and n.endswith(".tmp") for n in names(target.parent))
    # The next save clears up.
    Model.open(str(target)).save(str(target))
    assert names(target.parent) == ["w.h5"]


def test_what_a_killed_writer_left_is_removed_and_nothing_else(model, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    left_over = ".dim-4711-123456789abcdef.tmp"
    kept = [".dim-4711-1.tmp.h5", ".dim-.tmp", ".dim-x-1.tmp", ".dim-4711-xyz.tmp", ".dim-1-2-3.tmp", "dim-4711-1.tmp"]
    for name in [left_over, *kept]:
        (folder / name).write_text("something")
    (folder / ".dim-4712-1.tmp").mkdir()
    (folder / ".dim-4713-1.tmp").symlink_to("dim-4711-1.tmp")
    held = folder / ".dim-4714-1.tmp"
    with held.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)  # its writer lives, wherever
        model.save(str(folder / "w.h5"))
    assert set(names(folder)) == {*kept, ".dim-4712-1.tmp", ".dim-4713-1.tmp", ".dim-4714-1.tmp", "w.h5"}
    model.save(str(folder / "w.h5"))
    assert not held.exists()


def test_writers_in_one_folder_do_not_remove_each_others_files(tmp_path):
    source = write(tmp_path / "s.h5", state_of("prior_d"))
    children = [
        subprocess.Popen(
            [sys.executable, "-c", SAVES_IN_TURN, str(tmp_path / f"{i}.h5"), source],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=CHILD,
        )
        for i in range(4)
    ]
    for child in children:
        child.stdout.readline()
    time.sleep(1.5)
    for child in children:
        assert child.poll() is None, child.stderr.read()
        child.kill()
        child.communicate()


SAVES_UNDER_A_LIMIT = """
import resource, signal, sys, deepinfomax
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
model = deepinfomax.Model.open(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
try:
    model.save(sys.argv[2])
except deepinfomax.DimError as error:
    print(error.status_name, error)
"""


@pytest.mark.parametrize("limit", [0, 100, 5_000, 300_000, 1_000_000])
def test_file_size_limit(model, tmp_path, limit):
    source, out = tmp_path / "in" / "w.h5", tmp_path / "out"
    out.mkdir()
    model.save(str(out / "w.h5"))
    before = (out / "w.h5").read_bytes()
    done = subprocess.run(
        [sys.executable, "-c", SAVES_UNDER_A_LIMIT, source, out / "w.h5", str(limit)], capture_output=True, text=True, env=CHILD
    )
    assert done.returncode == 0, done
    assert done.stdout.startswith("DIM_IO") and "File too large" in done.stdout, done
    assert (out / "w.h5").read_bytes() == before and names(out) == ["w.h5"]


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    if (
        os.geteuid() != 0
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", folder], capture_output=True).returncode != 0
    ):
        pytest.skip("cannot mount a small disk")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_disk_full(model, small_disk):
    for _ in range(3):
        with pytest.raises(DimError) as caught:
            model.save(str(small_disk / "w.h5"))
        assert caught.value.status_name == "DIM_IO" and "No space left" in str(caught.value)
        assert names(small_disk) == []
    trainer = Trainer(Model(0))
    with pytest.raises(DimError) as caught:
        trainer.save(small_disk / "c.h5")
    assert caught.value.status_name == "DIM_IO" and "No space left" in str(caught.value)
    assert names(small_disk) == []


def test_folder_that_cannot_be_written(model, tmp_path):
    folder = tmp_path / "readonly"
    folder.mkdir(mode=0o555)
    if os.access(folder, os.W_OK):
        pytest.skip("permissions do not hold for this user")
    with pytest.raises(DimError) as caught:
        model.save(str(folder / "w.h5"))
    assert caught.value.status_name == "DIM_IO" and "Permission denied" in str(caught.value)


@pytest.mark.parametrize(
    "path, words",
    [
        ("absent/w.h5", "No such file"),
        ("in/", "a folder"),
        ("in", "a directory"),
        ("fifo", "a FIFO"),
        ("in/w.h5/x", "Not a directory"),
        ("loop", "symbolic links"),
        ("n" * 300, "File name too long"),
    ],
)
def test_paths_that_cannot_be_saved_to(model, tmp_path, monkeypatch, path, words):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo")
    os.symlink("loop", "loop")
    with pytest.raises(DimError) as caught:
        model.save(path)
    expected = "DIM_IO" if path else "DIM_INVALID_ARGUMENT"
    assert caught.value.status_name == expected and words in str(caught.value), str(caught.value)
    assert names(tmp_path) == ["fifo", "in", "loop"] and names("in") == ["w.h5"]


def test_relative_path(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model.save("w.h5")
    assert names(".") == ["in", "w.h5"]


def test_a_save_replaces_what_was_no_weights_file(model, tmp_path):
    (tmp_path / "w.h5").write_text("anything")
    model.save(str(tmp_path / "w.h5"))
    assert_same(Model.open(str(tmp_path / "w.h5")).state_dict(), model.state_dict())


def test_save_over_the_file_that_was_opened(model, tmp_path):
    model.save(str(tmp_path / "in" / "w.h5"))
    assert_same(Model.open(str(tmp_path / "in" / "w.h5")).state_dict(), model.state_dict())


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664])
def test_permissions_are_kept(model, tmp_path, mode):
    path = tmp_path / "w.h5"
    path.write_text("old")
    path.chmod(mode)
    model.save(str(path))
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o027])
def test_a_new_file_has_what_the_umask_leaves(model, tmp_path, umask):
    before = os.umask(umask)
    try:
        model.save(str(tmp_path / "w.h5"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "w.h5").stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("exists", [True, False])
def test_symbolic_link_is_written_through(model, tmp_path, exists):
    (tmp_path / "store").mkdir()
    if exists:
        (tmp_path / "store" / "w.h5").write_text("old")
    (tmp_path / "second").symlink_to("store/w.h5")
    (tmp_path / "first").symlink_to(tmp_path / "second")
    model.save(str(tmp_path / "first"))
    assert (tmp_path / "first").is_symlink() and (tmp_path / "second").is_symlink()
    assert names(tmp_path / "store") == ["w.h5"] and not (tmp_path / "store" / "w.h5").is_symlink()
    assert_same(Model.open(str(tmp_path / "first")).state_dict(), model.state_dict())


@pytest.mark.parametrize("made", [bytes, os.fsdecode, lambda name: Path(os.fsdecode(name))])
def test_names_that_are_not_utf8(tmp_path, made):
    """As bytes, as Python's str with surrogates, and as a path; two such names are two files."""
    whole = Model(1)
    saves = [whole, Trainer(whole), ClassifierTrainer(whole)]
    paths = [os.fsencode(tmp_path) + b"/caf" + bytes([byte]) + b".h5" for byte in (0xE8, 0xE9, 0xEA)]
    for saved, path in zip(saves, paths):
        saved.save(made(path))
    assert sorted(os.listdir(os.fsencode(tmp_path))) == [os.path.basename(path) for path in paths]
    for saved, path in zip(saves, paths):
        for untrusted in False, True:
            with (type(saved).open if saved is whole else type(saved).resume)(made(path), untrusted=untrusted) as found:
                state = (found if saved is whole else found.model).state_dict()
            assert_same(state, whole.state_dict())
    with pytest.raises(DimError, match=r"caf\\xeb\.h5: No such file"):
        Model.open(made(paths[0].replace(b"\xe8", b"\xeb")))


def test_many_saves_leave_nothing_behind(model, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    for _ in range(20):
        model.save(str(out / "w.h5"))
    assert names(out) == ["w.h5"]
    shutil.rmtree(out)
