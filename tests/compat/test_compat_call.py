"""The whole call of a fast tokenizer of transformers: the same keys, values and places."""

from __future__ import annotations

import pickle
from functools import cache
from typing import Any

import pytest
import tokenizers
from hypothesis import assume, given, settings
from tokenizers import models

from tokfrag import Tokenizer

pytest.importorskip("transformers")

from call_cases import KINDS, calls, differs_there, fast, plain, result, wordpiece


@cache
def both(kind: str) -> tuple[Any, Any]:
    theirs = fast(kind)
    return theirs, Tokenizer.adopt(theirs).as_huggingface()


@pytest.mark.parametrize("kind", KINDS)
@given(call=calls())
@settings(max_examples=150)
def test_random_calls_give_the_same_keys_and_values(
    kind: str, call: tuple[tuple[Any, ...], dict[str, Any]]
) -> None:
    arguments, options = call
    assume(not differs_there(kind, options))
    theirs, ours = both(kind)
    wanted = result(theirs, arguments, options)
    found = result(ours, arguments, options)
    assert (wanted is None) == (found is None)
    assume(wanted is not None)
    assert list(found) == list(wanted)
    assert plain(found) == plain(wanted)
    for row in range(len(wanted.encodings)):
        # The peer says of an added token what its text was, blanks included.
        assert found.tokens(row) == [
            token.strip() if "<a>" in token else token for token in wanted.tokens(row)
        ]
        assert found.word_ids(row) == wanted.word_ids(row)
        assert found.sequence_ids(row) == wanted.sequence_ids(row)
        for token in range(len(wanted.tokens(row))):
            assert found.token_to_chars(row, token) == wanted.token_to_chars(row, token)
        for sequence in range(wanted.n_sequences):
            for place in range(8):
                at = row, place, sequence
                names = ["char_to_token", "char_to_word", "word_to_tokens"]
                if found.word_to_tokens(*at) is not None:  # else the peer raises its TypeError
                    names.append("word_to_chars")
                for name in names:
                    assert getattr(found, name)(*at) == getattr(wanted, name)(*at), name


def test_an_index_alone_is_of_the_first_row() -> None:
    theirs, ours = both("bert")
    wanted, found = theirs("the cats, unable"), ours("the cats, unable")
    assert found.char_to_token(5) == wanted.char_to_token(5) == 2
    assert found.token_to_word(3) == wanted.token_to_word(3) == 1
    assert found.token_to_sequence(3) == wanted.token_to_sequence(3) == 0
    assert found.word_to_tokens(3) == wanted.word_to_tokens(3)


def test_a_pickled_encoding_says_that_it_knows_no_texts() -> None:
    _, ours = both("bert")
    again = pickle.loads(pickle.dumps(ours("the cat")))
    assert again == ours("the cat")
    with pytest.raises(ValueError, match="it does not know its texts"):
        again.word_ids()


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((["the"],), {"stride": -1}, "stride: got -1"),
        (
            ("the cat the cat",),
            {"truncation": True, "max_length": 4, "stride": 2},
            "stride: got 2, takes less than the 2 ids",
        ),
        (("the cat the",), {"truncation": "only_second", "max_length": 3}, "'only_second' leaves"),
        (
            (["the"],),
            {"padding": True, "truncation": True, "max_length": 9, "pad_to_multiple_of": 4},
            "pad_to_multiple_of: got 4, takes a divisor",
        ),
    ],
)
def test_wrong_options_are_named(
    arguments: tuple[Any, ...], options: dict[str, Any], message: str
) -> None:
    _, ours = both("bert")
    with pytest.raises(ValueError, match=message):
        ours(*arguments, **options)
    with pytest.raises(TypeError, match="item 0 is a str, takes a list of words"):
        ours(["the", ["cat"]], is_split_into_words=True)


def test_words_of_a_model_that_does_not_tell_are_refused() -> None:
    hf = wordpiece()
    hf.model = models.WordPiece(hf.get_vocab(), unk_token="[UNK]", continuing_subword_prefix="")
    hf.decoder = tokenizers.decoders.WordPiece(prefix="")
    encoded = Tokenizer.adopt(hf)("the cat")
    with pytest.raises(ValueError, match="word_ids: a WordPiece model does not say"):
        encoded.word_ids()
