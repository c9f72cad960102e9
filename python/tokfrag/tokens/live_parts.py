"""The parts that a live text lies in: where they end, and their ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from tokfrag.tokens.contracts import Ids, Offsets
from tokfrag.tokens.edit import ID_BYTES
from tokfrag.tokens.offsets import encode_with_offsets
from tokfrag.tokens.pipeline import Names, TextPipeline
from tokfrag.tokens.rests import encode_rest, encode_rests, has_rests, rest_offsets
from tokfrag.tokens.safe_cuts import LONGEST, SafeCuts
from tokfrag.tokens.specification import AddedToken

# Fewer parts than this are encoded here rather than on several threads.
_FEW = 32


class LiveParts:
    """Cuts texts into parts, and encodes these. Immutable: forks of a live text share it.

    Parameters
    ----------
    way
        The pipeline.
    allowed, disallowed
        The special tokens that texts may stand for, and those they must not hold.
    """

    __slots__ = ("_cuts", "_encode", "_way", "allowed", "disallowed", "has_rests", "sought")

    def __init__(self, way: TextPipeline, allowed: Names, disallowed: Names) -> None:
        self._way = way
        self.allowed = allowed if isinstance(allowed, str) else tuple(allowed)
        self.disallowed = disallowed if isinstance(disallowed, str) else tuple(disallowed)
        self.sought = way.sought(self.allowed)
        self.has_rests = has_rests(way)
        self._encode = self._encoder()
        self._cuts = SafeCuts(way, _heeded(way, self.allowed, self.disallowed))

    def cut(self, text: str) -> list[str]:
        """The parts of a text; ``ValueError`` if it holds a disallowed token."""
        if self.disallowed:
            self._way.refuse(text, self.allowed, self.disallowed)
        return [text] if len(text) <= LONGEST else self._cuts.parts(text)

    def encode(self, parts: list[str], first: bool) -> list[bytes]:
        """The ids of parts that lie end to end; ``first``: they begin the text."""
        if self.has_rests:
            ids = [self._encode(part) for part in parts[:first]]
            if len(parts) < _FEW:
                ids += [encode_rest(self._way, part, self.sought) for part in parts[first:]]
            else:
                ids += encode_rests(self._way, parts[first:], self.sought)
            return [row.tobytes() for row in ids]
        if len(parts) < _FEW:
            return [self._encode(part).tobytes() for part in parts]
        batch = self._way.encode_batch([*parts], self.sought)
        data = batch.ids.tobytes()
        ends = (batch.offsets * ID_BYTES).tolist()
        return [data[ends[k] : ends[k + 1]] for k in range(len(parts))]

    def offsets(self, part: str, first: bool) -> Offsets:
        """Where the tokens of a part lie in it, in characters."""
        if self.has_rests and not first:
            return rest_offsets(self._way, part, self.sought)
        return encode_with_offsets(self._way, part, self.sought, "char")[1]

    def _encoder(self) -> Callable[[str], Ids]:
        """What encodes one part: the model itself where nothing is to be looked for."""
        if not self.allowed:
            return self._way.encode_plain
        return partial(self._way.encode, sought=self.sought)


def _heeded(way: TextPipeline, allowed: Names, disallowed: Names) -> Iterator[AddedToken]:
    """The added tokens that texts are searched for, to find them or to refuse."""
    for token in way.values.added_tokens:
        named = any(names == "all" or token.content in names for names in (allowed, disallowed))
        if named or not token.special:
            yield token


__all__ = ["LiveParts"]
