"""A step of a datatrove pipeline that writes documents as token shards."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from tokfrag.scale.parts import do_part
from tokfrag.scale.plan import PLAN, PlanHead, part_name, settings_hash, write_head
from tokfrag.tokens.pipeline import Piped
from tokfrag.tokens.shards.encoding import Edges, Framing, id_type
from tokfrag.tokens.shards.fingerprint import fingerprint
from tokfrag.tokens.shards.index import Shard
from tokfrag.tokens.shards.shard_writer import shard_writer
from tokfrag.tokens.shards.skips import Skips
from tokfrag.tokens.shards.sources import check_local

_DOCUMENTS = 1000  # encoded at a time


class TokenizerStep:
    """Writes the documents of a rank as a shard: the last step of a datatrove pipeline.

    Any executor takes it, for a step is a callable; datatrove itself is not imported.

    When all ranks are done, ``tokfrag.scale.join_corpus(out)`` checks their sums and makes the
    folder one for ``TokenShards``: documents in the order of ranks. A rank that has its record is
    not done again, whatever datatrove's own logs say.

    Parameters
    ----------
    tokenizer : Tokenizer
        Special tokens in the text are plain text to it.
    out : str or os.PathLike
        A folder that every rank can write to.
    begin_of_text, end_of_text, dtype
        As in ``encode_files``.

    Examples
    --------
    >>> import tempfile
    >>> from types import SimpleNamespace
    >>> from tokfrag import Tokenizer, TokenShards
    >>> from tokfrag.scale import join_corpus
    >>> tok = Tokenizer([bytes([b]) for b in range(256)], pattern="gpt2")
    >>> out = Path(tempfile.mkdtemp())
    >>> step = TokenizerStep(tok, out)
    >>> for rank, text in enumerate(["ab", "c"]):
    ...     step([SimpleNamespace(text=text)], rank, 2)
    >>> _ = join_corpus(out)
    >>> TokenShards(out)[:].tolist()
    [97, 98, 99]
    """

    def __init__(
        self,
        tokenizer: Piped,
        out: str | os.PathLike[str],
        *,
        begin_of_text: bool | str | int | None = None,
        end_of_text: bool | str | int | None = None,
        dtype: str = "auto",
    ) -> None:
        check_local(out)
        way = tokenizer.text_pipeline
        self.tokenizer = tokenizer
        self.out = os.path.abspath(out)
        self.edges = Edges.of(way, begin_of_text, end_of_text)
        self.settings: dict[str, Any] = {
            "tokenizer": fingerprint(way),
            "vocab_size": way.id_count,
            "dtype": id_type(way, dtype).name,
            "begin_of_text": self.edges.begin,
            "end_of_text": self.edges.end,
            "field": "text",
            "column": "text",
            "on_error": "raise",
        }

    def __call__(self, data: Iterable[Any], rank: int = 0, world_size: int = 1) -> None:
        """Write the documents of a rank.

        Parameters
        ----------
        data : iterable of Document
        rank, world_size : int
            Which of how many ranks this is.

        Raises
        ------
        ValueError
            The folder holds a corpus of another tokenizer, settings or number of ranks.
        """
        folder = Path(self.out)
        plan = self._plan(folder, world_size)

        def write() -> Shard:
            framed = Framing(self.tokenizer.text_pipeline, self.edges, threads=1)
            documents = iter(data)
            with shard_writer(folder, part_name(rank), self.settings["dtype"]) as writer:
                while batch := list(islice(documents, _DOCUMENTS)):
                    texts = [document.text for document in batch]
                    writer.write(*framed.encode(texts, np.ones(len(texts), np.bool_)))
            return writer.finish(folder, (), Skips("raise"))

        do_part(folder, plan, rank, 0, write)

    def _plan(self, folder: Path, ranks: int) -> str:
        settings = {**self.settings, "ranks": ranks}
        plan = settings_hash(settings)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / PLAN).exists():
            write_head(folder, plan, ranks, settings)  # of every rank the same
        if PlanHead.read(folder).hash != plan:
            raise ValueError(
                f"out: {folder} holds a corpus of another tokenizer, settings or number of ranks"
            )
        return plan


__all__ = ["TokenizerStep"]
