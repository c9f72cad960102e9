"""Let the fast tokenizers of ``transformers`` encode here, without a change to who uses them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache, wraps
from types import TracebackType
from typing import Any
from weakref import WeakKeyDictionary

from tokfrag._locks import fork_safe_lock
from tokfrag.tokens import Tokenizer
from tokfrag.tokens.calling import call, is_alone

_OLDEST = 5
# What a call of transformers may say that is said here in the same way.
_SAME = (
    *("add_special_tokens", "stride", "is_split_into_words", "pad_to_multiple_of"),
    *("return_overflowing_tokens", "return_special_tokens_mask", "return_offsets_mapping"),
    "return_length",
)
_OTHERS = {
    *("padding_strategy", "truncation_strategy", "max_length", "padding_side", "return_tensors"),
    *("return_token_type_ids", "return_attention_mask", "verbose"),
}


class Patch:
    """What :func:`patch_transformers` gives: call it, or leave its block, to undo the patch."""

    _lock = fork_safe_lock()
    _depth = 0
    _restored: dict[str, Any]

    def __init__(self) -> None:
        import transformers

        if int(transformers.__version__.partition(".")[0]) < _OLDEST:
            raise ImportError(
                f"transformers: got {transformers.__version__}, takes {_OLDEST} or later"
            )
        self._done = False
        with Patch._lock:
            if Patch._depth == 0:
                Patch._restored = _apply(transformers.PreTrainedTokenizerFast)
            Patch._depth += 1

    def __call__(self) -> None:
        """Undo; a second time nothing."""
        import transformers

        with Patch._lock:
            if self._done:
                return
            self._done = True
            Patch._depth -= 1
            if Patch._depth == 0:
                for name, value in Patch._restored.items():
                    setattr(transformers.PreTrainedTokenizerFast, name, value)

    def __enter__(self) -> Patch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self()


def patch_transformers() -> Patch:
    """Let every fast tokenizer of ``transformers`` encode here.

    Tokenizers stay what they are (``PreTrainedTokenizerFast``, with all its methods): only their
    encoding runs here, with the same result, where theirs can be reproduced exactly. Where it
    cannot, and for a call that is refused here, their own code runs. Those that were made before
    take part; undone, all are as they were.

    Returns
    -------
    Patch
        Undoes it: call it, or use it in ``with``. Of several, the last undone counts.

    Raises
    ------
    ImportError
        ``transformers`` is not there, or earlier than 5.

    Examples
    --------
    >>> from tokfrag import patch_transformers
    >>> undo = patch_transformers()
    >>> undo()
    """
    return Patch()


def _apply(fast: Any) -> dict[str, Any]:
    """Put ours in the place of the methods of a class, and give its own."""
    own = {
        name: fast.__dict__[name]
        for name in ("_encode_plus", "_add_tokens", "update_post_processor", "backend_tokenizer")
    }
    engines = _Engines()
    theirs, read = own["_encode_plus"], own["backend_tokenizer"].fget

    @wraps(theirs)
    def encode(self: Any, text: Any, text_pair: Any = None, **options: Any) -> Any:
        def fall_back() -> Any:
            return theirs(self, text, text_pair=text_pair, **options)

        found = _encoded(engines, self, text, text_pair, options, fall_back)
        return fall_back() if found is None else found

    def changing(method: Any) -> Any:
        @wraps(method)
        def changed(self: Any, *args: Any, **options: Any) -> Any:
            engines.forget(self)
            return method(self, *args, **options)

        return changed

    @wraps(read)
    def backend(self: Any) -> Any:
        # Whoever gets hold of it may change it; transformers itself only reads it so.
        if not sys._getframe(1).f_globals.get("__name__", "").startswith("transformers."):
            engines.forget(self)
        return read(self)

    fast._encode_plus = encode
    fast._add_tokens = changing(own["_add_tokens"])
    fast.update_post_processor = changing(own["update_post_processor"])
    fast.backend_tokenizer = property(backend)
    return own


class _Engines:
    """Our tokenizer for each of theirs; None for one that is refused."""

    def __init__(self) -> None:
        self._held: WeakKeyDictionary[Any, Tokenizer | None] = WeakKeyDictionary()

    def of(self, tokenizer: Any) -> Tokenizer | None:
        if tokenizer not in self._held:
            try:
                made = Tokenizer.adopt(tokenizer)
            except (ValueError, TypeError):
                made = None
            self._held[tokenizer] = made
        return self._held[tokenizer]

    def forget(self, tokenizer: Any) -> None:
        self._held.pop(tokenizer, None)


def _encoded(
    engines: _Engines,
    tokenizer: Any,
    text: Any,
    text_pair: Any,
    options: dict[str, Any],
    fall_back: Callable[[], Any],
) -> Any:
    """What a call gives, or None where it is theirs to answer."""
    if any(value for name, value in options.items() if name not in _OTHERS and name not in _SAME):
        return None
    if not isinstance(text, str) and (not isinstance(text, (list, tuple)) or not text):
        return None
    engine = engines.of(tokenizer)
    if engine is None:
        return None
    inputs = tokenizer.model_input_names
    kind, split = options.get("return_tensors"), bool(options.get("is_split_into_words"))
    asked = {
        f"return_{name}": name in inputs
        if options.get(f"return_{name}") is None
        else options[f"return_{name}"]
        for name in ("token_type_ids", "attention_mask")
    }
    try:
        made = call(
            engine,
            text,
            # An empty second text is none, as there.
            None if is_alone(text, split) and not text_pair else text_pair,
            padding=_value(options.get("padding_strategy"), "do_not_pad"),
            truncation=_value(options.get("truncation_strategy"), "do_not_truncate"),
            max_length=options.get("max_length"),
            pad_id=tokenizer.pad_token_id,
            padding_side=options.get("padding_side") or tokenizer.padding_side,
            truncation_side=tokenizer.truncation_side,
            return_tensors=None if kind is None else getattr(kind, "value", kind),
            **asked,
            **{name: options[name] for name in _SAME if name in options},
        )
    except (ValueError, TypeError):
        return None
    rows = made["input_ids"] if isinstance(made["input_ids"][:1], list) else []
    for row in rows if rows and isinstance(rows[0], list) else [rows]:
        tokenizer._eventual_warn_about_too_long_sequence(
            row, options.get("max_length"), options.get("verbose", True)
        )
    return _encoding_class()(dict(made), fall_back)


def _value(strategy: Any, default: str) -> str:
    return str(getattr(strategy, "value", strategy) or default)


@lru_cache(maxsize=1)
def _encoding_class() -> Any:
    from transformers import BatchEncoding

    class Encoded(BatchEncoding):  # type: ignore[misc,unused-ignore]
        """A ``BatchEncoding`` that has the peer encode where more than its values is asked for."""

        is_fast = True

        def __init__(self, data: dict[str, Any], fall_back: Callable[[], Any]) -> None:
            self.__dict__["_fall_back"] = fall_back
            self.__dict__["_made"] = None
            super().__init__(data)

        @property
        def _encodings(self) -> Any:
            if self.__dict__["_made"] is None:
                self.__dict__["_made"] = self.__dict__["_fall_back"]()._encodings
            return self.__dict__["_made"]

        @_encodings.setter
        def _encodings(self, value: Any) -> None:
            self.__dict__["_made"] = value

        @property
        def _n_sequences(self) -> Any:
            return self._encodings[0].n_sequences

        @_n_sequences.setter
        def _n_sequences(self, value: Any) -> None:
            """It is that of the peer's encodings."""

        def __reduce__(self) -> Any:
            return BatchEncoding, (dict(self.data), self._encodings)

    return Encoded


__all__ = ["Patch", "patch_transformers"]
