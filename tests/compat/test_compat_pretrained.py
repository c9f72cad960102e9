"""Folders and names of models: the same tokenizer as in transformers, there and back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import processors

from huggingface_cases import SAMPLE, byte_level
from support import run_python
from tokfrag import Tokenizer

transformers = pytest.importorskip("transformers")

CHAT = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
SETTINGS = (
    *("pad_token", "eos_token", "bos_token", "unk_token", "pad_token_id", "eos_token_id"),
    *("padding_side", "truncation_side", "model_max_length", "chat_template"),
)


def saved(folder: Path, **settings: Any) -> Any:
    """A folder that transformers has written, and what it wrote."""
    inner = byte_level()
    inner.add_special_tokens(["<pad>"])
    inner.post_processor = processors.TemplateProcessing(
        single="<end> $A", pair="<end> $A $B:1", special_tokens=[("<end>", 0)]
    )
    made = transformers.PreTrainedTokenizerFast(
        **{
            "tokenizer_object": inner,
            "pad_token": "<pad>",
            "eos_token": "<end>",
            "padding_side": "left",
            "model_max_length": 12,
            **settings,
        }
    )
    made.chat_template = CHAT
    made.save_pretrained(folder)
    return made


def assert_same(ours: Tokenizer, theirs: Any) -> None:
    hf = ours.as_huggingface()
    for name in SETTINGS:
        assert getattr(hf, name) == getattr(theirs, name), name
    assert sorted(hf.all_special_ids) == sorted(theirs.all_special_ids)
    for options in ({}, {"truncation": True}, {"padding": "max_length", "max_length": 40}):
        assert dict(hf(SAMPLE, **options)) == dict(theirs(SAMPLE, **options))
    assert dict(hf(["the", "a cat"], padding=True)) == dict(theirs(["the", "a cat"], padding=True))
    assert dict(hf("the", "cat")) == dict(theirs("the", "cat"))


def test_there_and_back(tmp_path: Path) -> None:
    saved(tmp_path / "theirs")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "theirs")
    ours = Tokenizer.from_pretrained(tmp_path / "theirs")
    assert_same(ours, theirs)
    ours.save_pretrained(tmp_path / "ours")
    assert_same(
        Tokenizer.from_pretrained(str(tmp_path / "ours")),
        transformers.AutoTokenizer.from_pretrained(tmp_path / "ours"),
    )
    assert_same(ours, transformers.AutoTokenizer.from_pretrained(tmp_path / "ours"))


@pytest.mark.parametrize(
    "config",
    [
        {"add_bos_token": True, "add_eos_token": False, "bos_token": "<end>"},
        {"add_eos_token": True},
        {"bos_token": "<new>", "unk_token": "the"},
        {"extra_special_tokens": ["<x>", "<pad>", "<y>"]},
        {"model_input_names": ["input_ids"]},
        {"model_max_length": int(1e30)},
        {"padding_side": "right", "truncation_side": "left"},
        {"chat_template": "{{ 1 }}"},
    ],
)
def test_what_the_configuration_says_counts(tmp_path: Path, config: dict[str, Any]) -> None:
    saved(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert_same(Tokenizer.from_pretrained(tmp_path), theirs)


def test_several_chat_templates(tmp_path: Path) -> None:
    saved(tmp_path)
    (tmp_path / "additional_chat_templates").mkdir()
    (tmp_path / "additional_chat_templates" / "tool_use.jinja").write_text("tools")
    ours = Tokenizer.from_pretrained(tmp_path)
    templates = {"default": CHAT, "tool_use": "tools"}
    assert dict(ours.specification.pipeline.profile.chat_template or ()) == templates
    ours.save_pretrained(tmp_path / "again")
    again = transformers.AutoTokenizer.from_pretrained(tmp_path / "again")
    assert again.chat_template == templates


def test_what_is_no_tokenizer_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no tokenizer.json; looked for .* nothing"):
        Tokenizer.from_pretrained(tmp_path)
    path = tmp_path / "tokenizer.json"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
    for read in (Tokenizer.from_file, lambda path: Tokenizer.from_pretrained(path.parent)):
        with pytest.raises(ValueError, match=r"tokenizer\.json: is a Git LFS pointer"):
            read(path)
    path.write_text("\n<!DOCTYPE html><html>404</html>")
    for read in (Tokenizer.from_file, lambda path: Tokenizer.from_pretrained(path.parent)):
        with pytest.raises(ValueError, match=r"tokenizer\.json: is a web page"):
            read(path)
    with pytest.raises(IsADirectoryError, match="from_pretrained reads one"):
        Tokenizer.from_file(tmp_path)
    with pytest.raises(NotADirectoryError, match="from_file reads one"):
        Tokenizer.from_pretrained(path)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        Tokenizer.from_pretrained(tmp_path / "nowhere")
    path.unlink()
    saved(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"padding_side": "top"}')
    with pytest.raises(ValueError, match="padding_side: got 'top', takes 'left' or 'right'"):
        Tokenizer.from_pretrained(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text('{"model_max_length": "long"}')
    with pytest.raises(ValueError, match="model_max_length: got 'long', takes 0 or more"):
        Tokenizer.from_pretrained(tmp_path)


def test_a_name_is_found_in_the_cache_of_the_hub(tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    commit = "0" * 40
    stored = tmp_path / "models--some--model"
    saved(stored / "snapshots" / commit)
    (stored / "refs").mkdir()
    (stored / "refs" / "main").write_text(commit)
    ours = Tokenizer.from_pretrained("some/model", cache_dir=tmp_path, local_files_only=True)
    assert_same(ours, transformers.AutoTokenizer.from_pretrained(stored / "snapshots" / commit))
    with pytest.raises(FileNotFoundError):
        Tokenizer.from_pretrained("some/other", cache_dir=tmp_path, local_files_only=True)
    code = f"""
        import os
        os.environ["HF_HUB_OFFLINE"] = "1"
        from tokfrag import Tokenizer
        print(len(Tokenizer.from_pretrained("some/model", cache_dir={str(tmp_path)!r})))
        try:
            Tokenizer.from_pretrained("some/other", cache_dir={str(tmp_path)!r})
        except FileNotFoundError as error:
            print("offline")
    """
    done = run_python(code, timeout=60)
    assert done.stdout.split() == [str(len(ours)), "offline"]


def test_without_the_hub_a_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"pip install 'tokfrag\[hub\]'"):
        Tokenizer.from_pretrained("some/model")
