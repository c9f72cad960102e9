"""Parsed JSON that knows where it is: every complaint names the place in the file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NoReturn, TypeVar

from tokfrag._files import MAX_BYTES

T = TypeVar("T")

_NAMES: dict[type, str] = {
    bool: "true or false",
    dict: "an object",
    float: "a number",
    int: "an integer",
    list: "an array",
    str: "a string",
}


class Place:
    """A JSON value and the path that leads to it.

    Examples
    --------
    >>> root = Place({"model": {"type": "BPE", "merges": []}}, "tokenizer.json")
    >>> root.at("model").get("type", str)
    'BPE'
    >>> root.at("model").get("merges", dict)
    Traceback (most recent call last):
        ...
    ValueError: tokenizer.json: model.merges: got [], takes an object
    """

    def __init__(self, value: object, source: str, path: str = "") -> None:
        self.value = value
        self.source = source
        self.path = path

    def refusal(self, reason: str) -> ValueError:
        """The exception that names this place."""
        where = f"{self.source}: {self.path}" if self.path else self.source
        return ValueError(f"{where}: {reason}")

    def take(self, kind: type[T]) -> T:
        """The value, which must be of that type (an integer is no boolean)."""
        value = self.value
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise self.refusal(f"got {shorten(value)}, takes {_NAMES[kind]}")
        return value

    def at(self, key: str) -> Place:
        """The member of that name, which must be there."""
        members = self.take(dict)
        if key not in members:
            raise self.refusal(f"has no {key!r}")
        return Place(members[key], self.source, f"{self.path}.{key}" if self.path else key)

    def get(self, key: str, kind: type[T], default: T | None = None) -> T:
        """The value of a member; the default, if one is given, where it is missing."""
        if default is not None and key not in self.take(dict):
            return default
        return self.at(key).take(kind)

    def given(self, key: str) -> bool:
        """Whether there is such a member and it is not null."""
        return self.take(dict).get(key) is not None

    def items(self) -> Iterator[Place]:
        """The elements of an array."""
        for index, item in enumerate(self.take(list)):
            yield Place(item, self.source, f"{self.path}[{index}]")

    def only(self, *known: str) -> None:
        """Refuse members of any other name: what they ask for is unknown."""
        for key in self.take(dict):
            if key not in known:
                raise self.refusal(f"has {key!r}, which is unknown here; known: {', '.join(known)}")


def shorten(value: object) -> str:
    """The value as it is printed in a complaint."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]}... ({len(text)} characters)"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise ValueError(f"the name {shorten(key)} is there twice in one object")
            seen.add(key)
    return members


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def parse_json(data: bytes, source: str) -> Place:
    """Parse JSON text in UTF-8.

    Raises
    ------
    ValueError
        Not UTF-8, not JSON (with line and column), nested too deep, a name twice in one object.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(f"{source}: {len(data)} bytes, takes at most {MAX_BYTES}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{source}: byte {error.start} is not UTF-8") from None
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError(f"{source}: objects or arrays are nested too deep") from None
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    return Place(value, source)
