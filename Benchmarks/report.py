"""The figures as Markdown tables and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from figures import Figure, Figures, Requirement, Row

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
_INTRODUCTION = f"""# Benchmarks

What `make bench` last measured, in one run. [Benchmarks/README.md](../Benchmarks/README.md) tells how it
measures and how to read the tables.

{BEGIN}
{END}
"""


#: Of a part of the benchmark: its name; the peaks of fused multiply-adds, in GFLOP/s; the latency between cores, in ns.
States = Sequence[tuple[str, Sequence[float | None]]]


def markdown(facts: Mapping[str, str], figures: Figures, checked: Sequence[Requirement], threads: int, states: States) -> str:
    parts = [
        "\n".join(f"- {name}: {value}" for name, value in facts.items()),
        *([f"## The machine before each part\n\n{_states(threads, states)}"] if states else []),
        *(["## Required and measured\n\n" + _requirements(figures, checked)] if checked else []),
        *(f"## {figure.title}\n\n{_table(figure)}" for figure in figures.values() if figure.rows),
    ]
    return "\n\n".join(parts) + "\n"


def _states(threads: int, states: States) -> str:
    peaks = [f"peak of {count} thread{'s' * (count > 1)}, GFLOP/s" for count in sorted({1, threads})]
    lines = ["| part | " + " | ".join([*peaks, "core to core, ns"]) + " |", "|---" + "|---:" * (len(peaks) + 1) + "|"]
    for part, values in states:
        lines.append(f"| {part} | " + " | ".join("" if value is None else f"{value:.0f}" for value in values) + " |")
    return "\n".join(lines)


def _requirements(figures: Figures, checked: Sequence[Requirement]) -> str:
    lines = ["| figure | needed | measured | met |", "|---|---|---|---|"]
    for requirement in checked:
        value = requirement.measured(figures)
        bound = ("at least" if requirement.at_least else "at most") + f" {requirement.needed:g}x"
        measured, met = "not measured", ""
        if value is not None:
            measured, met = f"{value:.2f}x", "yes" if requirement.met(value) else "**no**"
        lines.append(f"| {requirement.text} | {bound} | {measured} | {met} |")
    return "\n".join(lines)


def _table(figure: Figure) -> str:
    measured = [row for row in figure.rows.values() if row.samples]
    columns = ["", f"median {figure.unit}", "min to max", "runs"]
    if figure.images:
        columns.insert(1, "images/s")
    if _is_compared(figure):
        columns.append("times the first")
    if any(row.error is not None for row in measured):
        columns.append("error")
    lines = ["| " + " | ".join(columns) + " |", "|---" + "|---:" * (len(columns) - 1) + "|"]
    for row in measured:
        lines.append("| " + " | ".join([row.title, *_cells(row, figure, measured[0].median)]) + " |")
    missing = [row for row in figure.rows.values() if not row.samples]
    failures = [f"{row.title} {row.failure or 'was not measured'}." for row in missing]
    notes = [*([figure.note] if figure.note else []), *_latencies(figure)]
    return "\n\n".join(["\n".join(lines), *failures, *notes])


def _latencies(figure: Figure) -> Iterator[str]:
    if found := figure.latencies:
        yield f"Core to core, ns: {', '.join(f'{latency:.0f}' for latency in found)}."


def _is_compared(figure: Figure) -> bool:
    """Speeds are of different things, or of the machine: their quotients would say nothing."""
    return figure.unit != "GFLOP/s"


def _cells(row: Row, figure: Figure, base: float) -> Iterator[str]:
    if figure.images:
        yield f"{figure.images / row.median:.1f}"
    yield _number(row.median)
    yield f"{_number(min(row.samples))} to {_number(max(row.samples))}"
    yield str(len(row.samples))
    if _is_compared(figure):
        yield f"{row.median / base:.2f}"
    if row.error is not None:
        yield f"{row.error:.1g}" if row.error else ""


def _number(value: float) -> str:
    """Three digits at least, never an exponent."""
    return f"{value:.0f}" if value >= 1000 else f"{value:.1f}" if value >= 100 else f"{value:#.3g}"


def write_json(path: Path, facts: Mapping[str, str], figures: Figures, checked: Sequence[Requirement], states: States) -> None:
    requirements: list[dict[str, Any]] = []
    for requirement in checked:
        value = requirement.measured(figures)
        requirements.append(
            {
                "figure": requirement.text,
                "needed": requirement.needed,
                "at_least": requirement.at_least,
                "measured": value,
                "met": None if value is None else requirement.met(value),
            }
        )
    document = {
        "facts": dict(facts),
        "states": [{"part": part, "values": list(values)} for part, values in states],
        "requirements": requirements,
        "figures": {name: figure.json() for name, figure in figures.items()},
    }
    path.write_text(json.dumps(document, indent=1) + "\n")


def write_markdown(path: Path, text: str) -> None:
    """Replaces the text between the markers, and keeps the text around them."""
    document = path.read_text() if path.exists() else _INTRODUCTION
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{path.name} has lost its markers {BEGIN} and {END}")
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{before}{BEGIN}\n{text}{END}{after}")
