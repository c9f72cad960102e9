"""The folder beside a volume that says what it is made by, and which of its blocks are done."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokfrag._files import whole_file
from tokfrag.scale.parts import is_done, record_path
from tokfrag.scale.plan import PLAN, PlanHead, part_name, settings_hash, write_head
from tokfrag.tokens.shards.sealing import sealed, unsealed


@dataclass(frozen=True)
class BlockRecord:
    """What a record says.

    Attributes
    ----------
    windows
        How many went through the model.
    seconds
        From reading to the disk.
    sha256
        Of what was written; empty for coarser levels.
    handed
        Bytes that it has left for other blocks.
    """

    windows: int
    seconds: float
    sha256: str
    handed: int


def records_folder(dst: str) -> Path:
    """Where the records of a volume are: beside it."""
    if "://" in dst:
        raise ValueError(f"records: dst is {dst}, takes a folder that all workers write to")
    return Path(f"{dst.rstrip('/')}.blocks")


def begin_plan(folder: Path, parts: int, settings: dict[str, Any], *, resume: bool) -> str:
    """Write the plan of a volume to its folder, or go on with the same that is there: its hash.

    ValueError names what differs; FileExistsError, without `resume`, that there is one.
    """
    plan_hash = settings_hash(settings)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / PLAN).exists():
        write_head(folder, plan_hash, parts, settings)
        return plan_hash
    before = PlanHead.read(folder)
    if before.hash != plan_hash:
        if not any(folder.glob("[0-9]*")):  # of that plan nothing was done
            write_head(folder, plan_hash, parts, settings)
            return plan_hash
        for name, value in settings.items():
            if before.settings.get(name) != value:
                raise ValueError(
                    f"dst: {folder} is of blocks with {name} {before.settings.get(name)!r}, not"
                    f" {value!r}; without that folder all is done again"
                )
        raise ValueError(f"dst: {folder} is of other blocks")
    if not resume:
        raise FileExistsError(f"dst: {folder} holds blocks; resume=True goes on with them")
    return plan_hash


def forget_blocks(folder: Path) -> None:
    """Remove the records of blocks that are gone."""
    for path in [*folder.glob("*.json"), *folder.glob("*.np[yz]")]:
        if path.name != PLAN:
            path.unlink(missing_ok=True)


@contextmanager
def unless_done(folder: Path, plan: str, number: int) -> Iterator[None]:
    """Pass over a file that is gone, if another call has done the part and cleaned up."""
    try:
        yield
    except FileNotFoundError:
        if not is_done(folder, plan, number):
            raise


def write_block_record(
    folder: Path,
    plan: str,
    number: int,
    *,
    windows: int,
    seconds: float,
    sha256: str = "",
    handed: int = 0,
) -> None:
    """Say that a part is done: the last thing that is written of it."""
    facts = {"plan": plan, "name": part_name(number), "windows": windows, "sha256": sha256}
    with unless_done(folder, plan, number), whole_file(record_path(folder, number)) as file:
        file.write(sealed({**facts, "seconds": seconds, "handed": handed}))


def read_block_record(folder: Path, plan: str, number: int) -> BlockRecord:
    """What a record says; ValueError names what is wrong with it."""
    path = record_path(folder, number)
    root = unsealed(path.read_bytes(), str(path))
    if root.get("plan", str, "") != plan:
        raise root.refusal("is the record of another plan")
    if root.get("name", str) != part_name(number):
        raise root.refusal(f"is not the record of part {part_name(number)}")
    return BlockRecord(
        root.get("windows", int),
        root.get("seconds", float),
        root.get("sha256", str),
        root.get("handed", int, 0),
    )


__all__ = [
    "BlockRecord",
    "begin_plan",
    "forget_blocks",
    "read_block_record",
    "records_folder",
    "unless_done",
    "write_block_record",
]
