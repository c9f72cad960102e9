"""The short names that stand for cuts, and cuts from whatever a user holds."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tokfrag.compare.contracts import Cut, check_merge
from tokfrag.compare.cuts.arrays import Patches, Quantised
from tokfrag.compare.cuts.features import FrozenFeatures, is_features
from tokfrag.compare.cuts.fused import Fused
from tokfrag.compare.cuts.items import Items
from tokfrag.compare.cuts.learned import LearnedChunks
from tokfrag.compare.cuts.molecules import AtomFragments, SmilesTokens
from tokfrag.compare.cuts.quad import QuadPatches
from tokfrag.compare.cuts.sounds import MelFrames, MuLaw
from tokfrag.compare.cuts.surprise import EntropyPatches
from tokfrag.compare.cuts.texts import Bpe, ByteWindows, Characters, RawBytes, WordPieces
from tokfrag.compare.cuts.tokenizers import TokenizerCut, TokenizerFile, is_tokenizer_file
from tokfrag.compare.cuts.words import WithPairs, Words

_FORM = re.compile(
    r"(?P<name>[a-z]+)(?::(?P<args>[^+@]*))?(?P<flags>(?:\+[a-z]+)*)(?:@(?P<merge>[a-z]+))?"
)

# What follows the name is the text, the words between plus signs, and the way to join.
_READERS: dict[str, Callable[[str, Sequence[str], str | None], Cut]] = {
    "pixels": lambda args, flags, merge: Quantised.read("pixels", args, flags, merge),
    "values": lambda args, flags, merge: Quantised.read("values", args, flags, merge),
    "patch": Patches.read,
    "whole": Patches.read_whole,
    "bytes": RawBytes.read,
    "chars": Characters.read,
    "bpe": Bpe.read,
    "wordpiece": WordPieces.read,
    "window": ByteWindows.read,
    "words": Words.read,
    "entropy": EntropyPatches.read,
    "hnet": LearnedChunks.read,
    "quad": QuadPatches.read,
    "mulaw": MuLaw.read,
    "mel": MelFrames.read,
    "items": Items.read,
    "hashes": Items.read_hashes,
    "smiles": SmilesTokens.read,
    "atoms": AtomFragments.read,
}


def parse_cut(text: str) -> Cut:
    """Read a cut from its short name: ``name[:numbers][+flags][@merge]``, or a tokenizer's file.

    ``pixels:16``, ``values:64``: each number becomes one of that many levels. ``patch:4``,
    ``patch:10/5``, ``patch:2x8x8/1x4x4``: fragments of a size, with a stride after the slash;
    ``+drop``, ``+shift`` or ``+pad`` at the edge, ``+diff`` adds the change along the first axis,
    ``+hann``, ``+gaussian`` or ``+triangular`` weigh fragments where they are merged. ``whole``:
    one fragment; ``quad:4/16``: from 4 wide where samples vary to 16 where they do not. ``bytes``,
    ``chars``, ``words:4096``, ``bpe:512``, ``wordpiece:vocab.txt``: text; ``+pairs`` shows pairs of
    neighbours too. ``window:8/4``: fragments of text, 8 bytes long, 4 new ones each; ``entropy:4``:
    patches that begin where a small byte model is surprised; ``hnet:4``: chunks that the network
    learns to make. ``tokenizer.json``, ``x.tiktoken``, ``hf:FOLDER``: a tokenizer on disk.
    ``mulaw:256/20``, ``mel:40``: sounds. ``items``, ``items:4/2``, ``hashes:64``: histories.
    ``smiles``, ``atoms:1``: molecules. ``one++other``: both in one network.
    ``features:FILE.py:NAME``, ``features:FILE.pt2``: what a network that is not trained answers.
    ``@concat``, ``@mean``, ``@attention``: how the network joins the pieces.

    Parameters
    ----------
    text
        The name.

    Returns
    -------
    Cut
        The cut; it has not seen any data.

    Raises
    ------
    ValueError
        Where the name stands for no cut; the message says what it takes.

    Examples
    --------
    >>> parse_cut("patch:4/2@mean").name
    'patch:4/2@mean'
    """
    text = text.strip()
    if "++" in text:
        return Fused(tuple(parse_cut(part) for part in text.split("++")))
    if "+pairs" in text:
        return WithPairs(parse_cut(text.replace("+pairs", "", 1)))
    if is_features(text):
        return FrozenFeatures.read(text)
    if is_tokenizer_file(text):
        return TokenizerFile.read(text)
    match = _FORM.fullmatch(text)
    reader = _READERS.get(match["name"]) if match else None
    if match is None or reader is None:
        raise ValueError(
            f"cut: got {text!r}; it takes {', '.join(_READERS)}, or a tokenizer's file, such as "
            "pixels:16, patch:4/2@mean, bpe:512, window:8/4, tokenizer.json"
        )
    flags = match["flags"].split("+")[1:]
    merge = check_merge(match["merge"]) if match["merge"] else None
    try:
        return reader(match["args"] or "", flags, merge)
    except ValueError as error:
        raise ValueError(f"cut {text}: {error}") from None


def as_cut(value: Any) -> Cut:
    """A cut from what a user holds: a short name, a size, a fragment grid, a tokenizer, a cut.

    Parameters
    ----------
    value
        A short name (see :func:`parse_cut`), a path, a size in positions or one an axis, a
        ``FragmentGrid``, an object with ``encode``, one with the members of :class:`Cut`, or a
        network (a module, or a function of a batch), whose answers are frozen features.

    Returns
    -------
    Cut
        The cut; one that is given as such is given back.

    Raises
    ------
    TypeError
        For anything else.
    ValueError
        For a name or a size that cannot be.

    Examples
    --------
    >>> from tokfrag.compare import as_cut
    >>> as_cut(4).name, as_cut((2, 8, 8)).name
    ('patch:4', 'patch:2x8x8')
    """
    if isinstance(value, str):
        return parse_cut(value)
    if isinstance(value, Path):
        return parse_cut(str(value))
    if isinstance(value, Cut):
        return value
    if isinstance(value, int):
        return Patches((value,))
    if isinstance(value, Sequence) and value and all(isinstance(v, int) for v in value):
        return Patches(tuple(value))
    if hasattr(value, "origins") and hasattr(value, "size"):
        return Patches.of_grid(value)
    if callable(value) and hasattr(value, "state_dict"):
        return FrozenFeatures(value)
    if callable(getattr(value, "encode", None)):
        return TokenizerCut(value)
    if callable(value):
        return FrozenFeatures(value)
    raise TypeError(
        f"cut: got {type(value).__name__}; it takes a short name, a size, a FragmentGrid, an "
        "object with .encode, a network, or an object with .name, .family and .fit"
    )


def as_cuts(values: Sequence[Any]) -> list[Cut]:
    """All cuts of a comparison, each with a name of its own.

    Two tokenizers of one size would share a name; the second is called ``name#2``. What is the
    same cut twice is an error.
    """
    cuts: list[Cut] = []
    for value in values:
        cut = as_cut(value)
        if isinstance(cut, TokenizerCut) and not isinstance(value, Cut):
            alike = [
                other
                for other in cuts
                if isinstance(other, TokenizerCut) and other.name.split("#")[0] == cut.name
            ]
            if any(other.tokenizer is cut.tokenizer for other in alike):
                raise ValueError(f"cuts: got {cut.name!r} twice")
            if alike:
                cut = replace(cut, given_name=f"{cut.name}#{len(alike) + 1}")
        cuts.append(cut)
    names = [cut.name for cut in cuts]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        # A row is found by its name.
        raise ValueError(f"cuts: got {twice!r} twice")
    return cuts
