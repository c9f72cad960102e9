"""The best two rows once more with another body: does the answer hold for both?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from tokfrag.compare.intervals import difference
from tokfrag.compare.outcome import Outcome
from tokfrag.compare.row import Row

if TYPE_CHECKING:
    from tokfrag.compare.runner import Setting

#: What is put behind the name of a row of the second body.
MARK = " | "


def best_two(outcome: Outcome) -> list[str]:
    """The names of the two rows ahead of all others; fewer where fewer are ranked."""
    best_first = sorted(
        outcome.ranked,
        key=lambda row: row.quality or 0.0,
        reverse=outcome.metric.higher_is_better,
    )
    return [row.name for row in best_first[:2]]


def with_second_body(
    name: str, setting: Setting, row: Row, seeds: tuple[int, ...], build: Callable[[str], Row]
) -> Row:
    """Train one row again with another body.

    Parameters
    ----------
    name
        Of the body.
    setting
        With that body.
    row
        The row of the first body.
    seeds
        One training each.
    build
        Fits and prepares the cut, and trains it; gives its row.

    Returns
    -------
    Row
        Named after the cut and the body; with the reason, where the body cannot take its pieces.
    """
    import tokfrag.compare.runner as runner

    called = f"{row.name}{MARK}{name}"
    try:
        return replace(build(row.name), name=called)
    except runner.FAILURES as error:
        return Row(called, setting.problem.metric, failure=runner.reason_of(error))


def verdict(first: list[Row], second: list[Row], body: str) -> str:
    """One sentence: whether the order of the two rows is that of the second body too."""
    names = " and ".join(row.name for row in first)
    failed = next((row for row in second if not row.finished), None)
    if failed is not None:
        reason = failed.failures[0] if failed.failures else "no training gave a score"
        return f"body {body}: not tried on {names}, {reason}"
    metric = first[0].metric
    told = " and ".join(metric.text(row.quality or 0.0) for row in second)
    signs = [_sign(*rows) for rows in (first, second)]
    if signs[0] == signs[1]:
        how = (
            "not told apart by either body" if signs[0] == 0 else "the order holds for both bodies"
        )
    elif 0 in signs:
        how = "told apart by one body only"
    else:
        how = "THE ORDER TURNS with the body"
    return f"body {body}: {names} have {told}; {how}"


def _sign(one: Row, other: Row) -> int:
    mine, its = one.scores(), other.scores()
    if mine is None or its is None:
        return 0
    apart = difference(mine, its, rows=[mine, its])
    if not apart.excludes_zero:
        return 0
    return 1 if apart.mean > 0 else -1
