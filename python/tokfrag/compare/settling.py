"""Which rows more seeds would settle: neither told apart from the best, nor close to it."""

from __future__ import annotations

from tokfrag.compare.outcome import Outcome
from tokfrag.compare.row import Row

# A tie whose difference is below this share of its half interval stays one whatever is added.
_CLOSE = 0.4


def unsettled(outcome: Outcome) -> list[Row]:
    """The row ahead and those that a few seeds might tell apart from it; empty where there is none.

    The interval shrinks with the seeds only as far as parts of the data let it, so rows that are
    nearly equal are left as ties.
    """
    if outcome.ahead is None:
        return []
    found = []
    for row in outcome.ranked[1:]:
        apart = outcome.behind(row)
        if apart is None or apart.half is None or apart.excludes_zero:
            continue
        if abs(apart.mean) > _CLOSE * apart.half:
            found.append(row)
    return [outcome.ahead, *found] if found else []
