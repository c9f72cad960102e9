"""An outcome that can be printed, drawn and written."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tokfrag._files import write_new
from tokfrag.compare.metric import Metric, metric_named
from tokfrag.compare.outcome import Outcome
from tokfrag.compare.resuming import read_report
from tokfrag.compare.row import Prices, Row
from tokfrag.compare.sample import SamplePicture
from tokfrag.compare.table import TABLES, markdown_table, text_table
from tokfrag.compare.views.card import render_card
from tokfrag.compare.views.page import render_page
from tokfrag.compare.views.plot import check_format, render


class Report(Outcome):
    """The result of :func:`compare`: rows, and ways to look at them."""

    @classmethod
    def from_json(cls, path: str | os.PathLike[str], *, prices: Prices | None = None) -> Report:
        """Read a report that :meth:`to_json` wrote; nothing is trained again.

        Parameters
        ----------
        path
            The file.
        prices
            What hours and pieces cost, whatever they cost when it was made.

        Raises
        ------
        ValueError
            Where the file holds no report.
        """
        held = read_report(Path(path))
        try:
            metric: Metric = metric_named(held["metric"], held["higher_is_better"])
            return cls(
                held["task"],
                held["about"],
                metric,
                tuple(held["budgets"]),
                tuple(held["seeds"]),
                tuple(Row.of(row, metric, prices or Prices()) for row in held["rows"]),
                remarks=tuple(held["remarks"]),
                samples={n: SamplePicture(**picture) for n, picture in held["samples"].items()},
                environment=held["environment"],
                command=held["command"],
                key=held["key"],
                interrupted=held["interrupted"],
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path}: is no report of a comparison: {error}") from None

    def table(self, *, full: bool = False) -> str:
        """The main table as text with its notes, or all tables."""
        parts = [self.title, ""]
        for i, (title, columns) in enumerate(TABLES.items()):
            if i and not full:
                break
            rows = self.rows if i == 0 else [row for row in self.rows if row.facts is not None]
            parts += [title, ""] if full else []
            parts += [text_table(columns, rows, self), ""]
        parts.append(self.legend)
        parts += [f"- {note}" for note in self.notes]
        return "\n".join(parts)

    def markdown(self) -> str:
        """The main table and the headline in Markdown, to be pasted."""
        main = next(iter(TABLES.values()))
        command = f"\n\n`{self.command}`" if self.command else ""
        table = markdown_table(main, self.rows, self)
        return f"**{self.headline}**\n\n{table}\n\n{self.title}{command}\n"

    def to_json(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write everything as JSON; an existing file is only replaced when forced."""
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False)
        write_new(path, (text + "\n").encode(), force=force)

    def plot(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Draw the ladder and the differences to the best; the suffix names the format."""
        write_new(path, render(self, check_format(path)), force=force)

    def to_card(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Draw the verdict as a picture of 1200 x 630 to be shared."""
        if Path(path).suffix.lower() != ".png":
            raise ValueError(f"card: got {os.fspath(path)!r}; it takes .png")
        write_new(path, render_card(self), force=force)

    def to_html(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write one self-contained page: the answer, the pictures, the tables, the command."""
        write_new(path, render_page(self).encode(), force=force)
