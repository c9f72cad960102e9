"""Decoders of ``tokenizer.json`` for models that are neither byte-level nor BERT's."""

from __future__ import annotations

from tokfrag.tokens.formats.huggingface_steps import read_metaspace, sequence_items
from tokfrag.tokens.formats.json_place import Place, shorten
from tokfrag.tokens.models.piece_decoding import PieceDecoding
from tokfrag.tokens.models.text_steps import METASPACE
from tokfrag.tokens.models.word_decoding import (
    ByteLevelDecoding,
    SuffixDecoding,
    TokenDecoding,
    WordPieceDecoding,
)

# In the order in which they may come.
_PIECES = ("Metaspace", "Replace", "ByteFallback", "Fuse", "Strip")


def read_word_decoder(place: Place | None) -> TokenDecoding:
    """How tokens become text."""
    steps = sequence_items(place, "decoders")
    if place is not None and len(steps) == 1:
        (step,) = steps
        kind = step.get("type", str)
        if kind == "WordPiece":
            step.only("type", "prefix", "cleanup")
            return WordPieceDecoding(step.get("prefix", str), step.get("cleanup", bool))
        if kind == "BPEDecoder":
            step.only("type", "suffix")
            suffix = step.get("suffix", str)
            if not suffix:
                raise step.refusal("suffix is empty, takes at least one character")
            return SuffixDecoding(suffix)
        if kind == "ByteLevel":
            step.only("type", "add_prefix_space", "trim_offsets", "use_regex")
            return ByteLevelDecoding()
    return read_piece_decoder(place)


def read_piece_decoder(place: Place | None) -> PieceDecoding:
    """How pieces with metaspaces become text."""
    if place is None:
        # Hugging Face then puts blanks between the tokens.
        return PieceDecoding(replace=(), joint=" ")
    steps = sequence_items(place, "decoders")
    drop_first = ""
    replace: list[tuple[str, str]] = []
    fallback = False
    strip = (" ", 0)
    done: list[str] = []
    for step in steps:
        kind = step.get("type", str)
        if kind not in _PIECES:
            raise step.refusal(
                f"got {shorten(step.value)}, takes {', '.join(_PIECES)}, WordPiece or BPEDecoder"
            )
        last = _PIECES.index(done[-1]) if done else -1
        if _PIECES.index(kind) < last or (kind in done and kind != "Replace"):
            raise step.refusal(f"got {kind} after {done[-1]}, takes the order {', '.join(_PIECES)}")
        if kind == "Metaspace":
            prepend, _ = read_metaspace(step)
            drop_first = "" if prepend == "never" else METASPACE
            replace.append((METASPACE, " "))
        elif kind == "Replace":
            step.only("type", "pattern", "content")
            match step.at("pattern").value:
                case {"String": str(old)} if old:
                    replace.append((old, step.get("content", str)))
                case other:
                    raise step.at("pattern").refusal(f"got {shorten(other)}, takes a 'String'")
        elif kind == "ByteFallback":
            fallback = True
        elif kind == "Strip":
            strip = _strip(step, done)
        done.append(kind)
    return PieceDecoding(tuple(replace), fallback, strip, drop_first)


def _strip(step: Place, done: list[str]) -> tuple[str, int]:
    step.only("type", "content", "start", "stop")
    content = step.get("content", str)
    if "Fuse" not in done:
        raise step.refusal("strips every token, takes Fuse before it")
    if step.get("stop", int) != 0 or len(content) != 1:
        raise step.refusal(f"got {shorten(step.value)}, takes one character and stop 0")
    return content, step.get("start", int)


__all__ = ["read_piece_decoder", "read_word_decoder"]
