"""An outcome that can be printed, drawn and written."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tokfrag._files import write_new
from tokfrag.compare.metric import Metric, metric_named
from tokfrag.compare.outcome import Outcome
from tokfrag.compare.planner.verdict import verdict_notes
from tokfrag.compare.resuming import read_report
from tokfrag.compare.row import Prices, Row
from tokfrag.compare.sample import SamplePicture
from tokfrag.compare.table import TABLES, markdown_table, text_table
from tokfrag.compare.views.card import render_card
from tokfrag.compare.views.page import render_page
from tokfrag.compare.views.plot import check_format, render


class Report(Outcome):
    """The result of :func:`compare`: rows, and ways to look at them.

    Examples
    --------
    >>> from tokfrag.compare import Report, Row, Run, Rung
    >>> from tokfrag.compare.metric import ACCURACY
    >>> def row(name, *scores):
    ...     runs = (Run(i, (Rung(1.0, s, s, steps=400),)) for i, s in enumerate(scores))
    ...     return Row(name, ACCURACY, runs=tuple(runs))
    >>> rows = (row("patch:4", 0.97, 0.96, 0.98), row("pixels:16", 0.5, 0.51, 0.49))
    >>> report = Report("digits", "made up", ACCURACY, ("1 GFLOP",), (0, 1, 2), rows)
    >>> report.to_json("digits.json")
    >>> again = Report.from_json("digits.json")
    >>> again.best.name, again.table() == report.table()
    ('patch:4', True)
    """

    @classmethod
    def from_json(cls, path: str | os.PathLike[str], *, prices: Prices | None = None) -> Report:
        """Read a report that :meth:`to_json` wrote; nothing is trained again.

        Parameters
        ----------
        path
            The file.
        prices
            What hours and pieces cost, whatever they cost when it was made.

        Returns
        -------
        Report
            The same report, but for the prices.

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
                second=tuple(
                    Row.of(row, metric, prices or Prices()) for row in held.get("second", ())
                ),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"{path}: is no report of a comparison: {error}") from None

    def table(self, *, full: bool = False) -> str:
        """The main table as text with its notes, or all tables.

        Parameters
        ----------
        full
            Whether the tables of the cuts and of what was predicted follow.

        Returns
        -------
        str
            Lines to be printed.
        """
        parts = [self.title, ""]
        for i, (title, columns) in enumerate(TABLES.items()):
            if i and not full:
                break
            rows = self.in_order if i == 0 else [r for r in self.in_order if r.facts is not None]
            parts += [title, ""] if full else []
            parts += [text_table(columns, rows, self), ""]
        parts.append(self.legend)
        headline, *others = self.notes
        parts += [f"- {note}" for note in (headline, *verdict_notes(self), *others)]
        return "\n".join(parts)

    def markdown(self) -> str:
        """The main table and the headline in Markdown, to be pasted.

        Returns
        -------
        str
            The headline, the table, the data and the command.
        """
        main = next(iter(TABLES.values()))
        command = f"\n\n`{self.command}`" if self.command else ""
        table = markdown_table(main, self.in_order, self)
        return f"**{self.headline}**\n\n{table}\n\n{self.title}{command}\n"

    def to_json(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write everything as JSON; an existing file is only replaced when forced.

        Parameters
        ----------
        path
            The file.
        force
            Whether an existing file is replaced.

        Raises
        ------
        FileExistsError
            Where the file exists and is not to be replaced.
        """
        text = json.dumps(self.to_dict(), indent=1, allow_nan=False)
        write_new(path, (text + "\n").encode(), force=force)

    def plot(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Draw the ladder and the differences to the best; the suffix names the format.

        Parameters
        ----------
        path
            The file; its suffix names the format.
        force
            Whether an existing file is replaced.

        Raises
        ------
        ValueError
            For a suffix that names no picture.
        FileExistsError
            Where the file exists and is not to be replaced.
        """
        write_new(path, render(self, check_format(path)), force=force)

    def to_card(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Draw the verdict as a picture of 1200 x 630 to be shared.

        Parameters
        ----------
        path
            The file, which ends in ``.png``.
        force
            Whether an existing file is replaced.

        Raises
        ------
        ValueError
            For another suffix.
        FileExistsError
            Where the file exists and is not to be replaced.
        """
        if Path(path).suffix.lower() != ".png":
            raise ValueError(f"card: got {os.fspath(path)!r}; it takes .png")
        write_new(path, render_card(self), force=force)

    def to_html(self, path: str | os.PathLike[str], *, force: bool = False) -> None:
        """Write one self-contained page: the answer, the pictures, the tables, the command.

        Parameters
        ----------
        path
            The file.
        force
            Whether an existing file is replaced.

        Raises
        ------
        FileExistsError
            Where the file exists and is not to be replaced.
        """
        write_new(path, render_page(self).encode(), force=force)
