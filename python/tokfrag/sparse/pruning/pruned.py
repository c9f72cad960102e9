"""The result of pruning one site."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tokfrag.sparse.pruning.sites import Site


@dataclass(frozen=True)
class Pruned:
    """Mask and weights of a site, and how well they do.

    ``shift`` is what the bias takes up; errors are None for ``method="sgd"``, which has no layer
    problem; ``error_stored`` is what is left after values were rounded to what is stored;
    ``remark`` says what was done otherwise than asked.
    """

    site: Site
    mask: Tensor
    weight: Tensor
    shift: Tensor | None = None
    error_before: float | None = None
    error_after: float | None = None
    seconds: float = 0.0
    remark: str = ""
    error_stored: float | None = None
