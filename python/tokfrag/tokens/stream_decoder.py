"""Decoding as ids come."""

from __future__ import annotations

import codecs
from collections.abc import Collection, Sequence

from tokfrag.tokens.contracts import Joiner


class StreamDecoder:
    """Text from ids that come one by one; a character split over tokens waits for its end.

    What it gives out, joined, is what decoding all the ids at once gives.

    Parameters
    ----------
    joiner : Joiner
        Decodes id by id, to bytes.
    errors : str
        As in ``bytes.decode``.
    skipped : collection of int
        Ids to pass over.
    prompt : (ids,) integers
        Ids that stand before those to come, and whose text is not given out.

    Examples
    --------
    >>> from tokfrag import Tokenizer
    >>> decoder = Tokenizer([bytes([b]) for b in range(256)], pattern="gpt2").stream_decoder()
    >>> [decoder.push(id) for id in (0xC3, 0xA9)], decoder.finish()
    (['', 'é'], '')
    """

    __slots__ = ("_decoder", "_joiner", "_prompt", "_skipped")

    def __init__(
        self,
        joiner: Joiner,
        errors: str,
        skipped: Collection[int] = (),
        prompt: Sequence[int] = (),
    ) -> None:
        self._joiner = joiner
        self._skipped = frozenset(skipped)
        self._prompt = tuple(prompt)
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors)
        self._read_prompt()

    def _read_prompt(self) -> None:
        for id in self._prompt:
            self.push(id)

    def push(self, id: int) -> str:
        """Take an id; return the text that it completes (often its own, perhaps none).

        Parameters
        ----------
        id : int

        Returns
        -------
        str
        """
        if id in self._skipped:
            return ""
        return self._decoder.decode(self._joiner.push(id))

    def finish(self) -> str:
        """Give the rest, by the ``errors`` policy; the decoder is then as new, after the prompt.

        Returns
        -------
        str
        """
        rest = self._decoder.decode(self._joiner.finish(), True)
        self._decoder.reset()
        self._read_prompt()
        return rest


__all__ = ["StreamDecoder"]
