"""Model.open(untrusted=True): no file harms the process that opens it, and sound files give the same weights."""

import os
import random
import re
import resource
import shutil
import subprocess
import sys

import deepinfomax
import pytest
from deepinfomax import DimError, FileAccessError, FileContentError, FileFormatError, Model, Trainer
from weights_fixtures import CHILD, SHAPES, assert_same, state_of, write
from weights_mutants import mutants, sources

SEED = int(os.environ.get("DIM_TEST_SEED", "20240607"))


def test_the_same_weights(tmp_path):
    state = state_of(*SHAPES)
    path = write(tmp_path / "w.h5", state)
    assert_same(Model.open(path, untrusted=True).state_dict(), state)
    model = Model(1)
    model.load(path, untrusted=True)
    assert_same(model.state_dict(), state)


@pytest.mark.parametrize("network", SHAPES)
def test_some_networks(tmp_path, network):
    state = state_of(network)
    path = write(tmp_path / "w.h5", {k.split(".", 1)[1]: a for k, a in state.items()}, compression="gzip", fletcher32=True)
    model = Model.open(path, untrusted=True)
    assert model.networks == (network,)
    assert_same(model.state_dict(), state)


def test_one_chunk_of_float64(tmp_path):
    """Needs the most memory of all that is accepted: the encoder's l1.weight, 105 MB, compressed and not."""
    state = state_of("encoder")
    path = write(tmp_path / "w.h5", {k: a.astype("f8") if a.ndim else a for k, a in state.items()})
    shape = state["encoder.l1.weight"].shape
    import h5py

    with h5py.File(path, "a") as file:
        del file["encoder.l1.weight"]
        file.create_dataset(
            "encoder.l1.weight",
            data=state["encoder.l1.weight"].astype("f8"),
            chunks=shape,
            compression="gzip",
            compression_opts=1,
            shuffle=True,
            fletcher32=True,
        )
    assert_same(Model.open(path, untrusted=True).state_dict(), state)


def test_content_errors_are_word_for_word(tmp_path):
    state = state_of("prior_d")
    state["prior_d.l1.bias"] = state["prior_d.l1.bias"][:-1]
    state["prior_d.l0.weight"][3, 4] = float("nan")
    del state["prior_d.l2.bias"]
    path = write(tmp_path / "Gewichte größer.h5", state)
    with pytest.raises(FileContentError) as here:
        Model.open(path)
    with pytest.raises(FileContentError) as isolated:
        Model.open(path, untrusted=True)
    assert str(isolated.value) == str(here.value)


def test_resume(tmp_path):
    trainer = Trainer(Model(0), seed=5)
    trainer.save(tmp_path / "c.h5")
    again = Trainer.resume(tmp_path / "c.h5", untrusted=True)
    assert again.options == trainer.options
    assert_same(again.model.state_dict(), trainer.model.state_dict())
    Model(0).save(tmp_path / "w.h5")
    with pytest.raises(FileContentError, match="no checkpoint"):
        Trainer.resume(tmp_path / "w.h5", untrusted=True)


@pytest.mark.parametrize("seconds", [-1, 0, 1e9, float("nan")])
def test_timeout_out_of_range(tmp_path, seconds):
    with pytest.raises(ValueError, match="timeout: expected more than 0"):
        Model.open(tmp_path / "w.h5", untrusted=True, timeout=seconds)


def test_a_timeout_is_of_untrusted_files(tmp_path):
    """It had no effect, without a word."""
    for call in (Model.open, Trainer.resume):
        with pytest.raises(ValueError, match="timeout: bounds the process .* expected untrusted=True as well"):
            call(tmp_path / "w.h5", timeout=5)


def test_timeout(tmp_path):
    path = write(tmp_path / "w.h5", state_of("prior_d"))
    with pytest.raises(FileFormatError, match="not read within 0.0005 s"):
        Model.open(path, untrusted=True, timeout=0.0005)
    Model.open(path, untrusted=True)


OPENS_AFTER_THE_FILE_IS_GONE = """
import os, sys, deepinfomax
deepinfomax.Model.open(sys.argv[1], untrusted=True)
os.unlink(os.environ["DIM_LIBRARY"])
deepinfomax.Model.open(sys.argv[1])
deepinfomax.Model.open(sys.argv[1], untrusted=True)
"""


def test_the_library_is_no_longer_there(tmp_path):
    path = write(tmp_path / "w.h5", state_of("prior_d"))
    shutil.copy(os.path.realpath(deepinfomax._library.library()._name), tmp_path / "libdim.so")
    done = subprocess.run(
        [sys.executable, "-c", OPENS_AFTER_THE_FILE_IS_GONE, path],
        capture_output=True,
        text=True,
        env={**CHILD, "DIM_LIBRARY": str(tmp_path / "libdim.so")},
    )
    assert "FileAccessError" in done.stderr and "in a separate process" in done.stderr, done


def test_the_library_is_no_program_that_says_anything():
    """Somebody runs libdim.so from a shell."""
    loader = "/lib64/ld-linux-x86-64.so.2"
    if not os.path.exists(loader):
        pytest.skip("another loader")
    for arguments in ([], ["a"], ["libdim isolated reader 0", "weights", "60", "w.h5"]):
        done = subprocess.run(
            [loader, deepinfomax._library.library()._name, *arguments], capture_output=True, stdin=subprocess.DEVNULL
        )
        assert done.returncode in (1, 2) and done.stdout == done.stderr == b"", done


# Mutants

OPENS_ALL = """
import sys, deepinfomax
for line in sys.stdin:
    try:
        deepinfomax.Model.open(line.rstrip("\\n"), untrusted=True)
        print("opened")
    except deepinfomax.DimError as error:
        print(error.status_name, "ended the isolated reader" in str(error))
# Not ru_maxrss: it remembers what the process was before exec, a copy of the tests'.
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.parametrize("checksums", [False, True], ids=["random", "under right checksums"])
def test_no_mutant_harms_the_host(tmp_path, checksums):
    """Benchmarks/weights.py has a hundred times as many. The second kind takes some readers down: that has to be seen."""
    seed = 2 if checksums else SEED  # Three of its mutants crash libhdf5 1.10.
    paths = mutants(tmp_path, random.Random(seed), 200, sources(tmp_path, checksums))
    done = subprocess.run(
        [sys.executable, "-c", OPENS_ALL],
        input="\n".join(paths),
        capture_output=True,
        text=True,
        timeout=600,
        env=CHILD,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
    )
    assert done.returncode == 0, f"seed {seed}: {done}"
    *outcomes, peak = done.stdout.splitlines()
    assert len(outcomes) == len(paths)
    assert {o.split()[0] for o in outcomes} <= {"opened", "DIM_FILE_FORMAT", "DIM_FILE_CONTENT"}, f"seed {seed}: {outcomes}"
    assert not checksums or any("True" in o for o in outcomes), f"seed {seed}: no mutant ended a reader"
    assert int(peak) < 512 * 1024, f"seed {seed}: {peak} KB"


def test_a_crash_is_an_error_with_a_reason(tmp_path):
    made_of = sources(tmp_path, checksums=True)
    for path in mutants(tmp_path, random.Random(SEED), 400, made_of):
        try:
            Model.open(path, untrusted=True)
        except DimError as error:
            if "ended the isolated reader" in str(error):
                assert isinstance(error, FileFormatError)
                assert re.search(r"by signal \d+ \([A-Za-z ]+\): it is damaged, or made to do harm", str(error)), error
                assert path in str(error)
                return
    pytest.fail(f"seed {SEED}: no mutant ended a reader")


def test_missing_file():
    with pytest.raises(FileAccessError, match="No such file"):
        Model.open("/nonexistent/w.h5", untrusted=True)
