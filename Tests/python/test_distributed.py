"""Several processes over MPI: the bytes of one process, and an end with a name where one fails."""

import contextlib
import csv
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from mpi_fixtures import DIGITS8, DIM, mpirun, needs_mpi, run, start

from deepinfomax.distributed import Solo, launched, threads_of

pytest.importorskip("mpi4py")
pytestmark = needs_mpi
RUN = str(Path(__file__).with_name("distributed_run.py"))
#: Steps of basic32 and of the notebook, whose step takes thirty times as long; make test-long has 20 of it, too.
STEPS = {"jsd": 20, "nce": 20, "notebook": int(os.environ.get("DIM_LONG_STEPS", "3"))}
#: Processes, and threads of each, whose bytes are those of one process of two threads. make test-long: all of them.
WAYS = [(2, 1), (4, 2)] if STEPS["notebook"] < 20 else [(1, 1), (2, 1), (2, 2), (4, 1), (4, 2)]
KILLS = int(os.environ.get("DIM_LONG_KILLS", "5"))
#: Seconds until all have ended after one was killed.
LIMIT = 30


def train(folder, processes, threads, steps, *names):
    folder.mkdir(exist_ok=True)
    run(mpirun(processes, sys.executable, RUN, str(folder), str(steps), str(threads), *names), timeout=3000)


# ---- The same bytes


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Of one process with two threads: name -> the checkpoint's bytes."""
    folder = tmp_path_factory.mktemp("alone")
    for name, steps in STEPS.items():
        train(folder, 1, 2, steps, name)
    return {name: (folder / f"{name}.h5").read_bytes() for name in STEPS}


@pytest.mark.parametrize(("processes", "threads"), WAYS)
@pytest.mark.parametrize("names", [("jsd", "nce"), ("notebook",)])
def test_checkpoints_of_several_processes(alone, tmp_path, processes, threads, names):
    if names == ("notebook",) and threads == 2 and STEPS["notebook"] < 20:
        threads = 1
    train(tmp_path, processes, threads, STEPS[names[0]], *names)
    for name in names:
        assert (tmp_path / f"{name}.h5").read_bytes() == alone[name], name


def test_four_processes_stop_at_step_7_and_one_goes_on(alone, tmp_path):
    train(tmp_path, 4, 1, 7, "jsd", "nce")
    train(tmp_path, 1, 2, 20, "jsd", "nce")
    for name in ("jsd", "nce"):
        assert (tmp_path / f"{name}.h5").read_bytes() == alone[name], name


def digits(folder, *more, resume=False):
    if resume:
        return [*DIM, "train", "--resume", str(folder), "--quiet", "--no-plot", *more]
    return [
        *DIM,
        "train",
        "--data",
        "digits",
        "--architecture",
        DIGITS8,
        "--batch",
        "32",
        "--micro-batches",
        "4",
        "--epochs",
        "3",
        "--prior",
        "adversarial",
        "--augment",
        "crop=1,flip",
        "--seed",
        "5",
        "--output",
        str(folder),
        "--no-plot",
        "--quiet",
        *more,
    ]


@pytest.fixture(scope="module")
def digits_alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digits") / "run"
    run(digits(folder))
    return folder


def losses(folder):
    """What metrics.csv has of all images of a step: not speed and time, nor a report's figures, which are rank 0's."""
    names = (
        "step",
        "epoch",
        "phase",
        "total",
        "local",
        "global",
        "prior",
        "learning_rate",
        "linear_probe",
        "nearest_neighbours",
        "prior_distance",
    )
    with open(folder / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return [[row[name] for name in names[: -1 if row["phase"] == "train" else None]] for row in rows]


def test_the_command(digits_alone, tmp_path):
    """Checkpoint, weights, losses, validation and probes."""
    out, _ = run(mpirun(4, *digits(tmp_path / "run")))
    assert out == ""
    for name in ("checkpoint.h5", "weights.h5"):
        assert (tmp_path / "run" / name).read_bytes() == (digits_alone / name).read_bytes(), name
    assert losses(tmp_path / "run") == losses(digits_alone)
    phases = [row[2] for row in losses(digits_alone)]
    assert phases.count("train") == 150 and {"validation", "probe"} < set(phases)


def test_text_is_printed_once(tmp_path):
    command = [word for word in digits(tmp_path / "run") if word not in ("--quiet",)]
    out, _ = run(mpirun(2, *command[:-1], "--no-plot", "--epochs", "1"))
    assert out.count("done: weights in") == 1 and out.count("validation: total") == 2


def test_encoding_writes_one_file(tmp_path):
    """10,000 images, by one process and by three."""
    images = np.random.default_rng(2).integers(0, 256, (10_000, 8, 8, 1), np.uint8)
    np.save(tmp_path / "images.npy", images)
    command = [*DIM, "encode", "--data", str(tmp_path / "images.npy"), "--architecture", DIGITS8, "--batch", "300", "-q"]
    for ending in (".npz", ".h5"):
        for processes in (1, 3):
            outputs = ["--outputs", "encoded,features", "--output", str(tmp_path / f"{processes}{ending}")]
            run(mpirun(processes, *command, *outputs))
        assert (tmp_path / f"1{ending}").read_bytes() == (tmp_path / f"3{ending}").read_bytes(), ending


#: What one process and several make of the same calls of `fit`; and what they refuse.
FIT = """
import sys
import numpy as np
import deepinfomax as dim
from mpi4py import MPI
world = MPI.COMM_WORLD
rank = world.Get_rank()
images = np.random.default_rng(0).random((70, 1, 8, 8), dtype=np.float32)
np.save(f"images{rank}.npy", images)

def trainer(**options):
    return dim.Trainer(dim.Model(1, architecture=dim.Architecture.from_json(sys.argv[1])), micro_batches=4, **options)

def fitted(**options):
    # A callback of rank 1 alone ends the second fit of both, after one epoch of three.
    with trainer(**options) as run:
        first = run.fit(images, 2, batch=32, seed=3, augment="crop=1,flip", validation=images[:20])
        ended = lambda epoch: rank == 1 or not options
        second = run.fit(f"images{rank}.npy", 3, ended, batch=32)
        run.save(f"{rank}.h5")
        with open(f"{rank}.h5", "rb") as file:
            return file.read(), [(epoch.result, epoch.validation) for epoch in first + second]

assert fitted(communicator=world) == fitted()

def refused(function, *words):
    try:
        function()
    except Exception as error:
        assert all(word in f"{type(error).__name__} {error}" for word in words), error
        return
    raise AssertionError(words)

shared = trainer(communicator=world)
parts = (images[:16],) * (2 - rank)  # As a DataLoader gives batches.
refused(lambda: shared.fit(parts, 1, batch=32), "PeerError rank 1 of 2 on ", "its batches end before those of others")
def fails(epoch):
    if rank == 1:
        raise KeyError("mine")
refused(lambda: shared.fit(images, 1, fails, batch=32), "PeerError rank 1 of 2 on ", "mine")
for wrong in ("x", 1), (1, "x"):  # One of them waited for the other.
    refused(lambda: shared.fit(images, wrong[rank], batch=32), f"Error rank {wrong.index('x')} of 2 on ", "epochs: expected a whole number")
refused(lambda: shared.fit(images, 1, batch=32, augment="flip" if rank else None), "in its augmentation: expected none, found flip")
refused(lambda: shared.fit(images, 1, batch=32, seed=rank), "PeerError rank 1 of 2 on ", "in its seed", "expected 0, found 1")
refused(
    lambda: trainer(communicator=world, encoder_lr=1e-3 + rank),
    "in its options", "expected encoder_lr 0.001, found encoder_lr 1.001",
)
refused(lambda: trainer(communicator=3), "TypeError communicator", "found int")
refused(lambda: trainer(communicator=MPI.COMM_NULL), "ValueError communicator", "COMM_NULL")
refused(lambda: trainer(communicator=world, timeout="3"), "ValueError timeout", "found '3'")
between = MPI.COMM_SELF.Create_intercomm(0, world, 1 - rank)
refused(lambda: trainer(communicator=between), "ValueError communicator", "intercommunicator")
callback = trainer()
callback.on_gradients = print
refused(lambda: callback.share(world), "ValueError on_gradients")
if rank == 0:
    refused(lambda: trainer(communicator=world, timeout=1), "NotAnswering another process: no answer to rank 0 of 2")
world.Barrier()
"""


def test_fit_and_communicators(tmp_path):
    """Each process took all of a batch for its part, and the result was another one; what is no group hung or had no message."""
    out = run(mpirun(2, sys.executable, "-m", "mpi4py", "-c", FIT, DIGITS8), cwd=tmp_path)
    assert out == ("", "")


# ---- Ends


def ranks(process):
    found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True)
    return [int(pid) for pid in found.stdout.split()]


def test_kills_of_any_process_at_any_time(digits_alone, tmp_path):
    """No hang, a whole checkpoint, and a resumed run, by any number of processes, that is the uninterrupted one."""
    chance = random.Random(int(os.environ.get("DIM_LONG_SEED", "1")))
    for number in range(KILLS):
        folder = tmp_path / str(number)
        process = start(mpirun(4, *digits(folder)))
        began = time.monotonic()
        # From before there is any process, over imports and the start, to the last epoch.
        while time.monotonic() - began < chance.uniform(0, 25) and not (folder / "checkpoint.h5").exists():
            time.sleep(0.05)
        time.sleep(chance.uniform(0, 2))
        victims = ranks(process)
        if victims:
            os.kill(chance.choice(victims), signal.SIGKILL)
            killed = time.monotonic()
            process.communicate(timeout=LIMIT)
            assert time.monotonic() - killed < LIMIT
        else:
            process.communicate(timeout=120)
        processes = chance.choice((1, 2, 4))
        if not (folder / "weights.h5").exists():
            if (folder / "checkpoint.h5").exists():
                run(mpirun(processes, *digits(folder, resume=True)))
            else:
                shutil.rmtree(folder, ignore_errors=True)
                run(mpirun(processes, *digits(folder)))
        for name in ("checkpoint.h5", "weights.h5"):
            assert (folder / name).read_bytes() == (digits_alone / name).read_bytes(), (number, name)
        shutil.rmtree(folder)


def test_sigterm_to_mpirun(tmp_path):
    """It gives its processes a second to stop and save, then kills them; the run continues as another number of processes."""
    folder, alone = tmp_path / "run", tmp_path / "alone"
    long = "--epochs", "30"  # Longer than the way of a signal.
    run(digits(alone, *long))
    process = start(mpirun(2, *digits(folder, *long)))
    while not (folder / "checkpoint.h5").exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=LIMIT)
    assert process.returncode != 0
    run(digits(folder, resume=True))
    assert (folder / "checkpoint.h5").read_bytes() == (alone / "checkpoint.h5").read_bytes()


def two(first, second):
    """Two processes with command lines of their own."""
    return ["mpirun", "--oversubscribe", "-n", "1", *first, ":", "-n", "1", *second]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    data = np.random.default_rng(3).random((320, 1, 8, 8), dtype=np.float32)
    np.save(folder / "good.npy", data)
    data[200, 0, 3, 3] += 0.25
    np.save(folder / "other.npy", data)
    data[:] = np.load(folder / "good.npy")
    data[7] = np.nan
    np.save(folder / "holes.npy", data)
    return folder


def on(data, folder, *more):
    command = digits(folder, *more)
    command[command.index("digits")] = str(data)
    return command


def told_once(errors, *words):
    """One line of dim's own, with these words; mpirun adds its own report."""
    lines = [line for line in errors.splitlines() if line.startswith("dim train:")]
    assert len(lines) == 1 and all(re.search(word, lines[0]) for word in words), errors


def test_data_that_differs_in_one_process(images, tmp_path):
    _, errors = run(two(on(images / "good.npy", tmp_path / "r"), on(images / "other.npy", tmp_path / "r")), None)
    told_once(errors, "rank 1 of 2 on ", "differs from rank 0 in its data")
    assert not (tmp_path / "r").exists()


def test_data_that_is_missing_in_one_process(images, tmp_path):
    gone = tmp_path / "gone.npy"
    command = on(gone, tmp_path / "r")
    _, errors = run(two(on(images / "good.npy", tmp_path / "r"), command), None)
    told_once(errors, "rank 1 of 2 on .*gone.npy")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("plain.npy", ["--probe", "1"], "--probe: needs labels"),
        ("few.npy", ["--early-stopping", "1"], "--early-stopping: needs"),
        ("few.npy", [], "--micro-batches: 8 images"),
    ],
)
def test_data_that_is_refused_in_one_process(images, tmp_path, name, options, message):
    """It ended without a word, and the other waited for --timeout."""
    data = np.load(images / "good.npy")
    np.save(tmp_path / "labelled.npy", data)
    np.save(tmp_path / "labelled_labels.npy", np.arange(len(data)) % 3)
    np.save(tmp_path / "plain.npy", data)
    np.save(tmp_path / "few.npy", data[:8])
    commands = [on(tmp_path / other, tmp_path / "r", *options) for other in ("labelled.npy", name)]
    began = time.monotonic()
    _, errors = run(two(*commands), 2)
    told_once(errors, "rank 1 of 2 on ", message)
    assert time.monotonic() - began < LIMIT


def test_a_package_that_only_rank_0_needs(tmp_path):
    """A probe's classifier is rank 0's: the others do without scikit-learn."""
    images = np.random.default_rng(3).random((160, 1, 8, 8), dtype=np.float32)
    np.save(tmp_path / "images.npy", images)
    np.save(tmp_path / "images_labels.npy", np.arange(len(images)) % 3)
    script = "import sys; sys.modules['sklearn'] = None; from deepinfomax.cli import main; sys.exit(main())"
    command = on(tmp_path / "images.npy", tmp_path / "r", "--epochs", "1")
    run(two(command, [sys.executable, "-c", script, *command[len(DIM) :]]))
    assert [row[2] for row in losses(tmp_path / "r")].count("probe") == 2


def test_a_damaged_image_that_is_encoded(tmp_path):
    """One line of the process that found it: the others told that mpirun had ended them, and called that the cause."""
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "photos").mkdir()
    for number in range(30):
        image.fromarray(np.full((8, 8), number, np.uint8)).save(tmp_path / "photos" / f"{number:02}.png")
    damaged = tmp_path / "photos" / "20.png"
    damaged.write_bytes(damaged.read_bytes()[:50])
    command = [*DIM, "encode", "--data", str(tmp_path / "photos"), "--architecture", DIGITS8, "--batch", "4", "-q"]
    _, errors = run(mpirun(3, *command, "--output", str(tmp_path / "y.npz")), 1)
    lines = [line for line in errors.splitlines() if line.startswith("dim encode:")]
    assert len(lines) == 1 and re.search("rank 2 of 3 on .*20.png.*; all processes end", lines[0]), errors
    assert os.listdir(tmp_path) == ["photos"]


def test_options_of_encode_that_differ_in_one_process(tmp_path):
    """Another number of images at a time, and another output, of which nothing was said."""
    np.save(tmp_path / "images.npy", np.zeros((9, 8, 8), np.uint8))
    one = [
        *DIM,
        "encode",
        "--data",
        str(tmp_path / "images.npy"),
        "--architecture",
        DIGITS8,
        "--output",
        str(tmp_path / "y.npy"),
    ]
    for option, told in (
        ("--batch", "expected batch 256, found batch 7"),
        ("--outputs", "expected outputs .*, found outputs "),
    ):
        other = [*one, option, "7" if option == "--batch" else "fc"]
        _, errors = run(two(one, other), None)
        assert re.search(f"rank 1 of 2 on .*: differs from rank 0 in its settings: {told}", errors), errors
        assert os.listdir(tmp_path) == ["images.npy"]


def test_a_signal_to_mpirun_leaves_no_half_of_a_file(tmp_path):
    """It kills the others as soon as one has left: whoever writes may need a moment longer."""
    np.save(tmp_path / "images.npy", np.zeros((20000, 28, 28), np.uint8))
    command = [*DIM, "encode", "--data", str(tmp_path / "images.npy"), "--architecture", "basic28", "-q"]
    process = start(mpirun(3, *command, "--output", str(tmp_path / "y.npz")))
    while process.poll() is None and len(os.listdir(tmp_path)) == 1:
        time.sleep(0.01)
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0 and "ended by SIGTERM; all processes end" in errors, errors
    assert os.listdir(tmp_path) == ["images.npy"]


def test_settings_that_differ_in_one_process(images, tmp_path):
    good = images / "good.npy"
    _, errors = run(two(on(good, tmp_path / "r"), on(good, tmp_path / "r", "--lr", "1e-3")), None)
    told_once(errors, "rank 1 of 2 on ", "in its settings: expected lr 0.0003, found lr 0.001$")


def test_nan_in_one_processes_batch(images, tmp_path):
    """The same data everywhere; whoever's turn it is finds the NaN, and the message has the image."""
    _, errors = run(mpirun(2, *on(images / "holes.npy", tmp_path / "r", "--validation-images", "0")), 1)
    told_once(errors, r"rank [01] of 2 on .*: holes.npy: image 7 has NaN")


def test_a_full_disk_of_rank_0(small_disk):
    command = [*digits(small_disk / "run")]
    command[command.index("--architecture") + 1] = "basic32"
    _, errors = run(mpirun(2, *command), None)
    told_once(errors, "rank 0 of 2 on |are free", "free|No space left")


def test_a_disk_of_rank_0_that_fills_between_checkpoints(images, small_disk):
    """Rank 0 ended without the others, which waited for --timeout and then said that it did not answer."""
    folder = small_disk / "filled"
    process = start(mpirun(2, *on(images / "good.npy", folder, "--epochs", "5000", "--checkpoint-every", "5000")))
    while process.poll() is None and not (
        (folder / "metrics.csv").exists() and len((folder / "metrics.csv").read_bytes()) > 1000
    ):
        time.sleep(0.05)
    with contextlib.suppress(OSError), open(small_disk / "filler", "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    _, errors = process.communicate(timeout=LIMIT)
    told_once(errors, "rank 0 of 2 on .*metrics.csv: No space left on device")
    shutil.rmtree(folder)
    (small_disk / "filler").unlink()


def test_numbers_of_processes_that_share_no_step(tmp_path):
    _, errors = run(mpirun(3, *digits(tmp_path / "r")), 2)
    told_once(errors, "micro_batches is 4, and there are 3 processes: expected powers of two")


def wait_until_gone(pid):
    """mpirun kills it at its own end, and the system takes a moment; whoever inherits it may leave a zombie."""
    until = time.monotonic() + LIMIT
    while time.monotonic() < until:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return
        except (FileNotFoundError, ProcessLookupError):
            return
        time.sleep(0.05)
    raise AssertionError(f"process {pid} is still there")


def test_a_process_that_hangs(images, tmp_path):
    """Stopped for good, it is named after --timeout; no other process hangs."""
    process = start(mpirun(2, *on(images / "good.npy", tmp_path / "r", "--timeout", "3", "--epochs", "1000")))
    while not (tmp_path / "r" / "checkpoint.h5").exists() and process.poll() is None:
        time.sleep(0.05)
    victims = [pid for pid in ranks(process) if b"OMPI_COMM_WORLD_RANK=1\0" in Path(f"/proc/{pid}/environ").read_bytes()]
    os.kill(victims[0], signal.SIGSTOP)
    _, errors = process.communicate(timeout=LIMIT)
    assert re.search(r"rank 1 of 2 on .*: no answer to rank 0 of 2 on .* for 3 seconds; all processes end", errors), errors
    wait_until_gone(victims[0])


#: `dim`, of which rank 3 hangs at its third step, while the others sum their gradients.
STOPS = """
import os, signal, sys
from deepinfomax import distributed
from deepinfomax.cli import main
add, steps = distributed.Group.add, []
def stops(self, values):
    steps.append(1)
    if len(steps) == 3 and self.rank == 3:
        os.kill(os.getpid(), signal.SIGSTOP)
    add(self, values)
distributed.Group.add = stops
sys.exit(main())
"""


def test_the_process_that_hangs_is_named(images, tmp_path):
    """Of those that wait for each other none is: rank 0 waits for 2, which waits for 3. One tells, and it is no Ctrl-C."""
    command = on(images / "good.npy", tmp_path / "r", "--timeout", "2", "--validation-images", "0")
    _, errors = run(mpirun(4, sys.executable, "-c", STOPS, *command[len(DIM) :]), 1)
    told_once(
        errors,
        "rank [012] of 4 on [^ ]*: rank 3 of 4 on [^ ]*: no answer to rank [012] of 4 .* for 2 seconds; all processes end",
    )
    assert "Ctrl-C" not in errors


# ---- Parts


def test_threads_are_shared_by_the_processes_of_a_machine():
    every, half, other = frozenset(range(8)), frozenset(range(4)), frozenset(range(4, 8))
    assert [threads_of(rank, [(0, every, 8)] * 3) for rank in range(3)] == [3, 3, 2]
    assert [threads_of(rank, [(0, half, 4), (0, other, 4)]) for rank in range(2)] == [4, 4]  # Bound by mpirun.
    assert [threads_of(rank, [(0, every, 8), (1, every, 8)]) for rank in range(2)] == [8, 8]  # Two machines.
    assert [threads_of(rank, [(0, every, 2)] * 4) for rank in range(4)] == [1, 1, 1, 1]  # A quota of two cores.
    assert [threads_of(rank, [(0, half, 2), (0, other, 2)]) for rank in range(2)] == [1, 1]  # It is for both.


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ({}, False),
        ({"OMPI_COMM_WORLD_SIZE": "1"}, False),
        ({"OMPI_COMM_WORLD_SIZE": "4"}, True),
        ({"PMI_SIZE": "2"}, True),
        ({"PMI_SIZE": "many"}, False),
        ({"SLURM_STEP_NUM_TASKS": "8"}, False),
        ({"SLURM_STEP_NUM_TASKS": "8", "PMIX_RANK": "0"}, True),
    ],
)
def test_how_it_was_started(monkeypatch, names, found):
    for name in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE", "PMIX_RANK", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    assert launched() == found


def test_one_process_is_a_group():
    solo = Solo()
    assert (solo.gather(3), solo.first(lambda: 4), solo.highest(1, 2)) == ([3], 4, (1, 2))
    with pytest.raises(ZeroDivisionError):
        solo.check(ZeroDivisionError())


def test_mpirun_of_another_mpi(tmp_path):
    """Each of the processes was a group of one and did all of the work, over the others' files."""
    environment = os.environ | {"OMPI_COMM_WORLD_SIZE": "2"}
    done = subprocess.run([*DIM, "encode", "--output", tmp_path / "y.npy"], capture_output=True, text=True, env=environment)
    assert done.returncode == 2 and "mpi4py sees only this one" in done.stderr, done
    assert done.stderr.endswith("unset OMPI_COMM_WORLD_SIZE\n") and not (tmp_path / "y.npy").exists()
