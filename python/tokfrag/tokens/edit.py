"""What an edit did to ids."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tokfrag.tokens.contracts import Ids

ID_BYTES = 4


class Edit(NamedTuple):
    """What an edit did to the ids: at token ``first``, ``removed`` of them gave way to ``ids``.

    It is the smallest such: neither the first nor the last of ``ids`` stood there before.

    Examples
    --------
    >>> Edit(1, 2, np.array([7], np.uint32)).apply(np.array([1, 2, 3, 4], np.uint32)).tolist()
    [1, 7, 4]
    """

    first: int
    removed: int
    ids: Ids

    def apply(self, before: Ids) -> Ids:
        """The ids after the edit from those before it."""
        after = before[self.first + self.removed :]
        return np.concatenate([before[: self.first], self.ids, after])


def common_beginning(one: str, other: str) -> int:
    """How many characters two texts begin with in common; halves are compared, as memory is.

    >>> common_beginning("the cat", "the cow")
    5
    """
    same, most = 0, min(len(one), len(other))
    while same < most:
        middle = (same + most + 1) // 2
        if one[same:middle] == other[same:middle]:
            same = middle
        else:
            most = middle - 1
    return same


def common_ending(one: str, other: str) -> int:
    """How many characters two texts end with in common.

    >>> common_ending("a cat", "the cat")
    4
    """
    same, most = 0, min(len(one), len(other))
    while same < most:
        middle = (same + most + 1) // 2
        parts = (text[len(text) - middle : len(text) - same] for text in (one, other))
        if next(parts) == next(parts):
            same = middle
        else:
            most = middle - 1
    return same


__all__ = ["ID_BYTES", "Edit", "common_beginning", "common_ending"]
