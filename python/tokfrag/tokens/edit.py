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


def common_ids(before: bytes, after: bytes) -> tuple[int, int]:
    """How many ids two arrays begin with in common, and how many of the others they end with."""
    if before == after:
        return len(before) // ID_BYTES, 0
    shorter = min(len(before), len(after)) // ID_BYTES
    bits = 8 * ID_BYTES
    # As one number, the first id lowest or the last: the lowest bit that differs is in the first
    # id from there that differs.
    differs = int.from_bytes(before, "little") ^ int.from_bytes(after, "little")
    same = min(((differs & -differs).bit_length() - 1) // bits, shorter) if differs else shorter
    differs = int.from_bytes(before, "big") ^ int.from_bytes(after, "big")
    last = min(((differs & -differs).bit_length() - 1) // bits, shorter) if differs else shorter
    return same, min(last, shorter - same)


__all__ = ["ID_BYTES", "Edit", "common_ids"]
