"""report.html: one file that needs no other."""

import dataclasses
import json
import re
import shutil
from html.parser import HTMLParser

import deepinfomax
import numpy as np
import pytest
from cli_fixtures import dim
from deepinfomax import report
from deepinfomax.data import DataError
from deepinfomax.plots import curves, svg
from deepinfomax.run_folder import RunFolder


class Page(HTMLParser):
    """Collects tags and what they refer to; complains about an end without its beginning."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.references = [], set(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.references += [value for name, value in attributes if name in ("src", "href", "xlink:href")]
        if tag not in ("meta", "img", "path", "circle", "polyline", "rect"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in self.open:
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "images.npz"
    images = np.random.default_rng(0).integers(0, 256, (30, 32, 32, 3)).astype(np.uint8)
    np.savez(path, images=images, labels=np.arange(30) % 3, classes=np.array(["<cat>", "dog", "eel"]))
    return path


@pytest.fixture(scope="module")
def run(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "my run"
    done = dim("train", "--data", data, "--epochs", 2, "--batch", 9, "--output", folder, "--no-plot", "--report")
    assert done.returncode == 0, done.stderr
    assert f"report in {folder / 'report.html'}" in done.stdout
    return folder


def test_dim_train_writes_it(run):
    text = (run / "report.html").read_text("utf-8")
    page = Page(text)
    assert page.open == [] and "script" not in page.tags and "link" not in page.tags
    assert page.references and all(reference.startswith("data:image/png;base64,") for reference in page.references)
    assert not re.search(r"https?://", text), "no network"
    for part in ("Curves", "Map", "Neighbours", "Classes", "Architecture", "Settings", "nce"):
        assert part in text
    drawn = re.findall(r'<svg [^>]*aria-label="([^"]*)"', text)
    assert {"total", "local", "coordinates", "linear probe", "5 nearest neighbours"} <= {*drawn} and "polyline" in page.tags
    assert len(drawn) == len({*drawn}) == text.count("<svg")
    head = text[: text.index("Verdict</h2>")]
    assert re.search(r"<code>dim train --data \S+ --epochs 2 ", head) and re.search(r"Started 20\d\d-\d\d-\d\d", head)
    assert re.search(r"written 20\d\d-\d\d-\d\d \d\d:\d\d UTC", head)
    for chart in re.findall(r"<svg.*?</svg>", text):  # Held-out images look the same in all: lines with dots.
        assert (report.VALIDATION in chart) == ("<circle" in chart), chart[:200]
    assert "&lt;cat&gt;" in text and "<cat>" not in text, "names of classes are not markup"


def test_one_epoch(run):
    """It was "after 1 epochs"."""
    folder = RunFolder(run)
    halves = [dataclasses.replace(row, epoch=row.epoch / 2) for row in folder.read_metrics()]
    assert "<th>after 1 epoch</th>" in report._verdict(halves, folder.read_settings())


def test_of_a_run_of_before(run, tmp_path):
    path = report.write(run, path=tmp_path / "a.html", images=12)
    assert path == tmp_path / "a.html" and "it needs 20 at least" in path.read_text("utf-8")


def test_of_a_complete_run_whose_data_has_moved(run, data, tmp_path):
    """It took an epoch more, which changed the weights."""
    folder, moved = tmp_path / "run", tmp_path / "moved.npz"
    shutil.copytree(run, folder)
    (folder / report.NAME).unlink(missing_ok=True)
    shutil.copy(data, moved)
    settings = json.loads((folder / "settings.json").read_text()) | {"data": str(tmp_path / "nowhere.npz")}
    (folder / "settings.json").write_text(json.dumps(settings))
    weights = (folder / "weights.h5").read_bytes()
    assert "the run is complete" in dim("train", "--resume", folder, "--data", moved).stderr
    done = dim("train", "--resume", folder, "--data", moved, "--report")
    assert done.returncode == 0 and f"report in {folder / report.NAME}" in done.stdout, done.stderr
    assert b"<svg" in (folder / report.NAME).read_bytes() and (folder / "weights.h5").read_bytes() == weights


@pytest.mark.parametrize("name", ["weights.h5", "checkpoint.h5", "metrics.csv", "settings.json"])
def test_a_page_is_not_written_over_the_run(run, name):
    before = (run / name).read_bytes()
    with pytest.raises(ValueError, match=f"{name}: is a file of the run; expected another name"):
        report.write(run, path=run / ".." / run.name / name)
    assert (run / name).read_bytes() == before


def test_nor_through_a_link(run, tmp_path):
    (tmp_path / "page.html").symlink_to(run / "weights.h5")
    before = (run / "weights.h5").read_bytes()
    with pytest.raises(ValueError, match="page.html: is a file of the run"):
        report.write(run, path=tmp_path / "page.html")
    assert (run / "weights.h5").read_bytes() == before


def test_a_page_replaces_pages_alone(run, tmp_path, monkeypatch):
    """It replaced a photograph, and the file of the data set, and could become one of the images."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(ValueError, match="photo.png: is no page; expected a new name"):
        report.write(run, path=tmp_path / "photo.png")
    assert (tmp_path / "photo.png").read_bytes() == b"\x89PNG\r\n\x1a\n"
    with pytest.raises(ValueError, match="a.png: would become one of the images of images"):
        report.check_target(tmp_path / "images" / "a.png", "images")
    report.check_target(tmp_path / "images" / "a.html", "images")
    (tmp_path / "before.html").write_bytes(b"<!DOCTYPE html>...")
    report.check_target(tmp_path / "before.html", None)


def test_other_data_of_the_same_name(run, data):
    """It showed the other images, without a word."""
    before = data.read_bytes()
    arrays = dict(np.load(data))
    np.savez(data, **(arrays | {"images": arrays["images"][::-1]}))
    try:
        with pytest.raises(DataError, match="not the data that the run was started with: as many images, but others"):
            report.write(run, images=5)
    finally:
        data.write_bytes(before)


def test_what_cannot_be_written(run, tmp_path):
    with pytest.raises(OSError, match="nothing"):
        report.write(run, path=tmp_path / "nothing" / "a.html", images=5)
    with pytest.raises(OSError):
        report.write(tmp_path)
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(ValueError, match="settings"):
        report.write(tmp_path, deepinfomax.Model(0))


def test_terms_that_the_objective_has_not_are_not_drawn(run):
    """The global term's and the prior's curves lay at 0, on axes from -1e-09 to 1e-09."""
    drawn = re.findall(r'<svg [^>]*aria-label="([^"]*)"', (run / "report.html").read_text("utf-8"))
    assert "local" in drawn and not {"global", "prior"} & {*drawn}
    rows = RunFolder(run).read_metrics()
    drawn = [name for _, name in curves.losses(rows)]
    assert drawn[:3] == ["total", "local", "coordinates"] and "prior" not in drawn
    both = [dataclasses.replace(row, global_=0.5) for row in rows]
    assert [name for _, name in curves.losses(both)][:3] == ["total", "local", "global"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "values", [[], [1.0], [2.0, 2.0], [1.0, float("nan"), 3.0], [1e-9, 2e-9], [-5.0, 1e6], [1, 2.0, 1.7e308, -1.7e308, -np.inf]]
)
def test_curves_of_odd_values(values):
    chart = svg.chart("a < b", [svg.Curve("c", list(range(len(values))), values, "#000", 1)], "x")
    assert Page(chart).open == [] and "nan" not in chart and "a &lt; b" in chart
    ticks = [float(tick) for tick in re.findall(r'text-anchor="(?:end|middle)">(-?[\d.e+-]+)<', chart)]
    assert len(set(ticks)) >= 3 if len(values) > 1 else True


def test_ticks():
    assert svg._ticks((0.0, 1.0)) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert svg._ticks((1.36, 2.31)) == [1.4, 1.6, 1.8, 2.0, 2.2]
