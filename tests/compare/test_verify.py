"""``tokfrag verify``: lossless or not, where, and what a token is worth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tokfrag.cli.main import main
from tokfrag.compare.verify import verify
from tokfrag.tokens import Tokenizer

TEXT = "The quick brown fox.\nIt jumps over the lazy dog, twice.\n" * 40


def test_a_byte_level_tokenizer_is_lossless() -> None:
    tokenizer = Tokenizer.train(iter([TEXT]), 300)
    found = verify(tokenizer, TEXT.encode())
    assert found.lossless
    assert found.lost_bytes == 0
    assert found.size == len(TEXT)
    assert found.tokens == sum(len(tokenizer.encode(TEXT[i : i + 1024])) for i in (0, 1024, 2048))
    assert found.bytes_per_token == found.size / found.tokens
    assert found.text().startswith("lossless\n")


def test_the_first_lost_place_is_named() -> None:
    class Lower:
        vocab_size = 128

        def encode(self, text: str) -> list[int]:
            return list(map(ord, text.lower()))

        def decode(self, ids: list[int]) -> str:
            return "".join(map(chr, ids))

    found = verify(Lower(), TEXT.encode()[:60])
    assert not found.lossless
    assert (found.place, found.line, found.column) == (0, 1, 1)
    assert found.was.startswith(b"The")
    assert found.came.startswith(b"the")
    found = verify(Lower(), TEXT.encode()[1:60])
    assert (found.place, found.line, found.column) == (20, 2, 1)
    assert found.lost_bytes == 2


def test_special_ids_and_unknown_ones_are_counted() -> None:
    class Framed:
        vocab_size = 130
        unk_token_id = 129

        def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
            ids = [ord(c) if c.isalpha() else 129 for c in text]
            return [128, *ids] if add_special_tokens else ids

        def decode(self, ids: list[int]) -> str:
            return "".join(chr(i) if i < 128 else "?" for i in ids)

    found = verify(Framed(), b"ab cd")
    assert found.specials == (128,)
    assert found.unknown == pytest.approx(1 / 5)
    assert found.tokens == 5
    with pytest.raises(ValueError, match="empty text"):
        verify(Framed(), b"")


def test_the_command_exits_by_what_it_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "text.txt"
    data.write_text(TEXT)
    Tokenizer.train(iter([TEXT]), 300).save(tmp_path / "tokenizer.json")
    assert main(["verify", str(tmp_path / "tokenizer.json"), "--data", str(data)]) == 0
    assert "bytes per token" in capsys.readouterr().out
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "fox"]))
    assert main(["verify", str(vocabulary), "--data", str(data)]) == 1
    out = capsys.readouterr().out
    assert out.startswith("LOSSY: ")
    assert "first lost at byte 0 (line 1, column 1)" in out
    assert main(["verify", str(tmp_path / "none.json"), "--data", str(data)]) == 2
    assert main(["verify", str(vocabulary), "--data", str(tmp_path / "none.txt")]) == 2


def test_a_report_is_printed_again_at_other_prices(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    path = tmp_path / "run.json"
    data = tmp_path / "x.npz"
    rng = np.random.default_rng(0)
    np.savez(data, images=rng.integers(0, 9, (40, 8, 8)), labels=np.arange(40) % 2)
    made = ["compare", "digits", "--data", str(data), "--cuts", "patch:4", "--cuts", "patch:8"]
    assert main([*made, "--budget", "2steps", "--seeds", "1", "--json", str(path)]) == 0
    out = capsys.readouterr().out
    # Cuts given twice add up.
    assert "patch:4" in out
    assert "patch:8" in out
    assert main(["report", str(path), "--price", "3600", "--markdown"]) == 0
    assert "| patch:8 |" in capsys.readouterr().out
    assert main(["report", str(tmp_path / "none.json")]) == 2


def test_the_task_is_told_from_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    Path("corpus.txt").write_text(TEXT)
    Path("corpus.xyz").write_text(TEXT)
    given = ["--cuts", "bytes", "--budget", "2steps", "--seeds", "1"]
    assert main(["compare", "corpus.txt", *given]) == 0
    assert "text: corpus.txt" in capsys.readouterr().out
    assert main(["compare", "corpus.xyz", *given]) == 2
    assert "name it: tokfrag compare TASK --data corpus.xyz" in capsys.readouterr().err


def test_settings_given_twice_add_up() -> None:
    from tokfrag.cli.main import parser

    given = ["compare", "series", "--set", "look_back=48", "--set", "horizon=8", "test_samples=9"]
    settings = parser().parse_args(given).settings
    assert settings == [("look_back", "48"), ("horizon", "8"), ("test_samples", "9")]


def test_tokenizer_files_are_cuts(tmp_path: Path) -> None:
    from tokfrag.compare import Samples, parse_cut

    tokenizer = Tokenizer.train(iter([TEXT]), 300)
    folder = tmp_path / "mine"
    folder.mkdir()
    tokenizer.save(folder / "tokenizer.json")
    tokenizer.save_tiktoken(tmp_path / "mine.tiktoken")
    names = [str(folder / "tokenizer.json"), f"hf:{folder}", str(tmp_path / "mine.tiktoken")]
    cuts = [parse_cut(name) for name in names]
    assert [cut.name for cut in cuts] == ["mine/tokenizer.json", "mine", "mine.tiktoken"]
    texts = [TEXT.encode()[:200]]
    first, *others = (cut.fit(Samples(texts)).cut(texts).values.tolist() for cut in cuts)
    assert all(other == first for other in others)
    with pytest.raises(FileNotFoundError, match="no such tokenizer file"):
        parse_cut("none.json").fit(Samples(texts))
