"""Parts that are done: each has a record, and a part with a record is never done again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tokfrag._files import remove_partial_files, whole_file
from tokfrag.scale.plan import PlanHead, part_name
from tokfrag.tokens.shards.index import Shard, ShardIndex, shard_digest
from tokfrag.tokens.shards.sealing import sealed, unsealed

_CHECKERS = 4  # threads that read shards and hash them


@dataclass(frozen=True)
class PartDone:
    """What became of a part.

    Attributes
    ----------
    number
        Of the part.
    bytes
        About how many it has read.
    skipped
        How many documents and files were left out.
    again
        Whether another writer had done it before.
    """

    number: int
    bytes: int
    skipped: int
    again: bool = False


def record_path(folder: Path, number: int) -> Path:
    """Where the record of a part is."""
    return folder / f"{part_name(number)}.json"


def is_done(folder: Path, plan_hash: str, number: int) -> bool:
    """Whether a part has its record; ValueError if that is of another plan."""
    path = record_path(folder, number)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return False
    root = unsealed(data, str(path))
    if root.get("plan", str, "") != plan_hash:
        raise root.refusal("is the record of another plan")
    return True


def write_record(folder: Path, plan_hash: str, number: int, shard: Shard) -> None:
    """Say that a part is done: the last thing that is written of it."""
    facts = asdict(shard)
    del facts["sources"]  # the plan names them
    with whole_file(record_path(folder, number)) as file:
        file.write(sealed({"plan": plan_hash, **facts}))


def read_record(folder: Path, plan_hash: str, number: int) -> Shard:
    """The shard of a part that is done; ValueError names what is wrong with its record."""
    path = record_path(folder, number)
    root = unsealed(path.read_bytes(), str(path))
    if root.get("plan", str, "") != plan_hash:
        raise root.refusal("is the record of another plan")
    if root.get("name", str) != part_name(number):
        raise root.refusal(f"is not the record of part {part_name(number)}")
    return Shard(
        part_name(number),
        (),
        root.get("tokens", int),
        root.get("documents", int),
        root.get("sha256", str),
        root.get("skipped", int),
        tuple(item.take(str) for item in root.at("places").items()),
    )


def do_part(
    folder: Path,
    plan_hash: str,
    number: int,
    size: int,
    write: Callable[[], Shard],
) -> PartDone:
    """Do a part, if it is not done; ``write`` makes its files."""
    if is_done(folder, plan_hash, number):
        return PartDone(number, size, 0, again=True)
    try:
        shard = write()
        write_record(folder, plan_hash, number, shard)
    except FileNotFoundError:
        # Another writer was faster, and has removed what was half written when all was done.
        if is_done(folder, plan_hash, number):
            return PartDone(number, size, 0, again=True)
        raise
    return PartDone(number, size, shard.skipped)


def missing_parts(folder: Path, head: PlanHead) -> Iterator[int]:
    """The numbers of the parts that are not done."""
    there = {path.name for path in folder.glob("*.json")}
    for number in range(head.parts):
        name = record_path(folder, number).name
        if name not in there or not is_done(folder, head.hash, number):
            yield number


@dataclass(frozen=True)
class CheckPart:
    """The work: a look at every byte of the shard of a part that is done.

    Attributes
    ----------
    out
        The folder.
    plan
        The hash of the plan.
    """

    out: str
    plan: str

    def __call__(self, number: int) -> None:
        """Check a part; ValueError if it is not what its record says."""
        folder = Path(self.out)
        shard = read_record(folder, self.plan, number)
        if shard_digest(folder, shard) != shard.sha256:
            raise ValueError(
                f"{folder}: part {shard.name} is not what was written; without its"
                f" {shard.name}.json it is done again"
            )


def join_corpus(out: str | os.PathLike[str]) -> list[Shard]:
    """Write the index of a corpus whose parts are all done, after a look at every byte of them.

    Parameters
    ----------
    out : str or os.PathLike
        The folder.

    Returns
    -------
    list of Shard
        The parts.

    Raises
    ------
    ValueError
        Parts are missing, or one is not what was written: names it.

    Examples
    --------
    >>> import tempfile
    >>> from tokfrag import Tokenizer
    >>> from tokfrag.scale import encode_corpus
    >>> tok = Tokenizer([bytes([b]) for b in range(256)], pattern="gpt2")
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "a.txt").write_text("ab")
    >>> out = encode_corpus(tok, folder / "a.txt", folder / "ids", workers=1, progress=False)
    >>> [shard.tokens for shard in join_corpus(out)]
    [2]
    """
    folder = Path(out)
    head = PlanHead.read(folder)
    _refuse_missing(folder, head)
    with ThreadPoolExecutor(_CHECKERS) as pool:
        for _ in pool.map(CheckPart(str(folder), head.hash), range(head.parts)):
            pass
    return write_index(folder, head)


def _refuse_missing(folder: Path, head: PlanHead) -> None:
    missing = list(missing_parts(folder, head))
    if missing:
        raise ValueError(f"out: {folder}: {len(missing)} of {head.parts} parts are not done")


def write_index(folder: Path, head: PlanHead) -> list[Shard]:
    """Write the index of parts that are done and checked; give them."""
    settings = head.settings
    shards = [read_record(folder, head.hash, number) for number in range(head.parts)]
    index = ShardIndex(
        str(np.dtype(settings["dtype"])),
        int(settings["vocab_size"]),
        str(settings["tokenizer"]),
        settings["end_of_text"],
        str(settings["field"]),
        tuple(shards),
        settings["begin_of_text"],
        str(settings["column"]),
        head.hash,
    )
    try:
        index.write(folder)
    except FileNotFoundError:
        # Another call has joined the same parts, and removed what was half written.
        if ShardIndex.read(folder) != index:
            raise
    remove_partial_files(folder)
    return shards


__all__ = [
    "CheckPart",
    "PartDone",
    "do_part",
    "is_done",
    "join_corpus",
    "missing_parts",
    "read_record",
    "write_index",
]
