"""The notebooks run, cell after cell, and gives what is stored in it."""

import ast
import contextlib
import io
import json
import tempfile
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parents[2] / "bindings" / "python" / "examples" / "deep_infomax.ipynb"
OWN_IMAGES = NOTEBOOK.with_name("own_images.ipynb")


def execute(source, namespace):
    """A cell's text output: what it prints, then the value of a last expression, as Jupyter shows them."""
    body = ast.parse(source).body
    last = ast.Expression(body.pop().value) if body and isinstance(body[-1], ast.Expr) else None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(ast.Module(body, []), "cell", "exec"), namespace)
        value = None if last is None else eval(compile(last, "cell", "eval"), namespace)
    return printed.getvalue(), None if value is None else repr(value)


def stored(cell):
    """The same of the outputs in the file; pictures left out."""
    printed, value = "", None
    for output in cell["outputs"]:
        if output["output_type"] == "stream":
            printed += "".join(output["text"])
        elif output["output_type"] == "execute_result":
            value = "".join(output["data"]["text/plain"])
    return printed, value


def test_the_notebook(monkeypatch):
    pytest.importorskip("sklearn")
    cells = [cell for cell in json.loads(NOTEBOOK.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    namespace = {"__name__": "__main__"}
    monkeypatch.setitem(__import__("sys").modules, "IPython", None)  # Pictures are not compared.
    monkeypatch.setitem(__import__("sys").modules, "IPython.display", None)
    for number, cell in enumerate(cells):
        source = "".join(cell["source"])
        printed, value = execute(source, namespace)
        expected_print, expected = stored(cell)
        if "IPython" in source:
            assert printed == "True\n"
            continue
        # Jupyter breaks a long repr over lines, repr() does not.
        found = [" ".join(text.split()) if text else text for text in (printed, value)]
        wanted = [" ".join(text.split()) if text else text for text in (expected_print, expected)]
        assert found == wanted, f"cell {number}: {source}"


def test_a_newcomers_notebook(monkeypatch, tmp_path):
    """The folder of digits that it makes by itself: what it says holds, and each cell that shows something has stored it."""
    pytest.importorskip("sklearn")
    pytest.importorskip("PIL")
    cells = [cell for cell in json.loads(OWN_IMAGES.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    monkeypatch.setitem(__import__("sys").modules, "IPython", None)
    monkeypatch.setitem(__import__("sys").modules, "IPython.display", None)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}
    pictures = 0
    for number, cell in enumerate(cells):
        source = "".join(cell["source"])
        printed, value = execute(source, namespace)
        stored_print, _ = stored(cell)
        shows = [output for output in cell["outputs"] if output["output_type"] == "display_data"]
        assert value is None and bool(printed) == bool(stored_print or shows), f"cell {number}: {source}"
        assert len(printed.splitlines()) == len(stored_print.splitlines()) + len(shows), f"cell {number}: {printed}"
        pictures += len(shows)
    assert pictures == 3 and printed == "True\n"
    assert namespace["after"].linear > namespace["before"].linear
    assert namespace["history"][-1].validation.total < namespace["history"][0].validation.total
    # Most neighbours of an image are of its class.
    labels, found = namespace["whole"].labels, namespace["found"]
    assert (labels[found.numbers[:, 1:]] == labels[namespace["subjects"]][:, None]).mean() > 0.8
