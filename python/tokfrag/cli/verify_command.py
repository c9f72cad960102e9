"""``tokfrag verify``: does a tokenizer keep a text, and what does it make of it?"""

from __future__ import annotations

import argparse
from pathlib import Path

from tokfrag.cli.argument_types import given_once

_EPILOG = """\
examples:
  tokfrag verify tokenizer.json --data corpus.txt
  tokfrag verify cl100k_base.tiktoken --data corpus.txt && echo honest

The exit status is 0 where every byte comes back, and 1 where one does not.
"""


def add_to(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the sub-command."""
    parser = commands.add_parser(
        "verify",
        help="tell whether a tokenizer loses anything of a text",
        description="Encode a text, decode the ids, and say what does not come back: bits per byte "
        "of a tokenizer that loses text cannot be compared with any other's.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    given_once(parser)
    parser.add_argument(
        "tokenizer",
        metavar="TOKENIZER",
        help="tokenizer.json, x.tiktoken, x.model, a WordPiece vocab.txt, or hf:FOLDER",
    )
    parser.add_argument("--data", type=Path, required=True, metavar="FILE", help="UTF-8 text")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Verify, print what was found; 0 where nothing is lost, 1 where something is."""
    from tokfrag.compare.cuts.tokenizers import load_tokenizer
    from tokfrag.compare.text import read_text
    from tokfrag.compare.verify import verify

    text = read_text(arguments.data)
    tokenizer = load_tokenizer(Path(arguments.tokenizer.removeprefix("hf:")))
    found = verify(tokenizer, text)
    print(found.text())
    return 0 if found.lossless else 1
