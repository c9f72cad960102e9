"""Count the words of a corpus: the only thing that training needs of it, and small."""

from __future__ import annotations

import hashlib
import mmap
import os
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, SupportsIndex, TypeAlias

import numpy as np
import regex
from numpy.typing import NDArray

from tokfrag._core import training as _native
from tokfrag._files import whole_file
from tokfrag._locks import fork_safe_lock
from tokfrag._progress import progress_bar
from tokfrag.tokens.arguments import check_count, check_threads, column_or
from tokfrag.tokens.patterns import native_name
from tokfrag.tokens.training.spills import compacted, spilled
from tokfrag.tokens.training.text_blocks import Text, batches, blocks_of_lines, lines_of

FilePath: TypeAlias = str | os.PathLike[str]
Source: TypeAlias = FilePath | Iterable[Text] | Iterable[os.PathLike[str]]

LEAST_MEMORY = 1 << 20  # of max_memory
_MAGIC = b"tokfrag word counts 1\n"
_DIGEST_BYTES = 16
_ENCODED_CHARS = 1 << 20


class _Held(NamedTuple):
    """Words in memory, and packed ones that were there before."""

    table: _native.WordTable
    runs: tuple[mmap.mmap, ...] = ()


class WordCounts:
    """How often each piece that a pattern cuts texts into occurs, in 64 bits.

    Counts of shards, whoever counted them, add up to the counts of the whole: the result is the
    same for any sharding, order and number of threads. Objects can be pickled, saved and loaded.

    Parameters
    ----------
    pattern : str, optional
        ``"gpt2"`` (also ``"r50k"``, ``"p50k"``), ``"cl100k"``, ``"o200k"``, ``"llama3"``,
        ``"qwen2"``, or one of their regular expressions; or any other regular expression, of which
        matches and the gaps between them are pieces (slower: the ``regex`` package); or None: every
        text is one piece.
    max_memory : int, optional
        Bytes that counting may hold, about, beside the text; what is more goes, sorted, to files
        without a name in the folder for temporary files. Training, saving and pickling read those
        in turn; everything else first brings them together in memory. None: no limit.

    Examples
    --------
    >>> counts = WordCounts()
    >>> counts.add(["to be or", "not to be"])
    >>> counts.items()
    [(b' be', 2), (b' or', 1), (b' to', 1), (b'not', 1), (b'to', 1)]
    """

    def __init__(
        self, pattern: str | None = "cl100k", *, max_memory: SupportsIndex | None = None
    ) -> None:
        if pattern is not None and not isinstance(pattern, str):
            raise TypeError(f"pattern: got {pattern!r}, takes str or None")
        self._pattern = pattern
        name = None if pattern is None else native_name(pattern)
        self._family = -1 if name is None else _native.family_of(name)
        self._regex: regex.Pattern[str] | None = None
        if pattern is not None and self._family < 0:
            try:
                self._regex = regex.compile(pattern)
            except regex.error as error:
                raise ValueError(f"pattern: got {pattern!r}, which is {error}") from None
        self._most = (
            None if max_memory is None else check_count("max_memory", max_memory, LEAST_MEMORY)
        )
        self._held = _Held(_native.WordTable())
        self._lock = fork_safe_lock()

    @property
    def pattern(self) -> str | None:
        """The pattern that cuts the texts."""
        return self._pattern

    def add(self, texts: Text | Iterable[Text], *, threads: SupportsIndex | None = None) -> None:
        """Count one text, or each of several; no piece crosses from one to the next.

        Either all of them are counted or, if an error is raised, none.

        Parameters
        ----------
        texts : str, bytes, or iterable of them
            Or a column of strings, as ``encode_batch`` takes it.
        threads : int, optional
            By default as many as there are processors; the counts do not depend on it.

        Raises
        ------
        TypeError
            An item is neither str nor bytes.
        ValueError
            A str holds a lone surrogate.
        OverflowError
            A count would reach 2**63.
        """
        listed = [texts] if isinstance(texts, (str, bytes)) else column_or(texts)
        counter = _native.PieceCounter(max(self._family, 0), check_threads(threads))
        table = _native.WordTable()
        runs: tuple[mmap.mmap, ...] = ()
        first = 0
        for batch in batches(listed):
            if self._family >= 0:
                counter.add_texts(batch, first)
            else:
                table.merge(self._count_slowly(batch, first))
            first += len(batch)
            table, runs = self._spill(table, counter, runs)
        table.merge(counter.take())
        self._absorb(table, runs)

    def add_files(
        self,
        paths: FilePath | Iterable[FilePath],
        *,
        threads: SupportsIndex | None = None,
        progress: bool = False,
    ) -> None:
        r"""Count files (``.gz`` unpacked), each line with its ``"\n"`` as a text of its own.

        So does Hugging Face's ``train(files)``; a blank line is cut off from the next, which it is
        not where a whole document is one text. Either all files are counted or none.

        Parameters
        ----------
        paths : path or iterable of paths
        threads : int, optional
            As in :meth:`add`.
        progress : bool
            Show a progress bar.

        Raises
        ------
        TypeError
            A path is neither str nor os.PathLike.
        """
        files = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
        for path in files:
            if not isinstance(path, (str, os.PathLike)):
                raise TypeError(f"paths: got {path!r}, takes str or os.PathLike")
        total = sum(os.path.getsize(path) for path in files)
        counter = _native.PieceCounter(max(self._family, 0), check_threads(threads))
        table = _native.WordTable()
        runs: tuple[mmap.mmap, ...] = ()
        with progress_bar(total, "counting", "B", progress, scale=True) as advance:
            for path in files:
                for block, read in blocks_of_lines(path):
                    if self._family >= 0:
                        counter.add_lines(block)
                    else:
                        table.merge(self._count_slowly(lines_of(block)))
                    table, runs = self._spill(table, counter, runs)
                    advance(read)
        table.merge(counter.take())
        self._absorb(table, runs)

    def add_counts(self, counts: Mapping[bytes, int] | Iterable[tuple[bytes, int]]) -> None:
        """Add words that were cut and counted elsewhere.

        Parameters
        ----------
        counts : {bytes: int} or iterable of (bytes, int)
            A word that comes twice is added twice.

        Raises
        ------
        TypeError
            A word is not bytes, or a count no int.
        ValueError
            A count is negative.
        """
        pairs = list(counts.items() if isinstance(counts, Mapping) else counts)
        for word, count in pairs:
            if not isinstance(word, bytes):
                raise TypeError(f"counts: got the word {word!r}, takes bytes")
            check_count(f"counts[{word!r}]", count, 0)
        self._absorb(_table_of(pairs))

    def merge(self, other: WordCounts) -> None:
        """Add the counts of another object, which stays as it is.

        Parameters
        ----------
        other : WordCounts

        Raises
        ------
        ValueError
            Its pattern is another: words cut in two ways do not add up.
        TypeError
            It is no WordCounts.
        """
        if not isinstance(other, WordCounts):
            raise TypeError(f"other: got {type(other).__name__}, takes WordCounts")
        if other._pattern != self._pattern:
            raise ValueError(f"other: its pattern is {other._pattern!r}, not {self._pattern!r}")
        self._absorb(_native.WordTable.unpack(other._packed()))

    def clear(self) -> None:
        """Forget all words."""
        with self._lock:
            self._held = _Held(_native.WordTable())

    def items(self) -> list[tuple[bytes, int]]:
        """Return the words and their counts, in byte order.

        Returns
        -------
        list of (bytes, int)
        """
        with self.settled() as table:
            return table.items()

    def __len__(self) -> int:
        with self.settled() as table:
            return len(table)

    @property
    def total(self) -> int:
        """The sum of the counts."""
        with self.settled() as table:
            return table.total

    @property
    def n_bytes(self) -> int:
        """The bytes of all texts."""
        with self.settled() as table:
            return table.n_bytes

    def save(self, path: FilePath) -> None:
        """Write the counts to a file, which is there whole or not at all.

        Parameters
        ----------
        path : str or os.PathLike
        """
        data = self._to_bytes()
        with whole_file(Path(path)) as file:
            file.write(data)

    @classmethod
    def load(cls, path: FilePath) -> WordCounts:
        """Read what :meth:`save` wrote.

        Parameters
        ----------
        path : str or os.PathLike

        Returns
        -------
        WordCounts
            With the pattern it had, and no limit of memory.

        Raises
        ------
        ValueError
            The file is something else, was cut short or changed.
        """
        try:
            return cls._from_bytes(Path(path).read_bytes())
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)}: {error}") from None

    def _to_bytes(self) -> bytes:
        pattern = b"" if self._pattern is None else b"=" + self._pattern.encode()
        packed = self._packed()
        data = b"".join([_MAGIC, struct.pack("<QQ", len(pattern), len(packed)), pattern, packed])
        return data + hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest()

    @classmethod
    def _from_bytes(cls, data: bytes) -> WordCounts:
        head = len(_MAGIC) + 16
        if not data.startswith(_MAGIC) or len(data) < head + _DIGEST_BYTES:
            raise ValueError("not a file of word counts, or cut short")
        n_pattern, n_packed = struct.unpack_from("<QQ", data, len(_MAGIC))
        end = head + n_pattern + n_packed
        if len(data) != end + _DIGEST_BYTES:
            raise ValueError(f"has {len(data)} bytes, its head says {end + _DIGEST_BYTES}")
        if hashlib.blake2b(data[:end], digest_size=_DIGEST_BYTES).digest() != data[end:]:
            raise ValueError("its checksum does not fit its content")
        pattern = data[head : head + n_pattern]
        counts = cls(pattern[1:].decode() if pattern else None)
        counts._held = _Held(_native.WordTable.unpack(data[head + n_pattern : end]))
        return counts

    def __getstate__(self) -> bytes:
        return self._to_bytes()

    def __setstate__(self, state: bytes) -> None:
        self.__dict__.update(self._from_bytes(state).__dict__)

    def __repr__(self) -> str:
        return f"WordCounts(pattern={self._pattern!r}): {len(self)} words"

    @contextmanager
    def settled(self) -> Iterator[_native.WordTable]:
        """Give the native table of all words while nothing else changes it.

        Yields
        ------
        WordTable
        """
        with self._lock:
            if self._held.runs:
                packed = _native.merge_packed([*self._held.runs, self._held.table.pack()])
                self._held = _Held(_native.WordTable.unpack(packed))
            yield self._held.table

    def give_words(self, trainer: _native.Trainer, byte_ids: NDArray[np.uint32]) -> int:
        """Give every word to a trainer, spelled by the ids of its bytes.

        Parameters
        ----------
        trainer : Trainer
            Of the native training; it takes the words in.
        byte_ids : (256,) array, uint32
            The id of each byte.

        Returns
        -------
        int
            The bytes of all texts.
        """
        with self._lock:
            table, runs = self._held
            if runs:
                return trainer.add_runs([*runs, table.pack()], byte_ids)
            trainer.add_counts(table, byte_ids)
            return table.n_bytes

    def _packed(self) -> bytes:
        with self._lock:
            packed = self._held.table.pack()
            runs = self._held.runs
            return _native.merge_packed([*runs, packed]) if runs else packed

    def _exceeds(self, memory: int) -> bool:
        # A third: tables double as they grow, and are packed beside themselves.
        return self._most is not None and memory > self._most // 3

    def _spill(
        self,
        table: _native.WordTable,
        counter: _native.PieceCounter,
        runs: tuple[mmap.mmap, ...],
    ) -> _Held:
        """Move the words to a file if they hold too much memory; give what to go on with."""
        if not self._exceeds(table.memory + counter.memory):
            return _Held(table, runs)
        table.merge(counter.take())
        if len(table) == 0:
            return _Held(table, runs)
        return _Held(_native.WordTable(), compacted([*runs, spilled(table)]))

    def _absorb(self, table: _native.WordTable, runs: tuple[mmap.mmap, ...] = ()) -> None:
        """Add words, all of them or, where that raises, none."""
        # Steps that can fail (memory, the disk, sums of 2**63, Ctrl-C) come before the one step
        # that others see: an assignment, or a native merge that is all or nothing itself.
        with self._lock:
            held = self._held
            if runs or self._exceeds(held.table.memory + table.memory):
                older = [spilled(held.table)] if len(held.table) else []
                self._held = _Held(table, compacted([*held.runs, *older, *runs]))
            elif len(held.table) < len(table):
                table.merge(held.table)
                self._held = _Held(table, held.runs)
            else:
                held.table.merge(table)

    def _count_slowly(self, texts: Iterable[Text], first: int = 0) -> _native.WordTable:
        counter: Counter[bytes] = Counter()
        for index, text in enumerate(texts, first):
            counter.update(self._pieces(index, text))
        return _table_of(list(counter.items()))

    def _pieces(self, index: int, text: Any) -> Iterator[bytes]:
        if isinstance(text, bytes):
            chars, errors = text.decode("utf-8", "surrogateescape"), "surrogateescape"
        elif isinstance(text, str):
            chars, errors = text, "strict"
            try:
                _encoded(chars, errors)
            except UnicodeEncodeError:
                raise ValueError(
                    f"texts: item {index} holds a lone surrogate; takes text that has a UTF-8 form"
                ) from None
        else:
            raise TypeError(
                f"texts: item {index} is a {type(text).__name__}, expected str or bytes"
            )
        end = 0
        limit = 5.0 + 1e-5 * len(chars)  # seconds: a pattern that runs wild is stopped
        try:
            for match in self._regex.finditer(chars, timeout=limit) if self._regex else ():
                for begin, stop in ((end, match.start()), match.span()):
                    if begin < stop:
                        yield chars[begin:stop].encode("utf-8", errors)
                end = match.end()
        except TimeoutError:
            raise ValueError(
                f"pattern: {self._pattern!r} takes too long on text {index}, at character {end}"
            ) from None
        if end < len(chars):
            yield _encoded(chars[end:], errors)


def _encoded(chars: str, errors: str) -> bytes:
    """UTF-8, made in parts: within one, Python hears no Ctrl-C."""
    starts = range(0, len(chars), _ENCODED_CHARS)
    return b"".join(chars[at : at + _ENCODED_CHARS].encode("utf-8", errors) for at in starts)


def count_words(
    source: Source,
    *,
    pattern: str | None = "cl100k",
    threads: SupportsIndex | None = None,
    progress: bool = False,
    max_memory: SupportsIndex | None = None,
) -> WordCounts:
    """Count the words of files or texts.

    Parameters
    ----------
    source : path, paths, or iterable of str or bytes
        One path (str or ``os.PathLike``); a list or tuple of paths, each ``os.PathLike`` or a str
        that names an existing file; or any iterable of texts (str or bytes).
    pattern, threads, progress, max_memory
        As in :class:`WordCounts` and :meth:`WordCounts.add_files`.

    Returns
    -------
    WordCounts

    Raises
    ------
    TypeError
        ``source`` is bytes, or holds something that is neither path nor text.

    Examples
    --------
    >>> count_words(iter(["a a"]), pattern="gpt2").items()
    [(b' a', 1), (b'a', 1)]
    """
    counts = WordCounts(pattern, max_memory=max_memory)
    if isinstance(source, bytes):
        raise TypeError("source: got bytes, takes path(s) or an iterable of texts")
    if isinstance(source, (str, os.PathLike)) or _are_paths(source):
        counts.add_files(source, threads=threads, progress=progress)  # type: ignore[arg-type]
    else:
        with progress_bar(None, "counting", " texts", progress) as advance:
            counts.add(_watched(source, advance), threads=threads)  # type: ignore[arg-type]
    return counts


def _are_paths(source: object) -> bool:
    if not isinstance(source, (list, tuple)) or not source:
        return False
    return all(
        isinstance(item, os.PathLike) or (isinstance(item, str) and _is_file(item))
        for item in source
    )


def _is_file(name: str) -> bool:
    # Strings longer than any path, or with a NUL, are texts.
    return len(name) < 4096 and "\0" not in name and os.path.isfile(name)


def _watched(texts: Iterable[Text], advance: Any) -> Iterator[Text]:
    for text in texts:
        advance(1)
        yield text


def _table_of(pairs: list[tuple[bytes, int]]) -> _native.WordTable:
    table = _native.WordTable()
    table.add_words([word for word, _ in pairs], np.array([count for _, count in pairs], np.int64))
    return table
