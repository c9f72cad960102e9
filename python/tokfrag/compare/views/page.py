"""An outcome as one self-contained page of HTML: no script, no file beside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from html import escape

from tokfrag.compare.outcome import Outcome
from tokfrag.compare.planner.verdict import verdict_notes
from tokfrag.compare.row import Row
from tokfrag.compare.table import (
    TABLES,
    answer_cell,
    behind_cell,
    cells,
    markdown_table,
    name_cell,
    quality_cell,
)
from tokfrag.compare.views.ladder_view import ladder_svg
from tokfrag.compare.views.plot import colours
from tokfrag.compare.views.sample_view import samples_html

_STYLE = """
:root { --ink: #1d2129; --quiet: #5d6470; --line: #e3e5e9; --paper: #fff; --panel: #f6f7f9;
        --accent: #0b6e4f; }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
       max-width: 74rem; margin: 1.5rem auto; padding: 0 1rem; }
h1 { font-size: 1.45rem; line-height: 1.3; margin: 0; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 2rem 0 .6rem; }
.verdict { border-left: 5px solid var(--accent); background: var(--panel);
           padding: .9rem 1.1rem; border-radius: 0 6px 6px 0; }
.verdict p { color: var(--quiet); margin: .35rem 0 0; overflow-wrap: anywhere; }
.two { display: grid; grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); gap: 1.5rem; }
@media (max-width: 800px) { .two { grid-template-columns: minmax(0, 1fr); } }
.cut { margin: .55rem 0; }
.cut .name, figcaption, .quiet { color: var(--quiet); font-size: .88rem; }
.cut b { color: var(--ink); }
.strip { font: 14px/1.75 ui-monospace, monospace; overflow-wrap: anywhere; }
.strip span { color: #1d2129; padding: .12rem 0; border-radius: 2px; white-space: pre-wrap;
              box-decoration-break: clone; -webkit-box-decoration-break: clone;
              border-right: 1px solid var(--paper); }
.strip i { font-style: normal; }
mark { background: none; color: inherit; border-bottom: 3px solid; }
mark small { color: var(--quiet); font: .72rem system-ui, sans-serif; padding-left: .2rem; }
.pictures { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr));
            align-items: start; }
.curves { display: grid; gap: 1rem;
          grid-template-columns: repeat(auto-fill, minmax(min(100%, 320px), 1fr)); }
figure { margin: 0; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--quiet); font-size: 12px; font-family: system-ui, sans-serif; }
svg text.quiet { font-size: 12px; }
.pictures svg { border: 1px solid var(--line); }
.pictures rect { stroke-width: 1.4px; vector-effect: non-scaling-stroke; }
.pictures rect.bold { stroke-width: 3px; }
.pictures .values { stroke: #8888; stroke-width: 1px; vector-effect: non-scaling-stroke; }
.pictures svg text { fill: #fff; paint-order: stroke; stroke: #000b; stroke-width: .15em; }
.curve { fill: none; stroke: var(--ink); stroke-width: 1.1; }
.ladder { max-width: 700px; }
.ladder .grid { stroke: var(--line); }
.ladder .floor { stroke-dasharray: 2 4; opacity: .75; }
.ladder .hollow { fill: var(--paper); stroke-width: 2; }
.ladder .cross { fill: none; stroke: var(--ink); stroke-width: 1.4; }
.ladder .end { font-weight: 600; font-size: 13px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; }
th, td { padding: .35rem .6rem; text-align: right; border-bottom: 1px solid var(--line); }
th { font-weight: 600; font-size: .84rem; color: var(--quiet); }
th:first-child, td:first-child, table.facts td { text-align: left; }
table.facts { white-space: normal; overflow-wrap: anywhere; }
table.main { width: 100%; }
td.away { min-width: 130px; padding: 0 .6rem; }
.away svg { width: 130px; height: 22px; margin-left: auto; }
.away .zero { stroke: var(--quiet); stroke-dasharray: 2 2; }
.swatch { display: inline-block; width: .75rem; height: .75rem; border-radius: 2px;
          margin-right: .45rem; vertical-align: -1px; }
tr.baseline td { color: var(--quiet); font-style: italic; }
tr.out td { color: var(--quiet); }
tr.best td { font-weight: 600; }
code, pre { background: var(--panel); padding: .1rem .3rem; border-radius: 3px; }
pre { overflow-x: auto; padding: .6rem; }
pre.command { white-space: pre-wrap; overflow-wrap: anywhere; }
details { margin-top: .8rem; }
summary { cursor: pointer; color: var(--quiet); }
li { overflow-wrap: anywhere; }
@media (max-width: 500px) {
  h1 { font-size: 1.2rem; } th, td { padding: .35rem .35rem; font-size: .84rem; }
  .ladder svg text, .ladder svg text.quiet, .ladder svg .end { font-size: 17px; }
  table.main { white-space: normal; } table.main .away { display: none; }
  table.main th:nth-child(4), table.main :is(th, td):nth-child(5) { display: none; }
  table.main td:first-child { min-width: 6.5em; }
}
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8ec; --quiet: #a2a9b5; --line: #373c45; --paper: #16181d; --panel: #20242b;
          --accent: #3fbf8f; }
}
"""


def render_page(outcome: Outcome) -> str:
    """The page's text."""
    rows = outcome.in_order
    main, *folded = TABLES.items()
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>tokfrag compare {escape(outcome.task)}</title>",
        f"<style>{_STYLE}</style></head><body>",
        f'<div class="verdict"><h1>{escape(_sentence(outcome.headline))}</h1>',
        *(f"<p><b>{escape(_sentence(note))}</b></p>" for note in verdict_notes(outcome)),
        f"<p>{escape(outcome.title)}</p></div>",
        f"<h2>{escape(main[0])}</h2>",
        _main_table(outcome),
        '<p class="quiet">Means over seeds; intervals are 95 %, over seeds and parts of the '
        "judging data. Differences are paired, and wide enough that all of the table hold "
        f"together. {escape(outcome.legend)}.</p>",
    ]
    samples = samples_html(outcome)
    if samples:
        parts += ["<h2>One sample, cut</h2>", *samples]
    ladder = ladder_svg(outcome)
    notes = [note for note in outcome.notes if note != outcome.headline]
    parts.append('<div class="two">')
    if ladder:
        way = "higher" if outcome.metric.higher_is_better else "lower"
        unit = f" in {outcome.metric.unit}" if outcome.metric.unit else ""
        parts.append(
            f"<div><h2>The ladder</h2>{ladder}"
            f'<p class="quiet">{escape(outcome.metric.name + unit)}, {way} is better. Dotted: what '
            "counting or a linear model reaches on a cut's own pieces; a hollow point is no better "
            "than that. A ring: two lines cross.</p></div>"
        )
    if notes:
        parts.append(f"<div><h2>What else it says</h2>{_list(notes)}</div>")
    parts.append("</div>")
    known = [row for row in rows if row.facts is not None]
    everything = (main[0] + ", all columns", main[1])
    for title, columns in (everything, *folded):
        shown = rows if columns is main[1] else known
        table = _table(cells(columns, shown, outcome), [_class(outcome, row) for row in shown])
        parts.append(f"<details><summary>{escape(title)}</summary>{table}</details>")
    markdown = markdown_table(main[1], rows, outcome)
    facts = {
        "seeds": ", ".join(map(str, outcome.seeds)),
        "made": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        **outcome.environment,
    }
    named = [[name, text] for name, text in facts.items() if text]
    parts += [
        f"<details><summary>As Markdown</summary><pre>{escape(markdown)}</pre></details>",
        "<h2>How to repeat it</h2>",
        f'<pre class="command">{escape(outcome.command)}</pre>' if outcome.command else "",
        _table([["", ""], *named], [], "facts"),
        "</body></html>",
    ]
    return "\n".join(part for part in parts if part) + "\n"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _class(outcome: Outcome, row: Row) -> str:
    if row.baseline is not None:
        return "baseline"
    if row not in outcome.ranked:
        return "out"
    return "best" if row in outcome.ties() else ""


def _main_table(outcome: Outcome) -> str:
    """Quality, the difference to the best in numbers and drawn, what an answer costs."""
    shades = colours(outcome)
    reach = _reach(outcome)
    head = ["cut", outcome.metric.name, "behind the best", "", "FLOPs an answer", "trained"]
    lines = ["<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>"]
    for row in outcome.in_order:
        swatch = (
            f'<span class="swatch" style="background:{shades[row.name]}"></span>'
            if row.name in shades
            else ""
        )
        lines.append(
            f'<tr class="{_class(outcome, row)}"><td>{swatch}'
            f"{escape(name_cell(row, outcome))}</td><td>{escape(quality_cell(row, outcome))}</td>"
            f"<td>{escape(behind_cell(row, outcome))}</td>"
            f'<td class="away">{_away(outcome, row, shades, reach)}</td>'
            f"<td>{escape(answer_cell(row))}</td><td>{escape(row.trained or '-')}</td></tr>"
        )
    return '<div class="scroll"><table class="main">' + "\n".join(lines) + "</table></div>"


def _reach(outcome: Outcome) -> tuple[float, float]:
    """The least and the greatest end of a difference's interval, zero among them."""
    apart = [a for row in outcome.ranked if (a := outcome.behind(row)) is not None]
    ends = [a.mean + sign * (a.half or 0.0) for a in apart for sign in (-1, 1)]
    return min(0.0, *ends, 0.0), max(0.0, *ends, 0.0)


def _away(outcome: Outcome, row: Row, shades: dict[str, str], reach: tuple[float, float]) -> str:
    """A difference to the best with its interval, drawn on the scale of the whole table."""
    apart = outcome.behind(row)
    if row not in outcome.ranked or (apart is None and row is not outcome.ahead):
        return ""
    low, high = reach
    room = (high - low) or 1.0

    def place(value: float) -> float:
        return round(6 + (value - low) / room * 118, 1)

    mean, half = (0.0, 0.0) if apart is None else (apart.mean, apart.half or 0.0)
    shade = shades[row.name]
    unclear = apart is not None and not apart.excludes_zero
    return (
        '<svg viewBox="0 0 130 22" aria-hidden="true">'
        f'<line x1="{place(0)}" x2="{place(0)}" y1="0" y2="22" class="zero"/>'
        f'<line x1="{place(mean - half)}" x2="{place(mean + half)}" y1="11" y2="11" '
        f'stroke="{shade}" stroke-width="2"/>'
        f'<circle cx="{place(mean)}" cy="11" r="4.5" stroke="{shade}" stroke-width="2" '
        f'fill="{"var(--paper)" if unclear else shade}"/></svg>'
    )


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
