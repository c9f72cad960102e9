"""Tables of a report as text, and the numbers in them as people write them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from tokfrag.compare.facts import CutFacts
from tokfrag.compare.intervals import Interval
from tokfrag.compare.row import Row

_NOTHING = "-"


def seconds_text(seconds: float) -> str:
    """``1.2 ms``, ``3.4 s``."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} us"
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def bytes_text(count: float) -> str:
    """``512 B``, ``3.4 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def count_text(count: float) -> str:
    """``840``, ``12.3k``, ``4.5M``, ``6.7G``."""
    for unit in ("", "k", "M", "G"):
        if count < 1000:
            return f"{count:.4g}" if unit == "" else f"{count:.3g}{unit}"
        count /= 1000
    return f"{count:.3g}T"


def percent_text(share: float, digits: int = 1) -> str:
    """A share as a percentage; never rounded up to 100 %."""
    text = f"{share * 100:.{digits}f}"
    if share < 1 and float(text) == 100.0:
        text = f"{100 - 10**-digits:.{digits}f}"
    return text


def rate_text(rate: float) -> str:
    """Gigabytes a second."""
    return f"{rate / 1e9:.2f}" if rate else _NOTHING


class Judge(Protocol):
    """What a table asks of the comparison that its rows are in."""

    def behind(self, row: Row) -> Interval | None:
        """How far a row is from the best."""

    def on_front(self, row: Row) -> bool:
        """Whether no cheaper row is as good."""


@dataclass(frozen=True)
class Column:
    """A heading and how a row's cell is written; ``wanted`` decides if a report shows it."""

    head: str
    cell: Callable[[Row, Judge], str]
    wanted: Callable[[Sequence[Row]], bool] = lambda rows: True


def _of_facts(text: Callable[[CutFacts], str]) -> Callable[[Row, Judge], str]:
    return lambda row, judge: _NOTHING if row.facts is None else text(row.facts)


def _of_runs(text: Callable[[Row], str]) -> Callable[[Row, Judge], str]:
    return lambda row, judge: text(row) if row.finished else _NOTHING


def name_cell(row: Row, judge: Judge) -> str:
    """The cut, marked where it is on the front or below the line."""
    return f"{row.name} *" if judge.on_front(row) else row.name


def quality_cell(row: Row, judge: Judge) -> str:
    """The mean with its interval, or that there is none."""
    quality = row.quality
    if quality is None:
        return "failed" if row.failures else _NOTHING
    text = row.metric.text(quality, row.half_interval)
    return f"{text} ({len(row.finished)} of {len(row.runs)})" if row.failures else text


def behind_cell(row: Row, judge: Judge) -> str:
    """The difference to the best with its interval, or why there is none."""
    if row.baseline is not None or not row.finished:
        return _NOTHING
    if row.honesty.lossy:
        return "lossy"
    if row.trained == "no":
        return "untrained"
    apart = judge.behind(row)
    if apart is None:
        return "best" if row.trained == "yes" else "ahead"
    text = row.metric.difference_text(apart.mean, apart.half)
    if apart.excludes_zero:
        return text
    # A row that has barely learnt ties with nothing, however wide its interval.
    return f"{text} (tie)" if row.trained == "yes" else f"{text} (not told)"


def answer_cell(row: Row) -> str:
    """FLOPs of one sample's answer: a training step's are its own, twice that for gradients."""
    return _NOTHING if row.facts is None or not row.finished else count_text(row.facts.flops / 3)


def pieces_cell(facts: CutFacts) -> str:
    """The median of the pieces of a sample, and the 99th percentile where it differs."""
    if facts.pieces_p50 == facts.pieces_p99:
        return f"{facts.pieces_p50:.0f}"
    return f"{facts.pieces_p50:.0f} / {facts.pieces_p99:.0f}"


def cost_cell(row: Row) -> str:
    """A run's price; without one, what a price would be asked for."""
    if row.cost is not None:
        return f"{row.cost:.2g}"
    return f"{seconds_text(row.seconds)}, {count_text(row.pieces_used)} pieces"


def units_cell(facts: CutFacts) -> str:
    """Positions of the data in one piece."""
    units = facts.units_per_piece
    return f"{units:.3g}" if units < 1000 else count_text(units)


def _pair(predicted: float | None, measured: float, text: Callable[[float], str]) -> str:
    return f"{_NOTHING if predicted is None else text(predicted)} / {text(measured)}"


_NAME = Column("cut", name_cell)
_QUALITY = Column("quality", quality_cell)

MAIN = (
    _NAME,
    _QUALITY,
    Column("behind the best", behind_cell),
    Column("trained", lambda r, judge: r.trained or _NOTHING),
    Column("steps", _of_runs(lambda r: f"{r.steps:.0f}")),
    Column("passes", _of_runs(lambda r: f"{r.epochs:.1f}")),
    Column("pieces/sample", _of_facts(pieces_cell)),
    Column("FLOPs/sample", _of_facts(lambda f: count_text(f.flops))),
    Column("cost", _of_runs(cost_cell)),
)
CUTTING = (
    _NAME,
    Column("units/piece", _of_facts(units_cell)),
    Column("coverage %", _of_facts(lambda f: percent_text(f.coverage))),
    Column("padding %", _of_facts(lambda f: percent_text(f.padding_waste))),
    Column("overlap", _of_facts(lambda f: f"{f.overlap:.2f}")),
    Column("compression", _of_facts(lambda f: f"{f.compression:.2f}")),
    Column(
        "vocabulary",
        _of_facts(lambda f: _NOTHING if f.vocabulary is None else str(f.vocabulary)),
    ),
    Column(
        "unknown %",
        _of_facts(lambda f: _NOTHING if f.unknown is None else percent_text(f.unknown, 2)),
    ),
    Column("fit time", _of_facts(lambda f: seconds_text(f.fit_seconds))),
    Column("cut time", _of_facts(lambda f: seconds_text(f.cut_seconds))),
    Column("cut GB/s", _of_facts(lambda f: rate_text(f.cut_rate))),
    Column(
        "merge time",
        _of_facts(lambda f: seconds_text(f.merge_seconds) if f.merge_seconds else _NOTHING),
    ),
    Column("merge GB/s", _of_facts(lambda f: rate_text(f.merge_rate))),
    Column("share %", _of_runs(lambda r: percent_text(r.cut_share))),
    Column(
        "lost at seams",
        lambda r, judge: (
            _NOTHING if r.seam_error is None else r.metric.difference_text(r.seam_error, None)
        ),
        lambda rows: any(row.seam_error is not None for row in rows),
    ),
)
COST = (
    _NAME,
    _QUALITY,
    Column("rate", _of_runs(lambda r: f"{r.rate:.2g}")),
    Column("model time", _of_runs(lambda r: seconds_text(r.model_seconds))),
    Column(
        "FLOPs/sample pred./meas.",
        _of_facts(lambda f: _pair(f.flops_predicted, f.flops, count_text)),
    ),
    Column(
        "peak memory pred./meas.",
        _of_facts(lambda f: _pair(f.memory_predicted, f.memory, bytes_text)),
    ),
    Column(
        "attention %",
        _of_facts(
            lambda f: _NOTHING if f.attention_share is None else percent_text(f.attention_share)
        ),
    ),
    Column("step", _of_facts(lambda f: seconds_text(f.step_seconds))),
    Column(
        "in the body",
        _of_facts(lambda f: count_text(f.parameters - f.embedding_parameters)),
    ),
    Column("in the embedding", _of_facts(lambda f: count_text(f.embedding_parameters))),
)
#: The tables of a report, by title.
TABLES = {
    "Quality at the same budget": MAIN,
    "The cuts": CUTTING,
    "Predicted and measured": COST,
}


def cells(columns: Sequence[Column], rows: Sequence[Row], judge: Judge) -> list[list[str]]:
    """The heading and every row, as text; the quality is headed by its metric's name."""
    shown = [column for column in columns if column.wanted(rows)]
    heads = [
        f"{rows[0].metric.name} (95 %)" if column is _QUALITY and rows else column.head
        for column in shown
    ]
    return [heads, *[[column.cell(row, judge) for column in shown] for row in rows]]


def text_table(columns: Sequence[Column], rows: Sequence[Row], judge: Judge) -> str:
    """A table in plain text, the first column to the left and the others to the right."""
    lines = cells(columns, rows, judge)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rendered = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    rendered.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(rendered)


def markdown_table(columns: Sequence[Column], rows: Sequence[Row], judge: Judge) -> str:
    """The same table in Markdown."""
    lines = [[cell.replace("|", "\\|") for cell in line] for line in cells(columns, rows, judge)]
    lines.insert(1, ["---"] + ["---:"] * (len(lines[0]) - 1))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
