"""A corpus to token shards on the workers of an engine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokfrag.scale.engines import Engine, LocalEngine, engine_of
from tokfrag.scale.parts import (
    CheckPart,
    PartDone,
    do_part,
    join_corpus,
    missing_parts,
    write_index,
)
from tokfrag.scale.plan import CorpusPart, CorpusPlan, PlanHead
from tokfrag.scale.progress import parts_bar
from tokfrag.tokens.pipeline import Piped
from tokfrag.tokens.shards.cuts import cut_rule
from tokfrag.tokens.shards.encoding import Edges, Encoder, id_type
from tokfrag.tokens.shards.fingerprint import fingerprint
from tokfrag.tokens.shards.index import Shard
from tokfrag.tokens.shards.shard_writer import write_shard
from tokfrag.tokens.shards.skips import Skips
from tokfrag.tokens.shards.sources import Paths, check_local
from tokfrag.tokens.shards.writing import warn_of_skips


@dataclass(frozen=True)
class EncodePart:
    """The work: a part of a plan to a shard of a folder. Idempotent.

    Attributes
    ----------
    tokenizer
        What encodes.
    out
        The folder.
    plan
        The hash of the plan.
    settings
        Of the plan.
    """

    tokenizer: Piped
    out: str
    plan: str
    settings: dict[str, Any]

    def __call__(self, part: CorpusPart) -> PartDone:
        """Do a part."""
        folder = Path(self.out)

        def write() -> Shard:
            settings = self.settings
            edges = Edges(settings["begin_of_text"], settings["end_of_text"])
            encode = Encoder(
                self.tokenizer, edges, settings["field"], settings["column"], threads=1
            )
            shard = Shard(part.name, part.sources)
            skips = Skips(settings["on_error"])
            return write_shard(encode, shard, folder, settings["dtype"], skips, _nothing)

        return do_part(folder, self.plan, part.number, part.size, write)


def encode_corpus(
    tokenizer: Piped,
    paths: Paths,
    out: str | os.PathLike[str],
    *,
    engine: str | Engine = "local",
    workers: int | None = None,
    part_bytes: int = 1 << 28,
    begin_of_text: bool | str | int | None = None,
    end_of_text: bool | str | int | None = None,
    dtype: str = "auto",
    field: str = "text",
    column: str = "text",
    on_error: str = "raise",
    resume: bool = True,
    progress: bool = True,
) -> Path:
    """Encode a corpus in parts, each by a worker of an engine, to a folder of token shards.

    Parameters
    ----------
    tokenizer : Tokenizer
        Special tokens in the text are plain text to it.
    paths : path or iterable of paths
        As in ``encode_files``: every worker must be able to read them.
    out : str or os.PathLike
        A folder that every worker can write to. ``TokenShards(out)`` then has the documents in the
        order of ``paths``: the same ids, in the same files, whatever the engine and its workers.
    engine : "local", "ray", "dask" or Engine
        Processes of this machine; Ray Core; Dask distributed.
    workers : int, optional
        Of an engine that is named and starts its own; by default one a processor.
    part_bytes : int
        About how many bytes of input a part reads. A larger file is divided where that changes no
        id, as in ``encode_files``.
    begin_of_text, end_of_text, dtype, field, column, on_error
        As in ``encode_files``.
    resume : bool
        Go on with a folder that holds this corpus: parts that are done stay. False refuses it.
    progress : bool
        Show a bar over the parts.

    Returns
    -------
    Path
        ``out``.

    Raises
    ------
    ValueError
        An argument is out of range; a file is malformed (names the place) or changes while it is
        read; ``out`` holds another corpus.
    WorkerLostError
        Workers died with the same part again and again.
    FileExistsError
        ``out`` holds shards of ``encode_files``, or this corpus without ``resume``.

    Notes
    -----
    A part is written to temporary files, synchronised, renamed, and then recorded with its SHA-256;
    a part that has its record is never done again. Workers and this process may be killed at any
    time: the same call, on any engine, does what is missing. Several such calls may write to one
    folder. In the end the workers check all sums, and the index is written.

    Examples
    --------
    >>> import tempfile
    >>> from tokfrag import Tokenizer, TokenShards
    >>> tok = Tokenizer([bytes([b]) for b in range(256)], pattern="gpt2")
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "a.txt").write_text("ab")
    >>> out = encode_corpus(tok, folder / "a.txt", folder / "ids", workers=1, progress=False)
    >>> TokenShards(out)[:].tolist()
    [97, 98]
    """
    check_local(out)
    way = tokenizer.text_pipeline
    edges = Edges.of(way, begin_of_text, end_of_text)
    settings = {
        "tokenizer": fingerprint(way),
        "vocab_size": way.id_count,
        "dtype": id_type(way, dtype).name,
        "begin_of_text": edges.begin,
        "end_of_text": edges.end,
        "field": field,
        "column": column,
        "on_error": Skips(on_error).on_error,
    }
    chosen = engine_of(engine, workers)
    plan = CorpusPlan(paths, part_bytes, settings, text=cut_rule(tokenizer) is not None)
    folder = Path(os.path.abspath(out))  # workers may stand in another folder
    plan.write(folder, resume=resume)
    work = EncodePart(tokenizer, str(folder), plan.hash, plan.settings)
    run_plan(chosen, work, plan, folder, "encoding", progress)
    shards = _joined(chosen, plan, folder)
    warn_of_skips(
        sum(shard.skipped for shard in shards), [place for s in shards for place in s.places]
    )
    return Path(out)


def run_plan(
    engine: Engine, work: Any, plan: CorpusPlan, folder: Path, title: str, progress: bool
) -> None:
    """Do the parts of a plan that are not done."""
    missing = list(missing_parts(folder, PlanHead(plan.hash, len(plan), {})))
    parts: Iterator[CorpusPart] = map(plan.part, missing)
    with parts_bar(len(plan), len(plan) - len(missing), title, progress) as advance:
        if missing:
            for done in engine.run(work, parts):
                advance(done)


def _joined(engine: Engine, plan: CorpusPlan, folder: Path) -> list[Shard]:
    """Check what the workers have written and write the index."""
    if isinstance(engine, LocalEngine):
        return join_corpus(folder)  # threads of this machine: no interpreters are started again
    # Of a corpus that many machines have written, no one of them can read all in time.
    for _ in engine.run(CheckPart(str(folder), plan.hash), range(len(plan))):
        pass
    return write_index(folder, PlanHead(plan.hash, len(plan), plan.settings))


def _nothing(count: int) -> None:
    """No bar within a part."""


__all__ = ["EncodePart", "encode_corpus", "run_plan"]
