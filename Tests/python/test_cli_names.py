r"""Names of files are bytes, and come from others: \xNN for what is no text, nothing that steers a terminal or computes."""

import csv
import io
import json
import math
import os
import subprocess
import sys

import deepinfomax
import deepinfomax.search
import numpy as np
import pytest
from cli_fixtures import dim, write_images
from deepinfomax import _text
from PIL import Image

LATIN = b"caf\xe9"
#: The names of the images of `folder`, as bytes.
NAMES = [LATIN + b".png", b"\x1b[31mred\xe2\x80\xae.png", b"=1+1.png", b"line\nend.png", b"re\r=2.png", "\u732b.png".encode()]
#: How a terminal shows them, CSV has them, and JSON, HDF5 and npz.
SHOWN = [r"caf\xe9.png", r"\x1b[31mred\u202e.png", "=1+1.png", r"line\x0aend.png", r"re\x0d=2.png", "\u732b.png"]
CELLS = [r"caf\xe9.png", "\x1b[31mred\u202e.png", "'=1+1.png", "line\nend.png", "re\r=2.png", "\u732b.png"]
VALID = [r"caf\xe9.png", "\x1b[31mred\u202e.png", "=1+1.png", "line\nend.png", "re\r=2.png", "\u732b.png"]


def by_bytes(names):
    """In the order in which the folder's images are read."""
    order = sorted(range(len(NAMES)), key=lambda n: os.fsdecode(NAMES[n]))
    return [names[n] for n in order]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("names")
    (folder / "images" / os.fsdecode(LATIN)).mkdir(parents=True)
    (folder / "images" / "=class").mkdir()
    for number, name in enumerate(NAMES):
        for place in (b"", LATIN + b"/", b"=class/"):
            if place or number == 0:
                pixels = np.full((32, 32, 3), 40 * number, np.uint8)
                file = os.fsencode(folder / "images") + b"/" + place + name if place else os.fsencode(folder) + b"/" + name
                with open(file, "wb") as out:
                    Image.fromarray(pixels).save(out, "png")
    with deepinfomax.Model(5) as model:
        model.save(folder / "weights.h5")
    return folder


@pytest.fixture(scope="module")
def flat(folder):
    """The images without classes."""
    flat = folder / "flat"
    flat.mkdir()
    for name in NAMES:
        os.link(os.fsencode(folder / "images") + b"/" + LATIN + b"/" + name, os.fsencode(flat) + b"/" + name)
    return flat


def ran(*arguments, cwd, **options):
    done = dim(*arguments, cwd=cwd, encoding="utf-8", errors="strict", **options)
    assert done.returncode == 0, done
    assert "\x1b" not in done.stdout + done.stderr and "\u202e" not in done.stdout + done.stderr
    return done


def test_encode(folder, flat):
    h5py = pytest.importorskip("h5py")
    for name in ("a.csv", "a.npz", "a.h5"):
        ran("encode", "--data", flat, "--output", name, cwd=folder)
    with open(folder / "a.csv", newline="", encoding="utf-8") as file:
        assert [row["id"] for row in csv.DictReader(file)] == by_bytes(CELLS)
    with np.load(folder / "a.npz") as file:
        assert file["ids"].tolist() == by_bytes(VALID)
    with h5py.File(folder / "a.h5") as file:
        assert file["ids"].asstr()[:].tolist() == by_bytes(VALID)


def test_encode_with_classes(folder):
    h5py = pytest.importorskip("h5py")
    ran("encode", "--data", "images", "--output", "b.csv", cwd=folder)
    with open(folder / "b.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {(row["label"], row["class"]) for row in rows} == {("0", "'=class"), ("1", r"caf\xe9")}
    ran("encode", "--data", "images", "--output", "b.h5", cwd=folder)
    with h5py.File(folder / "b.h5") as file:
        assert file["classes"].asstr()[:].tolist() == ["=class", r"caf\xe9"]


def test_what_encode_writes_is_read_again(folder, flat):
    """Readers end a line at a carriage return that stands without quotes, which Python's csv writes."""
    for name in ("again.csv", "again.npz", "again.h5"):
        ran("encode", "--data", flat, "--output", name, cwd=folder)
        ran("map", "--data", flat, "--vectors", name, "--output", "again.png", cwd=folder)
    assert _text.csv_text(("a", "b"), [('x\r=1,"', None)]) == 'a,b\n"x\r=1,""",\n'


def test_names_on_the_command_line(folder):
    """What argparse says, and messages with a folder of a line end and of a byte that is not text."""
    name = b"caf\xe9\n\x1b[31m\tdir"
    for arguments in (
        ("map", name),
        ("train", "--images", "--out\x1b[1m=3"),
        ("encode", "--output", name + b"/no/x.npz", "--data", "images"),
        ("encode", "--output", "x.npz", "--outputs", b"\xe9"),
        ("train", "--measure", b"\xe9"),
        ("train", "--resume", name + b"/run"),
        ("info", name + b"/nope"),
    ):
        done = dim(*arguments, cwd=folder, encoding="utf-8", errors="strict")
        said = done.stdout + done.stderr
        assert done.returncode in (1, 2) and "\x1b" not in said and "udce9" not in said, said
        assert "caf" not in said or r"caf\xe9\x0a\x1b[31m\x09dir" in said, said


def test_map(folder):
    ran("map", "--data", "images", "--labelled", "--size", 200, "--output", "m.png", "--coordinates", "m.csv", cwd=folder)
    with open(folder / "m.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["class"] for row in rows} == {"'=class", r"caf\xe9"}
    assert any(float(row["x"]) < 0 for row in rows), "numbers are no formulas"


def test_classify(folder, flat):
    more = ("--data", "images", "--arms", "untrained", "--epochs", 2)
    done = ran("classify", *more, "--predict", flat, cwd=folder)
    lines = [line.split("\t") for line in done.stdout.splitlines() if "\t" in line]
    assert [line[0] for line in lines] == by_bytes(SHOWN) and {line[1] for line in lines} <= {"=class", r"caf\xe9"}
    ran("classify", *more, "--predict", flat, "--predictions", "p.csv", cwd=folder)
    with open(folder / "p.csv", newline="", encoding="utf-8") as file:
        assert [row["image"] for row in csv.DictReader(file)] == by_bytes(CELLS)
    report = json.loads(ran("classify", *more, "--predict", flat, "--json", cwd=folder).stdout)
    assert [one["image"] for one in report["predictions"]] == by_bytes(VALID)


def test_neighbours(folder, flat):
    own = os.fsencode(folder) + b"/" + NAMES[0]
    done = ran("neighbours", "0", own, "--data", flat, "--captions", "--output", "n.png", cwd=folder)
    assert r"caf\xe9.png" in done.stdout and r"line\x0aend.png" in done.stdout


@pytest.mark.parametrize(
    "name, shown",
    [(LATIN, r"$'caf\xe9'"), ("b\u00fccher".encode(), "'b\u00fccher'"), (b"$a$b", "'$a$b'"), (b"a\nb", r"$'a\x0ab'")],
)
def test_a_run_in_a_folder_of_any_name(folder, tmp_path, name, shown):
    """It lost an epoch at the end: the name could not be printed."""
    data = write_images(tmp_path / "images.npy", 8)
    arguments = ("train", "--data", data, "--batch", 4, "--output", name, "--report", "--validation-images", 0)
    done = ran(*arguments, "--epochs", 1, cwd=tmp_path)
    assert "a\nb" not in done.stdout, "a line of the name's own"
    found = os.listdir(os.fsencode(tmp_path) + b"/" + name)
    assert {b"weights.h5", b"checkpoint.h5", b"report.html"} <= set(found), found
    done = dim(*arguments, cwd=tmp_path, encoding="utf-8")
    assert done.returncode == 2 and f"--resume {shown}" in done.stderr, done.stderr
    words = subprocess.run(["bash", "-c", f"printf %s {shown}"], capture_output=True, check=True).stdout
    assert words == name, "the advice can be pasted"
    ran("train", "--resume", name, "--epochs", 2, cwd=tmp_path)


@pytest.mark.parametrize("words", ["info nothing.h5", "encode --data nothing --output a.csv", "convert nothing.h5 a.h5"])
def test_errors_with_such_names(folder, words):
    arguments = [word.replace("nothing", os.fsdecode(LATIN) + "\x1b[2J") for word in words.split()]
    done = dim(*arguments, cwd=folder, encoding="utf-8")
    assert done.returncode in (1, 2) and "Traceback" not in done.stderr and "\x1b" not in done.stdout + done.stderr, done
    assert r"caf\xe9\x1b[2J" in done.stdout + done.stderr, done


def test_a_terminal_in_ascii(tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (8, 32, 32, 3)).astype(np.uint8)
    np.savez(tmp_path / "b\u00fccher.npz", images=images, labels=np.arange(8) % 2, classes=np.array(["gr\u00fcn", "\u732b"]))
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    done = dim(
        "neighbours", "0", "--data", tmp_path / "b\u00fccher.npz", cwd=tmp_path, environment=ascii_only, encoding="ascii"
    )
    assert done.returncode == 0, done
    # In this locale the file's name is bytes that are no text; the classes are text that cannot be shown.
    assert r"b\xc3\xbccher.npz" in done.stdout and r"gr\xfcn" in done.stdout and r"\u732b" in done.stdout, done.stdout


def test_classes_that_a_weights_file_does_not_take_as_they_are(tmp_path):
    """Control characters, nothing at all, more than 255 bytes, half a surrogate pair: escaped and cut in the weights."""
    names = ["\x1b[31mred", "", "long" * 100 + "a", "long" * 100 + "b", "\u732b", "half \ud800"]
    images = np.random.default_rng(0).integers(0, 255, (48, 32, 32, 3)).astype(np.uint8)
    np.savez(tmp_path / "data.npz", images=images, labels=np.arange(48) % 6, classes=np.array(names))
    kept = [_text.class_name(name) for name in names]
    with deepinfomax.Model(0, "basic32") as model:
        model.save(tmp_path / "w.h5")
    how = ("--data", "data.npz", "--weights", "w.h5", "--arms", "frozen", "--epochs", 1, "--save", "c.h5")
    ran("classify", *how, cwd=tmp_path)
    with deepinfomax.Model.open(tmp_path / "c.h5") as model:
        assert model.class_names == kept and kept[0] == r"\x1b[31mred" and kept[1] == '""' and kept[4] == names[4]
        assert kept[5] == r"half \ud800"
    # They are recognised: other data with these names is labelled as the classifier has them.
    np.savez(tmp_path / "other.npz", images=images, labels=np.arange(48) % 2, classes=np.array(names[2:4]))
    ran("classify", "--data", "other.npz", "--weights", "c.h5", "--arms", "frozen", "--epochs", 0, cwd=tmp_path)
    ran("train", "--data", "data.npz", "--epochs", 1, "--probe", 0, "--no-plot", "--output", "run", cwd=tmp_path)
    with deepinfomax.Model.open(tmp_path / "run" / "weights.h5") as model:
        assert model.class_names == kept


#: A name that is no UTF-8, and would steer a terminal.
HOSTILE = b"\xe9\x1b\n\xe2\x80\xae"
HOSTILE_SHOWN = r"\xe9\x1b\x0a\u202e"


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Inputs that are all called HOSTILE: data, weights, vectors, an index, an image and a folder."""
    folder = tmp_path_factory.mktemp("own")
    name = os.fsencode(folder) + b"/" + HOSTILE
    images = np.random.default_rng(0).integers(0, 255, (40, 32, 32, 3)).astype(np.uint8)
    with deepinfomax.Model(0, "basic32") as model:
        model.save(folder / "weights.h5")
        y = model.encode(np.moveaxis(images, -1, 1).astype(np.float32) / 255, features=False)
    for ending, arrays in (b".npz", {"images": images, "labels": np.arange(40) % 2}), (b".vectors.npz", {"encoded": y}):
        with open(name + ending, "wb") as file:
            np.savez(file, **arrays)
    deepinfomax.search.Index(y).save(folder / "index.npz")
    for plain, ending in ("weights.h5", b".h5"), ("index.npz", b".index.npz"):  # Not named by what is tested.
        os.rename(os.fsencode(folder / plain), name + ending)
    os.mkdir(name)
    for path in name + b".png", name + b"/" + HOSTILE + b".png":
        with open(path, "wb") as file:
            Image.fromarray(images[0]).save(file, "png")
    return folder


@pytest.mark.parametrize(
    "command, outputs",
    [
        ("info NAME.h5", []),
        ("convert NAME.h5 NAME.new.safetensors", [".new.safetensors"]),
        ("encode --data NAME --weights NAME.h5 --output NAME.new.npz", [".new.npz"]),
        ("index --data NAME.npz --weights NAME.h5 --output NAME.i.npz", [".i.npz"]),
        ("index --data NAME.npz --vectors NAME.vectors.npz --output NAME.v.npz", [".v.npz"]),
        ("search 0 --index NAME.index.npz --data NAME.npz --html NAME.html --picture NAME.s.png", [".html", ".s.png"]),
        ("search NAME.png --index NAME.index.npz --weights NAME.h5", []),
        ("neighbours 0 --data NAME.npz --vectors NAME.vectors.npz --output NAME.n.png", [".n.png"]),
        ("map --data NAME.npz --vectors NAME.vectors.npz --size 200 --output NAME.m.png", [".m.png"]),
        (
            "classify --data NAME.npz --weights NAME.h5 --arms frozen --epochs 1 --predict NAME --predictions NAME.csv "
            "--save NAME.c.h5",
            [".csv", ".c.h5"],
        ),
        ("evaluate --data NAME.npz --weights NAME.h5 --rows weights --columns Y --judges knn --picture NAME.e.svg", [".e.svg"]),
    ],
    ids=lambda value: value.split()[0] if isinstance(value, str) else "",
)
def test_files_of_any_name(own, command, outputs):
    """Every command reads and writes them under their bytes, and shows them escaped, in one line."""
    for package in ("matplotlib", "sklearn") if ".svg" in command else ():
        pytest.importorskip(package)
    done = ran(*(os.fsencode(word).replace(b"NAME", HOSTILE) for word in command.split()), cwd=own)
    assert HOSTILE_SHOWN in done.stdout, done.stdout
    found = os.listdir(os.fsencode(own))
    assert all(HOSTILE + os.fsencode(ending) in found for ending in outputs), found


def test_classes_of_others_steer_no_terminal(tmp_path):
    names = ["a\u202e", "<script>", "b"]
    architecture = deepinfomax.Architecture({"preset": "basic28", "classifier": {"classes": 3}})
    with deepinfomax.Model(0, architecture) as model:
        model.class_names = names
        model.save(tmp_path / "c.h5")
    assert r"3 classes: a\u202e, <script>, b" in ran("info", "c.h5", cwd=tmp_path).stdout
    assert json.loads(ran("info", "c.h5", "--json", cwd=tmp_path).stdout)["files"][0]["classes"] == names
    pytest.importorskip("sklearn")
    images = np.random.default_rng(0).integers(0, 255, (24, 28, 28)).astype(np.uint8)
    arrays = {"x_train": images[:20], "y_train": np.arange(20) % 2, "x_test": images[20:], "y_test": [0, 2, 2, 2]}
    np.savez(tmp_path / "a.npz", **arrays, classes=np.array(["a", "b", "\x1b[31mred\n\u202e"]))
    how = ("--data", "a.npz", "--architecture", "basic28", "--rows", "pixels", "--judges", "knn", "--json")
    done = ran("evaluate", *how, cwd=tmp_path)
    assert r"such as \x1b[31mred\x0a\u202e: every judge is wrong" in done.stderr, done.stderr
    assert json.loads(done.stdout)["classes"] == ["a", "b", "\x1b[31mred\n\u202e"]


def test_a_page_of_images_of_any_name(tmp_path):
    """`dim search --html`: names of images, and that of the image that is searched for, are text."""
    (tmp_path / "photos").mkdir()
    names = [b"<script>alert(1)<!--.png", b"\"'&amp;.png", b"caf\xe9\x1b\xe2\x80\xae.png"]
    for number, name in enumerate(names):
        for place in b"photos/", b"":
            with open(os.fsencode(tmp_path) + b"/" + place + name, "wb") as file:
                Image.fromarray(np.full((32, 32, 3), 80 * number, np.uint8)).save(file, "png")
    ran("index", "--data", "photos", "--architecture", "basic32", "--output", "i.npz", cwd=tmp_path)
    how = ("--architecture", "basic32", "--index", "i.npz", "--data", "photos", "--html", "page.html")
    for words, figures in ((names, 12), (("--duplicates", "1e9"), 6)):
        ran("search", *words, *how, cwd=tmp_path)
        page = (tmp_path / "page.html").read_text("utf-8")
        assert page.count("<figure>") == figures and "<script" not in page and "<!--" not in page, page[:2000]
        assert "\x1b" not in page and "\u202e" not in page
        for text in "&lt;script&gt;alert(1)&lt;!--.png", "&quot;&#x27;&amp;amp;.png", r"caf\xe9\x1b\u202e.png":
            assert page.count(text) >= figures // 3, text


# ---- Parts


def test_text():
    assert [f"{_text.rounded(value, 2):+.2f}" for value in (-0.004, 0.004, -0.006, math.inf)] == [
        "+0.00",
        "+0.00",
        "-0.01",
        "+inf",
    ]
    assert _text.valid("a\udce9\ud800b\n") == "a\\xe9\\ud800b\n"
    assert _text.shown("a\udce9\x1b\u202e\u00e9\u3000\n\U000e0001") == "a\\xe9\\x1b\\u202e\u00e9\u3000\\x0a\\U000e0001"
    long = [_text.class_name("\u732b" * 100 + end) for end in "ab"]
    assert all(len(name.encode()) <= 255 for name in long) and long[0] != long[1]
    assert _text.class_name("a\x9f\x7f") == r"a\x9f\x7f"
    # Classes that the data does not have, and names that escaping makes the same.
    assert _text.class_names(["3", "60"], 4) == ["3", "60", "unused 2", "unused 3"]
    assert len(set(_text.class_names(["\x01", r"\x01", r"\x01 (1)", "b" * 300, "b" * 300 + "c"]))) == 5
    assert [_text.cell(name) for name in ("=1", "+1", "-1", "@a", " =1", "a=1", "1")] == [
        "'=1",
        "'+1",
        "'-1",
        "'@a",
        "' =1",
        "a=1",
        "1",
    ]
    quoted = [_text.cell(name) for name in ("=a", "'=a", "''=a", "'s")]
    assert quoted == ["'=a", "''=a", "'''=a", "'s"], "no two names become one"
    assert [_text.counted(n, "epoch") for n in (0, 1, 2000)] == ["0 epochs", "1 epoch", "2,000 epochs"]
    assert list(csv.reader(io.StringIO(_text.csv_text(("a", "b"), [("=x", -1.5)])))) == [["a", "b"], ["'=x", "-1.5"]]


def test_tables():
    rows = [["", "one"], ["\u732b", "12"], ["a longer name than sixteen", "3"]]
    lines = _text.table(rows)
    assert [_text.width(line) for line in lines] == [31, 31, 31], lines
    cut = _text.cut("images/of/a/very/long/place/0001.png", 20)
    assert len(cut) == 20 and cut.startswith("images/") and cut.endswith("/0001.png"), cut
    assert all(_text.width(_text.cut("\u732b" * 30, n)) <= n for n in (7, 8, 20))


def test_words_for_pasting():
    words = "dim", "--output", "-q", "a b", "ru\nn\udce9"
    assert " ".join(map(_text.shell_word, words)) == "dim --output -q 'a b' $'ru\\x0an\\xe9'"
    echoed = subprocess.run(["bash", "-c", "printf %s " + _text.shell_word(words[-1])], capture_output=True).stdout
    assert echoed == b"ru\nn\xe9"


def test_names_for_pasting():
    """A name that begins with a dash was an option."""
    assert [_text.shell(name) for name in ("run", "-run", "a b", "-a b", "/-x")] == [
        "run",
        "./-run",
        "'a b'",
        "'./-a b'",
        "/-x",
    ]


@pytest.mark.parametrize(
    "locale", [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"LC_ALL": "de_DE.ISO-8859-1"}]
)
def test_names_are_the_same_in_every_locale(tmp_path, locale):
    """A run's own data was refused under another locale, and classes had other names."""
    if locale["LC_ALL"] != "C":
        made = subprocess.run(
            ["localedef", "-i", "de_DE", "-f", "ISO-8859-1", tmp_path / locale["LC_ALL"]], capture_output=True
        )
        if not (tmp_path / locale["LC_ALL"]).is_dir():
            pytest.skip(f"no such locale: {made.stderr.decode()[:100]}")
        locale = {**locale, "LOCPATH": str(tmp_path), "PYTHONUTF8": "0"}
    for name in "\u00e9", "\u6f22":
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(2):
            Image.new("RGB", (32, 32), (number, 0, 0)).save(tmp_path / "data" / name / f"\u00f1{number}.png")
    program = (
        "import json, sys, deepinfomax.data as d\ndata = d.open_dataset(sys.argv[1], labelled=True)\n"
        "data.read(slice(None))\nprint(json.dumps([sys.getfilesystemencoding(), list(data.ids), data.classes]))"
    )
    environment = {**os.environ, **locale, "PYTHONPATH": os.path.dirname(os.path.dirname(deepinfomax.__file__))}
    done = subprocess.run([sys.executable, "-c", program, tmp_path / "data"], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    encoding, ids, classes = json.loads(done.stdout)
    assert encoding != "utf-8"
    assert ids == ["\u00e9/\u00f10.png", "\u00e9/\u00f11.png", "\u6f22/\u00f10.png", "\u6f22/\u00f11.png"]
    assert classes == ["\u00e9", "\u6f22"]
