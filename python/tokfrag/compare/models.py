"""The body of a comparison from what a user gives: a name, a module, a function, a file."""

from __future__ import annotations

from torch import nn

from tokfrag.compare.body import KINDS, Body
from tokfrag.compare.contracts import Model
from tokfrag.compare.cuts.features import is_features
from tokfrag.compare.frozen_body import FrozenBody


def as_model(value: object, width: int = 64, depth: int = 2) -> Model:
    """The body that all rows share, from what a user gives.

    Parameters
    ----------
    value
        The name of a shipped body, ``features:FILE`` for a frozen one, a module for the middle, a
        function ``(spec, outputs)``, or None.
    width, depth
        Of a shipped body.

    Returns
    -------
    Model
        Builds networks.

    Raises
    ------
    TypeError, ValueError
        For anything else; the message says what there is.
    """
    if value is None:
        return Body(width=width, depth=depth)
    if isinstance(value, str):
        if is_features(value):
            return FrozenBody.read(value, width)
        return Body(value, width, depth)
    if isinstance(value, nn.Module):
        found = getattr(value, "width", None) or getattr(value, "input_size", None)
        if found is None:
            first = next((m for m in value.modules() if isinstance(m, nn.Linear)), None)
            found = 64 if first is None else first.in_features
        return Body(width=int(found), middle=value)
    if callable(value):
        return value
    raise TypeError(
        f"model: got {type(value).__name__}; it takes one of {', '.join(KINDS)}, an nn.Module "
        "from (batch, n, width) to the same, or a function (spec, outputs) -> nn.Module"
    )
