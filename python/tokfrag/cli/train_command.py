"""``tokfrag train``: learn a byte-pair vocabulary from text files."""

from __future__ import annotations

import argparse
from pathlib import Path

from tokfrag.cli.argument_types import positive
from tokfrag.cli.tokenizer_files import check_texts


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the sub-command and its arguments to the command's."""
    parser = commands.add_parser(
        "train",
        help="learn a byte-pair vocabulary from text files",
        description="Train byte-pair encoding on text files and save the tokenizer.",
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="UTF-8 text")
    parser.add_argument("--size", required=True, type=positive, metavar="N", help="256 or more")
    parser.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="PATH",
        help="tokenizer.json (Hugging Face's form) or x.tiktoken",
    )
    parser.add_argument(
        "--pattern", default="cl100k", help="how text is split first: gpt2, cl100k, o200k, a regex"
    )
    parser.add_argument("--special", nargs="+", default=[], metavar="TOKEN", help="special tokens")
    parser.add_argument(
        "--min-frequency", type=int, default=0, metavar="N", help="merge only pairs seen as often"
    )
    parser.add_argument("--threads", type=positive, metavar="N", help="default: all there are")
    parser.add_argument("--force", action="store_true", help="replace a file that exists")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train a tokenizer on files and write it; returns the exit status."""
    from tokfrag._files import check_new
    from tokfrag.tokens import Tokenizer

    check_texts(arguments.files)
    suffix = arguments.out.suffix
    if suffix not in (".json", ".tiktoken"):
        raise ValueError(f"--out: got {arguments.out.name!r}; it takes .json or .tiktoken")
    check_new(arguments.out, force=arguments.force)
    tokenizer = Tokenizer.train(
        arguments.files,
        arguments.size,
        pattern=arguments.pattern,
        special_tokens=tuple(arguments.special),
        min_frequency=arguments.min_frequency,
        threads=arguments.threads,
        progress=not arguments.quiet,
    )
    if suffix == ".json":
        tokenizer.save(arguments.out)
    else:
        tokenizer.save_tiktoken(arguments.out)
    print(f"wrote {arguments.out}: {tokenizer.vocab_size} tokens")
    return 0
