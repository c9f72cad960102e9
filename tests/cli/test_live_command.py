"""``tokfrag live``: edits typed line by line, and the demonstration."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from live_cases import SAMPLE, made
from tokfrag.cli.main import main


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    text, ranks = tmp_path / "a.txt", tmp_path / "a.tiktoken"
    text.write_bytes(SAMPLE.encode() * 20)
    made("cl100k").save_tiktoken(ranks)
    return ["live", str(text), "--tokenizer", str(ranks)]


def test_typed_edits(
    files: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["?", ":8", "+ sat\\n", "", "4:7 dog", "nonsense", "3:99 x", "0:4", "q", "+never"]
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines)))
    assert main(files) == 0
    out, err = capsys.readouterr()
    assert "START:STOP TEXT" in out
    shown = [line for line in out.splitlines() if "|" in line]
    assert [line.replace("|", "") for line in shown] == [
        "The cat'",
        "The cat' sat⏎",
        "The dog' sat⏎",
        "dog' sat⏎",
    ]
    assert out.count(" us: at token ") == 4
    assert "got 'nonsense', takes +TEXT" in err
    assert "stop: got 99" in err
    assert Path(files[1]).read_bytes() == SAMPLE.encode() * 20


def test_colours_in_a_terminal(
    files: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO("+x\\t\x07"))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert main(files) == 0
    out = capsys.readouterr().out
    assert "\x1b[38;5;16;48;5;" in out
    assert "\\x07" in out
    assert "\x07" not in out


def test_the_demonstration(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*files, "--demo", "50"]) == 0
    out = capsys.readouterr().out
    assert "50 edits at random: p50 " in out
    assert "the ids are the same" in out


def test_mistakes(files: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([files[0], "missing.txt", *files[2:]]) == 2
    assert "no such file" in capsys.readouterr().err
    Path(files[1]).write_bytes(b"\xff")
    assert main(files) == 2
    assert "utf-8" in capsys.readouterr().err
