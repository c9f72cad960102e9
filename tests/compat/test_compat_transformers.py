"""``patch_transformers``: tokenizers of transformers that encode here, and are what they were."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from tokenizers import pre_tokenizers

transformers = pytest.importorskip("transformers")

from call_cases import KINDS, calls, differs_there, fast, plain, result  # noqa: E402 (after the skip)
from tokfrag import patch_transformers  # noqa: E402
from tokfrag.compat import transformers as patching  # noqa: E402

METHODS = ("_encode_plus", "_add_tokens", "update_post_processor", "backend_tokenizer")
own = {name: transformers.PreTrainedTokenizerFast.__dict__[name] for name in METHODS}


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The patch, and which calls ran here."""
    texts: list[str] = []

    def noted(engine: Any, text: Any, *args: Any, **options: Any) -> Any:
        texts.append(text)
        return real(engine, text, *args, **options)

    real = patching.call
    monkeypatch.setattr(patching, "call", noted)
    with patch_transformers():
        yield texts
    for name, value in own.items():
        assert transformers.PreTrainedTokenizerFast.__dict__[name] is value


@pytest.mark.parametrize("kind", KINDS)
@given(call=calls())
@settings(max_examples=80)
def test_random_calls_are_the_same(kind: str, call: tuple[tuple[Any, ...], dict[str, Any]]) -> None:
    arguments, options = call
    assume(not differs_there(kind, options))
    wanted = result(theirs(kind), arguments, options)
    with patch_transformers():
        found = result(theirs(kind), arguments, options)
        assert (found is None) == (wanted is None)
        if found is not None:
            assert list(found) == list(wanted)
            assert plain(found) == plain(wanted)
            assert found.word_ids() == wanted.word_ids()


HELD: dict[str, Any] = {}


def theirs(kind: str) -> Any:
    if kind not in HELD:
        HELD[kind] = fast(kind)
    return HELD[kind]


def test_a_tokenizer_from_a_folder_encodes_here(ran: list[str], tmp_path: Path) -> None:
    fast("roberta").save_pretrained(tmp_path)
    made = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert isinstance(made, transformers.PreTrainedTokenizerFast)
    encoded = made("the cat", return_tensors="pt")
    assert ran == ["the cat"]
    assert isinstance(encoded, transformers.BatchEncoding)
    assert encoded.is_fast
    assert encoded.tokens() == ["<end>", "Ġthe", "Ġcat", "<sep>"]
    assert encoded.n_sequences == 1
    assert ran == ["the cat"]
    assert made.encode("the") == [0, *made.convert_tokens_to_ids(["Ġthe", "<sep>"])]
    again = pickle.loads(pickle.dumps(encoded))
    assert again.word_ids() == encoded.word_ids()
    for copied in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert copied("the").input_ids == made("the").input_ids


def test_what_is_refused_falls_back(ran: list[str]) -> None:
    made = fast("bytes")
    made("the <end>", split_special_tokens=True)
    with pytest.raises(ValueError, match="text input must be of type"):
        made(3)
    assert ran == []
    made.backend_tokenizer.pre_tokenizer = pre_tokenizers.UnicodeScripts()
    assert made("the").input_ids == [made.backend_tokenizer.token_to_id(c) for c in ("the",)]
    assert ran == []


def test_changes_to_a_tokenizer_count(ran: list[str]) -> None:
    made = fast("bytes")
    before = made("the <new>").input_ids
    made.add_tokens(["<new>"])
    assert made("the <new>").input_ids == [*made("the ").input_ids, len(made) - 1] != before
    made.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    assert made.convert_ids_to_tokens(made("the").input_ids) == ["Ġthe"]
    made.add_special_tokens({"bos_token": "<end>"})
    made.padding_side = "left"
    made.pad_token = "<end>"
    assert made(["the", "the cat"], padding=True).input_ids[0][0] == 0
    made.truncation_side = "left"
    assert made("the cat", truncation=True, max_length=1).input_ids == made("cat").input_ids
    assert len(ran) == 7


def test_undoing_is_counted() -> None:
    first, second = patch_transformers(), patch_transformers()
    first()
    first()
    assert transformers.PreTrainedTokenizerFast._encode_plus is not own["_encode_plus"]
    second()
    assert transformers.PreTrainedTokenizerFast._encode_plus is own["_encode_plus"]


def test_an_earlier_transformers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    # The library puts another module object in its own place when a processor is first asked for.
    monkeypatch.setattr(import_module("transformers"), "__version__", "4.57.0")
    with pytest.raises(ImportError, match=r"got 4.57.0, takes 5 or later"):
        patch_transformers()


def test_templates_of_chats_and_collators_run_over_it(ran: list[str]) -> None:
    made = fast("bytes")
    made.chat_template = "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}\
{% endfor %}"
    options = {"return_assistant_tokens_mask": True, "return_dict": True}
    chat = made.apply_chat_template([{"role": "user", "content": "the cat"}], **options)
    assert set(chat["assistant_masks"]) == {1}
    batch = transformers.DataCollatorWithPadding(made)([made("the"), made("the cat")])
    assert batch["input_ids"].shape == batch["attention_mask"].shape
    assert "the cat" in ran
