"""The words of a corpus, counted in parts on the workers of an engine, and merged as a tree."""

from __future__ import annotations

import hashlib
import os
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tokfrag._files import remove_partial_files
from tokfrag.scale.corpora import run_plan
from tokfrag.scale.engines import Engine, engine_of
from tokfrag.scale.parts import PartDone, do_part, read_record
from tokfrag.scale.plan import CorpusPart, CorpusPlan, part_name
from tokfrag.tokens.patterns import native_name
from tokfrag.tokens.shards.cuts import piece_rule
from tokfrag.tokens.shards.index import Shard
from tokfrag.tokens.shards.opening import BrokenFileError
from tokfrag.tokens.shards.pieces import Reading, read_blocks
from tokfrag.tokens.shards.skips import Skips
from tokfrag.tokens.shards.sources import Paths, Source, check_local
from tokfrag.tokens.shards.writing import warn_of_skips
from tokfrag.tokens.training.word_counts import WordCounts

_BRANCHES = 16  # counts that are merged at a time

_SUFFIX = ".counts"


@dataclass(frozen=True)
class CountPart:
    """The work: the words of a part of a plan to a file of a folder. Idempotent.

    Attributes
    ----------
    out
        The folder.
    plan
        The hash of the plan.
    pattern
        What cuts the texts into words.
    reading
        How documents are read.
    on_error
        As in ``encode_files``.
    """

    out: str
    plan: str
    pattern: str | None
    reading: Reading
    on_error: str

    def __call__(self, part: CorpusPart) -> PartDone:
        """Do a part."""
        folder = Path(self.out)

        def write() -> Shard:
            counts = WordCounts(self.pattern)
            skips = Skips(self.on_error)
            for source in part.sources:
                self._count(source, counts, skips)
            digest = _save(counts, folder / f"{part.name}{_SUFFIX}")
            return Shard(
                part.name, (), counts.total, len(counts), digest, skips.count, tuple(skips.places)
            )

        return do_part(folder, self.plan, part.number, part.size, write)

    def _count(self, source: Source, counts: WordCounts, skips: Skips) -> None:
        begun = skips.mark()
        own = WordCounts(self.pattern)  # of this file, so that a broken one counts for nothing
        try:
            for block in read_blocks(source, self.reading, skips):
                own.add(block.texts, threads=1)
        except BrokenFileError as error:
            if skips.on_error == "raise":
                raise
            skips.back_to(begun)
            skips.add(str(error))
        else:
            counts.merge(own)
        source.check_unchanged()


@dataclass(frozen=True)
class MergeCounts:
    """The work: a few files of counts to one.

    Attributes
    ----------
    out
        The folder.
    """

    out: str

    def __call__(self, names: tuple[str, ...]) -> None:
        """Merge the files ``names[1:]`` to ``names[0]``, unless that is there."""
        target = Path(self.out) / names[0]
        if not target.exists():
            merged = WordCounts.load(Path(self.out) / names[1])
            for name in names[2:]:
                merged.merge(WordCounts.load(Path(self.out) / name))
            merged.save(target)


def count_corpus(
    paths: Paths,
    out: str | os.PathLike[str] | None = None,
    *,
    pattern: str | None = "cl100k",
    engine: str | Engine = "local",
    workers: int | None = None,
    part_bytes: int = 1 << 28,
    field: str = "text",
    column: str = "text",
    on_error: str = "raise",
    resume: bool = True,
    progress: bool = True,
) -> WordCounts:
    """Count the words of a corpus in parts, each by a worker of an engine.

    ``Tokenizer.train_from_counts`` trains from the result: training scales as counting does.

    Parameters
    ----------
    paths : path or iterable of paths
        As in ``encode_files``; a document is a text, and no word crosses from one to the next.
    out : str or os.PathLike, optional
        A folder that every worker can write to; counts of parts stay there, and the same call goes
        on with them. By default a temporary one, for engines of this machine alone.
    pattern : str, optional
        As in :class:`WordCounts`.
    engine, workers, part_bytes, resume, progress
        As in :func:`encode_corpus`.
    field, column, on_error
        As in ``encode_files``.

    Returns
    -------
    WordCounts
        The same for any engine and any parts.

    Raises
    ------
    ValueError
        As :func:`encode_corpus` does; or the counts of a part are damaged: names the file.
    WorkerLostError
        Workers died with the same part again and again.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "a.txt").write_text("to be or not to be")
    >>> count_corpus(folder / "a.txt", workers=1, progress=False).items()
    [(b' be', 2), (b' not', 1), (b' or', 1), (b' to', 1), (b'to', 1)]
    """
    if out is not None:
        check_local(out)
    native = WordCounts(pattern).pattern  # a wrong pattern is refused before any work
    rule = piece_rule(native is not None and native_name(native) is not None)
    settings = {
        "pattern": pattern,
        "field": field,
        "column": column,
        "on_error": Skips(on_error).on_error,
    }
    chosen = engine_of(engine, workers)
    plan = CorpusPlan(paths, part_bytes, settings, text=rule is not None)
    with ExitStack() as stack:
        if out is None:
            out = stack.enter_context(tempfile.TemporaryDirectory(prefix="tokfrag-counts-"))
        folder = Path(os.path.abspath(out))
        plan.write(folder, resume=resume)
        work = CountPart(str(folder), plan.hash, pattern, Reading(field, column, rule), on_error)
        run_plan(chosen, work, plan, folder, "counting", progress)
        _warn(folder, plan)
        merged = WordCounts.load(folder / _merged(chosen, folder, len(plan)))
        remove_partial_files(folder)
        return merged


def _merged(engine: Engine, folder: Path, parts: int) -> str:
    """The name of the file of all counts: those of parts, merged a level at a time."""
    names = [f"{part_name(number)}{_SUFFIX}" for number in range(parts)]
    level = 0
    while len(names) > 1:
        level += 1
        merge = MergeCounts(str(folder))
        groups = [
            (f"{level}-{part_name(at // _BRANCHES)}{_SUFFIX}", *names[at : at + _BRANCHES])
            for at in range(0, len(names), _BRANCHES)
        ]
        # One group is not worth an engine's start.
        for _ in engine.run(merge, groups) if len(groups) > 1 else map(merge, groups):
            pass
        names = [group[0] for group in groups]
    return names[0]


def _warn(folder: Path, plan: CorpusPlan) -> None:
    records = [read_record(folder, plan.hash, number) for number in range(len(plan))]
    places = [place for record in records for place in record.places]
    warn_of_skips(sum(record.skipped for record in records), places)


def _save(counts: WordCounts, path: Path) -> str:
    counts.save(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


__all__ = ["CountPart", "MergeCounts", "count_corpus"]
