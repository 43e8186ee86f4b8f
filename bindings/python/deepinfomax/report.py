"""A training run on one page: `report.html`, a single file that needs no network, no script and no other file.

    deepinfomax.report.write("dim-run")        # what `dim train --report` does at the end

It says whether training has helped, and shows the curves, a map of the encoded images, some of them with their neighbours,
how a classifier does on the vectors, the architecture and the settings.
"""

from __future__ import annotations

import base64
import math
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from html import escape as _html
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _arrays, build_info, evaluation
from ._files import is_among, is_in, path_text, real, write_whole
from ._text import counted, shown
from ._version import __version__
from .classifier_trainer import Evaluation
from .data import adapted
from .data import DataError, Dataset, MissingPackage, randperm
from .data.pictures import SUFFIXES
from .data.reading import Reading
from .evaluation import Floats
from .model import Model
from .neighbours import neighbours
from .plots import maps, pictures, svg
from .plots.curves import PROBES, TRAINING, VALIDATION, Smoothed, losses
from .run_data import data_of
from .run_folder import FILES, Row, RunFolder, Settings, advice

#: Enough for a map and for a classifier to show something, and few enough to be encoded in seconds.
IMAGES = 1000
SUBJECTS = 6
#: Classes that a legend names.
LEGEND = 100
NAME = "report.html"
#: What every page begins with, in any case of letters.
_PAGE = b"<!doctype html"
#: What held-out images show, in every chart, as in curves.png.
VALIDATED = (VALIDATION, 1.4, "o-")
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 960px; margin: 2em auto; padding: 0 1em }
h1 { font-size: 1.5em } h2 { font-size: 1.15em; margin-top: 2em; border-bottom: 1px solid #ddd }
img { max-width: 100%; image-rendering: pixelated } svg { max-width: 100%; height: auto }
table { border-collapse: collapse } td, th { padding: 2px 9px; text-align: right; font-weight: normal }
th { color: #666 } table.settings td, table.settings th { text-align: left; border-top: 1px solid #eee }
table.matrix td { min-width: 1.5em } table.matrix td, table.matrix tr:first-child th { text-align: center }
p.note { color: #666 } span.class { display: inline-block; padding: 0 .5em; margin-right: .3em }
"""


def write(
    folder: RunFolder | str | bytes | os.PathLike[Any],
    model: Model | None = None,
    *,
    path: str | bytes | os.PathLike[Any] | None = None,
    images: int = IMAGES,
    data: str | bytes | os.PathLike[Any] | None = None,
) -> Path:
    """Writes the report of a run's folder (`dim train --output`), by default into it as report.html; returns its path.

    model: None for the folder's newest weights, or with early stopping its best. images: how many to look at.
    data: where the run's data is by now, if it has moved.

    Raises OSError where it cannot be written, ValueError for a folder without a run, DataError where the run's data is
    no longer there or is other data by now, a DimError for its weights.
    """
    images = _arrays.whole_number(images, 2, 2**63, "images", "2 or more")
    run = folder if isinstance(folder, RunFolder) else RunFolder(folder)
    target = run.path / NAME if path is None else Path(path_text(path))
    if is_among(target, run.path, set(FILES) - {NAME}):
        raise ValueError(f"{shown(str(target))}: is a file of the run; expected another name")
    settings = run.read_settings()
    if data is not None:
        settings = replace(settings, data=path_text(data, "data"))
    check_target(target, settings.data)
    data_of(settings)  # As many other images would be shown in their place.
    if model is None:
        # Where a run goes on after its end, weights.h5 is still that of before.
        places = (run.best, run.weights, run.checkpoint) if settings.early_stopping else (run.checkpoint, run.weights)
        model = Model.open(next((place for place in places if place.exists()), run.weights))
    some = _some(settings.reading.open(settings.data), images)
    y = evaluation.encode(model, some)
    rows = run.read_metrics()
    parts = [
        _begun(settings),
        _section("Verdict", _verdict(rows, settings)),
        _section("Curves", _curves(rows, settings)),
        _section("Map", _map(y, some)),
        _section("Neighbours", _neighbours(y, some)),
        _section("Classes", _classes(model, settings.data, images, settings.reading)),
        _section("Architecture", _architecture(model)),
        _section("Settings", _settings(asdict(settings))),
    ]
    write_whole(target, _page(f"Deep InfoMax: {real(run.path).name}", parts).encode())
    return target


def check_target(target: Path, data: str | None) -> None:
    """A page replaces a page and nothing else, and does not become one of the run's images: else ValueError."""
    start = b""
    with suppress(OSError):
        if target.is_file():
            with open(target, "rb") as file:
                start = file.read(len(_PAGE))
    if start and start.lower() != _PAGE:
        raise ValueError(f"{target}: is no page; expected a new name, or that of a page, to write the report to")
    if data and os.path.isdir(data) and target.suffix.lower() in SUFFIXES and is_in(target, data):
        raise ValueError(f"{target}: would become one of the images of {data}; expected a name outside of it")


# ---- Sections


def _begun(settings: Settings) -> str:
    """The command, when it was given, when this page was written."""
    written = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    when = f"Started {settings.started}. " if settings.started else ""
    command = f"<p><code>{escape(settings.command)}</code></p>" if settings.command else ""
    return command + _note(f"{when}This page was written {written}.")


def _verdict(rows: Sequence[Row], settings: Settings) -> str:
    """The last probe beside the untrained encoder's."""
    probes = [row for row in rows if row.phase == "probe"]
    if len(probes) < 2 or probes[0].step:
        return _note(
            "No probe: it needs labels, images that are held out, and scikit-learn. The losses alone do not say whether the "
            "vectors have become better."
        )
    before, after = probes[0], probes[-1]
    held_out = max(settings.validation_images, 1)
    others = "an untrained encoder's" if settings.weights is None else "those of the weights that it began with"
    if evaluation.is_worse(after.linear_probe, before.linear_probe, held_out):
        words = f"Training has made the vectors worse than {others}. {advice(settings)}"
    elif evaluation.is_worse(before.linear_probe, after.linear_probe, held_out):
        words = f"Training has made the vectors better than {others}."
    else:
        words = f"The vectors are about as good as {others}."
    head = f"<tr><th></th><th>linear probe</th><th>{evaluation.K}-NN</th></tr>"
    table = "".join(
        f"<tr><th>{escape(name)}</th><td>{row.linear_probe:.1%}</td><td>{row.nearest_neighbours:.1%}</td></tr>"
        for name, row in (
            (f"{settings.beginning}, batch norm calibrated", before),
            (f"after {after.epoch:.3g} epoch{'s' * (after.epoch != 1)}", after),
        )
    )
    note = f"Accuracies on {held_out:,} images that were not trained on."
    return f"<p><b>{escape(words)}</b></p><table>{head}{table}</table>{_note(note)}"


def _architecture(model: Model) -> str:
    summary = model.architecture.summary()
    rows = [["network", "layer", "kind", "output", "parameters", "multiply-adds"]]
    for layer in summary["layers"]:
        counts = [f"{layer[key]:,}" for key in ("parameters", "multiply_adds")]
        rows.append([layer["network"], layer["name"], layer["op"], " x ".join(map(str, layer["output"])), *counts])
    rows.append(["together", "", "", "", f"{summary['parameters']:,}", f"{summary['multiply_adds']:,}"])
    lines = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>{lines}</table>"


def _curves(rows: Sequence[Row], settings: Settings) -> str:
    train = [row for row in rows if row.phase == "train"]
    validation = [row for row in rows if row.phase == "validation"]
    if not train:
        return _note("No steps yet.")
    charts = []
    for field, name in losses(rows):
        steps = Smoothed.of(train, field)
        held_out = [getattr(row, field) for row in validation]
        curves = [
            svg.Curve("", steps.epochs.tolist(), steps.values.tolist(), "#bcd", 0.8),
            svg.Curve(steps.name, steps.middles.tolist(), steps.means.tolist(), TRAINING, 1.8),
        ]
        if not all(map(math.isnan, held_out)):  # The norm of gradients is the steps' alone.
            curves.append(svg.Curve("validation", [row.epoch for row in validation], held_out, *VALIDATED))
        charts.append(svg.chart(name, curves, "epoch"))
    seconds = rows[-1].seconds
    note = f"{counted(len(train), 'step')}, {seconds / 60:.1f} minutes."
    if settings.measure == "gan":
        note += " Pairs that cannot be distinguished have a loss of 1.386 (2 ln 2)."
    probes = [row for row in rows if row.phase == "probe"]
    for field, name in PROBES:
        values = [getattr(row, field) for row in probes]
        if values:
            untrained = svg.Curve(settings.beginning, [probes[0].epoch, probes[-1].epoch], [values[0]] * 2, TRAINING, 1, "--")
            trained = svg.Curve("held-out images", [row.epoch for row in probes], values, *VALIDATED)
            charts.append(svg.chart(name, [untrained, trained], "epoch"))
    return "".join(charts) + _note(note)


def _map(y: Floats, data: Dataset) -> str:
    if len(data) < 2:
        return _note("A map needs two images at least.")
    projection = maps.pca(y)
    colours = None if data.labels is None else pictures.colours(int(data.labels.max()) + 1)[data.labels]
    places, factors = maps.fitted(projection.places)
    picture = pictures.scatter(data.read(slice(None)), places, colours, size=920, thumbnail=24)
    first, second = projection.explained or (0, 0)
    note = f"{len(data):,} images by the two directions of most variance, which hold {first:.0%} and {second:.0%} of it."
    if factors[0] != factors[1]:
        note += f" The shorter axis is stretched {max(factors) / min(factors):.3g} times."
    return _image(picture, "map of the encoded images") + _legend(data) + _note(note)


def _neighbours(y: Floats, data: Dataset) -> str:
    panels = []
    for number in randperm(len(data), 0)[:SUBJECTS].tolist():
        found = neighbours(y[number], y)
        subject = np.repeat(data.read([number]), len(found.nearest), axis=0)
        panels.append(pictures.panel([subject, data.read(found.nearest), data.read(found.farthest)], gap=2))
    note = "Each panel: an image, its 10 nearest by L2 distance of the vectors (itself first), its 10 farthest."
    return _image(pictures.stack(panels, 2, gap=14), "images with their neighbours") + _note(note)


def _classes(model: Model, source: str | None, images: int, reading: Reading) -> str:
    try:
        data = _some(reading.open(source, labelled=True), images)
    except (DataError, MissingPackage) as error:
        return _note(f"No classifier: {error}")
    assert data.labels is not None
    classes = int(data.labels.max()) + 1
    if not 2 <= classes <= LEGEND or len(data) < 20:
        return _note(f"No classifier: {len(data)} images of {classes} classes; it needs 20 at least, of 2 to {LEGEND}.")
    architecture = model.architecture
    if not adapted.is_notebook(architecture) or classes > model.sizes.classes:
        architecture = adapted.with_classes(architecture, classes)
    untrained = Model(0, architecture=architecture)
    train_images = data.subset(evaluation.split(len(data), 0)[0])
    train, test = evaluation.split(len(data), 0)
    settings = evaluation.Settings(epochs=200, batch=min(128, len(train)), lr=1e-3)
    table = []
    confusion = None
    for name, judged in (
        ("this encoder", model),
        ("untrained", evaluation.calibrated(untrained, train_images, min(64, len(train_images)))),
    ):
        y = evaluation.encode(judged, data)
        head = Model(0, architecture=architecture)
        evaluation.train_on_vectors(head, y[train], data.labels[train], settings)
        found = evaluation.test_on_vectors(head, y[test], data.labels[test])
        confusion = found if confusion is None else confusion
        table.append(_judgements(name, found, y, data.labels, train, test))
    table.append(_judgements("pixels", None, evaluation.pixels(data), data.labels, train, test))
    assert confusion is not None
    names = data.classes or tuple(map(str, range(classes)))
    note = (
        f"{data.name}: trained on {len(train):,} vectors, tested on {len(test):,}. Below, the classifier on this encoder: "
        "a row is a label, a column a prediction. `dim classify` does this with more care."
    )
    head_row = f"<tr><th></th><th>classifier</th><th>linear probe</th><th>{evaluation.K}-NN</th></tr>"
    matrix = _matrix(confusion.confusion[:classes, :classes], names[:classes])
    return f"<table>{head_row}{''.join(table)}</table>{_note(note)}{matrix}"


def _settings(settings: Mapping[str, Any]) -> str:
    rows = {name: value for name, value in settings.items() if name != "kept"}
    rows |= {"deepinfomax": __version__, "libdim": build_info()}
    lines = (f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>" for name, value in rows.items())
    return f'<table class="settings">{"".join(lines)}</table>'


# ---- Parts


def escape(text: str) -> str:
    """For HTML, names of files included, whatever their bytes."""
    return _html(shown(text))


def _some(data: Dataset, count: int) -> Dataset:
    """At most `count` images from all over the data, in its order."""
    return data if len(data) <= count else data.subset(np.sort(randperm(len(data), 0)[:count]))


def _judgements(
    name: str, found: Evaluation | None, x: Floats, labels: NDArray[np.int64], train: NDArray[np.int64], test: NDArray[np.int64]
) -> str:
    sides = (x[train], labels[train], x[test], labels[test])
    try:
        linear: float | None = evaluation.linear_probe(*sides)
    except (ImportError, ValueError):  # Without scikit-learn; with one class alone.
        linear = None
    values = (None if found is None else found.accuracy, linear, evaluation.nearest_neighbours(*sides))
    cells = "".join(f"<td>{'-' if value is None else f'{value:.1%}'}</td>" for value in values)
    return f"<tr><th>{escape(name)}</th>{cells}</tr>"


def _matrix(confusion: NDArray[np.int64], names: Sequence[str]) -> str:
    lines = ["<tr><th></th>" + "".join(f"<th>{escape(name)}</th>" for name in names) + "</tr>"]
    for name, row in zip(names, confusion, strict=False):
        total = max(int(row.sum()), 1)
        cells = "".join(_cell(count, count / total) for count in row[: len(names)].tolist())
        lines.append(f"<tr><th>{escape(name)}</th>{cells}</tr>")
    return f'<table class="matrix">{"".join(lines)}</table>'


def _cell(count: int, share: float) -> str:
    """Bluer the larger its share of the row."""
    shade = f"rgb({round(255 - 220 * share)},{round(255 - 155 * share)},{round(255 - 75 * share)})"
    return f'<td style="background:{shade};color:{"#fff" if share > 0.5 else "#222"}">{count or ""}</td>'


def _legend(data: Dataset) -> str:
    if data.labels is None:
        return ""
    known = np.unique(data.labels)
    colours = pictures.colours(int(known[-1]) + 1)
    names = [data.class_name(int(np.argmax(data.labels == label))) for label in known[:LEGEND]]
    rest = f" and {len(known) - LEGEND} more" if len(known) > LEGEND else ""
    labels = "".join(_label(name, *colours[n].tolist()) for n, name in zip(known, names, strict=False))
    return f"<p>{labels}{rest}</p>"


def _label(name: str, red: int, green: int, blue: int) -> str:
    """A class's name on its colour; dark where the colour is light."""
    ink = "#222" if 0.299 * red + 0.587 * green + 0.114 * blue > 150 else "#fff"
    return f'<span class="class" style="background:rgb({red},{green},{blue});color:{ink}">{escape(name)}</span>'


def _image(picture: pictures.Picture, description: str) -> str:
    data = base64.b64encode(pictures.png(picture)).decode()
    return f'<p><img alt="{escape(description)}" src="data:image/png;base64,{data}"></p>'


def _note(text: str) -> str:
    return f'<p class="note">{escape(text)}</p>'


def _section(title: str, content: str) -> str:
    return f"<h2>{escape(title)}</h2>\n{content}\n"


def _page(title: str, sections: Iterable[str]) -> str:
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>\n<body>\n<h1>{escape(title)}</h1>\n"
        f"{''.join(sections)}</body></html>\n"
    )
