"""The index of a folder of token shards, and files that appear whole or not at all."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tokfrag._files import whole_file
from tokfrag.tokens.formats.json_place import Place
from tokfrag.tokens.shards.sealing import sealed, unsealed
from tokfrag.tokens.shards.sources import Source

INDEX = "index.json"
_FORMAT = "tokfrag-shards"


@dataclass(frozen=True)
class Shard:
    """Some inputs and the tokens they gave.

    Attributes
    ----------
    name
        Of the files: ``name.bin`` holds the ids, ``name.ends`` where documents end (int64).
    sources
        The inputs.
    tokens, documents
        How many there are; -1 where the shard is not written yet.
    sha256
        Of both files, the ids first.
    skipped
        How many documents and files were left out.
    places
        Where the first of them stood, and what was wrong with them.
    """

    name: str
    sources: tuple[Source, ...]
    tokens: int = -1
    documents: int = -1
    sha256: str = ""
    skipped: int = 0
    places: tuple[str, ...] = ()

    @property
    def done(self) -> bool:
        """Whether its files are written."""
        return self.tokens >= 0


@dataclass(frozen=True)
class ShardIndex:
    """The shards of a folder, and the settings they were made by."""

    dtype: str
    vocab_size: int
    tokenizer: str
    end_of_text: int | None
    field: str
    shards: tuple[Shard, ...]
    begin_of_text: int | None = None
    column: str = "text"
    #: Of a corpus that was written in parts: the hash of the plan, which names the inputs.
    plan: str = ""

    @property
    def complete(self) -> bool:
        """Whether every shard is written."""
        return all(shard.done for shard in self.shards)

    @property
    def version(self) -> int:
        """2 where a document may go on from one shard to the next; else 1, as ever."""
        ranges = any(not source.whole for shard in self.shards for source in shard.sources)
        return 2 if ranges or self.plan else 1

    def with_shard(self, number: int, shard: Shard) -> ShardIndex:
        """The same with one shard replaced."""
        return replace(self, shards=(*self.shards[:number], shard, *self.shards[number + 1 :]))

    def write(self, folder: Path) -> None:
        """Write ``index.json``."""
        facts = {"format": _FORMAT, "version": self.version, **asdict(self)}
        with whole_file(folder / INDEX) as file:
            file.write(sealed(facts))

    @classmethod
    def read(cls, folder: Path) -> ShardIndex:
        """Read ``index.json``; ValueError names what is wrong with it."""
        path = folder / INDEX
        root = unsealed(path.read_bytes(), str(path), required=False)
        if root.get("format", str, "") != _FORMAT or root.get("version", int, 0) not in (1, 2):
            raise root.refusal(f"is no {_FORMAT} index of version 1 or 2")
        dtype = root.get("dtype", str)
        if dtype not in ("uint16", "uint32"):
            raise root.at("dtype").refusal(f"got {dtype!r}, takes 'uint16' or 'uint32'")
        return cls(
            dtype,
            root.get("vocab_size", int),
            root.get("tokenizer", str),
            root.get("end_of_text", int) if root.given("end_of_text") else None,
            root.get("field", str),
            tuple(_read_shard(place) for place in root.at("shards").items()),
            root.get("begin_of_text", int) if root.given("begin_of_text") else None,
            root.get("column", str, "text"),
            root.get("plan", str, ""),
        )


def _read_shard(place: Place) -> Shard:
    name = place.get("name", str)
    if Path(name).name != name:
        raise place.refusal(f"name {name!r} is no plain file name")
    sources = (
        Source(
            item.get("path", str),
            item.get("bytes", int),
            item.get("modified_ns", int),
            item.get("begin", int, 0),
            item.get("end", int, -1),
        )
        for item in place.at("sources").items()
    )
    places = place.at("places").items() if place.given("places") else ()
    return Shard(
        name,
        tuple(sources),
        place.get("tokens", int),
        place.get("documents", int),
        place.get("sha256", str),
        place.get("skipped", int, 0),
        tuple(item.take(str) for item in places),
    )


def remove_shards(folder: Path) -> None:
    """Remove the index of a folder and the shards that it names, and nothing else."""
    index = ShardIndex.read(folder)
    (folder / INDEX).unlink()
    for shard in index.shards:
        for suffix in (".bin", ".ends"):
            (folder / f"{shard.name}{suffix}").unlink(missing_ok=True)


def shard_digest(folder: Path, shard: Shard) -> str:
    """The SHA-256 of a shard's files as they are."""
    digest = hashlib.sha256()
    for suffix in (".bin", ".ends"):
        with (folder / f"{shard.name}{suffix}").open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
