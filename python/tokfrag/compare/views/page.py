"""An outcome as one self-contained page of HTML: no script, no file beside it."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from html import escape

from tokfrag.compare.outcome import Outcome
from tokfrag.compare.sample import SamplePicture
from tokfrag.compare.table import TABLES, cells, markdown_table
from tokfrag.compare.views.plot import PASTELS, draw_array, render, saved, shown_text

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
tr.out td { color: #999; }
tr.best td { font-weight: 600; }
figure { margin: 1rem 0; }
img { max-width: 100%; height: auto; }
.strip { font-family: ui-monospace, monospace; white-space: nowrap; margin: .3rem 0; color: #222; }
.strip b { display: inline-block; min-width: 9rem; font-family: system-ui, sans-serif; }
.strip span { padding: .1rem 0; border-right: 1px solid #fff; }
code, pre { background: #f4f4f4; padding: .1rem .3rem; border-radius: 3px; }
pre { overflow-x: auto; padding: .6rem; }
summary { cursor: pointer; margin-top: 1rem; color: #555; }
@media (prefers-color-scheme: dark) {
  body { background: #1b1b1b; color: #ddd; } th, .about, tr.baseline td, summary { color: #aaa; }
  th, td { border-color: #3a3a3a; } code, pre { background: #2b2b2b; } .strip b { color: #ddd; }
  img { background: #fff; border-radius: 4px; }
}
"""


def render_page(outcome: Outcome) -> str:
    """The page's text."""
    ladder = _picture(render(outcome, "png", title=False))
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>tokfrag compare {escape(outcome.task)}</title>",
        f"<style>{_STYLE}</style></head><body>",
        f"<h1>{escape(outcome.headline)}</h1>",
        f'<p class="about">{escape(outcome.title)}</p>',
    ]
    if outcome.samples:
        parts += ["<h2>One sample, cut</h2>", *_samples(outcome)]
    alt = "Quality at each budget, and the differences to the best"
    parts.append(f'<figure><img alt="{alt}" src="{ladder}"></figure>')
    if outcome.notes:
        parts += ["<h2>What it says</h2>", _list(outcome.notes)]
    rows = [row for row in outcome.rows if row.facts is not None]
    for i, (title, columns) in enumerate(TABLES.items()):
        shown = outcome.rows if i == 0 else rows
        classes = [_class(outcome, row.name) for row in shown]
        table = _table(cells(columns, shown, outcome), classes)
        if i == 0:
            parts += [f"<h2>{escape(title)}</h2>", table]
        else:
            parts.append(f"<details><summary>{escape(title)}</summary>{table}</details>")
    parts.append(
        f"<p>{escape(outcome.legend)}. Each quality is the mean over seeds with its 95 % interval "
        "over seeds and parts of the judging data; a difference is paired, and wide enough that "
        "all differences of the table hold together.</p>"
    )
    main = markdown_table(next(iter(TABLES.values())), outcome.rows, outcome)
    facts = {
        "command": outcome.command,
        "seeds": ", ".join(map(str, outcome.seeds)),
        "made": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        **outcome.environment,
    }
    named = [[name, text] for name, text in facts.items() if text]
    parts += [
        f"<details><summary>As Markdown</summary><pre>{escape(main)}</pre></details>",
        "<h2>How to repeat it</h2>",
        _table([["", ""], *named], [], "facts"),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _class(outcome: Outcome, name: str) -> str:
    row = next(row for row in outcome.rows if row.name == name)
    if row.baseline is not None:
        return "baseline"
    if row not in outcome.ranked:
        return "out"
    return "best" if row in outcome.ties() else ""


def _samples(outcome: Outcome) -> list[str]:
    texts = {name: p for name, p in outcome.samples.items() if p.pieces}
    if texts:
        return [_strip(name, picture) for name, picture in texts.items()]
    from matplotlib.figure import Figure

    drawn = list(outcome.samples.items())
    figure = Figure(figsize=(2.4 * max(3, len(drawn)), 2.6), layout="constrained")
    for i, (name, picture) in enumerate(drawn):
        draw_array(figure.add_subplot(1, max(3, len(drawn)), i + 1), name, picture)
    source = _picture(saved(figure, "png", dpi=100))
    return [f'<figure><img alt="One sample as each cut sees it" src="{source}"></figure>']


def _strip(name: str, picture: SamplePicture) -> str:
    pieces = "".join(
        f'<span style="background:{PASTELS[i % len(PASTELS)]}">{escape(shown_text(piece))}</span>'
        for i, piece in enumerate(picture.pieces)
    )
    head = f"<b>{escape(name)}, {picture.count}</b>"
    return f'<div class="strip scroll">{head}{pieces}</div>'


def _picture(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


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
