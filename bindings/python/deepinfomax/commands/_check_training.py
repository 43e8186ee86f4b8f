"""`dim check --train`: training from seeds alone, here and in PyTorch, and how far they differ."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from .. import build_info
from ..compare import runs
from ..compare.deviations import MULTIPLE
from ..compare.training import Live, Recorded, Reference, Row, rows
from . import UsageError, _output

#: Of the runs that are compared.
STEPS = 5


def run(steps: int, live: bool, recorded: bool, as_json: bool, quiet: bool = False) -> int:
    """live, recorded: which of them was asked for; else PyTorch at work where it is installed. Returns the exit code."""
    have_torch = importlib.util.find_spec("torch") is not None
    if live and not have_torch:
        raise UsageError("--live: PyTorch is not installed")
    there: Reference = Recorded(steps) if recorded or not have_torch else Live(steps)
    report: dict[str, Any] = {
        "libdim": build_info(),
        "reference": there.description,
        "runs": f"{steps} steps on {runs.BATCH} photographs each, weights of seed {runs.MODEL_SEED}",
        "criterion": f"no farther from float64 than {MULTIPLE:g} times PyTorch's float32 is",
        "rows": [],
    }
    show: Callable[[str], None] = (lambda _: None) if as_json or quiet else _output.write
    show(_head(report))
    found: list[Row] = []
    for row in rows(there, steps):
        found.append(row)
        show(_line(row))
    failures = sum(not row.passed for row in found)
    show("")
    report |= {"rows": [asdict(row) for row in found], "passed": not failures}
    largest = max(found, key=lambda row: row.ratio)
    show(
        f"FAILED: {failures} of {len(found)} comparisons"
        if failures
        else f"passed: {len(found)} comparisons, at most {largest.ratio:.2f} times as far as PyTorch's float32 "
        f"({largest.run}, {largest.what})"
    )
    if as_json:
        _output.write(_output.json_text(report, 2))
    return 1 if failures else 0


# ---- The table


def _head(report: Mapping[str, Any]) -> str:
    titles = ("run", "of", "worst at", "here", "float32", "ratio")
    return "\n".join(
        (
            f"here        {report['libdim']}",
            f"there       {report['reference']}",
            f"runs        {report['runs']}",
            f"criterion   {report['criterion']}",
            "",
            _columns(*titles),
            _columns(*("-" * len(title) for title in titles)),
        )
    )


def _line(row: Row) -> str:
    verdict = f"{row.ratio:.2f}" if row.passed else "FAIL"
    return _columns(row.run, row.what, row.where, f"{row.here:.1e}", f"{row.float32:.1e}", verdict)


def _columns(run: str, what: str, where: str, here: str, float32: str, ratio: str) -> str:
    return f"{run:<33} {what:<22} {where:<24} {here:>8} {float32:>8} {ratio:>5}"
