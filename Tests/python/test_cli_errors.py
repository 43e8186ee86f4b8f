"""Wrong arguments, errors by kind, exit codes, --quiet, completion."""

import errno
import functools
import importlib.util
import json
import os
import pickle
import shlex
import signal
import subprocess
import sys
import time
import weakref

import deepinfomax
import pytest
from cli_fixtures import COMMAND, ENVIRONMENT, PACKAGE, PATIENCE, dim, start, usual_signals, write_images
from deepinfomax import cli, errors
from deepinfomax.commands import UsageError
from deepinfomax.commands._errors import explained
from deepinfomax.data import DataError, MissingPackage

# ---- What is typed wrongly


def test_alone_it_shows_what_to_do_first():
    done = dim()
    assert done.returncode == 2 and done.stdout == ""
    assert "First steps" in done.stderr and "dim train --epochs 2 --output first" in done.stderr
    for line in done.stderr.splitlines():
        if line.startswith("  dim "):
            command, *options = line.split("   ")[0].split()[1:]
            assert dim(command, "--help").stdout.count(options[0]), line


@pytest.mark.parametrize(
    "arguments, option, why",
    [
        ("classify --arms frozen --checkpoint kept", "--checkpoint", "without the arm end-to-end"),
        ("classify --checkpoint-every 3", "--checkpoint-every", "without --checkpoint"),
        ("classify --arms frozen --end-to-end-epochs 4", "--end-to-end-epochs", "without the arm end-to-end"),
        ("classify --arms pixels --lr 3", "--lr", "on the arm pixels"),
        ("classify --weights w.h5 --epochs 0 --data x --batch 3", "--batch", "with --epochs 0"),
        ("classify --weights w.h5 --epochs 0 --predict x --seeds 1,2", "--seeds", "without --data"),
        ("classify --weights w.h5 --epochs 0 --data x --checkpoint kept", "--checkpoint", "with --epochs 0"),
        ("evaluate --judges logistic --neighbours 3", "--neighbours", "without knn or knn-cosine in --judges"),
        ("evaluate --mlp-steps 3", "--mlp-steps", "without mlp in --judges"),
        ("evaluate --fine-tune-steps 3", "--fine-tune-steps", "without --labels, or a row that is fine-tuned in --rows"),
        ("search --duplicates 0.1 --approximate", "--approximate", "with --duplicates"),
        ("search --duplicates 0.1 --count 3", "--count", "with --duplicates"),
        ("search 1 --most 5", "--most", "without --duplicates"),
        ("search 1 --weights w.h5", "--weights", "without an image file, --picture or --html"),
        ("search --duplicates 1 --resize crop", "--resize", "without an image file, --picture or --html"),
        ("search cat.png --split train", "--split", "without --picture or --html"),
        ("convert a.h5 b.h5 --epoch 3", "--epoch", "without --original"),
        ("evaluate --untrusted", "--untrusted", "without --weights"),
        ("encode --output y.npz --untrusted", "--untrusted", "without --weights"),
        ("train --untrusted", "--untrusted", "without --weights or --resume"),
        ("encode --output y.npz --weights w.h5 --seed 3", "--seed", "with --weights"),
        ("evaluate --seeds 0,1 --seed 3", "--seed", "with --seeds"),
        ("classify --seeds 0,1 --seed 3", "--seed", "with --seeds"),
        ("classify --arms pixels,end-to-end --epochs 5", "--epochs", "on the arms end-to-end and pixels alone"),
        ("info --architecture basic28 --shapes", "--shapes", "without a weights file"),
        ("index --weights w.h5 --seed 3", "--seed", "with --weights"),
        ("index --vectors y.npz --seed 3", "--seed", "with --vectors alone"),
        ("index --vectors y.npz --resize crop", "--resize", "with --vectors alone"),
        ("neighbours 1 --weights w.h5 --seed 3", "--seed", "with IMAGE and --weights"),
        ("neighbours 1 --vectors y.npz --seed 3", "--seed", "with IMAGE and --vectors alone"),
        ("neighbours cat.png --others", "--others", "with files alone: none of them is in the data"),
        ("classify --weights w.h5 --epochs 0 --predict x --seed 7", "--seed", "without --data"),
        ("search cat.png --weights w.h5 --seed 3", "--seed", "with --weights"),
        ("train --timeout 3", "--timeout", "without mpirun or srun"),
        ("encode --output y.npz --timeout 3", "--timeout", "without mpirun or srun"),
        ("evaluate --weights w.h5 --rows pixels", "--weights", "on the row pixels"),
        ("evaluate --rows pixels,supervised --columns fc", "--columns", "on the row pixels, and on rows that are fine-tuned"),
        ("evaluate --rows supervised --judges knn", "--judges", "on rows that are fine-tuned alone"),
        (
            "evaluate --rows weights --weights w.h5 --seeds 0,1",
            "--seeds",
            "on these rows and judges, which draw nothing at random",
        ),
        ("search 1 --seed 3", "--seed", "without an image file, --picture or --html"),
        ("evaluate --rows weights --weights w.h5 --seed 3", "--seed", "on these rows and judges, which draw nothing at random"),
    ],
)
def test_options_without_an_effect(arguments, option, why):
    parsed = cli._parsed(arguments.split())
    with pytest.raises(UsageError, match=f"^{option}: has no effect {why}$"):
        cli._check_effects(parsed, cli.module_of(parsed.command))


def test_options_with_an_effect(tmp_path):
    for arguments in (
        "classify --checkpoint kept --checkpoint-every 3 --end-to-end-epochs 4 --lr 3",
        "classify --weights w.h5 --epochs 0 --data x --seeds 1,2 --predict y",
        "evaluate --judges knn-cosine,mlp --neighbours 3 --mlp-steps 3 --labels 20 --fine-tune-steps 3",
        "search 1 --approximate --count 3",
        "search 1 cat.png --weights w.h5 --resize crop",
        "search 1 --data x --html y.html --weights w.h5 --split train",
        "convert a.h5 b --original --epoch 3",
        "convert a.h5 b.h5 --untrusted",
        "info a.h5 --untrusted",
        "map --weights w.h5 --untrusted",
        "train --resume run --untrusted",
        "encode --output y.npz --seed 3",
        "evaluate --seeds 0,1 --seed 3 --train-limit 50",
        "evaluate --rows weights --weights w.h5 --seed 3 --train-limit 50",
        "evaluate --rows weights --weights w.h5 --seed 3 --judges svm",
        "evaluate --rows fine-tuned --fine-tune-steps 3",
        "evaluate --rows weights,untrained --weights w.h5 --seeds 0,1 --columns fc --judges knn",
        "evaluate --rows pixels --seeds 0,1 --judges mlp",
        "evaluate --rows pca --columns Y --judges knn --weights w.h5",
        "evaluate --rows projection,pixels --columns Y --judges knn",
        "classify --arms pixels,untrained --epochs 5",
        "index --vectors y.npz --architecture basic32 --seed 3 --resize crop",
        "index --vectors y.npz --weights w.h5 --resize crop",
        "classify --weights w.h5 --epochs 0 --predict x --data y --seed 7",
        "neighbours --weights w.h5 --seed 3",
        "neighbours 1 --seed 3",
        "neighbours 1 cat.png --vectors y.npz --seed 3",
        "search cat.png --seed 3",
        "map --weights w.h5 --seed 3",
    ):
        parsed = cli._parsed(arguments.split())
        cli._check_effects(parsed, cli.module_of(parsed.command))
    several = cli._parsed("evaluate --weights a.h5 --weights b.h5 c.h5".split())
    assert several.weights == ["a.h5", "b.h5", "c.h5"], "the last were all"
    done = dim("search", "--duplicates", "0.1", "--count", "3", cwd=tmp_path)
    assert done.returncode == 2 and "dim search: --count: has no effect with --duplicates" in done.stderr, done.stderr


def test_help():
    assert dim("help").stdout == dim("--help").stdout != ""
    assert dim("help", "train").stdout == dim("train", "--help").stdout != ""


@pytest.mark.parametrize(
    "arguments, usage, message",
    [
        ("trian --epochs 2", "usage: dim [-h]", "there is no command 'trian'; did you mean train?"),
        ("neighbors", "usage: dim [-h]", "did you mean neighbours?"),
        ("evaluate --split test", "usage: dim evaluate ", "dim evaluate: error: unrecognized arguments: --split\n"),
        ("encode --ouptut a.npy", "usage: dim encode ", "unrecognized arguments: --ouptut; did you mean --output?"),
        ("train --learning-rate 0.1", "usage: dim train ", "unrecognized arguments: --learning-rate; did you mean --lr?"),
        ("train --batch_size=8", "usage: dim train ", "unrecognized arguments: --batch_size=8; did you mean --batch?"),
        ("help trian", "usage: dim [-h]", "there is no command 'trian'; did you mean train?"),
        ("train --split all", "usage: dim train ", "unrecognized arguments: --split\n"),
        ("map --count 3", "usage: dim map ", "unrecognized arguments: --count\n"),
        ("search --grid 3", "usage: dim search ", "unrecognized arguments: --grid\n"),
        ("encode --output a.npy b.npy", "usage: dim encode ", "unrecognized arguments: b.npy"),
        (
            "neighbours 3 --count 2 cat.png",
            "usage: dim neighbours ",
            "unrecognized arguments: cat.png; every IMAGE stands at one place, before or after the options",
        ),
        ("train --epochs", "usage: dim train ", "expected one argument"),
        ("train --prior adverserial", "usage: dim train ", "did you mean adversarial?"),
        ("train --epochs many", "usage: dim train ", "argument --epochs: expected a whole number, found 'many'"),
        ("encode --limit=--", "usage: dim encode ", "argument --limit: expected a value, found --"),
        ("map --limit 0", "usage: dim map ", "argument --limit: expected at least 1, found 0"),
        ("map --limit 99999999999999999999", "usage: dim map ", "99999999999999999999 is too large"),
        ("--verison", "usage: dim [-h]", "dim: error: unrecognized arguments: --verison; did you mean --version?\n"),
        ("--json info", "usage: dim [-h]", "--json: expected the command first, then its options: dim info --json"),
    ],
)
def test_mistyped(arguments, usage, message):
    done = dim(*arguments.split())
    assert done.returncode == 2 and done.stdout == "", done
    assert done.stderr.startswith(usage) and message in done.stderr, done.stderr


# ---- Errors by kind


@pytest.mark.parametrize(
    "error, message",
    [
        (UsageError("no"), "no"),
        (DataError("a.npz: damaged"), "a.npz: damaged"),
        (MissingPackage("Pillow", "it needs"), "it needs Pillow"),
        (deepinfomax.LibraryNotFound("not found"), "not found"),
        (errors.OutOfMemory("no memory", 40, "DIM_OUT_OF_MEMORY"), "no memory"),
        (MemoryError(), "there is not enough memory"),
        (FileNotFoundError(2, "No such file or directory", "a"), "a: No such file or directory"),
        (FileNotFoundError(2, "No such file or directory", b"caf\xe9"), r"caf\xe9: No such file or directory"),
        (OSError("odd"), "odd"),
        (UnicodeEncodeError("ascii", "\u00fc", 0, 1, "ordinal not in range"), "ascii"),
        (ValueError("x: expected 1"), "x: expected 1"),
        (ImportError("no module"), "no module"),
    ],
)
def test_a_users_mistake_is_one_line(monkeypatch, capsys, error, message):
    code = raising(monkeypatch, error)
    err = capsys.readouterr().err
    assert code == 2 and err.startswith("dim info: ") and message in err and err.count("\n") == 1


@pytest.mark.parametrize(
    "error", [KeyError("x"), TypeError("y"), AssertionError(), errors.InternalError("broken", 90, "DIM_INTERNAL")]
)
def test_a_defect_says_so(monkeypatch, capsys, error):
    code = raising(monkeypatch, error)
    err = capsys.readouterr().err
    assert code == 70 and "Traceback" in err and "this is a defect of dim: please report it" in err


def raising(monkeypatch, error):
    from deepinfomax.commands import info

    def run(arguments):
        raise error

    monkeypatch.setattr(info, "run", run)
    return cli.main(["info"])


def test_the_traceback_can_be_had(monkeypatch, capsys):
    monkeypatch.setenv("DIM_TRACEBACK", "1")
    assert raising(monkeypatch, ValueError("x")) == 2 and "Traceback" in capsys.readouterr().err


def test_a_signal_that_python_drops_is_sent_again(monkeypatch, capsys):
    """What is raised in a callback of a weak reference is printed and lost: h5py has such callbacks all the time."""
    from deepinfomax.commands import info

    before, hook = signal.signal(signal.SIGINT, signal.default_int_handler), sys.unraisablehook
    others = (signal.SIGXCPU, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGIO, signal.SIGPWR)
    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130), *((number, 128 + number) for number in others)):

        def signalled(_, number=number):
            os.kill(os.getpid(), number)
            time.sleep(0)

        def run(arguments, signalled=signalled):
            thing = type("Thing", (), {})()
            watching = weakref.ref(thing, signalled)
            del thing
            time.sleep(PATIENCE)
            return 0 if watching else 1

        monkeypatch.setattr(info, "run", run)
        try:
            assert cli.main(["info"]) == code
        finally:
            signal.signal(signal.SIGINT, before if number == others[-1] else signal.default_int_handler)
        assert "Traceback" not in capsys.readouterr().err and sys.unraisablehook is hook


# ---- Numbers and names


@pytest.mark.parametrize(
    "arguments, message",
    [
        (
            "train --negatives 99999999999999999999",
            "--negatives: expected all, rotation or a number from 1 to 2147483647, found",
        ),
        (
            "train --locations 9999999999999 --epochs 1",
            "--locations: expected 1 or more, at most 4294967295, found 9999999999999",
        ),
        ("check --train --recorded --steps 99999999999999999999", "--steps: 99999999999999999999 is too large"),
        ("check --train --steps 0", "--steps: expected at least 1, found 0"),
        ("train --epochs 1_0", "--epochs: expected a whole number, found '1_0'"),
        ("train --lr 1_0", "--lr: expected a number, found '1_0'"),
        ("search --duplicates x --index i.npz", "--duplicates: expected a number, found 'x'"),
        pytest.param("info --threads " + 6000 * "9", "9999999 is too large", id="threads"),
        pytest.param("check --seed " + 6000 * "9", "9999999 is too large", id="seed"),
        pytest.param("check --seed -" + 700 * "9", "9999999 is too large", id="below"),
        pytest.param("train --epochs " + 6000 * "9", "9999999 is too large", id="epochs"),
        pytest.param("evaluate --seeds 1," + 6000 * "9", "9999999 is too large", id="seeds"),
        ("encode --output y.npz --seed 1.5", "--seed: expected a whole number, found '1.5'"),
    ],
)
def test_numbers_that_are_too_large_are_told_shortly(tmp_path, arguments, message):
    """One was "expected a number from 1 on, found 99999999999999999999", another came back with all of its 6,000 digits."""
    done = dim(*arguments.split(), cwd=tmp_path)
    assert done.returncode == 2 and message in done.stderr and len(done.stderr.splitlines()[-1]) < 300, done.stderr
    assert not list(tmp_path.iterdir())


def test_weights_of_another_architecture_in_a_check(tmp_path):
    """It advised what only a function takes: `networks`."""
    deepinfomax.Model(0, architecture="basic28").save(tmp_path / "w.h5")
    done = dim("check", "--recorded", "--weights", tmp_path / "w.h5")
    assert done.returncode == 2 and "they differ in image, encoder" in done.stderr and "networks" not in done.stderr, (
        done.stderr
    )
    assert "; dim check --architecture compares one with PyTorch" in done.stderr


@pytest.mark.parametrize("option", ["--architecture", "--config"])
def test_descriptions_may_come_through_pipes_that_somebody_writes_to(tmp_path, option):
    """A pipe without a writer was waited for."""
    write_images(tmp_path / "few.npz", 4)
    words = ("train", "--data", "few.npz", "--epochs", 1, "--batch", 2, "--no-plot")
    os.mkfifo(tmp_path / "pipe")
    done = dim(*words, option, "pipe", cwd=tmp_path, timeout=PATIENCE)
    assert done.returncode == 2 and "pipe: is a pipe that is empty, or that nobody writes to yet" in done.stderr, done.stderr
    content = '{"preset": "basic32"}' if option == "--architecture" else '{"lr": 0.001}'
    line = shlex.join([*COMMAND, *map(str, words), option]) + f" <(sleep 0.3; echo '{content}')"
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr


# ---- Exceptions


@pytest.mark.parametrize(
    "path, kind, number",
    [
        ("nothing.h5", FileNotFoundError, 2),
        ("file/a.h5", NotADirectoryError, 20),
        (os.fsdecode(b"caf\xe9.h5"), FileNotFoundError, 2),
        ("a\x1bb\\x1b.h5", FileNotFoundError, 2),
    ],
)
def test_a_file_access_error_is_what_it_seems(tmp_path, path, kind, number):
    (tmp_path / "file").write_text("")
    path = tmp_path / path
    for call in (deepinfomax.Model.open, deepinfomax.Trainer.resume):
        with pytest.raises(kind) as caught:
            call(path)
        error = caught.value
        assert isinstance(error, deepinfomax.FileAccessError) and isinstance(error, OSError)
        assert (error.errno, error.strerror, error.filename) == (number, os.strerror(number), str(path)), vars(error)
        assert str(tmp_path) in str(error) and "DIM_IO" in repr(error)
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error) and str(again) == str(error) and vars(again) == vars(error)
        assert (again.errno, again.filename, again.status_name) == (number, str(path), "DIM_IO")
    with pytest.raises(deepinfomax.FileAccessError) as caught:
        deepinfomax.Model(0).save(tmp_path / "nowhere" / path.name)
    assert caught.value.errno == 2 and caught.value.filename == str(tmp_path / "nowhere" / path.name)


def test_advice_is_of_commands():
    message = 'a.h5: the checkpoint is of kind "classifier"; Trainer.resume reads "objective"'
    error = deepinfomax.FileContentError(message, 32, "DIM_FILE_CONTENT")
    assert explained(error) == message.replace("Trainer.resume", "--resume")


def test_a_path_that_is_too_long():
    """errno and filename were None."""
    path = "/" + 4095 * "a"
    for call in deepinfomax.Model.open, deepinfomax.Trainer.resume, deepinfomax.Model(0).save:
        with pytest.raises(OSError, match="File name too long: expected at most 4095 bytes") as caught:
            call(path)
        assert (caught.value.errno, caught.value.filename) == (errno.ENAMETOOLONG, path)


def test_a_file_access_error_without_a_reason(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(deepinfomax.FileAccessError) as caught:
        deepinfomax.Model.open(tmp_path / "fifo")
    assert caught.value.errno is None and caught.value.strerror is None and "it is a FIFO" in str(caught.value)


def test_every_error_goes_through_a_pool():
    for status, kind in errors.BY_STATUS.items():
        error = kind("a: No such file or directory", status, "DIM_X")
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error) and (str(again), again.status) == (str(error), status)


def test_a_current_folder_that_was_removed(tmp_path):
    """It was "output: No such file or directory"."""
    write_images(tmp_path / "few.npz", 4)
    for words in ["encode", "--output", "v.npz"], ["train", "--epochs", "1"]:
        (tmp_path / "here").mkdir()
        gone = tmp_path / "here"
        # Python itself does not start there with a relative path in PYTHONPATH.
        there = {"cwd": gone, "preexec_fn": functools.partial(os.rmdir, gone), "environment": {"PYTHONPATH": PACKAGE}}
        done = dim(*words, "--data", tmp_path / "few.npz", **there)
        assert done.returncode == 2 and "the current folder was removed" in done.stderr, done.stderr


# ---- --quiet


#: Of every command, a run that succeeds.
RUNS = {
    "info": "",
    "encode": "--data few.npz --output a.npy",
    "map": "--data few.npz --size 200",
    "neighbours": "--data few.npz",
    "index": "--data few.npz --weights w.h5",
    "search": "0 --index index.npz",
    "classify": "--data few.npz --arms untrained --epochs 1",
    "evaluate": "--data digits --weights w.h5 --seeds 0 --train-limit 100 --limit 60",
    "convert": "w.h5 v.h5",
    "train": "--data few.npz --batch 4 --epochs 1 --no-plot",
    "check": "--recorded",
}


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_quiet(tmp_path, command):
    write_images(tmp_path / "few.npz", 12, labels=True)
    with deepinfomax.Model(5) as model:
        model.save(tmp_path / "w.h5")
    if command == "search":
        assert dim("index", *RUNS["index"].split(), cwd=tmp_path).returncode == 0
    done = dim(command, *RUNS[command].split(), "--quiet", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_picture_without_a_home(tmp_path):
    """As a service's user has none: matplotlib told where its cache is instead, also with --quiet."""
    pytest.importorskip("matplotlib")
    write_images(tmp_path / "few.npz", 12, labels=True)
    (tmp_path / "no-folder").write_text("")
    home = {"HOME": str(tmp_path / "no-folder" / "home"), "XDG_CONFIG_HOME": "", "XDG_CACHE_HOME": "", "MPLCONFIGDIR": ""}
    done = dim(
        "train", "--data", "few.npz", "--batch", 4, "--epochs", 1, "--output", "run", "--quiet", cwd=tmp_path, environment=home
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "") and (tmp_path / "run" / "curves.png").exists()


def test_quiet_does_not_silence_json_or_errors(tmp_path):
    assert json.loads(dim("info", "-q", "--json").stdout)
    done = dim("info", "nothing.h5", "--quiet", cwd=tmp_path)
    assert done.returncode == 1
    done = dim("encode", "--quiet", "--data", "nothing", "--output", "a.npy", cwd=tmp_path)
    assert done.returncode == 2 and "no such file" in done.stderr


# ---- Signals


@pytest.mark.parametrize("way", ["module", "script", "library"])
def test_ctrl_c_during_the_imports(tmp_path, way):
    """A traceback of Python's imports came. A program that imports the package has its own way with Ctrl-C."""
    (tmp_path / "numpy.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    (tmp_path / "dim").write_text("import sys\nfrom deepinfomax.cli import main\nsys.exit(main())\n")
    words = {"module": ["-m", "deepinfomax"], "script": [str(tmp_path / "dim")], "library": ["-c", "import deepinfomax"]}[way]
    environment = ENVIRONMENT | {"PYTHONPATH": os.pathsep.join([str(tmp_path), ENVIRONMENT["PYTHONPATH"]])}
    done = subprocess.run(
        [sys.executable, *words, "info"], env=environment, capture_output=True, text=True, preexec_fn=usual_signals
    )
    assert done.returncode == -signal.SIGINT
    assert ("KeyboardInterrupt" in done.stderr) == (way == "library") and (way == "library" or done.stderr == ""), done.stderr


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """1,200 images, and the seconds of a processor that encoding all of them takes."""
    images = write_images(tmp_path_factory.mktemp("signals") / "many.npy", 1200)
    running = start("encode", "--data", images, "--output", images.with_name("a.npy"), "--threads", 1)
    return images, processor_time(running, 0)


def processor_time(running, expected):
    """Of a command when it has ended: user's and system's, whatever else the machine does."""
    with running:
        err = running.stderr.read()
        _, status, usage = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
    assert running.returncode == expected and "Traceback" not in err, err
    return usage.ru_utime + usage.ru_stime


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_leaves_no_half_of_a_file(tmp_path, whole, number):
    """In the middle of one batch of all images."""
    images, whole_time = whole
    running = start("encode", "--data", images, "--output", tmp_path / "a.npy", "--batch", 1200, "--threads", 1)
    wait_for(lambda: os.listdir(tmp_path))
    time.sleep(0.5)  # By then it encodes.
    running.send_signal(number)
    took = processor_time(running, 128 + number)
    assert os.listdir(tmp_path) == []
    assert took < 0.5 * whole_time, "it waited for the end"


def wait_for(true):
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# ---- Completion


def completions(line, folder):
    """What a shell would offer after `line`: argcomplete's protocol."""
    answer = folder / "answer"
    environment = ENVIRONMENT | {
        "_ARGCOMPLETE": "1",
        "COMP_LINE": line,
        "COMP_POINT": str(len(line)),
        "_ARGCOMPLETE_IFS": "\n",
        "_ARGCOMPLETE_STDOUT_FILENAME": str(answer),
    }
    subprocess.run(COMMAND, env=environment, capture_output=True, timeout=PATIENCE, preexec_fn=usual_signals)
    return {word.strip() for word in answer.read_text().split("\n")}


@pytest.mark.skipif(importlib.util.find_spec("argcomplete") is None, reason="argcomplete completes")
def test_completion(tmp_path):
    assert {"train", "encode", "map"} <= completions("dim ", tmp_path)
    assert "--output" in completions("dim encode --ou", tmp_path)
    assert completions("dim train --prior ", tmp_path) >= {"monolithic", "adversarial"}


def test_completion_asks_argcomplete(tmp_path):
    """The shell's question reaches the package, with a parser that knows every command's options."""
    (tmp_path / "argcomplete.py").write_text(
        "import sys\n"
        "def autocomplete(parser):\n"
        "    commands = next(action for action in parser._actions if action.dest == 'command').choices\n"
        "    print({name: len(one._actions) for name, one in commands.items()})\n"
        "    sys.exit(3)\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])
    done = dim(environment={"_ARGCOMPLETE": "1", "PYTHONPATH": path})
    assert done.returncode == 3, done
    known = eval(done.stdout)
    assert set(known) == set(cli.COMMANDS) and all(count > 3 for count in known.values()), known
    source = open(cli.__file__).read(1024)
    assert "PYTHON_ARGCOMPLETE_OK" in source, "argcomplete looks for it there"
    assert "argcomplete" not in sys.modules
