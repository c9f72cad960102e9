"""JSON files that say what they are the whole of: no damage is taken for another content."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from tokfrag.tokens.formats.json_place import Place, parse_json


def sealed(facts: dict[str, Any]) -> bytes:
    """JSON of facts with their SHA-256 as a last member."""
    return json.dumps({**facts, "seal": _seal(facts)}, indent=1).encode("ascii")


def unsealed(data: bytes, source: str, *, required: bool = True) -> Place:
    """The facts; ValueError if they are not those that were sealed.

    Without ``required`` they may have no seal: files of an earlier release.
    """
    root = parse_json(data, source)
    facts = dict(root.take(dict))
    seal = facts.pop("seal", None)
    if (required or seal is not None) and seal != _seal(facts):
        raise root.refusal("is damaged: it is not what was written")
    return Place(facts, source)


def compact_json(value: Any) -> bytes:
    """JSON without white space: of equal values equal bytes."""
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def _seal(facts: dict[str, Any]) -> str:
    return hashlib.sha256(compact_json(facts)).hexdigest()


__all__ = ["compact_json", "sealed", "unsealed"]
