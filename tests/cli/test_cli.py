"""The ``tokfrag`` command: what it prints, writes and refuses."""

from __future__ import annotations

import base64
import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tokfrag.cli.main import main

FAST = ["compare", "digits", "--cuts", "patch:4", "--budget", "2steps", "--seeds", "1"]


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "compare" in text
    assert "info" in text


def test_info_tells_versions_and_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info"]) == 0
    text = capsys.readouterr().out
    names = ("tokfrag", "instruction set", "threads", "cuda module", "cuda kernels", "torch")
    for name in names:
        assert name in text
    assert main(["info", "--json"]) == 0
    held = json.loads(capsys.readouterr().out)
    assert held["instruction set"] in held["instruction sets"]


def test_compare_prints_the_table_and_writes_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("matplotlib")
    plot, numbers = tmp_path / "plot.png", tmp_path / "numbers.json"
    assert main([*FAST, "--plot", str(plot), "--json", str(numbers)]) == 0
    out, err = capsys.readouterr()
    assert "patch:4" in out
    assert "majority class" in out
    assert "accuracy (95 %)" in out
    # Into a pipe there is no bar.
    assert "\r" not in err
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert json.loads(numbers.read_text())["rows"][0]["name"] == "patch:4"
    # A second run must not touch them, and says so before it trains.
    assert main([*FAST, "--plot", str(plot), "--quiet"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main([*FAST, "--json", str(numbers), "--force", "--quiet"]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compare", "nothing"], "task: got 'nothing'"),
        ([*FAST, "--budget", "soon"], "budget: got 'soon'"),
        (["compare", "digits", "--cuts", "patch:9"], "does not fit samples of 8x8; at most 8x8"),
        ([*FAST, "--cuts", "patch"], "takes SIZE or SIZE/STRIDE"),
        ([*FAST, "--cuts", "patch:4@sum"], "merge: got 'sum'"),
        ([*FAST, "--data", "missing.npz"], "no such file: missing.npz"),
        ([*FAST, "--resume"], "--resume: takes --json"),
        ([*FAST, "--plot", "figure.doc"], "it takes .png"),
    ],
)
def test_mistakes_get_one_line_and_no_traceback(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    assert main([*arguments, "--quiet"]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.startswith("tokfrag: error: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["compare"], ["fly"], [*FAST, "--seeds", "0"]])
def test_wrong_usage_exits_with_two(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage: tokfrag" in capsys.readouterr().err


def test_missing_extra_names_the_cure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("tokfrag.compare.extras.find_spec", lambda name: None)
    assert main(FAST) == 2
    assert "pip install 'tokfrag[demo]'" in capsys.readouterr().err


def test_interrupt_keeps_finished_rows_and_exits_130(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    numbers = tmp_path / "numbers.json"
    command = [
        *[sys.executable, "-m", "tokfrag.cli", "compare", "digits", "--cuts", "patch:4"],
        *["--budget", "3steps", "--seeds", "100000", "--json", str(numbers)],
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    deadline = time.monotonic() + 120
    while not numbers.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "interrupted: rows hold what had finished" in out
    assert "Traceback" not in err
    assert len(json.loads(numbers.read_text())["rows"][0]["runs"]) >= 1


def tokenizer_file(folder: Path) -> Path:
    """The 256 bytes and two merges, as tiktoken keeps them."""
    tokens = [*(bytes([value]) for value in range(256)), b"to", b"to be"]
    path = folder / "tiny.tiktoken"
    path.write_bytes(
        b"".join(base64.b64encode(token) + b" %d\n" % rank for rank, token in enumerate(tokens))
    )
    return path


def test_encode_counts_tokens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "text.txt"
    text.write_text("to to")
    tokenizer = tokenizer_file(tmp_path)
    assert main(["encode", str(text), "--tokenizer", str(tokenizer), "--pattern", "gpt2"]) == 0
    assert "text.txt: 3 tokens, 5 bytes, 1.67 each" in capsys.readouterr().out
    broken = tmp_path / "cut.txt.gz"
    broken.write_bytes(gzip.compress(b"to to")[:-4])
    count = ["encode", str(broken), str(text), "--tokenizer", str(tokenizer), "--pattern", "gpt2"]
    assert main(count) == 2
    assert "not a whole gzip file" in capsys.readouterr().err
    assert main([*count, "--on-error", "skip"]) == 0
    out = capsys.readouterr().out
    assert "cut.txt.gz: 1 skipped; the first: " in out
    assert "cut.txt.gz: 0 tokens" in out
    assert "text.txt: 3 tokens" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["encode", "none.txt", "--tokenizer", "x.json"], "no such file: none.txt"),
        (["encode", __file__, "--tokenizer", "x.json"], "--tokenizer: no such file: x.json"),
        (["encode", __file__, "--tokenizer", __file__], "it takes .json, .tiktoken or .txt"),
        (["encode", __file__, "--tokenizer", "x", "--workers", "2"], "--workers: takes --out"),
        (["encode", __file__, "--tokenizer", "x", "--force"], "--force: takes --out"),
        (["encode", __file__, "--tokenizer", "x", "--layout", "bin"], "--layout: takes --out"),
        (
            ["encode", __file__, "--tokenizer", "x", "--end-of-text", "a"],
            "--end-of-text: takes --out",
        ),
        (
            ["encode", __file__, "--tokenizer=x", "--out=y", "--workers=2", "--threads=2"],
            "--threads: with --workers every process has one",
        ),
        (["train", "none.txt", "--size", "300", "--out", "x.json"], "no such file: none.txt"),
        (["train", __file__, "--size", "300", "--out", "x.bin"], "it takes .json or .tiktoken"),
        (["train", __file__, "--size", "300", "--out", "no/x.json"], "folder does not exist"),
    ],
)
def test_mistakes_with_files_get_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.startswith("tokfrag: error: ")


def test_train_then_encode(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import tokfrag

    text, out, ids = tmp_path / "text.txt", tmp_path / "tokenizer.json", tmp_path / "ids"
    text.write_text("to be or not to be, " * 200)
    train = ["train", str(text), "--size", "270", "--out", str(out), "--quiet"]
    assert main(train) == 0
    assert "tokens" in capsys.readouterr().out
    assert main(train) == 2
    assert "exists already" in capsys.readouterr().err
    encode = ["encode", str(text), "--tokenizer", str(out), "--out", str(ids), "--quiet"]
    assert main(encode) == 0
    assert len(tokfrag.tokens.TokenShards(ids)) == int(
        tokfrag.Tokenizer.from_file(out).count(text.read_text())
    )


def test_encode_goes_on_where_it_stopped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tokfrag.tokens import TokenShards

    text, ids, bare = tmp_path / "text.txt", tmp_path / "ids", tmp_path / "ids.bin"
    text.write_text("to be or not")
    options = ["--tokenizer", str(tokenizer_file(tmp_path)), "--pattern", "gpt2", "--quiet"]
    encode = ["encode", str(text), *options]
    assert main([*encode, "--out", str(ids)]) == 0
    wanted = TokenShards(ids)[:].tolist()
    written = (ids / "00000.bin").stat().st_mtime_ns
    assert main([*encode, "--out", str(ids)]) == 0
    assert (ids / "00000.bin").stat().st_mtime_ns == written
    (ids / "00000.bin").unlink()
    assert main([*encode, "--out", str(ids)]) == 0
    assert TokenShards(ids)[:].tolist() == wanted
    # Other settings are refused, and --force begins anew.
    other = [*encode, "--end-of-text", "to", "--out", str(ids)]
    capsys.readouterr()
    assert main(other) == 2
    assert "holds shards with end_of_text" in capsys.readouterr().err
    assert main([*other, "--force"]) == 0
    assert len(TokenShards(ids)) == len(wanted) + 1
    # What is refused has removed nothing.
    bad = str(tmp_path / "bad.tiktoken")
    Path(bad).write_text("no tokens")
    for wrong in (["--tokenizer", bad], ["--end-of-text", "no token"]):
        assert main([*other, *wrong, "--force"]) == 2
        assert len(TokenShards(ids)) == len(wanted) + 1
    begun = [*other, "--begin-of-text", "to", "--force"]
    assert main(begun) == 0
    first, *middle, last = TokenShards(ids)[:].tolist()
    assert middle == wanted
    assert first == last
    # One file of bare ids.
    assert main([*encode, "--out", str(bare), "--layout", "bin"]) == 0
    assert TokenShards(bare)[:].tolist() == wanted
    assert main([*encode, "--out", str(bare), "--layout", "bin"]) == 2
    assert main([*encode, "--out", str(bare), "--layout", "bin", "--force"]) == 0
    capsys.readouterr()
    assert main([*encode, "--out", str(bare)]) == 2
    assert "is a file; --layout tokfrag takes a folder" in capsys.readouterr().err
    assert main([*encode, "--out", str(tmp_path)]) == 2
    assert "holds other files" in capsys.readouterr().err


def test_plan_ranks_sizes(capsys: pytest.CaptureFixture[str]) -> None:
    plan = ["plan", "--shape", "64x64", "--receptive-field", "5", "--memory", "1MB"]
    assert main(plan) == 0
    assert "redundancy" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main([*plan, "--memory", "lots"])
    assert stop.value.code == 2


def test_encode_reads_tables_and_packed_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tokfrag import Tokenizer, TokenShards

    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    texts = ["low lower", "", "lowest of all"]
    table = tmp_path / "a.parquet"
    parquet.write_table(pa.table({"body": texts}), table)
    lines = tmp_path / "a.jsonl.gz"
    lines.write_bytes(gzip.compress("".join(f'{{"text": "{t}"}}\n' for t in texts).encode()))
    vocabulary = tmp_path / "tok.json"
    Tokenizer.train(texts * 5, vocab_size=270).save(vocabulary)
    tok = Tokenizer.from_file(vocabulary)
    common = ["encode", str(table), str(lines), "--tokenizer", str(vocabulary), "--column", "body"]
    assert main(common) == 0
    count = sum(map(len, tok.encode_batch(texts)))
    printed = capsys.readouterr().out.splitlines()
    assert printed == [
        f"{path}: {count} tokens, 22 bytes, {22 / count:.2f} each" for path in (table, lines)
    ]
    for folder, more in (("one", []), ("many", ["--workers", "2"])):
        assert main([*common, "--out", str(tmp_path / folder), *more]) == 0
        assert tok.decode(TokenShards(tmp_path / folder)[:]) == "".join(texts) * 2
    assert "encoding" in capsys.readouterr().err
    pair = [*common, "--out", str(tmp_path / "train"), "--layout", "megatron", "--quiet"]
    assert main(pair) == 0
    assert (tmp_path / "train.idx").exists()
    assert main(pair) == 2
    assert main([*pair, "--workers", "2", "--force"]) == 2
    capsys.readouterr()
    lines.write_bytes(gzip.compress(b'{"text": "low"}\nx\n'))
    assert main([*common, "--on-error", "skip"]) == 0
    assert "1 skipped; the first" in capsys.readouterr().out
