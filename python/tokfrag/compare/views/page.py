"""A report as one self-contained page of HTML: no script, no file beside it."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from html import escape
from typing import TYPE_CHECKING

from tokfrag.compare.table import TABLES, cells
from tokfrag.compare.views.plot import render

if TYPE_CHECKING:
    from tokfrag.compare.report import Report

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 76rem; margin: 2rem auto;
       padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.about { color: #666; margin-top: .2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: .25rem .55rem; text-align: right; border-bottom: 1px solid #e4e4e4; }
th { font-weight: 600; font-size: .85rem; color: #555; }
th:first-child, td:first-child, table.facts td { text-align: left; }
table.facts { white-space: normal; }
tr.baseline td { color: #777; font-style: italic; }
tr.pareto td:first-child { font-weight: 600; }
figure { margin: 1rem 0; }
img { max-width: min(100%, 54rem); height: auto; }
code { background: #f4f4f4; padding: .1rem .3rem; border-radius: 3px; }
@media (prefers-color-scheme: dark) {
  body { background: #1b1b1b; color: #ddd; } th, .about, tr.baseline td { color: #aaa; }
  th, td { border-color: #3a3a3a; } code { background: #2b2b2b; }
  img { background: #fff; border-radius: 4px; }
}
"""


def render_page(report: Report) -> str:
    """The page's text."""
    picture = base64.b64encode(render(report, "png", title=False)).decode()
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>tokfrag compare {escape(report.task)}</title>",
        f"<style>{_STYLE}</style></head><body>",
        f"<h1>Tokens and fragments: {escape(report.task)}</h1>",
        f'<p class="about">{escape(report.title)}</p>',
    ]
    if report.notes:
        parts += ["<h2>What it says</h2>", _list(report.notes)]
    parts.append(
        '<figure><img alt="Quality against cost, the Pareto front drawn" '
        f'src="data:image/png;base64,{picture}"></figure>'
    )
    rows = [row for row in report.rows if row.facts is not None]
    for i, (title, columns) in enumerate(TABLES.items()):
        shown = report.rows if i == 0 else rows
        classes = [
            "baseline" if row.baseline is not None else "pareto" if row.pareto else ""
            for row in shown
        ]
        parts += [f"<h2>{escape(title)}</h2>", _table(cells(columns, shown), classes)]
    parts.append(
        f"<p>{escape(report.legend)}. The pick is made before anything is trained. Each quality "
        "is the mean over seeds with its 95 % interval (Student's t); a cost is of one training, "
        "from cutting to the answers.</p>"
    )
    facts = {
        "command": report.command,
        "seeds": ", ".join(map(str, report.seeds)),
        "made": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        **report.environment,
    }
    parts += [
        "<h2>How to repeat it</h2>",
        _table([["", ""], *[[name, text] for name, text in facts.items() if text]], [], "facts"),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _table(lines: Sequence[Sequence[str]], classes: Sequence[str], kind: str = "") -> str:
    head, *body = lines
    rows = []
    if any(head):
        rows.append("<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>")
    for i, line in enumerate(body):
        mark = f' class="{classes[i]}"' if i < len(classes) and classes[i] else ""
        rows.append(f"<tr{mark}>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>")
    start = f'<table class="{kind}">' if kind else "<table>"
    return f'<div class="scroll">{start}' + "\n".join(rows) + "</table></div>"


def _list(items: Iterable[str]) -> str:
    return "<ul>" + "\n".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"
