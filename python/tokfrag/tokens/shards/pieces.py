"""Read documents from files piece by piece, cut where cutting changes no id."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

from tokfrag.tokens.pipeline import Piped

_READ = 1 << 20
_WINDOW = 1 << 10

# Letters that every version of Unicode knows as such, and white space that every family treats
# alike. Three places are the beginning of a piece under every native pattern, whatever surrounds
# them, and the pieces before are the same when the text ends there:
_ASCII = rb"[A-Za-z]"
_LETTER = (
    rb"(?:[A-Za-z]|\xd0[\x90-\xbf]|\xd1[\x80-\x8f]|\xe3\x81[\x81-\xbf]|\xe3\x82[\x80-\x96\xa1-\xbf]"
    rb"|\xe3\x83[\x80-\xba]|(?:[\xe5-\xe8]|[\xeb\xec])[\x80-\xbf]{2})"
)
_STOP = rb"(?:[,.;:!?]|\xe3\x80[\x81\x82]|\xef\xbc[\x81\x8c\x9a\x9b\x9f])"
#   a letter at the beginning of a line, after a line that ends in something visible;
_LINE = rb"(?:[!-~]|%s|%s)\n(?=%s)"
#   a space between two letters;
_SPACE = rb"%s(?= %s)"
#   a stop between two letters.
_CUT_ANYWHERE = re.compile(
    b"|".join((_LINE % (_LETTER, _STOP, _LETTER), _SPACE % (_LETTER, _LETTER)))
    + rb"|%s(?=%s%s)" % (_LETTER, _STOP, _LETTER)
)
_CUT_PLAIN = re.compile(b"|".join((_LINE % (_ASCII, _ASCII, _ASCII), _SPACE % (_ASCII, _ASCII))))
_CUT_SPACE = re.compile(_SPACE % (_ASCII, _ASCII))


class Piece(NamedTuple):
    """A part of a document: its text, whether it is the last, and how far the file is read."""

    text: str | bytes
    is_last: bool
    position: int


def cut_rule(tokenizer: Piped) -> re.Pattern[bytes] | None:
    """A pattern that ends where a text may be cut without changing its ids; None: nowhere."""
    pipeline = tokenizer.text_pipeline.values
    allowed = tokenizer.text_pipeline.model.cuts
    if allowed is None:
        return None
    always = [token for token in pipeline.added_tokens if not token.special]
    for token in always:
        if not token.plain or any(character.isspace() for character in token.content):
            return None
    if pipeline.prefix_space or allowed == "space":
        return _CUT_SPACE
    if always or pipeline.normalizers or allowed == "plain":
        return _CUT_PLAIN
    return _CUT_ANYWHERE


def read_pieces(
    path: Path, *, field: str, rule: re.Pattern[bytes] | None, piece_bytes: int = _READ
) -> Iterator[Piece]:
    """Read the documents of a file: the lines of ``.jsonl``, else its text; unpacks ``.gz``."""
    name = path.name.lower().removesuffix(".gz")
    with _open(path) as (file, position):
        if name.endswith((".jsonl", ".ndjson")):
            for number, line in enumerate(file, start=1):
                if not line.isspace():
                    text = _field_of(line, field, f"{path}: line {number}")
                    yield Piece(text, True, position())
        else:
            yield from _read_text(file, position, rule, piece_bytes)


@contextmanager
def _open(path: Path) -> Iterator[tuple[IO[bytes], Callable[[], int]]]:
    """A file to read, unpacked where need be, and how many bytes of it on disk are read."""
    with path.open("rb") as raw:
        if path.suffix.lower() != ".gz":
            yield raw, raw.tell
            return
        try:
            with gzip.open(raw) as unpacked:
                yield unpacked, raw.tell  # type: ignore[misc]
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path}: not a whole gzip file ({error})") from None


def _field_of(line: bytes, field: str, where: str) -> str:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: not JSON ({error})") from None
    if not isinstance(record, dict) or field not in record:
        raise ValueError(f"{where}: has no field {field!r}")
    text = record[field]
    if not isinstance(text, str):
        raise ValueError(f"{where}: field {field!r} is a {type(text).__name__}, takes a string")
    return text


def _read_text(
    file: IO[bytes], position: Callable[[], int], rule: re.Pattern[bytes] | None, size: int
) -> Iterator[Piece]:
    chunks: list[bytes] = []
    held = 0
    wanted = size
    while chunk := file.read(size):
        chunks.append(chunk)
        held += len(chunk)
        if rule is None or held < wanted:
            continue
        text = b"".join(chunks)
        cut = _last_cut(text, rule)
        if cut:
            yield Piece(text[:cut], False, position())
        # Without a place to cut, look again once there is twice as much: the time stays linear.
        chunks, held = [text[cut:]], held - cut
        wanted = size if cut else 2 * held
    yield Piece(b"".join(chunks), True, position())


def _last_cut(text: bytes, rule: re.Pattern[bytes]) -> int:
    """The last place where the rule allows a cut; 0 if there is none."""
    end = len(text)
    window = _WINDOW
    while end > 0:
        begin = max(0, end - window)
        found = 0
        # A few bytes more, so that no match is missed between two windows.
        for match in rule.finditer(text, begin, min(len(text), end + 16)):
            found = match.end()
        if found:
            return found
        end = begin
        window *= 2
    return 0
